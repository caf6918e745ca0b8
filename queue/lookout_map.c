// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <arpa/inet.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "queue/lookout_priv.h"
#include "queue/replay.h"

/* ---- networks ---- */

static uint64_t
hash_bytes(const void *p, size_t n)
{
	const unsigned char *c = p;
	uint64_t h = 0xcbf29ce484222325ULL;

	while (n-- > 0)
		h = (h ^ *c++) * 0x100000001b3ULL;
	return h;
}

/* Places with the same number may fail together by themselves: one /24 or /48, one domain of
 * the last two labels. On loopback the port tells stores of one machine apart. */
static uint64_t
place_network(const struct place *p)
{
	struct in6_addr six;
	struct in_addr four;
	const char *dot = NULL;

	if (inet_pton(AF_INET, p->host, &four) == 1) {
		if (ntohl(four.s_addr) >> 24 == 127)
			return hash_bytes(&four, 4) ^ p->port;
		return hash_bytes(&four, 3);
	}
	if (inet_pton(AF_INET6, p->host, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six) ? p->port : hash_bytes(&six, 6);
	if (strcmp(p->host, "localhost") == 0)
		return p->port;
	for (size_t i = strlen(p->host); i > 0; i--) {
		if (p->host[i - 1] != '.')
			continue;
		if (dot != NULL)
			return hash_bytes(p->host + i, strlen(p->host + i));
		dot = p->host + i;
	}
	return hash_bytes(p->host, strlen(p->host));
}

/* ---- making the map ---- */

struct named {			/* in the tree: key first, as tsearch compares */
	const char	*key;	/* borrowed from the place */
	size_t		 i;
};

static int
named_compare(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->key, ((const struct named *)b)->key);
}

static void
place_fini(struct place *p)
{
	free(p->key);
	free(p->host);
	free(p->canary);
}

/* Its index; made if it is new. */
static size_t
place_get(struct lookout *l, const struct place *like)
{
	char key[1024];
	struct named *n = mem_new(sizeof(*n)), **found;

	(void)snprintf(key, sizeof(key), "%u %u %u %s %s %lld %lld %d", like->route, like->depth,
	    like->port, like->host, like->canary, (long long)like->every_ms,
	    (long long)like->timeout_ms, like->reference);
	n->key = key;
	n->i = l->nplace;
	found = tsearch(n, &l->index, named_compare);
	CHECK(found != NULL);
	if (*found != n) {
		free(n);
		return (*found)->i;
	}
	l->place = mem_resize(l->place, l->nplace + 1, sizeof(*l->place));
	struct place *p = &l->place[l->nplace];
	*p = *like;
	p->key = mem_str(key);
	p->host = mem_str(like->host);
	p->canary = mem_str(like->canary);
	p->view.network = place_network(p);
	n->key = p->key;
	return l->nplace++;
}

static void
rules_of(const struct conf_probe *c, struct health_rules *r)
{
	*r = (struct health_rules){ .enter_after = c->enter_after, .leave_after = c->leave_after,
		.latency_max_ms = c->latency_max_ms, .percentile = c->latency_percentile,
		.bad_share = c->bad_share, .bad_min = c->bad_min, .settle_ms = c->settle_ms,
		.every_ms = c->every_ms };
}

static void
seat_add(struct lookout *l, const struct failover_group *g)
{
	const struct conf_domain *d = conf_domain_find(l->queue->role->conf, slice_str(g->domain));
	char none[] = "";

	if (!g->served || d == NULL)
		return;
	const struct replay_group *rg = replay_find(l->queue->replay, g->id);
	const struct conf_route *r = rg != NULL && rg->to != NULL ? &rg->route :
	    conf_primary(d, slice_str(g->shard));
	const struct place like = { .route = (uint8_t)r->kind, .depth = (uint8_t)d->probe.depth,
		.port = r->kind == ROUTE_MX ? 0 : r->port,
		.host = r->kind == ROUTE_MX ? d->name : r->host,
		.canary = d->probe.canary == NULL || d->probe.depth < PROBE_RCPT ? none :
		    d->probe.canary,
		.every_ms = d->probe.every_ms, .timeout_ms = d->probe.timeout_ms };
	l->seat = mem_resize(l->seat, l->nseat + 1, sizeof(*l->seat));
	struct seat *s = &l->seat[l->nseat++];
	*s = (struct seat){ .group = g->id, .phase = g->phase };
	s->place = place_get(l, &like);
	s->probed = g->mode != FAILOVER_OFF || g->base == FAILOVER_AUTO;
	l->place[s->place].wanted |= s->probed;
	rules_of(&d->probe, &s->rules);
	/* How long it has been active: the clocks differ by what was seen at a start. */
	int64_t age = clock_wall_ms() - g->since_ms;
	health_init(&s->health, clock_mono_ms() - (age > 0 ? age : 0));
}

static void
references_add(struct lookout *l)
{
	const struct conf *c = l->queue->role->conf;
	char none[] = "";

	for (size_t i = 0; i < c->nprobe_reference; i++) {
		char *text = mem_str(c->probe_reference[i]);
		char *colon = strrchr(text, ':'), *host = text;
		struct place like = { .route = ROUTE_SMTP, .depth = PROBE_CONNECT,
			.canary = none, .every_ms = LOOKOUT_REFERENCE_MS,
			.timeout_ms = LOOKOUT_REFERENCE_MS, .reference = true };
		uint64_t port = 0;

		CHECK(colon != NULL && slice_u64(slice_str(colon + 1), &port) == 0);
		*colon = '\0';
		if (host[0] == '[') {
			host++;
			host[strlen(host) - 1] = '\0';
		}
		like.port = (uint16_t)port;
		like.host = host;
		(void)place_get(l, &like);
		free(text);
	}
}

static int
seat_compare(const void *a, const void *b)
{
	const struct seat *x = a, *y = b;

	return x->group < y->group ? -1 : x->group > y->group;
}

struct seat *
lookout_seat(const struct lookout *l, uint64_t group)
{
	const struct seat key = { .group = group };

	return l->nseat == 0 ? NULL : bsearch(&key, l->seat, l->nseat, sizeof(key), seat_compare);
}

/* ---- carrying over ---- */

static void
place_carry(struct place *to, const struct place *from)
{
	uint64_t network = to->view.network;

	to->view = from->view;
	to->view.network = network;
	to->next_ms = from->next_ms;
	to->welcome = from->welcome;
	memcpy(to->recent, from->recent, sizeof(to->recent));
	to->nrecent = from->nrecent;
	to->at = from->at;
	memcpy(to->text, from->text, sizeof(to->text));
}

static void
map_carry(struct lookout *l, const struct lookout *old)
{
	for (size_t i = 0; i < old->nplace; i++) {
		const struct named key = { old->place[i].key, 0 };
		struct named **found = tfind(&key, &l->index, named_compare);

		if (found == NULL)
			continue;
		place_carry(&l->place[(*found)->i], &old->place[i]);
		/* Under way: its answer finds no request any more. */
		if (old->place[i].req != 0)
			l->place[(*found)->i].next_ms = 0;
	}
	for (size_t i = 0; i < l->nseat; i++) {
		const struct seat *from = lookout_seat(old, l->seat[i].group);

		if (from == NULL)
			continue;
		l->seat[i].phase = from->phase;
		l->seat[i].unsure_ms = from->unsure_ms;
		l->seat[i].refused_ms = from->refused_ms;
		l->seat[i].refused = from->refused;
		if (strcmp(old->place[from->place].key, l->place[l->seat[i].place].key) == 0)
			l->seat[i].health = from->health;
	}
}

static void
map_release(struct place *place, size_t nplace, struct seat *seat)
{
	for (size_t i = 0; i < nplace; i++)
		place_fini(&place[i]);
	free(place);
	free(seat);
}

void
lookout_map_free(struct lookout *l)
{
	map_release(l->place, l->nplace, l->seat);
	l->place = NULL;
	l->seat = NULL;
	l->nplace = l->nseat = 0;
}

void
lookout_map(struct lookout *l)
{
	struct lookout old = *l;
	struct failover *f = l->queue->failover;

	l->place = NULL;
	l->seat = NULL;
	l->nplace = l->nseat = 0;
	l->index = NULL;
	l->serial = failover_serial(f);
	l->generation++;
	references_add(l);
	for (size_t i = 0; i < failover_count(f); i++)
		seat_add(l, failover_at(f, i));
	if (l->nseat > 0)
		qsort(l->seat, l->nseat, sizeof(*l->seat), seat_compare);
	map_carry(l, &old);
	tdestroy(l->index, free);
	l->index = NULL;
	map_release(old.place, old.nplace, old.seat);
}
