// SPDX-License-Identifier: Apache-2.0
/* relay -> queue: keep this message. queue -> relay: deliver this leg. */
#ifndef PROTO_RELAY_QUEUE_H
#define PROTO_RELAY_QUEUE_H

#include "base/envelope.h"

enum {
	QUEUE_COMMIT = 0x400, QUEUE_COMMITTED, QUEUE_DELIVER, QUEUE_DELIVERED,
	QUEUE_ROUTE, QUEUE_ROUTED, QUEUE_CLOSE, QUEUE_KEEP, QUEUE_EVALUATE, QUEUE_EVALUATED,
	QUEUE_DEBRIS
};

/* With the sealed body as descriptor. */
struct queue_commit {
	uint64_t	req;
	struct slice	envelope;	/* struct envelope, encoded */
};
extern const struct wire_desc queue_commit_wire;

enum queue_commit_status {
	COMMIT_OK,		/* on stable storage: the only way to 250 (P1) */
	COMMIT_FULL,		/* 452 4.3.1 */
	COMMIT_ERROR,		/* 451 4.3.0: I/O error or unknown outcome */
	COMMIT_STATUS_MAX
};

struct queue_committed {
	uint64_t	req;
	uint8_t		status;
};
extern const struct wire_desc queue_committed_wire;

enum leg_kind { LEG_HOLD, LEG_FORWARD, LEG_KIND_MAX };

/* What a delivery asks of the connection, beyond what the destination publishes (DANE,
 * MTA-STS). Never less than asked: the message stays where it is. */
enum deliver_tls {
	DELIVER_TLS_DEFAULT,	/* TLS where offered, spec 13.1 */
	DELIVER_TLS_REQUIRED,	/* never in the clear (tls = required of a provider) */
	DELIVER_TLS_REQUIRETLS,	/* verified, to a host that offers REQUIRETLS (RFC 8689) */
	DELIVER_TLS_OPTIONAL,	/* "TLS-Required: No": policies of the destination ignored */
	DELIVER_TLS_MAX
};

/* queue -> relay: where does mail for this recovery domain go? The unit of forward
 * scheduling is the provider, which only DNS tells (spec 8.1). */
struct queue_route {
	uint64_t	req;
	struct slice	domain;
};
extern const struct wire_desc queue_route_wire;

enum queue_route_status {
	ROUTED_OK,		/* `group` is set */
	ROUTED_LATER,		/* DNS trouble: ask again */
	ROUTED_NEVER,		/* `reason`: "no-domain", "null-mx", "self", "no-host", "unroutable" */
	ROUTED_MAX
};

struct queue_routed {
	uint64_t	req;
	uint8_t		status;		/* enum queue_route_status */
	uint32_t	ttl_s;		/* good for so long */
	struct slice	group;		/* MX roll-up */
	struct slice	reason;
};
extern const struct wire_desc queue_routed_wire;

/* queue -> relay: no connection to this provider may stay open (spec 8.4 RATE). Requests
 * that wait there come back as DELIVER_TEMP without a code. */
struct queue_close {
	struct slice	group;
};
extern const struct wire_desc queue_close_wire;

/*
 * queue -> relay: DNS did not answer when this message came (ENV_RECHECK); what is to be
 * thought of it now (spec 0.4)? With the sealed body as descriptor. The answer is the same
 * envelope but for what verify finds out; the trace keeps its Received field and what
 * filters added.
 */
struct queue_evaluate {
	uint64_t	req;
	struct slice	envelope;	/* struct envelope, encoded, as kept */
};
extern const struct wire_desc queue_evaluate_wire;

enum queue_evaluated_status {
	EVALUATED_OK,		/* `envelope` is set; it may still say ENV_RECHECK */
	EVALUATED_FAILED,	/* nobody could judge it: a try like one that DNS failed */
	EVALUATED_MAX
};

struct queue_evaluated {
	uint64_t	req;
	uint8_t		status;		/* enum queue_evaluated_status */
	struct slice	envelope;
};
extern const struct wire_desc queue_evaluated_wire;

/* One leg of one recipient, with the sealed body as descriptor. What goes out is
 * prefix, then the body without the cuts, then suffix. */
struct queue_deliver {
	uint64_t	req;
	struct msgid	id;
	uint16_t	rcpt_index;
	uint8_t		leg;		/* enum leg_kind */
	uint8_t		route;		/* enum conf_route_kind */
	uint16_t	port;		/* of SMTP and LMTP routes */
	uint8_t		need_8bit;	/* BODY=8BITMIME, next hop must offer it (3.7) */
	uint8_t		need_utf8;	/* SMTPUTF8 was asked for (3.9) */
	uint8_t		tls;		/* enum deliver_tls */
	struct slice	host;		/* of SMTP and LMTP routes; the domain for MX */
	struct slice	mail_from;	/* "" null */
	struct slice	rcpt;
	struct slice	prefix;
	struct slice	cuts;		/* items of struct body_cut */
	struct slice	suffix;
	struct slice	group;		/* forward legs: provider group, as routed; or "" */
	uint16_t	connections;	/* open ones at most, of the group if there is one; 0: no word */
	uint8_t		ahead;		/* goes before others that wait for a connection */
	/* RFC 3461 parameters, passed on when the next hop offers DSN; "" or 0: none */
	uint8_t		notify;
	struct slice	envid, ret, orcpt;
};
extern const struct wire_desc queue_deliver_wire;

enum deliver_outcome {
	DELIVER_OK,		/* 2yz after the data, for this recipient */
	DELIVER_TEMP,		/* 4yz, no connection, timeout before the data ended */
	DELIVER_PERM,		/* 5yz */
	DELIVER_UNKNOWN,	/* lost after the final dot: may or may not be there */
	DELIVER_LOCAL,		/* never tried: route to ourselves, null MX, no 8BITMIME ... */
	DELIVER_MAX
};

enum deliver_scope {		/* what the outcome says something about */
	SCOPE_HOST,		/* no connection, banner, EHLO: all that goes there */
	SCOPE_MESSAGE,		/* sender or content */
	SCOPE_RCPT,
	SCOPE_MAX
};

struct queue_delivered {
	uint64_t	req;
	uint8_t		outcome;	/* enum deliver_outcome */
	uint8_t		scope;		/* enum deliver_scope */
	uint8_t		tls;		/* it went over TLS */
	uint8_t		dsn;		/* next hop offered DSN */
	uint16_t	code;		/* 0 when there was no reply */
	uint32_t	latency_ms;	/* from the first command of its transaction to the result */
	struct slice	enhanced;	/* "4.2.1" or "" */
	struct slice	text;		/* the reply's, or ours; may name the destination (P4) */
	struct slice	peer;		/* "name[ip]:port" */
	struct slice	group;		/* provider group: MX roll-up, "" if not known */
};
extern const struct wire_desc queue_delivered_wire;

/* relay -> queue, with the sealed body as descriptor: what a bounce said, only with
 * bounce-debug-key-file (spec 2.2.5). Before its commit, which has no body. */
struct queue_debris {
	struct msgid	id;
};
extern const struct wire_desc queue_debris_wire;

/*
 * A small value that has to outlive the relay that found it (an MTA-STS policy): kept by
 * the queue, told to every relay when it connects and when another relay brings a newer
 * one. Both ways. The queue does not know what it means.
 */
enum { KEEP_KEY_MAX = 300, KEEP_VALUE_MAX = 16 * 1024 };
struct queue_keep {
	uint64_t	until_ms;	/* wall clock: forgotten then */
	struct slice	key;		/* "sts:example.org" */
	struct slice	value;
};
extern const struct wire_desc queue_keep_wire;

#endif
