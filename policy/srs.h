// SPDX-License-Identifier: Apache-2.0
/*
 * Return-path addresses: opaque tokens and SRS0/SRS1 (spec 1.2-1.4). Pure: the secrets
 * and the day come in as arguments.
 */
#ifndef POLICY_SRS_H
#define POLICY_SRS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { SRS_SECRETS_MAX = 8, SRS_TOKEN_LEN = 24 };

struct srs {
	struct slice	secret[SRS_SECRETS_MAX];	/* the first signs, all verify */
	size_t		nsecret;
	struct slice	domain;		/* return-path domain, lower case */
	struct slice	node;		/* ours */
	unsigned	hash_length, hash_min, max_age_days;
	bool		base64;		/* alphabet '+' '/' instead of '-' '_' */
	char		separator;	/* first separator: '=', '+' or '-' */
};

enum srs_result {
	SRS_OK,
	SRS_UNCHANGED,		/* null sender, or already in the return-path domain */
	SRS_TOO_LONG,		/* over RFC 5321 limits: use the opaque form (1.3.2) */
	SRS_NOT_SRS,		/* reverse: not of this form or not our domain */
	SRS_BAD_HASH, SRS_EXPIRED, SRS_BAD_ADDRESS
};
const char *srs_result_name(enum srs_result r);

uint32_t srs_day(int64_t wall_ms);		/* days since 1970 */
/* Rewrites a sender; `out` gets the whole address. */
enum srs_result srs_forward(const struct srs *s, uint32_t day, struct slice sender, struct buf *out);
/* Reverses an SRS0/SRS1 address of our domain. That the result resolves and is not local is
 * left to the caller (1.2.12); a single-label host, as in the opaque form, is refused. */
enum srs_result srs_reverse(const struct srs *s, uint32_t day, struct slice address, struct buf *out);
/* The opaque form of a token. */
enum srs_result srs_opaque(const struct srs *s, uint32_t day, struct slice token, struct buf *out);
/* SRS_OK also for another node's token: compare *node. Slices point into `address`, in the
 * letter case they came in. */
enum srs_result srs_opaque_check(const struct srs *s, uint32_t day, struct slice address,
    struct slice *node, struct slice *token);
bool srs_is(struct slice local);	/* begins like one of them; not quoted */
void srs_token_new(char out[SRS_TOKEN_LEN + 1]);	/* 120 random bits */

/* Reads "one secret a line" (# comments) into s->secret, borrowed from text. 0, or -1 when
 * there is none or there are more than SRS_SECRETS_MAX. */
int srs_secrets(struct srs *s, struct slice text);

#endif
