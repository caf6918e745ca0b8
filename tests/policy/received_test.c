// SPDX-License-Identifier: Apache-2.0
/* Our Received field: spec 3.4, RFC 5321 4.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "policy/received.h"

static const struct received plain = {
	.when_ms = 1795376160000, .helo = SLICE_LIT("mail.esp.example"),
	.rdns = SLICE_LIT("out1.esp.example"), .client_ip = SLICE_LIT("192.0.2.25"),
	.by = SLICE_LIT("mx2.example.it"), .protocol = SLICE_LIT("ESMTPS"),
	.rcpt = SLICE_LIT("mario@example.it"),
};

static void
check(const struct received *r, const char *expect)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(received_put(&b, r), 0);
	if (!slice_eq(buf_slice(&b), slice_str(expect)))
		fail_msg("%.*s", SLICE_FMT(buf_slice(&b)));
	buf_fini(&b);
}

#define BY "\r\n\tby mx2.example.it with ESMTPS id 0000000000000000"
#define DATE ";\r\n\tSun, 22 Nov 2026 19:36:00 +0000\r\n"
#define FOR "\r\n\tfor <mario@example.it>"

static void
spec_3_4_forms(void **state)
{
	struct received r = plain;

	(void)state;
	check(&r, "Received: from mail.esp.example (out1.esp.example [192.0.2.25])" BY FOR DATE);
	r.rdns = SLICE_NONE;
	r.client_ip = SLICE_LIT("2001:db8::1");
	r.rcpt = SLICE_NONE;	/* several recipients: no `for` */
	check(&r, "Received: from mail.esp.example (unknown [IPv6:2001:db8::1])" BY DATE);
	r = plain;
	r.tls = SLICE_LIT("TLSv1.3 TLS_AES_256_GCM_SHA384");
	check(&r, "Received: from mail.esp.example (out1.esp.example [192.0.2.25])\r\n"
	    "\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)" BY FOR DATE);
}

static void
hostile(void **state)
{
	struct received r = plain;
	struct buf b;
	char big[2000];

	(void)state;
	r.helo = SLICE_LIT("[192.0.2.1]");
	check(&r, "Received: from [192.0.2.1] (out1.esp.example [192.0.2.25])" BY FOR DATE);
	r.helo = SLICE_LIT("a b(c)\r\nX: y\"\\;\xc3\xa8");
	check(&r, "Received: from a?b?c???X:?y????? (out1.esp.example [192.0.2.25])" BY FOR DATE);
	r.helo = SLICE_NONE;
	check(&r, "Received: from unknown (out1.esp.example [192.0.2.25])" BY FOR DATE);
	r = plain;
	r.rdns = SLICE_LIT("e(vil)\r\n.example");
	check(&r, "Received: from mail.esp.example (e?vil???.example [192.0.2.25])" BY FOR DATE);
	r = plain;
	r.rcpt = SLICE_LIT("a\r\nb@example.it");
	check(&r, "Received: from mail.esp.example (out1.esp.example [192.0.2.25])" BY DATE);
	r.rcpt = SLICE_LIT("\"a> b\"@example.it");
	check(&r, "Received: from mail.esp.example (out1.esp.example [192.0.2.25])" BY
	    "\r\n\tfor <\"a> b\"@example.it>" DATE);
	r.rcpt = SLICE_LIT("\xc3\xa8@example.it");
	check(&r, "Received: from mail.esp.example (out1.esp.example [192.0.2.25])" BY DATE);

	memset(big, 'h', sizeof(big));
	r.helo = slice_make(big, sizeof(big));
	buf_init(&b, 1024);
	assert_int_equal(received_put(&b, &r), 0);
	assert_true(buf_len(&b) < 255 + 250);
	buf_fini(&b);
	buf_init(&b, 64);
	assert_int_equal(received_put(&b, &plain), -1);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_3_4_forms),
		cmocka_unit_test(hostile),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("policy/received", tests, NULL, NULL);
}
