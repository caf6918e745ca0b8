// SPDX-License-Identifier: Apache-2.0
/*
 * How far a long command has come, on standard error: one line that is written over
 * on a terminal, a line now and then elsewhere.
 */
#ifndef ADMIN_PROGRESS_H
#define ADMIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress_line {
	bool	tty, shown;
	int64_t	start_ms, next_ms;	/* monotonic */
};
void progress_begin(struct progress_line *p);
/* Time for the next line? Cheap enough for each message. */
bool progress_due(struct progress_line *p);
/* "DONE of TOTAL WHAT, BYTES, RATES, about T left"; `total` 0: not known. */
void progress_show(struct progress_line *p, uint64_t done, uint64_t total, const char *what,
    uint64_t bytes);
/* "DONE of TOTAL, RATE, about T left", in bytes. */
void progress_bytes(struct progress_line *p, uint64_t done, uint64_t total);
/* "DONE of TOTAL WHAT, about T left". */
void progress_count(struct progress_line *p, uint64_t done, uint64_t total, const char *what);
/* Takes the line away, before something else is printed. */
void progress_end(struct progress_line *p);

#endif
