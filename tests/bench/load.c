// SPDX-License-Identifier: Apache-2.0
/*
 * A fast SMTP (or LMTP) load generator: N sessions at once send M messages in all, each session K
 * messages per connection. Latency runs from MAIL to the reply after the final dot. Stops
 * by itself: after M results, good or bad, or at --timeout. Prints one JSON line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 8192, CMD_MAX = 4096, EVENTS = 256, TO_MAX = 1024 };

enum step { STEP_GREETING, STEP_EHLO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_FINAL, STEP_RSET,
	STEP_QUIT };

struct session {
	int		fd;		/* -1: closed */
	enum step	step;		/* what the next reply answers */
	bool		writing;	/* epoll watches for room */
	bool		failed;		/* this transaction got its error already */
	unsigned	sent;		/* messages begun on this connection */
	uint64_t	index;		/* which message is under way */
	uint64_t	began_us;
	size_t		nin, ncmd, cmd_at;	/* commands not yet written */
	size_t		body_at;	/* of the shared content; SIZE_MAX: not sending */
	char		in[IN_MAX];
	char		cmd[CMD_MAX];
};

struct load {
	struct addrinfo	*to_addr;
	int		 epoll;
	unsigned	 nsession, per_connection, users;
	bool		 pipeline;
	bool		 lmtp;		/* one recipient: one final reply, as in SMTP */
	uint64_t	 total, begun, ended, ok;
	uint64_t	 error[600];	/* by reply code; 0: connection lost */
	uint32_t	*latency_us;	/* of the good ones */
	const char	*from;
	char		*to[TO_MAX];
	size_t		 nto;
	char		*body;		/* content after the header, with the final dot */
	bool		 whole;		/* body is all but a Message-ID (--content) */
	unsigned	 domains;	/* %d in from becomes a number below it */
	size_t		 nbody;
	uint64_t	 connections;
	unsigned	 open;
};

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

__attribute__((format(printf, 2, 3))) static void
say(struct session *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->cmd + s->ncmd, CMD_MAX - s->ncmd, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < CMD_MAX - s->ncmd)
		s->ncmd += (size_t)n;
}

/* The recipient of message i: of the list in turn, with %d replaced by a user number. */
static void
say_rcpt(const struct load *l, struct session *s, uint64_t i)
{
	const char *t = l->to[i % l->nto], *d = strstr(t, "%d");

	if (d == NULL)
		say(s, "RCPT TO:<%s>\r\n", t);
	else
		say(s, "RCPT TO:<%.*s%llu%s>\r\n", (int)(d - t), t,
		    (unsigned long long)(i % l->users), d + 2);
}

static void
say_mail(const struct load *l, struct session *s, uint64_t i)
{
	const char *d = strstr(l->from, "%d");

	if (d == NULL)
		say(s, "MAIL FROM:<%s>\r\n", l->from);
	else
		say(s, "MAIL FROM:<%.*s%llu%s>\r\n", (int)(d - l->from), l->from,
		    (unsigned long long)(i % l->domains), d + 2);
}

static void
say_header(const struct load *l, struct session *s, uint64_t i)
{
	s->body_at = 0;
	if (l->whole) {
		say(s, "Message-ID: <%d.%llu@load.example>\r\n", getpid(), (unsigned long long)i);
		return;
	}
	say(s, "From: Load <load@sender.example>\r\nTo: somebody\r\n"
	    "Subject: load %llu\r\nDate: Sun, 22 Nov 2026 20:00:00 +0100\r\n"
	    "Message-ID: <%d.%llu@load.example>\r\n\r\n", (unsigned long long)i, getpid(),
	    (unsigned long long)i);
}

static void
next_message(struct load *l, struct session *s)
{
	if (l->begun >= l->total || s->sent >= l->per_connection) {
		say(s, "QUIT\r\n");
		s->step = STEP_QUIT;
		return;
	}
	s->sent++;
	s->index = l->begun++;
	s->failed = false;
	s->began_us = now_us();
	say_mail(l, s, s->index);
	s->step = STEP_MAIL;
	if (l->pipeline) {
		say_rcpt(l, s, s->index);
		say(s, "DATA\r\n");
	}
}

static void
failed(struct load *l, struct session *s, unsigned code)
{
	if (s->failed)
		return;
	s->failed = true;
	l->error[code < 600 ? code : 0]++;
	l->ended++;
}

static bool
in_transaction(const struct session *s)
{
	return s->step >= STEP_MAIL && s->step <= STEP_FINAL;
}

static void
session_open(struct load *l, struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = s };
	int one = 1;

	memset(s, 0, offsetof(struct session, in));
	s->body_at = SIZE_MAX;
	s->writing = true;
	s->fd = socket(l->to_addr->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return;
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(s->fd, l->to_addr->ai_addr, l->to_addr->ai_addrlen) != 0 &&
	    errno != EINPROGRESS) {
		close(s->fd);
		s->fd = -1;
		return;
	}
	epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->fd, &ev);
	l->connections++;
	l->open++;
}

/* Closed: what was under way is lost, and a fresh connection takes over while there are
 * messages left. A connection that brought nothing costs one message, so this ends. */
static void
session_over(struct load *l, struct session *s)
{
	if (in_transaction(s)) {
		failed(l, s, 0);
	} else if (s->sent == 0 && s->step != STEP_QUIT && l->begun < l->total) {
		l->begun++;
		failed(l, s, 0);
	}
	close(s->fd);
	s->fd = -1;
	l->open--;
	if (l->begun < l->total)
		session_open(l, s);
}

static void
on_envelope(struct load *l, struct session *s, unsigned code)
{
	bool good = s->step == STEP_DATA ? code == 354 : code / 100 == 2;

	if (!good)
		failed(l, s, code);
	if (s->step == STEP_DATA) {
		if (good) {
			say_header(l, s, s->index);
			s->step = STEP_FINAL;
		} else if (s->failed) {
			say(s, "RSET\r\n");
			s->step = STEP_RSET;
		}
		return;
	}
	if (!good && !l->pipeline) {
		say(s, "RSET\r\n");
		s->step = STEP_RSET;
		return;
	}
	s->step = s->step == STEP_MAIL ? STEP_RCPT : STEP_DATA;
	if (l->pipeline)
		return;
	if (s->step == STEP_RCPT)
		say_rcpt(l, s, s->index);
	else
		say(s, "DATA\r\n");
}

/* One whole reply. False when the connection is over. */
static bool
on_reply(struct load *l, struct session *s, unsigned code)
{
	switch (s->step) {
	case STEP_GREETING:
		if (code != 220)
			return false;
		say(s, "%s load.example\r\n", l->lmtp ? "LHLO" : "EHLO");
		s->step = STEP_EHLO;
		break;
	case STEP_EHLO:
	case STEP_RSET:
		if (code / 100 != 2)
			return false;
		next_message(l, s);
		break;
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_DATA:
		on_envelope(l, s, code);
		if (code == 421)
			return false;
		break;
	case STEP_FINAL:
		if (code / 100 != 2) {
			failed(l, s, code);
		} else if (!s->failed) {
			l->latency_us[l->ok++] = (uint32_t)(now_us() - s->began_us);
			l->ended++;
		}
		if (code == 421)
			return false;
		next_message(l, s);
		break;
	case STEP_QUIT:
		return false;
	}
	return true;
}

static bool
session_read(struct load *l, struct session *s)
{
	ssize_t n = recv(s->fd, s->in + s->nin, IN_MAX - s->nin, 0);
	size_t at = 0, len;
	char *nl;

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	s->nin += (size_t)n;
	while ((nl = memchr(s->in + at, '\n', s->nin - at)) != NULL) {
		len = (size_t)(nl - (s->in + at));
		if (len < 3)
			return false;
		if ((len == 3 || s->in[at + 3] != '-') &&
		    !on_reply(l, s, (unsigned)strtoul(s->in + at, NULL, 10)))
			return false;
		at += len + 1;
	}
	memmove(s->in, s->in + at, s->nin - at);
	s->nin -= at;
	return s->nin < IN_MAX;
}

/* One send call for a header and its body would save little: the kernel joins them. */
static bool
session_write(struct load *l, struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
	bool writing = false;
	ssize_t n;

	while (!writing && (s->ncmd > s->cmd_at || s->body_at != SIZE_MAX)) {
		bool cmd = s->ncmd > s->cmd_at;

		n = cmd ? send(s->fd, s->cmd + s->cmd_at, s->ncmd - s->cmd_at,
		    MSG_NOSIGNAL | (s->body_at != SIZE_MAX ? MSG_MORE : 0)) :
		    send(s->fd, l->body + s->body_at, l->nbody - s->body_at, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			writing = true;
		} else if (cmd) {
			s->cmd_at += (size_t)n;
			if (s->cmd_at == s->ncmd)
				s->cmd_at = s->ncmd = 0;
		} else {
			s->body_at += (size_t)n;
			if (s->body_at == l->nbody)
				s->body_at = SIZE_MAX;
		}
	}
	if (writing != s->writing) {
		ev.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN;
		epoll_ctl(l->epoll, EPOLL_CTL_MOD, s->fd, &ev);
		s->writing = writing;
	}
	return true;
}

static void
session_ready(struct load *l, struct session *s, unsigned events)
{
	bool alive = true;

	if (s->fd < 0)
		return;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		alive = session_read(l, s);
	if (alive)
		alive = session_write(l, s);
	if (!alive)
		session_over(l, s);
}

static int
compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double
percentile_ms(const struct load *l, unsigned p)
{
	if (l->ok == 0)
		return 0;
	return (double)l->latency_us[(l->ok - 1) * p / 100] / 1000;
}

static void
print(struct load *l, double seconds)
{
	const char *sep = "";
	struct rusage u;
	unsigned i;

	getrusage(RUSAGE_SELF, &u);
	qsort(l->latency_us, l->ok, sizeof(*l->latency_us), compare_u32);
	printf("{\"messages\":%llu,\"begun\":%llu,\"seconds\":%.3f,\"rate\":%.1f,"
	    "\"latency_ms\":{\"p50\":%.2f,\"p95\":%.2f,\"p99\":%.2f},\"connections\":%llu,"
	    "\"cpu_ms\":%ld,\"errors\":{",
	    (unsigned long long)l->ok, (unsigned long long)l->begun, seconds,
	    seconds > 0 ? (double)l->ok / seconds : 0, percentile_ms(l, 50),
	    percentile_ms(l, 95), percentile_ms(l, 99), (unsigned long long)l->connections,
	    (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	    (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000);
	for (i = 0; i < 600; i++) {
		if (l->error[i] == 0)
			continue;
		printf("%s\"%u\":%llu", sep, i, (unsigned long long)l->error[i]);
		sep = ",";
	}
	printf("}}\n");
}

static void
run(struct load *l, double timeout_s)
{
	struct session *s = calloc(l->nsession, sizeof(*s));
	uint64_t end = now_us() + (uint64_t)(timeout_s * 1e6);
	struct epoll_event ev[EVENTS];
	unsigned i;
	int k, n;

	for (i = 0; s != NULL && i < l->nsession; i++) {
		s[i].fd = -1;
		session_open(l, &s[i]);
	}
	while (l->ended < l->total && l->open > 0 && now_us() < end) {
		n = epoll_wait(l->epoll, ev, EVENTS, 200);
		for (k = 0; k < n; k++)
			session_ready(l, ev[k].data.ptr, ev[k].events);
	}
	free(s);
}

/* Lines of 76 printable octets, no dot in front, then the end of data. */
static int
make_body(struct load *l, size_t size)
{
	size_t i, n = size > 300 ? size - 200 : 100;	/* the header has some 200 */

	l->body = malloc(n + 16);
	if (l->body == NULL)
		return -1;
	for (i = 0; i + 2 <= n; i++) {
		if (i % 78 == 76) {
			memcpy(l->body + i++, "\r\n", 2);
			continue;
		}
		l->body[i] = (char)('a' + i % 26);
	}
	memcpy(l->body + i, "\r\n.\r\n", 5);
	l->nbody = i + 5;
	return 0;
}

/* Header and body of a file as they are; dots in front are doubled already. */
static int
read_content(struct load *l, const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n = 0, max = 64 * 1024 * 1024;

	l->body = f == NULL ? NULL : malloc(max);
	if (l->body != NULL)
		n = fread(l->body, 1, max - 3, f);
	if (f != NULL)
		fclose(f);
	if (n == 0) {
		fprintf(stderr, "load: cannot read %s\n", path);
		return -1;
	}
	memcpy(l->body + n, ".\r\n", 3);
	l->nbody = n + 3;
	l->whole = true;
	return 0;
}

static int
usage(void)
{
	fprintf(stderr, "usage: load --port N [--host IP] [--sessions N] [--messages M]\n"
	    "            [--size BYTES] [--per-connection K] [--pipeline] [--lmtp]\n"
	    "            [--timeout SECONDS] [--content FILE]\n"
	    "            --from ADDRESS --to ADDRESS[,ADDRESS...] [--users N] [--domains N]\n"
	    "  %%d in --to becomes a number below --users (default 1000), in --from one below\n"
	    "  --domains; FILE is a whole message without Message-ID, its dots stuffed\n");
	return 2;
}

static void
split_to(struct load *l, char *list)
{
	char *save = NULL, *t;

	for (t = strtok_r(list, ",", &save); t != NULL && l->nto < TO_MAX;
	    t = strtok_r(NULL, ",", &save))
		l->to[l->nto++] = t;
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "host", required_argument, NULL, 'h' }, { "port", required_argument, NULL, 'p' },
		{ "sessions", required_argument, NULL, 's' },
		{ "messages", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 'z' },
		{ "per-connection", required_argument, NULL, 'k' },
		{ "from", required_argument, NULL, 'f' }, { "to", required_argument, NULL, 't' },
		{ "pipeline", no_argument, NULL, 'P' }, { "users", required_argument, NULL, 'u' },
		{ "timeout", required_argument, NULL, 'T' }, { "lmtp", no_argument, NULL, 'L' },
		{ "content", required_argument, NULL, 'c' },
		{ "domains", required_argument, NULL, 'd' }, { NULL, 0, NULL, 0 },
	};
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
	struct load l = { .epoll = epoll_create1(EPOLL_CLOEXEC), .nsession = 10, .total = 1000,
		.per_connection = 100, .users = 1000, .domains = 1000 };
	const char *host = "127.0.0.1", *port = NULL, *content = NULL;
	double timeout_s = 120;
	size_t size = 4096;
	uint64_t t0;
	int o;

	while ((o = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		switch (o) {
		case 'h': host = optarg; break;
		case 'p': port = optarg; break;
		case 's': l.nsession = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'm': l.total = strtoull(optarg, NULL, 10); break;
		case 'z': size = strtoull(optarg, NULL, 10); break;
		case 'k': l.per_connection = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': l.from = optarg; break;
		case 't': split_to(&l, optarg); break;
		case 'P': l.pipeline = true; break;
		case 'u': l.users = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': content = optarg; break;
		case 'd': l.domains = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'L': l.lmtp = true; break;
		case 'T': timeout_s = strtod(optarg, NULL); break;
		default: return usage();
		}
	}
	if (port == NULL || l.from == NULL || l.nto == 0 || l.nsession == 0 || l.total == 0 ||
	    (l.lmtp && l.nto > 1) || l.per_connection == 0 || l.users == 0 || l.domains == 0 ||
	    l.total > 100000000 || optind != argc)
		return usage();
	if (getaddrinfo(host, port, &hints, &l.to_addr) != 0) {
		fprintf(stderr, "load: %s is not an address\n", host);
		return 1;
	}
	l.latency_us = calloc(l.total, sizeof(*l.latency_us));
	if (l.latency_us == NULL ||
	    (content != NULL ? read_content(&l, content) : make_body(&l, size)) != 0)
		return 1;
	t0 = now_us();
	run(&l, timeout_s);
	print(&l, (double)(now_us() - t0) / 1e6);
	return l.ok == l.total ? 0 : 1;
}
