// SPDX-License-Identifier: Apache-2.0
/*
 * A scripted DNS server for tests, in the same loop as what is tested: UDP and TCP on
 * one loopback port, and a builder of answers that can be as wrong as the script likes.
 */
#ifndef TESTS_RELAY_DNS_PEER_H
#define TESTS_RELAY_DNS_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/dnsrr.h"
#include "base/loop.h"
#include "base/mem.h"

struct dns_msg {
	size_t	n;
	uint8_t	b[65536];
};

struct dns_ask {	/* what was asked */
	const uint8_t	*q;
	size_t		 n;
	char		 name[256];	/* lower case */
	uint16_t	 type;
	bool		 tcp;
	bool		 edns;
};

struct dns_peer;
/* Fills `m`; m->n == 0 says nothing at all. */
typedef void dns_peer_fn(struct dns_peer *p, const struct dns_ask *a, struct dns_msg *m);

struct dns_peer {
	struct loop	*loop;
	int		 udp, tcp;
	struct watch	*wudp, *wtcp;
	uint16_t	 port;
	unsigned	 asked, asked_tcp;
	dns_peer_fn	*fn;
	void		*arg;
	char		 server[32];	/* "127.0.0.1:port" */
	struct sockaddr_in from;	/* of the question being answered over UDP */
};

static inline void
msg_u16(struct dns_msg *m, unsigned v)
{
	m->b[m->n++] = (uint8_t)(v >> 8);
	m->b[m->n++] = (uint8_t)v;
}

static inline void
msg_u32(struct dns_msg *m, uint32_t v)
{
	msg_u16(m, v >> 16);
	msg_u16(m, v & 0xffff);
}

static inline void
msg_name(struct dns_msg *m, const char *name)
{
	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		m->b[m->n++] = (uint8_t)n;
		memcpy(m->b + m->n, name, n);
		m->n += n;
		name += n;
		if (*name == '.')
			name++;
	}
	m->b[m->n++] = 0;
}

/* Header and question; counts are set by msg_count. */
static inline void
msg_begin(struct dns_msg *m, uint16_t id, unsigned flags, const char *name, uint16_t type)
{
	m->n = 0;
	msg_u16(m, id);
	msg_u16(m, 0x8180 | flags);
	msg_u16(m, 1);
	msg_u16(m, 0);
	msg_u16(m, 0);
	msg_u16(m, 0);
	msg_name(m, name);
	msg_u16(m, type);
	msg_u16(m, 1);
}

static inline void
msg_reply(struct dns_msg *m, const struct dns_ask *a, unsigned flags)
{
	msg_begin(m, (uint16_t)(a->q[0] << 8 | a->q[1]), flags, a->name, a->type);
}

/* section 0 answer, 1 authority */
static inline void
msg_rr(struct dns_msg *m, int section, const char *owner, uint16_t type, uint32_t ttl_s,
    const void *rdata, size_t n)
{
	size_t at = 6 + 2 * (size_t)section;
	unsigned count = (unsigned)m->b[at] << 8 | m->b[at + 1];

	count++;
	m->b[at] = (uint8_t)(count >> 8);
	m->b[at + 1] = (uint8_t)count;
	msg_name(m, owner);
	msg_u16(m, type);
	msg_u16(m, 1);
	msg_u32(m, ttl_s);
	msg_u16(m, (unsigned)n);
	memcpy(m->b + m->n, rdata, n);
	m->n += n;
}

static inline void
msg_a(struct dns_msg *m, const char *owner, const char *ip, uint32_t ttl_s)
{
	uint8_t b[16];
	int v6 = strchr(ip, ':') != NULL;

	CHECK(inet_pton(v6 ? AF_INET6 : AF_INET, ip, b) == 1);
	msg_rr(m, 0, owner, v6 ? DNS_AAAA : DNS_A, ttl_s, b, v6 ? 16 : 4);
}

static inline void
msg_to_name(struct dns_msg *m, const char *owner, uint16_t type, int pref, const char *target,
    uint32_t ttl_s)
{
	struct dns_msg *r = malloc(sizeof(*r));

	CHECK(r != NULL);
	r->n = 0;
	if (pref >= 0)
		msg_u16(r, (unsigned)pref);
	msg_name(r, target);
	msg_rr(m, 0, owner, type, ttl_s, r->b, r->n);
	free(r);
}

static inline void
msg_soa(struct dns_msg *m, const char *owner, uint32_t ttl_s, uint32_t minimum)
{
	struct dns_msg *r = malloc(sizeof(*r));
	int i;

	CHECK(r != NULL);
	r->n = 0;
	msg_name(r, "ns.example");
	msg_name(r, "root.example");
	for (i = 0; i < 4; i++)
		msg_u32(r, 1);
	msg_u32(r, minimum);
	msg_rr(m, 1, owner, 6, ttl_s, r->b, r->n);
	free(r);
}

static inline void
dns_peer_read(struct dns_ask *a)
{
	size_t at = 12, o = 0, n;

	a->name[0] = '\0';
	while (at < a->n && (n = a->q[at]) != 0 && at + 1 + n < a->n && o + n + 1 < 255) {
		if (o > 0)
			a->name[o++] = '.';
		memcpy(a->name + o, a->q + at + 1, n);
		o += n;
		at += 1 + n;
	}
	a->name[o] = '\0';
	bytes_lower(a->name, o);
	a->type = at + 2 < a->n ? (uint16_t)(a->q[at + 1] << 8 | a->q[at + 2]) : 0;
	a->edns = a->n > 11 && a->q[11] == 1;
}

static inline void
dns_peer_send_udp(struct dns_peer *p, const struct dns_msg *m)
{
	if (m->n > 0)
		(void)!sendto(p->udp, m->b, m->n, 0, (struct sockaddr *)&p->from,
		    sizeof(p->from));
}

static inline void
dns_peer_udp(void *arg, int fd, unsigned ready)
{
	struct dns_msg *m = malloc(sizeof(*m));
	socklen_t len;
	struct dns_peer *p = arg;
	uint8_t q[4096];
	ssize_t n;

	(void)ready;
	CHECK(m != NULL);
	len = sizeof(p->from);
	n = recvfrom(fd, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&p->from, &len);
	if (n > 12) {
		struct dns_ask a = { .q = q, .n = (size_t)n };

		dns_peer_read(&a);
		p->asked++;
		m->n = 0;
		p->fn(p, &a, m);
		dns_peer_send_udp(p, m);
	}
	free(m);
}

struct dns_peer_tcp {
	struct dns_peer	*peer;
	struct watch	*watch;
};

/* One question per connection; c-ares sends it in one piece. */
static inline void
dns_peer_tcp_read(void *arg, int fd, unsigned ready)
{
	struct dns_msg *m = malloc(sizeof(*m));
	struct dns_peer_tcp *t = arg;
	struct dns_peer *p = t->peer;
	uint8_t q[4096], len[2];
	ssize_t n = recv(fd, q, sizeof(q), MSG_DONTWAIT);

	(void)ready;
	CHECK(m != NULL);
	if (n > 14) {
		struct dns_ask a = { .q = q + 2, .n = (size_t)n - 2, .tcp = true };

		dns_peer_read(&a);
		p->asked_tcp++;
		m->n = 0;
		p->fn(p, &a, m);
		len[0] = (uint8_t)(m->n >> 8);
		len[1] = (uint8_t)m->n;
		if (m->n > 0 && send(fd, len, 2, MSG_NOSIGNAL) == 2)
			(void)!send(fd, m->b, m->n, MSG_NOSIGNAL);
	}
	watch_free(&t->watch);
	close(fd);
	free(t);
	free(m);
}

static inline void
dns_peer_tcp(void *arg, int fd, unsigned ready)
{
	struct dns_peer_tcp *t = mem_new(sizeof(*t));
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)ready;
	CHECK(c >= 0);
	t->peer = arg;
	t->watch = watch_new(t->peer->loop, c, dns_peer_tcp_read, t);
	watch_want(t->watch, LOOP_READ);
}

static inline void
dns_peer_open(struct dns_peer *p, struct loop *l, dns_peer_fn *fn, void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int tries;

	memset(p, 0, sizeof(*p));
	p->loop = l;
	p->fn = fn;
	p->arg = arg;
	for (tries = 0; tries < 20; tries++) {	/* the same port must be free for both */
		a.sin_port = 0;
		p->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		p->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(bind(p->udp, (struct sockaddr *)&a, sizeof(a)) == 0);
		CHECK(getsockname(p->udp, (struct sockaddr *)&a, &len) == 0);
		if (bind(p->tcp, (struct sockaddr *)&a, sizeof(a)) == 0)
			break;
		close(p->udp);
		close(p->tcp);
	}
	CHECK(tries < 20 && listen(p->tcp, 16) == 0);
	p->port = ntohs(a.sin_port);
	(void)snprintf(p->server, sizeof(p->server), "127.0.0.1:%u", p->port);
	p->wudp = watch_new(l, p->udp, dns_peer_udp, p);
	p->wtcp = watch_new(l, p->tcp, dns_peer_tcp, p);
	watch_want(p->wudp, LOOP_READ);
	watch_want(p->wtcp, LOOP_READ);
}

static inline void
dns_peer_close(struct dns_peer *p)
{
	watch_free(&p->wudp);
	watch_free(&p->wtcp);
	close(p->udp);
	close(p->tcp);
}

#endif
