// SPDX-License-Identifier: Apache-2.0
/* Recipients: of a user the directory knows, of a return path seal does. */
#include "relay/ingest_priv.h"

#include "base/mem.h"
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

void
ingest_seal_checked(struct ingest *g, const struct seal_checked *c)
{
	struct ingest_req *r = ingest_req_find(g, c->req, ASK_SEAL);
	struct smtp_rcpt_answer a = {
		.verdict = SMTP_RCPT_UNKNOWN, .return_path = true, .token = c->token,
		.bounce = { .kind = BOUNCE_UNREAD, .leg = c->leg, .id = c->id,
			.rcpt_index = c->rcpt_index, .attempt = c->attempt }
	};

	if (r == NULL)
		return;
	if (c->status == SEAL_VALID_OPAQUE || c->status == SEAL_VALID_SRS ||
	    c->status == SEAL_VALID_STOP)
		a.verdict = SMTP_RCPT_KNOWN;
	rcpt_done(r, &a);
}
