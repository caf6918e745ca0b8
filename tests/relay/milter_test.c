// SPDX-License-Identifier: Apache-2.0
/* A message is shown to scripted filters, whose answers come in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/body.h"
#include "base/envelope.h"
#include "base/mem.h"
#include "relay/milter.h"

#define OPTNEG(steps)	"\0\0\0\x0dO\0\0\0\6\0\0\0\0" steps
#define ALL		OPTNEG("\0\0\0\0")
#define MUTE		OPTNEG("\0\x0f\xf0\x80")	/* only the end is answered */
#define C		"\0\0\0\1c"
#define B(s)		SLICE_LIT(s)

enum { SEEN_MAX = 64, PATIENCE_MS = 20000 };

struct peer {			/* says answer[i] after the i-th command that wants one */
	struct loop	*loop;
	int		 listener, fd;
	struct watch	*wl, *w;
	struct timer	*t;
	const struct slice *answer;
	size_t		 nanswer, next, at, piece;
	bool		 mute;		/* answers to the first and the last command only */
	bool		 hang_up;	/* after the answers */
	struct buf	 in;
	char		 seen[SEEN_MAX];
	size_t		 nseen;
	uint16_t	 port;
};

static void
peer_say(void *arg)
{
	struct peer *p = arg;
	struct slice s;

	if (p->fd < 0)
		return;
	if (p->next >= p->nanswer)
		return;
	s = slice_sub(p->answer[p->next], p->at, p->at + p->piece);
	assert_int_equal(send(p->fd, s.p, s.n, MSG_NOSIGNAL), s.n);
	p->at += s.n;
	if (p->at < p->answer[p->next].n) {
		timer_arm(p->t, 0);
		return;
	}
	p->at = 0;
	if (++p->next == p->nanswer && p->hang_up) {
		watch_free(&p->w);
		close(p->fd);
		p->fd = -1;
	}
}

static void
peer_command(struct peer *p, char c)
{
	if (p->nseen < SEEN_MAX - 1)
		p->seen[p->nseen++] = c;
	if (c != 'D' && c != 'Q' && (!p->mute || c == 'O' || c == 'E'))
		peer_say(p);
}

static void
peer_ready(void *arg, int fd, unsigned ready)
{
	struct peer *p = arg;
	char b[7000];
	ssize_t n = read(fd, b, sizeof(b));

	(void)ready;
	if (n <= 0) {
		watch_free(&p->w);
		close(p->fd);
		p->fd = -1;
		return;
	}
	assert_int_equal(buf_put(&p->in, b, (size_t)n), 0);
	while (buf_len(&p->in) >= 5) {
		const uint8_t *h = (const uint8_t *)buf_slice(&p->in).p;
		size_t len = (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];

		assert_in_range(len, 1, 65536);
		if (buf_len(&p->in) < 4 + len)
			return;
		char c = (char)h[4];
		buf_drop(&p->in, 4 + len);
		peer_command(p, c);
		if (p->fd < 0)
			return;
	}
}

static void
peer_accept(void *arg, int fd, unsigned ready)
{
	struct peer *p = arg;
	const int one = 1;

	(void)ready;
	p->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(p->fd >= 0);
	assert_int_equal(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	p->w = watch_new(p->loop, p->fd, peer_ready, p);
	watch_want(p->w, LOOP_READ);
}

static void
peer_open(struct peer *p, struct loop *l)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);

	p->loop = l;
	p->fd = -1;
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(p->listener, 8), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &n), 0);
	p->port = ntohs(a.sin_port);
	p->wl = watch_new(l, p->listener, peer_accept, p);
	watch_want(p->wl, LOOP_READ);
	p->t = timer_new(l, peer_say, p);
	buf_init(&p->in, 4 << 20);
}

static void
peer_close(struct peer *p)
{
	watch_free(&p->wl);
	watch_free(&p->w);
	timer_free(&p->t);
	close(p->listener);
	if (p->fd >= 0)
		close(p->fd);
	buf_fini(&p->in);
}

struct house {
	struct loop		*loop;
	struct milter_stats	 stats;
	char			 reply[500], fields[9000];
	bool			 hold, done;
};

static void
house_done(void *arg, const struct milter_outcome *o)
{
	struct house *h = arg;

	assert_false(h->done);
	h->done = true;
	h->hold = o->hold;
	assert_int_equal(slice_cstr(o->reply, h->reply, sizeof(h->reply)), 0);
	assert_int_equal(slice_cstr(o->fields, h->fields, sizeof(h->fields)), 0);
	loop_stop(h->loop);
}

static void
house_late(void *arg)
{
	(void)arg;
	fail_msg("the run does not end");
}

static const char message[] = "From: <a@b.example>\r\nSubject: folded\r\n\tline\r\n\r\nbody\r\n";

/* Shows `body` to the peers; the outcome is in the house. */
static void
show(struct house *h, struct peer *p, size_t npeer, struct slice body, const char *more)
{
	static const char *const rcpt[] = { "x@c.example", "y@c.example" };
	struct milter_mail m = { .id = B("id1"), .client_ip = B("192.0.2.1"), .helo = B("h"),
		.mail_from = B("a@b.example"), .protocol = B("ESMTPS"),
		.tls = B("TLSv1.3 TLS_AES_256_GCM_SHA384"), .body_fd = body_make(body) };
	struct buf text, rcpts;
	struct conf_errors e = { 0 };
	struct milter_run *r;
	struct timer *late;

	buf_init(&text, 4096);
	buf_init(&rcpts, 4096);
	h->loop = loop_new();
	assert_int_equal(buf_puts(&text, "hostname = mx.it\ndomain a.it { primary = mx }\n"), 0);
	for (size_t i = 0; i < npeer; i++) {
		peer_open(&p[i], h->loop);
		assert_int_equal(buf_printf(&text, "milter \"m%zu\" { address = \"127.0.0.1:%u\" %s }\n",
		    i, p[i].port, more), 0);
	}
	for (size_t i = 0; i < 2; i++) {
		struct envelope_rcpt one = { .address = slice_str(rcpt[i]) };

		assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &one), 0);
	}
	m.rcpts = buf_slice(&rcpts);
	struct conf *c = conf_parse(buf_slice(&text), "test", &e);
	assert_non_null(c);
	buf_fini(&e.text);
	late = timer_new(h->loop, house_late, NULL);
	timer_arm(late, PATIENCE_MS);
	r = milter_start(h->loop, c, &m, &h->stats, house_done, h);
	assert_non_null(r);
	assert_false(h->done);
	conf_free(&c);		/* a reload in between does no harm */
	loop_run(h->loop);
	timer_free(&late);
	for (size_t i = 0; i < npeer; i++)
		peer_close(&p[i]);
	loop_free(&h->loop);
	close(m.body_fd);
	buf_fini(&text);
	buf_fini(&rcpts);
}

struct talk {
	const char	*name;
	struct slice	 answer[16];
	bool		 mute, hang_up;
	const char	*seen;		/* commands without macros; NULL: not looked at */
	const char	*reply, *fields;
	bool		 hold;
	uint64_t	 failed, ignored, discarded;
};

/* From the negotiation to the header, two fields. */
#define TO_RCPT		B(ALL), B(C), B(C), B(C)
#define TO_EOM		TO_RCPT, B(C), B(C), B(C), B(C), B(C), B(C), B(C)

static const struct talk talks[] = {
	{ "continue", { TO_EOM, B(C) }, .seen = "OCHMRRTLLNBE", .reply = "", .fields = "" },
	{ "only the end is answered", { B(MUTE), B(C) }, .mute = true, .seen = "OCHMRRTLLNBE",
	  .reply = "", .fields = "" },
	{ "only the body is wanted", { B(OPTNEG("\0\0\2\x6f")), B(C), B(C) }, .seen = "OBE",
	  .reply = "", .fields = "" },
	{ "accept at once", { B(ALL), B("\0\0\0\1a") }, .seen = "OC", .reply = "", .fields = "" },
	{ "reject", { TO_EOM, B("\0\0\0\1r") }, .reply = "550 5.7.1 the message is refused by a content filter",
	  .fields = "" },
	{ "tempfail at HELO", { B(ALL), B(C), B("\0\0\0\1t") }, .seen = "OCH",
	  .reply = "451 4.7.1 try again later, says a content filter", .fields = "" },
	{ "reply code", { TO_EOM, B("\0\0\0\x11y554 5.7.1 Gtube\0") }, .reply = "554 5.7.1 Gtube",
	  .fields = "" },
	{ "reply code of a session", { TO_EOM, B("\0\0\0\x09y250 ok \0") }, .reply = "", .fields = "",
	  .failed = 1 },
	{ "spam", { TO_EOM, B("\0\0\0\x0ch" "X-Spam\0Yes\0" "\0\0\0\1c") }, .reply = "",
	  .fields = "X-Spam: Yes\r\n", .hold = true },
	{ "spam, as a change of the sender's own", { TO_EOM,
	  B("\0\0\0\x10m\0\0\0\1X-Spam\0Yes\0" "\0\0\0\1c") }, .reply = "",
	  .fields = "X-Spam: Yes\r\n", .hold = true, .ignored = 1 },
	{ "a field that was spam is deleted", { TO_EOM, B("\0\0\0\x0dm\0\0\0\1X-Spam\0\0" C) },
	  .reply = "", .fields = "", .ignored = 1 },
	{ "inserted", { TO_EOM, B("\0\0\0\x0bi\0\0\0\0X-A\0b\0" C) }, .reply = "",
	  .fields = "X-A: b\r\n" },
	{ "another subject, body, sender, recipient", { TO_EOM,
	  B("\0\0\0\x0bhSubject\0z\0" "\0\0\0\4bxyz" "\0\0\0\5e<a>\0" "\0\0\0\5+<a>\0" "\0\0\0\5-<a>\0"
	    "\0\0\0\1p" C) }, .reply = "", .fields = "", .ignored = 5 },
	{ "quarantine", { TO_EOM, B("\0\0\0\5qbad\0" C) }, .reply = "", .fields = "", .hold = true },
	{ "discard", { TO_RCPT, B("\0\0\0\1d") }, .reply = "", .fields = "", .hold = true,
	  .discarded = 1 },
	{ "one recipient of two", { TO_RCPT, B("\0\0\0\1r"), B(C), B(C), B(C), B(C), B(C), B(C), B(C) },
	  .seen = "OCHMRRTLLNBE", .reply = "", .fields = "", .ignored = 1 },
	{ "both recipients", { TO_RCPT, B("\0\0\0\1r"), B("\0\0\0\1t") }, .seen = "OCHMRR",
	  .reply = "451 4.7.1 try again later, says a content filter", .fields = "" },
	{ "another protocol", { B("220 mx ESMTP\r\n") }, .reply = "", .fields = "", .failed = 1 },
	{ "a version of old", { B("\0\0\0\x0dO\0\0\0\1\0\0\0\0\0\0\0\0") }, .reply = "", .fields = "",
	  .failed = 1 },
	{ "changes before the end", { B(ALL), B("\0\0\0\x0ch" "X-Spam\0Yes\0") }, .reply = "",
	  .fields = "", .failed = 1 },
	{ "answers nobody asked for", { B(ALL C), }, .reply = "", .fields = "" , .hang_up = true,
	  .failed = 1 },
	{ "hangs up at once", { B(""), }, .reply = "", .fields = "", .hang_up = true, .failed = 1 },
	{ "hangs up at the end, with half a set of fields", { TO_EOM,
	  B("\0\0\0\x07h" "X-A\0b\0" "\0\0\0\7hX") }, .reply = "", .fields = "", .hang_up = true,
	  .failed = 1 },
};

static void
no_macros(const char *in, char *out)
{
	for (; *in != '\0'; in++) {
		if (*in != 'D' && *in != 'Q')
			*out++ = *in;
	}
	*out = '\0';
}

static void
test_dialogues(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 4, 5, 7, 4096 };

	(void)state;
	for (size_t i = 0; i < sizeof(talks) / sizeof(talks[0]); i++) {
		for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
			const struct talk *t = &talks[i];
			struct peer p = { .answer = t->answer, .piece = pieces[j], .mute = t->mute,
				.hang_up = t->hang_up };
			struct house h = { 0 };
			char seen[SEEN_MAX];

			while (p.nanswer < 16 && t->answer[p.nanswer].p != NULL)
				p.nanswer++;
			show(&h, &p, 1, B(message), "");
			no_macros(p.seen, seen);
			if (strcmp(h.reply, t->reply) != 0 || strcmp(h.fields, t->fields) != 0 ||
			    h.hold != t->hold || h.stats.failed != t->failed ||
			    h.stats.ignored != t->ignored || h.stats.discarded != t->discarded ||
			    (t->seen != NULL && strcmp(seen, t->seen) != 0))
				fail_msg("%s, pieces of %zu: seen=%s reply=%s fields=%s hold=%d failed=%llu "
				    "ignored=%llu", t->name, pieces[j], seen, h.reply, h.fields, h.hold,
				    (unsigned long long)h.stats.failed, (unsigned long long)h.stats.ignored);
		}
	}
}

/* 100 fields and 8 MiB of body go over in bounded pieces; fields in return are bounded. */
static void
test_bounds(void **state)
{
	struct slice answer[] = { B(MUTE), B("\0\0\0\7h" "X-A\0b\0" "\0\0\0\7h" "X-B\0b\0" C) };
	struct peer p = { .answer = answer, .nanswer = 2, .piece = 4096, .mute = true };
	struct house h = { 0 };
	struct buf b;

	(void)state;
	buf_init(&b, 9 << 20);
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_printf(&b, "X-%d: v\r\n", i), 0);
	assert_int_equal(buf_puts(&b, "\r\n"), 0);
	memset(buf_reserve(&b, 8 << 20), 'x', 8 << 20);
	buf_commit(&b, 8 << 20);
	show(&h, &p, 1, buf_slice(&b), "fields-max = 1");
	assert_string_equal(h.reply, "");
	assert_string_equal(h.fields, "X-A: b\r\n");
	assert_int_equal(h.stats.ignored, 1);
	p = (struct peer){ .answer = answer, .nanswer = 2, .piece = 4096, .mute = true };
	h = (struct house){ 0 };
	show(&h, &p, 1, B(message), "fields-size = 10");
	assert_string_equal(h.fields, "X-A: b\r\n");
	assert_int_equal(h.stats.ignored, 1);
	buf_fini(&b);
}

/* All in their order; the first that refuses is the last asked. */
static void
test_several(void **state)
{
	struct slice adds[] = { B(MUTE), B("\0\0\0\7h" "X-A\0b\0" C) };
	struct slice also[] = { B(MUTE), B("\0\0\0\7h" "X-B\0b\0" C) };
	struct slice refuses[] = { B(MUTE), B("\0\0\0\1r") };
	struct peer p[3] = { { .answer = adds, .nanswer = 2, .piece = 9, .mute = true },
		{ .answer = also, .nanswer = 2, .piece = 9, .mute = true },
		{ .answer = refuses, .nanswer = 2, .piece = 9, .mute = true } };
	struct house h = { 0 };

	(void)state;
	show(&h, p, 2, B(message), "");
	assert_string_equal(h.fields, "X-A: b\r\nX-B: b\r\n");
	assert_int_equal(h.stats.asked, 2);
	h = (struct house){ 0 };
	p[0] = (struct peer){ .answer = refuses, .nanswer = 2, .piece = 9, .mute = true };
	p[1] = (struct peer){ .answer = also, .nanswer = 2, .piece = 9, .mute = true };
	show(&h, p, 2, B(message), "");
	assert_true(h.reply[0] == '5');
	assert_int_equal(h.stats.asked, 1);
	assert_int_equal(h.stats.refused, 1);
	assert_string_equal(p[1].seen, "");
}

/* timeout and on-failure: a filter that says nothing costs no more than its time. */
static void
test_timeout(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct slice answer[] = { B(ALL), B(C) };
		struct peer p = { .answer = answer, .nanswer = 2, .piece = 9 };
		struct house h = { 0 };

		show(&h, &p, 1, B(message), i == 0 ? "timeout = 1s" :
		    "timeout = 1s on-failure = tempfail");
		assert_int_equal(h.stats.failed, 1);
		assert_string_equal(h.reply, i == 0 ? "" :
		    "451 4.7.1 the content filter is not available, try again later");
		assert_int_equal(h.stats.tempfailed, i);
		assert_false(h.hold);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_timeout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
