// SPDX-License-Identifier: Apache-2.0
#include "admin/spool_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum { READER_PATH_MAX = 8192 };

static char *
join(const char *a, const char *b)
{
	struct buf out;

	buf_init(&out, READER_PATH_MAX);
	if (buf_printf(&out, "%s/%s", a, b) != 0)
		buf_clear(&out);
	char *s = slice_dup(buf_slice(&out));
	buf_fini(&out);
	return s;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory that has seg/ in it; people name the state directory as well. Owned. */
static char *
find_queue(const char *named)
{
	char *seg = join(named, "seg"), *inner = join(named, "queue");

	if (!is_folder(seg) && is_folder(inner)) {
		free(seg);
		return inner;
	}
	free(seg);
	free(inner);
	return mem_str(named);
}

static int
complain(const struct spool_reader *r, const char *command, const char *what)
{
	fprintf(stderr, "salvaposta %s: %s: %s\n", command, r->dir, what);
	return -1;
}

static int
take_lock(struct spool_reader *r, const char *command)
{
	r->lock_fd = openat(r->dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (r->lock_fd < 0) {
		if (errno == ENOENT)	/* a copy without it */
			return 0;
		return complain(r, command, errno == EACCES ? "permission denied: run this as root "
		    "or as the owner of the spool" : strerror(errno));
	}
	if (flock(r->lock_fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return complain(r, command, "a relay is running on this spool: stop it first, or "
		    "use --live for a snapshot beside it");
	return complain(r, command, strerror(errno));
}

int
spool_reader_open(struct spool_reader *r, const struct cli *cli, const char *command,
    const char *spool, bool live)
{
	*r = (struct spool_reader){ .dir_fd = -1, .lock_fd = -1, .live = live };
	if (spool != NULL) {
		r->dir = find_queue(spool);
	} else {
		r->conf = cli_conf(cli);
		if (r->conf == NULL)
			return -1;
		r->dir = join(r->conf->state_dir, "queue");
	}
	char *seg = join(r->dir, "seg");
	int seg_fd = -1, rc = -1;
	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd >= 0)
		seg_fd = open(seg, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (seg_fd >= 0)
		rc = live ? 0 : take_lock(r, command);
	else if (errno == EACCES)
		complain(r, command, "permission denied: run this as root or as the owner of the "
		    "spool");
	else if (errno == ENOENT && r->dir_fd >= 0)
		complain(r, command, "this is no spool: there is no seg/ in it");
	else
		complain(r, command, strerror(errno));
	if (seg_fd >= 0)
		close(seg_fd);
	free(seg);
	if (rc != 0)
		spool_reader_close(r);
	return rc;
}

void
spool_reader_close(struct spool_reader *r)
{
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	r->lock_fd = r->dir_fd = -1;
	free(r->dir);
	r->dir = NULL;
	conf_free(&r->conf);
}

bool
spool_reader_has(const struct spool_reader *r, uint64_t segment)
{
	char name[40];

	(void)snprintf(name, sizeof(name), "seg/%012llu.log", (unsigned long long)segment);
	return faccessat(r->dir_fd, name, F_OK, 0) == 0;
}

unsigned
spool_reader_set_aside(const struct spool_reader *r)
{
	int fd = openat(r->dir_fd, "damaged", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}
