// SPDX-License-Identifier: Apache-2.0
/*
 * The queue role: commits from the relays, the schedule, the failover switch and the
 * control socket, tied together. It touches no network and parses no message.
 */
#ifndef QUEUE_ROLE_H
#define QUEUE_ROLE_H

#include "base/role.h"
#include "queue/attempt.h"
#include "queue/audit.h"
#include "queue/debris.h"
#include "queue/consent.h"
#include "queue/failover.h"
#include "queue/forecast.h"
#include "queue/history.h"
#include "queue/marks.h"
#include "queue/notices.h"
#include "queue/returned.h"
#include "queue/keep.h"
#include "queue/schedule.h"
#include "queue/spool.h"
#include "queue/tally.h"

extern const struct role_ops queue_ops;

struct alarms;
struct control;
struct lookout;
struct retention;
struct optout;
struct sweep;
struct commit;

struct queue {			/* role->priv; open to queue/control.c and queue/command.c */
	struct role	*role;
	int		 dir;		/* "queue-dir", owned */
	struct spool	*spool;
	struct audit	*audit;
	struct failover	*failover;
	struct keep	*keep;		/* values of the relays */
	struct marks	*marks;
	struct marks	*told;		/* who had a notice (12.3) */
	struct consent	*consent;	/* who wants no copies */
	struct history	*history;
	struct attempts	*attempts;
	struct replay	*replay;
	struct tally	*tally;
	struct schedule	*schedule;
	struct notices	*notices;
	struct returned	*returned;
	struct debris	*debris;	/* bodies of bounces, for a day */
	struct control	*control;
	struct timer	*tick;
	struct sweep	*sweeps;	/* running walks after a switch (queue/switch.c) */
	struct optout	*optouts;	/* running walks after an opt-out (queue/optout.c) */
	struct alarms	*alarms;
	struct retention *retention;	/* owned */
	struct lookout	*lookout;
	struct timer	*clockwork;	/* ends of modes, windows (queue/switch.c) */
	struct commit	*commits;	/* given to the spool, not yet answered */
	uint32_t	 link[ROLE_PEERS_MAX];	/* generation of each relay's link */
	uint64_t	 accepted, refused;
	bool		 warm;		/* baseline_any of the configuration */
	struct forecast	 forecast;
	enum water	 water;
	int64_t		 measured_ms;	/* monotonic: water was looked at */
	bool		 stopping;
	int64_t		 stop_ms;	/* monotonic: stop waiting then */
};

/* Space on the disk as of now, at most a second old. */
void queue_measure(struct queue *q);

#endif
