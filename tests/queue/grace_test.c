// SPDX-License-Identifier: Apache-2.0
/* What was replayed stays on disk for replay-grace (spec 12.5): until it is over, until space
 * is short, and anew from each start. The clock stands still here, the ticks do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "tests/queue/spool_kit.h"

enum { GRACE_MS = 3600 * 1000, MIB = 1 << 20, SEGMENTS = 3 };

static const int64_t NOW = 1795000000000;

/* `SEGMENTS` sealed segments of mail that was held and is replayed now, and the open one. */
static void
replayed(struct kit *k, struct store_script *script)
{
	clock_fake(NOW, 1000);
	kit_init(k);
	k->conf.segment_size = 64 * 1024;
	k->conf.disk_warn = 50 * MIB;
	k->conf.replay_grace_ms = GRACE_MS;
	k->ops = &store_fake;
	store_fake_where(script, &store_local, k->dir, k->where, sizeof(k->where));
	kit_start(k, false);
	for (int i = 0; i < SEGMENTS + 1; i++) {
		struct spool_entry e;

		kit_commit(k, "g@example.it", 1, LEG_PARKED, LEG_ABSENT, 60000);
		assert_int_equal(k->last, COMMIT_OK);
		assert_int_equal(spool_get(k->sp, k->ref[0], &e), 0);
		struct spool_leg to = e.leg[LEG_HOLD];
		to.state = LEG_DELIVERED;
		assert_int_equal(spool_set(k->sp, k->ref[0], LEG_HOLD, &to, SLICE_NONE), 0);
	}
}

static uint64_t
segments(struct kit *k)
{
	struct spool_status st;

	spool_status(k->sp, &st);
	return st.segments;
}

/* True when no more than that many are left within a few ticks. */
static bool
falls_to(struct kit *k, uint64_t n)
{
	for (int i = 0; i < 80 && segments(k) > n; i++)
		kit_run(k, 50);
	return segments(k) <= n;
}

static void
finish(struct kit *k)
{
	clock_fake(-1, -1);
	kit_close(k);
}

static void
test_spec_12_5_grace_gives_way_when_space_is_short(void **state)
{
	struct store_script s = { .bytes_free = 60 * MIB };
	struct spool_sums t;
	struct kit k;

	(void)state;
	replayed(&k, &s);
	kit_run(&k, 2200);			/* two ticks: all could be gone */
	assert_int_equal(segments(&k), SEGMENTS + 1);
	s.bytes_free = 40 * MIB;		/* below disk-warn */
	assert_true(falls_to(&k, 1));
	spool_total(k.sp, 0, &t);
	assert_int_equal(t.received, SEGMENTS + 1);
	assert_int_equal(t.replayed, SEGMENTS + 1);
	finish(&k);
}

static void
test_spec_12_5_grace_outlives_a_stop_and_ends_later(void **state)
{
	struct store_script s = { .bytes_free = 60 * MIB };
	struct kit k;

	(void)state;
	replayed(&k, &s);
	clock_fake(NOW + GRACE_MS - 1, 1000 + GRACE_MS - 1);
	kit_restart(&k);
	clock_fake(NOW + GRACE_MS + 1, 1000 + GRACE_MS + 1);	/* over, had there been no start */
	kit_run(&k, 2200);
	assert_int_equal(segments(&k), SEGMENTS + 1);
	clock_fake(NOW + 2 * GRACE_MS, 1000 + 2 * GRACE_MS);
	assert_true(falls_to(&k, 1));
	finish(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_12_5_grace_gives_way_when_space_is_short),
		cmocka_unit_test(test_spec_12_5_grace_outlives_a_stop_and_ends_later),
	};

	return cmocka_run_group_tests_name("queue/grace", tests, NULL, NULL);
}
