// SPDX-License-Identifier: Apache-2.0
/* Any SPF record: the check must end, want a bounded number of names, and never pass
 * a record that does not parse. Behind two octets of 0xff there may be the name that the
 * MX and PTR records hold. */
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

/* Takes the name off the end of *txt. */
static struct slice
host(struct slice *txt)
{
	for (size_t i = 0; i + 2 < txt->n; i++) {
		if (txt->p[i] == '\xff' && txt->p[i + 1] == '\xff') {
			struct slice name = slice_sub(*txt, i + 2, i + 2 + DNS_NAME_MAX);

			*txt = slice_sub(*txt, 0, i);
			return name;
		}
	}
	return SLICE_LIT("e.example");
}

static void
check_target(struct slice name)
{
	char out[DNS_NAME_MAX + 1];
	struct slice t = dnsview_target(name, out);

	if (t.n > DNS_NAME_MAX || (t.n > 0 && memchr(t.p, '\\', t.n) != NULL))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice txt = slice_make(p, n), name;
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
	name = host(&txt);
	check_target(name);
	answer(&b, DNS_TXT, "e.example", txt);
	answer(&b, DNS_A, "e.example", slice_make("\300\000\002\001", 4));
	answer(&b, DNS_MX, "e.example", name);
	answer(&b, DNS_PTR, "1.2.0.192.in-addr.arpa", name);
	for (int last = 0; last <= 1; last++) {
		CHECK(dnsview_load(&v, buf_slice(&b), last != 0) == 0);
		spf_check(s, &v, &in, &out);
		if (spf_record_is(txt) && spf_record_check(txt) != 0 &&
		    out.result != AUTH_PERMERROR)
			abort();
		if (v.nwant > DNSVIEW_WANTS_MAX)
			abort();
	}
	buf_fini(&b);
	return 0;
}
