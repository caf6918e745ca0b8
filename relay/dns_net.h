// SPDX-License-Identifier: Apache-2.0
/*
 * c-ares is met here only: raw questions to the configured servers over UDP, and TCP
 * where an answer was cut, with tries and timeouts. It opens no file: all it would read
 * from /etc comes in as arguments, and query ids are ours (base/crypto.h), because its
 * own come from rand() where there is no /dev/urandom to open.
 */
#ifndef RELAY_DNS_NET_H
#define RELAY_DNS_NET_H

#include <netinet/in.h>

#include "base/loop.h"
#include "base/slice.h"

enum dns_net_status {
	DNS_NET_ANSWER,		/* `msg` is one */
	DNS_NET_TIMEOUT,
	DNS_NET_FAILED,		/* refused, SERVFAIL from all servers ... */
	DNS_NET_CLOSED,		/* dns_net_free: not asked to the end */
};

enum { DNS_SERVERS_MAX = 8 };

struct dns_server {
	int		family;		/* AF_INET or AF_INET6 */
	uint16_t	port;
	union {
		struct in_addr	v4;
		struct in6_addr	v6;
	} addr;
};

/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]:53"; 0 or -1. */
int dns_server_parse(struct slice s, struct dns_server *out);
bool dns_server_loopback(const struct dns_server *s);
/* The nameserver lines of a resolv.conf text; returns how many (at most max). */
size_t dns_servers_from_text(const char *text, struct dns_server *out, size_t max);

struct dns_net;

/* `msg` is borrowed until return. May be called from within dns_net_send. */
typedef void dns_net_fn(void *arg, enum dns_net_status st, struct slice msg);

/* NULL after logging why. */
struct dns_net *dns_net_new(struct loop *l, const struct dns_server *s, size_t n,
    int64_t timeout_ms, unsigned tries);
/* Every question not answered ends in DNS_NET_CLOSED first. */
void dns_net_free(struct dns_net **np);
void dns_net_send(struct dns_net *n, const uint8_t *msg, size_t len, dns_net_fn *fn, void *arg);

#endif
