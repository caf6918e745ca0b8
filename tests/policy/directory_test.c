// SPDX-License-Identifier: Apache-2.0
/* Look-ups, the reasons not to forward (spec 9.3, 12.1), and what damage does. */
#include "tests/policy/snapshot_fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/crypto.h"
#include "base/log.h"
#include "policy/snapshot_db.h"

static const struct fixture_row users[] = {
	{ 2, "Mario@example.it", "mario@mail.example.com", "", "s1", "m.rossi mr@tags.example",
	  "it", "2026-01-02" },
	{ 3, "Anna@case.example", "anna@mail.example.com", "opted-in", "", "", "", "" },
	{ 4, "\"odd name\"@example.it", "", "", "", "", "", "" },
	{ 5, "anna-maria@tags.example", "am@mail.example.com", "", "", "", "", "" },
	{ 6, "anna@tags.example", "a@mail.example.com", "", "", "", "", "" },
	{ 7, "a+b@example.it", "ab@mail.example.com", "", "", "", "", "" },
	{ 8, "a@example.it", "a@mail.example.com", "", "", "", "", "" },
	{ 9, "out@example.it", "o@mail.example.com", "opted-out", "", "", "", "" },
	{ 10, "unv@example.it", "u@mail.example.com", "unverified", "", "", "", "" },
	{ 11, "chain@example.it", "mario@case.example", "", "", "", "", "" },
	{ 12, "reg@strict.example", "r@mail.example.com", "", "", "", "", "" },
	{ 13, "opt@strict.example", "o@mail.example.com", "opted-in", "", "", "", "" },
	{ 14, "none@example.it", "", "opted-in", "", "", "", "" },
	{ 15, "later@example.it", "l@later.example", "", "", "", "", "" },
	{ 16, "\"Plain\"@EXAMPLE.it", "", "", "", "", "", "" },
	{ 0 }
};

static int
setup(void **state)
{
	struct snapshot_options o = { .force = true, .source = "test.csv" };
	struct fixture *f;

	if (fixture_setup(state) != 0)
		return -1;
	f = *state;
	return fixture_import_as(f, users, &o) == SNAPSHOT_OK ? 0 : -1;
}

static struct directory *
open_ok(struct fixture *f)
{
	char why[256] = "";
	struct directory *d = directory_open(f->dirfd, "users.db", why, sizeof(why));

	if (d == NULL)
		fail_msg("%s", why);
	return d;
}

struct find_case {
	const char		*address;
	enum directory_result	 want;
	const char		*user;		/* FOUND: the row's own address */
};

static const struct find_case finds[] = {
	{ "mario@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "MARIO@EXAMPLE.IT", DIRECTORY_FOUND, "mario@example.it" },
	{ "mario@example.it.", DIRECTORY_UNKNOWN, NULL },	/* not RFC 5321 syntax */
	{ "\"mario\"@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "m.rossi@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "mr@tags.example", DIRECTORY_FOUND, "mario@example.it" },
	{ "mario+x@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "mario+x+y@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "mario+@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "\"mario+a b\"@example.it", DIRECTORY_FOUND, "mario@example.it" },
	{ "+mario@example.it", DIRECTORY_UNKNOWN, NULL },
	{ "mario-x@example.it", DIRECTORY_UNKNOWN, NULL },
	{ "marios@example.it", DIRECTORY_UNKNOWN, NULL },
	{ "mari@example.it", DIRECTORY_UNKNOWN, NULL },
	/* fold-local = no */
	{ "Anna@case.example", DIRECTORY_FOUND, "Anna@case.example" },
	{ "Anna@CASE.example", DIRECTORY_FOUND, "Anna@case.example" },
	{ "anna@case.example", DIRECTORY_UNKNOWN, NULL },
	/* exact match before a tag; several separators, the last one first */
	{ "a+b@example.it", DIRECTORY_FOUND, "a+b@example.it" },
	{ "a+b+c@example.it", DIRECTORY_FOUND, "a+b@example.it" },
	{ "a+c@example.it", DIRECTORY_FOUND, "a@example.it" },
	{ "anna-maria@tags.example", DIRECTORY_FOUND, "anna-maria@tags.example" },
	{ "anna-maria-x@tags.example", DIRECTORY_FOUND, "anna-maria@tags.example" },
	{ "anna-x+y@tags.example", DIRECTORY_FOUND, "anna@tags.example" },
	{ "anna-1-2-3-4-5-6-7-8-9-10-11@tags.example", DIRECTORY_FOUND, "anna@tags.example" },
	{ "nobody-1-2-3-4-5-6-7-8-9-10-11@tags.example", DIRECTORY_UNKNOWN, NULL },
	/* quoting */
	{ "\"odd name\"@example.it", DIRECTORY_FOUND, "\"odd name\"@example.it" },
	{ "\"odd\\ name\"@example.it", DIRECTORY_FOUND, "\"odd name\"@example.it" },
	{ "plain@example.it", DIRECTORY_FOUND, "plain@example.it" },
	/* hostile */
	{ "", DIRECTORY_UNKNOWN, NULL },
	{ "@", DIRECTORY_UNKNOWN, NULL },
	{ "mario", DIRECTORY_UNKNOWN, NULL },
	{ "postmaster", DIRECTORY_UNKNOWN, NULL },
	{ "'%%--@example.it", DIRECTORY_UNKNOWN, NULL },
	{ "\"a\\\"@example.it\"@example.it", DIRECTORY_UNKNOWN, NULL },
	{ "mario@[127.0.0.1]", DIRECTORY_UNKNOWN, NULL },
	/* not ours to know (P2) */
	{ "mario@elsewhere.example", DIRECTORY_UNAVAILABLE, NULL },
};

static void
test_find(void **state)
{
	struct fixture *f = *state;
	struct directory *d = open_ok(f);
	struct directory_user u;

	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
		const struct find_case *c = &finds[i];
		enum directory_result r = directory_find(d, f->conf, slice_str(c->address), true,
		    &u);

		if (r != c->want || (r == DIRECTORY_FOUND &&
		    !slice_eq(u.address, slice_str(c->user))))
			fail_msg("%s: %d %.*s", c->address, r,
			    r == DIRECTORY_FOUND ? (int)u.address.n : 0,
			    r == DIRECTORY_FOUND ? u.address.p : "");
		assert_int_equal(directory_find(NULL, f->conf, slice_str(c->address), true, &u),
		    DIRECTORY_UNAVAILABLE);
	}
	directory_close(&d);
}

static void
test_row(void **state)
{
	struct fixture *f = *state;
	struct directory *d = open_ok(f);
	struct directory_user u;

	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("mario@example.it"), false, &u),
	    DIRECTORY_FOUND);
	assert_true(slice_eq(u.recovery, SLICE_LIT("mario@mail.example.com")));
	assert_true(slice_eq(u.shard, SLICE_LIT("s1")));
	assert_true(slice_eq(u.language, SLICE_LIT("it")));
	assert_int_equal(u.verified_ms, INT64_C(1767312000000));
	assert_int_equal(u.line, 2);
	/* without tags */
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("mario+x@example.it"), false, &u),
	    DIRECTORY_UNKNOWN);
	directory_close(&d);
}

static void
test_refusals(void **state)
{
	static const struct { const char *address, *want; } table[] = {
		{ "mario@example.it", NULL },		/* two columns: registered */
		{ "out@example.it", "opted-out" },
		{ "unv@example.it", "unverified" },
		{ "none@example.it", "no-recovery" },
		{ "chain@example.it", "chain" },
		{ "reg@strict.example", "not-opted-in" },
		{ "opt@strict.example", NULL },
		{ "later@example.it", NULL },
	};
	struct fixture *f = *state;
	struct directory *d = open_ok(f);
	struct directory_user u;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *why;

		assert_int_equal(directory_find(d, f->conf, slice_str(table[i].address), false,
		    &u), DIRECTORY_FOUND);
		why = directory_refusal(f->conf, &u);
		if ((why == NULL) != (table[i].want == NULL) ||
		    (why != NULL && strcmp(why, table[i].want) != 0))
			fail_msg("%s: %s", table[i].address, why == NULL ? "(none)" : why);
	}
	/* 9.3 again at send time: the recovery domain is served by now. Whether it works is the
	 * queue's to know. */
	fixture_conf(f, FIXTURE_DOMAINS "domain \"later.example\" { primary = mx }\n");
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("later@example.it"), false, &u),
	    DIRECTORY_FOUND);
	assert_null(directory_refusal(f->conf, &u));
	directory_close(&d);
}

/* P2: what the snapshot was not made for is unavailable, not unknown. */
static void
test_other_configuration(void **state)
{
	struct fixture *f = *state;
	struct directory *d = open_ok(f);
	struct directory_user u;

	assert_int_equal(directory_compare(d, f->conf), 0);
	fixture_conf(f, "domain \"example.it\" { primary = mx fold-local = no }\n"
	    "domain \"case.example\" { primary = mx }\n"
	    "domain \"new.example\" { primary = mx }\n");
	assert_int_equal(directory_compare(d, f->conf), 3);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("x@new.example"), true, &u),
	    DIRECTORY_UNAVAILABLE);
	/* fold-local changed: what is found is right, what is not found may be there */
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("MARIO@example.it"), true, &u),
	    DIRECTORY_FOUND);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("no@example.it"), true, &u),
	    DIRECTORY_UNAVAILABLE);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("anna@case.example"), true, &u),
	    DIRECTORY_UNAVAILABLE);
	/* a domain that is not served any more */
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("anna@tags.example"), true, &u),
	    DIRECTORY_UNAVAILABLE);
	directory_close(&d);
}

static void
test_domain_without_users(void **state)
{
	struct snapshot_options o = { .force = true };
	struct fixture *f = *state;
	struct directory *d;
	struct directory_user u;
	const struct fixture_row one[] = { users[0], { 0 } };

	assert_int_equal(fixture_import_as(f, one, &o), SNAPSHOT_OK);
	d = open_ok(f);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("x@example.it"), true, &u),
	    DIRECTORY_UNKNOWN);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("x@case.example"), true, &u),
	    DIRECTORY_UNAVAILABLE);
	directory_close(&d);
}

static char *
read_users(struct fixture *f, size_t *n)
{
	int fd = openat(f->dirfd, "users.db", O_RDONLY);
	off_t size = lseek(fd, 0, SEEK_END);
	char *p = mem_new((size_t)size);

	assert_int_equal(pread(fd, p, (size_t)size, 0), size);
	close(fd);
	*n = (size_t)size;
	return p;
}

static void
write_users(struct fixture *f, const char *p, size_t n)
{
	int fd = openat(f->dirfd, "users.db", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	close(fd);
}

/* Cut at any place: refused at opening. */
static void
test_cut_short(void **state)
{
	struct fixture *f = *state;
	char why[256];
	size_t n;
	char *p = read_users(f, &n);

	for (size_t cut = 0; cut < n; cut += cut < n - 70 ? 509 : 1) {
		struct directory *d;

		write_users(f, p, cut);
		d = directory_open(f->dirfd, "users.db", why, sizeof(why));
		assert_null(d);
		assert_int_not_equal(errno, ENOENT);
	}
	free(p);
}

/* One byte changed anywhere: found by the checksum, in slices as in one go; and no
 * look-up in the damaged file crashes. */
static void
test_bit_rot(void **state)
{
	struct fixture *f = *state;
	struct directory_user u;
	char why[256];
	size_t n, opened = 0;
	char *p = read_users(f, &n);

	log_open("test", LOG_LVL_ERROR);
	for (size_t at = 0; at < n; at += 37) {
		struct directory *d;
		int rc;

		p[at] ^= 0x55;
		write_users(f, p, n);
		d = directory_open(f->dirfd, "users.db", why, sizeof(why));
		if (d != NULL) {
			opened++;
			for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i += 5)
				(void)directory_find(d, f->conf, slice_str(finds[i].address), true,
				    &u);
			do
				rc = directory_verify(d, 1000);
			while (rc == 1);
			/* blanks behind the trailer's text are not covered and carry nothing */
			if (rc != -1 && at < n - 20)
				fail_msg("byte %zu of %zu", at, n);
		}
		directory_close(&d);
		p[at] ^= 0x55;
	}
	assert_true(opened > 100);
	write_users(f, p, n);
	free(p);
}

/* A directory of an earlier release has no table of consents: nobody has consented. */
static void
test_without_baseline_table(void **state)
{
	struct fixture *f = *state;
	struct directory_user u;
	struct directory *d;
	uint64_t count = 7;
	size_t n, body, hits = 0;
	char *p = read_users(f, &n);

	body = n - SNAPDB_TRAILER;
	for (size_t i = 0; i + 8 <= body; i++)
		if (memcmp(p + i, "baseline", 8) == 0) {
			memcpy(p + i, "bygone__", 8);
			hits++;
		}
	assert_true(hits >= 2);
	memset(p + body, ' ', SNAPDB_TRAILER);
	int len = snprintf(p + body, SNAPDB_TRAILER, "salvaposta-users 1 %016zx %08x", body,
	    crc32c(0, p, body));
	p[body + (size_t)len] = ' ';
	write_users(f, p, n);
	free(p);
	d = open_ok(f);
	assert_int_equal(directory_verify(d, UINT64_MAX), 0);
	assert_int_equal(directory_find(d, f->conf, SLICE_LIT("mario@example.it"), false, &u),
	    DIRECTORY_FOUND);
	assert_false(directory_baseline(d, f->conf, &u));
	assert_true(slice_eq(u.address, SLICE_LIT("mario@example.it")));
	assert_int_equal(directory_baselines(d, &count), 0);
	assert_int_equal(count, 0);
	directory_close(&d);
}

static void
test_fall_back(void **state)
{
	struct snapshot_options o = { .force = true };
	struct fixture *f = *state;
	struct directory *d;
	int which, fd;

	assert_int_equal(fixture_import_as(f, users, &o), SNAPSHOT_OK);
	d = directory_open_best(f->dirfd, &which);
	assert_non_null(d);
	assert_int_equal(which, 0);
	directory_close(&d);
	fd = openat(f->dirfd, "users.db", O_WRONLY);
	assert_int_equal(pwrite(fd, "damage", 6, 4096), 6);
	close(fd);
	d = directory_open_best(f->dirfd, &which);
	assert_non_null(d);
	assert_int_equal(which, 1);
	assert_int_equal(directory_info(d)->generation, 1);
	directory_close(&d);
	unlinkat(f->dirfd, "users.1.db", 0);
	assert_null(directory_open_best(f->dirfd, &which));
}

/* A link or a pipe under the name is not followed, and does not block. */
static void
test_not_a_file(void **state)
{
	struct fixture *f = *state;
	char why[256];

	assert_int_equal(renameat(f->dirfd, "users.db", f->dirfd, "real.db"), 0);
	assert_int_equal(symlinkat("real.db", f->dirfd, "users.db"), 0);
	assert_null(directory_open(f->dirfd, "users.db", why, sizeof(why)));
	assert_int_equal(unlinkat(f->dirfd, "users.db", 0), 0);
	assert_int_equal(mkfifoat(f->dirfd, "users.db", 0600), 0);
	assert_null(directory_open(f->dirfd, "users.db", why, sizeof(why)));
	assert_int_equal(unlinkat(f->dirfd, "users.db", 0), 0);
	assert_null(directory_open(f->dirfd, "users.db", why, sizeof(why)));
	assert_int_equal(errno, ENOENT);
}

static void
add_count(void *arg, const struct directory_count *n)
{
	uint64_t *sum = arg;

	sum[0] += n->users;
	sum[1] += n->flag == DIRECTORY_CHAIN ? n->users : 0;
	sum[2] += n->recovery ? 0 : n->users;
	sum[3] += n->state == DIRECTORY_OPTED_IN ? n->users : 0;
}

static void
add_name(void *arg, struct slice name)
{
	assert_int_equal(buf_printf(arg, "%.*s ", SLICE_FMT(name)), 0);
}

static void
test_audit(void **state)
{
	struct fixture *f = *state;
	struct directory *d = open_ok(f);
	uint64_t sum[4] = { 0 };

	assert_int_equal(directory_audit(d, add_count, sum), 0);
	assert_int_equal(sum[0], 15);
	assert_int_equal(sum[1], 1);
	assert_int_equal(sum[2], 3);
	assert_int_equal(sum[3], 3);
	buf_clear(&f->said);
	assert_int_equal(directory_names(d, 2, add_name, &f->said), 0);
	assert_true(fixture_said(f, "m.rossi@example.it "));
	assert_true(fixture_said(f, "mario@example.it "));
	assert_true(fixture_said(f, "mr@tags.example "));
	directory_close(&d);
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_find), T(test_row), T(test_refusals), T(test_other_configuration),
		T(test_domain_without_users), T(test_cut_short), T(test_bit_rot),
		T(test_without_baseline_table), T(test_fall_back),
		T(test_not_a_file), T(test_audit),
	};

	return cmocka_run_group_tests_name("policy/directory", tests, NULL, NULL);
}
