// SPDX-License-Identifier: Apache-2.0
/* Field tables of what queue says to directory and seal, and all to the supervisor. */
#include "base/proto/queue_directory.h"
#include "base/proto/queue_seal.h"
#include "base/proto/super.h"

static const struct wire_field target_f[] = {
	WIRE_U64(struct dir_target, req),
	WIRE_STR(struct dir_target, user, 512),
	WIRE_U8(struct dir_target, baseline, 1),
};
const struct wire_desc dir_target_wire = WIRE_DESC("dir_target", struct dir_target, target_f);

static const struct wire_field targeted_f[] = {
	WIRE_U64(struct dir_targeted, req),
	WIRE_U8(struct dir_targeted, status, TARGET_MAX - 1),
	WIRE_STR(struct dir_targeted, recovery, 512),
	WIRE_STR(struct dir_targeted, language, 16),
	WIRE_STR(struct dir_targeted, reason, 64),
};
const struct wire_desc dir_targeted_wire =
    WIRE_DESC("dir_targeted", struct dir_targeted, targeted_f);

static const struct wire_field reload_f[] = {
	WIRE_U64(struct dir_reload, req),
};
const struct wire_desc dir_reload_wire = WIRE_DESC("dir_reload", struct dir_reload, reload_f);

static const struct wire_field reloaded_f[] = {
	WIRE_U64(struct dir_reloaded, req),
	WIRE_U8(struct dir_reloaded, ok, 1),
	WIRE_U64(struct dir_reloaded, users),
	WIRE_STR(struct dir_reloaded, text, 1024),
};
const struct wire_desc dir_reloaded_wire =
    WIRE_DESC("dir_reloaded", struct dir_reloaded, reloaded_f);

#define S struct seal_prepare
static const struct wire_field prepare_f[] = {
	WIRE_U64(S, req),
	WIRE_U16(S, rcpt_index, UINT16_MAX),
	WIRE_U16(S, attempt, UINT16_MAX),
	WIRE_U64(S, now_ms),
	WIRE_STR(S, token, 64),
	WIRE_U8(S, refusal, SEAL_REFUSAL_MAX - 1),
	WIRE_U8(S, transformed, 1),
	WIRE_U8(S, marked, 1),
	WIRE_U8(S, accepted, 1),
	WIRE_U8(S, auth_refusals, UINT8_MAX),
	WIRE_U8(S, opaque, 1),
	WIRE_STR(S, envelope, ENVELOPE_MAX),
};
#undef S
const struct wire_desc seal_prepare_wire =
    WIRE_DESC("seal_prepare", struct seal_prepare, prepare_f);

#define S struct seal_prepared
static const struct wire_field prepared_f[] = {
	WIRE_U64(S, req),
	WIRE_U8(S, status, SEAL_STATUS_MAX - 1),
	WIRE_STR(S, reason, 64),
	WIRE_STR(S, token, 64),
	WIRE_STR(S, mail_from, 512),
	WIRE_STR(S, prefix, 64 * 1024),
	WIRE_STR(S, cuts, 16 * 1024),
	WIRE_STR(S, suffix, 16 * 1024),
	WIRE_U64(S, message_id),
};
#undef S
const struct wire_desc seal_prepared_wire =
    WIRE_DESC("seal_prepared", struct seal_prepared, prepared_f);

#define N struct seal_notify
static const struct wire_field notify_f[] = {
	WIRE_U64(N, req),
	WIRE_U16(N, rcpt_index, UINT16_MAX),
	WIRE_U8(N, action, NOTICE_MAX - 1),
	WIRE_U8(N, primary, 1),
	WIRE_U8(N, seven_bit, 1),
	WIRE_U64(N, now_ms),
	WIRE_U64(N, until_ms),
	WIRE_STR(N, status, 16),
	WIRE_STR(N, text, 512),
	WIRE_STR(N, envelope, ENVELOPE_MAX),
};
#undef N
const struct wire_desc seal_notify_wire =
    WIRE_DESC("seal_notify", struct seal_notify, notify_f);

static const struct wire_field notified_f[] = {
	WIRE_U64(struct seal_notified, req),
	WIRE_U8(struct seal_notified, status, NOTIFIED_MAX - 1),
	WIRE_U32(struct seal_notified, flags, UINT32_MAX),
	WIRE_STR(struct seal_notified, reason, 128),
};
const struct wire_desc seal_notified_wire =
    WIRE_DESC("seal_notified", struct seal_notified, notified_f);

static const struct wire_field tag_f[] = {
	WIRE_U64(struct seal_tag, req),
	WIRE_U16(struct seal_tag, rcpt_index, UINT16_MAX),
	WIRE_STR(struct seal_tag, envelope, ENVELOPE_MAX),
};
const struct wire_desc seal_tag_wire = WIRE_DESC("seal_tag", struct seal_tag, tag_f);

static const struct wire_field tagged_f[] = {
	WIRE_U64(struct seal_tagged, req),
	WIRE_U8(struct seal_tagged, status, TAG_STATUS_MAX - 1),
	WIRE_RAW(struct seal_tagged, id),
	WIRE_U16(struct seal_tagged, rcpt_index, UINT16_MAX),
};
const struct wire_desc seal_tagged_wire = WIRE_DESC("seal_tagged", struct seal_tagged, tagged_f);

static const struct wire_field seal_name_f[] = {
	WIRE_U64(struct seal_name, req),
	WIRE_STR(struct seal_name, address, 512),
	WIRE_STR(struct seal_name, token, 64),
};
const struct wire_desc seal_name_wire = WIRE_DESC("seal_name", struct seal_name, seal_name_f);

static const struct wire_field seal_named_f[] = {
	WIRE_U64(struct seal_named, req),
	WIRE_U8(struct seal_named, named, 1),
	WIRE_RAW(struct seal_named, id),
	WIRE_U16(struct seal_named, rcpt_index, UINT16_MAX),
	WIRE_U16(struct seal_named, attempt, UINT16_MAX),
	WIRE_STR(struct seal_named, sender, 512),
};
const struct wire_desc seal_named_wire = WIRE_DESC("seal_named", struct seal_named, seal_named_f);

static const struct wire_field name_f[] = {
	WIRE_U8(struct super_name, peer, UINT8_MAX),
	WIRE_U16(struct super_name, index, UINT16_MAX),
	WIRE_STR(struct super_name, name, 4096),
};
const struct wire_desc super_name_wire = WIRE_DESC("super_name", struct super_name, name_f);

static const struct wire_field text_f[] = {
	WIRE_U64(struct super_text, req),
	WIRE_STR(struct super_text, text, 100 * 1024),
};
const struct wire_desc super_text_wire = WIRE_DESC("super_text", struct super_text, text_f);

#define S struct seal_announce
static const struct wire_field announce_f[] = {
	WIRE_U64(S, req),
	WIRE_RAW(S, id),
	WIRE_U16(S, rcpt_index, UINT16_MAX),
	WIRE_U16(S, attempt, UINT16_MAX),
	WIRE_U64(S, now_ms),
	WIRE_U64(S, since_ms),
	WIRE_RAW(S, user_key),
	WIRE_U64(S, handle),
	WIRE_STR(S, user, 512),
	WIRE_STR(S, domain, 255),
	WIRE_STR(S, language, 16),
};
#undef S
const struct wire_desc seal_announce_wire =
    WIRE_DESC("seal_announce", struct seal_announce, announce_f);

static const struct wire_field announced_f[] = {
	WIRE_U64(struct seal_announced, req),
	WIRE_U8(struct seal_announced, status, SEAL_STATUS_MAX - 1),
	WIRE_STR(struct seal_announced, token, 64),
	WIRE_STR(struct seal_announced, mail_from, 512),
};
const struct wire_desc seal_announced_wire =
    WIRE_DESC("seal_announced", struct seal_announced, announced_f);
