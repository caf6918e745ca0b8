// SPDX-License-Identifier: Apache-2.0
/* Spec 11.5 under a scripted clock: the ramp of a replay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "queue/ramp.h"

static const struct ramp_bounds bounds = { .step_ms = 30000, .target_ms = 2000, .ceiling = 20 };

/* `n` replies of that latency spread over one step from *now on. */
static void
step(struct ramp *r, int64_t *now, unsigned n, int64_t latency)
{
	for (unsigned i = 0; i < n; i++) {
		*now += bounds.step_ms / n;
		ramp_reply(r, &bounds, RAMP_ANSWERED, latency, *now - latency, *now);
	}
}

static void
test_spec_11_5_starts_at_one_and_doubles_each_step_up_to_the_ceiling(void **state)
{
	static const unsigned want[] = { 2, 4, 8, 16, 20, 20 };
	struct ramp r = { 0 };
	int64_t now = 1000;

	(void)state;
	assert_int_equal(ramp_limit(&r, &bounds, now), 1);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		step(&r, &now, 60, 100);
		assert_int_equal(ramp_limit(&r, &bounds, now), want[i]);
	}
	assert_in_range(ramp_p95(&r), 100, 120);
}

static void
test_spec_11_5_does_not_double_before_the_step_is_over(void **state)
{
	struct ramp r = { 0 };

	(void)state;
	(void)ramp_limit(&r, &bounds, 0);
	for (int64_t t = 10; t < 30000; t += 10) {
		ramp_reply(&r, &bounds, RAMP_ANSWERED, 5, t - 5, t);
		assert_int_equal(ramp_limit(&r, &bounds, t), 1);
	}
	assert_int_equal(ramp_limit(&r, &bounds, 30000), 2);
}

/* One reply in twenty may be slow, two may not. */
static void
test_spec_11_5_the_95th_percentile_decides(void **state)
{
	struct ramp r = { 0 };
	int64_t now = 0;

	(void)state;
	(void)ramp_limit(&r, &bounds, now);
	step(&r, &now, 100, 100);	/* ends the step: doubled */
	assert_int_equal(ramp_limit(&r, &bounds, now), 2);
	for (int i = 0; i < 100; i++)
		ramp_reply(&r, &bounds, RAMP_ANSWERED, i < 95 ? 100 : 9000, now, now + 10);
	assert_int_equal(ramp_limit(&r, &bounds, now + 30000), 4);
	now += 30000;
	for (int i = 0; i < 100; i++)
		ramp_reply(&r, &bounds, RAMP_ANSWERED, i < 90 ? 100 : 2500, now, now + 10);
	assert_int_equal(ramp_limit(&r, &bounds, now + 30000), 4);	/* over target: stays */
	now += 30000;
	for (int i = 0; i < 100; i++)
		ramp_reply(&r, &bounds, RAMP_ANSWERED, i < 90 ? 100 : 4500, now, now + 10);
	assert_int_equal(ramp_limit(&r, &bounds, now + 30000), 2);	/* twice: half */
}

static void
test_spec_11_5_half_on_4xx_and_on_timeouts(void **state)
{
	struct ramp r = { 0 };
	int64_t now = 0;

	(void)state;
	(void)ramp_limit(&r, &bounds, now);
	for (int i = 0; i < 4; i++)
		step(&r, &now, 100, 50);
	assert_int_equal(ramp_limit(&r, &bounds, now), 16);
	ramp_reply(&r, &bounds, RAMP_DEFERRED, 50, now - 50, now);
	assert_int_equal(ramp_limit(&r, &bounds, now), 8);
	/* What was under way with it fails with it. */
	ramp_reply(&r, &bounds, RAMP_DEFERRED, 50, now - 40, now + 5);
	assert_int_equal(ramp_limit(&r, &bounds, now + 5), 8);
	/* A step with a deferral does not double, whatever the rest. */
	step(&r, &now, 100, 50);
	assert_int_equal(ramp_limit(&r, &bounds, now), 8);
	step(&r, &now, 100, 50);
	assert_int_equal(ramp_limit(&r, &bounds, now), 16);
	ramp_reply(&r, &bounds, RAMP_LOST, 0, now - 10, now + 10);
	assert_int_equal(ramp_limit(&r, &bounds, now + 10), 8);
	/* Many in the same step go on halving. */
	for (int i = 1; i < 4; i++)
		ramp_reply(&r, &bounds, RAMP_DEFERRED, 50, now + 100 * i, now + 100 * i + 50);
	assert_int_equal(ramp_limit(&r, &bounds, now + 400), 1);
}

/* One ill mailbox in a thousand does not hold up all others. */
static void
a_rare_deferral_costs_one_halving_a_step(void **state)
{
	struct ramp r = { 0 };
	int64_t now = 0;

	(void)state;
	(void)ramp_limit(&r, &bounds, now);
	for (int i = 0; i < 4; i++)
		step(&r, &now, 100, 50);
	for (int i = 0; i < 500; i++)
		ramp_reply(&r, &bounds, RAMP_ANSWERED, 50, now, now + 50 + i);
	for (int i = 0; i < 5; i++)
		ramp_reply(&r, &bounds, RAMP_DEFERRED, 50, now + 1000 + i * 100, now + 1060 + i * 100);
	assert_int_equal(ramp_limit(&r, &bounds, now + 2000), 8);
}

/* 11.7: an ill primary is left alone, ever longer; one delivery tries it. */
static void
test_spec_11_7_failures_in_a_row_pause_the_replay(void **state)
{
	static const int64_t pause[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	struct ramp r = { 0 };
	int64_t now = 0;

	(void)state;
	(void)ramp_limit(&r, &bounds, now);
	for (int i = 0; i < RAMP_STORM; i++) {
		assert_int_equal(ramp_limit(&r, &bounds, now), 1);
		ramp_reply(&r, &bounds, RAMP_DEFERRED, 5, now, now + 5);
		now += 10;
	}
	now -= 5;
	for (size_t i = 0; i < sizeof(pause) / sizeof(pause[0]); i++) {
		assert_int_equal(ramp_limit(&r, &bounds, now + pause[i] - 1), 0);
		assert_int_equal(ramp_quiet_until(&r, now + 1), now + pause[i]);
		now += pause[i];
		assert_int_equal(ramp_limit(&r, &bounds, now), 1);
		ramp_reply(&r, &bounds, RAMP_DEFERRED, 0, now, now);
	}
	now += 60000;
	ramp_reply(&r, &bounds, RAMP_ANSWERED, 10, now, now);
	assert_int_equal(ramp_quiet_until(&r, now), INT64_MIN);
	assert_int_equal(ramp_limit(&r, &bounds, now), 1);
	step(&r, &now, 50, 10);
	step(&r, &now, 50, 10);
	assert_true(ramp_limit(&r, &bounds, now) >= 2);
}

static void
too_few_replies_prove_nothing(void **state)
{
	struct ramp r = { 0 };

	(void)state;
	(void)ramp_limit(&r, &bounds, 0);
	for (int i = 0; i < RAMP_LEAST - 1; i++)
		ramp_reply(&r, &bounds, RAMP_ANSWERED, 10, 100, 200);
	assert_int_equal(ramp_limit(&r, &bounds, 30000), 1);
}

/* Yesterday's strength says nothing about today. */
static void
a_ramp_that_rested_starts_again(void **state)
{
	struct ramp r = { 0 };
	int64_t now = 0;

	(void)state;
	(void)ramp_limit(&r, &bounds, now);
	for (int i = 0; i < 3; i++)
		step(&r, &now, 100, 50);
	assert_int_equal(ramp_limit(&r, &bounds, now), 8);
	assert_false(ramp_idle(&r, &bounds, now + 10 * bounds.step_ms));
	assert_true(ramp_idle(&r, &bounds, now + 10 * bounds.step_ms + 1));
	assert_int_equal(ramp_limit(&r, &bounds, now + 10 * bounds.step_ms + 1), 1);
}

/* Any latency a clock can give finds a bucket; percentiles are no more than a fifth high. */
static void
latencies_are_measured_within_a_fifth(void **state)
{
	static const int64_t ms[] = { 0, 1, 2, 3, 7, 10, 99, 100, 250, 1000, 1999, 10000, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		struct ramp r = { 0 };

		(void)ramp_limit(&r, &bounds, 0);
		for (int n = 0; n < 20; n++)
			ramp_reply(&r, &bounds, RAMP_ANSWERED, ms[i], 0, 1);
		assert_in_range(ramp_p95(&r), ms[i], ms[i] + ms[i] / 5 + 1);
	}
	struct ramp r = { 0 };
	(void)ramp_limit(&r, &bounds, 0);
	ramp_reply(&r, &bounds, RAMP_ANSWERED, INT64_MAX, 0, 1);
	ramp_reply(&r, &bounds, RAMP_ANSWERED, -5, 0, 1);
	assert_true(ramp_p95(&r) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_11_5_starts_at_one_and_doubles_each_step_up_to_the_ceiling),
		cmocka_unit_test(test_spec_11_5_does_not_double_before_the_step_is_over),
		cmocka_unit_test(test_spec_11_5_the_95th_percentile_decides),
		cmocka_unit_test(test_spec_11_5_half_on_4xx_and_on_timeouts),
		cmocka_unit_test(a_rare_deferral_costs_one_halving_a_step),
		cmocka_unit_test(test_spec_11_7_failures_in_a_row_pause_the_replay),
		cmocka_unit_test(too_few_replies_prove_nothing),
		cmocka_unit_test(a_ramp_that_rested_starts_again),
		cmocka_unit_test(latencies_are_measured_within_a_fifth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
