// SPDX-License-Identifier: Apache-2.0
/*
 * The driver over real sockets with scripted doubles (front.h). First the dialogues of
 * tests/relay/dialogues, each fed whole, byte by byte and at random splits: the transcript
 * must be the same. Then what a dialogue cannot say: time, TLS, memory, dying peers.
 *
 * A dialogue: "C: " a line sent with CRLF, "R: " raw bytes with \r \n \0 \\ \xNN, "T: N" N
 * kilobytes of content lines; "S: " an expected reply line ("*" at its end: anything), "M: "
 * an expected message at the queue (front_record), "conf: " lines for relay.conf, "P: " the
 * peer's address where PROXY is spoken, "LMTP" alone, "#".
 * A dialogue ends when the server closes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>

#include "tests/relay/cert.h"
#include "tests/relay/front.h"

/* -- dialogues --------------------------------------------------------------------- */

struct dialogue {
	struct buf	conf, send, replies, kept;
	char		proxy[64];	/* the peer, "" where no PROXY header is expected */
	bool		lmtp;
};

static void
put_raw(struct buf *out, struct slice s)
{
	static const char *const hex = "0123456789abcdef";

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '\\') {
			assert_true(++i < s.n);
			c = s.p[i];
			if (c == 'r')
				c = '\r';
			else if (c == 'n')
				c = '\n';
			else if (c == '0')
				c = '\0';
			else if (c == 'x') {
				assert_true(i + 2 < s.n);
				c = (char)((strchr(hex, s.p[i + 1]) - hex) << 4 |
				    (strchr(hex, s.p[i + 2]) - hex));
				i += 2;
			}
		}
		assert_int_equal(buf_put(out, &c, 1), 0);
	}
}

static void
put_text(struct buf *out, struct slice kilobytes)
{
	uint64_t n;
	char line[65];

	assert_int_equal(slice_u64(kilobytes, &n), 0);
	memset(line, 'x', 62);
	memcpy(line + 62, "\r\n", 3);
	for (uint64_t i = 0; i < n * 16; i++)
		assert_int_equal(buf_put(out, line, 64), 0);
}

static void
put_line(struct buf *out, struct slice s, const char *end)
{
	assert_int_equal(buf_put_slice(out, s), 0);
	assert_int_equal(buf_puts(out, end), 0);
}

static void
dialogue_line(struct dialogue *d, struct slice line, const char *file)
{
	struct slice rest = slice_sub(line, 3, line.n);

	if (line.n == 0 || line.p[0] == '#')
		return;
	if (slice_eq(line, SLICE_LIT("LMTP")))
		d->lmtp = true;
	else if (slice_istarts(line, SLICE_LIT("conf: ")))
		put_line(&d->conf, slice_sub(line, 6, line.n), "\n");
	else if (slice_istarts(line, SLICE_LIT("P: ")))
		assert_int_equal(slice_cstr(rest, d->proxy, sizeof(d->proxy)), 0);
	else if (slice_istarts(line, SLICE_LIT("C:")))
		put_line(&d->send, rest, "\r\n");
	else if (slice_istarts(line, SLICE_LIT("R: ")))
		put_raw(&d->send, rest);
	else if (slice_istarts(line, SLICE_LIT("T: ")))
		put_text(&d->send, rest);
	else if (slice_istarts(line, SLICE_LIT("S: ")))
		put_line(&d->replies, rest, "\n");
	else if (slice_istarts(line, SLICE_LIT("M: ")))
		put_line(&d->kept, line, "\n");
	else
		fail_msg("%s: what is \"%.*s\"?", file, SLICE_FMT(line));
}

static void
dialogue_read(struct dialogue *d, const char *file)
{
	FILE *f = fopen(file, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	assert_non_null(f);
	d->proxy[0] = '\0';
	d->lmtp = false;
	buf_init(&d->conf, 4096);
	buf_init(&d->send, FRONT_KEPT);
	buf_init(&d->replies, FRONT_KEPT);
	buf_init(&d->kept, FRONT_KEPT);
	while ((n = getline(&line, &cap, f)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			n--;
		dialogue_line(d, slice_make(line, (size_t)n), file);
	}
	assert_int_equal(buf_put(&d->conf, "", 1), 0);
	free(line);
	(void)fclose(f);
}

static void
dialogue_fini(struct dialogue *d)
{
	buf_fini(&d->conf);
	buf_fini(&d->send);
	buf_fini(&d->replies);
	buf_fini(&d->kept);
}

static struct slice
take_line(struct slice *s, const char *end)
{
	const char *p = s->n == 0 ? NULL : memmem(s->p, s->n, end, strlen(end));
	struct slice line = *s;

	if (p == NULL) {
		*s = SLICE_NONE;
		return line;
	}
	line = slice_sub(*s, 0, (size_t)(p - s->p));
	*s = slice_sub(*s, line.n + strlen(end), s->n);
	return line;
}

static void
compare(const char *file, const char *how, struct slice want, struct slice got,
    const char *got_end)
{
	while (want.n > 0 || got.n > 0) {
		struct slice w = take_line(&want, "\n"), g = take_line(&got, got_end);
		bool same = slice_eq(w, g);

		if (w.n > 0 && w.p[w.n - 1] == '*')
			same = g.n >= w.n - 1 && memcmp(w.p, g.p, w.n - 1) == 0;
		if (!same)
			fail_msg("%s, %s:\n expected %.*s\n      got %.*s", file, how,
			    SLICE_FMT(w), SLICE_FMT(g));
	}
}

static void
dialogue_run(const struct dialogue *d, const char *file, unsigned seed)
{
	struct slice rest = buf_slice(&d->send);
	struct front f;
	struct client k;
	char how[64];

	(void)snprintf(how, sizeof(how), seed == 0 ? "whole" : seed == 1 ? "byte by byte" :
	    "split %u", seed);
	front_init(&f, d->conf.p + d->conf.off, NULL);
	if (d->proxy[0] != '\0')
		client_init_from(&k, &f, d->proxy, SESSION_PROXY);
	else if (d->lmtp)
		client_init_from(&k, &f, "192.0.2.1", SESSION_TLS | SESSION_LMTP);
	else
		client_init(&k, &f);
	while (!k.ended) {
		size_t n = seed == 0 ? CONN_WRITE_MAX : 1;

		if (seed > 1)
			n += (size_t)random() % (seed % 2 == 0 ? 10 : 700);
		n = n < rest.n ? n : rest.n;
		if (n > 0 && conn_write(k.c, slice_sub(rest, 0, n)) == 0)
			rest = slice_sub(rest, n, rest.n);
		/* One turn for the bytes to arrive, or as long as it takes at the end. */
		if (rest.n > 0) {
			loop_later(f.l, front_stop_loop, f.l);
			k.want = 0;
		}
		assert_int_equal(loop_run(f.l), 0);
	}
	compare(file, how, buf_slice(&d->replies), buf_slice(&k.got), "\r\n");
	compare(file, how, buf_slice(&d->kept), buf_slice(&f.kept), "\n");
	client_fini(&k);
	/* A few turns until the server's end has read what was left and the end of it. */
	front_run_ms(&f, 10);
	struct smtp_server_stats st;
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.sessions, 0);
	assert_int_equal(st.body_bytes, 0);
	front_fini(&f);
}

static void
test_dialogues(void **state)
{
	glob_t g;

	(void)state;
	assert_int_equal(glob("tests/relay/dialogues/*.txt", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct dialogue d;

		dialogue_read(&d, g.gl_pathv[i]);
		srandom(1);
		for (unsigned seed = 0; seed < 8; seed++) {
			if (seed == 1 && buf_len(&d.send) > 20000)
				continue;
			dialogue_run(&d, g.gl_pathv[i], seed);
		}
		dialogue_fini(&d);
	}
	print_message("%zu dialogues\n", g.gl_pathc);
	globfree(&g);
}

/* -- time -------------------------------------------------------------------------- */

#define MAIL_TO(to) "EHLO c\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<" to "@example.it>\r\n"
#define MESSAGE(field) MAIL_TO("mario") "DATA\r\n" field "\r\n\r\nciao\r\n.\r\n"

static void
jump(int64_t ms)
{
	clock_fake(clock_wall_ms(), clock_mono_ms() + ms);
}

static void
test_silent_directory(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	jump(0);
	client_init(&k, &f);
	client_say(&k, MAIL_TO("mute"));
	client_expect(&k, "sender taken\r\n");
	front_run_ms(&f, 250);
	assert_int_equal(buf_len(&k.got), 0);
	jump(5001);
	client_expect(&k, "451 4.3.0 cannot tell now, try again later\r\n");
	/* A pipelined DATA must not say "no valid recipients" for good (P2). */
	client_say(&k, "DATA\r\n");
	client_expect(&k, "451 4.5.1 no recipient was taken, try again later\r\n");
	client_fini(&k);
	front_fini(&f);
	clock_fake(-1, -1);
}

static void
test_silent_queue(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	jump(0);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Queue: mute"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	front_run_ms(&f, 250);
	jump(30001);
	client_expect(&k, "451 4.3.0 could not keep the message, try again later\r\n");
	assert_int_equal(f.commits, 1);
	client_fini(&k);
	front_fini(&f);
	clock_fake(-1, -1);
}

/* Two verify processes say nothing: held, not forwarded, but taken (P2). */
static void
test_silent_verify(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	jump(0);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Verify: mute"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	for (int i = 0; i < 2; i++) {
		front_run_ms(&f, 250);
		jump(10001);
	}
	front_run_ms(&f, 250);
	assert_int_equal(f.evaluations, 2);
	assert_int_equal(f.commits, 1);
	assert_true(front_kept_says(&f, "[not-evaluated]"));
	client_fini(&k);
	front_fini(&f);
	clock_fake(-1, -1);
}

/* DNS that never comes back does not hold a message for ever. */
static void
test_silent_dns(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "evaluate-timeout = 2s", NULL);
	front_dns.mute = true;
	jump(0);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Verify: greedy"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	front_run_ms(&f, 250);
	jump(13000);
	front_run_ms(&f, 250);
	assert_int_equal(f.commits, 1);
	assert_int_equal(f.evaluations, 2);	/* the second with last = 1 */
	client_fini(&k);
	front_fini(&f);
	clock_fake(-1, -1);
}

static void
test_timeouts(void **state)
{
	static const struct { const char *conf, *say, *expect, *end; } t[] = {
		{ "command-timeout = 1s", "EHLO c\r\n", "250 8BITMIME\r\n",
		    "421 4.4.2 mx.example.net waited too long, closing\r\n" },
		{ "data-timeout = 1s", MAIL_TO("mario") "DATA\r\na",
		    "354 end with CR LF . CR LF\r\n", "421 4.4.2 mx.example.net waited too long, closing\r\n" },
		{ "session-timeout = 1s\ncommand-timeout = 1s\ndata-timeout = 1s",
		    "NOOP\r\n", "250 2.0.0 ok\r\n",
		    "421 4.4.2 mx.example.net this session lasted too long, closing\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct front f;
		struct client k;

		front_init(&f, t[i].conf, NULL);
		client_init(&k, &f);
		client_say(&k, t[i].say);
		client_expect(&k, t[i].expect);
		client_expect(&k, t[i].end);
		client_expect_end(&k);
		client_fini(&k);
		front_fini(&f);
	}
}

/* Bytes that trickle in do not keep a command alive. */
static void
test_trickle(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "command-timeout = 1s", NULL);
	client_init(&k, &f);
	client_expect(&k, "220 mx.example.net ESMTP Salvaposta\r\n");
	for (int i = 0; i < 9; i++) {
		client_say(&k, "x");
		front_run_ms(&f, 120);
	}
	client_expect_end(&k);
	client_fini(&k);
	front_fini(&f);
}

/* A group of commands is answered in one piece, though two of them had to wait (RFC 2920
 * 3.2): a system call and a wake-up of the client for each answer is what it saves. */
static void
test_grouped(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	client_init(&k, &f);
	client_say(&k, "EHLO c\r\n");
	client_expect(&k, "250 8BITMIME\r\n");
	k.inputs = 0;
	client_say(&k, "MAIL FROM:<a@example.com>\r\nRCPT TO:<mario@example.it>\r\n"
	    "RCPT TO:<anna@example.it>\r\nDATA\r\n");
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	assert_int_equal(k.inputs, 1);
	client_fini(&k);
	front_fini(&f);
}

/* -- verdict ----------------------------------------------------------------------- */

/* Names are fetched once; the next message of that sender brings them along. */
static void
test_memo(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Verify: want") MESSAGE("X-Verify: want"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	while (f.commits < 2)
		front_run_ms(&f, 10);
	assert_int_equal(front_dns.batches, 1);
	assert_int_equal(f.evaluations, 3);
	assert_true(front_dns.asked > 0);	/* early, at MAIL */
	client_fini(&k);
	front_fini(&f);
}

static void
test_rounds(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Verify: greedy") "QUIT\r\n");
	client_expect_end(&k);
	assert_int_equal(f.commits, 1);
	assert_in_range(f.evaluations, 24, 33);	/* enough for RFC 7208 4.6.4, and an end */
	client_fini(&k);
	front_fini(&f);
}

/* No verify process for a moment: the message waits for one. */
static void
test_verify_restarts(void **state)
{
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	for (unsigned i = 0; i < FRONT_VERIFIERS; i++)
		front_peer_fini(&f.verify[i]);
	front_run_ms(&f, 1);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-A: b"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	front_run_ms(&f, 20);
	front_up(&f, &f.verify[1], ROLE_VERIFY, 1);
	client_say(&k, "QUIT\r\n");
	client_expect_end(&k);
	assert_int_equal(f.evaluations, 1);
	assert_false(front_kept_says(&f, "[not-evaluated]"));
	client_fini(&k);
	front_fini(&f);
}

/* -- the peers' end ---------------------------------------------------------------- */

/* A client that goes away while its message is being kept: nothing is left behind, and
 * late answers find nobody. */
static void
test_gone(void **state)
{
	static const char *const say[] = {
		MAIL_TO("mute"), MESSAGE("X-Queue: mute"), MESSAGE("X-Verify: mute"),
		MAIL_TO("mario") "DATA\r\nhalf a mess", "EHLO", "",
	};
	struct smtp_server_stats st;
	struct front f;

	(void)state;
	front_init(&f, "command-timeout = 1s", NULL);
	for (size_t i = 0; i < sizeof(say) / sizeof(say[0]); i++) {
		struct client k;

		client_init(&k, &f);
		client_say(&k, say[i]);
		front_run_ms(&f, 20);
		client_fini(&k);
	}
	front_run_ms(&f, 20);
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.sessions, 3);	/* those that wait for a role */
	front_fini(&f);
}

/* An answer to a question that was never asked, or was answered already. */
static void
test_forged_answers(void **state)
{
	struct queue_committed c = { .status = COMMIT_OK };
	struct front f;
	struct client k;

	(void)state;
	front_init(&f, "", NULL);
	client_init(&k, &f);
	client_say(&k, MESSAGE("X-Verify: mute"));
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	for (uint64_t i = 0; i < 200; i++) {
		c.req = i << 32 | (i & 3);
		assert_int_equal(ipc_send(f.queue.own_end, QUEUE_COMMITTED,
		    &queue_committed_wire, &c, -1), 0);
	}
	front_run_ms(&f, 20);
	assert_int_equal(buf_len(&k.got), 0);	/* no 250 without a commit of this one (P1) */
	client_fini(&k);
	front_fini(&f);
}

/* -- TLS --------------------------------------------------------------------------- */

static void
test_starttls(void **state)
{
	struct tls_context *server, *trust;
	struct buf cert, key;
	struct front f;
	struct client k;
	char why[256];

	(void)state;
	cert_make("mx.example.net", &cert, &key);
	server = tls_server_new(buf_slice(&cert), buf_slice(&key), why, sizeof(why));
	trust = tls_client_new(NULL, why, sizeof(why));
	assert_non_null(server);
	front_init(&f, "", server);
	client_init(&k, &f);
	client_say(&k, "EHLO c\r\n");
	client_expect(&k, "250-STARTTLS\r\n250 8BITMIME\r\n");
	client_say(&k, "MAIL FROM:<a@example.com>\r\nSTARTTLS\r\n");
	client_expect(&k, "503 5.5.1 not now\r\n");
	/* What rides behind STARTTLS is never a command (spec 13.6). */
	client_say(&k, "RSET\r\nSTARTTLS\r\nEHLO evil\r\nNOOP\r\n");
	client_expect(&k, "220 2.0.0 go ahead\r\n");
	assert_int_equal(conn_start_tls(k.c, trust, NULL), 0);
	while (!k.tls)
		assert_int_equal(loop_run(f.l), 0);
	client_say(&k, "MAIL FROM:<a@example.com>\r\n");
	client_expect(&k, "503 5.5.1 EHLO comes first\r\n");
	client_say(&k, "STARTTLS\r\n");
	client_expect(&k, "503 5.5.1 TLS is on already\r\n");
	client_say(&k, MESSAGE("X-A: b") "QUIT\r\n");
	client_expect(&k, "221 2.0.0 mx.example.net closing\r\n");
	client_expect_end(&k);
	assert_true(front_kept_says(&f, "[tls]"));
	client_fini(&k);
	/* Plain text instead of a handshake. */
	client_init(&k, &f);
	client_say(&k, "EHLO c\r\nSTARTTLS\r\n");
	client_expect(&k, "220 2.0.0 go ahead\r\n");
	client_say(&k, "NOOP NOOP NOOP\r\n");
	client_expect_end(&k);
	client_fini(&k);
	struct smtp_server_stats st;
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.tls, 1);
	assert_int_equal(st.tls_failed, 1);
	front_fini(&f);
	tls_context_free(&server);
	tls_context_free(&trust);
	buf_fini(&cert);
	buf_fini(&key);
}

/* -- memory, crowds, stopping ------------------------------------------------------ */

static void
test_memory(void **state)
{
	struct smtp_server_stats st;
	struct client k[17], late;
	struct front f;

	(void)state;
	front_init(&f, "body-memory-max = 1M\nmessage-size-max = 1M\ncommand-timeout = 1s", NULL);
	jump(0);
	/* Sixteen bodies of 64 KiB fill it, the next one waits. */
	for (int i = 0; i < 17; i++) {
		client_init(&k[i], &f);
		client_say(&k[i], "EHLO c\r\nMAIL FROM:<a@example.com> SIZE=65536\r\n"
		    "RCPT TO:<mario@example.it>\r\n");
		client_expect(&k[i], "250 2.1.5 recipient taken\r\n");
		client_say(&k[i], "DATA\r\n");
		if (i < 16)
			client_expect(&k[i], "354 end with CR LF . CR LF\r\n");
	}
	front_run_ms(&f, 20);
	assert_int_equal(buf_len(&k[16].got), 0);
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.waiting, 1);
	client_say(&k[0], "ciao\r\n.\r\n");
	client_expect(&k[16], "354 end with CR LF . CR LF\r\n");
	/* The next one waits too long. */
	client_init(&late, &f);
	client_say(&late, "EHLO c\r\nMAIL FROM:<> SIZE=1000000\r\nRCPT TO:<mario@example.it>\r\n"
	    "DATA\r\n");
	client_expect(&late, "250 2.1.5 recipient taken\r\n");
	jump(1001);
	client_expect(&late, "452 4.3.1 no room for a message now, try again later\r\n");
	client_fini(&late);
	for (int i = 0; i < 17; i++)
		client_fini(&k[i]);
	front_run_ms(&f, 20);
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.body_bytes, 0);
	assert_int_equal(st.waiting, 0);
	front_fini(&f);
	clock_fake(-1, -1);
}

static void
test_crowd(void **state)
{
	struct client k[3];
	struct front f;

	(void)state;
	front_init(&f, "sessions-max = 2", NULL);
	for (int i = 0; i < 3; i++)
		client_init(&k[i], &f);
	client_expect(&k[2], "421 4.3.2 mx.example.net has too many sessions, try again later\r\n");
	client_expect_end(&k[2]);
	client_expect(&k[0], "220 mx.example.net ESMTP Salvaposta\r\n");
	client_expect(&k[1], "220 mx.example.net ESMTP Salvaposta\r\n");
	client_fini(&k[0]);
	client_fini(&k[2]);
	client_init(&k[2], &f);
	client_expect(&k[2], "220 mx.example.net ESMTP Salvaposta\r\n");
	client_fini(&k[1]);
	client_fini(&k[2]);
	front_fini(&f);
}

/* Sessions of one address and of its network; others, fronts and loopback go on. */
static void
test_crowd_of_one(void **state)
{
	static const struct { const char *ip, *reply; } t[] = {
		{ "203.0.113.1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "203.0.113.1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "203.0.113.1", "421 4.7.0 mx.example.net too many sessions from your address\r\n" },
		{ "203.0.113.2", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "203.0.113.3", "421 4.7.0 mx.example.net too many sessions from your network\r\n" },
		{ "203.0.114.3", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "2001:db8:0:5::1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "2001:db8:0:5::2", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "2001:db8:0:5::3", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "2001:db8:0:5::4", "421 4.7.0 mx.example.net too many sessions from your network\r\n" },
		{ "198.51.100.7", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "198.51.100.7", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "198.51.100.7", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "127.0.0.1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "127.0.0.1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "127.0.0.1", "220 mx.example.net ESMTP Salvaposta\r\n" },
		{ "::1", "220 mx.example.net ESMTP Salvaposta\r\n" },
	};
	enum { N = sizeof(t) / sizeof(t[0]) };
	struct smtp_server_stats st;
	struct client k[N];
	struct front f;

	(void)state;
	front_init(&f, "trusted-relay = { \"198.51.100.7\" }\n"
	    "connections-per-address = 2\nconnections-per-network = 3", NULL);
	for (int i = 0; i < N; i++) {
		client_init_from(&k[i], &f, t[i].ip, SESSION_TLS);
		client_expect(&k[i], t[i].reply);
		if (t[i].reply[0] == '4')
			client_expect_end(&k[i]);
	}
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.crowded_address, 1);
	assert_int_equal(st.crowded_network, 2);
	/* Whoever leaves makes room. */
	client_fini(&k[0]);
	client_fini(&k[2]);
	client_init_from(&k[0], &f, "203.0.113.1", SESSION_TLS);
	client_expect(&k[0], "220 mx.example.net ESMTP Salvaposta\r\n");
	client_init_from(&k[2], &f, "203.0.113.1", SESSION_TLS);
	client_expect(&k[2], "421 4.7.0 mx.example.net too many sessions from your address\r\n");
	for (int i = 0; i < N; i++)
		client_fini(&k[i]);
	/* The client a PROXY header names is the one who is counted. */
	for (int i = 0; i < 3; i++) {
		client_init_from(&k[i], &f, "198.51.100.7", SESSION_PROXY);
		client_say(&k[i], "PROXY TCP4 203.0.113.1 198.51.100.1 1 25\r\n");
		client_expect(&k[i], t[i].reply);
	}
	for (int i = 0; i < 3; i++)
		client_fini(&k[i]);
	front_fini(&f);
}

/* A front that says nothing is not waited for long, and gets no words. */
static void
test_proxy_silent(void **state)
{
	struct smtp_server_stats st;
	struct client k;
	struct front f;

	(void)state;
	front_init(&f, "trusted-relay = { \"198.51.100.7\" }\ncommand-timeout = 1s", NULL);
	client_init_from(&k, &f, "198.51.100.7", SESSION_PROXY);
	client_say(&k, "PROXY TCP4 203.0.113.1 ");
	front_run_ms(&f, 20);
	assert_false(k.ended);
	client_expect_end(&k);
	assert_int_equal(buf_len(&k.got), 0);
	client_fini(&k);
	smtp_server_stats(f.server, &st);
	assert_int_equal(st.timeouts, 1);
	assert_int_equal(st.sessions, 0);
	front_fini(&f);
}

/* data-rate-min: half a minute of grace, then the average counts, in a chunk as in DATA. */
static void
test_slow(void **state)
{
	static const struct {
		const char *conf, *begin, *piece;
		int seconds[2];		/* fine after the first, ended after the second */
	} t[] = {
		{ "data-rate-min = 100", "DATA\r\n", "x", { 29, 2 } },
		{ "data-rate-min = 1", "DATA\r\n", "0123456789012345678901234567890123456789",
		    { 39, 500 } },
		{ "data-rate-min = 100", "BDAT 100000\r\n", "x", { 29, 2 } },
		{ "data-rate-min = 100", "BDAT 1\r\nx", "BDAT 1\r\nx", { 29, 2 } },
		{ "data-rate-min = 1", "BDAT 1\r\nx", "BDAT 40\r\n0123456789012345678901234567890123456789",
		    { 39, 500 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct smtp_server_stats st;
		struct client k;
		struct front f;

		front_init(&f, t[i].conf, NULL);
		jump(0);
		client_init(&k, &f);
		client_say(&k, MAIL_TO("mario"));
		client_expect(&k, "250 2.1.5 recipient taken\r\n");
		client_say(&k, t[i].begin);
		front_run_ms(&f, 20);
		jump(t[i].seconds[0] * 1000);
		client_say(&k, t[i].piece);
		front_run_ms(&f, 20);
		assert_false(k.ended);
		jump(t[i].seconds[1] * 1000);
		client_say(&k, t[i].piece);
		if (t[i].seconds[1] < 180)
			client_expect(&k,
			    "421 4.4.2 mx.example.net this message comes in too slowly, closing\r\n");
		client_expect_end(&k);
		smtp_server_stats(f.server, &st);
		assert_int_equal(st.slow + st.timeouts, 1);
		client_fini(&k);
		front_fini(&f);
		clock_fake(-1, -1);
	}
}

/* A filter is told the client's name: asked of DNS before, and never waited for by a client
 * that has left. The filter itself is away here, which is as if it had found nothing. */
static void
test_name_for_filters(void **state)
{
	struct client k;
	struct front f;

	(void)state;
	for (int leaves = 0; leaves < 2; leaves++) {
		front_init(&f, "milter \"m\" { address = \"127.0.0.1:1\" }", NULL);
		front_dns.mute = leaves;
		client_init(&k, &f);
		client_say(&k, MAIL_TO("mario") "DATA\r\nS: x\r\n\r\n.\r\n");
		front_run_ms(&f, 30);
		assert_int_equal(front_dns.batches, 1);
		if (!leaves)
			front_run_ms(&f, 50);
		assert_int_equal(f.commits, !leaves);
		client_fini(&k);
		front_fini(&f);
	}
}

static void
set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void
test_stop(void **state)
{
	struct client idle, busy, stuck;
	bool done = false;
	struct front f;

	(void)state;
	front_init(&f, "", NULL);
	client_init(&idle, &f);
	client_init(&busy, &f);
	client_init(&stuck, &f);
	client_say(&idle, "EHLO c\r\n");
	client_expect(&idle, "250 8BITMIME\r\n");
	client_say(&busy, MAIL_TO("mario") "DATA\r\n");
	client_expect(&busy, "354 end with CR LF . CR LF\r\n");
	client_say(&stuck, MAIL_TO("mute"));
	client_expect(&stuck, "sender taken\r\n");
	smtp_server_stop(f.server, 300, set_flag, &done);
	client_expect(&idle, "421 4.3.2 mx.example.net is stopping, try again later\r\n");
	client_expect_end(&idle);
	/* A message under way is finished, then no other begins. */
	client_say(&busy, "ciao\r\n.\r\n");
	client_expect(&busy, "421 4.3.2 mx.example.net is stopping, try again later\r\n");
	client_expect_end(&busy);
	assert_int_equal(f.commits, 1);
	assert_false(done);
	client_expect(&stuck, "421 4.3.2 mx.example.net is stopping, try again later\r\n");
	client_expect_end(&stuck);
	while (!done)
		front_run_ms(&f, 10);
	client_fini(&idle);
	client_fini(&busy);
	client_fini(&stuck);
	front_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_silent_directory),
		cmocka_unit_test(test_silent_queue),
		cmocka_unit_test(test_silent_verify),
		cmocka_unit_test(test_silent_dns),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_grouped),
		cmocka_unit_test(test_memo),
		cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_verify_restarts),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_forged_answers),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_crowd_of_one),
		cmocka_unit_test(test_proxy_silent),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_name_for_filters),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
