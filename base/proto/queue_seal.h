// SPDX-License-Identifier: Apache-2.0
/* queue hands seal a held message (body as descriptor); seal answers with what
 * turns it into a forward copy, or with a notification to its sender; or it wants a notice for
 * a user. The recovery address is not needed and not given. */
#ifndef PROTO_QUEUE_SEAL_H
#define PROTO_QUEUE_SEAL_H

#include "base/envelope.h"

enum { SEAL_PREPARE = 0x600, SEAL_PREPARED, SEAL_NOTIFY, SEAL_NOTIFIED, SEAL_TAG, SEAL_TAGGED,
	SEAL_NAME, SEAL_NAMED, SEAL_ANNOUNCE, SEAL_ANNOUNCED };

struct seal_prepare {
	uint64_t	req;
	uint16_t	rcpt_index;	/* into the envelope's rcpts */
	uint16_t	attempt;
	uint64_t	now_ms;		/* wall clock */
	struct slice	token;		/* of an earlier attempt of this leg, "" for a new one */
	/* What destinations have said (spec 7.3, 7.5, 7.6); all 0 when nothing is known. */
	uint8_t		refusal;	/* enum seal_refusal: of this message, by this one */
	uint8_t		transformed;	/* this leg was sent munged or wrapped before */
	uint8_t		marked;		/* destination and author domain, in the last 24 h */
	uint8_t		accepted;	/* by this provider in the last 24 h: any of them ... */
	uint8_t		auth_refusals;	/* ... and refusals of class AUTH, at most 255 */
	uint8_t		opaque;		/* the SRS form was refused (8.4 ADDR): a token instead */
	struct slice	envelope;	/* struct envelope, encoded */
};
extern const struct wire_desc seal_prepare_wire;

enum seal_refusal { SEAL_NOT_REFUSED, SEAL_REFUSED_AUTH, SEAL_REFUSED_STRUCTURE, SEAL_REFUSAL_MAX };

enum seal_status {
	SEAL_OK,
	SEAL_HOLD,		/* this message may not be forwarded: `reason`, a rule id */
	SEAL_ERROR,		/* our trouble: try again later */
	SEAL_STATUS_MAX
};

struct seal_prepared {
	uint64_t	req;
	uint8_t		status;		/* enum seal_status */
	struct slice	reason;		/* with SEAL_OK: "munge", "wrap" or "" as it is */
	struct slice	token;		/* 24 characters, journalled by the queue (1.4.3) */
	struct slice	mail_from;
	struct slice	prefix;		/* header block above the content */
	struct slice	cuts;		/* of the content: envelope's and its own */
	struct slice	suffix;
	uint64_t	message_id;	/* hash of the Message-ID, 0: none (8.9) */
};
extern const struct wire_desc seal_prepared_wire;

/* A notification to the sender (spec 2.3), with the body as kept. */
enum seal_notice { NOTICE_FAILED, NOTICE_DELAYED, NOTICE_DELIVERED, NOTICE_RELAYED, NOTICE_MAX };

struct seal_notify {
	uint64_t	req;
	uint16_t	rcpt_index;
	uint8_t		action;		/* enum seal_notice */
	uint8_t		primary;	/* `text` is the primary's; else ours */
	uint8_t		seven_bit;	/* the sender's host takes nothing else */
	uint64_t	now_ms;		/* wall clock */
	uint64_t	until_ms;	/* NOTICE_DELAYED: tried until then; 0 not said */
	struct slice	status;		/* "5.4.7" */
	struct slice	text;		/* "" for none */
	struct slice	envelope;
};
extern const struct wire_desc seal_notify_wire;

enum seal_notified_status {
	NOTIFIED_OK,		/* with the sealed message as descriptor */
	NOTIFIED_SUPPRESSED,	/* none may be sent: `reason` (policy/dsn_gate.h) */
	NOTIFIED_ERROR,		/* it cannot be built, now or ever: `reason` for the log */
	NOTIFIED_MAX
};

enum { NOTIFIED_FLAGS = ENV_HAS_8BIT | ENV_SMTPUTF8 | ENV_REQUIRETLS | ENV_TLS_OPTIONAL };

struct seal_notified {
	uint64_t	req;
	uint8_t		status;
	uint32_t	flags;		/* of NOTIFIED_FLAGS: of the notification's envelope */
	struct slice	reason;
};
extern const struct wire_desc seal_notified_wire;

/* Is this message, with an X-Fwd-Loop field, a copy of ours that came back (spec 9.1)? With
 * the body as descriptor. */
struct seal_tag {
	uint64_t	req;
	uint16_t	rcpt_index;
	struct slice	envelope;
};
extern const struct wire_desc seal_tag_wire;

enum seal_tag_status {
	TAG_NOT_OURS,
	TAG_OURS,		/* made for this mailbox; of which message is not said */
	TAG_COPY,		/* and it is a copy of `id`, with the Message-ID it left with */
	TAG_ERROR,		/* our trouble: ask again later */
	TAG_STATUS_MAX
};

struct seal_tagged {
	uint64_t	req;
	uint8_t		status;		/* enum seal_tag_status */
	struct msgid	id;		/* TAG_COPY: the original, and its recipient */
	uint16_t	rcpt_index;
};
extern const struct wire_desc seal_tagged_wire;

/* A report came back to this SRS address and brought this token: which leg is it about? */
struct seal_name {
	uint64_t	req;
	struct slice	address, token;
};
extern const struct wire_desc seal_name_wire;

struct seal_named {
	uint64_t	req;
	uint8_t		named;		/* 0: address or token are not ours, the rest is not set */
	struct msgid	id;
	uint16_t	rcpt_index, attempt;
	struct slice	sender;		/* the address reversed; its case may be folded */
};
extern const struct wire_desc seal_named_wire;

/* The notice to a user before the first copy of an outage (12.3). */
struct seal_announce {
	uint64_t	req;
	struct msgid	id;		/* the copy that waits for it, and its recipient */
	uint16_t	rcpt_index, attempt;
	uint64_t	now_ms, since_ms;	/* wall clock; of the outage */
	struct msgid	user_key;	/* for the stop address: queue/consent.h */
	uint64_t	handle;		/* likewise, comes back as it is */
	struct slice	user, domain;	/* as in the envelope */
	struct slice	language;	/* the directory's */
};
extern const struct wire_desc seal_announce_wire;

/* With SEAL_OK the sealed message as descriptor, 7 bits. */
struct seal_announced {
	uint64_t	req;
	uint8_t		status;		/* enum seal_status; HOLD: there will be none */
	struct slice	token, mail_from;	/* as in seal_prepared */
};
extern const struct wire_desc seal_announced_wire;

#endif
