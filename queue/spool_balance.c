// SPDX-License-Identifier: Apache-2.0
/*
 * The balance (P7). Each recipient that counts is in exactly one bucket of its
 * group, so received = replayed + forwarded-only + bounced + dropped + held holds
 * by construction. What a dropped segment knew goes into the meta value "totals"
 * together with the segment's number before its files go: a crash between the two
 * finds the number there and does not count the segment again. Two copies, so that
 * one bad sector does not cost the balance.
 */
#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

#define TOTALS_MAGIC	0x3174745453707653ull	/* "SvpSTtt1" */
enum { TOTALS_HEAD = 48, TOTALS_ROW = 96, TOTALS_FIELDS = 11 };

static uint64_t
mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdull;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ull;
	h ^= h >> 33;
	return h == 0 ? 1 : h;	/* 0 means "any" */
}

static uint64_t
fnv(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3ull;
	return h;
}

/* On disk: the hashes must stay what they are. */
uint64_t
spool_group(struct slice domain, struct slice shard)
{
	uint64_t h = fnv(0xcbf29ce484222325ull, domain);

	return mix(fnv((h ^ 0xff) * 0x100000001b3ull, shard));
}

uint64_t
spool_user(struct slice user)
{
	return mix(fnv(0x84222325cbf29ce4ull, user));
}

uint32_t
spool_sender(struct slice address)
{
	uint32_t half[2];
	size_t at = slice_rfind(address, '@');
	const struct slice part[2] = { slice_sub(address, at < address.n ? at + 1 : address.n,
	    address.n), slice_sub(address, 0, at) };

	for (int i = 0; i < 2; i++) {
		uint64_t h = 0xcbf29ce484222325ull;

		for (size_t k = 0; k < part[i].n; k++)
			h = (h ^ (uint8_t)ascii_lower(part[i].p[k])) * 0x100000001b3ull;
		half[i] = 1 + (uint32_t)(mix(h) % 4095);
	}
	return half[0] << 12 | half[1];
}

enum bucket
entry_bucket(const struct entry *e)
{
	switch ((enum leg_state)e->leg[LEG_HOLD].state) {
	case LEG_PARKED:
	case LEG_WAITING:
		return BUCKET_HELD;
	case LEG_DELIVERED:
		return BUCKET_REPLAYED;
	case LEG_FAILED:
		return BUCKET_BOUNCED;
	case LEG_DROPPED:
		return BUCKET_DROPPED;
	case LEG_ABSENT:
	case LEG_SKIPPED:
	case LEG_STATE_MAX:
		break;
	}
	/* No primary to replay to: the other leg decides. */
	switch ((enum leg_state)e->leg[LEG_FORWARD].state) {
	case LEG_PARKED:
	case LEG_WAITING:
		return BUCKET_HELD;
	case LEG_FAILED:
		return BUCKET_BOUNCED;
	case LEG_DROPPED:
		return BUCKET_DROPPED;
	case LEG_DELIVERED:
	case LEG_ABSENT:
	case LEG_SKIPPED:
	case LEG_STATE_MAX:
		break;
	}
	return BUCKET_FORWARDED_ONLY;
}

int
balance_slot(struct seg *s, uint64_t group)
{
	if (s->lastrow < s->nrow && s->row[s->lastrow].group == group)
		return (int)s->lastrow;
	for (uint32_t i = 0; i < s->nrow; i++)
		if (s->row[i].group == group) {
			s->lastrow = i;
			return (int)i;
		}
	if (s->nrow == SLOT_MAX)
		return -1;
	if (s->nrow == s->caprow) {
		s->caprow = s->caprow == 0 ? 4 : s->caprow * 2;
		s->row = mem_resize(s->row, s->caprow, sizeof(*s->row));
	}
	s->row[s->nrow] = (struct row){ .group = group };
	s->lastrow = s->nrow;
	return (int)s->nrow++;
}

static struct group_sums *
find_group(struct spool *sp, uint64_t group)
{
	size_t i = group & (sp->capgroup - 1);

	while (sp->group[i].group != 0 && sp->group[i].group != group)
		i = (i + 1) & (sp->capgroup - 1);
	return &sp->group[i];
}

static struct group_sums *
get_group(struct spool *sp, uint64_t group)
{
	if (sp->ngroup * 2 >= sp->capgroup) {
		struct group_sums *old = sp->group;
		size_t n = sp->capgroup;
		sp->capgroup = n == 0 ? 64 : n * 2;
		sp->group = mem_array(sp->capgroup, sizeof(*sp->group));
		for (size_t i = 0; i < n; i++)
			if (old[i].group != 0)
				*find_group(sp, old[i].group) = old[i];
		free(old);
	}
	struct group_sums *g = find_group(sp, group);
	if (g->group == 0) {
		g->group = group;
		sp->ngroup++;
	}
	return g;
}

/* Adding with the sign folded into modular arithmetic: the sums never pass below 0. */
static void
add_row(struct spool_sums *t, const struct row *r, int sign)
{
	uint64_t k = sign < 0 ? UINT64_MAX : 1;
	const uint32_t *f = r->leg[LEG_FORWARD];

	for (int b = 0; b < BUCKET_MAX; b++)
		t->received += k * r->bucket[b];
	t->replayed += k * r->bucket[BUCKET_REPLAYED];
	t->forwarded_only += k * r->bucket[BUCKET_FORWARDED_ONLY];
	t->bounced += k * r->bucket[BUCKET_BOUNCED];
	t->dropped += k * r->bucket[BUCKET_DROPPED];
	t->held += k * r->bucket[BUCKET_HELD];
	t->forwarded += k * f[LEG_DELIVERED];
	t->forward_waiting += k * ((uint64_t)f[LEG_WAITING] + f[LEG_PARKED]);
	t->forward_failed += k * f[LEG_FAILED];
	t->forward_skipped += k * f[LEG_SKIPPED];
	t->held_bytes += k * r->held_bytes;
}

void
balance_add(struct spool *sp, struct seg *s, const struct entry *e, int sign)
{
	if (e->empty || s->shadow || e->slot >= s->nrow)
		return;
	struct row *r = &s->row[e->slot], one = { 0 };
	uint32_t k = sign < 0 ? UINT32_MAX : 1;
	enum bucket b = entry_bucket(e);

	for (int l = 0; l < LEG_KIND_MAX; l++) {
		r->leg[l][e->leg[l].state] += k;
		one.leg[l][e->leg[l].state] = 1;
	}
	r->bucket[b] += k;
	one.bucket[b] = 1;
	if (b == BUCKET_HELD) {
		one.held_bytes = e->size;
		r->held_bytes += sign < 0 ? -(uint64_t)e->size : e->size;
	}
	add_row(&get_group(sp, r->group)->now, &one, sign);
	add_row(&sp->all, &one, sign);
	if (!entry_settled(e))
		s->live += k;
}

void
balance_rows(struct spool *sp, const struct seg *s, int sign)
{
	for (uint32_t i = 0; i < s->nrow; i++) {
		add_row(&get_group(sp, s->row[i].group)->now, &s->row[i], sign);
		add_row(&sp->all, &s->row[i], sign);
	}
}

void
balance_fold(struct spool *sp, const struct seg *s)
{
	for (uint32_t i = 0; i < s->nrow; i++)
		add_row(&get_group(sp, s->row[i].group)->folded, &s->row[i], 1);
	sp->gone = mem_resize(sp->gone, sp->ngone + 1, sizeof(*sp->gone));
	sp->gone[sp->ngone++] = s->no;
}

void
spool_total(struct spool *sp, uint64_t group, struct spool_sums *out)
{
	*out = (struct spool_sums){ 0 };
	if (group == 0)
		*out = sp->all;
	else if (sp->capgroup > 0)
		*out = find_group(sp, group)->now;
}

static void
sums_put(uint8_t *p, const struct spool_sums *t)
{
	const uint64_t v[TOTALS_FIELDS] = { t->received, t->replayed, t->forwarded_only,
		t->bounced, t->dropped, t->held, t->forwarded, t->forward_waiting,
		t->forward_failed, t->forward_skipped, t->held_bytes };

	for (int i = 0; i < TOTALS_FIELDS; i++)
		p = le_put(p, v[i], 8);
}

static void
sums_get(const uint8_t *p, struct spool_sums *t)
{
	uint64_t *const v[TOTALS_FIELDS] = { &t->received, &t->replayed, &t->forwarded_only,
		&t->bounced, &t->dropped, &t->held, &t->forwarded, &t->forward_waiting,
		&t->forward_failed, &t->forward_skipped, &t->held_bytes };

	for (int i = 0; i < TOTALS_FIELDS; i++)
		*v[i] = le_get(p + 8 * i, 8);
}

/* Head: magic, crc of the rest, version, sequence, next segment, counts. */
void
balance_encode(struct spool *sp, struct buf *out)
{
	size_t n = TOTALS_HEAD + sp->ngone * 8, rows = 0;

	for (size_t i = 0; i < sp->capgroup; i++)
		rows += sp->group[i].group != 0 && sp->group[i].folded.received != 0;
	n += rows * TOTALS_ROW;
	uint8_t *b = mem_new(n), *p = b + TOTALS_HEAD;
	le_put(b, TOTALS_MAGIC, 8);
	le_put(b + 12, RECORD_VERSION, 4);
	le_put(b + 16, ++sp->totals_seq, 8);
	le_put(b + 24, sp->next_segment, 8);
	le_put(b + 32, sp->ngone, 4);
	le_put(b + 36, rows, 4);
	for (size_t i = 0; i < sp->ngone; i++)
		p = le_put(p, sp->gone[i], 8);
	for (size_t i = 0; i < sp->capgroup; i++) {
		if (sp->group[i].group == 0 || sp->group[i].folded.received == 0)
			continue;
		le_put(p, sp->group[i].group, 8);
		sums_put(p + 8, &sp->group[i].folded);
		p += TOTALS_ROW;
	}
	le_put(b + 8, crc32c(0, b + 12, n - 12), 4);
	buf_clear(out);
	CHECK(buf_put(out, b, n) == 0);
	free(b);
}

/* Is this a whole totals value? */
static bool
totals_valid(struct slice s)
{
	const uint8_t *b = (const uint8_t *)s.p;

	return s.n >= TOTALS_HEAD && le_get(b, 8) == TOTALS_MAGIC &&
	    le_get(b + 8, 4) == crc32c(0, b + 12, s.n - 12) &&
	    le_get(b + 12, 4) == RECORD_VERSION &&
	    s.n == TOTALS_HEAD + le_get(b + 32, 4) * 8 + le_get(b + 36, 4) * TOTALS_ROW;
}

static void
totals_take(struct spool *sp, struct slice s)
{
	const uint8_t *b = (const uint8_t *)s.p, *p = b + TOTALS_HEAD;
	size_t rows = le_get(b + 36, 4);

	sp->totals_seq = le_get(b + 16, 8);
	sp->next_segment = le_get(b + 24, 8);
	sp->ngone = le_get(b + 32, 4);
	sp->gone = mem_resize(NULL, sp->ngone, sizeof(*sp->gone));
	for (size_t i = 0; i < sp->ngone; i++, p += 8)
		sp->gone[i] = le_get(p, 8);
	for (size_t i = 0; i < rows; i++, p += TOTALS_ROW) {
		struct spool_sums t;
		uint64_t group = le_get(p, 8);
		if (group == 0)
			continue;
		sums_get(p + 8, &t);
		struct group_sums *g = get_group(sp, group);
		g->folded = g->now = t;
		uint64_t *const to = &sp->all.received, *const from = &t.received;
		for (size_t k = 0; k < sizeof(t) / sizeof(uint64_t); k++)
			to[k] += from[k];
	}
}

/* 0, or -1 when there were totals but none that can be read. */
int
balance_load(struct spool *sp)
{
	static const char *const name[2] = { "totals.a", "totals.b" };
	struct buf b[2];
	int best = -1, seen = 0;

	for (int i = 0; i < 2; i++) {
		buf_init(&b[i], SPOOL_META_MAX);
		int rc = sp->ops->get_meta(sp->store, name[i], &b[i]);
		if (rc == 1)
			continue;
		seen++;
		if (rc != 0 || !totals_valid(buf_slice(&b[i]))) {
			log_error("spool-totals", "name=%s problem=damaged", name[i]);
			sp->damaged++;
			if (rc == 0 && !sp->read_only)
				sp->ops->set_aside(sp->store, name[i], buf_slice(&b[i]));
			continue;
		}
		if (best < 0 || le_get((const uint8_t *)buf_slice(&b[i]).p + 16, 8) >
		    le_get((const uint8_t *)buf_slice(&b[best]).p + 16, 8))
			best = i;
	}
	if (best >= 0)
		totals_take(sp, buf_slice(&b[best]));
	for (int i = 0; i < 2; i++)
		buf_fini(&b[i]);
	return best < 0 && seen > 0 ? -1 : 0;
}
