// SPDX-License-Identifier: Apache-2.0
/* Marks of spec 7.5, 8.4, 9.1: they end, are bounded, survive a kill, and hold no address. */
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
#include "queue/marks.h"

struct fixture {
	char		 dir[64];
	int		 dirfd;
	struct marks	*m;
};

static void
reopen(struct fixture *x, const char *key)
{
	marks_close(&x->m);	/* writes nothing: as good as a kill */
	x->m = marks_open(x->dirfd, key, strlen(key), 100);
	assert_non_null(x->m);
}

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/marks_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	reopen(x, "secret");
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	marks_close(&x->m);
	(void)unlinkat(x->dirfd, "marks", 0);
	assert_int_equal(unlinkat(x->dirfd, "marks.new", 0), -1);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static uint64_t
key(struct fixture *x, const char *a)
{
	return marks_key(x->m, slice_str(a), SLICE_NONE);
}

static void
marks_end_and_are_told_apart(void **state)
{
	struct fixture *x = *state;
	struct mark m;

	marks_set(x->m, MARK_FULL, key(x, "anna@gmail.example"), 1000, 7, 0);
	assert_true(marks_get(x->m, MARK_FULL, key(x, "ANNA@gmail.example"), 999, &m));
	assert_int_equal(m.until_ms, 1000);
	assert_int_equal(m.value, 7);
	assert_false(marks_get(x->m, MARK_FULL, key(x, "anna@gmail.example"), 1000, NULL));
	assert_false(marks_get(x->m, MARK_NOUSER, key(x, "anna@gmail.example"), 1, NULL));
	assert_false(marks_get(x->m, MARK_FULL, key(x, "anna@gmail.exampl"), 1, NULL));
	/* two words are not one */
	assert_true(marks_key(x->m, SLICE_LIT("ab"), SLICE_LIT("c")) !=
	    marks_key(x->m, SLICE_LIT("a"), SLICE_LIT("bc")));
	marks_set(x->m, MARK_NOUSER, key(x, "a"), MARK_FOR_EVER, 0, 0);
	assert_true(marks_get(x->m, MARK_NOUSER, key(x, "a"), INT64_MAX - 1, NULL));
	marks_clear(x->m, MARK_NOUSER, key(x, "a"), 0);
	assert_false(marks_get(x->m, MARK_NOUSER, key(x, "a"), 1, NULL));
	assert_int_equal(marks_count(x->m), 1);
	marks_sweep(x->m, 2000);
	assert_int_equal(marks_count(x->m), 0);
}

static void
marks_survive_a_kill(void **state)
{
	struct fixture *x = *state;
	struct mark m;

	for (unsigned i = 0; i < 5000; i++)	/* the file is rewritten on the way */
		marks_set(x->m, MARK_USERRATE, key(x, "anna@gmail.example") + i % 50, 1000 + i, i, 0);
	marks_set(x->m, MARK_LOOP, key(x, "gone"), 900, 0, 0);
	marks_clear(x->m, MARK_LOOP, key(x, "gone"), 0);
	reopen(x, "secret");
	assert_int_equal(marks_count(x->m), 50);
	assert_true(marks_get(x->m, MARK_USERRATE, key(x, "anna@gmail.example") + 49, 1, &m));
	assert_int_equal(m.value, 4999);
	assert_false(marks_get(x->m, MARK_LOOP, key(x, "gone"), 1, NULL));
	off_t size = lseek(openat(x->dirfd, "marks", O_RDONLY | O_CLOEXEC), 0, SEEK_END);
	assert_true(size < 3000 * 32);
	reopen(x, "another secret");		/* its hashes mean nothing under this one */
	assert_int_equal(marks_count(x->m), 0);
}

static void
torn_and_damaged_files_are_read_as_far_as_they_go(void **state)
{
	struct fixture *x = *state;

	for (long cut = 0; cut <= 16 + 3 * 32; cut++) {
		for (uint64_t i = 1; i <= 3; i++)
			marks_set(x->m, MARK_FULL, i, 1000, 0, 0);
		marks_close(&x->m);
		int fd = openat(x->dirfd, "marks", O_RDWR | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, cut), 0);
		close(fd);
		reopen(x, "secret");
		unsigned whole = cut < 16 ? 0 : (unsigned)(cut - 16) / 32;
		assert_int_equal(marks_count(x->m), whole);
		marks_set(x->m, MARK_LOOP, 99, 1000, 0, 0);	/* and it goes on being written */
		reopen(x, "secret");
		assert_true(marks_get(x->m, MARK_LOOP, 99, 1, NULL));
		assert_int_equal(marks_count(x->m), whole + 1);
		(void)unlinkat(x->dirfd, "marks", 0);
		reopen(x, "secret");
	}
	marks_set(x->m, MARK_FULL, 1, 1000, 0, 0);
	marks_set(x->m, MARK_FULL, 2, 1000, 0, 0);
	int fd = openat(x->dirfd, "marks", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 16 + 32 + 9), 1);
	close(fd);
	reopen(x, "secret");
	assert_int_equal(marks_count(x->m), 1);
}

/* P6: at most marks-max; those that end soonest make room. */
static void
marks_are_bounded(void **state)
{
	struct fixture *x = *state;

	marks_set(x->m, MARK_NOUSER, 1, MARK_FOR_EVER, 0, 0);
	for (uint64_t i = 2; i < 5000; i++)
		marks_set(x->m, MARK_FULL, i * 0x9e3779b97f4a7c15ULL, (int64_t)i, 0, 0);
	assert_int_equal(marks_count(x->m), 100);
	assert_true(marks_get(x->m, MARK_NOUSER, 1, 1, NULL));
	assert_true(marks_get(x->m, MARK_FULL, 4999 * 0x9e3779b97f4a7c15ULL, 1, NULL));
	marks_limit(x->m, 10);
	assert_int_equal(marks_count(x->m), 10);
}

/* P4: neither the file nor the hashes tell the address. */
static void
no_address_is_on_disk(void **state)
{
	struct fixture *x = *state;
	char text[4096];

	marks_set(x->m, MARK_NOUSER, key(x, "anna.verdi@gmail.example"), MARK_FOR_EVER, 0, 0);
	int fd = openat(x->dirfd, "marks", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	assert_true(n > 16);
	assert_null(memmem(text, (size_t)n, "anna", 4));
	assert_null(memmem(text, (size_t)n, "gmail", 5));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(marks_end_and_are_told_apart),
		T(marks_survive_a_kill),
		T(torn_and_damaged_files_are_read_as_far_as_they_go),
		T(marks_are_bounded),
		T(no_address_is_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
