// SPDX-License-Identifier: Apache-2.0
/*
 * The phases as the relays know them: told in full when a relay's link comes up and after a
 * reload, group by group at each change, at once. A relay that knows no phase of a domain
 * takes its mail (relay/phases.h), so nothing is lost in between.
 */
#ifndef QUEUE_PHASES_H
#define QUEUE_PHASES_H

#include "queue/queue_role.h"

void phases_tell(struct queue *q, const struct failover_group *g);	/* every relay */
void phases_tell_relay(struct queue *q, unsigned relay);		/* everything */
void phases_tell_all(struct queue *q);

#endif
