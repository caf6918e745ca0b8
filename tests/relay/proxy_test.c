// SPDX-License-Identifier: Apache-2.0
/* PROXY headers, whole and cut short at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/proxy.h"

#define SIG	"\r\n\r\n\0\r\nQUIT\n"
#define V4	"\xc0\x00\x02\x09\x7f\x00\x00\x01\x04\xd2\x00\x19"	/* 192.0.2.9 */
#define V6_A	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define M4_A	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x09"
#define X50	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define CASE(text, r, ip)	{ text, sizeof(text) - 1, r, ip }

static const struct {
	const char		*text;
	size_t			 n;
	enum proxy_result	 r;
	const char		*ip;
} t[] = {
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\r\n", PROXY_CLIENT, "192.0.2.9"),
	CASE("PROXY TCP6 2001:DB8::7 ::1 1 65535\r\n", PROXY_CLIENT, "2001:db8::7"),
	CASE("PROXY TCP6 ::ffff:192.0.2.9 ::1 1 2\r\n", PROXY_CLIENT, "192.0.2.9"),
	CASE("PROXY UNKNOWN\r\n", PROXY_LOCAL, ""),
	CASE("PROXY UNKNOWN ffff:f... what 65535 65535\r\n", PROXY_LOCAL, ""),
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\n", PROXY_MORE, ""),
	CASE("PROXY TCP4 192.0.2.9  127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 1234\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 1234 25 \r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 01234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 192.0.2.9 127.0.0.1 1234 65536\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 192.0.2.999 127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP4 2001:db8::7 ::1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP6 192.0.2.9 127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY TCP5 192.0.2.9 127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY  TCP4 192.0.2.9 127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("PROXY \r\n", PROXY_BAD, ""),
	CASE("PROXY UNKNOWN " X50 X50 "\r\n", PROXY_BAD, ""),
	CASE("proxy TCP4 192.0.2.9 127.0.0.1 1234 25\r\n", PROXY_BAD, ""),
	CASE("EHLO x\r\n", PROXY_BAD, ""),
	CASE(SIG "\x21\x11\x00\x0c" V4, PROXY_CLIENT, "192.0.2.9"),
	CASE(SIG "\x21\x11\x00\x0f" V4 "\x04\0\0", PROXY_CLIENT, "192.0.2.9"),
	CASE(SIG "\x21\x21\x00\x24" V6_A V6_A "\x04\xd2\x00\x19", PROXY_CLIENT, "2001:db8::7"),
	CASE(SIG "\x21\x21\x00\x24" M4_A V6_A "\x04\xd2\x00\x19", PROXY_CLIENT, "192.0.2.9"),
	CASE(SIG "\x20\x00\x00\x00", PROXY_LOCAL, ""),
	CASE(SIG "\x20\x11\x00\x0c" V4, PROXY_LOCAL, ""),
	CASE(SIG "\x21\x00\x00\x00", PROXY_LOCAL, ""),
	CASE(SIG "\x21\x11\x00\x0b\xc0\x00\x02\x09\x7f\x00\x00\x01\x04\xd2\x00", PROXY_BAD, ""),
	CASE(SIG "\x21\x12\x00\x0c" V4, PROXY_LOCAL, ""),	/* UDP */
	CASE(SIG "\x21\x22\x00\x24" V6_A V6_A "\x04\xd2\x00\x19", PROXY_LOCAL, ""),
	CASE(SIG "\x21\x31\x00\x68" X50 X50 "abcd", PROXY_LOCAL, ""),	/* a unix socket's */
	CASE(SIG "\x21\x32\x00\x00", PROXY_LOCAL, ""),
	CASE(SIG "\x21\x10\x00\x0c" V4, PROXY_BAD, ""),
	CASE(SIG "\x21\x41\x00\x0c" V4, PROXY_BAD, ""),
	CASE(SIG "\x21\x13\x00\x0c" V4, PROXY_BAD, ""),
	CASE(SIG "\x22\x11\x00\x0c" V4, PROXY_BAD, ""),
	CASE(SIG "\x11\x11\x00\x0c" V4, PROXY_BAD, ""),
	CASE(SIG "\x21\x11\x10\x01" V4, PROXY_BAD, ""),		/* longer than we take */
	CASE("\r\n\r\n\0\r\nQUIT\r", PROXY_BAD, ""),
};

static void
test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char ip[INET6_ADDRSTRLEN];
		size_t used;

		for (size_t n = 0; n <= t[i].n; n++) {
			/* An exact copy, so that reading beyond it shows under ASan. */
			char *copy = malloc(n == 0 ? 1 : n);
			enum proxy_result r;

			memcpy(copy, t[i].text, n);
			r = proxy_parse(slice_make(copy, n), &used, ip);
			free(copy);
			if (n < t[i].n && (r == PROXY_MORE || t[i].r == PROXY_BAD))
				continue;
			if (r != t[i].r || strcmp(ip, t[i].ip) != 0)
				fail_msg("row %zu at %zu: %d %s", i, n, (int)r, ip);
			if (r == PROXY_CLIENT || r == PROXY_LOCAL)
				assert_int_equal(used, t[i].n);
		}
		if (t[i].r != PROXY_CLIENT)
			continue;
		/* What comes behind it is not touched. */
		char more[400];

		memcpy(more, t[i].text, t[i].n);
		memcpy(more + t[i].n, "EHLO x\r\n", 8);
		assert_int_equal(proxy_parse(slice_make(more, t[i].n + 8), &used, ip),
		    PROXY_CLIENT);
		assert_int_equal(used, t[i].n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
