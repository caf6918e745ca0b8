// SPDX-License-Identifier: Apache-2.0
/*
 * The strict reader of SPF records: the whole grammar of RFC 7208 12 and nothing else.
 * An error anywhere makes the whole record a permerror (4.6), so a record is checked
 * once from end to end before any of its terms is used.
 */
#ifndef POLICY_SPF_RECORD_H
#define POLICY_SPF_RECORD_H

#include "base/buf.h"

enum spf_kind {
	SPF_KIND_ALL, SPF_KIND_INCLUDE, SPF_KIND_A, SPF_KIND_MX, SPF_KIND_PTR,
	SPF_KIND_IP4, SPF_KIND_IP6, SPF_KIND_EXISTS,
	SPF_KIND_REDIRECT, SPF_KIND_EXP, SPF_KIND_MODIFIER	/* unknown, to be ignored */
};

struct spf_term {
	enum spf_kind	kind;
	char		qualifier;	/* '+' '-' '~' '?'; 0 for modifiers */
	struct slice	spec;		/* domain-spec with its macros, "" for none; borrowed */
	uint8_t		cidr4, cidr6;	/* prefix lengths, 32 and 128 when not given */
	uint8_t		ip[16];		/* of ip4 (first 4) and ip6 */
};

/* Does this TXT record say it is SPF (4.5)? */
bool spf_record_is(struct slice txt);
/* 0, or -1 on any syntax error. */
int spf_record_check(struct slice txt);

/* Walks the terms: start with spf_record_terms, then 1 a term, 0 the end, -1 bad. */
struct slice spf_record_terms(struct slice txt);
int spf_record_next(struct slice *terms, struct spf_term *t);

/* What macros stand for (7.2). All borrowed. */
struct spf_macros {
	struct slice	local, sender_domain;	/* of the sender; <> is postmaster@HELO */
	struct slice	domain;			/* <domain> of this check_host() */
	struct slice	helo;
	const uint8_t	*ip;
	size_t		ip_len;			/* 4 or 16 */
	struct slice	validated;		/* %{p}: a confirmed name or "unknown" */
};

/* Is one of these macro letters (lower case) in it? 'p' costs a PTR look-up. */
bool spf_spec_uses(struct slice spec, const char *letters);
/* Appends the target name: expanded, at most 253 octets (7.3), no last dot. `out`
 * must take 64 KiB. 0, or -1 when it does not fit. */
int spf_spec_expand(struct slice spec, const struct spf_macros *m, struct buf *out);

#endif
