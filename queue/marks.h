// SPDX-License-Identifier: Apache-2.0
/*
 * What is remembered of mailboxes and providers for a while: a mailbox is full, an address
 * does not exist, a provider refused an author's domain. One small table, in memory and in
 * the file `marks` of the queue's directory; it survives kill -9, and losing it to a power
 * cut costs some refusals, never mail.
 *
 * Keys are keyed hashes (HMAC-SHA256 under the installation's log key): no address is ever
 * in memory or on disk here (P4). Times are schedule_now, a wall clock without jumps. The
 * table holds at most marks-max; beyond it those that end soonest go.
 *
 * File: 16 bytes ("SPMARKS1", 8 bytes that tell the key), then records of 32 bytes
 * (docs/spool.md). A torn tail is ignored; the file is rewritten when half of it is old.
 */
#ifndef QUEUE_MARKS_H
#define QUEUE_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum mark_kind {		/* on disk: append only */
	MARK_LOOP = 1,		/* user: mail came back (9.1, 8.4 LOOP) */
	MARK_NOUSER,		/* recovery address: does not exist, until it changes */
	MARK_FULL,		/* recovery address */
	MARK_USERRATE,		/* recovery address */
	MARK_MUNGE,		/* provider, author domain (7.5) */
	MARK_RATE,		/* provider, author domain: named in a RATE reply */
	MARK_PROVIDER,		/* provider: closed; value: enum reply_class */
	MARK_AUTH,		/* provider: refusals of class AUTH (7.3); value: how many */
	MARK_ACCEPTED,		/* provider: something was accepted (7.3) */
	MARK_VOLUME,		/* provider: copies sent in a day (queue/volume.c); value: how many */
	MARK_VOLUME_BEFORE,	/* ... in the largest day of a week */
	MARK_BURST,		/* recovery address: copies sent to it lately (8.8); value */
	MARK_DAY,		/* recovery address: ... in a day; value */
	MARK_USERRATE_TIMES,	/* recovery address: USERRATE in a row; value */
	MARK_MESSAGE_ID,	/* provider, Message-ID: copies sent (8.9); value */
	MARK_VOLUME_OLDER,	/* provider: as VOLUME_BEFORE, of the week before that */
	MARK_NOTICE,		/* user, recovery address: had the notice of an outage (12.3); value:
				 * which, until: a fixed time after it (queue/attempt_announce.c) */
	MARK_NOTICE_TRIES,	/* ...: was put off; value: how often */
	MARK_KIND_MAX
};
const char *mark_kind_name(enum mark_kind k);

#define MARK_FOR_EVER	INT64_MAX

struct mark {
	int64_t	 until_ms;
	uint32_t value;
};

struct marks;

/* NULL after logging why. `key` of any length; n == 0: hashes that do not outlive us. */
struct marks *marks_open(int dirfd, const void *key, size_t n, unsigned max);
/* The same under another name: a table of its own, bounded by itself. */
struct marks *marks_open_as(int dirfd, const char *name, const void *key, size_t n, unsigned max);
void marks_close(struct marks **mp);
void marks_limit(struct marks *m, unsigned max);	/* a new configuration */

/* The hash of one or two words, letters folded. Never 0. */
uint64_t marks_key(const struct marks *m, struct slice a, struct slice b);

/* true and *out (may be NULL) when it is set and not over at `now`. */
bool marks_get(const struct marks *m, enum mark_kind k, uint64_t key, int64_t now,
    struct mark *out);
/* Replaces an earlier one. A disk that fails costs the persistence only; it is logged. */
void marks_set(struct marks *m, enum mark_kind k, uint64_t key, int64_t until_ms,
    uint32_t value, int64_t now);
/*
 * Counts: one more of at most `max` in a time of window_ms that starts with the first.
 * False when there are as many already: *until says when that is over. Written lazily:
 * a kill may forget the last few.
 */
bool marks_take(struct marks *m, enum mark_kind k, uint64_t key, uint32_t max,
    int64_t window_ms, int64_t now, int64_t *until);
void marks_untake(struct marks *m, enum mark_kind k, uint64_t key, int64_t now);
void marks_clear(struct marks *m, enum mark_kind k, uint64_t key, int64_t now);

/* Forgets what is over; call now and then. */
void marks_sweep(struct marks *m, int64_t now);
unsigned marks_count(const struct marks *m);
unsigned marks_count_kind(const struct marks *m, enum mark_kind k, int64_t now);

#endif
