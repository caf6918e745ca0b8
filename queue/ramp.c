// SPDX-License-Identifier: Apache-2.0
#include "queue/ramp.h"

#include <string.h>

/* ---- latencies ---- */

/* The upper end of bucket i: 2^(i/4) ms, in whole milliseconds. */
static int64_t
bucket_top(unsigned i)
{
	static const unsigned quarter[4] = { 1000, 1189, 1414, 1682 };

	return (int64_t)(((uint64_t)quarter[i % 4] << (i / 4)) + 999) / 1000;
}

static unsigned
bucket_of(int64_t ms)
{
	unsigned i = 0;

	while (i < RAMP_BUCKETS - 1 && bucket_top(i) < ms)
		i++;
	return i;
}

static int64_t
percentile(const struct ramp *r)
{
	unsigned n = 0, at, sum = 0;

	for (unsigned i = 0; i < RAMP_BUCKETS; i++)
		n += r->bucket[i];
	if (n == 0)
		return -1;
	at = n - n / 20;	/* the first with 95 % at or below it */
	for (unsigned i = 0; i < RAMP_BUCKETS; i++) {
		sum += r->bucket[i];
		if (sum >= at)
			return bucket_top(i);
	}
	return bucket_top(RAMP_BUCKETS - 1);
}

int64_t
ramp_p95(const struct ramp *r)
{
	int64_t now = percentile(r);

	return r->replies >= RAMP_LEAST || r->p95_ms <= 0 ? now : r->p95_ms;
}

/* ---- steps ---- */

static void
step_begin(struct ramp *r, int64_t now)
{
	int64_t p = percentile(r);

	if (p >= 0)
		r->p95_ms = p;
	r->step_ms = now;
	r->replies = r->failures = 0;
	memset(r->bucket, 0, sizeof(r->bucket));
}

static void
ramp_begin(struct ramp *r, int64_t now)
{
	*r = (struct ramp){ .limit = 1, .step_ms = now, .used_ms = now, .halved_ms = INT64_MIN,
		.quiet_ms = INT64_MIN, .p95_ms = -1 };
}

static void
ramp_half(struct ramp *r, int64_t now)
{
	r->limit = r->limit > 1 ? r->limit / 2 : 1;
	r->halved_ms = now;
}

static void
step_end(struct ramp *r, const struct ramp_bounds *b, int64_t now)
{
	int64_t p = percentile(r);
	bool proven = r->replies >= RAMP_LEAST && r->failures == 0;

	if (proven && p < b->target_ms)
		r->limit *= 2;
	else if (r->replies >= RAMP_LEAST && p >= 2 * b->target_ms)
		ramp_half(r, now);
	step_begin(r, now);
}

bool
ramp_idle(const struct ramp *r, const struct ramp_bounds *b, int64_t now)
{
	return r->limit == 0 || now - r->used_ms > RAMP_FORGET_STEPS * b->step_ms;
}

unsigned
ramp_limit(struct ramp *r, const struct ramp_bounds *b, int64_t now)
{
	if (ramp_idle(r, b, now))
		ramp_begin(r, now);
	r->used_ms = now;
	if (now - r->step_ms >= b->step_ms)
		step_end(r, b, now);
	if (r->limit > b->ceiling)
		r->limit = b->ceiling;
	if (now < r->quiet_ms)
		return 0;
	return r->pause_ms > 0 ? 1 : r->limit;	/* after a pause one has to prove it */
}

int64_t
ramp_quiet_until(const struct ramp *r, int64_t now)
{
	return r->limit > 0 && now < r->quiet_ms ? r->quiet_ms : INT64_MIN;
}

/* ---- replies ---- */

static void
ramp_failed(struct ramp *r, int64_t started, int64_t now)
{
	bool first = r->failures++ == 0;

	if (r->in_row < UINT32_MAX)
		r->in_row++;
	/* What was under way together fails together. */
	if (started > r->halved_ms && (first || r->failures * RAMP_SHARE > r->replies))
		ramp_half(r, now);
	if ((r->in_row < RAMP_STORM && r->pause_ms == 0) || now < r->quiet_ms)
		return;
	r->pause_ms = r->pause_ms == 0 ? RAMP_PAUSE_MIN_MS : r->pause_ms * 2;
	if (r->pause_ms > RAMP_PAUSE_MAX_MS)
		r->pause_ms = RAMP_PAUSE_MAX_MS;
	r->quiet_ms = now + r->pause_ms;
}

void
ramp_reply(struct ramp *r, const struct ramp_bounds *b, enum ramp_reply what, int64_t latency_ms,
    int64_t started, int64_t now)
{
	if (r->limit == 0)
		return;
	if (now - r->step_ms >= b->step_ms)
		step_end(r, b, now);
	r->used_ms = now;
	r->replies++;
	if (what != RAMP_LOST)
		r->bucket[bucket_of(latency_ms)]++;
	if (what != RAMP_ANSWERED) {
		ramp_failed(r, started, now);
		return;
	}
	r->in_row = 0;
	r->pause_ms = 0;
	r->quiet_ms = INT64_MIN;
}
