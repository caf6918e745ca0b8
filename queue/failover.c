// SPDX-License-Identifier: Apache-2.0
#include "queue/failover.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool.h"

#define FAILOVER_FILE	"failover.json"
#define FAILOVER_TEMP	"failover.json.new"

enum { FAILOVER_FILE_MAX = 64 * 1024 * 1024, FAILOVER_FORMAT = 1 };

struct failover {
	int			 dirfd;		/* borrowed */
	struct audit		*audit;		/* borrowed */
	struct failover_group	**group;	/* owned */
	size_t			 ngroup;
	struct failover_group	**slot;		/* the same by id, open addressing */
	size_t			 nslot;		/* a power of two */
};

static const char *const phase_names[PHASE_MAX] = { "standby", "active", "replay" };

const char *
failover_phase_name(enum failover_phase p)
{
	return p < PHASE_MAX ? phase_names[p] : "?";
}

const char *
failover_mode_name(enum conf_failover m)
{
	return m == FAILOVER_ON ? "on" : "off";
}

static int
phase_parse(const char *s, enum failover_phase *out)
{
	for (unsigned i = 0; i < PHASE_MAX; i++) {
		if (strcmp(s, phase_names[i]) == 0) {
			*out = (enum failover_phase)i;
			return 0;
		}
	}
	return -1;
}

static void
group_free(struct failover_group *g)
{
	free(g->domain);
	free(g->shard);
	free(g->reason);
	free(g);
}

void
failover_close(struct failover **fp)
{
	struct failover *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->ngroup; i++)
		group_free(f->group[i]);
	free(f->group);
	free(f->slot);
	free(f);
}

/* Looked up for each entry of a scan, with thousands of domains too. */
static struct failover_group **
group_slot(const struct failover *f, uint64_t id)
{
	size_t i = (size_t)(id & (f->nslot - 1));

	while (f->slot[i] != NULL && f->slot[i]->id != id)
		i = (i + 1) & (f->nslot - 1);
	return &f->slot[i];
}

static void
group_index(struct failover *f)
{
	if (f->ngroup * 2 > f->nslot) {
		f->nslot = f->nslot == 0 ? 16 : f->nslot * 2;
		free(f->slot);
		f->slot = mem_array(f->nslot, sizeof(struct failover_group *));
		for (size_t i = 0; i + 1 < f->ngroup; i++)
			*group_slot(f, f->group[i]->id) = f->group[i];
	}
	struct failover_group *last = f->group[f->ngroup - 1];
	*group_slot(f, last->id) = last;
}

static struct failover_group *
group_add(struct failover *f, const char *domain, const char *shard)
{
	struct failover_group *g = mem_new(sizeof(*g));

	g->domain = mem_str(domain);
	g->shard = mem_str(shard);
	g->reason = mem_str("");
	g->id = spool_group(slice_str(domain), slice_str(shard));
	f->group = mem_resize(f->group, f->ngroup + 1, sizeof(struct failover_group *));
	f->group[f->ngroup++] = g;
	group_index(f);
	return g;
}

size_t
failover_count(const struct failover *f)
{
	return f->ngroup;
}

struct failover_group *
failover_at(struct failover *f, size_t i)
{
	return i < f->ngroup ? f->group[i] : NULL;
}

struct failover_group *
failover_find(struct failover *f, uint64_t id)
{
	return f->nslot == 0 ? NULL : *group_slot(f, id);
}

static struct failover_group *
group_named(struct failover *f, struct slice domain, struct slice shard)
{
	for (size_t i = 0; i < f->ngroup; i++)
		if (slice_ieq(slice_str(f->group[i]->domain), domain) &&
		    slice_eq(slice_str(f->group[i]->shard), shard))
			return f->group[i];
	return NULL;
}

struct failover_group *
failover_of(struct failover *f, struct slice domain, struct slice shard)
{
	struct failover_group *g = group_named(f, domain, shard);

	if (g == NULL || !g->served)
		g = group_named(f, domain, SLICE_NONE);
	return g != NULL && g->served ? g : NULL;
}

/* ---- the file ---- */

static json_t *
group_json(const struct failover_group *g)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I}",
	    "domain", g->domain, "shard", g->shard,
	    "mode", failover_mode_name(g->mode), "phase", failover_phase_name(g->phase),
	    "since_ms", (json_int_t)g->since_ms, "reason", g->reason,
	    "uid", (json_int_t)g->who.uid, "pid", (json_int_t)g->who.pid);
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

static int
failover_save(struct failover *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->ngroup; i++) {
		json_t *o = group_json(f->group[i]);

		if (o == NULL) {
			json_decref(list);
			errno = EINVAL;
			return -1;
		}
		json_array_append_new(list, o);
	}
	json_t *top = json_pack("{s:i, s:o}", "format", FAILOVER_FORMAT, "groups", list);
	char *text = json_dumps(top, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(top);
	if (text == NULL) {
		errno = ENOMEM;
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
	const char *domain, *shard, *mode, *phase, *reason;
	json_int_t since, uid, pid;
	enum failover_phase p;

	if (json_unpack(o, "{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I}",
	    "domain", &domain, "shard", &shard, "mode", &mode, "phase", &phase,
	    "since_ms", &since, "reason", &reason, "uid", &uid, "pid", &pid) < 0)
		return -1;
	if (phase_parse(phase, &p) < 0 || (strcmp(mode, "on") != 0 && strcmp(mode, "off") != 0))
		return -1;
	if (group_named(f, slice_str(domain), slice_str(shard)) != NULL)
		return -1;
	struct failover_group *g = group_add(f, domain, shard);
	g->mode = strcmp(mode, "on") == 0 ? FAILOVER_ON : FAILOVER_OFF;
	g->phase = p;
	g->since_ms = since;
	g->who = (struct audit_who){ (uid_t)uid, (pid_t)pid };
	free(g->reason);
	g->reason = mem_str(reason);
	return 0;
}

static int
failover_parse(struct failover *f, const char *text, size_t n)
{
	json_error_t e;
	json_t *top = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	json_t *list = json_object_get(top, "groups"), *o;
	int rc = -1;
	size_t i;

	if (json_integer_value(json_object_get(top, "format")) != FAILOVER_FORMAT)
		goto out;
	if (!json_is_array(list))
		goto out;
	json_array_foreach(list, i, o)
		if (group_load(f, o) < 0)
			goto out;
	rc = 0;
out:
	json_decref(top);
	return rc;
}

/* 0 loaded or not there yet, -1 after logging. */
static int
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

/* ---- configuration ---- */

static struct failover_group *
group_born(struct failover *f, const char *domain, const char *shard, enum conf_failover mode,
    const char *reason)
{
	struct failover_group *g = group_add(f, domain, shard);

	g->served = true;
	g->mode = mode;
	g->phase = mode == FAILOVER_ON ? PHASE_ACTIVE : PHASE_STANDBY;
	g->since_ms = clock_wall_ms();
	free(g->reason);
	g->reason = mem_str(reason);
	return g;
}

/* True when the group is new. */
static bool
group_serve(struct failover *f, const struct conf_domain *d, const char *shard)
{
	if (group_named(f, slice_str(d->name), slice_str(shard)) != NULL)
		return false;
	(void)group_born(f, d->name, shard, d->failover, "configuration");
	return true;
}

struct failover_group *
failover_ensure(struct failover *f, struct slice domain, struct slice shard)
{
	struct failover_group *g = failover_find(f, spool_group(domain, shard));

	if (g != NULL)
		return g->served ? g : NULL;
	const struct failover_group *own = failover_of(f, domain, SLICE_NONE);
	json_t *text = json_stringn(shard.n == 0 ? "" : shard.p, shard.n);
	char name[256];
	bool sound = text != NULL && slice_cstr(shard, name, sizeof(name)) == 0;
	json_decref(text);
	/* What the state file could not carry must not spoil it: such mail stays parked. */
	if (own == NULL || !sound || f->ngroup >= FAILOVER_GROUPS_MAX)
		return NULL;
	g = group_born(f, own->domain, name, own->mode, own->reason);
	g->who = own->who;
	/* Not persisted, it is born again in the mode its domain has then. */
	if (failover_save(f) < 0)
		log_error("failover-state", "file=" FAILOVER_FILE " error=%s", log_escs(strerror(errno)));
	return g;
}

int
failover_reload(struct failover *f, const struct conf *c)
{
	bool changed = false;

	/* A shard that left the configuration goes to its domain's primary: still served. */
	for (size_t i = 0; i < f->ngroup; i++)
		f->group[i]->served = conf_domain_find(c, slice_str(f->group[i]->domain)) != NULL;
	for (size_t i = 0; i < c->ndomain; i++) {
		changed |= group_serve(f, &c->domain[i], "");
		for (size_t j = 0; j < c->domain[i].nshard; j++)
			changed |= group_serve(f, &c->domain[i], c->domain[i].shard[j].name);
	}
	return changed ? failover_save(f) : 0;
}

struct failover *
failover_open(int dirfd, const struct conf *c, struct audit *a)
{
	struct failover *f = mem_new(sizeof(*f));

	f->dirfd = dirfd;
	f->audit = a;
	if (failover_load(f) < 0)
		goto fail;
	if (failover_reload(f, c) < 0) {
		log_error("failover-state", "file=" FAILOVER_FILE " error=%s", log_escs(strerror(errno)));
		goto fail;
	}
	return f;
fail:
	failover_close(&f);
	return NULL;
}

/* ---- changes ---- */

static int
group_change(struct failover *f, struct failover_group *g, const struct failover_group *to,
    const struct audit_record *r)
{
	struct failover_group old = *g;

	if (audit_write(f->audit, r) < 0)
		return -1;
	*g = *to;
	g->reason = mem_str(to->reason);
	if (failover_save(f) < 0) {
		int saved = errno;
		struct audit_record undone = *r;

		free(g->reason);
		*g = old;
		undone.from = r->to;
		undone.to = r->from;
		undone.reason = "not persisted: the change did not happen";
		if (audit_write(f->audit, &undone) < 0)
			log_warn("audit", "error=%s", log_escs(strerror(errno)));
		errno = saved;
		return -1;
	}
	free(old.reason);
	return 0;
}

int
failover_set_mode(struct failover *f, struct failover_group *g, enum conf_failover m,
    struct audit_who who, const char *reason)
{
	char why[FAILOVER_REASON_MAX];
	struct failover_group to = *g;

	if (g->mode == m)
		return 0;
	(void)snprintf(why, sizeof(why), "%s", reason);
	to.mode = m;
	to.phase = m == FAILOVER_ON ? PHASE_ACTIVE : PHASE_REPLAY;
	to.since_ms = clock_wall_ms();
	to.reason = why;
	to.who = who;
	const struct audit_record r = { .event = "failover", .who = who, .domain = g->domain,
		.shard = g->shard, .from = failover_mode_name(g->mode),
		.to = failover_mode_name(m), .reason = why };
	if (group_change(f, g, &to, &r) < 0)
		return -1;
	log_warn("failover", "domain=%s shard=%s mode=%s phase=%s uid=%u reason=%s",
	    log_escs(g->domain), log_escs(g->shard), failover_mode_name(m),
	    failover_phase_name(g->phase), (unsigned)who.uid, log_escs(why));
	return 0;
}

int
failover_set_phase(struct failover *f, struct failover_group *g, enum failover_phase p,
    const char *reason)
{
	struct failover_group to = *g;

	if (g->phase == p)
		return 0;
	to.phase = p;
	to.since_ms = clock_wall_ms();
	const struct audit_record r = { .event = "phase", .who = { (uid_t)geteuid(), 0 },
		.domain = g->domain, .shard = g->shard, .from = failover_phase_name(g->phase),
		.to = failover_phase_name(p), .reason = reason };
	if (group_change(f, g, &to, &r) < 0)
		return -1;
	log_info("failover", "domain=%s shard=%s mode=%s phase=%s reason=%s",
	    log_escs(g->domain), log_escs(g->shard), failover_mode_name(g->mode),
	    failover_phase_name(p), log_escs(reason));
	return 0;
}
