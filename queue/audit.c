// SPDX-License-Identifier: Apache-2.0
#include "queue/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct audit {
	int	fd;	/* O_APPEND */
};

/* A line may have been cut by a crash: end it, so that ours stands alone. */
static int
audit_end_torn_line(int fd)
{
	struct stat st;
	char last;

	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_size == 0)
		return 0;
	if (pread(fd, &last, 1, st.st_size - 1) != 1)
		return -1;
	if (last == '\n')
		return 0;
	return write(fd, "\n", 1) == 1 ? 0 : -1;
}

struct audit *
audit_open(int dirfd)
{
	int fd = openat(dirfd, "audit.log", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return NULL;
	if (audit_end_torn_line(fd) < 0 || fsync(dirfd) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return NULL;
	}
	struct audit *a = mem_new(sizeof(*a));
	a->fd = fd;
	return a;
}

void
audit_close(struct audit **ap)
{
	struct audit *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	close(a->fd);
	free(a);
}

static void
audit_put(json_t *o, const char *key, const char *value)
{
	if (value == NULL)
		return;
	/* What an operator typed may not be UTF-8; the line must be JSON all the same. */
	json_t *v = json_string(value);
	if (v == NULL)
		v = json_string("(not UTF-8)");
	json_object_set_new(o, key, v);
}

int
audit_write(struct audit *a, const struct audit_record *r)
{
	char when[40];
	json_t *o = json_object();

	clock_iso8601(clock_wall_ms(), when, sizeof(when));
	audit_put(o, "time", when);
	audit_put(o, "event", r->event);
	json_object_set_new(o, "uid", json_integer((json_int_t)r->who.uid));
	json_object_set_new(o, "pid", json_integer((json_int_t)r->who.pid));
	audit_put(o, "domain", r->domain);
	audit_put(o, "shard", r->shard);
	audit_put(o, "from", r->from);
	audit_put(o, "to", r->to);
	audit_put(o, "reason", r->reason);
	audit_put(o, "id", r->id);
	if (r->count != NULL)
		json_object_set_new(o, "count", json_integer((json_int_t)*r->count));
	json_object_set(o, "filter", r->filter);	/* NULL changes nothing */
	json_object_set(o, "ids", r->ids);

	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(o);
	if (text == NULL) {
		errno = EINVAL;
		return -1;
	}
	size_t n = strlen(text);
	char *line = mem_new(n + 1);
	memcpy(line, text, n);
	line[n] = '\n';
	free(text);

	/* One write, so that two lines never mix; then stable before anybody is told. */
	ssize_t put = write(a->fd, line, n + 1);
	int saved = errno;
	free(line);
	if (put == (ssize_t)(n + 1))
		return fdatasync(a->fd);
	if (put > 0) {
		saved = ENOSPC;
		(void)audit_end_torn_line(a->fd);
	}
	errno = saved;
	return -1;
}
