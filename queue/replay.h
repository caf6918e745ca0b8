// SPDX-License-Identifier: Apache-2.0
/*
 * The replay of each group (a domain, or a shard of it) into its primary: what an
 * operator said about it, its lane of legs in the window and how it goes. Which of the
 * lanes of a destination may start something, and how many, is decided here with the
 * ramp of that destination (queue/ramp.h); queue/schedule.c does the work.
 *
 * What an operator said (pause, rate, another primary) is in `replay.json` of the queue's
 * directory: a change is in the audit log and in that file, both on stable storage,
 * before it counts, and holds until he takes it back.
 */
#ifndef QUEUE_REPLAY_H
#define QUEUE_REPLAY_H

#include "base/conf.h"
#include "base/proto/relay_queue.h"
#include "queue/audit.h"
#include "queue/lane.h"
#include "queue/ramp.h"

enum { REPLAY_REASON_MAX = 512, REPLAY_RATE_MAX = 60 * 1000 * 1000 /* a minute */ };
enum { REPLAY_SLOTS = 6, REPLAY_SLOT_MS = 10 * 1000 };	/* the rate is that of a minute */

struct dest;
struct failover;
struct failover_group;
struct legs_route;
struct spool_entry;

struct replay_counts {		/* of deliveries, since the replay began */
	uint64_t delivered, bytes;
	uint64_t deferred, over_quota, refused, lost;
};

struct replay_group {		/* read-only but for queue/schedule.c and queue/replay.c */
	uint64_t	 id;		/* of the failover group */

	/* the operator's; persisted */
	bool		 paused;
	unsigned	 rate;		/* deliveries a minute; 0: as the ramp allows */
	char		*to;		/* owned; instead of the primary, as typed; NULL: the primary */
	struct conf_route route;	/* ... parsed, while `to` is set */
	char		*reason;	/* owned, of the last change; NULL none */
	struct audit_who who;
	int64_t		 since_ms;	/* wall clock, of it */

	int64_t		 due_us;	/* monotonic: when the rate has room for the next one */
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

/* Borrows all for its life; dirfd -1: nothing is persisted (tests). NULL after logging why
 * the state file cannot be read. */
struct replay *replay_open(int dirfd, struct failover *f, struct audit *a);
void replay_free(struct replay **rp);	/* all lanes are empty */
struct replay_group *replay_get(struct replay *r, uint64_t group);	/* made if new */
struct replay_group *replay_find(const struct replay *r, uint64_t group);	/* or NULL */

/* What an operator may change; NULL, -1: as it is. */
struct replay_change {
	int		 paused;	/* 0, 1 */
	int64_t		 rate;		/* a minute; 0 none */
	const char	*to;		/* a route, or "" for the primary */
	const char	*reason;	/* never NULL */
	struct audit_who who;
};
/* 0, or -1 with errno and nothing changed (EINVAL: not a route of smtp or lmtp). */
int replay_change(struct replay *r, const struct failover_group *g, const struct replay_change *c);

/* Its rate and its operator let it start something now; then that it did. */
bool replay_may(const struct replay_group *g, int64_t now);
void replay_started(struct replay_group *g, int64_t now, int64_t now_wall_ms);

/* legs_route_hold, with the operator's other primary. */
int replay_route(const struct replay *r, const struct conf *c, struct failover *f,
    const struct spool_entry *e, struct legs_route *out, char *key);

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
