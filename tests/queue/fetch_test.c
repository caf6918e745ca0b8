// SPDX-License-Identifier: Apache-2.0
/*
 * Messages read off the loop: while a read hangs commits are answered and other reads
 * go on; what arrives late is what was asked for, even when its log was rewritten
 * under way (docs/spool.md, "Reading").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/spool_priv.h"
#include "tests/queue/spool_kit.h"

enum { SIZE = 6000 };

struct got {
	unsigned	calls;
	int		error;
	struct msgid	id;
	bool		whole;
};

static void
on_message(void *arg, int error, struct spool_message *m)
{
	struct got *g = arg;
	char want[SIZE];
	struct slice map;

	g->calls++;
	g->error = error;
	assert_true((error == 0) == (m != NULL));
	if (m == NULL)
		return;
	g->id = m->env.id;
	if (m->body_fd >= 0) {
		kit_fill(want, SIZE, g->id);
		assert_int_equal(body_map(m->body_fd, &map), 0);
		g->whole = map.n == SIZE && memcmp(map.p, want, SIZE) == 0;
		body_unmap(&map);
	}
	spool_message_fini(m);
}

static void
until(struct kit *k, const unsigned *calls, unsigned n)
{
	for (int i = 0; i < 2000 && *calls < n; i++)
		kit_run(k, 2);
	assert_int_equal(*calls, n);
}

static void
test_fetch(void **state)
{
	struct kit k;
	struct got g = { 0 };
	struct spool_message m;

	(void)state;
	kit_open(&k, NULL);
	struct msgid id = kit_commit(&k, "j@example.it", 1, LEG_WAITING, LEG_ABSENT, SIZE);
	assert_int_equal(spool_recent(k.sp, k.ref[0], true, &m), 0);
	spool_message_fini(&m);
	cache_clear(k.sp);
	assert_int_equal(spool_recent(k.sp, k.ref[0], true, &m), -1);
	assert_non_null(spool_fetch(k.sp, k.ref[0], true, on_message, &g));
	assert_int_equal(g.calls, 0);
	until(&k, &g.calls, 1);
	assert_int_equal(g.error, 0);
	assert_memory_equal(g.id.b, id.b, MSGID_LEN);
	assert_true(g.whole);
	/* One that nobody waits for any more, and one that never was. */
	struct spool_fetch *f = spool_fetch(k.sp, k.ref[0], true, on_message, &g);
	spool_fetch_cancel(&f);
	assert_null(f);
	const struct spool_ref none = { 99, 0 };
	assert_null(spool_fetch(k.sp, none, true, on_message, &g));
	assert_int_equal(errno, ENOENT);
	kit_run(&k, 100);
	assert_int_equal(g.calls, 1);
	struct spool_status st;
	spool_status(k.sp, &st);
	assert_int_equal(st.reading, 0);
	kit_close(&k);
}

static void
test_a_read_that_hangs_stops_nobody_else(void **state)
{
	struct store_script script = { .n = 1, .rule = { { .op = FAKE_WORK, .act = FAKE_HANG,
	    .count = 1 } } };
	struct got stuck = { 0 }, other = { 0 };
	struct kit k;

	(void)state;
	kit_open(&k, &script);
	kit_commit(&k, "j@example.it", 1, LEG_WAITING, LEG_ABSENT, SIZE);
	struct spool_ref first = k.ref[0];
	cache_clear(k.sp);
	assert_non_null(spool_fetch(k.sp, first, true, on_message, &stuck));
	kit_run(&k, 20);
	for (int i = 0; i < 20; i++) {
		kit_commit(&k, "j@example.it", 1, LEG_WAITING, LEG_ABSENT, SIZE);
		assert_int_equal(k.last, COMMIT_OK);
	}
	cache_clear(k.sp);
	assert_non_null(spool_fetch(k.sp, k.ref[0], true, on_message, &other));
	until(&k, &other.calls, 1);
	assert_true(other.whole);
	assert_int_equal(stuck.calls, 0);
	script.release = true;
	until(&k, &stuck.calls, 1);
	assert_true(stuck.whole);
	kit_close(&k);
}

static void
test_reads_under_way_are_bounded(void **state)
{
	struct store_script script = { .n = 1, .rule = { { .op = FAKE_WORK, .act = FAKE_HANG } } };
	struct got g = { 0 };
	struct kit k;

	(void)state;
	kit_open(&k, &script);
	kit_commit(&k, "j@example.it", 1, LEG_WAITING, LEG_ABSENT, SIZE);
	cache_clear(k.sp);
	for (unsigned i = 0; i < SPOOL_FETCH_MAX; i++)
		assert_non_null(spool_fetch(k.sp, k.ref[0], false, on_message, &g));
	assert_null(spool_fetch(k.sp, k.ref[0], false, on_message, &g));
	assert_int_equal(errno, EAGAIN);
	script.release = true;
	until(&k, &g.calls, SPOOL_FETCH_MAX);
	assert_non_null(spool_fetch(k.sp, k.ref[0], false, on_message, &g));
	until(&k, &g.calls, SPOOL_FETCH_MAX + 1);
	kit_close(&k);
}

/* The offset that was asked for means another thing by then. */
static void
test_a_log_rewritten_while_a_read_hangs(void **state)
{
	enum { N = 14 };
	struct store_script script = { .n = 1, .rule = { { .op = FAKE_WORK, .act = FAKE_HANG,
	    .count = 1 } } };
	struct spool_ref ref[N];
	struct msgid id[N];
	struct got g = { 0 };
	struct kit k;

	(void)state;
	kit_init(&k);
	k.ops = &store_fake;
	store_fake_where(&script, &store_local, k.dir, k.where, sizeof(k.where));
	k.conf.segment_size = 64 * 1024;
	k.conf.compact_below = 90;
	kit_start(&k, false);
	for (int i = 0; i < N; i++) {
		id[i] = kit_commit(&k, "j@example.it", 1, LEG_WAITING, LEG_ABSENT, SIZE);
		ref[i] = k.ref[0];
	}
	cache_clear(k.sp);
	assert_non_null(spool_fetch(k.sp, ref[5], true, on_message, &g));
	for (int i = 0; i < 5; i++)
		kit_set(&k, ref[i], LEG_HOLD, LEG_DELIVERED);
	for (int i = 0; i < 400 && k.sp->rewritten == 0; i++) {
		house_tick(k.sp);
		kit_run(&k, 5);
	}
	assert_int_equal(k.sp->rewritten, 1);
	assert_int_equal(g.calls, 0);
	script.release = true;
	until(&k, &g.calls, 1);
	assert_int_equal(g.error, 0);
	assert_memory_equal(g.id.b, id[5].b, MSGID_LEN);
	assert_true(g.whole);
	assert_int_equal(k.sp->damaged, 0);
	kit_close(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_a_read_that_hangs_stops_nobody_else),
		cmocka_unit_test(test_reads_under_way_are_bounded),
		cmocka_unit_test(test_a_log_rewritten_while_a_read_hangs),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
