// SPDX-License-Identifier: Apache-2.0
#include "queue/failover.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/failover_priv.h"
#include "queue/spool.h"

static const char *const phase_names[PHASE_MAX] = { "standby", "active", "replay" };

const char *
failover_phase_name(enum failover_phase p)
{
	return p < PHASE_MAX ? phase_names[p] : "?";
}

static const char *const mode_names[FAILOVER_MAX] = { "off", "on", "auto" };

const char *
failover_mode_name(enum conf_failover m)
{
	return m < FAILOVER_MAX ? mode_names[m] : "?";
}

int
failover_mode_parse(const char *s, enum conf_failover *out)
{
	for (unsigned i = 0; i < FAILOVER_MAX; i++) {
		if (strcmp(s, mode_names[i]) == 0) {
			*out = (enum conf_failover)i;
			return 0;
		}
	}
	return -1;
}

int
failover_phase_parse(const char *s, enum failover_phase *out)
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
group_texts_free(struct failover_group *g)
{
	free(g->reason);
	free(g->phase_reason);
	json_decref(g->phase_evidence);
}

static void
group_free(struct failover_group *g)
{
	free(g->domain);
	free(g->shard);
	group_texts_free(g);
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
	if (f->dirfd >= 0)
		close(f->dirfd);
	while (f->nwindow > 0)
		failover_window_drop(f, f->nwindow - 1);
	free(f->window);
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

void
failover_text_set(char **at, const char *text)
{
	free(*at);
	*at = mem_str(text);
}

struct failover_group *
failover_group_add(struct failover *f, const char *domain, const char *shard)
{
	struct failover_group *g = mem_new(sizeof(*g));

	g->domain = mem_str(domain);
	g->shard = mem_str(shard);
	g->reason = mem_str("");
	g->phase_reason = mem_str("");
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

struct failover_group *
failover_group_named(struct failover *f, struct slice domain, struct slice shard)
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
	struct failover_group *g = failover_group_named(f, domain, shard);

	if (g == NULL || !g->served)
		g = failover_group_named(f, domain, SLICE_NONE);
	return g != NULL && g->served ? g : NULL;
}

/* ---- configuration ---- */

static struct failover_group *
group_born(struct failover *f, const char *domain, const char *shard, enum conf_failover mode,
    const char *reason)
{
	struct failover_group *g = failover_group_add(f, domain, shard);

	g->served = true;
	g->mode = g->base = mode;
	g->phase = mode == FAILOVER_ON ? PHASE_ACTIVE : PHASE_STANDBY;
	g->since_ms = clock_wall_ms();
	failover_text_set(&g->reason, reason);
	failover_text_set(&g->phase_reason, reason);
	return g;
}

/* True when the group is new. */
static bool
group_serve(struct failover *f, const struct conf_domain *d, const char *shard)
{
	if (failover_group_named(f, slice_str(d->name), slice_str(shard)) != NULL)
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
	g->base = own->base;
	g->until_ms = own->until_ms;
	/* Its mail lies where the domain's does, and fares the same. */
	g->phase = own->phase == PHASE_ACTIVE ? PHASE_ACTIVE : PHASE_STANDBY;
	g->who = own->who;
	if (g->phase == own->phase) {
		failover_text_set(&g->phase_reason, own->phase_reason);
		g->phase_evidence = json_incref(own->phase_evidence);
	}
	f->serial++;
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
	f->serial++;
	return changed ? failover_save(f) : 0;
}

struct failover *
failover_open(int dirfd, const struct conf *c, struct audit *a)
{
	struct failover *f = mem_new(sizeof(*f));

	/* Ours: a reload gives the role its descriptors anew and closes the old ones. */
	f->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	f->audit = a;
	if (f->dirfd < 0 || failover_load(f) < 0)
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

/* A reference of our own, or NULL: the state file is written whole at each change. */
static json_t *
evidence_kept(json_t *evidence)
{
	return json_dumpb(evidence, NULL, 0, JSON_COMPACT) <= FAILOVER_EVIDENCE_MAX ?
	    json_incref(evidence) : NULL;
}

/* `to` lends its texts. */
static int
group_change(struct failover *f, struct failover_group *g, const struct failover_group *to,
    const struct audit_record *r)
{
	struct failover_group old = *g;

	if (audit_write(f->audit, r) < 0)
		return -1;
	*g = *to;
	g->reason = mem_str(to->reason);
	g->phase_reason = mem_str(to->phase_reason);
	g->phase_evidence = evidence_kept(to->phase_evidence);
	if (failover_save(f) < 0) {
		int saved = errno;

		group_texts_free(g);
		*g = old;
		failover_undo(f, r);
		errno = saved;
		return -1;
	}
	group_texts_free(&old);
	f->serial++;
	return 0;
}

void
failover_undo(struct failover *f, const struct audit_record *r)
{
	struct audit_record undone = *r;

	undone.from = r->to;
	undone.to = r->from;
	undone.evidence = NULL;
	undone.reason = "not persisted: the change did not happen";
	if (audit_write(f->audit, &undone) < 0)
		log_warn("audit", "error=%s", log_escs(strerror(errno)));
}

/* What the state file can carry: a text cut in the middle of a character, or made of what a
 * primary answered, may not be UTF-8, and must not keep a switch from being made. */
static bool
text_is_utf8(const char *s)
{
	json_t *v = json_string(s);
	bool good = v != NULL;

	json_decref(v);
	return good;
}

static void
text_make_utf8(char *s)
{
	size_t n = strlen(s);

	for (; n > 0 && ((unsigned char)s[n - 1] & 0x80) != 0 && !text_is_utf8(s); n--)
		s[n - 1] = '\0';
	for (; !text_is_utf8(s) && *s != '\0'; s++)
		if (((unsigned char)*s & 0x80) != 0)
			*s = '?';
}

/* The probes decide in auto: it leaves the phase as it is. */
static enum failover_phase
phase_in(enum conf_failover m, enum failover_phase now)
{
	if (m == FAILOVER_ON)
		return PHASE_ACTIVE;
	return m == FAILOVER_OFF && now == PHASE_ACTIVE ? PHASE_REPLAY : now;
}

static int
mode_change(struct failover *f, struct failover_group *g, const struct failover_group *to,
    const char *event)
{
	struct failover_group next = *to;
	char until[40];

	next.phase = phase_in(to->mode, g->phase);
	if (next.phase != g->phase) {
		next.since_ms = clock_wall_ms();
		next.phase_reason = next.reason;
		next.phase_evidence = NULL;
	}
	clock_iso8601(to->until_ms, until, sizeof(until));
	const struct audit_record r = { .event = event, .who = to->who, .domain = g->domain,
		.shard = g->shard, .from = failover_mode_name(g->mode),
		.to = failover_mode_name(to->mode), .reason = to->reason,
		.phase = failover_phase_name(next.phase),
		.until = to->until_ms != 0 ? until : NULL };
	if (group_change(f, g, &next, &r) < 0)
		return -1;
	log_warn("failover", "domain=%s shard=%s mode=%s phase=%s until=%s uid=%u reason=%s",
	    log_escs(g->domain), log_escs(g->shard), failover_mode_name(g->mode),
	    failover_phase_name(g->phase), to->until_ms != 0 ? until : "-",
	    (unsigned)g->who.uid, log_escs(g->reason));
	return 0;
}

int
failover_set_mode_until(struct failover *f, struct failover_group *g, enum conf_failover m,
    int64_t until_ms, struct audit_who who, const char *reason)
{
	char why[FAILOVER_REASON_MAX];
	struct failover_group to = *g;

	if (g->mode == m && g->until_ms == until_ms)
		return 0;
	(void)snprintf(why, sizeof(why), "%s", reason);
	text_make_utf8(why);
	to.mode = m;
	to.until_ms = until_ms;
	if (until_ms == 0)
		to.base = m;
	to.reason = why;
	to.who = who;
	return mode_change(f, g, &to, "failover");
}

int
failover_set_mode(struct failover *f, struct failover_group *g, enum conf_failover m,
    struct audit_who who, const char *reason)
{
	return failover_set_mode_until(f, g, m, 0, who, reason);
}

struct failover_group *
failover_expired(struct failover *f, int64_t wall_ms)
{
	for (size_t i = 0; i < f->ngroup; i++)
		if (f->group[i]->until_ms != 0 && f->group[i]->until_ms <= wall_ms)
			return f->group[i];
	return NULL;
}

int
failover_expire(struct failover *f, struct failover_group *g)
{
	char why[FAILOVER_REASON_MAX];
	struct failover_group to = *g;

	(void)snprintf(why, sizeof(why), "expired: %.400s", g->reason);
	text_make_utf8(why);
	to.mode = g->base;
	to.until_ms = 0;
	to.reason = why;
	to.who = (struct audit_who){ geteuid(), 0 };
	return mode_change(f, g, &to, "failover-expired");
}

int
failover_set_phase_why(struct failover *f, struct failover_group *g, enum failover_phase p,
    const char *reason, struct json_t *evidence)
{
	char why[FAILOVER_REASON_MAX];
	struct failover_group to = *g;

	if (g->phase == p)
		return 0;
	(void)snprintf(why, sizeof(why), "%s", reason);
	text_make_utf8(why);
	to.phase = p;
	to.since_ms = clock_wall_ms();
	to.phase_reason = why;
	to.phase_evidence = evidence;
	const struct audit_record r = { .event = "phase", .who = { (uid_t)geteuid(), 0 },
		.domain = g->domain, .shard = g->shard, .from = failover_phase_name(g->phase),
		.to = failover_phase_name(p), .reason = why, .evidence = evidence };
	if (group_change(f, g, &to, &r) < 0)
		return -1;
	log_info("failover", "domain=%s shard=%s mode=%s phase=%s reason=%s",
	    log_escs(g->domain), log_escs(g->shard), failover_mode_name(g->mode),
	    failover_phase_name(p), log_escs(why));
	return 0;
}

int
failover_set_phase(struct failover *f, struct failover_group *g, enum failover_phase p,
    const char *reason)
{
	return failover_set_phase_why(f, g, p, reason, NULL);
}

bool
failover_believes(const struct failover_group *g)
{
	return g->phase == PHASE_STANDBY && !g->distrust;
}

uint64_t
failover_serial(const struct failover *f)
{
	return f->serial;
}
