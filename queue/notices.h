// SPDX-License-Identifier: Apache-2.0
/*
 * Notifications to senders (spec 2.3, RFC 3461): when one is due, asking seal for it
 * (policy/notify.h), and keeping it. One that may be sent is a message of its own in the
 * spool, RCPT_NOTICE, with a forward leg to the sender's MX that is tried until forward-ttl
 * and given up silently. It is on stable storage before the leg it is about is settled: a
 * crash in between sends it twice, never not at all.
 *
 *	failed     the hold leg ends FAILED and no forward leg was accepted
 *	delivered  LMTP said 250, and NOTIFY=SUCCESS
 *	relayed    SMTP said 250 without knowing of DSN, and NOTIFY=SUCCESS
 *	delayed    once, delay-notice after it came, and NOTIFY=DELAY: a RCPT_REMINDER,
 *	           kept beside the message when that is committed, waits for the time
 *
 * The disk is read off the loop (spool_fetch). Both kinds are of the group NOTICE_DOMAIN, so the books of no domain know them.
 */
#ifndef QUEUE_NOTICES_H
#define QUEUE_NOTICES_H

#include "base/proto/queue_seal.h"
#include "queue/schedule.h"

#define NOTICE_DOMAIN	"notice.invalid"

enum { NOTICES_MAX = 256 /* being made at a time */ };

struct queue;
struct notices;

struct notices *notices_new(struct queue *q);	/* after spool and schedule */
void notices_free(struct notices **np);		/* before them; calls nobody */
bool notices_busy(const struct notices *n);

/* A hold leg is to end as `to` says, FAILED. False: not now, it must come again. */
bool notices_bounce(struct notices *n, const struct spool_entry *e, const struct legs_change *to);
/*
 * The primary took it from us. `done` is called exactly once (unless notices_free comes
 * first), perhaps before this returns: then the leg may be written.
 */
typedef void notices_done_fn(void *arg);
void notices_taken(struct notices *n, const struct spool_entry *e, bool lmtp,
    notices_done_fn *done, void *arg);
/*
 * The primary refused it for good while somebody had its copy, and now that came back (spec
 * 2.2.3): nobody has it, so its sender is told after all. `done` as above.
 */
void notices_lost(struct notices *n, const struct spool_entry *e, notices_done_fn *done, void *arg);
/* A failed notification, which returns a message of 8 bits, met a host that takes 7: its sender
 * gets one with the header only (RFC 3461 4.3 lets us), rather than none. */
void notices_narrow(struct notices *n, const struct spool_entry *e);
/* A recipient with NOTIFY=DELAY was committed. */
void notices_remind(struct notices *n, const struct spool_entry *e);
/* A RCPT_REMINDER is due. False: not now. */
bool notices_due(struct notices *n, const struct spool_entry *e);

/* SEAL_NOTIFIED; fd is borrowed. -1: not sound. */
int notices_message(struct notices *n, unsigned index, struct slice body, int fd);
void notices_link_down(struct notices *n, unsigned index);	/* of a seal */

/* Members "dsn_sent" and "dsn_suppressed" (by reason) for the status. */
void notices_status(const struct notices *n, struct buf *out);

/* What a note of a refused leg tells the sender: status ("5.1.1") and text, which is the
 * primary's (true) or ours. For tests. */
bool notices_words(const char *note, char status[16], char text[64]);

#endif
