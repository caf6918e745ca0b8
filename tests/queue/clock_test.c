// SPDX-License-Identifier: Apache-2.0
/* The spool's clock: wall clocks that jump by years, restarts and reboots make nothing old
 * that has not really been waiting (queue/spool_clock.c). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/queue/spool_kit.h"

#define MINUTE	60000LL
#define HOUR	(60 * MINUTE)
#define YEAR	(365 * 24 * HOUR)
#define WALL	1795000000000LL
#define MONO	(50 * HOUR)

struct faked {
	struct kit	k;
	int64_t		wall, mono;
};

static void
begin(struct faked *f)
{
	f->wall = WALL;
	f->mono = MONO;
	clock_fake(f->wall, f->mono);
	kit_open(&f->k, NULL);
}

static void
end(struct faked *f)
{
	kit_close(&f->k);
	clock_fake(-1, -1);
}

/* Time that passes, beside a jump of the wall clock. */
static void
pass(struct faked *f, int64_t ms, int64_t jump)
{
	f->wall += ms + jump;
	f->mono += ms;
	clock_fake(f->wall, f->mono);
}

static struct spool_ref
commit(struct faked *f)
{
	kit_commit(&f->k, "a@example.it", 1, LEG_PARKED, LEG_WAITING, 100);
	assert_int_equal(f->k.last, COMMIT_OK);
	return f->k.ref[0];
}

static int64_t
age(struct faked *f, struct spool_ref ref)
{
	struct spool_entry e;

	assert_int_equal(spool_get(f->k.sp, ref, &e), 0);
	return spool_now(f->k.sp) - (e.received_ms + e.shift_ms);
}

static void
test_jumps_while_running(void **state)
{
	static const int64_t jump[] = { YEAR, -YEAR, 10 * YEAR, -9 * YEAR, -3 * YEAR, HOUR };
	enum { N = sizeof(jump) / sizeof(jump[0]) };
	struct spool_ref ref[N + 1];
	struct faked f;

	(void)state;
	begin(&f);
	ref[0] = commit(&f);
	for (int i = 0; i < N; i++) {
		pass(&f, MINUTE, jump[i]);
		/* The next mail is the first to meet the new time, mostly. */
		if (i % 2 == 0)
			(void)spool_now(f.k.sp);
		ref[i + 1] = commit(&f);
		pass(&f, MINUTE, 0);
		for (int r = 0; r <= i + 1; r++) {
			int64_t a = age(&f, ref[r]), real = (2 * (i - r) + 3) * MINUTE - (r == 0 ? MINUTE : 0);
			assert_true(a >= 0 && a <= real + 1);
			assert_true(r == i + 1 || a >= real - MINUTE - 1);
		}
	}
	end(&f);
}

static void
test_jumps_over_restarts(void **state)
{
	static const int64_t jump[] = { 3 * YEAR, -5 * YEAR, YEAR, 0 };
	struct spool_ref first, second;
	struct faked f;

	(void)state;
	begin(&f);
	first = commit(&f);
	for (size_t i = 0; i < sizeof(jump) / sizeof(jump[0]); i++) {
		spool_close(&f.k.sp);
		pass(&f, HOUR, jump[i]);
		kit_start(&f.k, false);
		assert_int_equal(age(&f, first), (int64_t)(i + 1) * HOUR);
		if (i == 1)
			second = commit(&f);
	}
	assert_int_equal(age(&f, second), 2 * HOUR);
	end(&f);
}

/* The monotonic clock begins again; what really passed is not known. */
static void
test_reboots(void **state)
{
	const struct {
		int64_t off_ms;		/* by the wall clock */
		int64_t counted;
	} reboot[] = {
		{ 5 * MINUTE, 5 * MINUTE }, { YEAR, 0 }, { -YEAR, 0 }, { 2 * MINUTE, 2 * MINUTE },
		{ 30 * HOUR, 0 },
	};
	struct spool_ref ref;
	struct faked f;
	int64_t sum = 0;

	(void)state;
	begin(&f);
	ref = commit(&f);
	for (size_t i = 0; i < sizeof(reboot) / sizeof(reboot[0]); i++) {
		pass(&f, 20 * MINUTE, 0);
		sum += 20 * MINUTE;
		spool_close(&f.k.sp);
		f.wall += reboot[i].off_ms;
		f.mono = MINUTE;
		clock_fake(f.wall, f.mono);
		kit_start(&f.k, false);
		sum += reboot[i].counted;
		assert_int_equal(age(&f, ref), sum);
	}
	end(&f);
}

/* Killed, not stopped: the clock of the last minute is on disk, the same boot tells the rest. */
static void
test_without_a_clean_end(void **state)
{
	char path[160], keep[160];
	struct spool_ref ref;
	struct faked f;

	(void)state;
	begin(&f);
	ref = commit(&f);
	pass(&f, HOUR, 0);
	kit_run(&f.k, 2500);	/* the tick that saves it */
	snprintf(path, sizeof(path), "%s/clock", f.k.dir);
	snprintf(keep, sizeof(keep), "%s/clock.keep", f.k.dir);
	assert_int_equal(link(path, keep), 0);
	pass(&f, HOUR, 2 * YEAR);
	(void)spool_now(f.k.sp);
	spool_close(&f.k.sp);
	assert_int_equal(rename(keep, path), 0);
	pass(&f, HOUR, YEAR);
	kit_start(&f.k, false);
	assert_int_equal(age(&f, ref), 3 * HOUR);
	end(&f);
}

/* Lost or damaged: the wall clock is all there is; nothing breaks. */
static void
test_lost(void **state)
{
	char path[160];
	struct spool_ref ref;
	struct faked f;

	(void)state;
	begin(&f);
	ref = commit(&f);
	for (int round = 0; round < 2; round++) {
		spool_close(&f.k.sp);
		snprintf(path, sizeof(path), "%s/clock", f.k.dir);
		if (round == 0) {
			assert_int_equal(unlink(path), 0);
		} else {
			int fd = open(path, O_WRONLY);
			assert_int_equal(pwrite(fd, "x", 1, 20), 1);
			close(fd);
		}
		pass(&f, HOUR, 0);
		kit_start(&f.k, false);
		assert_int_equal(age(&f, ref), (round + 1) * HOUR);
	}
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jumps_while_running),
		cmocka_unit_test(test_jumps_over_restarts),
		cmocka_unit_test(test_reboots),
		cmocka_unit_test(test_without_a_clean_end),
		cmocka_unit_test(test_lost),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
