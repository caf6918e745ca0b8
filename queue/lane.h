// SPDX-License-Identifier: Apache-2.0
/*
 * The legs of one group that wait in the window for their replay, in the order of spec
 * 11.4: oldest first per mailbox, one delivery of a mailbox at a time so that it stays
 * so; mailboxes that have something of class 0 or 1 here go before the others, and
 * otherwise they take turns.
 *
 * Bounded by what is put in: the order across mailboxes is that of the window, which the
 * feed fills oldest first. Items are borrowed; they come in by age.
 */
#ifndef QUEUE_LANE_H
#define QUEUE_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum { LANE_URGENT_CLASS = 1 };	/* spec 10.2: classes 0 and 1 */

struct item;
struct lane_box;		/* a mailbox with something queued or running */
TAILQ_HEAD(lane_boxes, lane_box);

struct lane {			/* in place; lane_init */
	struct lane_boxes ready[2];	/* may start something: urgent ones, the others */
	struct lane_box	**bucket;	/* by user, owned; NULL until first used */
	unsigned	 queued;	/* items */
	unsigned	 boxes;
};

void lane_init(struct lane *l);
void lane_fini(struct lane *l);		/* nothing may be queued or running any more */
void lane_put(struct lane *l, struct item *it);
/* The next one, or NULL. Its mailbox starts nothing more until lane_done. */
struct item *lane_take(struct lane *l);
bool lane_ready(const struct lane *l);
void lane_done(struct lane *l, struct item *it);	/* what lane_take gave */
/* Any one that is queued, taken out for good; NULL when none is. */
struct item *lane_evict(struct lane *l);
void lane_remove(struct lane *l, struct item *it);	/* a queued one */

#endif
