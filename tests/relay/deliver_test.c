// SPDX-License-Identifier: Apache-2.0
/*
 * Deliveries against scripted servers in the same loop: each plan says what one
 * connection answers to which command; NULL is silence, "" closes the connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/body.h"
#include "base/clock.h"
#include "relay/deliver.h"
#include "tests/relay/dns_peer.h"

struct plan {
	const char *greeting, *hello, *mail, *rcpt, *data, *final, *rset;
	bool	hang_up_in_data;	/* after the first bytes of content */
	bool	close_after;		/* after one message, without a word */
};

static const struct plan plan_good = {
	"220 hi\r\n", "250-srv\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000\r\n",
	"250 2.1.0 ok\r\n", "250 2.1.5 ok\r\n", "354 go\r\n", "250 2.0.0 kept\r\n", "250 ok\r\n",
	false, false
};

struct server {
	struct loop	*loop;
	int		 fd;
	struct watch	*watch;
	uint16_t	 port;
	const struct plan *plan;	/* of connection i, the last for all further ones */
	unsigned	 nplan, connections, open, open_max;
	char		 log[4096];	/* verbs of all connections */
	char		 content[65536];
	size_t		 ncontent;
	size_t		 bytes;
};

struct srv_conn {
	struct server	*s;
	struct watch	*watch;
	const struct plan *plan;
	int		 fd;
	bool		 data;
	size_t		 n;
	char		 in[262144];
};

static void
srv_close(struct srv_conn *c)
{
	watch_free(&c->watch);
	close(c->fd);
	c->s->open--;
	free(c);
}

/* False when the connection is closed now. */
static bool
srv_say(struct srv_conn *c, const char *text)
{
	if (text == NULL)
		return true;
	if (text[0] == '\0') {
		srv_close(c);
		return false;
	}
	(void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
	return true;
}

static void
srv_log(struct server *s, const char *line)
{
	size_t n = strlen(s->log);

	(void)snprintf(s->log + n, sizeof(s->log) - n, "%.4s ", line);
}

static bool
srv_command(struct srv_conn *c, const char *line)
{
	const struct plan *p = c->plan;

	srv_log(c->s, line);
	switch (line[0]) {
	case 'E':
	case 'L':
		return srv_say(c, p->hello);
	case 'M':
		return srv_say(c, p->mail);
	case 'R':
		return srv_say(c, line[1] == 'C' ? p->rcpt : p->rset);
	case 'D':
		c->data = p->data != NULL && p->data[0] == '3';
		return srv_say(c, p->data);
	case 'Q':
		(void)srv_say(c, "221 bye\r\n");
		srv_close(c);
		return false;
	default:
		return srv_say(c, "500 what\r\n");
	}
}

static bool
srv_content(struct srv_conn *c)
{
	static const char end[] = "\r\n.\r\n";
	char *e = memmem(c->in, c->n, end, 5);
	size_t n;

	if (c->plan->hang_up_in_data) {
		srv_close(c);
		return false;
	}
	if (e == NULL)
		return true;
	n = (size_t)(e - c->in) + 2;
	c->s->ncontent = n < sizeof(c->s->content) ? n : sizeof(c->s->content);
	c->s->bytes += n;
	memcpy(c->s->content, c->in, c->s->ncontent);
	memmove(c->in, e + 5, c->n - n - 3);
	c->n -= n + 3;
	c->data = false;
	srv_log(c->s, ".");
	if (!srv_say(c, c->plan->final))
		return false;
	if (!c->plan->close_after)
		return true;
	srv_close(c);
	return false;
}

static void
srv_read(void *arg, int fd, unsigned ready)
{
	struct srv_conn *c = arg;
	ssize_t n = recv(fd, c->in + c->n, sizeof(c->in) - c->n - 1, MSG_DONTWAIT);
	char *nl, line[1024];
	size_t before;

	(void)ready;
	if (n <= 0) {
		srv_close(c);
		return;
	}
	c->n += (size_t)n;
	for (;;) {
		if (c->data) {
			before = c->n;
			if (!srv_content(c))
				return;
			if (c->data || before == c->n)
				return;
			continue;
		}
		nl = memchr(c->in, '\n', c->n);
		if (nl == NULL)
			return;
		(void)snprintf(line, sizeof(line), "%.*s", (int)(nl - c->in), c->in);
		c->n -= (size_t)(nl + 1 - c->in);
		memmove(c->in, nl + 1, c->n);
		if (!srv_command(c, line))
			return;
	}
}

static void
srv_accept(void *arg, int fd, unsigned ready)
{
	struct server *s = arg;
	struct srv_conn *c = mem_new(sizeof(*c));

	(void)ready;
	c->s = s;
	c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	CHECK(c->fd >= 0);
	c->plan = &s->plan[s->connections < s->nplan ? s->connections : s->nplan - 1];
	s->connections++;
	if (++s->open > s->open_max)
		s->open_max = s->open;
	c->watch = watch_new(s->loop, c->fd, srv_read, c);
	watch_want(c->watch, LOOP_READ);
	srv_log(s, "+");
	(void)srv_say(c, c->plan->greeting);
}

static void
server_open(struct server *s, struct loop *l, const char *ip, uint16_t port,
    const struct plan *plan, unsigned n)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t len = sizeof(a);
	int one = 1;

	memset(s, 0, sizeof(*s));
	s->loop = l;
	s->plan = plan;
	s->nplan = n;
	CHECK(inet_pton(AF_INET, ip, &a.sin_addr) == 1);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK(bind(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s->fd, 64) == 0);
	CHECK(getsockname(s->fd, (struct sockaddr *)&a, &len) == 0);
	s->port = ntohs(a.sin_port);
	s->watch = watch_new(l, s->fd, srv_accept, s);
	watch_want(s->watch, LOOP_READ);
}

static void
server_close(struct server *s)
{
	watch_free(&s->watch);
	close(s->fd);
}

struct result {
	uint64_t req;
	uint8_t	 outcome, scope, tls;
	uint16_t code;
	char	 enhanced[16], text[600], peer[400], group[300];
};

struct bed {
	struct loop	*loop;
	struct conf	 conf;
	struct conf_listen listen;
	char		 hostname[32], resolver_text[32], listen_text[32];
	char		*resolver[1];
	struct dns_peer	 peer;
	struct dns	*dns;
	struct deliver	*deliver;
	struct server	 server;
	struct timer	*guard;
	bool		 late;
	unsigned	 want, have;
	struct result	 result[64];
	char		*body;		/* owned */
	size_t		 nbody;
	unsigned	 next;		/* requests sent, for those who send from the callback */
	unsigned	 chain;		/* send so many more, each from the one before */
};

static void
zone(struct dns_peer *p, const struct dns_ask *a, struct dns_msg *m)
{
	(void)p;
	msg_reply(m, a, 0);
	if (strcmp(a->name, "two.example") == 0 && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 20, "good.mx.google.com", 60);
		msg_to_name(m, a->name, DNS_MX, 10, "dead.mx.google.com", 60);
	} else if (strcmp(a->name, "good.mx.google.com") == 0 && a->type == DNS_A) {
		msg_a(m, a->name, "127.0.0.1", 60);
	} else if (strcmp(a->name, "dead.mx.google.com") == 0 && a->type == DNS_A) {
		msg_a(m, a->name, "127.0.0.99", 60);	/* nobody listens there */
	} else if (strcmp(a->name, "implicit.example") == 0 && a->type == DNS_A) {
		msg_a(m, a->name, "127.0.0.1", 60);
	} else if (strcmp(a->name, "null.example") == 0 && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 0, "", 60);
	} else if (strcmp(a->name, "gone.example") == 0) {
		msg_reply(m, a, 3);
	} else if (strcmp(a->name, "broken.example") == 0) {
		msg_reply(m, a, 2);
	} else if (strcmp(a->name, "us.example") == 0 && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 10, "RELAY.example", 60);
		msg_to_name(m, a->name, DNS_MX, 20, "good.mx.google.com", 60);
	} else if (strcmp(a->name, "backup.example") == 0 && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 10, "good.mx.google.com", 60);
		msg_to_name(m, a->name, DNS_MX, 20, "relay.example", 60);
		msg_to_name(m, a->name, DNS_MX, 20, "dead.mx.google.com", 60);
	}
}

static void send_one(struct bed *b, uint8_t route, const char *host);

static void
on_result(void *arg, const struct queue_delivered *q)
{
	struct bed *b = arg;
	struct result *r = &b->result[b->have < 64 ? b->have : 63];

	r->req = q->req;
	r->outcome = q->outcome;
	r->scope = q->scope;
	r->code = q->code;
	r->tls = q->tls;
	assert_int_equal(slice_cstr(q->enhanced, r->enhanced, sizeof(r->enhanced)), 0);
	assert_int_equal(slice_cstr(q->text, r->text, sizeof(r->text)), 0);
	assert_int_equal(slice_cstr(q->peer, r->peer, sizeof(r->peer)), 0);
	assert_int_equal(slice_cstr(q->group, r->group, sizeof(r->group)), 0);
	if (b->chain > 0) {
		b->chain--;
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	}
	if (++b->have == b->want)
		loop_stop(b->loop);
}

static void
on_guard(void *arg)
{
	struct bed *b = arg;

	b->late = true;
	loop_stop(b->loop);
}

static struct bed *
bed_open(const struct plan *plan, unsigned n)
{
	struct bed *b = mem_new(sizeof(*b));

	b->loop = loop_new();
	dns_peer_open(&b->peer, b->loop, zone, b);
	server_open(&b->server, b->loop, "127.0.0.1", 0, plan, n);
	b->resolver[0] = b->peer.server;
	(void)snprintf(b->hostname, sizeof(b->hostname), "relay.example");
	(void)snprintf(b->listen_text, sizeof(b->listen_text), "0.0.0.0:2");
	b->listen.address = b->listen_text;
	b->conf = (struct conf){
		.hostname = b->hostname, .resolver = b->resolver, .nresolver = 1,
		.listen = &b->listen, .nlisten = 1,
		.dns_timeout_ms = 300, .dns_tries = 1, .dns_cache_max = 100,
		.dns_ttl_max_ms = 60000, .dns_ttl_min_ms = 1000,
		.smtp_port = b->server.port, .deliver_to_loopback = true,
		.connections_max = 2, .deliveries_max = 10, .messages_per_connection = 100,
		.connect_timeout_ms = 2000, .reply_timeout_ms = 100, .send_timeout_ms = 1000,
		.idle_timeout_ms = 3000,
	};
	b->dns = dns_new(b->loop, &b->conf, NULL, NULL);
	b->deliver = deliver_new(b->loop, &b->conf, b->dns, NULL, on_result, b);
	b->guard = timer_new(b->loop, on_guard, b);
	b->body = mem_str("Subject: x\r\n\r\n.dot\r\n..\r\nlast");
	b->nbody = strlen(b->body);
	return b;
}

static void
bed_close(struct bed **bp)
{
	struct bed *b = *bp;
	int i;

	deliver_free(&b->deliver);
	dns_free(&b->dns);
	/* let the servers see the end of their connections */
	for (i = 0; i < 50 && b->server.open > 0; i++) {
		timer_arm(b->guard, 20);
		loop_run(b->loop);
	}
	assert_int_equal(b->server.open, 0);
	server_close(&b->server);
	dns_peer_close(&b->peer);
	timer_free(&b->guard);
	loop_free(&b->loop);
	free(b->body);
	free(b);
}

static void
send_one(struct bed *b, uint8_t route, const char *host)
{
	struct queue_deliver q = {
		.req = ++b->next, .route = route, .port = b->server.port,
		.host = slice_str(host), .mail_from = SLICE_LIT("s@x.example"),
		.rcpt = SLICE_LIT("r@y.example"), .prefix = SLICE_LIT("Received: us\r\n"),
	};

	deliver_start(b->deliver, &q, body_make(slice_make(b->body, b->nbody)));
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
settle(struct bed *b)	/* one more turn for what is under way */
{
	timer_arm(b->guard, 20);
	loop_run(b->loop);
}

static void
test_smtp(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct deliver_stats st;
	char peer[64];

	(void)state;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(b->result[0].req, 1);
	assert_int_equal(b->result[0].code, 250);
	assert_string_equal(b->result[0].enhanced, "2.0.0");
	(void)snprintf(peer, sizeof(peer), "127.0.0.1[127.0.0.1]:%u", b->server.port);
	assert_string_equal(b->result[0].peer, peer);
	assert_string_equal(b->result[0].group, "");
	b->server.content[b->server.ncontent] = '\0';
	assert_string_equal(b->server.content,
	    "Received: us\r\nSubject: x\r\n\r\n..dot\r\n...\r\nlast\r\n");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . MAIL RCPT DATA . ");
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.ok, 2);
	assert_int_equal(st.connections, 1);
	assert_int_equal(st.reused, 1);
	assert_int_equal(st.open, 1);
	assert_int_equal(st.in_flight, 0);
	bed_close(&b);
}

static void
test_mx(void **state)
{
	static const struct {
		const char *host;
		uint8_t outcome, scope;
		const char *enhanced, *text, *group;
	} c[] = {
		{ "two.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "TWO.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "implicit.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept",
		  "implicit.example" },
		{ "backup.example", DELIVER_OK, SCOPE_MESSAGE, "2.0.0", "2.0.0 kept", "google.com" },
		{ "null.example", DELIVER_LOCAL, SCOPE_HOST, "5.1.10", "null-mx", "" },
		{ "gone.example", DELIVER_LOCAL, SCOPE_HOST, "5.1.2", "no such domain", "" },
		{ "broken.example", DELIVER_TEMP, SCOPE_HOST, "4.4.3",
		  "DNS lookup of the domain failed", "" },
		{ "us.example", DELIVER_LOCAL, SCOPE_HOST, "5.4.6", "route leads to ourselves",
		  "relay.example" },
	};
	struct bed *b = bed_open(&plan_good, 1);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		send_one(b, ROUTE_MX, c[i].host);
		bed_run(b, 1);
		assert_int_equal(b->result[0].outcome, c[i].outcome);
		assert_int_equal(b->result[0].scope, c[i].scope);
		assert_string_equal(b->result[0].enhanced, c[i].enhanced);
		assert_string_equal(b->result[0].text, c[i].text);
		assert_string_equal(b->result[0].group, c[i].group);
	}
	/* spec 9.3: an MX that is our own listener, and loopback at large */
	(void)snprintf(b->listen_text, sizeof(b->listen_text), "0.0.0.0:%u", b->server.port);
	deliver_reload(b->deliver, &b->conf);
	send_one(b, ROUTE_MX, "null.example");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 2);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	assert_int_equal(b->result[1].outcome, DELIVER_LOCAL);
	assert_string_equal(b->result[1].text, "route leads to ourselves");
	(void)snprintf(b->listen_text, sizeof(b->listen_text), "0.0.0.0:2");
	b->conf.deliver_to_loopback = false;
	b->conf.idle_timeout_ms = 1;
	deliver_reload(b->deliver, &b->conf);
	send_one(b, ROUTE_MX, "new.implicit.example");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	bed_close(&b);
}

/* What each failure is called, and whether the connection lives on. */
static void
test_failures(void **state)
{
	static const struct {
		struct plan plan;
		uint8_t outcome, scope;
		uint16_t code;
	} c[] = {
#define GOOD "220 hi\r\n", "250-srv\r\n250 PIPELINING\r\n"
		{ { GOOD, "250 ok\r\n", "550 5.1.1 no\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_RCPT, 550 },
		{ { GOOD, "250 ok\r\n", "450 4.2.1 later\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_TEMP, SCOPE_RCPT, 450 },
		{ { GOOD, "250 ok\r\n", "550 no\r\n", "354 go\r\n", "554 none\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_RCPT, 550 },
		{ { GOOD, "553 bad sender\r\n", "503 no\r\n", "503 no\r\n", NULL, "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_MESSAGE, 553 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "554 5.7.1 spam\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_PERM, SCOPE_MESSAGE, 554 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "451 4.3.0 x\r\n", "250 ok\r\n", 0, 0 },
		  DELIVER_TEMP, SCOPE_MESSAGE, 451 },
		{ { GOOD, "421 4.7.28 slow\r\n", "", "", NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 421 },
		{ { "554 no\r\n", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 554 },
		{ { "220 hi\r\n", "550 no\r\n", NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 500 },		/* HELO is unknown to it too */
		{ { NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "SSH-2.0\r\n", NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { "220 hi\r\n", "", NULL, NULL, NULL, NULL, NULL, 0, 0 },
		  DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, "", NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, NULL, NULL, NULL, NULL, NULL, 0, 0 }, DELIVER_TEMP, SCOPE_HOST, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", NULL, NULL, true, 0 },
		  DELIVER_TEMP, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", NULL, NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
		{ { GOOD, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "gibberish\r\n", NULL, 0, 0 },
		  DELIVER_UNKNOWN, SCOPE_MESSAGE, 0 },
#undef GOOD
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct bed *b = bed_open(&c[i].plan, 1);

		if (c[i].plan.hang_up_in_data) {	/* more than the kernel would swallow */
			b->nbody = 16 << 20;
			b->body = mem_resize(b->body, b->nbody, 1);
			memset(b->body, 'x', b->nbody);
		}
		send_one(b, ROUTE_SMTP, "127.0.0.1");
		bed_run(b, 1);
		if (b->result[0].outcome != c[i].outcome || b->result[0].code != c[i].code)
			print_message("case %zu: outcome %u code %u %s\n", i,
			    b->result[0].outcome, b->result[0].code, b->result[0].text);
		assert_int_equal(b->result[0].outcome, c[i].outcome);
		assert_int_equal(b->result[0].scope, c[i].scope);
		assert_int_equal(b->result[0].code, c[i].code);
		bed_close(&b);
	}
}

/* Spec 14.4.13: a server that closes after each message costs nothing. */
static void
test_stale_connection(void **state)
{
	static const struct plan c[] = {
		{ "220 hi\r\n", "250 srv\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n",
		  "250 ok\r\n", "250 ok\r\n", false, true },
	};
	struct deliver_stats st;
	struct bed *b = bed_open(c, 1);
	unsigned i;

	(void)state;
	b->chain = 9;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 10);
	for (i = 0; i < 10; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.ok, 10);
	assert_int_equal(st.temp, 0);
	assert_int_equal(b->server.connections, 10);
	bed_close(&b);
}

/* The same said with 421 at MAIL on a connection that was used before. */
static void
test_stale_421(void **state)
{
	static const struct plan c = {
		"220 hi\r\n", "250 srv\r\n", "421 4.3.2 idle too long\r\n", NULL, NULL, NULL, NULL,
		false, false
	};
	struct plan first = plan_good;
	struct bed *b = bed_open(&first, 1);

	(void)state;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	first = c;	/* from now on it says 421 on the connection it has */
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	/* the fresh connection said it too: now it is a failure */
	assert_int_equal(b->result[0].outcome, DELIVER_TEMP);
	assert_int_equal(b->result[0].scope, SCOPE_HOST);
	assert_int_equal(b->server.connections, 2);
	bed_close(&b);
}

static void
test_connection_limits(void **state)
{
	struct deliver_stats st;
	struct bed *b = bed_open(&plan_good, 1);
	unsigned i;

	(void)state;
	b->conf.messages_per_connection = 3;
	for (i = 0; i < 20; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 20);
	for (i = 0; i < 20; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_true(b->server.open_max <= 2);
	assert_in_range(b->server.connections, 7, 8);	/* the two may share unevenly */
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.reused, 20 - b->server.connections);
	bed_close(&b);
}

/* A dead first MX costs its time once; after it lived again, it comes first again. */
static void
test_dead_address(void **state)
{
	struct server second;
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	b->conf.messages_per_connection = 1;
	clock_fake(1000, 1000);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(b->server.connections, 1);
	server_open(&second, b->loop, "127.0.0.99", b->server.port, &plan_good, 1);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(second.connections, 0);
	clock_fake(1000, 1000 + 301 * 1000);
	send_one(b, ROUTE_MX, "two.example");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(second.connections, 1);
	clock_fake(-1, -1);
	settle(b);
	server_close(&second);
	bed_close(&b);
}

/* One place for all: another destination's idle connection makes room. */
static void
test_global_limit(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	unsigned i;

	(void)state;
	b->conf.deliveries_max = 1;
	for (i = 0; i < 4; i++) {
		send_one(b, ROUTE_SMTP, "127.0.0.1");
		send_one(b, ROUTE_MX, "implicit.example");
	}
	bed_run(b, 8);
	for (i = 0; i < 8; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_int_equal(b->server.open_max, 1);
	bed_close(&b);
}

/* A dead host fails all that wait for it at once, not one timeout after the other. */
static void
test_dead_host_fails_all(void **state)
{
	static const struct plan silent;
	struct bed *b = bed_open(&silent, 1);
	int64_t t0 = clock_mono_ms();
	unsigned i;

	(void)state;
	for (i = 0; i < 40; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 40);
	for (i = 0; i < 40; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_TEMP);
	assert_true(clock_mono_ms() - t0 < 1000);
	bed_close(&b);
}

/* A server that takes only one connection at a time: nothing is deferred. */
static void
test_refused_second_connection(void **state)
{
	struct plan c[2] = { plan_good, plan_good };
	struct bed *b;
	unsigned i;

	(void)state;
	c[1].greeting = "421 4.7.0 too many connections\r\n";
	b = bed_open(c, 2);
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	for (i = 0; i < 10; i++)
		send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 10);
	for (i = 0; i < 10; i++)
		assert_int_equal(b->result[i].outcome, DELIVER_OK);
	assert_int_equal(b->server.connections, 2);
	bed_close(&b);
}

static void
test_idle_quit(void **state)
{
	struct deliver_stats st;
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	b->conf.idle_timeout_ms = 30;
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_run(b, 1);
	timer_arm(b->guard, 100);
	loop_run(b->loop);
	assert_string_equal(b->server.log, "+ EHLO MAIL RCPT DATA . QUIT ");
	deliver_stats(b->deliver, &st);
	assert_int_equal(st.open, 0);
	bed_close(&b);
}

static void
test_lmtp(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);

	(void)state;
	send_one(b, ROUTE_LMTP, "localhost");
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_OK);
	assert_int_equal(b->result[0].scope, SCOPE_RCPT);
	assert_string_equal(b->server.log, "+ LHLO MAIL RCPT DATA . ");
	bed_close(&b);
}

/* Free with everything in flight; bad requests. */
static void
test_edges(void **state)
{
	struct bed *b = bed_open(&plan_good, 1);
	struct queue_deliver q = { .req = 9, .host = SLICE_LIT("127.0.0.1"),
		.route = ROUTE_SMTP, .rcpt = SLICE_LIT("a@b"), .port = b->server.port };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	b->want = 1;
	deliver_start(b->deliver, &q, fd);	/* not a sealed memfd */
	assert_int_equal(b->have, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_TEMP);
	deliver_start(b->deliver, &q, -1);
	assert_int_equal(b->have, 2);
	q.rcpt = SLICE_LIT("a@b>\r\nRCPT TO:<c");
	deliver_start(b->deliver, &q, body_make(SLICE_LIT("x")));
	bed_run(b, 1);
	assert_int_equal(b->result[0].outcome, DELIVER_LOCAL);
	assert_string_equal(b->server.log, "+ EHLO ");
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	send_one(b, ROUTE_MX, "two.example");
	send_one(b, ROUTE_SMTP, "192.0.2.1");
	settle(b);
	send_one(b, ROUTE_SMTP, "127.0.0.1");
	bed_close(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smtp),
		cmocka_unit_test(test_mx),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_stale_connection),
		cmocka_unit_test(test_stale_421),
		cmocka_unit_test(test_connection_limits),
		cmocka_unit_test(test_dead_address),
		cmocka_unit_test(test_global_limit),
		cmocka_unit_test(test_dead_host_fails_all),
		cmocka_unit_test(test_refused_second_connection),
		cmocka_unit_test(test_idle_quit),
		cmocka_unit_test(test_lmtp),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests_name("deliver", tests, NULL, NULL);
}
