// SPDX-License-Identifier: Apache-2.0
#include "queue/returned.h"

#include <stdio.h>

#include "base/log.h"
#include "queue/optout.h"
#include "queue/queue_role.h"

/* ---- what a report says (pure) ---- */

static void
report_note(const char *what, const struct envelope_bounce *b, char out[LEGS_NOTE_MAX])
{
	if (b->status == 0)
		(void)snprintf(out, LEGS_NOTE_MAX, "%s", what);
	else
		(void)snprintf(out, LEGS_NOTE_MAX, "%s %u.%u.%u", what, b->status, b->subject,
		    b->detail);
}

static bool
leg_sent(const struct spool_leg *l)	/* a report can be about it */
{
	return l->state == LEG_WAITING || l->state == LEG_PARKED || l->state == LEG_DELIVERED;
}

/* 2.2.3. A leg that ended in another way meanwhile stays ended. */
bool
returned_leg(const struct spool_entry *e, const struct envelope_bounce *b,
    struct legs_change *to)
{
	const struct spool_leg *l = &e->leg[LEG_FORWARD];
	char note[LEGS_NOTE_MAX];

	if (b->kind != BOUNCE_REPORT || !leg_sent(l))
		return false;
	switch ((enum bounce_action)b->action) {
	case BOUNCE_FAILED:
		report_note("bounced", b, note);
		legs_end(e, LEG_FORWARD, LEG_FAILED, b->code, slice_str(note), to);
		return true;
	case BOUNCE_DELAYED:		/* of a leg that is still tried it is no news */
		if (l->state != LEG_DELIVERED)
			return false;
		report_note("delayed", b, note);
		legs_end(e, LEG_FORWARD, LEG_DELIVERED, b->code, slice_str(note), to);
		return true;
	case BOUNCE_EXPANDED:
	case BOUNCE_RELAYED:
	case BOUNCE_DELIVERED:
		report_note(bounce_action_name((enum bounce_action)b->action), b, note);
		legs_end(e, LEG_FORWARD, LEG_DELIVERED, l->code, slice_str(note), to);
		return true;
	case BOUNCE_NO_ACTION:
	case BOUNCE_ACTION_MAX:
		break;
	}
	return false;
}

bool
returned_nouser(const struct envelope_bounce *b)
{
	if (b->kind != BOUNCE_REPORT || b->action != BOUNCE_FAILED || b->status != 5)
		return false;
	return (b->subject == 1 && (b->detail == 1 || b->detail == 2 || b->detail == 3 ||
	    b->detail == 6 || b->detail == 10)) || (b->subject == 2 && b->detail == 1);
}

/* ---- acting on it ---- */

/* The recovery address is not written to again until it changes (8.4 NOUSER). */
static void
mark_recovery(struct queue *q, const struct spool_entry *leg)
{
	char id[MSGID_TEXT + 1];

	struct spool_message m;
	struct envelope_rcpt r;

	if (spool_read(q->spool, leg->ref, false, &m) == 0) {
		if (spool_message_rcpt(&m, leg->rcpt_index, &r) == 0)
			attempts_nouser(q->attempts, r.user);
		spool_message_fini(&m);
	}
	msgid_print(leg->id, id);
	log_warn("recovery-invalid", "id=%s/%u fix=%s", id, leg->rcpt_index,
	    log_escs("have this user verify the recovery address"));
}

static bool
find_leg(struct queue *q, const struct envelope_bounce *b, struct spool_entry *leg)
{
	struct spool_ref ref;

	return spool_find_rcpt(q->spool, b->id, b->rcpt_index, RCPT_USER, &ref) == 0 &&
	    spool_get(q->spool, ref, leg) == 0;
}

static uint64_t *
count_of(struct returned_counts *c, const struct envelope_bounce *b)
{
	switch ((enum bounce_action)b->action) {
	case BOUNCE_FAILED:
		return &c->failed;
	case BOUNCE_DELAYED:
		return &c->delayed;
	case BOUNCE_EXPANDED:
	case BOUNCE_RELAYED:
	case BOUNCE_DELIVERED:
		return &c->delivered;
	case BOUNCE_NO_ACTION:
	case BOUNCE_ACTION_MAX:
		break;
	}
	return &c->other;
}

static void
log_report(const struct spool_entry *e, const struct spool_entry *leg,
    const struct envelope_bounce *b, bool changed)
{
	char id[MSGID_TEXT + 1], about[MSGID_TEXT + 1];

	msgid_print(e->id, id);
	msgid_print(leg->id, about);
	log_info("bounce", "id=%s about=%s/%u attempt=%u action=%s status=%u.%u.%u code=%u "
	    "changed=%u", id, about, leg->rcpt_index, b->attempt,
	    bounce_action_name((enum bounce_action)b->action), b->status, b->subject, b->detail,
	    b->code, changed);
}

/* The word for the note of the returned message. */
static const char *
act_on_report(struct queue *q, const struct spool_entry *e, const struct envelope_bounce *b)
{
	struct returned_counts *c = &q->returned;
	struct spool_entry leg;
	struct legs_change to;

	if (b->leg == BOUNCE_LEG_OTHER_NODE) {
		c->other_node++;
		return "bounce-other-node";
	}
	if (b->leg == BOUNCE_LEG_SRS) {
		c->srs++;
		return "bounce-srs";
	}
	if (b->leg != BOUNCE_LEG_OURS || !find_leg(q, b, &leg)) {
		c->unknown++;
		return "bounce-unknown";
	}
	bool changed = returned_leg(&leg, b, &to);
	if (changed)
		schedule_write(q->schedule, &leg, LEG_FORWARD, &to);
	if (returned_nouser(b))
		mark_recovery(q, &leg);
	log_report(e, &leg, b, changed);
	++*count_of(c, b);
	return "bounce-read";
}

/* NULL: not now. */
static const char *
act(struct queue *q, const struct spool_entry *e, const struct spool_message *m,
    const struct envelope_bounce *b)
{
	struct returned_counts *c = &q->returned;
	const char *note;

	if (b->leg == BOUNCE_LEG_STOP)
		return optout_mail(q, m, e->rcpt_index, b, &note) > 0 ? note : NULL;
	switch ((enum bounce_kind)b->kind) {
	case BOUNCE_REPORT:
		return act_on_report(q, e, b);
	case BOUNCE_AUTO_REPLY:		/* 2.2.4: the user's own; nobody's business */
	case BOUNCE_GENERATED:
		c->auto_reply++;
		return "auto-reply";
	case BOUNCE_UNREAD:
		c->unread++;
		return "bounce-unread";
	case BOUNCE_OTHER:
	case BOUNCE_KIND_MAX:
		break;
	}
	c->other++;
	return "not-a-bounce";
}

bool
returned_read(struct queue *q, const struct spool_entry *e)
{
	struct envelope_bounce b;
	struct spool_message m;
	struct legs_change to;

	if (spool_read(q->spool, e->ref, false, &m) < 0)
		return false;
	/* Of an earlier release, or damaged on its way: there is nothing to act on. */
	if (wire_get(m.env.bounce, &envelope_bounce_wire, &b) < 0)
		b = (struct envelope_bounce){ .kind = BOUNCE_UNREAD };
	const char *note = act(q, e, &m, &b);
	spool_message_fini(&m);
	if (note == NULL)
		return false;
	legs_end(e, LEG_HOLD, LEG_SKIPPED, 0, slice_str(note), &to);
	schedule_write(q->schedule, e, LEG_HOLD, &to);
	return true;
}
