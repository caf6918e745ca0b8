// SPDX-License-Identifier: Apache-2.0
/* Spec 1.4: tokens that name a leg and look like nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "policy/token.h"

static const char set[] = "0123456789abcdefghijklmnopqrstuv";
static const struct slice secret = { "correct-horse-battery", 21 };

static struct token_leg
some_leg(unsigned i)
{
	struct token_leg t = { .rcpt_index = (uint16_t)(i * 7919), .attempt = (uint8_t)(i >> 3) };

	for (unsigned k = 0; k < MSGID_LEN; k++)
		t.id.b[k] = (uint8_t)(i * (k + 3) >> (k & 3));
	return t;
}

static void
spec_1_4_1_a_token_names_its_leg_and_none_is_like_another(void **state)
{
	enum { N = 2000 };
	static char seen[N][SRS_TOKEN_LEN + 1];
	struct token_leg back;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct token_leg t = some_leg(i);

		token_seal(secret, &t, seen[i]);
		assert_int_equal(strlen(seen[i]), SRS_TOKEN_LEN);
		assert_int_equal(strspn(seen[i], "0123456789abcdefghijklmnopqrstuv"), SRS_TOKEN_LEN);
		assert_true(token_open(secret, slice_str(seen[i]), &back));
		assert_memory_equal(&back.id, &t.id, sizeof(t.id));
		assert_int_equal(back.rcpt_index, t.rcpt_index);
		assert_int_equal(back.attempt, t.attempt);
	}
	/* legs that differ by one in one number share no run of characters */
	for (unsigned i = 1; i < N; i++)
		assert_memory_not_equal(seen[i], seen[i - 1], 6);
}

static void
spec_1_4_1_relays_that_change_the_case_do_no_harm(void **state)
{
	struct token_leg t = some_leg(77), back;
	char text[SRS_TOKEN_LEN + 1];

	(void)state;
	token_seal(secret, &t, text);
	for (char *p = text; *p != '\0'; p++)
		if (*p >= 'a')
			*p = (char)(*p - 'a' + 'A');
	assert_true(token_open(secret, slice_str(text), &back));
	assert_int_equal(back.rcpt_index, t.rcpt_index);
}

/* Each bit of a leg, of the secret and of the token turns about half of the result. */
static void
spec_1_4_1_a_token_tells_nothing_without_the_secret(void **state)
{
	struct token_leg a = { .rcpt_index = 0 }, b = { .rcpt_index = 1 }, back;
	unsigned count[32] = { 0 }, opened = 0;
	char x[SRS_TOKEN_LEN + 1], y[SRS_TOKEN_LEN + 1];

	(void)state;
	token_seal(secret, &a, x);
	token_seal(secret, &b, y);
	assert_string_not_equal(x, y);
	token_seal(SLICE_LIT("another secret"), &a, y);
	assert_string_not_equal(x, y);
	for (unsigned i = 0; i < 4000; i++) {
		a.rcpt_index = (uint16_t)i;
		token_seal(secret, &a, x);
		for (size_t k = 0; k < SRS_TOKEN_LEN; k++)
			count[strchr(set, x[k]) - set]++;
		opened += token_open(SLICE_LIT("another secret"), slice_str(x), &back) &&
		    back.rcpt_index == a.rcpt_index;
	}
	assert_int_equal(opened, 0);
	for (size_t k = 0; k < 32; k++)		/* 3000 each, give or take six sigma */
		assert_in_range(count[k], 2650, 3350);
}

static void
spec_1_4_3_random_bits_of_older_releases_name_no_message(void **state)
{
	char text[SRS_TOKEN_LEN + 1];
	struct token_leg back;
	unsigned opened = 0;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		srs_token_new(text);
		opened += token_open(secret, slice_str(text), &back);
	}
	assert_in_range(opened, 0, 2);		/* one in 65536 */
	assert_false(token_open(secret, SLICE_LIT(""), &back));
	assert_false(token_open(secret, SLICE_LIT("0123456789abcdefghijklm"), &back));
	assert_false(token_open(secret, SLICE_LIT("0123456789abcdefghijklm="), &back));
	assert_false(token_open(secret, SLICE_LIT("0123456789abcdefghijklm\0"), &back));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_1_4_1_a_token_names_its_leg_and_none_is_like_another),
		cmocka_unit_test(spec_1_4_1_relays_that_change_the_case_do_no_harm),
		cmocka_unit_test(spec_1_4_1_a_token_tells_nothing_without_the_secret),
		cmocka_unit_test(spec_1_4_3_random_bits_of_older_releases_name_no_message),
	};
	return cmocka_run_group_tests_name("policy/token", tests, NULL, NULL);
}
