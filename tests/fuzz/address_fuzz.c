// SPDX-License-Identifier: Apache-2.0
/* What the address parser accepts must keep its promises. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "policy/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_parts(struct slice mailbox, const struct address *a)
{
	struct address again;
	struct buf plain, quoted;
	char name[ADDRESS_DOMAIN_MAX + 1];

	CHECK(a->local.n > 0 && a->local.n <= ADDRESS_LOCAL_MAX);
	CHECK(mailbox.n + 2 <= ADDRESS_PATH_MAX);
	CHECK(a->domain.n == 0 || a->local.n + 1 + a->domain.n == mailbox.n);
	for (size_t i = 0; i < mailbox.n; i++)
		CHECK((unsigned char)mailbox.p[i] >= 32 && mailbox.p[i] != 127);
	if (a->domain.n > 0 && !a->literal && !a->utf8)
		CHECK(address_domain_canonical(a->domain, name, sizeof(name)) == 0);
	/* unquoting and quoting again gives a local part of the same meaning */
	buf_init(&plain, 1024);
	buf_init(&quoted, 1024);
	CHECK(address_unquote(a->local, &plain) == 0);
	CHECK(address_quote(buf_slice(&plain), &quoted) == 0);
	CHECK(buf_puts(&quoted, "@example.it") == 0);
	CHECK(address_parse(buf_slice(&quoted), true, &again) == 0);
	buf_clear(&quoted);
	CHECK(address_unquote(again.local, &quoted) == 0);
	CHECK(slice_eq(buf_slice(&quoted), buf_slice(&plain)));
	buf_fini(&plain);
	buf_fini(&quoted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_make(data, size), mailbox, rest;
	char name[ADDRESS_DOMAIN_MAX + 1], again[ADDRESS_DOMAIN_MAX + 1];
	struct address a;

	for (int utf8 = 0; utf8 < 2; utf8++) {
		if (address_parse(s, utf8 != 0, &a) == 0)
			check_parts(s, &a);
		if (address_path(s, utf8 != 0, &a, &mailbox, &rest) == 0 && mailbox.n > 0)
			check_parts(mailbox, &a);
	}
	if (address_domain_canonical(s, name, sizeof(name)) == 0) {
		CHECK(address_domain_valid(slice_str(name)));
		CHECK(address_domain_canonical(slice_str(name), again, sizeof(again)) == 0);
		CHECK(slice_eq(slice_str(name), slice_str(again)));
	}
	return 0;
}
