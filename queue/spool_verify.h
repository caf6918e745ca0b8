// SPDX-License-Identifier: Apache-2.0
/*
 * Reads a whole spool and says what does not hold: heads, records and their checksums,
 * envelopes, progress logs, and each index against its log. Nothing is written, and
 * nothing is trusted: where start-up takes a good index for the truth, this reads the
 * log as well.
 *
 * What a crash may leave (a torn tail that was never promised) is a note, not damage.
 */
#ifndef QUEUE_SPOOL_VERIFY_H
#define QUEUE_SPOOL_VERIFY_H

#include "queue/spool.h"

struct spool_finding {
	uint64_t	 segment;	/* 0: the totals, and nothing below but `what` */
	enum store_part	 part;
	uint64_t	 off, len;	/* bytes concerned in that file */
	bool		 damage;	/* false: a note */
	bool		 promised;	/* log: known to be synced, or progress speaks of it */
	const char	*what;		/* static text */
	bool		 has_id;
	struct msgid	 id;		/* of the first message concerned, when known */
	uint32_t	 recipients;	/* concerned, as far as known */
	uint32_t	 unsettled;	/* of them */
};

enum spool_index_state { INDEX_ABSENT, INDEX_GOOD, INDEX_BAD, INDEX_UNCHECKED };

struct spool_segment_report {
	uint64_t	segment;
	uint8_t		cls;		/* enum store_class */
	bool		dropped;	/* its sums are in the totals: files are left over */
	uint64_t	log_bytes;
	uint64_t	records;	/* good ones */
	uint64_t	recipients;	/* in them */
	uint64_t	unsettled;	/* with a leg that is not */
	uint64_t	progress;	/* good records */
	enum spool_index_state index;
	uint32_t	damage, notes;	/* findings */
};

struct spool_verify_ops {
	void	(*finding)(void *arg, const struct spool_finding *f);
	void	(*segment)(void *arg, const struct spool_segment_report *s);
	/* Bytes read of all; false stops. */
	bool	(*progress)(void *arg, uint64_t done, uint64_t total);
};

/*
 * `s` is open for reading. With `live` the relay may be writing: indexes are not looked
 * at and the end of a log is as far as it has come. Findings of a segment come before
 * its report; the newest segment is first. 0, or -1 when the list of segments cannot
 * be read.
 */
int spool_verify(const struct store_ops *ops, struct store *s, bool live,
    const struct spool_verify_ops *to, void *arg);

#endif
