// SPDX-License-Identifier: Apache-2.0
/*
 * A spool in memory behind the functions of queue/spool.h, for tests of what sits on it:
 * included by a test program, it is linked instead of queue/spool*.c. No disk, no
 * segments; commits complete when the test says so.
 */
#ifndef TESTS_QUEUE_SPOOL_DOUBLE_H
#define TESTS_QUEUE_SPOOL_DOUBLE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"
#include "queue/spool.h"

enum { DOUBLE_NOTE = 97 };

struct double_message {
	char	*env;		/* owned */
	size_t	 n;
	int	 body;		/* owned */
};

struct double_entry {
	struct spool_entry	 e;
	char			 note[LEG_KIND_MAX][DOUBLE_NOTE];
	struct double_message	*m;	/* may be NULL: made by double_add */
};

struct double_pending {		/* seen by nobody before it completes */
	struct double_message	*m;
	struct spool_birth	 birth[16];
	spool_commit_fn		*fn;
	void			*arg;
};

struct spool {
	struct double_entry	*entry;
	size_t			 n;
	struct double_message	*message[4096];
	size_t			 nmessage;
	struct double_pending	 pending[256];
	size_t			 npending;
	bool			 hold_commits;	/* wait for double_complete */
	enum queue_commit_status answer;	/* of commits */
	uint64_t		 sets, scanned;
	int64_t			 now_ms, mono_ms, clock_shift;	/* spool_now; not kept */
	struct loop		*loop;
	int64_t			 read_ms;	/* how long the disk takes; 0: all is in memory */
	unsigned		 reading;
	int			 read_error;	/* errno of fetches; 0: they succeed */
};

const char *
leg_state_name(enum leg_state s)
{
	static const char *const names[LEG_STATE_MAX] = { "absent", "parked", "waiting",
		"delivered", "failed", "skipped", "dropped" };

	return s < LEG_STATE_MAX ? names[s] : "?";
}

bool
leg_settled(enum leg_state s)
{
	return s != LEG_PARKED && s != LEG_WAITING;
}

static uint64_t
double_hash(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3ULL;
	return h == 0 ? 1 : h;
}

uint64_t
spool_group(struct slice domain, struct slice shard)
{
	return double_hash(double_hash(0xcbf29ce484222325ULL, domain) ^ 0x5555, shard);
}

uint64_t
spool_user(struct slice user)
{
	return double_hash(0xcbf29ce484222325ULL, user);
}

uint32_t
spool_sender(struct slice address)
{
	(void)address;
	return 0;
}

struct spool *
spool_open(struct loop *l, const struct conf *c, const struct store_ops *ops, const char *where,
    bool read_only)
{
	struct spool *sp = mem_new(sizeof(*sp));

	(void)c;
	(void)ops;
	(void)where;
	(void)read_only;
	sp->loop = l;
	return sp;
}

static void double_complete(struct spool *sp);

void
spool_close(struct spool **spp)
{
	struct spool *sp = *spp;

	*spp = NULL;
	if (sp == NULL)
		return;
	double_complete(sp);
	for (size_t i = 0; i < sp->nmessage; i++) {
		if (sp->message[i]->body >= 0)
			close(sp->message[i]->body);
		free(sp->message[i]->env);
		free(sp->message[i]);
	}
	free(sp->entry);
	free(sp);
}

void
spool_reload(struct spool *sp, const struct conf *c)
{
	(void)sp;
	(void)c;
}

/* ref {1, index + 1}: an entry 0 would make a cursor ambiguous. */
static struct double_entry *
double_at(struct spool *sp, struct spool_ref ref)
{
	return ref.segment != 1 || ref.entry == 0 || ref.entry > sp->n ? NULL :
	    &sp->entry[ref.entry - 1];
}

static struct spool_ref
double_add(struct spool *sp, const struct spool_entry *e)
{
	if ((sp->n & (sp->n - 1)) == 0)
		sp->entry = mem_resize(sp->entry, sp->n == 0 ? 1 : sp->n * 2, sizeof(*sp->entry));
	struct double_entry *d = &sp->entry[sp->n];

	memset(d, 0, sizeof(*d));
	d->e = *e;
	d->e.ref = (struct spool_ref){ 1, (uint32_t)++sp->n };
	return d->e.ref;
}

static void
double_recipient(struct spool *sp, struct double_message *m, const struct envelope *v,
    const struct envelope_rcpt *r, uint16_t index, const struct spool_birth *b)
{
	struct spool_entry e = { .id = v->id, .rcpt_index = index, .kind = r->kind,
		.triage = v->triage, .hold_only = (v->flags & ENV_HOLD_ONLY) != 0,
		.group = spool_group(r->domain, r->shard), .user = spool_user(r->user),
		.received_ms = (int64_t)v->received_ms, .size = v->body_size };

	e.leg[LEG_HOLD].state = b->hold;
	e.leg[LEG_FORWARD].state = b->forward;
	struct spool_ref ref = double_add(sp, &e);
	sp->entry[ref.entry - 1].m = m;
}

static void
double_finish(struct spool *sp, const struct double_pending *p)
{
	struct spool_ref ref[16];
	struct envelope v;
	struct envelope_rcpt r;
	uint16_t n = 0;

	CHECK(wire_get(slice_make(p->m->env, p->m->n), &envelope_wire, &v) == 0);
	struct slice list = v.rcpts;
	while (sp->answer == COMMIT_OK && wire_item_next(&list, &envelope_rcpt_wire, &r) == 1) {
		double_recipient(sp, p->m, &v, &r, n, &p->birth[n]);
		ref[n++] = sp->entry[sp->n - 1].e.ref;
	}
	p->fn(p->arg, sp->answer, ref, n);
}

static void
double_complete(struct spool *sp)
{
	for (size_t i = 0; i < sp->npending; i++)
		double_finish(sp, &sp->pending[i]);
	sp->npending = 0;
}

void
spool_commit(struct spool *sp, struct slice envelope, int body_fd, const struct spool_birth *birth,
    size_t nrcpt, spool_commit_fn *fn, void *arg)
{
	struct double_message *m = mem_new(sizeof(*m));
	struct double_pending *p = &sp->pending[sp->npending++];

	CHECK(nrcpt <= 16);
	m->env = slice_dup(envelope);
	m->n = envelope.n;
	m->body = dup(body_fd);
	sp->message[sp->nmessage++] = m;
	*p = (struct double_pending){ .m = m, .fn = fn, .arg = arg };
	memcpy(p->birth, birth, nrcpt * sizeof(*birth));
	if (!sp->hold_commits)
		double_complete(sp);
}

/* As the real one: the wall clock, but never with a jump. */
int64_t
spool_now(struct spool *sp)
{
	int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
	int64_t now = sp->now_ms == 0 ? wall : sp->now_ms + (mono - sp->mono_ms);
	int64_t off = wall + sp->clock_shift - now;

	if (off <= 120000 && off >= -120000)
		now = wall + sp->clock_shift;
	else
		sp->clock_shift = now - wall;
	sp->now_ms = now;
	sp->mono_ms = mono;
	return now;
}

int64_t
spool_shift(struct spool *sp)
{
	(void)spool_now(sp);
	return sp->clock_shift;
}

int
spool_get(struct spool *sp, struct spool_ref ref, struct spool_entry *out)
{
	struct double_entry *d = double_at(sp, ref);

	if (d == NULL)
		return -1;
	*out = d->e;
	return 0;
}

int
spool_set(struct spool *sp, struct spool_ref ref, enum leg_kind leg, const struct spool_leg *now,
    struct slice note)
{
	struct double_entry *d = double_at(sp, ref);

	if (d == NULL)
		return -1;
	sp->sets++;
	d->e.leg[leg] = *now;
	CHECK(note.n < DOUBLE_NOTE && slice_find(note, '@') == note.n);	/* P4 */
	if (note.n > 0)
		(void)slice_cstr(note, d->note[leg], DOUBLE_NOTE);
	return 0;
}

int
spool_note(struct spool *sp, struct spool_ref ref, enum leg_kind leg, char *out, size_t cap)
{
	struct double_entry *d = double_at(sp, ref);

	return d == NULL ? -1 : slice_cstr(slice_str(d->note[leg]), out, cap);
}

int
spool_read(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out)
{
	struct double_entry *d = double_at(sp, ref);

	if (d == NULL || d->m == NULL)
		return -1;
	*out = (struct spool_message){ .body_fd = -1 };
	buf_init(&out->raw, ENVELOPE_MAX);
	CHECK(buf_put(&out->raw, d->m->env, d->m->n) == 0);
	CHECK(wire_get(buf_slice(&out->raw), &envelope_wire, &out->env) == 0);
	if (with_body)
		out->body_fd = dup(d->m->body);
	return 0;
}

int
spool_recent(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out)
{
	return sp->read_ms > 0 ? -1 : spool_read(sp, ref, with_body, out);
}

struct spool_fetch {
	struct spool	*sp;
	spool_fetch_fn	*fn;	/* NULL: cancelled */
	void		*arg;
	struct spool_ref ref;
	bool		 with_body;
	struct timer	*timer;
};

static void
double_fetched(void *arg)
{
	struct spool_fetch *f = arg;
	struct spool *sp = f->sp;
	struct spool_message m;
	int error = sp->read_error;

	if (error == 0 && spool_read(sp, f->ref, f->with_body, &m) != 0)
		error = ENOENT;
	sp->reading--;
	if (f->fn != NULL)
		f->fn(f->arg, error, error == 0 ? &m : NULL);
	else if (error == 0)
		spool_message_fini(&m);
	timer_free(&f->timer);
	free(f);
}

/* Without read_ms everything is recent here. */
struct spool_fetch *
spool_fetch(struct spool *sp, struct spool_ref ref, bool with_body, spool_fetch_fn *fn, void *arg)
{
	if (sp->read_ms == 0 || sp->loop == NULL) {
		errno = ENOENT;
		return NULL;
	}
	struct spool_fetch *f = mem_new(sizeof(*f));
	*f = (struct spool_fetch){ .sp = sp, .fn = fn, .arg = arg, .ref = ref,
	    .with_body = with_body };
	f->timer = timer_new(sp->loop, double_fetched, f);
	timer_arm(f->timer, sp->read_ms);
	sp->reading++;
	return f;
}

void
spool_fetch_cancel(struct spool_fetch **fp)
{
	if (*fp != NULL)
		(*fp)->fn = NULL;
	*fp = NULL;
}

void
spool_message_fini(struct spool_message *m)
{
	buf_fini(&m->raw);
	if (m->body_fd >= 0)
		close(m->body_fd);
	m->body_fd = -1;
}

int
spool_message_rcpt(const struct spool_message *m, uint16_t index, struct envelope_rcpt *out)
{
	struct slice list = m->env.rcpts;

	for (unsigned i = 0; wire_item_next(&list, &envelope_rcpt_wire, out) == 1; i++)
		if (i == index)
			return 0;
	return -1;
}

static bool
double_matches(const struct spool_filter *f, const struct spool_entry *e)
{
	if ((f->group != 0 && f->group != e->group) || (f->user != 0 && f->user != e->user))
		return false;
	if ((f->from_ms != 0 && e->received_ms < f->from_ms) ||
	    (f->to_ms != 0 && e->received_ms > f->to_ms))
		return false;
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		if (f->states[leg] != 0 && (f->states[leg] >> e->leg[leg].state & 1) == 0)
			return false;
		if (f->states[leg] != 0 && e->leg[leg].state == LEG_WAITING &&
		    e->leg[leg].next_ms > f->due_ms)
			return false;
	}
	return true;
}

size_t
spool_scan(struct spool *sp, struct spool_cursor *c, const struct spool_filter *f, size_t budget,
    spool_scan_fn *fn, void *arg, bool *end)
{
	size_t looked = 0, at = c->segment == 0 ? 0 : c->entry;	/* next index to look at */
	bool go = true;

	while (go && at < sp->n && looked < budget) {
		struct spool_entry e = sp->entry[at++].e;

		looked++;
		c->segment = 1;
		c->entry = (uint32_t)at;
		if (double_matches(f, &e))
			go = fn(arg, &e);
	}
	sp->scanned += looked;
	*end = at >= sp->n;
	return looked;
}

int64_t
spool_next_due(struct spool *sp, enum leg_kind leg)
{
	int64_t t = INT64_MAX;

	for (size_t i = 0; i < sp->n; i++)
		if (sp->entry[i].e.leg[leg].state == LEG_WAITING &&
		    sp->entry[i].e.leg[leg].next_ms < t)
			t = sp->entry[i].e.leg[leg].next_ms;
	return t;
}

void
spool_total(struct spool *sp, uint64_t group, struct spool_sums *out)
{
	*out = (struct spool_sums){ 0 };
	for (size_t i = 0; i < sp->n; i++) {
		const struct spool_entry *e = &sp->entry[i].e;
		uint8_t h = e->leg[LEG_HOLD].state, w = e->leg[LEG_FORWARD].state;

		if (group != 0 && e->group != group)
			continue;
		out->received++;
		out->replayed += h == LEG_DELIVERED;
		out->held += !leg_settled((enum leg_state)h);
		out->bounced += h == LEG_FAILED;
		out->dropped += h == LEG_DROPPED;
		out->forwarded_only += h == LEG_SKIPPED;
		out->forwarded += w == LEG_DELIVERED;
		out->forward_waiting += w == LEG_WAITING;
		out->forward_failed += w == LEG_FAILED;
		out->forward_skipped += w == LEG_SKIPPED;
	}
}

int
spool_find(struct spool *sp, struct msgid id, struct spool_ref *refs, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < sp->n && n < max; i++)
		if (memcmp(&sp->entry[i].e.id, &id, sizeof(id)) == 0)
			refs[n++] = sp->entry[i].e.ref;
	return (int)n;
}

int
spool_find_rcpt(struct spool *sp, struct msgid id, uint16_t rcpt_index, enum rcpt_kind kind,
    struct spool_ref *out)
{
	for (size_t i = 0; i < sp->n; i++) {
		const struct spool_entry *e = &sp->entry[i].e;

		if (memcmp(&e->id, &id, sizeof(id)) == 0 && e->rcpt_index == rcpt_index &&
		    e->kind == kind) {
			*out = e->ref;
			return 0;
		}
	}
	return -1;
}

void
spool_status(struct spool *sp, struct spool_status *out)
{
	*out = (struct spool_status){ .segments = 1, .commits = sp->nmessage };
}

#endif
