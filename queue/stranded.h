// SPDX-License-Identifier: Apache-2.0
/*
 * Mail that is held for a domain that is not in the configuration any more: it has no way to
 * go, and nothing but an alarm ("domain-gone") says so. It stays until the domain is back, or
 * an operator drops it.
 */
#ifndef QUEUE_STRANDED_H
#define QUEUE_STRANDED_H

#include "queue/queue_role.h"

/* Raises and clears the alarms; at start, after a reload, and before alarms are shown. */
void stranded_tell(struct queue *q);

#endif
