// SPDX-License-Identifier: Apache-2.0
#include "policy/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "policy/address.h"
#include "policy/arc_verify.h"
#include "policy/authres.h"
#include "policy/bounce.h"
#include "policy/disposition.h"
#include "policy/dkim.h"
#include "policy/dmarc.h"
#include "policy/dnsview.h"
#include "policy/front_spf.h"
#include "policy/header.h"
#include "policy/iprev.h"
#include "policy/oversign.h"
#include "policy/received.h"
#include "policy/received_spf.h"
#include "policy/spf.h"
#include "policy/triage.h"

enum {
	HOPS_HOLD = 45,		/* spec 9.2: large receivers refuse soon after */
	TRACE_MAX = 16384, CUTS_MAX = 4096, WANTS_MAX = 64 * 1024,	/* as on the wire */
	REPLY_MAX = 512,
	ONCE_MAX = 5
};

/* Spec 3.16. */
static const char *const once_fields[ONCE_MAX] = {
	"From", "To", "Subject", "Date", "Message-ID"
};

#define AUTHRES_NAME "Authentication-Results"
#define RECEIVED_SPF "Received-SPF"

struct evaluate {
	struct spf	*spf;
	struct dkim	*dkim;
	struct arc_verify *arc;
	struct dmarc_author author;
	struct triage	 triage;
	struct dnsview	 view;
	struct authres	 authres;
	struct slice	*names;		/* owned; scratch for a list of the configuration */
	size_t		 names_cap;
	struct buf	 trace, cuts, wants, reply, bounce;
	char		 token[SRS_TOKEN_LEN + 1];	/* that a report brought */
};

/* One message on its way through. */
struct run {
	const struct conf		*conf;
	const struct verify_eval	*in;
	struct slice			 msg;
	struct iprev_ip			 ip;
	struct iprev			 iprev;
	struct spf_output		 spf;
	struct dmarc_output		 dmarc;
	struct scan			*scan;
};

/* What one walk over the header found. */
struct scan {
	unsigned	 received;
	unsigned	 once[ONCE_MAX];	/* how often each of once_fields */
	unsigned	 spf_fields, spf_listed; /* Received-SPF; in the h= of a signature */
	struct front_spf front;		/* what our own front server says (0.5) */
	bool		 loop_tag;
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
	e->arc = arc_verify_new();
	dnsview_init(&e->view);
	authres_init(&e->authres);
	buf_init(&e->trace, TRACE_MAX);
	buf_init(&e->cuts, CUTS_MAX);
	buf_init(&e->wants, WANTS_MAX);
	buf_init(&e->reply, REPLY_MAX);
	buf_init(&e->bounce, ENVELOPE_BOUNCE_MAX);
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
	arc_verify_free(&e->arc);
	free(e->names);
	dnsview_fini(&e->view);
	authres_fini(&e->authres);
	buf_fini(&e->trace);
	buf_fini(&e->cuts);
	buf_fini(&e->wants);
	buf_fini(&e->reply);
	buf_fini(&e->bounce);
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
scan_field(struct evaluate *e, const struct run *r, const struct header_field *f)
{
	struct scan *s = r->scan;

	for (size_t i = 0; i < ONCE_MAX; i++)
		s->once[i] += header_is(f, once_fields[i]);
	if (header_is(f, AUTHRES_NAME))
		front_spf_authres(&s->front, f->value);
	if (header_is(f, "Received")) {
		s->received++;
		front_spf_received(&s->front);
	}
	if (header_is(f, "Delivered-To"))
		s->delivered_to = s->delivered_to || names_rcpt(f->value, r->in->rcpt);
	else if (header_is(f, "X-Fwd-Loop"))
		s->loop_tag = true;
	else if (header_is(f, AUTHRES_NAME) &&
	    authres_is_from(f->value, slice_str(r->conf->authserv_id)))
		add_cut(e, s, f);
	if (!r->conf->received_spf)
		return;
	if (header_is(f, RECEIVED_SPF)) {
		s->spf_fields++;
	} else if (header_is(f, "DKIM-Signature")) {
		unsigned n = oversign_listed(f->value, SLICE_LIT(RECEIVED_SPF));

		s->spf_listed = n > s->spf_listed ? n : s->spf_listed;
	}
}

static void
scan_header(struct evaluate *e, const struct run *r)
{
	struct header_field f;
	struct header h;

	*r->scan = (struct scan){ .received = 0 };
	front_spf_start(&r->scan->front, r->conf->trust_authserv, r->conf->ntrust_authserv,
	    r->in->mail_from);
	buf_clear(&e->cuts);
	dkim_start(e->dkim);
	arc_verify_start(e->arc);
	dmarc_author_start(&e->author);
	triage_start(&e->triage);
	header_start(&h, r->msg);
	while (header_next(&h, &f)) {
		dkim_field(e->dkim, &f);
		arc_verify_field(e->arc, &f);
		dmarc_author_field(&e->author, &f);
		triage_field(&e->triage, &f);
		scan_field(e, r, &f);
	}
	flush_cut(e, r->scan);
	r->scan->body = h.body;
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

static void
put_dmarc(struct authres *a, const struct dmarc_output *d)
{
	authres_result(a, "dmarc", d->result);
	authres_property(a, "header.from", slice_str(d->domain));
	if (d->policy_known && d->result != AUTH_NONE && d->result != AUTH_PERMERROR)
		authres_property(a, "policy.dmarc", slice_str(dmarc_policy_name(d->policy)));
}

static void
put_arc(struct authres *a, const struct arc_verify_result *r, struct slice client_ip)
{
	char oldest[16];

	authres_result(a, "arc", r->result);
	authres_property(a, "smtp.remote-ip", client_ip);
	if (r->result != AUTH_PASS)
		return;
	(void)snprintf(oldest, sizeof(oldest), "%u", r->oldest_pass);
	authres_property(a, "header.oldest-pass", slice_str(oldest));
}

/* Spec 4.4; not where a signer has forbidden it (3.2). */
static int
put_received_spf(struct evaluate *e, const struct run *r)
{
	const struct verify_eval *in = r->in;
	const struct received_spf f = {
		.result = r->spf.result, .helo = r->spf.helo, .client_ip = in->client_ip,
		.envelope_from = in->mail_from, .helo_name = in->helo,
		.receiver = slice_str(r->conf->hostname),
	};

	if (!r->conf->received_spf || r->spf.result == AUTH_UNSET || r->in->trusted ||
	    r->scan->spf_listed > r->scan->spf_fields)
		return 0;
	return received_spf_put(&e->trace, &f);
}

/* Authentication-Results and Received-SPF above Received (spec 3.3): the trace block of
 * this hop. */
static int
put_trace(struct evaluate *e, const struct run *r, struct verify_done *out)
{
	if (authres_end(&e->authres, &out->authres) != 0)
		return -1;
	buf_clear(&e->trace);
	if (buf_puts(&e->trace, AUTHRES_NAME ": ") != 0 ||
	    buf_put_slice(&e->trace, out->authres) != 0 || buf_puts(&e->trace, "\r\n") != 0 ||
	    put_received_spf(e, r) != 0 ||
	    put_received(e, r->conf, r->in, slice_str(r->iprev.name)) != 0)
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

static void
give_up(struct evaluate *e, struct run *r, struct verify_done *out)
{
	start_done(r->in, out);
	out->status = VERIFY_FAILED;
	out->flags = ENV_HOLD_ONLY;
	out->reason = SLICE_LIT("not-evaluated");
	r->spf.result = AUTH_UNSET;
	r->iprev.name[0] = '\0';
	authres_start(&e->authres, slice_str(r->conf->authserv_id));
	if (put_trace(e, r, out) != 0)
		out->authres = out->trace = SLICE_NONE;
}

void
evaluate_failed(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct verify_done *out)
{
	struct scan scan = { .received = 0 };
	struct run r = { .conf = c, .in = in, .scan = &scan };

	give_up(e, &r, out);
}

static void
refuse(struct verify_done *out, const char *text)
{
	out->status = VERIFY_REFUSE;
	out->reason = slice_str(text);
}

/* What no DNS answer can change. False when the message is refused. */
static bool
acceptable(const struct run *r, struct verify_done *out)
{
	const struct scan *s = r->scan;

	if (has_nul(slice_sub(r->msg, 0, s->body)))
		refuse(out, "550 5.6.0 NUL octet in the header");	/* spec 3.11 */
	else if (s->received >= r->conf->received_max)
		refuse(out, "554 5.4.6 Too many hops");			/* spec 9.2 */
	else if (s->too_many_cuts)
		refuse(out, "550 5.6.0 Too many forged " AUTHRES_NAME " fields");
	return out->status == VERIFY_OK;
}

/* Who speaks for this message; what is not decided yet may still pass. */
static struct dmarc_input
dmarc_input(const struct evaluate *e, const struct run *r, bool spf_known,
    struct dmarc_id dkim[DKIM_SIGNATURES_MAX])
{
	struct dmarc_input in = {
		.author = &e->author, .dkim = dkim, .ndkim = dkim_count(e->dkim),
		.spf = { slice_str(r->spf.domain), spf_known ? r->spf.result : AUTH_UNSET },
	};

	for (size_t i = 0; i < in.ndkim; i++) {
		const struct dkim_signature *s = dkim_get(e->dkim, i);

		dkim[i] = (struct dmarc_id){ slice_str(s->domain), s->result };
	}
	return in;
}

/* All that needs DNS, so that one answer brings all of it. True when names are missing. */
static bool
look_up(struct evaluate *e, struct run *r)
{
	struct spf_input spf_in = { &r->ip, r->in->helo, r->in->mail_from };
	int64_t now_s = (int64_t)(r->in->received_ms / 1000);
	struct dmarc_id dkim[DKIM_SIGNATURES_MAX];
	struct dmarc_input in;
	bool spf_known;

	/* 0.5: the address is our own front server's and says nothing about the sender. */
	if (r->in->trusted) {
		r->spf = r->scan->front.out;
	} else {
		spf_check(e->spf, &e->view, &spf_in, &r->spf);
		iprev_check(&e->view, &r->ip, &r->iprev);
	}
	spf_known = e->view.nwant == 0;
	dkim_keys(e->dkim, &e->view, now_s);
	arc_verify_keys(e->arc, &e->view, now_s);
	in = dmarc_input(e, r, spf_known, dkim);
	dmarc_wants(&e->view, &in);
	return e->view.nwant > 0;
}

/* SPF is known here, and all keys are at hand. */
static void
check(struct evaluate *e, struct run *r)
{
	struct dmarc_id dkim[DKIM_SIGNATURES_MAX];
	struct dmarc_input in;

	dkim_check(e->dkim, r->msg);
	arc_verify_check(e->arc, r->msg);
	in = dmarc_input(e, r, true, dkim);
	dmarc_check(&e->view, &in, &r->dmarc);
}

static void
put_results(struct evaluate *e, const struct run *r)
{
	struct authres *a = &e->authres;

	authres_start(a, slice_str(r->conf->authserv_id));
	if (r->iprev.result != AUTH_UNSET) {
		authres_result(a, "iprev", r->iprev.result);
		authres_property(a, "policy.iprev", r->in->client_ip);
	}
	authres_result(a, "spf", r->spf.result);
	authres_property(a, r->spf.helo ? "smtp.helo" : "smtp.mailfrom",
	    slice_str(r->spf.domain));
	put_dkim(a, e->dkim);
	put_dmarc(a, &r->dmarc);
	put_arc(a, arc_verify_result(e->arc), r->in->client_ip);
}

/* What a notification to the sender will hang on (2.3.5). */
static bool
sender_aligned(struct evaluate *e, const struct run *r)
{
	size_t at = slice_rfind(r->in->mail_from, '@');
	struct slice own, author = slice_str(r->dmarc.domain);
	char domain[DNS_NAME_MAX + 2];

	if (r->dmarc.result != AUTH_PASS || at >= r->in->mail_from.n ||
	    address_domain_canonical(slice_sub(r->in->mail_from, at + 1, r->in->mail_from.n),
	    domain, sizeof(domain)) != 0)
		return false;
	if (slice_ieq(slice_str(domain), author))
		return true;
	return dmarc_organizational(&e->view, slice_str(domain), &own) == 0 &&
	    dmarc_organizational(&e->view, author, &author) == 0 && slice_ieq(own, author);
}

static void
tell_results(struct evaluate *e, const struct run *r, struct verify_done *out)
{
	const struct arc_verify_result *arc = arc_verify_result(e->arc);

	out->spf = (uint8_t)r->spf.result;
	out->dkim = (uint8_t)dkim_overall(e->dkim);
	out->iprev = (uint8_t)r->iprev.result;
	out->dmarc = (uint8_t)r->dmarc.result;
	/* "fail" in the field (5.1), but no reason to seal the chain as broken for good */
	out->arc = (uint8_t)(arc->result == AUTH_FAIL && arc->dns ? AUTH_TEMPERROR : arc->result);
	if (r->dmarc.survivable)
		out->flags |= ENV_SURVIVABLE;
	if (sender_aligned(e, r))
		out->flags |= ENV_ALIGNED;
	if (r->dmarc.policy == DMARC_QUARANTINE)
		out->flags |= ENV_QUARANTINE;
	else if (r->dmarc.policy == DMARC_REJECT)
		out->flags |= ENV_REJECT;
	if (dkim_covers(e->dkim, SLICE_LIT("Disposition-Notification-To")))
		out->flags |= ENV_SIGNED_DNT;
	if (dkim_covers(e->dkim, SLICE_LIT("Return-Receipt-To")))
		out->flags |= ENV_SIGNED_RRT;
}

/* -- What becomes of it ---------------------------------------------------------- */

static bool
signed_by_list(const struct evaluate *e, const struct conf *c)
{
	for (size_t i = 0; i < dkim_count(e->dkim); i++) {
		const struct dkim_signature *s = dkim_get(e->dkim, i);

		for (size_t k = 0; s->result == AUTH_PASS && k < c->nknown_list; k++)
			if (slice_ieq(slice_str(s->domain), slice_str(c->known_list[k])))
				return true;
	}
	return false;
}

static bool
sealed_by_trusted(struct evaluate *e, const struct run *r)
{
	const struct conf *c = r->conf;

	if (c->ntrusted_sealer > e->names_cap) {
		e->names_cap = c->ntrusted_sealer;
		e->names = mem_resize(e->names, e->names_cap, sizeof(*e->names));
	}
	for (size_t i = 0; i < c->ntrusted_sealer; i++)
		e->names[i] = slice_str(c->trusted_sealer[i]);
	return arc_verify_trusted(e->arc, e->names, c->ntrusted_sealer,
	    slice_str(r->dmarc.domain)) != 0;
}

/* Spec 6.6, for what fails an enforced policy only. */
static enum dmarc_override
override(struct evaluate *e, const struct run *r)
{
	if (r->dmarc.result == AUTH_PASS || r->dmarc.policy == DMARC_NONE)
		return DMARC_NO_OVERRIDE;
	if (sealed_by_trusted(e, r))
		return DMARC_OVERRIDE_ARC;
	return signed_by_list(e, r->conf) ? DMARC_OVERRIDE_LIST : DMARC_NO_OVERRIDE;
}

static struct triage_verdict
triage(const struct evaluate *e, const struct run *r)
{
	const struct triage_facts f = {
		.dmarc_pass = r->dmarc.result == AUTH_PASS,
		.null_sender = r->in->mail_from.n == 0, .size = r->msg.n, .nrcpt = r->in->nrcpt,
		.author = slice_str(r->dmarc.domain),
		.critical = r->conf->critical_domain, .ncritical = r->conf->ncritical_domain,
	};

	return triage_judge(&e->triage, &f);
}

static struct disposition
disposition(struct evaluate *e, const struct run *r, bool bulk, bool nul)
{
	const struct conf *c = r->conf;
	const struct scan *s = r->scan;
	struct disposition_facts f = {
		.nul = nul, .hops = s->received >= HOPS_HOLD, .delivered_to = s->delivered_to,
		.loop_tag = s->loop_tag,
		/* Taking the forged field out would break a signature that passes (4.3). */
		.forged_signed = s->forged && dkim_covers(e->dkim, SLICE_LIT(AUTHRES_NAME)),
		.null_sender = r->in->mail_from.n == 0, .bulk = bulk,
		.temperror = r->spf.result == AUTH_TEMPERROR ||
		    dkim_overall(e->dkim) == AUTH_TEMPERROR,
		.dmarc = &r->dmarc, .override = override(e, r), .clean = r->in->clean != 0,
		.dmarc_reject = c->dmarc_reject, .forward_bulk = c->forward_bulk,
		.forward_unauthenticated = c->forward_unauthenticated,
		.forward_null_sender = c->forward_null_sender,
	};

	for (size_t i = 0; i < ONCE_MAX; i++)
		f.duplicates = f.duplicates || s->once[i] > 1;
	return disposition_of(&f);
}

/* Spec 6.7: the one refusal for what a message says of itself, where it is asked for. */
static void
refuse_by_policy(struct evaluate *e, const struct run *r, struct verify_done *out)
{
	buf_clear(&e->reply);
	if (buf_printf(&e->reply, "550 5.7.1 Refused by the DMARC policy for %s",
	    r->dmarc.domain) != 0) {
		refuse(out, "550 5.7.1 Refused by DMARC policy");
		return;
	}
	out->status = VERIFY_REFUSE;
	out->reason = buf_slice(&e->reply);
}

/* RFC 8689 3: one field, of which "No" is the only value there is. */
static bool
tls_optional(struct slice msg)
{
	struct header_field f;
	struct header h;
	unsigned n = 0;
	bool no = false;

	header_start(&h, msg);
	while (header_next(&h, &f)) {
		if (!header_is(&f, "TLS-Required"))
			continue;
		n++;
		no = slice_ieq(slice_trim(f.value), SLICE_LIT("No"));
	}
	return n == 1 && no;
}

static void
decide(struct evaluate *e, const struct run *r, struct verify_done *out)
{
	struct triage_verdict t = triage(e, r);
	bool nul = has_nul(slice_sub(r->msg, r->scan->body, r->msg.n));
	struct disposition d = disposition(e, r, t.rule == 5, nul);

	if (has_8bit(r->msg))
		out->flags |= ENV_HAS_8BIT;
	if (nul)
		out->flags |= ENV_HAS_NUL;
	if (r->scan->loop_tag)
		out->flags |= ENV_TAGGED;
	if (tls_optional(r->msg))
		out->flags |= ENV_TLS_OPTIONAL;
	out->cuts = buf_slice(&e->cuts);
	out->triage = t.class;
	out->reason = slice_str(d.rule);
	switch (d.action) {
	case DISPOSITION_FORWARD:
		break;
	case DISPOSITION_FORWARD_LAST:
		out->triage = 3;
		break;
	case DISPOSITION_RECHECK:
		out->flags |= ENV_RECHECK;
		break;
	case DISPOSITION_HOLD:
		out->flags |= ENV_HOLD_ONLY;
		t.rule = 1;		/* T1; the class still orders the replay */
		break;
	case DISPOSITION_REFUSE:
		refuse_by_policy(e, r, out);
		break;
	}
	out->flags |= (uint32_t)t.rule << ENV_TRIAGE_SHIFT;
}

/* -- The whole of it ------------------------------------------------------------- */

void
evaluate_run(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct verify_done *out)
{
	struct scan scan;
	struct run r = {
		.conf = c, .in = in, .msg = msg, .ip = iprev_parse(in->client_ip), .scan = &scan
	};

	start_done(in, out);
	scan_header(e, &r);
	if (!acceptable(&r, out))
		return;
	if (dnsview_load(&e->view, in->answers, in->last != 0) != 0) {
		give_up(e, &r, out);
		return;
	}
	if (!look_up(e, &r))
		check(e, &r);	/* asks for nothing that was not wanted before */
	if (e->view.nwant > 0) {
		buf_clear(&e->wants);
		out->status = VERIFY_WANT;
		if (dnsview_wants(&e->view, &e->wants) != 0)
			give_up(e, &r, out);
		else
			out->wants = buf_slice(&e->wants);
		return;
	}
	put_results(e, &r);
	tell_results(e, &r, out);
	if (put_trace(e, &r, out) != 0) {
		give_up(e, &r, out);
		return;
	}
	decide(e, &r, out);
}

void
evaluate_bounce(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct verify_done *out)
{
	const struct bounce_expect expect = { .token = in->token };
	struct envelope_bounce b = { .kind = BOUNCE_OTHER };
	struct bounce found;

	start_done(in, out);
	bounce_parse(msg, &expect, &found);
	b.kind = (uint8_t)found.kind;
	if (found.kind == BOUNCE_REPORT) {
		b.action = found.leg.action;
		b.status = found.leg.status;
		b.subject = found.leg.subject;
		b.detail = found.leg.detail;
		b.code = found.leg.code;
	}
	buf_clear(&e->bounce);
	buf_clear(&e->trace);
	out->flags = ENV_HOLD_ONLY;
	out->reason = SLICE_LIT("return-path");
	if (wire_put(&e->bounce, &envelope_bounce_wire, &b) != 0 ||
	    put_received(e, c, in, SLICE_NONE) != 0) {
		out->status = VERIFY_FAILED;
		return;
	}
	out->bounce = buf_slice(&e->bounce);
	out->trace = buf_slice(&e->trace);
	if (in->token.n > 0 || found.kind != BOUNCE_REPORT)
		return;
	memcpy(e->token, found.token, sizeof(e->token));
	out->token = slice_str(e->token);
}
