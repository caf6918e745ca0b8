// SPDX-License-Identifier: Apache-2.0
/* Authentication-Results: spec 4.1-4.3, 14.4 #14; RFC 8601. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/authres.h"

#define ID "mx.primary.example"

static void
building(void **state)
{
	struct authres a;
	struct slice p;

	(void)state;
	authres_init(&a);
	authres_start(&a, SLICE_LIT(ID));
	assert_int_equal(authres_end(&a, &p), 0);
	assert_true(slice_eq(p, SLICE_LIT(ID "; none")));	/* spec 4.2 */

	authres_start(&a, SLICE_LIT(ID));
	authres_result(&a, "iprev", AUTH_PASS);
	authres_property(&a, "policy.iprev", SLICE_LIT("2001:db8::1"));
	authres_result(&a, "spf", AUTH_SOFTFAIL);
	authres_property(&a, "smtp.mailfrom", SLICE_LIT("esp.example"));
	authres_property(&a, "x.y", SLICE_LIT("a\"b\\c d"));
	authres_property(&a, "x.z", SLICE_LIT("cr\rlf\n"));
	authres_property(&a, "x.z", SLICE_LIT("\xc3\xa8"));
	authres_property(&a, "x.z", slice_make("a\0b", 3));
	authres_property(&a, "x.z", SLICE_NONE);
	assert_int_equal(authres_end(&a, &p), 0);
	assert_true(slice_eq(p, SLICE_LIT(ID ";\r\n\tiprev=pass policy.iprev=\"2001:db8::1\";\r\n"
	    "\tspf=softfail smtp.mailfrom=esp.example x.y=\"a\\\"b\\\\c d\"")));

	/* too much is an error, never a cut field */
	authres_start(&a, SLICE_LIT(ID));
	for (int i = 0; i < 1000; i++)
		authres_result(&a, "dkim", AUTH_FAIL);
	assert_int_equal(authres_end(&a, &p), -1);
	authres_start(&a, SLICE_LIT("bad\nid"));
	assert_int_equal(authres_end(&a, &p), -1);
	authres_fini(&a);
}

static void
spec_4_3_ours_or_not(void **state)
{
	static const struct {
		bool ours;
		const char *value;
	} cases[] = {
		/* 14.4 #14: all the forms */
		{ true, " mx.primary.example; spf=pass" },
		{ true, "mx.primary.example;spf=pass" },
		{ true, " MX.Primary.EXAMPLE; spf=pass" },
		{ true, " mx.primary.example 1; spf=pass" },
		{ true, " mx.primary.example/1; spf=pass" },
		{ true, " mx.primary.example / 1; spf=pass" },
		{ true, " (hi) mx.primary.example; spf=pass" },
		{ true, " (a (nested) one \\) ;) mx.primary.example (v) 1 (w); spf=pass" },
		{ true, "\r\n\tmx.primary.example;\r\n\tspf=pass" },
		{ true, "\r\n mx.primary.example\r\n ; spf=pass" },
		{ true, " \"mx.primary.example\"; spf=pass" },
		{ true, " \"mx.\\primary.exampl\\e\"; spf=pass" },
		{ true, " \"mx.primary\r\n .example\"; spf=pass" },
		{ true, " mx.\"primary\".example; spf=pass" },
		{ true, " mx.(x)primary.(y)example; spf=pass" },
		{ true, " mx.\r\n\tprimary.example; spf=pass" },
		{ true, " mx.primary.example.; spf=pass" },
		{ true, " mx.primary.example" },
		{ true, " mx.primary.example; none" },
		{ true, " mx.primary.example rubbish; spf=pass" },
		{ true, " mx.primary.example 1 2 3" },
		/* not closed: somebody may still read our name in it */
		{ true, " (mx.primary.example; spf=pass" },
		{ true, " \"mx.primary.example; spf=pass" },
		/* RFC 8601 2.5, 5: letters in other forms, signs that end no name */
		{ true, " \xef\xbd\x8dx.primary.example; spf=pass" },
		{ true, " mx\xe3\x80\x82primary.example; spf=pass" },
		{ true, " mx.prim\xc2\xad""ary.example; spf=pass" },
		{ true, " mx\\.primary.example; spf=pass" },
		{ true, " mx.primary.example, x; spf=pass" },
		{ true, " mx.primary.example=1; spf=pass" },
		{ true, " mx.primary.example\001; spf=pass" },
		{ true, "\013mx.primary.example; spf=pass" },
		{ true, "\xc2\xa0mx.primary.example\xc2\xa0; spf=pass" },
		{ true, " <mx.primary.example>; spf=pass" },
		{ true, " , mx.primary.example; spf=pass" },
		/* others */
		{ false, " mx.primary.example-2; spf=pass" },
		{ false, " mx.prim\xc3\xa0ry.example; spf=pass" },
		{ false, "" },
		{ false, ";" },
		{ false, " ; spf=pass" },
		{ false, " mx.other.example; spf=pass" },
		{ false, " mx.primary.example.evil.example; spf=pass" },
		{ false, " amx.primary.example; spf=pass" },
		{ false, " primary.example; spf=pass" },
		{ false, " other.example; spf=pass smtp.mailfrom=mx.primary.example" },
		{ false, " other.example (mx.primary.example); spf=pass" },
		{ false, " other.example; spf=pass (mx.primary.example" },
		{ false, " 1 mx.other.example; spf=pass" },
		{ false, " (((" }, { false, " \"" }, { false, " \\" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool r = authres_is_from(slice_str(cases[i].value), SLICE_LIT(ID));

		if (r != cases[i].ours)
			fail_msg("%s", cases[i].value);
	}
	assert_true(authres_is_from(SLICE_LIT("mx.a; x"), SLICE_LIT("mx.a.")));
	assert_false(authres_is_from(SLICE_LIT("; x"), SLICE_LIT("")));
}

/* RFC 8601 2.5: the id may be written either way, ours too. */
static void
spec_4_3_ids_in_u_labels(void **state)
{
	static const char *const forms[] = { "mx.b\xc3\xbc""cher.example", "mx.xn--bcher-kva.example",
		"MX.B\xc3\x9c""CHER.example", "mx.XN--Bcher-kva.example" };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++)
			assert_true(authres_is_from(slice_str(forms[i]), slice_str(forms[k])));
	assert_false(authres_is_from(slice_str("mx.bucher.example"), slice_str(forms[0])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(building),
		cmocka_unit_test(spec_4_3_ours_or_not),
		cmocka_unit_test(spec_4_3_ids_in_u_labels),
	};

	return cmocka_run_group_tests_name("policy/authres", tests, NULL, NULL);
}
