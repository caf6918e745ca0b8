// SPDX-License-Identifier: Apache-2.0
#include "queue/retention.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/legs.h"
#include "queue/walk.h"

enum { RETENTION_MIN_MS = 1000, RETENTION_MAX_MS = 3600 * 1000, RETENTION_SHARE = 4,
	RETENTION_SLACK_MS = 24 * 3600 * 1000 };	/* the wall clock may have jumped */

struct retention {
	struct queue	*queue;		/* borrowed */
	struct timer	*timer;
	struct walk	*walk;		/* while one runs */
	uint64_t	 tries, ended;	/* of this walk */
};

static void
retention_arm(struct retention *r)
{
	int64_t ms = r->queue->role->conf->hold_retention_ms / RETENTION_SHARE;

	timer_arm(r->timer, ms < RETENTION_MIN_MS ? RETENTION_MIN_MS :
	    ms > RETENTION_MAX_MS ? RETENTION_MAX_MS : ms);
}

static bool
retention_visit(void *arg, const struct spool_entry *e)
{
	struct retention *r = arg;
	struct queue *q = r->queue;
	char note[LEGS_NOTE_MAX] = "";
	struct legs_change to;

	const struct failover_group *g = failover_find(q->failover, e->group);
	int64_t now = schedule_now(q->schedule);

	if (!legs_refused_over(q->role->conf, g, e, now))
		return true;
	/* The note has what the primary said: the sender will be told. */
	if (spool_note(q->spool, e->ref, LEG_HOLD, note, sizeof(note)) < 0)
		note[0] = '\0';
	if (legs_refused_end(q->role->conf, e, note, now, &to))
		r->ended++;
	else
		r->tries++;
	schedule_write(q->schedule, e, LEG_HOLD, &to);
	return true;
}

static void
retention_done(void *arg, bool end, struct spool_cursor at)
{
	struct retention *r = arg;

	(void)end;
	(void)at;
	r->walk = NULL;
	if (r->tries + r->ended > 0) {
		log_info("retention", "tried_again=%llu ended=%llu", (unsigned long long)r->tries,
		    (unsigned long long)r->ended);
		schedule_restart_all(r->queue->schedule);
	}
	retention_arm(r);
}

static void
retention_turn(void *arg)
{
	struct retention *r = arg;
	struct queue *q = r->queue;
	struct spool_filter f = { .due_ms = INT64_MAX, .to_ms = clock_wall_ms() -
		q->role->conf->hold_retention_ms + RETENTION_SLACK_MS };

	if (q->stopping)
		return;
	f.states[LEG_HOLD] = 1u << LEG_PARKED;
	r->tries = r->ended = 0;
	r->walk = walk_start(q->role->loop, q->spool, &f, (struct spool_cursor){ 0 },
	    retention_visit, retention_done, r);
}

struct retention *
retention_new(struct queue *q)
{
	struct retention *r = mem_new(sizeof(*r));

	r->queue = q;
	r->timer = timer_new(q->role->loop, retention_turn, r);
	retention_arm(r);
	return r;
}

void
retention_free(struct retention **rp)
{
	struct retention *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	walk_cancel(&r->walk);
	timer_free(&r->timer);
	free(r);
}
