// SPDX-License-Identifier: Apache-2.0
#include "relay/ingest_memo.h"

#include <stdlib.h>

#include "base/mem.h"

enum { SLOTS = 256 };

struct ingest_memo {
	struct {
		uint64_t	 key;	/* 0: empty */
		char		*wants;	/* owned */
		size_t		 n;
	} slot[SLOTS];
};

struct ingest_memo *
ingest_memo_new(void)
{
	return mem_new(sizeof(struct ingest_memo));
}

void
ingest_memo_free(struct ingest_memo **mp)
{
	if (*mp == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		free((*mp)->slot[i].wants);
	free(*mp);
	*mp = NULL;
}

/* FNV-1a. Somebody who makes two senders collide makes himself a slow sender. */
static uint64_t
memo_key(struct slice client_ip, struct slice domain)
{
	const struct slice part[2] = { client_ip, domain };
	uint64_t h = 14695981039346656037u;

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < part[k].n; i++)
			h = (h ^ (uint8_t)ascii_lower(part[k].p[i])) * 1099511628211u;
		h = (h ^ '@') * 1099511628211u;
	}
	return h | 1;
}

static size_t
memo_slot(uint64_t key)
{
	return (key >> 8) % SLOTS;
}

void
ingest_memo_put(struct ingest_memo *m, struct slice client_ip, struct slice domain,
    struct slice wants)
{
	uint64_t key = memo_key(client_ip, domain);
	size_t i = memo_slot(key);

	if (wants.n == 0 || wants.n > INGEST_MEMO_MAX)
		return;
	free(m->slot[i].wants);
	m->slot[i].wants = slice_dup(wants);
	m->slot[i].n = wants.n;
	m->slot[i].key = key;
}

struct slice
ingest_memo_get(const struct ingest_memo *m, struct slice client_ip, struct slice domain)
{
	uint64_t key = memo_key(client_ip, domain);
	size_t i = memo_slot(key);

	return m->slot[i].key == key ? slice_make(m->slot[i].wants, m->slot[i].n) : SLICE_NONE;
}
