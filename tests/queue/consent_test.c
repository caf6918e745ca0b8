// SPDX-License-Identifier: Apache-2.0
/* Spec 12.3: a stop is kept, over kills and torn files, and holds no address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/consent.h"

struct fixture {
	char		 dir[64];
	int		 dirfd;
	struct consent	*c;
};

static void
reopen(struct fixture *x, unsigned max)
{
	consent_close(&x->c);	/* writes nothing: as good as a kill */
	x->c = consent_open(x->dirfd, max, false);
	assert_non_null(x->c);
}

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR + 1);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/consent_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	reopen(x, 100000);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	consent_close(&x->c);
	(void)unlinkat(x->dirfd, CONSENT_FILE, 0);
	assert_int_equal(unlinkat(x->dirfd, "consent.new", 0), -1);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static struct msgid
user(unsigned i)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "user%u@shop.example", i);
	return consent_key(slice_str(text));
}

static off_t
file_size(struct fixture *x)
{
	struct stat st;

	assert_int_equal(fstatat(x->dirfd, CONSENT_FILE, &st, 0), 0);
	return st.st_size;
}

static void
spec_12_3_a_stop_takes_effect_and_is_kept(void **state)
{
	struct fixture *x = *state;
	struct consent_row row;

	assert_false(consent_stopped(x->c, user(1), NULL));
	assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_MAIL, 1700000000123), 1);
	assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_OPERATOR, 5), 0);	/* idempotent */
	assert_int_equal(consent_stop(x->c, user(2), CONSENT_BY_OPERATOR, 6), 1);
	assert_true(consent_stopped(x->c, user(1), &row));
	assert_int_equal(row.by, CONSENT_BY_MAIL);
	reopen(x, 100000);
	assert_true(consent_stopped(x->c, user(1), &row));
	assert_int_equal(row.by, CONSENT_BY_MAIL);
	assert_true(row.time_ms == 1700000000123);
	assert_true(consent_stopped(x->c, user(2), &row));
	assert_int_equal(row.by, CONSENT_BY_OPERATOR);
	assert_false(consent_stopped(x->c, user(3), NULL));
	assert_int_equal(consent_count(x->c), 2);
}

static void
an_operator_can_undo_it_and_that_is_kept_too(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(consent_resume(x->c, user(1), 1), 0);
	assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_MAIL, 1), 1);
	assert_int_equal(consent_resume(x->c, user(1), 2), 1);
	assert_false(consent_stopped(x->c, user(1), NULL));
	reopen(x, 100000);
	assert_false(consent_stopped(x->c, user(1), NULL));
	assert_int_equal(consent_count(x->c), 0);
}

static void
many_users_and_a_file_that_does_not_grow_for_ever(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(consent_stop(x->c, user(i), CONSENT_BY_MAIL, i), 1);
		if (i % 3 == 0)
			assert_int_equal(consent_resume(x->c, user(i), i), 1);
	}
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(consent_resume(x->c, user(1), i), 1);
		assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_MAIL, i), 1);
	}
	reopen(x, 100000);
	assert_int_equal(consent_count(x->c), 2000);
	assert_int_equal(file_size(x), 16 + 2000 * 32);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(consent_stopped(x->c, user(i), NULL), i % 3 != 0);
}

static void
more_than_opt_outs_max_are_not_taken(void **state)
{
	struct fixture *x = *state;

	consent_limit(x->c, 2);
	assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_MAIL, 1), 1);
	assert_int_equal(consent_stop(x->c, user(2), CONSENT_BY_MAIL, 1), 1);
	assert_int_equal(consent_stop(x->c, user(3), CONSENT_BY_MAIL, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(consent_stop(x->c, user(2), CONSENT_BY_MAIL, 1), 0);
	assert_true(consent_stopped(x->c, user(1), NULL));
	reopen(x, 1);		/* a smaller limit forgets nobody */
	assert_int_equal(consent_count(x->c), 2);
}

static void
a_file_cut_anywhere_keeps_what_is_whole(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(consent_stop(x->c, user(i), CONSENT_BY_MAIL, 1), 1);
	for (off_t cut = 16 + 3 * 32; cut >= 0; cut--) {
		int fd = openat(x->dirfd, CONSENT_FILE, O_WRONLY | O_CLOEXEC);
		off_t whole = cut < 16 ? 0 : (cut - 16) / 32;

		assert_int_equal(ftruncate(fd, cut), 0);
		close(fd);
		reopen(x, 100000);
		assert_int_equal(consent_count(x->c), whole);
		/* and goes on from there */
		assert_int_equal(consent_stop(x->c, user(77), CONSENT_BY_MAIL, 1), 1);
		reopen(x, 100000);
		assert_int_equal(consent_count(x->c), whole + 1);
		assert_int_equal(consent_resume(x->c, user(77), 1), 1);
	}
}

static void
a_damaged_record_costs_itself_only(void **state)
{
	struct fixture *x = *state;

	for (unsigned at = 0; at < 16 + 3 * 32; at++) {
		char byte;

		for (unsigned i = 0; i < 3; i++)
			(void)consent_stop(x->c, user(i), CONSENT_BY_MAIL, 1);
		int fd = openat(x->dirfd, CONSENT_FILE, O_RDWR | O_CLOEXEC);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		reopen(x, 100000);
		assert_int_equal(consent_count(x->c), at < 16 ? 3 : 2);
		reopen(x, 100000);
		assert_int_equal(consent_count(x->c), at < 16 ? 3 : 2);
	}
}

static void
read_only_changes_nothing(void **state)
{
	struct fixture *x = *state;
	struct consent *r;

	assert_int_equal(consent_stop(x->c, user(1), CONSENT_BY_MAIL, 1), 1);
	r = consent_open(x->dirfd, 100, true);
	assert_true(consent_stopped(r, user(1), NULL));
	consent_close(&r);
	assert_int_equal(unlinkat(x->dirfd, CONSENT_FILE, 0), 0);
	r = consent_open(x->dirfd, 100, true);
	assert_int_equal(consent_count(r), 0);
	consent_close(&r);
	assert_int_equal(faccessat(x->dirfd, CONSENT_FILE, F_OK, 0), -1);
}

static void
what_cannot_be_read_is_no_empty_file(void **state)
{
	struct fixture *x = *state;

	consent_close(&x->c);
	assert_int_equal(unlinkat(x->dirfd, CONSENT_FILE, 0), 0);
	assert_int_equal(mkdirat(x->dirfd, CONSENT_FILE, 0700), 0);
	assert_null(consent_open(x->dirfd, 100, false));
	assert_int_equal(unlinkat(x->dirfd, CONSENT_FILE, AT_REMOVEDIR), 0);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test_setup_teardown(spec_12_3_a_stop_takes_effect_and_is_kept, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(an_operator_can_undo_it_and_that_is_kept_too, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(many_users_and_a_file_that_does_not_grow_for_ever,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_opt_outs_max_are_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_cut_anywhere_keeps_what_is_whole, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_costs_itself_only, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_no_empty_file, setup, teardown),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
