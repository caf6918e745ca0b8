// SPDX-License-Identifier: Apache-2.0
/*
 * The address a notice to a user names in List-Unsubscribe (spec 12.3): who writes to it wants
 * no more copies. It is "stop+" and 48 characters of base32hex: which user, the day, and a
 * MAC over both and the domain. So nothing has to be remembered of a notice, and nobody can
 * make the address of another user. Pure.
 *
 * It tells who reads it no more than a hash of the user's own address. Relays fold case;
 * so does the check.
 */
#ifndef POLICY_STOP_H
#define POLICY_STOP_H

#include <stdbool.h>

#include "base/msgid.h"
#include "policy/srs.h"

#define STOP_PREFIX	"stop+"
enum { STOP_TOKEN_LEN = 48 };

struct stop {
	struct msgid	user;	/* queue/consent.h's key */
	uint64_t	handle;	/* the queue's own word for the user; it comes back as it was */
};

/* A local part of this form, valid or not. */
bool stop_is(struct slice local);
/* Appends the whole address. 0, or -1 without a secret or room. */
int stop_address(const struct srs *s, uint32_t day, const struct stop *x, struct buf *out);
/* SRS_OK, SRS_NOT_SRS (another form or domain), SRS_BAD_HASH, or SRS_EXPIRED: older than
 * `max_age` days, or from a day to come after tomorrow. */
enum srs_result stop_check(const struct srs *s, uint32_t day, unsigned max_age,
    struct slice address, struct stop *out);

#endif
