// SPDX-License-Identifier: Apache-2.0
/*
 * What an operator may do to queued mail: which recipients he means, and what becomes of
 * their legs. Pure: entries and messages come in, an answer goes out; the walking and the
 * audit log are in queue/command_job.c.
 */
#ifndef QUEUE_OPERATE_H
#define QUEUE_OPERATE_H

#include "queue/failover.h"
#include "queue/legs.h"

#define OPERATE_NOTE_HOLD	"operator-hold"

enum operate_verb {
	OPERATE_HOLD, OPERATE_RELEASE, OPERATE_RETRY, OPERATE_DROP, OPERATE_BOUNCE,
	OPERATE_AGAIN,	/* replay what was replayed */
	OPERATE_MAX
};
const char *operate_name(enum operate_verb v);

enum {	/* operate_filter.state; beyond it + enum leg_state: a leg in that state */
	OPERATE_UNSETTLED, OPERATE_ALL, OPERATE_HELD, OPERATE_ON_HOLD, OPERATE_REFUSED,
	OPERATE_BACKLOG, OPERATE_STATE
};

struct operate_filter {		/* strings borrowed; NULL or 0: any */
	const char	*domain;	/* with all its shards */
	const char	*shard;		/* of the domain, "" who is in none; NULL all */
	uint64_t	 user;		/* hash */
	unsigned	 state;
	int64_t		 from_ms, to_ms;	/* received: wall clock, both included */
	/* these need the record; compared without regard to case */
	const char	*sender;	/* the address; "@x" a domain's; "<>" the null sender */
	const char	*client;	/* address text */
	const char	*match;		/* part of sender, recipient or client, or start of the id */
};

/* "" is UNSETTLED. 0, or -1: no such word. */
int operate_state(const char *word, unsigned *out);
/* The index alone says no? Then the record is never read. */
bool operate_fits_entry(const struct operate_filter *f, struct failover *fo,
    const struct spool_entry *e);
bool operate_needs_record(const struct operate_filter *f);
bool operate_fits_record(const struct operate_filter *f, const struct spool_message *m,
    uint16_t rcpt_index);
/* What the spool can leave out by itself. */
void operate_spool_filter(const struct operate_filter *f, struct failover *fo,
    struct spool_filter *out);

/* What the verb makes of a leg; `note` is the leg's. False: nothing. */
bool operate_leg(enum operate_verb v, const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, enum leg_kind leg, const char *note, int64_t now,
    struct legs_change *to);

#endif
