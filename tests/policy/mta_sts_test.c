// SPDX-License-Identifier: Apache-2.0
/* RFC 8461 3.1, 3.2, 4.1: what is a policy and whom it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "policy/mta_sts.h"

static void
test_record(void **state)
{
	static const struct { const char *txt; bool is; const char *id; } c[] = {
		{ "v=STSv1; id=20160831085700Z;", true, "20160831085700Z" },
		{ "v=STSv1;id=1", true, "1" },
		{ "v=STSv1; \t id=1 ; x=y", true, "1" },
		{ "v=STSv1 ; id=1;", true, "1" },
		{ "v=STSv1; x=y; id=A; id=B;", true, "A" },
		{ "v=STSv1; id=12345678901234567890123456789012;", true,
		  "12345678901234567890123456789012" },
		{ "v=STSv1; id=123456789012345678901234567890123;", true, "" },
		{ "v=STSv1; id=a-b;", true, "" },
		{ "v=STSv1; id=;", true, "" },
		{ "v=STSv1; ID=1;", true, "" },
		{ "v=STSv1;", true, "" },
		{ "v=STSv1", false, "" },
		{ " v=STSv1; id=1;", false, "" },
		{ "v=STSv2; id=1;", false, "" },
		{ "v=stsv1; id=1;", false, "" },
		{ "v=spf1 -all", false, "" },
		{ "", false, "" },
	};
	char id[MTA_STS_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_int_equal(mta_sts_record(slice_str(c[i].txt), id), c[i].is);
		assert_string_equal(id, c[i].id);
	}
}

#define HEAD "version: STSv1\r\n"

static void
test_policy(void **state)
{
	static const struct { const char *text; int r; uint8_t mode; uint32_t age; const char *mx; } c[] = {
		{ HEAD "mode: enforce\r\nmx: Mail.Example.com\r\nmx: *.example.net\r\n"
		  "max_age: 604800\r\n", 0, MTA_STS_ENFORCE, 604800,
		  "mail.example.com\n*.example.net\n" },
		{ "mode:testing\nmax_age:\t60\nversion:STSv1 \nmx:a.example.", 0, MTA_STS_TESTING, 60,
		  "a.example\n" },
		{ HEAD "mode: none\r\nmax_age: 1\r\n", 0, MTA_STS_NONE, 1, "" },
		{ HEAD "mode: enforce\r\nmode: none\r\nmx: a.example\r\nmax_age: 9999999999\r\n\r\n",
		  0, MTA_STS_ENFORCE, MTA_STS_AGE_MAX_S, "a.example\n" },
		{ HEAD "mode: none\r\nmax_age: 1\r\nfuture: anything goes\r\n", 0, MTA_STS_NONE, 1, "" },
		{ HEAD "mode: enforce\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: strict\r\nmx: a.example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: enforce\r\nmx: a.example\r\n", -1, 0, 0, "" },
		{ HEAD "mx: a.example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ "mode: enforce\r\nmx: a.example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ "version: STSv2\r\nmode: none\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: none\r\nmax_age: -1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: none\r\nmax_age: 99999999999\r\n", -1, 0, 0, "" },
		{ HEAD "mode: enforce\r\nmx: *\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: enforce\r\nmx: a.*.example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: enforce\r\nmx: a..example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ HEAD "mode: enforce\r\nmx: a example\r\nmax_age: 1\r\n", -1, 0, 0, "" },
		{ "<html><body>version: STSv1</body></html>", -1, 0, 0, "" },
		{ "", -1, 0, 0, "" },
	};
	struct mta_sts p;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		int r = mta_sts_parse(slice_str(c[i].text), &p);

		if (r != c[i].r)
			print_message("case %zu\n", i);
		assert_int_equal(r, c[i].r);
		if (r != 0) {
			assert_null(p.mx);
			continue;
		}
		assert_int_equal(p.mode, c[i].mode);
		assert_int_equal(p.max_age_s, c[i].age);
		assert_string_equal(p.mx, c[i].mx);
		mta_sts_fini(&p);
	}
	assert_int_equal(mta_sts_parse(SLICE_LIT(HEAD "mode: none\0\r\nmax_age: 1\r\n"), &p), -1);
}

/* Too many patterns, or more bytes than a policy may have: none, not the first ones. */
static void
test_policy_bounds(void **state)
{
	struct mta_sts p;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(buf_puts(&b, HEAD "mode: enforce\nmax_age: 1\n"), 0);
	for (int i = 0; i < MTA_STS_MX_MAX; i++)
		assert_int_equal(buf_printf(&b, "mx: m%d.example\n", i), 0);
	assert_int_equal(mta_sts_parse(buf_slice(&b), &p), 0);
	mta_sts_fini(&p);
	assert_int_equal(buf_puts(&b, "mx: one.too.many.example\n"), 0);
	assert_int_equal(mta_sts_parse(buf_slice(&b), &p), -1);
	buf_clear(&b);
	assert_int_equal(buf_puts(&b, HEAD "mode: none\nmax_age: 1\nx:"), 0);
	while (buf_len(&b) <= MTA_STS_TEXT_MAX)
		assert_int_equal(buf_puts(&b, "                "), 0);
	assert_int_equal(mta_sts_parse(buf_slice(&b), &p), -1);
	buf_fini(&b);
}

static void
test_match(void **state)
{
	static const struct { const char *host; bool in; } c[] = {
		{ "mail.example.com", true }, { "MAIL.example.COM", true },
		{ "mail.example.com.", true }, { "a.example.net", true }, { "A.Example.Net", true },
		{ "example.net", false }, { "a.b.example.net", false }, { ".example.net", false },
		{ "xexample.net", false }, { "mail.example.com.evil.example", false },
		{ "evilmail.example.com", false }, { "", false }, { "*.example.net", true },
	};
	struct mta_sts p, copy;

	(void)state;
	assert_int_equal(mta_sts_parse(SLICE_LIT(HEAD "mode: enforce\nmax_age: 1\n"
	    "mx: mail.example.com\nmx: *.example.net\n"), &p), 0);
	mta_sts_copy(&copy, &p);
	mta_sts_fini(&p);
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		assert_int_equal(mta_sts_match(&copy, c[i].host), c[i].in);
	mta_sts_fini(&copy);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_policy_bounds),
		cmocka_unit_test(test_match),
	};

	return cmocka_run_group_tests_name("mta_sts", tests, NULL, NULL);
}
