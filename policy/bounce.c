// SPDX-License-Identifier: Apache-2.0
#include "policy/bounce.h"

#include "policy/header.h"
#include "policy/mime.h"

/* Walks down to the delivery-status part, or to what was returned with it. */
struct search {
	bool		returned;	/* the latter */
	unsigned	parts;		/* seen so far */
	bool		cut;		/* the message goes on behind what we look at */
	bool		receipt;	/* a disposition notification (RFC 8098) was found */
	struct slice	found;		/* the part, header and body */
};

/* --- automatic answers --- */

#define BOUNCE_SIGN_GENERATED	"auto-generated"

/* The first word of a value, comments and parameters off. */
static struct slice
first_word(struct slice value)
{
	struct slice s = value;
	size_t n = 0;

	mime_skip_cfws(&s);
	while (n < s.n && s.p[n] > ' ' && s.p[n] < 127 && strchr("();,", s.p[n]) == NULL)
		n++;
	return slice_sub(s, 0, n);
}

/*
 * Fields that only programs write. A subject like "out of office" is not among them:
 * without one of these it is what a person wrote, and with one it says nothing more.
 */
static const char *
auto_sign(const struct header_field *f)
{
	struct slice word = first_word(f->value);

	/* RFC 3834 5: anything but "no", known or not */
	if (header_is(f, "Auto-Submitted"))
		return slice_ieq(word, SLICE_LIT("no")) ? "" :
		    slice_ieq(word, SLICE_LIT("auto-generated")) ? BOUNCE_SIGN_GENERATED :
		    "auto-submitted";
	if (header_is(f, "X-Autoreply") || header_is(f, "X-Autorespond") ||
	    header_is(f, "X-Auto-Reply"))
		return slice_ieq(word, SLICE_LIT("no")) ? "" : "x-autoreply";
	if (header_is(f, "Precedence") && (slice_ieq(word, SLICE_LIT("auto_reply")) ||
	    slice_ieq(word, SLICE_LIT("auto-reply"))))
		return "precedence";
	return "";
}

static const char *
find_auto_sign(struct slice msg)
{
	struct header h;
	struct header_field f;
	const char *sign, *found = "";

	header_start(&h, msg);
	while (header_next(&h, &f)) {
		sign = auto_sign(&f);
		/* a sign of an answer decides over one of a program */
		if (sign[0] != '\0' && strcmp(sign, BOUNCE_SIGN_GENERATED) != 0)
			return sign;
		if (sign[0] != '\0')
			found = sign;
	}
	return found;
}

/* --- the report --- */

static bool
is_status(const struct mime_entity *e)
{
	return mime_is(e, "message", "delivery-status") ||
	    mime_is(e, "message", "global-delivery-status");	/* RFC 6533 */
}

/* The message, or its header (RFC 6522 3, RFC 6533 6). */
static bool
is_returned(const struct mime_entity *e)
{
	return mime_is(e, "text", "rfc822-headers") || mime_is(e, "message", "rfc822") ||
	    mime_is(e, "message", "global") || mime_is(e, "message", "global-headers");
}

/* A report of another type may still carry a part that looks like ours: then it is not
 * one. Programs that leave report-type out exist; they mean delivery-status. */
static bool
is_delivery_report(struct search *s, const struct mime_entity *e)
{
	char type[64];

	if (!mime_is(e, "multipart", "report"))
		return false;
	if (mime_param(e, "report-type", type, sizeof(type)) < 0)
		return true;
	if (slice_ieq(slice_str(type), SLICE_LIT("disposition-notification")))
		s->receipt = true;
	return slice_ieq(slice_str(type), SLICE_LIT("delivery-status"));
}

static bool
search_parts(struct search *s, const struct mime_entity *e, bool report, unsigned depth);

/* Multiparts may stand around a report, as list programs and scanners put them; what is
 * inside of message/rfc822 is somebody else's. */
static bool
search_entity(struct search *s, struct slice bytes, bool closed, bool report, unsigned depth)
{
	struct mime_entity e;

	mime_read(&e, bytes);
	if (report && s->returned && is_returned(&e)) {
		s->found = bytes;
		return true;
	}
	if (report && !s->returned && is_status(&e)) {
		/* what the limit cut in two might have said something else further on */
		if (s->cut && !closed)
			return false;
		s->found = bytes;
		return true;
	}
	if (!mime_is(&e, "multipart", NULL) || report || depth == BOUNCE_DEPTH_MAX)
		return false;
	return search_parts(s, &e, is_delivery_report(s, &e), depth + 1);
}

static bool
search_parts(struct search *s, const struct mime_entity *e, bool report, unsigned depth)
{
	struct mime_parts p;
	struct slice part;

	if (mime_parts_start(&p, e) < 0)
		return false;
	while (s->parts < BOUNCE_PARTS_MAX && mime_parts_next(&p, &part)) {
		s->parts++;
		if (search_entity(s, part, p.closed, report, depth))
			return true;
	}
	return false;
}

/* --- the delivery-status part --- */

static enum bounce_action
read_action(struct slice value)
{
	static const enum bounce_action known[] = {
		BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_DELIVERED, BOUNCE_RELAYED, BOUNCE_EXPANDED
	};
	struct slice word = first_word(value);

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_ieq(word, slice_str(bounce_action_name(known[i]))))
			return known[i];
	return BOUNCE_NO_ACTION;
}

/* One to three digits. */
static bool
read_number(struct slice s, uint16_t *out)
{
	uint64_t v;

	if (s.n > 3 || slice_u64(s, &v) < 0)
		return false;
	*out = (uint16_t)v;
	return true;
}

/* RFC 3463 2: class 2, 4 or 5, subject, detail. */
static void
read_status(struct slice value, struct bounce_result *r)
{
	struct slice word = first_word(value), rest;
	uint16_t subject, detail;
	size_t dot;

	if (word.n < 5 || word.p[1] != '.' || (word.p[0] != '2' && word.p[0] != '4' &&
	    word.p[0] != '5'))
		return;
	rest = slice_sub(word, 2, word.n);
	dot = slice_find(rest, '.');
	if (!read_number(slice_sub(rest, 0, dot), &subject) ||
	    !read_number(slice_sub(rest, dot + 1, rest.n), &detail))
		return;
	r->status = (uint8_t)(word.p[0] - '0');
	r->subject = subject;
	r->detail = detail;
}

/* "smtp; 550 ..." (RFC 3464 2.3.6). */
static uint16_t
read_code(struct slice value)
{
	mime_skip_cfws(&value);
	size_t semicolon = slice_find(value, ';');
	struct slice text = slice_trim(slice_sub(value, semicolon + 1, value.n));
	uint16_t code;

	if (!slice_ieq(slice_trim(slice_sub(value, 0, semicolon)), SLICE_LIT("smtp")) ||
	    !read_number(slice_sub(text, 0, 3), &code) || code < 200 || code > 599)
		return 0;
	if (text.n > 3 && text.p[3] != ' ' && text.p[3] != '-' && text.p[3] != '\r')
		return 0;
	return code;
}

/* "rfc822; <address>" (RFC 3464 2.3.2), with or without the brackets some put. */
static enum bounce_match
read_recipient(struct slice value, struct slice expected)
{
	struct slice a = slice_trim(slice_sub(value, slice_find(value, ';') + 1, value.n));

	if (expected.n == 0 || a.n == 0)
		return BOUNCE_ABSENT;
	if (a.p[0] == '<' && a.p[a.n - 1] == '>' && a.n > 1)
		a = slice_sub(a, 1, a.n - 1);
	return slice_ieq(a, expected) ? BOUNCE_SAME : BOUNCE_DIFFERENT;
}

/* What can be a token of ours, or "". */
static void
take_token(struct slice s, char out[SRS_TOKEN_LEN + 1])
{
	static const char set[] = "0123456789abcdefghijklmnopqrstuv";

	if (s.n != SRS_TOKEN_LEN || slice_cstr(s, out, SRS_TOKEN_LEN + 1) < 0) {
		out[0] = '\0';
		return;
	}
	bytes_lower(out, s.n);
	if (strspn(out, set) != s.n)
		memset(out, 0, SRS_TOKEN_LEN + 1);	/* it is text, then */
}

static void
read_envid(struct slice value, const struct bounce_expect *x, struct bounce *out)
{
	struct slice id = slice_trim(value);

	if (id.n == 0 || out->envid != BOUNCE_ABSENT || out->token[0] != '\0')
		return;
	if (x->token.n > 0)
		out->envid = slice_ieq(id, x->token) ? BOUNCE_SAME : BOUNCE_DIFFERENT;
	take_token(id, out->token);
}

/* Fields of one group; the first of each name counts. */
struct group {
	struct bounce_result	r;
	bool			action, status, code, recipient;	/* seen */
};

static void
group_field(struct group *g, const struct header_field *f, const struct bounce_expect *x,
    struct bounce *out)
{
	if (header_is(f, "Original-Envelope-Id")) {
		read_envid(f->value, x, out);
	} else if (header_is(f, "Action") && !g->action) {
		g->action = true;
		g->r.action = (uint8_t)read_action(f->value);
	} else if (header_is(f, "Status") && !g->status) {
		g->status = true;
		read_status(f->value, &g->r);
	} else if (header_is(f, "Diagnostic-Code") && !g->code) {
		g->code = true;
		g->r.code = read_code(f->value);
	} else if (header_is(f, "Final-Recipient") && !g->recipient) {
		g->recipient = true;
		g->r.match = (uint8_t)read_recipient(f->value, x->recipient);
	}
}

/* Is this a recipient's group? Reports without a group for the message exist. */
static void
group_end(const struct group *g, struct bounce *out)
{
	if (!g->action && !g->recipient)
		return;
	if (out->nrcpt == BOUNCE_RCPT_MAX) {
		out->more = true;
		return;
	}
	out->rcpt[out->nrcpt++] = g->r;
	/* A leg has one recipient. When its mailbox passes mail on to several, one that
	 * failed may be the only one that counts: with doubt, the leg is not done. */
	if (out->nrcpt == 1 || g->r.action > out->leg.action)
		out->leg = g->r;
}

/* Groups of fields with empty lines between (RFC 3464 2.1); a line that is no field is
 * passed over. */
static void
read_status_part(struct slice s, const struct bounce_expect *x, struct bounce *out)
{
	struct group g = { 0 };
	struct header h;
	struct header_field f;

	header_start(&h, s);
	while (h.pos < s.n) {
		if (header_next(&h, &f)) {
			group_field(&g, &f, x, out);
		} else if (!h.junk) {
			group_end(&g, out);
			g = (struct group){ 0 };
			h.pos = h.body;
		} else {
			h.pos += slice_find(slice_sub(s, h.pos, s.n), '\n') + 1;
		}
	}
	group_end(&g, out);
}

/*
 * The text of a part, with CRLF at the end of each line: under base64 or quoted-printable
 * there may be the line ends of the system that wrote it, whatever RFC 2045 6.8 asks for.
 */
static int
read_text(struct slice part, struct buf *text)
{
	struct mime_entity e;
	struct buf plain;
	struct slice s;
	int ret = -1;

	mime_read(&e, part);
	e.body = slice_sub(e.body, 0, BOUNCE_STATUS_MAX);
	buf_init(&plain, BOUNCE_STATUS_MAX);
	if (mime_decode(&e, &plain) < 0)
		goto out;
	s = buf_slice(&plain);
	while (s.n > 0) {
		size_t lf = slice_find(s, '\n');
		struct slice line = slice_sub(s, 0, lf > 0 && lf < s.n && s.p[lf - 1] == '\r' ?
		    lf - 1 : lf);

		if (buf_put_slice(text, line) < 0 || (lf < s.n && buf_puts(text, "\r\n") < 0))
			goto out;
		s = slice_sub(s, lf + 1, s.n);
	}
	ret = 0;
out:
	buf_fini(&plain);
	return ret;
}

static bool
parse_report(struct slice part, const struct bounce_expect *x, struct bounce *out)
{
	struct buf text;
	bool ok;

	buf_init(&text, 2 * BOUNCE_STATUS_MAX);
	ok = read_text(part, &text) == 0;
	if (ok)
		read_status_part(buf_slice(&text), x, out);
	buf_fini(&text);
	return ok && out->nrcpt > 0;
}

/* "HASH TOKEN.MAC" (policy/forward.h) of the topmost field that has one. The token is sealed:
 * whether it is true, seal can tell. */
static void
read_tag(struct slice header, struct bounce *out)
{
	struct header_field f;
	struct header h;

	header_start(&h, header);
	while (out->token[0] == '\0' && header_next(&h, &f)) {
		struct slice v = slice_trim(f.value);
		size_t dot = slice_rfind(v, '.');

		if (header_is(&f, "X-Fwd-Loop") && dot < v.n && dot > SRS_TOKEN_LEN)
			take_token(slice_sub(v, dot - SRS_TOKEN_LEN, dot), out->token);
	}
}

static void
read_returned(struct slice msg, struct bounce *out)
{
	struct search s = { .returned = true };
	struct buf text;

	if (!search_entity(&s, msg, false, false, 0))
		return;
	buf_init(&text, 2 * BOUNCE_STATUS_MAX);
	if (read_text(s.found, &text) == 0)
		read_tag(buf_slice(&text), out);
	buf_fini(&text);
}

void
bounce_parse(struct slice msg, const struct bounce_expect *x, struct bounce *out)
{
	struct search s = { .cut = msg.n > BOUNCE_SIZE_MAX };

	*out = (struct bounce){ .kind = BOUNCE_OTHER, .sign = "" };
	msg = slice_sub(msg, 0, BOUNCE_SIZE_MAX);
	if (search_entity(&s, msg, false, false, 0) && parse_report(s.found, x, out)) {
		out->kind = BOUNCE_REPORT;
		if (x->token.n == 0 && out->token[0] == '\0')
			read_returned(msg, out);
		return;
	}
	*out = (struct bounce){ .kind = BOUNCE_OTHER, .sign = find_auto_sign(msg) };
	if (s.receipt)
		out->sign = "disposition";
	if (out->sign[0] != '\0')
		out->kind = strcmp(out->sign, BOUNCE_SIGN_GENERATED) == 0 ? BOUNCE_GENERATED :
		    BOUNCE_AUTO_REPLY;
}
