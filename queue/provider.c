// SPDX-License-Identifier: Apache-2.0
#include "queue/provider.h"

enum {
	SECOND_MS = 1000, LOOK_MS = 10 * SECOND_MS, MINUTE_MS = 60 * SECOND_MS,
	PACE_MAX_MS = 60 * 1000,
	PACE_FORGET = 16	/* halvings after which a pace is no bound any more */
};

void
provider_init(struct provider *p, int64_t now)
{
	*p = (struct provider){ .since_ms = now, .closed_ms = INT64_MIN, .hit_ms = INT64_MIN,
		.minute_ms = now, .last_ms = INT64_MIN };
}

/* A provider that complained once starts slowly, whatever the configuration says. */
static int64_t
provider_step(const struct provider *p, const struct conf_provider *c)
{
	if (c->slow_start_ms > 0)
		return c->slow_start_ms;
	return p->hit_ms == INT64_MIN ? 0 : MINUTE_MS;
}

static int64_t
provider_steps(const struct provider *p, const struct conf_provider *c, int64_t now)
{
	int64_t step = provider_step(p, c);

	return step == 0 || now < p->since_ms ? 0 : (now - p->since_ms) / step;
}

unsigned
provider_limit(const struct provider *p, const struct conf_provider *c, int64_t now)
{
	int64_t n = 1 + provider_steps(p, c, now);

	if (provider_step(p, c) == 0 || n > (int64_t)c->connections)
		return c->connections;
	return (unsigned)n;
}

int64_t
provider_next(const struct provider *p, const struct conf_provider *c, int64_t now)
{
	int64_t steps = provider_steps(p, c, now);

	if (now < p->closed_ms)
		return p->closed_ms;
	if (p->pace_ms == 0 || p->last_ms == INT64_MIN || steps >= PACE_FORGET)
		return now;
	return p->last_ms + (p->pace_ms >> steps);
}

void
provider_started(struct provider *p, int64_t now)
{
	if (now - p->minute_ms >= MINUTE_MS) {
		p->before = now - p->minute_ms < 2 * MINUTE_MS ? p->started : 0;
		p->started = 0;
		p->minute_ms = now;
	}
	p->started++;
	p->last_ms = now;
}

/* Time between two starts at half the rate seen lately. */
static int64_t
provider_half(const struct provider *p, int64_t now)
{
	int64_t span = now - p->minute_ms, pace;
	unsigned n = p->started;

	if (span < LOOK_MS && p->before > 0) {	/* the minute has just begun */
		span += MINUTE_MS;
		n += p->before;
	}
	if (span < SECOND_MS)
		span = SECOND_MS;
	pace = n == 0 ? PACE_MAX_MS : 2 * span / (int64_t)n;
	return pace > PACE_MAX_MS ? PACE_MAX_MS : pace;
}

bool
provider_close(struct provider *p, int64_t started, int64_t now, int64_t until, bool slower)
{
	if (p->hit_ms != INT64_MIN && started <= p->hit_ms)
		return false;
	if (slower)
		p->pace_ms = provider_half(p, now);
	p->hit_ms = now;
	p->closed_ms = p->since_ms = until;
	p->started = p->before = 0;
	p->last_ms = INT64_MIN;
	return true;
}
