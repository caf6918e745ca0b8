// SPDX-License-Identifier: Apache-2.0
/* What is kept for the relays: over a restart, over damage, within its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/keep.h"

static char folder[64];

static int
open_folder(void)
{
	int fd;

	(void)snprintf(folder, sizeof(folder), "/tmp/keep-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void
close_folder(int fd)
{
	static const char *const names[] = { "kept", "kept.new", "kept.damaged" };

	for (size_t i = 0; i < 3; i++)
		(void)unlinkat(fd, names[i], 0);
	close(fd);
	assert_int_equal(rmdir(folder), 0);
}

static struct queue_keep
value(uint64_t until, const char *key, const char *text)
{
	return (struct queue_keep){ until, slice_str(key), slice_str(text) };
}

static bool
set(struct keep *k, uint64_t until, const char *key, const char *text, int64_t now)
{
	struct queue_keep v = value(until, key, text);

	return keep_set(k, &v, now);
}

struct seen {
	unsigned	n;
	char		text[400];
};

static void
on_each(void *arg, const struct queue_keep *v)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	s->n++;
	(void)snprintf(s->text + n, sizeof(s->text) - n, "%.*s=%.*s ", SLICE_FMT(v->key),
	    SLICE_FMT(v->value));
}

static void
test_restart(void **state)
{
	int dir = open_folder();
	struct keep *k = keep_open(dir);
	struct seen s = { .n = 0 };

	(void)state;
	assert_true(set(k, 1000, "a", "one", 10));
	assert_false(set(k, 1000, "a", "one", 10));	/* nothing new: no write, no news */
	assert_true(set(k, 1000, "a", "two", 10));
	assert_true(set(k, 500, "b", "short", 10));
	assert_false(set(k, 10, "c", "over", 10));
	assert_false(set(k, 1000, "", "no key", 10));
	assert_int_equal(keep_save(k, 10), 0);
	assert_true(set(k, 2000, "d", "at close", 10));
	keep_close(&k);
	k = keep_open(dir);
	keep_each(k, 600, on_each, &s);
	assert_int_equal(s.n, 2);
	assert_string_equal(s.text, "a=two d=at close ");
	keep_close(&k);
	close_folder(dir);
}

/* Any byte changed, or any length cut: it begins empty, and what was there is set aside. */
static void
test_damage(void **state)
{
	int dir = open_folder(), fd;
	struct keep *k = keep_open(dir);
	struct seen s;
	struct stat st;
	char bytes[256];
	ssize_t n;

	(void)state;
	assert_true(set(k, 1000, "key", "value", 0));
	keep_close(&k);
	fd = openat(dir, "kept", O_RDONLY);
	n = read(fd, bytes, sizeof(bytes));
	assert_true(n > 30);
	close(fd);
	for (ssize_t i = 0; i < 2 * n; i++) {
		char copy[256];
		size_t len = i < n ? (size_t)n : (size_t)(i - n);

		memcpy(copy, bytes, sizeof(copy));
		if (i < n)
			copy[i] ^= 0x10;
		fd = openat(dir, "kept", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, copy, len), (ssize_t)len);
		close(fd);
		k = keep_open(dir);
		s.n = 0;
		s.text[0] = '\0';
		keep_each(k, 0, on_each, &s);
		assert_int_equal(s.n, 0);
		assert_int_equal(fstatat(dir, "kept.damaged", &st, 0), 0);
		assert_int_equal(unlinkat(dir, "kept.damaged", 0), 0);
		keep_close(&k);
	}
	close_folder(dir);
}

static void
test_bound(void **state)
{
	int dir = open_folder();
	struct keep *k = keep_open(dir);
	struct seen s = { .n = 0 };
	char key[32];

	(void)state;
	for (unsigned i = 0; i < KEEP_ITEMS_MAX + 5; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		assert_true(set(k, 1000 + i, key, "v", 0));
	}
	keep_each(k, 0, on_each, &s);
	assert_int_equal(s.n, KEEP_ITEMS_MAX);
	s.n = 0;
	keep_each(k, 1004, on_each, &s);	/* those that ended first made room */
	assert_int_equal(s.n, KEEP_ITEMS_MAX);
	keep_close(&k);
	close_folder(dir);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
