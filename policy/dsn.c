// SPDX-License-Identifier: Apache-2.0
#include "policy/dsn.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "policy/address.h"
#include "policy/header.h"
#include "policy/mime.h"
#include "policy/mime_text.h"

enum {
	ADDRESS_TEXT_MAX = 512,
	MSGID_TEXT_MAX = 500,		/* of the message answered */
	BODY_TEXT_MAX = 8 * 1024,
	FOLD_AT = 76
};

#define SIGNED_NAMES \
	"From:From:To:Subject:Date:Message-ID:In-Reply-To:References:Auto-Submitted:" \
	"MIME-Version:Content-Type"

/* What each action says; {} is where the address goes. Italian first: the senders who
 * need it most write to Italian domains. */
static const struct {
	const char *name, *subject, *italian, *english;
} texts[] = {
	[DSN_FAILED] = { "failed", "Messaggio non recapitato / Undelivered mail",
		"Il suo messaggio non è stato recapitato a questo destinatario:",
		"Your message could not be delivered to this recipient:" },
	[DSN_DELAYED] = { "delayed", "Consegna in ritardo / Delayed mail",
		"Il suo messaggio per questo destinatario è in ritardo. È conservato e verrà "
		"consegnato\r\nappena possibile: non occorre inviarlo di nuovo.",
		"Your message to this recipient is delayed. It is kept and will be delivered as "
		"soon as\r\npossible: there is no need to send it again." },
	[DSN_DELIVERED] = { "delivered", "Messaggio consegnato / Delivered mail",
		"Il suo messaggio è stato consegnato alla casella di questo destinatario:",
		"Your message was delivered to the mailbox of this recipient:" },
	[DSN_RELAYED] = { "relayed", "Messaggio trasmesso / Relayed mail",
		"Il suo messaggio è stato affidato al server di questo destinatario, che non "
		"invia\r\nconferme di consegna:",
		"Your message was passed to the server of this recipient, which does not send "
		"delivery\r\nnotifications:" },
};

struct maker {
	const struct dsn_request *rq;
	struct buf	*out;
	struct slice	 header;	/* of the content, as far as it is returned */
	struct slice	 message_id;	/* of the content, "" when it cannot be quoted */
	bool		 full;		/* the content is returned, not just its header */
	bool		 eightbit;	/* and has octets > 127 */
	char		 boundary[MIME_BOUNDARY_OURS + 1];
};

const char *
dsn_action_name(enum dsn_action a)
{
	return texts[a].name;
}

void
dsn_init(struct dsn *d)
{
	*d = (struct dsn){ .reason = "" };
	buf_init(&d->message, DSN_MAX);
}

void
dsn_fini(struct dsn *d)
{
	buf_fini(&d->message);
}

/* --- what comes in --- */

static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return false;
	return true;
}

static bool
is_ascii(struct slice s)
{
	return is_printable(s) && !mime_has_8bit(s);
}

/* One or more digits, up to `max`. */
static bool
is_number(struct slice s, size_t max)
{
	uint64_t v;

	return s.n <= max && slice_u64(s, &v) == 0;
}

/* RFC 3463 2, of the class that goes with the action (RFC 3464 2.3.4). */
static bool
is_status(struct slice s, enum dsn_action action)
{
	size_t dot = slice_find(slice_sub(s, 2, s.n), '.') + 2;

	if (s.n < 5 || s.p[1] != '.' || !is_number(slice_sub(s, 2, dot), 3) ||
	    !is_number(slice_sub(s, dot + 1, s.n), 3))
		return false;
	switch (action) {
	case DSN_FAILED:
		return s.p[0] == '5' || s.p[0] == '4';
	case DSN_DELAYED:
		return s.p[0] == '4';
	case DSN_DELIVERED:
	case DSN_RELAYED:
		break;
	}
	return s.p[0] == '2';
}

static bool
is_address(struct slice s)
{
	struct address a;

	return s.n > 0 && s.n <= ADDRESS_TEXT_MAX && is_printable(s) &&
	    address_parse(s, true, &a) == 0;
}

static const char *
check(const struct dsn_request *rq)
{
	if (rq->env->mail_from.n == 0)
		return "null-sender";	/* RFC 3464 2.1: never in answer to one */
	if (!is_address(rq->env->mail_from))
		return "bad-sender";
	if (!is_address(rq->rcpt->address) || !address_domain_valid(rq->rcpt->domain))
		return "bad-recipient";
	if (!address_domain_valid(rq->mta))
		return "bad-mta";
	if (!is_status(rq->status, rq->action))
		return "bad-status";
	return "";
}

/* A msg-id that can be written again (RFC 5322 3.6.4): "<" no space, no control ">". */
static struct slice
quotable_id(struct slice value)
{
	struct slice s = slice_trim(value);

	if (s.n < 3 || s.n > MSGID_TEXT_MAX || s.p[0] != '<' || s.p[s.n - 1] != '>')
		return SLICE_NONE;
	for (size_t i = 1; i < s.n - 1; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 127 || s.p[i] == '<' || s.p[i] == '>')
			return SLICE_NONE;
	return s;
}

/* The header as the sender gave it, whole fields only (2.3.7). What we put above it is
 * not in the content, so it cannot be in here. */
static void
scan_content(struct maker *m)
{
	struct slice content = m->rq->content;
	struct header h;
	struct header_field f;

	header_start(&h, content);
	while (header_next(&h, &f)) {
		if (h.pos <= DSN_HEADER_MAX)
			m->header = slice_sub(content, 0, h.pos);
		if (m->message_id.n == 0 && header_is(&f, "Message-ID"))
			m->message_id = quotable_id(f.value);
	}
}

/* RFC 3461 4.3: RET is about failures. RFC 8689 5: REQUIRETLS undoes FULL. */
static bool
may_return_all(const struct dsn_request *rq)
{
	if (rq->action != DSN_FAILED || !slice_ieq(rq->env->ret, SLICE_LIT("FULL")) ||
	    rq->content.n > DSN_FULL_MAX || (rq->env->flags & ENV_REQUIRETLS) != 0)
		return false;
	return mime_is_plain(rq->content) && !(rq->seven_bit && mime_has_8bit(rq->content));
}

/* --- the header --- */

static int
put_date(struct buf *out, const char *name, int64_t when_ms)
{
	char date[64];

	clock_rfc5322(when_ms, date, sizeof(date));
	return buf_printf(out, "%s: %s\r\n", name, date);
}

/* The same for the same event, so that one sent twice can be seen to be one. */
static int
put_message_id(const struct maker *m)
{
	const struct dsn_request *rq = m->rq;
	char id[MSGID_TEXT + 1], hex[17];
	uint8_t hash[32];

	msgid_print(rq->env->id, id);
	crypto_sha256(rq->rcpt->address, hash);
	crypto_hex(hash, 8, hex);
	return buf_printf(m->out, "Message-ID: <%s.%s.%s@%.*s>\r\n", id, hex,
	    dsn_action_name(rq->action), SLICE_FMT(rq->mta));
}

/* 2.3.6 */
static int
put_header(const struct maker *m)
{
	const struct dsn_request *rq = m->rq;

	if (buf_printf(m->out, "From: Mail Delivery <postmaster@%.*s>\r\nTo: <%.*s>\r\n"
	    "Subject: %s\r\n", SLICE_FMT(rq->rcpt->domain), SLICE_FMT(rq->env->mail_from),
	    texts[rq->action].subject) < 0 ||
	    put_date(m->out, "Date", rq->now_ms) < 0 || put_message_id(m) < 0)
		return -1;
	if (m->message_id.n > 0 && buf_printf(m->out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n",
	    SLICE_FMT(m->message_id), SLICE_FMT(m->message_id)) < 0)
		return -1;
	/* RFC 8689 5: the report is no more secret than what it is about. */
	if ((rq->env->flags & ENV_TLS_OPTIONAL) != 0 &&
	    buf_puts(m->out, "TLS-Required: No\r\n") < 0)
		return -1;
	return buf_printf(m->out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n"
	    "Content-Transfer-Encoding: %s\r\n", m->boundary, m->eightbit ? "8bit" : "7bit");
}

/* --- the parts --- */

static int
put_part(const struct maker *m, const char *type, const char *encoding)
{
	return buf_printf(m->out, "\r\n--%s\r\nContent-Type: %s\r\n"
	    "Content-Transfer-Encoding: %s\r\n\r\n", m->boundary, type, encoding);
}

/* Somebody's words on one line of ASCII. */
static struct slice
plain_text(struct slice text, char out[DSN_TEXT_MAX])
{
	struct mime_text t;
	struct slice s;
	size_t n = 0;

	mime_text_start(&t, DSN_TEXT_MAX);
	mime_text_raw(&t, text);
	s = mime_text_get(&t);
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)	/* one '?' a character */
			out[n++] = mime_has_8bit(slice_make(s.p + i, 1)) ? '?' : s.p[i];
	return slice_make(out, n);
}

static int
put_words(struct buf *out, const struct dsn_request *rq, bool italian)
{
	char plain[DSN_TEXT_MAX];
	struct slice said = plain_text(rq->text, plain);

	if (buf_printf(out, "%s\r\n\r\n    <%.*s>\r\n\r\n%s: %.*s\r\n",
	    italian ? texts[rq->action].italian : texts[rq->action].english,
	    SLICE_FMT(rq->rcpt->address), italian ? "Codice di stato" : "Status code",
	    SLICE_FMT(rq->status)) < 0)
		return -1;
	if (said.n == 0)
		return 0;
	if (rq->source == DSN_TEXT_PRIMARY)
		return buf_printf(out, "%s: %.*s\r\n", italian ?
		    "Risposta del server di posta" : "Reply of the mail server", SLICE_FMT(said));
	return buf_printf(out, "%s: %.*s\r\n", italian ? "Motivo" : "Reason", SLICE_FMT(said));
}

static int
put_text_part(const struct maker *m)
{
	const struct dsn_request *rq = m->rq;
	struct buf text;
	int ret = -1;

	buf_init(&text, BODY_TEXT_MAX);
	if (buf_printf(&text, "Questo avviso è stato generato automaticamente da %.*s.\r\n\r\n",
	    SLICE_FMT(rq->mta)) < 0 || put_words(&text, rq, true) < 0 ||
	    buf_printf(&text, "\r\n----\r\n\r\nThis notice was generated automatically by "
	    "%.*s.\r\n\r\n", SLICE_FMT(rq->mta)) < 0 || put_words(&text, rq, false) < 0)
		goto out;
	if (put_part(m, "text/plain; charset=utf-8", "quoted-printable") < 0)
		goto out;
	ret = mime_put_qp(m->out, buf_slice(&text));
out:
	buf_fini(&text);
	return ret;
}

/* "TYPE; TEXT", folded at spaces. */
static int
put_folded(struct buf *out, const char *name, const char *type, struct slice text)
{
	size_t column = strlen(name) + strlen(type) + 3;

	if (buf_printf(out, "%s: %s;", name, type) < 0)
		return -1;
	while (text.n > 0) {
		size_t n = slice_find(text, ' ');
		bool fold = column + 1 + n > FOLD_AT && column > 1;

		if (buf_printf(out, "%s %.*s", fold ? "\r\n" : "", (int)n, text.p) < 0)
			return -1;
		column = (fold ? 0 : column) + 1 + n;
		text = slice_sub(text, n + 1, text.n);
	}
	return buf_puts(out, "\r\n");
}

/*
 * What the sender gave as xtext (RFC 3461 4), decoded as 6.3 wants it. Left out when
 * that would not be a line of ASCII: "+0D+0A" must not make fields here.
 */
static int
put_xtext(struct buf *out, const char *name, struct slice type, struct slice xtext)
{
	struct buf plain;
	int ret = 0;

	buf_init(&plain, ADDRESS_TEXT_MAX);
	if (xtext.n > 0 && mime_unxtext(&plain, xtext) == 0 && is_ascii(buf_slice(&plain)))
		ret = buf_printf(out, "%s: %.*s%s%.*s\r\n", name, SLICE_FMT(type),
		    type.n > 0 ? "; " : "", SLICE_FMT(buf_slice(&plain)));
	buf_fini(&plain);
	return ret;
}

static bool
is_atom(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 127 || strchr("()<>[]:;@\\,.\"", s.p[i]) != NULL)
			return false;
	return s.n > 0;
}

static int
put_original_recipient(struct buf *out, struct slice orcpt)
{
	size_t semicolon = slice_find(orcpt, ';');
	struct slice type = slice_sub(orcpt, 0, semicolon);

	if (!is_atom(type))
		return 0;
	return put_xtext(out, "Original-Recipient", type,
	    slice_sub(orcpt, semicolon + 1, orcpt.n));
}

/* An address of RFC 6531 in ASCII: utf-8-addr-xtext (RFC 6533 3). */
static int
put_utf8_address(struct buf *out, struct slice s)
{
	for (size_t i = 0, n; i < s.n; i += n) {
		unsigned char c = (unsigned char)s.p[i];
		uint32_t cp = c < 0x80 ? c : c >= 0xf0 ? c & 7 : c >= 0xe0 ? c & 15 : c & 31;

		/* address_parse has seen to it that the sequences are whole */
		n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
		for (size_t j = 1; j < n; j++)
			cp = cp << 6 | ((unsigned char)s.p[i + j] & 0x3f);
		if ((n > 1 || c <= ' ' || strchr("+=\\", c) != NULL ?
		    buf_printf(out, "\\x{%X}", cp) : buf_put(out, s.p + i, 1)) < 0)
			return -1;
	}
	return 0;
}

static int
put_final_recipient(struct buf *out, struct slice address)
{
	if (!mime_has_8bit(address))
		return buf_printf(out, "Final-Recipient: rfc822; %.*s\r\n", SLICE_FMT(address));
	if (buf_puts(out, "Final-Recipient: utf-8; ") < 0 || put_utf8_address(out, address) < 0)
		return -1;
	return buf_puts(out, "\r\n");
}

/* 2.3.8; no Remote-MTA, ever. */
static int
put_status_part(const struct maker *m)
{
	const struct dsn_request *rq = m->rq;
	char plain[DSN_TEXT_MAX];
	struct slice said = plain_text(rq->text, plain);

	if (put_part(m, "message/delivery-status", "7bit") < 0 ||
	    buf_printf(m->out, "Reporting-MTA: dns; %.*s\r\n", SLICE_FMT(rq->mta)) < 0 ||
	    put_xtext(m->out, "Original-Envelope-Id", SLICE_NONE, rq->env->envid) < 0 ||
	    put_date(m->out, "Arrival-Date", (int64_t)rq->env->received_ms) < 0 ||
	    buf_puts(m->out, "\r\n") < 0 ||
	    put_original_recipient(m->out, rq->rcpt->orcpt) < 0 ||
	    put_final_recipient(m->out, rq->rcpt->address) < 0 ||
	    buf_printf(m->out, "Action: %s\r\nStatus: %.*s\r\n", dsn_action_name(rq->action),
	    SLICE_FMT(rq->status)) < 0)
		return -1;
	if (said.n > 0 && put_folded(m->out, "Diagnostic-Code",
	    rq->source == DSN_TEXT_PRIMARY ? "smtp" : "X-Salvaposta", said) < 0)
		return -1;
	if (rq->action == DSN_DELAYED && rq->retry_until_ms > 0)
		return put_date(m->out, "Will-Retry-Until", rq->retry_until_ms);
	return 0;
}

/* 2.3.7 */
static int
put_content_part(const struct maker *m)
{
	const struct dsn_request *rq = m->rq;

	if (m->full) {
		bool utf8 = (rq->env->flags & ENV_SMTPUTF8) != 0;

		if (put_part(m, utf8 ? "message/global" : "message/rfc822",
		    m->eightbit ? "8bit" : "7bit") < 0)
			return -1;
		return buf_put_slice(m->out, rq->content);
	}
	if (m->header.n == 0)
		return 0;
	if (mime_is_plain(m->header) && !mime_has_8bit(m->header)) {
		if (put_part(m, "text/rfc822-headers", "7bit") < 0)
			return -1;
		return buf_put_slice(m->out, m->header);
	}
	if (put_part(m, "text/rfc822-headers; charset=utf-8", "quoted-printable") < 0)
		return -1;
	return mime_put_qp(m->out, m->header);
}

/* --- the whole --- */

/* Puts our signature above what is there; d= is the domain of From (2.3.6). */
static int
sign(const struct maker *m, size_t header_size)
{
	const struct dsn_request *rq = m->rq;
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = rq->rcpt->domain, .selector = rq->selector,
		.when = rq->now_ms / 1000, .h = SLICE_LIT(SIGNED_NAMES),
	};
	struct slice all = buf_slice(m->out);
	struct sign_fields fields = { 0 };
	struct header h;
	struct header_field f;
	uint8_t hash[SIGN_HASH];
	struct buf whole;
	int ret = 0;

	buf_init(&whole, DSN_MAX);
	header_start(&h, slice_sub(all, 0, header_size));
	while (ret == 0 && header_next(&h, &f))
		ret = sign_fields_add(&fields, f.name, f.raw);
	sign_body_start(rq->body);
	sign_body_put(rq->body, slice_sub(all, header_size + 2, all.n));
	sign_body_end(rq->body, hash);
	if (ret == 0)
		ret = sign_field(&whole, rq->key, &spec, &fields, hash);
	if (ret == 0)
		ret = buf_put_slice(&whole, all);
	if (ret == 0) {
		buf_clear(m->out);
		ret = buf_put_slice(m->out, buf_slice(&whole));
	}
	sign_fields_fini(&fields);
	buf_fini(&whole);
	return ret;
}

static int
put_all(const struct maker *m)
{
	size_t header_size;

	if (put_header(m) < 0)
		return -1;
	header_size = buf_len(m->out);
	/* a delimiter brings the CRLF in front of it along, so that no part ends in one that
	 * is not its own (RFC 2046 5.1.1); the body begins with such an empty line */
	if (buf_puts(m->out, "\r\n") < 0 || put_text_part(m) < 0 || put_status_part(m) < 0 ||
	    put_content_part(m) < 0 || buf_printf(m->out, "\r\n--%s--\r\n", m->boundary) < 0)
		return -1;
	return m->rq->key != NULL ? sign(m, header_size) : 0;
}

int
dsn_build(const struct dsn_request *rq, struct dsn *d)
{
	struct maker m = { .rq = rq, .out = &d->message };

	d->reason = check(rq);
	if (d->reason[0] != '\0')
		return -1;
	scan_content(&m);
	m.full = may_return_all(rq);
	m.eightbit = m.full && mime_has_8bit(rq->content);
	mime_boundary(slice_make(rq->env->id.b, MSGID_LEN), rq->content, m.boundary);
	if (put_all(&m) < 0) {
		buf_clear(&d->message);
		d->reason = "too-large";
		return -1;
	}
	d->full = m.full;
	d->eightbit = m.eightbit;
	d->utf8 = mime_has_8bit(rq->env->mail_from);
	d->requiretls = (rq->env->flags & ENV_REQUIRETLS) != 0;
	d->tls_optional = (rq->env->flags & ENV_TLS_OPTIONAL) != 0;
	return 0;
}
