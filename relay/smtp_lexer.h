// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes of an SMTP client into command lines or runs of message content. What a stray
 * CR, LF or NUL means is decided here, once; no later code sees one (spec 3.10, 3.11).
 *
 * The lexer keeps no bytes: the caller offers what it has, drops what was used, and
 * offers the rest again with more. Whatever the split, the events are the same.
 *
 * Content comes out as kept (P3): dots unstuffed once, only CR LF `.` CR LF ends it, a
 * bare LF became CR LF and a bare CR a space. Runs point into the input wherever
 * possible; a message without such oddities passes as a few large runs.
 */
#ifndef RELAY_SMTP_LEXER_H
#define RELAY_SMTP_LEXER_H

#include "base/slice.h"

enum {
	SMTP_LINE_MAX	= 2048,		/* command line with CRLF: RFC 5321 4.5.3.1.4's 512
					 * and what extensions add to MAIL and RCPT */
	SMTP_TEXT_MAX	= 64 * 1024	/* line of content, its CRLF not counted (spec 3.12) */
};

enum smtp_lexeme {
	SMTP_LEX_MORE,		/* nothing more can be told from these bytes */
	SMTP_LEX_LINE,		/* command line: a command without its CRLF */
	SMTP_LEX_LINE_BARE,	/* command line: bare CR or LF in it */
	SMTP_LEX_LINE_NUL,
	SMTP_LEX_LINE_LONG,	/* `out` of a bad line: what was read when it went bad */
	SMTP_LEX_DATA,		/* content: a run of bytes to keep */
	SMTP_LEX_END		/* content: the final dot was read */
};

enum {	/* smtp_lexer.faults: seen in the content so far */
	SMTP_FAULT_BARE		= 1,	/* bare CR or LF, mended */
	SMTP_FAULT_LONG		= 2,	/* a line over SMTP_TEXT_MAX */
	SMTP_FAULT_HEADER	= 4,	/* header over the size given */
	SMTP_FAULT_HEADER_NUL	= 8	/* NUL in the header (spec 3.11) */
};

struct smtp_lexer {
	size_t	 scanned;	/* command: bytes offered before that hold no LF */
	size_t	 line;		/* content: bytes of the line so far */
	uint64_t header;	/* content: bytes of the header so far */
	uint64_t header_max;
	unsigned faults;	/* content: SMTP_FAULT_* */
	bool	 skip;		/* command: dropping the rest of a bad line */
	bool	 bol;		/* content: at the start of a line that CRLF began */
	bool	 counted;	/* content: of BDAT, dots are nothing special */
	bool	 cr;		/* content: a chunk ended in CR, is its LF in the next? */
	bool	 in_header;	/* content: before the first empty line */
};

void smtp_lexer_init(struct smtp_lexer *x);
/* The next command line, or SMTP_LEX_MORE. `*used` bytes of `in` are done with. */
enum smtp_lexeme smtp_lexer_line(struct smtp_lexer *x, struct slice in, size_t *used,
    struct slice *out);
/* Content begins with the next byte. */
void smtp_lexer_begin(struct smtp_lexer *x, uint64_t header_max);
/* The next run of content, the end, or SMTP_LEX_MORE. */
enum smtp_lexeme smtp_lexer_data(struct smtp_lexer *x, struct slice in, size_t *used,
    struct slice *out);

/*
 * The next run of a BDAT chunk, or SMTP_LEX_MORE; a run may come without a byte used. The
 * content began with smtp_lexer_begin before its first chunk. `ends`: `in` reaches to the
 * end of the chunk; all of it is used before MORE. What is kept of bare CR and LF is the
 * same as in DATA (spec 3.10).
 */
enum smtp_lexeme smtp_lexer_octets(struct smtp_lexer *x, struct slice in, bool ends,
    size_t *used, struct slice *out);
/* After the last chunk: what is left to keep, or SLICE_NONE. */
struct slice smtp_lexer_octets_end(struct smtp_lexer *x);

#endif
