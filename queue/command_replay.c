// SPDX-License-Identifier: Apache-2.0
/* The replay commands of the control socket: how it goes, and what an operator decides. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/control_priv.h"
#include "queue/lookout.h"
#include "queue/report.h"

/* ---- how it goes ---- */

static void
put_route(struct queue *q, const struct failover_group *f, json_t *o)
{
	const struct replay_group *g = replay_find(q->replay, f->id);
	const struct spool_entry e = { .kind = RCPT_USER, .group = f->id };
	struct legs_route route;
	char key[DEST_KEY_MAX];

	if (replay_route(q->replay, q->role->conf, q->failover, &e, &route, key) < 0)
		key[0] = '\0';
	json_object_set_new(o, "primary", json_string(key));
	json_object_set_new(o, "to", g == NULL || g->to == NULL ? json_null() :
	    report_text(slice_str(g->to)));
}

static void
put_counts(json_t *o, const struct replay_counts *c)
{
	static const struct replay_counts none;

	if (c == NULL)
		c = &none;
	json_object_set_new(o, "delivered", json_integer((json_int_t)c->delivered));
	json_object_set_new(o, "delivered_bytes", json_integer((json_int_t)c->bytes));
	json_object_set_new(o, "deferred", json_integer((json_int_t)c->deferred));
	json_object_set_new(o, "over_quota", json_integer((json_int_t)c->over_quota));
	json_object_set_new(o, "refused", json_integer((json_int_t)c->refused));
	json_object_set_new(o, "lost", json_integer((json_int_t)c->lost));
}

static void
put_ramp(struct queue *q, const struct failover_group *f, json_t *o)
{
	const struct ramp *r = schedule_ramp(q->schedule, f->id);
	const struct replay_group *g = replay_find(q->replay, f->id);
	int64_t now = clock_mono_ms(), quiet = r == NULL ? INT64_MIN : ramp_quiet_until(r, now);

	json_object_set_new(o, "in_flight", json_integer(g == NULL ? 0 : g->running));
	json_object_set_new(o, "limit", json_integer(r == NULL ? 0 : r->limit));
	json_object_set_new(o, "ceiling", json_integer(q->role->conf->replay_connections_max));
	json_object_set_new(o, "p95_ms", r == NULL || ramp_p95(r) < 0 ? json_null() :
	    json_integer((json_int_t)ramp_p95(r)));
	json_object_set_new(o, "resting_ms", json_integer(quiet == INT64_MIN ? 0 :
	    (json_int_t)(quiet - now)));
}

/* Paused by an operator, resting because the primary fails, running, or nothing to do. */
static const char *
replay_word(const struct failover_group *f, const struct replay_group *g, const struct ramp *r)
{
	if (g != NULL && g->paused)
		return "paused";
	if (f->phase != PHASE_REPLAY)
		return f->phase == PHASE_ACTIVE ? "failover-on" : "idle";
	if (r != NULL && ramp_quiet_until(r, clock_mono_ms()) != INT64_MIN)
		return "resting";
	return "running";
}

static json_t *
replay_json(struct queue *q, const struct failover_group *f)
{
	const struct replay_group *g = replay_find(q->replay, f->id);
	struct spool_sums s;
	double rate = g == NULL ? 0 : replay_rate(g, clock_mono_ms(), clock_wall_ms());

	spool_total(q->spool, f->id, &s);
	json_t *o = json_pack("{s:o, s:o, s:s, s:s, s:I, s:I}",
	    "domain", report_text(slice_str(f->domain)), "shard", report_text(slice_str(f->shard)),
	    "phase", failover_phase_name(f->phase),
	    "state", replay_word(f, g, schedule_ramp(q->schedule, f->id)),
	    "held", (json_int_t)s.held, "held_bytes", (json_int_t)s.held_bytes);
	put_route(q, f, o);
	put_ramp(q, f, o);
	put_counts(o, g == NULL ? NULL : &g->count);
	json_object_set_new(o, "begun", report_time(g == NULL ? 0 : g->begun_ms));
	json_object_set_new(o, "rate", json_real((double)(int64_t)(rate * 10) / 10));
	json_object_set_new(o, "rate_max", json_integer(g == NULL ? 0 : g->rate));
	json_object_set_new(o, "left_s", rate < 0.01 || f->phase != PHASE_REPLAY ? json_null() :
	    json_integer((json_int_t)((double)s.held / rate)));
	json_object_set_new(o, "reason", g == NULL || g->reason == NULL ? json_null() :
	    report_text(slice_str(g->reason)));
	json_object_set_new(o, "reason_since", report_time(g == NULL ? 0 : g->since_ms));
	return o;
}

static void
reply_status(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	json_t *o = command_ok(), *list = json_array();

	for (size_t i = 0; i < failover_count(f); i++) {
		const struct failover_group *g = command_group(rq, i);

		if (g != NULL)
			json_array_append_new(list, replay_json(rq->queue, g));
	}
	json_object_set_new(o, "domains", list);
	control_reply(rq, o);
}

/* How many groups the request means; 0 after failing it. */
static size_t
groups_meant(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	size_t n = 0;

	for (size_t i = 0; i < failover_count(f); i++)
		n += command_group(rq, i) != NULL;
	if (n == 0 && request_string(rq, "domain")[0] != '\0')
		command_no_such(rq);
	return n;
}

void
command_replay_status(struct request *rq)
{
	/* Asked first: a request that failed is gone. */
	bool all = request_string(rq, "domain")[0] == '\0';

	if (groups_meant(rq) > 0 || all)
		reply_status(rq);
}

/* ---- what an operator decides ---- */

/* 0 or -1 after failing the request. */
static int
change_groups(struct request *rq, const struct replay_change *c)
{
	struct queue *q = rq->queue;

	for (size_t i = 0; i < failover_count(q->failover); i++) {
		const struct failover_group *g = command_group(rq, i);

		if (g == NULL)
			continue;
		if (replay_change(q->replay, g, c) < 0) {
			control_fail(rq, "%s%s%s: not changed: %s", g->domain,
			    g->shard[0] != '\0' ? "/" : "", g->shard, strerror(errno));
			return -1;
		}
		schedule_reroute(q->schedule, g->id);
	}
	lookout_reload(q->lookout);	/* another primary is another place to look at */
	return 0;
}

static bool
route_sound(struct request *rq, const char *to)
{
	struct conf_route route;
	const char *why = to[0] == '\0' ? NULL : conf_route_parse(&route, to);

	if (to[0] == '\0')
		return true;
	if (why != NULL) {
		control_fail(rq, "\"%.255s\" %s", to, why);
		return false;
	}
	bool host = route.kind != ROUTE_MX;
	conf_route_fini(&route);
	if (!host)
		control_fail(rq, "another primary is lmtp://host:port or smtp://host:port");
	return host;
}

void
command_replay_set(struct request *rq)
{
	struct replay_change c = { .paused = -1, .rate = request_int(rq, "rate", -1),
		.reason = request_string(rq, "reason"), .who = rq->who };

	if (request_has(rq, "paused"))
		c.paused = request_bool(rq, "paused");
	if (request_has(rq, "to"))
		c.to = request_string(rq, "to");
	if (strlen(c.reason) >= REPLAY_REASON_MAX) {
		control_fail(rq, "replay-set: the reason is longer than %d bytes",
		    REPLAY_REASON_MAX - 1);
		return;
	}
	if (request_has(rq, "rate") && (c.rate < 0 || c.rate > REPLAY_RATE_MAX)) {
		control_fail(rq, "replay-set: rate is 0 (none) to %d a minute", REPLAY_RATE_MAX);
		return;
	}
	if ((c.to != NULL && !route_sound(rq, c.to)) || groups_meant(rq) == 0)
		return;
	if (change_groups(rq, &c) == 0)
		reply_status(rq);
}

/* In replay, so that the ramp watches over it, and not paused. 0 or -1 with errno. */
static int
start_group(struct request *rq, struct failover_group *g, const struct replay_change *c)
{
	const struct replay_group *r = replay_find(rq->queue->replay, g->id);
	struct spool_sums s;

	spool_total(rq->queue->spool, g->id, &s);
	if (s.held > 0 && failover_set_phase(rq->queue->failover, g, PHASE_REPLAY,
	    "operator: replay start") < 0)
		return -1;
	return r == NULL || !r->paused ? 0 : replay_change(rq->queue->replay, g, c);
}

/* A new chance for all that is held: the pause ends, what was refused or waits for its
 * next try joins the backlog. */
void
command_replay_start(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	struct replay_change c = { .paused = 0, .rate = -1, .reason = request_string(rq, "reason"),
		.who = rq->who };

	if (groups_meant(rq) == 0)
		return;
	for (size_t i = 0; i < failover_count(f); i++) {
		const struct failover_group *g = command_group(rq, i);

		if (g == NULL || g->phase != PHASE_ACTIVE)
			continue;
		control_fail(rq, "failover is on for %s%s%s: \"salvaposta failover off\" begins its "
		    "replay", g->domain, g->shard[0] != '\0' ? "/" : "", g->shard);
		return;
	}
	for (size_t i = 0; i < failover_count(f); i++) {
		struct failover_group *g = command_group(rq, i);

		if (g != NULL && start_group(rq, g, &c) < 0) {
			control_fail(rq, "%s: not changed: %s", g->domain, strerror(errno));
			return;
		}
	}
	command_job_retry(rq);
}

void
command_replay_again(struct request *rq)
{
	if (groups_meant(rq) > 0)
		command_job_again(rq);
}
