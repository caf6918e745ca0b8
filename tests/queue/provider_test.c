// SPDX-License-Identifier: Apache-2.0
/* 8.3, 8.4: slow start, silence, one connection, half the rate; a scripted clock. And the
 * cache of routes (8.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "queue/provider.h"
#include "queue/routes.h"

static char name[] = "google.com";

static void
test_spec_8_3_slow_start(void **state)
{
	const struct conf_provider c = { name, 5, 50, true, 60000, 600000, 0, 0, 0, 0 };
	struct provider p;

	(void)state;
	provider_init(&p, 1000);
	assert_int_equal(provider_limit(&p, &c, 1000), 1);
	assert_int_equal(provider_limit(&p, &c, 60999), 1);
	assert_int_equal(provider_limit(&p, &c, 61000), 2);
	assert_int_equal(provider_limit(&p, &c, 181000), 4);
	assert_int_equal(provider_limit(&p, &c, 999000), 5);	/* the ceiling of 8.2 */
	const struct conf_provider at_once = { name, 5, 50, true, 0, 600000, 0, 0, 0, 0 };
	assert_int_equal(provider_limit(&p, &at_once, 1000), 5);
}

static void
test_spec_8_4_rate(void **state)
{
	const struct conf_provider c = { name, 5, 50, true, 60000, 600000, 0, 0, 0, 0 };
	struct provider p;
	int64_t now = 0, next;

	(void)state;
	provider_init(&p, 0);
	for (now = 0; now < 300000; now += 500) {	/* 120 a minute */
		assert_true(provider_next(&p, &c, now) <= now);
		provider_started(&p, now);
	}
	assert_int_equal(provider_limit(&p, &c, now), 5);
	assert_true(provider_close(&p, now - 100, now, now + 600000, true));
	/* the others that were under way say the same: no second silence */
	assert_false(provider_close(&p, now - 50, now + 100, now + 999999, true));
	assert_int_equal(provider_next(&p, &c, now + 1000), now + 600000);
	now += 600000;
	assert_int_equal(provider_limit(&p, &c, now), 1);	/* exactly one */
	assert_true(provider_next(&p, &c, now) <= now);
	provider_started(&p, now);
	next = provider_next(&p, &c, now);
	assert_in_range(next - now, 900, 1100);		/* half: 60 a minute */
	assert_int_equal(provider_limit(&p, &c, now + 59999), 1);
	assert_int_equal(provider_limit(&p, &c, now + 60000), 2);	/* then one more at a time */
	provider_started(&p, now + 60000);
	assert_in_range(provider_next(&p, &c, now + 60000) - now - 60000, 450, 550);
	assert_true(provider_close(&p, now + 60001, now + 60100, now + 660100, true));
	assert_int_equal(provider_limit(&p, &c, now + 660100), 1);
	assert_true(provider_next(&p, &c, now + 660100 + 20 * 60000) <= now + 660100 + 20 * 60000);
}

/* slow-start = 0s is for peace time: after a complaint it is slow all the same. */
static void
test_spec_8_4_rate_without_slow_start(void **state)
{
	const struct conf_provider c = { name, 5, 50, true, 0, 600000, 0, 0, 0, 0 };
	struct provider p;

	(void)state;
	provider_init(&p, 0);
	assert_true(provider_close(&p, 1, 2, 600002, true));
	assert_int_equal(provider_limit(&p, &c, 600002), 1);
	assert_int_equal(provider_limit(&p, &c, 660002), 2);
}

static void
test_spec_8_1_routes_cache(void **state)
{
	struct routes *r = routes_new(100);
	struct route x = { .status = 0, .group = "google.com" };
	char domain[32];

	(void)state;
	assert_null(routes_get(r, "a.example", 1));
	routes_put(r, "a.example", &x, 1000);
	assert_string_equal(routes_get(r, "a.example", 999)->group, "google.com");
	assert_null(routes_get(r, "a.example", 1000));
	(void)snprintf(x.group, sizeof(x.group), "other.example");
	routes_put(r, "a.example", &x, 2000);
	assert_string_equal(routes_get(r, "a.example", 1000)->group, "other.example");
	for (unsigned i = 0; i < 5000; i++) {	/* P6 */
		(void)snprintf(domain, sizeof(domain), "d%u.example", i);
		routes_put(r, domain, &x, 2000);
		assert_true(routes_count(r) <= 100);
		assert_non_null(routes_get(r, domain, 1));
	}
	routes_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_8_3_slow_start),
		cmocka_unit_test(test_spec_8_4_rate),
		cmocka_unit_test(test_spec_8_4_rate_without_slow_start),
		cmocka_unit_test(test_spec_8_1_routes_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
