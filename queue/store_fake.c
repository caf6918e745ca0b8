// SPDX-License-Identifier: Apache-2.0
#include "queue/store_fake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

struct fake_call {		/* one asynchronous call on its way */
	struct fake_call	*next;
	struct store		*store;		/* the fake one */
	store_done_fn		*done;
	void			*arg;
	bool			 arrived;	/* the inner store has completed */
	bool			 hang;
	enum store_result	 result;
	enum store_result	 override;	/* STORE_RESULT_MAX: what the inner one said */
	int64_t			 not_before_us;
	struct store_piece	 piece[8];
	store_work_fn		*work;
};

enum { LIST_APPEND, LIST_WORK, LIST_REST, LIST_MAX };	/* calls on their way, each in order */

struct store {
	struct loop		*loop;
	struct store_script	*script;	/* the test's */
	const struct store_ops	*inner_ops;
	struct store		*inner;
	struct timer		*timer;
	struct fake_call	*head[LIST_MAX], **tail[LIST_MAX];
	bool			 closing;
};

void
store_fake_where(struct store_script *s, const struct store_ops *inner,
    const char *inner_where, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%" PRIxPTR ":%" PRIxPTR ":%s", (uintptr_t)s,
	    (uintptr_t)inner, inner_where);

	CHECK(n > 0 && (size_t)n < cap);
}

static struct fake_rule *
match(struct store *s, enum fake_op op)
{
	s->script->calls[op]++;
	for (size_t i = 0; i < s->script->n; i++) {
		struct fake_rule *r = &s->script->rule[i];
		if (r->op != op)
			continue;
		unsigned k = r->hits++;
		if (k >= r->skip && (r->count == 0 || k < r->skip + r->count))
			return r;
	}
	return NULL;
}

static bool
must_wait(struct store *s, const struct fake_call *c)
{
	return !s->closing && ((c->hang && !s->script->release) ||
	    clock_mono_us() < c->not_before_us);
}

/* The next call of that list that may complete: its first, or (there are many threads
 * for work) any. */
static struct fake_call *
next_call(struct store *s, int list)
{
	struct fake_call **at = &s->head[list], *c;

	while ((c = *at) != NULL && c->arrived && must_wait(s, c)) {
		timer_arm(s->timer, 1);
		if (list != LIST_WORK)
			return NULL;
		at = &c->next;
	}
	if (c == NULL || !c->arrived)
		return NULL;
	*at = c->next;
	if (c->next == NULL)
		s->tail[list] = at;
	return c;
}

static void
pump(struct store *s)
{
	struct fake_call *c;

	for (int i = 0; i < LIST_MAX; i++)
		while ((c = next_call(s, i)) != NULL) {
			if (c->work != NULL)
				c->work(c->arg);
			c->done(c->arg, c->override == STORE_RESULT_MAX ?
			    c->result : c->override);
			free(c);
		}
}

static void
on_timer(void *arg)
{
	pump(arg);
}

static void
on_inner(void *arg, enum store_result r)
{
	struct fake_call *c = arg;

	c->arrived = true;
	c->result = r;
	pump(c->store);
}

/* NULL: refused, nothing goes to the inner store. */
static struct fake_call *
begin(struct store *s, enum fake_op op, store_done_fn *done, void *arg, struct fake_rule **rule)
{
	struct fake_call *c = mem_new(sizeof(*c));
	int list = op == FAKE_APPEND ? LIST_APPEND : op == FAKE_WORK ? LIST_WORK : LIST_REST;
	struct fake_rule *r = match(s, op);

	*c = (struct fake_call){ .store = s, .done = done, .arg = arg,
	    .override = STORE_RESULT_MAX };
	*s->tail[list] = c;
	s->tail[list] = &c->next;
	if (rule != NULL)
		*rule = r;
	if (r == NULL)
		return c;
	if (r->act != FAKE_PASS && r->act != FAKE_HANG)
		c->override = r->result;
	c->hang = r->act == FAKE_HANG;
	if (r->delay_ms > 0)
		c->not_before_us = clock_mono_us() + r->delay_ms * 1000;
	if (r->act != FAKE_REFUSE)
		return c;
	c->arrived = true;
	timer_arm(s->timer, 0);
	return NULL;
}

static struct store *
fake_open(struct loop *l, const char *where, bool read_only)
{
	struct store *s = mem_new(sizeof(*s));
	char *end;

	s->loop = l;
	s->script = (struct store_script *)(uintptr_t)strtoull(where, &end, 16);
	s->inner_ops = (const struct store_ops *)(uintptr_t)strtoull(end + 1, &end, 16);
	s->inner = s->inner_ops->open(l, end + 1, read_only);
	if (s->inner == NULL) {
		free(s);
		return NULL;
	}
	s->timer = timer_new(l, on_timer, s);
	s->tail[0] = &s->head[0];
	s->tail[1] = &s->head[1];
	s->tail[2] = &s->head[2];
	return s;
}

static void
fake_close(struct store **sp)
{
	struct store *s = *sp;

	if (s == NULL)
		return;
	s->closing = true;
	pump(s);
	s->inner_ops->close(&s->inner);
	pump(s);
	timer_free(&s->timer);
	free(s);
	*sp = NULL;
}

static int
fake_drain(struct store *s, int timeout_ms)
{
	int64_t end = clock_mono_us() + (int64_t)timeout_ms * 1000;

	for (;;) {
		int rc = s->inner_ops->drain(s->inner, timeout_ms);
		pump(s);
		if (rc == 0 && s->head[0] == NULL && s->head[1] == NULL && s->head[2] == NULL)
			return 0;
		if (clock_mono_us() >= end || rc != 0 || timeout_ms <= 0)
			return -1;
	}
}

static int
fake_list(struct store *s, void (*fn)(void *arg, uint64_t segment), void *arg)
{
	return s->inner_ops->list(s->inner, fn, arg);
}

static void
fake_create(struct store *s, uint64_t segment, enum store_class c, struct slice head,
    uint64_t log_max, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_CREATE, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->create(s->inner, segment, c, head, log_max, on_inner, k);
}

/* The pieces without what lies behind `bytes`. */
static size_t
tear(struct fake_call *c, const struct store_piece *piece, size_t n, uint64_t bytes)
{
	size_t m = 0;

	for (size_t i = 0; i < n && bytes > 0; i++) {
		struct store_piece p = piece[i];
		if (p.fd < 0 && p.bytes.n > bytes)
			p.bytes.n = bytes;
		if (p.fd >= 0 && p.len > bytes)
			p.len = bytes;
		bytes -= p.fd < 0 ? p.bytes.n : p.len;
		c->piece[m++] = p;
	}
	if (m == 0)
		c->piece[m++] = (struct store_piece){ SLICE_NONE, -1, 0 };
	return m;
}

static void
fake_append(struct store *s, uint64_t segment, uint64_t off, const struct store_piece *piece,
    size_t n, store_done_fn *done, void *arg)
{
	struct fake_rule *r;
	struct fake_call *k = begin(s, FAKE_APPEND, done, arg, &r);

	if (k == NULL)
		return;
	if (r != NULL && r->act == FAKE_TORN) {
		n = tear(k, piece, n, r->bytes);
		piece = k->piece;
	}
	s->inner_ops->append(s->inner, segment, off, piece, n, on_inner, k);
}

static void
fake_progress(struct store *s, uint64_t segment, uint64_t off, struct slice bytes, bool sync,
    store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_PROGRESS, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->progress(s->inner, segment, off, bytes, sync, on_inner, k);
}

static void
fake_index(struct store *s, uint64_t segment, const struct store_span *span, size_t n,
    uint64_t size, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_INDEX, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->index(s->inner, segment, span, n, size, on_inner, k);
}

static void
fake_seal(struct store *s, uint64_t segment, uint64_t end, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_SEAL, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->seal(s->inner, segment, end, on_inner, k);
}

static void
fake_rewrite(struct store *s, uint64_t segment, uint64_t off, struct slice bytes,
    store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_REWRITE, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->rewrite(s->inner, segment, off, bytes, on_inner, k);
}

static void
fake_adopt(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_ADOPT, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->adopt(s->inner, segment, on_inner, k);
}

static void
fake_discard(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_DISCARD, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->discard(s->inner, segment, on_inner, k);
}

/* On the loop, so that rules for its reads count in order; a rule for the work itself
 * delays it or hangs it. */
static void
fake_work(struct store *s, enum store_work w, store_work_fn *fn, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_WORK, done, arg, NULL);

	(void)w;
	CHECK(k != NULL);
	k->work = fn;
	k->arrived = true;
	timer_arm(s->timer, 0);
}

static void
fake_drop(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	struct fake_call *k = begin(s, FAKE_DROP, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->drop(s->inner, segment, on_inner, k);
}

static void
fake_put_meta(struct store *s, const char *name, struct slice bytes, store_done_fn *done,
    void *arg)
{
	struct fake_call *k = begin(s, FAKE_META, done, arg, NULL);

	if (k != NULL)
		s->inner_ops->put_meta(s->inner, name, bytes, on_inner, k);
}

static int
fake_get_meta(struct store *s, const char *name, struct buf *out)
{
	return s->inner_ops->get_meta(s->inner, name, out);
}

static ssize_t
fake_read(struct store *s, uint64_t segment, enum store_part part, uint64_t off, void *to,
    size_t n)
{
	if (match(s, FAKE_READ) != NULL) {
		errno = EIO;
		return -1;
	}
	return s->inner_ops->read(s->inner, segment, part, off, to, n);
}

static int
fake_read_body(struct store *s, uint64_t segment, uint64_t off, uint64_t len)
{
	if (match(s, FAKE_READ_BODY) != NULL) {
		errno = EIO;
		return -1;
	}
	return s->inner_ops->read_body(s->inner, segment, off, len);
}

static int64_t
fake_size(struct store *s, uint64_t segment, enum store_part part)
{
	return s->inner_ops->size(s->inner, segment, part);
}

static int
fake_set_aside(struct store *s, const char *name, struct slice bytes)
{
	return match(s, FAKE_SET_ASIDE) != NULL ? -1 :
	    s->inner_ops->set_aside(s->inner, name, bytes);
}

static int
fake_health(struct store *s, struct store_health *out)
{
	int rc = s->inner_ops->health(s->inner, out);

	if (s->script->bytes_free > 0)
		out->bytes_free = s->script->bytes_free;
	return rc;
}

const struct store_ops store_fake = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.drain = fake_drain,
	.list = fake_list,
	.create = fake_create,
	.append = fake_append,
	.progress = fake_progress,
	.index = fake_index,
	.seal = fake_seal,
	.rewrite = fake_rewrite,
	.adopt = fake_adopt,
	.discard = fake_discard,
	.work = fake_work,
	.drop = fake_drop,
	.put_meta = fake_put_meta,
	.get_meta = fake_get_meta,
	.read = fake_read,
	.read_body = fake_read_body,
	.size = fake_size,
	.set_aside = fake_set_aside,
	.health = fake_health,
};
