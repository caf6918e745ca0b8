// SPDX-License-Identifier: Apache-2.0
/*
 * The author domain of a message (RFC 9989 5.3.1, 11.5, spec 6.1): exactly one From
 * field that names exactly one domain.
 *
 * A From field is what the reader believes, so what counts is every domain that some
 * mail program might show as the author's: each one behind an '@' outside quotes and
 * comments, in a phrase in front of "<...>" too. They must all be the same. What is not
 * RFC 5322 (with RFC 6854 groups) yields no domain at all; the habits of real
 * mail that we let pass are unquoted dots, brackets and '@' in a display name, elements
 * of the list that are only a name, and a group without its ';'. None of them brings in
 * a domain unseen.
 */
#ifndef POLICY_DMARC_AUTHOR_H
#define POLICY_DMARC_AUTHOR_H

#include "base/dnsrr.h"
#include "policy/header.h"

enum { DMARC_AUTHOR_MAILBOXES = 64 };	/* looked at; a From with more is BROKEN */

enum dmarc_author_state {
	DMARC_AUTHOR_NONE,	/* no From field, or one without a domain */
	DMARC_AUTHOR_ONE,
	DMARC_AUTHOR_SEVERAL,	/* From fields, or domains */
	DMARC_AUTHOR_BROKEN	/* syntax, or a domain that cannot be in DNS */
};

struct dmarc_author {
	enum dmarc_author_state	 state;
	unsigned		 fields;	/* From fields seen */
	char			 domain[DNS_NAME_MAX + 1];	/* A-labels, lower case; "" unless
							 * DMARC_AUTHOR_ONE */
};

void dmarc_author_start(struct dmarc_author *a);
/* Every field of the header, in order. */
void dmarc_author_field(struct dmarc_author *a, const struct header_field *f);

/* Why there is no single author domain, for the log; "" when there is one. */
const char *dmarc_author_why(const struct dmarc_author *a);

#endif
