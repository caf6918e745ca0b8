// SPDX-License-Identifier: Apache-2.0
/* From the greeting to CLIENT_ST_READY: what the server offers, and TLS. */
#include "relay/smtp_client_priv.h"

#include "base/mem.h"

/* Before the first transaction nothing is permanent: another host, or this one
 * tomorrow, may greet us better. */
void
client_refused(struct smtp_client *c)
{
	struct client_result r;

	client_from_reply(c, &r, SCOPE_HOST);
	r.outcome = DELIVER_TEMP;
	client_die(c, &r);
}

void
client_hello(struct smtp_client *c)
{
	client_say(c, c->lmtp ? "LHLO" : "EHLO", c->helo);
	client_enter(c, CLIENT_ST_EHLO);
}

/* RFC 9422: LIMITS MAILMAX=n RCPTMAX=n RCPTDOMAINMAX=n. One recipient a transaction is
 * within any RCPTMAX; what cannot be read is no limit. */
static void
client_limits(struct smtp_client *c, struct slice words)
{
	while (words.n > 0) {
		size_t sp = slice_find(words, ' ');
		struct slice w = slice_sub(words, 0, sp);
		uint64_t n;

		if (w.n > 8 && slice_ieq(slice_sub(w, 0, 8), SLICE_LIT("MAILMAX=")) &&
		    slice_u64(slice_sub(w, 8, w.n), &n) == 0 && n > 0 && n < UINT32_MAX)
			c->mail_max = (unsigned)n;
		words = slice_trim(slice_sub(words, sp, words.n));
	}
}

static void
client_capability(struct smtp_client *c, struct slice line)
{
	static const struct { const char *name; unsigned cap; } known[] = {
		{ "PIPELINING", CAP_PIPELINING }, { "8BITMIME", CAP_8BITMIME },
		{ "SIZE", CAP_SIZE }, { "DSN", CAP_DSN }, { "SMTPUTF8", CAP_SMTPUTF8 },
		{ "STARTTLS", CAP_STARTTLS },
		{ "REQUIRETLS", CAP_REQUIRETLS },
	};
	size_t i, sp = slice_find(line, ' ');
	struct slice word = slice_trim(slice_sub(line, 0, sp));
	uint64_t n;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_ieq(word, slice_str(known[i].name)))
			c->caps |= known[i].cap;
	if (slice_ieq(word, SLICE_LIT("SIZE")) &&
	    slice_u64(slice_trim(slice_sub(line, sp, line.n)), &n) == 0)
		c->size_max = n;
	if (slice_ieq(word, SLICE_LIT("LIMITS")))
		client_limits(c, slice_trim(slice_sub(line, sp, line.n)));
}

unsigned
client_mail_max(const struct smtp_client *c)
{
	return c->mail_max;
}

static void
client_capabilities(struct smtp_client *c)
{
	struct slice t = reply_text(&c->reply);
	size_t nl = slice_find(t, '\n');

	c->caps = 0;
	c->size_max = 0;
	c->mail_max = 0;
	while (nl < t.n) {	/* the first line is the server's name */
		t = slice_sub(t, nl + 1, t.n);
		nl = slice_find(t, '\n');
		client_capability(c, slice_sub(t, 0, nl));
	}
}

/* Who will not have mail the way it must go is no host for it: the next one, or later. */
static void
client_unfit(struct smtp_client *c, const char *enhanced, const char *text)
{
	struct client_result r;

	client_fill(&r, DELIVER_TEMP, SCOPE_HOST, enhanced, text);
	client_die(c, &r);
}

void
client_on_hello(struct smtp_client *c)
{
	unsigned kind = c->reply.code / 100;

	if (kind == 5 && !c->need_tls && c->state == CLIENT_ST_EHLO && !c->lmtp && !c->tls) {
		client_say(c, "HELO", c->helo);
		client_enter(c, CLIENT_ST_HELO);
		return;
	}
	if (kind != 2) {
		client_refused(c);
		return;
	}
	c->caps = 0;
	if (c->state == CLIENT_ST_EHLO)
		client_capabilities(c);
	if ((c->caps & CAP_STARTTLS) != 0 && c->want_tls && !c->tls) {
		client_say(c, "STARTTLS", "");
		client_enter(c, CLIENT_ST_STARTTLS);
		return;
	}
	if (c->need_tls && !c->tls) {	/* stripped on the way, or never there */
		c->no_starttls = true;
		client_unfit(c, "4.7.5", "TLS is required here and the server does not offer it");
		return;
	}
	if (c->requiretls && (c->caps & CAP_REQUIRETLS) == 0) {
		client_unfit(c, "4.7.30", "REQUIRETLS is required and the server does not offer it");
		return;
	}
	client_enter(c, CLIENT_ST_READY);
}

/* A refusal of what was just offered is treated like a failed handshake: going on in
 * the clear is what an attacker in the middle wants (spec 13.1, 13.2). */
void
client_on_starttls(struct smtp_client *c)
{
	c->no_starttls = c->reply.code != 220;
	if (c->no_starttls)
		client_refused(c);
	else
		client_enter(c, CLIENT_ST_TLS);
}

void
client_tls_done(struct smtp_client *c)
{
	CHECK(c->state == CLIENT_ST_TLS);
	c->tls = true;
	reply_init(&c->reply);
	client_hello(c);
}
