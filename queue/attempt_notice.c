// SPDX-License-Identifier: Apache-2.0
/* Notifications of ours on their way to a sender (spec 2.3): to his MX, or to the primary when
 * he is a user of ours; tried for forward-ttl, then given up and nobody told. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/attempt_priv.h"
#include "queue/notices.h"

void
attempt_notice_place(struct attempts *a, struct work *w, struct slice address)
{
	size_t at = slice_rfind(address, '@');
	char key[DEST_KEY_MAX];

	if (address.n > ATTEMPT_RECOVERY_MAX || at == 0 || at + 1 >= address.n ||
	    slice_find(address, '\0') < address.n) {
		attempt_skip(a, w->item, LEG_FAILED, SLICE_LIT("bad-sender"));
		return;
	}
	w->recovery = slice_dup(address);
	w->domain = mem_str(w->recovery + at + 1);
	bytes_lower(w->domain, strlen(w->domain));
	int n = snprintf(key, sizeof(key), "mx:%s", w->domain);
	if (n < 0 || n >= (int)sizeof(key))
		attempt_skip(a, w->item, LEG_FAILED, SLICE_LIT("bad-sender"));
	else
		schedule_place(a->schedule, w->item, key);
}

void
attempt_notice_start(struct attempts *a, struct work *w)
{
	const struct conf_domain *d = conf_domain_find(a->role->conf, slice_str(w->domain));
	struct queue_deliver q = {
		.route = ROUTE_MX, .host = slice_str(w->domain), .rcpt = slice_str(w->recovery),
	};

	if (d != NULL && d->primary.kind != ROUTE_MX) {
		q.route = (uint8_t)d->primary.kind;
		q.host = slice_str(d->primary.host);
		q.port = d->primary.port;
	}
	attempt_deliver(a, w, &q);
}

static void
notice_ends(struct attempts *a, struct work *w, enum leg_state st, uint16_t code,
    const char *note)
{
	struct legs_change to;

	legs_end(&w->item->e, LEG_FORWARD, st, code, slice_str(note), &to);
	if (to.leg.attempts < UINT16_MAX)
		to.leg.attempts++;
	attempt_write(a, w->item, &to);
}

static void
notice_again(struct attempts *a, struct work *w, const struct queue_delivered *m)
{
	const struct spool_entry *e = &w->item->e;
	struct legs_change to;

	legs_end(e, LEG_FORWARD, LEG_WAITING, m->code, SLICE_NONE, &to);
	if (to.leg.attempts < UINT16_MAX)
		to.leg.attempts++;
	to.leg.next_ms = schedule_now(a->schedule) + legs_backoff(a->role->conf,
	    to.leg.attempts, attempt_random());
	attempt_write(a, w->item, &to);
}

static void
notice_log(const struct work *w, const struct queue_delivered *m)
{
	char id[MSGID_TEXT + 1];

	msgid_print(w->item->e.id, id);
	log_info(m->outcome == DELIVER_OK ? "dsn-delivered" : "dsn-not-delivered", "id=%s to=%s "
	    "outcome=%u scope=%u code=%u enhanced=%s tls=%u", id, log_hash(slice_str(w->recovery)),
	    m->outcome, m->scope, m->code, log_esc(m->enhanced), m->tls);
}

void
attempt_notice_reply(struct attempts *a, struct work *w, const struct queue_delivered *m)
{
	enum schedule_end end = SCHEDULE_WORKED;

	notice_log(w, m);
	switch ((enum deliver_outcome)m->outcome) {
	case DELIVER_OK:
		notice_ends(a, w, LEG_DELIVERED, m->code, "");
		break;
	case DELIVER_PERM:
	case DELIVER_LOCAL:
		if (m->outcome == DELIVER_LOCAL && slice_eq(m->enhanced, SLICE_LIT("5.6.3")))
			notices_narrow(a->notices, &w->item->e);
		notice_ends(a, w, LEG_FAILED, m->code, m->outcome == DELIVER_PERM ? "refused" :
		    "not-sendable");
		end = m->scope == SCOPE_HOST ? SCHEDULE_NEUTRAL : SCHEDULE_WORKED;
		break;
	case DELIVER_TEMP:
		if (m->scope == SCOPE_HOST) {
			end = SCHEDULE_HOST_FAILED;
			break;
		}
		notice_again(a, w, m);
		break;
	case DELIVER_UNKNOWN:
	case DELIVER_MAX:
		notice_again(a, w, m);
		break;
	}
	schedule_finish(a->schedule, w->item, end, 0);
}
