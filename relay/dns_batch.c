// SPDX-License-Identifier: Apache-2.0
/*
 * Many questions as one: what verify asked for. Each name gets exactly one answer; those
 * that did not come in time, or do not fit beside the others, are DNS_FAIL.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/dns_priv.h"

enum {
	BATCH_MAX = 256,	/* names; verify's own limits are far below */
	BATCH_ITEM = 32,	/* bytes of an encoded answer beside name and records */
};

struct batch_item {
	struct dns_batch	*batch;	/* borrowed */
	struct dns_query	*query;	/* NULL once answered */
};

struct dns_batch {
	dns_batch_fn		*fn;
	void			*arg;
	struct timer		*timer;
	char			*names;	/* owned copy of the wants, items point into it */
	struct dns_want		*want;	/* owned */
	struct batch_item	*item;	/* owned, parallel to want */
	size_t			 n;	/* names */
	size_t			 left;	/* not answered yet */
	size_t			 reserve;	/* bytes a failure of each of those needs */
	struct buf		 out;	/* answers so far */
};

static void
batch_put(struct dns_batch *b, const struct dns_answer *a)
{
	struct dns_answer fail = { a->name, a->type, DNS_FAIL, 0, SLICE_NONE };
	size_t need = a->name.n + a->rrs.n + BATCH_ITEM;

	b->left--;
	b->reserve -= a->name.n + BATCH_ITEM;
	if (buf_len(&b->out) + need + b->reserve <= b->out.max &&
	    wire_item_put(&b->out, &dns_answer_wire, a) == 0)
		return;
	if (wire_item_put(&b->out, &dns_answer_wire, &fail) != 0)
		log_warn("dns-batch-full", "name=%s", log_esc(a->name));
}

static void
batch_free(struct dns_batch *b)
{
	size_t i;

	for (i = 0; i < b->n; i++)
		dns_cancel(&b->item[i].query);
	timer_free(&b->timer);
	buf_fini(&b->out);
	free(b->item);
	free(b->want);
	free(b->names);
	free(b);
}

static void
batch_finish(struct dns_batch *b)
{
	b->fn(b->arg, buf_slice(&b->out));
	batch_free(b);
}

static void
batch_answer(void *arg, const struct dns_answer *a)
{
	struct batch_item *it = arg;
	struct dns_batch *b = it->batch;

	it->query = NULL;
	batch_put(b, a);
	if (b->left == 0)
		batch_finish(b);
}

static void
batch_timeout(void *arg)
{
	struct dns_batch *b = arg;
	struct dns_answer a;
	size_t i;

	for (i = 0; i < b->n; i++) {
		if (b->item[i].query == NULL)
			continue;
		dns_cancel(&b->item[i].query);
		a = (struct dns_answer){ b->want[i].name, b->want[i].type, DNS_FAIL, 0,
			SLICE_NONE };
		batch_put(b, &a);
	}
	batch_finish(b);
}

/* The wants as far as they can be read; the names are copied, they outlive the call. */
static void
batch_read(struct dns_batch *b, struct slice wants)
{
	struct slice list;
	struct dns_want w;
	int r = 0;

	b->names = wants.n > 0 ? slice_dup(wants) : NULL;
	b->want = mem_array(BATCH_MAX, sizeof(*b->want));
	list = slice_make(b->names, wants.n);
	while (b->n < BATCH_MAX && (r = wire_item_next(&list, &dns_want_wire, &w)) == 1) {
		b->want[b->n++] = w;
		b->reserve += w.name.n + BATCH_ITEM;
	}
	if (r != 0)
		log_warn("dns-batch-cut", "names=%zu", b->n);
	b->left = b->n;
}

struct dns_batch *
dns_ask_all(struct dns *d, struct slice wants, int64_t timeout_ms, dns_batch_fn *fn, void *arg)
{
	struct dns_batch *b = mem_new(sizeof(*b));
	size_t i;

	b->fn = fn;
	b->arg = arg;
	buf_init(&b->out, DNS_ANSWERS_MAX);
	batch_read(b, wants);
	b->item = mem_array(b->n + 1, sizeof(*b->item));
	b->timer = timer_new(dns_loop(d), batch_timeout, b);
	timer_arm(b->timer, b->n == 0 ? 0 : timeout_ms);
	for (i = 0; i < b->n; i++) {
		b->item[i].batch = b;
		b->item[i].query = dns_ask_public(d, b->want[i].type, b->want[i].name,
		    batch_answer, &b->item[i]);
	}
	return b;
}

void
dns_batch_cancel(struct dns_batch **bp)
{
	struct dns_batch *b = *bp;

	*bp = NULL;
	if (b != NULL)
		batch_free(b);
}
