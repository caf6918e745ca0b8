// SPDX-License-Identifier: Apache-2.0
/* supervisor <-> every role, over descriptor 3 of the role. Used by base/role.c
 * and relay/supervisor.c only. */
#ifndef PROTO_SUPER_H
#define PROTO_SUPER_H

#include "base/wire.h"

enum {
	SUPER_CONF = 0x10,	/* + memfd: text of the configuration; name = file */
	SUPER_RESOURCE,		/* + descriptor */
	SUPER_LINK,		/* + descriptor: a fresh channel to a peer */
	SUPER_GO,		/* all that is needed at start has been sent */
	SUPER_RELOAD,		/* a new SUPER_CONF and resources came before it */
	SUPER_STOP,		/* finish cleanly, then SUPER_DONE */
	SUPER_ASK,		/* to a role: tell your status; from queue: a command */
	SUPER_READY,		/* role: started and confined */
	SUPER_DONE,		/* role: nothing of mine is open any more */
	SUPER_ANSWER,
};

struct super_name {	/* CONF, RESOURCE, LINK, GO, RELOAD, STOP, READY, DONE */
	uint8_t		peer;	/* enum role_kind, of LINK */
	uint16_t	index;
	struct slice	name;
};
extern const struct wire_desc super_name_wire;

struct super_text {	/* ASK, ANSWER */
	uint64_t	req;
	struct slice	text;	/* ASK: verb; ANSWER: JSON */
};
extern const struct wire_desc super_text_wire;

#endif
