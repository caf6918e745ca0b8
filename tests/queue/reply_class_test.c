// SPDX-License-Identifier: Apache-2.0
/* 8.4: every example of the specification, and what must not be taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "queue/reply_class.h"

struct example {
	uint16_t		 code;
	const char		*enhanced, *text;
	enum reply_class	 class;
};

static const struct example examples[] = {
	/* RATE */
	{ 421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", REPLY_RATE },
	{ 421, "4.7.0", "an unusual rate of mail originating from your IP", REPLY_RATE },
	{ 421, "4.7.0", "suspicious due to the low reputation of the sending domain", REPLY_RATE },
	{ 421, "", "RP-001 The mail server IP has exceeded the rate limit", REPLY_RATE },
	{ 421, "", "RP-002 x", REPLY_RATE },
	{ 421, "", "RP-003 x", REPLY_RATE },
	{ 451, "4.7.650", "The mail server has been temporarily rate limited", REPLY_RATE },
	{ 451, "4.7.651", "x", REPLY_RATE },
	{ 421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred", REPLY_RATE },
	/* BLOCK */
	{ 550, "5.7.1", "Unfortunately, messages from [192.0.2.1] weren't sent. (S3140)", REPLY_BLOCK },
	{ 550, "5.7.1", "part of their network is on our block list (S3150)", REPLY_BLOCK },
	{ 550, "5.7.1", "due to the very low reputation of the sending IP", REPLY_BLOCK },
	{ 553, "5.7.1", "[TSS09] All messages from 192.0.2.1 will be permanently deferred", REPLY_BLOCK },
	{ 421, "4.7.1", "[TS03] All messages permanently deferred", REPLY_BLOCK },
	{ 550, "", "SC-001 Mail rejected", REPLY_BLOCK },
	{ 550, "5.7.28", "x", REPLY_BLOCK },
	/* USERRATE */
	{ 450, "4.2.1", "The user you are trying to contact is receiving mail too quickly", REPLY_USERRATE },
	{ 550, "5.2.1", "The user is receiving mail at a rate that prevents delivery", REPLY_USERRATE },
	/* FULL */
	{ 452, "4.2.2", "The email account is over quota", REPLY_FULL },
	{ 552, "5.2.2", "over quota", REPLY_FULL },
	{ 452, "", "mailbox full", REPLY_FULL },
	/* NOUSER */
	{ 550, "5.1.1", "The email account that you tried to reach does not exist", REPLY_NOUSER },
	{ 550, "5.1.2", "bad domain", REPLY_NOUSER },
	{ 550, "5.2.1", "The email account is disabled", REPLY_NOUSER },
	{ 550, "", "No such user here", REPLY_NOUSER },
	/* AUTH */
	{ 550, "5.7.26", "Unauthenticated email from x is not accepted: DMARC policy", REPLY_AUTH },
	{ 421, "4.7.26", "x", REPLY_AUTH },
	{ 421, "4.7.27", "SPF did not pass", REPLY_AUTH },
	{ 421, "4.7.30", "DKIM did not pass", REPLY_AUTH },
	{ 421, "4.7.32", "From not aligned", REPLY_AUTH },
	{ 550, "5.7.32", "x", REPLY_AUTH },
	{ 550, "5.7.509", "Access denied, sending domain does not pass DMARC", REPLY_AUTH },
	{ 550, "5.7.515", "x", REPLY_AUTH },
	{ 550, "5.7.1", "rejected per dmarc policy", REPLY_AUTH },
	{ 554, "5.7.9", "Message not accepted for policy reasons: DMARC", REPLY_AUTH },
	/* SETUP */
	{ 421, "4.7.23", "no PTR", REPLY_SETUP },
	{ 550, "5.7.25", "The IP address does not have a PTR record", REPLY_SETUP },
	{ 421, "4.7.29", "not sent over a TLS connection", REPLY_SETUP },
	{ 421, "4.7.24", "SPF record with suspicious entries", REPLY_SETUP },
	{ 550, "5.7.27", "SPF", REPLY_SETUP },
	{ 421, "4.7.31", "no DMARC record", REPLY_SETUP },
	{ 421, "4.7.40", "x", REPLY_SETUP },
	/* SPAM */
	{ 550, "5.7.1", "this message is likely unsolicited mail", REPLY_SPAM },
	{ 552, "5.7.0", "blocked because its content presents a potential security issue", REPLY_SPAM },
	{ 554, "5.7.1", "[CS01] Message rejected due to local policy", REPLY_SPAM },
	{ 554, "5.7.1", "[HM08] Message rejected", REPLY_SPAM },
	{ 550, "", "[PH01] Email not accepted for policy reasons", REPLY_SPAM },
	/* STRUCTURE */
	{ 550, "5.7.1", "Messages missing a valid address in From: header", REPLY_STRUCTURE },
	{ 550, "5.7.1", "not RFC 5322 compliant", REPLY_STRUCTURE },
	{ 550, "5.7.1", "'Message-ID' header missing", REPLY_STRUCTURE },
	{ 554, "5.6.0", "corrupt message", REPLY_STRUCTURE },
	/* SIZE */
	{ 552, "5.3.4", "too large", REPLY_SIZE },
	{ 552, "5.2.3", "exceeded max size", REPLY_SIZE },
	/* LOOP */
	{ 554, "5.4.6", "too many hops", REPLY_LOOP },
	{ 554, "5.4.14", "Hop count exceeded", REPLY_LOOP },
	/* ADDR */
	{ 553, "5.1.7", "bad sender address syntax", REPLY_ADDR },
	{ 501, "5.1.7", "x", REPLY_ADDR },
	/* unknown ones */
	{ 451, "4.3.0", "try again", REPLY_TEMP },
	{ 451, "", "greylisted", REPLY_TEMP },
	{ 421, "", "going down", REPLY_TEMP },
	{ 550, "5.7.1", "refused", REPLY_PERM },
	{ 554, "", "no", REPLY_PERM },
	{ 0, "", "connection timed out", REPLY_TEMP },
	{ 250, "2.0.0", "ok", REPLY_OK },
	/* an enhanced code that contradicts the code says nothing */
	{ 450, "5.1.1", "later", REPLY_TEMP },
	{ 550, "4.2.1", "refused", REPLY_PERM },
};

static void
test_spec_8_4_every_example(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		const struct example *x = &examples[i];
		const struct reply r = { x->code, slice_str(x->enhanced), slice_str(x->text),
			SLICE_NONE };
		struct reply_verdict v = reply_classify(&r);

		if (v.class != x->class)
			fail_msg("%u %s %s: %s, not %s", x->code, x->enhanced, x->text,
			    reply_class_name(v.class), reply_class_name(x->class));
		assert_int_equal(v.closed, x->code >= 500);
	}
}

static void
test_spec_8_4_scope_of_rate(void **state)
{
	static const struct { const char *text; enum reply_scope scope; } t[] = {
		{ "an unusual rate of mail", REPLY_SCOPE_ALL },
		{ "mail originating from your DKIM domain [shop.example 36]", REPLY_SCOPE_DKIM },
		{ "originating from your SPF domain [fwd.example.it 35]", REPLY_SCOPE_SPF },
		{ "originating from your IP Netblock [192.0.2.0 19]", REPLY_SCOPE_NETBLOCK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct reply r = { 421, SLICE_LIT("4.7.28"), slice_str(t[i].text), SLICE_NONE };

		assert_int_equal(reply_classify(&r).class, REPLY_RATE);
		assert_int_equal(reply_classify(&r).scope, t[i].scope);
	}
}

/* Replies are hostile bytes: any length, any byte, no text at all. */
static void
test_spec_8_4_hostile_replies(void **state)
{
	static char junk[4096];

	(void)state;
	for (unsigned seed = 0; seed < 2000; seed++) {
		unsigned x = seed * 2654435761u;
		for (size_t i = 0; i < sizeof(junk); i++)
			junk[i] = (char)(x = x * 1103515245u + 12345u);
		const struct reply r = { (uint16_t)(x % 1000), slice_make(junk + x % 64, seed % 13),
			slice_make(junk, seed % sizeof(junk)), slice_make(junk, seed % 40) };
		struct reply_verdict v = reply_classify(&r);
		assert_true(v.class < REPLY_CLASS_MAX);
		assert_true((v.class == REPLY_OK) == (r.code / 100 == 2));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_8_4_every_example),
		cmocka_unit_test(test_spec_8_4_scope_of_rate),
		cmocka_unit_test(test_spec_8_4_hostile_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
