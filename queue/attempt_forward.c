// SPDX-License-Identifier: Apache-2.0
/*
 * The way of a forward leg: who is it for (directory), may it go there (9.3, marks), which
 * provider is that (relay), is there room (8.8, 8.9, 8.11), what goes out (seal).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "base/proto/queue_seal.h"
#include "queue/attempt_priv.h"
#include "queue/baseline.h"
#include "queue/optout.h"
#include "queue/volume.h"

enum { DAY_MS = 24 * 3600 * 1000, HOUR_MS = 3600 * 1000 };

/* ---- not now ---- */

void
attempt_put_off(struct attempts *a, struct work *w, int64_t until)
{
	struct item *it = w->item;
	char note[LEGS_NOTE_MAX];
	struct spool_entry now;
	struct legs_change to;

	if (spool_get(a->spool, it->e.ref, &now) == 0 &&
	    now.leg[LEG_FORWARD].state == LEG_WAITING) {
		if (spool_note(a->spool, it->e.ref, LEG_FORWARD, note, sizeof(note)) < 0)
			note[0] = '\0';
		forward_put_off_to(a->role->conf, &now, note, until, schedule_now(a->schedule), &to);
		schedule_write(a->schedule, &now, LEG_FORWARD, &to);
	}
	attempt_uncount(a, w);
	schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
}

/* Not all at the same instant. */
static int64_t
spread(int64_t ms)
{
	return ms <= 0 ? 0 : (int64_t)(attempt_random() % (uint64_t)ms);
}

bool
attempt_in_peace(const struct attempts *a, const struct item *it)
{
	return it->leg == LEG_FORWARD && baseline_runs(a->role->conf,
	    failover_find(a->failover, it->e.group), &it->e);
}

/* ---- the directory's answer ---- */

/* "header.from=" of our own Authentication-Results, which verify wrote (4.2). */
static char *
author_of(struct slice authres)
{
	static const char key[] = "header.from=";
	size_t n = sizeof(key) - 1, end;

	for (size_t i = 0; i + n <= authres.n; i++) {
		if (memcmp(authres.p + i, key, n) != 0)
			continue;
		struct slice v = slice_sub(authres, i + n, authres.n);
		for (end = 0; end < v.n && strchr(" \t\r\n;\"", v.p[end]) == NULL; end++)
			;
		return end == 0 ? NULL : slice_dup(slice_sub(v, 0, end));
	}
	return NULL;
}

static void
work_envelope(struct attempts *a, struct work *w, const struct envelope *env,
    const struct envelope_rcpt *rcpt)
{
	w->user_key = marks_key(a->marks, rcpt->user, SLICE_NONE);
	w->consent_key = consent_key(rcpt->user);
	w->address_key = marks_key(a->marks, rcpt->address, SLICE_NONE);
	w->author = author_of(env->authres);
	size_t at = slice_rfind(env->mail_from, '@');
	w->item->sender = w->author != NULL ? marks_key(a->marks, slice_str(w->author), SLICE_NONE) :
	    at < env->mail_from.n ? marks_key(a->marks, slice_sub(env->mail_from, at + 1,
	    env->mail_from.n), SLICE_NONE) : 0;
	attempt_survival(w, env);
}

void
attempt_survival(struct work *w, const struct envelope *env)
{
	w->breaks = env->dmarc == AUTH_PASS && (env->flags & ENV_SURVIVABLE) == 0 &&
	    (env->flags & (ENV_REJECT | ENV_QUARANTINE)) != 0;
	w->trial = w->breaks && (env->flags & ENV_REJECT) != 0;
}

void
attempt_resolve_message(struct attempts *a, struct work *w)
{
	struct item *it = w->item;
	struct envelope_rcpt rcpt;
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_DIRECTORY, &index);

	if (ch == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	if (spool_message_rcpt(&w->msg, it->e.rcpt_index, &rcpt) < 0) {
		attempt_skip(a, it, LEG_FAILED, SLICE_LIT("no-such-recipient"));
		return;
	}
	if (rcpt.kind == RCPT_NOTICE) {
		attempt_notice_place(a, w, rcpt.address);
		return;
	}
	if (rcpt.kind == RCPT_RETURN_PATH) {
		attempt_node_place(a, w, &rcpt);
		return;
	}
	if ((w->msg.env.flags & ENV_TAGGED) != 0 && !w->tag_read) {
		attempt_tag_start(a, w);	/* before the mark: each copy is looked at */
		return;
	}
	if ((w->msg.env.flags & ENV_HOLD_ONLY) != 0) {
		attempt_skip(a, it, LEG_SKIPPED, w->msg.env.reason);
		return;
	}
	if ((w->msg.env.flags & ENV_TAGGED) != 0 && attempt_in_peace(a, it)) {
		attempt_skip(a, it, LEG_SKIPPED, SLICE_LIT(TARGET_NO_BASELINE));	/* it was only looked at */
		return;
	}
	work_envelope(a, w, &w->msg.env, &rcpt);
	if (marks_get(a->marks, MARK_LOOP, w->user_key, schedule_now(a->schedule), NULL)) {
		attempt_skip(a, it, LEG_SKIPPED, SLICE_LIT("loop"));	/* 9.1 */
		return;
	}
	if (consent_stopped(a->consent, w->consent_key, NULL)) {
		attempt_skip(a, it, LEG_SKIPPED, SLICE_LIT(OPTOUT_NOTE));	/* 12.3 */
		return;
	}
	work_ask(a, w, ROLE_DIRECTORY, index, ATTEMPT_ASK_MAX_MS);
	const struct dir_target q = { .req = w->req, .user = rcpt.user,
		.baseline = attempt_in_peace(a, it) };
	int rc = ipc_send(ch, DIR_TARGET, &dir_target_wire, &q, -1);
	work_drop_message(w);
	if (rc < 0)
		attempt_later(a, it, ATTEMPT_SOON_MS);
}

void
attempt_resolve(void *arg, struct item *it)
{
	struct attempts *a = arg;
	unsigned index = 0;

	if (role_any(a->role, ROLE_DIRECTORY, &index) == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	work_read(a, work_new(a, it), false, attempt_resolve_message);
}

/* 9.3: what can be told of a recovery address by its looks. */
static bool
recovery_split(struct work *w, struct slice recovery)
{
	size_t at = slice_rfind(recovery, '@');

	if (recovery.n > ATTEMPT_RECOVERY_MAX || at == 0 || at >= recovery.n ||
	    slice_find(recovery, '\0') < recovery.n)
		return false;
	w->recovery = slice_dup(recovery);
	w->domain = mem_str(w->recovery + at + 1);
	bytes_lower(w->domain, strlen(w->domain));
	return strchr(w->domain, '.') != NULL && strchr(w->domain, '[') == NULL;
}

/* Does any part of that domain of ours hold its mail now? */
static bool
domain_in_failover(struct attempts *a, const char *domain)
{
	for (size_t i = 0; i < failover_count(a->failover); i++) {
		const struct failover_group *g = failover_at(a->failover, i);

		if (g->served && g->phase != PHASE_STANDBY && strcmp(g->domain, domain) == 0)
			return true;
	}
	return false;
}

/* 9.3: a recovery address in a domain of ours goes straight into its store, or nowhere. */
static void
place_direct(struct attempts *a, struct work *w, const struct conf_domain *d)
{
	static const char *const scheme[] = { [ROUTE_MX] = "mx", [ROUTE_SMTP] = "smtp",
		[ROUTE_LMTP] = "lmtp" };
	char key[DEST_KEY_MAX];

	if (domain_in_failover(a, d->name)) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("chain"));
		return;
	}
	w->direct = true;
	int n = d->primary.kind == ROUTE_MX ? snprintf(key, sizeof(key), "mx:%s", d->name) :
	    snprintf(key, sizeof(key), "%s:%s:%u", scheme[d->primary.kind], d->primary.host,
	    d->primary.port);
	bytes_lower(key, strlen(key));
	CHECK(n > 0 && n < (int)sizeof(key));
	schedule_place(a->schedule, w->item, key);
}

/* 8.4: what is known of this mailbox. True when the leg has ended or waits. */
static bool
mailbox_stops(struct attempts *a, struct work *w)
{
	int64_t now = schedule_now(a->schedule);
	struct mark m;

	if (marks_get(a->marks, MARK_NOUSER, w->recovery_key, now, NULL)) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("nouser"));
		return true;
	}
	if (marks_get(a->marks, MARK_USERRATE, w->recovery_key, now, &m)) {
		if (w->item->e.triage == 3)
			attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("userrate"));
		else
			attempt_put_off(a, w, m.until_ms + spread(60 * 1000));
		return true;
	}
	if (marks_get(a->marks, MARK_FULL, w->recovery_key, now, &m)) {
		attempt_put_off(a, w, m.until_ms + spread(60 * 1000));
		return true;
	}
	return false;
}

/* ---- the provider ---- */

static bool
provider_stops(struct attempts *a, struct work *w)
{
	int64_t now = schedule_now(a->schedule);
	struct mark m;

	if (marks_get(a->marks, MARK_PROVIDER, w->group_key, now, &m)) {
		attempt_put_off(a, w, m.until_ms + spread((m.until_ms - now) / 20 + 1000));
		return true;
	}
	if (w->author != NULL && marks_get(a->marks, MARK_RATE, w->pair_key, now, &m)) {
		attempt_put_off(a, w, m.until_ms + spread(60 * 1000));
		return true;
	}
	return attempt_volume_stops(a, w, now);	/* 8.11 */
}

static void
place_routed(struct attempts *a, struct work *w, const struct route *r)
{
	char key[DEST_KEY_MAX];

	switch ((enum queue_route_status)r->status) {
	case ROUTED_OK:
		break;
	case ROUTED_NEVER:
		attempt_skip(a, w->item, LEG_SKIPPED, slice_str(r->reason));	/* 9.3 */
		return;
	case ROUTED_LATER:
	case ROUTED_MAX:
		attempt_put_off(a, w, schedule_now(a->schedule) + ATTEMPT_ROUTE_MS +
		    spread(ATTEMPT_ROUTE_MS));
		return;
	}
	w->group = mem_str(r->group);
	w->group_key = marks_key(a->marks, slice_str(w->group), SLICE_NONE);
	w->pair_key = marks_key(a->marks, slice_str(w->group), slice_str(w->author));
	if (provider_stops(a, w))
		return;
	int n = snprintf(key, sizeof(key), SCHEDULE_PROVIDER "%s", w->group);
	CHECK(n > 0 && n < (int)sizeof(key));
	schedule_place_domain(a->schedule, w->item, key, strrchr(w->recovery, '@') + 1);
}

static void
route_ask(struct attempts *a, struct work *w)
{
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_RELAY, &index);

	if (ch == NULL) {
		attempt_later(a, w->item, ATTEMPT_SOON_MS);
		return;
	}
	work_ask(a, w, ROLE_RELAY, index, ATTEMPT_ASK_MAX_MS);
	const struct queue_route q = { w->req, slice_str(w->domain) };
	if (ipc_send(ch, QUEUE_ROUTE, &queue_route_wire, &q, -1) < 0)
		attempt_later(a, w->item, ATTEMPT_SOON_MS);
}

int
attempt_route_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct route r = { .status = ROUTED_LATER };
	struct queue_routed m;

	if (wire_get(body, &queue_routed_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_RELAY, index, m.req);
	if (w == NULL)
		return 0;
	r.status = m.status;
	if (slice_cstr(m.group, r.group, sizeof(r.group)) < 0 ||
	    slice_cstr(m.reason, r.reason, sizeof(r.reason)) < 0 ||
	    (m.status == ROUTED_OK && m.group.n == 0))
		r.status = ROUTED_LATER;
	routes_put(a->routes, w->domain, &r, clock_mono_ms() + (int64_t)m.ttl_s * 1000);
	place_routed(a, w, &r);
	return 0;
}

static void
directory_found(struct attempts *a, struct work *w, struct slice recovery)
{
	const struct conf *c = a->role->conf;
	const struct conf_domain *d;

	if (!recovery_split(w, recovery) || (c->forwarder.domain != NULL &&
	    strcmp(w->domain, c->forwarder.domain) == 0)) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("bad-recovery"));
		return;
	}
	w->recovery_key = marks_key(a->marks, slice_str(w->recovery), SLICE_NONE);
	if (w->recovery_key == w->user_key || w->recovery_key == w->address_key) {
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("self"));
		return;
	}
	if (mailbox_stops(a, w))
		return;
	d = conf_domain_find(c, slice_str(w->domain));
	if (d != NULL && attempt_in_peace(a, w->item)) {	/* that warms nothing */
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT(TARGET_NO_BASELINE));
		return;
	}
	if (d != NULL) {
		place_direct(a, w, d);
		return;
	}
	const struct route *r = routes_get(a->routes, w->domain, clock_mono_ms());
	if (r != NULL)
		place_routed(a, w, r);
	else
		route_ask(a, w);
}

/* Asked by attempts_nouser: only the address as it is now can be marked. */
static void
nouser_answer(struct attempts *a, const struct dir_targeted *m)
{
	int64_t now = schedule_now(a->schedule);

	if (m->status == TARGET_OK)
		marks_set(a->marks, MARK_NOUSER, marks_key(a->marks, m->recovery, SLICE_NONE),
		    MARK_FOR_EVER, 0, now);
}

void
attempts_nouser(struct attempts *a, struct slice user)
{
	struct ipc *ch = role_any(a->role, ROLE_DIRECTORY, NULL);
	const struct dir_target q = { .req = ATTEMPT_NOUSER | ++a->req, .user = user };

	if (ch == NULL || ipc_send(ch, DIR_TARGET, &dir_target_wire, &q, -1) < 0)
		log_warn("recovery-invalid", "effect=%s", log_escs("not remembered: the directory is "
		    "being restarted"));
}

int
attempt_directory_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct dir_targeted m;

	if (wire_get(body, &dir_targeted_wire, &m) < 0)
		return -1;
	if ((m.req & ATTEMPT_NOUSER) != 0) {
		nouser_answer(a, &m);
		return 0;
	}
	struct work *w = work_take(a, ROLE_DIRECTORY, index, m.req);
	if (w == NULL)
		return 0;
	switch ((enum dir_target_status)m.status) {
	case TARGET_OK:
		(void)slice_cstr(m.language, w->language, sizeof(w->language));
		directory_found(a, w, m.recovery);
		return 0;
	case TARGET_NONE:
		/* failover came on meanwhile: then it needs no consent of that kind */
		if (slice_eq(m.reason, SLICE_LIT(TARGET_NO_BASELINE)) && !attempt_in_peace(a, w->item))
			attempt_later(a, w->item, 0);
		else
			attempt_skip(a, w->item, LEG_SKIPPED, m.reason);
		return 0;
	case TARGET_UNKNOWN:
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("user-unknown"));
		return 0;
	case TARGET_UNAVAILABLE:
	case TARGET_MAX:
		break;
	}
	attempt_ask_later(a, w->item);
	return 0;
}

/* ---- room ---- */

void
attempt_uncount(struct attempts *a, struct work *w)
{
	int64_t now = schedule_now(a->schedule);

	if (w->counted) {
		marks_untake(a->marks, MARK_BURST, w->recovery_key, now);
		marks_untake(a->marks, MARK_DAY, w->recovery_key, now);
	}
	if (w->message_counted)
		marks_untake(a->marks, MARK_MESSAGE_ID, w->message_key, now);
	if (w->volume_counted)
		volume_uncount(a->marks, w->group_key, now);
	w->counted = w->message_counted = w->volume_counted = false;
}

/* A burst waits, a flood is for the primary. */
bool
attempt_room(struct attempts *a, struct work *w)
{
	const struct conf *c = a->role->conf;
	int64_t now = schedule_now(a->schedule), until;

	if (w->direct)		/* our own store minds for itself */
		return true;
	/* in peace time half of the day is left to the outage that may come */
	bool peace = attempt_in_peace(a, w->item);
	uint32_t most = peace ? (c->mailbox_day_max + 1) / 2 : c->mailbox_day_max;
	if (!marks_take(a->marks, MARK_DAY, w->recovery_key, most, DAY_MS, now, &until)) {
		attempt_skip(a, w->item, LEG_SKIPPED, slice_str(peace ? TARGET_NO_BASELINE :
		    "mailbox-day-max"));
		return false;
	}
	if (!marks_take(a->marks, MARK_BURST, w->recovery_key, c->mailbox_burst_max,
	    c->mailbox_burst_ms, now, &until)) {
		marks_untake(a->marks, MARK_DAY, w->recovery_key, now);
		attempt_put_off(a, w, until + spread(1000));
		return false;
	}
	volume_count(a->marks, conf_provider_find(c, slice_str(w->group)), w->group_key, now);
	w->counted = w->volume_counted = true;
	return true;
}

/* 8.9. Of bulk the first copy goes, and message-id-bulk-max more. */
static bool
message_room(struct attempts *a, struct work *w, uint64_t id)
{
	const struct conf *c = a->role->conf;
	int64_t now = schedule_now(a->schedule), until;
	bool bulk = w->item->e.triage == 3;
	char text[24];

	if (id == 0 || w->direct)
		return true;
	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	w->message_key = marks_key(a->marks, slice_str(w->group), slice_str(text));
	if (marks_take(a->marks, MARK_MESSAGE_ID, w->message_key, bulk ? c->message_id_bulk_max + 1 :
	    c->message_id_max, HOUR_MS, now, &until)) {
		w->message_counted = true;
		return true;
	}
	attempt_uncount(a, w);
	if (bulk)
		attempt_skip(a, w->item, LEG_SKIPPED, SLICE_LIT("message-id-max"));
	else
		attempt_put_off(a, w, until + spread(60 * 1000));
	return false;
}

/* ---- the copy ---- */

static enum seal_refusal
seal_refusal_of(const struct forward_note *n)
{
	return n->refused == REPLY_AUTH ? SEAL_REFUSED_AUTH :
	    n->refused == REPLY_STRUCTURE ? SEAL_REFUSED_STRUCTURE : SEAL_NOT_REFUSED;
}

void
attempt_forward_start(struct attempts *a, struct work *w)
{
	unsigned index = 0;
	struct ipc *ch = role_any(a->role, ROLE_SEAL, &index);
	int64_t now = schedule_now(a->schedule);
	struct item *it = w->item;
	struct mark auth = { 0, 0 };
	char note[LEGS_NOTE_MAX];

	if (ch == NULL) {
		attempt_later(a, it, ATTEMPT_SOON_MS);
		return;
	}
	if (consent_stopped(a->consent, w->consent_key, NULL)) {
		attempt_skip(a, it, LEG_SKIPPED, SLICE_LIT(OPTOUT_NOTE));
		return;
	}
	/* It may have waited in the window while others heard of the mailbox or provider. */
	if (mailbox_stops(a, w) || (!w->direct && provider_stops(a, w)) || attempt_announce(a, w) ||
	    !attempt_room(a, w))
		return;
	if (spool_note(a->spool, it->e.ref, LEG_FORWARD, note, sizeof(note)) < 0)
		note[0] = '\0';
	forward_note_read(note, &w->note);
	(void)marks_get(a->marks, MARK_AUTH, w->group_key, now, &auth);
	work_ask(a, w, ROLE_SEAL, index, ATTEMPT_ASK_MAX_MS);
	const struct seal_prepare q = {
		.req = w->req, .rcpt_index = it->e.rcpt_index,
		.attempt = it->e.leg[LEG_FORWARD].attempts,
		.now_ms = (uint64_t)clock_wall_ms(), .token = slice_str(w->note.token),
		.refusal = (uint8_t)seal_refusal_of(&w->note), .transformed = w->note.changed &&
		    w->note.refused != REPLY_ADDR,
		.opaque = w->note.refused == REPLY_ADDR,
		.marked = w->author != NULL && marks_get(a->marks, MARK_MUNGE, w->pair_key, now, NULL),
		.accepted = marks_get(a->marks, MARK_ACCEPTED, w->group_key, now, NULL),
		.auth_refusals = (uint8_t)(auth.value > UINT8_MAX ? UINT8_MAX : auth.value),
		.envelope = buf_len(&w->fresh) > 0 ? buf_slice(&w->fresh) : buf_slice(&w->msg.raw),
	};
	if (ipc_send(ch, SEAL_PREPARE, &seal_prepare_wire, &q, w->msg.body_fd) < 0)
		attempt_later(a, it, ATTEMPT_SOON_MS);
}

/* Token and form are journalled before the copy can leave: a bounce finds its leg, and no
 * form is sent twice after a 5yz (8.5). */
static void
forward_journal(struct attempts *a, struct work *w, const struct forward_note *n)
{
	char was[LEGS_NOTE_MAX], note[LEGS_NOTE_MAX];
	struct item *it = w->item;

	forward_note_print(&w->note, was);
	forward_note_print(n, note);
	w->note = *n;
	if (strcmp(was, note) != 0)
		(void)spool_set(a->spool, it->e.ref, LEG_FORWARD, &it->e.leg[LEG_FORWARD],
		    slice_str(note));
}

static void
forward_prepared(struct attempts *a, struct work *w, const struct seal_prepared *m)
{
	struct forward_note n = w->note;
	const struct conf_domain *d = conf_domain_find(a->role->conf, slice_str(w->domain));
	struct queue_deliver q = {
		.route = ROUTE_MX, .host = slice_str(w->domain), .mail_from = m->mail_from,
		.rcpt = slice_str(w->recovery), .prefix = m->prefix, .cuts = m->cuts,
		.suffix = m->suffix, .group = slice_str(w->group),
		/* Ours, never the sender's (2.3.3): a report names our token. */
		.notify = NOTIFY_FAILURE, .ret = SLICE_LIT("HDRS"), .envid = m->token,
	};

	if (w->direct && d != NULL) {	/* inside our own border: no rewriting (1.1.4) */
		q.route = (uint8_t)d->primary.kind;
		q.port = d->primary.port;
		if (d->primary.kind != ROUTE_MX)
			q.host = slice_str(d->primary.host);
		q.mail_from = w->msg.env.mail_from;
	} else {
		const struct conf_provider *p = conf_provider_find(a->role->conf,
		    slice_str(w->group));

		q.connections = (uint16_t)schedule_limit(a->schedule, w->item->dest);
		if (p->tls_required)
			q.tls = DELIVER_TLS_REQUIRED;
	}
	if (n.refused != REPLY_OK && n.refused != REPLY_ADDR && m->reason.n == 0) {
		/* the same again is what 8.5 forbids */
		attempt_uncount(a, w);
		attempt_skip(a, w->item, LEG_FAILED, SLICE_LIT("refused"));
		return;
	}
	if (!message_room(a, w, m->message_id))
		return;
	(void)slice_cstr(m->token, n.token, sizeof(n.token));
	n.changed = n.changed || m->reason.n > 0 || n.refused == REPLY_ADDR;
	w->trial = w->trial && m->reason.n == 0;
	w->form = slice_eq(m->reason, SLICE_LIT("munge")) ? HISTORY_MUNGE :
	    m->reason.n > 0 ? HISTORY_WRAP : HISTORY_AS_IS;
	forward_journal(a, w, &n);
	attempt_deliver(a, w, &q);
}

int
attempt_seal_answer(struct attempts *a, unsigned index, struct slice body)
{
	struct seal_prepared m;
	struct legs_change to;
	char note[LEGS_NOTE_MAX];

	if (wire_get(body, &seal_prepared_wire, &m) < 0)
		return -1;
	struct work *w = work_take(a, ROLE_SEAL, index, m.req);
	if (w == NULL)
		return 0;
	switch ((enum seal_status)m.status) {
	case SEAL_OK:
		forward_prepared(a, w, &m);
		return 0;
	case SEAL_HOLD:
		attempt_uncount(a, w);
		if (slice_eq(m.reason, SLICE_LIT("loop")))	/* our own copy came back: 9.1 */
			marks_set(a->marks, MARK_LOOP, w->user_key, schedule_now(a->schedule) + DAY_MS,
			    0, schedule_now(a->schedule));
		attempt_skip(a, w->item, LEG_SKIPPED, m.reason);
		return 0;
	case SEAL_ERROR:
	case SEAL_STATUS_MAX:
		break;
	}
	attempt_uncount(a, w);
	struct item *it = w->item;
	int64_t now = schedule_now(a->schedule);
	forward_note_print(&w->note, note);
	forward_put_off_to(a->role->conf, &it->e, note, now + forward_backoff(a->role->conf,
	    it->e.leg[LEG_FORWARD].attempts + 1u, attempt_random()), now, &to);
	if (to.leg.attempts < UINT16_MAX)
		to.leg.attempts++;
	attempt_write(a, it, &to);
	schedule_finish(a->schedule, it, SCHEDULE_NEUTRAL, 0);
	return 0;
}

/* It left and was taken. */
void
attempt_forward_counted(struct attempts *a, struct work *w)
{
	(void)a;
	w->counted = w->message_counted = w->volume_counted = false;	/* they stay counted */
}
