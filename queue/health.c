// SPDX-License-Identifier: Apache-2.0
#include "queue/health.h"

#include <string.h>

enum {
	HEALTH_RELAPSE_MS = 3600 * 1000,	/* an entry so soon after a leave is one */
	HEALTH_RELAPSES_MAX = 3,		/* doublings of settle */
	HEALTH_AT_ONCE_MS = 120 * 1000
};

static const char *const cause_names[HEALTH_CAUSE_MAX] = {
	"probes", "latency", "deliveries", "refusals", "recovery"
};

const char *
health_cause_name(enum health_cause c)
{
	return c < HEALTH_CAUSE_MAX ? cause_names[c] : "?";
}

void
health_init(struct health *h, int64_t entered_ms)
{
	*h = (struct health){ .entered_ms = entered_ms };
}

static void
health_restart(struct health *h)
{
	h->bad_row = h->good_row = 0;
	memset(h->bucket, 0, sizeof(h->bucket));
}

void
health_entered(struct health *h, int64_t now)
{
	bool again = h->left_ms != 0 && now - h->left_ms <= HEALTH_RELAPSE_MS;

	h->relapses = again ? h->relapses + 1 : 0;
	if (h->relapses > HEALTH_RELAPSES_MAX)
		h->relapses = HEALTH_RELAPSES_MAX;
	h->entered_ms = now;
	health_restart(h);
}

void
health_left(struct health *h, int64_t now)
{
	h->left_ms = now;
	health_restart(h);
}

void
health_forgive(struct health *h)
{
	health_restart(h);
}

/* ---- observations ---- */

int64_t
health_latency(const struct health *h, unsigned percentile)
{
	uint32_t sorted[HEALTH_RING];
	unsigned n = h->nlatency;

	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++) {	/* ten at most: by insertion */
		unsigned j = i;

		for (; j > 0 && sorted[j - 1] > h->latency[i]; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = h->latency[i];
	}
	unsigned rank = (n * percentile + 99) / 100;	/* nearest rank */
	return sorted[rank == 0 ? 0 : rank - 1];
}

static void
health_took(struct health *h, int64_t ms)
{
	h->latency[h->at] = ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	h->at = (h->at + 1) % HEALTH_RING;
	if (h->nlatency < HEALTH_RING)
		h->nlatency++;
}

static void
health_count(struct health *h, int64_t now, enum health_seen seen)
{
	bool first = seen == HEALTH_GOOD ? h->good_row == 0 : h->bad_row == 0;

	if (first)
		h->since_ms = now;
	if (seen == HEALTH_DARK && (!h->any || h->last != HEALTH_DARK))
		h->dark_ms = now;
	h->good_row = seen == HEALTH_GOOD ? h->good_row + 1 : 0;
	h->bad_row = seen == HEALTH_GOOD ? 0 : h->bad_row + 1;
	h->any = true;
	h->last = seen;
	h->last_ms = now;
}

void
health_probed(struct health *h, const struct health_rules *r, int64_t now, enum health_seen seen,
    int64_t latency_ms)
{
	h->slow = false;
	if (seen == HEALTH_GOOD) {
		health_took(h, latency_ms);
		/* One slow probe is no slow primary: as many as failures it takes. */
		h->slow = h->nlatency >= r->enter_after &&
		    health_latency(h, r->percentile) > r->latency_max_ms;
		if (h->slow)
			seen = HEALTH_BAD;
	}
	h->probes++;
	h->failed += seen != HEALTH_GOOD;
	health_count(h, now, seen);
}

static struct health_sums *
health_bucket(struct health *h, int64_t now)
{
	struct health_bucket *b = &h->bucket[(now / HEALTH_BUCKET_MS) % HEALTH_BUCKETS];
	int64_t start = now - now % HEALTH_BUCKET_MS;

	if (b->start_ms != start)
		*b = (struct health_bucket){ .start_ms = start };
	return &b->sums;
}

void
health_delivered(struct health *h, const struct health_rules *r, int64_t now,
    enum health_delivery d)
{
	switch (d) {
	case HEALTH_TOOK:
		health_bucket(h, now)->took++;
		break;
	case HEALTH_PUT_OFF:
		health_bucket(h, now)->put_off++;
		break;
	case HEALTH_NO_USER:
		health_bucket(h, now)->no_user++;
		break;
	case HEALTH_HOST_DOWN:
		health_bucket(h, now)->put_off++;
		/* Retries of a dead host come in bursts: as if it were probed, no more. */
		if (h->host_ms != 0 && now - h->host_ms < r->every_ms)
			break;
		h->host_ms = now;
		h->slow = false;
		health_count(h, now, HEALTH_DARK);
		break;
	}
}

struct health_sums
health_sums(const struct health *h, int64_t now)
{
	struct health_sums s = { 0, 0, 0 };

	for (unsigned i = 0; i < HEALTH_BUCKETS; i++) {
		const struct health_bucket *b = &h->bucket[i];

		if (now - b->start_ms >= HEALTH_BUCKETS * HEALTH_BUCKET_MS)
			continue;
		s.took += b->sums.took;
		s.put_off += b->sums.put_off;
		s.no_user += b->sums.no_user;
	}
	return s;
}

/* ---- decisions ---- */

int64_t
health_settle(const struct health *h, const struct health_rules *r)
{
	return r->settle_ms << h->relapses;
}

static bool
over_share(const struct health_rules *r, unsigned part, const struct health_sums *s)
{
	uint64_t all = (uint64_t)s->took + s->put_off + s->no_user;

	return all >= r->bad_min && (uint64_t)part * 100 > all * r->bad_share;
}

static enum health_wish
health_enters(const struct health *h, const struct health_rules *r, int64_t now,
    enum health_cause *cause)
{
	struct health_sums s = health_sums(h, now);

	if (h->bad_row >= r->enter_after)
		*cause = h->slow ? HEALTH_BY_LATENCY : HEALTH_BY_PROBES;
	else if (over_share(r, s.no_user, &s))
		*cause = HEALTH_BY_REFUSALS;
	else if (over_share(r, s.put_off + s.no_user, &s))
		*cause = HEALTH_BY_DELIVERIES;
	else
		return HEALTH_STAY;
	return HEALTH_ENTER;
}

enum health_wish
health_decide(const struct health *h, const struct health_rules *r, enum failover_phase phase,
    int64_t now, enum health_cause *cause)
{
	switch (phase) {
	case PHASE_STANDBY:
	case PHASE_REPLAY:
		return health_enters(h, r, now, cause);
	case PHASE_ACTIVE:
		*cause = HEALTH_BY_RECOVERY;
		return h->good_row >= r->leave_after &&
		    now - h->entered_ms >= health_settle(h, r) ? HEALTH_LEAVE : HEALTH_STAY;
	case PHASE_MAX:
		break;
	}
	return HEALTH_STAY;
}

/* ---- is it us? ---- */

static enum health_network
network_by_reference(const struct health_view *v, size_t n, int64_t dark_ms)
{
	bool unsure = false;

	for (size_t i = 0; i < n; i++) {
		if (!v[i].seen || v[i].last_ms < dark_ms)
			unsure = true;
		else if (!v[i].dark)
			return HEALTH_NETWORK_FINE;
	}
	return unsure ? HEALTH_NETWORK_UNSURE : HEALTH_NETWORK_FAULT;
}

enum health_network
health_network(const struct health_view *v, size_t n, const struct health_view *reference,
    size_t nreference, int64_t dark_ms)
{
	bool unsure = false, several = false, one = false;
	uint64_t network = 0;

	if (nreference > 0)
		return network_by_reference(reference, nreference, dark_ms);
	for (size_t i = 0; i < n; i++) {
		if (!v[i].seen || (!v[i].dark && v[i].last_ms < dark_ms)) {
			unsure = true;
			continue;
		}
		if (!v[i].dark)
			return HEALTH_NETWORK_FINE;
		/* Dark since long before: dead by itself, that says nothing of the network. */
		if (dark_ms - v[i].dark_ms > HEALTH_AT_ONCE_MS)
			continue;
		several = several || (one && v[i].network != network);
		network = v[i].network;
		one = true;
	}
	return unsure ? HEALTH_NETWORK_UNSURE : several ? HEALTH_NETWORK_FAULT :
	    HEALTH_NETWORK_FINE;
}
