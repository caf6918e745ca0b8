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
#include "queue/alarm.h"
#include "queue/control_priv.h"
#include "queue/lookout.h"
#include "queue/report.h"
#include "queue/stranded.h"

enum {
	STATUS_WAIT_MS = 10 * 1000,
	DIRECTORY_WAIT_MS = 60 * 1000
};

json_t *
command_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
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

/* State that outlived its domain in the configuration still counts, when it had mail. */
static bool
has_books(struct queue *q, const struct failover_group *g)
{
	struct spool_sums s;

	spool_total(q->spool, g->id, &s);
	return g->served || s.received > 0;
}

static void
report_run(struct request *rq)
{
	struct queue *q = rq->queue;
	struct slice domain = slice_str(request_string(rq, "domain"));
	json_t *list = json_array();

	for (size_t i = 0; i < failover_count(q->failover); i++) {
		const struct failover_group *g = failover_at(q->failover, i);

		if (!has_books(q, g) || (domain.n > 0 && !slice_ieq(slice_str(g->domain), domain)))
			continue;
		json_t *d = report_balance(q->spool, g);
		if (request_has(rq, "since_ms"))
			json_object_set_new(d, "incident", tally_json(q->tally, g->id,
			    request_int(rq, "since_ms", 0)));
		json_array_append_new(list, d);
	}
	if (json_array_size(list) == 0 && domain.n > 0) {
		json_decref(list);
		control_fail(rq, "no such domain in the configuration: %.255s",
		    request_string(rq, "domain"));
		return;
	}
	json_t *o = command_ok(), *space = json_object();
	put_forecast(q, space);
	json_object_set_new(o, "forecast", space);
	json_object_set_new(o, "domains", list);
	control_reply(rq, o);
}

static json_t *
all_balances(struct queue *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < failover_count(q->failover); i++)
		if (has_books(q, failover_at(q->failover, i)))
			json_array_append_new(list, report_balance(q->spool,
			    failover_at(q->failover, i)));
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
	json_object_set_new(o, "failover", command_failover_list(rq->queue));
	json_object_set_new(o, "probes", lookout_metrics(rq->queue->lookout));
	json_object_set_new(o, "alarms", alarms_json(rq->queue->alarms));
	control_reply(rq, o);
}

static void
status_run(struct request *rq)
{
	stranded_tell(rq->queue);
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
	const char *source = request_string(rq, "source");
	const struct audit_record r = { .event = "directory", .who = rq->who,
		.reason = source[0] == '\0' ? NULL : source, .count = &m.users };
	if (audit_write(rq->queue->audit, &r) < 0) {
		control_fail(rq, "it is in use, but the audit log cannot be written: %s",
		    strerror(errno));
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
	{ "failover-set", command_failover_set, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "mode", JSON_STRING, true }, { "reason", JSON_STRING, true },
	    { "until_ms", JSON_INTEGER, false }, { "for_ms", JSON_INTEGER, false } } },
	{ "failover-show", command_failover_show, { { "domain", JSON_STRING, false } } },
	{ "failover-schedule", command_failover_schedule, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "from_ms", JSON_INTEGER, true }, { "until_ms", JSON_INTEGER, false },
	    { "for_ms", JSON_INTEGER, false }, { "reason", JSON_STRING, true } } },
	{ "failover-windows", command_failover_windows, { { "domain", JSON_STRING, false } } },
	{ "failover-cancel", command_failover_cancel, {
	    { "window", JSON_INTEGER, true }, { "reason", JSON_STRING, false } } },
	{ "queue-list", command_list, { SELECT,
	    { "limit", JSON_INTEGER, false }, { "after", JSON_STRING, false } } },
	{ "queue-show", command_show, {
	    { "id", JSON_STRING, true }, { "content", JSON_TRUE, false } } },
	{ "why", command_why, {
	    { "id", JSON_STRING, false }, { "user", JSON_STRING, false } } },
	{ "consent-set", command_consent_set, {
	    { "user", JSON_STRING, true }, { "state", JSON_STRING, true },
	    { "reason", JSON_STRING, true } } },
	{ "queue-summary", command_summary, { SELECT, { "progress", JSON_TRUE, false } } },
	{ "queue-hold", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-release", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-retry", command_job, { JOB, { "reason", JSON_STRING, false } } },
	{ "queue-drop", command_job, { JOB, { "reason", JSON_STRING, true } } },
	{ "queue-bounce", command_job, { JOB, { "reason", JSON_STRING, true } } },
	{ "status", status_run, { { NULL, JSON_NULL, false } } },
	{ "directory-reload", directory_run, {
	    { "users", JSON_INTEGER, false }, { "source", JSON_STRING, false } } },
	{ "report", report_run, {
	    { "domain", JSON_STRING, false }, { "since_ms", JSON_INTEGER, false } } },
	{ "replay-status", command_replay_status, {
	    { "domain", JSON_STRING, false }, { "shard", JSON_STRING, false } } },
	{ "replay-set", command_replay_set, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "paused", JSON_TRUE, false }, { "rate", JSON_INTEGER, false },
	    { "to", JSON_STRING, false }, { "reason", JSON_STRING, true } } },
	{ "replay-start", command_replay_start, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "reason", JSON_STRING, true }, { "progress", JSON_TRUE, false } } },
	{ "replay-again", command_replay_again, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "user", JSON_STRING, false }, { "since_ms", JSON_INTEGER, true },
	    { "reason", JSON_STRING, true }, { "dry_run", JSON_TRUE, false },
	    { "progress", JSON_TRUE, false } } },
	{ NULL, NULL, { { NULL, JSON_NULL, false } } }
};
