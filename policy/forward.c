// SPDX-License-Identifier: Apache-2.0
#include "policy/forward.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/header.h"

/* Spec 3.17. From twice: nobody can put a second one above ours. */
#define DKIM_NAMES \
	"From:From:To:Cc:Subject:Date:Message-ID:MIME-Version:Content-Type:" \
	"Content-Transfer-Encoding"

/* A field that we want to add, unless a signature of the message says it is not there. */
struct added {
	const char	*name;
	unsigned	 occurs;	/* in the message */
	unsigned	 listed;	/* most often in the h= of one DKIM-Signature */
};

enum { ADD_LOOP, ADD_FORWARDED_FOR, ADD_MAX };

/* What one walk over the header found. Slices point into the content. */
struct scan {
	struct slice		content;
	struct body_cut		cut[FORWARD_CUTS_MAX];
	size_t			ncut;
	struct sign_fields	fields;		/* those of DKIM_NAMES */
	struct added		add[ADD_MAX];
	size_t			kept;		/* fields that are not cut */
	unsigned		from;
	size_t			body;		/* offset of its first octet */
	bool			junk;		/* a line that is no field ended the header */
	bool			odd;		/* not to be signed: readers would disagree */
};

void
forward_copy_init(struct forward_copy *c)
{
	*c = (struct forward_copy){ .reason = "" };
	buf_init(&c->mail_from, 2 * ADDRESS_PATH_MAX);
	buf_init(&c->prefix, FORWARD_PREFIX_MAX);
}

void
forward_copy_fini(struct forward_copy *c)
{
	buf_fini(&c->mail_from);
	buf_fini(&c->prefix);
}

void
forward_loop_tag(struct slice secret, struct slice domain, struct slice address,
    char out[FORWARD_TAG_LEN + 1])
{
	/* named, so that no tag can ever be the MAC of something else under this secret */
	static const char what[] = "x-fwd-loop";
	const struct slice part[] = { slice_make(what, sizeof(what)), domain,
		slice_make("", 1), address };
	char text[sizeof(what) + 3 * ADDRESS_PATH_MAX];
	uint8_t mac[32];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		size_t len = part[i].n < sizeof(text) - n ? part[i].n : sizeof(text) - n;

		if (len > 0)
			memcpy(text + n, part[i].p, len);
		n += len;
	}
	bytes_lower(text, n);
	crypto_hmac_sha256(secret, slice_make(text, n), mac);
	crypto_hex(mac, FORWARD_TAG_LEN / 2, out);
}

/* 0, or -1 when the list is not what the queue could have stored. */
static int
scan_cuts(struct scan *s, struct slice list)
{
	struct body_cut c;
	uint64_t at = 0, end;
	int r;

	while ((r = wire_item_next(&list, &body_cut_wire, &c)) == 1) {
		if (s->ncut == FORWARD_CUTS_MAX || c.off < at ||
		    __builtin_add_overflow(c.off, c.len, &end) || end > s->content.n)
			return -1;
		s->cut[s->ncut++] = c;
		at = end;
	}
	return r;
}

/* Is the field inside a run that is not sent? A field of which only a part is cut makes
 * the message odd. */
static bool
scan_is_cut(struct scan *s, const struct header_field *f)
{
	size_t end = f->off + f->raw.n;

	for (size_t i = 0; i < s->ncut && s->cut[i].off < end; i++) {
		uint64_t cut_end = s->cut[i].off + s->cut[i].len;

		if (cut_end <= f->off)
			continue;
		if (s->cut[i].off <= f->off && cut_end >= end)
			return true;
		s->odd = true;
	}
	return false;
}

static bool
name_listed(struct slice name, struct slice list)
{
	while (list.n > 0) {
		size_t end = slice_find(list, ':');

		if (slice_ieq(slice_trim(slice_sub(list, 0, end)), name))
			return true;
		list = slice_sub(list, end + 1, list.n);
	}
	return false;
}

static unsigned
name_count(struct slice name, struct slice list)
{
	unsigned n = 0;

	while (list.n > 0) {
		size_t end = slice_find(list, ':');

		n += slice_ieq(slice_trim(slice_sub(list, 0, end)), name);
		list = slice_sub(list, end + 1, list.n);
	}
	return n;
}

/* Spec 3.2: what a signature, valid or not, says of the fields we want to add. */
static void
scan_signature(struct scan *s, struct slice tags)
{
	while (tags.n > 0) {
		size_t end = slice_find(tags, ';');
		struct slice tag = slice_sub(tags, 0, end);
		size_t eq = slice_find(tag, '=');

		tags = slice_sub(tags, end + 1, tags.n);
		if (eq == tag.n || !slice_eq(slice_trim(slice_sub(tag, 0, eq)), SLICE_LIT("h")))
			continue;
		for (size_t i = 0; i < ADD_MAX; i++) {
			unsigned n = name_count(slice_str(s->add[i].name),
			    slice_sub(tag, eq + 1, tag.n));

			if (n > s->add[i].listed)
				s->add[i].listed = n;
		}
	}
}

static void
scan_field(struct scan *s, const struct header_field *f)
{
	s->kept++;
	s->from += header_is(f, "From");
	for (size_t i = 0; i < ADD_MAX; i++)
		s->add[i].occurs += header_is(f, s->add[i].name);
	if (header_is(f, "DKIM-Signature"))
		scan_signature(s, f->value);
	if (name_listed(f->name, SLICE_LIT(DKIM_NAMES)) &&
	    sign_fields_add(&s->fields, f->name, f->raw) < 0)
		s->odd = true;
}

static int
scan_content(struct scan *s, const struct forward_request *rq)
{
	struct header h;
	struct header_field f;

	s->content = rq->content;
	s->add[ADD_LOOP].name = "X-Fwd-Loop";
	s->add[ADD_FORWARDED_FOR].name = "X-Forwarded-For";
	if (scan_cuts(s, rq->env->cuts) < 0)
		return -1;
	header_start(&h, rq->content);
	while (header_next(&h, &f))
		if (!scan_is_cut(s, &f))
			scan_field(s, &f);
	s->body = h.body;
	s->junk = h.junk;
	return 0;
}

static bool
may_add(const struct scan *s, int which)
{
	return s->add[which].listed <= s->add[which].occurs;
}

/* Addresses come from the disk; what could break a line does not get into a header. */
static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return false;
	return true;
}

static bool
ends_in_crlf(struct slice s)
{
	return s.n >= 2 && s.p[s.n - 2] == '\r' && s.p[s.n - 1] == '\n';
}

/* The body as it will arrive: without the cuts. */
static void
hash_body(const struct scan *s, struct sign_body *b, uint8_t out[SIGN_HASH])
{
	size_t at = s->body;

	sign_body_start(b);
	for (size_t i = 0; i < s->ncut; i++) {
		uint64_t end = s->cut[i].off + s->cut[i].len;

		if (end <= at)
			continue;
		if (s->cut[i].off > at)
			sign_body_put(b, slice_sub(s->content, at, (size_t)s->cut[i].off));
		at = (size_t)end;
	}
	sign_body_put(b, slice_sub(s->content, at, s->content.n));
	sign_body_end(b, out);
}

/*
 * Our own signature (3.17). None without a From field (RFC 6376 5.4 wants it signed) and
 * none where verifiers may not agree with us on where the header ends.
 */
static int
put_signature(const struct forward_keys *k, const struct scan *s, int64_t now_ms,
    struct buf *out)
{
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = k->srs.domain, .selector = k->selector,
		.when = now_ms / 1000, .h = SLICE_LIT(DKIM_NAMES),
	};
	uint8_t hash[SIGN_HASH];

	if (k->dkim == NULL || s->from == 0 || s->junk || s->odd)
		return 0;
	hash_body(s, k->body, hash);
	return sign_field(out, k->dkim, &spec, &s->fields, hash);
}

/* Top to bottom as spec 3.3 has it; what ARC adds goes above the signature (5.2), once
 * everything else is in place. No Return-Path: that is for who delivers. */
static int
put_prefix(const struct forward_keys *k, const struct forward_request *rq,
    const struct scan *s, struct buf *out)
{
	char tag[FORWARD_TAG_LEN + 1];

	if (put_signature(k, s, rq->now_ms, out) < 0)
		return -1;
	if (k->srs.nsecret > 0 && may_add(s, ADD_LOOP)) {
		forward_loop_tag(k->srs.secret[0], rq->rcpt->domain, rq->rcpt->address, tag);
		if (buf_printf(out, "X-Fwd-Loop: %s\r\n", tag) < 0)
			return -1;
	}
	if (buf_printf(out, "Delivered-To: %.*s\r\n", SLICE_FMT(rq->rcpt->address)) < 0)
		return -1;
	if (may_add(s, ADD_FORWARDED_FOR) &&
	    buf_printf(out, "X-Forwarded-For: %.*s\r\n", SLICE_FMT(rq->rcpt->address)) < 0)
		return -1;
	if (buf_put_slice(out, rq->env->trace) < 0)
		return -1;
	/* 3.14: or the first line of the text would be read as one of our fields */
	return s->kept == 0 && s->junk ? buf_puts(out, "\r\n") : 0;
}

static int
put_opaque(const struct forward_keys *k, const struct forward_request *rq,
    struct forward_copy *c)
{
	uint32_t day = srs_day(rq->now_ms);

	/* the token of the leg stays the same over its attempts (1.4.3) */
	if (slice_cstr(rq->token, c->token, sizeof(c->token)) == 0 &&
	    srs_opaque(&k->srs, day, slice_str(c->token), &c->mail_from) == SRS_OK)
		return 0;
	srs_token_new(c->token);
	return srs_opaque(&k->srs, day, slice_str(c->token), &c->mail_from) == SRS_OK ? 0 : -1;
}

/* Spec 1.1. */
static int
put_sender(const struct forward_keys *k, const struct forward_request *rq,
    struct forward_copy *c)
{
	struct slice sender = rq->env->mail_from;
	struct address a;
	enum srs_result r;

	if (sender.n == 0 || rq->mode == RETURN_NULL)
		return 0;
	if (address_parse(sender, true, &a) == 0 && slice_ieq(a.domain, k->srs.domain))
		return buf_put_slice(&c->mail_from, sender);	/* 1.1.4 */
	if (rq->mode == RETURN_SRS) {
		r = srs_forward(&k->srs, srs_day(rq->now_ms), sender, &c->mail_from);
		if (r == SRS_OK || r == SRS_UNCHANGED)
			return 0;
	}
	return put_opaque(k, rq, c);	/* 1.3.2 */
}

static enum forward_result
refuse(struct forward_copy *c, enum forward_result r, const char *reason)
{
	c->reason = reason;
	return r;
}

enum forward_result
forward_build(const struct forward_keys *k, const struct forward_request *rq,
    struct forward_copy *c)
{
	struct scan s = { 0 };
	enum forward_result r = FORWARD_OK;

	if (k->srs.nsecret == 0 && rq->mode != RETURN_NULL)
		return refuse(c, FORWARD_ERROR, "no-secret");
	/* mail that came to a return path is a bounce: for us, not for a user (2.2) */
	if (rq->rcpt->kind == RCPT_RETURN_PATH)
		return refuse(c, FORWARD_HOLD, "return-path");
	if ((rq->env->flags & ENV_HAS_NUL) != 0)
		return refuse(c, FORWARD_HOLD, "nul-octet");	/* 3.11 */
	if (rq->rcpt->address.n == 0 || rq->rcpt->address.n > 2 * ADDRESS_PATH_MAX ||
	    !is_printable(rq->rcpt->address) || !is_printable(rq->env->mail_from) ||
	    (rq->env->trace.n > 0 && !ends_in_crlf(rq->env->trace)))
		return refuse(c, FORWARD_ERROR, "bad-envelope");
	c->cuts = rq->env->cuts;
	if (scan_content(&s, rq) < 0)
		r = refuse(c, FORWARD_ERROR, "bad-cuts");
	else if (put_sender(k, rq, c) < 0)
		r = refuse(c, FORWARD_ERROR, "no-return-path");
	else if (put_prefix(k, rq, &s, &c->prefix) < 0)
		r = refuse(c, FORWARD_ERROR, "no-header-block");
	sign_fields_fini(&s.fields);
	return r;
}
