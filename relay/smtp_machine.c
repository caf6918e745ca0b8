// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "policy/address.h"

enum { BARE_LINES_MAX = 3, LINE_REPLY_MAX = 512 };

static const char *const state_names[SMTP_STATE_MAX] = {
	[SMTP_NEW] = "new",
	[SMTP_GREETED] = "greeted",
	[SMTP_READY] = "ready",
	[SMTP_MAIL] = "mail",
	[SMTP_RCPT] = "rcpt",
	[SMTP_WAIT_RCPT] = "wait-rcpt",
	[SMTP_WAIT_MEMORY] = "wait-memory",
	[SMTP_DATA] = "data",
	[SMTP_WAIT_VERDICT] = "wait-verdict",
	[SMTP_WAIT_COMMIT] = "wait-commit",
	[SMTP_TLS] = "tls",
	[SMTP_CLOSING] = "closing",
};

const char *
smtp_state_name(enum smtp_state st)
{
	return st < SMTP_STATE_MAX ? state_names[st] : "?";
}

void
smtp_machine_init(struct smtp_machine *m, const struct conf *c)
{
	*m = (struct smtp_machine){ .conf = c };
	buf_init(&m->rcpts, SMTP_RCPTS_MAX);
}

static void
machine_pending_free(struct smtp_machine *m)
{
	if (m->pending == NULL)
		return;
	free(m->pending->address);
	free(m->pending);
	m->pending = NULL;
}

/* The end of a transaction, good or bad; what was said in EHLO stays. */
static void
machine_reset(struct smtp_machine *m)
{
	machine_pending_free(m);
	free(m->mail_from);
	m->mail_from = NULL;
	buf_fini(&m->rcpts);
	buf_init(&m->rcpts, SMTP_RCPTS_MAX);
	free(m->rcpt_hash);
	m->rcpt_hash = NULL;
	m->nrcpt = 0;
	m->rcpt_room = 0;
	m->size = 0;
	m->body_8bit = false;
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
}

static struct smtp_step
machine_step(enum smtp_state next, enum smtp_action action)
{
	return (struct smtp_step){ next, action };
}

/* The reply buffer is larger than all replies of one command; a full one is our bug. */
__attribute__((format(printf, 2, 3))) static void
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

/* A command that was wrong. Too many of them, and the client is told to come back in a
 * better mood. */
__attribute__((format(printf, 4, 5))) static struct smtp_step
machine_wrong(struct smtp_machine *m, enum smtp_state st, struct buf *reply,
    const char *fmt, ...)
{
	char line[LINE_REPLY_MAX];
	va_list ap;

	if (++m->errors > m->conf->errors_max) {
		machine_say(reply, "421 4.7.0 %s too many errors, closing", m->conf->hostname);
		return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
	}
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	machine_say(reply, "%s", line);
	return machine_step(st, SMTP_DO_NOTHING);
}

struct smtp_step
smtp_machine_greet(struct smtp_machine *m, struct buf *reply)
{
	machine_say(reply, "220 %s ESMTP Salvaposta", m->conf->hostname);
	return machine_step(SMTP_GREETED, SMTP_DO_NOTHING);
}

/* -- commands ------------------------------------------------------------------- */

struct smtp_command {
	struct slice	 name;
	unsigned	 states;	/* 1 << enum smtp_state: where it is allowed */
	enum { ARG_ANY, ARG_NONE, ARG_SOME } arg;
	struct smtp_step (*handler)(struct smtp_machine *m, enum smtp_state st,
	    struct slice arg, struct buf *reply);
};

enum {
	IN_GREETED	= 1 << SMTP_GREETED,
	IN_READY	= 1 << SMTP_READY,
	IN_MAIL		= 1 << SMTP_MAIL,
	IN_RCPT		= 1 << SMTP_RCPT,
	IN_ANY		= IN_GREETED | IN_READY | IN_MAIL | IN_RCPT
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
	m->helo = slice_dup(name);
	return true;
}

static struct smtp_step
cmd_helo(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	if (!machine_hello(m, arg))
		return machine_wrong(m, st, reply, "501 5.5.4 a host name is needed");
	m->extended = false;
	machine_say(reply, "250 %s", m->conf->hostname);
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_ehlo(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	if (!machine_hello(m, arg))
		return machine_wrong(m, st, reply, "501 5.5.4 a host name is needed");
	m->extended = true;
	machine_say(reply, "250-%s", m->conf->hostname);
	machine_say(reply, "250-PIPELINING");
	machine_say(reply, "250-SIZE %llu", (unsigned long long)m->conf->message_size_max);
	if (m->tls_offered && !m->tls_active)
		machine_say(reply, "250-STARTTLS");
	machine_say(reply, "250-ENHANCEDSTATUSCODES");
	machine_say(reply, "250 8BITMIME");
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

enum smtp_param { PARAM_OK, PARAM_UNKNOWN, PARAM_BAD, PARAM_TOO_BIG };

static enum smtp_param
mail_param(struct smtp_machine *m, struct slice key, struct slice value)
{
	if (slice_ieq(key, SLICE_LIT("SIZE"))) {
		/* RFC 1870: up to 20 digits; what overflows is too big as well. */
		if (value.n == 0 || value.n > 20)
			return PARAM_BAD;
		for (size_t i = 0; i < value.n; i++) {
			if (value.p[i] < '0' || value.p[i] > '9')
				return PARAM_BAD;
		}
		if (slice_u64(value, &m->size) != 0 || m->size > m->conf->message_size_max)
			return PARAM_TOO_BIG;
		return PARAM_OK;
	}
	if (slice_ieq(key, SLICE_LIT("BODY"))) {
		m->body_8bit = slice_ieq(value, SLICE_LIT("8BITMIME"));
		if (m->body_8bit || slice_ieq(value, SLICE_LIT("7BIT")))
			return PARAM_OK;
		return PARAM_BAD;
	}
	return PARAM_UNKNOWN;
}

static enum smtp_param
rcpt_param(struct smtp_machine *m, struct slice key, struct slice value)
{
	(void)m, (void)key, (void)value;
	return PARAM_UNKNOWN;
}

/* "KEY=value KEY ..." (RFC 5321 4.1.2, esmtp-param). */
static enum smtp_param
machine_params(struct smtp_machine *m, struct slice s,
    enum smtp_param (*fn)(struct smtp_machine *, struct slice, struct slice))
{
	s = slice_trim(s);
	while (s.n > 0) {
		struct slice word = slice_sub(s, 0, slice_find(s, ' '));
		size_t eq = slice_find(word, '=');
		enum smtp_param r = fn(m, slice_sub(word, 0, eq),
		    slice_sub(word, eq + 1, word.n));

		if (r != PARAM_OK)
			return r;
		s = slice_trim(slice_sub(s, word.n, s.n));
	}
	return PARAM_OK;
}

/* "FROM:" or "TO:", then the path. Clients that put a space after the colon exist in
 * such numbers that refusing them would cost mail. */
static bool
machine_path(struct slice arg, struct slice keyword, struct address *a, struct slice *box,
    struct slice *rest)
{
	if (!slice_istarts(arg, keyword))
		return false;
	arg = slice_trim(slice_sub(arg, keyword.n, arg.n));
	return address_path(arg, false, a, box, rest) == 0;
}

static struct smtp_step
cmd_mail(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	struct address a;
	struct slice box, rest;

	if (m->conf->messages_max > 0 && m->messages >= m->conf->messages_max) {
		machine_say(reply, "421 4.7.0 %s enough messages for one session, closing",
		    m->conf->hostname);
		return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
	}
	if (!slice_istarts(arg, SLICE_LIT("FROM:")))
		return machine_wrong(m, st, reply, "501 5.5.4 MAIL FROM:<address> is meant");
	if (!machine_path(arg, SLICE_LIT("FROM:"), &a, &box, &rest) ||
	    (box.n > 0 && a.domain.n == 0))
		return machine_wrong(m, st, reply, "501 5.1.7 this is not an address");
	machine_reset(m);
	switch (machine_params(m, rest, mail_param)) {
	case PARAM_OK:
		break;
	case PARAM_UNKNOWN:
		return machine_wrong(m, st, reply, "555 5.5.4 unknown parameter");
	case PARAM_BAD:
		return machine_wrong(m, st, reply, "501 5.5.4 bad parameter value");
	case PARAM_TOO_BIG:
		machine_say(reply, "552 5.3.4 messages are limited to %llu bytes",
		    (unsigned long long)m->conf->message_size_max);
		return machine_step(st, SMTP_DO_NOTHING);
	}
	m->mail_from = slice_dup(box);
	machine_say(reply, "250 2.1.0 sender taken");
	return machine_step(SMTP_MAIL, SMTP_DO_SENDER);
}

static uint32_t
rcpt_hash(struct slice s)
{
	uint32_t h = 2166136261u;	/* FNV-1a; a collision only costs a comparison */

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (uint8_t)s.p[i]) * 16777619u;
	return h;
}

/* Named twice, delivered once. */
static bool
machine_has_rcpt(const struct smtp_machine *m, uint32_t hash, const struct envelope_rcpt *r)
{
	struct slice list = buf_slice(&m->rcpts);
	struct envelope_rcpt e;

	for (unsigned i = 0; wire_item_next(&list, &envelope_rcpt_wire, &e) == 1; i++) {
		if (m->rcpt_hash[i] == hash && e.kind == r->kind && slice_eq(e.user, r->user))
			return true;
	}
	return false;
}

static struct smtp_step
machine_rcpt_deferred(struct smtp_machine *m, struct buf *reply, const char *text)
{
	m->rcpt_deferred = true;
	machine_pending_free(m);
	machine_say(reply, "%s", text);
	return machine_step(m->nrcpt > 0 ? SMTP_RCPT : SMTP_MAIL, SMTP_DO_NOTHING);
}

static struct smtp_step
machine_rcpt_refused(struct smtp_machine *m, struct buf *reply, const char *text)
{
	m->rcpt_refused = true;
	machine_pending_free(m);
	machine_say(reply, "%s", text);
	return machine_step(m->nrcpt > 0 ? SMTP_RCPT : SMTP_MAIL, SMTP_DO_NOTHING);
}

static bool
machine_add_rcpt(struct smtp_machine *m, const struct envelope_rcpt *r)
{
	uint32_t hash = rcpt_hash(r->user);

	if (m->nrcpt > 0 && machine_has_rcpt(m, hash, r))
		return true;
	if (wire_item_put(&m->rcpts, &envelope_rcpt_wire, r) != 0)
		return false;
	if (m->nrcpt == m->rcpt_room) {
		m->rcpt_room = m->rcpt_room == 0 ? 4 : 2 * m->rcpt_room;
		m->rcpt_hash = mem_resize(m->rcpt_hash, m->rcpt_room, sizeof(uint32_t));
	}
	m->rcpt_hash[m->nrcpt++] = hash;
	return true;
}

/* postmaster or abuse that is nobody's mailbox: the operator's (RFC 5321 4.5.1). */
static bool
machine_add_role(struct smtp_machine *m)
{
	struct slice box = slice_str(m->pending->address);
	struct slice domain = slice_str(m->pending->domain);
	struct envelope_rcpt r = { .kind = RCPT_POSTMASTER, .address = box };
	struct buf user;
	bool ok;

	if (domain.n == 0)
		domain = slice_str(m->conf->hostname);
	buf_init(&user, ADDRESS_PATH_MAX * 2);
	ok = buf_put_slice(&user, slice_sub(box, 0, slice_rfind(box, '@'))) == 0;
	bytes_lower(user.p, ok ? buf_len(&user) : 0);
	ok = ok && buf_put(&user, "@", 1) == 0 && buf_put_slice(&user, domain) == 0;
	r.user = buf_slice(&user);
	r.domain = domain;
	ok = ok && machine_add_rcpt(m, &r);
	buf_fini(&user);
	return ok;
}

static struct smtp_step
machine_rcpt_added(struct smtp_machine *m, bool added, struct buf *reply)
{
	if (!added)
		return machine_rcpt_deferred(m, reply, "452 4.5.3 too many recipients");
	machine_pending_free(m);
	machine_say(reply, "250 2.1.5 recipient taken");
	return machine_step(SMTP_RCPT, SMTP_DO_NOTHING);
}

/* Who decides about this recipient? Anything that is not ours is relaying (never an
 * open relay). */
static struct smtp_step
machine_route_rcpt(struct smtp_machine *m, const struct address *a, struct buf *reply)
{
	const struct conf *c = m->conf;
	struct slice domain = slice_str(m->pending->domain);

	if (domain.n == 0 || (slice_ieq(domain, slice_str(c->hostname)) &&
	    conf_domain_find(c, domain) == NULL)) {
		if (!m->pending->role)
			return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
		return machine_rcpt_added(m, machine_add_role(m), reply);
	}
	if (c->forwarder.domain != NULL && slice_ieq(domain, slice_str(c->forwarder.domain))) {
		if (m->pending->role)
			return machine_rcpt_added(m, machine_add_role(m), reply);
		/* Bounces use the null sender (spec 2.2.2, RFC 5321 6.1). */
		if (m->mail_from[0] != '\0')
			return machine_rcpt_refused(m, reply,
			    "550 5.7.1 this address takes delivery reports only");
		return machine_step(SMTP_WAIT_RCPT, SMTP_DO_SEAL);
	}
	if (a->literal || conf_domain_find(c, domain) == NULL)
		return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
	return machine_step(SMTP_WAIT_RCPT, SMTP_DO_DIRECTORY);
}

static struct smtp_step
cmd_rcpt(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	struct address a;
	struct slice box, rest;

	if (!slice_istarts(arg, SLICE_LIT("TO:")))
		return machine_wrong(m, st, reply, "501 5.5.4 RCPT TO:<address> is meant");
	if (!machine_path(arg, SLICE_LIT("TO:"), &a, &box, &rest) || box.n == 0)
		return machine_wrong(m, st, reply, "501 5.1.3 this is not an address");
	switch (machine_params(m, rest, rcpt_param)) {
	case PARAM_OK:
		break;
	case PARAM_UNKNOWN:
	case PARAM_BAD:
	case PARAM_TOO_BIG:
		return machine_wrong(m, st, reply, "555 5.5.4 unknown parameter");
	}
	if (m->nrcpt >= m->conf->recipients_max)
		return machine_rcpt_deferred(m, reply, "452 4.5.3 too many recipients");
	machine_pending_free(m);
	m->pending = mem_new(sizeof(*m->pending));
	m->pending->address = slice_dup(box);
	m->pending->role = slice_ieq(a.local, SLICE_LIT("postmaster")) ||
	    slice_ieq(a.local, SLICE_LIT("abuse"));
	if (a.domain.n > 0 && !a.literal && address_domain_canonical(a.domain,
	    m->pending->domain, sizeof(m->pending->domain)) != 0)
		return machine_rcpt_refused(m, reply, "550 5.1.2 no such domain");
	if (a.literal)
		return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
	return machine_route_rcpt(m, &a, reply);
}

static struct smtp_step
machine_rcpt_known(struct smtp_machine *m, const struct smtp_rcpt_answer *a, struct buf *reply)
{
	struct envelope_rcpt r = {
		.kind = a->return_path ? RCPT_RETURN_PATH : RCPT_USER,
		.address = slice_str(m->pending->address),
		.user = a->return_path ? slice_str(m->pending->address) : a->user,
		.domain = slice_str(m->pending->domain),
		.shard = a->shard,
		.token = a->token,
	};

	return machine_rcpt_added(m, machine_add_rcpt(m, &r), reply);
}

struct smtp_step
smtp_machine_rcpt(struct smtp_machine *m, const struct smtp_rcpt_answer *a, struct buf *reply)
{
	CHECK(m->pending != NULL);
	switch (a->verdict) {
	case SMTP_RCPT_KNOWN:
		return machine_rcpt_known(m, a, reply);
	case SMTP_RCPT_UNKNOWN:
		if (m->pending->role)
			return machine_rcpt_added(m, machine_add_role(m), reply);
		return machine_rcpt_refused(m, reply, "550 5.1.1 no such user here");
	case SMTP_RCPT_UNAVAILABLE:
		break;
	}
	return machine_rcpt_deferred(m, reply, "451 4.3.0 cannot tell now, try again later");
}

static struct smtp_step
cmd_data(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	if (st == SMTP_RCPT)
		return machine_step(SMTP_WAIT_MEMORY, SMTP_DO_BODY);
	/* A pipelining client sees this after the answers to its recipients: if one of them
	 * may come back later, a 5yz here would make it give up for good (P2). */
	if (m->rcpt_deferred) {
		machine_say(reply, "451 4.5.1 no recipient was taken, try again later");
		return machine_step(st, SMTP_DO_NOTHING);
	}
	if (m->rcpt_refused) {
		machine_say(reply, "554 5.5.1 no valid recipients");
		return machine_step(st, SMTP_DO_NOTHING);
	}
	return machine_wrong(m, st, reply, "503 5.5.1 RCPT comes first");
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
	machine_say(reply, "252 2.5.1 send some mail, I will try");
	return machine_step(st, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_help(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)m, (void)arg;
	machine_say(reply, "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP STARTTLS");
	return machine_step(st, SMTP_DO_NOTHING);
}

static struct smtp_step
cmd_expn(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	return machine_wrong(m, st, reply, "502 5.5.1 not implemented");
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

#define COMMAND(nm, st, ar, fn) { { (nm), sizeof(nm) - 1 }, (st), (ar), (fn) }
static const struct smtp_command commands[] = {
	COMMAND("EHLO", IN_ANY, ARG_SOME, cmd_ehlo),
	COMMAND("HELO", IN_ANY, ARG_SOME, cmd_helo),
	COMMAND("MAIL", IN_READY, ARG_SOME, cmd_mail),
	COMMAND("RCPT", IN_MAIL | IN_RCPT, ARG_SOME, cmd_rcpt),
	COMMAND("DATA", IN_MAIL | IN_RCPT, ARG_NONE, cmd_data),
	COMMAND("RSET", IN_ANY, ARG_NONE, cmd_rset),
	COMMAND("NOOP", IN_ANY, ARG_ANY, cmd_noop),
	COMMAND("QUIT", IN_ANY, ARG_NONE, cmd_quit),
	COMMAND("VRFY", IN_ANY, ARG_SOME, cmd_vrfy),
	COMMAND("HELP", IN_ANY, ARG_ANY, cmd_help),
	COMMAND("EXPN", IN_ANY, ARG_ANY, cmd_expn),
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

static struct smtp_step
machine_command(struct smtp_machine *m, enum smtp_state st, struct slice line,
    struct buf *reply)
{
	struct slice verb = slice_sub(line, 0, slice_find(line, ' '));
	struct slice arg = slice_trim(slice_sub(line, verb.n, line.n));
	const struct smtp_command *c = command_find(verb);

	if (c == NULL)
		return machine_wrong(m, st, reply, "500 5.5.1 unknown command");
	if ((c->arg == ARG_NONE && arg.n > 0) || (c->arg == ARG_SOME && arg.n == 0))
		return machine_wrong(m, st, reply, "501 5.5.4 %.*s takes %s argument",
		    SLICE_FMT(c->name), c->arg == ARG_NONE ? "no" : "an");
	if ((c->states & (1u << st)) == 0) {
		const char *why = "not now";

		if (st == SMTP_GREETED)
			why = "EHLO comes first";
		else if (c->handler == cmd_mail)
			why = "a sender is given already";
		else if (st == SMTP_READY)
			why = "MAIL comes first";
		return machine_wrong(m, st, reply, "503 5.5.1 %s", why);
	}
	return c->handler(m, st, arg, reply);
}

static struct smtp_step
machine_bare_line(struct smtp_machine *m, enum smtp_state st, struct buf *reply)
{
	machine_say(reply, "500 5.5.2 a line ends with CR LF and holds no other");
	if (++m->bare_lines < BARE_LINES_MAX)
		return machine_step(st, SMTP_DO_NOTHING);
	machine_say(reply, "421 4.7.0 %s closing", m->conf->hostname);
	return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
}

struct smtp_step
smtp_machine_line(struct smtp_machine *m, enum smtp_state st, enum smtp_lexeme lex,
    struct slice line, struct buf *reply)
{
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

/* -- content -------------------------------------------------------------------- */

struct smtp_step
smtp_machine_body(struct smtp_machine *m, bool room, struct buf *reply)
{
	if (!room) {
		machine_reset(m);
		machine_say(reply, "452 4.3.1 no room for a message now, try again later");
		return machine_step(SMTP_READY, SMTP_DO_NOTHING);
	}
	machine_say(reply, "354 end with CR LF . CR LF");
	return machine_step(SMTP_DATA, SMTP_DO_NOTHING);
}

/* The reply to content that is not taken, NULL when it is. What is our own trouble comes
 * first: then nothing is said about the message (P2). */
static const char *
machine_fault(const struct smtp_machine *m, unsigned faults)
{
	if (faults & SMTP_FAULT_LOCAL)
		return "451 4.3.0 could not keep the message, try again later";
	if (faults & SMTP_FAULT_SIZE)
		return "552 5.3.4 message too big";
	if (faults & SMTP_FAULT_MEMORY)
		return "452 4.3.1 no room for the message now, try again later";
	if (faults & SMTP_FAULT_HEADER)
		return "552 5.3.4 message header too big";
	if (faults & SMTP_FAULT_HEADER_NUL)
		return "550 5.6.0 NUL in the message header";
	if (faults & SMTP_FAULT_LONG)
		return "554 5.6.0 a line of the message is too long";
	if ((faults & SMTP_FAULT_BARE) && m->conf->bare_newline_reject)
		return "550 5.5.2 bare CR or LF in the message";
	return NULL;
}

struct smtp_step
smtp_machine_end(struct smtp_machine *m, unsigned faults, struct buf *reply)
{
	const char *text = machine_fault(m, faults);

	m->messages++;
	if (text == NULL)
		return machine_step(SMTP_WAIT_VERDICT, SMTP_DO_KEEP);
	machine_reset(m);
	machine_say(reply, "%s", text);
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

/* A refusal is worded by another process; it must still be one reply line. */
static bool
refusal_valid(struct slice s)
{
	if (s.n < 5 || s.n > 400 || (s.p[0] != '4' && s.p[0] != '5') || s.p[3] != ' ')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
		if ((i == 1 || i == 2) && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	}
	return true;
}

struct smtp_step
smtp_machine_kept(struct smtp_machine *m, enum smtp_kept what, struct slice text,
    struct buf *reply)
{
	machine_reset(m);
	if (what == SMTP_KEPT_REFUSED && !refusal_valid(text))
		what = SMTP_KEPT_ERROR;	/* refused for what? Doubt is 4yz */
	switch (what) {
	case SMTP_KEPT:
		machine_say(reply, "250 2.0.0 kept as %.*s", SLICE_FMT(text));
		break;
	case SMTP_KEPT_FULL:
		machine_say(reply, "452 4.3.1 no room on disk now, try again later");
		break;
	case SMTP_KEPT_REFUSED:
		machine_say(reply, "%.*s", SLICE_FMT(text));
		break;
	case SMTP_KEPT_ERROR:
		machine_say(reply, "451 4.3.0 could not keep the message, try again later");
		break;
	}
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

/* -- the rest ------------------------------------------------------------------- */

struct smtp_step
smtp_machine_tls(struct smtp_machine *m)
{
	/* Nothing learnt in the clear survives (RFC 3207 4.2). */
	machine_reset(m);
	free(m->helo);
	m->helo = NULL;
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
	case SMTP_END_SESSION:
		machine_say(reply, "421 4.4.2 %s this session lasted too long, closing", host);
		break;
	case SMTP_END_STOP:
		machine_say(reply, "421 4.3.2 %s is stopping, try again later", host);
		break;
	case SMTP_END_CROWD:
		machine_say(reply, "421 4.3.2 %s has too many sessions, try again later", host);
		break;
	}
	return machine_step(SMTP_CLOSING, SMTP_DO_CLOSE);
}
