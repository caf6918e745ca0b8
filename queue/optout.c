// SPDX-License-Identifier: Apache-2.0
#include "queue/optout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_role.h"
#include "queue/walk.h"

/* ---- copies that have not left ---- */

struct optout {			/* one user's, being ended */
	struct queue	*queue;
	struct msgid	 user;
	struct walk	*walk;
	uint64_t	 legs;
	struct optout	*next;
};

static void
optout_remove(struct optout *o)
{
	struct optout **at = &o->queue->optouts;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	free(o);
}

/* The spool's hash of a user is made for finding, not against somebody who looks for a
 * second address with the same: the record decides. */
static bool
optout_means(struct optout *o, const struct spool_entry *e)
{
	struct envelope_rcpt r;
	struct spool_message m;
	bool yes = false;

	if (e->kind != RCPT_USER || spool_read(o->queue->spool, e->ref, false, &m) < 0)
		return false;
	if (spool_message_rcpt(&m, e->rcpt_index, &r) == 0) {
		struct msgid key = consent_key(r.user);

		yes = memcmp(&key, &o->user, sizeof(key)) == 0;
	}
	spool_message_fini(&m);
	return yes;
}

static bool
optout_visit(void *arg, const struct spool_entry *e)
{
	struct optout *o = arg;
	struct legs_change to;

	if (!optout_means(o, e))
		return true;
	legs_end(e, LEG_FORWARD, LEG_SKIPPED, e->leg[LEG_FORWARD].code, SLICE_LIT(OPTOUT_NOTE), &to);
	schedule_write(o->queue->schedule, e, LEG_FORWARD, &to);
	o->legs++;
	return true;
}

static void
optout_done(void *arg, bool end, struct spool_cursor at)
{
	struct optout *o = arg;

	(void)end;
	(void)at;
	if (o->legs > 0)
		log_info("opt-out", "ended=%llu", (unsigned long long)o->legs);
	optout_remove(o);
}

static void
optout_sweep(struct queue *q, struct msgid user, uint64_t user_hash)
{
	struct spool_filter f = { .user = user_hash, .due_ms = INT64_MAX };
	struct optout *o;

	if (user_hash == 0)
		return;		/* each ends when its turn comes (queue/attempt_forward.c) */
	f.states[LEG_FORWARD] = 1u << LEG_WAITING;
	o = mem_new(sizeof(*o));
	o->queue = q;
	o->user = user;
	o->next = q->optouts;
	q->optouts = o;
	o->walk = walk_start(q->role->loop, q->spool, &f, (struct spool_cursor){ 0 }, optout_visit,
	    optout_done, o);
}

void
optout_fini(struct queue *q)
{
	for (struct optout *o = q->optouts, *next; o != NULL; o = next) {
		next = o->next;
		walk_cancel(&o->walk);
		optout_remove(o);
	}
}

/* ---- written down ---- */

static int
optout_audit(struct queue *q, const char *event, struct msgid user, struct audit_who who,
    const char *reason, const char *id)
{
	char hex[2 * MSGID_LEN + 1];
	const struct audit_record r = { .event = event, .who = who, .user = hex, .reason = reason,
		.id = id };

	consent_print(user, hex);
	return audit_write(q->audit, &r);
}

/* As with failover: a crash between the two leaves a line more in the log, never one less. */
int
optout_stop(struct queue *q, struct msgid user, uint64_t user_hash, enum consent_by by,
    struct audit_who who, const char *reason, const char *id)
{
	if (consent_stopped(q->consent, user, NULL))
		return 0;
	if (consent_count(q->consent) >= q->role->conf->opt_outs_max) {
		errno = ENOSPC;
		return -1;
	}
	if (optout_audit(q, "opt-out", user, who, reason, id) < 0)
		return -1;
	int rc = consent_stop(q->consent, user, by, clock_wall_ms());
	if (rc > 0)
		optout_sweep(q, user, user_hash);
	return rc;
}

int
optout_resume(struct queue *q, struct msgid user, struct audit_who who, const char *reason)
{
	if (!consent_stopped(q->consent, user, NULL))
		return 0;
	if (optout_audit(q, "opt-in", user, who, reason, NULL) < 0)
		return -1;
	return consent_resume(q->consent, user, clock_wall_ms());
}

/* ---- by mail ---- */

/* 16 hex digits, as policy/seal_role.c prints them; 0: none. */
static uint64_t
handle_read(struct slice s)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		static const char hex[] = "0123456789abcdef";
		const char *p = memchr(hex, s.p[i], sizeof(hex) - 1);

		if (p == NULL || s.n != 16)
			return 0;
		v = v << 4 | (uint64_t)(p - hex);
	}
	return v;
}

/* 2.2.4: a report or an answer by itself is nobody's wish. What a program wrote of itself
 * may be: mail programs stop a subscription on a click. */
static bool
is_wish(const struct envelope_bounce *b)
{
	return b->kind == BOUNCE_OTHER || b->kind == BOUNCE_GENERATED;
}

int
optout_mail(struct queue *q, const struct spool_message *m, uint16_t rcpt_index,
    const struct envelope_bounce *b, const char **note)
{
	static const struct audit_who queue_itself = { 0, 0 };
	struct envelope_rcpt r = { .token = SLICE_NONE };
	char id[MSGID_TEXT + 1];

	if (!is_wish(b)) {
		returned_stop(q->returned, false);
		*note = "stop-ignored";
		return 1;
	}
	(void)spool_message_rcpt(m, rcpt_index, &r);
	msgid_print(m->env.id, id);
	int rc = optout_stop(q, b->id, handle_read(r.token), CONSENT_BY_MAIL, queue_itself, "by mail",
	    id);
	if (rc < 0) {
		log_error("opt-out", "id=%s error=%s effect=%s fix=%s", id, log_escs(strerror(errno)),
		    log_escs("the user's wish waits here"), log_escs(errno == ENOSPC &&
		    consent_count(q->consent) >= q->role->conf->opt_outs_max ?
		    "raise opt-outs-max and reload" : "mend the disk of state-dir"));
		return 0;
	}
	returned_stop(q->returned, true);
	*note = rc > 0 ? "stop" : "stop-again";
	return 1;
}
