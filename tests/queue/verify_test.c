// SPDX-License-Identifier: Apache-2.0
/*
 * spool_verify over good and damaged spools: what is whole has no finding, each kind of
 * damage is named where it is, what a crash leaves is a note, and nothing is written
 * (docs/spool.md, "These files exist").
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/record.h"
#include "queue/spool_verify.h"
#include "queue/store_view.h"
#include "tests/queue/spool_kit.h"

enum { MESSAGES = 20, FOUND_MAX = 64 };

struct found {
	struct spool_finding	f[FOUND_MAX];
	size_t			n;
	struct spool_segment_report seg[FOUND_MAX];
	size_t			nseg;
	unsigned		damage;
	uint64_t		done, total;
};

static void
on_finding(void *arg, const struct spool_finding *f)
{
	struct found *r = arg;

	if (r->n < FOUND_MAX)
		r->f[r->n++] = *f;
	r->damage += f->damage;
}

static void
on_segment(void *arg, const struct spool_segment_report *s)
{
	struct found *r = arg;

	if (r->nseg < FOUND_MAX)
		r->seg[r->nseg++] = *s;
}

static bool
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct found *r = arg;

	assert_true(done >= r->done && done <= total);
	r->done = done;
	r->total = total;
	return true;
}

static void
verify(const struct kit *k, bool live, struct found *r)
{
	static const struct spool_verify_ops to = { on_finding, on_segment, on_progress };
	struct store *s = store_view.open(NULL, k->dir, true);

	*r = (struct found){ .n = 0 };
	assert_non_null(s);
	assert_int_equal(spool_verify(&store_view, s, live, &to, r), 0);
	store_view.close(&s);
}

/* Sums over all files: names, sizes and bytes. */
static uint32_t
fingerprint(const struct kit *k)
{
	char path[256], b[65536];
	uint32_t crc = 0;

	snprintf(path, sizeof(path), "%s/seg", k->dir);
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		int fd = openat(dirfd(d), e->d_name, O_RDONLY);
		ssize_t n;
		uint32_t one = crc32c(0, e->d_name, strlen(e->d_name));
		while ((n = read(fd, b, sizeof(b))) > 0)
			one = crc32c(one, b, (size_t)n);
		close(fd);
		crc ^= one;
	}
	closedir(d);
	return crc;
}

struct spool_made {
	struct kit	 k;
	struct msgid	 id[MESSAGES];
	uint64_t	 off[MESSAGES];	/* of the record in the log */
};

/* Where the records are, read from the bytes. */
static void
find_records(struct spool_made *m)
{
	struct store *s = store_view.open(NULL, m->k.dir, true);
	uint8_t b[RECORD_HEAD];
	struct segment_head h;
	struct record r;
	uint64_t off = SEGMENT_HEAD;

	assert_int_equal(store_view.read(s, 1, STORE_LOG, 0, b, SEGMENT_HEAD), SEGMENT_HEAD);
	assert_int_equal(segment_head_get(b, &h), 0);
	for (size_t i = 0; i < MESSAGES; i++, off += record_len(&r)) {
		assert_int_equal(store_view.read(s, 1, STORE_LOG, off, b, RECORD_HEAD),
		    RECORD_HEAD);
		assert_int_equal(record_get(b, h.stamp, &r), 0);
		assert_memory_equal(r.id.b, m->id[i].b, MSGID_LEN);
		m->off[i] = off;
	}
	store_view.close(&s);
}

static void
fill(struct spool_made *m)
{
	for (size_t i = 0; i < MESSAGES; i++) {
		m->id[i] = kit_commit(&m->k, i % 2 ? "anna@example.it" : "mario@example.it",
		    1 + i % 3, LEG_PARKED, LEG_WAITING, 100 + 700 * i);
		if (i % 4 == 0)
			kit_set(&m->k, m->k.ref[0], LEG_HOLD, LEG_DELIVERED);
		if (i % 4 == 1) {
			const struct spool_leg now = { .state = LEG_WAITING, .attempts = 2,
			    .next_ms = 12345678, .code = 451 };
			assert_int_equal(spool_set(m->k.sp, m->k.ref[0], LEG_FORWARD, &now,
			    SLICE_LIT("token")), 0);
		}
	}
	kit_run(&m->k, 20);
}

/* A spool that was closed: sealed, with an index. */
static int
setup_sealed(void **state)
{
	struct spool_made *m = mem_new(sizeof(*m));

	kit_open(&m->k, NULL);
	fill(m);
	spool_close(&m->k.sp);
	find_records(m);
	*state = m;
	return 0;
}

/* One whose process died: no index. */
static int
setup_dead(void **state)
{
	struct spool_made *m = mem_new(sizeof(*m));
	int channel[2], status;

	kit_init(&m->k);
	assert_int_equal(pipe(channel), 0);
	pid_t pid = fork();
	if (pid == 0) {
		kit_start(&m->k, false);
		fill(m);
		_exit(write(channel[1], m->id, sizeof(m->id)) == (ssize_t)sizeof(m->id) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(channel[0], m->id, sizeof(m->id)), sizeof(m->id));
	close(channel[0]);
	close(channel[1]);
	find_records(m);
	*state = m;
	return 0;
}

static int
teardown(void **state)
{
	struct spool_made *m = *state;

	kit_fini(&m->k);
	free(m);
	return 0;
}

static int
open_part(const struct spool_made *m, uint64_t segment, const char *part)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/seg/%012llu.%s", m->k.dir, (unsigned long long)segment,
	    part);
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

static void
flip(const struct spool_made *m, const char *part, uint64_t off)
{
	int fd = open_part(m, 1, part);
	uint8_t c;

	assert_int_equal(pread(fd, &c, 1, (off_t)off), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, (off_t)off), 1);
	close(fd);
}

static off_t
size_of(const struct spool_made *m, const char *part)
{
	struct stat st;
	int fd = open_part(m, 1, part);

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_size;
}

static void
expect_whole(const struct spool_made *m, enum spool_index_state index)
{
	uint32_t before = fingerprint(&m->k);
	struct found r;

	verify(&m->k, false, &r);
	assert_int_equal(r.n, 0);
	assert_int_equal(r.nseg, 1);
	assert_int_equal(r.seg[0].segment, 1);
	assert_int_equal(r.seg[0].records, MESSAGES);
	assert_int_equal(r.seg[0].recipients, 39);
	assert_int_equal(r.seg[0].unsettled, 39);
	assert_int_equal(r.seg[0].progress, 10);
	assert_int_equal(r.seg[0].index, index);
	assert_int_equal(fingerprint(&m->k), before);
	verify(&m->k, true, &r);
	assert_int_equal(r.n, 0);
	assert_int_equal(r.seg[0].index, INDEX_UNCHECKED);
	assert_int_equal(r.seg[0].records, MESSAGES);
}

static void
test_sealed(void **state)
{
	expect_whole(*state, INDEX_GOOD);
}

static void
test_dead(void **state)
{
	expect_whole(*state, INDEX_ABSENT);
}

/* Each byte of one record, one after the other: always found, always there. */
static void
each_byte(struct spool_made *m, size_t which)
{
	uint64_t end = which + 1 < MESSAGES ? m->off[which + 1] : (uint64_t)size_of(m, "log");
	struct found r;

	for (uint64_t off = m->off[which]; off < end; off += off % 8 == 7 ? 17 : 1) {
		flip(m, "log", off);
		verify(&m->k, false, &r);
		flip(m, "log", off);
		if (r.damage == 0) {	/* the padding is nobody's */
			assert_true(end - off < 8);
			continue;
		}
		assert_int_equal(r.f[0].segment, 1);
		assert_int_equal(r.f[0].part, STORE_LOG);
		assert_true(r.f[0].off == m->off[which]);
		assert_true(r.f[0].damage);
		assert_int_equal(r.seg[0].records, MESSAGES - 1);
		assert_true(r.seg[0].damage >= 1);
	}
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 0);
}

static void
test_flipped_in_a_sealed_log(void **state)
{
	each_byte(*state, 5);
	each_byte(*state, MESSAGES - 1);
}

static void
test_flipped_in_a_dead_log(void **state)
{
	each_byte(*state, 0);
	each_byte(*state, 5);
}

/* The index tells whose record it was even when the record does not. */
static void
test_who_is_concerned(void **state)
{
	struct spool_made *m = *state;
	struct found r;

	flip(m, "log", m->off[5] + 17);		/* in the id, so the head is no head */
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_true(r.f[0].has_id && r.f[0].promised);
	assert_memory_equal(r.f[0].id.b, m->id[5].b, MSGID_LEN);
	assert_int_equal(r.f[0].recipients, 3);
	assert_int_equal(r.f[0].unsettled, 3);
	assert_true(r.f[0].len == m->off[6] - m->off[5]);
	assert_string_equal(r.f[0].what, "no record can be made out here");
}

static void
test_a_body(void **state)
{
	struct spool_made *m = *state;
	struct found r;

	flip(m, "log", m->off[8] - 200);	/* in the body of 7 */
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_string_equal(r.f[0].what, "the body does not match its checksum");
	assert_memory_equal(r.f[0].id.b, m->id[7].b, MSGID_LEN);
	assert_int_equal(r.f[0].recipients, 2);
}

/* A cut anywhere is a torn tail in a log without an index, damage in a sealed one. */
static void
test_cut(void **state)
{
	struct spool_made *m = *state;
	off_t size = size_of(m, "log");
	char *all = malloc((size_t)size);
	struct found r;
	int fd = open_part(m, 1, "log");
	char path[256];

	snprintf(path, sizeof(path), "%s/seg/000000000001.idx", m->k.dir);
	bool index = access(path, F_OK) == 0;
	assert_int_equal(pread(fd, all, (size_t)size, 0), size);
	/* Behind what later records say was synced; no progress speaks of the last one. */
	for (uint64_t off = m->off[MESSAGES - 1] + 1; off < (uint64_t)size; off += 97) {
		assert_int_equal(ftruncate(fd, (off_t)off), 0);
		verify(&m->k, false, &r);
		assert_true(r.n >= 1);
		assert_int_equal(r.damage > 0, index);
		assert_int_equal(r.seg[0].records, MESSAGES - 1);
		assert_int_equal(pwrite(fd, all, (size_t)size, 0), size);
	}
	close(fd);
	free(all);
}

static void
test_zeros(void **state)
{
	struct spool_made *m = *state;
	static const char zero[4096];
	struct found r;
	int fd = open_part(m, 1, "log");

	off_t end = size_of(m, "log");
	assert_int_equal(pwrite(fd, zero, 4096, end), 4096);
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.damage, 0);
	assert_int_equal(ftruncate(fd, end), 0);
	size_t len = (size_t)(m->off[2] - m->off[1]);
	assert_int_equal(pwrite(fd, zero, len, (off_t)m->off[1]), len);
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_true(r.f[0].damage && r.f[0].off == m->off[1] && r.f[0].len == len);
	assert_string_equal(r.f[0].what, "zeros where a record was");
	close(fd);
}

/* Every byte of the index and of the progress log, in steps: found or without meaning. */
static void
test_index_and_progress(void **state)
{
	struct spool_made *m = *state;
	static const char *const part[] = { "idx", "prg" };
	struct found r;

	for (int k = 0; k < 2; k++) {
		off_t size = size_of(m, part[k]);
		unsigned hits = 0, tries = 0;
		for (off_t off = 0; off < size; off += k == 0 ? 61 : 3) {
			flip(m, part[k], (uint64_t)off);
			verify(&m->k, false, &r);
			flip(m, part[k], (uint64_t)off);
			tries++;
			hits += r.n > 0;
			for (size_t i = 0; i < r.n; i++)
				assert_int_equal(r.f[i].part,
				    k == 0 ? STORE_INDEX : STORE_PROGRESS);
		}
		/* The head page of the index is mostly empty. */
		assert_true(hits >= tries / 2);
		assert_true(k == 0 || hits == tries);
	}
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 0);
}

/* An index that is whole in itself and wrong. */
static void
test_an_index_that_lies(void **state)
{
	struct spool_made *m = *state;
	uint8_t page[PAGE_BYTES];
	struct index_head h;
	struct entry e;
	struct found r;
	int fd = open_part(m, 1, "idx");

	assert_int_equal(pread(fd, page, PAGE_BYTES, 0), PAGE_BYTES);
	assert_int_equal(index_head_get(page, &h), 0);
	h.live--;
	index_head_put(page, &h);
	assert_int_equal(pwrite(fd, page, PAGE_BYTES, 0), PAGE_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 1);
	h.live++;
	index_head_put(page, &h);
	assert_int_equal(pwrite(fd, page, PAGE_BYTES, 0), PAGE_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 0);

	/* A leg that was parked is called delivered: a message would never be replayed. */
	assert_int_equal(pread(fd, page, PAGE_BYTES, PAGE_BYTES), PAGE_BYTES);
	entry_get(page + PAGE_HEAD + 4 * ENTRY_BYTES, &e);
	assert_int_equal(e.leg[LEG_HOLD].state, LEG_PARKED);
	e.leg[LEG_HOLD].state = LEG_DELIVERED;
	entry_put(page + PAGE_HEAD + 4 * ENTRY_BYTES, &e);
	page_put(page, h.stamp, 0, h.count);
	assert_int_equal(pwrite(fd, page, PAGE_BYTES, PAGE_BYTES), PAGE_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 1);
	assert_int_equal(r.f[0].off, PAGE_BYTES + PAGE_HEAD + 4 * ENTRY_BYTES);
	assert_memory_equal(r.f[0].id.b, e.id.b, MSGID_LEN);
	assert_int_equal(r.seg[0].index, INDEX_BAD);
	close(fd);
}

static void
rows_of(const struct spool_made *m, struct index_head *h, uint64_t *off, struct row *row)
{
	int fd = open_part(m, 1, "idx");
	uint8_t b[PAGE_BYTES];

	assert_int_equal(pread(fd, b, PAGE_BYTES, 0), PAGE_BYTES);
	assert_int_equal(index_head_get(b, h), 0);
	assert_int_equal(h->nrow, 1);
	*off = PAGE_BYTES * (1 + (h->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES);
	assert_int_equal(pread(fd, b, ROW_BYTES, (off_t)*off), ROW_BYTES);
	row_get(b, row);
	close(fd);
}

/* Killed inside a checkpoint: pages are there, then rows, the head is written last. */
static void
test_an_unfinished_checkpoint(void **state)
{
	struct spool_made *m = *state;
	uint8_t page[PAGE_BYTES];
	struct index_head h;
	struct found r;
	struct row row;
	uint64_t off;
	int fd = open_part(m, 1, "idx");

	/* The first one: no head yet. */
	rows_of(m, &h, &off, &row);
	memset(page, 0, sizeof(page));
	assert_int_equal(pwrite(fd, page, PAGE_BYTES, 0), PAGE_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.damage, 0);
	assert_int_equal(r.seg[0].index, INDEX_ABSENT);
	/* A later one: the head of the one before, with other sums, and less progress. */
	h.crc_rows ^= 1;
	h.live--;
	h.covered -= 64;
	index_head_put(page, &h);
	assert_int_equal(pwrite(fd, page, PAGE_BYTES, 0), PAGE_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.damage, 0);
	/* The same with sums of nothing: damage. */
	row.held_bytes++;
	row_put(page, &row);
	assert_int_equal(pwrite(fd, page, ROW_BYTES, (off_t)off), ROW_BYTES);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 1);
	assert_true(r.f[0].off == off);
	close(fd);
}

static void
test_missing_files(void **state)
{
	struct spool_made *m = *state;
	char path[256], away[300];
	struct found r;
	static const char *const part[] = { "log", "prg" };

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/seg/000000000001.%s", m->k.dir, part[i]);
		snprintf(away, sizeof(away), "%s/away", m->k.dir);
		assert_int_equal(rename(path, away), 0);
		verify(&m->k, false, &r);
		assert_true(r.damage >= 1);
		assert_int_equal(r.f[0].part, i == 0 ? STORE_LOG : STORE_PROGRESS);
		if (i == 0) {	/* the index knows what is lost */
			assert_int_equal(r.n, 2);
			assert_int_equal(r.f[0].recipients + r.f[1].recipients, 39);
			assert_int_equal(r.seg[0].records, 0);
		}
		assert_int_equal(rename(away, path), 0);
	}
	/* Without an index nothing is lost: it is not damage. */
	snprintf(path, sizeof(path), "%s/seg/000000000001.idx", m->k.dir);
	assert_int_equal(unlink(path), 0);
	expect_whole(m, INDEX_ABSENT);
}

/* A crash between the first and the second file of a new segment: nothing was in it.
 * The same log beside a progress log has lost what it had. */
static void
test_a_segment_that_was_being_made(void **state)
{
	struct spool_made *m = *state;
	char path[256], head[SEGMENT_HEAD];
	struct found r;
	int fd = open_part(m, 1, "log");

	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	close(fd);
	snprintf(path, sizeof(path), "%s/seg/000000000009.log", m->k.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	for (size_t n = 0; n <= sizeof(head); n += 8) {
		assert_int_equal(pwrite(fd, head, n, 0), n);
		verify(&m->k, false, &r);
		assert_int_equal(r.n, 0);
		assert_int_equal(r.nseg, 2);
	}
	close(fd);
	assert_int_equal(unlink(path), 0);
	fd = open_part(m, 1, "log");
	assert_int_equal(ftruncate(fd, 10), 0);
	close(fd);
	verify(&m->k, false, &r);
	assert_true(r.damage >= 1);
}

static void
test_swapped_and_strange_files(void **state)
{
	struct spool_made *m = *state;
	char a[256], b[256];
	struct found r;

	snprintf(a, sizeof(a), "%s/seg/000000000001.log", m->k.dir);
	snprintf(b, sizeof(b), "%s/seg/000000000007.log", m->k.dir);
	assert_int_equal(rename(a, b), 0);
	verify(&m->k, false, &r);
	assert_int_equal(r.nseg, 2);
	assert_int_equal(r.seg[0].segment, 7);	/* newest first */
	assert_true(r.seg[0].damage >= 1 && r.seg[1].damage >= 1);
	assert_int_equal(rename(b, a), 0);
	int fd = open(b, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "noise", 5), 5);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 0);		/* shorter than a head: a crash made it */
	char noise[4096];
	memset(noise, 'x', sizeof(noise));
	assert_int_equal(write(fd, noise, sizeof(noise)), sizeof(noise));
	verify(&m->k, false, &r);
	assert_true(r.damage >= 1);
	assert_int_equal(r.f[0].segment, 7);
	close(fd);
}

static void
test_totals(void **state)
{
	struct spool_made *m = *state;
	char path[256];
	struct found r;

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/totals.%c", m->k.dir, 'a' + i);
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, "broken", 6), 6);
		close(fd);
		verify(&m->k, false, &r);
		assert_int_equal(r.damage, 1);
		assert_int_equal(r.f[0].segment, 0);
	}
}

/* A void commit (the client was told 451) counts for nothing, in logs and index. */
static void
test_after_a_slow_disk(void **state)
{
	struct spool_made *m = mem_new(sizeof(*m));
	struct store_script script = { .n = 1 };
	struct found r;

	(void)state;
	script.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_PASS, .skip = 1,
	    .count = 1, .delay_ms = 4500 };
	kit_open(&m->k, &script);
	kit_commit(&m->k, "mario@example.it", 1, LEG_PARKED, LEG_ABSENT, 500);
	kit_commit(&m->k, "mario@example.it", 1, LEG_PARKED, LEG_ABSENT, 500);
	assert_int_equal(m->k.last, COMMIT_ERROR);
	kit_run(&m->k, 1500);
	kit_commit(&m->k, "mario@example.it", 1, LEG_PARKED, LEG_ABSENT, 500);
	kit_run(&m->k, 20);
	spool_close(&m->k.sp);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 0);
	uint64_t recipients = 0;
	for (size_t i = 0; i < r.nseg; i++)
		recipients += r.seg[i].recipients;
	assert_int_equal(recipients, 2);
	kit_fini(&m->k);
	free(m);
}

/* An append that failed half-way: the rest of it is written in the next segment. */
static void
test_after_a_failed_append(void **state)
{
	struct spool_made *m = mem_new(sizeof(*m));
	struct store_script script = { .n = 1 };
	struct found r;

	(void)state;
	script.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_TORN, .skip = 1,
	    .count = 1, .bytes = 300, .result = STORE_IO_ERROR };
	kit_open(&m->k, &script);
	for (int i = 0; i < 4; i++)
		kit_commit(&m->k, "mario@example.it", 1, LEG_PARKED, LEG_ABSENT, 500);
	assert_int_equal(m->k.ok, 4);
	kit_run(&m->k, 20);
	spool_close(&m->k.sp);
	verify(&m->k, false, &r);
	assert_int_equal(r.damage, 0);
	uint64_t recipients = 0;
	for (size_t i = 0; i < r.nseg; i++)
		recipients += r.seg[i].recipients;
	assert_int_equal(recipients, 4);
	kit_fini(&m->k);
	free(m);
}

/* Random damage: it ends, and finds something whenever a record is not as it was. */
static void
test_random_damage(void **state)
{
	struct spool_made *m = *state;
	off_t size = size_of(m, "log");
	char *all = malloc((size_t)size), noise[64];
	int fd = open_part(m, 1, "log");
	struct found r;
	uint32_t x = 99;

	assert_int_equal(pread(fd, all, (size_t)size, 0), size);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < 3; i++) {
			x = x * 1664525u + 1013904223u;
			off_t off = (off_t)(x >> 8) % (size - 64);
			memset(noise, (int)(x >> 24), sizeof(noise));
			assert_int_equal(pwrite(fd, noise, x % 64, off), x % 64);
		}
		verify(&m->k, false, &r);
		assert_true(r.nseg == 1);
		assert_true(r.seg[0].records == MESSAGES || r.damage > 0);
		assert_int_equal(pwrite(fd, all, (size_t)size, 0), size);
	}
	verify(&m->k, false, &r);
	assert_int_equal(r.n, 0);
	close(fd);
	free(all);
}

/* The view beside the local store: the same bytes, and what would write is refused. */
static void
on_done(void *arg, enum store_result r)
{
	*(enum store_result *)arg = r;
}

static void
test_the_view_writes_nothing(void **state)
{
	struct spool_made *m = *state;
	struct store *s = store_view.open(NULL, m->k.dir, true);
	enum store_result r = STORE_OK;
	uint32_t before = fingerprint(&m->k);
	const struct store_piece piece = { .bytes = SLICE_LIT("x"), .fd = -1 };

	store_view.create(s, 9, STORE_HELD, SLICE_LIT("x"), 1, on_done, &r);
	assert_int_equal(r, STORE_DOWN);
	store_view.append(s, 1, 64, &piece, 1, on_done, &(enum store_result){ STORE_OK });
	store_view.progress(s, 1, 64, SLICE_LIT("x"), true, on_done, &r);
	store_view.index(s, 1, NULL, 0, 0, on_done, &r);
	store_view.seal(s, 1, 64, on_done, &r);
	store_view.drop(s, 1, on_done, &r);
	store_view.put_meta(s, "totals.a", SLICE_LIT("x"), on_done, &r);
	assert_int_equal(store_view.set_aside(s, "x", SLICE_LIT("x")), -1);
	assert_int_equal(fingerprint(&m->k), before);
	store_view.close(&s);
	assert_null(s);
}

/* A whole spool over the view: every message readable, nothing written. */
static void
test_a_spool_over_the_view(void **state)
{
	struct spool_made *m = *state;
	uint32_t before = fingerprint(&m->k);
	struct spool_ref ref[4];

	m->k.ops = &store_view;
	kit_start(&m->k, true);
	for (size_t i = 0; i < MESSAGES; i++) {
		assert_int_equal(spool_find(m->k.sp, m->id[i], ref, 4), 1 + i % 3);
		kit_check_message(&m->k, ref[0], m->id[i], 100 + 700 * i);
	}
	kit_run(&m->k, 20);
	spool_close(&m->k.sp);
	assert_int_equal(fingerprint(&m->k), before);
}

#define SEALED(t)	cmocka_unit_test_setup_teardown(t, setup_sealed, teardown)
#define DEAD(t)		cmocka_unit_test_setup_teardown(t, setup_dead, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SEALED(test_sealed),
		DEAD(test_dead),
		SEALED(test_flipped_in_a_sealed_log),
		DEAD(test_flipped_in_a_dead_log),
		SEALED(test_who_is_concerned),
		SEALED(test_a_body),
		DEAD(test_a_body),
		SEALED(test_cut),
		DEAD(test_cut),
		SEALED(test_zeros),
		DEAD(test_zeros),
		SEALED(test_index_and_progress),
		SEALED(test_an_index_that_lies),
		SEALED(test_an_unfinished_checkpoint),
		SEALED(test_missing_files),
		SEALED(test_a_segment_that_was_being_made),
		DEAD(test_a_segment_that_was_being_made),
		SEALED(test_swapped_and_strange_files),
		SEALED(test_totals),
		cmocka_unit_test(test_after_a_slow_disk),
		cmocka_unit_test(test_after_a_failed_append),
		SEALED(test_random_damage),
		DEAD(test_random_damage),
		SEALED(test_the_view_writes_nothing),
		SEALED(test_a_spool_over_the_view),
		DEAD(test_a_spool_over_the_view),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
