// SPDX-License-Identifier: Apache-2.0
/* The audit log: one JSON line each, whatever an operator typed; torn lines; full disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "queue/audit.h"

struct fixture {
	char	dir[64];
	int	dirfd;
};

static int
setup(void **state)
{
	static struct fixture x;

	(void)snprintf(x.dir, sizeof(x.dir), "/tmp/audit_test.XXXXXX");
	assert_non_null(mkdtemp(x.dir));
	x.dirfd = open(x.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	clock_fake(1795000000000, 1000);
	*state = &x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	clock_fake(-1, -1);
	(void)unlinkat(x->dirfd, "audit.log", 0);
	close(x->dirfd);
	return rmdir(x->dir);
}

static char *
slurp(struct fixture *x)
{
	static char text[65536];
	int fd = openat(x->dirfd, "audit.log", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void
lines_are_json(void **state)
{
	static const struct { const char *reason, *shown; } cases[] = {
		{ "storage down", "storage down" },
		{ "quote \" and \\ and \n newline", "quote \" and \\ and \n newline" },
		{ "perch\xc3\xa9", "perch\xc3\xa9" },
		{ "\xff\xfe not text", "(not UTF-8)" },
		{ "", "" },
		{ NULL, NULL },
	};
	struct fixture *x = *state;
	struct audit *a = audit_open(x->dirfd);
	size_t n = sizeof(cases) / sizeof(cases[0]);

	assert_non_null(a);
	for (size_t i = 0; i < n; i++) {
		const struct audit_record r = { .event = "failover", .who = { 1000, 77 },
			.domain = "a.example", .from = "off", .to = "on",
			.reason = cases[i].reason };
		assert_int_equal(audit_write(a, &r), 0);
	}
	audit_close(&a);
	char *text = slurp(x), *save = NULL;
	for (size_t i = 0; i < n; i++) {
		char *l = strtok_r(i == 0 ? text : NULL, "\n", &save);
		json_t *o = json_loads(l, 0, NULL);
		assert_non_null(o);
		const char *reason = json_string_value(json_object_get(o, "reason"));
		if (cases[i].shown == NULL)
			assert_null(reason);
		else
			assert_string_equal(reason, cases[i].shown);
		assert_int_equal(json_integer_value(json_object_get(o, "uid")), 1000);
		assert_int_equal(json_integer_value(json_object_get(o, "pid")), 77);
		assert_string_equal(json_string_value(json_object_get(o, "time")),
		    "2026-11-18T11:06:40.000Z");
		json_decref(o);
	}
	assert_null(strtok_r(NULL, "\n", &save));
}

static void
torn_line_does_not_swallow_the_next(void **state)
{
	struct fixture *x = *state;
	const struct audit_record r = { .event = "phase", .to = "standby" };
	int fd = openat(x->dirfd, "audit.log", O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "{\"time\":\"20", 11), 11);
	close(fd);
	struct audit *a = audit_open(x->dirfd);
	assert_int_equal(audit_write(a, &r), 0);
	audit_close(&a);
	char *second = strchr(slurp(x), '\n') + 1;
	json_t *o = json_loads(second, JSON_DISABLE_EOF_CHECK, NULL);
	assert_non_null(o);
	json_decref(o);
}

static void
opening_again_appends(void **state)
{
	struct fixture *x = *state;
	const struct audit_record r = { .event = "phase", .to = "standby" };
	unsigned lines = 0;

	for (int i = 0; i < 3; i++) {
		struct audit *a = audit_open(x->dirfd);
		assert_int_equal(audit_write(a, &r), 0);
		audit_close(&a);
	}
	for (const char *p = slurp(x); *p != '\0'; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 3);
}

/* A file-size limit stands for the full disk. */
static void
full_disk_is_an_error_and_recovers(void **state)
{
	struct fixture *x = *state;
	const struct audit_record r = { .event = "failover", .reason = "0123456789" };
	struct rlimit old, small;
	struct audit *a = audit_open(x->dirfd);

	assert_int_equal(audit_write(a, &r), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = strlen(slurp(x)) + 20;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(audit_write(a, &r), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	audit_close(&a);
	a = audit_open(x->dirfd);
	assert_int_equal(audit_write(a, &r), 0);
	audit_close(&a);
	const char *text = slurp(x);
	const char *last = text + strlen(text) - 2;
	while (last > text && last[-1] != '\n')
		last--;
	json_t *o = json_loads(last, 0, NULL);
	assert_non_null(o);
	json_decref(o);
}

static void
symbolic_link_is_refused(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(symlinkat("/dev/null", x->dirfd, "audit.log"), 0);
	assert_null(audit_open(x->dirfd));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(lines_are_json),
		T(torn_line_does_not_swallow_the_next),
		T(opening_again_appends),
		T(full_disk_is_an_error_and_recovers),
		T(symbolic_link_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
