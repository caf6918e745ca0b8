// SPDX-License-Identifier: Apache-2.0
/* The canary and its mark: known when it comes round, and nobody else's mail by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "policy/canary.h"

static const int64_t NOW = 1795000000000;

static struct buf
made(uint8_t key[CANARY_KEY])
{
	struct buf b;

	buf_init(&b, 8192);
	canary_key(SLICE_LIT("secret"), key);
	assert_int_equal(canary_make(&b, key, SLICE_LIT("Canary@example.it"),
	    SLICE_LIT("mx2.example.it"), NOW), 0);
	return b;
}

static void
own_canary_is_known_below_traces_of_others(void **state)
{
	uint8_t key[CANARY_KEY];
	struct buf b = made(key), m;
	struct slice address = SLICE_LIT("canary@EXAMPLE.it");

	(void)state;
	assert_true(canary_is(buf_slice(&b), key, address, NOW));
	buf_init(&m, 16384);
	assert_int_equal(buf_puts(&m, "Received: from store.example.it\r\n\tby relay\r\n"), 0);
	assert_int_equal(buf_put_slice(&m, buf_slice(&b)), 0);
	assert_true(canary_is(buf_slice(&m), key, address, NOW + 1000));
	buf_fini(&m);
	buf_fini(&b);
}

static void
mark_means_one_address_one_key_and_a_time(void **state)
{
	uint8_t key[CANARY_KEY], other[CANARY_KEY];
	struct buf b = made(key);
	struct slice s = buf_slice(&b), a = SLICE_LIT("canary@example.it");

	(void)state;
	canary_key(SLICE_LIT("another"), other);
	assert_false(canary_is(s, other, a, NOW));
	assert_false(canary_is(s, key, SLICE_LIT("mario@example.it"), NOW));
	assert_false(canary_is(s, key, SLICE_LIT(""), NOW));
	assert_true(canary_is(s, key, a, NOW + CANARY_AGE_MS));
	assert_false(canary_is(s, key, a, NOW + CANARY_AGE_MS + 1000));
	assert_false(canary_is(s, key, a, NOW - CANARY_AGE_MS - 1000));
	buf_fini(&b);
}

static void
every_changed_byte_of_the_mark_unmakes_it(void **state)
{
	uint8_t key[CANARY_KEY];
	struct buf b = made(key);
	size_t end = slice_find(buf_slice(&b), '\r');

	(void)state;
	for (size_t i = 21; i < end; i++) {
		char was = b.p[b.off + i];

		b.p[b.off + i] = was == '1' ? '2' : '1';
		assert_false(canary_is(buf_slice(&b), key, SLICE_LIT("canary@example.it"), NOW));
		b.p[b.off + i] = was;
	}
	for (size_t n = 0; n < end; n++)	/* cut anywhere */
		assert_false(canary_is(slice_sub(buf_slice(&b), 0, n), key,
		    SLICE_LIT("canary@example.it"), NOW));
	buf_fini(&b);
}

static void
mark_in_a_body_is_none(void **state)
{
	uint8_t key[CANARY_KEY];
	struct buf b = made(key), m;

	(void)state;
	buf_init(&m, 16384);
	assert_int_equal(buf_puts(&m, "Subject: hello\r\n\r\n"), 0);
	assert_int_equal(buf_put_slice(&m, buf_slice(&b)), 0);
	assert_false(canary_is(buf_slice(&m), key, SLICE_LIT("canary@example.it"), NOW));
	assert_false(canary_is(SLICE_NONE, key, SLICE_LIT("canary@example.it"), NOW));
	buf_fini(&m);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_canary_is_known_below_traces_of_others),
		cmocka_unit_test(mark_means_one_address_one_key_and_a_time),
		cmocka_unit_test(every_changed_byte_of_the_mark_unmakes_it),
		cmocka_unit_test(mark_in_a_body_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
