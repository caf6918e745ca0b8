// SPDX-License-Identifier: Apache-2.0
/* Any SPF record: the check must end, want a bounded number of names, and never pass
 * a record that does not parse. */
#include <stdlib.h>

#include "base/mem.h"
#include "policy/spf.h"
#include "policy/spf_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
answer(struct buf *out, uint16_t type, const char *name, struct slice data)
{
	struct dns_rr rr = { .data = data };
	struct dns_answer a = { .name = slice_str(name), .type = type, .status = DNS_OK };
	struct buf rrs;

	buf_init(&rrs, DNS_RRS_MAX);
	CHECK(wire_item_put(&rrs, &dns_rr_wire, &rr) == 0);
	a.rrs = buf_slice(&rrs);
	CHECK(wire_item_put(out, &dns_answer_wire, &a) == 0);
	buf_fini(&rrs);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct spf *s;
	static struct dnsview v;
	struct iprev_ip ip = iprev_parse(SLICE_LIT("192.0.2.1"));
	struct spf_input in = { &ip, SLICE_LIT("h.example"), SLICE_LIT("l-o.c@e.example") };
	struct spf_output out;
	struct buf b;

	if (n > 4096)
		return 0;
	if (s == NULL)
		s = spf_new();
	buf_init(&b, DNS_ANSWERS_MAX);
	answer(&b, DNS_TXT, "e.example", slice_make(p, n));
	answer(&b, DNS_A, "e.example", slice_make("\300\000\002\001", 4));
	answer(&b, DNS_MX, "e.example", SLICE_LIT("e.example"));
	answer(&b, DNS_PTR, "1.2.0.192.in-addr.arpa", SLICE_LIT("e.example"));
	for (int last = 0; last <= 1; last++) {
		CHECK(dnsview_load(&v, buf_slice(&b), last != 0) == 0);
		spf_check(s, &v, &in, &out);
		if (spf_record_is(slice_make(p, n)) && spf_record_check(slice_make(p, n)) != 0 &&
		    out.result != AUTH_PERMERROR)
			abort();
		if (v.nwant > DNSVIEW_WANTS_MAX)
			abort();
	}
	buf_fini(&b);
	return 0;
}
