// SPDX-License-Identifier: Apache-2.0
/*
 * Writing a sealed log again: without what is settled (compaction), with compressed
 * bodies (held mail), or both. Numbers of segments and entries stay what they are, so
 * every reference, cursor, progress record and note goes on meaning the same; only the
 * offsets of messages in the log change, and those are known to the index alone.
 *
 * The new log is written beside the old one, chunk by chunk with a sync each, and
 * takes its place by a rename. Before that it counts for nothing; after that the index
 * file names an older generation than the log has, which start-up knows for what it
 * is: it reads the log. Of a settled recipient the new log keeps its entry (SETTLED),
 * so that log and progress still give every state and the balance.
 *
 * What is settled while we copy is copied all the same. A recipient who comes back to
 * life meanwhile spoils the plan: it is dropped and made anew later.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"
#include "queue/squeeze.h"

static bool
good(enum store_result r)
{
	return r == STORE_OK || r == STORE_OK_LOCAL;
}

static void
finish(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;
	struct timer *timer = w->timer;

	timer_cancel(timer);
	free(w->item);
	buf_fini(&w->settled);
	buf_fini(&w->out);
	*w = (struct rewrite){ .timer = timer };
	/* The pages it held may go again. */
	for (uint32_t i = 0; i < s->npage; i++)
		if (s->page[i] != NULL && !s->page[i]->dirty)
			index_clean(sp, s->page[i]);
	house_wake(sp);
	rewrite_tick(sp, clock_mono_ms());	/* the next one */
}

static void
on_discarded(void *arg, enum store_result r)
{
	(void)r;	/* logged; start-up or the next rewriting removes it */
	finish(arg);
}

/* What is written so far is worth nothing; tried again after a while. */
static void
give_up(struct spool *sp, int64_t again_ms)
{
	struct rewrite *w = &sp->rewrite;

	w->seg->rewrite_ms = clock_mono_ms() + again_ms;
	if (w->step == REWRITE_PLAN) {
		finish(sp);
		return;
	}
	w->step = REWRITE_DISCARD;
	sp->ops->discard(sp->store, w->seg->no, on_discarded, sp);
}

/* ---- the plan ---- */

static struct rewrite_item *
new_item(struct rewrite *w, uint32_t off8, uint32_t first, uint32_t n)
{
	if (w->n == w->cap) {
		w->cap = w->cap == 0 ? 256 : w->cap * 2;
		w->item = mem_resize(w->item, w->cap, sizeof(*w->item));
	}
	w->item[w->n] = (struct rewrite_item){ .off8 = off8, .first = first, .n = n };
	return &w->item[w->n++];
}

static void
plan_settled(struct rewrite *w, uint32_t first, uint32_t n)
{
	while (n > 0) {
		struct rewrite_item *it = w->n == 0 ? NULL : &w->item[w->n - 1];
		if (it == NULL || it->off8 != 0 || it->first + it->n != first ||
		    it->n == SETTLED_MAX) {
			it = new_item(w, 0, first, 0);
			w->estimate += RECORD_HEAD;
		}
		uint32_t k = SETTLED_MAX - it->n < n ? SETTLED_MAX - it->n : n;
		it->n += k;
		first += k;
		n -= k;
		w->estimate += (uint64_t)k * SETTLED_BYTES;
	}
}

static bool
is_hole(const struct entry *e)
{
	static const struct msgid none;

	return e->empty && e->off8 == 0 && memcmp(e->id.b, none.b, MSGID_LEN) == 0;
}

/* The message whose first entry is next. -1 when the index cannot be read. */
static int
plan_message(struct spool *sp)
{
	enum { ENVELOPE_GUESS = 512 };
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;
	uint32_t first = w->planned, n = 0;
	struct entry e, head = { 0 };
	bool live = false;

	for (; first + n < s->count; n++) {
		if (index_get(sp, s, first + n, &e) != 0)
			return -1;
		if (n == 0)
			head = e;
		else if (e.off8 != head.off8 || e.off8 == 0)
			break;
		live = live || !entry_settled(&e);
	}
	w->planned += n;
	if (is_hole(&head))
		return 0;
	if (!live) {
		plan_settled(w, first, n);
		return 0;
	}
	/* An unsettled recipient without a message: damage that reading will report. */
	if (head.off8 == 0)
		return -1;
	new_item(w, head.off8, first, n);
	w->estimate += RECORD_HEAD + ENVELOPE_GUESS + head.size;
	w->bodies += head.size < SQUEEZE_MIN ? 0 : head.size;
	return 0;
}

/* Is it worth the writing, and is there room for it? */
static bool
worth(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;
	struct store_health h;

	if (!w->pack_only && w->estimate > s->end - s->end / 4) {
		s->tried_live = s->live;
		return false;
	}
	/* Mostly envelopes: no level makes less of it. */
	if (w->pack_only && w->bodies < s->end / 8) {
		s->packed = true;
		return false;
	}
	/* Into the reserve if need be: that is how space comes back. */
	return sp->ops->health(sp->store, &h) == 0 &&
	    h.bytes_free / 2 > (w->estimate < s->end ? w->estimate : s->end);
}

static void
plan(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	uint32_t upto = w->planned + SPOOL_PLAN_ENTRIES;

	while (w->planned < w->seg->count && w->planned < upto)
		if (plan_message(sp) != 0) {
			give_up(sp, SPOOL_REWRITE_AGAIN_MS);
			return;
		}
	if (w->planned == w->seg->count) {
		if (w->n == 0 || !worth(sp)) {
			give_up(sp, SPOOL_REWRITE_AGAIN_MS);
			return;
		}
		w->step = REWRITE_REST;
	}
	timer_arm(w->timer, 1);
}

/* ---- the copy ---- */

/* What was of the old log before `off` is a sixteenth shorter in the new one. */
static bool
shrinks(const struct rewrite *w, uint64_t off)
{
	return w->end <= off - off / 16;
}

static void
on_written(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct rewrite *w = &sp->rewrite;

	if (!good(r) || sp->closing) {
		give_up(sp, SPOOL_REWRITE_AGAIN_MS);
		return;
	}
	w->end += buf_len(&w->out);
	w->from = w->to;
	buf_fini(&w->out);
	w->step = REWRITE_REST;
	/* Bodies that do not shrink are noticed early. */
	if (w->pack_only && w->from < w->n && w->item[w->from].off8 != 0 &&
	    !shrinks(w, (uint64_t)w->item[w->from].off8 * RECORD_ALIGN)) {
		w->seg->packed = true;
		give_up(sp, 0);
		return;
	}
	int64_t took_ms = (clock_mono_us() - w->began_us) / 1000;
	timer_arm(w->timer, took_ms < 1 ? 1 : took_ms * SPOOL_COPY_REST);
}

/* A message that cannot be copied: its recipients hear of it, and the next plan has
 * them settled. */
static void
report_damage(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	struct rewrite_item it = w->item[w->bad];

	read_damaged(sp, w->seg, it.first, it.off8);
}

static void
on_copied(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct rewrite *w = &sp->rewrite;

	(void)r;
	if (w->result == READ_DAMAGED)
		report_damage(sp);
	if (w->result != READ_OK || w->spoiled || sp->closing) {
		give_up(sp, w->result == READ_TRY_LATER ? SPOOL_REWRITE_AGAIN_MS : SPOOL_TICK_MS);
		return;
	}
	w->step = REWRITE_WRITE;
	sp->ops->rewrite(sp->store, w->seg->no, w->end, buf_slice(&w->out), on_written, sp);
}

static void
begin_file(struct rewrite *w)
{
	struct seg *s = w->seg;
	uint8_t head[SEGMENT_HEAD];

	segment_head_put(head, &(struct segment_head){
	    .segment = s->no, .stamp = s->stamp, .cls = s->cls, .created_ms = s->created_ms,
	    .generation = s->generation + 1, .packed = s->packed || w->level > 0,
	    .shift_ms = s->shift_ms });
	CHECK(buf_put(&w->out, head, sizeof(head)) == 0);
}

/* The next items, as many as make a chunk. */
static void
copy(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	uint64_t bytes = 0;
	struct entry e;

	buf_fini(&w->settled);
	buf_init(&w->settled, SIZE_MAX / 2);
	buf_init(&w->out, SIZE_MAX / 2);
	if (w->end == 0)
		begin_file(w);
	while (w->to < w->n && w->to - w->from < SPOOL_COPY_ITEMS && bytes < SPOOL_COPY_BYTES) {
		struct rewrite_item *it = &w->item[w->to++];
		if (it->off8 == 0) {
			copy_settled(sp, w->seg, it);
			bytes += (uint64_t)it->n * SETTLED_BYTES;
		} else {
			CHECK(index_get(sp, w->seg, it->first, &e) == 0);
			bytes += e.size;
		}
	}
	w->step = REWRITE_COPY;
	sp->ops->work(sp->store, STORE_WORK_COPY, copy_chunk, on_copied, sp);
}

/* ---- the switch ---- */

/* From here on the new log is the log: memory follows in one go. */
static void
take_over(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;
	struct entry e;

	s->bodies = 0;
	for (size_t k = 0; k < w->n; k++) {
		const struct rewrite_item *it = &w->item[k];
		for (uint32_t i = it->first; i < it->first + it->n; i++) {
			CHECK(index_get(sp, s, i, &e) == 0);
			e.off8 = it->new8;
			s->bodies += it->new8 != 0;
			CHECK(index_put(sp, s, i, &e) == 0);
		}
	}
	for (uint32_t i = 0; i < s->npage; i++)
		if (s->page[i] != NULL)
			index_dirty(sp, s->page[i]);
	cache_forget(sp, s->no);
	s->end = s->good_end = w->end;
	s->generation++;
	s->packed = s->packed || w->level > 0;
	s->index_valid = false;
	s->tried_live = 0;
	sp->rewritten++;
	index_window_forget(sp);
}

static void
on_adopted(void *arg, enum store_result r)
{
	struct spool *sp = arg;
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;
	uint64_t was = s->end;

	if (!good(r)) {
		give_up(sp, SPOOL_REWRITE_AGAIN_MS);
		return;
	}
	take_over(sp);
	log_info("spool-rewritten", "segment=%llu bytes=%llu before=%llu recipients=%u "
	    "unsettled=%u packed=%s", (unsigned long long)s->no, (unsigned long long)s->end,
	    (unsigned long long)was, s->bodies, s->live, w->level > 0 ? "yes" : "no");
	finish(sp);
	if (s->live > 0)
		house_checkpoint(sp, s);
}

static void
adopt(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;
	struct seg *s = w->seg;

	/* Bodies that do not shrink: the old log is as good. */
	if (w->pack_only && !shrinks(w, s->end)) {
		s->packed = true;
		give_up(sp, 0);
		return;
	}
	/* A checkpoint on its way speaks of the old offsets. */
	if (sp->ckpt.step != CHECKPOINT_IDLE && sp->ckpt.seg == s) {
		timer_arm(w->timer, 10);
		return;
	}
	w->step = REWRITE_ADOPT;
	sp->ops->adopt(sp->store, s->no, on_adopted, sp);
}

void
rewrite_turn(void *arg)
{
	struct spool *sp = arg;
	struct rewrite *w = &sp->rewrite;

	if (w->step != REWRITE_PLAN && w->step != REWRITE_REST)
		return;
	if (w->spoiled || w->seg->live == 0 || sp->closing)
		give_up(sp, SPOOL_TICK_MS);
	else if (w->step == REWRITE_PLAN)
		plan(sp);
	else if (w->from < w->n)
		copy(sp);
	else
		adopt(sp);
}

bool
rewrite_revive(struct spool *sp, const struct seg *s)
{
	if (!rewrite_holds(sp, s))
		return true;
	/* Too late to keep its message, as it is a moment later. */
	if (sp->rewrite.step == REWRITE_ADOPT)
		return false;
	sp->rewrite.spoiled = true;
	return true;
}

/* ---- which, and when ---- */

static bool
may_compact(const struct spool *sp, const struct seg *s)
{
	if (sp->compact_below == 0 || s->end < SPOOL_REWRITE_MIN || house_in_grace(sp, s) ||
	    (uint64_t)s->live * 100 >= (uint64_t)s->bodies * sp->compact_below)
		return false;
	return s->tried_live == 0 || s->live < s->tried_live - s->tried_live / 4;
}

static bool
may_pack(const struct spool *sp, const struct seg *s)
{
	return sp->held_compression > 0 && s->cls == STORE_HELD && !s->packed &&
	    s->end >= SPOOL_REWRITE_MIN;
}

/* A word about a failed segment may be in this log: that one must be cut first. */
static bool
all_sealed_before(const struct spool *sp, const struct seg *s)
{
	for (size_t i = 0; i < sp->nseg && sp->seg[i]->no < s->no; i++)
		if (sp->seg[i]->state == SEG_CLOSED || sp->seg[i]->state == SEG_SEALING)
			return false;
	return true;
}

static void
begin(struct spool *sp, struct seg *s, bool compact)
{
	struct rewrite *w = &sp->rewrite;

	w->step = REWRITE_PLAN;
	w->seg = s;
	w->pack_only = !compact;
	w->level = s->cls == STORE_HELD ? sp->held_compression : 0;
	w->estimate = SEGMENT_HEAD;
	timer_arm(w->timer, 0);
}

bool
rewrite_tick(struct spool *sp, int64_t now)
{
	bool later = false;

	if (sp->closing || sp->read_only || sp->fenced)
		return false;
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state != SEG_SEALED || s->live == 0 || s->keep)
			continue;
		bool compact = may_compact(sp, s);
		if (!compact && !may_pack(sp, s))
			continue;
		later = true;
		if (sp->rewrite.step != REWRITE_IDLE || now < s->rewrite_ms ||
		    (!compact && now - s->last_ms < SPOOL_PACK_AGE_MS) ||
		    !all_sealed_before(sp, s))
			continue;
		begin(sp, s, compact);
	}
	return later || sp->rewrite.step != REWRITE_IDLE;
}

void
rewrite_stop(struct spool *sp)
{
	struct rewrite *w = &sp->rewrite;

	if (w->step == REWRITE_PLAN || w->step == REWRITE_REST)
		give_up(sp, 0);
}

void
rewrite_free(struct spool *sp)
{
	timer_free(&sp->rewrite.timer);
	free(sp->rewrite.item);
	buf_fini(&sp->rewrite.settled);
	buf_fini(&sp->rewrite.out);
}
