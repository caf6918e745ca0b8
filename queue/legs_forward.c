// SPDX-License-Identifier: Apache-2.0
#include "queue/legs_forward.h"

#include <stdio.h>
#include <string.h>

#include "queue/baseline.h"

/* ---- the note ---- */

static const uint8_t note_classes[] = { REPLY_AUTH, REPLY_STRUCTURE, REPLY_ADDR };

void
forward_note_read(const char *note, struct forward_note *out)
{
	struct slice rest = slice_str(note), word;
	size_t sp = slice_find(rest, ' ');

	memset(out, 0, sizeof(*out));
	if (sp != LEGS_TOKEN_LEN)
		return;
	if (rest.p[0] != '-')	/* a leg without a token (return-path = null) has dashes */
		(void)slice_cstr(slice_sub(rest, 0, sp), out->token, sizeof(out->token));
	for (rest = slice_sub(rest, sp + 1, rest.n); rest.n > 0;
	    rest = slice_sub(rest, sp + 1, rest.n)) {
		sp = slice_find(rest, ' ');
		word = slice_sub(rest, 0, sp);
		if (slice_eq(word, SLICE_LIT("changed")))
			out->changed = true;
		for (size_t i = 0; i < sizeof(note_classes); i++)
			if (slice_eq(word, slice_str(reply_class_name(note_classes[i]))))
				out->refused = note_classes[i];
	}
}

void
forward_note_print(const struct forward_note *n, char out[LEGS_NOTE_MAX])
{
	bool refused = n->refused != REPLY_OK;

	(void)snprintf(out, LEGS_NOTE_MAX, "%s%s%s%s", n->token[0] != '\0' ? n->token :
	    refused || n->changed ? "------------------------" : "", refused ? " " : "",
	    refused ? reply_class_name(n->refused) : "", n->changed ? " changed" : "");
}

/* ---- time ---- */

unsigned
forward_class(const struct conf *c, const struct spool_entry *e, int64_t now)
{
	if (e->triage == 0 && now - (e->received_ms + e->shift_ms) > c->urgent_ttl_ms)
		return 2;
	return e->triage > 3 ? 3 : e->triage;
}

int64_t
forward_ends_ms(const struct conf *c, const struct spool_entry *e)
{
	return e->received_ms + e->shift_ms + (e->triage == 1 ? c->personal_ttl_ms :
	    e->triage == 3 ? c->bulk_ttl_ms : c->forward_ttl_ms);
}

int64_t
forward_backoff(const struct conf *c, unsigned failures, uint32_t random)
{
	static const unsigned times[] = { 1, 2, 4, 8, 15, 30, 60 };
	size_t n = sizeof(times) / sizeof(times[0]), i = failures == 0 ? 0 : failures - 1;
	int64_t t = c->retry_min_ms * times[i < n ? i : n - 1];

	if (t > c->retry_max_ms)
		t = c->retry_max_ms;
	return t - t / 5 + (int64_t)((double)(t * 2 / 5) * ((double)random / UINT32_MAX));
}

/* ---- changes ---- */

void
forward_put_off_to(const struct conf *c, const struct spool_entry *e, const char *note,
    int64_t until, int64_t now, struct legs_change *to)
{
	int64_t ends = forward_ends_ms(c, e) + 1;

	if (until > now + LEGS_PUT_OFF_MAX_MS)
		until = now + LEGS_PUT_OFF_MAX_MS;
	if (until > ends && ends > now)
		until = ends;
	legs_end(e, LEG_FORWARD, LEG_WAITING, e->leg[LEG_FORWARD].code, slice_str(note), to);
	to->leg.next_ms = until;
}

static void
tried(const struct forward_reply *f, struct legs_change *to)
{
	if (to->leg.attempts < UINT16_MAX)
		to->leg.attempts++;
	if (to->leg.state != LEG_WAITING || !baseline_leg(f->e))
		to->leg.code = f->r->code;
}

/* "refused nouser 5.1.1": a class and codes, never the text (12.4). */
static enum legs_after
fail(const struct forward_reply *f, enum leg_state st, const char *what, struct legs_change *to)
{
	const char *class = reply_class_name(f->verdict.class);
	bool known = f->verdict.class != REPLY_PERM && f->verdict.class != REPLY_TEMP;
	char note[LEGS_NOTE_MAX];

	(void)snprintf(note, sizeof(note), "%s%s%s %.*s", what, known ? " " : "",
	    known ? class : "", f->r->enhanced.n > 12 ? 12 : SLICE_FMT(f->r->enhanced));
	legs_end(f->e, LEG_FORWARD, st, f->r->code, slice_trim(slice_str(note)), to);
	tried(f, to);
	return LEGS_DONE;
}

static enum legs_after
again(const struct forward_reply *f, const struct forward_note *n, int64_t until,
    struct legs_change *to)
{
	char note[LEGS_NOTE_MAX];

	forward_note_print(n, note);
	forward_put_off_to(f->conf, f->e, note, until, f->now, to);
	tried(f, to);
	return LEGS_RETRY;
}

static bool
switched_off(const struct forward_reply *f)
{
	return f->group != NULL && f->group->phase != PHASE_ACTIVE &&
	    !baseline_runs(f->conf, f->group, f->e);
}

static enum legs_after
later(const struct forward_reply *f, struct legs_change *to)
{
	unsigned n = f->e->leg[LEG_FORWARD].attempts + 1u;

	if (switched_off(f)) {
		legs_end(f->e, LEG_FORWARD, LEG_SKIPPED, f->r->code, SLICE_LIT(LEGS_NOTE_OFF), to);
		return LEGS_DONE;
	}
	if (f->now > forward_ends_ms(f->conf, f->e)) {
		legs_end(f->e, LEG_FORWARD, LEG_FAILED, f->r->code, SLICE_LIT(LEGS_NOTE_EXPIRED), to);
		return LEGS_DONE;
	}
	return again(f, &f->note, f->until > f->now ? f->until :
	    f->now + forward_backoff(f->conf, n, f->random), to);
}

/* 7.5, 7.6: once in another form, whether it was 4yz or 5yz. */
static enum legs_after
transform(const struct forward_reply *f, struct legs_change *to)
{
	struct forward_note n = f->note;

	if (n.changed || n.refused != REPLY_OK)
		return f->verdict.closed ? fail(f, LEG_FAILED, "refused", to) : later(f, to);
	n.refused = f->verdict.class;
	return again(f, &n, f->now, to);
}

static enum legs_after
by_class(const struct forward_reply *f, struct legs_change *to)
{
	switch ((enum reply_class)f->verdict.class) {
	case REPLY_OK:
		legs_end(f->e, LEG_FORWARD, LEG_DELIVERED, f->r->code, slice_str(f->note.token), to);
		tried(f, to);
		return LEGS_DONE;
	case REPLY_AUTH:
	case REPLY_STRUCTURE:
	case REPLY_ADDR:
		return transform(f, to);
	case REPLY_USERRATE:
		if (f->e->triage == 3)	/* bulk is dropped to hold */
			return fail(f, LEG_SKIPPED, "held", to);
		break;
	case REPLY_RATE:
	case REPLY_BLOCK:
	case REPLY_FULL:
	case REPLY_SETUP:
	case REPLY_NOUSER:
	case REPLY_SPAM:
	case REPLY_SIZE:
	case REPLY_LOOP:
	case REPLY_PERM:
	case REPLY_TEMP:
	case REPLY_CLASS_MAX:
		break;
	}
	return f->verdict.closed ? fail(f, LEG_FAILED, "refused", to) : later(f, to);	/* 8.5 */
}

/* One word about the host and not about this message, this mailbox or our rate. */
static bool
host_failed(const struct forward_reply *f)
{
	return f->r->scope == SCOPE_HOST && (f->verdict.class == REPLY_TEMP ||
	    f->verdict.class == REPLY_PERM);
}

enum legs_after
forward_result(const struct forward_reply *f, struct legs_change *to)
{
	switch ((enum deliver_outcome)f->r->outcome) {
	case DELIVER_OK:
		return by_class(f, to);
	case DELIVER_TEMP:
	case DELIVER_PERM:
		if (switched_off(f) && !f->verdict.closed)
			return later(f, to);
		if (host_failed(f) && (f->r->outcome == DELIVER_TEMP || f->r->code != 0))
			return f->now > forward_ends_ms(f->conf, f->e) ? later(f, to) : LEGS_HOST;
		return by_class(f, to);
	case DELIVER_UNKNOWN:
		return later(f, to);
	case DELIVER_LOCAL:
		return fail(f, LEG_FAILED, "not-sendable", to);
	case DELIVER_MAX:
		break;
	}
	return LEGS_HOST;
}
