// SPDX-License-Identifier: Apache-2.0
/*
 * How many replay deliveries a primary that just came back may have in flight (spec
 * 11.5): one at first, twice as many after each step in which the 95th percentile of
 * its latency stayed under the target and nothing was deferred; half at a deferral, a
 * timeout or a latency of twice the target. Many failures in a row are a primary that
 * is ill again: a pause that doubles, then one delivery to see.
 *
 * Pure: replies and the monotonic clock come in, a number goes out.
 *
 * What is ours where the rule is silent: a second halving in the same step needs more
 * than RAMP_SHARE of its replies to be deferrals, or one ill mailbox in a thousand would
 * keep a good store at one connection for ever; a step with fewer than RAMP_LEAST
 * replies proves nothing and does not double.
 */
#ifndef QUEUE_RAMP_H
#define QUEUE_RAMP_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RAMP_BUCKETS = 96,	/* latencies: four buckets an octave, from 1 ms to 4 h */
	RAMP_LEAST = 5,		/* replies that prove something */
	RAMP_SHARE = 20,	/* one in so many deferred: half again */
	RAMP_STORM = 10,	/* failures in a row: pause */
	RAMP_PAUSE_MIN_MS = 1000,
	RAMP_PAUSE_MAX_MS = 60 * 1000,
	RAMP_FORGET_STEPS = 10	/* unused for so many steps: it starts again at one */
};

struct ramp_bounds {
	int64_t		step_ms;	/* replay-step */
	int64_t		target_ms;	/* replay-latency, of the 95th percentile */
	unsigned	ceiling;	/* replay-connections-max */
};

enum ramp_reply {
	RAMP_ANSWERED,		/* 2yz, 5yz, or 4yz that concerns one mailbox (over quota) */
	RAMP_DEFERRED,		/* 4yz */
	RAMP_LOST		/* no reply: timeout, connection refused or broken */
};

struct ramp {			/* all zero: not begun; all times monotonic */
	unsigned	limit;		/* 0: not begun */
	int64_t		step_ms;	/* when this step began */
	int64_t		used_ms;	/* of the last start or reply */
	int64_t		halved_ms;	/* what was started before has been counted */
	int64_t		quiet_ms;	/* nothing is started before */
	int64_t		pause_ms;	/* the present pause; 0: healthy */
	unsigned	in_row;		/* failures */
	unsigned	replies, failures;	/* in this step */
	unsigned	bucket[RAMP_BUCKETS];	/* of the step's latencies */
	int64_t		p95_ms;		/* of the last whole step or more; -1 none yet */
};

/* How many may be in flight now. Begins the ramp, ends steps that are over. */
unsigned ramp_limit(struct ramp *r, const struct ramp_bounds *b, int64_t now);
/* A delivery that began at `started` was answered. */
void ramp_reply(struct ramp *r, const struct ramp_bounds *b, enum ramp_reply what,
    int64_t latency_ms, int64_t started, int64_t now);
/* The pause ends then, or INT64_MIN when there is none. */
int64_t ramp_quiet_until(const struct ramp *r, int64_t now);
/* The 95th percentile so far, -1 without replies. An upper bound, at most a fifth high. */
int64_t ramp_p95(const struct ramp *r);
bool ramp_idle(const struct ramp *r, const struct ramp_bounds *b, int64_t now);

#endif
