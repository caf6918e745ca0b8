// SPDX-License-Identifier: Apache-2.0
#include "queue/debris.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/le.h"
#include "base/log.h"
#include "base/mem.h"

#define MAGIC	"SvpBnc1\n"
enum { HEAD = 16, FILE_MAX = HEAD + CRYPTO_SEAL_MORE + DEBRIS_ONE_MAX, DEBRIS_SKEW_MS = 60 * 1000 };

struct piece {
	struct msgid	id;
	int64_t		time_ms;
	uint64_t	size;
};

struct debris {
	int		 fd;		/* of the folder, owned; -1: there is none */
	bool		 has_key;
	uint8_t		 key[32];
	struct debris_bounds bounds;
	struct piece	*piece;		/* owned; oldest first */
	size_t		 n, cap;
	uint64_t	 bytes;
};

static void
debris_add(struct debris *d, const struct piece *p)
{
	size_t at = d->n;

	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : 2 * d->cap;
		d->piece = mem_resize(d->piece, d->cap, sizeof(*d->piece));
	}
	while (at > 0 && d->piece[at - 1].time_ms > p->time_ms)
		at--;
	memmove(&d->piece[at + 1], &d->piece[at], (d->n - at) * sizeof(*p));
	d->piece[at] = *p;
	d->n++;
	d->bytes += p->size;
}

static void
debris_drop(struct debris *d, size_t at)
{
	char name[MSGID_TEXT + 1];

	msgid_print(d->piece[at].id, name);
	if (unlinkat(d->fd, name, 0) < 0 && errno != ENOENT)
		log_warn("bounce-debug", "file=bounces/%s error=%s", name, log_escs(strerror(errno)));
	d->bytes -= d->piece[at].size;
	d->n--;
	memmove(&d->piece[at], &d->piece[at + 1], (d->n - at) * sizeof(d->piece[0]));
}

static void
debris_fit(struct debris *d, uint64_t more)
{
	while (d->n > 0 && (d->n + (more > 0) > d->bounds.max ||
	    d->bytes + more > d->bounds.size_max))
		debris_drop(d, 0);
}

/* What is no file of ours stays where it is. */
static void
debris_read(struct debris *d, const char *name)
{
	uint8_t head[HEAD];
	struct piece p;
	struct stat st;
	int fd;

	if (msgid_parse(slice_str(name), &p.id) != 0)
		return;
	fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		log_warn("bounce-debug", "file=bounces/%s error=%s effect=%s", name,
		    log_escs(strerror(errno)), log_escs("it is not erased in time: erase it by hand"));
		return;
	}
	p.time_ms = 0;		/* torn: the first to go */
	if (read(fd, head, HEAD) == HEAD && memcmp(head, MAGIC, 8) == 0)
		p.time_ms = (int64_t)le_get(head + 8, 8);
	p.size = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	close(fd);
	debris_add(d, &p);
}

static void
debris_scan(struct debris *d)
{
	int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 3);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (dir == NULL) {
		log_warn("bounce-debug", "file=bounces error=%s effect=%s", log_escs(strerror(errno)),
		    log_escs("what is there already is not erased in time: erase it by hand"));
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dir)) != NULL)
		debris_read(d, e->d_name);
	closedir(dir);
}

struct debris *
debris_open(int dirfd, struct slice key, const struct debris_bounds *b)
{
	struct debris *d = mem_new(sizeof(*d));

	d->bounds = *b;
	d->has_key = key.n > 0;
	if (d->has_key) {	/* a key for nothing else */
		crypto_hmac_sha256(key, SLICE_LIT("salvaposta bounces 1"), d->key);
		if (mkdirat(dirfd, "bounces", 0700) < 0 && errno != EEXIST)
			log_warn("bounce-debug", "file=bounces error=%s", log_escs(strerror(errno)));
	}
	d->fd = openat(dirfd, "bounces", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (d->fd < 0) {
		if (d->has_key)
			log_warn("bounce-debug", "file=bounces error=%s effect=%s",
			    log_escs(strerror(errno)), log_escs("no bounce is kept for debugging"));
		return d;
	}
	debris_scan(d);
	while (!d->has_key && d->n > 0)
		debris_drop(d, 0);
	debris_fit(d, 0);
	return d;
}

void
debris_close(struct debris **dp)
{
	struct debris *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	if (d->fd >= 0)
		close(d->fd);
	explicit_bzero(d->key, sizeof(d->key));
	free(d->piece);
	free(d);
}

void
debris_limit(struct debris *d, const struct debris_bounds *b)
{
	d->bounds = *b;
	debris_fit(d, 0);
}

bool
debris_keeps(const struct debris *d)
{
	return d->has_key && d->fd >= 0;
}

static int
debris_write(struct debris *d, const char *name, struct slice s)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;
	int saved;

	if (fd < 0)
		return -1;
	n = write(fd, s.p, s.n);
	saved = n < 0 ? errno : ENOSPC;
	if (close(fd) == 0 && n == (ssize_t)s.n)
		return 0;
	(void)unlinkat(d->fd, name, 0);
	errno = saved;
	return -1;
}

int
debris_put(struct debris *d, struct msgid id, struct slice body, int64_t now_ms)
{
	struct piece p = { .id = id, .time_ms = now_ms };
	char name[MSGID_TEXT + 1];
	uint8_t head[HEAD] = MAGIC;
	struct buf b;
	int rc = -1;

	errno = EINVAL;
	if (!debris_keeps(d))
		return -1;
	msgid_print(id, name);
	le_put(head + 8, (uint64_t)now_ms, 8);
	buf_init(&b, FILE_MAX);
	body = slice_sub(body, 0, DEBRIS_ONE_MAX);
	if (buf_put(&b, head, HEAD) == 0 &&
	    crypto_seal(d->key, slice_make((const char *)id.b, MSGID_LEN), body, &b) == 0) {
		p.size = buf_len(&b);
		debris_fit(d, p.size);
		errno = ENOSPC;
		if (p.size <= d->bounds.size_max)
			rc = debris_write(d, name, buf_slice(&b));
	}
	buf_fini(&b);
	if (rc == 0)
		debris_add(d, &p);
	return rc;
}

int
debris_get(struct debris *d, struct msgid id, struct buf *out)
{
	char name[MSGID_TEXT + 1], *text;
	ssize_t n = -1;
	int rc = -1, fd;

	msgid_print(id, name);
	fd = debris_keeps(d) ? openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return -1;
	text = mem_array(FILE_MAX, 1);
	n = read(fd, text, FILE_MAX);
	close(fd);
	if (n >= HEAD && memcmp(text, MAGIC, 8) == 0)
		rc = crypto_open(d->key, slice_make((const char *)id.b, MSGID_LEN),
		    slice_make(text + HEAD, (size_t)n - HEAD), out);
	free(text);
	return rc;
}

void
debris_sweep(struct debris *d, int64_t now_ms)
{
	while (d->n > 0 && now_ms - d->piece[0].time_ms >= d->bounds.age_ms)
		debris_drop(d, 0);
	/* of a time to come: the wall clock was set back, and nobody knows its age */
	while (d->n > 0 && d->piece[d->n - 1].time_ms > now_ms + DEBRIS_SKEW_MS)
		debris_drop(d, d->n - 1);
}

size_t
debris_count(const struct debris *d)
{
	return d->n;
}
