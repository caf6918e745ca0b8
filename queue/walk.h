// SPDX-License-Identifier: Apache-2.0
/*
 * A walk over the spool's index in turns of the loop, for jobs that must not hold up
 * commits however long the queue is: sweeps after a switch, queue list, queue retry.
 */
#ifndef QUEUE_WALK_H
#define QUEUE_WALK_H

#include "queue/spool.h"

struct walk;

typedef bool walk_visit_fn(void *arg, const struct spool_entry *e);	/* false: enough */
/* Afterwards the walk is gone; forget it here. `end`: nothing is left; else `at` is where to go on. */
typedef void walk_done_fn(void *arg, bool end, struct spool_cursor at);

/* done is never called from within walk_start. */
struct walk *walk_start(struct loop *l, struct spool *sp, const struct spool_filter *f,
    struct spool_cursor from, walk_visit_fn *visit, walk_done_fn *done, void *arg);
/* Somebody waits for it: no pauses between turns, which then last some milliseconds. It
 * ends (end false) after limit_ms; 0: only at the end. */
void walk_hurry(struct walk *w, int64_t limit_ms);
uint64_t walk_looked(const struct walk *w);	/* entries so far */
void walk_cancel(struct walk **wp);	/* without done */
/* One turn; true when it is over (done was called). The timer runs it, tests may. */
bool walk_turn(struct walk *w);

#endif
