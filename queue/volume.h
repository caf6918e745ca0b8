// SPDX-License-Identifier: Apache-2.0
/*
 * How many copies one provider gets in a day (spec 8.11): at most volume-factor times the
 * largest day of the last one to two weeks, and volume-start in any case. Class 0 may exceed
 * it; what has to wait, and for how long, is the caller's business.
 *
 * A day begins with its first copy and lasts 24 hours. The counts are marks (queue/marks.h):
 * kept over restarts; a kill -9 may forget the last five seconds, at most 256 copies. Times are schedule_now.
 */
#ifndef QUEUE_VOLUME_H
#define QUEUE_VOLUME_H

#include "base/conf.h"
#include "queue/marks.h"

struct volume {
	uint32_t today;		/* copies counted in the present day */
	uint32_t largest;	/* ... in the largest one before */
	uint64_t allowed;	/* a day; UINT64_MAX: no bound */
	int64_t	 ends_ms;	/* of the present day; 0: none has begun */
};

/* `provider` is its marks_key. False: nothing is known of it. */
bool volume_look(const struct marks *m, const struct conf_provider *c, uint64_t provider, int64_t now,
    struct volume *out);
bool volume_full(const struct volume *v);
/* A copy leaves; and it was not delivered after all. */
void volume_count(struct marks *m, const struct conf_provider *c, uint64_t provider, int64_t now);
void volume_uncount(struct marks *m, uint64_t provider, int64_t now);

#endif
