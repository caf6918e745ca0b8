// SPDX-License-Identifier: Apache-2.0
/*
 * What is decided about a leg: how it is born, whether it may run now, where it goes
 * and what a result makes of it. Pure: configuration, failover group, entry and time
 * come in, a new state goes out; queue/attempt.c and the schedule do the work.
 *
 * The states in use:
 *
 *	hold     PARKED, attempts 0	backlog of an outage; replay drains it
 *	         PARKED, attempts > 0	primary refused it (spec 11.2: not believed) or it
 *					cannot be sent; waits for an operator's retry or the
 *					next failover change, which sets attempts to 0
 *	         PARKED, code 1		by an operator: nothing moves it but his release
 *					(queue/operate.h), whatever the attempts
 *	         WAITING		on its way: next_ms
 *	         WAITING, code 2	to be bounced: it ends FAILED as soon as its sender's
 *					notification is kept (queue/notices.h)
 *	         DELIVERED		the primary has it
 *	         FAILED			bounced: the sender was told, or may not be
 *	         SKIPPED (reason)	a bounce to a return path that was read
 *	         ABSENT			a bounce for another node: it has a forward leg
 *	         DROPPED (reason)	by an operator; came-back: a copy of ours that came back
 *					while its original was known here (9.1)
 *	forward  WAITING, DELIVERED, FAILED (reason), SKIPPED (reason), ABSENT;
 *	         WAITING, code 3	of the share in peace time (queue/baseline.h), whatever
 *					its destination said
 *	         PARKED only by an operator, together with its hold leg
 *
 * No result of a forward leg ever touches the hold leg (0.1).
 */
#ifndef QUEUE_LEGS_H
#define QUEUE_LEGS_H

#include "queue/dest.h"
#include "queue/failover.h"
#include "queue/spool.h"

enum { LEGS_NOTE_MAX = 97, LEGS_TOKEN_LEN = 24,
	/* no reply codes: */
	LEGS_CODE_OPERATOR = 1,	/* PARKED by an operator */
	LEGS_CODE_BOUNCE = 2,	/* hold, WAITING: an operator confirmed the primary's refusal */
	LEGS_CODE_BASELINE = 3	/* forward, WAITING: in peace time */ };

#define LEGS_NOTE_EXPIRED "expired"	/* FAILED: its time is over */
#define LEGS_NOTE_CAME_BACK "came-back"	/* hold, DROPPED: a copy of a message that is here */
#define LEGS_NOTE_OFF	"failover-off"	/* a forward leg that may come back */

/* `g` is NULL when the domain is not served (any more). */
void legs_birth(const struct conf *c, const struct failover_group *g, const struct envelope *e,
    const struct envelope_rcpt *r, struct spool_birth *out);

enum legs_verdict {
	LEGS_RUN,
	LEGS_WAIT,	/* not before next_ms */
	LEGS_PASS,	/* not in this phase; something will announce the change */
	LEGS_READ,	/* no delivery: the message itself is to be acted on (returned.h) */
	LEGS_SETTLE	/* it ends here: write `to` */
};

struct legs_change {
	struct spool_leg leg;
	char		 note[LEGS_NOTE_MAX];
};

enum legs_verdict legs_admit(const struct conf *c, struct failover *f, const struct spool_entry *e,
    enum leg_kind leg, int64_t now, struct legs_change *to);
/* The hold leg has its end: FAILED with LEGS_NOTE_EXPIRED, and the sender is to hear of it.
 * Never while the domain is in failover or replay. */
bool legs_retention_over(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, int64_t now);
bool legs_on_hold(const struct spool_leg *l);	/* by an operator */
bool legs_to_bounce(const struct spool_leg *l);	/* LEGS_CODE_BOUNCE */
/* It waits for the replay of its group. */
bool legs_is_backlog(const struct spool_entry *e);

struct legs_route {
	enum conf_route_kind	kind;
	uint16_t		port;
	const char		*host;		/* borrowed from the conf */
	const char		*rcpt;		/* instead of the original recipient, or NULL */
};
/* Where the hold leg goes. -1 when it has no way now. `key` (DEST_KEY_MAX) may be NULL. */
int legs_route_hold(const struct conf *c, struct failover *f, const struct spool_entry *e,
    struct legs_route *out, char *key);

/* The destination of a route (DEST_KEY_MAX). 0 or -1. */
int legs_route_key(const struct legs_route *r, char *key);

enum legs_after {
	LEGS_DONE,	/* write `to`: settled or parked */
	LEGS_RETRY,	/* write `to`: its own next_ms */
	LEGS_HOST	/* the destination failed: the leg is untouched */
};
/* Of a hold leg (forward legs: queue/legs_forward.h); `random` any 32 bits, for the jitter. */
enum legs_after legs_result(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, const struct queue_delivered *r, int64_t now, uint32_t random,
    struct legs_change *to);

/* Pause before attempt n + 1 after n failures: doubling from min to max, +-20 % (8.6). */
int64_t legs_backoff(const struct conf *c, unsigned failures, uint32_t random);
void legs_end(const struct spool_entry *e, enum leg_kind leg, enum leg_state st, uint16_t code,
    struct slice note, struct legs_change *to);

/* Failover was switched: what becomes of this leg. False: nothing. */
bool legs_switch_on(const struct conf *c, const struct spool_entry *e, enum leg_kind leg,
    const char *note, int64_t now, struct legs_change *to);
bool legs_switch_off(const struct spool_entry *e, enum leg_kind leg, const char *note,
    struct legs_change *to);
/* An operator wants it replayed once more: it was delivered, at or after `since` (wall
 * clock). It joins the backlog. */
bool legs_again(const struct spool_entry *e, int64_t since, struct legs_change *to);
/* An operator says that the primary was right. `note` is the leg's, and stays. False: it was
 * not refused. */
bool legs_operator_bounce(const struct spool_entry *e, const char *note, int64_t now,
    struct legs_change *to);
/* The primary has refused it, is to be believed, and hold-retention is over (11.2). */
bool legs_refused_over(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, int64_t now);
/* Then: another try, or, after retention-attempts, the end as of an operator's bounce (true). */
bool legs_refused_end(const struct conf *c, const struct spool_entry *e, const char *note, int64_t now,
    struct legs_change *to);
/* An operator asked for another try. False: nothing to retry. */
bool legs_operator_retry(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, enum leg_kind leg, const char *note, int64_t now,
    struct legs_change *to);

#endif
