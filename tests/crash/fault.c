// SPDX-License-Identifier: Apache-2.0
/*
 * LD_PRELOAD=fault.so: the disk as it is on its worst day, for one process of ours.
 *
 *   FAULT_CONTROL=FILE   rules (fault.h), mapped, so that a test changes them at any
 *                        time and reads how often each one struck
 *   FAULT_RECORD=FILE    every write, sync and change of a directory is appended
 *                        here: writelog.py builds from it what a power cut at any
 *                        point could have left
 *   FAULT_SYNC_US=N      each fsync and fdatasync takes that much longer (benches)
 *   FAULT_SYNC_ALONE=F   ... and they are served one after the other, also across
 *                        processes: F is a file that they lock
 *   FAULT_ROLE=NAME      the role that is hit, "queue" when unset; "" is any process
 *
 * Only calls on regular files and directories count; pipes, sockets, memfds and
 * what was open before (standard error) pass untouched. Files are opened here before
 * main, because the role gives up its rights soon after.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/fault.h"

enum { FD_MAX = 65536, SLICE_US = 10000 };

enum record_kind {	/* writelog.py knows these numbers */
	RECORD_OPENED = 1, RECORD_WRITE, RECORD_TRUNCATE, RECORD_SYNC_BEGIN, RECORD_SYNC_END,
	RECORD_RENAME, RECORD_UNLINK, RECORD_MKDIR
};

struct record_head {
	uint32_t kind, extra;	/* bytes that follow this head */
	uint64_t ino, dir, off, len;
};

/* File-scope state is what an interposed library has; the fd table is atomic. */
static struct fault_page *page;
static bool armed;
static uint64_t sync_us;
static int record_fd = -1, alone_fd = -1;
static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned char kind_of[FD_MAX];	/* 1 + enum fault_file; 0: not ours */

/* The library's own functions, looked up once; a first call may come before our
 * constructor, so each caller resolves what it needs. */
#define REAL(name) ({							\
	static __typeof__(&name) real_;					\
	if (real_ == NULL)						\
		*(void **)&real_ = dlsym(RTLD_NEXT, #name);		\
	real_;								\
})

static bool
is_our_role(void)
{
	const char *want = getenv("FAULT_ROLE");
	char line[256];

	if (want == NULL)
		want = "queue";
	if (*want == '\0')
		return true;
	int fd = REAL(open)("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = REAL(read)(fd, line, sizeof(line) - 1);
	REAL(close)(fd);
	if (n <= 0)
		return false;
	line[n] = '\0';
	/* "salvaposta\0role\0queue\0000" */
	const char *p = memchr(line, '\0', (size_t)n), *end = line + n;
	if (p == NULL || strcmp(p + 1, "role") != 0)
		return false;
	p += 1 + sizeof("role");
	return p < end && strcmp(p, want) == 0;
}

/* Above the numbers that a supervisor hands out, and out of sight of close(3). */
static int
open_high(const char *path, int flags)
{
	int fd = REAL(open)(path, flags | O_CLOEXEC, 0666);
	if (fd < 0)
		return -1;
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 900);
	REAL(close)(fd);
	return high;
}

__attribute__((constructor)) static void
fault_start(void)
{
	const char *control = getenv("FAULT_CONTROL"), *log = getenv("FAULT_RECORD");
	const char *cost = getenv("FAULT_SYNC_US"), *lock = getenv("FAULT_SYNC_ALONE");

	if (!is_our_role())
		return;
	if (control != NULL) {
		int fd = REAL(open)(control, O_RDWR | O_CLOEXEC);
		void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
		if (p == MAP_FAILED || ((struct fault_page *)p)->magic != FAULT_MAGIC) {
			dprintf(2, "fault.so: FAULT_CONTROL=%s cannot be used\n", control);
			_exit(126);	/* a test that injects nothing must not pass */
		}
		page = p;
		REAL(close)(fd);
	}
	if (log != NULL) {
		record_fd = open_high(log, O_WRONLY | O_APPEND | O_CREAT);
		if (record_fd < 0) {
			dprintf(2, "fault.so: FAULT_RECORD=%s cannot be used\n", log);
			_exit(126);
		}
	}
	if (cost != NULL)
		sync_us = strtoull(cost, NULL, 10);
	if (lock != NULL)
		alone_fd = open_high(lock, O_RDWR | O_CREAT);
	armed = true;
}

/* ---- which file ---- */

static enum fault_file
file_kind(const char *name, int flags)
{
	size_t n = strlen(name);

	if ((flags & O_DIRECTORY) != 0)
		return FAULT_DIR;
	if (n > 4 && strcmp(name + n - 4, ".prg") == 0)
		return FAULT_PROGRESS;
	if (n > 4 && strcmp(name + n - 4, ".idx") == 0)
		return FAULT_INDEX;
	/* 000000000001.log; audit.log is another thing */
	if (n == 16 && (strcmp(name + n - 4, ".log") == 0 || strcmp(name + n - 4, ".new") == 0))
		return FAULT_LOG;
	return FAULT_OTHER;
}

static void
remember(int fd, enum fault_file kind)
{
	if (fd >= 0 && fd < FD_MAX)
		kind_of[fd] = (unsigned char)(1 + kind);
}

/* -1: none of ours. A descriptor that was handed to us (the queue's directory) is
 * looked at once. */
static int
fd_kind(int fd)
{
	struct stat st;

	if (!armed || fd <= 2 || fd >= FD_MAX)
		return -1;
	if (kind_of[fd] != 0)
		return kind_of[fd] - 1;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		remember(fd, FAULT_DIR);
		return FAULT_DIR;
	}
	return -1;
}

/* ---- rules ---- */

static void
pause_us(uint64_t us)
{
	struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static void
delay(struct fault_rule *r)
{
	uint64_t left = r->delay_us;

	while (left > 0 && __atomic_load_n(&r->on, __ATOMIC_ACQUIRE) != 0) {
		uint64_t now = left < SLICE_US ? left : SLICE_US;
		pause_us(now);
		left -= now;
	}
}

/* The rule that strikes, after its delay; NULL: do the thing. */
static struct fault_rule *
strike(enum fault_call call, int kind)
{
	struct fault_rule *hit = NULL;

	if (page == NULL || kind < 0)
		return NULL;
	__atomic_add_fetch(&page->done[call], 1, __ATOMIC_RELAXED);
	for (int i = 0; i < FAULT_RULES; i++) {
		struct fault_rule *r = &page->rule[i];
		if (__atomic_load_n(&r->on, __ATOMIC_ACQUIRE) == 0 ||
		    (r->calls >> call & 1) == 0 || (r->files >> kind & 1) == 0)
			continue;
		uint64_t n = __atomic_fetch_add(&r->seen, 1, __ATOMIC_RELAXED);
		if (n < r->skip || (r->count != 0 && n - r->skip >= r->count))
			continue;
		__atomic_add_fetch(&r->hits, 1, __ATOMIC_RELAXED);
		delay(r);
		if (hit == NULL && (r->error != 0 || (r->flags & FAULT_NOOP) != 0))
			hit = r;
	}
	return hit;
}

/* True: the caller returns -1 with errno, or success where `*rc` is 0. */
static bool
refused(const struct fault_rule *r, int *rc)
{
	if (r == NULL || (r->flags & (FAULT_AFTER | FAULT_TORN)) != 0)
		return false;
	*rc = (r->flags & FAULT_NOOP) != 0 ? 0 : -1;
	errno = (int)r->error;
	return true;
}

static int
outcome(const struct fault_rule *r, int rc)
{
	if (r == NULL || rc < 0)
		return rc;
	errno = (int)r->error;
	return -1;
}

/* ---- the record ---- */

static void
put_record(struct record_head *h, const struct iovec *body, int nbody, const char *name)
{
	struct iovec v[64];
	int n = 0, saved = errno;

	if (record_fd < 0)
		return;
	h->extra = (uint32_t)(h->kind == RECORD_WRITE ? h->len : name != NULL ? strlen(name) : 0);
	size_t want = sizeof(*h) + h->extra;
	v[n++] = (struct iovec){ h, sizeof(*h) };
	for (int i = 0; i < nbody && n < 64; i++)
		v[n++] = body[i];
	if (name != NULL)
		v[n++] = (struct iovec){ (void *)(uintptr_t)name, strlen(name) };
	/* O_APPEND and one call: records of two threads never mix. */
	if (REAL(writev)(record_fd, v, n) != (ssize_t)want) {
		dprintf(2, "fault.so: the record is broken\n");
		abort();
	}
	errno = saved;
}

static uint64_t
inode(int fd)
{
	struct stat st;
	int saved = errno;
	uint64_t ino = fstat(fd, &st) == 0 ? st.st_ino : 0;

	errno = saved;
	return ino;
}

static void
record_plain(enum record_kind kind, int fd, uint64_t off, uint64_t len)
{
	if (record_fd >= 0)
		put_record(&(struct record_head){ .kind = kind, .ino = inode(fd), .off = off,
		    .len = len }, NULL, 0, NULL);
}

static void
record_name(enum record_kind kind, int dir, const char *name, uint64_t ino, uint64_t flags)
{
	if (record_fd >= 0)
		put_record(&(struct record_head){ .kind = kind, .ino = ino, .dir = inode(dir),
		    .off = flags }, NULL, 0, name);
}

/* Vectors may be many: in groups, each a write of its own, as the disk may have it. */
static void
record_write(int fd, const struct iovec *v, int n, uint64_t off)
{
	if (record_fd < 0)
		return;
	for (int i = 0; i < n;) {
		struct record_head h = { .kind = RECORD_WRITE, .ino = inode(fd), .off = off };
		int first = i;
		for (; i < n && i - first < 60; i++)
			h.len += v[i].iov_len;
		put_record(&h, v + first, i - first, NULL);
		off += h.len;
	}
}

/* ---- writes ---- */

static ssize_t
write_at(int fd, int kind, const struct iovec *v, int n, off_t off)
{
	struct fault_rule *r = strike(FAULT_WRITE, kind);
	int rc;

	if (r != NULL && (r->flags & FAULT_TORN) != 0 && n > 0) {
		struct iovec half = { v[0].iov_base, n > 1 ? v[0].iov_len : v[0].iov_len / 2 };
		record_write(fd, &half, 1, (uint64_t)off);
		if (REAL(pwrite)(fd, half.iov_base, half.iov_len, off) < 0)
			return -1;
		errno = (int)r->error;
		return -1;
	}
	if (r != NULL && (r->flags & FAULT_NOOP) != 0) {
		ssize_t sum = 0;
		for (int i = 0; i < n; i++)
			sum += (ssize_t)v[i].iov_len;
		return sum;
	}
	if (refused(r, &rc))
		return -1;
	record_write(fd, v, n, (uint64_t)off);
	ssize_t w = REAL(pwritev)(fd, v, n, off);
	if (r != NULL && w >= 0) {
		errno = (int)r->error;
		return -1;
	}
	return w;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	int kind = fd_kind(fd);

	if (kind < 0)
		return REAL(pwrite)(fd, p, n, off);
	struct iovec v = { (void *)(uintptr_t)p, n };
	return write_at(fd, kind, &v, 1, off);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	int kind = fd_kind(fd);

	return kind < 0 ? REAL(pwritev)(fd, v, n, off) : write_at(fd, kind, v, n, off);
}

/* Of files written in order (audit log, small values). */
ssize_t
write(int fd, const void *p, size_t n)
{
	int kind = fd_kind(fd), rc;

	if (kind < 0)
		return REAL(write)(fd, p, n);
	struct fault_rule *r = strike(FAULT_WRITE, kind);
	if (refused(r, &rc))
		return rc < 0 ? -1 : (ssize_t)n;
	if (r != NULL && (r->flags & FAULT_TORN) != 0)
		n = n / 2;
	if (record_fd >= 0) {
		struct stat st;
		bool end = (fcntl(fd, F_GETFL) & O_APPEND) != 0 && fstat(fd, &st) == 0;
		struct iovec v = { (void *)(uintptr_t)p, n };
		record_write(fd, &v, 1, end ? (uint64_t)st.st_size :
		    (uint64_t)lseek(fd, 0, SEEK_CUR));
	}
	ssize_t w = REAL(write)(fd, p, n);
	if (r != NULL && w >= 0) {
		errno = (int)r->error;
		return -1;
	}
	return w;
}

/* ---- syncs ---- */

static void
sync_cost(void)
{
	if (sync_us == 0)
		return;
	if (alone_fd >= 0) {
		pthread_mutex_lock(&alone);
		while (flock(alone_fd, LOCK_EX) != 0 && errno == EINTR)
			;
	}
	pause_us(sync_us);
	if (alone_fd >= 0) {
		flock(alone_fd, LOCK_UN);
		pthread_mutex_unlock(&alone);
	}
}

static int
sync_with(int fd, int (*real)(int))
{
	int kind = fd_kind(fd), rc;

	if (!armed)
		return real(fd);
	sync_cost();
	if (kind < 0)
		return real(fd);
	struct fault_rule *r = strike(FAULT_SYNC, kind);
	if (refused(r, &rc))
		return rc;
	record_plain(RECORD_SYNC_BEGIN, fd, 0, 0);
	rc = real(fd);
	if (rc == 0)
		record_plain(RECORD_SYNC_END, fd, 0, 0);
	return outcome(r, rc);
}

int
fdatasync(int fd)
{
	return sync_with(fd, REAL(fdatasync));
}

int
fsync(int fd)
{
	return sync_with(fd, REAL(fsync));
}

/* ---- names ---- */

int
openat(int dir, const char *name, int flags, ...)
{
	mode_t mode = 0;
	struct stat st;
	int rc;

	if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
		__builtin_va_list ap;
		__builtin_va_start(ap, flags);
		mode = __builtin_va_arg(ap, mode_t);
		__builtin_va_end(ap);
	}
	if (!armed)
		return REAL(openat)(dir, name, flags, mode);
	/* What lies outside the spool (devices, libraries' files) is named absolutely. */
	bool ours = dir != AT_FDCWD && name[0] != '/';
	enum fault_file kind = file_kind(name, flags);
	struct fault_rule *r = ours ? strike(FAULT_OPEN, kind) : NULL;
	if (refused(r, &rc))
		return -1;
	bool fresh = ours && record_fd >= 0 && (flags & O_CREAT) != 0 &&
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0;
	int fd = REAL(openat)(dir, name, flags, mode);
	if (fd >= 0 && ours) {
		remember(fd, kind);
		if (record_fd >= 0)
			record_name(RECORD_OPENED, dir, name, inode(fd),
			    (fresh ? 1u : 0) | ((flags & O_TRUNC) != 0 ? 2u : 0) |
			    ((flags & O_DIRECTORY) != 0 ? 4u : 0));
	} else if (fd >= 0 && fd < FD_MAX) {
		kind_of[fd] = 0;
	}
	if (r != NULL && fd >= 0) {
		REAL(close)(fd);
		errno = (int)r->error;
		return -1;
	}
	return fd;
}

int
close(int fd)
{
	if (fd >= 900 && (fd == record_fd || fd == alone_fd))
		return 0;
	if (fd >= 0 && fd < FD_MAX)
		kind_of[fd] = 0;
	return REAL(close)(fd);
}

/* The library closes without us; the number may come back as a memfd. */
int
closedir(DIR *d)
{
	int fd = dirfd(d);

	if (fd >= 0 && fd < FD_MAX)
		kind_of[fd] = 0;
	return REAL(closedir)(d);
}

int
renameat(int from, const char *a, int to, const char *b)
{
	char both[512];
	int rc;

	if (!armed)
		return REAL(renameat)(from, a, to, b);
	struct fault_rule *r = strike(FAULT_RENAME, file_kind(b, 0));
	if (refused(r, &rc))
		return rc;
	rc = REAL(renameat)(from, a, to, b);
	if (rc == 0 && record_fd >= 0 && snprintf(both, sizeof(both), "%s/%s", a, b) > 0)
		record_name(RECORD_RENAME, from, both, 0, 0);
	return outcome(r, rc);
}

int
unlinkat(int dir, const char *name, int flags)
{
	int rc;

	if (!armed)
		return REAL(unlinkat)(dir, name, flags);
	struct fault_rule *r = strike(FAULT_UNLINK, file_kind(name, 0));
	if (refused(r, &rc))
		return rc;
	rc = REAL(unlinkat)(dir, name, flags);
	if (rc == 0)
		record_name(RECORD_UNLINK, dir, name, 0, 0);
	return outcome(r, rc);
}

int
mkdirat(int dir, const char *name, mode_t mode)
{
	struct stat st;
	int rc;

	if (!armed)
		return REAL(mkdirat)(dir, name, mode);
	struct fault_rule *r = strike(FAULT_MKDIR, FAULT_DIR);
	if (refused(r, &rc))
		return rc;
	rc = REAL(mkdirat)(dir, name, mode);
	if (rc == 0 && record_fd >= 0 && fstatat(dir, name, &st, 0) == 0)
		record_name(RECORD_MKDIR, dir, name, st.st_ino, 0);
	return outcome(r, rc);
}

/* ---- sizes ---- */

int
ftruncate(int fd, off_t n)
{
	int kind = fd_kind(fd), rc;

	if (kind < 0)
		return REAL(ftruncate)(fd, n);
	struct fault_rule *r = strike(FAULT_TRUNCATE, kind);
	if (refused(r, &rc))
		return rc;
	record_plain(RECORD_TRUNCATE, fd, (uint64_t)n, 0);
	return outcome(r, REAL(ftruncate)(fd, n));
}

int
fallocate(int fd, int mode, off_t off, off_t n)
{
	int kind = fd_kind(fd), rc;

	if (kind < 0)
		return REAL(fallocate)(fd, mode, off, n);
	struct fault_rule *r = strike(FAULT_ALLOCATE, kind);
	if (refused(r, &rc))
		return rc;
	return outcome(r, REAL(fallocate)(fd, mode, off, n));
}

/* ---- reads ---- */

ssize_t
pread(int fd, void *p, size_t n, off_t off)
{
	struct fault_rule *r = strike(FAULT_READ, fd_kind(fd));

	if (r != NULL) {
		errno = (int)r->error;
		return -1;
	}
	return REAL(pread)(fd, p, n, off);
}

ssize_t
sendfile(int to, int from, off_t *off, size_t n)
{
	struct fault_rule *r = strike(FAULT_READ, fd_kind(from));

	if (r != NULL) {
		errno = (int)r->error;
		return -1;
	}
	return REAL(sendfile)(to, from, off, n);
}

int
fstatvfs(int fd, struct statvfs *v)
{
	int rc;
	struct fault_rule *r = strike(FAULT_STATVFS, fd_kind(fd));

	if (refused(r, &rc))
		return -1;
	return REAL(fstatvfs)(fd, v);
}
