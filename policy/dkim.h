// SPDX-License-Identifier: Apache-2.0
/*
 * DKIM verification (RFC 6376, 8301, 8463). libopendkim is met in dkim.c only; it does
 * canonicalization and cryptography. What counts as a pass is decided here: our
 * own strict reading of signature and key comes first, and the library never sees a
 * signature that fails it, nor a resolver.
 *
 *	dkim_start, dkim_field for each field, dkim_keys (misses go to the view);
 *	when nothing is missing: dkim_check.
 */
#ifndef POLICY_DKIM_H
#define POLICY_DKIM_H

#include "base/envelope.h"
#include "policy/dnsview.h"
#include "policy/header.h"

enum { DKIM_SIGNATURES_MAX = 8 /* further ones are not looked at, spec 4.1 */ };

struct dkim_signature {
	enum auth_result result;	/* AUTH_UNSET until decided */
	const char	*why;		/* static words for the log, "" */
	struct slice	 raw;		/* the field's value, borrowed */
	char		 domain[DNS_NAME_MAX + 1];	/* d= lower case; "" when unusable */
	char		 selector[DNS_NAME_MAX + 1];
	char		 algorithm[32];
	struct slice	 b, h;		/* tag values, folding inside */
	char		 b_start[128];	/* beginning of b= without white space */
	size_t		 b_show;	/* octets that tell it apart from the others (RFC 6008) */
	uint64_t	 made;		/* t=, UINT64_MAX for none */
	bool		 has_l;
	uint64_t	 l;		/* octets of canonical body that are signed */
	char		 key[1024];	/* the key record as the library gets it */
};

struct dkim;

struct dkim *dkim_new(void);
void dkim_del(struct dkim **dp);	/* dkim_free is the library's */

void dkim_start(struct dkim *d);
void dkim_field(struct dkim *d, const struct header_field *f);
/* Decides what needs no cryptography and looks up keys. now_s: for t= and x=. */
void dkim_keys(struct dkim *d, struct dnsview *v, int64_t now_s);
/* The rest, with the library if any signature is still undecided. */
void dkim_check(struct dkim *d, struct slice msg);

size_t dkim_count(const struct dkim *d);
const struct dkim_signature *dkim_get(const struct dkim *d, size_t i);
/* The best of all; AUTH_NONE without signatures. */
enum auth_result dkim_overall(const struct dkim *d);
/* A passing signature covers a field of this name (spec 4.3). */
bool dkim_covers(const struct dkim *d, struct slice name);

#endif
