// SPDX-License-Identifier: Apache-2.0
/*
 * What operators said about replays, in one small file: {"format": 1, "groups": [{domain,
 * shard, paused, rate, to, reason, uid, pid, since_ms}]}. A group without a word of an
 * operator is not in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/failover.h"
#include "queue/replay_priv.h"
#include "queue/spool.h"

#define REPLAY_FILE	"replay.json"
#define REPLAY_TEMP	"replay.json.new"

enum { REPLAY_FILE_MAX = 32 * 1024 * 1024, REPLAY_FORMAT = 1 };

/* ---- the file ---- */

static json_t *
group_json(const struct replay *r, const struct replay_group *g)
{
	const struct failover_group *f = failover_find(r->failover, g->id);

	if (f == NULL || g->reason == NULL)
		return NULL;
	return json_pack("{s:s, s:s, s:b, s:I, s:s, s:s, s:I, s:I, s:I}", "domain", f->domain,
	    "shard", f->shard, "paused", (int)g->paused, "rate", (json_int_t)g->rate, "to",
	    g->to == NULL ? "" : g->to, "reason", g->reason, "uid", (json_int_t)g->who.uid, "pid",
	    (json_int_t)g->who.pid, "since_ms", (json_int_t)g->since_ms);
}

static int
file_replace(int dirfd, const char *text)
{
	size_t n = strlen(text);
	int rc = -1, saved;
	int fd = openat(dirfd, REPLAY_TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0640);

	if (fd < 0)
		return -1;
	while (n > 0) {
		ssize_t put = write(fd, text, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			goto out;
		text += put;
		n -= (size_t)put;
	}
	if (fsync(fd) < 0 || renameat(dirfd, REPLAY_TEMP, dirfd, REPLAY_FILE) < 0 ||
	    fsync(dirfd) < 0)
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

static int
state_save(const struct replay *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < REPLAY_BUCKETS; i++) {
		for (const struct replay_group *g = r->bucket[i]; g != NULL; g = g->next) {
			json_t *o = group_json(r, g);

			if (o != NULL)
				json_array_append_new(list, o);
		}
	}
	json_t *top = json_pack("{s:i, s:o}", "format", REPLAY_FORMAT, "groups", list);
	char *text = json_dumps(top, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(top);
	if (text == NULL) {
		errno = ENOMEM;
		return -1;
	}
	int rc = r->dirfd < 0 ? 0 : file_replace(r->dirfd, text);
	int saved = errno;
	free(text);
	errno = saved;
	return rc;
}

static void
group_set(struct replay_group *g, bool paused, unsigned rate, char *to, struct conf_route *route,
    const char *reason)
{
	if (g->to != NULL)
		conf_route_fini(&g->route);
	free(g->to);
	free(g->reason);
	g->paused = paused;
	g->rate = rate;
	g->to = to;
	g->route = *route;
	g->reason = mem_str(reason);
	g->due_us = 0;
}

static int
group_load(struct replay *r, json_t *o)
{
	const char *domain, *shard, *to, *reason;
	json_int_t rate, uid, pid, since;
	struct conf_route route = { .kind = ROUTE_MX };
	int paused;

	if (json_unpack(o, "{s:s, s:s, s:b, s:I, s:s, s:s, s:I, s:I, s:I}", "domain", &domain,
	    "shard", &shard, "paused", &paused, "rate", &rate, "to", &to, "reason", &reason, "uid",
	    &uid, "pid", &pid, "since_ms", &since) < 0)
		return -1;
	if (rate < 0 || rate > REPLAY_RATE_MAX || (to[0] != '\0' && conf_route_parse(&route, to) != NULL))
		return -1;
	struct replay_group *g = replay_get(r, spool_group(slice_str(domain), slice_str(shard)));
	group_set(g, paused != 0, (unsigned)rate, to[0] == '\0' ? NULL : mem_str(to), &route, reason);
	g->who = (struct audit_who){ (uid_t)uid, (pid_t)pid };
	g->since_ms = since;
	return 0;
}

static int
state_parse(struct replay *r, const char *text, size_t n)
{
	json_t *top = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL), *o;
	json_t *list = json_object_get(top, "groups");
	size_t i;
	int rc = json_integer_value(json_object_get(top, "format")) == REPLAY_FORMAT &&
	    json_is_array(list) ? 0 : -1;

	json_array_foreach(list, i, o)
		if (rc == 0)
			rc = group_load(r, o);
	json_decref(top);
	return rc;
}

/* 0 loaded or not there yet, -1. */
static int
state_load(struct replay *r)
{
	struct buf b;
	char piece[16384];
	ssize_t n;
	int rc = -1, fd = openat(r->dirfd, REPLAY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	buf_init(&b, REPLAY_FILE_MAX);
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		if (buf_put(&b, piece, (size_t)n) < 0)
			break;
	struct slice s = buf_slice(&b);
	if (n == 0)
		rc = state_parse(r, s.n == 0 ? "" : s.p, s.n);
	buf_fini(&b);
	close(fd);
	return rc;
}

struct replay *
replay_open(int dirfd, struct failover *f, struct audit *a)
{
	struct replay *r = mem_new(sizeof(*r));

	r->dirfd = dirfd;
	r->failover = f;
	r->audit = a;
	if (dirfd >= 0 && state_load(r) < 0) {
		/* A guess could send a domain's mail to the wrong place. */
		log_error("replay-state", "file=" REPLAY_FILE " error=\"damaged or unreadable\" fix=%s",
		    log_escs("look at it and audit.log; move it away to replay into the primaries"));
		replay_free(&r);
	}
	return r;
}

/* ---- changes ---- */

static void
state_words(const struct replay_group *g, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s rate=%u to=%.300s", g != NULL && g->paused ? "paused" : "running",
	    g == NULL ? 0 : g->rate, g == NULL || g->to == NULL ? "primary" : g->to);
}

static int
change_audit(const struct replay *r, const struct failover_group *f, const char *from,
    const char *to, const struct replay_change *c, const char *reason)
{
	const struct audit_record rec = { .event = "replay", .who = c->who, .domain = f->domain,
		.shard = f->shard, .from = from, .to = to, .reason = reason };

	return r->audit == NULL ? 0 : audit_write(r->audit, &rec);
}

/* What it will be, in a struct of its own. 0 or -1 with errno. */
static int
change_make(const struct replay_group *g, const struct replay_change *c, struct replay_group *out)
{
	const char *to = c->to != NULL ? c->to : g->to != NULL ? g->to : "";
	struct conf_route route = { .kind = ROUTE_MX };

	if (c->rate > REPLAY_RATE_MAX || (to[0] != '\0' && (conf_route_parse(&route, to) != NULL ||
	    route.kind == ROUTE_MX))) {
		errno = EINVAL;
		return -1;
	}
	*out = (struct replay_group){ .id = g->id };
	group_set(out, c->paused < 0 ? g->paused : c->paused > 0,
	    c->rate < 0 ? g->rate : (unsigned)c->rate, to[0] == '\0' ? NULL : mem_str(to), &route,
	    c->reason);
	return 0;
}

static void
change_swap(struct replay_group *g, struct replay_group *o)
{
	struct replay_group was = *g;

#define SWAP(m) do { g->m = o->m; o->m = was.m; } while (0)
	SWAP(paused);
	SWAP(rate);
	SWAP(to);
	SWAP(route);
	SWAP(reason);
	SWAP(who);
	SWAP(since_ms);
#undef SWAP
	g->due_us = 0;
}

int
replay_change(struct replay *r, const struct failover_group *f, const struct replay_change *c)
{
	struct replay_group *g = replay_get(r, f->id), next;
	char from[400], to[400];
	int rc = -1, saved;

	if (change_make(g, c, &next) < 0)
		return -1;
	next.who = c->who;
	next.since_ms = clock_wall_ms();
	state_words(g, from, sizeof(from));
	state_words(&next, to, sizeof(to));
	if (change_audit(r, f, from, to, c, c->reason) < 0) {
		saved = errno;
		goto out;
	}
	change_swap(g, &next);
	rc = state_save(r);
	saved = errno;
	if (rc < 0) {
		change_swap(g, &next);
		if (change_audit(r, f, to, from, c, "not persisted: the change did not happen") < 0)
			log_warn("audit", "error=%s", log_escs(strerror(errno)));
	} else {
		log_info("replay", "domain=%s shard=%s was=%s now=%s uid=%u reason=%s",
		    log_escs(f->domain), log_escs(f->shard), log_escs(from), log_escs(to),
		    (unsigned)c->who.uid, log_escs(c->reason));
	}
out:
	if (next.to != NULL)
		conf_route_fini(&next.route);
	free(next.to);
	free(next.reason);
	errno = saved;
	return rc;
}
