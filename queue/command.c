// SPDX-License-Identifier: Apache-2.0
/* What the commands of the control socket do. docs/control.md says what they answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/control_priv.h"
#include "queue/report.h"

enum {
	STATUS_WAIT_MS = 10 * 1000,
	DIRECTORY_WAIT_MS = 60 * 1000
};

json_t *
command_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

/* ---- failover ---- */

/* The group a request means: its shard, or the domain itself; NULL after failing it. */
struct failover_group *
command_group(struct request *rq, size_t i)
{
	struct failover_group *g = failover_at(rq->queue->failover, i);
	struct slice domain = slice_str(request_string(rq, "domain"));

	if (!g->served || (domain.n > 0 && !slice_ieq(slice_str(g->domain), domain)))
		return NULL;
	if (request_has(rq, "shard") && strcmp(g->shard, request_string(rq, "shard")) != 0)
		return NULL;
	return g;
}

static void
failover_set(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	const char *mode = request_string(rq, "mode"), *reason = request_string(rq, "reason");
	struct failover_group *last = NULL;

	if (strcmp(mode, "on") != 0 && strcmp(mode, "off") != 0) {
		control_fail(rq, "failover-set: mode is \"on\" or \"off\"");
		return;
	}
	if (strlen(reason) >= FAILOVER_REASON_MAX) {
		control_fail(rq, "failover-set: the reason is longer than %d bytes",
		    FAILOVER_REASON_MAX - 1);
		return;
	}
	for (size_t i = 0; i < failover_count(f); i++) {
		struct failover_group *g = command_group(rq, i);

		if (g == NULL)
			continue;
		if (queue_switch(rq->queue, g, strcmp(mode, "on") == 0 ? FAILOVER_ON : FAILOVER_OFF,
		    rq->who, reason) < 0) {
			control_fail(rq, "%s%s%s: not switched: %s", g->domain,
			    g->shard[0] != '\0' ? "/" : "", g->shard, strerror(errno));
			return;
		}
		if (last == NULL || g->shard[0] == '\0')
			last = g;
	}
	if (last == NULL) {
		control_fail(rq, "no such domain%s in the configuration: %.255s",
		    request_has(rq, "shard") ? " or shard" : "", request_string(rq, "domain"));
		return;
	}
	json_t *o = command_ok();
	json_object_set_new(o, "domain", json_string(last->domain));
	json_object_set_new(o, "mode", json_string(failover_mode_name(last->mode)));
	json_object_set_new(o, "phase", json_string(failover_phase_name(last->phase)));
	control_reply(rq, o);
}

static json_t *
group_json(struct queue *q, const struct failover_group *g)
{
	struct spool_sums s;
	char who[64];

	spool_total(q->spool, g->id, &s);
	if (strcmp(g->reason, "configuration") == 0 && g->who.pid == 0)
		(void)snprintf(who, sizeof(who), "configuration");
	else
		(void)snprintf(who, sizeof(who), "uid %u pid %d", (unsigned)g->who.uid,
		    (int)g->who.pid);
	return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:I, s:I}",
	    "domain", report_text(slice_str(g->domain)),
	    "shard", report_text(slice_str(g->shard)),
	    "mode", failover_mode_name(g->mode), "phase", failover_phase_name(g->phase),
	    "since", report_time(g->since_ms), "reason", report_text(slice_str(g->reason)),
	    "who", who, "held", (json_int_t)s.held,
	    "replaying", g->phase == PHASE_REPLAY ? (json_int_t)s.held : (json_int_t)0);
}

/* Calls `make` for each group the request names; the reply has them as "domains". */
static void
reply_domains(struct request *rq, json_t *o,
    json_t *(*make)(struct queue *q, const struct failover_group *g))
{
	struct failover *f = rq->queue->failover;
	json_t *list = json_array();

	for (size_t i = 0; i < failover_count(f); i++) {
		const struct failover_group *g = command_group(rq, i);

		if (g != NULL)
			json_array_append_new(list, make(rq->queue, g));
	}
	if (json_array_size(list) == 0 && request_string(rq, "domain")[0] != '\0') {
		json_decref(list);
		json_decref(o);
		control_fail(rq, "no such domain in the configuration: %.255s",
		    request_string(rq, "domain"));
		return;
	}
	json_object_set_new(o, "domains", list);
	control_reply(rq, o);
}

static void
failover_show(struct request *rq)
{
	reply_domains(rq, command_ok(), group_json);
}

/* ---- balance and status ---- */

/* When the disk is full at the growth of the last minutes; null: not in sight. */
static void
put_forecast(struct queue *q, json_t *o)
{
	struct spool_status st;

	queue_measure(q);
	spool_status(q->spool, &st);
	uint64_t reserve = q->role->conf->disk_reserve;
	double hours = forecast_hours(&q->forecast, st.bytes_free > reserve ?
	    st.bytes_free - reserve : 0);
	json_object_set_new(o, "disk", json_string(water_name(st.full ? WATER_FULL : q->water)));
	json_object_set_new(o, "growth_bytes_hour",
	    json_integer((json_int_t)forecast_growth(&q->forecast)));
	json_object_set_new(o, "hours_until_full", hours < 0 ? json_null() :
	    json_real((double)(int64_t)(hours < 1e9 ? hours * 10 : 1e10) / 10));
}

static json_t *
balance_json(struct queue *q, const struct failover_group *g)
{
	return report_balance(q->spool, g);
}

static void
report_run(struct request *rq)
{
	json_t *o = command_ok(), *space = json_object();

	put_forecast(rq->queue, space);
	json_object_set_new(o, "forecast", space);
	reply_domains(rq, o, balance_json);
}

/* State that outlived its domain in the configuration still counts, when it has mail. */
static json_t *
all_balances(struct queue *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < failover_count(q->failover); i++) {
		const struct failover_group *g = failover_at(q->failover, i);
		struct spool_sums s;

		spool_total(q->spool, g->id, &s);
		if (g->served || s.received > 0)
			json_array_append_new(list, report_balance(q->spool, g));
	}
	return list;
}

static json_t *
queue_json(struct queue *q)
{
	struct schedule_stats st;
	json_t *o = report_spool(q->spool);

	put_forecast(q, o);
	schedule_stats(q->schedule, &st);
	json_object_set_new(o, "accepted", json_integer((json_int_t)q->accepted));
	json_object_set_new(o, "refused", json_integer((json_int_t)q->refused));
	json_object_set_new(o, "window", json_integer(st.window));
	json_object_set_new(o, "in_flight", json_integer(st.in_flight));
	json_object_set_new(o, "destinations", json_integer(st.destinations));
	json_object_set_new(o, "destinations_down", json_integer(st.closed));
	return o;
}

/* The supervisor tells {"pid":..,"roles":[..]}; {} or nothing in time is no reason to
 * keep the rest from the operator. */
static void
status_roles(void *arg, struct slice text)
{
	struct request *rq = arg;
	json_error_t e;

	if (!control_asked(rq))
		return;
	json_t *in = json_loadb(text.n == 0 ? "" : text.p, text.n, 0, &e);
	json_t *o = command_ok(), *roles = json_object_get(in, "roles");
	json_object_set_new(o, "roles", json_is_array(roles) ? json_incref(roles) : json_array());
	if (json_object_get(in, "uptime_s") != NULL)
		json_object_set(o, "uptime_s", json_object_get(in, "uptime_s"));
	json_decref(in);
	json_object_set_new(o, "queue", queue_json(rq->queue));
	json_object_set_new(o, "domains", all_balances(rq->queue));
	control_reply(rq, o);
}

static void
status_run(struct request *rq)
{
	control_patience(rq, STATUS_WAIT_MS);
	rq->asked = true;
	role_ask(rq->queue->role, "status", status_roles, rq);
}

/* ---- directory ---- */

static void
directory_run(struct request *rq)
{
	struct ipc *ch = role_any(rq->queue->role, ROLE_DIRECTORY, NULL);

	rq->req = control_next_req(rq->control);
	const struct dir_reload m = { rq->req };
	if (ch == NULL || ipc_send(ch, DIR_RELOAD, &dir_reload_wire, &m, -1) < 0) {
		control_fail(rq, "the directory is being restarted; it will read the new snapshot");
		return;
	}
	control_patience(rq, DIRECTORY_WAIT_MS);
}

int
control_directory(struct control *c, struct slice body)
{
	struct dir_reloaded m;

	if (wire_get(body, &dir_reloaded_wire, &m) < 0)
		return -1;
	struct request *rq = c == NULL ? NULL : control_find(c, m.req);
	if (rq == NULL)
		return 0;	/* the client went away meanwhile */
	if (m.ok == 0) {
		control_fail(rq, "the directory keeps its old snapshot: %.*s", SLICE_FMT(m.text));
		return 0;
	}
	json_t *o = command_ok();
	json_object_set_new(o, "users", json_integer((json_int_t)m.users));
	control_reply(rq, o);
	return 0;
}

/* ---- the table ---- */

/* Which recipients are meant; queue/operate.h. */
#define SELECT \
	{ "domain", JSON_STRING, false }, { "user", JSON_STRING, false }, \
	{ "sender", JSON_STRING, false }, { "client", JSON_STRING, false }, \
	{ "state", JSON_STRING, false }, { "older_ms", JSON_INTEGER, false }, \
	{ "newer_ms", JSON_INTEGER, false }, { "match", JSON_STRING, false }
#define JOB \
	SELECT, { "id", JSON_STRING, false }, { "rcpt_index", JSON_INTEGER, false }, \
	{ "dry_run", JSON_TRUE, false }, { "progress", JSON_TRUE, false }

const struct command control_commands[] = {
	{ "failover-set", failover_set, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "mode", JSON_STRING, true }, { "reason", JSON_STRING, true } } },
	{ "failover-show", failover_show, { { "domain", JSON_STRING, false } } },
	{ "queue-list", command_list, { SELECT,
	    { "limit", JSON_INTEGER, false }, { "after", JSON_STRING, false } } },
	{ "queue-show", command_show, {
	    { "id", JSON_STRING, true }, { "content", JSON_TRUE, false } } },
	{ "queue-summary", command_summary, { SELECT, { "progress", JSON_TRUE, false } } },
	{ "queue-hold", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-release", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-retry", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-drop", command_job, { JOB, { "reason", JSON_STRING, true } } },
	{ "status", status_run, { { NULL, JSON_NULL, false } } },
	{ "directory-reload", directory_run, {
	    { "users", JSON_INTEGER, false }, { "source", JSON_STRING, false } } },
	{ "report", report_run, { { "domain", JSON_STRING, false } } },
	{ "replay-status", command_replay_status, {
	    { "domain", JSON_STRING, false }, { "shard", JSON_STRING, false } } },
	{ "replay-set", command_replay_set, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "paused", JSON_TRUE, false }, { "rate", JSON_INTEGER, false },
	    { "to", JSON_STRING, false }, { "reason", JSON_STRING, true } } },
	{ "replay-start", command_replay_start, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "reason", JSON_STRING, true }, { "progress", JSON_TRUE, false } } },
	{ NULL, NULL, { { NULL, JSON_NULL, false } } }
};
