// SPDX-License-Identifier: Apache-2.0
/*
 * What an operator should look at now: a short list in memory, shown by `salvaposta status`.
 * An alarm is known by its word and its domain and shard; raised again it counts up. It
 * is logged when it comes and when it goes. After a restart what still holds comes again.
 */
#ifndef QUEUE_ALARM_H
#define QUEUE_ALARM_H

#include <stdbool.h>
#include <stdint.h>

enum { ALARMS_MAX = 1000 };	/* more are logged, not listed */

struct alarms;
struct json_t;

struct alarms *alarms_new(void);
void alarms_free(struct alarms **ap);
/* All copied; domain and shard may be "". It goes by itself `keep_ms` (monotonic, 0: never)
 * after it was raised last. True when it was not there. `fix`: what to do. */
bool alarm_raise(struct alarms *a, const char *what, const char *domain, const char *shard,
    int64_t keep_ms, const char *text, const char *fix);
/* True when it was there. */
bool alarm_clear(struct alarms *a, const char *what, const char *domain, const char *shard);
void alarms_sweep(struct alarms *a);		/* those whose time is over go */
/* [{"alarm":..,"domain":..,"shard":..,"since":..,"count":..,"text":..,"fix":..}], owned by the
 * caller. */
struct json_t *alarms_json(const struct alarms *a);

#endif
