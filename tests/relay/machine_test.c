// SPDX-License-Identifier: Apache-2.0
/* The machine alone: (state, line) -> (reply, action, next), and what it remembers. The
 * dialogues (session_test.c) cover the wording; here are the corners a dialogue passes by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "relay/smtp_machine.h"

struct bench {
	struct conf		*conf;
	struct smtp_machine	 m;
	struct buf		 reply;
};

static int
setup(void **state)
{
	static const char text[] =
	    "hostname = \"mx.example.net\"\nstate-dir = \"/nonexistent\"\n"
	    "listen \"127.0.0.1:2525\" { }\n"
	    "forwarder { domain = \"fwd.example.net\" secret-file = \"/nonexistent/s\" }\n"
	    "domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n";
	struct bench *b = mem_new(sizeof(*b));
	struct conf_errors e = { 0 };

	buf_init(&e.text, 65536);
	b->conf = conf_parse(slice_str(text), "test", &e);
	if (b->conf == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	buf_init(&b->reply, 16384);
	smtp_machine_init(&b->m, b->conf);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	smtp_machine_fini(&b->m);
	conf_free(&b->conf);
	buf_fini(&b->reply);
	free(b);
	return 0;
}

static struct smtp_step
say(struct bench *b, enum smtp_state st, const char *line)
{
	buf_clear(&b->reply);
	return smtp_machine_line(&b->m, st, SMTP_LEX_LINE, slice_str(line), &b->reply);
}

/* The whole reply is checked to be well formed: codes agree, lines end, enhanced code. */
static void
expect(struct bench *b, struct smtp_step s, enum smtp_state next, enum smtp_action action,
    const char *code)
{
	struct slice r = buf_slice(&b->reply);

	if (s.next != next || s.action != action)
		fail_msg("next %s action %d, reply %.*s", smtp_state_name(s.next),
		    (int)s.action, SLICE_FMT(r));
	if (code == NULL) {
		assert_int_equal(r.n, 0);
		return;
	}
	if (r.n < 5 || memcmp(r.p, code, strlen(code)) != 0)
		fail_msg("reply %.*s, not %s", SLICE_FMT(r), code);
	assert_memory_equal(r.p + r.n - 2, "\r\n", 2);
}

/* Every command in every state: the table says where it is allowed. */
static void
test_states(void **state)
{
	static const struct {
		const char *line;
		const char *code[4];	/* in greeted, ready, mail, rcpt; NULL: no reply yet */
	} t[] = {
		{ "EHLO c", { "250-", "250-", "250-", "250-" } },
		{ "helo c", { "250 ", "250 ", "250 ", "250 " } },
		{ "MAIL FROM:<a@b.example>", { "503 5.5.1", "250 2.1.0", "503 5.5.1",
		    "503 5.5.1" } },
		{ "RCPT TO:<u@example.it>", { "503 5.5.1", "503 5.5.1", NULL, NULL } },
		{ "DATA", { "503 5.5.1", "503 5.5.1", "503 5.5.1", NULL } },
		{ "RSET", { "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0" } },
		{ "NOOP", { "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0" } },
		{ "QUIT", { "221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0" } },
		{ "VRFY x", { "252 2.5.0", "252 2.5.0", "252 2.5.0", "252 2.5.0" } },
		{ "EXPN x", { "502 5.5.1", "502 5.5.1", "502 5.5.1", "502 5.5.1" } },
		{ "HELP", { "214 2.0.0", "214 2.0.0", "214 2.0.0", "214 2.0.0" } },
		{ "STARTTLS", { "502 5.5.1", "502 5.5.1", "503 5.5.1", "503 5.5.1" } },
		/* The answer comes after the octets, or the session ends. */
		{ "BDAT 1 LAST", { NULL, NULL, NULL, NULL } },
		{ "BDAT 1x", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "BDAT 1 LAST 2", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "BDAT -1", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "BDAT 99999999999999999999", { "501 5.5.4", "501 5.5.4", "501 5.5.4",
		    "501 5.5.4" } },
		{ " BDAT 1", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "BDAT\t1", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "BDAT", { "501 5.5.4", "501 5.5.4", "501 5.5.4", "501 5.5.4" } },
		{ "AUTH PLAIN", { "500 5.5.1", "500 5.5.1", "500 5.5.1", "500 5.5.1" } },
		{ "", { "500 5.5.1", "500 5.5.1", "500 5.5.1", "500 5.5.1" } },
		{ " NOOP", { "500 5.5.1", "500 5.5.1", "500 5.5.1", "500 5.5.1" } },
	};
	static const enum smtp_state st[4] = { SMTP_GREETED, SMTP_READY, SMTP_MAIL, SMTP_RCPT };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (int k = 0; k < 4; k++) {
			void *p;
			struct bench *b;

			(void)setup(&p);
			b = p;
			b->m.mail_from = k >= 2 ? mem_str("a@b.example") : NULL;
			(void)say(b, st[k], t[i].line);
			struct slice r = buf_slice(&b->reply);
			const char *want = t[i].code[k];
			if (want == NULL ? r.n > 0 : r.n < strlen(want) ||
			    memcmp(r.p, want, strlen(want)) != 0)
				fail_msg("\"%s\" in %s: %.*s", t[i].line,
				    smtp_state_name(st[k]), SLICE_FMT(r));
			(void)teardown(&p);
		}
	}
}

static void
known(struct bench *b, const char *user)
{
	struct smtp_rcpt_answer a = { .verdict = SMTP_RCPT_KNOWN, .user = slice_str(user) };

	buf_clear(&b->reply);
	expect(b, smtp_machine_rcpt(&b->m, &a, &b->reply), SMTP_RCPT, SMTP_DO_NOTHING,
	    "250 2.1.5");
}

static void
test_transaction(void **state)
{
	struct bench *b = *state;
	struct smtp_rcpt_answer no = { .verdict = SMTP_RCPT_UNKNOWN };
	struct slice list;
	struct envelope_rcpt r;

	expect(b, say(b, SMTP_GREETED, "EHLO c"), SMTP_READY, SMTP_DO_NOTHING, "250-");
	expect(b, say(b, SMTP_READY, "MAIL FROM:<A@b.example> SIZE=7 BODY=8bitMIME"), SMTP_MAIL,
	    SMTP_DO_SENDER, "250 2.1.0");
	assert_string_equal(b->m.mail_from, "A@b.example");
	assert_int_equal(b->m.size, 7);
	assert_true(b->m.body_8bit);
	expect(b, say(b, SMTP_MAIL, "RCPT TO:<U+tag@EXAMPLE.it>"), SMTP_WAIT_RCPT,
	    SMTP_DO_DIRECTORY, NULL);
	assert_string_equal(b->m.pending->address, "U+tag@EXAMPLE.it");
	known(b, "u@example.it");
	expect(b, say(b, SMTP_RCPT, "RCPT TO:<v@example.it>"), SMTP_WAIT_RCPT,
	    SMTP_DO_DIRECTORY, NULL);
	buf_clear(&b->reply);
	expect(b, smtp_machine_rcpt(&b->m, &no, &b->reply), SMTP_RCPT, SMTP_DO_NOTHING,
	    "550 5.1.1");
	expect(b, say(b, SMTP_RCPT, "RCPT TO:<abuse@example.it>"), SMTP_WAIT_RCPT,
	    SMTP_DO_DIRECTORY, NULL);
	buf_clear(&b->reply);
	expect(b, smtp_machine_rcpt(&b->m, &no, &b->reply), SMTP_RCPT, SMTP_DO_NOTHING,
	    "250 2.1.5");
	assert_int_equal(b->m.nrcpt, 2);
	list = buf_slice(&b->m.rcpts);
	assert_int_equal(wire_item_next(&list, &envelope_rcpt_wire, &r), 1);
	assert_int_equal(r.kind, RCPT_USER);
	assert_true(slice_eq(r.address, SLICE_LIT("U+tag@EXAMPLE.it")));
	assert_true(slice_eq(r.user, SLICE_LIT("u@example.it")));
	assert_true(slice_eq(r.domain, SLICE_LIT("example.it")));
	assert_int_equal(wire_item_next(&list, &envelope_rcpt_wire, &r), 1);
	assert_int_equal(r.kind, RCPT_POSTMASTER);
	expect(b, say(b, SMTP_RCPT, "DATA"), SMTP_WAIT_MEMORY, SMTP_DO_BODY, NULL);
	expect(b, smtp_machine_body(&b->m, true, &b->reply), SMTP_DATA, SMTP_DO_NOTHING, "354 ");
	buf_clear(&b->reply);
	expect(b, smtp_machine_end(&b->m, 0, &b->reply), SMTP_WAIT_VERDICT, SMTP_DO_KEEP, NULL);
	expect(b, smtp_machine_kept(&b->m, SMTP_KEPT, SLICE_LIT("id"), &b->reply), SMTP_READY,
	    SMTP_DO_NOTHING, "250 2.0.0 kept as id\r\n");
	/* Nothing of it is left for the next. */
	assert_null(b->m.mail_from);
	assert_int_equal(b->m.nrcpt, 0);
	assert_int_equal(b->m.size, 0);
	assert_false(b->m.body_8bit);
	assert_string_equal(b->m.helo, "c");
}

/* 250 for a message has one way in: nothing else answers 2yz after content (P1), and our
 * own troubles never say 5yz (P2). */
static void
test_after_content(void **state)
{
	static const struct { unsigned faults; const char *code; } t[] = {
		{ SMTP_FAULT_SIZE, "552 5.3.4" },
		{ SMTP_FAULT_MEMORY, "452 4.3.1" },
		{ SMTP_FAULT_LOCAL, "451 4.3.0" },
		{ SMTP_FAULT_LOCAL | SMTP_FAULT_SIZE, "451 4.3.0" },
		{ SMTP_FAULT_MEMORY | SMTP_FAULT_LONG, "452 4.3.1" },
		{ SMTP_FAULT_MEMORY | SMTP_FAULT_HEADER, "452 4.3.1" },
		{ SMTP_FAULT_HEADER, "552 5.3.4" },
		{ SMTP_FAULT_HEADER_NUL, "550 5.6.0" },
		{ SMTP_FAULT_LONG, "554 5.6.0" },
	};
	static const struct { enum smtp_kept what; const char *text, *code; } k[] = {
		{ SMTP_KEPT_FULL, "", "452 4.3.1" },
		{ SMTP_KEPT_ERROR, "", "451 4.3.0" },
		{ SMTP_KEPT_REFUSED, "554 5.4.6 too many hops", "554 5.4.6 too many hops\r\n" },
		{ SMTP_KEPT_REFUSED, "550 5.6.0 no", "550 5.6.0 no\r\n" },
		{ SMTP_KEPT_REFUSED, "", "451 4.3.0" },
		{ SMTP_KEPT_REFUSED, "250 2.0.0 ok", "451 4.3.0" },
		{ SMTP_KEPT_REFUSED, "5xx no", "451 4.3.0" },
		{ SMTP_KEPT_REFUSED, "550-5.6.0 more", "451 4.3.0" },
		{ SMTP_KEPT_REFUSED, "550 a\r\n250 b", "451 4.3.0" },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_clear(&b->reply);
		expect(b, smtp_machine_end(&b->m, t[i].faults, &b->reply), SMTP_READY,
		    SMTP_DO_NOTHING, t[i].code);
	}
	for (size_t i = 0; i < sizeof(k) / sizeof(k[0]); i++) {
		buf_clear(&b->reply);
		expect(b, smtp_machine_kept(&b->m, k[i].what, slice_str(k[i].text), &b->reply),
		    SMTP_READY, SMTP_DO_NOTHING, k[i].code);
	}
	buf_clear(&b->reply);
	expect(b, smtp_machine_end(&b->m, SMTP_FAULT_BARE, &b->reply), SMTP_WAIT_VERDICT,
	    SMTP_DO_KEEP, NULL);
	b->conf->bare_newline_reject = true;
	expect(b, smtp_machine_end(&b->m, SMTP_FAULT_BARE, &b->reply), SMTP_READY,
	    SMTP_DO_NOTHING, "550 5.5.2");
}

/* So many long recipients that the envelope would not fit: 452, the rest next time. */
static void
test_envelope_bound(void **state)
{
	struct bench *b = *state;
	char line[400], user[300];
	unsigned taken = 0;

	b->conf->recipients_max = 1000;
	(void)say(b, SMTP_GREETED, "EHLO c");
	(void)say(b, SMTP_READY, "MAIL FROM:<>");
	for (unsigned i = 0; i < 1000; i++) {
		struct smtp_rcpt_answer a = { .verdict = SMTP_RCPT_KNOWN };
		struct smtp_step s;

		(void)snprintf(line, sizeof(line), "RCPT TO:<u%055u@example.it>", i);
		(void)snprintf(user, sizeof(user), "u%055u@example.it", i);
		expect(b, say(b, SMTP_RCPT, line), SMTP_WAIT_RCPT, SMTP_DO_DIRECTORY, NULL);
		a.user = slice_str(user);
		s = smtp_machine_rcpt(&b->m, &a, &b->reply);
		if (buf_slice(&b->reply).p[0] == '4')
			expect(b, s, SMTP_RCPT, SMTP_DO_NOTHING, "452 4.5.3");
		else
			taken++;
	}
	assert_in_range(taken, 300, 999);
	assert_int_equal(b->m.nrcpt, taken);
	assert_true(buf_len(&b->m.rcpts) <= SMTP_RCPTS_MAX);
}

/* Whatever bytes come as a line: one well-formed reply, or a question to somebody. */
static void
test_noise(void **state)
{
	static const char *const part[] = { "MAIL", "FROM:", "RCPT", "TO:", "<", ">", "@",
		"a", "example.it", " ", "\t", "\"", "\\", "SIZE=", "=", "BODY=", "\xff",
		"[1.2.3.4]", ":", ",", "@fwd.example.net", "DATA", "EHLO", "%s", "9999999999" };
	struct bench *b = *state;
	unsigned seed = 1;

	b->conf->errors_max = UINT32_MAX;
	for (int i = 0; i < 200000; i++) {
		enum smtp_state st = SMTP_GREETED + i % 4;
		struct smtp_step s;
		char line[300] = "";
		struct slice r;

		if (st >= SMTP_MAIL && b->m.mail_from == NULL)
			b->m.mail_from = mem_str("");
		for (unsigned n = 0; n < 10; n++) {
			seed = seed * 1103515245u + 12345u;
			const char *p = part[(seed >> 16) % (sizeof(part) / sizeof(part[0]))];
			(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s",
			    p);
		}
		s = say(b, st, line);
		r = buf_slice(&b->reply);
		if (s.next == SMTP_WAIT_RCPT || s.next == SMTP_WAIT_MEMORY) {
			assert_int_equal(r.n, 0);
			continue;
		}
		assert_true(r.n > 5 && r.p[0] >= '2' && r.p[0] <= '5');
		assert_memory_equal(r.p + r.n - 2, "\r\n", 2);
	}
}

static void
test_tls_forgets(void **state)
{
	struct bench *b = *state;

	b->m.tls_offered = true;
	(void)say(b, SMTP_GREETED, "EHLO c");
	assert_non_null(memmem(b->reply.p + b->reply.off, buf_len(&b->reply),
	    "250-STARTTLS\r\n", 14));
	/* RFC 8689 2: REQUIRETLS is neither offered nor taken in the clear */
	assert_null(memmem(b->reply.p + b->reply.off, buf_len(&b->reply), "REQUIRETLS", 10));
	expect(b, say(b, SMTP_READY, "MAIL FROM:<a@b.example> REQUIRETLS"), SMTP_READY,
	    SMTP_DO_NOTHING, "555 5.5.4");
	expect(b, say(b, SMTP_READY, "STARTTLS now"), SMTP_READY, SMTP_DO_NOTHING, "501 5.5.4");
	expect(b, say(b, SMTP_READY, "STARTTLS"), SMTP_TLS, SMTP_DO_TLS, "220 2.0.0");
	assert_int_equal(smtp_machine_tls(&b->m).next, SMTP_GREETED);
	assert_null(b->m.helo);
	(void)say(b, SMTP_GREETED, "EHLO c");
	assert_null(memmem(b->reply.p + b->reply.off, buf_len(&b->reply), "STARTTLS", 8));
	assert_non_null(memmem(b->reply.p + b->reply.off, buf_len(&b->reply),
	    "250-REQUIRETLS\r\n", 16));
	expect(b, say(b, SMTP_READY, "MAIL FROM:<a@b.example> REQUIRETLS"), SMTP_MAIL,
	    SMTP_DO_SENDER, "250 2.1.0");
	assert_true(b->m.requiretls);
	(void)say(b, SMTP_MAIL, "RSET");
	assert_false(b->m.requiretls);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),
		cmocka_unit_test_setup_teardown(test_transaction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_after_content, setup, teardown),
		cmocka_unit_test_setup_teardown(test_envelope_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tls_forgets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
