// SPDX-License-Identifier: Apache-2.0
/* Deliveries of a relay process: routes, connections, what an end means. */
#include "tests/relay/deliver_kit.h"

static void
test_smtp(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct deliver_stats st;
	char peer[64];

	(void)state;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(b->result[0].req, 1);
	assert_int_equal(b->result[0].code, 250);
	assert_string_equal(b->result[0].enhanced, "2.0.0");
	(void)snprintf(peer, sizeof(peer), "127.0.0.1[127.0.0.1]:%u", b->server.port);
	assert_string_equal(b->result[0].peer, peer);
	assert_string_equal(b->result[0].group, "");
	b->server.content[b->server.ncontent] = '\0';
	assert_string_equal(b->server.content,
	    "Received: us\r\nSubject: x\r\n\r\n..dot\r\n...\r\nlast\r\n");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . MAIL RCPT DATA . ");
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.ok, 2);
	assert_int_equal(st.connections, 1);
	assert_int_equal(st.reused, 1);
	assert_int_equal(st.open, 1);
	assert_int_equal(st.in_flight, 0);
	bed_close(&b);
}

static void
test_mx(void **state)
{
	static const struct {
		const char *host;
		uint8_t outcome, scope;
		const char *enhanced, *text, *group;
	} c[] = {
		{ "two.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "TWO.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "implicit.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept",
		  "implicit.example" },
		{ "backup.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "null.example", DELIVER_LOCAL, SCOPE_HOST, "5.1.10", "null-mx", "" },
		{ "gone.example", DELIVER_LOCAL, SCOPE_HOST, "5.1.2", "no such domain", "" },
		{ "broken.example", DELIVER_TEMP, SCOPE_HOST, "4.4.3",
		  "DNS lookup of the domain failed", "" },
		{ "us.example", DELIVER_LOCAL, SCOPE_HOST, "5.4.6", "route leads to ourselves",
		  "relay.example" },
	};
	struct bed *b = bed_open(&plan_good, 1);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		send_one(b, ROUTE_MX, c[i].host);
		bed_run(b, 1);
		assert_int_equal(b->result[0].outcome, c[i].outcome);
		assert_int_equal(b->result[0].scope, c[i].scope);
		assert_string_equal(b->result[0].enhanced, c[i].enhanced);
		assert_string_equal(b->result[0].text, c[i].text);
		assert_string_equal(b->result[0].group, c[i].group);
	}
	/* spec 9.3: an MX that is our own listener, and loopback at large */
	(void)snprintf(b->listen_text, sizeof(b->listen_text), "0.0.0.0:%u", b->server.port);
	deliver_reload(b->deliver, &b->conf);
	send_one(b, ROUTE_MX, "null.example");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 2);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	assert_int_equal(b->result[1].outcome, DELIVER_LOCAL);
	assert_string_equal(b->result[1].text, "route leads to ourselves");
	(void)snprintf(b->listen_text, sizeof(b->listen_text), "0.0.0.0:2");
	b->conf.deliver_to_loopback = false;
	b->conf.idle_timeout_ms = 1;
	deliver_reload(b->deliver, &b->conf);
	send_one(b, ROUTE_MX, "new.implicit.example");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	bed_close(&b);
}

/* What each failure is called, and whether the connection lives on. */
static void
test_failures(void **state)
{
	static const struct {
		struct plan plan;
		uint8_t outcome, scope;
		uint16_t code;
	} c[] = {
#define GOOD "220 hi\r\n", "250-srv\r\n250 PIPELINING\r\n"
		{ { GOOD, "250 ok\r\n", "550 5.1.1 no\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_RCPT, 550 },
		{ { GOOD, "250 ok\r\n", "450 4.2.1 later\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_TEMP, SCOPE_RCPT, 450 },
		{ { GOOD, "250 ok\r\n", "550 no\r\n", "354 go\r\n", "554 none\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_RCPT, 550 },
		{ { GOOD, "553 bad sender\r\n", "503 no\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_MESSAGE, 553 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "554 5.7.1 spam\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_MESSAGE, 554 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "451 4.3.0 x\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_TEMP, SCOPE_MESSAGE, 451 },
		{ { GOOD, "421 4.7.28 slow\r\n", "", "", NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 421 },
		{ { "554 no\r\n", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 554 },
		{ { "220 hi\r\n", "550 no\r\n", NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 500 },		/* HELO is unknown to it too */
		{ { NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "SSH-2.0\r\n", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "220 hi\r\n", "", NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, "", NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", NULL, NULL, true, 0 },
		  DELIVER_TEMP, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", NULL, NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "gibberish\r\n", NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
#undef GOOD
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct bed *b = bed_open(&c[i].plan, 1);

		if (c[i].plan.hang_up_in_data) {	/* more than the kernel would swallow */
			b->nbody = 16 << 20;
			b->body = mem_resize(b->body, b->nbody, 1);
			memset(b->body, 'x', b->nbody);
		}
		send_one(b, ROUTE_SMTP, "127.0.0.1");
		bed_run(b, 1);
		if (b->result[0].outcome != c[i].outcome || b->result[0].code != c[i].code)
			print_message("case %zu: outcome %u code %u %s\n", i,
			    b->result[0].outcome, b->result[0].code, b->result[0].text);
		assert_int_equal(b->result[0].outcome, c[i].outcome);
		assert_int_equal(b->result[0].scope, c[i].scope);
		assert_int_equal(b->result[0].code, c[i].code);
		bed_close(&b);
	}
}

/* Spec 14.4.13: a server that closes after each message costs nothing. */
static void
test_stale_connection(void **state)
{
	static const struct plan c[] = {
		{ "220 hi\r\n", "250 srv\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n",
		  "250 ok\r\n", "250 ok\r\n", false, true },
	};
	struct deliver_stats st;
	struct bed *b = bed_open(c, 1);
	unsigned i;

	(void)state;
	b->chain = 9;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 10);
	for (i = 0; i < 10; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.ok, 10);
	assert_int_equal(st.temp, 0);
	assert_int_equal(b->server.connections, 10);
	bed_close(&b);
}

/* The same said with 421 at MAIL on a connection that was used before. */
static void
test_stale_421(void **state)
{
	static const struct plan c = {
		"220 hi\r\n", "250 srv\r\n", "421 4.3.2 idle too long\r\n", NULL, NULL, NULL, NULL,
		false, false
	};
	struct plan first = plan_good;
	struct bed *b = bed_open(&first, 1);

	(void)state;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	first = c;	/* from now on it says 421 on the connection it has */
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	/* the fresh connection said it too: now it is a failure */
	assert_int_equal(b->result[0].outcome, DELIVER_TEMP);
	assert_int_equal(b->result[0].scope, SCOPE_HOST);
	assert_int_equal(b->server.connections, 2);
	bed_close(&b);
}

static void
test_connection_limits(void **state)
{
	struct deliver_stats st;
	struct bed *b = bed_open(&plan_good, 1);
	unsigned i;

	(void)state;
	b->conf.messages_per_connection = 3;
	for (i = 0; i < 20; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 20);
	for (i = 0; i < 20; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_true(b->server.open_max <= 2);
	assert_in_range(b->server.connections, 7, 8);	/* the two may share unevenly */
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.reused, 20 - b->server.connections);
	bed_close(&b);
}

/* A dead first MX costs its time once; after it lived again, it comes first again. */
static void
test_dead_address(void **state)
{
	struct server second;
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	b->conf.messages_per_connection = 1;
	clock_fake(1000, 1000);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(b->server.connections, 1);
	server_open(&second, b->loop, "127.0.0.99", b->server.port, &plan_good, 1);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(second.connections, 0);
	clock_fake(1000, 1000 + 301 * 1000);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(second.connections, 1);
	clock_fake(-1, -1);
	settle(b);
	server_close(&second);
	bed_close(&b);
}

/* One place for all: another destination's idle connection makes room. */
static void
test_global_limit(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	unsigned i;

	(void)state;
	b->conf.deliveries_max = 1;
	for (i = 0; i < 4; i++) {
		send_one(b, ROUTE_SMTP, "127.0.0.1");
		send_one(b, ROUTE_MX, "implicit.example");
	}
	bed_run(b, 8);
	for (i = 0; i < 8; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_int_equal(b->server.open_max, 1);
	bed_close(&b);
}

/* A dead host fails all that wait for it at once, not one timeout after the other. */
static void
test_dead_host_fails_all(void **state)
{
	static const struct plan silent;
	struct bed *b = bed_open(&silent, 1);
	int64_t t0 = clock_mono_ms();
	unsigned i;

	(void)state;
	for (i = 0; i < 40; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 40);
	for (i = 0; i < 40; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_TEMP);
	assert_true(clock_mono_ms() - t0 < 1000);
	bed_close(&b);
}

/* A server that takes only one connection at a time: nothing is deferred. */
static void
test_refused_second_connection(void **state)
{
	struct plan c[2] = { plan_good, plan_good };
	struct bed *b;
	unsigned i;

	(void)state;
	c[1].greeting = "421 4.7.0 too many connections\r\n";
	b = bed_open(c, 2);
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	for (i = 0; i < 10; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 10);
	for (i = 0; i < 10; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_int_equal(b->server.connections, 2);
	bed_close(&b);
}

static void
test_idle_quit(void **state)
{
	struct deliver_stats st;
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	b->conf.idle_timeout_ms = 30;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	timer_arm(b->guard, 100);
	loop_run(b->loop);
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . QUIT ");
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 0);
	bed_close(&b);
}

static void
test_lmtp(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	send_one(b, ROUTE_LMTP, "localhost");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(b->result[0].scope, SCOPE_RCPT);
	assert_string_equal(b->server.log, "+ LHLO MAIL RCPT DATA . ");
	bed_close(&b);
}

/* Free with everything in flight; bad requests. */
static void
test_edges(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct queue_deliver q = { .req = 9, .host = SLICE_LIT("127.0.0.1"),
		.route = ROUTE_SMTP, .rcpt = SLICE_LIT("a@b"), .port = b->server.port };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	b->want = 1;
	deliver_start(b->deliver, &q, fd);	/* not a sealed memfd */
	assert_int_equal(b->have, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_TEMP);
	deliver_start(b->deliver, &q, -1);
	assert_int_equal(b->have, 2);
	q.rcpt = SLICE_LIT("a@b>\r\nRCPT TO:<c");
	deliver_start(b->deliver, &q, body_make(SLICE_LIT("x")));
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	assert_string_equal(b->server.log, "+ EHLO ");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	send_one(b, ROUTE_MX, "two.example");
	send_one(b, ROUTE_SMTP, "192.0.2.1");
	settle(b);
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_close(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smtp),
		cmocka_unit_test(test_mx),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_stale_connection),
		cmocka_unit_test(test_stale_421),
		cmocka_unit_test(test_connection_limits),
		cmocka_unit_test(test_dead_address),
		cmocka_unit_test(test_global_limit),
		cmocka_unit_test(test_dead_host_fails_all),
		cmocka_unit_test(test_refused_second_connection),
		cmocka_unit_test(test_idle_quit),
		cmocka_unit_test(test_lmtp),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests_name("deliver", tests, NULL, NULL);
}
