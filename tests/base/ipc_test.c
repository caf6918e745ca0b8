// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/body.h"
#include "base/ipc.h"
#include "base/mem.h"

struct note {
	uint64_t	n;
	struct slice	text;
};
static const struct wire_field note_f[] = {
	WIRE_U64(struct note, n),
	WIRE_STR(struct note, text, IPC_MAX),
};
static const struct wire_desc note_wire = WIRE_DESC("note", struct note, note_f);

struct end {
	struct loop	*loop;
	struct ipc	*ch;
	uint64_t	 next;		/* number expected */
	uint64_t	 stop_at;
	unsigned	 closed;
	size_t		 fd_bytes;	/* of bodies that came along */
};

static void
on_note(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct end *e = arg;
	struct note m;
	struct slice s;

	(void)ch;
	assert_int_equal(type, 7);
	assert_int_equal(wire_get(body, &note_wire, &m), 0);
	assert_true(m.n == e->next++);
	if (fd >= 0) {
		assert_int_equal(body_map(fd, &s), 0);
		e->fd_bytes += s.n;
		body_unmap(&s);
		close(fd);
	}
	if (e->next == e->stop_at)
		loop_stop(e->loop);
}

static void
on_close(void *arg, struct ipc *ch)
{
	struct end *e = arg;

	assert_true(ch == e->ch);
	e->closed++;
	ipc_free(&e->ch);
	loop_stop(e->loop);
}

static void
open_pair(struct loop *l, struct end *a, struct end *b)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	a->loop = b->loop = l;
	a->ch = ipc_new(l, fd[0], on_note, on_close, a);
	b->ch = ipc_new(l, fd[1], on_note, on_close, b);
}

static void
more_than_the_socket_holds_arrives_in_order(void **state)
{
	struct loop *l = loop_new();
	struct end a = { 0 }, b = { .stop_at = 2000 };
	char *text = mem_new(3000);
	int body = body_make(SLICE_LIT("0123456789"));

	(void)state;
	open_pair(l, &a, &b);
	for (uint64_t i = 0; i < b.stop_at; i++) {
		struct note m = { i, slice_make(text, i % 3000) };
		assert_int_equal(ipc_send(a.ch, 7, &note_wire, &m, i % 10 == 0 ? body : -1), 0);
	}
	assert_true(ipc_waiting(a.ch) > 0);	/* or this test shows nothing */
	loop_run(l);
	assert_true(b.next == b.stop_at);
	assert_int_equal(b.fd_bytes, 10 * b.stop_at / 10);
	assert_int_equal(ipc_waiting(a.ch), 0);
	close(body);
	free(text);
	ipc_free(&a.ch);
	ipc_free(&b.ch);
	loop_free(&l);
}

static void
the_largest_message_passes_and_a_larger_one_is_refused(void **state)
{
	struct loop *l = loop_new();
	struct end a = { 0 }, b = { .stop_at = 1 };
	char *text = mem_new(IPC_MAX);
	struct note m = { 0, slice_make(text, IPC_MAX - 8 - 8 - 4) };

	(void)state;
	open_pair(l, &a, &b);
	assert_int_equal(ipc_send(a.ch, 7, &note_wire, &m, -1), 0);
	m.text.n++;
	assert_int_equal(ipc_send(a.ch, 7, &note_wire, &m, -1), -1);
	assert_int_equal(errno, EMSGSIZE);
	loop_run(l);
	assert_true(b.next == 1);
	free(text);
	ipc_free(&a.ch);
	ipc_free(&b.ch);
	loop_free(&l);
}

static void
a_closed_peer_is_told_once_and_sending_fails(void **state)
{
	struct loop *l = loop_new();
	struct end a = { 0 }, b = { 0 };
	struct note m = { 0, SLICE_NONE };

	(void)state;
	open_pair(l, &a, &b);
	ipc_free(&b.ch);
	assert_int_equal(ipc_send(a.ch, 7, &note_wire, &m, -1), -1);
	assert_int_equal(errno, EPIPE);
	loop_run(l);
	assert_int_equal(a.closed, 1);
	loop_free(&l);
}

static void
a_malformed_frame_closes_the_channel(void **state)
{
	static const char *const bad[] = { "", "x", "0123456", "0123\1\0\0\0", "0123\0\0\0\0x" };
	static const size_t len[] = { 1, 1, 7, 8, 9 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct loop *l = loop_new();
		struct end a = { .loop = l };
		int fd[2];
		assert_int_equal(ipc_pair(fd), 0);
		a.ch = ipc_new(l, fd[0], on_note, on_close, &a);
		assert_int_equal(send(fd[1], bad[i], len[i], 0), (int)len[i]);
		loop_run(l);
		assert_int_equal(a.closed, 1);
		close(fd[1]);
		loop_free(&l);
	}
}

struct chain {
	struct loop	*loop;
	unsigned	 turns;
	bool		 done;
};

static void
chain_on(void *arg)
{
	struct chain *c = arg;

	c->turns++;
	if (!c->done)
		loop_later(c->loop, chain_on, c);
}

static void
chain_stop(void *arg)
{
	struct chain *c = arg;

	c->done = true;
	loop_stop(c->loop);
}

/* A chain of laters once ran in one pass of the loop for ever: no timer, no I/O. */
static void
laters_that_ask_for_more_do_not_starve_timers(void **state)
{
	struct chain c = { loop_new(), 0, false };
	struct timer *t = timer_new(c.loop, chain_stop, &c);

	(void)state;
	alarm(20);
	timer_arm(t, 20);
	loop_later(c.loop, chain_on, &c);
	loop_run(c.loop);
	alarm(0);
	assert_true(c.turns > 1);
	timer_free(&t);
	loop_free(&c.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_the_socket_holds_arrives_in_order),
		cmocka_unit_test(the_largest_message_passes_and_a_larger_one_is_refused),
		cmocka_unit_test(a_closed_peer_is_told_once_and_sending_fails),
		cmocka_unit_test(a_malformed_frame_closes_the_channel),
		cmocka_unit_test(laters_that_ask_for_more_do_not_starve_timers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
