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

/* Where a message is, for whoever reads it: a thread may not look at a segment. */
struct place {
	struct spool	*sp;		/* of it the store only */
	uint64_t	 segment, stamp;
	uint64_t	 off;
	struct msgid	 id;		/* of the message that is expected */
};

static enum read_result
read_meta(const struct place *at, struct record *r, struct spool_message *m)
{
	const struct store_ops *ops = at->sp->ops;
	uint8_t head[RECORD_HEAD];
	enum read_result rc = READ_DAMAGED;

	ssize_t n = ops->read(at->sp->store, at->segment, STORE_LOG, at->off, head, sizeof(head));
	if (n < 0)
		return errno == ENOENT ? READ_DAMAGED : READ_TRY_LATER;
	if (n != RECORD_HEAD || record_get(head, at->stamp, r) != 0 ||
	    r->type != RECORD_MESSAGE || r->nrcpt == 0)
		return READ_DAMAGED;
	size_t len = record_meta_len(r);
	char *b = malloc(len);
	if (b == NULL)
		return READ_TRY_LATER;
	n = ops->read(at->sp->store, at->segment, STORE_LOG, at->off + RECORD_HEAD, b, len);
	if (n < 0)
		rc = READ_TRY_LATER;
	else if ((size_t)n == len && record_crc(at->stamp, slice_make(b, len)) == r->crc_meta &&
	    memcmp(r->id.b, at->id.b, MSGID_LEN) == 0 &&
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
read_body(const struct place *at, const struct record *r, int *fd)
{
	const struct store_ops *ops = at->sp->ops;
	struct slice map;

	*fd = ops->read_body(at->sp->store, at->segment,
	    at->off + RECORD_HEAD + record_meta_len(r), r->body_len);
	if (*fd < 0) {
		int64_t size = ops->size(at->sp->store, at->segment, STORE_LOG);
		return size >= 0 && (uint64_t)size < at->off + record_len(r) ?
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
message_init(struct spool_message *m)
{
	*m = (struct spool_message){ .body_fd = -1 };
	buf_init(&m->raw, ENVELOPE_MAX);
}

/* Any thread. Not READ_OK: nothing is in `m`. */
static enum read_result
read_message(const struct place *at, bool with_body, struct spool_message *m)
{
	struct record r;

	message_init(m);
	enum read_result rc = read_meta(at, &r, m);
	if (rc == READ_OK && with_body)
		rc = read_body(at, &r, &m->body_fd);
	if (rc != READ_OK)
		spool_message_fini(m);
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
	int64_t next = spool_now(sp) + 60000;

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

/* The entry, when there is a message to read. 0, or -1 with errno. */
static int
find(struct spool *sp, struct spool_ref ref, struct seg **s, struct entry *e)
{
	errno = ENOENT;
	*s = seg_find(sp, ref.segment);
	if (*s == NULL || index_get(sp, *s, ref.entry, e) != 0 || e->empty)
		return -1;
	/* At 0: settled, and its message is not kept any more. */
	errno = ENOENT;
	return e->off8 == 0 ? -1 : 0;
}

static struct place
place_of(struct spool *sp, const struct seg *s, const struct entry *e)
{
	return (struct place){ .sp = sp, .segment = s->no, .stamp = s->stamp,
		.off = (uint64_t)e->off8 * RECORD_ALIGN, .id = e->id };
}

static int
recent(struct spool *sp, const struct seg *s, const struct entry *e, bool with_body,
    struct spool_message *out)
{
	const struct cached *c = cache_find(sp, s->no, e->off8);

	message_init(out);
	if (c != NULL && read_fresh(c, with_body, out) == 0)
		return 0;
	spool_message_fini(out);
	return -1;
}

/* The errno for the caller, after what has to follow. */
static int
not_read(struct spool *sp, struct seg *s, struct spool_ref ref, const struct entry *e,
    enum read_result rc)
{
	if (rc == READ_DAMAGED) {
		read_damaged(sp, s, ref.entry, e->off8);
		return EBADMSG;
	}
	log_error("spool-read", "segment=%llu off=%llu", (unsigned long long)s->no,
	    (unsigned long long)e->off8 * RECORD_ALIGN);
	put_off(sp, ref, e);
	return EIO;
}

int
spool_read(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out)
{
	struct seg *s;
	struct entry e;

	message_init(out);
	if (find(sp, ref, &s, &e) != 0)
		return -1;
	if (recent(sp, s, &e, with_body, out) == 0)
		return 0;
	const struct place at = place_of(sp, s, &e);
	enum read_result rc = read_message(&at, with_body, out);
	if (rc == READ_OK)
		return 0;
	errno = not_read(sp, s, ref, &e, rc);
	return -1;
}

int
spool_recent(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out)
{
	struct seg *s;
	struct entry e;

	message_init(out);
	return find(sp, ref, &s, &e) != 0 ? -1 : recent(sp, s, &e, with_body, out);
}

/* ---- off the loop ---- */

struct spool_fetch {
	struct spool	*sp;
	spool_fetch_fn	*fn;		/* NULL: nobody waits any more */
	void		*arg;
	struct spool_ref ref;
	bool		 with_body;
	struct place	 at;
	uint32_t	 generation;	/* of the log that `at` means */
	enum read_result result;
	struct spool_message msg;
};

static void
fetch_work(void *arg)
{
	struct spool_fetch *f = arg;

	f->result = read_message(&f->at, f->with_body, &f->msg);
}

static void on_fetched(void *arg, enum store_result r);

static void
fetch_submit(struct spool_fetch *f, const struct seg *s, const struct entry *e)
{
	f->at = place_of(f->sp, s, e);
	f->generation = s->generation;
	f->sp->ops->work(f->sp->store, STORE_WORK_READ, fetch_work, on_fetched, f);
}

static void
fetch_end(struct spool_fetch *f, int error)
{
	spool_fetch_fn *fn = f->fn;
	void *arg = f->arg;
	struct spool_message msg = f->msg;

	f->sp->nfetch--;
	free(f);
	if (fn != NULL)
		fn(arg, error, error == 0 ? &msg : NULL);
	else if (error == 0)
		spool_message_fini(&msg);
}

static void
on_fetched(void *arg, enum store_result r)
{
	struct spool_fetch *f = arg;
	struct seg *s;
	struct entry e;

	(void)r;
	if (f->result == READ_OK || f->fn == NULL) {
		fetch_end(f, f->result == READ_OK ? 0 : EIO);
	} else if (find(f->sp, f->ref, &s, &e) != 0) {
		fetch_end(f, errno);
	} else if (s->generation != f->generation) {
		/* The log was rewritten meanwhile: the message is elsewhere now. */
		fetch_submit(f, s, &e);
	} else {
		fetch_end(f, not_read(f->sp, s, f->ref, &e, f->result));
	}
}

struct spool_fetch *
spool_fetch(struct spool *sp, struct spool_ref ref, bool with_body, spool_fetch_fn *fn, void *arg)
{
	struct seg *s;
	struct entry e;

	if (sp->nfetch >= SPOOL_FETCH_MAX || sp->closing) {
		errno = EAGAIN;
		return NULL;
	}
	if (find(sp, ref, &s, &e) != 0)
		return NULL;
	struct spool_fetch *f = mem_new(sizeof(*f));
	*f = (struct spool_fetch){ .sp = sp, .fn = fn, .arg = arg, .ref = ref,
	    .with_body = with_body };
	sp->nfetch++;
	fetch_submit(f, s, &e);
	return f;
}

void
spool_fetch_cancel(struct spool_fetch **fp)
{
	if (*fp != NULL)
		(*fp)->fn = NULL;
	*fp = NULL;
}
