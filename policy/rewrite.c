// SPDX-License-Identifier: Apache-2.0
#include "policy/rewrite_priv.h"

#include "policy/address.h"
#include "policy/dkim_tags.h"
#include "policy/forward.h"
#include "policy/header.h"
#include "policy/mime.h"

enum { SUFFIX_MAX = 256, AUTO_REFUSALS = 3 /* 7.3 */ };

_Static_assert((int)REWRITE_CUTS_MAX == (int)FORWARD_CUTS_MAX, "a forward copy takes them all");

/* Fields that munge adds or takes away. */
enum { F_FROM, F_REPLY_TO, F_AUTHOR, F_X_ORIGINAL, F_RECEIPT, F_RECEIPT_TO };
static const char *const field_name[REWRITE_FIELDS] = {
	"From", "Reply-To", "Author", "X-Original-From",
	"Disposition-Notification-To", "Return-Receipt-To"
};

void
rewrite_copy_init(struct rewrite_copy *c)
{
	*c = (struct rewrite_copy){ .reason = "" };
	buf_init(&c->prefix, REWRITE_PREFIX_MAX);
	buf_init(&c->cuts, REWRITE_CUTS_MAX * 32);
	buf_init(&c->suffix, SUFFIX_MAX);
}

void
rewrite_copy_fini(struct rewrite_copy *c)
{
	buf_fini(&c->prefix);
	buf_fini(&c->cuts);
	buf_fini(&c->suffix);
}

enum rewrite_result
rewrite_refuse(struct rewrite_copy *c, enum rewrite_result r, const char *reason)
{
	buf_clear(&c->prefix);
	buf_clear(&c->cuts);
	buf_clear(&c->suffix);
	c->reason = reason;
	return r;
}

/* --- cuts --- */

/* Not before the last one. */
static void
cuts_add(struct rewrite_cuts *c, uint64_t off, uint64_t len)
{
	struct body_cut *last = c->n > 0 ? &c->run[c->n - 1] : NULL;

	if (len == 0)
		return;
	if (last != NULL && off <= last->off + last->len) {
		if (off + len > last->off + last->len)
			last->len = off + len - last->off;
	} else if (c->n == REWRITE_CUTS_MAX) {
		c->full = true;
	} else {
		c->run[c->n++] = (struct body_cut){ off, len };
	}
}

/* 0, or -1 when the list is not what the queue could have stored. */
static int
cuts_read(struct rewrite_cuts *c, struct slice list, size_t size)
{
	struct body_cut one;
	uint64_t at = 0, end;
	int r;

	while ((r = wire_item_next(&list, &body_cut_wire, &one)) == 1) {
		if (one.off < at || __builtin_add_overflow(one.off, one.len, &end) || end > size)
			return -1;
		cuts_add(c, one.off, one.len);
		at = end;
	}
	return c->full ? -1 : r;
}

static void
cuts_join(struct rewrite_cuts *out, const struct rewrite_cuts *a, const struct rewrite_cuts *b)
{
	size_t i = 0, j = 0;

	*out = (struct rewrite_cuts){ .full = a->full || b->full };
	while (i < a->n || j < b->n) {
		const struct body_cut *next = j == b->n || (i < a->n &&
		    a->run[i].off <= b->run[j].off) ? &a->run[i++] : &b->run[j++];

		cuts_add(out, next->off, next->len);
	}
}

/* The content as it will be sent, has it octets > 127? */
static bool
cuts_leave_8bit(const struct rewrite_cuts *c, struct slice content)
{
	uint64_t at = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (mime_has_8bit(slice_sub(content, at, c->run[i].off)))
			return true;
		at = c->run[i].off + c->run[i].len;
	}
	return mime_has_8bit(slice_sub(content, at, content.n));
}

/* --- looking at the message --- */

/* Is the field inside a run that is not sent? Fields come in order, so each run is looked
 * at once. */
static bool
scan_is_cut(struct rewrite_scan *s, const struct header_field *f)
{
	size_t end = f->off + f->raw.n;
	const struct body_cut *c;

	while (s->at < s->env.n && s->env.run[s->at].off + s->env.run[s->at].len <= f->off)
		s->at++;
	c = &s->env.run[s->at];
	if (s->at == s->env.n || c->off >= end)
		return false;
	if (c->off <= f->off && c->off + c->len >= end)
		return true;
	s->odd = true;
	return false;
}

static void
scan_field(struct rewrite_scan *s, const struct header_field *f)
{
	for (size_t i = 0; i < REWRITE_FIELDS; i++)
		s->occurs[i] += header_is(f, field_name[i]);
	if (s->from.p == NULL && header_is(f, "From"))
		s->from = f->value;
	if (s->subject.p == NULL && header_is(f, "Subject"))
		s->subject = f->value;
}

int
rewrite_scan(struct rewrite_scan *s, const struct rewrite_request *rq)
{
	struct header h;
	struct header_field f;

	*s = (struct rewrite_scan){ .rq = rq };
	if (cuts_read(&s->env, rq->env->cuts, rq->content.n) < 0)
		return -1;
	header_start(&h, rq->content);
	while (header_next(&h, &f))
		if (!scan_is_cut(s, &f))
			scan_field(s, &f);
	return s->odd ? -1 : 0;
}

/* --- common --- */

static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return false;
	return true;
}

static bool
is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < '0' || s.p[i] > '9') && (s.p[i] < 'a' || s.p[i] > 'v'))
			return false;
	return s.n == 0 || s.n == SRS_TOKEN_LEN;
}

const char *
rewrite_check(const struct rewrite_request *rq)
{
	if (!address_domain_valid(rq->domain) || !is_token(rq->token))
		return "bad-return-path";
	if (rq->rcpt->address.n == 0 || rq->rcpt->address.n > 2 * ADDRESS_PATH_MAX ||
	    !is_printable(rq->rcpt->address) || !is_printable(rq->env->mail_from) ||
	    !address_domain_valid(rq->rcpt->domain))
		return "bad-envelope";
	return "";
}

struct slice
rewrite_brand(const struct rewrite_request *rq, struct mime_text *t)
{
	mime_text_start(t, REWRITE_BRAND_MAX);
	mime_text_raw(t, rq->brand);
	if (mime_text_get(t).n == 0)
		mime_text_raw(t, rq->rcpt->domain);
	return mime_text_get(t);
}

bool
rewrite_author(const struct rewrite_scan *s, struct mailbox *m)
{
	return s->from.n <= REWRITE_FROM_MAX && mailbox_first(s->from, m);
}

/* --- munge --- */

/* "<original display or address> via <brand>" (7.3) */
static int
put_munged_from(const struct rewrite_scan *s, struct mailbox *m, struct buf *out)
{
	const struct rewrite_request *rq = s->rq;
	struct mime_text text, brand;
	struct slice name = mime_text_get(&m->name);

	if (buf_puts(out, "From: ") < 0)
		return -1;
	mime_text_start(&text, MIME_TEXT_MAX);
	if (name.n > 0)
		mime_text_raw(&text, name);
	else if (m->nwords == 0)
		mime_text_raw(&text, mime_text_get(&m->address));
	else if (buf_put(out, m->words, m->nwords) < 0 || buf_puts(out, "\r\n ") < 0)
		return -1;	/* nobody here can read them, so they are not touched */
	mime_text_raw(&text, m->nwords > 0 ? SLICE_LIT("via ") : SLICE_LIT(" via "));
	mime_text_raw(&text, rewrite_brand(rq, &brand));
	if (mime_put_phrase(out, mime_text_get(&text)) < 0)
		return -1;
	return buf_printf(out, "\r\n <fwd%s%.*s@%.*s>\r\n", rq->token.n > 0 ? "+" : "",
	    SLICE_FMT(rq->token), SLICE_FMT(rq->domain));
}

/* The value as it was written, folding and all (RFC 9057 3 wants Author identical). */
static int
put_copy(struct buf *out, const char *name, struct slice value)
{
	bool fold = value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t') &&
	    slice_find(value, '\r') > REWRITE_LINE_LONG;

	return buf_printf(out, "%s:%s%.*s\r\n", name, fold ? "\r\n" : "", SLICE_FMT(value));
}

/* A field that is there already is left alone (RFC 9057 3; Reply-To is then the
 * original's by itself). X-Original-From is ours to say. */
static bool
is_added(const struct rewrite_scan *s, size_t field)
{
	return field == F_X_ORIGINAL ||
	    ((field == F_REPLY_TO || field == F_AUTHOR) && s->occurs[field] == 0);
}

/* A signature is broken when it covers a field that goes away, or says of one that we
 * add that there is no more of it (RFC 6376 5.4). */
static bool
is_broken(const struct rewrite_scan *s, struct slice signature)
{
	struct dkim_tags tags;
	struct slice h;
	unsigned listed;

	if (dkim_tags_parse(signature, &tags) < 0)
		return false;	/* it has never been whole */
	h = dkim_tag(&tags, "h");
	for (size_t i = 0; i < REWRITE_FIELDS; i++) {
		listed = dkim_list_count(h, slice_str(field_name[i]));
		if (listed > 0 && (is_added(s, i) ? listed > s->occurs[i] :
		    i == F_FROM || ((i == F_RECEIPT || i == F_RECEIPT_TO) && s->occurs[i] > 0)))
			return true;
	}
	return false;
}

/* 2.3.10: no signature is left to cover a request for a receipt, and answering it would
 * give the recovery address away. */
static bool
is_taken_out(const struct rewrite_scan *s, const struct header_field *f)
{
	if (header_is(f, "DKIM-Signature"))
		return is_broken(s, f->value);
	return header_is(f, field_name[F_FROM]) || header_is(f, field_name[F_RECEIPT]) ||
	    header_is(f, field_name[F_RECEIPT_TO]);
}

static void
munge_cuts(struct rewrite_scan *s, struct rewrite_cuts *all)
{
	struct rewrite_cuts ours = { .n = 0 };
	struct header h;
	struct header_field f;

	s->at = 0;
	header_start(&h, s->rq->content);
	while (header_next(&h, &f))
		if (!scan_is_cut(s, &f) && is_taken_out(s, &f))
			cuts_add(&ours, f.off, f.raw.n);
	cuts_join(all, &s->env, &ours);
}

static int
put_cuts(const struct rewrite_cuts *c, struct buf *out)
{
	for (size_t i = 0; i < c->n; i++)
		if (wire_item_put(out, &body_cut_wire, &c->run[i]) < 0)
			return -1;
	return 0;
}

static int
put_munged_header(const struct rewrite_scan *s, struct mailbox *m, struct buf *out)
{
	if (put_munged_from(s, m, out) < 0)
		return -1;
	if (is_added(s, F_AUTHOR) && put_copy(out, "Author", s->from) < 0)
		return -1;
	if (put_copy(out, "X-Original-From", s->from) < 0)
		return -1;
	return is_added(s, F_REPLY_TO) ? put_copy(out, "Reply-To", s->from) : 0;
}

enum rewrite_result
rewrite_munge(const struct rewrite_request *rq, struct rewrite_copy *c)
{
	const char *bad = rewrite_check(rq);
	struct mailbox author;
	struct rewrite_cuts all;
	struct rewrite_scan s;

	if (bad[0] != '\0')
		return rewrite_refuse(c, REWRITE_ERROR, bad);
	if (rq->env->dmarc != AUTH_PASS || (rq->env->flags & ENV_HOLD_ONLY) != 0)
		return rewrite_refuse(c, REWRITE_HOLD, "munge-unauthenticated");	/* 7.4 */
	if ((rq->env->flags & ENV_HAS_NUL) != 0)
		return rewrite_refuse(c, REWRITE_HOLD, "nul-octet");	/* 3.11 */
	if (rewrite_scan(&s, rq) < 0)
		return rewrite_refuse(c, REWRITE_ERROR, "bad-cuts");
	if (s.occurs[F_FROM] != 1)
		return rewrite_refuse(c, REWRITE_HOLD, "munge-not-one-from");
	if (!rewrite_author(&s, &author))
		return rewrite_refuse(c, REWRITE_HOLD, "munge-no-author");
	munge_cuts(&s, &all);
	if (all.full)
		return rewrite_refuse(c, REWRITE_HOLD, "munge-too-many-cuts");
	if (put_munged_header(&s, &author, &c->prefix) < 0 || put_cuts(&all, &c->cuts) < 0)
		return rewrite_refuse(c, REWRITE_ERROR, "munge-too-large");
	c->header = buf_len(&c->prefix);
	c->eightbit = mime_has_8bit(buf_slice(&c->prefix)) || cuts_leave_8bit(&all, rq->content);
	c->utf8 = (rq->env->flags & ENV_SMTPUTF8) != 0;
	return REWRITE_OK;
}

/* --- which one --- */

bool
rewrite_may_wrap(const struct envelope *env)
{
	if ((env->flags & ENV_HOLD_ONLY) != 0)
		return false;
	return env->dmarc == AUTH_PASS || (env->dmarc == AUTH_NONE &&
	    (env->spf == AUTH_PASS || env->dkim == AUTH_PASS));
}

/* 7.3 for mail that would fail DMARC where it goes. */
static enum rewrite_form
choose_unsurvivable(const struct rewrite_case *c)
{
	switch (c->mode) {
	case REWRITE_AUTO:
		if (c->policy == DMARC_QUARANTINE)
			return REWRITE_AS_MUNGE;
		return c->auth_refusals >= AUTO_REFUSALS && !c->accepted ?
		    REWRITE_AS_MUNGE : REWRITE_AS_IS;
	case REWRITE_MUNGE:
		return REWRITE_AS_MUNGE;
	case REWRITE_WRAP:
		return REWRITE_AS_WRAP;
	case REWRITE_TRY:
		return REWRITE_AS_IS;
	case REWRITE_NEVER:
		break;
	}
	return REWRITE_NOT_AT_ALL;
}

/* The one retry that 8.5 allows; REWRITE_NOT_AT_ALL when there is none. */
static enum rewrite_form
choose_retry(const struct envelope *env, const struct rewrite_case *c)
{
	if (c->transformed || c->mode == REWRITE_NEVER)
		return REWRITE_NOT_AT_ALL;
	if (c->refusal == REWRITE_REFUSED_STRUCTURE)
		return rewrite_may_wrap(env) ? REWRITE_AS_WRAP : REWRITE_NOT_AT_ALL;
	return env->dmarc == AUTH_PASS ? REWRITE_AS_MUNGE : REWRITE_NOT_AT_ALL;
}

enum rewrite_form
rewrite_choose(const struct envelope *env, const struct rewrite_case *c)
{
	if (c->refusal != REWRITE_NOT_REFUSED)
		return choose_retry(env, c);
	if (env->dmarc != AUTH_PASS)
		return REWRITE_AS_IS;	/* 7.2, 7.4; whether it goes at all was decided by 6.5 */
	if (c->marked && c->mode != REWRITE_NEVER)
		return REWRITE_AS_MUNGE;	/* 7.5 */
	if (c->survivable || c->policy == DMARC_NONE)
		return REWRITE_AS_IS;
	return choose_unsurvivable(c);
}
