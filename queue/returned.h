// SPDX-License-Identifier: Apache-2.0
/*
 * What came back to a return path (spec 2.2) and what it makes of the forward leg it is
 * about. The envelope has it as a few numbers (base/bounce.h); the leg is found by the
 * message id that the token named, so no journal is needed.
 *
 * An SRS address (1.2.12) names a sender and no leg. Then the token is what the report
 * brought back, seal opens it, and the leg is believed to be meant when its message is of
 * that very sender. Otherwise the report is counted, and nothing follows from it.
 *
 * Nothing that comes back is ever sent on. While the message is held its sender hears
 * nothing (2.1.2); only when its primary had refused it before, so that nobody has it any
 * more, he gets a notification of ours (queue/notices.h), which knows nothing of the report.
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
	uint64_t srs;		/* to an SRS address, and no leg of its sender was found */
	uint64_t stopped;	/* to a stop address (12.3; queue/optout.h) */
	uint64_t stop_ignored;	/* ... but a report or an automatic answer */
};

/* What a report makes of a forward leg. False: nothing. */
bool returned_leg(const struct spool_entry *e, const struct envelope_bounce *b,
    struct legs_change *to);
/* The recovery address does not exist or takes nothing any more (8.4, NOUSER). */
bool returned_nouser(const struct envelope_bounce *b);

enum { RETURNED_MAX = 256 /* being read at a time */ };

struct returned;

struct returned *returned_new(struct queue *q);	/* after spool, schedule and notices */
void returned_free(struct returned **rp);	/* before them; what is under way comes again */
bool returned_busy(const struct returned *r);

/* Begins with the recipient `e`, which is RCPT_RETURN_PATH, and settles it in the end. The disk
 * is read off the loop. False: not now. */
bool returned_start(struct returned *r, const struct spool_entry *e);

int returned_message(struct returned *r, unsigned index, struct slice body);	/* SEAL_NAMED */
void returned_link_down(struct returned *r, unsigned index);	/* of a seal */

void returned_stop(struct returned *r, bool heeded);	/* counts (queue/optout.c) */
void returned_counts(const struct returned *r, struct returned_counts *out);
void returned_status(const struct returned *r, struct buf *out);	/* ,"bounces":{...} */

#endif
