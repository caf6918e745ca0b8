// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "queue/lookout_priv.h"
#include "queue/report.h"

static const char *const outcome_names[PROBE_OUTCOME_MAX] = {
	"ok", "put-off", "refused", "silent", "no-connection", "not-made"
};
static const char *const stage_names[PROBE_STAGE_MAX] = {
	"connect", "greeting", "hello", "starttls", "mail", "rcpt", "data", "end"
};
static const char *const depth_names[] = { "connect", "greeting", "rcpt", "data" };

const char *
lookout_outcome_name(uint8_t o)
{
	return o < PROBE_OUTCOME_MAX ? outcome_names[o] : "?";
}

static const char *
stage_name(uint8_t s)
{
	return s < PROBE_STAGE_MAX ? stage_names[s] : "?";
}

void
lookout_place_words(const struct place *p, char *out, size_t cap)
{
	bool six = strchr(p->host, ':') != NULL;

	if (p->route == ROUTE_MX)
		(void)snprintf(out, cap, "mx of %s", p->host);
	else
		(void)snprintf(out, cap, "%s://%s%s%s:%u", p->route == ROUTE_LMTP ? "lmtp" : "smtp",
		    six ? "[" : "", p->host, six ? "]" : "", p->port);
}

static const struct answer *
last_answer(const struct place *p)
{
	return p->nrecent == 0 ? NULL : &p->recent[(p->at + LOOKOUT_RECENT - 1) % LOOKOUT_RECENT];
}

static int64_t
wall_of(int64_t mono_ms)
{
	return clock_wall_ms() - (clock_mono_ms() - mono_ms);
}

static json_t *
recent_json(const struct place *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->nrecent; i++) {
		unsigned at = (p->at + LOOKOUT_RECENT - p->nrecent + i) % LOOKOUT_RECENT;
		const struct answer *a = &p->recent[at];

		json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:i, s:I}", "time",
		    report_time(a->wall_ms), "result", lookout_outcome_name(a->outcome), "stage",
		    stage_name(a->stage), "code", a->code, "ms", (json_int_t)a->latency_ms));
	}
	return list;
}

static json_t *
sums_json(const struct seat *s)
{
	struct health_sums d = health_sums(&s->health, clock_mono_ms());

	return json_pack("{s:I, s:I, s:I}", "took", (json_int_t)d.took, "put_off",
	    (json_int_t)d.put_off, "no_user", (json_int_t)d.no_user);
}

/* What the audit log and the status have in common. */
static json_t *
seat_json(const struct lookout *l, const struct seat *s)
{
	const struct place *p = &l->place[s->place];
	char words[400];

	lookout_place_words(p, words, sizeof(words));
	json_t *o = json_pack("{s:o, s:s, s:I, s:I, s:I, s:o, s:o, s:o}",
	    "place", report_text(slice_str(words)), "depth", depth_names[p->depth],
	    "failed_in_row", (json_int_t)s->health.bad_row,
	    "good_in_row", (json_int_t)s->health.good_row,
	    "latency_ms", (json_int_t)health_latency(&s->health, s->rules.percentile),
	    "deliveries", sums_json(s), "recent", recent_json(p),
	    "text", report_text(slice_str(p->text)));
	return o;
}

json_t *
lookout_evidence(const struct lookout *l, const struct seat *s, enum health_cause c)
{
	json_t *o = seat_json(l, s);

	json_object_set_new(o, "cause", json_string(health_cause_name(c)));
	json_object_set_new(o, "since", report_time(wall_of(s->health.since_ms)));
	return o;
}

void
lookout_words(const struct lookout *l, const struct seat *s, enum health_cause c, char *out,
    size_t cap)
{
	const struct place *p = &l->place[s->place];
	const struct answer *a = last_answer(p);
	struct health_sums d = health_sums(&s->health, clock_mono_ms());
	unsigned all = d.took + d.put_off + d.no_user;

	switch (c) {
	case HEALTH_BY_PROBES:
		(void)snprintf(out, cap, "%u probes failed, the last one: %s: %.200s",
		    s->health.bad_row, a == NULL ? "delivery" : stage_name(a->stage), p->text);
		break;
	case HEALTH_BY_LATENCY:
		(void)snprintf(out, cap, "%u %% of the probes take up to %lld ms, more than "
		    "latency-max %lld ms", s->rules.percentile,
		    (long long)health_latency(&s->health, s->rules.percentile),
		    (long long)s->rules.latency_max_ms);
		break;
	case HEALTH_BY_DELIVERIES:
		(void)snprintf(out, cap, "%u of %u deliveries were put off in 60 s",
		    d.put_off + d.no_user, all);
		break;
	case HEALTH_BY_REFUSALS:
		(void)snprintf(out, cap, "%u of %u deliveries were refused in 60 s, for users of the "
		    "directory", d.no_user, all);
		break;
	case HEALTH_BY_RECOVERY:
		(void)snprintf(out, cap, "%u probes in a row succeeded", s->health.good_row);
		break;
	case HEALTH_CAUSE_MAX:
		break;
	}
}

json_t *
lookout_json(struct lookout *l, const struct failover_group *g)
{
	const struct seat *s = lookout_seat(l, g->id);

	if (s == NULL || !s->probed)
		return json_null();
	const struct place *p = &l->place[s->place];
	const struct answer *a = last_answer(p);
	json_t *o = seat_json(l, s);
	json_object_set_new(o, "last", a == NULL ? json_null() : report_time(a->wall_ms));
	json_object_set_new(o, "result", a == NULL ? json_null() :
	    json_string(lookout_outcome_name(a->outcome)));
	json_object_set_new(o, "stage", a == NULL ? json_null() : json_string(stage_name(a->stage)));
	json_object_set_new(o, "next", report_time(p->req != 0 ? clock_wall_ms() :
	    wall_of(p->next_ms)));
	json_object_set_new(o, "enter_after", json_integer(s->rules.enter_after));
	json_object_set_new(o, "leave_after", json_integer(s->rules.leave_after));
	json_object_set_new(o, "leave_not_before", g->phase == PHASE_ACTIVE ?
	    report_time(wall_of(s->health.entered_ms + health_settle(&s->health, &s->rules))) :
	    json_null());
	json_object_set_new(o, "slow", json_boolean(s->health.slow));
	json_object_set_new(o, "probes", json_integer((json_int_t)s->health.probes));
	json_object_set_new(o, "failed", json_integer((json_int_t)s->health.failed));
	json_object_set_new(o, "relapses", json_integer(s->health.relapses));
	return o;
}

json_t *
lookout_metrics(const struct lookout *l)
{
	size_t wanted = 0, dark = 0;

	for (size_t i = 0; i < l->nplace; i++) {
		wanted += l->place[i].wanted;
		dark += l->place[i].wanted && l->place[i].view.dark;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "places", (json_int_t)wanted,
	    "places_dark", (json_int_t)dark, "probes", (json_int_t)l->sent, "good",
	    (json_int_t)l->good, "bad", (json_int_t)l->bad, "no_connection",
	    (json_int_t)l->dark, "not_made", (json_int_t)l->local, "own_network_fault", l->fault);
}
