// SPDX-License-Identifier: Apache-2.0
/* Finding the mail of one user or sender without looking at everybody's: the tables of
 * sealed segments (queue/spool_table.c). What they say is held against a plain scan. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/record.h"
#include "queue/spool_verify.h"
#include "tests/queue/spool_kit.h"

enum { N = 6000, USERS = 97, BATCH = 200 };

struct found {
	struct spool_cursor at[N];
	unsigned n;
	unsigned stop_after;
};

static bool
on_found(void *arg, const struct spool_entry *e)
{
	struct found *f = arg;

	assert_true(f->n < N);
	f->at[f->n++] = (struct spool_cursor){ e->ref.segment, e->ref.entry };
	return f->stop_after == 0 || f->n % f->stop_after != 0;
}

/* Returns what was looked at. */
static size_t
look(struct kit *k, const struct spool_filter *f, size_t budget, struct found *out)
{
	struct spool_cursor c = { 0, 0 };
	size_t seen = 0;
	bool end = false;

	out->n = 0;
	for (unsigned i = 0; i < 100000 && !end; i++)
		seen += spool_scan(k->sp, &c, f, budget, on_found, out, &end);
	assert_true(end);
	return seen;
}

static uint64_t want_user;

static bool
on_user(void *arg, const struct spool_entry *e)
{
	return e->user != want_user || on_found(arg, e);
}

/* The truth, from every entry there is. */
static void
look_at_all(struct kit *k, uint64_t user, struct found *out)
{
	const struct spool_filter any = { .due_ms = INT64_MAX };
	struct spool_cursor c = { 0, 0 };
	bool end = false;

	want_user = user;
	out->n = 0;
	while (!end)
		spool_scan(k->sp, &c, &any, 1000, on_user, out, &end);
}

static void
user_name(char out[64], unsigned i)
{
	/* One of them has a third of all mail, some have a single message. */
	snprintf(out, 64, "u%u@example.it", i % 3 == 0 ? 0 : i * 7919 % USERS);
}

static void
fill(struct kit *k)
{
	char name[64];

	for (unsigned i = 0; i < N;) {
		unsigned want = k->done + BATCH;
		for (unsigned b = 0; b < BATCH; b++, i++) {
			user_name(name, i);
			kit_send(k, name, 1, LEG_PARKED, LEG_ABSENT, 20, kit_done, k);
		}
		kit_until(k, want);
	}
	assert_int_equal(k->ok, N);
}

static void
start(struct kit *k)
{
	kit_init(k);
	k->conf.segment_size = 256 * 1024;
	kit_start(k, false);
}

static void
check_users(struct kit *k, size_t budget, bool quick)
{
	static struct found got, want;
	struct spool_filter f = { .due_ms = INT64_MAX };
	struct spool_status st;
	char name[64];

	spool_status(k->sp, &st);
	for (unsigned u = 0; u <= USERS; u++) {
		snprintf(name, sizeof(name), "u%u@example.it", u);
		f.user = spool_user(slice_str(name));
		size_t seen = look(k, &f, budget, &got);
		look_at_all(k, f.user, &want);
		assert_int_equal(got.n, want.n);
		assert_memory_equal(got.at, want.at, got.n * sizeof(got.at[0]));
		/* His own, a look at each table, and the open segment. */
		if (quick)
			assert_true(seen <= got.n + (st.segments + 1) * SPOOL_TABLE_COST);
	}
}

static void
test_users(void **state)
{
	struct kit k;

	(void)state;
	start(&k);
	fill(&k);
	check_users(&k, 100000, false);
	for (int round = 0; round < 2; round++) {
		kit_restart(&k);
		check_users(&k, 100000, true);
		check_users(&k, 70, true);
	}
	kit_close(&k);
}

/* A visit that stops, and the cursor after it. */
static void
test_pages(void **state)
{
	static struct found got, want;
	struct spool_filter f = { .due_ms = INT64_MAX, .user = spool_user(SLICE_LIT("u0@example.it")) };
	struct kit k;

	(void)state;
	start(&k);
	fill(&k);
	kit_restart(&k);
	got.stop_after = 7;
	look(&k, &f, 1000, &got);
	got.stop_after = 0;
	look_at_all(&k, f.user, &want);
	assert_int_equal(got.n, want.n);
	assert_true(got.n > N / 4);
	assert_memory_equal(got.at, want.at, got.n * sizeof(got.at[0]));
	kit_close(&k);
}

/* The last byte of each index: it belongs to a table. */
static void
hurt_tables(struct kit *k, off_t back)
{
	char path[160];

	for (unsigned no = 1; no < 100; no++) {
		snprintf(path, sizeof(path), "%s/seg/%012u.idx", k->dir, no);
		int fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		off_t end = lseek(fd, 0, SEEK_END);
		char b = 0;
		assert_int_equal(pread(fd, &b, 1, end - back), 1);
		b = (char)(b ^ 0x55);
		assert_int_equal(pwrite(fd, &b, 1, end - back), 1);
		close(fd);
	}
}

static void
cut_tables(struct kit *k)
{
	char path[160];

	for (unsigned no = 1; no < 100; no++) {
		snprintf(path, sizeof(path), "%s/seg/%012u.idx", k->dir, no);
		int fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 3 * PAGE_BYTES), 0);
		close(fd);
	}
}

static void
test_lost_tables(void **state)
{
	struct kit k;

	(void)state;
	start(&k);
	fill(&k);
	for (int round = 0; round < 3; round++) {
		spool_close(&k.sp);
		if (round < 2)
			hurt_tables(&k, round == 0 ? 1 : 5 * PAGE_BYTES);
		else
			cut_tables(&k);
		kit_start(&k, false);
		check_users(&k, 1000, false);
		/* Made again on the way out, if not before. */
		kit_restart(&k);
		check_users(&k, 1000, true);
	}
	kit_close(&k);
}

static void
on_finding(void *arg, const struct spool_finding *f)
{
	*(unsigned *)arg += f->damage && f->part == STORE_INDEX;
}

static void
on_segment(void *arg, const struct spool_segment_report *s)
{
	(void)arg;
	(void)s;
}

static bool
on_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	return done <= total;
}

static unsigned
verify(struct kit *k)
{
	const struct spool_verify_ops to = { on_finding, on_segment, on_progress };
	unsigned damage = 0;
	struct store *s = store_local.open(k->loop, k->where, true);

	assert_non_null(s);
	assert_int_equal(spool_verify(&store_local, s, false, &to, &damage), 0);
	store_local.close(&s);
	return damage;
}

/* `salvaposta spool verify` reads them too. */
static void
test_verify(void **state)
{
	struct kit k;

	(void)state;
	start(&k);
	fill(&k);
	spool_close(&k.sp);
	assert_int_equal(verify(&k), 0);
	hurt_tables(&k, 1);
	assert_true(verify(&k) > 3);
	cut_tables(&k);
	assert_true(verify(&k) > 3);
	kit_start(&k, false);
	check_users(&k, 1000, false);
	spool_close(&k.sp);
	assert_int_equal(verify(&k), 0);
	kit_fini(&k);
}

static uint32_t
read_u32(const uint8_t *p)
{
	return (uint32_t)le_get(p, 4);
}

/* What an older version wrote: no tables, no senders in the entries. */
static void
make_old(struct kit *k)
{
	uint8_t b[PAGE_BYTES];
	struct index_head h;
	char path[160];

	for (unsigned no = 1; no < 100; no++) {
		snprintf(path, sizeof(path), "%s/seg/%012u.idx", k->dir, no);
		int fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		assert_int_equal(pread(fd, b, sizeof(b), 0), sizeof(b));
		assert_int_equal(index_head_get(b, &h), 0);
		assert_true(h.table_n > 0);
		h.table_n = 0;
		index_head_put(b, &h);
		assert_int_equal(pwrite(fd, b, sizeof(b), 0), sizeof(b));
		for (uint32_t p = 0; p * PAGE_ENTRIES < h.count; p++) {
			off_t off = (off_t)PAGE_BYTES * (1 + (off_t)p);
			assert_int_equal(pread(fd, b, sizeof(b), off), sizeof(b));
			for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
				uint8_t *e = b + PAGE_HEAD + i * ENTRY_BYTES;
				e[15] = e[50] = e[51] = 0;
			}
			page_put(b, h.stamp, p, read_u32(b + 16));
			assert_int_equal(pwrite(fd, b, sizeof(b), off), sizeof(b));
		}
		assert_int_equal(ftruncate(fd, (off_t)(PAGE_BYTES * (1 + (uint64_t)((h.count +
		    PAGE_ENTRIES - 1) / PAGE_ENTRIES)) + h.nrow * ROW_BYTES)), 0);
		close(fd);
	}
}

static unsigned
count_sender(struct kit *k, const char *sender, uint32_t mask, size_t *seen)
{
	static struct found got;
	struct spool_filter f = { .due_ms = INT64_MAX, .sender_mask = mask,
		.sender = spool_sender(slice_str(sender)) & mask };

	*seen = look(k, &f, 1000, &got);
	return got.n;
}

static void
test_senders(void **state)
{
	size_t seen;
	struct kit k;

	(void)state;
	start(&k);
	fill(&k);
	for (int round = 0; round < 3; round++) {
		/* All of the kit's mail has one sender. */
		assert_int_equal(count_sender(&k, "Sender@Example.org", SPOOL_SENDER_ALL, &seen), N);
		assert_int_equal(count_sender(&k, "@example.org", SPOOL_SENDER_DOMAIN, &seen), N);
		assert_int_equal(count_sender(&k, "other@example.org", SPOOL_SENDER_ALL, &seen),
		    round == 2 ? N : 0);
		if (round == 1)
			assert_true(seen < N / 3);
		assert_int_equal(count_sender(&k, "@example.net", SPOOL_SENDER_DOMAIN, &seen),
		    round == 2 ? N : 0);	/* not known: the record has to tell */
		spool_close(&k.sp);
		if (round == 1)
			make_old(&k);
		kit_start(&k, false);
	}
	check_users(&k, 1000, true);
	kit_close(&k);
}

static void
test_age(void **state)
{
	static struct found got;
	const int64_t day = 24 * 3600 * 1000, start_ms = clock_wall_ms();
	struct spool_filter f = { .due_ms = INT64_MAX };
	struct kit k;

	(void)state;
	start(&k);
	for (int d = 0; d < 10; d++) {
		clock_fake(start_ms + d * day, clock_mono_ms());
		kit_restart(&k);
		clock_fake(-1, -1);
		unsigned want = k.done + BATCH;
		for (unsigned b = 0; b < BATCH; b++) {
			clock_fake(start_ms + d * day, clock_mono_ms());
			kit_send(&k, "a@example.it", 1, LEG_PARKED, LEG_ABSENT, 20, kit_done, &k);
			clock_fake(-1, -1);
		}
		kit_until(&k, want);
	}
	f.from_ms = start_ms + 5 * day;
	f.to_ms = start_ms + 6 * day;
	size_t seen = look(&k, &f, 1000, &got);
	assert_int_equal(got.n, 2 * BATCH);
	assert_true(seen <= 4 * BATCH);
	f.from_ms = 0;
	f.to_ms = start_ms - 1;
	look(&k, &f, 1000, &got);
	assert_int_equal(got.n, 0);
	kit_close(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_lost_tables),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_senders),
		cmocka_unit_test(test_age),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
