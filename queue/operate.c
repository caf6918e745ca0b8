// SPDX-License-Identifier: Apache-2.0
#include "queue/operate.h"

#include "base/mem.h"

const char *
operate_name(enum operate_verb v)
{
	static const char *const name[OPERATE_MAX] = { "hold", "release", "retry", "drop",
		"bounce", "again" };

	return v < OPERATE_MAX ? name[v] : "?";
}

/* ---- which ---- */

int
operate_state(const char *word, unsigned *out)
{
	static const char *const words[OPERATE_STATE] = { "", "all", "held", "on-hold", "refused",
		"backlog" };

	for (unsigned i = 0; i < OPERATE_STATE; i++) {
		if (strcmp(word, words[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	for (unsigned i = 0; i < LEG_STATE_MAX; i++) {
		if (strcmp(word, leg_state_name((enum leg_state)i)) == 0) {
			*out = OPERATE_STATE + i;
			return 0;
		}
	}
	return -1;
}

static bool
fits_state(unsigned state, const struct spool_entry *e)
{
	const struct spool_leg *h = &e->leg[LEG_HOLD], *f = &e->leg[LEG_FORWARD];
	bool held = !leg_settled((enum leg_state)h->state);

	if (state >= OPERATE_STATE)
		return h->state == state - OPERATE_STATE || f->state == state - OPERATE_STATE;
	if (state == OPERATE_ALL)
		return true;
	if (state == OPERATE_HELD)
		return held;
	if (state == OPERATE_ON_HOLD)
		return legs_on_hold(h);
	if (state == OPERATE_REFUSED)
		return h->state == LEG_PARKED && h->attempts > 0 && !legs_on_hold(h);
	if (state == OPERATE_BACKLOG)
		return legs_is_backlog(e);
	return held || !leg_settled((enum leg_state)f->state);
}

/* A domain without a shard means all its shards. */
static bool
fits_domain(const struct operate_filter *f, struct failover *fo, uint64_t group)
{
	char lower[256];

	if (f->domain == NULL)
		return true;
	const struct failover_group *g = failover_find(fo, group);
	if (g != NULL)
		return slice_ieq(slice_str(g->domain), slice_str(f->domain)) &&
		    (f->shard == NULL || strcmp(g->shard, f->shard) == 0);
	if (slice_cstr(slice_str(f->domain), lower, sizeof(lower)) < 0)
		return false;
	bytes_lower(lower, strlen(lower));
	return group == spool_group(slice_str(lower), SLICE_NONE);
}

bool
operate_fits_entry(const struct operate_filter *f, struct failover *fo,
    const struct spool_entry *e)
{
	if (f->user != 0 && e->user != f->user)
		return false;
	if ((f->from_ms != 0 && e->received_ms < f->from_ms) ||
	    (f->to_ms != 0 && e->received_ms > f->to_ms))
		return false;
	return fits_state(f->state, e) && fits_domain(f, fo, e->group);
}

bool
operate_needs_record(const struct operate_filter *f)
{
	return f->sender != NULL || f->client != NULL || f->match != NULL;
}

static bool
holds(struct slice in, struct slice part)
{
	for (size_t i = 0; i + part.n <= in.n; i++)
		if (slice_ieq(slice_sub(in, i, i + part.n), part))
			return true;
	return false;
}

static bool
fits_sender(const char *want, struct slice sender)
{
	struct slice w = slice_str(want);

	if (strcmp(want, "<>") == 0)
		return sender.n == 0;
	if (want[0] == '@')
		return sender.n >= w.n && slice_ieq(slice_sub(sender, sender.n - w.n, sender.n), w);
	return slice_ieq(sender, w);
}

static bool
fits_anywhere(const char *want, const struct spool_message *m, uint16_t rcpt_index)
{
	struct slice w = slice_str(want);
	struct envelope_rcpt r;
	char id[MSGID_TEXT + 1];

	msgid_print(m->env.id, id);
	if (w.n <= strlen(id) && slice_ieq(slice_make(id, w.n), w))
		return true;
	if (holds(m->env.mail_from, w) || holds(m->env.client_ip, w))
		return true;
	return spool_message_rcpt(m, rcpt_index, &r) == 0 && (holds(r.address, w) || holds(r.user, w));
}

bool
operate_fits_record(const struct operate_filter *f, const struct spool_message *m,
    uint16_t rcpt_index)
{
	if (f->sender != NULL && !fits_sender(f->sender, m->env.mail_from))
		return false;
	if (f->client != NULL && !slice_ieq(m->env.client_ip, slice_str(f->client)))
		return false;
	return f->match == NULL || fits_anywhere(f->match, m, rcpt_index);
}

static bool
only_group(const char *domain, struct failover *fo, uint64_t *out)
{
	size_t n = 0;
	char lower[256];

	for (size_t i = 0; i < failover_count(fo); i++) {
		const struct failover_group *g = failover_at(fo, i);

		if (slice_ieq(slice_str(g->domain), slice_str(domain))) {
			*out = g->id;
			n++;
		}
	}
	if (n > 0 || slice_cstr(slice_str(domain), lower, sizeof(lower)) < 0)
		return n == 1;
	bytes_lower(lower, strlen(lower));
	*out = spool_group(slice_str(lower), SLICE_NONE);
	return true;
}

void
operate_spool_filter(const struct operate_filter *f, struct failover *fo,
    struct spool_filter *out)
{
	*out = (struct spool_filter){ .user = f->user, .due_ms = INT64_MAX,
		.from_ms = f->from_ms, .to_ms = f->to_ms };
	if (f->sender != NULL) {
		struct slice sender = slice_str(strcmp(f->sender, "<>") == 0 ? "" : f->sender);

		out->sender_mask = f->sender[0] == '@' ? SPOOL_SENDER_DOMAIN : SPOOL_SENDER_ALL;
		out->sender = spool_sender(sender) & out->sender_mask;
	}
	if (f->domain != NULL && !only_group(f->domain, fo, &out->group))
		out->group = 0;
	if (f->state == OPERATE_HELD)
		out->states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
	else if (f->state > OPERATE_HELD && f->state < OPERATE_STATE)
		out->states[LEG_HOLD] = 1u << LEG_PARKED;
}

/* ---- what ---- */

static bool
leg_open(const struct spool_leg *l)
{
	return l->state == LEG_WAITING || l->state == LEG_PARKED;
}

static bool
hold_leg(const struct spool_entry *e, enum leg_kind leg, const char *note, struct legs_change *to)
{
	if (!leg_open(&e->leg[LEG_HOLD]) || !leg_open(&e->leg[leg]) || legs_on_hold(&e->leg[leg]))
		return false;
	/* The note of a forward leg is its token: a bounce of an earlier try needs it. */
	legs_end(e, leg, LEG_PARKED, LEGS_CODE_OPERATOR, leg == LEG_HOLD ?
	    SLICE_LIT(OPERATE_NOTE_HOLD) : slice_str(note), to);
	return true;
}

static bool
release_leg(const struct failover_group *g, const struct spool_entry *e, enum leg_kind leg,
    const char *note, int64_t now, struct legs_change *to)
{
	if (!legs_on_hold(&e->leg[leg]))
		return false;
	legs_end(e, leg, LEG_WAITING, 0, leg == LEG_HOLD ? SLICE_NONE : slice_str(note), to);
	to->leg.next_ms = now;
	if (leg == LEG_FORWARD)
		return true;
	to->leg.attempts = 0;
	/* Into the backlog while there is one: replay keeps the order. */
	if (e->kind == RCPT_USER && (g == NULL || !g->served || g->phase != PHASE_STANDBY)) {
		to->leg.state = LEG_PARKED;
		to->leg.next_ms = 0;
	}
	return true;
}

static bool
drop_leg(const struct spool_entry *e, enum leg_kind leg, struct legs_change *to)
{
	if (!leg_open(&e->leg[LEG_HOLD]) || !leg_open(&e->leg[leg]))
		return false;
	legs_end(e, leg, LEG_DROPPED, 0, SLICE_LIT("operator-drop"), to);
	return true;
}

bool
operate_leg(enum operate_verb v, const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, enum leg_kind leg, const char *note, int64_t now,
    struct legs_change *to)
{
	switch (v) {
	case OPERATE_HOLD:
		return hold_leg(e, leg, note, to);
	case OPERATE_RELEASE:
		return release_leg(g, e, leg, note, now, to);
	case OPERATE_RETRY:
		return legs_operator_retry(c, g, e, leg, note, now, to);
	case OPERATE_DROP:
		return drop_leg(e, leg, to);
	case OPERATE_AGAIN:	/* what was delivered when is the walk's business */
		return leg == LEG_HOLD && legs_again(e, 0, to);
	case OPERATE_BOUNCE:
		return leg == LEG_HOLD && legs_operator_bounce(e, note, now, to);
	case OPERATE_MAX:
		break;
	}
	return false;
}
