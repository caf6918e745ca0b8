// SPDX-License-Identifier: Apache-2.0
/*
 * One connection: route, address after address until one greets us, then transactions
 * until it is idle too long, has served its share or dies. out_session_enter is the only
 * writer of the state; session_step moves bytes and asks the client machine what next.
 *
 * A server that closes between two transactions is no failure: what was just begun on
 * such a connection and got no reply goes back to the head of the line (spec 14.4.13).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/deliver_priv.h"
#include "relay/reply.h"

enum {
	SESSION_CHUNK = 32 * 1024,		/* bytes given to conn_write at once */
	SESSION_QUIT_MS = 5 * 1000,		/* how long we wait for 221 */
	SESSION_TRANSACTION_MS = 3600 * 1000,	/* a server may not dribble for ever */
	SESSION_HOLD_MS = 30 * 1000,		/* no new connection after a refused one */
};

static const char *const session_names[] = {
	[SESSION_RESOLVE] = "resolve", [SESSION_CONNECT] = "connect", [SESSION_OPEN] = "open",
	[SESSION_BUSY] = "busy", [SESSION_RESET] = "reset", [SESSION_IDLE] = "idle",
	[SESSION_QUIT] = "quit",
};

static size_t session_input(void *arg, struct slice in);
static void session_event(void *arg, enum conn_event ev);
static void session_step(struct out_session *s);
static void session_connect(struct out_session *s);

static const struct conn_ops session_ops = { session_input, session_event };

static const char *
session_peer(const struct out_session *s)
{
	return s->at < s->ntarget ? s->target[s->at].peer : "";
}

static void
out_session_enter(struct out_session *s, enum out_session_state st)
{
	log_debug("deliver-state", "peer=%s from=%s to=%s", log_escs(session_peer(s)),
	    session_names[s->state], session_names[st]);
	s->state = st;
}

static void
session_hang_up(struct out_session *s)
{
	conn_close(&s->conn);
	client_free(&s->client);
	s->blocked = false;
}

void
out_session_end(struct out_session *s)
{
	struct deliver_dest *t = s->dest;
	struct deliver *d = s->deliver;
	size_t i;

	if (s->req != NULL) {	/* not told yet: somebody else's turn */
		TAILQ_INSERT_HEAD(&t->waiting, s->req, link);
		s->req = NULL;
	}
	mx_cancel(&s->lookup);
	session_hang_up(s);
	TAILQ_REMOVE(&t->sessions, s, link);
	t->nsession--;
	d->nsession--;
	for (i = 0; i < s->ntarget; i++)
		tlsa_unref(&s->target[i].tlsa);
	if (t->group != NULL) {
		t->group->nsession--;
		deliver_group_touch(t->group, d);
	}
	free(s->target);
	free(s->group);
	free(s);
	deliver_touch(t);
}

static void
session_report(struct out_session *s, const struct client_result *res)
{
	struct deliver_req *r = s->req;

	s->req = NULL;
	if (r != NULL)
		deliver_done(s->deliver, r, res, s);
}

/* Does another connection of this destination show that its route works? */
static bool
session_alone(const struct out_session *s)
{
	const struct out_session *o;

	TAILQ_FOREACH(o, &s->dest->sessions, link)
		if (o != s && o->reached)
			return false;
	return true;
}

/* No address is left, or the route is none: this request and, where nothing speaks for
 * the host, all that wait for it; one by one they would wait out the same timeout. */
static void
session_no_route(struct out_session *s, const struct client_result *res)
{
	struct client_result copy = *res;

	/* What one message asks for says nothing of the host to others. */
	if (s->dest->tls == DELIVER_TLS_REQUIRETLS)
		copy.scope = SCOPE_MESSAGE;
	if (copy.outcome == DELIVER_TEMP && !session_alone(s)) {
		/* It takes no more connections, but those it has work: wait for one. */
		s->dest->hold_ms = clock_mono_ms() + SESSION_HOLD_MS;
		out_session_end(s);
		return;
	}
	/* Where users have their other mailboxes is nobody's to read in a log (P4): such a
	 * destination shows as a hash, and of what was said only our own words. */
	if (s->dest->route == ROUTE_MX &&
	    conf_domain_find(s->deliver->conf, slice_str(s->dest->host)) == NULL)
		log_info("deliver-host-failed", "host=%s outcome=%u code=%u enhanced=%s "
		    "text=%s", log_hash(slice_str(s->dest->host)), copy.outcome, copy.code,
		    log_escs(copy.enhanced), log_escs(copy.code == 0 ? copy.text : ""));
	else
		log_info("deliver-host-failed", "host=%s peer=%s outcome=%u text=%s",
		    log_escs(s->dest->host), log_escs(s->ntarget > 0 ?
		    s->target[s->ntarget - 1].peer : ""), copy.outcome, log_escs(copy.text));
	session_report(s, &copy);
	deliver_fail_waiting(s->dest, &copy, s);
	out_session_end(s);
}

static void
session_note(struct out_session *s, const char *text)
{
	memset(&s->fail, 0, sizeof(s->fail));
	s->fail.outcome = DELIVER_TEMP;
	s->fail.scope = SCOPE_HOST;
	(void)snprintf(s->fail.enhanced, sizeof(s->fail.enhanced), "4.4.1");
	reply_printable(slice_str(text), s->fail.text, sizeof(s->fail.text));
}

/* From address `at` on: the first that can be started. */
static void
session_connect(struct out_session *s)
{
	const struct mx_target *t;

	out_session_enter(s, SESSION_CONNECT);
	for (; s->at < s->ntarget; s->at++) {
		t = &s->target[s->at];
		s->conn = conn_connect(s->deliver->loop, &t->addr.sa, t->len, NULL, 0,
		    &session_ops, s);
		if (s->conn != NULL) {
			conn_deadline(s->conn, s->deliver->conf->connect_timeout_ms);
			return;
		}
		session_note(s, strerror(errno));
	}
	session_no_route(s, &s->fail);
}

static struct deliver_dead *
session_dead_address(struct deliver *d, const struct mx_target *t)
{
	int64_t now = clock_mono_ms();
	size_t i;

	for (i = 0; i < DELIVER_DEAD_MAX; i++)
		if (d->dead[i].len == t->len && d->dead[i].until_ms > now &&
		    memcmp(&d->dead[i].addr, &t->addr, t->len) == 0)
			return &d->dead[i];
	return NULL;
}

static void
session_remember_dead(struct deliver *d, const struct mx_target *t)
{
	struct deliver_dead *x = session_dead_address(d, t);

	if (x == NULL)
		x = &d->dead[d->dead_next++ % DELIVER_DEAD_MAX];
	x->len = t->len;
	memcpy(&x->addr, &t->addr, t->len);
	x->until_ms = clock_mono_ms() + DELIVER_DEAD_MS;
}

/* Those that did not answer lately go to the end; else the order stays. */
static void
session_targets(struct out_session *s, const struct mx_result *r)
{
	size_t i, n = 0;
	int dead;

	s->target = mem_array(r->n, sizeof(*s->target));
	s->ntarget = r->n;
	for (dead = 0; dead < 2; dead++)
		for (i = 0; i < r->n; i++)
			if ((session_dead_address(s->deliver, &r->target[i]) != NULL) == dead)
				s->target[n++] = r->target[i];
	for (i = 0; i < n; i++)
		(void)tlsa_ref(s->target[i].tlsa);
}

static void
session_next_address(struct out_session *s)
{
	if (s->state == SESSION_CONNECT)
		session_remember_dead(s->deliver, &s->target[s->at]);
	log_debug("deliver-address-failed", "peer=%s text=%s", log_escs(session_peer(s)),
	    log_escs(s->fail.text));
	session_hang_up(s);
	s->clear = false;
	s->at++;
	session_connect(s);
}

/* A sister destination has an idle connection to a host of this route: it comes over, with
 * its place, and takes the request. */
static bool
session_adopt(struct out_session *s, const struct mx_result *r)
{
	struct out_session *o = deliver_group_idle(s->dest, r);
	struct deliver_req *req = s->req;

	if (o == NULL || req == NULL || req->fresh)
		return false;
	s->req = NULL;
	TAILQ_REMOVE(&o->dest->sessions, o, link);
	o->dest->nsession--;
	deliver_touch(o->dest);
	o->dest = s->dest;
	TAILQ_INSERT_TAIL(&o->dest->sessions, o, link);
	o->dest->nsession++;
	out_session_end(s);
	out_session_take(o, req);
	return true;
}

static void
session_routed(void *arg, const struct mx_result *r)
{
	struct out_session *s = arg;
	struct client_result res;

	s->lookup = NULL;
	s->group = mem_str(r->group);
	if (r->outcome != DELIVER_OK) {
		memset(&res, 0, sizeof(res));
		res.outcome = r->outcome;
		res.scope = SCOPE_HOST;
		(void)snprintf(res.enhanced, sizeof(res.enhanced), "%s", r->enhanced);
		(void)snprintf(res.text, sizeof(res.text), "%s", r->text);
		session_no_route(s, &res);
		return;
	}
	if (session_adopt(s, r))
		return;
	session_targets(s, r);
	session_connect(s);
}

static void
session_resolve(struct out_session *s)
{
	struct deliver *d = s->deliver;
	const struct mx_env env = { d->dns, d->conf, d->self, d->sts };

	s->lookup = mx_resolve(&env, s->dest->route, slice_str(s->dest->host), s->dest->port,
	    s->dest->tls, session_routed, s);
}

void
out_session_reroute(struct deliver *d)
{
	struct deliver_dest *t;
	struct out_session *s;

	TAILQ_FOREACH(t, &d->all, link)
		TAILQ_FOREACH(s, &t->sessions, link) {
			if (s->lookup == NULL)
				continue;
			mx_cancel(&s->lookup);
			session_resolve(s);
		}
}

void
out_session_start(struct deliver_dest *t, struct deliver_req *r)
{
	struct out_session *s = mem_new(sizeof(*s));

	s->deliver = t->deliver;
	s->dest = t;
	s->req = r;
	s->state = SESSION_RESOLVE;
	s->group = NULL;
	TAILQ_INSERT_TAIL(&t->sessions, s, link);
	t->nsession++;
	t->deliver->nsession++;
	if (t->group != NULL)
		t->group->nsession++;
	session_resolve(s);
}

static void
session_begin(struct out_session *s)
{
	const struct queue_deliver *q = &s->req->q;
	struct client_message m = {
		.mail_from = q->mail_from, .prefix = q->prefix, .body = s->req->body,
		.cuts = q->cuts, .suffix = q->suffix, .envid = q->envid, .ret = q->ret,
		.need_8bit = q->need_8bit != 0, .need_utf8 = q->need_utf8 != 0,
	};
	struct client_rcpt rcpt = { q->rcpt, q->orcpt, q->notify };

	if (s->served++ > 0)
		s->deliver->stats.reused++;
	if (!s->reached && conn_tls(s->conn) == NULL)
		s->deliver->stats.tls.clear++;
	s->reached = true;
	s->begun_ms = clock_mono_ms();
	s->end_ms = s->begun_ms + SESSION_TRANSACTION_MS;
	s->rcpt = rcpt;
	out_session_enter(s, SESSION_BUSY);
	client_send(s->client, &m, &s->rcpt, 1);
}

void
out_session_take(struct out_session *s, struct deliver_req *r)
{
	CHECK(s->state == SESSION_IDLE && s->req == NULL);
	s->req = r;
	session_begin(s);
	session_step(s);
}

void
out_session_quit(struct out_session *s)
{
	client_quit(s->client);
	out_session_enter(s, SESSION_QUIT);
	session_step(s);
}

/* The transaction is over: its result is told. Sessions stay; returns false when this
 * one is gone. */
static bool
session_result(struct out_session *s)
{
	struct client_result res = client_results(s->client)[0];
	bool dead = client_need(s->client) == CLIENT_DEAD;

	if (dead && s->served > 1 && client_untouched(s->client) &&
	    res.outcome == DELIVER_TEMP) {
		s->req->fresh = true;
		TAILQ_INSERT_HEAD(&s->dest->waiting, s->req, link);
		s->req = NULL;
		log_debug("deliver-stale", "peer=%s", log_escs(session_peer(s)));
	} else {
		session_report(s, &res);
	}
	if (!dead) {
		out_session_enter(s, SESSION_RESET);	/* or ready at once */
		return true;
	}
	out_session_end(s);
	return false;
}

/* Ours, and the server's own (RFC 9422 MAILMAX). */
static unsigned
session_messages_max(const struct out_session *s)
{
	const struct conf *c = s->deliver->conf;
	unsigned max = s->dest->group == NULL ? c->messages_per_connection :
	    conf_provider_find(c, slice_str(s->dest->group->name))->messages_per_connection;
	unsigned theirs = client_mail_max(s->client);

	return theirs > 0 && theirs < max ? theirs : max;
}

/* READY: the next request that waits, or idle, or leave when it served its share. */
static void
session_rest(struct out_session *s)
{
	struct deliver_req *r = TAILQ_FIRST(&s->dest->waiting);

	/* Over the queue's bound by more than new mail that comes and goes. */
	bool many = s->dest->group == NULL && s->dest->nsession > deliver_sessions_max(s->dest) + 1;

	if (s->leave || many || s->served >= session_messages_max(s) ||
	    s->deliver->conf->idle_timeout_ms <= 0) {
		client_quit(s->client);
		out_session_enter(s, SESSION_QUIT);
		return;
	}
	if (r != NULL && !r->fresh) {
		TAILQ_REMOVE(&s->dest->waiting, r, link);
		s->req = r;
		session_begin(s);
		return;
	}
	s->idle_ms = clock_mono_ms();
	out_session_enter(s, SESSION_IDLE);
	deliver_touch(s->dest);
	if (s->dest->group != NULL)
		deliver_group_touch(s->dest->group, s->deliver);
}

static void
session_flush(struct out_session *s)
{
	struct slice out;
	size_t before;

	while (!s->blocked && (out = client_output(s->client, SESSION_CHUNK)).n > 0) {
		before = conn_pending(s->conn);
		/* A connection that broke while sending swallows the rest, so that the
		 * server's last words can be read. What was swallowed was not sent: a
		 * machine that believes it was would call it unknown, or worse. */
		if (conn_write(s->conn, out) != 0 ||
		    conn_pending(s->conn) != before + out.n)
			s->blocked = true;
		else
			client_sent(s->client, out.n);
	}
}

/* Spec 13.2: the same address once more in the clear, where nobody asked for TLS and the
 * administrator allows it. */
static bool
session_may_clear(const struct out_session *s)
{
	return (s->tls_started || client_no_starttls(s->client)) && !s->clear && s->target[s->at].tls == MX_TLS_MAY &&
	    s->deliver->conf->plaintext_after_tls_failure;
}

static void
session_count_tls(struct out_session *s, enum tls_fault fault)
{
	struct deliver_tls_stats *c = &s->deliver->stats.tls;
	uint8_t policy = s->target[s->at].policy;

	if (fault == TLS_FAULT_NONE) {
		c->ok[policy]++;
		return;
	}
	c->failed[policy]++;
	c->fault[fault]++;
	log_info("tls-failed", "peer=%s policy=%u fault=%s", log_escs(session_peer(s)), policy,
	    tls_fault_name(fault));
}

/* RFC 8461 5, testing: what would have failed is told and counted, nothing else. */
static enum tls_fault
session_tls_fault(const struct out_session *s)
{
	switch ((enum mx_testing)s->target[s->at].testing) {
	case MX_TESTING_NO:
		break;
	case MX_TESTING_CERTIFICATE:
		return conn_tls(s->conn)->verified ? TLS_FAULT_NONE : TLS_FAULT_TRUST;
	case MX_TESTING_NOT_LISTED:
		return TLS_FAULT_HOST;
	}
	return TLS_FAULT_NONE;
}

/* A connection that did not come to its first transaction. */
static void
session_open_failed(struct out_session *s)
{
	s->fail = *client_failure(s->client);
	if (client_no_starttls(s->client))
		session_count_tls(s, TLS_FAULT_NO_STARTTLS);
	else if (s->tls_started && conn_tls(s->conn) == NULL)
		session_count_tls(s, conn_tls_fault(s->conn) != TLS_FAULT_NONE ?
		    conn_tls_fault(s->conn) : TLS_FAULT_OTHER);
	if (session_may_clear(s) && conn_tls(s->conn) == NULL) {
		session_hang_up(s);
		s->clear = true;
		session_connect(s);
	} else {
		session_next_address(s);
	}
}

/* Machine dead: what that means depends on how far we were. */
static void
session_dead(struct out_session *s)
{
	switch (s->state) {
	case SESSION_OPEN:
		session_open_failed(s);
		break;
	case SESSION_BUSY:
		(void)session_result(s);
		break;
	case SESSION_RESOLVE:
	case SESSION_CONNECT:
	case SESSION_RESET:
	case SESSION_IDLE:
	case SESSION_QUIT:
		out_session_end(s);
		break;
	}
}

/* The deadline follows what is waited for, and moves only when something was achieved:
 * a server that sends a byte of reply a minute gets no more time for it. */
static void
session_rearm(struct out_session *s, bool progress)
{
	const struct conf *c = s->deliver->conf;
	unsigned now = client_progress(s->client);
	int64_t ms = c->reply_timeout_ms, left = s->end_ms - clock_mono_ms();

	if (!progress && now == s->progress && s->state != SESSION_IDLE)
		return;
	s->progress = now;
	if (s->state == SESSION_IDLE)
		ms = c->idle_timeout_ms;
	else if (s->state == SESSION_QUIT)
		ms = SESSION_QUIT_MS;
	else if (client_sending(s->client))
		ms = c->send_timeout_ms;
	else if (client_awaits_end(s->client))
		ms = 2 * c->reply_timeout_ms;	/* RFC 5321 4.5.3.2.6: twice the others */
	if (s->state == SESSION_BUSY && left < ms)
		ms = left > 0 ? left : 0;
	conn_deadline(s->conn, ms);
}

static int
session_start_tls(struct out_session *s)
{
	const struct mx_target *t = &s->target[s->at];
	const struct tls_peer p = {
		.name = t->host,
		/* RFC 7672 3.2.2: with DANE-TA the domain itself is a name that will do. */
		.other = s->dest->route == ROUTE_MX ? s->dest->host : NULL,
		.tlsa = t->tlsa,
		.must = t->tls >= MX_TLS_PKIX,
	};

	s->tls_started = true;
	return conn_start_tls_peer(s->conn, s->deliver->tls, &p);
}

/* One move of the machine; false when it waits for the network or is gone. */
static bool
session_advance(struct out_session *s, bool *gone)
{
	switch (client_need(s->client)) {
	case CLIENT_DEAD:
		*gone = true;
		session_dead(s);
		return false;
	case CLIENT_NEED_TLS:
		if (s->tls_started)
			return false;
		if (session_start_tls(s) == 0)
			return false;
		client_lost(s->client, 0, "TLS cannot be started");
		return true;
	case CLIENT_READY:
	case CLIENT_BUSY:
		break;
	}
	if (s->state == SESSION_BUSY && client_finished(s->client)) {
		*gone = !session_result(s);
		return !*gone;
	}
	if (client_need(s->client) == CLIENT_BUSY)
		return false;
	switch (s->state) {
	case SESSION_OPEN:
		session_begin(s);
		return true;
	case SESSION_RESET:
		session_rest(s);
		return true;
	case SESSION_RESOLVE:
	case SESSION_CONNECT:
	case SESSION_BUSY:
	case SESSION_IDLE:
	case SESSION_QUIT:
		break;
	}
	return false;
}

static void
session_step(struct out_session *s)
{
	enum out_session_state was = s->state;
	bool gone = false, sending = client_sending(s->client);

	do
		session_flush(s);
	while (session_advance(s, &gone));
	if (!gone)
		session_rearm(s, was != s->state || sending || client_sending(s->client));
}

static size_t
session_input(void *arg, struct slice in)
{
	struct out_session *s = arg;
	size_t used;

	used = client_input(s->client, in);
	session_step(s);
	return used;
}

/* The connection is no use any more. */
static void
session_lost(struct out_session *s, const char *why)
{
	if (s->state == SESSION_CONNECT) {
		session_note(s, why);
		session_next_address(s);
		return;
	}
	client_lost(s->client, conn_pending(s->conn), why);
	session_dead(s);
}

static void
session_connected(struct out_session *s)
{
	struct client_config cfg = {
		.lmtp = s->dest->route == ROUTE_LMTP,
		.tls = s->deliver->tls != NULL && !s->clear,
		.helo = s->deliver->conf->hostname,
		.tls_required = s->target[s->at].tls > MX_TLS_MAY,
		.requiretls = s->dest->tls == DELIVER_TLS_REQUIRETLS,
	};

	s->deliver->stats.connections++;
	s->client = client_new(&cfg);
	s->tls_started = false;
	s->progress = 0;
	out_session_enter(s, SESSION_OPEN);
	conn_deadline(s->conn, s->deliver->conf->reply_timeout_ms);
}

static void
session_event(void *arg, enum conn_event ev)
{
	struct out_session *s = arg;

	switch (ev) {
	case CONN_CONNECTED:
		session_connected(s);
		break;
	case CONN_TLS:
		session_count_tls(s, session_tls_fault(s));
		client_tls_done(s->client);
		session_step(s);
		break;
	case CONN_WRITABLE:
		s->blocked = false;
		session_step(s);
		break;
	case CONN_EOF:
		session_lost(s, "connection closed by the server");
		break;
	case CONN_ERROR:
		session_lost(s, conn_error(s->conn));
		break;
	case CONN_TIMEOUT:
		if (s->state == SESSION_IDLE)
			out_session_quit(s);
		else
			session_lost(s, "timeout");
		break;
	}
}
