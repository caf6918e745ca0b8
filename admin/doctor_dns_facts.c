// SPDX-License-Identifier: Apache-2.0
/* What several judges want to know of DNS: our addresses, MX records, SPF. */
#include <arpa/inet.h>
#include <string.h>

#include "admin/doctor.h"
#include "policy/spf_record.h"

static size_t
addresses_of(struct dnsview *v, uint16_t type, const char *name, struct iprev_ip *out, size_t max)
{
	size_t want = type == DNS_A ? 4 : 16, n = 0;
	struct slice rrs;
	struct dns_rr rr;

	(void)dnsview_ask(v, type, slice_str(name), &rrs);
	while (n < max && wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		if (rr.data.n != want)
			continue;
		out[n] = (struct iprev_ip){ .n = want };
		memcpy(out[n++].b, rr.data.p, want);
	}
	return n;
}

size_t
doctor_addresses(const struct doctor *d, struct dnsview *v,
    struct iprev_ip out[DOCTOR_ADDRESSES_MAX])
{
	const char *name = d->conf->hostname;
	size_t n;

	if (d->naddress > 0) {
		memcpy(out, d->address, d->naddress * sizeof(*out));
		return d->naddress;
	}
	n = addresses_of(v, DNS_A, name, out, DOCTOR_ADDRESSES_MAX);
	return n + addresses_of(v, DNS_AAAA, name, out + n, DOCTOR_ADDRESSES_MAX - n);
}

const char *
doctor_ip_text(const struct iprev_ip *ip, char out[64])
{
	if (inet_ntop(ip->n == 4 ? AF_INET : AF_INET6, ip->b, out, 64) == NULL)
		out[0] = '\0';
	return out;
}

enum auth_result
doctor_spf(const struct doctor *d, struct dnsview *v, const struct iprev_ip *ip,
    const char *domain, bool helo)
{
	struct spf_input in = { .ip = ip, .helo = slice_str(helo ? domain : d->conf->hostname) };
	struct spf_output out;
	char from[DNS_NAME_MAX + 16];

	(void)snprintf(from, sizeof(from), "postmaster@%.*s", SLICE_FMT(slice_str(domain)));
	in.mail_from = helo ? SLICE_NONE : slice_str(from);
	spf_check(d->spf, v, &in, &out);
	return out.result;
}

struct slice
doctor_spf_record(struct dnsview *v, const char *domain)
{
	struct slice rrs;
	struct dns_rr rr;

	(void)dnsview_ask(v, DNS_TXT, slice_str(domain), &rrs);
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1)
		if (spf_record_is(rr.data))
			return rr.data;
	return SLICE_NONE;
}

bool
doctor_secure(const struct dnsview *v, uint16_t type, const char *name)
{
	for (size_t i = 0; i < v->nanswer; i++)
		if (v->answer[i].type == type &&
		    slice_ieq(v->answer[i].name, slice_str(name)))
			return v->answer[i].secure != 0;
	return false;
}

/* Does the host lead to one of our addresses? */
static bool
leads_here(struct dnsview *v, const char *host, const struct iprev_ip *own, size_t nown)
{
	struct iprev_ip a[2 * DOCTOR_ADDRESSES_MAX];
	size_t n = addresses_of(v, DNS_A, host, a, DOCTOR_ADDRESSES_MAX);

	n += addresses_of(v, DNS_AAAA, host, a + n, DOCTOR_ADDRESSES_MAX);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < nown; j++)
			if (a[i].n == own[j].n && memcmp(a[i].b, own[j].b, own[j].n) == 0)
				return true;
	return false;
}

static void
better(bool *have, uint16_t *best, uint16_t pref)
{
	if (!*have || pref < *best)
		*best = pref;
	*have = true;
}

void
doctor_mx(const struct doctor *d, struct dnsview *v, const char *domain, struct doctor_mx *out)
{
	struct iprev_ip own[DOCTOR_ADDRESSES_MAX];
	size_t nown = doctor_addresses(d, v, own);
	char host[DNS_NAME_MAX + 1];
	struct slice rrs;
	struct dns_rr rr;

	*out = (struct doctor_mx){ .hosts = 0 };
	out->status = dnsview_ask(v, DNS_MX, slice_str(domain), &rrs);
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		out->hosts++;
		if (rr.data.n == 0)
			out->null = true;
		else if (slice_ieq(rr.data, slice_str(d->conf->hostname)) ||
		    (out->hosts <= DOCTOR_MX_MAX && slice_cstr(rr.data, host, sizeof(host)) == 0 &&
		    leads_here(v, host, own, nown)))
			better(&out->ours, &out->our_pref, rr.pref);
		else
			better(&out->others, &out->other_pref, rr.pref);
	}
}

void
doctor_dns_failed(struct findings *out, const char *check, const char *about, const char *what)
{
	struct finding *f = finding_add(out, FINDING_PROBLEM, check, about,
	    "DNS does not answer for %s", what);

	finding_fix(f, "try again; when it stays, look at the name servers of that zone, and at "
	    "the resolver of relay.conf");
}
