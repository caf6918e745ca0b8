// SPDX-License-Identifier: Apache-2.0
/*
 * The log is walked as start-up does when it has no index, with one difference: a
 * record that does not hold is described. Findings of a segment are kept until its
 * progress and index were read, because those say how many recipients are concerned
 * and whether anything was promised.
 */
#include "queue/spool_verify.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/body.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "queue/spool_priv.h"
#include "queue/spool_verify_priv.h"
#include "queue/squeeze.h"

static const char what_torn[] = "the write of this record was cut short";

void
window_init(struct verify *v, struct window *w, enum store_part part, uint64_t size)
{
	*w = (struct window){ .part = part, .size = size, .b = v->window };
}

const uint8_t *
window_at(struct verify *v, struct window *w, uint64_t off, size_t n)
{
	if (n > VERIFY_WINDOW || off > w->size || w->size - off < n)
		return NULL;
	if (off >= w->off && off - w->off <= w->n && w->n - (off - w->off) >= n)
		return w->b + (off - w->off);
	if (v->to->progress != NULL && !v->to->progress(v->arg, v->done + off, v->total))
		v->stopped = true;
	w->n = 0;
	ssize_t got = v->ops->read(v->store, v->r.segment, w->part, off, w->b, VERIFY_WINDOW);
	/* One bad sector must not hide what is around it. */
	if (got < 0)
		got = v->ops->read(v->store, v->r.segment, w->part, off, w->b, n);
	if (got < 0)
		w->io_error = true;
	if (got < (ssize_t)n)
		return NULL;
	w->off = off;
	w->n = (size_t)got;
	return w->b;
}

struct spool_finding *
verify_found(struct verify *v, enum store_part part, uint64_t off, uint64_t len, bool damage,
    const char *what)
{
	/* Over the limit the last one is written over: what is counted stays right. */
	if (v->nfinding < VERIFY_FINDINGS_MAX)
		v->nfinding++;
	if (v->nfinding > v->capfinding) {
		v->capfinding = v->capfinding == 0 ? 16 : v->capfinding * 2;
		v->finding = mem_resize(v->finding, v->capfinding, sizeof(*v->finding));
	}
	struct spool_finding *f = &v->finding[v->nfinding - 1];
	*f = (struct spool_finding){ .segment = v->r.segment, .part = part, .off = off, .len = len,
	    .damage = damage, .what = what };
	return f;
}

static bool
all_zero(struct verify *v, struct window *w, uint64_t off, uint64_t end)
{
	while (off < end) {
		size_t n = end - off < 4096 ? (size_t)(end - off) : 4096;
		const uint8_t *p = window_at(v, w, off, n);
		for (size_t i = 0; i < n; i++)
			if (p == NULL || p[i] != 0)
				return false;
		off += n;
	}
	return true;
}

/* ---- records ---- */

/* Room for ordinals up to `n`; new ones are holes. false: more than a segment can have. */
static bool
known_reach(struct verify *v, uint64_t n)
{
	if (n > VERIFY_ENTRIES_MAX)
		return false;
	if (n > v->capknown) {
		uint32_t cap = v->capknown == 0 ? 4096 : v->capknown;
		while (cap < n)
			cap *= 2;
		v->known = mem_resize(v->known, cap, sizeof(*v->known));
		v->capknown = cap;
	}
	for (; v->nknown < n; v->nknown++)
		v->known[v->nknown] = (struct known){ .there = false };
	return true;
}

/* What can be said of the recipients of a record whose envelope is not to be read:
 * nobody knows better than that they are still here. */
static void
know_head_only(struct verify *v, uint64_t off, const struct record *r)
{
	if (r->type != RECORD_MESSAGE || r->first_entry < v->nknown ||
	    !known_reach(v, (uint64_t)r->first_entry + r->nrcpt))
		return;
	for (uint16_t i = 0; i < r->nrcpt; i++)
		v->known[r->first_entry + i].e = (struct entry){ .id = r->id, .rcpt = i,
		    .off8 = (uint32_t)(off / RECORD_ALIGN), .size = r->size,
		    .leg = { { .state = LEG_PARKED }, { .state = LEG_ABSENT } } };
}

/* NULL, or what is wrong with births and envelope. */
static const char *
know_record(struct verify *v, uint64_t off, const struct record *r, const uint8_t *meta)
{
	struct slice list;
	struct envelope_rcpt rcpt;
	struct spool_birth birth;
	struct envelope env;
	int rc;

	if (envelope_get(slice_make(meta + r->nrcpt, r->env_len), &env) != 0)
		return "the envelope cannot be decoded";
	if (memcmp(env.id.b, r->id.b, MSGID_LEN) != 0)
		return "the envelope is another message's";
	if (r->first_entry < v->nknown || !known_reach(v, (uint64_t)r->first_entry + r->nrcpt))
		return "the numbers of its recipients are impossible";
	list = env.rcpts;
	for (uint16_t i = 0; i < r->nrcpt; i++) {
		if (wire_item_next(&list, &envelope_rcpt_wire, &rcpt) != 1)
			return "the envelope has fewer recipients than the record says";
		if (birth_get(meta[i], &birth) != 0)
			return "a leg was born in no known state";
		struct known *k = &v->known[r->first_entry + i];
		k->there = true;
		k->group = spool_group(rcpt.domain, rcpt.shard);
		k->e = (struct entry){
			.id = r->id, .rcpt = i, .kind = rcpt.kind, .triage = env.triage,
			.hold_only = (env.flags & ENV_HOLD_ONLY) != 0, .size = r->size,
			.off8 = (uint32_t)(off / RECORD_ALIGN), .user = spool_user(rcpt.user),
			.sender = spool_sender(env.mail_from),
			.received_ms = (int64_t)env.received_ms,
			.leg = { { .state = birth.hold }, { .state = birth.forward } },
		};
	}
	while ((rc = wire_item_next(&list, &envelope_rcpt_wire, &rcpt)) != 0)
		return rc < 0 ? "a recipient cannot be decoded" :
		    "the envelope has more recipients than the record says";
	return NULL;
}

static bool
body_holds(struct verify *v, struct window *w, uint64_t off, const struct record *r)
{
	uint64_t left = r->body_len;
	uint32_t crc = 0;

	while (left > 0) {
		size_t n = left < VERIFY_WINDOW ? (size_t)left : VERIFY_WINDOW;
		const uint8_t *p = window_at(v, w, off, n);
		if (p == NULL)
			return false;
		crc = crc32c(crc, p, n);
		off += n;
		left -= n;
	}
	return crc == r->crc_body;
}

/* Recipients of whom all was settled when the log was rewritten. */
static const char *
know_settled(struct verify *v, const struct record *r, const uint8_t *p)
{
	uint32_t n = r->env_len / SETTLED_BYTES;

	if (r->first_entry < v->nknown || !known_reach(v, (uint64_t)r->first_entry + n))
		return "the numbers of its recipients are impossible";
	for (uint32_t i = 0; i < n; i++, p += SETTLED_BYTES) {
		struct known *k = &v->known[r->first_entry + i];
		settled_get(p, &k->e, &k->group);
		k->there = true;
	}
	return NULL;
}

static const char *
note_abandon(struct verify *v, const struct record *r, const uint8_t *p)
{
	if (r->env_len != ABANDON_BYTES || r->nrcpt != 0)
		return "a malformed word about a failed segment";
	v->abandon = mem_resize(v->abandon, v->nabandon + 1, sizeof(*v->abandon));
	v->abandon[v->nabandon++] = abandon_get(p);
	return NULL;
}

/* The stored bytes hold; does their content? */
static const char *
check_packed(struct verify *v, uint64_t off, const struct record *r)
{
	int stored = v->ops->read_body(v->store, v->r.segment, off, r->body_len);
	int plain = body_create();
	const char *what = "the body cannot be read";
	struct slice map;

	if (stored >= 0 && plain >= 0 && body_map(stored, &map) == 0) {
		what = squeeze_unpack(map, r->size, plain) == 0 ? NULL :
		    errno == EBADMSG ? "the body cannot be unpacked" : what;
		body_unmap(&map);
	}
	if (stored >= 0)
		close(stored);
	if (plain >= 0)
		close(plain);
	return what;
}

/* The record whose head is good. NULL, or what is wrong. */
static const char *
check_record(struct verify *v, struct window *w, uint64_t off, const struct record *r)
{
	uint64_t len = record_len(r), meta_len = record_meta_len(r);

	if (w->size < off || w->size - off < len) {
		know_head_only(v, off, r);
		return what_torn;
	}
	const uint8_t *p = window_at(v, w, off + RECORD_HEAD, meta_len);
	if (p == NULL || record_crc(r->stamp, slice_make(p, meta_len)) != r->crc_meta) {
		know_head_only(v, off, r);
		return p == NULL ? "the envelope cannot be read" :
		    "the envelope does not match its checksum";
	}
	if (r->type == RECORD_ABANDON)
		return note_abandon(v, r, p);
	if (r->type == RECORD_SETTLED)
		return know_settled(v, r, p);
	if (r->nrcpt == 0)
		return "a message without recipients";
	const char *what = know_record(v, off, r, p);
	if (what != NULL)
		return what;
	if (!body_holds(v, w, off + RECORD_HEAD + meta_len, r))
		return w->io_error ? "the body cannot be read" :
		    "the body does not match its checksum";
	if ((r->flags & RECORD_ZSTD) != 0)
		return check_packed(v, off + RECORD_HEAD + meta_len, r);
	return r->size != r->body_len ? "the size is not that of the body" : NULL;
}

/* ---- the log ---- */

static uint64_t
next_head(struct verify *v, struct window *w, uint64_t off)
{
	struct record r;

	for (off += RECORD_ALIGN; off + RECORD_HEAD <= w->size && !v->stopped;
	    off += RECORD_ALIGN) {
		const uint8_t *p = window_at(v, w, off, RECORD_HEAD);
		if (p != NULL && record_get(p, v->stamp, &r) == 0)
			return off;
	}
	return w->size;
}

/* Bytes between records, or behind the last one. */
static void
bad_run(struct verify *v, struct window *w, uint64_t off, uint64_t next)
{
	bool last = next == w->size, failed = w->io_error;

	if (all_zero(v, w, off, next))
		verify_found(v, STORE_LOG, off, next - off, !last, last ?
		    "zeros behind the last record" : "zeros where a record was");
	else if (failed)
		verify_found(v, STORE_LOG, off, next - off, true, "the disk does not read this");
	else if (last && (v->live || next - off < RECORD_HEAD))
		verify_found(v, STORE_LOG, off, next - off, false, what_torn);
	else
		verify_found(v, STORE_LOG, off, next - off, true, "no record can be made out here");
}

static void
check_log(struct verify *v, uint64_t size)
{
	uint64_t off = SEGMENT_HEAD, next;
	struct window w;
	struct record r;

	/* A rewritten log was stable as a whole before it took its place. */
	if (v->generation > 0 && v->generation != UINT32_MAX)
		v->stable = size;
	window_init(v, &w, STORE_LOG, size);
	while (off + RECORD_HEAD <= size && !v->stopped) {
		const uint8_t *p = window_at(v, &w, off, RECORD_HEAD);
		if (p == NULL || record_get(p, v->stamp, &r) != 0) {
			next = next_head(v, &w, off);
			bad_run(v, &w, off, next);
			off = next;
			w.io_error = false;
			continue;
		}
		if ((uint64_t)r.stable * RECORD_ALIGN > v->stable)
			v->stable = (uint64_t)r.stable * RECORD_ALIGN;
		const char *what = check_record(v, &w, off, &r);
		uint64_t end = off + record_len(&r);
		if (what == NULL) {
			v->r.records++;
		} else {
			/* Its head may be true and its end not: look inside as well. */
			next = next_head(v, &w, off);
			end = end < next ? end : next;
			verify_found(v, STORE_LOG, off, end - off, what != what_torn, what);
		}
		w.io_error = false;
		off = end;
	}
	if (off < size && !v->stopped)
		bad_run(v, &w, off, size);
}

/* ---- a segment ---- */

static int
by_place(const void *a, const void *b)
{
	const struct spool_finding *x = a, *y = b;

	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* The finding of the log that covers this offset, or NULL. They are sorted, those of
 * the log come first and do not overlap. */
static struct spool_finding *
find_at(struct verify *v, size_t nlog, uint64_t off)
{
	size_t lo = 0, hi = nlog;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->finding[mid].off <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	struct spool_finding *f = lo == 0 ? NULL : &v->finding[lo - 1];
	return f != NULL && off - f->off < f->len ? f : NULL;
}

/* Whom each finding concerns, what was promised, and the sums of the segment. */
static void
conclude(struct verify *v)
{
	struct spool_finding lost = { .segment = v->r.segment, .part = STORE_LOG, .damage = true,
	    .promised = true, .what = "the index knows recipients that the log does not have" };
	size_t nlog = 0;

	if (v->nfinding > 0)
		qsort(v->finding, v->nfinding, sizeof(*v->finding), by_place);
	while (nlog < v->nfinding && v->finding[nlog].part == STORE_LOG)
		nlog++;
	for (uint32_t i = 0; i < v->nknown; i++) {
		const struct known *k = &v->known[i];
		if (k->e.empty || (k->e.off8 == 0 && !k->there))
			continue;
		bool open = !entry_settled(&k->e);
		if (k->e.off8 == 0) {
			v->r.recipients++;
			v->r.unsettled += open;
			continue;
		}
		struct spool_finding *f = find_at(v, nlog, (uint64_t)k->e.off8 * RECORD_ALIGN);
		if (f == NULL && k->there) {
			v->r.recipients++;
			v->r.unsettled += open;
			continue;
		}
		if (f == NULL)
			f = &lost;
		if (!f->has_id)
			f->id = k->e.id;
		f->has_id = true;
		f->recipients++;
		f->unsettled += open;
		f->promised = f->promised || k->last[LEG_HOLD] > 0 || k->last[LEG_FORWARD] > 0;
	}
	if (lost.recipients > 0)
		*verify_found(v, STORE_LOG, 0, 0, true, lost.what) = lost;
	for (size_t i = 0; i < v->nfinding; i++) {
		struct spool_finding *f = &v->finding[i];
		if (f->part == STORE_LOG)
			f->promised = f->promised || f->off < v->stable;
		if (f->what == what_torn && f->promised)
			f->damage = true;
		v->r.damage += f->damage;
		v->r.notes += !f->damage;
	}
}

static void
tell(struct verify *v)
{
	for (size_t i = 0; i < v->nfinding && v->to->finding != NULL; i++)
		v->to->finding(v->arg, &v->finding[i]);
	if (v->to->segment != NULL)
		v->to->segment(v->arg, &v->r);
}

/* The heads of log and progress, and the stamp that all else is checked with. */
static bool
check_heads(struct verify *v, const int64_t size[STORE_PART_MAX])
{
	const enum store_part part[2] = { STORE_LOG, STORE_PROGRESS };
	uint8_t b[SEGMENT_HEAD + RECORD_HEAD] = { 0 };
	struct segment_head h;
	struct record r;
	bool have = false;

	for (int i = 0; i < 2; i++) {
		enum store_part p = part[i];
		if (size[p] < 0) {
			verify_found(v, p, 0, 0, true, p == STORE_LOG ? "the log is missing" :
			    "the progress log is missing");
			continue;
		}
		if (v->ops->read(v->store, v->r.segment, p, 0, b, SEGMENT_HEAD) != SEGMENT_HEAD ||
		    segment_head_get(b, &h) != 0) {
			verify_found(v, p, 0, SEGMENT_HEAD, true,
			    "the head of the file is damaged");
			continue;
		}
		if (h.segment != v->r.segment)
			verify_found(v, p, 0, SEGMENT_HEAD, true, "this is the file of another "
			    "segment");
		else if (have && h.stamp != v->stamp)
			verify_found(v, p, 0, SEGMENT_HEAD, true, "this belongs to another log");
		if (!have) {
			v->stamp = h.stamp;
			v->r.cls = h.cls;
			if (p == STORE_LOG)
				v->generation = h.generation;
		}
		have = true;
	}
	if (have || v->ops->read(v->store, v->r.segment, STORE_LOG, 0, b, sizeof(b)) !=
	    (ssize_t)sizeof(b))
		return have;
	/* A record carries the stamp, too. */
	v->stamp = le_get(b + SEGMENT_HEAD + 8, 8);
	return record_get(b + SEGMENT_HEAD, v->stamp, &r) == 0;
}

/* How far the log goes, by its index or by what a newer segment says of it. */
static uint64_t
log_end(struct verify *v, int64_t size, const struct index_head *h)
{
	uint64_t end = size < 0 ? 0 : (uint64_t)size;

	if (h != NULL) {
		v->stable = h->log_end;
		if (h->log_end > end)
			verify_found(v, STORE_LOG, end, h->log_end - end, true,
			    "the log is shorter than its index says");
		else if (h->log_end < end)
			verify_found(v, STORE_LOG, h->log_end, end - h->log_end, false,
			    "bytes behind the end of a log that is sealed");
		return h->log_end < end ? h->log_end : end;
	}
	for (size_t i = 0; i < v->nabandon; i++)
		if (v->abandon[i].segment == v->r.segment && v->abandon[i].good_end < end) {
			end = v->abandon[i].good_end;
			verify_found(v, STORE_LOG, end, (uint64_t)size - end, false,
			    "a write failed here; a newer segment has what was in it");
		}
	return end;
}

static void
check_segment(struct verify *v, uint64_t no)
{
	int64_t size[STORE_PART_MAX];
	struct index_head h;
	int index = 0;

	v->r = (struct spool_segment_report){ .segment = no, .index = INDEX_ABSENT };
	v->nknown = 0;
	v->nfinding = 0;
	v->stable = v->prg_size = v->covered = 0;
	v->generation = UINT32_MAX;
	v->prg_lost = false;
	for (int p = 0; p < STORE_PART_MAX; p++)
		size[p] = v->ops->size(v->store, no, (enum store_part)p);
	/* Beside a running relay: being made, or being dropped. */
	if (v->live && (size[STORE_LOG] < 0 || size[STORE_PROGRESS] < 0))
		return;
	v->r.log_bytes = size[STORE_LOG] < 0 ? 0 : (uint64_t)size[STORE_LOG];
	bool told = check_heads(v, size);
	if (size[STORE_LOG] <= SEGMENT_HEAD && size[STORE_INDEX] < 0 && size[STORE_PROGRESS] < 0) {
		/* A crash while it was made: the log is there before the progress log. */
		v->nfinding = 0;
		goto out;
	}
	if (!told) {
		if (size[STORE_LOG] >= 0)
			verify_found(v, STORE_LOG, 0, v->r.log_bytes, true,
			    "nothing in this file can be told from noise");
		goto out;
	}
	if (!v->live && size[STORE_NEW] >= 0)
		verify_found(v, STORE_NEW, 0, (uint64_t)size[STORE_NEW], false,
		    "this log was being rewritten; start-up removes what is here of the new one");
	if (v->live)
		v->r.index = INDEX_UNCHECKED;
	else
		index = verify_index_head(v, &h);
	check_log(v, log_end(v, size[STORE_LOG], index > 0 ? &h : NULL));
	v->done += size[STORE_LOG] > 0 ? (uint64_t)size[STORE_LOG] : 0;
	v->prg_size = size[STORE_PROGRESS] < 0 ? 0 : (uint64_t)size[STORE_PROGRESS];
	v->covered = index > 0 ? h.covered : 0;
	verify_progress(v);
	v->done += v->prg_size;
	if (index > 0)
		verify_index(v, &h);
	v->done += size[STORE_INDEX] > 0 ? (uint64_t)size[STORE_INDEX] : 0;
out:
	if (v->stopped)
		return;
	conclude(v);
	tell(v);
}

/* ---- all ---- */

struct numbers {
	struct verify	*v;
	uint64_t	*no;
	size_t		 n;
};

static void
on_segment(void *arg, uint64_t segment)
{
	struct numbers *l = arg;

	l->no = mem_resize(l->no, l->n + 1, sizeof(*l->no));
	l->no[l->n++] = segment;
	for (int p = 0; p < STORE_NEW; p++) {
		int64_t size = l->v->ops->size(l->v->store, segment, (enum store_part)p);
		l->v->total += size > 0 ? (uint64_t)size : 0;
	}
}

/* The totals are read by the code that start-up uses; it wants a spool around it. */
static struct spool *
check_totals(struct verify *v)
{
	struct spool *sp = mem_new(sizeof(*sp));
	struct spool_finding f = { .part = STORE_PART_MAX, .damage = true };

	sp->ops = v->ops;
	sp->store = v->store;
	sp->read_only = true;
	if (balance_load(sp) != 0)
		f.what = "both copies of the totals are damaged: the balance of dropped segments "
		    "is lost";
	else if (sp->damaged > 0)
		f.what = "one copy of the totals is damaged; the other one is good";
	if (f.what != NULL && v->to->finding != NULL)
		v->to->finding(v->arg, &f);
	return sp;
}

static bool
is_gone(const struct spool *sp, uint64_t no)
{
	for (size_t i = 0; i < sp->ngone; i++)
		if (sp->gone[i] == no)
			return true;
	return false;
}

int
spool_verify(const struct store_ops *ops, struct store *s, bool live,
    const struct spool_verify_ops *to, void *arg)
{
	struct verify *v = mem_new(sizeof(*v));
	struct numbers l = { .v = v };
	int rc = -1;

	*v = (struct verify){ .ops = ops, .store = s, .live = live, .to = to, .arg = arg };
	struct spool *totals = check_totals(v);
	if (ops->list(s, on_segment, &l) != 0)
		goto out;
	v->window = mem_new(VERIFY_WINDOW);
	/* Newest first: it may say where an older one that failed ends. */
	for (size_t i = l.n; i-- > 0 && !v->stopped;) {
		if (!is_gone(totals, l.no[i])) {
			check_segment(v, l.no[i]);
			continue;
		}
		v->r = (struct spool_segment_report){ .segment = l.no[i], .dropped = true };
		if (to->segment != NULL)
			to->segment(arg, &v->r);
	}
	rc = 0;
out:
	free(totals->group);
	free(totals->gone);
	free(totals);
	free(l.no);
	free(v->window);
	free(v->known);
	free(v->finding);
	free(v->abandon);
	free(v);
	return rc;
}
