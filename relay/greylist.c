// SPDX-License-Identifier: Apache-2.0
/*
 * A place is one 64-bit word, read and written whole, so processes need no lock: two that
 * write the same place at once lose one of the two, which costs somebody another try.
 *
 *	bits 63..27	hash, never 0
 *	bit  26		known: it came back in time
 *	bits 25..0	minutes since 1970: first try, or last sight of a known one
 */
#include "relay/greylist.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/network.h"

enum { WAYS = 8, MINUTE_MS = 60 * 1000 };

#define KNOWN		(1ULL << 26)
#define MINUTES		(KNOWN - 1)
#define HASH		(~(KNOWN | MINUTES))

struct table {
	uint8_t			seed[32];
	_Atomic uint64_t	place[GREYLIST_PLACES];
};

struct greylist {
	struct table	*t;
};

int
greylist_create(void)
{
	int fd = memfd_create("greylist", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t seed[32];

	if (fd < 0)
		return -1;
	crypto_random(seed, sizeof(seed));
	if (ftruncate(fd, sizeof(struct table)) == 0 &&
	    pwrite(fd, seed, sizeof(seed), 0) == sizeof(seed) &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

struct greylist *
greylist_map(int fd)
{
	struct greylist *g;
	struct stat st;
	void *p;

	if (fstat(fd, &st) != 0 || st.st_size != sizeof(struct table))
		return NULL;
	p = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return NULL;
	g = mem_new(sizeof(*g));
	g->t = p;
	return g;
}

void
greylist_unmap(struct greylist **gp)
{
	if (*gp != NULL)
		(void)munmap((*gp)->t, sizeof(struct table));
	free(*gp);
	*gp = NULL;
}

/* The place's hash and its set. The parts are hashed each by itself: no two of them can
 * shift an octet between them. */
static uint64_t
key_of(const struct greylist *g, const uint8_t net[16], struct slice sender, struct slice rcpt,
    size_t *set)
{
	uint8_t mac[32], part[3 * 32];
	uint64_t h, where;

	crypto_sha256(slice_make(net, 16), part);
	crypto_sha256(sender, part + 32);
	crypto_sha256(rcpt, part + 64);
	crypto_hmac_sha256(slice_make(g->t->seed, sizeof(g->t->seed)),
	    slice_make(part, sizeof(part)), mac);
	memcpy(&h, mac, sizeof(h));
	memcpy(&where, mac + 8, sizeof(where));
	*set = where % (GREYLIST_PLACES / WAYS) * WAYS;
	return (h & HASH) == 0 ? ~MINUTES & ~KNOWN : h & HASH;
}

static int64_t
age_ms(uint64_t word, int64_t now_ms)
{
	return (now_ms / MINUTE_MS - (int64_t)(word & MINUTES)) * MINUTE_MS;
}

static _Atomic uint64_t *
place_of(struct greylist *g, uint64_t hash, size_t set, uint64_t *word)
{
	_Atomic uint64_t *oldest = &g->t->place[set];
	uint64_t oldest_seen = UINT64_MAX;

	for (size_t i = set; i < set + WAYS; i++) {
		*word = atomic_load_explicit(&g->t->place[i], memory_order_relaxed);
		if ((*word & HASH) == hash)
			return &g->t->place[i];
		if ((*word & MINUTES) < oldest_seen) {
			oldest_seen = *word & MINUTES;
			oldest = &g->t->place[i];
		}
	}
	*word = 0;
	return oldest;
}

static void
place_write(_Atomic uint64_t *p, uint64_t hash, bool known, int64_t now_ms)
{
	uint64_t minutes = (uint64_t)(now_ms / MINUTE_MS) & MINUTES;

	atomic_store_explicit(p, hash | (known ? KNOWN : 0) | minutes, memory_order_relaxed);
}

bool
greylist_pass(struct greylist *g, const struct greylist_bounds *b, const uint8_t addr[16],
    struct slice sender, struct slice rcpt, int64_t wall_ms)
{
	_Atomic uint64_t *client, *p;
	uint64_t hash, mine, word;
	uint8_t net[16];
	size_t set;

	memcpy(net, addr, sizeof(net));
	network_mask(net, network_addr_is_v4(addr) ? 96 + 24 : 64);
	mine = key_of(g, net, SLICE_NONE, SLICE_NONE, &set);
	client = place_of(g, mine, set, &word);
	if ((word & KNOWN) != 0 && age_ms(word, wall_ms) <= b->keep_ms) {
		place_write(client, mine, true, wall_ms);
		return true;
	}
	hash = key_of(g, net, sender, rcpt, &set);
	p = place_of(g, hash, set, &word);
	if (word == 0 || age_ms(word, wall_ms) > b->window_ms || age_ms(word, wall_ms) < 0) {
		place_write(p, hash, false, wall_ms);
		return b->delay_ms == 0;
	}
	/* Minutes are coarse: in favour of the client. */
	if (age_ms(word, wall_ms) + MINUTE_MS <= b->delay_ms)
		return false;
	place_write(client, mine, true, wall_ms);
	return true;
}
