// SPDX-License-Identifier: Apache-2.0
/*
 * Greylisting (RFC 6647): the first try of an unknown client network, sender and recipient is
 * put off; a server that comes back after the delay is known from then on, with all it
 * sends. What was seen is a table of fixed size in memory that all relay processes share:
 * hashes and minutes only, lost with the supervisor.
 */
#ifndef RELAY_GREYLIST_H
#define RELAY_GREYLIST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct greylist;

enum { GREYLIST_PLACES = 1 << 18 };	/* 2 MiB */

int greylist_create(void);			/* the shared memory, for the supervisor: fd or -1 */
struct greylist *greylist_map(int fd);		/* borrowed; NULL when it is not one */
void greylist_unmap(struct greylist **gp);

struct greylist_bounds {
	int64_t	delay_ms;	/* sooner does not count as coming back */
	int64_t	window_ms;	/* later does not either */
	int64_t	keep_ms;	/* a known client that was not seen for so long is forgotten */
};

/* False: not yet. Counts as a try. */
bool greylist_pass(struct greylist *g, const struct greylist_bounds *b, const uint8_t addr[16],
    struct slice sender, struct slice rcpt, int64_t wall_ms);

#endif
