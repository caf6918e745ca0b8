// SPDX-License-Identifier: Apache-2.0
#include "queue/notices.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_role.h"

enum {
	NOTICE_TICK_MS = 200,
	NOTICE_PATIENCE_MS = 15 * 1000,	/* for a seal process to come back and answer */
	NOTICE_INDEX = 63,		/* in message ids: no relay's (base/msgid.h) */
	NOTICE_TEXT_MAX = 64
};

#define NOT_SENDABLE	"not-sendable"	/* how a note of queue/legs.c begins */

enum job_state {
	JOB_NEW,	/* to be begun, or begun again */
	JOB_DISK,	/* a read is under way */
	JOB_SEAL, JOB_COMMIT
};

struct notice {
	struct notices	*notices;	/* NULL: they are gone, only the spool knows it */
	struct spool_entry e;		/* what it is about */
	struct spool_entry reminder;	/* DELAYED: to be settled as well; `seven`: the first one */
	bool		 reminds;	/* `e` is not known before that was read */
	bool		 seven;		/* FAILED once more, as the sender's host can take it */
	struct spool_fetch *fetch;	/* JOB_DISK */
	char		*sender;	/* of the message, owned; NULL before it was read */
	uint8_t		 action;	/* enum seal_notice */
	uint8_t		 state;		/* enum job_state */
	bool		 primary;
	unsigned	 seal;		/* JOB_SEAL: which was asked */
	uint64_t	 req;
	int64_t		 until_ms;	/* monotonic */
	char		 status[16], text[NOTICE_TEXT_MAX];
	struct legs_change to;		/* FAILED: what the hold leg becomes */
	notices_done_fn	*done;		/* DELIVERED, RELAYED */
	void		*arg;
	struct notice	*next, *prev;
};

/* policy/dsn_gate.h, and what is decided here. */
static const char *const reasons[] = {
	"notify", "null-sender", "bad-sender", "return-path", "postmaster", "unauthenticated",
	"loop", "rate-target", "rate-domain", "rate-table", "forwarded", "error", "unavailable",
	"other"
};
enum { REASONS = sizeof(reasons) / sizeof(reasons[0]) };

struct notices {
	struct queue	*queue;
	struct timer	*timer;
	struct notice	*all;
	unsigned	 count;
	uint64_t	 req;
	uint64_t	 sent[NOTICE_MAX], suppressed[REASONS];
};

static const char *const action_name[NOTICE_MAX] = { "failed", "delayed", "delivered",
	"relayed" };

static void notices_tick(void *arg);
static void notice_try(struct notice *j);

static void
notice_free(struct notice *j)
{
	spool_fetch_cancel(&j->fetch);
	free(j->sender);
	free(j);
}

/* ---- life ---- */

struct notices *
notices_new(struct queue *q)
{
	struct notices *n = mem_new(sizeof(*n));

	n->queue = q;
	n->timer = timer_new(q->role->loop, notices_tick, n);
	return n;
}

static void
notice_unlink(struct notice *j)
{
	if (j->prev != NULL)
		j->prev->next = j->next;
	else
		j->notices->all = j->next;
	if (j->next != NULL)
		j->next->prev = j->prev;
	j->notices->count--;
	j->notices = NULL;
}

void
notices_free(struct notices **np)
{
	struct notices *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	while (n->all != NULL) {
		struct notice *j = n->all;

		notice_unlink(j);
		if (j->state != JOB_COMMIT)
			notice_free(j);	/* the others when the spool is through with them */
	}
	timer_free(&n->timer);
	free(n);
}

bool
notices_busy(const struct notices *n)
{
	return n->count > 0;
}

static struct notice *
notice_find(const struct notices *n, struct spool_ref ref, uint8_t action)
{
	struct notice *j = n->all;

	while (j != NULL && (j->e.ref.segment != ref.segment || j->e.ref.entry != ref.entry ||
	    j->action != action))
		j = j->next;
	return j;
}

static struct notice *
notice_new(struct notices *n, const struct spool_entry *e, enum seal_notice action)
{
	struct notice *j = mem_new(sizeof(*j));

	j->notices = n;
	j->e = *e;
	j->action = (uint8_t)action;
	j->until_ms = clock_mono_ms() + NOTICE_PATIENCE_MS;
	j->next = n->all;
	if (n->all != NULL)
		n->all->prev = j;
	n->all = j;
	if (n->count++ == 0)
		timer_arm(n->timer, NOTICE_TICK_MS);
	return j;
}

/* ---- ends ---- */

static void
count_suppressed(struct notices *n, const struct spool_entry *e, uint8_t action,
    struct slice reason)
{
	char id[MSGID_TEXT + 1];
	size_t i = 0;

	while (i < REASONS - 1 && !slice_eq(reason, slice_str(reasons[i])))
		i++;
	n->suppressed[i]++;
	msgid_print(e->id, id);
	log_info("dsn-suppressed", "id=%s/%u action=%s reason=%s", id, e->rcpt_index,
	    action_name[action], reasons[i]);
}

static bool
still_open(struct notices *n, const struct spool_entry *e, struct spool_entry *now)
{
	return spool_get(n->queue->spool, e->ref, now) == 0 &&
	    !leg_settled((enum leg_state)now->leg[LEG_HOLD].state);
}

static void
settle_reminder(struct notices *n, const struct spool_entry *reminder, const char *note)
{
	struct spool_entry r;
	struct legs_change to;

	if (spool_get(n->queue->spool, reminder->ref, &r) < 0)
		return;
	legs_end(&r, LEG_FORWARD, LEG_SKIPPED, 0, slice_str(note), &to);
	schedule_write(n->queue->schedule, &r, LEG_FORWARD, &to);
}

/* It is kept, or never will be: what hung on it goes on. */
static void
notice_decided(struct notice *j)
{
	struct notices *n = j->notices;
	struct spool_entry now;

	notice_unlink(j);
	if (j->action == NOTICE_FAILED && j->done == NULL && still_open(n, &j->e, &now))
		schedule_write(n->queue->schedule, &now, LEG_HOLD, &j->to);
	if (j->action == NOTICE_DELAYED)
		settle_reminder(n, &j->reminder, "told");
	if (j->done != NULL)
		j->done(j->arg);
	notice_free(j);
}

static void
notice_suppressed(struct notice *j, struct slice reason)
{
	count_suppressed(j->notices, &j->e, j->action, reason);
	notice_decided(j);
}

/* Nobody to make it, or no room to keep it. What can wait comes again by itself; a delivery
 * that happened must not be forgotten for the sake of its notification. */
static void
notice_later(struct notice *j)
{
	struct notices *n = j->notices;

	if (j->done != NULL) {
		notice_suppressed(j, SLICE_LIT("unavailable"));
		return;
	}
	log_warn("dsn", "action=%s error=%s", action_name[j->action],
	    log_escs("cannot be made or kept now, it is tried again"));
	if (j->action == NOTICE_DELAYED)
		schedule_again(n->queue->schedule, &j->reminder, LEG_FORWARD, NOTICE_PATIENCE_MS);
	else
		schedule_again(n->queue->schedule, &j->e, LEG_HOLD, NOTICE_PATIENCE_MS);
	notice_unlink(j);
	notice_free(j);
}

/* ---- keeping ---- */

static void
notice_kept(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t nref)
{
	struct notice *j = arg;
	struct notices *n = j->notices;
	char id[MSGID_TEXT + 1];

	if (n == NULL) {
		notice_free(j);
		return;
	}
	if (st != COMMIT_OK || nref != 1) {
		notice_later(j);
		return;
	}
	n->sent[j->action]++;
	msgid_print(j->e.id, id);
	log_info("dsn", "action=%s about=%s/%u status=%s", action_name[j->action], id,
	    j->e.rcpt_index, j->status);
	schedule_fresh(n->queue->schedule, ref[0]);
	notice_decided(j);
}

/* A message of ours for the spool, its one recipient of `kind`, about `e`. */
static int
put_envelope(const struct spool_entry *e, enum rcpt_kind kind, struct slice address,
    uint32_t flags, int64_t received_ms, uint64_t size, struct buf *out)
{
	char about[MSGID_TEXT + 1], token[MSGID_TEXT + 8];
	struct envelope_rcpt r = {
		.kind = (uint8_t)kind, .address = address, .user = address,
		.domain = SLICE_LIT(NOTICE_DOMAIN),
	};
	struct envelope v = {
		.version = ENVELOPE_VERSION, .id = msgid_new(NOTICE_INDEX),
		.received_ms = (uint64_t)received_ms, .body_size = size, .flags = flags,
		.triage = 2,
	};
	struct buf rcpts;

	msgid_print(e->id, about);
	(void)snprintf(token, sizeof(token), "%s/%u", about, e->rcpt_index);
	r.token = slice_str(token);
	buf_init(&rcpts, 4096);
	int rc = wire_item_put(&rcpts, &envelope_rcpt_wire, &r);
	v.rcpts = buf_slice(&rcpts);
	if (rc == 0)
		rc = wire_put(out, &envelope_wire, &v);
	buf_fini(&rcpts);
	return rc;
}

static int
notice_keep(struct notice *j, uint32_t flags, struct slice sender, int fd)
{
	static const struct spool_birth birth = { LEG_ABSENT, LEG_WAITING };
	struct queue *q = j->notices->queue;
	struct buf env;
	off_t size = lseek(fd, 0, SEEK_END);

	buf_init(&env, ENVELOPE_MAX);
	int rc = size < 0 ? -1 : put_envelope(&j->e, RCPT_NOTICE, sender, flags,
	    clock_wall_ms(), (uint64_t)size, &env);
	if (rc == 0) {
		j->state = JOB_COMMIT;
		spool_commit(q->spool, buf_slice(&env), fd, &birth, 1, notice_kept, j);
	}
	buf_fini(&env);
	return rc;
}

/* ---- making ---- */

/* One seal process for all of a domain: the limits are counted there. */
static unsigned
seal_for(const struct queue *q, struct slice sender)
{
	size_t at = slice_rfind(sender, '@');
	char domain[256] = "";
	unsigned n = q->role->conf->sealers;

	(void)slice_cstr(slice_sub(sender, at < sender.n ? at + 1 : sender.n, sender.n), domain,
	    sizeof(domain));
	bytes_lower(domain, strlen(domain));
	return n == 0 ? 0 : (unsigned)(spool_user(slice_str(domain)) % n);
}

static void
notice_ask(struct notice *j, struct spool_message *m)
{
	struct notices *n = j->notices;
	struct queue *q = n->queue;
	struct ipc *ch;

	j->seal = seal_for(q, m->env.mail_from);
	ch = role_link(q->role, ROLE_SEAL, j->seal);
	if (ch == NULL)
		return;			/* the tick tries again */
	j->req = ++n->req;
	const struct seal_notify ask = {
		.req = j->req, .rcpt_index = j->e.rcpt_index, .action = j->action,
		.primary = j->primary, .seven_bit = j->seven, .now_ms = (uint64_t)clock_wall_ms(),
		.until_ms = j->action == NOTICE_DELAYED ? (uint64_t)(j->e.received_ms +
		    q->role->conf->hold_retention_ms) : 0,
		.status = slice_str(j->status), .text = slice_str(j->text),
		.envelope = buf_slice(&m->raw),
	};
	if (ipc_send(ch, SEAL_NOTIFY, &seal_notify_wire, &ask, m->body_fd) == 0)
		j->state = JOB_SEAL;
}

/* NULL: it could not be read now, or not any more; the tick tries again, and gives up. */
static void
notice_read(struct notice *j, struct spool_message *m)
{
	if (m == NULL)
		return;
	if (m->env.mail_from.n == 0) {
		notice_suppressed(j, SLICE_LIT("null-sender"));
		return;
	}
	free(j->sender);
	j->sender = slice_dup(m->env.mail_from);
	notice_ask(j, m);
}

/* The recipient that a reminder or a notification is about. */
static bool
reminded_of(struct notices *n, const struct spool_entry *e, const struct spool_message *m,
    struct spool_entry *out)
{
	struct envelope_rcpt r;
	struct spool_ref ref;
	struct msgid id;
	uint64_t index = 0;

	return spool_message_rcpt(m, e->rcpt_index, &r) == 0 && r.token.n > MSGID_TEXT + 1 &&
	    msgid_parse(slice_sub(r.token, 0, MSGID_TEXT), &id) == 0 &&
	    slice_u64(slice_sub(r.token, MSGID_TEXT + 1, r.token.n), &index) == 0 &&
	    index <= UINT16_MAX &&
	    spool_find_rcpt(n->queue->spool, id, (uint16_t)index, RCPT_USER, &ref) == 0 &&
	    spool_get(n->queue->spool, ref, out) == 0;
}

/* What was told once, in its words. */
static void
notice_say_again(struct notice *j)
{
	char note[LEGS_NOTE_MAX] = "";

	if (spool_note(j->notices->queue->spool, j->e.ref, LEG_HOLD, note, sizeof(note)) < 0)
		note[0] = '\0';
	j->primary = notices_words(note, j->status, j->text);
}

static void
notice_reminded(struct notice *j, struct spool_message *m)
{
	struct notices *n = j->notices;

	if (m == NULL)
		return;
	bool found = reminded_of(n, &j->reminder, m, &j->e);
	if (j->seven && !found) {
		notice_suppressed(j, SLICE_LIT("unavailable"));
		return;
	}
	if (j->seven) {
		notice_say_again(j);
	} else if (!found || leg_settled((enum leg_state)j->e.leg[LEG_HOLD].state)) {
		settle_reminder(n, &j->reminder, "in-time");
		notice_unlink(j);
		notice_free(j);
		return;
	}
	j->reminds = false;
	notice_try(j);
}

static void
notice_got(struct notice *j, struct spool_message *m)
{
	j->state = JOB_NEW;
	if (j->reminds)
		notice_reminded(j, m);
	else
		notice_read(j, m);
}

static void
on_notice_fetched(void *arg, int error, struct spool_message *m)
{
	struct notice *j = arg;

	j->fetch = NULL;
	notice_got(j, error == 0 ? m : NULL);
	if (error == 0)
		spool_message_fini(m);
}

/* From the disk off the loop: one that hangs holds up this notification and nothing else. */
static void
notice_try(struct notice *j)
{
	struct spool *sp = j->notices->queue->spool;
	struct spool_ref ref = j->reminds ? j->reminder.ref : j->e.ref;
	struct spool_message m;

	if (spool_recent(sp, ref, !j->reminds, &m) == 0) {
		notice_got(j, &m);
		spool_message_fini(&m);
		return;
	}
	j->fetch = spool_fetch(sp, ref, !j->reminds, on_notice_fetched, j);
	if (j->fetch != NULL)
		j->state = JOB_DISK;
}

static void
notice_answered(struct notice *j, const struct seal_notified *a, int fd)
{
	switch ((enum seal_notified_status)a->status) {
	case NOTIFIED_SUPPRESSED:
		notice_suppressed(j, a->reason);
		return;
	case NOTIFIED_OK:
		if (fd < 0 || notice_keep(j, a->flags & NOTIFIED_FLAGS, slice_str(j->sender), fd) < 0)
			break;
		return;
	case NOTIFIED_ERROR:
	case NOTIFIED_MAX:
		log_error("dsn", "action=%s error=%s", action_name[j->action], log_esc(a->reason));
		notice_suppressed(j, SLICE_LIT("error"));
		return;
	}
	notice_later(j);
}

int
notices_message(struct notices *n, unsigned index, struct slice body, int fd)
{
	struct seal_notified a;
	struct notice *j = n->all;

	if (wire_get(body, &seal_notified_wire, &a) < 0)
		return -1;
	while (j != NULL && (j->state != JOB_SEAL || j->req != a.req || j->seal != index))
		j = j->next;
	if (j != NULL)
		notice_answered(j, &a, fd);
	return 0;
}

void
notices_link_down(struct notices *n, unsigned index)
{
	for (struct notice *j = n->all; j != NULL; j = j->next)
		if (j->state == JOB_SEAL && j->seal == index)
			j->state = JOB_NEW;
}

static void
notices_tick(void *arg)
{
	struct notices *n = arg;
	int64_t now = clock_mono_ms();

	for (struct notice *j = n->all, *next; j != NULL; j = next) {
		next = j->next;
		if (j->state == JOB_COMMIT)
			continue;	/* the spool answers in any case */
		if (now >= j->until_ms)
			notice_later(j);
		else if (j->state == JOB_NEW)
			notice_try(j);
	}
	if (n->count > 0)
		timer_arm(n->timer, NOTICE_TICK_MS);
}

/* ---- failed ---- */

bool
notices_words(const char *note, char status[16], char text[64])
{
	char enhanced[16] = "";
	unsigned code = 0;
	/* "bounced" is what notices_bounce puts in front */
	const char *why = strncmp(note, "bounced ", 8) == 0 ? note + 8 : note;

	if ((sscanf(note, "primary-refused %3u %15s", &code, enhanced) >= 1 || (why != note &&
	    sscanf(why, "%3u %15s", &code, enhanced) >= 1)) && code >= 500 && code <= 599) {
		bool has = enhanced[0] == '5' && enhanced[1] == '.';

		(void)snprintf(status, 16, "%s", has ? enhanced : "5.0.0");
		(void)snprintf(text, 64, "%u%s%s", code, has ? " " : "", has ? enhanced : "");
		return true;
	}
	if (strncmp(why, NOT_SENDABLE, sizeof(NOT_SENDABLE) - 1) == 0) {
		/* "not-sendable 0 5.6.7" (queue/legs.c): the message's own fault (5.6.3, 5.6.7,
		 * 5.3.4) is said, our routing is not */
		const char *last = strrchr(why, ' ');
		bool own = last != NULL && (strncmp(last, " 5.6.", 5) == 0 ||
		    strcmp(last, " 5.3.4") == 0);

		(void)snprintf(status, 16, "%s", own ? last + 1 : "5.3.0");
		(void)snprintf(text, 64, "the mailbox server cannot take this message");
		return false;
	}
	(void)snprintf(status, 16, "5.4.7");
	(void)snprintf(text, 64, "it could not be delivered in time");
	return false;
}

bool
notices_bounce(struct notices *n, const struct spool_entry *e, const struct legs_change *to)
{
	char note[LEGS_NOTE_MAX] = "", status[16], text[64];
	struct legs_change with = *to;
	bool primary;

	if (spool_note(n->queue->spool, e->ref, LEG_HOLD, note, sizeof(note)) < 0)
		note[0] = '\0';
	primary = notices_words(note, status, text);
	/* kept: the copy may be lost later (notices_lost), or it has to be told again */
	if (primary)
		(void)snprintf(with.note, sizeof(with.note), "bounced %s", text);
	else if (strncmp(note, NOT_SENDABLE, sizeof(NOT_SENDABLE) - 1) == 0)
		(void)snprintf(with.note, sizeof(with.note), "bounced %.80s", note);
	if (e->kind != RCPT_USER || e->leg[LEG_FORWARD].state == LEG_DELIVERED) {
		if (e->kind == RCPT_USER)	/* 2.1.2: somebody has it */
			count_suppressed(n, e, NOTICE_FAILED, SLICE_LIT("forwarded"));
		schedule_write(n->queue->schedule, e, LEG_HOLD, &with);
		return true;
	}
	if (notice_find(n, e->ref, NOTICE_FAILED) != NULL)
		return true;		/* it is being made */
	if (n->count >= NOTICES_MAX ||
	    schedule_running(n->queue->schedule, e->ref, LEG_FORWARD))
		return false;
	struct notice *j = notice_new(n, e, NOTICE_FAILED);
	j->to = with;
	j->primary = primary;
	(void)snprintf(j->status, sizeof(j->status), "%s", status);
	(void)snprintf(j->text, sizeof(j->text), "%s", text);
	notice_try(j);
	return true;
}

/* ---- delivered, relayed ---- */

void
notices_taken(struct notices *n, const struct spool_entry *e, bool lmtp, notices_done_fn *done,
    void *arg)
{
	enum seal_notice action = lmtp ? NOTICE_DELIVERED : NOTICE_RELAYED;

	if (n->count >= NOTICES_MAX) {
		count_suppressed(n, e, (uint8_t)action, SLICE_LIT("unavailable"));
		done(arg);
		return;
	}
	struct notice *j = notice_new(n, e, action);
	j->done = done;
	j->arg = arg;
	(void)snprintf(j->status, sizeof(j->status), "2.0.0");
	notice_try(j);
}

void
notices_lost(struct notices *n, const struct spool_entry *e, notices_done_fn *done, void *arg)
{
	char note[LEGS_NOTE_MAX] = "";

	if (n->count >= NOTICES_MAX) {
		count_suppressed(n, e, NOTICE_FAILED, SLICE_LIT("unavailable"));
		done(arg);
		return;
	}
	if (spool_note(n->queue->spool, e->ref, LEG_HOLD, note, sizeof(note)) < 0)
		note[0] = '\0';
	struct notice *j = notice_new(n, e, NOTICE_FAILED);
	j->done = done;
	j->arg = arg;
	j->primary = notices_words(note, j->status, j->text);
	notice_try(j);
}

static void
narrow_done(void *arg)
{
	(void)arg;
}

void
notices_narrow(struct notices *n, const struct spool_entry *e)
{
	if (n->count >= NOTICES_MAX) {
		count_suppressed(n, e, NOTICE_FAILED, SLICE_LIT("unavailable"));
		return;
	}
	struct notice *j = notice_new(n, e, NOTICE_FAILED);
	j->reminder = *e;
	j->reminds = j->seven = true;
	j->done = narrow_done;
	notice_try(j);
}

/* ---- delayed ---- */

/* Nobody waits for it: without its reminder a sender is not told that it takes long. */
static void
reminder_kept(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t nref)
{
	struct queue *q = arg;

	if (st == COMMIT_OK && nref == 1 && q->schedule != NULL)
		schedule_fresh(q->schedule, ref[0]);
	else if (st != COMMIT_OK)
		log_warn("dsn", "action=delayed error=%s", log_escs("no room for a reminder"));
}

void
notices_remind(struct notices *n, const struct spool_entry *e)
{
	static const struct spool_birth birth = { LEG_ABSENT, LEG_WAITING };
	struct buf env;
	int fd = body_make(SLICE_NONE);

	buf_init(&env, ENVELOPE_MAX);
	if (fd >= 0 && put_envelope(e, RCPT_REMINDER, SLICE_LIT("reminder"), 0, e->received_ms, 0,
	    &env) == 0)
		spool_commit(n->queue->spool, buf_slice(&env), fd, &birth, 1, reminder_kept,
		    n->queue);
	if (fd >= 0)
		close(fd);
	buf_fini(&env);
}

bool
notices_due(struct notices *n, const struct spool_entry *e)
{
	struct notice *j = n->all;

	while (j != NULL && (j->action != NOTICE_DELAYED ||
	    j->reminder.ref.segment != e->ref.segment || j->reminder.ref.entry != e->ref.entry))
		j = j->next;
	if (j != NULL)
		return true;		/* it is being made */
	if (n->count >= NOTICES_MAX)
		return false;
	j = notice_new(n, e, NOTICE_DELAYED);
	j->reminder = *e;
	j->reminds = true;
	(void)snprintf(j->status, sizeof(j->status), "4.4.7");
	notice_try(j);
	return true;
}

/* ---- status ---- */

void
notices_status(const struct notices *n, struct buf *out)
{
	const char *comma = "";

	(void)!buf_puts(out, ",\"dsn_sent\":{");
	for (size_t i = 0; i < NOTICE_MAX; i++) {
		(void)!buf_printf(out, "%s\"%s\":%llu", comma, action_name[i],
		    (unsigned long long)n->sent[i]);
		comma = ",";
	}
	(void)!buf_puts(out, "},\"dsn_suppressed\":{");
	comma = "";
	for (size_t i = 0; i < REASONS; i++) {
		(void)!buf_printf(out, "%s\"%s\":%llu", comma, reasons[i],
		    (unsigned long long)n->suppressed[i]);
		comma = ",";
	}
	(void)!buf_puts(out, "}");
}
