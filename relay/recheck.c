// SPDX-License-Identifier: Apache-2.0
#include "relay/recheck.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_verify.h"
#include "policy/header.h"

enum { RECHECK_TRACE_MAX = 16 * 1024, RECHECK_REASON_MAX = 64 /* what an envelope holds */ };

struct recheck {
	struct rechecks		*all;
	uint64_t		 req;
	struct buf		 raw;		/* the envelope as it came; env borrows from it */
	struct envelope		 env;
	int			 body_fd;	/* owned */
	struct ingest_req	*ingest;
	struct recheck		*next, *prev;
};

struct rechecks {
	struct ingest	*ingest;
	recheck_fn	*fn;
	void		*arg;
	struct recheck	*first;
};

struct rechecks *
rechecks_new(struct ingest *g, recheck_fn *fn, void *arg)
{
	struct rechecks *c = mem_new(sizeof(*c));

	c->ingest = g;
	c->fn = fn;
	c->arg = arg;
	return c;
}

static void
recheck_free(struct recheck *r)
{
	ingest_cancel(r->all->ingest, &r->ingest);
	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		r->all->first = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	(void)close(r->body_fd);
	buf_fini(&r->raw);
	free(r);
}

void
rechecks_free(struct rechecks **cp)
{
	struct rechecks *c = *cp;

	if (c == NULL)
		return;
	while (c->first != NULL)
		recheck_free(c->first);
	free(c);
	*cp = NULL;
}

static void
recheck_answer(const struct rechecks *c, uint64_t req, struct slice envelope)
{
	const struct queue_evaluated m = { .req = req, .envelope = envelope,
		.status = envelope.n > 0 ? EVALUATED_OK : EVALUATED_FAILED };

	c->fn(c->arg, &m);
}

/* What stands below our Received field of then: the fields of content filters. */
static struct slice
filters_fields(struct slice trace)
{
	struct header h;
	struct header_field f;

	header_start(&h, trace);
	while (header_next(&h, &f))
		if (header_is(&f, "Received"))
			return slice_sub(trace, f.off + f.raw.n, trace.n);
	return SLICE_NONE;
}

/* 0 or -1; `out` is the new envelope. */
static int
recheck_envelope(const struct recheck *r, const struct verify_done *v, struct buf *out)
{
	struct envelope e = r->env;
	struct buf trace;
	int rc = -1;

	buf_init(&trace, RECHECK_TRACE_MAX);
	e.version = ENVELOPE_VERSION;
	e.flags = (e.flags & ~(uint32_t)ENV_OF_VERIFY) | (v->flags & ENV_OF_VERIFY);
	e.reason = slice_sub(v->reason, 0, RECHECK_REASON_MAX);
	if (v->status == VERIFY_REFUSE) {	/* too late for that: it was accepted (6.7) */
		e.flags |= ENV_HOLD_ONLY;
		e.reason = SLICE_LIT("dmarc-reject");
	}
	e.spf = v->spf;
	e.dkim = v->dkim;
	e.dmarc = v->dmarc;
	e.arc = v->arc;
	e.iprev = v->iprev;
	e.triage = v->triage;
	e.authres = v->authres;
	e.cuts = v->cuts;
	if (buf_put_slice(&trace, v->trace) == 0 &&
	    buf_put_slice(&trace, filters_fields(r->env.trace)) == 0) {
		e.trace = buf_slice(&trace);
		rc = wire_put(out, &envelope_wire, &e);
	}
	buf_fini(&trace);
	return rc;
}

static void
recheck_judged(void *arg, const struct verify_done *v)
{
	struct recheck *r = arg;
	const struct rechecks *c = r->all;
	uint64_t req = r->req;
	struct buf out;

	buf_init(&out, ENVELOPE_MAX);
	if (v != NULL && recheck_envelope(r, v, &out) != 0)
		buf_clear(&out);
	recheck_free(r);
	recheck_answer(c, req, buf_slice(&out));
	buf_fini(&out);
}

/* The only recipient as written, "" when there are several: as at the end of data. */
static struct slice
recheck_rcpt(const struct envelope *e, uint32_t *n)
{
	struct slice list = e->rcpts, only = SLICE_NONE;
	struct envelope_rcpt rcpt;

	for (*n = 0; wire_item_next(&list, &envelope_rcpt_wire, &rcpt) == 1; ++*n)
		only = rcpt.address;
	return *n == 1 ? only : SLICE_NONE;
}

void
recheck_start(struct rechecks *c, const struct queue_evaluate *q, int body_fd)
{
	struct recheck *r = mem_new(sizeof(*r));
	struct ingest_mail m;

	r->all = c;
	r->req = q->req;
	r->body_fd = body_fd;
	r->next = c->first;
	if (r->next != NULL)
		r->next->prev = r;
	c->first = r;
	buf_init(&r->raw, ENVELOPE_MAX);
	if (buf_put_slice(&r->raw, q->envelope) != 0 ||
	    envelope_get(buf_slice(&r->raw), &r->env) != 0) {
		log_error("recheck", "error=envelope bytes=%zu", q->envelope.n);
		recheck_judged(r, NULL);
		return;
	}
	m = (struct ingest_mail){
		.id = r->env.id, .received_ms = (int64_t)r->env.received_ms,
		.body_size = r->env.body_size, .flags = r->env.flags & ~(uint32_t)ENV_OF_VERIFY,
		.client_ip = r->env.client_ip, .helo = r->env.helo, .mail_from = r->env.mail_from,
		.rcpts = r->env.rcpts, .protocol = r->env.protocol, .tls = r->env.tls,
		.body_fd = body_fd,
	};
	m.rcpt = recheck_rcpt(&r->env, &m.nrcpt);
	ingest_judge(c->ingest, &m, recheck_judged, r, &r->ingest);
}
