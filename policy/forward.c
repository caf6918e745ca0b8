// SPDX-License-Identifier: Apache-2.0
#include "policy/forward_priv.h"

#include "base/mem.h"
#include "policy/address.h"

void
forward_copy_init(struct forward_copy *c)
{
	*c = (struct forward_copy){ .reason = "", .form = "" };
	buf_init(&c->mail_from, 2 * ADDRESS_PATH_MAX);
	buf_init(&c->prefix, FORWARD_PREFIX_MAX);
	buf_init(&c->cuts, FORWARD_CUTS_MAX * 32);
	buf_init(&c->suffix, FORWARD_SUFFIX_MAX);
}

void
forward_copy_fini(struct forward_copy *c)
{
	buf_fini(&c->mail_from);
	buf_fini(&c->prefix);
	buf_fini(&c->cuts);
	buf_fini(&c->suffix);
}

/* --- the envelope sender --- */

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
	if (rq->mode == RETURN_SRS && !rq->local) {
		r = srs_forward(&k->srs, srs_day(rq->now_ms), sender, &c->mail_from);
		if (r == SRS_OK || r == SRS_UNCHANGED) {
			if (slice_cstr(rq->token, c->token, sizeof(c->token)) < 0)
				c->token[0] = '\0';
			return 0;
		}
	}
	return put_opaque(k, rq, c);	/* 1.3.2 */
}

/* --- the block on top --- */

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

/* The fields that are about this copy, in the order of 3.3. No Return-Path: that is for
 * who delivers. */
static int
put_about(const struct forward_scan *s, struct buf *out)
{
	const struct forward_keys *k = s->keys;
	const struct envelope_rcpt *rcpt = s->rq->rcpt;

	if (k->srs.nsecret > 0 && forward_may_add(s, FORWARD_ADD_LOOP) &&
	    forward_tag_put(k, s->rq, s->message_id, out) < 0)
		return -1;
	if (buf_printf(out, "Delivered-To: %.*s\r\n", SLICE_FMT(rcpt->address)) < 0)
		return -1;
	return !forward_may_add(s, FORWARD_ADD_FORWARDED_FOR) ? 0 :
	    buf_printf(out, "X-Forwarded-For: %.*s\r\n", SLICE_FMT(rcpt->address));
}

static int
put_cuts(const struct forward_scan *s, struct buf *out)
{
	for (size_t i = 0; i < s->ncut; i++)
		if (wire_item_put(out, &body_cut_wire, &s->cut[i]) < 0)
			return -1;
	return 0;
}

static enum forward_result
refuse(struct forward_copy *c, enum forward_result r, const char *reason)
{
	c->reason = reason;
	return r;
}

/* --- the forms of a copy --- */

/* The message as it is. What is signed is what arrives, so signatures come last, but stand
 * first (3.3). */
static enum forward_result
build_as_is(struct forward_scan *s, struct forward_copy *c)
{
	struct buf *out = &c->prefix;

	if (forward_sign(s, true, c) < 0 || put_about(s, out) < 0 ||
	    buf_put_slice(out, s->rq->env->trace) < 0)
		return refuse(c, FORWARD_ERROR, "no-header-block");
	/* 3.14: or the first line of the text would be read as one of our fields */
	if (s->kept == 0 && s->junk && buf_puts(out, "\r\n") < 0)
		return refuse(c, FORWARD_ERROR, "no-header-block");
	return put_cuts(s, &c->cuts) < 0 ? refuse(c, FORWARD_ERROR, "no-cuts") : FORWARD_OK;
}

/* With From replaced; our block goes above, the rest of the header on below (7.3). */
static enum forward_result
build_munged(struct forward_scan *s, const struct rewrite_copy *rw, struct forward_copy *c)
{
	forward_scan_start(s, s->keys, s->rq);
	forward_scan_header(s, buf_slice(&rw->prefix));
	if (forward_scan_content(s, buf_slice(&rw->cuts)) < 0)
		return refuse(c, FORWARD_ERROR, "bad-cuts");
	if (forward_sign(s, true, c) < 0 || put_about(s, &c->prefix) < 0 ||
	    buf_put_slice(&c->prefix, s->rq->env->trace) < 0 ||
	    buf_put_slice(&c->prefix, buf_slice(&rw->prefix)) < 0)
		return refuse(c, FORWARD_ERROR, "no-header-block");
	c->form = "munge";
	return put_cuts(s, &c->cuts) < 0 ? refuse(c, FORWARD_ERROR, "no-cuts") : FORWARD_OK;
}

/* The untouched message inside of one of ours. That one is new: it has no way behind it to
 * tell of, and no chain. */
static enum forward_result
build_wrapped(struct forward_scan *s, const struct rewrite_copy *rw, struct forward_copy *c)
{
	struct slice all = buf_slice(&rw->prefix);

	forward_scan_start(s, s->keys, s->rq);
	forward_scan_header(s, slice_sub(all, 0, rw->header));
	s->body_head = slice_sub(all, rw->header + 2, all.n);	/* behind the empty line */
	s->body_tail = buf_slice(&rw->suffix);
	if (forward_sign(s, false, c) < 0 || put_about(s, &c->prefix) < 0 ||
	    buf_put_slice(&c->prefix, all) < 0 ||
	    buf_put_slice(&c->suffix, s->body_tail) < 0)
		return refuse(c, FORWARD_ERROR, "no-header-block");
	c->form = "wrap";
	return FORWARD_OK;
}

static enum forward_result
build_rewritten(struct forward_scan *s, enum rewrite_form form, struct forward_copy *c)
{
	const struct forward_request *rq = s->rq;
	const struct rewrite_request ask = {
		.env = rq->env, .rcpt = rq->rcpt, .content = rq->content,
		.domain = s->keys->srs.domain, .brand = rq->brand, .token = slice_str(c->token),
		.now_ms = rq->now_ms,
	};
	enum forward_result r = FORWARD_ERROR;
	enum rewrite_result done;
	struct rewrite_copy rw;

	/* the author's place would be taken by an address that does not exist */
	if (s->keys->srs.domain.n == 0)
		return refuse(c, FORWARD_HOLD, "no-forwarder");
	rewrite_copy_init(&rw);
	done = form == REWRITE_AS_MUNGE ? rewrite_munge(&ask, &rw) : rewrite_wrap(&ask, &rw);
	switch (done) {
	case REWRITE_OK:
		r = form == REWRITE_AS_MUNGE ? build_munged(s, &rw, c) : build_wrapped(s, &rw, c);
		break;
	case REWRITE_HOLD:
		r = refuse(c, FORWARD_HOLD, rw.reason);
		break;
	case REWRITE_ERROR:
		r = refuse(c, FORWARD_ERROR, rw.reason);
		break;
	}
	rewrite_copy_fini(&rw);
	return r;
}

/* Spec 7.1 - 7.6: as far as is known now. */
static enum rewrite_form
choose_form(const struct forward_request *rq)
{
	struct rewrite_case c = rq->form;
	uint32_t flags = rq->env->flags;

	c.survivable = (flags & ENV_SURVIVABLE) != 0;
	c.policy = (flags & ENV_REJECT) != 0 ? DMARC_REJECT :
	    (flags & ENV_QUARANTINE) != 0 ? DMARC_QUARANTINE : DMARC_NONE;
	return rewrite_choose(rq->env, &c);
}

static enum forward_result
build_form(struct forward_scan *s, struct forward_copy *c)
{
	enum rewrite_form form = choose_form(s->rq);

	switch (form) {
	case REWRITE_AS_IS:
		return build_as_is(s, c);
	case REWRITE_AS_MUNGE:
	case REWRITE_AS_WRAP:
		return build_rewritten(s, form, c);
	case REWRITE_NOT_AT_ALL:
		break;
	}
	return refuse(c, FORWARD_HOLD, "unsurvivable");
}

enum forward_result
forward_build(const struct forward_keys *k, const struct forward_request *rq,
    struct forward_copy *c)
{
	struct forward_scan s = { 0 };
	enum forward_result r;

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
	forward_scan_start(&s, k, rq);
	if (forward_scan_content(&s, rq->env->cuts) < 0)
		r = refuse(c, FORWARD_ERROR, "bad-cuts");
	else if (s.full)
		r = refuse(c, FORWARD_HOLD, "too-many-cuts");
	else if (s.loop)
		r = refuse(c, FORWARD_HOLD, "loop");	/* 9.1 */
	else if (put_sender(k, rq, c) < 0)
		r = refuse(c, FORWARD_ERROR, "no-return-path");
	else
		r = build_form(&s, c);
	c->receipts = s.receipts;
	forward_scan_fini(&s);
	return r;
}
