// SPDX-License-Identifier: Apache-2.0
/*
 * The loop drives c-ares: it tells us which descriptors it wants watched, we tell it
 * when one is ready or its next timeout has come. Freeing the channel from one of its
 * callbacks is not allowed by c-ares, so nobody here does.
 */
#include <arpa/inet.h>
#include <ares.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/dns_net.h"
#include "relay/dns_packet.h"

enum {
	NET_FDS_MAX = 4 * DNS_SERVERS_MAX,	/* UDP and TCP per server, with room */
	/* Bytes asked of the kernel for answers that come in a burst: its default takes some
	 * 270 of them, and each that is lost costs its message a whole dns-timeout. */
	NET_RECEIVE_BUFFER = 1024 * 1024
};

struct net_fd {
	struct dns_net	*net;		/* borrowed */
	struct watch	*watch;		/* NULL: slot free */
	int		 fd;		/* c-ares' */
};

struct dns_net {
	struct loop	*loop;		/* borrowed */
	ares_channel	 channel;
	struct timer	*timer;		/* next timeout of c-ares */
	unsigned	 pending;	/* questions in flight */
	struct net_fd	 fd[NET_FDS_MAX];
};

struct net_query {
	struct dns_net	*net;		/* borrowed */
	dns_net_fn	*fn;
	void		*arg;
};

int
dns_server_parse(struct slice s, struct dns_server *out)
{
	char host[64];
	size_t colon = slice_rfind(s, ':'), first = slice_find(s, ':');
	struct slice h = s, port = SLICE_NONE;
	uint64_t n = 53;

	memset(out, 0, sizeof(*out));
	if (s.n > 0 && s.p[0] == '[') {
		size_t close = slice_find(s, ']');

		if (close >= s.n)
			return -1;
		h = slice_sub(s, 1, close);
		port = slice_sub(s, close + 1, s.n);
		if (port.n == 1 || (port.n > 0 && port.p[0] != ':'))
			return -1;
		port = slice_sub(port, 1, port.n);
	} else if (first < s.n && first == colon) {
		h = slice_sub(s, 0, colon);
		port = slice_sub(s, colon + 1, s.n);
		if (port.n == 0)
			return -1;
	}
	if (port.n > 0 && (slice_u64(port, &n) != 0 || n == 0 || n > UINT16_MAX))
		return -1;
	if (slice_cstr(h, host, sizeof(host)) != 0)
		return -1;
	out->port = (uint16_t)n;
	out->family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
	return inet_pton(out->family, host, &out->addr) == 1 ? 0 : -1;
}

bool
dns_server_loopback(const struct dns_server *s)
{
	if (s->family == AF_INET)
		return ntohl(s->addr.v4.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&s->addr.v6) != 0;
}

size_t
dns_servers_from_text(const char *text, struct dns_server *out, size_t max)
{
	struct slice rest = slice_str(text), line, word;
	size_t n = 0, nl, sp;

	while (rest.n > 0 && n < max) {
		nl = slice_find(rest, '\n');
		line = slice_trim(slice_sub(rest, 0, nl));
		rest = slice_sub(rest, nl + 1, rest.n);
		for (sp = 0; sp < line.n && line.p[sp] != ' ' && line.p[sp] != '\t'; sp++)
			;
		if (!slice_eq(slice_sub(line, 0, sp), SLICE_LIT("nameserver")))
			continue;
		line = slice_trim(slice_sub(line, sp, line.n));
		for (sp = 0; sp < line.n && line.p[sp] != ' ' && line.p[sp] != '\t' &&
		    line.p[sp] != '#' && line.p[sp] != ';'; sp++)
			;
		word = slice_sub(line, 0, sp);
		if (dns_server_parse(word, &out[n]) == 0)
			n++;
		else
			log_warn("resolver-skipped", "address=%s", log_esc(word));
	}
	return n;
}

static void
net_rearm(struct dns_net *n)
{
	struct timeval tv, *t;

	if (n->pending == 0) {
		timer_cancel(n->timer);
		return;
	}
	t = ares_timeout(n->channel, NULL, &tv);
	if (t != NULL)
		timer_arm(n->timer, (int64_t)t->tv_sec * 1000 + t->tv_usec / 1000 + 1);
}

static void
net_ready(void *arg, int fd, unsigned ready)
{
	struct net_fd *f = arg;
	struct dns_net *n = f->net;

	ares_process_fd(n->channel, (ready & LOOP_READ) != 0 ? fd : ARES_SOCKET_BAD,
	    (ready & LOOP_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	net_rearm(n);
}

static void
net_timer(void *arg)
{
	struct dns_net *n = arg;

	ares_process_fd(n->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	net_rearm(n);
}

static void
net_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns_net *n = arg;
	struct net_fd *f = NULL;
	size_t i;

	for (i = 0; i < NET_FDS_MAX; i++)
		if (n->fd[i].watch != NULL && n->fd[i].fd == fd)
			f = &n->fd[i];
	if (!readable && !writable) {
		if (f != NULL)
			watch_free(&f->watch);
		return;
	}
	for (i = 0; f == NULL && i < NET_FDS_MAX; i++) {
		if (n->fd[i].watch != NULL)
			continue;
		f = &n->fd[i];
		f->net = n;
		f->fd = fd;
		f->watch = watch_new(n->loop, fd, net_ready, f);
	}
	if (f == NULL) {	/* its question will time out */
		log_error("dns-sockets", "max=%d", NET_FDS_MAX);
		return;
	}
	watch_want(f->watch, (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u));
}

static int
net_servers(struct dns_net *n, const struct dns_server *s, size_t count)
{
	struct ares_addr_port_node node[DNS_SERVERS_MAX];
	size_t i;

	if (count == 0 || count > DNS_SERVERS_MAX)
		return -1;
	memset(node, 0, sizeof(node));
	for (i = 0; i < count; i++) {
		node[i].next = i + 1 < count ? &node[i + 1] : NULL;
		node[i].family = s[i].family;
		if (s[i].family == AF_INET)
			node[i].addr.addr4 = s[i].addr.v4;
		else
			memcpy(&node[i].addr.addr6, &s[i].addr.v6, sizeof(s[i].addr.v6));
		node[i].udp_port = node[i].tcp_port = s[i].port;
	}
	return ares_set_servers_ports(n->channel, node) == ARES_SUCCESS ? 0 : -1;
}

struct dns_net *
dns_net_new(struct loop *l, const struct dns_server *s, size_t count, int64_t timeout_ms,
    unsigned tries)
{
	struct dns_net *n = mem_new(sizeof(*n));
	struct in_addr placeholder = { htonl(INADDR_LOOPBACK) };
	char lookups[] = "b";
	struct ares_options o;
	int r;

	n->loop = l;
	memset(&o, 0, sizeof(o));
	o.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS;
	o.timeout = (int)timeout_ms;
	o.tries = (int)tries;
	o.ndots = 1;
	o.ednspsz = DNS_EDNS_SIZE;
	o.lookups = lookups;
	o.socket_receive_buffer_size = NET_RECEIVE_BUFFER;
	o.servers = &placeholder;
	o.nservers = 1;
	o.sock_state_cb = net_socket;
	o.sock_state_cb_data = n;
	/* Each of these is one thing c-ares would look up in a file if it were not set. */
	r = ares_init_options(&n->channel, &o, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS |
	    ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
	    ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_SORTLIST | ARES_OPT_EDNSPSZ |
	    ARES_OPT_NOROTATE | ARES_OPT_SOCK_RCVBUF);
	if (r != ARES_SUCCESS) {
		log_error("dns-start", "error=%s", log_escs(ares_strerror(r)));
		free(n);
		return NULL;
	}
	n->timer = timer_new(l, net_timer, n);
	if (net_servers(n, s, count) != 0) {
		log_error("dns-start", "error=\"cannot use the %zu resolvers\"", count);
		dns_net_free(&n);
	}
	return n;
}

void
dns_net_free(struct dns_net **np)
{
	struct dns_net *n = *np;
	size_t i;

	*np = NULL;
	if (n == NULL)
		return;
	ares_destroy(n->channel);
	for (i = 0; i < NET_FDS_MAX; i++)
		watch_free(&n->fd[i].watch);
	timer_free(&n->timer);
	free(n);
}

static void
net_done(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
	struct net_query *q = arg;
	enum dns_net_status st = DNS_NET_FAILED;
	struct slice s = SLICE_NONE;

	(void)timeouts;
	q->net->pending--;
	if (status == ARES_SUCCESS && msg != NULL && len > 0) {
		st = DNS_NET_ANSWER;
		s = slice_make(msg, (size_t)len);
	} else if (status == ARES_ETIMEOUT) {
		st = DNS_NET_TIMEOUT;
	} else if (status == ARES_EDESTRUCTION) {
		st = DNS_NET_CLOSED;
	}
	q->fn(q->arg, st, s);
	free(q);
}

void
dns_net_send(struct dns_net *n, const uint8_t *msg, size_t len, dns_net_fn *fn, void *arg)
{
	struct net_query *q = mem_new(sizeof(*q));

	q->net = n;
	q->fn = fn;
	q->arg = arg;
	n->pending++;
	ares_send(n->channel, msg, (int)len, net_done, q);
	net_rearm(n);
}
