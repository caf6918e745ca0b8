// SPDX-License-Identifier: Apache-2.0
/* The whole evaluation: messages and a zone in, verdict and trace out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "policy/arc_seal.h"
#include "policy/evaluate.h"
#include "policy/header.h"
#include "tests/policy/dkim_fixture.h"
#include "tests/policy/zone.h"

#define ZONE \
	"brand.example TXT v=spf1 ip4:192.0.2.25 -all\n" \
	"mail.brand.example TXT v=spf1 a -all\n" \
	"mail.brand.example A 192.0.2.25\n" \
	"25.2.0.192.in-addr.arpa PTR mail.brand.example\n"

#define RULE(t) ((uint32_t)(t) << ENV_TRIAGE_SHIFT)	/* T1..T10 of spec 10.2 */

struct fixture {
	struct evaluate	*e;
	struct conf	 conf;
	struct verify_eval in;
	struct verify_done out;
	struct buf	 answers, text;
	char		 zone[16384];
	unsigned	 rounds;
	char		 host[32];
};

static int
setup(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));

	f->e = evaluate_new();
	snprintf(f->host, sizeof(f->host), "mx.primary.example");
	f->conf.hostname = f->conf.authserv_id = f->host;
	f->conf.received_max = 100;
	f->conf.forward_bulk = true;
	f->in = (struct verify_eval){
		.req = 7, .received_ms = 1800000000000, .nrcpt = 1,
		.client_ip = SLICE_LIT("192.0.2.25"), .helo = SLICE_LIT("mail.brand.example"),
		.mail_from = SLICE_LIT("bounce@brand.example"),
		.rcpt = SLICE_LIT("Mario@primary.example"), .protocol = SLICE_LIT("ESMTPS"),
	};
	buf_init(&f->answers, DNS_ANSWERS_MAX);
	buf_init(&f->text, 1 << 20);
	snprintf(f->zone, sizeof(f->zone), "%s%s", ZONE, dkim_fixture_zone);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	evaluate_free(&f->e);
	buf_fini(&f->answers);
	buf_fini(&f->text);
	free(f);
	return 0;
}

static void
run(struct fixture *f, struct slice msg)
{
	buf_clear(&f->answers);
	for (f->rounds = 1;; f->rounds++) {
		assert_true(f->rounds < 10);
		f->in.answers = buf_slice(&f->answers);
		evaluate_run(f->e, &f->conf, &f->in, msg, &f->out);
		assert_int_equal(f->out.req, 7);
		if (f->out.status != VERIFY_WANT)
			break;
		assert_true(f->out.wants.n > 0);
		zone_answers(f->zone, f->out.wants, &f->answers);
	}
}

static bool
contains(struct slice s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static bool
ends(struct slice s, const char *what)
{
	size_t n = strlen(what);

	return s.n >= n && memcmp(s.p + s.n - n, what, n) == 0;
}

static struct slice
fixture_message(const char *name)
{
	for (size_t i = 0; i < sizeof(dkim_fixtures) / sizeof(dkim_fixtures[0]); i++)
		if (strcmp(dkim_fixtures[i].name, name) == 0)
			return slice_make(dkim_fixtures[i].text, dkim_fixtures[i].n);
	fail();
	return SLICE_NONE;
}

/* Spec 4.1, 4.2, 3.4: exactly this block for a plain, passing message. */
static void
passing(void **state)
{
	struct fixture *f = *state;
	char expect[1024];

	run(f, fixture_message("ed25519 relaxed/relaxed"));
	assert_int_equal(f->out.status, VERIFY_OK);
	assert_int_equal(f->out.spf, AUTH_PASS);
	assert_int_equal(f->out.dkim, AUTH_PASS);
	assert_int_equal(f->out.iprev, AUTH_PASS);
	assert_int_equal(f->out.dmarc, AUTH_NONE);
	assert_int_equal(f->out.arc, AUTH_NONE);
	assert_int_equal(f->out.triage, 2);
	assert_int_equal(f->out.flags, ENV_HAS_8BIT | ENV_SURVIVABLE | RULE(10));
	assert_int_equal(f->out.reason.n, 0);
	/* one round for SPF and DMARC records, key and PTR together, one for the PTR's address */
	assert_int_equal(f->rounds, 3);
	snprintf(expect, sizeof(expect), "mx.primary.example;\r\n"
	    "\tiprev=pass policy.iprev=192.0.2.25;\r\n"
	    "\tspf=pass smtp.mailfrom=brand.example;\r\n"
	    "\tdkim=pass header.d=brand.example header.s=ed header.a=ed25519-sha256 header.b=");
	assert_int_equal(memcmp(f->out.authres.p, expect, strlen(expect)), 0);
	assert_true(ends(f->out.authres, ";\r\n\tdmarc=none header.from=brand.example;"
	    "\r\n\tarc=none smtp.remote-ip=192.0.2.25"));
	assert_true(slice_istarts(f->out.trace, SLICE_LIT("Authentication-Results: mx.primary.")));
	assert_true(contains(f->out.trace,
	    "\r\nReceived: from mail.brand.example (mail.brand.example [192.0.2.25])\r\n"
	    "\tby mx.primary.example with ESMTPS id 0000000000000000\r\n"
	    "\tfor <Mario@primary.example>;\r\n\t"));
	assert_int_equal(f->out.trace.p[f->out.trace.n - 1], '\n');
	assert_int_equal(f->out.trace.p[f->out.trace.n - 2], '\r');
}

static void
identities(void **state)
{
	struct fixture *f = *state;
	struct slice plain = SLICE_LIT("Subject: x\r\n\r\nbody\r\n");

	f->in.mail_from = SLICE_NONE;	/* RFC 7208 2.4, spec 4.2 */
	run(f, plain);
	assert_int_equal(f->out.spf, AUTH_PASS);
	assert_true(contains(f->out.authres, "spf=pass smtp.helo=mail.brand.example;"));
	assert_true(contains(f->out.authres, "dkim=none"));
	f->in.client_ip = SLICE_LIT("2001:db8::1");
	run(f, plain);
	assert_int_equal(f->out.spf, AUTH_FAIL);
	assert_int_equal(f->out.iprev, AUTH_PERMERROR);
	assert_true(contains(f->out.authres, "iprev=permerror policy.iprev=\"2001:db8::1\";"));
	assert_true(contains(f->out.trace, "(unknown [IPv6:2001:db8::1])"));
	f->in.client_ip = SLICE_LIT("127.0.0.1");	/* no free ride */
	run(f, plain);
	assert_int_equal(f->out.spf, AUTH_FAIL);
}

/* Spec 3.11, 9.2: what is refused and what is only held. */
static void
refused_and_held(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned	 received;
		const char	*extra;
		struct slice	 body;
		uint8_t		 status;
		uint32_t	 flags;
		const char	*reason;
	} cases[] = {
		{ 0, "", { "x\r\n", 3 }, VERIFY_OK, 0, "" },
		{ 44, "", { "x\r\n", 3 }, VERIFY_OK, 0, "" },
		{ 45, "", { "x\r\n", 3 }, VERIFY_OK, ENV_HOLD_ONLY, "hops" },
		{ 99, "", { "x\r\n", 3 }, VERIFY_OK, ENV_HOLD_ONLY, "hops" },
		{ 100, "", { "x\r\n", 3 }, VERIFY_REFUSE, 0, "554 5.4.6 Too many hops" },
		{ 0, "Delivered-To: MARIO@PRIMARY.example\r\n", { "x\r\n", 3 }, VERIFY_OK,
		    ENV_HOLD_ONLY, "delivered-to" },
		{ 0, "Delivered-To: <mario@primary.example> \r\n", { "x\r\n", 3 }, VERIFY_OK,
		    ENV_HOLD_ONLY, "delivered-to" },
		{ 0, "Delivered-To: other@primary.example\r\n", { "x\r\n", 3 }, VERIFY_OK, 0, "" },
		{ 0, "", { "a\0b\r\n", 5 }, VERIFY_OK, ENV_HOLD_ONLY | ENV_HAS_NUL, "nul" },
		{ 0, "", { "\xc3\xa8\r\n", 4 }, VERIFY_OK, ENV_HAS_8BIT, "" },
		/* RFC 8689 3 */
		{ 0, "TLS-Required: No\r\n", { "x\r\n", 3 }, VERIFY_OK, ENV_TLS_OPTIONAL, "" },
		{ 0, "tls-required:\r\n no \r\n", { "x\r\n", 3 }, VERIFY_OK, ENV_TLS_OPTIONAL, "" },
		{ 0, "TLS-Required: Yes\r\n", { "x\r\n", 3 }, VERIFY_OK, 0, "" },
		{ 0, "TLS-Required: No\r\nTLS-Required: No\r\n", { "x\r\n", 3 }, VERIFY_OK, 0, "" },
		{ 0, "", { "TLS-Required: No\r\n", 18 }, VERIFY_OK, 0, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&f->text);
		for (unsigned n = 0; n < cases[i].received; n++)
			assert_int_equal(buf_puts(&f->text, "Received: from a by b\r\n"), 0);
		assert_int_equal(buf_puts(&f->text, cases[i].extra), 0);
		assert_int_equal(buf_puts(&f->text, "From: a@brand.example\r\n\r\n"), 0);
		assert_int_equal(buf_put_slice(&f->text, cases[i].body), 0);
		run(f, buf_slice(&f->text));
		assert_int_equal(f->out.status, cases[i].status);
		assert_int_equal(f->out.flags & ~(uint32_t)ENV_TRIAGE_RULE, cases[i].flags);
		assert_true(slice_eq(f->out.reason, slice_str(cases[i].reason)));
	}
	run(f, slice_make("Sub\0ject: x\r\n\r\nbody", 19));
	assert_int_equal(f->out.status, VERIFY_OK);	/* no header at all: a body */
	run(f, slice_make("Subject: x\0y\r\n\r\nbody", 20));
	assert_int_equal(f->out.status, VERIFY_REFUSE);
	assert_true(slice_istarts(f->out.reason, SLICE_LIT("550 5.6.0 ")));
}

/* Spec 0.5: SPF and iprev say nothing of a sender behind our own front server. */
static void
trusted_front_0_5(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(buf_puts(&f->text, "From: a@brand.example\r\n\r\nx\r\n"), 0);
	f->in.trusted = 1;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.status, VERIFY_OK);
	assert_int_equal(f->out.spf, AUTH_NONE);
	assert_int_equal(f->out.iprev, AUTH_UNSET);
	assert_true(slice_istarts(f->out.authres, SLICE_LIT("mx.primary.example;\r\n\tspf=none;\r\n\tdkim=none")));
	f->in.trusted = 0;
	run(f, buf_slice(&f->text));
	assert_int_not_equal(f->out.spf, AUTH_NONE);
}

/* Spec 0.5: what that front found out, of its topmost field and about this sender only. */
static void
trusted_authserv_id_0_5(void **state)
{
	static char one[] = "mx1.primary.example", three[] = "mx3.primary.example";
	static char *ids[] = { one, three };
	static const struct {
		const char	*header;
		enum auth_result spf;
		const char	*shown;
	} cases[] = {
#define AR "Authentication-Results: "
		{ AR "mx1.primary.example; spf=pass smtp.mailfrom=brand.example\r\n", AUTH_PASS,
		    "spf=pass smtp.mailfrom=brand.example;" },
		{ AR "MX3.primary.example 1;\r\n\tdkim=none (no; spf=fail);\r\n\tspf = softfail "
		    "reason=\"x; y\" smtp.mailfrom=News@Brand.example\r\n", AUTH_SOFTFAIL,
		    "spf=softfail smtp.mailfrom=brand.example;" },
		{ "Received: from x by mx1\r\n" AR "mx1.primary.example; spf=fail "
		    "smtp.mailfrom=brand.example\r\n", AUTH_FAIL, "spf=fail" },
		{ AR "mx1.primary.example; spf=temperror smtp.mailfrom=brand.example\r\n",
		    AUTH_TEMPERROR, "spf=temperror" },
		/* the topmost alone, whatever it says */
		{ AR "mx1.primary.example; none\r\n" AR "mx1.primary.example; spf=pass "
		    "smtp.mailfrom=brand.example\r\n", AUTH_NONE, "spf=none;" },
		/* not by others, not from under a second Received, not of another sender */
		{ AR "mx2.primary.example; spf=pass smtp.mailfrom=brand.example\r\n", AUTH_NONE,
		    "spf=none;" },
		{ "Received: a\r\nReceived: b\r\n" AR "mx1.primary.example; spf=pass "
		    "smtp.mailfrom=brand.example\r\n", AUTH_NONE, "spf=none;" },
		{ AR "mx1.primary.example; spf=pass smtp.mailfrom=evil.example\r\n", AUTH_NONE,
		    "spf=none;" },
		{ AR "mx1.primary.example; spf=pass\r\n", AUTH_NONE, "spf=none;" },
		{ AR "mx1.primary.example; spf=pass smtp.helo=brand.example\r\n", AUTH_NONE,
		    "spf=none;" },
		{ AR "mx1.primary.example; spf=excellent smtp.mailfrom=brand.example\r\n", AUTH_NONE,
		    "spf=none;" },
		/* two verdicts, or one in disorder, are none */
		{ AR "mx1.primary.example; spf=pass smtp.mailfrom=brand.example; spf=fail "
		    "smtp.mailfrom=brand.example\r\n", AUTH_NONE, "spf=none;" },
		{ AR "mx1.primary.example; spf=pass smtp.mailfrom=brand.example; x=(\r\n", AUTH_NONE,
		    "spf=none;" },
		{ AR "mx1.primary.example; spf=pass smtp.helo=mail.brand.example; spf=none "
		    "smtp.mailfrom=brand.example\r\n", AUTH_PASS, "spf=pass smtp.helo=mail.brand.example;" },
#undef AR
	};
	struct fixture *f = *state;

	f->conf.trust_authserv = ids;
	f->conf.ntrust_authserv = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&f->text);
		assert_int_equal(buf_printf(&f->text, "%sFrom: a@brand.example\r\n\r\nx\r\n",
		    cases[i].header), 0);
		f->in.mail_from = strstr(cases[i].shown, "smtp.helo") != NULL ? SLICE_NONE :
		    SLICE_LIT("news@brand.example");
		f->in.trusted = 1;
		run(f, buf_slice(&f->text));
		if (f->out.spf != cases[i].spf || !contains(f->out.authres, cases[i].shown))
			fail_msg("%s: %.*s", cases[i].header, SLICE_FMT(f->out.authres));
		/* a client that is known is judged by its address */
		f->in.trusted = 0;
		run(f, buf_slice(&f->text));
		assert_int_equal(f->out.spf, AUTH_PASS);
	}
}

/* Spec 4.3, 14.4 #14: fields in our name are cut, neighbours in one piece. */
static void
forged(void **state)
{
	struct fixture *f = *state;
	static const char msg[] = "From: a@brand.example\r\n"
	    "Authentication-Results: MX.primary.example; spf=pass\r\n"
	    "authentication-results: (a) mx.primary.example 1;\r\n\tspf=pass\r\n"
	    "To: y\r\n"
	    "Authentication-Results: mx.other.example; spf=pass\r\n"
	    "Authentication-Results: \"mx.primary.example\"; dkim=pass\r\n"
	    "\r\nAuthentication-Results: mx.primary.example; in the body\r\n";
	struct body_cut cut;
	struct slice cuts;

	run(f, SLICE_LIT(msg));
	assert_int_equal(f->out.status, VERIFY_OK);
	cuts = f->out.cuts;
	assert_int_equal(wire_item_next(&cuts, &body_cut_wire, &cut), 1);
	assert_int_equal(cut.off, 23);
	assert_int_equal(cut.len, strstr(msg, "To: y") - msg - 23);
	assert_int_equal(wire_item_next(&cuts, &body_cut_wire, &cut), 1);
	assert_int_equal(cut.off, strstr(msg, "Authentication-Results: \"") - msg);
	assert_int_equal(cut.len,
	    strlen("Authentication-Results: \"mx.primary.example\"; dkim=pass\r\n"));
	assert_int_equal(wire_item_next(&cuts, &body_cut_wire, &cut), 0);
	assert_int_equal(f->out.flags, RULE(10));

	/* signed by somebody, in our name: hold */
	run(f, fixture_message("signed forged A-R"));
	assert_int_equal(f->out.dkim, AUTH_PASS);
	assert_int_equal(f->out.flags & ENV_HOLD_ONLY, ENV_HOLD_ONLY);
	assert_true(slice_eq(f->out.reason, SLICE_LIT("forged-authres")));

	/* so many that they cannot be listed */
	buf_clear(&f->text);
	for (int i = 0; i < 400; i++)
		assert_int_equal(buf_puts(&f->text,
		    "Authentication-Results: mx.primary.example; spf=pass\r\nX: y\r\n"), 0);
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.status, VERIFY_REFUSE);
}

/* After the last answers a miss is temperror, spec 0.4; broken answers are our trouble. */
static void
dns_trouble(void **state)
{
	struct fixture *f = *state;
	struct slice msg = fixture_message("rsa relaxed/relaxed");

	f->in.last = 1;
	run(f, msg);
	assert_int_equal(f->rounds, 1);
	assert_int_equal(f->out.status, VERIFY_OK);
	assert_int_equal(f->out.spf, AUTH_TEMPERROR);
	assert_int_equal(f->out.dkim, AUTH_TEMPERROR);
	assert_int_equal(f->out.iprev, AUTH_TEMPERROR);
	assert_int_equal(f->out.dmarc, AUTH_TEMPERROR);
	assert_int_equal(f->out.flags & (ENV_HOLD_ONLY | ENV_RECHECK), ENV_RECHECK);
	assert_true(slice_eq(f->out.reason, SLICE_LIT("dmarc-temperror")));
	assert_true(contains(f->out.authres, "dmarc=temperror header.from=brand.example;"));

	f->in.answers = SLICE_LIT("\1\2\3");
	evaluate_run(f->e, &f->conf, &f->in, msg, &f->out);
	assert_int_equal(f->out.status, VERIFY_FAILED);
	assert_true(contains(f->out.trace, "Authentication-Results: mx.primary.example; none\r\n"));
	assert_true(contains(f->out.trace, "Received: from "));
	assert_int_equal(f->out.flags, ENV_HOLD_ONLY);
}

/* Messages that are hardly any: nothing may crash, a trace always comes. */
static void
odd_messages(void **state)
{
	struct fixture *f = *state;
	static const char *const odd[] = {
		"", "\r\n", "\r", "\n", ":", ": x\r\n\r\n", "no header at all\r\n",
		" folded first\r\n",
		"From nobody Mon Jan 1 00:00:00 2024\r\nSubject: x\r\n\r\n", "A:", "A:\r\n",
		"A:\r\n ",
		"A:\r\n\r\n\r\n", "Subject: x\r\nnot a field\r\nFrom: y\r\n\r\n",
		"A: \xff\xfe\r\n\r\n\xff",
		"DKIM-Signature:\r\n", "DKIM-Signature: v=1\r\n\r\n",
		"Authentication-Results:\r\n\r\n",
		"Authentication-Results: (((\r\n\r\n", "Authentication-Results: \"\r\n\r\n",
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		run(f, slice_str(odd[i]));
		assert_int_equal(f->out.status, VERIFY_OK);
		assert_true(f->out.trace.n > 0);
	}
	f->in.helo = f->in.mail_from = f->in.client_ip = f->in.rcpt = f->in.protocol = SLICE_NONE;
	run(f, SLICE_NONE);
	assert_int_equal(f->out.status, VERIFY_OK);
	assert_true(contains(f->out.trace, "Received: from unknown (unknown []"));
}

/* What strangers say ends up in one line of ours, whatever it is. */
static void
hostile_envelope(void **state)
{
	struct fixture *f = *state;
	size_t lines = 0;

	f->in.helo = SLICE_LIT("x\r\nEvil: header (a) \"b\" \xff");
	f->in.mail_from = SLICE_LIT("\"a\r\nb\"@x\r\ny.example");
	f->in.rcpt = SLICE_LIT("u\r\nv@primary.example");
	run(f, SLICE_LIT("Subject: x\r\n\r\n"));
	assert_false(contains(f->out.trace, "Evil: header"));
	assert_false(contains(f->out.trace, "for <"));
	for (size_t i = 0; i < f->out.trace.n; i++) {
		unsigned char c = (unsigned char)f->out.trace.p[i];

		lines += c == '\n';
		assert_true(c == '\r' || c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f));
		if (c == '\n' && i + 1 < f->out.trace.n)
			assert_true(f->out.trace.p[i + 1] == '\t' || f->out.trace.p[i + 1] == 'R');
	}
	assert_true(lines < 10);
}

/* --- DMARC, spec 6 --- */

#define REJECT	"_dmarc.brand.example TXT v=DMARC1; p=reject\n"
#define FROM	"From: Brand <news@brand.example>\r\n"

static void
set_zone(struct fixture *f, const char *more)
{
	snprintf(f->zone, sizeof(f->zone), "%s%s%s", ZONE, dkim_fixture_zone, more);
}

static void
expect_hold(struct fixture *f, const char *reason)
{
	assert_int_equal(f->out.status, VERIFY_OK);
	if (!slice_eq(f->out.reason, slice_str(reason)))
		print_error("%.*s, not %s\n", SLICE_FMT(f->out.reason), reason);
	assert_true(slice_eq(f->out.reason, slice_str(reason)));
	/* 0.4: not for good while only DNS keeps it here */
	uint32_t want = reason[0] == '\0' ? 0 : strcmp(reason, "dmarc-temperror") == 0 ?
	    ENV_RECHECK : ENV_HOLD_ONLY;
	assert_int_equal(f->out.flags & (ENV_HOLD_ONLY | ENV_RECHECK), want);
}

/* 4.2: the words; 6.5: what they lead to; 0.4: all names wanted in one round. */
static void
dmarc_4_2_and_6_5(void **state)
{
	static const struct {
		const char	*zone, *msg, *ip, *from;
		enum auth_result result;
		uint32_t	 flags;		/* survivable and policy */
		const char	*authres, *reason;
	} t[] = {
		/* aligned by SPF only: not survivable (7.1) */
		{ REJECT, FROM "\r\nx\r\n", "192.0.2.25", "b@brand.example", AUTH_PASS, ENV_REJECT,
		  "dmarc=pass header.from=brand.example policy.dmarc=reject;", "" },
		{ REJECT, FROM "\r\nx\r\n", "192.0.2.66", "b@brand.example", AUTH_FAIL, ENV_REJECT,
		  "dmarc=fail header.from=brand.example policy.dmarc=reject;", "dmarc-reject" },
		/* a pass for somebody else */
		{ REJECT "esp.example TXT v=spf1 +all\n", FROM "\r\nx\r\n", "192.0.2.66",
		  "b@esp.example", AUTH_FAIL, ENV_REJECT, "dmarc=fail", "dmarc-reject" },
		{ "_dmarc.brand.example TXT v=DMARC1; p=quarantine\n", FROM "\r\nx\r\n", "192.0.2.66",
		  "b@brand.example", AUTH_FAIL, ENV_QUARANTINE,
		  "dmarc=fail header.from=brand.example policy.dmarc=quarantine;",
		  "dmarc-quarantine" },
		{ "_dmarc.brand.example TXT v=DMARC1; p=reject; t=y\n", FROM "\r\nx\r\n", "192.0.2.66",
		  "b@brand.example", AUTH_FAIL, ENV_QUARANTINE, "policy.dmarc=quarantine;",
		  "dmarc-quarantine" },
		/* without a spam verdict nothing is clean */
		{ "_dmarc.brand.example TXT v=DMARC1; p=none\n", FROM "\r\nx\r\n", "192.0.2.66",
		  "b@brand.example", AUTH_FAIL, 0, "policy.dmarc=none;", "dmarc-fail" },
		/* no record: somebody must have passed, whoever it is */
		{ "esp.example TXT v=spf1 +all\n", FROM "\r\nx\r\n", "192.0.2.66", "b@esp.example",
		  AUTH_NONE, 0, "dmarc=none header.from=brand.example;", "" },
		{ "", FROM "\r\nx\r\n", "192.0.2.66", "b@brand.example", AUTH_NONE, 0,
		  "dmarc=none header.from=brand.example;", "dmarc-unauthenticated" },
		{ "_dmarc.brand.example FAIL x\n", FROM "\r\nx\r\n", "192.0.2.25", "b@brand.example",
		  AUTH_TEMPERROR, 0, "dmarc=temperror header.from=brand.example;",
		  "dmarc-temperror" },
		/* 6.1 */
		{ REJECT, "Subject: x\r\n\r\nx\r\n", "192.0.2.25", "b@brand.example", AUTH_PERMERROR, 0,
		  "dmarc=permerror;", "dmarc-permerror" },
		{ REJECT, "From: a@brand.example, b@other.example\r\n\r\nx\r\n", "192.0.2.25",
		  "b@brand.example", AUTH_PERMERROR, 0, "dmarc=permerror;", "dmarc-permerror" },
		{ REJECT, FROM "From: x@other.example\r\n\r\nx\r\n", "192.0.2.25", "b@brand.example",
		  AUTH_PERMERROR, 0, "dmarc=permerror;", "dmarc-permerror" },
		/* 3.16: doubled fields are forwarded under a pass only */
		{ REJECT, FROM "Date: 1\r\ndate: 2\r\n\r\nx\r\n", "192.0.2.25", "b@brand.example",
		  AUTH_PASS, ENV_REJECT, "dmarc=pass", "" },
		{ "", FROM "Date: 1\r\ndate: 2\r\n\r\nx\r\n", "192.0.2.25", "b@brand.example",
		  AUTH_NONE, 0, "dmarc=none", "duplicate-fields" },
		{ "", FROM "Subject: 1\r\nTo: x\r\nSUBJECT: 2\r\n\r\nx\r\n", "192.0.2.25",
		  "b@brand.example", AUTH_NONE, 0, "dmarc=none", "duplicate-fields" },
		{ "", FROM "Message-ID: 1\r\nMessage-Id: 2\r\n\r\nx\r\n", "192.0.2.25",
		  "b@brand.example", AUTH_NONE, 0, "dmarc=none", "duplicate-fields" },
		{ "", FROM "Cc: 1\r\nCc: 2\r\n\r\nx\r\n", "192.0.2.25", "b@brand.example", AUTH_NONE, 0,
		  "dmarc=none", "" },
		/* 9.5 */
		{ "", FROM "\r\nx\r\n", "192.0.2.25", "", AUTH_NONE, 0, "dmarc=none", "null-sender" },
		{ REJECT, FROM "\r\nx\r\n", "192.0.2.25", "", AUTH_PASS, ENV_REJECT, "dmarc=pass", "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		set_zone(f, t[i].zone);
		f->in.client_ip = slice_str(t[i].ip);
		f->in.mail_from = slice_str(t[i].from);
		run(f, slice_str(t[i].msg));
		assert_true(f->rounds <= 3);
		assert_int_equal(f->out.dmarc, t[i].result);
		assert_int_equal(f->out.flags & (ENV_SURVIVABLE | ENV_REJECT | ENV_QUARANTINE),
		    t[i].flags);
		if (!contains(f->out.authres, t[i].authres))
			print_error("%zu: %.*s\n", i, SLICE_FMT(f->out.authres));
		assert_true(contains(f->out.authres, t[i].authres));
		expect_hold(f, t[i].reason);
	}
}

/* 7.1: one aligned DKIM signature makes it survivable, whatever SPF says. */
static void
survivable_7_1(void **state)
{
	struct fixture *f = *state;

	set_zone(f, REJECT);
	f->in.client_ip = SLICE_LIT("192.0.2.66");
	run(f, fixture_message("rsa relaxed/relaxed"));
	assert_int_equal(f->out.spf, AUTH_FAIL);
	assert_int_equal(f->out.dmarc, AUTH_PASS);
	assert_int_equal(f->out.flags & ENV_OF_VERIFY,
	    ENV_HAS_8BIT | ENV_SURVIVABLE | ENV_REJECT | ENV_ALIGNED | RULE(9));
	assert_int_equal(f->out.triage, 1);
	expect_hold(f, "");
}

/* 6.7, and what the configuration may change of 6.5 and 9.5. */
static void
configured_6_5_6_7_9_5(void **state)
{
	struct fixture *f = *state;
	struct slice plain = SLICE_LIT(FROM "\r\nx\r\n");

	f->in.client_ip = SLICE_LIT("192.0.2.66");
	set_zone(f, REJECT);
	f->conf.dmarc_reject = true;
	run(f, plain);
	assert_int_equal(f->out.status, VERIFY_REFUSE);
	assert_true(slice_eq(f->out.reason,
	    SLICE_LIT("550 5.7.1 Refused by the DMARC policy for brand.example")));
	/* our own copy, perhaps: never a 5xx (9.1) */
	run(f, SLICE_LIT("X-Fwd-Loop: 00\r\n" FROM "\r\nx\r\n"));
	expect_hold(f, "dmarc-reject");
	assert_true((f->out.flags & ENV_OF_VERIFY & ENV_TAGGED) != 0);
	run(f, SLICE_LIT(FROM "\r\nX-Fwd-Loop: 00\r\n"));	/* in the body */
	assert_true((f->out.flags & ENV_TAGGED) == 0);
	/* a temporary error never is a reason */
	set_zone(f, "_dmarc.brand.example FAIL x\n");
	run(f, plain);
	expect_hold(f, "dmarc-temperror");
	set_zone(f, "_dmarc.brand.example TXT v=DMARC1; p=quarantine\n");
	run(f, plain);
	expect_hold(f, "dmarc-quarantine");

	set_zone(f, "");
	f->conf.forward_unauthenticated = true;
	run(f, plain);
	expect_hold(f, "");

	f->in.mail_from = SLICE_NONE;
	run(f, plain);
	expect_hold(f, "null-sender");
	f->conf.forward_null_sender = NULL_SENDER_ALL;
	run(f, plain);
	expect_hold(f, "");
	assert_int_equal(f->out.triage, 3);
	f->conf.forward_null_sender = NULL_SENDER_NONE;
	set_zone(f, REJECT);
	f->in.client_ip = SLICE_LIT("192.0.2.25");
	run(f, plain);
	assert_int_equal(f->out.dmarc, AUTH_PASS);
	expect_hold(f, "null-sender");

	/* 10.2 T5 */
	f->in.mail_from = SLICE_LIT("b@brand.example");
	run(f, SLICE_LIT(FROM "List-Id: <l.brand.example>\r\n\r\nx\r\n"));
	expect_hold(f, "");
	assert_int_equal(f->out.triage, 3);
	f->conf.forward_bulk = false;
	run(f, SLICE_LIT(FROM "List-Id: <l.brand.example>\r\n\r\nx\r\n"));
	expect_hold(f, "bulk");
	assert_int_equal(f->out.triage, 3);
	assert_int_equal(f->out.flags & ENV_TRIAGE_RULE, RULE(1));
}

/* 10.2: the class of a message comes out of the whole. */
static void
triage_10_2(void **state)
{
	struct fixture *f = *state;
	char critical[] = "brand.example", *list[] = { critical };

	set_zone(f, REJECT);
	run(f, SLICE_LIT("From: no-reply@brand.example\r\n\r\n123456\r\n"));
	assert_int_equal(f->out.triage, 0);
	assert_int_equal(f->out.flags, ENV_REJECT | ENV_ALIGNED | RULE(4));
	f->conf.critical_domain = list;
	f->conf.ncritical_domain = 1;
	run(f, SLICE_LIT("From: x@brand.example\r\n\r\n123456\r\n"));
	assert_int_equal(f->out.triage, 0);
	assert_int_equal(f->out.flags, ENV_REJECT | ENV_ALIGNED | RULE(2));
	f->in.client_ip = SLICE_LIT("192.0.2.66");
	run(f, SLICE_LIT("From: x@brand.example\r\n\r\n123456\r\n"));
	assert_int_equal(f->out.triage, 2);
	assert_int_equal(f->out.flags, ENV_REJECT | ENV_HOLD_ONLY | RULE(1));
}

/* 4.4, 3.2: one field, between the others, unless a signer has closed the door. */
static void
received_spf_4_4(void **state)
{
	struct fixture *f = *state;

	run(f, SLICE_LIT(FROM "\r\nx\r\n"));
	assert_false(contains(f->out.trace, "Received-SPF"));
	f->conf.received_spf = true;
	run(f, SLICE_LIT(FROM "\r\nx\r\n"));
	assert_true(contains(f->out.trace, "\r\nReceived-SPF: pass\r\n\tclient-ip=192.0.2.25;"
	    "\r\n\tenvelope-from=\"bounce@brand.example\";\r\n\thelo=mail.brand.example;"
	    "\r\n\treceiver=mx.primary.example;\r\n\tidentity=mailfrom\r\nReceived: from "));
	run(f, SLICE_LIT("DKIM-Signature: h=from:received-spf\r\n" FROM "\r\nx\r\n"));
	assert_false(contains(f->out.trace, "Received-SPF"));
	run(f, SLICE_LIT("DKIM-Signature: h=received-spf\r\nReceived-SPF: none\r\n" FROM
	    "\r\nx\r\n"));
	assert_true(contains(f->out.trace, "\r\nReceived-SPF: pass\r\n"));
	/* no verdict, no field */
	evaluate_failed(f->e, &f->conf, &f->in, &f->out);
	assert_false(contains(f->out.trace, "Received-SPF"));
}

/* --- ARC, spec 5 and 6.6 --- */

static struct sign_key *
make_key(void)
{
	EVP_PKEY *k = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	struct sign_key *key;
	const char *why;
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	key = sign_key_new(slice_make(p, (size_t)n), &why);
	assert_non_null(key);
	BIO_free(bio);
	EVP_PKEY_free(k);
	return key;
}

/* A zone with the key at s._domainkey.arc.example. */
static void
set_key_zone(struct fixture *f, struct sign_key *key)
{
	char zone[2048];
	struct buf rec;

	buf_init(&rec, 1024);
	assert_int_equal(sign_key_record(key, &rec), 0);
	snprintf(zone, sizeof(zone), REJECT "s._domainkey.arc.example TXT %.*s\n",
	    SLICE_FMT(buf_slice(&rec)));
	set_zone(f, zone);
	buf_fini(&rec);
}

#define AAR_PASS " arc.example; dmarc=pass header.from=brand.example"

static void
start_message(struct fixture *f)
{
	buf_clear(&f->text);
	assert_int_equal(buf_puts(&f->text, FROM "Subject: [list] x\r\n\r\nfooter\r\n"), 0);
}

/* The parts of the message in f->text that a signature is made of. */
static void
read_message(struct fixture *f, struct sign_fields *fields, uint8_t hash[SIGN_HASH])
{
	struct slice msg = buf_slice(&f->text);
	struct sign_body *b = sign_body_new();
	struct header_field field;
	struct header h;

	header_start(&h, msg);
	while (header_next(&h, &field))
		if (arc_seal_wants(field.name))
			assert_int_equal(sign_fields_add(fields, field.name, field.raw), 0);
	sign_body_start(b);
	sign_body_put(b, slice_sub(msg, h.body, msg.n));
	sign_body_end(b, hash);
	sign_body_free(&b);
}

/* Puts a seal of arc.example above the message in f->text, or its DKIM signature. */
static void
seal(struct fixture *f, struct sign_key *key, const char *authres)
{
	struct arc_seal a = {
		.key = key, .domain = SLICE_LIT("arc.example"), .selector = SLICE_LIT("s"),
		.when = 1700000000, .chain = AUTH_NONE, .authres = slice_str(authres)
	};
	const struct sign_spec dkim = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = a.domain, .selector = a.selector, .when = a.when,
		.h = SLICE_LIT("From:Subject")
	};
	struct sign_fields fields = { 0 };
	struct buf out;

	start_message(f);
	read_message(f, &fields, a.body_hash);
	buf_init(&out, 1 << 20);
	if (authres[0] != '\0')
		assert_int_equal(arc_seal_put(&out, &a, &fields), ARC_SEALED);
	else
		assert_int_equal(sign_field(&out, key, &dkim, &fields, a.body_hash), 0);
	assert_int_equal(buf_put_slice(&out, buf_slice(&f->text)), 0);
	buf_clear(&f->text);
	assert_int_equal(buf_put_slice(&f->text, buf_slice(&out)), 0);
	buf_fini(&out);
	sign_fields_fini(&fields);
}

static void
arc_5_1_and_6_6(void **state)
{
	struct fixture *f = *state;
	struct sign_key *key = make_key();
	char sealer[] = "arc.example", other[] = "arc.other.example", *list[] = { other, sealer };

	set_key_zone(f, key);
	f->in.client_ip = SLICE_LIT("192.0.2.66");

	seal(f, key, AAR_PASS);
	run(f, buf_slice(&f->text));
	assert_true(f->rounds <= 3);
	assert_int_equal(f->out.arc, AUTH_PASS);
	assert_true(ends(f->out.authres, ";\r\n\tdmarc=fail header.from=brand.example "
	    "policy.dmarc=reject;\r\n\tarc=pass smtp.remote-ip=192.0.2.66 header.oldest-pass=0"));
	expect_hold(f, "dmarc-reject");
	/* 14.4 case 17: once the sealer is trusted its word counts */
	f->conf.trusted_sealer = list;
	f->conf.ntrusted_sealer = 2;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.flags & ENV_HOLD_ONLY, 0);
	assert_true(slice_eq(f->out.reason, SLICE_LIT("dmarc-override-arc")));
	/* nor is it refused */
	f->conf.dmarc_reject = true;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.status, VERIFY_OK);
	f->conf.dmarc_reject = false;
	/* a changed octet of the body */
	f->text.p[f->text.n - 3] ^= 1;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.arc, AUTH_FAIL);
	assert_true(contains(f->out.authres, "arc=fail smtp.remote-ip=192.0.2.66"));
	assert_false(contains(f->out.authres, "oldest-pass"));
	expect_hold(f, "dmarc-reject");
	/* a sealer that saw it fail, or saw another author */
	seal(f, key, " arc.example; dmarc=fail header.from=brand.example");
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.arc, AUTH_PASS);
	expect_hold(f, "dmarc-reject");
	seal(f, key, " arc.example; dmarc=pass header.from=other.example");
	run(f, buf_slice(&f->text));
	expect_hold(f, "dmarc-reject");
	/* DNS trouble: fail is said (5.1), but the chain is not taken for broken */
	seal(f, key, AAR_PASS);
	set_zone(f, REJECT "s._domainkey.arc.example FAIL x\n");
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.arc, AUTH_TEMPERROR);
	assert_true(contains(f->out.authres, "arc=fail"));
	sign_key_free(&key);
}

/* 6.6: the list signs with its own domain, and counts while that passes. */
static void
known_list_6_6(void **state)
{
	struct fixture *f = *state;
	struct sign_key *key = make_key();
	char list[] = "arc.example", *lists[] = { list };

	set_key_zone(f, key);
	f->in.client_ip = SLICE_LIT("192.0.2.66");
	seal(f, key, "");
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.dkim, AUTH_PASS);
	assert_int_equal(f->out.dmarc, AUTH_FAIL);
	expect_hold(f, "dmarc-reject");
	f->conf.known_list = lists;
	f->conf.nknown_list = 1;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.flags & (ENV_HOLD_ONLY | ENV_SURVIVABLE), 0);
	assert_true(slice_eq(f->out.reason, SLICE_LIT("dmarc-override-list")));
	f->text.p[f->text.n - 3] ^= 1;
	run(f, buf_slice(&f->text));
	assert_int_equal(f->out.dkim, AUTH_FAIL);
	expect_hold(f, "dmarc-reject");
	/* an author that has no policy is not let through by it */
	lists[0] = list;
	seal(f, key, "");
	f->text.p[f->text.n - 3] ^= 1;
	set_zone(f, "");
	run(f, buf_slice(&f->text));
	expect_hold(f, "dmarc-unauthenticated");
	sign_key_free(&key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(passing, setup, teardown),
		cmocka_unit_test_setup_teardown(identities, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_and_held, setup, teardown),
		cmocka_unit_test_setup_teardown(forged, setup, teardown),
		cmocka_unit_test_setup_teardown(dns_trouble, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_envelope, setup, teardown),
		cmocka_unit_test_setup_teardown(dmarc_4_2_and_6_5, setup, teardown),
		cmocka_unit_test_setup_teardown(survivable_7_1, setup, teardown),
		cmocka_unit_test_setup_teardown(configured_6_5_6_7_9_5, setup, teardown),
		cmocka_unit_test_setup_teardown(triage_10_2, setup, teardown),
		cmocka_unit_test_setup_teardown(received_spf_4_4, setup, teardown),
		cmocka_unit_test_setup_teardown(arc_5_1_and_6_6, setup, teardown),
		cmocka_unit_test_setup_teardown(known_list_6_6, setup, teardown),
		cmocka_unit_test_setup_teardown(trusted_front_0_5, setup, teardown),
		cmocka_unit_test_setup_teardown(trusted_authserv_id_0_5, setup, teardown),
	};

	return cmocka_run_group_tests_name("policy/evaluate", tests, NULL, NULL);
}
