// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_session.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	BODY_START	= 64 * 1024,	/* set aside at DATA when no SIZE was given */
	GATHER_MAX	= 64 * 1024,	/* small runs of content are written together */
	RUN_DIRECT	= 16 * 1024,	/* longer runs go to the memfd as they are */
	MEMORY_WAIT_MS	= 10 * 1000,
	TLS_MS		= 60 * 1000,
	REPLY_MAX	= 16 * 1024	/* of one command */
};

struct session {
	struct smtp_server	*sv;
	struct session		*prev, *next;	/* all sessions of the server */
	struct session		*wait_next;	/* queue for body memory */
	struct conn		*conn;		/* owned; NULL once closed */
	struct ingest_req	*req;		/* the question we wait for */
	struct smtp_machine	 m;
	struct smtp_lexer	 lex;
	struct buf		 gather;	/* content not yet written to the body */
	uint64_t		 number;	/* of this process, for the log */
	uint64_t		 body_size;	/* content bytes so far, kept or not */
	uint64_t		 reserved;	/* of the server's body memory */
	int64_t			 ends;		/* mono ms: session-timeout */
	struct msgid		 id;		/* of the message being kept */
	unsigned		 faults;	/* SMTP_FAULT_*, ours beside the lexer's */
	int			 body_fd;	/* owned, -1 */
	uint8_t			 state;		/* enum smtp_state; written by session_enter */
	bool			 closed;	/* freed at the end of the turn */
	char			 ip[INET6_ADDRSTRLEN];
};

struct smtp_server {
	struct loop		*loop;
	const struct conf	*conf;
	struct ingest		*ingest;
	struct tls_context	*tls;
	struct session		*head;
	struct session		*wait_head, **wait_tail;
	struct buf		 reply;		/* of the command at hand */
	bool			 waking;	/* server_wake will run */
	bool			 stopping;
	timer_fn		*stop_fn;
	void			*stop_arg;
	struct timer		*stop_timer;
	struct smtp_server_stats stats;
};

static void session_step(struct session *s, struct smtp_step step);
static void session_closed(struct session *s);

/* -- body memory ---------------------------------------------------------------- */

static bool
server_reserve(struct smtp_server *sv, uint64_t n)
{
	uint64_t max = sv->conf->body_memory_max;

	if (n > max || sv->stats.body_bytes > max - n)
		return false;
	sv->stats.body_bytes += n;
	return true;
}

static void
server_wake(void *arg)
{
	struct smtp_server *sv = arg;

	sv->waking = false;
	while (sv->wait_head != NULL) {
		struct session *s = sv->wait_head;
		uint64_t n = s->m.size > 0 ? s->m.size : BODY_START;

		if (!server_reserve(sv, n))
			break;
		sv->wait_head = s->wait_next;
		if (sv->wait_head == NULL)
			sv->wait_tail = &sv->wait_head;
		sv->stats.waiting--;
		s->wait_next = NULL;
		s->reserved = n;
		session_step(s, smtp_machine_body(&s->m, true, &sv->reply));
	}
}

static void
server_release(struct smtp_server *sv, uint64_t n)
{
	sv->stats.body_bytes -= n;
	if (sv->wait_head == NULL || sv->waking)
		return;
	sv->waking = true;
	loop_later(sv->loop, server_wake, sv);
}

static void
session_unwait(struct session *s)
{
	struct smtp_server *sv = s->sv;
	struct session **p = &sv->wait_head;

	while (*p != NULL && *p != s)
		p = &(*p)->wait_next;
	if (*p == NULL)
		return;
	*p = s->wait_next;
	if (*p == NULL)
		sv->wait_tail = p;
	s->wait_next = NULL;
	sv->stats.waiting--;
}

/* The message is gone from here: kept elsewhere, refused or given up. */
static void
session_drop_body(struct session *s)
{
	if (s->body_fd >= 0)
		(void)close(s->body_fd);
	s->body_fd = -1;
	if (s->reserved > 0)
		server_release(s->sv, s->reserved);
	s->reserved = 0;
	s->body_size = 0;
	s->faults = 0;
	buf_fini(&s->gather);
	buf_init(&s->gather, GATHER_MAX);
}

/* -- state ---------------------------------------------------------------------- */

static int64_t
session_remaining(const struct session *s, int64_t want_ms)
{
	int64_t left = s->ends - clock_mono_ms();

	if (left < 1)
		left = 1;
	return left < want_ms ? left : want_ms;
}

static bool
session_reads(const struct session *s)
{
	switch ((enum smtp_state)s->state) {
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_DATA:
		return true;
	case SMTP_NEW:
	case SMTP_WAIT_RCPT:
	case SMTP_WAIT_MEMORY:
	case SMTP_WAIT_VERDICT:
	case SMTP_WAIT_COMMIT:
	case SMTP_TLS:
	case SMTP_CLOSING:
	case SMTP_STATE_MAX:
		break;
	}
	return false;
}

/*
 * Interest and deadline follow from the state. A command must be complete in time: bytes
 * that trickle in do not move its deadline. Where we keep the client waiting there is
 * none, ingest promises an end.
 */
static void
session_enter(struct session *s, enum smtp_state st)
{
	const struct conf *c = s->sv->conf;

	if (s->state != st)
		log_debug("session", "n=%llu from=%s to=%s", (unsigned long long)s->number,
		    smtp_state_name(s->state), smtp_state_name(st));
	if (st == SMTP_DATA && s->state != SMTP_DATA)
		conn_read_size(s->conn, CONN_INPUT);
	else if (s->state == SMTP_DATA && st != SMTP_DATA)
		conn_read_size(s->conn, 16 * 1024);
	s->state = (uint8_t)st;
	switch (st) {
	case SMTP_NEW:
	case SMTP_STATE_MAX:
		break;
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
		conn_resume(s->conn);
		conn_deadline(s->conn, session_remaining(s, c->command_timeout_ms));
		break;
	case SMTP_DATA:
		conn_resume(s->conn);
		conn_deadline(s->conn, session_remaining(s, c->data_timeout_ms));
		break;
	case SMTP_WAIT_MEMORY:
		conn_pause(s->conn);
		conn_deadline(s->conn, c->command_timeout_ms < MEMORY_WAIT_MS ?
		    c->command_timeout_ms : MEMORY_WAIT_MS);
		break;
	case SMTP_WAIT_RCPT:
	case SMTP_WAIT_VERDICT:
	case SMTP_WAIT_COMMIT:
		conn_pause(s->conn);
		conn_deadline(s->conn, -1);
		break;
	case SMTP_TLS:
		conn_deadline(s->conn, TLS_MS);
		break;
	case SMTP_CLOSING:
		conn_pause(s->conn);
		break;
	}
}

static void
session_say(struct session *s)
{
	struct buf *b = &s->sv->reply;

	/* The connection takes no input while CONN_OUT_LOW wait, and one input is answered
	 * within the bound beyond; what does not fit is a bug on our side. */
	if (buf_len(b) > 0 && s->conn != NULL)
		CHECK(conn_write(s->conn, buf_slice(b)) == 0);
	buf_clear(b);
}

static void
session_free(void *arg)
{
	struct session *s = arg;

	smtp_machine_fini(&s->m);
	buf_fini(&s->gather);
	free(s);
}

/* Nothing of it is alive but the memory, which goes at the end of the turn. */
static void
session_closed(struct session *s)
{
	struct smtp_server *sv = s->sv;

	if (s->closed)
		return;
	s->closed = true;
	conn_close(&s->conn);
	ingest_cancel(sv->ingest, &s->req);
	session_unwait(s);
	session_drop_body(s);
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		sv->head = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	sv->stats.sessions--;
	loop_later(sv->loop, session_free, s);
	if (sv->stopping && sv->head == NULL)
		timer_arm(sv->stop_timer, 0);
}

/* -- what steps ask for --------------------------------------------------------- */

static void
on_rcpt(void *arg, const struct smtp_rcpt_answer *a)
{
	struct session *s = arg;

	session_step(s, smtp_machine_rcpt(&s->m, a, &s->sv->reply));
}

static void
session_room(struct session *s)
{
	struct smtp_server *sv = s->sv;
	uint64_t n = s->m.size > 0 ? s->m.size : BODY_START;

	if (sv->wait_head == NULL && server_reserve(sv, n)) {
		s->reserved = n;
		session_step(s, smtp_machine_body(&s->m, true, &sv->reply));
		return;
	}
	if (n > sv->conf->body_memory_max) {
		session_step(s, smtp_machine_body(&s->m, false, &sv->reply));
		return;
	}
	s->wait_next = NULL;
	*sv->wait_tail = s;
	sv->wait_tail = &s->wait_next;
	sv->stats.waiting++;
}

static void
on_committing(void *arg)
{
	session_enter(arg, SMTP_WAIT_COMMIT);
}

static void
on_kept(void *arg, enum smtp_kept what, struct slice text)
{
	struct session *s = arg;
	char id[MSGID_TEXT + 1];

	if (what == SMTP_KEPT) {
		msgid_print(s->id, id);
		text = slice_str(id);
	}
	session_drop_body(s);
	session_step(s, smtp_machine_kept(&s->m, what, text, &s->sv->reply));
}

static struct slice
session_protocol(const struct session *s)
{
	if (!s->m.extended)
		return SLICE_LIT("SMTP");
	if (s->m.utf8)		/* RFC 6531 4.3 */
		return s->m.tls_active ? SLICE_LIT("UTF8SMTPS") : SLICE_LIT("UTF8SMTP");
	return s->m.tls_active ? SLICE_LIT("ESMTPS") : SLICE_LIT("ESMTP");
}

static void
session_keep(struct session *s)
{
	static const struct ingest_keep_ops ops = { on_committing, on_kept };
	const struct tls_info *tls = conn_tls(s->conn);
	struct slice list = buf_slice(&s->m.rcpts);
	struct envelope_rcpt only = { 0 };
	char cipher[96] = "";

	if (tls != NULL)
		(void)snprintf(cipher, sizeof(cipher), "%s %s", tls->version, tls->cipher);
	if (s->m.nrcpt == 1)
		CHECK(wire_item_next(&list, &envelope_rcpt_wire, &only) == 1);
	struct ingest_mail mail = {
		.id = s->id,
		.received_ms = clock_wall_ms(),
		.body_size = s->body_size,
		.flags = (s->m.body_8bit ? ENV_BODY_8BIT : 0u) |
		    (s->m.utf8 ? ENV_SMTPUTF8 : 0u) | (tls != NULL ? ENV_TLS : 0u),
		.nrcpt = s->m.nrcpt,
		.client_ip = slice_str(s->ip),
		.helo = slice_str(s->m.helo),
		.mail_from = slice_str(s->m.mail_from),
		.envid = slice_str(s->m.envid),
		.ret = s->m.ret,
		.rcpts = buf_slice(&s->m.rcpts),
		.rcpt = only.address,
		.protocol = session_protocol(s),
		.tls = slice_str(cipher),
		.body_fd = s->body_fd,
	};
	ingest_keep(s->sv->ingest, &mail, &ops, s, &s->req);
}

static void
session_handshake(struct session *s)
{
	if (s->sv->tls != NULL && conn_start_tls(s->conn, s->sv->tls, NULL) == 0)
		return;
	log_error("tls-start", "client=%s", s->ip);
	session_closed(s);
}

/* The machine has spoken: say it, be it, do it. The step may lead to further steps. */
static void
session_step(struct session *s, struct smtp_step step)
{
	struct smtp_server *sv = s->sv;

	session_say(s);
	session_enter(s, step.next);
	switch (step.action) {
	case SMTP_DO_NOTHING:
		break;
	case SMTP_DO_SENDER:
		ingest_prefetch(sv->ingest, slice_str(s->ip), slice_str(s->m.mail_from));
		break;
	case SMTP_DO_DIRECTORY:
	case SMTP_DO_SEAL:
		ingest_rcpt(sv->ingest, step.action == SMTP_DO_SEAL,
		    slice_str(s->m.pending->address), on_rcpt, s, &s->req);
		return;
	case SMTP_DO_BODY:
		session_room(s);
		return;
	case SMTP_DO_KEEP:
		session_keep(s);
		return;
	case SMTP_DO_TLS:
		session_handshake(s);
		return;
	case SMTP_DO_CLOSE:
		conn_finish(&s->conn);
		session_closed(s);
		return;
	}
	if (step.next == SMTP_DATA)
		smtp_lexer_begin(&s->lex, sv->conf->header_size_max);
	else if (sv->stopping && step.next == SMTP_READY)
		session_step(s, smtp_machine_bye(&s->m, SMTP_END_STOP, &sv->reply));
}

/* -- content -------------------------------------------------------------------- */

static int
session_flush_gather(struct session *s)
{
	int r = body_append(s->body_fd, buf_slice(&s->gather));

	buf_clear(&s->gather);
	return r;
}

/* Grows the reservation ahead of the content, in steps that grow with it. */
static bool
session_room_for(struct session *s, uint64_t size)
{
	uint64_t more;

	if (size <= s->reserved)
		return true;
	more = size - s->reserved;
	if (more < s->reserved / 2 && server_reserve(s->sv, s->reserved / 2)) {
		s->reserved += s->reserved / 2;
		return true;
	}
	if (!server_reserve(s->sv, more))
		return false;
	s->reserved += more;
	return true;
}

static int
session_write(struct session *s, struct slice run)
{
	if (s->body_fd < 0) {
		s->body_fd = body_create();
		if (s->body_fd < 0)
			return -1;
	}
	if (run.n < RUN_DIRECT) {
		if (buf_len(&s->gather) + run.n > GATHER_MAX && session_flush_gather(s) != 0)
			return -1;
		return buf_put_slice(&s->gather, run);
	}
	if (session_flush_gather(s) != 0)
		return -1;
	return body_append(s->body_fd, run);
}

/* What cannot be kept is read to its end all the same: the answer comes after it. */
static void
session_content(struct session *s, struct slice run)
{
	const unsigned fatal = SMTP_FAULT_SIZE | SMTP_FAULT_MEMORY | SMTP_FAULT_LOCAL;

	s->body_size += run.n;
	if (s->faults & fatal)
		return;
	if (s->body_size > s->sv->conf->message_size_max) {
		s->faults |= SMTP_FAULT_SIZE;
	} else if (!session_room_for(s, s->body_size)) {
		s->faults |= SMTP_FAULT_MEMORY;
	} else if (session_write(s, run) != 0) {
		log_error("body", "client=%s error=%s", s->ip, strerror(errno));
		s->faults |= SMTP_FAULT_LOCAL;
	}
	if (s->faults & fatal) {
		unsigned faults = s->faults;
		uint64_t size = s->body_size;

		session_drop_body(s);
		s->faults = faults;
		s->body_size = size;
	}
}

static int
session_seal(struct session *s)
{
	uint64_t spare;

	if (s->body_fd < 0) {
		s->body_fd = body_create();
		if (s->body_fd < 0)
			return -1;
	}
	if (session_flush_gather(s) != 0 || body_seal(s->body_fd) != 0)
		return -1;
	buf_fini(&s->gather);
	buf_init(&s->gather, GATHER_MAX);
	spare = s->reserved - s->body_size;
	s->reserved -= spare;
	server_release(s->sv, spare);
	return 0;
}

static void
session_end_of_data(struct session *s)
{
	unsigned faults = s->faults | s->lex.faults;
	struct smtp_step step;

	smtp_lexer_init(&s->lex);
	if (faults == 0 || (faults & ~(unsigned)SMTP_FAULT_BARE) == 0) {
		if (session_seal(s) != 0) {
			log_error("body", "client=%s error=%s", s->ip, strerror(errno));
			faults |= SMTP_FAULT_LOCAL;
		}
	}
	s->id = msgid_new(ingest_relay_index(s->sv->ingest));
	step = smtp_machine_end(&s->m, faults, &s->sv->reply);
	if (step.action != SMTP_DO_KEEP)
		session_drop_body(s);
	session_step(s, step);
}

/* -- input ---------------------------------------------------------------------- */

/* One event of the lexer; how many bytes it was, 0 when there are too few for one. */
static size_t
session_take(struct session *s, struct slice in)
{
	struct slice out;
	size_t used;
	enum smtp_lexeme lex;

	if (s->state != SMTP_DATA) {
		lex = smtp_lexer_line(&s->lex, in, &used, &out);
		if (lex != SMTP_LEX_MORE)
			session_step(s, smtp_machine_line(&s->m, s->state, lex, out,
			    &s->sv->reply));
		return used;
	}
	lex = smtp_lexer_data(&s->lex, in, &used, &out);
	if (lex == SMTP_LEX_DATA)
		session_content(s, out);
	else if (lex == SMTP_LEX_END)
		session_end_of_data(s);
	return used;
}

static size_t
session_input(void *arg, struct slice in)
{
	struct session *s = arg;
	size_t done = 0;

	while (done < in.n && !s->closed && session_reads(s)) {
		size_t used = session_take(s, slice_sub(in, done, in.n));

		done += used;
		if (used == 0 || s->closed || conn_pending(s->conn) >= CONN_OUT_LOW)
			break;
	}
	if (done > 0 && !s->closed && s->state == SMTP_DATA)
		conn_deadline(s->conn, session_remaining(s, s->sv->conf->data_timeout_ms));
	return done;
}

static void
session_timeout(struct session *s)
{
	struct smtp_server *sv = s->sv;

	sv->stats.timeouts++;
	if (s->state == SMTP_WAIT_MEMORY) {
		session_unwait(s);
		session_step(s, smtp_machine_body(&s->m, false, &sv->reply));
		return;
	}
	log_info("timeout", "client=%s state=%s", s->ip, smtp_state_name(s->state));
	if (s->state == SMTP_TLS) {
		session_closed(s);
		return;
	}
	session_step(s, smtp_machine_bye(&s->m, clock_mono_ms() >= s->ends ?
	    SMTP_END_SESSION : SMTP_END_IDLE, &sv->reply));
}

static void
session_event(void *arg, enum conn_event ev)
{
	struct session *s = arg;

	switch (ev) {
	case CONN_CONNECTED:
	case CONN_WRITABLE:
		break;
	case CONN_TLS:
		s->sv->stats.tls++;
		smtp_lexer_init(&s->lex);
		session_step(s, smtp_machine_tls(&s->m));
		break;
	case CONN_TIMEOUT:
		session_timeout(s);
		break;
	case CONN_EOF:
		if (s->state == SMTP_DATA)
			log_info("cut-off", "client=%s from=%s bytes=%llu", s->ip,
			    log_escs(s->m.mail_from), (unsigned long long)s->body_size);
		/* It may still read what we said before. */
		conn_finish(&s->conn);
		session_closed(s);
		break;
	case CONN_ERROR:
		if (s->state == SMTP_TLS) {
			s->sv->stats.tls_failed++;
			log_info("tls-failed", "client=%s reason=%s", s->ip,
			    log_escs(conn_error(s->conn)));
		} else {
			log_debug("disconnected", "client=%s state=%s reason=%s", s->ip,
			    smtp_state_name(s->state), log_escs(conn_error(s->conn)));
		}
		session_closed(s);
		break;
	}
}

static const struct conn_ops session_conn_ops = { session_input, session_event };

void
session_start(struct smtp_server *sv, int fd, const char *ip, bool tls)
{
	struct session *s = mem_new(sizeof(*s));
	enum smtp_end why = SMTP_END_CROWD;
	bool crowd = sv->stats.sessions >= sv->conf->sessions_max;

	s->sv = sv;
	s->number = ++sv->stats.sessions_total;
	s->body_fd = -1;
	s->ends = clock_mono_ms() + sv->conf->session_timeout_ms;
	(void)snprintf(s->ip, sizeof(s->ip), "%s", ip);
	smtp_machine_init(&s->m, sv->conf);
	s->m.tls_offered = tls && sv->tls != NULL;
	smtp_lexer_init(&s->lex);
	buf_init(&s->gather, GATHER_MAX);
	s->next = sv->head;
	if (sv->head != NULL)
		sv->head->prev = s;
	sv->head = s;
	sv->stats.sessions++;
	s->conn = conn_accepted(sv->loop, fd, &session_conn_ops, s);
	if (sv->stopping)
		why = SMTP_END_STOP;
	if (crowd || sv->stopping) {
		sv->stats.crowded++;
		session_step(s, smtp_machine_bye(&s->m, why, &sv->reply));
		return;
	}
	session_step(s, smtp_machine_greet(&s->m, &sv->reply));
}

/* -- server --------------------------------------------------------------------- */

static void
server_stop_due(void *arg)
{
	struct smtp_server *sv = arg;

	while (sv->head != NULL)
		session_step(sv->head, smtp_machine_bye(&sv->head->m, SMTP_END_STOP,
		    &sv->reply));
	if (sv->stop_fn != NULL) {
		timer_fn *fn = sv->stop_fn;

		/* The last words leave at the end of this turn. */
		sv->stop_fn = NULL;
		loop_later(sv->loop, fn, sv->stop_arg);
	}
}

struct smtp_server *
smtp_server_new(struct loop *l, const struct conf *c, struct ingest *g, struct tls_context *tls)
{
	struct smtp_server *sv = mem_new(sizeof(*sv));

	sv->loop = l;
	sv->conf = c;
	sv->ingest = g;
	sv->tls = tls;
	sv->wait_tail = &sv->wait_head;
	buf_init(&sv->reply, REPLY_MAX);
	sv->stop_timer = timer_new(l, server_stop_due, sv);
	return sv;
}

void
smtp_server_reload(struct smtp_server *sv, const struct conf *c, struct tls_context *tls)
{
	sv->conf = c;
	sv->tls = tls;
	for (struct session *s = sv->head; s != NULL; s = s->next)
		s->m.conf = c;
}

void
smtp_server_stop(struct smtp_server *sv, int64_t grace_ms, timer_fn *fn, void *arg)
{
	struct session *next;

	sv->stopping = true;
	sv->stop_fn = fn;
	sv->stop_arg = arg;
	for (struct session *s = sv->head; s != NULL; s = next) {
		next = s->next;
		if (s->state == SMTP_GREETED || s->state == SMTP_READY || s->state == SMTP_TLS)
			session_step(s, smtp_machine_bye(&s->m, SMTP_END_STOP, &sv->reply));
	}
	timer_arm(sv->stop_timer, sv->head == NULL ? 0 : grace_ms);
}

void
smtp_server_free(struct smtp_server **sp)
{
	struct smtp_server *sv = *sp;

	if (sv == NULL)
		return;
	sv->stopping = false;
	while (sv->head != NULL)
		session_closed(sv->head);
	timer_free(&sv->stop_timer);
	buf_fini(&sv->reply);
	free(sv);
	*sp = NULL;
}

void
smtp_server_stats(const struct smtp_server *sv, struct smtp_server_stats *out)
{
	*out = sv->stats;
}
