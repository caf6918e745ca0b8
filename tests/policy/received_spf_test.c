// SPDX-License-Identifier: Apache-2.0
/* Received-SPF (RFC 7208 9.1, spec 4.4): exact text, and what strangers put into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/received_spf.h"

static void
expect(const struct received_spf *r, const char *want)
{
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(received_spf_put(&out, r), 0);
	if (!slice_eq(buf_slice(&out), slice_str(want)))
		print_error("%.*s", SLICE_FMT(buf_slice(&out)));
	assert_true(slice_eq(buf_slice(&out), slice_str(want)));
	buf_fini(&out);
}

static void
text_4_4(void **state)
{
	struct received_spf r = {
		.result = AUTH_SOFTFAIL, .client_ip = SLICE_LIT("2001:db8::1"),
		.envelope_from = SLICE_LIT("a@b.example"), .helo_name = SLICE_LIT("mail.b.example"),
		.receiver = SLICE_LIT("mx.example.it"),
	};
	static char longest[400];

	(void)state;
	expect(&r, "Received-SPF: softfail\r\n\tclient-ip=\"2001:db8::1\";\r\n"
	    "\tenvelope-from=\"a@b.example\";\r\n\thelo=mail.b.example;\r\n"
	    "\treceiver=mx.example.it;\r\n\tidentity=mailfrom\r\n");
	r.helo = true;
	r.envelope_from = SLICE_NONE;
	r.helo_name = SLICE_LIT("[192.0.2.1]");
	r.client_ip = SLICE_LIT("192.0.2.1");
	expect(&r, "Received-SPF: softfail\r\n\tclient-ip=192.0.2.1;\r\n"
	    "\tenvelope-from=\"\";\r\n\thelo=\"[192.0.2.1]\";\r\n"
	    "\treceiver=mx.example.it;\r\n\tidentity=helo\r\n");
	/* nothing of these gets out of its quotes or into a line of its own */
	r.envelope_from = SLICE_LIT("\"a\\\"; x=y\"@b.example");
	r.helo_name = SLICE_LIT("x\r\nEvil: y");
	r.client_ip = SLICE_LIT("\xff");
	expect(&r, "Received-SPF: softfail\r\n"
	    "\tenvelope-from=\"\\\"a\\\\\\\"; x=y\\\"@b.example\";\r\n"
	    "\treceiver=mx.example.it;\r\n\tidentity=helo\r\n");
	memset(longest, 'x', sizeof(longest) - 1);
	r.envelope_from = slice_str(longest);
	r.helo_name = SLICE_LIT("a..b");
	expect(&r, "Received-SPF: softfail\r\n\thelo=\"a..b\";\r\n"
	    "\treceiver=mx.example.it;\r\n\tidentity=helo\r\n");
}

static void
bounded(void **state)
{
	struct received_spf r = { .result = AUTH_PASS, .receiver = SLICE_LIT("mx.example.it") };
	struct buf out;

	(void)state;
	for (size_t max = 0; max < 60; max++) {
		buf_init(&out, max);
		assert_int_equal(received_spf_put(&out, &r), -1);
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_4_4),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests_name("policy/received_spf", tests, NULL, NULL);
}
