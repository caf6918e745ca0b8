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
	LIST_DEFAULT = 100,
	LIST_MAX = 1000,
	SHOW_RCPT_MAX = 10000,
	SHOW_CONTENT_MAX = 11 * 1024 * 1024,	/* base64 of it fits a reply */
	STATUS_WAIT_MS = 10 * 1000,
	DIRECTORY_WAIT_MS = 60 * 1000
};

static json_t *
reply_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

/* ---- failover ---- */

/* The group a request means: its shard, or the domain itself; NULL after failing it. */
static struct failover_group *
named_group(struct request *rq, size_t i)
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
		struct failover_group *g = named_group(rq, i);

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
	json_t *o = reply_ok();
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
		const struct failover_group *g = named_group(rq, i);

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
	reply_domains(rq, reply_ok(), group_json);
}

/* ---- balance and status ---- */

static json_t *
balance_json(struct queue *q, const struct failover_group *g)
{
	return report_balance(q->spool, g);
}

static void
report_run(struct request *rq)
{
	reply_domains(rq, reply_ok(), balance_json);
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
	json_t *o = reply_ok(), *roles = json_object_get(in, "roles");
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

/* ---- queue list ---- */

enum {	/* request.filter */
	LIST_UNSETTLED, LIST_ALL, LIST_HELD, LIST_STATE	/* + enum leg_state */
};

static int
list_filter(const char *state, unsigned *out)
{
	if (state[0] == '\0')
		*out = LIST_UNSETTLED;
	else if (strcmp(state, "all") == 0)
		*out = LIST_ALL;
	else if (strcmp(state, "held") == 0)
		*out = LIST_HELD;
	else {
		for (unsigned i = 0; i < LEG_STATE_MAX; i++) {
			if (strcmp(state, leg_state_name((enum leg_state)i)) == 0) {
				*out = LIST_STATE + i;
				return 0;
			}
		}
		return -1;
	}
	return 0;
}

static bool
list_matches(unsigned filter, const struct spool_entry *e)
{
	bool held = !leg_settled((enum leg_state)e->leg[LEG_HOLD].state);

	if (filter == LIST_UNSETTLED)
		return held || !leg_settled((enum leg_state)e->leg[LEG_FORWARD].state);
	if (filter == LIST_ALL)
		return true;
	if (filter == LIST_HELD)
		return held;
	return e->leg[LEG_HOLD].state == filter - LIST_STATE ||
	    e->leg[LEG_FORWARD].state == filter - LIST_STATE;
}

/* A domain without a shard means all its shards. */
static bool
domain_matches(const struct request *rq, uint64_t group)
{
	const char *domain = request_string(rq, "domain");
	const struct failover_group *g;

	if (domain[0] == '\0')
		return true;
	g = failover_find(rq->queue->failover, group);
	if (g != NULL)
		return slice_ieq(slice_str(g->domain), slice_str(domain));
	char lower[256];
	if (slice_cstr(slice_str(domain), lower, sizeof(lower)) < 0)
		return false;
	bytes_lower(lower, strlen(lower));
	return group == spool_group(slice_str(lower), SLICE_NONE);
}

static bool
list_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;
	struct spool_message m;

	if (!domain_matches(rq, e->group) || !list_matches(rq->filter, e))
		return true;
	bool have = spool_read(rq->queue->spool, e->ref, false, &m) == 0;
	json_array_append_new(rq->list, report_recipient(rq->queue->spool, e, have ? &m : NULL));
	if (have)
		spool_message_fini(&m);
	return ++rq->count < rq->limit;
}

static void
list_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;
	char after[64];

	rq->walk = NULL;
	(void)snprintf(after, sizeof(after), "%llx:%x", (unsigned long long)at.segment, at.entry);
	json_t *o = reply_ok();
	json_object_set(o, "messages", rq->list);
	json_object_set_new(o, "more", json_boolean(!end));
	json_object_set_new(o, "after", end ? json_null() : json_string(after));
	control_reply(rq, o);
}

static int
hex_u64(struct slice s, uint64_t *out)
{
	*out = 0;
	if (s.n == 0 || s.n > 16)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -1;
	}
	return 0;
}

static int
cursor_parse(const char *text, struct spool_cursor *out)
{
	struct slice s = slice_str(text);
	size_t colon = slice_find(s, ':');
	uint64_t entry;

	*out = (struct spool_cursor){ 0 };
	if (s.n == 0)
		return 0;
	if (hex_u64(slice_sub(s, 0, colon), &out->segment) < 0 || colon == s.n ||
	    hex_u64(slice_sub(s, colon + 1, s.n), &entry) < 0 || entry > UINT32_MAX)
		return -1;
	out->entry = (uint32_t)entry;
	return 0;
}

/* The directory's own form of a user: domain in lower case, local part too when folded. */
static uint64_t
user_hash(const struct conf *c, const char *user)
{
	char *copy = mem_str(user);
	size_t n = strlen(copy), at = slice_rfind(slice_make(copy, n), '@');

	if (at < n) {
		const struct conf_domain *d = conf_domain_find(c, slice_make(copy + at + 1, n - at - 1));

		bytes_lower(copy + at, n - at);
		if (d == NULL || d->fold_local)
			bytes_lower(copy, at);
	}
	uint64_t h = spool_user(slice_make(copy, n));
	free(copy);
	return h;
}

static void
list_run(struct request *rq)
{
	struct spool_filter f = { .due_ms = INT64_MAX };
	struct spool_cursor from;
	int64_t limit = request_int(rq, "limit", LIST_DEFAULT);

	if (limit < 1) {
		control_fail(rq, "queue-list: limit is 1 to %d", LIST_MAX);
		return;
	}
	if (list_filter(request_string(rq, "state"), &rq->filter) < 0) {
		control_fail(rq, "queue-list: unknown state \"%.32s\"", request_string(rq, "state"));
		return;
	}
	if (cursor_parse(request_string(rq, "after"), &from) < 0) {
		control_fail(rq, "queue-list: \"after\" is not from an earlier reply");
		return;
	}
	if (request_string(rq, "user")[0] != '\0')
		f.user = user_hash(rq->queue->role->conf, request_string(rq, "user"));
	if (rq->filter == LIST_HELD)
		f.states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
	rq->limit = limit > LIST_MAX ? LIST_MAX : (uint64_t)limit;
	rq->list = json_array();
	rq->walk = walk_start(rq->queue->role->loop, rq->queue->spool, &f, from, list_visit,
	    list_done, rq);
}

/* ---- queue show ---- */

static int
find_message(struct request *rq, struct spool_ref **refs)
{
	struct msgid id;

	if (msgid_parse(slice_str(request_string(rq, "id")), &id) < 0) {
		control_fail(rq, "\"%.32s\" is not a message id", request_string(rq, "id"));
		return -1;
	}
	*refs = mem_array(SHOW_RCPT_MAX, sizeof(**refs));
	int n = spool_find(rq->queue->spool, id, *refs, SHOW_RCPT_MAX);
	if (n > 0)
		return n < SHOW_RCPT_MAX ? n : SHOW_RCPT_MAX;
	free(*refs);
	*refs = NULL;
	control_fail(rq, "no message %s here: never seen, or all of it is settled and gone",
	    request_string(rq, "id"));
	return -1;
}

/* The bytes of a message are personal: who looks at them is written down first. 0 or -1. */
static int
show_content(struct request *rq, const struct spool_message *m, json_t *o)
{
	const struct audit_record r = { .event = "content-shown", .who = rq->who,
		.id = request_string(rq, "id") };
	struct slice body;
	struct buf text;

	if (m->env.body_size > SHOW_CONTENT_MAX) {
		control_fail(rq, "the message has %llu bytes, more than a reply can carry (%d)",
		    (unsigned long long)m->env.body_size, SHOW_CONTENT_MAX);
		return -1;
	}
	if (audit_write(rq->queue->audit, &r) < 0) {
		control_fail(rq, "the audit log cannot be written, so content is not shown: %s",
		    strerror(errno));
		return -1;
	}
	if (body_map(m->body_fd, &body) < 0) {
		control_fail(rq, "the content cannot be read: %s", strerror(errno));
		return -1;
	}
	buf_init(&text, CONTROL_REPLY_MAX);
	int rc = crypto_base64(&text, body);
	body_unmap(&body);
	if (rc == 0) {
		struct slice s = buf_slice(&text);
		json_object_set_new(o, "content", json_stringn(s.n == 0 ? "" : s.p, s.n));
	}
	buf_fini(&text);
	if (rc < 0)
		control_fail(rq, "the content does not fit a reply");
	return rc;
}

static void
show_run(struct request *rq)
{
	struct spool_ref *refs = NULL;
	struct spool_message m;
	bool content = request_bool(rq, "content");
	int n = find_message(rq, &refs);

	if (n < 0)
		return;
	if (spool_read(rq->queue->spool, refs[0], content, &m) < 0) {
		free(refs);
		control_fail(rq, "the record of %s is damaged and was set aside",
		    request_string(rq, "id"));
		return;
	}
	json_t *o = reply_ok();
	json_object_set_new(o, "message", report_message(rq->queue->spool, &m, refs, (size_t)n));
	free(refs);
	if (!content || show_content(rq, &m, o) == 0)
		control_reply(rq, o);
	else
		json_decref(o);
	spool_message_fini(&m);
}

/* ---- queue retry ---- */

static void
retry_entry(struct request *rq, const struct spool_entry *e)
{
	struct queue *q = rq->queue;
	const struct failover_group *g = failover_find(q->failover, e->group);
	bool any = false;

	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		char note[LEGS_NOTE_MAX] = "";
		struct legs_change to;

		if (leg == LEG_FORWARD && e->leg[leg].state == LEG_WAITING &&
		    (spool_note(q->spool, e->ref, LEG_FORWARD, note, sizeof(note)) < 0 ||
		    strlen(note) != LEGS_TOKEN_LEN))
			note[0] = '\0';
		if (!legs_operator_retry(q->role->conf, g, e, (enum leg_kind)leg, note,
		    schedule_now(q->schedule), &to))
			continue;
		schedule_write(q->schedule, e, (enum leg_kind)leg, &to);
		any = true;
	}
	if (!any)
		return;
	rq->count++;
	if (rq->count == 1 || request_has(rq, "id"))
		schedule_restart(q->schedule, e->group);
}

static bool
retry_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;

	if (domain_matches(rq, e->group))
		retry_entry(rq, e);
	return true;
}

static void
retry_reply(struct request *rq)
{
	json_t *o = reply_ok();

	json_object_set_new(o, "count", json_integer((json_int_t)rq->count));
	control_reply(rq, o);
}

static void
retry_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;

	(void)end;
	(void)at;
	rq->walk = NULL;
	schedule_restart_all(rq->queue->schedule);
	retry_reply(rq);
}

static void
retry_run(struct request *rq)
{
	struct spool_filter f = { .due_ms = INT64_MAX };
	struct spool_ref *refs = NULL;
	struct spool_entry e;
	bool id = request_string(rq, "id")[0] != '\0';

	if (id == (request_string(rq, "domain")[0] != '\0')) {
		control_fail(rq, "queue-retry: give an id or a domain");
		return;
	}
	if (!id) {
		f.states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
		rq->walk = walk_start(rq->queue->role->loop, rq->queue->spool, &f,
		    (struct spool_cursor){ 0 }, retry_visit, retry_done, rq);
		return;
	}
	int n = find_message(rq, &refs);
	if (n < 0)
		return;
	for (int i = 0; i < n; i++)
		if (spool_get(rq->queue->spool, refs[i], &e) == 0)
			retry_entry(rq, &e);
	free(refs);
	retry_reply(rq);
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
	json_t *o = reply_ok();
	json_object_set_new(o, "users", json_integer((json_int_t)m.users));
	control_reply(rq, o);
	return 0;
}

/* ---- the table ---- */

const struct command control_commands[] = {
	{ "failover-set", failover_set, {
	    { "domain", JSON_STRING, true }, { "shard", JSON_STRING, false },
	    { "mode", JSON_STRING, true }, { "reason", JSON_STRING, true } } },
	{ "failover-show", failover_show, { { "domain", JSON_STRING, false } } },
	{ "queue-list", list_run, {
	    { "domain", JSON_STRING, false }, { "user", JSON_STRING, false },
	    { "state", JSON_STRING, false }, { "limit", JSON_INTEGER, false },
	    { "after", JSON_STRING, false } } },
	{ "queue-show", show_run, {
	    { "id", JSON_STRING, true }, { "content", JSON_TRUE, false } } },
	{ "queue-retry", retry_run, {
	    { "id", JSON_STRING, false }, { "domain", JSON_STRING, false } } },
	{ "status", status_run, { { NULL, JSON_NULL, false } } },
	{ "directory-reload", directory_run, {
	    { "users", JSON_INTEGER, false }, { "source", JSON_STRING, false } } },
	{ "report", report_run, { { "domain", JSON_STRING, false } } },
	{ NULL, NULL, { { NULL, JSON_NULL, false } } }
};
