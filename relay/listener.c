// SPDX-License-Identifier: Apache-2.0
#include "relay/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	ACCEPTS_PER_TURN = 16,	/* leaves some to the other relays, and time to the sessions */
	PAUSE_MS	 = 100
};

struct listener {
	struct loop		*loop;
	struct smtp_server	*sv;
	struct watch		*watch;
	struct timer		*pause;
	int			 fd;		/* borrowed */
	unsigned		 how;		/* SESSION_* */
	bool			 logged;	/* that we are out of descriptors */
};

static void
listener_again(void *arg)
{
	struct listener *ln = arg;

	watch_want(ln->watch, LOOP_READ);
}

/* IPv4 clients of an IPv6 socket are IPv4 clients: SPF and reverse names depend on it. */
static void
address_text(const struct sockaddr_storage *ss, char out[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in6 *v6 = (const void *)ss;
	const struct sockaddr_in *v4 = (const void *)ss;

	out[0] = '\0';
	if (ss->ss_family == AF_INET)
		(void)inet_ntop(AF_INET, &v4->sin_addr, out, INET6_ADDRSTRLEN);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		(void)inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out, INET6_ADDRSTRLEN);
	else if (ss->ss_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, out, INET6_ADDRSTRLEN);
}

static void
listener_exhausted(struct listener *ln, int err)
{
	if (!ln->logged)
		log_warn("accept-paused", "error=%s fix=\"raise LimitNOFILE or lower "
		    "sessions-max\"", strerror(err));
	ln->logged = true;
	watch_want(ln->watch, 0);
	timer_arm(ln->pause, PAUSE_MS);
}

static void
listener_ready(void *arg, int fd, unsigned ready)
{
	struct listener *ln = arg;

	(void)ready;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t len = sizeof(ss);
		char ip[INET6_ADDRSTRLEN];
		int c = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				listener_exhausted(ln, errno);
			/* Anything else is that client's bad luck, or nobody there. */
			if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
				return;
			continue;
		}
		ln->logged = false;
		address_text(&ss, ip);
		session_start(ln->sv, c, ip, ln->how);
	}
}

struct listener *
listener_new(struct loop *l, int fd, struct smtp_server *sv, unsigned how)
{
	struct listener *ln = mem_new(sizeof(*ln));
	int fl = fcntl(fd, F_GETFL);

	/* Shared by all relays: another one may be faster. */
	if (fl >= 0 && (fl & O_NONBLOCK) == 0)
		(void)fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	ln->loop = l;
	ln->sv = sv;
	ln->fd = fd;
	ln->how = how;
	ln->pause = timer_new(l, listener_again, ln);
	ln->watch = watch_new(l, fd, listener_ready, ln);
	watch_want(ln->watch, LOOP_READ);
	return ln;
}

void
listener_free(struct listener **lp)
{
	struct listener *ln = *lp;

	if (ln == NULL)
		return;
	watch_free(&ln->watch);
	timer_free(&ln->pause);
	free(ln);
	*lp = NULL;
}
