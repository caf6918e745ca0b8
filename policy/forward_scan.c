// SPDX-License-Identifier: Apache-2.0
#include "policy/arc_seal.h"
#include "policy/forward_priv.h"
#include "policy/oversign.h"


void
forward_scan_start(struct forward_scan *s, const struct forward_keys *k,
    const struct forward_request *rq)
{
	sign_fields_fini(&s->fields);
	*s = (struct forward_scan){ .keys = k, .rq = rq };
	s->add[FORWARD_ADD_LOOP].name = "X-Fwd-Loop";
	s->add[FORWARD_ADD_FORWARDED_FOR].name = "X-Forwarded-For";
	/* the place of our own DKIM-Signature, on top of all */
	if (sign_fields_add(&s->fields, SLICE_NONE, SLICE_NONE) < 0)
		s->odd = true;
}

void
forward_scan_fini(struct forward_scan *s)
{
	sign_fields_fini(&s->fields);
}

bool
forward_may_add(const struct forward_scan *s, int which)
{
	return s->add[which].listed <= s->add[which].occurs;
}

/* --- cuts --- */

/* 0, or -1 when the list is not what the queue could have stored. */
static int
read_cuts(struct forward_scan *s, struct slice list)
{
	struct body_cut c;
	uint64_t at = 0, end;
	int r;

	while ((r = wire_item_next(&list, &body_cut_wire, &c)) == 1) {
		if (s->ncut == FORWARD_CUTS_MAX || c.off < at ||
		    __builtin_add_overflow(c.off, c.len, &end) || end > s->rq->content.n)
			return -1;
		s->cut[s->ncut++] = c;
		at = end;
	}
	return r;
}

/* A field of its own, not inside of any other cut. Those behind it move up. */
static void
add_cut(struct forward_scan *s, const struct header_field *f)
{
	size_t i = s->ncut;

	if (s->ncut == FORWARD_CUTS_MAX) {
		s->full = true;
		return;
	}
	for (; i > 0 && s->cut[i - 1].off > f->off; i--)
		s->cut[i] = s->cut[i - 1];
	s->cut[i] = (struct body_cut){ f->off, f->raw.n };
	s->ncut++;
}

/* Is the field inside a run that is not sent? A field of which only a part is cut makes
 * the message odd. */
static bool
is_cut(struct forward_scan *s, const struct header_field *f)
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

/* --- fields --- */

/* Spec 3.2: what a signature, valid or not, says of the fields we want to add. */
static void
read_signature(struct forward_scan *s, struct slice tags)
{
	for (size_t i = 0; i < FORWARD_ADD_MAX; i++) {
		unsigned n = oversign_listed(tags, slice_str(s->add[i].name));

		if (n > s->add[i].listed)
			s->add[i].listed = n;
	}
}

/* Spec 2.3.10: a request for a receipt makes the recovery mailbox answer the sender. */
static bool
is_receipt(struct forward_scan *s, const struct header_field *f)
{
	uint32_t signed_by = 0;

	if (header_is(f, "Disposition-Notification-To"))
		signed_by = ENV_SIGNED_DNT;
	else if (header_is(f, "Return-Receipt-To"))
		signed_by = ENV_SIGNED_RRT;
	if (signed_by == 0)
		return false;
	if ((s->rq->env->flags & signed_by) == 0)
		return true;
	s->receipts++;		/* taking it out would break the signature */
	return false;
}

static void
read_field(struct forward_scan *s, const struct header_field *f)
{
	s->kept++;
	s->from += header_is(f, "From");
	for (size_t i = 0; i < FORWARD_ADD_MAX; i++)
		s->add[i].occurs += header_is(f, s->add[i].name);
	if (header_is(f, "DKIM-Signature"))
		read_signature(s, f->value);
	else if (header_is(f, "X-Fwd-Loop") && s->tags++ < FORWARD_TAGS_MAX)
		s->loop = s->loop || forward_tag_is_own(s->keys, s->rq->rcpt, f->value);
	else if (header_is(f, "Message-ID") && s->message_id.n == 0)
		s->message_id = slice_trim(f->value);
	/* what ARC signs holds all that DKIM does */
	if (arc_seal_wants(f->name) && sign_fields_add(&s->fields, f->name, f->raw) < 0)
		s->odd = true;
}

void
forward_scan_header(struct forward_scan *s, struct slice text)
{
	struct header h;
	struct header_field f;

	header_start(&h, text);
	while (header_next(&h, &f))
		read_field(s, &f);
}

int
forward_scan_content(struct forward_scan *s, struct slice cuts)
{
	struct header h;
	struct header_field f;

	if (read_cuts(s, cuts) < 0)
		return -1;
	header_start(&h, s->rq->content);
	while (header_next(&h, &f)) {
		if (is_cut(s, &f))
			continue;
		if (is_receipt(s, &f))
			add_cut(s, &f);
		else
			read_field(s, &f);
	}
	s->body = h.body;
	s->junk = h.junk;
	return 0;
}
