// SPDX-License-Identifier: Apache-2.0
/*
 * Start-up. A segment with a good index file is taken as it is, plus the progress
 * written after it; any other is read from its log. Never fails on what the bytes
 * are: what cannot be used is set aside and reported, the rest is delivered.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

enum { SCAN_BAD = 4096 };	/* what a failing disk loses at once */

struct scan {			/* a window over one part of one segment */
	struct spool	*sp;
	struct seg	*seg;
	enum store_part	 part;
	uint64_t	 size;		/* of the part */
	uint8_t		*b;		/* SPOOL_SCAN_CHUNK */
	uint64_t	 off;		/* of b */
	size_t		 n;		/* valid bytes in b */
	bool		 io_error;	/* something could not be read */
	uint64_t	 bad_end;	/* the page that ends here failed: not asked again */
};

/* `n` bytes at off, borrowed until the next call; NULL past the end or unreadable. */
static const uint8_t *
scan_at(struct scan *c, uint64_t off, size_t n)
{
	if (n > SPOOL_SCAN_CHUNK || off > c->size || c->size - off < n)
		return NULL;
	if (off >= c->off && off - c->off <= c->n && c->n - (off - c->off) >= n)
		return c->b + (off - c->off);
	/* A disk that fails is asked once per page, not once per eight bytes; and a
	 * rebuild beside the living segment ends at the first error. */
	if (c->io_error && (c->seg->shadow ||
	    (off < c->bad_end && off + SCAN_BAD >= c->bad_end)))
		return NULL;
	c->n = 0;
	ssize_t got = c->sp->ops->read(c->sp->store, c->seg->no, c->part, off, c->b,
	    SPOOL_SCAN_CHUNK);
	if (got < 0) {
		/* One bad sector must not hide what is around it. */
		got = c->sp->ops->read(c->sp->store, c->seg->no, c->part, off, c->b, n);
		if (got < 0) {
			c->io_error = true;
			c->bad_end = (off / SCAN_BAD + 1) * SCAN_BAD;
		}
	}
	if (got < (ssize_t)n)
		return NULL;
	c->off = off;
	c->n = (size_t)got;
	return c->b;
}

static int
scan_init(struct scan *c, struct spool *sp, struct seg *s, enum store_part part)
{
	int64_t size = sp->ops->size(sp->store, s->no, part);

	*c = (struct scan){ .sp = sp, .seg = s, .part = part };
	if (size < 0)
		return -1;
	c->size = (uint64_t)size;
	c->b = mem_new(SPOOL_SCAN_CHUNK);
	return 0;
}

static bool
all_zero(struct scan *c, uint64_t off, uint64_t end)
{
	while (off < end) {
		size_t n = end - off < 4096 ? (size_t)(end - off) : 4096;
		const uint8_t *p = scan_at(c, off, n);
		for (size_t i = 0; i < n; i++)
			if (p == NULL || p[i] != 0)
				return false;
		off += n;
	}
	return true;
}

static bool
body_whole(struct scan *c, uint64_t off, const struct record *r)
{
	uint64_t left = r->body_len;
	uint32_t crc = 0;

	while (left > 0) {
		size_t n = left < SPOOL_SCAN_CHUNK ? (size_t)left : SPOOL_SCAN_CHUNK;
		const uint8_t *p = scan_at(c, off, n);
		if (p == NULL)
			return false;
		crc = crc32c(crc, p, n);
		off += n;
		left -= n;
	}
	return crc == r->crc_body;
}

/* Ordinals that nothing is known of keep their place, so that progress of later
 * entries still means them. */
static int
fill_holes(struct spool *sp, struct seg *s, uint32_t upto)
{
	const struct entry hole = { .empty = true };

	if (upto < s->count || upto > SPOOL_ENTRIES_MAX + UINT16_MAX)
		return -1;
	index_reserve(s, upto);
	while (s->count < upto) {
		if (index_put(sp, s, s->count, &hole) != 0)
			return -1;
		s->count++;
	}
	return 0;
}

static void
add_entry(struct spool *sp, struct seg *s, struct entry *e, uint64_t group)
{
	int slot = e->empty ? 0 : balance_slot(s, group);

	e->empty = e->empty || slot < 0;
	e->slot = slot < 0 ? 0 : (uint16_t)slot;
	index_reserve(s, s->count + 1);
	CHECK(index_put(sp, s, s->count, e) == 0);	/* a fresh one needs no disk */
	s->count++;
	s->bodies += e->off8 != 0;
	balance_add(sp, s, e, 1);
}

static void
note_id(struct seg *s, const struct msgid *id)
{
	if (memcmp(id->b, s->min.b, MSGID_LEN) < 0)
		s->min = *id;
	if (memcmp(id->b, s->max.b, MSGID_LEN) > 0)
		s->max = *id;
}

/* Entries of one whole record, as they were born. */
static int
add_record(struct spool *sp, struct seg *s, uint64_t off, const struct record *r,
    const uint8_t *meta)
{
	struct slice raw = slice_make(meta + r->nrcpt, r->env_len);
	struct spool_birth birth;
	struct envelope_rcpt rcpt;
	struct envelope env;

	if (envelope_get(raw, &env) != 0 || fill_holes(sp, s, r->first_entry) != 0)
		return -1;
	for (uint16_t i = 0; i < r->nrcpt; i++) {
		if (wire_item_next(&env.rcpts, &envelope_rcpt_wire, &rcpt) != 1 ||
		    birth_get(meta[i], &birth) != 0)
			return -1;	/* the rest of its ordinals become holes */
		struct entry e = {
			.id = r->id, .rcpt = i, .kind = rcpt.kind, .triage = env.triage,
			.hold_only = (env.flags & ENV_HOLD_ONLY) != 0, .size = r->size,
			.off8 = (uint32_t)(off / RECORD_ALIGN), .user = spool_user(rcpt.user),
			.sender = spool_sender(env.mail_from),
			.received_ms = (int64_t)env.received_ms,
			.leg = { { .state = birth.hold }, { .state = birth.forward } },
		};
		add_entry(sp, s, &e, spool_group(rcpt.domain, rcpt.shard));
	}
	note_id(s, &r->id);
	return 0;
}

/* Entries of messages of whom all was settled when the log was rewritten. */
static bool
add_settled(struct spool *sp, struct seg *s, const struct record *r, const uint8_t *p)
{
	struct entry e;
	uint64_t group;

	if (fill_holes(sp, s, r->first_entry) != 0)
		return false;
	for (uint32_t n = r->env_len / SETTLED_BYTES; n > 0; n--, p += SETTLED_BYTES) {
		settled_get(p, &e, &group);
		add_entry(sp, s, &e, group);
		note_id(s, &e.id);
	}
	return true;
}

/* What a newer segment said about one that failed. */
struct abandons {
	struct abandon	*a;
	size_t		 n;
};

static void
note_abandon(struct abandons *l, const uint8_t *p)
{
	if (l == NULL)
		return;
	l->a = mem_resize(l->a, l->n + 1, sizeof(*l->a));
	l->a[l->n++] = abandon_get(p);
}

static uint64_t
abandoned_end(const struct abandons *l, uint64_t segment, uint64_t size)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->a[i].segment == segment && l->a[i].good_end < size)
			size = l->a[i].good_end;
	return size;
}

/* Payload of a record whose head is good. */
static bool
take_record(struct scan *c, uint64_t off, const struct record *r, struct abandons *l)
{
	uint64_t len = record_len(r), meta_len = record_meta_len(r);

	if (c->size < off || c->size - off < len)
		return false;
	const uint8_t *p = scan_at(c, off + RECORD_HEAD, meta_len);
	if (p == NULL || record_crc(r->stamp, slice_make(p, meta_len)) != r->crc_meta)
		return false;
	if (r->type == RECORD_ABANDON) {
		if (r->env_len == ABANDON_BYTES && r->nrcpt == 0)
			note_abandon(l, p);
		return true;
	}
	if (r->type == RECORD_SETTLED)
		return add_settled(c->sp, c->seg, r, p);
	/* The body is read through the same window, so the meta part is copied. */
	uint8_t *meta = mem_new(meta_len);
	memcpy(meta, p, meta_len);
	bool ok = body_whole(c, off + RECORD_HEAD + meta_len, r) &&
	    add_record(c->sp, c->seg, off, r, meta) == 0;
	free(meta);
	return ok;
}

static uint64_t
next_head(struct scan *c, uint64_t off, struct record *r)
{
	for (off += RECORD_ALIGN; off + RECORD_HEAD <= c->size; off += RECORD_ALIGN) {
		const uint8_t *p = scan_at(c, off, RECORD_HEAD);
		if (p != NULL && record_get(p, c->seg->stamp, r) == 0)
			return off;
	}
	return c->size;
}

struct bad {			/* a run of the log that is no good record */
	uint64_t off, end;
};

static void
note_bad(struct bad **list, size_t *n, uint64_t off, uint64_t end)
{
	if (*n > 0 && (*list)[*n - 1].end == off) {
		(*list)[*n - 1].end = end;
		return;
	}
	*list = mem_resize(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = (struct bad){ off, end };
}

/* What lies behind the last offset known to be synced was perhaps never promised. */
static void
report_bad(struct scan *c, const struct bad *list, size_t n, uint64_t stable)
{
	for (size_t i = 0; i < n; i++) {
		if (all_zero(c, list[i].off, list[i].end))
			continue;
		spool_set_aside(c->sp, c->seg, list[i].off, list[i].end - list[i].off,
		    list[i].off < stable ? "damaged" : "torn");
		if (list[i].off >= stable)
			c->sp->damaged--;
	}
}

/* Builds entries from the log; good_end is where the last good record ends. */
static void
scan_log(struct scan *c, struct abandons *l)
{
	struct seg *s = c->seg;
	uint64_t off = SEGMENT_HEAD, stable = 0;
	struct bad *bad = NULL;
	size_t nbad = 0;
	struct record r;

	s->good_end = SEGMENT_HEAD;
	/* A rewritten log was stable as a whole before it took its place. */
	if (s->generation > 0)
		stable = c->size;
	while (off + RECORD_HEAD <= c->size && !(s->shadow && c->io_error)) {
		const uint8_t *p = scan_at(c, off, RECORD_HEAD);
		if (p == NULL || record_get(p, s->stamp, &r) != 0) {
			uint64_t next = next_head(c, off, &r);
			note_bad(&bad, &nbad, off, next);
			off = next;
			continue;
		}
		uint64_t end = off + record_len(&r);
		if ((uint64_t)r.stable * RECORD_ALIGN > stable)
			stable = (uint64_t)r.stable * RECORD_ALIGN;
		if (take_record(c, off, &r, l)) {
			s->good_end = end;
		} else {
			/* Its head may be true and its end not: look inside as well. */
			struct record in;
			uint64_t next = next_head(c, off, &in);
			end = end < next ? end : next;
			note_bad(&bad, &nbad, off, end < c->size ? end : c->size);
		}
		off = end;
	}
	if (off < c->size)
		note_bad(&bad, &nbad, off, c->size);
	if (!s->shadow)
		report_bad(c, bad, nbad, stable);
	free(bad);
}

static void
apply_bytes(struct spool *sp, struct seg *s, struct slice in, uint64_t off)
{
	struct progress p;
	size_t n;

	for (; in.n >= PROGRESS_FIXED; in = slice_sub(in, n, in.n), off += n) {
		n = progress_get(in, s->stamp, &p);
		if (n == 0)
			n = RECORD_ALIGN;
		else
			progress_apply(sp, s, &p, off);
	}
}

/* From `off` to the end; sets prg_end behind the last good record. False when the
 * disk would not read all of it. */
static bool
replay_progress(struct spool *sp, struct seg *s, uint64_t off)
{
	struct scan c;
	struct progress p;
	uint64_t skipped = 0;
	unsigned strange = 0;

	s->prg_end = off;
	if (scan_init(&c, sp, s, STORE_PROGRESS) != 0)
		return true;
	while (off + PROGRESS_FIXED <= c.size) {
		size_t have = c.size - off < PROGRESS_MAX ? (size_t)(c.size - off) : PROGRESS_MAX;
		const uint8_t *b = scan_at(&c, off, have);
		size_t n = b == NULL ? 0 : progress_get(slice_make(b, have), s->stamp, &p);
		if (n == 0) {
			skipped += b == NULL || le_get(b, 8) != 0 ? RECORD_ALIGN : 0;
			off += RECORD_ALIGN;
			continue;
		}
		strange += progress_apply(sp, s, &p, off) != 0;
		off += n;
		s->prg_end = off;
	}
	if (skipped > 0 || strange > 0)
		log_warn("spool-progress-damaged", "segment=%llu bytes=%llu strange=%u "
		    "effect=\"perhaps repeated deliveries\"", (unsigned long long)s->no,
		    (unsigned long long)skipped, strange);
	/* Not over what is there and could not be read. */
	if (c.io_error)
		s->prg_end = (c.size + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
	free(c.b);
	return !c.io_error;
}

/* The stamp, from whichever part still knows it. */
static bool
find_stamp(struct spool *sp, struct seg *s, bool *head_good)
{
	uint8_t b[PAGE_BYTES];
	struct segment_head h;
	const enum store_part part[2] = { STORE_LOG, STORE_PROGRESS };

	*head_good = false;
	for (int i = 0; i < 2; i++)
		if (sp->ops->read(sp->store, s->no, part[i], 0, b, SEGMENT_HEAD) == SEGMENT_HEAD &&
		    segment_head_get(b, &h) == 0) {
			s->stamp = h.stamp;
			s->cls = h.cls;
			s->created_ms = h.created_ms;
			s->generation = h.generation;
			s->packed = h.packed;
			s->shift_ms = h.shift_ms;
			*head_good = i == 0;	/* the name may be wrong, the bytes are not */
			return true;
		}
	/* A record carries it too; the first one is at a known place. */
	if (sp->ops->read(sp->store, s->no, STORE_LOG, SEGMENT_HEAD, b, RECORD_HEAD) == RECORD_HEAD) {
		struct record r;
		s->stamp = le_get(b + 8, 8);
		s->cls = STORE_HELD;
		return record_get(b, s->stamp, &r) == 0;
	}
	return false;
}

static int
load_rows(struct spool *sp, struct seg *s, const struct index_head *h)
{
	uint64_t pages = (h->count + PAGE_ENTRIES - 1) / PAGE_ENTRIES;
	size_t n = (size_t)h->nrow * ROW_BYTES;
	uint8_t *b = malloc(n + 1);
	int rc = -1;

	if (b != NULL && sp->ops->read(sp->store, s->no, STORE_INDEX,
	    PAGE_BYTES * (1 + pages), b, n) == (ssize_t)n && crc32c(0, b, n) == h->crc_rows) {
		s->nrow = s->caprow = h->nrow;
		s->row = mem_array(h->nrow, sizeof(*s->row));
		for (uint32_t i = 0; i < h->nrow; i++)
			row_get(b + (size_t)i * ROW_BYTES, &s->row[i]);
		rc = 0;
	}
	free(b);
	return rc;
}

/* The sums once more, entry by entry: the pages may be newer than the head. */
static int
count_entries(struct spool *sp, struct seg *s)
{
	struct entry e;

	s->live = 0;
	for (uint32_t i = 0; i < s->nrow; i++)
		s->row[i] = (struct row){ .group = s->row[i].group };
	for (uint32_t i = 0; i < s->count; i++) {
		if (index_peek(sp, s, i, &e) != 0)
			return -1;
		balance_add(sp, s, &e, 1);
	}
	return 0;
}

static void
take_head(struct seg *s, const struct index_head *h)
{
	s->cls = h->cls;
	s->stamp = h->stamp;
	s->count = s->next_entry = h->count;
	s->live = h->live;
	s->end = s->good_end = h->log_end;
	s->covered = h->covered;
	s->created_ms = h->created_ms;
	s->generation = h->generation;
	s->bodies = h->bodies;
	s->min = h->min;
	s->max = h->max;
	s->state = SEG_SEALED;
	s->index_valid = true;
	s->table_n = h->table_n;
	s->sender_gap = h->sender_gap;
	s->table_lost = h->table_n == 0 && h->count > 0;
	index_reserve(s, s->count);
	for (int l = 0; l < LEG_KIND_MAX; l++) {
		s->due_min[l] = h->due[l];
		for (uint32_t i = 0; i < s->npage; i++)
			s->due[i] = (struct page_due){ { h->due[LEG_HOLD], h->due[LEG_FORWARD] },
			    false };
	}
}

/* 0 when the index file (and what progress came after it) is all there is to know. */
static int
recover_index(struct spool *sp, struct seg *s, bool head_good, uint64_t log_limit)
{
	uint8_t b[PAGE_BYTES];
	struct index_head h;

	if (sp->ops->read(sp->store, s->no, STORE_INDEX, 0, b, PAGE_BYTES) != PAGE_BYTES ||
	    index_head_get(b, &h) != 0 || h.segment != s->no ||
	    (head_good && (h.stamp != s->stamp || h.generation != s->generation)) ||
	    h.log_end > log_limit)
		return -1;
	if (load_rows(sp, s, &h) != 0)
		return -1;
	take_head(s, &h);
	int64_t size = sp->ops->size(sp->store, s->no, STORE_PROGRESS);
	if (size >= 0 && (uint64_t)size <= s->covered) {
		s->prg_end = s->covered;
		balance_rows(sp, s, 1);
		return 0;
	}
	if (count_entries(sp, s) != 0) {
		balance_rows(sp, s, -1);
		return -1;
	}
	replay_progress(sp, s, s->covered);
	return 0;
}

static void
reset_seg(struct spool *sp, struct seg *s)
{
	index_drop_pages(sp, s);
	free(s->row);
	s->row = NULL;
	s->nrow = s->caprow = s->lastrow = 0;
	s->count = s->live = s->next_entry = s->bodies = 0;
	s->index_valid = false;
	s->table_n = 0;
	s->table_lost = false;
	s->due_min[LEG_HOLD] = s->due_min[LEG_FORWARD] = INT64_MAX;
	memset(s->min.b, 0xff, MSGID_LEN);
	memset(s->max.b, 0, MSGID_LEN);
}

/* False when the disk would not read all of it. */
static bool
recover_log(struct spool *sp, struct seg *s, struct abandons *l)
{
	struct scan c;

	s->state = SEG_CLOSED;
	s->end = s->good_end = SEGMENT_HEAD;
	s->prg_end = SEGMENT_HEAD;
	if (scan_init(&c, sp, s, STORE_LOG) != 0) {
		s->keep = errno != ENOENT;
		return !s->keep;
	}
	if (l != NULL) {
		uint64_t end = abandoned_end(l, s->no, c.size);
		/* The word about it must outlive it until it is cut. */
		s->failed = end < c.size;
		c.size = end;
	}
	scan_log(&c, l);
	s->end = s->good_end;
	s->next_entry = s->count;
	/* What could not be read today may be readable tomorrow: neither cut nor dropped,
	 * and no index that leaves it out. */
	if (c.io_error) {
		s->end = s->good_end = c.size;
		s->keep = true;
		log_error("spool-unreadable", "segment=%llu effect=\"left alone until the next "
		    "start\"", (unsigned long long)s->no);
	}
	free(c.b);
	return replay_progress(sp, s, SEGMENT_HEAD) && !c.io_error;
}

static void
on_discarded(void *arg, enum store_result r)
{
	(void)arg;
	(void)r;	/* logged; the next rewriting begins it afresh */
}

static void
recover_segment(struct spool *sp, uint64_t no, struct abandons *l)
{
	struct seg *s = seg_new(sp, no);
	bool head_good;

	seg_insert(sp, s);
	/* A crash while it was rewritten. */
	if (!sp->read_only && sp->ops->size(sp->store, no, STORE_NEW) >= 0)
		sp->ops->discard(sp->store, no, on_discarded, sp);
	bool stamped = find_stamp(sp, s, &head_good);
	if (recover_index(sp, s, head_good, UINT64_MAX) == 0)
		return;
	reset_seg(sp, s);
	if (!stamped) {
		/* Nothing here can be told from noise: the files stay for a human, unless a
		 * crash left them before anything was in them. */
		int64_t size = sp->ops->size(sp->store, no, STORE_LOG);
		s->keep = size > SEGMENT_HEAD;
		if (s->keep)
			spool_set_aside(sp, s, 0, (uint64_t)size, "segment");
		s->state = SEG_CLOSED;
		s->end = s->good_end = s->prg_end = SEGMENT_HEAD;
		return;
	}
	recover_log(sp, s, l);
	log_info("spool-recovered", "segment=%llu entries=%u unsettled=%u end=%llu",
	    (unsigned long long)no, s->count, s->live, (unsigned long long)s->good_end);
}

/*
 * The index file turned out bad while running: entries are built again beside the
 * segment, and the pages that are not in memory taken from there. The sums stay;
 * they were made when the pages were good.
 */
int
recover_pages(struct spool *sp, struct seg *s)
{
	struct seg *t = seg_new(sp, s->no);
	int rc = -1;

	t->shadow = true;
	t->stamp = s->stamp;
	t->row = mem_array(s->nrow, sizeof(*t->row));
	memcpy(t->row, s->row, s->nrow * sizeof(*t->row));
	t->nrow = t->caprow = s->nrow;
	/* What could not be read is not gone: entries are never replaced by holes then. */
	if (!recover_log(sp, t, NULL))
		goto out;
	for (struct chunk *c = s->chunk; c != NULL; c = c->next)
		apply_bytes(sp, t, slice_make(c->b, c->n), c->off);
	apply_bytes(sp, t, buf_slice(&s->prg), s->prg_end - buf_len(&s->prg));
	if (t->nrow != s->nrow || fill_holes(sp, t, s->count) != 0)
		goto out;
	for (uint32_t no = 0; no * PAGE_ENTRIES < s->count; no++) {
		if (s->page[no] != NULL)
			continue;
		struct page *p = index_page_new(sp, s, no);
		memcpy(p->b, t->page[no]->b, PAGE_BYTES);
	}
	rc = 0;
out:
	if (rc == 0)
		sp->damaged++;
	log_error("spool-index-damaged", "segment=%llu effect=\"%s\"",
	    (unsigned long long)s->no, rc == 0 ? "read again from the log" :
	    "not readable now, tried again");
	index_drop_pages(sp, t);
	free(t->row);
	free(t);
	return rc;
}

struct numbers {
	uint64_t	*no;
	size_t		 n;
};

static void
on_segment(void *arg, uint64_t segment)
{
	struct numbers *l = arg;

	l->no = mem_resize(l->no, l->n + 1, sizeof(*l->no));
	l->no[l->n++] = segment;
}

static bool
is_gone(const struct spool *sp, uint64_t no)
{
	for (size_t i = 0; i < sp->ngone; i++)
		if (sp->gone[i] == no)
			return true;
	return false;
}

/* Pages built from logs are many: bring them to the disk before going on. */
static void
relieve(struct spool *sp)
{
	if (sp->read_only || sp->ndirty <= SPOOL_DIRTY_MAX)
		return;
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state == SEG_CLOSED)
			house_seal(sp, s);
		else if (s->state == SEG_SEALED && s->live > 0)
			house_checkpoint(sp, s);
		sp->ops->drain(sp->store, 30000);
	}
}

static void
forget_missing(struct spool *sp, const struct numbers *l)
{
	size_t n = 0;

	for (size_t i = 0; i < sp->ngone; i++)
		for (size_t k = 0; k < l->n; k++)
			if (l->no[k] == sp->gone[i]) {
				sp->gone[n++] = sp->gone[i];
				break;
			}
	sp->ngone = n;
}

int
recover_all(struct spool *sp)
{
	struct abandons ab = { NULL, 0 };
	struct numbers l = { NULL, 0 };

	if (balance_load(sp) != 0)
		log_error("spool-totals", "effect=\"the balance of dropped segments is lost\"");
	if (sp->ops->list(sp->store, on_segment, &l) != 0) {
		log_error("spool-list", "errno=%d", errno);
		free(l.no);
		return -1;
	}
	forget_missing(sp, &l);
	/* Newest first: it may say where an older one that failed ends. */
	for (size_t i = l.n; i-- > 0;) {
		if (l.no[i] >= sp->next_segment)
			sp->next_segment = l.no[i] + 1;
		if (is_gone(sp, l.no[i])) {
			struct seg *s = seg_new(sp, l.no[i]);
			s->state = SEG_DROPPING;
			seg_insert(sp, s);
			continue;
		}
		recover_segment(sp, l.no[i], &ab);
		relieve(sp);
	}
	free(l.no);
	free(ab.a);
	return 0;
}
