// SPDX-License-Identifier: Apache-2.0
/* The spool's bytes on disk: each structure comes back as it went, and no flipped
 * bit, cut or foreign stamp gets through. docs/spool.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "queue/record.h"

enum { STAMP = 0x1234567 };

static struct msgid
some_id(uint8_t b)
{
	struct msgid id;

	for (int i = 0; i < MSGID_LEN; i++)
		id.b[i] = (uint8_t)(b + i);
	return id;
}

static void
test_record(void **state)
{
	const struct record r = {
		.type = RECORD_MESSAGE, .stamp = STAMP, .id = some_id(3), .nrcpt = 65535,
		.env_len = ENVELOPE_MAX, .body_len = UINT32_MAX, .size = UINT32_MAX,
		.stable = 77, .first_entry = 123456789, .crc_meta = 1, .crc_body = 2,
	};
	uint8_t b[RECORD_HEAD];
	struct record got;

	(void)state;
	record_put(b, &r);
	assert_int_equal(record_get(b, STAMP, &got), 0);
	assert_memory_equal(&got, &r, sizeof(r));
	assert_int_equal(record_get(b, STAMP + 1, &got), -1);
	for (int bit = 0; bit < RECORD_HEAD * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(record_get(b, STAMP, &got), -1);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(record_len(&(struct record){ .nrcpt = 1, .env_len = 6, .body_len = 1 }),
	    RECORD_HEAD + 8);
	assert_int_equal(record_len(&(struct record){ .nrcpt = 1, .env_len = 6, .body_len = 2 }),
	    RECORD_HEAD + 16);
}

/* The CRC holds, the numbers are out of bounds all the same. */
static void
test_record_bounds(void **state)
{
	const struct record good = { .type = RECORD_MESSAGE, .stamp = STAMP, .nrcpt = 1 };
	struct record bad[4], got;
	uint8_t b[RECORD_HEAD];

	(void)state;
	for (int i = 0; i < 4; i++)
		bad[i] = good;
	bad[0].env_len = ENVELOPE_MAX + 1;
	bad[1].body_len = UINT64_C(1) << BODY_MAX_BITS;
	bad[2].type = 9;
	bad[3].flags = 0x8000;	/* of a later version */
	record_put(b, &good);
	assert_int_equal(record_get(b, STAMP, &got), 0);
	for (int i = 0; i < 4; i++) {
		record_put(b, &bad[i]);
		assert_int_equal(record_get(b, STAMP, &got), -1);
	}
}

static void
test_heads(void **state)
{
	const struct segment_head h = { .segment = 42, .stamp = STAMP, .cls = STORE_RELAY,
	    .created_ms = 1700000000000, .generation = 3, .packed = true };
	const struct index_head x = {
		.segment = 42, .stamp = STAMP, .cls = STORE_HELD, .count = 1000, .live = 7,
		.log_end = 1 << 30, .covered = 4096, .min = some_id(1), .max = some_id(9),
		.due = { 5, INT64_MAX }, .created_ms = 99, .nrow = 3, .crc_rows = 0xdeadbeef,
		.generation = 3, .bodies = 500,
	};
	uint8_t b[SEGMENT_HEAD], *p = malloc(PAGE_BYTES);
	struct segment_head got;
	struct index_head xgot;

	(void)state;
	segment_head_put(b, &h);
	assert_int_equal(segment_head_get(b, &got), 0);
	assert_int_equal(got.segment, 42);
	assert_int_equal(got.stamp, STAMP);
	assert_int_equal(got.cls, STORE_RELAY);
	assert_int_equal(got.created_ms, h.created_ms);
	assert_int_equal(got.generation, 3);
	assert_true(got.packed);
	assert_int_equal(b[8], 2);	/* older releases leave it alone */
	for (int bit = 0; bit < SEGMENT_HEAD * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(segment_head_get(b, &got), -1);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	index_head_put(p, &x);
	assert_int_equal(index_head_get(p, &xgot), 0);
	assert_int_equal(xgot.count, 1000);
	assert_int_equal(xgot.live, 7);
	assert_int_equal(xgot.covered, 4096);
	assert_int_equal(xgot.generation, 3);
	assert_int_equal(xgot.bodies, 500);
	assert_int_equal(xgot.due[LEG_HOLD], 5);
	assert_true(xgot.due[LEG_FORWARD] == INT64_MAX);
	assert_memory_equal(xgot.max.b, x.max.b, MSGID_LEN);
	for (int bit = 0; bit < 128 * 8; bit++) {
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(index_head_get(p, &xgot), -1);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(p);
}

static void
test_settled(void **state)
{
	const struct record good = { .type = RECORD_SETTLED, .stamp = STAMP, .first_entry = 7,
	    .env_len = 3 * SETTLED_BYTES };
	const struct entry e = { .id = some_id(4), .rcpt = 9, .slot = 5, .kind = 1, .triage = 3,
	    .off8 = 77, .size = 1234, .user = 42, .received_ms = 1700000000000, .note = 13,
	    .leg = { { .state = LEG_DELIVERED, .attempts = 2, .code = 250 },
		     { .state = LEG_SKIPPED } } };
	uint8_t b[RECORD_HEAD], p[SETTLED_BYTES];
	struct record bad = good, got;
	struct entry back;
	uint64_t group;

	(void)state;
	record_put(b, &good);
	assert_int_equal(record_get(b, STAMP, &got), 0);
	assert_int_equal(record_len(&got), RECORD_HEAD + 3 * SETTLED_BYTES);
	for (int i = 0; i < 4; i++) {
		bad = good;
		bad.nrcpt = i == 0;
		bad.body_len = i == 1;
		bad.env_len += i == 2 ? 8 : i == 3 ? SETTLED_MAX * SETTLED_BYTES : 0;
		record_put(b, &bad);
		assert_int_equal(record_get(b, STAMP, &got), -1);
	}
	settled_put(p, &e, 0xfeedfacecafe);
	settled_get(p, &back, &group);
	assert_true(group == 0xfeedfacecafe);
	assert_int_equal(back.off8, 0);
	assert_int_equal(back.slot, 0);
	assert_int_equal(entry_check(&back), entry_check(&e));
	assert_int_equal(back.leg[LEG_HOLD].state, LEG_DELIVERED);
	assert_int_equal(back.leg[LEG_HOLD].code, 250);
	assert_int_equal(back.note, 13);
	assert_int_equal(back.size, 1234);
}

static void
test_progress(void **state)
{
	char note[NOTE_MAX + 20];
	uint8_t b[PROGRESS_MAX];
	struct progress got;

	(void)state;
	memset(note, 'n', sizeof(note));
	for (size_t n = 0; n <= sizeof(note); n += n < 10 ? 1 : 13) {
		const struct progress p = {
			.kind = PROGRESS_LEG, .leg = LEG_FORWARD, .entry = 77, .check = 0xabc,
			.other = 12, .note = slice_make(note, n),
			.now = { .state = LEG_FAILED, .attempts = 60000, .next_ms = 1700000000000,
			    .code = 550 },
		};
		size_t len = progress_put(b, STAMP, &p);
		assert_int_equal(len % 8, 0);
		assert_true(len <= PROGRESS_MAX);
		assert_int_equal(progress_get(slice_make(b, len), STAMP, &got), len);
		assert_int_equal(got.entry, 77);
		assert_int_equal(got.check, 0xabc);
		assert_int_equal(got.other, 12);
		assert_int_equal(got.now.attempts, 60000);
		assert_int_equal(got.now.code, 550);
		assert_true(got.now.next_ms == 1700000000000);
		assert_int_equal(got.note.n, n < NOTE_MAX ? n : NOTE_MAX);
		assert_int_equal(progress_get(slice_make(b, len), STAMP + 1, &got), 0);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(progress_get(slice_make(b, cut), STAMP, &got), 0);
		for (size_t bit = 0; bit < len * 8; bit++) {
			b[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(progress_get(slice_make(b, len), STAMP, &got), 0);
			b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void
test_entry(void **state)
{
	static const int64_t time[] = { 0, 1, 1700000000000, INT64_MAX };
	uint8_t b[ENTRY_BYTES];
	struct entry got;

	(void)state;
	for (size_t i = 0; i < sizeof(time) / sizeof(time[0]); i++) {
		const struct entry e = {
			.id = some_id(200), .rcpt = 65535, .slot = 65534, .kind = RCPT_RETURN_PATH,
			.triage = 3, .hold_only = i % 2 == 0, .empty = i % 2 == 1,
			.off8 = UINT32_MAX, .size = 4000000000u, .user = UINT64_MAX,
			.sender = 0xfedcba,
			.received_ms = 1700000000000, .note = 0x80000001,
			.leg = {
				{ LEG_DROPPED, 65535, time[i], 1023 },
				{ LEG_WAITING, 0, time[3 - i], 0 },
			},
		};
		entry_put(b, &e);
		entry_get(b, &got);
		assert_memory_equal(got.id.b, e.id.b, MSGID_LEN);
		assert_int_equal(got.rcpt, e.rcpt);
		assert_int_equal(got.slot, e.slot);
		assert_int_equal(got.kind, e.kind);
		assert_int_equal(got.triage, e.triage);
		assert_int_equal(got.hold_only, e.hold_only);
		assert_int_equal(got.empty, e.empty);
		assert_int_equal(got.off8, e.off8);
		assert_int_equal(got.size, e.size);
		assert_true(got.user == e.user);
		assert_int_equal(got.sender, e.sender);
		assert_true(got.received_ms == e.received_ms);
		assert_int_equal(got.note, e.note);
		for (int l = 0; l < LEG_KIND_MAX; l++) {
			assert_int_equal(got.leg[l].state, e.leg[l].state);
			assert_int_equal(got.leg[l].attempts, e.leg[l].attempts);
			assert_int_equal(got.leg[l].code, e.leg[l].code);
			assert_true(got.leg[l].next_ms == e.leg[l].next_ms);
		}
	}
}

static void
test_page(void **state)
{
	uint8_t *p = malloc(PAGE_BYTES);

	(void)state;
	for (int i = 0; i < PAGE_BYTES; i++)
		p[i] = (uint8_t)i;
	page_put(p, STAMP, 5, PAGE_ENTRIES);
	assert_int_equal(p[PAGE_HEAD], PAGE_HEAD);
	assert_int_equal(page_get(p, STAMP, 5), 0);
	assert_int_equal(page_get(p, STAMP, 6), -1);
	assert_int_equal(page_get(p, STAMP + 1, 5), -1);
	for (int bit = 0; bit < PAGE_BYTES * 8; bit += 7) {
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(page_get(p, STAMP, 5), -1);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(p);
}

static void
test_row_and_birth(void **state)
{
	struct spool_birth b;
	uint8_t out[ROW_BYTES];
	struct row r, got;

	(void)state;
	memset(&r, 0, sizeof(r));	/* the padding too, for the comparison */
	memset(&got, 0, sizeof(got));
	r.group = 0x1122334455667788;
	r.held_bytes = UINT64_MAX - 1;
	for (int l = 0; l < LEG_KIND_MAX; l++)
		for (int s = 0; s < LEG_STATE_MAX; s++)
			r.leg[l][s] = (uint32_t)(l * 100 + s);
	for (int i = 0; i < BUCKET_MAX; i++)
		r.bucket[i] = 1000u + (uint32_t)i;
	row_put(out, &r);
	row_get(out, &got);
	assert_memory_equal(&r, &got, sizeof(r));
	for (unsigned v = 0; v < 256; v++) {
		bool ok = (v & 15) < LEG_STATE_MAX && v >> 4 < LEG_STATE_MAX;
		assert_int_equal(birth_get((uint8_t)v, &b), ok ? 0 : -1);
		if (ok)
			assert_int_equal(birth_put(b), v);
	}
}

/* Decoders take any bytes. */
static void
test_noise(void **state)
{
	uint8_t *p = malloc(PAGE_BYTES);
	uint32_t x = 1;
	struct segment_head h;
	struct index_head ih;
	struct progress pr;
	struct record r;
	struct entry e;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		for (int i = 0; i < PAGE_BYTES; i++) {
			x = x * 1664525u + 1013904223u;
			p[i] = (uint8_t)(x >> 24);
		}
		assert_int_equal(segment_head_get(p, &h), -1);
		assert_int_equal(index_head_get(p, &ih), -1);
		assert_int_equal(record_get(p, STAMP, &r), -1);
		assert_int_equal(page_get(p, STAMP, 0), -1);
		p[0] = 0xa7;
		p[3] &= 63;
		assert_int_equal(progress_get(slice_make(p, 200), STAMP, &pr), 0);
		entry_get(p, &e);
		assert_true(e.leg[0].state < LEG_STATE_MAX && e.leg[1].state < LEG_STATE_MAX);
	}
	free(p);
}

/* On disk: these numbers may never change. */
static void
test_hashes_are_stable(void **state)
{
	(void)state;
	assert_true(spool_group(SLICE_LIT("example.it"), SLICE_NONE) !=
	    spool_group(SLICE_LIT("example.i"), SLICE_LIT("t")));
	assert_true(spool_group(SLICE_LIT("example.it"), SLICE_LIT("s1")) ==
	    UINT64_C(0x763adc768be909b3));
	assert_true(spool_user(SLICE_LIT("anna@example.it")) == UINT64_C(0xf6b08372759c2e27));
	assert_true(spool_group(SLICE_NONE, SLICE_NONE) != 0);
	assert_int_equal(spool_sender(SLICE_LIT("Bob@Example.org")),
	    spool_sender(SLICE_LIT("bob@example.org")));
	assert_int_equal(spool_sender(SLICE_LIT("bob@example.org")), 0x16f4d6);
	assert_true(spool_sender(SLICE_NONE) != 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_record_bounds),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_settled),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_row_and_birth),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_hashes_are_stable),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
