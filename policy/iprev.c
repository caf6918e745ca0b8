// SPDX-License-Identifier: Apache-2.0
#include "policy/iprev.h"

#include <arpa/inet.h>

enum { NAMES_MAX = 10 /* as RFC 7208 4.6.4 has it for ptr */ };

struct iprev_ip
iprev_parse(struct slice text)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct iprev_ip ip = { .n = 0 };
	char s[64];

	if (slice_cstr(text, s, sizeof(s)) != 0)
		return ip;
	if (inet_pton(AF_INET, s, ip.b) == 1) {
		ip.n = 4;
	} else if (inet_pton(AF_INET6, s, ip.b) == 1) {
		ip.n = 16;
		if (memcmp(ip.b, mapped, sizeof(mapped)) == 0) {
			memmove(ip.b, ip.b + 12, 4);
			memset(ip.b + 4, 0, 12);
			ip.n = 4;
		}
	}
	return ip;
}

static bool
has_address(struct slice rrs, const struct iprev_ip *ip)
{
	struct dns_rr rr;

	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1)
		if (rr.data.n == ip->n && memcmp(rr.data.p, ip->b, ip->n) == 0)
			return true;
	return false;
}

void
iprev_check(struct dnsview *v, const struct iprev_ip *ip, struct iprev *out)
{
	uint16_t type = ip->n == 4 ? DNS_A : DNS_AAAA;
	unsigned seen = 0;
	bool temp = false;
	struct slice names, rrs;
	struct dns_rr rr;
	char rev[80];
	int st;

	*out = (struct iprev){ .result = AUTH_UNSET };
	if (ip->n == 0)
		return;
	st = dnsview_ask(v, DNS_PTR, dnsview_reverse(ip->b, ip->n, rev, sizeof(rev)), &names);
	if (st == DNS_FAIL || st == DNSVIEW_MISS) {
		out->result = AUTH_TEMPERROR;
		return;
	}
	while (seen < NAMES_MAX && wire_item_next(&names, &dns_rr_wire, &rr) == 1) {
		seen++;
		if (!dnsview_name_plain(rr.data))	/* it goes into Received */
			continue;
		st = dnsview_ask(v, type, rr.data, &rrs);
		if (st == DNS_FAIL || st == DNSVIEW_MISS)
			temp = true;
		if (!has_address(rrs, ip) || slice_cstr(rr.data, out->name, sizeof(out->name)) != 0)
			continue;
		out->result = AUTH_PASS;
		return;
	}
	if (seen == 0)
		out->result = AUTH_PERMERROR;	/* no PTR published, RFC 8601 2.7.3 */
	else
		out->result = temp ? AUTH_TEMPERROR : AUTH_FAIL;
}
