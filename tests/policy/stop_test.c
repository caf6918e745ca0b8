// SPDX-License-Identifier: Apache-2.0
/* Spec 12.3: the address that stops a user's copies names him and cannot be made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "policy/address.h"
#include "policy/stop.h"

enum { DAY = 20777, AGE = 400 };

static const struct stop mario = { { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 255 } }, 0xfedcba9876543210ull };

static struct srs
place(const char *first, const char *second)
{
	return (struct srs){ .secret = { slice_str(first), slice_str(second) },
		.nsecret = second == NULL ? 1 : 2, .domain = SLICE_LIT("fwd.example.it") };
}

static char *
made(const struct srs *s, uint32_t day, const struct stop *x)
{
	struct buf b;
	char *out;

	buf_init(&b, 512);
	assert_int_equal(stop_address(s, day, x, &b), 0);
	out = slice_dup(buf_slice(&b));
	buf_fini(&b);
	return out;
}

static enum srs_result
check(const struct srs *s, uint32_t day, const char *address, struct stop *out)
{
	return stop_check(s, day, AGE, slice_str(address), out);
}

static void
spec_12_3_the_address_names_the_user(void **state)
{
	const struct srs s = place("correct-horse-battery", NULL);
	char *a = made(&s, DAY, &mario);
	struct stop back = { .handle = 0 };
	struct address parsed;

	(void)state;
	assert_int_equal(address_parse(slice_str(a), false, &parsed), 0);
	assert_int_equal(parsed.local.n, 5 + STOP_TOKEN_LEN);
	assert_true(stop_is(parsed.local));
	assert_int_equal(check(&s, DAY, a, &back), SRS_OK);
	assert_memory_equal(&back.user, &mario.user, sizeof(mario.user));
	assert_true(back.handle == mario.handle);
	for (char *p = a; *p != '\0'; p++)	/* relays fold case, either way */
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	assert_int_equal(check(&s, DAY, a, &back), SRS_OK);
	assert_true(back.handle == mario.handle);
	free(a);
}

static void
spec_12_3_no_other_character_will_do(void **state)
{
	const struct srs s = place("correct-horse-battery", NULL);
	char *a = made(&s, DAY, &mario);
	struct stop back;

	(void)state;
	for (size_t i = 5; a[i] != '@'; i++) {
		char was = a[i];

		a[i] = was == '0' ? '1' : '0';
		assert_int_equal(check(&s, DAY, a, &back), SRS_BAD_HASH);
		a[i] = 'z';
		assert_int_equal(check(&s, DAY, a, &back), SRS_BAD_HASH);
		a[i] = was;
	}
	a[5 + STOP_TOKEN_LEN - 1] = '\0';	/* cut short, without a domain */
	assert_int_equal(check(&s, DAY, a, &back), SRS_NOT_SRS);
	free(a);
	assert_int_equal(check(&s, DAY, "stop+@fwd.example.it", &back), SRS_BAD_HASH);
	assert_int_equal(check(&s, DAY, "stop@fwd.example.it", &back), SRS_NOT_SRS);
	assert_int_equal(check(&s, DAY, "", &back), SRS_NOT_SRS);
}

static void
spec_12_3_another_secret_or_domain(void **state)
{
	const struct srs old = place("old-secret", NULL), both = place("new-secret", "old-secret"),
		other = place("new-secret", NULL), none = { .domain = SLICE_LIT("fwd.example.it") };
	struct srs elsewhere = old;
	char *a = made(&old, DAY, &mario);
	struct stop back;
	struct buf b;

	(void)state;
	assert_int_equal(check(&both, DAY, a, &back), SRS_OK);	/* rotation */
	assert_int_equal(check(&other, DAY, a, &back), SRS_BAD_HASH);
	assert_int_equal(check(&none, DAY, a, &back), SRS_BAD_HASH);
	elsewhere.domain = SLICE_LIT("fwd.example.org");
	assert_int_equal(check(&elsewhere, DAY, a, &back), SRS_NOT_SRS);
	memcpy(strrchr(a, '@') + 13, "og", 2);
	assert_string_equal(strrchr(a, '@'), "@fwd.example.og");
	elsewhere.domain = SLICE_LIT("fwd.example.og");		/* the MAC covers it */
	assert_int_equal(check(&elsewhere, DAY, a, &back), SRS_BAD_HASH);
	free(a);
	buf_init(&b, 512);
	assert_int_equal(stop_address(&none, DAY, &mario, &b), -1);
	buf_fini(&b);
}

static void
spec_12_3_it_ends_with_its_age(void **state)
{
	static const struct { uint32_t now; enum srs_result want; } cases[] = {
		{ DAY - 2, SRS_EXPIRED }, { DAY - 1, SRS_OK }, { DAY, SRS_OK }, { DAY + AGE, SRS_OK },
		{ DAY + AGE + 1, SRS_EXPIRED }, { DAY + 1024, SRS_EXPIRED },
	};
	const struct srs s = place("correct-horse-battery", NULL);
	char *a = made(&s, DAY, &mario);
	struct stop back;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(check(&s, cases[i].now, a, &back), cases[i].want);
	free(a);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(spec_12_3_the_address_names_the_user),
		cmocka_unit_test(spec_12_3_no_other_character_will_do),
		cmocka_unit_test(spec_12_3_another_secret_or_domain),
		cmocka_unit_test(spec_12_3_it_ends_with_its_age),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
