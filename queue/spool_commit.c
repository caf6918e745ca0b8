// SPDX-License-Identifier: Apache-2.0
/*
 * The way of a message to the disk. COMMIT_OK leaves from one place, on_append,
 * after the store said that the record is stable. Each commit is answered within
 * SPOOL_DEADLINE_MS whatever the disk does.
 *
 * When an append fails or its outcome is unknown, its segment takes no more and
 * ends where it was last known good; what was in flight is written once more, into
 * a new segment whose first record names the failed one and its end, so that a
 * crash in between does not count those messages twice. When that fails too, new
 * commits fail at once for a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_priv.h"

static void place(struct spool *sp, struct commit *c);

static void
unlink_pending(struct spool *sp, struct commit *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		sp->pending = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		sp->pending_last = c->prev;
	sp->npending--;
	sp->pending_bytes -= c->nbuf;
}

static void
commit_free(struct commit *c)
{
	unlink_pending(c->sp, c);
	if (c->body_fd >= 0)
		close(c->body_fd);
	free(c->buf);
	free(c->entry);
	free(c->group);
	free(c);
}

/* The callee may commit again. */
static void
answer(struct commit *c, enum queue_commit_status st, const struct spool_ref *ref, size_t n)
{
	if (c->answered)
		return;
	c->answered = true;
	if (c->fn != NULL)
		c->fn(c->arg, st, ref, n);
}

static void
fail(struct commit *c, enum queue_commit_status st)
{
	answer(c, st, NULL, 0);
	commit_free(c);
}

/* Answers that need no disk are given after the caller has returned. */
void
commit_finish(void *arg)
{
	struct spool *sp = arg;
	struct commit *c = sp->finish;

	sp->finish = NULL;
	sp->finish_tail = &sp->finish;
	while (c != NULL) {
		struct commit *next = c->wait_next;
		fail(c, c->verdict);
		c = next;
	}
}

static void
fail_later(struct spool *sp, struct commit *c, enum queue_commit_status st)
{
	c->verdict = st;
	c->wait_next = NULL;
	*sp->finish_tail = c;
	sp->finish_tail = &c->wait_next;
	timer_arm(sp->finisher, 0);
}

bool
spool_is_full(struct spool *sp, uint64_t more)
{
	struct store_health h;
	int64_t now = clock_mono_ms();

	if (now - sp->space_checked_ms >= SPOOL_TICK_MS || now < sp->space_checked_ms) {
		if (sp->ops->health(sp->store, &h) == 0) {
			sp->space_free = h.bytes_free;
			sp->space_used = 0;
			sp->space_checked_ms = now;
		}
	}
	bool full = sp->space_free < sp->disk_reserve + sp->space_used + more;
	if (full != sp->full) {
		sp->full = full;
		if (full)
			log_warn("spool-full", "free=%llu reserve=%llu effect=\"new mail gets 452\"",
			    (unsigned long long)sp->space_free,
			    (unsigned long long)sp->disk_reserve);
		else
			log_info("spool-space", "free=%llu", (unsigned long long)sp->space_free);
	}
	return full;
}

static bool
take_entry(struct commit *c, const struct envelope *env, const struct spool_birth *birth,
    const struct envelope_rcpt *r, uint16_t i)
{
	struct entry *e = &c->entry[i];

	if (birth[i].hold >= LEG_STATE_MAX || birth[i].forward >= LEG_STATE_MAX)
		return false;
	*e = (struct entry){
		.id = env->id, .rcpt = i, .kind = r->kind, .triage = env->triage,
		.hold_only = (env->flags & ENV_HOLD_ONLY) != 0, .size = c->rec.size,
		.user = spool_user(r->user), .sender = spool_sender(env->mail_from),
		.received_ms = (int64_t)env->received_ms,
		.leg = { { .state = birth[i].hold }, { .state = birth[i].forward } },
	};
	c->group[i] = spool_group(r->domain, r->shard);
	if (birth[i].hold == LEG_PARKED)
		c->cls = STORE_HELD;
	return true;
}

/* What the index will say of each recipient. */
static int
take_envelope(struct commit *c, struct slice envelope, const struct spool_birth *birth)
{
	struct envelope env;
	struct envelope_rcpt r;
	uint16_t i = 0;
	int rc;

	if (envelope_get(envelope, &env) != 0)
		return -1;
	c->rec.id = env.id;
	c->entry = mem_array(c->rec.nrcpt, sizeof(*c->entry));
	c->group = mem_array(c->rec.nrcpt, sizeof(*c->group));
	while ((rc = wire_item_next(&env.rcpts, &envelope_rcpt_wire, &r)) == 1) {
		if (i == c->rec.nrcpt || !take_entry(c, &env, birth, &r, i))
			return -1;
		i++;
	}
	return rc == 0 && i == c->rec.nrcpt ? 0 : -1;
}

static int
take_body(struct commit *c, int body_fd)
{
	struct stat st;
	struct slice map;
	bool small;

	/* A peer that could still write to it would make our checksum a lie. */
	const int need = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(body_fd, F_GET_SEALS);
	if (seals < 0 || (seals & need) != need || fstat(body_fd, &st) != 0 || st.st_size < 0 ||
	    (uint64_t)st.st_size >> BODY_MAX_BITS != 0)
		return -1;
	/* A kept body is worth less than a new one. */
	do
		c->body_fd = fcntl(body_fd, F_DUPFD_CLOEXEC, 0);
	while (c->body_fd < 0 && errno == EMFILE && cache_evict(c->sp));
	if (c->body_fd < 0)
		return -1;
	c->rec.body_len = (uint64_t)st.st_size;
	c->rec.size = (uint32_t)st.st_size;
	small = c->rec.body_len <= SPOOL_INLINE;
	c->streamed = !small;
	if (small)
		return 0;
	if (body_map(body_fd, &map) != 0)
		return -1;
	c->rec.crc_body = crc32c(0, map.p, map.n);
	body_unmap(&map);
	return 0;
}

/* Head (filled in at submission), births, envelope, then the body if it is small. */
static int
encode(struct commit *c, struct slice envelope, const struct spool_birth *birth)
{
	size_t meta = record_meta_len(&c->rec), body = c->streamed ? 0 : c->rec.body_len;
	size_t n = RECORD_HEAD + meta + body;

	c->buf = malloc(n + RECORD_ALIGN);
	if (c->buf == NULL)
		return -1;
	uint8_t *p = c->buf + RECORD_HEAD;
	for (uint16_t i = 0; i < c->rec.nrcpt; i++)
		*p++ = birth_put(birth[i]);
	memcpy(p, envelope.p, envelope.n);
	p += envelope.n;
	if (body > 0 && pread(c->body_fd, p, body, 0) != (ssize_t)body)
		return -1;
	if (!c->streamed) {
		c->rec.crc_body = crc32c(0, p, body);
		memset(p + body, 0, RECORD_ALIGN);
		n = record_len(&c->rec);
	}
	c->nbuf = n;
	c->sp->pending_bytes += n;
	return 0;
}

static struct commit *
commit_new(struct spool *sp, spool_commit_fn *fn, void *arg)
{
	struct commit *c = mem_new(sizeof(*c));

	c->sp = sp;
	c->fn = fn;
	c->arg = arg;
	c->body_fd = -1;
	c->cls = STORE_RELAY;
	c->deadline_ms = clock_mono_ms() + SPOOL_DEADLINE_MS;
	c->prev = sp->pending_last;
	if (c->prev != NULL)
		c->prev->next = c;
	else
		sp->pending = c;
	sp->pending_last = c;
	sp->npending++;
	return c;
}

void
spool_commit(struct spool *sp, struct slice envelope, int body_fd,
    const struct spool_birth *birth, size_t nrcpt, spool_commit_fn *fn, void *arg)
{
	struct commit *c = commit_new(sp, fn, arg);

	c->rec.type = RECORD_MESSAGE;
	c->rec.nrcpt = (uint16_t)nrcpt;
	c->rec.env_len = (uint32_t)envelope.n;
	if (sp->read_only || sp->fenced || sp->closing || sp->npending > SPOOL_PENDING_MAX ||
	    sp->pending_bytes > SPOOL_PENDING_BYTES ||
	    clock_mono_ms() < sp->broken_until_ms) {
		fail_later(sp, c, COMMIT_ERROR);
	} else if (nrcpt == 0 || nrcpt > UINT16_MAX || envelope.n > ENVELOPE_MAX ||
	    take_body(c, body_fd) != 0 || take_envelope(c, envelope, birth) != 0 ||
	    encode(c, envelope, birth) != 0) {
		log_error("spool-commit", "problem=\"bad envelope or body\" errno=%d", errno);
		fail_later(sp, c, COMMIT_ERROR);
	} else if (spool_is_full(sp, record_len(&c->rec))) {
		fail_later(sp, c, COMMIT_FULL);
	} else {
		(void)spool_now(sp);	/* after a jump this is for another segment */
		place(sp, c);
		if (!sp->watching) {
			sp->watching = true;
			timer_arm(sp->watchdog, SPOOL_DEADLINE_MS / 8);
		}
	}
}

static bool
fits(struct spool *sp, struct seg *s, struct commit *c)
{
	if (s->end > SEGMENT_HEAD && s->end + record_len(&c->rec) > sp->segment_size)
		return false;
	if (s->next_entry > 0 && s->next_entry + c->rec.nrcpt > SPOOL_ENTRIES_MAX)
		return false;
	for (uint16_t i = 0; i < c->rec.nrcpt; i++) {
		int slot = balance_slot(s, c->group[i]);
		if (slot < 0)
			return false;
		c->entry[i].slot = (uint16_t)slot;
	}
	return true;
}

static void
wait_for_segment(struct spool *sp, struct commit *c)
{
	c->wait_next = NULL;
	c->seg = NULL;
	*sp->waiting_tail[c->cls] = c;
	sp->waiting_tail[c->cls] = &c->wait_next;
}

static void
on_created(void *arg, enum store_result r)
{
	struct seg *s = arg;

	commit_created(s->sp, s, r);
}

static void
create(struct spool *sp, enum store_class cls)
{
	uint8_t head[SEGMENT_HEAD];
	struct seg *s = seg_new(sp, sp->next_segment++);

	s->cls = cls;
	s->state = SEG_CREATING;
	crypto_random(&s->stamp, sizeof(s->stamp));
	s->shift_ms = spool_shift(sp);
	s->created_ms = clock_wall_ms();
	s->end = s->good_end = s->prg_end = SEGMENT_HEAD;
	seg_insert(sp, s);
	sp->creating[cls] = s;
	segment_head_put(head, &(struct segment_head){
	    .segment = s->no, .stamp = s->stamp, .cls = s->cls, .created_ms = s->created_ms,
	    .shift_ms = s->shift_ms });
	/* With little room left no space is taken ahead. */
	uint64_t ahead = sp->space_free / 4 > sp->disk_reserve + sp->segment_size ?
	    sp->segment_size : 0;
	sp->ops->create(sp->store, s->no, cls, slice_make(head, sizeof(head)), ahead,
	    on_created, s);
}

static void
add_entries(struct spool *sp, struct commit *c, struct spool_ref *ref)
{
	struct seg *s = c->seg;

	index_reserve(s, c->rec.first_entry + c->rec.nrcpt);
	for (uint16_t i = 0; i < c->rec.nrcpt; i++) {
		struct entry *e = &c->entry[i];
		uint32_t at = c->rec.first_entry + i;
		e->off8 = (uint32_t)(c->off / RECORD_ALIGN);
		/* Too late: the client was told to come again, so this copy is void. */
		e->empty = c->answered;
		CHECK(at == s->count && index_put(sp, s, at, e) == 0);
		s->count++;
		s->bodies++;
		if (c->answered)
			progress_log(sp, s, &(struct progress){ .kind = PROGRESS_VOID,
			    .entry = at, .check = entry_check(e) });
		balance_add(sp, s, e, 1);
		ref[i] = (struct spool_ref){ s->no, at };
	}
	if (memcmp(c->rec.id.b, s->min.b, MSGID_LEN) < 0)
		s->min = c->rec.id;
	if (memcmp(c->rec.id.b, s->max.b, MSGID_LEN) > 0)
		s->max = c->rec.id;
}

static void
on_success(struct spool *sp, struct commit *c)
{
	struct seg *s = c->seg;

	s->good_end = c->off + record_len(&c->rec);
	if (c->rec.nrcpt == 0) {
		commit_free(c);
		return;
	}
	struct spool_ref *ref = mem_array(c->rec.nrcpt, sizeof(*ref));
	add_entries(sp, c, ref);
	sp->commits++;
	if (!c->answered)
		cache_put(sp, c);
	answer(c, COMMIT_OK, ref, c->rec.nrcpt);
	free(ref);
	commit_free(c);
}

static void
abandon_segment(struct spool *sp, struct seg *s, enum store_result r)
{
	if (s->failed)
		return;
	s->failed = true;
	s->next_entry = s->count;
	log_error("spool-abandon", "segment=%llu end=%llu result=%s", (unsigned long long)s->no,
	    (unsigned long long)s->good_end, store_result_name(r));
	if (r == STORE_FENCED)
		sp->fenced = true;
	house_close_seg(sp, s);
}

static void
on_failure(struct spool *sp, struct commit *c, enum store_result r)
{
	abandon_segment(sp, c->seg, r);
	c->seg = NULL;
	if (r == STORE_FULL) {
		sp->space_checked_ms = INT64_MIN / 2;
		fail(c, COMMIT_FULL);
	} else if (c->fn == NULL || c->answered || c->retried || sp->fenced) {
		if (c->retried)
			sp->broken_until_ms = clock_mono_ms() + SPOOL_BROKEN_MS;
		fail(c, COMMIT_ERROR);
	} else {
		c->retried = true;
		place(sp, c);
	}
}

static void
on_append(void *arg, enum store_result r)
{
	struct commit *c = arg;
	struct spool *sp = c->sp;
	struct seg *s = c->seg;

	s->inflight--;
	if (r == STORE_OK || r == STORE_OK_LOCAL)
		on_success(sp, c);
	else
		on_failure(sp, c, r);
	if (s->state == SEG_CLOSED && s->inflight == 0)
		house_seal(sp, s);
}

static void
submit(struct spool *sp, struct seg *s, struct commit *c)
{
	uint64_t len = record_len(&c->rec), have = c->nbuf;
	size_t n = 1;

	c->seg = s;
	c->off = s->end;
	c->rec.stamp = s->stamp;
	c->rec.first_entry = s->next_entry;
	c->rec.stable = (uint32_t)(s->good_end / RECORD_ALIGN);
	c->rec.crc_meta = record_crc(s->stamp, slice_make(c->buf + RECORD_HEAD,
	    record_meta_len(&c->rec)));
	record_put(c->buf, &c->rec);
	c->piece[0] = (struct store_piece){ slice_make(c->buf, c->nbuf), -1, 0 };
	if (c->streamed) {
		c->piece[n++] = (struct store_piece){ SLICE_NONE, c->body_fd, c->rec.body_len };
		have += c->rec.body_len;
	}
	if (have < len)
		c->piece[n++] = (struct store_piece){ slice_make(c->pad, len - have), -1, 0 };
	s->end += len;
	s->next_entry += c->rec.nrcpt;
	s->inflight++;
	s->last_ms = clock_mono_ms();
	sp->space_used += len;
	sp->ops->append(sp->store, s->no, c->off, c->piece, n, on_append, c);
}

static bool
has_held(const struct seg *s, uint64_t group)
{
	for (uint32_t r = 0; r < s->nrow; r++)
		if (s->row[r].group == group)
			return s->row[r].leg[LEG_HOLD][LEG_PARKED] > 0 ||
			    s->row[r].leg[LEG_HOLD][LEG_WAITING] > 0;
	return false;
}

/* One of the latest segments that come after this one has held mail of the group. */
static bool
held_later(struct spool *sp, const struct seg *s, uint64_t group)
{
	size_t least = sp->nseg > SPOOL_TURN_LOOK ? sp->nseg - SPOOL_TURN_LOOK : 0;
	struct spool_sums sums;

	spool_total(sp, group, &sums);
	if (sums.held == 0)
		return false;
	for (size_t i = sp->nseg; i > least && sp->seg[i - 1]->no > s->no; i--)
		if (sp->seg[i - 1]->state != SEG_DROPPING && has_held(sp->seg[i - 1], group))
			return true;
	return false;
}

/*
 * Replay goes by the number of the segment (11.4: oldest first per mailbox). When failover
 * went off and on with mail left, older mail of this group may lie in a later segment of the
 * other class, and this message would overtake it: it gets a new segment. That is seldom, but
 * a message to domains in different phases could ask for it each time; so there is a bound.
 */
static bool
overtakes(struct spool *sp, const struct seg *s, const struct commit *c)
{
	int64_t now = clock_mono_ms();
	bool found = false;

	if (s == sp->seg[sp->nseg - 1] || s->end <= SEGMENT_HEAD)
		return false;
	for (uint16_t i = 0; i < c->rec.nrcpt && !found; i++)
		found = held_later(sp, s, c->group[i]);
	if (!found)
		return false;
	if (now - sp->turned_ms >= SPOOL_TURN_MS) {
		sp->turned_ms = now;
		sp->turned = 0;
	}
	return sp->turned++ < SPOOL_TURNS_MAX;
}

static void
place(struct spool *sp, struct commit *c)
{
	struct seg *s = sp->active[c->cls];

	if (s != NULL && (overtakes(sp, s, c) || !fits(sp, s, c))) {
		house_close_seg(sp, s);
		s = NULL;
	}
	if (s != NULL) {
		submit(sp, s, c);
		return;
	}
	wait_for_segment(sp, c);
	if (sp->creating[c->cls] == NULL)
		create(sp, (enum store_class)c->cls);
}

/* The first thing a new segment says is where the failed ones end. */
static void
name_failed(struct spool *sp, struct seg *to)
{
	for (size_t i = 0; i < sp->nseg; i++) {
		struct seg *s = sp->seg[i];
		if (!s->failed || s->state >= SEG_SEALED || s == to)
			continue;
		struct commit *c = commit_new(sp, NULL, NULL);
		c->rec.type = RECORD_ABANDON;
		c->rec.env_len = ABANDON_BYTES;
		c->buf = mem_new(RECORD_HEAD + ABANDON_BYTES);
		c->nbuf = RECORD_HEAD + ABANDON_BYTES;
		sp->pending_bytes += c->nbuf;
		abandon_put(c->buf + RECORD_HEAD, (struct abandon){ s->no, s->good_end });
		submit(sp, to, c);
	}
}

void
commit_created(struct spool *sp, struct seg *s, enum store_result r)
{
	enum store_class cls = (enum store_class)s->cls;
	struct commit *c = sp->waiting[cls];
	bool ok = r == STORE_OK || r == STORE_OK_LOCAL;

	sp->creating[cls] = NULL;
	sp->waiting[cls] = NULL;
	sp->waiting_tail[cls] = &sp->waiting[cls];
	if (ok) {
		s->state = SEG_OPEN;
		s->last_ms = clock_mono_ms();
		sp->active[cls] = s;
		name_failed(sp, s);
		house_wake(sp);
	} else {
		seg_remove(sp, s);
		if (r == STORE_FULL)
			sp->space_checked_ms = INT64_MIN / 2;
		else
			sp->broken_until_ms = clock_mono_ms() + SPOOL_BROKEN_MS;
	}
	while (c != NULL) {
		struct commit *next = c->wait_next;
		if (ok)
			place(sp, c);
		else
			fail(c, r == STORE_FULL ? COMMIT_FULL : COMMIT_ERROR);
		c = next;
	}
}

/* Takes a commit that was never submitted out of the queue for a segment. */
static bool
stop_waiting(struct spool *sp, struct commit *c)
{
	struct commit **at = &sp->waiting[c->cls];

	while (*at != NULL && *at != c)
		at = &(*at)->wait_next;
	if (*at == NULL)
		return false;
	*at = c->wait_next;
	if (*at == NULL)
		sp->waiting_tail[c->cls] = at;
	return true;
}

/* The oldest are first: those past the deadline are told to come again, while
 * the stuck write goes on. If it succeeds in the end the record is made void. */
void
commit_watch(void *arg)
{
	struct spool *sp = arg;
	int64_t now = clock_mono_ms();
	struct commit *c = sp->pending;
	unsigned late = 0;

	while (c != NULL && c->deadline_ms <= now) {
		struct commit *next = c->next;
		if (!c->answered && c->fn != NULL) {
			late++;
			answer(c, COMMIT_ERROR, NULL, 0);
			if (c->seg == NULL && stop_waiting(sp, c))
				commit_free(c);
		}
		c = next;
	}
	if (late > 0)
		log_error("spool-late", "messages=%u effect=\"451, the disk does not answer\"", late);
	sp->watching = sp->pending != NULL;
	if (sp->watching)
		timer_arm(sp->watchdog, SPOOL_DEADLINE_MS / 8);
}

/* On closing: nothing may stay without an answer. */
void
commit_fail_all(struct spool *sp)
{
	commit_finish(sp);
	while (sp->pending != NULL)
		fail(sp->pending, COMMIT_ERROR);
}
