// SPDX-License-Identifier: Apache-2.0
#include "relay/relay_role.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_probe.h"
#include "base/proto/relay_queue.h"
#include "relay/deliver.h"
#include "relay/dns.h"
#include "relay/ingest.h"
#include "relay/listener.h"
#include "relay/phases.h"
#include "relay/probe.h"
#include "relay/recheck.h"
#include "relay/routing.h"
#include "relay/smtp_session.h"
#include "relay/sts.h"
#include "relay/tls.h"

enum {
	TEXT_MAX	= 256 * 1024,	/* of resolv.conf, hosts, certificate, key */
	STOP_GRACE_MS	= 5 * 1000,
	STOP_LOOK_MS	= 20
};

struct relay {
	struct role		*role;
	struct dns		*dns;
	struct https		*https;
	struct sts		*sts;
	struct tls_context	*tls_server;	/* NULL: STARTTLS is not offered */
	struct tls_context	*tls_client;
	struct ingest		*ingest;
	struct smtp_server	*server;
	struct deliver		*deliver;
	struct probes		*probes;
	struct mx_self		*self;		/* the machine's addresses, read before we were confined */
	struct rechecks		*rechecks;
	struct phases		*phases;
	struct routing		*routing;
	uint8_t			 canary_key[CANARY_KEY];
	struct timer		*drain;		/* once stopping: deliveries end first */
	int64_t			 drain_ms;	/* mono ms: not waited for any longer */
	bool			 stopping;
	struct listener		**listener;	/* nlistener of them */
	size_t			 nlistener;
};

/* -- deliveries ------------------------------------------------------------------ */

static void
relay_delivered(void *arg, const struct queue_delivered *d)
{
	struct relay *rl = arg;
	struct ipc *ch = role_link(rl->role, ROLE_QUEUE, 0);

	/* Without a queue nobody waits for it: what it asked dies with the link, and a new
	 * queue tries again. */
	if (ch != NULL && ipc_send(ch, QUEUE_DELIVERED, &queue_delivered_wire, d, -1) != 0)
		log_warn("delivered-unsent", "req=%llu", (unsigned long long)d->req);
}

/* A policy of a destination, for the next life and for the other relays. */
static void
relay_keep(void *arg, const struct queue_keep *v)
{
	struct relay *rl = arg;
	struct ipc *ch = role_link(rl->role, ROLE_QUEUE, 0);

	if (ch != NULL)
		(void)ipc_send(ch, QUEUE_KEEP, &queue_keep_wire, v, -1);
}

static void
relay_routed(void *arg, const struct queue_routed *r)
{
	struct relay *rl = arg;
	struct ipc *ch = role_link(rl->role, ROLE_QUEUE, 0);

	if (ch != NULL && ipc_send(ch, QUEUE_ROUTED, &queue_routed_wire, r, -1) != 0)
		log_warn("routed-unsent", "req=%llu", (unsigned long long)r->req);
}

static struct deliver *
relay_deliver_new(struct relay *rl)
{
	struct deliver *d = deliver_new(rl->role->loop, rl->role->conf, rl->dns, rl->sts,
	    rl->tls_client, rl->self, relay_delivered, rl);

	if (d != NULL)
		deliver_on_route(d, relay_routed);
	return d;
}

/* What the queue asks beside deliveries. false: not for us. */
static bool
relay_asked(struct relay *rl, uint32_t type, struct slice body)
{
	struct queue_route r;
	struct queue_close c;
	struct queue_probe p;
	struct queue_keep k;

	if (type == QUEUE_PROBE && wire_get(body, &queue_probe_wire, &p) == 0)
		probes_start(rl->probes, &p);
	else if (type == QUEUE_PHASES)
		return phases_message(rl->phases, body) == 0;
	else if (type == QUEUE_ROUTE && wire_get(body, &queue_route_wire, &r) == 0)
		deliver_route(rl->deliver, r.req, r.domain);
	else if (type == QUEUE_CLOSE && wire_get(body, &queue_close_wire, &c) == 0)
		deliver_close(rl->deliver, c.group);
	else if (type == QUEUE_KEEP && wire_get(body, &queue_keep_wire, &k) == 0)
		sts_known(rl->sts, &k);
	else
		return false;
	return true;
}

static void
relay_deliver(struct relay *rl, struct slice body, int fd)
{
	struct queue_deliver q;
	struct queue_delivered failed = { .outcome = DELIVER_TEMP, .scope = SCOPE_MESSAGE,
		.text = SLICE_LIT("no body came with the request") };

	if (wire_get(body, &queue_deliver_wire, &q) != 0) {
		log_error("deliver-malformed", "bytes=%zu", body.n);
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (rl->stopping) {	/* no answer: it is given to the relay that comes after us */
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (fd < 0) {
		failed.req = q.req;
		relay_delivered(rl, &failed);
		return;
	}
	deliver_start(rl->deliver, &q, fd);
}

/* -- second looks ----------------------------------------------------------------- */

static void
relay_evaluated(void *arg, const struct queue_evaluated *m)
{
	struct relay *rl = arg;
	struct ipc *ch = role_link(rl->role, ROLE_QUEUE, 0);

	if (ch != NULL && ipc_send(ch, QUEUE_EVALUATED, &queue_evaluated_wire, m, -1) != 0)
		log_warn("evaluated-unsent", "req=%llu", (unsigned long long)m->req);
}

static void
relay_evaluate(struct relay *rl, struct slice body, int fd)
{
	struct queue_evaluate q;

	if (fd >= 0 && !rl->stopping && wire_get(body, &queue_evaluate_wire, &q) == 0) {
		recheck_start(rl->rechecks, &q, fd);
		return;
	}
	/* No answer: the queue gives up waiting, or this link, and asks again. */
	if (!rl->stopping)
		log_error("evaluate-malformed", "bytes=%zu", body.n);
	if (fd >= 0)
		(void)close(fd);
}

/* -- probes ----------------------------------------------------------------------- */

static void
relay_probed(void *arg, const struct queue_probed *r)
{
	struct relay *rl = arg;
	struct ipc *ch = role_link(rl->role, ROLE_QUEUE, 0);

	if (ch != NULL && ipc_send(ch, QUEUE_PROBED, &queue_probed_wire, r, -1) != 0)
		log_warn("probed-unsent", "req=%llu", (unsigned long long)r->req);
}

/* Stable over restarts, the same in all relays: a canary may come back to another one. */
static void
relay_canary_key(struct role *r, uint8_t out[CANARY_KEY])
{
	uint8_t made[CANARY_KEY];
	size_t n = 0;
	char *secret = role_resource_text(r, "log-key", 64, &n);

	crypto_random(made, sizeof(made));
	canary_key(secret != NULL && n > 0 ? slice_make(secret, n) :
	    slice_make((const char *)made, sizeof(made)), out);
	if (secret != NULL)
		OPENSSL_cleanse(secret, n);
	free(secret);
}

/* -- start ----------------------------------------------------------------------- */

static struct ipc *
links_link(void *arg, enum role_kind peer, unsigned index)
{
	return role_link(arg, peer, index);
}

static struct ipc *
links_any(void *arg, enum role_kind peer, unsigned *index)
{
	return role_any(arg, peer, index);
}

struct relay_pem {		/* a certificate and its key, by the names of resources */
	char	*cert, *key;		/* owned */
	size_t	 ncert, nkey;
};

static void
relay_pem_fini(struct relay_pem *p)
{
	if (p->key != NULL)
		OPENSSL_cleanse(p->key, p->nkey);
	free(p->key);
	free(p->cert);
}

/* The first makes *out, the others are added to it. 0 or -1 after logging why. */
static int
relay_certificate(struct role *r, const char *cert, const char *key, const char *cert_file,
    const char *key_file, struct tls_context **out)
{
	struct relay_pem p = { .cert = NULL };
	char why[256] = "cannot be read";
	int rc = -1;

	p.cert = role_resource_text(r, cert, TEXT_MAX, &p.ncert);
	p.key = role_resource_text(r, key, TEXT_MAX, &p.nkey);
	if (p.cert != NULL && p.key != NULL && *out == NULL) {
		*out = tls_server_new(slice_make(p.cert, p.ncert), slice_make(p.key, p.nkey),
		    why, sizeof(why));
		rc = *out == NULL ? -1 : 0;
	} else if (p.cert != NULL && p.key != NULL) {
		rc = tls_server_add(*out, slice_make(p.cert, p.ncert),
		    slice_make(p.key, p.nkey), why, sizeof(why));
	}
	if (rc != 0)
		log_error("tls", "tls-cert-file=%s tls-key-file=%s reason=%s", log_escs(cert_file),
		    log_escs(key_file), log_escs(why));
	relay_pem_fini(&p);
	return rc;
}

static void
relay_tickets(struct role *r, struct tls_context *c)
{
	size_t n = 0;
	char *secret = role_resource_text(r, "tls-ticket", TLS_TICKET_SECRET + 1, &n);

	if (secret != NULL && n == TLS_TICKET_SECRET)
		tls_server_tickets(c, (const uint8_t *)secret);
	if (secret != NULL)
		OPENSSL_cleanse(secret, n);
	free(secret);
}

/* 0 with *out set or left NULL (not configured), -1 after logging why. */
static int
relay_server_tls(struct role *r, struct tls_context **out)
{
	const struct conf *c = r->conf;
	char cert[32], key[32];
	int rc;

	*out = NULL;
	if (c->tls_cert_file == NULL)
		return 0;
	rc = relay_certificate(r, "tls-cert", "tls-key", c->tls_cert_file, c->tls_key_file, out);
	for (size_t i = 0; rc == 0 && i < c->ncertificate; i++) {
		if (c->certificate[i].cert_file == NULL)
			continue;
		(void)snprintf(cert, sizeof(cert), "tls-cert:%zu", i);
		(void)snprintf(key, sizeof(key), "tls-key:%zu", i);
		rc = relay_certificate(r, cert, key, c->certificate[i].cert_file,
		    c->certificate[i].key_file, out);
	}
	if (rc == 0)
		relay_tickets(r, *out);
	else
		tls_context_free(out);
	return rc;
}

static void
relay_unlisten(struct relay *rl)
{
	for (size_t i = 0; i < rl->nlistener; i++)
		listener_free(&rl->listener[i]);
	free(rl->listener);
	rl->listener = NULL;
	rl->nlistener = 0;
	routing_unlisten(rl->routing);
}

static int
relay_listen_routing(struct relay *rl)
{
	const struct conf *c = rl->role->conf;
	int ret = 0;

	for (size_t i = 0; i < c->nrouting_listen; i++) {
		char name[32];
		int fd;

		(void)snprintf(name, sizeof(name), "routing:%zu", i);
		fd = role_resource(rl->role, name);
		if (fd >= 0) {
			routing_listen(rl->routing, fd);
			continue;
		}
		log_error("listen", "address=%s reason=\"no socket was given\"",
		    c->routing_listen[i]);
		ret = -1;
	}
	return ret;
}

static int
relay_listen(struct relay *rl)
{
	const struct conf *c = rl->role->conf;
	int ret = 0;

	rl->listener = mem_array(c->nlisten == 0 ? 1 : c->nlisten, sizeof(rl->listener[0]));
	for (size_t i = 0; i < c->nlisten; i++) {
		char name[32];
		int fd;

		(void)snprintf(name, sizeof(name), "listen:%zu", i);
		fd = role_resource(rl->role, name);
		if (fd < 0) {
			log_error("listen", "address=%s reason=\"no socket was given\"",
			    c->listen[i].address);
			ret = -1;
			continue;
		}
		rl->listener[rl->nlistener++] = listener_new(rl->role->loop, fd, rl->server,
		    (c->listen[i].tls ? SESSION_TLS : 0u) |
		    (c->listen[i].proxy ? SESSION_PROXY : 0u) |
		    (c->listen[i].lmtp ? SESSION_LMTP : 0u));
	}
	return relay_listen_routing(rl) != 0 ? -1 : ret;
}

static struct dns *
relay_dns(struct role *r)
{
	char *resolv = role_resource_text(r, "resolv.conf", TEXT_MAX, NULL);
	char *hosts = role_resource_text(r, "hosts", TEXT_MAX, NULL);
	struct dns *d = dns_new(r->loop, r->conf, resolv, hosts);

	free(resolv);
	free(hosts);
	return d;
}

/* Only where it is wanted: the library is large. */
static int
relay_https(struct relay *rl)
{
	if (rl->https == NULL && rl->role->conf->mta_sts)
		rl->https = https_new(rl->role->loop, rl->tls_client);
	return rl->https == NULL && rl->role->conf->mta_sts ? -1 : 0;
}

static int
relay_start(struct role *r)
{
	struct relay *rl = mem_new(sizeof(*rl));
	struct ingest_links links = { links_link, links_any, r };
	char why[256];

	rl->role = r;
	r->priv = rl;
	if (relay_server_tls(r, &rl->tls_server) != 0)
		return -1;
	rl->tls_client = tls_client_new(r->conf->tls_ca_file, why, sizeof(why));
	if (rl->tls_client == NULL) {
		log_error("tls", "reason=%s fix=\"see tls-ca-file\"", log_escs(why));
		return -1;
	}
	rl->dns = relay_dns(r);
	if (rl->dns == NULL)
		return -1;
	if (relay_https(rl) != 0)
		return -1;
	rl->sts = sts_new(r->loop, r->conf, rl->dns, rl->https, relay_keep, rl);
	rl->ingest = ingest_new(r->loop, r->conf, rl->dns, &links, r->index);
	rl->server = smtp_server_new(r->loop, r->conf, rl->ingest, rl->tls_server);
	smtp_server_greylist(rl->server, role_resource(r, "greylist"));
	rl->self = mx_self_new(r->conf, NULL);
	rl->deliver = relay_deliver_new(rl);
	if (rl->deliver == NULL)
		return -1;
	rl->rechecks = rechecks_new(rl->ingest, relay_evaluated, rl);
	rl->phases = phases_new();
	rl->routing = routing_new(r->loop, r->conf, rl->phases);
	relay_canary_key(r, rl->canary_key);
	ingest_watch(rl->ingest, rl->phases, rl->canary_key);
	rl->probes = probes_new(r->loop, r->conf, rl->dns, rl->tls_client, rl->self,
	    rl->canary_key, relay_probed, rl);
	return relay_listen(rl);
}

/* -- life ------------------------------------------------------------------------ */

static void
relay_message(struct role *r, enum role_kind peer, unsigned index, struct ipc *ch,
    uint32_t type, struct slice body, int fd)
{
	struct relay *rl = r->priv;

	(void)ch;
	if (rl->ingest == NULL) {	/* stopped: too late */
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (peer == ROLE_QUEUE && type == QUEUE_DELIVER) {
		relay_deliver(rl, body, fd);
		return;
	}
	if (peer == ROLE_QUEUE && type == QUEUE_EVALUATE) {
		relay_evaluate(rl, body, fd);
		return;
	}
	if (peer == ROLE_QUEUE && relay_asked(rl, type, body)) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (!ingest_message(rl->ingest, peer, index, type, body))
		log_warn("unexpected", "peer=%s type=%x", role_name(peer), type);
	if (fd >= 0)
		(void)close(fd);
}

static void
relay_link_down(struct role *r, enum role_kind peer, unsigned index)
{
	struct relay *rl = r->priv;

	if (rl->ingest == NULL)
		return;
	ingest_link_down(rl->ingest, peer, index);
	if (peer != ROLE_QUEUE)
		return;
	rechecks_free(&rl->rechecks);
	rl->rechecks = rechecks_new(rl->ingest, relay_evaluated, rl);
	/* A new queue counts its requests anew: a result of the old one's could settle a leg
	 * that was never tried. What is under way ends here, the new queue asks again. */
	deliver_free(&rl->deliver);
	rl->deliver = relay_deliver_new(rl);
	CHECK(rl->deliver != NULL);
	probes_free(&rl->probes);
	rl->probes = probes_new(r->loop, r->conf, rl->dns, rl->tls_client, rl->self,
	    rl->canary_key, relay_probed, rl);
}

static void
relay_reload(struct role *r)
{
	struct relay *rl = r->priv;
	struct tls_context *server = NULL, *old;

	/* A certificate that cannot be used leaves the old one in place. */
	if (relay_server_tls(r, &server) == 0) {
		old = rl->tls_server;
		rl->tls_server = server;
		tls_context_free(&old);
	}
	/* The trust store stays that of the start: its files are out of sight by now. */
	dns_reload(rl->dns, r->conf);
	(void)relay_https(rl);	/* has logged why not; the rest of the reload holds */
	sts_reload(rl->sts, r->conf, rl->https);
	ingest_reload(rl->ingest, r->conf);
	smtp_server_reload(rl->server, r->conf, rl->tls_server);
	deliver_reload(rl->deliver, r->conf);
	probes_reload(rl->probes, r->conf);
	routing_reload(rl->routing, r->conf);
	relay_unlisten(rl);
	(void)relay_listen(rl);
}

/*
 * A message whose last byte is sent has its answer on the way: cutting that off would
 * deliver it a second time. Bounded, as the host may never answer.
 */
static void
relay_drain(void *arg)
{
	struct relay *rl = arg;
	struct role *r = rl->role;
	struct deliver_stats d;

	deliver_stats(rl->deliver, &d);
	if (d.in_flight > 0 && clock_mono_ms() < rl->drain_ms) {
		timer_arm(rl->drain, STOP_LOOK_MS);
		return;
	}
	timer_free(&rl->drain);
	smtp_server_free(&rl->server);
	rechecks_free(&rl->rechecks);
	ingest_free(&rl->ingest);
	deliver_free(&rl->deliver);
	probes_free(&rl->probes);
	mx_self_free(&rl->self);
	routing_free(&rl->routing);
	phases_free(&rl->phases);
	role_done(r);
}

static void
relay_stopped(void *arg)
{
	struct relay *rl = arg;

	rl->drain = timer_new(rl->role->loop, relay_drain, rl);
	timer_arm(rl->drain, 0);
}

static void
relay_stop(struct role *r)
{
	struct relay *rl = r->priv;

	rl->stopping = true;
	rl->drain_ms = clock_mono_ms() + STOP_GRACE_MS;
	relay_unlisten(rl);
	smtp_server_stop(rl->server, STOP_GRACE_MS, relay_stopped, rl);
}

static int
relay_status_filters(const struct milter_stats *s, struct buf *out)
{
	return buf_printf(out, ",\"filters\":{\"asked\":%llu,\"refused\":%llu,\"tempfailed\":%llu,"
	    "\"held\":%llu,\"discarded\":%llu,\"failed\":%llu,\"fields_added\":%llu,"
	    "\"changes_ignored\":%llu}", (unsigned long long)s->asked,
	    (unsigned long long)s->refused, (unsigned long long)s->tempfailed,
	    (unsigned long long)s->held, (unsigned long long)s->discarded,
	    (unsigned long long)s->failed, (unsigned long long)s->fields,
	    (unsigned long long)s->ignored);
}

/* A counter for each bound of the front door; docs/front-door.md has them all. */
static int
relay_status_bounds(const struct smtp_server_stats *s, struct buf *out)
{
	const struct { const char *name; uint64_t n; } t[] = {
		{ "crowded", s->crowded }, { "crowded_sessions", s->crowded_sessions },
		{ "crowded_address", s->crowded_address },
		{ "crowded_network", s->crowded_network }, { "crowded_rate", s->crowded_rate },
		{ "evicted", s->evicted }, { "early_talkers", s->early },
		{ "tarpitted", s->tarpitted }, { "listed", s->listed },
		{ "greylisted", s->greylisted }, { "guesses", s->guesses }, { "slow", s->slow },
		{ "proxy_refused", s->proxy_refused }, { "timeouts", s->timeouts },
		{ "timeouts_command", s->timeouts_command },
		{ "timeouts_data", s->timeouts_data },
		{ "timeouts_session", s->timeouts_session },
		{ "timeouts_tls", s->timeouts_tls },
	};
	int bad = 0;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		bad |= buf_printf(out, "\"%s\":%llu,", t[i].name, (unsigned long long)t[i].n);
	for (enum smtp_count i = 0; i < SMTP_COUNT_MAX; i++)
		bad |= buf_printf(out, "\"%s\":%llu,", smtp_count_name(i),
		    (unsigned long long)s->count[i]);
	return bad;
}

static int
relay_status_inbound(struct relay *rl, struct buf *out)
{
	struct smtp_server_stats s;
	struct ingest_stats g;

	smtp_server_stats(rl->server, &s);
	ingest_stats(rl->ingest, &g);
	return relay_status_bounds(&s, out) != 0 ? -1 :
	    buf_printf(out, "\"sessions\":%u,\"sessions_total\":%llu,\"tls\":%llu,"
	    "\"tls_failed\":%llu,\"waiting_for_memory\":%u,"
	    "\"body_bytes\":%llu,\"in_flight\":%u,\"accepted\":%llu,\"refused\":%llu,"
	    "\"deferred\":%llu,\"unevaluated\":%llu,\"evaluations\":%llu", s.sessions,
	    (unsigned long long)s.sessions_total, (unsigned long long)s.tls,
	    (unsigned long long)s.tls_failed, s.waiting, (unsigned long long)s.body_bytes,
	    g.in_flight, (unsigned long long)g.accepted, (unsigned long long)g.refused,
	    (unsigned long long)g.deferred, (unsigned long long)g.unevaluated,
	    (unsigned long long)g.runs) != 0 ? -1 : relay_status_filters(&g.filter, out);
}

/* By whose policy, and what went wrong, in the words of RFC 8460. */
static int
relay_status_tls(const struct deliver_tls_stats *t, struct buf *out)
{
	static const char *const policy[MX_POLICY_MAX] = {
		[MX_POLICY_NONE] = "no-policy-found", [MX_POLICY_TLSA] = "tlsa",
		[MX_POLICY_STS] = "sts",
	};
	int bad = buf_printf(out, ",\"tls_out\":{\"clear\":%llu", (unsigned long long)t->clear);

	for (unsigned i = 0; i < MX_POLICY_MAX; i++)
		bad |= buf_printf(out, ",\"%s\":{\"ok\":%llu,\"failed\":%llu}", policy[i],
		    (unsigned long long)t->ok[i], (unsigned long long)t->failed[i]);
	for (enum tls_fault f = TLS_FAULT_NONE + 1; f < TLS_FAULT_MAX; f++)
		bad |= buf_printf(out, ",\"%s\":%llu", tls_fault_name(f),
		    (unsigned long long)t->fault[f]);
	return bad | buf_puts(out, "}");
}

static void
relay_status(struct role *r, struct buf *out)
{
	struct relay *rl = r->priv;
	struct deliver_stats d;
	struct dns_stats n;
	struct sts_stats t;

	if (rl->server == NULL || relay_status_inbound(rl, out) != 0)
		return;
	deliver_stats(rl->deliver, &d);
	dns_stats(rl->dns, &n);
	sts_stats(rl->sts, &t);
	if (buf_printf(out, ",\"delivered\":%llu,\"delivery_temp\":%llu,\"delivery_perm\":%llu,"
	    "\"delivery_unknown\":%llu,\"delivery_local\":%llu,\"connections\":%llu,"
	    "\"reused\":%llu,\"connections_open\":%u,\"deliveries\":%u,\"dns_asked\":%llu,"
	    "\"dns_cached\":%llu,\"dns_failed\":%llu,\"dns_timeouts\":%llu",
	    (unsigned long long)d.ok, (unsigned long long)d.temp, (unsigned long long)d.perm,
	    (unsigned long long)d.unknown, (unsigned long long)d.local,
	    (unsigned long long)d.connections, (unsigned long long)d.reused, d.open,
	    d.in_flight, (unsigned long long)n.asked, (unsigned long long)n.cached,
	    (unsigned long long)n.failed, (unsigned long long)n.timeouts) != 0 ||
	    buf_printf(out, ",\"routing_answers\":%llu",
	    (unsigned long long)routing_answered(rl->routing)) != 0 ||
	    relay_status_tls(&d.tls, out) != 0 ||
	    buf_printf(out, ",\"mta_sts_policies\":%u,\"mta_sts_fetched\":%llu,"
	    "\"mta_sts_failed\":%llu", t.policies, (unsigned long long)t.fetched,
	    (unsigned long long)t.failed) != 0)
		log_warn("status", "reason=\"does not fit\"");
}

const struct role_ops relay_ops = {
	.kind = ROLE_RELAY,
	.needs = SANDBOX_CONNECT | SANDBOX_NOSY,
	.start = relay_start,
	.message = relay_message,
	.link_down = relay_link_down,
	.reload = relay_reload,
	.stop = relay_stop,
	.status = relay_status,
};
