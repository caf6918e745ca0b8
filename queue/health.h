// SPDX-License-Identifier: Apache-2.0
/*
 * What is known of one primary, from probes and from deliveries, and what follows from it.
 * Pure: observations and the clock (monotonic ms) come in, a wish goes out; whether the wish
 * is granted (mode, our own network) is queue/lookout.c's.
 *
 *	enter	enter_after failed probes in a row, or in 60 s more than bad_share % of at
 *		least bad_min deliveries put off (4yz, timeouts, lost; spec 11.7), or as many
 *		refused as unknown users although the snapshot knows them
 *	leave	leave_after good probes in a row, and settle_ms since the last entry. Each
 *		entry within an hour of the last leave doubles that, up to eight times: a
 *		primary that flaps ends up held, not switched back and forth
 *
 * A probe that succeeds slowly is a failed one while the percentile of the last ten is over
 * latency_max_ms. One of ours that could not be made counts for nothing.
 */
#ifndef QUEUE_HEALTH_H
#define QUEUE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/failover.h"

enum { HEALTH_RING = 10, HEALTH_BUCKETS = 12, HEALTH_BUCKET_MS = 5000 /* twelve: 60 s */ };

struct health_rules {
	unsigned	enter_after, leave_after;	/* probes in a row */
	int64_t		latency_max_ms;
	unsigned	percentile;	/* of the latency, 1..100 */
	unsigned	bad_share;	/* percent of deliveries */
	unsigned	bad_min;	/* fewer deliveries say nothing */
	int64_t		settle_ms;	/* least time in active */
	int64_t		every_ms;	/* a host that is down counts once in this */
};

enum health_seen {
	HEALTH_GOOD,
	HEALTH_BAD,		/* it answers, but not as it should */
	HEALTH_DARK		/* no connection comes about: it, or the network between */
};

enum health_delivery {
	HEALTH_TOOK,		/* 2yz, or 5yz about this one message */
	HEALTH_PUT_OFF,		/* 4yz, timeout, lost connection */
	HEALTH_NO_USER,		/* 5yz 5.1.x for somebody in our snapshot */
	HEALTH_HOST_DOWN	/* nobody spoke to us there */
};

struct health_sums {
	unsigned took, put_off, no_user;
};

struct health {
	bool		 any;		/* something was observed */
	enum health_seen last;
	bool		 slow;		/* the last one failed by its time alone */
	int64_t		 last_ms;
	int64_t		 since_ms;	/* of the present row, good or bad */
	int64_t		 dark_ms;	/* since when dark, without a break */
	unsigned	 bad_row, good_row;
	uint32_t	 latency[HEALTH_RING];
	unsigned	 nlatency, at;
	struct health_bucket {
		int64_t	start_ms;
		struct health_sums sums;
	} bucket[HEALTH_BUCKETS];
	int64_t		 host_ms;	/* when a host that is down was counted last */
	int64_t		 entered_ms;	/* into active */
	int64_t		 left_ms;	/* it; 0: not lately */
	unsigned	 relapses;
	uint64_t	 probes, failed;	/* for the status */
};

enum health_wish { HEALTH_STAY, HEALTH_ENTER, HEALTH_LEAVE };
enum health_cause {
	HEALTH_BY_PROBES, HEALTH_BY_LATENCY, HEALTH_BY_DELIVERIES, HEALTH_BY_REFUSALS,
	HEALTH_BY_RECOVERY, HEALTH_CAUSE_MAX
};
const char *health_cause_name(enum health_cause c);

/* `entered_ms`: since when it is active, when it is. */
void health_init(struct health *h, int64_t entered_ms);
void health_probed(struct health *h, const struct health_rules *r, int64_t now,
    enum health_seen seen, int64_t latency_ms);
void health_delivered(struct health *h, const struct health_rules *r, int64_t now,
    enum health_delivery d);
enum health_wish health_decide(const struct health *h, const struct health_rules *r,
    enum failover_phase phase, int64_t now, enum health_cause *cause);
/* The phase became active, or ended to be: rows and sums begin anew. */
void health_entered(struct health *h, int64_t now);
void health_left(struct health *h, int64_t now);
/* Failures of the past say nothing any more (our own network was at fault). */
void health_forgive(struct health *h);

/* Of the last ten; 0: none. */
int64_t health_latency(const struct health *h, unsigned percentile);
struct health_sums health_sums(const struct health *h, int64_t now);	/* last 60 s */
int64_t health_settle(const struct health *h, const struct health_rules *r);

/* ---- is it us? ---- */

/*
 * All we look at went dark within two minutes, and it lies in different networks: then our own
 * is suspected, and no failover begins. What is configured to tell (probe-reference)
 * decides alone, if there is any.
 */
struct health_view {		/* of one place we look at */
	uint64_t	network;	/* equal: they may fail together (same host or provider) */
	bool		seen, dark;
	int64_t		last_ms, dark_ms;
};

enum health_network {
	HEALTH_NETWORK_FINE,
	HEALTH_NETWORK_UNSURE,	/* some were not looked at since: look, then ask again */
	HEALTH_NETWORK_FAULT
};
/* For one that is dark since `dark_ms`. */
enum health_network health_network(const struct health_view *v, size_t n,
    const struct health_view *reference, size_t nreference, int64_t dark_ms);

#endif
