// SPDX-License-Identifier: Apache-2.0
#include "policy/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "policy/authres.h"
#include "policy/dkim.h"
#include "policy/dnsview.h"
#include "policy/header.h"
#include "policy/iprev.h"
#include "policy/received.h"
#include "policy/spf.h"

enum {
	HOPS_HOLD = 45,		/* spec 9.2: large receivers refuse soon after */
	TRACE_MAX = 16384, CUTS_MAX = 4096, WANTS_MAX = 64 * 1024,	/* as on the wire */
};

#define AUTHRES_NAME "Authentication-Results"

struct evaluate {
	struct spf	*spf;
	struct dkim	*dkim;
	struct dnsview	 view;
	struct authres	 authres;
	struct buf	 trace, cuts, wants;
};

/* What one walk over the header found. */
struct scan {
	unsigned	 received;
	bool		 delivered_to;	/* to this recipient already, spec 9.2 */
	bool		 forged;	/* there were fields in our name */
	bool		 too_many_cuts;
	struct body_cut	 cut;		/* the last one, may still grow */
	size_t		 body;
};

struct evaluate *
evaluate_new(void)
{
	struct evaluate *e = mem_new(sizeof(*e));

	e->spf = spf_new();
	e->dkim = dkim_new();
	dnsview_init(&e->view);
	authres_init(&e->authres);
	buf_init(&e->trace, TRACE_MAX);
	buf_init(&e->cuts, CUTS_MAX);
	buf_init(&e->wants, WANTS_MAX);
	return e;
}

void
evaluate_free(struct evaluate **ep)
{
	struct evaluate *e = *ep;

	if (e == NULL)
		return;
	spf_free(&e->spf);
	dkim_del(&e->dkim);
	dnsview_fini(&e->view);
	authres_fini(&e->authres);
	buf_fini(&e->trace);
	buf_fini(&e->cuts);
	buf_fini(&e->wants);
	free(e);
	*ep = NULL;
}

/* -- The walk -------------------------------------------------------------------- */

static void
flush_cut(struct evaluate *e, struct scan *s)
{
	if (s->cut.len > 0 && wire_item_put(&e->cuts, &body_cut_wire, &s->cut) != 0)
		s->too_many_cuts = true;
	s->cut.len = 0;
}

static void
add_cut(struct evaluate *e, struct scan *s, const struct header_field *f)
{
	s->forged = true;
	if (s->cut.len == 0 || s->cut.off + s->cut.len != f->off) {
		flush_cut(e, s);
		s->cut.off = f->off;
	}
	s->cut.len += f->raw.n;
}

static bool
names_rcpt(struct slice value, struct slice rcpt)
{
	value = slice_trim(value);
	if (value.n > 2 && value.p[0] == '<' && value.p[value.n - 1] == '>')
		value = slice_sub(value, 1, value.n - 1);
	return rcpt.n > 0 && slice_ieq(value, rcpt);
}

static void
scan_header(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct scan *s)
{
	struct header_field f;
	struct header h;

	*s = (struct scan){ .received = 0 };
	buf_clear(&e->cuts);
	dkim_start(e->dkim);
	header_start(&h, msg);
	while (header_next(&h, &f)) {
		dkim_field(e->dkim, &f);
		if (header_is(&f, "Received"))
			s->received++;
		else if (header_is(&f, "Delivered-To"))
			s->delivered_to = s->delivered_to || names_rcpt(f.value, in->rcpt);
		else if (header_is(&f, AUTHRES_NAME) &&
		    authres_is_from(f.value, slice_str(c->authserv_id)))
			add_cut(e, s, &f);
	}
	flush_cut(e, s);
	s->body = h.body;
}

static bool
has_nul(struct slice s)
{
	return s.n > 0 && memchr(s.p, 0, s.n) != NULL;
}

static bool
has_8bit(struct slice s)
{
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		uint64_t w;

		memcpy(&w, s.p + i, 8);
		if ((w & 0x8080808080808080u) != 0)
			return true;
	}
	for (; i < s.n; i++)
		if ((s.p[i] & 0x80) != 0)
			return true;
	return false;
}

/* -- The block on top ------------------------------------------------------------ */

static int
put_received(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice rdns)
{
	struct received r = {
		.id = in->id, .when_ms = (int64_t)in->received_ms, .helo = in->helo, .rdns = rdns,
		.client_ip = in->client_ip, .by = slice_str(c->hostname),
		.protocol = in->protocol, .tls = in->tls, .rcpt = in->rcpt,
	};

	return received_put(&e->trace, &r);
}

static void
put_dkim(struct authres *a, const struct dkim *d)
{
	if (dkim_count(d) == 0)
		authres_result(a, "dkim", AUTH_NONE);
	for (size_t i = 0; i < dkim_count(d); i++) {
		const struct dkim_signature *s = dkim_get(d, i);

		authres_result(a, "dkim", s->result);
		authres_property(a, "header.d", slice_str(s->domain));
		authres_property(a, "header.s", slice_str(s->selector));
		authres_property(a, "header.a", slice_str(s->algorithm));
		authres_property(a, "header.b", slice_make(s->b_start, s->b_show));
	}
}

/* Authentication-Results above Received (spec 3.3): the trace block of this hop. */
static int
put_trace(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice rdns, struct verify_done *out)
{
	if (authres_end(&e->authres, &out->authres) != 0)
		return -1;
	buf_clear(&e->trace);
	if (buf_puts(&e->trace, AUTHRES_NAME ": ") != 0 ||
	    buf_put_slice(&e->trace, out->authres) != 0 || buf_puts(&e->trace, "\r\n") != 0 ||
	    put_received(e, c, in, rdns) != 0)
		return -1;
	out->trace = buf_slice(&e->trace);
	return 0;
}

/* -- The evaluation -------------------------------------------------------------- */

static void
start_done(const struct verify_eval *in, struct verify_done *out)
{
	*out = (struct verify_done){ .req = in->req, .status = VERIFY_OK, .triage = 2 };
}

void
evaluate_failed(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct verify_done *out)
{
	start_done(in, out);
	out->status = VERIFY_FAILED;
	out->flags = ENV_HOLD_ONLY;
	out->reason = SLICE_LIT("not-evaluated");
	authres_start(&e->authres, slice_str(c->authserv_id));
	if (put_trace(e, c, in, SLICE_NONE, out) != 0)
		out->authres = out->trace = SLICE_NONE;
}

static void
refuse(struct verify_done *out, const char *text)
{
	out->status = VERIFY_REFUSE;
	out->reason = slice_str(text);
}

static void
hold(struct verify_done *out, const char *reason)
{
	out->flags |= ENV_HOLD_ONLY;
	if (out->reason.n == 0)
		out->reason = slice_str(reason);
}

/* What no DNS answer can change. False when the message is refused. */
static bool
acceptable(const struct conf *c, struct slice msg, const struct scan *s, struct verify_done *out)
{
	if (has_nul(slice_sub(msg, 0, s->body)))
		refuse(out, "550 5.6.0 NUL octet in the header");	/* spec 3.11 */
	else if (s->received >= c->received_max)
		refuse(out, "554 5.4.6 Too many hops");			/* spec 9.2 */
	else if (s->too_many_cuts)
		refuse(out, "550 5.6.0 Too many forged " AUTHRES_NAME " fields");
	return out->status == VERIFY_OK;
}

/* The seam for DMARC (spec 6) and ARC (spec 5): both see SPF and DKIM results here, may
 * add wants before the verdict, and add their resinfo behind DKIM's. */
static void
evaluate_policies(struct evaluate *e, struct verify_done *out)
{
	(void)e;
	out->dmarc = AUTH_UNSET;
	out->arc = AUTH_UNSET;
}

static void
put_results(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    const struct iprev *iprev, const struct spf_output *spf)
{
	struct authres *a = &e->authres;

	authres_start(a, slice_str(c->authserv_id));
	if (iprev->result != AUTH_UNSET) {
		authres_result(a, "iprev", iprev->result);
		authres_property(a, "policy.iprev", in->client_ip);
	}
	authres_result(a, "spf", spf->result);
	authres_property(a, spf->helo ? "smtp.helo" : "smtp.mailfrom", slice_str(spf->domain));
	put_dkim(a, e->dkim);
}

static void
judge_content(struct evaluate *e, struct slice msg, const struct scan *s, struct verify_done *out)
{
	if (has_8bit(msg))
		out->flags |= ENV_HAS_8BIT;
	if (has_nul(slice_sub(msg, s->body, msg.n))) {
		out->flags |= ENV_HAS_NUL;
		hold(out, "nul");
	}
	if (s->received >= HOPS_HOLD)
		hold(out, "hops");
	if (s->delivered_to)
		hold(out, "delivered-to");
	/* Taking the forged field out would break a signature that passes (spec 4.3). */
	if (s->forged && dkim_covers(e->dkim, SLICE_LIT(AUTHRES_NAME)))
		hold(out, "forged-authres");
	out->cuts = buf_slice(&e->cuts);
}

void
evaluate_run(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct verify_done *out)
{
	struct iprev_ip ip = iprev_parse(in->client_ip);
	struct spf_input spf_in = { &ip, in->helo, in->mail_from };
	struct spf_output spf;
	struct iprev iprev;
	struct scan scan;

	start_done(in, out);
	scan_header(e, c, in, msg, &scan);
	if (!acceptable(c, msg, &scan, out))
		return;
	if (dnsview_load(&e->view, in->answers, in->last != 0) != 0) {
		evaluate_failed(e, c, in, out);
		return;
	}
	iprev_check(&e->view, &ip, &iprev);
	spf_check(e->spf, &e->view, &spf_in, &spf);
	dkim_keys(e->dkim, &e->view, (int64_t)(in->received_ms / 1000));
	if (e->view.nwant > 0) {
		buf_clear(&e->wants);
		out->status = VERIFY_WANT;
		if (dnsview_wants(&e->view, &e->wants) != 0)
			evaluate_failed(e, c, in, out);
		else
			out->wants = buf_slice(&e->wants);
		return;
	}
	dkim_check(e->dkim, msg);
	put_results(e, c, in, &iprev, &spf);
	evaluate_policies(e, out);
	out->spf = (uint8_t)spf.result;
	out->dkim = (uint8_t)dkim_overall(e->dkim);
	out->iprev = (uint8_t)iprev.result;
	if (put_trace(e, c, in, slice_str(iprev.name), out) != 0) {
		evaluate_failed(e, c, in, out);
		return;
	}
	judge_content(e, msg, &scan, out);
}
