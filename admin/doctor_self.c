// SPDX-License-Identifier: Apache-2.0
/* What the world sees of this relay: its name, the addresses it sends from, and the
 * return-path domain. */
#include <string.h>

#include "admin/doctor.h"
#include "base/network.h"

/* Nobody outside reaches these (RFC 1122, 1918, 3927, 4193, 4291, 6598). */
static bool
is_private(const struct iprev_ip *ip)
{
	static const char *const nets[] = { "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
	    "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1", "::",
	    "fc00::/7", "fe80::/10" };
	struct network net;
	uint8_t a[16] = { [10] = 0xff, [11] = 0xff };

	memcpy(ip->n == 4 ? a + 12 : a, ip->b, ip->n);
	for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
		if (network_parse(slice_str(nets[i]), &net) == 0 && network_has(&net, a))
			return true;
	return false;
}

static bool
is_public_name(const char *name)
{
	static const char *const inside[] = { ".local", ".localdomain", ".localhost", ".lan",
	    ".internal", ".invalid", ".home.arpa" };
	size_t n = strlen(name);

	if (name[0] == '[' || strchr(name, '.') == NULL || iprev_parse(slice_str(name)).n > 0)
		return false;
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		size_t k = strlen(inside[i]);
		if (n > k && strcmp(name + n - k, inside[i]) == 0)
			return false;
	}
	return true;
}

static void
judge_reverse(struct dnsview *v, const char *host, const struct iprev_ip *ip, struct findings *out)
{
	char text[64], rev[80];
	struct slice owner = dnsview_reverse(ip->b, ip->n, rev, sizeof(rev));
	struct finding *f;
	struct iprev r;

	(void)doctor_ip_text(ip, text);
	iprev_check(v, ip, &r);
	if (r.result == AUTH_TEMPERROR) {
		doctor_dns_failed(out, "reverse", text, "its reverse name");
	} else if (r.result == AUTH_PASS && slice_ieq(slice_str(r.name), slice_str(host))) {
		finding_add(out, FINDING_OK, "reverse", text, "its reverse name is %s, which "
		    "leads back",
		    r.name);
	} else if (r.result == AUTH_PASS) {
		f = finding_add(out, FINDING_WARNING, "reverse", text, "its reverse name is %s, "
		    "not %s: some receivers count that against us", r.name, host);
		finding_fix(f, "ask who runs the network to publish: %.*s. IN PTR %s.",
		    SLICE_FMT(owner), host);
	} else {
		f = finding_add(out, FINDING_PROBLEM, "reverse", text, r.result == AUTH_PERMERROR ?
		    "it has no reverse name: the large providers refuse mail from such "
		    "addresses" :
		    "its reverse name does not lead back to it: the large providers refuse mail "
		    "from such addresses");
		finding_fix(f, "ask who runs the network to publish: %.*s. IN PTR %s.",
		    SLICE_FMT(owner), host);
	}
}

/*
 * An address of this host that DNS does not know as ours: copies from it pass no SPF. An
 * automatic IPv6 address is the classic. A private one is translated on its way: nobody can
 * tell into what.
 */
static void
judge_sources(const struct doctor *d, const struct iprev_ip *own, size_t n, struct findings *out)
{
	for (size_t i = 0; i < d->nsource; i++) {
		const struct iprev_ip *s = &d->source[i];
		bool known = is_private(s);
		struct finding *f;
		char text[64];

		for (size_t j = 0; j < n && !known; j++)
			known = own[j].n == s->n && memcmp(own[j].b, s->b, s->n) == 0;
		if (known)
			continue;
		f = finding_add(out, FINDING_WARNING, "source-address", doctor_ip_text(s, text),
		    "by the routing table mail leaves from here, which is none of the addresses "
		    "that were looked at");
		finding_fix(f, "add it to %s in DNS (and to SPF, with a reverse name), or make "
		    "another address the source of this host, or name all with "
		    "--address", d->conf->hostname);
	}
}

/* "v=spf1 ip4:... -all" of what we send from. */
static void
spf_advice(const struct iprev_ip *own, size_t n, struct buf *b)
{
	char text[64];

	(void)!buf_puts(b, "v=spf1");
	for (size_t i = 0; i < n; i++)
		(void)!buf_printf(b, " "
		    "ip%d:%s", own[i].n == 4 ? 4 : 6, doctor_ip_text(&own[i], text));
	(void)!buf_puts(b, " -all");
}

/* Bounces and delivery reports have no sender: SPF is judged on the EHLO name (1.1.1). */
static void
judge_helo_spf(const struct doctor *d, struct dnsview *v, const struct iprev_ip *own, size_t n,
    struct findings *out)
{
	const char *host = d->conf->hostname;
	enum auth_result r = AUTH_PASS;
	struct finding *f;
	struct buf advice;
	char text[64];
	size_t i;

	for (i = 0; i < n && r == AUTH_PASS; i++)
		r = doctor_spf(d, v, &own[i], host, true);
	if (n == 0)
		return;
	if (r == AUTH_PASS) {
		finding_add(out, FINDING_OK, "hostname-spf", host, "mail without a sender passes "
		    "SPF");
	} else if (r == AUTH_TEMPERROR) {
		doctor_dns_failed(out, "hostname-spf", host, "its SPF record or a name in it");
	} else {
		buf_init(&advice, DOCTOR_FIX_MAX);
		spf_advice(own, n, &advice);
		f = finding_add(out, FINDING_PROBLEM, "hostname-spf", host, "mail without a "
		    "sender from %s does not pass SPF (%s): receivers judge it by this name",
		    doctor_ip_text(&own[i - 1], text), auth_result_name(r));
		finding_publish(f, host, "TXT", d->naddress == 0 ? SLICE_LIT("v=spf1 a -all") :
		    buf_slice(&advice));
		buf_fini(&advice);
	}
}

/* False when DNS does not tell all addresses of our name; what it did tell is judged on. */
static bool
addresses_known(struct dnsview *v, const char *host, struct findings *out)
{
	struct slice rrs;

	if (dnsview_ask(v, DNS_A, slice_str(host), &rrs) != DNS_FAIL &&
	    dnsview_ask(v, DNS_AAAA, slice_str(host), &rrs) != DNS_FAIL)
		return true;
	doctor_dns_failed(out, "hostname-address", host, "its addresses");
	return false;
}

static void
judge_addresses(struct dnsview *v, const char *host, const struct iprev_ip *own, size_t n,
    struct findings *out)
{
	struct finding *f;
	char text[64];

	if (addresses_known(v, host, out) && n == 0) {
		f = finding_add(out, FINDING_PROBLEM, "hostname-address", host, "the name has no "
		    "address in DNS, and what we send from is not known");
		finding_fix(f, "publish: %s. IN A ADDRESS (and AAAA)", host);
	}
	for (size_t i = 0; i < n; i++) {
		(void)doctor_ip_text(&own[i], text);
		if (is_private(&own[i])) {
			f = finding_add(out, FINDING_PROBLEM, "hostname-address", host, "%s is "
			    "no address that others reach", text);
			finding_fix(f, "publish the public one; of a relay behind NAT name it "
			    "with --address");
			continue;
		}
		finding_add(out, FINDING_OK, "hostname-address", host, "%s", text);
		judge_reverse(v, host, &own[i], out);
	}
}

/* A name that is signed whatever else is not: a top level domain. */
void
doctor_dnssec(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	static const char name[] = "org";
	struct finding *f;
	struct slice rrs;
	int st;

	(void)domain;
	if (d->conf->resolver_trust == RESOLVER_NEVER) {
		finding_add(out, FINDING_OK, "resolver-dnssec", "resolver-trusted = never",
		    "DANE is turned off in relay.conf");
		return;
	}
	st = dnsview_ask(v, DNS_TXT, slice_str(name), &rrs);
	if (st == DNSVIEW_MISS)
		return;
	if (doctor_secure(v, DNS_TXT, name)) {
		finding_add(out, FINDING_OK, "resolver-dnssec", name, "the resolver validates, "
		    "so DANE works");
		return;
	}
	f = finding_add(out, FINDING_WARNING, "resolver-dnssec", name, "%s, so DANE is without "
	    "effect",
	    st == DNS_FAIL ? "the resolver does not answer for a name that is signed" :
	    "the resolver does not say that DNSSEC proved this signed name (AD), or is not "
	    "believed");
	finding_fix(f, "run a validating resolver (Unbound) on this host and name it in "
	    "resolver; or say resolver-trusted = never");
}

void
doctor_hostname(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	const char *host = d->conf->hostname;
	struct iprev_ip own[DOCTOR_ADDRESSES_MAX];
	size_t n = doctor_addresses(d, v, own);

	(void)domain;
	if (!is_public_name(host)) {
		struct finding *f = finding_add(out, FINDING_PROBLEM, "hostname", host, "this is "
		    "no name that others can look up, and many refuse mail from a relay that "
		    "calls itself so");
		finding_fix(f, "set hostname in relay.conf to the full name of this relay in "
		    "DNS");
		return;
	}
	judge_addresses(v, host, own, n, out);
	judge_sources(d, own, n, out);
	judge_helo_spf(d, v, own, n, out);
}

/* --- the return-path domain --- */

static void
judge_return_mx(const struct doctor *d, struct dnsview *v, const char *fwd, struct findings *out)
{
	char record[DNS_NAME_MAX + 16];
	struct doctor_mx mx;
	struct finding *f;

	doctor_mx(d, v, fwd, &mx);
	if (mx.status == DNS_FAIL) {
		doctor_dns_failed(out, "return-mx", fwd, "its MX records");
		return;
	}
	if (mx.ours && !mx.null) {
		finding_add(out, FINDING_OK, "return-mx", fwd, "bounces of forwarded copies come "
		    "back to this relay%s", mx.others ? ", or to its other MX hosts" : "");
		return;
	}
	(void)snprintf(record, sizeof(record), "10 %s.", d->conf->hostname);
	f = finding_add(out, FINDING_PROBLEM, "return-mx", fwd, mx.null ?
	    "its MX record says that it takes no mail (RFC 7505), so bounces of forwarded copies "
	    "are lost" :
	    "its MX is not this relay, so bounces of forwarded copies do not come back");
	finding_publish(f, fwd, "MX", slice_str(record));
}

/* An address of the documentation networks stands for everybody else. */
static void
judge_strangers(const struct doctor *d, struct dnsview *v, const char *fwd, struct slice advice,
    struct findings *out)
{
	struct iprev_ip stranger = iprev_parse(SLICE_LIT("203.0.113.254"));
	enum auth_result r = doctor_spf(d, v, &stranger, fwd, false);
	struct finding *f;

	if (r == AUTH_FAIL) {
		finding_add(out, FINDING_OK, "return-spf", fwd, "this relay's addresses pass "
		    "SPF, others do not");
		return;
	}
	if (r == AUTH_PASS)
		f = finding_add(out, FINDING_PROBLEM, "return-spf", fwd, "its SPF record lets "
		    "everybody pass");
	else
		f = finding_add(out, FINDING_WARNING, "return-spf", fwd, "its SPF record does "
		    "not end in -all (others get %s)", auth_result_name(r));
	finding_publish(f, fwd, "TXT", advice);
}

static void
judge_return_spf(const struct doctor *d, struct dnsview *v, const char *fwd, struct findings *out)
{
	struct iprev_ip own[DOCTOR_ADDRESSES_MAX];
	size_t n = doctor_addresses(d, v, own);
	bool fine = n > 0;
	struct finding *f;
	struct buf advice;
	char text[64];

	buf_init(&advice, DOCTOR_FIX_MAX);
	spf_advice(own, n, &advice);
	for (size_t i = 0; i < n; i++) {
		enum auth_result r = doctor_spf(d, v, &own[i], fwd, false);

		if (r == AUTH_PASS)
			continue;
		fine = false;
		if (r == AUTH_TEMPERROR) {
			doctor_dns_failed(out, "return-spf", fwd, "its SPF record or a name in "
			    "it");
			break;
		}
		f = finding_add(out, FINDING_PROBLEM, "return-spf", fwd, "copies that we forward "
		    "from %s do not pass SPF "
		    "(%s)", doctor_ip_text(&own[i], text), auth_result_name(r));
		finding_publish(f, fwd, "TXT", buf_slice(&advice));
	}
	if (fine)
		judge_strangers(d, v, fwd, buf_slice(&advice), out);
	buf_fini(&advice);
}

void
doctor_return_path(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	const char *fwd = d->conf->forwarder.domain;

	(void)domain;
	if (fwd == NULL)
		return;
	judge_return_mx(d, v, fwd, out);
	judge_return_spf(d, v, fwd, out);
}
