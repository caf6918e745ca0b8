// SPDX-License-Identifier: Apache-2.0
/*
 * Who wants no copies (spec 12.3): users who stopped forwarding, by mail to the address in
 * their notice or through an operator. It is no part of the directory, so an import or a
 * refresh cannot forget it. Kept in the file `consent` of the queue's directory, on stable
 * storage when the call returns, and read again at start.
 *
 * A user is known by a hash of his address as the directory writes it; the file holds no
 * address. The table is bounded (opt-outs-max) and never makes room by itself: a stop that
 * does not fit is an error the caller keeps trying.
 *
 * File: 16 bytes ("SPCONS01", 8 zero), then records of 32 bytes (docs/spool.md), appended.
 * Each record has its own CRC and counts by itself: a torn tail is cut, a damaged record is
 * passed over and told of. Rewritten at open when much of it is old.
 */
#ifndef QUEUE_CONSENT_H
#define QUEUE_CONSENT_H

#include <stdbool.h>

#include "base/msgid.h"

#define CONSENT_FILE	"consent"

enum consent_by { CONSENT_BY_MAIL = 1, CONSENT_BY_OPERATOR, CONSENT_BY_MAX };	/* on disk */

struct consent_row {
	uint8_t	by;		/* enum consent_by */
	int64_t	time_ms;	/* wall clock */
};

struct consent;

struct msgid consent_key(struct slice user);
void consent_print(struct msgid key, char out[2 * MSGID_LEN + 1]);	/* hex */

/* NULL after logging why: nobody guesses who has stopped. `read_only` reads only, and a
 * missing file is an empty one. */
struct consent *consent_open(int dirfd, unsigned max, bool read_only);
void consent_close(struct consent **cp);
void consent_limit(struct consent *c, unsigned max);	/* a new configuration */

/* Has this user stopped? `out` may be NULL. */
bool consent_stopped(const struct consent *c, struct msgid key, struct consent_row *out);
/* 1 done, 0 it was so already, -1 with errno: nothing changed (ENOSPC: opt-outs-max). */
int consent_stop(struct consent *c, struct msgid key, enum consent_by by, int64_t now_ms);
int consent_resume(struct consent *c, struct msgid key, int64_t now_ms);
unsigned consent_count(const struct consent *c);

#endif
