// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/wire.h"

struct sample {
	uint8_t		u8;
	uint16_t	u16;
	uint32_t	u32;
	uint64_t	u64;
	uint8_t		raw[4];
	struct slice	text;
};
static const struct wire_field sample_f[] = {
	WIRE_U8(struct sample, u8, 3),
	WIRE_U16(struct sample, u16, UINT16_MAX),
	WIRE_U32(struct sample, u32, UINT32_MAX),
	WIRE_U64(struct sample, u64),
	WIRE_RAW(struct sample, raw),
	WIRE_STR(struct sample, text, 5),
};
static const struct wire_desc sample_wire = WIRE_DESC("sample", struct sample, sample_f);

static const struct sample good = { 2, 0x1234, 0xdeadbeef, 0x0102030405060708, { 1, 2, 3, 4 },
	{ "ci\0ao", 5 } };

static void
round_trip(void **state)
{
	struct buf b;
	struct sample got;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(wire_put(&b, &sample_wire, &good), 0);
	assert_int_equal(buf_len(&b), 1 + 2 + 4 + 8 + 4 + 4 + 5);
	assert_int_equal(wire_get(buf_slice(&b), &sample_wire, &got), 0);
	assert_int_equal(got.u8, 2);
	assert_int_equal(got.u16, 0x1234);
	assert_int_equal(got.u32, 0xdeadbeef);
	assert_true(got.u64 == 0x0102030405060708);
	assert_memory_equal(got.raw, good.raw, 4);
	assert_true(slice_eq(got.text, good.text));
	buf_fini(&b);
}

static void
every_cut_and_every_tail_is_refused(void **state)
{
	struct buf b;
	struct sample got;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(wire_put(&b, &sample_wire, &good), 0);
	struct slice s = buf_slice(&b);
	for (size_t n = 0; n < s.n; n++)
		assert_int_equal(wire_get(slice_make(s.p, n), &sample_wire, &got), -1);
	assert_int_equal(buf_put(&b, "x", 1), 0);
	assert_int_equal(wire_get(buf_slice(&b), &sample_wire, &got), -1);
	buf_fini(&b);
}

static void
values_over_their_bound_are_refused_both_ways(void **state)
{
	struct buf b;
	struct sample bad = good, got;

	(void)state;
	buf_init(&b, 100);
	bad.u8 = 4;
	assert_int_equal(wire_put(&b, &sample_wire, &bad), -1);
	assert_int_equal(buf_len(&b), 0);
	bad = good;
	bad.text = SLICE_LIT("sixsix");
	assert_int_equal(wire_put(&b, &sample_wire, &bad), -1);
	assert_int_equal(wire_put(&b, &sample_wire, &good), 0);
	b.p[0] = 4;		/* u8 out of range */
	assert_int_equal(wire_get(buf_slice(&b), &sample_wire, &got), -1);
	b.p[0] = 3;
	b.p[19] = 6;		/* length of text over its max and over the bytes */
	assert_int_equal(wire_get(buf_slice(&b), &sample_wire, &got), -1);
	b.p[22] = (char)0xff;	/* 4 GiB */
	assert_int_equal(wire_get(buf_slice(&b), &sample_wire, &got), -1);
	buf_fini(&b);
}

static void
a_full_buffer_keeps_what_it_had(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 30);
	assert_int_equal(wire_put(&b, &sample_wire, &good), 0);
	size_t had = buf_len(&b);
	assert_int_equal(wire_put(&b, &sample_wire, &good), -1);
	assert_int_equal(buf_len(&b), had);
	assert_int_equal(wire_item_put(&b, &sample_wire, &good), -1);
	assert_int_equal(buf_len(&b), had);
	buf_fini(&b);
}

static void
lists_walk_and_refuse_damage(void **state)
{
	struct buf b;
	struct sample got;
	unsigned seen = 0;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(wire_item_put(&b, &sample_wire, &good), 0);
	struct slice list = buf_slice(&b);
	while (wire_item_next(&list, &sample_wire, &got) == 1)
		seen++;
	assert_int_equal(seen, 3);
	assert_int_equal(list.n, 0);
	list = buf_slice(&b);
	list.n -= 1;
	assert_int_equal(wire_item_next(&list, &sample_wire, &got), 1);
	assert_int_equal(wire_item_next(&list, &sample_wire, &got), 1);
	assert_int_equal(wire_item_next(&list, &sample_wire, &got), -1);
	list = SLICE_LIT("\xff\xff\xff");
	assert_int_equal(wire_item_next(&list, &sample_wire, &got), -1);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_cut_and_every_tail_is_refused),
		cmocka_unit_test(values_over_their_bound_are_refused_both_ways),
		cmocka_unit_test(a_full_buffer_keeps_what_it_had),
		cmocka_unit_test(lists_walk_and_refuse_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
