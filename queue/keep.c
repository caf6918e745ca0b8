// SPDX-License-Identifier: Apache-2.0
#include "queue/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/le.h"
#include "base/mem.h"

#define KEEP_NAME	"kept"
#define KEEP_NEW	"kept.new"
#define KEEP_DAMAGED	"kept.damaged"
#define KEEP_MAGIC	"SPKEEP01"
enum { KEEP_MAGIC_LEN = 8, KEEP_HEAD = KEEP_MAGIC_LEN + 8 };

struct keep_item {
	uint64_t	until_ms;
	char		*key, *value;	/* owned */
	size_t		 nkey, nvalue;
};

struct keep {
	int		 dirfd;		/* borrowed */
	void		*table;		/* tsearch root, by key */
	struct keep_item *item[KEEP_ITEMS_MAX];	/* owned; the same ones */
	size_t		 n;
	bool		 changed;	/* since the last write */
};

static int
keep_compare(const void *a, const void *b)
{
	const struct keep_item *x = a, *y = b;

	if (x->nkey != y->nkey)
		return x->nkey < y->nkey ? -1 : 1;
	return memcmp(x->key, y->key, x->nkey);
}

static struct keep_item *
keep_find(struct keep *k, struct slice key)
{
	char text[KEEP_KEY_MAX + 1];
	struct keep_item want = { .key = text, .nkey = key.n }, **found;

	if (key.n > KEEP_KEY_MAX)
		return NULL;
	memcpy(text, key.p, key.n);
	found = tfind(&want, &k->table, keep_compare);
	return found == NULL ? NULL : *found;
}

static void
keep_drop(struct keep *k, size_t at)
{
	struct keep_item *it = k->item[at];

	(void)tdelete(it, &k->table, keep_compare);
	k->item[at] = k->item[--k->n];
	free(it->key);
	free(it->value);
	free(it);
	k->changed = true;
}

static void
keep_room(struct keep *k)
{
	size_t first = 0;

	if (k->n < KEEP_ITEMS_MAX)
		return;
	for (size_t i = 1; i < k->n; i++)
		if (k->item[i]->until_ms < k->item[first]->until_ms)
			first = i;
	keep_drop(k, first);
}

bool
keep_set(struct keep *k, const struct queue_keep *v, int64_t now_ms)
{
	struct keep_item *it = keep_find(k, v->key);

	if (v->key.n == 0 || v->key.n > KEEP_KEY_MAX || v->value.n > KEEP_VALUE_MAX ||
	    v->until_ms <= (uint64_t)now_ms)
		return false;
	if (it != NULL && it->until_ms == v->until_ms &&
	    slice_eq(slice_make(it->value, it->nvalue), v->value))
		return false;
	if (it == NULL) {
		keep_room(k);
		it = mem_new(sizeof(*it));
		it->key = slice_dup(v->key);
		it->nkey = v->key.n;
		if (tsearch(it, &k->table, keep_compare) == NULL)
			abort();
		k->item[k->n++] = it;
	}
	free(it->value);
	it->value = slice_dup(v->value);
	it->nvalue = v->value.n;
	it->until_ms = v->until_ms;
	k->changed = true;
	return true;
}

static struct queue_keep
keep_value(const struct keep_item *it)
{
	return (struct queue_keep){ it->until_ms, slice_make(it->key, it->nkey),
		slice_make(it->value, it->nvalue) };
}

void
keep_each(struct keep *k, int64_t now_ms, keep_fn *fn, void *arg)
{
	for (size_t i = 0; i < k->n; i++) {
		struct queue_keep v = keep_value(k->item[i]);

		if (v.until_ms > (uint64_t)now_ms)
			fn(arg, &v);
	}
}

static int
keep_replace(int dirfd, struct slice s)
{
	int rc = -1, saved, fd = openat(dirfd, KEEP_NEW,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return -1;
	while (s.n > 0) {
		ssize_t put = write(fd, s.p, s.n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			goto out;
		s = slice_sub(s, (size_t)put, s.n);
	}
	/* The rename must not be seen before the bytes. The directory is not synced: the old
	 * file after a power cut is as good as a kill some seconds earlier. */
	if (fdatasync(fd) == 0 && renameat(dirfd, KEEP_NEW, dirfd, KEEP_NAME) == 0)
		rc = 0;
out:
	saved = errno;
	if (close(fd) < 0 && rc == 0) {
		saved = errno;
		rc = -1;
	}
	errno = saved;
	return rc;
}

int
keep_save(struct keep *k, int64_t now_ms)
{
	uint8_t head[KEEP_HEAD] = KEEP_MAGIC;
	struct slice s;
	struct buf b;
	int rc = -1;

	for (size_t i = k->n; i-- > 0; )
		if (k->item[i]->until_ms <= (uint64_t)now_ms)
			keep_drop(k, i);
	if (!k->changed)
		return 0;
	buf_init(&b, KEEP_FILE_MAX);
	if (buf_put(&b, head, sizeof(head)) != 0)
		goto out;
	for (size_t i = 0; i < k->n; i++) {
		struct queue_keep v = keep_value(k->item[i]);

		if (wire_item_put(&b, &queue_keep_wire, &v) != 0)
			goto out;
	}
	s = buf_slice(&b);
	le_put(head + KEEP_MAGIC_LEN, (uint32_t)k->n, 4);
	le_put(head + KEEP_MAGIC_LEN + 4, crc32c(0, s.p + KEEP_HEAD, s.n - KEEP_HEAD), 4);
	memcpy(b.p + b.off, head, sizeof(head));
	rc = keep_replace(k->dirfd, s);
	k->changed = rc != 0;
out:
	buf_fini(&b);
	return rc;
}

/* 0 when the bytes are a whole file of ours. */
static int
keep_load(struct keep *k, struct slice s)
{
	struct queue_keep v;
	struct slice list;
	uint32_t n = 0;
	int r;

	if (s.n < KEEP_HEAD || memcmp(s.p, KEEP_MAGIC, KEEP_MAGIC_LEN) != 0)
		return -1;
	list = slice_sub(s, KEEP_HEAD, s.n);
	if (crc32c(0, list.p, list.n) != le_get((const uint8_t *)s.p + KEEP_MAGIC_LEN + 4, 4))
		return -1;
	while ((r = wire_item_next(&list, &queue_keep_wire, &v)) == 1 && n++ < KEEP_ITEMS_MAX)
		(void)keep_set(k, &v, 0);
	return r == 0 && n == le_get((const uint8_t *)s.p + KEEP_MAGIC_LEN, 4) ? 0 : -1;
}

static int
keep_read(int fd, struct buf *b)
{
	for (;;) {
		char *at = buf_reserve(b, 64 * 1024);
		ssize_t n = at == NULL ? -1 : read(fd, at, 64 * 1024);

		if (n < 0 && at != NULL && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		buf_commit(b, (size_t)n);
	}
}

struct keep *
keep_open(int dirfd)
{
	struct keep *k = mem_new(sizeof(*k));
	int fd = openat(dirfd, KEEP_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct buf b;

	k->dirfd = dirfd;
	if (fd < 0)
		return k;
	buf_init(&b, KEEP_FILE_MAX + 64 * 1024);
	if (keep_read(fd, &b) != 0 || keep_load(k, buf_slice(&b)) != 0) {
		log_warn("kept-damaged", "file=%s action=\"set aside as " KEEP_DAMAGED "\"",
		    KEEP_NAME);
		while (k->n > 0)
			keep_drop(k, k->n - 1);
		(void)renameat(dirfd, KEEP_NAME, dirfd, KEEP_DAMAGED);
	}
	k->changed = false;
	buf_fini(&b);
	close(fd);
	return k;
}

void
keep_close(struct keep **kp)
{
	struct keep *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	if (keep_save(k, 0) != 0)
		log_warn("kept-unsaved", "error=%s", log_escs(strerror(errno)));
	while (k->n > 0)
		keep_drop(k, k->n - 1);
	free(k);
}
