// SPDX-License-Identifier: Apache-2.0
/* Where front servers are told to bring mail: their requests octet by octet, the decision, and
 * clients over sockets up to the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/proto/relay_probe.h"
#include "queue/failover.h"
#include "relay/routing.h"

#define CONF "hostname = \"mx2.example.it\"\nstate-dir = \"/tmp\"\nlisten \"127.0.0.1:24\" { protocol = lmtp }\n" \
	"listen \"127.0.0.1:2525\" { }\nrouting-clients-max = 3\n" \
	"domain \"example.it\" { primary = mx\nshard \"s2\" { primary = mx } }\n"

static struct conf *
conf(const char *more)
{
	struct conf_errors e = { 0 };
	char text[2048];
	struct conf *c;

	(void)snprintf(text, sizeof(text), "%s%s", CONF, more);
	c = conf_parse(slice_str(text), "f", &e);
	if (c == NULL)
		print_error("%.*s", SLICE_FMT(buf_slice(&e.text)));
	assert_non_null(c);
	buf_fini(&e.text);
	return c;
}

static void
tell(struct phases *p, const char *shard, enum failover_phase phase)
{
	struct queue_phase q = { .phase = (uint8_t)phase, .domain = SLICE_LIT("example.it"),
		.shard = slice_str(shard) };
	struct buf list, body;

	buf_init(&list, PHASES_LIST_MAX);
	buf_init(&body, PHASES_LIST_MAX + 64);
	assert_int_equal(wire_item_put(&list, &queue_phase_wire, &q), 0);
	const struct queue_phases m = { .list = buf_slice(&list) };
	assert_int_equal(wire_put(&body, &queue_phases_wire, &m), 0);
	assert_int_equal(phases_message(p, buf_slice(&body)), 0);
	buf_fini(&list);
	buf_fini(&body);
}

/* Whatever is cut off, it waits; whole, it takes all, and no octet of what follows. */
static void
expect_key(const char *request, bool netstring, const char *key)
{
	struct routing_query q;
	char text[256];
	size_t n = strlen(request);

	(void)snprintf(text, sizeof(text), "%sget next\n", request);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(routing_parse(slice_make(text, i), &q), 0);
	assert_int_equal(routing_parse(slice_str(text), &q), n);
	assert_int_equal(q.netstring, netstring);
	assert_int_equal(q.known, key != NULL);
	if (key != NULL) {
		assert_int_equal(q.n, strlen(key));
		assert_memory_equal(q.key, key, q.n);
	}
}

static void
test_requests(void **state)
{
	static const char *const wrong[] = { "0:,", "01:a b,", "7:nospace,", "3:a b;", "3: ab,",
		"99999", "1543:", "3a", "get %4\n", "get %zz\n", "get a%\n", NULL };
	struct routing_query q;
	char text[2 * ROUTING_REQUEST_MAX + 16];

	(void)state;
	expect_key("12:map a@b.it x,", true, "a@b.it x");
	expect_key("4:map ,", true, "");
	expect_key("get a%40b%2eit\n", false, "a@b.it");
	expect_key("GET a@b.it\r\n", false, "a@b.it");
	expect_key("put a b\n", false, NULL);
	expect_key("\n", false, NULL);
	for (size_t i = 0; wrong[i] != NULL; i++)
		assert_int_equal(routing_parse(slice_str(wrong[i]), &q), -1);
	/* Bounds: the longest key, and one octet more. */
	for (size_t n = ROUTING_KEY_MAX; n <= ROUTING_KEY_MAX + 1; n++) {
		(void)snprintf(text, sizeof(text), "get %0*d\n", (int)n, 0);
		assert_int_equal(routing_parse(slice_str(text), &q),
		    n == ROUTING_KEY_MAX ? (ssize_t)strlen(text) : -1);
		(void)snprintf(text, sizeof(text), "%zu:m %0*d,", n + 2, (int)n, 0);
		assert_int_equal(routing_parse(slice_str(text), &q),
		    n == ROUTING_KEY_MAX ? (ssize_t)strlen(text) : -1);
	}
	/* Without an end it is given up, not kept. */
	memset(text, 'g', sizeof(text));
	assert_int_equal(routing_parse(slice_make(text, ROUTING_REQUEST_MAX), &q), 0);
	assert_int_equal(routing_parse(slice_make(text, ROUTING_REQUEST_MAX + 1), &q), -1);
}

static void
expect_reply(bool netstring, enum routing_verdict v, const char *want)
{
	const struct routing_query q = { .netstring = netstring };
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(routing_reply(&out, &q, v, "smtp:[a%b c]:25"), 0);
	assert_int_equal(buf_len(&out), strlen(want));
	assert_memory_equal(buf_slice(&out).p, want, strlen(want));
	buf_fini(&out);
}

static void
test_replies(void **state)
{
	(void)state;
	expect_reply(true, ROUTING_HERE, "18:OK smtp:[a%b c]:25,");
	expect_reply(true, ROUTING_ELSEWHERE, "9:NOTFOUND ,");
	expect_reply(true, ROUTING_UNKNOWN, "45:TEMP the phase of the domain is not known yet,");
	expect_reply(false, ROUTING_HERE, "200 smtp:[a%25b%20c]:25\n");
	expect_reply(false, ROUTING_ELSEWHERE, "500 not%20here\n");
	expect_reply(false, ROUTING_UNKNOWN,
	    "400 the%20phase%20of%20the%20domain%20is%20not%20known%20yet\n");
}

static void
test_decision(void **state)
{
	struct loop *l = loop_new();
	struct phases *p = phases_new();
	struct conf *c = conf(""), *other = conf("routing-answer = \"lmtp:[x]:24\"\n");
	struct routing *r = routing_new(l, c, p);

	(void)state;
	assert_string_equal(routing_where(r), "smtp:[mx2.example.it]:2525");
	assert_int_equal(routing_decide(r, SLICE_LIT("example.it")), ROUTING_UNKNOWN);
	assert_int_equal(routing_decide(r, SLICE_LIT("other.it")), ROUTING_ELSEWHERE);
	tell(p, "", PHASE_STANDBY);
	assert_int_equal(routing_decide(r, SLICE_LIT("example.it")), ROUTING_ELSEWHERE);
	tell(p, "s2", PHASE_STANDBY);
	assert_int_equal(routing_decide(r, SLICE_LIT("example.it")), ROUTING_ELSEWHERE);
	tell(p, "s2", PHASE_ACTIVE);
	assert_int_equal(routing_decide(r, SLICE_LIT("a@b@EXAMPLE.it")), ROUTING_HERE);
	tell(p, "s2", PHASE_STANDBY);
	tell(p, "", PHASE_REPLAY);
	assert_int_equal(routing_decide(r, SLICE_LIT("a@example.it")), ROUTING_HERE);
	assert_int_equal(routing_decide(r, SLICE_LIT(".example.it")), ROUTING_ELSEWHERE);
	assert_int_equal(routing_decide(r, SLICE_LIT("")), ROUTING_ELSEWHERE);
	assert_int_equal(routing_decide(r, SLICE_LIT("a@")), ROUTING_ELSEWHERE);
	routing_reload(r, other);
	assert_string_equal(routing_where(r), "lmtp:[x]:24");
	routing_free(&r);
	conf_free(&c);
	conf_free(&other);
	phases_free(&p);
	loop_free(&l);
}

/* -- over sockets --------------------------------------------------------------------- */

static void
stop(void *arg)
{
	loop_stop(arg);
}

static void
run_ms(struct loop *l, int64_t ms)
{
	struct timer *t = timer_new(l, stop, l);

	timer_arm(t, ms);
	assert_int_equal(loop_run(l), 0);
	timer_free(&t);
}

static int
call(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
	return fd;
}

/* What the loop's other side has sent so far; "" nothing, NULL hung up. */
static const char *
heard(struct loop *l, int fd)
{
	static char text[4096];
	ssize_t n = -1;

	for (int i = 0; i < 200 && n < 0; i++) {
		run_ms(l, 5);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	}
	text[n > 0 ? n : 0] = '\0';
	return n == 0 ? NULL : text;
}

static void
test_clients(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	socklen_t len = sizeof(to);
	struct loop *l = loop_new();
	struct phases *p = phases_new();
	struct conf *c = conf("command-timeout = 1s\n");
	struct routing *r = routing_new(l, c, p);
	int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd[4];

	(void)state;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(door, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(door, 8), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *)&to, &len), 0);
	routing_listen(r, door);
	tell(p, "", PHASE_ACTIVE);
	for (int i = 0; i < 3; i++) {
		fd[i] = call(&to);
		assert_int_equal(send(fd[i], "get example.it\n", 15, 0), 15);
		assert_string_equal(heard(l, fd[i]), "200 smtp:[mx2.example.it]:2525\n");
	}
	/* routing-clients-max: the first asks again, so the second was silent longest. */
	assert_int_equal(send(fd[0], "get other.it\n", 13, 0), 13);
	assert_string_equal(heard(l, fd[0]), "500 not%20here\n");
	fd[3] = call(&to);
	assert_null(heard(l, fd[1]));
	assert_int_equal(send(fd[3], "12:m example.it,", 16, 0), 16);
	assert_string_equal(heard(l, fd[3]), "29:OK smtp:[mx2.example.it]:2525,");
	assert_int_equal(routing_answered(r), 5);
	/* Silence has an end. */
	run_ms(l, 1200);
	assert_null(heard(l, fd[0]));
	routing_free(&r);
	run_ms(l, 1);
	for (int i = 0; i < 4; i++)
		(void)close(fd[i]);
	(void)close(door);
	conf_free(&c);
	phases_free(&p);
	loop_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_decision),
		cmocka_unit_test(test_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
