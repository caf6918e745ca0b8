// SPDX-License-Identifier: Apache-2.0
#include "relay/guess.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"

enum { WAYS = 8 };	/* places a client may stand in */

struct guess_place {
	uint8_t		addr[16];
	int64_t		since_ms;	/* of its window */
	int64_t		until_ms;	/* barred; 0: not */
	uint32_t	n;		/* failures; 0: free */
};

struct guess {
	uint64_t		seed[3];	/* clients choose their addresses */
	struct guess_place	place[GUESS_PLACES];
};

struct guess *
guess_new(void)
{
	struct guess *g = mem_new(sizeof(*g));

	crypto_random(g->seed, sizeof(g->seed));
	return g;
}

void
guess_free(struct guess **gp)
{
	free(*gp);
	*gp = NULL;
}

static struct guess_place *
guess_set(struct guess *g, const uint8_t addr[16])
{
	uint64_t w[2];
	__uint128_t h;

	memcpy(w, addr, sizeof(w));
	h = (__uint128_t)(w[0] ^ g->seed[0]) * ((w[1] ^ g->seed[1]) | 1);
	h = (__uint128_t)((uint64_t)h ^ (uint64_t)(h >> 64)) * (g->seed[2] | 1);
	return &g->place[(size_t)(h >> 64) % (GUESS_PLACES / WAYS) * WAYS];
}

static struct guess_place *
guess_find(struct guess *g, const uint8_t addr[16])
{
	struct guess_place *set = guess_set(g, addr);

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].n > 0 && memcmp(set[i].addr, addr, sizeof(set[i].addr)) == 0)
			return &set[i];
	return NULL;
}

static bool
place_is_barred(const struct guess_place *p, int64_t now_ms)
{
	return p->until_ms > now_ms;
}

/* The one that is missed least. */
static struct guess_place *
guess_spare(struct guess *g, const uint8_t addr[16], int64_t now_ms)
{
	struct guess_place *set = guess_set(g, addr), *best = set;

	for (unsigned i = 1; i < WAYS; i++) {
		bool barred = place_is_barred(&set[i], now_ms);

		if (place_is_barred(best, now_ms) != barred ? !barred : set[i].n < best->n)
			best = &set[i];
	}
	*best = (struct guess_place){ .since_ms = now_ms };
	memcpy(best->addr, addr, sizeof(best->addr));
	return best;
}

bool
guess_failed(struct guess *g, const struct guess_bounds *b, const uint8_t addr[16],
    int64_t now_ms)
{
	struct guess_place *p = guess_find(g, addr);

	if (p == NULL)
		p = guess_spare(g, addr, now_ms);
	if (now_ms - p->since_ms >= b->window_ms) {
		p->since_ms = now_ms;
		p->n = 0;
	}
	if (p->n < UINT32_MAX)
		p->n++;
	if (p->n < b->max || place_is_barred(p, now_ms))
		return false;
	p->until_ms = now_ms + b->bar_ms;
	return true;
}

bool
guess_barred(struct guess *g, const uint8_t addr[16], int64_t now_ms)
{
	const struct guess_place *p = guess_find(g, addr);

	return p != NULL && place_is_barred(p, now_ms);
}
