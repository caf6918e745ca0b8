// SPDX-License-Identifier: Apache-2.0
/* The spool through its header, over the local store and the fake one. Design 5. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/queue/spool_kit.h"

static void
test_commit_read_restart(void **state)
{
	static const size_t size[] = { 0, 1, 7, 8, 500, 4096, 65535, 65536, 65537, 300000, 3 << 20 };
	enum { N = sizeof(size) / sizeof(size[0]) };
	struct spool_ref ref[N];
	struct msgid id[N];
	struct spool_entry e;
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	for (int i = 0; i < N; i++) {
		id[i] = kit_commit(&k, "a@example.it", 1, LEG_PARKED, LEG_WAITING, size[i]);
		assert_int_equal(k.last, COMMIT_OK);
		assert_int_equal(k.nref, 1);
		ref[i] = k.ref[0];
		kit_check_message(&k, ref[i], id[i], size[i]);
	}
	for (int round = 0; round < 2; round++) {
		kit_restart(&k);
		for (int i = 0; i < N; i++) {
			assert_int_equal(spool_get(k.sp, ref[i], &e), 0);
			assert_int_equal(e.leg[LEG_HOLD].state, LEG_PARKED);
			assert_int_equal(e.leg[LEG_FORWARD].state, LEG_WAITING);
			assert_int_equal(e.size, size[i]);
			assert_int_equal(e.triage, 2);
			assert_memory_equal(e.id.b, id[i].b, MSGID_LEN);
			kit_check_message(&k, ref[i], id[i], size[i]);
		}
	}
	kit_close(&k);
}

static void
test_recipients(void **state)
{
	struct spool_message m;
	struct envelope_rcpt r;
	struct spool_entry e;
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	struct msgid id = kit_commit(&k, "b@example.it", 40, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.nref, 40);
	kit_restart(&k);
	for (uint16_t i = 0; i < 40; i++) {
		assert_int_equal(spool_get(k.sp, k.ref[i], &e), 0);
		assert_int_equal(e.rcpt_index, i);
		kit_check_message(&k, k.ref[i], id, 100);
	}
	assert_int_equal(spool_read(k.sp, k.ref[3], false, &m), 0);
	assert_int_equal(m.body_fd, -1);
	assert_int_equal(spool_message_rcpt(&m, 3, &r), 0);
	assert_true(slice_eq(r.address, SLICE_LIT("3.b@example.it")));
	assert_int_equal(spool_message_rcpt(&m, 40, &r), -1);
	assert_int_equal(e.user, spool_user(SLICE_LIT("39.b@example.it")));
	assert_int_equal(e.group, spool_group(SLICE_LIT("example.it"), SLICE_NONE));
	spool_message_fini(&m);
	kit_close(&k);
}

/* A bad caller gets an error, never a broken spool. */
static void
test_bad_commits(void **state)
{
	const struct spool_birth birth = { LEG_PARKED, LEG_ABSENT }, odd = { 9, 0 };
	struct msgid id = msgid_new(0);
	struct buf env;
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	buf_init(&env, ENVELOPE_MAX);
	kit_envelope(&env, id, "c@example.it", 1, 3);
	int body = body_make(SLICE_LIT("abc")), open_memfd = body_create();
	const struct {
		struct slice env;
		int fd;
		const struct spool_birth *birth;
		size_t nrcpt;
	} bad[] = {
		{ buf_slice(&env), -1, &birth, 1 },
		{ buf_slice(&env), open_memfd, &birth, 1 },	/* not sealed */
		{ buf_slice(&env), body, &odd, 1 },
		{ buf_slice(&env), body, &birth, 0 },
		{ buf_slice(&env), body, &birth, 2 },	/* one recipient in it */
		{ SLICE_LIT("not an envelope"), body, &birth, 1 },
		{ SLICE_NONE, body, &birth, 1 },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spool_commit(k.sp, bad[i].env, bad[i].fd, bad[i].birth, bad[i].nrcpt, kit_done, &k);
		assert_int_equal(k.done, i);	/* never inside the call */
		kit_until(&k, (unsigned)i + 1);
		assert_int_equal(k.last, COMMIT_ERROR);
	}
	struct spool_sums t;
	spool_total(k.sp, 0, &t);
	assert_int_equal(t.received, 0);
	close(body);
	close(open_memfd);
	buf_fini(&env);
	kit_close(&k);
}

static void
test_notes(void **state)
{
	const struct {
		enum leg_kind leg;
		const char *note;
	} step[] = {
		{ LEG_FORWARD, "token-aaaaaaaaaaaaaaaaaa" }, { LEG_HOLD, "451 later" },
		{ LEG_HOLD, "452 full" }, { LEG_HOLD, NULL }, { LEG_FORWARD, NULL },
		{ LEG_FORWARD, "token-bbbbbbbbbbbbbbbbbb" }, { LEG_HOLD, "done" },
	};
	const char *want[LEG_KIND_MAX] = { "", "" };
	char got[128];
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	kit_commit(&k, "d@example.it", 2, LEG_PARKED, LEG_WAITING, 100);
	struct spool_ref ref = k.ref[1];
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		const struct spool_leg now = { .state = LEG_WAITING, .attempts = (uint16_t)(i + 1),
		    .next_ms = (int64_t)i * 1000, .code = 451 };
		assert_int_equal(spool_set(k.sp, ref, step[i].leg, &now, slice_str(step[i].note)), 0);
		if (step[i].note != NULL)
			want[step[i].leg] = step[i].note;
		/* from the buffer, from the file, after a restart */
		for (int how = 0; how < 3; how++) {
			if (how == 1)
				kit_run(&k, 5);
			if (how == 2 && i % 3 == 2)
				kit_restart(&k);
			for (int l = 0; l < LEG_KIND_MAX; l++) {
				spool_note(k.sp, ref, (enum leg_kind)l, got, sizeof(got));
				assert_string_equal(got, want[l]);
			}
			spool_note(k.sp, k.ref[0], LEG_HOLD, got, sizeof(got));
			assert_string_equal(got, "");
		}
	}
	struct spool_entry e;
	assert_int_equal(spool_get(k.sp, ref, &e), 0);
	assert_int_equal(e.leg[LEG_HOLD].attempts, 7);
	assert_int_equal(e.leg[LEG_HOLD].code, 451);
	assert_int_equal(e.leg[LEG_FORWARD].next_ms, 5000);
	kit_close(&k);
}

/* Many commits that wait together share a few syncs. */
static void
test_group_commit(void **state)
{
	enum { N = 400 };
	struct spool_status st;
	struct statfs fs;
	struct kit k;

	(void)state;
	kit_init_at(&k, "/tmp");
	if (statfs(k.dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC) {
		kit_fini(&k);
		skip();		/* where a sync costs nothing nobody waits for it */
	}
	kit_start(&k, false);
	kit_commit(&k, "warm@example.it", 1, LEG_PARKED, LEG_ABSENT, 10);
	spool_status(k.sp, &st);
	uint64_t before = st.syncs;
	const struct spool_birth birth = { LEG_PARKED, LEG_ABSENT };
	int body = body_make(SLICE_LIT("Subject: hello\r\n\r\nhello\r\n"));
	struct buf env;
	buf_init(&env, ENVELOPE_MAX);
	kit_envelope(&env, msgid_new(0), "e@example.it", 1, 25);
	for (int i = 0; i < N; i++)
		spool_commit(k.sp, buf_slice(&env), body, &birth, 1, kit_done, &k);
	kit_until(&k, N + 1);
	assert_int_equal(k.ok, N + 1);
	buf_fini(&env);
	close(body);
	spool_status(k.sp, &st);
	assert_true(st.syncs - before <= N / 4);
	assert_int_equal(st.commits, N + 1);
	kit_close(&k);
}

static unsigned
reads(const struct store_script *s)
{
	return s->calls[FAKE_READ] + s->calls[FAKE_READ_BODY];
}

/* A fresh message does not touch the disk; an old one comes from it. */
static void
test_cache(void **state)
{
	struct store_script s = { 0 };
	struct kit k;

	(void)state;
	kit_open(&k, &s);
	struct msgid id = kit_commit(&k, "f@example.it", 1, LEG_PARKED, LEG_WAITING, 2000);
	unsigned before = reads(&s);
	kit_check_message(&k, k.ref[0], id, 2000);
	assert_int_equal(reads(&s), before);
	kit_restart(&k);
	before = reads(&s);
	kit_check_message(&k, k.ref[0], id, 2000);
	assert_true(reads(&s) > before);
	kit_close(&k);
}

/* What is kept of fresh messages does not use up the descriptors. */
static void
test_few_descriptors(void **state)
{
	struct rlimit old, few;
	struct msgid id;
	struct kit k;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 80;
	kit_open(&k, NULL);	/* would keep 4096 */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < 200; i++) {
		id = kit_commit(&k, "s@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
		assert_int_equal(k.last, COMMIT_OK);
	}
	kit_check_message(&k, k.ref[0], id, 100);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	kit_close(&k);
}

/* Below the reserve mail gets 452 before anything is written; it resumes by itself. */
static void
test_water_mark(void **state)
{
	struct store_script s = { .bytes_free = 100 << 20 };
	struct spool_status st;
	struct kit k;

	(void)state;
	kit_init(&k);
	k.conf.disk_reserve = 50 << 20;
	k.ops = &store_fake;
	store_fake_where(&s, &store_local, k.dir, k.where, sizeof(k.where));
	kit_start(&k, false);
	kit_commit(&k, "g@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_OK);
	s.bytes_free = 40 << 20;
	kit_run(&k, 1100);
	unsigned appends = s.calls[FAKE_APPEND];
	kit_commit(&k, "g@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_FULL);
	assert_int_equal(s.calls[FAKE_APPEND], appends);
	spool_status(k.sp, &st);
	assert_true(st.full);
	/* what is held goes on */
	kit_set(&k, k.ref[0], LEG_HOLD, LEG_DELIVERED);
	s.bytes_free = 60 << 20;
	kit_run(&k, 1100);
	kit_commit(&k, "g@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_OK);
	kit_close(&k);
}

/* One kind of trouble with appends, what the sender hears, and what is there at the end. */
static void
test_append_faults(void **state)
{
	static const struct {
		const char *name;
		enum fake_act act;
		enum store_result result;
		unsigned count;
		enum queue_commit_status first, then;	/* then: after the breaker */
	} row[] = {
		{ "full", FAKE_REFUSE, STORE_FULL, 1, COMMIT_FULL, COMMIT_OK },
		{ "io once", FAKE_REFUSE, STORE_IO_ERROR, 1, COMMIT_OK, COMMIT_OK },
		{ "unknown but done", FAKE_DONE, STORE_UNKNOWN, 1, COMMIT_OK, COMMIT_OK },
		{ "torn", FAKE_TORN, STORE_IO_ERROR, 1, COMMIT_OK, COMMIT_OK },
		{ "down", FAKE_REFUSE, STORE_DOWN, 1, COMMIT_OK, COMMIT_OK },
		/* the retry is the second append: the abandon record comes first */
		{ "io for long", FAKE_REFUSE, STORE_IO_ERROR, 3, COMMIT_ERROR, COMMIT_OK },
		{ "unknown for long", FAKE_DONE, STORE_UNKNOWN, 3, COMMIT_ERROR, COMMIT_OK },
		{ "fenced", FAKE_REFUSE, STORE_FENCED, 1, COMMIT_ERROR, COMMIT_ERROR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct store_script s = { 0 };
		struct spool_sums t;
		struct kit k;
		uint64_t acked = 1;
		kit_open(&k, &s);
		struct msgid id0 = kit_commit(&k, "h@example.it", 1, LEG_PARKED, LEG_ABSENT, 700);
		struct spool_ref ref0 = k.ref[0];
		s.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = row[i].act,
		    .result = row[i].result, .count = row[i].count, .bytes = 100 };
		s.n = 1;
		kit_commit(&k, "h@example.it", 1, LEG_PARKED, LEG_ABSENT, 900);
		assert_int_equal(k.last, row[i].first);
		acked += k.last == COMMIT_OK;
		kit_run(&k, row[i].first == COMMIT_ERROR ? 1100 : 10);
		struct msgid id1 = kit_commit(&k, "h@example.it", 1, LEG_PARKED, LEG_ABSENT, 800);
		assert_int_equal(k.last, row[i].then);
		acked += k.last == COMMIT_OK;
		struct spool_ref ref1 = k.ref[0];
		bool there = k.last == COMMIT_OK;
		for (int round = 0; round < 2; round++) {
			spool_total(k.sp, 0, &t);
			assert_int_equal(t.received, acked);
			kit_check_balance(&t);
			kit_check_message(&k, ref0, id0, 700);
			if (there)
				kit_check_message(&k, ref1, id1, 800);
			kit_restart(&k);
		}
		kit_close(&k);
	}
}

/* A disk that does not answer: 451 in time, and the late record is void. */
static void
test_hang(void **state)
{
	struct store_script s = { 0 };
	struct spool_sums t;
	struct kit k;

	(void)state;
	kit_open(&k, &s);
	kit_commit(&k, "i@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	s.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_HANG, .count = 2 };
	s.n = 1;
	int64_t start = clock_mono_us();
	kit_send(&k, "i@example.it", 3, LEG_PARKED, LEG_ABSENT, 100, kit_done, &k);
	kit_run(&k, 100);
	assert_int_equal(k.done, 1);
	kit_send(&k, "i@example.it", 1, LEG_PARKED, LEG_ABSENT, 100, kit_done, &k);
	while (k.done < 3 && clock_mono_us() - start < 10000000)
		kit_run(&k, 50);
	assert_int_equal(k.done, 3);
	assert_int_equal(k.last, COMMIT_ERROR);
	assert_true(clock_mono_us() - start < 5000000);
	s.release = true;
	kit_run(&k, 50);
	kit_commit(&k, "i@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_OK);
	for (int round = 0; round < 2; round++) {
		spool_total(k.sp, 0, &t);
		assert_int_equal(t.received, 2);
		assert_int_equal(t.held, 2);
		kit_restart(&k);
	}
	kit_close(&k);
}

static int
count_files(const struct kit *k, const char *sub)
{
	char path[128];
	int n = 0;

	snprintf(path, sizeof(path), "%s/%s", k->dir, sub);
	DIR *d = opendir(path);
	if (d == NULL)
		return 0;
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void
wait_gone(struct kit *k, int files)
{
	for (int i = 0; i < 100 && count_files(k, "seg") > files; i++)
		kit_run(k, 50);
	assert_true(count_files(k, "seg") <= files);
}

/* Settled segments go, what they knew stays in the balance. */
static void
test_drop_and_totals(void **state)
{
	enum { N = 60 };
	struct spool_ref ref[N];
	struct spool_sums t;
	struct spool_entry e;
	struct kit k;

	(void)state;
	kit_init(&k);
	k.conf.segment_size = 64 * 1024;
	kit_start(&k, false);
	for (int i = 0; i < N; i++) {
		kit_commit(&k, i % 2 ? "j@example.it" : "j@example.net", 1, LEG_WAITING,
		    LEG_ABSENT, 10000);
		ref[i] = k.ref[0];
	}
	assert_true(count_files(&k, "seg") > 20);
	for (int i = 0; i < N; i++)
		kit_set(&k, ref[i], LEG_HOLD, i % 3 == 0 ? LEG_FAILED : LEG_DELIVERED);
	wait_gone(&k, 2);	/* the open one */
	assert_int_equal(spool_get(k.sp, ref[0], &e), -1);
	assert_int_equal(spool_set(k.sp, ref[0], LEG_HOLD, &e.leg[0], SLICE_NONE), -1);
	for (int round = 0; round < 3; round++) {
		spool_total(k.sp, 0, &t);
		assert_int_equal(t.received, N);
		assert_int_equal(t.bounced, N / 3);
		assert_int_equal(t.replayed, N - N / 3);
		assert_int_equal(t.held_bytes, 0);
		spool_total(k.sp, spool_group(SLICE_LIT("example.net"), SLICE_NONE), &t);
		assert_int_equal(t.received, N / 2);
		kit_check_balance(&t);
		kit_restart(&k);
	}
	wait_gone(&k, 0);
	kit_close(&k);
}

struct seen {
	unsigned n;
	uint64_t last_seg;
	uint32_t last_entry;
	bool sorted;
	unsigned stop_after;
};

static bool
on_seen(void *arg, const struct spool_entry *e)
{
	struct seen *s = arg;

	if (s->n > 0 && (e->ref.segment < s->last_seg ||
	    (e->ref.segment == s->last_seg && e->ref.entry <= s->last_entry)))
		s->sorted = false;
	s->last_seg = e->ref.segment;
	s->last_entry = e->ref.entry;
	return ++s->n != s->stop_after;
}

static unsigned
scan_all(struct kit *k, const struct spool_filter *f, size_t budget)
{
	struct seen s = { .sorted = true };
	struct spool_cursor c = { 0, 0 };
	bool end = false;

	for (int i = 0; i < 100000 && !end; i++) {
		size_t n = spool_scan(k->sp, &c, f, budget, on_seen, &s, &end);
		assert_true(n <= budget || n - budget <= SPOOL_TABLE_COST);
	}
	assert_true(end);
	assert_true(s.sorted);
	return s.n;
}

static void
test_scan(void **state)
{
	enum { N = 300 };
	const struct spool_filter any = { .due_ms = INT64_MAX };
	struct spool_filter f;
	struct spool_ref ref[N];
	struct kit k;

	(void)state;
	kit_init(&k);
	k.conf.segment_size = 64 * 1024;
	kit_start(&k, false);
	for (int i = 0; i < N; i++) {
		kit_commit(&k, i % 5 == 0 ? "k@example.net" : "k@example.it", 1,
		    i % 2 ? LEG_PARKED : LEG_WAITING, LEG_PARKED, 2000);
		ref[i] = k.ref[0];
	}
	for (int round = 0; round < 2; round++) {
		assert_int_equal(scan_all(&k, &any, 7), N);
		assert_int_equal(scan_all(&k, &any, 100000), N);
		f = any;
		f.group = spool_group(SLICE_LIT("example.net"), SLICE_NONE);
		assert_int_equal(scan_all(&k, &f, 50), N / 5);
		f = any;
		f.user = spool_user(SLICE_LIT("k@example.it"));
		assert_int_equal(scan_all(&k, &f, 50), N - N / 5);
		f = any;
		f.states[LEG_HOLD] = 1u << LEG_PARKED;
		assert_int_equal(scan_all(&k, &f, 50), N / 2);
		f.states[LEG_FORWARD] = 1u << LEG_PARKED | 1u << LEG_FAILED;
		assert_int_equal(scan_all(&k, &f, 50), N / 2);
		f.states[LEG_FORWARD] = 1u << LEG_DELIVERED;
		assert_int_equal(scan_all(&k, &f, 50), 0);
		kit_restart(&k);
	}
	/* due times: 30 later, the others stay at 0 */
	for (int i = 0; i < 60; i += 2) {
		const struct spool_leg later = { .state = LEG_WAITING, .next_ms = 1000 + i };
		assert_int_equal(spool_set(k.sp, ref[i], LEG_HOLD, &later, SLICE_NONE), 0);
	}
	for (int round = 0; round < 2; round++) {
		f = any;
		f.states[LEG_HOLD] = 1u << LEG_WAITING;
		f.due_ms = 999;
		assert_int_equal(spool_next_due(k.sp, LEG_HOLD), 0);
		assert_int_equal(scan_all(&k, &f, 50), N / 2 - 30);
		f.due_ms = 1028;
		assert_int_equal(scan_all(&k, &f, 50), N / 2 - 15);
		f.due_ms = INT64_MAX;
		assert_int_equal(scan_all(&k, &f, 50), N / 2);
		kit_restart(&k);
	}
	for (int i = 60; i < N; i += 2)
		kit_set(&k, ref[i], LEG_HOLD, LEG_DELIVERED);
	/* the bound is a lower one, and settles on the truth when asked again */
	int64_t due = 0;
	for (int i = 0; i < 100; i++)
		due = spool_next_due(k.sp, LEG_HOLD);
	assert_int_equal(due, 1000);
	assert_int_equal(spool_next_due(k.sp, LEG_FORWARD), INT64_MAX);
	kit_close(&k);
}

/* A cursor at the end sees what comes later, and survives drops. */
static void
test_scan_resumes(void **state)
{
	const struct spool_filter any = { .due_ms = INT64_MAX };
	struct spool_cursor c = { 0, 0 };
	struct spool_ref ref[30];
	bool end;
	struct kit k;

	(void)state;
	kit_init(&k);
	k.conf.segment_size = 64 * 1024;
	kit_start(&k, false);
	for (int i = 0; i < 30; i++) {
		kit_commit(&k, "l@example.it", 1, LEG_WAITING, LEG_ABSENT, 10000);
		ref[i] = k.ref[0];
	}
	struct seen s = { .sorted = true, .stop_after = 12 };
	spool_scan(k.sp, &c, &any, 1000, on_seen, &s, &end);
	assert_int_equal(s.n, 12);
	assert_false(end);
	for (int i = 0; i < 20; i++)
		kit_set(&k, ref[i], LEG_HOLD, LEG_DELIVERED);
	kit_run(&k, 1500);
	struct seen rest = { .sorted = true };
	spool_scan(k.sp, &c, &any, 1000, on_seen, &rest, &end);
	assert_true(end);
	assert_true(rest.n >= 10 && rest.n <= 18);
	struct seen none = { .sorted = true }, late = { .sorted = true };
	spool_scan(k.sp, &c, &any, 1000, on_seen, &none, &end);
	assert_true(end);
	assert_int_equal(none.n, 0);
	kit_commit(&k, "l@example.it", 1, LEG_PARKED, LEG_ABSENT, 10);
	kit_commit(&k, "l@example.it", 1, LEG_WAITING, LEG_ABSENT, 10);
	spool_scan(k.sp, &c, &any, 1000, on_seen, &late, &end);
	assert_int_equal(late.n, 2);
	kit_close(&k);
}

static void
test_find(void **state)
{
	enum { N = 100 };
	struct spool_ref ref[N], got[4];
	struct msgid id[N];
	struct kit k;

	(void)state;
	kit_init(&k);
	k.conf.segment_size = 64 * 1024;
	kit_start(&k, false);
	for (int i = 0; i < N; i++) {
		id[i] = kit_commit(&k, "m@example.it", 2, LEG_PARKED, LEG_ABSENT, 3000);
		ref[i] = k.ref[0];
	}
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			assert_int_equal(spool_find(k.sp, id[i], got, 4), 2);
			assert_int_equal(got[0].segment, ref[i].segment);
			assert_int_equal(got[0].entry, ref[i].entry);
			assert_int_equal(got[1].entry, ref[i].entry + 1);
		}
		assert_int_equal(spool_find(k.sp, msgid_new(1), got, 4), 0);
		assert_int_equal(spool_find(k.sp, id[0], got, 1), 1);
		kit_restart(&k);
	}
	kit_close(&k);
}

static void
test_lock_and_read_only(void **state)
{
	struct spool_status st;
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	struct msgid id = kit_commit(&k, "n@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_null(spool_open(k.loop, &k.conf, k.ops, k.where, false));
	assert_null(spool_open(k.loop, &k.conf, k.ops, k.where, true));
	spool_status(k.sp, &st);
	assert_true(st.oldest_ms > 0);
	spool_close(&k.sp);
	kit_start(&k, true);
	kit_check_message(&k, k.ref[0], id, 100);
	const struct spool_leg now = { .state = LEG_DELIVERED };
	assert_int_equal(spool_set(k.sp, k.ref[0], LEG_HOLD, &now, SLICE_NONE), -1);
	struct spool_ref ref = k.ref[0];
	kit_commit(&k, "n@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_ERROR);
	spool_close(&k.sp);
	kit_start(&k, false);
	kit_check_message(&k, ref, id, 100);
	kit_close(&k);
}

static void
test_where_fd(void **state)
{
	struct kit k;

	(void)state;
	kit_init(&k);
	int fd = open(k.dir, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	snprintf(k.where, sizeof(k.where), "fd:%d", fd);
	kit_start(&k, false);
	kit_commit(&k, "o@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	assert_int_equal(k.last, COMMIT_OK);
	spool_close(&k.sp);
	close(fd);
	snprintf(k.where, sizeof(k.where), "fd:9999");
	assert_null(spool_open(k.loop, &k.conf, k.ops, k.where, false));
	kit_fini(&k);
}

/* Damage found when reading: nothing is handed out, the bytes are kept, the legs
 * are failed, the others live. */
static void
test_damage_on_read(void **state)
{
	struct spool_ref ref[3];
	struct spool_message m;
	struct spool_entry e;
	struct spool_sums t;
	struct msgid id[3];
	char path[128], note[128];
	struct kit k;

	(void)state;
	kit_open(&k, NULL);
	for (int i = 0; i < 3; i++) {
		id[i] = kit_commit(&k, "p@example.it", 2, LEG_PARKED, LEG_WAITING, 5000);
		ref[i] = k.ref[0];
	}
	spool_close(&k.sp);
	snprintf(path, sizeof(path), "%s/seg/000000000001.log", k.dir);
	int fd = open(path, O_RDWR);
	struct stat st;
	char c;
	assert_int_equal(fstat(fd, &st), 0);
	off_t at = st.st_size / 2;	/* in the body of the second */
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
	kit_start(&k, false);
	kit_check_message(&k, ref[0], id[0], 5000);
	assert_int_equal(spool_read(k.sp, ref[1], true, &m), -1);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(spool_get(k.sp, (struct spool_ref){ 1, ref[1].entry + i }, &e), 0);
		assert_int_equal(e.leg[LEG_HOLD].state, LEG_FAILED);
		assert_int_equal(e.leg[LEG_FORWARD].state, LEG_FAILED);
		spool_note(k.sp, e.ref, LEG_HOLD, note, sizeof(note));
		assert_string_equal(note, "damaged");
	}
	kit_check_message(&k, ref[2], id[2], 5000);
	spool_total(k.sp, 0, &t);
	assert_int_equal(t.received, 6);
	assert_int_equal(t.bounced, 2);
	kit_check_balance(&t);
	assert_int_equal(count_files(&k, "damaged"), 1);
	kit_close(&k);
}

/* A disk that cannot read right now is not damage: the leg waits. */
static void
test_read_error_is_not_damage(void **state)
{
	struct store_script s = { 0 };
	struct spool_message m;
	struct spool_entry e;
	struct kit k;

	(void)state;
	kit_open(&k, &s);
	struct msgid id = kit_commit(&k, "q@example.it", 1, LEG_PARKED, LEG_WAITING, 5000);
	kit_restart(&k);
	struct spool_ref ref = k.ref[0];
	assert_int_equal(spool_get(k.sp, ref, &e), 0);
	s.rule[0] = (struct fake_rule){ .op = FAKE_READ_BODY, .count = 1 };
	s.n = 1;
	assert_int_equal(spool_read(k.sp, ref, true, &m), -1);
	assert_int_equal(spool_get(k.sp, ref, &e), 0);
	assert_int_equal(e.leg[LEG_FORWARD].state, LEG_WAITING);
	assert_true(e.leg[LEG_FORWARD].next_ms > clock_wall_ms() + 30000);
	kit_check_message(&k, ref, id, 5000);
	kit_close(&k);
}

/* Progress, sealing, checkpoints and drops fail for a while: nothing is lost and
 * it is made up for. */
/* A disk that reads nothing for a while: it is not asked a thousand times, and what
 * it could not say is not taken for empty afterwards. */
static void
test_read_errors_pass(void **state)
{
	static const unsigned skip[] = { 0, 1 };	/* reads that still work the second time */
	const struct spool_filter all = { .due_ms = INT64_MAX };
	struct store_script s = { 0 };
	struct kit k;

	(void)state;
	for (size_t i = 0; i < sizeof(skip) / sizeof(skip[0]); i++) {
		s.n = 0;
		kit_open(&k, &s);
		for (int m = 0; m < 200; m++)
			kit_commit(&k, "e@example.it", 1, LEG_PARKED, LEG_ABSENT, 3000);
		kit_restart(&k);
		s.rule[0] = (struct fake_rule){ .op = FAKE_READ, .act = FAKE_REFUSE };
		s.n = 1;
		unsigned before = reads(&s);
		for (int lap = 0; lap < 50; lap++)
			assert_int_equal(scan_all(&k, &all, SIZE_MAX), 0);
		assert_true(reads(&s) - before < 20);
		s.rule[0].skip = skip[i];
		s.rule[0].hits = 0;
		kit_run(&k, 1100);
		scan_all(&k, &all, SIZE_MAX);
		s.n = 0;
		kit_run(&k, 1100);
		assert_int_equal(scan_all(&k, &all, SIZE_MAX), 200);
		kit_restart(&k);
		assert_int_equal(scan_all(&k, &all, SIZE_MAX), 200);
		kit_close(&k);
	}
}

static void
test_housekeeping_faults(void **state)
{
	static const enum fake_op op[] = { FAKE_PROGRESS, FAKE_INDEX, FAKE_SEAL, FAKE_DROP,
	    FAKE_META, FAKE_CREATE };

	(void)state;
	for (size_t o = 0; o < sizeof(op) / sizeof(op[0]); o++) {
		struct store_script s = { 0 };
		struct spool_ref ref[12];
		struct spool_sums t;
		struct kit k;
		kit_init(&k);
		k.conf.segment_size = 64 * 1024;
		k.ops = &store_fake;
		store_fake_where(&s, &store_local, k.dir, k.where, sizeof(k.where));
		kit_start(&k, false);
		s.rule[0] = (struct fake_rule){ .op = op[o], .act = FAKE_REFUSE, .count = 2,
		    .skip = op[o] == FAKE_CREATE ? 1 : 0, .result = STORE_IO_ERROR };
		s.n = 1;
		unsigned n = 0;
		for (int i = 0; i < 40 && n < 12; i++) {
			kit_commit(&k, "r@example.it", 1, LEG_WAITING, LEG_WAITING, 20000);
			if (k.last == COMMIT_OK)
				ref[n++] = k.ref[0];
			else
				kit_run(&k, 200);
		}
		assert_int_equal(n, 12);
		for (unsigned i = 0; i < n; i++) {
			kit_set(&k, ref[i], LEG_HOLD, LEG_DELIVERED);
			if (i < 9)
				kit_set(&k, ref[i], LEG_FORWARD, LEG_SKIPPED);
		}
		for (int i = 0; i < 40 && s.rule[0].hits < 3; i++)
			kit_run(&k, 100);
		for (int round = 0; round < 2; round++) {
			spool_total(k.sp, 0, &t);
			assert_int_equal(t.received, 12);
			assert_int_equal(t.replayed, 12);
			assert_int_equal(t.forward_waiting, 3);
			kit_restart(&k);
		}
		wait_gone(&k, 6);
		kit_close(&k);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit_read_restart),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_bad_commits),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_group_commit),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_few_descriptors),
		cmocka_unit_test(test_water_mark),
		cmocka_unit_test(test_append_faults),
		cmocka_unit_test(test_hang),
		cmocka_unit_test(test_drop_and_totals),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_resumes),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_lock_and_read_only),
		cmocka_unit_test(test_where_fd),
		cmocka_unit_test(test_damage_on_read),
		cmocka_unit_test(test_read_error_is_not_damage),
		cmocka_unit_test(test_read_errors_pass),
		cmocka_unit_test(test_housekeeping_faults),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
