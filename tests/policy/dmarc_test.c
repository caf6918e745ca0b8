// SPDX-License-Identifier: Apache-2.0
/* DMARC: tree walk, alignment, results, disposition (spec 6, 7.1, 14.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/dmarc.h"
#include "tests/policy/zone.h"

#define COUNT(t) (sizeof(t) / sizeof((t)[0]))

/* -- 6.2, 6.3, 14.3: the walk ------------------------------------------------------- */

static void
walk_names_14_3(void **state)
{
	static const char *const want[] = {
		"a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com",
		"h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com",
		"mail.example.com", "example.com", "com"
	};
	struct slice names[DMARC_QUERIES_MAX];
	size_t n;

	(void)state;
	assert_int_equal(dmarc_walk_names(slice_str(want[0]), names), 8);
	for (size_t i = 0; i < 8; i++)
		assert_true(slice_eq(names[i], slice_str(want[i])));
	n = dmarc_walk_names(SLICE_LIT("1.2.3.4.5.6.7.8.9"), names);
	assert_int_equal(n, 8);
	assert_true(slice_eq(names[1], SLICE_LIT("3.4.5.6.7.8.9")));
	n = dmarc_walk_names(SLICE_LIT("1.2.3.4.5.6.7.8"), names);
	assert_int_equal(n, 8);
	assert_true(slice_eq(names[1], SLICE_LIT("2.3.4.5.6.7.8")));
	assert_int_equal(dmarc_walk_names(SLICE_LIT("1.2.3.4.5.6.7"), names), 7);
	assert_int_equal(dmarc_walk_names(SLICE_LIT("example.com"), names), 2);
	assert_int_equal(dmarc_walk_names(SLICE_LIT("com"), names), 1);
	assert_true(slice_eq(names[0], SLICE_LIT("com")));
}

struct run {
	struct dnsview	 view;
	struct buf	 answers, wants;
	unsigned	 rounds, wanted;	/* of the last */
};

static void
run_init(struct run *r)
{
	dnsview_init(&r->view);
	buf_init(&r->answers, DNS_ANSWERS_MAX);
	buf_init(&r->wants, 64 * 1024);
}

static void
run_fini(struct run *r)
{
	dnsview_fini(&r->view);
	buf_fini(&r->answers);
	buf_fini(&r->wants);
}

/* Takes the wants of a round to the zone; false when there are none. */
static bool
run_next(struct run *r, const char *zone)
{
	if (r->view.nwant == 0)
		return false;
	r->wanted += (unsigned)r->view.nwant;
	r->rounds++;
	assert_true(r->rounds < 4);
	buf_clear(&r->wants);
	assert_int_equal(dnsview_wants(&r->view, &r->wants), 0);
	zone_answers(zone, buf_slice(&r->wants), &r->answers);
	assert_int_equal(dnsview_load(&r->view, buf_slice(&r->answers), false), 0);
	return true;
}

static void
run_start(struct run *r)
{
	buf_clear(&r->answers);
	r->rounds = r->wanted = 0;
	assert_int_equal(dnsview_load(&r->view, SLICE_NONE, false), 0);
}

#define D(name, rest) "_dmarc." name " TXT v=DMARC1; " rest "\n"

static void
organizational_6_3(void **state)
{
	static const struct {
		const char *zone, *start, *org;		/* NULL: DNS does not tell */
	} t[] = {
		{ D("mail.example.com", "p=none") D("example.com", "p=none"), "a.mail.example.com",
		    "example.com" },
		{ D("mail.example.com", "psd=n") D("example.com", "p=none"), "a.mail.example.com",
		    "mail.example.com" },
		{ D("com", "psd=y"), "a.mail.example.com", "example.com" },
		{ D("com", "psd=y"), "example.com", "example.com" },
		{ D("com", "psd=y"), "com", "com" },
		{ D("com", "p=none"), "a.example.com", "com" },
		{ D("co.uk", "psd=y"), "a.b.example.co.uk", "example.co.uk" },
		{ D("co.uk", "psd=y") D("uk", "psd=y"), "a.example.co.uk", "example.co.uk" },
		{ D("co.uk", "psd=y") D("uk", "psd=y"), "co.uk", "co.uk" },
		{ D("mail.example.com", "p=none") D("com", "psd=y"), "a.mail.example.com",
		    "example.com" },
		{ "", "a.mail.example.com", "a.mail.example.com" },
		{ D("a.mail.example.com", "p=none"), "a.mail.example.com", "a.mail.example.com" },
		{ D("a.mail.example.com", "psd=y") D("example.com", "p=none"),
		    "a.mail.example.com", "a.mail.example.com" },
		/* two records are none, whatever stands in them; other TXT does not count */
		{ D("mail.example.com", "psd=n") D("mail.example.com", "psd=n")
		    D("example.com", "p=none"), "a.mail.example.com", "example.com" },
		{ D("mail.example.com", "psd=n") "_dmarc.mail.example.com TXT v=DMARC2\n"
		    "_dmarc.mail.example.com TXT hello\n" D("example.com", "p=none"),
		    "a.mail.example.com", "mail.example.com" },
		/* a policy that cannot be used is a record nevertheless */
		{ D("example.com", "p=bad"), "a.example.com", "example.com" },
		/* names left out of a long walk are not asked */
		{ D("b.1.2.3.4.5.6.7.8", "psd=n") D("2.3.4.5.6.7.8", "p=none"),
		    "a.b.1.2.3.4.5.6.7.8", "2.3.4.5.6.7.8" },
		{ D("2.3.4.5.6.7.8", "psd=y"), "a.b.1.2.3.4.5.6.7.8", "1.2.3.4.5.6.7.8" },
		{ "_dmarc.example.com FAIL x\n", "a.example.com", NULL },
		{ D("mail.example.com", "psd=n") "_dmarc.example.com FAIL x\n",
		    "a.mail.example.com", "mail.example.com" },
		{ "_dmarc.a.mail.example.com FAIL x\n" D("mail.example.com", "psd=n"),
		    "a.mail.example.com", NULL },
	};
	struct run r;

	(void)state;
	run_init(&r);
	for (size_t i = 0; i < COUNT(t); i++) {
		struct slice org, names[DMARC_QUERIES_MAX];
		int st;

		run_start(&r);
		do
			st = dmarc_organizational(&r.view, slice_str(t[i].start), &org);
		while (run_next(&r, t[i].zone));
		if ((st == 0) != (t[i].org != NULL) ||
		    (st == 0 && !slice_eq(org, slice_str(t[i].org))))
			fail_msg("%zu %s: %d %.*s", i, t[i].start, st, SLICE_FMT(org));
		/* 6.2: all of a walk at once, eight at most */
		assert_int_equal(r.rounds, 1);
		assert_int_equal(r.wanted, dmarc_walk_names(slice_str(t[i].start), names));
	}
	run_fini(&r);
}

/* -- 6.4, 7.1: results -------------------------------------------------------------- */

#define RECORD	D("brand.example", "p=reject")
#define P	AUTH_PASS
#define F	AUTH_FAIL
#define T	AUTH_TEMPERROR

static const struct {
	const char *name, *author, *zone;
	struct { const char *domain; enum auth_result result; } spf, dkim[2];
	enum auth_result want;
	enum dmarc_policy policy;
	const char *found_at;
	bool spf_aligned, dkim_aligned;
} checks[] = {
	{ "identical DKIM", "brand.example", RECORD, { "esp.example", P },
	    { { "brand.example", P } }, P, DMARC_REJECT, "brand.example", false, true },
	{ "identical SPF", "brand.example", RECORD, { "BRAND.example", P },
	    { { "esp.example", P } }, P, DMARC_REJECT, "brand.example", true, false },
	{ "both", "brand.example", RECORD, { "brand.example", P },
	    { { "esp.example", P }, { "brand.example", P } }, P, DMARC_REJECT,
	    "brand.example", true, true },
	{ "relaxed, below", "brand.example", RECORD, { "bounce.brand.example", P },
	    { { "a.b.brand.example", P } }, P, DMARC_REJECT, "brand.example", true, true },
	{ "relaxed, above", "mail.brand.example", RECORD, { "brand.example", P },
	    { { "brand.example", P } }, P, DMARC_REJECT, "brand.example", true, true },
	{ "relaxed, beside", "mail.brand.example", RECORD, { "bounce.brand.example", P },
	    { { "" , AUTH_UNSET } }, P, DMARC_REJECT, "brand.example", true, false },
	{ "strict SPF", "brand.example", D("brand.example", "p=reject; aspf=s"),
	    { "bounce.brand.example", P }, { { "mail.brand.example", P } }, P, DMARC_REJECT,
	    "brand.example", false, true },
	{ "strict DKIM", "brand.example", D("brand.example", "p=reject; adkim=s"),
	    { "bounce.brand.example", P }, { { "mail.brand.example", P } }, P, DMARC_REJECT,
	    "brand.example", true, false },
	{ "strict, identical", "brand.example", D("brand.example", "p=reject; adkim=s; aspf=s"),
	    { "brand.example", P }, { { "brand.example", P } }, P, DMARC_REJECT,
	    "brand.example", true, true },
	{ "strict fails", "brand.example", D("brand.example", "p=reject; adkim=s; aspf=s"),
	    { "m.brand.example", P }, { { "m.brand.example", P } }, F, DMARC_REJECT,
	    "brand.example", false, false },
	{ "other domains", "brand.example", RECORD, { "esp.example", P },
	    { { "esp.example", P }, { "brand.example.net", P } }, F, DMARC_REJECT,
	    "brand.example", false, false },
	{ "nothing passed", "brand.example", RECORD, { "brand.example", AUTH_SOFTFAIL },
	    { { "brand.example", F }, { "brand.example", AUTH_POLICY } }, F, DMARC_REJECT,
	    "brand.example", false, false },
	{ "no identifiers", "brand.example", RECORD, { "", AUTH_NONE }, { { "", AUTH_UNSET } },
	    F, DMARC_REJECT, "brand.example", false, false },
	{ "name that only ends alike", "brand.example", RECORD, { "xbrand.example", P },
	    { { "xbrand.example", P } }, F, DMARC_REJECT, "brand.example", false, false },
	{ "no record", "brand.example", "", { "esp.example", P }, { { "brand.example", P } },
	    AUTH_NONE, DMARC_NONE, "", false, true },
	{ "no record, below", "brand.example", "", { "a.brand.example", P },
	    { { "a.brand.example", P } }, AUTH_NONE, DMARC_NONE, "", false, false },
	{ "two records", "brand.example", RECORD RECORD, { "x.example", P },
	    { { "x.example", P } }, AUTH_NONE, DMARC_NONE, "", false, false },
	{ "14.3: two records, one above", "m.brand.example", D("m.brand.example", "p=none")
	    D("m.brand.example", "p=none") RECORD, { "", AUTH_NONE }, { { "", AUTH_UNSET } },
	    F, DMARC_REJECT, "brand.example", false, false },
	{ "bad p= without rua=", "brand.example", D("brand.example", "p=bad"),
	    { "brand.example", P }, { { "x.example", P } }, AUTH_NONE, DMARC_NONE,
	    "brand.example", true, false },
	{ "bad p= with rua=", "brand.example", D("brand.example", "p=bad; rua=mailto:a@b.c"),
	    { "", AUTH_NONE }, { { "x.example", P } }, F, DMARC_NONE, "brand.example", false,
	    false },
	/* which record */
	{ "sp=", "m.brand.example", D("brand.example", "p=none; sp=quarantine; np=reject")
	    "m.brand.example A 192.0.2.1\n", { "", AUTH_NONE }, { { "", AUTH_UNSET } }, F,
	    DMARC_QUARANTINE, "brand.example", false, false },
	{ "np=", "m.brand.example", D("brand.example", "p=none; sp=quarantine; np=reject"),
	    { "", AUTH_NONE }, { { "", AUTH_UNSET } }, F, DMARC_REJECT, "brand.example", false,
	    false },
	{ "np= and a name below _dmarc", "m.brand.example", "_dmarc.m.brand.example TXT x\n"
	    D("brand.example", "p=none; sp=quarantine; np=reject"), { "", AUTH_NONE },
	    { { "", AUTH_UNSET } }, F, DMARC_QUARANTINE, "brand.example", false, false },
	{ "np= not known", "m.brand.example", D("brand.example", "p=none; np=reject")
	    "m.brand.example FAIL x\n", { "", AUTH_NONE }, { { "", AUTH_UNSET } }, T,
	    DMARC_NONE, "", false, false },
	{ "sp= not for the domain itself", "brand.example",
	    D("brand.example", "p=none; sp=reject; np=reject"), { "", AUTH_NONE },
	    { { "", AUTH_UNSET } }, F, DMARC_NONE, "brand.example", false, false },
	{ "own record before the organizational one", "m.brand.example",
	    D("m.brand.example", "p=none") D("brand.example", "p=reject"),
	    { "x.brand.example", P }, { { "", AUTH_UNSET } }, P, DMARC_NONE,
	    "m.brand.example", true, false },
	{ "one between is neither", "a.m.brand.example",
	    D("m.brand.example", "p=none; sp=none") D("brand.example", "p=reject"),
	    { "", AUTH_NONE }, { { "", AUTH_UNSET } }, F, DMARC_REJECT, "brand.example", false,
	    false },
	{ "psd=n cuts", "m.brand.example", D("m.brand.example", "p=none; psd=n")
	    D("brand.example", "p=reject"), { "x.brand.example", P },
	    { { "brand.example", P } }, F, DMARC_NONE, "m.brand.example", false, false },
	{ "public suffix", "brand.example", D("example", "p=reject; sp=quarantine; psd=y")
	    "brand.example A 192.0.2.1\n", { "m.brand.example", P }, { { "a.example", P } }, P,
	    DMARC_QUARANTINE, "example", true, false },
	{ "public suffix, neighbours", "brand.example", D("example", "p=reject; psd=y"),
	    { "other.example", P }, { { "example", P } }, F, DMARC_REJECT, "example", false,
	    false },
	{ "public suffix, its np=", "brand.example", D("example", "p=none; np=reject; psd=y"),
	    { "", AUTH_NONE }, { { "", AUTH_UNSET } }, F, DMARC_REJECT, "example", false,
	    false },
	{ "policy of an organization before its suffix", "m.brand.example",
	    D("brand.example", "p=quarantine") D("example", "p=reject; psd=y"),
	    { "", AUTH_NONE }, { { "", AUTH_UNSET } }, F, DMARC_QUARANTINE, "brand.example",
	    false, false },
	{ "t=y", "brand.example", D("brand.example", "p=reject; t=y"), { "", AUTH_NONE },
	    { { "", AUTH_UNSET } }, F, DMARC_QUARANTINE, "brand.example", false, false },
	/* U-labels on either side */
	{ "A-label", "xn--caff-8oa.example", D("xn--caff-8oa.example", "p=reject"),
	    { "caff\xc3\xa8.example", P }, { { "", AUTH_UNSET } }, P, DMARC_REJECT,
	    "xn--caff-8oa.example", true, false },
	{ "domain that is none", "brand.example", RECORD, { "brand..example", P },
	    { { "-.example", P } }, F, DMARC_REJECT, "brand.example", false, false },
	/* doubt */
	{ "policy not known", "brand.example", "_dmarc.brand.example FAIL x\n",
	    { "x.example", P }, { { "brand.example", P } }, T, DMARC_NONE, "", false, true },
	{ "policy above not known", "m.brand.example", "_dmarc.brand.example FAIL x\n",
	    { "x.example", P }, { { "", AUTH_UNSET } }, T, DMARC_NONE, "", false, false },
	{ "pass in spite of trouble above", "brand.example", RECORD "_dmarc.example FAIL x\n",
	    { "x.example", P }, { { "brand.example", P } }, P, DMARC_REJECT, "brand.example",
	    false, true },
	{ "alignment not known", "brand.example", RECORD "_dmarc.m.brand.example FAIL x\n",
	    { "m.brand.example", P }, { { "", AUTH_UNSET } }, T, DMARC_REJECT,
	    "brand.example", false, false },
	{ "the author's organization not known", "a.m.brand.example", RECORD
	    D("a.m.brand.example", "p=reject") "_dmarc.m.brand.example FAIL x\n",
	    { "brand.example", P }, { { "", AUTH_UNSET } }, T, DMARC_REJECT,
	    "a.m.brand.example", false, false },
	{ "trouble of another top level", "brand.example", RECORD "_dmarc.esp.net FAIL x\n",
	    { "esp.net", P }, { { "", AUTH_UNSET } }, F, DMARC_REJECT, "brand.example", false,
	    false },
	{ "aligned SPF temperror", "brand.example", RECORD, { "m.brand.example", T },
	    { { "", AUTH_UNSET } }, T, DMARC_REJECT, "brand.example", false, false },
	{ "aligned DKIM temperror, SPF passes", "brand.example", RECORD,
	    { "m.brand.example", P }, { { "brand.example", T } }, P, DMARC_REJECT,
	    "brand.example", true, false },
	{ "temperror of somebody else", "brand.example", RECORD, { "esp.example", T },
	    { { "esp.example", T } }, F, DMARC_REJECT, "brand.example", false, false },
};

static void
results_6_4_7_1(void **state)
{
	struct run r;

	(void)state;
	run_init(&r);
	for (size_t i = 0; i < COUNT(checks); i++) {
		struct dmarc_author a = { .state = DMARC_AUTHOR_ONE, .fields = 1 };
		struct dmarc_output out;
		struct dmarc_id ids[2];
		struct dmarc_input in = { .author = &a, .dkim = ids };

		snprintf(a.domain, sizeof(a.domain), "%s", checks[i].author);
		in.spf.domain = slice_str(checks[i].spf.domain);
		while (in.ndkim < 2 && checks[i].dkim[in.ndkim].domain != NULL) {
			ids[in.ndkim].domain = slice_str(checks[i].dkim[in.ndkim].domain);
			in.ndkim++;
		}
		/* before SPF and DKIM are decided, as the evaluation asks */
		run_start(&r);
		do
			dmarc_wants(&r.view, &in);
		while (run_next(&r, checks[i].zone));
		in.spf.result = checks[i].spf.result;
		for (size_t n = 0; n < in.ndkim; n++)
			ids[n].result = checks[i].dkim[n].result;
		dmarc_check(&r.view, &in, &out);
		if (out.result != checks[i].want || out.policy != checks[i].policy ||
		    strcmp(out.found_at, checks[i].found_at) != 0 ||
		    out.spf_aligned != checks[i].spf_aligned ||
		    out.dkim_aligned != checks[i].dkim_aligned)
			fail_msg("%s: %s %s at %s, SPF %d, DKIM %d (%s)", checks[i].name,
			    auth_result_name(out.result), dmarc_policy_name(out.policy),
			    out.found_at, out.spf_aligned, out.dkim_aligned, out.why);
		assert_int_equal(r.view.nwant, 0);	/* nothing was forgotten before */
		assert_int_equal(out.survivable, out.dkim_aligned);
		assert_string_equal(out.domain, checks[i].author);
	}
	run_fini(&r);
}

/* Every walk is asked for in the first round; only whether the author domain exists may
 * need another. */
static void
rounds_6_2(void **state)
{
	struct dmarc_author a = { .state = DMARC_AUTHOR_ONE, .domain = "m.brand.example" };
	struct dmarc_id ids[] = { { SLICE_LIT("brand.example"), AUTH_UNSET },
		{ SLICE_LIT("x.brand.example"), AUTH_UNSET }, { SLICE_LIT("esp.net"), AUTH_UNSET },
		{ SLICE_LIT("y.brand.example"), AUTH_FAIL } };
	struct dmarc_input in = { .author = &a, .dkim = ids, .ndkim = 4,
		.spf = { SLICE_LIT("b.m.brand.example"), AUTH_UNSET } };
	struct run r;

	(void)state;
	run_init(&r);
	run_start(&r);
	do
		dmarc_wants(&r.view, &in);
	while (run_next(&r, RECORD));
	assert_int_equal(r.rounds, 1);
	/* m.brand.example brand.example example x.brand.example b.m.brand.example */
	assert_int_equal(r.wanted, 5);
	run_start(&r);
	do
		dmarc_wants(&r.view, &in);
	while (run_next(&r, D("brand.example", "p=none; np=reject")));
	assert_int_equal(r.rounds, 2);
	assert_int_equal(r.wanted, 6);
	a.state = DMARC_AUTHOR_BROKEN;
	run_start(&r);
	dmarc_wants(&r.view, &in);
	assert_int_equal(r.view.nwant, 0);
	/* a name of full length is asked for where it fits */
	a.state = DMARC_AUTHOR_ONE;
	memset(a.domain, 'a', DNS_NAME_MAX);
	for (size_t i = 60; i < DNS_NAME_MAX; i += 61)
		a.domain[i] = '.';
	dmarc_wants(&r.view, &in);
	assert_true(r.view.nwant > 0);
	run_fini(&r);
}

/* -- 6.1, 6.5, 6.6: disposition ------------------------------------------------------ */

static void
author_of(struct dmarc_author *a, const char *header)
{
	struct header_field f;
	struct header h;

	dmarc_author_start(a);
	header_start(&h, slice_str(header));
	while (header_next(&h, &f))
		dmarc_author_field(a, &f);
}

static void
permerror_6_1(void **state)
{
	static const char *const bad[] = { "To: x@y\r\n\r\n",
		"From: a@b.example, c@d.example\r\n\r\n",
		"From: a@b.example\r\nFrom: a@b.example\r\n\r\n", "From: <a@b@c>\r\n\r\n" };
	const struct dmarc_facts facts = { .forward_unauthenticated = true, .clean = true,
		.override = DMARC_OVERRIDE_LIST };
	struct dmarc_author a;
	struct dmarc_input in = { .author = &a, .spf = { SLICE_LIT("b.example"), AUTH_PASS } };
	struct dmarc_disposition d;
	struct dmarc_output out;
	struct run r;

	(void)state;
	run_init(&r);
	for (size_t i = 0; i < COUNT(bad); i++) {
		run_start(&r);
		author_of(&a, bad[i]);
		dmarc_check(&r.view, &in, &out);
		assert_int_equal(out.result, AUTH_PERMERROR);
		assert_string_equal(out.domain, "");
		assert_string_not_equal(out.why, "");
		assert_false(out.survivable);
		d = dmarc_dispose(&out, &facts);
		assert_int_equal(d.action, DMARC_HOLD_ONLY);
		assert_string_equal(d.rule, "dmarc-permerror");
	}
	run_fini(&r);
}

/* An aligned domain is worth nothing without a pass, whatever else SPF has found. */
static void
only_a_pass_passes_6_1(void **state)
{
	struct dmarc_author a = { .state = DMARC_AUTHOR_ONE, .domain = "brand.example" };
	struct dmarc_input in = { .author = &a, .spf = { SLICE_LIT("brand.example"), AUTH_UNSET } };
	struct dmarc_output out;
	struct run r;

	(void)state;
	run_init(&r);
	for (unsigned i = AUTH_UNSET; i < AUTH_MAX; i++) {
		in.spf.result = (enum auth_result)i;
		run_start(&r);
		do
			dmarc_wants(&r.view, &in);
		while (run_next(&r, RECORD));
		dmarc_check(&r.view, &in, &out);
		assert_int_equal(out.result, i == AUTH_PASS ? AUTH_PASS :
		    i == AUTH_TEMPERROR ? AUTH_TEMPERROR : AUTH_FAIL);
		assert_int_equal(out.spf_aligned, i == AUTH_PASS);
		assert_int_equal(out.authenticated, i == AUTH_PASS);
	}
	run_fini(&r);
}

static void
disposition_6_5_6_6(void **state)
{
	static const struct {
		enum auth_result result;
		enum dmarc_policy policy;
		bool known, authenticated;
		struct dmarc_facts facts;
		enum dmarc_action want;
		const char *rule;
	} t[] = {
		{ AUTH_PASS, DMARC_REJECT, true, true, { .retry = true }, DMARC_FORWARD, "" },
		{ AUTH_PASS, DMARC_NONE, true, true, { .clean = false }, DMARC_FORWARD, "" },
		{ AUTH_NONE, DMARC_NONE, true, true, { .clean = false }, DMARC_FORWARD, "" },
		{ AUTH_NONE, DMARC_NONE, true, false, { .clean = true }, DMARC_HOLD_ONLY,
		    "dmarc-unauthenticated" },
		{ AUTH_NONE, DMARC_NONE, true, false, { .forward_unauthenticated = true },
		    DMARC_FORWARD, "" },
		{ F, DMARC_NONE, true, true, { .clean = true },
		    DMARC_FORWARD_LAST, "dmarc-fail-clean" },
		{ F, DMARC_NONE, true, true, { .forward_unauthenticated = true }, DMARC_HOLD_ONLY,
		    "dmarc-fail" },
		{ F, DMARC_QUARANTINE, true, true, { .clean = true, .forward_unauthenticated = true },
		    DMARC_HOLD_ONLY, "dmarc-quarantine" },
		{ F, DMARC_REJECT, true, true, { .clean = true, .forward_unauthenticated = true },
		    DMARC_HOLD_ONLY, "dmarc-reject" },
		{ F, DMARC_REJECT, true, false, { .override = DMARC_OVERRIDE_ARC }, DMARC_FORWARD,
		    "dmarc-override-arc" },
		{ F, DMARC_QUARANTINE, true, false, { .override = DMARC_OVERRIDE_LIST }, DMARC_FORWARD,
		    "dmarc-override-list" },
		/* an exception of enforced policies, no verdict on spam */
		{ F, DMARC_NONE, true, false, { .override = DMARC_OVERRIDE_LIST }, DMARC_HOLD_ONLY,
		    "dmarc-fail" },
		{ T, DMARC_REJECT, true, true, { .retry = true },
		    DMARC_RETRY, "dmarc-temperror" },
		{ T, DMARC_REJECT, true, true, { .retry = false },
		    DMARC_HOLD_ONLY, "dmarc-reject" },
		{ T, DMARC_NONE, true, true, { .clean = true },
		    DMARC_FORWARD_LAST, "dmarc-fail-clean" },
		{ T, DMARC_REJECT, true, true, { .override = DMARC_OVERRIDE_ARC }, DMARC_FORWARD,
		    "dmarc-override-arc" },
		{ T, DMARC_NONE, false, true, { .clean = true },
		    DMARC_HOLD_ONLY, "dmarc-temperror" },
		{ T, DMARC_NONE, false, true, { .retry = true },
		    DMARC_RETRY, "dmarc-temperror" },
		{ AUTH_PERMERROR, DMARC_NONE, true, true, { .override = DMARC_OVERRIDE_ARC },
		    DMARC_HOLD_ONLY, "dmarc-permerror" },
		{ AUTH_UNSET, DMARC_NONE, true, true, { .clean = true },
		    DMARC_HOLD_ONLY, "dmarc-unset" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct dmarc_output out = { .result = t[i].result, .policy = t[i].policy,
			.policy_known = t[i].known, .authenticated = t[i].authenticated };
		struct dmarc_disposition d = dmarc_dispose(&out, &t[i].facts);

		if (d.action != t[i].want || strcmp(d.rule, t[i].rule) != 0)
			fail_msg("%zu: %d %s", i, d.action, d.rule);
		assert_true(strlen(d.rule) < 64);	/* envelope.reason */
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk_names_14_3),
		cmocka_unit_test(organizational_6_3),
		cmocka_unit_test(results_6_4_7_1),
		cmocka_unit_test(rounds_6_2),
		cmocka_unit_test(permerror_6_1),
		cmocka_unit_test(only_a_pass_passes_6_1),
		cmocka_unit_test(disposition_6_5_6_6),
	};

	return cmocka_run_group_tests_name("policy/dmarc", tests, NULL, NULL);
}
