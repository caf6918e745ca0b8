// SPDX-License-Identifier: Apache-2.0
/* The DNS view: design 6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/dnsview.h"
#include "tests/policy/zone.h"

static void
asking(void **state)
{
	struct buf answers, wants;
	struct slice rrs, list;
	struct dns_want w;
	struct dnsview v;

	(void)state;
	dnsview_init(&v);
	buf_init(&answers, 1 << 16);
	buf_init(&wants, 1 << 16);
	zone_answer("a.example A 192.0.2.1\nf.example FAIL x\n", DNS_A, SLICE_LIT("a.example"),
	    &answers);
	zone_answer("a.example A 192.0.2.1\n", DNS_MX, SLICE_LIT("a.example"), &answers);
	zone_answer("", DNS_A, SLICE_LIT("none.example"), &answers);
	zone_answer("f.example FAIL x\n", DNS_A, SLICE_LIT("f.example"), &answers);
	assert_int_equal(dnsview_load(&v, buf_slice(&answers), false), 0);

	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("A.Example."), &rrs), DNS_OK);
	assert_true(rrs.n > 0);
	assert_int_equal(dnsview_ask(&v, DNS_MX, SLICE_LIT("a.example"), &rrs), DNS_OK);
	assert_int_equal(rrs.n, 0);
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("none.example"), &rrs), DNS_NXDOMAIN);
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("f.example"), &rrs), DNS_FAIL);
	assert_int_equal(v.nwant, 0);

	/* misses are wanted once, in lower case, by type */
	assert_int_equal(dnsview_ask(&v, DNS_TXT, SLICE_LIT("New.Example"), &rrs), DNSVIEW_MISS);
	assert_int_equal(dnsview_ask(&v, DNS_TXT, SLICE_LIT("new.example."), &rrs), DNSVIEW_MISS);
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("new.example"), &rrs), DNSVIEW_MISS);
	dnsview_hint(&v, DNS_A, SLICE_LIT("hint.example"));
	dnsview_hint(&v, DNS_A, SLICE_LIT("a.example"));
	assert_int_equal(dnsview_wants(&v, &wants), 0);
	list = buf_slice(&wants);
	assert_int_equal(wire_item_next(&list, &dns_want_wire, &w), 1);
	assert_int_equal(w.type, DNS_TXT);
	assert_true(slice_eq(w.name, SLICE_LIT("new.example")));
	assert_int_equal(wire_item_next(&list, &dns_want_wire, &w), 1);
	assert_int_equal(w.type, DNS_A);
	assert_int_equal(wire_item_next(&list, &dns_want_wire, &w), 1);
	assert_true(slice_eq(w.name, SLICE_LIT("hint.example")));
	assert_int_equal(wire_item_next(&list, &dns_want_wire, &w), 0);

	/* the last time a miss is a failure and nothing is wanted */
	assert_int_equal(dnsview_load(&v, buf_slice(&answers), true), 0);
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("new.example"), &rrs), DNS_FAIL);
	dnsview_hint(&v, DNS_A, SLICE_LIT("hint.example"));
	assert_int_equal(v.nwant, 0);

	/* broken answers leave an empty view */
	assert_int_equal(dnsview_load(&v, slice_sub(buf_slice(&answers), 0, buf_len(&answers) - 1),
	    false), -1);
	assert_int_equal(v.nanswer, 0);
	dnsview_fini(&v);
	buf_fini(&answers);
	buf_fini(&wants);
}

/* Names of MX and PTR records as the relay hands them over (base/dnsrr.h). */
static void
targets(void **state)
{
	static const struct {
		const char *name, *asked;
	} cases[] = {
		{ "mx.example", "mx.example" }, { "", "" },
		{ "a\\058b\\047c.example", "a:b/c.example" }, { "\\032\\195.it", " \xc3.it" },
		/* a dot inside a label, a backslash, control octets */
		{ "a\\046b.example", "" }, { "a\\092b.example", "" }, { "a\\000b.example", "" },
		{ "a\\127b.example", "" },
		/* never written by us */
		{ "a\\05", "" }, { "a\\", "" }, { "\\999", "" }, { "\\xyz", "" },
	};
	char out[DNS_NAME_MAX + 1], longest[4 * DNS_NAME_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(slice_eq(dnsview_target(slice_str(cases[i].name), out),
		    slice_str(cases[i].asked)));
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(dnsview_target(slice_make(longest, sizeof(longest)), out).n,
	    DNS_NAME_MAX);
}

static void
names(void **state)
{
	static const struct {
		bool ok;
		const char *name;
	} cases[] = {
		{ true, "a" }, { true, "a.b" }, { true, "a.b." }, { true, "_x._y.z-1.it" },
		{ true, "a/b!$.c" },
		{ true, "123456789012345678901234567890123456789012345678901234567890123.a" },
		{ false, "1234567890123456789012345678901234567890123456789012345678901234.a" },
		{ false, "" }, { false, "." }, { false, ".." }, { false, "a..b" }, { false, ".a" },
		{ true, "a b.c" }, { false, "a\tb" }, { true, "\xc3\xa8.it" }, { false, "a\\.b" },
		{ false, "a\x7f" },
	};
	struct dnsview v;
	struct slice rrs;
	char big[300];

	(void)state;
	dnsview_init(&v);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice s = slice_str(cases[i].name);

		assert_int_equal(dnsview_name_ok(&s), cases[i].ok);
		v.nwant = 0;
		assert_int_equal(dnsview_ask(&v, DNS_A, slice_str(cases[i].name), &rrs),
		    cases[i].ok ? DNSVIEW_MISS : DNS_NXDOMAIN);
		assert_int_equal(v.nwant, cases[i].ok);
	}
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 10 == 9 ? '.' : 'x';
	v.nwant = 0;
	assert_int_equal(dnsview_ask(&v, DNS_A, slice_make(big, 253), &rrs), DNSVIEW_MISS);
	assert_int_equal(dnsview_ask(&v, DNS_A, slice_make(big, 254), &rrs), DNS_NXDOMAIN);
	dnsview_fini(&v);
}

/* Bounded: after DNSVIEW_WANTS_MAX names a miss is a failure. */
static void
bounded(void **state)
{
	struct dnsview v;
	struct slice rrs;
	char name[32];

	(void)state;
	dnsview_init(&v);
	for (int i = 0; i < DNSVIEW_WANTS_MAX; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		assert_int_equal(dnsview_ask(&v, DNS_A, slice_str(name), &rrs), DNSVIEW_MISS);
	}
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("one.more"), &rrs), DNS_FAIL);
	assert_int_equal(dnsview_ask(&v, DNS_A, SLICE_LIT("n3.example"), &rrs), DNSVIEW_MISS);
	dnsview_fini(&v);
}

static void
reverse(void **state)
{
	static const uint8_t v4[4] = { 192, 0, 2, 1 };
	static const uint8_t v6[16] = { 0x20, 1, 0x0d, 0xb8, [15] = 0xab };
	char out[80];

	(void)state;
	assert_true(slice_eq(dnsview_reverse(v4, 4, out, sizeof(out)),
	    SLICE_LIT("1.2.0.192.in-addr.arpa")));
	assert_true(slice_eq(dnsview_reverse(v6, 16, out, sizeof(out)),
	    SLICE_LIT("b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asking),
		cmocka_unit_test(names),
		cmocka_unit_test(targets),
		cmocka_unit_test(bounded),
		cmocka_unit_test(reverse),
	};

	return cmocka_run_group_tests_name("policy/dnsview", tests, NULL, NULL);
}
