// SPDX-License-Identifier: Apache-2.0
/*
 * The queue's eyes: has primaries probed by a relay process, takes what deliveries tell, and
 * moves domains and shards in mode auto into and out of active (queue/health.h decides).
 * Places are probed once however many domains live there; every transition goes to the audit
 * log with what was seen.
 *
 * What it does not believe: a network fault of our own (health_network) raises the alarm
 * "own-network" and starts no failover; a canary refused that was never taken is a
 * mistake of the configuration ("canary-refused"); users of the snapshot refused as unknown in
 * numbers ("primary-refuses") are held, whatever the mode (failover_group.distrust).
 *
 * One relay probes, the lowest that lives; when it dies the next takes over and what was under
 * way is asked again.
 */
#ifndef QUEUE_LOOKOUT_H
#define QUEUE_LOOKOUT_H

#include <jansson.h>

#include "base/proto/relay_probe.h"
#include "base/proto/relay_queue.h"
#include "queue/queue_role.h"

struct lookout;

/* Borrows the queue, which must be open. Never NULL. */
struct lookout *lookout_new(struct queue *q);
void lookout_free(struct lookout **lp);
void lookout_reload(struct lookout *l);
void lookout_tick(struct lookout *l);	/* one turn; its timer runs it, tests may */

/* QUEUE_PROBED from that relay. -1: malformed. */
int lookout_answer(struct lookout *l, unsigned relay, struct slice body);
void lookout_link_down(struct lookout *l, unsigned relay);
/* The result of a hold leg of that group. */
void lookout_delivered(struct lookout *l, uint64_t group, const struct queue_delivered *r);

/* What is known of a group's primary, for the status; null when it is not looked at. */
json_t *lookout_json(struct lookout *l, const struct failover_group *g);
json_t *lookout_metrics(const struct lookout *l);

#endif
