// SPDX-License-Identifier: Apache-2.0
/*
 * The last attempts at deliveries, for people who ask why (`salvaposta why`): message,
 * recipient, leg, time, class and code of the reply, never an address or a text (P4, 12.4).
 * Two files of fixed records in the queue's directory, `history` and `history.1`: when the
 * first is full it takes the place of the second, so the oldest are forgotten. Written
 * lazily: a kill loses the last few; nothing but this depends on them.
 */
#ifndef QUEUE_HISTORY_H
#define QUEUE_HISTORY_H

#include <stdint.h>

#include "base/msgid.h"
#include "base/slice.h"

struct history_entry {
	struct msgid	 id;
	uint16_t	 rcpt;
	uint8_t		 leg;		/* enum leg_kind */
	uint8_t		 class;		/* enum reply_class */
	uint8_t		 form;		/* enum history_form */
	uint8_t		 outcome;	/* enum deliver_outcome */
	uint16_t	 code;
	uint8_t		 status, subject;	/* enhanced code, 0.0.0: none */
	uint16_t	 detail;
	int64_t		 time_ms;	/* wall clock */
	int64_t		 next_ms;	/* when it is tried again, 0: it is not */
};

enum history_form { HISTORY_AS_IS, HISTORY_MUNGE, HISTORY_WRAP };

struct history;

/* max: bytes of both files. NULL is a history that keeps nothing: all of the below take it. */
struct history *history_open(int dirfd, uint64_t max);
void history_close(struct history **hp);
void history_limit(struct history *h, uint64_t max);
void history_add(struct history *h, const struct history_entry *e);
void history_flush(struct history *h);

/* Those of one recipient, oldest first; at most `max`, the newest. Returns how many. */
unsigned history_find(struct history *h, struct msgid id, uint16_t rcpt,
    struct history_entry *out, unsigned max);

/* "4.2.1" into the entry; "" leaves it 0.0.0. */
void history_enhanced(struct history_entry *e, struct slice enhanced);

#endif
