// SPDX-License-Identifier: Apache-2.0
/* The requests of front servers. A request never takes more than there is, its key never more
 * than its room, and what it takes does not depend on what stands behind it. */
#include <stdlib.h>

#include "relay/routing_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice in = slice_make(data, n);
	struct routing_query q, again;
	struct buf out;
	ssize_t used;

	buf_init(&out, 4096);
	while ((used = routing_parse(in, &q)) > 0) {
		if ((size_t)used > in.n || q.n > ROUTING_KEY_MAX ||
		    routing_parse(slice_sub(in, 0, (size_t)used), &again) != used ||
		    again.n != q.n || memcmp(again.key, q.key, q.n) != 0 ||
		    routing_parse(slice_sub(in, 0, (size_t)used - 1), &again) > 0)
			abort();
		buf_clear(&out);
		if (routing_reply(&out, &q, q.known ? ROUTING_HERE : ROUTING_WRONG,
		    "lmtp:[a b%]:24") != 0)
			abort();
		in = slice_sub(in, (size_t)used, in.n);
	}
	buf_fini(&out);
	return 0;
}
