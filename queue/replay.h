// SPDX-License-Identifier: Apache-2.0
/*
 * The replay of each group (a domain, or a shard of it) into its primary: what an
 * operator said about it, its lane of legs in the window and how it goes. Which of the
 * lanes of a destination may start something, and how many, is decided here with the
 * ramp of that destination (queue/ramp.h); queue/schedule.c does the work.
 */
#ifndef QUEUE_REPLAY_H
#define QUEUE_REPLAY_H

#include "base/proto/relay_queue.h"
#include "queue/lane.h"
#include "queue/ramp.h"

enum { REPLAY_SLOTS = 6, REPLAY_SLOT_MS = 10 * 1000 };	/* the rate is that of a minute */

struct dest;
struct conf;

struct replay_counts {		/* of deliveries, since the replay began */
	uint64_t delivered, bytes;
	uint64_t deferred, over_quota, refused, lost;
};

struct replay_group {		/* read-only but for queue/schedule.c and queue/replay.c */
	uint64_t	 id;		/* of the failover group */

	struct lane	 lane;
	struct dest	*dest;		/* of what is in the lane; NULL: nothing queued or running */
	TAILQ_ENTRY(replay_group) link;	/* in dest->lanes, while dest is set */
	TAILQ_ENTRY(replay_group) active;	/* in the schedule's list, likewise */
	unsigned	 running;

	int64_t		 begun_ms;	/* wall clock, of the first start; 0 not begun */
	struct replay_counts count;
	unsigned	 slot[REPLAY_SLOTS];	/* deliveries in the last minute */
	int64_t		 slot_no;	/* of the newest one */
	struct replay_group *next;	/* same hash bucket */
};
TAILQ_HEAD(replay_lanes, replay_group);
TAILQ_HEAD(active_lanes, replay_group);

struct replay;

struct replay *replay_new(void);
void replay_free(struct replay **rp);	/* all lanes are empty */
struct replay_group *replay_get(struct replay *r, uint64_t group);	/* made if new */
struct replay_group *replay_find(const struct replay *r, uint64_t group);	/* or NULL */

/* The primary's reply to a delivery of this group that began at `started` (monotonic). */
void replay_replied(struct replay_group *g, const struct queue_delivered *m, uint64_t size,
    int64_t now);
/* What that reply says about the primary. */
enum ramp_reply replay_judge(const struct queue_delivered *m);
bool replay_over_quota(const struct queue_delivered *m);	/* spec 11.2 */
/* The backlog is gone, or the primary again: counts begin anew. */
void replay_over(struct replay_group *g);
/* Deliveries a second over the last minute (less at the beginning). */
double replay_rate(const struct replay_group *g, int64_t now, int64_t now_wall_ms);

void replay_bounds(const struct conf *c, struct ramp_bounds *out);

#endif
