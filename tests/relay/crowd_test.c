// SPDX-License-Identifier: Apache-2.0
/* Counting clients by address and network, against a plain count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/network.h"
#include "relay/crowd.h"

static enum crowd_verdict
enter(struct crowd *c, const char *ip)
{
	uint8_t addr[16];

	assert_int_equal(network_addr(slice_str(ip), addr), 0);
	return crowd_enter(c, addr, 2, 3);
}

static void
leave(struct crowd *c, const char *ip)
{
	uint8_t addr[16];

	assert_int_equal(network_addr(slice_str(ip), addr), 0);
	crowd_leave(c, addr);
}

static void
test_bounds(void **state)
{
	struct crowd *c = crowd_new();

	(void)state;
	assert_int_equal(enter(c, "192.0.2.1"), CROWD_OK);
	assert_int_equal(enter(c, "::ffff:192.0.2.1"), CROWD_OK);
	assert_int_equal(enter(c, "192.0.2.1"), CROWD_ADDRESS);
	assert_int_equal(enter(c, "192.0.2.255"), CROWD_OK);
	assert_int_equal(enter(c, "192.0.2.7"), CROWD_NETWORK);
	assert_int_equal(enter(c, "192.0.3.7"), CROWD_OK);	/* the next /24 */
	leave(c, "192.0.2.1");
	assert_int_equal(enter(c, "192.0.2.7"), CROWD_OK);
	assert_int_equal(enter(c, "2001:db8:0:1::1"), CROWD_OK);
	assert_int_equal(enter(c, "2001:db8:0:1::2"), CROWD_OK);
	assert_int_equal(enter(c, "2001:db8:0:1:ffff::2"), CROWD_OK);
	assert_int_equal(enter(c, "2001:db8:0:1::3"), CROWD_NETWORK);
	assert_int_equal(enter(c, "2001:db8:0:2::3"), CROWD_OK);	/* the next /64 */
	leave(c, "192.0.2.1");
	leave(c, "192.0.2.7");
	leave(c, "192.0.2.255");
	leave(c, "192.0.3.7");
	leave(c, "2001:db8:0:1::1");
	leave(c, "2001:db8:0:1::2");
	leave(c, "2001:db8:0:1:ffff::2");
	assert_int_equal(crowd_size(c), 2);
	leave(c, "2001:db8:0:2::3");
	assert_int_equal(crowd_size(c), 0);
	crowd_free(&c);
}

/* Many come and go at random: nothing is left, nobody is counted twice. */
static void
test_many(void **state)
{
	enum { N = 20000, HOSTS = 5000 };
	static unsigned in[HOSTS];
	struct crowd *c = crowd_new();
	unsigned seed = 1, present = 0;
	size_t most = 0;

	(void)state;
	for (unsigned i = 0; i < 20 * N; i++) {
		uint8_t addr[16] = { 0x20, 1, 0xd, 0xb8 };
		unsigned h;

		seed = seed * 1103515245u + 12345u;
		h = (seed >> 8) % HOSTS;
		addr[7] = (uint8_t)(h >> 8);
		addr[15] = (uint8_t)h;
		if ((seed >> 4) % 5 < 3) {
			enum crowd_verdict v = crowd_enter(c, addr, 4, 1000000);

			assert_int_equal(v, in[h] < 4 ? CROWD_OK : CROWD_ADDRESS);
			in[h] += v == CROWD_OK;
			present += v == CROWD_OK;
		} else if (in[h] > 0) {
			crowd_leave(c, addr);
			in[h]--;
			present--;
		}
		most = crowd_size(c) > most ? crowd_size(c) : most;
	}
	assert_true(present > 0 && most > 2000 && most <= HOSTS + HOSTS / 256 + 1);
	for (unsigned h = 0; h < HOSTS; h++) {
		uint8_t addr[16] = { 0x20, 1, 0xd, 0xb8 };

		addr[7] = (uint8_t)(h >> 8);
		addr[15] = (uint8_t)h;
		for (; in[h] > 0; in[h]--)
			crowd_leave(c, addr);
	}
	assert_int_equal(crowd_size(c), 0);
	crowd_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
