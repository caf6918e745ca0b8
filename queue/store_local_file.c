// SPDX-License-Identifier: Apache-2.0
/*
 * What the threads do to files. Order matters and every result is kept: after a
 * failed fdatasync the kernel may call the lost pages clean, so nothing is ever
 * appended to that log again, whatever a later sync says.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/store_local_priv.h"

static const char *const part_suffix[STORE_PART_MAX] = { "log", "prg", "idx", "new" };

static void
part_name(char out[32], uint64_t segment, enum store_part part)
{
	snprintf(out, 32, "%012llu.%s", (unsigned long long)segment, part_suffix[part]);
}

enum store_result
file_result(int error)
{
	switch (error) {
	case 0:
		return STORE_OK_LOCAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return STORE_FULL;
	case EROFS:
		return STORE_DOWN;
	}
	return STORE_IO_ERROR;
}

/* The slot of an open part, or of the least recently used one that is idle. */
static struct store_file *
find_slot(struct store *s, uint64_t segment, enum store_part part)
{
	struct store_file *best = NULL;

	for (size_t i = 0; i < STORE_FILES_MAX; i++) {
		struct store_file *f = &s->file[i];
		if (f->fd >= 0 && !f->stale && f->segment == segment && f->part == part)
			return f;
		if (f->refs > 0 || (best != NULL && best->fd < 0))
			continue;
		if (best == NULL || f->fd < 0 || f->used < best->used)
			best = f;
	}
	return best;
}

/* NULL with errno. The descriptor stays open at least until files_put. */
struct store_file *
files_get(struct store *s, uint64_t segment, enum store_part part, bool create)
{
	char name[32];

	pthread_mutex_lock(&s->files_lock);
	struct store_file *f = find_slot(s, segment, part);
	if (f == NULL) {
		errno = EMFILE;
		goto out;
	}
	if (f->fd < 0 || f->stale || f->segment != segment || f->part != part) {
		part_name(name, segment, part);
		int fd = openat(s->seg, name, O_CLOEXEC | O_NOFOLLOW |
		    (s->read_only ? O_RDONLY : O_RDWR | (create ? O_CREAT : 0)), 0600);
		if (fd < 0) {
			f = NULL;
			goto out;
		}
		if (f->fd >= 0)
			close(f->fd);
		*f = (struct store_file){ .segment = segment, .part = part, .fd = fd };
	}
	f->refs++;
	f->used = ++s->tick;
out:
	pthread_mutex_unlock(&s->files_lock);
	return f;
}

void
files_put(struct store *s, struct store_file *f)
{
	if (f == NULL)
		return;
	pthread_mutex_lock(&s->files_lock);
	if (--f->refs == 0 && f->stale) {
		close(f->fd);
		*f = (struct store_file){ .fd = -1 };
	}
	pthread_mutex_unlock(&s->files_lock);
}

void
files_forget(struct store *s, uint64_t segment, enum store_part part)
{
	pthread_mutex_lock(&s->files_lock);
	for (size_t i = 0; i < STORE_FILES_MAX; i++) {
		struct store_file *f = &s->file[i];
		if (f->fd < 0 || f->segment != segment ||
		    (part != STORE_PART_MAX && f->part != part))
			continue;
		f->stale = true;
		if (f->refs > 0)
			continue;
		close(f->fd);
		*f = (struct store_file){ .fd = -1 };
	}
	pthread_mutex_unlock(&s->files_lock);
}

void
files_close(struct store *s)
{
	for (size_t i = 0; i < STORE_FILES_MAX; i++)
		if (s->file[i].fd >= 0)
			close(s->file[i].fd);
}

int
file_write(int fd, const void *p, size_t n, uint64_t off)
{
	const char *at = p;

	while (n > 0) {
		ssize_t w = pwrite(fd, at, n, (off_t)off);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			if (w == 0)
				errno = ENOSPC;
			return -1;
		}
		at += w;
		off += (size_t)w;
		n -= (size_t)w;
	}
	return 0;
}

/* Bytes read, fewer only at the end of the file; -1. */
ssize_t
file_read(int fd, void *p, size_t n, uint64_t off)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(fd, (char *)p + got, n - got, (off_t)(off + got));
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

static int
write_iov(int fd, struct iovec *iov, size_t n, uint64_t off)
{
	while (n > 0) {
		ssize_t w = pwritev(fd, iov, (int)n, (off_t)off);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		off += (size_t)w;
		while (n > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			if (w == 0 && iov->iov_len > 0) {
				errno = ENOSPC;
				return -1;
			}
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return 0;
}

/* A body larger than fits the batch goes through in pieces. */
static int
copy_body(struct worker *w, int fd, const struct store_piece *p, uint64_t off)
{
	uint64_t done = 0;

	if (w->chunk == NULL)
		w->chunk = mem_new(STORE_CHUNK);
	while (done < p->len) {
		size_t n = p->len - done < STORE_CHUNK ? (size_t)(p->len - done) : STORE_CHUNK;
		ssize_t r = file_read(p->fd, w->chunk, n, done);
		if (r != (ssize_t)n) {
			if (r >= 0)
				errno = EIO;
			return -1;
		}
		if (file_write(fd, w->chunk, n, off + done) != 0)
			return -1;
		done += n;
	}
	return 0;
}

static int
write_batch(struct worker *w, int fd, const struct job *first)
{
	uint64_t start = first->off, at = start;	/* iov begins at start */
	size_t n = 0;

	for (const struct job *j = first; j != NULL; j = j->next)
		for (size_t i = 0; i < j->n; i++) {
			const struct store_piece *p = &j->piece[i];
			if (p->fd < 0) {
				w->iov[n++] = (struct iovec){
				    (void *)(uintptr_t)p->bytes.p, p->bytes.n };
				at += p->bytes.n;
				continue;
			}
			if (write_iov(fd, w->iov, n, start) != 0 || copy_body(w, fd, p, at) != 0)
				return -1;
			n = 0;
			at += p->len;
			start = at;
		}
	return write_iov(fd, w->iov, n, start);
}

static bool
has_failed(const struct worker *w, uint64_t segment)
{
	for (unsigned i = 0; i < w->nfailed && i < STORE_FAILED_MAX; i++)
		if (w->failed[i] == segment)
			return true;
	return false;
}

/* One batch: contiguous appends to one log, then one sync for all of them. */
void
file_append(struct worker *w, struct job *first, size_t njobs)
{
	struct store *s = w->store;
	enum store_result r = STORE_IO_ERROR;
	struct store_file *f = NULL;

	if (has_failed(w, first->segment))
		goto out;
	f = files_get(s, first->segment, STORE_LOG, false);
	if (f == NULL || write_batch(w, f->fd, first) != 0) {
		r = file_result(errno);
		log_error("spool-write", "segment=%llu off=%llu errno=%d",
		    (unsigned long long)first->segment, (unsigned long long)first->off, errno);
	} else if (fdatasync(f->fd) != 0) {
		r = errno == ENOSPC || errno == EDQUOT ? STORE_FULL : STORE_UNKNOWN;
		log_error("spool-sync", "segment=%llu messages=%zu errno=%d",
		    (unsigned long long)first->segment, njobs, errno);
	} else {
		r = STORE_OK_LOCAL;
		__atomic_add_fetch(&s->syncs, 1, __ATOMIC_RELAXED);
	}
	if (r != STORE_OK_LOCAL)
		w->failed[w->nfailed++ % STORE_FAILED_MAX] = first->segment;
out:
	files_put(s, f);
	for (struct job *j = first; j != NULL; j = j->next)
		j->result = r;
}

static int
create_part(struct store *s, const struct job *j, enum store_part part)
{
	char name[32];
	int rc = -1;

	part_name(name, j->segment, part);
	int fd = openat(s->seg, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	/* Space taken now cannot be missing at the sync; the file stays short, so what
	 * is behind the last record is always a torn record and never stale. */
	if (part == STORE_LOG && j->len > 0 &&
	    fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)j->len) != 0 && errno == ENOSPC)
		goto out;
	if (file_write(fd, j->bytes.p, j->bytes.n, 0) != 0 || fdatasync(fd) != 0)
		goto out;
	rc = 0;
out:;
	int e = errno;
	if (close(fd) != 0 && rc == 0) {
		e = errno;
		rc = -1;
	}
	if (rc != 0)
		unlinkat(s->seg, name, 0);
	errno = e;
	return rc;
}

static int
do_create(struct store *s, const struct job *j)
{
	char name[32];

	if (create_part(s, j, STORE_LOG) != 0)
		return -1;
	if (create_part(s, j, STORE_PROGRESS) != 0 || fsync(s->seg) != 0) {
		int e = errno;
		part_name(name, j->segment, STORE_LOG);
		unlinkat(s->seg, name, 0);
		part_name(name, j->segment, STORE_PROGRESS);
		unlinkat(s->seg, name, 0);
		errno = e;
		return -1;
	}
	return 0;
}

static int
do_progress(struct store *s, const struct job *j)
{
	struct store_file *f = files_get(s, j->segment, STORE_PROGRESS, true);
	int rc = -1;

	if (f == NULL)
		return -1;
	if (file_write(f->fd, j->bytes.p, j->bytes.n, j->off) == 0 &&
	    (!j->sync || fdatasync(f->fd) == 0))
		rc = 0;
	int e = errno;
	files_put(s, f);
	errno = e;
	return rc;
}

static int
do_index(struct store *s, const struct job *j)
{
	struct store_file *f = files_get(s, j->segment, STORE_INDEX, true);
	int rc = -1;

	if (f == NULL)
		return -1;
	for (size_t i = 0; i < j->n; i++)
		if (file_write(f->fd, j->span[i].bytes.p, j->span[i].bytes.n,
		    j->span[i].off) != 0)
			goto out;
	if (ftruncate(f->fd, (off_t)j->off) == 0 && fdatasync(f->fd) == 0)
		rc = 0;
out:;
	int e = errno;
	files_put(s, f);
	errno = e;
	return rc;
}

static int
do_seal(struct store *s, const struct job *j)
{
	struct store_file *f = files_get(s, j->segment, STORE_LOG, false);

	if (f == NULL)
		return errno == ENOENT ? 0 : -1;
	/* Cutting to the same size also returns the space preallocated behind it. */
	int rc = ftruncate(f->fd, (off_t)j->off) == 0 && fsync(f->fd) == 0 ? 0 : -1;
	int e = errno;
	files_put(s, f);
	errno = e;
	return rc;
}

static int
do_drop(struct store *s, const struct job *j)
{
	char name[32];

	files_forget(s, j->segment, STORE_PART_MAX);
	/* Log last: what is left of a half-dropped segment must still say that it was one. */
	for (int part = STORE_PART_MAX - 1; part >= 0; part--) {
		part_name(name, j->segment, (enum store_part)part);
		if (unlinkat(s->seg, name, 0) != 0 && errno != ENOENT)
			return -1;
	}
	return fsync(s->seg);
}

static int
do_rewrite(struct store *s, const struct job *j)
{
	struct store_file *f = files_get(s, j->segment, STORE_NEW, true);
	int rc = -1;

	if (f == NULL)
		return -1;
	if ((j->off > 0 || ftruncate(f->fd, 0) == 0) &&
	    file_write(f->fd, j->bytes.p, j->bytes.n, j->off) == 0 && fdatasync(f->fd) == 0)
		rc = 0;
	int e = errno;
	files_put(s, f);
	errno = e;
	return rc;
}

/*
 * The old log stays open, and is what reads find, until the loop hears of it. Once the
 * rename succeeded there is no way back: whether it is stable is for the next start,
 * which can do with either log.
 */
static int
do_adopt(struct store *s, struct job *j)
{
	char from[32], to[32];

	part_name(from, j->segment, STORE_NEW);
	part_name(to, j->segment, STORE_LOG);
	j->old = files_get(s, j->segment, STORE_LOG, false);
	if (j->old == NULL)
		return -1;
	if (renameat(s->seg, from, s->seg, to) != 0) {
		int e = errno;
		files_put(s, j->old);
		j->old = NULL;
		errno = e;
		return -1;
	}
	if (fsync(s->seg) != 0)
		log_error("spool-housekeeping", "job=adopt segment=%llu errno=%d",
		    (unsigned long long)j->segment, errno);
	files_forget(s, j->segment, STORE_NEW);
	return 0;
}

void
file_adopted(struct store *s, struct job *j)
{
	if (j->old == NULL)
		return;
	files_forget(s, j->segment, STORE_LOG);
	files_put(s, j->old);
	j->old = NULL;
}

static int
do_discard(struct store *s, const struct job *j)
{
	char name[32];

	files_forget(s, j->segment, STORE_NEW);
	part_name(name, j->segment, STORE_NEW);
	return unlinkat(s->seg, name, 0) == 0 || errno == ENOENT ? 0 : -1;
}

static int
do_meta(struct store *s, const struct job *j)
{
	char tmp[72];

	snprintf(tmp, sizeof(tmp), "%s.tmp", j->name);
	int fd = openat(s->dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	int rc = file_write(fd, j->bytes.p, j->bytes.n, 0) == 0 && fsync(fd) == 0 ? 0 : -1;
	int e = errno;
	if (close(fd) != 0 && rc == 0) {
		e = errno;
		rc = -1;
	}
	if (rc != 0) {
		unlinkat(s->dir, tmp, 0);
		errno = e;
		return -1;
	}
	if (renameat(s->dir, tmp, s->dir, j->name) != 0)
		return -1;
	return fsync(s->dir);
}

enum store_result
file_job(struct store *s, struct job *j)
{
	int rc = -1;

	switch (j->kind) {
	case JOB_CREATE:
		rc = do_create(s, j);
		break;
	case JOB_PROGRESS:
		rc = do_progress(s, j);
		break;
	case JOB_INDEX:
		rc = do_index(s, j);
		break;
	case JOB_SEAL:
		rc = do_seal(s, j);
		break;
	case JOB_DROP:
		rc = do_drop(s, j);
		break;
	case JOB_META:
		rc = do_meta(s, j);
		break;
	case JOB_REWRITE:
		rc = do_rewrite(s, j);
		break;
	case JOB_ADOPT:
		rc = do_adopt(s, j);
		break;
	case JOB_DISCARD:
		rc = do_discard(s, j);
		break;
	case JOB_WORK:
		j->work(j->arg);
		rc = 0;
		break;
	case JOB_REFUSE:
	case JOB_APPEND:
		return STORE_DOWN;
	}
	if (rc == 0)
		return STORE_OK_LOCAL;
	int e = errno;
	log_error("spool-housekeeping", "job=%d segment=%llu errno=%d", (int)j->kind,
	    (unsigned long long)j->segment, e);
	return file_result(e);
}
