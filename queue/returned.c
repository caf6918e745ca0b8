// SPDX-License-Identifier: Apache-2.0
#include "queue/returned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_seal.h"
#include "queue/optout.h"
#include "queue/queue_role.h"

enum {
	RETURNED_TICK_MS = 200,
	RETURNED_AGAIN_MS = 2000,
	RETURNED_PATIENCE_MS = 30 * 1000	/* disk and seal, all in all */
};

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

/* ---- one that is being read ---- */

enum job_state {
	JOB_DISK,	/* a read is under way */
	JOB_AGAIN,	/* the disk has no place for one more read */
	JOB_NEW,	/* seal is to be asked */
	JOB_SEAL,
	JOB_TOLD	/* the sender's notification is being made */
};

struct job {
	struct returned	*returned;
	struct spool_entry e;		/* what came back */
	struct envelope_bounce b;
	struct spool_entry leg;		/* what it is about, once found */
	bool		 notice;	/* it is about the notice before the copy (12.3) */
	uint8_t		 state;		/* enum job_state */
	unsigned	 seal;		/* JOB_SEAL: which was asked */
	uint64_t	 req;
	int64_t		 until_ms;	/* monotonic: it comes again then */
	char		*address, *token;	/* owned; of one that came to an SRS address */
	char		*sender;	/* owned; of the SRS address */
	struct legs_change to;		/* JOB_TOLD */
	struct spool_fetch *fetch;
	void		(*then)(struct job *j, const struct spool_message *m);
	struct spool_ref reading;	/* JOB_DISK, JOB_AGAIN */
	int		 error;		/* errno of the last read; 0 it was good */
	struct job	*next, *prev;
};

struct returned {
	struct queue	*queue;
	struct timer	*timer;
	struct job	*all;
	unsigned	 count;
	uint64_t	 req;
	struct returned_counts counts;
};

static void returned_tick(void *arg);
static void job_envelope(struct job *j, const struct spool_message *m);

struct returned *
returned_new(struct queue *q)
{
	struct returned *r = mem_new(sizeof(*r));

	r->queue = q;
	r->timer = timer_new(q->role->loop, returned_tick, r);
	return r;
}

static void
job_free(struct job *j)
{
	struct returned *r = j->returned;

	if (j->prev != NULL)
		j->prev->next = j->next;
	else
		r->all = j->next;
	if (j->next != NULL)
		j->next->prev = j->prev;
	r->count--;
	spool_fetch_cancel(&j->fetch);
	free(j->address);
	free(j->token);
	free(j->sender);
	free(j);
}

void
returned_free(struct returned **rp)
{
	struct returned *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	while (r->all != NULL)
		job_free(r->all);
	timer_free(&r->timer);
	free(r);
}

bool
returned_busy(const struct returned *r)
{
	return r->count > 0;
}

/* It stays as it is in the spool, and comes again. */
static void
job_later(struct job *j)
{
	schedule_again(j->returned->queue->schedule, &j->e, LEG_HOLD, RETURNED_AGAIN_MS);
	job_free(j);
}

/* ---- reading, off the loop ---- */

static void job_read_now(struct job *j);

static void
on_message(void *arg, int error, struct spool_message *m)
{
	struct job *j = arg;

	j->fetch = NULL;
	j->error = error;
	j->then(j, error == 0 ? m : NULL);
	if (error == 0)
		spool_message_fini(m);
}

/* `then` gets the envelope, or NULL when it cannot be read. Borrowed until it returns. */
static void
job_read(struct job *j, struct spool_ref ref, void (*then)(struct job *j,
    const struct spool_message *m))
{
	struct spool *sp = j->returned->queue->spool;
	struct spool_message m;

	j->reading = ref;
	j->then = then;
	if (spool_recent(sp, ref, false, &m) == 0) {
		then(j, &m);
		spool_message_fini(&m);
		return;
	}
	job_read_now(j);
}

static void
job_read_now(struct job *j)
{
	j->state = JOB_DISK;
	j->fetch = spool_fetch(j->returned->queue->spool, j->reading, false, on_message, j);
	if (j->fetch != NULL)
		return;
	j->error = errno;
	if (errno == EAGAIN)
		j->state = JOB_AGAIN;
	else
		j->then(j, NULL);
}

/* ---- acting on it ---- */

/* The recovery address is not written to again until it changes (8.4 NOUSER). */
static void
mark_recovery(struct job *j, const struct spool_message *m)
{
	char id[MSGID_TEXT + 1];
	struct envelope_rcpt r;

	if (m != NULL && spool_message_rcpt(m, j->leg.rcpt_index, &r) == 0)
		attempts_nouser(j->returned->queue->attempts, r.user);
	msgid_print(j->leg.id, id);
	log_warn("recovery-invalid", "id=%s/%u fix=%s", id, j->leg.rcpt_index,
	    log_escs("have this user verify the recovery address"));
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
log_report(const struct job *j, bool changed)
{
	const struct envelope_bounce *b = &j->b;
	char id[MSGID_TEXT + 1], about[MSGID_TEXT + 1];

	msgid_print(j->e.id, id);
	msgid_print(j->leg.id, about);
	log_info("bounce", "id=%s about=%s/%u attempt=%u action=%s status=%u.%u.%u code=%u "
	    "changed=%u", id, about, j->leg.rcpt_index, b->attempt,
	    bounce_action_name((enum bounce_action)b->action), b->status, b->subject, b->detail,
	    b->code, changed);
}

/* It has said what it had to: `note` is why it ends here. */
static void
job_settle(struct job *j, const char *note)
{
	struct legs_change to;

	legs_end(&j->e, LEG_HOLD, LEG_SKIPPED, 0, slice_str(note), &to);
	schedule_write(j->returned->queue->schedule, &j->e, LEG_HOLD, &to);
	job_free(j);
}

static void
job_unknown(struct job *j)
{
	struct returned_counts *c = &j->returned->counts;

	if (j->b.leg == BOUNCE_LEG_SRS) {
		c->srs++;
		job_settle(j, "bounce-srs");
		return;
	}
	c->unknown++;
	job_settle(j, "bounce-unknown");
}

static void
job_told(void *arg)
{
	struct job *j = arg;

	schedule_write(j->returned->queue->schedule, &j->leg, LEG_FORWARD, &j->to);
	job_settle(j, "bounce-read");
}

/* The primary refused it, or its time was over, while somebody seemed to have the copy: so
 * its sender was told nothing (2.3.1). Now nobody has it. */
static bool
lost_by(const struct spool_entry *leg, const struct legs_change *to)
{
	return to->leg.state == LEG_FAILED && leg->leg[LEG_FORWARD].state == LEG_DELIVERED &&
	    leg->leg[LEG_HOLD].state == LEG_FAILED;
}

/* The leg's message, or NULL when that is not there any more. */
static void
job_leg(struct job *j, const struct spool_message *m)
{
	struct queue *q = j->returned->queue;

	if (m == NULL && j->error == EIO) {
		job_later(j);
		return;
	}
	/* Time may have passed over the disk. */
	if (spool_get(q->spool, j->leg.ref, &j->leg) < 0 ||
	    (j->sender != NULL && (m == NULL || !slice_ieq(m->env.mail_from,
	    slice_str(j->sender))))) {
		job_unknown(j);
		return;
	}
	/* The notice was not the copy: what became of it is no news of the leg (12.3). */
	bool changed = !j->notice && returned_leg(&j->leg, &j->b, &j->to);
	if (returned_nouser(&j->b))
		mark_recovery(j, m);
	log_report(j, changed);
	++*count_of(&j->returned->counts, &j->b);
	if (changed && lost_by(&j->leg, &j->to)) {
		j->state = JOB_TOLD;
		notices_lost(q->notices, &j->leg, job_told, j);
		return;
	}
	if (changed)
		schedule_write(q->schedule, &j->leg, LEG_FORWARD, &j->to);
	job_settle(j, "bounce-read");
}

static void
job_find_leg(struct job *j)
{
	struct spool *sp = j->returned->queue->spool;
	struct spool_ref ref;

	j->notice = (j->b.rcpt_index & BOUNCE_RCPT_NOTICE) != 0;
	j->b.rcpt_index &= (uint16_t)~BOUNCE_RCPT_NOTICE;
	if (spool_find_rcpt(sp, j->b.id, j->b.rcpt_index, RCPT_USER, &ref) < 0 ||
	    spool_get(sp, ref, &j->leg) < 0)
		job_unknown(j);
	else if (j->sender != NULL || returned_nouser(&j->b))
		job_read(j, ref, job_leg);
	else
		job_leg(j, NULL);	/* j->error is 0: that it came back was read */
}

/* ---- to an SRS address ---- */

static void
job_ask(struct job *j)
{
	struct returned *r = j->returned;
	unsigned n = r->queue->role->conf->sealers;

	j->state = JOB_NEW;
	j->seal = n == 0 ? 0 : (unsigned)(j->e.user % n);
	struct ipc *ch = role_link(r->queue->role, ROLE_SEAL, j->seal);
	if (ch == NULL)
		return;			/* the tick tries again */
	j->req = ++r->req;
	const struct seal_name ask = { .req = j->req, .address = slice_str(j->address),
		.token = slice_str(j->token) };
	if (ipc_send(ch, SEAL_NAME, &seal_name_wire, &ask, -1) == 0)
		j->state = JOB_SEAL;
}

int
returned_message(struct returned *r, unsigned index, struct slice body)
{
	struct job *j = r->all;
	struct seal_named a;

	if (wire_get(body, &seal_named_wire, &a) < 0)
		return -1;
	while (j != NULL && (j->state != JOB_SEAL || j->req != a.req || j->seal != index))
		j = j->next;
	if (j == NULL)
		return 0;
	if (a.named == 0) {
		job_unknown(j);
		return 0;
	}
	j->b.id = a.id;
	j->b.rcpt_index = a.rcpt_index;
	j->b.attempt = a.attempt;
	j->sender = slice_dup(a.sender);
	job_find_leg(j);
	return 0;
}

void
returned_link_down(struct returned *r, unsigned index)
{
	for (struct job *j = r->all; j != NULL; j = j->next)
		if (j->state == JOB_SEAL && j->seal == index)
			j->state = JOB_NEW;
}

/* ---- from the beginning ---- */

static void
job_report(struct job *j, const struct spool_message *m)
{
	struct envelope_rcpt rcpt;

	switch ((enum bounce_leg)j->b.leg) {
	case BOUNCE_LEG_OURS:
		job_find_leg(j);
		return;
	case BOUNCE_LEG_SRS:
		if (spool_message_rcpt(m, j->e.rcpt_index, &rcpt) < 0 || rcpt.token.n == 0)
			break;
		j->address = slice_dup(rcpt.address);
		j->token = slice_dup(rcpt.token);
		job_ask(j);
		return;
	case BOUNCE_LEG_OTHER_NODE:
		j->returned->counts.other_node++;
		job_settle(j, "bounce-other-node");
		return;
	case BOUNCE_LEG_UNKNOWN:
	case BOUNCE_LEG_STOP:		/* not here: job_stop */
	case BOUNCE_LEG_NODE:		/* nor this: it has no hold leg */
	case BOUNCE_LEG_MAX:
		break;
	}
	job_unknown(j);
}

/* Spec 12.3. */
static void
job_stop(struct job *j, const struct spool_message *m)
{
	const char *note;

	if (optout_mail(j->returned->queue, m, j->e.rcpt_index, &j->b, &note) > 0)
		job_settle(j, note);
	else
		job_later(j);
}

static void
job_envelope(struct job *j, const struct spool_message *m)
{
	struct returned_counts *c = &j->returned->counts;

	if (m == NULL) {
		job_later(j);
		return;
	}
	/* Of an earlier release, or damaged on its way: there is nothing to act on. */
	if (wire_get(m->env.bounce, &envelope_bounce_wire, &j->b) < 0)
		j->b = (struct envelope_bounce){ .kind = BOUNCE_UNREAD };
	if (j->b.leg == BOUNCE_LEG_STOP) {
		job_stop(j, m);
		return;
	}
	switch ((enum bounce_kind)j->b.kind) {
	case BOUNCE_REPORT:
		job_report(j, m);
		return;
	case BOUNCE_AUTO_REPLY:		/* 2.2.4: the user's own; nobody's business */
	case BOUNCE_GENERATED:
		c->auto_reply++;
		job_settle(j, "auto-reply");
		return;
	case BOUNCE_UNREAD:
		c->unread++;
		job_settle(j, "bounce-unread");
		return;
	case BOUNCE_OTHER:
	case BOUNCE_KIND_MAX:
		break;
	}
	c->other++;
	job_settle(j, "not-a-bounce");
}

static bool
returned_has(const struct returned *r, struct spool_ref ref)
{
	const struct job *j = r->all;

	while (j != NULL && (j->e.ref.segment != ref.segment || j->e.ref.entry != ref.entry))
		j = j->next;
	return j != NULL;
}

bool
returned_start(struct returned *r, const struct spool_entry *e)
{
	if (returned_has(r, e->ref))
		return true;
	if (r->count >= RETURNED_MAX)
		return false;
	struct job *j = mem_new(sizeof(*j));
	j->returned = r;
	j->e = *e;
	j->until_ms = clock_mono_ms() + RETURNED_PATIENCE_MS;
	j->next = r->all;
	if (r->all != NULL)
		r->all->prev = j;
	r->all = j;
	if (r->count++ == 0)
		timer_arm(r->timer, RETURNED_TICK_MS);
	job_read(j, e->ref, job_envelope);
	return true;
}

static void
returned_tick(void *arg)
{
	struct returned *r = arg;
	int64_t now = clock_mono_ms();

	for (struct job *j = r->all, *next; j != NULL; j = next) {
		next = j->next;
		if (j->state == JOB_TOLD)
			continue;	/* that ends by itself */
		if (now >= j->until_ms)
			job_later(j);
		else if (j->state == JOB_NEW)
			job_ask(j);
		else if (j->state == JOB_AGAIN)
			job_read_now(j);
	}
	if (r->count > 0)
		timer_arm(r->timer, RETURNED_TICK_MS);
}

/* ---- status ---- */

void
returned_stop(struct returned *r, bool heeded)
{
	if (heeded)
		r->counts.stopped++;
	else
		r->counts.stop_ignored++;
}

void
returned_counts(const struct returned *r, struct returned_counts *out)
{
	*out = r->counts;
}

void
returned_status(const struct returned *r, struct buf *out)
{
	const struct returned_counts *c = &r->counts;

	(void)!buf_printf(out, ",\"bounces\":{\"failed\":%llu,\"delayed\":%llu,"
	    "\"delivered\":%llu,\"auto_reply\":%llu,\"other\":%llu,\"unread\":%llu,"
	    "\"unknown\":%llu,\"other_node\":%llu,\"srs\":%llu,\"stopped\":%llu,"
	    "\"stop_ignored\":%llu}",
	    (unsigned long long)c->failed, (unsigned long long)c->delayed,
	    (unsigned long long)c->delivered, (unsigned long long)c->auto_reply,
	    (unsigned long long)c->other, (unsigned long long)c->unread,
	    (unsigned long long)c->unknown, (unsigned long long)c->other_node,
	    (unsigned long long)c->srs,
	    (unsigned long long)c->stopped, (unsigned long long)c->stop_ignored);
}
