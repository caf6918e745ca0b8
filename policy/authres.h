// SPDX-License-Identifier: Apache-2.0
/*
 * Authentication-Results (RFC 8601): building ours (spec 4.1, 4.2) and finding the
 * ones in a message that pretend to be ours (spec 4.3).
 */
#ifndef POLICY_AUTHRES_H
#define POLICY_AUTHRES_H

#include "base/buf.h"
#include "base/envelope.h"

enum { AUTHRES_MAX = 8000 };	/* bytes of a payload; more is an error, never cut */

struct authres {
	struct buf	 out;		/* the payload after "Authentication-Results: " */
	unsigned	 count;		/* resinfo so far */
	bool		 failed;	/* ran into AUTHRES_MAX or a value that cannot be written */
};

void authres_init(struct authres *a);
void authres_fini(struct authres *a);

/* Starts over: "ID". */
void authres_start(struct authres *a, struct slice authserv_id);
/* ";\r\n\tMETHOD=RESULT" */
void authres_result(struct authres *a, const char *method, enum auth_result r);
/* " NAME=VALUE", quoted when it is no token. A value with control or 8-bit octets, empty
 * or over 255 octets is left out altogether: nothing of the network's choice passes. */
void authres_property(struct authres *a, const char *name, struct slice value);
/* The payload without a line end; "ID; none" when nothing was evaluated. Borrowed.
 * 0 or -1. */
__attribute__((warn_unused_result)) int authres_end(struct authres *a, struct slice *payload);

/*
 * Does this field value name `authserv_id`? Comments (nested), folding, quotes, escapes,
 * letter case, U-labels, a version suffix and a last dot do not hide it, nor do octets that
 * no name has before or behind it; a value with unclosed comments or quotes counts when the
 * id is anywhere before the first results.
 */
bool authres_is_from(struct slice value, struct slice authserv_id);

#endif
