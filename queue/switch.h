// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of failover while mail is there: the state is persisted and audited
 * (queue/failover.h), then the legs of the group follow in a walk of the background, a sweep.
 * A later change overtakes the sweep of an earlier one. Also the clockwork: modes that come
 * to their end, windows that begin.
 *
 *	into active	hold legs join the backlog, forward legs are added
 *	out of active	forward legs that have not left end, refused hold legs get a new chance
 */
#ifndef QUEUE_SWITCH_H
#define QUEUE_SWITCH_H

#include "queue/queue_role.h"

/* After a start: a crash may have come in a sweep, or between a commit and the end of a
 * replay. Starts the clockwork. */
void switch_init(struct queue *q);
void switch_fini(struct queue *q);
bool switch_sweeping(const struct queue *q, uint64_t group);

/* The operator's switch of one group. 0, or -1 with errno and nothing changed. */
int queue_switch(struct queue *q, struct failover_group *g, enum conf_failover mode,
    struct audit_who who, const char *reason);
int queue_switch_until(struct queue *q, struct failover_group *g, enum conf_failover mode,
    int64_t until_ms, struct audit_who who, const char *reason);
/* The queue's own change of the phase; evidence is borrowed or NULL. 0, or -1 after
 * logging. */
int queue_phase(struct queue *q, struct failover_group *g, enum failover_phase p,
    const char *reason, struct json_t *evidence);
/* One turn of the clockwork; its timer runs it, tests may. */
void switch_tick(struct queue *q);

#endif
