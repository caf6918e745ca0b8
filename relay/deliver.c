// SPDX-License-Identifier: Apache-2.0
/*
 * Requests wait at their destination until one of its connections is free. All handing
 * out happens in deliver_work, from a timer of zero: no callback of a connection ever
 * finds the lists changed under it, and the caller may ask for more from its callback.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/deliver_priv.h"
#include "relay/reply.h"

enum { DELIVER_TEXT_MAX = 512 * 1024 };	/* encoded request; IPC_MAX bounds it already */

static int
deliver_compare(const void *a, const void *b)
{
	const struct deliver_dest *x = a, *y = b;

	if (x->route != y->route)
		return x->route < y->route ? -1 : 1;
	if (x->tls != y->tls)
		return x->tls < y->tls ? -1 : 1;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return strcmp(x->host, y->host);
}

static struct deliver_dest *
deliver_dest(struct deliver *d, const struct queue_deliver *q)
{
	struct deliver_dest *t = mem_new(sizeof(*t)), **found;

	t->route = q->route;
	t->tls = q->tls;
	t->port = q->route == ROUTE_MX ? 0 : q->port;
	t->host = slice_dup(q->host);
	bytes_lower(t->host, q->host.n);
	found = tsearch(t, &d->table, deliver_compare);
	if (found == NULL)
		abort();
	if (*found != t) {
		free(t->host);
		free(t);
		return *found;
	}
	t->deliver = d;
	t->group = q->group.n > 0 ? deliver_group_get(d, q->group) : NULL;
	TAILQ_INIT(&t->waiting);
	TAILQ_INIT(&t->sessions);
	TAILQ_INSERT_TAIL(&d->all, t, link);
	return t;
}

static void
deliver_dest_free(struct deliver *d, struct deliver_dest *t)
{
	(void)tdelete(t, &d->table, deliver_compare);
	TAILQ_REMOVE(&d->all, t, link);
	if (t->dirty)
		TAILQ_REMOVE(&d->dirty, t, dirty_link);
	deliver_group_drop(&t->group);
	free(t->host);
	free(t);
}

static void
deliver_req_free(struct deliver_req *r)
{
	body_unmap(&r->body);
	buf_fini(&r->text);
	free(r);
}

static void
deliver_count(struct deliver *d, uint8_t outcome)
{
	switch ((enum deliver_outcome)outcome) {
	case DELIVER_OK:
		d->stats.ok++;
		break;
	case DELIVER_TEMP:
		d->stats.temp++;
		break;
	case DELIVER_PERM:
		d->stats.perm++;
		break;
	case DELIVER_UNKNOWN:
		d->stats.unknown++;
		break;
	case DELIVER_LOCAL:
		d->stats.local++;
		break;
	case DELIVER_MAX:
		break;
	}
}

void
deliver_done(struct deliver *d, struct deliver_req *r, const struct client_result *res,
    const struct out_session *s)
{
	struct queue_delivered out;

	memset(&out, 0, sizeof(out));
	out.req = r->q.req;
	out.outcome = res->outcome;
	out.scope = res->scope;
	out.code = res->code;
	out.enhanced = slice_str(res->enhanced);
	out.text = slice_str(res->text);
	if (s != NULL) {
		if (s->at < s->ntarget)
			out.peer = slice_str(s->target[s->at].peer);
		else if (s->ntarget > 0)
			out.peer = slice_str(s->target[s->ntarget - 1].peer);
		out.group = slice_str(s->group);
		out.tls = s->conn != NULL && conn_tls(s->conn) != NULL;
		out.dsn = s->client != NULL && client_dsn(s->client);
		if (s->state == SESSION_BUSY)
			out.latency_ms = (uint32_t)(clock_mono_ms() - s->begun_ms);
	}
	deliver_count(d, res->outcome);
	d->in_flight--;
	d->fn(d->arg, &out);
	deliver_req_free(r);
}

void
deliver_touch(struct deliver_dest *t)
{
	if (!t->dirty) {
		t->dirty = true;
		TAILQ_INSERT_TAIL(&t->deliver->dirty, t, dirty_link);
	}
	timer_arm(t->deliver->work, 0);
}

void
deliver_fail_waiting(struct deliver_dest *t, const struct client_result *res,
    const struct out_session *s)
{
	struct deliver_reqs list = TAILQ_HEAD_INITIALIZER(list);
	struct deliver_req *r;

	/* What the callback adds meanwhile waits for its own try. */
	TAILQ_CONCAT(&list, &t->waiting, link);
	while ((r = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, r, link);
		deliver_done(t->deliver, r, res, s);
	}
}

static struct out_session *
deliver_idle(struct deliver_dest *t)
{
	struct out_session *s;

	TAILQ_FOREACH(s, &t->sessions, link)
		if (s->state == SESSION_IDLE)
			return s;
	return NULL;
}

/* A place for one more connection: true, or the longest idle one is asked to go. */
static bool
deliver_room(struct deliver *d)
{
	struct out_session *s, *oldest = NULL;
	struct deliver_dest *t;

	if (d->nsession < d->conf->deliveries_max)
		return true;
	TAILQ_FOREACH(t, &d->all, link) {
		s = deliver_idle(t);
		if (s != NULL && (oldest == NULL || s->idle_ms < oldest->idle_ms))
			oldest = s;
	}
	d->starved = true;
	if (oldest != NULL)
		out_session_quit(oldest);
	return false;
}

/* The queue decides how many; this only bounds what a confused one could ask for. New
 * mail and replay into a primary have a bound each. */
unsigned
deliver_sessions_max(const struct deliver_dest *t)
{
	const struct conf *c = t->deliver->conf;
	unsigned most = c->connections_max + c->replay_connections_max;

	return t->limit > 0 && t->limit < most ? t->limit : most;
}

static void
deliver_hand_out(struct deliver_dest *t)
{
	bool full, held = t->nsession > 0 && clock_mono_ms() < t->hold_ms;
	struct deliver *d = t->deliver;
	struct deliver_req *r;
	struct out_session *s;

	while ((r = TAILQ_FIRST(&t->waiting)) != NULL) {
		s = deliver_idle(t);
		full = t->group != NULL ? !deliver_group_room(t) :
		    t->nsession >= deliver_sessions_max(t);
		if (s != NULL && r->fresh && full && !held) {
			out_session_end(s);		/* as old as the one that had died */
			continue;
		}
		if (s != NULL && (!r->fresh || held)) {
			TAILQ_REMOVE(&t->waiting, r, link);
			out_session_take(s, r);
			continue;
		}
		if (full || held || !deliver_room(d))
			return;
		TAILQ_REMOVE(&t->waiting, r, link);
		out_session_start(t, r);
	}
}

static void
deliver_work(void *arg)
{
	struct deliver *d = arg;
	struct deliver_dests list = TAILQ_HEAD_INITIALIZER(list);
	struct deliver_dest *t;

	if (d->starved && d->nsession < d->conf->deliveries_max) {
		d->starved = false;
		TAILQ_FOREACH(t, &d->all, link)
			if (!TAILQ_EMPTY(&t->waiting))
				deliver_touch(t);
	}
	TAILQ_CONCAT(&list, &d->dirty, dirty_link);
	while ((t = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, t, dirty_link);
		t->dirty = false;
		deliver_hand_out(t);
		if (!t->dirty && t->nsession == 0 && TAILQ_EMPTY(&t->waiting))
			deliver_dest_free(d, t);
	}
}

/* A copy of the request in memory of ours. 0 or -1. */
static int
deliver_copy(struct deliver_req *r, const struct queue_deliver *q)
{
	buf_init(&r->text, DELIVER_TEXT_MAX);
	if (wire_put(&r->text, &queue_deliver_wire, q) != 0)
		return -1;
	return wire_get(buf_slice(&r->text), &queue_deliver_wire, &r->q);
}

void
deliver_start(struct deliver *d, const struct queue_deliver *q, int body_fd)
{
	struct deliver_req *r = mem_new(sizeof(*r));
	struct client_result res;
	struct deliver_dest *t;
	const char *why = NULL;

	d->in_flight++;
	if (deliver_copy(r, q) != 0) {
		r->q.req = q->req;
		why = "request cannot be copied";
	} else if (q->host.n == 0 || q->host.n > DNS_NAME_MAX ||
	    memchr(q->host.p, '\0', q->host.n) != NULL) {
		why = "request without a host";
	} else if (body_map(body_fd, &r->body) != 0) {
		why = "body is not a sealed descriptor";
	}
	if (body_fd >= 0)
		(void)close(body_fd);
	if (why != NULL) {
		memset(&res, 0, sizeof(res));
		res.outcome = DELIVER_TEMP;
		res.scope = SCOPE_MESSAGE;
		(void)snprintf(res.enhanced, sizeof(res.enhanced), "4.3.0");
		(void)snprintf(res.text, sizeof(res.text), "%s", why);
		log_error("deliver-request", "req=%llu error=%s", (unsigned long long)q->req,
		    log_escs(why));
		deliver_done(d, r, &res, NULL);
		return;
	}
	t = deliver_dest(d, &r->q);
	if (t->group == NULL)
		t->limit = r->q.connections;
	else if (r->q.connections > 0)
		t->group->limit = r->q.connections;
	if (r->q.ahead != 0)
		TAILQ_INSERT_HEAD(&t->waiting, r, link);
	else
		TAILQ_INSERT_TAIL(&t->waiting, r, link);
	deliver_touch(t);
}

struct deliver *
deliver_new(struct loop *l, const struct conf *c, struct dns *dns, struct sts *sts,
    struct tls_context *tls, const struct mx_self *own, deliver_fn *fn, void *arg)
{
	struct deliver *d = mem_new(sizeof(*d));

	d->loop = l;
	d->conf = c;
	d->dns = dns;
	d->sts = sts;
	d->tls = tls;
	d->fn = fn;
	d->arg = arg;
	d->self = mx_self_new(c, own);
	d->work = timer_new(l, deliver_work, d);
	TAILQ_INIT(&d->all);
	TAILQ_INIT(&d->dirty);
	LIST_INIT(&d->groups);
	LIST_INIT(&d->questions);
	return d;
}

void
deliver_reload(struct deliver *d, const struct conf *c)
{
	struct mx_self *old = d->self;

	d->conf = c;
	d->self = mx_self_new(c, old);
	out_session_reroute(d);
	deliver_questions_again(d);
	mx_self_free(&old);
}

void
deliver_free(struct deliver **dp)
{
	struct deliver *d = *dp;
	struct deliver_dest *t;
	struct deliver_req *r;

	*dp = NULL;
	if (d == NULL)
		return;
	deliver_questions_free(d);
	while ((t = TAILQ_FIRST(&d->all)) != NULL) {
		while (!TAILQ_EMPTY(&t->sessions))
			out_session_end(TAILQ_FIRST(&t->sessions));
		while ((r = TAILQ_FIRST(&t->waiting)) != NULL) {
			TAILQ_REMOVE(&t->waiting, r, link);
			deliver_req_free(r);
		}
		deliver_dest_free(d, t);
	}
	timer_free(&d->work);
	mx_self_free(&d->self);
	free(d);
}

void
deliver_stats(const struct deliver *d, struct deliver_stats *out)
{
	*out = d->stats;
	out->open = d->nsession;
	out->in_flight = d->in_flight;
}
