// SPDX-License-Identifier: Apache-2.0
/*
 * A store that wraps another and lets a test decide what happens to each call:
 * delays, results, torn tails, "it is on the disk but I do not know". The script
 * belongs to the test and may be changed at any time.
 */
#ifndef QUEUE_STORE_FAKE_H
#define QUEUE_STORE_FAKE_H

#include "queue/store.h"

enum fake_op {
	FAKE_CREATE, FAKE_APPEND, FAKE_PROGRESS, FAKE_INDEX, FAKE_SEAL, FAKE_DROP, FAKE_META,
	FAKE_READ, FAKE_READ_BODY, FAKE_SET_ASIDE, FAKE_REWRITE, FAKE_ADOPT, FAKE_DISCARD,
	FAKE_WORK, FAKE_OP_MAX
};

enum fake_act {
	FAKE_PASS,	/* goes through, after delay_ms */
	FAKE_REFUSE,	/* nothing is done; `result` */
	FAKE_DONE,	/* it is done, but the caller hears `result` */
	FAKE_TORN,	/* append: the first `bytes` reach the disk; the caller hears `result` */
	FAKE_HANG	/* done, but completes only when the script says `release` */
};

struct fake_rule {
	enum fake_op		op;
	enum fake_act		act;
	unsigned		skip;		/* matching calls let through first */
	unsigned		count;		/* calls it applies to; 0: all */
	enum store_result	result;
	int64_t			delay_ms;
	uint64_t		bytes;
	unsigned		hits;		/* set by the store */
};

enum { FAKE_RULES = 16 };

struct store_script {
	struct fake_rule rule[FAKE_RULES];
	size_t		 n;
	bool		 release;		/* hung calls complete */
	uint64_t	 bytes_free;		/* health says so, when not 0 */
	unsigned	 calls[FAKE_OP_MAX];
};

/* The `where` for spool_open: wraps `inner` opened at inner_where. */
void store_fake_where(struct store_script *s, const struct store_ops *inner,
    const char *inner_where, char *out, size_t cap);

extern const struct store_ops store_fake;

#endif
