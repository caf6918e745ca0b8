// SPDX-License-Identifier: Apache-2.0
/*
 * Provider groups (spec 8.1, 8.3, 8.4): destinations that share one bound of connections,
 * lend each other idle ones, and are closed together.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/deliver_priv.h"

struct deliver_group *
deliver_group_get(struct deliver *d, struct slice name)
{
	struct deliver_group *g;

	LIST_FOREACH(g, &d->groups, link)
		if (slice_ieq(slice_str(g->name), name))
			break;
	if (g == NULL) {
		g = mem_new(sizeof(*g));
		g->name = slice_dup(name);
		LIST_INSERT_HEAD(&d->groups, g, link);
	}
	g->ndest++;
	return g;
}

void
deliver_group_drop(struct deliver_group **gp)
{
	struct deliver_group *g = *gp;

	*gp = NULL;
	if (g == NULL || --g->ndest > 0)
		return;
	LIST_REMOVE(g, link);
	free(g->name);
	free(g);
}

static unsigned
group_limit(const struct deliver *d, const struct deliver_group *g)
{
	if (g->limit > 0)
		return g->limit;
	return conf_provider_find(d->conf, slice_str(g->name))->connections;
}

/* An idle session of another destination of the group, the longest idle; or NULL. */
static struct out_session *
group_idle_sister(const struct deliver_dest *t)
{
	struct out_session *s, *oldest = NULL;
	struct deliver_dest *o;

	TAILQ_FOREACH(o, &t->deliver->all, link) {
		if (o == t || o->group != t->group)
			continue;
		TAILQ_FOREACH(s, &o->sessions, link)
			if (s->state == SESSION_IDLE &&
			    (oldest == NULL || s->idle_ms < oldest->idle_ms))
				oldest = s;
	}
	return oldest;
}

bool
deliver_group_room(struct deliver_dest *t)
{
	struct deliver_group *g = t->group;
	struct out_session *s;

	if (g->nsession < group_limit(t->deliver, g))
		return true;
	/* Ask for the route all the same when a sister's connection may serve: it is
	 * either adopted or given up for us. One over the bound at most, and that one has
	 * no connection yet. */
	if (g->nsession > group_limit(t->deliver, g) || t->nsession > 0)
		return false;
	s = group_idle_sister(t);
	return s != NULL;
}

/* The same host and address, and as safe as this route's own policy asks (spec 13.1). */
static bool
same_door(const struct mx_target *want, const struct mx_target *have)
{
	return strcmp(want->peer, have->peer) == 0 && want->tls == have->tls;
}

struct out_session *
deliver_group_idle(struct deliver_dest *t, const struct mx_result *r)
{
	struct deliver_group *g = t->group;
	struct out_session *s;
	struct deliver_dest *o;

	if (g == NULL)
		return NULL;
	TAILQ_FOREACH(o, &t->deliver->all, link) {
		if (o == t || o->group != g || o->tls != t->tls)
			continue;
		TAILQ_FOREACH(s, &o->sessions, link) {
			if (s->state != SESSION_IDLE || s->at >= s->ntarget)
				continue;
			/* only hosts of the best preference: a backup MX is no shortcut */
			for (size_t i = 0; i < r->n && r->target[i].pref == r->target[0].pref; i++)
				if (same_door(&r->target[i], &s->target[s->at]))
					return s;
		}
	}
	s = g->nsession > group_limit(t->deliver, g) ? group_idle_sister(t) : NULL;
	if (s != NULL)
		out_session_end(s);
	return NULL;
}

void
deliver_group_touch(struct deliver_group *g, struct deliver *d)
{
	struct deliver_dest *t;

	TAILQ_FOREACH(t, &d->all, link)
		if (t->group == g && !TAILQ_EMPTY(&t->waiting))
			deliver_touch(t);
}

static const struct client_result group_closed = {
	.outcome = DELIVER_TEMP, .scope = SCOPE_MESSAGE, .enhanced = "4.4.5",
	.text = "this provider is closed for now",
};

static void
session_close(struct out_session *s)
{
	struct deliver_req *r = s->req;

	switch (s->state) {
	case SESSION_RESOLVE:
	case SESSION_CONNECT:
	case SESSION_OPEN:
		s->req = NULL;
		if (r != NULL)
			deliver_done(s->deliver, r, &group_closed, s);
		out_session_end(s);
		break;
	case SESSION_BUSY:
	case SESSION_RESET:
		s->leave = true;
		break;
	case SESSION_IDLE:
		out_session_quit(s);
		break;
	case SESSION_QUIT:
		break;
	}
}

void
deliver_close(struct deliver *d, struct slice group)
{
	struct out_session *s, *next;
	struct deliver_dest *t;

	log_info("deliver-close", "group=%s", log_hash(group));
	TAILQ_FOREACH(t, &d->all, link) {
		if (t->group == NULL || !slice_ieq(slice_str(t->group->name), group))
			continue;
		for (s = TAILQ_FIRST(&t->sessions); s != NULL; s = next) {
			next = TAILQ_NEXT(s, link);
			session_close(s);
		}
		deliver_fail_waiting(t, &group_closed, NULL);
		deliver_touch(t);
	}
}
