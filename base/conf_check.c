// SPDX-License-Identifier: Apache-2.0
/* What only the whole configuration can tell. */
#include <stdlib.h>
#include <sys/un.h>

#include "base/conf_priv.h"

struct check {
	const struct conf		*c;
	const struct conf_places	*places;
	struct conf_errors		*err;
};

static int
line_of(const struct check *k, const char *path)
{
	return conf_place(k->places, path);
}

/* The line of whichever of the two was written. */
static int
line_of_either(const struct check *k, const char *a, const char *b)
{
	int line = line_of(k, a);

	return line != 0 ? line : line_of(k, b);
}

static void
check_pair(const struct check *k, const char *section, const char *a, const char *va,
    const char *b, const char *vb)
{
	char pa[128], pb[128];

	(void)snprintf(pa, sizeof(pa), "%s/%s", section, a);
	(void)snprintf(pb, sizeof(pb), "%s/%s", section, b);
	bool has_a = va != NULL || line_of(k, pa) != 0;	/* written, if wrongly */
	bool has_b = vb != NULL || line_of(k, pb) != 0;
	if (has_a && !has_b)
		conf_error(k->err, k->c->file, line_of(k, pa), a,
		    "needs %s beside it: add it, or remove both", b);
	if (has_b && !has_a)
		conf_error(k->err, k->c->file, line_of(k, pb), b,
		    "needs %s beside it: add it, or remove both", a);
}

/* "low" must not be over "high". Values in the unit of both. */
static void
check_order(const struct check *k, const char *low, uint64_t lv, const char *high, uint64_t hv)
{
	char pl[128], ph[128];

	if (lv <= hv)
		return;
	(void)snprintf(pl, sizeof(pl), "/%s", low);
	(void)snprintf(ph, sizeof(ph), "/%s", high);
	conf_error(k->err, k->c->file, line_of_either(k, pl, ph), low,
	    "is greater than %s: lower it, or raise %s", high, high);
}

static void
check_orders(const struct check *k)
{
	const struct conf *c = k->c;

	check_order(k, "header-size-max", c->header_size_max, "message-size-max",
	    c->message_size_max);
	check_order(k, "message-size-max", c->message_size_max, "body-memory-max",
	    c->body_memory_max);
	check_order(k, "command-timeout", (uint64_t)c->command_timeout_ms, "session-timeout",
	    (uint64_t)c->session_timeout_ms);
	check_order(k, "data-timeout", (uint64_t)c->data_timeout_ms, "session-timeout",
	    (uint64_t)c->session_timeout_ms);
	check_order(k, "dns-ttl-min", (uint64_t)c->dns_ttl_min_ms, "dns-ttl-max",
	    (uint64_t)c->dns_ttl_max_ms);
	check_order(k, "retry-min", (uint64_t)c->retry_min_ms, "retry-max",
	    (uint64_t)c->retry_max_ms);
}

static void
check_listens(const struct check *k)
{
	char path[400];

	for (size_t i = 0; i < k->c->nlisten; i++) {
		const struct conf_listen *l = &k->c->listen[i];
		(void)snprintf(path, sizeof(path), "listen %s/tls", l->address);
		bytes_lower(path, strlen(path));
		int line = line_of(k, path);
		if (l->tls && line != 0 && k->c->tls_cert_file == NULL)
			conf_error(k->err, k->c->file, line, "tls", "is on without a certificate: "
			    "set tls-cert-file and tls-key-file, or write tls = no");
		(void)snprintf(path, sizeof(path), "listen %s/proxy", l->address);
		bytes_lower(path, strlen(path));
		if (l->proxy && k->c->ntrusted_relay == 0 && line_of(k, "/trusted-relay") == 0)
			conf_error(k->err, k->c->file, line_of(k, path), "proxy", "is on, but "
			    "nobody may connect: name the front servers in trusted-relay");
	}
}

static void
check_certificates(const struct check *k)
{
	const struct conf *c = k->c;
	char path[400];

	for (size_t i = 0; i < c->ncertificate; i++) {
		const struct conf_certificate *x = &c->certificate[i];
		(void)snprintf(path, sizeof(path), "certificate %s", x->name);
		bytes_lower(path, strlen(path));
		check_pair(k, path, "cert-file", x->cert_file, "key-file", x->key_file);
		if (x->cert_file != NULL && x->key_file != NULL && c->tls_cert_file == NULL &&
		    line_of(k, "/tls-cert-file") == 0)
			conf_error(k->err, c->file, line_of(k, path), "certificate", "needs "
			    "tls-cert-file too, for clients that ask for no name: set it and "
			    "tls-key-file");
	}
	if (c->ncertificate > CONF_CERTIFICATES_MAX)
		conf_error(k->err, c->file, 0, "certificate", "there are more than %d: put several "
		    "names into one", CONF_CERTIFICATES_MAX);
}

static void
check_routing(const struct check *k)
{
	for (size_t i = 0; i < k->c->nrouting_listen; i++) {
		struct slice a = slice_str(k->c->routing_listen[i]);

		/* 53 is what an address of this type gets when it names none. */
		if (slice_eq(slice_sub(a, slice_rfind(a, ':'), a.n), SLICE_LIT(":53")))
			conf_error(k->err, k->c->file, line_of(k, "/routing-listen"),
			    "routing-listen", "has no port of its own: write 127.0.0.1:10025");
	}
}

static void
check_forwarder(const struct check *k)
{
	const struct conf_forwarder *f = &k->c->forwarder;

	if (line_of(k, "forwarder") == 0)
		return;
	check_pair(k, "forwarder", "dkim-selector", f->dkim_selector, "dkim-key-file",
	    f->dkim_key_file);
	check_pair(k, "forwarder", "arc-selector", f->arc_selector, "arc-key-file",
	    f->arc_key_file);
	if (line_of(k, "forwarder/arc") != 0 && f->arc && f->arc_key_file == NULL &&
	    f->dkim_key_file == NULL)
		conf_error(k->err, k->c->file, line_of(k, "forwarder/arc"), "arc",
		    "needs a key: add arc-selector and arc-key-file, or dkim-selector and "
		    "dkim-key-file");
	for (size_t i = 0; i < f->nnode_route; i++) {
		struct slice r = slice_str(f->node_route[i]);

		if (slice_eq(slice_sub(r, 0, slice_find(r, '=')), slice_str(f->node)))
			conf_error(k->err, k->c->file, line_of(k, "forwarder/node-route"),
			    "node-route", "names this relay's own node: list the others");
	}
	if (f->hash_min > f->hash_length)
		conf_error(k->err, k->c->file,
		    line_of_either(k, "forwarder/hash-min", "forwarder/hash-length"), "hash-min",
		    "is greater than hash-length: our own return paths would be refused; lower "
		    "it");
}

/* A route that leads straight back into this relay. */
static void
check_route(const struct check *k, const struct conf_route *r, const char *path)
{
	char full[800];

	if (r->kind != ROUTE_SMTP || r->host == NULL || strcmp(r->host, k->c->hostname) != 0)
		return;
	for (size_t i = 0; i < k->c->nlisten; i++) {
		struct slice a = slice_str(k->c->listen[i].address);
		uint64_t port;
		size_t colon = slice_rfind(a, ':');
		if (colon == a.n || slice_u64(slice_sub(a, colon + 1, a.n), &port) != 0 ||
		    port != r->port)
			continue;
		(void)snprintf(full, sizeof(full), "%s/primary", path);
		conf_error(k->err, k->c->file, line_of(k, full), "primary", "leads back into this "
		    "relay: name the host where the mailboxes are");
		return;
	}
}

static void
check_probe(const struct check *k, const struct conf_domain *d, const char *path)
{
	const struct conf_probe *p = &d->probe;
	char full[800];

	(void)snprintf(full, sizeof(full), "%s/probe/canary", path);
	if (p->depth >= PROBE_RCPT && p->canary == NULL && line_of(k, full) == 0) {
		(void)snprintf(full, sizeof(full), "%s/probe/depth", path);
		conf_error(k->err, k->c->file, line_of(k, full), "depth",
		    "needs a recipient: add canary = \"canary@%s\", a mailbox at the primary for "
		    "nothing else, or write depth = greeting", d->name);
	}
	(void)snprintf(full, sizeof(full), "%s/probe/settle", path);
	if (p->settle_ms < 5 * 60 * 1000)
		conf_warn(k->err, k->c->file, line_of(k, full), "settle", "is below 5 minutes: a "
		    "primary that comes and goes switches failover back and forth");
	(void)snprintf(full, sizeof(full), "%s/standby", path);
	if (d->standby_defer && d->failover == FAILOVER_OFF)
		conf_warn(k->err, k->c->file, line_of(k, full), "standby", "is defer while failover "
		    "is off: mail is only taken after `salvaposta failover on`; think of failover = "
		    "auto");
}

static bool
same_host(const struct conf_domain *a, const struct conf_domain *b)
{
	return a->primary.kind != ROUTE_MX && b->primary.kind != ROUTE_MX &&
	    strcmp(a->primary.host, b->primary.host) == 0;
}

/* All of several primaries out of reach is taken for our own fault, unless something tells. */
static void
check_reference(const struct check *k)
{
	const struct conf_domain *first = NULL;

	if (k->c->nprobe_reference > 0 || line_of(k, "/probe-reference") != 0)
		return;
	for (size_t i = 0; i < k->c->ndomain; i++) {
		const struct conf_domain *d = &k->c->domain[i];

		if (d->failover != FAILOVER_AUTO)
			continue;
		if (first != NULL && !same_host(first, d)) {
			conf_warn(k->err, k->c->file, 0, "probe-reference", "there is none: should all "
			    "primaries be out of reach at once, this relay takes it for its own "
			    "network's fault and does not begin failover by itself; name two hosts "
			    "elsewhere");
			return;
		}
		first = d;
	}
}

/* 12.3: the notice has no link. */
static void
check_status_page(const struct check *k, const struct conf_domain *d, const char *path)
{
	char full[800];

	if (d->status_page == NULL || (strstr(d->status_page, "://") == NULL &&
	    strchr(d->status_page, '@') == NULL))
		return;
	(void)snprintf(full, sizeof(full), "%s/status-page", path);
	conf_error(k->err, k->c->file, line_of(k, full), "status-page", "is a link or an address: "
	    "name the host and path as people type it, such as status.%s", d->name);
}

static void
check_baseline(const struct check *k, const struct conf_domain *d, const char *path)
{
	char full[800];

	if (d->baseline_share == 0)
		return;
	(void)snprintf(full, sizeof(full), "%s/baseline-share", path);
	if (d->standby_defer)
		conf_error(k->err, k->c->file, line_of(k, full), "baseline-share", "finds no mail while "
		    "standby is defer: in peace time this relay takes none; write standby = relay, or "
		    "keep the addresses warm with `salvaposta drill`");
	if (k->c->forwarder.domain == NULL && line_of(k, "forwarder") == 0)
		conf_error(k->err, k->c->file, line_of(k, full), "baseline-share",
		    "needs a forwarder section: add one");
}

static void
check_domain(const struct check *k, const struct conf_domain *d)
{
	char path[400], full[800];

	(void)snprintf(path, sizeof(path), "domain %s", d->name);
	if (k->c->forwarder.domain != NULL && strcmp(k->c->forwarder.domain, d->name) == 0)
		conf_error(k->err, k->c->file, line_of(k, path), d->name, "is the forwarder's "
		    "domain too: give return paths a domain of their own (fwd.%s)", d->name);
	(void)snprintf(full, sizeof(full), "%s/return-path", path);
	if (line_of(k, full) != 0 && d->return_path != RETURN_NULL &&
	    line_of(k, "forwarder") == 0)
		conf_error(k->err, k->c->file, line_of(k, full), "return-path",
		    "needs a forwarder section: add one, or write return-path = null");
	check_baseline(k, d, path);
	check_pair(k, path, "dkim-selector", d->dkim_selector, "dkim-key-file", d->dkim_key_file);
	check_route(k, &d->primary, path);
	check_probe(k, d, path);
	check_status_page(k, d, path);
	for (size_t i = 0; i < d->nshard; i++) {
		(void)snprintf(full, sizeof(full), "%s/shard %s", path, d->shard[i].name);
		bytes_lower(full, strlen(full));
		check_route(k, &d->shard[i].primary, full);
	}
}

static void
check_domains(const struct check *k)
{
	bool forwards = k->c->forwarder.domain != NULL || line_of(k, "forwarder") != 0;

	/* One that was refused for another fault is not missing as well. */
	if (k->c->ndomain == 0 && line_of(k, "any domain") == 0)
		conf_error(k->err, k->c->file, 0, "domain", "there is none, so no mail would be "
		    "taken: add domain \"example.it\" { primary = \"lmtp://host:24\" }");
	for (size_t i = 0; i < k->c->ndomain; i++) {
		check_domain(k, &k->c->domain[i]);
		forwards = forwards || k->c->domain[i].return_path == RETURN_NULL;
	}
	if (!forwards && k->c->ndomain > 0)
		conf_warn(k->err, k->c->file, 0, "forwarder", "there is no such section: mail is "
		    "held and replayed, but no copies are forwarded");
}

static void
check_ldif(const struct check *k)
{
	const struct conf *c = k->c;
	const struct { const char *key, *value; } map[] = {
		{ "ldif-address", c->ldif_address }, { "ldif-recovery", c->ldif_recovery },
		{ "ldif-aliases", c->ldif_aliases }, { "ldif-state", c->ldif_state },
		{ "ldif-shard", c->ldif_shard }, { "ldif-language", c->ldif_language },
		{ "ldif-verified-at", c->ldif_verified_at },
		{ "ldif-baseline", c->ldif_baseline },
	};
	const size_t n = sizeof(map) / sizeof(map[0]);
	char path[64];

	if (c->refresh_ldif && c->ldif_recovery == NULL && line_of(k, "/ldif-recovery") == 0)
		conf_error(k->err, c->file, line_of(k, "/refresh-format"), "refresh-format",
		    "ldif needs ldif-recovery: name the attribute with the recovery address");
	for (size_t i = 1; i < n; i++) {
		for (size_t j = 0; j < i && map[i].value != NULL; j++) {
			if (map[j].value == NULL ||
			    !slice_ieq(slice_str(map[i].value), slice_str(map[j].value)))
				continue;
			(void)snprintf(path, sizeof(path), "/%s", map[i].key);
			conf_error(k->err, c->file, line_of(k, path), map[i].key, "\"%s\" is %s "
			    "already: each needs an attribute of its own", map[i].value, map[j].key);
		}
	}
}

void
conf_check(const struct conf *c, const struct conf_places *p, struct conf_errors *e)
{
	struct check k = { .c = c, .places = p, .err = e };

	check_pair(&k, "", "tls-cert-file", c->tls_cert_file, "tls-key-file", c->tls_key_file);
	if (strlen(c->control_socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		conf_error(e, c->file, line_of_either(&k, "/control-socket", "/state-dir"),
		    "control-socket", "path is longer than a socket's may be (107 bytes): name a "
		    "shorter one, as /run/salvaposta/control.sock");
	check_certificates(&k);
	check_orders(&k);
	check_listens(&k);
	check_routing(&k);
	check_forwarder(&k);
	check_domains(&k);
	check_reference(&k);
	check_ldif(&k);
}
