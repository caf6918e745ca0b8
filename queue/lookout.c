// SPDX-License-Identifier: Apache-2.0
#include "queue/lookout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/alarm.h"
#include "queue/lookout_priv.h"
#include "queue/switch.h"

enum {
	LOOKOUT_TICK_MS = 200,
	LOOKOUT_FLIGHT_MAX = 512,	/* probes under way */
	LOOKOUT_GRACE_MS = 5000,	/* a relay answers by the timeout and this */
	LOOKOUT_AGAIN_MS = 2000,	/* after trouble of our own */
	LOOKOUT_UNSURE_MS = 60 * 1000,	/* then those that cannot be looked at do not matter */
	LOOKOUT_STILL_MS = 60 * 1000,	/* no relay took a probe for so long: alarm */
	LOOKOUT_STORM_MS = 10 * 60 * 1000,	/* distrust lasts so long after the last storm */
	LOOKOUT_REFUSED_MS = 3600 * 1000	/* an alarm of one refusal */
};

/* ---- giving out ---- */

static struct ipc *
probing_relay(struct lookout *l, unsigned *index)
{
	for (unsigned i = 0; i < ROLE_PEERS_MAX; i++) {
		struct ipc *ch = role_link(l->queue->role, ROLE_RELAY, i);

		if (ch == NULL)
			continue;
		*index = i;
		return ch;
	}
	return NULL;
}

/* False: nobody can do it now. */
static bool
place_ask(struct lookout *l, struct place *p, int64_t now)
{
	unsigned relay = 0;
	struct ipc *ch = probing_relay(l, &relay);
	const struct queue_probe q = {
		.req = (uint64_t)l->generation << 32 | ++l->sequence, .route = p->route,
		.depth = p->depth, .port = p->port, .timeout_ms = (uint32_t)p->timeout_ms,
		.host = slice_str(p->host), .canary = slice_str(p->canary) };

	if (ch == NULL || ipc_send(ch, QUEUE_PROBE, &queue_probe_wire, &q, -1) < 0)
		return false;
	p->req = q.req;
	p->relay = relay;
	p->until_ms = now + p->timeout_ms + LOOKOUT_GRACE_MS;
	l->sent++;
	l->sent_ms = now;
	return true;
}

/* References are only asked while something is dark. */
static bool
references_wanted(const struct lookout *l)
{
	for (size_t i = 0; i < l->nplace; i++)
		if (!l->place[i].reference && l->place[i].wanted && l->place[i].view.dark)
			return true;
	return l->fault;
}

static void
places_ask(struct lookout *l, int64_t now)
{
	bool references = references_wanted(l), due = false;
	unsigned flight = 0;

	for (size_t i = 0; i < l->nplace; i++)
		flight += l->place[i].req != 0;
	for (size_t i = 0; i < l->nplace && flight < LOOKOUT_FLIGHT_MAX; i++) {
		struct place *p = &l->place[i];

		if (p->reference ? !references : !p->wanted)
			continue;
		if (p->req != 0 || p->next_ms > now)
			continue;
		due = true;
		if (!place_ask(l, p, now))
			break;
		flight++;
	}
	if (due && now - l->sent_ms > LOOKOUT_STILL_MS)
		(void)alarm_raise(l->queue->alarms, "probes-stand-still", "", "", LOOKOUT_STILL_MS,
		    "no relay process takes probes", "look at the log for role-died");
}

/* ---- answers ---- */

static int64_t
jitter(int64_t ms)
{
	uint32_t r;

	crypto_random(&r, sizeof(r));
	return ms - ms / 20 + (int64_t)(r % (uint64_t)(ms / 10 + 1));
}

static void
place_again(struct place *p, int64_t now, int64_t after)
{
	p->req = 0;
	p->next_ms = now + after;
}

static bool
canary_unwelcome(const struct place *p, const struct queue_probed *r)
{
	return r->outcome == PROBE_REFUSED && r->stage >= PROBE_AT_RCPT && !p->welcome;
}

/* What it says of the primary; false: nothing. */
static bool
answer_seen(struct place *p, const struct queue_probed *r, enum health_seen *seen)
{
	switch ((enum probe_outcome)r->outcome) {
	case PROBE_OK:
		p->welcome = true;
		*seen = HEALTH_GOOD;
		return true;
	case PROBE_REFUSED:
		*seen = HEALTH_BAD;
		return !canary_unwelcome(p, r);
	case PROBE_PUT_OFF:
	case PROBE_SILENT:
		*seen = HEALTH_BAD;
		return true;
	case PROBE_DARK:
		*seen = HEALTH_DARK;
		return true;
	case PROBE_LOCAL:
	case PROBE_OUTCOME_MAX:
		break;
	}
	return false;
}

static void
place_note(struct place *p, const struct queue_probed *r)
{
	p->recent[p->at] = (struct answer){ clock_wall_ms(), r->outcome, r->stage, r->code,
		r->latency_ms };
	p->at = (p->at + 1) % LOOKOUT_RECENT;
	if (p->nrecent < LOOKOUT_RECENT)
		p->nrecent++;
	(void)snprintf(p->text, sizeof(p->text), "%.*s", SLICE_FMT(r->text));
}

static void
place_view(struct place *p, enum health_seen seen, int64_t now)
{
	bool dark = seen == HEALTH_DARK;

	if (dark && !p->view.dark)
		p->view.dark_ms = now;
	p->view.seen = true;
	p->view.dark = dark;
	p->view.last_ms = now;
}

static void
place_answered(struct lookout *l, size_t at, const struct queue_probed *r, int64_t now)
{
	struct place *p = &l->place[at];
	enum health_seen seen = HEALTH_GOOD;
	bool says = answer_seen(p, r, &seen);

	place_note(p, r);
	place_again(p, now, says ? jitter(p->every_ms) : LOOKOUT_AGAIN_MS);
	if (!says) {
		l->local++;
		if (canary_unwelcome(p, r)) {
			p->next_ms = now + jitter(p->every_ms);
			(void)alarm_raise(l->queue->alarms, "canary-refused", p->canary, "",
			    2 * p->every_ms + p->timeout_ms, p->text,
			    "make that mailbox at the primary, or name another as canary");
		}
		return;
	}
	l->good += seen == HEALTH_GOOD;
	l->bad += seen == HEALTH_BAD;
	l->dark += seen == HEALTH_DARK;
	place_view(p, seen, now);
	for (size_t i = 0; i < l->nseat; i++)
		if (l->seat[i].place == at && l->seat[i].probed)
			health_probed(&l->seat[i].health, &l->seat[i].rules, now, seen, r->latency_ms);
	if (seen != HEALTH_GOOD)
		log_info("probe-failed", "host=%s port=%u outcome=%s stage=%u code=%u ms=%u text=%s",
		    log_escs(p->host), p->port, lookout_outcome_name(r->outcome), r->stage, r->code,
		    r->latency_ms, log_escs(p->text));
}

int
lookout_answer(struct lookout *l, unsigned relay, struct slice body)
{
	struct queue_probed r;

	if (wire_get(body, &queue_probed_wire, &r) < 0)
		return -1;
	for (size_t i = 0; i < l->nplace; i++) {
		if (l->place[i].req != r.req || r.req == 0 || l->place[i].relay != relay)
			continue;
		place_answered(l, i, &r, clock_mono_ms());
		return 0;
	}
	return 0;	/* late, or of an older map */
}

void
lookout_link_down(struct lookout *l, unsigned relay)
{
	for (size_t i = 0; i < l->nplace; i++)
		if (l->place[i].req != 0 && l->place[i].relay == relay)
			place_again(&l->place[i], clock_mono_ms(), 0);
}

/* ---- deliveries ---- */

static bool
says_no_user(const struct queue_delivered *r)
{
	static const char *const codes[] = { "5.1.1", "5.1.0", "5.1.2", "5.1.3", "5.1.6", "5.1.10",
		"5.2.1", NULL };

	for (size_t i = 0; codes[i] != NULL; i++)
		if (slice_eq(r->enhanced, slice_str(codes[i])))
			return true;
	return r->enhanced.n == 0 && r->scope == SCOPE_RCPT && (r->code == 550 || r->code == 551);
}

static bool
about_quota(const struct queue_delivered *r)
{
	return slice_eq(r->enhanced, SLICE_LIT("4.2.2")) || slice_eq(r->enhanced, SLICE_LIT("5.2.2"));
}

/* False: it says nothing of the primary. */
static bool
delivery_means(const struct queue_delivered *r, enum health_delivery *d)
{
	bool host = r->scope == SCOPE_HOST;

	switch ((enum deliver_outcome)r->outcome) {
	case DELIVER_OK:
		*d = HEALTH_TOOK;
		return true;
	case DELIVER_TEMP:
		*d = host ? HEALTH_HOST_DOWN : about_quota(r) ? HEALTH_TOOK : HEALTH_PUT_OFF;
		return true;
	case DELIVER_UNKNOWN:
		*d = HEALTH_PUT_OFF;
		return true;
	case DELIVER_PERM:
		*d = host ? HEALTH_HOST_DOWN : says_no_user(r) ? HEALTH_NO_USER : HEALTH_TOOK;
		return true;
	case DELIVER_LOCAL:
	case DELIVER_MAX:
		break;
	}
	return false;
}

void
lookout_delivered(struct lookout *l, uint64_t group, const struct queue_delivered *r)
{
	const struct failover_group *g = failover_find(l->queue->failover, group);
	struct seat *s = lookout_seat(l, group);
	enum health_delivery d = HEALTH_TOOK;

	if (g == NULL || s == NULL || !delivery_means(r, &d))
		return;
	health_delivered(&s->health, &s->rules, clock_mono_ms(), d);
	/* Whatever the reason, nobody else tells the operator that this mail waits for him. */
	if (r->outcome != DELIVER_PERM || r->scope == SCOPE_HOST || about_quota(r))
		return;
	s->refused = true;
	(void)alarm_raise(l->queue->alarms, "primary-refused", g->domain, g->shard,
	    LOOKOUT_REFUSED_MS, d == HEALTH_NO_USER ? "the primary does not know a user of the "
	    "directory; the mail is held" : "the primary refuses mail of a user of the directory; "
	    "it is held", "queue list --state refused shows it; mend the primary or the directory, "
	    "then: salvaposta queue retry; or, when it is right: salvaposta queue bounce");
}

/* ---- decisions ---- */

static void
alarm_audit(struct lookout *l, const char *event, const struct failover_group *g,
    const char *reason, json_t *evidence)
{
	const struct audit_record r = { .event = event, .who = { geteuid(), 0 },
		.domain = g == NULL ? NULL : g->domain, .shard = g == NULL ? NULL : g->shard,
		.reason = reason, .evidence = evidence };

	if (audit_write(l->queue->audit, &r) < 0)
		log_error("audit", "event=%s error=%s", event, "\"not written\"");
	json_decref(evidence);
}

static void
fault_begins(struct lookout *l, const struct seat *s, int64_t now)
{
	static const char text[] = "all primaries are out of reach at once: this relay's own "
	    "network is suspected, and no failover begins by itself";

	(void)alarm_raise(l->queue->alarms, "own-network", "", "", 0, text,
	    "mend the network; if it is the primaries after all: salvaposta failover on");
	if (l->fault)
		return;
	l->fault = true;
	l->fault_ms = now;
	alarm_audit(l, "alarm-own-network", NULL, text,
	    lookout_evidence(l, s, HEALTH_BY_PROBES));
}

/* Something answers again: what failed meanwhile has to fail anew. */
static void
fault_ends(struct lookout *l)
{
	bool lit = false, references = l->queue->role->conf->nprobe_reference > 0;

	for (size_t i = 0; i < l->nplace; i++) {
		const struct place *p = &l->place[i];

		if (p->reference == references && (p->wanted || references) && p->view.seen &&
		    !p->view.dark && p->view.last_ms > l->fault_ms)
			lit = true;
	}
	if (!l->fault || !lit)
		return;
	l->fault = false;
	for (size_t i = 0; i < l->nseat; i++)
		if (l->seat[i].health.last == HEALTH_DARK)
			health_forgive(&l->seat[i].health);
	(void)alarm_clear(l->queue->alarms, "own-network", "", "");
	alarm_audit(l, "alarm-over", NULL, "own-network", NULL);
}

static size_t
views_of(const struct lookout *l, bool reference, struct health_view *out)
{
	size_t n = 0;

	for (size_t i = 0; i < l->nplace; i++)
		if (l->place[i].reference == reference && (reference || l->place[i].wanted))
			out[n++] = l->place[i].view;
	return n;
}

/* The places whose word is older than the darkness are looked at now. */
static void
places_hurry(struct lookout *l, int64_t dark_ms, int64_t now)
{
	for (size_t i = 0; i < l->nplace; i++) {
		struct place *p = &l->place[i];

		if (p->req == 0 && p->next_ms > now && (!p->view.seen || p->view.last_ms < dark_ms))
			p->next_ms = now;
	}
}

/* Is this entry to be made, or is it our own network, or not known yet? */
static bool
entry_granted(struct lookout *l, struct seat *s, int64_t now)
{
	if (s->health.last != HEALTH_DARK)
		return true;	/* it answers: the network works */
	struct health_view *v = mem_array(2 * l->nplace, sizeof(*v));
	size_t n = views_of(l, false, v), nr = views_of(l, true, v + n);
	enum health_network is = health_network(v, n, v + n, nr, s->health.dark_ms);
	free(v);
	switch (is) {
	case HEALTH_NETWORK_FINE:
		return true;
	case HEALTH_NETWORK_FAULT:
		fault_begins(l, s, now);
		return false;
	case HEALTH_NETWORK_UNSURE:
		break;
	}
	places_hurry(l, s->health.dark_ms, now);
	if (s->unsure_ms == 0)
		s->unsure_ms = now;
	return now - s->unsure_ms > LOOKOUT_UNSURE_MS && !l->fault;
}

static void
seat_enter(struct lookout *l, struct seat *s, struct failover_group *g, enum health_cause cause,
    int64_t now)
{
	char words[FAILOVER_REASON_MAX];

	if (!entry_granted(l, s, now))
		return;
	lookout_words(l, s, cause, words, sizeof(words));
	json_t *evidence = lookout_evidence(l, s, cause);
	if (queue_phase(l->queue, g, PHASE_ACTIVE, words, evidence) == 0) {
		health_entered(&s->health, now);
		s->phase = g->phase;
		s->unsure_ms = 0;
	}
	json_decref(evidence);
}

static void
seat_leave(struct lookout *l, struct seat *s, struct failover_group *g, int64_t now)
{
	char words[FAILOVER_REASON_MAX];

	lookout_words(l, s, HEALTH_BY_RECOVERY, words, sizeof(words));
	json_t *evidence = lookout_evidence(l, s, HEALTH_BY_RECOVERY);
	if (queue_phase(l->queue, g, PHASE_REPLAY, words, evidence) == 0) {
		health_left(&s->health, now);
		s->phase = g->phase;
	}
	json_decref(evidence);
}

/* Users of the snapshot refused in numbers: nothing of what it says of users is believed. */
static void
seat_storm(struct lookout *l, struct seat *s, struct failover_group *g, bool storm, int64_t now)
{
	char words[FAILOVER_REASON_MAX];

	if (storm) {
		s->refused_ms = now;
		lookout_words(l, s, HEALTH_BY_REFUSALS, words, sizeof(words));
		if (alarm_raise(l->queue->alarms, "primary-refuses", g->domain, g->shard,
		    LOOKOUT_STORM_MS, words, "the store has lost its users? Mend it, then: salvaposta "
		    "queue retry"))
			alarm_audit(l, "alarm-primary-refuses", g, words,
			    lookout_evidence(l, s, HEALTH_BY_REFUSALS));
	}
	g->distrust = s->refused_ms != 0 && now - s->refused_ms < LOOKOUT_STORM_MS;
}

/* It is the operator who decides here: tell him. */
static void
seat_tell(struct lookout *l, struct seat *s, const struct failover_group *g, bool failing,
    enum health_cause cause)
{
	char words[FAILOVER_REASON_MAX];

	if (!failing) {
		(void)alarm_clear(l->queue->alarms, "primary-down", g->domain, g->shard);
		return;
	}
	lookout_words(l, s, cause, words, sizeof(words));
	(void)alarm_raise(l->queue->alarms, "primary-down", g->domain, g->shard, 0, words,
	    "failover is off: salvaposta failover on, or auto");
}

static void
seat_sync(struct seat *s, const struct failover_group *g, int64_t now)
{
	if (s->phase == g->phase)
		return;
	if (g->phase == PHASE_ACTIVE)
		health_entered(&s->health, now);
	else if (s->phase == PHASE_ACTIVE)
		health_left(&s->health, now);
	s->phase = g->phase;
}

/* The alarm of what was refused ends with the last of it, at the latest. */
static void
seat_refused(struct lookout *l, struct seat *s, const struct failover_group *g)
{
	struct spool_sums sums;

	if (!s->refused)
		return;
	spool_total(l->queue->spool, s->group, &sums);
	if (sums.held > 0)
		return;
	s->refused = false;
	(void)alarm_clear(l->queue->alarms, "primary-refused", g->domain, g->shard);
}

static void
seat_decide(struct lookout *l, struct seat *s, int64_t now)
{
	struct failover_group *g = failover_find(l->queue->failover, s->group);
	enum health_cause cause = HEALTH_BY_PROBES;

	if (g == NULL || !g->served)
		return;
	seat_sync(s, g, now);
	seat_refused(l, s, g);
	enum health_wish w = health_decide(&s->health, &s->rules, g->phase, now, &cause);
	seat_storm(l, s, g, w == HEALTH_ENTER && cause == HEALTH_BY_REFUSALS, now);
	seat_tell(l, s, g, g->mode == FAILOVER_OFF && w == HEALTH_ENTER, cause);
	if (w != HEALTH_ENTER)
		s->unsure_ms = 0;
	if (g->mode != FAILOVER_AUTO)
		return;
	if (w == HEALTH_ENTER)
		seat_enter(l, s, g, cause, now);
	else if (w == HEALTH_LEAVE)
		seat_leave(l, s, g, now);
}

/* ---- turns and life ---- */

static void
places_overdue(struct lookout *l, int64_t now)
{
	for (size_t i = 0; i < l->nplace; i++)
		if (l->place[i].req != 0 && l->place[i].until_ms <= now)
			place_again(&l->place[i], now, 0);
}

void
lookout_tick(struct lookout *l)
{
	int64_t now = clock_mono_ms();

	if (l->queue->stopping)
		return;
	if (l->serial != failover_serial(l->queue->failover))
		lookout_map(l);
	places_overdue(l, now);
	fault_ends(l);
	/* A transition changes the serial, not the map: groups and places stay. */
	for (size_t i = 0; i < l->nseat; i++)
		seat_decide(l, &l->seat[i], now);
	places_ask(l, now);
	alarms_sweep(l->queue->alarms);
}

static void
lookout_timer(void *arg)
{
	struct lookout *l = arg;

	lookout_tick(l);
	timer_arm(l->timer, LOOKOUT_TICK_MS);
}

void
lookout_reload(struct lookout *l)
{
	lookout_map(l);
}

struct lookout *
lookout_new(struct queue *q)
{
	struct lookout *l = mem_new(sizeof(*l));

	l->queue = q;
	/* Answers to the queue that was here before must not be taken for ours. */
	crypto_random(&l->generation, sizeof(l->generation));
	l->sent_ms = clock_mono_ms();
	lookout_map(l);
	l->timer = timer_new(q->role->loop, lookout_timer, l);
	timer_arm(l->timer, LOOKOUT_TICK_MS);
	return l;
}

void
lookout_free(struct lookout **lp)
{
	struct lookout *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	timer_free(&l->timer);
	lookout_map_free(l);
	free(l);
}
