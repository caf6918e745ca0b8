// SPDX-License-Identifier: Apache-2.0
/* Spans and times as typed: what is meant, and what is refused rather than guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "admin/when.h"

static void
spans(void **state)
{
	static const struct { const char *text; int64_t ms; } cases[] = {
		{ "5s", 5000 }, { "90m", 90 * 60000 }, { "1d12h", 36 * 3600000 },
		{ "2w", 14 * 86400000LL }, { "", -1 }, { "5", -1 }, { "h", -1 }, { "1y", -1 },
		{ "0s", -1 }, { "-1h", -1 }, { "1h ", -1 }, { "9999999999s", -1 },
		{ "999999999w999999999w", 999999999LL * 2 * 604800000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 0;
		int rc = when_span(cases[i].text, &ms);

		assert_int_equal(rc, cases[i].ms < 0 ? -1 : 0);
		if (rc == 0)
			assert_int_equal(ms, cases[i].ms);
	}
}

static void
times(void **state)
{
	/* 2026-11-28 12:00 in Rome */
	static const int64_t now = 1795863600000;
	static const struct { const char *text; int64_t ms; } cases[] = {
		{ "2026-11-28T17:30Z", 1795887000000 }, { "2026-11-28 17:30", 1795883400000 },
		{ "2026-11-28T17:30:09", 1795883409000 }, { "2026-07-01 12:00", 1782900000000 },
		{ "17:30", 1795883400000 }, { "12:01:30", 1795863690000 },
		{ "12:00", 1795863600000 + 86400000 }, { "00:00", 1795906800000 },
		{ "2026-02-31 12:00", -1 }, { "2026-11-28", -1 }, { "2026-11-28T", -1 },
		{ "2026-11-28 24:00", -1 }, { "2026-13-01 12:00", -1 }, { "2026-11-28T17:30+01", -1 },
		{ "26-11-28 12:00", -1 }, { "12", -1 }, { "12:60", -1 }, { "1200", -1 }, { "", -1 },
		{ "noon", -1 }, { "12:00Z", -1 } };

	(void)state;
	assert_int_equal(setenv("TZ", "Europe/Rome", 1), 0);
	tzset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 0;
		int rc = when_time(cases[i].text, now, &ms);

		if (rc != (cases[i].ms < 0 ? -1 : 0) || (rc == 0 && ms != cases[i].ms))
			fail_msg("%s: %d %lld", cases[i].text, rc, (long long)ms);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(spans), cmocka_unit_test(times) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
