// SPDX-License-Identifier: Apache-2.0
/*
 * Outgoing deliveries of a relay process: routes (MX by RFC 5321 5.1, IPv6 and IPv4,
 * null MX, never to ourselves), a pool of connections kept for reuse per destination,
 * and one SMTP or LMTP client machine per connection. Each request ends in exactly
 * one result.
 */
#ifndef RELAY_DELIVER_H
#define RELAY_DELIVER_H

#include "base/conf.h"
#include "base/proto/relay_queue.h"
#include "relay/dns.h"
#include "relay/mx.h"
#include "relay/tls.h"

struct deliver;

/* `r` is borrowed until return. May be called from within deliver_start. */
typedef void deliver_fn(void *arg, const struct queue_delivered *r);

/* tls NULL: no STARTTLS; sts NULL: no MTA-STS. `own`: as `old` of mx_self_new, borrowed
 * until return; a confined role has to hand it in. */
struct deliver *deliver_new(struct loop *l, const struct conf *c, struct dns *d,
    struct sts *sts, struct tls_context *tls, const struct mx_self *own, deliver_fn *fn,
    void *arg);
void deliver_reload(struct deliver *d, const struct conf *c);
/* Copies what it needs of the request, takes the body descriptor. */
void deliver_start(struct deliver *d, const struct queue_deliver *req, int body_fd);
/* Where mail for that domain goes; exactly one answer, later. `r` as above. */
typedef void deliver_route_fn(void *arg, const struct queue_routed *r);
void deliver_on_route(struct deliver *d, deliver_route_fn *fn);	/* arg: that of deliver_new */
void deliver_route(struct deliver *d, uint64_t req, struct slice domain);
/* No connection to that provider stays open: idle ones close, busy ones after their
 * transaction; what waits or has only begun to connect ends as DELIVER_TEMP, code 0. */
void deliver_close(struct deliver *d, struct slice group);
/* Everything in flight ends as DELIVER_TEMP/UNKNOWN without a callback. */
void deliver_free(struct deliver **dp);

/* Connections by whose policy asked for TLS: nobody's, TLSA records, MTA-STS (RFC 8460). */
struct deliver_tls_stats {
	uint64_t ok[MX_POLICY_MAX], failed[MX_POLICY_MAX];
	uint64_t fault[TLS_FAULT_MAX];
	uint64_t clear;		/* in plaintext */
};
struct deliver_stats {
	uint64_t ok, temp, perm, unknown, local, connections, reused;
	unsigned open, in_flight;
	struct deliver_tls_stats tls;
};
void deliver_stats(const struct deliver *d, struct deliver_stats *out);

#endif
