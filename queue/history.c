// SPDX-License-Identifier: Apache-2.0
#include "queue/history.h"

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

enum {
	HISTORY_RECORD = 56, HISTORY_VERSION = 1,
	HISTORY_BATCH = 64,		/* records written at once */
	HISTORY_READ = 1024		/* records read at once */
};

struct history {
	int		 dirfd, fd;	/* fd -1: nothing can be kept now */
	uint64_t	 max;		/* bytes of both files */
	uint64_t	 size;		/* of the first */
	uint8_t		 wait[HISTORY_BATCH * HISTORY_RECORD];
	size_t		 nwait;
};

static void
record_put(uint8_t b[HISTORY_RECORD], const struct history_entry *e)
{
	memset(b, 0, HISTORY_RECORD);
	b[4] = HISTORY_VERSION;
	b[5] = e->leg;
	b[6] = e->class;
	b[7] = e->form;
	b[8] = e->outcome;
	b[9] = e->status;
	b[10] = e->subject;
	le_put(b + 12, e->code, 2);
	le_put(b + 14, e->detail, 2);
	le_put(b + 16, e->rcpt, 2);
	le_put(b + 24, (uint64_t)e->time_ms, 8);
	le_put(b + 32, (uint64_t)e->next_ms, 8);
	_Static_assert(sizeof(e->id) <= 16, "an id fits");
	memcpy(b + 40, &e->id, sizeof(e->id));
	le_put(b, crc32c(0, b + 4, HISTORY_RECORD - 4), 4);
}

static bool
record_get(const uint8_t b[HISTORY_RECORD], struct history_entry *e)
{
	if (le_get(b, 4) != crc32c(0, b + 4, HISTORY_RECORD - 4) || b[4] != HISTORY_VERSION)
		return false;
	*e = (struct history_entry){ .leg = b[5], .class = b[6], .form = b[7], .outcome = b[8],
		.status = b[9], .subject = b[10],
		.code = (uint16_t)le_get(b + 12, 2), .detail = (uint16_t)le_get(b + 14, 2),
		.rcpt = (uint16_t)le_get(b + 16, 2), .time_ms = (int64_t)le_get(b + 24, 8),
		.next_ms = (int64_t)le_get(b + 32, 8) };
	memcpy(&e->id, b + 40, sizeof(e->id));
	return true;
}

static void
history_reopen(struct history *h)
{
	struct stat st;

	h->fd = openat(h->dirfd, "history", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
	    0640);
	h->size = h->fd >= 0 && fstat(h->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	if (h->fd < 0)
		log_warn("history", "file=history error=%s", log_escs(strerror(errno)));
}

struct history *
history_open(int dirfd, uint64_t max)
{
	struct history *h = mem_new(sizeof(*h));

	h->dirfd = dirfd;
	h->max = max;
	history_reopen(h);
	/* a torn record would shift all that follow */
	if (h->fd >= 0 && h->size % HISTORY_RECORD != 0 &&
	    ftruncate(h->fd, (off_t)(h->size - h->size % HISTORY_RECORD)) == 0)
		h->size -= h->size % HISTORY_RECORD;
	return h;
}

void
history_close(struct history **hp)
{
	struct history *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	history_flush(h);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

void
history_limit(struct history *h, uint64_t max)
{
	if (h != NULL)
		h->max = max;
}

static void
history_turn_over(struct history *h)
{
	if (renameat(h->dirfd, "history", h->dirfd, "history.1") < 0)
		return;
	close(h->fd);
	history_reopen(h);
}

void
history_flush(struct history *h)
{
	size_t n;

	if (h == NULL || h->nwait == 0)
		return;
	n = h->nwait * HISTORY_RECORD;
	h->nwait = 0;
	if (h->fd < 0 || h->max == 0)
		return;
	if (write(h->fd, h->wait, n) != (ssize_t)n) {
		log_warn("history", "error=%s", log_escs(strerror(errno)));
		(void)!ftruncate(h->fd, (off_t)h->size);	/* no half record */
		return;
	}
	h->size += n;
	if (h->size >= h->max / 2)
		history_turn_over(h);
}

void
history_add(struct history *h, const struct history_entry *e)
{
	if (h == NULL)
		return;
	record_put(h->wait + h->nwait++ * HISTORY_RECORD, e);
	if (h->nwait == HISTORY_BATCH)
		history_flush(h);
}

struct found {
	struct msgid		 id;
	uint16_t		 rcpt;
	struct history_entry	*out;
	unsigned		 n, max;
};

static void
found_add(struct found *f, const uint8_t *b)
{
	struct history_entry e;

	/* the id first: it is the cheaper test */
	if (memcmp(b + 40, &f->id, sizeof(f->id)) != 0 || !record_get(b, &e) || e.rcpt != f->rcpt)
		return;
	if (f->n == f->max) {
		memmove(f->out, f->out + 1, (f->max - 1) * sizeof(*f->out));
		f->n--;
	}
	f->out[f->n++] = e;
}

static void
history_scan(int fd, struct found *f)
{
	uint8_t *b = mem_new((size_t)HISTORY_READ * HISTORY_RECORD);
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, b, (size_t)HISTORY_READ * HISTORY_RECORD, at)) >= HISTORY_RECORD) {
		for (ssize_t i = 0; i + HISTORY_RECORD <= n; i += HISTORY_RECORD)
			found_add(f, b + i);
		at += n - n % HISTORY_RECORD;
	}
	free(b);
}

unsigned
history_find(struct history *h, struct msgid id, uint16_t rcpt, struct history_entry *out,
    unsigned max)
{
	struct found f = { id, rcpt, out, 0, max };

	if (h == NULL || max == 0)
		return 0;
	history_flush(h);
	int old = openat(h->dirfd, "history.1", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (old >= 0) {
		history_scan(old, &f);
		close(old);
	}
	if (h->fd >= 0)
		history_scan(h->fd, &f);
	return f.n;
}

void
history_enhanced(struct history_entry *e, struct slice s)
{
	uint64_t v[3];

	for (unsigned i = 0; i < 3; i++) {
		size_t dot = slice_find(s, '.');

		if (slice_u64(slice_sub(s, 0, dot), &v[i]) != 0 || v[i] > (i < 2 ? 255u : 999u))
			return;
		s = slice_sub(s, dot < s.n ? dot + 1 : s.n, s.n);
	}
	e->status = (uint8_t)v[0];
	e->subject = (uint8_t)v[1];
	e->detail = (uint16_t)v[2];
}
