// SPDX-License-Identifier: Apache-2.0
#include "queue/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/le.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rows.h"

enum {
	MARKS_HEAD = 16, MARKS_RECORD = 32,
	MARKS_SLACK = 1024,	/* old records that are no reason to rewrite */
	MARKS_CHUNK = 256,	/* records read or written at once */
	MARKS_EVICT_LOOK = 16	/* candidates for leaving: the soonest of them goes */
};
static const char marks_magic[8] = { 'S', 'P', 'M', 'A', 'R', 'K', 'S', '1' };

struct slot {
	uint64_t key;		/* 0: free */
	int64_t	 until_ms;
	uint32_t value;
	uint8_t	 kind;
};

struct marks {
	int		 dirfd, fd;	/* fd -1: the file cannot be written now */
	char		 name[16], fresh[24];	/* of the file, and while it is rewritten */
	uint8_t		 key[32];
	struct rows	 slots;		/* of struct slot */
	unsigned	 max;
	uint64_t	 records;	/* in the file */
	uint8_t		 lazy[MARKS_CHUNK * MARKS_RECORD];	/* counts not written yet */
	size_t		 nlazy;
};

const char *
mark_kind_name(enum mark_kind k)
{
	static const char *const names[MARK_KIND_MAX] = { "", "loop", "nouser", "full",
		"userrate", "munge", "rate", "provider", "auth", "accepted", "volume",
		"volume-before", "burst", "day", "userrate-times", "message-id",
		"volume-older", "notice", "notice-tries" };

	return k > 0 && k < MARK_KIND_MAX ? names[k] : "?";
}

uint64_t
marks_key(const struct marks *m, struct slice a, struct slice b)
{
	uint8_t mac[32];
	uint64_t out;
	char *text = mem_new(a.n + b.n + 2);

	memcpy(text, a.p == NULL ? "" : a.p, a.n);
	memcpy(text + a.n + 1, b.p == NULL ? "" : b.p, b.n);	/* a NUL between them */
	bytes_lower(text, a.n + 1 + b.n);
	crypto_hmac_sha256(slice_make(m->key, sizeof(m->key)), slice_make(text, a.n + 1 + b.n),
	    mac);
	free(text);
	memcpy(&out, mac, sizeof(out));
	return out == 0 ? 1 : out;
}

/* ---- the table ---- */

static bool
slot_used(const void *row)
{
	return ((const struct slot *)row)->key != 0;
}

static uint64_t
slot_home(const void *row)
{
	const struct slot *s = row;

	return s->key ^ s->kind * 0x9e3779b97f4a7c15ULL;
}

static bool
slot_same(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->key == y->key && x->kind == y->kind;
}

static const struct rows_kind slot_kind = {
	sizeof(struct slot), slot_used, slot_home, slot_same
};

static struct slot *
slot_find(const struct marks *m, enum mark_kind k, uint64_t key)
{
	const struct slot like = { .key = key, .kind = (uint8_t)k };

	return rows_find(&m->slots, &like);
}

static void
slot_evict(struct marks *m, uint64_t near)
{
	struct slot *s, *best = NULL;

	for (size_t n = 0, looked = 0; n < m->slots.slots && looked < MARKS_EVICT_LOOK; n++) {
		s = rows_at(&m->slots, (size_t)near + n);
		if (s == NULL)
			continue;
		looked++;
		if (best == NULL || s->until_ms < best->until_ms)
			best = s;
	}
	if (best != NULL)
		rows_remove(&m->slots, best);
}

static void
table_set(struct marks *m, const struct slot *s, int64_t now)
{
	struct slot *was = rows_find(&m->slots, s);

	if (s->until_ms <= now) {
		if (was != NULL)
			rows_remove(&m->slots, was);
		return;
	}
	while (was == NULL && m->slots.n >= m->max)
		slot_evict(m, s->key);
	rows_put(&m->slots, s);
}

/* ---- the file ---- */

static void
record_put(uint8_t out[MARKS_RECORD], const struct slot *s)
{
	memset(out, 0, MARKS_RECORD);
	out[4] = s->kind;
	le_put(out + 8, s->key, 8);
	le_put(out + 16, (uint64_t)s->until_ms, 8);
	le_put(out + 24, s->value, 4);
	le_put(out, crc32c(0, out + 4, MARKS_RECORD - 4), 4);
}

static bool
record_get(const uint8_t in[MARKS_RECORD], struct slot *s)
{
	*s = (struct slot){ .kind = in[4], .key = le_get(in + 8, 8),
		.until_ms = (int64_t)le_get(in + 16, 8), .value = (uint32_t)le_get(in + 24, 4) };
	return le_get(in, 4) == crc32c(0, in + 4, MARKS_RECORD - 4) && s->key != 0 && s->kind > 0 &&
	    s->kind < MARK_KIND_MAX;
}

static void
marks_head(const struct marks *m, uint8_t out[MARKS_HEAD])
{
	uint8_t mac[32];

	crypto_hmac_sha256(slice_make(m->key, sizeof(m->key)), SLICE_LIT("marks"), mac);
	memcpy(out, marks_magic, 8);
	memcpy(out + 8, mac, 8);
}

static int
write_full(int fd, const void *p, size_t n)
{
	ssize_t put = write(fd, p, n);

	if (put == (ssize_t)n)
		return 0;
	if (put >= 0)
		errno = ENOSPC;
	return -1;
}

static int
marks_write_all(struct marks *m, int fd)
{
	uint8_t head[MARKS_HEAD], chunk[MARKS_CHUNK * MARKS_RECORD];
	size_t n = 0;

	marks_head(m, head);
	if (write_full(fd, head, sizeof(head)) < 0)
		return -1;
	for (size_t i = 0; i < m->slots.slots; i++) {
		const struct slot *s = rows_at(&m->slots, i);

		if (s == NULL)
			continue;
		record_put(chunk + n++ * MARKS_RECORD, s);
		if (n < MARKS_CHUNK)
			continue;
		if (write_full(fd, chunk, n * MARKS_RECORD) < 0)
			return -1;
		n = 0;
	}
	return n == 0 ? 0 : write_full(fd, chunk, n * MARKS_RECORD);
}

static void
marks_trouble(struct marks *m, const char *what)
{
	log_warn("marks", "file=%s step=%s error=%s effect=%s", m->name, what,
	    log_escs(strerror(errno)), log_escs("what it holds is forgotten at the next restart"));
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

/* A new file under another name, then in the place of the old one. */
static void
marks_rewrite(struct marks *m)
{
	int fd = openat(m->dirfd, m->fresh, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC |
	    O_NOFOLLOW, 0640);

	if (fd < 0) {
		marks_trouble(m, "create");
		return;
	}
	if (marks_write_all(m, fd) < 0 || renameat(m->dirfd, m->fresh, m->dirfd, m->name) < 0) {
		marks_trouble(m, "rewrite");
		close(fd);
		(void)unlinkat(m->dirfd, m->fresh, 0);
		return;
	}
	if (m->fd >= 0)
		close(m->fd);
	m->fd = fd;
	m->records = m->slots.n;
}

/* Reads what is there; true when it can be appended to. */
static bool
marks_read(struct marks *m)
{
	uint8_t want[MARKS_HEAD], got[MARKS_CHUNK * MARKS_RECORD];
	off_t at = MARKS_HEAD;
	struct slot s;

	marks_head(m, want);
	if (pread(m->fd, got, MARKS_HEAD, 0) != MARKS_HEAD || memcmp(got, want, MARKS_HEAD) != 0)
		return false;
	for (;;) {
		ssize_t n = pread(m->fd, got, sizeof(got), at);

		if (n <= 0)
			return n == 0;
		for (ssize_t i = 0; i + MARKS_RECORD <= n; i += MARKS_RECORD, m->records++) {
			if (!record_get(got + i, &s))
				return false;	/* torn or damaged: what came before counts */
			table_set(m, &s, 0);	/* 0: cleared */
		}
		if (n % MARKS_RECORD != 0)
			return false;
		at += n;
	}
}

struct marks *
marks_open(int dirfd, const void *key, size_t n, unsigned max)
{
	return marks_open_as(dirfd, "marks", key, n, max);
}

struct marks *
marks_open_as(int dirfd, const char *name, const void *key, size_t n, unsigned max)
{
	struct marks *m = mem_new(sizeof(*m));

	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	(void)snprintf(m->fresh, sizeof(m->fresh), "%s.new", m->name);
	if (n > 0)
		crypto_hmac_sha256(slice_make(key, n), SLICE_LIT("marks key"), m->key);
	else
		crypto_random(m->key, sizeof(m->key));
	m->dirfd = dirfd;
	m->max = max;
	rows_init(&m->slots, &slot_kind);
	m->fd = openat(dirfd, m->name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (m->fd < 0)
		marks_trouble(m, "open");
	else if (!marks_read(m))
		marks_rewrite(m);
	return m;
}

static void
marks_flush(struct marks *m)
{
	size_t n = m->nlazy;

	m->nlazy = 0;
	if (n == 0)
		return;
	if (m->fd < 0 || m->records > 2 * (uint64_t)m->slots.n + MARKS_SLACK)
		marks_rewrite(m);
	else if (write_full(m->fd, m->lazy, n * MARKS_RECORD) < 0)
		marks_trouble(m, "append");
	else
		m->records += n;
}

void
marks_close(struct marks **mp)
{
	struct marks *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	marks_flush(m);
	if (m->fd >= 0)
		close(m->fd);
	rows_fini(&m->slots);
	free(m);
}

void
marks_limit(struct marks *m, unsigned max)
{
	m->max = max;
	while (m->slots.n > m->max)
		slot_evict(m, 0);
}

/* ---- use ---- */

bool
marks_get(const struct marks *m, enum mark_kind k, uint64_t key, int64_t now, struct mark *out)
{
	const struct slot *s = slot_find(m, k, key);

	if (s == NULL || s->until_ms <= now)
		return false;
	if (out != NULL)
		*out = (struct mark){ s->until_ms, s->value };
	return true;
}

void
marks_set(struct marks *m, enum mark_kind k, uint64_t key, int64_t until_ms, uint32_t value,
    int64_t now)
{
	const struct slot s = { key, until_ms, value, (uint8_t)k };
	uint8_t rec[MARKS_RECORD];

	marks_flush(m);		/* the order in the file is the order of events */
	table_set(m, &s, now);
	record_put(rec, &s);
	if (m->fd < 0 || m->records > 2 * (uint64_t)m->slots.n + MARKS_SLACK) {
		marks_rewrite(m);
		return;
	}
	if (write_full(m->fd, rec, sizeof(rec)) < 0)
		marks_trouble(m, "append");	/* the next one rewrites: a torn record is gone */
	else
		m->records++;
}

static void
marks_set_lazy(struct marks *m, const struct slot *s, int64_t now)
{
	table_set(m, s, now);
	record_put(m->lazy + m->nlazy++ * MARKS_RECORD, s);
	if (m->nlazy == MARKS_CHUNK)
		marks_flush(m);
}

bool
marks_take(struct marks *m, enum mark_kind k, uint64_t key, uint32_t max, int64_t window_ms,
    int64_t now, int64_t *until)
{
	struct mark was = { now + window_ms, 0 };

	(void)marks_get(m, k, key, now, &was);
	*until = was.until_ms;
	if (was.value >= max)
		return false;
	const struct slot s = { key, was.until_ms, was.value + 1, (uint8_t)k };
	marks_set_lazy(m, &s, now);
	return true;
}

void
marks_untake(struct marks *m, enum mark_kind k, uint64_t key, int64_t now)
{
	struct mark was;

	if (!marks_get(m, k, key, now, &was) || was.value == 0)
		return;
	const struct slot s = { key, was.until_ms, was.value - 1, (uint8_t)k };
	marks_set_lazy(m, &s, now);
}

void
marks_clear(struct marks *m, enum mark_kind k, uint64_t key, int64_t now)
{
	if (slot_find(m, k, key) != NULL)
		marks_set(m, k, key, 0, 0, now);
}

void
marks_sweep(struct marks *m, int64_t now)
{
	marks_flush(m);
	for (size_t i = 0; i < m->slots.slots; ) {
		struct slot *s = rows_at(&m->slots, i);

		if (s != NULL && s->until_ms <= now)
			rows_remove(&m->slots, s);	/* another may be here now: look again */
		else
			i++;
	}
}

unsigned
marks_count(const struct marks *m)
{
	return m->slots.n;
}

unsigned
marks_count_kind(const struct marks *m, enum mark_kind k, int64_t now)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->slots.slots; i++) {
		const struct slot *s = rows_at(&m->slots, i);

		n += s != NULL && s->kind == k && s->until_ms > now;
	}
	return n;
}
