// SPDX-License-Identifier: Apache-2.0
/* Field tables of phases and probes. */
#include "base/proto/relay_probe.h"

static const struct wire_field phase_f[] = {
	WIRE_U8(struct queue_phase, phase, 2),
	WIRE_STR(struct queue_phase, domain, 255),
	WIRE_STR(struct queue_phase, shard, 255),
};
const struct wire_desc queue_phase_wire = WIRE_DESC("queue_phase", struct queue_phase, phase_f);

static const struct wire_field phases_f[] = {
	WIRE_U8(struct queue_phases, reset, 1),
	WIRE_STR(struct queue_phases, list, PHASES_LIST_MAX),
};
const struct wire_desc queue_phases_wire =
    WIRE_DESC("queue_phases", struct queue_phases, phases_f);

static const struct wire_field probe_f[] = {
	WIRE_U64(struct queue_probe, req),
	WIRE_U8(struct queue_probe, route, ROUTE_LMTP),
	WIRE_U8(struct queue_probe, depth, PROBE_DATA),
	WIRE_U16(struct queue_probe, port, UINT16_MAX),
	WIRE_U32(struct queue_probe, timeout_ms, 3600 * 1000),
	WIRE_STR(struct queue_probe, host, 255),
	WIRE_STR(struct queue_probe, canary, 512),
};
const struct wire_desc queue_probe_wire = WIRE_DESC("queue_probe", struct queue_probe, probe_f);

static const struct wire_field probed_f[] = {
	WIRE_U64(struct queue_probed, req),
	WIRE_U8(struct queue_probed, outcome, PROBE_OUTCOME_MAX - 1),
	WIRE_U8(struct queue_probed, stage, PROBE_STAGE_MAX - 1),
	WIRE_U8(struct queue_probed, tls, 1),
	WIRE_U16(struct queue_probed, code, 999),
	WIRE_U32(struct queue_probed, latency_ms, UINT32_MAX),
	WIRE_STR(struct queue_probed, text, 1024),
	WIRE_STR(struct queue_probed, peer, 512),
};
const struct wire_desc queue_probed_wire =
    WIRE_DESC("queue_probed", struct queue_probed, probed_f);
