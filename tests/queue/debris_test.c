// SPDX-License-Identifier: Apache-2.0
/* Spec 2.2.5: bodies of bounces, only with a key, sealed, bounded, for a day. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "queue/debris.h"

#define KEY	SLICE_LIT("a secret of the operator's own, long enough")
#define BODY	"Final-Recipient: rfc822; mario@recovery.example\r\n"

enum { DAY = 86400 * 1000 };
static const struct debris_bounds wide = { 1000, 64 << 20, DAY };
static char dir[64];
static int dirfd_;

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/salvaposta-debris-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dirfd_ >= 0);
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	close(dirfd_);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static bool
has(struct debris *d, struct msgid id, const char *want)
{
	struct buf b;
	bool ok;

	buf_init(&b, DEBRIS_ONE_MAX);
	ok = debris_get(d, id, &b) == 0 && slice_eq(buf_slice(&b), slice_str(want));
	buf_fini(&b);
	return ok;
}

static char *
path_of(struct msgid id)
{
	static char path[128];
	char name[MSGID_TEXT + 1];

	msgid_print(id, name);
	snprintf(path, sizeof(path), "%s/bounces/%s", dir, name);
	return path;
}

static void
spec_2_2_5_sealed_and_private(void **state)
{
	struct debris *d = debris_open(dirfd_, KEY, &wide);
	struct msgid id = msgid_new(0), other = msgid_new(0);
	struct stat st;
	char text[512];

	(void)state;
	assert_true(debris_keeps(d));
	assert_int_equal(debris_put(d, id, SLICE_LIT(BODY), 1000), 0);
	assert_true(has(d, id, BODY));
	assert_false(has(d, other, BODY));
	assert_int_equal(stat(path_of(id), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	int fd = open(path_of(id), O_RDWR | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));
	assert_null(memmem(text, (size_t)n, "recovery", 8));
	debris_close(&d);
	/* another key, one octet changed, another name: it does not open */
	d = debris_open(dirfd_, SLICE_LIT("a key that somebody else may have"), &wide);
	assert_false(has(d, id, BODY));
	debris_close(&d);
	d = debris_open(dirfd_, KEY, &wide);
	assert_true(has(d, id, BODY));
	char *from = mem_str(path_of(id));
	assert_int_equal(rename(from, path_of(other)), 0);
	assert_false(has(d, other, BODY));
	assert_int_equal(rename(path_of(other), from), 0);
	text[n - 1] ^= 1;
	assert_int_equal(pwrite(fd, text, (size_t)n, 0), n);
	assert_false(has(d, id, BODY));
	assert_int_equal(ftruncate(fd, 20), 0);
	assert_false(has(d, id, BODY));
	close(fd);
	free(from);
	debris_close(&d);
}

static void
spec_2_2_5_off_by_default_and_erased_without_a_key(void **state)
{
	struct debris *d = debris_open(dirfd_, SLICE_NONE, &wide);
	struct msgid id = msgid_new(0);

	(void)state;
	assert_false(debris_keeps(d));
	assert_int_equal(debris_put(d, id, SLICE_LIT(BODY), 1000), -1);
	debris_close(&d);
	assert_int_equal(faccessat(dirfd_, "bounces", F_OK, 0), -1);
	d = debris_open(dirfd_, KEY, &wide);
	assert_int_equal(debris_put(d, id, SLICE_LIT(BODY), 1000), 0);
	debris_close(&d);
	d = debris_open(dirfd_, SLICE_NONE, &wide);
	assert_int_equal(access(path_of(id), F_OK), -1);
	debris_close(&d);
}

static void
spec_2_2_5_a_day_then_it_is_gone(void **state)
{
	struct debris *d = debris_open(dirfd_, KEY, &wide);
	struct msgid a = msgid_new(0), b = msgid_new(0), c = msgid_new(0);
	const int64_t t = 1700000000000;

	(void)state;
	assert_int_equal(debris_put(d, b, SLICE_LIT(BODY), t + 5000), 0);
	assert_int_equal(debris_put(d, a, SLICE_LIT(BODY), t), 0);
	debris_close(&d);
	d = debris_open(dirfd_, KEY, &wide);	/* age outlives the process */
	debris_sweep(d, t + DAY - 1);
	assert_int_equal(debris_count(d), 2);
	debris_sweep(d, t + DAY);
	assert_false(has(d, a, BODY));
	assert_true(has(d, b, BODY));
	/* the clock was set back: a time to come is no age */
	assert_int_equal(debris_put(d, c, SLICE_LIT(BODY), t + 6000), 0);
	debris_sweep(d, t - 10LL * DAY);
	assert_int_equal(debris_count(d), 0);
	assert_int_equal(access(path_of(c), F_OK), -1);
	debris_close(&d);
}

static void
spec_2_2_5_bounded_in_number_and_bytes(void **state)
{
	const struct debris_bounds few = { 3, 1 << 20, DAY }, small = { 1000, 400, DAY };
	struct debris *d = debris_open(dirfd_, KEY, &few);
	static char big[2 * DEBRIS_ONE_MAX];
	struct msgid id[6];
	struct buf got;

	(void)state;
	for (int i = 0; i < 6; i++) {
		id[i] = msgid_new(0);
		assert_int_equal(debris_put(d, id[i], SLICE_LIT(BODY), 1000 + i), 0);
	}
	assert_int_equal(debris_count(d), 3);
	assert_false(has(d, id[2], BODY));
	assert_true(has(d, id[3], BODY) && has(d, id[5], BODY));
	debris_limit(d, &small);
	for (int i = 0; i < 6; i++)
		(void)debris_put(d, msgid_new(0), SLICE_LIT(BODY), 2000 + i);
	assert_true(debris_count(d) >= 2 && debris_count(d) <= 4);
	assert_int_equal(debris_put(d, msgid_new(0), slice_make(big, 1000), 3000), -1);
	/* of a large one the beginning is kept */
	debris_limit(d, &wide);
	memset(big, 'x', sizeof(big));
	struct msgid large = msgid_new(0);
	assert_int_equal(debris_put(d, large, slice_make(big, sizeof(big)), 4000), 0);
	buf_init(&got, DEBRIS_ONE_MAX);
	assert_int_equal(debris_get(d, large, &got), 0);
	assert_int_equal(buf_len(&got), DEBRIS_ONE_MAX);
	buf_fini(&got);
	debris_close(&d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(spec_2_2_5_sealed_and_private),
		T(spec_2_2_5_off_by_default_and_erased_without_a_key),
		T(spec_2_2_5_a_day_then_it_is_gone),
		T(spec_2_2_5_bounded_in_number_and_bytes),
	};

	return cmocka_run_group_tests_name("queue/debris", tests, NULL, NULL);
}
