// SPDX-License-Identifier: Apache-2.0
/*
 * Tells front servers which domains' mail to bring here instead of to the store: the place
 * routing-answer for each domain (and each address in it) that is not standby as a whole,
 * "not found" for all else, a temporary error until the queue has told the phases. So one
 * `salvaposta failover` turns a fleet of front servers, without DNS.
 *
 * Asked by Postfix (relay/routing_proto.h) on the addresses of routing-listen, from this host
 * and from trusted-relay; others are hung up on. Bounds: routing-clients-max connections (then
 * the one that was silent longest goes), one request at a time each, command-timeout of silence.
 */
#ifndef RELAY_ROUTING_H
#define RELAY_ROUTING_H

#include "base/conf.h"
#include "base/loop.h"
#include "relay/phases.h"
#include "relay/routing_proto.h"

struct routing;

/* Conf and phases are borrowed and outlive it. */
struct routing *routing_new(struct loop *l, const struct conf *c, const struct phases *p);
void routing_reload(struct routing *r, const struct conf *c);
void routing_free(struct routing **rp);
/* Clients of a listening socket, borrowed; any number of them. */
void routing_listen(struct routing *r, int fd);
void routing_unlisten(struct routing *r);	/* clients stay */

enum routing_verdict routing_decide(const struct routing *r, struct slice key);
const char *routing_where(const struct routing *r);
uint64_t routing_answered(const struct routing *r);

#endif
