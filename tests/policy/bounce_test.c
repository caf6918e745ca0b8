// SPDX-License-Identifier: Apache-2.0
/* What comes back to a return path: reports, automatic answers, the rest (spec 2.2.3 -
 * 2.2.6), well formed and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/bounce.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

#define TOKEN	"0f3k9qv2m7c1t8ubd5g6h4jn"
#define RECOVERY "mario.recovery@mailbox.example"
#define HEAD \
	"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.mailbox.example\r\n" \
	"To: <SRS0=x@fwd.example.it>\r\n" \
	"Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n" \
	"MIME-Version: 1.0\r\n"
#define REPORT	HEAD "Content-Type: multipart/report; report-type=delivery-status;\r\n" \
	"\tboundary=\"B1\"\r\n\r\n"
#define TEXT	"--B1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
#define STATUS	"--B1\r\nContent-Type: message/delivery-status\r\n\r\n"
#define MESSAGE	"Reporting-MTA: dns; mx.mailbox.example\r\nOriginal-Envelope-Id: " TOKEN "\r\n\r\n"
#define ORIGINAL "\r\n--B1\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n\r\n--B1--\r\n"

static const struct bounce_expect known = { SLICE_LIT(TOKEN), SLICE_LIT(RECOVERY) };

static struct bounce
parse(const char *msg)
{
	struct bounce b;
	/* a copy of just its length: ASan sees the first octet read behind it */
	char *copy = slice_dup(slice_str(msg));
	char *exact = malloc(strlen(msg) + 1);

	memcpy(exact, copy, strlen(msg));
	bounce_parse(slice_make(exact, strlen(msg)), &known, &b);
	free(exact);
	free(copy);
	return b;
}

static void
expect_leg(const struct bounce *b, enum bounce_action action, unsigned status, unsigned subject,
    unsigned detail, unsigned code, enum bounce_match match)
{
	assert_int_equal(b->kind, BOUNCE_REPORT);
	assert_string_equal(bounce_action_name(b->leg.action), bounce_action_name(action));
	assert_int_equal(b->leg.status, status);
	assert_int_equal(b->leg.subject, subject);
	assert_int_equal(b->leg.detail, detail);
	assert_int_equal(b->leg.code, code);
	assert_int_equal(b->leg.match, match);
}

static void
report_2_2_3(void **state)
{
	struct bounce b = parse(REPORT TEXT STATUS MESSAGE
	    "Original-Recipient: rfc822;" RECOVERY "\r\nFinal-Recipient: rfc822; " RECOVERY "\r\n"
	    "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; in.mailbox.example\r\n"
	    "Diagnostic-Code: smtp; 550-5.1.1 The account does\r\n    not exist\r\n" ORIGINAL);

	(void)state;
	expect_leg(&b, BOUNCE_FAILED, 5, 1, 1, 550, BOUNCE_SAME);
	assert_int_equal(b.nrcpt, 1);
	assert_false(b.more);
	assert_int_equal(b.envid, BOUNCE_SAME);
	assert_string_equal(b.token, TOKEN);
	assert_string_equal(b.sign, "");
}

static void
actions_2_2_3(void **state)
{
	static const struct {
		const char *action;
		enum bounce_action want;
	} t[] = {
		{ "failed", BOUNCE_FAILED }, { "FAILED", BOUNCE_FAILED },
		{ " failed (said the host)", BOUNCE_FAILED }, { "delayed", BOUNCE_DELAYED },
		{ "delivered", BOUNCE_DELIVERED }, { "relayed", BOUNCE_RELAYED },
		{ "expanded", BOUNCE_EXPANDED }, { "\r\n\tfailed", BOUNCE_FAILED },
		{ "fail", BOUNCE_NO_ACTION }, { "failedx", BOUNCE_NO_ACTION },
		{ "", BOUNCE_NO_ACTION }, { "failed\r\nAction: delivered", BOUNCE_FAILED },
	};
	char msg[1024];
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(msg, sizeof(msg), REPORT TEXT STATUS MESSAGE
		    "Final-Recipient: rfc822;a@b.it\r\nAction: %s\r\nStatus: 4.4.7\r\n" ORIGINAL,
		    t[i].action);
		b = parse(msg);
		expect_leg(&b, t[i].want, 4, 4, 7, 0, BOUNCE_DIFFERENT);
	}
}

static void
status_and_code_2_2_5(void **state)
{
	static const struct {
		const char *fields;
		unsigned status, subject, detail, code;
	} t[] = {
		{ "Status: 5.7.26", 5, 7, 26, 0 }, { "Status: 2.0.0 (ok)", 2, 0, 0, 0 },
		{ "Status:4.999.999", 4, 999, 999, 0 }, { "Status: 5.1000.1", 0, 0, 0, 0 },
		{ "Status: 3.1.1", 0, 0, 0, 0 }, { "Status: 5.1", 0, 0, 0, 0 },
		{ "Status: 5.1.", 0, 0, 0, 0 }, { "Status: 5..1", 0, 0, 0, 0 },
		{ "Status: 55.1.1", 0, 0, 0, 0 }, { "Status: 5.1.1.1", 0, 0, 0, 0 },
		{ "Status: 5.-1.1", 0, 0, 0, 0 }, { "Status: 5", 0, 0, 0, 0 },
		{ "Status: ", 0, 0, 0, 0 }, { "Status: 5.1.1\r\nStatus: 2.0.0", 5, 1, 1, 0 },
		{ "Diagnostic-Code: smtp; 550 5.1.1 x", 0, 0, 0, 550 },
		{ "Diagnostic-Code: SMTP;421-x", 0, 0, 0, 421 },
		{ "Diagnostic-Code: smtp; 550", 0, 0, 0, 550 },
		{ "Diagnostic-Code: smtp;\r\n\t550\r\n x", 0, 0, 0, 550 },
		{ "Diagnostic-Code: smtp; 5501 x", 0, 0, 0, 0 },
		{ "Diagnostic-Code: smtp; 150 x", 0, 0, 0, 0 },
		{ "Diagnostic-Code: smtp; 650 x", 0, 0, 0, 0 },
		{ "Diagnostic-Code: smtp; 55", 0, 0, 0, 0 },
		{ "Diagnostic-Code: smtp", 0, 0, 0, 0 },
		{ "Diagnostic-Code: smtp;", 0, 0, 0, 0 },
		{ "Diagnostic-Code: x-unix; 550 x", 0, 0, 0, 0 },
		{ "Diagnostic-Code: 550 x", 0, 0, 0, 0 },
	};
	char msg[1024];
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(msg, sizeof(msg), REPORT TEXT STATUS MESSAGE "Final-Recipient: rfc822; <"
		    RECOVERY ">\r\nAction: failed\r\n%s\r\n" ORIGINAL, t[i].fields);
		b = parse(msg);
		expect_leg(&b, BOUNCE_FAILED, t[i].status, t[i].subject, t[i].detail, t[i].code,
		    BOUNCE_SAME);
	}
}

static void
cross_check_2_2_3(void **state)
{
	static const struct {
		const char *fields;
		enum bounce_match envid, recipient;
		const char *token;
	} t[] = {
		{ "Original-Envelope-Id: " TOKEN, BOUNCE_SAME, BOUNCE_ABSENT, TOKEN },
		{ "Original-Envelope-Id: 0F3K9QV2M7C1T8UBD5G6H4JN", BOUNCE_SAME, BOUNCE_ABSENT,
		  TOKEN },
		{ "Original-Envelope-Id: 000000000000000000000000", BOUNCE_DIFFERENT, BOUNCE_ABSENT,
		  "000000000000000000000000" },
		/* another's id: text of the message, so not kept */
		{ "Original-Envelope-Id: QQ314159", BOUNCE_DIFFERENT, BOUNCE_ABSENT, "" },
		{ "Original-Envelope-Id: mario@recovery.example.t", BOUNCE_DIFFERENT,
		  BOUNCE_ABSENT, "" },
		{ "Original-Envelope-Id: " TOKEN "0", BOUNCE_DIFFERENT, BOUNCE_ABSENT, "" },
		{ "Original-Envelope-Id:", BOUNCE_ABSENT, BOUNCE_ABSENT, "" },
		{ "Final-Recipient: rfc822; MARIO.Recovery@Mailbox.Example", BOUNCE_ABSENT,
		  BOUNCE_SAME,
		  "" },
		{ "Final-Recipient: " RECOVERY, BOUNCE_ABSENT, BOUNCE_ABSENT, "" },
		{ "Final-Recipient: rfc822;", BOUNCE_ABSENT, BOUNCE_ABSENT, "" },
		{ "Final-Recipient: rfc822; <", BOUNCE_ABSENT, BOUNCE_DIFFERENT, "" },
	};
	char msg[1024];
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(msg, sizeof(msg), REPORT STATUS "Action: failed\r\n%s\r\n" ORIGINAL,
		    t[i].fields);
		b = parse(msg);
		assert_int_equal(b.kind, BOUNCE_REPORT);
		assert_int_equal(b.envid, t[i].envid);
		assert_int_equal(b.leg.match, t[i].recipient);
		assert_string_equal(b.token, t[i].token);
	}
}

/* Nothing but numbers and the token comes out, whatever the report says (2.2.5). */
static void
no_text_is_kept_2_2_5(void **state)
{
	static const char msg[] = REPORT "--B1\r\n\r\nSECRETTEXT " RECOVERY "\r\n" STATUS
	    "Reporting-MTA: dns; SECRETTEXT\r\nOriginal-Envelope-Id: "
	    "SECRETTEXTSECRETTEXTSECR\r\n\r\n"
	    "Original-Recipient: rfc822;SECRETTEXT@x.it\r\nFinal-Recipient: rfc822;" RECOVERY "\r\n"
	    "Action: failed\r\nStatus: 5.1.1 (SECRETTEXT)\r\nDiagnostic-Code: smtp; 550 "
	    "SECRETTEXT\r\n"
	    ORIGINAL;
	struct bounce b;

	(void)state;
	memset(&b, 0, sizeof(b));
	bounce_parse(slice_str(msg), &known, &b);
	assert_int_equal(b.kind, BOUNCE_REPORT);
	assert_null(memmem(&b, sizeof(b), "SECRET", 6));
	assert_null(memmem(&b, sizeof(b), "secret", 6));
	assert_null(memmem(&b, sizeof(b), "mailbox.example", 15));
	/* and no pointer into the message is in the result */
	for (size_t i = 0; i + sizeof(uintptr_t) <= sizeof(b); i += sizeof(uintptr_t)) {
		uintptr_t p;

		memcpy(&p, (const char *)&b + i, sizeof(p));
		assert_false(p >= (uintptr_t)msg && p < (uintptr_t)msg + sizeof(msg));
	}
}

static void
several_recipients(void **state)
{
	static const struct {
		const char *actions[4];
		enum bounce_action want;
	} t[] = {
		{ { "delivered", "failed", "delayed" }, BOUNCE_FAILED },
		{ { "delayed", "delivered" }, BOUNCE_DELIVERED },
		{ { "delayed", "delayed" }, BOUNCE_DELAYED },
		{ { "odd", "relayed", "delayed" }, BOUNCE_RELAYED },
		{ { "expanded", "delayed" }, BOUNCE_EXPANDED },
	};
	char msg[4096];
	struct bounce b;
	int n;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		n = snprintf(msg, sizeof(msg), REPORT STATUS MESSAGE);
		for (size_t j = 0; t[i].actions[j] != NULL; j++)
			n += snprintf(msg + n, sizeof(msg) - (size_t)n,
			    "Final-Recipient: rfc822;r%zu@x.it\r\nAction: %s\r\n\r\n\r\n", j,
			    t[i].actions[j]);
		snprintf(msg + n, sizeof(msg) - (size_t)n, ORIGINAL);
		b = parse(msg);
		assert_int_equal(b.kind, BOUNCE_REPORT);
		assert_int_equal(b.leg.action, t[i].want);
	}
	assert_int_equal(b.nrcpt, 2);
}

static void
bounded(void **state)
{
	struct bounce b;
	struct buf msg;

	(void)state;
	/* more recipients than there is room for: said, not overrun */
	buf_init(&msg, 4 * BOUNCE_SIZE_MAX);
	assert_int_equal(buf_puts(&msg, REPORT STATUS MESSAGE), 0);
	for (int i = 0; i < BOUNCE_RCPT_MAX + 1; i++)
		assert_int_equal(buf_puts(&msg, "Final-Recipient: rfc822;x\r\nAction: "
		    "delayed\r\n\r\n"),
		    0);
	assert_int_equal(buf_puts(&msg, "Action: failed\r\n\r\n" ORIGINAL), 0);
	bounce_parse(buf_slice(&msg), &known, &b);
	assert_int_equal(b.nrcpt, BOUNCE_RCPT_MAX);
	assert_true(b.more);
	assert_int_equal(b.leg.action, BOUNCE_DELAYED);

	/* 2.2.6: a report with a large message is read from its beginning */
	buf_clear(&msg);
	assert_int_equal(buf_puts(&msg, REPORT TEXT STATUS "Action: failed\r\n\r\n--B1\r\n"
	    "Content-Type: message/rfc822\r\n\r\n"), 0);
	while (buf_len(&msg) < 2 * BOUNCE_SIZE_MAX)
		assert_int_equal(buf_puts(&msg, "0123456789 a line of a large message\r\n"), 0);
	bounce_parse(buf_slice(&msg), &known, &b);
	assert_int_equal(b.kind, BOUNCE_REPORT);

	/* but what lies behind the limit or is cut by it is not believed */
	buf_clear(&msg);
	assert_int_equal(buf_puts(&msg, REPORT "--B1\r\n\r\n"), 0);
	while (buf_len(&msg) < BOUNCE_SIZE_MAX - 200)
		assert_int_equal(buf_puts(&msg, "0123456789\r\n"), 0);
	assert_int_equal(buf_puts(&msg, "\r\n" STATUS "Action: failed\r\nX: "), 0);
	while (buf_len(&msg) < BOUNCE_SIZE_MAX + 200)
		assert_int_equal(buf_puts(&msg, "0123456789"), 0);
	assert_int_equal(buf_puts(&msg, "\r\n" ORIGINAL), 0);
	bounce_parse(buf_slice(&msg), &known, &b);
	assert_int_equal(b.kind, BOUNCE_AUTO_REPLY);
	buf_fini(&msg);
}

/* The report inside `levels` multiparts. */
static enum bounce_kind
nested(int levels)
{
	struct buf msg;
	struct bounce b;

	buf_init(&msg, 64 * 1024);
	for (int i = 0; i < levels; i++)
		assert_int_equal(buf_printf(&msg, "Content-Type: multipart/mixed; "
		    "boundary=n%d-\r\n\r\n"
		    "--n%d-\r\n", i, i), 0);
	assert_int_equal(buf_puts(&msg, "Content-Type: multipart/report; boundary=B1\r\n\r\n" TEXT
	    STATUS "Action: failed\r\n" ORIGINAL), 0);
	for (int i = levels; i-- > 0; )
		assert_int_equal(buf_printf(&msg, "\r\n--n%d---\r\n", i), 0);
	bounce_parse(buf_slice(&msg), &known, &b);
	buf_fini(&msg);
	return b.kind;
}

static void
nesting_2_2_6(void **state)
{
	struct bounce b;
	struct buf msg;

	(void)state;
	assert_int_equal(nested(0), BOUNCE_REPORT);
	assert_int_equal(nested(1), BOUNCE_REPORT);
	assert_int_equal(nested(BOUNCE_DEPTH_MAX - 1), BOUNCE_REPORT);
	assert_int_equal(nested(BOUNCE_DEPTH_MAX), BOUNCE_OTHER);
	assert_int_equal(nested(300), BOUNCE_OTHER);
	/* too many parts in front of it */
	for (int parts = BOUNCE_PARTS_MAX - 1; parts <= BOUNCE_PARTS_MAX; parts++) {
		buf_init(&msg, 64 * 1024);
		assert_int_equal(buf_puts(&msg, REPORT), 0);
		for (int i = 0; i < parts; i++)
			assert_int_equal(buf_puts(&msg, "--B1\r\n\r\nx\r\n"), 0);
		assert_int_equal(buf_puts(&msg, STATUS "Action: failed\r\n" ORIGINAL), 0);
		bounce_parse(buf_slice(&msg), &known, &b);
		assert_int_equal(b.kind, parts < BOUNCE_PARTS_MAX ? BOUNCE_REPORT :
		    BOUNCE_AUTO_REPLY);
		buf_fini(&msg);
	}
}

/* Reports as real programs write them. */
static void
habits(void **state)
{
	static const char *const t[] = {
		/* no report-type; no group for the message; comments; no last delimiter */
		HEAD "Content-Type: multipart/report; boundary=B1\r\n\r\n" TEXT STATUS
		"Final-Recipient: rfc822;x@y.it\r\nAction: failed\r\nStatus: 5.0.0\r\n",
		/* encoded */
		REPORT "--B1\r\nContent-Type: message/delivery-status\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n"
		"QWN0aW9uOiBmYWlsZWQNClN0YXR1czogNS4wLjANCg=="
		"\r\n--B1--",
		/* line ends of another system inside: "Reporting-MTA: dns; x", "", "Action: failed",
		 * "Status: 5.0.0" with LF alone, then the last two with "=0A" */
		REPORT "--B1\r\nContent-Type: message/delivery-status\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n"
		"UmVwb3J0aW5nLU1UQTogZG5zOyB4CgpBY3Rpb246IGZhaWxlZApTdGF0dXM6IDUuMC4wCg=="
		"\r\n--B1--",
		REPORT "--B1\r\nContent-Type: message/delivery-status\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		"Action: failed=0AStatus: 5.0.0=0A\r\n--B1--",
		/* comments in front */
		REPORT STATUS "Action: (really) failed\r\nStatus: (bad \\) box) 5.0.0 (x)\r\n"
		ORIGINAL,
		REPORT "--B1\r\nContent-Type: message/delivery-status\r\n"
		    "Content-Transfer-Encoding: "
		"quoted-printable\r\n\r\nAction: fai=\r\nled\r\nStatus:=205.0.0\r\n--B1--",
		/* RFC 6533 */
		REPORT "--B1\r\nContent-Type: message/global-delivery-status; charset=utf-8\r\n\r\n"
		"Final-Recipient: utf-8; p\xc3\xa9@x.it\r\nAction: failed\r\nStatus: 5.0.0\r\n"
		"--B1--",
		/* lines that are no fields, empty lines first, fields in another order */
		REPORT STATUS "\r\n\r\nReporting-MTA: dns; x\r\n\r\n*** junk ***\r\nStatus: "
		    "5.0.0\r\n"
		"more junk\r\nAction: failed\r\n" ORIGINAL,
		/* inside what a list or a scanner put around */
		"Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\nContent-Type: "
		"text/plain"
		"\r\n\r\nscanned\r\n--out\r\nContent-Type: multipart/report; boundary=B1;\r\n"
		" report-type=delivery-status\r\n\r\n" STATUS "Action: failed\r\nStatus: 5.0.0\r\n"
		ORIGINAL "\r\n--out--\r\n",
		HEAD "Content-Type: Multipart/Report (x); Report-Type=\"Delivery-Status\"; "
		    "boundary=B1\r\n"
		"\r\n" STATUS "ACTION : failed\r\nstatus: 5.0.0\r\n" ORIGINAL,
	};
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		b = parse(t[i]);
		if (b.kind != BOUNCE_REPORT)
			print_error("habit %zu\n", i);
		assert_int_equal(b.kind, BOUNCE_REPORT);
		assert_int_equal(b.leg.action, BOUNCE_FAILED);
		assert_int_equal(b.leg.status, 5);
	}
}

static void
auto_replies_2_2_4(void **state)
{
	static const struct {
		const char *header, *sign;	/* "" for BOUNCE_OTHER */
	} t[] = {
		{ "Auto-Submitted: auto-replied\r\n", "auto-submitted" },
		{ "Auto-Submitted: auto-replied (vacation)\r\n", "auto-submitted" },
		{ "auto-submitted: Auto-Generated; x=y\r\n", "auto-generated" },
		{ "Auto-Submitted: auto-generated\r\nX-Autoreply: yes\r\n", "x-autoreply" },
		{ "X-Autoreply: yes\r\nAuto-Submitted: auto-generated\r\n", "x-autoreply" },
		{ "Auto-Submitted: something-new\r\n", "auto-submitted" },
		{ "Auto-Submitted:\r\n", "auto-submitted" },
		{ "Auto-Submitted: no\r\n", "" }, { "Auto-Submitted: No (really)\r\n", "" },
		{ "Auto-Submitted: (a person) no\r\n", "" },
		{ "Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n", "auto-submitted" },
		{ "X-Autoreply: yes\r\n", "x-autoreply" }, { "X-Autoreply: no\r\n", "" },
		{ "X-Autorespond: sono in ferie\r\n", "x-autoreply" },
		{ "Precedence: auto_reply\r\n", "precedence" }, { "Precedence: bulk\r\n", "" },
		/* a subject alone is what a person wrote; with a sign it changes nothing */
		{ "Subject: Out of office\r\n", "" },
		{ "Subject: Risposta automatica: sono in vacanza\r\n", "" },
		{ "Subject: Out of office\r\nX-Autoreply: yes\r\n", "x-autoreply" },
		{ "", "" },
		/* not in the header */
		{ "X: y\r\n\r\nAuto-Submitted: auto-replied\r\n", "" },
		/* a receipt (RFC 8098) is an automatic answer, too */
		{ "Content-Type: multipart/report; report-type=disposition-notification; "
		  "boundary=b\r\n",
		  "disposition" },
		{ "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n",
		  "" },
	};
	char msg[1024];
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(msg, sizeof(msg), "From: x@y.it\r\n%s\r\nSono in ferie. 550 5.1.1 "
		    "failed\r\n",
		    t[i].header);
		b = parse(msg);
		if (strcmp(b.sign, t[i].sign) != 0)
			print_error("%s: %s\n", t[i].header, b.sign);
		assert_string_equal(b.sign, t[i].sign);
		assert_int_equal(b.kind, t[i].sign[0] == '\0' ? BOUNCE_OTHER :
		    strcmp(t[i].sign, "auto-generated") == 0 ? BOUNCE_GENERATED : BOUNCE_AUTO_REPLY);
		assert_int_equal(b.nrcpt, 0);
	}
}

/* What looks like a report and is none. */
static void
not_believed(void **state)
{
	static const char *const t[] = {
		/* a report that somebody sent on */
		"Content-Type: message/rfc822\r\n\r\n" REPORT STATUS "Action: failed\r\n" ORIGINAL,
		"Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\nContent-Type: "
		"message/rfc822"
		"\r\n\r\n" REPORT STATUS "Action: failed\r\n" ORIGINAL "\r\n--out--\r\n",
		/* of another type, with such a part inside */
		"Content-Type: multipart/report; report-type=feedback-report; boundary=B1\r\n\r\n"
		STATUS "Action: failed\r\n" ORIGINAL,
		"Content-Type: multipart/mixed; boundary=B1\r\n\r\n" STATUS "Action: "
		"failed\r\n" ORIGINAL,
		"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n",
		/* inside the returned message of a report */
		"Content-Type: multipart/report; boundary=B1\r\n\r\n--B1\r\nContent-Type: "
		"multipart/mixed; boundary=B2\r\n\r\n--B2\r\nContent-Type: "
		"message/delivery-status\r\n\r\n"
		"Action: failed\r\n--B2--\r\n--B1--\r\n",
		/* empty, broken, without anything about a recipient */
		"Content-Type: multipart/report; boundary=B1\r\n\r\n" STATUS MESSAGE ORIGINAL,
		"Content-Type: multipart/report; boundary=B1\r\n\r\n" STATUS ORIGINAL,
		"Content-Type: multipart/report\r\n\r\n" STATUS "Action: failed\r\n" ORIGINAL,
		"Content-Type: multipart/report; boundary=\"\"\r\n\r\n" STATUS "Action: failed\r\n",
		"Content-Type: multipart/report; boundary=B1\r\n\r\n--B1\r\nContent-Type: "
		"message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n****\r\n"
		"--B1--",
		"", "\r\n", "\r\n\r\n", "Content-Type: multipart/report; boundary=B1",
	};
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		b = parse(t[i]);
		if (b.kind != BOUNCE_OTHER)
			print_error("case %zu: %s\n", i, bounce_kind_name(b.kind));
		assert_int_equal(b.kind, BOUNCE_OTHER);
		assert_int_equal(b.nrcpt, 0);
		assert_string_equal(b.token, "");
	}
}

/* To an SRS address: the token is in ENVID, or in our field of what came back. */
static void
spec_1_2_12_the_token_of_what_was_returned(void **state)
{
#define BODY	TEXT STATUS "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\n"
#define HASH	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define MAC	"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PART(t)	"\r\n--B1\r\nContent-Type: " t "\r\n\r\n"
	static const struct { const char *msg, *token; } t[] = {
		{ REPORT BODY PART("text/rfc822-headers") "X-Fwd-Loop: " HASH "\r\n\t" TOKEN "." MAC
		  "\r\nSubject: x\r\n\r\n--B1--\r\n", TOKEN },
		{ REPORT BODY PART("message/rfc822") "A: b\r\nX-Fwd-Loop: " HASH " " TOKEN "." MAC
		  "\r\n\r\nX-Fwd-Loop: " HASH " x.y\r\n--B1--\r\n", TOKEN },
		/* ENVID is first */
		{ REPORT TEXT STATUS MESSAGE "Final-Recipient: rfc822; a@b\r\nAction: failed\r\n"
		  PART("message/rfc822") "X-Fwd-Loop: " HASH " vvvvvvvvvvvvvvvvvvvvvvvv." MAC
		  "\r\n\r\n--B1--\r\n", TOKEN },
		/* the topmost that has one; no other field, part or place */
		{ REPORT BODY PART("message/rfc822") "X-Fwd-Loop: " HASH "\r\nX-Fwd-Loop: " HASH " "
		  TOKEN "." MAC "\r\n\r\n--B1--\r\n", TOKEN },
		{ REPORT BODY PART("text/plain") "X-Fwd-Loop: " HASH " " TOKEN "." MAC
		  "\r\n\r\n--B1--\r\n", "" },
		{ REPORT BODY PART("message/rfc822") "A: b\r\n\r\nX-Fwd-Loop: " HASH " " TOKEN "." MAC
		  "\r\n\r\n--B1--\r\n", "" },
		{ REPORT BODY PART("message/rfc822") "X-Fwd-Loop: " HASH " short." MAC
		  "\r\n\r\n--B1--\r\n", "" },
		{ REPORT BODY PART("message/rfc822") "X-Fwd-Loop: .\r\n\r\n--B1--\r\n", "" },
		{ HEAD "X-Fwd-Loop: " HASH " " TOKEN "." MAC "\r\n\r\nno report\r\n", "" },
	};
	const struct bounce_expect none = { SLICE_NONE, SLICE_NONE };
	struct bounce b;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		print_message("%zu\n", i);
		bounce_parse(slice_str(t[i].msg), &none, &b);
		assert_string_equal(b.token, t[i].token);
	}
	bounce_parse(slice_str(t[0].msg), &known, &b);	/* to a token: it is known already */
	assert_string_equal(b.token, "");
}

/* Cut at each octet, and with each octet changed, a report does no harm and claims no more
 * than it said. */
static void
mangled(void **state)
{
	static const char msg[] = REPORT TEXT STATUS MESSAGE "Final-Recipient: rfc822;" RECOVERY
	    "\r\nAction: failed\r\nStatus: 5.1.1\r\n" ORIGINAL;
	static const char changes[] = "\0\r\n\"()-=;: \xff";
	char *copy;
	struct bounce b;

	(void)state;
	for (size_t n = 0; n < sizeof(msg) - 1; n++) {
		copy = malloc(n + 1);
		memcpy(copy, msg, n);
		bounce_parse(slice_make(copy, n), &known, &b);
		assert_true(b.kind != BOUNCE_REPORT || b.leg.action == BOUNCE_FAILED ||
		    b.leg.action == BOUNCE_NO_ACTION);
		for (size_t j = 0; j < sizeof(changes) - 1 && n > 0; j++) {
			memcpy(copy, msg, n);
			copy[(n * 7919 + j * 131) % n] = changes[j];
			copy[(n * 104729 + j * 31) % n] = changes[j];
			bounce_parse(slice_make(copy, n), &known, &b);
		}
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(report_2_2_3),
		cmocka_unit_test(actions_2_2_3),
		cmocka_unit_test(status_and_code_2_2_5),
		cmocka_unit_test(cross_check_2_2_3),
		cmocka_unit_test(no_text_is_kept_2_2_5),
		cmocka_unit_test(several_recipients),
		cmocka_unit_test(bounded),
		cmocka_unit_test(nesting_2_2_6),
		cmocka_unit_test(habits),
		cmocka_unit_test(auto_replies_2_2_4),
		cmocka_unit_test(not_believed),
		cmocka_unit_test(spec_1_2_12_the_token_of_what_was_returned),
		cmocka_unit_test(mangled),
	};

	return cmocka_run_group_tests_name("policy/bounce", tests, NULL, NULL);
}
