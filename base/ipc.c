// SPDX-License-Identifier: Apache-2.0
#include "base/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	HEAD = 8,		/* u32 type, u32 bytes that follow */
	READS_PER_TURN = 64	/* then the other descriptors get their chance */
};

struct waiting {		/* a message the socket has not taken yet */
	struct waiting	*next;
	int		 fd;	/* owned duplicate or -1 */
	size_t		 n;
	char		 bytes[];
};

struct ipc {
	struct loop	*loop;
	struct watch	*watch;
	int		 fd;		/* owned; -1 after the end */
	ipc_message_fn	*on_message;
	ipc_close_fn	*on_close;
	void		*arg;
	struct waiting	*head, **tail;
	size_t		 nwaiting;
	bool		 closed;	/* on_close was or will be called */
	bool		 freed;		/* reap when the callback has returned */
	unsigned	 busy;		/* callbacks on the stack */
};

/* Every channel of a process is used from its one loop thread, and a message is
 * handled before the next is read: one buffer each way serves all. */
static char in_bytes[IPC_MAX];
static struct buf out_bytes = { .max = IPC_MAX };

int
ipc_pair(int fd[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd);
}

static void
reap(struct ipc *ch)
{
	watch_free(&ch->watch);
	if (ch->fd >= 0)
		close(ch->fd);
	while (ch->head != NULL) {
		struct waiting *w = ch->head;
		ch->head = w->next;
		if (w->fd >= 0)
			close(w->fd);
		free(w);
	}
	free(ch);
}

static void
tell_closed(void *arg)
{
	struct ipc *ch = arg;

	ch->busy--;
	if (!ch->freed) {
		ch->busy++;
		ch->on_close(ch->arg, ch);
		ch->busy--;
	}
	if (ch->freed)
		reap(ch);
}

/* The end is told from the loop, never from within ipc_send. */
static void
end(struct ipc *ch)
{
	if (ch->closed)
		return;
	ch->closed = true;
	watch_want(ch->watch, 0);
	ch->busy++;
	loop_later(ch->loop, tell_closed, ch);
}

static ssize_t
send_packet(int sock, const char *p, size_t n, int fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	union {
		struct cmsghdr	align;
		char		bytes[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		memset(&ctl, 0, sizeof(ctl));
		m.msg_control = &ctl;
		m.msg_controllen = sizeof(ctl);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	ssize_t r;
	do {
		r = sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	return r;
}

static bool
would_block(int e)
{
	/* ETOOMANYREFS: too many descriptors in flight for this user; it passes. */
	return e == EAGAIN || e == EWOULDBLOCK || e == ENOBUFS || e == ETOOMANYREFS;
}

static void
flush(struct ipc *ch)
{
	while (ch->head != NULL) {
		struct waiting *w = ch->head;
		if (send_packet(ch->fd, w->bytes, w->n, w->fd) < 0) {
			if (!would_block(errno))
				end(ch);
			return;
		}
		ch->head = w->next;
		if (ch->head == NULL)
			ch->tail = &ch->head;
		ch->nwaiting--;
		if (w->fd >= 0)
			close(w->fd);
		free(w);
	}
	watch_want(ch->watch, LOOP_READ);
}

static int
put_off(struct ipc *ch, struct slice s, int fd)
{
	struct waiting *w = mem_new(sizeof(*w) + s.n);

	w->fd = -1;
	if (fd >= 0) {
		w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (w->fd < 0) {
			free(w);
			return -1;
		}
	}
	w->n = s.n;
	memcpy(w->bytes, s.p, s.n);
	*ch->tail = w;
	ch->tail = &w->next;
	ch->nwaiting++;
	watch_want(ch->watch, LOOP_READ | LOOP_WRITE);
	return 0;
}

int
ipc_send(struct ipc *ch, uint32_t type, const struct wire_desc *d, const void *msg, int fd)
{
	uint32_t head[2] = { type, 0 };

	if (ch->closed || ch->freed) {
		errno = EPIPE;
		return -1;
	}
	buf_clear(&out_bytes);
	if (buf_put(&out_bytes, head, HEAD) != 0 || wire_put(&out_bytes, d, msg) != 0) {
		errno = EMSGSIZE;
		return -1;
	}
	struct slice s = buf_slice(&out_bytes);
	head[1] = (uint32_t)(s.n - HEAD);
	memcpy(out_bytes.p + out_bytes.off + 4, &head[1], 4);
	if (ch->head != NULL)
		return put_off(ch, s, fd);
	if (send_packet(ch->fd, s.p, s.n, fd) >= 0)
		return 0;
	if (would_block(errno))
		return put_off(ch, s, fd);
	end(ch);
	errno = EPIPE;
	return -1;
}

/* 1 with a packet, 0 nothing there, -1 the end. */
static int
receive(struct ipc *ch, struct slice *body, uint32_t *type, int *fd)
{
	struct iovec iov = { .iov_base = in_bytes, .iov_len = sizeof(in_bytes) };
	union {
		struct cmsghdr	align;
		char		bytes[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
		.msg_controllen = sizeof(ctl) };
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(ch->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return would_block(errno) ? 0 : -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (n == 0)
		return -1;
	uint32_t head[2] = { 0, 0 };
	if (n >= HEAD)
		memcpy(head, in_bytes, HEAD);
	if (n < HEAD || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    head[1] != (size_t)n - HEAD) {
		log_error("ipc-malformed", "bytes=%zd flags=%d", n, m.msg_flags);
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return -1;
	}
	*type = head[0];
	*body = slice_make(in_bytes + HEAD, (size_t)n - HEAD);
	return 1;
}

static int
take_one(struct ipc *ch)
{
	struct slice body;
	uint32_t type;
	int fd;
	int r = receive(ch, &body, &type, &fd);

	if (r == 1)
		ch->on_message(ch->arg, ch, type, body, fd);
	else if (r < 0)
		end(ch);
	return r;
}

static void
on_ready(void *arg, int fd, unsigned ready)
{
	struct ipc *ch = arg;

	(void)fd;
	ch->busy++;
	if ((ready & LOOP_WRITE) != 0)
		flush(ch);
	if ((ready & LOOP_READ) != 0)
		for (int i = 0; i < READS_PER_TURN && !ch->freed && !ch->closed; i++)
			if (take_one(ch) != 1)
				break;
	ch->busy--;
	if (ch->freed && ch->busy == 0)
		reap(ch);
}

struct ipc *
ipc_new(struct loop *l, int fd, ipc_message_fn *on_message, ipc_close_fn *on_close, void *arg)
{
	struct ipc *ch = mem_new(sizeof(*ch));

	ch->loop = l;
	ch->fd = fd;
	ch->on_message = on_message;
	ch->on_close = on_close;
	ch->arg = arg;
	ch->tail = &ch->head;
	int fl = fcntl(fd, F_GETFL);
	if (fl >= 0)
		fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	int room = 4 * IPC_MAX;	/* the kernel cuts it to its own bound */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	ch->watch = watch_new(l, fd, on_ready, ch);
	watch_want(ch->watch, LOOP_READ);
	return ch;
}

void
ipc_free(struct ipc **chp)
{
	struct ipc *ch = *chp;

	if (ch == NULL)
		return;
	*chp = NULL;
	ch->freed = true;
	watch_want(ch->watch, 0);
	if (ch->busy == 0)
		reap(ch);
}

size_t
ipc_waiting(const struct ipc *ch)
{
	return ch->nwaiting;
}

int
ipc_wait(struct ipc *ch, int timeout_ms)
{
	struct pollfd p = { .fd = ch->fd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return r < 0 || ch->closed ? -1 : take_one(ch);
}
