// SPDX-License-Identifier: Apache-2.0
#include "queue/attempt_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "base/proto/queue_seal.h"
#include "queue/notices.h"

uint32_t
attempt_random(void)
{
	uint32_t r;

	crypto_random(&r, sizeof(r));
	return r;
}

/* ---- work ---- */

struct work *
work_new(struct attempts *a, struct item *it)
{
	struct work *w = mem_new(sizeof(*w));

	w->attempts = a;
	w->item = it;
	w->msg.body_fd = -1;
	buf_init(&w->fresh, ENVELOPE_MAX);
	w->all_next = a->all;
	if (a->all != NULL)
		a->all->all_prev = w;
	a->all = w;
	it->work = w;
	return w;
}

void
work_ask(struct attempts *a, struct work *w, enum role_kind peer, unsigned index, int64_t patience)
{
	w->req = ++a->req;
	w->peer = (uint8_t)peer;
	w->index = (uint8_t)index;
	w->asked = true;
	w->until_ms = clock_mono_ms() + patience;
	w->next = a->bucket[w->req % ATTEMPT_BUCKETS];
	a->bucket[w->req % ATTEMPT_BUCKETS] = w;
}

static void
work_answered(struct attempts *a, struct work *w)
{
	struct work **at = &a->bucket[w->req % ATTEMPT_BUCKETS];

	if (!w->asked)
		return;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->asked = false;
}

/* The one waiting for this answer from this peer, or NULL (late, or not asked there). */
struct work *
work_take(struct attempts *a, enum role_kind peer, unsigned index, uint64_t req)
{
	struct work *w = a->bucket[req % ATTEMPT_BUCKETS];

	while (w != NULL && w->req != req)
		w = w->next;
	if (w == NULL || w->peer != peer || w->index != index)
		return NULL;
	work_answered(a, w);
	return w;
}

void
work_drop_message(struct work *w)
{
	if (w->have_msg)
		spool_message_fini(&w->msg);
	w->have_msg = false;
}

void
attempt_forget(void *arg, struct item *it)
{
	struct attempts *a = arg;
	struct work *w = it->work;

	it->work = NULL;
	if (w == NULL)
		return;
	spool_fetch_cancel(&w->fetch);
	work_answered(a, w);
	work_drop_message(w);
	if (w->all_prev != NULL)
		w->all_prev->all_next = w->all_next;
	else
		a->all = w->all_next;
	if (w->all_next != NULL)
		w->all_next->all_prev = w->all_prev;
	attempt_uncount(a, w);
	attempt_announce_end(a, w);
	buf_fini(&w->fresh);
	free(w->recovery);
	free(w->domain);
	free(w->author);
	free(w->group);
	free(w);
}

struct attempts *
attempts_new(struct role *r, struct spool *sp, struct failover *f, struct replay *rp,
    struct tally *t, struct marks *m, struct history *h, const struct consent *k,
    struct marks *told)
{
	struct attempts *a = mem_new(sizeof(*a));

	a->role = r;
	a->spool = sp;
	a->failover = f;
	a->replay = rp;
	a->tally = t;
	a->marks = m;
	a->history = h;
	a->consent = k;
	a->told = told;
	a->routes = routes_new(r->conf->dns_cache_max);
	return a;
}

void
attempts_bind(struct attempts *a, struct schedule *s, struct notices *n)
{
	a->schedule = s;
	a->notices = n;
}

void
attempts_watch(struct attempts *a, attempts_result_fn *fn, void *arg)
{
	a->result = fn;
	a->result_arg = arg;
}

void
attempts_free(struct attempts **ap)
{
	struct attempts *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	CHECK(a->all == NULL);
	routes_free(&a->routes);
	free(a);
}

/* ---- ends ---- */

/* Writes the change unless the leg was settled by somebody else meanwhile (an operator,
 * a switch); a delivery that happened is always written. */
void
attempt_write(struct attempts *a, struct item *it, const struct legs_change *to)
{
	struct spool_entry now;

	if (spool_get(a->spool, it->e.ref, &now) < 0)
		return;
	if (leg_settled(now.leg[it->leg].state) && to->leg.state != LEG_DELIVERED)
		return;
	schedule_write(a->schedule, &now, (enum leg_kind)it->leg, to);
}

static void
attempt_log(const struct item *it, const char *event, const struct queue_delivered *r)
{
	char id[MSGID_TEXT + 1];

	msgid_print(it->e.id, id);
	log_info(event, "id=%s/%u leg=hold outcome=%u scope=%u code=%u enhanced=%s "
	    "peer=%s text=%s", id, it->e.rcpt_index, r->outcome, r->scope, r->code,
	    log_esc(r->enhanced), log_esc(r->peer), log_esc(r->text));
}

void
attempt_remember(struct attempts *a, const struct work *w, const struct queue_delivered *m,
    enum reply_class class, const struct legs_change *to)
{
	const struct item *it = w->item;
	struct history_entry e = { .id = it->e.id, .rcpt = it->e.rcpt_index, .leg = it->leg,
		.class = (uint8_t)class, .form = w->form, .outcome = m->outcome, .code = m->code,
		.time_ms = clock_wall_ms(),
		.next_ms = to != NULL && to->leg.state == LEG_WAITING ? to->leg.next_ms : 0 };

	history_enhanced(&e, m->enhanced);
	history_add(a->history, &e);
}

static enum reply_class
hold_class(const struct queue_delivered *m)
{
	const struct reply r = { m->code, m->enhanced, m->text, SLICE_NONE };

	return m->outcome == DELIVER_OK ? REPLY_OK : (enum reply_class)reply_classify(&r).class;
}

static void
attempt_alarm(const struct item *it, const struct legs_change *to)
{
	char id[MSGID_TEXT + 1];

	msgid_print(it->e.id, id);
	log_warn("alarm", "what=primary-refused id=%s/%u code=%u note=%s fix=%s", id,
	    it->e.rcpt_index, to->leg.code, log_escs(to->note),
	    log_escs("mend the primary, then: salvaposta queue retry"));
}

void
attempt_skip(struct attempts *a, struct item *it, enum leg_state st, struct slice note)
{
	struct legs_change to;

	legs_end(&it->e, (enum leg_kind)it->leg, st, it->e.leg[it->leg].code, note, &to);
	if (to.note[0] == '\0')
		(void)snprintf(to.note, sizeof(to.note), "no-reason");
	char id[MSGID_TEXT + 1];
	msgid_print(it->e.id, id);
	log_info("not-sent", "id=%s/%u leg=%s state=%s note=%s", id, it->e.rcpt_index,
	    it->leg == LEG_HOLD ? "hold" : "forward", leg_state_name(st), log_escs(to.note));
	attempt_write(a, it, &to);
	schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
}

void
attempt_later(struct attempts *a, struct item *it, int64_t after_ms)
{
	schedule_finish(a->schedule, it, SCHEDULE_AGAIN, after_ms);
}

/* A directory that cannot answer is asked again by one leg after the other: each has its
 * own turn, or a long queue would ask for nothing but that. */
void
attempt_ask_later(struct attempts *a, struct item *it)
{
	int64_t now = clock_mono_ms();

	if (a->directory_ms < now + ATTEMPT_DIRECTORY_MS)
		a->directory_ms = now + ATTEMPT_DIRECTORY_MS;
	a->directory_ms += ATTEMPT_SPACING_MS;
	attempt_later(a, it, a->directory_ms - now);
}

/* The spool settles what is damaged; anything else is a disk that fails now and may read
 * again in seconds: the leg must come back then. */
void
attempt_unread(struct attempts *a, struct item *it)
{
	struct spool_entry now;
	struct legs_change to;
	enum leg_kind leg = (enum leg_kind)it->leg;

	if (spool_get(a->spool, it->e.ref, &now) < 0 ||
	    leg_settled((enum leg_state)now.leg[leg].state)) {
		schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
		return;
	}
	to.leg = now.leg[leg];
	to.leg.next_ms = schedule_now(a->schedule) + ATTEMPT_DISK_MS;
	if (spool_note(a->spool, it->e.ref, leg, to.note, sizeof(to.note)) < 0)
		to.note[0] = '\0';
	if (to.leg.state == LEG_WAITING)
		schedule_write(a->schedule, &now, leg, &to);
	attempt_later(a, it, ATTEMPT_DISK_MS);
}

/* ---- the message ---- */

static void
on_message(void *arg, int error, struct spool_message *m)
{
	struct work *w = arg;
	struct attempts *a = w->attempts;
	struct spool_entry now;

	w->fetch = NULL;
	work_answered(a, w);
	if (error != 0) {
		attempt_unread(a, w->item);
		return;
	}
	w->msg = *m;
	w->have_msg = true;
	/* A disk may take its time, and an operator may have decided meanwhile. */
	if (spool_get(a->spool, w->item->e.ref, &now) < 0 ||
	    leg_settled((enum leg_state)now.leg[w->item->leg].state)) {
		schedule_finish(a->schedule, w->item, SCHEDULE_NEUTRAL, 0);
		return;
	}
	w->item->e = now;
	w->then(a, w);
}

/* Goes on with `then` when the message is here, which is at once for a fresh one. */
void
work_read(struct attempts *a, struct work *w, bool with_body,
    void (*then)(struct attempts *a, struct work *w))
{
	work_drop_message(w);
	if (spool_recent(a->spool, w->item->e.ref, with_body, &w->msg) == 0) {
		w->have_msg = true;
		then(a, w);
		return;
	}
	w->then = then;
	w->fetch = spool_fetch(a->spool, w->item->e.ref, with_body, on_message, w);
	if (w->fetch == NULL)
		attempt_unread(a, w->item);
	else	/* of nobody but the disk: no link can be lost */
		work_ask(a, w, ROLE_MAX, 0, ATTEMPT_READ_MAX_MS);
}

/* ---- relay ---- */

/*
 * Connections are kept by the relays, so one destination stays with one relay as long
 * as that is not busy with it; a large backlog spreads over all.
 */
static struct ipc *
attempt_relay(struct attempts *a, const struct dest *d, unsigned *index)
{
	struct ipc *best = NULL;
	unsigned load = UINT32_MAX, n = a->role->conf->relays;

	if (n > ROLE_PEERS_MAX)
		n = ROLE_PEERS_MAX;
	/* A provider stays with one relay: its few connections are counted there (8.2). */
	for (unsigned i = 0; d->provider != NULL && i < n; i++) {
		*index = (unsigned)((d->hash + i) % n);
		best = role_link(a->role, ROLE_RELAY, *index);
		if (best != NULL)
			return best;
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (unsigned)((d->hash + i) % n);
		struct ipc *ch = role_link(a->role, ROLE_RELAY, at);

		if (ch == NULL || d->at_relay[at] / ATTEMPT_RELAY_STEP >= load)
			continue;
		best = ch;
		load = d->at_relay[at] / ATTEMPT_RELAY_STEP;
		*index = at;
	}
	return best;
}

/* Spec 13.5: what the message asks of TLS. REQUIRETLS goes before the header field, which
 * counts where its author's word does: on the way to the primary, and of our own reports. */
static uint8_t
attempt_tls(const struct attempts *a, const struct work *w)
{
	const struct conf *c = a->role->conf;
	bool hold = w->item->leg == LEG_HOLD, notice = w->item->e.kind == RCPT_NOTICE;
	struct envelope_rcpt rcpt;
	const struct conf_domain *d;

	if ((w->msg.env.flags & ENV_REQUIRETLS) != 0) {
		d = !hold || spool_message_rcpt(&w->msg, w->item->e.rcpt_index, &rcpt) < 0 ?
		    NULL : conf_domain_find(c, rcpt.domain);
		return d != NULL && d->primary_trusted ? DELIVER_TLS_DEFAULT :
		    DELIVER_TLS_REQUIRETLS;
	}
	if ((w->msg.env.flags & ENV_TLS_OPTIONAL) != 0 && (hold || notice ||
	    c->honour_tls_required_no))
		return DELIVER_TLS_OPTIONAL;
	return DELIVER_TLS_DEFAULT;
}

/* Sends it with that body; what it asks of TLS and of 8 bits is in q. */
void
attempt_send(struct attempts *a, struct work *w, struct queue_deliver *q, int body_fd)
{
	struct item *it = w->item;
	unsigned index = 0;
	struct ipc *ch = attempt_relay(a, it->dest, &index);

	if (ch == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	work_ask(a, w, ROLE_RELAY, index, ATTEMPT_DELIVER_MAX_MS);
	q->req = w->req;
	q->id = it->e.id;
	q->rcpt_index = it->e.rcpt_index;
	q->leg = it->leg;
	if (it->dest->provider == NULL)		/* those have a bound of their own (8.2) */
		q->connections = (uint16_t)schedule_connections(a->schedule, it, index);
	q->ahead = it->leg == LEG_HOLD && it->replay == NULL;
	if (ipc_send(ch, QUEUE_DELIVER, &queue_deliver_wire, q, body_fd) == 0) {
		schedule_at_relay(a->schedule, it, index);
		work_drop_message(w);
		return;
	}
	if (role_link(a->role, ROLE_RELAY, index) == NULL || errno == EPIPE) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	/* It does not fit a message between roles: no retry will mend that. */
	attempt_skip(a, it, it->leg == LEG_HOLD ? LEG_PARKED : LEG_FAILED, SLICE_LIT("too-large"));
}

void
attempt_deliver(struct attempts *a, struct work *w, struct queue_deliver *q)
{
	uint8_t asked = attempt_tls(a, w);

	q->need_8bit = (w->msg.env.flags & ENV_HAS_8BIT) != 0;
	q->need_utf8 = (w->msg.env.flags & ENV_SMTPUTF8) != 0;
	if (asked == DELIVER_TLS_REQUIRETLS || q->tls == DELIVER_TLS_DEFAULT)
		q->tls = asked;		/* never less than the provider's own `tls = required` */
	attempt_send(a, w, q, w->msg.body_fd);
}

/* ---- hold ---- */

static void
hold_start(struct attempts *a, struct work *w)
{
	struct item *it = w->item;
	struct legs_route route;
	struct envelope_rcpt rcpt;
	struct buf prefix;
	char id[MSGID_TEXT + 1];

	if (replay_route(a->replay, a->role->conf, a->failover, &it->e, &route, NULL) < 0 ||
	    spool_message_rcpt(&w->msg, it->e.rcpt_index, &rcpt) < 0) {
		attempt_skip(a, it, LEG_PARKED, SLICE_LIT("no-route"));
		return;
	}
	buf_init(&prefix, ENVELOPE_MAX);
	msgid_print(it->e.id, id);
	if (buf_printf(&prefix, "X-Fwd-Queue-Id: %s/%u\r\n", id, it->e.rcpt_index) < 0 ||
	    buf_put_slice(&prefix, w->msg.env.trace) < 0) {
		attempt_skip(a, it, LEG_PARKED, SLICE_LIT("too-large"));
		goto out;
	}
	w->notify = rcpt.notify;
	w->lmtp = route.kind == ROUTE_LMTP;
	struct queue_deliver q = {
		.route = (uint8_t)route.kind, .port = route.port, .host = slice_str(route.host),
		.mail_from = w->msg.env.mail_from,	/* the original sender, never SRS (11.1) */
		.rcpt = route.rcpt != NULL ? slice_str(route.rcpt) : rcpt.address,
		.prefix = buf_slice(&prefix), .cuts = w->msg.env.cuts,
		.notify = rcpt.notify, .envid = w->msg.env.envid, .ret = w->msg.env.ret,
		.orcpt = rcpt.orcpt,
	};
	attempt_deliver(a, w, &q);
out:
	buf_fini(&prefix);
}

/* ---- start and result ---- */

static void
deliver(struct attempts *a, struct work *w)
{
	if (w->item->leg == LEG_HOLD)
		hold_start(a, w);
	else if (w->item->e.kind == RCPT_NOTICE)
		attempt_notice_start(a, w);
	else if (w->item->e.kind == RCPT_RETURN_PATH)
		attempt_node_start(a, w);
	else if (attempt_recheck_needed(w))
		attempt_recheck_start(a, w);
	else
		attempt_forward_start(a, w);
}

void
attempt_start(void *arg, struct item *it)
{
	struct attempts *a = arg;
	struct spool_entry now;
	struct legs_change to;
	struct work *w = it->work;

	/* It may have waited in the window while the world changed. */
	if (spool_get(a->spool, it->e.ref, &now) < 0) {
		schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
		return;
	}
	it->e = now;
	switch (legs_admit(a->role->conf, a->failover, &it->e, (enum leg_kind)it->leg,
	    schedule_now(a->schedule), &to)) {
	case LEGS_RUN:
		break;
	case LEGS_SETTLE:
		schedule_settle(a->schedule, &it->e, (enum leg_kind)it->leg, &to);
		schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
		return;
	case LEGS_WAIT:
	case LEGS_PASS:
	case LEGS_READ:
		schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
		return;
	}
	if (w == NULL)
		w = work_new(a, it);
	work_read(a, w, true, deliver);
}

static void
attempt_count(struct attempts *a, const struct item *it, const struct queue_delivered *m)
{
	int64_t now = clock_wall_ms();

	if (it->e.kind != RCPT_USER || attempt_in_peace(a, it))
		return;		/* the tally is of incidents */
	if (m->outcome == DELIVER_OK)
		tally_delivered(a->tally, it->e.group, (enum leg_kind)it->leg, it->e.triage,
		    schedule_now(a->schedule) - (it->e.received_ms + it->e.shift_ms), now);
	else
		tally_refused(a->tally, it->e.group, (enum leg_kind)it->leg, m->code, m->enhanced,
		    now);
}

static void
hold_told(void *arg)
{
	struct work *w = arg;
	struct attempts *a = w->attempts;
	struct item *it = w->item;

	attempt_write(a, it, &w->taken);
	schedule_finish(a->schedule, it, SCHEDULE_WORKED, 0);
}

/* 2.3.1: the sender asked to be told, and the next hop does not do it for us. The leg is
 * settled once that notification is kept; a crash before may replay it again (11.3). */
static bool
hold_tell(struct attempts *a, struct work *w, const struct queue_delivered *m,
    const struct legs_change *to)
{
	struct item *it = w->item;

	if (it->leg != LEG_HOLD || it->e.kind != RCPT_USER || m->outcome != DELIVER_OK ||
	    m->dsn || (w->notify & NOTIFY_SUCCESS) == 0)
		return false;
	w->taken = *to;
	notices_taken(a->notices, &it->e, w->lmtp, hold_told, w);
	return true;
}

static int
relay_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct queue_delivered m;
	struct spool_entry now;
	struct legs_change to;

	if (wire_get(body, &queue_delivered_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_RELAY, index, m.req);
	if (w == NULL)
		return 0;
	struct item *it = w->item;
	if (spool_get(a->spool, it->e.ref, &now) == 0)
		it->e = now;
	if (w->announcing) {
		attempt_announce_reply(a, w, &m);
		return 0;
	}
	attempt_count(a, it, &m);
	if (it->leg == LEG_FORWARD) {
		if (it->e.kind == RCPT_NOTICE)
			attempt_notice_reply(a, w, &m);
		else if (it->e.kind == RCPT_RETURN_PATH)
			attempt_node_reply(a, w, &m);
		else
			attempt_forward_reply(a, w, &m);
		return 0;
	}
	attempt_log(it, m.outcome == DELIVER_OK ? "delivered" : "not-delivered", &m);
	schedule_replied(a->schedule, it, &m);
	if (it->e.kind == RCPT_USER && a->result != NULL)
		a->result(a->result_arg, it->e.group, &m);
	switch (legs_result(a->role->conf, failover_find(a->failover, it->e.group), &it->e, &m,
	    schedule_now(a->schedule), attempt_random(), &to)) {
	case LEGS_DONE:
	case LEGS_RETRY:
		attempt_remember(a, w, &m, hold_class(&m), &to);
		if (hold_tell(a, w, &m, &to))
			return 0;
		attempt_write(a, it, &to);
		if (to.leg.state == LEG_PARKED && to.leg.attempts > 0)
			attempt_alarm(it, &to);
		schedule_finish(a->schedule, it, m.scope == SCOPE_HOST && m.outcome != DELIVER_OK ?
		    SCHEDULE_NEUTRAL : SCHEDULE_WORKED, 0);
		return 0;
	case LEGS_HOST:
		attempt_remember(a, w, &m, hold_class(&m), NULL);
		break;
	}
	schedule_finish(a->schedule, it, SCHEDULE_HOST_FAILED, 0);
	return 0;
}

/* ---- links ---- */

int
attempts_message(struct attempts *a, enum role_kind peer, unsigned index, uint32_t type,
    struct slice body)
{
	if (peer == ROLE_DIRECTORY && type == DIR_TARGETED)
		return attempt_directory_answer(a, index, body);
	if (peer == ROLE_SEAL && type == SEAL_PREPARED)
		return attempt_seal_answer(a, index, body);
	if (peer == ROLE_SEAL && type == SEAL_TAGGED)
		return attempt_tag_answer(a, index, body);
	if (peer == ROLE_RELAY && type == QUEUE_ROUTED)
		return attempt_route_answer(a, index, body);
	if (peer == ROLE_RELAY && type == QUEUE_EVALUATED)
		return attempt_recheck_answer(a, index, body);
	if (peer == ROLE_RELAY && type == QUEUE_DELIVERED)
		return relay_answer(a, index, body);
	return -1;
}

/*
 * Whether a delivery had reached its final dot is not known: it is tried again, which
 * may repeat it (11.3) but never loses it.
 */
static void
attempts_lose(struct attempts *a, bool (*lost)(const struct work *, const void *), const void *arg)
{
	struct work *w = a->all, *next;

	for (; w != NULL; w = next) {
		next = w->all_next;
		if (w->asked && lost(w, arg))
			attempt_later(a, w->item, ATTEMPT_SOON_MS);
	}
}

struct attempts_peer {
	enum role_kind	peer;
	unsigned	index;
};

static bool
work_at(const struct work *w, const void *arg)
{
	const struct attempts_peer *p = arg;

	return w->peer == p->peer && w->index == p->index;
}

void
attempts_link_down(struct attempts *a, enum role_kind peer, unsigned index)
{
	const struct attempts_peer p = { peer, index };

	attempts_lose(a, work_at, &p);
}

static bool
work_overdue(const struct work *w, const void *arg)
{
	return w->until_ms <= *(const int64_t *)arg;
}

void
attempts_sweep(struct attempts *a)
{
	int64_t now = clock_mono_ms();

	attempts_lose(a, work_overdue, &now);
}
