// SPDX-License-Identifier: Apache-2.0
#include "queue/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { ROUTES_BUCKETS = 1024 };

struct entry {
	char		*domain;	/* owned */
	struct route	 route;
	int64_t		 until_ms;
	struct entry	*next;
};

struct routes {
	struct entry	*bucket[ROUTES_BUCKETS];
	unsigned	 n, max;
	unsigned	 sweep;		/* the bucket that makes room next */
};

static size_t
route_bucket(const char *domain)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *domain != '\0'; domain++)
		h = (h ^ (unsigned char)*domain) * 0x100000001b3ULL;
	return (size_t)((h ^ h >> 32) % ROUTES_BUCKETS);
}

struct routes *
routes_new(unsigned max)
{
	struct routes *r = mem_new(sizeof(*r));

	r->max = max;
	return r;
}

static void
bucket_empty(struct routes *r, size_t b)
{
	struct entry *e;

	while ((e = r->bucket[b]) != NULL) {
		r->bucket[b] = e->next;
		r->n--;
		free(e->domain);
		free(e);
	}
}

void
routes_free(struct routes **rp)
{
	struct routes *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < ROUTES_BUCKETS; i++)
		bucket_empty(r, i);
	free(r);
}

static struct entry *
route_find(struct routes *r, const char *domain)
{
	struct entry *e = r->bucket[route_bucket(domain)];

	while (e != NULL && strcmp(e->domain, domain) != 0)
		e = e->next;
	return e;
}

const struct route *
routes_get(struct routes *r, const char *domain, int64_t now)
{
	const struct entry *e = route_find(r, domain);

	return e == NULL || e->until_ms <= now ? NULL : &e->route;
}

void
routes_put(struct routes *r, const char *domain, const struct route *route, int64_t until)
{
	struct entry *e = route_find(r, domain);

	if (e == NULL) {
		while (r->n >= r->max && r->n > 0)	/* what was forgotten is asked again */
			bucket_empty(r, r->sweep++ % ROUTES_BUCKETS);
		size_t b = route_bucket(domain);
		e = mem_new(sizeof(*e));
		e->domain = mem_str(domain);
		e->next = r->bucket[b];
		r->bucket[b] = e;
		r->n++;
	}
	e->route = *route;
	e->until_ms = until;
}

unsigned
routes_count(const struct routes *r)
{
	return r->n;
}
