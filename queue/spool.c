// SPDX-License-Identifier: Apache-2.0
/* Opening and closing, the list of segments, and what is asked of single legs. */
#include "queue/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

const char *
leg_state_name(enum leg_state s)
{
	static const char *const name[LEG_STATE_MAX] = {
		"absent", "parked", "waiting", "delivered", "failed", "skipped", "dropped",
	};
	return s < LEG_STATE_MAX ? name[s] : "?";
}

struct seg *
seg_new(struct spool *sp, uint64_t no)
{
	struct seg *s = mem_new(sizeof(*s));

	s->sp = sp;
	s->no = no;
	s->settled_ms = clock_mono_ms();
	s->chunk_tail = &s->chunk;
	s->due_min[LEG_HOLD] = s->due_min[LEG_FORWARD] = INT64_MAX;
	memset(s->min.b, 0xff, MSGID_LEN);
	return s;
}

size_t
seg_position(const struct spool *sp, uint64_t no)
{
	size_t lo = 0, hi = sp->nseg;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (sp->seg[mid]->no < no)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
seg_insert(struct spool *sp, struct seg *s)
{
	size_t at = seg_position(sp, s->no);

	if (sp->nseg == sp->capseg) {
		sp->capseg = sp->capseg == 0 ? 16 : sp->capseg * 2;
		sp->seg = mem_resize(sp->seg, sp->capseg, sizeof(*sp->seg));
	}
	memmove(sp->seg + at + 1, sp->seg + at, (sp->nseg - at) * sizeof(*sp->seg));
	sp->seg[at] = s;
	sp->nseg++;
}

static void
seg_free(struct spool *sp, struct seg *s)
{
	index_drop_pages(sp, s);
	table_forget(sp, s);
	progress_free(sp, s);
	free(s->row);
	free(s);
}

void
seg_remove(struct spool *sp, struct seg *s)
{
	size_t at = seg_position(sp, s->no);

	CHECK(at < sp->nseg && sp->seg[at] == s && !s->flush_listed);
	memmove(sp->seg + at, sp->seg + at + 1, (sp->nseg - at - 1) * sizeof(*sp->seg));
	sp->nseg--;
	seg_free(sp, s);
}

struct seg *
seg_find(struct spool *sp, uint64_t no)
{
	size_t at = seg_position(sp, no);
	struct seg *s = at < sp->nseg ? sp->seg[at] : NULL;

	if (s == NULL || s->no != no || s->state == SEG_CREATING || s->state == SEG_DROPPING)
		return NULL;
	return s;
}

void
spool_set_aside(struct spool *sp, struct seg *s, uint64_t off, uint64_t len, const char *what)
{
	char name[96];
	size_t n = len > SPOOL_META_MAX ? SPOOL_META_MAX : (size_t)len;
	char *b = malloc(n + 1);
	ssize_t got = b == NULL ? -1 : sp->ops->read(sp->store, s->no, STORE_LOG, off, b, n);

	sp->damaged++;
	snprintf(name, sizeof(name), "%012llu-%012llu.%s", (unsigned long long)s->no,
	    (unsigned long long)off, what);
	int rc = got <= 0 || sp->read_only ? -1 :
	    sp->ops->set_aside(sp->store, name, slice_make(b, (size_t)got));
	log_error("spool-damaged", "segment=%llu off=%llu bytes=%llu what=%s kept=%s",
	    (unsigned long long)s->no, (unsigned long long)off, (unsigned long long)len, what,
	    rc == 0 ? name : "no");
	free(b);
}

static void
take_conf(struct spool *sp, const struct conf *c)
{
	sp->segment_size = c->segment_size < 64 * 1024 ? 64 * 1024 : c->segment_size;
	sp->disk_reserve = c->disk_reserve;
	sp->compact_below = c->compact_below;
	sp->held_compression = c->held_compression;
	sp->disk_warn = c->disk_warn;
	sp->grace_ms = c->replay_grace_ms;
	sp->cache_bytes_max = SPOOL_CACHE_BYTES;
	if (c->body_memory_max > 0 && c->body_memory_max / 4 < SPOOL_CACHE_BYTES)
		sp->cache_bytes_max = c->body_memory_max / 4;
	sp->space_checked_ms = INT64_MIN / 2;
	struct rlimit lim;
	sp->cache_fds_max = SPOOL_CACHE_FDS;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur / 4 < SPOOL_CACHE_FDS)
		sp->cache_fds_max = (size_t)lim.rlim_cur / 4;
}

void
spool_reload(struct spool *sp, const struct conf *c)
{
	take_conf(sp, c);
}

static void
init_lists(struct spool *sp)
{
	sp->clean.prev = sp->clean.next = &sp->clean;
	sp->cache.prev = sp->cache.next = &sp->cache;
	sp->finish_tail = &sp->finish;
	for (int i = 0; i < STORE_CLASS_MAX; i++)
		sp->waiting_tail[i] = &sp->waiting[i];
	sp->finisher = timer_new(sp->loop, commit_finish, sp);
	sp->watchdog = timer_new(sp->loop, commit_watch, sp);
	sp->flusher = timer_new(sp->loop, on_flusher, sp);
	sp->ticker = timer_new(sp->loop, house_tick, sp);
	sp->rewrite.timer = timer_new(sp->loop, rewrite_turn, sp);
	buf_init(&sp->totals, SPOOL_META_MAX);
	sp->next_segment = 1;
}

static void
spool_free(struct spool *sp)
{
	timer_free(&sp->finisher);
	timer_free(&sp->watchdog);
	timer_free(&sp->flusher);
	timer_free(&sp->ticker);
	rewrite_free(sp);
	cache_clear(sp);
	while (sp->nseg > 0)
		seg_free(sp, sp->seg[--sp->nseg]);
	free(sp->seg);
	free(sp->group);
	free(sp->gone);
	free(sp->window);
	free(sp->match.entry);
	buf_fini(&sp->totals);
	free(sp);
}

struct spool *
spool_open(struct loop *l, const struct conf *c, const struct store_ops *ops,
    const char *where, bool read_only)
{
	struct spool *sp = mem_new(sizeof(*sp));
	int64_t start = clock_mono_ms();

	sp->loop = l;
	sp->ops = ops;
	sp->read_only = read_only;
	init_lists(sp);
	take_conf(sp, c);
	sp->store = ops->open(l, where, read_only);
	if (sp->store == NULL)
		goto fail;
	steady_open(sp);
	if (recover_all(sp) != 0) {
		ops->close(&sp->store);
		goto fail;
	}
	log_info("spool-open", "segments=%zu held=%llu damaged=%llu ms=%lld", sp->nseg,
	    (unsigned long long)sp->all.held, (unsigned long long)sp->damaged,
	    (long long)(clock_mono_ms() - start));
	house_wake(sp);
	return sp;
fail:
	spool_free(sp);
	return NULL;
}

/* Everything that is in memory goes to the disk, as far as the disk takes it. */
static bool
settle_all(struct spool *sp)
{
	enum { WAIT_MS = 10000 };

	while (sp->finish != NULL)
		commit_finish(sp);
	if (sp->read_only)
		return sp->nfetch == 0 || sp->ops->drain(sp->store, WAIT_MS) == 0;
	rewrite_stop(sp);
	on_flusher(sp);
	if (sp->ops->drain(sp->store, WAIT_MS) != 0)
		return false;
	for (size_t i = 0; i < sp->nseg; i++) {
		house_close_seg(sp, sp->seg[i]);
		house_seal(sp, sp->seg[i]);	/* one that was read from its log */
	}
	on_flusher(sp);
	for (size_t i = 0; i < sp->nseg; i++)
		progress_sync(sp, sp->seg[i]);
	if (sp->ops->drain(sp->store, WAIT_MS) != 0)
		return false;
	for (size_t i = 0; i < sp->nseg; i++) {
		if (sp->seg[i]->live == 0 && !house_graced(sp, sp->seg[i]))
			continue;
		house_checkpoint(sp, sp->seg[i]);
		if (sp->ops->drain(sp->store, WAIT_MS) != 0)
			return false;
	}
	house_drop(sp);
	steady_save(sp);
	return sp->ops->drain(sp->store, WAIT_MS) == 0;
}

void
spool_close(struct spool **spp)
{
	struct spool *sp = *spp;

	if (sp == NULL)
		return;
	*spp = NULL;
	sp->closing = true;
	bool ok = settle_all(sp);
	if (!ok)
		log_error("spool-stuck", "effect=\"the next start reads the logs again\"");
	/* A write that never ended still points at what we would free. */
	struct store *store = sp->store;
	sp->ops->close(&store);
	commit_fail_all(sp);
	if (ok)
		spool_free(sp);
}

static void
settle_change(struct spool *sp, struct seg *s, uint32_t i, const struct entry *was,
    const struct entry *now)
{
	if (!entry_settled(now)) {
		if (i < s->first_live)
			s->first_live = i;
		return;
	}
	if (entry_settled(was))
		return;
	cache_settled(sp, s->no, now->off8);
	s->settled_ms = clock_mono_ms();
	if (s->live == 0)
		house_settled(sp, s);
}

/* Where the last note of the other leg is. */
static uint32_t
other_note(struct spool *sp, struct seg *s, const struct entry *e, enum leg_kind leg)
{
	uint8_t b[PROGRESS_MAX];
	struct progress p;

	if (progress_read(sp, s, e->note, &p, b) != 0)
		return 0;
	return p.leg == leg ? p.other : e->note;
}

int
spool_set(struct spool *sp, struct spool_ref ref, enum leg_kind leg,
    const struct spool_leg *now, struct slice note)
{
	struct seg *s = seg_find(sp, ref.segment);
	struct entry was, e;

	if (s == NULL || sp->read_only || now->state >= LEG_STATE_MAX || leg >= LEG_KIND_MAX ||
	    index_get(sp, s, ref.entry, &was) != 0 || was.empty)
		return -1;
	/* Its message is not kept any more: nothing could be delivered. */
	if (!leg_settled(now->state) && (was.off8 == 0 ||
	    (entry_settled(&was) && !rewrite_revive(sp, s))))
		return -1;
	struct progress p = {
		.kind = PROGRESS_LEG, .leg = (uint8_t)leg, .now = *now, .entry = ref.entry,
		.check = entry_check(&was), .note = note,
	};
	e = was;
	e.leg[leg] = *now;
	if (note.n > 0) {
		p.other = other_note(sp, s, &was, leg);
		e.note = (uint32_t)(s->prg_end / RECORD_ALIGN);
	}
	if (index_put(sp, s, ref.entry, &e) != 0)
		return -1;
	progress_log(sp, s, &p);
	balance_add(sp, s, &was, -1);
	balance_add(sp, s, &e, 1);
	settle_change(sp, s, ref.entry, &was, &e);
	return 0;
}

int
spool_note(struct spool *sp, struct spool_ref ref, enum leg_kind leg, char *out, size_t cap)
{
	struct seg *s = seg_find(sp, ref.segment);
	uint8_t b[PROGRESS_MAX];
	struct progress p;
	struct entry e;

	if (cap > 0)
		out[0] = '\0';
	if (s == NULL || cap == 0 || index_get(sp, s, ref.entry, &e) != 0)
		return -1;
	if (progress_read(sp, s, e.note, &p, b) != 0 ||
	    (p.leg != leg && progress_read(sp, s, p.other, &p, b) != 0) ||
	    p.leg != leg || p.entry != ref.entry)
		return 0;
	size_t n = p.note.n < cap - 1 ? p.note.n : cap - 1;
	memcpy(out, p.note.p, n);
	out[n] = '\0';
	return 0;
}

/* Where the first unsettled entry is; each step is taken once. */
static int64_t
oldest(struct spool *sp, struct seg *s)
{
	struct entry e;

	for (; s->first_live < s->count; s->first_live++)
		if (index_peek(sp, s, s->first_live, &e) != 0)
			break;
		else if (!entry_settled(&e))
			return e.received_ms;
	return 0;
}

void
spool_status(struct spool *sp, struct spool_status *out)
{
	struct store_health h = { 0 };

	*out = (struct spool_status){ .commits = sp->commits, .damaged = sp->damaged,
		.reading = sp->nfetch };
	if (sp->ops->health(sp->store, &h) == 0) {
		out->bytes_free = h.bytes_free;
		out->syncs = h.syncs;
	}
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state == SEG_CREATING || s->state == SEG_DROPPING)
			continue;
		out->segments++;
		out->bytes += s->end;
		if (s->live > 0 && out->oldest_ms == 0)
			out->oldest_ms = oldest(sp, s);
	}
	out->full = !sp->read_only && spool_is_full(sp, 0);
}
