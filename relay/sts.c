// SPDX-License-Identifier: Apache-2.0
/*
 * One entry a domain. A job of an entry goes TXT record -> addresses of the policy host ->
 * HTTPS, and ends in sts_done, which answers all that wait. Lists are changed by DNS and
 * HTTPS callbacks and by sts_ask, never while a callback of ours runs: answers go out from
 * a timer of zero.
 */
#include "relay/sts.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { STS_ADDRESSES_MAX = 4, STS_VALUE_VERSION = 1 };

enum sts_job {
	STS_IDLE,
	STS_RECORD,	/* waiting for the TXT record */
	STS_WAIT,	/* for a place among the fetches */
	STS_ADDRESS,	/* of the policy host */
	STS_FETCH
};

struct sts_entry;

struct sts_query {
	TAILQ_ENTRY(sts_query)	 link;		/* waiters of the entry, or ready */
	struct sts_entry	*entry;		/* borrowed; it stays while we wait */
	bool			 ready;
	sts_fn			*fn;
	void			*arg;
};
TAILQ_HEAD(sts_queries, sts_query);

struct sts_entry {
	struct sts		*sts;		/* borrowed */
	TAILQ_ENTRY(sts_entry)	 link;		/* all, oldest use first */
	TAILQ_ENTRY(sts_entry)	 wait_link;
	enum sts_job		 job;
	struct sts_queries	 waiters;
	unsigned		 nready;	/* queries on the ready list */
	bool			 have;		/* policy, id and times are set */
	struct mta_sts		 policy;	/* owned */
	char			 id[MTA_STS_ID_MAX + 1];
	char			 new_id[MTA_STS_ID_MAX + 1];	/* of the fetch under way */
	int64_t			 expires_ms;	/* monotonic */
	int64_t			 refresh_ms;	/* monotonic: fetched anew from then on */
	int64_t			 retry_ms;	/* monotonic: no fetch before; 0 none failed */
	struct dns_query	*dns[2];	/* TXT or AAAA, A */
	char			 addresses[STS_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1) + 1];
	struct https_get	*get;
	char			 domain[];	/* clean */
};
TAILQ_HEAD(sts_entries, sts_entry);

struct sts {
	struct loop		*loop;		/* borrowed, as the next three */
	const struct conf	*conf;
	struct dns		*dns;
	struct https		*https;
	sts_keep_fn		*keep;
	void			*arg;
	void			*table;		/* tsearch root of entries */
	struct sts_entries	 all, waiting;
	struct sts_queries	 ready;
	struct timer		*timer;		/* runs the ready list */
	struct timer		*sweep;
	unsigned		 n, fetching;
	struct sts_stats	 stats;
};

static void sts_fetch(struct sts_entry *e);

static int
sts_compare(const void *a, const void *b)
{
	const struct sts_entry *x = a, *y = b;

	return strcmp(x->domain, y->domain);
}

static void
sts_entry_free(struct sts_entry *e)
{
	struct sts *s = e->sts;

	(void)tdelete(e, &s->table, sts_compare);
	TAILQ_REMOVE(&s->all, e, link);
	s->n--;
	if (e->job == STS_WAIT)
		TAILQ_REMOVE(&s->waiting, e, wait_link);
	dns_cancel(&e->dns[0]);
	dns_cancel(&e->dns[1]);
	https_cancel(&e->get);
	mta_sts_fini(&e->policy);
	free(e);
}

static bool
sts_busy(const struct sts_entry *e)
{
	return e->job != STS_IDLE || !TAILQ_EMPTY(&e->waiters) || e->nready > 0;
}

static bool
sts_valid(const struct sts_entry *e)
{
	return e->have && clock_mono_ms() < e->expires_ms;
}

/* Room for one more: who knows nothing goes before who knows a policy. */
static void
sts_room(struct sts *s)
{
	struct sts_entry *e, *victim = NULL;

	if (s->n < STS_DOMAINS_MAX)
		return;
	TAILQ_FOREACH(e, &s->all, link)
		if (!sts_busy(e) && (victim == NULL || !sts_valid(e))) {
			victim = e;
			if (!sts_valid(e))
				break;
		}
	if (victim != NULL)
		sts_entry_free(victim);
}

/* NULL when that is no domain. */
static struct sts_entry *
sts_entry(struct sts *s, struct slice domain)
{
	struct sts_entry *e = mem_new(sizeof(*e) + DNS_NAME_MAX + 1), **found;

	if (domain.n == 0 || slice_cstr(domain, e->domain, DNS_NAME_MAX + 1) != 0) {
		free(e);
		return NULL;
	}
	bytes_lower(e->domain, domain.n);
	found = tfind(e, &s->table, sts_compare);
	if (found != NULL) {
		free(e);
		e = *found;
		TAILQ_REMOVE(&s->all, e, link);
		TAILQ_INSERT_TAIL(&s->all, e, link);
		return e;
	}
	sts_room(s);
	if (tsearch(e, &s->table, sts_compare) == NULL)
		abort();
	e->sts = s;
	TAILQ_INIT(&e->waiters);
	TAILQ_INSERT_TAIL(&s->all, e, link);
	s->n++;
	return e;
}

/* -- answers --------------------------------------------------------------------- */

static void
sts_ready(struct sts *s, struct sts_query *q)
{
	q->ready = true;
	q->entry->nready++;
	TAILQ_INSERT_TAIL(&s->ready, q, link);
	timer_arm(s->timer, 0);
}

/* Nothing known and nobody waiting: the next one asks DNS again, which has its cache. */
static void
sts_maybe_forget(struct sts_entry *e)
{
	if (!sts_busy(e) && !sts_valid(e) && clock_mono_ms() >= e->retry_ms)
		sts_entry_free(e);
}

static void
sts_run_ready(void *arg)
{
	struct sts *s = arg;
	struct sts_entry *e;
	struct sts_query *q;

	while ((q = TAILQ_FIRST(&s->ready)) != NULL) {
		TAILQ_REMOVE(&s->ready, q, link);
		e = q->entry;
		q->fn(q->arg, sts_valid(e) ? &e->policy : NULL);
		free(q);
		e->nready--;
		sts_maybe_forget(e);
	}
}

static void
sts_done(struct sts_entry *e)
{
	struct sts *s = e->sts;
	struct sts_query *q;
	bool was_fetch = e->job == STS_ADDRESS || e->job == STS_FETCH;

	e->job = STS_IDLE;
	while ((q = TAILQ_FIRST(&e->waiters)) != NULL) {
		TAILQ_REMOVE(&e->waiters, q, link);
		sts_ready(s, q);
	}
	if (!was_fetch)
		return;
	s->fetching--;
	e = TAILQ_FIRST(&s->waiting);
	if (e != NULL) {
		TAILQ_REMOVE(&s->waiting, e, wait_link);
		e->job = STS_IDLE;
		sts_fetch(e);
	}
}

/* -- policies -------------------------------------------------------------------- */

/* The sweep runs when the next policy is to be fetched anew, or at its usual time. */
static void
sts_sweep_soon(struct sts *s)
{
	int64_t now = clock_mono_ms(), at = now + STS_SWEEP_MS, due;
	const struct sts_entry *e;

	TAILQ_FOREACH(e, &s->all, link) {
		due = e->refresh_ms > e->retry_ms ? e->refresh_ms : e->retry_ms;
		if (sts_valid(e) && due > now && due < at)
			at = due;
	}
	timer_arm(s->sweep, at - now);
}

/* `age_ms`: how long ago it was fetched. */
static void
sts_take(struct sts_entry *e, const struct mta_sts *p, const char *id, int64_t age_ms)
{
	int64_t now = clock_mono_ms(), life = (int64_t)p->max_age_s * 1000;
	int64_t refresh = life / 2 < STS_REFRESH_MS ? life / 2 : STS_REFRESH_MS;

	mta_sts_fini(&e->policy);
	mta_sts_copy(&e->policy, p);
	(void)snprintf(e->id, sizeof(e->id), "%s", id);
	e->have = true;
	e->expires_ms = now + life - age_ms;
	e->refresh_ms = now + refresh - age_ms;
	e->retry_ms = 0;
	sts_sweep_soon(e->sts);
}

/* The value of struct queue_keep: what is needed of a policy, versioned. */
struct sts_value {
	uint8_t		version, mode;
	uint32_t	max_age_s;
	uint64_t	fetched_ms;	/* wall clock */
	struct slice	id, mx;
};
static const struct wire_field value_f[] = {
	WIRE_U8(struct sts_value, version, STS_VALUE_VERSION),
	WIRE_U8(struct sts_value, mode, MTA_STS_MODE_MAX - 1),
	WIRE_U32(struct sts_value, max_age_s, MTA_STS_AGE_MAX_S),
	WIRE_U64(struct sts_value, fetched_ms),
	WIRE_STR(struct sts_value, id, MTA_STS_ID_MAX),
	WIRE_STR(struct sts_value, mx, KEEP_VALUE_MAX - 64),
};
static const struct wire_desc value_wire = WIRE_DESC("sts_value", struct sts_value, value_f);

static void
sts_keep(struct sts_entry *e)
{
	const struct sts_value v = { STS_VALUE_VERSION, e->policy.mode, e->policy.max_age_s,
		(uint64_t)clock_wall_ms(), slice_str(e->id), slice_str(e->policy.mx) };
	struct queue_keep k;
	char key[KEEP_KEY_MAX];
	struct buf b;

	buf_init(&b, KEEP_VALUE_MAX);
	(void)snprintf(key, sizeof(key), "sts:%s", e->domain);
	k.until_ms = v.fetched_ms + (uint64_t)v.max_age_s * 1000;
	k.key = slice_str(key);
	if (wire_put(&b, &value_wire, &v) == 0) {	/* else it lasts as long as we do */
		k.value = buf_slice(&b);
		e->sts->keep(e->sts->arg, &k);
	}
	buf_fini(&b);
}

void
sts_known(struct sts *s, const struct queue_keep *k)
{
	int64_t age;
	struct sts_entry *e;
	struct sts_value v;
	char id[MTA_STS_ID_MAX + 1];
	struct mta_sts p;

	if (!slice_istarts(k->key, SLICE_LIT("sts:")) ||
	    wire_get(k->value, &value_wire, &v) != 0 || v.version != STS_VALUE_VERSION ||
	    slice_cstr(v.id, id, sizeof(id)) != 0 || memchr(v.mx.p, '\0', v.mx.n) != NULL)
		return;
	age = clock_wall_ms() - (int64_t)v.fetched_ms;
	if (age < 0)		/* a clock that was set back */
		age = 0;
	if (age >= (int64_t)v.max_age_s * 1000)
		return;
	e = sts_entry(s, slice_sub(k->key, 4, k->key.n));
	if (e == NULL)
		return;
	p = (struct mta_sts){ v.mode, v.max_age_s, slice_dup(v.mx) };
	if (!sts_valid(e) || e->expires_ms < clock_mono_ms() + (int64_t)v.max_age_s * 1000 - age)
		sts_take(e, &p, id, age);
	mta_sts_fini(&p);
}

static void
sts_failed(struct sts_entry *e, const char *why)
{
	e->sts->stats.failed++;
	e->retry_ms = clock_mono_ms() + STS_RETRY_MS;
	log_warn("mta-sts-fetch", "domain=%s error=%s effect=%s", log_escs(e->domain),
	    log_escs(why), sts_valid(e) ? "\"the policy known is kept\"" : "\"no policy\"");
	sts_done(e);
}

/* -- the fetch ------------------------------------------------------------------- */

static void
sts_on_reply(void *arg, const struct https_reply *r)
{
	struct sts_entry *e = arg;
	struct mta_sts p;
	char why[64];

	e->get = NULL;
	if (r->status != 200) {	/* redirects are no policy either (3.3) */
		(void)snprintf(why, sizeof(why), "HTTP status %u", r->status);
		sts_failed(e, r->status == 0 ? r->error : why);
	} else if (!slice_istarts(r->type, SLICE_LIT("text/plain"))) {
		sts_failed(e, "the reply is not text/plain");
	} else if (mta_sts_parse(r->body, &p) != 0) {
		sts_failed(e, "the reply is not a policy");
	} else {
		e->sts->stats.fetched++;
		sts_take(e, &p, e->new_id, 0);
		mta_sts_fini(&p);
		log_info("mta-sts", "domain=%s mode=%u max_age_s=%u", log_escs(e->domain),
		    e->policy.mode, e->policy.max_age_s);
		sts_keep(e);
		sts_done(e);
	}
}

static bool
sts_address_ok(const struct sts *s, const struct dns_rr *rr, char out[INET6_ADDRSTRLEN])
{
	const uint8_t *a = (const uint8_t *)rr->data.p;
	static const uint8_t one[16] = { [15] = 1 };

	if (rr->data.n != 4 && rr->data.n != 16)
		return false;
	/* A stranger's name must not lead us to services of this host. */
	if (!s->conf->deliver_to_loopback && (rr->data.n == 4 ? a[0] == 127 || a[0] == 0 :
	    memcmp(a, one, 15) == 0))
		return false;
	return inet_ntop(rr->data.n == 4 ? AF_INET : AF_INET6, a, out, INET6_ADDRSTRLEN) != NULL;
}

static void
sts_start_get(struct sts_entry *e)
{
	struct sts *s = e->sts;
	char host[DNS_NAME_MAX + 16];
	const struct https_want w = {
		.host = host, .port = s->conf->mta_sts_port, .path = "/.well-known/mta-sts.txt",
		.addresses = e->addresses, .size_max = MTA_STS_TEXT_MAX,
		.timeout_ms = s->conf->mta_sts_timeout_ms,
	};

	(void)snprintf(host, sizeof(host), "mta-sts.%s", e->domain);
	e->job = STS_FETCH;
	e->get = https_fetch(s->https, &w, sts_on_reply, e);
	if (e->get == NULL)
		sts_failed(e, "the request cannot be made");
}

static void
sts_on_address(void *arg, const struct dns_answer *a)
{
	struct sts_entry *e = arg;
	char text[INET6_ADDRSTRLEN];
	struct slice list = a->rrs;
	struct dns_rr rr;
	size_t n;

	e->dns[a->type == DNS_A] = NULL;
	while (wire_item_next(&list, &dns_rr_wire, &rr) == 1) {
		n = strlen(e->addresses);
		if (!sts_address_ok(e->sts, &rr, text) ||
		    n + strlen(text) + 2 > sizeof(e->addresses))
			continue;
		(void)snprintf(e->addresses + n, sizeof(e->addresses) - n, "%s%s",
		    n > 0 ? "," : "", text);
	}
	if (e->dns[0] != NULL || e->dns[1] != NULL)
		return;
	if (e->addresses[0] == '\0')
		sts_failed(e, "the policy host has no address");
	else
		sts_start_get(e);
}

static void
sts_fetch(struct sts_entry *e)
{
	struct sts *s = e->sts;
	char host[DNS_NAME_MAX + 16];

	if (s->fetching >= STS_FETCHES_MAX) {
		e->job = STS_WAIT;
		TAILQ_INSERT_TAIL(&s->waiting, e, wait_link);
		return;
	}
	s->fetching++;
	e->job = STS_ADDRESS;
	e->addresses[0] = '\0';
	(void)snprintf(host, sizeof(host), "mta-sts.%s", e->domain);
	e->dns[0] = dns_ask(s->dns, DNS_AAAA, slice_str(host), sts_on_address, e);
	e->dns[1] = dns_ask(s->dns, DNS_A, slice_str(host), sts_on_address, e);
}

/* RFC 8461 3.1: exactly one record, else there is none. */
static void
sts_record(const struct dns_answer *a, char id[MTA_STS_ID_MAX + 1])
{
	char one[MTA_STS_ID_MAX + 1];
	struct slice list = a->rrs;
	unsigned n = 0;
	struct dns_rr rr;

	id[0] = '\0';
	while (wire_item_next(&list, &dns_rr_wire, &rr) == 1)
		if (mta_sts_record(rr.data, one)) {
			n++;
			(void)snprintf(id, MTA_STS_ID_MAX + 1, "%s", one);
		}
	if (n != 1)
		id[0] = '\0';
}

/* A record that is gone or cannot be had does not end a policy that is known (5.1). */
static void
sts_on_record(void *arg, const struct dns_answer *a)
{
	struct sts_entry *e = arg;
	int64_t now = clock_mono_ms();
	bool old;

	e->dns[0] = NULL;
	sts_record(a, e->new_id);
	old = sts_valid(e) && strcmp(e->id, e->new_id) == 0 && now < e->refresh_ms;
	if (e->new_id[0] == '\0' || old || now < e->retry_ms)
		sts_done(e);
	else
		sts_fetch(e);
}

static void
sts_look(struct sts_entry *e)
{
	char name[DNS_NAME_MAX + 16];

	e->job = STS_RECORD;
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", e->domain);
	e->dns[0] = dns_ask(e->sts->dns, DNS_TXT, slice_str(name), sts_on_record, e);
}

struct sts_query *
sts_ask(struct sts *s, struct slice domain, sts_fn *fn, void *arg)
{
	struct sts_entry *e = s->https == NULL || !s->conf->mta_sts ? NULL : sts_entry(s, domain);
	struct sts_query *q;

	if (e == NULL)
		return NULL;
	q = mem_new(sizeof(*q));
	q->entry = e;
	q->fn = fn;
	q->arg = arg;
	/* Mail does not wait for a policy to be fetched anew while the old one is good. */
	if (sts_valid(e) && e->job >= STS_WAIT) {
		sts_ready(s, q);
		return q;
	}
	TAILQ_INSERT_TAIL(&e->waiters, q, link);
	if (e->job == STS_IDLE)
		sts_look(e);
	return q;
}

void
sts_cancel(struct sts_query **qp)
{
	struct sts_query *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	if (q->ready) {
		TAILQ_REMOVE(&q->entry->sts->ready, q, link);
		q->entry->nready--;
	} else {
		TAILQ_REMOVE(&q->entry->waiters, q, link);
	}
	free(q);
}

/* -- life ------------------------------------------------------------------------ */

/* Old policies are fetched before they end, mail or no mail (RFC 8461 10.2). */
static void
sts_sweep(void *arg)
{
	struct sts *s = arg;
	struct sts_entry *e, *next;
	int64_t now = clock_mono_ms();

	for (e = TAILQ_FIRST(&s->all); e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		if (sts_busy(e))
			continue;
		if (!sts_valid(e))
			sts_maybe_forget(e);
		else if (now >= e->refresh_ms && now >= e->retry_ms &&
		    s->fetching < STS_FETCHES_MAX && s->conf->mta_sts && s->https != NULL)
			sts_look(e);
	}
	sts_sweep_soon(s);
}

struct sts *
sts_new(struct loop *l, const struct conf *c, struct dns *d, struct https *h,
    sts_keep_fn *keep, void *arg)
{
	struct sts *s = mem_new(sizeof(*s));

	s->loop = l;
	s->conf = c;
	s->dns = d;
	s->https = h;
	s->keep = keep;
	s->arg = arg;
	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->waiting);
	TAILQ_INIT(&s->ready);
	s->timer = timer_new(l, sts_run_ready, s);
	s->sweep = timer_new(l, sts_sweep, s);
	timer_arm(s->sweep, STS_SWEEP_MS);
	return s;
}

void
sts_reload(struct sts *s, const struct conf *c, struct https *h)
{
	s->conf = c;
	s->https = h;
}

void
sts_free(struct sts **sp)
{
	struct sts *s = *sp;
	struct sts_entry *e;

	*sp = NULL;
	if (s == NULL)
		return;
	CHECK(TAILQ_EMPTY(&s->ready));
	while ((e = TAILQ_FIRST(&s->all)) != NULL) {
		CHECK(TAILQ_EMPTY(&e->waiters));
		sts_entry_free(e);
	}
	timer_free(&s->timer);
	timer_free(&s->sweep);
	free(s);
}

void
sts_stats(const struct sts *s, struct sts_stats *out)
{
	const struct sts_entry *e;

	*out = s->stats;
	out->policies = 0;
	TAILQ_FOREACH(e, &s->all, link)
		out->policies += e->have;
}
