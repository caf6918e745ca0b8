// SPDX-License-Identifier: Apache-2.0
/*
 * Keeping the sending addresses warm (spec 8.11): in peace time a share (baseline-share) of
 * the ordinary mail of users who asked for it is copied to their recovery address, beside
 * its delivery to the primary. Here is decided which mail that is. Pure.
 *
 * Such a leg is a forward leg that is WAITING with LEGS_CODE_BASELINE and goes the way of
 * every other one; the directory is asked for a user who wants it (proto/queue_directory.h).
 * It is not born with its message: it is progress, written in the turn of the commit. So a
 * crash may cost a copy nobody was promised, and no format on disk knows of it. When
 * failover comes on before the primary has the mail, it is a copy like any other.
 */
#ifndef QUEUE_BASELINE_H
#define QUEUE_BASELINE_H

#include "queue/legs.h"

/* Has any domain a share? */
bool baseline_any(const struct conf *c);
/* Mail that may be copied in peace time: authenticated, of class 1 or 2, not a bounce, not a
 * copy of ours. Never class 0: a one-time code is not for two mailboxes. */
bool baseline_ordinary(const struct envelope *e);
/* Is it one of `percent` in a hundred? The same answer for the same recipient. */
bool baseline_drawn(struct msgid id, uint16_t rcpt_index, unsigned percent);
/*
 * The leg to write for a recipient of mail that was just committed; false: none. `tagged`: the
 * mail has an X-Fwd-Loop field. Where there is a share each of those has a leg, not to be
 * copied, but for seal to see whether it is a copy of ours that came back (spec 9.1): then
 * nothing more is copied to that user for a day.
 */
bool baseline_start(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, bool tagged, int64_t now, struct legs_change *to);

/* It was begun as one, and is on its way. */
bool baseline_leg(const struct spool_entry *e);
/* ... and it is peace: it is forwarded although failover is off. */
bool baseline_runs(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e);

#endif
