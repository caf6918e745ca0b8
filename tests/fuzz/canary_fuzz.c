// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a message that may carry our mark, and as what a server says to a probe, cut
 * anywhere: a mark is never found without our key, and a talk ends or waits, in bounds. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "policy/canary.h"
#include "relay/probe_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
talk(struct slice in, uint8_t depth, size_t cut)
{
	const struct probe_talk_config cfg = { .lmtp = cut % 2 == 0, .tls = true, .depth = depth,
		.helo = SLICE_LIT("mx2.example"), .canary = SLICE_LIT("canary@a.example"),
		.message = SLICE_LIT("Subject: x\r\n\r\nbody\r\n") };
	struct probe_talk t;

	probe_talk_init(&t, &cfg);
	while (in.n > 0 && t.state != PROBE_TALK_DONE) {
		size_t n = probe_talk_input(&t, slice_sub(in, 0, cut));

		CHECK(n <= in.n);
		if (t.state == PROBE_TALK_TLS)
			probe_talk_secured(&t);
		else if (n == 0)
			break;
		buf_clear(&t.out);
		in = slice_sub(in, n, in.n);
	}
	probe_talk_lost(&t, "end");
	CHECK(t.state == PROBE_TALK_DONE && t.outcome < PROBE_OUTCOME_MAX &&
	    t.stage < PROBE_STAGE_MAX && memchr(t.text, '\0', sizeof(t.text)) != NULL);
	probe_talk_fini(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	uint8_t key[CANARY_KEY];

	canary_key(SLICE_LIT("a key the fuzzer does not know"), key);
	CHECK(!canary_is(in, key, SLICE_LIT("canary@a.example"), 1795000000000));
	for (uint8_t depth = PROBE_GREETING; depth <= PROBE_DATA; depth++) {
		talk(in, depth, 1);
		talk(in, depth, 4096);
	}
	return 0;
}
