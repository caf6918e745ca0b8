// SPDX-License-Identifier: Apache-2.0
/* Spans and points of time as an administrator types them. */
#ifndef ADMIN_WHEN_H
#define ADMIN_WHEN_H

#include <stdint.h>

/* "90m", "1d12h", into milliseconds. 0 or -1. */
int when_span(const char *text, int64_t *ms);
/*
 * "2026-11-28T12:00Z" (UTC), "2026-11-28 12:00[:30]" and "12:00" (this host's zone; the next
 * time it is that late after `now_ms`), into milliseconds since 1970. 0 or -1.
 */
int when_time(const char *text, int64_t now_ms, int64_t *ms);

#endif
