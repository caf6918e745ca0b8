// SPDX-License-Identifier: Apache-2.0
/*
 * One state says what the socket is for; conn_interest is the only place that derives
 * from it what the loop watches. Output is collected during a callback and sent when it
 * returns: many replies, one send. Input goes from a buffer on the stack straight to the
 * owner and is kept only when the owner leaves some, so an idle connection owns no buffer.
 *
 * Nothing here frees a connection whose callback may be on the stack: conn_close marks it
 * DEAD and gives the descriptor back, conn_turn frees it at the end of the turn.
 */
#include "relay/conn_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
	OUT_BOUND	= 128 * 1024,	/* refuse big writes from here on */
	OUT_MAX		= OUT_BOUND + CONN_WRITE_MAX,
	OUT_KEEP	= 4 * 1024,	/* a bigger buffer is given back when empty */
	READ_DEFAULT	= 16 * 1024,
	READS_PER_TURN	= 4,		/* then the others have their turn */
	FINISH_MS	= 10 * 1000,
	LINGER_MS	= 1000
};

static void conn_turn(void *arg);
static void conn_flush(struct conn *c);

void
conn_turn_soon(struct conn *c)
{
	if (c->turn_due)
		return;
	c->turn_due = true;
	loop_later(c->loop, conn_turn, c);
}

/* A peer that sends commands without reading our answers has to wait. */
static bool
conn_listens(const struct conn *c)
{
	return !c->paused && !(c->backpressure && buf_len(&c->out) >= CONN_OUT_LOW);
}

static bool
conn_readable(const struct conn *c)
{
	return c->state == CONN_S_OPEN && conn_listens(c);
}

/* Output is tried at the end of a turn; the loop is asked only after the kernel said no. */
static unsigned
conn_wants_room(const struct conn *c)
{
	if (!c->blocked)
		return 0;
	return c->write_wants_read ? LOOP_READ : LOOP_WRITE;
}

void
conn_interest(struct conn *c)
{
	unsigned want = 0;

	switch ((enum conn_state)c->state) {
	case CONN_S_CONNECTING:
		want = LOOP_WRITE;
		break;
	case CONN_S_BEFORE_TLS:
	case CONN_S_FINISH:
		want = conn_wants_room(c);
		break;
	case CONN_S_OPEN:
		/* A pause is mostly over before the peer says more: the loop is not told
		 * until it does, which saves two system calls a pause. */
		if (conn_listens(c) || !c->knocked)
			want |= c->read_wants_write ? LOOP_WRITE : LOOP_READ;
		want |= conn_wants_room(c);
		break;
	case CONN_S_HANDSHAKE:
		want = c->read_wants_write ? LOOP_WRITE : LOOP_READ;
		break;
	case CONN_S_LINGER:
		want = LOOP_READ;
		break;
	case CONN_S_FAILED:
	case CONN_S_DEAD:
		break;
	}
	if (c->watch != NULL)
		watch_want(c->watch, want);
}

void
conn_enter(struct conn *c, enum conn_state st)
{
	c->state = (uint8_t)st;
	conn_interest(c);
}

/* From here on the owner has no say; the memory goes at the end of the turn. */
static void
conn_die(struct conn *c)
{
	if (c->state == CONN_S_DEAD)
		return;
	watch_free(&c->watch);
	timer_free(&c->timer);
	SSL_free(c->ssl);
	c->ssl = NULL;
	(void)close(c->fd);
	c->fd = -1;
	c->ops = NULL;
	conn_enter(c, CONN_S_DEAD);
	conn_turn_soon(c);
}

void
conn_event(struct conn *c, enum conn_event ev)
{
	if (c->ops != NULL)
		c->ops->event(c->arg, ev);
}

void
conn_fail(struct conn *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (c->state == CONN_S_FINISH || c->state == CONN_S_LINGER) {
		conn_die(c);
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	free(c->error);
	c->error = mem_str(text);
	conn_enter(c, CONN_S_FAILED);
	conn_event(c, CONN_ERROR);
}

/* Bytes read, 0 at the end, -1 nothing now, -2 failed (the owner was told). */
static ssize_t
conn_recv(struct conn *c, char *to, size_t n)
{
	if (!c->secure) {
		ssize_t got = recv(c->fd, to, n, 0);

		if (got >= 0)
			return got;
		if (errno == EAGAIN || errno == EINTR)
			return -1;
		conn_fail(c, "%s", strerror(errno));
		return -2;
	}
	ERR_clear_error();
	errno = 0;
	int got = SSL_read(c->ssl, to, (int)n);
	int saved = errno;

	c->read_wants_write = false;
	if (got > 0)
		return got;
	switch (SSL_get_error(c->ssl, got)) {
	case SSL_ERROR_WANT_READ:
		return -1;
	case SSL_ERROR_WANT_WRITE:
		c->read_wants_write = true;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		if (saved == 0)
			return 0;
		break;
	}
	conn_fail(c, "TLS: %s", conn_ssl_reason(saved));
	return -2;
}

/* Bytes taken, -1 nothing now, -2 failed. */
static ssize_t
conn_send(struct conn *c, struct slice s)
{
	if (!c->secure) {
		ssize_t put = send(c->fd, s.p, s.n, MSG_NOSIGNAL);

		if (put >= 0)
			return put;
		if (errno == EAGAIN || errno == EINTR)
			return -1;
		if (c->state == CONN_S_OPEN && (errno == EPIPE || errno == ECONNRESET)) {
			/* It closed after a last reply, mostly: let that be read, the end
			 * comes behind it. */
			c->broken = true;
			return (ssize_t)s.n;
		}
		conn_fail(c, "%s", strerror(errno));
		return -2;
	}
	ERR_clear_error();
	errno = 0;
	int put = SSL_write(c->ssl, s.p, (int)s.n);
	int saved = errno;

	c->write_wants_read = false;
	if (put > 0)
		return put;
	switch (SSL_get_error(c->ssl, put)) {
	case SSL_ERROR_WANT_WRITE:
		return -1;
	case SSL_ERROR_WANT_READ:
		c->write_wants_read = true;
		return -1;
	}
	conn_fail(c, "TLS: %s", conn_ssl_reason(saved));
	return -2;
}

/* All was sent and nobody owns it: say goodbye. A close with unread input would be a
 * reset, which may take our last reply from the peer's hands: wait a little for its end. */
static void
conn_goodbye(struct conn *c)
{
	if (c->secure) {
		ERR_clear_error();
		(void)SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	if (!c->unread) {
		conn_die(c);
		return;
	}
	(void)shutdown(c->fd, SHUT_WR);
	conn_enter(c, CONN_S_LINGER);
	conn_deadline(c, LINGER_MS);
}

static void
conn_drained(struct conn *c)
{
	if (c->out.cap > OUT_KEEP) {
		buf_fini(&c->out);
		buf_init(&c->out, OUT_MAX);
	}
	if (c->state == CONN_S_FINISH)
		conn_goodbye(c);
	else if (c->state == CONN_S_BEFORE_TLS)
		conn_handshake(c);
}

static void
conn_flush(struct conn *c)
{
	bool full = buf_len(&c->out) >= CONN_OUT_LOW;

	while (buf_len(&c->out) > 0) {
		ssize_t put = conn_send(c, buf_slice(&c->out));

		if (put == -2)
			return;
		c->blocked = put < 0;
		if (put < 0)
			break;
		buf_drop(&c->out, (size_t)put);
	}
	if (buf_len(&c->out) == 0)
		conn_drained(c);
	if (full && !c->in_input && buf_len(&c->in) > 0 && conn_readable(c)) {
		c->offer = true;
		conn_turn_soon(c);
	}
	conn_interest(c);
	if (c->refused && buf_len(&c->out) < CONN_OUT_LOW && c->state == CONN_S_OPEN) {
		c->refused = false;
		conn_event(c, CONN_WRITABLE);
	}
}

/* Offers bytes until the owner wants no more of them now; returns how many it took. */
static size_t
conn_offer(struct conn *c, struct slice s)
{
	size_t done = 0;

	while (done < s.n && conn_readable(c)) {
		size_t used;

		c->in_input = true;
		used = c->ops->input(c->arg, slice_sub(s, done, s.n));
		c->in_input = false;
		CHECK(used <= s.n - done);
		done += used;
		if (used == 0)
			break;
	}
	if (c->state == CONN_S_FINISH)
		c->unread = done < s.n;
	return done;
}

/* What the owner wrote goes out, unless it waits in the middle of a group of commands: the
 * peer has said all of them and can wait for all answers at once (RFC 2920 3.2). */
static void
conn_flush_now(struct conn *c)
{
	bool more = c->backpressure && c->state == CONN_S_OPEN && buf_len(&c->in) > 0 &&
	    (c->paused || c->offer);

	if (buf_len(&c->out) == 0 || (more && buf_len(&c->out) < CONN_OUT_LOW))
		return;
	switch ((enum conn_state)c->state) {
	case CONN_S_OPEN:
	case CONN_S_BEFORE_TLS:
	case CONN_S_FINISH:
		conn_flush(c);
		break;
	case CONN_S_CONNECTING:
	case CONN_S_HANDSHAKE:
	case CONN_S_LINGER:
	case CONN_S_FAILED:
	case CONN_S_DEAD:
		break;
	}
}

/* Leftovers after TLS began were sent in the clear and mean nothing any more; those of a
 * connection without an owner have nobody to read them. */
static bool
conn_keeps_input(const struct conn *c)
{
	return c->state == CONN_S_OPEN;
}

static void
conn_offer_kept(struct conn *c)
{
	size_t used = conn_offer(c, buf_slice(&c->in));

	if (!conn_keeps_input(c) || used == buf_len(&c->in)) {
		buf_fini(&c->in);
		buf_init(&c->in, CONN_INPUT);
	} else {
		buf_drop(&c->in, used);
	}
	conn_flush_now(c);
}

static void
conn_take(struct conn *c, struct slice s)
{
	if (buf_len(&c->in) > 0) {
		if (buf_put_slice(&c->in, s) != 0) {
			conn_fail(c, "input nobody takes");
			return;
		}
		conn_offer_kept(c);
		return;
	}
	size_t used = conn_offer(c, s);

	if (conn_keeps_input(c) && used < s.n &&
	    buf_put_slice(&c->in, slice_sub(s, used, s.n)) != 0) {
		conn_fail(c, "input nobody takes");
		return;
	}
	conn_flush_now(c);
}

static void
conn_read(struct conn *c)
{
	char tmp[CONN_INPUT];
	unsigned rounds = 0;
	bool dry = false;

	c->more = false;
	c->knocked = false;
	while (!dry && conn_readable(c) && rounds++ < READS_PER_TURN) {
		size_t room = CONN_INPUT - buf_len(&c->in);
		size_t want = c->read_size < room ? c->read_size : room;
		ssize_t got;

		if (want == 0) {
			conn_fail(c, "input nobody takes");
			return;
		}
		got = conn_recv(c, tmp, want);
		if (got == -2)
			return;
		if (got == 0) {
			/* Told once; the owner decides what its own output is still worth. */
			c->knocked = true;
			conn_pause(c);
			conn_event(c, CONN_EOF);
			return;
		}
		dry = got < 0 || (!c->secure && (size_t)got < want);
		if (got > 0)
			conn_take(c, slice_make(tmp, (size_t)got));
	}
	if (c->state == CONN_S_DEAD)
		return;
	/* Decrypted bytes the loop cannot see. Not when TLS itself asked for more: half a
	 * record counts as pending too, and waiting for it in circles would burn the CPU. */
	c->more = !dry && c->secure && SSL_has_pending(c->ssl) == 1;
	if (c->more && conn_readable(c))
		conn_turn_soon(c);
	conn_interest(c);
}

static void
conn_knock(struct conn *c)
{
	if (conn_readable(c)) {
		conn_read(c);
		return;
	}
	c->knocked = true;
	conn_interest(c);
}

/* The peer of a connection without an owner: thrown away until it closes. */
static void
conn_linger(struct conn *c)
{
	char tmp[CONN_INPUT];
	ssize_t got = recv(c->fd, tmp, sizeof(tmp), 0);

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		conn_die(c);
}

static void
conn_connected(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err != 0) {
		conn_fail(c, "%s", strerror(err));
		return;
	}
	conn_enter(c, CONN_S_OPEN);
	conn_turn_soon(c);	/* what was written meanwhile */
	conn_event(c, CONN_CONNECTED);
}

static void
conn_ready(void *arg, int fd, unsigned ready)
{
	struct conn *c = arg;

	(void)fd;
	switch ((enum conn_state)c->state) {
	case CONN_S_CONNECTING:
		conn_connected(c);
		break;
	case CONN_S_OPEN:
		if ((ready & (c->write_wants_read ? LOOP_READ : LOOP_WRITE)) != 0 &&
		    buf_len(&c->out) > 0)
			conn_flush(c);
		if (c->state == CONN_S_OPEN &&
		    (ready & (c->read_wants_write ? LOOP_WRITE : LOOP_READ)) != 0)
			conn_knock(c);
		break;
	case CONN_S_BEFORE_TLS:
	case CONN_S_FINISH:
		conn_flush(c);
		break;
	case CONN_S_HANDSHAKE:
		conn_handshake(c);
		break;
	case CONN_S_LINGER:
		conn_linger(c);
		break;
	case CONN_S_FAILED:
	case CONN_S_DEAD:
		break;
	}
}

static void
conn_free(struct conn *c)
{
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c->info);
	free(c->error);
	free(c);
}

/* The end of a turn: what was written, what was left over, what is to be freed. */
static void
conn_turn(void *arg)
{
	struct conn *c = arg;

	c->turn_due = false;
	if (c->state == CONN_S_DEAD) {
		conn_free(c);
		return;
	}
	if (c->offer && conn_readable(c)) {
		c->offer = false;
		if (buf_len(&c->in) > 0)
			conn_offer_kept(c);
	}
	conn_flush_now(c);
	if (buf_len(&c->out) == 0 &&
	    (c->state == CONN_S_FINISH || c->state == CONN_S_BEFORE_TLS))
		conn_drained(c);
	if (c->more && conn_readable(c))
		conn_read(c);
	if (c->state != CONN_S_DEAD)
		conn_interest(c);
}

static void
conn_on_timer(void *arg)
{
	struct conn *c = arg;
	int64_t now = clock_mono_ms();

	c->armed = -1;
	if (c->deadline < 0)
		return;
	if (now < c->deadline) {
		/* It was moved since: cheaper to wake once too early than to re-arm a
		 * timer at every line. */
		c->armed = c->deadline;
		timer_arm(c->timer, c->deadline - now);
		return;
	}
	c->deadline = -1;
	if (c->state == CONN_S_FINISH || c->state == CONN_S_LINGER)
		conn_die(c);
	else
		conn_event(c, CONN_TIMEOUT);
}

void
conn_deadline(struct conn *c, int64_t after_ms)
{
	if (after_ms < 0 || c->state == CONN_S_DEAD) {
		c->deadline = -1;
		return;
	}
	c->deadline = clock_mono_ms() + after_ms;
	if (c->timer == NULL)
		c->timer = timer_new(c->loop, conn_on_timer, c);
	if (c->armed < 0 || c->armed > c->deadline) {
		c->armed = c->deadline;
		timer_arm(c->timer, after_ms);
	}
}

static struct conn *
conn_new(struct loop *l, int fd, const struct conn_ops *ops, void *arg, enum conn_state st)
{
	struct conn *c = mem_new(sizeof(*c));
	int one = 1;

	c->loop = l;
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	c->deadline = -1;
	c->armed = -1;
	c->read_size = READ_DEFAULT;
	buf_init(&c->in, CONN_INPUT);
	buf_init(&c->out, OUT_MAX);
	/* Replies are collected by us; the kernel must not sit on them (a socketpair in a
	 * test has no such option). */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->watch = watch_new(l, fd, conn_ready, c);
	conn_enter(c, st);
	return c;
}

struct conn *
conn_accepted(struct loop *l, int fd, const struct conn_ops *ops, void *arg)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl >= 0 && (fl & O_NONBLOCK) == 0)
		(void)fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	struct conn *c = conn_new(l, fd, ops, arg, CONN_S_OPEN);

	c->backpressure = true;
	return c;
}

struct conn *
conn_connect(struct loop *l, const struct sockaddr *to, socklen_t len,
    const struct sockaddr *bind_to, socklen_t bind_len, const struct conn_ops *ops, void *arg)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved;

	if (fd < 0)
		return NULL;
	if (bind_to != NULL && bind(fd, bind_to, bind_len) != 0)
		goto fail;
	if (connect(fd, to, len) != 0 && errno != EINPROGRESS)
		goto fail;
	return conn_new(l, fd, ops, arg, CONN_S_CONNECTING);
fail:
	saved = errno;
	(void)close(fd);
	errno = saved;
	return NULL;
}

void
conn_close(struct conn **cp)
{
	if (*cp == NULL)
		return;
	conn_die(*cp);
	*cp = NULL;
}

void
conn_finish(struct conn **cp)
{
	struct conn *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	if (c->state != CONN_S_OPEN) {
		conn_die(c);
		return;
	}
	/* Within input() conn_offer knows what remains unread. */
	c->unread = !c->in_input && buf_len(&c->in) > 0;
	c->ops = NULL;
	c->refused = false;
	conn_enter(c, CONN_S_FINISH);
	conn_deadline(c, FINISH_MS);
	conn_turn_soon(c);
}

int
conn_write(struct conn *c, struct slice s)
{
	size_t pending = buf_len(&c->out);

	if (c->state == CONN_S_DEAD || c->state == CONN_S_FAILED || c->broken)
		return 0;	/* the owner will hear, or has heard, of it as an event */
	if ((s.n > CONN_SMALL && pending >= OUT_BOUND) || buf_put_slice(&c->out, s) != 0) {
		c->refused = true;
		return -1;
	}
	if (!c->in_input)
		conn_turn_soon(c);
	return 0;
}

size_t
conn_pending(const struct conn *c)
{
	return buf_len(&c->out);
}

void
conn_pause(struct conn *c)
{
	c->paused = true;
	conn_interest(c);
}

void
conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	c->knocked = false;
	conn_interest(c);
	c->offer = buf_len(&c->in) > 0;
	if (c->offer || c->more)
		conn_turn_soon(c);
}

void
conn_read_size(struct conn *c, size_t n)
{
	c->read_size = n == 0 || n > CONN_INPUT ? CONN_INPUT : n;
}

const char *
conn_error(const struct conn *c)
{
	return c->error == NULL ? "" : c->error;
}
