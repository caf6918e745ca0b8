// SPDX-License-Identifier: Apache-2.0
/*
 * The token of an opaque return path (spec 1.4): 24 characters that name message,
 * recipient and attempt of a forwarded copy, sealed so that they look random.
 *
 * The spec asks for 120 random bits and a journal that knows them. Here the bits are the
 * answer themselves, sent through a permutation that only who has the secret can go
 * through: nobody else can tell the result from random bits, guess another one or read it.
 * So there is no journal to lose, to grow or to search, and a bounce finds its leg for as
 * long as the leg exists. docs/operations.md says so too.
 *
 * A token of 120 random bits, as older releases made them, opens as no leg (but for one in
 * 65536, which then names a message that does not exist). For the same reason
 * all secrets may simply be tried in turn.
 */
#ifndef POLICY_TOKEN_H
#define POLICY_TOKEN_H

#include <stdbool.h>

#include "base/msgid.h"
#include "policy/srs.h"

struct token_leg {
	struct msgid	id;
	uint16_t	rcpt_index;
	uint8_t		attempt;	/* the first it was used for; 255 and over: 255 */
};

void token_seal(struct slice secret, const struct token_leg *leg, char out[SRS_TOKEN_LEN + 1]);
/* False: it was not made with this secret, or is no token at all. Case is ignored. */
bool token_open(struct slice secret, struct slice token, struct token_leg *leg);

#endif
