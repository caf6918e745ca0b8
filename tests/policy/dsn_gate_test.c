// SPDX-License-Identifier: Apache-2.0
/* The gate in front of delivery notifications (spec 2.3.1, 2.3.4, 2.3.5, 9.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/dsn_gate.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define CONTENT	"From: Anna <anna@sender.example>\r\nSubject: x\r\n\r\nCiao\r\n"

struct bench {
	struct envelope		env;
	struct envelope_rcpt	rcpt;
};

static int
setup(void **state)
{
	*state = mem_new(sizeof(struct bench));
	return 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static const struct gate_case {
	const char *what, *from, *content;
	enum auth_result spf, dmarc;
	const char *author, *author_org, *sender_org;
	uint8_t notify;
	enum dsn_action action;
	const char *want;
} gate_cases[] = {
	{ "spf pass", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0, DSN_FAILED, "" },
	{ "dmarc, same domain", "a@S.Example", CONTENT, AUTH_NONE, AUTH_PASS, "s.example", "", "",
	  0, DSN_FAILED, "" },
	{ "dmarc, same organization", "a@b.s.example", CONTENT, AUTH_NONE, AUTH_PASS, "x.s.example",
	  "s.example", "s.example", 0, DSN_FAILED, "" },
	{ "dmarc of somebody else", "a@s.example", CONTENT, AUTH_NONE, AUTH_PASS, "evil.example",
	  "evil.example", "s.example", 0, DSN_FAILED, "unauthenticated" },
	{ "dmarc, nothing known", "a@s.example", CONTENT, AUTH_NONE, AUTH_PASS, "", "", "", 0,
	  DSN_FAILED, "unauthenticated" },
	{ "dmarc fail", "a@s.example", CONTENT, AUTH_NONE, AUTH_FAIL, "s.example", "s.example",
	  "s.example", 0, DSN_FAILED, "unauthenticated" },
	{ "spf fail", "a@s.example", CONTENT, AUTH_FAIL, AUTH_NONE, "", "", "", 0, DSN_FAILED,
	  "unauthenticated" },
	{ "spf softfail", "a@s.example", CONTENT, AUTH_SOFTFAIL, AUTH_NONE, "", "", "", 0,
	  DSN_FAILED,
	  "unauthenticated" },
	{ "spf neutral", "a@s.example", CONTENT, AUTH_NEUTRAL, AUTH_NONE, "", "", "", 0, DSN_FAILED,
	  "unauthenticated" },
	{ "not evaluated", "a@s.example", CONTENT, AUTH_UNSET, AUTH_UNSET, "", "", "", 0,
	  DSN_FAILED,
	  "unauthenticated" },
	{ "temperror", "a@s.example", CONTENT, AUTH_TEMPERROR, AUTH_TEMPERROR, "", "", "", 0,
	  DSN_FAILED, "unauthenticated" },
	{ "null sender", "", CONTENT, AUTH_PASS, AUTH_PASS, "", "", "", 0, DSN_FAILED,
	  "null-sender" },
	{ "no address", "a b@c.it", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0, DSN_FAILED,
	  "bad-sender" },
	{ "our return path", "SRS0=x=AA=n1=t@fwd.example.it", CONTENT, AUTH_PASS, AUTH_NONE, "",
	  "", "",
	  0, DSN_FAILED, "return-path" },
	{ "in another case", "x@FWD.Example.IT", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_FAILED, "return-path" },
	{ "postmaster", "PostMaster@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_FAILED, "postmaster" },
	{ "mailer-daemon", "MAILER-DAEMON@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_FAILED, "postmaster" },
	{ "postmaster alone", "postmaster", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_FAILED,
	  "bad-sender" },
	/* 9.1: its header may name the recovery address by now */
	{ "came back", "a@s.example", "x-fwd-loop: 00\r\nDelivered-To: r@m.example\r\n" CONTENT,
	  AUTH_PASS, AUTH_NONE, "", "", "", 0, DSN_FAILED, "loop" },
	{ "not in the header", "a@s.example", CONTENT "X-Fwd-Loop: 00\r\n", AUTH_PASS, AUTH_NONE,
	  "",
	  "", "", 0, DSN_FAILED, "" },
	/* 2.3.4, 2.3.1 */
	{ "never", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", NOTIFY_NEVER,
	  DSN_FAILED,
	  "notify" },
	{ "success only", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", NOTIFY_SUCCESS,
	  DSN_FAILED, "notify" },
	{ "failure", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "",
	  NOTIFY_SUCCESS | NOTIFY_FAILURE, DSN_FAILED, "" },
	{ "no delay asked", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_DELAYED,
	  "notify" },
	{ "delay", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", NOTIFY_DELAY,
	  DSN_DELAYED,
	  "" },
	{ "delivered", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", NOTIFY_SUCCESS,
	  DSN_DELIVERED, "" },
	{ "relayed", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", NOTIFY_SUCCESS,
	  DSN_RELAYED, "" },
	{ "no success asked", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "",
	  NOTIFY_FAILURE,
	  DSN_DELIVERED, "notify" },
	{ "relayed, not asked", "a@s.example", CONTENT, AUTH_PASS, AUTH_NONE, "", "", "", 0,
	  DSN_RELAYED, "notify" },
};

static struct dsn_question
question(struct bench *b, const char *from, int64_t now)
{
	b->env = (struct envelope){ .mail_from = slice_str(from), .spf = AUTH_PASS };
	b->rcpt = (struct envelope_rcpt){ .address = SLICE_LIT("mario@example.it") };
	return (struct dsn_question){
		.env = &b->env, .rcpt = &b->rcpt, .action = DSN_FAILED,
		    .content = slice_str(CONTENT),
		.return_path = SLICE_LIT("fwd.example.it"), .now_ms = now
	};
}

static void
gate_2_3_4_and_2_3_5(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < N(gate_cases); i++) {
		const struct gate_case *t = &gate_cases[i];
		struct dsn_limits *l = dsn_limits_new(16, 16);
		struct dsn_question q = question(b, t->from, 0);

		b->env.spf = (uint8_t)t->spf;
		b->env.dmarc = (uint8_t)t->dmarc;
		b->rcpt.notify = t->notify;
		q.action = t->action;
		q.content = slice_str(t->content);
		q.author = slice_str(t->author);
		q.author_org = slice_str(t->author_org);
		q.sender_org = slice_str(t->sender_org);
		if (strcmp(dsn_gate(&q, l), t->want) != 0)
			print_error("%s\n", t->what);
		dsn_limits_free(&l);
		l = dsn_limits_new(16, 16);
		assert_string_equal(dsn_gate(&q, l), t->want);
		dsn_limits_free(&l);
		assert_null(l);
	}
}

static void
gate_per_target_2_3_5(void **state)
{
	const int64_t hour = 3600000, start = 5 * hour;
	struct bench *b = *state;
	struct dsn_limits *l = dsn_limits_new(64, 64);
	struct dsn_question q = question(b, "a@s.example", start);

	for (int i = 0; i < DSN_PER_TARGET; i++) {
		q.now_ms = start + i * 1000;
		assert_string_equal(dsn_gate(&q, l), "");
	}
	q.now_ms = start + 10000;
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	/* the same one in other letters; another one is free */
	b->env.mail_from = SLICE_LIT("A@S.EXAMPLE");
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	b->env.mail_from = SLICE_LIT("b@s.example");
	assert_string_equal(dsn_gate(&q, l), "");
	/* any 60 minutes: each one that grows old makes room for one */
	b->env.mail_from = SLICE_LIT("a@s.example");
	q.now_ms = start + hour - 1;
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	q.now_ms = start + hour;
	assert_string_equal(dsn_gate(&q, l), "");
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	q.now_ms = start + hour + 2000;
	assert_string_equal(dsn_gate(&q, l), "");
	assert_string_equal(dsn_gate(&q, l), "");
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	/* what was refused did not count */
	q.now_ms = start + 3 * hour;
	for (int i = 0; i < DSN_PER_TARGET; i++)
		assert_string_equal(dsn_gate(&q, l), "");
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	dsn_limits_free(&l);
}

static void
gate_per_domain_2_3_5(void **state)
{
	struct bench *b = *state;
	struct dsn_limits *l = dsn_limits_new(1024, 64);
	struct dsn_question q;
	char from[64];

	for (int i = 0; i < DSN_PER_DOMAIN; i++) {
		snprintf(from, sizeof(from), "u%d@s.example", i);
		q = question(b, from, 1000);
		assert_string_equal(dsn_gate(&q, l), "");
	}
	q = question(b, "another@S.example", 1000);
	assert_string_equal(dsn_gate(&q, l), "rate-domain");
	q = question(b, "another@t.example", 1000);
	assert_string_equal(dsn_gate(&q, l), "");
	q = question(b, "another@s.example", 1000 + 3600000);
	assert_string_equal(dsn_gate(&q, l), "");
	dsn_limits_free(&l);
}

/* The table has an end; then nobody gets anything rather than everybody without count. */
static void
gate_table_is_bounded(void **state)
{
	struct bench *b = *state;
	struct dsn_limits *l = dsn_limits_new(32, 32);
	struct dsn_question q;
	unsigned yes = 0, full = 0;
	const char *said;
	char from[64];

	for (int i = 0; i < 1000; i++) {
		snprintf(from, sizeof(from), "u@s%d.example", i);
		q = question(b, from, 1000);
		said = dsn_gate(&q, l);
		yes += said[0] == '\0';
		full += strcmp(said, "rate-table") == 0;
	}
	assert_int_equal(yes + full, 1000);
	assert_true(yes >= 16 && yes <= 32);
	/* those in it are still counted, and an hour later there is room */
	q = question(b, "u@s0.example", 1000);
	for (int i = 1; i < DSN_PER_TARGET; i++)
		assert_string_equal(dsn_gate(&q, l), "");
	assert_string_equal(dsn_gate(&q, l), "rate-target");
	q = question(b, "new@new.example", 1000 + 3600000);
	assert_string_equal(dsn_gate(&q, l), "");
	dsn_limits_free(&l);
	dsn_limits_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gate_2_3_4_and_2_3_5),
		cmocka_unit_test(gate_per_target_2_3_5),
		cmocka_unit_test(gate_per_domain_2_3_5),
		cmocka_unit_test(gate_table_is_bounded),
	};

	return cmocka_run_group_tests_name("policy/dsn_gate", tests, setup, teardown);
}
