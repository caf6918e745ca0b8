// SPDX-License-Identifier: Apache-2.0
/* STARTTLS on the way out (spec 13.1, 13.2, 13.6), against a server of our own parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/body.h"
#include "relay/conn.h"
#include "relay/deliver.h"
#include "tests/relay/cert.h"
#include "tests/relay/dns_peer.h"

enum mode { MODE_GOOD, MODE_GARBAGE, MODE_REFUSE, MODE_INJECT, MODE_SILENT, MODE_STRIPPED,
	MODE_REQUIRETLS };

struct bed {
	struct loop		*loop;
	struct conf		 conf;
	char			 hostname[32];
	char			*resolver[1];
	struct dns		*dns;
	struct deliver		*deliver;
	struct tls_context	*client, *context;
	struct timer		*guard;
	int			 fd;
	uint16_t		 port;
	struct watch		*watch;
	struct conn		*conn;		/* the server's side */
	enum mode		 mode;
	bool			 data, late, done;
	char			 log[512];
	struct buf		 content;
	uint8_t			 outcome, scope, tls;
	char			 text[600], enhanced[16], mail[200];
	struct dns_peer		 peer;
	uint8_t			 tlsa[3 + 32];	/* of the server's key; see zone() */
	bool			 unproved;	/* the zone is not signed */
	uint8_t			 demand;	/* enum deliver_tls */
};

/* dom.example has srv.example for its mail server, on the port of the bed. */
static void
zone(struct dns_peer *p, const struct dns_ask *a, struct dns_msg *m)
{
	struct bed *b = p->arg;
	char name[64];

	msg_reply(m, a, b->unproved ? 0 : 0x20);
	(void)snprintf(name, sizeof(name), "_%u._tcp.srv.example", b->port);
	if (a->type == DNS_MX && strcmp(a->name, "dom.example") == 0)
		msg_to_name(m, a->name, DNS_MX, 10, "srv.example", 60);
	if (a->type == DNS_A && strcmp(a->name, "srv.example") == 0)
		msg_a(m, a->name, "127.0.0.1", 60);
	if (a->type == DNS_TLSA && strcmp(a->name, name) == 0 && b->tlsa[0] != 0)
		msg_rr(m, 0, a->name, DNS_TLSA, 60, b->tlsa, sizeof(b->tlsa));
}

static void
say(struct bed *b, const char *s)
{
	assert_int_equal(conn_write(b->conn, slice_str(s)), 0);
}

static void
command(struct bed *b, struct slice line)
{
	size_t n = strlen(b->log);

	(void)snprintf(b->log + n, sizeof(b->log) - n, "%.4s%s ", line.p,
	    conn_tls(b->conn) != NULL ? "*" : "");
	if (slice_istarts(line, SLICE_LIT("EHLO"))) {
		if (conn_tls(b->conn) != NULL)
			say(b, b->mode == MODE_REQUIRETLS ? "250-srv\r\n250 REQUIRETLS\r\n" :
			    "250-srv\r\n250 PIPELINING\r\n");
		else
			say(b, b->mode == MODE_STRIPPED ? "250-srv\r\n250 PIPELINING\r\n" :
			    "250-srv\r\n250-DSN\r\n250 STARTTLS\r\n");
	} else if (slice_istarts(line, SLICE_LIT("STARTTLS"))) {
		if (b->mode == MODE_SILENT)
			return;
		say(b, b->mode == MODE_REFUSE ? "454 4.7.0 no\r\n" : "220 go\r\n");
		if (b->mode == MODE_INJECT)
			say(b, "250-evil\r\n250 SIZE 1\r\n");
		if (b->mode == MODE_GARBAGE)
			say(b, "this is no handshake at all\r\n");
		if (b->mode == MODE_GOOD || b->mode == MODE_INJECT ||
		    b->mode == MODE_REQUIRETLS)
			assert_int_equal(conn_start_tls(b->conn, b->context, NULL), 0);
	} else if (slice_istarts(line, SLICE_LIT("MAIL"))) {
		(void)snprintf(b->mail, sizeof(b->mail), "%.*s", SLICE_FMT(slice_trim(line)));
		say(b, "250 2.1.0 ok\r\n");
	} else if (slice_istarts(line, SLICE_LIT("DATA"))) {
		b->data = true;
		say(b, "354 go\r\n");
	} else {
		say(b, "250 2.0.0 ok\r\n");
	}
}

static size_t
on_input(void *arg, struct slice in)
{
	struct bed *b = arg;
	size_t at = 0, nl;
	struct slice c;

	while (!b->data && at < in.n) {
		nl = slice_find(slice_sub(in, at, in.n), '\n');
		if (at + nl >= in.n)
			return at;
		command(b, slice_sub(in, at, at + nl));
		at += nl + 1;
	}
	if (!b->data)
		return at;
	assert_int_equal(buf_put_slice(&b->content, slice_sub(in, at, in.n)), 0);
	c = buf_slice(&b->content);
	if (c.n >= 5 && memcmp(c.p + c.n - 5, "\r\n.\r\n", 5) == 0) {
		b->data = false;
		say(b, "250 2.0.0 kept\r\n");
	}
	return in.n;
}

static void
on_event(void *arg, enum conn_event ev)
{
	struct bed *b = arg;

	if (ev == CONN_EOF || ev == CONN_ERROR)
		conn_close(&b->conn);
}

static const struct conn_ops server_ops = { on_input, on_event };

static void
on_accept(void *arg, int fd, unsigned ready)
{
	struct bed *b = arg;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)ready;
	assert_true(c >= 0);
	conn_close(&b->conn);
	b->conn = conn_accepted(b->loop, c, &server_ops, b);
	say(b, "220 hi\r\n");
}

static void
on_guard(void *arg)
{
	struct bed *b = arg;

	b->late = true;
	loop_stop(b->loop);
}

static void
on_result(void *arg, const struct queue_delivered *r)
{
	struct bed *b = arg;

	b->done = true;
	b->outcome = r->outcome;
	b->scope = r->scope;
	b->tls = r->tls;
	/* offered only before TLS: that does not count */
	assert_int_equal(r->dsn, b->mode == MODE_GARBAGE && r->outcome == DELIVER_OK);
	assert_int_equal(slice_cstr(r->text, b->text, sizeof(b->text)), 0);
	assert_int_equal(slice_cstr(r->enhanced, b->enhanced, sizeof(b->enhanced)), 0);
	loop_stop(b->loop);
}

/* What a TLSA record of usage 3, selector 1, matching 1 says of this certificate. */
static void
tlsa_of(struct slice pem, uint8_t out[3 + 32])
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

	assert_true(n > 0);
	out[0] = 3;
	out[1] = out[2] = 1;
	assert_non_null(SHA256(der, (size_t)n, out + 3));
	OPENSSL_free(der);
	X509_free(x);
	BIO_free(bio);
}

static void
bed_open(struct bed *b, enum mode mode)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	struct buf cert, key;
	char why[256];

	memset(b, 0, sizeof(*b));
	b->mode = mode;
	b->loop = loop_new();
	buf_init(&b->content, 8 << 20);
	cert_make("srv.example", &cert, &key);
	b->context = tls_server_new(buf_slice(&cert), buf_slice(&key), why, sizeof(why));
	b->client = tls_client_new(NULL, why, sizeof(why));
	assert_non_null(b->context);
	assert_non_null(b->client);
	tlsa_of(buf_slice(&cert), b->tlsa);
	dns_peer_open(&b->peer, b->loop, zone, b);
	buf_fini(&cert);
	buf_fini(&key);
	b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->fd, 5), 0);
	assert_int_equal(getsockname(b->fd, (struct sockaddr *)&a, &len), 0);
	b->port = ntohs(a.sin_port);
	b->watch = watch_new(b->loop, b->fd, on_accept, b);
	watch_want(b->watch, LOOP_READ);
	(void)snprintf(b->hostname, sizeof(b->hostname), "us.example");
	b->resolver[0] = b->peer.server;
	b->conf = (struct conf){
		.hostname = b->hostname, .resolver = b->resolver, .nresolver = 1,
		.dns_timeout_ms = 1000, .dns_tries = 1, .dns_cache_max = 10,
		.smtp_port = b->port, .deliver_to_loopback = true,
		.connections_max = 1, .deliveries_max = 2, .messages_per_connection = 10,
		.connect_timeout_ms = 2000, .reply_timeout_ms = 300, .send_timeout_ms = 2000,
		.idle_timeout_ms = 1000,
	};
	b->dns = dns_new(b->loop, &b->conf, NULL, NULL);
	b->deliver = deliver_new(b->loop, &b->conf, b->dns, NULL, b->client, NULL,
	    on_result, b);
	b->guard = timer_new(b->loop, on_guard, b);
}

static void
bed_close(struct bed *b)
{
	deliver_free(&b->deliver);
	dns_free(&b->dns);
	conn_close(&b->conn);
	dns_peer_close(&b->peer);
	watch_free(&b->watch);
	close(b->fd);
	timer_free(&b->guard);
	tls_context_free(&b->client);
	tls_context_free(&b->context);
	buf_fini(&b->content);
	loop_free(&b->loop);
}

static void
send_to(struct bed *b, uint8_t kind, const char *host, struct slice body)
{
	struct queue_deliver q = {
		.req = 1, .route = kind, .port = b->port, .host = slice_str(host),
		.tls = b->demand, .mail_from = SLICE_LIT("s@x.example"), .rcpt = SLICE_LIT("r@y.example"),
	};

	b->done = b->late = false;
	deliver_start(b->deliver, &q, body_make(body));
	timer_arm(b->guard, 5000);
	loop_run(b->loop);
	timer_cancel(b->guard);
	assert_true(b->done);
}

static void
send_body(struct bed *b, struct slice body)
{
	send_to(b, ROUTE_SMTP, "127.0.0.1", body);
}

static void
test_modes(void **state)
{
	static const struct { enum mode mode; uint8_t outcome, scope, tls; const char *log; } c[] = {
		{ MODE_GOOD, DELIVER_OK, SCOPE_MESSAGE, 1, "EHLO STAR EHLO* MAIL* RCPT* DATA* " },
		{ MODE_INJECT, DELIVER_OK, SCOPE_MESSAGE, 1, "EHLO STAR EHLO* MAIL* RCPT* DATA* " },
		{ MODE_GARBAGE, DELIVER_TEMP, SCOPE_HOST, 0, "EHLO STAR " },
		{ MODE_REFUSE, DELIVER_TEMP, SCOPE_HOST, 0, "EHLO STAR " },
		{ MODE_SILENT, DELIVER_TEMP, SCOPE_HOST, 0, "EHLO STAR " },
	};
	struct bed b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		bed_open(&b, c[i].mode);
		send_body(&b, SLICE_LIT("Subject: x\r\n\r\nhello\r\n"));
		if (b.outcome != c[i].outcome)
			print_message("case %zu: %s\n", i, b.text);
		assert_int_equal(b.outcome, c[i].outcome);
		assert_int_equal(b.scope, c[i].scope);
		assert_int_equal(b.tls, c[i].tls);
		/* what comes after a failed handshake is not a command in the clear */
		assert_memory_equal(b.log, c[i].log, strlen(c[i].log));
		assert_null(strstr(b.log, "MAIL "));
		bed_close(&b);
	}
}

struct dane_case {
	enum mode	 mode;
	uint8_t		 damage;	/* xor of the record's last byte */
	bool		 unproved, none;
	uint8_t		 demand, outcome, tls;
	const char	*log, *text;
};

static void
dane_case(const struct dane_case *c, size_t i)
{
	struct deliver_stats st;
	struct bed b;

	bed_open(&b, c->mode);
	b.tlsa[34] ^= c->damage;
	b.unproved = c->unproved;
	b.demand = c->demand;
	if (c->none)
		b.tlsa[0] = 0;
	send_to(&b, ROUTE_MX, "dom.example", SLICE_LIT("Subject: x\r\n\r\nhello\r\n"));
	if (b.outcome != c->outcome || strstr(b.text, c->text) == NULL)
		print_message("case %zu: %s, said %s\n", i, b.text, b.log);
	assert_int_equal(b.outcome, c->outcome);
	assert_int_equal(b.tls, c->tls);
	assert_non_null(strstr(b.text, c->text));
	assert_memory_equal(b.log, c->log, strlen(c->log));
	if (c->outcome != DELIVER_OK || c->tls)
		assert_null(strstr(b.log, "MAIL "));	/* in the clear */
	deliver_stats(b.deliver, &st);
	if (!c->unproved && !c->none && c->demand != DELIVER_TLS_OPTIONAL) {
		assert_int_equal(st.tls.ok[MX_POLICY_TLSA], c->outcome == DELIVER_OK);
		assert_int_equal(st.tls.failed[MX_POLICY_TLSA], c->outcome != DELIVER_OK);
	}
	bed_close(&b);
}

/* Spec 13.1 (1), 13.4: the server's certificate is its own, nobody vouches for it. */
static void
test_spec_13_1_dane(void **state)
{
	static const char good[] = "EHLO STAR EHLO* MAIL* RCPT* DATA* ";
	static const struct dane_case c[] = {
		{ .outcome = DELIVER_OK, .tls = 1, .log = good, .text = "kept" },
		{ .damage = 1, .outcome = DELIVER_TEMP, .log = "EHLO STAR ", .text = "certificate" },
		{ .mode = MODE_STRIPPED, .outcome = DELIVER_TEMP, .log = "EHLO ",
		  .text = "TLS is required" },
		{ .mode = MODE_REFUSE, .outcome = DELIVER_TEMP, .log = "EHLO STAR ", .text = "no" },
		/* the same where nothing is proved, or the message does not mind */
		{ .damage = 1, .unproved = true, .outcome = DELIVER_OK, .tls = 1, .log = good,
		  .text = "kept" },
		{ .damage = 1, .demand = DELIVER_TLS_OPTIONAL, .outcome = DELIVER_OK, .tls = 1,
		  .log = good, .text = "kept" },
		{ .mode = MODE_STRIPPED, .demand = DELIVER_TLS_OPTIONAL, .outcome = DELIVER_OK,
		  .log = "EHLO MAIL RCPT DATA ", .text = "kept" },
		/* tls = required, whoever it is */
		{ .none = true, .demand = DELIVER_TLS_REQUIRED, .outcome = DELIVER_OK, .tls = 1,
		  .log = good, .text = "kept" },
		{ .none = true, .mode = MODE_STRIPPED, .demand = DELIVER_TLS_REQUIRED,
		  .outcome = DELIVER_TEMP, .log = "EHLO ", .text = "TLS is required" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		dane_case(&c[i], i);
}

/* RFC 8689, spec 13.5: verified, offered, said; else the message stays. */
static void
test_spec_13_5_requiretls(void **state)
{
	struct slice body = SLICE_LIT("Subject: x\r\n\r\nhello\r\n");
	struct bed b;

	(void)state;
	bed_open(&b, MODE_REQUIRETLS);
	b.demand = DELIVER_TLS_REQUIRETLS;
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_OK);
	assert_non_null(strstr(b.mail, " REQUIRETLS"));
	/* the next one did not ask for it: not over that connection's words */
	b.demand = DELIVER_TLS_DEFAULT;
	buf_clear(&b.content);
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_OK);
	assert_null(strstr(b.mail, "REQUIRETLS"));
	bed_close(&b);

	bed_open(&b, MODE_GOOD);	/* verified, but does not know it */
	b.demand = DELIVER_TLS_REQUIRETLS;
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_TEMP);
	assert_int_equal(b.scope, SCOPE_MESSAGE);	/* others may go there */
	assert_string_equal(b.enhanced, "4.7.30");
	assert_string_equal(b.log, "EHLO STAR EHLO* ");
	bed_close(&b);

	bed_open(&b, MODE_REQUIRETLS);	/* knows it, but nobody vouches for the certificate */
	b.demand = DELIVER_TLS_REQUIRETLS;
	b.tlsa[0] = 0;
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_TEMP);
	assert_int_equal(b.scope, SCOPE_MESSAGE);
	assert_string_equal(b.log, "EHLO STAR ");
	bed_close(&b);
}

/* Spec 13.2: off by itself; where it is on, once, and never where TLS is asked for. */
static void
test_spec_13_2_clear_after_failure(void **state)
{
	struct slice body = SLICE_LIT("Subject: x\r\n\r\nhello\r\n");
	struct bed b;

	(void)state;
	bed_open(&b, MODE_GARBAGE);
	b.conf.plaintext_after_tls_failure = true;
	b.tlsa[0] = 0;
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_OK);
	assert_int_equal(b.tls, 0);
	assert_non_null(strstr(b.log, "EHLO MAIL RCPT DATA "));
	bed_close(&b);

	bed_open(&b, MODE_GARBAGE);
	b.conf.plaintext_after_tls_failure = true;	/* but there is a TLSA record */
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_TEMP);
	assert_null(strstr(b.log, "MAIL"));
	bed_close(&b);

	bed_open(&b, MODE_GARBAGE);
	b.tlsa[0] = 0;
	send_to(&b, ROUTE_MX, "dom.example", body);
	assert_int_equal(b.outcome, DELIVER_TEMP);
	assert_null(strstr(b.log, "MAIL"));
	bed_close(&b);
}

/* Megabytes through bounded buffers, twice over one connection. */
static void
test_large(void **state)
{
	size_t n = 3 << 20, i, k;
	char *body = malloc(n);
	struct slice got;
	struct bed b;

	(void)state;
	assert_non_null(body);
	for (i = 0; i < n; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
	bed_open(&b, MODE_GOOD);
	for (k = 0; k < 2; k++) {
		buf_clear(&b.content);
		send_body(&b, slice_make(body, n));
		assert_int_equal(b.outcome, DELIVER_OK);
		got = buf_slice(&b.content);
		assert_int_equal(got.n, n + 3);
		assert_memory_equal(got.p, body, n);
	}
	assert_string_equal(b.log, "EHLO STAR EHLO* MAIL* RCPT* DATA* MAIL* RCPT* DATA* ");
	bed_close(&b);
	free(body);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_spec_13_1_dane),
		cmocka_unit_test(test_spec_13_5_requiretls),
		cmocka_unit_test(test_spec_13_2_clear_after_failure),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests_name("deliver_tls", tests, NULL, NULL);
}
