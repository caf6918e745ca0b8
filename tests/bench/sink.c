// SPDX-License-Identifier: Apache-2.0
/*
 * A fast SMTP or LMTP server that throws everything away and counts: the far end of
 * benches, so that what is measured is not it. One process, one epoll, one fixed buffer
 * per connection. Prints its counts as one JSON line on SIGTERM, SIGINT or after --count
 * messages.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 64 * 1024, OUT_MAX = 16 * 1024, EVENTS = 256 };

struct client {
	int		fd;
	bool		data;		/* between 354 and the final dot */
	bool		closing;
	bool		writing;	/* epoll watches for room too */
	unsigned	rcpts;		/* accepted in this transaction */
	unsigned	match;		/* bytes of CRLF.CRLF seen */
	size_t		nin, nout;
	char		in[IN_MAX];
	char		out[OUT_MAX];
};

struct sink {
	int		epoll, listen, signals;
	bool		lmtp;
	uint64_t	limit;		/* stop after so many messages; 0: never */
	uint64_t	messages, recipients, bytes, connections;
	double		first, last;	/* seconds, of messages */
	unsigned	open, open_max;
};

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
say(struct client *c, const char *s)
{
	size_t n = strlen(s);

	if (n > OUT_MAX - c->nout) {	/* it never reads: not a client of ours */
		c->closing = true;
		return;
	}
	memcpy(c->out + c->nout, s, n);
	c->nout += n;
}

static void
flush_out(struct client *c)
{
	ssize_t n;

	if (c->nout == 0)
		return;
	n = send(c->fd, c->out, c->nout, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		c->closing = true;
	if (n <= 0)
		return;
	memmove(c->out, c->out + n, c->nout - (size_t)n);
	c->nout -= (size_t)n;
}

static bool
verb(const char *line, size_t n, const char *v)
{
	return n >= strlen(v) && strncasecmp(line, v, strlen(v)) == 0;
}

static void
command(struct sink *s, struct client *c, const char *line, size_t n)
{
	if (verb(line, n, s->lmtp ? "LHLO" : "EHLO"))
		say(c, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		    "250-SIZE 0\r\n250 ENHANCEDSTATUSCODES\r\n");
	else if (verb(line, n, "HELO"))
		say(c, "250 sink.example\r\n");
	else if (verb(line, n, "MAIL") || verb(line, n, "RSET")) {
		c->rcpts = 0;
		say(c, "250 2.0.0 ok\r\n");
	} else if (verb(line, n, "RCPT")) {
		c->rcpts++;
		say(c, "250 2.1.5 ok\r\n");
	} else if (verb(line, n, "DATA")) {
		c->data = c->rcpts > 0;
		c->match = 2;		/* as if CRLF had just come */
		say(c, c->data ? "354 go\r\n" : "503 5.5.1 no recipient\r\n");
	} else if (verb(line, n, "QUIT")) {
		say(c, "221 2.0.0 bye\r\n");
		c->closing = true;
	} else if (verb(line, n, "NOOP"))
		say(c, "250 2.0.0 ok\r\n");
	else
		say(c, "500 5.5.2 what\r\n");
}

static void
message_done(struct sink *s, struct client *c)
{
	unsigned i;

	s->last = now_s();
	if (s->messages++ == 0)
		s->first = s->last;
	s->recipients += c->rcpts;
	for (i = 0; i < (s->lmtp ? c->rcpts : 1); i++)
		say(c, "250 2.0.0 taken\r\n");
	c->rcpts = 0;
	c->data = false;
}

/* Content up to the final dot; returns how much of it was used. */
static size_t
content(struct sink *s, struct client *c, const char *p, size_t n)
{
	static const char end[] = "\r\n.\r\n";
	size_t i = 0;
	const char *cr;

	while (i < n) {
		if (c->match == 0) {
			cr = memchr(p + i, '\r', n - i);
			if (cr == NULL) {
				i = n;
				break;
			}
			i = (size_t)(cr - p);
		}
		if (p[i] == end[c->match])
			c->match++;
		else
			c->match = p[i] == '\r' ? 1 : 0;
		i++;
		if (c->match == 5) {
			message_done(s, c);
			break;
		}
	}
	s->bytes += i;
	return i;
}

static void
consume(struct sink *s, struct client *c)
{
	size_t at = 0;
	char *nl;

	while (at < c->nin && !c->closing) {
		if (c->data) {
			at += content(s, c, c->in + at, c->nin - at);
			continue;
		}
		nl = memchr(c->in + at, '\n', c->nin - at);
		if (nl == NULL)
			break;
		command(s, c, c->in + at, (size_t)(nl - (c->in + at)));
		at = (size_t)(nl - c->in) + 1;
	}
	memmove(c->in, c->in + at, c->nin - at);
	c->nin -= at;
	if (c->nin == IN_MAX)
		c->closing = true;
}

static void
client_close(struct sink *s, struct client *c)
{
	close(c->fd);
	free(c);
	s->open--;
}

static void
client_ready(struct sink *s, struct client *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	bool writing;
	ssize_t n;

	n = recv(c->fd, c->in + c->nin, IN_MAX - c->nin, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		client_close(s, c);
		return;
	}
	if (n > 0)
		c->nin += (size_t)n;
	consume(s, c);
	flush_out(c);
	if (c->closing) {
		client_close(s, c);
		return;
	}
	writing = c->nout > 0;
	if (writing != c->writing) {
		ev.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN;
		epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &ev);
		c->writing = writing;
	}
}

static void
accept_all(struct sink *s)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct client *c;
	int fd, one = 1;

	while ((fd = accept4(s->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		c = malloc(sizeof(*c));
		if (c == NULL) {
			close(fd);
			return;
		}
		memset(c, 0, offsetof(struct client, in));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->fd = fd;
		s->connections++;
		if (++s->open > s->open_max)
			s->open_max = s->open;
		say(c, s->lmtp ? "220 sink.example LMTP\r\n" : "220 sink.example ESMTP\r\n");
		flush_out(c);
		ev.data.ptr = c;
		if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
			client_close(s, c);
	}
}

static void
print(const struct sink *s)
{
	double t = s->last - s->first;
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("{\"messages\":%llu,\"recipients\":%llu,\"bytes\":%llu,\"connections\":%llu,"
	    "\"connections_at_once\":%u,\"seconds\":%.3f,\"rate\":%.1f,\"cpu_ms\":%ld}\n",
	    (unsigned long long)s->messages, (unsigned long long)s->recipients,
	    (unsigned long long)s->bytes, (unsigned long long)s->connections, s->open_max, t,
	    t > 0 ? (double)(s->messages - 1) / t : 0,
	    (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	    (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000);
	fflush(stdout);
}

static int
sink_listen(const char *address, unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 1024) != 0)
		return -1;
	return fd;
}

static void
run(struct sink *s)
{
	struct epoll_event ev[EVENTS];
	int i, n;

	for (;;) {
		n = epoll_wait(s->epoll, ev, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			return;
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == &s->signals)
				return;
			if (ev[i].data.ptr == &s->listen)
				accept_all(s);
			else
				client_ready(s, ev[i].data.ptr);
		}
		if (s->limit > 0 && s->messages >= s->limit)
			return;
	}
}

static int
usage(void)
{
	fprintf(stderr, "usage: sink --port N [--address IP] [--lmtp] [--count MESSAGES]\n");
	return 2;
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "port", required_argument, NULL, 'p' }, { "lmtp", no_argument, NULL, 'l' },
		{ "count", required_argument, NULL, 'c' }, { "address", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	struct sink s = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	struct epoll_event ev = { .events = EPOLLIN };
	const char *address = "127.0.0.1";
	unsigned port = 0;
	sigset_t set;
	int o;

	while ((o = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (o == 'p')
			port = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'l')
			s.lmtp = true;
		else if (o == 'c')
			s.limit = strtoull(optarg, NULL, 10);
		else if (o == 'a')
			address = optarg;
		else
			return usage();
	}
	if (port == 0 || port > 65535 || optind != argc)
		return usage();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s.signals = signalfd(-1, &set, SFD_CLOEXEC);
	s.listen = sink_listen(address, port);
	if (s.listen < 0) {
		fprintf(stderr, "sink: %s:%u: %s\n", address, port, strerror(errno));
		return 1;
	}
	ev.data.ptr = &s.listen;
	epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listen, &ev);
	ev.data.ptr = &s.signals;
	epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.signals, &ev);
	run(&s);
	print(&s);
	return 0;
}
