// SPDX-License-Identifier: Apache-2.0
#include "relay/rate.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"

enum { WAYS = 4 };	/* places an address may stand in */

struct rate_place {
	uint8_t		 addr[16];
	int64_t		 since_ms;	/* of its window */
	uint32_t	 n;		/* 0: free */
};

struct rate {
	uint64_t		 seed[3];	/* clients choose their addresses */
	struct rate_place	 place[RATE_PLACES];
};

struct rate *
rate_new(void)
{
	struct rate *r = mem_new(sizeof(*r));

	crypto_random(r->seed, sizeof(r->seed));
	return r;
}

void
rate_free(struct rate **rp)
{
	free(*rp);
	*rp = NULL;
}

static struct rate_place *
rate_set(struct rate *r, const uint8_t addr[16])
{
	uint64_t w[2];
	__uint128_t h;

	memcpy(w, addr, sizeof(w));
	h = (__uint128_t)(w[0] ^ r->seed[0]) * ((w[1] ^ r->seed[1]) | 1);
	h = (__uint128_t)((uint64_t)h ^ (uint64_t)(h >> 64)) * (r->seed[2] | 1);
	return &r->place[(size_t)(h >> 64) % (RATE_PLACES / WAYS) * WAYS];
}

/* Its place, or the one that is missed least. */
static struct rate_place *
rate_find(struct rate *r, const uint8_t addr[16], int64_t now_ms)
{
	struct rate_place *set = rate_set(r, addr), *least = set;

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].n > 0 && now_ms - set[i].since_ms >= RATE_WINDOW_MS)
			set[i].n = 0;
		if (set[i].n > 0 && memcmp(set[i].addr, addr, sizeof(set[i].addr)) == 0)
			return &set[i];
		if (set[i].n < least->n)
			least = &set[i];
	}
	memcpy(least->addr, addr, sizeof(least->addr));
	least->since_ms = now_ms;
	least->n = 0;
	return least;
}

bool
rate_take(struct rate *r, const uint8_t addr[16], unsigned max, int64_t now_ms)
{
	struct rate_place *p = rate_find(r, addr, now_ms);

	if (p->n < UINT32_MAX)
		p->n++;
	return p->n <= max;
}
