// SPDX-License-Identifier: Apache-2.0
/* DMARC of the domains we answer for (spec 6.10). */
#include <string.h>

#include "admin/doctor.h"
#include "policy/dmarc.h"

struct published {
	bool		 failed;	/* DNS did not tell */
	unsigned	 n;		/* records at that name */
	struct dmarc_record record;	/* the last of them */
	struct slice	 text;
	char		 name[DNS_NAME_MAX + 8];	/* "_dmarc.example.it" */
};

static void
read_records(struct dnsview *v, struct slice domain, struct published *p)
{
	struct dmarc_record r;
	struct slice rrs;
	struct dns_rr rr;

	*p = (struct published){ .n = 0 };
	(void)snprintf(p->name, sizeof(p->name), "_dmarc.%.*s", SLICE_FMT(domain));
	p->failed = dnsview_ask(v, DNS_TXT, slice_str(p->name), &rrs) == DNS_FAIL;
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		if (dmarc_record_parse(rr.data, &r) != 0)
			continue;
		p->n++;
		p->record = r;
		p->text = rr.data;
	}
}

/*
 * Nobody else writes in the name of the return-path domain, and it has no mailboxes; who writes
 * in that of a served one is learnt from reports.
 */
static void
advise(struct finding *f, const char *domain, bool fwd)
{
	char owner[DNS_NAME_MAX + 8], text[DNS_NAME_MAX + 128];

	(void)snprintf(owner, sizeof(owner), "_dmarc.%s", domain);
	(void)snprintf(text, sizeof(text), fwd ? "v=DMARC1; p=reject; psd=n" :
	    "v=DMARC1; p=quarantine; rua=mailto:postmaster@%s", domain);
	finding_publish(f, owner, "TXT", slice_str(text));
}

static bool
any_invalid(const struct dmarc_record *r)
{
	return r->p.state == DMARC_TAG_INVALID || r->sp.state == DMARC_TAG_INVALID ||
	    r->np.state == DMARC_TAG_INVALID;
}

/* A record that is there: what it asks for. `own`: at the domain itself. */
static void
say_record(const struct published *p, const char *check, const char *domain, bool own,
    bool fwd, struct findings *out)
{
	enum dmarc_policy policy;
	struct finding *f;

	if (any_invalid(&p->record)) {
		f = finding_add(out, FINDING_PROBLEM, check, domain, "the record of %s has a p=, "
		    "sp= or np= that is none of none, quarantine and reject: \"%.*s\"", p->name,
		    SLICE_FMT(p->text));
		advise(f, domain, fwd);
		return;
	}
	if (dmarc_record_policy(&p->record, own, true, &policy) != 0 || policy == DMARC_NONE) {
		f = finding_add(out, FINDING_WARNING, check, domain, "the record of %s asks "
		    "receivers to do nothing about mail in a forged name (%s): \"%.*s\"", p->name,
		    p->record.testing ? "t=y" : "p=none", SLICE_FMT(p->text));
		advise(f, domain, fwd);
		return;
	}
	finding_add(out, FINDING_OK, check, domain, "%s is published, policy %s", p->name,
	    dmarc_policy_name(policy));
}

/*
 * The record at the domain, or else at its organizational domain (RFC 9989 4.10.1), which is
 * good enough for rule 6.10. Not that of a registry: it speaks for no one by name. `found` is
 * left alone when there is none.
 */
static void
judge_record(struct dnsview *v, const char *check, const char *domain, bool fwd,
    struct published *found, struct findings *out)
{
	struct slice at = slice_str(domain), org;
	struct published p;
	struct finding *f;

	read_records(v, at, &p);
	if (p.n == 0 && !p.failed && dmarc_organizational(v, at, &org) == 0 &&
	    !slice_eq(at, org)) {
		at = org;
		read_records(v, at, &p);
	}
	if (p.failed) {
		doctor_dns_failed(out, check, domain, p.name);
	} else if (p.n > 1) {
		f = finding_add(out, FINDING_PROBLEM, check, domain, "%s has %u DMARC records, so "
		    "receivers take none of them", p.name, p.n);
		finding_fix(f, "leave one, and remove the others");
	} else if (p.n == 1) {
		say_record(&p, check, domain, at.n == strlen(domain), fwd, out);
		*found = p;
	} else {
		f = finding_add(out, FINDING_PROBLEM, check, domain, "no DMARC record is published "
		    "for it (rule 6.10): anybody can write in its name%s", fwd ? "" : "; begin "
		    "with p=none while it is not known who does so rightly");
		advise(f, domain, fwd);
	}
}

/*
 * Copies leave under the return-path domain, which passes SPF and signs them. Is it aligned
 * with a domain whose users may be forged, then a forgery that got as far as a copy passes
 * DMARC there just as with our addresses in that domain's SPF record.
 */
static void
judge_alignment(const struct doctor *d, struct dnsview *v, const char *domain,
    const struct published *p, struct findings *out)
{
	const char *fwd = d->conf->forwarder.domain;
	struct slice ours, theirs;
	struct finding *f;
	char owner[DNS_NAME_MAX + 8];

	if (fwd == NULL || p->n == 0 || (p->record.strict_spf && p->record.strict_dkim) ||
	    dmarc_organizational(v, slice_str(fwd), &ours) != 0 ||
	    dmarc_organizational(v, slice_str(domain), &theirs) != 0 || !slice_ieq(ours, theirs))
		return;
	(void)snprintf(owner, sizeof(owner), "_dmarc.%s", fwd);
	f = finding_add(out, FINDING_WARNING, "domain-alignment", domain, "the return-path "
	    "domain %s counts as aligned with it, so a forged message that we forward passes its "
	    "DMARC", fwd);
	finding_fix(f, "add \"aspf=s; adkim=s\" to %s when its own senders allow that, or "
	    "\"psd=n\" to "
	    "%s (RFC 9989), or take a return-path domain outside of %.*s", p->name, owner,
	    SLICE_FMT(theirs));
}

void
doctor_dmarc_return(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	const char *fwd = d->conf->forwarder.domain;
	struct published p = { .n = 0 };

	(void)domain;
	if (fwd != NULL)
		judge_record(v, "return-dmarc", fwd, true, &p, out);
}

void
doctor_dmarc_domain(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	struct published p = { .n = 0 };

	judge_record(v, "domain-dmarc", domain->name, false, &p, out);
	judge_alignment(d, v, domain->name, &p, out);
}
