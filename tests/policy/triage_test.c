// SPDX-License-Identifier: Apache-2.0
/* Spec 10.2, rule by rule; the number of the rule is part of each expectation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/triage.h"

enum { PASS = 1, NULL_SENDER = 2, SEVERAL = 4, LARGE = 8 /* 128k+1 */, HUGE_ = 16 /* 1M+1 */ };

static char bank[] = "bank.example", id[] = "id.example";
static char *const critical[] = { bank, id };

static struct triage_verdict
judge(const char *fields, unsigned how, const char *author)
{
	struct triage_facts f = {
		.dmarc_pass = (how & PASS) != 0, .null_sender = (how & NULL_SENDER) != 0,
		.size = (how & HUGE_) != 0 ? 1024 * 1024 + 1 : (how & LARGE) != 0 ? 128 * 1024 + 1 :
		    128 * 1024,
		.nrcpt = (how & SEVERAL) != 0 ? 2 : 1, .author = slice_str(author),
		.critical = critical, .ncritical = 2
	};
	struct header_field field;
	struct triage t;
	struct header h;

	triage_start(&t);
	header_start(&h, slice_str(fields));
	while (header_next(&h, &field))
		triage_field(&t, &field);
	return triage_judge(&t, &f);
}

#define GEN	"Auto-Submitted: auto-generated\r\n"

static void
rules_10_2(void **state)
{
	static const struct {
		const char	*fields;
		unsigned	 how;
		const char	*author;
		unsigned	 class, rule;
	} t[] = {
		/* T2 */
		{ "", PASS, "bank.example", 0, 2 },
		{ "", PASS | LARGE | SEVERAL, "mail.ID.example", 0, 2 },
		{ "", PASS | HUGE_, "bank.example", 0, 2 },
		{ "List-Id: <x>\r\n", PASS, "bank.example", 3, 5 },
		{ "", 0, "bank.example", 2, 10 },
		{ "", PASS, "notbank.example", 1, 9 },
		{ "", PASS, "bank.example.evil.example", 1, 9 },
		{ "", PASS, "", 1, 9 },
		/* T3 */
		{ GEN, PASS, "a.example", 0, 3 },
		{ "auto-submitted:\r\n AUTO-GENERATED (why) ; owner-email=x\r\n", PASS, "a.example",
		  0, 3 },
		{ "Auto-Submitted: auto-generated-not\r\n", PASS, "a.example", 1, 9 },
		{ "Auto-Submitted: no\r\n", PASS, "a.example", 1, 9 },
		{ GEN, 0, "a.example", 2, 10 },
		{ GEN, PASS | LARGE, "a.example", 1, 9 },
		{ GEN, PASS | SEVERAL, "a.example", 1, 9 },
		{ GEN "List-Help: <mailto:x>\r\n", PASS, "a.example", 1, 9 },
		{ GEN "Precedence: first-class\r\n", PASS, "a.example", 1, 9 },
		{ GEN "Feedback-ID: 1:2\r\n", PASS, "a.example", 2, 6 },
		{ GEN "Auto-Submitted: auto-replied\r\n", PASS, "a.example", 3, 7 },
		/* T4 */
		{ "From: no-reply@a.example\r\n", PASS, "a.example", 0, 4 },
		{ "From: \"Shop, <x@y>\" (a@b) <NoReply+tag@a.example>\r\n", PASS, "a.example", 0, 4 },
		{ "From: OTP@a.example (code)\r\n", PASS, "a.example", 0, 4 },
		{ "From:\r\n Account\r\n <account@a.example>\r\n", PASS, "a.example", 0, 4 },
		{ "From: sicurezza@a.example\r\nFeedback-ID: 1\r\n", PASS, "a.example", 0, 4 },
		{ "From: mario@a.example\r\n", PASS, "a.example", 1, 9 },
		{ "From: no-reply@a.example, otp@a.example\r\n", PASS, "a.example", 1, 9 },
		{ "From: otp <mario@a.example>\r\n", PASS, "a.example", 1, 9 },
		{ "From: <mario@a.example> <otp@a.example>\r\n", PASS, "a.example", 1, 9 },
		{ "From: otp@a.example\r\nFrom: otp@a.example\r\n", PASS, "a.example", 1, 9 },
		{ "From: \"otp\"@a.example\r\n", PASS, "a.example", 1, 9 },
		{ "From: no-reply@a.example\r\n", 0, "a.example", 2, 10 },
		{ "From: no-reply@a.example\r\n", PASS | SEVERAL, "a.example", 1, 9 },
		{ "From: no-reply@a.example\r\n", PASS | LARGE, "a.example", 1, 9 },
		{ "From: no-reply@a.example\r\nList-Unsubscribe: <x>\r\n", PASS, "a.example", 3, 5 },
		{ "From: no-reply@a.example\r\nPrecedence: x\r\n", PASS, "a.example", 1, 9 },
		/* T5 */
		{ "Precedence: bulk\r\n", PASS, "a.example", 3, 5 },
		{ "Precedence:  List (x)\r\n", 0, "a.example", 3, 5 },
		{ "precedence: JUNK\r\n", PASS, "a.example", 3, 5 },
		{ "List-Id: x\r\n", 0, "a.example", 3, 5 },
		{ "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", PASS, "a.example", 3, 5 },
		{ "List-Archive: x\r\n", PASS, "a.example", 1, 9 },
		/* T6 */
		{ "Feedback-ID: x\r\n", PASS, "a.example", 2, 6 },
		{ "X-CSA-Complaints: x\r\n", PASS, "a.example", 2, 6 },
		{ "CFBL-Address: x@y.example\r\n", PASS, "a.example", 2, 6 },
		{ "Feedback-ID: x\r\n", 0, "a.example", 2, 10 },
		{ "Feedback-ID: x\r\nList-Unsubscribe: <x>\r\n", PASS, "a.example", 3, 5 },
		/* T7, and 9.5: the null sender is class 3 whatever else it is */
		{ "", NULL_SENDER, "a.example", 3, 7 },
		{ "", NULL_SENDER | PASS, "a.example", 3, 7 },
		{ GEN, NULL_SENDER | PASS, "a.example", 3, 7 },
		{ "", NULL_SENDER | PASS, "bank.example", 3, 7 },
		{ "Feedback-ID: x\r\n", NULL_SENDER | PASS, "a.example", 3, 7 },
		{ "Auto-Submitted: auto-replied\r\n", PASS, "a.example", 3, 7 },
		{ "Auto-Submitted: auto-replied (vacation)\r\nIn-Reply-To: x\r\n", PASS, "a.example",
		  3, 7 },
		/* T8 */
		{ "In-Reply-To: <1@x>\r\n", PASS | HUGE_, "a.example", 1, 8 },
		{ "References: <1@x>\r\n", PASS, "a.example", 1, 8 },
		{ "References: <1@x>\r\n", 0, "a.example", 2, 10 },
		/* T9, T10 */
		{ "", PASS, "a.example", 1, 9 },
		{ "", PASS | LARGE | SEVERAL, "a.example", 1, 9 },
		{ "", PASS | HUGE_, "a.example", 2, 10 },
		{ "", 0, "a.example", 2, 10 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct triage_verdict v = judge(t[i].fields, t[i].how, t[i].author);

		if (v.class != t[i].class || v.rule != t[i].rule)
			print_error("%zu: class %u T%u: %s\n", i, v.class, v.rule, t[i].fields);
		assert_int_equal(v.class, t[i].class);
		assert_int_equal(v.rule, t[i].rule);
	}
}

/* 10.1: neither subject nor body; 10.3: nor what a sender may say of importance. */
static void
not_looked_at_10_1_10_3(void **state)
{
	struct triage_verdict v;

	(void)state;
	v = judge("Subject: your code is 123456\r\nImportance: high\r\nX-Priority: 1\r\n"
	    "Priority: urgent\r\nMT-Priority: 9\r\n\r\nFrom: otp@a.example\r\nList-Id: x\r\n", PASS,
	    "a.example");
	assert_int_equal(v.rule, 9);
}

/* From fields that are no address: only that nothing bad happens. */
static void
broken_from(void **state)
{
	static const char *const odd[] = {
		"From:\r\n", "From: <\r\n", "From: >\r\n", "From: \"\r\n", "From: (((\r\n",
		"From: \\\r\n", "From: \"\\\r\n", "From: (\\\r\n", "From: @\r\n", "From: otp@\r\n",
		"From: <otp@a.example\r\n", "From: otp\r\n", "From: ;\r\n", "From: \xff\xfe@\xff\r\n",
	};
	static char text[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_true(judge(odd[i], PASS, "a.example").class <= 3);
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "From: ", 6);
	assert_int_equal(judge(text, PASS, "a.example").rule, 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_10_2),
		cmocka_unit_test(not_looked_at_10_1_10_3),
		cmocka_unit_test(broken_from),
	};

	return cmocka_run_group_tests_name("policy/triage", tests, NULL, NULL);
}
