// SPDX-License-Identifier: Apache-2.0
/*
 * What came back to a return path (spec 2.2) and what it makes of the forward leg it is
 * about. The envelope has it as a few numbers (base/bounce.h); the leg is found by the
 * message id that the token named, so no journal is needed.
 *
 * A returned message ends here, whatever it says: its hold leg is SKIPPED with a note that
 * says why, so it counts as forwarded-only of the return-path domain and of nobody else.
 * A report never touches a hold leg (0.1).
 */
#ifndef QUEUE_RETURNED_H
#define QUEUE_RETURNED_H

#include "queue/legs.h"

struct queue;

struct returned_counts {	/* since the queue started */
	uint64_t failed, delayed, delivered;	/* reports about a leg of ours; relayed and
						 * expanded count as delivered */
	uint64_t auto_reply, other, unread;	/* no report: discarded (2.2.4) */
	uint64_t unknown;	/* authentic, but it names no leg there is (1.4.3) */
	uint64_t other_node;	/* 1.4.4 */
	uint64_t srs;		/* to an SRS address: names a sender, no leg */
	uint64_t stopped;	/* to a stop address (12.3; queue/optout.h) */
	uint64_t stop_ignored;	/* ... but a report or an automatic answer */
};

/* What a report makes of a forward leg. False: nothing. */
bool returned_leg(const struct spool_entry *e, const struct envelope_bounce *b,
    struct legs_change *to);
/* The recovery address does not exist or takes nothing any more (8.4, NOUSER). */
bool returned_nouser(const struct envelope_bounce *b);

/* Acts on the recipient `e`, which is RCPT_RETURN_PATH, and settles it. False: it could not
 * be read now and is as it was. */
bool returned_read(struct queue *q, const struct spool_entry *e);

#endif
