// SPDX-License-Identifier: Apache-2.0
/*
 * The end of mail that the primary has refused (spec 11.2). It is parked, so no schedule looks
 * at it; now and then this does. What is older than hold-retention, in a domain in standby whose
 * primary is believed, gets another try, until it was refused retention-attempts times; then it
 * ends as `queue bounce` would end it. Mail on hold, and mail that only we could not send, stays.
 */
#ifndef QUEUE_RETENTION_H
#define QUEUE_RETENTION_H

#include "queue/queue_role.h"

struct retention;

struct retention *retention_new(struct queue *q);
void retention_free(struct retention **rp);

#endif
