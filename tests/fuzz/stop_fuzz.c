// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a stop address (spec 12.3): none is valid but what was signed, and what was
 * signed comes back as it was, in any case of letters. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "policy/stop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	const struct srs unknown = { .secret = { SLICE_LIT("not the fuzzer's to know") },
		.nsecret = 1, .domain = SLICE_LIT("fwd.example.it") };
	struct stop x = { .handle = size }, back;
	struct buf b;

	CHECK(stop_check(&unknown, 20000, 400, in, &back) != SRS_OK);
	(void)stop_is(in);
	memcpy(x.user.b, data, size < MSGID_LEN ? size : MSGID_LEN);
	buf_init(&b, 512);
	CHECK(stop_address(&unknown, (uint32_t)size, &x, &b) == 0);
	for (size_t i = 0; i < buf_len(&b) && i < size; i++)
		if ((data[i] & 1) != 0 && b.p[i] >= 'a' && b.p[i] <= 'z')
			b.p[i] = (char)(b.p[i] - 'a' + 'A');
	CHECK(stop_check(&unknown, (uint32_t)size, 400, buf_slice(&b), &back) == SRS_OK);
	CHECK(memcmp(&back.user, &x.user, sizeof(x.user)) == 0 && back.handle == x.handle);
	if (size > 0 && data[0] != 0) {	/* one octet changed */
		b.p[5 + data[0] % STOP_TOKEN_LEN] ^= 1;
		enum srs_result r = stop_check(&unknown, (uint32_t)size, 400, buf_slice(&b), &back);
		CHECK(r != SRS_OK);
	}
	buf_fini(&b);
	return 0;
}
