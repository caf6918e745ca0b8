// SPDX-License-Identifier: Apache-2.0
/*
 * Tables of a sealed segment: (key, entry) pairs in the order of their keys, so that a
 * user or a sender is found in a handful of pages however long the queue is. They stand
 * behind the rows in the index file, are made once at its first checkpoint (who gets an
 * entry never changes) and stay on disk: nothing of them is kept in memory but the
 * matches that were asked for last. One that is lost, damaged or of an older version
 * costs a scan of its segment, and is made again by the next checkpoint.
 *
 * A page of a table is sealed like a page of entries and numbered on from there.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

uint32_t
table_pages(uint32_t n)
{
	return (n + TABLE_PAIRS - 1) / TABLE_PAIRS;
}

uint64_t
table_bytes(uint32_t n)
{
	return (uint64_t)TABLE_MAX * table_pages(n) * PAGE_BYTES;
}

static uint32_t
entry_pages(const struct seg *s)
{
	return (s->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES;
}

uint64_t
table_offset(const struct seg *s)
{
	return PAGE_BYTES * (1 + (uint64_t)entry_pages(s)) + (uint64_t)s->nrow * ROW_BYTES;
}

/* The upper half is what the pair is sorted by: users are mixed 64-bit hashes, of which
 * half is enough; whoever finds an entry looks at it anyway. */
uint32_t
table_user_key(uint64_t user)
{
	return (uint32_t)(user >> 32);
}

uint32_t
table_sender_key(uint32_t sender)
{
	return sender << 8;
}

uint32_t
table_key(enum table_kind k, const struct entry *e)
{
	return k == TABLE_USER ? table_user_key(e->user) : table_sender_key(e->sender);
}

/* By their upper halves, stable: 262,144 pairs take about a millisecond. */
static void
sort_pairs(uint64_t *a, uint64_t *tmp, uint32_t n)
{
	for (unsigned shift = 32; shift < 64; shift += 8) {
		uint32_t at[257] = { 0 };

		for (uint32_t i = 0; i < n; i++)
			at[(a[i] >> shift & 255) + 1]++;
		for (unsigned b = 0; b < 256; b++)
			at[b + 1] += at[b];
		for (uint32_t i = 0; i < n; i++)
			tmp[at[a[i] >> shift & 255]++] = a[i];
		uint64_t *swap = a;
		a = tmp;
		tmp = swap;
	}
}

static void
put_pages(uint8_t *to, const uint64_t *pair, uint32_t n, uint64_t stamp, uint32_t no)
{
	for (uint32_t i = 0; i < n; no++, to += PAGE_BYTES) {
		uint32_t have = n - i < TABLE_PAIRS ? n - i : TABLE_PAIRS;

		for (uint32_t k = 0; k < have; k++)
			le_put(to + PAGE_HEAD + k * TABLE_PAIR, pair[i + k], TABLE_PAIR);
		page_put(to, stamp, no, have);
		i += have;
	}
}

/* All tables one after the other, owned, table_bytes(*n) of them; NULL when there is no
 * memory or a page cannot be read. */
uint8_t *
table_build(struct spool *sp, struct seg *s, uint32_t *n)
{
	uint64_t *pair = mem_array((size_t)s->count * 2, sizeof(*pair));
	uint8_t *b = NULL;
	struct entry e;

	s->sender_gap = false;
	for (int k = 0; k < TABLE_MAX; k++) {
		*n = 0;
		for (uint32_t i = 0; i < s->count; i++) {
			if (index_peek(sp, s, i, &e) != 0)
				goto fail;
			if (e.empty)
				continue;
			s->sender_gap |= e.sender == 0;
			pair[(*n)++] = (uint64_t)table_key((enum table_kind)k, &e) << 32 | i;
		}
		if (b == NULL)
			b = calloc(table_bytes(*n) + 1, 1);
		if (b == NULL)
			goto fail;
		sort_pairs(pair, pair + s->count, *n);
		put_pages(b + (uint64_t)k * table_pages(*n) * PAGE_BYTES, pair, *n, s->stamp,
		    entry_pages(s) + (uint32_t)k * table_pages(*n));
	}
	free(pair);
	return b;
fail:
	free(pair);
	free(b);
	*n = 0;
	return NULL;
}

/* ---- finding ---- */

static void
table_lose(struct seg *s)
{
	log_warn("spool-table-damaged", "segment=%llu effect=\"made again\"",
	    (unsigned long long)s->no);
	s->table_n = 0;
	s->table_lost = true;
	house_wake(s->sp);
}

/* One page of the table into b. The pairs in it; 0 when it cannot be had. */
static uint32_t
load_page(struct spool *sp, struct seg *s, enum table_kind kind, uint32_t i, uint8_t *b)
{
	uint32_t pages = table_pages(s->table_n), at = (uint32_t)kind * pages + i;
	uint32_t n = s->table_n - i * TABLE_PAIRS;
	ssize_t got = sp->ops->read(sp->store, s->no, STORE_INDEX,
	    table_offset(s) + (uint64_t)at * PAGE_BYTES, b, PAGE_BYTES);

	sp->match.reads++;
	if (got < 0)
		return 0;
	if (got != PAGE_BYTES || page_get(b, s->stamp, entry_pages(s) + at) != 0) {
		table_lose(s);
		return 0;
	}
	return n < TABLE_PAIRS ? n : TABLE_PAIRS;
}

uint64_t
table_pair(const uint8_t *b, uint32_t i)
{
	return le_get(b + PAGE_HEAD + i * TABLE_PAIR, TABLE_PAIR);
}

/* The first page whose last key is not below `key`: 1 and it is in b, 0 there is none, -1
 * the table cannot be read. Keys are spread evenly mostly, so the first look is where it
 * ought to be, the second beside it; the rest is halving. */
static int
seek_page(struct spool *sp, struct seg *s, enum table_kind kind, uint32_t key, uint8_t *b,
    uint32_t *at, uint32_t *n)
{
	uint32_t pages = table_pages(s->table_n), lo = 0, hi = pages;
	uint32_t probe = (uint32_t)((uint64_t)pages * key >> 32);

	for (unsigned looks = 0; lo < hi; looks++) {
		*n = load_page(sp, s, kind, probe, b);
		*at = probe;
		if (*n == 0)
			return -1;
		if (table_pair(b, *n - 1) >> 32 < key) {
			lo = probe + 1;
			probe = looks == 0 ? lo : lo + (hi - lo) / 2;
			continue;
		}
		hi = probe;
		if (table_pair(b, 0) >> 32 < key || probe == lo)
			return 1;
		probe = looks == 0 ? hi - 1 : lo + (hi - lo) / 2;
	}
	if (lo == pages)
		return 0;
	*n = load_page(sp, s, kind, lo, b);
	*at = lo;
	return *n == 0 ? -1 : 1;
}

static int
by_entry(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
match_add(struct match *m, uint32_t entry)
{
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->entry = mem_resize(m->entry, m->cap, sizeof(*m->entry));
	}
	m->entry[m->n++] = entry;
}

/* The pairs of page `at` (in b) and those behind it up to `hi`. */
static int
collect(struct spool *sp, struct seg *s, enum table_kind kind, uint32_t lo, uint32_t hi,
    uint8_t *b, uint32_t at, uint32_t n)
{
	uint32_t pages = table_pages(s->table_n);

	for (;;) {
		for (uint32_t i = 0; i < n; i++) {
			uint64_t pair = table_pair(b, i);

			if (pair >> 32 > hi)
				return 0;
			if (pair >> 32 >= lo)
				match_add(&sp->match, (uint32_t)pair);
		}
		if (++at == pages)
			return 0;
		n = load_page(sp, s, kind, at, b);
		if (n == 0)
			return -1;
	}
}

/* The ordinals of entries whose key is in lo..hi, ascending, in sp->match. False: there is
 * no table to ask, look at every entry. */
bool
table_match(struct spool *sp, struct seg *s, enum table_kind kind, uint32_t lo, uint32_t hi)
{
	struct match *m = &sp->match;
	uint8_t b[PAGE_BYTES];
	uint32_t n, at;

	if (m->segment == s->no && m->kind == kind && m->lo == lo && m->hi == hi)
		return true;
	m->segment = 0;
	m->n = 0;
	if (s->table_n == 0 || !s->index_valid || clock_mono_ms() < s->blind_ms)
		return false;
	int rc = seek_page(sp, s, kind, lo, b, &at, &n);
	if (rc < 0 || (rc > 0 && collect(sp, s, kind, lo, hi, b, at, n) < 0))
		return false;
	if (lo != hi && m->n > 1)
		qsort(m->entry, m->n, sizeof(*m->entry), by_entry);
	m->segment = s->no;
	m->kind = kind;
	m->lo = lo;
	m->hi = hi;
	return true;
}

void
table_forget(struct spool *sp, const struct seg *s)
{
	if (sp->match.segment == s->no)
		sp->match.segment = 0;
}
