// SPDX-License-Identifier: Apache-2.0
/*
 * `why`: the way of a message in words, from what it came with to what happens next. What
 * is known of the recovery mailbox needs the directory's word for it, one recipient after
 * the other; it is shown hashed (P4).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "queue/attempt.h"
#include "queue/baseline.h"
#include "queue/control_priv.h"
#include "queue/legs_forward.h"
#include "queue/report.h"
#include "queue/why_words.h"

enum {
	WHY_RCPT_MAX = 20, WHY_ATTEMPTS_MAX = 50, WHY_MESSAGES_MAX = 5, WHY_LINE_MAX = 400,
	WHY_WAIT_MS = 10 * 1000, WHY_LOOK_MS = 2000
};

__attribute__((format(printf, 2, 3))) static void
say(json_t *words, const char *fmt, ...)
{
	char line[WHY_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	json_array_append_new(words, report_text(slice_str(line)));
}

static const char *
when(int64_t ms, char out[40])
{
	clock_iso8601(ms, out, 40);
	return out;
}

/* ---- the message ---- */

static const char *
policy_words(uint32_t flags)
{
	return (flags & ENV_REJECT) != 0 ? "reject" :
	    (flags & ENV_QUARANTINE) != 0 ? "quarantine" : "none";
}

/* 7.3: how the copy of what will not align leaves. */
static const char *
form_words(const struct conf_domain *d, bool reject)
{
	switch (d == NULL ? UNSURVIVABLE_AUTO : d->unsurvivable) {
	case UNSURVIVABLE_AUTO:
		return reject ? "auto: as it is first, munged once refused; munged at once for a "
		    "provider that refused three" : "auto: the copy is munged";
	case UNSURVIVABLE_MUNGE:
		return "munge: the copy comes from an address of ours";
	case UNSURVIVABLE_WRAP:
		return "wrap: the copy is an attachment to a message of ours";
	case UNSURVIVABLE_TRY:
		return "try: as it is first, munged once refused";
	case UNSURVIVABLE_HOLD:
		break;
	}
	return "hold: no copy is sent";
}

static void
say_survival(json_t *words, const struct envelope *v, const struct conf_domain *d)
{
	if ((v->flags & ENV_SURVIVABLE) != 0) {
		say(words, "forwarding does not break it: an aligned DKIM signature passed");
	} else if (v->dmarc != AUTH_PASS || (v->flags & (ENV_REJECT | ENV_QUARANTINE)) == 0) {
		say(words, "no aligned DKIM signature passed, but nobody asks to refuse it for that");
	} else {
		say(words, "forwarding breaks it: it passed DMARC by SPF alone and the author's domain "
		    "asks to %s what fails", policy_words(v->flags));
		say(words, "  so its form is that of unsurvivable = %s",
		    form_words(d, (v->flags & ENV_REJECT) != 0));
	}
}

static void
say_reason(json_t *words, const char *what, struct slice reason)
{
	const char *mean = why_reason(reason);

	say(words, "%s %.*s%s%s%s", what, SLICE_FMT(reason), mean[0] != '\0' ? " (" : "", mean,
	    mean[0] != '\0' ? ")" : "");
}

static void
say_message(json_t *words, const struct envelope *v, const struct conf_domain *d)
{
	unsigned rule = (v->flags & ENV_TRIAGE_RULE) >> ENV_TRIAGE_SHIFT;
	bool policy = v->dmarc == AUTH_PASS || v->dmarc == AUTH_FAIL;	/* it has one */
	char t[40];

	say(words, "accepted %s from %.*s (%.*s)%s, %llu bytes", when((int64_t)v->received_ms, t),
	    SLICE_FMT(v->client_ip), v->helo.n > 100 ? 100 : SLICE_FMT(v->helo),
	    (v->flags & ENV_TLS) != 0 ? " over TLS" : "", (unsigned long long)v->body_size);
	say(words, "SPF %s, DKIM %s, DMARC %s%s%s%s, ARC %s",
	    auth_result_name((enum auth_result)v->spf), auth_result_name((enum auth_result)v->dkim),
	    auth_result_name((enum auth_result)v->dmarc), policy ? " (policy " : "",
	    policy ? policy_words(v->flags) : "", policy ? ")" : "",
	    auth_result_name((enum auth_result)v->arc));
	if ((v->flags & ENV_HOLD_ONLY) != 0)
		say_reason(words, "held for the primary only, never forwarded: rule", v->reason);
	else if ((v->flags & ENV_RECHECK) != 0)
		say(words, "DNS did not answer: judged again before a copy may leave");
	else if (v->reason.n > 0)
		say_reason(words, "may be forwarded by exception: rule", v->reason);
	else
		say(words, "may be forwarded");
	if ((v->flags & ENV_HOLD_ONLY) != 0)
		say(words, "class %u in the replay (%s)", v->triage, why_class(v->triage));
	else if (rule > 0)
		say(words, "class %u by rule T%u (%s)", v->triage, rule, why_class(v->triage));
	else
		say(words, "class %u (%s)", v->triage, why_class(v->triage));
	if ((v->flags & ENV_HOLD_ONLY) == 0)
		say_survival(words, v, d);
}

/* ---- the legs ---- */

static void
say_note(json_t *words, const char *note)
{
	char line[WHY_WORDS_MAX];

	if (note[0] == '\0')
		return;
	why_note(note, line);
	say(words, strncmp(line, "note: ", 6) == 0 ? "  %s" : "  because %s", line);
}

/* "1 try", "2 tries" */
static const char *
tries(unsigned n, char out[24])
{
	(void)snprintf(out, 24, "%u %s", n, n == 1 ? "try" : "tries");
	return out;
}

static void
say_hold(json_t *words, const struct spool_entry *e, const struct failover_group *g,
    const char *note)
{
	const struct spool_leg *l = &e->leg[LEG_HOLD];
	char t[40], n[24];

	switch ((enum leg_state)l->state) {
	case LEG_PARKED:
		if (legs_on_hold(l))
			say(words, "primary: held by an operator until `queue release`");
		else if (e->kind == RCPT_USER && (g == NULL || !g->served))
			say(words, "primary: none; the domain is not in the configuration. It stays here "
			    "until its section is back, or `queue drop`");
		else if (l->attempts > 0)
			say(words, "primary: refused it with %u; it stays here until `queue retry` or the "
			    "next change of failover", l->code);
		else if (g != NULL && g->phase == PHASE_REPLAY)
			say(words, "primary: waits for its turn in the replay");
		else
			say(words, "primary: held until failover ends, then replayed");
		break;
	case LEG_WAITING:
		say(words, "primary: waits%s%s, next %s", l->attempts == 0 ? "" : "; ",
		    l->attempts == 0 ? "" : tries(l->attempts, n), l->next_ms == 0 ?
		    "when the primary answers" : l->next_ms <= clock_wall_ms() ? "now, in its turn" :
		    when(l->next_ms, t));
		break;
	case LEG_DELIVERED:
		say(words, "primary: has it");
		break;
	case LEG_ABSENT:
	case LEG_FAILED:
	case LEG_SKIPPED:
	case LEG_DROPPED:
	case LEG_STATE_MAX:
		say(words, "primary: %s", leg_state_name((enum leg_state)l->state));
		break;
	}
	if (l->state == LEG_DROPPED || (l->state != LEG_DELIVERED && l->attempts > 0))
		say_note(words, note);
}

static void
say_waiting(json_t *words, const struct conf *c, const struct spool_entry *e, const char *note)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];
	struct forward_note n;
	char t[40], u[40], k[24];

	forward_note_read(note, &n);
	if (baseline_leg(e))
		say(words, "copy: one of the share that keeps our addresses warm (baseline-share)");
	if (l->next_ms > forward_ends_ms(c, e))
		say(words, "copy: %s so far, next %s, and that is too late: given up %s",
		    tries(l->attempts, k), when(l->next_ms, t), when(forward_ends_ms(c, e), u));
	else
		say(words, "copy: %s so far, next %s, given up %s", tries(l->attempts, k),
		    l->next_ms <= clock_wall_ms() ? "now, in its turn" : when(l->next_ms, t),
		    when(forward_ends_ms(c, e), u));
	if (n.refused != REPLY_OK)
		say(words, "  the destination refused it (%s); the next try is %s",
		    reply_class_name((enum reply_class)n.refused), n.changed ? "the last one" :
		    n.refused == REPLY_AUTH ? "munged" : n.refused == REPLY_STRUCTURE ? "wrapped" :
		    "from an opaque address");
}

static void
say_forward(json_t *words, const struct conf *c, const struct spool_entry *e, const char *note)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];
	char n[24];

	switch ((enum leg_state)l->state) {
	case LEG_ABSENT:
		say(words, "copy: none; %s", e->hold_only ? "this message is not forwarded" :
		    "failover was not on, or no forwarder is configured");
		return;
	case LEG_WAITING:
		say_waiting(words, c, e, note);
		return;
	case LEG_DELIVERED:
		say(words, "copy: the recovery mailbox's provider took it");
		if (strchr(note, ' ') != NULL)
			say_note(words, note);	/* what a report said; else it is the token */
		return;
	case LEG_FAILED:
		say(words, "copy: given up after %s; the held message is not touched",
		    tries(l->attempts, n));
		break;
	case LEG_SKIPPED:
		say(words, "copy: not sent");
		break;
	case LEG_PARKED:
		say(words, "copy: held by an operator");
		return;
	case LEG_DROPPED:
	case LEG_STATE_MAX:
		say(words, "copy: %s", leg_state_name((enum leg_state)l->state));
		break;
	}
	say_note(words, note);
}

/* ---- attempts ---- */

static void
say_attempt(json_t *words, const struct history_entry *h)
{
	static const char *const forms[] = { "", ", munged", ", wrapped" };
	char t[40], u[40], result[WHY_WORDS_MAX];

	why_result(h, result);
	say(words, "  %s %s%s: %s%s%s", when(h->time_ms, t), h->leg == LEG_HOLD ? "primary" : "copy",
	    h->form < 3 ? forms[h->form] : "", result, h->next_ms == 0 ? "" : ", again ",
	    h->next_ms == 0 ? "" : when(h->next_ms, u));
}

static json_t *
attempts(struct request *rq, const struct spool_entry *e, json_t *words)
{
	struct history_entry *h = mem_array(WHY_ATTEMPTS_MAX, sizeof(*h));
	unsigned n = history_find(rq->queue->history, e->id, e->rcpt_index, h, WHY_ATTEMPTS_MAX);
	json_t *list = json_array();

	if (n > 0)
		say(words, "attempts:");
	for (unsigned i = 0; i < n; i++) {
		static const char *const forms[] = { "as-is", "munge", "wrap" };
		char enhanced[24] = "";

		if (h[i].status > 0)
			(void)snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", h[i].status, h[i].subject,
			    h[i].detail);
		say_attempt(words, &h[i]);
		json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:i, s:s, s:s, s:o}", "time",
		    report_time(h[i].time_ms), "leg", h[i].leg == LEG_HOLD ? "hold" : "forward", "class",
		    reply_class_name((enum reply_class)h[i].class), "code", (int)h[i].code, "enhanced",
		    enhanced, "form", forms[h[i].form < 3 ? h[i].form : 0], "next",
		    report_time(h[i].next_ms)));
	}
	free(h);
	return list;
}

/* ---- one recipient, and the next ---- */

static void
note_of(struct request *rq, const struct spool_entry *e, enum leg_kind leg, char out[LEGS_NOTE_MAX])
{
	if (spool_note(rq->queue->spool, e->ref, leg, out, LEGS_NOTE_MAX) < 0)
		out[0] = '\0';
}

static void
explain(struct request *rq, const struct spool_entry *e)
{
	struct queue *q = rq->queue;
	json_t *words = json_array(), *o;
	char note[LEGS_NOTE_MAX];
	struct spool_message m;
	struct envelope_rcpt r;
	bool have = spool_read(q->spool, e->ref, false, &m) == 0;

	o = report_recipient(q->spool, e, have ? &m : NULL);
	if (have) {
		const struct failover_group *g = failover_find(q->failover, e->group);

		say_message(words, &m.env, g == NULL ? NULL : conf_domain_find(q->role->conf,
		    slice_str(g->domain)));
		if (spool_message_rcpt(&m, e->rcpt_index, &r) == 0)
			json_object_set_new(o, "user", report_text(r.user));
		json_object_set_new(o, "authres", report_text(m.env.authres));
	}
	note_of(rq, e, LEG_HOLD, note);
	say_hold(words, e, failover_find(q->failover, e->group), note);
	if (e->kind == RCPT_USER) {
		note_of(rq, e, LEG_FORWARD, note);
		say_forward(words, q->role->conf, e, note);
	}
	json_object_set_new(o, "attempts", attempts(rq, e, words));
	json_object_set_new(o, "why", words);
	json_array_append_new(rq->list, o);
	if (have)
		spool_message_fini(&m);
}

/* Asks the directory for the next user that nothing is known of; false: all are done. */
static bool
ask_next(struct request *rq)
{
	struct ipc *ch = role_any(rq->queue->role, ROLE_DIRECTORY, NULL);
	json_t *o;

	while ((o = json_array_get(rq->list, rq->count)) != NULL) {
		const char *user = json_string_value(json_object_get(o, "user"));
		struct dir_target m = { .req = CONTROL_ASKS | rq->req };

		if (user != NULL && ch != NULL) {
			m.user = slice_str(user);
			if (ipc_send(ch, DIR_TARGET, &dir_target_wire, &m, -1) == 0)
				return true;
		}
		rq->count++;
	}
	return false;
}

static void
why_reply(struct request *rq)
{
	json_t *o = command_ok();

	json_object_set(o, "recipients", rq->list);
	control_reply(rq, o);
}

static void
why_go_on(struct request *rq)
{
	if (!ask_next(rq))
		why_reply(rq);
}

static void
say_consent(struct request *rq, json_t *o, json_t *words)
{
	const char *user = json_string_value(json_object_get(o, "user"));
	json_t *out;
	char t[40];

	if (user == NULL || !command_consent_put(rq->queue, slice_str(user), o))
		return;
	out = json_object_get(o, "opted_out");
	say(words, "no copies: stopped %s by %s; `users optin` undoes it",
	    when(json_integer_value(json_object_get(out, "time")) * 1000, t),
	    strcmp(json_string_value(json_object_get(out, "by")), "mail") == 0 ?
	    "the user, by mail" : "an operator");
}

static void
say_no_target(json_t *words, const struct dir_targeted *m)
{
	char reason[64], line[WHY_WORDS_MAX];

	if (m->status == TARGET_UNKNOWN)
		say(words, "directory: there is no such user now");
	else if (m->status != TARGET_NONE || slice_cstr(m->reason, reason, sizeof(reason)) != 0)
		say(words, "directory: it does not answer now");
	else {
		why_note(reason, line);
		say(words, "directory: no copy can be sent to this user: %s (%s)", reason, line);
	}
}

void
control_targeted(struct control *c, const struct dir_targeted *m)
{
	struct request *rq = c == NULL ? NULL : control_find(c, m->req & ~CONTROL_ASKS);
	json_t *o;

	if (rq == NULL || rq->list == NULL)
		return;
	o = json_array_get(rq->list, rq->count++);
	if (o != NULL && json_object_get(o, "id") == NULL && m->status == TARGET_UNKNOWN) {
		control_fail(rq, "no mail for %.200s is here, and the directory knows no such user",
		    json_string_value(json_object_get(o, "user")));
		return;
	}
	if (o != NULL) {
		json_t *words = json_object_get(o, "why"), *known = json_object();

		if (m->status == TARGET_OK)
			attempts_known(rq->queue->attempts, slice_str(json_string_value(
			    json_object_get(o, "user"))), m->recovery, known, words);
		else
			say_no_target(words, m);
		json_object_set_new(o, "recovery", known);
		say_consent(rq, o, words);
	}
	why_go_on(rq);
}

/* ---- which ones ---- */

static void
why_message(struct request *rq)
{
	struct spool_ref *refs = NULL;
	int n = command_message(rq, &refs);

	if (n < 0)
		return;
	for (int i = 0; i < n && i < WHY_RCPT_MAX; i++) {
		struct spool_entry e;

		if (spool_get(rq->queue->spool, refs[i], &e) == 0)
			explain(rq, &e);
	}
	free(refs);
	why_go_on(rq);
}

struct why_last {		/* the newest few of a walk that goes oldest first */
	struct request		*rq;
	struct spool_entry	 e[WHY_MESSAGES_MAX];
	unsigned		 n;
};

static bool
last_visit(void *arg, const struct spool_entry *e)
{
	struct why_last *l = ((struct request *)arg)->why;

	if (!operate_fits_entry(&l->rq->filter, l->rq->queue->failover, e))
		return true;
	if (l->n == WHY_MESSAGES_MAX) {
		memmove(l->e, l->e + 1, (WHY_MESSAGES_MAX - 1) * sizeof(l->e[0]));
		l->n--;
	}
	l->e[l->n++] = *e;
	return true;
}

/* Of a user without mail the directory's word is all there is, if it is a user. */
static void
explain_nothing(struct request *rq)
{
	const char *user = request_string(rq, "user");
	size_t at = slice_rfind(slice_str(user), '@');
	json_t *words;

	if (conf_domain_find(rq->queue->role->conf, slice_sub(slice_str(user), at + 1,
	    strlen(user))) == NULL) {
		control_fail(rq, "no mail for %.200s is here, and its domain is none of this relay's",
		    user);
		return;
	}
	words = json_array();
	say(words, "no mail for this address is here: none came, or all of it is settled and gone");
	json_array_append_new(rq->list, json_pack("{s:s, s:s, s:o}", "rcpt", user, "user", user, "why",
	    words));
	why_go_on(rq);
}

static void
last_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;
	struct why_last *l = rq->why;

	(void)end;
	(void)at;
	rq->walk = NULL;
	if (l->n == 0) {
		explain_nothing(rq);
		return;
	}
	for (unsigned i = 0; i < l->n; i++)
		explain(rq, &l->e[i]);
	why_go_on(rq);
}

void
command_why(struct request *rq)
{
	struct spool_filter f;

	if (request_has(rq, "id") == request_has(rq, "user")) {
		control_fail(rq, "why: give a message id or a user's address");
		return;
	}
	if (request_string(rq, "id")[0] == '\0' && request_string(rq, "user")[0] == '\0') {
		control_fail(rq, "why: \"%s\" is empty", request_has(rq, "id") ? "id" : "user");
		return;
	}
	rq->list = json_array();
	rq->req = control_next_req(rq->control);
	control_patience(rq, WHY_WAIT_MS);
	if (request_has(rq, "id")) {
		why_message(rq);
		return;
	}
	if (command_filter(rq) < 0)
		return;
	rq->filter.state = OPERATE_ALL;
	rq->why = mem_new(sizeof(*rq->why));
	rq->why->rq = rq;
	operate_spool_filter(&rq->filter, rq->queue->failover, &f);
	rq->walk = walk_start(rq->queue->role->loop, rq->queue->spool, &f, (struct spool_cursor){ 0 },
	    last_visit, last_done, rq);
	walk_hurry(rq->walk, WHY_LOOK_MS);
}
