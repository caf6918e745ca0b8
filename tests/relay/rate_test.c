// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "relay/rate.h"

static void
addr_make(uint8_t addr[16], uint32_t n)
{
	memset(addr, 0, 16);
	memcpy(addr + 12, &n, sizeof(n));
}

static void
test_window(void **state)
{
	struct rate *r = rate_new();
	uint8_t a[16], b[16];

	(void)state;
	addr_make(a, 1);
	addr_make(b, 2);
	for (int i = 0; i < 3; i++)
		assert_true(rate_take(r, a, 3, 1000 + i));
	assert_false(rate_take(r, a, 3, 1004));
	assert_true(rate_take(r, b, 3, 1004));	/* others are not his keepers */
	assert_false(rate_take(r, a, 3, 1000 + RATE_WINDOW_MS - 1));
	assert_true(rate_take(r, a, 3, 1000 + RATE_WINDOW_MS));
	rate_free(&r);
	assert_null(r);
}

/* A storm from ever new addresses does not hide the one that comes most. */
static void
test_storm(void **state)
{
	struct rate *r = rate_new();
	uint8_t a[16], b[16];

	(void)state;
	addr_make(a, 1);
	for (int i = 0; i < 100; i++)
		(void)rate_take(r, a, 10, 1);
	for (uint32_t i = 0; i < 10 * RATE_PLACES; i++) {
		addr_make(b, 1000 + i);
		assert_true(rate_take(r, b, 10, 2));
	}
	assert_false(rate_take(r, a, 10, 3));
	rate_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests_name("relay/rate", tests, NULL, NULL);
}
