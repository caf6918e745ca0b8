// SPDX-License-Identifier: Apache-2.0
#include "queue/legs_forward.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "queue/baseline.h"

enum { LEGS_BULK_CLASS = 3 /* spec 10.2 */ };
enum { LEGS_QUOTA_RETRY_MS = 3600 * 1000 };	/* spec 11.2: over quota, hourly */

/* ---- birth ---- */

static bool
is_for_node(const struct envelope *e)
{
	struct envelope_bounce b;

	return wire_get(e->bounce, &envelope_bounce_wire, &b) == 0 && b.leg == BOUNCE_LEG_NODE;
}

void
legs_birth(const struct conf *c, const struct failover_group *g, const struct envelope *e,
    const struct envelope_rcpt *r, struct spool_birth *out)
{
	out->hold = LEG_PARKED;
	out->forward = LEG_ABSENT;
	if (r->kind == RCPT_RETURN_PATH && is_for_node(e)) {
		out->hold = LEG_ABSENT;
		out->forward = LEG_WAITING;
		return;
	}
	if ((r->kind == RCPT_POSTMASTER && c->postmaster != NULL) || r->kind == RCPT_RETURN_PATH)
		out->hold = LEG_WAITING;
	if (r->kind != RCPT_USER || g == NULL || !g->served)
		return;
	switch (g->phase) {
	case PHASE_STANDBY:
		out->hold = LEG_WAITING;
		break;
	case PHASE_ACTIVE:
		/* tagged: seal is to say whether it is our own copy (9.1, attempt_tag.c) */
		if ((e->flags & (ENV_HOLD_ONLY | ENV_TAGGED)) != ENV_HOLD_ONLY &&
		    c->forwarder.domain != NULL)
			out->forward = LEG_WAITING;
		break;
	case PHASE_REPLAY:	/* before the backlog (11.5) */
		out->hold = LEG_WAITING;
		break;
	case PHASE_MAX:
		break;
	}
}

/* ---- small helpers ---- */

static bool
leg_open(const struct spool_leg *l)
{
	return l->state == LEG_WAITING || l->state == LEG_PARKED;
}

static void
change_note(struct legs_change *to, struct slice note)
{
	size_t n = note.n < LEGS_NOTE_MAX - 1 ? note.n : LEGS_NOTE_MAX - 1;
	size_t at = 0;

	/* Notes are tokens and reply codes; an address in one would break P4. */
	for (size_t i = 0; i < n; i++) {
		char ch = note.p[i];

		if (ch == '@') {
			at = 0;
			break;
		}
		to->note[at++] = ch > ' ' && ch < 0x7f ? ch : ' ';
	}
	to->note[at] = '\0';
}

void
legs_end(const struct spool_entry *e, enum leg_kind leg, enum leg_state st, uint16_t code,
    struct slice note, struct legs_change *to)
{
	to->leg = e->leg[leg];
	to->leg.state = (uint8_t)st;
	to->leg.next_ms = 0;
	to->leg.code = code;
	change_note(to, note);
}

static void
change_attempt(const struct spool_entry *e, enum leg_kind leg, struct legs_change *to)
{
	to->leg = e->leg[leg];
	if (to->leg.attempts < UINT16_MAX)
		to->leg.attempts++;
}

int64_t
legs_backoff(const struct conf *c, unsigned failures, uint32_t random)
{
	int64_t t = c->retry_min_ms;

	for (unsigned i = 1; i < failures && t < c->retry_max_ms; i++)
		t *= 2;
	if (t > c->retry_max_ms)
		t = c->retry_max_ms;
	return t - t / 5 + (int64_t)((double)(t * 2 / 5) * ((double)random / UINT32_MAX));
}

/* ---- routes ---- */

static struct slice
postmaster_domain(const struct conf *c)
{
	struct slice a = slice_str(c->postmaster);
	size_t at = slice_rfind(a, '@');

	return slice_sub(a, at < a.n ? at + 1 : a.n, a.n);
}

static int
route_conf(const struct conf_domain *d, struct slice shard, struct legs_route *out)
{
	const struct conf_route *r = conf_primary(d, shard);

	if (r == NULL)
		return -1;
	out->kind = r->kind;
	out->port = r->port;
	out->host = r->kind == ROUTE_MX ? d->name : r->host;
	return 0;
}

static int
route_postmaster(const struct conf *c, struct legs_route *out)
{
	if (c->postmaster == NULL)
		return -1;
	struct slice dom = postmaster_domain(c);
	if (dom.n == 0)
		return -1;
	const struct conf_domain *d = conf_domain_find(c, dom);
	out->rcpt = c->postmaster;
	if (d != NULL)
		return route_conf(d, SLICE_NONE, out);
	out->kind = ROUTE_MX;
	out->host = dom.p;
	return 0;
}

int
legs_route_key(const struct legs_route *r, char *key)
{
	static const char *const scheme[] = { [ROUTE_MX] = "mx", [ROUTE_SMTP] = "smtp",
		[ROUTE_LMTP] = "lmtp" };
	int n = r->kind == ROUTE_MX ? snprintf(key, DEST_KEY_MAX, "mx:%s", r->host) :
	    snprintf(key, DEST_KEY_MAX, "%s:%s:%u", scheme[r->kind], r->host, r->port);

	if (n <= 0 || n >= DEST_KEY_MAX)
		return -1;
	bytes_lower(key, (size_t)n);
	return 0;
}

int
legs_route_hold(const struct conf *c, struct failover *f, const struct spool_entry *e,
    struct legs_route *out, char *key)
{
	const struct failover_group *g = failover_find(f, e->group);

	*out = (struct legs_route){ .kind = ROUTE_MX };
	if (e->kind == RCPT_POSTMASTER) {
		if (route_postmaster(c, out) < 0)
			return -1;
	} else {
		const struct conf_domain *d = g == NULL || !g->served ? NULL :
		    conf_domain_find(c, slice_str(g->domain));

		if (d == NULL || route_conf(d, slice_str(g->shard), out) < 0)
			return -1;
	}
	if (out->host == NULL)
		return -1;
	return key == NULL ? 0 : legs_route_key(out, key);
}

/* ---- admission ---- */

/*
 * A next_ms further away than we ever set means that the wall clock was set back since:
 * such a leg is due, not lost for years.
 */
static bool
leg_due(const struct conf *c, const struct spool_leg *l, int64_t now)
{
	return l->next_ms <= now || l->next_ms - now >
	    3 * c->retry_max_ms + LEGS_QUOTA_RETRY_MS * 2 + LEGS_PUT_OFF_MAX_MS;
}

bool
legs_on_hold(const struct spool_leg *l)
{
	return l->state == LEG_PARKED && l->code == LEGS_CODE_OPERATOR;
}

bool
legs_to_bounce(const struct spool_leg *l)
{
	return l->state == LEG_WAITING && l->code == LEGS_CODE_BOUNCE;
}

bool
legs_is_backlog(const struct spool_entry *e)
{
	return e->kind == RCPT_USER && e->leg[LEG_HOLD].state == LEG_PARKED &&
	    e->leg[LEG_HOLD].attempts == 0 && !legs_on_hold(&e->leg[LEG_HOLD]);
}

/* Since it came, by the spool's clock: jumps of the wall clock make nothing old. */
static int64_t
age(const struct spool_entry *e, int64_t now)
{
	return now - (e->received_ms + e->shift_ms);
}

/*
 * Held long enough, and really tried: only answers that were about this mail count as
 * attempts, so an outage of the primary, or of ours, never ends in a bounce. Neither does
 * anything while its domain is in failover or replay (P2).
 */
bool
legs_retention_over(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, int64_t now)
{
	const struct spool_leg *l = &e->leg[LEG_HOLD];

	return e->kind == RCPT_USER && g != NULL && g->served && g->phase == PHASE_STANDBY &&
	    l->state == LEG_WAITING && l->attempts >= c->retention_attempts &&
	    age(e, now) > c->hold_retention_ms;
}

/* The postmaster's own domain may be the one in trouble. */
static bool
postmaster_reachable(const struct conf *c, struct failover *f)
{
	if (c->postmaster == NULL)
		return false;
	const struct failover_group *g = failover_of(f, postmaster_domain(c), SLICE_NONE);
	return g == NULL || g->phase != PHASE_ACTIVE;
}

static enum legs_verdict
admit_hold(const struct conf *c, struct failover *f, const struct spool_entry *e, int64_t now,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_HOLD];

	if (!leg_open(l))
		return LEGS_PASS;
	if (legs_to_bounce(l)) {
		legs_end(e, LEG_HOLD, LEG_FAILED, 0, SLICE_LIT("bounced"), to);
		return LEGS_SETTLE;
	}
	if (e->kind == RCPT_RETURN_PATH)
		return LEGS_READ;
	if (e->kind == RCPT_POSTMASTER) {
		if (l->state == LEG_PARKED || !postmaster_reachable(c, f))
			return LEGS_PASS;
		return leg_due(c, l, now) ? LEGS_RUN : LEGS_WAIT;
	}
	const struct failover_group *g = failover_find(f, e->group);
	if (g == NULL || !g->served || g->phase == PHASE_ACTIVE)
		return LEGS_PASS;
	if (l->state == LEG_PARKED)
		return legs_is_backlog(e) ? LEGS_RUN : LEGS_PASS;
	if (legs_retention_over(c, g, e, now)) {
		legs_end(e, LEG_HOLD, LEG_FAILED, l->code, SLICE_LIT(LEGS_NOTE_EXPIRED), to);
		return LEGS_SETTLE;
	}
	return leg_due(c, l, now) ? LEGS_RUN : LEGS_WAIT;
}

static enum legs_verdict
admit_forward(const struct conf *c, struct failover *f, const struct spool_entry *e, int64_t now,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];
	const struct failover_group *g = failover_find(f, e->group);
	bool peace = baseline_runs(c, g, e);

	if (l->state != LEG_WAITING)
		return LEGS_PASS;
	if (leg_settled(e->leg[LEG_HOLD].state) &&
	    !(peace && e->leg[LEG_HOLD].state == LEG_DELIVERED)) {
		legs_end(e, LEG_FORWARD, LEG_SKIPPED, l->code, SLICE_LIT("settled"), to);
		return LEGS_SETTLE;
	}
	if (g == NULL || !g->served || c->forwarder.domain == NULL)
		return LEGS_PASS;
	if (g->phase != PHASE_ACTIVE && !peace) {
		legs_end(e, LEG_FORWARD, LEG_SKIPPED, l->code, SLICE_LIT(LEGS_NOTE_OFF), to);
		return LEGS_SETTLE;
	}
	if (now > forward_ends_ms(c, e)) {
		legs_end(e, LEG_FORWARD, LEG_FAILED, l->code, SLICE_LIT(LEGS_NOTE_EXPIRED), to);
		return LEGS_SETTLE;
	}
	return leg_due(c, l, now) ? LEGS_RUN : LEGS_WAIT;
}

/* A notification of ours to a sender, or a report for another node: no failover, no hold leg,
 * the TTL of other copies. The latter was never mail of a user: nothing bounces. */
static enum legs_verdict
admit_notice(const struct conf *c, const struct spool_entry *e, int64_t now,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];

	if (l->state != LEG_WAITING)
		return LEGS_PASS;
	if (age(e, now) > c->forward_ttl_ms) {
		legs_end(e, LEG_FORWARD, e->kind == RCPT_NOTICE ? LEG_FAILED : LEG_SKIPPED, l->code,
		    SLICE_LIT(LEGS_NOTE_EXPIRED), to);
		return LEGS_SETTLE;
	}
	return leg_due(c, l, now) ? LEGS_RUN : LEGS_WAIT;
}

/* Its time is counted from when the mail came; next_ms follows, for the feed. */
static enum legs_verdict
admit_reminder(const struct conf *c, const struct spool_entry *e, int64_t now,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];
	int64_t due = e->received_ms + e->shift_ms + c->delay_notice_ms;

	if (l->state != LEG_WAITING)
		return LEGS_PASS;
	if (now >= due)
		return LEGS_READ;
	if (l->next_ms == due)
		return LEGS_WAIT;
	legs_end(e, LEG_FORWARD, LEG_WAITING, 0, SLICE_NONE, to);
	to->leg.next_ms = due;
	return LEGS_SETTLE;
}

enum legs_verdict
legs_admit(const struct conf *c, struct failover *f, const struct spool_entry *e,
    enum leg_kind leg, int64_t now, struct legs_change *to)
{
	if (legs_on_hold(&e->leg[leg]))
		return LEGS_PASS;
	if (leg == LEG_FORWARD && (e->kind == RCPT_NOTICE || e->kind == RCPT_RETURN_PATH))
		return admit_notice(c, e, now, to);
	if (leg == LEG_FORWARD && e->kind == RCPT_REMINDER)
		return admit_reminder(c, e, now, to);
	return leg == LEG_HOLD ? admit_hold(c, f, e, now, to) : admit_forward(c, f, e, now, to);
}

/* ---- results ---- */

static void
park_refused(const struct spool_entry *e, const struct queue_delivered *r, const char *what,
    struct legs_change *to)
{
	char note[LEGS_NOTE_MAX];

	(void)snprintf(note, sizeof(note), "%s %u %.*s", what, r->code,
	    r->enhanced.n > 12 ? 12 : SLICE_FMT(r->enhanced));
	change_attempt(e, LEG_HOLD, to);
	struct spool_entry tried = *e;
	tried.leg[LEG_HOLD] = to->leg;
	legs_end(&tried, LEG_HOLD, LEG_PARKED, r->code, slice_trim(slice_str(note)), to);
}

static bool
over_quota(const struct queue_delivered *r)	/* 552 5.2.2, spec 11.2 */
{
	return slice_eq(r->enhanced, SLICE_LIT("5.2.2")) || slice_eq(r->enhanced, SLICE_LIT("4.2.2"));
}

static enum legs_after
hold_later(const struct conf *c, const struct failover_group *g, const struct spool_entry *e,
    const struct queue_delivered *r, int64_t now, uint32_t random, struct legs_change *to)
{
	char note[LEGS_NOTE_MAX] = "";

	if (e->kind == RCPT_USER && g != NULL && g->phase == PHASE_ACTIVE) {
		legs_end(e, LEG_HOLD, LEG_PARKED, r->code, SLICE_NONE, to);
		to->leg.attempts = 0;	/* failover came meanwhile: it joins the backlog */
		return LEGS_DONE;
	}
	change_attempt(e, LEG_HOLD, to);
	to->leg.state = LEG_WAITING;
	to->leg.code = r->code;
	int64_t wait = legs_backoff(c, to->leg.attempts, random);
	if (over_quota(r) && wait < LEGS_QUOTA_RETRY_MS)
		wait = LEGS_QUOTA_RETRY_MS < c->retry_max_ms ? LEGS_QUOTA_RETRY_MS : c->retry_max_ms;
	to->leg.next_ms = now + wait;
	if (r->outcome == DELIVER_UNKNOWN)
		(void)snprintf(note, sizeof(note), "lost-after-data");
	else if (r->code != 0)
		(void)snprintf(note, sizeof(note), "%u %.*s", r->code,
		    r->enhanced.n > 12 ? 12 : SLICE_FMT(r->enhanced));
	change_note(to, slice_trim(slice_str(note)));
	return LEGS_RETRY;
}

static enum legs_after
result_hold(const struct conf *c, const struct failover_group *g, const struct spool_entry *e,
    const struct queue_delivered *r, int64_t now, uint32_t random, struct legs_change *to)
{
	switch ((enum deliver_outcome)r->outcome) {
	case DELIVER_OK:
		change_attempt(e, LEG_HOLD, to);
		to->leg.state = LEG_DELIVERED;
		to->leg.next_ms = now;	/* for a second replay: since when the primary has it */
		to->leg.code = r->code;
		to->note[0] = '\0';
		return LEGS_DONE;
	case DELIVER_TEMP:
		if (r->scope == SCOPE_HOST)
			return LEGS_HOST;
		return hold_later(c, g, e, r, now, random, to);
	case DELIVER_UNKNOWN:	/* spec 11.2: redeliver */
		return hold_later(c, g, e, r, now, random, to);
	case DELIVER_PERM:
		if (r->scope == SCOPE_HOST)	/* "554 no service": of the host, not of the mail */
			return LEGS_HOST;
		if (over_quota(r))
			return hold_later(c, g, e, r, now, random, to);
		park_refused(e, r, "primary-refused", to);
		return LEGS_DONE;
	case DELIVER_LOCAL:
		park_refused(e, r, "not-sendable", to);
		return LEGS_DONE;
	case DELIVER_MAX:
		break;
	}
	return LEGS_HOST;
}

enum legs_after
legs_result(const struct conf *c, const struct failover_group *g, const struct spool_entry *e,
    const struct queue_delivered *r, int64_t now, uint32_t random, struct legs_change *to)
{
	return result_hold(c, g, e, r, now, random, to);
}

/* ---- switches and operators ---- */

static bool
forward_start(const struct spool_entry *e, int64_t now, struct legs_change *to)
{
	legs_end(e, LEG_FORWARD, LEG_WAITING, 0, SLICE_NONE, to);
	to->leg.attempts = 0;
	to->leg.next_ms = now;
	return true;
}

/* Mail that waited before: news of last week is no help, and costs the copies of today. */
static bool
backlog_forwards(const struct conf *c, const struct spool_entry *e, int64_t now)
{
	if (age(e, now) > c->forward_backlog_age_ms)
		return false;
	return c->forward_backlog_bulk || e->triage < LEGS_BULK_CLASS;
}

bool
legs_switch_on(const struct conf *c, const struct spool_entry *e, enum leg_kind leg,
    const char *note, int64_t now, struct legs_change *to)
{
	const struct spool_leg *h = &e->leg[LEG_HOLD];

	if (e->kind != RCPT_USER || !leg_open(h) || legs_on_hold(h) || legs_to_bounce(h))
		return false;
	if (leg == LEG_HOLD) {
		if (legs_is_backlog(e))
			return false;
		legs_end(e, LEG_HOLD, LEG_PARKED, h->code, SLICE_NONE, to);
		to->leg.attempts = 0;
		return true;
	}
	if (e->hold_only || c->forwarder.domain == NULL || !backlog_forwards(c, e, now))
		return false;
	if (e->leg[LEG_FORWARD].state == LEG_ABSENT)
		return forward_start(e, now, to);
	if (e->leg[LEG_FORWARD].state == LEG_SKIPPED && (strcmp(note, LEGS_NOTE_OFF) == 0 ||
	    strcmp(note, TARGET_NO_BASELINE) == 0))
		return forward_start(e, now, to);
	return false;
}

bool
legs_switch_off(const struct spool_entry *e, enum leg_kind leg, const char *note,
    struct legs_change *to)
{
	(void)note;
	if (e->kind != RCPT_USER || legs_on_hold(&e->leg[LEG_HOLD]))
		return false;
	if (leg == LEG_FORWARD) {
		if (e->leg[LEG_FORWARD].state != LEG_WAITING)
			return false;
		legs_end(e, LEG_FORWARD, LEG_SKIPPED, e->leg[LEG_FORWARD].code,
		    SLICE_LIT(LEGS_NOTE_OFF), to);
		return true;
	}
	if (e->leg[LEG_HOLD].state != LEG_PARKED || e->leg[LEG_HOLD].attempts == 0)
		return false;
	legs_end(e, LEG_HOLD, LEG_PARKED, e->leg[LEG_HOLD].code, SLICE_NONE, to);
	to->leg.attempts = 0;	/* refused before: the next change is a new chance */
	return true;
}

bool
legs_operator_bounce(const struct spool_entry *e, const char *note, int64_t now,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_HOLD];

	if (e->kind != RCPT_USER || l->state != LEG_PARKED || l->attempts == 0 || legs_on_hold(l))
		return false;
	legs_end(e, LEG_HOLD, LEG_WAITING, LEGS_CODE_BOUNCE, slice_str(note), to);
	to->leg.next_ms = now;
	return true;
}

bool
legs_refused_over(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, int64_t now)
{
	const struct spool_leg *l = &e->leg[LEG_HOLD];

	return e->kind == RCPT_USER && g != NULL && g->served && failover_believes(g) &&
	    l->state == LEG_PARKED && l->attempts > 0 && l->code >= 500 && l->code <= 599 &&
	    age(e, now) > c->hold_retention_ms;
}

bool
legs_refused_end(const struct conf *c, const struct spool_entry *e, const char *note, int64_t now,
    struct legs_change *to)
{
	if (e->leg[LEG_HOLD].attempts >= c->retention_attempts)
		return legs_operator_bounce(e, note, now, to);
	legs_end(e, LEG_HOLD, LEG_WAITING, 0, SLICE_NONE, to);
	to->leg.next_ms = now;
	return false;
}

bool
legs_operator_retry(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, enum leg_kind leg, const char *note, int64_t now,
    struct legs_change *to)
{
	bool active = g != NULL && g->served && g->phase == PHASE_ACTIVE;
	const struct spool_leg *l = &e->leg[leg];

	if (legs_on_hold(&e->leg[LEG_HOLD]) || legs_to_bounce(&e->leg[LEG_HOLD]))
		return false;
	if (leg == LEG_FORWARD) {
		if (!active || e->hold_only || c->forwarder.domain == NULL ||
		    !leg_open(&e->leg[LEG_HOLD]))
			return false;
		if (l->state == LEG_SKIPPED)
			return forward_start(e, now, to);
		if (l->state != LEG_WAITING)
			return false;	/* FAILED after 5yz: never again (8.5) */
		legs_end(e, LEG_FORWARD, LEG_WAITING, l->code, slice_str(note), to);
		to->leg.next_ms = now;
		return true;
	}
	if (!leg_open(l))
		return false;
	legs_end(e, LEG_HOLD, LEG_WAITING, l->code, SLICE_NONE, to);
	to->leg.attempts = 0;
	to->leg.next_ms = now;
	/* In a replay it joins the backlog: as WAITING it would pass for new mail. */
	if (e->kind == RCPT_USER && (g == NULL || !g->served || active ||
	    g->phase == PHASE_REPLAY)) {
		to->leg.state = LEG_PARKED;
		to->leg.next_ms = 0;
		return l->attempts != 0 || l->state != LEG_PARKED;
	}
	return true;
}

bool
legs_again(const struct spool_entry *e, int64_t since, struct legs_change *to)
{
	const struct spool_leg *h = &e->leg[LEG_HOLD];
	int64_t when = h->next_ms > e->received_ms ? h->next_ms : e->received_ms;

	if (e->kind != RCPT_USER || h->state != LEG_DELIVERED || when < since)
		return false;
	legs_end(e, LEG_HOLD, LEG_PARKED, 0, SLICE_NONE, to);
	to->leg.attempts = 0;
	return true;
}
