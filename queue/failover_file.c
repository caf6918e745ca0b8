// SPDX-License-Identifier: Apache-2.0
/*
 * failover.json. Format 1 had groups of on or off without an end, 2 added auto, the end of a
 * mode and windows; this reads both. Early files of format 2 do not say why the phase is
 * what it is; programs that wrote those read later ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/failover_priv.h"

#define FAILOVER_TEMP	"failover.json.new"

enum { FAILOVER_FILE_MAX = 512 * 1024 * 1024, FAILOVER_FORMAT_OLDEST = 1, FAILOVER_FORMAT = 2 };

static json_t *
group_json(const struct failover_group *g)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:s, s:O*}",
	    "domain", g->domain, "shard", g->shard,
	    "mode", failover_mode_name(g->mode), "base", failover_mode_name(g->base),
	    "phase", failover_phase_name(g->phase), "until_ms", (json_int_t)g->until_ms,
	    "since_ms", (json_int_t)g->since_ms, "reason", g->reason,
	    "uid", (json_int_t)g->who.uid, "pid", (json_int_t)g->who.pid,
	    "phase_reason", g->phase_reason, "phase_evidence", g->phase_evidence);
}

static json_t *
window_json(const struct failover_window *w)
{
	return json_pack("{s:I, s:s, s:s*, s:I, s:I, s:s, s:I, s:I}", "id", (json_int_t)w->id,
	    "domain", w->domain, "shard", w->shard, "from_ms", (json_int_t)w->from_ms,
	    "until_ms", (json_int_t)w->until_ms, "reason", w->reason,
	    "uid", (json_int_t)w->who.uid, "pid", (json_int_t)w->who.pid);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* Temporary name, check each write, fsync, rename, fsync the directory. */
static int
failover_replace(int dirfd, const char *text)
{
	int rc = -1, saved;
	int fd = openat(dirfd, FAILOVER_TEMP,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return -1;
	if (write_all(fd, text, strlen(text)) < 0 || fsync(fd) < 0)
		goto out;
	if (renameat(dirfd, FAILOVER_TEMP, dirfd, FAILOVER_FILE) < 0 || fsync(dirfd) < 0)
		goto out;
	rc = 0;
out:
	saved = errno;
	if (close(fd) < 0 && rc == 0) {
		saved = errno;
		rc = -1;
	}
	errno = saved;
	return rc;
}

/* The list with the new member; NULL when that could not be made (text that is no UTF-8). */
static json_t *
list_with(json_t *list, json_t *o)
{
	if (list != NULL && o != NULL && json_array_append_new(list, o) == 0)
		return list;
	json_decref(list);
	return NULL;
}

static char *
failover_text(const struct failover *f)
{
	json_t *groups = json_array(), *windows = json_array();

	for (size_t i = 0; i < f->ngroup; i++)
		groups = list_with(groups, group_json(f->group[i]));
	for (size_t i = 0; i < f->nwindow; i++)
		windows = list_with(windows, window_json(&f->window[i]));
	json_t *top = json_pack("{s:i, s:o, s:o, s:I}", "format", FAILOVER_FORMAT, "groups", groups,
	    "windows", windows, "last_window", (json_int_t)f->last_window);
	char *text = top == NULL ? NULL : json_dumps(top, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(top);
	return text;
}

int
failover_save(struct failover *f)
{
	char *text = failover_text(f);

	if (text == NULL) {
		errno = EINVAL;
		return -1;
	}
	int rc = failover_replace(f->dirfd, text);
	int saved = errno;
	free(text);
	errno = saved;
	return rc;
}

static int
group_load(struct failover *f, json_t *o)
{
	const char *domain, *shard, *mode, *base = NULL, *phase, *reason, *why = "";
	json_t *evidence = NULL;
	json_int_t since, uid, pid, until = 0;
	enum failover_phase p;
	enum conf_failover m, b;

	if (json_unpack(o, "{s:s, s:s, s:s, s?s, s:s, s:I, s?I, s:s, s:I, s:I, s?s, s?o}",
	    "domain", &domain, "shard", &shard, "mode", &mode, "base", &base, "phase", &phase,
	    "since_ms", &since, "until_ms", &until, "reason", &reason, "uid", &uid,
	    "pid", &pid, "phase_reason", &why, "phase_evidence", &evidence) < 0)
		return -1;
	if (failover_phase_parse(phase, &p) < 0 || failover_mode_parse(mode, &m) < 0 ||
	    failover_mode_parse(base == NULL ? mode : base, &b) < 0)
		return -1;
	if (failover_group_named(f, slice_str(domain), slice_str(shard)) != NULL)
		return -1;
	struct failover_group *g = failover_group_add(f, domain, shard);
	g->mode = m;
	g->base = b;
	g->until_ms = until;
	g->phase = p;
	g->since_ms = since;
	g->who = (struct audit_who){ (uid_t)uid, (pid_t)pid };
	failover_text_set(&g->reason, reason);
	failover_text_set(&g->phase_reason, why);
	g->phase_evidence = json_is_object(evidence) ? json_incref(evidence) : NULL;
	return 0;
}

static int
window_load(struct failover *f, json_t *o)
{
	const char *domain, *shard = NULL, *reason;
	json_int_t id, from, until, uid, pid;

	if (json_unpack(o, "{s:I, s:s, s?s, s:I, s:I, s:s, s:I, s:I}", "id", &id, "domain",
	    &domain, "shard", &shard, "from_ms", &from, "until_ms", &until, "reason", &reason,
	    "uid", &uid, "pid", &pid) < 0)
		return -1;
	const struct failover_window w = { .id = (uint64_t)id, .domain = (char *)(uintptr_t)domain,
		.shard = (char *)(uintptr_t)shard, .from_ms = from, .until_ms = until,
		.reason = (char *)(uintptr_t)reason, .who = { (uid_t)uid, (pid_t)pid } };
	failover_window_put(f, &w);
	return 0;
}

static int
failover_parse(struct failover *f, const char *text, size_t n)
{
	json_error_t e;
	json_t *top = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	json_t *list = json_object_get(top, "groups"), *o;
	json_int_t format = json_integer_value(json_object_get(top, "format"));
	int rc = -1;
	size_t i;

	if (format < FAILOVER_FORMAT_OLDEST || format > FAILOVER_FORMAT || !json_is_array(list))
		goto out;
	json_array_foreach(list, i, o)
		if (group_load(f, o) < 0)
			goto out;
	json_array_foreach(json_object_get(top, "windows"), i, o)
		if (window_load(f, o) < 0)
			goto out;
	f->last_window = (uint64_t)json_integer_value(json_object_get(top, "last_window"));
	rc = 0;
out:
	json_decref(top);
	return rc;
}

int
failover_load(struct failover *f)
{
	int rc = -1;
	char *text = NULL;
	struct stat st;
	size_t n = 0;
	int fd = openat(f->dirfd, FAILOVER_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > FAILOVER_FILE_MAX) {
		log_error("failover-state", "file=" FAILOVER_FILE " error=%s", log_escs(strerror(errno)));
		goto out;
	}
	text = mem_new((size_t)st.st_size + 1);
	while (n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (n == (size_t)st.st_size && failover_parse(f, text, n) == 0)
		rc = 0;
	else
		log_error("failover-state", "file=" FAILOVER_FILE " error=damaged fix=%s",
		    log_escs("look at it and audit.log; move it away to start from relay.conf"));
out:
	free(text);
	if (fd >= 0)
		close(fd);
	return rc;
}
