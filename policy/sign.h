// SPDX-License-Identifier: Apache-2.0
/*
 * Signatures over mail: relaxed canonicalization (RFC 6376 3.4.2, 3.4.4), the choice of
 * fields by h=, keys, and the DKIM-Signature field. ARC seals are made of the same
 * parts (RFC 8617 4.1). OpenSSL's types stop here.
 *
 * Nothing here verifies; nothing here knows what is worth signing.
 */
#ifndef POLICY_SIGN_H
#define POLICY_SIGN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
	SIGN_HASH = 32,			/* SHA-256 */
	SIGN_FIELDS_MAX = 1024,		/* fields one signature may choose from */
	SIGN_RSA_MIN = 1024		/* bits; verifiers refuse less (RFC 8301 3.2) */
};

/* --- keys --- */

struct sign_key;

/* From PEM text, RSA or Ed25519; owned by the caller. NULL and *why (static text) when it
 * is none of these, too short or locked with a passphrase. */
struct sign_key *sign_key_new(struct slice pem, const char **why);
void sign_key_free(struct sign_key **kp);	/* wipes */
const char *sign_key_algorithm(const struct sign_key *k);	/* "rsa-sha256" ... */
unsigned sign_key_bits(const struct sign_key *k);
/* The DNS record that makes it verifiable: "v=DKIM1; k=rsa; p=..." */
int sign_key_record(const struct sign_key *k, struct buf *out);
/* Appends the base64 signature of a SHA-256 hash (for Ed25519: RFC 8463 3), folded with
 * CRLF TAB every 72 characters, starting with such a fold. */
int sign_hash(struct sign_key *k, const uint8_t hash[SIGN_HASH], struct buf *out);

/* --- the body, in pieces of any size, without a copy of it --- */

struct sign_body;		/* one is enough for a process: start makes it new again */

struct sign_body *sign_body_new(void);
void sign_body_free(struct sign_body **bp);
void sign_body_start(struct sign_body *b);
void sign_body_put(struct sign_body *b, struct slice piece);
void sign_body_end(struct sign_body *b, uint8_t out[SIGN_HASH]);

/* --- the header --- */

/* Appends the relaxed form of one field ("Name: value" as it stands, folded or not, with
 * or without its CRLF), without a CRLF. 0, or -1 over the buffer's max. */
int sign_relax(struct buf *out, struct slice field);

/* Fields that signatures may choose from, in the order of the message. */
struct sign_fields {
	struct sign_field {
		struct slice	name, raw;	/* borrowed from the message */
	}	*field;				/* owned */
	size_t	 n, cap;
};
/* 0, or -1 when there are more than SIGN_FIELDS_MAX. */
int sign_fields_add(struct sign_fields *f, struct slice name, struct slice raw);
void sign_fields_fini(struct sign_fields *f);
/*
 * Appends what h= (names with ':' between) stands for, each line with CRLF: instances
 * from the bottom up, nothing for a name listed more often than it occurs (RFC 6376
 * 5.4.2).
 */
int sign_select(struct buf *out, const struct sign_fields *f, struct slice h);

/* --- the signature field --- */

struct sign_spec {
	struct slice	 name;		/* "DKIM-Signature" */
	struct slice	 first;		/* tags before a=: "v=1;" or "i=1;" */
	struct slice	 domain, selector;
	int64_t		 when;		/* t=, seconds since 1970 */
	struct slice	 h;		/* "From:From:To" */
};
/* Appends the finished field, folded, with CRLF. 0 or -1 (buffer, OpenSSL). */
int sign_field(struct buf *out, struct sign_key *k, const struct sign_spec *spec,
    const struct sign_fields *f, const uint8_t body_hash[SIGN_HASH]);

#endif
