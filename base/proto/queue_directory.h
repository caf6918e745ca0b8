// SPDX-License-Identifier: Apache-2.0
/* queue asks directory where the forward leg of a user goes, and tells it that a
 * new snapshot is in place. */
#ifndef PROTO_QUEUE_DIRECTORY_H
#define PROTO_QUEUE_DIRECTORY_H

#include "base/wire.h"

enum { DIR_TARGET = 0x500, DIR_TARGETED, DIR_RELOAD, DIR_RELOADED };

struct dir_target {
	uint64_t	req;
	struct slice	user;		/* envelope_rcpt.user */
	uint8_t		baseline;	/* of those only who want copies in peace time (8.11) */
};
extern const struct wire_desc dir_target_wire;

#define TARGET_NO_BASELINE	"no-baseline"	/* TARGET_NONE: the user does not want them */

enum dir_target_status {
	TARGET_OK,
	TARGET_NONE,		/* no recovery address, opted out, unverified: see reason */
	TARGET_UNKNOWN,		/* no such user now */
	TARGET_UNAVAILABLE,	/* ask again later */
	TARGET_MAX
};

struct dir_targeted {
	uint64_t	req;
	uint8_t		status;		/* enum dir_target_status */
	struct slice	recovery;	/* local@domain */
	struct slice	language;	/* "it", "en", "" */
	struct slice	reason;		/* one token: "no-recovery", "opted-out", "loop" ... */
};
extern const struct wire_desc dir_targeted_wire;

struct dir_reload {
	uint64_t	req;
};
extern const struct wire_desc dir_reload_wire;

struct dir_reloaded {
	uint64_t	req;
	uint8_t		ok;
	uint64_t	users;
	struct slice	text;		/* why not */
};
extern const struct wire_desc dir_reloaded_wire;

#endif
