// SPDX-License-Identifier: Apache-2.0
/* The daily volume of a provider (spec 8.11): a floor, twice the largest day of late, kept over
 * restarts. Fifteen days take no time here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/volume.h"

#define HOUR	INT64_C(3600000)
#define DAY	(24 * HOUR)
#define T0	INT64_C(1700000000000)	/* wall clock, ms */

enum { GOOGLE = 77, YAHOO = 78 };	/* their keys */

struct fixture {
	char		 dir[64];
	int		 dirfd;
	struct marks	*m;
	struct conf_provider conf;	/* only the two keys are read */
};

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/volume_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->m = marks_open(x->dirfd, "secret", 6, 100);
	x->conf.volume_start = 100;
	x->conf.volume_factor = 2;
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	marks_close(&x->m);
	(void)unlinkat(x->dirfd, "marks", 0);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static struct volume
look(struct fixture *x, int64_t now)
{
	struct volume v;

	(void)volume_look(x->m, &x->conf, GOOGLE, now, &v);
	return v;
}

/* As many as are allowed, at most n. */
static unsigned
send(struct fixture *x, unsigned n, int64_t now)
{
	unsigned sent = 0;
	struct volume v = look(x, now);

	for (; sent < n && !volume_full(&v); sent++) {
		volume_count(x->m, &x->conf, GOOGLE, now);
		v = look(x, now);
	}
	return sent;
}

/* An outage that goes on: 100, 200, 400 ... a day. */
static void
test_spec_8_11_twice_as_much_each_day(void **state)
{
	struct fixture *x = *state;
	unsigned want = 100;
	struct volume v;

	assert_false(volume_look(x->m, &x->conf, GOOGLE, T0, &v));
	assert_int_equal(v.allowed, 100);
	for (unsigned day = 0; day < 6; day++, want *= 2) {
		assert_int_equal(send(x, 100000, T0 + day * DAY), want);
		assert_int_equal(send(x, 1, T0 + day * DAY + DAY - 1), 0);
		v = look(x, T0 + day * DAY + HOUR);
		assert_int_equal(v.ends_ms, T0 + (day + 1) * DAY);
		assert_int_equal(v.today, want);
	}
	assert_false(volume_look(x->m, &x->conf, YAHOO, T0, &v));	/* each for itself */
	x->conf.volume_factor = 3;
	assert_int_equal(send(x, 100000, T0 + 6 * DAY), 3 * 100 * 32);
}

/* The largest day counts, not the last: a Sunday does not make Monday small, nor does a
 * week without any mail; after two weeks it is forgotten. */
static void
test_spec_8_11_largest_of_the_last_weeks(void **state)
{
	struct fixture *x = *state;

	x->conf.volume_start = 500;
	assert_int_equal(send(x, 500, T0), 500);
	x->conf.volume_start = 10;
	assert_int_equal(send(x, 3, T0 + DAY), 3);
	assert_int_equal(look(x, T0 + DAY).largest, 500);
	assert_int_equal(send(x, 1, T0 + 2 * DAY), 1);
	assert_int_equal(look(x, T0 + 2 * DAY).allowed, 1000);
	assert_int_equal(look(x, T0 + 7 * DAY).allowed, 1000);
	for (unsigned day = 3; day < 30; day++)
		assert_int_equal(send(x, 20, T0 + day * DAY), 20);
	assert_int_equal(look(x, T0 + 30 * DAY).largest, 20);
	assert_int_equal(look(x, T0 + 30 * DAY).allowed, 40);
	assert_int_equal(look(x, T0 + 60 * DAY).allowed, 10);
}

static void
test_spec_8_11_idle_days_are_remembered(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(send(x, 90, T0), 90);
	assert_int_equal(look(x, T0 + 5 * DAY).allowed, 180);	/* nothing was sent since */
	assert_int_equal(look(x, T0 + 5 * DAY).today, 0);
	assert_int_equal(look(x, T0 + 5 * DAY).ends_ms, 0);
	assert_int_equal(send(x, 1000, T0 + 5 * DAY), 180);
	assert_int_equal(look(x, T0 + 10 * DAY).allowed, 360);
}

static void
test_spec_8_11_volume_is_kept_over_restarts(void **state)
{
	struct fixture *x = *state;

	for (unsigned day = 0; day < 3; day++) {	/* 100, 200, 400 may go */
		assert_int_equal(send(x, 60, T0 + day * DAY), 60);
		marks_sweep(x->m, T0 + day * DAY);	/* what was counted lazily is written */
		marks_close(&x->m);
		x->m = marks_open(x->dirfd, "secret", 6, 100);
		assert_int_equal(look(x, T0 + day * DAY).today, 60);
		assert_int_equal(send(x, 1000, T0 + day * DAY), (100u << day) - 60);
	}
}

static void
test_spec_8_11_what_was_not_delivered_does_not_count(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(send(x, 100, T0), 100);
	volume_uncount(x->m, GOOGLE, T0);
	assert_int_equal(send(x, 100, T0), 1);
	volume_uncount(x->m, GOOGLE, T0 + DAY);		/* of a day that is over */
	assert_int_equal(look(x, T0 + DAY).largest, 100);
	x->conf.volume_start = 0;
	assert_int_equal(look(x, T0).allowed, UINT64_MAX);
	volume_count(x->m, &x->conf, GOOGLE, T0);
	assert_int_equal(look(x, T0).today, 100);
}

/* A release before this one kept a day for two days and the day before for one. */
static void
test_marks_of_an_older_release(void **state)
{
	struct fixture *x = *state;

	marks_set(x->m, MARK_VOLUME, GOOGLE, T0 + 2 * DAY, 700, T0);
	marks_set(x->m, MARK_VOLUME_BEFORE, GOOGLE, T0 + DAY, 900, T0);
	assert_int_equal(look(x, T0).largest, 900);
	assert_int_equal(look(x, T0 + DAY).largest, 700);
	volume_count(x->m, &x->conf, GOOGLE, T0 + DAY);
	assert_int_equal(look(x, T0 + DAY).today, 1);
	assert_int_equal(look(x, T0 + 3 * DAY).allowed, 1400);
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_spec_8_11_twice_as_much_each_day),
		T(test_spec_8_11_largest_of_the_last_weeks),
		T(test_spec_8_11_idle_days_are_remembered),
		T(test_spec_8_11_volume_is_kept_over_restarts),
		T(test_spec_8_11_what_was_not_delivered_does_not_count),
		T(test_marks_of_an_older_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
