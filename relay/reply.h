// SPDX-License-Identifier: Apache-2.0
/*
 * The lexer of what an SMTP or LMTP server answers (RFC 5321 4.2): fed one byte as
 * happily as a megabyte, it yields whole replies. Everything in them is the peer's
 * word: lines, their number and the kept text are bounded here.
 */
#ifndef RELAY_REPLY_H
#define RELAY_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
	REPLY_LINE_MAX = 4096,	/* bytes of one line; RFC 5321 4.5.3.1.5 says 512 */
	REPLY_LINES_MAX = 256,	/* lines of one reply */
	REPLY_TEXT_MAX = 4096,	/* kept of the text; more is cut, not refused */
};

enum reply_result {
	REPLY_MORE,		/* feed again */
	REPLY_DONE,		/* a reply is there until the next feed */
	REPLY_BAD,		/* not SMTP: give the connection up */
};

struct reply {
	uint16_t	code;		/* 200..599; 0 while none is complete */
	uint16_t	lines;		/* how many it had */
	bool		done;		/* the last feed completed it */
	char		enhanced[12];	/* "4.2.1" (RFC 2034) or "" */
	size_t		ntext;		/* bytes of text */
	size_t		nline;		/* bytes of line */
	char		text[REPLY_TEXT_MAX];	/* after the codes; lines end in '\n' but the last */
	char		line[REPLY_LINE_MAX];	/* the line being collected */
};

void reply_init(struct reply *r);

/* Takes from `in` up to the end of one reply; *used says how much. */
enum reply_result reply_feed(struct reply *r, struct slice in, size_t *used);

struct slice reply_text(const struct reply *r);	/* borrowed until the next feed */

/* "d.d.d" at the start of `s`, of the class of `code`, into out (12 bytes, "" when
 * there is none). Returns its length. */
size_t reply_enhanced(struct slice s, unsigned code, char out[12]);

/* Printable one-line form for results and logs: controls and 8-bit become '?',
 * line ends a space. Always NUL-terminated, cut to cap. */
void reply_printable(struct slice s, char *out, size_t cap);

#endif
