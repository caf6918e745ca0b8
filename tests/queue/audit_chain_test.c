// SPDX-License-Identifier: Apache-2.0
/* The hash chain: what a check finds of every way to change a log, and what it takes for the
 * trace of a crash or of an older version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/audit.h"
#include "queue/audit_chain.h"

enum { LINES = 6, TEXT_MAX = 256 * 1024 };

struct fixture {
	char	 dir[64];
	int	 dirfd;
	char	*text;		/* of the log */
	size_t	 n;
};

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/chain_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->text = mem_new(TEXT_MAX);
	clock_fake(1795000000000, 1000);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	clock_fake(-1, -1);
	(void)unlinkat(x->dirfd, "audit.log", 0);
	close(x->dirfd);
	int rc = rmdir(x->dir);
	free(x->text);
	free(x);
	return rc;
}

static void
put(struct fixture *x, const char *text, size_t n)
{
	int fd = openat(x->dirfd, "audit.log", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, n), (ssize_t)n);
	close(fd);
}

static void
slurp(struct fixture *x)
{
	int fd = openat(x->dirfd, "audit.log", O_RDONLY);

	x->n = (size_t)read(fd, x->text, TEXT_MAX - 1);
	x->text[x->n] = '\0';
	close(fd);
}

static void
write_lines(struct fixture *x, unsigned n)
{
	struct audit *a = audit_open(x->dirfd);

	assert_non_null(a);
	for (unsigned i = 0; i < n; i++) {
		const uint64_t count = i;
		const struct audit_record r = { .event = "failover", .who = { 1000, 77 },
			.domain = "a.example", .reason = "quote \" and \\", .count = &count };
		assert_int_equal(audit_write(a, &r), 0);
	}
	audit_close(&a);
}

static struct audit_chain
check(struct fixture *x)
{
	struct audit_chain c;
	int fd = openat(x->dirfd, "audit.log", O_RDONLY);

	assert_int_equal(audit_chain_read(fd, &c), 0);
	close(fd);
	return c;
}

/* The start of line i, 0 the first. */
static char *
line_at(struct fixture *x, unsigned i)
{
	char *p = x->text;

	while (i-- > 0)
		p = strchr(p, '\n') + 1;
	return p;
}

static void
whole_log_holds_over_restarts(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 1; i <= 4; i++) {
		write_lines(x, 3);
		struct audit_chain c = check(x);
		assert_int_equal(c.broken, 0);
		assert_int_equal(c.lines, 3 * i);
		assert_int_equal(c.seq, 3 * i);
		assert_int_equal(c.torn, 0);
	}
}

static void
every_changed_byte_is_found_in_its_line(void **state)
{
	struct fixture *x = *state;

	write_lines(x, LINES);
	slurp(x);
	for (size_t i = 0; i < x->n; i++) {
		unsigned line = 1;
		char was = x->text[i];

		for (size_t j = 0; j < i; j++)
			line += x->text[j] == '\n';
		if (was == '\n')
			continue;	/* joins two lines: below */
		x->text[i] = was == '7' ? '8' : '7';
		put(x, x->text, x->n);
		x->text[i] = was;
		if (check(x).broken != line)
			fail_msg("byte %zu ('%c'): line %llu is named", i, was,
			    (unsigned long long)check(x).broken);
	}
}

static void
lines_taken_out_put_in_or_moved_are_found(void **state)
{
	struct fixture *x = *state;
	char *copy = mem_new(TEXT_MAX);

	write_lines(x, LINES);
	slurp(x);
	for (unsigned i = 0; i + 1 < LINES; i++) {	/* without line i */
		size_t a = (size_t)(line_at(x, i) - x->text), b = (size_t)(line_at(x, i + 1) - x->text);
		memcpy(copy, x->text, a);
		memcpy(copy + a, x->text + b, x->n - b);
		put(x, copy, x->n - (b - a));
		assert_int_equal(check(x).broken, i + 1);
	}
	for (unsigned i = 0; i < LINES; i++) {		/* line i twice */
		size_t a = (size_t)(line_at(x, i) - x->text), b = (size_t)(line_at(x, i + 1) - x->text);
		memcpy(copy, x->text, b);
		memcpy(copy + b, x->text + a, x->n - a);
		put(x, copy, x->n + (b - a));
		assert_int_equal(check(x).broken, i + 2);
	}
	for (size_t i = 0; i + 1 < x->n; i++) {		/* a newline less: two lines in one */
		unsigned line = 1;

		if (x->text[i] != '\n')
			continue;
		for (size_t j = 0; j < i; j++)
			line += x->text[j] == '\n';
		memcpy(copy, x->text, x->n);
		copy[i] = ' ';
		put(x, copy, x->n);
		assert_int_equal(check(x).broken, line);
	}
	int n = snprintf(copy, TEXT_MAX, "%.*s{\"event\":\"made up\"}\n%s",
	    (int)(line_at(x, 2) - x->text), x->text, line_at(x, 2));
	put(x, copy, (size_t)n);
	assert_int_equal(check(x).broken, 3);
	n = snprintf(copy, TEXT_MAX, "%snot JSON\n", x->text);
	put(x, copy, (size_t)n);
	assert_int_equal(check(x).broken, LINES + 1);
	free(copy);
}

/* Cut at each byte: never "tampered"; the next line closes the torn one and it still holds. */
static void
crash_at_each_byte_is_told_apart(void **state)
{
	struct fixture *x = *state;
	char *all = mem_new(TEXT_MAX);

	write_lines(x, 3);
	slurp(x);
	size_t n = x->n, second = (size_t)(line_at(x, 1) - x->text);
	memcpy(all, x->text, n);
	for (size_t i = second; i < n; i++) {
		put(x, all, i);
		struct audit_chain c = check(x);
		assert_int_equal(c.broken, 0);
		bool torn = all[i - 1] != '\n' && all[i] != '\n';
		assert_int_equal(c.torn_tail, torn);
		assert_int_equal(c.no_newline, all[i] == '\n');
		write_lines(x, 1);
		c = check(x);
		if (c.broken != 0)
			fail_msg("cut at %zu: line %llu %s", i, (unsigned long long)c.broken, c.why);
		assert_int_equal(c.torn, torn);
		assert_int_equal(c.seq, c.lines - c.torn);
		assert_false(c.torn_tail);
	}
	/* What looks like a torn line in the middle is none if its bytes are not those sealed. */
	put(x, all, second + 40);
	write_lines(x, 2);
	slurp(x);
	x->text[second + 20] ^= 1;
	put(x, x->text, x->n);
	assert_int_equal(check(x).broken, 2);
	free(all);
}

/* A log of the version before the chain goes on, and is sealed. */
static void
older_log_is_sealed_by_the_first_new_line(void **state)
{
	static const char older[] = "{\"time\":\"2026-11-01T00:00:00.000Z\",\"event\":\"failover\"}\n"
	    "{\"time\":\"20\n{\"time\":\"2026-11-02T00:00:00.000Z\",\"event\":\"phase\"}\n";
	static const char *const ends[] = { "", "{\"time\":\"2026-11-0" };
	struct fixture *x = *state;

	for (unsigned i = 0; i < 2; i++) {
		char text[512];
		int n = snprintf(text, sizeof(text), "%s%s", older, ends[i]);

		put(x, text, (size_t)n);
		struct audit_chain c = check(x);
		assert_int_equal(c.broken, 0);
		assert_int_equal(c.seq, 0);
		write_lines(x, 2);
		write_lines(x, 1);
		c = check(x);
		assert_int_equal(c.broken, 0);
		assert_int_equal(c.older, 3 + i);
		assert_int_equal(c.seq, 4);	/* the seal and three */
		slurp(x);
		assert_non_null(strstr(x->text, "\"event\":\"chain-start\""));
		x->text[30] ^= 1;
		put(x, x->text, x->n);
		c = check(x);
		assert_int_equal(c.broken, 1);
		assert_non_null(strstr(c.why, "older"));
	}
}

/* Somebody appended to it by hand: found, and what the relay writes goes on all the same. */
static void
foreign_line_is_named_and_writing_goes_on(void **state)
{
	struct fixture *x = *state;
	char *copy = mem_new(TEXT_MAX);

	write_lines(x, 2);
	slurp(x);
	int n = snprintf(copy, TEXT_MAX, "%s{\"event\":\"phase\"}\n", x->text);
	put(x, copy, (size_t)n);
	write_lines(x, 2);
	struct audit_chain c = check(x);
	assert_int_equal(c.broken, 3);
	assert_int_equal(c.lines, 5);
	free(copy);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(whole_log_holds_over_restarts),
		T(every_changed_byte_is_found_in_its_line),
		T(lines_taken_out_put_in_or_moved_are_found),
		T(crash_at_each_byte_is_told_apart),
		T(older_log_is_sealed_by_the_first_new_line),
		T(foreign_line_is_named_and_writing_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
