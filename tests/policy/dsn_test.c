// SPDX-License-Identifier: Apache-2.0
/* Our own delivery notifications: what is in them (spec 2.3.6 - 2.3.8), what is not
 * (2.1.3, 2.3.9), read by Python's email package and by dkimpy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/mem.h"
#include "policy/bounce.h"
#include "policy/dsn.h"
#include "policy/header.h"
#include "policy/mime.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Sun, 22 Nov 2026 20:36:00 +0100 */
#define NOW	INT64_C(1795376160000)
#define HEADER \
	"Received: from a (a [192.0.2.7]) by b for <mario@example.it>; Sun, 22 Nov 2026\r\n" \
	"From: Anna <anna@sender.example>\r\nTo: mario@example.it\r\n" \
	"Message-ID: <1@sender.example>\r\nSubject: due\r\n  righe\r\n"
#define CONTENT	HEADER "\r\nCiao\r\n"

struct bench {
	struct envelope		env;
	struct envelope_rcpt	rcpt;
	struct dsn_request	rq;
	struct dsn		dsn;
};

static void
reset(struct bench *b, const char *content)
{
	b->env = (struct envelope){
		.version = ENVELOPE_VERSION, .received_ms = NOW - 3600000,
		.mail_from = SLICE_LIT("anna@sender.example"), .spf = AUTH_PASS
	};
	memset(b->env.id.b, 7, sizeof(b->env.id.b));
	b->rcpt = (struct envelope_rcpt){
		.kind = RCPT_USER, .address = SLICE_LIT("mario@example.it"),
		.user = SLICE_LIT("mario@example.it"), .domain = SLICE_LIT("example.it")
	};
	b->rq = (struct dsn_request){
		.env = &b->env, .rcpt = &b->rcpt, .action = DSN_FAILED,
		.status = SLICE_LIT("5.4.7"), .content = slice_str(content),
		.mta = SLICE_LIT("mx2.example.it"), .now_ms = NOW
	};
	dsn_fini(&b->dsn);
	dsn_init(&b->dsn);
}

static int
setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));

	setenv("TZ", "Europe/Rome", 1);
	dsn_init(&b->dsn);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	dsn_fini(&b->dsn);
	free(b);
	return 0;
}

static struct slice
build(struct bench *b)
{
	if (dsn_build(&b->rq, &b->dsn) != 0)
		print_error("not built: %s\n", b->dsn.reason);
	assert_string_equal(b->dsn.reason, "");
	assert_true(mime_is_plain(buf_slice(&b->dsn.message)));
	return buf_slice(&b->dsn.message);
}

static bool
has(struct slice s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
expect_has(struct slice s, const char *what)
{
	if (!has(s, what))
		fprintf(stderr, "'%s' is not in:\n%.*s", what, SLICE_FMT(s));
	assert_true(has(s, what));
}

static struct slice
field(struct slice msg, const char *name)
{
	struct slice found = SLICE_NONE;
	struct header h;
	struct header_field f;

	header_start(&h, msg);
	while (header_next(&h, &f))
		if (header_is(&f, name)) {
			assert_null(found.p);	/* once */
			found = slice_trim(f.value);
		}
	return found;
}

static void
expect_field(struct slice msg, const char *name, const char *want)
{
	struct slice got = field(msg, name);

	if (!slice_eq(got, slice_str(want)))
		print_error("%s: '%.*s'\n", name, SLICE_FMT(got));
	assert_true(slice_eq(got, slice_str(want)));
}

/* "expanded" is for lists; what was forwarded is nobody's business. */
static void
spec_2_3_2_expanded_is_never_said(void **state)
{
	static const enum dsn_action all[] = { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED };
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		reset(b, CONTENT);
		b->rq.action = all[i];
		b->rq.status = all[i] == DSN_FAILED ? SLICE_LIT("5.4.7") : all[i] == DSN_DELAYED ?
		    SLICE_LIT("4.4.7") : SLICE_LIT("2.0.0");
		struct slice m = build(b);
		assert_false(has(m, "expanded"));
		assert_false(has(m, "orward"));
	}
}

static void
header_2_3_6(void **state)
{
	struct bench *b = *state;
	struct slice m;

	reset(b, CONTENT);
	m = build(b);
	expect_field(m, "From", "Mail Delivery <postmaster@example.it>");
	expect_field(m, "To", "<anna@sender.example>");
	expect_field(m, "Date", "Sun, 22 Nov 2026 20:36:00 +0100");
	expect_field(m, "Auto-Submitted", "auto-replied");
	expect_field(m, "In-Reply-To", "<1@sender.example>");
	expect_field(m, "References", "<1@sender.example>");
	expect_field(m, "MIME-Version", "1.0");
	expect_field(m, "Content-Transfer-Encoding", "7bit");
	expect_field(m, "Subject", "Messaggio non recapitato / Undelivered mail");
	assert_true(slice_istarts(field(m, "Content-Type"),
	    SLICE_LIT("multipart/report; report-type=delivery-status;")));
	assert_true(slice_istarts(field(m, "Message-ID"), SLICE_LIT("<")));
	assert_null(field(m, "Disposition-Notification-To").p);
	assert_null(field(m, "Return-Receipt-To").p);
	assert_false(mime_has_8bit(m));
	assert_false(b->dsn.eightbit || b->dsn.utf8 || b->dsn.requiretls || b->dsn.full);
}

/* An id that cannot be quoted is left out, whatever it tries to bring along. */
static void
message_id_2_3_6(void **state)
{
	static const struct {
		const char *value, *want;	/* NULL: none */
	} t[] = {
		{ " <a@b>", "<a@b>" }, { "\r\n <a@b> ", "<a@b>" },
		{ "", NULL }, { " a@b", NULL }, { " <a b@c>", NULL }, { " <a@b> <c@d>", NULL },
		{ " <a@b>\r\n <c@d>", NULL }, { " <\xe9@b>", NULL }, { " <>", NULL },
		{ " <a\x01@b>", NULL }, { " <a", NULL },
	};
	struct bench *b = *state;
	char content[1200];
	struct slice m, id;

	for (size_t i = 0; i < N(t); i++) {
		snprintf(content, sizeof(content), "Message-ID:%s\r\nFrom: x\r\n\r\n", t[i].value);
		reset(b, content);
		m = build(b);
		id = field(m, "In-Reply-To");
		assert_true(slice_eq(id, field(m, "References")));
		assert_true(slice_eq(id, slice_str(t[i].want)));
	}
	snprintf(content, sizeof(content), "Message-ID: <%0600d@b>\r\n\r\n", 1);
	reset(b, content);
	assert_null(field(build(b), "In-Reply-To").p);
	/* the same event has the same id, another one has another */
	reset(b, CONTENT);
	snprintf(content, sizeof(content), "%.*s", SLICE_FMT(field(build(b), "Message-ID")));
	reset(b, CONTENT);
	b->rq.now_ms += 5000;
	expect_field(build(b), "Message-ID", content);
	reset(b, CONTENT);
	b->rq.action = DSN_DELAYED;
	b->rq.status = SLICE_LIT("4.4.1");
	assert_false(slice_eq(field(build(b), "Message-ID"), slice_str(content)));
	reset(b, CONTENT);
	b->rcpt.address = SLICE_LIT("maria@example.it");
	assert_false(slice_eq(field(build(b), "Message-ID"), slice_str(content)));
}

static void
actions_2_3_1_and_2_3_8(void **state)
{
	static const struct {
		enum dsn_action action;
		const char *status, *action_field, *subject;
		enum bounce_action read;
	} t[] = {
		{ DSN_FAILED, "5.1.1", "failed", "Messaggio non recapitato / Undelivered mail",
		  BOUNCE_FAILED },
		{ DSN_FAILED, "4.4.7", "failed", "Messaggio non recapitato / Undelivered mail",
		  BOUNCE_FAILED },
		{ DSN_DELAYED, "4.4.1", "delayed", "Consegna in ritardo / Delayed mail",
		  BOUNCE_DELAYED },
		{ DSN_DELIVERED, "2.1.5", "delivered", "Messaggio consegnato / Delivered mail",
		  BOUNCE_DELIVERED },
		{ DSN_RELAYED, "2.1.9", "relayed", "Messaggio trasmesso / Relayed mail",
		  BOUNCE_RELAYED },
	};
	static const struct bounce_expect nothing = { SLICE_NONE, SLICE_LIT("mario@example.it") };
	struct bench *b = *state;
	struct bounce back;
	char want[128];
	struct slice m;

	for (size_t i = 0; i < N(t); i++) {
		reset(b, CONTENT);
		b->rq.action = t[i].action;
		b->rq.status = slice_str(t[i].status);
		m = build(b);
		expect_field(m, "Subject", t[i].subject);
		snprintf(want, sizeof(want), "\r\nAction: %s\r\nStatus: %s\r\n", t[i].action_field,
		    t[i].status);
		expect_has(m, want);
		/* our own reader of reports agrees */
		bounce_parse(m, &nothing, &back);
		assert_int_equal(back.kind, BOUNCE_REPORT);
		assert_int_equal(back.leg.action, t[i].read);
		assert_int_equal(back.leg.status, t[i].status[0] - '0');
		assert_int_equal(back.leg.match, BOUNCE_SAME);
	}
}

static void
status_part_2_3_8(void **state)
{
	struct bench *b = *state;
	struct slice m;

	reset(b, CONTENT);
	b->env.envid = SLICE_LIT("QQ+2B314+3D159");
	b->rcpt.orcpt = SLICE_LIT("rfc822;Mario+2BX@example.it");
	b->rq.source = DSN_TEXT_PRIMARY;
	b->rq.text = SLICE_LIT("550-5.1.1 no such mailbox\r\n550 5.1.1 here, says a rather "
	    "long-winded "
	    "server of the primary");
	m = build(b);
	expect_has(m, "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: "
	    "7bit\r\n\r\n"
	    "Reporting-MTA: dns; mx2.example.it\r\nOriginal-Envelope-Id: QQ+314=159\r\n"
	    "Arrival-Date: Sun, 22 Nov 2026 19:36:00 +0100\r\n\r\n"
	    "Original-Recipient: rfc822; Mario+X@example.it\r\n"
	    "Final-Recipient: rfc822; mario@example.it\r\nAction: failed\r\nStatus: 5.4.7\r\n"
	    "Diagnostic-Code: smtp; 550-5.1.1 no such mailbox 550 5.1.1 here, says a\r\n"
	    " rather long-winded server of the primary\r\n\r\n--");
	assert_false(has(m, "Remote-MTA"));

	/* without anything that may be missing */
	reset(b, CONTENT);
	m = build(b);
	expect_has(m, "\r\n\r\nReporting-MTA: dns; mx2.example.it\r\n"
	    "Arrival-Date: Sun, 22 Nov 2026 19:36:00 +0100\r\n\r\n"
	    "Final-Recipient: rfc822; mario@example.it\r\nAction: failed\r\nStatus: 5.4.7\r\n"
	    "\r\n--");
	assert_false(has(m, "Diagnostic-Code") || has(m, "Original-Envelope-Id") ||
	    has(m, "Original-Recipient"));

	reset(b, CONTENT);
	b->rq.text = SLICE_LIT("kept for 30 days, the mailbox could not be reached");
	expect_has(build(b), "\r\nDiagnostic-Code: X-Salvaposta; kept for 30 days, the mailbox "
	    "could not "
	    "be\r\n reached\r\n");

	reset(b, CONTENT);
	b->rq.action = DSN_DELAYED;
	b->rq.status = SLICE_LIT("4.4.1");
	b->rq.retry_until_ms = NOW + INT64_C(86400000);
	expect_has(build(b), "\r\nWill-Retry-Until: Mon, 23 Nov 2026 20:36:00 +0100\r\n\r\n--");
}

/* What the sender gave cannot make lines in the report. */
static void
xtext_2_3_8(void **state)
{
	static const struct {
		const char *envid, *orcpt;
	} bad[] = {
		{ "a+0D+0AAction:+20delivered", "rfc822;x+0D+0AStatus:+202.0.0" },
		{ "a=b", "rfc822" }, { "a b", ";x@y.it" }, { "+", "rf c;x" }, { "+E9",
		  "rfc822;+E9" },
		{ "+7F", "rfc822;+00" }, { "\r\nX: y", "\r\nX: y;z" },
	};
	struct bench *b = *state;
	struct slice m;

	for (size_t i = 0; i < N(bad); i++) {
		reset(b, CONTENT);
		b->env.envid = slice_str(bad[i].envid);
		b->rcpt.orcpt = slice_str(bad[i].orcpt);
		m = build(b);
		assert_false(has(m, "Original-Envelope-Id") || has(m, "Original-Recipient"));
		assert_false(has(m, "Action: delivered") || has(m, "Status: 2") || has(m, "X: y"));
	}
	reset(b, CONTENT);
	b->rcpt.orcpt = SLICE_LIT("utf-8;p\\x{E9}@x.it");
	expect_has(build(b), "\r\nOriginal-Recipient: utf-8; p\\x{E9}@x.it\r\n");
}

/* A reply is one line of ASCII of a bounded length, whatever it was. */
static void
reply_text(void **state)
{
	struct bench *b = *state;
	static char text[2000];
	struct slice m;

	reset(b, CONTENT);
	b->rq.source = DSN_TEXT_PRIMARY;
	b->rq.text = SLICE_LIT("550 \xe9\xc3\xa9\0\x1b[31m\r\nAction: delivered\r\n\r\nX: y\r\n--");
	m = build(b);
	assert_false(mime_has_8bit(m));
	assert_false(has(m, "\r\nAction: delivered") || has(m, "\r\nX: y"));
	expect_has(m, "Diagnostic-Code: smtp; 550 ??? [31m Action: delivered X: y --\r\n");
	memset(text, 'x', sizeof(text));
	reset(b, CONTENT);
	b->rq.text = slice_make(text, sizeof(text));
	m = build(b);
	text[DSN_TEXT_MAX + 1] = '\0';
	assert_false(has(m, text));
	reset(b, CONTENT);
	b->rq.text = SLICE_LIT("\r\n \t");
	assert_false(has(build(b), "Diagnostic-Code"));
}

static void
internationalized_addresses(void **state)
{
	struct bench *b = *state;
	struct slice m;

	reset(b, CONTENT);
	b->rcpt.address = SLICE_LIT("m\xc3\xa9+x@example.it");
	m = build(b);
	expect_has(m, "\r\nFinal-Recipient: utf-8; m\\x{E9}\\x{2B}x@example.it\r\n");
	assert_false(mime_has_8bit(m) || b->dsn.utf8);
	reset(b, CONTENT);
	b->env.mail_from = SLICE_LIT("\xe5\xbc\xa0@sender.example");
	m = build(b);
	expect_field(m, "To", "<\xe5\xbc\xa0@sender.example>");
	assert_true(b->dsn.utf8);
	reset(b, CONTENT);
	b->rcpt.address = SLICE_LIT("\xf0\x9f\x98\x80@example.it");
	expect_has(build(b), "utf-8; \\x{1F600}@example.it\r\n");
}

static void
refused(void **state)
{
	static const char *const bad_status[] = {
		"", "5", "5.1", "5.1.", "5..1", "5.1.1.1", "5.1234.1", "2.1.1", "6.1.1",
		"5.1.1\r\nX: y",
		"5,1,1", "-5.1.1"
	};
	struct bench *b = *state;

	for (size_t i = 0; i < N(bad_status); i++) {
		reset(b, CONTENT);
		b->rq.status = slice_str(bad_status[i]);
		assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
		assert_string_equal(b->dsn.reason, "bad-status");
		assert_int_equal(buf_len(&b->dsn.message), 0);
	}
	reset(b, CONTENT);
	b->env.mail_from = SLICE_NONE;
	assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
	assert_string_equal(b->dsn.reason, "null-sender");
	reset(b, CONTENT);
	b->env.mail_from = SLICE_LIT("a@b.it>\r\nBcc: <c@d.it");
	assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
	assert_string_equal(b->dsn.reason, "bad-sender");
	reset(b, CONTENT);
	b->rcpt.address = SLICE_LIT("a@b.it\r\nX: y");
	assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
	assert_string_equal(b->dsn.reason, "bad-recipient");
	reset(b, CONTENT);
	b->rcpt.domain = SLICE_LIT("b.it>\r\nX: y");
	assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
	reset(b, CONTENT);
	b->rq.mta = SLICE_LIT("mx2 example");
	assert_int_equal(dsn_build(&b->rq, &b->dsn), -1);
	assert_string_equal(b->dsn.reason, "bad-mta");
}

/* --- the third part, 2.3.7 --- */

static void
returned_content_2_3_7(void **state)
{
	static char large[DSN_FULL_MAX + 1], lines[4096];
	static const struct {
		const char *ret, *content;
		enum dsn_action action;
		uint32_t flags;
		bool seven_bit, full, eightbit;
		const char *type;	/* of part 3 and its encoding; NULL: no such part */
	} t[] = {
		{ "", CONTENT, DSN_FAILED, 0, false, false, false,
		  "text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\nReceived: from "
		  "a" },
		{ "HDRS", CONTENT, DSN_FAILED, 0, false, false, false,
		  "text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit" },
		{ "FULL", CONTENT, DSN_FAILED, 0, false, true, false,
		  "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" CONTENT },
		{ "full", CONTENT, DSN_FAILED, 0, false, true, false, "message/rfc822" },
		/* RFC 3461 4.3: only failures */
		{ "FULL", CONTENT, DSN_RELAYED, 0, false, false, false, "text/rfc822-headers" },
		/* RFC 8689 5 */
		{ "FULL", CONTENT, DSN_FAILED, ENV_REQUIRETLS, false, false, false,
		  "text/rfc822-headers" },
		{ "FULL", HEADER "\r\nperch\xe9\r\n", DSN_FAILED, ENV_HAS_8BIT, false, true, true,
		  "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" HEADER "\r\n"
		  "perch\xe9\r\n" },
		{ "FULL", HEADER "\r\nperch\xe9\r\n", DSN_FAILED, ENV_HAS_8BIT, true, false, false,
		  "text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit" },
		{ "FULL", "Subject: \xc3\xa9\r\n\r\n", DSN_FAILED, ENV_SMTPUTF8, false, true, true,
		  "message/global\r\nContent-Transfer-Encoding: 8bit" },
		{ "FULL", "Subject: x\r\n\r\nno end", DSN_FAILED, 0, false, true, false,
		  "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: x\r\n\r\nno "
		  "end\r\n--" },
		{ "FULL", large, DSN_FAILED, 0, false, false, false, "text/rfc822-headers" },
		{ "FULL", lines, DSN_FAILED, 0, false, false, false, "text/rfc822-headers" },
		/* 8 bits in the header: encoded, so that any host takes the report */
		{ "", "Subject: perch\xe9\r\nX: =\r\n\r\n", DSN_FAILED, 0, false, false, false,
		  "text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: "
		  "quoted-printable"
		  "\r\n\r\nSubject: perch=E9\r\nX: =3D\r\n\r\n--" },
		/* no header, nothing to return */
		{ "", "From nobody\r\nX: y\r\n", DSN_FAILED, 0, false, false, false, NULL },
		{ "", "", DSN_FAILED, 0, false, false, false, NULL },
		{ "", "X: y", DSN_FAILED, 0, false, false, false,
		  "text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\nX: y\r\n--" },
	};
	struct bench *b = *state;
	struct slice m;

	memset(large, 'x', sizeof(large));
	for (size_t i = 70; i < sizeof(large); i += 70)
		memcpy(large + i - 2, "\r\n", 2);
	memcpy(large, "X: y\r\n\r\n", 8);
	large[sizeof(large) - 1] = '\0';
	memset(lines, 'x', 2000);
	memcpy(lines, "X: y\r\n\r\n", 8);
	for (size_t i = 0; i < N(t); i++) {
		reset(b, t[i].content);
		if (t[i].content == large)
			b->rq.content.n = sizeof(large);
		b->env.ret = slice_str(t[i].ret);
		b->env.flags = t[i].flags;
		b->rq.action = t[i].action;
		b->rq.seven_bit = t[i].seven_bit;
		if (t[i].action == DSN_RELAYED)
			b->rq.status = SLICE_LIT("2.1.9");
		m = build(b);
		assert_int_equal(b->dsn.full, t[i].full);
		assert_int_equal(b->dsn.eightbit, t[i].eightbit);
		assert_int_equal(mime_has_8bit(m), t[i].eightbit);
		assert_int_equal(b->dsn.requiretls, (t[i].flags & ENV_REQUIRETLS) != 0);
		if (t[i].type != NULL)
			expect_has(m, t[i].type);
		else
			assert_false(has(m, "rfc822-headers") || has(m, "message/rfc822"));
		assert_int_equal(has(m, "Ciao"), t[i].full && strstr(t[i].content, "Ciao") != NULL);
		assert_false(has(m, "TLS-Required") || b->dsn.tls_optional);
	}
	b->env.flags = ENV_TLS_OPTIONAL;	/* RFC 8689 5 */
	m = build(b);
	assert_true(has(m, "\r\nTLS-Required: No\r\n") && b->dsn.tls_optional);
}

/* A header without end is cut after a field; the message stays within its limit. */
static void
huge_header(void **state)
{
	struct bench *b = *state;
	struct buf content;
	struct slice m;

	buf_init(&content, 1024 * 1024);
	for (int i = 0; buf_len(&content) < 300 * 1024; i++)
		assert_int_equal(buf_printf(&content, "X-%d: \xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9 "
		    "%d\r\n", i, i),
		    0);
	reset(b, "");
	b->rq.content = buf_slice(&content);
	m = build(b);
	assert_true(m.n < 3 * DSN_HEADER_MAX);
	assert_false(mime_has_8bit(m));
	expect_has(m, "\r\nX-100: =E9=E9=E9=E9=E9=E9=E9=E9 100\r\n");
	buf_fini(&content);
}

/* Content that guesses the boundary. */
static void
boundary(void **state)
{
	struct bench *b = *state;
	char content[512], first[128];
	struct mime_entity e;

	reset(b, CONTENT);
	mime_read(&e, build(b));
	assert_int_equal(mime_param(&e, "boundary", first, sizeof(first)), 0);
	snprintf(content, sizeof(content), "X: --%s--\r\n\r\n--%s\r\n", first, first);
	reset(b, content);
	b->env.ret = SLICE_LIT("FULL");
	mime_read(&e, build(b));
	assert_int_equal(mime_param(&e, "boundary", content, sizeof(content)), 0);
	assert_string_not_equal(first, content);
}

/* --- 2.1.3, 2.3.9: nothing of the recovery address --- */

#define SECRET "RECOVERYSECRET"

static struct slice *
slice_at(void *base, const struct wire_field *f)
{
	return (struct slice *)(void *)((char *)base + f->off);
}

/*
 * There is no input for a recovery address, its host or its host's reply: the request
 * has none, which the compiler sees to below. Of the envelope and the recipient every
 * text but those the sender himself gave is filled with it here, by their own tables,
 * so that a member that is added some day is looked at, too.
 */
static void
leak_checklist_2_3_9(void **state)
{
	static const char *const senders_own[] = { "mail_from", "envid", "ret", "address", "domain",
		"orcpt" };
	static const char secret[] = "Delivered-To: " SECRET "@mailbox.example\r\n"
	    "X-Original-To: " SECRET
	    "\r\nX-Forwarded-To: " SECRET "\r\nReceived: from x by " SECRET " for "
	    "<" SECRET "@m.example>\r\n";
	static const enum dsn_action actions[] = { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED,
		DSN_RELAYED };
	static const char *const status[] = { "5.4.7", "4.4.1", "2.1.5", "2.1.5" };
	struct bench *b = *state;
	unsigned filled = 0;
	struct slice m;

	for (size_t a = 0; a < N(actions) * 2; a++) {
		reset(b, CONTENT);
		b->rq.action = actions[a / 2];
		b->rq.status = slice_str(status[a / 2]);
		if (a % 2 == 1)
			b->env.ret = SLICE_LIT("FULL");
		b->rcpt.orcpt = SLICE_LIT("rfc822;mario@example.it");
		for (int which = 0; which < 2; which++) {
			const struct wire_desc *d = which == 0 ? &envelope_wire :
			    &envelope_rcpt_wire;

			for (size_t i = 0; i < d->nfield; i++) {
				bool own = d->field[i].type != WIRE_T_STR;

				for (size_t j = 0; j < N(senders_own); j++)
					own = own || strcmp(d->field[i].name, senders_own[j]) == 0;
				if (own)
					continue;
				*slice_at(which == 0 ? (void *)&b->env : &b->rcpt, &d->field[i]) =
				    slice_str(secret);
				filled++;
			}
		}
		m = build(b);
		assert_false(has(m, SECRET));
		/* and none of the fields that could carry it, as far as the sender did not
		 * write them himself: one Received, his */
		assert_false(has(m, "Remote-MTA") || has(m, "X-Actual-Recipient") ||
		    has(m, "Delivered-To") || has(m, "X-Forwarded-To") || has(m, "X-Original-To") ||
		    has(m, "X-Forwarded-For") || has(m, "Authentication-Results"));
		expect_has(m, "Final-Recipient: rfc822; mario@example.it\r\n");
		expect_has(m, "Original-Recipient: rfc822; mario@example.it\r\n");
		m = slice_sub(m, (size_t)((const char *)memmem(m.p, m.n, "Received:",
		    9) - m.p) + 9, m.n);
		assert_false(has(m, "Received:"));
	}
	assert_true(filled >= 8 * 10);	/* client_ip helo reason trace authres cuts rcpts ... */
}

/* Every text that a request has, by name: adding one breaks this, on purpose. Then ask of
 * it where its text comes from (2.1.3). */
_Static_assert(sizeof(struct dsn_request) == sizeof(struct {
	const struct envelope *env;
	const struct envelope_rcpt *rcpt;
	enum dsn_action action;
	struct slice status;
	enum dsn_source source;
	struct slice text, content, mta;
	int64_t now_ms, retry_until_ms;
	bool seven_bit;
	struct sign_key *key;
	struct slice selector;
	struct sign_body *body;
}), "a new member: can it carry a recovery address?");

/* --- read by others --- */

static const char read_py[] =
    "import sys, email, email.policy, dkim\n"
    "d = sys.argv[1]\n"
    "rec = open(d + '/k0', 'rb').read()\n"
    "for i in range(int(sys.argv[2])):\n"
    "    raw = open(d + '/m%d' % i, 'rb').read()\n"
    "    content = open(d + '/c%d' % i, 'rb').read()\n"
    "    assert b'\\n' not in raw.replace(b'\\r\\n', b''), i\n"
    "    m = email.message_from_bytes(raw, policy=email.policy.SMTP)\n"
    "    assert not m.defects, (i, m.defects)\n"
    "    assert m.get_content_type() == 'multipart/report', i\n"
    "    assert m.get_param('report-type') == 'delivery-status', i\n"
    "    parts = m.get_payload()\n"
    "    assert len(parts) == 3, (i, len(parts))\n"
    "    for p in parts: assert not p.defects, (i, p.defects)\n"
    "    text, status, orig = parts\n"
    "    t = text.get_content()\n"
    "    assert 'Il suo messaggio' in t and 'Your message' in t, t\n"
    "    assert t.count('<mario@example.it>') == 2, t\n"
    "    assert '\\u00e8' in t, t\n"
    "    per = status.get_payload()\n"
    "    assert len(per) == 2, per\n"
    "    assert per[0]['Reporting-MTA'] == 'dns; mx2.example.it'\n"
    "    assert per[0]['Original-Envelope-Id'] == 'QQ+314'\n"
    "    assert per[1]['Final-Recipient'] == 'rfc822; mario@example.it'\n"
    "    assert per[1]['Status'][1] == '.' and per[1]['Action']\n"
    "    if orig.get_content_type() == 'message/rfc822':\n"
    "        at = raw.index(content)\n"
    "        assert raw[at - 4:at] == b'\\r\\n\\r\\n' and raw[at + "
  "len(content):].startswith(b'\\r\\n--')\n"
    "    else:\n"
    "        head = content[:content.index(b'\\r\\n\\r\\n') + 2]\n"
    "        got = orig.get_payload(decode=True)\n"
    "        assert got == head, (i, got, head)\n"
    "    assert m['In-Reply-To'] == '<1@sender.example>' == m['References']\n"
    "    assert m['Auto-Submitted'] == 'auto-replied'\n"
    "    dns = lambda name, timeout=5: rec if name == b's1._domainkey.example.it.' else b''\n"
    "    def ok(msg):\n"
    "        try: return dkim.DKIM(msg).verify(dnsfunc=dns)\n"
    "        except dkim.DKIMException: return False\n"
    "    assert ok(raw), i\n"
    "    for old, new in ((b'Mail Delivery', b'Mail Delivers'), (b'Status: ', b'Status: 9'),\n"
    "            (b'auto-replied', b'no'), (b'<1@', b'<2@')):\n"
    "        bad = raw.replace(old, new, 1)\n"
    "        assert bad != raw and not ok(bad), (i, old)\n";

static void
write_file(const char *dir, const char *name, int n, struct slice s)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, n);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

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

static void
python_reads_it(void **state)
{
	static const char *const content[] = {
		CONTENT, HEADER "X: perch\xe9 \xff\r\n\r\nperch\xe9\r\n",
		HEADER "\r\n", HEADER "X: =41 trailing \r\nY:\r\n\r\n--x\r\n\r\n--x--\r\n",
	};
	static const enum dsn_action actions[] = { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED,
		DSN_RELAYED };
	static const char *const status[] = { "5.4.7", "4.4.1", "2.1.5", "2.1.5" };
	struct bench *b = *state;
	char dir[] = "/tmp/dsn_test.XXXXXX", cmd[512];
	struct sign_key *key;
	struct sign_body *body;
	struct buf rec;
	int n = 0;

	if (system("/usr/bin/python3 -c 'import dkim' 2>/dev/null") != 0) {
		print_message("no dkimpy here\n");
		skip();
	}
	key = make_key();
	body = sign_body_new();
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < N(content); i++)
		for (size_t a = 0; a < 2 * N(actions); a++) {
			reset(b, content[i]);
			b->env.envid = SLICE_LIT("QQ+2B314");
			if (a % 2 == 1)
				b->env.ret = SLICE_LIT("FULL");
			b->rq.action = actions[a / 2];
			b->rq.status = slice_str(status[a / 2]);
			b->rq.source = DSN_TEXT_PRIMARY;
			b->rq.text = SLICE_LIT("550 5.1.1 so \xe9 said");
			b->rq.key = key;
			b->rq.selector = SLICE_LIT("s1");
			b->rq.body = body;
			write_file(dir, "m", n, build(b));
			write_file(dir, "c", n++, slice_str(content[i]));
		}
	buf_init(&rec, 4096);
	assert_int_equal(sign_key_record(key, &rec), 0);
	write_file(dir, "k", 0, buf_slice(&rec));
	write_file(dir, "r.py", 0, SLICE_LIT(read_py));
	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/r.py0 %s %d", dir, dir, n);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	buf_fini(&rec);
	sign_body_free(&body);
	sign_key_free(&key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_2_3_2_expanded_is_never_said),
		cmocka_unit_test(header_2_3_6),
		cmocka_unit_test(message_id_2_3_6),
		cmocka_unit_test(actions_2_3_1_and_2_3_8),
		cmocka_unit_test(status_part_2_3_8),
		cmocka_unit_test(xtext_2_3_8),
		cmocka_unit_test(reply_text),
		cmocka_unit_test(internationalized_addresses),
		cmocka_unit_test(refused),
		cmocka_unit_test(returned_content_2_3_7),
		cmocka_unit_test(huge_header),
		cmocka_unit_test(boundary),
		cmocka_unit_test(leak_checklist_2_3_9),
		cmocka_unit_test(python_reads_it),
	};

	return cmocka_run_group_tests_name("policy/dsn", tests, setup, teardown);
}
