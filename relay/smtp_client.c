// SPDX-License-Identifier: Apache-2.0
/*
 * client_enter is the only writer of the state, client_reply the only reader of
 * replies: one function per state takes a whole reply. A group of commands that was
 * pipelined (RFC 2920) is answered in order, so `answered` always names the command a
 * reply belongs to.
 */
#include "relay/smtp_client_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/smtp_path.h"

static const char *const client_names[] = {
	[CLIENT_ST_GREETING] = "greeting", [CLIENT_ST_EHLO] = "ehlo", [CLIENT_ST_HELO] = "helo",
	[CLIENT_ST_STARTTLS] = "starttls", [CLIENT_ST_TLS] = "tls", [CLIENT_ST_READY] = "ready",
	[CLIENT_ST_ENVELOPE] = "envelope", [CLIENT_ST_DATA] = "data",
	[CLIENT_ST_EMPTY] = "empty-data", [CLIENT_ST_FINAL] = "final", [CLIENT_ST_RSET] = "rset",
	[CLIENT_ST_QUIT] = "quit", [CLIENT_ST_DEAD] = "dead",
};

void
client_enter(struct smtp_client *c, enum client_state st)
{
	log_debug("client-state", "from=%s to=%s", client_names[c->state], client_names[st]);
	c->state = st;
}

struct smtp_client *
client_new(const struct client_config *cfg)
{
	struct smtp_client *c = mem_new(sizeof(*c));

	c->lmtp = cfg->lmtp;
	c->want_tls = cfg->tls;
	c->need_tls = cfg->tls_required;
	c->requiretls = cfg->requiretls;
	c->helo = mem_str(cfg->helo);
	c->state = CLIENT_ST_GREETING;
	buf_init(&c->out, CLIENT_OUT_MAX);
	reply_init(&c->reply);
	return c;
}

void
client_free(struct smtp_client **cp)
{
	struct smtp_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	buf_fini(&c->out);
	free(c->helo);
	free(c->result);
	free(c->got);
	free(c);
}

void
client_fill(struct client_result *r, uint8_t outcome, uint8_t scope, const char *enhanced,
    const char *text)
{
	memset(r, 0, sizeof(*r));
	r->outcome = outcome;
	r->scope = scope;
	(void)snprintf(r->enhanced, sizeof(r->enhanced), "%s", enhanced);
	reply_printable(slice_str(text), r->text, sizeof(r->text));
}

/* 2yz OK, 4yz TEMP, 5yz PERM; 421 closes the host's door whatever it answers; what
 * else there is (a 3yz out of place) is doubt. */
void
client_from_reply(const struct smtp_client *c, struct client_result *r, uint8_t scope)
{
	unsigned code = c->reply.code;

	memset(r, 0, sizeof(*r));
	r->scope = code == 421 ? SCOPE_HOST : scope;
	r->code = (uint16_t)code;
	r->outcome = code / 100 == 2 ? DELIVER_OK : code / 100 == 5 ? DELIVER_PERM : DELIVER_TEMP;
	memcpy(r->enhanced, c->reply.enhanced, sizeof(r->enhanced));
	reply_printable(reply_text(&c->reply), r->text, sizeof(r->text));
}

/* Gives every recipient without a result this one. */
static void
client_settle(struct smtp_client *c, const struct client_result *r)
{
	size_t i;

	for (i = 0; i < c->nrcpt; i++) {
		if (c->got[i] == RCPT_ST_SETTLED)
			continue;
		c->result[i] = *r;
		c->got[i] = RCPT_ST_SETTLED;
	}
}

/* The driver may let go of the message after this. */
static void
client_finish(struct smtp_client *c)
{
	c->finished = true;
	c->rcpt = NULL;
	memset(&c->m, 0, sizeof(c->m));
	memset(&c->data, 0, sizeof(c->data));
}

static bool
client_in_transaction(const struct smtp_client *c)
{
	return c->state == CLIENT_ST_ENVELOPE || c->state == CLIENT_ST_DATA ||
	    c->state == CLIENT_ST_EMPTY || c->state == CLIENT_ST_FINAL;
}

void
client_die(struct smtp_client *c, const struct client_result *r)
{
	if (client_in_transaction(c)) {
		client_settle(c, r);
		client_finish(c);
	}
	c->failure = *r;
	buf_clear(&c->out);
	client_enter(c, CLIENT_ST_DEAD);
}

void
client_say(struct smtp_client *c, const char *verb, const char *arg)
{
	if (buf_printf(&c->out, "%s%s%s\r\n", verb, arg[0] == '\0' ? "" : " ", arg) != 0) {
		struct client_result r;

		client_fill(&r, DELIVER_TEMP, SCOPE_HOST, "4.3.0", "command does not fit");
		client_die(c, &r);
	}
}

static void
client_put(struct smtp_client *c, struct slice s)
{
	if (buf_put_slice(&c->out, s) != 0)
		log_error("client-command", "text=%s", "\"output bound too small\"");
}

static void
client_puts(struct smtp_client *c, const char *s)
{
	client_put(c, slice_str(s));
}

static void
client_say_mail(struct smtp_client *c)
{
	char size[32];

	client_puts(c, "MAIL FROM:<");
	client_put(c, c->m.mail_from);
	client_puts(c, ">");
	if ((c->caps & CAP_SIZE) != 0) {
		(void)snprintf(size, sizeof(size), " SIZE=%llu",
		    (unsigned long long)client_data_size(&c->data));
		client_puts(c, size);
	}
	if (c->m.need_8bit)
		client_puts(c, " BODY=8BITMIME");
	if (c->utf8)
		client_puts(c, " SMTPUTF8");
	if (c->requiretls)
		client_puts(c, " REQUIRETLS");
	if ((c->caps & CAP_DSN) != 0 && c->m.ret.n > 0) {
		client_puts(c, " RET=");
		client_put(c, c->m.ret);
	}
	if ((c->caps & CAP_DSN) != 0 && c->m.envid.n > 0) {
		client_puts(c, " ENVID=");
		client_put(c, c->m.envid);
	}
	client_puts(c, "\r\n");
}

static void
client_say_notify(struct smtp_client *c, unsigned notify)
{
	static const struct { unsigned bit; const char *word; } words[] = {
		{ NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" },
		{ NOTIFY_DELAY, "DELAY" },
	};
	const char *sep = " NOTIFY=";
	size_t i;

	if ((notify & NOTIFY_NEVER) != 0) {
		client_puts(c, " NOTIFY=NEVER");
		return;
	}
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((notify & words[i].bit) == 0)
			continue;
		client_puts(c, sep);
		client_puts(c, words[i].word);
		sep = ",";
	}
}

static void
client_say_rcpt(struct smtp_client *c, const struct client_rcpt *r)
{
	client_puts(c, "RCPT TO:<");
	client_put(c, r->address);
	client_puts(c, ">");
	if ((c->caps & CAP_DSN) != 0) {
		client_say_notify(c, r->notify);
		if (r->orcpt.n > 0) {
			client_puts(c, " ORCPT=");
			client_put(c, r->orcpt);
		}
	}
	client_puts(c, "\r\n");
}

/* The next command of the envelope; all of them at once where the server takes that. */
static void
client_ask(struct smtp_client *c)
{
	do {
		if (c->asked == 0)
			client_say_mail(c);
		else if (c->asked <= c->nrcpt)
			client_say_rcpt(c, &c->rcpt[c->asked - 1]);
		else
			client_say(c, "DATA", "");
		c->asked++;
	} while ((c->caps & CAP_PIPELINING) != 0 && c->asked <= c->nrcpt + 1);
}

static void
client_reset(struct smtp_client *c)
{
	client_finish(c);
	client_say(c, "RSET", "");
	client_enter(c, CLIENT_ST_RSET);
}

/* All commands of the envelope are answered, DATA with `code` (0: it was not said). */
static void
client_envelope_end(struct smtp_client *c, unsigned code)
{
	struct client_result r;

	if (code == 354 && c->accepted > 0) {
		client_enter(c, CLIENT_ST_DATA);
	} else if (code == 354) {
		/* RFC 2920 3.1: the server waits for content nobody will get. */
		client_puts(c, ".\r\n");
		client_enter(c, CLIENT_ST_EMPTY);
	} else {
		client_from_reply(c, &r, SCOPE_MESSAGE);
		if (r.outcome == DELIVER_OK)	/* 2yz to DATA: nonsense */
			r.outcome = DELIVER_TEMP;
		client_settle(c, &r);
		client_reset(c);
	}
}

static void
client_on_rcpt(struct smtp_client *c, size_t i)
{
	if (c->got[i] == RCPT_ST_SETTLED)
		return;		/* MAIL had failed */
	if (c->reply.code / 100 == 2) {
		c->got[i] = RCPT_ST_ACCEPTED;
		c->accepted++;
		return;
	}
	client_from_reply(c, &c->result[i], SCOPE_RCPT);
	c->got[i] = RCPT_ST_SETTLED;
}

static void
client_on_envelope(struct smtp_client *c)
{
	struct client_result r;
	size_t at = c->answered++;

	if (c->reply.code == 421) {
		client_from_reply(c, &r, SCOPE_HOST);
		client_die(c, &r);
		return;
	}
	if (at == 0) {
		c->mail_ok = c->reply.code / 100 == 2;
		if (!c->mail_ok) {
			client_from_reply(c, &r, SCOPE_MESSAGE);
			client_settle(c, &r);
		}
	} else if (at <= c->nrcpt) {
		client_on_rcpt(c, at - 1);
	}
	if (c->answered < c->asked)
		return;
	if (at == c->nrcpt + 1)
		client_envelope_end(c, c->reply.code);
	else if (!c->mail_ok || (at == c->nrcpt && c->accepted == 0))
		client_reset(c);	/* not pipelined: no need to go on */
	else
		client_ask(c);
}

/* The server answers before it has all: it will not take the rest either, and the
 * dialogue cannot be set straight again. A 2yz now would be for half a message. */
static void
client_on_early(struct smtp_client *c)
{
	struct client_result r;

	client_from_reply(c, &r, SCOPE_MESSAGE);
	if (r.outcome == DELIVER_OK)
		r.outcome = DELIVER_TEMP;
	client_die(c, &r);
}

static void
client_on_final(struct smtp_client *c)
{
	struct client_result r;

	client_from_reply(c, &r, c->lmtp ? SCOPE_RCPT : SCOPE_MESSAGE);
	if (c->reply.code / 100 == 3)
		r.outcome = DELIVER_UNKNOWN;
	if (c->reply.code == 421 || r.outcome == DELIVER_UNKNOWN) {
		client_die(c, &r);
		return;
	}
	if (!c->lmtp) {
		client_settle(c, &r);
	} else {	/* RFC 2033 4.2: one reply per accepted recipient, in order */
		while (c->got[c->final_at] != RCPT_ST_ACCEPTED)
			c->final_at++;
		c->result[c->final_at] = r;
		c->got[c->final_at] = RCPT_ST_SETTLED;
		if (--c->accepted > 0)
			return;
	}
	client_finish(c);
	client_enter(c, CLIENT_ST_READY);
}

/* A whole reply is in c->reply. */
static void
client_reply(struct smtp_client *c)
{
	struct client_result r;

	c->progress++;
	if (client_in_transaction(c) && (c->replies > 0 || c->reply.code != 421))
		c->replies++;
	switch (c->state) {
	case CLIENT_ST_GREETING:
		if (c->reply.code == 220)
			client_hello(c);
		else
			client_refused(c);
		break;
	case CLIENT_ST_EHLO:
	case CLIENT_ST_HELO:
		client_on_hello(c);
		break;
	case CLIENT_ST_STARTTLS:
		client_on_starttls(c);
		break;
	case CLIENT_ST_ENVELOPE:
		client_on_envelope(c);
		break;
	case CLIENT_ST_DATA:
		client_on_early(c);
		break;
	case CLIENT_ST_EMPTY:	/* whatever it thinks of an empty message */
		client_reset(c);
		break;
	case CLIENT_ST_FINAL:
		client_on_final(c);
		break;
	case CLIENT_ST_RSET:
		if (c->reply.code / 100 == 2)
			client_enter(c, CLIENT_ST_READY);
		else
			client_refused(c);
		break;
	case CLIENT_ST_TLS:
	case CLIENT_ST_READY:	/* nothing was asked: usually 421 before it closes */
		client_refused(c);
		break;
	case CLIENT_ST_QUIT:
		client_fill(&r, DELIVER_TEMP, SCOPE_HOST, "", "quit");
		client_die(c, &r);
		break;
	case CLIENT_ST_DEAD:
		break;
	}
}

size_t
client_input(struct smtp_client *c, struct slice in)
{
	struct client_result r;
	size_t used, at = 0;

	while (at < in.n && c->state != CLIENT_ST_DEAD && c->state != CLIENT_ST_TLS) {
		switch (reply_feed(&c->reply, slice_sub(in, at, in.n), &used)) {
		case REPLY_MORE:
			return in.n;
		case REPLY_DONE:
			at += used;
			client_reply(c);
			break;
		case REPLY_BAD:
			client_fill(&r, client_awaits_end(c) ? DELIVER_UNKNOWN : DELIVER_TEMP,
			    client_in_transaction(c) ? SCOPE_MESSAGE : SCOPE_HOST, "4.5.0",
			    "the server's reply is not SMTP");
			client_die(c, &r);
			break;
		}
	}
	return c->state == CLIENT_ST_DEAD ? in.n : at;
}

struct slice
client_output(struct smtp_client *c, size_t max)
{
	if (buf_len(&c->out) > 0)
		return slice_sub(buf_slice(&c->out), 0, max);
	if (c->state == CLIENT_ST_DATA)
		return client_data_next(&c->data, max);
	return SLICE_NONE;
}

void
client_sent(struct smtp_client *c, size_t n)
{
	if (buf_len(&c->out) > 0) {
		buf_drop(&c->out, n);
		return;
	}
	if (c->state != CLIENT_ST_DATA)
		return;
	client_data_sent(&c->data, n);
	if (client_data_done(&c->data))
		client_enter(c, CLIENT_ST_FINAL);
}

enum client_need
client_need(const struct smtp_client *c)
{
	if (c->state == CLIENT_ST_DEAD)
		return CLIENT_DEAD;
	if (c->state == CLIENT_ST_TLS)
		return CLIENT_NEED_TLS;
	return c->state == CLIENT_ST_READY ? CLIENT_READY : CLIENT_BUSY;
}

void
client_lost(struct smtp_client *c, size_t unsent, const char *why)
{
	struct client_result r;
	char text[CLIENT_TEXT_MAX];
	bool maybe = c->state == CLIENT_ST_FINAL && unsent == 0;
	bool content = c->state == CLIENT_ST_FINAL || c->state == CLIENT_ST_DATA;

	if (c->state == CLIENT_ST_DEAD)
		return;
	(void)snprintf(text, sizeof(text), "%.400s (state %s)", why, client_names[c->state]);
	client_fill(&r, maybe ? DELIVER_UNKNOWN : DELIVER_TEMP,
	    content ? SCOPE_MESSAGE : SCOPE_HOST, "4.4.2", text);
	client_die(c, &r);
}

/* Why this message cannot go to this server, or NULL; no byte of it was said yet. */
static const char *
client_obstacle(struct smtp_client *c, const char **enhanced)
{
	bool ok, eight = false;
	size_t i;

	*enhanced = "5.1.3";
	ok = smtp_path_ok(c->m.mail_from, &eight) && smtp_value_ok(c->m.envid) &&
	    smtp_value_ok(c->m.ret);
	for (i = 0; i < c->nrcpt; i++)
		ok = ok && c->rcpt[i].address.n > 0 &&
		    smtp_path_ok(c->rcpt[i].address, &eight) &&
		    smtp_value_ok(c->rcpt[i].orcpt);
	if (!ok)
		return "invalid-address";
	c->utf8 = c->m.need_utf8 || eight;
	if (c->m.need_8bit && (c->caps & CAP_8BITMIME) == 0) {
		*enhanced = "5.6.3";
		return "unsupported-8bit";
	}
	/* Who asks for SMTPUTF8 as a habit, and with nothing but ASCII, needs none of it. */
	if (c->utf8 && (c->caps & CAP_SMTPUTF8) == 0) {
		if (eight || client_data_header_8bit(&c->data)) {
			*enhanced = "5.6.7";
			return "unsupported-smtputf8";
		}
		c->utf8 = false;
	}
	if ((c->caps & CAP_SIZE) != 0 && c->size_max > 0 &&
	    client_data_size(&c->data) > c->size_max) {
		*enhanced = "5.3.4";
		return "size-limit";
	}
	return NULL;
}

void
client_send(struct smtp_client *c, const struct client_message *m,
    const struct client_rcpt *rcpt, size_t n)
{
	const char *why, *enhanced;
	struct client_result r;

	CHECK(c->state == CLIENT_ST_READY);
	CHECK(n > 0 && n <= CLIENT_RCPTS_MAX);
	c->m = *m;
	c->rcpt = rcpt;
	c->nrcpt = n;
	c->result = mem_resize(c->result, n, sizeof(*c->result));
	c->got = mem_resize(c->got, n, sizeof(*c->got));
	memset(c->got, RCPT_ST_ASKED, n);
	c->asked = c->answered = c->accepted = c->final_at = 0;
	c->replies = 0;
	c->mail_ok = c->finished = false;
	if (client_data_init(&c->data, m->prefix, m->body, m->cuts, m->suffix) != 0) {
		client_fill(&r, DELIVER_TEMP, SCOPE_MESSAGE, "4.3.0", "damaged list of cuts");
		client_settle(c, &r);
		client_finish(c);
		return;
	}
	why = client_obstacle(c, &enhanced);
	if (why != NULL) {
		client_fill(&r, DELIVER_LOCAL, SCOPE_MESSAGE, enhanced, why);
		client_settle(c, &r);
		client_finish(c);
		return;
	}
	client_enter(c, CLIENT_ST_ENVELOPE);
	client_ask(c);
}

bool
client_finished(const struct smtp_client *c)
{
	return c->finished;
}

const struct client_result *
client_results(const struct smtp_client *c)
{
	return c->result;
}

bool
client_untouched(const struct smtp_client *c)
{
	return c->replies == 0;
}

void
client_quit(struct smtp_client *c)
{
	if (c->state != CLIENT_ST_READY)
		return;
	client_say(c, "QUIT", "");
	client_enter(c, CLIENT_ST_QUIT);
}

const struct client_result *
client_failure(const struct smtp_client *c)
{
	return &c->failure;
}

bool
client_dsn(const struct smtp_client *c)
{
	return (c->caps & CAP_DSN) != 0;
}

bool
client_no_starttls(const struct smtp_client *c)
{
	return c->no_starttls;
}

bool
client_awaits_end(const struct smtp_client *c)
{
	return c->state == CLIENT_ST_FINAL;
}

bool
client_sending(const struct smtp_client *c)
{
	return c->state == CLIENT_ST_DATA;
}

unsigned
client_progress(const struct smtp_client *c)
{
	return c->progress;
}

const char *
client_state_name(const struct smtp_client *c)
{
	return client_names[c->state];
}
