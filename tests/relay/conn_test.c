// SPDX-License-Identifier: Apache-2.0
/* Two connections talk to each other over a socket pair, in one loop: bytes arrive whole
 * and in order with and without TLS, buffers stay bounded, nothing sent before TLS
 * survives it (spec 13.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "relay/conn.h"
#include "tests/relay/cert.h"

enum { PATIENCE_MS = 10 * 1000 };

struct end {
	struct conn	*c;
	struct loop	*l;
	struct buf	 got;
	size_t		 quota;		/* bytes input() takes at most at once */
	size_t		 stop_at;	/* stop the loop when that much came */
	unsigned	 seen[CONN_TIMEOUT + 1];
	unsigned	 stop_on;	/* 1 << event */
	bool		 close_in_input, finish_in_input, echo;
	struct tls_context *start_tls;	/* start it at the first input */
};

static size_t
end_input(void *arg, struct slice in)
{
	struct end *e = arg;
	size_t n = in.n < e->quota ? in.n : e->quota;

	assert_true(in.n > 0 && in.n <= CONN_INPUT);
	if (e->start_tls != NULL) {
		assert_int_equal(conn_write(e->c, SLICE_LIT("220 go\r\n")), 0);
		assert_int_equal(conn_start_tls(e->c, e->start_tls, NULL), 0);
		e->start_tls = NULL;
		return 10;	/* "STARTTLS\r\n"; the rest was said in the clear */
	}
	assert_int_equal(buf_put_slice(&e->got, slice_sub(in, 0, n)), 0);
	if (e->echo)
		assert_int_equal(conn_write(e->c, slice_sub(in, 0, n)), 0);
	if (e->stop_at > 0 && buf_len(&e->got) >= e->stop_at)
		loop_stop(e->l);
	if (e->close_in_input)
		conn_close(&e->c);
	if (e->finish_in_input) {
		assert_int_equal(conn_write(e->c, SLICE_LIT("bye")), 0);
		conn_finish(&e->c);
	}
	return n;
}

static void
end_event(void *arg, enum conn_event ev)
{
	struct end *e = arg;

	e->seen[ev]++;
	if (e->stop_on & (1u << ev))
		loop_stop(e->l);
}

static const struct conn_ops end_ops = { end_input, end_event };

struct pair {
	struct loop	*l;
	struct timer	*patience;
	struct end	 a, b;		/* a accepted */
	int		 fd_b;		/* behind b's connection */
};

static void
too_long(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

static void
end_init(struct end *e, struct loop *l)
{
	*e = (struct end){ .l = l, .quota = SIZE_MAX };
	buf_init(&e->got, 64 * 1024 * 1024);
}

static void
pair_init(struct pair *p)
{
	int fd[2];

	p->l = loop_new();
	p->patience = timer_new(p->l, too_long, NULL);
	timer_arm(p->patience, PATIENCE_MS);
	end_init(&p->a, p->l);
	end_init(&p->b, p->l);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	p->fd_b = fd[1];
	p->a.c = conn_accepted(p->l, fd[0], &end_ops, &p->a);
	p->b.c = conn_accepted(p->l, fd[1], &end_ops, &p->b);
}

static void
pair_fini(struct pair *p)
{
	conn_close(&p->a.c);
	conn_close(&p->b.c);
	timer_free(&p->patience);
	loop_free(&p->l);
	buf_fini(&p->a.got);
	buf_fini(&p->b.got);
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
wait_ms(struct pair *p, int64_t ms)
{
	struct timer *t = timer_new(p->l, stop_loop, p->l);

	timer_arm(t, ms);
	assert_int_equal(loop_run(p->l), 0);
	timer_free(&t);
}

static void
send_all(struct pair *p, struct end *from, struct end *to, size_t total)
{
	char block[CONN_WRITE_MAX];
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 31 + i / 256);
	to->stop_at = total;
	while (sent < total) {
		size_t n = total - sent < sizeof(block) ? total - sent : sizeof(block);

		if (conn_write(from->c, slice_make(block, n)) == 0) {
			assert_true(conn_pending(from->c) <= 256 * 1024);
			sent += n;
			continue;
		}
		from->seen[CONN_WRITABLE] = 0;
		from->stop_on = 1u << CONN_WRITABLE;
		while (from->seen[CONN_WRITABLE] == 0)
			assert_int_equal(loop_run(p->l), 0);
	}
	while (buf_len(&to->got) < total)
		assert_int_equal(loop_run(p->l), 0);
	assert_int_equal(buf_len(&to->got), total);
	for (size_t i = 0; i < total; i++) {
		size_t k = i % sizeof(block);
		assert_int_equal(to->got.p[to->got.off + i], (char)(k * 31 + k / 256));
	}
}

static void
test_bulk(void **state)
{
	static const size_t quota[] = { SIZE_MAX, 1000, 7 };
	struct pair p;

	(void)state;
	for (size_t i = 0; i < sizeof(quota) / sizeof(quota[0]); i++) {
		pair_init(&p);
		p.b.quota = quota[i];
		send_all(&p, &p.a, &p.b, quota[i] == 7 ? 300 * 1000 : 3 * 1000 * 1000 + 1);
		pair_fini(&p);
	}
}

static void
test_pause(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.b.quota = 2;
	assert_int_equal(conn_write(p.a.c, SLICE_LIT("abcdef")), 0);
	conn_pause(p.b.c);
	wait_ms(&p, 30);
	assert_int_equal(buf_len(&p.b.got), 0);
	conn_resume(p.b.c);
	p.b.stop_at = 6;
	assert_int_equal(loop_run(p.l), 0);
	assert_memory_equal(p.b.got.p + p.b.got.off, "abcdef", 6);
	/* The end is not told to somebody who does not listen. */
	conn_pause(p.b.c);
	conn_close(&p.a.c);
	wait_ms(&p, 30);
	assert_int_equal(p.b.seen[CONN_EOF], 0);
	p.b.stop_on = 1u << CONN_EOF;
	conn_resume(p.b.c);
	assert_int_equal(loop_run(p.l), 0);
	pair_fini(&p);
}

/* A peer that talks without listening is not listened to either. */
static void
test_backpressure(void **state)
{
	char block[4096];
	struct pair p;
	int fd[2], n = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	pair_init(&p);
	conn_close(&p.a.c);
	conn_close(&p.b.c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	p.a.echo = true;
	p.a.quota = 2048;
	p.a.c = conn_accepted(p.l, fd[0], &end_ops, &p.a);
	for (int idle = 0; idle < 3; idle++) {
		while (write(fd[1], block, sizeof(block)) > 0) {
			n++;
			idle = 0;
		}
		wait_ms(&p, 20);
	}
	assert_int_equal(errno, EAGAIN);
	assert_true(conn_pending(p.a.c) >= CONN_OUT_LOW);
	assert_true(conn_pending(p.a.c) <= CONN_OUT_LOW + 2 * 2048);
	/* And served again once it reads. */
	size_t back = 0;
	while (back < (size_t)n * sizeof(block)) {
		ssize_t got = read(fd[1], block, sizeof(block));
		if (got > 0)
			back += (size_t)got;
		else
			wait_ms(&p, 5);
	}
	assert_int_equal(buf_len(&p.a.got), back);
	(void)close(fd[1]);
	pair_fini(&p);
}

static void
test_leftover_bound(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.b.quota = 0;
	p.b.stop_on = 1u << CONN_ERROR;
	for (int i = 0; i < 3; i++) {
		char block[32 * 1024] = "";
		assert_int_equal(conn_write(p.a.c, slice_make(block, sizeof(block))), 0);
	}
	assert_int_equal(loop_run(p.l), 0);
	assert_string_equal(conn_error(p.b.c), "input nobody takes");
	pair_fini(&p);
}

static void
test_close_in_input(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.b.close_in_input = true;
	p.a.stop_on = 1u << CONN_EOF | 1u << CONN_ERROR;
	assert_int_equal(conn_write(p.a.c, SLICE_LIT("x")), 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_null(p.b.c);
	pair_fini(&p);
}

/* The last words arrive even when the peer is still talking. */
static void
test_finish(void **state)
{
	struct pair p;
	char block[40 * 1024] = "";

	(void)state;
	pair_init(&p);
	p.b.finish_in_input = true;
	p.b.quota = 100;
	p.a.stop_on = 1u << CONN_EOF;
	assert_int_equal(conn_write(p.a.c, slice_make(block, sizeof(block))), 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_null(p.b.c);
	assert_int_equal(p.a.seen[CONN_ERROR], 0);
	assert_int_equal(buf_len(&p.a.got), 3);
	assert_memory_equal(p.a.got.p + p.a.got.off, "bye", 3);
	/* It lingers until the peer closes as well. */
	conn_close(&p.a.c);
	wait_ms(&p, 20);
	pair_fini(&p);
}

static void
test_deadline(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.a.stop_on = 1u << CONN_TIMEOUT;
	conn_deadline(p.a.c, 20);
	conn_deadline(p.a.c, 60);	/* moved on: the first must not fire */
	conn_deadline(p.b.c, 40);
	p.b.stop_on = 1u << CONN_TIMEOUT;
	assert_int_equal(loop_run(p.l), 0);
	assert_int_equal(p.b.seen[CONN_TIMEOUT], 1);
	assert_int_equal(p.a.seen[CONN_TIMEOUT], 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_int_equal(p.a.seen[CONN_TIMEOUT], 1);
	conn_deadline(p.a.c, 10);
	conn_deadline(p.a.c, -1);
	wait_ms(&p, 40);
	assert_int_equal(p.a.seen[CONN_TIMEOUT], 1);
	pair_fini(&p);
}

static void
test_connect(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	socklen_t len = sizeof(to);
	int ls = socket(AF_INET, SOCK_STREAM, 0), fd;
	struct pair p;

	(void)state;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(ls, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(ls, 4), 0);
	assert_int_equal(getsockname(ls, (struct sockaddr *)&to, &len), 0);
	pair_init(&p);
	conn_close(&p.a.c);
	p.a.stop_on = 1u << CONN_CONNECTED | 1u << CONN_ERROR;
	p.a.c = conn_connect(p.l, (struct sockaddr *)&to, len, NULL, 0, &end_ops, &p.a);
	assert_non_null(p.a.c);
	assert_int_equal(conn_write(p.a.c, SLICE_LIT("early")), 0);
	assert_int_equal(p.a.seen[CONN_CONNECTED], 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_int_equal(p.a.seen[CONN_CONNECTED], 1);
	fd = accept(ls, NULL, NULL);
	char five[8];
	wait_ms(&p, 10);
	assert_int_equal(read(fd, five, sizeof(five)), 5);
	(void)close(fd);
	conn_close(&p.a.c);
	(void)close(ls);
	/* Nobody there. */
	p.a.c = conn_connect(p.l, (struct sockaddr *)&to, len, NULL, 0, &end_ops, &p.a);
	assert_non_null(p.a.c);
	assert_int_equal(loop_run(p.l), 0);
	assert_int_equal(p.a.seen[CONN_ERROR], 1);
	assert_string_equal(conn_error(p.a.c), "Connection refused");
	pair_fini(&p);
}

/* -- TLS ------------------------------------------------------------------------- */

static struct buf cert, key;
static struct tls_context *server, *client, *trusting;

static int
setup(void **state)
{
	char why[256], path[] = "/tmp/conn_test.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	cert_make("mx.example.it", &cert, &key);
	server = tls_server_new(buf_slice(&cert), buf_slice(&key), why, sizeof(why));
	client = tls_client_new(NULL, why, sizeof(why));
	if (fd < 0 || write(fd, cert.p + cert.off, buf_len(&cert)) < 0)
		return -1;
	(void)close(fd);
	trusting = tls_client_new(path, why, sizeof(why));
	(void)unlink(path);
	return server == NULL || client == NULL || trusting == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	tls_context_free(&server);
	tls_context_free(&client);
	tls_context_free(&trusting);
	buf_fini(&cert);
	buf_fini(&key);
	return 0;
}

static void
both_tls(struct pair *p, struct tls_context *ctx, const char *name)
{
	p->a.stop_on = p->b.stop_on = 1u << CONN_TLS | 1u << CONN_ERROR;
	assert_int_equal(conn_start_tls(p->a.c, server, NULL), 0);
	assert_int_equal(conn_start_tls(p->b.c, ctx, name), 0);
	while (p->a.seen[CONN_TLS] + p->b.seen[CONN_TLS] < 2 &&
	    p->a.seen[CONN_ERROR] + p->b.seen[CONN_ERROR] == 0)
		assert_int_equal(loop_run(p->l), 0);
	p->a.stop_on = p->b.stop_on = 0;
}

static void
test_tls(void **state)
{
	struct pair p;

	(void)state;
	for (int quota = 0; quota < 2; quota++) {
		pair_init(&p);
		assert_null(conn_tls(p.a.c));
		both_tls(&p, client, "mx.example.it");
		assert_non_null(conn_tls(p.a.c));
		assert_string_equal(conn_tls(p.b.c)->version, "TLSv1.3");
		assert_true(conn_tls(p.a.c)->cipher[0] != '\0');
		if (quota == 1)
			p.a.quota = p.b.quota = 999;
		send_all(&p, &p.a, &p.b, 2 * 1000 * 1000 + 3);
		send_all(&p, &p.b, &p.a, 2 * 1000 * 1000 + 3);
		/* An orderly end under TLS is an end. */
		p.b.stop_on = 1u << CONN_EOF;
		conn_finish(&p.a.c);
		assert_int_equal(loop_run(p.l), 0);
		pair_fini(&p);
	}
}

static void
test_tls_names(void **state)
{
	const struct {
		struct tls_context *ctx;
		const char *name, *why;	/* why "": verified */
	} t[] = {
		{ trusting, "mx.example.it", "" },
		{ trusting, "MX.Example.IT", "" },
		{ trusting, "mx.example.net", "hostname mismatch" },
		{ trusting, "127.0.0.1", "IP address mismatch" },
		{ trusting, NULL, "no name to compare with" },
		{ client, "mx.example.it", "self-signed certificate" },
	};
	struct pair p;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct tls_info *info;

		pair_init(&p);
		both_tls(&p, t[i].ctx, t[i].name);
		info = conn_tls(p.b.c);
		assert_non_null(info);	/* never refused by itself */
		assert_string_equal(info->peer, t[i].why);
		assert_int_equal(info->verified, t[i].why[0] == '\0');
		pair_fini(&p);
	}
}

/* What comes with STARTTLS in one segment was said in the clear: it is forgotten. */
static void
test_tls_injection(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.a.start_tls = server;
	p.b.stop_at = 8;
	assert_int_equal(conn_write(p.b.c, SLICE_LIT("STARTTLS\r\nRCPT TO:<evil>\r\n")), 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_memory_equal(p.b.got.p + p.b.got.off, "220 go\r\n", 8);
	assert_int_equal(conn_start_tls(p.b.c, client, NULL), 0);
	p.a.stop_on = p.b.stop_on = 1u << CONN_TLS;
	while (p.a.seen[CONN_TLS] + p.b.seen[CONN_TLS] < 2)
		assert_int_equal(loop_run(p.l), 0);
	p.a.stop_at = 4;
	assert_int_equal(conn_write(p.b.c, SLICE_LIT("EHLO")), 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_int_equal(buf_len(&p.a.got), 4);
	assert_memory_equal(p.a.got.p + p.a.got.off, "EHLO", 4);
	pair_fini(&p);
}

/* Half a TLS record is waited for asleep. */
static void
test_tls_half_record(void **state)
{
	struct pair p;
	clock_t before;

	(void)state;
	pair_init(&p);
	both_tls(&p, client, NULL);
	wait_ms(&p, 10);
	assert_int_equal(send(p.fd_b, "\x17\x03\x03", 3, 0), 3);
	before = clock();
	wait_ms(&p, 300);
	assert_true(clock() - before < CLOCKS_PER_SEC / 10);
	assert_int_equal(p.a.seen[CONN_ERROR], 0);
	pair_fini(&p);
}

static void
test_tls_garbage(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	p.a.stop_on = 1u << CONN_ERROR;
	assert_int_equal(conn_start_tls(p.a.c, server, NULL), 0);
	assert_int_equal(conn_write(p.b.c, SLICE_LIT("EHLO plain\r\n")), 0);
	assert_int_equal(loop_run(p.l), 0);
	assert_non_null(strstr(conn_error(p.a.c), "TLS handshake: "));
	pair_fini(&p);
	/* Or gone in the middle of it. */
	pair_init(&p);
	p.a.stop_on = 1u << CONN_ERROR;
	assert_int_equal(conn_start_tls(p.a.c, server, NULL), 0);
	conn_close(&p.b.c);
	assert_int_equal(loop_run(p.l), 0);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_leftover_bound),
		cmocka_unit_test(test_close_in_input),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_tls_names),
		cmocka_unit_test(test_tls_injection),
		cmocka_unit_test(test_tls_half_record),
		cmocka_unit_test(test_tls_garbage),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
