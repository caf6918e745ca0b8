// SPDX-License-Identifier: Apache-2.0
/*
 * Which provider takes the mail of a recovery domain, as the relays found it in the DNS: a
 * bounded cache. Domains are recovery domains: they never leave this process but as a
 * question to a relay. Times are the monotonic clock.
 */
#ifndef QUEUE_ROUTES_H
#define QUEUE_ROUTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { ROUTE_GROUP_MAX = 256, ROUTE_REASON_MAX = 33 };

struct route {
	uint8_t	status;			/* enum queue_route_status */
	char	group[ROUTE_GROUP_MAX];	/* ROUTED_OK */
	char	reason[ROUTE_REASON_MAX];	/* ROUTED_NEVER: one word */
};

struct routes;

struct routes *routes_new(unsigned max);
void routes_free(struct routes **rp);
/* NULL when it is not known (any more). Borrowed until the next put. */
const struct route *routes_get(struct routes *r, const char *domain, int64_t now);
void routes_put(struct routes *r, const char *domain, const struct route *route, int64_t until);
unsigned routes_count(const struct routes *r);

#endif
