// SPDX-License-Identifier: Apache-2.0
#include "policy/forward.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/arc_seal.h"
#include "policy/header.h"
#include "policy/oversign.h"

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
enum { TAGS_MAX = 64, SIGNATURE_MAX = 16 * 1024 };

/* What one walk over the header found. Slices point into the content. */
struct scan {
	struct slice		content;
	struct body_cut		cut[FORWARD_CUTS_MAX];
	size_t			ncut;
	struct sign_fields	fields;		/* that are signed, behind one that is empty */
	struct added		add[ADD_MAX];
	size_t			kept;		/* fields that are not cut */
	unsigned		from;
	size_t			body;		/* offset of its first octet */
	bool			junk;		/* a line that is no field ended the header */
	bool			odd;		/* not to be signed: readers would disagree */
	bool			loop;		/* one of our own tags (9.1) */
	unsigned		tags;		/* X-Fwd-Loop fields */
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

/* The tag is of the mailbox, not of the spelling: a copy may come back to an alias. */
static struct slice
loop_address(const struct envelope_rcpt *rcpt)
{
	return rcpt->user.n > 0 ? rcpt->user : rcpt->address;
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

/* Spec 3.2: what a signature, valid or not, says of the fields we want to add. */
static void
scan_signature(struct scan *s, struct slice tags)
{
	for (size_t i = 0; i < ADD_MAX; i++) {
		unsigned n = oversign_listed(tags, slice_str(s->add[i].name));

		if (n > s->add[i].listed)
			s->add[i].listed = n;
	}
}

/* Spec 9.1: one of our copies came back to the one it was made for. */
static bool
is_own_tag(const struct forward_keys *k, const struct envelope_rcpt *rcpt, struct slice value)
{
	char tag[FORWARD_TAG_LEN + 1];

	value = slice_trim(value);
	for (size_t i = 0; value.n == FORWARD_TAG_LEN && i < k->srs.nsecret; i++) {
		forward_loop_tag(k->srs.secret[i], rcpt->domain, loop_address(rcpt), tag);
		if (slice_ieq(value, slice_str(tag)))
			return true;
	}
	return false;
}

static void
scan_field(struct scan *s, const struct forward_keys *k, const struct envelope_rcpt *rcpt,
    const struct header_field *f)
{
	s->kept++;
	s->from += header_is(f, "From");
	for (size_t i = 0; i < ADD_MAX; i++)
		s->add[i].occurs += header_is(f, s->add[i].name);
	if (header_is(f, "DKIM-Signature"))
		scan_signature(s, f->value);
	else if (header_is(f, "X-Fwd-Loop") && s->tags++ < TAGS_MAX)
		s->loop = s->loop || is_own_tag(k, rcpt, f->value);
	/* what ARC signs holds all that DKIM does */
	if (arc_seal_wants(f->name) && sign_fields_add(&s->fields, f->name, f->raw) < 0)
		s->odd = true;
}

static int
scan_content(struct scan *s, const struct forward_keys *k, const struct forward_request *rq)
{
	struct header h;
	struct header_field f;

	s->content = rq->content;
	s->add[ADD_LOOP].name = "X-Fwd-Loop";
	s->add[ADD_FORWARDED_FOR].name = "X-Forwarded-For";
	if (scan_cuts(s, rq->env->cuts) < 0)
		return -1;
	/* the place of our own DKIM-Signature, on top of all */
	if (sign_fields_add(&s->fields, SLICE_NONE, SLICE_NONE) < 0)
		return -1;
	header_start(&h, rq->content);
	while (header_next(&h, &f))
		if (!scan_is_cut(s, &f))
			scan_field(s, k, rq->rcpt, &f);
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

/* Our own signature (3.17), which the seal covers as well (5.6). */
static int
put_dkim(const struct forward_keys *k, struct scan *s, int64_t now_ms,
    const uint8_t hash[SIGN_HASH], struct buf *out)
{
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = k->srs.domain, .selector = k->selector,
		.when = now_ms / 1000, .h = SLICE_LIT(DKIM_NAMES),
	};

	if (k->dkim == NULL)
		return 0;
	if (sign_field(out, k->dkim, &spec, &s->fields, hash) < 0)
		return -1;
	s->fields.field[0] = (struct sign_field){ spec.name, buf_slice(out) };
	return 0;
}

/* Spec 5.2 - 5.8. A copy that cannot be sealed goes out without: nothing depends on it (5.0). */
static enum arc_seal_result
put_seal(const struct forward_keys *k, const struct forward_request *rq, const struct scan *s,
    const uint8_t hash[SIGN_HASH], struct buf *out)
{
	struct arc_seal a = {
		.key = k->arc, .domain = k->srs.domain, .selector = k->arc_selector,
		.when = rq->now_ms / 1000, .chain = (enum auth_result)rq->env->arc,
		.authres = rq->env->authres,
	};

	if (k->arc == NULL || rq->env->authres.n == 0)
		return ARC_NOT_SEALED;
	memcpy(a.body_hash, hash, SIGN_HASH);
	return arc_seal_put(out, &a, &s->fields);
}

/*
 * Seal above signature. Neither without a From field (RFC 6376 5.4 wants it signed), nor
 * where verifiers may not agree with us on where the header ends.
 */
static int
put_signatures(const struct forward_keys *k, const struct forward_request *rq, struct scan *s,
    struct forward_copy *c)
{
	uint8_t hash[SIGN_HASH];
	struct buf dkim;
	int ret = -1;

	if ((k->dkim == NULL && k->arc == NULL) || s->from == 0 || s->junk || s->odd)
		return 0;
	hash_body(s, k->body, hash);
	buf_init(&dkim, SIGNATURE_MAX);
	if (put_dkim(k, s, rq->now_ms, hash, &dkim) == 0) {
		c->sealed = put_seal(k, rq, s, hash, &c->prefix) == ARC_SEALED;
		ret = buf_put_slice(&c->prefix, buf_slice(&dkim));
	}
	s->fields.field[0] = (struct sign_field){ SLICE_NONE, SLICE_NONE };
	buf_fini(&dkim);
	return ret;
}

/* Top to bottom as spec 3.3 has it; signed is what the content is, so that comes last
 * but stands first. No Return-Path: that is for who delivers. */
static int
put_prefix(const struct forward_keys *k, const struct forward_request *rq, struct scan *s,
    struct forward_copy *c)
{
	struct buf *out = &c->prefix;
	char tag[FORWARD_TAG_LEN + 1];

	if (put_signatures(k, rq, s, c) < 0)
		return -1;
	if (k->srs.nsecret > 0 && may_add(s, ADD_LOOP)) {
		forward_loop_tag(k->srs.secret[0], rq->rcpt->domain, loop_address(rq->rcpt), tag);
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
	if (scan_content(&s, k, rq) < 0)
		r = refuse(c, FORWARD_ERROR, "bad-cuts");
	else if (s.loop)
		r = refuse(c, FORWARD_HOLD, "loop");	/* 9.1 */
	else if (put_sender(k, rq, c) < 0)
		r = refuse(c, FORWARD_ERROR, "no-return-path");
	else if (put_prefix(k, rq, &s, c) < 0)
		r = refuse(c, FORWARD_ERROR, "no-header-block");
	sign_fields_fini(&s.fields);
	return r;
}
