// SPDX-License-Identifier: Apache-2.0
/* Spec 11.4: oldest first per mailbox, classes 0 and 1 before bulk across mailboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "queue/lane.h"
#include "queue/schedule.h"

enum { ITEMS_MAX = 20000 };
static struct item item[ITEMS_MAX];

/* Item i: mailbox and class; its place in the array is its age. */
static void
put(struct lane *l, unsigned i, uint64_t user, unsigned triage)
{
	item[i] = (struct item){ .e = { .user = user, .triage = (uint8_t)triage,
	    .ref = { 1, i } } };
	lane_put(l, &item[i]);
}

static unsigned
take(struct lane *l)
{
	struct item *it = lane_take(l);

	assert_non_null(it);
	return it->e.ref.entry;
}

static void
drain(struct lane *l)
{
	while (lane_evict(l) != NULL)
		;
	lane_fini(l);
}

static void
test_spec_11_4_one_mailbox_is_served_oldest_first_one_at_a_time(void **state)
{
	struct lane l;

	(void)state;
	lane_init(&l);
	for (unsigned i = 0; i < 5; i++)
		put(&l, i, 7, i == 3 ? 0 : 2);	/* what is urgent does not overtake its own */
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(take(&l), i);
		assert_false(lane_ready(&l));
		assert_null(lane_take(&l));
		lane_done(&l, &item[i]);
	}
	assert_int_equal(l.boxes, 0);
	lane_fini(&l);
}

static void
test_spec_11_4_class_0_and_1_go_before_bulk_across_mailboxes(void **state)
{
	struct lane l;

	(void)state;
	lane_init(&l);
	put(&l, 0, 1, 3);
	put(&l, 1, 2, 3);
	put(&l, 2, 3, 2);
	put(&l, 3, 2, 0);	/* mailbox 2 goes first, with its older one before it */
	put(&l, 4, 4, 1);
	put(&l, 5, 2, 3);
	assert_int_equal(take(&l), 1);
	assert_int_equal(take(&l), 4);
	lane_done(&l, &item[1]);
	assert_int_equal(take(&l), 3);
	lane_done(&l, &item[3]);	/* nothing urgent left there: behind the others */
	assert_int_equal(take(&l), 0);
	assert_int_equal(take(&l), 2);
	assert_int_equal(take(&l), 5);
	for (unsigned i = 0; i < 6; i++)
		if (item[i].box != NULL)
			lane_done(&l, &item[i]);
	assert_int_equal(l.boxes, 0);
	lane_fini(&l);
}

/* A mailbox with ten thousand messages takes its turn like others. */
static void
mailboxes_take_turns(void **state)
{
	struct lane l;
	unsigned i, big = 0;

	(void)state;
	lane_init(&l);
	for (i = 0; i < 10000; i++)
		put(&l, i, 1, 2);
	for (; i < 10100; i++)
		put(&l, i, 2 + i % 10, 2);
	for (unsigned n = 0; n < 110; n++) {
		unsigned at = take(&l);

		big += item[at].e.user == 1;
		lane_done(&l, &item[at]);
	}
	assert_in_range(big, 10, 11);
	assert_int_equal(l.queued, 10100 - 110);
	drain(&l);
}

/* Any sequence: each is given once, per mailbox in order, never two of one at a time. */
static void
random_traffic_keeps_the_order(void **state)
{
	struct lane l;
	unsigned next = 0, done = 0, nrun = 0, run[32], last[50] = { 0 };
	bool busy[50] = { false };
	uint32_t seed = 12345;

	(void)state;
	lane_init(&l);
	while (done < ITEMS_MAX) {
		seed = seed * 1664525 + 1013904223;
		unsigned what = seed >> 28;

		if (what < 6 && next < ITEMS_MAX) {
			put(&l, next, seed >> 8 & 0xff & 31, seed >> 16 & 3);
			next++;
		} else if (what < 12 && nrun < 32 && lane_ready(&l)) {
			unsigned at = take(&l), user = (unsigned)item[at].e.user;

			assert_false(busy[user]);
			assert_true(last[user] == 0 || last[user] < at + 1);
			busy[user] = true;
			last[user] = at + 1;
			run[nrun++] = at;
		} else if (nrun > 0) {
			unsigned i = seed >> 4 & 0xffff;

			i %= nrun;
			busy[item[run[i]].e.user] = false;
			lane_done(&l, &item[run[i]]);
			run[i] = run[--nrun];
			done++;
		}
	}
	assert_int_equal(l.queued, 0);
	assert_int_equal(l.boxes, 0);
	lane_fini(&l);
}

static void
eviction_leaves_what_runs(void **state)
{
	struct lane l;
	unsigned n = 0;

	(void)state;
	lane_init(&l);
	for (unsigned i = 0; i < 100; i++)
		put(&l, i, i % 3, i % 4);
	unsigned at = take(&l);
	while (lane_evict(&l) != NULL)
		n++;
	assert_int_equal(n, 99);
	assert_int_equal(l.boxes, 1);
	put(&l, 200, item[at].e.user, 2);
	assert_false(lane_ready(&l));
	lane_done(&l, &item[at]);
	assert_true(lane_ready(&l));
	lane_remove(&l, &item[200]);
	lane_fini(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_11_4_one_mailbox_is_served_oldest_first_one_at_a_time),
		cmocka_unit_test(test_spec_11_4_class_0_and_1_go_before_bulk_across_mailboxes),
		cmocka_unit_test(mailboxes_take_turns),
		cmocka_unit_test(random_traffic_keeps_the_order),
		cmocka_unit_test(eviction_leaves_what_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
