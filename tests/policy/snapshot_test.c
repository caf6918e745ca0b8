// SPDX-License-Identifier: Apache-2.0
/* Rows good and bad (spec 9.3, 12.1), and what an import leaves on disk. */
#include "tests/policy/snapshot_fixture.h"

#include <sys/stat.h>

#include "base/clock.h"

#define OK_ROW	{ 90, "ok@example.it", "ok@mail.example.com", "", "", "", "", "" }

struct bad_row {
	const char		*name;	/* spec rule or field */
	struct fixture_row	 row;	/* stands in line 91 after OK_ROW */
	const char		*want;	/* part of the report, NULL: the row is good */
};

static const struct bad_row bad_rows[] = {
	/* addresses */
	{ "plain", { 91, "a@example.it", "a@mail.example.com", "", "", "", "", "" }, NULL },
	{ "no recovery", { 91, "a@example.it", "", "", "", "", "", "" }, NULL },
	{ "blanks around", { 91, " a@example.it ", " a@mail.example.com\t", "", "", "", "", "" },
	  NULL },
	{ "quoted", { 91, "\"a b\"@example.it", "", "", "", "", "", "" }, NULL },
	{ "upper domain", { 91, "a@EXAMPLE.It", "", "", "", "", "", "" }, NULL },
	{ "empty address", { 91, "", "a@mail.example.com", "", "", "", "", "" },
	  "91 address is empty" },
	{ "no at", { 91, "mario", "", "", "", "", "", "" }, "91 address \"mario\" is not" },
	{ "bare postmaster", { 91, "postmaster", "", "", "", "", "", "" }, "91 address" },
	{ "two dots", { 91, "a..b@example.it", "", "", "", "", "", "" }, "91 address" },
	{ "blank inside", { 91, "a b@example.it", "", "", "", "", "", "" }, "91 address" },
	{ "literal", { 91, "a@[192.0.2.1]", "", "", "", "", "", "" }, "91 address" },
	{ "not served", { 91, "a@elsewhere.example", "", "", "", "", "", "" },
	  "91 address \"a@elsewhere.example\": the domain is not served" },
	{ "subdomain is not served", { 91, "a@x.example.it", "", "", "", "", "", "" },
	  "is not served" },
	{ "UTF-8 local part (RFC 6531)", { 91, "citt\xc3\xa0@example.it", "r\xc3\xa8@mail.example.com", "",
	  "", "", "", "" }, NULL },
	{ "8-bit local part, no UTF-8", { 91, "citt\xe0@example.it", "", "", "", "", "", "" },
	  "91 address" },
	/* twice */
	{ "twice", { 91, "ok@example.it", "", "", "", "", "", "" }, "is in line 90 already" },
	{ "twice, folded", { 91, "OK@Example.IT", "", "", "", "", "", "" },
	  "is in line 90 already" },
	{ "twice, quoted", { 91, "\"ok\"@example.it", "", "", "", "", "", "" },
	  "is in line 90 already" },
	{ "not folded there", { 91, "OK@case.example", "", "", "", "ok@case.example", "", "" },
	  NULL },
	/* aliases */
	{ "aliases", { 91, "a@example.it", "", "", "", "b;c@case.example  d;", "", "" }, NULL },
	{ "alias of another", { 91, "a@example.it", "", "", "", "b OK", "", "" },
	  "91 aliases \"OK@example.it\" is in line 90 already" },
	{ "alias twice in a row", { 91, "a@example.it", "", "", "", "b B a", "", "" }, NULL },
	{ "alias elsewhere", { 91, "a@example.it", "", "", "", "b@elsewhere.example", "", "" },
	  "91 aliases" },
	{ "alias bad", { 91, "a@example.it", "", "", "", "b@@c", "", "" }, "91 aliases" },
	/* recovery, 9.3 */
	{ "9.3 self", { 91, "a@example.it", "A@example.it", "", "", "", "", "" },
	  "91 recovery \"A@example.it\" is the user's own address" },
	{ "9.3 self by case, not folded", { 91, "a@case.example", "A@case.example", "", "", "",
	  "", "" }, "is the user's own address" },
	{ "9.3 own alias", { 91, "a@example.it", "B@case.example", "", "", "b@case.example", "",
	  "" }, "is an alias of the same user" },
	{ "9.3 chain", { 91, "a@example.it", "b@case.example", "", "", "", "", "" },
	  "91 recovery \"b@case.example\" is in a domain served here" },
	{ "9.3 own host", { 91, "a@example.it", "b@MX2.relay.example", "", "", "", "", "" },
	  "leads back to this relay" },
	{ "9.3 literal", { 91, "a@example.it", "b@[192.0.2.1]", "", "", "", "", "" },
	  "91 recovery" },
	{ "9.3 one label", { 91, "a@example.it", "b@localhost", "", "", "", "", "" },
	  "one label" },
	{ "recovery syntax", { 91, "a@example.it", "b", "", "", "", "", "" }, "91 recovery" },
	{ "recovery injects", { 91, "a@example.it", "b@mail.example.com\r\nRCPT TO:<c@d.e>", "", "",
	  "", "", "" }, "91 recovery" },
	{ "recovery U-label", { 91, "a@example.it", "b@citt\xc3\xa0.example", "", "", "", "", "" },
	  NULL },
	/* the rest, 12.1, 12.2 */
	{ "12.1 states", { 91, "a@example.it", "", "Opted-Out", "", "", "", "" }, NULL },
	{ "12.1 no such state", { 91, "a@example.it", "", "yes", "", "", "", "" },
	  "91 state \"yes\" is none of" },
	{ "shard", { 91, "a@example.it", "", "", "s-1.x_y", "", "", "" }, NULL },
	{ "shard blank", { 91, "a@example.it", "", "", "s 1", "", "", "" }, "91 shard" },
	{ "shard long", { 91, "a@example.it", "", "",
	  "12345678901234567890123456789012345678901234567890123456789012345", "", "", "" },
	  "91 shard" },
	{ "language", { 91, "a@example.it", "", "", "", "", "en-GB", "" }, NULL },
	{ "language bad", { 91, "a@example.it", "", "", "", "", "it,en", "" }, "91 language" },
	{ "12.2 day", { 91, "a@example.it", "", "", "", "", "", "2026-11-01" }, NULL },
	{ "12.2 time", { 91, "a@example.it", "", "", "", "", "", "2026-11-01T10:00:59Z" }, NULL },
	{ "12.2 time, blank", { 91, "a@example.it", "", "", "", "", "", "2026-11-01 10:00:59" },
	  NULL },
	{ "12.2 seconds", { 91, "a@example.it", "", "", "", "", "", "1767225600" }, NULL },
	{ "12.2 no such day", { 91, "a@example.it", "", "", "", "", "", "2026-02-31" },
	  "91 verified_at" },
	{ "12.2 padded", { 91, "a@example.it", "", "", "", "", "", "2026- 2- 3" },
	  "91 verified_at" },
	{ "12.2 trailing", { 91, "a@example.it", "", "", "", "", "", "2026-02-03T10:00:00Zx" },
	  "91 verified_at" },
	{ "12.2 zone", { 91, "a@example.it", "", "", "", "", "", "2026-02-03T10:00:00+01:00" },
	  "91 verified_at" },
	{ "12.2 future", { 91, "a@example.it", "", "", "", "", "", "2027-02-03" }, "future" },
};

static void
test_rows(void **state)
{
	struct fixture *f = *state;

	clock_fake(INT64_C(1795384800000), 1000);	/* 2026-11-22 */
	for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
		const struct bad_row *b = &bad_rows[i];
		const struct fixture_row rows[] = { OK_ROW, b->row, { 0 } };
		enum snapshot_result r = fixture_import(f, rows);

		if (r != (b->want == NULL ? SNAPSHOT_OK : SNAPSHOT_BAD_ROWS) ||
		    (b->want != NULL && !fixture_said(f, b->want)))
			fail_msg("%s: %d %s %.*s", b->name, r, f->why,
			    SLICE_FMT(buf_slice(&f->said)));
		assert_int_equal(f->n.bad, b->want != NULL);
	}
	clock_fake(-1, -1);
}

/* One bad row of many: the former directory stays as it is, byte by byte. */
static void
test_all_or_nothing(void **state)
{
	const struct fixture_row good[] = { OK_ROW, { 0 } };
	const struct fixture_row bad[] = { OK_ROW, { 91, "b@example.it", "", "", "", "", "", "" },
	    { 92, "c", "", "", "", "", "", "" }, { 0 } };
	struct fixture *f = *state;
	struct stat before, after;

	assert_int_equal(fixture_import(f, bad), SNAPSHOT_BAD_ROWS);
	assert_false(fixture_exists(f, "users.db"));
	assert_int_equal(fixture_import(f, good), SNAPSHOT_OK);
	assert_int_equal(fstatat(f->dirfd, "users.db", &before, 0), 0);
	assert_int_equal(fixture_import(f, bad), SNAPSHOT_BAD_ROWS);
	assert_int_equal(fstatat(f->dirfd, "users.db", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_false(fixture_exists(f, "users.1.db"));
	assert_false(fixture_exists(f, "../directory.import"));
	/* the same with --skip-bad: two of three */
	struct snapshot_options o = { .skip_bad = true };

	assert_int_equal(fixture_import_as(f, bad, &o), SNAPSHOT_OK);
	assert_int_equal(f->n.users, 2);
	assert_int_equal(f->n.bad, 1);
}

/* A bad row's names are free again: its alias must not make a later row bad. */
static void
test_skipped_row_holds_no_name(void **state)
{
	const struct fixture_row rows[] = {
		{ 2, "a@example.it", "", "nonsense", "", "b c", "", "" },
		{ 3, "b@example.it", "", "", "", "", "", "" },
		{ 4, "a@example.it", "", "", "", "", "", "" },
		{ 0 }
	};
	struct snapshot_options o = { .skip_bad = true };
	struct fixture *f = *state;

	assert_int_equal(fixture_import_as(f, rows, &o), SNAPSHOT_OK);
	assert_int_equal(f->n.bad, 1);
	assert_int_equal(f->n.users, 2);
	assert_int_equal(f->n.names, 2);
}

static enum snapshot_result
import_many(struct fixture *f, unsigned n, bool force)
{
	struct snapshot_options o = { .force = force };
	struct fixture_row *row = mem_array(n + 1, sizeof(*row));
	char (*text)[32] = mem_array(n + 1, sizeof(*text));
	enum snapshot_result r;

	for (unsigned i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "u%u@example.it", i);
		row[i] = (struct fixture_row){ i + 2, text[i], "", "", "", "", "", "" };
	}
	r = fixture_import_as(f, row, &o);
	free(text);
	free(row);
	return r;
}

static void
test_row_count_guard(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(import_many(f, 0, false), SNAPSHOT_GUARDED);
	assert_int_equal(import_many(f, 100, false), SNAPSHOT_OK);
	assert_int_equal(import_many(f, 79, false), SNAPSHOT_GUARDED);
	assert_non_null(strstr(f->why, "--force"));
	assert_int_equal(import_many(f, 80, false), SNAPSHOT_OK);
	assert_int_equal(f->n.before, 100);
	assert_int_equal(import_many(f, 1, true), SNAPSHOT_OK);
	assert_int_equal(import_many(f, 0, true), SNAPSHOT_OK);
}

/* The first `out` of ten users are opted out. */
static enum snapshot_result
import_opted_out(struct fixture *f, unsigned out, bool force)
{
	struct snapshot_options o = { .force = force };
	struct fixture_row row[11] = { 0 };
	char text[10][32];

	for (unsigned i = 0; i < 10; i++) {
		snprintf(text[i], sizeof(text[i]), "u%u@example.it", i);
		row[i] = (struct fixture_row){ i + 2, text[i], "", i < out ? "opted-out" : "", "", "",
		    "", "" };
	}
	return fixture_import_as(f, row, &o);
}

/* Opt-outs survive an export that lost its states: a fifth may go, and two in any case. */
static void
test_opt_out_guard(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(import_opted_out(f, 10, false), SNAPSHOT_OK);
	assert_int_equal(f->n.opted_out, 10);
	assert_int_equal(import_opted_out(f, 0, false), SNAPSHOT_GUARDED);
	assert_non_null(strstr(f->why, "0 users are opted-out where the present directory has 10"));
	assert_non_null(strstr(f->why, "--force"));
	assert_int_equal(import_opted_out(f, 7, false), SNAPSHOT_GUARDED);
	assert_int_equal(import_opted_out(f, 8, false), SNAPSHOT_OK);
	assert_int_equal(import_opted_out(f, 2, true), SNAPSHOT_OK);
	assert_int_equal(import_opted_out(f, 0, false), SNAPSHOT_OK);
	assert_int_equal(import_opted_out(f, 3, false), SNAPSHOT_OK);
	assert_int_equal(import_opted_out(f, 0, false), SNAPSHOT_GUARDED);
}

static void
test_generations(void **state)
{
	struct fixture *f = *state;
	struct directory *d;
	char why[256];

	for (unsigned i = 1; i <= 5; i++) {
		assert_int_equal(import_many(f, 10 + i, false), SNAPSHOT_OK);
		assert_int_equal(f->n.generation, i);
	}
	for (unsigned i = 0; i < DIRECTORY_GENERATIONS; i++) {
		struct stat st;

		d = directory_open(f->dirfd, directory_files[i], why, sizeof(why));
		assert_non_null(d);
		assert_int_equal(directory_info(d)->users, 15 - i);
		assert_int_equal(directory_info(d)->generation, 5 - i);
		directory_close(&d);
		assert_int_equal(fstatat(f->dirfd, directory_files[i], &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_false(fixture_exists(f, "users.3.db"));
}

/* A damaged users.db is replaced, but does not push a good one out. */
static void
test_damaged_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct directory *d;
	char why[256];
	int fd;

	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(import_many(f, 10 + i, false), SNAPSHOT_OK);
	fd = openat(f->dirfd, "users.db", O_RDWR);
	assert_int_equal(pwrite(fd, "damage", 6, 5000), 6);
	close(fd);
	assert_int_equal(import_many(f, 20, false), SNAPSHOT_OK);
	assert_int_equal(f->n.before, 12);
	d = directory_open(f->dirfd, "users.1.db", why, sizeof(why));
	assert_non_null(d);
	assert_int_equal(directory_info(d)->users, 12);
	directory_close(&d);
}

static void
damage(struct fixture *f, const char *name)
{
	int fd = openat(f->dirfd, name, O_RDWR);

	assert_int_equal(pwrite(fd, "damage", 6, 5000), 6);
	close(fd);
}

static void
assert_in_use(struct fixture *f, const char *name, uint64_t users, uint64_t generation)
{
	char why[256];
	struct directory *d = directory_open(f->dirfd, name, why, sizeof(why));

	assert_non_null(d);
	assert_int_equal(directory_verify(d, UINT64_MAX), 0);
	assert_int_equal(directory_info(d)->users, users);
	assert_int_equal(directory_info(d)->generation, generation);
	directory_close(&d);
}

/* A rollback swaps two generations, and no number of one comes twice after it. */
static void
test_rollback(void **state)
{
	struct fixture *f = *state;
	struct snapshot_rollback r;

	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(import_many(f, 10 + i, false), SNAPSHOT_OK);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), 0);
	assert_true(r.kept);
	assert_int_equal(r.now.generation, 2);
	assert_int_equal(r.former.generation, 3);
	assert_in_use(f, "users.db", 12, 2);
	assert_in_use(f, "users.1.db", 13, 3);
	assert_in_use(f, "users.2.db", 11, 1);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), 0);
	assert_in_use(f, "users.db", 13, 3);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), 0);
	assert_int_equal(import_many(f, 14, false), SNAPSHOT_OK);
	assert_int_equal(f->n.before, 12);
	assert_in_use(f, "users.db", 14, 4);
	assert_in_use(f, "users.1.db", 12, 2);
	assert_in_use(f, "users.2.db", 13, 3);
}

/* Nothing there, damaged, the present one under a second name, an import at work: refused,
 * and users.db is as it was. */
static void
test_rollback_refused(void **state)
{
	struct snapshot_options o = { 0 };
	struct fixture *f = *state;
	struct snapshot_rollback r;
	struct snapshot *s;

	assert_int_equal(import_many(f, 11, false), SNAPSHOT_OK);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), -1);
	assert_non_null(strstr(f->why, "no generation before"));
	assert_int_equal(linkat(f->dirfd, "users.db", f->dirfd, "users.1.db", 0), 0);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), -1);
	assert_non_null(strstr(f->why, "is the present one"));
	assert_int_equal(unlinkat(f->dirfd, "users.1.db", 0), 0);
	assert_int_equal(import_many(f, 12, false), SNAPSHOT_OK);
	s = snapshot_begin(f->conf, &o, fixture_report, f, f->why);
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), -1);
	assert_non_null(strstr(f->why, "another import"));
	snapshot_free(&s);
	damage(f, "users.1.db");
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), -1);
	assert_non_null(strstr(f->why, "users.1.db is damaged"));
	assert_in_use(f, "users.db", 12, 2);
}

/* A damaged users.db makes room, and is not kept for a second rollback. */
static void
test_rollback_of_damaged(void **state)
{
	struct fixture *f = *state;
	struct snapshot_rollback r;

	assert_int_equal(import_many(f, 11, false), SNAPSHOT_OK);
	assert_int_equal(import_many(f, 12, false), SNAPSHOT_OK);
	damage(f, "users.db");
	assert_int_equal(snapshot_rollback(f->conf, &r, f->why), 0);
	assert_false(r.kept);
	assert_in_use(f, "users.db", 11, 1);
	assert_false(fixture_exists(f, "users.1.db"));
}

static void
test_one_at_a_time(void **state)
{
	struct snapshot_options o = { 0 };
	struct fixture *f = *state;
	struct snapshot *s, *t;

	s = snapshot_begin(f->conf, &o, fixture_report, f, f->why);
	assert_non_null(s);
	t = snapshot_begin(f->conf, &o, fixture_report, f, f->why);
	assert_null(t);
	assert_non_null(strstr(f->why, "another import"));
	snapshot_free(&s);
	s = snapshot_begin(f->conf, &o, fixture_report, f, f->why);
	assert_non_null(s);
	snapshot_free(&s);
}

/* What a killed import leaves is swept away, whatever it is. */
static void
test_leftover(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/directory.import", f->dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "half", 4), 4);
	close(fd);
	assert_int_equal(import_many(f, 3, false), SNAPSHOT_OK);
	assert_int_equal(access(path, F_OK), -1);
}

/* Killed between the link to users.1.db and the rename to users.db, any number of times. */
static void
test_killed_before_rename(void **state)
{
	struct fixture *f = *state;
	struct directory *d;
	char why[256];

	assert_int_equal(import_many(f, 10, false), SNAPSHOT_OK);
	assert_int_equal(import_many(f, 11, false), SNAPSHOT_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(renameat(f->dirfd, "users.1.db", f->dirfd, "users.2.db"), 0);
		assert_int_equal(linkat(f->dirfd, "users.db", f->dirfd, "users.1.db", 0), 0);
		assert_int_equal(import_many(f, 12 + i, false), SNAPSHOT_OK);
		d = directory_open(f->dirfd, "users.1.db", why, sizeof(why));
		assert_non_null(d);
		assert_int_equal(directory_info(d)->users, 11 + i);
		directory_close(&d);
	}
}

static void
test_no_state_dir(void **state)
{
	const struct fixture_row rows[] = { OK_ROW, { 0 } };
	struct fixture *f = *state;
	char dir[sizeof(f->dir)];

	memcpy(dir, f->dir, sizeof(dir));
	snprintf(f->dir, sizeof(f->dir), "/proc/none");
	fixture_conf(f, FIXTURE_DOMAINS);
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_FAIL);
	assert_non_null(strstr(f->why, "/proc/none"));
	memcpy(f->dir, dir, sizeof(dir));
}

/* Spec 9.3: more than five users of one recovery address, whatever its case. */
static void
test_spec_9_3_shared_recovery_addresses(void **state)
{
	struct fixture_row rows[8] = { { 0 } };
	char text[7][32];
	const char *const confirmed[] = { "Family@mail.example.com" };
	struct snapshot_options o = { 0 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < 7; i++) {
		snprintf(text[i], sizeof(text[i]), "u%u@example.it", i);
		rows[i] = (struct fixture_row){ i + 2, text[i], i % 2 == 0 ?
		    "family@mail.example.com" : "FAMILY@mail.Example.com", "", "", "", "", "" };
	}
	rows[5].line = 0;
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 0);
	rows[5].line = 7;
	rows[6].recovery = "other@mail.example.com";
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 6);
	assert_int_equal(f->n.shared_addresses, 1);
	/* confirmed once, remembered in the import after it */
	o.confirmed = confirmed;
	o.nconfirmed = 1;
	assert_int_equal(fixture_import_as(f, rows, &o), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 0);
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 0);
	/* the configuration says how many */
	rows[0].recovery = rows[1].recovery = rows[2].recovery = "three@mail.example.com";
	rows[3].recovery = rows[4].recovery = rows[5].recovery = "";
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 0);
	f->conf->recovery_users_max = 2;
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 3);
	assert_int_equal(f->n.shared_max, 2);
	rows[2].recovery = "two@mail.example.com";
	assert_int_equal(fixture_import(f, rows), SNAPSHOT_OK);
	assert_int_equal(f->n.shared, 0);
}

static void
test_totals(void **state)
{
	const struct fixture_row rows[] = {
		{ 2, "a@example.it", "a@case.example", "", "", "b c", "", "" },
		{ 3, "d@strict.example", "", "", "s1", "", "", "" },
		{ 4, "e@strict.example", "e@mail.example.com", "", "s9", "", "", "" },
		{ 0 }
	};
	struct snapshot_options o = { .force = true };
	struct fixture *f = *state;

	assert_int_equal(fixture_import_as(f, rows, &o), SNAPSHOT_OK);
	assert_int_equal(f->n.users, 3);
	assert_int_equal(f->n.names, 5);
	assert_int_equal(f->n.chain, 1);
	assert_int_equal(f->n.no_recovery, 1);
	assert_int_equal(f->n.unknown_shard, 1);
	assert_int_equal(f->n.domains_empty, 2);
	assert_true(fixture_said(f, "~2 recovery"));
	assert_true(fixture_said(f, "~0 domain \"tags.example\""));
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rows), T(test_all_or_nothing), T(test_skipped_row_holds_no_name),
		T(test_row_count_guard), T(test_opt_out_guard), T(test_generations),
		T(test_damaged_is_not_kept),
		T(test_rollback), T(test_rollback_refused), T(test_rollback_of_damaged),
		T(test_one_at_a_time), T(test_leftover), T(test_killed_before_rename),
		T(test_no_state_dir), T(test_spec_9_3_shared_recovery_addresses), T(test_totals),
	};

	return cmocka_run_group_tests_name("policy/snapshot", tests, NULL, NULL);
}
