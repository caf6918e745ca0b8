// SPDX-License-Identifier: Apache-2.0
#include "relay/routing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/network.h"
#include "policy/address.h"

enum {
	ACCEPTS_PER_TURN = 16,
	ANSWERS_PER_TURN = 64,		/* of one client: others come in between */
	PAUSE_MS	 = 100,		/* out of descriptors */
	REPLY_MAX	 = 4096,
	WHERE_MAX	 = 320
};

struct routing_client {
	TAILQ_ENTRY(routing_client) in_all;	/* silent longest first */
	struct routing	*r;
	int		 fd;			/* owned */
	struct watch	*watch;
	struct timer	*silent;
	struct buf	 in, out;
	bool		 again;			/* asked for another turn by loop_later */
	bool		 gone;
};

struct routing_door {
	struct routing		*r;
	struct watch		*watch;
	struct timer		*pause;
	int			 fd;		/* borrowed */
	struct routing_door	*next;
};

struct routing {
	struct loop		*loop;
	const struct conf	*conf;
	const struct phases	*phases;
	struct routing_door	*doors;
	TAILQ_HEAD(, routing_client) clients;
	unsigned		 nclient;
	uint64_t		 answered;
	char			 where[WHERE_MAX];
};

/* -- the decision ---------------------------------------------------------------- */

/* smtp:[us]:port of the first listener that speaks plain SMTP, else of the first. */
static void
where_default(struct routing *r)
{
	const struct conf *c = r->conf;
	const struct conf_listen *l = c->nlisten > 0 ? &c->listen[0] : NULL;

	for (size_t i = 0; i < c->nlisten; i++) {
		if (!c->listen[i].lmtp && !c->listen[i].proxy) {
			l = &c->listen[i];
			break;
		}
	}
	if (l != NULL)
		(void)snprintf(r->where, sizeof(r->where), "%s:[%s]%s", l->lmtp ? "lmtp" : "smtp",
		    c->hostname, strrchr(l->address, ':'));
}

static void
where_set(struct routing *r)
{
	r->where[0] = '\0';
	if (r->conf->routing_answer != NULL)
		(void)snprintf(r->where, sizeof(r->where), "%s", r->conf->routing_answer);
	else
		where_default(r);
}

const char *
routing_where(const struct routing *r)
{
	return r->where;
}

uint64_t
routing_answered(const struct routing *r)
{
	return r->answered;
}

/*
 * Who of a domain is in which shard only the directory knows. So a domain goes here as soon as
 * one of its groups is not standby: we hand the others' mail on to their store at once.
 */
enum routing_verdict
routing_decide(const struct routing *r, struct slice key)
{
	size_t at = slice_rfind(key, '@');
	struct slice name = at < key.n ? slice_sub(key, at + 1, key.n) : key;
	const struct conf_domain *d;
	struct slice domain;
	char ascii[256];

	if (address_domain_canonical(name, ascii, sizeof(ascii)) != 0 ||
	    (d = conf_domain_find(r->conf, slice_str(ascii))) == NULL)
		return ROUTING_ELSEWHERE;
	domain = slice_str(d->name);
	if (!phases_known(r->phases, domain))
		return ROUTING_UNKNOWN;
	if (!phases_standby(r->phases, domain, SLICE_NONE))
		return ROUTING_HERE;
	for (size_t i = 0; i < d->nshard; i++) {
		if (!phases_standby(r->phases, domain, slice_str(d->shard[i].name)))
			return ROUTING_HERE;
	}
	return ROUTING_ELSEWHERE;
}

/* -- clients ------------------------------------------------------------------------ */

static void
client_reap(void *arg)
{
	struct routing_client *c = arg;

	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

/* Its memory goes when no callback of this turn can hold it. */
static void
client_close(struct routing_client *c)
{
	if (c->gone)
		return;
	c->gone = true;
	TAILQ_REMOVE(&c->r->clients, c, in_all);
	c->r->nclient--;
	watch_free(&c->watch);
	timer_free(&c->silent);
	(void)close(c->fd);
	if (!c->again)
		loop_later(c->r->loop, client_reap, c);
}

static void
client_silent(void *arg)
{
	client_close(arg);
}

static void client_work(struct routing_client *c);

static void
client_again(void *arg)
{
	struct routing_client *c = arg;

	c->again = false;
	if (c->gone)
		client_reap(c);
	else
		client_work(c);
}

/* false: closed. */
static bool
client_flush(struct routing_client *c)
{
	while (buf_len(&c->out) > 0) {
		struct slice s = buf_slice(&c->out);
		ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n <= 0) {
			client_close(c);
			return false;
		}
		buf_drop(&c->out, (size_t)n);
	}
	/* Who does not take answers may not ask. */
	watch_want(c->watch, buf_len(&c->out) > 0 ? LOOP_WRITE : LOOP_READ);
	return true;
}

/* 1 answered, 0 nothing whole is there, -1 closed. */
static int
client_answer(struct routing_client *c)
{
	struct routing *r = c->r;
	struct routing_query q;
	enum routing_verdict v;
	ssize_t used = routing_parse(buf_slice(&c->in), &q);

	if (used == 0)
		return 0;
	v = used < 0 || !q.known ? ROUTING_WRONG : routing_decide(r, slice_make(q.key, q.n));
	if (used < 0 || routing_reply(&c->out, &q, v, r->where) != 0) {
		client_close(c);
		return -1;
	}
	buf_drop(&c->in, (size_t)used);
	r->answered++;
	return 1;
}

static void
client_work(struct routing_client *c)
{
	int n = 0, rc = 1;

	while (buf_len(&c->out) == 0 && n++ < ANSWERS_PER_TURN) {
		rc = client_answer(c);
		if (rc < 0 || (rc == 1 && !client_flush(c)))
			return;
		if (rc == 0)
			return;
	}
	if (buf_len(&c->out) == 0 && !c->again) {
		c->again = true;
		loop_later(c->r->loop, client_again, c);
	}
}

static void
client_ready(void *arg, int fd, unsigned ready)
{
	struct routing_client *c = arg;
	char *room;
	ssize_t n;

	TAILQ_REMOVE(&c->r->clients, c, in_all);
	TAILQ_INSERT_TAIL(&c->r->clients, c, in_all);
	timer_arm(c->silent, c->r->conf->command_timeout_ms);
	if ((ready & LOOP_WRITE) != 0) {
		if (client_flush(c))
			client_work(c);
		return;
	}
	size_t space = c->in.max - buf_len(&c->in);
	if (space == 0 || (room = buf_reserve(&c->in, space)) == NULL) {
		client_close(c);	/* a whole request has room: cannot be */
		return;
	}
	n = recv(fd, room, space, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(c);
		return;
	}
	buf_commit(&c->in, (size_t)n);
	client_work(c);
}

static void
client_new(struct routing *r, int fd)
{
	struct routing_client *c = mem_new(sizeof(*c));

	if (r->nclient >= r->conf->routing_clients_max)
		client_close(TAILQ_FIRST(&r->clients));
	c->r = r;
	c->fd = fd;
	buf_init(&c->in, 2 * ROUTING_REQUEST_MAX);
	buf_init(&c->out, REPLY_MAX);
	c->watch = watch_new(r->loop, fd, client_ready, c);
	c->silent = timer_new(r->loop, client_silent, c);
	timer_arm(c->silent, r->conf->command_timeout_ms);
	watch_want(c->watch, LOOP_READ);
	TAILQ_INSERT_TAIL(&r->clients, c, in_all);
	r->nclient++;
}

/* -- doors ---------------------------------------------------------------------------- */

static bool
may_ask(const struct routing *r, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *v6 = (const void *)ss;
	const struct sockaddr_in *v4 = (const void *)ss;
	char text[INET6_ADDRSTRLEN] = "";
	struct network n;
	uint8_t addr[16];

	(void)inet_ntop(ss->ss_family, ss->ss_family == AF_INET ? (const void *)&v4->sin_addr :
	    (const void *)&v6->sin6_addr, text, sizeof(text));
	if (network_addr(slice_str(text), addr) != 0)
		return false;
	if ((network_parse(SLICE_LIT("127.0.0.0/8"), &n) == 0 && network_has(&n, addr)) ||
	    (network_parse(SLICE_LIT("::1"), &n) == 0 && network_has(&n, addr)))
		return true;
	for (size_t i = 0; i < r->conf->ntrusted_relay; i++) {
		if (network_parse(slice_str(r->conf->trusted_relay[i]), &n) == 0 &&
		    network_has(&n, addr))
			return true;
	}
	log_warn("routing-refused", "client=%s fix=\"name it in trusted-relay if it is a front "
	    "server\"", text);
	return false;
}

static void
door_again(void *arg)
{
	struct routing_door *d = arg;

	watch_want(d->watch, LOOP_READ);
}

static void
door_ready(void *arg, int fd, unsigned ready)
{
	struct routing_door *d = arg;

	(void)ready;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t len = sizeof(ss);
		int c = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c >= 0 && may_ask(d->r, &ss)) {
			client_new(d->r, c);
		} else if (c >= 0) {
			(void)close(c);
		} else {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				watch_want(d->watch, 0);
				timer_arm(d->pause, PAUSE_MS);
			}
			if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
				return;
		}
	}
}

void
routing_listen(struct routing *r, int fd)
{
	struct routing_door *d = mem_new(sizeof(*d));
	int fl = fcntl(fd, F_GETFL);

	if (fl >= 0 && (fl & O_NONBLOCK) == 0)
		(void)fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	d->r = r;
	d->fd = fd;
	d->pause = timer_new(r->loop, door_again, d);
	d->watch = watch_new(r->loop, fd, door_ready, d);
	watch_want(d->watch, LOOP_READ);
	d->next = r->doors;
	r->doors = d;
}

void
routing_unlisten(struct routing *r)
{
	while (r->doors != NULL) {
		struct routing_door *d = r->doors;

		r->doors = d->next;
		watch_free(&d->watch);
		timer_free(&d->pause);
		free(d);
	}
}

/* -- life ----------------------------------------------------------------------------- */

struct routing *
routing_new(struct loop *l, const struct conf *c, const struct phases *p)
{
	struct routing *r = mem_new(sizeof(*r));

	r->loop = l;
	r->phases = p;
	TAILQ_INIT(&r->clients);
	routing_reload(r, c);
	return r;
}

void
routing_reload(struct routing *r, const struct conf *c)
{
	r->conf = c;
	where_set(r);
}

void
routing_free(struct routing **rp)
{
	struct routing *r = *rp;
	struct routing_client *c;

	*rp = NULL;
	if (r == NULL)
		return;
	routing_unlisten(r);
	while ((c = TAILQ_FIRST(&r->clients)) != NULL)
		client_close(c);
	free(r);
}
