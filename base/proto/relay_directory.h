// SPDX-License-Identifier: Apache-2.0
/* relay asks directory at RCPT: is this a user of ours? No recovery address
 * ever crosses this border. */
#ifndef PROTO_RELAY_DIRECTORY_H
#define PROTO_RELAY_DIRECTORY_H

#include "base/wire.h"

enum { DIR_LOOKUP = 0x100, DIR_FOUND };

enum dir_status {
	DIR_KNOWN,
	DIR_UNKNOWN,		/* 550 5.1.1 */
	DIR_UNAVAILABLE,	/* no snapshot, or it cannot be read: 451 */
	DIR_STATUS_MAX
};

struct dir_lookup {
	uint64_t	req;
	struct slice	address;	/* local@domain as written, domain served */
};
extern const struct wire_desc dir_lookup_wire;

struct dir_found {
	uint64_t	req;
	uint8_t		status;		/* enum dir_status */
	struct slice	user;		/* the mailbox's own address, lower-case domain */
	struct slice	shard;
};
extern const struct wire_desc dir_found_wire;

#endif
