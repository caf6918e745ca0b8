// SPDX-License-Identifier: Apache-2.0
#include "base/role.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/body.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/super.h"

enum { RESOURCES_MAX = 64, START_TIMEOUT_MS = 30000 };

struct link {
	struct role	*role;
	struct ipc	*ch;		/* NULL while the peer is away */
	enum role_kind	 peer;
	unsigned	 index;
};

struct resource {
	char	*name;
	int	 fd;			/* owned */
};

struct question {			/* a role_ask without its answer yet */
	struct question	*next;
	uint64_t	 req;
	role_answer_fn	*fn;
	void		*arg;
};

struct role_priv {
	struct ipc	*super;
	struct link	 link[ROLE_MAX][ROLE_PEERS_MAX];
	unsigned	 turn[ROLE_MAX];	/* role_any's last choice */
	struct resource	 resource[RESOURCES_MAX];
	size_t		 nresource;
	struct sandbox_state sandbox;	/* in force */
	struct conf	*conf;			/* in force */
	struct conf	*next;			/* came, not yet in force */
	struct question	*questions;
	uint64_t	 last_req;
	bool		 started, go, stopping;
	int		 status;		/* exit status */
};

const char *
role_name(enum role_kind k)
{
	switch (k) {
	case ROLE_SUPER:
		return "supervisor";
	case ROLE_RELAY:
		return "relay";
	case ROLE_VERIFY:
		return "verify";
	case ROLE_DIRECTORY:
		return "directory";
	case ROLE_SEAL:
		return "seal";
	case ROLE_QUEUE:
		return "queue";
	case ROLE_MAX:
		break;
	}
	return "?";
}

struct ipc *
role_link(struct role *r, enum role_kind peer, unsigned index)
{
	return index < ROLE_PEERS_MAX ? r->base->link[peer][index].ch : NULL;
}

struct ipc *
role_any(struct role *r, enum role_kind peer, unsigned *index)
{
	for (unsigned i = 0; i < ROLE_PEERS_MAX; i++) {
		unsigned at = (r->base->turn[peer] + 1 + i) % ROLE_PEERS_MAX;
		if (r->base->link[peer][at].ch == NULL)
			continue;
		r->base->turn[peer] = at;
		if (index != NULL)
			*index = at;
		return r->base->link[peer][at].ch;
	}
	return NULL;
}

int
role_resource(struct role *r, const char *name)
{
	for (size_t i = 0; i < r->base->nresource; i++)
		if (strcmp(r->base->resource[i].name, name) == 0)
			return r->base->resource[i].fd;
	return -1;
}

char *
role_resource_text(struct role *r, const char *name, size_t max, size_t *n)
{
	int fd = role_resource(r, name);
	if (fd < 0)
		return NULL;
	char *text = mem_new(max + 1);
	size_t have = 0;
	while (have < max) {
		/* Not read(): the offset is shared with whoever else holds this file. */
		ssize_t got = pread(fd, text + have, max - have, (off_t)have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(text);
			return NULL;
		}
		if (got == 0)
			break;
		have += (size_t)got;
	}
	text[have] = '\0';
	if (n != NULL)
		*n = have;
	return text;
}

static void
set_resource(struct role_priv *b, struct slice name, int fd)
{
	for (size_t i = 0; i < b->nresource; i++)
		if (slice_eq(slice_str(b->resource[i].name), name)) {
			close(b->resource[i].fd);
			b->resource[i].fd = fd;
			return;
		}
	CHECK(b->nresource < RESOURCES_MAX);
	b->resource[b->nresource].name = slice_dup(name);
	b->resource[b->nresource++].fd = fd;
}

static void
on_link_message(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct link *k = arg;
	k->role->ops->message(k->role, k->peer, k->index, ch, type, body, fd);
}

static void
link_lost(struct link *k)
{
	struct role *r = k->role;

	if (k->ch == NULL)
		return;
	ipc_free(&k->ch);
	if (r->base->started && r->ops->link_down != NULL)
		r->ops->link_down(r, k->peer, k->index);
}

static void
on_link_close(void *arg, struct ipc *ch)
{
	struct link *k = arg;

	/* A channel already replaced by a fresh one says nothing about the peer now. */
	if (k->ch == ch)
		link_lost(k);
}

static void
set_link(struct role *r, const struct super_name *m, int fd)
{
	CHECK(m->peer < ROLE_MAX && m->index < ROLE_PEERS_MAX);
	struct link *k = &r->base->link[m->peer][m->index];
	link_lost(k);
	k->role = r;
	k->peer = m->peer;
	k->index = m->index;
	k->ch = ipc_new(r->loop, fd, on_link_message, on_link_close, k);
	if (r->base->started && r->ops->link_up != NULL)
		r->ops->link_up(r, k->peer, k->index);
}

static void
set_conf(struct role_priv *b, struct slice file, int fd)
{
	struct conf_errors e = { .text = { .max = 65536 } };
	struct slice text;

	char *name = slice_dup(file);
	CHECK(body_map(fd, &text) == 0);
	close(fd);
	conf_free(&b->next);
	b->next = conf_parse(text, name, &e);
	body_unmap(&text);
	free(name);
	/* The supervisor has parsed the same text before: a difference is our bug. */
	if (b->next == NULL)
		log_error("config-lost", "text=%s", log_esc(buf_slice(&e.text)));
	buf_fini(&e.text);
	CHECK(b->next != NULL);
}

static void
take_conf(struct role *r)
{
	struct conf *old = r->base->conf;

	if (r->base->next == NULL)
		return;
	r->base->conf = r->base->next;
	r->base->next = NULL;
	r->conf = r->base->conf;
	if (r->base->started && r->ops->reload != NULL)
		r->ops->reload(r);
	conf_free(&old);
}

static void
send_super(struct role *r, uint32_t type)
{
	struct super_name m = { .peer = (uint8_t)r->ops->kind, .index = (uint16_t)r->index };
	/* The supervisor gone is noticed by its channel closing. */
	(void)ipc_send(r->base->super, type, &super_name_wire, &m, -1);
}

void
role_done(struct role *r)
{
	send_super(r, SUPER_DONE);
	loop_stop(r->loop);
}

static int
put_sandbox(const struct role *r, struct buf *out)
{
	const struct sandbox_state *s = &r->base->sandbox;
	unsigned needs = r->ops->needs;

	return buf_printf(out, "\"sandbox\":{\"mode\":\"%s\",\"calls\":%u,\"landlock\":%d,"
	    "\"may_connect\":%s,\"may_read\":%s,\"may_write\":%s}", sandbox_mode_name(s->mode),
	    s->calls, s->landlock, needs & SANDBOX_CONNECT ? "true" : "false",
	    needs & (SANDBOX_READ | SANDBOX_WRITE) ? "true" : "false",
	    needs & SANDBOX_WRITE ? "true" : "false");
}

static void
tell_status(struct role *r, uint64_t req)
{
	struct buf own, out;

	buf_init(&own, 89 * 1024);
	buf_init(&out, 90 * 1024);
	if (r->ops->status != NULL)
		r->ops->status(r, &own);
	int bad = buf_puts(&out, "{") | put_sandbox(r, &out) |
	    buf_puts(&out, buf_len(&own) > 0 ? "," : "") | buf_put_slice(&out, buf_slice(&own)) |
	    buf_puts(&out, "}");
	struct super_text m = { req, bad == 0 ? buf_slice(&out) : SLICE_LIT("{}") };
	(void)ipc_send(r->base->super, SUPER_ANSWER, &super_text_wire, &m, -1);
	buf_fini(&own);
	buf_fini(&out);
}

void
role_ask(struct role *r, const char *verb, role_answer_fn *fn, void *arg)
{
	struct question *q = mem_new(sizeof(*q));

	*q = (struct question){ r->base->questions, ++r->base->last_req, fn, arg };
	r->base->questions = q;
	struct super_text m = { q->req, slice_str(verb) };
	(void)ipc_send(r->base->super, SUPER_ASK, &super_text_wire, &m, -1);
}

static void
answered(struct role *r, const struct super_text *m)
{
	for (struct question **qp = &r->base->questions; *qp != NULL; qp = &(*qp)->next) {
		struct question *q = *qp;
		if (q->req != m->req)
			continue;
		*qp = q->next;
		q->fn(q->arg, m->text);
		free(q);
		return;
	}
}

static void
on_super_text(struct role *r, uint32_t type, struct slice body)
{
	struct super_text m;

	CHECK(wire_get(body, &super_text_wire, &m) == 0);
	if (type == SUPER_ASK)
		tell_status(r, m.req);
	else
		answered(r, &m);
}

static void
begin_stop(struct role *r)
{
	if (r->base->stopping)
		return;
	r->base->stopping = true;
	if (r->ops->stop != NULL && r->base->started)
		r->ops->stop(r);
	else
		role_done(r);
}

static void
on_super(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct role *r = arg;
	struct super_name m;

	(void)ch;
	if (type == SUPER_ASK || type == SUPER_ANSWER) {
		on_super_text(r, type, body);
		return;
	}
	CHECK(wire_get(body, &super_name_wire, &m) == 0);
	if (type == SUPER_CONF)
		set_conf(r->base, m.name, fd);
	else if (type == SUPER_RESOURCE)
		set_resource(r->base, m.name, fd);
	else if (type == SUPER_LINK)
		set_link(r, &m, fd);
	else if (type == SUPER_GO)
		r->base->go = true;
	else if (type == SUPER_RELOAD)
		take_conf(r);
	else if (type == SUPER_STOP)
		begin_stop(r);
}

static void
on_super_close(void *arg, struct ipc *ch)
{
	(void)arg;
	(void)ch;
	/* Without a supervisor nobody would restart a peer or stop us. What was
	 * acknowledged is on disk: going at once loses nothing. */
	log_error("supervisor-gone", "action=exit");
	_exit(1);
}

/*
 * As root every role takes a uid of its own before its first line of work, so that a
 * broken role can neither read another's files nor signal or trace it, and what it
 * creates is its own. What needed root came as an open descriptor.
 */
static int
give_up_root(struct role *r)
{
	struct rlimit none = { 0, 0 };
	unsigned id = r->conf->uid_base + (unsigned)r->ops->kind;

	setrlimit(RLIMIT_CORE, &none);
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(id, id, id) != 0 || setresuid(id, id, id) != 0)) {
		log_error("confine", "uid=%u error=\"%m\"", id);
		return -1;
	}
	/* After the change of uid, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

static int
confine(struct role *r)
{
	struct sandbox s = { r->conf->sandbox, r->ops->needs, -1 };

	if (r->ops->folder != NULL)
		s.folder = role_resource(r, r->ops->folder);
	tzset();	/* reads its file now: it cannot later */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0)
		return sandbox_enter(&s, &r->base->sandbox);
	log_error("confine", "error=\"%m\"");
	return -1;
}

static enum log_level
wanted_level(const struct conf *c)
{
	static const char name[][6] = { "error", "warn", "info", "debug" };

	for (unsigned i = 0; i < 4; i++)
		if (c->log_level != NULL && strcmp(c->log_level, name[i]) == 0)
			return (enum log_level)i;
	return LOG_LVL_INFO;
}

static int
start(struct role *r)
{
	while (!r->base->go)
		if (ipc_wait(r->base->super, START_TIMEOUT_MS) != 1)
			return -1;
	take_conf(r);
	log_open(role_name(r->ops->kind), wanted_level(r->conf));
	size_t n;
	char *key = role_resource_text(r, "log-key", 64, &n);
	if (key != NULL)
		log_hash_key(key, n);
	free(key);
	if (give_up_root(r) != 0 || r->ops->start(r) != 0 || confine(r) != 0)
		return -1;
	r->base->started = true;
	for (unsigned k = 0; k < ROLE_MAX && r->ops->link_up != NULL; k++)
		for (unsigned i = 0; i < ROLE_PEERS_MAX; i++)
			if (r->base->link[k][i].ch != NULL)
				r->ops->link_up(r, k, i);
	send_super(r, SUPER_READY);
	return 0;
}

/* What ps and top show of it: by the way it was started the kernel calls it "exe". */
static void
name_process(const struct role_ops *ops, unsigned index)
{
	char name[16];	/* as much as the kernel keeps */

	(void)snprintf(name, sizeof(name), "sp-%s-%u", role_name(ops->kind), index);
	(void)prctl(PR_SET_NAME, name);
}

int
role_main(const struct role_ops *ops, unsigned index, int fd)
{
	struct role r = { .ops = ops, .index = index };

	/* Stopping is the supervisor's to order; ^C reaches the whole group. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	name_process(ops, index);
	log_open(role_name(ops->kind), LOG_LVL_INFO);
	r.loop = loop_new();
	r.base = mem_new(sizeof(*r.base));
	r.base->super = ipc_new(r.loop, fd, on_super, on_super_close, &r);
	if (start(&r) != 0)
		return 1;
	loop_run(r.loop);
	return r.base->status;
}
