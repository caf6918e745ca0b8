// SPDX-License-Identifier: Apache-2.0
/*
 * How things of the queue look in JSON, for the replies of the control socket. Bytes
 * that are not UTF-8 are shown as \xNN; times are ISO 8601, UTC. No recovery address is
 * ever in here: the queue does not keep any (P4).
 */
#ifndef QUEUE_REPORT_H
#define QUEUE_REPORT_H

#include <jansson.h>

#include "queue/failover.h"
#include "queue/spool.h"

json_t *report_text(struct slice s);
json_t *report_time(int64_t wall_ms);		/* null for 0 */
json_t *report_leg(struct spool *sp, const struct spool_entry *e, enum leg_kind leg);
/* One recipient; `m` may be NULL when its record could not be read. */
json_t *report_recipient(struct spool *sp, const struct spool_entry *e,
    const struct spool_message *m);
json_t *report_message(struct spool *sp, const struct spool_message *m,
    const struct spool_ref *ref, size_t nref);
/* {domain, shard, received, ... , balanced}. */
json_t *report_balance(struct spool *sp, const struct failover_group *g);
json_t *report_spool(struct spool *sp);

#endif
