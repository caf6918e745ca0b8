// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/schedule.c (window, results), queue/schedule_start.c (what starts next),
 * queue/schedule_provider.c (room and pace of provider groups) and queue/feed.c (finding
 * due legs in the spool). Nobody else includes it. */
#ifndef QUEUE_SCHEDULE_PRIV_H
#define QUEUE_SCHEDULE_PRIV_H

#include "queue/schedule.h"

enum {
	FEED_TURN_MAX = 4096,		/* index entries looked at in one turn, all feeds */
	FEED_SLICE_MAX = 1024,		/* ... one feed */
	FEED_BUSY_MAX = 64,		/* closed destinations in a row: give the lap up */
	FEED_RESOLVING_MAX = 512,	/* look-ups in flight */
	FEED_PAUSE_MS = 50,		/* least time between two laps */
	FEED_IDLE_MS = 60 * 1000,	/* a lap at least this often: nothing is ever forgotten */
	FEED_RELAP_MS = 200,		/* when all that was found is already in the window */
	FEED_NO_ROUTE_MS = 60 * 1000,
	/* While mail comes in, old forward legs stand back (feed_yields). */
	FEED_CALM_MS = 200,		/* no commit for so long: they have the queue for themselves */
	FEED_YIELD_MS = 5,		/* otherwise a turn of theirs not more often than this, */
	FEED_YIELD_LOOK = 512,		/* looking at so many entries */
	FEED_YIELD_ENTER = 2		/* and taking up so many legs */
};

struct feed {
	uint64_t	 group;		/* 0: the feed of all forward legs */
	enum leg_kind	 leg;
	bool		 backlog_only;	/* what is PARKED, while the group is in replay */
	struct spool_cursor cursor;
	bool		 lap;		/* a lap is under way from cursor */
	int64_t		 lap_ms;	/* !lap: start of the next one, monotonic; INT64_MAX never */
	int64_t		 next_ms;	/* lap: earliest time for the lap after it */
	uint64_t	 looked;	/* in this lap: entries */
	uint64_t	 backlog;	/* in this lap: legs waiting for replay */
	unsigned	 busy;		/* in a row */
	char		*full;		/* key of the destination without room, owned; or NULL */
};

struct schedule {
	struct loop		*loop;
	const struct conf	*conf;
	struct spool		*spool;
	struct failover		*failover;
	struct replay		*replay;
	struct active_lanes	 active;	/* with something queued or running */
	const struct schedule_ops *ops;
	void			*arg;
	struct timer		*timer;
	bool			 kicked;	/* the timer is set to now */
	bool			 stopped;
	struct dests		*dests;
	struct dest_ring	 ring;		/* destinations that may start something */
	struct item		**bucket;	/* the window by (ref, leg) */
	size_t			 nbucket;
	unsigned		 nitem, in_flight, resolving;
	struct feed		**feed;		/* owned; feed[0] is the forward feed */
	size_t			 nfeed, feed_next;
	int64_t			 fresh_ms;	/* a commit came; monotonic */
	int64_t			 yield_ms;	/* the forward feed waits until then; 0 not */
	unsigned		 yielded;	/* legs it took up in this turn */
	int64_t			 swept_ms;
	bool			 paced;		/* a provider waits for the time of its next start */
	int64_t			 grown_ms;	/* slow starts were looked at */
	int64_t			 nudged_ms;	/* lanes that wait for time were looked at */
	struct schedule_stats	 stats;
};

/* schedule.c */
struct item *window_find(const struct schedule *s, struct spool_ref ref, enum leg_kind leg);
bool window_room(const struct schedule *s);
unsigned schedule_share(const struct schedule *s, const struct dest *d);
enum enter {
	ENTER_IN,		/* it is in the window now */
	ENTER_BUSY,		/* its destination is closed: *at says until when */
	ENTER_FULL,		/* no room: full_key says for whom ("" the window) */
	ENTER_NO_ROUTE
};
enum enter window_enter(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    int64_t *at, char full_key[DEST_KEY_MAX]);
void schedule_kick(struct schedule *s);
void dest_evict(struct schedule *s, struct dest *d);	/* all that is queued goes back */
/* Back to the spool: it is found again at `at` (monotonic). */
void item_give_back(struct schedule *s, struct item *it, int64_t at);
int64_t schedule_spread(int64_t ms);	/* 0 .. ms - 1 */

/* schedule_start.c */
void dest_queue(struct schedule *s, struct dest *d, struct item *it);
struct item *dest_pop(struct schedule *s, struct dest *d);	/* of those queued; not of lanes */
void dest_ready(struct schedule *s, struct dest *d);	/* into the ring, if it may start one */
/* When a forward leg that its destination cannot take comes again, not before `least`. */
int64_t dest_slot(struct dest *d, int64_t least);
bool host_closed(const struct item *it);	/* of a provider's: its domain backs off */
void lane_link(struct schedule *s, struct replay_group *g, struct dest *d);
void lane_unlink_idle(struct schedule *s, struct replay_group *g);	/* if it is empty */
void lane_finish(struct schedule *s, struct item *it);	/* its result is known */
/* Starts what may. True when it stopped for its own bound, not for lack of work. */
bool schedule_dispatch(struct schedule *s);

/* schedule_provider.c */
bool provider_ready(struct schedule *s, const struct dest *d);	/* by its pace */
/* True: there is room for it in that full queue after all. */
bool make_room(struct schedule *s, struct dest *d, const struct item *it);

/* feed.c */
void feeds_init(struct schedule *s);
void feeds_fini(struct schedule *s);
void feeds_reload(struct schedule *s);
struct feed *feed_get(struct schedule *s, uint64_t group, enum leg_kind leg);
struct feed *feed_backlog(struct schedule *s, uint64_t group);	/* made if new */
struct feed *feed_of(struct schedule *s, const struct item *it);	/* that finds it again */
void feed_restart(struct feed *f, int64_t at);	/* from the oldest, at that time */
void feed_poke(struct feed *f, int64_t at);	/* a lap no later than that */
bool feeds_turn(struct schedule *s);		/* true: more to do at once */
int64_t feeds_next(const struct schedule *s);	/* when, monotonic */

#endif
