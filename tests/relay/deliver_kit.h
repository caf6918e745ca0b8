// SPDX-License-Identifier: Apache-2.0
/*
 * Deliveries against scripted servers in the same loop: each plan says what one
 * connection answers to which command; NULL is silence, "" closes the connection.
 */
#ifndef TESTS_RELAY_DELIVER_KIT_H
#define TESTS_RELAY_DELIVER_KIT_H

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
	struct conf_provider provider[2];
	char		 google[32], other[32];
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
	} else if ((strcmp(a->name, "one.example") == 0 ||
	    strcmp(a->name, "sister.example") == 0) && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 10, "good.mx.google.com", 60);
	} else if (strcmp(a->name, "cousin.example") == 0 && a->type == DNS_MX) {
		msg_to_name(m, a->name, DNS_MX, 10, "other.mx.google.com", 60);
	} else if (strcmp(a->name, "other.mx.google.com") == 0 && a->type == DNS_A) {
		msg_a(m, a->name, "127.0.0.1", 60);
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
	(void)snprintf(b->google, sizeof(b->google), "google.com");
	(void)snprintf(b->other, sizeof(b->other), "%s", CONF_PROVIDER_DEFAULT);
	b->provider[0] = (struct conf_provider){ .name = b->google, .connections = 2,
		.messages_per_connection = 3 };
	b->provider[1] = (struct conf_provider){ .name = b->other, .connections = 2,
		.messages_per_connection = 100 };
	b->conf.provider = b->provider;
	b->conf.nprovider = 2;
	b->dns = dns_new(b->loop, &b->conf, NULL, NULL);
	b->deliver = deliver_new(b->loop, &b->conf, b->dns, NULL, NULL, NULL, on_result, b);
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
send_group(struct bed *b, uint8_t route, const char *host, const char *group, uint16_t most)
{
	struct queue_deliver q = {
		.req = ++b->next, .route = route, .port = b->server.port,
		.host = slice_str(host), .mail_from = SLICE_LIT("s@x.example"),
		.rcpt = SLICE_LIT("r@y.example"), .prefix = SLICE_LIT("Received: us\r\n"),
		.group = slice_str(group), .connections = most,
	};

	deliver_start(b->deliver, &q, body_make(slice_make(b->body, b->nbody)));
}

static void
send_one(struct bed *b, uint8_t route, const char *host)
{
	send_group(b, route, host, "", 0);
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

#endif
