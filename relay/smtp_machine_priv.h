// SPDX-License-Identifier: Apache-2.0
/* What the files of the machine share; nobody else includes it. */
#ifndef RELAY_SMTP_MACHINE_PRIV_H
#define RELAY_SMTP_MACHINE_PRIV_H

#include "policy/address.h"
#include "relay/smtp_machine.h"

/* smtp_machine.c */
void machine_count(struct smtp_machine *m, enum smtp_count c);
/* A bound is met: 421, and the session ends. */
struct smtp_step machine_enough(struct smtp_machine *m, enum smtp_count bound,
    struct buf *reply);
void machine_reset(struct smtp_machine *m);
void machine_pending_free(struct smtp_machine *m);
void machine_say(struct buf *reply, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct smtp_step machine_wrong(struct smtp_machine *m, enum smtp_state st, struct buf *reply,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* One command more since the last message: true when that was one too many. */
bool machine_tires(struct smtp_machine *m);
/* "FROM:" or "TO:", then the path. UTF-8 is let through for the caller to judge. */
bool machine_path(struct slice arg, struct slice keyword, struct address *a,
    struct slice *box, struct slice *rest);

/* Recipients a transaction may have. */
static inline unsigned
machine_rcpt_max(const struct smtp_machine *m)
{
	return m->lmtp && m->conf->recipients_max > SMTP_LMTP_RCPT_MAX ? SMTP_LMTP_RCPT_MAX :
	    m->conf->recipients_max;
}

static inline struct smtp_step
machine_step(enum smtp_state next, enum smtp_action action)
{
	return (struct smtp_step){ next, action };
}

/* smtp_machine_rcpt.c, smtp_machine_data.c: handlers of commands */
struct smtp_step machine_cmd_rcpt(struct smtp_machine *m, enum smtp_state st,
    struct slice arg, struct buf *reply);
struct smtp_step machine_cmd_data(struct smtp_machine *m, enum smtp_state st,
    struct slice arg, struct buf *reply);
struct smtp_step machine_cmd_bdat(struct smtp_machine *m, enum smtp_state st,
    struct slice arg, struct buf *reply);

#endif
