// SPDX-License-Identifier: Apache-2.0
/* Accepting: many at once, IPv4 clients of an IPv6 socket, and no descriptors left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/resource.h>

#include "relay/listener.h"
#include "tests/relay/front.h"

enum { MANY = 200 };

/* A listening socket on any loopback port; *to is where it is reached over IPv4. */
static int
listen_on(int family, struct sockaddr_in *to)
{
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	struct sockaddr_in *v4 = (void *)&ss;
	socklen_t len = sizeof(ss);
	int off = 0, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	else
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&ss, family == AF_INET6 ? sizeof(struct sockaddr_in6) :
	    sizeof(struct sockaddr_in)) != 0 || listen(fd, MANY) != 0 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
		(void)close(fd);
		return -1;
	}
	*to = (struct sockaddr_in){ .sin_family = AF_INET };
	to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to->sin_port = v4->sin_port;	/* same place as sin6_port */
	return fd;
}

static void
client_connect(struct client *k, struct front *f, const struct sockaddr_in *to)
{
	*k = (struct client){ .f = f };
	buf_init(&k->got, FRONT_KEPT);
	k->c = conn_connect(f->l, (const struct sockaddr *)to, sizeof(*to), NULL, 0,
	    &client_ops, k);
	assert_non_null(k->c);
}

static void
test_many(void **state)
{
	static struct client k[MANY];
	struct sockaddr_in to;
	struct listener *ln;
	struct front f;
	int fd = listen_on(AF_INET, &to);

	(void)state;
	assert_true(fd >= 0);
	front_init(&f, "", NULL);
	ln = listener_new(f.l, fd, f.server, false);
	for (int i = 0; i < MANY; i++)
		client_connect(&k[i], &f, &to);
	for (int i = 0; i < MANY; i++)
		client_expect(&k[i], "220 mx.example.net ESMTP Salvaposta\r\n");
	/* Stopping to listen leaves the sessions alone. */
	listener_free(&ln);
	(void)close(fd);
	for (int i = 0; i < MANY; i++) {
		client_say(&k[i], "QUIT\r\n");
		client_expect_end(&k[i]);
		client_fini(&k[i]);
	}
	front_fini(&f);
}

static void
test_mapped(void **state)
{
	struct sockaddr_in to;
	struct listener *ln;
	struct front f;
	struct client k;
	int fd = listen_on(AF_INET6, &to);

	(void)state;
	if (fd < 0)
		skip();		/* a host without IPv6 */
	front_init(&f, "", NULL);
	ln = listener_new(f.l, fd, f.server, false);
	client_connect(&k, &f, &to);
	client_say(&k, "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<mario@example.it>\r\nDATA\r\n");
	client_expect(&k, "354 end with CR LF . CR LF\r\n");
	client_say(&k, ".\r\nQUIT\r\n");
	client_expect_end(&k);
	assert_string_equal(f.client_ip, "127.0.0.1");
	client_fini(&k);
	listener_free(&ln);
	(void)close(fd);
	front_fini(&f);
}

static void
test_no_descriptors(void **state)
{
	struct rlimit old, low;
	struct sockaddr_in to;
	struct listener *ln;
	struct front f;
	struct client k;
	int fd = listen_on(AF_INET, &to), next;

	(void)state;
	assert_true(fd >= 0);
	front_init(&f, "", NULL);
	ln = listener_new(f.l, fd, f.server, false);
	client_connect(&k, &f, &to);
	next = dup(0);
	(void)close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	front_run_ms(&f, 50);
	assert_int_equal(buf_len(&k.got), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	client_expect(&k, "220 mx.example.net ESMTP Salvaposta\r\n");
	client_fini(&k);
	listener_free(&ln);
	(void)close(fd);
	front_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
