// SPDX-License-Identifier: Apache-2.0
/* Networks: what is one, and who is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/network.h"

static void
test_parse(void **state)
{
	static const struct {
		const char *text, *printed;	/* printed NULL: not a network */
	} t[] = {
		{ "192.0.2.7", "192.0.2.7/32" },
		{ "192.0.2.0/24", "192.0.2.0/24" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "::ffff:192.0.2.7", "192.0.2.7/32" },
		{ "::ffff:192.0.2.0/120", "192.0.2.0/24" },
		{ "2001:db8::/32", "2001:db8::/32" },
		{ "2001:DB8::1", "2001:db8::1/128" },
		{ "::/0", "::/0" },
		{ "", NULL }, { "/", NULL }, { "192.0.2.1/24", NULL }, { "192.0.2.0/33", NULL },
		{ "192.0.2.0/", NULL }, { "192.0.2.0/024x", NULL }, { "192.0.2/24", NULL },
		{ "2001:db8::1/64", NULL }, { "2001:db8::/129", NULL }, { "[::1]", NULL },
		{ "example.it", NULL }, { "192.0.2.0/-1", NULL }, { "192.0.2.7 ", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char text[NETWORK_TEXT];
		struct network n;
		int r = network_parse(slice_str(t[i].text), &n);

		if ((r == 0) != (t[i].printed != NULL))
			fail_msg("%s: %d", t[i].text, r);
		if (r != 0)
			continue;
		network_print(&n, text);
		assert_string_equal(text, t[i].printed);
	}
}

static void
test_has(void **state)
{
	static const struct {
		const char *net, *addr;
		bool in;
	} t[] = {
		{ "192.0.2.0/24", "192.0.2.0", true },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "::ffff:192.0.2.9", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false },
		{ "0.0.0.0/0", "203.0.113.1", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "203.0.113.1", true },
		{ "2001:db8::/33", "2001:db8:7fff::", true },
		{ "2001:db8::/33", "2001:db8:8000::", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t addr[16];
		struct network n;

		assert_int_equal(network_parse(slice_str(t[i].net), &n), 0);
		assert_int_equal(network_addr(slice_str(t[i].addr), addr), 0);
		if (network_has(&n, addr) != t[i].in)
			fail_msg("%s in %s?", t[i].addr, t[i].net);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
