// SPDX-License-Identifier: Apache-2.0
#include "policy/rewrite_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "policy/mime.h"

enum {
	TEXT_MAX = 16 * 1024,		/* of the notice */
	SUBJECT_MAX = 900,		/* octets of text */
	SUBJECT_RAW_MAX = 4096		/* of a value that is passed on as written */
};

/* Can the value stand in our header as it is? ASCII, folded well, no line of nothing but
 * space (some programs end a header there), no line that is too long. */
static bool
is_clean_value(struct slice value)
{
	size_t column = 0;
	bool text = false;	/* on this line */

	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == '\r' && i + 2 < value.n && value.p[i + 1] == '\n' &&
		    (value.p[i + 2] == ' ' || value.p[i + 2] == '\t')) {
			if (!text && column > 0)
				return false;
			text = false;
			column = 0;
			i++;
			continue;
		}
		if ((c < ' ' && c != '\t') || c > '~' || ++column > REWRITE_LINE_LONG)
			return false;
		text = text || (c != ' ' && c != '\t');
	}
	return text && value.n <= SUBJECT_RAW_MAX;
}

static int
put_subject(struct buf *out, struct slice value)
{
	struct mime_text t;

	if (is_clean_value(value))
		return buf_printf(out, "Subject:%s%.*s\r\n", value.p[0] == ' ' ||
		    value.p[0] == '\t' || value.p[0] == '\r' ? "" : " ", SLICE_FMT(value));
	mime_text_start(&t, SUBJECT_MAX);
	mime_text_words(&t, value);
	if (mime_text_get(&t).n == 0)
		mime_text_raw(&t, SLICE_LIT("(senza oggetto / no subject)"));
	if (buf_puts(out, "Subject: ") < 0 || mime_put_unstructured(out, mime_text_get(&t)) < 0)
		return -1;
	return buf_puts(out, "\r\n");
}

static int
put_wrap_header(const struct rewrite_scan *s, const char *boundary, bool eightbit, struct buf *out)
{
	const struct rewrite_request *rq = s->rq;
	bool ascii = !mime_has_8bit(rq->rcpt->address);
	char date[64], id[MSGID_TEXT + 1], hex[17];
	struct mime_text brand;
	uint8_t hash[32];

	clock_rfc5322(rq->now_ms, date, sizeof(date));
	msgid_print(rq->env->id, id);
	crypto_sha256(rq->rcpt->address, hash);
	crypto_hex(hash, 8, hex);
	if (buf_puts(out, "From: ") < 0 || mime_put_phrase(out, rewrite_brand(rq, &brand)) < 0 ||
	    buf_printf(out, "\r\n <fwd@%.*s>\r\n", SLICE_FMT(rq->domain)) < 0)
		return -1;
	if ((ascii ? buf_printf(out, "To: <%.*s>\r\n", SLICE_FMT(rq->rcpt->address)) :
	    buf_puts(out, "To: undisclosed-recipients:;\r\n")) < 0 ||
	    put_subject(out, s->subject) < 0)
		return -1;
	return buf_printf(out, "Date: %s\r\nMessage-ID: <%s.%s.wrap@%.*s>\r\n"
	    "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/mixed; boundary=\"%s\"\r\n"
	    "Content-Transfer-Encoding: %s\r\n", date, id, hex, SLICE_FMT(rq->domain), boundary,
	    eightbit ? "8bit" : "7bit");
}

struct wrap_words {	/* of one language */
	const char *title, *box, *state;
	const char *author, *envelope, *unknown, *null, *received, *address, *checks, *reply;
};

static const struct wrap_words words[] = {
	{
		"Messaggio inoltrato da", "La casella", "in questo momento non è raggiungibile.\r\n"
		"Il messaggio che aspettava è allegato così come è arrivato; l'originale sarà "
		"consegnato\r\nnella casella appena tornerà raggiungibile.",
		"Autore", "Mittente della busta", "non indicato", "nessuno (avviso automatico)",
		"Ricevuto", "Destinatario", "Verifiche",
		"Per rispondere apra il messaggio allegato: le risposte a questo avviso non "
		"arrivano\r\na nessuno."
	}, {
		"Message forwarded by", "The mailbox", "cannot be reached at the moment.\r\n"
		"The message sent to it is attached as it arrived; the original will be "
		"delivered to the\r\nmailbox as soon as it can be reached again.",
		"Author", "Envelope sender", "not given", "none (automatic notice)",
		"Received", "Recipient", "Checks",
		"To answer, open the attached message: replies to this notice reach nobody."
	}
};

static int
put_author_line(const struct rewrite_scan *s, const struct wrap_words *w, struct buf *out)
{
	struct mailbox m;

	if (!rewrite_author(s, &m))
		return buf_printf(out, "%s: %s\r\n", w->author, w->unknown);
	if (mime_text_get(&m.name).n == 0)
		return buf_printf(out, "%s: <%.*s>\r\n", w->author,
		    SLICE_FMT(mime_text_get(&m.address)));
	return buf_printf(out, "%s: %.*s <%.*s>\r\n", w->author,
	    SLICE_FMT(mime_text_get(&m.name)), SLICE_FMT(mime_text_get(&m.address)));
}

/* Who, when, which original address, verdicts (7.3). No links. */
static int
put_wrap_words(const struct rewrite_scan *s, const struct wrap_words *w, struct buf *out)
{
	const struct rewrite_request *rq = s->rq;
	const struct envelope *env = rq->env;
	struct mime_text brand;
	struct slice name = rewrite_brand(rq, &brand);
	char date[64];

	clock_rfc5322((int64_t)env->received_ms, date, sizeof(date));
	if (buf_printf(out, "%s %.*s.\r\n\r\n%s %.*s %s\r\n\r\n", w->title, SLICE_FMT(name),
	    w->box, SLICE_FMT(rq->rcpt->address), w->state) < 0 ||
	    put_author_line(s, w, out) < 0)
		return -1;
	if (buf_printf(out, "%s: %.*s\r\n", w->envelope, SLICE_FMT(env->mail_from.n > 0 ?
	    env->mail_from : slice_str(w->null))) < 0)
		return -1;
	return buf_printf(out, "%s: %s\r\n%s: %.*s\r\n%s: SPF %s, DKIM %s, DMARC %s\r\n\r\n%s\r\n",
	    w->received, date, w->address, SLICE_FMT(rq->rcpt->address), w->checks,
	    auth_result_name(env->spf), auth_result_name(env->dkim),
	    auth_result_name(env->dmarc), w->reply);
}

static int
put_wrap_body(const struct rewrite_scan *s, const char *boundary, bool eightbit, struct buf *out)
{
	bool utf8 = (s->rq->env->flags & ENV_SMTPUTF8) != 0;
	struct buf text;
	int ret = -1;

	buf_init(&text, TEXT_MAX);
	if (put_wrap_words(s, &words[0], &text) < 0 || buf_puts(&text, "\r\n----\r\n\r\n") < 0 ||
	    put_wrap_words(s, &words[1], &text) < 0)
		goto out;
	if (buf_printf(out, "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n", boundary) < 0 ||
	    mime_put_qp(out, buf_slice(&text)) < 0)
		goto out;
	/* RFC 6532 3.7: a header in UTF-8 is not for message/rfc822 */
	ret = buf_printf(out, "\r\n--%s\r\nContent-Type: message/%s\r\n"
	    "Content-Disposition: inline\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary,
	    utf8 ? "global" : "rfc822", eightbit ? "8bit" : "7bit");
out:
	buf_fini(&text);
	return ret;
}

/* The untouched original (7.3): the runs cut from other copies stay in, for inside of
 * this one nobody takes them for ours. */
enum rewrite_result
rewrite_wrap(const struct rewrite_request *rq, struct rewrite_copy *c)
{
	const char *bad = rewrite_check(rq);
	char boundary[MIME_BOUNDARY_OURS + 1];
	bool eightbit;
	struct rewrite_scan s;

	if (bad[0] != '\0')
		return rewrite_refuse(c, REWRITE_ERROR, bad);
	if (!rewrite_may_wrap(rq->env))
		return rewrite_refuse(c, REWRITE_HOLD, "wrap-unauthenticated");
	if ((rq->env->flags & ENV_HAS_NUL) != 0)
		return rewrite_refuse(c, REWRITE_HOLD, "nul-octet");	/* 3.11 */
	if (rewrite_scan(&s, rq) < 0)
		return rewrite_refuse(c, REWRITE_ERROR, "bad-cuts");
	mime_boundary(slice_make(rq->env->id.b, MSGID_LEN), rq->content, boundary);
	eightbit = mime_has_8bit(rq->content);
	if (put_wrap_header(&s, boundary, eightbit, &c->prefix) < 0)
		return rewrite_refuse(c, REWRITE_ERROR, "wrap-too-large");
	c->header = buf_len(&c->prefix);
	if (buf_puts(&c->prefix, "\r\n") < 0 ||
	    put_wrap_body(&s, boundary, eightbit, &c->prefix) < 0 ||
	    buf_printf(&c->suffix, "\r\n--%s--\r\n", boundary) < 0)
		return rewrite_refuse(c, REWRITE_ERROR, "wrap-too-large");
	c->eightbit = eightbit;
	return REWRITE_OK;
}
