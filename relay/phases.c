// SPDX-License-Identifier: Apache-2.0
#include "relay/phases.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/proto/relay_probe.h"
#include "queue/failover.h"

struct known {
	uint8_t	phase;
	char	name[];		/* "domain/shard", lower-case domain */
};

struct phases {
	void	*root;		/* tsearch */
	size_t	 n;
};

enum { KNOWN_NAME = 512 };

static int
known_compare(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* A key on its own, owned by the caller; NULL when the names cannot be one. */
static struct known *
known_new(struct slice domain, struct slice shard)
{
	struct known *k;

	if (domain.n + shard.n + 2 > KNOWN_NAME || memchr(domain.p, '\0', domain.n) != NULL ||
	    (shard.n > 0 && memchr(shard.p, '\0', shard.n) != NULL))
		return NULL;
	k = mem_new(sizeof(*k) + domain.n + shard.n + 2);
	memcpy(k->name, domain.p, domain.n);
	bytes_lower(k->name, domain.n);
	k->name[domain.n] = '/';
	if (shard.n > 0)
		memcpy(k->name + domain.n + 1, shard.p, shard.n);
	return k;
}

struct phases *
phases_new(void)
{
	return mem_new(sizeof(struct phases));
}

static void
phases_clear(struct phases *p)
{
	tdestroy(p->root, free);
	p->root = NULL;
	p->n = 0;
}

void
phases_free(struct phases **pp)
{
	struct phases *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	phases_clear(p);
	free(p);
}

static void
phases_put(struct phases *p, const struct queue_phase *q)
{
	struct known *k = q->domain.n == 0 ? NULL : known_new(q->domain, q->shard), **found;

	if (k == NULL)
		return;
	k->phase = q->phase;
	found = tsearch(k, &p->root, known_compare);
	CHECK(found != NULL);
	if (*found == k) {
		p->n++;
		return;
	}
	(*found)->phase = q->phase;
	free(k);
}

int
phases_message(struct phases *p, struct slice body)
{
	struct queue_phases m;
	struct queue_phase q;
	int rc;

	if (wire_get(body, &queue_phases_wire, &m) < 0)
		return -1;
	if (m.reset != 0)
		phases_clear(p);
	while ((rc = wire_item_next(&m.list, &queue_phase_wire, &q)) == 1)
		phases_put(p, &q);
	return rc;
}

static const struct known *
phases_find(const struct phases *p, struct slice domain, struct slice shard)
{
	struct known *k = domain.n == 0 ? NULL : known_new(domain, shard), **found;

	if (k == NULL)
		return NULL;
	found = tfind(k, &p->root, known_compare);
	free(k);
	return found == NULL ? NULL : *found;
}

bool
phases_known(const struct phases *p, struct slice domain)
{
	return phases_find(p, domain, SLICE_NONE) != NULL;
}

bool
phases_standby(const struct phases *p, struct slice domain, struct slice shard)
{
	const struct known *k = phases_find(p, domain, shard);

	if (k == NULL && shard.n > 0)
		k = phases_find(p, domain, SLICE_NONE);
	return k != NULL && k->phase == PHASE_STANDBY;
}

size_t
phases_count(const struct phases *p)
{
	return p->n;
}
