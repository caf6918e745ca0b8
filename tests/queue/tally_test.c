// SPDX-License-Identifier: Apache-2.0
/* The statistics of an incident: percentiles, periods, bounds, what a restart keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/tally.h"

struct fixture {
	struct tally	*tally;
	char		 dir[64];
	int		 dirfd;
};

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/tally_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->tally = tally_open(x->dirfd);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	tally_close(&x->tally);
	(void)unlinkat(x->dirfd, "tally.json", 0);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static int64_t
value(const json_t *o, const char *leg, const char *cls, const char *key)
{
	const json_t *v = json_object_get(json_object_get(json_object_get(o, leg), cls), key);

	return v == NULL ? -1 : (int64_t)json_integer_value(v);
}

static void
delays_per_class_survive_a_restart(void **state)
{
	struct fixture *x = *state;

	for (int i = 1; i <= 1000; i++)
		tally_delivered(x->tally, 7, LEG_HOLD, 2, i * 1000, 5000000 + i);
	tally_delivered(x->tally, 7, LEG_FORWARD, 0, 250, 5002000);
	tally_delivered(x->tally, 7, LEG_FORWARD, 9, -5, 5002000);	/* clock set back, class X */
	for (int round = 0; round < 2; round++) {
		json_t *o = tally_json(x->tally, 7, 0);

		assert_int_equal(value(o, "replayed", "2", "count"), 1000);
		assert_in_range(value(o, "replayed", "2", "p50_ms"), 500000, 710000);
		assert_in_range(value(o, "replayed", "2", "p99_ms"), 990000, 1000000);
		assert_int_equal(value(o, "replayed", "2", "max_ms"), 1000000);
		assert_in_range(value(o, "forwarded", "0", "p95_ms"), 250, 250);
		assert_int_equal(value(o, "forwarded", "X", "count"), 1);
		assert_int_equal(value(o, "replayed", "1", "count"), -1);
		json_decref(o);
		tally_close(&x->tally);
		x->tally = tally_open(x->dirfd);
	}
}

static void
a_report_is_about_the_periods_since_then(void **state)
{
	struct fixture *x = *state;

	for (int p = 0; p < 20; p++) {	/* twenty incidents; the last ones are kept */
		tally_period(x->tally, 1, 1000000 * p);
		tally_period(x->tally, 1, 1000000 * p);
		tally_delivered(x->tally, 1, LEG_HOLD, 1, 10, 1000000 * p + 10);
	}
	tally_close(&x->tally);
	x->tally = tally_open(x->dirfd);
	static const struct { int64_t since, count; } cases[] = {
		{ 0, TALLY_PERIODS }, { 18000011, 1 }, { 18000010, 2 }, { 20000000, -1 } };
	for (size_t i = 0; i < 4; i++) {
		json_t *o = tally_json(x->tally, 1, cases[i].since);

		assert_int_equal(value(o, "replayed", "1", "count"), cases[i].count);
		json_decref(o);
	}
	json_t *o = tally_json(x->tally, 99, 0);	/* of a group without any */
	assert_int_equal(json_array_size(json_object_get(o, "replies")), 0);
	json_decref(o);
}

static void
replies_are_told_apart_within_a_bound(void **state)
{
	struct fixture *x = *state;
	char code[16];
	uint64_t sum = 0;
	json_t *r;
	size_t i;

	for (unsigned n = 0; n < 200; n++) {
		(void)snprintf(code, sizeof(code), "4.7.%u", n);
		tally_refused(x->tally, 1, LEG_HOLD, 451, slice_str(code), 1000);
	}
	tally_refused(x->tally, 1, LEG_HOLD, 451, SLICE_LIT("4.7.0"), 1000);
	tally_refused(x->tally, 1, LEG_HOLD, 451, SLICE_LIT("x@y.example"), 1000);	/* P4 */
	json_t *o = tally_json(x->tally, 1, 0), *list = json_object_get(o, "replies");
	assert_int_equal(json_array_size(list), TALLY_REPLIES + 1);
	json_array_foreach(list, i, r) {
		sum += (uint64_t)json_integer_value(json_object_get(r, "count"));
		assert_null(strchr(json_string_value(json_object_get(r, "enhanced")), '@'));
	}
	assert_int_equal(sum, 202);
	json_decref(o);
}

static void
groups_are_bounded(void **state)
{
	struct fixture *x = *state;

	for (uint64_t g = 1; g <= TALLY_GROUPS_MAX + 100; g++)
		tally_delivered(x->tally, g, LEG_HOLD, 1, 10, 1000);
	json_t *o = tally_json(x->tally, TALLY_GROUPS_MAX + 50, 0);
	assert_int_equal(value(o, "replayed", "1", "count"), -1);
	json_decref(o);
}

/* It is no book: damage costs the statistics, never the start. */
static void
a_damaged_file_is_begun_anew(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{\"format\":9}",
	    "{\"format\":1,\"groups\":[{\"group\":\"1\",\"periods\":[{\"replayed\":{\"0\":{\"buckets\":"
	    "[[99,1],[-1,5],[1,-7],\"x\",[]]}}},7,null]}]}",
	    "{\"format\":1,\"groups\":[7,{\"group\":5},{\"periods\":1}]}" };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tally_close(&x->tally);
		int fd = openat(x->dirfd, "tally.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, bad[i], strlen(bad[i])), (ssize_t)strlen(bad[i]));
		close(fd);
		log_open("test", LOG_LVL_ERROR);
		x->tally = tally_open(x->dirfd);
		assert_non_null(x->tally);
		json_t *o = tally_json(x->tally, 1, 0);
		assert_true(value(o, "replayed", "0", "count") <= 0);
		json_decref(o);
	}
}

static void
it_is_saved_now_and_then(void **state)
{
	struct fixture *x = *state;
	struct stat st;

	tally_delivered(x->tally, 1, LEG_HOLD, 1, 10, 1000);
	tally_tick(x->tally, TALLY_SAVE_MS - 1);
	assert_int_equal(fstatat(x->dirfd, "tally.json", &st, 0), -1);
	tally_tick(x->tally, TALLY_SAVE_MS);
	assert_int_equal(fstatat(x->dirfd, "tally.json", &st, 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(delays_per_class_survive_a_restart),
		T(a_report_is_about_the_periods_since_then),
		T(replies_are_told_apart_within_a_bound),
		T(groups_are_bounded),
		T(a_damaged_file_is_begun_anew),
		T(it_is_saved_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
