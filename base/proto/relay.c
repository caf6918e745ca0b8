// SPDX-License-Identifier: Apache-2.0
/* Field tables of what relay says and hears. */
#include "base/proto/relay_directory.h"
#include "base/proto/relay_queue.h"
#include "base/proto/relay_seal.h"
#include "base/proto/relay_verify.h"

static const struct wire_field lookup_f[] = {
	WIRE_U64(struct dir_lookup, req),
	WIRE_STR(struct dir_lookup, address, 512),
};
const struct wire_desc dir_lookup_wire = WIRE_DESC("dir_lookup", struct dir_lookup, lookup_f);

static const struct wire_field found_f[] = {
	WIRE_U64(struct dir_found, req),
	WIRE_U8(struct dir_found, status, DIR_STATUS_MAX - 1),
	WIRE_STR(struct dir_found, user, 512),
	WIRE_STR(struct dir_found, shard, 64),
};
const struct wire_desc dir_found_wire = WIRE_DESC("dir_found", struct dir_found, found_f);

#define V struct verify_eval
static const struct wire_field eval_f[] = {
	WIRE_U64(V, req),
	WIRE_RAW(V, id),
	WIRE_U64(V, received_ms),
	WIRE_U8(V, last, 1),
	WIRE_U32(V, nrcpt, UINT32_MAX),
	WIRE_STR(V, client_ip, 64),
	WIRE_STR(V, helo, 512),
	WIRE_STR(V, mail_from, 512),
	WIRE_STR(V, rcpt, 512),
	WIRE_STR(V, protocol, 16),
	WIRE_STR(V, tls, 128),
	WIRE_STR(V, answers, DNS_ANSWERS_MAX),
	WIRE_U8(V, trusted, 1),
	WIRE_U8(V, bounce, 1),
	WIRE_STR(V, token, 64),
	WIRE_U8(V, clean, 1),
};
#undef V
const struct wire_desc verify_eval_wire = WIRE_DESC("verify_eval", struct verify_eval, eval_f);

#define D struct verify_done
static const struct wire_field done_f[] = {
	WIRE_U64(D, req),
	WIRE_U8(D, status, VERIFY_STATUS_MAX - 1),
	WIRE_U8(D, spf, AUTH_MAX - 1),
	WIRE_U8(D, dkim, AUTH_MAX - 1),
	WIRE_U8(D, dmarc, AUTH_MAX - 1),
	WIRE_U8(D, arc, AUTH_MAX - 1),
	WIRE_U8(D, iprev, AUTH_MAX - 1),
	WIRE_U8(D, triage, 3),
	WIRE_U32(D, flags, UINT32_MAX),
	WIRE_STR(D, reason, 255),
	WIRE_STR(D, trace, 16384),
	WIRE_STR(D, authres, 8192),
	WIRE_STR(D, cuts, 4096),
	WIRE_STR(D, wants, 64 * 1024),
	WIRE_STR(D, bounce, ENVELOPE_BOUNCE_MAX),
	WIRE_STR(D, token, 64),
};
#undef D
const struct wire_desc verify_done_wire = WIRE_DESC("verify_done", struct verify_done, done_f);

static const struct wire_field check_f[] = {
	WIRE_U64(struct seal_check, req),
	WIRE_STR(struct seal_check, address, 512),
};
const struct wire_desc seal_check_wire = WIRE_DESC("seal_check", struct seal_check, check_f);

static const struct wire_field checked_f[] = {
	WIRE_U64(struct seal_checked, req),
	WIRE_U8(struct seal_checked, status, SEAL_CHECK_MAX - 1),
	WIRE_STR(struct seal_checked, token, 64),
	WIRE_STR(struct seal_checked, node, 8),
	WIRE_STR(struct seal_checked, original, 512),
	WIRE_U8(struct seal_checked, leg, BOUNCE_LEG_MAX - 1),
	WIRE_RAW(struct seal_checked, id),
	WIRE_U16(struct seal_checked, rcpt_index, UINT16_MAX),
	WIRE_U16(struct seal_checked, attempt, UINT16_MAX),
};
const struct wire_desc seal_checked_wire =
    WIRE_DESC("seal_checked", struct seal_checked, checked_f);

static const struct wire_field debris_f[] = {
	WIRE_RAW(struct queue_debris, id),
};
const struct wire_desc queue_debris_wire = WIRE_DESC("queue_debris", struct queue_debris, debris_f);

static const struct wire_field commit_f[] = {
	WIRE_U64(struct queue_commit, req),
	WIRE_STR(struct queue_commit, envelope, ENVELOPE_MAX),
};
const struct wire_desc queue_commit_wire =
    WIRE_DESC("queue_commit", struct queue_commit, commit_f);

static const struct wire_field committed_f[] = {
	WIRE_U64(struct queue_committed, req),
	WIRE_U8(struct queue_committed, status, COMMIT_STATUS_MAX - 1),
};
const struct wire_desc queue_committed_wire =
    WIRE_DESC("queue_committed", struct queue_committed, committed_f);

static const struct wire_field route_f[] = {
	WIRE_U64(struct queue_route, req),
	WIRE_STR(struct queue_route, domain, 255),
};
const struct wire_desc queue_route_wire = WIRE_DESC("queue_route", struct queue_route, route_f);

static const struct wire_field routed_f[] = {
	WIRE_U64(struct queue_routed, req),
	WIRE_U8(struct queue_routed, status, ROUTED_MAX - 1),
	WIRE_U32(struct queue_routed, ttl_s, UINT32_MAX),
	WIRE_STR(struct queue_routed, group, 255),
	WIRE_STR(struct queue_routed, reason, 32),
};
const struct wire_desc queue_routed_wire =
    WIRE_DESC("queue_routed", struct queue_routed, routed_f);

static const struct wire_field evaluate_f[] = {
	WIRE_U64(struct queue_evaluate, req),
	WIRE_STR(struct queue_evaluate, envelope, ENVELOPE_MAX),
};
const struct wire_desc queue_evaluate_wire =
    WIRE_DESC("queue_evaluate", struct queue_evaluate, evaluate_f);

static const struct wire_field evaluated_f[] = {
	WIRE_U64(struct queue_evaluated, req),
	WIRE_U8(struct queue_evaluated, status, EVALUATED_MAX - 1),
	WIRE_STR(struct queue_evaluated, envelope, ENVELOPE_MAX),
};
const struct wire_desc queue_evaluated_wire =
    WIRE_DESC("queue_evaluated", struct queue_evaluated, evaluated_f);

static const struct wire_field close_f[] = {
	WIRE_STR(struct queue_close, group, 255),
};
const struct wire_desc queue_close_wire = WIRE_DESC("queue_close", struct queue_close, close_f);

#define Q struct queue_deliver
static const struct wire_field deliver_f[] = {
	WIRE_U64(Q, req),
	WIRE_RAW(Q, id),
	WIRE_U16(Q, rcpt_index, UINT16_MAX),
	WIRE_U8(Q, leg, LEG_KIND_MAX - 1),
	WIRE_U8(Q, route, 2),
	WIRE_U16(Q, port, UINT16_MAX),
	WIRE_U8(Q, need_8bit, 1),
	WIRE_U8(Q, need_utf8, 1),
	WIRE_U8(Q, tls, DELIVER_TLS_MAX - 1),
	WIRE_STR(Q, host, 255),
	WIRE_STR(Q, mail_from, 512),
	WIRE_STR(Q, rcpt, 512),
	WIRE_STR(Q, prefix, 64 * 1024),
	WIRE_STR(Q, cuts, 16 * 1024),
	WIRE_STR(Q, suffix, 16 * 1024),
	WIRE_STR(Q, group, 255),
	WIRE_U16(Q, connections, UINT16_MAX),
	WIRE_U8(Q, ahead, 1),
	WIRE_U8(Q, notify, 15),
	WIRE_STR(Q, envid, 128),
	WIRE_STR(Q, ret, 8),
	WIRE_STR(Q, orcpt, 512),
};
#undef Q
const struct wire_desc queue_deliver_wire =
    WIRE_DESC("queue_deliver", struct queue_deliver, deliver_f);

#define Q struct queue_delivered
static const struct wire_field delivered_f[] = {
	WIRE_U64(Q, req),
	WIRE_U8(Q, outcome, DELIVER_MAX - 1),
	WIRE_U8(Q, scope, SCOPE_MAX - 1),
	WIRE_U8(Q, tls, 1),
	WIRE_U8(Q, dsn, 1),
	WIRE_U16(Q, code, 999),
	WIRE_U32(Q, latency_ms, UINT32_MAX),
	WIRE_STR(Q, enhanced, 16),
	WIRE_STR(Q, text, 4096),
	WIRE_STR(Q, peer, 512),
	WIRE_STR(Q, group, 255),
};
#undef Q
const struct wire_desc queue_delivered_wire =
    WIRE_DESC("queue_delivered", struct queue_delivered, delivered_f);

static const struct wire_field keep_f[] = {
	WIRE_U64(struct queue_keep, until_ms),
	WIRE_STR(struct queue_keep, key, KEEP_KEY_MAX),
	WIRE_STR(struct queue_keep, value, KEEP_VALUE_MAX),
};
const struct wire_desc queue_keep_wire = WIRE_DESC("queue_keep", struct queue_keep, keep_f);
