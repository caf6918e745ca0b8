// SPDX-License-Identifier: Apache-2.0
/*
 * The progress log by itself, and the index against log and progress. The rule that
 * makes the comparison exact: an index may be older or newer than what it says it
 * covers, but only in legs that have progress behind `covered`, and those are left out.
 */
#include <stdlib.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "queue/spool_priv.h"
#include "queue/spool_verify_priv.h"

/* ---- progress ---- */

static void
apply(struct verify *v, const struct progress *p, uint64_t off, size_t n)
{
	struct known *k = p->entry < v->nknown ? &v->known[p->entry] : NULL;

	v->r.progress++;
	if (k != NULL && (k->e.off8 != 0 || k->there)) {
		if (entry_check(&k->e) != p->check) {
			verify_found(v, STORE_PROGRESS, off, n, true,
			    "this speaks of a recipient that is another in the log");
			return;
		}
	} else if (k == NULL && v->nfinding == 0 && !v->live) {
		/* With damage in the log it may be the last word on what was lost there. */
		verify_found(v, STORE_PROGRESS, off, n, true,
		    "this speaks of a recipient that the log does not have");
		return;
	}
	if (k == NULL)
		return;
	if (p->kind == PROGRESS_VOID) {
		k->e.empty = true;
		k->voided = off;
	} else {
		/* What the log calls settled stays so (progress_apply). */
		if (!k->there || k->e.off8 != 0 || leg_settled(p->now.state))
			k->e.leg[p->leg] = p->now;
		k->last[p->leg] = off;
	}
}

/* Bytes that are no progress: at the end they were being written, zeros in the middle
 * never reached the disk. Both cost a repeated delivery at most. What an index covers
 * had reached it. */
static void
progress_gap(struct verify *v, uint64_t off, uint64_t end, bool zero, bool last)
{
	bool synced = off < v->covered;

	if (!last || synced)
		v->prg_lost = true;
	if (synced)
		verify_found(v, STORE_PROGRESS, off, end - off, true,
		    "no progress can be made out here; the index has it");
	else if (zero)
		verify_found(v, STORE_PROGRESS, off, end - off, false, last ?
		    "zeros behind the last record" :
		    "a hole that was never synced: deliveries may be repeated");
	else
		verify_found(v, STORE_PROGRESS, off, end - off, !last, last ?
		    "the write of this record was cut short" :
		    "no progress can be made out here: deliveries may be repeated");
}

void
verify_progress(struct verify *v)
{
	uint64_t off = SEGMENT_HEAD, bad = 0;	/* where a run of no records began; 0 none */
	struct progress p;
	struct window w;
	bool zero = true;

	if (v->prg_size < v->covered) {
		v->prg_lost = true;
		if (v->prg_size > 0)	/* that it is missing was said */
			verify_found(v, STORE_PROGRESS, v->prg_size, v->covered - v->prg_size, true,
			    "the progress log is shorter than its index says; the index has it");
	}
	window_init(v, &w, STORE_PROGRESS, v->prg_size);
	while (off + PROGRESS_FIXED <= w.size && !v->stopped) {
		size_t have = w.size - off < PROGRESS_MAX ? (size_t)(w.size - off) : PROGRESS_MAX;
		const uint8_t *b = window_at(v, &w, off, have);
		size_t n = b == NULL ? 0 : progress_get(slice_make(b, have), v->stamp, &p);
		if (n == 0) {
			if (bad == 0)
				bad = off;
			zero = zero && b != NULL && le_get(b, 8) == 0;
			off += RECORD_ALIGN;
			continue;
		}
		if (bad != 0)
			progress_gap(v, bad, off, zero, false);
		bad = 0;
		zero = true;
		apply(v, &p, off, n);
		off += n;
	}
	if (bad == 0 && off < w.size)
		bad = off;
	if (bad == 0 || v->stopped)
		return;
	for (; off < w.size && zero; off++) {
		const uint8_t *b = window_at(v, &w, off, 1);
		zero = b != NULL && b[0] == 0;
	}
	progress_gap(v, bad, w.size, zero, true);
}

/* ---- index ---- */

static const char what_unfinished[] = "a checkpoint did not finish; it is made again at start";

int
verify_index_head(struct verify *v, struct index_head *h)
{
	static const uint8_t zero[PAGE_BYTES];
	const char *what = NULL;
	uint8_t b[PAGE_BYTES] = { 0 };
	int64_t size = v->ops->size(v->store, v->r.segment, STORE_INDEX);

	if (size < 0)
		return 0;
	ssize_t n = v->ops->read(v->store, v->r.segment, STORE_INDEX, 0, b, PAGE_BYTES);
	/* The first checkpoint writes pages, then the head. */
	if (n >= 0 && memcmp(b, zero, sizeof(b)) == 0) {
		verify_found(v, STORE_INDEX, 0, (uint64_t)size, false, what_unfinished);
		return 0;
	}
	if (n != PAGE_BYTES || index_head_get(b, h) != 0)
		what = "the head of the index is damaged; it can be built again";
	else if (h->segment != v->r.segment)
		what = "this is the index of another segment";
	else if (h->stamp != v->stamp)
		what = "this index belongs to another log";
	else if (h->count > VERIFY_ENTRIES_MAX)
		what = "the index has more recipients than a segment can have";
	/* A crash between the new log and its index. */
	if (what == NULL && v->generation != UINT32_MAX && h->generation != v->generation) {
		verify_found(v, STORE_INDEX, 0, PAGE_BYTES, false,
		    "the log was rewritten; its index is built again at start");
		return 0;
	}
	if (what == NULL) {
		v->r.index = INDEX_GOOD;
		return 1;
	}
	v->r.index = INDEX_BAD;
	verify_found(v, STORE_INDEX, 0, PAGE_BYTES, true, what);
	return -1;
}

static bool
same_leg(const struct spool_leg *a, const struct spool_leg *b, bool born)
{
	return a->state == b->state && a->attempts == b->attempts &&
	    a->code % 1024 == b->code % 1024 && (born || a->next_ms == b->next_ms);
}

/* NULL, or how the index differs from what the logs say. */
static const char *
differs(const struct verify *v, const struct known *k, const struct entry *e, uint64_t group,
    const struct index_head *h)
{
	if (k->e.empty || e->empty)
		return k->e.empty == e->empty || k->voided >= h->covered || v->prg_lost ? NULL :
		    "the index and the logs disagree whether this recipient counts";
	if (memcmp(k->e.id.b, e->id.b, MSGID_LEN) != 0 || k->e.rcpt != e->rcpt ||
	    k->e.off8 != e->off8 || k->e.size != e->size || k->e.user != e->user ||
	    k->e.received_ms != e->received_ms || k->e.kind != e->kind ||
	    k->e.triage != e->triage || (e->sender != 0 && k->e.sender != e->sender) || k->e.hold_only != e->hold_only || k->group != group)
		return "an entry is not what the log says";
	for (int l = 0; l < LEG_KIND_MAX; l++)
		if (k->last[l] < h->covered && !v->prg_lost &&
		    !same_leg(&k->e.leg[l], &e->leg[l], k->last[l] == 0))
			return "the state of a leg is not what the progress log says";
	return NULL;
}

static void
count(struct row *r, const struct entry *e)
{
	for (int l = 0; l < LEG_KIND_MAX; l++)
		r->leg[l][e->leg[l].state]++;
	enum bucket b = entry_bucket(e);
	r->bucket[b]++;
	if (b == BUCKET_HELD)
		r->held_bytes += e->size;
}

/* One entry. What the log has lost is taken from here, so that it can be named. */
static const char *
check_entry(struct verify *v, uint32_t i, const struct entry *e, const struct row *row,
    const struct index_head *h)
{
	if (i >= v->nknown) {
		while (v->nknown <= i && v->nknown < v->capknown)
			v->known[v->nknown++] = (struct known){ .there = false };
		if (v->nknown <= i)
			return NULL;	/* room was made before */
	}
	struct known *k = &v->known[i];
	if (k->there)
		return differs(v, k, e, row == NULL ? 0 : row->group, h);
	if (e->empty)
		return NULL;
	struct spool_leg leg[LEG_KIND_MAX] = { e->leg[LEG_HOLD], e->leg[LEG_FORWARD] };
	for (int l = 0; l < LEG_KIND_MAX; l++)
		if (k->last[l] >= h->covered && k->last[l] != 0)
			leg[l] = k->e.leg[l];
	k->e = *e;
	memcpy(k->e.leg, leg, sizeof(leg));
	return NULL;
}

static void
check_page(struct verify *v, struct window *w, uint32_t no, const struct index_head *h,
    const struct row *file, struct row *mine, uint32_t *live)
{
	uint64_t off = PAGE_BYTES * (1 + (uint64_t)no);
	const uint8_t *b = window_at(v, w, off, PAGE_BYTES);
	uint8_t page[PAGE_BYTES];
	struct entry e;

	if (b == NULL || page_get(b, v->stamp, no) != 0) {
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, off, PAGE_BYTES, true, b == NULL ?
		    "a page is missing or cannot be read; it can be built again" :
		    "a page does not match its checksum; it can be built again");
		return;
	}
	memcpy(page, b, sizeof(page));
	for (uint32_t i = 0; i < PAGE_ENTRIES && no * PAGE_ENTRIES + i < h->count; i++) {
		uint64_t at = PAGE_HEAD + (uint64_t)i * ENTRY_BYTES;
		entry_get(page + at, &e);
		const char *what = !e.empty && e.slot >= h->nrow ? "an entry has no group" :
		    check_entry(v, no * PAGE_ENTRIES + i, &e, e.empty ? NULL : &file[e.slot], h);
		if (what != NULL) {
			struct spool_finding *f = verify_found(v, STORE_INDEX, off + at,
			    ENTRY_BYTES, true, what);
			v->r.index = INDEX_BAD;
			f->has_id = true;
			f->id = e.id;
			f->recipients = 1;
			f->unsettled = !entry_settled(&e);
		}
		if (!e.empty && e.slot < h->nrow) {
			count(&mine[e.slot], &e);
			*live += !entry_settled(&e);
		}
	}
}

/* The rows of the file, owned; NULL after a finding. */
static struct row *
read_rows(struct verify *v, const struct index_head *h, uint64_t off, bool *match)
{
	size_t n = (size_t)h->nrow * ROW_BYTES;
	uint8_t *b = malloc(n + 1);
	struct row *row = NULL;

	if (b != NULL && v->ops->read(v->store, v->r.segment, STORE_INDEX, off, b, n) ==
	    (ssize_t)n) {
		*match = crc32c(0, b, n) == h->crc_rows;
		row = mem_array((size_t)h->nrow + 1, sizeof(*row));
		for (uint32_t i = 0; i < h->nrow; i++)
			row_get(b + (size_t)i * ROW_BYTES, &row[i]);
	} else {
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, off, n, true,
		    "the sums are missing or cannot be read; they can be built again");
	}
	free(b);
	return row;
}

static bool
same_row(const struct row *a, const struct row *b)
{
	return memcmp(a->leg, b->leg, sizeof(a->leg)) == 0 &&
	    memcmp(a->bucket, b->bucket, sizeof(a->bucket)) == 0 &&
	    a->held_bytes == b->held_bytes;
}

/* Rows that the head does not know are those of a checkpoint whose head was not written
 * any more, if they are the sums of the pages that it did write. */
static void
check_strange_rows(struct verify *v, const struct index_head *h, const struct row *file,
    const struct row *mine, uint64_t off)
{
	bool same = v->r.index == INDEX_GOOD;

	for (uint32_t i = 0; i < h->nrow && same; i++)
		same = same_row(&file[i], &mine[i]);
	if (!same)
		v->r.index = INDEX_BAD;
	verify_found(v, STORE_INDEX, off, (uint64_t)h->nrow * ROW_BYTES, !same, same ?
	    what_unfinished : "the sums do not match their checksum; they can be built again");
}

static void
check_sums(struct verify *v, const struct index_head *h, const struct row *file,
    const struct row *mine, uint32_t live, uint64_t off)
{
	if (live != h->live) {
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, 0, PAGE_BYTES, true,
		    "the head counts other open recipients than there are");
	}
	for (uint32_t i = 0; i < h->nrow; i++) {
		if (same_row(&file[i], &mine[i]))
			continue;
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, off + (uint64_t)i * ROW_BYTES, ROW_BYTES, true,
		    "the sums of a group are not those of its entries");
	}
}

/* NULL, or what is wrong with a page of a table. */
static const char *
check_pairs(struct verify *v, const uint8_t *b, uint32_t n, enum table_kind kind, uint64_t *last)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t pair = table_pair(b, i);
		uint32_t at = (uint32_t)pair;

		if (pair < *last || at >= v->nknown)
			return "a table is out of order; it can be built again";
		*last = pair;
		/* An entry of an older version does not know its sender. */
		if (v->known[at].there && (kind == TABLE_USER || pair >> 32 != 0) &&
		    table_key(kind, &v->known[at].e) != (uint32_t)(pair >> 32))
			return "a table names another user or sender than the log; it can be built again";
	}
	return NULL;
}

static void
check_tables(struct verify *v, const struct index_head *h, uint64_t off)
{
	uint32_t pages = table_pages(h->table_n), no = (h->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES;
	uint64_t last = 0;
	struct window w;

	window_init(v, &w, STORE_INDEX, off + table_bytes(h->table_n));
	for (uint32_t at = 0; at < TABLE_MAX * pages && !v->stopped; at++, off += PAGE_BYTES) {
		uint32_t left = h->table_n - at % pages * TABLE_PAIRS;
		const uint8_t *b = window_at(v, &w, off, PAGE_BYTES);
		if (at % pages == 0)
			last = 0;
		const char *what = b == NULL || page_get(b, v->stamp, no + at) != 0 ?
		    "a page of a table is damaged or missing; it can be built again" :
		    check_pairs(v, b, left < TABLE_PAIRS ? left : TABLE_PAIRS,
		    (enum table_kind)(at / pages), &last);
		if (what == NULL)
			continue;
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, off, PAGE_BYTES, true, what);
	}
}

void
verify_index(struct verify *v, const struct index_head *h)
{
	uint32_t pages = (h->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES, live = 0;
	uint64_t rows_at = PAGE_BYTES * (1 + (uint64_t)pages);
	bool match = false;
	struct row *file = read_rows(v, h, rows_at, &match), *mine;
	struct window w;

	if (file == NULL)
		return;
	if (h->count > v->capknown) {
		v->known = mem_resize(v->known, h->count, sizeof(*v->known));
		v->capknown = h->count;
	}
	mine = mem_array((size_t)h->nrow + 1, sizeof(*mine));
	window_init(v, &w, STORE_INDEX, rows_at);
	if (h->count < v->nknown) {
		v->r.index = INDEX_BAD;
		verify_found(v, STORE_INDEX, 0, PAGE_BYTES, true,
		    "the index has fewer recipients than the log");
	}
	for (uint32_t no = 0; no < pages && !v->stopped; no++)
		check_page(v, &w, no, h, file, mine, &live);
	/* With progress behind `covered` pages may be newer than the sums. */
	if (!match && !v->stopped)
		check_strange_rows(v, h, file, mine, rows_at);
	else if (v->r.index == INDEX_GOOD && v->prg_size <= h->covered && !v->stopped)
		check_sums(v, h, file, mine, live, rows_at);
	check_tables(v, h, rows_at + (uint64_t)h->nrow * ROW_BYTES);
	free(mine);
	free(file);
}
