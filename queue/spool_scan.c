// SPDX-License-Identifier: Apache-2.0
/* Walking and finding entries. Whole segments and pages are passed over by their
 * sums and due times; no more than a window of pages is in memory. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

static void
export(const struct seg *s, uint32_t i, const struct entry *e, struct spool_entry *out)
{
	*out = (struct spool_entry){
		.ref = { s->no, i }, .id = e->id, .rcpt_index = e->rcpt, .kind = e->kind,
		.triage = e->triage, .hold_only = e->hold_only,
		.group = e->slot < s->nrow ? s->row[e->slot].group : 0,
		.user = e->user, .received_ms = e->received_ms, .size = e->size,
		.shift_ms = steady_shift_of(s, e->received_ms),
		.leg = { e->leg[LEG_HOLD], e->leg[LEG_FORWARD] },
	};
}

int
spool_get(struct spool *sp, struct spool_ref ref, struct spool_entry *out)
{
	struct seg *s = seg_find(sp, ref.segment);
	struct entry e;

	if (s == NULL || index_get(sp, s, ref.entry, &e) != 0 || e.empty)
		return -1;
	export(s, ref.entry, &e, out);
	return 0;
}

static bool
wants_only_waiting(const struct spool_filter *f, int leg)
{
	return f->states[leg] == 1u << LEG_WAITING;
}

/* Ids begin with the time they were made, which is about when the message came: a
 * segment whose ids are all a day off has nothing of that age. */
static bool
seg_of_age(const struct seg *s, const struct spool_filter *f)
{
	enum { SLACK_MS = 24 * 3600 * 1000 };

	if (s->count == 0)
		return true;
	return (f->to_ms == 0 || msgid_ms(s->min) - SLACK_MS <= f->to_ms) &&
	    (f->from_ms == 0 || msgid_ms(s->max) + SLACK_MS >= f->from_ms);
}

/* Has the segment anything the filter could want? */
static bool
seg_matches(struct seg *s, const struct spool_filter *f)
{
	for (int l = 0; l < LEG_KIND_MAX; l++) {
		uint64_t n = 0;
		if (f->states[l] == 0)
			continue;
		for (uint32_t i = 0; i < s->nrow; i++)
			for (int st = 0; st < LEG_STATE_MAX; st++)
				if ((f->states[l] & 1u << st) != 0 &&
				    (f->group == 0 || s->row[i].group == f->group))
					n += s->row[i].leg[l][st];
		if (n == 0)
			return false;
		if (wants_only_waiting(f, l) && index_due(s, (enum leg_kind)l) > f->due_ms)
			return false;
	}
	if (!seg_of_age(s, f))
		return false;
	if (f->group == 0)
		return true;
	for (uint32_t i = 0; i < s->nrow; i++)
		if (s->row[i].group == f->group)
			return true;
	return false;
}

static bool
page_quiet(struct spool *sp, struct seg *s, uint32_t no, const struct spool_filter *f)
{
	for (int l = 0; l < LEG_KIND_MAX; l++)
		if (wants_only_waiting(f, l) && f->due_ms != INT64_MAX &&
		    index_page_quiet(sp, s, no, (enum leg_kind)l, f->due_ms))
			return true;
	return false;
}

static bool
entry_matches(const struct seg *s, const struct entry *e, const struct spool_filter *f)
{
	if (e->empty || (f->user != 0 && e->user != f->user))
		return false;
	if (f->sender != 0 && e->sender != 0 && (e->sender & f->sender_mask) != f->sender)
		return false;
	if ((f->from_ms != 0 && e->received_ms < f->from_ms) ||
	    (f->to_ms != 0 && e->received_ms > f->to_ms))
		return false;
	if (f->group != 0 && (e->slot >= s->nrow || s->row[e->slot].group != f->group))
		return false;
	for (int l = 0; l < LEG_KIND_MAX; l++) {
		if (f->states[l] == 0)
			continue;
		if ((f->states[l] & 1u << e->leg[l].state) == 0)
			return false;
		if (e->leg[l].state == LEG_WAITING && e->leg[l].next_ms > f->due_ms)
			return false;
	}
	return true;
}

/* Whom a table knows is looked for there. False: this segment has none. */
static bool
matched(struct spool *sp, struct seg *s, const struct spool_filter *f)
{
	if (f->user != 0) {
		uint32_t key = table_user_key(f->user);

		return table_match(sp, s, TABLE_USER, key, key);
	}
	if (f->sender == 0 || s->sender_gap)
		return false;
	/* A whole address is 24 bits of the key, a domain its 12 upper ones. */
	uint32_t lo = table_sender_key(f->sender);
	return table_match(sp, s, TABLE_SENDER, lo, lo | (table_sender_key(~f->sender_mask &
	    SPOOL_SENDER_ALL)));
}

/* The same over what a table said of the segment. */
static bool
scan_matches(struct spool *sp, struct seg *s, struct spool_cursor *c,
    const struct spool_filter *f, size_t budget, size_t *seen, spool_scan_fn *fn, void *arg)
{
	const struct match *m = &sp->match;
	uint32_t lo = 0, hi = m->n;
	struct spool_entry out;
	struct entry e;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (m->entry[mid] < c->entry)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < m->n; lo++) {
		uint32_t i = m->entry[lo];
		if (*seen >= budget)
			return true;
		c->entry = i + 1;
		++*seen;
		if (index_get(sp, s, i, &e) != 0 || !entry_matches(s, &e, f))
			continue;
		export(s, i, &e, &out);
		if (!fn(arg, &out))
			return false;
		CHECK(m->segment == s->no);	/* a visit never scans */
	}
	c->entry = s->count;
	*seen += SPOOL_TABLE_COST;
	return true;
}

/* Returns false when fn said stop. */
static bool
scan_seg(struct spool *sp, struct seg *s, struct spool_cursor *c, const struct spool_filter *f,
    size_t budget, size_t *seen, spool_scan_fn *fn, void *arg)
{
	struct spool_entry out;
	struct entry e;

	while (c->entry < s->count && *seen < budget) {
		uint32_t i = c->entry;
		if (i % PAGE_ENTRIES == 0 && page_quiet(sp, s, i / PAGE_ENTRIES, f)) {
			c->entry = s->count - i < PAGE_ENTRIES ? s->count : i + PAGE_ENTRIES;
			continue;
		}
		if (index_peek(sp, s, i, &e) != 0) {	/* beyond help: leave the page out */
			c->entry = s->count - i < PAGE_ENTRIES ? s->count :
			    (i / PAGE_ENTRIES + 1) * PAGE_ENTRIES;
			continue;
		}
		c->entry = i + 1;
		++*seen;
		if (!entry_matches(s, &e, f))
			continue;
		export(s, i, &e, &out);
		if (!fn(arg, &out))
			return false;
	}
	return true;
}

size_t
spool_scan(struct spool *sp, struct spool_cursor *c, const struct spool_filter *f,
    size_t budget, spool_scan_fn *fn, void *arg, bool *end)
{
	size_t seen = 0;

	*end = false;
	for (size_t i = seg_position(sp, c->segment); i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->no != c->segment)
			*c = (struct spool_cursor){ s->no, 0 };
		/* Not made yet: stay in front of it, it will have the next mail. */
		if (s->state == SEG_CREATING)
			break;
		if (s->state == SEG_DROPPING)
			continue;
		if (!seg_matches(s, f) || c->entry >= s->count)
			continue;
		bool go = matched(sp, s, f) ? scan_matches(sp, s, c, f, budget, &seen, fn, arg) :
		    scan_seg(sp, s, c, f, budget, &seen, fn, arg);
		if (!go || seen >= budget)
			return seen;
	}
	*end = true;
	return seen;
}

int64_t
spool_next_due(struct spool *sp, enum leg_kind leg)
{
	int64_t min = INT64_MAX;

	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (s->state == SEG_CREATING || s->state == SEG_DROPPING)
			continue;
		int64_t due = index_due(s, leg);
		if (due < min)
			min = due;
	}
	return min;
}

static bool
seg_may_hold(const struct seg *s, struct msgid id)
{
	return s->state != SEG_CREATING && s->state != SEG_DROPPING && s->count > 0 &&
	    memcmp(id.b, s->min.b, MSGID_LEN) >= 0 && memcmp(id.b, s->max.b, MSGID_LEN) <= 0;
}

int
spool_find(struct spool *sp, struct msgid id, struct spool_ref *refs, size_t max)
{
	size_t n = 0;
	struct entry e;

	for (size_t k = 0; k < sp->nseg; k++) {
		struct seg *s = sp->seg[k];
		if (!seg_may_hold(s, id))
			continue;
		for (uint32_t i = 0; i < s->count && n < max; i++)
			if (index_peek(sp, s, i, &e) == 0 && !e.empty &&
			    memcmp(e.id.b, id.b, MSGID_LEN) == 0)
				refs[n++] = (struct spool_ref){ s->no, i };
	}
	return (int)n;
}

int
spool_find_rcpt(struct spool *sp, struct msgid id, uint16_t rcpt_index, enum rcpt_kind kind,
    struct spool_ref *out)
{
	struct entry e;

	for (size_t k = 0; k < sp->nseg; k++) {
		struct seg *s = sp->seg[k];
		if (!seg_may_hold(s, id))
			continue;
		for (uint32_t i = 0; i < s->count; i++) {
			if (index_peek(sp, s, i, &e) != 0 || e.empty || e.rcpt != rcpt_index ||
			    e.kind != kind || memcmp(e.id.b, id.b, MSGID_LEN) != 0)
				continue;
			*out = (struct spool_ref){ s->no, i };
			return 0;
		}
	}
	return -1;
}
