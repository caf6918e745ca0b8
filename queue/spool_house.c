// SPDX-License-Identifier: Apache-2.0
/*
 * Housekeeping of segments. A segment that takes no more appends is sealed; what
 * is not settled by then gets an index file (a checkpoint); a segment in which all
 * is settled has its sums folded into the totals and is dropped. Each step is
 * asynchronous and tried again each second until it works.
 *
 * A checkpoint is three syncs in this order: the progress log; the changed pages;
 * the head with the sums, which says how much of the progress log is in the pages.
 * A crash between any two leaves the old head, and progress after the old
 * `covered` brings old and new pages alike to the same state.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

/* A second replay may be asked for until the grace is over, or space is short. */
bool
house_in_grace(const struct spool *sp, const struct seg *s)
{
	return s->cls == STORE_HELD && s->count > 0 && sp->grace_ms > 0 && !sp->pressed &&
	    clock_mono_ms() - s->settled_ms < sp->grace_ms;
}

bool
house_graced(const struct spool *sp, const struct seg *s)
{
	return s->live == 0 && house_in_grace(sp, s);
}

static bool
any_in_grace(const struct spool *sp)
{
	for (size_t i = 0; i < sp->nseg; i++)
		if (house_in_grace(sp, sp->seg[i]))
			return true;
	return false;
}

/* Looked at only while something is kept for grace. */
static void
look_at_space(struct spool *sp)
{
	struct store_health h;

	sp->pressed = false;
	if (sp->grace_ms > 0 && any_in_grace(sp))
		sp->pressed = sp->ops->health(sp->store, &h) == 0 && h.bytes_free < sp->disk_warn;
}

static bool
good(enum store_result r)
{
	return r == STORE_OK || r == STORE_OK_LOCAL;
}

void
house_wake(struct spool *sp)
{
	if (sp->ticking || sp->read_only || sp->closing)
		return;
	sp->ticking = true;
	timer_arm(sp->ticker, SPOOL_TICK_MS);
}

void
house_close_seg(struct spool *sp, struct seg *s)
{
	for (int c = 0; c < STORE_CLASS_MAX; c++)
		if (sp->active[c] == s)
			sp->active[c] = NULL;
	if (s->state != SEG_OPEN)
		return;
	s->state = SEG_CLOSED;
	house_wake(sp);
	if (s->inflight == 0)
		house_seal(sp, s);
}

static void
on_sealed(void *arg, enum store_result r)
{
	struct seg *s = arg;

	s->state = good(r) ? SEG_SEALED : SEG_CLOSED;
	if (good(r)) {
		s->end = s->good_end;
		if (s->live > 0 || house_graced(s->sp, s))
			house_checkpoint(s->sp, s);
	}
	house_wake(s->sp);
}

void
house_seal(struct spool *sp, struct seg *s)
{
	if (s->state != SEG_CLOSED || s->inflight > 0 || s->keep || sp->read_only)
		return;
	s->state = SEG_SEALING;
	sp->ops->seal(sp->store, s->no, s->good_end, on_sealed, s);
}

void
house_settled(struct spool *sp, struct seg *s)
{
	(void)s;
	house_wake(sp);
}

/* Pages that were taken into the checkpoint are clean now, or dirty again. */
static void
end_checkpoint(struct spool *sp, bool ok)
{
	struct checkpoint *k = &sp->ckpt;
	struct seg *s = k->seg;

	for (size_t i = 0; i < k->n; i++) {
		struct page *p = s->page[k->no[i]];
		if (p == NULL)
			continue;
		if (!ok)
			index_dirty(sp, p);
		else if (!p->dirty)
			index_clean(sp, p);
	}
	free(k->buf);
	free(k->no);
	free(k->span);
	free(k->tail);
	free(k->table);
	*k = (struct checkpoint){ .step = CHECKPOINT_IDLE };
	index_window_forget(sp);
	house_wake(sp);
	if (ok)
		house_relieve(sp);
}

static void
on_head(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct seg *s = sp->ckpt.seg;

	if (good(r)) {
		s->index_valid = true;
		s->covered = sp->ckpt.covered;
		s->table_n = sp->ckpt.table_n;
		s->table_lost = s->table_n == 0 && s->count > 0;
		table_forget(sp, s);
	}
	end_checkpoint(sp, good(r));
}

static uint64_t
index_size(const struct checkpoint *k)
{
	return table_offset(k->seg) + table_bytes(k->table_n);
}

static void
on_pages(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct checkpoint *k = &sp->ckpt;
	struct seg *s = k->seg;

	if (!good(r)) {
		end_checkpoint(sp, false);
		return;
	}
	const struct store_span span[2] = {
		{ table_offset(s) - (k->ntail - PAGE_BYTES),
		  slice_make(k->tail + PAGE_BYTES, k->ntail - PAGE_BYTES) },
		{ 0, slice_make(k->tail, PAGE_BYTES) },
	};
	k->step = CHECKPOINT_HEAD;
	sp->ops->index(sp->store, s->no, span, 2, index_size(k), on_head, sp);
}

static void
encode_tail(struct checkpoint *k)
{
	struct seg *s = k->seg;

	k->ntail = PAGE_BYTES + (size_t)s->nrow * ROW_BYTES;
	k->tail = mem_new(k->ntail);
	for (uint32_t i = 0; i < s->nrow; i++)
		row_put(k->tail + PAGE_BYTES + (size_t)i * ROW_BYTES, &s->row[i]);
	struct index_head h = {
		.segment = s->no, .stamp = s->stamp, .cls = s->cls, .count = s->count,
		.live = s->live, .log_end = s->good_end, .covered = k->covered,
		.min = s->min, .max = s->max, .created_ms = s->created_ms, .nrow = s->nrow,
		.due = { index_due(s, LEG_HOLD), index_due(s, LEG_FORWARD) },
		.crc_rows = crc32c(0, k->tail + PAGE_BYTES, k->ntail - PAGE_BYTES),
		.table_n = k->table_n, .sender_gap = s->sender_gap,
		.generation = s->generation, .bodies = s->bodies,
	};
	index_head_put(k->tail, &h);
}

/* Copies, because the pages go on changing while they are written. */
static size_t
copy_pages(struct spool *sp, struct store_span *span)
{
	struct checkpoint *k = &sp->ckpt;
	struct seg *s = k->seg;
	uint32_t npage = (s->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES;
	size_t nspan = 0;

	k->n = 0;
	for (uint32_t no = 0; no < npage; no++) {
		struct page *p = s->page[no];
		if (p == NULL || !p->dirty)
			continue;
		uint8_t *to = k->buf + k->n * PAGE_BYTES;
		memcpy(to, p->b, PAGE_BYTES);
		page_put(to, s->stamp, no, index_page_count(s, no));
		index_take(sp, p);
		k->no[k->n++] = no;
		uint64_t off = PAGE_BYTES * (1 + (uint64_t)no);
		if (nspan > 0 && span[nspan - 1].off + span[nspan - 1].bytes.n == off)
			span[nspan - 1].bytes.n += PAGE_BYTES;
		else
			span[nspan++] = (struct store_span){ off, slice_make(to, PAGE_BYTES) };
	}
	return nspan;
}

/*
 * Pages, sums and `covered` are of one moment, and only what the progress log says by then
 * goes to the index: a page that knew more than the synced log would, after a power cut,
 * make the sums in the head a lie.
 */
static int
take_pages(struct spool *sp)
{
	struct checkpoint *k = &sp->ckpt;
	struct seg *s = k->seg;
	size_t n = s->ndirty;

	k->buf = malloc(n * PAGE_BYTES + 1);
	if (k->buf == NULL)
		return -1;
	k->no = mem_array(n, sizeof(*k->no));
	k->span = mem_array(n + 1, sizeof(*k->span));
	k->nspan = copy_pages(sp, k->span);
	k->table_n = s->table_n;
	if (s->table_n == 0) {
		k->table = table_build(sp, s, &k->table_n);
		if (k->table_n > 0)
			k->span[k->nspan++] = (struct store_span){ table_offset(s),
			    slice_make(k->table, table_bytes(k->table_n)) };
	}
	encode_tail(k);
	return 0;
}

static void
on_progress_stable(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct checkpoint *k = &sp->ckpt;
	struct seg *s = k->seg;
	bool ok = good(r);

	s->prg_inflight--;
	for (struct chunk *c = s->chunk; c != NULL; c = c->next)
		if (c->off < k->covered && c->state != CHUNK_WRITTEN)
			ok = false;
	if (!ok) {
		end_checkpoint(sp, false);
		return;
	}
	k->step = CHECKPOINT_PAGES;
	sp->ops->index(sp->store, s->no, k->span, k->nspan, index_size(k), on_pages, sp);
}

bool
house_checkpoint(struct spool *sp, struct seg *s)
{
	if (sp->ckpt.step != CHECKPOINT_IDLE || sp->read_only)
		return false;
	/* All offsets are about to change, in one step. */
	if (sp->rewrite.step == REWRITE_ADOPT && sp->rewrite.seg == s)
		return false;
	if (s->state != SEG_SEALED || (s->ndirty == 0 && s->index_valid && !s->table_lost))
		return true;
	progress_flush(sp, s);
	sp->ckpt = (struct checkpoint){ .step = CHECKPOINT_SYNC, .seg = s, .covered = s->prg_end };
	if (take_pages(sp) != 0) {
		end_checkpoint(sp, false);
		return false;
	}
	s->prg_inflight++;
	sp->ops->progress(sp->store, s->no, s->prg_end, SLICE_NONE, true, on_progress_stable, sp);
	return true;
}

/* Too many changed pages in memory: the segment with the most of them goes first,
 * one after the other until there are few enough. */
void
house_relieve(struct spool *sp)
{
	struct seg *most = NULL;

	if (sp->ndirty <= SPOOL_DIRTY_MAX || sp->ckpt.step != CHECKPOINT_IDLE || sp->closing)
		return;
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		/* One without live entries is about to go, pages and all. */
		if (s->state == SEG_SEALED && (s->live > 0 || house_graced(sp, s)) && s->ndirty > 0 &&
		    (most == NULL || s->ndirty > most->ndirty))
			most = s;
	}
	if (most != NULL)
		house_checkpoint(sp, most);
}

static void
forget_gone(struct spool *sp, uint64_t no)
{
	for (size_t i = 0; i < sp->ngone; i++)
		if (sp->gone[i] == no) {
			sp->gone[i] = sp->gone[--sp->ngone];
			return;
		}
}

static void
on_dropped(void *arg, enum store_result r)
{
	struct seg *s = arg;
	struct spool *sp = s->sp;

	s->inflight = 0;
	if (good(r)) {
		log_info("spool-dropped", "segment=%llu", (unsigned long long)s->no);
		forget_gone(sp, s->no);
		seg_remove(sp, s);
	}
	house_wake(sp);
}

static void
drop_files(struct spool *sp)
{
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state != SEG_DROPPING || s->inflight > 0)
			continue;
		s->inflight = 1;
		sp->ops->drop(sp->store, s->no, on_dropped, s);
	}
}

static void
on_totals(void *arg, enum store_result r)
{
	struct spool *sp = arg;

	sp->totals_inflight--;
	if (!good(r))
		sp->totals_failed = true;
	if (sp->totals_inflight > 0)
		return;
	if (sp->totals_failed) {
		house_wake(sp);
		return;
	}
	sp->totals_dirty = false;
	drop_files(sp);
}

static bool
may_drop(const struct spool *sp, const struct seg *s)
{
	return s->state == SEG_SEALED && s->live == 0 && !house_graced(sp, s) && sp->ckpt.seg != s &&
	    !rewrite_holds(sp, s) && s->prg_inflight == 0 && !s->prg_syncing && !s->flush_listed;
}

static bool
any_failed(const struct spool *sp)
{
	for (size_t i = 0; i < sp->nseg; i++)
		if (sp->seg[i]->failed && !sp->seg[i]->keep &&
		    sp->seg[i]->state < SEG_SEALED)
			return true;
	return false;
}

/* Sums first, in memory and on disk; files after that. */
void
house_drop(struct spool *sp)
{
	if (sp->totals_inflight > 0)
		return;
	/* A segment that failed is named by a later one until it is cut for good. */
	bool hold = any_failed(sp);
	for (size_t i = 0; i < sp->nseg && !hold; i++) {
		struct seg *s = sp->seg[i];
		if (!may_drop(sp, s))
			continue;
		balance_fold(sp, s);
		s->state = SEG_DROPPING;
		progress_free(sp, s);
		index_drop_pages(sp, s);
		s->count = 0;
		sp->totals_dirty = true;
	}
	if (!sp->totals_dirty) {
		drop_files(sp);
		return;
	}
	balance_encode(sp, &sp->totals);
	sp->totals_failed = false;
	sp->totals_inflight = 2;
	sp->ops->put_meta(sp->store, "totals.a", buf_slice(&sp->totals), on_totals, sp);
	sp->ops->put_meta(sp->store, "totals.b", buf_slice(&sp->totals), on_totals, sp);
}

static bool
wants_checkpoint(const struct spool *sp, const struct seg *s, int64_t now)
{
	if (s->state != SEG_SEALED || (s->live == 0 && !house_graced(sp, s)))
		return false;
	return !s->index_valid || s->table_lost || (s->ndirty > 0 && now - s->dirty_ms > SPOOL_DIRTY_AGE_MS);
}

/* What one segment needs; true when there is more to do for it later. */
static bool
tick_seg(struct spool *sp, struct seg *s, int64_t now)
{
	switch (s->state) {
	case SEG_CREATING:
	case SEG_SEALING:
		return false;	/* a completion will come */
	case SEG_OPEN:
		if (s->count == 0 || s->live > 0 || s->inflight > 0)
			return false;
		if (now - s->last_ms >= SPOOL_IDLE_MS)
			house_close_seg(sp, s);
		return true;
	case SEG_CLOSED:
		house_seal(sp, s);
		return !s->keep;
	case SEG_SEALED:
		if (wants_checkpoint(sp, s, now))
			house_checkpoint(sp, s);
		return s->ndirty > 0 || s->live == 0 || !s->index_valid || s->table_lost;
	case SEG_DROPPING:
		return true;
	}
	return false;
}

void
house_tick(void *arg)
{
	struct spool *sp = arg;
	int64_t now = clock_mono_ms();
	bool more;

	sp->ticking = false;
	look_at_space(sp);
	more = progress_tick(sp);
	steady_tick(sp);
	for (size_t i = 0; i < sp->nseg; i++)
		if (tick_seg(sp, sp->seg[i], now))
			more = true;
	house_relieve(sp);
	if (rewrite_tick(sp, now))
		more = true;
	house_drop(sp);
	if (more || sp->totals_dirty)
		house_wake(sp);
}
