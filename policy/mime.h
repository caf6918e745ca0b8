// SPDX-License-Identifier: Apache-2.0
/*
 * The structure of MIME messages (RFC 2045, 2046), read where they lie: an entity's
 * type and encoding, its parameters, the parts of a multipart. What is not well formed
 * has no type, no parameter or no parts; it is never an error. Time is linear in the
 * bytes for each level that the caller goes down; how deep is the caller's limit.
 *
 * Only CRLF ends a line, as everywhere behind the listener.
 */
#ifndef POLICY_MIME_H
#define POLICY_MIME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
	MIME_BOUNDARY_MAX = 200,	/* octets; RFC 2046 5.1.1 says 70 */
	MIME_BOUNDARY_OURS = 40		/* octets of those we make, without NUL */
};

struct mime_entity {	/* slices are borrowed from the message; "" for what is missing */
	struct slice	bytes;		/* header and body */
	struct slice	body;
	struct slice	major, minor;	/* of Content-Type; the first, if there are several */
	struct slice	params;		/* after it, from the first ';' on */
	struct slice	encoding;	/* Content-Transfer-Encoding, one word */
};

void mime_read(struct mime_entity *e, struct slice bytes);
/* ASCII, any case; a NULL for minor is any. */
bool mime_is(const struct mime_entity *e, const char *major, const char *minor);
/* White space and comments (RFC 5322 3.2.2) off the front; a comment without an end takes
 * everything. */
void mime_skip_cfws(struct slice *s);
/* The first parameter of that name, unquoted. 0, or -1: there is none, it is broken, or does
 * not fit; `out` is then "". */
int mime_param(const struct mime_entity *e, const char *name, char *out, size_t cap);
/* Appends the body without its transfer encoding. -1: over the buffer, or not decodable. */
__attribute__((warn_unused_result)) int mime_decode(const struct mime_entity *e,
    struct buf *out);

/* --- the parts of a multipart, in order --- */

struct mime_parts {
	struct slice	left;		/* borrowed */
	char		delimiter[MIME_BOUNDARY_MAX + 3];	/* with its "--" */
	bool		closed;		/* the part just given ended at a delimiter */
	bool		last;		/* and that was the final one */
};

int mime_parts_start(struct mime_parts *p, const struct mime_entity *e);	/* 0 or -1 */
bool mime_parts_next(struct mime_parts *p, struct slice *part);

/* Of octets that need BODY=8BITMIME, whether there is one. */
bool mime_has_8bit(struct slice s);
/* Can these bytes be an unencoded part? No NUL, no line over 998 octets, no bare CR or LF. */
bool mime_is_plain(struct slice s);
/* A boundary that does not occur in `content`; the same for the same seed and content. */
void mime_boundary(struct slice seed, struct slice content, char out[MIME_BOUNDARY_OURS + 1]);

#endif
