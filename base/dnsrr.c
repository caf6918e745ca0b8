// SPDX-License-Identifier: Apache-2.0
#include "base/dnsrr.h"

static const struct wire_field rr_f[] = {
	WIRE_U16(struct dns_rr, pref, UINT16_MAX),
	WIRE_STR(struct dns_rr, data, DNS_RRS_MAX),
};
const struct wire_desc dns_rr_wire = WIRE_DESC("rr", struct dns_rr, rr_f);

static const struct wire_field answer_f[] = {
	WIRE_STR(struct dns_answer, name, DNS_NAME_MAX),
	WIRE_U16(struct dns_answer, type, UINT16_MAX),
	WIRE_U8(struct dns_answer, status, DNS_FAIL),
	WIRE_U8(struct dns_answer, secure, 1),
	WIRE_STR(struct dns_answer, rrs, DNS_RRS_MAX),
};
const struct wire_desc dns_answer_wire = WIRE_DESC("answer", struct dns_answer, answer_f);

static const struct wire_field want_f[] = {
	WIRE_U16(struct dns_want, type, UINT16_MAX),
	WIRE_STR(struct dns_want, name, DNS_NAME_MAX),
};
const struct wire_desc dns_want_wire = WIRE_DESC("want", struct dns_want, want_f);
