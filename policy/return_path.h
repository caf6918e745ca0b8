// SPDX-License-Identifier: Apache-2.0
/*
 * What an address in the return-path domain says (spec 1.2, 1.4): a leg of ours, another
 * node's, or a sender. Pure: secrets and day come in. `text` is empty and holds what the
 * answer borrows; the answer comes as zeroes, its req is the caller's.
 */
#ifndef POLICY_RETURN_PATH_H
#define POLICY_RETURN_PATH_H

#include "base/proto/queue_seal.h"
#include "base/proto/relay_seal.h"
#include "policy/srs.h"

void return_path_check(const struct srs *s, uint32_t day, struct slice address, struct buf *text,
    struct seal_checked *a);
/* What came back to an SRS address, with a token in it: the leg, and the sender of the
 * address, who has to be that of the leg's message. */
void return_path_named(const struct srs *s, uint32_t day, const struct seal_name *q,
    struct buf *text, struct seal_named *a);

#endif
