// SPDX-License-Identifier: Apache-2.0
/* The whole evaluation on any message: header walk, forged A-R, DKIM tags. The first
 * octet chooses whether DNS has anything to say. */
#include "policy/evaluate.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct evaluate *e;
	static char host[] = "mx.primary.example";
	struct conf conf = { .hostname = host, .authserv_id = host, .received_max = 100 };
	struct verify_eval in = {
		.received_ms = 1800000000000, .client_ip = SLICE_LIT("192.0.2.1"),
		.helo = SLICE_LIT("h.example"), .mail_from = SLICE_LIT("u@e.example"),
		.rcpt = SLICE_LIT("m@primary.example"), .protocol = SLICE_LIT("SMTP"),
	};
	struct verify_done out;

	if (e == NULL)
		e = evaluate_new();
	if (n == 0)
		return 0;
	in.last = p[0] & 1;
	evaluate_run(e, &conf, &in, slice_make(p + 1, n - 1), &out);
	return 0;
}
