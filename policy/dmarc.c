// SPDX-License-Identifier: Apache-2.0
#include "policy/dmarc.h"

#include "policy/address.h"

#define PREFIX "_dmarc."

/* One name of a walk. */
struct step {
	struct slice	name;
	int		status;		/* as dnsview_ask says */
	bool		found;		/* exactly one record there */
	struct dmarc_record record;
};

struct walk {
	struct step	step[DMARC_QUERIES_MAX];
	size_t		n;		/* up to where it stopped */
	bool		open;		/* a step is missing or failed */
};

/* -- The walk -------------------------------------------------------------------- */

static size_t
count_labels(struct slice name)
{
	size_t n = 1;

	for (size_t i = 0; i < name.n; i++)
		n += name.p[i] == '.';
	return n;
}

/* The rightmost labels. */
static struct slice
suffix(struct slice name, size_t labels)
{
	for (size_t n = count_labels(name); n > labels; n--)
		name = slice_sub(name, slice_find(name, '.') + 1, name.n);
	return name;
}

size_t
dmarc_walk_names(struct slice domain, struct slice names[DMARC_QUERIES_MAX])
{
	size_t labels = count_labels(domain), n = 0;

	names[n++] = domain;
	if (labels > DMARC_QUERIES_MAX)
		labels = DMARC_QUERIES_MAX;
	while (--labels > 0)
		names[n++] = suffix(domain, labels);
	return n;
}

/* RFC 9989 4.10, steps 2 and 6: of several records none counts. */
static bool
one_record(struct slice rrs, struct dmarc_record *out)
{
	struct dmarc_record r;
	struct dns_rr rr;
	unsigned n = 0;

	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		if (dmarc_record_parse(rr.data, &r) != 0)
			continue;
		*out = r;
		n++;
	}
	return n == 1;
}

static int
ask(struct dnsview *v, struct slice domain, struct slice *rrs)
{
	char name[sizeof(PREFIX) + DNS_NAME_MAX];
	size_t n = sizeof(PREFIX) - 1;

	*rrs = SLICE_NONE;
	if (domain.n > DNS_NAME_MAX)
		return DNS_NXDOMAIN;
	memcpy(name, PREFIX, n);
	if (domain.n > 0)
		memcpy(name + n, domain.p, domain.n);
	return dnsview_ask(v, DNS_TXT, slice_make(name, n + domain.n), rrs);
}

/* Goes on past what is missing, so that all of the walk is wanted at once. */
static void
walk_tree(struct dnsview *v, struct slice domain, struct walk *w)
{
	struct slice names[DMARC_QUERIES_MAX], rrs;
	size_t n = dmarc_walk_names(domain, names);

	w->open = false;
	for (w->n = 0; w->n < n;) {
		struct step *s = &w->step[w->n++];

		s->name = names[w->n - 1];
		s->status = ask(v, s->name, &rrs);
		s->found = s->status == DNS_OK && one_record(rrs, &s->record);
		w->open = w->open || s->status == DNSVIEW_MISS || s->status == DNS_FAIL;
		if (s->found && s->record.psd != DMARC_PSD_UNKNOWN)
			break;
	}
}

/* RFC 9989 4.10.2. *psd is the step of a public suffix above it, NULL if none was met. */
static struct slice
organizational(const struct walk *w, const struct step **psd)
{
	struct slice start = w->step[0].name, org = start;
	const struct step *s;

	*psd = NULL;
	for (size_t i = 0; i < w->n; i++) {
		s = &w->step[i];
		if (!s->found)
			continue;
		if (s->record.psd == DMARC_PSD_YES && i > 0) {
			*psd = s;
			return suffix(start, count_labels(s->name) + 1);
		}
		org = s->name;		/* the last one has the fewest labels */
	}
	return org;
}

int
dmarc_organizational(struct dnsview *v, struct slice domain, struct slice *org)
{
	const struct step *psd;
	struct walk w;

	walk_tree(v, domain, &w);
	*org = organizational(&w, &psd);
	return w.open ? -1 : 0;
}

/* -- Alignment ------------------------------------------------------------------- */

enum alignment { ALIGNED, UNALIGNED, ALIGNMENT_UNKNOWN };

/* Where nothing is shared no organizational domain can be: no walk is needed. */
static bool
share_top(struct slice a, struct slice b)
{
	return slice_eq(suffix(a, 1), suffix(b, 1));
}

/* Both canonical. The author's walk is there already. */
static enum alignment
align(struct dnsview *v, const struct walk *author, struct slice domain, bool strict)
{
	struct slice own = author->step[0].name, theirs;
	const struct step *psd;

	if (slice_eq(own, domain))
		return ALIGNED;
	if (strict || !share_top(own, domain))
		return UNALIGNED;
	if (dmarc_organizational(v, domain, &theirs) != 0 || author->open)
		return ALIGNMENT_UNKNOWN;
	return slice_eq(organizational(author, &psd), theirs) ? ALIGNED : UNALIGNED;
}

static enum alignment
align_id(struct dnsview *v, const struct walk *author, const struct dmarc_id *id, bool strict)
{
	char name[DNS_NAME_MAX + 1];

	if (id->domain.n == 0 || address_domain_canonical(id->domain, name, sizeof(name)) != 0)
		return UNALIGNED;
	return align(v, author, slice_str(name), strict);
}

/* Can the identifier still make a difference? */
static bool
may_count(const struct dmarc_id *id)
{
	return id->result == AUTH_UNSET || id->result == AUTH_PASS || id->result == AUTH_TEMPERROR;
}

/* True for an aligned pass. *doubt is set when DNS keeps it from being known. */
static bool
judge_id(struct dnsview *v, const struct walk *author, const struct dmarc_id *id, bool strict,
    bool *doubt)
{
	enum alignment a;

	if (!may_count(id))
		return false;
	a = align_id(v, author, id, strict);
	if (a == ALIGNMENT_UNKNOWN || (a == ALIGNED && id->result == AUTH_TEMPERROR))
		*doubt = true;
	return a == ALIGNED && id->result == AUTH_PASS;
}

/* -- Policy ---------------------------------------------------------------------- */

/* RFC 9989 4.10.1: author domain, organizational domain, public suffix. NULL: none. */
static const struct step *
choose_record(const struct walk *w)
{
	const struct step *psd;
	struct slice org;

	if (w->step[0].found)
		return &w->step[0];
	org = organizational(w, &psd);
	for (size_t i = 0; i < w->n; i++)
		if (w->step[i].found && slice_eq(w->step[i].name, org))
			return &w->step[i];
	return psd;
}

/*
 * Does the author domain exist (RFC 8020: anything but NXDOMAIN)? A name below it that
 * exists answers without a question; otherwise TXT is asked, which SPF has often asked
 * before. -1: not known.
 */
static int
author_exists(struct dnsview *v, const struct walk *w)
{
	struct slice rrs;
	int st;

	if (w->step[0].status == DNS_OK)
		return 1;
	st = dnsview_ask(v, DNS_TXT, w->step[0].name, &rrs);
	if (st == DNSVIEW_MISS || st == DNS_FAIL)
		return -1;
	return st != DNS_NXDOMAIN;
}

/* False when there is no DMARC for this author domain, or when it is not known. */
static bool
find_policy(struct dnsview *v, const struct walk *w, struct dmarc_output *out,
    const struct dmarc_record **record)
{
	const struct step *s = choose_record(w);
	bool own = s == &w->step[0];
	int exists = 1;

	out->policy_known = false;
	out->result = AUTH_TEMPERROR;
	out->why = "policy not available";
	if (w->open && !own)
		return false;
	if (s != NULL && !own && s->record.np.state == DMARC_TAG_VALID)
		exists = author_exists(v, w);
	if (exists < 0)
		return false;
	out->policy_known = true;
	out->result = AUTH_NONE;
	out->why = "no policy";
	if (s == NULL)
		return false;
	(void)slice_cstr(s->name, out->found_at, sizeof(out->found_at));
	out->why = "bad p=, sp= or np=";
	if (dmarc_record_policy(&s->record, own, exists != 0, &out->policy) != 0)
		return false;
	out->why = "";
	*record = &s->record;
	return true;
}

/* -- The evaluation -------------------------------------------------------------- */

void
dmarc_wants(struct dnsview *v, const struct dmarc_input *in)
{
	const struct dmarc_record *record;
	struct dmarc_output out;
	struct walk w;

	if (in->author->state != DMARC_AUTHOR_ONE)
		return;
	walk_tree(v, slice_str(in->author->domain), &w);
	(void)find_policy(v, &w, &out, &record);
	if (may_count(&in->spf))
		(void)align_id(v, &w, &in->spf, false);
	for (size_t i = 0; i < in->ndkim; i++)
		if (may_count(&in->dkim[i]))
			(void)align_id(v, &w, &in->dkim[i], false);
}

void
dmarc_check(struct dnsview *v, const struct dmarc_input *in, struct dmarc_output *out)
{
	/* without a record alignment is asked for survivability only */
	static const struct dmarc_record relaxed = { .strict_dkim = false };
	const struct dmarc_record *record = &relaxed;
	bool doubt = false, found;
	struct walk w;

	*out = (struct dmarc_output){ .result = AUTH_PERMERROR, .policy_known = true };
	out->authenticated = in->spf.result == AUTH_PASS;
	for (size_t i = 0; i < in->ndkim; i++)
		out->authenticated = out->authenticated || in->dkim[i].result == AUTH_PASS;
	out->why = dmarc_author_why(in->author);
	if (in->author->state != DMARC_AUTHOR_ONE)
		return;
	memcpy(out->domain, in->author->domain, sizeof(out->domain));
	walk_tree(v, slice_str(out->domain), &w);
	found = find_policy(v, &w, out, &record);
	for (size_t i = 0; i < in->ndkim; i++)
		if (judge_id(v, &w, &in->dkim[i], record->strict_dkim, &doubt))
			out->dkim_aligned = true;
	out->spf_aligned = judge_id(v, &w, &in->spf, record->strict_spf, &doubt);
	out->survivable = out->dkim_aligned;
	if (!found)
		return;
	if (out->spf_aligned || out->dkim_aligned) {
		out->result = AUTH_PASS;
	} else if (doubt) {
		out->result = AUTH_TEMPERROR;
		out->why = "alignment not known";
	} else {
		out->result = AUTH_FAIL;
	}
}

/* -- Disposition ----------------------------------------------------------------- */

static struct dmarc_disposition
dispose_fail(const struct dmarc_output *out, const struct dmarc_facts *facts)
{
	if (out->policy == DMARC_NONE) {
		if (facts->clean)
			return (struct dmarc_disposition){ DMARC_FORWARD_LAST, "dmarc-fail-clean" };
		return (struct dmarc_disposition){ DMARC_HOLD_ONLY, "dmarc-fail" };
	}
	switch (facts->override) {
	case DMARC_NO_OVERRIDE:
		break;
	case DMARC_OVERRIDE_ARC:
		return (struct dmarc_disposition){ DMARC_FORWARD, "dmarc-override-arc" };
	case DMARC_OVERRIDE_LIST:
		return (struct dmarc_disposition){ DMARC_FORWARD, "dmarc-override-list" };
	}
	return (struct dmarc_disposition){ DMARC_HOLD_ONLY,
	    out->policy == DMARC_REJECT ? "dmarc-reject" : "dmarc-quarantine" };
}

static struct dmarc_disposition
dispose_temperror(const struct dmarc_output *out, const struct dmarc_facts *facts)
{
	if (facts->retry)
		return (struct dmarc_disposition){ DMARC_RETRY, "dmarc-temperror" };
	if (!out->policy_known)
		return (struct dmarc_disposition){ DMARC_HOLD_ONLY, "dmarc-temperror" };
	return dispose_fail(out, facts);
}

struct dmarc_disposition
dmarc_dispose(const struct dmarc_output *out, const struct dmarc_facts *facts)
{
	static const struct dmarc_disposition forward = { DMARC_FORWARD, "" };

	switch (out->result) {
	case AUTH_PASS:
		return forward;
	case AUTH_NONE:
		if (out->authenticated || facts->forward_unauthenticated)
			return forward;
		return (struct dmarc_disposition){ DMARC_HOLD_ONLY, "dmarc-unauthenticated" };
	case AUTH_FAIL:
		return dispose_fail(out, facts);
	case AUTH_TEMPERROR:
		return dispose_temperror(out, facts);
	case AUTH_PERMERROR:
		return (struct dmarc_disposition){ DMARC_HOLD_ONLY, "dmarc-permerror" };
	case AUTH_UNSET:
	case AUTH_SOFTFAIL:
	case AUTH_NEUTRAL:
	case AUTH_POLICY:
	case AUTH_MAX:
		break;
	}
	return (struct dmarc_disposition){ DMARC_HOLD_ONLY, "dmarc-unset" };
}
