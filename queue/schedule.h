// SPDX-License-Identifier: Apache-2.0
/*
 * Which legs run when. RAM holds a bounded window of legs that are due (conf->window_max);
 * the rest stays in the spool's index and is found by walking it: one feed per group for
 * hold legs that have their time, one for the backlog of a replay, so that it is oldest
 * first and a dead primary is simply not read, and one feed for all forward legs. Fresh
 * legs enter the window directly while there is room.
 *
 * During a replay new mail goes before the backlog, with its own bound (connections-max);
 * backlog and second tries wait in the group's lane and run as many at a time as the
 * primary's ramp allows (queue/replay.h, queue/ramp.h; spec 11.4, 11.5).
 *
 * Each destination has a queue inside the window, a bounded share of it and a limit of
 * legs in flight; destinations take turns. One that fails as a host gives its legs back:
 * hold legs untouched, their feed starts again when the pause is over; forward legs
 * put off (next_ms), since their destination is only known after asking the directory.
 *
 * Time: pauses are monotonic. next_ms on disk is told by schedule_now, which is spool_now: the
 * wall clock without its jumps, also over restarts.
 */
#ifndef QUEUE_SCHEDULE_H
#define QUEUE_SCHEDULE_H

#include "queue/dest.h"
#include "queue/legs.h"
#include "queue/spool.h"

enum item_state { ITEM_RESOLVING, ITEM_QUEUED, ITEM_RUNNING };

struct item {			/* a leg in the window */
	struct spool_entry	 e;		/* as it was when it entered or was refreshed */
	uint8_t			 leg;		/* enum leg_kind */
	uint8_t			 state;		/* enum item_state */
	uint8_t			 relay;		/* RUNNING, when at_relay is set */
	bool			 at_relay;
	struct dest		*dest;		/* QUEUED, RUNNING */
	struct dest		*host;		/* of a provider's: its domain's own back-off, or NULL */
	struct replay_group	*replay;	/* it is part of this one's replay; or NULL */
	struct order_user	*user;		/* queue/order.c's, while queued there */
	uint8_t			 class;		/* likewise: as it is served (10.2, 10.4) */
	uint64_t		 sender;	/* forward: hash of the sender's domain, 0 none */
	struct lane_box		*box;		/* queue/lane.c's, while replay is set */
	int64_t			 started_ms;	/* monotonic */
	void			*work;		/* of the attempt; NULL or its own to free */
	TAILQ_ENTRY(item)	 link;		/* in dest->queue or its mailbox of the lane */
	struct item		*next;		/* same hash bucket */
};

#define SCHEDULE_PROVIDER	"fwd:"	/* keys of destinations that are provider groups */

struct schedule;

struct schedule_ops {
	/* Finds the destination of a forward leg; then schedule_place or schedule_finish,
	 * maybe before returning. */
	void	(*resolve)(void *arg, struct item *it);
	/* Sends it on its way; ends in schedule_finish, maybe before returning. */
	void	(*start)(void *arg, struct item *it);
	/* The item leaves the window without a result: free it->work. */
	void	(*forget)(void *arg, struct item *it);
	/* LEGS_READ: acts on it and settles it. False: not now, it comes again. */
	bool	(*read)(void *arg, const struct spool_entry *e);
	/* LEGS_SETTLE of a hold leg that ends FAILED: its sender has to be told first. False:
	 * not now, it comes again. */
	bool	(*bounce)(void *arg, const struct spool_entry *e, const struct legs_change *to);
	/* A whole lap over a group in replay found no backlog. */
	void	(*drained)(void *arg, uint64_t group);
};

struct schedule *schedule_new(struct loop *l, const struct conf *c, struct spool *sp,
    struct failover *f, struct replay *r, const struct schedule_ops *ops, void *arg);
void schedule_free(struct schedule **sp);
void schedule_reload(struct schedule *s, const struct conf *c);
void schedule_stop(struct schedule *s);		/* starts nothing any more */

/* Wall clock without jumps. */
int64_t schedule_now(struct schedule *s);
/* One turn of work, bounded; runs by its timer, tests call it. Returns ms to the next. */
int64_t schedule_turn(struct schedule *s);

/* A recipient was just committed. */
void schedule_fresh(struct schedule *s, struct spool_ref ref);
/* Something of this group changed (phase, retry, new legs): read it again from the start. */
void schedule_restart(struct schedule *s, uint64_t group);
/* The same, and what waits in its lane forgets where it was going. */
void schedule_reroute(struct schedule *s, uint64_t group);
/* During a replay: connections to its primary that relay may have; 0: no bound but its own. */
unsigned schedule_connections(const struct schedule *s, const struct item *it, unsigned relay);
/* The ramp of the primary it is being replayed into, NULL when nothing is. Borrowed. */
const struct ramp *schedule_ramp(const struct schedule *s, uint64_t group);
void schedule_restart_forward(struct schedule *s);
void schedule_restart_all(struct schedule *s);

/* The forward leg goes to `key`. It is queued, or put off when that is closed or full. */
void schedule_place(struct schedule *s, struct item *it, const char *key);
/* Likewise, to a provider that serves many domains. That mail for `domain` finds no host says
 * nothing of the others: it is this domain that backs off. */
void schedule_place_domain(struct schedule *s, struct item *it, const char *key,
    const char *domain);
/* Legs that may be in flight to it now: slow start, proving itself, connections-max. */
unsigned schedule_limit(const struct schedule *s, const struct dest *d);
/* The provider of this running leg is silent for so long; what is queued for it goes back
 * to the spool. `slower`: then at half the rate. False: it was closed already since the leg
 * was started. */
bool schedule_close(struct schedule *s, const struct item *it, int64_t pause_ms, bool slower);
/* The provider groups it knows of: those with something queued, running, or of the last hour. */
void schedule_providers(struct schedule *s, void (*fn)(void *arg, const char *group), void *arg);
/* It went to that relay (for reuse of connections and the per-relay count). */
void schedule_at_relay(struct schedule *s, struct item *it, unsigned relay);
/* It came back and stays running: something else goes out for it. */
void schedule_from_relay(struct schedule *s, struct item *it);

/* The primary's reply to a hold leg, before schedule_finish: the ramp lives by it. */
void schedule_replied(struct schedule *s, struct item *it, const struct queue_delivered *m);

enum schedule_end {
	SCHEDULE_WORKED,	/* the destination answered: healthy */
	SCHEDULE_NEUTRAL,	/* says nothing about the destination */
	SCHEDULE_HOST_FAILED,	/* back-off; the leg comes again with its destination */
	SCHEDULE_AGAIN		/* our trouble: the leg comes again after `after_ms` */
};
/* The item leaves the window and is freed. For WORKED and NEUTRAL what became of the leg
 * has been written already. */
void schedule_finish(struct schedule *s, struct item *it, enum schedule_end end, int64_t after_ms);

/* spool_set; tells the feeds when the leg is due again. */
void schedule_write(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    const struct legs_change *to);

/* What LEGS_SETTLE says, written; a hold leg that ends FAILED goes the way of ops->bounce. */
void schedule_settle(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    const struct legs_change *to);
/* Looks at this kind of legs of its group again, in `after_ms`. */
void schedule_again(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    int64_t after_ms);

struct schedule_stats {
	unsigned window, in_flight, destinations, closed;
	uint64_t started, put_off, laps;
};
void schedule_stats(const struct schedule *s, struct schedule_stats *out);
unsigned schedule_in_flight(const struct schedule *s);
/* The leg was given out and its result is not known yet. */
bool schedule_running(const struct schedule *s, struct spool_ref ref, enum leg_kind leg);
/* Legs of that group in the window. */
unsigned schedule_of_group(const struct schedule *s, uint64_t group);

#endif
