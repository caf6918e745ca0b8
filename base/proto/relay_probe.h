// SPDX-License-Identifier: Apache-2.0
/* queue -> relay: what phase each domain and shard is in; probe this primary. relay -> queue:
 * what the probe found. */
#ifndef PROTO_RELAY_PROBE_H
#define PROTO_RELAY_PROBE_H

#include "base/conf.h"
#include "base/wire.h"

enum { QUEUE_PHASES = 0x420, QUEUE_PROBE, QUEUE_PROBED };

enum { PHASES_LIST_MAX = 96 * 1024 };

struct queue_phase {		/* an item of queue_phases */
	uint8_t		phase;		/* enum failover_phase */
	struct slice	domain, shard;	/* lower case; "" the domain itself */
};
extern const struct wire_desc queue_phase_wire;

struct queue_phases {
	uint8_t		reset;		/* what was told before is void */
	struct slice	list;
};
extern const struct wire_desc queue_phases_wire;

struct queue_probe {
	uint64_t	req;
	uint8_t		route;		/* enum conf_route_kind */
	uint8_t		depth;		/* enum conf_probe_depth */
	uint16_t	port;
	uint32_t	timeout_ms;
	struct slice	host;		/* the domain for MX */
	struct slice	canary;		/* of depths rcpt and data */
};
extern const struct wire_desc queue_probe_wire;

enum probe_outcome {
	PROBE_OK,
	PROBE_PUT_OFF,		/* 4yz */
	PROBE_REFUSED,		/* 5yz */
	PROBE_SILENT,		/* no answer in time, none of SMTP, connection lost, TLS failed */
	PROBE_DARK,		/* no connection, no address from DNS */
	PROBE_LOCAL,		/* it could not be made: says nothing */
	PROBE_OUTCOME_MAX
};

enum probe_stage {		/* what was awaited */
	PROBE_AT_CONNECT, PROBE_AT_GREETING, PROBE_AT_HELLO, PROBE_AT_TLS, PROBE_AT_MAIL,
	PROBE_AT_RCPT, PROBE_AT_DATA, PROBE_AT_END, PROBE_STAGE_MAX
};

struct queue_probed {
	uint64_t	req;
	uint8_t		outcome;	/* enum probe_outcome */
	uint8_t		stage;		/* enum probe_stage */
	uint8_t		tls;		/* it went over TLS */
	uint16_t	code;		/* 0 when there was no reply */
	uint32_t	latency_ms;	/* from its start to its end */
	struct slice	text;		/* of the reply, or ours; printable */
	struct slice	peer;		/* "name[ip]:port", "" before there was one */
};
extern const struct wire_desc queue_probed_wire;

#endif
