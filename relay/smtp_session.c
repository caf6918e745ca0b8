// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_session_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/proxy.h"
#include "relay/smtp_guard.h"

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
session_content_state(unsigned st)
{
	return st == SMTP_DATA || st == SMTP_CHUNK;
}

/* The time that a message takes to come, with the client's pauses between its chunks. */
static void
session_rate_state(struct session *s, enum smtp_state st)
{
	bool flows = session_content_state(st) || st == SMTP_BDAT;

	if (flows && s->rate_since == 0) {
		s->rate_since = clock_mono_ms();
		s->rate_bytes = 0;
	} else if (!flows) {
		s->rate_since = 0;
	}
}

bool
session_below_rate(const struct session *s, int64_t after_ms)
{
	int64_t ms = clock_mono_ms() - s->rate_since;

	return s->rate_since != 0 && ms > after_ms &&
	    s->rate_bytes < s->sv->conf->data_rate_min * (uint64_t)ms / 1000;
}

static bool
session_reads(const struct session *s)
{
	switch ((enum smtp_state)s->state) {
	case SMTP_PROXY:
	case SMTP_PAUSE:
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_DATA:
	case SMTP_CHUNK:
	case SMTP_BDAT:
		return true;
	case SMTP_NEW:
	case SMTP_WAIT_RCPT:
	case SMTP_WAIT_MEMORY:
	case SMTP_WAIT_VERDICT:
	case SMTP_WAIT_COMMIT:
	case SMTP_TLS:
	case SMTP_LATE:
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
void
session_enter(struct session *s, enum smtp_state st)
{
	const struct conf *c = s->sv->conf;

	if (s->state != st)
		log_debug("session", "n=%llu from=%s to=%s", (unsigned long long)s->number,
		    smtp_state_name(s->state), smtp_state_name(st));
	if (session_content_state(st) && !session_content_state(s->state))
		conn_read_size(s->conn, CONN_INPUT);
	else if (!session_content_state(st) && session_content_state(s->state))
		conn_read_size(s->conn, 16 * 1024);
	/* RSET or EHLO amid the chunks: what came of the message goes. */
	if (s->state == SMTP_BDAT && st != SMTP_BDAT && st != SMTP_CHUNK)
		session_drop_body(s);
	session_rate_state(s, st);
	s->state = (uint8_t)st;
	switch (st) {
	case SMTP_NEW:
	case SMTP_STATE_MAX:
		break;
	case SMTP_PROXY:
		conn_deadline(s->conn, session_remaining(s, c->command_timeout_ms < PROXY_MS ?
		    c->command_timeout_ms : PROXY_MS));
		break;
	case SMTP_PAUSE:
		conn_resume(s->conn);
		conn_deadline(s->conn, c->greet_pause_ms);
		break;
	case SMTP_LATE:
		conn_pause(s->conn);
		conn_deadline(s->conn, c->tarpit_delay_ms);
		break;
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_BDAT:
		conn_resume(s->conn);
		conn_deadline(s->conn, session_remaining(s, c->command_timeout_ms));
		break;
	case SMTP_DATA:
	case SMTP_CHUNK:
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
		conn_deadline(s->conn, session_remaining(s, c->command_timeout_ms < TLS_MS ?
		    c->command_timeout_ms : TLS_MS));
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
	buf_fini(&s->late);
	free(s);
}

/* Nothing of it is alive but the memory, which goes at the end of the turn. */
void
session_closed(struct session *s)
{
	struct smtp_server *sv = s->sv;

	if (s->closed)
		return;
	s->closed = true;
	guard_forget(s);
	blocklist_cancel(&s->listing);
	conn_close(&s->conn);
	ingest_cancel(sv->ingest, &s->req);
	session_unwait(s);
	session_drop_body(s);
	if (s->counted)
		crowd_leave(sv->crowd, s->addr);
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
	unsigned bad = guard_bad(s);
	struct smtp_rcpt_answer answer = *a;

	answer.verdict = guard_rcpt(s, a);
	struct smtp_step step = smtp_machine_rcpt(&s->m, &answer, &s->sv->reply);

	guard_answer(s, bad, step);
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
	guard_progress(s, true);
	s->mail_ms = s->progress_ms;
	s->brought = s->brought || what == SMTP_KEPT;
	session_step(s, smtp_machine_kept(&s->m, what, text, &s->sv->reply));
}

const char *
session_client(const struct session *s)
{
	return s->m.client != NULL && s->m.client->addr[0] != '\0' ? s->m.client->addr : s->ip;
}

bool
session_unknown_client(const struct session *s)
{
	return s->m.front && (s->m.client == NULL || s->m.client->addr[0] == '\0');
}

static struct slice
session_protocol(const struct session *s)
{
	if (s->m.lmtp && s->m.utf8)
		return s->m.tls_active ? SLICE_LIT("UTF8LMTPS") : SLICE_LIT("UTF8LMTP");
	if (s->m.lmtp)		/* RFC 3848 */
		return s->m.tls_active ? SLICE_LIT("LMTPS") : SLICE_LIT("LMTP");
	if (!s->m.extended || (s->m.client != NULL && s->m.client->proto == SMTP_XPROTO_SMTP))
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

	if (s->m.nrcpt == 1)
		CHECK(wire_item_next(&list, &envelope_rcpt_wire, &only) == 1);
	struct ingest_mail mail = {
		.id = s->id,
		.received_ms = clock_wall_ms(),
		.body_size = s->body_size,
		.flags = (s->m.body_8bit ? ENV_BODY_8BIT : 0u) |
		    (session_unknown_client(s) ? ENV_TRUSTED : 0u) |
		    (s->m.utf8 ? ENV_SMTPUTF8 : 0u) | (tls != NULL ? ENV_TLS : 0u) |
		    (s->m.requiretls ? ENV_REQUIRETLS : 0u),
		.nrcpt = s->m.nrcpt,
		.client_ip = slice_str(session_client(s)),
		.helo = slice_str(s->m.helo),
		.mail_from = slice_str(s->m.mail_from),
		.envid = slice_str(s->m.envid),
		.ret = s->m.ret,
		.rcpts = buf_slice(&s->m.rcpts),
		.bounce = s->m.to_return_path ? &s->m.bounce : NULL,
		.token = s->m.to_return_path ? only.token : SLICE_NONE,
		.rcpt = only.address,
		.protocol = session_protocol(s),
		.tls = tls == NULL ? SLICE_NONE : slice_str(tls->text),
		.body_fd = s->body_fd,
	};
	ingest_keep(s->sv->ingest, &mail, &ops, s, &s->req);
}

static void
session_handshake(struct session *s)
{
	if (s->sv->tls != NULL && conn_start_tls(s->conn, s->sv->tls, NULL) == 0)
		return;
	log_error("tls-start", "client=%s", session_client(s));
	session_closed(s);
}

/* The machine has spoken: say it, be it, do it. The step may lead to further steps. */
void
session_step(struct session *s, struct smtp_step step)
{
	struct smtp_server *sv = s->sv;

	session_say(s);
	session_enter(s, step.next);
	switch (step.action) {
	case SMTP_DO_NOTHING:
		break;
	case SMTP_DO_SENDER:
		if (!session_unknown_client(s))
			ingest_prefetch(sv->ingest, slice_str(session_client(s)),
			    slice_str(s->m.mail_from));
		break;
	case SMTP_DO_SEAL:
		if (guard_guesses(s)) {
			session_step(s, smtp_machine_bye(&s->m, SMTP_END_GUESS, &sv->reply));
			return;
		}
		/* FALLTHROUGH */
	case SMTP_DO_DIRECTORY:
		ingest_rcpt(sv->ingest, step.action == SMTP_DO_SEAL,
		    slice_str(s->m.pending->address), on_rcpt, s, &s->req);
		return;
	case SMTP_DO_BODY:
		session_room(s);
		return;
	case SMTP_DO_CHUNK:
		session_chunk(s);
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

/* -- input ---------------------------------------------------------------------- */

static size_t
session_proxy(struct session *s, struct slice in)
{
	char ip[INET6_ADDRSTRLEN];
	size_t used;

	switch (proxy_parse(in, &used, ip)) {
	case PROXY_MORE:
		return 0;
	case PROXY_BAD:
		break;
	case PROXY_CLIENT:
		(void)snprintf(s->ip, sizeof(s->ip), "%s", ip);
		s->m.relayed = true;
		guard_admit(s);
		return used;
	case PROXY_LOCAL:
		guard_admit(s);
		return used;
	}
	/* Nothing is said: whoever connects here without it is in the wrong place. */
	s->sv->stats.proxy_refused++;
	log_warn("proxy-header", "client=%s reason=\"no valid PROXY header\"", s->ip);
	session_closed(s);
	return 0;
}

static void
session_line(struct session *s, enum smtp_lexeme lex, struct slice line)
{
	unsigned bad = guard_bad(s), junk = s->m.junk;
	struct smtp_step step = smtp_machine_line(&s->m, s->state, lex, line, &s->sv->reply);

	if (guard_bad(s) == bad && s->m.junk == junk)
		guard_progress(s, s->m.mail_from != NULL);
	guard_answer(s, bad, step);
}

/* One event of the lexer; how many bytes it was, 0 when there are too few for one. */
static size_t
session_take(struct session *s, struct slice in)
{
	struct slice out;
	size_t used;
	enum smtp_lexeme lex;

	if (s->state == SMTP_PROXY)
		return session_proxy(s, in);
	if (s->state == SMTP_PAUSE) {
		guard_early(s);
		return in.n;
	}
	if (s->state == SMTP_CHUNK)
		return session_octets(s, in);
	if (s->state != SMTP_DATA) {
		lex = smtp_lexer_line(&s->lex, in, &used, &out);
		if (lex != SMTP_LEX_MORE)
			session_line(s, lex, out);
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
		bool content = session_content_state(s->state);
		size_t used = session_take(s, slice_sub(in, done, in.n));

		done += used;
		s->rate_bytes += content ? used : 0;
		if (used == 0 || s->closed || conn_pending(s->conn) >= CONN_OUT_LOW)
			break;
	}
	/* A byte now and then, or a chunk, would hold a session for hours. */
	if (done > 0 && !s->closed && session_below_rate(s, RATE_GRACE_MS)) {
		s->sv->stats.slow++;
		log_info("slow", "client=%s from=%s bytes=%llu", session_client(s),
		    log_escs(s->m.mail_from), (unsigned long long)s->rate_bytes);
		session_step(s, smtp_machine_bye(&s->m, SMTP_END_SLOW, &s->sv->reply));
		return done;
	}
	if (done > 0 && !s->closed && session_content_state(s->state))
		conn_deadline(s->conn, session_remaining(s, s->sv->conf->data_timeout_ms));
	return done;
}

/* Which of the deadlines it was. */
static void
session_count_timeout(struct session *s)
{
	struct smtp_server_stats *st = &s->sv->stats;

	st->timeouts++;
	if (clock_mono_ms() >= s->ends)
		st->timeouts_session++;
	else if (s->state == SMTP_TLS)
		st->timeouts_tls++;
	else if (session_content_state(s->state))
		st->timeouts_data++;
	else
		st->timeouts_command++;
}

static void
session_timeout(struct session *s)
{
	struct smtp_server *sv = s->sv;

	if (s->state == SMTP_PAUSE) {
		guard_paused(s);
		return;
	}
	if (s->state == SMTP_LATE) {
		guard_late(s);
		return;
	}
	if (s->state == SMTP_WAIT_MEMORY) {
		session_unwait(s);
		session_step(s, smtp_machine_body(&s->m, false, &sv->reply));
		return;
	}
	session_count_timeout(s);
	log_info("timeout", "client=%s state=%s", session_client(s), smtp_state_name(s->state));
	if (s->state == SMTP_TLS || s->state == SMTP_PROXY) {
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
		if (s->state == SMTP_DATA || s->m.bdat)
			log_info("cut-off", "client=%s from=%s bytes=%llu",
			    session_client(s), log_escs(s->m.mail_from), (unsigned long long)s->body_size);
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

static struct session *
session_new(struct smtp_server *sv, const char *ip, bool tls)
{
	struct session *s = mem_new(sizeof(*s));

	s->sv = sv;
	s->number = ++sv->stats.sessions_total;
	s->body_fd = -1;
	s->ends = clock_mono_ms() + sv->conf->session_timeout_ms;
	(void)snprintf(s->ip, sizeof(s->ip), "%s", ip);
	smtp_machine_init(&s->m, sv->conf);
	s->m.count = sv->stats.count;
	s->m.tls_offered = tls && sv->tls != NULL;
	smtp_lexer_init(&s->lex);
	buf_init(&s->gather, GATHER_MAX);
	buf_init(&s->late, CONN_SMALL);
	s->next = sv->head;
	if (sv->head != NULL)
		sv->head->prev = s;
	sv->head = s;
	sv->stats.sessions++;
	return s;
}

void
session_start(struct smtp_server *sv, int fd, const char *ip, unsigned how)
{
	bool crowd = !guard_room(sv);
	struct session *s = session_new(sv, ip, (how & SESSION_TLS) != 0);

	s->m.lmtp = (how & SESSION_LMTP) != 0;
	s->conn = conn_accepted(sv->loop, fd, &session_conn_ops, s);
	if (crowd || sv->stopping) {
		sv->stats.crowded++;
		sv->stats.crowded_sessions += !sv->stopping;
		session_step(s, smtp_machine_bye(&s->m, sv->stopping ? SMTP_END_STOP :
		    SMTP_END_CROWD, &sv->reply));
		return;
	}
	guard_progress(s, false);
	if ((how & SESSION_PROXY) == 0) {
		guard_admit(s);
		return;
	}
	if (server_trusts(sv, ip)) {
		session_enter(s, SMTP_PROXY);
		return;
	}
	sv->stats.proxy_refused++;
	log_warn("proxy-refused", "client=%s reason=\"not in trusted-relay\"", s->ip);
	session_closed(s);
}
