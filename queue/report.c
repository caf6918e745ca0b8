// SPDX-License-Identifier: Apache-2.0
#include "queue/report.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/legs.h"

enum { REPORT_TEXT_MAX = 512 * 1024 };

json_t *
report_text(struct slice s)
{
	json_t *v = json_stringn(s.n == 0 ? "" : s.p, s.n);
	struct buf b;

	if (v != NULL)
		return v;
	buf_init(&b, REPORT_TEXT_MAX);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		int rc = c < 0x80 ? buf_put(&b, &s.p[i], 1) : buf_printf(&b, "\\x%02x", c);

		if (rc < 0)
			break;
	}
	struct slice out = buf_slice(&b);
	v = json_stringn(out.n == 0 ? "" : out.p, out.n);
	buf_fini(&b);
	return v;
}

json_t *
report_time(int64_t wall_ms)
{
	char text[40];

	if (wall_ms <= 0)
		return json_null();
	clock_iso8601(wall_ms, text, sizeof(text));
	return json_string(text);
}

static const char *
kind_name(uint8_t kind)
{
	switch ((enum rcpt_kind)kind) {
	case RCPT_USER:
		return "user";
	case RCPT_POSTMASTER:
		return "postmaster";
	case RCPT_RETURN_PATH:
		return "return-path";
	case RCPT_NOTICE:
		return "notice";
	case RCPT_REMINDER:
		return "reminder";
	case RCPT_KIND_MAX:
		break;
	}
	return "?";
}

json_t *
report_leg(struct spool *sp, const struct spool_entry *e, enum leg_kind leg)
{
	const struct spool_leg *l = &e->leg[leg];
	char note[LEGS_NOTE_MAX] = "";

	/* The spool keeps the last note for ever; one that an earlier state left is not told. */
	bool told = leg == LEG_HOLD ? l->attempts > 0 && l->state != LEG_DELIVERED :
	    l->state == LEG_FAILED || l->state == LEG_SKIPPED || l->state == LEG_DELIVERED;
	if (l->state == LEG_SKIPPED || l->state == LEG_DROPPED)
		told = true;
	if (legs_on_hold(l))	/* the note of a forward leg is its token: nobody's business */
		told = leg == LEG_HOLD;
	if (told && spool_note(sp, e->ref, leg, note, sizeof(note)) < 0)
		note[0] = '\0';
	/* A token, and not what a report said of this copy. */
	if (leg == LEG_FORWARD && l->state == LEG_DELIVERED && strchr(note, ' ') == NULL)
		note[0] = '\0';
	return json_pack("{s:s, s:i, s:o, s:i, s:o}", "state",
	    leg_state_name((enum leg_state)l->state), "attempts", (int)l->attempts, "next",
	    l->state == LEG_WAITING ? report_time(l->next_ms) : json_null(), "code",
	    l->code <= LEGS_CODE_BASELINE ? 0 : (int)l->code, "note", report_text(slice_str(note)));
}

static void
put_envelope_rcpt(json_t *o, const struct spool_message *m, uint16_t index)
{
	struct envelope_rcpt r;

	if (m == NULL || spool_message_rcpt(m, index, &r) < 0)
		return;
	json_object_set_new(o, "rcpt", report_text(r.address));
	json_object_set_new(o, "user", report_text(r.user));
	json_object_set_new(o, "domain", report_text(r.domain));
	json_object_set_new(o, "shard", report_text(r.shard));
}

json_t *
report_recipient(struct spool *sp, const struct spool_entry *e, const struct spool_message *m)
{
	char id[MSGID_TEXT + 1];
	json_t *o = json_object();

	msgid_print(e->id, id);
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "rcpt_index", json_integer(e->rcpt_index));
	put_envelope_rcpt(o, m, e->rcpt_index);
	if (m != NULL)
		json_object_set_new(o, "sender", report_text(m->env.mail_from));
	json_object_set_new(o, "received", report_time(e->received_ms));
	json_object_set_new(o, "size", json_integer((json_int_t)e->size));
	json_object_set_new(o, "kind", json_string(kind_name(e->kind)));
	json_object_set_new(o, "class", json_integer(e->triage));
	json_object_set_new(o, "hold", report_leg(sp, e, LEG_HOLD));
	json_object_set_new(o, "forward", report_leg(sp, e, LEG_FORWARD));
	return o;
}

static json_t *
report_flags(uint32_t flags)
{
	static const struct { uint32_t bit; const char *name; } names[] = {
		{ ENV_BODY_8BIT, "body-8bit" }, { ENV_HAS_8BIT, "has-8bit" },
		{ ENV_SMTPUTF8, "smtputf8" }, { ENV_TLS, "tls" }, { ENV_HOLD_ONLY, "hold-only" },
		{ ENV_HAS_NUL, "has-nul" }, { ENV_REQUIRETLS, "requiretls" },
		{ ENV_TRUSTED, "trusted" }, { ENV_TAGGED, "tagged" }, { ENV_RECHECK, "recheck" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((flags & names[i].bit) != 0)
			json_array_append_new(list, json_string(names[i].name));
	return list;
}

static void
put_auth(json_t *o, const char *name, uint8_t r)
{
	json_object_set_new(o, name, json_string(auth_result_name((enum auth_result)r)));
}

json_t *
report_message(struct spool *sp, const struct spool_message *m, const struct spool_ref *ref,
    size_t nref)
{
	const struct envelope *v = &m->env;
	char id[MSGID_TEXT + 1];
	json_t *o = json_object(), *list = json_array();

	msgid_print(v->id, id);
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "received", report_time((int64_t)v->received_ms));
	json_object_set_new(o, "size", json_integer((json_int_t)v->body_size));
	json_object_set_new(o, "sender", report_text(v->mail_from));
	json_object_set_new(o, "client_ip", report_text(v->client_ip));
	json_object_set_new(o, "helo", report_text(v->helo));
	json_object_set_new(o, "flags", report_flags(v->flags));
	json_object_set_new(o, "reason", report_text(v->reason));
	json_object_set_new(o, "class", json_integer(v->triage));
	put_auth(o, "spf", v->spf);
	put_auth(o, "dkim", v->dkim);
	put_auth(o, "dmarc", v->dmarc);
	put_auth(o, "arc", v->arc);
	put_auth(o, "iprev", v->iprev);
	json_object_set_new(o, "trace", report_text(v->trace));
	json_object_set_new(o, "authres", report_text(v->authres));
	for (size_t i = 0; i < nref; i++) {
		struct spool_entry e;

		if (spool_get(sp, ref[i], &e) == 0)
			json_array_append_new(list, report_recipient(sp, &e, m));
	}
	json_object_set_new(o, "recipients", list);
	return o;
}

json_t *
report_balance(struct spool *sp, const struct failover_group *g)
{
	struct spool_sums s;

	spool_total(sp, g->id, &s);
	bool even = s.received == s.replayed + s.forwarded_only + s.bounced + s.dropped + s.held;
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
	    "domain", report_text(slice_str(g->domain)),
	    "shard", report_text(slice_str(g->shard)),
	    "received", (json_int_t)s.received, "replayed", (json_int_t)s.replayed,
	    "forwarded_only", (json_int_t)s.forwarded_only, "bounced", (json_int_t)s.bounced,
	    "dropped", (json_int_t)s.dropped, "held", (json_int_t)s.held,
	    "held_bytes", (json_int_t)s.held_bytes, "forwarded", (json_int_t)s.forwarded,
	    "forward_waiting", (json_int_t)s.forward_waiting,
	    "forward_failed", (json_int_t)s.forward_failed,
	    "forward_skipped", (json_int_t)s.forward_skipped, "balanced", (int)even);
}

json_t *
report_spool(struct spool *sp)
{
	struct spool_status s;

	spool_status(sp, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}",
	    "segments", (json_int_t)s.segments, "bytes", (json_int_t)s.bytes,
	    "bytes_free", (json_int_t)s.bytes_free, "commits", (json_int_t)s.commits,
	    "syncs", (json_int_t)s.syncs, "damaged", (json_int_t)s.damaged,
	    "full", (int)s.full, "oldest", report_time(s.oldest_ms));
}
