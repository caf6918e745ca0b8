// SPDX-License-Identifier: Apache-2.0
/*
 * Validation of the ARC chain of a message (RFC 8617 5.2, spec 5.1), and what its
 * sealers said about DMARC (spec 6.6). Ours on OpenSSL, with the canonicalization of
 * policy/sign.h; nothing outside includes OpenSSL for it.
 *
 *	arc_verify_start, arc_verify_field for each field, arc_verify_keys (misses go to
 *	the view); when nothing is missing: arc_verify_check.
 *
 * The letter of the RFC, and these choices of ours where it leaves room:
 *  - an ARC field without a readable instance is a broken chain, not a field to ignore;
 *  - an ARC-Message-Signature without c= is tried as simple/simple (RFC 6376 3.5) and then
 *    as relaxed/relaxed, which other sealers mean by it;
 *  - it has to sign every From there is (RFC 6376 5.4, 8.15) and must not sign ARC-Seal;
 *    l= has to cover the whole body;
 *  - rsa-sha256 with keys of 1024 to 8192 bits, and ed25519-sha256 as RFC 8463 has it.
 */
#ifndef POLICY_ARC_VERIFY_H
#define POLICY_ARC_VERIFY_H

#include "base/envelope.h"
#include "policy/dnsview.h"
#include "policy/header.h"

enum {
	ARC_VERIFY_SETS_MAX = 50,		/* RFC 8617 4.2.1 */
	ARC_VERIFY_FIELD_MAX = 32 * 1024,	/* octets of one ARC field */
	ARC_VERIFY_FIELDS_MAX = 4096,		/* header fields of a message with a chain */
	ARC_VERIFY_NAMES_MAX = 256		/* names in h= */
};

struct arc_verify;

struct arc_verify_result {
	enum auth_result result;	/* none, pass, fail */
	bool		 dns;		/* failed only because DNS gave no answer: worth another
					 * try before it is recorded (spec 0.4, 5.1) */
	unsigned	 sets;		/* N of a chain in order, 0 otherwise */
	unsigned	 oldest_pass;	/* header.oldest-pass (RFC 8617 5.2 step 5); valid with
					 * a pass; 0: the message was never changed */
	unsigned	 instance;	/* where it failed, 0 for the chain as a whole */
	const char	*why;		/* static words for the log, "" */
};

struct arc_verify *arc_verify_new(void);
void arc_verify_free(struct arc_verify **ap);

/* Fields are borrowed from the message until the next start. */
void arc_verify_start(struct arc_verify *a);
void arc_verify_field(struct arc_verify *a, const struct header_field *f);
/* Decides what needs no cryptography and looks up all keys; their text is borrowed from
 * the view's answers until the next start. now_s: for x=. */
void arc_verify_keys(struct arc_verify *a, struct dnsview *v, int64_t now_s);
void arc_verify_check(struct arc_verify *a, struct slice msg);

const struct arc_verify_result *arc_verify_result(const struct arc_verify *a);

/* --- what the sealers said; instances 1..sets --- */

/* d= of the seal, lower case; "" when the instance is not there. */
const char *arc_verify_sealer(const struct arc_verify *a, unsigned instance);

struct arc_verify_dmarc {
	enum auth_result result;	/* AUTH_UNSET: it says nothing that can be relied on */
	char		 from[DNS_NAME_MAX + 1];	/* header.from, lower case; "" if not said */
};

/* dmarc= of its ARC-Authentication-Results, whoever the sealer may be. */
void arc_verify_dmarc(const struct arc_verify *a, unsigned instance,
    struct arc_verify_dmarc *out);

/*
 * Spec 6.6: the chain passes, and the newest sealer, or one since whom the message was
 * not changed (oldest-pass), is among `trusted` and says dmarc=pass, not for another
 * domain than `author` (canonical). The instance, 0 for none.
 */
unsigned arc_verify_trusted(const struct arc_verify *a, const struct slice *trusted,
    size_t ntrusted, struct slice author);

#endif
