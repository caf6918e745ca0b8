// SPDX-License-Identifier: Apache-2.0
#include "queue/dest.h"

#include <stdlib.h>

#include "base/mem.h"

enum { DESTS_BUCKETS = 4096, DEST_REMEMBER_MS = 3600 * 1000 };

struct dests {
	struct dest	*bucket[DESTS_BUCKETS];
	unsigned	 count;
};

static uint64_t
dest_hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325ULL;	/* FNV-1a: keys are ours, not the peer's */

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3ULL;
	return h ^ (h >> 32);
}

struct dests *
dests_new(void)
{
	return mem_new(sizeof(struct dests));
}

static void
dest_free(struct dest *d)
{
	CHECK(d->queued == 0 && d->in_flight == 0 && !d->in_ring && TAILQ_EMPTY(&d->lanes));
	order_free(&d->order);
	free(d->provider);
	free(d->key);
	free(d);
}

void
dests_free(struct dests **dp)
{
	struct dests *ds = *dp;

	*dp = NULL;
	if (ds == NULL)
		return;
	for (size_t i = 0; i < DESTS_BUCKETS; i++) {
		while (ds->bucket[i] != NULL) {
			struct dest *d = ds->bucket[i];

			ds->bucket[i] = d->next;
			dest_free(d);
		}
	}
	free(ds);
}

struct dest *
dests_find(struct dests *ds, const char *key)
{
	uint64_t h = dest_hash(key);
	struct dest *d = ds->bucket[h % DESTS_BUCKETS];

	while (d != NULL && (d->hash != h || strcmp(d->key, key) != 0))
		d = d->next;
	return d;
}

struct dest *
dests_get(struct dests *ds, const char *key)
{
	struct dest *d = dests_find(ds, key);

	if (d != NULL)
		return d;
	d = mem_new(sizeof(*d));
	d->key = mem_str(key);
	d->hash = dest_hash(key);
	d->ready_ms = INT64_MIN;
	d->failed_ms = INT64_MIN;
	TAILQ_INIT(&d->queue);
	TAILQ_INIT(&d->lanes);
	d->next = ds->bucket[d->hash % DESTS_BUCKETS];
	ds->bucket[d->hash % DESTS_BUCKETS] = d;
	ds->count++;
	return d;
}

unsigned
dests_count(const struct dests *ds)
{
	return ds->count;
}

unsigned
dests_closed(const struct dests *ds, int64_t now)
{
	unsigned n = 0;

	for (size_t i = 0; i < DESTS_BUCKETS; i++)
		for (const struct dest *d = ds->bucket[i]; d != NULL; d = d->next)
			n += dest_closed(d, now);
	return n;
}

void
dests_each(struct dests *ds, void (*fn)(void *arg, struct dest *d), void *arg)
{
	for (size_t i = 0; i < DESTS_BUCKETS; i++)
		for (struct dest *d = ds->bucket[i]; d != NULL; d = d->next)
			fn(arg, d);
}

static bool
dest_forgettable(const struct dest *d, int64_t now)
{
	if (d->queued > 0 || d->in_flight > 0 || d->in_ring || !TAILQ_EMPTY(&d->lanes))
		return false;
	if (d->ramp.limit > 0 && now - d->ramp.used_ms < DEST_REMEMBER_MS)
		return false;
	if (d->overflow_ms > now || dest_closed(d, now))
		return false;
	/* what was learned of a provider's pace outlives a quiet hour */
	if (d->provider != NULL && now - d->provider->last_ms < DEST_REMEMBER_MS &&
	    d->provider->last_ms != INT64_MIN)
		return false;
	return d->failures == 0 || now - d->failed_ms > DEST_REMEMBER_MS + d->backoff_ms;
}

void
dests_sweep(struct dests *ds, int64_t now)
{
	for (size_t i = 0; i < DESTS_BUCKETS; i++) {
		struct dest **at = &ds->bucket[i];

		while (*at != NULL) {
			struct dest *d = *at;

			if (!dest_forgettable(d, now)) {
				at = &d->next;
				continue;
			}
			*at = d->next;
			ds->count--;
			dest_free(d);
		}
	}
}

bool
dest_closed(const struct dest *d, int64_t now)
{
	if (d->provider != NULL && now < d->provider->closed_ms)
		return true;
	return d->failures > 0 && now < d->ready_ms;
}

int64_t
dest_opens(const struct dest *d)
{
	int64_t at = d->failures > 0 ? d->ready_ms : INT64_MIN;

	return d->provider != NULL && d->provider->closed_ms > at ? d->provider->closed_ms : at;
}

unsigned
dest_limit(const struct dest *d, unsigned max)
{
	return d->failures > 0 ? 1 : max;
}

void
dest_failed(struct dest *d, int64_t started, int64_t now, int64_t cap_ms)
{
	if (d->failures > 0 && started <= d->failed_ms)
		return;
	d->backoff_ms = d->failures == 0 ? DEST_BACKOFF_MIN_MS : d->backoff_ms * 2;
	if (d->backoff_ms > cap_ms)
		d->backoff_ms = cap_ms;
	if (d->failures < UINT32_MAX)
		d->failures++;
	d->failed_ms = now;
	d->ready_ms = now + d->backoff_ms;
}

void
dest_worked(struct dest *d)
{
	if (d->failures > 0)
		d->overflow_ms = 0;	/* what comes from now on does not queue behind the outage */
	d->failures = 0;
	d->backoff_ms = 0;
	d->ready_ms = INT64_MIN;
}
