// SPDX-License-Identifier: Apache-2.0
/*
 * An entry is a question and, once it came, its answer. Waiters hang on the entry; when
 * the answer is there they move to the ready list, which a timer of zero runs, so no
 * callback ever happens inside dns_ask. Entries are counted references: one of the
 * table, one of each waiter.
 *
 * The table is a balanced tree (tsearch), not a hash: its keys are chosen by strangers.
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/dns_hosts.h"
#include "relay/dns_net.h"
#include "relay/dns_packet.h"
#include "relay/dns_priv.h"

enum {
	DNS_PENDING_MAX = 8192,		/* questions in flight */
	DNS_FAIL_TTL_MS = 5000,		/* how long a failure is believed */
	DNS_CACHE_BYTES = 512,		/* of records per name of dns_cache_max, on average */
};

TAILQ_HEAD(dns_queries, dns_query);

struct dns_entry {
	struct dns		*dns;		/* borrowed */
	TAILQ_ENTRY(dns_entry)	 link;		/* pending or lru */
	struct dns_queries	 waiters;
	unsigned		 refs;
	bool			 in_table;
	bool			 pending;	/* no answer yet */
	bool			 sent;		/* the net has it */
	bool			 edns;		/* the question carries OPT */
	uint16_t		 type;
	uint8_t			 status;	/* enum dns_status */
	uint8_t			 secure;
	int64_t			 expires_ms;	/* monotonic */
	char			*rrs;		/* owned, items of struct dns_rr */
	size_t			 nrrs;		/* bytes */
	char			 name[];	/* clean, NUL-ended */
};

struct dns_query {
	TAILQ_ENTRY(dns_query)	 link;		/* entry's waiters, or ready */
	struct dns_entry	*entry;		/* counted */
	bool			 ready;
	dns_fn			*fn;
	void			*arg;
	size_t			 nasked;
	char			 asked[];	/* the name as the caller wrote it */
};

TAILQ_HEAD(dns_entries, dns_entry);

struct dns {
	struct loop		*loop;		/* borrowed */
	struct dns_net		*net;		/* owned */
	struct dns_hosts	*hosts;		/* owned */
	struct dns_hosts	*localhost;	/* owned; all that is not DNS's in a verdict */
	char			*resolv_conf;	/* owned text or NULL */
	struct timer		*timer;		/* runs the ready list */
	void			*table;		/* tsearch root of entries */
	struct dns_entry	*key;		/* owned, what tfind looks for */
	struct dns_entries	 pending;	/* asked, not answered */
	struct dns_entries	 lru;		/* answered, oldest use first */
	struct dns_queries	 ready;
	unsigned		 npending, ncached;
	size_t			 bytes;		/* of cached records */
	unsigned		 cache_max;	/* names */
	int64_t			 ttl_min_ms, ttl_max_ms;
	bool			 trusted;	/* the resolvers' AD bit is believed */
	struct buf		 rrs;		/* scratch of one answer */
	struct dns_stats	 stats;
};

static int
dns_compare(const void *a, const void *b)
{
	const struct dns_entry *x = a, *y = b;

	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return strcmp(x->name, y->name);
}

static struct dns_entry *
dns_entry_new(struct dns *d, uint16_t type, const char *name)
{
	size_t n = strlen(name) + 1;
	struct dns_entry *e = mem_new(sizeof(*e) + n);

	e->dns = d;
	e->type = type;
	e->edns = true;
	memcpy(e->name, name, n);
	TAILQ_INIT(&e->waiters);
	return e;
}

static void
dns_entry_unref(struct dns_entry *e)
{
	if (--e->refs > 0)
		return;
	free(e->rrs);
	free(e);
}

static struct dns_entry *
dns_entry_find(struct dns *d, uint16_t type, const char *name)
{
	struct dns_entry **found;

	d->key->type = type;
	(void)slice_cstr(slice_str(name), d->key->name, DNS_NAME_MAX + 1);
	found = tfind(d->key, &d->table, dns_compare);
	return found == NULL ? NULL : *found;
}

/* Out of the table; who still waits for it keeps it alive. */
static void
dns_entry_forget(struct dns *d, struct dns_entry *e)
{
	if (!e->in_table)
		return;
	(void)tdelete(e, &d->table, dns_compare);
	e->in_table = false;
	if (e->pending) {
		TAILQ_REMOVE(&d->pending, e, link);
		d->npending--;
	} else {
		TAILQ_REMOVE(&d->lru, e, link);
		d->ncached--;
		d->bytes -= e->nrrs;
	}
	dns_entry_unref(e);
}

static void
dns_trim(struct dns *d)
{
	while (d->ncached > d->cache_max || d->bytes > (size_t)d->cache_max * DNS_CACHE_BYTES)
		dns_entry_forget(d, TAILQ_FIRST(&d->lru));
}

static void
dns_ready(struct dns *d, struct dns_query *q)
{
	q->ready = true;
	TAILQ_INSERT_TAIL(&d->ready, q, link);
	timer_arm(d->timer, 0);
}

static int64_t
dns_ttl_ms(const struct dns *d, const struct dns_packet *p)
{
	int64_t ms = (int64_t)p->ttl_s * 1000;

	if (p->status == DNS_FAIL)
		return DNS_FAIL_TTL_MS;
	if (ms < d->ttl_min_ms)
		ms = d->ttl_min_ms;
	return ms > d->ttl_max_ms ? d->ttl_max_ms : ms;
}

/* The answer is in p and d->rrs: from pending to cached, waiters to ready. */
static void
dns_answered(struct dns *d, struct dns_entry *e, const struct dns_packet *p)
{
	struct slice rrs = buf_slice(&d->rrs);
	struct dns_query *q;

	TAILQ_REMOVE(&d->pending, e, link);
	d->npending--;
	e->pending = false;
	e->status = p->status;
	e->secure = p->secure && d->trusted;
	e->nrrs = rrs.n;
	e->rrs = rrs.n > 0 ? slice_dup(rrs) : NULL;
	e->expires_ms = clock_mono_ms() + dns_ttl_ms(d, p);
	TAILQ_INSERT_TAIL(&d->lru, e, link);
	d->ncached++;
	d->bytes += e->nrrs;
	if (p->status == DNS_FAIL)
		d->stats.failed++;
	while ((q = TAILQ_FIRST(&e->waiters)) != NULL) {
		TAILQ_REMOVE(&e->waiters, q, link);
		dns_ready(d, q);
	}
	dns_trim(d);
}

static void dns_send(struct dns *d, struct dns_entry *e);

static void
dns_on_net(void *arg, enum dns_net_status st, struct slice msg)
{
	struct dns_packet p = { DNS_FAIL, 0, 0, 0 };
	struct dns_entry *e = arg;
	struct dns *d = e->dns;

	if (st == DNS_NET_CLOSED)	/* reload: asked again on the new channel */
		return;
	buf_clear(&d->rrs);
	if (st == DNS_NET_TIMEOUT)
		d->stats.timeouts++;
	if (st == DNS_NET_ANSWER) {
		dns_packet_read(msg, e->name, e->type, &p, &d->rrs);
		if (p.status == DNS_FAIL && p.rcode == 1 && e->edns) {
			e->edns = false;	/* FORMERR: a server from before RFC 2671 */
			dns_send(d, e);
			return;
		}
	}
	if (p.status == DNS_FAIL)
		log_debug("dns-fail", "name=%s type=%u why=%d rcode=%u", log_escs(e->name),
		    e->type, (int)st, p.rcode);
	dns_answered(d, e, &p);
}

static void
dns_send(struct dns *d, struct dns_entry *e)
{
	uint8_t msg[DNS_QUERY_MAX];
	uint16_t id;
	size_t n;

	crypto_random(&id, sizeof(id));
	n = dns_packet_query(msg, id, e->name, e->type, e->edns);
	CHECK(n > 0);
	dns_net_send(d->net, msg, n, dns_on_net, e);
}

/* An answer that needs no asking; not cached. */
static struct dns_entry *
dns_static(struct dns *d, uint16_t type, const char *name, uint8_t status)
{
	struct dns_entry *e = dns_entry_new(d, type, name);
	struct slice rrs = buf_slice(&d->rrs);

	e->status = status;
	e->nrrs = status == DNS_OK ? rrs.n : 0;
	e->rrs = e->nrrs > 0 ? slice_dup(rrs) : NULL;
	return e;
}

/* The entry for that question: known, in flight, or now asked. */
static struct dns_entry *
dns_entry_for(struct dns *d, const struct dns_hosts *hosts, uint16_t type, const char *name)
{
	struct dns_entry *e;

	buf_clear(&d->rrs);
	if (dns_hosts_find(hosts, type, name, &d->rrs))
		return dns_static(d, type, name, DNS_OK);
	e = dns_entry_find(d, type, name);
	if (e != NULL && !e->pending && e->expires_ms <= clock_mono_ms()) {
		dns_entry_forget(d, e);
		e = NULL;
	}
	if (e != NULL) {
		d->stats.cached++;
		if (!e->pending) {
			TAILQ_REMOVE(&d->lru, e, link);
			TAILQ_INSERT_TAIL(&d->lru, e, link);
		}
		return e;
	}
	if (d->npending >= DNS_PENDING_MAX) {
		d->stats.failed++;
		return dns_static(d, type, name, DNS_FAIL);
	}
	e = dns_entry_new(d, type, name);
	if (tsearch(e, &d->table, dns_compare) == NULL)
		abort();
	e->refs = 1;
	e->in_table = e->pending = true;
	TAILQ_INSERT_TAIL(&d->pending, e, link);
	d->npending++;
	return e;
}

static struct dns_query *
dns_ask_beside(struct dns *d, const struct dns_hosts *hosts, uint16_t type, struct slice name,
    dns_fn *fn, void *arg)
{
	struct slice asked = slice_sub(name, 0, DNS_NAME_MAX);
	struct dns_query *q = mem_new(sizeof(*q) + asked.n + 1);
	char clean[DNS_NAME_MAX + 1];
	struct dns_entry *e;

	d->stats.asked++;
	q->fn = fn;
	q->arg = arg;
	q->nasked = asked.n;
	if (asked.n > 0)
		memcpy(q->asked, asked.p, asked.n);
	if (dns_name_clean(name, clean) != 0)
		e = dns_static(d, type, "", DNS_NXDOMAIN);
	else
		e = dns_entry_for(d, hosts, type, clean);
	q->entry = e;
	e->refs++;
	if (!e->pending) {
		dns_ready(d, q);
		return q;
	}
	TAILQ_INSERT_TAIL(&e->waiters, q, link);
	if (!e->sent) {
		e->sent = true;
		dns_send(d, e);
	}
	return q;
}

struct dns_query *
dns_ask(struct dns *d, uint16_t type, struct slice name, dns_fn *fn, void *arg)
{
	return dns_ask_beside(d, d->hosts, type, name, fn, arg);
}

struct dns_query *
dns_ask_public(struct dns *d, uint16_t type, struct slice name, dns_fn *fn, void *arg)
{
	return dns_ask_beside(d, d->localhost, type, name, fn, arg);
}

void
dns_cancel(struct dns_query **qp)
{
	struct dns_query *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	if (q->ready)
		TAILQ_REMOVE(&q->entry->dns->ready, q, link);
	else
		TAILQ_REMOVE(&q->entry->waiters, q, link);
	dns_entry_unref(q->entry);
	free(q);
}

static void
dns_answer_of(const struct dns_entry *e, struct slice asked, struct dns_answer *a)
{
	a->name = asked;
	a->type = e->type;
	a->status = e->status;
	a->secure = e->secure;
	a->rrs = slice_make(e->rrs, e->nrrs);
}

static void
dns_run_ready(void *arg)
{
	struct dns *d = arg;
	struct dns_query *q;
	struct dns_answer a;
	unsigned budget = 256;	/* then the sockets get their turn */

	while (budget-- > 0 && (q = TAILQ_FIRST(&d->ready)) != NULL) {
		TAILQ_REMOVE(&d->ready, q, link);
		dns_answer_of(q->entry, slice_make(q->asked, q->nasked), &a);
		q->fn(q->arg, &a);
		dns_entry_unref(q->entry);
		free(q);
	}
	if (!TAILQ_EMPTY(&d->ready))
		timer_arm(d->timer, 0);
}

bool
dns_cached(struct dns *d, uint16_t type, struct slice name, struct buf *out)
{
	char clean[DNS_NAME_MAX + 1];
	struct dns_entry *e, *made = NULL;
	struct dns_answer a;
	bool ok;

	if (dns_name_clean(name, clean) != 0)
		return false;
	buf_clear(&d->rrs);
	if (dns_hosts_find(d->localhost, type, clean, &d->rrs)) {
		e = made = dns_static(d, type, clean, DNS_OK);
		made->refs = 1;
	} else {
		e = dns_entry_find(d, type, clean);
	}
	if (e == NULL || e->pending || (made == NULL && e->expires_ms <= clock_mono_ms()))
		return false;
	dns_answer_of(e, name, &a);
	ok = wire_item_put(out, &dns_answer_wire, &a) == 0;
	if (made != NULL)
		dns_entry_unref(made);
	else
		d->stats.cached++;
	return ok;
}

/* RFC 7672 2.1.1, 2.1.2: the AD bit is worth what the way to the resolver is worth. */
static bool
dns_trusted(const struct conf *c, const struct dns_server *s, size_t n)
{
	size_t i;

	if (c->resolver_trust != RESOLVER_LOOPBACK)
		return c->resolver_trust == RESOLVER_ALWAYS;
	for (i = 0; i < n; i++)
		if (!dns_server_loopback(&s[i]))
			return false;
	return true;
}

/* What was believed of other resolvers, or under another setting, is asked again. */
static void
dns_trust(struct dns *d, bool trusted)
{
	struct dns_entry *e, *next;

	for (e = TAILQ_FIRST(&d->lru); trusted != d->trusted && e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		dns_entry_forget(d, e);
	}
	d->trusted = trusted;
}

static struct dns_net *
dns_open_net(struct dns *d, const struct conf *c, bool *trusted)
{
	struct dns_server s[DNS_SERVERS_MAX];
	size_t i, n = 0;

	for (i = 0; i < c->nresolver && n < DNS_SERVERS_MAX; i++) {
		if (dns_server_parse(slice_str(c->resolver[i]), &s[n]) == 0)
			n++;
		else
			log_error("resolver-skipped", "address=%s", log_escs(c->resolver[i]));
	}
	if (n == 0 && d->resolv_conf != NULL)
		n = dns_servers_from_text(d->resolv_conf, s, DNS_SERVERS_MAX);
	if (n == 0)	/* what resolv.conf(5) says of a file without servers */
		n = dns_server_parse(SLICE_LIT("127.0.0.1"), &s[0]) == 0 ? 1 : 0;
	*trusted = dns_trusted(c, s, n);
	return dns_net_new(d->loop, s, n, c->dns_timeout_ms, c->dns_tries);
}

static void
dns_configure(struct dns *d, const struct conf *c)
{
	d->cache_max = c->dns_cache_max;
	d->ttl_min_ms = c->dns_ttl_min_ms;
	d->ttl_max_ms = c->dns_ttl_max_ms;
}

struct dns *
dns_new(struct loop *l, const struct conf *c, const char *resolv_conf, const char *hosts)
{
	struct dns *d = mem_new(sizeof(*d));

	d->loop = l;
	d->resolv_conf = mem_str(resolv_conf);
	d->hosts = dns_hosts_new(hosts);
	d->localhost = dns_hosts_new(NULL);
	TAILQ_INIT(&d->pending);
	TAILQ_INIT(&d->lru);
	TAILQ_INIT(&d->ready);
	buf_init(&d->rrs, DNS_RRS_MAX);
	d->key = mem_new(sizeof(*d->key) + DNS_NAME_MAX + 1);
	d->timer = timer_new(l, dns_run_ready, d);
	dns_configure(d, c);
	d->net = dns_open_net(d, c, &d->trusted);
	if (d->net == NULL)
		dns_free(&d);
	return d;
}

void
dns_reload(struct dns *d, const struct conf *c)
{
	bool trusted;
	struct dns_net *fresh = dns_open_net(d, c, &trusted);
	struct dns_entries again = TAILQ_HEAD_INITIALIZER(again);
	struct dns_entry *e;

	dns_configure(d, c);
	dns_trim(d);
	if (fresh == NULL)	/* logged; the old servers are better than none */
		return;
	dns_net_free(&d->net);
	d->net = fresh;
	dns_trust(d, trusted);
	/* A send can end at once, so the list is taken apart and built up again. */
	TAILQ_CONCAT(&again, &d->pending, link);
	while ((e = TAILQ_FIRST(&again)) != NULL) {
		TAILQ_REMOVE(&again, e, link);
		TAILQ_INSERT_TAIL(&d->pending, e, link);
		dns_send(d, e);
	}
}

void
dns_free(struct dns **dp)
{
	struct dns *d = *dp;
	struct dns_query *q;
	struct dns_entry *e;

	*dp = NULL;
	if (d == NULL)
		return;
	dns_net_free(&d->net);
	while ((q = TAILQ_FIRST(&d->ready)) != NULL)
		dns_cancel(&q);
	while ((e = TAILQ_FIRST(&d->pending)) != NULL) {
		while ((q = TAILQ_FIRST(&e->waiters)) != NULL)
			dns_cancel(&q);
		dns_entry_forget(d, e);
	}
	while ((e = TAILQ_FIRST(&d->lru)) != NULL)
		dns_entry_forget(d, e);
	dns_hosts_free(&d->hosts);
	dns_hosts_free(&d->localhost);
	timer_free(&d->timer);
	buf_fini(&d->rrs);
	free(d->resolv_conf);
	free(d->key);
	free(d);
}

void
dns_stats(const struct dns *d, struct dns_stats *out)
{
	*out = d->stats;
}

struct loop *
dns_loop(const struct dns *d)
{
	return d->loop;
}
