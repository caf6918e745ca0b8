// SPDX-License-Identifier: Apache-2.0
/*
 * Index pages. A page is in memory because its segment is not sealed yet, because
 * it was changed since the last checkpoint, or because somebody just looked at it;
 * all others are read when wanted. Not mapped: a mapped page that the disk cannot
 * give is a signal, not a result, and the kernel would write changes back in an
 * order of its own.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

bool
leg_settled(enum leg_state s)
{
	switch (s) {
	case LEG_PARKED:
	case LEG_WAITING:
		return false;
	case LEG_ABSENT:
	case LEG_DELIVERED:
	case LEG_FAILED:
	case LEG_SKIPPED:
	case LEG_DROPPED:
	case LEG_STATE_MAX:
		break;
	}
	return true;
}

bool
entry_settled(const struct entry *e)
{
	return e->empty || (leg_settled(e->leg[LEG_HOLD].state) &&
	    leg_settled(e->leg[LEG_FORWARD].state));
}

static void
unlist(struct spool *sp, struct page *p)
{
	if (!p->listed)
		return;
	p->prev->next = p->next;
	p->next->prev = p->prev;
	p->listed = false;
	sp->nclean--;
}

static void
free_page(struct spool *sp, struct page *p)
{
	struct seg *s = p->seg;

	unlist(sp, p);
	if (p->dirty) {
		s->ndirty--;
		sp->ndirty--;
	}
	s->page[p->no] = NULL;
	free(p);
}

/* Only pages that the index file can give back may go. */
static void
list_clean(struct spool *sp, struct page *p)
{
	struct page *head = &sp->clean;

	unlist(sp, p);
	if (p->dirty || !p->seg->index_valid || rewrite_holds(sp, p->seg))
		return;
	p->prev = head->prev;
	p->next = head;
	head->prev->next = p;
	head->prev = p;
	p->listed = true;
	sp->nclean++;
	/* The newest, which a caller may hold, is never the one that goes. */
	while (sp->nclean > SPOOL_CLEAN_MAX && head->next != p)
		free_page(sp, head->next);
}

uint32_t
index_page_count(const struct seg *s, uint32_t no)
{
	uint32_t first = no * PAGE_ENTRIES;

	return s->count <= first ? 0 :
	    s->count - first < PAGE_ENTRIES ? s->count - first : PAGE_ENTRIES;
}

void
index_reserve(struct seg *s, uint32_t entries)
{
	uint32_t n = (entries + PAGE_ENTRIES - 1) / PAGE_ENTRIES;

	if (n <= s->npage)
		return;
	if (n < s->npage * 2)
		n = s->npage * 2;
	s->page = mem_resize(s->page, n, sizeof(*s->page));
	s->due = mem_resize(s->due, n, sizeof(*s->due));
	for (uint32_t i = s->npage; i < n; i++) {
		s->page[i] = NULL;
		s->due[i] = (struct page_due){ { INT64_MAX, INT64_MAX }, true };
	}
	s->npage = n;
}

static struct page *
new_page(struct seg *s, uint32_t no)
{
	struct page *p = mem_new(sizeof(*p));

	p->seg = s;
	p->no = no;
	s->page[no] = p;
	return p;
}

void
index_dirty(struct spool *sp, struct page *p)
{
	struct seg *s = p->seg;

	if (p->dirty)
		return;
	unlist(sp, p);
	p->dirty = true;
	if (s->ndirty++ == 0)
		s->dirty_ms = clock_mono_ms();
	sp->ndirty++;
}

/* An empty page, dirty from birth. */
struct page *
index_page_new(struct spool *sp, struct seg *s, uint32_t no)
{
	index_reserve(s, (no + 1) * PAGE_ENTRIES);
	struct page *p = s->page[no] != NULL ? s->page[no] : new_page(s, no);
	index_dirty(sp, p);
	return p;
}

/* A copy is on its way to the disk; the page stays until that is done. */
void
index_take(struct spool *sp, struct page *p)
{
	p->dirty = false;
	p->seg->ndirty--;
	sp->ndirty--;
}

void
index_clean(struct spool *sp, struct page *p)
{
	list_clean(sp, p);
}

/* In memory from now on; NULL when neither index nor log can give it. */
struct page *
index_page(struct spool *sp, struct seg *s, uint32_t no)
{
	struct page *p = s->page[no];

	if (p != NULL) {
		if (p->listed)
			list_clean(sp, p);
		return p;
	}
	if (clock_mono_ms() < s->blind_ms)
		return NULL;
	if (s->index_valid) {
		p = new_page(s, no);
		ssize_t n = sp->ops->read(sp->store, s->no, STORE_INDEX,
		    (uint64_t)PAGE_BYTES * (1 + (uint64_t)no), p->b, PAGE_BYTES);
		if (n == PAGE_BYTES && page_get(p->b, s->stamp, no) == 0) {
			list_clean(sp, p);
			return p;
		}
		free_page(sp, p);
	}
	if (recover_pages(sp, s) == 0)
		return s->page[no];
	s->blind_ms = clock_mono_ms() + SPOOL_BLIND_MS;
	return NULL;
}

int
index_get(struct spool *sp, struct seg *s, uint32_t i, struct entry *e)
{
	if (i >= s->count)
		return -1;
	struct page *p = index_page(sp, s, i / PAGE_ENTRIES);
	if (p == NULL)
		return -1;
	entry_get(p->b + PAGE_HEAD + (i % PAGE_ENTRIES) * ENTRY_BYTES, e);
	return 0;
}

void
index_window_forget(struct spool *sp)
{
	sp->window_seg = 0;
}

static int
fill_window(struct spool *sp, struct seg *s, uint32_t no)
{
	uint32_t last = (s->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES, n = last - no;

	if (n > SPOOL_WINDOW_PAGES)
		n = SPOOL_WINDOW_PAGES;
	if (sp->window == NULL)
		sp->window = mem_array(SPOOL_WINDOW_PAGES, PAGE_BYTES);
	sp->window_seg = 0;
	ssize_t got = sp->ops->read(sp->store, s->no, STORE_INDEX,
	    (uint64_t)PAGE_BYTES * (1 + (uint64_t)no), sp->window, (size_t)n * PAGE_BYTES);
	if (got < PAGE_BYTES)
		return -1;
	n = (uint32_t)(got / PAGE_BYTES);
	/* Up to the first bad one; that one is asked for by itself when its turn comes. */
	for (uint32_t i = 0; i < n; i++)
		if (page_get(sp->window + (size_t)i * PAGE_BYTES, s->stamp, no + i) != 0) {
			if (i == 0)
				return -1;
			n = i;
		}
	sp->window_seg = s->no;
	sp->window_first = no;
	sp->window_n = n;
	return 0;
}

int
index_peek(struct spool *sp, struct seg *s, uint32_t i, struct entry *e)
{
	uint32_t no = i / PAGE_ENTRIES;
	const uint8_t *b;

	if (i >= s->count)
		return -1;
	if (s->page[no] != NULL || !s->index_valid)
		return index_get(sp, s, i, e);
	if (sp->window_seg != s->no || no < sp->window_first ||
	    no - sp->window_first >= sp->window_n)
		if (clock_mono_ms() < s->blind_ms || fill_window(sp, s, no) != 0)
			return index_get(sp, s, i, e);
	b = sp->window + (size_t)(no - sp->window_first) * PAGE_BYTES;
	entry_get(b + PAGE_HEAD + (i % PAGE_ENTRIES) * ENTRY_BYTES, e);
	return 0;
}

static int64_t
entry_due(const struct entry *e, int leg)
{
	return !e->empty && e->leg[leg].state == LEG_WAITING ? e->leg[leg].next_ms : INT64_MAX;
}

static void
note_due(struct seg *s, const struct page *p, const struct entry *e)
{
	struct page_due *d = &s->due[p->no];

	for (int l = 0; l < LEG_KIND_MAX; l++) {
		int64_t t = entry_due(e, l);
		if (t < d->at[l])
			d->at[l] = t;
		if (t < s->due_min[l])
			s->due_min[l] = t;
	}
}

/* The earliest of a whole page, after the leg that was the earliest moved away. */
static void
exact_due(struct spool *sp, struct seg *s, uint32_t no)
{
	struct page_due d = { { INT64_MAX, INT64_MAX }, true };
	uint32_t first = no * PAGE_ENTRIES, n = index_page_count(s, no);
	struct entry e;

	for (uint32_t i = 0; i < n; i++) {
		if (index_peek(sp, s, first + i, &e) != 0)
			return;
		for (int l = 0; l < LEG_KIND_MAX; l++) {
			int64_t t = entry_due(&e, l);
			if (t < d.at[l])
				d.at[l] = t;
		}
	}
	for (int l = 0; l < LEG_KIND_MAX; l++)
		if (s->due[no].at[l] != d.at[l] && s->due[no].at[l] <= s->due_min[l])
			s->due_stale[l] = true;
	s->due[no] = d;
}

int
index_put(struct spool *sp, struct seg *s, uint32_t i, const struct entry *e)
{
	uint32_t no = i / PAGE_ENTRIES;
	struct entry old = { .empty = true };
	bool fresh = i >= s->count;

	struct page *p = fresh ? index_page_new(sp, s, no) : index_page(sp, s, no);
	if (p == NULL)
		return -1;
	uint8_t *at = p->b + PAGE_HEAD + (i % PAGE_ENTRIES) * ENTRY_BYTES;
	if (!fresh)
		entry_get(at, &old);
	index_dirty(sp, p);
	entry_put(at, e);
	note_due(s, p, e);
	for (int l = 0; l < LEG_KIND_MAX; l++) {
		int64_t was = entry_due(&old, l);
		if (was == INT64_MAX || was > s->due[no].at[l] || entry_due(e, l) <= was)
			continue;
		s->due[no].exact = false;
		if (was <= s->due_min[l])
			s->due_stale[l] = true;
	}
	return 0;
}

int64_t
index_due(struct seg *s, enum leg_kind leg)
{
	uint32_t n = (s->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES;

	/* A page whose earliest leg moved away holds the bound down until it is looked
	 * at; a few at a time, the bound stays a lower one anyway. */
	for (int tries = 0; s->due_stale[leg] && tries < 8; tries++) {
		uint32_t best = 0;
		for (uint32_t no = 1; no < n; no++)
			if (s->due[no].at[leg] < s->due[best].at[leg])
				best = no;
		s->due_stale[leg] = false;
		s->due_min[leg] = n == 0 ? INT64_MAX : s->due[best].at[leg];
		if (s->due_min[leg] != INT64_MAX && !s->due[best].exact)
			exact_due(s->sp, s, best);
	}
	return s->due_min[leg];
}

bool
index_page_quiet(struct spool *sp, struct seg *s, uint32_t no, enum leg_kind leg, int64_t now_ms)
{
	struct page_due *d = &s->due[no];

	if (d->at[leg] > now_ms)
		return true;
	if (!d->exact)
		exact_due(sp, s, no);
	return d->at[leg] > now_ms;
}

void
index_drop_pages(struct spool *sp, struct seg *s)
{
	for (uint32_t i = 0; i < s->npage; i++)
		if (s->page[i] != NULL)
			free_page(sp, s->page[i]);
	if (sp->window_seg == s->no)
		sp->window_seg = 0;
	free(s->page);
	free(s->due);
	s->page = NULL;
	s->due = NULL;
	s->npage = 0;
}
