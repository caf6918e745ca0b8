// SPDX-License-Identifier: Apache-2.0
/* RCPT: whose is this address, and who has to be asked. */
#include <stdio.h>
#include <stdlib.h>

#include "base/dnsrr.h"
#include "base/mem.h"
#include "policy/srs.h"
#include "policy/stop.h"
#include "relay/smtp_machine_priv.h"
#include "relay/smtp_param.h"

/* Spec 2.2.6: one token a message. What came to a return path is read, not kept; it must
 * be no user's mail. */
#define RETURN_PATH_ALONE	"452 4.5.3 one return path a message, and nobody else"

static uint32_t
rcpt_hash(struct slice s)
{
	uint32_t h = 2166136261u;	/* FNV-1a; a collision only costs a comparison */

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (uint8_t)s.p[i]) * 16777619u;
	return h;
}

/* Named twice, delivered once. */
static bool
machine_has_rcpt(const struct smtp_machine *m, uint32_t hash, const struct envelope_rcpt *r)
{
	struct slice list = buf_slice(&m->rcpts);
	struct envelope_rcpt e;

	for (unsigned i = 0; wire_item_next(&list, &envelope_rcpt_wire, &e) == 1; i++) {
		if (m->rcpt_hash[i] == hash && e.kind == r->kind && slice_eq(e.user, r->user))
			return true;
	}
	return false;
}

static struct smtp_step
machine_rcpt_deferred(struct smtp_machine *m, struct buf *reply, const char *text)
{
	m->rcpt_deferred = true;
	machine_count(m, SMTP_COUNT_RCPT_DEFERRED);
	machine_pending_free(m);
	machine_say(reply, "%s", text);
	return machine_step(m->nrcpt > 0 ? SMTP_RCPT : SMTP_MAIL, SMTP_DO_NOTHING);
}

/* RFC 5321 4.5.3.1.10: the client comes again with the rest. */
static struct smtp_step
machine_rcpt_beyond(struct smtp_machine *m, struct buf *reply)
{
	machine_count(m, SMTP_COUNT_RECIPIENTS);
	return machine_rcpt_deferred(m, reply, "452 4.5.3 too many recipients");
}

static struct smtp_step
machine_rcpt_refused(struct smtp_machine *m, struct buf *reply, const char *text)
{
	m->rcpt_refused = true;
	machine_count(m, SMTP_COUNT_RCPT_REFUSED);
	machine_pending_free(m);
	if (++m->refusals > m->conf->refusals_max && !m->front)
		return machine_enough(m, SMTP_COUNT_REFUSALS, reply);
	machine_say(reply, "%s", text);
	return machine_step(m->nrcpt > 0 ? SMTP_RCPT : SMTP_MAIL, SMTP_DO_NOTHING);
}

static bool
machine_add_rcpt(struct smtp_machine *m, const struct envelope_rcpt *r)
{
	uint32_t hash = rcpt_hash(r->user);

	if (m->nrcpt > 0 && machine_has_rcpt(m, hash, r))
		return true;
	if (wire_item_put(&m->rcpts, &envelope_rcpt_wire, r) != 0)
		return false;
	if (m->nrcpt == m->rcpt_room) {
		m->rcpt_room = m->rcpt_room == 0 ? 4 : 2 * m->rcpt_room;
		m->rcpt_hash = mem_resize(m->rcpt_hash, m->rcpt_room, sizeof(uint32_t));
	}
	m->rcpt_hash[m->nrcpt++] = hash;
	return true;
}

/* postmaster or abuse that is nobody's mailbox: the operator's (RFC 5321 4.5.1). */
static bool
machine_add_role(struct smtp_machine *m)
{
	struct slice box = slice_str(m->pending->address);
	struct slice domain = slice_str(m->pending->domain);
	struct envelope_rcpt r = {
		.kind = RCPT_POSTMASTER, .notify = m->pending->notify, .address = box,
		.orcpt = slice_str(m->pending->orcpt)
	};
	struct buf user;
	bool ok;

	if (domain.n == 0)
		domain = slice_str(m->conf->hostname);
	buf_init(&user, ADDRESS_PATH_MAX * 2);
	ok = buf_put_slice(&user, slice_sub(box, 0, slice_rfind(box, '@'))) == 0;
	bytes_lower(user.p, ok ? buf_len(&user) : 0);
	ok = ok && buf_put(&user, "@", 1) == 0 && buf_put_slice(&user, domain) == 0;
	r.user = buf_slice(&user);
	r.domain = domain;
	ok = ok && machine_add_rcpt(m, &r);
	buf_fini(&user);
	return ok;
}

static struct smtp_step
machine_rcpt_added(struct smtp_machine *m, bool added, struct buf *reply)
{
	if (!added)
		return machine_rcpt_beyond(m, reply);
	machine_pending_free(m);
	m->taken++;
	machine_count(m, SMTP_COUNT_RCPT_TAKEN);
	machine_say(reply, "250 2.1.5 recipient taken");
	return machine_step(SMTP_RCPT, SMTP_DO_NOTHING);
}

/* Bounces use the null sender (spec 2.2.2, RFC 5321 6.1), as automatic answers do; nobody who
 * means to stop his copies has none (12.3). */
static struct smtp_step
machine_route_return(struct smtp_machine *m, struct slice local, struct buf *reply)
{
	bool null = m->mail_from[0] == '\0';

	if (stop_is(local) && null)
		return machine_rcpt_refused(m, reply,
		    "550 5.7.1 this address takes no delivery reports and no automatic answers");
	if (!stop_is(local) && !null && !m->conf->forwarder.nonnull_bounces)
		return machine_rcpt_refused(m, reply, srs_is(local) ||
		    slice_find(local, '"') < local.n ?
		    "550 5.7.1 this address takes delivery reports only" :
		    "550 5.1.1 no such user here");	/* whoever asks (2.2.1) */
	return machine_step(SMTP_WAIT_RCPT, SMTP_DO_SEAL);
}

/* Who decides about this recipient? Anything that is not ours is relaying (never an
 * open relay). */
static struct smtp_step
machine_route_rcpt(struct smtp_machine *m, const struct address *a, struct buf *reply)
{
	const struct conf *c = m->conf;
	struct slice domain = slice_str(m->pending->domain);

	if (domain.n == 0 || (slice_ieq(domain, slice_str(c->hostname)) &&
	    conf_domain_find(c, domain) == NULL)) {
		if (!m->pending->role)
			return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
		return machine_rcpt_added(m, machine_add_role(m), reply);
	}
	if (c->forwarder.domain != NULL && slice_ieq(domain, slice_str(c->forwarder.domain))) {
		if (m->pending->role)
			return machine_rcpt_added(m, machine_add_role(m), reply);
		if (m->nrcpt > 0)
			return machine_rcpt_deferred(m, reply, RETURN_PATH_ALONE);
		return machine_route_return(m, a->local, reply);
	}
	if (a->literal || conf_domain_find(c, domain) == NULL)
		return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
	return machine_step(SMTP_WAIT_RCPT, SMTP_DO_DIRECTORY);
}

static struct smtp_step
machine_rcpt_listed(struct smtp_machine *m, struct buf *reply)
{
	char text[DNS_NAME_MAX + 64];

	(void)snprintf(text, sizeof(text), "%s your address is listed by %s",
	    m->conf->blocklist_refuse ? "550 5.7.1" : "451 4.7.1", m->listed);
	return m->conf->blocklist_refuse ? machine_rcpt_refused(m, reply, text) :
	    machine_rcpt_deferred(m, reply, text);
}

struct smtp_step
machine_cmd_rcpt(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	struct smtp_rcpt_params p;
	struct address a;
	struct slice box, rest;

	if (!slice_istarts(arg, SLICE_LIT("TO:")))
		return machine_wrong(m, st, reply, "501 5.5.4 RCPT TO:<address> is meant");
	if (!machine_path(arg, SLICE_LIT("TO:"), &a, &box, &rest) || box.n == 0)
		return machine_wrong(m, st, reply, "501 5.1.3 this is not an address");
	switch (smtp_rcpt_params(rest, m->utf8, &p)) {
	case SMTP_PARAM_OK:
		break;
	case SMTP_PARAM_UNKNOWN:
		return machine_wrong(m, st, reply, "555 5.5.4 unknown parameter");
	case SMTP_PARAM_BAD:
	case SMTP_PARAM_TOO_BIG:
		return machine_wrong(m, st, reply, "501 5.5.4 bad parameter value");
	}
	if (a.utf8 && !m->utf8)
		return machine_wrong(m, st, reply, "553 5.6.7 this address needs SMTPUTF8");
	if (m->to_return_path)
		return machine_rcpt_deferred(m, reply, RETURN_PATH_ALONE);
	if ((m->lmtp ? m->taken : m->nrcpt) >= machine_rcpt_max(m))
		return machine_rcpt_beyond(m, reply);
	machine_pending_free(m);
	m->pending = mem_new(sizeof(*m->pending));
	m->pending->address = slice_dup(box);
	m->pending->orcpt = slice_dup(slice_str(p.orcpt));
	m->pending->notify = p.notify;
	m->pending->role = slice_ieq(a.local, SLICE_LIT("postmaster")) ||
	    slice_ieq(a.local, SLICE_LIT("abuse"));
	if (m->listed != NULL && !m->pending->role)
		return machine_rcpt_listed(m, reply);
	if (a.domain.n > 0 && !a.literal && address_domain_canonical(a.domain,
	    m->pending->domain, sizeof(m->pending->domain)) != 0)
		return machine_rcpt_refused(m, reply, "550 5.1.2 no such domain");
	if (a.literal)
		return machine_rcpt_refused(m, reply, "550 5.7.1 relaying denied");
	return machine_route_rcpt(m, &a, reply);
}

static struct smtp_step
machine_rcpt_known(struct smtp_machine *m, const struct smtp_rcpt_answer *a, struct buf *reply)
{
	struct envelope_rcpt r = {
		.kind = a->return_path ? RCPT_RETURN_PATH : RCPT_USER,
		.notify = m->pending->notify,
		.address = slice_str(m->pending->address),
		.user = a->return_path ? slice_str(m->pending->address) : a->user,
		.domain = slice_str(m->pending->domain),
		.shard = a->shard,
		.orcpt = slice_str(m->pending->orcpt),
		.token = a->token,
	};

	m->to_return_path = a->return_path;
	m->bounce = a->bounce;
	if (a->return_path && a->bounce.leg == BOUNCE_LEG_STOP)
		m->mail_from[0] = '\0';	/* mostly the recovery address: for no log, no disk (P4) */
	return machine_rcpt_added(m, machine_add_rcpt(m, &r), reply);
}

struct smtp_step
smtp_machine_rcpt(struct smtp_machine *m, const struct smtp_rcpt_answer *a, struct buf *reply)
{
	CHECK(m->pending != NULL);
	switch (a->verdict) {
	case SMTP_RCPT_KNOWN:
		return machine_rcpt_known(m, a, reply);
	case SMTP_RCPT_UNKNOWN:
		if (m->pending->role)
			return machine_rcpt_added(m, machine_add_role(m), reply);
		return machine_rcpt_refused(m, reply, "550 5.1.1 no such user here");
	case SMTP_RCPT_GREYLISTED:
		return machine_rcpt_deferred(m, reply, "451 4.7.1 come back in some minutes");
	case SMTP_RCPT_STANDBY:
		/* Our own fronts come here because they know better. */
		if (m->front)
			return machine_rcpt_known(m, a, reply);
		return machine_rcpt_deferred(m, reply, "451 4.3.2 use the primary MX");
	case SMTP_RCPT_UNAVAILABLE:
		break;
	}
	return machine_rcpt_deferred(m, reply, "451 4.3.0 cannot tell now, try again later");
}
