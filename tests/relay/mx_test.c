// SPDX-License-Identifier: Apache-2.0
/* RFC 5321 5.1, RFC 7505 and spec 9.3: where a route may lead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/mx.h"
#include "tests/relay/dns_peer.h"

struct bed {
	struct loop		*loop;
	struct dns_peer		 peer;
	struct conf		 conf;
	struct conf_listen	 listen[2];
	char			*resolver[1];
	char			 hostname[32], l0[32], l1[32];
	struct dns		*dns;
	struct mx_self		*self;
	struct timer		*guard;
	bool			 late, done;
	uint8_t			 tls;		/* enum deliver_tls */
	unsigned		 usable;	/* records of the first target */
	struct mx_result	 r;
};

struct record {
	const char	*owner;
	uint16_t	 type;
	int		 pref;
	const char	*value;
};

static const struct record zone_rr[] = {
	{ "pref.example", DNS_MX, 30, "c.mx.example" }, { "pref.example", DNS_MX, 10, "a.mx.example" },
	{ "pref.example", DNS_MX, 20, "b.mx.example" },
	{ "a.mx.example", DNS_A, 0, "192.0.2.1" }, { "a.mx.example", DNS_AAAA, 0, "2001:db8::1" },
	{ "b.mx.example", DNS_A, 0, "192.0.2.2" }, { "c.mx.example", DNS_AAAA, 0, "2001:db8::3" },
	{ "equal.example", DNS_MX, 5, "b.mx.example" }, { "equal.example", DNS_MX, 5, "d.mx.example" },
	{ "d.mx.example", DNS_A, 0, "192.0.2.4" },
	{ "plain.example", DNS_A, 0, "192.0.2.9" },
	{ "null.example", DNS_MX, 0, "" },
	{ "nullplus.example", DNS_MX, 0, "" }, { "nullplus.example", DNS_MX, 10, "b.mx.example" },
	{ "empty.example", DNS_TXT, 0, "" },
	{ "dangling.example", DNS_MX, 10, "no.such.example" },
	{ "halfbroken.example", DNS_MX, 10, "broken.mx.example" },
	{ "backedup.example", DNS_MX, 10, "broken.mx.example" },
	{ "backedup.example", DNS_MX, 20, "b.mx.example" },
	{ "loopback.example", DNS_MX, 10, "lo.mx.example" },
	{ "lo.mx.example", DNS_A, 0, "127.0.0.1" }, { "lo.mx.example", DNS_AAAA, 0, "::1" },
	{ "odd.example", DNS_A, 0, "0.0.0.0" }, { "odd.example", DNS_A, 0, "224.0.0.1" },
	{ "odd.example", DNS_A, 0, "255.255.255.255" }, { "odd.example", DNS_AAAA, 0, "::" },
	{ "odd.example", DNS_AAAA, 0, "ff02::1" }, { "odd.example", DNS_AAAA, 0, "fe80::1" },
	{ "odd.example", DNS_AAAA, 0, "::ffff:127.0.0.1" },
	{ "self.example", DNS_MX, 10, "a.mx.example" }, { "self.example", DNS_MX, 20, "US.example" },
	{ "self.example", DNS_MX, 20, "b.mx.example" }, { "self.example", DNS_MX, 30, "d.mx.example" },
	{ "selfip.example", DNS_MX, 10, "ours.mx.example" }, { "selfip.example", DNS_MX, 20, "b.mx.example" },
	{ "ours.mx.example", DNS_A, 0, "192.0.2.200" },
	{ "us.example", DNS_A, 0, "192.0.2.200" },
	/* names in sec.example are signed, unless they say "plain" */
	{ "dane.sec.example", DNS_MX, 10, "good.sec.example" },
	{ "good.sec.example", DNS_A, 0, "192.0.2.50" },
	{ "_25._tcp.good.sec.example", DNS_TLSA, 311, "" },
	{ "_25._tcp.good.sec.example", DNS_TLSA, 202, "" },
	{ "_25._tcp.good.sec.example", DNS_TLSA, 11, "" },
	{ "_2525._tcp.good.sec.example", DNS_TLSA, 311, "" },
	{ "plainmx.example", DNS_MX, 10, "good.sec.example" },
	{ "odd.sec.example", DNS_MX, 10, "odd-mx.sec.example" },
	{ "odd-mx.sec.example", DNS_A, 0, "192.0.2.51" },
	{ "_25._tcp.odd-mx.sec.example", DNS_TLSA, 111, "" },
	{ "none.sec.example", DNS_MX, 10, "no-mx.sec.example" },
	{ "no-mx.sec.example", DNS_A, 0, "192.0.2.52" },
	{ "addr.sec.example", DNS_MX, 10, "a-plain.sec.example" },
	{ "a-plain.sec.example", DNS_A, 0, "192.0.2.53" },
	{ "_25._tcp.a-plain.sec.example", DNS_TLSA, 311, "" },
	{ "unproved.sec.example", DNS_MX, 10, "u.sec.example" },
	{ "u.sec.example", DNS_A, 0, "192.0.2.54" },
	{ "_25._tcp.u.sec.example", DNS_TLSA, 311, "plain" },
	{ "skip.sec.example", DNS_MX, 10, "stopped.sec.example" },
	{ "skip.sec.example", DNS_MX, 20, "good.sec.example" },
	{ "stopped.sec.example", DNS_A, 0, "192.0.2.55" },
	{ "stuck.sec.example", DNS_MX, 10, "stopped.sec.example" },
	{ "own.sec.example", DNS_A, 0, "192.0.2.56" },
	{ "_25._tcp.own.sec.example", DNS_TLSA, 311, "" },
	{ "many.example", DNS_A, 0, "192.0.2.11" }, { "many.example", DNS_A, 0, "192.0.2.12" },
	{ "many.example", DNS_A, 0, "192.0.2.13" }, { "many.example", DNS_A, 0, "192.0.2.14" },
	{ "many.example", DNS_A, 0, "192.0.2.15" }, { "many.example", DNS_A, 0, "192.0.2.16" },
	{ "many.example", DNS_AAAA, 0, "2001:db8::11" }, { "many.example", DNS_AAAA, 0, "2001:db8::12" },
	{ "many.example", DNS_AAAA, 0, "2001:db8::13" }, { "many.example", DNS_AAAA, 0, "2001:db8::14" },
};

/* 311 is usage 3, selector 1, matching 1. */
static void
msg_tlsa(struct dns_msg *m, const char *owner, int kind)
{
	uint8_t b[3 + 64] = { (uint8_t)(kind / 100), (uint8_t)(kind / 10 % 10),
		(uint8_t)(kind % 10) };

	msg_rr(m, 0, owner, DNS_TLSA, 60, b, kind % 10 == 2 ? 67 : 35);
}

static void
zone(struct dns_peer *p, const struct dns_ask *a, struct dns_msg *m)
{
	bool known = false;
	char name[64];
	size_t i;
	int k;

	(void)p;
	bool sec = strstr(a->name, "sec.example") != NULL && strstr(a->name, "plain") == NULL;

	for (i = 0; i < sizeof(zone_rr) / sizeof(zone_rr[0]); i++)
		if (strcmp(zone_rr[i].owner, a->name) == 0 &&
		    strcmp(zone_rr[i].value, "plain") == 0)
			sec = false;
	msg_reply(m, a, sec ? 0x20 : 0);
	if (strncmp(a->name, "broken", 6) == 0 ||
	    strncmp(a->name, "_25._tcp.stopped", 16) == 0) {
		msg_reply(m, a, 2);
		return;
	}
	if (strcmp(a->name, "crowd.example") == 0 && a->type == DNS_MX) {
		for (k = 0; k < 60; k++) {
			(void)snprintf(name, sizeof(name), "h%d.crowd.example", k);
			msg_to_name(m, a->name, DNS_MX, 100 - k, name, 60);
		}
		return;
	}
	if (strstr(a->name, ".crowd.example") != NULL) {
		if (a->type == DNS_A) {
			(void)snprintf(name, sizeof(name), "198.51.100.%d", atoi(a->name + 1) + 1);
			msg_a(m, a->name, name, 60);
		}
		return;
	}
	for (i = 0; i < sizeof(zone_rr) / sizeof(zone_rr[0]); i++) {
		const struct record *r = &zone_rr[i];

		if (strcmp(r->owner, a->name) != 0)
			continue;
		known = true;
		if (r->type != a->type)
			continue;
		if (r->type == DNS_MX)
			msg_to_name(m, a->name, DNS_MX, r->pref, r->value, 60);
		else if (r->type == DNS_TLSA)
			msg_tlsa(m, a->name, r->pref);
		else if (r->type != DNS_TXT)
			msg_a(m, a->name, r->value, 60);
	}
	if (!known)
		msg_reply(m, a, 3 | (sec ? 0x20 : 0));
}

static void
on_guard(void *arg)
{
	struct bed *b = arg;

	b->late = true;
	loop_stop(b->loop);
}

static void
on_route(void *arg, const struct mx_result *r)
{
	struct bed *b = arg;

	b->r = *r;
	b->usable = r->n > 0 && r->target[0].tlsa != NULL ?
	    (unsigned)tlsa_usable(r->target[0].tlsa) : 0;
	b->done = true;
	loop_stop(b->loop);
}

static void
bed_open(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	b->loop = loop_new();
	dns_peer_open(&b->peer, b->loop, zone, b);
	b->resolver[0] = b->peer.server;
	(void)snprintf(b->hostname, sizeof(b->hostname), "us.example");
	(void)snprintf(b->l0, sizeof(b->l0), "0.0.0.0:2525");
	(void)snprintf(b->l1, sizeof(b->l1), "192.0.2.200:25");
	b->listen[0].address = b->l0;
	b->listen[1].address = b->l1;
	b->conf = (struct conf){
		.hostname = b->hostname, .resolver = b->resolver, .nresolver = 1,
		.listen = b->listen, .nlisten = 2, .dns_timeout_ms = 500, .dns_tries = 1,
		.dns_cache_max = 1000, .dns_ttl_max_ms = 60000, .dns_ttl_min_ms = 1000,
		.smtp_port = 25,
	};
	b->dns = dns_new(b->loop, &b->conf, NULL, NULL);
	b->self = mx_self_new(&b->conf, NULL);
	b->guard = timer_new(b->loop, on_guard, b);
}

static void
bed_close(struct bed *b)
{
	dns_free(&b->dns);
	mx_self_free(&b->self);
	dns_peer_close(&b->peer);
	timer_free(&b->guard);
	loop_free(&b->loop);
}

static void
route(struct bed *b, uint8_t kind, const char *host, uint16_t port)
{
	const struct mx_env env = { b->dns, &b->conf, b->self, NULL };
	struct mx_lookup *m = mx_resolve(&env, kind, slice_str(host), port, b->tls, on_route, b);

	assert_non_null(m);
	b->done = b->late = false;
	timer_arm(b->guard, 5000);
	loop_run(b->loop);
	assert_true(b->done);
	timer_cancel(b->guard);
}

static void
test_routes(void **state)
{
	static const struct {
		uint8_t kind;
		const char *host;
		uint16_t port;
		uint8_t outcome;
		const char *enhanced;
		size_t n;
		const char *first, *last;
	} c[] = {
		{ ROUTE_MX, "pref.example", 0, DELIVER_OK, "", 4, "a.mx.example[2001:db8::1]:25",
		  "c.mx.example[2001:db8::3]:25" },
		{ ROUTE_MX, "equal.example", 0, DELIVER_OK, "", 2, NULL, NULL },
		{ ROUTE_MX, "plain.example", 0, DELIVER_OK, "", 1, "plain.example[192.0.2.9]:25", NULL },
		{ ROUTE_MX, "null.example", 0, DELIVER_LOCAL, "5.1.10", 0, NULL, NULL },
		{ ROUTE_MX, "nullplus.example", 0, DELIVER_OK, "", 1, "b.mx.example[192.0.2.2]:25", NULL },
		{ ROUTE_MX, "empty.example", 0, DELIVER_LOCAL, "5.1.2", 0, NULL, NULL },
		{ ROUTE_MX, "gone.example", 0, DELIVER_LOCAL, "5.1.2", 0, NULL, NULL },
		{ ROUTE_MX, "not a name", 0, DELIVER_LOCAL, "5.1.2", 0, NULL, NULL },
		{ ROUTE_MX, "broken.example", 0, DELIVER_TEMP, "4.4.3", 0, NULL, NULL },
		{ ROUTE_MX, "dangling.example", 0, DELIVER_TEMP, "4.4.4", 0, NULL, NULL },
		{ ROUTE_MX, "halfbroken.example", 0, DELIVER_TEMP, "4.4.3", 0, NULL, NULL },
		{ ROUTE_MX, "backedup.example", 0, DELIVER_OK, "", 1, "b.mx.example[192.0.2.2]:25", NULL },
		{ ROUTE_MX, "loopback.example", 0, DELIVER_LOCAL, "5.4.4", 0, NULL, NULL },
		{ ROUTE_MX, "odd.example", 0, DELIVER_LOCAL, "5.4.4", 0, NULL, NULL },
		/* 5.1: we at 20, so only what is better than 20 */
		{ ROUTE_MX, "self.example", 0, DELIVER_OK, "", 2, "a.mx.example[2001:db8::1]:25",
		  "a.mx.example[192.0.2.1]:25" },
		{ ROUTE_MX, "selfip.example", 0, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_MX, "us.example", 0, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		/* two of IPv6 first, room left for IPv4; four of one host at most */
		{ ROUTE_MX, "many.example", 0, DELIVER_OK, "", 4, NULL, NULL },
		{ ROUTE_MX, "crowd.example", 0, DELIVER_OK, "", MX_TARGETS_MAX,
		  "h59.crowd.example[198.51.100.60]:25", "h50.crowd.example[198.51.100.51]:25" },
		{ ROUTE_SMTP, "192.0.2.5", 26, DELIVER_OK, "", 1, "192.0.2.5[192.0.2.5]:26", NULL },
		{ ROUTE_LMTP, "::1", 24, DELIVER_OK, "", 1, "::1[::1]:24", NULL },
		{ ROUTE_LMTP, "localhost", 24, DELIVER_OK, "", 2, "localhost[::1]:24",
		  "localhost[127.0.0.1]:24" },
		{ ROUTE_SMTP, "us.example", 24, DELIVER_OK, "", 1, "us.example[192.0.2.200]:24", NULL },
		{ ROUTE_SMTP, "us.example", 25, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_SMTP, "127.0.0.1", 2525, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_SMTP, "127.9.9.9", 2525, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_SMTP, "::1", 2525, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_SMTP, "::ffff:127.0.0.1", 2525, DELIVER_LOCAL, "5.4.6", 0, NULL, NULL },
		{ ROUTE_SMTP, "gone.example", 25, DELIVER_TEMP, "4.4.4", 0, NULL, NULL },
		{ ROUTE_SMTP, "broken.example", 25, DELIVER_TEMP, "4.4.3", 0, NULL, NULL },
	};
	struct bed b;
	size_t i;

	(void)state;
	bed_open(&b);
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		route(&b, c[i].kind, c[i].host, c[i].port);
		if (b.r.outcome != c[i].outcome || b.r.n != c[i].n)
			print_message("case %zu %s: outcome %u n %zu %s\n", i, c[i].host,
			    b.r.outcome, b.r.n, b.r.text);
		assert_int_equal(b.r.outcome, c[i].outcome);
		assert_string_equal(b.r.enhanced, c[i].enhanced);
		assert_int_equal(b.r.n, c[i].n);
		if (c[i].first != NULL)
			assert_string_equal(b.r.target[0].peer, c[i].first);
		if (c[i].last != NULL)
			assert_string_equal(b.r.target[b.r.n - 1].peer, c[i].last);
	}
	bed_close(&b);
}

/* Equal preferences share the load: both orders are seen. */
static void
test_shuffle(void **state)
{
	unsigned first = 0, i;
	struct bed b;

	(void)state;
	bed_open(&b);
	for (i = 0; i < 64; i++) {
		route(&b, ROUTE_MX, "equal.example", 0);
		first += strncmp(b.r.target[0].host, "b.", 2) == 0 ? 1 : 0;
	}
	assert_in_range(first, 1, 63);
	bed_close(&b);
}

static void
test_cancel(void **state)
{
	struct mx_lookup *m;
	struct mx_env env;
	struct bed b;

	(void)state;
	bed_open(&b);
	env = (struct mx_env){ b.dns, &b.conf, b.self, NULL };
	m = mx_resolve(&env, ROUTE_MX, SLICE_LIT("pref.example"), 0, 0, on_route, &b);
	mx_cancel(&m);
	m = mx_resolve(&env, ROUTE_SMTP, SLICE_LIT("a.mx.example"), 1, 0, on_route, &b);
	mx_cancel(&m);
	m = mx_resolve(&env, ROUTE_SMTP, SLICE_LIT("192.0.2.1"), 1, 0, on_route, &b);
	mx_cancel(&m);
	route(&b, ROUTE_MX, "plain.example", 0);
	bed_close(&b);
}

/* RFC 7672 2.2, spec 13.1 (1). */
static void
test_spec_13_1_dane(void **state)
{
	static const struct {
		uint8_t kind, demand;
		const char *host;
		uint8_t outcome, tls;
		unsigned usable;
		const char *first, *text;
	} c[] = {
		{ ROUTE_MX, 0, "dane.sec.example", DELIVER_OK, MX_TLS_DANE, 2, NULL, "" },
		/* without proof of MX or address no record counts */
		{ ROUTE_MX, 0, "plainmx.example", DELIVER_OK, MX_TLS_MAY, 0, NULL, "" },
		{ ROUTE_MX, 0, "addr.sec.example", DELIVER_OK, MX_TLS_MAY, 0, NULL, "" },
		{ ROUTE_MX, 0, "unproved.sec.example", DELIVER_OK, MX_TLS_MAY, 0, NULL, "" },
		/* no records; records nobody can use */
		{ ROUTE_MX, 0, "none.sec.example", DELIVER_OK, MX_TLS_MAY, 0, NULL, "" },
		{ ROUTE_MX, 0, "odd.sec.example", DELIVER_OK, MX_TLS_ENCRYPT, 0, NULL, "" },
		/* an error is no denial: not this host */
		{ ROUTE_MX, 0, "skip.sec.example", DELIVER_OK, MX_TLS_DANE, 2,
		  "good.sec.example[192.0.2.50]:25", "" },
		{ ROUTE_MX, 0, "stuck.sec.example", DELIVER_TEMP, 0, 0, NULL,
		  "the TLSA records of the mail server cannot be had" },
		/* without MX the domain is its own host; a configured host, at its port */
		{ ROUTE_MX, 0, "own.sec.example", DELIVER_OK, MX_TLS_DANE, 1, NULL, "" },
		{ ROUTE_SMTP, 0, "good.sec.example", DELIVER_OK, MX_TLS_DANE, 1, NULL, "" },
		{ ROUTE_LMTP, 0, "good.sec.example", DELIVER_OK, MX_TLS_MAY, 0, NULL, "" },
		/* what the message asks for */
		{ ROUTE_MX, DELIVER_TLS_OPTIONAL, "dane.sec.example", DELIVER_OK, MX_TLS_MAY, 0,
		  NULL, "" },
		{ ROUTE_MX, DELIVER_TLS_OPTIONAL, "stuck.sec.example", DELIVER_OK, MX_TLS_MAY, 0,
		  NULL, "" },
		{ ROUTE_MX, DELIVER_TLS_REQUIRED, "plain.example", DELIVER_OK, MX_TLS_ENCRYPT, 0,
		  NULL, "" },
		{ ROUTE_MX, DELIVER_TLS_REQUIRETLS, "dane.sec.example", DELIVER_OK, MX_TLS_DANE, 2,
		  NULL, "" },
		{ ROUTE_MX, DELIVER_TLS_REQUIRETLS, "none.sec.example", DELIVER_OK, MX_TLS_PKIX, 0,
		  NULL, "" },
		{ ROUTE_MX, DELIVER_TLS_REQUIRETLS, "plain.example", DELIVER_TEMP, 0, 0, NULL,
		  "REQUIRETLS: nothing vouches for the mail server's name" },
		{ ROUTE_SMTP, DELIVER_TLS_REQUIRETLS, "plain.example", DELIVER_OK, MX_TLS_PKIX, 0,
		  NULL, "" },
	};
	struct bed b;
	size_t i;

	(void)state;
	bed_open(&b);
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		b.tls = c[i].demand;
		route(&b, c[i].kind, c[i].host, 2525);
		if (b.r.outcome != c[i].outcome || b.r.target[0].tls != c[i].tls)
			print_message("case %zu %s: %s\n", i, c[i].host, b.r.text);
		assert_int_equal(b.r.outcome, c[i].outcome);
		assert_string_equal(b.r.text, c[i].text);
		assert_int_equal(b.usable, c[i].usable);
		if (b.r.outcome != DELIVER_OK)
			continue;
		assert_int_equal(b.r.target[0].tls, c[i].tls);
		assert_int_equal(b.r.target[0].policy, c[i].tls == MX_TLS_DANE ? MX_POLICY_TLSA :
		    MX_POLICY_NONE);
		if (c[i].first != NULL)
			assert_string_equal(b.r.target[0].peer, c[i].first);
	}
	bed_close(&b);
}

/* RFC 7672 2.1.1: the AD bit of a resolver elsewhere is not believed by itself. */
static void
test_resolver_trust(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	route(&b, ROUTE_MX, "dane.sec.example", 0);
	assert_int_equal(b.r.target[0].tls, MX_TLS_DANE);
	b.conf.resolver_trust = RESOLVER_NEVER;
	dns_reload(b.dns, &b.conf);	/* what was cached as proved does not stay so */
	route(&b, ROUTE_MX, "dane.sec.example", 0);
	assert_int_equal(b.r.target[0].tls, MX_TLS_MAY);
	b.conf.resolver_trust = RESOLVER_ALWAYS;
	dns_reload(b.dns, &b.conf);
	route(&b, ROUTE_MX, "dane.sec.example", 0);
	assert_int_equal(b.r.target[0].tls, MX_TLS_DANE);
	bed_close(&b);
}

static void
test_groups(void **state)
{
	static const struct { const char *host, *group; } c[] = {
		{ "gmail-smtp-in.l.google.com", "google.com" }, { "ASPMX.L.GOOGLE.COM", "google.com" },
		{ "x-it.mail.protection.outlook.com", "mail.protection.outlook.com" },
		{ "hotmail-com.olc.protection.outlook.com", "olc.protection.outlook.com" },
		{ "a.b.mx.microsoft", "mx.microsoft" }, { "mta5.am0.yahoodns.net", "yahoodns.net" },
		{ "mx1.tim.it", "tim.it" }, { "mx.example.co.uk", "example.co.uk" },
		{ "mx2.Example.ORG", "example.org" }, { "localhost", "localhost" },
		{ "notgoogle.com", "notgoogle.com" }, { "example.org", "example.org" },
		{ "co.uk", "co.uk" },
	};
	struct conf_errors e = { .count = 0 };
	struct conf *conf = conf_parse(SLICE_LIT("hostname = \"mx.example.it\"\n"
	    "domain \"a.example\" { primary = mx }\nprovider \".b.shop.example\" { }\n"), "f", &e);
	char out[DNS_NAME_MAX + 1];
	size_t i;

	(void)state;
	assert_non_null(conf);
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		mx_group(conf, c[i].host, out);
		assert_string_equal(out, c[i].group);
	}
	mx_group(conf, "MX1.b.shop.example", out);	/* as the administrator says */
	assert_string_equal(out, "b.shop.example");
	mx_group(conf, "mx1.shop.example", out);
	assert_string_equal(out, "shop.example");
	conf_free(&conf);
	buf_fini(&e.text);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_shuffle),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_spec_13_1_dane),
		cmocka_unit_test(test_resolver_trust),
		cmocka_unit_test(test_groups),
	};

	return cmocka_run_group_tests_name("mx", tests, NULL, NULL);
}
