// SPDX-License-Identifier: Apache-2.0
#include "admin/spool_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "base/buf.h"
#include "base/mem.h"

enum { READER_PATH_MAX = 8192, LOCK_PAUSE_MS = 20, LOCK_TRIES = 50 };

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

int
spool_reader_fail(const struct cli *cli, const char *command, const char *path,
    const char *what)
{
	char text[READER_PATH_MAX + 512];

	fprintf(stderr, "salvaposta %s: %s: %s\n", command, path, what);
	if (!cli->json)
		return -1;
	(void)snprintf(text, sizeof(text), "%s: %s", path, what);
	json_t *why = json_string(text);	/* NULL when the path is not UTF-8 */
	json_t *o = json_pack("{s:b, s:o}", "ok", 0, "error", why != NULL ? why :
	    json_string(what));
	control_print(o);
	json_decref(o);
	return -1;
}

static const char no_right[] =
    "permission denied: run this as root or as the owner of the spool";
static const char in_use[] =
    "a relay is running on this spool: stop it first, or use --live for a snapshot beside it";

/* The threads of a relay that was just killed may still be inside a write: the lock goes
 * with the last of them. */
static int
lock_shared(int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };

	for (int tries = 0; flock(fd, LOCK_SH | LOCK_NB) != 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return -1;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* NULL when it is ours, or why not. */
static const char *
take_lock(struct spool_reader *r)
{
	r->lock_fd = openat(r->dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (r->lock_fd < 0 && errno == ENOENT)	/* a copy without it */
		return NULL;
	if (r->lock_fd >= 0 && lock_shared(r->lock_fd) == 0)
		return NULL;
	return errno == EWOULDBLOCK ? in_use : errno == EACCES ? no_right : strerror(errno);
}

/* NULL when there is a spool and it may be read, or why not. */
static const char *
open_dir(struct spool_reader *r)
{
	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd < 0)
		return errno == EACCES ? no_right : strerror(errno);
	int seg = openat(r->dir_fd, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (seg < 0)
		return errno == EACCES ? no_right : errno == ENOENT ?
		    "this is no spool: there is no seg/ in it" : strerror(errno);
	close(seg);
	return r->live ? NULL : take_lock(r);
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
	const char *why = open_dir(r);
	if (why == NULL)
		return 0;
	spool_reader_fail(cli, command, r->dir, why);
	spool_reader_close(r);
	return -1;
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
