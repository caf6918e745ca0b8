// SPDX-License-Identifier: Apache-2.0
#include "base/bounce.h"

const char *
bounce_kind_name(enum bounce_kind k)
{
	switch (k) {
	case BOUNCE_REPORT:
		return "report";
	case BOUNCE_AUTO_REPLY:
		return "auto-reply";
	case BOUNCE_UNREAD:
		return "unread";
	case BOUNCE_GENERATED:
		return "auto-generated";
	case BOUNCE_OTHER:
	case BOUNCE_KIND_MAX:
		break;
	}
	return "other";
}

const char *
bounce_action_name(enum bounce_action a)
{
	switch (a) {
	case BOUNCE_DELAYED:
		return "delayed";
	case BOUNCE_EXPANDED:
		return "expanded";
	case BOUNCE_RELAYED:
		return "relayed";
	case BOUNCE_DELIVERED:
		return "delivered";
	case BOUNCE_FAILED:
		return "failed";
	case BOUNCE_NO_ACTION:
	case BOUNCE_ACTION_MAX:
		break;
	}
	return "none";
}

#define B struct envelope_bounce
static const struct wire_field bounce_f[] = {
	WIRE_U8(B, kind, BOUNCE_KIND_MAX - 1),
	WIRE_U8(B, action, BOUNCE_ACTION_MAX - 1),
	WIRE_U8(B, status, 5),
	WIRE_U16(B, subject, 999),
	WIRE_U16(B, detail, 999),
	WIRE_U16(B, code, 999),
	WIRE_U8(B, leg, BOUNCE_LEG_MAX - 1),
	WIRE_RAW(B, id),
	WIRE_U16(B, rcpt_index, UINT16_MAX),
	WIRE_U16(B, attempt, UINT16_MAX),
};
#undef B
const struct wire_desc envelope_bounce_wire =
    WIRE_DESC("bounce", struct envelope_bounce, bounce_f);
