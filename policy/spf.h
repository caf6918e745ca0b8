// SPDX-License-Identifier: Apache-2.0
/*
 * SPF (RFC 7208) over a DNS view. libspf2 is met in spf.c only.
 *
 * libspf2 never sees an octet of a stranger. A record is read by our strict parser
 * (spf_record.h); what needs no DNS (ip4, ip6, all) is decided at once; the rest
 * becomes a short canonical record in which every name is a token of ours
 * ("t3.spf.invalid"). The library walks that program: order, qualifiers, include,
 * redirect, prefixes. Its look-ups come back to us with a token, and there macros are
 * expanded, the limits of 4.6.4 counted over the whole check, and names validated.
 */
#ifndef POLICY_SPF_H
#define POLICY_SPF_H

#include "base/envelope.h"
#include "policy/dnsview.h"
#include "policy/iprev.h"

struct spf;

struct spf_input {
	const struct iprev_ip	*ip;
	struct slice		 helo, mail_from;	/* "" is the null sender */
};

struct spf_output {
	enum auth_result result;
	bool		 helo;		/* judged on HELO (null sender, 2.4) */
	char		 domain[DNS_NAME_MAX + 1];	/* that was judged; "" if there is none */
};

struct spf *spf_new(void);
void spf_free(struct spf **sp);

/* When names are missing the view has them as wants and the result means nothing. */
void spf_check(struct spf *s, struct dnsview *v, const struct spf_input *in,
    struct spf_output *out);

#endif
