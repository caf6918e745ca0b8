// SPDX-License-Identifier: Apache-2.0
/*
 * Content filters: each milter section is asked about a whole message between the end of
 * its data and the commit, one after the other over a connection of its own, and what they
 * say becomes one outcome.
 *
 * The bytes of the message are never changed (spec 0.3, 3.1). Fields a filter adds go into
 * our trace block, within bounds; what it would change or delete, in header, body or
 * envelope, is left as it was and counted. Discard means: held, not forwarded (P1).
 *
 * Every run ends in exactly one call of its function, in the time the sections give,
 * unless it is cancelled.
 */
#ifndef RELAY_MILTER_H
#define RELAY_MILTER_H

#include "base/conf.h"
#include "base/loop.h"
#include "base/slice.h"

/* All borrowed until the end of the run; what comes from conf is copied, so that a reload
 * does not matter. */
struct milter_mail {
	struct slice	client_name;	/* confirmed by DNS, "" unknown */
	struct slice	id, client_ip, helo, mail_from, protocol, tls;
	struct slice	rcpts;		/* items of struct envelope_rcpt */
	int		body_fd;	/* sealed */
};

struct milter_outcome {
	struct slice	reply;		/* "5yz ...", "4yz ..."; "": take it */
	bool		hold;		/* not forwarded */
	bool		clean;		/* one that judges spam found none; never with `hold` */
	struct slice	fields;		/* to be put into the trace block, CRLF-ended */
};
/* Never from within milter_start. The outcome is borrowed until return. */
typedef void milter_fn(void *arg, const struct milter_outcome *o);

struct milter_stats {		/* messages, unless said otherwise */
	uint64_t asked;			/* once for each filter */
	uint64_t refused, tempfailed;	/* by a filter's word */
	uint64_t held;			/* called spam, or quarantined */
	uint64_t discarded;		/* of those: the filter would have thrown them away */
	uint64_t failed;		/* filter not reached, too slow, or nonsense */
	uint64_t fields;		/* added */
	uint64_t ignored;		/* changes not made */
	int64_t logged_ms;		/* mono: the last line about a failure; 0 none */
};

struct milter_run;

/* `stats` is borrowed until the end of the run. NULL, and fn is never called, when there
 * are no filters. */
struct milter_run *milter_start(struct loop *l, const struct conf *c,
    const struct milter_mail *m, struct milter_stats *stats, milter_fn *fn, void *arg);
void milter_cancel(struct milter_run **rp);

#endif
