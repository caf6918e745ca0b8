// SPDX-License-Identifier: Apache-2.0
#include "relay/crowd.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/network.h"

enum { BUCKETS_MIN = 64 };

struct crowd_place {
	struct crowd_place	*next;		/* in its bucket */
	uint8_t			 addr[16];	/* masked for networks */
	bool			 network;
	unsigned		 n;		/* sessions; a place without any is freed */
};

struct crowd {
	struct crowd_place	**bucket;
	size_t			 nbucket;	/* a power of two */
	size_t			 nplace;
	uint64_t		 seed[3];	/* clients choose their addresses */
};

struct crowd *
crowd_new(void)
{
	struct crowd *c = mem_new(sizeof(*c));

	c->nbucket = BUCKETS_MIN;
	c->bucket = mem_array(c->nbucket, sizeof(c->bucket[0]));
	crypto_random(c->seed, sizeof(c->seed));
	return c;
}

void
crowd_free(struct crowd **cp)
{
	struct crowd *c = *cp;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nbucket; i++) {
		while (c->bucket[i] != NULL) {
			struct crowd_place *p = c->bucket[i];

			c->bucket[i] = p->next;
			free(p);
		}
	}
	free(c->bucket);
	free(c);
	*cp = NULL;
}

size_t
crowd_size(const struct crowd *c)
{
	return c->nplace;
}

static size_t
crowd_hash(const struct crowd *c, const uint8_t addr[16], bool network)
{
	uint64_t w[2];
	__uint128_t h;

	memcpy(w, addr, sizeof(w));
	h = (__uint128_t)(w[0] ^ c->seed[0]) * ((w[1] ^ c->seed[1]) | 1);
	h = (__uint128_t)((uint64_t)h ^ (uint64_t)(h >> 64) ^ network) * (c->seed[2] | 1);
	return (size_t)(h >> 64) & (c->nbucket - 1);
}

static struct crowd_place **
crowd_find(struct crowd *c, const uint8_t addr[16], bool network)
{
	struct crowd_place **p = &c->bucket[crowd_hash(c, addr, network)];

	while (*p != NULL && ((*p)->network != network ||
	    memcmp((*p)->addr, addr, sizeof((*p)->addr)) != 0))
		p = &(*p)->next;
	return p;
}

static void
crowd_grow(struct crowd *c)
{
	struct crowd_place **old = c->bucket;
	size_t n = c->nbucket;

	c->nbucket = 2 * n;
	c->bucket = mem_array(c->nbucket, sizeof(c->bucket[0]));
	for (size_t i = 0; i < n; i++) {
		while (old[i] != NULL) {
			struct crowd_place *p = old[i], **to;

			old[i] = p->next;
			to = &c->bucket[crowd_hash(c, p->addr, p->network)];
			p->next = *to;
			*to = p;
		}
	}
	free(old);
}

static void
crowd_count(struct crowd *c, const uint8_t addr[16], bool network)
{
	struct crowd_place **p = crowd_find(c, addr, network);

	if (*p == NULL) {
		*p = mem_new(sizeof(**p));
		memcpy((*p)->addr, addr, sizeof((*p)->addr));
		(*p)->network = network;
		c->nplace++;
	}
	(*p)->n++;
	if (c->nplace > c->nbucket)
		crowd_grow(c);
}

static void
crowd_uncount(struct crowd *c, const uint8_t addr[16], bool network)
{
	struct crowd_place **p = crowd_find(c, addr, network), *gone = *p;

	CHECK(gone != NULL);
	if (--gone->n > 0)
		return;
	*p = gone->next;
	free(gone);
	c->nplace--;
}

static void
crowd_network(const uint8_t addr[16], uint8_t out[16])
{
	memcpy(out, addr, 16);
	network_mask(out, network_addr_is_v4(addr) ? 96 + 24 : 64);
}

enum crowd_verdict
crowd_enter(struct crowd *c, const uint8_t addr[16], unsigned address_max,
    unsigned network_max)
{
	const struct crowd_place *p = *crowd_find(c, addr, false);
	uint8_t net[16];

	if (p != NULL && p->n >= address_max)
		return CROWD_ADDRESS;
	crowd_network(addr, net);
	p = *crowd_find(c, net, true);
	if (p != NULL && p->n >= network_max)
		return CROWD_NETWORK;
	crowd_count(c, addr, false);
	crowd_count(c, net, true);
	return CROWD_OK;
}

void
crowd_leave(struct crowd *c, const uint8_t addr[16])
{
	uint8_t net[16];

	crowd_network(addr, net);
	crowd_uncount(c, addr, false);
	crowd_uncount(c, net, true);
}
