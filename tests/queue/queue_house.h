// SPDX-License-Identifier: Apache-2.0
/*
 * A queue role in this process, with a spool in memory and the test in the place of the
 * other roles: real channels, real clock, nothing else of the house.
 */
#ifndef TESTS_QUEUE_HOUSE_H
#define TESTS_QUEUE_HOUSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/proto/queue_directory.h"
#include "base/proto/queue_seal.h"
#include "base/proto/relay_probe.h"
#include "queue/queue_role.h"
#include "queue/switch.h"
#include "tests/queue/spool_double.h"

enum { HOUSE_PATIENCE_MS = 8000, HOUSE_MAIL_MAX = 256 };

struct house;

struct house_mail {		/* a message a peer got */
	uint32_t	 type;
	char		*bytes;		/* owned */
	size_t		 n;
	int		 fd;		/* owned, -1 none */
};

struct house_peer {
	struct house	*house;
	enum role_kind	 kind;
	unsigned	 index;
	struct ipc	*ours, *queues;		/* the peer's end, the queue's end */
	struct house_mail mail[HOUSE_MAIL_MAX];
	size_t		 first, n;		/* unread ones are [first, n) */
	struct house_mail aside[HOUSE_MAIL_MAX];	/* phases and probes: they come when they come */
	size_t		 aside_first, naside;
};

struct house {
	struct role	 role;
	struct conf	*conf;
	struct house_peer peer[4];	/* relay 0, relay 1, directory 0, seal 0 */
	char		 dir[64];
	int		 dirfd, control;
	bool		 done;
	bool		 routes_by_hand;	/* QUEUE_ROUTE is mail like other */
	uint8_t		 route;		/* enum queue_route_status of the answer */
	const char	*reason;
	unsigned	 closes;	/* QUEUE_CLOSE seen by all relays */
	const char	*enhanced, *text;	/* of house_deliver_answer, unless NULL */
	uint8_t		 triage;	/* of house_commit; 2 at first */
	uint8_t		 dmarc;		/* likewise; AUTH_UNSET at first */
	uint64_t	 message_id;	/* of house_prepare */
	const char	*authres;	/* of house_commit, unless NULL */
	struct timer	*patience;
	bool		 late;
};

enum { H_RELAY0, H_RELAY1, H_DIRECTORY, H_SEAL };

static struct house *house_of_role;	/* the functions of base/role.h have no other way */

/* ---- base/role.h ---- */

const char *
role_name(enum role_kind k)
{
	(void)k;
	return "role";
}

struct ipc *
role_link(struct role *r, enum role_kind peer, unsigned index)
{
	struct house *h = house_of_role;

	(void)r;
	for (size_t i = 0; i < 4; i++)
		if (h->peer[i].kind == peer && h->peer[i].index == index)
			return h->peer[i].queues;
	return NULL;
}

struct ipc *
role_any(struct role *r, enum role_kind peer, unsigned *index)
{
	for (unsigned i = 0; i < 2; i++) {
		if (role_link(r, peer, i) == NULL)
			continue;
		if (index != NULL)
			*index = i;
		return role_link(r, peer, i);
	}
	return NULL;
}

int
role_resource(struct role *r, const char *name)
{
	(void)r;
	return strcmp(name, "queue-dir") == 0 ? house_of_role->dirfd :
	    strcmp(name, "control") == 0 ? house_of_role->control : -1;
}

char *
role_resource_text(struct role *r, const char *name, size_t max, size_t *n)
{
	(void)r;
	(void)name;
	(void)max;
	(void)n;
	return NULL;
}

void
role_ask(struct role *r, const char *verb, role_answer_fn *fn, void *arg)
{
	(void)r;
	assert_string_equal(verb, "status");
	fn(arg, SLICE_LIT("{\"pid\":1,\"roles\":[{\"role\":\"relay\",\"index\":0}]}"));
}

void
role_done(struct role *r)
{
	house_of_role->done = true;
	loop_stop(r->loop);
}

/* ---- the peers ---- */

static void
house_peer_message(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct house_peer *p = arg;
	struct queue_route r;

	(void)ch;
	if (type == QUEUE_PHASES || type == QUEUE_PROBE) {
		assert_true(p->naside < HOUSE_MAIL_MAX);
		p->aside[p->naside++] = (struct house_mail){ type, slice_dup(body), body.n, fd };
		return;
	}
	if (type == QUEUE_ROUTE && !p->house->routes_by_hand) {
		struct queue_routed a = { .status = p->house->route, .ttl_s = 600,
			.group = SLICE_LIT("provider.example"),
			.reason = slice_str(p->house->reason) };
		assert_int_equal(wire_get(body, &queue_route_wire, &r), 0);
		a.req = r.req;
		assert_int_equal(ipc_send(ch, QUEUE_ROUTED, &queue_routed_wire, &a, -1), 0);
		return;
	}
	if (type == QUEUE_CLOSE) {
		p->house->closes++;
		return;
	}
	assert_true(p->n < HOUSE_MAIL_MAX);
	p->mail[p->n++] = (struct house_mail){ type, slice_dup(body), body.n, fd };
}

static void
house_queue_message(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct house_peer *p = arg;

	queue_ops.message(&p->house->role, p->kind, p->index, ch, type, body, fd);
}

static void
house_closed(void *arg, struct ipc *ch)
{
	(void)arg;
	(void)ch;
}

static void
house_link(struct house *h, unsigned at)
{
	struct house_peer *p = &h->peer[at];
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	p->ours = ipc_new(h->role.loop, fd[0], house_peer_message, house_closed, p);
	p->queues = ipc_new(h->role.loop, fd[1], house_queue_message, house_closed, p);
	if (h->role.priv != NULL)
		queue_ops.link_up(&h->role, p->kind, p->index);
}

static void
house_unlink(struct house *h, unsigned at)
{
	struct house_peer *p = &h->peer[at];

	ipc_free(&p->ours);
	ipc_free(&p->queues);
	if (h->role.priv != NULL)
		queue_ops.link_down(&h->role, p->kind, p->index);
}

/* ---- life ---- */

static const char house_conf[] =
    "hostname = \"mx2.example.it\"\n"
    "state-dir = \"/tmp\"\n"
    "postmaster = \"admin@ops.example\"\n"
    "relays = 2\n"
    "sealers = 1\n"
    "forwarder { domain = \"fwd.example.it\" secret-file = \"/dev/null\" }\n"
    "domain \"a.example\" { user-notice = off primary = \"lmtp://store-a:24\" shard \"s2\" { primary = "
    "\"smtp://[::1]:2525\" } }\n"
    "domain \"b.example\" { user-notice = off primary = \"lmtp://store-b:24\" failover = on }\n";

static int
house_listen(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/control.sock", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void
house_wake(void *arg)
{
	loop_stop(arg);
}

static void
house_late(void *arg)
{
	struct house *h = arg;

	h->late = true;
	loop_stop(h->role.loop);
}

static int
house_setup(void **state)
{
	struct house *h = mem_new(sizeof(*h));
	struct conf_errors e = { .count = 0 };
	static const struct { enum role_kind kind; unsigned index; } kinds[4] = {
		{ ROLE_RELAY, 0 }, { ROLE_RELAY, 1 }, { ROLE_DIRECTORY, 0 }, { ROLE_SEAL, 0 } };

	log_open("test", LOG_LVL_ERROR);
	house_of_role = h;
	h->triage = 2;
	buf_init(&e.text, 65536);
	h->conf = conf_parse(slice_str(house_conf), "test.conf", &e);
	if (h->conf == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	h->conf->retry_min_ms = 10;	/* below what a file may say */
	h->conf->retry_max_ms = 40;
	(void)snprintf(h->dir, sizeof(h->dir), "/tmp/queue_test.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	h->dirfd = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->control = house_listen(h->dir);
	h->role.ops = &queue_ops;
	h->role.loop = loop_new();
	h->role.conf = h->conf;
	h->patience = timer_new(h->role.loop, house_late, h);
	for (unsigned i = 0; i < 4; i++) {
		h->peer[i].house = h;
		h->peer[i].kind = kinds[i].kind;
		h->peer[i].index = kinds[i].index;
		house_link(h, i);
	}
	assert_int_equal(queue_ops.start(&h->role), 0);
	*state = h;
	return 0;
}

static struct queue *
house_queue(struct house *h)
{
	return h->role.priv;
}

/* Turns the loop until cond says so; fails the test after some seconds. */
static void
house_until(struct house *h, bool (*cond)(struct house *h, const void *arg), const void *arg)
{
	struct timer *poll;

	h->late = false;
	timer_arm(h->patience, HOUSE_PATIENCE_MS);
	poll = timer_new(h->role.loop, house_wake, h->role.loop);
	while (!cond(h, arg) && !h->late) {
		timer_arm(poll, 1);
		(void)loop_run(h->role.loop);
	}
	timer_free(&poll);
	timer_cancel(h->patience);
	assert_false(h->late);
}

/* One turn of the loop: what lies in the sockets is taken. */
static void __attribute__((unused))
house_turn(struct house *h)
{
	struct timer *poll = timer_new(h->role.loop, house_wake, h->role.loop);

	timer_arm(poll, 2);
	(void)loop_run(h->role.loop);
	timer_free(&poll);
}

static bool
house_is_done(struct house *h, const void *arg)
{
	(void)arg;
	return h->done;
}

static void
house_stop(struct house *h)
{
	if (h->role.priv == NULL)
		return;
	queue_ops.stop(&h->role);
	house_until(h, house_is_done, NULL);
}

static int
house_teardown(void **state)
{
	struct house *h = *state;

	house_stop(h);
	for (unsigned i = 0; i < 4; i++) {
		house_unlink(h, i);
		for (size_t j = 0; j < h->peer[i].n; j++) {
			free(h->peer[i].mail[j].bytes);
			if (h->peer[i].mail[j].fd >= 0)
				close(h->peer[i].mail[j].fd);
		}
		for (size_t j = 0; j < h->peer[i].naside; j++)
			free(h->peer[i].aside[j].bytes);
	}
	timer_free(&h->patience);
	loop_free(&h->role.loop);
	conf_free(&h->conf);
	close(h->control);
	(void)unlinkat(h->dirfd, "control.sock", 0);
	(void)unlinkat(h->dirfd, "audit.log", 0);
	(void)unlinkat(h->dirfd, "marks", 0);
	(void)unlinkat(h->dirfd, "consent", 0);
	(void)unlinkat(h->dirfd, "told", 0);
	(void)unlinkat(h->dirfd, "history", 0);
	(void)unlinkat(h->dirfd, "history.1", 0);
	(void)unlinkat(h->dirfd, "failover.json", 0);
	(void)unlinkat(h->dirfd, "replay.json", 0);
	(void)unlinkat(h->dirfd, "tally.json", 0);
	(void)unlinkat(h->dirfd, "failover.json.new", 0);
	close(h->dirfd);
	assert_int_equal(rmdir(h->dir), 0);
	free(h);
	return 0;
}

/* ---- talking ---- */

static bool
house_has_mail(struct house *h, const void *arg)
{
	const struct house_peer *p = arg;

	(void)h;
	return p->first < p->n;
}

/* The next message to that peer, which must be of that type. Decoded into `out`. */
static struct house_mail *
house_next(struct house *h, unsigned at, uint32_t type, const struct wire_desc *d, void *out)
{
	struct house_peer *p = &h->peer[at];

	house_until(h, house_has_mail, p);
	struct house_mail *m = &p->mail[p->first++];
	assert_int_equal(m->type, type);
	assert_int_equal(wire_get(slice_make(m->bytes, m->n), d, out), 0);
	return m;
}

static bool
house_any_relay_mail(struct house *h, const void *arg)
{
	(void)arg;
	return house_has_mail(h, &h->peer[H_RELAY0]) || house_has_mail(h, &h->peer[H_RELAY1]);
}

/* The next delivery, whichever relay got it. */
static unsigned __attribute__((unused))
house_delivery(struct house *h, struct queue_deliver *out, struct house_mail **mail)
{
	house_until(h, house_any_relay_mail, NULL);
	unsigned at = house_has_mail(h, &h->peer[H_RELAY0]) ? H_RELAY0 : H_RELAY1;
	struct house_mail *m = house_next(h, at, QUEUE_DELIVER, &queue_deliver_wire, out);
	if (mail != NULL)
		*mail = m;
	return at;
}

static void __attribute__((unused))
house_deliver_answer(struct house *h, unsigned at, uint64_t req, enum deliver_outcome o,
    enum deliver_scope scope, uint16_t code)
{
	const struct queue_delivered m = { .req = req, .outcome = (uint8_t)o,
		.scope = (uint8_t)scope, .code = code,
		.enhanced = h->enhanced != NULL ? slice_str(h->enhanced) : SLICE_LIT("5.1.1"),
		.text = h->text != NULL ? slice_str(h->text) :
		    SLICE_LIT("no mailbox anna@recovery.example here"),
		.peer = SLICE_LIT("mx.recovery.example[192.0.2.1]:25") };

	assert_int_equal(ipc_send(h->peer[at].ours, QUEUE_DELIVERED, &queue_delivered_wire, &m,
	    -1), 0);
}

struct house_rcpt {
	enum rcpt_kind	 kind;
	const char	*address, *domain, *shard;
};

static struct envelope_bounce *house_bounce;	/* of the next commits; NULL: ordinary mail */
static const char *house_token = "";		/* likewise, of its recipients */

/* Sends a commit; `flags` ENV_*. Returns the request's number. */
static uint64_t __attribute__((unused))
house_commit(struct house *h, const struct house_rcpt *r, size_t n, uint32_t flags, long size_off)
{
	static uint64_t req;
	static const char content[] = "Subject: hello\r\n\r\nthe body\r\n";
	struct envelope v = { .version = ENVELOPE_VERSION, .id = msgid_new(0),
		.received_ms = (uint64_t)clock_wall_ms(), .flags = flags, .triage = h->triage, .dmarc = h->dmarc,
		.body_size = sizeof(content) - 1 + (uint64_t)size_off,
		.client_ip = SLICE_LIT("192.0.2.7"), .helo = SLICE_LIT("client.example"),
		.mail_from = SLICE_LIT("bob@sender.example"),
		.trace = SLICE_LIT("Received: from client.example\r\n"),
		.authres = h->authres != NULL ? slice_str(h->authres) :
		    SLICE_LIT("mx2.example.it; spf=pass") };
	struct buf rcpts, env, bounce;
	int fd = body_make(SLICE_LIT(content));

	buf_init(&rcpts, 65536);
	buf_init(&env, ENVELOPE_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct envelope_rcpt er = { .kind = (uint8_t)r[i].kind,
			.address = slice_str(r[i].address), .user = slice_str(r[i].address),
			.domain = slice_str(r[i].domain), .shard = slice_str(r[i].shard),
			.token = slice_str(house_token) };
		assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &er), 0);
	}
	v.rcpts = buf_slice(&rcpts);
	buf_init(&bounce, ENVELOPE_BOUNCE_MAX);
	if (house_bounce != NULL)
		assert_int_equal(wire_put(&bounce, &envelope_bounce_wire, house_bounce), 0);
	v.bounce = buf_slice(&bounce);
	assert_int_equal(wire_put(&env, &envelope_wire, &v), 0);
	const struct queue_commit m = { ++req, buf_slice(&env) };
	assert_int_equal(ipc_send(h->peer[H_RELAY0].ours, QUEUE_COMMIT, &queue_commit_wire, &m, fd),
	    0);
	close(fd);
	buf_fini(&rcpts);
	buf_fini(&env);
	buf_fini(&bounce);
	return req;
}

static void __attribute__((unused))
house_committed(struct house *h, uint64_t req, enum queue_commit_status st)
{
	struct queue_committed m;

	(void)house_next(h, H_RELAY0, QUEUE_COMMITTED, &queue_committed_wire, &m);
	assert_int_equal(m.req, req);
	assert_int_equal(m.status, st);
}

static const struct spool_entry *
house_entry(struct house *h, size_t i)
{
	struct spool *sp = house_queue(h)->spool;

	assert_true(i < sp->n);
	return &sp->entry[i].e;
}

struct house_leg {
	size_t		entry;
	enum leg_kind	leg;
	enum leg_state	state;
};

static bool
house_leg_is(struct house *h, const void *arg)
{
	const struct house_leg *l = arg;

	return house_queue(h)->spool->n > l->entry &&
	    house_entry(h, l->entry)->leg[l->leg].state == l->state;
}

static void __attribute__((unused))
house_until_leg(struct house *h, size_t entry, enum leg_kind leg, enum leg_state st)
{
	const struct house_leg l = { entry, leg, st };

	house_until(h, house_leg_is, &l);
}

static inline const char *
house_note(struct house *h, size_t i, enum leg_kind leg)
{
	return house_queue(h)->spool->entry[i].note[leg];
}

static void __attribute__((unused))
house_switch(struct house *h, const char *domain, enum conf_failover mode)
{
	struct queue *q = house_queue(h);
	struct audit_who who = { 0, 42 };
	struct failover_group *g = failover_of(q->failover, slice_str(domain), SLICE_NONE);

	assert_int_equal(queue_switch(q, g, mode, who, "test"), 0);
}

/* Directory and seal say yes for one forward leg. */
static void __attribute__((unused))
house_target(struct house *h, enum dir_target_status st, const char *recovery, const char *reason)
{
	struct dir_target q;

	(void)house_next(h, H_DIRECTORY, DIR_TARGET, &dir_target_wire, &q);
	const struct dir_targeted a = { .req = q.req, .status = (uint8_t)st,
		.recovery = slice_str(recovery), .reason = slice_str(reason) };
	assert_int_equal(ipc_send(h->peer[H_DIRECTORY].ours, DIR_TARGETED, &dir_targeted_wire, &a,
	    -1), 0);
}

#define HOUSE_TOKEN "abcdefghijklmnopqrstuvwx"

static void __attribute__((unused))
house_prepare(struct house *h, enum seal_status st, const char *reason)
{
	struct seal_prepare q;
	struct house_mail *m = house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &q);

	assert_true(m->fd >= 0);
	const struct seal_prepared a = { .req = q.req, .status = (uint8_t)st,
		.reason = slice_str(reason), .token = SLICE_LIT(HOUSE_TOKEN),
		.mail_from = SLICE_LIT("b-" HOUSE_TOKEN "@fwd.example.it"),
		.prefix = SLICE_LIT("ARC-Seal: i=1\r\n"), .suffix = SLICE_LIT("--end\r\n"),
		.message_id = h->message_id };
	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_PREPARED, &seal_prepared_wire, &a, -1),
	    0);
}

#endif
