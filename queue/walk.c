// SPDX-License-Identifier: Apache-2.0
#include "queue/walk.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { WALK_BUDGET = 4096, WALK_PAUSE_MS = 1, WALK_TURN_US = 4000 };

struct walk {
	struct spool		*spool;
	struct spool_filter	 filter;
	struct spool_cursor	 at;
	walk_visit_fn		*visit;
	walk_done_fn		*done;
	void			*arg;
	struct timer		*timer;
	bool			 enough;
	bool			 hurry;
	int64_t			 turn_us;	/* monotonic: this turn is over */
	int64_t			 until_ms;	/* monotonic: the walk is over; 0: no such time */
	uint64_t		 looked;
};

static bool
walk_visit(void *arg, const struct spool_entry *e)
{
	struct walk *w = arg;

	if (!w->visit(w->arg, e)) {
		w->enough = true;
		return false;
	}
	/* A visit may read a record from the disk: commits do not wait for thousands of them. */
	return clock_mono_us() < w->turn_us;
}

bool
walk_turn(struct walk *w)
{
	bool end = false;

	w->turn_us = clock_mono_us() + WALK_TURN_US;
	do {
		w->looked += spool_scan(w->spool, &w->at, &w->filter, WALK_BUDGET, walk_visit, w,
		    &end);
	} while (w->hurry && !end && !w->enough && clock_mono_us() < w->turn_us);
	if (!end && !w->enough && (w->until_ms == 0 || clock_mono_ms() < w->until_ms)) {
		timer_arm(w->timer, w->hurry ? 0 : WALK_PAUSE_MS);
		return false;
	}
	w->done(w->arg, end && !w->enough, w->at);
	timer_free(&w->timer);
	free(w);
	return true;
}

static void
walk_timer(void *arg)
{
	(void)walk_turn(arg);
}

struct walk *
walk_start(struct loop *l, struct spool *sp, const struct spool_filter *f,
    struct spool_cursor from, walk_visit_fn *visit, walk_done_fn *done, void *arg)
{
	struct walk *w = mem_new(sizeof(*w));

	w->spool = sp;
	w->filter = *f;
	w->at = from;
	w->visit = visit;
	w->done = done;
	w->arg = arg;
	w->timer = timer_new(l, walk_timer, w);
	timer_arm(w->timer, 0);
	return w;
}

void
walk_hurry(struct walk *w, int64_t limit_ms)
{
	w->hurry = true;
	w->until_ms = limit_ms == 0 ? 0 : clock_mono_ms() + limit_ms;
}

uint64_t
walk_looked(const struct walk *w)
{
	return w->looked;
}

void
walk_cancel(struct walk **wp)
{
	struct walk *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	timer_free(&w->timer);
	free(w);
}
