// SPDX-License-Identifier: Apache-2.0
/*
 * Feeds walk the spool's index in laps, oldest first, and put what is due into the window.
 * A lap that finds its destination closed is not continued: the feed starts again from the
 * oldest when the pause is over. That keeps the order of a replay, and makes a dead
 * primary with a million legs cost one look per pause.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/schedule_priv.h"

static struct feed *
feed_new(struct schedule *s, uint64_t group, enum leg_kind leg)
{
	struct feed *f = mem_new(sizeof(*f));

	f->group = group;
	f->leg = leg;
	s->feed = mem_resize(s->feed, s->nfeed + 1, sizeof(struct feed *));
	s->feed[s->nfeed++] = f;
	feed_restart(f, clock_mono_ms());
	return f;
}

static struct feed *
feed_find(struct schedule *s, uint64_t group, bool backlog)
{
	for (size_t i = 1; i < s->nfeed; i++)
		if (s->feed[i]->group == group && s->feed[i]->backlog_only == backlog)
			return s->feed[i];
	return NULL;
}

struct feed *
feed_get(struct schedule *s, uint64_t group, enum leg_kind leg)
{
	if (leg == LEG_FORWARD)
		return s->feed[0];
	struct feed *f = feed_find(s, group, false);
	return f != NULL ? f : feed_new(s, group, LEG_HOLD);
}

struct feed *
feed_backlog(struct schedule *s, uint64_t group)
{
	struct feed *f = feed_find(s, group, true);

	if (f == NULL) {
		f = feed_new(s, group, LEG_HOLD);
		f->backlog_only = true;
	}
	return f;
}

struct feed *
feed_of(struct schedule *s, const struct item *it)
{
	if (it->leg == LEG_HOLD && it->e.leg[LEG_HOLD].state == LEG_PARKED)
		return feed_backlog(s, it->e.group);
	return feed_get(s, it->e.group, (enum leg_kind)it->leg);
}

void
feeds_reload(struct schedule *s)
{
	const char *fwd = s->conf->forwarder.domain;

	for (size_t i = 0; i < failover_count(s->failover); i++) {
		const struct failover_group *g = failover_at(s->failover, i);

		(void)feed_get(s, g->id, LEG_HOLD);
		if (g->phase == PHASE_REPLAY)
			(void)feed_backlog(s, g->id);
	}
	/* Mail to the return-path domain itself: its postmaster, and bounces. */
	if (fwd != NULL)
		(void)feed_get(s, spool_group(slice_str(fwd), SLICE_NONE), LEG_HOLD);
}

void
feeds_init(struct schedule *s)
{
	(void)feed_new(s, 0, LEG_FORWARD);
	feeds_reload(s);
}

void
feeds_fini(struct schedule *s)
{
	for (size_t i = 0; i < s->nfeed; i++) {
		free(s->feed[i]->full);
		free(s->feed[i]);
	}
	free(s->feed);
	s->feed = NULL;
	s->nfeed = 0;
}

static void
feed_unblock(struct feed *f)
{
	free(f->full);
	f->full = NULL;
}

void
feed_restart(struct feed *f, int64_t at)
{
	f->lap_ms = f->lap || f->lap_ms > at ? at : f->lap_ms;
	f->cursor = (struct spool_cursor){ 0 };
	f->lap = false;
	feed_unblock(f);
}

void
feed_poke(struct feed *f, int64_t at)
{
	int64_t *when = f->lap ? &f->next_ms : &f->lap_ms;

	if (*when > at)
		*when = at;
}

struct feed_visit {
	struct schedule	*s;
	struct feed	*f;
	int64_t		 wall_ms, mono_ms;
	bool		 rewind;	/* the last entry found no room: see it again */
	bool		 restart;	/* the destination is closed: lap over */
};

static bool
feed_enter(struct feed_visit *v, const struct spool_entry *e)
{
	struct feed *f = v->f;
	char key[DEST_KEY_MAX] = "";
	int64_t at = 0;

	switch (window_enter(v->s, e, f->leg, &at, key)) {
	case ENTER_IN:
		f->busy = 0;
		feed_poke(f, v->mono_ms + FEED_RELAP_MS);
		if (f->leg == LEG_FORWARD && v->s->yield_ms != 0 &&
		    ++v->s->yielded >= FEED_YIELD_ENTER)
			return false;
		return window_room(v->s);
	case ENTER_BUSY:
		feed_poke(f, at);
		v->restart = ++f->busy >= FEED_BUSY_MAX;
		return !v->restart;
	case ENTER_FULL:
		/* A second try without room must not stop new mail behind it. */
		if (f->leg == LEG_HOLD && !f->backlog_only && e->leg[LEG_HOLD].attempts > 0) {
			feed_poke(f, v->mono_ms + FEED_RELAP_MS);
			return true;
		}
		feed_unblock(f);
		f->full = mem_str(key);
		v->rewind = true;
		return false;
	case ENTER_NO_ROUTE:
		feed_poke(f, v->mono_ms + FEED_NO_ROUTE_MS);
		return true;
	}
	return true;
}

static bool
feed_visit(void *arg, const struct spool_entry *e)
{
	struct feed_visit *v = arg;
	struct schedule *s = v->s;
	struct legs_change to;

	if (v->f->leg == LEG_HOLD && legs_is_backlog(e))
		v->f->backlog++;
	if (window_find(s, e->ref, v->f->leg) != NULL) {
		feed_poke(v->f, v->mono_ms + FEED_RELAP_MS);
		return true;
	}
	switch (legs_admit(s->conf, s->failover, e, v->f->leg, v->wall_ms, &to)) {
	case LEGS_PASS:
		return true;
	case LEGS_WAIT:
		feed_poke(v->f, v->mono_ms + e->leg[v->f->leg].next_ms - v->wall_ms);
		return true;
	case LEGS_SETTLE:
		schedule_settle(s, e, v->f->leg, &to);
		return true;
	case LEGS_READ:
		if (!s->ops->read(s->arg, e))
			feed_poke(v->f, v->mono_ms + FEED_RELAP_MS);
		return true;
	case LEGS_RUN:
		return feed_enter(v, e);
	}
	return true;
}

static void
feed_filter(const struct schedule *s, const struct feed *f, struct spool_filter *out)
{
	const struct failover_group *g = failover_find(s->failover, f->group);

	*out = (struct spool_filter){ .group = f->group, .due_ms = INT64_MAX };
	out->states[f->leg] = 1u << (f->backlog_only ? LEG_PARKED : LEG_WAITING);
	if (f->leg == LEG_HOLD && g == NULL)
		out->states[LEG_HOLD] |= 1u << LEG_PARKED;
}

/* The backlog is nobody's business outside of a replay. */
static bool
feed_asleep(const struct schedule *s, struct feed *f)
{
	const struct failover_group *g = failover_find(s->failover, f->group);

	if (!f->backlog_only || (g != NULL && g->phase == PHASE_REPLAY))
		return false;
	f->lap = false;
	f->lap_ms = INT64_MAX;
	feed_unblock(f);
	return true;
}

static void
feed_lap_end(struct schedule *s, struct feed *f, int64_t now)
{
	const struct failover_group *g = failover_find(s->failover, f->group);
	int64_t soonest = now + FEED_PAUSE_MS + (int64_t)(f->looked / 1000);
	int64_t latest = now + FEED_IDLE_MS + (int64_t)(f->looked / 20);

	f->lap = false;
	f->cursor = (struct spool_cursor){ 0 };
	f->lap_ms = f->next_ms < soonest ? soonest : f->next_ms > latest ? latest : f->next_ms;
	s->stats.laps++;
	if (g == NULL || g->phase != PHASE_REPLAY || f->leg != LEG_HOLD)
		return;
	if (!f->backlog_only)
		(void)feed_backlog(s, f->group);	/* however the phase began */
	else if (f->backlog == 0)
		s->ops->drained(s->arg, f->group);
}

static bool
feed_blocked(struct schedule *s, struct feed *f)
{
	if (!window_room(s))
		return true;
	if (f->leg == LEG_FORWARD && s->resolving >= FEED_RESOLVING_MAX)
		return true;
	if (f->full == NULL)
		return false;
	struct dest *d = dests_find(s->dests, f->full);
	const struct replay_group *g = replay_find(s->replay, f->group);
	unsigned queued = d == NULL ? 0 : f->backlog_only && g != NULL ? g->lane.queued : d->queued;
	if (d != NULL && queued > schedule_share(s, d) / 2)
		return true;
	feed_unblock(f);
	return false;
}

/*
 * Ten million copies for a host that is dead are looked up, found closed and put off one by
 * one; at full speed that would take the queue's time from the mail that is coming in. So
 * while there is some, legs out of the backlog stand back. Fresh ones do not come this way.
 */
static bool
feed_yields(struct schedule *s, const struct feed *f, int64_t now)
{
	if (f->leg != LEG_FORWARD)
		return false;
	if (s->fresh_ms == 0 || now - s->fresh_ms > FEED_CALM_MS) {
		s->yield_ms = 0;
		return false;
	}
	if (s->yield_ms > now)
		return true;
	s->yield_ms = now + FEED_YIELD_MS;
	s->yielded = 0;
	return false;
}

/* Returns entries looked at; sets *more when this feed could go on at once. */
static size_t
feed_turn(struct schedule *s, struct feed *f, size_t budget, int64_t now, bool *more)
{
	struct feed_visit v = { .s = s, .f = f, .mono_ms = now };
	struct spool_filter filter;
	bool end = false;

	if (feed_asleep(s, f) || (!f->lap && f->lap_ms > now))
		return 0;
	if (!f->lap) {
		f->lap = true;
		f->cursor = (struct spool_cursor){ 0 };
		f->next_ms = INT64_MAX;
		f->lap_ms = INT64_MAX;
		f->looked = f->backlog = 0;
		f->busy = 0;
	}
	if (feed_blocked(s, f)) {	/* what makes room wakes it */
		if (f->leg == LEG_FORWARD)
			s->yield_ms = 0;
		return 0;
	}
	if (feed_yields(s, f, now))
		return 0;
	if (f->leg == LEG_FORWARD && s->yield_ms != 0 && budget > FEED_YIELD_LOOK)
		budget = FEED_YIELD_LOOK;
	feed_filter(s, f, &filter);
	v.wall_ms = schedule_now(s);
	struct spool_cursor before = f->cursor;
	size_t n = spool_scan(s->spool, &f->cursor, &filter, budget, feed_visit, &v, &end);
	f->looked += n;
	if (!f->lap)		/* restarted from within (a start that failed at once) */
		return n;
	if (v.rewind) {
		f->cursor = before;
	} else if (v.restart) {
		int64_t at = f->next_ms;

		feed_restart(f, at);
		f->lap_ms = at;
	} else if (end) {
		feed_lap_end(s, f, now);
	} else if (f->leg != LEG_FORWARD || s->yield_ms == 0) {
		*more = true;
	}
	return n;
}

bool
feeds_turn(struct schedule *s)
{
	size_t left = FEED_TURN_MAX, count = s->nfeed;
	int64_t now = clock_mono_ms();
	bool more = false;

	for (size_t i = 0; i < count && left > 0; i++) {
		struct feed *f = s->feed[s->feed_next++ % s->nfeed];
		size_t slice = left < FEED_SLICE_MAX ? left : FEED_SLICE_MAX;
		size_t n = feed_turn(s, f, slice, now, &more);

		left -= n < left ? n : left;
	}
	return more || left == 0;
}

int64_t
feeds_next(const struct schedule *s)
{
	int64_t at = s->yield_ms != 0 && s->feed[0]->lap ? s->yield_ms : INT64_MAX;

	for (size_t i = 0; i < s->nfeed; i++)
		if (!s->feed[i]->lap && s->feed[i]->lap_ms < at)
			at = s->feed[i]->lap_ms;
	return at;
}
