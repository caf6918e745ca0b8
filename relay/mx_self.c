// SPDX-License-Identifier: Apache-2.0
/*
 * Who we are on the network. The machine's addresses are read once, at start, because a
 * confined role may not ask for them any more; a listener on 0.0.0.0 or :: means all of
 * them, and all of 127/8.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/dns_net.h"
#include "relay/mx.h"

enum { SELF_ADDRESSES_MAX = 256 };

struct self_address {
	uint8_t	b[16];		/* IPv6, or IPv4 mapped into it */
};

struct mx_self {
	struct self_address	 local[SELF_ADDRESSES_MAX];
	size_t			 nlocal;
	struct self_listen {
		struct self_address	address;
		uint16_t		port;
		bool			any;
	}			*listen;	/* owned */
	size_t			 nlisten;
};

static void
self_map4(struct self_address *out, const struct in_addr *a)
{
	memset(out, 0, sizeof(*out));
	out->b[10] = out->b[11] = 0xff;
	memcpy(out->b + 12, a, 4);
}

/* 0 and the port, or -1 for a family we do not speak. */
static int
self_of(const struct sockaddr *sa, struct self_address *out, uint16_t *port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (sa->sa_family == AF_INET) {
		memcpy(&v4, sa, sizeof(v4));
		self_map4(out, &v4.sin_addr);
		*port = ntohs(v4.sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&v6, sa, sizeof(v6));
		memcpy(out->b, &v6.sin6_addr, 16);
		*port = ntohs(v6.sin6_port);
		return 0;
	}
	return -1;
}

static void
self_interfaces(struct mx_self *s)
{
	struct ifaddrs *list = NULL, *i;
	uint16_t port;

	if (getifaddrs(&list) != 0) {
		log_warn("own-addresses", "error=%m");
		return;
	}
	for (i = list; i != NULL && s->nlocal < SELF_ADDRESSES_MAX; i = i->ifa_next)
		if (i->ifa_addr != NULL &&
		    self_of(i->ifa_addr, &s->local[s->nlocal], &port) == 0)
			s->nlocal++;
	freeifaddrs(list);
}

struct mx_self *
mx_self_new(const struct conf *c, const struct mx_self *old)
{
	static const struct self_address none, any4 = { { [10] = 0xff, [11] = 0xff } };
	struct mx_self *s = mem_new(sizeof(*s));
	struct dns_server a;	/* "ip:port" is the same syntax */
	struct self_listen *l;
	size_t i;

	if (old != NULL) {
		memcpy(s->local, old->local, sizeof(s->local));
		s->nlocal = old->nlocal;
	} else {
		self_interfaces(s);
	}
	s->listen = mem_array(c->nlisten + 1, sizeof(*s->listen));
	for (i = 0; i < c->nlisten; i++) {
		if (dns_server_parse(slice_str(c->listen[i].address), &a) != 0)
			continue;
		l = &s->listen[s->nlisten++];
		l->port = a.port;
		if (a.family == AF_INET)
			self_map4(&l->address, &a.addr.v4);
		else
			memcpy(l->address.b, &a.addr.v6, 16);
		l->any = memcmp(&l->address, &none, sizeof(none)) == 0 ||
		    memcmp(&l->address, &any4, sizeof(any4)) == 0;
	}
	return s;
}

void
mx_self_free(struct mx_self **sp)
{
	struct mx_self *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	free(s->listen);
	free(s);
}

static bool
self_local(const struct mx_self *s, const struct self_address *a)
{
	static const uint8_t loop4[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };
	static const uint8_t zero4[13] = { [10] = 0xff, [11] = 0xff, [12] = 0 };
	static const struct self_address loop6 = { { [15] = 1 } }, none;
	size_t i;

	if (memcmp(a->b, loop4, 13) == 0 || memcmp(a->b, zero4, 13) == 0 ||
	    memcmp(a, &loop6, sizeof(loop6)) == 0 || memcmp(a, &none, sizeof(none)) == 0)
		return true;
	for (i = 0; i < s->nlocal; i++)
		if (memcmp(&s->local[i], a, sizeof(*a)) == 0)
			return true;
	return false;
}

bool
mx_self_is(const struct mx_self *s, const struct sockaddr *sa)
{
	struct self_address a;
	uint16_t port;
	size_t i;

	if (self_of(sa, &a, &port) != 0)
		return false;
	for (i = 0; i < s->nlisten; i++) {
		if (s->listen[i].port != port)
			continue;
		if (s->listen[i].any ? self_local(s, &a) :
		    memcmp(&s->listen[i].address, &a, sizeof(a)) == 0)
			return true;
	}
	return false;
}
