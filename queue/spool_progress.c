// SPDX-License-Identifier: Apache-2.0
/*
 * Progress: what became of a leg, said once to the index page in memory and once
 * to the log beside the segment. Records of one turn of the loop go in one write,
 * a sync follows within a second; until it succeeded the bytes stay here, because
 * after a failed sync the kernel may have thrown its copy away.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

void
progress_log(struct spool *sp, struct seg *s, const struct progress *p)
{
	uint8_t b[PROGRESS_MAX + 8];
	size_t n = progress_put(b, s->stamp, p);

	if (s->prg.max == 0)
		buf_init(&s->prg, SIZE_MAX / 2);
	CHECK(buf_put(&s->prg, b, n) == 0);
	s->prg_end += n;
	if (!s->flush_listed) {
		s->flush_listed = true;
		s->flush_next = sp->flush;
		sp->flush = s;
		timer_arm(sp->flusher, 0);
	}
	house_wake(sp);
}

/* Applies one record, of which the log (or our buffer) has `off`. Both legs are
 * absolute values, so doing it twice is doing it once. */
int
progress_apply(struct spool *sp, struct seg *s, const struct progress *p, uint64_t off)
{
	struct entry e, was;

	if (p->entry >= s->count || index_get(sp, s, p->entry, &e) != 0 ||
	    entry_check(&e) != p->check)
		return -1;
	/* Rewriting kept its last state in the log and its message no longer. The progress
	 * that said so may be lost with a power cut, and what was said before it is still
	 * here: that must not wake a leg of which nothing could be delivered. */
	if (p->kind == PROGRESS_LEG && e.off8 == 0 && !leg_settled(p->now.state))
		return 0;
	was = e;
	if (p->kind == PROGRESS_VOID) {
		e.empty = true;
	} else {
		e.leg[p->leg] = p->now;
		if (p->note.n > 0)
			e.note = (uint32_t)(off / RECORD_ALIGN);
	}
	if (index_put(sp, s, p->entry, &e) != 0)
		return -1;
	balance_add(sp, s, &was, -1);
	balance_add(sp, s, &e, 1);
	if (!entry_settled(&e) && p->entry < s->first_live)
		s->first_live = p->entry;
	return 0;
}

int
progress_read(struct spool *sp, struct seg *s, uint32_t off8, struct progress *p,
    uint8_t b[PROGRESS_MAX])
{
	uint64_t off = (uint64_t)off8 * RECORD_ALIGN, first = s->prg_end - buf_len(&s->prg);
	struct slice in = SLICE_NONE;

	if (off8 == 0)
		return -1;
	if (off >= first && off < s->prg_end)
		in = slice_sub(buf_slice(&s->prg), off - first, s->prg_end - first);
	for (struct chunk *c = s->chunk; c != NULL && in.n == 0; c = c->next)
		if (off >= c->off && off < c->off + c->n)
			in = slice_make(c->b + (off - c->off), c->off + c->n - off);
	if (in.n == 0) {
		ssize_t n = sp->ops->read(sp->store, s->no, STORE_PROGRESS, off, b, PROGRESS_MAX);
		if (n <= 0)
			return -1;
		in = slice_make(b, (size_t)n);
	} else {
		if (in.n > PROGRESS_MAX)
			in.n = PROGRESS_MAX;
		memcpy(b, in.p, in.n);
		in.p = (const char *)b;
	}
	return progress_get(in, s->stamp, p) == 0 ? -1 : 0;
}

static void
on_written(void *arg, enum store_result r)
{
	struct chunk *c = arg;
	struct seg *s = c->seg;

	s->prg_inflight--;
	c->state = r <= STORE_OK_LOCAL ? CHUNK_WRITTEN : CHUNK_NEW;
	if (r > STORE_OK_LOCAL)
		log_error("spool-progress", "segment=%llu result=%s",
		    (unsigned long long)s->no, store_result_name(r));
	house_wake(c->sp);
}

static void
write_chunk(struct spool *sp, struct chunk *c)
{
	c->state = CHUNK_WRITING;
	c->seg->prg_inflight++;
	sp->ops->progress(sp->store, c->seg->no, c->off, slice_make(c->b, c->n), false,
	    on_written, c);
}

/* Moves the turn's bytes into a chunk and sends it off. */
void
progress_flush(struct spool *sp, struct seg *s)
{
	size_t n = buf_len(&s->prg);

	if (n == 0)
		return;
	struct chunk *c = mem_new(sizeof(*c) + n);
	c->sp = sp;
	c->seg = s;
	c->off = s->prg_end - n;
	c->n = n;
	memcpy(c->b, buf_slice(&s->prg).p, n);
	buf_fini(&s->prg);
	s->prg.max = 0;
	*s->chunk_tail = c;
	s->chunk_tail = &c->next;
	sp->chunk_bytes += n;
	write_chunk(sp, c);
}

void
on_flusher(void *arg)
{
	struct spool *sp = arg;

	while (sp->flush != NULL) {
		struct seg *s = sp->flush;
		sp->flush = s->flush_next;
		s->flush_listed = false;
		progress_flush(sp, s);
	}
	/* Much at once does not wait for the second to be over. */
	if (sp->chunk_bytes > SPOOL_CHUNK_BYTES / 4)
		progress_tick(sp);
	house_relieve(sp);
}

/* Everything said about the segment is in its file, for good. */
bool
progress_stable(const struct seg *s)
{
	return s->chunk == NULL && buf_len(&s->prg) == 0;
}

static void
free_stable(struct spool *sp, struct seg *s)
{
	while (s->chunk != NULL && s->chunk->state == CHUNK_WRITTEN &&
	    s->chunk->off + s->chunk->n <= s->prg_sync_to) {
		struct chunk *c = s->chunk;
		s->chunk = c->next;
		sp->chunk_bytes -= c->n;
		free(c);
	}
	if (s->chunk == NULL)
		s->chunk_tail = &s->chunk;
}

static void
on_synced(void *arg, enum store_result r)
{
	struct seg *s = arg;
	struct spool *sp = s->sp;

	s->prg_inflight--;
	s->prg_syncing = false;
	if (r <= STORE_OK_LOCAL) {
		free_stable(sp, s);
	} else {
		/* What was written may be gone: all of it is written again. */
		for (struct chunk *c = s->chunk; c != NULL; c = c->next)
			if (c->state == CHUNK_WRITTEN)
				c->state = CHUNK_NEW;
	}
	house_wake(sp);
}

/* A second's worth of trying failed and memory is bounded: what is given up here
 * can repeat a delivery after a crash, never lose one. */
static void
give_up_oldest(struct spool *sp, struct seg *s)
{
	struct chunk *c = s->chunk;

	if (c == NULL || c->state != CHUNK_NEW)
		return;
	log_error("spool-progress-lost", "segment=%llu bytes=%zu effect=\"repeated deliveries "
	    "after a crash\"", (unsigned long long)s->no, c->n);
	s->chunk = c->next;
	if (s->chunk == NULL)
		s->chunk_tail = &s->chunk;
	sp->chunk_bytes -= c->n;
	free(c);
}

void
progress_sync(struct spool *sp, struct seg *s)
{
	if (s->prg_syncing)
		return;
	progress_flush(sp, s);
	uint64_t to = s->prg_end;
	for (struct chunk *c = s->chunk; c != NULL; c = c->next)
		if (c->state == CHUNK_NEW)
			write_chunk(sp, c);
	if (s->chunk == NULL)
		return;
	s->prg_syncing = true;
	s->prg_sync_to = to;
	s->prg_inflight++;
	sp->ops->progress(sp->store, s->no, to, SLICE_NONE, true, on_synced, s);
}

bool
progress_tick(struct spool *sp)
{
	bool more = false;

	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state == SEG_CREATING || progress_stable(s))
			continue;
		more = true;
		if (sp->chunk_bytes > SPOOL_CHUNK_BYTES)
			give_up_oldest(sp, s);
		progress_sync(sp, s);
	}
	return more;
}

void
progress_free(struct spool *sp, struct seg *s)
{
	while (s->chunk != NULL) {
		struct chunk *c = s->chunk;
		s->chunk = c->next;
		sp->chunk_bytes -= c->n;
		free(c);
	}
	if (s->prg.max != 0)
		buf_fini(&s->prg);
}
