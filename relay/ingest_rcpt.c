// SPDX-License-Identifier: Apache-2.0
/* Recipients: of a user the directory knows, of a return path seal does. */
#include "relay/ingest_priv.h"

#include <string.h>

#include "base/mem.h"
#include "policy/address.h"
#include "relay/phases.h"

enum { RCPT_MS = 5 * 1000 };

static void
rcpt_done(struct ingest_req *r, const struct smtp_rcpt_answer *a)
{
	ingest_rcpt_fn *fn = r->rcpt_fn;
	void *arg = r->arg;

	ingest_req_free(r);
	fn(arg, a);
}

void
ingest_rcpt_unavailable(struct ingest_req *r)
{
	struct smtp_rcpt_answer a = { .verdict = SMTP_RCPT_UNAVAILABLE };

	rcpt_done(r, &a);
}

/* The domain when it sends known users' mail to the primary in standby, owned; or NULL. */
static char *
rcpt_deferring(const struct ingest *g, struct slice address)
{
	size_t at = slice_rfind(address, '@');
	const struct conf_domain *d = at >= address.n ? NULL :
	    conf_domain_find(g->conf, slice_sub(address, at + 1, address.n));

	return d != NULL && d->standby_defer && g->phases != NULL ? mem_str(d->name) : NULL;
}

void
ingest_rcpt(struct ingest *g, bool return_path, struct slice address, ingest_rcpt_fn *fn,
    void *arg, struct ingest_req **out)
{
	struct ingest_req *r = ingest_req_new(g, arg, out);
	struct ipc *ch;
	int sent = -1;

	r->rcpt_fn = fn;
	if (!return_path)
		r->defer = rcpt_deferring(g, address);
	ingest_req_ask(r, return_path ? ASK_SEAL : ASK_DIRECTORY, RCPT_MS);
	if (return_path) {
		struct seal_check q = { .req = r->id, .address = address };

		ch = g->links.any(g->links.arg, ROLE_SEAL, &r->index);
		if (ch != NULL)
			sent = ipc_send(ch, SEAL_CHECK, &seal_check_wire, &q, -1);
	} else {
		struct dir_lookup q = { .req = r->id, .address = address };

		ch = g->links.any(g->links.arg, ROLE_DIRECTORY, &r->index);
		if (ch != NULL)
			sent = ipc_send(ch, DIR_LOOKUP, &dir_lookup_wire, &q, -1);
	}
	if (sent != 0)
		ingest_rcpt_unavailable(r);
}

void
ingest_dir_found(struct ingest *g, const struct dir_found *f)
{
	struct ingest_req *r = ingest_req_find(g, f->req, ASK_DIRECTORY);
	struct smtp_rcpt_answer a = {
		.verdict = SMTP_RCPT_UNAVAILABLE, .user = f->user, .shard = f->shard
	};

	if (r == NULL)
		return;
	if (f->status == DIR_KNOWN && f->user.n > 0)
		a.verdict = r->defer != NULL && phases_standby(g->phases, slice_str(r->defer),
		    f->shard) ? SMTP_RCPT_STANDBY : SMTP_RCPT_KNOWN;
	else if (f->status == DIR_UNKNOWN)
		a.verdict = SMTP_RCPT_UNKNOWN;
	rcpt_done(r, &a);
}

/* -- the sender of an SRS address, 1.2.12 ---------------------------------------- */

static void
sender_answer(struct ingest_req *r, enum smtp_rcpt_verdict v)
{
	const struct smtp_rcpt_answer a = {
		.verdict = v, .return_path = true,
		.bounce = { .kind = BOUNCE_UNREAD, .leg = BOUNCE_LEG_SRS }
	};

	rcpt_done(r, &a);
}

void
ingest_sender_unknown(struct ingest_req *r)
{
	sender_answer(r, SMTP_RCPT_KNOWN);
}

/* A null MX (RFC 7505) is a way that does not exist. */
static bool
has_way(const struct dns_answer *a)
{
	struct slice rrs = a->rrs;
	struct dns_rr rr;

	return wire_item_next(&rrs, &dns_rr_wire, &rr) == 1 && rr.data.n > 0;
}

static bool
has_records(const struct dns_answer *a)
{
	return a->status == DNS_OK && a->rrs.n > 0;
}

/* MX, A, AAAA, in the order they were asked for. Doubt refuses nothing. */
static bool
sender_resolves(struct slice answers)
{
	struct dns_answer a;
	bool any = false;

	while (wire_item_next(&answers, &dns_answer_wire, &a) == 1) {
		if (a.status == DNS_FAIL)
			return true;
		if (a.type == DNS_MX && has_records(&a))
			return has_way(&a);
		any = any || has_records(&a);
	}
	return any;
}

static void
on_sender_resolved(void *arg, struct slice answers)
{
	struct ingest_req *r = arg;

	r->batch = NULL;
	sender_answer(r, sender_resolves(answers) ? SMTP_RCPT_KNOWN : SMTP_RCPT_UNKNOWN);
}

/* The hash does not tell where the host ends and the local part begins, so what it holds for
 * must at least be an address that mail can go to, and not one of ours. */
static void
sender_check(struct ingest_req *r, struct slice original)
{
	static const uint16_t type[] = { DNS_MX, DNS_A, DNS_AAAA };
	const struct conf *c = r->g->conf;
	size_t at = slice_rfind(original, '@');
	char name[DNS_NAME_MAX + 2];
	struct buf wants;

	if (at >= original.n || address_domain_canonical(slice_sub(original, at + 1, original.n),
	    name, sizeof(name)) != 0 || conf_domain_find(c, slice_str(name)) != NULL ||
	    (c->forwarder.domain != NULL && strcmp(name, c->forwarder.domain) == 0)) {
		sender_answer(r, SMTP_RCPT_UNKNOWN);
		return;
	}
	if (r->g->dns == NULL) {
		ingest_sender_unknown(r);
		return;
	}
	buf_init(&wants, 4 * DNS_NAME_MAX);
	for (size_t i = 0; i < sizeof(type) / sizeof(type[0]); i++) {
		const struct dns_want w = { .type = type[i], .name = slice_str(name) };

		(void)!wire_item_put(&wants, &dns_want_wire, &w);
	}
	ingest_req_ask(r, ASK_SENDER, 2 * RCPT_MS);
	r->batch = dns_ask_all(r->g->dns, buf_slice(&wants), RCPT_MS, on_sender_resolved, r);
	buf_fini(&wants);
}

void
ingest_seal_checked(struct ingest *g, const struct seal_checked *c)
{
	struct ingest_req *r = ingest_req_find(g, c->req, ASK_SEAL);
	struct smtp_rcpt_answer a = {
		.verdict = SMTP_RCPT_UNKNOWN, .return_path = true, .token = c->token,
		.bounce = { .kind = BOUNCE_UNREAD, .leg = c->leg, .id = c->id,
			.rcpt_index = c->rcpt_index, .attempt = c->attempt }
	};
	struct slice host;
	uint16_t port;

	if (r == NULL)
		return;
	if (c->status == SEAL_VALID_SRS) {
		sender_check(r, c->original);
		return;
	}
	if (c->leg == BOUNCE_LEG_OTHER_NODE && conf_node_route(g->conf, c->node, &host, &port) == 0) {
		a.bounce.leg = BOUNCE_LEG_NODE;		/* 1.4.4 */
		a.token = c->node;
	}
	if (c->status == SEAL_VALID_OPAQUE || c->status == SEAL_VALID_STOP)
		a.verdict = SMTP_RCPT_KNOWN;
	rcpt_done(r, &a);
}
