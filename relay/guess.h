// SPDX-License-Identifier: Apache-2.0
/*
 * Who guesses return paths (spec 1.2.11): one hash guessed would open the door for mail to
 * anybody's leg. Addresses that did not verify are counted for each client, and who has too
 * many of them is barred from return paths for a time, whatever he asks for there.
 *
 * The table has a fixed size: when it is full the client with the fewest failures is
 * forgotten, one that is barred last. Times are the monotonic clock.
 */
#ifndef RELAY_GUESS_H
#define RELAY_GUESS_H

#include <stdbool.h>
#include <stdint.h>

enum { GUESS_PLACES = 4096 };

struct guess;

struct guess *guess_new(void);
void guess_free(struct guess **gp);

struct guess_bounds {
	unsigned	max;		/* failures ... */
	int64_t		window_ms;	/* ... in this time */
	int64_t		bar_ms;		/* then it is barred for so long */
};
/* One more address that did not verify. True: that was too many, it is barred from now on. */
bool guess_failed(struct guess *g, const struct guess_bounds *b, const uint8_t addr[16],
    int64_t now_ms);
bool guess_barred(struct guess *g, const uint8_t addr[16], int64_t now_ms);

#endif
