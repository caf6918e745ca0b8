// SPDX-License-Identifier: Apache-2.0
#include "queue/record.h"

#include "base/crypto.h"
#include "base/mem.h"

#define SEGMENT_MAGIC	0x3153676553707653ull	/* "SvpSegS1" */
#define INDEX_MAGIC	0x3178646953707653ull	/* "SvpSidx1" */
#define RECORD_MAGIC	0x63527653u		/* "SvRc" */
#define PAGE_MAGIC	0x67507653u		/* "SvPg" */
#define PROGRESS_MAGIC	0xa7u
#define TIME_MAX	((INT64_C(1) << 48) - 1)

static uint32_t
crc_seeded(uint64_t stamp, const void *p, size_t n)
{
	uint8_t seed[8];

	le_put(seed, stamp, 8);
	return crc32c(crc32c(0, seed, sizeof(seed)), p, n);
}

uint32_t
record_crc(uint64_t stamp, struct slice bytes)
{
	return crc_seeded(stamp, bytes.p, bytes.n);
}

void
segment_head_put(uint8_t out[SEGMENT_HEAD], const struct segment_head *h)
{
	memset(out, 0, SEGMENT_HEAD);
	le_put(out, SEGMENT_MAGIC, 8);
	/* A release that knows no rewritten logs shall not take one for damaged. */
	le_put(out + 8, h->generation == 0 ? 1 : SEGMENT_VERSION, 2);
	out[10] = h->cls;
	out[11] = h->packed;
	le_put(out + 16, h->segment, 8);
	le_put(out + 24, h->stamp, 8);
	le_put(out + 32, (uint64_t)h->created_ms, 8);
	le_put(out + 40, h->generation, 4);
	le_put(out + 44, (uint64_t)h->shift_ms, 8);
	le_put(out + 60, crc_seeded(h->stamp, out, 60), 4);
}

int
segment_head_get(const uint8_t in[SEGMENT_HEAD], struct segment_head *h)
{
	uint64_t stamp = le_get(in + 24, 8), version = le_get(in + 8, 2);

	if (le_get(in, 8) != SEGMENT_MAGIC || version == 0 || version > SEGMENT_VERSION ||
	    le_get(in + 60, 4) != crc_seeded(stamp, in, 60) || in[10] >= STORE_CLASS_MAX)
		return -1;
	*h = (struct segment_head){
		.segment = le_get(in + 16, 8), .stamp = stamp, .cls = in[10],
		.created_ms = (int64_t)le_get(in + 32, 8),
		.generation = (uint32_t)le_get(in + 40, 4), .packed = in[11] != 0,
		.shift_ms = (int64_t)le_get(in + 44, 8),
	};
	return 0;
}

void
record_put(uint8_t out[RECORD_HEAD], const struct record *r)
{
	le_put(out, RECORD_MAGIC, 4);
	out[4] = RECORD_VERSION;
	out[5] = r->type;
	le_put(out + 6, r->flags, 2);
	le_put(out + 8, r->stamp, 8);
	memcpy(out + 16, r->id.b, MSGID_LEN);
	le_put(out + 26, r->nrcpt, 2);
	le_put(out + 28, r->env_len, 4);
	le_put(out + 32, r->body_len, 8);
	le_put(out + 40, r->size, 4);
	le_put(out + 44, r->stable, 4);
	le_put(out + 48, r->first_entry, 4);
	le_put(out + 52, r->crc_meta, 4);
	le_put(out + 56, r->crc_body, 4);
	le_put(out + 60, crc_seeded(r->stamp, out, 60), 4);
}

int
record_get(const uint8_t in[RECORD_HEAD], uint64_t stamp, struct record *r)
{
	if (le_get(in, 4) != RECORD_MAGIC || in[4] != RECORD_VERSION ||
	    le_get(in + 8, 8) != stamp || le_get(in + 60, 4) != crc_seeded(stamp, in, 60))
		return -1;
	*r = (struct record){
		.type = in[5], .flags = (uint16_t)le_get(in + 6, 2), .stamp = stamp,
		.nrcpt = (uint16_t)le_get(in + 26, 2),
		.env_len = (uint32_t)le_get(in + 28, 4), .body_len = le_get(in + 32, 8),
		.size = (uint32_t)le_get(in + 40, 4), .stable = (uint32_t)le_get(in + 44, 4),
		.first_entry = (uint32_t)le_get(in + 48, 4),
		.crc_meta = (uint32_t)le_get(in + 52, 4), .crc_body = (uint32_t)le_get(in + 56, 4),
	};
	memcpy(r->id.b, in + 16, MSGID_LEN);
	/* The CRC holds, yet the bytes are the world's: bound what others multiply. */
	if (r->env_len > ENVELOPE_MAX || r->body_len >> BODY_MAX_BITS != 0)
		return -1;
	switch (r->type) {
	case RECORD_MESSAGE:
		return (r->flags & ~RECORD_ZSTD) != 0 ? -1 : 0;
	case RECORD_ABANDON:
		return r->flags != 0 ? -1 : 0;
	case RECORD_SETTLED:
		return r->flags != 0 || r->nrcpt != 0 || r->body_len != 0 ||
		    r->env_len % SETTLED_BYTES != 0 ||
		    r->env_len > SETTLED_MAX * SETTLED_BYTES ? -1 : 0;
	}
	return -1;
}

uint64_t
record_meta_len(const struct record *r)
{
	return (uint64_t)r->nrcpt + r->env_len;
}

uint64_t
record_len(const struct record *r)
{
	uint64_t n = RECORD_HEAD + record_meta_len(r) + r->body_len;

	return (n + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

uint8_t
birth_put(struct spool_birth b)
{
	return (uint8_t)(b.hold | b.forward << 4);
}

int
birth_get(uint8_t v, struct spool_birth *b)
{
	b->hold = v & 15;
	b->forward = v >> 4;
	return b->hold < LEG_STATE_MAX && b->forward < LEG_STATE_MAX ? 0 : -1;
}

void
abandon_put(uint8_t out[ABANDON_BYTES], struct abandon a)
{
	le_put(le_put(out, a.segment, 8), a.good_end, 8);
}

struct abandon
abandon_get(const uint8_t in[ABANDON_BYTES])
{
	return (struct abandon){ le_get(in, 8), le_get(in + 8, 8) };
}

static uint64_t
time_bound(int64_t ms)
{
	return ms < 0 ? 0 : ms > TIME_MAX ? (uint64_t)TIME_MAX : (uint64_t)ms;
}

/* 48 bits of time; all ones is "never". */
static int64_t
time_get(const uint8_t *p)
{
	int64_t ms = (int64_t)le_get(p, 6);

	return ms == TIME_MAX ? INT64_MAX : ms;
}

size_t
progress_put(uint8_t *out, uint64_t stamp, const struct progress *p)
{
	size_t note = p->note.n < NOTE_MAX ? p->note.n : NOTE_MAX;
	size_t n = (PROGRESS_FIXED + note + 7) & ~(size_t)7;

	memset(out, 0, n);
	out[0] = PROGRESS_MAGIC;
	out[1] = (uint8_t)(p->kind << 4 | p->leg);
	out[2] = p->now.state;
	out[3] = (uint8_t)note;
	le_put(out + 4, p->entry, 4);
	le_put(out + 8, p->check, 4);
	le_put(out + 12, p->now.attempts, 2);
	le_put(out + 14, p->now.code, 2);
	le_put(out + 16, time_bound(p->now.next_ms), 8);
	le_put(out + 24, p->other, 4);
	if (note > 0)
		memcpy(out + PROGRESS_FIXED, p->note.p, note);
	le_put(out + 28, crc32c(crc_seeded(stamp, out, 28), out + 32, n - 32), 4);
	return n;
}

size_t
progress_get(struct slice in, uint64_t stamp, struct progress *p)
{
	const uint8_t *b = (const uint8_t *)in.p;

	if (in.n < PROGRESS_FIXED || b[0] != PROGRESS_MAGIC || b[3] > NOTE_MAX)
		return 0;
	size_t n = (PROGRESS_FIXED + (size_t)b[3] + 7) & ~(size_t)7;
	if (n > in.n || le_get(b + 28, 4) != crc32c(crc_seeded(stamp, b, 28), b + 32, n - 32))
		return 0;
	*p = (struct progress){
		.kind = b[1] >> 4, .leg = b[1] & 15,
		.now = { .state = b[2], .attempts = (uint16_t)le_get(b + 12, 2),
			 .next_ms = time_get(b + 16), .code = (uint16_t)le_get(b + 14, 2) },
		.entry = (uint32_t)le_get(b + 4, 4), .check = (uint32_t)le_get(b + 8, 4),
		.other = (uint32_t)le_get(b + 24, 4),
		.note = slice_make(b + PROGRESS_FIXED, b[3]),
	};
	if (p->kind > PROGRESS_VOID || p->leg >= LEG_KIND_MAX || p->now.state >= LEG_STATE_MAX)
		return 0;
	return n;
}

static uint32_t
leg_put(const struct spool_leg *l)
{
	uint32_t code = l->code > 1023 ? 1023 : l->code;

	return (uint32_t)l->state | code << 4 | (uint32_t)l->attempts << 14;
}

static struct spool_leg
leg_get(uint32_t v, int64_t next_ms)
{
	/* No page with a good CRC says so, but a state is used as an index: a leg in
	 * doubt stays with us. */
	uint8_t state = (v & 15) < LEG_STATE_MAX ? v & 15 : LEG_PARKED;

	return (struct spool_leg){ .state = state, .code = (uint16_t)(v >> 4 & 1023),
	    .attempts = (uint16_t)(v >> 14 & 0xffff), .next_ms = next_ms };
}

enum { E_KIND = 7, E_TRIAGE = 3, E_HOLD_ONLY = 32, E_EMPTY = 64 };

void
entry_put(uint8_t out[ENTRY_BYTES], const struct entry *e)
{
	memcpy(out, e->id.b, MSGID_LEN);
	le_put(out + 10, e->rcpt, 2);
	le_put(out + 12, e->slot, 2);
	out[14] = (uint8_t)((e->kind & E_KIND) | (e->triage & E_TRIAGE) << 3 |
	    (e->hold_only ? E_HOLD_ONLY : 0) | (e->empty ? E_EMPTY : 0));
	out[15] = (uint8_t)(e->sender >> 16);
	le_put(out + 16, e->off8, 4);
	le_put(out + 20, e->size, 4);
	le_put(out + 24, e->user, 8);
	le_put(out + 32, time_bound(e->received_ms), 6);
	le_put(out + 38, time_bound(e->leg[LEG_HOLD].next_ms), 6);
	le_put(out + 44, time_bound(e->leg[LEG_FORWARD].next_ms), 6);
	le_put(out + 50, e->sender & 0xffff, 2);
	le_put(out + 52, leg_put(&e->leg[LEG_HOLD]), 4);
	le_put(out + 56, leg_put(&e->leg[LEG_FORWARD]), 4);
	le_put(out + 60, e->note, 4);
}

void
entry_get(const uint8_t in[ENTRY_BYTES], struct entry *e)
{
	*e = (struct entry){
		.rcpt = (uint16_t)le_get(in + 10, 2), .slot = (uint16_t)le_get(in + 12, 2),
		.kind = in[14] & E_KIND, .triage = in[14] >> 3 & E_TRIAGE,
		.hold_only = (in[14] & E_HOLD_ONLY) != 0, .empty = (in[14] & E_EMPTY) != 0,
		.off8 = (uint32_t)le_get(in + 16, 4), .size = (uint32_t)le_get(in + 20, 4),
		.user = le_get(in + 24, 8),
		.sender = (uint32_t)(in[15] << 16 | le_get(in + 50, 2)),
		.received_ms = (int64_t)le_get(in + 32, 6),
		.note = (uint32_t)le_get(in + 60, 4),
		.leg = { leg_get((uint32_t)le_get(in + 52, 4), time_get(in + 38)),
			 leg_get((uint32_t)le_get(in + 56, 4), time_get(in + 44)) },
	};
	memcpy(e->id.b, in, MSGID_LEN);
}

void
settled_put(uint8_t out[SETTLED_BYTES], const struct entry *e, uint64_t group)
{
	struct entry k = *e;

	k.slot = 0;
	k.off8 = 0;
	entry_put(out, &k);
	le_put(out + ENTRY_BYTES, group, 8);
}

void
settled_get(const uint8_t in[SETTLED_BYTES], struct entry *e, uint64_t *group)
{
	entry_get(in, e);
	e->slot = 0;
	e->off8 = 0;
	*group = le_get(in + ENTRY_BYTES, 8);
}

uint32_t
entry_check(const struct entry *e)
{
	uint8_t b[MSGID_LEN + 2];

	memcpy(b, e->id.b, MSGID_LEN);
	le_put(b + MSGID_LEN, e->rcpt, 2);
	return crc32c(0, b, sizeof(b));
}

static uint32_t
page_crc(const uint8_t page[PAGE_BYTES], uint64_t stamp)
{
	return crc32c(crc_seeded(stamp, page, 20), page + 24, PAGE_BYTES - 24);
}

void
page_put(uint8_t page[PAGE_BYTES], uint64_t stamp, uint32_t no, uint32_t count)
{
	memset(page, 0, PAGE_HEAD);
	le_put(page, PAGE_MAGIC, 4);
	le_put(page + 4, no, 4);
	le_put(page + 8, stamp, 8);
	le_put(page + 16, count, 4);
	le_put(page + 20, page_crc(page, stamp), 4);
}

int
page_get(const uint8_t page[PAGE_BYTES], uint64_t stamp, uint32_t no)
{
	if (le_get(page, 4) != PAGE_MAGIC || le_get(page + 4, 4) != no ||
	    le_get(page + 8, 8) != stamp || le_get(page + 20, 4) != page_crc(page, stamp))
		return -1;
	return 0;
}

void
row_put(uint8_t out[ROW_BYTES], const struct row *r)
{
	uint8_t *p = le_put(out, r->group, 8);

	for (int l = 0; l < LEG_KIND_MAX; l++)
		for (int s = 0; s < LEG_STATE_MAX; s++)
			p = le_put(p, r->leg[l][s], 4);
	for (int b = 0; b < BUCKET_MAX; b++)
		p = le_put(p, r->bucket[b], 4);
	p = le_put(p, r->held_bytes, 8);
	memset(p, 0, (size_t)(out + ROW_BYTES - p));
}

void
row_get(const uint8_t in[ROW_BYTES], struct row *r)
{
	const uint8_t *p = in + 8;

	r->group = le_get(in, 8);
	for (int l = 0; l < LEG_KIND_MAX; l++)
		for (int s = 0; s < LEG_STATE_MAX; s++, p += 4)
			r->leg[l][s] = (uint32_t)le_get(p, 4);
	for (int b = 0; b < BUCKET_MAX; b++, p += 4)
		r->bucket[b] = (uint32_t)le_get(p, 4);
	r->held_bytes = le_get(p, 8);
}

void
index_head_put(uint8_t out[PAGE_BYTES], const struct index_head *h)
{
	memset(out, 0, PAGE_BYTES);
	le_put(out, INDEX_MAGIC, 8);
	le_put(out + 8, RECORD_VERSION, 2);
	out[10] = h->cls;
	le_put(out + 16, h->segment, 8);
	le_put(out + 24, h->stamp, 8);
	le_put(out + 32, h->count, 4);
	le_put(out + 36, h->live, 4);
	le_put(out + 40, h->log_end, 8);
	le_put(out + 48, h->covered, 8);
	memcpy(out + 56, h->min.b, MSGID_LEN);
	memcpy(out + 66, h->max.b, MSGID_LEN);
	le_put(out + 76, h->nrow, 4);
	le_put(out + 80, (uint64_t)h->due[LEG_HOLD], 8);
	le_put(out + 88, (uint64_t)h->due[LEG_FORWARD], 8);
	le_put(out + 96, (uint64_t)h->created_ms, 8);
	le_put(out + 104, h->crc_rows, 4);
	le_put(out + 108, h->table_n, 4);
	out[112] = h->sender_gap;
	le_put(out + 116, h->generation, 4);
	le_put(out + 120, h->bodies, 4);
	le_put(out + 124, crc_seeded(h->stamp, out, 124), 4);
}

int
index_head_get(const uint8_t in[PAGE_BYTES], struct index_head *h)
{
	uint64_t stamp = le_get(in + 24, 8);

	if (le_get(in, 8) != INDEX_MAGIC || le_get(in + 8, 2) != RECORD_VERSION ||
	    le_get(in + 124, 4) != crc_seeded(stamp, in, 124) || in[10] >= STORE_CLASS_MAX)
		return -1;
	*h = (struct index_head){
		.segment = le_get(in + 16, 8), .stamp = stamp, .cls = in[10],
		.count = (uint32_t)le_get(in + 32, 4), .live = (uint32_t)le_get(in + 36, 4),
		.log_end = le_get(in + 40, 8), .covered = le_get(in + 48, 8),
		.due = { (int64_t)le_get(in + 80, 8), (int64_t)le_get(in + 88, 8) },
		.created_ms = (int64_t)le_get(in + 96, 8),
		.nrow = (uint32_t)le_get(in + 76, 4), .crc_rows = (uint32_t)le_get(in + 104, 4),
		.table_n = (uint32_t)le_get(in + 108, 4), .sender_gap = in[112] != 0,
	};
	memcpy(h->min.b, in + 56, MSGID_LEN);
	h->generation = (uint32_t)le_get(in + 116, 4);
	h->bodies = h->generation == 0 ? h->count : (uint32_t)le_get(in + 120, 4);
	memcpy(h->max.b, in + 66, MSGID_LEN);
	return h->nrow > SLOT_MAX || h->count > UINT32_MAX / 2 || h->table_n > h->count ? -1 : 0;
}
