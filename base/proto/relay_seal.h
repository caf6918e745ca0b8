// SPDX-License-Identifier: Apache-2.0
/* relay asks seal at RCPT whether an address in the return-path domain is ours. */
#ifndef PROTO_RELAY_SEAL_H
#define PROTO_RELAY_SEAL_H

#include "base/bounce.h"

enum { SEAL_CHECK = 0x300, SEAL_CHECKED };

enum seal_check_status {
	SEAL_VALID_OPAQUE,	/* `token` is set */
	SEAL_VALID_SRS,		/* `original` is set */
	SEAL_INVALID, SEAL_EXPIRED,	/* both 550 5.1.1 */
	SEAL_VALID_STOP,	/* 12.3: `id` is the user, `token` his handle (16 hex digits) */
	SEAL_CHECK_MAX
};

struct seal_check {
	uint64_t	req;
	struct slice	address;	/* local@return-path-domain */
};
extern const struct wire_desc seal_check_wire;

struct seal_checked {
	uint64_t	req;
	uint8_t		status;		/* enum seal_check_status */
	struct slice	token;
	struct slice	node;
	struct slice	original;
	uint8_t		leg;		/* enum bounce_leg: what the address is about ... */
	struct msgid	id;		/* ... BOUNCE_LEG_OURS: which one */
	uint16_t	rcpt_index, attempt;
};
extern const struct wire_desc seal_checked_wire;

#endif
