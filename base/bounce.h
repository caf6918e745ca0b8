// SPDX-License-Identifier: Apache-2.0
/*
 * What came back to a return path, as the few numbers that are kept of it (spec 2.2.5):
 * found by verify (policy/bounce.h), carried in the envelope, acted on by the queue
 * (queue/returned.h). Its encoding is on disk, inside the envelope's.
 */
#ifndef BASE_BOUNCE_H
#define BASE_BOUNCE_H

#include "base/msgid.h"
#include "base/wire.h"

enum bounce_kind {
	BOUNCE_REPORT,
	BOUNCE_AUTO_REPLY,	/* to be counted and discarded (2.2.4) */
	BOUNCE_OTHER,		/* likewise */
	BOUNCE_UNREAD,		/* likewise: verify could not say */
	BOUNCE_GENERATED,	/* likewise, and it answers nothing: a program wrote it of itself
				 * (RFC 3834 5, auto-generated) */
	BOUNCE_KIND_MAX
};

enum bounce_action {	/* RFC 3464 2.3.3; from the weakest to the one that decides */
	BOUNCE_NO_ACTION,	/* none that is known */
	BOUNCE_DELAYED,
	BOUNCE_EXPANDED, BOUNCE_RELAYED, BOUNCE_DELIVERED,
	BOUNCE_FAILED,
	BOUNCE_ACTION_MAX
};

enum bounce_leg {		/* what the return path itself says */
	BOUNCE_LEG_UNKNOWN,	/* authentic, but it names no leg (1.4.3) */
	BOUNCE_LEG_OURS,	/* id, rcpt_index, attempt are set */
	BOUNCE_LEG_OTHER_NODE,	/* of a relay that shares the domain (1.4.4) */
	BOUNCE_LEG_SRS,		/* the form of 1.2: names a sender, no leg */
	BOUNCE_LEG_STOP,	/* of a notice (12.3): id is the user, as queue/consent.h has it */
	BOUNCE_LEG_NODE,	/* likewise, and its relay is known: handed to it */
	BOUNCE_LEG_MAX
};

/* Set in a recipient's index: the return path is that of the notice which went to the user
 * before this leg (12.3), not of the copy. Indexes stay below it (queue/queue_role.c). */
enum { BOUNCE_RCPT_NOTICE = 0x8000 };

struct envelope_bounce {
	uint8_t		kind;		/* enum bounce_kind */
	uint8_t		action;		/* enum bounce_action */
	uint8_t		status;		/* class of Status: 2, 4, 5; 0 for none (RFC 3463) */
	uint16_t	subject, detail;	/* of Status, 0..999 */
	uint16_t	code;		/* SMTP reply in Diagnostic-Code; 0 for none */
	uint8_t		leg;		/* enum bounce_leg */
	struct msgid	id;		/* the message that was forwarded */
	uint16_t	rcpt_index, attempt;
};
extern const struct wire_desc envelope_bounce_wire;

/* On what one node hands to another (1.4.4). */
#define BOUNCE_NODE_FIELD "X-Fwd-Node"

enum { ENVELOPE_BOUNCE_MAX = 64 /* bytes encoded */ };

const char *bounce_kind_name(enum bounce_kind k);	/* "report" "auto-reply" ... */
const char *bounce_action_name(enum bounce_action a);	/* as in RFC 3464, "none" */

#endif
