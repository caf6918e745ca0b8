// SPDX-License-Identifier: Apache-2.0
/*
 * mbox, quoted so that it can be undone (mboxrd), with LF at line ends (RFC 4155). What
 * is there and what is new is written to a file beside it that takes its place at the
 * end: readers see the old or the new one, never half a message. A second run knows
 * from the X-Fwd-Queue-Id on top of each message what is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/export.h"
#include "base/mem.h"

enum {
	OPEN_MAX_FILES = 128,		/* descriptors kept open */
	BUCKETS = 4096,
	TOP_LINES = 8,			/* where our field is looked for, after "From " */
	KEY = MSGID_LEN + 2
};

struct mbox_user {
	struct mbox_user *next;		/* same bucket */
	struct export_user user;
	int		 fd;		/* of the file being made; -1: closed */
	bool		 begun;		/* there is a file being made */
	uint64_t	 used;		/* tick */
};

struct id_key {
	uint8_t	b[KEY];		/* message id, recipient */
};

struct mbox {
	int		 folder;	/* borrowed */
	struct mbox_user *bucket[BUCKETS];
	struct mbox_user *open[OPEN_MAX_FILES];
	size_t		 nopen;
	uint64_t	 tick;
	struct id_key	*seen;		/* hash table; all zeros is a free slot */
	size_t		 nseen, capseen;
	struct mailfile_out out;
};

/* ---- what is there ---- */

static size_t
id_slot(const struct id_key *table, size_t cap, const struct id_key *k)
{
	static const struct id_key none;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < KEY; i++)
		h = (h ^ k->b[i]) * 0x100000001b3ull;
	size_t at = (size_t)(h ^ h >> 32) & (cap - 1);
	while (memcmp(&table[at], &none, KEY) != 0 && memcmp(&table[at], k, KEY) != 0)
		at = (at + 1) & (cap - 1);
	return at;
}

static bool
seen_has(const struct mbox *x, const struct id_key *k)
{
	return x->nseen > 0 && memcmp(&x->seen[id_slot(x->seen, x->capseen, k)], k, KEY) == 0;
}

static void
seen_add(struct mbox *x, const struct id_key *k)
{
	static const struct id_key none;

	if (memcmp(k, &none, KEY) == 0 || seen_has(x, k))
		return;
	if (x->nseen * 2 >= x->capseen) {
		size_t cap = x->capseen == 0 ? 1024 : x->capseen * 2;
		struct id_key *t = mem_array(cap, sizeof(*t));
		for (size_t i = 0; i < x->capseen; i++)
			if (memcmp(&x->seen[i], &none, KEY) != 0)
				t[id_slot(t, cap, &x->seen[i])] = x->seen[i];
		free(x->seen);
		x->seen = t;
		x->capseen = cap;
	}
	x->seen[id_slot(x->seen, x->capseen, k)] = *k;
	x->nseen++;
}

/* "id/recipient" */
static int
id_parse(struct slice s, struct id_key *k)
{
	size_t slash = slice_find(s, '/');
	struct msgid id;
	uint64_t n;

	if (msgid_parse(slice_sub(s, 0, slash), &id) != 0 ||
	    slice_u64(slice_trim(slice_sub(s, slash + 1, s.n)), &n) != 0 || n > UINT16_MAX)
		return -1;
	memcpy(k->b, id.b, MSGID_LEN);
	k->b[MSGID_LEN] = (uint8_t)n;
	k->b[MSGID_LEN + 1] = (uint8_t)(n >> 8);
	return 0;
}

/* No line of a message begins with "From ", so only separators do. */
static int
seen_load(struct mbox *x, int domain, const char *name)
{
	static const struct slice field = { "X-Fwd-Queue-Id: ", 16 };
	int fd = openat(domain, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *line = NULL;
	size_t cap = 0;
	unsigned top = 0;
	struct id_key k;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	FILE *f = fdopen(fd, "r");
	if (f == NULL) {
		close(fd);
		return -1;
	}
	while ((n = getline(&line, &cap, f)) > 0) {
		struct slice s = slice_make(line, (size_t)n);
		if (n >= 5 && memcmp(line, "From ", 5) == 0) {
			top = TOP_LINES;
		} else if (top > 0) {
			top = slice_trim(s).n == 0 ? 0 : top - 1;
			if (slice_istarts(s, field) && top > 0 &&
			    id_parse(slice_trim(slice_sub(s, field.n, s.n)), &k) == 0) {
				seen_add(x, &k);
				top = 0;
			}
		}
	}
	int rc = ferror(f) ? -1 : 0;
	free(line);
	(void)fclose(f);
	return rc;
}

/* ---- files ---- */

static void
final_name(const struct mbox_user *u, char out[MAILFILE_NAME_MAX + 8])
{
	(void)snprintf(out, MAILFILE_NAME_MAX + 8, "%s.mbox", u->user.local);
}

/* mailfile_name never makes "%t": nobody's name. */
static void
tmp_name(const struct mbox_user *u, char out[MAILFILE_NAME_MAX + 8])
{
	(void)snprintf(out, MAILFILE_NAME_MAX + 8, "%s%%tmp", u->user.local);
}

static void *
mbox_open(int folder, bool lf)
{
	struct mbox *x = mem_new(sizeof(*x));

	(void)lf;	/* it always is */
	x->folder = folder;
	return x;
}

/* NULL after an error: the user's file could not be read. */
static struct mbox_user *
user_get(struct mbox *x, const struct export_user *u, char why[EXPORT_WHY])
{
	char name[MAILFILE_NAME_MAX + 8];
	size_t h = 5381;

	for (const char *p = u->local; *p != '\0'; p++)
		h = h * 33 ^ (uint8_t)*p;
	struct mbox_user **at = &x->bucket[h % BUCKETS], *m = *at;
	while (m != NULL && (strcmp(m->user.local, u->local) != 0 ||
	    strcmp(m->user.domain, u->domain) != 0))
		m = m->next;
	if (m != NULL)
		return m;
	m = mem_new(sizeof(*m));
	m->user = *u;
	m->fd = -1;
	final_name(m, name);
	int domain = export_folder(x->folder, u->domain);
	if (domain < 0 || seen_load(x, domain, name) != 0) {
		export_fail(why, u, name, errno);
		free(m);
		m = NULL;
	} else {
		m->next = *at;
		*at = m;
	}
	if (domain >= 0)
		close(domain);
	return m;
}

static void
user_closed(struct mbox *x, struct mbox_user *m)
{
	for (size_t i = 0; i < x->nopen; i++)
		if (x->open[i] == m)
			x->open[i] = x->open[--x->nopen];
	close(m->fd);
	m->fd = -1;
}

/* The messages that are there, and what a foreign hand may have left out at the end. */
static int
copy_old(int domain, const char *name, int to)
{
	int fd = openat(domain, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char b[MAILFILE_OUT], end[2] = { '\n', '\n' };
	ssize_t n = 0;
	int rc = -1;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	while ((n = read(fd, b, sizeof(b))) > 0) {
		end[0] = n > 1 ? b[n - 2] : end[1];
		end[1] = b[n - 1];
		for (ssize_t at = 0, w; at < n; at += w) {
			w = write(to, b + at, (size_t)(n - at));
			if (w <= 0)
				goto out;
		}
	}
	if (n == 0 && (end[1] == '\n' || write(to, "\n", 1) == 1) &&
	    ((end[0] == '\n' && end[1] == '\n') || write(to, "\n", 1) == 1))
		rc = 0;
out:
	close(fd);
	return rc;
}

static int
user_begin(struct mbox_user *m, int domain)
{
	char tmp[MAILFILE_NAME_MAX + 8], name[MAILFILE_NAME_MAX + 8];

	tmp_name(m, tmp);
	final_name(m, name);
	if (unlinkat(domain, tmp, 0) != 0 && errno != ENOENT)
		return -1;
	m->fd = openat(domain, tmp, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
	    0600);
	if (m->fd < 0)
		return -1;
	if (copy_old(domain, name, m->fd) != 0) {
		int e = errno;
		close(m->fd);
		m->fd = -1;
		unlinkat(domain, tmp, 0);
		errno = e;
		return -1;
	}
	m->begun = true;
	return 0;
}

/* Its file is open for appending. 0 or -1 with errno. */
static int
user_open(struct mbox *x, struct mbox_user *m)
{
	char tmp[MAILFILE_NAME_MAX + 8];
	int rc = 0;

	m->used = ++x->tick;
	if (m->fd >= 0)
		return 0;
	if (x->nopen == OPEN_MAX_FILES) {
		struct mbox_user *old = x->open[0];
		for (size_t i = 1; i < x->nopen; i++)
			if (x->open[i]->used < old->used)
				old = x->open[i];
		user_closed(x, old);
	}
	int domain = export_folder(x->folder, m->user.domain);
	if (domain < 0)
		return -1;
	tmp_name(m, tmp);
	if (!m->begun)
		rc = user_begin(m, domain);
	else
		m->fd = openat(domain, tmp, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	int e = errno;
	close(domain);
	errno = e;
	if (rc != 0 || m->fd < 0)
		return -1;
	x->open[x->nopen++] = m;
	return 0;
}

/* "From sender date" in UTC; what is no visible ASCII character would split the line. */
static void
put_from(struct mailfile_out *o, const struct mailfile *m)
{
	time_t t = (time_t)(m->received_ms / 1000);
	char date[40];
	struct tm tm;

	mailfile_raw(o, SLICE_LIT("From "));
	for (size_t i = 0; i < m->sender.n; i++) {
		uint8_t c = (uint8_t)m->sender.p[i];
		mailfile_raw(o, c > 0x20 && c < 0x7f ? slice_make(&m->sender.p[i], 1) :
		    SLICE_LIT("-"));
	}
	if (m->sender.n == 0)
		mailfile_raw(o, SLICE_LIT("MAILER-DAEMON"));
	if (gmtime_r(&t, &tm) == NULL || strftime(date, sizeof(date), " %a %b %e %H:%M:%S %Y\n",
	    &tm) == 0)
		(void)snprintf(date, sizeof(date), " Thu Jan  1 00:00:00 1970\n");
	mailfile_raw(o, slice_str(date));
}

static enum export_put
mbox_put(void *arg, const struct export_user *u, const struct mailfile *m, uint64_t *bytes,
    char why[EXPORT_WHY])
{
	struct mbox *x = arg;
	struct mbox_user *user = user_get(x, u, why);
	char name[MAILFILE_NAME_MAX + 8];
	struct stat st;
	struct id_key k = { { 0 } };

	*bytes = 0;
	if (user == NULL)
		return EXPORT_ERROR;
	CHECK(id_parse(slice_str(m->id), &k) == 0);
	if (seen_has(x, &k))
		return EXPORT_PRESENT;
	final_name(user, name);
	if (user_open(x, user) != 0 || fstat(user->fd, &st) != 0) {
		export_fail(why, u, name, errno);
		return EXPORT_ERROR;
	}
	mailfile_begin(&x->out, user->fd, true, true);
	put_from(&x->out, m);
	mailfile_write(&x->out, m);
	if (x->out.last != '\n')
		mailfile_put(&x->out, x->out.last == '\r' ? SLICE_LIT("\n") : SLICE_LIT("\r\n"));
	mailfile_put(&x->out, SLICE_LIT("\r\n"));
	if (mailfile_end(&x->out) != 0) {
		export_fail(why, u, name, errno);
		/* Half a message would look like a whole one. */
		if (ftruncate(user->fd, st.st_size) != 0)
			user->begun = false;
		return EXPORT_ERROR;
	}
	/* Beside a running relay a message may be seen twice while its segment is rewritten. */
	seen_add(x, &k);
	*bytes = x->out.bytes;
	return EXPORT_WRITTEN;
}

static int
user_settle(struct mbox *x, struct mbox_user *m)
{
	char tmp[MAILFILE_NAME_MAX + 8], name[MAILFILE_NAME_MAX + 8];

	if (user_open(x, m) != 0)
		return -1;
	int rc = fsync(m->fd), domain = -1;
	user_closed(x, m);
	if (rc == 0)
		rc = domain = export_folder(x->folder, m->user.domain);
	if (rc >= 0) {
		tmp_name(m, tmp);
		final_name(m, name);
		rc = renameat(domain, tmp, domain, name) == 0 && fsync(domain) == 0 ? 0 : -1;
	}
	int e = errno;
	if (domain >= 0)
		close(domain);
	errno = e;
	m->begun = rc != 0;
	return rc;
}

static int
mbox_settle(void *arg, char why[EXPORT_WHY])
{
	char name[MAILFILE_NAME_MAX + 8];
	struct mbox *x = arg;
	int rc = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct mbox_user *m = x->bucket[i]; m != NULL; m = m->next) {
			if (!m->begun || user_settle(x, m) == 0)
				continue;
			final_name(m, name);
			rc = export_fail(why, &m->user, name, errno);
		}
	}
	return rc;
}

static void
mbox_close(void *arg)
{
	char tmp[MAILFILE_NAME_MAX + 8];
	struct mbox *x = arg;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct mbox_user *m = x->bucket[i], *next; m != NULL; m = next) {
			next = m->next;
			tmp_name(m, tmp);
			int domain = m->begun ? export_folder(x->folder, m->user.domain) : -1;
			if (domain >= 0) {
				unlinkat(domain, tmp, 0);
				close(domain);
			}
			if (m->fd >= 0)
				close(m->fd);
			free(m);
		}
	}
	free(x->seen);
	free(x);
}

const struct export_format export_mbox = {
	.name = "mbox",
	.open = mbox_open,
	.put = mbox_put,
	.settle = mbox_settle,
	.close = mbox_close,
};
