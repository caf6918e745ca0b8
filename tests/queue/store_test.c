// SPDX-License-Identifier: Apache-2.0
/* struct store_ops: the local back end, and the fake one around it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/queue/spool_kit.h"

enum { DONE_MAX = 1024 };

struct log {			/* completions in the order they came */
	enum store_result r[DONE_MAX];
	unsigned tag[DONE_MAX];
	unsigned n;
};

struct one {
	struct log *log;
	unsigned tag;
};

static void
on_done(void *arg, enum store_result r)
{
	struct one *o = arg;

	assert_true(o->log->n < DONE_MAX);
	o->log->tag[o->log->n] = o->tag;
	o->log->r[o->log->n++] = r;
}

static struct store *
open_store(struct kit *k, const struct store_ops *ops)
{
	struct store *s = ops->open(k->loop, k->where, false);

	assert_non_null(s);
	return s;
}

/* Waits by turning the loop (threads) or by draining (no thread yet). */
static void
wait_for(struct kit *k, struct store *s, struct log *l, unsigned n, bool drain)
{
	if (drain)
		assert_int_equal(k->ops->drain(s, 5000), 0);
	for (int i = 0; i < 5000 && l->n < n; i++)
		kit_run(k, 1);
	assert_int_equal(l->n, n);
}

static void
test_log(void **state)
{
	static const char text[] = "0123456789abcdef";
	char got[64];

	(void)state;
	for (int drain = 0; drain < 2; drain++) {
		struct log l = { .n = 0 };
		struct one o = { &l, 1 };
		struct kit k;
		kit_init(&k);
		struct store *s = open_store(&k, k.ops);
		k.ops->create(s, 7, STORE_HELD, SLICE_LIT("HEAD"), 1 << 20, on_done, &o);
		assert_int_equal(l.n, 0);
		wait_for(&k, s, &l, 1, drain != 0);
		assert_int_equal(l.r[0], STORE_OK_LOCAL);
		int fd = body_make(SLICE_LIT(text));
		const struct store_piece p[3] = {
			{ SLICE_LIT("one "), -1, 0 }, { SLICE_NONE, fd, 10 },
			{ SLICE_LIT("!"), -1, 0 },
		};
		k.ops->append(s, 7, 4, p, 3, on_done, &o);
		k.ops->append(s, 7, 19, p, 1, on_done, &o);
		wait_for(&k, s, &l, 3, drain != 0);
		assert_int_equal(l.r[1], STORE_OK_LOCAL);
		assert_int_equal(l.r[2], STORE_OK_LOCAL);
		assert_int_equal(k.ops->size(s, 7, STORE_LOG), 23);
		assert_int_equal(k.ops->read(s, 7, STORE_LOG, 0, got, sizeof(got)), 23);
		assert_memory_equal(got, "HEADone 0123456789!one ", 23);
		assert_int_equal(k.ops->read(s, 7, STORE_LOG, 23, got, 5), 0);
		assert_int_equal(k.ops->read(s, 8, STORE_LOG, 0, got, 5), -1);
		int body = k.ops->read_body(s, 7, 8, 10);
		struct slice map;
		assert_int_equal(body_map(body, &map), 0);
		assert_int_equal(map.n, 10);
		assert_memory_equal(map.p, text, 10);
		body_unmap(&map);
		close(body);
		assert_int_equal(k.ops->read_body(s, 7, 20, 10), -1);	/* shorter than that */
		k.ops->seal(s, 7, 19, on_done, &o);
		wait_for(&k, s, &l, 4, drain != 0);
		assert_int_equal(k.ops->size(s, 7, STORE_LOG), 19);
		k.ops->drop(s, 7, on_done, &o);
		k.ops->drop(s, 7, on_done, &o);		/* nothing there: fine */
		wait_for(&k, s, &l, 6, drain != 0);
		assert_int_equal(l.r[4], STORE_OK_LOCAL);
		assert_int_equal(l.r[5], STORE_OK_LOCAL);
		assert_int_equal(k.ops->size(s, 7, STORE_LOG), -1);
		close(fd);
		k.ops->close(&s);
		kit_fini(&k);
	}
}

/* A body much larger than a chunk, between other appends. */
static void
test_large_body(void **state)
{
	enum { N = 5 * 1000 * 1000 + 3 };
	struct msgid id = msgid_new(0);
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	char *text = malloc(N), *got = malloc(N + 8);
	struct kit k;

	(void)state;
	kit_fill(text, N, id);
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	k.ops->create(s, 1, STORE_HELD, SLICE_NONE, 0, on_done, &o);
	wait_for(&k, s, &l, 1, false);
	int fd = body_make(slice_make(text, N));
	const struct store_piece small = { SLICE_LIT("aaaa"), -1, 0 };
	const struct store_piece large = { SLICE_NONE, fd, N };
	k.ops->append(s, 1, 0, &small, 1, on_done, &o);
	k.ops->append(s, 1, 4, &large, 1, on_done, &o);
	k.ops->append(s, 1, 4 + N, &small, 1, on_done, &o);
	wait_for(&k, s, &l, 4, false);
	assert_int_equal(k.ops->read(s, 1, STORE_LOG, 0, got, N + 8), N + 8);
	assert_memory_equal(got, "aaaa", 4);
	assert_memory_equal(got + 4, text, N);
	assert_memory_equal(got + 4 + N, "aaaa", 4);
	close(fd);
	k.ops->close(&s);
	free(text);
	free(got);
	kit_fini(&k);
}

/* What waits together is synced together, and completes in order. */
static void
test_group_commit(void **state)
{
	enum { N = 500 };	/* fewer than a batch holds */
	struct log l = { .n = 0 };
	struct one first = { &l, 0 }, o[N];
	struct store_health h;
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	k.ops->create(s, 1, STORE_HELD, SLICE_NONE, 0, on_done, &first);
	wait_for(&k, s, &l, 1, true);
	for (unsigned i = 0; i < N; i++) {
		const struct store_piece p = { SLICE_LIT("12345678"), -1, 0 };
		o[i] = (struct one){ &l, i + 1 };
		k.ops->append(s, 1, i * 8, &p, 1, on_done, &o[i]);
	}
	wait_for(&k, s, &l, N + 1, true);
	for (unsigned i = 0; i < l.n; i++) {
		assert_int_equal(l.tag[i], i);
		assert_int_equal(l.r[i], STORE_OK_LOCAL);
	}
	assert_int_equal(k.ops->health(s, &h), 0);
	assert_int_equal(h.syncs, 1);
	k.ops->close(&s);
	kit_fini(&k);
}

/* A log that failed takes no more; another one does. A limit on the file's size
 * plays the disk that is full (EFBIG). */
static void
test_failed_log(void **state)
{
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	struct store_health h;
	struct rlimit old, lim;
	char big[4096] = "x";
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	k.ops->create(s, 1, STORE_HELD, SLICE_NONE, 0, on_done, &o);
	k.ops->create(s, 2, STORE_HELD, SLICE_NONE, 0, on_done, &o);
	wait_for(&k, s, &l, 2, true);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim = old;
	lim.rlim_cur = 2000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	const struct store_piece large = { slice_make(big, sizeof(big)), -1, 0 };
	const struct store_piece small = { SLICE_LIT("12345678"), -1, 0 };
	k.ops->append(s, 1, 0, &large, 1, on_done, &o);
	wait_for(&k, s, &l, 3, true);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(l.r[2], STORE_FULL);
	k.ops->append(s, 1, 0, &small, 1, on_done, &o);
	k.ops->append(s, 2, 0, &small, 1, on_done, &o);
	k.ops->append(s, 3, 0, &small, 1, on_done, &o);	/* no such log */
	wait_for(&k, s, &l, 6, true);
	assert_int_equal(l.r[3], STORE_IO_ERROR);
	assert_int_equal(l.r[4], STORE_OK_LOCAL);
	assert_int_equal(l.r[5], STORE_IO_ERROR);
	assert_int_equal(k.ops->health(s, &h), 0);
	assert_int_equal(h.failures, 3);
	assert_true(h.bytes_free > 0);
	k.ops->close(&s);
	kit_fini(&k);
}

static void
test_index_and_progress(void **state)
{
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	char got[64];
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	k.ops->create(s, 1, STORE_RELAY, SLICE_LIT("HEAD"), 0, on_done, &o);
	k.ops->progress(s, 1, 4, SLICE_LIT("abcd"), false, on_done, &o);
	k.ops->progress(s, 1, 8, SLICE_NONE, true, on_done, &o);
	const struct store_span span[2] = { { 10, SLICE_LIT("xy") }, { 0, SLICE_LIT("pq") } };
	k.ops->index(s, 1, span, 2, 12, on_done, &o);
	wait_for(&k, s, &l, 4, false);
	assert_int_equal(k.ops->read(s, 1, STORE_PROGRESS, 0, got, sizeof(got)), 8);
	assert_memory_equal(got, "HEADabcd", 8);
	assert_int_equal(k.ops->read(s, 1, STORE_INDEX, 0, got, sizeof(got)), 12);
	assert_memory_equal(got, "pq\0\0\0\0\0\0\0\0xy", 12);
	k.ops->index(s, 1, span, 0, 5, on_done, &o);
	wait_for(&k, s, &l, 5, false);
	assert_int_equal(k.ops->size(s, 1, STORE_INDEX), 5);
	k.ops->close(&s);
	kit_fini(&k);
}

static void
test_meta(void **state)
{
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	struct buf b;
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	buf_init(&b, 10);
	assert_int_equal(k.ops->get_meta(s, "totals", &b), 1);
	k.ops->put_meta(s, "totals", SLICE_LIT("first"), on_done, &o);
	k.ops->put_meta(s, "totals", SLICE_LIT("second"), on_done, &o);
	k.ops->put_meta(s, "long", SLICE_LIT("more than ten bytes"), on_done, &o);
	wait_for(&k, s, &l, 3, false);
	assert_int_equal(k.ops->get_meta(s, "totals", &b), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("second")));
	buf_clear(&b);
	assert_int_equal(k.ops->get_meta(s, "long", &b), -1);
	assert_int_equal(k.ops->set_aside(s, "piece", SLICE_LIT("bytes")), 0);
	buf_fini(&b);
	k.ops->close(&s);
	kit_fini(&k);
}

static void
on_number(void *arg, uint64_t no)
{
	char *at = arg;

	snprintf(at + strlen(at), 200 - strlen(at), "%llu ", (unsigned long long)no);
}

/* Any part makes a segment; what is no part does not. */
static void
test_list(void **state)
{
	static const char *const name[] = { "000000000010.log", "000000000009.prg",
	    "000000000009.idx", "000000000011.tmp", "x.log", "00000000001a.log", "12.log",
	    "000000000000.log", "000000000002.idx" };
	char path[256], got[200] = "";
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(path, sizeof(path), "%s/seg/%s", k.dir, name[i]);
		int fd = open(path, O_CREAT | O_WRONLY, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(k.ops->list(s, on_number, got), 0);
	assert_string_equal(got, "2 9 10 ");
	k.ops->close(&s);
	kit_fini(&k);
}

static void
test_lock(void **state)
{
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	struct kit k;

	(void)state;
	kit_init(&k);
	assert_null(k.ops->open(k.loop, "/nonexistent/spool", false));
	assert_null(k.ops->open(k.loop, "fd:x", false));
	assert_null(k.ops->open(k.loop, k.where, true));	/* nothing there to read */
	struct store *s = open_store(&k, k.ops);
	assert_null(k.ops->open(k.loop, k.where, false));
	assert_null(k.ops->open(k.loop, k.where, true));
	k.ops->close(&s);
	assert_null(s);
	s = k.ops->open(k.loop, k.where, true);
	assert_non_null(s);
	k.ops->create(s, 1, STORE_HELD, SLICE_NONE, 0, on_done, &o);
	k.ops->drop(s, 1, on_done, &o);
	wait_for(&k, s, &l, 2, false);
	assert_int_equal(l.r[0], STORE_DOWN);
	assert_int_equal(l.r[1], STORE_DOWN);
	assert_int_equal(k.ops->set_aside(s, "a", SLICE_LIT("b")), -1);
	k.ops->close(&s);
	kit_fini(&k);
}

/* Many more segments than descriptors kept open. */
static void
test_many_files(void **state)
{
	enum { N = 300 };
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	char got[4];
	struct kit k;

	(void)state;
	kit_init(&k);
	struct store *s = open_store(&k, k.ops);
	for (unsigned i = 1; i <= N; i++)
		k.ops->create(s, i, STORE_HELD, SLICE_LIT("HEAD"), 0, on_done, &o);
	wait_for(&k, s, &l, N, false);
	for (int round = 0; round < 2; round++)
		for (unsigned i = 1; i <= N; i++)
			assert_int_equal(k.ops->read(s, i, STORE_LOG, 0, got, 4), 4);
	for (unsigned i = 1; i <= N; i++)
		k.ops->drop(s, i, on_done, &o);
	wait_for(&k, s, &l, 2 * N, false);
	k.ops->close(&s);
	kit_fini(&k);
}

/* Closing finishes what was asked for. */
static void
test_close_completes(void **state)
{
	struct log l = { .n = 0 };
	struct one o = { &l, 1 };
	struct kit k;

	(void)state;
	for (int threads = 0; threads < 2; threads++) {
		kit_init(&k);
		l.n = 0;
		struct store *s = open_store(&k, k.ops);
		if (threads)
			kit_run(&k, 5);
		k.ops->create(s, 1, STORE_HELD, SLICE_LIT("HEAD"), 0, on_done, &o);
		k.ops->progress(s, 1, 4, SLICE_LIT("abcd"), true, on_done, &o);
		k.ops->close(&s);
		assert_int_equal(l.n, 2);
		assert_int_equal(l.r[1], STORE_OK_LOCAL);
		kit_fini(&k);
	}
}

static void
test_fake(void **state)
{
	struct store_script sc = { 0 };
	struct log l = { .n = 0 };
	struct one o[6];
	char got[64];
	struct kit k;

	(void)state;
	kit_init(&k);
	k.ops = &store_fake;
	store_fake_where(&sc, &store_local, k.dir, k.where, sizeof(k.where));
	struct store *s = open_store(&k, k.ops);
	for (unsigned i = 0; i < 6; i++)
		o[i] = (struct one){ &l, i };
	sc.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_TORN, .count = 1,
	    .result = STORE_IO_ERROR, .bytes = 3 };
	sc.rule[1] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_DONE, .count = 1,
	    .result = STORE_UNKNOWN };
	sc.rule[2] = (struct fake_rule){ .op = FAKE_PROGRESS, .act = FAKE_PASS, .count = 1,
	    .delay_ms = 30 };
	sc.n = 3;
	k.ops->create(s, 1, STORE_HELD, SLICE_NONE, 0, on_done, &o[0]);
	k.ops->create(s, 2, STORE_HELD, SLICE_NONE, 0, on_done, &o[1]);
	wait_for(&k, s, &l, 2, false);
	const struct store_piece p = { SLICE_LIT("12345678"), -1, 0 };
	k.ops->append(s, 1, 0, &p, 1, on_done, &o[2]);
	k.ops->append(s, 2, 0, &p, 1, on_done, &o[3]);
	int64_t start = clock_mono_us();
	k.ops->progress(s, 2, 0, SLICE_LIT("p"), false, on_done, &o[4]);
	wait_for(&k, s, &l, 5, false);
	assert_true(clock_mono_us() - start >= 30000);
	for (unsigned i = 2; i < 5; i++) {
		if (l.tag[i] == 2)
			assert_int_equal(l.r[i], STORE_IO_ERROR);
		if (l.tag[i] == 3)
			assert_int_equal(l.r[i], STORE_UNKNOWN);
		if (l.tag[i] == 4)
			assert_int_equal(l.r[i], STORE_OK_LOCAL);
	}
	assert_int_equal(k.ops->read(s, 1, STORE_LOG, 0, got, sizeof(got)), 3);
	assert_int_equal(k.ops->read(s, 2, STORE_LOG, 0, got, sizeof(got)), 8);
	k.ops->close(&s);
	kit_fini(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_large_body),
		cmocka_unit_test(test_group_commit),
		cmocka_unit_test(test_failed_log),
		cmocka_unit_test(test_index_and_progress),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_many_files),
		cmocka_unit_test(test_close_completes),
		cmocka_unit_test(test_fake),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
