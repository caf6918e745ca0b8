// SPDX-License-Identifier: Apache-2.0
/* Rewriting and reversing undo each other; nothing that we did not sign is valid. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "policy/address.h"
#include "policy/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reverse of what was made of a sender is the sender, but for quotes that were not
 * needed. Only an SRS1 reverses to another host's address. */
static void
check_forward(const struct srs *s, struct slice sender)
{
	struct buf out, back, plain, want;
	struct address a, b;
	enum srs_result r;

	buf_init(&out, 1024);
	buf_init(&back, 1024);
	buf_init(&plain, 1024);
	buf_init(&want, 1024);
	if (srs_forward(s, 20000, sender, &out) == SRS_OK) {
		CHECK(address_parse(buf_slice(&out), true, &a) == 0);
		CHECK(slice_eq(a.domain, s->domain));
		r = srs_reverse(s, 20000, buf_slice(&out), &back);
		CHECK(r == SRS_OK || r == SRS_BAD_ADDRESS);
		CHECK(address_unquote(a.local, &plain) == 0);
		if (r == SRS_OK && slice_istarts(buf_slice(&plain), SLICE_LIT("SRS0"))) {
			CHECK(address_parse(sender, true, &a) == 0);
			CHECK(address_parse(buf_slice(&back), true, &b) == 0);
			CHECK(slice_eq(a.domain, b.domain));
			buf_clear(&plain);
			CHECK(address_unquote(a.local, &plain) == 0);
			CHECK(address_unquote(b.local, &want) == 0);
			CHECK(slice_eq(buf_slice(&plain), buf_slice(&want)));
		}
	}
	buf_fini(&out);
	buf_fini(&back);
	buf_fini(&plain);
	buf_fini(&want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srs s = {
		.secret = { SLICE_LIT("correct-horse-battery"), SLICE_LIT("old") }, .nsecret = 2,
		.domain = SLICE_LIT("f.it"), .node = SLICE_LIT("n1"),
		.hash_length = 8, .hash_min = 8, .max_age_days = 21, .separator = '='
	};
	struct slice in = slice_make(data, size), node, token;
	struct srs secrets = { 0 };
	struct buf out;

	buf_init(&out, 1024);
	check_forward(&s, in);
	if (srs_reverse(&s, 20000, in, &out) == SRS_OK) {
		struct address a;

		CHECK(address_parse(buf_slice(&out), true, &a) == 0);
		CHECK(!slice_ieq(a.domain, s.domain));
	} else {
		CHECK(buf_len(&out) == 0);
	}
	if (srs_opaque_check(&s, 20000, in, &node, &token) == SRS_OK)
		CHECK(token.n == SRS_TOKEN_LEN && node.n >= 1 && node.n <= 8);
	if (srs_secrets(&secrets, in) == 0)
		CHECK(secrets.nsecret >= 1 && secrets.nsecret <= SRS_SECRETS_MAX);
	buf_fini(&out);
	return 0;
}
