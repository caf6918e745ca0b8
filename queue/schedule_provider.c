// SPDX-License-Identifier: Apache-2.0
/* The part of the schedule that is about providers: limits, pace, closing, room. */
#include "base/clock.h"
#include "base/mem.h"
#include "queue/legs_forward.h"
#include "queue/schedule_priv.h"

enum { SCHEDULE_SHED_MS = 60 * 1000 };	/* pause of a leg that gave way */

static const struct conf_provider *
schedule_provider(const struct schedule *s, const struct dest *d)
{
	return conf_provider_find(s->conf, slice_str(d->key + sizeof(SCHEDULE_PROVIDER) - 1));
}

unsigned
schedule_limit(const struct schedule *s, const struct dest *d)
{
	if (d->provider == NULL || d->failures > 0)
		return dest_limit(d, s->conf->connections_max);
	return provider_limit(d->provider, schedule_provider(s, d), clock_mono_ms());
}

bool
provider_ready(struct schedule *s, const struct dest *d)
{
	int64_t now = clock_mono_ms();

	if (d->provider == NULL || provider_next(d->provider, schedule_provider(s, d), now) <= now)
		return true;
	s->paced = true;	/* only time makes it ready again */
	return false;
}

/* 8.7: what is served last goes back for what is served sooner. What is urgent stays in any
 * case: its bound is the part of the window that is kept for it. */
bool
make_room(struct schedule *s, struct dest *d, const struct item *it)
{
	unsigned class = forward_class(s->conf, &it->e, schedule_now(s));
	struct item *last = d->order == NULL ? NULL : order_shed(d->order, class);

	if (last == NULL)
		return d->order != NULL && class == 0;
	d->queued--;
	item_give_back(s, last, clock_mono_ms() + SCHEDULE_SHED_MS + schedule_spread(SCHEDULE_SHED_MS));
	return true;
}

struct each_provider {
	void	(*fn)(void *arg, const char *group);
	void	*arg;
};

static void
each_dest(void *arg, struct dest *d)
{
	const struct each_provider *e = arg;

	if (d->provider != NULL)
		e->fn(e->arg, d->key + sizeof(SCHEDULE_PROVIDER) - 1);
}

void
schedule_providers(struct schedule *s, void (*fn)(void *arg, const char *group), void *arg)
{
	struct each_provider e = { fn, arg };

	dests_each(s->dests, each_dest, &e);
}

bool
schedule_close(struct schedule *s, const struct item *it, int64_t pause_ms, bool slower)
{
	struct dest *d = it->dest;
	int64_t now = clock_mono_ms();

	CHECK(it->state == ITEM_RUNNING && d->provider != NULL);
	if (!provider_close(d->provider, it->started_ms, now, now + pause_ms, slower))
		return false;
	dest_evict(s, d);
	return true;
}
