// SPDX-License-Identifier: Apache-2.0
/* The decision whether a primary is down, with a scripted clock: thresholds, hysteresis,
 * slowness, deliveries (spec 11.7), and our own network against theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "queue/health.h"

static const struct health_rules rules = { .enter_after = 3, .leave_after = 6,
	.latency_max_ms = 5000, .percentile = 90, .bad_share = 50, .bad_min = 10,
	.settle_ms = 300000, .every_ms = 10000 };

/* One primary over time: a letter a probe (every 10 s), the phase follows the wishes. */
struct story {
	struct health		h;
	enum failover_phase	phase;
	int64_t			now;
	unsigned		entries, leaves;
	enum health_cause	cause;
};

static void
decide(struct story *s)
{
	switch (health_decide(&s->h, &rules, s->phase, s->now, &s->cause)) {
	case HEALTH_ENTER:
		s->phase = PHASE_ACTIVE;
		health_entered(&s->h, s->now);
		s->entries++;
		break;
	case HEALTH_LEAVE:
		s->phase = PHASE_REPLAY;
		health_left(&s->h, s->now);
		s->leaves++;
		break;
	case HEALTH_STAY:
		break;
	}
}

static void
play(struct story *s, const char *probes, unsigned times)
{
	while (times-- > 0) {
		for (const char *p = probes; *p != '\0'; p++) {
			s->now += 10000;
			switch (*p) {
			case '+':
				health_probed(&s->h, &rules, s->now, HEALTH_GOOD, 20);
				break;
			case 's':
				health_probed(&s->h, &rules, s->now, HEALTH_GOOD, 9000);
				break;
			case '-':
				health_probed(&s->h, &rules, s->now, HEALTH_BAD, 0);
				break;
			case 'd':
				health_probed(&s->h, &rules, s->now, HEALTH_DARK, 0);
				break;
			}
			decide(s);
		}
	}
}

static struct story
begin(void)
{
	struct story s = { .phase = PHASE_STANDBY, .now = 1000000 };

	health_init(&s.h, 0);
	return s;
}

static void
enters_after_so_many_failures_in_a_row(void **state)
{
	static const struct { const char *probes; enum failover_phase phase; } cases[] = {
		{ "++++", PHASE_STANDBY }, { "--", PHASE_STANDBY }, { "---", PHASE_ACTIVE },
		{ "ddd", PHASE_ACTIVE }, { "-d-", PHASE_ACTIVE }, { "--+--+--", PHASE_STANDBY },
		{ "+-+-+-+-+-+-+-+-+-", PHASE_STANDBY }, { "", PHASE_STANDBY } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct story s = begin();

		play(&s, cases[i].probes, 1);
		if (s.phase != cases[i].phase)
			fail_msg("%s", cases[i].probes);
	}
}

static void
leaves_after_more_successes_and_not_too_soon(void **state)
{
	struct story s = begin();

	(void)state;
	play(&s, "---", 1);
	assert_int_equal(s.cause, HEALTH_BY_PROBES);
	play(&s, "+", 6);
	assert_int_equal(s.phase, PHASE_ACTIVE);	/* six good ones, but one minute only */
	play(&s, "+", 23);
	assert_int_equal(s.phase, PHASE_ACTIVE);
	play(&s, "+", 1);				/* five minutes: spec 11.7 */
	assert_int_equal(s.phase, PHASE_REPLAY);
	assert_int_equal(s.cause, HEALTH_BY_RECOVERY);
	s = begin();
	play(&s, "---", 1);
	play(&s, "+++++-", 20);				/* never six in a row */
	assert_int_equal(s.phase, PHASE_ACTIVE);
	play(&s, "++++++", 1);
	assert_int_equal(s.phase, PHASE_REPLAY);
}

/* Up six minutes, down one, all day: it settles in active, does not swing. */
static void
flapping_primary_settles(void **state)
{
	struct story s = begin();
	char period[43];

	(void)state;
	memset(period, '+', 36);
	memset(period + 36, '-', 6);
	period[42] = '\0';
	play(&s, period, 206);		/* 24 hours */
	assert_true(s.entries >= 2);
	assert_true(s.entries <= 40);	/* without the doubling: some 170 */
	unsigned first = s.entries;
	assert_int_equal(s.h.relapses, 3);
	/* It gets well; the next outage, hours later, is a first one again. */
	play(&s, "+", 1000);
	assert_int_equal(s.phase, PHASE_REPLAY);
	s.phase = PHASE_STANDBY;
	play(&s, "---", 1);
	assert_int_equal(s.entries, first + 1);
	assert_int_equal(s.h.relapses, 0);
	assert_int_equal(health_settle(&s.h, &rules), 300000);
}

static void
failure_in_replay_goes_back_to_hold_at_once(void **state)
{
	struct story s = begin();

	(void)state;
	play(&s, "---", 1);
	play(&s, "+", 40);
	assert_int_equal(s.phase, PHASE_REPLAY);
	play(&s, "---", 1);
	assert_int_equal(s.phase, PHASE_ACTIVE);
	assert_int_equal(s.entries, 2);
	assert_int_equal(health_settle(&s.h, &rules), 600000);
	play(&s, "+", 40);
	assert_int_equal(s.phase, PHASE_ACTIVE);
	play(&s, "+", 20);
	assert_int_equal(s.phase, PHASE_REPLAY);
}

static void
slow_primary_is_a_failing_one(void **state)
{
	struct story s = begin();

	(void)state;
	play(&s, "++++++++++", 1);
	assert_int_equal(health_latency(&s.h, 90), 20);
	play(&s, "s", 1);		/* one in ten is no slow primary */
	play(&s, "+++", 1);
	assert_int_equal(s.phase, PHASE_STANDBY);
	assert_int_equal(s.h.failed, 0);
	play(&s, "sss", 1);
	assert_int_equal(s.phase, PHASE_ACTIVE);
	assert_int_equal(s.cause, HEALTH_BY_LATENCY);
	assert_int_equal(health_latency(&s.h, 50), 20);
	play(&s, "+", 60);
	assert_int_equal(s.phase, PHASE_REPLAY);
	s = begin();
	play(&s, "ss", 1);
	assert_int_equal(s.h.failed, 0);
	play(&s, "sss", 1);		/* from the start */
	assert_int_equal(s.phase, PHASE_ACTIVE);
}

static void
percentile_is_the_nearest_rank(void **state)
{
	static const struct { unsigned percentile; int64_t ms; } cases[] = {
		{ 1, 10 }, { 10, 10 }, { 11, 20 }, { 50, 50 }, { 90, 90 }, { 91, 100 }, { 100, 100 } };
	struct health h;

	(void)state;
	health_init(&h, 0);
	assert_int_equal(health_latency(&h, 90), 0);
	for (int i = 15; i > 0; i--)		/* the last ten count: 100, 90 ... 10 */
		health_probed(&h, &rules, 1000, HEALTH_GOOD, i > 10 ? 4000 : i * 10);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(health_latency(&h, cases[i].percentile), cases[i].ms);
	health_probed(&h, &rules, 1000, HEALTH_GOOD, -5);
	assert_int_equal(health_latency(&h, 1), 0);
}

/* Spec 11.7: more than X % of the replies are 4xx or timeouts in 60 s. */
static void
spec_11_7_deliveries_put_off(void **state)
{
	static const struct {
		unsigned took, put_off, no_user;
		int64_t age;
		enum health_wish wish;
		enum health_cause cause;
	} cases[] = {
		{ 100, 0, 0, 0, HEALTH_STAY, 0 },
		{ 5, 5, 0, 0, HEALTH_STAY, 0 },			/* not over half */
		{ 4, 6, 0, 0, HEALTH_ENTER, HEALTH_BY_DELIVERIES },
		{ 0, 9, 0, 0, HEALTH_STAY, 0 },			/* too few */
		{ 0, 10, 0, 0, HEALTH_ENTER, HEALTH_BY_DELIVERIES },
		{ 0, 10, 0, 60000, HEALTH_STAY, 0 },		/* long ago */
		{ 0, 10, 0, 50000, HEALTH_ENTER, HEALTH_BY_DELIVERIES },
		{ 4, 0, 6, 0, HEALTH_ENTER, HEALTH_BY_REFUSALS },	/* spec 11.2 */
		{ 4, 3, 3, 0, HEALTH_ENTER, HEALTH_BY_DELIVERIES },
		{ 90, 0, 10, 0, HEALTH_STAY, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum health_cause cause = HEALTH_CAUSE_MAX;
		struct health h;

		health_init(&h, 0);
		for (unsigned j = 0; j < cases[i].took; j++)
			health_delivered(&h, &rules, 1000000, HEALTH_TOOK);
		for (unsigned j = 0; j < cases[i].put_off; j++)
			health_delivered(&h, &rules, 1000000, HEALTH_PUT_OFF);
		for (unsigned j = 0; j < cases[i].no_user; j++)
			health_delivered(&h, &rules, 1000000, HEALTH_NO_USER);
		for (unsigned p = PHASE_STANDBY; p < PHASE_MAX; p++) {
			enum health_wish w = health_decide(&h, &rules, (enum failover_phase)p,
			    1000000 + cases[i].age, &cause);

			assert_int_equal(w, p == PHASE_ACTIVE ? HEALTH_STAY : cases[i].wish);
			if (w == HEALTH_ENTER)
				assert_int_equal(cause, cases[i].cause);
		}
	}
}

static void
old_deliveries_are_forgotten_bucket_by_bucket(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, 0);
	for (int64_t t = 0; t < 600000; t += 1000)
		health_delivered(&h, &rules, 1000000 + t, HEALTH_TOOK);
	assert_in_range(health_sums(&h, 1599000).took, 55, 60);
	assert_int_equal(health_sums(&h, 1599000 + 70000).took, 0);
	health_entered(&h, 1600000);		/* a change of the phase begins anew */
	assert_int_equal(health_sums(&h, 1600000).took, 0);
}

/* Retries of a dead host count as probes would, however many they are. */
static void
host_down_counts_once_an_interval(void **state)
{
	enum health_cause cause;
	struct health h;

	(void)state;
	health_init(&h, 0);
	for (int64_t t = 0; t < 9; t++)
		health_delivered(&h, &rules, 1000000 + t, HEALTH_HOST_DOWN);
	assert_int_equal(h.bad_row, 1);
	assert_int_equal(health_decide(&h, &rules, PHASE_STANDBY, 1000009, &cause), HEALTH_STAY);
	health_delivered(&h, &rules, 1010000, HEALTH_HOST_DOWN);
	health_probed(&h, &rules, 1011000, HEALTH_GOOD, 5);	/* it is there after all */
	health_delivered(&h, &rules, 1020000, HEALTH_HOST_DOWN);
	assert_int_equal(h.bad_row, 1);
	health_delivered(&h, &rules, 1030000, HEALTH_HOST_DOWN);
	health_delivered(&h, &rules, 1040000, HEALTH_HOST_DOWN);
	assert_int_equal(h.last, HEALTH_DARK);
	assert_int_equal(health_decide(&h, &rules, PHASE_STANDBY, 1040000, &cause), HEALTH_ENTER);
}

/* ---- our own network ---- */

#define DARK(net, since)	{ (net), true, true, (since) + 5000, (since) }
#define LIT(net, last)		{ (net), true, false, (last), 0 }
#define UNSEEN			{ 9, false, false, 0, 0 }

static void
network_of_our_own_is_told_apart(void **state)
{
	static const struct {
		struct health_view v[4], r[2];
		size_t n, nr;
		enum health_network is;
	} cases[] = {	/* for one that is dark since 500000 */
		{ { DARK(1, 500000) }, { UNSEEN }, 1, 0, HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000), DARK(1, 501000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000), DARK(2, 501000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_FAULT },
		{ { DARK(1, 500000), DARK(2, 430000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_FAULT },
		{ { DARK(1, 500000), DARK(2, 370000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000), LIT(2, 501000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000), LIT(2, 499000) }, { UNSEEN }, 2, 0, HEALTH_NETWORK_UNSURE },
		{ { DARK(1, 500000), DARK(2, 501000), LIT(3, 499000) }, { UNSEEN }, 3, 0,
		  HEALTH_NETWORK_UNSURE },
		{ { DARK(1, 500000), UNSEEN }, { UNSEEN }, 2, 0, HEALTH_NETWORK_UNSURE },
		{ { DARK(1, 500000), DARK(2, 501000), DARK(3, 502000), LIT(4, 503000) },
		  { UNSEEN }, 4, 0, HEALTH_NETWORK_FINE },
		/* what is configured to tell decides alone */
		{ { DARK(1, 500000), DARK(2, 501000) }, { LIT(7, 501000) }, 2, 1,
		  HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000), LIT(2, 501000) }, { DARK(7, 499000) }, 2, 1,
		  HEALTH_NETWORK_FAULT },
		{ { DARK(1, 500000) }, { DARK(7, 500000), LIT(8, 502000) }, 1, 2,
		  HEALTH_NETWORK_FINE },
		{ { DARK(1, 500000) }, { DARK(7, 500000), LIT(8, 499000) }, 1, 2,
		  HEALTH_NETWORK_UNSURE },
		{ { DARK(1, 500000) }, { UNSEEN }, 1, 1, HEALTH_NETWORK_UNSURE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (health_network(cases[i].v, cases[i].n, cases[i].r, cases[i].nr, 500000) !=
		    cases[i].is)
			fail_msg("case %zu", i);
}

/* When our network is back, what failed before has to fail anew. */
static void
forgiven_failures_do_not_count(void **state)
{
	struct story s = begin();

	(void)state;
	play(&s, "dd", 1);
	health_forgive(&s.h);
	play(&s, "dd", 1);
	assert_int_equal(s.phase, PHASE_STANDBY);
	play(&s, "d", 1);
	assert_int_equal(s.phase, PHASE_ACTIVE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enters_after_so_many_failures_in_a_row),
		cmocka_unit_test(leaves_after_more_successes_and_not_too_soon),
		cmocka_unit_test(flapping_primary_settles),
		cmocka_unit_test(failure_in_replay_goes_back_to_hold_at_once),
		cmocka_unit_test(slow_primary_is_a_failing_one),
		cmocka_unit_test(percentile_is_the_nearest_rank),
		cmocka_unit_test(spec_11_7_deliveries_put_off),
		cmocka_unit_test(old_deliveries_are_forgotten_bucket_by_bucket),
		cmocka_unit_test(host_down_counts_once_an_interval),
		cmocka_unit_test(network_of_our_own_is_told_apart),
		cmocka_unit_test(forgiven_failures_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
