// SPDX-License-Identifier: Apache-2.0
#include "queue/switch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/phases.h"
#include "queue/walk.h"

enum { SWITCH_TICK_MS = 500 };

/* ---- sweeps ---- */

enum sweep_kind {
	SWEEP_ON,		/* hold legs join the backlog, forward legs are added */
	SWEEP_OFF,		/* forward legs end, refused hold legs get a new chance */
	SWEEP_RESUME,		/* after a crash in a sweep: forward legs end */
	SWEEP_START		/* after a crash: is there a backlog in standby? */
};

struct sweep {
	struct queue	*queue;
	uint64_t	 group;
	enum sweep_kind	 kind;
	struct walk	*walk;
	uint64_t	 changed;
	struct sweep	*next;
};

static void
sweep_remove(struct sweep *w)
{
	struct sweep **at = &w->queue->sweeps;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

static void
sweep_leg(struct sweep *w, const struct spool_entry *e, enum leg_kind leg)
{
	struct queue *q = w->queue;
	struct legs_change to;
	char note[LEGS_NOTE_MAX] = "";
	bool change;

	if (leg == LEG_FORWARD && e->leg[leg].state == LEG_SKIPPED &&
	    spool_note(q->spool, e->ref, leg, note, sizeof(note)) < 0)
		note[0] = '\0';
	if (w->kind == SWEEP_ON)
		change = legs_switch_on(q->role->conf, e, leg, note, schedule_now(q->schedule), &to);
	else
		change = legs_switch_off(e, leg, note, &to);
	if (!change)
		return;
	w->changed++;
	schedule_write(q->schedule, e, leg, &to);
}

static bool
sweep_visit(void *arg, const struct spool_entry *e)
{
	struct sweep *w = arg;

	if (w->kind == SWEEP_START) {
		w->changed += legs_is_backlog(e);
		return w->changed == 0;
	}
	if (w->kind != SWEEP_RESUME)
		sweep_leg(w, e, LEG_HOLD);
	sweep_leg(w, e, LEG_FORWARD);
	return true;
}

static void
sweep_done(void *arg, bool end, struct spool_cursor at)
{
	struct sweep *w = arg;
	struct queue *q = w->queue;
	struct failover_group *g = failover_find(q->failover, w->group);

	(void)end;
	(void)at;
	if (w->kind == SWEEP_START && w->changed > 0 && g != NULL && g->phase == PHASE_STANDBY)
		(void)queue_phase(q, g, PHASE_REPLAY, "backlog found at start", NULL);
	if (w->changed > 0 && w->kind != SWEEP_START && g != NULL)
		log_info("sweep", "domain=%s shard=%s kind=%s legs=%llu", log_escs(g->domain),
		    log_escs(g->shard), w->kind == SWEEP_ON ? "on" : "off",
		    (unsigned long long)w->changed);
	schedule_restart(q->schedule, w->group);
	schedule_restart_forward(q->schedule);
	sweep_remove(w);
}

static void
sweep_start(struct queue *q, const struct failover_group *g, enum sweep_kind kind)
{
	struct spool_filter f = { .group = g->id, .due_ms = INT64_MAX };

	if (kind == SWEEP_ON)
		tally_period(q->tally, g->id, g->since_ms);

	for (struct sweep *w = q->sweeps, *next; w != NULL; w = next) {
		next = w->next;
		if (w->group != g->id)
			continue;
		walk_cancel(&w->walk);		/* overtaken */
		sweep_remove(w);
	}
	if (kind == SWEEP_RESUME)
		f.states[LEG_FORWARD] = 1u << LEG_WAITING;
	else if (kind != SWEEP_OFF)
		f.states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
	struct sweep *w = mem_new(sizeof(*w));
	w->queue = q;
	w->group = g->id;
	w->kind = kind;
	w->next = q->sweeps;
	q->sweeps = w;
	w->walk = walk_start(q->role->loop, q->spool, &f, (struct spool_cursor){ 0 }, sweep_visit,
	    sweep_done, w);
}

bool
switch_sweeping(const struct queue *q, uint64_t group)
{
	for (const struct sweep *w = q->sweeps; w != NULL; w = w->next)
		if (w->group == group)
			return true;
	return false;
}

/* ---- changes ---- */

static void
switch_follow(struct queue *q, const struct failover_group *g, enum failover_phase was)
{
	if (g->phase == was)
		return;
	phases_tell(q, g);
	if (g->phase == PHASE_ACTIVE)
		sweep_start(q, g, SWEEP_ON);
	else if (was == PHASE_ACTIVE)
		sweep_start(q, g, SWEEP_OFF);
	schedule_restart_all(q->schedule);	/* postmaster mail of others may hang on it */
}

int
queue_switch_until(struct queue *q, struct failover_group *g, enum conf_failover mode,
    int64_t until_ms, struct audit_who who, const char *reason)
{
	enum failover_phase was = g->phase;

	if (failover_set_mode_until(q->failover, g, mode, until_ms, who, reason) < 0)
		return -1;
	switch_follow(q, g, was);
	return 0;
}

int
queue_switch(struct queue *q, struct failover_group *g, enum conf_failover mode,
    struct audit_who who, const char *reason)
{
	return queue_switch_until(q, g, mode, 0, who, reason);
}

int
queue_phase(struct queue *q, struct failover_group *g, enum failover_phase p,
    const char *reason, struct json_t *evidence)
{
	enum failover_phase was = g->phase;

	if (failover_set_phase_why(q->failover, g, p, reason, evidence) < 0) {
		log_error("failover-state", "error=%s", log_escs(strerror(errno)));
		return -1;
	}
	switch_follow(q, g, was);
	return 0;
}

/* ---- clockwork ---- */

static void
switch_expire(struct queue *q, int64_t now)
{
	struct failover_group *g;

	while ((g = failover_expired(q->failover, now)) != NULL) {
		enum failover_phase was = g->phase;

		if (failover_expire(q->failover, g) < 0) {	/* a full disk: again at the next tick */
			log_error("failover-state", "error=%s", log_escs(strerror(errno)));
			return;
		}
		switch_follow(q, g, was);
	}
}

/* On for longer already is what the window wants. */
static bool
window_adds(const struct failover_group *g, const struct failover_window *w)
{
	if (!g->served || strcmp(g->domain, w->domain) != 0)
		return false;
	if (w->shard != NULL && strcmp(w->shard, g->shard) != 0)
		return false;
	return g->mode != FAILOVER_ON || (g->until_ms != 0 && g->until_ms < w->until_ms);
}

static int
window_apply(struct queue *q, const struct failover_window *w)
{
	char why[FAILOVER_REASON_MAX];

	(void)snprintf(why, sizeof(why), "window %llu: %.400s", (unsigned long long)w->id,
	    w->reason);
	for (size_t i = 0; i < failover_count(q->failover); i++) {
		struct failover_group *g = failover_at(q->failover, i);

		if (window_adds(g, w) && queue_switch_until(q, g, FAILOVER_ON, w->until_ms, w->who,
		    why) < 0)
			return -1;
	}
	return 0;
}

/* Switched first, then forgotten: a crash between the two only repeats what is no change. */
static void
switch_windows(struct queue *q, int64_t now)
{
	const struct failover_window *w;

	while ((w = failover_window_due(q->failover, now)) != NULL) {
		bool missed = w->until_ms <= now;

		if ((!missed && window_apply(q, w) < 0) ||
		    failover_window_begun(q->failover, w->id, missed) < 0) {
			log_error("failover-state", "error=%s", log_escs(strerror(errno)));
			return;
		}
	}
}

void
switch_tick(struct queue *q)
{
	int64_t now = clock_wall_ms();

	switch_expire(q, now);
	switch_windows(q, now);
}

static void
switch_timer(void *arg)
{
	struct queue *q = arg;

	switch_tick(q);
	timer_arm(q->clockwork, SWITCH_TICK_MS);
}

void
switch_init(struct queue *q)
{
	for (size_t i = 0; i < failover_count(q->failover); i++) {
		const struct failover_group *g = failover_at(q->failover, i);

		if (!g->served)
			continue;
		if (g->phase == PHASE_ACTIVE)
			sweep_start(q, g, SWEEP_ON);
		else if (g->phase == PHASE_REPLAY)
			sweep_start(q, g, SWEEP_RESUME);
		else
			sweep_start(q, g, SWEEP_START);
	}
	q->clockwork = timer_new(q->role->loop, switch_timer, q);
	timer_arm(q->clockwork, 0);
}

void
switch_fini(struct queue *q)
{
	timer_free(&q->clockwork);
	for (struct sweep *w = q->sweeps, *next; w != NULL; w = next) {
		next = w->next;
		walk_cancel(&w->walk);
		sweep_remove(w);
	}
}
