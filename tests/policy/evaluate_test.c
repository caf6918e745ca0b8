// SPDX-License-Identifier: Apache-2.0
/* The whole evaluation: messages and a zone in, verdict and trace out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/evaluate.h"
#include "tests/policy/dkim_fixture.h"
#include "tests/policy/zone.h"

#define ZONE \
	"brand.example TXT v=spf1 ip4:192.0.2.25 -all\n" \
	"mail.brand.example TXT v=spf1 a -all\n" \
	"mail.brand.example A 192.0.2.25\n" \
	"25.2.0.192.in-addr.arpa PTR mail.brand.example\n"

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
	assert_int_equal(f->out.dmarc, AUTH_UNSET);
	assert_int_equal(f->out.triage, 2);
	assert_int_equal(f->out.flags, ENV_HAS_8BIT);
	assert_int_equal(f->out.reason.n, 0);
	/* one round for SPF record, key and PTR together, one for the PTR's address */
	assert_int_equal(f->rounds, 3);
	snprintf(expect, sizeof(expect), "mx.primary.example;\r\n"
	    "\tiprev=pass policy.iprev=192.0.2.25;\r\n"
	    "\tspf=pass smtp.mailfrom=brand.example;\r\n"
	    "\tdkim=pass header.d=brand.example header.s=ed header.a=ed25519-sha256 header.b=");
	assert_int_equal(memcmp(f->out.authres.p, expect, strlen(expect)), 0);
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
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&f->text);
		for (unsigned n = 0; n < cases[i].received; n++)
			assert_int_equal(buf_puts(&f->text, "Received: from a by b\r\n"), 0);
		assert_int_equal(buf_puts(&f->text, cases[i].extra), 0);
		assert_int_equal(buf_puts(&f->text, "Subject: x\r\n\r\n"), 0);
		assert_int_equal(buf_put_slice(&f->text, cases[i].body), 0);
		run(f, buf_slice(&f->text));
		assert_int_equal(f->out.status, cases[i].status);
		assert_int_equal(f->out.flags, cases[i].flags);
		assert_true(slice_eq(f->out.reason, slice_str(cases[i].reason)));
	}
	run(f, slice_make("Sub\0ject: x\r\n\r\nbody", 19));
	assert_int_equal(f->out.status, VERIFY_OK);	/* no header at all: a body */
	run(f, slice_make("Subject: x\0y\r\n\r\nbody", 20));
	assert_int_equal(f->out.status, VERIFY_REFUSE);
	assert_true(slice_istarts(f->out.reason, SLICE_LIT("550 5.6.0 ")));
}

/* Spec 4.3, 14.4 #14: fields in our name are cut, neighbours in one piece. */
static void
forged(void **state)
{
	struct fixture *f = *state;
	static const char msg[] = "Subject: x\r\n"
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
	assert_int_equal(cut.off, 12);
	assert_int_equal(cut.len, strstr(msg, "To: y") - msg - 12);
	assert_int_equal(wire_item_next(&cuts, &body_cut_wire, &cut), 1);
	assert_int_equal(cut.off, strstr(msg, "Authentication-Results: \"") - msg);
	assert_int_equal(cut.len,
	    strlen("Authentication-Results: \"mx.primary.example\"; dkim=pass\r\n"));
	assert_int_equal(wire_item_next(&cuts, &body_cut_wire, &cut), 0);
	assert_int_equal(f->out.flags, 0);

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
	};

	return cmocka_run_group_tests_name("policy/evaluate", tests, NULL, NULL);
}
