// SPDX-License-Identifier: Apache-2.0
/*
 * How many sessions each client address, and each network around it, holds now: an IPv4
 * address and its /24, an IPv6 address and its /64. As large as the sessions there are.
 */
#ifndef RELAY_CROWD_H
#define RELAY_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crowd;

struct crowd *crowd_new(void);
void crowd_free(struct crowd **cp);

enum crowd_verdict { CROWD_OK, CROWD_ADDRESS, CROWD_NETWORK };

/* Counts one more unless that would be over a bound. CROWD_OK owes a crowd_leave. */
enum crowd_verdict crowd_enter(struct crowd *c, const uint8_t addr[16], unsigned address_max,
    unsigned network_max);
void crowd_leave(struct crowd *c, const uint8_t addr[16]);
size_t crowd_size(const struct crowd *c);	/* addresses and networks known */

#endif
