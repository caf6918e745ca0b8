// SPDX-License-Identifier: Apache-2.0
/*
 * DNS answers. The first byte chooses the type asked for; the question of the rest is
 * taken as asked when it can be read, so that the fuzzer gets past that check. What is
 * accepted must decode again, within the house's bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "relay/dns_packet.h"
#include "relay/tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The question's name where it is plain, else "x.example". */
static void
question(const uint8_t *m, size_t n, char out[DNS_NAME_MAX + 1])
{
	size_t at = 12, o = 0, len;

	while (at < n && (len = m[at]) != 0 && len < 64 && at + 1 + len < n &&
	    o + len + 2 < DNS_NAME_MAX) {
		if (o > 0)
			out[o++] = '.';
		memcpy(out + o, m + at + 1, len);
		o += len;
		at += 1 + len;
	}
	out[o] = '\0';
	if (dns_name_clean(slice_make(out, o), out) != 0)
		memcpy(out, "x.example", sizeof("x.example"));
}

/* Whatever the records, only what an SMTP client may use comes out. */
static void
tlsa_set(struct slice rrs)
{
	static const size_t digest[] = { 0, 32, 64 };
	struct tlsa *t = tlsa_parse(rrs);
	size_t i;

	for (i = 0; t != NULL && i < tlsa_usable(t); i++) {
		const struct tlsa_record *r = tlsa_at(t, i);

		if (r->usage < 2 || r->usage > 3 || r->selector > 1 || r->matching > 2 ||
		    r->data.n == 0 || r->data.n > TLSA_DATA_MAX ||
		    (r->matching > 0 && r->data.n != digest[r->matching]))
			abort();
	}
	tlsa_unref(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint16_t types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_TXT, DNS_PTR, DNS_CNAME,
		DNS_TLSA };
	char name[DNS_NAME_MAX + 1];
	struct dns_packet p;
	struct slice list;
	struct dns_rr rr;
	struct buf rrs;
	int r;

	if (n < 2)
		return 0;
	question(data + 1, n - 1, name);
	buf_init(&rrs, DNS_RRS_MAX);
	dns_packet_read(slice_make(data + 1, n - 1), name, types[data[0] % 7], &p, &rrs);
	if (p.status != DNS_OK && buf_len(&rrs) > 0)
		abort();
	list = buf_slice(&rrs);
	while ((r = wire_item_next(&list, &dns_rr_wire, &rr)) == 1)
		if (types[data[0] % 7] != DNS_TXT && types[data[0] % 7] != DNS_TLSA &&
		    rr.data.n > DNS_NAME_MAX)
			abort();
	if (r != 0)
		abort();
	tlsa_set(buf_slice(&rrs));
	buf_fini(&rrs);
	return 0;
}
