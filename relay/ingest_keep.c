// SPDX-License-Identifier: Apache-2.0
/* Messages: the filters, verify with the DNS answers it wants, the commit. */
#include "relay/ingest_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/address.h"
#include "policy/canary.h"
#include "policy/header.h"
#include "policy/received.h"
#include "relay/ingest_memo.h"

enum {
	VERIFY_MS	= 10 * 1000,	/* one run; a hundred times what 50 MB take */
	VERIFY_LINK_MS	= 3 * 1000,	/* for a verify process to come back */
	VERIFY_TRIES	= 2,		/* processes that one message may cost us */
	VERIFY_ROUNDS	= 32,		/* SPF: a record, ten terms of two dependent names each,
					 * the client's names (RFC 7208 4.6.4), and some */
	ROUND_MIN_MS	= 1000,
	CANARY_HEAD	= 16 * 1024,	/* traces of others above the mark fit */
	FIELDS_MAX	= 8 * 1024,	/* of all filters */
	TRACE_MAX	= 16 * 1024,	/* what an envelope holds */
	REASON_MAX	= 64		/* what an envelope holds */
};

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

void
ingest_keep_done(struct ingest_req *r, enum smtp_kept what, struct slice text)
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
	ingest_req_free(r);
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
	ingest_req_free(r);
	ops->done(arg, SMTP_KEPT, SLICE_NONE);
}

static void
keep_judge(struct ingest_req *r)
{
	keep_recall(r);
	ingest_keep_evaluate(r);
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
		ingest_keep_done(r, SMTP_KEPT_REFUSED, o->reply);
		return;
	}
	r->spam = o->hold;
	r->clean = o->clean;
	if (buf_put_slice(&r->fields, o->fields) != 0)
		r->g->stats.filter.ignored++;
	keep_judge(r);
}

void
ingest_keep_filter(struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	struct milter_mail f = {
		.client_ip = m->client_ip, .client_name = slice_str(r->client_name),
		.helo = m->helo, .mail_from = m->mail_from, .protocol = m->protocol, .tls = m->tls,
		.rcpts = m->rcpts, .body_fd = m->body_fd,
	};

	msgid_print(m->id, r->id_text);
	f.id = slice_str(r->id_text);
	r->filter = milter_start(r->g->loop, r->g->conf, &f, &r->g->stats.filter,
	    keep_filtered, r);
	if (r->filter == NULL)	/* a reload took the last one away meanwhile */
		keep_judge(r);
	else
		ingest_req_ask(r, ASK_FILTER, INT64_MAX / 2);
}

void
ingest_keep(struct ingest *g, const struct ingest_mail *m, const struct ingest_keep_ops *ops,
    void *arg, struct ingest_req **out)
{
	struct ingest_req *r = ingest_req_new(g, arg, out);

	r->keep = ops;
	r->mail = *m;
	buf_init(&r->answers, DNS_ANSWERS_MAX);
	buf_init(&r->wants, INGEST_MEMO_MAX);
	buf_init(&r->fields, FIELDS_MAX);
	if (mail_is_canary(g, m)) {
		keep_canary(r);
		return;
	}
	/* What came to a return path is only read for its numbers, nobody gets it. */
	if (g->conf->nmilter == 0 || m->bounce != NULL)
		keep_judge(r);
	else if (g->dns == NULL)
		ingest_keep_filter(r);
	else
		ingest_name_find(r);
}

void
ingest_judge(struct ingest *g, const struct ingest_mail *m, ingest_judged_fn *fn, void *arg,
    struct ingest_req **out)
{
	struct ingest_req *r = ingest_req_new(g, arg, out);

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
	ingest_req_free(r);
	fn(arg, v);
	return true;
}

void
ingest_keep_evaluate(struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	struct ingest *g = r->g;
	struct ipc *ch = g->links.any(g->links.arg, ROLE_VERIFY, &r->index);

	if (ch == NULL) {
		if (r->ask != ASK_VERIFIER)
			ingest_req_ask(r, ASK_VERIFIER, VERIFY_LINK_MS);
		return;
	}
	ingest_req_ask(r, ASK_VERIFY, VERIFY_MS);
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
		.clean = r->clean,
	};
	if (ipc_send(ch, VERIFY_EVAL, &verify_eval_wire, &q, m->body_fd) != 0) {
		log_warn("verify-send", "id=%016llx", (unsigned long long)r->id);
		ingest_keep_unevaluated(r, SLICE_NONE);
	}
}

/* The process died over it, or says nothing: one other may try. A message that kills
 * them must not take them all down. */
void
ingest_keep_verify_lost(struct ingest_req *r)
{
	if (++r->tries < VERIFY_TRIES)
		ingest_keep_evaluate(r);
	else
		ingest_keep_unevaluated(r, SLICE_NONE);
}

/* 1.4.4: for another node, whose relay we know. What was handed to us already does not go on:
 * two relays that each take the other for that node would never end. */
static bool
keep_hands_over(const struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	char head[CANARY_HEAD];
	struct header_field f;
	struct header h;

	if (m->bounce == NULL || m->bounce->leg != BOUNCE_LEG_NODE)
		return false;
	ssize_t n = pread(m->body_fd, head, sizeof(head), 0);
	header_start(&h, slice_make(head, n > 0 ? (size_t)n : 0));
	while (header_next(&h, &f))
		if (header_is(&f, BOUNCE_NODE_FIELD))
			return false;
	return n >= 0;
}

/* Of what came to a return path only numbers are kept (2.2.5): which leg it is about, of
 * seal, and what it says, of verify. 0 or -1; `out` becomes the envelope's. */
static int
keep_bounce(const struct ingest_req *r, const struct verify_done *v, bool hand, struct buf *out)
{
	struct envelope_bounce b = *r->mail.bounce, said;

	if (b.leg == BOUNCE_LEG_NODE && !hand)
		b.leg = BOUNCE_LEG_OTHER_NODE;
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

/* What came to an SRS address has no token but what the report brought (1.2.12): the queue
 * finds it where that of an opaque address is. Its only recipient, again; "" is as it was. */
static struct slice
keep_token(const struct ingest_req *r, struct slice token, struct buf *out)
{
	struct slice list = r->mail.rcpts;
	struct envelope_rcpt rcpt;

	if (r->mail.bounce == NULL || r->mail.bounce->leg != BOUNCE_LEG_SRS || token.n == 0 ||
	    wire_item_next(&list, &envelope_rcpt_wire, &rcpt) != 1)
		return r->mail.rcpts;
	rcpt.token = token;
	return wire_item_put(out, &envelope_rcpt_wire, &rcpt) == 0 ? buf_slice(out) :
	    r->mail.rcpts;
}

static void
keep_commit(struct ingest_req *r, const struct verify_done *v)
{
	const struct ingest_mail *m = &r->mail;
	bool hand = keep_hands_over(r), empty = m->bounce != NULL && !hand;
	struct buf bounce, trace, rcpts;
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
		.protocol = m->protocol, .tls = m->tls,
	};

	buf_init(&bounce, ENVELOPE_BOUNCE_MAX);
	buf_init(&trace, TRACE_MAX);
	buf_init(&rcpts, ENVELOPE_MAX);
	e.rcpts = keep_token(r, v->token, &rcpts);
	keep_filters_word(r, &e, &trace);
	if (m->bounce != NULL && keep_bounce(r, v, hand, &bounce) != 0)
		buf_clear(&bounce);	/* then it is one that could not be read */
	e.bounce = buf_slice(&bounce);
	if (hand && (e.flags & ENV_BODY_8BIT) != 0)
		e.flags |= ENV_HAS_8BIT;	/* verify did not look */
	r->spf = v->spf;
	r->dkim = v->dkim;
	ingest_req_ask(r, ASK_COMMIT, g->conf->commit_timeout_ms);
	r->index = 0;
	buf_clear(&g->scratch);
	int rc = wire_put(&g->scratch, &envelope_wire, &e);
	buf_fini(&bounce);
	buf_fini(&trace);
	buf_fini(&rcpts);
	if (rc != 0) {
		log_error("envelope-too-large", "rcpts=%zu trace=%zu cuts=%zu",
		    e.rcpts.n, v->trace.n, e.cuts.n);
		ingest_keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
		return;
	}
	if (ch != NULL && empty && g->conf->forwarder.debug_key_file != NULL)
		(void)ipc_send(ch, QUEUE_DEBRIS, &queue_debris_wire,
		    &(const struct queue_debris){ .id = m->id }, m->body_fd);
	if (ch == NULL || send_commit(r, ch, empty) != 0) {
		ingest_keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
		return;
	}
	r->keep->committing(r->arg);
}

/* Nobody could judge it: it is kept for the primary, and not sent on. */
void
ingest_keep_unevaluated(struct ingest_req *r, struct slice trace)
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
	ingest_keep_evaluate(r);
}

/* A name that never answers must not use up the time of those that can only be asked for
 * after it: of what is left each round may take half. */
static int64_t
round_ms(const struct ingest_req *r, int64_t now)
{
	int64_t left = r->dns_end - now;

	return left > 2 * ROUND_MIN_MS ? left / 2 : left;
}

static void
keep_fetch(struct ingest_req *r, struct slice wants)
{
	int64_t now = clock_mono_ms();
	size_t before = buf_len(&r->answers);

	if (r->last) {
		ingest_keep_unevaluated(r, SLICE_NONE);	/* it was told that there is no more */
		return;
	}
	if (buf_put_slice(&r->wants, wants) != 0)
		buf_clear(&r->wants);	/* too many to be worth remembering */
	if (r->dns_end == 0)
		r->dns_end = now + r->g->conf->evaluate_timeout_ms;
	if (++r->rounds >= VERIFY_ROUNDS || now >= r->dns_end || r->g->dns == NULL) {
		r->last = true;
		ingest_keep_evaluate(r);
		return;
	}
	if (answers_from_cache(r, wants)) {
		ingest_keep_evaluate(r);
		return;
	}
	/* Some are missing: the batch brings all of them, those of the cache once more. */
	r->answers.n = r->answers.off + before;
	ingest_req_ask(r, ASK_DNS, r->dns_end - now + VERIFY_MS);
	r->batch = dns_ask_all(r->g->dns, wants, round_ms(r, now), on_dns_answers, r);
}

/* What comes back to a return path comes from the recovery mailbox or its server, whose names
 * no log has (P4). */
static const char *
log_peer(const struct ingest_mail *m, struct slice name)
{
	return m->bounce != NULL && name.n > 0 ? log_hash(name) : log_esc(name);
}

void
ingest_verify_done(struct ingest *g, const struct verify_done *v)
{
	struct ingest_req *r = ingest_req_find(g, v->req, ASK_VERIFY);

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
		    log_peer(&r->mail, r->mail.mail_from), log_esc(v->reason));
		ingest_keep_done(r, SMTP_KEPT_REFUSED, v->reason);
		return;
	case VERIFY_FAILED:
	case VERIFY_STATUS_MAX:
		break;
	}
	ingest_keep_unevaluated(r, v->trace);
}

/* -- commit --------------------------------------------------------------------- */

static void
log_accepted(const struct ingest_req *r)
{
	const struct ingest_mail *m = &r->mail;
	char id[MSGID_TEXT + 1];

	msgid_print(m->id, id);
	log_info("accepted", "id=%s from=%s rcpts=%u size=%llu client=%s helo=%s proto=%.*s "
	    "spf=%s dkim=%s", id, log_peer(m, m->mail_from), m->nrcpt,
	    (unsigned long long)m->body_size, log_esc(m->client_ip), log_peer(m, m->helo),
	    SLICE_FMT(m->protocol), auth_result_name(r->spf), auth_result_name(r->dkim));
}

void
ingest_committed(struct ingest *g, const struct queue_committed *c)
{
	struct ingest_req *r = ingest_req_find(g, c->req, ASK_COMMIT);

	if (r == NULL) {
		/* The client heard 451 or left, and comes again: it is kept twice then. */
		if (c->status == COMMIT_OK)
			log_warn("commit-late", "effect=\"kept, and perhaps sent again\"");
		return;
	}
	switch ((enum queue_commit_status)c->status) {
	case COMMIT_OK:
		log_accepted(r);
		ingest_keep_done(r, SMTP_KEPT, SLICE_NONE);
		return;
	case COMMIT_FULL:
		ingest_keep_done(r, SMTP_KEPT_FULL, SLICE_NONE);
		return;
	case COMMIT_ERROR:
	case COMMIT_STATUS_MAX:
		break;
	}
	ingest_keep_done(r, SMTP_KEPT_ERROR, SLICE_NONE);
}
