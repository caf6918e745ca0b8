// SPDX-License-Identifier: Apache-2.0
#include "relay/ingest_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/ingest_memo.h"

enum { SWEEP_MS = 200 };

static void ingest_sweep(void *arg);

struct ingest *
ingest_new(struct loop *l, const struct conf *c, struct dns *d,
    const struct ingest_links *links, unsigned relay_index)
{
	struct ingest *g = mem_new(sizeof(*g));

	g->loop = l;
	g->conf = c;
	g->dns = d;
	g->links = *links;
	g->relay_index = relay_index;
	/* A peer may still answer what a relay that died asked it: numbers must not meet
	 * again, or such an answer could pass for the commit of another message (P1). */
	crypto_random(&g->generation, sizeof(g->generation));
	g->sweep = timer_new(l, ingest_sweep, g);
	buf_init(&g->scratch, ENVELOPE_MAX);
	g->memo = ingest_memo_new();
	return g;
}

void
ingest_reload(struct ingest *g, const struct conf *c)
{
	g->conf = c;
}

struct dns *
ingest_dns(const struct ingest *g)
{
	return g->dns;
}

void
ingest_watch(struct ingest *g, const struct phases *p, const uint8_t *canary_key)
{
	g->phases = p;
	g->canary_key = canary_key;
}

unsigned
ingest_relay_index(const struct ingest *g)
{
	return g->relay_index;
}

/* -- the table of requests ------------------------------------------------------ */

static void
ingest_grow(struct ingest *g)
{
	uint32_t n = g->nslot == 0 ? 64 : 2 * g->nslot;

	g->slot = mem_resize(g->slot, n, sizeof(g->slot[0]));
	g->free_slot = mem_resize(g->free_slot, n, sizeof(g->free_slot[0]));
	for (uint32_t i = n; i > g->nslot; i--) {
		g->slot[i - 1] = NULL;
		g->free_slot[g->nfree++] = i - 1;
	}
	g->nslot = n;
}

struct ingest_req *
ingest_req_new(struct ingest *g, void *arg, struct ingest_req **owner)
{
	struct ingest_req *r = mem_new(sizeof(*r));

	if (g->nfree == 0)
		ingest_grow(g);
	r->g = g;
	r->slot = g->free_slot[--g->nfree];
	r->arg = arg;
	r->owner = owner;
	g->slot[r->slot] = r;
	g->stats.in_flight++;
	*owner = r;
	return r;
}

/* The owner forgets it before its function is called, which may start the next one. */
void
ingest_req_free(struct ingest_req *r)
{
	struct ingest *g = r->g;

	if (r->batch != NULL)
		dns_batch_cancel(&r->batch);
	milter_cancel(&r->filter);
	g->slot[r->slot] = NULL;
	g->free_slot[g->nfree++] = r->slot;
	g->stats.in_flight--;
	*r->owner = NULL;
	free(r->defer);
	buf_fini(&r->answers);
	buf_fini(&r->wants);
	buf_fini(&r->fields);
	free(r);
}

/* A new question of this request: answers to the one before are void. */
void
ingest_req_ask(struct ingest_req *r, enum ask ask, int64_t timeout_ms)
{
	struct ingest *g = r->g;

	r->ask = ask;
	r->id = (uint64_t)++g->generation << 32 | r->slot;
	r->deadline = clock_mono_ms() + timeout_ms;
	if (!g->sweeping) {
		g->sweeping = true;
		timer_arm(g->sweep, SWEEP_MS);
	}
}

struct ingest_req *
ingest_req_find(struct ingest *g, uint64_t id, enum ask ask)
{
	uint32_t slot = (uint32_t)id;
	struct ingest_req *r = slot < g->nslot ? g->slot[slot] : NULL;

	return r != NULL && r->id == id && r->ask == ask ? r : NULL;
}

void
ingest_cancel(struct ingest *g, struct ingest_req **rp)
{
	(void)g;
	if (*rp != NULL)
		ingest_req_free(*rp);
}

void
ingest_free(struct ingest **gp)
{
	struct ingest *g = *gp;

	if (g == NULL)
		return;
	for (uint32_t i = 0; i < g->nslot; i++) {
		if (g->slot[i] != NULL)
			ingest_req_free(g->slot[i]);
	}
	ingest_memo_free(&g->memo);
	timer_free(&g->sweep);
	buf_fini(&g->scratch);
	free(g->slot);
	free(g->free_slot);
	free(g);
	*gp = NULL;
}

/* -- peers ---------------------------------------------------------------------- */

bool
ingest_message(struct ingest *g, enum role_kind peer, unsigned index, uint32_t type,
    struct slice body)
{
	union {
		struct dir_found	found;
		struct seal_checked	checked;
		struct verify_done	verdict;
		struct queue_committed	committed;
	} u;

	if (peer == ROLE_DIRECTORY && type == DIR_FOUND) {
		if (wire_get(body, &dir_found_wire, &u.found) == 0)
			ingest_dir_found(g, &u.found);
	} else if (peer == ROLE_SEAL && type == SEAL_CHECKED) {
		if (wire_get(body, &seal_checked_wire, &u.checked) == 0)
			ingest_seal_checked(g, &u.checked);
	} else if (peer == ROLE_VERIFY && type == VERIFY_DONE) {
		if (wire_get(body, &verify_done_wire, &u.verdict) == 0)
			ingest_verify_done(g, &u.verdict);
		else
			log_error("verify-malformed", "index=%u bytes=%zu", index, body.n);
	} else if (peer == ROLE_QUEUE && type == QUEUE_COMMITTED) {
		if (wire_get(body, &queue_committed_wire, &u.committed) == 0)
			ingest_committed(g, &u.committed);
	} else {
		return false;
	}
	return true;
}

/* The question got no answer and will get none. */
static void
req_lost(struct ingest_req *r)
{
	switch (r->ask) {
	case ASK_DIRECTORY:
	case ASK_SEAL:
		ingest_rcpt_unavailable(r);
		return;
	case ASK_NAME:
		ingest_name_lost(r);
		return;
	case ASK_SENDER:
		ingest_sender_unknown(r);
		return;
	case ASK_FILTER:	/* it has no deadline here */
		return;
	case ASK_VERIFIER:
		ingest_keep_unevaluated(r, SLICE_NONE);
		return;
	case ASK_VERIFY:
		ingest_keep_verify_lost(r);
		return;
	case ASK_DNS:
		/* dns promised an end in time; hold it against nobody but us. */
		dns_batch_cancel(&r->batch);
		r->last = true;
		ingest_keep_evaluate(r);
		return;
	case ASK_COMMIT:
		/* It may be kept or not: not acknowledged, so the client comes again. */
		log_warn("commit-lost", "from=%s", log_esc(r->mail.mail_from));
		ingest_keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
		return;
	}
}

static enum role_kind
ask_peer(enum ask a)
{
	switch (a) {
	case ASK_DIRECTORY:
		return ROLE_DIRECTORY;
	case ASK_SEAL:
		return ROLE_SEAL;
	case ASK_VERIFY:
		return ROLE_VERIFY;
	case ASK_COMMIT:
		return ROLE_QUEUE;
	case ASK_NAME:
	case ASK_SENDER:
	case ASK_FILTER:
	case ASK_VERIFIER:
	case ASK_DNS:
		break;
	}
	return ROLE_MAX;
}

void
ingest_link_down(struct ingest *g, enum role_kind peer, unsigned index)
{
	/* What ends here may start new requests: those are asked of somebody alive. */
	for (uint32_t i = 0; i < g->nslot; i++) {
		struct ingest_req *r = g->slot[i];

		if (r != NULL && ask_peer(r->ask) == peer && r->index == index)
			req_lost(r);
	}
}

static void
ingest_sweep(void *arg)
{
	struct ingest *g = arg;
	int64_t now = clock_mono_ms();

	g->sweeping = false;
	for (uint32_t i = 0; i < g->nslot; i++) {
		struct ingest_req *r = g->slot[i];

		if (r == NULL)
			continue;
		if (now >= r->deadline)
			req_lost(r);
		else if (r->ask == ASK_VERIFIER)
			ingest_keep_evaluate(r);
	}
	if (g->stats.in_flight > 0 && !g->sweeping) {
		g->sweeping = true;
		timer_arm(g->sweep, SWEEP_MS);
	}
}

void
ingest_stats(const struct ingest *g, struct ingest_stats *out)
{
	*out = g->stats;
}
