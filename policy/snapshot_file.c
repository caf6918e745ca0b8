// SPDX-License-Identifier: Apache-2.0
#include "policy/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/role.h"
#include "policy/snapshot.h"
#include "policy/snapshot_db.h"

#define IMPORT_FILE	"directory.import"
#define LOCK_FILE	"directory.lock"

struct snapshot_file {
	const struct conf *conf;	/* borrowed */
	int		 state;		/* state-dir */
	int		 dir;		/* state-dir/directory */
	int		 lock;		/* held while we live */
	bool		 made;		/* the import file is ours to remove */
	bool		 rotate;	/* users.db is whole and worth keeping */
	char		 path[4096];	/* of the import file, for SQLite */
};

__attribute__((format(printf, 2, 3))) static int
file_fail(char *why, const char *fmt, ...)
{
	int err = errno;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(why, SNAPSHOT_WHY, fmt, ap);
	va_end(ap);
	if (n >= 0 && n < SNAPSHOT_WHY && err != 0)
		snprintf(why + n, SNAPSHOT_WHY - (size_t)n, ": %s", strerror(err));
	return -1;
}

/* The role's own uid, when there is one to give the files to. */
static bool
role_uid(const struct conf *c, uid_t *id)
{
	*id = c->uid_base + (uid_t)ROLE_DIRECTORY;
	return geteuid() == 0;
}

static int
open_folders(struct snapshot_file *f, char *why)
{
	const char *state = f->conf->state_dir;
	struct stat st;
	uid_t id;

	if (mkdir(state, 0711) != 0 && errno != EEXIST)
		return file_fail(why, "%s (state-dir)", state);
	f->state = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->state < 0)
		return file_fail(why, "%s (state-dir)", state);
	if (mkdirat(f->state, DIRECTORY_FOLDER, 0700) != 0 && errno != EEXIST)
		return file_fail(why, "%s/%s", state, DIRECTORY_FOLDER);
	f->dir = openat(f->state, DIRECTORY_FOLDER,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->dir < 0 || fstat(f->dir, &st) != 0)
		return file_fail(why, "%s/%s", state, DIRECTORY_FOLDER);
	if (role_uid(f->conf, &id) && (st.st_uid != id || (st.st_mode & 07777) != 0700) &&
	    (fchown(f->dir, id, id) != 0 || fchmod(f->dir, 0700) != 0))
		return file_fail(why, "%s/%s: cannot be given to uid %u", state, DIRECTORY_FOLDER,
		    id);
	return 0;
}

static int
take_lock(struct snapshot_file *f, char *why)
{
	f->lock = openat(f->state, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->lock < 0)
		return file_fail(why, "%s/%s", f->conf->state_dir, LOCK_FILE);
	if (flock(f->lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return file_fail(why, "%s/%s", f->conf->state_dir, LOCK_FILE);
		errno = 0;
		return file_fail(why, "another import is at work");
	}
	return 0;
}

/* Folders open, lock taken. NULL with `why`. */
static struct snapshot_file *
open_locked(const struct conf *c, char *why)
{
	struct snapshot_file *f = mem_new(sizeof(*f));
	int n;

	f->conf = c;
	f->state = f->dir = f->lock = -1;
	n = snprintf(f->path, sizeof(f->path), "%s/%s", c->state_dir, IMPORT_FILE);
	if (n < 0 || n >= (int)sizeof(f->path))
		snprintf(why, SNAPSHOT_WHY, "state-dir is too long a path");
	else if (open_folders(f, why) == 0 && take_lock(f, why) == 0)
		return f;
	snapshot_file_end(&f);
	return NULL;
}

struct snapshot_file *
snapshot_file_begin(const struct conf *c, char *why)
{
	struct snapshot_file *f = open_locked(c, why);
	int fd = -1;

	if (f == NULL)
		return NULL;
	/* what a killed import left */
	if (unlinkat(f->state, IMPORT_FILE, 0) == 0 || errno == ENOENT)
		fd = openat(f->state, IMPORT_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW |
		    O_CLOEXEC, 0600);
	if (fd < 0) {
		file_fail(why, "%s", f->path);
		snapshot_file_end(&f);
		return NULL;
	}
	f->made = true;
	close(fd);
	return f;
}

const char *
snapshot_file_path(const struct snapshot_file *f)
{
	return f->path;
}

struct directory *
snapshot_file_before(struct snapshot_file *f)
{
	int which;
	struct directory *d = directory_open_best(f->dir, &which);

	/* A damaged users.db is not pushed down the line: it would push a good one out. */
	f->rotate = d != NULL && which == 0;
	return d;
}

uint64_t
snapshot_file_generation(const struct snapshot_file *f)
{
	uint64_t max = 0;

	for (int i = 0; i < DIRECTORY_GENERATIONS; i++) {
		char text[256];
		struct directory *d = directory_open(f->dir, directory_files[i], text, sizeof(text));

		if (d != NULL && directory_info(d)->generation > max)
			max = directory_info(d)->generation;
		directory_close(&d);
	}
	return max;
}

static int
checksum(int fd, size_t n, uint32_t *sum)
{
	void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -1;
	*sum = crc32c(0, p, n);
	munmap(p, n);
	return 0;
}

/* The trailer goes on last and only then is the file synced: a file with a trailer that
 * fits is a whole one. */
static int
seal_file(struct snapshot_file *f, uint64_t *bytes, char *why)
{
	char text[SNAPDB_TRAILER + 1];
	struct stat st;
	uint32_t sum;
	uid_t id;
	int ret = -1, n;
	int fd = openat(f->state, IMPORT_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0 ||
	    checksum(fd, (size_t)st.st_size, &sum) != 0)
		goto out;
	memset(text, ' ', sizeof(text));
	n = snprintf(text, sizeof(text), "salvaposta-users 1 %016llx %08x",
	    (unsigned long long)st.st_size, sum);
	CHECK(n > 0 && n < SNAPDB_TRAILER);
	text[n] = ' ';
	text[SNAPDB_TRAILER - 1] = '\n';
	if (pwrite(fd, text, SNAPDB_TRAILER, st.st_size) != SNAPDB_TRAILER)
		goto out;
	if (fchmod(fd, 0600) != 0 || (role_uid(f->conf, &id) && fchown(fd, id, id) != 0))
		goto out;
	if (fsync(fd) != 0)
		goto out;
	*bytes = (uint64_t)st.st_size + SNAPDB_TRAILER;
	ret = 0;
out:
	if (ret != 0)
		file_fail(why, "%s", f->path);
	if (fd >= 0 && close(fd) != 0 && ret == 0)
		ret = file_fail(why, "%s", f->path);
	return ret;
}

static int
read_back(struct snapshot_file *f, char *why)
{
	char text[256] = "";
	struct directory *d = directory_open(f->state, IMPORT_FILE, text, sizeof(text));
	int ret = -1;

	errno = 0;
	if (d == NULL)
		file_fail(why, "%s: cannot be read back: %s", f->path, text);
	else if (directory_verify(d, UINT64_MAX) != 0)
		file_fail(why, "%s: reads back other than it was written: mistrust this disk",
		    f->path);
	else
		ret = 0;
	directory_close(&d);
	return ret;
}

static int
rotate(struct snapshot_file *f, char *why)
{
	const char *const *name = directory_files;
	struct stat now, former;

	if (!f->rotate)
		return 0;
	/* An import killed just before its rename has done this part already. */
	if (fstatat(f->dir, name[0], &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    fstatat(f->dir, name[1], &former, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_dev == former.st_dev && now.st_ino == former.st_ino)
		return 0;
	for (int i = DIRECTORY_GENERATIONS - 1; i > 1; i--)
		if (renameat(f->dir, name[i - 1], f->dir, name[i]) != 0 && errno != ENOENT)
			return file_fail(why, "%s/%s", DIRECTORY_FOLDER, name[i]);
	/* a link, not a rename: at no instant is there no users.db */
	if (linkat(f->dir, name[0], f->dir, name[1], 0) != 0 && errno != ENOENT)
		return file_fail(why, "%s/%s", DIRECTORY_FOLDER, name[1]);
	return 0;
}

int
snapshot_file_install(struct snapshot_file *f, uint64_t *bytes, char *why)
{
	if (seal_file(f, bytes, why) != 0 || read_back(f, why) != 0 || rotate(f, why) != 0)
		return -1;
	if (renameat(f->state, IMPORT_FILE, f->dir, directory_files[0]) != 0)
		return file_fail(why, "%s: rename to %s/%s%s", f->path, DIRECTORY_FOLDER,
		    directory_files[0], errno == EXDEV ? " (both must be on one file system)" : "");
	f->made = false;
	if (fsync(f->dir) != 0 || fsync(f->state) != 0)
		return file_fail(why, "%s/%s: the new directory is in place, but may not survive "
		    "a power failure", f->conf->state_dir, DIRECTORY_FOLDER);
	return 0;
}

/* The snapshot of that name, read as a whole; NULL with `why`. */
static struct directory *
open_whole(struct snapshot_file *f, const char *name, char *why)
{
	char text[256] = "";
	struct directory *d = directory_open(f->dir, name, text, sizeof(text));

	if (d == NULL && errno == ENOENT)
		snprintf(why, SNAPSHOT_WHY, "there is no generation before the present one (%s/%s)",
		    DIRECTORY_FOLDER, name);
	else if (d == NULL)
		snprintf(why, SNAPSHOT_WHY, "%s/%s is damaged (%s): import the users again",
		    DIRECTORY_FOLDER, name, text);
	else if (directory_verify(d, UINT64_MAX) == 0)
		return d;
	else
		snprintf(why, SNAPSHOT_WHY, "%s/%s is damaged (checksum does not match): import the "
		    "users again", DIRECTORY_FOLDER, name);
	directory_close(&d);
	return NULL;
}

/* What the role could not read, or is on its way to the disk, is not put in its way.
 * Nothing is given away here: the role could have put any name in this folder. */
static int
check_former(struct snapshot_file *f, const char *name, char *why)
{
	int fd = openat(f->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), ret = -1;
	struct stat st, now;
	uid_t id;

	if (fd < 0 || fstat(fd, &st) != 0 || fsync(fd) != 0) {
		file_fail(why, "%s/%s", DIRECTORY_FOLDER, name);
	} else if (role_uid(f->conf, &id) && st.st_uid != id) {
		snprintf(why, SNAPSHOT_WHY, "%s/%s belongs to uid %u and the relay could not read "
		    "it: chown it to %u", DIRECTORY_FOLDER, name, st.st_uid, id);
	} else if (fstatat(f->dir, directory_files[0], &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_dev == st.st_dev && now.st_ino == st.st_ino) {
		snprintf(why, SNAPSHOT_WHY, "%s/%s is the present one (an import was interrupted): "
		    "there is no generation before it", DIRECTORY_FOLDER, name);
	} else {
		ret = 0;
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* One step either way: at no instant is there no whole users.db. A damaged one is not
 * worth a name, and goes. */
static int
swap(struct snapshot_file *f, bool keep, char *why)
{
	const char *const *name = directory_files;

	if (keep ? renameat2(f->dir, name[1], f->dir, name[0], RENAME_EXCHANGE) != 0 :
	    renameat(f->dir, name[1], f->dir, name[0]) != 0)
		return file_fail(why, "%s/%s: cannot be swapped with %s%s", DIRECTORY_FOLDER, name[1],
		    name[0], keep && errno == EINVAL ? " (this file system cannot swap names: "
		    "import the users again)" : "");
	if (fsync(f->dir) != 0)
		return file_fail(why, "%s/%s: the former directory is in place, but may not survive "
		    "a power failure", f->conf->state_dir, DIRECTORY_FOLDER);
	return 0;
}

int
snapshot_rollback(const struct conf *c, struct snapshot_rollback *r, char *why)
{
	char text[SNAPSHOT_WHY];
	struct directory *former = NULL, *present = NULL;
	struct snapshot_file *f = open_locked(c, why);
	int ret = -1;

	memset(r, 0, sizeof(*r));
	if (f == NULL)
		return -1;
	former = open_whole(f, directory_files[1], why);
	if (former != NULL && check_former(f, directory_files[1], why) == 0) {
		present = open_whole(f, directory_files[0], text);
		r->now = *directory_info(former);
		r->kept = present != NULL;
		if (present != NULL)
			r->former = *directory_info(present);
		ret = swap(f, r->kept, why);
	}
	directory_close(&present);
	directory_close(&former);
	snapshot_file_end(&f);
	return ret;
}

void
snapshot_file_end(struct snapshot_file **fp)
{
	struct snapshot_file *f = *fp;

	if (f == NULL)
		return;
	if (f->made)
		unlinkat(f->state, IMPORT_FILE, 0);
	if (f->lock >= 0)
		close(f->lock);
	if (f->dir >= 0)
		close(f->dir);
	if (f->state >= 0)
		close(f->state);
	free(f);
	*fp = NULL;
}
