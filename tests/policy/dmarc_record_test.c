// SPDX-License-Identifier: Apache-2.0
/* DMARC records and the policy in them (spec 6.4, RFC 9989 4.7, 4.8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/dmarc_record.h"

#define COUNT(t) (sizeof(t) / sizeof((t)[0]))

/* The record in one line: p sp np (n q r, - absent, ! invalid), psd, adkim aspf, t, rua. */
static void
describe(const struct dmarc_record *r, char out[16])
{
	const struct dmarc_request *q[3] = { &r->p, &r->sp, &r->np };

	for (int i = 0; i < 3; i++)
		out[i] = q[i]->state == DMARC_TAG_ABSENT ? '-' :
		    q[i]->state == DMARC_TAG_INVALID ? '!' : dmarc_policy_name(q[i]->policy)[0];
	snprintf(out + 3, 13, " %c%c%c%s%s", "uyn"[r->psd], r->strict_dkim ? 's' : 'r',
	    r->strict_spf ? 's' : 'r', r->testing ? " t" : "", r->reported ? " @" : "");
}

static const struct {
	const char *txt, *want;		/* NULL: no record */
} records[] = {
	{ "v=DMARC1", "--- urr" },
	{ "v=DMARC1;", "--- urr" },
	{ "v=DMARC1 ; ", "--- urr" },
	{ "v = DMARC1;p=none", "n-- urr" },
	{ "v\t=\tDMARC1\t;\tp\t=\treject\t", "r-- urr" },
	{ "v=DMARC1; p=none", "n-- urr" },
	{ "v=DMARC1; p=quarantine;", "q-- urr" },
	{ "v=DMARC1; p=REJECT; sp=Quarantine; np=NONE", "rqn urr" },
	{ "v=DMARC1;p=reject;rua=mailto:a@brand.example", "r-- urr @" },
	{ "v=DMARC1; rua=mailto:a@brand.example; p=reject", "r-- urr @" },
	{ "v=DMARC1; p=none; adkim=s; aspf=S", "n-- uss" },
	{ "v=DMARC1; p=none; adkim=r; aspf=x", "n-- urr" },
	{ "v=DMARC1; p=none; adkim=strict", "n-- urr" },
	{ "v=DMARC1; p=none; psd=y", "n-- yrr" },
	{ "v=DMARC1; p=none; psd=N", "n-- nrr" },
	{ "v=DMARC1; p=none; psd=u", "n-- urr" },
	{ "v=DMARC1; p=none; psd=maybe", "n-- urr" },
	{ "v=DMARC1; p=reject; t=y", "r-- urr t" },
	{ "v=DMARC1; p=reject; t=n", "r-- urr" },
	{ "v=DMARC1; p=reject; t=yes", "r-- urr" },
	/* gone or unknown tags */
	{ "v=DMARC1; p=reject; pct=0; rf=afrf; ri=86400; fo=1; ruf=mailto:x@y", "r-- urr" },
	{ "v=DMARC1; x=y; p=reject; foo=bar=baz", "r-- urr" },
	{ "v=DMARC1; p=reject; junk; ;; =; =x; p2=none", "r-- urr" },
	/* no record */
	{ "", NULL },
	{ "v=DMARC1x; p=none", NULL },
	{ "v=dmarc1; p=none", NULL },
	{ "V=DMARC1; p=none", NULL },
	{ "v=DMARC2; p=none", NULL },
	{ "v=DMARC1 p=none", NULL },
	{ " v=DMARC1; p=none", NULL },
	{ "p=none; v=DMARC1", NULL },
	{ "; v=DMARC1; p=none", NULL },
	{ "\"v=DMARC1; p=none\"", NULL },
	{ "v", NULL },
	{ "v=", NULL },
	{ "v=spf1 -all", NULL },
	{ "dmarc", NULL },
	/* invalid values */
	{ "v=DMARC1; p=", "!-- urr" },
	{ "v=DMARC1; p=rejct", "!-- urr" },
	{ "v=DMARC1; p=reject none", "!-- urr" },
	{ "v=DMARC1; p=none; sp=bad", "n!- urr" },
	{ "v=DMARC1; p=none; np=bad", "n-! urr" },
	{ "v=DMARC1; p=re\xc3\xa8ject", "!-- urr" },
	{ "v=DMARC1; p=none\x01", "!-- urr" },
	{ "v=DMARC1; P=reject", "--- urr" },		/* RFC 6376 3.2: case-sensitive */
	/* a tag twice has no value */
	{ "v=DMARC1; p=reject; p=none", "!-- urr" },
	{ "v=DMARC1; p=none; p=none; rua=mailto:a@b", "!-- urr @" },
	{ "v=DMARC1; p=none; psd=y; psd=n", "n-- urr" },
	{ "v=DMARC1; p=none; adkim=s; adkim=s", "n-- urr" },
	{ "v=DMARC1; p=none; v=DMARC1", "n-- urr" },
	/* rua */
	{ "v=DMARC1; rua=mailto:a@b.example,mailto:c@d.example", "--- urr @" },
	{ "v=DMARC1; rua=mailto:a@b.example!10m", "--- urr @" },
	{ "v=DMARC1; rua=a@b.example", "--- urr" },
	{ "v=DMARC1; rua=mailto:", "--- urr" },
	{ "v=DMARC1; rua=mailto:a", "--- urr" },
	{ "v=DMARC1; rua=mailto:@b", "--- urr" },
	{ "v=DMARC1; rua=mailto:a@!10m", "--- urr" },
	{ "v=DMARC1; rua=mailto: a@b.example", "--- urr" },
	{ "v=DMARC1; rua=MAILTO:a@b.example", "--- urr @" },
	{ "v=DMARC1; rua=x , mailto:a@b.example", "--- urr @" },
	{ "v=DMARC1; rua=https://r.example/x", "--- urr @" },
	{ "v=DMARC1; rua=1https://r.example/x", "--- urr" },
	{ "v=DMARC1; rua=https:", "--- urr" },
	{ "v=DMARC1; rua=", "--- urr" },
	{ "v=DMARC1; rua=<mailto:a@b.example>", "--- urr" },
};

static void
records_6_4(void **state)
{
	struct dmarc_record r;
	char got[16];

	(void)state;
	for (size_t i = 0; i < COUNT(records); i++) {
		const char *want = records[i].want;
		int st = dmarc_record_parse(slice_str(records[i].txt), &r);

		describe(&r, got);
		if ((st == 0) != (want != NULL) || (st == 0 && strcmp(got, want) != 0))
			fail_msg("%s: %d %s", records[i].txt, st, got);
	}
	assert_int_equal(dmarc_record_parse(slice_make("v=DMARC1\0;p=none", 16), &r), -1);
}

static void
policy_6_4(void **state)
{
	enum { N = DMARC_NONE, Q = DMARC_QUARANTINE, R = DMARC_REJECT, X = -1 };
	/* at the author domain; above it; above one that does not exist */
	static const struct {
		const char *txt;
		int own, sub, absent;
	} t[] = {
		{ "v=DMARC1", N, N, N },
		{ "v=DMARC1; p=reject", R, R, R },
		{ "v=DMARC1; p=none; sp=quarantine", N, Q, Q },
		{ "v=DMARC1; p=none; sp=quarantine; np=reject", N, Q, R },
		{ "v=DMARC1; p=quarantine; np=reject", Q, Q, R },
		{ "v=DMARC1; p=reject; sp=none", R, N, N },
		{ "v=DMARC1; p=reject; np=none", R, R, N },
		{ "v=DMARC1; sp=reject", N, R, R },
		{ "v=DMARC1; np=reject", N, N, R },
		{ "v=DMARC1; p=reject; t=y", Q, Q, Q },
		{ "v=DMARC1; p=quarantine; t=y", N, N, N },
		{ "v=DMARC1; p=none; t=y", N, N, N },
		{ "v=DMARC1; p=none; sp=reject; np=quarantine; t=y", N, Q, N },
		{ "v=DMARC1; p=bad", X, X, X },
		{ "v=DMARC1; p=reject; sp=bad", X, X, X },
		{ "v=DMARC1; p=reject; np=bad", X, X, X },
		{ "v=DMARC1; p=bad; rua=mailto:a@b.example", N, N, N },
		{ "v=DMARC1; p=reject; sp=bad; rua=mailto:a@b.example", N, N, N },
		{ "v=DMARC1; p=reject; np=bad; rua=mailto:a@b.example", N, N, N },
		{ "v=DMARC1; p=bad; rua=bad", X, X, X },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		int got[3], want[3] = { t[i].own, t[i].sub, t[i].absent };
		enum dmarc_policy p;
		struct dmarc_record r;

		assert_int_equal(dmarc_record_parse(slice_str(t[i].txt), &r), 0);
		for (int n = 0; n < 3; n++) {
			got[n] = dmarc_record_policy(&r, n == 0, n < 2, &p);
			got[n] = got[n] == 0 ? (int)p : X;
		}
		if (memcmp(got, want, sizeof(got)) != 0)
			fail_msg("%s: %d %d %d", t[i].txt, got[0], got[1], got[2]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_6_4),
		cmocka_unit_test(policy_6_4),
	};

	return cmocka_run_group_tests_name("policy/dmarc_record", tests, NULL, NULL);
}
