// SPDX-License-Identifier: Apache-2.0
/*
 * The notice to a user before the first copy of an outage (spec 12.3). It goes the way of
 * that copy, just before it and in its place: same provider, same pace, same bounds. So there
 * is nothing to schedule, and nothing in the spool: who has had it is a mark (queue/marks.h,
 * file "told"), written when the destination took it. A kill in between sends it once more
 * with the same Message-ID, as with any delivery (11.3).
 *
 * It never costs the copy: what a host, a full mailbox or a provider says would have met the
 * copy as well; a notice that is refused for itself, or put off ANNOUNCE_TRIES times, is given
 * up for this outage and the copy goes. Other copies of this user wait for it meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proto/queue_seal.h"
#include "queue/attempt_priv.h"

enum { ANNOUNCE_TRIES = 3, DAY_MS = 24 * 3600 * 1000 };
static const int64_t announce_keep_ms = 400LL * DAY_MS;	/* MARK_NOTICE ends so long after */

/* ---- is one due? ---- */

/* Which outage: by equality only, the wall clock may jump. */
static uint32_t
announce_outage(const struct failover_group *g)
{
	return (uint32_t)g->since_ms;
}

/* A new recovery address has given no leave yet: it gets a notice of its own. */
static uint64_t
announce_pair(const struct attempts *a, uint64_t user_key, struct slice recovery)
{
	char user[24];

	(void)snprintf(user, sizeof(user), "%016llx", (unsigned long long)user_key);
	return marks_key(a->marks, slice_str(user), recovery);
}

static uint64_t
announce_key(const struct attempts *a, const struct work *w)
{
	return announce_pair(a, w->user_key, slice_str(w->recovery));
}

static bool
announce_told(const struct attempts *a, const struct work *w, const struct failover_group *g)
{
	int64_t now = schedule_now(a->schedule);
	struct mark m;

	return marks_get(a->told, MARK_NOTICE, announce_key(a, w), now, &m) &&
	    (m.value == announce_outage(g) ||
	    now - (m.until_ms - announce_keep_ms) < a->role->conf->notice_pause_ms);
}

/* Mail of our own, as the drill's, is no news of an outage. */
static bool
announce_own(const struct attempts *a, struct slice sender)
{
	size_t at = slice_rfind(sender, '@');

	return at < sender.n && slice_ieq(slice_sub(sender, at + 1, sender.n),
	    slice_str(a->role->conf->forwarder.domain));
}

static struct work *
announce_other(const struct attempts *a, const struct work *w)
{
	struct work *o = a->announcing;

	while (o != NULL && (o->user_key != w->user_key || o == w))
		o = o->announce_next;
	return o;
}

/* ---- start ---- */

void
attempt_announce_end(struct attempts *a, struct work *w)
{
	struct work **at = &a->announcing;

	if (!w->announcing)
		return;
	while (*at != w)
		at = &(*at)->announce_next;
	*at = w->announce_next;
	w->announcing = false;
}

static void
announce_ask(struct attempts *a, struct work *w, const struct failover_group *g,
    const struct envelope_rcpt *rcpt)
{
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_SEAL, &index);
	struct item *it = w->item;

	w->announcing = true;
	w->announce_next = a->announcing;
	a->announcing = w;
	if (ch == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	work_ask(a, w, ROLE_SEAL, index, ATTEMPT_ASK_MAX_MS);
	const struct seal_announce q = {
		.req = w->req, .id = it->e.id, .rcpt_index = it->e.rcpt_index,
		.attempt = it->e.leg[LEG_FORWARD].attempts, .now_ms = (uint64_t)clock_wall_ms(),
		.since_ms = (uint64_t)g->since_ms, .user_key = w->consent_key, .handle = it->e.user,
		.user = rcpt->user, .domain = rcpt->domain, .language = slice_str(w->language),
	};
	if (ipc_send(ch, SEAL_ANNOUNCE, &seal_announce_wire, &q, -1) < 0)
		attempt_later(a, it, ATTEMPT_SOON_MS);
}

bool
attempt_announce(struct attempts *a, struct work *w)
{
	const struct failover_group *g = failover_find(a->failover, w->item->e.group);
	const struct conf_domain *d;
	struct envelope_rcpt rcpt;

	if (w->announced || g == NULL || g->phase != PHASE_ACTIVE ||
	    spool_message_rcpt(&w->msg, w->item->e.rcpt_index, &rcpt) < 0)
		return false;
	d = conf_domain_find(a->role->conf, rcpt.domain);
	if (d == NULL || !d->user_notice || a->role->conf->forwarder.domain == NULL ||
	    announce_own(a, w->msg.env.mail_from) || announce_told(a, w, g))
		return false;
	if (announce_other(a, w) != NULL)
		attempt_later(a, w->item, ATTEMPT_SOON_MS);	/* its copies come after it */
	else if (attempt_room(a, w))
		announce_ask(a, w, g, &rcpt);
	return true;
}

/* ---- on its way ---- */

/* The copy itself, which was waiting. */
static void
announce_go_on(struct attempts *a, struct work *w)
{
	attempt_announce_end(a, w);
	schedule_from_relay(a->schedule, w->item);
	w->announced = true;
	work_read(a, w, true, attempt_forward_start);
}

static void
announce_send(struct attempts *a, struct work *w, const struct seal_announced *m, int fd)
{
	const struct conf_domain *d = conf_domain_find(a->role->conf, slice_str(w->domain));
	struct queue_deliver q = {
		.route = ROUTE_MX, .host = slice_str(w->domain), .mail_from = m->mail_from,
		.rcpt = slice_str(w->recovery), .group = slice_str(w->group),
		.notify = NOTIFY_FAILURE, .ret = SLICE_LIT("HDRS"), .envid = m->token,
	};

	if (w->direct && d != NULL && d->primary.kind != ROUTE_MX) {
		q.route = (uint8_t)d->primary.kind;
		q.host = slice_str(d->primary.host);
		q.port = d->primary.port;
	} else if (!w->direct && conf_provider_find(a->role->conf,
	    slice_str(w->group))->tls_required) {
		q.tls = DELIVER_TLS_REQUIRED;
	}
	attempt_send(a, w, &q, fd);
}

int
attempts_announced(struct attempts *a, unsigned index, struct slice body, int fd)
{
	struct seal_announced m;
	char id[MSGID_TEXT + 1];

	if (wire_get(body, &seal_announced_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_SEAL, index, m.req);
	if (w == NULL)
		return 0;
	if (m.status == SEAL_OK && fd >= 0) {
		announce_send(a, w, &m, fd);
		return 0;
	}
	attempt_uncount(a, w);
	if (m.status != SEAL_HOLD) {
		msgid_print(w->item->e.id, id);
		log_error("user-notice", "id=%s error=%s", id, log_escs("could not be made; the copy "
		    "goes without it"));
	}
	announce_go_on(a, w);
	return 0;
}

/* ---- what became of it ---- */

static void
announce_mark(struct attempts *a, struct work *w)
{
	const struct failover_group *g = failover_find(a->failover, w->item->e.group);
	int64_t now = schedule_now(a->schedule);

	if (g != NULL)
		marks_set(a->told, MARK_NOTICE, announce_key(a, w), now + announce_keep_ms,
		    announce_outage(g), now);
}

/* 4yz for this mailbox alone, as greylisting does. True: not now. */
static bool
announce_wait(struct attempts *a, struct work *w)
{
	uint64_t key = announce_key(a, w);
	int64_t now = schedule_now(a->schedule);
	struct mark m = { 0, 0 };

	(void)marks_get(a->told, MARK_NOTICE_TRIES, key, now, &m);
	if (m.value + 1 >= ANNOUNCE_TRIES) {
		marks_clear(a->told, MARK_NOTICE_TRIES, key, now);
		return false;
	}
	marks_set(a->told, MARK_NOTICE_TRIES, key, now + DAY_MS, m.value + 1, now);
	a->notices_later++;
	attempt_put_off(a, w, now + forward_backoff(a->role->conf, m.value + 1, attempt_random()));
	return true;
}

static void
announce_log(const struct work *w, const struct queue_delivered *m, enum reply_class class)
{
	char id[MSGID_TEXT + 1];

	msgid_print(w->item->e.id, id);
	log_info(m->outcome == DELIVER_OK ? "user-notice" : "user-notice-refused", "before=%s/%u "
	    "to=%s outcome=%u scope=%u code=%u enhanced=%s class=%s tls=%u", id,
	    w->item->e.rcpt_index, log_hash(slice_str(w->recovery)), m->outcome, m->scope, m->code,
	    log_esc(m->enhanced), reply_class_name(class), m->tls);
}

/* What was said is about the mailbox, the provider or us, not about the notice: it holds for
 * the copy, which is put off or ends by the same marks. */
static bool
announce_class(struct attempts *a, struct work *w, const struct queue_delivered *m,
    struct reply_verdict v)
{
	struct forward_reply f = {
		.conf = a->role->conf, .group = failover_find(a->failover, w->item->e.group),
		.e = &w->item->e, .r = m, .verdict = v, .note = w->note,
		.now = schedule_now(a->schedule), .random = attempt_random(),
	};

	f.verdict.scope = REPLY_SCOPE_ALL;	/* no author's domain is in it but ours */
	switch ((enum reply_class)v.class) {
	case REPLY_RATE:
	case REPLY_BLOCK:
	case REPLY_USERRATE:
	case REPLY_FULL:
	case REPLY_SETUP:
	case REPLY_NOUSER:
		if (w->direct)
			return false;
		(void)attempt_class(a, w, &f);
		return true;
	case REPLY_OK:
	case REPLY_TEMP:
	case REPLY_PERM:
	case REPLY_AUTH:
	case REPLY_SPAM:
	case REPLY_STRUCTURE:
	case REPLY_SIZE:
	case REPLY_LOOP:
	case REPLY_ADDR:
	case REPLY_CLASS_MAX:
		break;
	}
	return false;
}

static void
announce_taken(struct attempts *a, struct work *w)
{
	announce_mark(a, w);
	marks_clear(a->told, MARK_NOTICE_TRIES, announce_key(a, w), schedule_now(a->schedule));
	a->notices_sent++;
	attempt_forward_counted(a, w);
	announce_go_on(a, w);
}

void
attempt_announce_reply(struct attempts *a, struct work *w, const struct queue_delivered *m)
{
	struct reply_verdict v = attempt_verdict(w, m);

	if (attempt_untried(m)) {
		attempt_put_off(a, w, schedule_now(a->schedule) + ATTEMPT_SOON_MS);
		return;
	}
	announce_log(w, m, (enum reply_class)v.class);
	if (m->outcome == DELIVER_OK) {
		announce_taken(a, w);
		return;
	}
	attempt_uncount(a, w);
	if (announce_class(a, w, m, v)) {
		/* NOUSER that may change is one more 4yz of this mailbox */
		if (v.class != REPLY_NOUSER || v.closed || !announce_wait(a, w))
			announce_go_on(a, w);
		return;
	}
	if (m->scope == SCOPE_HOST && m->outcome != DELIVER_LOCAL) {
		schedule_finish(a->schedule, w->item, SCHEDULE_HOST_FAILED, 0);
		return;
	}
	if (!v.closed && announce_wait(a, w))
		return;
	a->notices_refused++;
	announce_mark(a, w);
	announce_go_on(a, w);
}

/* ---- status ---- */

int64_t
attempt_announce_time(const struct attempts *a, struct slice user, struct slice recovery)
{
	struct mark m;

	return marks_get(a->told, MARK_NOTICE, announce_pair(a, marks_key(a->marks, user,
	    SLICE_NONE), recovery), schedule_now(a->schedule), &m) ? m.until_ms - announce_keep_ms :
	    0;
}

void
attempt_announce_status(const struct attempts *a, struct buf *out)
{
	(void)!buf_printf(out, ",\"user_notices\":{\"sent\":%llu,\"refused\":%llu,\"put_off\":%llu,"
	    "\"remembered\":%u}", (unsigned long long)a->notices_sent,
	    (unsigned long long)a->notices_refused, (unsigned long long)a->notices_later,
	    marks_count(a->told));
}
