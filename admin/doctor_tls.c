// SPDX-License-Identifier: Apache-2.0
/* What senders are told of our TLS before they connect: TLSA records of our name (RFC 7672)
 * and MTA-STS policies of the served domains (RFC 8461). A wrong one keeps mail away. */
#include <string.h>

#include "admin/doctor.h"
#include "admin/keyfile.h"
#include "relay/tls.h"
#include "relay/tlsa.h"

/* With *good: does one of our certificates fit? The record of the first, "" for none. */
static void
fits(const struct conf *c, const struct tlsa *t, bool *good, char record[TLS_TLSA_TEXT])
{
	struct keyfile k = { .mode = 0 };
	char why[4600];

	*good = false;
	record[0] = '\0';
	if (keyfile_read(c->tls_cert_file, &k, why, sizeof(why)) == 0) {
		*good = tls_tlsa_names(buf_slice(&k.text), t);
		if (tls_tlsa_text(buf_slice(&k.text), record) != 0)
			record[0] = '\0';
	}
	keyfile_fini(&k);
	for (size_t i = 0; i < c->ncertificate && !*good; i++) {
		k = (struct keyfile){ .mode = 0 };
		if (c->certificate[i].cert_file != NULL &&
		    keyfile_read(c->certificate[i].cert_file, &k, why, sizeof(why)) == 0)
			*good = tls_tlsa_names(buf_slice(&k.text), t);
		keyfile_fini(&k);
	}
}

static void
judge_tlsa(const struct conf *c, const char *name, const struct tlsa *t, bool secure,
    struct findings *out)
{
	char record[TLS_TLSA_TEXT];
	struct finding *f;
	bool good;

	if (c->tls_cert_file == NULL) {
		f = finding_add(out, FINDING_WARNING, "tlsa", name, "it promises TLS, but "
		    "tls-cert-file is not set: senders that know DANE do not deliver");
		finding_fix(f, "set tls-cert-file and tls-key-file, or take the record away");
		return;
	}
	fits(c, t, &good, record);
	if (!good) {
		f = finding_add(out, FINDING_WARNING, "tlsa", name, "none of its %zu usable "
		    "records names the certificate in %s: senders that know DANE do not deliver",
		    tlsa_usable(t), c->tls_cert_file);
		if (record[0] != '\0')
			finding_publish(f, name, "TLSA", slice_str(record));
		else
			finding_fix(f, "publish a record of that certificate");
	} else if (!secure) {
		f = finding_add(out, FINDING_WARNING, "tlsa", name, "it names our certificate, "
		    "but the resolver does not say that DNSSEC proved it: without that senders "
		    "do not look at it");
		finding_fix(f, "sign the zone, or look at resolver-dnssec first");
	} else {
		finding_add(out, FINDING_OK, "tlsa", name, "it names our certificate");
	}
}

void
doctor_tlsa(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	char name[DNS_NAME_MAX + 16];
	struct slice rrs;
	struct tlsa *t;

	(void)domain;
	(void)snprintf(name, sizeof(name), "_25._tcp.%s", d->conf->hostname);
	if (dnsview_ask(v, DNS_TLSA, slice_str(name), &rrs) == DNS_FAIL) {
		/* RFC 7672 2.1: who cannot have them must not deliver without. */
		doctor_dns_failed(out, "tlsa", name, "its TLSA records, so senders that know "
		    "DANE wait");
		return;
	}
	t = tlsa_parse(rrs);
	if (t != NULL)
		judge_tlsa(d->conf, name, t, doctor_secure(v, DNS_TLSA, name), out);
	tlsa_unref(&t);
}

/* --- MTA-STS --- */

bool
doctor_sts_wanted(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	char name[DNS_NAME_MAX + 16], id[MTA_STS_ID_MAX + 1];
	struct slice rrs;
	struct dns_rr rr;
	unsigned n = 0;
	struct finding *f;

	if (!d->conf->mta_sts)
		return false;	/* libcurl may not be there */
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", domain->name);
	(void)dnsview_ask(v, DNS_TXT, slice_str(name), &rrs);
	id[0] = '\0';
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1)
		n += mta_sts_record(rr.data, id);
	if (n == 0)
		return false;
	if (n == 1 && id[0] != '\0')
		return true;
	f = finding_add(out, FINDING_WARNING, "domain-mta-sts", domain->name, n > 1 ?
	    "%s has several records, so senders take none of them" :
	    "the record of %s has no valid id=, so senders do not look at the policy", name);
	finding_fix(f, "leave one: %s. IN TXT \"v=STSv1; id=20260101T000000;\"", name);
	return false;
}

void
doctor_sts(const struct doctor *d, const struct conf_domain *domain, const struct mta_sts *p,
    struct findings *out)
{
	const char *name = domain->name, *host = d->conf->hostname;
	struct finding *f;

	if (p == NULL) {
		f = finding_add(out, FINDING_WARNING, "domain-mta-sts", name, "its policy cannot "
		    "be fetched from https://mta-sts.%s/.well-known/mta-sts.txt, or is "
		    "none", name);
		finding_fix(f, "see that the web server answers, with a certificate of that name "
		    "and a policy as RFC 8461 3.2 has it");
	} else if (p->mode != MTA_STS_NONE && !mta_sts_match(p, host)) {
		f = finding_add(out, FINDING_WARNING, "domain-mta-sts", name, "its policy does "
		    "not list %s%s", host, p->mode == MTA_STS_ENFORCE ? ": the large senders, "
		    "which enforce it, will not deliver here when the primary is down" :
		    " (mode testing)");
		finding_fix(f, "add the line \"mx: %s\" to the policy, then change id= in "
		    "_mta-sts.%s", host, name);
	} else if (p->mode == MTA_STS_ENFORCE && d->conf->tls_cert_file == NULL) {
		f = finding_add(out, FINDING_WARNING, "domain-mta-sts", name, "its policy asks "
		    "for TLS, but tls-cert-file is not set");
		finding_fix(f, "get a certificate for %s, and set tls-cert-file and tls-key-file",
		    host);
	} else {
		finding_add(out, FINDING_OK, "domain-mta-sts", name, p->mode == MTA_STS_NONE ?
		    "its policy is mode none" : "its policy lists %s", host);
	}
}
