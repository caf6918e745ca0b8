// SPDX-License-Identifier: Apache-2.0
/*
 * The hash chain of the audit log: its form, and the check of a whole log line by line,
 * without files. A chained line is a JSON object whose last three members are
 *
 *	"seq":N,"prev":"<hash of the chained line before>","hash":"<SHA-256>"}
 *
 * hash is that of the line's text without the hash member; seq counts from 1. What the chain
 * shows: any line changed, put in, taken out or moved, except at the very end, where a log
 * cut after a whole line looks like one that is not longer. So `seq` and `hash` of the last
 * line (the head) are worth keeping elsewhere; they are logged with each line too.
 *
 *	line of a crash	a last line without its newline. The next line stands after it on
 *			a line of its own and has "torn":"<SHA-256 of those bytes>"
 *	older lines	before the first chained line there may be lines without a chain;
 *			that first one (event "chain-start") has "before":{"lines":N,
 *			"sha256":"..."}, a hash rolled over all of them
 */
#ifndef QUEUE_AUDIT_CHAIN_H
#define QUEUE_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { AUDIT_HEX = 65 };	/* a hash as text, with NUL */

struct audit_chain {
	uint64_t	lines;		/* all seen, torn ones too */
	uint64_t	seq;		/* of the head; 0: nothing chained yet */
	char		head[AUDIT_HEX];	/* hash of the last chained line, zeros before it */
	uint64_t	older;		/* lines before the chain */
	uint8_t		rolled[32];	/* over them */
	uint64_t	torn;		/* lines of crashes, closed by the line after */
	bool		torn_tail;	/* the last line is one, not closed yet */
	bool		no_newline;	/* the last line is whole but for its newline */
	uint64_t	broken;		/* number of the first line that is wrong; 0: none */
	char		why[160];	/* ... in words */
	/* inside: a line that is no chained one and waits for the next to explain it */
	uint64_t	odd;		/* its number; 0 none */
	char		odd_hash[AUDIT_HEX];
};

void audit_chain_init(struct audit_chain *c);
/* The next line, without its newline; `whole` false: the file ended in the middle of it.
 * After the first broken line nothing is checked any more, only counted. */
void audit_chain_feed(struct audit_chain *c, struct slice line, bool whole);
void audit_chain_end(struct audit_chain *c);	/* there are no more */
/* All of a file from its start. 0, or -1 with errno. */
int audit_chain_read(int fd, struct audit_chain *c);

/* seq, prev and hash of a chained line whose hash is that of its text; false: it is none. */
bool audit_chain_parse(struct slice line, uint64_t *seq, char prev[AUDIT_HEX],
    char hash[AUDIT_HEX]);
void audit_chain_hash(struct slice text, char out[AUDIT_HEX]);

#endif
