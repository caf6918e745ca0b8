// SPDX-License-Identifier: Apache-2.0
/*
 * ARC seals of forward copies (RFC 8617 5.1, spec 5.2 - 5.8): the three fields that say
 * what we found when the message came. Whether the chain was whole is not judged here:
 * that was evaluated at ingress and comes in.
 */
#ifndef POLICY_ARC_SEAL_H
#define POLICY_ARC_SEAL_H

#include "base/envelope.h"
#include "policy/sign.h"

enum { ARC_SETS_MAX = 50 };	/* RFC 8617 4.2.1 */

struct arc_seal {
	struct sign_key	*key;
	struct slice	 domain, selector;
	int64_t		 when;		/* t=, seconds since 1970 */
	enum auth_result chain;		/* as validated at ingress */
	struct slice	 authres;	/* payload of our Authentication-Results (4.2) */
	uint8_t		 body_hash[SIGN_HASH];	/* relaxed, of the body as sent */
};

enum arc_seal_result {
	ARC_SEALED,
	ARC_NOT_SEALED,		/* 5.3, or the chain and its verdict do not fit together */
	ARC_ERROR		/* OpenSSL, or over the buffer */
};

/* Is this field one that arc_seal_put wants to see? */
bool arc_seal_wants(struct slice name);
/*
 * Appends ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results. `fields` are
 * the wanted ones of the finished copy, top to bottom, our own DKIM-Signature included.
 * Nothing is appended unless ARC_SEALED.
 */
enum arc_seal_result arc_seal_put(struct buf *out, const struct arc_seal *a,
    const struct sign_fields *fields);

#endif
