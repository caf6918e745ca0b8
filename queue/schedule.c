// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/legs_forward.h"
#include "queue/schedule_priv.h"

enum {
	SCHEDULE_IDLE_MS = 1000,
	SCHEDULE_SWEEP_MS = 30 * 1000,
	SCHEDULE_OVERFLOW_MS = 5 * 1000,	/* least pause of a leg that found no room */
	SCHEDULE_NUDGE_MS = 100,	/* lanes that wait for time are looked at so often */
	SCHEDULE_BUCKETS = 16384
};

/* ---- time ---- */

int64_t
schedule_now(struct schedule *s)
{
	/* Never the wall clock: a year forward would expire every forward leg at once, a
	 * year back would stop every retry. */
	return spool_now(s->spool);
}

static uint32_t
schedule_random(void)
{
	uint32_t r;

	crypto_random(&r, sizeof(r));
	return r;
}

/* ---- the window ---- */

static size_t
window_bucket(const struct schedule *s, struct spool_ref ref, enum leg_kind leg)
{
	uint64_t h = (ref.segment * 0x9e3779b97f4a7c15ULL) ^ ((uint64_t)ref.entry << 1 | leg);

	h *= 0xff51afd7ed558ccdULL;
	return (size_t)((h ^ h >> 32) % s->nbucket);
}

struct item *
window_find(const struct schedule *s, struct spool_ref ref, enum leg_kind leg)
{
	struct item *it = s->bucket[window_bucket(s, ref, leg)];

	while (it != NULL && (it->e.ref.segment != ref.segment || it->e.ref.entry != ref.entry ||
	    it->leg != leg))
		it = it->next;
	return it;
}

bool
window_room(const struct schedule *s)
{
	return s->nitem < s->conf->window_max;
}

static struct item *
window_add(struct schedule *s, const struct spool_entry *e, enum leg_kind leg)
{
	struct item *it = mem_new(sizeof(*it));
	size_t b = window_bucket(s, e->ref, leg);

	it->e = *e;
	it->leg = leg;
	it->next = s->bucket[b];
	s->bucket[b] = it;
	s->nitem++;
	return it;
}

static void
window_remove(struct schedule *s, struct item *it)
{
	struct item **at = &s->bucket[window_bucket(s, it->e.ref, it->leg)];

	while (*at != it)
		at = &(*at)->next;
	*at = it->next;
	s->nitem--;
	if (it->host != NULL)
		it->host->in_flight--;
	s->ops->forget(s->arg, it);
	free(it);
}

/* A destination that has to prove itself holds one leg; others a fair part. */
unsigned
schedule_share(const struct schedule *s, const struct dest *d)
{
	unsigned least = s->conf->connections_max * 4, part = s->conf->window_max / 8;

	if (d->failures > 0)
		return 1;
	if (s->nitem > s->conf->window_max / 2)
		part = 0;
	return part > least ? part : least;
}

/* ---- coming into the window ---- */

/* Backlog, and during a replay every second try too: what is no new mail (11.5). */
static bool
entry_replays(const struct schedule *s, const struct spool_entry *e)
{
	const struct failover_group *g = failover_find(s->failover, e->group);

	if (e->kind != RCPT_USER || g == NULL || g->phase != PHASE_REPLAY)
		return false;
	return e->leg[LEG_HOLD].state == LEG_PARKED || e->leg[LEG_HOLD].attempts > 0;
}

static void lane_empty(struct schedule *s, struct replay_group *g, int64_t at);

static enum enter
lane_enter(struct schedule *s, struct dest *d, const struct spool_entry *e, int64_t *at)
{
	struct replay_group *g = replay_get(s->replay, e->group);

	if (g->dest != NULL && g->dest != d) {	/* its route was changed */
		*at = clock_mono_ms() + SCHEDULE_NUDGE_MS;
		lane_empty(s, g, *at);
		if (g->dest != NULL)
			return ENTER_BUSY;
	}
	if (g->lane.queued >= schedule_share(s, d))
		return ENTER_FULL;
	struct item *it = window_add(s, e, LEG_HOLD);
	it->dest = d;
	it->state = ITEM_QUEUED;
	it->replay = g;
	lane_link(s, g, d);
	lane_put(&g->lane, it);
	dest_ready(s, d);
	return ENTER_IN;
}

enum enter
window_enter(struct schedule *s, const struct spool_entry *e, enum leg_kind leg, int64_t *at,
    char full_key[DEST_KEY_MAX])
{
	struct legs_route route;

	full_key[0] = '\0';
	if (!window_room(s))
		return ENTER_FULL;
	if (leg == LEG_FORWARD) {
		/* A part of the window, and of the look-ups, is kept for what is urgent. */
		bool urgent = forward_class(s->conf, e, schedule_now(s)) == 0;
		if (!urgent && s->nitem >= s->conf->window_max - s->conf->window_max / 8)
			return ENTER_FULL;
		if (s->resolving >= FEED_RESOLVING_MAX * (urgent ? 2 : 1))
			return ENTER_FULL;
		struct item *it = window_add(s, e, leg);
		it->state = ITEM_RESOLVING;
		s->resolving++;
		s->ops->resolve(s->arg, it);
		return ENTER_IN;
	}
	if (replay_route(s->replay, s->conf, s->failover, e, &route, full_key) < 0)
		return ENTER_NO_ROUTE;
	struct dest *d = dests_get(s->dests, full_key);
	if (dest_closed(d, clock_mono_ms())) {
		*at = d->ready_ms;
		return ENTER_BUSY;
	}
	if (entry_replays(s, e))
		return lane_enter(s, d, e, at);
	if (d->queued >= schedule_share(s, d))
		return ENTER_FULL;
	dest_queue(s, d, window_add(s, e, leg));
	return ENTER_IN;
}

/* ---- the ways out ---- */

void
schedule_write(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    const struct legs_change *to)
{
	if (spool_set(s->spool, e->ref, leg, &to->leg, slice_str(to->note)) < 0)
		return;
	if (to->leg.state != LEG_WAITING)
		return;
	int64_t wait = to->leg.next_ms - schedule_now(s);
	feed_poke(feed_get(s, e->group, leg), clock_mono_ms() + (wait > 0 ? wait : 0));
	schedule_kick(s);
}

void
schedule_again(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    int64_t after_ms)
{
	feed_poke(feed_get(s, e->group, leg), clock_mono_ms() + after_ms);
	schedule_kick(s);
}

void
schedule_settle(struct schedule *s, const struct spool_entry *e, enum leg_kind leg,
    const struct legs_change *to)
{
	if (leg != LEG_HOLD || to->leg.state != LEG_FAILED)
		schedule_write(s, e, leg, to);
	else if (!s->ops->bounce(s->arg, e, to))
		schedule_again(s, e, leg, FEED_RELAP_MS);
}

/* A forward leg keeps its attempts and its token and comes again later. */
static void
forward_put_off(struct schedule *s, const struct spool_entry *e, int64_t after_ms)
{
	struct spool_entry now;
	struct legs_change to;

	if (spool_get(s->spool, e->ref, &now) < 0 || now.leg[LEG_FORWARD].state != LEG_WAITING)
		return;
	to.leg = now.leg[LEG_FORWARD];
	to.leg.next_ms = schedule_now(s) + after_ms;
	if (spool_note(s->spool, e->ref, LEG_FORWARD, to.note, sizeof(to.note)) < 0)
		to.note[0] = '\0';
	s->stats.put_off++;
	schedule_write(s, &now, LEG_FORWARD, &to);
}

/* Back to the spool: it is found again at `at` (monotonic). */
void
item_give_back(struct schedule *s, struct item *it, int64_t at)
{
	int64_t wait = at - clock_mono_ms();

	if (it->leg == LEG_HOLD)
		feed_restart(feed_of(s, it), at);
	else
		forward_put_off(s, &it->e, wait > 0 ? wait : 0);
	window_remove(s, it);
}

int64_t
schedule_spread(int64_t ms)
{
	return ms <= 0 ? 0 : (int64_t)(schedule_random() % (uint64_t)ms);
}

static void
lane_empty(struct schedule *s, struct replay_group *g, int64_t at)
{
	struct item *it;

	while ((it = lane_evict(&g->lane)) != NULL) {
		it->replay = NULL;
		item_give_back(s, it, at);
	}
	lane_unlink_idle(s, g);
}

void
dest_evict(struct schedule *s, struct dest *d)
{
	struct replay_group *g, *next;

	for (g = TAILQ_FIRST(&d->lanes); g != NULL; g = next) {
		next = TAILQ_NEXT(g, link);
		lane_empty(s, g, d->ready_ms);
	}
	while (d->queued > 0) {
		struct item *it = dest_pop(s, d);

		item_give_back(s, it, it->leg == LEG_FORWARD ? dest_slot(d, dest_opens(d)) : d->ready_ms);
	}
}

void
schedule_place(struct schedule *s, struct item *it, const char *key)
{
	struct dest *d = dests_get(s->dests, key);
	int64_t now = clock_mono_ms();

	if (d->provider == NULL && strncmp(key, SCHEDULE_PROVIDER,
	    sizeof(SCHEDULE_PROVIDER) - 1) == 0) {
		d->provider = mem_new(sizeof(*d->provider));
		provider_init(d->provider, now);
		d->order = order_new();
	}
	CHECK(it->state == ITEM_RESOLVING);
	s->resolving--;
	schedule_kick(s);
	it->state = ITEM_QUEUED;
	if (dest_closed(d, now)) {
		item_give_back(s, it, dest_slot(d, dest_opens(d)));
		return;
	}
	if (host_closed(it)) {
		item_give_back(s, it, dest_slot(it->host, it->host->ready_ms));
		return;
	}
	if (d->queued >= schedule_share(s, d) && !make_room(s, d, it)) {
		item_give_back(s, it, dest_slot(d, now + SCHEDULE_OVERFLOW_MS));
		return;
	}
	dest_queue(s, d, it);
}

void
schedule_place_domain(struct schedule *s, struct item *it, const char *key, const char *domain)
{
	char host[DEST_KEY_MAX];
	int n = snprintf(host, sizeof(host), "host:%s", domain);

	if (n > 0 && n < (int)sizeof(host)) {
		it->host = dests_get(s->dests, host);
		it->host->in_flight++;
	}
	schedule_place(s, it, key);
}

void
schedule_at_relay(struct schedule *s, struct item *it, unsigned relay)
{
	(void)s;
	CHECK(it->state == ITEM_RUNNING && !it->at_relay && relay < ROLE_PEERS_MAX);
	it->relay = (uint8_t)relay;
	it->at_relay = true;
	it->dest->at_relay[relay]++;
}

void
schedule_from_relay(struct schedule *s, struct item *it)
{
	(void)s;
	if (it->at_relay)
		it->dest->at_relay[it->relay]--;
	it->at_relay = false;
}

void
schedule_replied(struct schedule *s, struct item *it, const struct queue_delivered *m)
{
	struct ramp_bounds b;

	if (it->replay == NULL)
		return;
	replay_bounds(s->conf, &b);
	ramp_reply(&it->dest->ramp, &b, replay_judge(m), m->latency_ms, it->started_ms,
	    clock_mono_ms());
	replay_replied(it->replay, m, it->e.size, clock_mono_ms());
}

void
schedule_finish(struct schedule *s, struct item *it, enum schedule_end end, int64_t after_ms)
{
	struct dest *d = it->dest;
	int64_t now = clock_mono_ms(), at = now + after_ms;

	lane_finish(s, it);
	if (it->state == ITEM_RESOLVING)
		s->resolving--;
	if (it->state == ITEM_RUNNING) {
		d->in_flight--;
		s->in_flight--;
		if (it->at_relay)
			d->at_relay[it->relay]--;
	}
	schedule_kick(s);
	switch (end) {
	case SCHEDULE_WORKED:
		dest_worked(d);
		if (it->host != NULL)
			dest_worked(it->host);
		window_remove(s, it);
		break;
	case SCHEDULE_NEUTRAL:
		window_remove(s, it);
		break;
	case SCHEDULE_AGAIN: {
		struct feed *f = feed_of(s, it);
		bool hold = it->leg == LEG_HOLD;

		item_give_back(s, it, at);
		if (hold)
			f->lap_ms = at;		/* not sooner: it would only fail again */
		break;
	}
	case SCHEDULE_HOST_FAILED: {
		struct dest *h = it->host != NULL ? it->host : d;

		dest_failed(h, it->started_ms, now, it->leg == LEG_HOLD ? DEST_BACKOFF_MAX_MS :
		    s->conf->retry_max_ms);
		log_info("destination-down", "dest=%s failures=%u pause_ms=%lld queued=%u",
		    it->leg == LEG_HOLD ? log_escs(h->key) : log_hash(slice_str(h->key)),
		    h->failures, (long long)h->backoff_ms, d->queued);
		item_give_back(s, it, h->ready_ms + (it->leg == LEG_FORWARD ?
		    schedule_spread(h->backoff_ms / 4) : 0));
		if (h == d)
			dest_evict(s, d);
		break;
	}
	}
	if (d != NULL)
		dest_ready(s, d);
}

/* ---- coming in ---- */

void
schedule_fresh(struct schedule *s, struct spool_ref ref)
{
	struct spool_entry e;
	struct legs_change to;
	char key[DEST_KEY_MAX];

	s->fresh_ms = clock_mono_ms();
	if (spool_get(s->spool, ref, &e) < 0)
		return;
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		enum leg_kind k = (enum leg_kind)leg;
		const struct failover_group *g = failover_find(s->failover, e.group);
		struct feed *f = feed_get(s, e.group, k);
		int64_t at = clock_mono_ms();

		if (window_find(s, ref, k) != NULL)
			continue;
		if (k == LEG_HOLD && g != NULL && g->phase == PHASE_REPLAY && legs_is_backlog(&e)) {
			feed_poke(feed_backlog(s, e.group), at);	/* in its place there */
			continue;
		}
		switch (legs_admit(s->conf, s->failover, &e, k, schedule_now(s), &to)) {
		case LEGS_SETTLE:
			schedule_settle(s, &e, k, &to);
			break;
		case LEGS_RUN:
			if (!s->stopped && window_enter(s, &e, k, &at, key) != ENTER_IN)
				feed_poke(f, at);
			break;
		case LEGS_READ:
			if (!s->ops->read(s->arg, &e))
				feed_poke(f, at + FEED_RELAP_MS);
			break;
		case LEGS_WAIT:
			feed_poke(f, at);
			break;
		case LEGS_PASS:
			break;
		}
	}
	schedule_kick(s);
}

static void
restart_backlog(struct schedule *s, uint64_t group)
{
	const struct failover_group *g = failover_find(s->failover, group);

	if (g != NULL && g->phase == PHASE_REPLAY)
		feed_restart(feed_backlog(s, group), clock_mono_ms());
}

void
schedule_restart(struct schedule *s, uint64_t group)
{
	feed_restart(feed_get(s, group, LEG_HOLD), clock_mono_ms());
	restart_backlog(s, group);
	schedule_kick(s);
}

void
schedule_reroute(struct schedule *s, uint64_t group)
{
	struct replay_group *g = replay_find(s->replay, group);

	if (g != NULL && g->dest != NULL)
		lane_empty(s, g, clock_mono_ms());
	schedule_restart(s, group);
}

unsigned
schedule_connections(const struct schedule *s, const struct item *it, unsigned relay)
{
	const struct dest *d = it->dest;
	unsigned all, fresh = d->in_flight - d->replaying;

	(void)s;
	if (d->replaying == 0)
		return 0;
	/* A relay has the share of the connections that it has of the deliveries. */
	all = fresh + (d->ramp.pause_ms > 0 || d->ramp.limit == 0 ? 1 : d->ramp.limit);
	unsigned here = all * (d->at_relay[relay] + 1u), part = d->in_flight > 0 ? d->in_flight : 1;
	return (here + part - 1) / part;
}

const struct ramp *
schedule_ramp(const struct schedule *s, uint64_t group)
{
	const struct replay_group *g = replay_find(s->replay, group);

	return g == NULL || g->dest == NULL ? NULL : &g->dest->ramp;
}

void
schedule_restart_forward(struct schedule *s)
{
	feed_restart(s->feed[0], clock_mono_ms());
	schedule_kick(s);
}

void
schedule_restart_all(struct schedule *s)
{
	for (size_t i = 0; i < failover_count(s->failover); i++)
		restart_backlog(s, failover_at(s->failover, i)->id);
	for (size_t i = 0; i < s->nfeed; i++)
		feed_restart(s->feed[i], clock_mono_ms());
	schedule_kick(s);
}

/* ---- turns and life ---- */

static void
dest_nudge(void *arg, struct dest *d)
{
	if (d->provider != NULL)
		dest_ready(arg, d);
}

/* A ramp's pause may be over, or a provider's pace: nothing else says so. */
static void
lanes_nudge(struct schedule *s, int64_t now)
{
	struct replay_group *g;

	if (now - s->nudged_ms < SCHEDULE_NUDGE_MS)
		return;
	s->nudged_ms = now;
	TAILQ_FOREACH(g, &s->active, active)
		dest_ready(s, g->dest);
	/* a second is soon enough for one connection more */
	if (s->paced || now - s->grown_ms >= SCHEDULE_IDLE_MS) {
		s->paced = false;
		s->grown_ms = now;
		dests_each(s->dests, dest_nudge, s);
	}
}

int64_t
schedule_turn(struct schedule *s)
{
	int64_t now = clock_mono_ms();
	bool more;

	s->kicked = false;
	(void)schedule_now(s);
	if (s->stopped)
		return SCHEDULE_IDLE_MS;
	if (now - s->swept_ms >= SCHEDULE_SWEEP_MS) {
		s->swept_ms = now;
		dests_sweep(s->dests, now);
	}
	lanes_nudge(s, now);
	more = schedule_dispatch(s);
	more |= feeds_turn(s);
	if (more || (TAILQ_FIRST(&s->ring) != NULL && s->in_flight < s->conf->deliveries_max))
		return 0;
	int64_t wait = feeds_next(s) - now;
	int64_t most = TAILQ_EMPTY(&s->active) && !s->paced ? SCHEDULE_IDLE_MS : SCHEDULE_NUDGE_MS;
	return wait < 1 ? 1 : wait > most ? most : wait;
}

static void
schedule_timer(void *arg)
{
	struct schedule *s = arg;
	int64_t wait = schedule_turn(s);

	if (!s->kicked)
		timer_arm(s->timer, wait);
}

void
schedule_kick(struct schedule *s)
{
	if (s->kicked)
		return;
	s->kicked = true;
	timer_arm(s->timer, 0);
}

struct schedule *
schedule_new(struct loop *l, const struct conf *c, struct spool *sp, struct failover *f,
    struct replay *r, const struct schedule_ops *ops, void *arg)
{
	struct schedule *s = mem_new(sizeof(*s));

	s->loop = l;
	s->conf = c;
	s->spool = sp;
	s->failover = f;
	s->replay = r;
	TAILQ_INIT(&s->active);
	s->ops = ops;
	s->arg = arg;
	s->swept_ms = clock_mono_ms();
	s->dests = dests_new();
	TAILQ_INIT(&s->ring);
	s->nbucket = SCHEDULE_BUCKETS;
	s->bucket = mem_array(s->nbucket, sizeof(struct item *));
	s->timer = timer_new(l, schedule_timer, s);
	feeds_init(s);
	schedule_kick(s);
	return s;
}

static void
item_discard(struct schedule *s, struct item *it)
{
	struct replay_group *g = it->replay;

	if (it->state == ITEM_QUEUED && g != NULL) {
		it->replay = NULL;
		lane_remove(&g->lane, it);
		lane_unlink_idle(s, g);
	} else if (it->state == ITEM_QUEUED) {
		if (it->dest->order != NULL)
			order_remove(it->dest->order, it);
		else
			TAILQ_REMOVE(&it->dest->queue, it, link);
		it->dest->queued--;
	}
	if (it->state == ITEM_RUNNING) {
		lane_finish(s, it);
		it->dest->in_flight--;
	}
	window_remove(s, it);
}

void
schedule_free(struct schedule **sp)
{
	struct schedule *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	timer_free(&s->timer);
	for (size_t i = 0; i < s->nbucket; i++)
		while (s->bucket[i] != NULL)
			item_discard(s, s->bucket[i]);
	for (struct dest *d = TAILQ_FIRST(&s->ring); d != NULL; d = TAILQ_FIRST(&s->ring)) {
		TAILQ_REMOVE(&s->ring, d, ring);
		d->in_ring = false;
	}
	dests_free(&s->dests);
	feeds_fini(s);
	free(s->bucket);
	free(s);
}

void
schedule_reload(struct schedule *s, const struct conf *c)
{
	s->conf = c;
	feeds_reload(s);
	schedule_restart_all(s);
}

void
schedule_stop(struct schedule *s)
{
	s->stopped = true;
}

unsigned
schedule_in_flight(const struct schedule *s)
{
	return s->in_flight;
}

bool
schedule_running(const struct schedule *s, struct spool_ref ref, enum leg_kind leg)
{
	const struct item *it = window_find(s, ref, leg);

	return it != NULL && it->state == ITEM_RUNNING;
}

unsigned
schedule_of_group(const struct schedule *s, uint64_t group)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->nbucket; i++)
		for (const struct item *it = s->bucket[i]; it != NULL; it = it->next)
			n += it->leg == LEG_HOLD && it->e.group == group;
	return n;
}

void
schedule_stats(const struct schedule *s, struct schedule_stats *out)
{
	*out = s->stats;
	out->window = s->nitem;
	out->in_flight = s->in_flight;
	out->destinations = dests_count(s->dests);
	out->closed = dests_closed(s->dests, clock_mono_ms());
}
