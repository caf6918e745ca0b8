// SPDX-License-Identifier: Apache-2.0
/*
 * How long the disk will do: the growth of the spool over the last ten minutes, and when
 * it meets the reserve at that rate; and the water marks, by which new mail is turned
 * away in order of its class. Pure; the queue role measures, tells and logs.
 */
#ifndef QUEUE_FORECAST_H
#define QUEUE_FORECAST_H

#include "base/conf.h"

enum {
	FORECAST_SAMPLES = 121,
	FORECAST_STEP_MS = 5000,	/* samples sooner than that are not kept */
	FORECAST_LOG_MS = 10 * 60 * 1000
};

struct forecast {
	struct forecast_sample {
		int64_t		mono_ms;
		uint64_t	bytes;		/* of the spool on disk */
		uint64_t	held;		/* of the content of held mail */
	} s[FORECAST_SAMPLES];	/* a ring: n of them from first, oldest first */
	unsigned	first, n;
	int64_t		logged_ms;	/* monotonic; 0 never */
};

void forecast_put(struct forecast *f, int64_t mono_ms, uint64_t bytes, uint64_t held);
/* Bytes an hour the spool grows by; 0: it does not, or not known yet. */
uint64_t forecast_growth(const struct forecast *f);
/* Hours until `room` bytes are used up at that rate; -1: not in sight. */
double forecast_hours(const struct forecast *f, uint64_t room);
/* Held mail grows, and it was not logged for ten minutes. Counts as logged. */
bool forecast_log_due(struct forecast *f, int64_t mono_ms);

enum water {		/* free space, falling */
	WATER_FINE,
	WATER_WARN,	/* below disk-warn: it is logged */
	WATER_BULK,	/* below disk-bulk-reserve: class 3 gets 452 */
	WATER_FULL,	/* below disk-reserve: all new mail gets 452 */
	WATER_MAX
};
const char *water_name(enum water w);
/* The mark `free` is below. Upwards it takes a twentieth more than the mark: a level that
 * came and went with each message would be noise. */
enum water water_next(enum water now, const struct conf *c, uint64_t free);

#endif
