// SPDX-License-Identifier: Apache-2.0
/* What of the window starts next: destinations take turns, inside one new mail goes before
 * the lanes of a replay. */
#include "base/clock.h"
#include "base/mem.h"
#include "queue/legs_forward.h"
#include "queue/schedule_priv.h"

enum {
	SCHEDULE_STARTS_MAX = 128,	/* per turn: each reads a body */
	SCHEDULE_SPACING_MS = 2,	/* between two legs that had no room, or of a closed destination */
	SCHEDULE_AHEAD_FROM = 8		/* connections of a replay that is worth hurrying */
};

static bool
may_start_fresh(struct schedule *s, const struct dest *d)
{
	return d->queued > 0 && d->in_flight - d->replaying < schedule_limit(s, d) &&
	    provider_ready(s, d);
}

/* The lane whose turn it is, or NULL: none has something, or the ramp is at its limit. */
static struct replay_group *
may_start_replay(const struct schedule *s, struct dest *d)
{
	struct ramp_bounds b;
	struct replay_group *g;

	if (TAILQ_EMPTY(&d->lanes) || (d->failures > 0 && d->in_flight > 0))
		return NULL;
	replay_bounds(s->conf, &b);
	unsigned most = ramp_limit(&d->ramp, &b, clock_mono_ms());
	/* As many again wait at the relay, so that no connection is idle between two. */
	if (most >= SCHEDULE_AHEAD_FROM)
		most *= 2;
	if (d->replaying >= most)
		return NULL;
	TAILQ_FOREACH(g, &d->lanes, link)
		if (lane_ready(&g->lane) && replay_may(g, clock_mono_ms()))
			return g;
	return NULL;
}

void
dest_ready(struct schedule *s, struct dest *d)
{
	if (d->in_ring || dest_closed(d, clock_mono_ms()) ||
	    (!may_start_fresh(s, d) && may_start_replay(s, d) == NULL))
		return;
	d->in_ring = true;
	TAILQ_INSERT_TAIL(&s->ring, d, ring);
	schedule_kick(s);
}

void
dest_queue(struct schedule *s, struct dest *d, struct item *it)
{
	it->dest = d;
	it->state = ITEM_QUEUED;
	if (d->order != NULL)
		order_put(d->order, it, forward_class(s->conf, &it->e, schedule_now(s)));
	else
		TAILQ_INSERT_TAIL(&d->queue, it, link);
	d->queued++;
	dest_ready(s, d);
}

struct item *
dest_pop(struct schedule *s, struct dest *d)
{
	struct item *it = TAILQ_FIRST(&d->queue);

	if (d->order != NULL)
		it = order_take(d->order, s->conf->urgent_ttl_ms, schedule_now(s));
	else
		TAILQ_REMOVE(&d->queue, it, link);
	CHECK(it != NULL);
	d->queued--;
	return it;
}

/* ---- lanes ---- */

void
lane_link(struct schedule *s, struct replay_group *g, struct dest *d)
{
	if (g->dest != NULL)
		return;
	g->dest = d;
	TAILQ_INSERT_TAIL(&d->lanes, g, link);
	TAILQ_INSERT_TAIL(&s->active, g, active);
}

void
lane_unlink_idle(struct schedule *s, struct replay_group *g)
{
	if (g->dest == NULL || g->lane.queued > 0 || g->running > 0)
		return;
	TAILQ_REMOVE(&g->dest->lanes, g, link);
	TAILQ_REMOVE(&s->active, g, active);
	g->dest = NULL;
}

/* Its result is known; its mailbox may go on. */
void
lane_finish(struct schedule *s, struct item *it)
{
	struct replay_group *g = it->replay;

	if (g == NULL || it->state != ITEM_RUNNING)
		return;
	it->replay = NULL;
	g->running--;
	it->dest->replaying--;
	lane_done(&g->lane, it);
	lane_unlink_idle(s, g);
}

static struct item *
lane_pop(struct replay_group *g)
{
	struct dest *d = g->dest;
	struct item *it = lane_take(&g->lane);

	g->running++;
	d->replaying++;
	replay_started(g, clock_mono_ms(), clock_wall_ms());
	TAILQ_REMOVE(&d->lanes, g, link);	/* other domains of this primary come first */
	TAILQ_INSERT_TAIL(&d->lanes, g, link);
	return it;
}

/* When a forward leg that its destination cannot take comes again: one after the other, so
 * that a hundred thousand legs of a dead host are a trickle, not most of our work. */
int64_t
dest_slot(struct dest *d, int64_t least)
{
	if (d->overflow_ms < least)
		d->overflow_ms = least;
	d->overflow_ms += SCHEDULE_SPACING_MS;
	return d->overflow_ms;
}

bool
host_closed(const struct item *it)
{
	return it->host != NULL && dest_closed(it->host, clock_mono_ms());
}

static void
item_start(struct schedule *s, struct item *it)
{
	it->state = ITEM_RUNNING;
	it->started_ms = clock_mono_ms();
	it->dest->in_flight++;
	if (it->dest->provider != NULL)
		provider_started(it->dest->provider, it->started_ms);
	s->in_flight++;
	s->stats.started++;
	s->ops->start(s->arg, it);
}

/* True when it stopped for its own bound, not for lack of work. */
bool
schedule_dispatch(struct schedule *s)
{
	for (unsigned n = 0; n < SCHEDULE_STARTS_MAX; n++) {
		struct dest *d = TAILQ_FIRST(&s->ring);

		if (d == NULL || s->in_flight >= s->conf->deliveries_max)
			return false;
		TAILQ_REMOVE(&s->ring, d, ring);
		d->in_ring = false;
		if (dest_closed(d, clock_mono_ms()))
			continue;
		struct replay_group *g = may_start_fresh(s, d) ? NULL : may_start_replay(s, d);
		if (g == NULL && !may_start_fresh(s, d))
			continue;
		struct item *it = g == NULL ? dest_pop(s, d) : lane_pop(g);
		if (host_closed(it))
			item_give_back(s, it, dest_slot(it->host, it->host->ready_ms));
		else
			item_start(s, it);
		dest_ready(s, d);	/* to the end of the ring: others come first */
	}
	return TAILQ_FIRST(&s->ring) != NULL;
}
