// SPDX-License-Identifier: Apache-2.0
/* The commands that look at failover and switch it. docs/control.md says what they answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "queue/control_priv.h"
#include "queue/lookout.h"
#include "queue/report.h"
#include "queue/switch.h"

enum { COMMAND_REACH_DAYS = 366 };	/* how far ahead an end or a window may lie */

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

bool
command_means(struct request *rq)
{
	for (size_t i = 0; i < failover_count(rq->queue->failover); i++)
		if (command_group(rq, i) != NULL)
			return true;
	return false;
}

void
command_no_such(struct request *rq)
{
	const char *domain = request_string(rq, "domain");

	if (request_has(rq, "shard"))
		control_fail(rq, "no such domain or shard in the configuration: %.200s, shard \"%.64s\"",
		    domain, request_string(rq, "shard"));
	else
		control_fail(rq, "no such domain in the configuration: %.255s", domain);
}

static bool
reason_fits(struct request *rq)
{
	if (strlen(request_string(rq, "reason")) < FAILOVER_REASON_MAX)
		return true;
	control_fail(rq, "%s: the reason is longer than %d bytes", rq->command->name,
	    FAILOVER_REASON_MAX - 1);
	return false;
}

/* The end the request names, 0 for none. -1 after failing it. `from`: what for_ms counts
 * from. */
static int
request_until(struct request *rq, int64_t from, int64_t *out)
{
	static const int64_t reach = COMMAND_REACH_DAYS * 86400LL * 1000;
	int64_t now = clock_wall_ms();

	*out = 0;
	if (request_has(rq, "until_ms") && request_has(rq, "for_ms")) {
		control_fail(rq, "%s: either until_ms or for_ms", rq->command->name);
		return -1;
	}
	if (!request_has(rq, "until_ms") && !request_has(rq, "for_ms"))
		return 0;
	int64_t span = request_int(rq, "for_ms", 0);
	*out = request_has(rq, "until_ms") ? request_int(rq, "until_ms", 0) :
	    span > 0 && span <= reach ? from + span : now;
	if (*out > now && *out > from && *out - now <= reach)
		return 0;
	control_fail(rq, "%s: the end must lie after the %s and within %d days",
	    rq->command->name, from > now ? "beginning" : "present", COMMAND_REACH_DAYS);
	return -1;
}

static void
reply_set(struct request *rq, const struct failover_group *g)
{
	json_t *o = command_ok();

	json_object_set_new(o, "domain", json_string(g->domain));
	json_object_set_new(o, "mode", json_string(failover_mode_name(g->mode)));
	json_object_set_new(o, "phase", json_string(failover_phase_name(g->phase)));
	json_object_set_new(o, "until", report_time(g->until_ms));
	if (g->until_ms != 0)
		json_object_set_new(o, "then", json_string(failover_mode_name(g->base)));
	control_reply(rq, o);
}

void
command_failover_set(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	struct failover_group *last = NULL;
	enum conf_failover mode;
	int64_t until;

	if (failover_mode_parse(request_string(rq, "mode"), &mode) < 0) {
		control_fail(rq, "failover-set: mode is \"on\", \"off\" or \"auto\"");
		return;
	}
	if (!reason_fits(rq) || request_until(rq, clock_wall_ms(), &until) < 0)
		return;
	for (size_t i = 0; i < failover_count(f); i++) {
		struct failover_group *g = command_group(rq, i);

		if (g == NULL)
			continue;
		if (queue_switch_until(rq->queue, g, mode, until, rq->who,
		    request_string(rq, "reason")) < 0) {
			control_fail(rq, "%s%s%s: not switched: %s", g->domain,
			    g->shard[0] != '\0' ? "/" : "", g->shard, strerror(errno));
			return;
		}
		if (last == NULL || g->shard[0] == '\0')
			last = g;
	}
	if (last == NULL)
		command_no_such(rq);
	else
		reply_set(rq, last);
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
	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I, s:I}",
	    "domain", report_text(slice_str(g->domain)),
	    "shard", report_text(slice_str(g->shard)),
	    "mode", failover_mode_name(g->mode), "phase", failover_phase_name(g->phase),
	    "base", failover_mode_name(g->base), "until", report_time(g->until_ms),
	    "since", report_time(g->since_ms), "reason", report_text(slice_str(g->reason)),
	    "who", who, "phase_reason", report_text(slice_str(g->phase_reason)),
	    "phase_evidence", g->phase_evidence == NULL ? json_null() :
	    json_incref(g->phase_evidence), "probe", lookout_json(q->lookout, g), "held", (json_int_t)s.held,
	    "replaying", g->phase == PHASE_REPLAY ? (json_int_t)s.held : (json_int_t)0);
}

void
command_domains(struct request *rq, json_t *o,
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
		command_no_such(rq);
		return;
	}
	json_object_set_new(o, "domains", list);
	control_reply(rq, o);
}

void
command_failover_show(struct request *rq)
{
	command_domains(rq, command_ok(), group_json);
}

/* All served groups, for the status. */
json_t *
command_failover_list(struct queue *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < failover_count(q->failover); i++)
		if (failover_at(q->failover, i)->served)
			json_array_append_new(list, group_json(q, failover_at(q->failover, i)));
	return list;
}

/* ---- windows ---- */

static json_t *
window_json(const struct failover_window *w)
{
	char who[64];

	(void)snprintf(who, sizeof(who), "uid %u pid %d", (unsigned)w->who.uid, (int)w->who.pid);
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:s}", "window", (json_int_t)w->id,
	    "domain", report_text(slice_str(w->domain)),
	    "shard", w->shard == NULL ? json_null() : report_text(slice_str(w->shard)),
	    "from", report_time(w->from_ms), "until", report_time(w->until_ms),
	    "reason", report_text(slice_str(w->reason)), "who", who);
}

void
command_failover_schedule(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	struct failover_window w = { .from_ms = request_int(rq, "from_ms", 0), .who = rq->who };
	const struct failover_group *g = NULL;
	uint64_t id;

	if (!reason_fits(rq))
		return;
	for (size_t i = 0; i < failover_count(f) && g == NULL; i++)
		g = command_group(rq, i);
	if (g == NULL) {
		command_no_such(rq);
		return;
	}
	if (request_until(rq, w.from_ms, &w.until_ms) < 0)
		return;
	if (w.until_ms == 0) {
		control_fail(rq, "failover-schedule: a window needs an end: until_ms or for_ms");
		return;
	}
	w.domain = g->domain;
	w.shard = request_has(rq, "shard") ? g->shard : NULL;
	json_t *reason = json_object_get(rq->in, "reason");	/* UTF-8: it came as JSON */
	w.reason = (char *)(uintptr_t)json_string_value(reason);
	if (failover_window_add(f, &w, &id) < 0) {
		control_fail(rq, errno == ENOSPC && failover_windows(f) >= FAILOVER_WINDOWS_MAX ?
		    "there are too many windows: cancel some" : "not scheduled: %s", strerror(errno));
		return;
	}
	json_t *o = command_ok();
	json_object_update_new(o, window_json(failover_window(f, failover_windows(f) - 1)));
	control_reply(rq, o);
}

void
command_failover_windows(struct request *rq)
{
	struct failover *f = rq->queue->failover;
	const char *domain = request_string(rq, "domain");

	if (domain[0] != '\0' && !command_means(rq)) {
		command_no_such(rq);
		return;
	}
	json_t *o = command_ok(), *list = json_array();
	for (size_t i = 0; i < failover_windows(f); i++) {
		const struct failover_window *w = failover_window(f, i);

		if (domain[0] == '\0' || slice_ieq(slice_str(w->domain), slice_str(domain)))
			json_array_append_new(list, window_json(w));
	}
	json_object_set_new(o, "windows", list);
	control_reply(rq, o);
}

void
command_failover_cancel(struct request *rq)
{
	uint64_t id = (uint64_t)request_int(rq, "window", 0);

	if (!reason_fits(rq))
		return;
	if (failover_window_cancel(rq->queue->failover, id, rq->who, request_has(rq, "reason") ?
	    request_string(rq, "reason") : "cancelled") < 0) {
		control_fail(rq, errno == ENOENT ? "no such window: %llu (one that has begun is "
		    "ended by failover off)" : "window %llu not cancelled", (unsigned long long)id);
		return;
	}
	json_t *o = command_ok();
	json_object_set_new(o, "window", json_integer((json_int_t)id));
	control_reply(rq, o);
}
