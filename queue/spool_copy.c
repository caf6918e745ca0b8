// SPDX-License-Identifier: Apache-2.0
/*
 * Copying what is live of a log into the next chunk of the new one. Runs on a thread
 * of the store, while the loop leaves struct rewrite alone; uses no more of the spool
 * than its store. Every checksum is looked at: damage is never copied.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "queue/spool_priv.h"
#include "queue/squeeze.h"

/* Head, payload, padding. */
static int
put_record(struct buf *out, const struct record *r, struct slice meta, struct slice body)
{
	static const uint8_t zero[RECORD_ALIGN];
	uint8_t head[RECORD_HEAD];
	size_t n = RECORD_HEAD + meta.n + body.n;

	record_put(head, r);
	return buf_put(out, head, sizeof(head)) == 0 && buf_put_slice(out, meta) == 0 &&
	    buf_put_slice(out, body) == 0 &&
	    buf_put(out, zero, record_len(r) - n) == 0 ? 0 : -1;
}

/* On the loop, where the index is. */
void
copy_settled(struct spool *sp, struct seg *s, const struct rewrite_item *it)
{
	uint8_t b[SETTLED_MAX * SETTLED_BYTES];
	struct entry e = { .empty = true };

	for (uint32_t i = 0; i < it->n; i++) {
		/* The pages are in memory since they were planned. */
		CHECK(index_get(sp, s, it->first + i, &e) == 0);
		settled_put(b + (size_t)i * SETTLED_BYTES, &e,
		    e.slot < s->nrow ? s->row[e.slot].group : 0);
	}
	struct slice payload = slice_make(b, (size_t)it->n * SETTLED_BYTES);
	const struct record r = {
		.type = RECORD_SETTLED, .stamp = s->stamp, .id = e.id, .first_entry = it->first,
		.env_len = (uint32_t)payload.n, .crc_meta = record_crc(s->stamp, payload),
	};
	CHECK(put_record(&sp->rewrite.settled, &r, payload, SLICE_NONE) == 0);
}

/* A record as it is in the log, checked. READ_OK: `b` is owned by the caller. */
static enum read_result
read_whole(struct spool *sp, const struct rewrite_item *it, struct record *r, uint8_t **b)
{
	struct seg *s = sp->rewrite.seg;
	uint64_t off = (uint64_t)it->off8 * RECORD_ALIGN;
	uint8_t head[RECORD_HEAD];

	ssize_t n = sp->ops->read(sp->store, s->no, STORE_LOG, off, head, sizeof(head));
	if (n < 0)
		return errno == ENOENT ? READ_DAMAGED : READ_TRY_LATER;
	if (n != RECORD_HEAD || record_get(head, s->stamp, r) != 0 ||
	    r->type != RECORD_MESSAGE || r->nrcpt != it->n || r->first_entry != it->first)
		return READ_DAMAGED;
	uint64_t meta = record_meta_len(r), len = meta + r->body_len;
	/* A head that lies about its length is no reason to ask for so much memory. */
	if (off > s->end || s->end - off < RECORD_HEAD + len)
		return READ_DAMAGED;
	*b = malloc(len + 1);
	if (*b == NULL)
		return READ_TRY_LATER;
	n = sp->ops->read(sp->store, s->no, STORE_LOG, off + RECORD_HEAD, *b, len);
	if (n >= 0 && (uint64_t)n == len &&
	    record_crc(s->stamp, slice_make(*b, meta)) == r->crc_meta &&
	    crc32c(0, *b + meta, r->body_len) == r->crc_body)
		return READ_OK;
	free(*b);
	*b = NULL;
	return n < 0 ? READ_TRY_LATER : READ_DAMAGED;
}

static enum read_result
copy_message(struct spool *sp, struct squeeze *q, struct rewrite_item *it)
{
	struct rewrite *w = &sp->rewrite;
	uint8_t *b = NULL, *packed = NULL;
	struct record r;

	enum read_result rc = read_whole(sp, it, &r, &b);
	if (rc != READ_OK)
		return rc;
	struct slice meta = slice_make(b, record_meta_len(&r));
	struct slice body = slice_make(b + meta.n, r.body_len);
	if (q != NULL && (r.flags & RECORD_ZSTD) == 0 && body.n >= SQUEEZE_MIN)
		packed = malloc(body.n);
	size_t n = packed == NULL ? 0 : squeeze_pack(q, body, packed);
	if (n > 0) {
		body = slice_make(packed, n);
		r.flags |= RECORD_ZSTD;
		r.body_len = n;
		r.crc_body = crc32c(0, packed, n);
	}
	r.stable = 0;
	it->new8 = (uint32_t)((w->end + buf_len(&w->out)) / RECORD_ALIGN);
	if (put_record(&w->out, &r, meta, body) != 0)
		rc = READ_TRY_LATER;
	free(packed);
	free(b);
	return rc;
}

void
copy_chunk(void *arg)
{
	struct spool *sp = arg;
	struct rewrite *w = &sp->rewrite;
	struct slice settled = buf_slice(&w->settled);
	struct squeeze *q = w->level > 0 ? squeeze_new(w->level) : NULL;

	w->began_us = clock_mono_us();
	w->result = READ_OK;
	for (size_t i = w->from; i < w->to && w->result == READ_OK; i++) {
		struct rewrite_item *it = &w->item[i];
		w->bad = i;
		if (it->off8 != 0) {
			w->result = copy_message(sp, q, it);
			continue;
		}
		size_t n = RECORD_HEAD + (size_t)it->n * SETTLED_BYTES;
		if (buf_put_slice(&w->out, slice_sub(settled, 0, n)) != 0)
			w->result = READ_TRY_LATER;
		settled = slice_sub(settled, n, settled.n);
	}
	squeeze_free(&q);
}
