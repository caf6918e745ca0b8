// SPDX-License-Identifier: Apache-2.0
/* Spec 8.1-8.4 in the relay: domains of one provider share connections, their number is
 * bounded together, they close together; where a domain's mail goes is told to the queue. */
#include "tests/relay/deliver_kit.h"

static const struct plan plan_limits = {
	"220 hi\r\n", "250-srv\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=5 MAILMAX=2\r\n",
	"250 2.1.0 ok\r\n", "250 2.1.5 ok\r\n", "354 go\r\n", "250 2.0.0 kept\r\n", "250 ok\r\n",
	false, false
};

static const struct plan plan_slow = {	/* nothing comes back to MAIL */
	"220 hi\r\n", "250 srv\r\n", NULL, NULL, NULL, NULL, NULL, false, false
};

/* 8.1: the second domain takes the connection of the first. */
static void
test_spec_8_1_sisters_share_a_connection(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct deliver_stats st;

	(void)state;
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);
	bed_run(b, 1);
	send_group(b, ROUTE_MX, "sister.example", "google.com", 1);
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . MAIL RCPT DATA . ");
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 1);
	assert_int_equal(st.reused, 1);
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);	/* and back; the third is the
							 * last of messages-per-connection */
	bed_run(b, 1);
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);
	bed_run(b, 1);
	assert_int_equal(b->server.connections, 2);
	assert_int_equal(b->server.open_max, 1);
	bed_close(&b);
}

/* A sister with another host: her idle connection makes room. */
static void
test_spec_8_3_limit_is_of_the_group(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);
	bed_run(b, 1);
	send_group(b, ROUTE_MX, "cousin.example", "google.com", 1);
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(b->server.connections, 2);
	for (unsigned i = 0; i < 12; i++)
		send_group(b, ROUTE_MX, i % 3 == 0 ? "one.example" : i % 3 == 1 ?
		    "sister.example" : "cousin.example", "google.com", 2);
	bed_run(b, 12);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_in_range(b->server.open_max, 1, 2);
	bed_close(&b);
}

/* RFC 9422: the server says how many messages it takes. */
static void
test_spec_8_2_limits_mailmax(void **state)
{
	struct bed *b = bed_open(&plan_limits, 1);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		send_group(b, ROUTE_MX, "one.example", "elsewhere.example", 1);
		bed_run(b, 1);
		assert_int_equal(b->result[0].outcome, DELIVER_OK);
		settle(b);
	}
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . MAIL RCPT DATA . QUIT "
	    "+ EHLO MAIL RCPT DATA . MAIL RCPT DATA . QUIT + EHLO MAIL RCPT DATA . ");
	bed_close(&b);
}

/* 8.4 RATE: every connection of the provider ends, and only those. */
static void
test_spec_8_4_close(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct deliver_stats st;

	(void)state;
	send_group(b, ROUTE_MX, "one.example", "google.com", 2);
	bed_run(b, 1);
	send_group(b, ROUTE_MX, "implicit.example", "implicit.example", 2);
	bed_run(b, 1);
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 2);
	deliver_close(b->deliver, SLICE_LIT("Google.com"));
	settle(b);
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 1);
	/* What was on its way to a connection comes back untried; what waits, too. */
	for (unsigned i = 0; i < 4; i++)
		send_group(b, ROUTE_MX, "one.example", "google.com", 2);
	b->want = 4;
	b->have = 0;
	deliver_close(b->deliver, SLICE_LIT("google.com"));
	if (b->have < 4)
		bed_run(b, 4 - b->have);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(b->result[i].outcome, DELIVER_TEMP);
		assert_int_equal(b->result[i].scope, SCOPE_MESSAGE);
		assert_int_equal(b->result[i].code, 0);
	}
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);	/* it opens again */
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	bed_close(&b);
}

/* A transaction under way ends by itself, then its connection goes. */
static void
test_spec_8_4_close_while_busy(void **state)
{
	struct bed *b = bed_open(&plan_slow, 1);
	struct deliver_stats st;

	(void)state;
	send_group(b, ROUTE_MX, "one.example", "google.com", 1);
	b->want = 99;
	for (int i = 0; i < 100 && strstr(b->server.log, "MAIL") == NULL; i++)
		settle(b);
	deliver_close(b->deliver, SLICE_LIT("google.com"));
	assert_int_equal(b->have, 0);
	bed_run(b, 1);		/* the reply's time is over */
	assert_int_equal(b->result[0].outcome, DELIVER_TEMP);
	settle(b);
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 0);
	bed_close(&b);
}

struct answer {
	struct bed	*b;
	uint64_t	 req;
	uint8_t		 status;
	char		 group[256], reason[40];
};
static struct answer got[16];
static unsigned ngot, want_routes;

static void
on_route(void *arg, const struct queue_routed *r)
{
	struct bed *b = arg;
	struct answer *a = &got[r->req];

	a->status = r->status;
	assert_int_equal(slice_cstr(r->group, a->group, sizeof(a->group)), 0);
	assert_int_equal(slice_cstr(r->reason, a->reason, sizeof(a->reason)), 0);
	assert_true(r->ttl_s > 0);
	if (++ngot == want_routes)
		loop_stop(b->loop);
}

/* 8.1, 9.3: the group of a domain, or why there is none; nothing is connected to. */
static void
test_spec_8_1_routes_are_told(void **state)
{
	static const struct { const char *domain; uint8_t status; const char *group, *reason; } t[] = {
		{ "two.example", ROUTED_OK, "google.com", "" },
		{ "implicit.example", ROUTED_OK, "implicit.example", "" },
		{ "backup.example", ROUTED_OK, "google.com", "" },
		{ "null.example", ROUTED_NEVER, "", "null-mx" },
		{ "gone.example", ROUTED_NEVER, "", "no-domain" },
		{ "us.example", ROUTED_NEVER, "", "self" },
		{ "broken.example", ROUTED_LATER, "", "" },
	};
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	deliver_on_route(b->deliver, on_route);
	for (int again = 0; again < 2; again++) {
		ngot = 0;
		want_routes = sizeof(t) / sizeof(t[0]);
		for (size_t i = 0; i < want_routes; i++)
			deliver_route(b->deliver, i, slice_str(t[i].domain));
		if (again)
			deliver_reload(b->deliver, &b->conf);	/* asked again, answered once */
		timer_arm(b->guard, 5000);
		loop_run(b->loop);
		assert_int_equal(ngot, want_routes);
		for (size_t i = 0; i < want_routes; i++) {
			assert_int_equal(got[i].status, t[i].status);
			assert_string_equal(got[i].group, t[i].group);
			assert_string_equal(got[i].reason, t[i].reason);
		}
	}
	assert_int_equal(b->server.connections, 0);
	deliver_route(b->deliver, 1, SLICE_LIT("two.example"));	/* freed while it is asked */
	bed_close(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_8_1_sisters_share_a_connection),
		cmocka_unit_test(test_spec_8_3_limit_is_of_the_group),
		cmocka_unit_test(test_spec_8_2_limits_mailmax),
		cmocka_unit_test(test_spec_8_4_close),
		cmocka_unit_test(test_spec_8_4_close_while_busy),
		cmocka_unit_test(test_spec_8_1_routes_are_told),
	};

	return cmocka_run_group_tests_name("deliver-group", tests, NULL, NULL);
}
