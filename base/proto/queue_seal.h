// SPDX-License-Identifier: Apache-2.0
/* queue hands seal a held message (body as descriptor); seal answers with what
 * turns it into a forward copy. The recovery address is not needed and not given. */
#ifndef PROTO_QUEUE_SEAL_H
#define PROTO_QUEUE_SEAL_H

#include "base/envelope.h"

enum { SEAL_PREPARE = 0x600, SEAL_PREPARED };

struct seal_prepare {
	uint64_t	req;
	uint16_t	rcpt_index;	/* into the envelope's rcpts */
	uint16_t	attempt;
	uint64_t	now_ms;		/* wall clock */
	struct slice	token;		/* of an earlier attempt of this leg, "" for a new one */
	struct slice	envelope;	/* struct envelope, encoded */
};
extern const struct wire_desc seal_prepare_wire;

enum seal_status {
	SEAL_OK,
	SEAL_HOLD,		/* this message may not be forwarded: `reason`, a rule id */
	SEAL_ERROR,		/* our trouble: try again later */
	SEAL_STATUS_MAX
};

struct seal_prepared {
	uint64_t	req;
	uint8_t		status;		/* enum seal_status */
	struct slice	reason;
	struct slice	token;		/* 24 characters, journalled by the queue (1.4.3) */
	struct slice	mail_from;
	struct slice	prefix;		/* header block above the content */
	struct slice	cuts;		/* of the content: envelope's and its own */
	struct slice	suffix;
};
extern const struct wire_desc seal_prepared_wire;

#endif
