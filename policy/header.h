// SPDX-License-Identifier: Apache-2.0
/*
 * Walks the header fields of a message in place. Survives anything: a message
 * without a header, without a body, without an end.
 *
 * The header ends at an empty line, at the end of the bytes, or at the first line
 * that is neither a field (RFC 5322 2.2: ftext, optional white space, colon) nor the
 * continuation of one; that line is then the first of the body (spec 3.14). Only CRLF
 * ends a line: the listener lets no bare CR or LF in.
 */
#ifndef POLICY_HEADER_H
#define POLICY_HEADER_H

#include "base/slice.h"

struct header_field {
	struct slice	name;	/* without white space before the colon */
	struct slice	value;	/* after the colon, folding kept, without the last CRLF */
	struct slice	raw;	/* the whole field with its CRLF (missing at end of bytes) */
	size_t		off;	/* of raw in the message */
};

struct header {
	struct slice	msg;		/* borrowed */
	size_t		pos;		/* where the next field starts */
	size_t		body;		/* once header_next said false: first octet of the body */
	bool		junk;		/* likewise: it ended at a line that is no field */
};

void header_start(struct header *h, struct slice msg);
bool header_next(struct header *h, struct header_field *f);
bool header_is(const struct header_field *f, const char *name);	/* ASCII, any case */

#endif
