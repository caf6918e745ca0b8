// SPDX-License-Identifier: Apache-2.0
/*
 * A front door in a test: the real session driver, machine, lexer and ingest over socket
 * pairs, with scripted doubles of directory, seal, verify, queue and DNS in the same loop.
 *
 * The directory knows mario, anna, jos\xc3\xa9, "o'hara" and u0..u999 @example.it; "later" gets no
 * answer that helps, "mute" none at all, "fatal" kills it. Seal takes SRS0=good=... with a
 * token, SRS0=srs=..., says SRS0=old=... is expired. Verify obeys an X-Verify field in the
 * content, the queue an X-Queue field:
 *	X-Verify: want | greedy | refuse | nonsense | fail | die | die-once | mute
 *	X-Queue: full | error | die | mute
 */
#ifndef TESTS_RELAY_FRONT_H
#define TESTS_RELAY_FRONT_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_directory.h"
#include "base/proto/relay_queue.h"
#include "base/proto/relay_seal.h"
#include "base/proto/relay_verify.h"
#include "relay/smtp_session.h"

enum { FRONT_VERIFIERS = 2, FRONT_KEPT = 4 * 1024 * 1024 };

struct front_peer {
	struct ipc	*relay_end, *own_end;	/* NULL when it is down */
	struct front	*f;
	enum role_kind	 kind;
	unsigned	 index;
};

struct front {
	struct loop		*l;
	struct conf		*conf;
	struct ingest		*ingest;
	struct smtp_server	*server;
	struct front_peer	 directory, seal, queue, verify[FRONT_VERIFIERS];
	unsigned		 turn;		/* of the verifiers */
	unsigned		 deaths;	/* left for die-once */
	unsigned		 evaluations, commits;
	char			 client_ip[64];	/* of the last message */
	bool			 trusted;	/* likewise, as verify was told */
	struct buf		 kept;		/* one line per message */
	struct timer		*patience;
};

/* -- DNS: a name is answered by a batch, known afterwards ------------------------- */

struct dns_batch {
	dns_batch_fn	*fn;
	void		*arg;
	struct buf	 answers;
	bool		 cancelled;
};

static struct {
	struct loop	*l;
	unsigned	 batches, asked;
	bool		 known;		/* key.example.it was fetched */
	bool		 mute;
} front_dns;

bool
dns_cached(struct dns *d, uint16_t type, struct slice name, struct buf *out)
{
	struct dns_answer a = { .name = name, .type = type, .status = DNS_NXDOMAIN };

	(void)d;
	if (!front_dns.known || !slice_eq(name, SLICE_LIT("key.example.it")))
		return false;
	return wire_item_put(out, &dns_answer_wire, &a) == 0;
}

struct dns_query *
dns_ask(struct dns *d, uint16_t type, struct slice name, dns_fn *fn, void *arg)
{
	(void)d, (void)type, (void)name, (void)fn, (void)arg;
	front_dns.asked++;
	return NULL;
}

static void
front_batch_done(void *arg)
{
	struct dns_batch *b = arg;

	if (!b->cancelled) {
		front_dns.known = true;
		b->fn(b->arg, buf_slice(&b->answers));
	}
	buf_fini(&b->answers);
	free(b);
}

struct dns_batch *
dns_ask_all(struct dns *d, struct slice wants, int64_t timeout_ms, dns_batch_fn *fn, void *arg)
{
	struct dns_batch *b = mem_new(sizeof(*b));
	struct dns_want w;

	(void)d, (void)timeout_ms;
	front_dns.batches++;
	buf_init(&b->answers, DNS_ANSWERS_MAX);
	while (wire_item_next(&wants, &dns_want_wire, &w) == 1) {
		struct dns_answer a = { .name = w.name, .type = w.type,
			.status = DNS_NXDOMAIN };
		/* the one domain with mail: that of the sender of SRS0=srs= (1.2.12) */
		const struct dns_rr mx = { .pref = 10, .data = SLICE_LIT("mx.example.com") };
		struct buf rrs;

		buf_init(&rrs, 512);
		if (w.type == DNS_MX && slice_eq(w.name, SLICE_LIT("example.com"))) {
			CHECK(wire_item_put(&rrs, &dns_rr_wire, &mx) == 0);
			a.status = DNS_OK;
			a.rrs = buf_slice(&rrs);
		}
		CHECK(wire_item_put(&b->answers, &dns_answer_wire, &a) == 0);
		buf_fini(&rrs);
	}
	b->fn = fn;
	b->arg = arg;
	if (!front_dns.mute)
		loop_later(front_dns.l, front_batch_done, b);
	return b;
}

void
dns_batch_cancel(struct dns_batch **bp)
{
	struct dns_batch *b = *bp;

	*bp = NULL;
	b->cancelled = true;
	if (front_dns.mute)
		front_batch_done(b);
}

/* -- the other roles --------------------------------------------------------------- */

static void
front_kill(struct front_peer *p)
{
	ipc_free(&p->own_end);	/* the relay's end notices */
}

static void
front_directory(struct front_peer *p, struct slice body)
{
	struct dir_lookup q;
	struct dir_found a = { .status = DIR_UNKNOWN };
	struct slice local;
	char user[300];

	assert_int_equal(wire_get(body, &dir_lookup_wire, &q), 0);
	local = slice_sub(q.address, 0, slice_rfind(q.address, '@'));
	a.req = q.req;
	if (slice_ieq(local, SLICE_LIT("fatal"))) {
		front_kill(p);
		return;
	}
	if (slice_ieq(local, SLICE_LIT("mute")))
		return;
	if (slice_ieq(local, SLICE_LIT("later")))
		a.status = DIR_UNAVAILABLE;
	if (slice_ieq(local, SLICE_LIT("mario")) || slice_ieq(local, SLICE_LIT("anna")) ||
	    slice_ieq(local, SLICE_LIT("o'hara")) ||
	    slice_eq(local, SLICE_LIT("jos\xc3\xa9")) || (local.n > 1 && local.p[0] == 'u' &&
	    local.p[1] >= '0' && local.p[1] <= '9')) {
		a.status = DIR_KNOWN;
		(void)snprintf(user, sizeof(user), "%.*s@example.it", SLICE_FMT(local));
		bytes_lower(user, strlen(user));
		a.user = slice_str(user);
		a.shard = SLICE_LIT("s1");
	}
	assert_int_equal(ipc_send(p->own_end, DIR_FOUND, &dir_found_wire, &a, -1), 0);
}

static void
front_seal(struct front_peer *p, struct slice body)
{
	struct seal_check q;
	struct seal_checked a = { .status = SEAL_INVALID };

	assert_int_equal(wire_get(body, &seal_check_wire, &q), 0);
	a.req = q.req;
	if (slice_istarts(q.address, SLICE_LIT("SRS0=good="))) {
		a.status = SEAL_VALID_OPAQUE;
		a.token = SLICE_LIT("0f3k9qv2m7c1t8ubd5g6h4jn");
		a.leg = BOUNCE_LEG_OURS;
		a.rcpt_index = 7;
	} else if (slice_istarts(q.address, SLICE_LIT("SRS0=srs="))) {
		a.status = SEAL_VALID_SRS;
		a.original = SLICE_LIT("someone@example.com");
		a.leg = BOUNCE_LEG_SRS;
	} else if (slice_istarts(q.address, SLICE_LIT("SRS0=lost="))) {
		a.status = SEAL_VALID_SRS;
		a.original = SLICE_LIT("someone@nowhere.example");
		a.leg = BOUNCE_LEG_SRS;
	} else if (slice_istarts(q.address, SLICE_LIT("SRS0=own="))) {
		a.status = SEAL_VALID_SRS;
		a.original = SLICE_LIT("someone@Example.IT");
		a.leg = BOUNCE_LEG_SRS;
	} else if (slice_istarts(q.address, SLICE_LIT("SRS0=old="))) {
		a.status = SEAL_EXPIRED;
	}
	assert_int_equal(ipc_send(p->own_end, SEAL_CHECKED, &seal_checked_wire, &a, -1), 0);
}

/* The word after a field name of ours in the content. */
static bool
front_told(struct slice content, const char *field, const char *word)
{
	char line[64];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s: %s\r\n", field, word);

	return content.n >= n && memmem(content.p, content.n, line, n) != NULL;
}

static bool
front_has_answer(struct slice answers)
{
	struct dns_answer a;

	while (wire_item_next(&answers, &dns_answer_wire, &a) == 1) {
		if (slice_eq(a.name, SLICE_LIT("key.example.it")))
			return true;
	}
	return false;
}

static void
front_want(struct verify_done *a, struct buf *wants, const char *name)
{
	struct dns_want w = { .type = DNS_TXT, .name = slice_str(name) };

	buf_init(wants, 1024);
	assert_int_equal(wire_item_put(wants, &dns_want_wire, &w), 0);
	a->status = VERIFY_WANT;
	a->wants = buf_slice(wants);
}

static void
front_verify(struct front_peer *p, struct slice body, int fd)
{
	struct verify_eval q;
	struct verify_done a = { .status = VERIFY_OK, .spf = AUTH_PASS, .triage = 1,
		.trace = SLICE_LIT("Received: by double\r\n") };
	const struct envelope_bounce said = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED,
		.status = 5, .subject = 1, .detail = 1, .code = 550 };
	struct buf wants = { 0 }, bounce;
	struct slice content;

	buf_init(&bounce, ENVELOPE_BOUNCE_MAX);
	assert_int_equal(wire_get(body, &verify_eval_wire, &q), 0);
	if (q.bounce) {
		assert_int_equal(wire_put(&bounce, &envelope_bounce_wire, &said), 0);
		a.bounce = buf_slice(&bounce);
	}
	p->f->evaluations++;
	p->f->trusted = q.trusted != 0;
	a.req = q.req;
	assert_int_equal(body_map(fd, &content), 0);
	if (front_told(content, "X-Verify", "mute"))
		goto out;
	if (front_told(content, "X-Verify", "die") ||
	    (front_told(content, "X-Verify", "die-once") && p->f->deaths++ == 0)) {
		front_kill(p);
		goto out;
	}
	if (front_told(content, "X-Verify", "want") && !front_has_answer(q.answers))
		front_want(&a, &wants, "key.example.it");
	if (front_told(content, "X-Verify", "greedy") && !q.last)
		front_want(&a, &wants, "more.example.it");
	if (front_told(content, "X-Verify", "refuse")) {
		a.status = VERIFY_REFUSE;
		a.reason = SLICE_LIT("554 5.4.6 too many hops");
	}
	if (front_told(content, "X-Verify", "nonsense")) {
		a.status = VERIFY_REFUSE;
		a.reason = SLICE_LIT("250 2.0.0 ok\r\n250 evil");
	}
	if (front_told(content, "X-Verify", "fail")) {
		a.status = VERIFY_FAILED;
		a.bounce = SLICE_NONE;
	}
	assert_int_equal(ipc_send(p->own_end, VERIFY_DONE, &verify_done_wire, &a, -1), 0);
	buf_fini(&wants);
out:
	buf_fini(&bounce);
	body_unmap(&content);
}

/* "[bounce KIND ACTION STATUS CODE leg=LEG/INDEX]" */
static void
front_bounce(struct front *f, struct slice bounce)
{
	struct envelope_bounce b;

	if (bounce.n == 0)
		return;
	assert_int_equal(wire_get(bounce, &envelope_bounce_wire, &b), 0);
	assert_int_equal(buf_printf(&f->kept, " [bounce %s %s %u.%u.%u %u leg=%u/%u]",
	    bounce_kind_name((enum bounce_kind)b.kind),
	    bounce_action_name((enum bounce_action)b.action), b.status, b.subject, b.detail,
	    b.code, b.leg, b.rcpt_index), 0);
}

static void
front_note(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];
		int r;

		if (c == '\r')
			r = buf_puts(out, "\\r");
		else if (c == '\n')
			r = buf_puts(out, "\\n");
		else if (c == '\\')
			r = buf_puts(out, "\\\\");
		else if (c < ' ' || c > '~')
			r = buf_printf(out, "\\x%02x", c);
		else
			r = buf_put(out, &s.p[i], 1);
		assert_int_equal(r, 0);
	}
}

/* "M: <sender> kind:user ... [flag ...] content" */
static void
front_record(struct front *f, const struct envelope *e, struct slice content)
{
	static const char *const kind[] = { "user", "postmaster", "return-path" };
	struct slice list = e->rcpts;
	struct envelope_rcpt r;

	assert_int_equal(e->version, ENVELOPE_VERSION);
	assert_int_equal(e->body_size, content.n);
	assert_true(slice_istarts(e->trace, SLICE_LIT("Received: ")));
	assert_int_equal(slice_cstr(e->client_ip, f->client_ip, sizeof(f->client_ip)), 0);
	assert_int_equal(buf_printf(&f->kept, "M: <%.*s>", SLICE_FMT(e->mail_from)), 0);
	while (wire_item_next(&list, &envelope_rcpt_wire, &r) == 1) {
		assert_int_equal(buf_printf(&f->kept, " %s:%.*s", kind[r.kind],
		    SLICE_FMT(r.user)), 0);
		if (r.token.n > 0)
			assert_int_equal(buf_printf(&f->kept, "/%.*s", SLICE_FMT(r.token)), 0);
		if (r.notify != 0)
			assert_int_equal(buf_printf(&f->kept, " notify=%u", r.notify), 0);
		if (r.orcpt.n > 0)
			assert_int_equal(buf_printf(&f->kept, " orcpt=%.*s",
			    SLICE_FMT(r.orcpt)), 0);
	}
	if (e->envid.n > 0)
		assert_int_equal(buf_printf(&f->kept, " [envid=%.*s]", SLICE_FMT(e->envid)), 0);
	if (e->ret.n > 0)
		assert_int_equal(buf_printf(&f->kept, " [ret=%.*s]", SLICE_FMT(e->ret)), 0);
	if (e->flags & ENV_HOLD_ONLY)
		assert_int_equal(buf_printf(&f->kept, " [%.*s]", SLICE_FMT(e->reason)), 0);
	front_bounce(f, e->bounce);
	if (e->flags & ENV_BODY_8BIT)
		assert_int_equal(buf_puts(&f->kept, " [8bit]"), 0);
	if (strcmp(f->client_ip, "192.0.2.1") != 0)
		assert_int_equal(buf_printf(&f->kept, " [client=%s helo=%.*s]", f->client_ip,
		    SLICE_FMT(e->helo)), 0);
	assert_int_equal((e->flags & ENV_TRUSTED) != 0, f->trusted);
	if (e->flags & ENV_SMTPUTF8)
		assert_int_equal(buf_puts(&f->kept, " [utf8]"), 0);
	if (e->flags & ENV_TRUSTED)
		assert_int_equal(buf_puts(&f->kept, " [trusted]"), 0);
	assert_true(e->flags & ENV_TLS ? slice_istarts(e->tls, SLICE_LIT("TLSv1.3 TLS_")) : e->tls.n == 0);
	if (e->flags & ENV_TLS)
		assert_int_equal(buf_puts(&f->kept, " [tls]"), 0);
	assert_int_equal(buf_puts(&f->kept, " "), 0);
	if (content.n <= 1000)
		front_note(&f->kept, content);
	else
		assert_int_equal(buf_printf(&f->kept, "%zu bytes", content.n), 0);
	assert_int_equal(buf_puts(&f->kept, "\n"), 0);
}

static void
front_queue(struct front_peer *p, struct slice body, int fd)
{
	struct queue_commit q;
	struct queue_committed a = { .status = COMMIT_OK };
	struct envelope e;
	struct slice content;

	assert_int_equal(wire_get(body, &queue_commit_wire, &q), 0);
	assert_int_equal(wire_get(q.envelope, &envelope_wire, &e), 0);
	assert_int_equal(body_map(fd, &content), 0);
	p->f->commits++;
	a.req = q.req;
	if (front_told(content, "X-Queue", "die")) {
		front_kill(p);
	} else if (!front_told(content, "X-Queue", "mute")) {
		if (front_told(content, "X-Queue", "full"))
			a.status = COMMIT_FULL;
		else if (front_told(content, "X-Queue", "error"))
			a.status = COMMIT_ERROR;
		else
			front_record(p->f, &e, content);
		assert_int_equal(ipc_send(p->own_end, QUEUE_COMMITTED, &queue_committed_wire,
		    &a, -1), 0);
	}
	body_unmap(&content);
}

static void
front_asked(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct front_peer *p = arg;

	(void)ch;
	switch (type) {
	case DIR_LOOKUP:
		front_directory(p, body);
		break;
	case SEAL_CHECK:
		front_seal(p, body);
		break;
	case VERIFY_EVAL:
		front_verify(p, body, fd);
		break;
	case QUEUE_COMMIT:
		front_queue(p, body, fd);
		break;
	default:
		fail_msg("unknown question %x", type);
	}
	if (fd >= 0)
		(void)close(fd);
}

static void
front_own_closed(void *arg, struct ipc *ch)
{
	(void)arg, (void)ch;
}

static void
front_answered(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct front_peer *p = arg;

	(void)ch;
	assert_int_equal(fd, -1);
	assert_true(ingest_message(p->f->ingest, p->kind, p->index, type, body));
}

static void front_down(void *arg, struct ipc *ch);

static void
front_up(struct front *f, struct front_peer *p, enum role_kind kind, unsigned index)
{
	int fd[2];

	p->f = f;
	p->kind = kind;
	p->index = index;
	assert_int_equal(ipc_pair(fd), 0);
	p->relay_end = ipc_new(f->l, fd[0], front_answered, front_down, p);
	p->own_end = ipc_new(f->l, fd[1], front_asked, front_own_closed, p);
}

/* As role.c does: the link is gone, then it is told; the dead come back at once. */
static void
front_down(void *arg, struct ipc *ch)
{
	struct front_peer *p = arg;

	(void)ch;
	ipc_free(&p->relay_end);
	ingest_link_down(p->f->ingest, p->kind, p->index);
	front_up(p->f, p, p->kind, p->index);
}

static struct ipc *
front_link(void *arg, enum role_kind peer, unsigned index)
{
	struct front *f = arg;

	assert_int_equal(peer, ROLE_QUEUE);
	assert_int_equal(index, 0);
	return f->queue.relay_end;
}

static struct ipc *
front_any(void *arg, enum role_kind peer, unsigned *index)
{
	struct front *f = arg;

	*index = 0;
	if (peer == ROLE_DIRECTORY)
		return f->directory.relay_end;
	if (peer == ROLE_SEAL)
		return f->seal.relay_end;
	assert_int_equal(peer, ROLE_VERIFY);
	for (unsigned i = 0; i < FRONT_VERIFIERS; i++) {
		*index = f->turn++ % FRONT_VERIFIERS;
		if (f->verify[*index].relay_end != NULL)
			return f->verify[*index].relay_end;
	}
	return NULL;
}

/* -- life -------------------------------------------------------------------------- */

static void
front_too_long(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for ten seconds");
}

static struct conf *
front_conf(const char *extra)
{
	struct conf_errors errors = { 0 };
	struct conf *c;
	char text[2048];

	(void)snprintf(text, sizeof(text),
	    "hostname = \"mx.example.net\"\n"
	    "state-dir = \"/nonexistent\"\n"
	    "listen \"127.0.0.1:2525\" { }\n"
	    "forwarder { domain = \"fwd.example.net\" secret-file = \"/nonexistent/s\" }\n"
	    "domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n%s\n", extra);
	buf_init(&errors.text, 64 * 1024);
	c = conf_parse(slice_str(text), "test", &errors);
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&errors.text)));
	buf_fini(&errors.text);
	return c;
}

static void
front_init(struct front *f, const char *extra, struct tls_context *tls)
{
	struct ingest_links links = { front_link, front_any, f };

	*f = (struct front){ 0 };
	(void)signal(SIGPIPE, SIG_IGN);
	log_open("test", LOG_LVL_ERROR);
	f->l = loop_new();
	f->conf = front_conf(extra);
	front_dns.l = f->l;
	front_dns.known = front_dns.mute = false;
	front_dns.batches = front_dns.asked = 0;
	buf_init(&f->kept, FRONT_KEPT);
	/* The double behind a non-NULL pointer: ingest only asks whether there is one. */
	f->ingest = ingest_new(f->l, f->conf, (struct dns *)(void *)&front_dns, &links, 3);
	f->server = smtp_server_new(f->l, f->conf, f->ingest, tls);
	front_up(f, &f->directory, ROLE_DIRECTORY, 0);
	front_up(f, &f->seal, ROLE_SEAL, 0);
	front_up(f, &f->queue, ROLE_QUEUE, 0);
	for (unsigned i = 0; i < FRONT_VERIFIERS; i++)
		front_up(f, &f->verify[i], ROLE_VERIFY, i);
	f->patience = timer_new(f->l, front_too_long, NULL);
	timer_arm(f->patience, 10 * 1000);
}

static void
front_peer_fini(struct front_peer *p)
{
	ipc_free(&p->relay_end);
	ipc_free(&p->own_end);
}

static void
front_fini(struct front *f)
{
	smtp_server_free(&f->server);
	ingest_free(&f->ingest);
	front_peer_fini(&f->directory);
	front_peer_fini(&f->seal);
	front_peer_fini(&f->queue);
	for (unsigned i = 0; i < FRONT_VERIFIERS; i++)
		front_peer_fini(&f->verify[i]);
	timer_free(&f->patience);
	loop_free(&f->l);
	conf_free(&f->conf);
	buf_fini(&f->kept);
}

static void
front_stop_loop(void *arg)
{
	loop_stop(arg);
}

static inline void
front_run_ms(struct front *f, int64_t ms)
{
	struct timer *t = timer_new(f->l, front_stop_loop, f->l);

	timer_arm(t, ms);
	assert_int_equal(loop_run(f->l), 0);
	timer_free(&t);
}

static inline bool
front_kept_says(const struct front *f, const char *s)
{
	struct slice k = buf_slice(&f->kept);

	return k.n > 0 && memmem(k.p, k.n, s, strlen(s)) != NULL;
}

/* -- a client ---------------------------------------------------------------------- */

struct client {
	struct front	*f;
	struct conn	*c;
	struct buf	 got;
	unsigned	 inputs;	/* pieces it came in */
	size_t		 want;		/* stop when that much has come */
	bool		 ended;
	bool		 tls;
};

static size_t
client_input(void *arg, struct slice in)
{
	struct client *k = arg;

	assert_int_equal(buf_put_slice(&k->got, in), 0);
	k->inputs++;
	if (k->want > 0 && buf_len(&k->got) >= k->want)
		loop_stop(k->f->l);
	return in.n;
}

static void
client_event(void *arg, enum conn_event ev)
{
	struct client *k = arg;

	if (ev == CONN_EOF || ev == CONN_ERROR)
		k->ended = true;
	if (ev == CONN_TLS)
		k->tls = true;
	if (ev != CONN_WRITABLE)
		loop_stop(k->f->l);
}

static const struct conn_ops client_ops = { client_input, client_event };

static inline void
client_init_from(struct client *k, struct front *f, const char *ip, unsigned how)
{
	int fd[2];

	*k = (struct client){ .f = f };
	buf_init(&k->got, FRONT_KEPT);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	k->c = conn_accepted(f->l, fd[1], &client_ops, k);
	session_start(f->server, fd[0], ip, how);
}

static inline void
client_init(struct client *k, struct front *f)
{
	client_init_from(k, f, "192.0.2.1", SESSION_TLS);
}

static inline void
client_fini(struct client *k)
{
	conn_close(&k->c);
	buf_fini(&k->got);
	front_run_ms(k->f, 1);
}

static inline void
client_say(struct client *k, const char *s)
{
	assert_int_equal(conn_write(k->c, slice_str(s)), 0);
}

/* Runs until the reply text ends in `s`; fails when the connection ends before. */
static inline void
client_expect(struct client *k, const char *s)
{
	size_t n = strlen(s);

	k->want = 1;
	for (;;) {
		struct slice got = buf_slice(&k->got);

		if (got.n >= n && memcmp(got.p + got.n - n, s, n) == 0)
			break;
		if (k->ended)
			fail_msg("ended with \"%.*s\", not \"%s\"", SLICE_FMT(got), s);
		assert_int_equal(loop_run(k->f->l), 0);
	}
	buf_clear(&k->got);
}

static inline void
client_expect_end(struct client *k)
{
	while (!k->ended)
		assert_int_equal(loop_run(k->f->l), 0);
}

#endif
