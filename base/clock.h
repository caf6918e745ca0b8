// SPDX-License-Identifier: Apache-2.0
/*
 * The two clocks. Wall time is for people and headers; every deadline, retry
 * and expiry uses the monotonic clock (CLOCK_BOOTTIME), so that a jump of the
 * wall clock bounces nothing. Tests replace both with clock_fake.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);	/* since 1970, UTC */
int64_t clock_mono_ms(void);	/* since boot, sleeps included; never goes back */
int64_t clock_mono_us(void);

/* From now on both clocks stand at these values; -1,-1 gives the real ones back. */
void clock_fake(int64_t wall_ms, int64_t mono_ms);

/* "Sun, 22 Nov 2026 20:36:00 +0100" (RFC 5322 3.3), local zone. out: >= 40 bytes. */
void clock_rfc5322(int64_t wall_ms, char *out, size_t cap);
/* "2026-11-22T20:36:00.123Z". out: >= 32 bytes. */
void clock_iso8601(int64_t wall_ms, char *out, size_t cap);

#endif
