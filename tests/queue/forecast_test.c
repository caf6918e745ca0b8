// SPDX-License-Identifier: Apache-2.0
#include "queue/forecast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MB	(1024ULL * 1024)

static void
growth_over_the_window(void **state)
{
	static const struct {
		uint64_t bytes[4];	/* one sample a minute */
		uint64_t growth;	/* an hour */
		uint64_t room;
		double	 hours;
	} cases[] = {
		{ { 0, MB, 2 * MB, 3 * MB }, 60 * MB, 120 * MB, 2 },
		{ { 3 * MB, 3 * MB, 3 * MB, 3 * MB }, 0, 120 * MB, -1 },
		{ { 9 * MB, 3 * MB, 2 * MB, 0 }, 0, 120 * MB, -1 },
		{ { 6 * MB, 0, 6 * MB, 9 * MB }, 60 * MB, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct forecast f = { 0 };

		assert_int_equal(forecast_growth(&f), 0);
		for (int k = 0; k < 4; k++)
			forecast_put(&f, 1000 + k * 60000, cases[i].bytes[k], 0);
		assert_int_equal(forecast_growth(&f), cases[i].growth);
		assert_true(forecast_hours(&f, cases[i].room) == cases[i].hours);
	}
}

static void
old_and_crowded_samples_do_not_count(void **state)
{
	struct forecast f = { 0 };
	int64_t t = 0;

	(void)state;
	/* An hour of 1 MB each 5 s, with ten samples where one is due, then quiet. */
	for (uint64_t k = 0; k < 7200; k++, t += 500)
		forecast_put(&f, t, k / 10 * MB, 0);
	assert_in_range(forecast_growth(&f), 715 * MB, 725 * MB);
	for (int k = 0; k < 121; k++, t += 5000)
		forecast_put(&f, t, 720 * MB, 0);
	assert_int_equal(forecast_growth(&f), 0);
}

static void
logged_once_in_ten_minutes_while_mail_piles_up(void **state)
{
	struct forecast f = { 0 };
	int64_t t = 1000;
	int n = 0;

	(void)state;
	for (uint64_t k = 0; k < 3600 / 5; k++, t += 5000) {
		forecast_put(&f, t, k * MB, k);
		n += forecast_log_due(&f, t);
	}
	assert_int_equal(n, 6);
	for (uint64_t k = 0; k < 3600 / 5; k++, t += 5000) {
		forecast_put(&f, t, (720 + k) * MB, 720);	/* through, not held */
		n += k > 130 && forecast_log_due(&f, t);
	}
	assert_int_equal(n, 6);
}

static void
water_marks_with_some_slack_upwards(void **state)
{
	struct conf c = { .disk_reserve = 100, .disk_bulk_reserve = 200, .disk_warn = 400 };
	static const struct { uint64_t free; enum water now; } steps[] = {
		{ 1000, WATER_FINE }, { 400, WATER_FINE }, { 399, WATER_WARN },
		{ 419, WATER_WARN }, { 420, WATER_FINE }, { 199, WATER_BULK },
		{ 205, WATER_BULK }, { 210, WATER_WARN }, { 99, WATER_FULL },
		{ 104, WATER_FULL }, { 105, WATER_BULK }, { 0, WATER_FULL }, { 5000, WATER_FINE },
	};
	enum water now = WATER_FINE;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		now = water_next(now, &c, steps[i].free);
		assert_string_equal(water_name(now), water_name(steps[i].now));
	}
	/* Marks in the wrong order: the higher need wins. */
	c = (struct conf){ .disk_reserve = 300, .disk_bulk_reserve = 0, .disk_warn = 0 };
	assert_int_equal(water_next(WATER_FINE, &c, 299), WATER_FULL);
	assert_int_equal(water_next(WATER_FINE, &c, 300), WATER_FINE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growth_over_the_window),
		cmocka_unit_test(old_and_crowded_samples_do_not_count),
		cmocka_unit_test(logged_once_in_ten_minutes_while_mail_piles_up),
		cmocka_unit_test(water_marks_with_some_slack_upwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
