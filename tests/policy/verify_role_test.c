// SPDX-License-Identifier: Apache-2.0
/* The role over a real channel: sealed body in, verdict out, no descriptor kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/body.h"
#include "base/mem.h"
#include "base/proto/relay_verify.h"
#include "policy/verify_role.h"

struct peer {
	unsigned	answers;
	uint8_t		status;
	size_t		trace;
};

static void
on_role(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	verify_ops.message(arg, ROLE_RELAY, 0, ch, type, body, fd);
}

static void
on_peer(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct verify_done done;
	struct peer *p = arg;

	(void)ch;
	assert_int_equal(fd, -1);
	assert_int_equal(type, VERIFY_DONE);
	assert_int_equal(wire_get(body, &verify_done_wire, &done), 0);
	assert_int_equal(done.req, 42);
	p->answers++;
	p->status = done.status;
	p->trace = done.trace.n;
}

static void
on_closed(void *arg, struct ipc *ch)
{
	(void)arg;
	(void)ch;
}

static int
open_files(void)
{
	int fd = dup(0);	/* the lowest free number */

	close(fd);
	return fd;
}

static void
exchange(void **state)
{
	char host[] = "mx.primary.example";
	struct conf conf = { .hostname = host, .authserv_id = host, .received_max = 100 };
	static struct role role = { .ops = &verify_ops };	/* never stopped: no supervisor */
	struct peer peer = { .answers = 0 };
	struct verify_eval in = {
		.req = 42, .received_ms = 1800000000000, .last = 1,
		.client_ip = SLICE_LIT("192.0.2.1"), .protocol = SLICE_LIT("ESMTP"),
	};
	struct ipc *a, *b;
	struct buf status;
	int fd[2], body, before;

	(void)state;
	role.conf = &conf;
	role.loop = loop_new();
	assert_int_equal(ipc_pair(fd), 0);
	a = ipc_new(role.loop, fd[0], on_role, on_closed, &role);
	b = ipc_new(role.loop, fd[1], on_peer, on_closed, &peer);
	assert_int_equal(verify_ops.start(&role), 0);

	body = body_make(SLICE_LIT("Subject: x\r\n\r\nbody\r\n"));
	assert_true(body >= 0);
	before = open_files();
	assert_int_equal(ipc_send(b, VERIFY_EVAL, &verify_eval_wire, &in, body), 0);
	assert_int_equal(ipc_wait(a, 1000), 1);
	assert_int_equal(ipc_wait(b, 1000), 1);
	assert_int_equal(peer.status, VERIFY_OK);
	assert_true(peer.trace > 0);

	in.last = 0;
	assert_int_equal(ipc_send(b, VERIFY_EVAL, &verify_eval_wire, &in, body), 0);
	assert_int_equal(ipc_wait(a, 1000), 1);
	assert_int_equal(ipc_wait(b, 1000), 1);
	assert_int_equal(peer.status, VERIFY_WANT);

	/* no body, or one that is not sealed: held, with a trace */
	assert_int_equal(ipc_send(b, VERIFY_EVAL, &verify_eval_wire, &in, -1), 0);
	assert_int_equal(ipc_wait(a, 1000), 1);
	assert_int_equal(ipc_wait(b, 1000), 1);
	assert_int_equal(peer.status, VERIFY_FAILED);
	assert_true(peer.trace > 0);
	close(body);
	body = body_create();
	assert_int_equal(ipc_send(b, VERIFY_EVAL, &verify_eval_wire, &in, body), 0);
	assert_int_equal(ipc_wait(a, 1000), 1);
	assert_int_equal(ipc_wait(b, 1000), 1);
	assert_int_equal(peer.status, VERIFY_FAILED);
	assert_int_equal(peer.answers, 4);
	/* a request of another kind is no reason to die, and gets no answer */
	assert_int_equal(ipc_send(b, VERIFY_DONE, &verify_done_wire,
	    &(struct verify_done){ .req = 1 }, body), 0);
	assert_int_equal(ipc_wait(a, 1000), 1);
	assert_int_equal(ipc_wait(b, 0), 0);
	assert_int_equal(open_files(), before);

	buf_init(&status, 4096);
	verify_ops.status(&role, &status);
	assert_true(slice_eq(buf_slice(&status), SLICE_LIT("\"runs\":4,\"ok\":1,\"want\":1,"
	    "\"failed\":2,\"refused\":0,\"malformed\":1")));
	buf_fini(&status);
	close(body);
	ipc_free(&a);
	ipc_free(&b);
	loop_free(&role.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(exchange) };

	return cmocka_run_group_tests_name("policy/verify_role", tests, NULL, NULL);
}
