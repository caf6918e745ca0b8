// SPDX-License-Identifier: Apache-2.0
#include "relay/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/conn.h"
#include "relay/mx.h"
#include "relay/probe_talk.h"

struct probe {
	LIST_ENTRY(probe)	 link;
	struct probes		*all;		/* borrowed */
	uint64_t		 req;
	uint8_t			 route, depth;
	uint16_t		 port;
	char			*host, *canary;	/* owned */
	int64_t			 start_ms, end_ms;	/* monotonic */
	struct timer		*timer;		/* end_ms */
	struct mx_lookup	*lookup;
	struct mx_target	*target;	/* owned, with a reference of each tlsa */
	size_t			 ntarget, at;
	struct conn		*conn;		/* owned */
	bool			 connected;
	struct buf		 message;	/* depth data */
	struct probe_talk_config cfg;		/* borrows from here */
	struct probe_talk	 talk;
	bool			 talking;
};

struct probes {
	struct loop		*loop;
	const struct conf	*conf;
	struct dns		*dns;
	struct tls_context	*tls;
	struct mx_self		*self;		/* owned */
	uint8_t			 key[CANARY_KEY];
	probe_fn		*fn;
	void			*arg;
	LIST_HEAD(, probe)	 list;
	unsigned		 n;
};

static size_t probe_input(void *arg, struct slice in);
static void probe_event(void *arg, enum conn_event ev);

static const struct conn_ops probe_ops = { probe_input, probe_event };

/* ---- life ---- */

static void
probe_free(struct probe *p)
{
	LIST_REMOVE(p, link);
	p->all->n--;
	timer_free(&p->timer);
	mx_cancel(&p->lookup);
	conn_close(&p->conn);
	if (p->talking)
		probe_talk_fini(&p->talk);
	for (size_t i = 0; i < p->ntarget; i++)
		tlsa_unref(&p->target[i].tlsa);
	free(p->target);
	buf_fini(&p->message);
	free(p->host);
	free(p->canary);
	free(p);
}

static void
probe_end(struct probe *p, enum probe_outcome o, enum probe_stage stage, uint16_t code,
    struct slice text)
{
	struct probes *all = p->all;
	char kept[256], peer[DNS_NAME_MAX + 64];
	bool tls = p->conn != NULL && conn_tls(p->conn) != NULL;
	int64_t ms = clock_mono_ms() - p->start_ms;

	reply_printable(text, kept, sizeof(kept));
	(void)snprintf(peer, sizeof(peer), "%s", p->at < p->ntarget ? p->target[p->at].peer : "");
	const struct queue_probed r = { .req = p->req, .outcome = (uint8_t)o,
		.stage = (uint8_t)stage, .code = code, .tls = tls,
		.latency_ms = ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms,
		.text = slice_str(kept), .peer = slice_str(peer) };
	if (o == PROBE_OK && p->conn != NULL)
		conn_finish(&p->conn);	/* QUIT goes out behind us */
	probe_free(p);
	all->fn(all->arg, &r);
}

static void
probe_flush(struct probe *p)
{
	struct slice s = buf_slice(&p->talk.out);

	while (s.n > 0) {
		size_t n = s.n < CONN_SMALL ? s.n : CONN_SMALL;

		if (conn_write(p->conn, slice_sub(s, 0, n)) < 0)
			break;		/* cannot be: it is less than the first bound */
		buf_drop(&p->talk.out, n);
		s = buf_slice(&p->talk.out);
	}
}

/* Does what the talk wants next. The probe may be gone afterwards. */
static void
probe_step(struct probe *p)
{
	struct probe_talk *t = &p->talk;

	probe_flush(p);
	switch (t->state) {
	case PROBE_TALK_BUSY:
		break;
	case PROBE_TALK_TLS:
		if (conn_start_tls(p->conn, p->all->tls, p->target[p->at].host) < 0)
			probe_end(p, PROBE_SILENT, PROBE_AT_TLS, 0, SLICE_LIT("TLS cannot be started"));
		break;
	case PROBE_TALK_DONE:
		probe_end(p, t->outcome, t->stage, t->code, slice_str(t->text));
		break;
	}
}

/* ---- connecting ---- */

static void
probe_connect(struct probe *p, const char *why)
{
	int64_t left = p->end_ms - clock_mono_ms();
	char text[256];

	(void)snprintf(text, sizeof(text), "%s", why);
	for (; p->at < p->ntarget; p->at++) {
		const struct mx_target *t = &p->target[p->at];

		p->conn = conn_connect(p->all->loop, &t->addr.sa, t->len, NULL, 0, &probe_ops, p);
		if (p->conn != NULL) {
			/* Each address its part of the time: a dead first one is no dead host. */
			conn_deadline(p->conn, left / (int64_t)(p->ntarget - p->at) + 1);
			return;
		}
		(void)snprintf(text, sizeof(text), "%s", strerror(errno));
	}
	probe_end(p, PROBE_DARK, PROBE_AT_CONNECT, 0, slice_str(text));
}

static void
probe_next_address(struct probe *p, const char *why)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "%s", why);
	conn_close(&p->conn);
	p->at++;
	probe_connect(p, text);
}

static void
probe_connected(struct probe *p)
{
	p->connected = true;
	conn_deadline(p->conn, -1);	/* the timer of all watches from here */
	if (p->depth == PROBE_CONNECT) {
		probe_end(p, PROBE_OK, PROBE_AT_CONNECT, 0, SLICE_NONE);
		return;
	}
	p->cfg = (struct probe_talk_config){ .lmtp = p->route == ROUTE_LMTP,
		.tls = p->all->tls != NULL, .depth = p->depth,
		.helo = slice_str(p->all->conf->hostname), .canary = slice_str(p->canary),
		.message = buf_slice(&p->message) };
	probe_talk_init(&p->talk, &p->cfg);
	p->talking = true;
}

static size_t
probe_input(void *arg, struct slice in)
{
	struct probe *p = arg;
	size_t n;

	if (!p->talking)
		return 0;
	n = probe_talk_input(&p->talk, in);
	probe_step(p);
	return n;
}

static void
probe_event(void *arg, enum conn_event ev)
{
	struct probe *p = arg;

	switch (ev) {
	case CONN_CONNECTED:
		probe_connected(p);
		break;
	case CONN_TLS:
		probe_talk_secured(&p->talk);
		probe_step(p);
		break;
	case CONN_WRITABLE:
		probe_step(p);
		break;
	case CONN_EOF:
	case CONN_ERROR:
	case CONN_TIMEOUT:
		if (!p->connected) {
			probe_next_address(p, ev == CONN_TIMEOUT ? "no answer" : conn_error(p->conn));
			break;
		}
		probe_talk_lost(&p->talk, ev == CONN_EOF ? "the connection was closed" :
		    conn_error(p->conn));
		probe_step(p);
		break;
	}
}

static void
probe_overdue(void *arg)
{
	struct probe *p = arg;

	if (p->talking)
		probe_end(p, PROBE_SILENT, p->talk.stage, 0, SLICE_LIT("no answer in time"));
	else
		probe_end(p, PROBE_DARK, PROBE_AT_CONNECT, 0, p->lookup != NULL ?
		    SLICE_LIT("no answer from DNS") : SLICE_LIT("no answer in time"));
}

static void
probe_routed(void *arg, const struct mx_result *r)
{
	struct probe *p = arg;

	p->lookup = NULL;
	if (r->outcome != DELIVER_OK) {
		/* Names that cannot be had are as dark as hosts; a route that is none is ours. */
		probe_end(p, r->outcome == DELIVER_TEMP ? PROBE_DARK : PROBE_LOCAL,
		    PROBE_AT_CONNECT, 0, slice_str(r->text));
		return;
	}
	p->target = mem_array(r->n, sizeof(*p->target));
	p->ntarget = r->n;
	for (size_t i = 0; i < r->n; i++) {
		p->target[i] = r->target[i];
		(void)tlsa_ref(p->target[i].tlsa);
	}
	probe_connect(p, "no address");
}

/* ---- requests ---- */

static void
probe_refuse(struct probes *all, uint64_t req, const char *why)
{
	const struct queue_probed r = { .req = req, .outcome = PROBE_LOCAL,
		.stage = PROBE_AT_CONNECT, .text = slice_str(why) };

	all->fn(all->arg, &r);
}

void
probes_start(struct probes *all, const struct queue_probe *q)
{
	if (all->n >= PROBES_MAX) {
		probe_refuse(all, q->req, "too many probes are under way");
		return;
	}
	struct probe *p = mem_new(sizeof(*p));
	p->all = all;
	p->req = q->req;
	p->route = q->route;
	p->depth = q->depth;
	p->port = q->port;
	p->host = slice_dup(q->host);
	p->canary = slice_dup(q->canary);
	p->start_ms = clock_mono_ms();
	p->end_ms = p->start_ms + q->timeout_ms;
	LIST_INSERT_HEAD(&all->list, p, link);
	all->n++;
	buf_init(&p->message, 8192);
	if (p->depth == PROBE_DATA && canary_make(&p->message, all->key, q->canary,
	    slice_str(all->conf->hostname), clock_wall_ms()) < 0) {
		uint64_t req = p->req;

		probe_free(p);
		probe_refuse(all, req, "the canary message does not fit");
		return;
	}
	p->timer = timer_new(all->loop, probe_overdue, p);
	timer_arm(p->timer, q->timeout_ms);
	const struct mx_env env = { all->dns, all->conf, all->self, NULL };
	p->lookup = mx_resolve(&env, p->route, slice_str(p->host), p->port, DELIVER_TLS_DEFAULT,
	    probe_routed, p);
}

unsigned
probes_running(const struct probes *p)
{
	return p->n;
}

struct probes *
probes_new(struct loop *l, const struct conf *c, struct dns *d, struct tls_context *tls,
    const struct mx_self *own, const uint8_t key[CANARY_KEY], probe_fn *fn, void *arg)
{
	struct probes *p = mem_new(sizeof(*p));

	p->loop = l;
	p->conf = c;
	p->dns = d;
	p->tls = tls;
	p->self = mx_self_new(c, own);
	memcpy(p->key, key, CANARY_KEY);
	p->fn = fn;
	p->arg = arg;
	LIST_INIT(&p->list);
	return p;
}

/* What is under way borrows the old configuration: it begins anew as trouble of ours. */
static void
probes_end_all(struct probes *p, bool tell)
{
	while (!LIST_EMPTY(&p->list)) {
		struct probe *one = LIST_FIRST(&p->list);

		if (tell)
			probe_end(one, PROBE_LOCAL, PROBE_AT_CONNECT, 0, SLICE_LIT("reload"));
		else
			probe_free(one);
	}
}

void
probes_reload(struct probes *p, const struct conf *c)
{
	struct mx_self *self = mx_self_new(c, p->self);

	probes_end_all(p, true);
	mx_self_free(&p->self);
	p->self = self;
	p->conf = c;
}

void
probes_free(struct probes **pp)
{
	struct probes *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	probes_end_all(p, false);
	mx_self_free(&p->self);
	free(p);
}
