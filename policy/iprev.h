// SPDX-License-Identifier: Apache-2.0
/* Forward-confirmed reverse DNS of the client (RFC 8601 3). Pure: DNS is the view. */
#ifndef POLICY_IPREV_H
#define POLICY_IPREV_H

#include "base/envelope.h"
#include "policy/dnsview.h"

struct iprev_ip {
	uint8_t	b[16];
	size_t	n;	/* 4 or 16; IPv4-mapped IPv6 is 4; 0: not an address */
};

struct iprev {
	enum auth_result result;	/* AUTH_UNSET when it was no address */
	char		 name[DNS_NAME_MAX + 1];	/* the confirmed one, "" if none */
};

struct iprev_ip iprev_parse(struct slice text);
/* Misses are in the view afterwards; the result then means nothing. */
void iprev_check(struct dnsview *v, const struct iprev_ip *ip, struct iprev *out);

#endif
