// SPDX-License-Identifier: Apache-2.0
#include "queue/replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "queue/legs.h"
#include "queue/replay_priv.h"

static void
group_free(struct replay_group *g)
{
	lane_fini(&g->lane);
	if (g->to != NULL)
		conf_route_fini(&g->route);
	free(g->to);
	free(g->reason);
	free(g);
}

void
replay_free(struct replay **rp)
{
	struct replay *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < REPLAY_BUCKETS; i++) {
		while (r->bucket[i] != NULL) {
			struct replay_group *g = r->bucket[i];

			r->bucket[i] = g->next;
			group_free(g);
		}
	}
	free(r);
}

struct replay_group *
replay_find(const struct replay *r, uint64_t group)
{
	struct replay_group *g = r->bucket[(group ^ group >> 32) % REPLAY_BUCKETS];

	while (g != NULL && g->id != group)
		g = g->next;
	return g;
}

struct replay_group *
replay_get(struct replay *r, uint64_t group)
{
	struct replay_group *g = replay_find(r, group);

	if (g != NULL)
		return g;
	g = mem_new(sizeof(*g));
	g->id = group;
	lane_init(&g->lane);
	struct replay_group **at = &r->bucket[(group ^ group >> 32) % REPLAY_BUCKETS];
	g->next = *at;
	*at = g;
	return g;
}

/* ---- what may start, and where it goes ---- */

enum { REPLAY_BURST_US = 1000 * 1000 };	/* what a rate may make up for */

bool
replay_may(const struct replay_group *g, int64_t now)
{
	return !g->paused && (g->rate == 0 || g->due_us - now * 1000 <= 0);
}

void
replay_started(struct replay_group *g, int64_t now, int64_t now_wall_ms)
{
	if (g->begun_ms == 0)
		g->begun_ms = now_wall_ms;
	if (g->rate == 0)
		return;
	if (g->due_us < now * 1000 - REPLAY_BURST_US)
		g->due_us = now * 1000 - REPLAY_BURST_US;
	g->due_us += 60LL * 1000 * 1000 / g->rate;
}

int
replay_route(const struct replay *r, const struct conf *c, struct failover *f,
    const struct spool_entry *e, struct legs_route *out, char *key)
{
	const struct replay_group *g = e->kind == RCPT_USER ? replay_find(r, e->group) : NULL;

	if (g == NULL || g->to == NULL)
		return legs_route_hold(c, f, e, out, key);
	if (legs_route_hold(c, f, e, out, NULL) < 0)
		return -1;
	out->kind = g->route.kind;
	out->host = g->route.host;
	out->port = g->route.port;
	return key == NULL ? 0 : legs_route_key(out, key);
}

/* ---- replies ---- */

bool
replay_over_quota(const struct queue_delivered *m)
{
	return slice_eq(m->enhanced, SLICE_LIT("5.2.2")) || slice_eq(m->enhanced, SLICE_LIT("4.2.2"));
}

enum ramp_reply
replay_judge(const struct queue_delivered *m)
{
	switch ((enum deliver_outcome)m->outcome) {
	case DELIVER_OK:
	case DELIVER_LOCAL:
		return RAMP_ANSWERED;
	case DELIVER_TEMP:
		if (m->code == 0)
			return RAMP_LOST;
		return replay_over_quota(m) ? RAMP_ANSWERED : RAMP_DEFERRED;
	case DELIVER_PERM:
		return m->scope == SCOPE_HOST ? RAMP_DEFERRED : RAMP_ANSWERED;
	case DELIVER_UNKNOWN:
	case DELIVER_MAX:
		break;
	}
	return RAMP_LOST;
}

/* ---- progress ---- */

static void
slots_advance(struct replay_group *g, int64_t now)
{
	int64_t no = now / REPLAY_SLOT_MS;

	if (no - g->slot_no >= REPLAY_SLOTS || no < g->slot_no)
		memset(g->slot, 0, sizeof(g->slot));
	else
		while (g->slot_no < no)
			g->slot[++g->slot_no % REPLAY_SLOTS] = 0;
	g->slot_no = no;
}

void
replay_replied(struct replay_group *g, const struct queue_delivered *m, uint64_t size, int64_t now)
{
	slots_advance(g, now);
	if (m->outcome == DELIVER_OK) {
		g->count.delivered++;
		g->count.bytes += size;
		g->slot[now / REPLAY_SLOT_MS % REPLAY_SLOTS]++;
	} else if (replay_over_quota(m)) {
		g->count.over_quota++;
	} else if (replay_judge(m) == RAMP_LOST) {
		g->count.lost++;
	} else if (replay_judge(m) == RAMP_DEFERRED) {
		g->count.deferred++;
	} else {
		g->count.refused++;
	}
}

void
replay_over(struct replay_group *g)
{
	g->begun_ms = 0;
	memset(&g->count, 0, sizeof(g->count));
	memset(g->slot, 0, sizeof(g->slot));
}

double
replay_rate(const struct replay_group *g, int64_t now, int64_t now_wall_ms)
{
	struct replay_group copy = *g;
	uint64_t n = 0;
	int64_t span = (REPLAY_SLOTS - 1) * REPLAY_SLOT_MS + now % REPLAY_SLOT_MS;

	if (g->begun_ms == 0)
		return 0;
	slots_advance(&copy, now);
	for (size_t i = 0; i < REPLAY_SLOTS; i++)
		n += copy.slot[i];
	if (now_wall_ms - g->begun_ms < span)
		span = now_wall_ms - g->begun_ms;
	return (double)n * 1000 / (double)(span < 1000 ? 1000 : span);
}

void
replay_bounds(const struct conf *c, struct ramp_bounds *out)
{
	*out = (struct ramp_bounds){ .step_ms = c->replay_step_ms, .target_ms = c->replay_latency_ms,
		.ceiling = c->replay_connections_max };
}
