// SPDX-License-Identifier: Apache-2.0
/*
 * How fast one provider group is spoken to (spec 8.3, 8.4): slow start, silence after a
 * word about our rate, then one connection at half the rate. Pure; times are the monotonic
 * clock. That a provider is closed is also a mark (queue/marks.h), so a restart honours it.
 */
#ifndef QUEUE_PROVIDER_H
#define QUEUE_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"

struct provider {
	int64_t	 since_ms;	/* slow start counts from here */
	int64_t	 closed_ms;	/* nothing starts before this */
	int64_t	 hit_ms;	/* when it was closed last; INT64_MIN never */
	int64_t	 minute_ms;	/* start of the minute being counted */
	unsigned started, before;	/* in this minute, in the one before */
	int64_t	 last_ms;	/* when something was started last */
	int64_t	 pace_ms;	/* least time between two starts right after since_ms; 0 none */
};

void provider_init(struct provider *p, int64_t now);
/* Connections at a time. */
unsigned provider_limit(const struct provider *p, const struct conf_provider *c, int64_t now);
/* Earliest time of the next start; <= now: at once. */
int64_t provider_next(const struct provider *p, const struct conf_provider *c, int64_t now);
void provider_started(struct provider *p, int64_t now);
/*
 * It is silent until `until`, for something started at `started`: what was under way when
 * it was closed already says nothing new. `slower`: then at half the rate (RATE). False:
 * it was such an echo.
 */
bool provider_close(struct provider *p, int64_t started, int64_t now, int64_t until, bool slower);

#endif
