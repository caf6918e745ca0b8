// SPDX-License-Identifier: Apache-2.0
/*
 * How often each client address came within the last minute. The table has a fixed size
 * whatever comes: when it is full the address that came least is forgotten, so a storm
 * from many addresses makes it forgetful, never large. Times are the monotonic clock.
 */
#ifndef RELAY_RATE_H
#define RELAY_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate;

enum { RATE_WINDOW_MS = 60 * 1000, RATE_PLACES = 8192 };

struct rate *rate_new(void);
void rate_free(struct rate **rp);
/* It came once more; false when that is more than `max` times in the present window. */
bool rate_take(struct rate *r, const uint8_t addr[16], unsigned max, int64_t now_ms);

#endif
