// SPDX-License-Identifier: Apache-2.0
#include "queue/walk.h"

#include <stdlib.h>

#include "base/mem.h"

enum { WALK_BUDGET = 4096, WALK_PAUSE_MS = 1 };

struct walk {
	struct spool		*spool;
	struct spool_filter	 filter;
	struct spool_cursor	 at;
	walk_visit_fn		*visit;
	walk_done_fn		*done;
	void			*arg;
	struct timer		*timer;
	bool			 enough;
};

static bool
walk_visit(void *arg, const struct spool_entry *e)
{
	struct walk *w = arg;

	if (!w->visit(w->arg, e)) {
		w->enough = true;
		return false;
	}
	return true;
}

bool
walk_turn(struct walk *w)
{
	bool end = false;

	(void)spool_scan(w->spool, &w->at, &w->filter, WALK_BUDGET, walk_visit, w, &end);
	if (!end && !w->enough) {
		timer_arm(w->timer, WALK_PAUSE_MS);
		return false;
	}
	struct walk gone = *w;
	timer_free(&w->timer);
	free(w);
	gone.done(gone.arg, end && !gone.enough, gone.at);
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
walk_cancel(struct walk **wp)
{
	struct walk *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	timer_free(&w->timer);
	free(w);
}
