// SPDX-License-Identifier: Apache-2.0
/*
 * What a destination said of a forward copy (spec 8.4): the leg's own end or retry, and
 * what it means for this mailbox, this provider, this author's domain, or us.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/attempt_priv.h"

enum { DAY_MS = 24 * 3600 * 1000, USERRATE_MAX_MS = DAY_MS };

/* A provider everybody knows by its name, any other hashed: it may be one person's (P4). */
const char *
attempt_group_name(const struct attempts *a, const char *group)
{
	const struct conf_provider *p = conf_provider_find(a->role->conf, slice_str(group));

	return strcmp(p->name, CONF_PROVIDER_DEFAULT) == 0 ? log_hash(slice_str(group)) : group;
}

/* ---- alarms ---- */

struct provider_alarm *
attempt_alarm_slot(struct attempts *a, const char *what, const char *name)
{
	struct provider_alarm *x = NULL, *oldest = &a->alarm[0];

	for (size_t i = 0; i < ATTEMPT_ALARMS; i++) {
		if (strcmp(a->alarm[i].what, what) == 0 && strcmp(a->alarm[i].group, name) == 0)
			x = &a->alarm[i];
		if (a->alarm[i].last_ms < oldest->last_ms)
			oldest = &a->alarm[i];
	}
	if (x != NULL)
		return x;
	x = oldest;
	memset(x, 0, sizeof(*x));
	(void)snprintf(x->what, sizeof(x->what), "%s", what);
	(void)snprintf(x->group, sizeof(x->group), "%s", name);
	x->first_ms = clock_wall_ms();
	return x;
}

static void
raise_alarm(struct attempts *a, const struct work *w, const char *what, const char *fix,
    int64_t until, const struct queue_delivered *m)
{
	const char *name = attempt_group_name(a, w->group);
	struct provider_alarm *x = attempt_alarm_slot(a, what, name);

	x->last_ms = clock_wall_ms();
	x->until_ms = until;
	x->count++;
	x->code = m->code;
	(void)snprintf(x->enhanced, sizeof(x->enhanced), "%.*s", m->enhanced.n > 12 ? 12 :
	    SLICE_FMT(m->enhanced));
	log_warn("alarm", "what=provider-%s provider=%s code=%u enhanced=%s fix=%s", what, name,
	    m->code, log_esc(m->enhanced), log_escs(fix));
}

/* ---- the provider ---- */

static void
provider_tell_relays(struct attempts *a, const struct work *w)
{
	const struct queue_close q = { slice_str(w->group) };

	for (unsigned i = 0; i < ROLE_PEERS_MAX; i++) {
		struct ipc *ch = role_link(a->role, ROLE_RELAY, i);

		if (ch != NULL)
			(void)ipc_send(ch, QUEUE_CLOSE, &queue_close_wire, &q, -1);
	}
}

/* Returns until when, wall clock. */
static int64_t
provider_shut(struct attempts *a, struct work *w, enum reply_class class, int64_t pause_ms)
{
	int64_t now = schedule_now(a->schedule);
	struct mark m;

	/* It was said already to another that was under way with this one: no new silence. */
	if (!schedule_close(a->schedule, w->item, pause_ms, class == REPLY_RATE) &&
	    marks_get(a->marks, MARK_PROVIDER, w->group_key, now, &m))
		return m.until_ms;
	marks_set(a->marks, MARK_PROVIDER, w->group_key, now + pause_ms, (uint32_t)class, now);
	log_warn("provider-closed", "provider=%s class=%s pause_ms=%lld",
	    attempt_group_name(a, w->group), reply_class_name(class), (long long)pause_ms);
	provider_tell_relays(a, w);
	return now + pause_ms;
}

/* RATE with the author's domain named: only that waits. Ours named is everything. */
static int64_t
on_rate(struct attempts *a, struct work *w, const struct forward_reply *f,
    const struct conf_provider *p)
{
	if (f->verdict.scope == REPLY_SCOPE_DKIM && w->author != NULL) {
		marks_set(a->marks, MARK_RATE, w->pair_key, f->now + p->rate_pause_ms, 0, f->now);
		return f->now + p->rate_pause_ms;
	}
	return provider_shut(a, w, REPLY_RATE, p->rate_pause_ms);
}

/* ---- the mailbox ---- */

static int64_t
on_userrate(struct attempts *a, struct work *w, int64_t now)
{
	int64_t pause = a->role->conf->user_rate_ms;
	struct mark m = { 0, 0 };

	/* How often in a row: remembered for a day beyond the pause. */
	(void)marks_get(a->marks, MARK_USERRATE_TIMES, w->recovery_key, now, &m);
	for (uint32_t i = 0; i < m.value && pause < USERRATE_MAX_MS; i++)
		pause *= 2;
	if (pause > USERRATE_MAX_MS)
		pause = USERRATE_MAX_MS;
	marks_set(a->marks, MARK_USERRATE, w->recovery_key, now + pause, m.value, now);
	marks_set(a->marks, MARK_USERRATE_TIMES, w->recovery_key, now + pause + DAY_MS, m.value + 1,
	    now);
	return now + pause;
}

/* 7.3: what cannot align was refused as could be foreseen, and counts for the provider. 7.5:
 * of any other that is a surprise, and the author's next goes there munged. */
static void
on_auth(struct attempts *a, struct work *w, int64_t now)
{
	struct mark m = { 0, 0 };

	if (w->trial) {
		(void)marks_get(a->marks, MARK_AUTH, w->group_key, now, &m);
		marks_set(a->marks, MARK_AUTH, w->group_key, now + DAY_MS, m.value + 1, now);
	}
	if (w->author != NULL && !w->breaks && !w->note.changed)
		marks_set(a->marks, MARK_MUNGE, w->pair_key, now + a->role->conf->munge_time_ms, 0,
		    now);
}

/* What the class means beyond this leg. Returns until when the leg has to wait, 0: 8.6. */
int64_t
attempt_class(struct attempts *a, struct work *w, const struct forward_reply *f)
{
	const struct conf_provider *p = conf_provider_find(a->role->conf, slice_str(w->group));
	int64_t until;

	switch ((enum reply_class)f->verdict.class) {
	case REPLY_RATE:
		return on_rate(a, w, f, p);
	case REPLY_BLOCK:
		until = provider_shut(a, w, REPLY_BLOCK, p->block_pause_ms);
		raise_alarm(a, w, "block", "ask the provider to unblock this address; do not move "
		    "the mail to another one", until, f->r);
		return until;
	case REPLY_SETUP:
		until = provider_shut(a, w, REPLY_SETUP, p->setup_pause_ms);
		raise_alarm(a, w, "setup", "mend PTR, SPF, DKIM, DMARC and TLS of this relay: "
		    "salvaposta check, then look at the reply's code", until, f->r);
		return until;
	case REPLY_USERRATE:
		return on_userrate(a, w, f->now);
	case REPLY_FULL:
		marks_set(a->marks, MARK_FULL, w->recovery_key, f->now + a->role->conf->mailbox_full_ms,
		    0, f->now);
		return f->now + a->role->conf->mailbox_full_ms;
	case REPLY_NOUSER:
		if (f->verdict.closed)
			marks_set(a->marks, MARK_NOUSER, w->recovery_key, MARK_FOR_EVER, 0, f->now);
		break;
	case REPLY_LOOP:
		marks_set(a->marks, MARK_LOOP, w->user_key, f->now + DAY_MS, 0, f->now);
		break;
	case REPLY_AUTH:
		on_auth(a, w, f->now);
		break;
	case REPLY_ADDR:
		raise_alarm(a, w, "addr", "the return-path domain is refused: does it have MX, A and "
		    "SOA records?", 0, f->r);
		break;
	case REPLY_OK:
		if (w->trial)
			marks_set(a->marks, MARK_ACCEPTED, w->group_key, f->now + DAY_MS, 0, f->now);
		break;
	case REPLY_TEMP:
	case REPLY_PERM:
	case REPLY_SPAM:
	case REPLY_STRUCTURE:
	case REPLY_SIZE:
	case REPLY_CLASS_MAX:
		break;
	}
	return 0;
}

/* ---- one reply ---- */

struct reply_verdict
attempt_verdict(const struct work *w, const struct queue_delivered *m)
{
	const struct reply r = { m->code, m->enhanced, m->text, slice_str(w->group) };
	struct reply_verdict v = { .class = REPLY_OK };

	if (m->outcome == DELIVER_OK)
		return v;
	if (m->outcome == DELIVER_LOCAL) {	/* not tried: size, 8 bit, no way there */
		v.class = slice_eq(m->enhanced, SLICE_LIT("5.3.4")) ? REPLY_SIZE : REPLY_PERM;
		v.closed = true;
		return v;
	}
	v = reply_classify(&r);
	if (v.class == REPLY_OK)
		v.class = REPLY_TEMP;
	if (m->outcome == DELIVER_PERM && m->code == 0) {
		v.class = REPLY_PERM;
		v.closed = true;
	}
	return v;
}

static void
reply_log(const struct attempts *a, const struct work *w, const struct queue_delivered *m,
    const struct reply_verdict *v)
{
	const struct item *it = w->item;
	char id[MSGID_TEXT + 1];

	msgid_print(it->e.id, id);
	/* the reply's text and the peer may name the recovery address (P4) */
	log_info(m->outcome == DELIVER_OK ? "delivered" : "not-delivered", "id=%s/%u leg=forward "
	    "to=%s provider=%s outcome=%u scope=%u code=%u enhanced=%s class=%s tls=%u", id,
	    it->e.rcpt_index, log_hash(slice_str(w->recovery)), w->group == NULL ? "-" :
	    attempt_group_name(a, w->group), m->outcome, m->scope, m->code, log_esc(m->enhanced),
	    reply_class_name(v->class), m->tls);
}

/* The relay gave it back untried when its provider was closed. */
bool
attempt_untried(const struct queue_delivered *m)
{
	return m->outcome == DELIVER_TEMP && m->scope == SCOPE_MESSAGE && m->code == 0 &&
	    slice_eq(m->enhanced, SLICE_LIT("4.4.5"));
}

void
attempt_forward_reply(struct attempts *a, struct work *w, const struct queue_delivered *m)
{
	struct item *it = w->item;
	struct forward_reply f = {
		.conf = a->role->conf, .group = failover_find(a->failover, it->e.group), .e = &it->e,
		.r = m, .verdict = attempt_verdict(w, m), .note = w->note,
		.now = schedule_now(a->schedule), .random = attempt_random(),
	};
	struct legs_change to;
	struct mark mark;

	if (attempt_untried(m)) {
		attempt_put_off(a, w, w->group != NULL && marks_get(a->marks, MARK_PROVIDER,
		    w->group_key, f.now, &mark) ? mark.until_ms + 1000 : f.now + ATTEMPT_SOON_MS);
		return;
	}
	reply_log(a, w, m, &f.verdict);
	a->class[f.verdict.class]++;
	if (w->direct)		/* our own store: nothing of 8.4 is about it */
		f.verdict.class = m->outcome == DELIVER_OK ? REPLY_OK :
		    f.verdict.closed ? REPLY_PERM : REPLY_TEMP;
	else
		f.until = attempt_class(a, w, &f);
	if (m->outcome == DELIVER_OK)
		attempt_forward_counted(a, w);
	else
		attempt_uncount(a, w);
	bool host = forward_result(&f, &to) == LEGS_HOST;
	attempt_remember(a, w, m, (enum reply_class)f.verdict.class, host ? NULL : &to);
	if (host) {
		schedule_finish(a->schedule, it, SCHEDULE_HOST_FAILED, 0);
		return;
	}
	attempt_write(a, it, &to);
	schedule_finish(a->schedule, it, m->scope == SCOPE_HOST && m->outcome != DELIVER_OK ?
	    SCHEDULE_NEUTRAL : SCHEDULE_WORKED, 0);
}

/* ---- status ---- */

static int
status_alarms(const struct attempts *a, struct buf *out)
{
	bool first = true;
	int rc = buf_puts(out, ",\"alarms\":[");

	for (size_t i = 0; i < ATTEMPT_ALARMS; i++) {
		const struct provider_alarm *x = &a->alarm[i];

		if (x->count == 0)
			continue;
		rc |= buf_printf(out, "%s{\"what\":\"provider-%s\",\"provider\":\"%s\",\"since\":%lld,"
		    "\"last\":%lld,\"until\":%lld,\"count\":%llu,\"code\":%u}",
		    first ? "" : ",", x->what, x->group, (long long)(x->first_ms / 1000),
		    (long long)(x->last_ms / 1000), (long long)(x->until_ms / 1000),
		    (unsigned long long)x->count, x->code);
		first = false;
	}
	return rc | buf_puts(out, "]");
}

void
attempts_status(struct attempts *a, struct buf *out)
{
	int rc = buf_printf(out, ",\"marks\":%u,\"providers_closed\":%u,\"replies\":{",
	    marks_count(a->marks), marks_count_kind(a->marks, MARK_PROVIDER,
	    schedule_now(a->schedule)));

	for (unsigned i = 0; i < REPLY_CLASS_MAX; i++)
		rc |= buf_printf(out, "%s\"%s\":%llu", i > 0 ? "," : "",
		    reply_class_name((enum reply_class)i), (unsigned long long)a->class[i]);
	rc |= buf_puts(out, "}");
	attempt_announce_status(a, out);
	if (rc != 0 || status_alarms(a, out) != 0 || attempt_volume_status(a, out) != 0)
		log_warn("status", "reason=\"does not fit\"");
}
