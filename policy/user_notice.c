// SPDX-License-Identifier: Apache-2.0
#include "policy/user_notice.h"

#include "base/bounce.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "policy/address.h"
#include "policy/header.h"
#include "policy/mime.h"
#include "policy/mime_text.h"

enum { BRAND_MAX = 200, SUBJECTS_MAX = 1000 };

#define SIGNED_NAMES "From:From:To:Subject:Date:Message-ID:Auto-Submitted:List-Unsubscribe:" \
	"MIME-Version:Content-Type:Content-Transfer-Encoding"

struct maker {
	const struct forward_keys		*k;
	const struct user_notice_request	*rq;
	struct slice			 text[NOTICE_LANGUAGES];	/* in this order */
	enum notice_language		 language[NOTICE_LANGUAGES];
	size_t				 n;	/* of them */
	struct mime_text		 brand;
	struct notice_words		 words;
	char				 since[64];
};

void
user_notice_init(struct user_notice *n)
{
	n->token[0] = '\0';
	buf_init(&n->message, USER_NOTICE_MAX);
	buf_init(&n->mail_from, 2 * ADDRESS_PATH_MAX);
}

void
user_notice_fini(struct user_notice *n)
{
	buf_fini(&n->message);
	buf_fini(&n->mail_from);
}

/* ---- what it says ---- */

static void
choose_languages(struct maker *m, const struct slice text[NOTICE_LANGUAGES])
{
	enum notice_language l;

	if (notice_language_parse(m->rq->language, &l) == 0) {
		m->language[m->n++] = l;
	} else {
		if (m->rq->fallback != NOTICE_IN_ENGLISH)
			m->language[m->n++] = NOTICE_ITALIAN;
		if (m->rq->fallback != NOTICE_IN_ITALIAN)
			m->language[m->n++] = NOTICE_ENGLISH;
	}
	for (size_t i = 0; i < m->n; i++)
		m->text[i] = text[m->language[i]];
}

static void
choose_words(struct maker *m)
{
	const struct user_notice_request *rq = m->rq;

	mime_text_start(&m->brand, BRAND_MAX);
	mime_text_raw(&m->brand, rq->brand);
	if (mime_text_get(&m->brand).n == 0)
		mime_text_raw(&m->brand, rq->domain);
	clock_rfc5322(rq->since_ms, m->since, sizeof(m->since));
	m->words = (struct notice_words){ .address = rq->user, .brand = mime_text_get(&m->brand),
		.domain = rq->domain, .since = slice_str(m->since), .status_page = rq->status_page };
}

static int
put_subject(const struct maker *m, struct buf *out)
{
	struct mime_text clean;
	struct buf raw;
	int ret = 0;

	buf_init(&raw, NOTICE_TEXT_MAX);
	for (size_t i = 0; i < m->n && ret == 0; i++)
		if ((i > 0 && buf_puts(&raw, " / ") < 0) || notice_subject(m->text[i], &m->words,
		    &raw) < 0)
			ret = -1;
	mime_text_start(&clean, SUBJECTS_MAX);
	mime_text_raw(&clean, buf_slice(&raw));
	if (ret == 0 && (buf_puts(out, "Subject: ") < 0 ||
	    mime_put_unstructured(out, mime_text_get(&clean)) < 0 || buf_puts(out, "\r\n") < 0))
		ret = -1;
	buf_fini(&raw);
	return ret;
}

static int
put_body(const struct maker *m, struct buf *out)
{
	struct buf text;
	int ret = 0;

	buf_init(&text, NOTICE_LANGUAGES * NOTICE_TEXT_MAX + 16);
	for (size_t i = 0; i < m->n && ret == 0; i++)
		if ((i > 0 && buf_puts(&text, "\r\n----\r\n\r\n") < 0) || notice_text(m->text[i],
		    &m->words, &text) < 0)
			ret = -1;
	if (ret == 0)
		ret = mime_put_qp(out, buf_slice(&text));
	buf_fini(&text);
	return ret;
}

/* ---- the header ---- */

static int
put_unsubscribe(const struct maker *m, struct buf *out)
{
	if (buf_puts(out, "List-Unsubscribe: <mailto:") < 0 || stop_address(&m->k->srs,
	    srs_day(m->rq->now_ms), &m->rq->stop, out) < 0)
		return -1;
	return buf_puts(out, ">\r\n");
}

/* The same for the same user and outage: should a crash send it twice, it is one message. */
static int
put_message_id(const struct maker *m, struct buf *out)
{
	char hex[2 * MSGID_LEN + 1];

	crypto_hex(m->rq->stop.user.b, MSGID_LEN, hex);
	return buf_printf(out, "Message-ID: <notice.%llx.%s@%.*s>\r\n",
	    (unsigned long long)m->rq->since_ms, hex, SLICE_FMT(m->k->srs.domain));
}

static int
put_header(const struct maker *m, struct buf *out)
{
	const struct user_notice_request *rq = m->rq;
	char date[64], tag[FORWARD_TAG_LEN + 1];

	clock_rfc5322(rq->now_ms, date, sizeof(date));
	forward_loop_tag(m->k->srs.secret[0], rq->domain, rq->user, tag);
	if (buf_printf(out, "X-Fwd-Loop: %s\r\nFrom: ", tag) < 0 ||
	    mime_put_phrase(out, m->words.brand) < 0 ||
	    buf_printf(out, "\r\n <fwd@%.*s>\r\n", SLICE_FMT(m->k->srs.domain)) < 0)
		return -1;
	if ((mime_has_8bit(rq->user) ? buf_puts(out, "To: undisclosed-recipients:;\r\n") :
	    buf_printf(out, "To: <%.*s>\r\n", SLICE_FMT(rq->user))) < 0)
		return -1;
	if (put_subject(m, out) < 0 || buf_printf(out, "Date: %s\r\n", date) < 0 ||
	    put_message_id(m, out) < 0 ||
	    buf_puts(out, "Auto-Submitted: auto-generated\r\n") < 0 || put_unsubscribe(m, out) < 0)
		return -1;
	return buf_printf(out, "MIME-Version: 1.0\r\nContent-Language: %s%s%s\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n", notice_language_name(m->language[0]),
	    m->n > 1 ? ", " : "", m->n > 1 ? notice_language_name(m->language[1]) : "");
}

/* ---- the signature ---- */

static int
put_signature(const struct maker *m, struct slice header, struct slice body, struct buf *out)
{
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = m->k->srs.domain, .selector = m->k->selector,
		.when = m->rq->now_ms / 1000, .h = SLICE_LIT(SIGNED_NAMES),
	};
	struct sign_fields fields = { 0 };
	struct header_field f;
	struct header h;
	uint8_t hash[SIGN_HASH];
	int ret = 0;

	if (m->k->dkim == NULL)
		return 0;
	header_start(&h, header);
	while (ret == 0 && header_next(&h, &f))
		ret = sign_fields_add(&fields, f.name, f.raw);
	sign_body_start(m->k->body);
	sign_body_put(m->k->body, body);
	sign_body_end(m->k->body, hash);
	if (ret == 0)
		ret = sign_field(out, m->k->dkim, &spec, &fields, hash);
	sign_fields_fini(&fields);
	return ret;
}

static int
put_message(const struct maker *m, struct buf *out)
{
	struct buf header, body;
	int ret = -1;

	buf_init(&header, 64 * 1024);
	buf_init(&body, USER_NOTICE_MAX);
	if (put_header(m, &header) == 0 && put_body(m, &body) == 0 &&
	    put_signature(m, buf_slice(&header), buf_slice(&body), out) == 0 &&
	    buf_put_slice(out, buf_slice(&header)) == 0 && buf_puts(out, "\r\n") == 0)
		ret = buf_put_slice(out, buf_slice(&body));
	buf_fini(&header);
	buf_fini(&body);
	return ret;
}

/* ---- the envelope ---- */

/* What comes back to it names the leg, and that it is about the notice (base/bounce.h). */
static int
put_return_path(const struct maker *m, struct user_notice *n)
{
	struct token_leg leg = m->rq->leg;

	if (m->rq->null_path)
		return 0;
	leg.rcpt_index |= BOUNCE_RCPT_NOTICE;
	token_seal(m->k->srs.secret[0], &leg, n->token);
	return srs_opaque(&m->k->srs, srs_day(m->rq->now_ms), slice_str(n->token), &n->mail_from) ==
	    SRS_OK ? 0 : -1;
}

static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return false;
	return s.n > 0;
}

int
user_notice_build(const struct forward_keys *k, const struct slice text[NOTICE_LANGUAGES],
    const struct user_notice_request *rq, struct user_notice *n)
{
	struct maker m = { .k = k, .rq = rq };

	if (k->srs.nsecret == 0 || k->srs.domain.n == 0 || !is_printable(rq->user) ||
	    !is_printable(rq->domain))
		return -1;
	choose_languages(&m, text);
	choose_words(&m);
	return put_return_path(&m, n) < 0 ? -1 : put_message(&m, &n->message);
}
