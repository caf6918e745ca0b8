// SPDX-License-Identifier: Apache-2.0
#include "relay/probe_talk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { TALK_OUT_MAX = 16 * 1024 };

static const char *const stage_names[PROBE_STAGE_MAX] = {
	"connect", "greeting", "hello", "starttls", "mail", "rcpt", "data", "end"
};

const char *
probe_stage_name(enum probe_stage s)
{
	return s < PROBE_STAGE_MAX ? stage_names[s] : "?";
}

void
probe_talk_init(struct probe_talk *t, const struct probe_talk_config *cfg)
{
	memset(t, 0, sizeof(*t));
	t->cfg = cfg;
	t->state = PROBE_TALK_BUSY;
	t->stage = PROBE_AT_GREETING;
	reply_init(&t->reply);
	buf_init(&t->out, TALK_OUT_MAX);
}

void
probe_talk_fini(struct probe_talk *t)
{
	buf_fini(&t->out);
}

static void
talk_end(struct probe_talk *t, enum probe_outcome o, uint16_t code, struct slice text)
{
	if (t->state == PROBE_TALK_DONE)
		return;
	t->state = PROBE_TALK_DONE;
	t->outcome = o;
	t->code = code;
	reply_printable(text, t->text, sizeof(t->text));
}

void
probe_talk_lost(struct probe_talk *t, const char *why)
{
	talk_end(t, PROBE_SILENT, 0, slice_str(why));
}

/* Says the next thing and waits for its answer. */
__attribute__((format(printf, 3, 4))) static void
talk_say(struct probe_talk *t, enum probe_stage next, const char *fmt, ...)
{
	char line[1200];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	t->stage = next;
	/* An address of the configuration fits; one that does not is our own trouble. */
	if (n < 0 || (size_t)n >= sizeof(line) || buf_put(&t->out, line, (size_t)n) < 0)
		talk_end(t, PROBE_LOCAL, 0, SLICE_LIT("the command is too long"));
}

static void
talk_hello(struct probe_talk *t)
{
	talk_say(t, PROBE_AT_HELLO, "%s %.*s\r\n", t->cfg->lmtp ? "LHLO" : "EHLO",
	    SLICE_FMT(t->cfg->helo));
}

static void
talk_good(struct probe_talk *t)
{
	if (buf_puts(&t->out, "QUIT\r\n") < 0)
		buf_clear(&t->out);
	talk_end(t, PROBE_OK, t->reply.code, reply_text(&t->reply));
}

static bool
offers(struct slice text, struct slice word)
{
	while (text.n > 0) {
		size_t end = slice_find(text, '\n');

		if (slice_ieq(slice_trim(slice_sub(text, 0, end)), word))
			return true;
		text = slice_sub(text, end < text.n ? end + 1 : end, text.n);
	}
	return false;
}

static void
talk_greeted(struct probe_talk *t)
{
	if (t->cfg->tls && !t->secure && offers(reply_text(&t->reply), SLICE_LIT("STARTTLS")))
		talk_say(t, PROBE_AT_TLS, "STARTTLS\r\n");
	else if (t->cfg->depth <= PROBE_GREETING || t->cfg->canary.n == 0)
		talk_good(t);
	else
		talk_say(t, PROBE_AT_MAIL, "MAIL FROM:<>\r\n");
}

static void
talk_message(struct probe_talk *t)
{
	t->stage = PROBE_AT_END;
	if (buf_put_slice(&t->out, t->cfg->message) < 0 || buf_puts(&t->out, ".\r\n") < 0)
		talk_end(t, PROBE_LOCAL, 0, SLICE_LIT("the canary is too long"));
}

/* The answer that was hoped for at this stage came. */
static void
talk_next(struct probe_talk *t)
{
	switch (t->stage) {
	case PROBE_AT_CONNECT:
	case PROBE_STAGE_MAX:
		break;
	case PROBE_AT_GREETING:
		talk_hello(t);
		break;
	case PROBE_AT_HELLO:
		talk_greeted(t);
		break;
	case PROBE_AT_TLS:
		t->state = PROBE_TALK_TLS;
		break;
	case PROBE_AT_MAIL:
		talk_say(t, PROBE_AT_RCPT, "RCPT TO:<%.*s>\r\n", SLICE_FMT(t->cfg->canary));
		break;
	case PROBE_AT_RCPT:
		if (t->cfg->depth < PROBE_DATA)
			talk_good(t);
		else
			talk_say(t, PROBE_AT_DATA, "DATA\r\n");
		break;
	case PROBE_AT_DATA:
		talk_message(t);
		break;
	case PROBE_AT_END:
		talk_good(t);
		break;
	}
}

static void
talk_reply(struct probe_talk *t)
{
	unsigned class = t->reply.code / 100;

	if (class == 4 || class == 5) {
		if (buf_puts(&t->out, "QUIT\r\n") < 0)
			buf_clear(&t->out);
		talk_end(t, class == 4 ? PROBE_PUT_OFF : PROBE_REFUSED, t->reply.code,
		    reply_text(&t->reply));
	} else if (class != (t->stage == PROBE_AT_DATA ? 3 : 2)) {
		talk_end(t, PROBE_SILENT, t->reply.code, SLICE_LIT("this is no SMTP answer"));
	} else {
		talk_next(t);
	}
}

size_t
probe_talk_input(struct probe_talk *t, struct slice in)
{
	size_t used = 0, n = 0;

	while (used < in.n && t->state == PROBE_TALK_BUSY) {
		switch (reply_feed(&t->reply, slice_sub(in, used, in.n), &n)) {
		case REPLY_MORE:
			return used + n;
		case REPLY_DONE:
			used += n;
			talk_reply(t);
			break;
		case REPLY_BAD:
			talk_end(t, PROBE_SILENT, 0, SLICE_LIT("this is no SMTP answer"));
			break;
		}
	}
	return t->state == PROBE_TALK_DONE ? in.n : used;
}

void
probe_talk_secured(struct probe_talk *t)
{
	t->secure = true;
	t->state = PROBE_TALK_BUSY;
	reply_init(&t->reply);
	talk_hello(t);
}
