// SPDX-License-Identifier: Apache-2.0
/*
 * A user stops his copies, or an operator lets them go again (spec 12.3): what is written
 * down (queue/consent.h, the audit log with the user hashed), and what becomes of copies
 * that have not left. Those end SKIPPED with OPTOUT_NOTE; hold legs are not touched. Asking
 * for what is so already is no change and no line in the log.
 */
#ifndef QUEUE_OPTOUT_H
#define QUEUE_OPTOUT_H

#include "base/bounce.h"
#include "queue/audit.h"
#include "queue/consent.h"

#define OPTOUT_NOTE	"opted-out"

struct queue;
struct spool_message;

/* 1 done, 0 it was so already, -1 with errno: nothing changed. `user_hash` is spool_user's,
 * `id` a message, or NULL. */
int optout_stop(struct queue *q, struct msgid user, uint64_t user_hash, enum consent_by by,
    struct audit_who who, const char *reason, const char *id);
int optout_resume(struct queue *q, struct msgid user, struct audit_who who, const char *reason);
/* A message came to a stop address of ours. 1 and the note it ends with in *note, or 0: not
 * now, it must come again. */
int optout_mail(struct queue *q, const struct spool_message *m, uint16_t rcpt_index,
    const struct envelope_bounce *b, const char **note);
/* Ends walks under way. */
void optout_fini(struct queue *q);

#endif
