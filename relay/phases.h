// SPDX-License-Identifier: Apache-2.0
/*
 * What a relay process knows of the phase of each domain and shard, from the queue. Used to
 * send clients to the primary's own MX while it is well (standby = defer). A group that was
 * never told about counts as not standby: then mail is taken, and the queue decides.
 */
#ifndef RELAY_PHASES_H
#define RELAY_PHASES_H

#include <stdbool.h>

#include "base/slice.h"

struct phases;

struct phases *phases_new(void);
void phases_free(struct phases **pp);
/* QUEUE_PHASES. 0, or -1: malformed. */
int phases_message(struct phases *p, struct slice body);
/* Whether anything was told of the domain itself. */
bool phases_known(const struct phases *p, struct slice domain);
/* An unknown shard is in the phase of its domain. */
bool phases_standby(const struct phases *p, struct slice domain, struct slice shard);
size_t phases_count(const struct phases *p);

#endif
