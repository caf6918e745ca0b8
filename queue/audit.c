// SPDX-License-Identifier: Apache-2.0
#include "queue/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/audit_chain.h"

/* The last line that matters for the chain fits into this. */
enum { AUDIT_TAIL = 512 * 1024 };

struct audit {
	int			fd;	/* O_APPEND */
	struct audit_chain	chain;	/* head of what is in the file */
	bool			begin;	/* older lines stand there: the next one begins the chain */
};

/* All of the log: the rare way, for one that has no chain yet, or at its end none. */
static int
audit_read_all(struct audit *a)
{
	if (audit_chain_read(a->fd, &a->chain) < 0)
		return -1;
	a->begin = a->chain.older > 0 && a->chain.seq == 0;
	if (a->chain.seq == 0)
		return 0;
	/* Chained, and then something else: a log that was tampered with, or an older version
	 * ran meanwhile. A check names that line; what is written now follows the last link. */
	log_warn("audit", "file=audit.log line=%llu error=%s fix=%s",
	    (unsigned long long)a->chain.broken, log_escs(a->chain.why),
	    log_escs("salvaposta audit verify"));
	return 0;
}

static int
audit_tail(struct audit *a)
{
	struct stat st;
	char prev[AUDIT_HEX];
	int rc = -1;

	audit_chain_init(&a->chain);
	a->begin = false;
	if (fstat(a->fd, &st) < 0)
		return -1;
	if (st.st_size == 0)
		return 0;
	size_t n = st.st_size < AUDIT_TAIL ? (size_t)st.st_size : AUDIT_TAIL;
	char *tail = mem_new(n);
	if (pread(a->fd, tail, n, st.st_size - (off_t)n) != (ssize_t)n)
		goto out;
	struct slice s = slice_make(tail, n);
	size_t end = slice_rfind(s, '\n');
	struct slice torn = end == n ? s : slice_sub(s, end + 1, n);
	s = slice_sub(s, 0, end == n ? 0 : end);
	size_t start = slice_rfind(s, '\n');
	s = slice_sub(s, start == s.n ? 0 : start + 1, s.n);
	if (s.n == 0 || !audit_chain_parse(s, &a->chain.seq, prev, a->chain.head)) {
		rc = audit_read_all(a);
		goto out;
	}
	rc = 0;
	if (torn.n == 0)
		goto out;
	/* All of it came to the disk but the newline: it counts. */
	a->chain.no_newline = audit_chain_parse(torn, &a->chain.seq, prev, a->chain.head);
	a->chain.torn_tail = !a->chain.no_newline;
	audit_chain_hash(torn, a->chain.odd_hash);
out:
	free(tail);
	return rc;
}

struct audit *
audit_open(int dirfd)
{
	int fd = openat(dirfd, "audit.log", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return NULL;
	struct audit *a = mem_new(sizeof(*a));
	a->fd = fd;
	if (audit_tail(a) < 0 || fsync(dirfd) < 0) {
		int saved = errno;

		audit_close(&a);
		errno = saved;
	}
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

static json_t *
audit_object(const char *event, const struct audit_who *who)
{
	char when[40];
	json_t *o = json_object();

	clock_iso8601(clock_wall_ms(), when, sizeof(when));
	audit_put(o, "time", when);
	audit_put(o, "event", event);
	json_object_set_new(o, "uid", json_integer((json_int_t)who->uid));
	json_object_set_new(o, "pid", json_integer((json_int_t)who->pid));
	return o;
}

/* The line with its links, after the newline a torn one before it lacks. NULL with errno. */
static char *
audit_line(const struct audit *a, json_t *o, size_t *n, char hash[AUDIT_HEX])
{
	if (a->chain.torn_tail)
		audit_put(o, "torn", a->chain.odd_hash);
	json_object_set_new(o, "seq", json_integer((json_int_t)a->chain.seq + 1));
	audit_put(o, "prev", a->chain.head);
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
	if (text == NULL) {
		errno = EINVAL;
		return NULL;
	}
	size_t len = strlen(text), cap = len + 128;
	char *line = mem_new(cap);
	audit_chain_hash(slice_make(text, len), hash);
	int got = snprintf(line, cap, "%s%.*s,\"hash\":\"%s\"}\n", a->chain.torn_tail ||
	    a->chain.no_newline ? "\n" : "", (int)len - 1, text, hash);
	free(text);
	CHECK(got > 0 && (size_t)got < cap);
	*n = (size_t)got;
	return line;
}

/* Takes the object. 0 when the line is on stable storage. */
static int
audit_append(struct audit *a, json_t *o)
{
	char hash[AUDIT_HEX];
	size_t n = 0;
	char *line = audit_line(a, o, &n, hash);

	json_decref(o);
	if (line == NULL)
		return -1;
	/* One write, so that two lines never mix; then stable before anybody is told. */
	ssize_t put = write(a->fd, line, n);
	int saved = errno;
	free(line);
	if (put == (ssize_t)n) {
		a->chain.seq++;
		memcpy(a->chain.head, hash, sizeof(a->chain.head));
		a->chain.torn_tail = a->chain.no_newline = a->begin = false;
		return fdatasync(a->fd);
	}
	if (put > 0) {
		saved = ENOSPC;
		(void)audit_tail(a);
	}
	errno = saved;
	return -1;
}

/* Seals what an older version wrote. */
static int
audit_begin(struct audit *a)
{
	const struct audit_who queue = { geteuid(), 0 };
	json_t *o = audit_object("chain-start", &queue);
	char rolled[AUDIT_HEX];

	crypto_hex(a->chain.rolled, sizeof(a->chain.rolled), rolled);
	json_object_set_new(o, "before", json_pack("{s:I, s:s}", "lines",
	    (json_int_t)a->chain.older, "sha256", rolled));
	return audit_append(a, o);
}

int
audit_write(struct audit *a, const struct audit_record *r)
{
	if (a->begin && audit_begin(a) < 0)
		return -1;
	json_t *o = audit_object(r->event, &r->who);
	audit_put(o, "domain", r->domain);
	audit_put(o, "shard", r->shard);
	audit_put(o, "from", r->from);
	audit_put(o, "to", r->to);
	audit_put(o, "phase", r->phase);
	audit_put(o, "until", r->until);
	audit_put(o, "reason", r->reason);
	audit_put(o, "id", r->id);
	audit_put(o, "user", r->user);
	if (r->count != NULL)
		json_object_set_new(o, "count", json_integer((json_int_t)*r->count));
	if (r->window != NULL)
		json_object_set_new(o, "window", json_integer((json_int_t)*r->window));
	json_object_set(o, "filter", r->filter);	/* NULL changes nothing */
	json_object_set(o, "ids", r->ids);
	json_object_set(o, "evidence", r->evidence);
	if (audit_append(a, o) < 0)
		return -1;
	/* Where logs are kept elsewhere too, a file cut at its end shows (audit_chain.h). */
	log_info("audit", "event=%s seq=%llu head=%s", r->event,
	    (unsigned long long)a->chain.seq, a->chain.head);
	return 0;
}
