// SPDX-License-Identifier: Apache-2.0
/*
 * Reading Authentication-Results (RFC 8601 2.2) strictly: comments and folding skipped,
 * quoted strings taken whole. What is not in order is an error, for whoever copied it from
 * strangers must not be able to move the borders between results. Nothing is allocated.
 */
#ifndef POLICY_AUTHRES_READ_H
#define POLICY_AUTHRES_READ_H

#include "base/envelope.h"

enum { AUTHRES_PROPERTIES_MAX = 16 };	/* of one result; more are passed over */

struct authres_found {
	struct slice	method, result;		/* "dmarc", "pass"; borrowed */
	struct { struct slice name, value; } property[AUTHRES_PROPERTIES_MAX];
	size_t		nproperty;
};

/* Takes authserv-id and version off *s. 0 or -1. */
int authres_read_id(struct slice *s, struct slice *id);
/* The next result: 1, 0 at the end, -1 when it is not in order. */
int authres_read_next(struct slice *s, struct authres_found *f);

/* The value of a property, SLICE_NONE without it. */
struct slice authres_found_property(const struct authres_found *f, const char *name);
/* Any word of RFC 8601 2.7, AUTH_UNSET for others. */
enum auth_result authres_found_result(const struct authres_found *f);

/* The pieces it is made of. */
bool authres_skip_cfws(struct slice *s);	/* false: an open comment */
bool authres_take(struct slice *s, char c);
/* A word up to white space or a sign, or a quoted string's inside, and what space follows. */
bool authres_take_word(struct slice *s, struct slice *out);

#endif
