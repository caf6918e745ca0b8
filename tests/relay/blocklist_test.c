// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/network.h"
#include "relay/blocklist.h"

static void
test_names(void **state)
{
	static const struct {
		const char *ip, *zone, *name;
	} t[] = {
		{ "192.0.2.99", "bl.example", "99.2.0.192.bl.example" },
		{ "::ffff:192.0.2.99", "bl.example", "99.2.0.192.bl.example" },
		{ "2001:db8:1:2:3:4:567:89ab", "bl.example",	/* RFC 5782 2.4 */
		    "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example" },
	};
	char out[DNS_NAME_MAX + 1], zone[DNS_NAME_MAX];
	uint8_t addr[16];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(network_addr(slice_str(t[i].ip), addr), 0);
		assert_int_equal(blocklist_name(addr, t[i].zone, out), 0);
		assert_string_equal(out, t[i].name);
	}
	memset(zone, 'z', sizeof(zone) - 1);
	zone[sizeof(zone) - 1] = '\0';
	assert_int_equal(blocklist_name(addr, zone, out), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("relay/blocklist", tests, NULL, NULL);
}
