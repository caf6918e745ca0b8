// SPDX-License-Identifier: Apache-2.0
/*
 * Destinations: how much may be in flight to each, and which ones are in back-off.
 * A destination exists while something is queued or running for it or while its
 * failure is remembered. Legs queued to one that fails as a host are not kept here
 * (queue/schedule.c gives them back to the spool), so a dead destination costs one
 * small struct, however long its queue is.
 *
 * All times are the monotonic clock.
 */
#ifndef QUEUE_DEST_H
#define QUEUE_DEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/role.h"
#include "base/slice.h"
#include "queue/order.h"
#include "queue/provider.h"
#include "queue/replay.h"

enum {
	DEST_KEY_MAX = 300,		/* "lmtp:<255 octets of host>:65535" */
	DEST_BACKOFF_MIN_MS = 1000,
	DEST_BACKOFF_MAX_MS = 60 * 1000	/* primaries: replay wants to resume quickly */
};

struct item;
TAILQ_HEAD(item_list, item);

struct dest {
	char		*key;		/* owned */
	uint64_t	 hash;		/* of key */
	struct item_list queue;		/* to be started, oldest first */
	struct order	*order;		/* instead of queue: of a provider; owned */
	unsigned	 queued;	/* length of queue, or of order */
	unsigned	 in_flight;	/* with those of a replay */
	struct replay_lanes lanes;	/* of a primary: what waits to be replayed into it */
	unsigned	 replaying;	/* of in_flight */
	struct ramp	 ramp;		/* bounds replaying */
	uint16_t	 at_relay[ROLE_PEERS_MAX];	/* in flight, per relay */
	struct provider	*provider;	/* owned; of forward legs to one; else NULL */
	unsigned	 failures;	/* as a host, in a row; 0 healthy */
	int64_t		 ready_ms;	/* closed before this */
	int64_t		 failed_ms;	/* when the last counted failure came */
	int64_t		 backoff_ms;	/* the present pause */
	int64_t		 overflow_ms;	/* when legs that found no room may come again */
	bool		 in_ring;	/* may start something */
	TAILQ_ENTRY(dest) ring;
	struct dest	*next;		/* same hash bucket */
};
TAILQ_HEAD(dest_ring, dest);

struct dests;

struct dests *dests_new(void);
void dests_free(struct dests **dp);		/* nothing may be queued any more */
struct dest *dests_get(struct dests *d, const char *key);	/* made if new; borrowed */
struct dest *dests_find(struct dests *d, const char *key);	/* or NULL */
void dests_each(struct dests *d, void (*fn)(void *arg, struct dest *d), void *arg);
unsigned dests_count(const struct dests *d);
unsigned dests_closed(const struct dests *d, int64_t now);	/* in back-off */
/* Forgets those that are idle and healthy, or failed too long ago to matter. */
void dests_sweep(struct dests *d, int64_t now);

bool dest_closed(const struct dest *d, int64_t now);
int64_t dest_opens(const struct dest *d);	/* when it is not closed any more */
/* How many may be in flight: `max`, or 1 while it has to prove itself again. */
unsigned dest_limit(const struct dest *d, unsigned max);
/*
 * It failed as a host for something started at `started`. Attempts that were under
 * way together fail together: they count once. The pause doubles up to `cap_ms`.
 */
void dest_failed(struct dest *d, int64_t started, int64_t now, int64_t cap_ms);
void dest_worked(struct dest *d);

#endif
