// SPDX-License-Identifier: Apache-2.0
/*
 * What a destination meant (spec 8.4): code, enhanced code and text of its reply become
 * one class. Pure; one table, first match wins. The class and the code are all that is
 * kept of a reply (12.4): its text may name the recovery address.
 */
#ifndef QUEUE_REPLY_CLASS_H
#define QUEUE_REPLY_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum reply_class {	/* on disk in marks and notes: append only */
	REPLY_OK,
	REPLY_TEMP,		/* an unknown 4yz */
	REPLY_PERM,		/* an unknown 5yz */
	REPLY_RATE,		/* too fast: stop the scope */
	REPLY_BLOCK,		/* our address is blocked */
	REPLY_USERRATE,		/* this mailbox gets too much */
	REPLY_FULL,
	REPLY_NOUSER,
	REPLY_AUTH,		/* does not pass their authentication checks: section 7 */
	REPLY_SETUP,		/* our DNS or TLS is wrong */
	REPLY_SPAM,
	REPLY_STRUCTURE,	/* malformed for them: section 7.6 */
	REPLY_SIZE,
	REPLY_LOOP,
	REPLY_ADDR,		/* our MAIL FROM is refused */
	REPLY_CLASS_MAX
};
const char *reply_class_name(enum reply_class c);	/* "rate", "nouser", ... */

enum reply_scope {	/* of RATE: what is to stop; as named, all when not named */
	REPLY_SCOPE_ALL, REPLY_SCOPE_DKIM, REPLY_SCOPE_SPF, REPLY_SCOPE_NETBLOCK
};

struct reply {
	uint16_t	code;		/* 0: there was no reply: TEMP */
	struct slice	enhanced;	/* "4.7.28", "" when there was none */
	struct slice	text;
	struct slice	group;		/* provider group, for its own tokens */
};

struct reply_verdict {
	uint8_t	class;		/* enum reply_class */
	uint8_t	scope;		/* enum reply_scope */
	bool	closed;		/* final: never the same message again (8.5) */
};

struct reply_verdict reply_classify(const struct reply *r);

#endif
