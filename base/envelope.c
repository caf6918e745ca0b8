// SPDX-License-Identifier: Apache-2.0
#include "base/envelope.h"

const char *
auth_result_name(enum auth_result r)
{
	switch (r) {
	case AUTH_UNSET:
	case AUTH_NONE:
		return "none";
	case AUTH_PASS:
		return "pass";
	case AUTH_FAIL:
		return "fail";
	case AUTH_SOFTFAIL:
		return "softfail";
	case AUTH_NEUTRAL:
		return "neutral";
	case AUTH_TEMPERROR:
		return "temperror";
	case AUTH_PERMERROR:
		return "permerror";
	case AUTH_POLICY:
		return "policy";
	case AUTH_MAX:
		break;
	}
	return "none";
}

#define E struct envelope
static const struct wire_field envelope_f[] = {
	WIRE_U16(E, version, ENVELOPE_VERSION),
	WIRE_RAW(E, id),
	WIRE_U64(E, received_ms),
	WIRE_U64(E, body_size),
	WIRE_U32(E, flags, UINT32_MAX),
	WIRE_U8(E, spf, AUTH_MAX - 1),
	WIRE_U8(E, dkim, AUTH_MAX - 1),
	WIRE_U8(E, dmarc, AUTH_MAX - 1),
	WIRE_U8(E, arc, AUTH_MAX - 1),
	WIRE_U8(E, iprev, AUTH_MAX - 1),
	WIRE_U8(E, triage, 3),
	WIRE_STR(E, client_ip, 64),
	WIRE_STR(E, helo, 512),
	WIRE_STR(E, mail_from, 512),
	WIRE_STR(E, reason, 64),
	WIRE_STR(E, envid, 128),
	WIRE_STR(E, ret, 8),
	WIRE_STR(E, trace, 16384),
	WIRE_STR(E, authres, 8192),
	WIRE_STR(E, cuts, 4096),
	WIRE_STR(E, rcpts, ENVELOPE_MAX),
	WIRE_STR(E, bounce, ENVELOPE_BOUNCE_MAX),
	WIRE_STR(E, protocol, 16),
	WIRE_STR(E, tls, 128),
};
#undef E
const struct wire_desc envelope_wire = WIRE_DESC("envelope", struct envelope, envelope_f);

enum { SINCE_2 = 3 /* fields at the end that version 1 lacks */ };
static const struct wire_desc envelope_1 = {
	"envelope", envelope_f, sizeof(envelope_f) / sizeof(envelope_f[0]) - SINCE_2,
	sizeof(struct envelope)
};

int
envelope_get(struct slice in, struct envelope *e)
{
	unsigned version = in.n < 2 ? 0 : (uint8_t)in.p[0] | (unsigned)(uint8_t)in.p[1] << 8;

	if (version == 1)
		return wire_get(in, &envelope_1, e);
	return version == ENVELOPE_VERSION ? wire_get(in, &envelope_wire, e) : -1;
}

static const struct wire_field cut_f[] = {
	WIRE_U64(struct body_cut, off),
	WIRE_U64(struct body_cut, len),
};
const struct wire_desc body_cut_wire = WIRE_DESC("cut", struct body_cut, cut_f);

#define R struct envelope_rcpt
static const struct wire_field rcpt_f[] = {
	WIRE_U8(R, kind, RCPT_KIND_MAX - 1),
	WIRE_U8(R, notify, 15),
	WIRE_STR(R, address, 512),
	WIRE_STR(R, user, 512),
	WIRE_STR(R, domain, 255),
	WIRE_STR(R, shard, 64),
	WIRE_STR(R, orcpt, 512),
	WIRE_STR(R, token, 64),
};
#undef R
const struct wire_desc envelope_rcpt_wire = WIRE_DESC("rcpt", struct envelope_rcpt, rcpt_f);
