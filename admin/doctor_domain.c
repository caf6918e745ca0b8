// SPDX-License-Identifier: Apache-2.0
/* A protected domain: does its mail come here, and only when it should? And does its SPF
 * record keep us out (spec 6.10)? */
#include <string.h>

#include "admin/doctor.h"
#include "policy/spf_record.h"

/* Front servers hand mail over: then MX records say nothing of when it comes here. */
static bool
by_fronts(const struct conf *c)
{
	for (size_t i = 0; i < c->nlisten; i++)
		if (c->listen[i].lmtp || c->listen[i].proxy)
			return true;
	return c->nrouting_listen > 0 || c->ntrusted_relay > 0;
}

static void
say_not_ours(const struct doctor *d, const struct doctor_mx *mx, const char *name,
    struct findings *out)
{
	const char *host = d->conf->hostname;
	char record[DNS_NAME_MAX + 16];
	struct finding *f;

	if (by_fronts(d->conf)) {
		finding_add(out, FINDING_OK, "domain-mx", name, "%s is no MX host of it: front "
		    "servers hand mail over (docs/wiring.md)", host);
		return;
	}
	f = finding_add(out, FINDING_PROBLEM, "domain-mx", name, mx->hosts == 0 ?
	    "it has no MX record, so no mail comes here" :
	    "none of its %zu MX hosts is %s, so no mail comes here when the store is down",
	    mx->hosts, host);
	(void)snprintf(record, sizeof(record), "%u %s.", mx->others ?
	    mx->other_pref + (mx->other_pref < 65525 ? 10u : 0u) : 20u, host);
	finding_publish(f, name, "MX", slice_str(record));
}

static void
say_preferred(const struct doctor *d, const struct conf_domain *domain, const struct doctor_mx *mx,
    struct findings *out)
{
	bool defer = domain->standby_defer;
	char record[DNS_NAME_MAX + 16];
	struct finding *f;

	if (!mx->others) {
		f = finding_add(out, defer ? FINDING_PROBLEM : FINDING_WARNING, "domain-mx",
		    domain->name, "this relay is its only MX host, %s", defer ?
		    "and standby = defer sends everybody away with 451 while the store is well" :
		    "so all its mail waits for this relay when it is down");
		finding_fix(f, "publish the primary with a smaller number in front of it%s",
		    defer ? ", or set standby = relay" : "");
		return;
	}
	f = finding_add(out, mx->our_pref < mx->other_pref ? FINDING_PROBLEM : FINDING_WARNING,
	    "domain-mx", domain->name, "this relay has preference %u and the best other host %u: "
	    "%s",
	    mx->our_pref, mx->other_pref, mx->our_pref < mx->other_pref ?
	    "a backup must not come before the primary" :
	    "half of the mail takes the detour in peace time");
	(void)snprintf(record, sizeof(record), "%u %s.", mx->other_pref +
	    (mx->other_pref < 65525 ? 10u : 0u), d->conf->hostname);
	finding_publish(f, domain->name, "MX", slice_str(record));
}

static void
judge_mx(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	const char *name = domain->name;
	struct doctor_mx mx;
	struct finding *f;

	doctor_mx(d, v, name, &mx);
	if (mx.status == DNS_FAIL) {
		doctor_dns_failed(out, "domain-mx", name, "its MX records");
	} else if (mx.status == DNS_NXDOMAIN) {
		f = finding_add(out, FINDING_PROBLEM, "domain-mx", name, "there is no such "
		    "domain in DNS");
		finding_fix(f, "correct the name in relay.conf, or register the domain");
	} else if (mx.null) {
		f = finding_add(out, FINDING_PROBLEM, "domain-null-mx", name, "its MX record "
		    "says that it takes no mail (RFC 7505)");
		finding_fix(f, "remove the record \"0 .\"");
	} else if (!mx.ours) {
		say_not_ours(d, &mx, name, out);
	} else if (!by_fronts(d->conf) && (!mx.others || mx.our_pref <= mx.other_pref)) {
		say_preferred(d, domain, &mx, out);
	} else {
		finding_add(out, FINDING_OK, "domain-mx", name, "this relay is an MX host, "
		    "preference %u%s", mx.our_pref, mx.others && mx.our_pref > mx.other_pref ?
		    ", behind the primary" : "");
	}
}

/* --- SPF, spec 6.10 --- */

static bool
in_prefix(const struct iprev_ip *ip, const struct spf_term *t)
{
	unsigned bits = ip->n == 4 ? t->cidr4 : t->cidr6, whole = bits / 8, left = bits % 8;

	if (ip->n != (t->kind == SPF_KIND_IP4 ? 4u : 16u) || memcmp(ip->b, t->ip, whole) != 0)
		return false;
	return left == 0 || ((ip->b[whole] ^ t->ip[whole]) & (0xff00u >> left) & 0xffu) == 0;
}

/*
 * Which term lets the address in, in words: for people, who look at the record next to it.
 * What cannot be told without walking it again is told as its kind.
 */
static const char *
guilty_term(struct slice record, const struct iprev_ip *ip, bool mx_is_ours, char *out, size_t cap)
{
	struct slice terms = spf_record_terms(record);
	const char *word = "one of its include:, a, mx or redirect= terms";
	struct spf_term t;

	while (spf_record_next(&terms, &t) == 1) {
		if ((t.kind == SPF_KIND_IP4 || t.kind == SPF_KIND_IP6) && in_prefix(ip, &t)) {
			char net[64];
			struct iprev_ip a = { .n = ip->n };

			memcpy(a.b, t.ip, ip->n);
			(void)snprintf(out, cap, "the term ip%d:%s/%u", ip->n == 4 ? 4 : 6,
			    doctor_ip_text(&a, net), ip->n == 4 ? t.cidr4 : t.cidr6);
			return out;
		}
		if (t.kind == SPF_KIND_MX && t.spec.n == 0 && mx_is_ours)
			return "the term mx (this relay is an MX host)";
		if (t.kind == SPF_KIND_ALL)
			return t.qualifier == '+' ? "the term +all (it lets everybody in)" : word;
	}
	return word;
}

static void
say_passes(const struct doctor *d, struct dnsview *v, const char *name, const struct iprev_ip *ip,
    struct findings *out)
{
	struct slice record = doctor_spf_record(v, name);
	char text[64], term[96];
	struct doctor_mx mx;
	struct finding *f;

	doctor_mx(d, v, name, &mx);
	f = finding_add(out, FINDING_PROBLEM, "domain-spf", name, "its SPF record lets mail from "
	    "this relay (%s) pass, so what we forward in a forged name of its users passes DMARC "
	    "(rule 6.10)", doctor_ip_text(ip, text));
	finding_fix(f, "take %s out of \"%.*s\": name the servers that send for the domain one "
	    "by one (a:, ip4:, ip6:)", guilty_term(record, ip, mx.ours, term, sizeof(term)),
	    SLICE_FMT(record));
}

static void
say_broken(struct dnsview *v, const char *name, struct findings *out)
{
	struct slice record = doctor_spf_record(v, name);
	struct finding *f = finding_add(out, FINDING_WARNING, "domain-spf", name, "its SPF "
	    "record is wrong, so receivers do as if it had none");

	finding_fix(f, "look for a slip of the pen, two records, or more than ten look-ups in "
	    "\"%.*s\"", SLICE_FMT(record));
}

static void
judge_spf(const struct doctor *d, struct dnsview *v, const char *name, struct findings *out)
{
	struct iprev_ip own[DOCTOR_ADDRESSES_MAX];
	size_t n = doctor_addresses(d, v, own), passed = 0;
	enum auth_result r = AUTH_NONE;

	for (size_t i = 0; i < n; i++) {
		r = doctor_spf(d, v, &own[i], name, false);
		if (r == AUTH_TEMPERROR || r == AUTH_PERMERROR)
			break;		/* the same for each address */
		if (r == AUTH_PASS)
			say_passes(d, v, name, &own[i], out);
		passed += r == AUTH_PASS;
	}
	if (n > 0 && r == AUTH_TEMPERROR)
		doctor_dns_failed(out, "domain-spf", name, "its SPF record or a name in it");
	else if (n > 0 && r == AUTH_PERMERROR)
		say_broken(v, name, out);
	else if (n > 0 && passed == 0)
		finding_add(out, FINDING_OK, "domain-spf", name, "its SPF record does not let "
		    "this relay's addresses pass (%s)", auth_result_name(r));
}

void
doctor_domain(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	judge_mx(d, v, domain, out);
	judge_spf(d, v, domain->name, out);
}
