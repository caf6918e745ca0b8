// SPDX-License-Identifier: Apache-2.0
/* The table against a plain list, with keys that crowd into few homes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rows.h"

enum { KEYS = 400, STEPS = 60000 };

struct item {
	uint32_t key, value;	/* key 0: free */
};

static bool
item_used(const void *row)
{
	return ((const struct item *)row)->key != 0;
}

static uint64_t
item_home(const void *row)
{
	return ((const struct item *)row)->key / 7 * 3;
}

static bool
item_same(const void *a, const void *b)
{
	return ((const struct item *)a)->key == ((const struct item *)b)->key;
}

static const struct rows_kind kind = { sizeof(struct item), item_used, item_home, item_same };

static void
expect_all(const struct rows *t, const uint32_t want[KEYS])
{
	unsigned n = 0, seen = 0;

	for (uint32_t k = 1; k < KEYS; k++) {
		const struct item like = { .key = k }, *got = rows_find(t, &like);

		assert_true((got != NULL) == (want[k] != 0));
		assert_true(got == NULL || got->value == want[k]);
		n += want[k] != 0;
	}
	for (size_t i = 0; i < t->slots; i++)
		seen += rows_at(t, i) != NULL;
	assert_int_equal(t->n, n);
	assert_int_equal(seen, n);
	assert_true((size_t)n * 2 <= t->slots);
}

static void
against_a_list(void **state)
{
	uint32_t want[KEYS] = { 0 }, r = 1;
	struct rows t;

	(void)state;
	rows_init(&t, &kind);
	for (uint32_t i = 1; i <= STEPS; i++) {
		struct item it = { .value = i }, *at;

		r = r * 1664525 + 1013904223;
		it.key = 1 + (r >> 8) % (KEYS - 1);
		at = rows_find(&t, &it);
		if ((r >> 24) % 5 < 2 && at != NULL) {
			rows_remove(&t, at);
			want[it.key] = 0;
		} else {
			rows_put(&t, &it);
			want[it.key] = i;
		}
		if (i % 97 == 0)
			expect_all(&t, want);
	}
	expect_all(&t, want);
	rows_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_a_list),
	};

	return cmocka_run_group_tests_name("base/rows", tests, NULL, NULL);
}
