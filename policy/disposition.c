// SPDX-License-Identifier: Apache-2.0
#include "policy/disposition.h"

static struct disposition
hold(const char *rule)
{
	return (struct disposition){ DISPOSITION_HOLD, rule };
}

/*
 * Spec 0.4: is it only DNS that keeps it here? DMARC is never a failure then, but may be
 * "none" while the SPF or DKIM that would have authenticated it is not known.
 */
static bool
undecided(const struct disposition_facts *f)
{
	return f->dmarc->result == AUTH_TEMPERROR ||
	    (f->dmarc->result == AUTH_NONE && f->temperror);
}

/*
 * Spec 6.5 - 6.7. A temporary error that would hold it is looked at again; how often is the
 * queue's to count.
 */
static struct disposition
by_dmarc(const struct disposition_facts *f)
{
	const struct dmarc_facts facts = {
		.forward_unauthenticated = f->forward_unauthenticated,
		.override = f->override, .clean = f->clean,
	};
	struct dmarc_disposition d = dmarc_dispose(f->dmarc, &facts);

	switch (d.action) {
	case DMARC_FORWARD:
		return (struct disposition){ DISPOSITION_FORWARD, d.rule };
	case DMARC_FORWARD_LAST:
		return (struct disposition){ DISPOSITION_FORWARD_LAST, d.rule };
	case DMARC_RETRY:
	case DMARC_HOLD_ONLY:
		break;
	}
	if (undecided(f))
		return (struct disposition){ DISPOSITION_RECHECK, "dmarc-temperror" };
	/* Only a clear failure is refused. What may be our own copy on its way back is not: a
	 * 5xx makes the other provider switch the user's forwarding off (9.1). */
	if (f->dmarc_reject && f->dmarc->result == AUTH_FAIL &&
	    f->dmarc->policy == DMARC_REJECT && !f->loop_tag)
		return (struct disposition){ DISPOSITION_REFUSE, d.rule };
	return hold(d.rule);
}

/* Spec 9.5: backscatter goes nowhere. */
static bool
null_sender_stays(const struct disposition_facts *f, enum disposition_action a)
{
	switch (f->forward_null_sender) {
	case NULL_SENDER_AUTHENTICATED:
		return a != DISPOSITION_RECHECK && f->dmarc->result != AUTH_PASS;
	case NULL_SENDER_ALL:
		return false;
	case NULL_SENDER_NONE:
		break;
	}
	return true;
}

struct disposition
disposition_of(const struct disposition_facts *f)
{
	struct disposition d;

	if (f->nul)
		return hold("nul");
	if (f->hops)
		return hold("hops");
	if (f->delivered_to)
		return hold("delivered-to");
	if (f->forged_signed)
		return hold("forged-authres");
	d = by_dmarc(f);
	if (d.action == DISPOSITION_HOLD || d.action == DISPOSITION_REFUSE)
		return d;
	if (d.action != DISPOSITION_RECHECK && f->duplicates && f->dmarc->result != AUTH_PASS)
		return hold("duplicate-fields");
	if (f->null_sender && null_sender_stays(f, d.action))
		return hold("null-sender");
	if (f->bulk && !f->forward_bulk)
		return hold("bulk");
	return d;
}
