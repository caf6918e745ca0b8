// SPDX-License-Identifier: Apache-2.0
#include "queue/consent.h"

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

#define CONSENT_NEW	"consent.new"
enum {
	CONSENT_HEAD = 16, CONSENT_RECORD = 32, CONSENT_SLACK = 1024, CONSENT_CHUNK = 128
};
enum consent_op { OP_RESUME = 0 };	/* else enum consent_by */
static const char consent_magic[CONSENT_HEAD] = "SPCONS01";

struct row {
	struct msgid	key;
	uint8_t		by;	/* 0: free */
	int64_t		time_ms;
};

struct consent {
	int		 dirfd, fd;	/* dirfd borrowed; fd -1: none (read_only) */
	struct rows	 rows;		/* of struct row */
	unsigned	 max;
	uint64_t	 records, damaged;	/* in the file */
	off_t		 end;		/* of its last whole record */
	bool		 unsure;	/* a write failed: what lies behind `end` does not count */
};

/* ---- keys ---- */

struct msgid
consent_key(struct slice user)
{
	static const char what[] = "salvaposta user 1";	/* with its NUL */
	struct msgid key;
	struct buf text;
	uint8_t sum[32];

	buf_init(&text, sizeof(what) + user.n);
	CHECK(buf_put(&text, what, sizeof(what)) == 0 && buf_put_slice(&text, user) == 0);
	crypto_sha256(buf_slice(&text), sum);
	memcpy(key.b, sum, sizeof(key.b));
	buf_fini(&text);
	return key;
}

void
consent_print(struct msgid key, char out[2 * MSGID_LEN + 1])
{
	crypto_hex(key.b, MSGID_LEN, out);
}

/* ---- the table ---- */

static bool
row_used(const void *row)
{
	return ((const struct row *)row)->by != 0;
}

static uint64_t
row_home(const void *row)
{
	uint64_t h;

	memcpy(&h, ((const struct row *)row)->key.b, sizeof(h));	/* of a SHA-256 */
	return h;
}

static bool
row_same(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key)) == 0;
}

static const struct rows_kind row_kind = { sizeof(struct row), row_used, row_home, row_same };

static void
row_apply(struct consent *c, const struct row *r)
{
	struct row *at = rows_find(&c->rows, r);

	if (r->by != OP_RESUME)
		rows_put(&c->rows, r);
	else if (at != NULL)
		rows_remove(&c->rows, at);
}

/* ---- the file ---- */

static void
record_put(uint8_t out[CONSENT_RECORD], const struct row *r)
{
	memset(out, 0, CONSENT_RECORD);
	out[4] = r->by;
	memcpy(out + 6, r->key.b, MSGID_LEN);
	le_put(out + 16, (uint64_t)r->time_ms, 8);
	le_put(out, crc32c(0, out + 4, CONSENT_RECORD - 4), 4);
}

static bool
record_get(const uint8_t in[CONSENT_RECORD], struct row *r)
{
	*r = (struct row){ .by = in[4], .time_ms = (int64_t)le_get(in + 16, 8) };
	memcpy(r->key.b, in + 6, MSGID_LEN);
	return le_get(in, 4) == crc32c(0, in + 4, CONSENT_RECORD - 4) && in[4] < CONSENT_BY_MAX;
}

static int
put_at(int fd, const void *p, size_t n, off_t at)
{
	ssize_t put = pwrite(fd, p, n, at);

	if (put == (ssize_t)n)
		return 0;
	if (put >= 0)
		errno = ENOSPC;
	return -1;
}

/* All rows into a new file. */
static int
consent_fill(const struct consent *c, int fd)
{
	uint8_t chunk[CONSENT_CHUNK * CONSENT_RECORD];
	off_t at = CONSENT_HEAD;
	size_t n = 0;

	if (put_at(fd, consent_magic, CONSENT_HEAD, 0) < 0)
		return -1;
	for (size_t i = 0; i <= c->rows.slots; i++) {
		const struct row *r = i < c->rows.slots ? rows_at(&c->rows, i) : NULL;

		if (r != NULL)
			record_put(chunk + n++ * CONSENT_RECORD, r);
		if (n < CONSENT_CHUNK && i < c->rows.slots)
			continue;
		if (put_at(fd, chunk, n * CONSENT_RECORD, at) < 0)
			return -1;
		at += (off_t)(n * CONSENT_RECORD);
		n = 0;
	}
	return fdatasync(fd);
}

/* A new file under another name, on stable storage, then in the place of the old one. */
static int
consent_rewrite(struct consent *c)
{
	int fd = openat(c->dirfd, CONSENT_NEW, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0640);

	if (fd < 0)
		return -1;
	if (consent_fill(c, fd) < 0 ||
	    renameat(c->dirfd, CONSENT_NEW, c->dirfd, CONSENT_FILE) < 0 || fsync(c->dirfd) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = fd;
	c->records = c->rows.n;
	c->end = CONSENT_HEAD + (off_t)c->rows.n * CONSENT_RECORD;
	c->damaged = 0;
	c->unsure = false;
	return 0;
}

/* What is there; 0, or -1 when the disk does not give it. A head that is not ours is damage
 * like any other: the records tell by themselves what they are. */
static int
consent_read(struct consent *c)
{
	uint8_t got[CONSENT_CHUNK * CONSENT_RECORD];
	struct row r;

	c->end = CONSENT_HEAD;
	if (pread(c->fd, got, CONSENT_HEAD, 0) < 0)
		return -1;
	c->damaged += memcmp(got, consent_magic, CONSENT_HEAD) != 0;
	for (;;) {
		ssize_t n = pread(c->fd, got, sizeof(got), c->end);

		if (n < 0)
			return -1;
		if (n < CONSENT_RECORD)
			return 0;
		for (ssize_t i = 0; i + CONSENT_RECORD <= n; i += CONSENT_RECORD) {
			c->end += CONSENT_RECORD;
			c->records++;
			if (record_get(got + i, &r))
				row_apply(c, &r);
			else
				c->damaged++;
		}
	}
}

static int
consent_load(struct consent *c, bool read_only)
{
	c->fd = openat(c->dirfd, CONSENT_FILE, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC |
	    O_NOFOLLOW);
	if (c->fd < 0)
		return errno != ENOENT ? -1 : read_only ? 0 : consent_rewrite(c);
	if (consent_read(c) < 0)
		return -1;
	if (c->damaged > 0)
		log_error("consent", "file=" CONSENT_FILE " damaged=%llu kept=%u fix=%s",
		    (unsigned long long)c->damaged, c->rows.n, log_escs("users who stopped before may be "
		    "missing: look at opt-out lines of audit.log, then salvaposta users optout"));
	if (!read_only && (c->damaged > 0 || c->records > 2 * (uint64_t)c->rows.n + CONSENT_SLACK))
		return consent_rewrite(c);
	return 0;
}

struct consent *
consent_open(int dirfd, unsigned max, bool read_only)
{
	struct consent *c = mem_new(sizeof(*c));

	c->dirfd = dirfd;
	c->fd = -1;
	c->max = max;
	rows_init(&c->rows, &row_kind);
	if (consent_load(c, read_only) == 0)
		return c;
	log_error("consent", "file=" CONSENT_FILE " error=%s fix=%s", log_escs(strerror(errno)),
	    log_escs("it says who wants no copies: make it readable, or bring it back from a "
	    "backup"));
	consent_close(&c);
	return NULL;
}

void
consent_close(struct consent **cp)
{
	struct consent *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	if (c->fd >= 0)
		close(c->fd);
	rows_fini(&c->rows);
	free(c);
}

void
consent_limit(struct consent *c, unsigned max)
{
	c->max = max;
}

/* ---- in use ---- */

bool
consent_stopped(const struct consent *c, struct msgid key, struct consent_row *out)
{
	const struct row like = { .key = key }, *r = rows_find(&c->rows, &like);

	if (r != NULL && out != NULL)
		*out = (struct consent_row){ r->by, r->time_ms };
	return r != NULL;
}

/* Written at the end of the last record that counts: what an earlier write left half done
 * is written over. After a sync that failed the file is not trusted: a new one is made. */
static int
consent_append(struct consent *c, const struct row *r)
{
	uint8_t record[CONSENT_RECORD];

	if (c->unsure && consent_rewrite(c) < 0)
		return -1;
	record_put(record, r);
	if (put_at(c->fd, record, sizeof(record), c->end) < 0 || fdatasync(c->fd) < 0) {
		c->unsure = true;
		return -1;
	}
	c->end += CONSENT_RECORD;
	c->records++;
	row_apply(c, r);
	return 1;
}

int
consent_stop(struct consent *c, struct msgid key, enum consent_by by, int64_t now_ms)
{
	const struct row r = { key, (uint8_t)by, now_ms };

	if (consent_stopped(c, key, NULL))
		return 0;
	if (c->rows.n >= c->max) {
		errno = ENOSPC;
		return -1;
	}
	return consent_append(c, &r);
}

int
consent_resume(struct consent *c, struct msgid key, int64_t now_ms)
{
	const struct row r = { key, OP_RESUME, now_ms };

	return consent_stopped(c, key, NULL) ? consent_append(c, &r) : 0;
}

unsigned
consent_count(const struct consent *c)
{
	return c->rows.n;
}
