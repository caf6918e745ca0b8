// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "relay/dns.h"
#include "relay/dns_hosts.h"
#include "relay/dns_net.h"
#include "relay/dns_packet.h"
#include "tests/relay/dns_peer.h"

struct got {
	unsigned	n;		/* answers */
	uint8_t		status, secure;
	unsigned	rrs;
	uint16_t	pref;
	size_t		len;		/* of the last record */
	char		data[512];	/* its first bytes */
	char		name[256];
	struct slice	all;		/* batch: owned copy */
};

struct bed {
	struct loop	*loop;
	struct dns_peer	 peer;
	struct conf	 conf;
	char		*resolver[1];
	struct dns	*dns;
	struct timer	*guard;
	unsigned	 want;		/* stop after so many answers */
	unsigned	 have;
	bool		 late;
	struct got	 got;
};

static struct bed *bed_now;	/* the callbacks' test */

static void
on_guard(void *arg)
{
	struct bed *b = arg;

	b->late = true;
	loop_stop(b->loop);
}

static void
bed_open(struct bed *b, dns_peer_fn *fn)
{
	memset(b, 0, sizeof(*b));
	b->loop = loop_new();
	dns_peer_open(&b->peer, b->loop, fn, b);
	b->resolver[0] = b->peer.server;
	b->conf.resolver = b->resolver;
	b->conf.nresolver = 1;
	b->conf.dns_timeout_ms = 300;
	b->conf.dns_tries = 2;
	b->conf.dns_cache_max = 100;
	b->conf.dns_ttl_max_ms = 86400 * 1000;
	b->conf.dns_ttl_min_ms = 1000;
	b->dns = dns_new(b->loop, &b->conf, NULL, "192.0.2.77 box.example box\n# x\n::2 box.example\n");
	assert_non_null(b->dns);
	b->guard = timer_new(b->loop, on_guard, b);
	bed_now = b;
}

static void
bed_close(struct bed *b)
{
	dns_free(&b->dns);
	dns_peer_close(&b->peer);
	timer_free(&b->guard);
	loop_free(&b->loop);
	clock_fake(-1, -1);
}

static void
bed_run(struct bed *b, unsigned want)
{
	b->want = want;
	b->have = 0;
	b->late = false;
	timer_arm(b->guard, 5000);
	loop_run(b->loop);
	timer_cancel(b->guard);
	assert_false(b->late);
	assert_int_equal(b->have, want);
}

static void
keep(struct got *g, const struct dns_answer *a)
{
	struct slice list = a->rrs;
	struct dns_rr rr;

	g->n++;
	g->status = a->status;
	g->secure = a->secure;
	g->rrs = 0;
	assert_int_equal(slice_cstr(a->name, g->name, sizeof(g->name)), 0);
	while (wire_item_next(&list, &dns_rr_wire, &rr) == 1) {
		g->rrs++;
		g->pref = rr.pref;
		g->len = rr.data.n;
		memset(g->data, 0, sizeof(g->data));
		if (rr.data.n > 0)
			memcpy(g->data, rr.data.p, rr.data.n < 511 ? rr.data.n : 511);
	}
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct bed *b = bed_now;

	keep(arg, a);
	if (++b->have == b->want)
		loop_stop(b->loop);
}

static void
ask(struct bed *b, uint16_t type, const char *name)
{
	memset(&b->got, 0, sizeof(b->got));
	assert_non_null(dns_ask(b->dns, type, slice_str(name), on_answer, &b->got));
	bed_run(b, 1);
}

/* The zone most tests use. */
static void
zone(struct dns_peer *p, const struct dns_ask *a, struct dns_msg *m)
{
	static uint8_t txt[16000];
	size_t i, n = 0;

	(void)p;
	msg_reply(m, a, strncmp(a->name, "secure", 6) == 0 ? 0x20 : 0);
	if (strcmp(a->name, "secure.example") == 0 || strcmp(a->name, "a.example") == 0) {
		if (a->type == DNS_A)
			msg_a(m, a->name, "192.0.2.1", 60);
		else
			msg_soa(m, "example", 300, 30);
	} else if (strcmp(a->name, "mx.example") == 0) {
		msg_to_name(m, a->name, DNS_MX, 10, "Mail.A.Example", 60);
	} else if (strcmp(a->name, "null.example") == 0) {
		msg_to_name(m, a->name, DNS_MX, 0, "", 60);
	} else if (strcmp(a->name, "c1.example") == 0) {
		msg_to_name(m, "c2.example", DNS_CNAME, -1, "c3.example", 60);
		msg_to_name(m, "c1.example", DNS_CNAME, -1, "c2.example", 60);
		msg_a(m, "c3.example", "192.0.2.3", 60);
		msg_a(m, "other.example", "192.0.2.66", 60);
	} else if (strcmp(a->name, "loop.example") == 0) {
		msg_to_name(m, "loop.example", DNS_CNAME, -1, "l2.example", 60);
		msg_to_name(m, "l2.example", DNS_CNAME, -1, "loop.example", 60);
	} else if (strcmp(a->name, "txt.example") == 0) {
		msg_rr(m, 0, a->name, DNS_TXT, 60, "\3v=s\3pf1\0\2 x", 12);
	} else if (strcmp(a->name, "fail.example") == 0) {
		msg_reply(m, a, 2);
	} else if (strcmp(a->name, "big.example") == 0 && !a->tcp) {
		msg_reply(m, a, 0x200);	/* TC */
	} else if (strcmp(a->name, "big.example") == 0) {
		for (i = 0; i < 60; i++) {
			txt[n++] = 255;
			memset(txt + n, 'a' + (int)(i % 26), 255);
			n += 255;
		}
		msg_rr(m, 0, a->name, DNS_TXT, 60, txt, n);
	} else if (strcmp(a->name, "silent.example") == 0) {
		m->n = 0;
	} else if (strcmp(a->name, "old.example") == 0) {
		if (a->edns)
			msg_reply(m, a, 1);
		else
			msg_a(m, a->name, "192.0.2.9", 60);
	} else if (strcmp(a->name, "wrongid.example") == 0) {
		msg_a(m, a->name, "192.0.2.66", 60);
		m->b[0] ^= 0x55;
		dns_peer_send_udp(p, m);
		msg_reply(m, a, 0);
		msg_a(m, a->name, "192.0.2.4", 60);
	} else if (strcmp(a->name, "wrongname.example") == 0) {
		msg_begin(m, (uint16_t)(a->q[0] << 8 | a->q[1]), 0, "evil.example", a->type);
		msg_a(m, "evil.example", "192.0.2.66", 60);
		dns_peer_send_udp(p, m);
		msg_reply(m, a, 0);
		msg_a(m, a->name, "192.0.2.5", 60);
	} else if (strcmp(a->name, "garbage.example") == 0) {
		m->n = 12 + 3;
	} else if (strncmp(a->name, "n", 1) == 0) {
		msg_a(m, a->name, "192.0.2.10", 3600);
	} else {
		msg_reply(m, a, 3);
		msg_soa(m, "example", 300, 30);
	}
}

static void
test_answers(void **state)
{
	static const struct {
		uint16_t type;
		const char *name;
		uint8_t status, secure;
		unsigned rrs;
		size_t len;
		const char *data;
	} c[] = {
		{ DNS_A, "a.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x01" },
		{ DNS_A, "A.Example.", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x01" },
		{ DNS_AAAA, "a.example", DNS_OK, 0, 0, 0, "" },
		{ DNS_A, "secure.example", DNS_OK, 1, 1, 4, "\xc0\x00\x02\x01" },
		{ DNS_MX, "mx.example", DNS_OK, 0, 1, 14, "mail.a.example" },
		{ DNS_MX, "null.example", DNS_OK, 0, 1, 0, "" },
		{ DNS_A, "c1.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x03" },
		{ DNS_A, "loop.example", DNS_FAIL, 0, 0, 0, "" },
		{ DNS_TXT, "txt.example", DNS_OK, 0, 1, 8, "v=spf1 x" },
		{ DNS_A, "fail.example", DNS_FAIL, 0, 0, 0, "" },
		{ DNS_A, "gone.example", DNS_NXDOMAIN, 0, 0, 0, "" },
		{ DNS_TXT, "big.example", DNS_OK, 0, 1, 60 * 255, "aaaa" },
		{ DNS_A, "old.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x09" },
		{ DNS_A, "wrongid.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x04" },
		{ DNS_A, "wrongname.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x05" },
		{ DNS_A, "garbage.example", DNS_FAIL, 0, 0, 0, "" },
		{ DNS_A, "silent.example", DNS_FAIL, 0, 0, 0, "" },
		{ DNS_A, "bad..name", DNS_NXDOMAIN, 0, 0, 0, "" },
		{ DNS_A, "", DNS_NXDOMAIN, 0, 0, 0, "" },
		{ DNS_A, "localhost", DNS_OK, 0, 1, 4, "\x7f\x00\x00\x01" },
		{ DNS_A, "BOX.example", DNS_OK, 0, 1, 4, "\xc0\x00\x02\x4d" },
		{ DNS_MX, "box.example", DNS_NXDOMAIN, 0, 0, 0, "" },
	};
	struct bed b;
	size_t i;

	(void)state;
	bed_open(&b, zone);
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		ask(&b, c[i].type, c[i].name);
		if (b.got.status != c[i].status || b.got.rrs != c[i].rrs)
			print_message("case %zu: %s status %u rrs %u\n", i, c[i].name, b.got.status,
			    b.got.rrs);
		assert_int_equal(b.got.status, c[i].status);
		assert_int_equal(b.got.secure, c[i].secure);
		assert_int_equal(b.got.rrs, c[i].rrs);
		assert_int_equal(b.got.len, c[i].len);
		assert_memory_equal(b.got.data, c[i].data, strlen(c[i].data));
		assert_string_equal(b.got.name, c[i].name);
	}
	assert_int_equal(b.peer.asked_tcp, 1);
	bed_close(&b);
}

static void
test_coalesce_and_cache(void **state)
{
	struct dns_stats s;
	struct got g[3];
	struct bed b;
	int i;

	(void)state;
	bed_open(&b, zone);
	clock_fake(1000, 1000);
	memset(g, 0, sizeof(g));
	for (i = 0; i < 3; i++)
		dns_ask(b.dns, DNS_A, slice_str(i == 1 ? "A.EXAMPLE" : "a.example"), on_answer,
		    &g[i]);
	bed_run(&b, 3);
	assert_int_equal(b.peer.asked, 1);
	assert_int_equal(g[0].rrs + g[1].rrs + g[2].rrs, 3);
	ask(&b, DNS_A, "a.example");
	assert_int_equal(b.peer.asked, 1);
	clock_fake(1000, 1000 + 59999);
	ask(&b, DNS_A, "a.example");
	assert_int_equal(b.peer.asked, 1);
	clock_fake(1000, 1000 + 60000);		/* its TTL is over */
	ask(&b, DNS_A, "a.example");
	assert_int_equal(b.peer.asked, 2);
	/* negative: the SOA's minimum of 30 s, RFC 2308 */
	ask(&b, DNS_A, "gone.example");
	clock_fake(1000, 61000 + 29999);
	ask(&b, DNS_A, "gone.example");
	assert_int_equal(b.peer.asked, 3);
	clock_fake(1000, 61000 + 30000);
	ask(&b, DNS_A, "gone.example");
	assert_int_equal(b.peer.asked, 4);
	/* a failure is believed for five seconds; c-ares asks twice each time */
	ask(&b, DNS_A, "fail.example");
	ask(&b, DNS_A, "fail.example");
	assert_int_equal(b.peer.asked, 6);
	clock_fake(1000, 91000 + 5000);
	ask(&b, DNS_A, "fail.example");
	assert_int_equal(b.peer.asked, 8);
	dns_stats(b.dns, &s);
	assert_int_equal(s.asked, 12);
	assert_int_equal(s.failed, 2);
	bed_close(&b);
}

static void
test_cached_only(void **state)
{
	struct dns_answer a;
	struct slice list;
	struct bed b;
	struct buf out;

	(void)state;
	bed_open(&b, zone);
	buf_init(&out, 4096);
	assert_false(dns_cached(b.dns, DNS_A, SLICE_LIT("a.example"), &out));
	ask(&b, DNS_A, "a.example");
	assert_true(dns_cached(b.dns, DNS_A, SLICE_LIT("a.EXAMPLE"), &out));
	assert_true(dns_cached(b.dns, DNS_A, SLICE_LIT("localhost"), &out));
	assert_false(dns_cached(b.dns, DNS_A, SLICE_LIT("..."), &out));
	assert_false(dns_cached(b.dns, DNS_A, SLICE_LIT("box.example"), &out));
	list = buf_slice(&out);
	assert_int_equal(wire_item_next(&list, &dns_answer_wire, &a), 1);
	assert_true(slice_eq(a.name, SLICE_LIT("a.EXAMPLE")));
	assert_int_equal(wire_item_next(&list, &dns_answer_wire, &a), 1);
	assert_int_equal(wire_item_next(&list, &dns_answer_wire, &a), 0);
	buf_fini(&out);
	bed_close(&b);
}

static void
test_cache_bound(void **state)
{
	struct buf out;
	struct bed b;
	char name[32];
	int i, kept = 0;

	(void)state;
	bed_open(&b, zone);
	buf_init(&out, 65536);
	for (i = 0; i < 150; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		ask(&b, DNS_A, name);
	}
	for (i = 0; i < 150; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		kept += dns_cached(b.dns, DNS_A, slice_str(name), &out) ? 1 : 0;
	}
	assert_int_equal(kept, 100);
	assert_false(dns_cached(b.dns, DNS_A, SLICE_LIT("n0.example"), &out));
	assert_true(dns_cached(b.dns, DNS_A, SLICE_LIT("n149.example"), &out));
	buf_fini(&out);
	bed_close(&b);
}

static void
on_batch(void *arg, struct slice answers)
{
	struct bed *b = bed_now;
	struct buf *out = arg;

	assert_int_equal(buf_put_slice(out, answers), 0);
	if (++b->have == b->want)
		loop_stop(b->loop);
}

static void
want(struct buf *w, uint16_t type, const char *name)
{
	struct dns_want x = { type, slice_str(name) };

	assert_int_equal(wire_item_put(w, &dns_want_wire, &x), 0);
}

static void
test_batch(void **state)
{
	struct { const char *name; uint8_t status; int seen; } c[] = {
		{ "a.example", DNS_OK, 0 }, { "gone.example", DNS_NXDOMAIN, 0 },
		{ "silent.example", DNS_FAIL, 0 }, { "c1.example", DNS_OK, 0 },
		{ "a.example", DNS_OK, 0 },
		{ "box.example", DNS_NXDOMAIN, 0 },	/* what DNS says, not /etc/hosts */
	};
	struct buf w, out;
	struct dns_answer a;
	struct slice list;
	struct bed b;
	size_t i, n = 0;

	(void)state;
	bed_open(&b, zone);
	buf_init(&w, 65536);
	buf_init(&out, DNS_ANSWERS_MAX);
	for (i = 0; i < 6; i++)
		want(&w, DNS_A, c[i].name);
	assert_non_null(dns_ask_all(b.dns, buf_slice(&w), 100, on_batch, &out));
	buf_clear(&w);		/* only borrowed */
	bed_run(&b, 1);
	list = buf_slice(&out);
	while (wire_item_next(&list, &dns_answer_wire, &a) == 1) {
		n++;
		for (i = 0; i < 6; i++)
			if (slice_eq(a.name, slice_str(c[i].name))) {
				assert_int_equal(a.status, c[i].status);
				c[i].seen++;
			}
	}
	assert_int_equal(n, 6);
	for (i = 0; i < 6; i++)
		assert_true(c[i].seen > 0);
	/* nothing asked is answered too */
	buf_clear(&out);
	dns_ask_all(b.dns, SLICE_NONE, 100, on_batch, &out);
	bed_run(&b, 1);
	assert_int_equal(buf_len(&out), 0);
	/* what does not fit is a failure, not silence */
	for (i = 0; i < 8; i++) {
		want(&w, DNS_TXT, "big.example");
	}
	dns_ask_all(b.dns, buf_slice(&w), 2000, on_batch, &out);
	bed_run(&b, 1);
	list = buf_slice(&out);
	for (i = 0, n = 0; wire_item_next(&list, &dns_answer_wire, &a) == 1; i++)
		n += a.status == DNS_FAIL ? 1 : 0;
	assert_int_equal(i, 8);
	assert_int_equal(n, 2);
	buf_fini(&w);
	buf_fini(&out);
	bed_close(&b);
}

static void
test_cancel(void **state)
{
	struct dns_query *q, *r;
	struct dns_batch *batch;
	struct buf w;
	struct bed b;

	(void)state;
	bed_open(&b, zone);
	buf_init(&w, 1024);
	q = dns_ask(b.dns, DNS_A, SLICE_LIT("a.example"), on_answer, &b.got);
	r = dns_ask(b.dns, DNS_A, SLICE_LIT("localhost"), on_answer, &b.got);
	dns_cancel(&q);
	dns_cancel(&r);
	assert_null(q);
	want(&w, DNS_A, "a.example");
	want(&w, DNS_A, "silent.example");
	batch = dns_ask_all(b.dns, buf_slice(&w), 50, on_batch, NULL);
	dns_batch_cancel(&batch);
	dns_ask(b.dns, DNS_A, SLICE_LIT("a.example"), on_answer, &b.got);
	bed_run(&b, 1);
	assert_int_equal(b.peer.asked, 2);	/* a, silent: never twice */
	/* freed with questions in flight */
	dns_ask(b.dns, DNS_MX, SLICE_LIT("silent.example"), on_answer, &b.got);
	dns_ask(b.dns, DNS_A, SLICE_LIT("a.example"), on_answer, &b.got);
	buf_fini(&w);
	bed_close(&b);
}

static void
test_reload_asks_again(void **state)
{
	struct dns_peer other;
	struct bed b;

	(void)state;
	bed_open(&b, zone);
	dns_peer_open(&other, b.loop, zone, &b);
	dns_ask(b.dns, DNS_A, SLICE_LIT("a.example"), on_answer, &b.got);
	b.resolver[0] = other.server;
	dns_reload(b.dns, &b.conf);
	bed_run(&b, 1);
	assert_int_equal(b.got.status, DNS_OK);
	assert_int_equal(other.asked, 1);
	dns_peer_close(&other);
	bed_close(&b);
}

static void
test_server_text(void **state)
{
	static const struct { const char *s; int r; int family; uint16_t port; } c[] = {
		{ "127.0.0.1:53", 0, AF_INET, 53 }, { "127.0.0.1", 0, AF_INET, 53 },
		{ "192.0.2.1:5353", 0, AF_INET, 5353 }, { "::1", 0, AF_INET6, 53 },
		{ "[::1]:5353", 0, AF_INET6, 5353 }, { "[::1]", 0, AF_INET6, 53 },
		{ "[::1]:", -1, 0, 0 }, { "127.0.0.1:", -1, 0, 0 }, { "127.0.0.1:0", -1, 0, 0 },
		{ "127.0.0.1:65536", -1, 0, 0 }, { "dns.example", -1, 0, 0 }, { "", -1, 0, 0 },
		{ "[::1", -1, 0, 0 },
	};
	struct dns_server s[3];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_int_equal(dns_server_parse(slice_str(c[i].s), &s[0]), c[i].r);
		if (c[i].r != 0)
			continue;
		assert_int_equal(s[0].family, c[i].family);
		assert_int_equal(s[0].port, c[i].port);
	}
	i = dns_servers_from_text("# c\nsearch example\nnameserver 192.0.2.53\r\n"
	    "nameserver\t::1 # x\noptions edns0\nnameserver nonsense\nnameserver fe80::1%eth0\n"
	    "nameservers 192.0.2.1", s, 3);
	assert_int_equal(i, 2);
	assert_int_equal(s[1].family, AF_INET6);
}

static void
test_name_clean(void **state)
{
	static const struct { const char *in, *out; } c[] = {
		{ "Example.ORG.", "example.org" }, { "_dmarc.x", "_dmarc.x" }, { "a", "a" },
		{ ".", NULL }, { "", NULL }, { "a..b", NULL }, { ".a", NULL }, { "A b", "a b" },
		{ "a\\.b", NULL }, { "\xc3\xa9.it", "\xc3\xa9.it" }, { "a\t", NULL },
		{ "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234.x", NULL },
		{ "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123.x",
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123.x" },
	};
	char out[DNS_NAME_MAX + 1], in[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_int_equal(dns_name_clean(slice_str(c[i].in), out), c[i].out == NULL ? -1 : 0);
		if (c[i].out != NULL)
			assert_string_equal(out, c[i].out);
	}
	assert_int_equal(dns_name_clean(slice_make("a\0b", 3), out), -1);
	for (i = 0; i < 254; i++)
		in[i] = i % 2 ? '.' : 'a';
	assert_int_equal(dns_name_clean(slice_make(in, 253), out), 0);
	assert_int_equal(dns_name_clean(slice_make(in, 255), out), -1);
}

static void
read_msg(const struct dns_msg *m, size_t n, const char *name, uint16_t type,
    struct dns_packet *p, struct buf *rrs)
{
	uint8_t *copy = malloc(n + 1);	/* so that ASan sees a byte too far */

	assert_non_null(copy);
	memcpy(copy, m->b, n);
	dns_packet_read(slice_make(copy, n), name, type, p, rrs);
	free(copy);
}

static void
test_packet_hostile(void **state)
{
	static const uint8_t self_ptr[] = { 0xc0, 0x0c }, ptr_fwd[] = { 0xc3, 0xff };
	struct dns_msg *m = calloc(1, sizeof(*m));
	static uint8_t junk[20000];
	struct dns_packet p;
	struct buf rrs;
	size_t i, full;

	(void)state;
	assert_non_null(m);
	buf_init(&rrs, DNS_RRS_MAX);
	/* cut at every byte: never an answer with less in it */
	msg_begin(m, 1, 0, "x.example", DNS_MX);
	msg_to_name(m, "x.example", DNS_MX, 5, "m.x.example", 60);
	msg_to_name(m, "x.example", DNS_MX, 6, "n.x.example", 60);
	full = m->n;
	for (i = 0; i < full; i++) {
		read_msg(m, i, "x.example", DNS_MX, &p, &rrs);
		assert_int_equal(p.status, DNS_FAIL);
		assert_int_equal(buf_len(&rrs), 0);
	}
	read_msg(m, full, "x.example", DNS_MX, &p, &rrs);
	assert_int_equal(p.status, DNS_OK);
	/* another question, another type, two questions, a question as answer, TC */
	read_msg(m, full, "y.example", DNS_MX, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	read_msg(m, full, "x.example", DNS_A, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	m->b[5] = 2;
	read_msg(m, full, "x.example", DNS_MX, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	m->b[5] = 1;
	m->b[2] &= 0x7f;
	read_msg(m, full, "x.example", DNS_MX, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	m->b[2] |= 0x82;
	read_msg(m, full, "x.example", DNS_MX, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	/* names that point to themselves or forward */
	msg_begin(m, 1, 0, "x.example", DNS_CNAME);
	msg_rr(m, 0, "x.example", DNS_CNAME, 60, ptr_fwd, 2);
	read_msg(m, m->n, "x.example", DNS_CNAME, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	msg_begin(m, 1, 0, "x", DNS_A);
	memcpy(m->b + 12, self_ptr, 2);
	read_msg(m, m->n, "x", DNS_A, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	/* addresses of a wrong size */
	msg_begin(m, 1, 0, "x.example", DNS_A);
	msg_rr(m, 0, "x.example", DNS_A, 60, "abc", 3);
	read_msg(m, m->n, "x.example", DNS_A, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	/* records together larger than we keep: a failure, not the first ones */
	msg_begin(m, 1, 0, "x.example", DNS_TLSA);
	for (i = 0; i < 2; i++)
		msg_rr(m, 0, "x.example", DNS_TLSA, 60, junk, 9000);
	read_msg(m, m->n, "x.example", DNS_TLSA, &p, &rrs);
	assert_int_equal(p.status, DNS_FAIL);
	assert_int_equal(buf_len(&rrs), 0);
	buf_fini(&rrs);
	free(m);
}

/* A dot inside a label must not look like one between labels. */
static void
test_packet_dot_in_label(void **state)
{
	struct dns_msg *m = calloc(1, sizeof(*m));
	struct dns_packet p;
	struct slice list;
	struct dns_rr rr;
	struct buf rrs;

	(void)state;
	assert_non_null(m);
	buf_init(&rrs, DNS_RRS_MAX);
	msg_begin(m, 1, 0, "x.example", DNS_PTR);
	msg_rr(m, 0, "x.example", DNS_PTR, 60, "\7our.com\0", 9);
	read_msg(m, m->n, "x.example", DNS_PTR, &p, &rrs);
	assert_int_equal(p.status, DNS_OK);
	list = buf_slice(&rrs);
	assert_int_equal(wire_item_next(&list, &dns_rr_wire, &rr), 1);
	assert_true(slice_eq(rr.data, SLICE_LIT("our\\046com")));
	buf_fini(&rrs);
	free(m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_coalesce_and_cache),
		cmocka_unit_test(test_cached_only),
		cmocka_unit_test(test_cache_bound),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_reload_asks_again),
		cmocka_unit_test(test_server_text),
		cmocka_unit_test(test_name_clean),
		cmocka_unit_test(test_packet_hostile),
		cmocka_unit_test(test_packet_dot_in_label),
	};

	return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
