// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "relay/smtp_machine_priv.h"
#include "relay/smtp_param.h"

enum { BARE_LINES_MAX = 3, LINE_REPLY_MAX = 512 };

static const char *const state_names[SMTP_STATE_MAX] = {
	[SMTP_NEW] = "new",
	[SMTP_PROXY] = "proxy",
	[SMTP_PAUSE] = "pause",
	[SMTP_GREETED] = "greeted",
	[SMTP_READY] = "ready",
	[SMTP_MAIL] = "mail",
	[SMTP_RCPT] = "rcpt",
	[SMTP_WAIT_RCPT] = "wait-rcpt",
	[SMTP_WAIT_MEMORY] = "wait-memory",
	[SMTP_DATA] = "data",
	[SMTP_CHUNK] = "chunk",
	[SMTP_BDAT] = "bdat",
	[SMTP_WAIT_VERDICT] = "wait-verdict",
	[SMTP_WAIT_COMMIT] = "wait-commit",
	[SMTP_TLS] = "tls",
	[SMTP_LATE] = "late",
	[SMTP_CLOSING] = "closing",
};

const char *
smtp_state_name(enum smtp_state st)
{
	return st < SMTP_STATE_MAX ? state_names[st] : "?";
}

static const char *const count_names[SMTP_COUNT_MAX] = {
	[SMTP_COUNT_RCPT_TAKEN] = "rcpt_taken",
	[SMTP_COUNT_RCPT_DEFERRED] = "rcpt_deferred",
	[SMTP_COUNT_RCPT_REFUSED] = "rcpt_refused",
	[SMTP_COUNT_ERRORS] = "too_many_errors",
	[SMTP_COUNT_JUNK] = "too_much_junk",
	[SMTP_COUNT_COMMANDS] = "too_many_commands",
	[SMTP_COUNT_REFUSALS] = "too_many_refusals",
	[SMTP_COUNT_MESSAGES] = "too_many_messages",
	[SMTP_COUNT_BARE_COMMANDS] = "bare_commands",
	[SMTP_COUNT_BAD_CHUNKS] = "bad_chunks",
	[SMTP_COUNT_RECIPIENTS] = "too_many_recipients",
	[SMTP_COUNT_SIZE] = "too_large",
	[SMTP_COUNT_HEADER] = "header_too_large",
	[SMTP_COUNT_HOPS] = "too_many_hops",
	[SMTP_COUNT_CONTENT] = "content_refused",
	[SMTP_COUNT_MEMORY] = "no_memory",
};

const char *
smtp_count_name(enum smtp_count c)
{
	return count_names[c];
}

void
machine_count(struct smtp_machine *m, enum smtp_count c)
{
	if (m->count != NULL)
		m->count[c]++;
}

void
smtp_machine_init(struct smtp_machine *m, const struct conf *c)
{
	*m = (struct smtp_machine){ .conf = c };
	buf_init(&m->rcpts, SMTP_RCPTS_MAX);
}

void
machine_pending_free(struct smtp_machine *m)
{
	if (m->pending == NULL)
		return;
	free(m->pending->address);
	free(m->pending->orcpt);
	free(m->pending);
	m->pending = NULL;
}

/* The end of a transaction, good or bad; what was said in EHLO stays. */
void
machine_reset(struct smtp_machine *m)
{
	machine_pending_free(m);
	free(m->mail_from);
	m->mail_from = NULL;
	free(m->envid);
	m->envid = NULL;
	m->ret = SLICE_NONE;
	m->utf8 = false;
	m->requiretls = false;
	buf_fini(&m->rcpts);
	buf_init(&m->rcpts, SMTP_RCPTS_MAX);
	free(m->rcpt_hash);
	m->rcpt_hash = NULL;
	m->nrcpt = 0;
	m->taken = 0;
	m->to_return_path = false;
	m->rcpt_room = 0;
	m->size = 0;
	m->body_8bit = false;
	m->bdat = false;
	m->chunks = 0;
	m->chunk_error = NULL;
	m->rcpt_deferred = false;
	m->rcpt_refused = false;
}

void
smtp_machine_fini(struct smtp_machine *m)
{
	machine_reset(m);
	buf_fini(&m->rcpts);
	free(m->helo);
	m->helo = NULL;
	free(m->client);
	m->client = NULL;
	free(m->listed);
	m->listed = NULL;
}

/* The reply buffer is larger than all replies of one command; a full one is our bug. */
void
machine_say(struct buf *reply, const char *fmt, ...)
{
	char line[LINE_REPLY_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	CHECK(n > 0 && (size_t)n < sizeof(line));
	CHECK(buf_put(reply, line, (size_t)n) == 0);
	CHECK(buf_put(reply, "\r\n", 2) == 0);
}

struct smtp_step
machine_enough(struct smtp_machine *m, enum smtp_count bound, struct buf *reply)
{
	static const char *const why[SMTP_COUNT_MAX] = {
		[SMTP_COUNT_ERRORS] = "too many errors, ",
		[SMTP_COUNT_JUNK] = "too many commands without mail, ",
		[SMTP_COUNT_COMMANDS] = "too many commands for one message, ",
		[SMTP_COUNT_REFUSALS] = "too many unknown recipients, ",
		[SMTP_COUNT_MESSAGES] = "enough messages for one session, ",
		[SMTP_COUNT_BARE_COMMANDS] = "",
		[SMTP_COUNT_BAD_CHUNKS] = "",
	};

	machine_count(m, bound);
	machine_say(reply, "421 4.7.0 %s %sclosing", m->conf->hostname, why[bound]);
	return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
}

/* A command that was wrong. Too many of them, and the client is told to come back in a
 * better mood. */
struct smtp_step
machine_wrong(struct smtp_machine *m, enum smtp_state st, struct buf *reply,
    const char *fmt, ...)
{
	char line[LINE_REPLY_MAX];
	va_list ap;

	if (++m->errors > m->conf->errors_max)
		return machine_enough(m, SMTP_COUNT_ERRORS, reply);
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	machine_say(reply, "%s", line);
	return machine_step(st, SMTP_DO_NOTHING);
}

struct smtp_step
smtp_machine_greet(struct smtp_machine *m, struct buf *reply)
{
	machine_say(reply, "220 %s %s Salvaposta", m->conf->hostname, m->lmtp ? "LMTP" : "ESMTP");
	return machine_step(SMTP_GREETED, SMTP_DO_NOTHING);
}

/* -- commands ------------------------------------------------------------------- */

struct smtp_command {
	struct slice	 name;
	unsigned	 states;	/* 1 << enum smtp_state: where it is allowed */
	enum { ARG_ANY, ARG_NONE, ARG_SOME } arg;
	bool		 junk;		/* brings no mail */
	struct smtp_step (*handler)(struct smtp_machine *m, enum smtp_state st,
	    struct slice arg, struct buf *reply);
};

enum {
	IN_GREETED	= 1 << SMTP_GREETED,
	IN_READY	= 1 << SMTP_READY,
	IN_MAIL		= 1 << SMTP_MAIL,
	IN_RCPT		= 1 << SMTP_RCPT,
	IN_BDAT		= 1 << SMTP_BDAT,
	IN_ANY		= IN_GREETED | IN_READY | IN_MAIL | IN_RCPT | IN_BDAT
};

/* Whatever a client calls itself is taken if it can stand in a header: judging it is the
 * policy's business. */
static bool
helo_valid(struct slice s)
{
	if (s.n == 0 || s.n > SMTP_HELO_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	}
	return true;
}

static bool
machine_hello(struct smtp_machine *m, struct slice arg)
{
	struct slice name = slice_sub(arg, 0, slice_find(arg, ' '));

	if (!helo_valid(name))
		return false;
	machine_reset(m);
	free(m->helo);
	/* The front says hello in its own name, or did so in its client's already. */
	if (m->client != NULL && m->client->helo[0] != '\0')
		name = slice_str(m->client->helo);
	m->helo = slice_dup(name);
	return true;
}

/* RFC 2033 4.1: in LMTP LHLO takes the place of both, and neither may be answered. */
static const char *
hello_other(const struct smtp_machine *m)
{
	return m->lmtp ? "500 5.5.1 this is LMTP: say LHLO" : "500 5.5.1 this is SMTP: say EHLO";
}

static struct smtp_step
cmd_helo(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	if (m->lmtp)
		return machine_wrong(m, st, reply, "%s", hello_other(m));
	if (!machine_hello(m, arg))
		return machine_wrong(m, st, reply, "501 5.5.4 a host name is needed");
	m->extended = false;
	machine_say(reply, "250 %s", m->conf->hostname);
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

static struct smtp_step
machine_extended_hello(struct smtp_machine *m, enum smtp_state st, struct slice arg,
    struct buf *reply)
{
	if (!machine_hello(m, arg))
		return machine_wrong(m, st, reply, "501 5.5.4 a host name is needed");
	m->extended = true;
	machine_say(reply, "250-%s", m->conf->hostname);
	machine_say(reply, "250-PIPELINING");
	machine_say(reply, "250-SIZE %llu", (unsigned long long)m->conf->message_size_max);
	machine_say(reply, "250-ENHANCEDSTATUSCODES");
	machine_say(reply, "250-CHUNKING");
	machine_say(reply, "250-SMTPUTF8");
	machine_say(reply, "250-DSN");
	/* RFC 9422. Never a limit that grows within a session. */
	machine_say(reply, "250-LIMITS MAILMAX=%u RCPTMAX=%u", m->conf->messages_max,
	    machine_rcpt_max(m));
	if (m->front)
		machine_say(reply, "250-XCLIENT " SMTP_XCLIENT_NAMES);
	if (m->tls_offered && !m->tls_active)
		machine_say(reply, "250-STARTTLS");
	if (m->tls_active)	/* RFC 8689 2: never where it could be stripped */
		machine_say(reply, "250-REQUIRETLS");
	machine_say(reply, "250 8BITMIME");
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_ehlo(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	if (m->lmtp)
		return machine_wrong(m, st, reply, "%s", hello_other(m));
	return machine_extended_hello(m, st, arg, reply);
}

static struct smtp_step
cmd_lhlo(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	if (!m->lmtp)
		return machine_wrong(m, st, reply, "%s", hello_other(m));
	return machine_extended_hello(m, st, arg, reply);
}

/* "FROM:" or "TO:", then the path. Clients that put a space after the colon exist in
 * such numbers that refusing them would cost mail. */
bool
machine_path(struct slice arg, struct slice keyword, struct address *a, struct slice *box,
    struct slice *rest)
{
	if (!slice_istarts(arg, keyword))
		return false;
	arg = slice_trim(slice_sub(arg, keyword.n, arg.n));
	return address_path(arg, true, a, box, rest) == 0;
}

/*
 * A sender that is no address by RFC 5321 ("<foo@>", "<@example.org>", "<a@b..c>"). Front
 * servers that take such mail are many; what they have said 250 to is not ours to refuse
 * (P2). Whoever speaks to us directly hears 501.
 */
static bool
machine_foreign_sender(const struct smtp_machine *m, struct slice arg, struct slice *box,
    struct slice *rest)
{
	size_t end;

	arg = slice_trim(slice_sub(arg, sizeof("FROM:") - 1, arg.n));
	end = slice_find(arg, '>');
	if (!m->relayed || end >= arg.n || end >= ADDRESS_PATH_MAX || arg.p[0] != '<' || end == 1)
		return false;
	*box = slice_sub(arg, 1, end);
	*rest = slice_sub(arg, end + 1, arg.n);
	if (rest->n > 0 && rest->p[0] != ' ')
		return false;
	*rest = slice_trim(*rest);
	for (size_t i = 0; i < box->n; i++)
		if (box->p[i] <= ' ' || box->p[i] > '~' || box->p[i] == '<' || box->p[i] == '"')
			return false;
	return true;
}

/* The sender of MAIL. */
static bool
machine_sender(const struct smtp_machine *m, struct slice arg, struct address *a,
    struct slice *box, struct slice *rest)
{
	if (machine_path(arg, SLICE_LIT("FROM:"), a, box, rest) &&
	    (box->n == 0 || a->domain.n > 0))
		return true;
	*a = (struct address){ 0 };
	return machine_foreign_sender(m, arg, box, rest);
}

static struct smtp_step
cmd_mail(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	struct smtp_mail_params p;
	struct address a;
	struct slice box, rest;

	if (m->conf->messages_max > 0 && m->messages >= m->conf->messages_max)
		return machine_enough(m, SMTP_COUNT_MESSAGES, reply);
	if (!slice_istarts(arg, SLICE_LIT("FROM:")))
		return machine_wrong(m, st, reply, "501 5.5.4 MAIL FROM:<address> is meant");
	if (!machine_sender(m, arg, &a, &box, &rest))
		return machine_wrong(m, st, reply, "501 5.1.7 this is not an address");
	machine_reset(m);
	switch (smtp_mail_params(rest, m->conf->message_size_max, &p)) {
	case SMTP_PARAM_OK:
		break;
	case SMTP_PARAM_UNKNOWN:
		return machine_wrong(m, st, reply, "555 5.5.4 unknown parameter");
	case SMTP_PARAM_BAD:
		return machine_wrong(m, st, reply, "501 5.5.4 bad parameter value");
	case SMTP_PARAM_TOO_BIG:
		machine_count(m, SMTP_COUNT_SIZE);
		machine_say(reply, "552 5.3.4 messages are limited to %llu bytes",
		    (unsigned long long)m->conf->message_size_max);
		return machine_step(st, SMTP_DO_NOTHING);
	}
	if (a.utf8 && !p.utf8)
		return machine_wrong(m, st, reply, "553 5.6.7 this address needs SMTPUTF8");
	if (p.requiretls && !m->tls_active)
		return machine_wrong(m, st, reply, "555 5.5.4 REQUIRETLS needs TLS first");
	m->size = p.size;
	m->body_8bit = p.body_8bit;
	m->utf8 = p.utf8;
	m->requiretls = p.requiretls;
	m->ret = p.ret;
	m->envid = slice_dup(p.envid);
	m->mail_from = slice_dup(box);
	machine_say(reply, "250 2.1.0 sender taken");
	return machine_step(SMTP_MAIL, SMTP_DO_SENDER);
}

static struct smtp_step
cmd_rset(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	machine_reset(m);
	machine_say(reply, "250 2.0.0 forgotten");
	return machine_step(st == SMTP_GREETED ? SMTP_GREETED : SMTP_READY, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_noop(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)m, (void)arg;
	machine_say(reply, "250 2.0.0 ok");
	return machine_step(st, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_quit(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)st, (void)arg;
	machine_say(reply, "221 2.0.0 %s closing", m->conf->hostname);
	return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
}

static struct smtp_step
cmd_vrfy(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)m, (void)arg;
	machine_say(reply, "252 2.5.0 send some mail, I will try");
	return machine_step(st, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_help(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)m, (void)arg;
	machine_say(reply, "214 2.0.0 %s MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP%s%s",
	    m->lmtp ? "LHLO" : "EHLO HELO", m->tls_offered && !m->tls_active ? " STARTTLS" : "",
	    m->front ? " XCLIENT" : "");
	return machine_step(st, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_expn(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	return machine_wrong(m, st, reply, "502 5.5.1 not implemented");
}

/* The session begins anew, as the client's that is named (XCLIENT_README): what is not
 * mentioned stays as an XCLIENT before said it. */
static struct smtp_step
cmd_xclient(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	struct smtp_xclient x;

	if (!m->front)
		return machine_wrong(m, st, reply, "550 5.7.0 you are not one of our servers");
	if (smtp_xclient_parse(arg, &x) != 0)
		return machine_wrong(m, st, reply, "501 5.5.4 bad attribute");
	if (m->client == NULL)
		m->client = mem_new(sizeof(*m->client));
	else if (!x.has_addr)
		memcpy(x.addr, m->client->addr, sizeof(x.addr));
	if (!x.has_helo)
		memcpy(x.helo, m->client->helo, sizeof(x.helo));
	if (!x.has_login)
		memcpy(x.login, m->client->login, sizeof(x.login));
	if (x.proto == SMTP_XPROTO_NONE)
		x.proto = m->client->proto;
	*m->client = x;
	machine_reset(m);
	free(m->helo);
	m->helo = NULL;
	m->extended = false;
	return smtp_machine_greet(m, reply);
}

static struct smtp_step
cmd_starttls(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	if (m->tls_active)
		return machine_wrong(m, st, reply, "503 5.5.1 TLS is on already");
	if (!m->tls_offered)
		return machine_wrong(m, st, reply, "502 5.5.1 TLS is not offered");
	machine_say(reply, "220 2.0.0 go ahead");
	return machine_step(SMTP_TLS, SMTP_DO_TLS);
}

#define COMMAND(nm, st, ar, fn) { { (nm), sizeof(nm) - 1 }, (st), (ar), false, (fn) }
#define JUNK(nm, st, ar, fn) { { (nm), sizeof(nm) - 1 }, (st), (ar), true, (fn) }
static const struct smtp_command commands[] = {
	JUNK("EHLO", IN_ANY, ARG_SOME, cmd_ehlo),
	JUNK("HELO", IN_ANY, ARG_SOME, cmd_helo),
	JUNK("LHLO", IN_ANY, ARG_SOME, cmd_lhlo),
	COMMAND("MAIL", IN_READY, ARG_SOME, cmd_mail),
	COMMAND("RCPT", IN_MAIL | IN_RCPT, ARG_SOME, machine_cmd_rcpt),
	COMMAND("DATA", IN_MAIL | IN_RCPT, ARG_NONE, machine_cmd_data),
	COMMAND("BDAT", IN_ANY, ARG_ANY, machine_cmd_bdat),
	JUNK("RSET", IN_ANY, ARG_NONE, cmd_rset),
	JUNK("NOOP", IN_ANY, ARG_ANY, cmd_noop),
	COMMAND("QUIT", IN_ANY, ARG_NONE, cmd_quit),
	JUNK("VRFY", IN_ANY, ARG_SOME, cmd_vrfy),
	JUNK("HELP", IN_ANY, ARG_ANY, cmd_help),
	JUNK("EXPN", IN_ANY, ARG_ANY, cmd_expn),
	COMMAND("XCLIENT", IN_GREETED | IN_READY, ARG_SOME, cmd_xclient),
	COMMAND("STARTTLS", IN_GREETED | IN_READY, ARG_NONE, cmd_starttls),
};

static const struct smtp_command *
command_find(struct slice verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (slice_ieq(commands[i].name, verb))
			return &commands[i];
	}
	return NULL;
}

static bool
machine_is_bdat(struct slice line)
{
	return slice_istarts(slice_trim(line), SLICE_LIT("BDAT"));
}

bool
machine_tires(struct smtp_machine *m)
{
	return !m->front && ++m->commands > m->conf->commands_max;
}

static struct smtp_step
machine_command(struct smtp_machine *m, enum smtp_state st, struct slice line,
    struct buf *reply)
{
	struct slice verb = slice_sub(line, 0, slice_find(line, ' '));
	struct slice arg = slice_trim(slice_sub(line, verb.n, line.n));
	const struct smtp_command *c = command_find(verb);

	/* " BDAT" or "BDAT<TAB>": somebody else may have taken it for one. */
	if (c == NULL && machine_is_bdat(line))
		return machine_cmd_bdat(m, st, SLICE_NONE, reply);
	/* Deferred recipients are no error and no junk, and could go on for ever. */
	if ((c == NULL || c->handler != machine_cmd_bdat) && machine_tires(m))
		return machine_enough(m, SMTP_COUNT_COMMANDS, reply);
	if (c == NULL)
		return machine_wrong(m, st, reply, "500 5.5.1 unknown command");
	if ((c->arg == ARG_NONE && arg.n > 0) || (c->arg == ARG_SOME && arg.n == 0))
		return machine_wrong(m, st, reply, "501 5.5.4 %.*s takes %s argument",
		    SLICE_FMT(c->name), c->arg == ARG_NONE ? "no" : "an");
	if ((c->states & (1u << st)) == 0) {
		const char *why = "not now";

		if (st == SMTP_GREETED)
			why = m->lmtp ? "LHLO comes first" : "EHLO comes first";
		else if (st == SMTP_BDAT && c->handler == machine_cmd_data)
			why = "BDAT was begun, DATA cannot follow";
		else if (st == SMTP_BDAT && c->handler == machine_cmd_rcpt)
			why = "the message was begun";
		else if (c->handler == cmd_mail)
			why = "a sender is given already";
		else if (st == SMTP_READY)
			why = "MAIL comes first";
		return machine_wrong(m, st, reply, "503 5.5.1 %s", why);
	}
	if (c->junk && !m->front && ++m->junk > m->conf->junk_max)
		return machine_enough(m, SMTP_COUNT_JUNK, reply);
	return c->handler(m, st, arg, reply);
}

static struct smtp_step
machine_bare_line(struct smtp_machine *m, enum smtp_state st, struct buf *reply)
{
	machine_say(reply, "500 5.5.2 a line ends with CR LF and holds no other");
	if (++m->bare_lines < BARE_LINES_MAX)
		return machine_step(st, SMTP_DO_NOTHING);
	return machine_enough(m, SMTP_COUNT_BARE_COMMANDS, reply);
}

struct smtp_step
smtp_machine_line(struct smtp_machine *m, enum smtp_state st, enum smtp_lexeme lex,
    struct slice line, struct buf *reply)
{
	if (lex != SMTP_LEX_LINE && machine_is_bdat(line))
		return machine_cmd_bdat(m, st, SLICE_NONE, reply);
	switch (lex) {
	case SMTP_LEX_LINE:
		return machine_command(m, st, line, reply);
	case SMTP_LEX_LINE_BARE:
		return machine_bare_line(m, st, reply);
	case SMTP_LEX_LINE_NUL:
		return machine_wrong(m, st, reply, "500 5.5.2 NUL in a command");
	case SMTP_LEX_LINE_LONG:
		return machine_wrong(m, st, reply, "500 5.5.2 line too long");
	case SMTP_LEX_MORE:
	case SMTP_LEX_DATA:
	case SMTP_LEX_END:
		break;
	}
	mem_bug("a lexeme that is no line", __FILE__, __LINE__);
}

/* -- the rest ------------------------------------------------------------------- */

struct smtp_step
smtp_machine_tls(struct smtp_machine *m)
{
	/* Nothing learnt in the clear survives (RFC 3207 4.2). */
	machine_reset(m);
	free(m->helo);
	m->helo = NULL;
	free(m->client);
	m->client = NULL;
	m->extended = false;
	m->tls_active = true;
	return machine_step(SMTP_GREETED, SMTP_DO_NOTHING);
}

struct smtp_step
smtp_machine_bye(struct smtp_machine *m, enum smtp_end why, struct buf *reply)
{
	const char *host = m->conf->hostname;

	switch (why) {
	case SMTP_END_IDLE:
		machine_say(reply, "421 4.4.2 %s waited too long, closing", host);
		break;
	case SMTP_END_SLOW:
		machine_say(reply, "421 4.4.2 %s this message comes in too slowly, closing", host);
		break;
	case SMTP_END_SESSION:
		machine_say(reply, "421 4.4.2 %s this session lasted too long, closing", host);
		break;
	case SMTP_END_STOP:
		machine_say(reply, "421 4.3.2 %s is stopping, try again later", host);
		break;
	case SMTP_END_CROWD:
		machine_say(reply, "421 4.3.2 %s has too many sessions, try again later", host);
		break;
	case SMTP_END_ADDRESS:
		machine_say(reply, "421 4.7.0 %s too many sessions from your address", host);
		break;
	case SMTP_END_NETWORK:
		machine_say(reply, "421 4.7.0 %s too many sessions from your network", host);
		break;
	case SMTP_END_RATE:
		machine_say(reply, "421 4.7.0 %s you come too often, try again later", host);
		break;
	case SMTP_END_EARLY:
		machine_say(reply, "421 4.7.0 %s wait for the banner, please", host);
		break;
	case SMTP_END_GUESS:
		machine_say(reply, "421 4.7.0 %s too many return paths that are none, try again "
		    "later", host);
		break;
	}
	return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
}
