// SPDX-License-Identifier: Apache-2.0
/*
 * A copy of ours that came back (spec 9.1). It was committed like any message; seal, which has
 * the key, says whose copy it is. The user is marked, nothing is forwarded, and the hold leg
 * ends as LEGS_NOTE_CAME_BACK when the message it is a copy of is known to the spool: one
 * message, once in the store. In doubt it stays held.
 */
#include "base/log.h"
#include "base/proto/queue_seal.h"
#include "queue/attempt_priv.h"

enum { DAY_MS = 24 * 3600 * 1000, TAG_LATER_MS = 60 * 1000 };

static void
tag_ask(struct attempts *a, struct work *w)
{
	struct item *it = w->item;
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_SEAL, &index);
	struct envelope_rcpt rcpt;

	if (ch == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	if (spool_message_rcpt(&w->msg, it->e.rcpt_index, &rcpt) < 0) {
		attempt_skip(a, it, LEG_FAILED, SLICE_LIT("no-such-recipient"));
		return;
	}
	w->user_key = marks_key(a->marks, rcpt.user, SLICE_NONE);
	work_ask(a, w, ROLE_SEAL, index, ATTEMPT_ASK_MAX_MS);
	const struct seal_tag q = { .req = w->req, .rcpt_index = it->e.rcpt_index,
		.envelope = buf_slice(&w->msg.raw) };
	int rc = ipc_send(ch, SEAL_TAG, &seal_tag_wire, &q, w->msg.body_fd);
	work_drop_message(w);
	if (rc < 0)
		attempt_later(a, it, ATTEMPT_SOON_MS);
}

void
attempt_tag_start(struct attempts *a, struct work *w)
{
	work_read(a, w, true, tag_ask);
}

/* The store has the original or will get it, or an operator dropped it. One that was bounced
 * or is damaged is no reason to let this one go. */
static bool
original_is_safe(struct attempts *a, const struct spool_entry *e, const struct seal_tagged *m)
{
	struct spool_entry o;
	struct spool_ref ref;

	if (spool_find_rcpt(a->spool, m->id, m->rcpt_index, RCPT_USER, &ref) < 0 ||
	    spool_get(a->spool, ref, &o) < 0)
		return false;
	if (o.user != e->user || o.group != e->group || memcmp(&o.id, &e->id, sizeof(o.id)) == 0)
		return false;
	switch ((enum leg_state)o.leg[LEG_HOLD].state) {
	case LEG_PARKED:
	case LEG_WAITING:
	case LEG_DELIVERED:
	case LEG_DROPPED:
		return true;
	case LEG_ABSENT:
	case LEG_FAILED:
	case LEG_SKIPPED:
	case LEG_STATE_MAX:
		break;
	}
	return false;
}

/* Only what still waits for the replay: nothing is under way with it then. */
static bool
tag_drop_hold(struct attempts *a, const struct item *it, const struct seal_tagged *m)
{
	struct spool_entry now;
	struct legs_change to;

	if (spool_get(a->spool, it->e.ref, &now) < 0 || !legs_is_backlog(&now) ||
	    !original_is_safe(a, &now, m))
		return false;
	legs_end(&now, LEG_HOLD, LEG_DROPPED, 0, SLICE_LIT(LEGS_NOTE_CAME_BACK), &to);
	schedule_write(a->schedule, &now, LEG_HOLD, &to);
	return true;
}

static void
tag_came_back(struct attempts *a, struct work *w, const struct seal_tagged *m)
{
	int64_t now = schedule_now(a->schedule);
	struct item *it = w->item;
	char id[MSGID_TEXT + 1], of[MSGID_TEXT + 1] = "-";
	bool dropped = m->status == TAG_COPY && tag_drop_hold(a, it, m);

	msgid_print(it->e.id, id);
	if (m->status == TAG_COPY)
		msgid_print(m->id, of);
	log_info("came-back", "id=%s/%u copy_of=%s hold=%s", id, it->e.rcpt_index, of,
	    dropped ? "dropped" : "kept");
	marks_set(a->marks, MARK_LOOP, w->user_key, now + DAY_MS, 0, now);
	attempt_skip(a, it, LEG_SKIPPED, SLICE_LIT("loop"));
}

int
attempt_tag_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct seal_tagged m;

	if (wire_get(body, &seal_tagged_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_SEAL, index, m.req);
	if (w == NULL)
		return 0;
	switch ((enum seal_tag_status)m.status) {
	case TAG_NOT_OURS:
		w->tag_read = true;
		work_read(a, w, false, attempt_resolve_message);
		return 0;
	case TAG_OURS:
	case TAG_COPY:
		tag_came_back(a, w, &m);
		return 0;
	case TAG_ERROR:
	case TAG_STATUS_MAX:
		break;
	}
	attempt_put_off(a, w, schedule_now(a->schedule) + TAG_LATER_MS);
	return 0;
}
