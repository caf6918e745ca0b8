// SPDX-License-Identifier: Apache-2.0
/* The seal role over real channels; only the supervisor's resources are doubles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_seal.h"
#include "base/proto/relay_seal.h"
#include "policy/dsn.h"
#include "policy/seal_role.h"
#include "policy/srs.h"

#define DAY_20000	(INT64_C(20000) * 86400000)
#define TOKEN		"0f3k9qv2m7c1t8ubd5g6h4jn"
#define OPAQUE		"SRS0=JEyBAzIs=RA=n1=" TOKEN "@fwd.example.it"
#define PLAIN		"From: a@esp.example\r\nSubject: x\r\n\r\nCiao\r\n"

struct bench {
	struct role	 role;
	struct conf	 conf;
	struct conf_domain domain;
	struct loop	*loop;
	struct ipc	*seal, *peer;		/* the two ends */
	enum role_kind	 who;			/* who the peer is */
	const char	*secret, *key, *arc, *notice;	/* resources; NULL: none */
	bool		 done;
	uint32_t	 type;			/* of the last answer */
	struct buf	 text;			/* what the answer's slices point into */
	struct seal_prepared prepared;
	struct seal_checked checked;
	struct seal_tagged tagged;
	struct seal_notified notified;
	int		 notified_fd;		/* owned; -1 none */
};

static struct bench *bench;	/* the doubles below have no argument for it */

static char rsa_pem[4096], other_pem[4096];

/* --- doubles of base/role.c --- */

char *
role_resource_text(struct role *r, const char *name, size_t max, size_t *n)
{
	const char *text = strncmp(name, "notice:", 7) == 0 ? bench->notice :
	    strcmp(name, "forward-secret") == 0 ? bench->secret :
	    strcmp(name, "forward-arc-key") == 0 ? bench->arc : bench->key;
	char *copy;

	(void)r;
	if (text == NULL)
		return NULL;
	copy = mem_new(max + 1);
	*n = strlen(text) < max ? strlen(text) : max;
	memcpy(copy, text, *n);
	return copy;
}

void
role_done(struct role *r)
{
	(void)r;
	bench->done = true;
}

/* --- set-up --- */

static void
on_seal(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct bench *b = arg;

	seal_ops.message(&b->role, b->who, 0, ch, type, body, fd);
}

static void
on_answer(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct bench *b = arg;

	(void)ch;
	b->type = type;
	b->notified_fd = fd;
	assert_true(fd == -1 || type == SEAL_NOTIFIED);
	buf_clear(&b->text);
	assert_int_equal(buf_put_slice(&b->text, body), 0);
	if (type == SEAL_NOTIFIED)
		assert_int_equal(wire_get(buf_slice(&b->text), &seal_notified_wire,
		    &b->notified), 0);
	else if (type == SEAL_TAGGED)
		assert_int_equal(wire_get(buf_slice(&b->text), &seal_tagged_wire, &b->tagged), 0);
	else if (type == SEAL_PREPARED)
		assert_int_equal(wire_get(buf_slice(&b->text), &seal_prepared_wire,
		    &b->prepared), 0);
	else
		assert_int_equal(wire_get(buf_slice(&b->text), &seal_checked_wire,
		    &b->checked), 0);
}

static void
on_close(void *arg, struct ipc *ch)
{
	(void)arg, (void)ch;
}

static void
make_pem(char *out, size_t cap, EVP_PKEY *k)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	assert_int_equal(slice_cstr(slice_make(p, (size_t)n), out, cap), 0);
	BIO_free(bio);
	EVP_PKEY_free(k);
}

static int
group_setup(void **state)
{
	(void)state;
	log_open("seal_test", LOG_LVL_ERROR);
	make_pem(rsa_pem, sizeof(rsa_pem), EVP_RSA_gen(2048));
	make_pem(other_pem, sizeof(other_pem), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
	return 0;
}

static int
setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));
	int fd[2];

	bench = b;
	clock_fake(DAY_20000, 0);
	b->domain = (struct conf_domain){ .name = mem_str("example.it") };
	b->conf = (struct conf){
		.domain = &b->domain, .ndomain = 1, .hostname = mem_str("mx2.example.it"),
		.dsn_per_target = 2, .dsn_per_domain = 3,
		.forwarder = {
			.domain = mem_str("fwd.example.it"), .secret_file = mem_str("/etc/s"),
			.node = mem_str("n1"), .dkim_selector = mem_str("s2026"),
			.dkim_key_file = mem_str("/etc/k"), .hash_length = 8, .hash_min = 8,
			.max_age_days = 21
		}
	};
	b->secret = "correct-horse-battery\n";
	b->key = rsa_pem;
	b->who = ROLE_QUEUE;
	b->loop = loop_new();
	b->role = (struct role){ .ops = &seal_ops, .loop = b->loop, .conf = &b->conf };
	buf_init(&b->text, IPC_MAX);
	assert_int_equal(ipc_pair(fd), 0);
	b->seal = ipc_new(b->loop, fd[0], on_seal, on_close, b);
	b->peer = ipc_new(b->loop, fd[1], on_answer, on_close, b);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	if (b->role.priv != NULL)
		seal_ops.stop(&b->role);
	ipc_free(&b->seal);
	ipc_free(&b->peer);
	loop_free(&b->loop);
	buf_fini(&b->text);
	free(b->domain.name);
	free(b->conf.forwarder.domain);
	free(b->conf.forwarder.secret_file);
	free(b->conf.forwarder.node);
	free(b->conf.hostname);
	free(b->domain.dkim_selector);
	free(b->domain.dkim_key_file);
	free(b->conf.forwarder.dkim_selector);
	free(b->conf.forwarder.dkim_key_file);
	free(b->conf.forwarder.arc_selector);
	free(b->conf.forwarder.arc_key_file);
	free(b);
	clock_fake(-1, -1);
	return 0;
}

/* --- questions --- */

struct question {
	struct envelope		env;
	struct envelope_rcpt	rcpt[2];
	struct seal_prepare	q;
	struct slice		content;
	bool			no_body;
};

static struct question
question_make(void)
{
	return (struct question){
		.env = { .version = ENVELOPE_VERSION, .mail_from = SLICE_LIT("b@esp.example"),
			.trace = SLICE_LIT("Received: x\r\n"), .body_size = strlen(PLAIN) },
		.rcpt = { { .address = SLICE_LIT("first@example.it"),
				.domain = SLICE_LIT("example.it") },
			{ .address = SLICE_LIT("second@example.it"),
				.domain = SLICE_LIT("example.it") } },
		.q = { .req = 7, .rcpt_index = 1, .attempt = 1, .now_ms = DAY_20000,
			.token = SLICE_LIT(TOKEN) },
		.content = SLICE_LIT(PLAIN)
	};
}

static void
turn(struct bench *b)
{
	assert_int_equal(ipc_wait(b->seal, 1000), 1);
	assert_int_equal(ipc_wait(b->peer, 1000), 1);
}

static void
ask(struct bench *b, struct question *q)
{
	struct buf rcpts, env;
	int fd = q->no_body ? -1 : body_make(q->content);

	buf_init(&rcpts, 4096);
	buf_init(&env, ENVELOPE_MAX);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &q->rcpt[i]), 0);
	q->env.rcpts = buf_slice(&rcpts);
	assert_int_equal(wire_put(&env, &envelope_wire, &q->env), 0);
	if (q->q.envelope.n == 0)
		q->q.envelope = buf_slice(&env);
	b->who = ROLE_QUEUE;
	assert_int_equal(ipc_send(b->peer, SEAL_PREPARE, &seal_prepare_wire, &q->q, fd), 0);
	turn(b);
	if (fd >= 0)
		close(fd);
	buf_fini(&rcpts);
	buf_fini(&env);
	assert_int_equal(b->type, SEAL_PREPARED);
	assert_int_equal(b->prepared.req, q->q.req);
}

static void
expect_status(struct bench *b, struct question *q, enum seal_status st, const char *reason)
{
	ask(b, q);
	assert_int_equal(b->prepared.status, st);
	if (!slice_eq(b->prepared.reason, slice_str(reason)))
		print_error("%.*s\n", SLICE_FMT(b->prepared.reason));
	assert_true(slice_eq(b->prepared.reason, slice_str(reason)));
	if (st != SEAL_OK)
		assert_int_equal(b->prepared.prefix.n + b->prepared.mail_from.n +
		    b->prepared.token.n, 0);
}

static bool
contains(struct slice s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
prepare_a_copy(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();

	assert_int_equal(seal_ops.start(&b->role), 0);
	expect_status(b, &q, SEAL_OK, "");
	assert_true(slice_istarts(b->prepared.mail_from, SLICE_LIT("SRS0=")));
	assert_int_equal(b->prepared.token.n, SRS_TOKEN_LEN);
	assert_true(slice_istarts(b->prepared.prefix, SLICE_LIT("DKIM-Signature: v=1;")));
	assert_true(contains(b->prepared.prefix, "\r\nX-Fwd-Loop: "));
	assert_true(contains(b->prepared.prefix, "\r\nDelivered-To: second@example.it\r\n"));
	assert_false(contains(b->prepared.prefix, "first@example.it"));
	assert_int_equal(b->prepared.suffix.n, 0);

	/* the recipient's domain says which return path (1.1.2) */
	q = question_make();
	b->domain.return_path = RETURN_NULL;
	expect_status(b, &q, SEAL_OK, "");
	assert_int_equal(b->prepared.mail_from.n + b->prepared.token.n, 0);
	q = question_make();
	b->domain.return_path = RETURN_SRS;
	expect_status(b, &q, SEAL_OK, "");
	assert_true(contains(b->prepared.mail_from, "=RA=esp.example=b@fwd.example.it"));
	/* one that is served no more gets the default */
	q = question_make();
	q.rcpt[1].domain = SLICE_LIT("gone.example");
	expect_status(b, &q, SEAL_OK, "");
	assert_true(slice_istarts(b->prepared.mail_from, SLICE_LIT("SRS0=")));
}

static void
prepare_refused(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();

	assert_int_equal(seal_ops.start(&b->role), 0);
	q.env.flags = ENV_HOLD_ONLY;
	q.env.reason = SLICE_LIT("T1");
	expect_status(b, &q, SEAL_HOLD, "T1");
	q = question_make();
	q.env.flags = ENV_HOLD_ONLY;
	expect_status(b, &q, SEAL_HOLD, "hold-only");
	q = question_make();
	q.rcpt[1].kind = RCPT_RETURN_PATH;
	expect_status(b, &q, SEAL_HOLD, "return-path");
	q = question_make();
	q.q.rcpt_index = 2;
	expect_status(b, &q, SEAL_ERROR, "no-such-recipient");
	q = question_make();
	q.no_body = true;
	expect_status(b, &q, SEAL_ERROR, "body-not-sealed");
	q = question_make();
	q.env.body_size--;
	expect_status(b, &q, SEAL_ERROR, "body-size");
	q = question_make();
	q.q.envelope = SLICE_LIT("torn");
	expect_status(b, &q, SEAL_ERROR, "bad-envelope");
	/* and it still works */
	q = question_make();
	expect_status(b, &q, SEAL_OK, "");
}

static enum seal_tag_status
tag(struct bench *b, struct question *q)
{
	struct seal_tag m = { .req = 8, .rcpt_index = q->q.rcpt_index };
	int fd = q->no_body ? -1 : body_make(q->content);
	struct buf rcpts, env;

	buf_init(&rcpts, 4096);
	buf_init(&env, ENVELOPE_MAX);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &q->rcpt[i]), 0);
	q->env.rcpts = buf_slice(&rcpts);
	assert_int_equal(wire_put(&env, &envelope_wire, &q->env), 0);
	m.envelope = buf_slice(&env);
	b->who = ROLE_QUEUE;
	assert_int_equal(ipc_send(b->peer, SEAL_TAG, &seal_tag_wire, &m, fd), 0);
	turn(b);
	if (fd >= 0)
		close(fd);
	buf_fini(&rcpts);
	buf_fini(&env);
	assert_int_equal(b->type, SEAL_TAGGED);
	assert_int_equal(b->tagged.req, 8);
	return (enum seal_tag_status)b->tagged.status;
}

/* 9.1: what left as a copy is known again, and of which message it is. */
static void
spec_9_1_a_copy_is_known_again(void **state)
{
	static const char content[] = "From: A <a@esp.example>\r\nMessage-ID: <1@esp>\r\n\r\nx\r\n";
	struct bench *b = *state;
	struct question q = question_make();
	char copy[8192];

	assert_int_equal(seal_ops.start(&b->role), 0);
	q.env.id = (struct msgid){ { 9, 8, 7 } };
	q.content = SLICE_LIT(content);
	q.env.body_size = q.content.n;
	assert_int_equal(tag(b, &q), TAG_NOT_OURS);
	expect_status(b, &q, SEAL_OK, "");
	snprintf(copy, sizeof(copy), "%.*s%s", SLICE_FMT(b->prepared.prefix), content);

	struct question back = question_make();
	back.env.flags = ENV_HOLD_ONLY | ENV_TAGGED;
	back.content = slice_str(copy);
	back.env.body_size = back.content.n;
	assert_int_equal(tag(b, &back), TAG_COPY);
	assert_memory_equal(&b->tagged.id, &q.env.id, sizeof(q.env.id));
	assert_int_equal(b->tagged.rcpt_index, 1);
	back.q.rcpt_index = 0;		/* to another mailbox */
	assert_int_equal(tag(b, &back), TAG_NOT_OURS);
	back.q.rcpt_index = 2;
	assert_int_equal(tag(b, &back), TAG_ERROR);
	back.q.rcpt_index = 1;
	back.no_body = true;
	assert_int_equal(tag(b, &back), TAG_ERROR);
}

static void
check(struct bench *b, const char *address, enum seal_check_status want)
{
	struct seal_check q = { .req = 9, .address = slice_str(address) };

	b->who = ROLE_RELAY;
	assert_int_equal(ipc_send(b->peer, SEAL_CHECK, &seal_check_wire, &q, -1), 0);
	turn(b);
	assert_int_equal(b->type, SEAL_CHECKED);
	assert_int_equal(b->checked.req, 9);
	if (b->checked.status != want)
		print_error("%s -> %u\n", address, b->checked.status);
	assert_int_equal(b->checked.status, want);
}

static void
check_2_2_1(void **state)
{
	static const char srs[] = "SRS0=VuiGMUce=RA=example.com=mario.rossi@fwd.example.it";
	struct bench *b = *state;

	assert_int_equal(seal_ops.start(&b->role), 0);
	check(b, OPAQUE, SEAL_VALID_OPAQUE);
	assert_true(slice_eq(b->checked.token, SLICE_LIT(TOKEN)));
	assert_true(slice_eq(b->checked.node, SLICE_LIT("n1")));
	assert_int_equal(b->checked.original.n, 0);
	/* folded on the way: the journal still finds it */
	check(b, "SRS0=JEYBAZIS=RA=N1=0F3K9QV2M7C1T8UBD5G6H4JN@FWD.EXAMPLE.IT",
	    SEAL_VALID_OPAQUE);
	assert_true(slice_eq(b->checked.token, SLICE_LIT(TOKEN)));
	assert_true(slice_eq(b->checked.node, SLICE_LIT("n1")));
	check(b, srs, SEAL_VALID_SRS);
	assert_true(slice_eq(b->checked.original, SLICE_LIT("mario.rossi@example.com")));
	assert_int_equal(b->checked.token.n, 0);

	check(b, "SRS0=JEyBAzIt=RA=n1=" TOKEN "@fwd.example.it", SEAL_INVALID);
	check(b, "SRS0=VuiGMUcd=RA=example.com=mario.rossi@fwd.example.it", SEAL_INVALID);
	check(b, "someone@fwd.example.it", SEAL_INVALID);
	check(b, "someone@example.it", SEAL_INVALID);
	check(b, "\r\n", SEAL_INVALID);
	check(b, "", SEAL_INVALID);
	clock_fake(DAY_20000 + INT64_C(22) * 86400000, 0);
	check(b, OPAQUE, SEAL_EXPIRED);
	check(b, srs, SEAL_EXPIRED);
	assert_int_equal(b->checked.original.n + b->checked.token.n, 0);
}

/* 1.4.3: the token of a copy names its leg, over attempts and new secrets. */
static void
tokens_name_their_leg_1_4_3(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();
	char first[SRS_TOKEN_LEN + 1], from[256];

	assert_int_equal(seal_ops.start(&b->role), 0);
	q.q.token = SLICE_NONE;
	q.q.attempt = 3;
	q.env.id.b[0] = 0x5a;
	q.env.id.b[9] = 0xa5;
	expect_status(b, &q, SEAL_OK, "");
	assert_int_equal(slice_cstr(b->prepared.token, first, sizeof(first)), 0);
	assert_int_equal(slice_cstr(b->prepared.mail_from, from, sizeof(from)), 0);
	check(b, from, SEAL_VALID_OPAQUE);
	assert_int_equal(b->checked.leg, BOUNCE_LEG_OURS);
	assert_int_equal(b->checked.id.b[0], 0x5a);
	assert_int_equal(b->checked.id.b[9], 0xa5);
	assert_int_equal(b->checked.rcpt_index, q.q.rcpt_index);
	assert_int_equal(b->checked.attempt, 3);
	/* a later attempt keeps the token, a token of another leg is not taken */
	q = question_make();
	q.q.token = slice_str(first);
	q.q.attempt = 4;
	q.env.id.b[0] = 0x5a;
	q.env.id.b[9] = 0xa5;
	expect_status(b, &q, SEAL_OK, "");
	assert_true(slice_eq(b->prepared.token, slice_str(first)));
	q = question_make();
	q.q.token = slice_str(first);
	expect_status(b, &q, SEAL_OK, "");
	assert_false(slice_eq(b->prepared.token, slice_str(first)));
	/* a new secret on top: what the old one made still finds its leg */
	b->secret = "brand-new\ncorrect-horse-battery\n";
	seal_ops.reload(&b->role);
	check(b, from, SEAL_VALID_OPAQUE);
	assert_int_equal(b->checked.leg, BOUNCE_LEG_OURS);
	assert_int_equal(b->checked.rcpt_index, 1);
	/* 120 random bits of an older release; another node's */
	check(b, OPAQUE, SEAL_VALID_OPAQUE);
	assert_int_equal(b->checked.leg, BOUNCE_LEG_UNKNOWN);
	b->conf.forwarder.node[1] = '2';
	seal_ops.reload(&b->role);
	check(b, from, SEAL_VALID_OPAQUE);
	assert_int_equal(b->checked.leg, BOUNCE_LEG_OTHER_NODE);
}

/* --- notifications, 2.3 --- */

static struct seal_notified
notify(struct bench *b, const struct envelope *env, struct slice content, struct buf *message)
{
	const struct envelope_rcpt r = { .address = SLICE_LIT("mario@example.it"),
		.domain = SLICE_LIT("example.it") };
	struct seal_notify q = { .req = 11, .now_ms = DAY_20000, .status = SLICE_LIT("5.1.1"),
		.primary = 1, .text = SLICE_LIT("550 5.1.1") };
	struct envelope e = *env;
	struct buf rcpts, text;
	struct slice made;
	int fd = body_make(content);

	buf_init(&rcpts, 1024);
	buf_init(&text, ENVELOPE_MAX);
	e.version = ENVELOPE_VERSION;
	e.body_size = content.n;
	assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &r), 0);
	e.rcpts = buf_slice(&rcpts);
	assert_int_equal(wire_put(&text, &envelope_wire, &e), 0);
	q.envelope = buf_slice(&text);
	b->who = ROLE_QUEUE;
	assert_int_equal(ipc_send(b->peer, SEAL_NOTIFY, &seal_notify_wire, &q, fd), 0);
	close(fd);
	turn(b);
	assert_int_equal(b->type, SEAL_NOTIFIED);
	assert_int_equal(b->notified.req, 11);
	buf_clear(message);
	assert_int_equal(b->notified_fd >= 0, b->notified.status == NOTIFIED_OK);
	if (b->notified_fd >= 0) {
		assert_int_equal(body_map(b->notified_fd, &made), 0);
		assert_int_equal(buf_put_slice(message, made), 0);
		body_unmap(&made);
		close(b->notified_fd);
		b->notified_fd = -1;
	}
	buf_fini(&rcpts);
	buf_fini(&text);
	return b->notified;
}

/* The report asks of TLS what the message asked, in its header and its envelope. */
static void
rfc_8689_5_notifications_keep_what_is_asked_of_tls(void **state)
{
	static const char content[] = "From: A <a@esp.example>\r\n\r\nx\r\n";
	struct envelope env = { .mail_from = SLICE_LIT("a@esp.example"), .spf = AUTH_PASS };
	struct bench *b = *state;
	struct buf m;

	buf_init(&m, DSN_MAX);
	assert_int_equal(seal_ops.start(&b->role), 0);
	env.flags = ENV_TLS_OPTIONAL | ENV_TLS | ENV_SURVIVABLE;
	assert_int_equal(notify(b, &env, slice_str(content), &m).flags, ENV_TLS_OPTIONAL);
	assert_true(contains(buf_slice(&m), "\r\nTLS-Required: No\r\n"));
	env.flags = ENV_REQUIRETLS;
	assert_int_equal(notify(b, &env, slice_str(content), &m).flags, ENV_REQUIRETLS);
	assert_false(contains(buf_slice(&m), "TLS-Required"));
	buf_fini(&m);
}

static void
spec_2_3_notifications_are_gated_built_and_signed(void **state)
{
	static const char content[] = "From: A <a@esp.example>\r\nMessage-ID: <1@esp>\r\n\r\nx\r\n";
	struct envelope env = { .mail_from = SLICE_LIT("a@esp.example"), .spf = AUTH_PASS };
	struct bench *b = *state;
	struct buf m;

	buf_init(&m, DSN_MAX);
	b->domain.dkim_selector = mem_str("d1");
	b->domain.dkim_key_file = mem_str("/etc/d");
	assert_int_equal(seal_ops.start(&b->role), 0);
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_OK);
	assert_true(slice_istarts(buf_slice(&m), SLICE_LIT("DKIM-Signature: ")));
	assert_true(contains(buf_slice(&m), "d=example.it; s=d1;"));
	assert_true(contains(buf_slice(&m), "\r\nStatus: 5.1.1\r\n"));
	assert_int_equal(b->notified.flags, 0);
	/* nobody vouches for the sender; DMARC for the author's organization does (2.3.5) */
	env.spf = AUTH_NONE;
	env.dmarc = AUTH_PASS;
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_SUPPRESSED);
	assert_true(slice_eq(b->notified.reason, SLICE_LIT("unauthenticated")));
	env.flags = ENV_ALIGNED;
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_OK);
	/* two to one target are all, three to one domain */
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_SUPPRESSED);
	assert_true(slice_eq(b->notified.reason, SLICE_LIT("rate-target")));
	env.mail_from = SLICE_LIT("b@esp.example");
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_OK);
	env.mail_from = SLICE_LIT("c@esp.example");
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_SUPPRESSED);
	assert_true(slice_eq(b->notified.reason, SLICE_LIT("rate-domain")));
	env.mail_from = SLICE_NONE;
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_SUPPRESSED);
	assert_true(slice_eq(b->notified.reason, SLICE_LIT("null-sender")));
	env.mail_from = SLICE_LIT("not an address");
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_ERROR);
	/* a new limit counts from the start */
	b->conf.dsn_per_target = 5;
	b->conf.dsn_per_domain = 5;
	seal_ops.reload(&b->role);
	env.mail_from = SLICE_LIT("c@esp.example");
	assert_int_equal(notify(b, &env, slice_str(content), &m).status, NOTIFIED_OK);
	buf_fini(&m);
}

static void
no_forwarder(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();

	free(b->conf.forwarder.domain);
	b->conf.forwarder.domain = NULL;
	b->secret = b->key = NULL;
	assert_int_equal(seal_ops.start(&b->role), 0);
	expect_status(b, &q, SEAL_HOLD, "no-forwarder");
	check(b, OPAQUE, SEAL_INVALID);
	/* the null return path needs no forwarder */
	q = question_make();
	b->domain.return_path = RETURN_NULL;
	expect_status(b, &q, SEAL_OK, "");
	assert_int_equal(b->prepared.mail_from.n, 0);
	assert_true(slice_istarts(b->prepared.prefix, SLICE_LIT("Delivered-To: second@")));
}

static void
start_with_bad_keys(void **state)
{
	static const struct {
		const char	*secret, *key;
		unsigned	 hash_length, hash_min;
		int		 ret;
	} t[] = {
		{ NULL, "rsa", 8, 8, -1 }, { "", "rsa", 8, 8, -1 }, { "# only this\n", "rsa", 8, 8, -1 },
		{ "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "rsa", 8, 8, -1 },
		{ "s", NULL, 8, 8, -1 }, { "s", "", 8, 8, -1 }, { "s", "no key", 8, 8, -1 },
		{ "s", "rsa", 8, 9, -1 }, { "s", "rsa", 27, 8, 0 }, { "s", "rsa", 29, 8, -1 },
		{ "s", "rsa", 8, 8, 0 },
	};
	struct bench *b = *state;

	log_open("seal_test", LOG_LVL_ERROR);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		b->secret = t[i].secret;
		b->key = t[i].key != NULL && strcmp(t[i].key, "rsa") == 0 ? rsa_pem : t[i].key;
		b->conf.forwarder.hash_length = t[i].hash_length;
		b->conf.forwarder.hash_min = t[i].hash_min;
		assert_int_equal(seal_ops.start(&b->role), t[i].ret);
		assert_int_equal(b->role.priv == NULL, t[i].ret != 0);
		if (t[i].ret == 0)
			seal_ops.stop(&b->role);
	}
	/* no selector, no key wanted */
	free(b->conf.forwarder.dkim_selector);
	b->conf.forwarder.dkim_selector = NULL;
	b->key = "no key";
	assert_int_equal(seal_ops.start(&b->role), 0);
}

/* Which key seals: its own, the DKIM key, or none. */
static void
arc_keys_5_2(void **state)
{
	static const struct {
		bool		 on, own;
		const char	*dkim, *arc;		/* "rsa", "ed", NULL: no such resource */
		int		 ret;
		const char	*seal;		/* that the copy has, NULL for none */
	} t[] = {
		{ true, false, "rsa", NULL, 0, " s=s2026;" },
		{ false, false, "rsa", NULL, 0, NULL },
		{ false, true, "rsa", "rsa", 0, NULL },
		{ true, true, "rsa", "rsa", 0, " s=arc1;" },
		{ true, true, "ed", "rsa", 0, " s=arc1;" },
		{ true, false, "ed", NULL, 0, NULL },
		{ true, true, "rsa", "ed", -1, NULL },
		{ true, true, "rsa", NULL, -1, NULL },
		{ true, true, "rsa", "no key", -1, NULL },
	};
	struct bench *b = *state;
	struct question q;

	log_open("seal_test", LOG_LVL_ERROR);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct conf_forwarder *f = &b->conf.forwarder;

		free(f->arc_selector);
		free(f->arc_key_file);
		f->arc_selector = t[i].own ? mem_str("arc1") : NULL;
		f->arc_key_file = t[i].own ? mem_str("/etc/a") : NULL;
		f->arc = t[i].on;
		b->key = strcmp(t[i].dkim, "ed") == 0 ? other_pem : rsa_pem;
		b->arc = t[i].arc == NULL || strcmp(t[i].arc, "no key") == 0 ? t[i].arc :
		    strcmp(t[i].arc, "ed") == 0 ? other_pem : rsa_pem;
		assert_int_equal(seal_ops.start(&b->role), t[i].ret);
		if (t[i].ret != 0)
			continue;
		q = question_make();
		q.env.authres = SLICE_LIT("mx2.example.it; none");
		expect_status(b, &q, SEAL_OK, "");
		assert_int_equal(contains(b->prepared.prefix, "ARC-Seal: i=1; a=rsa-sha256;"),
		    t[i].seal != NULL);
		if (t[i].seal != NULL)
			assert_true(contains(slice_sub(b->prepared.prefix, 0, 120), t[i].seal));
		seal_ops.stop(&b->role);
		b->role.priv = NULL;
	}
}

static void
reload(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();
	struct buf out;

	assert_int_equal(seal_ops.start(&b->role), 0);
	/* the new secret signs, the old one still verifies (1.2.10); the new key is used */
	b->secret = "brand-new\ncorrect-horse-battery\n";
	b->key = other_pem;
	seal_ops.reload(&b->role);
	expect_status(b, &q, SEAL_OK, "");
	assert_true(contains(b->prepared.prefix, "a=ed25519-sha256"));
	assert_false(slice_eq(b->prepared.mail_from, SLICE_LIT(OPAQUE)));
	check(b, OPAQUE, SEAL_VALID_OPAQUE);
	/* what cannot be used changes nothing */
	b->secret = NULL;
	b->key = "no key";
	seal_ops.reload(&b->role);
	q = question_make();
	expect_status(b, &q, SEAL_OK, "");
	assert_true(contains(b->prepared.prefix, "a=ed25519-sha256"));
	check(b, OPAQUE, SEAL_VALID_OPAQUE);
	/* the old secret is dropped */
	b->secret = "brand-new\n";
	b->key = rsa_pem;
	seal_ops.reload(&b->role);
	check(b, OPAQUE, SEAL_INVALID);

	buf_init(&out, 512);
	seal_ops.status(&b->role, &out);
	assert_true(slice_eq(buf_slice(&out), SLICE_LIT("\"prepared\":2,\"held\":0,\"errors\":0,"
	    "\"checked\":3,\"invalid\":1,\"sealed\":0,\"rewritten\":0,\"receipts\":0,"
	    "\"signs\":true,\"seals\":false,\"notices\":0,\"notices_suppressed\":0,"
	    "\"notice_errors\":0,\"user_notices\":0")));
	buf_fini(&out);
	seal_ops.stop(&b->role);
	assert_true(b->done);
}

static void
hostile_frames(void **state)
{
	struct bench *b = *state;
	struct question q = question_make();
	struct seal_check c = { .req = 1 };
	int fd = body_make(SLICE_LIT("x"));

	assert_int_equal(seal_ops.start(&b->role), 0);
	/* malformed, unknown, and right ones from the wrong peer: no answer, no harm */
	seal_ops.message(&b->role, ROLE_QUEUE, 0, b->seal, SEAL_PREPARE, SLICE_LIT("?"), fd);
	seal_ops.message(&b->role, ROLE_RELAY, 0, b->seal, SEAL_CHECK, SLICE_NONE, -1);
	seal_ops.message(&b->role, ROLE_RELAY, 0, b->seal, SEAL_PREPARE, SLICE_LIT("?"),
	    body_make(SLICE_NONE));
	seal_ops.message(&b->role, ROLE_VERIFY, 0, b->seal, 99, SLICE_NONE, -1);
	b->who = ROLE_QUEUE;
	assert_int_equal(ipc_send(b->peer, SEAL_CHECK, &seal_check_wire, &c, -1), 0);
	assert_int_equal(ipc_wait(b->seal, 1000), 1);
	assert_int_equal(ipc_wait(b->peer, 0), 0);
	/* the descriptor was closed by its new owner */
	assert_int_equal(dup(fd), -1);
	expect_status(b, &q, SEAL_OK, "");
	/* after the stop nothing is answered */
	seal_ops.stop(&b->role);
	seal_ops.message(&b->role, ROLE_QUEUE, 0, b->seal, SEAL_PREPARE, SLICE_LIT("?"), -1);
	seal_ops.reload(&b->role);
	assert_int_equal(ipc_wait(b->peer, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(prepare_a_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(prepare_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(spec_9_1_a_copy_is_known_again, setup, teardown),
		cmocka_unit_test_setup_teardown(check_2_2_1, setup, teardown),
		cmocka_unit_test_setup_teardown(tokens_name_their_leg_1_4_3, setup, teardown),
		cmocka_unit_test_setup_teardown(spec_2_3_notifications_are_gated_built_and_signed,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(rfc_8689_5_notifications_keep_what_is_asked_of_tls,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(no_forwarder, setup, teardown),
		cmocka_unit_test_setup_teardown(start_with_bad_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(arc_keys_5_2, setup, teardown),
		cmocka_unit_test_setup_teardown(reload, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_frames, setup, teardown),
	};

	return cmocka_run_group_tests_name("policy/seal", tests, group_setup, NULL);
}
