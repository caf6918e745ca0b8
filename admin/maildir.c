// SPDX-License-Identifier: Apache-2.0
/*
 * Maildir: tmp/NAME written, synced, renamed to new/NAME. The name is made of arrival
 * time, queue id and recipient, so a second run finds it in new/ or, with flags behind
 * it, in cur/. Because a name that is found means "all of it is here", the bytes are
 * stable before the rename; a batch of messages shares that wait.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "admin/export.h"
#include "base/mem.h"

enum {
	BOXES = 64,			/* users' folders kept open */
	BATCH = 256,			/* messages that become stable together */
	BATCH_BYTES = 64 << 20
};

struct box {			/* one user's Maildir */
	struct export_user user;
	int		 tmp, new;	/* -1: slot is free */
	char		**seen;		/* names in cur/, sorted; owned */
	size_t		 nseen;
	bool		 dirty;		/* new/ has renames that are not synced */
	unsigned	 pinned;	/* messages of the batch */
	uint64_t	 used;		/* tick */
};

struct pending {
	struct box	*box;
	int		 fd;
	char		 name[sizeof(((struct mailfile *)NULL)->base)];
};

struct maildir {
	int		 folder;	/* borrowed */
	bool		 lf;
	bool		 by_fs;		/* syncfs says the truth about this file system */
	struct box	 box[BOXES];
	uint64_t	 tick;
	struct pending	 batch[BATCH];
	size_t		 nbatch;
	uint64_t	 batch_bytes;
	struct mailfile_out out;
};

/* File systems whose syncfs waits for the data of all files and tells about errors; on
 * others (network, FUSE) each file is synced by itself. */
static bool
trust_syncfs(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) != 0)
		return false;
	switch ((unsigned long)s.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
		return true;
	}
	return false;
}

static void *
maildir_open(int folder, bool lf)
{
	struct maildir *d = mem_new(sizeof(*d));

	d->folder = folder;
	d->lf = lf;
	d->by_fs = trust_syncfs(folder);
	for (size_t i = 0; i < BOXES; i++)
		d->box[i].tmp = d->box[i].new = -1;
	return d;
}

static void
box_close(struct box *b)
{
	if (b->tmp >= 0)
		close(b->tmp);
	if (b->new >= 0)
		close(b->new);
	for (size_t i = 0; i < b->nseen; i++)
		free(b->seen[i]);
	free(b->seen);
	*b = (struct box){ .tmp = -1, .new = -1 };
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a mail reader has taken over: "NAME:2,S". */
static int
list_cur(struct box *b, int dir)
{
	int fd = openat(dir, "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t cap = 0;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (strstr(e->d_name, ".salvaposta") == NULL)
			continue;
		if (b->nseen == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			b->seen = mem_resize(b->seen, cap, sizeof(*b->seen));
		}
		b->seen[b->nseen++] = slice_dup(slice_make(e->d_name, strcspn(e->d_name, ":,")));
	}
	closedir(d);
	if (b->nseen > 0)
		qsort(b->seen, b->nseen, sizeof(*b->seen), by_name);
	return 0;
}

static int
box_open(struct maildir *d, struct box *b, const struct export_user *u, char why[EXPORT_WHY])
{
	int domain = export_folder(d->folder, u->domain), dir = -1, cur = -1, rc = -1;

	b->user = *u;
	if (domain >= 0)
		dir = export_folder(domain, u->local);
	if (dir >= 0 && (cur = export_folder(dir, "cur")) >= 0 &&
	    (b->tmp = export_folder(dir, "tmp")) >= 0 &&
	    (b->new = export_folder(dir, "new")) >= 0 && list_cur(b, dir) == 0)
		rc = 0;
	if (rc != 0)
		export_fail(why, u, NULL, errno);
	if (cur >= 0)
		close(cur);
	if (dir >= 0)
		close(dir);
	if (domain >= 0)
		close(domain);
	if (rc != 0)
		box_close(b);
	return rc;
}

static int
batch_sync(struct maildir *d, char why[EXPORT_WHY])
{
	if (d->by_fs && syncfs(d->folder) == 0)
		return 0;
	for (size_t i = 0; i < d->nbatch; i++)
		if (fsync(d->batch[i].fd) != 0)
			return export_fail(why, &d->batch[i].box->user, d->batch[i].name, errno);
	return 0;
}

/* Renames only what is stable; what is not goes. */
static int
batch_flush(struct maildir *d, char why[EXPORT_WHY])
{
	int rc = d->nbatch == 0 ? 0 : batch_sync(d, why);

	for (size_t i = 0; i < d->nbatch; i++) {
		struct pending *p = &d->batch[i];
		if (close(p->fd) != 0 && rc == 0)
			rc = export_fail(why, &p->box->user, p->name, errno);
		if (rc == 0 && renameat(p->box->tmp, p->name, p->box->new, p->name) != 0)
			rc = export_fail(why, &p->box->user, p->name, errno);
		if (rc == 0)
			p->box->dirty = true;
		else
			unlinkat(p->box->tmp, p->name, 0);
		p->box->pinned--;
	}
	d->nbatch = 0;
	d->batch_bytes = 0;
	return rc;
}

/* The renames become stable; with syncfs it is done once, in settle. */
static int
box_sync(struct maildir *d, struct box *b, char why[EXPORT_WHY])
{
	if (!b->dirty || d->by_fs)
		return 0;
	b->dirty = false;
	return fsync(b->new) == 0 ? 0 : export_fail(why, &b->user, "new", errno);
}

static struct box *
box_get(struct maildir *d, const struct export_user *u, char why[EXPORT_WHY])
{
	struct box *b = NULL;

	for (size_t i = 0; i < BOXES; i++) {
		struct box *c = &d->box[i];
		if (c->tmp >= 0 && strcmp(c->user.local, u->local) == 0 &&
		    strcmp(c->user.domain, u->domain) == 0) {
			c->used = ++d->tick;
			return c;
		}
		if (c->pinned == 0 && (b == NULL || c->used < b->used))
			b = c;
	}
	if (b == NULL) {
		if (batch_flush(d, why) != 0)
			return NULL;
		b = &d->box[0];
	}
	if (b->tmp >= 0 && box_sync(d, b, why) != 0)
		return NULL;
	box_close(b);
	if (box_open(d, b, u, why) != 0)
		return NULL;
	b->used = ++d->tick;
	return b;
}

static bool
is_there(const struct box *b, const char *name)
{
	return faccessat(b->new, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || (b->nseen > 0 &&
	    bsearch(&name, b->seen, b->nseen, sizeof(*b->seen), by_name) != NULL);
}

/* The file in tmp/; one that is there is left from a run that died. */
static int
tmp_create(struct box *b, const char *name)
{
	const int how = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(b->tmp, name, how, 0600);

	if (fd < 0 && errno == EEXIST && unlinkat(b->tmp, name, 0) == 0)
		fd = openat(b->tmp, name, how, 0600);
	return fd;
}

static int
tmp_write(struct maildir *d, int fd, const struct mailfile *m)
{
	const struct timespec t = { .tv_sec = m->received_ms / 1000,
	    .tv_nsec = m->received_ms % 1000 * 1000000 };
	const struct timespec both[2] = { t, t };

	mailfile_begin(&d->out, fd, d->lf, false);
	mailfile_write(&d->out, m);
	if (mailfile_end(&d->out) != 0 || futimens(fd, both) != 0)
		return -1;
	/* Lets the disk begin; the batch waits for it. */
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* Is it in the batch that is not renamed yet? Beside a running relay a message may be
 * seen twice while its segment is rewritten. */
static bool
in_batch(const struct maildir *d, const struct box *b, const char *name)
{
	for (size_t i = 0; b->pinned > 0 && i < d->nbatch; i++)
		if (d->batch[i].box == b && strcmp(d->batch[i].name, name) == 0)
			return true;
	return false;
}

static enum export_put
maildir_put(void *x, const struct export_user *u, const struct mailfile *m, uint64_t *bytes,
    char why[EXPORT_WHY])
{
	struct maildir *d = x;
	struct box *b = box_get(d, u, why);

	*bytes = 0;
	if (b == NULL)
		return EXPORT_ERROR;
	if (is_there(b, m->base) || in_batch(d, b, m->base))
		return EXPORT_PRESENT;
	int fd = tmp_create(b, m->base);
	if (fd < 0 || tmp_write(d, fd, m) != 0) {
		export_fail(why, u, m->base, errno);
		if (fd >= 0) {
			close(fd);
			unlinkat(b->tmp, m->base, 0);
		}
		return EXPORT_ERROR;
	}
	struct pending *p = &d->batch[d->nbatch++];
	*p = (struct pending){ .box = b, .fd = fd };
	memcpy(p->name, m->base, sizeof(p->name));
	b->pinned++;
	*bytes = d->out.bytes;
	d->batch_bytes += d->out.bytes;
	if ((d->nbatch == BATCH || d->batch_bytes >= BATCH_BYTES) && batch_flush(d, why) != 0)
		return EXPORT_ERROR;
	return EXPORT_WRITTEN;
}

static int
maildir_settle(void *x, char why[EXPORT_WHY])
{
	struct maildir *d = x;
	int rc = batch_flush(d, why);

	if (d->by_fs) {
		if (syncfs(d->folder) != 0)
			return export_fail(why, NULL, NULL, errno);
		return rc;
	}
	for (size_t i = 0; i < BOXES; i++)
		if (d->box[i].tmp >= 0 && box_sync(d, &d->box[i], why) != 0)
			rc = -1;
	return rc;
}

static void
maildir_close(void *x)
{
	struct maildir *d = x;

	for (size_t i = 0; i < d->nbatch; i++) {
		close(d->batch[i].fd);
		unlinkat(d->batch[i].box->tmp, d->batch[i].name, 0);
	}
	for (size_t i = 0; i < BOXES; i++)
		box_close(&d->box[i]);
	free(d);
}

const struct export_format export_maildir = {
	.name = "maildir",
	.open = maildir_open,
	.put = maildir_put,
	.settle = maildir_settle,
	.close = maildir_close,
};
