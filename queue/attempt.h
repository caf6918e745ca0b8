// SPDX-License-Identifier: Apache-2.0
/*
 * One attempt at one leg, over the links to the other roles: the recovery address from
 * directory, the forward copy from seal, the delivery by a relay; and what the answer
 * makes of the leg. Recovery addresses live only in here, as long as the attempt (P4).
 */
#ifndef QUEUE_ATTEMPT_H
#define QUEUE_ATTEMPT_H

#include <jansson.h>

#include "base/role.h"
#include "queue/consent.h"
#include "queue/history.h"
#include "queue/marks.h"
#include "queue/schedule.h"
#include "queue/tally.h"

struct attempts;
struct notices;

/* All borrowed for its life. The schedule comes afterwards, by attempts_bind. */
struct attempts *attempts_new(struct role *r, struct spool *sp, struct failover *f,
    struct replay *rp, struct tally *t, struct marks *m, struct history *h,
    const struct consent *k, struct marks *told);
void attempts_bind(struct attempts *a, struct schedule *s, struct notices *n);
/* Tells each result of a hold leg, before anything is made of it. */
typedef void attempts_result_fn(void *arg, uint64_t group, const struct queue_delivered *r);
void attempts_watch(struct attempts *a, attempts_result_fn *fn, void *arg);
void attempts_free(struct attempts **ap);	/* after the schedule */

/* For schedule_ops; `arg` is the struct attempts. */
void attempt_resolve(void *arg, struct item *it);
void attempt_start(void *arg, struct item *it);
void attempt_forget(void *arg, struct item *it);

/* Answers: DIR_TARGETED, SEAL_PREPARED, SEAL_TAGGED, QUEUE_ROUTED, QUEUE_EVALUATED,
 * QUEUE_DELIVERED. -1 when it is not a sound message
 * of that type. */
int attempts_message(struct attempts *a, enum role_kind peer, unsigned index, uint32_t type,
    struct slice body);
/* SEAL_ANNOUNCED; fd is borrowed. -1: not sound. */
int attempts_announced(struct attempts *a, unsigned index, struct slice body, int fd);
/* What was in flight there is lost. */
void attempts_link_down(struct attempts *a, enum role_kind peer, unsigned index);
/* Appends JSON members, with a comma in front. */
void attempts_status(struct attempts *a, struct buf *out);
/* A report says that this user's recovery address does not exist. */
void attempts_nouser(struct attempts *a, struct slice user);
/* What is remembered of that mailbox and its provider: members of `known`, sentences at
 * the end of the array `words`. */
void attempts_known(struct attempts *a, struct slice user, struct slice recovery, json_t *known,
    json_t *words);
/* Gives up waiting for answers that are overdue. Call now and then. */
void attempts_sweep(struct attempts *a);

#endif
