// SPDX-License-Identifier: Apache-2.0
/* docs/spool.md has the files. No thread, no timer, no descriptor that could write. */
#include "queue/store_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/body.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/store_names.h"

enum { VIEW_FILES = 16, VIEW_CHUNK = 1 << 20 };

struct view_file {
	uint64_t	segment;
	enum store_part	part;
	int		fd;		/* -1: slot is free */
	uint64_t	used;		/* tick of last use */
};

struct store {
	int		 dir, seg;	/* the queue directory and seg/ in it; owned */
	struct view_file file[VIEW_FILES];
	uint64_t	 tick;
};

static struct store *
view_open(struct loop *l, const char *where, bool read_only)
{
	struct store *s = mem_new(sizeof(*s));

	(void)l;
	CHECK(read_only);
	for (size_t i = 0; i < VIEW_FILES; i++)
		s->file[i].fd = -1;
	s->seg = -1;
	s->dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir >= 0)
		s->seg = openat(s->dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->seg >= 0)
		return s;
	log_error("spool-directory", "where=%s errno=%d", log_escs(where), errno);
	if (s->dir >= 0)
		close(s->dir);
	free(s);
	return NULL;
}

static void
view_close(struct store **sp)
{
	struct store *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	for (size_t i = 0; i < VIEW_FILES; i++)
		if (s->file[i].fd >= 0)
			close(s->file[i].fd);
	close(s->seg);
	close(s->dir);
	free(s);
}

static int
view_drain(struct store *s, int timeout_ms)
{
	(void)s;
	(void)timeout_ms;
	return 0;
}

static int
view_list(struct store *s, void (*fn)(void *arg, uint64_t segment), void *arg)
{
	return store_names_list(s->seg, fn, arg);
}

/* Its descriptor, kept open for the next read; -1 with errno. */
static int
part_fd(struct store *s, uint64_t segment, enum store_part part)
{
	static const char *const suffix[STORE_PART_MAX] = { "log", "prg", "idx", "new" };
	struct view_file *f = &s->file[0];
	char name[32];

	for (size_t i = 0; i < VIEW_FILES; i++) {
		struct view_file *g = &s->file[i];
		if (g->fd >= 0 && g->segment == segment && g->part == part) {
			g->used = ++s->tick;
			return g->fd;
		}
		if (f->fd >= 0 && (g->fd < 0 || g->used < f->used))
			f = g;
	}
	(void)snprintf(name, sizeof(name), "%012llu.%s", (unsigned long long)segment,
	    suffix[part]);
	int fd = openat(s->seg, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (f->fd >= 0)
		close(f->fd);
	*f = (struct view_file){ .segment = segment, .part = part, .fd = fd, .used = ++s->tick };
	return fd;
}

static ssize_t
fd_read(int fd, void *to, size_t n, uint64_t off)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(fd, (char *)to + got, n - got, (off_t)(off + got));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

static ssize_t
view_read(struct store *s, uint64_t segment, enum store_part part, uint64_t off, void *to,
    size_t n)
{
	int fd = part_fd(s, segment, part);

	return fd < 0 ? -1 : fd_read(fd, to, n, off);
}

static int
view_read_body(struct store *s, uint64_t segment, uint64_t off, uint64_t len)
{
	int fd = part_fd(s, segment, STORE_LOG);
	int body = fd < 0 ? -1 : body_create();
	off_t at = (off_t)off;

	while (body >= 0 && len > 0) {
		ssize_t n = sendfile(body, fd, &at, len < VIEW_CHUNK ? len : VIEW_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)	/* an error, or the log is shorter than its record */
			break;
		len -= (uint64_t)n;
	}
	if (body >= 0 && (len > 0 || body_seal(body) != 0)) {
		close(body);
		return -1;
	}
	return body;
}

static int64_t
view_size(struct store *s, uint64_t segment, enum store_part part)
{
	int fd = part_fd(s, segment, part);
	struct stat st;

	return fd < 0 || fstat(fd, &st) != 0 ? -1 : (int64_t)st.st_size;
}

static int
view_get_meta(struct store *s, const char *name, struct buf *out)
{
	int fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int rc = -1;

	if (fd < 0)
		return errno == ENOENT ? 1 : -1;
	if (fstat(fd, &st) != 0 || st.st_size < 0)
		goto out;
	char *p = buf_reserve(out, (size_t)st.st_size);
	ssize_t n = p == NULL ? -1 : fd_read(fd, p, (size_t)st.st_size, 0);
	if (n < 0)
		goto out;
	buf_commit(out, (size_t)n);
	rc = 0;
out:
	close(fd);
	return rc;
}

static int
view_health(struct store *s, struct store_health *out)
{
	struct statvfs v;

	*out = (struct store_health){ .read_only = true };
	if (fstatvfs(s->seg, &v) != 0)
		return -1;
	out->bytes_free = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

/* ---- what would write ---- */

static void
view_create(struct store *s, uint64_t segment, enum store_class c, struct slice head,
    uint64_t log_max, store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)c, (void)head, (void)log_max;
	done(arg, STORE_DOWN);
}

static void
view_append(struct store *s, uint64_t segment, uint64_t off, const struct store_piece *piece,
    size_t n, store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)off, (void)piece, (void)n;
	done(arg, STORE_DOWN);
}

static void
view_progress(struct store *s, uint64_t segment, uint64_t off, struct slice bytes, bool sync,
    store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)off, (void)bytes, (void)sync;
	done(arg, STORE_DOWN);
}

static void
view_index(struct store *s, uint64_t segment, const struct store_span *span, size_t n,
    uint64_t size, store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)span, (void)n, (void)size;
	done(arg, STORE_DOWN);
}

static void
view_seal(struct store *s, uint64_t segment, uint64_t end, store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)end;
	done(arg, STORE_DOWN);
}

static void
view_rewrite(struct store *s, uint64_t segment, uint64_t off, struct slice bytes,
    store_done_fn *done, void *arg)
{
	(void)s, (void)segment, (void)off, (void)bytes;
	done(arg, STORE_DOWN);
}

static void
view_adopt(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	(void)s, (void)segment;
	done(arg, STORE_DOWN);
}

static void
view_discard(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	(void)s, (void)segment;
	done(arg, STORE_DOWN);
}

/* No thread and no loop here: at once. */
static void
view_work(struct store *s, enum store_work w, store_work_fn *fn, store_done_fn *done, void *arg)
{
	(void)s, (void)w;
	fn(arg);
	done(arg, STORE_OK_LOCAL);
}

static void
view_drop(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	(void)s, (void)segment;
	done(arg, STORE_DOWN);
}

static void
view_put_meta(struct store *s, const char *name, struct slice bytes, store_done_fn *done,
    void *arg)
{
	(void)s, (void)name, (void)bytes;
	done(arg, STORE_DOWN);
}

static int
view_set_aside(struct store *s, const char *name, struct slice bytes)
{
	(void)s, (void)name, (void)bytes;
	return -1;
}

const struct store_ops store_view = {
	.name = "view",
	.open = view_open,
	.close = view_close,
	.drain = view_drain,
	.list = view_list,
	.create = view_create,
	.append = view_append,
	.progress = view_progress,
	.index = view_index,
	.seal = view_seal,
	.rewrite = view_rewrite,
	.adopt = view_adopt,
	.discard = view_discard,
	.work = view_work,
	.drop = view_drop,
	.put_meta = view_put_meta,
	.get_meta = view_get_meta,
	.read = view_read,
	.read_body = view_read_body,
	.size = view_size,
	.set_aside = view_set_aside,
	.health = view_health,
};
