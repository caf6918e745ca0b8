// SPDX-License-Identifier: Apache-2.0
/*
 * Reading messages back. What was committed a moment ago is still here as the
 * sealed body itself; everything else comes from its segment, and not one byte of
 * it is handed out before both checksums hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"
#include "queue/squeeze.h"

static struct cached **
cache_slot(struct spool *sp, uint64_t segment, uint32_t off8)
{
	uint64_t h = (segment * 0x9e3779b97f4a7c15ull) ^ (off8 * 0xc2b2ae3d27d4eb4full);

	return &sp->cache_hash[(h >> 32) % SPOOL_CACHE_HASH];
}

static struct cached *
cache_find(struct spool *sp, uint64_t segment, uint32_t off8)
{
	struct cached *c = *cache_slot(sp, segment, off8);

	while (c != NULL && (c->segment != segment || c->off8 != off8))
		c = c->hash_next;
	return c;
}

static void
cache_free(struct spool *sp, struct cached *c)
{
	struct cached **at = cache_slot(sp, c->segment, c->off8);

	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	c->prev->next = c->next;
	c->next->prev = c->prev;
	sp->cache_n--;
	sp->cache_bytes -= c->cost;
	close(c->body_fd);
	free(c);
}

/* Takes the commit's descriptor. */
void
cache_put(struct spool *sp, struct commit *k)
{
	size_t nenv = k->rec.env_len, cost = sizeof(struct cached) + nenv + k->rec.body_len + 1024;

	if (cost > sp->cache_bytes_max / 4 || sp->cache_fds_max == 0)
		return;
	while (sp->cache_n > 0 && (sp->cache_bytes + cost > sp->cache_bytes_max ||
	    sp->cache_n >= sp->cache_fds_max))
		cache_free(sp, sp->cache.next);
	struct cached *c = mem_new(sizeof(*c) + nenv);
	c->segment = k->seg->no;
	c->off8 = k->entry[0].off8;
	c->body_fd = k->body_fd;
	k->body_fd = -1;
	c->cost = cost;
	c->left = k->rec.nrcpt;
	c->nenv = nenv;
	c->env = (uint8_t *)(c + 1);
	memcpy(c->env, k->buf + RECORD_HEAD + k->rec.nrcpt, nenv);
	struct cached **slot = cache_slot(sp, c->segment, c->off8);
	c->hash_next = *slot;
	*slot = c;
	c->prev = sp->cache.prev;
	c->next = &sp->cache;
	c->prev->next = c;
	sp->cache.prev = c;
	sp->cache_n++;
	sp->cache_bytes += cost;
}

void
cache_settled(struct spool *sp, uint64_t segment, uint32_t off8)
{
	struct cached *c = cache_find(sp, segment, off8);

	if (c != NULL && --c->left == 0)
		cache_free(sp, c);
}

bool
cache_evict(struct spool *sp)
{
	if (sp->cache_n == 0)
		return false;
	cache_free(sp, sp->cache.next);
	return true;
}

/* Its offsets mean something else from now on. */
void
cache_forget(struct spool *sp, uint64_t segment)
{
	struct cached *c = sp->cache.next, *next;

	for (; c != &sp->cache; c = next) {
		next = c->next;
		if (c->segment == segment)
			cache_free(sp, c);
	}
}

void
cache_clear(struct spool *sp)
{
	while (cache_evict(sp))
		;
}

void
spool_message_fini(struct spool_message *m)
{
	buf_fini(&m->raw);
	if (m->body_fd >= 0)
		close(m->body_fd);
	m->body_fd = -1;
}

int
spool_message_rcpt(const struct spool_message *m, uint16_t index, struct envelope_rcpt *out)
{
	struct slice list = m->env.rcpts;
	uint32_t i = 0;

	while (wire_item_next(&list, &envelope_rcpt_wire, out) == 1)
		if (i++ == index)
			return 0;
	return -1;
}

static int
take_raw(struct spool_message *m, struct slice env)
{
	return buf_put_slice(&m->raw, env) == 0 &&
	    envelope_get(buf_slice(&m->raw), &m->env) == 0 ? 0 : -1;
}

static enum read_result
read_meta(struct spool *sp, struct seg *s, uint64_t off, struct record *r,
    struct spool_message *m)
{
	uint8_t head[RECORD_HEAD];
	enum read_result rc = READ_DAMAGED;

	ssize_t n = sp->ops->read(sp->store, s->no, STORE_LOG, off, head, sizeof(head));
	if (n < 0)
		return errno == ENOENT ? READ_DAMAGED : READ_TRY_LATER;
	if (n != RECORD_HEAD || record_get(head, s->stamp, r) != 0 ||
	    r->type != RECORD_MESSAGE || r->nrcpt == 0)
		return READ_DAMAGED;
	size_t len = record_meta_len(r);
	char *b = malloc(len);
	if (b == NULL)
		return READ_TRY_LATER;
	n = sp->ops->read(sp->store, s->no, STORE_LOG, off + RECORD_HEAD, b, len);
	if (n < 0)
		rc = READ_TRY_LATER;
	else if ((size_t)n == len && record_crc(s->stamp, slice_make(b, len)) == r->crc_meta &&
	    take_raw(m, slice_make(b + r->nrcpt, r->env_len)) == 0)
		rc = READ_OK;
	free(b);
	return rc;
}

/* Puts the content in the place of the stored bytes. */
static enum read_result
unpack_body(struct slice stored, uint64_t size, int *fd)
{
	int plain = body_create();

	if (plain < 0)
		return READ_TRY_LATER;
	if (squeeze_unpack(stored, size, plain) != 0 || body_seal(plain) != 0) {
		enum read_result rc = errno == EBADMSG ? READ_DAMAGED : READ_TRY_LATER;
		close(plain);
		return rc;
	}
	close(*fd);
	*fd = plain;
	return READ_OK;
}

static enum read_result
read_body(struct spool *sp, struct seg *s, uint64_t off, const struct record *r, int *fd)
{
	struct slice map;

	*fd = sp->ops->read_body(sp->store, s->no, off + RECORD_HEAD + record_meta_len(r),
	    r->body_len);
	if (*fd < 0) {
		int64_t size = sp->ops->size(sp->store, s->no, STORE_LOG);
		return size >= 0 && (uint64_t)size < off + record_len(r) ?
		    READ_DAMAGED : READ_TRY_LATER;
	}
	if (body_map(*fd, &map) != 0)
		return READ_TRY_LATER;
	enum read_result rc = map.n == r->body_len && crc32c(0, map.p, map.n) == r->crc_body ?
	    READ_OK : READ_DAMAGED;
	if (rc == READ_OK && (r->flags & RECORD_ZSTD) != 0)
		rc = unpack_body(map, r->size, fd);
	else if (rc == READ_OK && r->size != r->body_len)
		rc = READ_DAMAGED;
	body_unmap(&map);
	return rc;
}

static void
fail_legs(struct spool *sp, struct spool_ref ref, const struct entry *e)
{
	for (int l = 0; l < LEG_KIND_MAX; l++) {
		struct spool_leg now = e->leg[l];
		if (leg_settled(now.state))
			continue;
		now.state = LEG_FAILED;
		now.next_ms = 0;
		spool_set(sp, ref, (enum leg_kind)l, &now, SLICE_LIT("damaged"));
	}
}

void
read_damaged(struct spool *sp, struct seg *s, uint32_t entry, uint32_t off8)
{
	uint64_t off = (uint64_t)off8 * RECORD_ALIGN, end = s->end;
	uint32_t first = entry, i;
	struct entry e;

	while (first > 0 && index_get(sp, s, first - 1, &e) == 0 && e.off8 == off8)
		first--;
	for (i = first; index_get(sp, s, i, &e) == 0 && e.off8 == off8; i++)
		fail_legs(sp, (struct spool_ref){ s->no, i }, &e);
	while (index_get(sp, s, i, &e) == 0 && e.off8 == 0)
		i++;
	if (index_get(sp, s, i, &e) == 0 && (uint64_t)e.off8 * RECORD_ALIGN > off)
		end = (uint64_t)e.off8 * RECORD_ALIGN;
	spool_set_aside(sp, s, off, end - off, "record");
}

/* The disk would not read: not damage yet. Due legs wait a minute. */
static void
put_off(struct spool *sp, struct spool_ref ref, const struct entry *e)
{
	int64_t next = clock_wall_ms() + 60000;

	for (int l = 0; l < LEG_KIND_MAX; l++) {
		struct spool_leg now = e->leg[l];
		if (now.state != LEG_WAITING || now.next_ms >= next)
			continue;
		now.next_ms = next;
		spool_set(sp, ref, (enum leg_kind)l, &now, SLICE_NONE);
	}
}

static int
read_fresh(const struct cached *c, bool with_body, struct spool_message *out)
{
	if (take_raw(out, slice_make(c->env, c->nenv)) != 0)
		return -1;
	if (!with_body)
		return 0;
	out->body_fd = fcntl(c->body_fd, F_DUPFD_CLOEXEC, 0);
	return out->body_fd < 0 ? -1 : 0;
}

int
spool_read(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out)
{
	struct seg *s = seg_find(sp, ref.segment);
	struct record r;
	struct entry e;

	*out = (struct spool_message){ .body_fd = -1 };
	buf_init(&out->raw, ENVELOPE_MAX);
	if (s == NULL || index_get(sp, s, ref.entry, &e) != 0 || e.empty)
		return -1;
	if (e.off8 == 0) {	/* settled, and its message is not kept any more */
		errno = ENOENT;
		return -1;
	}
	const struct cached *c = cache_find(sp, s->no, e.off8);
	if (c != NULL && read_fresh(c, with_body, out) == 0)
		return 0;
	spool_message_fini(out);
	buf_init(&out->raw, ENVELOPE_MAX);
	uint64_t off = (uint64_t)e.off8 * RECORD_ALIGN;
	enum read_result rc = read_meta(sp, s, off, &r, out);
	if (rc == READ_OK && memcmp(r.id.b, e.id.b, MSGID_LEN) != 0)
		rc = READ_DAMAGED;
	if (rc == READ_OK && with_body)
		rc = read_body(sp, s, off, &r, &out->body_fd);
	if (rc == READ_OK)
		return 0;
	spool_message_fini(out);
	if (rc == READ_DAMAGED) {
		read_damaged(sp, s, ref.entry, e.off8);
		errno = EBADMSG;
	} else {
		log_error("spool-read", "segment=%llu off=%llu", (unsigned long long)s->no,
		    (unsigned long long)off);
		put_off(sp, ref, &e);
		errno = EIO;
	}
	return -1;
}
