// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/address.h"

#define X8	"xxxxxxxx"
#define X32	X8 X8 X8 X8
#define X60	X32 X8 X8 X8 "xxxx"
#define X63	X60 "xxx"
#define X64	X32 X32
/* 187 octets; with a local part of 64 and the '@' the mailbox has 252 */
#define D187	X63 "." X63 "." X32 X8 X8 X8 "." "it"

struct parse_case {
	const char	*in;
	bool		 utf8;		/* allowed */
	int		 ret;
	const char	*local, *domain;
	bool		 quoted, literal, is_utf8;
};

static const struct parse_case parse_cases[] = {
	{ "mario.rossi@example.com", false, 0, "mario.rossi", "example.com", 0, 0, 0 },
	{ "a@b", false, 0, "a", "b", 0, 0, 0 },
	{ "!#$%&'*+-/=?^_`{|}~@x.it", false, 0, "!#$%&'*+-/=?^_`{|}~", "x.it", 0, 0, 0 },
	{ "A.b.C@EX-ample.c0m", false, 0, "A.b.C", "EX-ample.c0m", 0, 0, 0 },
	{ "u@_spf.example.it", false, 0, "u", "_spf.example.it", 0, 0, 0 },
	{ "u@xn--caff-dma.it", false, 0, "u", "xn--caff-dma.it", 0, 0, 0 },
	{ "\"john doe\"@example.it", false, 0, "\"john doe\"", "example.it", 1, 0, 0 },
	{ "\"a@b\"@example.it", false, 0, "\"a@b\"", "example.it", 1, 0, 0 },
	{ "\"a\\\"b\\\\\"@example.it", false, 0, "\"a\\\"b\\\\\"", "example.it", 1, 0, 0 },
	{ "\"\"@example.it", false, 0, "\"\"", "example.it", 1, 0, 0 },
	{ "\"a>b\"@example.it", false, 0, "\"a>b\"", "example.it", 1, 0, 0 },
	{ "u@[192.0.2.1]", false, 0, "u", "[192.0.2.1]", 0, 1, 0 },
	{ "u@[IPv6:2001:db8::1]", false, 0, "u", "[IPv6:2001:db8::1]", 0, 1, 0 },
	{ "u@[ipv6:::1]", false, 0, "u", "[ipv6:::1]", 0, 1, 0 },
	{ "postmaster", false, 0, "postmaster", "", 0, 0, 0 },
	{ "PostMaster", false, 0, "PostMaster", "", 0, 0, 0 },
	{ "perch\xc3\xa9@example.it", true, 0, "perch\xc3\xa9", "example.it", 0, 0, 1 },
	{ "u@caff\xc3\xa8.it", true, 0, "u", "caff\xc3\xa8.it", 0, 0, 1 },
	{ "\"\xe2\x82\xac x\"@e.it", true, 0, "\"\xe2\x82\xac x\"", "e.it", 1, 0, 1 },
	{ X64 "@example.it", false, 0, X64, "example.it", 0, 0, 0 },
	{ X64 "@" D187, false, 0, X64, D187, 0, 0, 0 },
	{ "u@" X63 ".it", false, 0, "u", X63 ".it", 0, 0, 0 },

	{ "", false, -1, NULL, NULL, 0, 0, 0 },
	{ "user", false, -1, NULL, NULL, 0, 0, 0 },
	{ "user@", false, -1, NULL, NULL, 0, 0, 0 },
	{ "@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@b@c", false, -1, NULL, NULL, 0, 0, 0 },
	{ ".a@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a.@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a..b@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a b@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@exa mple.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a(c)@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a,b@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a\r\n@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@example.it\r\n", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\"", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\\\"@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\"b@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a\"b\"@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\tb\"@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\x7f\"@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@example..it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@example.it.", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@-example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@example-.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@example.it-", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@exam!ple.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@" X64 ".it", false, -1, NULL, NULL, 0, 0, 0 },
	{ X64 "x@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ X64 "@" "abc." D187, false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[192.0.2.256]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[192.0.2]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[192.0.2.1", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@192.0.2.1]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[2001:db8::1]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[IPv6:192.0.2.1]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[IPv6:12345::1]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "a@[x400:c=it]", false, -1, NULL, NULL, 0, 0, 0 },
	{ "perch\xc3\xa9@example.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "u@caff\xc3\xa8.it", false, -1, NULL, NULL, 0, 0, 0 },
	{ "perch\xe9@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "a\xc3@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "a\xc0\xaf@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "a\xed\xa0\x80@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "a\xf4\x90\x80\x80@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "\"a\xc3\"@example.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "u@caff\xc3.it", true, -1, NULL, NULL, 0, 0, 0 },
	{ "u@caff\xc3\xa8.it.", true, -1, NULL, NULL, 0, 0, 0 },
};

static void
mailbox_table(void **state)
{
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(parse_cases) / sizeof(parse_cases[0]); i++) {
		const struct parse_case *c = &parse_cases[i];
		int ret = address_parse(slice_str(c->in), c->utf8, &a);

		if (ret != c->ret)
			print_error("case: %s\n", c->in);
		assert_int_equal(ret, c->ret);
		if (ret < 0)
			continue;
		assert_true(slice_eq(a.local, slice_str(c->local)));
		assert_true(slice_eq(a.domain, slice_str(c->domain)));
		assert_int_equal(a.quoted, c->quoted);
		assert_int_equal(a.literal, c->literal);
		assert_int_equal(a.utf8, c->is_utf8);
	}
}

static void
mailbox_with_nul_inside(void **state)
{
	struct address a;

	(void)state;
	assert_int_equal(address_parse(SLICE_LIT("a\0b@example.it"), true, &a), -1);
	assert_int_equal(address_parse(SLICE_LIT("a@exam\0ple.it"), true, &a), -1);
	assert_int_equal(address_parse(SLICE_LIT("a@[192.0.2.1\0]"), true, &a), -1);
	assert_int_equal(address_parse(SLICE_LIT("\"a\0\"@example.it"), true, &a), -1);
}

struct path_case {
	const char	*in;
	int		 ret;
	const char	*mailbox, *rest;
};

static const struct path_case path_cases[] = {
	{ "<>", 0, "", "" },
	{ "<> SIZE=10", 0, "", "SIZE=10" },
	{ "<a@example.it>", 0, "a@example.it", "" },
	{ " <a@example.it>", 0, "a@example.it", "" },
	{ "<a@example.it>  SIZE=1 BODY=8BITMIME", 0, "a@example.it", "SIZE=1 BODY=8BITMIME" },
	{ "<\"a>b c\"@example.it> X=1", 0, "\"a>b c\"@example.it", "X=1" },
	{ "<\"a\\\">b\"@example.it>", 0, "\"a\\\">b\"@example.it", "" },
	{ "<@one.it:a@example.it>", 0, "a@example.it", "" },
	{ "<@one.it,@two.it:a@example.it> X", 0, "a@example.it", "X" },
	{ "<@[IPv6:::1],@[192.0.2.1]:a@example.it>", 0, "a@example.it", "" },
	{ "<Postmaster>", 0, "Postmaster", "" },
	{ "<" X64 "@" D187 ">", 0, X64 "@" D187, "" },

	{ "", -1, NULL, NULL },
	{ "a@example.it", -1, NULL, NULL },
	{ "<a@example.it", -1, NULL, NULL },
	{ "<a@example.it>SIZE=10", -1, NULL, NULL },
	{ "<a@example.it>>", -1, NULL, NULL },
	{ "<<a@example.it>>", -1, NULL, NULL },
	{ "< a@example.it>", -1, NULL, NULL },
	{ "<a@example.it >", -1, NULL, NULL },
	{ "< >", -1, NULL, NULL },
	{ "<@one.it>", -1, NULL, NULL },
	{ "<@one.it:>", -1, NULL, NULL },
	{ "<@one.it,:a@example.it>", -1, NULL, NULL },
	{ "<@one.it,two.it:a@example.it>", -1, NULL, NULL },
	{ "<@:a@example.it>", -1, NULL, NULL },
	{ "<@one.it", -1, NULL, NULL },
	{ "<@", -1, NULL, NULL },
	{ "<\"a@example.it>", -1, NULL, NULL },
	{ "<\"a\\", -1, NULL, NULL },
	{ "<@" D187 ",@" D187 ":a@example.it>", -1, NULL, NULL },
};

static void
path_table(void **state)
{
	struct slice mailbox, rest;
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]); i++) {
		const struct path_case *c = &path_cases[i];
		int ret = address_path(slice_str(c->in), false, &a, &mailbox, &rest);

		if (ret != c->ret)
			print_error("case: %s\n", c->in);
		assert_int_equal(ret, c->ret);
		if (ret < 0)
			continue;
		assert_true(slice_eq(mailbox, slice_str(c->mailbox)));
		assert_true(slice_eq(rest, slice_str(c->rest)));
		if (mailbox.n == 0)
			assert_int_equal(a.local.n + a.domain.n, 0);
	}
}

/* Every cut of a valid path must be refused, not read beyond. */
static void
path_cut_anywhere(void **state)
{
	static const char *const whole[] = {
		"<@one.it,@[IPv6:::1]:\"a\\\">b\"@example.it>", "<u@[192.0.2.1]>"
	};
	struct slice mailbox, rest;
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		struct slice s = slice_str(whole[i]);

		for (size_t n = 0; n < s.n; n++) {
			char *copy = slice_dup(slice_sub(s, 0, n));

			assert_int_equal(address_path(slice_make(copy, n), true, &a,
			    &mailbox, &rest), -1);
			free(copy);
		}
		assert_int_equal(address_path(s, true, &a, &mailbox, &rest), 0);
	}
}

static void
domain_canonical(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "Example.IT", "example.it" },
		{ "example.it.", "example.it" },
		{ "caff\xc3\xa8.it", "xn--caff-8oa.it" },
		{ "CAFF\xc3\x88.it", "xn--caff-8oa.it" },
		{ "b\xc3\xbc" "cher.example.", "xn--bcher-kva.example" },
		{ "_dmarc.example.it", "_dmarc.example.it" },
		{ "example.it..", NULL }, { "", NULL }, { ".", NULL }, { "a..b", NULL },
		{ "caff\xe8.it", NULL }, { "[192.0.2.1]", NULL }, { "a b.it", NULL },
		{ X64 ".it", NULL },
	};
	char out[ADDRESS_DOMAIN_MAX + 1], small[8];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int ret = address_domain_canonical(slice_str(t[i].in), out, sizeof(out));

		assert_int_equal(ret, t[i].out == NULL ? -1 : 0);
		assert_string_equal(out, t[i].out == NULL ? "" : t[i].out);
	}
	assert_int_equal(address_domain_canonical(SLICE_LIT("example.it"), small,
	    sizeof(small)), -1);
	assert_string_equal(small, "");
}

static void
quoting_both_ways(void **state)
{
	static const struct {
		const char *plain, *quoted;
	} t[] = {
		{ "john doe", "\"john doe\"" }, { "a.b", "a.b" }, { "", "\"\"" },
		{ ".a", "\".a\"" }, { "a.", "\"a.\"" }, { "a..b", "\"a..b\"" },
		{ "a\"b\\c", "\"a\\\"b\\\\c\"" }, { "a@b", "\"a@b\"" },
		{ "perch\xc3\xa9", "perch\xc3\xa9" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_clear(&b);
		assert_int_equal(address_quote(slice_str(t[i].plain), &b), 0);
		assert_true(slice_eq(buf_slice(&b), slice_str(t[i].quoted)));
		buf_clear(&b);
		assert_int_equal(address_unquote(slice_str(t[i].quoted), &b), 0);
		assert_true(slice_eq(buf_slice(&b), slice_str(t[i].plain)));
	}
	buf_clear(&b);
	assert_int_equal(address_quote(SLICE_LIT("a\rb"), &b), -1);
	assert_int_equal(address_quote(SLICE_LIT("a\x7f"), &b), -1);
	buf_fini(&b);
	buf_init(&b, 4);
	assert_int_equal(address_quote(SLICE_LIT("a b c"), &b), -1);
	assert_int_equal(address_unquote(SLICE_LIT("abcdef"), &b), -1);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_table),
		cmocka_unit_test(mailbox_with_nul_inside),
		cmocka_unit_test(path_table),
		cmocka_unit_test(path_cut_anywhere),
		cmocka_unit_test(domain_canonical),
		cmocka_unit_test(quoting_both_ways),
	};

	return cmocka_run_group_tests_name("policy/address", tests, NULL, NULL);
}
