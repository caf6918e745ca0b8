// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/network.h"
#include "relay/greylist.h"

enum { MIN_MS = 60 * 1000 };
static const int64_t start = 1700000000000;
static const struct greylist_bounds bounds = { 5 * MIN_MS, 24 * 60 * MIN_MS, 60 * 60 * MIN_MS };

static bool
pass(struct greylist *g, const char *ip, const char *from, const char *to, int64_t minutes)
{
	uint8_t addr[16];

	assert_int_equal(network_addr(slice_str(ip), addr), 0);
	return greylist_pass(g, &bounds, addr, slice_str(from), slice_str(to),
	    start + minutes * MIN_MS);
}

static void
test_coming_back(void **state)
{
	int fd = greylist_create();
	struct greylist *g = greylist_map(fd), *other = greylist_map(fd);

	(void)state;
	assert_non_null(g);
	assert_false(pass(g, "192.0.2.1", "a@x", "u@d", 0));
	assert_false(pass(g, "192.0.2.1", "a@x", "u@d", 2));		/* too soon */
	assert_false(pass(g, "192.0.2.1", "b@x", "u@d", 5));		/* another sender */
	assert_false(pass(g, "192.0.2.1", "a@", "xu@d", 5));		/* not the same octets */
	/* From the neighbour, to another process: it came back. */
	assert_true(pass(other, "192.0.2.77", "a@x", "u@d", 5));
	/* Known now, with all it sends; its neighbours in other networks are not. */
	assert_true(pass(g, "192.0.2.1", "c@x", "v@d", 6));
	assert_false(pass(g, "192.0.3.1", "c@x", "v@d", 6));
	/* Every sight keeps it known; silence makes it a stranger. */
	assert_true(pass(g, "192.0.2.1", "d@x", "v@d", 6 + 59 * 60));
	assert_true(pass(g, "192.0.2.1", "d@x", "v@d", 6 + 118 * 60));
	assert_false(pass(g, "192.0.2.1", "d@x", "v@d", 6 + 179 * 60));
	greylist_unmap(&g);
	greylist_unmap(&other);
	(void)close(fd);
}

static void
test_window(void **state)
{
	int fd = greylist_create();
	struct greylist *g = greylist_map(fd);

	(void)state;
	assert_false(pass(g, "2001:db8::1", "a@x", "u@d", 0));
	assert_false(pass(g, "2001:db8::2", "a@x", "u@d", 24 * 60 + 1));	/* a day late */
	assert_true(pass(g, "2001:db8::3", "a@x", "u@d", 24 * 60 + 7));
	assert_false(pass(g, "2001:db8:0:1::1", "a@x", "u@d", 24 * 60 + 7));
	/* A clock that was set back is no reason to trust or to wait for ever. */
	assert_false(pass(g, "198.51.100.1", "a@x", "u@d", 1000));
	assert_false(pass(g, "198.51.100.1", "a@x", "u@d", 10));
	assert_true(pass(g, "198.51.100.1", "a@x", "u@d", 16));
	greylist_unmap(&g);
	(void)close(fd);
}

/* Ever new triples push each other out, not the clients that are known and seen. */
static void
test_storm(void **state)
{
	int fd = greylist_create();
	struct greylist *g = greylist_map(fd);
	char from[32];

	(void)state;
	assert_false(pass(g, "192.0.2.1", "a@x", "u@d", 0));
	assert_true(pass(g, "192.0.2.1", "a@x", "u@d", 10));
	for (int i = 0; i < GREYLIST_PLACES / 2; i++) {
		(void)snprintf(from, sizeof(from), "s%d@x", i);
		assert_false(pass(g, "203.0.113.5", from, "u@d", 10));
		if (i % 16 == 0)
			assert_true(pass(g, "192.0.2.1", "a@x", "u@d", 11));
	}
	greylist_unmap(&g);
	assert_null(greylist_map(fd + 100));
	(void)close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coming_back),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests_name("relay/greylist", tests, NULL, NULL);
}
