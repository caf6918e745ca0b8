// SPDX-License-Identifier: Apache-2.0
/*
 * All hosts' A and AAAA are asked at once; the decision is made when the last answer is
 * in, because whether we are an MX of the domain ourselves, and at which preference, is
 * only known then.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "relay/mx.h"

enum { MX_ADDRS_MAX = 8 };	/* kept of one host and family */

struct mx_addrs {
	struct dns_query	*query;		/* in flight, or NULL */
	struct mx_host		*host;		/* borrowed */
	bool			 failed;	/* DNS trouble */
	bool			 secure;	/* DNSSEC */
	size_t			 n;
	uint8_t			 addr[MX_ADDRS_MAX][16];
};

struct mx_host {
	struct mx_lookup	*lookup;	/* borrowed */
	char			 name[DNS_NAME_MAX + 1];
	uint16_t		 pref;
	uint32_t		 shuffle;	/* order among equals */
	bool			 gone;		/* NXDOMAIN */
	struct dns_query	*query;		/* for its TLSA records */
	bool			 tlsa_failed;
	struct tlsa		*tlsa;		/* secure ones; owned */
	struct mx_addrs		 v6, v4;
};

struct mx_lookup {
	struct mx_env		 env;
	mx_fn			*fn;
	void			*arg;
	uint8_t			 route;		/* enum conf_route_kind */
	uint8_t			 tls;		/* enum deliver_tls */
	uint16_t		 port;
	bool			 secure;	/* the way to the hosts' names: DNSSEC, or ours */
	const char		*unsafe;	/* why a host was left out, static; or NULL */
	struct sts_query	*sts_query;	/* in flight, or NULL */
	struct mta_sts		 sts;		/* copy; mode NONE when there is no policy */
	bool			 ready;		/* all DNS answers are in */
	bool			 implicit;	/* the domain itself stands for its MX */
	struct dns_query	*query;		/* MX, or what makes a literal wait its turn */
	size_t			 nhost;
	size_t			 waiting;	/* address or TLSA questions in flight */
	struct mx_host		 host[MX_HOSTS_MAX];
	struct mx_result	 result;
};

void
mx_group(const struct conf *c, const char *host, char out[DNS_NAME_MAX + 1])
{
	static const char *const second[] = { "co", "com", "net", "org", "gov", "edu", "ac" };
	struct slice h = slice_str(host), rest, label;
	const struct conf_provider *p = conf_provider_of_host(c, h);
	size_t i, keep = 2, at, n;

	out[0] = '\0';
	if (p != NULL) {
		(void)slice_cstr(slice_str(p->name), out, DNS_NAME_MAX + 1);
		return;
	}
	for (n = 0, at = h.n; n < keep && at > 0; n++) {
		rest = slice_sub(h, 0, n == 0 ? h.n : at - 1);
		at = slice_rfind(rest, '.');
		at = at < rest.n ? at + 1 : 0;
		label = slice_sub(rest, at, rest.n);
		if (n == 0 && label.n != 2)
			continue;
		for (i = 0; n == 1 && i < sizeof(second) / sizeof(second[0]); i++)
			if (slice_ieq(label, slice_str(second[i])) && h.n - rest.n == 3)
				keep = 3;
	}
	(void)slice_cstr(slice_sub(h, at, h.n), out, DNS_NAME_MAX + 1);
	bytes_lower(out, strlen(out));
}

static void
mx_free(struct mx_lookup *m)
{
	size_t i;

	sts_cancel(&m->sts_query);
	mta_sts_fini(&m->sts);
	dns_cancel(&m->query);
	for (i = 0; i < m->nhost; i++) {
		dns_cancel(&m->host[i].v6.query);
		dns_cancel(&m->host[i].v4.query);
		dns_cancel(&m->host[i].query);
		tlsa_unref(&m->host[i].tlsa);
	}
	free(m);
}

static void
mx_end(struct mx_lookup *m)
{
	m->fn(m->arg, &m->result);
	mx_free(m);
}

static void
mx_fail(struct mx_lookup *m, uint8_t outcome, const char *enhanced, const char *text)
{
	m->result.outcome = outcome;
	m->result.n = 0;
	(void)snprintf(m->result.enhanced, sizeof(m->result.enhanced), "%s", enhanced);
	(void)snprintf(m->result.text, sizeof(m->result.text), "%s", text);
	mx_end(m);
}

static void
mx_target_make(struct mx_target *t, const struct mx_host *h, bool v6, const uint8_t *addr,
    uint16_t port)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	memset(t, 0, sizeof(*t));
	t->pref = h->pref;
	if (v6) {
		t->addr.v6.sin6_family = AF_INET6;
		t->addr.v6.sin6_port = htons(port);
		memcpy(&t->addr.v6.sin6_addr, addr, 16);
		t->len = sizeof(t->addr.v6);
	} else {
		t->addr.v4.sin_family = AF_INET;
		t->addr.v4.sin_port = htons(port);
		memcpy(&t->addr.v4.sin_addr, addr, 4);
		t->len = sizeof(t->addr.v4);
	}
	(void)inet_ntop(v6 ? AF_INET6 : AF_INET, addr, ip, sizeof(ip));
	(void)snprintf(t->host, sizeof(t->host), "%s", h->name);
	(void)snprintf(t->peer, sizeof(t->peer), "%s[%s]:%u", h->name, ip, port);
}

/* Addresses a stranger's MX may not send us to. */
static bool
mx_refused(const struct mx_lookup *m, bool v6, const uint8_t *a)
{
	static const uint8_t zero[16], one[16] = { [15] = 1 },
	    mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool loopback;

	if (v6 && memcmp(a, mapped, 12) == 0)
		return mx_refused(m, false, a + 12);
	if (v6) {
		loopback = memcmp(a, one, 16) == 0;
		if (memcmp(a, zero, 16) == 0 || a[0] == 0xff || (a[0] == 0xfe && a[1] == 0x80))
			return true;
	} else {
		loopback = a[0] == 127;
		if (a[0] == 0 || a[0] >= 224)
			return true;
	}
	return loopback && m->route == ROUTE_MX && !m->env.conf->deliver_to_loopback;
}

/* Does this host lead to ourselves, by name or by one of its addresses? */
static bool
mx_is_self(const struct mx_lookup *m, const struct mx_host *h)
{
	const struct mx_addrs *a[2] = { &h->v6, &h->v4 };
	struct mx_target t;
	size_t f, i;

	if (m->route == ROUTE_MX &&
	    slice_ieq(slice_str(h->name), slice_str(m->env.conf->hostname)))
		return true;
	for (f = 0; f < 2; f++)
		for (i = 0; i < a[f]->n; i++) {
			mx_target_make(&t, h, f == 0, a[f]->addr[i], m->port);
			if (mx_self_is(m->env.self, &t.addr.sa))
				return true;
		}
	return false;
}

static int
mx_order(const void *x, const void *y)
{
	const struct mx_host *a = x, *b = y;

	if (a->pref != b->pref)
		return a->pref < b->pref ? -1 : 1;
	return a->shuffle < b->shuffle ? -1 : a->shuffle > b->shuffle;
}

/* Spec 13.1 (2); false when the policy does not name this host. */
static bool
mx_host_sts(struct mx_lookup *m, const struct mx_host *h, struct mx_target *t)
{
	bool listed = m->sts.mode != MTA_STS_NONE && mta_sts_match(&m->sts, h->name);

	if (m->sts.mode == MTA_STS_NONE)
		return true;
	t->policy = MX_POLICY_STS;
	if (m->sts.mode == MTA_STS_TESTING) {
		t->testing = listed ? MX_TESTING_CERTIFICATE : MX_TESTING_NOT_LISTED;
		return true;
	}
	t->tls = MX_TLS_PKIX;
	if (!listed)
		m->unsafe = "the mail server is not in the domain's MTA-STS policy";
	return listed;
}

/* Spec 8.2: providers that want no plaintext, or get none from us. */
static bool
mx_provider_required(const struct mx_lookup *m, const struct mx_host *h)
{
	const struct conf_provider *p = m->route != ROUTE_MX ? NULL :
	    conf_provider_of_host(m->env.conf, slice_str(h->name));

	return p != NULL && p->tls_required;
}

/* Spec 13.1: what TLS has to be at this host; false when mail may not go there at all. */
static bool
mx_host_tls(struct mx_lookup *m, const struct mx_host *h, struct mx_target *t)
{
	t->tls = MX_TLS_MAY;
	t->policy = MX_POLICY_NONE;
	t->testing = MX_TESTING_NO;
	t->tlsa = NULL;
	if (mx_provider_required(m, h))
		t->tls = MX_TLS_ENCRYPT;
	if (m->tls == DELIVER_TLS_OPTIONAL)	/* RFC 8689 4.2.2: no policy but our own */
		return true;
	if (h->tlsa_failed) {
		m->unsafe = "the TLSA records of the mail server cannot be had";
		return false;
	}
	if (h->tlsa != NULL && tlsa_usable(h->tlsa) > 0) {
		t->tls = MX_TLS_DANE;
		t->policy = MX_POLICY_TLSA;
		t->tlsa = h->tlsa;
		return true;
	}
	if (!mx_host_sts(m, h, t))
		return false;
	if (t->tls == MX_TLS_PKIX)
		return true;
	/* RFC 7672 2.2: records that nobody can use still say that there is TLS. */
	if (h->tlsa != NULL || m->tls == DELIVER_TLS_REQUIRED)
		t->tls = MX_TLS_ENCRYPT;
	if (m->tls != DELIVER_TLS_REQUIRETLS)
		return true;
	t->tls = MX_TLS_PKIX;
	if (!m->secure)		/* RFC 8689 4.2.1: a name from plain DNS proves nothing */
		m->unsafe = "REQUIRETLS: nothing vouches for the mail server's name";
	return m->secure;
}

static void
mx_add(struct mx_lookup *m, const struct mx_host *h, bool v6, const struct mx_target *tls,
    size_t *per_host)
{
	const struct mx_addrs *a = v6 ? &h->v6 : &h->v4;
	size_t i, start = a->n > 0 ? h->shuffle % a->n : 0;
	const uint8_t *addr;

	for (i = 0; i < a->n; i++) {
		addr = a->addr[(start + i) % a->n];
		if (mx_refused(m, v6, addr) || m->result.n == MX_TARGETS_MAX ||
		    *per_host == MX_PER_HOST_MAX)
			continue;
		mx_target_make(&m->result.target[m->result.n], h, v6, addr, m->port);
		m->result.target[m->result.n].tls = tls->tls;
		m->result.target[m->result.n].policy = tls->policy;
		m->result.target[m->result.n].testing = tls->testing;
		m->result.target[m->result.n].tlsa = tls->tlsa;
		m->result.n++;
		(*per_host)++;
	}
}

/* Nothing left to connect to: was it the DNS, the domain, or we? */
static void
mx_nothing(struct mx_lookup *m, bool self)
{
	bool failed = false, gone = m->nhost > 0, any = false;
	size_t i;

	for (i = 0; i < m->nhost; i++) {
		failed = failed || m->host[i].v6.failed || m->host[i].v4.failed;
		gone = gone && m->host[i].gone;
		any = any || m->host[i].v6.n > 0 || m->host[i].v4.n > 0;
	}
	if (self)
		mx_fail(m, DELIVER_LOCAL, "5.4.6", "route leads to ourselves");
	else if (m->unsafe != NULL)
		mx_fail(m, DELIVER_TEMP, "4.7.5", m->unsafe);
	else if (failed)
		mx_fail(m, DELIVER_TEMP, "4.4.3", "DNS lookup of the host failed");
	else if (any)
		mx_fail(m, DELIVER_LOCAL, "5.4.4", "address is not routable");
	else if (m->route != ROUTE_MX)
		mx_fail(m, DELIVER_TEMP, "4.4.4", "the configured host has no address");
	else if (m->implicit)
		mx_fail(m, DELIVER_LOCAL, "5.1.2", gone ? "no such domain" :
		    "domain has no mail server");
	else	/* MX names without addresses: a zone being repaired, doubt */
		mx_fail(m, DELIVER_TEMP, "4.4.4", "mail servers have no address");
}

static void
mx_decide(struct mx_lookup *m)
{
	uint32_t below = UINT32_MAX;
	struct mx_target tls;
	size_t i, per_host;

	for (i = 0; i < m->nhost; i++)
		if (mx_is_self(m, &m->host[i]) && m->host[i].pref < below)
			below = m->host[i].pref;
	/* RFC 5321 5.1: we and all that are not better than we are, out; or mail would
	 * travel between backups for ever. */
	for (i = 0; i < m->nhost; i++) {
		if (m->host[i].pref >= below || !mx_host_tls(m, &m->host[i], &tls))
			continue;
		per_host = 0;
		mx_add(m, &m->host[i], true, &tls, &per_host);
		if (per_host > 2 && m->host[i].v4.n > 0) {	/* leave room for IPv4 */
			m->result.n -= per_host - 2;
			per_host = 2;
		}
		mx_add(m, &m->host[i], false, &tls, &per_host);
	}
	if (m->route == ROUTE_MX && m->nhost > 0)
		mx_group(m->env.conf, m->host[0].name, m->result.group);
	if (m->result.n == 0) {
		mx_nothing(m, below != UINT32_MAX);
		return;
	}
	m->result.outcome = DELIVER_OK;
	mx_end(m);
}

/* DNS has said all; the policy may still be on its way. */
static void
mx_ready(struct mx_lookup *m)
{
	m->ready = true;
	if (m->sts_query == NULL)
		mx_decide(m);
}

static void
mx_on_sts(void *arg, const struct mta_sts *p)
{
	struct mx_lookup *m = arg;

	m->sts_query = NULL;
	if (p != NULL)
		mta_sts_copy(&m->sts, p);
	if (m->ready)
		mx_decide(m);
}

static void
mx_on_tlsa(void *arg, const struct dns_answer *a)
{
	struct mx_host *h = arg;
	struct mx_lookup *m = h->lookup;

	h->query = NULL;
	h->tlsa_failed = a->status == DNS_FAIL;
	if (a->status == DNS_OK && a->secure)
		h->tlsa = tlsa_parse(a->rrs);
	if (--m->waiting == 0)
		mx_ready(m);
}

/* RFC 7672 2.2.2: only an address that was proved leads on to TLSA records. */
static bool
mx_host_secure(const struct mx_lookup *m, const struct mx_host *h)
{
	return m->secure && m->route != ROUTE_LMTP && h->v6.n + h->v4.n > 0 &&
	    (h->v6.n == 0 || h->v6.secure) && (h->v4.n == 0 || h->v4.secure);
}

static void
mx_ask_tlsa(struct mx_lookup *m)
{
	char name[DNS_NAME_MAX + 16];
	struct mx_host *h;
	size_t i;

	m->waiting = 1;
	for (i = 0; i < m->nhost && m->tls != DELIVER_TLS_OPTIONAL; i++) {
		h = &m->host[i];
		if (!mx_host_secure(m, h))
			continue;
		(void)snprintf(name, sizeof(name), "_%u._tcp.%s", m->port, h->name);
		m->waiting++;
		h->query = dns_ask(m->env.dns, DNS_TLSA, slice_str(name), mx_on_tlsa, h);
	}
	if (--m->waiting == 0)
		mx_ready(m);
}

static void
mx_on_address(void *arg, const struct dns_answer *a)
{
	struct mx_addrs *x = arg;
	struct mx_lookup *m = x->host->lookup;
	struct slice list = a->rrs;
	struct dns_rr rr;
	size_t want = a->type == DNS_A ? 4 : 16;

	x->query = NULL;
	x->failed = a->status == DNS_FAIL;
	x->secure = a->secure != 0;
	x->host->gone = a->status == DNS_NXDOMAIN;
	while (x->n < MX_ADDRS_MAX && wire_item_next(&list, &dns_rr_wire, &rr) == 1)
		if (rr.data.n == want)
			memcpy(x->addr[x->n++], rr.data.p, want);
	if (--m->waiting == 0)
		mx_ask_tlsa(m);
}

static void
mx_ask_addresses(struct mx_lookup *m)
{
	struct mx_host *h;
	size_t i;

	qsort(m->host, m->nhost, sizeof(m->host[0]), mx_order);
	m->waiting = 2 * m->nhost;
	for (i = 0; i < m->nhost; i++) {
		h = &m->host[i];
		h->lookup = m;
		h->v6.host = h->v4.host = h;
		h->v6.query = dns_ask(m->env.dns, DNS_AAAA, slice_str(h->name), mx_on_address,
		    &h->v6);
		h->v4.query = dns_ask(m->env.dns, DNS_A, slice_str(h->name), mx_on_address,
		    &h->v4);
	}
}

static void
mx_add_host(struct mx_lookup *m, struct slice name, uint16_t pref)
{
	struct mx_host *h, *worst;
	size_t i;

	if (m->nhost < MX_HOSTS_MAX) {
		h = &m->host[m->nhost++];
	} else {	/* keep the best preferences */
		worst = &m->host[0];
		for (i = 1; i < m->nhost; i++)
			if (m->host[i].pref > worst->pref)
				worst = &m->host[i];
		if (pref >= worst->pref)
			return;
		h = worst;
	}
	memset(h, 0, sizeof(*h));
	h->pref = pref;
	crypto_random(&h->shuffle, sizeof(h->shuffle));
	if (slice_cstr(name, h->name, sizeof(h->name)) != 0)
		h->name[0] = '\0';	/* answered as NXDOMAIN */
}

static void
mx_on_mx(void *arg, const struct dns_answer *a)
{
	struct mx_lookup *m = arg;
	struct slice list = a->rrs, domain = a->name;
	bool null_mx = false;
	struct dns_rr rr;

	m->query = NULL;
	m->secure = a->secure != 0;
	if (a->status == DNS_FAIL) {
		mx_fail(m, DELIVER_TEMP, "4.4.3", "DNS lookup of the domain failed");
		return;
	}
	if (a->status == DNS_NXDOMAIN) {
		mx_fail(m, DELIVER_LOCAL, "5.1.2", "no such domain");
		return;
	}
	while (wire_item_next(&list, &dns_rr_wire, &rr) == 1) {
		if (rr.data.n == 0)
			null_mx = true;		/* beside others: void (RFC 7505 3) */
		else
			mx_add_host(m, rr.data, rr.pref);
	}
	if (m->nhost == 0 && null_mx) {
		mx_fail(m, DELIVER_LOCAL, "5.1.10", "null-mx");
		return;
	}
	if (m->nhost == 0) {
		m->implicit = true;
		mx_add_host(m, domain, 0);
	}
	mx_ask_addresses(m);
}

/* An address instead of a name: answered through a question that needs no asking, so
 * that the callback comes later here too. */
static void
mx_on_literal(void *arg, const struct dns_answer *a)
{
	struct mx_lookup *m = arg;

	(void)a;
	m->query = NULL;
	mx_decide(m);
}

struct mx_lookup *
mx_resolve(const struct mx_env *env, uint8_t route, struct slice host, uint16_t port,
    uint8_t tls, mx_fn *fn, void *arg)
{
	struct mx_lookup *m = mem_new(sizeof(*m));
	struct dns *d = env->dns;
	struct mx_host *h;

	m->env = *env;
	m->fn = fn;
	m->arg = arg;
	m->route = route;
	m->tls = tls;
	m->secure = route != ROUTE_MX;	/* the administrator wrote the name */
	m->port = route == ROUTE_MX ? env->conf->smtp_port : port;
	if (route == ROUTE_MX) {
		m->query = dns_ask(d, DNS_MX, host, mx_on_mx, m);
		if (env->sts != NULL && tls != DELIVER_TLS_OPTIONAL)
			m->sts_query = sts_ask(env->sts, host, mx_on_sts, m);
		return m;
	}
	mx_add_host(m, host, 0);
	h = &m->host[0];
	if (inet_pton(AF_INET, h->name, h->v4.addr[0]) == 1)
		h->v4.n = 1;
	else if (inet_pton(AF_INET6, h->name, h->v6.addr[0]) == 1)
		h->v6.n = 1;
	if (h->v4.n + h->v6.n > 0)
		m->query = dns_ask(d, DNS_A, SLICE_LIT("localhost"), mx_on_literal, m);
	else
		mx_ask_addresses(m);
	return m;
}

void
mx_cancel(struct mx_lookup **mp)
{
	struct mx_lookup *m = *mp;

	*mp = NULL;
	if (m != NULL)
		mx_free(m);
}
