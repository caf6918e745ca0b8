// SPDX-License-Identifier: Apache-2.0
/* 10.4-10.6: the order of service, with a scripted clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "queue/order.h"
#include "queue/schedule.h"

enum { TTL = 15 * 60 * 1000, ITEMS = 4096 };

static struct item items[ITEMS];
static unsigned nitem;

static int
setup(void **state)
{
	memset(items, 0, sizeof(items));
	nitem = 0;
	*state = order_new();
	return 0;
}

static int
teardown(void **state)
{
	struct order *o = *state;

	while (order_take(o, TTL, 0) != NULL)
		;
	order_free(&o);
	return 0;
}

static struct item *
put(struct order *o, unsigned class, uint64_t user, uint64_t sender, int64_t received,
    uint64_t size)
{
	struct item *it = &items[nitem++];

	assert_true(nitem <= ITEMS);
	it->e.user = user;
	it->e.received_ms = received;
	it->e.size = size;
	it->sender = sender;
	order_put(o, it, class);
	return it;
}

static void
test_spec_10_5_class_0_newest_first(void **state)
{
	struct order *o = *state;

	put(o, 3, 1, 0, 1, 100);
	put(o, 2, 1, 0, 2, 100);
	put(o, 1, 1, 0, 3, 100);
	for (unsigned i = 0; i < 20; i++)
		put(o, 0, 1, i, (i * 7) % 20 + 100, 100);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(order_take(o, TTL, 200)->e.received_ms, 119 - i);
}

/* 10.4: an old code is of no use. */
static void
test_spec_10_4_class_0_gets_old(void **state)
{
	struct order *o = *state;
	struct item *person;

	put(o, 0, 1, 1, 0, 100);
	put(o, 0, 1, 1, 1000, 100);
	person = put(o, 1, 2, 0, 2000, 100);
	assert_int_equal(order_take(o, TTL, TTL + 500)->e.received_ms, 1000);
	assert_ptr_equal(order_take(o, TTL, TTL + 500), person);
	assert_int_equal(order_take(o, TTL, TTL + 500)->class, 2);
}

/* Fair over users, by bytes, oldest of each first. */
static void
test_spec_10_5_users_in_turn(void **state)
{
	struct order *o = *state;
	unsigned of[3] = { 0 };
	int64_t last[3] = { -1, -1, -1 };

	for (unsigned i = 0; i < 300; i++)
		put(o, 1, 0, 0, i, 4096);	/* a mail bomb */
	for (unsigned i = 0; i < 20; i++) {
		put(o, 1, 1, 0, 500 + i, 4096);
		put(o, 1, 2, 0, 500 + i, 200000);	/* large ones get less often their turn */
	}
	for (unsigned i = 0; i < 70; i++) {
		struct item *it = order_take(o, TTL, 1000);

		assert_true(it->e.received_ms > last[it->e.user]);
		last[it->e.user] = it->e.received_ms;
		of[it->e.user]++;
	}
	assert_int_equal(of[1], 20);		/* the quiet user did not wait behind the bomb */
	assert_in_range(of[2], 1, 6);
}

/* 10 % and 5 % whatever waits above; class 3 nothing. */
static void
test_spec_10_5_least_shares(void **state)
{
	struct order *o = *state;
	unsigned of[4] = { 0 };

	for (unsigned i = 0; i < 400; i++) {
		put(o, 0, i, i + 1, i, 100);
		put(o, 1, i, 0, i, 100);
		put(o, 2, i, 0, i, 100);
		put(o, 3, i, 0, i, 100);
	}
	for (unsigned i = 0; i < 400; i++)
		of[order_take(o, TTL, 500)->class]++;
	assert_in_range(of[1], 38, 42);
	assert_in_range(of[2], 18, 22);
	assert_int_equal(of[3], 0);
	assert_int_equal(of[0] + of[1] + of[2], 400);
}

/* 10.6 */
static void
test_spec_10_6_one_sender(void **state)
{
	struct order *o = *state;
	unsigned flood = 0;

	for (unsigned i = 0; i < 300; i++)
		put(o, 0, i, 7, 2000 + i, 100);		/* newer than the others */
	for (unsigned i = 0; i < 200; i++)
		put(o, 0, i, 100 + i, 1000 + i, 100);
	for (unsigned i = 0; i < 100; i++)
		flood += order_take(o, TTL, 3000)->sender == 7;
	assert_in_range(flood, 30, 36);		/* and its 5 % of class 2 */
	/* alone it is not held back */
	for (unsigned i = 0; i < 400; i++)
		assert_non_null(order_take(o, TTL, 3000));
}

/* What is served last makes room for what is served first. */
static void
test_shed_is_the_last(void **state)
{
	struct order *o = *state;
	struct item *b1 = put(o, 3, 1, 0, 1, 100), *b2 = put(o, 3, 1, 0, 2, 100);
	struct item *p = put(o, 2, 1, 0, 3, 100);

	put(o, 0, 1, 1, 4, 100);
	assert_null(order_shed(o, 3));
	assert_ptr_equal(order_shed(o, 2), b2);
	assert_ptr_equal(order_shed(o, 0), b1);
	assert_null(order_shed(o, 2));
	assert_ptr_equal(order_shed(o, 0), p);
	assert_null(order_shed(o, 0));
	assert_int_equal(order_count(o, 0), 1);
	assert_int_equal(order_count(o, 3), 0);
	order_remove(o, &items[3]);
	assert_null(order_take(o, TTL, 0));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_spec_10_5_class_0_newest_first),
		T(test_spec_10_4_class_0_gets_old),
		T(test_spec_10_5_users_in_turn),
		T(test_spec_10_5_least_shares),
		T(test_spec_10_6_one_sender),
		T(test_shed_is_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
