// SPDX-License-Identifier: Apache-2.0
/*
 * Spec 0.4: a message whose sender's DNS did not answer is evaluated again, by a relay and
 * with the message as it is held, before its copy may go to seal. What is found is good for
 * this attempt only and is not stored: the held message keeps its first verdict, and a later
 * attempt asks again.
 */
#include "queue/attempt_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proto/relay_queue.h"

bool
attempt_recheck_needed(const struct work *w)
{
	return (w->msg.env.flags & ENV_RECHECK) != 0 && (w->msg.env.flags & ENV_HOLD_ONLY) == 0 &&
	    buf_len(&w->fresh) == 0;
}

void
attempt_recheck_start(struct attempts *a, struct work *w)
{
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_RELAY, &index);

	if (ch == NULL) {
		attempt_later(a, w->item, ATTEMPT_SOON_MS);
		return;
	}
	work_ask(a, w, ROLE_RELAY, index, a->role->conf->evaluate_timeout_ms + ATTEMPT_ASK_MAX_MS);
	const struct queue_evaluate q = { w->req, buf_slice(&w->msg.raw) };
	if (ipc_send(ch, QUEUE_EVALUATE, &queue_evaluate_wire, &q, w->msg.body_fd) < 0)
		attempt_later(a, w->item, ATTEMPT_SOON_MS);
}

/* DNS still fails. What left before, evaluated well, is not given up for that: it waits as
 * long as any copy. */
static void
recheck_again(struct attempts *a, struct work *w, struct slice reason)
{
	const struct conf *c = a->role->conf;
	int64_t now = schedule_now(a->schedule);
	struct item *it = w->item;
	unsigned tries = it->e.leg[LEG_FORWARD].attempts + 1u;
	char note[LEGS_NOTE_MAX];
	struct legs_change to;

	if (spool_note(a->spool, it->e.ref, LEG_FORWARD, note, sizeof(note)) < 0)
		note[0] = '\0';
	forward_note_read(note, &w->note);
	if (tries >= c->recheck_tries && w->note.token[0] == '\0') {
		it->e.leg[LEG_FORWARD].attempts = (uint16_t)(tries > UINT16_MAX ? UINT16_MAX : tries);
		attempt_skip(a, it, LEG_SKIPPED, reason);
		return;
	}
	forward_put_off_to(c, &it->e, note, now + c->recheck_interval_ms, now, &to);
	if (to.leg.attempts < UINT16_MAX)
		to.leg.attempts++;
	attempt_write(a, it, &to);
	schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
}

/* The same message in all that verify does not decide. */
static bool
recheck_sound(const struct work *w, struct slice envelope, struct envelope *e)
{
	const struct envelope *was = &w->msg.env;

	return envelope_get(envelope, e) == 0 && memcmp(&e->id, &was->id, sizeof(e->id)) == 0 &&
	    e->body_size == was->body_size && slice_eq(e->mail_from, was->mail_from) &&
	    slice_eq(e->rcpts, was->rcpts);
}

static void
recheck_done(struct attempts *a, struct work *w, struct slice envelope)
{
	struct envelope e;
	char id[MSGID_TEXT + 1];

	if (!recheck_sound(w, envelope, &e)) {
		recheck_again(a, w, SLICE_LIT("not-evaluated"));
		return;
	}
	msgid_print(e.id, id);
	log_info("evaluated-again", "id=%s/%u spf=%s dkim=%s dmarc=%s reason=%s", id,
	    w->item->e.rcpt_index, auth_result_name(e.spf), auth_result_name(e.dkim),
	    auth_result_name(e.dmarc), log_esc(e.reason));
	if ((e.flags & ENV_HOLD_ONLY) != 0) {
		attempt_skip(a, w->item, LEG_SKIPPED, e.reason);
		return;
	}
	if ((e.flags & ENV_RECHECK) != 0) {
		recheck_again(a, w, e.reason);
		return;
	}
	if (buf_put_slice(&w->fresh, envelope) != 0) {
		attempt_later(a, w->item, ATTEMPT_SOON_MS);
		return;
	}
	attempt_survival(w, &e);
	attempt_forward_start(a, w);
}

int
attempt_recheck_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct queue_evaluated m;
	struct spool_entry now;

	if (wire_get(body, &queue_evaluated_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_RELAY, index, m.req);
	if (w == NULL)
		return 0;
	/* DNS may take its time, and an operator may have decided meanwhile. */
	if (spool_get(a->spool, w->item->e.ref, &now) < 0 ||
	    now.leg[LEG_FORWARD].state != LEG_WAITING) {
		schedule_finish(a->schedule, w->item, SCHEDULE_NEUTRAL, 0);
		return 0;
	}
	w->item->e = now;
	if (m.status == EVALUATED_OK)
		recheck_done(a, w, m.envelope);
	else	/* counted: a message that kills verify must come to an end */
		recheck_again(a, w, SLICE_LIT("not-evaluated"));
	return 0;
}
