// SPDX-License-Identifier: Apache-2.0
#include "relay/ingest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_directory.h"
#include "base/proto/relay_queue.h"
#include "base/proto/relay_seal.h"
#include "base/proto/relay_verify.h"
#include "policy/address.h"
#include "policy/canary.h"
#include "policy/received.h"
#include "relay/ingest_memo.h"
#include "relay/phases.h"

enum {
	RCPT_MS		= 5 * 1000,
	VERIFY_MS	= 10 * 1000,	/* one run; a hundred times what 50 MB take */
	VERIFY_LINK_MS	= 3 * 1000,	/* for a verify process to come back */
	VERIFY_TRIES	= 2,		/* processes that one message may cost us */
	VERIFY_ROUNDS	= 8,
	SWEEP_MS	= 200,
	CANARY_HEAD	= 16 * 1024,	/* traces of others above the mark fit */
	FIELDS_MAX	= 8 * 1024,	/* of all filters */
	TRACE_MAX	= 16 * 1024,	/* what an envelope holds */
	REASON_MAX	= 64		/* what an envelope holds */
};

enum ask {
	ASK_DIRECTORY,
	ASK_SEAL,
	ASK_FILTER,	/* they end in time by themselves */
	ASK_VERIFIER,	/* there is no verify process now */
	ASK_VERIFY,
	ASK_DNS,
	ASK_COMMIT
};

struct ingest_req {
	struct ingest		*g;
	uint64_t		 id;		/* generation << 32 | slot; new at each question */
	uint32_t		 slot;
	enum ask		 ask;
	unsigned		 index;		/* of the process that was asked */
	int64_t			 deadline;	/* mono ms, of the present question */
	struct ingest_req	**owner;	/* where the caller keeps us; set NULL at the end */
	ingest_rcpt_fn		*rcpt_fn;
	char			*defer;		/* of a recipient whose domain defers in standby:
						 * the domain, owned; else NULL */
	const struct ingest_keep_ops *keep;
	ingest_judged_fn	*judged;	/* only to be evaluated; else NULL */
	void			*arg;
	/* of a message only */
	struct ingest_mail	 mail;
	struct dns_batch	*batch;		/* owned; in ASK_DNS */
	struct buf		 answers;	/* items of struct dns_answer */
	struct buf		 wants;		/* all names wanted so far, for the memo */
	int64_t			 dns_end;	/* mono ms; 0 before the first names were wanted */
	unsigned		 rounds, tries;
	struct milter_run	*filter;	/* owned; in ASK_FILTER */
	struct buf		 fields;	/* of filters, for the trace block */
	char			 id_text[MSGID_TEXT + 1];
	bool			 spam;		/* they say: not to be sent on */
	bool			 last;		/* no more answers will come */
	uint8_t			 spf, dkim;	/* for the log line */
};

struct ingest {
	struct loop		*loop;
	const struct conf	*conf;
	struct dns		*dns;		/* borrowed */
	struct ingest_links	 links;
	unsigned		 relay_index;
	struct ingest_req	**slot;		/* NULL: free */
	uint32_t		*free_slot;	/* stack of free ones */
	uint32_t		 nslot, nfree;
	uint32_t		 generation;
	struct timer		*sweep;
	bool			 sweeping;	/* the timer is armed */
	struct buf		 scratch;	/* one encoded envelope */
	struct ingest_memo	*memo;
	struct ingest_stats	 stats;
	const struct phases	*phases;	/* borrowed, or NULL */
	const uint8_t		*canary_key;	/* borrowed, or NULL */
};

static void ingest_sweep(void *arg);
static void keep_evaluate(struct ingest_req *r);
static void keep_unevaluated(struct ingest_req *r, struct slice trace);

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

static struct ingest_req *
req_new(struct ingest *g, void *arg, struct ingest_req **owner)
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
static void
req_free(struct ingest_req *r)
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
static void
req_ask(struct ingest_req *r, enum ask ask, int64_t timeout_ms)
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

static struct ingest_req *
req_find(struct ingest *g, uint64_t id, enum ask ask)
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
		req_free(*rp);
}

void
ingest_free(struct ingest **gp)
{
	struct ingest *g = *gp;

	if (g == NULL)
		return;
	for (uint32_t i = 0; i < g->nslot; i++) {
		if (g->slot[i] != NULL)
			req_free(g->slot[i]);
	}
	ingest_memo_free(&g->memo);
	timer_free(&g->sweep);
	buf_fini(&g->scratch);
	free(g->slot);
	free(g->free_slot);
	free(g);
	*gp = NULL;
}

/* -- recipients ----------------------------------------------------------------- */

static void
rcpt_done(struct ingest_req *r, const struct smtp_rcpt_answer *a)
{
	ingest_rcpt_fn *fn = r->rcpt_fn;
	void *arg = r->arg;

	req_free(r);
	fn(arg, a);
}

static void
rcpt_unavailable(struct ingest_req *r)
{
	struct smtp_rcpt_answer a = { .verdict = SMTP_RCPT_UNAVAILABLE };

	rcpt_done(r, &a);
}

/* The domain when it sends known users' mail to the primary in standby, owned; or NULL. */
static char *
rcpt_deferring(const struct ingest *g, struct slice address)
{
	size_t at = slice_rfind(address, '@');
	const struct conf_domain *d = at >= address.n ? NULL :
	    conf_domain_find(g->conf, slice_sub(address, at + 1, address.n));

	return d != NULL && d->standby_defer && g->phases != NULL ? mem_str(d->name) : NULL;
}

void
ingest_rcpt(struct ingest *g, bool return_path, struct slice address, ingest_rcpt_fn *fn,
    void *arg, struct ingest_req **out)
{
	struct ingest_req *r = req_new(g, arg, out);
	struct ipc *ch;
	int sent = -1;

	r->rcpt_fn = fn;
	if (!return_path)
		r->defer = rcpt_deferring(g, address);
	req_ask(r, return_path ? ASK_SEAL : ASK_DIRECTORY, RCPT_MS);
	if (return_path) {
		struct seal_check q = { .req = r->id, .address = address };

		ch = g->links.any(g->links.arg, ROLE_SEAL, &r->index);
		if (ch != NULL)
			sent = ipc_send(ch, SEAL_CHECK, &seal_check_wire, &q, -1);
	} else {
		struct dir_lookup q = { .req = r->id, .address = address };

		ch = g->links.any(g->links.arg, ROLE_DIRECTORY, &r->index);
		if (ch != NULL)
			sent = ipc_send(ch, DIR_LOOKUP, &dir_lookup_wire, &q, -1);
	}
	if (sent != 0)
		rcpt_unavailable(r);
}

static void
on_dir_found(struct ingest *g, const struct dir_found *f)
{
	struct ingest_req *r = req_find(g, f->req, ASK_DIRECTORY);
	struct smtp_rcpt_answer a = {
		.verdict = SMTP_RCPT_UNAVAILABLE, .user = f->user, .shard = f->shard
	};

	if (r == NULL)
		return;
	if (f->status == DIR_KNOWN && f->user.n > 0)
		a.verdict = r->defer != NULL && phases_standby(g->phases, slice_str(r->defer),
		    f->shard) ? SMTP_RCPT_STANDBY : SMTP_RCPT_KNOWN;
	else if (f->status == DIR_UNKNOWN)
		a.verdict = SMTP_RCPT_UNKNOWN;
	rcpt_done(r, &a);
}

static void
on_seal_checked(struct ingest *g, const struct seal_checked *c)
{
	struct ingest_req *r = req_find(g, c->req, ASK_SEAL);
	struct smtp_rcpt_answer a = {
		.verdict = SMTP_RCPT_UNKNOWN, .return_path = true, .token = c->token,
		.bounce = { .kind = BOUNCE_UNREAD, .leg = c->leg, .id = c->id,
			.rcpt_index = c->rcpt_index, .attempt = c->attempt }
	};

	if (r == NULL)
		return;
	if (c->status == SEAL_VALID_OPAQUE || c->status == SEAL_VALID_SRS)
		a.verdict = SMTP_RCPT_KNOWN;
	rcpt_done(r, &a);
}

/* -- names needed --------------------------------------------------------------- */

static struct slice
domain_of(struct slice mail_from)
{
	size_t at = slice_rfind(mail_from, '@');

	return at == mail_from.n ? SLICE_NONE : slice_sub(mail_from, at + 1, mail_from.n);
}

/* The name of the client's PTR record (RFC 1035 3.5, RFC 3596 2.5). 0 or -1. */
static int
ptr_name(struct slice ip, char *out, size_t cap)
{
	static const char hex[] = "0123456789abcdef";
	char text[INET6_ADDRSTRLEN];
	uint8_t a[16];
	size_t o = 0;

	if (slice_cstr(ip, text, sizeof(text)) != 0 || cap < 80)
		return -1;
	if (inet_pton(AF_INET, text, a) == 1) {
		(void)snprintf(out, cap, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
		return 0;
	}
	if (inet_pton(AF_INET6, text, a) != 1)
		return -1;
	for (int i = 15; i >= 0; i--) {
		out[o++] = hex[a[i] & 15];
		out[o++] = '.';
		out[o++] = hex[a[i] >> 4];
		out[o++] = '.';
	}
	(void)snprintf(out + o, cap - o, "ip6.arpa");
	return 0;
}

static void
prefetched(void *arg, const struct dns_answer *a)
{
	(void)arg, (void)a;	/* it is in the cache now, that was all */
}

static void
prefetch_one(struct ingest *g, uint16_t type, struct slice name)
{
	buf_clear(&g->scratch);
	if (!dns_cached(g->dns, type, name, &g->scratch))
		(void)dns_ask(g->dns, type, name, prefetched, NULL);
}

void
ingest_prefetch(struct ingest *g, struct slice client_ip, struct slice mail_from)
{
	struct slice domain = domain_of(mail_from);
	char name[128], canonical[DNS_NAME_MAX + 2];

	if (g->dns == NULL)
		return;
	if (ptr_name(client_ip, name, sizeof(name)) == 0)
		prefetch_one(g, DNS_PTR, slice_str(name));
	if (domain.n > 0 && domain.p[0] != '[' &&
	    address_domain_canonical(domain, canonical, sizeof(canonical)) == 0)
		prefetch_one(g, DNS_TXT, slice_str(canonical));
}

/* What the cache knows of these names; true when it is all of them. */
static bool
answers_from_cache(struct ingest_req *r, struct slice wants)
{
	struct dns_want w;
	bool all = true;

	while (wire_item_next(&wants, &dns_want_wire, &w) == 1) {
		if (!dns_cached(r->g->dns, w.type, w.name, &r->answers))
			all = false;
	}
	return all;
}

/* The names of this sender's last message. Not all in the cache: then better ask verify. */
static void
keep_recall(struct ingest_req *r)
{
	struct slice wants = ingest_memo_get(r->g->memo, r->mail.client_ip,
	    domain_of(r->mail.mail_from));

	if (wants.n > 0 && (!answers_from_cache(r, wants) ||
	    buf_put_slice(&r->wants, wants) != 0))
		buf_clear(&r->answers);
}

/* -- verdict -------------------------------------------------------------------- */

static void
keep_done(struct ingest_req *r, enum smtp_kept what, struct slice text)
{
	const struct ingest_keep_ops *ops = r->keep;
	struct ingest_stats *st = &r->g->stats;
	void *arg = r->arg;

	if (what == SMTP_KEPT)
		st->accepted++;
	else if (what == SMTP_KEPT_REFUSED)
		st->refused++;
	else
		st->deferred++;
	req_free(r);
	ops->done(arg, what, text);
}

/* Our own canary, come round: to the canary mailbox of its domain alone, with our mark. */
static bool
mail_is_canary(const struct ingest *g, const struct ingest_mail *m)
{
	size_t at = slice_rfind(m->rcpt, '@');
	const struct conf_domain *d = at >= m->rcpt.n || m->nrcpt != 1 ? NULL :
	    conf_domain_find(g->conf, slice_sub(m->rcpt, at + 1, m->rcpt.n));
	char head[CANARY_HEAD];

	if (g->canary_key == NULL || d == NULL || d->probe.canary == NULL ||
	    !slice_ieq(m->rcpt, slice_str(d->probe.canary)))
		return false;
	ssize_t n = pread(m->body_fd, head, sizeof(head), 0);
	return n > 0 && canary_is(slice_make(head, (size_t)n), g->canary_key, m->rcpt,
	    m->received_ms);
}

/* Nobody's mail: it has done what it was sent for, and is neither kept nor counted. */
static void
keep_canary(struct ingest_req *r)
{
	const struct ingest_keep_ops *ops = r->keep;
	void *arg = r->arg;

	r->g->stats.canaries++;
	log_info("canary-back", "rcpt=%s", log_esc(r->mail.rcpt));
	ops->committing(arg);
	req_free(r);
	ops->done(arg, SMTP_KEPT, SLICE_NONE);
}

static void
keep_judge(struct ingest_req *r)
{
	keep_recall(r);
	keep_evaluate(r);
}

/* The filters have had their say. */
static void
keep_filtered(void *arg, const struct milter_outcome *o)
{
	struct ingest_req *r = arg;

	r->filter = NULL;		/* frees itself */
	if (o->reply.n > 0) {
		log_info("refused", "client=%s from=%s by=filter reply=%s",
		    log_esc(r->mail.client_ip), log_esc(r->mail.mail_from), log_esc(o->reply));
		keep_done(r, SMTP_KEPT_REFUSED, o->reply);
		return;
	}
	r->spam = o->hold;
	if (buf_put_slice(&r->fields, o->fields) != 0)
		r->g->stats.filter.ignored++;
	keep_judge(r);
}

/* False: nobody wants to see it. What came to a return path is only read for its numbers,
 * nobody gets it. */
static bool
keep_filter(struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	struct milter_mail f = {
		.client_ip = m->client_ip, .helo = m->helo,
		.mail_from = m->mail_from, .protocol = m->protocol, .tls = m->tls,
		.rcpts = m->rcpts, .body_fd = m->body_fd,
	};

	if (m->bounce != NULL)
		return false;
	msgid_print(m->id, r->id_text);
	f.id = slice_str(r->id_text);
	r->filter = milter_start(r->g->loop, r->g->conf, &f, &r->g->stats.filter,
	    keep_filtered, r);
	if (r->filter == NULL)
		return false;
	req_ask(r, ASK_FILTER, INT64_MAX / 2);
	return true;
}

void
ingest_keep(struct ingest *g, const struct ingest_mail *m, const struct ingest_keep_ops *ops,
    void *arg, struct ingest_req **out)
{
	struct ingest_req *r = req_new(g, arg, out);

	r->keep = ops;
	r->mail = *m;
	buf_init(&r->answers, DNS_ANSWERS_MAX);
	buf_init(&r->wants, INGEST_MEMO_MAX);
	buf_init(&r->fields, FIELDS_MAX);
	if (mail_is_canary(g, m)) {
		keep_canary(r);
		return;
	}
	if (!keep_filter(r))
		keep_judge(r);
}

void
ingest_judge(struct ingest *g, const struct ingest_mail *m, ingest_judged_fn *fn, void *arg,
    struct ingest_req **out)
{
	struct ingest_req *r = req_new(g, arg, out);

	r->judged = fn;
	r->mail = *m;
	buf_init(&r->answers, DNS_ANSWERS_MAX);
	buf_init(&r->wants, INGEST_MEMO_MAX);
	keep_judge(r);
}

/* True: that was all that was asked for. */
static bool
judge_done(struct ingest_req *r, const struct verify_done *v)
{
	ingest_judged_fn *fn = r->judged;
	void *arg = r->arg;

	if (fn == NULL)
		return false;
	req_free(r);
	fn(arg, v);
	return true;
}

static void
keep_evaluate(struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	struct ingest *g = r->g;
	struct ipc *ch = g->links.any(g->links.arg, ROLE_VERIFY, &r->index);

	if (ch == NULL) {
		if (r->ask != ASK_VERIFIER)
			req_ask(r, ASK_VERIFIER, VERIFY_LINK_MS);
		return;
	}
	req_ask(r, ASK_VERIFY, VERIFY_MS);
	g->stats.runs++;
	struct verify_eval q = {
		.req = r->id,
		.id = m->id,
		.received_ms = (uint64_t)m->received_ms,
		.last = r->last,
		.nrcpt = m->nrcpt,
		.client_ip = m->client_ip,
		.helo = m->helo,
		.mail_from = m->mail_from,
		.rcpt = m->rcpt,
		.protocol = m->protocol,
		.tls = m->tls,
		.answers = buf_slice(&r->answers),
		.trusted = (m->flags & ENV_TRUSTED) != 0,
		.bounce = m->bounce != NULL,
		.token = m->token,
	};
	if (ipc_send(ch, VERIFY_EVAL, &verify_eval_wire, &q, m->body_fd) != 0) {
		log_warn("verify-send", "id=%016llx", (unsigned long long)r->id);
		keep_unevaluated(r, SLICE_NONE);
	}
}

/* The process died over it, or says nothing: one other may try. A message that kills
 * them must not take them all down. */
static void
keep_verify_lost(struct ingest_req *r)
{
	if (++r->tries < VERIFY_TRIES)
		keep_evaluate(r);
	else
		keep_unevaluated(r, SLICE_NONE);
}

/* Of what came to a return path only numbers are kept (2.2.5): which leg it is about, of
 * seal, and what it says, of verify. 0 or -1; `out` becomes the envelope's. */
static int
keep_bounce(const struct ingest_req *r, const struct verify_done *v, struct buf *out)
{
	struct envelope_bounce b = *r->mail.bounce, said;

	if (v->bounce.n > 0) {
		if (wire_get(v->bounce, &envelope_bounce_wire, &said) != 0)
			return -1;
		said.leg = b.leg;
		said.id = b.id;
		said.rcpt_index = b.rcpt_index;
		said.attempt = b.attempt;
		b = said;
	}
	return wire_put(out, &envelope_bounce_wire, &b);
}

static int
send_commit(struct ingest_req *r, struct ipc *ch, bool empty)
{
	struct queue_commit q = { .req = r->id, .envelope = buf_slice(&r->g->scratch) };
	int fd = empty ? body_make(SLICE_NONE) : r->mail.body_fd, rc;

	if (fd < 0)
		return -1;
	rc = ipc_send(ch, QUEUE_COMMIT, &queue_commit_wire, &q, fd);
	if (empty)
		close(fd);
	return rc;
}

/* What filters said goes on top of what verify found: T1 of 10.2, 6.9. */
static void
keep_filters_word(const struct ingest_req *r, struct envelope *e, struct buf *trace)
{
	if (r->spam) {
		e->flags = (e->flags & ~(uint32_t)(ENV_TRIAGE_RULE | ENV_RECHECK)) | ENV_HOLD_ONLY |
		    1u << ENV_TRIAGE_SHIFT;
		e->reason = SLICE_LIT("milter");
	}
	if (buf_len(&r->fields) == 0)
		return;
	if (buf_put_slice(trace, e->trace) != 0 || buf_put_slice(trace, buf_slice(&r->fields)) != 0)
		r->g->stats.filter.ignored++;	/* no room: verify's own fields matter more */
	else
		e->trace = buf_slice(trace);
}

static void
keep_commit(struct ingest_req *r, const struct verify_done *v)
{
	const struct ingest_mail *m = &r->mail;
	bool empty = m->bounce != NULL;
	struct buf bounce, trace;
	struct ingest *g = r->g;
	struct ipc *ch = g->links.link(g->links.arg, ROLE_QUEUE, 0);
	struct envelope e = {
		.version = ENVELOPE_VERSION,
		.id = m->id,
		.received_ms = (uint64_t)m->received_ms,
		.body_size = empty ? 0 : m->body_size,
		.flags = m->flags | (v->flags & ENV_OF_VERIFY),
		.spf = v->spf, .dkim = v->dkim, .dmarc = v->dmarc, .arc = v->arc,
		.iprev = v->iprev,
		.triage = v->triage,
		.client_ip = m->client_ip,
		.helo = m->helo,
		.mail_from = m->mail_from,
		.reason = slice_sub(v->reason, 0, REASON_MAX),
		.envid = m->envid,
		.ret = m->ret,
		.trace = v->trace,
		.authres = v->authres,
		.cuts = v->cuts,
		.rcpts = m->rcpts,
		.protocol = m->protocol, .tls = m->tls,
	};

	buf_init(&bounce, ENVELOPE_BOUNCE_MAX);
	buf_init(&trace, TRACE_MAX);
	keep_filters_word(r, &e, &trace);
	if (empty && keep_bounce(r, v, &bounce) != 0)
		buf_clear(&bounce);	/* then it is one that could not be read */
	e.bounce = buf_slice(&bounce);
	r->spf = v->spf;
	r->dkim = v->dkim;
	req_ask(r, ASK_COMMIT, g->conf->commit_timeout_ms);
	r->index = 0;
	buf_clear(&g->scratch);
	int rc = wire_put(&g->scratch, &envelope_wire, &e);
	buf_fini(&bounce);
	buf_fini(&trace);
	if (rc != 0) {
		log_error("envelope-too-large", "rcpts=%zu trace=%zu cuts=%zu",
		    e.rcpts.n, v->trace.n, e.cuts.n);
		keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
		return;
	}
	if (ch == NULL || send_commit(r, ch, empty) != 0) {
		keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
		return;
	}
	r->keep->committing(r->arg);
}

/* Nobody could judge it: it is kept for the primary, and not sent on. */
static void
keep_unevaluated(struct ingest_req *r, struct slice trace)
{
	const struct ingest_mail *m = &r->mail;
	struct verify_done v = {
		.flags = ENV_HOLD_ONLY, .triage = 2,
		.reason = SLICE_LIT("not-evaluated"), .trace = trace
	};
	struct received f = {
		.id = m->id, .when_ms = m->received_ms, .helo = m->helo,
		.client_ip = m->client_ip, .by = slice_str(r->g->conf->hostname),
		.protocol = m->protocol, .tls = m->tls, .rcpt = m->rcpt,
	};
	struct buf own;

	if (judge_done(r, NULL))
		return;
	buf_init(&own, 8 * 1024);
	if (trace.n == 0) {
		if (received_put(&own, &f) != 0)
			buf_clear(&own);
		v.trace = buf_slice(&own);
	}
	r->g->stats.unevaluated++;
	log_warn("not-evaluated", "client=%s from=%s", log_esc(m->client_ip),
	    log_esc(m->mail_from));
	keep_commit(r, &v);
	buf_fini(&own);
}

static void
on_dns_answers(void *arg, struct slice answers)
{
	struct ingest_req *r = arg;

	r->batch = NULL;
	if (buf_put_slice(&r->answers, answers) != 0)
		r->last = true;		/* more than one message may bring along */
	keep_evaluate(r);
}

static void
keep_fetch(struct ingest_req *r, struct slice wants)
{
	int64_t now = clock_mono_ms();
	size_t before = buf_len(&r->answers);

	if (r->last) {
		keep_unevaluated(r, SLICE_NONE);	/* it was told that there is no more */
		return;
	}
	if (buf_put_slice(&r->wants, wants) != 0)
		buf_clear(&r->wants);	/* too many to be worth remembering */
	if (r->dns_end == 0)
		r->dns_end = now + r->g->conf->evaluate_timeout_ms;
	if (++r->rounds >= VERIFY_ROUNDS || now >= r->dns_end || r->g->dns == NULL) {
		r->last = true;
		keep_evaluate(r);
		return;
	}
	if (answers_from_cache(r, wants)) {
		keep_evaluate(r);
		return;
	}
	/* Some are missing: the batch brings all of them, those of the cache once more. */
	r->answers.n = r->answers.off + before;
	req_ask(r, ASK_DNS, r->dns_end - now + VERIFY_MS);
	r->batch = dns_ask_all(r->g->dns, wants, r->dns_end - now, on_dns_answers, r);
}

static void
on_verify_done(struct ingest *g, const struct verify_done *v)
{
	struct ingest_req *r = req_find(g, v->req, ASK_VERIFY);

	if (r == NULL)
		return;
	switch ((enum verify_status)v->status) {
	case VERIFY_OK:
		/* A first run that sufficed proves that the memo was right. */
		if (r->rounds > 0)
			ingest_memo_put(g->memo, r->mail.client_ip,
			    domain_of(r->mail.mail_from), buf_slice(&r->wants));
		if (!judge_done(r, v))
			keep_commit(r, v);
		return;
	case VERIFY_WANT:
		keep_fetch(r, v->wants);
		return;
	case VERIFY_REFUSE:
		if (judge_done(r, v))
			return;
		log_info("refused", "client=%s from=%s reply=%s", log_esc(r->mail.client_ip),
		    log_esc(r->mail.mail_from), log_esc(v->reason));
		keep_done(r, SMTP_KEPT_REFUSED, v->reason);
		return;
	case VERIFY_FAILED:
	case VERIFY_STATUS_MAX:
		break;
	}
	keep_unevaluated(r, v->trace);
}

/* -- commit --------------------------------------------------------------------- */

static void
log_accepted(const struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	char id[MSGID_TEXT + 1];

	msgid_print(m->id, id);
	log_info("accepted", "id=%s from=%s rcpts=%u size=%llu client=%s helo=%s proto=%.*s "
	    "spf=%s dkim=%s", id, log_esc(m->mail_from), m->nrcpt,
	    (unsigned long long)m->body_size, log_esc(m->client_ip), log_esc(m->helo),
	    SLICE_FMT(m->protocol), auth_result_name(r->spf), auth_result_name(r->dkim));
}

static void
on_committed(struct ingest *g, const struct queue_committed *c)
{
	struct ingest_req *r = req_find(g, c->req, ASK_COMMIT);

	if (r == NULL) {
		/* The client heard 451 or left, and comes again: it is kept twice then. */
		if (c->status == COMMIT_OK)
			log_warn("commit-late", "effect=\"kept, and perhaps sent again\"");
		return;
	}
	switch ((enum queue_commit_status)c->status) {
	case COMMIT_OK:
		log_accepted(r);
		keep_done(r, SMTP_KEPT, SLICE_NONE);
		return;
	case COMMIT_FULL:
		keep_done(r, SMTP_KEPT_FULL, SLICE_NONE);
		return;
	case COMMIT_ERROR:
	case COMMIT_STATUS_MAX:
		break;
	}
	keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
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
			on_dir_found(g, &u.found);
	} else if (peer == ROLE_SEAL && type == SEAL_CHECKED) {
		if (wire_get(body, &seal_checked_wire, &u.checked) == 0)
			on_seal_checked(g, &u.checked);
	} else if (peer == ROLE_VERIFY && type == VERIFY_DONE) {
		if (wire_get(body, &verify_done_wire, &u.verdict) == 0)
			on_verify_done(g, &u.verdict);
		else
			log_error("verify-malformed", "index=%u bytes=%zu", index, body.n);
	} else if (peer == ROLE_QUEUE && type == QUEUE_COMMITTED) {
		if (wire_get(body, &queue_committed_wire, &u.committed) == 0)
			on_committed(g, &u.committed);
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
		rcpt_unavailable(r);
		return;
	case ASK_FILTER:	/* it has no deadline here */
		return;
	case ASK_VERIFIER:
		keep_unevaluated(r, SLICE_NONE);
		return;
	case ASK_VERIFY:
		keep_verify_lost(r);
		return;
	case ASK_DNS:
		/* dns promised an end in time; hold it against nobody but us. */
		dns_batch_cancel(&r->batch);
		r->last = true;
		keep_evaluate(r);
		return;
	case ASK_COMMIT:
		/* It may be kept or not: not acknowledged, so the client comes again. */
		log_warn("commit-lost", "from=%s", log_esc(r->mail.mail_from));
		keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
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
			keep_evaluate(r);
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
