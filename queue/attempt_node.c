// SPDX-License-Identifier: Apache-2.0
/*
 * A report that came here and is about a copy of another relay of ours (spec 1.4.4): handed
 * to that one as it came, under a field that says so, for the next relay must not hand it on.
 * Tried for forward-ttl, then given up; the held message it is about is safe over there.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/attempt_priv.h"

enum { NODE_FIELD_MAX = 64 };

void
attempt_node_place(struct attempts *a, struct work *w, const struct envelope_rcpt *rcpt)
{
	char key[DEST_KEY_MAX];
	struct slice host;
	uint16_t port;
	int n = conf_node_route(a->role->conf, rcpt->token, &host, &port) < 0 ? -1 :
	    snprintf(key, sizeof(key), "smtp:%.*s:%u", SLICE_FMT(host), port);

	if (n < 0 || n >= (int)sizeof(key))
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("node-unknown"));
	else
		schedule_place(a->schedule, w->item, key);
}

void
attempt_node_start(struct attempts *a, struct work *w)
{
	const struct conf *c = a->role->conf;
	struct queue_deliver q = { .route = ROUTE_SMTP };
	struct envelope_rcpt rcpt;
	struct buf prefix;

	if (spool_message_rcpt(&w->msg, w->item->e.rcpt_index, &rcpt) < 0 ||
	    conf_node_route(c, rcpt.token, &q.host, &q.port) < 0) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("node-unknown"));
		return;
	}
	buf_init(&prefix, ENVELOPE_MAX);
	if (buf_printf(&prefix, BOUNCE_NODE_FIELD ": %.*s\r\n", SLICE_FMT(rcpt.token)) < 0 ||
	    buf_put_slice(&prefix, w->msg.env.trace) < 0) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("too-large"));
	} else {
		q.rcpt = rcpt.address;
		q.mail_from = w->msg.env.mail_from;	/* null, but for senders of 2.2.2 */
		q.prefix = buf_slice(&prefix);
		attempt_deliver(a, w, &q);
	}
	buf_fini(&prefix);
}

static void
node_ends(struct attempts *a, struct work *w, enum leg_state st, uint16_t code, const char *note)
{
	struct legs_change to;

	legs_end(&w->item->e, LEG_FORWARD, st, code, slice_str(note), &to);
	if (to.leg.attempts < UINT16_MAX)
		to.leg.attempts++;
	if (st == LEG_WAITING)
		to.leg.next_ms = schedule_now(a->schedule) + legs_backoff(a->role->conf,
		    to.leg.attempts, attempt_random());
	attempt_write(a, w->item, &to);
}

void
attempt_node_reply(struct attempts *a, struct work *w, const struct queue_delivered *m)
{
	enum schedule_end end = SCHEDULE_WORKED;
	char id[MSGID_TEXT + 1];

	msgid_print(w->item->e.id, id);
	log_info(m->outcome == DELIVER_OK ? "bounce-handed-over" : "bounce-not-handed-over",
	    "id=%s peer=%s outcome=%u code=%u enhanced=%s", id, log_esc(m->peer), m->outcome,
	    m->code, log_esc(m->enhanced));
	switch ((enum deliver_outcome)m->outcome) {
	case DELIVER_OK:
		node_ends(a, w, LEG_DELIVERED, m->code, "handed-over");
		break;
	case DELIVER_PERM:	/* that node does not know the token: as 1.4.3 */
	case DELIVER_LOCAL:
		node_ends(a, w, LEG_SKIPPED, m->code, m->outcome == DELIVER_PERM ? "node-refused" :
		    "not-sendable");
		break;
	case DELIVER_TEMP:
		if (m->scope == SCOPE_HOST)
			end = SCHEDULE_HOST_FAILED;
		else
			node_ends(a, w, LEG_WAITING, m->code, "");
		break;
	case DELIVER_UNKNOWN:
	case DELIVER_MAX:
		node_ends(a, w, LEG_WAITING, m->code, "");
		break;
	}
	schedule_finish(a->schedule, w->item, end, 0);
}
