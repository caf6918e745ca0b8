// SPDX-License-Identifier: Apache-2.0
/* The list of attempts: found again, bounded, survives damage, knows no address. */
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
#include "queue/history.h"

static char dir[64];
static int dirfd_;

static int
setup(void **state)
{
	log_open("test", LOG_LVL_ERROR);
	(void)snprintf(dir, sizeof(dir), "/tmp/history_test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlinkat(dirfd_, "history", 0);
	(void)unlinkat(dirfd_, "history.1", 0);
	close(dirfd_);
	return rmdir(dir);
}

static struct history_entry
entry(unsigned id, unsigned rcpt, int64_t time)
{
	struct history_entry e = { .rcpt = (uint16_t)rcpt, .leg = 1, .class = 3, .form = 1,
		.outcome = 1, .code = 421, .time_ms = time, .next_ms = time + 5 };

	memcpy(e.id.b, &id, sizeof(id));
	history_enhanced(&e, SLICE_LIT("4.7.650"));
	return e;
}

static void
attempts_are_found_again(void **state)
{
	struct history *h = history_open(dirfd_, 1 << 20);
	struct history_entry out[4];

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		struct history_entry e = entry(i % 10, i % 20 / 10, i);
		history_add(h, &e);
	}
	history_close(&h);
	h = history_open(dirfd_, 1 << 20);
	assert_int_equal(history_find(h, entry(7, 1, 0).id, 1, out, 4), 4);	/* the newest four */
	assert_int_equal(out[3].time_ms, 297);
	assert_int_equal(out[0].time_ms, 237);
	assert_int_equal(out[0].code, 421);
	assert_int_equal(out[0].detail, 650);
	assert_int_equal(out[0].next_ms, 242);
	assert_int_equal(history_find(h, entry(77, 0, 0).id, 0, out, 4), 0);
	struct history_entry e = entry(77, 0, 1);
	history_add(h, &e);		/* not written yet */
	assert_int_equal(history_find(h, e.id, 0, out, 4), 1);
	history_close(&h);
	assert_int_equal(history_find(NULL, e.id, 0, out, 4), 0);
}

static void
the_files_are_bounded(void **state)
{
	struct history *h = history_open(dirfd_, 64 * 1024);
	struct history_entry out[1];
	off_t size = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct history_entry e = entry(i, 0, i);
		history_add(h, &e);
	}
	history_flush(h);
	for (unsigned i = 0; i < 2; i++) {
		int fd = openat(dirfd_, i == 0 ? "history" : "history.1", O_RDONLY | O_CLOEXEC);
		size += lseek(fd, 0, SEEK_END);
		close(fd);
	}
	assert_true(size <= 64 * 1024 + 2 * 64 * 56);
	assert_int_equal(history_find(h, entry(19999, 0, 0).id, 0, out, 1), 1);
	assert_int_equal(history_find(h, entry(1, 0, 0).id, 0, out, 1), 0);
	history_close(&h);
}

static void
damage_loses_what_it_hit(void **state)
{
	struct history *h = history_open(dirfd_, 1 << 20);
	struct history_entry out[2];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct history_entry e = entry(i, 0, i);
		history_add(h, &e);
	}
	history_close(&h);
	int fd = openat(dirfd_, "history", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 56 + 12), 1);
	assert_int_equal(pwrite(fd, "torn", 4, 3 * 56), 4);
	close(fd);
	h = history_open(dirfd_, 1 << 20);
	struct history_entry e = entry(9, 0, 9);
	history_add(h, &e);
	history_flush(h);
	assert_int_equal(history_find(h, entry(0, 0, 0).id, 0, out, 2), 1);
	assert_int_equal(history_find(h, entry(1, 0, 0).id, 0, out, 2), 0);
	assert_int_equal(history_find(h, entry(2, 0, 0).id, 0, out, 2), 1);
	assert_int_equal(history_find(h, e.id, 0, out, 2), 1);
	history_close(&h);
}

static void
enhanced_codes(void **state)
{
	static const struct { const char *text; unsigned a, b, c; } t[] = {
		{ "4.2.1", 4, 2, 1 }, { "5.7.515", 5, 7, 515 }, { "", 0, 0, 0 }, { "4.2", 0, 0, 0 },
		{ "999.1.1", 0, 0, 0 }, { "a.b.c", 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct history_entry e = { .code = 1 };
		history_enhanced(&e, slice_str(t[i].text));
		assert_int_equal(e.status, t[i].a);
		assert_int_equal(e.subject, t[i].b);
		assert_int_equal(e.detail, t[i].c);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(attempts_are_found_again),
		T(the_files_are_bounded),
		T(damage_loses_what_it_hit),
		T(enhanced_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
