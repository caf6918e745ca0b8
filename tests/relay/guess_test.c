// SPDX-License-Identifier: Apache-2.0
/* Spec 1.2.11: who guesses return paths is counted and barred. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "relay/guess.h"

static const struct guess_bounds spec = { 20, 600 * 1000, 3600 * 1000 };

static const uint8_t *
addr(uint32_t n)
{
	static uint8_t a[16];

	memset(a, 0, sizeof(a));
	memcpy(a + 12, &n, sizeof(n));
	return a;
}

static void
spec_1_2_11_twenty_in_ten_minutes_for_an_hour(void **state)
{
	struct guess *g = guess_new();

	(void)state;
	for (int i = 0; i < 19; i++)
		assert_false(guess_failed(g, &spec, addr(1), i));
	assert_false(guess_barred(g, addr(1), 19));
	assert_true(guess_failed(g, &spec, addr(1), 20));
	assert_true(guess_barred(g, addr(1), 21));
	assert_false(guess_barred(g, addr(2), 21));
	assert_true(guess_barred(g, addr(1), 20 + 3600 * 1000 - 1));
	assert_false(guess_barred(g, addr(1), 20 + 3600 * 1000));
	/* and again from the beginning */
	assert_false(guess_failed(g, &spec, addr(1), 4000 * 1000));
	guess_free(&g);
	assert_null(g);
}

static void
spec_1_2_11_slow_failures_are_no_guessing(void **state)
{
	struct guess *g = guess_new();

	(void)state;
	for (int64_t i = 0; i < 100; i++)
		assert_false(guess_failed(g, &spec, addr(1), i * 60 * 1000));
	guess_free(&g);
}

/* A storm from ever new addresses frees nobody who is barred. */
static void
spec_1_2_11_a_storm_does_not_free_who_is_barred(void **state)
{
	struct guess *g = guess_new();

	(void)state;
	for (int i = 0; i < 20; i++)
		(void)guess_failed(g, &spec, addr(1), 1);
	for (uint32_t n = 2; n < 40 * GUESS_PLACES; n++)
		(void)guess_failed(g, &spec, addr(n), 2);
	assert_true(guess_barred(g, addr(1), 3));
	guess_free(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_1_2_11_twenty_in_ten_minutes_for_an_hour),
		cmocka_unit_test(spec_1_2_11_slow_failures_are_no_guessing),
		cmocka_unit_test(spec_1_2_11_a_storm_does_not_free_who_is_barred),
	};

	return cmocka_run_group_tests_name("relay/guess", tests, NULL, NULL);
}
