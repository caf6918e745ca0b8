// SPDX-License-Identifier: Apache-2.0
/* Forward-confirmed reverse DNS: RFC 8601 2.7.3, 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/iprev.h"
#include "tests/policy/zone.h"

#define ZONE \
	"1.2.0.192.in-addr.arpa PTR good.example\ngood.example A 192.0.2.1\n" \
	"2.2.0.192.in-addr.arpa PTR good.example\n" \
	"3.2.0.192.in-addr.arpa PTR gone.example\n" \
	"4.2.0.192.in-addr.arpa PTR lie.example\n4.2.0.192.in-addr.arpa PTR real.example\n" \
	"lie.example A 192.0.2.1\nreal.example A 192.0.2.9\nreal.example A 192.0.2.4\n" \
	"5.2.0.192.in-addr.arpa TXT x\n" \
	"6.2.0.192.in-addr.arpa FAIL x\n" \
	"7.2.0.192.in-addr.arpa PTR temp.example\ntemp.example FAIL x\n" \
	"8.2.0.192.in-addr.arpa PTR temp.example\n8.2.0.192.in-addr.arpa PTR eight.example\n" \
	"eight.example A 192.0.2.8\n" \
	"10.2.0.192.in-addr.arpa PTR not a name\n" \
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" \
	" PTR six.example\n" \
	"six.example AAAA 2001:db8::1\n"

static const struct {
	const char	*ip;
	enum auth_result expect;
	const char	*name;
	unsigned	 rounds;
} cases[] = {
	{ "192.0.2.1", AUTH_PASS, "good.example", 3 },
	{ "::ffff:192.0.2.1", AUTH_PASS, "good.example", 3 },
	{ "2001:db8::1", AUTH_PASS, "six.example", 3 },
	{ "192.0.2.2", AUTH_FAIL, "", 3 },		/* no agreement */
	{ "192.0.2.3", AUTH_FAIL, "", 3 },		/* the name is nothing */
	{ "192.0.2.4", AUTH_PASS, "real.example", 3 },	/* both asked in one round */
	{ "192.0.2.5", AUTH_PERMERROR, "", 2 },		/* no PTR there */
	{ "192.0.2.99", AUTH_PERMERROR, "", 2 },
	{ "192.0.2.6", AUTH_TEMPERROR, "", 2 },
	{ "192.0.2.7", AUTH_TEMPERROR, "", 3 },
	{ "192.0.2.8", AUTH_PASS, "eight.example", 3 },
	{ "192.0.2.10", AUTH_FAIL, "", 2 },
	{ "localhost", AUTH_UNSET, "", 1 },
	{ "", AUTH_UNSET, "", 1 },
};

static void
table(void **state)
{
	struct buf answers, wants;
	struct dnsview v;

	(void)state;
	dnsview_init(&v);
	buf_init(&answers, 1 << 16);
	buf_init(&wants, 1 << 16);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct iprev_ip ip = iprev_parse(slice_str(cases[i].ip));
		struct iprev out;
		unsigned rounds;

		buf_clear(&answers);
		for (rounds = 1;; rounds++) {
			assert_int_equal(dnsview_load(&v, buf_slice(&answers), false), 0);
			iprev_check(&v, &ip, &out);
			if (v.nwant == 0)
				break;
			buf_clear(&wants);
			assert_int_equal(dnsview_wants(&v, &wants), 0);
			zone_answers(ZONE, buf_slice(&wants), &answers);
		}
		if (out.result != cases[i].expect)
			fail_msg("%s: %s", cases[i].ip, auth_result_name(out.result));
		assert_string_equal(out.name, cases[i].name);
		assert_int_equal(rounds, cases[i].rounds);
	}
	dnsview_fini(&v);
	buf_fini(&answers);
	buf_fini(&wants);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(table) };

	return cmocka_run_group_tests_name("policy/iprev", tests, NULL, NULL);
}
