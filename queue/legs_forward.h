// SPDX-License-Identifier: Apache-2.0
/*
 * What is decided about a forward leg (spec 7.5, 7.6, 8.4-8.6, 10.4): its class and time to
 * live, what its note keeps between two tries, and what a reply makes of it. Pure.
 *
 * Note of a forward leg that is not settled: its token, then what this destination said of
 * the message and whether a changed form of it was sent ("TOKEN auth changed"). After a 5yz
 * that is all that stands between us and sending the same message again (8.5), so it is
 * written before the next try.
 */
#ifndef QUEUE_LEGS_FORWARD_H
#define QUEUE_LEGS_FORWARD_H

#include "queue/legs.h"
#include "queue/reply_class.h"

enum { LEGS_PUT_OFF_MAX_MS = 25 * 3600 * 1000 };	/* no leg sleeps longer at once */

struct forward_note {
	char	token[LEGS_TOKEN_LEN + 1];	/* "" none yet */
	uint8_t	refused;	/* enum reply_class: AUTH, STRUCTURE or ADDR; REPLY_OK: no */
	bool	changed;	/* it was sent munged, wrapped, or from another address */
};
void forward_note_read(const char *note, struct forward_note *out);
void forward_note_print(const struct forward_note *n, char out[LEGS_NOTE_MAX]);

/* 10.4: class 0 is class 2 when it is old. */
unsigned forward_class(const struct conf *c, const struct spool_entry *e, int64_t now);
int64_t forward_ends_ms(const struct conf *c, const struct spool_entry *e);	/* wall clock */
/* 8.6: 1, 2, 4, 8, 15, 30, 60 times retry-min, +-20 %. */
int64_t forward_backoff(const struct conf *c, unsigned failures, uint32_t random);

struct forward_reply {
	const struct conf		*conf;
	const struct failover_group	*group;	/* or NULL */
	const struct spool_entry	*e;
	const struct queue_delivered	*r;
	struct reply_verdict		 verdict;
	struct forward_note		 note;
	int64_t				 now;
	int64_t				 until;	/* wall clock: not before; 0: as 8.6 says */
	uint32_t			 random;
};
/* LEGS_HOST: the destination failed as a host. */
enum legs_after forward_result(const struct forward_reply *f, struct legs_change *to);
/* Not now, and that is no attempt: it comes again at `until`, or when its time is over. */
void forward_put_off_to(const struct conf *c, const struct spool_entry *e, const char *note,
    int64_t until, int64_t now, struct legs_change *to);

#endif
