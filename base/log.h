// SPDX-License-Identifier: Apache-2.0
/*
 * One event, one line: `time level role event key=value ...` on standard error
 * in a single write. Names are stable, peer text is escaped here, recovery
 * addresses go through log_hash first (P4).
 *
 *	log_info("accepted", "id=%s rcpt=%s", LOG_ESC(s), ...)
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

void log_open(const char *role, enum log_level max);
enum log_level log_level_now(void);

void log_event(enum log_level lvl, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(ev, ...)	log_event(LOG_LVL_ERROR, ev, __VA_ARGS__)
#define log_warn(ev, ...)	log_event(LOG_LVL_WARN, ev, __VA_ARGS__)
#define log_info(ev, ...)	log_event(LOG_LVL_INFO, ev, __VA_ARGS__)
#define log_debug(ev, ...) \
	do { \
		if (log_level_now() >= LOG_LVL_DEBUG) \
			log_event(LOG_LVL_DEBUG, ev, __VA_ARGS__); \
	} while (0)

/*
 * Printable form of outside bytes: quoted, controls and 8-bit as \xNN, cut to
 * 256 bytes. Valid until eight more calls (rotating static buffers).
 */
const char *log_esc(struct slice s);
const char *log_escs(const char *s);

/* 12 hex digits that stand for an address in logs: HMAC-SHA256 under a key of
 * this installation (log_hash_key; before it, a random per-process key). */
void log_hash_key(const void *key, size_t n);
const char *log_hash(struct slice address);

#endif
