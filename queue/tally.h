// SPDX-License-Identifier: Apache-2.0
/*
 * What an incident cost, for the report after it: per group how long recipients waited
 * (from arrival to the primary, from arrival to the recovery host) by triage class, and
 * what was answered instead. Statistics, not books: `tally.json` in the queue's directory
 * is replaced now and then without a sync, so a crash may lose the last half minute of
 * it; the balance is the spool's (P7).
 *
 * A period begins when failover comes on (or with the first count), so that a report can be
 * about one incident; TALLY_PERIODS of a group are kept. Delays go into buckets of half an
 * octave; a percentile is at most 42 % high. All times wall clock.
 */
#ifndef QUEUE_TALLY_H
#define QUEUE_TALLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/proto/relay_queue.h"

enum {
	TALLY_BUCKETS = 64,	/* 1 ms .. 49 days */
	TALLY_CLASSES = 5,	/* spec 10.2: 0 to 3, and X */
	TALLY_REPLIES = 32,	/* kinds of replies told apart; the rest is one more */
	TALLY_PERIODS = 8,	/* per group */
	TALLY_GROUPS_MAX = 4096,	/* further ones are not counted */
	TALLY_SAVE_MS = 30 * 1000
};

struct tally;

/* Borrows both. A file that cannot be read is begun anew: it is no book. */
struct tally *tally_open(int dirfd);
void tally_close(struct tally **tp);	/* saves */

/* Failover came on at `since`: what is counted from now on is another incident. Telling it
 * again changes nothing. */
void tally_period(struct tally *t, uint64_t group, int64_t since);
void tally_delivered(struct tally *t, uint64_t group, enum leg_kind leg, unsigned triage,
    int64_t delay_ms, int64_t now);
/* `code` 0: no reply. */
void tally_refused(struct tally *t, uint64_t group, enum leg_kind leg, unsigned code,
    struct slice enhanced, int64_t now);
void tally_tick(struct tally *t, int64_t mono_ms);	/* saves when it is time */

/* {"replayed": {"0": {"count", "p50_ms", "p95_ms", "p99_ms", "max_ms"}, ...}, "forwarded":
 * {...}, "replies": [{"leg", "code", "enhanced", "count"}], "from"}: all periods of the
 * group that last beyond `since`. New reference. */
json_t *tally_json(const struct tally *t, uint64_t group, int64_t since);

#endif
