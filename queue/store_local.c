// SPDX-License-Identifier: Apache-2.0
/* The local back end: seg/NNNNNNNNNNNN.{log,prg,idx}, damaged/, small named values
 * and a lock file in one directory. docs/spool.md. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/body.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/store_local_priv.h"
#include "queue/store_names.h"

const char *
store_result_name(enum store_result r)
{
	static const char *const name[STORE_RESULT_MAX] = {
		"ok", "ok-local", "unknown", "fenced", "full", "down", "io-error",
	};
	return r < STORE_RESULT_MAX ? name[r] : "?";
}

static int
open_where(const char *where)
{
	uint64_t n;

	if (strncmp(where, "fd:", 3) != 0)
		return open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (slice_u64(slice_str(where + 3), &n) != 0 || n > INT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	return openat((int)n, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int
open_dirs(struct store *s, const char *where)
{
	s->dir = open_where(where);
	if (s->dir < 0)
		return -1;
	if (!s->read_only) {
		if (mkdirat(s->dir, "seg", 0700) == 0) {
			if (fsync(s->dir) != 0)
				return -1;
		} else if (errno != EEXIST) {
			return -1;
		}
	}
	s->seg = openat(s->dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return s->seg < 0 ? -1 : 0;
}

/* A reader of a dead relay's spool may have no right to write; a living relay's
 * exclusive lock keeps it out all the same when the file can be opened at all. */
static int
take_lock(struct store *s)
{
	s->lock_fd = openat(s->dir, "lock", O_CLOEXEC | O_NOFOLLOW |
	    (s->read_only ? O_RDONLY : O_RDWR | O_CREAT), 0600);
	if (s->lock_fd < 0)
		return s->read_only ? 0 : -1;
	return flock(s->lock_fd, (s->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB);
}

static struct store *
local_open(struct loop *l, const char *where, bool read_only)
{
	struct store *s = mem_new(sizeof(*s));

	s->loop = l;
	s->read_only = read_only;
	s->dir = s->seg = s->lock_fd = s->event_fd = -1;
	for (size_t i = 0; i < STORE_FILES_MAX; i++)
		s->file[i].fd = -1;
	if (open_dirs(s, where) != 0) {
		log_error("spool-directory", "where=%s errno=%d hint=\"it must exist and belong "
		    "to the queue role\"", log_escs(where), errno);
		goto fail;
	}
	if (take_lock(s) != 0) {
		log_error("spool-lock", "where=%s errno=%d hint=\"%s\"", log_escs(where), errno,
		    errno == EWOULDBLOCK ? "another salvaposta uses this spool" : "cannot lock");
		goto fail;
	}
	if (work_init(s) != 0) {
		log_error("spool-eventfd", "errno=%d", errno);
		goto fail;
	}
	return s;
fail:
	if (s->seg >= 0)
		close(s->seg);
	if (s->dir >= 0)
		close(s->dir);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->worker[WORKER_LOG].iov);
	free(s);
	return NULL;
}

static void
local_close(struct store **sp)
{
	struct store *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	work_fini(s);
}

static int
local_list(struct store *s, void (*fn)(void *arg, uint64_t segment), void *arg)
{
	return store_names_list(s->seg, fn, arg);
}

static struct job *
job_new(struct store *s, enum job_kind kind, uint64_t segment, store_done_fn *done, void *arg)
{
	struct job *j = mem_new(sizeof(*j));

	j->kind = s->read_only ? JOB_REFUSE : kind;
	j->segment = segment;
	j->done = done;
	j->arg = arg;
	return j;
}

static void
local_create(struct store *s, uint64_t segment, enum store_class c, struct slice head,
    uint64_t log_max, store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_CREATE, segment, done, arg);

	(void)c;	/* one disk: nothing to place */
	CHECK(head.n <= sizeof(j->head));
	if (head.n > 0)
		memcpy(j->head, head.p, head.n);
	j->bytes = slice_make(j->head, head.n);
	j->len = log_max;
	work_submit(s, WORKER_REST, j);
}

static void
local_append(struct store *s, uint64_t segment, uint64_t off, const struct store_piece *piece,
    size_t n, store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_APPEND, segment, done, arg);

	CHECK(n > 0 && n <= STORE_PIECES_MAX);
	j->off = off;
	j->n = n;
	for (size_t i = 0; i < n; i++) {
		j->piece[i] = piece[i];
		j->len += piece[i].fd < 0 ? piece[i].bytes.n : piece[i].len;
	}
	work_submit(s, WORKER_LOG, j);
}

static void
local_progress(struct store *s, uint64_t segment, uint64_t off, struct slice bytes, bool sync,
    store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_PROGRESS, segment, done, arg);

	j->off = off;
	j->bytes = bytes;
	j->sync = sync;
	work_submit(s, WORKER_REST, j);
}

static void
local_index(struct store *s, uint64_t segment, const struct store_span *span, size_t n,
    uint64_t size, store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_INDEX, segment, done, arg);

	j->span = mem_array(n, sizeof(*span));
	if (n > 0)
		memcpy(j->span, span, n * sizeof(*span));
	j->n = n;
	j->off = size;
	work_submit(s, WORKER_REST, j);
}

static void
local_seal(struct store *s, uint64_t segment, uint64_t end, store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_SEAL, segment, done, arg);

	j->off = end;
	work_submit(s, WORKER_REST, j);
}

static void
local_drop(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	work_submit(s, WORKER_REST, job_new(s, JOB_DROP, segment, done, arg));
}

static void
local_put_meta(struct store *s, const char *name, struct slice bytes, store_done_fn *done,
    void *arg)
{
	struct job *j = job_new(s, JOB_META, 0, done, arg);

	CHECK(slice_cstr(slice_str(name), j->name, sizeof(j->name) - 4) == 0);
	j->bytes = bytes;
	work_submit(s, WORKER_REST, j);
}

static void
local_rewrite(struct store *s, uint64_t segment, uint64_t off, struct slice bytes,
    store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_REWRITE, segment, done, arg);

	j->off = off;
	j->bytes = bytes;
	work_submit(s, WORKER_REST, j);
}

static void
local_adopt(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	work_submit(s, WORKER_REST, job_new(s, JOB_ADOPT, segment, done, arg));
}

static void
local_discard(struct store *s, uint64_t segment, store_done_fn *done, void *arg)
{
	work_submit(s, WORKER_REST, job_new(s, JOB_DISCARD, segment, done, arg));
}

/* Reading is for anybody who may open the store. */
static void
local_work(struct store *s, enum store_work w, store_work_fn *fn, store_done_fn *done, void *arg)
{
	struct job *j = job_new(s, JOB_WORK, 0, done, arg);

	j->kind = JOB_WORK;
	j->work = fn;
	work_submit(s, w == STORE_WORK_READ ? WORKER_READ : WORKER_COPY, j);
}

static int
local_get_meta(struct store *s, const char *name, struct buf *out)
{
	struct stat st;
	int rc = -1;
	int fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 1 : -1;
	if (fstat(fd, &st) != 0 || st.st_size < 0)
		goto out;
	char *p = buf_reserve(out, (size_t)st.st_size);
	if (p == NULL && st.st_size > 0)
		goto out;
	ssize_t n = file_read(fd, p, (size_t)st.st_size, 0);
	if (n < 0)
		goto out;
	buf_commit(out, (size_t)n);
	rc = 0;
out:
	close(fd);
	return rc;
}

static ssize_t
local_read(struct store *s, uint64_t segment, enum store_part part, uint64_t off, void *to,
    size_t n)
{
	struct store_file *f = files_get(s, segment, part, false);

	if (f == NULL)
		return -1;
	ssize_t r = file_read(f->fd, to, n, off);
	int e = errno;
	files_put(s, f);
	errno = e;
	return r;
}

static int
local_read_body(struct store *s, uint64_t segment, uint64_t off, uint64_t len)
{
	struct store_file *f = files_get(s, segment, STORE_LOG, false);
	int body = f == NULL ? -1 : body_create();
	off_t at = (off_t)off;

	while (body >= 0 && len > 0) {
		ssize_t n = sendfile(body, f->fd, &at, len < STORE_CHUNK ? len : STORE_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)	/* an error, or the log is shorter than its record */
			break;
		len -= (uint64_t)n;
	}
	files_put(s, f);
	if (body >= 0 && (len > 0 || body_seal(body) != 0)) {
		close(body);
		return -1;
	}
	return body;
}

static int64_t
local_size(struct store *s, uint64_t segment, enum store_part part)
{
	struct store_file *f = files_get(s, segment, part, false);
	struct stat st;

	if (f == NULL)
		return -1;
	int64_t n = fstat(f->fd, &st) != 0 ? -1 : (int64_t)st.st_size;
	files_put(s, f);
	return n;
}

static int
local_set_aside(struct store *s, const char *name, struct slice bytes)
{
	if (s->read_only)
		return -1;
	if (mkdirat(s->dir, "damaged", 0700) != 0 && errno != EEXIST)
		return -1;
	int dir = openat(s->dir, "damaged", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return -1;
	int rc = -1;
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		if (file_write(fd, bytes.p, bytes.n, 0) == 0 && fsync(fd) == 0 && fsync(dir) == 0)
			rc = 0;
		if (close(fd) != 0)
			rc = -1;
	}
	close(dir);
	return rc;
}

static int
local_health(struct store *s, struct store_health *out)
{
	struct statvfs v;

	*out = (struct store_health){
		.failures = __atomic_load_n(&s->failures, __ATOMIC_RELAXED),
		.syncs = __atomic_load_n(&s->syncs, __ATOMIC_RELAXED),
		.read_only = s->read_only,
	};
	if (fstatvfs(s->seg, &v) != 0)
		return -1;
	out->bytes_free = (uint64_t)v.f_bavail * v.f_frsize;
	out->read_only = s->read_only || (v.f_flag & ST_RDONLY) != 0;
	return 0;
}

const struct store_ops store_local = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.drain = work_drain,
	.list = local_list,
	.create = local_create,
	.append = local_append,
	.progress = local_progress,
	.index = local_index,
	.seal = local_seal,
	.rewrite = local_rewrite,
	.adopt = local_adopt,
	.discard = local_discard,
	.work = local_work,
	.drop = local_drop,
	.put_meta = local_put_meta,
	.get_meta = local_get_meta,
	.read = local_read,
	.read_body = local_read_body,
	.size = local_size,
	.set_aside = local_set_aside,
	.health = local_health,
};
