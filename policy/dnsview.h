// SPDX-License-Identifier: Apache-2.0
/*
 * DNS as verify sees it: the answers that came with the request. A name that is
 * not among them is written down as a want, and the run goes on as far as it can,
 * so that one answer to the relay names everything that is missing.
 */
#ifndef POLICY_DNSVIEW_H
#define POLICY_DNSVIEW_H

#include <stdbool.h>

#include "base/dnsrr.h"

enum {
	DNSVIEW_MISS = DNS_FAIL + 1,	/* beside enum dns_status: not known yet, now wanted */
	DNSVIEW_WANTS_MAX = 128		/* of one run; beyond it a miss is DNS_FAIL */
};

struct dnsview_want {
	uint16_t	type;
	uint16_t	len;
	char		name[DNS_NAME_MAX];	/* lower case, no last dot */
};

struct dnsview {
	struct dns_answer	*answer;	/* owned array; slices borrowed from load */
	size_t			 nanswer, cap;
	bool			 last;		/* nothing more will come: a miss is DNS_FAIL */
	struct dnsview_want	*want;		/* owned */
	size_t			 nwant;
};

void dnsview_init(struct dnsview *v);
void dnsview_fini(struct dnsview *v);

/* Forgets everything before and looks at these items of struct dns_answer, borrowed
 * while the view is asked. 0, or -1 when they are malformed (the view is then empty). */
int dnsview_load(struct dnsview *v, struct slice answers, bool last);

/*
 * enum dns_status or DNSVIEW_MISS; *rrs are items of struct dns_rr, "" unless DNS_OK.
 * A name that cannot be asked for (over 253, empty or over-long label, a control octet or
 * a backslash) is DNS_NXDOMAIN without a want.
 */
int dnsview_ask(struct dnsview *v, uint16_t type, struct slice name, struct slice *rrs);

/* Wants the name if it is not there, without reading it (prefetch). */
void dnsview_hint(struct dnsview *v, uint16_t type, struct slice name);

/* Appends the wants as items of struct dns_want. */
__attribute__((warn_unused_result)) int dnsview_wants(const struct dnsview *v, struct buf *out);

/* Can this be asked for? *name loses its last dot. */
bool dnsview_name_ok(struct slice *name);

/* Can be asked for and is visible ASCII only: what d= and s= of signatures may be. */
bool dnsview_name_plain(struct slice name);

/* The name in an MX or PTR record with its escapes resolved (base/dnsrr.h), to be asked for
 * in its turn. out: DNS_NAME_MAX + 1 bytes. "" when it cannot be asked for: a dot, a
 * backslash or a control octet is inside a label. */
struct slice dnsview_target(struct slice name, char *out);

/* The reverse name of an address: 4 or 16 bytes. out: >= 80 bytes. */
struct slice dnsview_reverse(const uint8_t *ip, size_t len, char *out, size_t cap);

#endif
