// SPDX-License-Identifier: Apache-2.0
/* What the files of the validator share: one signature, its key, its hashes. */
#ifndef POLICY_ARC_VERIFY_PRIV_H
#define POLICY_ARC_VERIFY_PRIV_H

#include <openssl/evp.h>

#include "policy/arc_verify.h"
#include "policy/dkim_tags.h"
#include "policy/sign.h"

enum arc_key_state {
	ARC_KEY_MISSING,	/* wanted, or not asked for */
	ARC_KEY_THERE,
	ARC_KEY_NO_ANSWER,
	ARC_KEY_NONE
};

/* An ARC-Seal or ARC-Message-Signature. */
struct arc_sig {
	struct slice	 raw, value;	/* of the field, borrowed */
	struct slice	 b, bh, h;	/* tag values, folding inside */
	struct slice	 cv;		/* of a seal */
	bool		 ed25519;
	bool		 relaxed_header, relaxed_body, no_c;
	bool		 has_l;
	uint64_t	 l;		/* octets of canonical body */
	const char	*bad;		/* why it cannot be used, NULL when it can */
	char		 domain[DNS_NAME_MAX + 1];	/* d=, lower case */
	char		 selector[DNS_NAME_MAX + 1];
	enum arc_key_state key_state;
	struct slice	 key;		/* record, borrowed from the view */
};

/*
 * Keys as read from their records, since OpenSSL takes longer to read a key than to verify
 * with it, and most chains are sealed by a few. Remembers records, not messages.
 */
enum { ARC_KEYS = 16 };

struct arc_keys {
	struct arc_key {
		uint8_t		 id[SIGN_HASH];	/* of record and algorithm */
		EVP_PKEY	*pkey;		/* owned; NULL when `why` */
		const char	*why;		/* static words; NULL when it is a good key */
		bool		 there;
	}	 key[ARC_KEYS];
	unsigned next;				/* slot to be used again */
};

void arc_keys_fini(struct arc_keys *k);

/* Reads the tags; s->bad tells the result. */
void arc_sig_read(struct arc_sig *s, const struct header_field *f, bool seal, int64_t now_s);
void arc_sig_find_key(struct arc_sig *s, struct dnsview *v);
/* NULL when b= is the signature of `hash` by the key, else why not. */
const char *arc_sig_verify(const struct arc_sig *s, const uint8_t hash[SIGN_HASH],
    struct arc_keys *keys);
/* Appends the field in relaxed or simple form with b= empty and without a last CRLF. */
int arc_sig_unsigned(struct buf *out, const struct arc_sig *s, bool relaxed);
/* Is bh= this hash? */
bool arc_sig_is_bh(const struct arc_sig *s, const uint8_t hash[SIGN_HASH]);

/* Octets of the canonical body (RFC 6376 3.4.3, 3.4.4). */
uint64_t arc_body_length(struct slice body, bool relaxed);
/* The body in simple form is body[0, *n) and a CRLF. */
void arc_body_simple(struct slice body, size_t *n);

/* "i=N" of an ARC field, 0 when there is none in 1..ARC_VERIFY_SETS_MAX; of an AAR it
 * has to come first and *payload is what follows. */
unsigned arc_tags_instance(const struct dkim_tags *t);
unsigned arc_aar_instance(struct slice value, struct slice *payload);
void arc_aar_dmarc(struct slice payload, struct arc_verify_dmarc *out);

#endif
