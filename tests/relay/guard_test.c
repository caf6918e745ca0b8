// SPDX-License-Identifier: Apache-2.0
/*
 * The bounds that keep a normal client served (relay/smtp_guard.h), over socket pairs with
 * the clock in hand: each one at its edge, and who is exempt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/relay/front.h"

#define BANNER	"220 mx.example.net ESMTP Salvaposta\r\n"
#define MAIL_TO_MARIO	"EHLO c\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<mario@example.it>\r\n"

static int64_t now_ms;

static void
jump(int64_t ms)
{
	now_ms = ms == 0 ? 1000 : now_ms + ms;
	clock_fake(1000, now_ms);
}

static struct smtp_server_stats
stats(const struct front *f)
{
	struct smtp_server_stats st;

	smtp_server_stats(f->server, &st);
	return st;
}

static int
clock_back(void **state)
{
	(void)state;
	clock_fake(-1, -1);
	return 0;
}

/* All slots taken: the one idle longest makes room, whoever sends stays. */
static void
test_eviction(void **state)
{
	struct client idle, sending, late, more;
	struct front f;

	(void)state;
	jump(0);
	front_init(&f, "sessions-max = 2\ndata-rate-min = 0", NULL);
	client_init(&sending, &f);
	client_say(&sending, MAIL_TO_MARIO "DATA\r\n");
	client_expect(&sending, "354 end with CR LF . CR LF\r\n");
	client_init(&idle, &f);
	client_expect(&idle, BANNER);
	jump(99);	/* too young to be sent away */
	client_init(&late, &f);
	client_expect(&late, "421 4.3.2 mx.example.net has too many sessions, try again later\r\n");
	client_fini(&late);
	jump(1);
	client_init(&late, &f);
	client_expect(&late, BANNER);
	client_expect(&idle, "421 4.3.2 mx.example.net has too many sessions, try again later\r\n");
	client_expect_end(&idle);
	assert_int_equal(stats(&f).evicted, 1);
	/* Junk is no progress; a sender is. */
	client_say(&late, "NOOP\r\n");
	client_expect(&late, "250 2.0.0 ok\r\n");
	jump(100);
	client_init(&more, &f);
	client_expect(&more, BANNER);
	client_expect_end(&late);
	client_say(&more, MAIL_TO_MARIO);
	client_expect(&more, "250 2.1.5 recipient taken\r\n");
	jump(99);
	client_fini(&late);
	client_init(&late, &f);
	client_expect(&late, "421 4.3.2 mx.example.net has too many sessions, try again later\r\n");
	client_fini(&late);
	client_say(&sending, "S: x\r\n\r\nciao\r\n.\r\n");
	client_expect(&sending, "\r\n");
	assert_int_equal(f.commits, 1);
	client_fini(&sending);
	client_fini(&more);
	client_fini(&idle);
	front_fini(&f);
}

/* Nor is a client that names senders and recipients and never comes to a message; but a session
 * that has just brought one has time for the next. */
static void
test_eviction_busy_with_nothing(void **state)
{
	struct client busy, other;
	struct front f;

	(void)state;
	jump(0);
	front_init(&f, "sessions-max = 1", NULL);
	client_init(&busy, &f);
	client_say(&busy, MAIL_TO_MARIO);
	client_expect(&busy, "250 2.1.5 recipient taken\r\n");
	for (int i = 0; i < 2; i++) {
		jump(i == 0 ? 99 : 1999);
		client_init(&other, &f);
		client_expect(&other,
		    "421 4.3.2 mx.example.net has too many sessions, try again later\r\n");
		client_fini(&other);
		client_say(&busy, i == 0 ? "DATA\r\n" : "RSET\r\nMAIL FROM:<>\r\n");
		client_expect(&busy, i == 0 ? "354 end with CR LF . CR LF\r\n" :
		    "250 2.1.0 sender taken\r\n");
		if (i == 0) {
			client_say(&busy, "S: x\r\n\r\n.\r\n");
			client_expect(&busy, "\r\n");
		}
	}
	assert_int_equal(f.commits, 1);
	jump(1);
	client_init(&other, &f);
	client_expect(&other, BANNER);
	client_expect_end(&busy);
	assert_int_equal(stats(&f).evicted, 1);
	client_fini(&busy);
	client_fini(&other);
	front_fini(&f);
}

/* A newcomer far away, who has just said hello, does not make room for those. */
static void
test_eviction_spares_the_newcomer(void **state)
{
	struct client busy, far, other;
	struct front f;

	(void)state;
	jump(0);
	front_init(&f, "sessions-max = 2", NULL);
	client_init(&busy, &f);
	client_say(&busy, MAIL_TO_MARIO);
	client_expect(&busy, "250 2.1.5 recipient taken\r\n");
	jump(50);
	client_init(&far, &f);
	client_say(&far, "EHLO c\r\n");
	client_expect(&far, "250 8BITMIME\r\n");
	jump(150);
	client_init(&other, &f);
	client_expect(&other, BANNER);
	client_expect_end(&busy);
	client_say(&far, "MAIL FROM:<a@example.com>\r\n");
	client_expect(&far, "250 2.1.0 sender taken\r\n");
	client_fini(&busy);
	client_fini(&far);
	client_fini(&other);
	front_fini(&f);
}

/* Chunks come one by one: whoever sends a message so is let to, an octet a second is none. */
static void
test_eviction_between_chunks(void **state)
{
	static const struct { const char *chunk; bool stays; } t[] = {
		{ "BDAT 1\r\nx", false },
		{ "BDAT 101\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct client sends, other;
		struct front f;

		jump(0);
		front_init(&f, "sessions-max = 1\ndata-rate-min = 64", NULL);
		client_init(&sends, &f);
		client_say(&sends, MAIL_TO_MARIO);
		client_expect(&sends, "250 2.1.5 recipient taken\r\n");
		for (int n = 0; n < 2; n++) {
			client_say(&sends, t[i].chunk);
			client_expect(&sends, " octets taken\r\n");
			jump(999);
		}
		client_init(&other, &f);
		client_expect(&other, t[i].stays ?
		    "421 4.3.2 mx.example.net has too many sessions, try again later\r\n" : BANNER);
		client_fini(&other);
		client_fini(&sends);
		front_fini(&f);
	}
}

/* A message that trickles in is no reason to keep a slot from others. */
static void
test_eviction_slow_data(void **state)
{
	struct client slow, other;
	struct front f;

	(void)state;
	jump(0);
	front_init(&f, "sessions-max = 1\ndata-rate-min = 100", NULL);
	client_init(&slow, &f);
	client_say(&slow, MAIL_TO_MARIO "DATA\r\n");
	client_expect(&slow, "354 end with CR LF . CR LF\r\n");
	client_say(&slow, "x");
	front_run_ms(&f, 10);
	jump(1001);
	client_init(&other, &f);
	client_expect(&other, BANNER);
	client_expect_end(&slow);
	client_fini(&slow);
	client_fini(&other);
	front_fini(&f);
}

/* Room that was promised away and is not used goes to who waits for it. */
static void
test_memory_promised(void **state)
{
	struct client slow, other;
	struct front f;

	(void)state;
	jump(0);
	front_init(&f, "body-memory-max = 1M\nmessage-size-max = 1M\ndata-rate-min = 100", NULL);
	client_init(&slow, &f);
	client_say(&slow, "EHLO c\r\nMAIL FROM:<a@example.com> SIZE=1048576\r\n"
	    "RCPT TO:<mario@example.it>\r\nDATA\r\n");
	client_expect(&slow, "354 end with CR LF . CR LF\r\n");
	assert_int_equal(stats(&f).body_bytes, 1024 * 1024);
	jump(1001);
	client_init(&other, &f);
	client_say(&other, MAIL_TO_MARIO "DATA\r\n");
	client_expect(&other, "354 end with CR LF . CR LF\r\n");
	client_expect(&slow,
	    "421 4.4.2 mx.example.net this message comes in too slowly, closing\r\n");
	client_fini(&slow);
	client_fini(&other);
	front_fini(&f);
}

static void
test_connection_rate(void **state)
{
	struct client k;
	struct front f;
	static const char *const free_of_it[] = { "127.0.0.1", "::1", "198.51.100.7", "192.0.2.9" };

	(void)state;
	jump(0);
	front_init(&f, "connection-rate = 2\ntrusted-relay = { \"198.51.100.7\" }\n"
	    "exempt-networks = { \"192.0.2.8/29\" }", NULL);
	for (int i = 0; i < 3; i++) {
		client_init_from(&k, &f, "203.0.113.1", SESSION_TLS);
		client_expect(&k, i < 2 ? BANNER :
		    "421 4.7.0 mx.example.net you come too often, try again later\r\n");
		client_fini(&k);
	}
	assert_int_equal(stats(&f).crowded_rate, 1);
	for (size_t i = 0; i < 4 * 3; i++) {
		client_init_from(&k, &f, free_of_it[i % 4], SESSION_TLS);
		client_expect(&k, BANNER);
		client_fini(&k);
	}
	jump(60 * 1000);
	client_init_from(&k, &f, "203.0.113.1", SESSION_TLS);
	client_expect(&k, BANNER);
	client_fini(&k);
	front_fini(&f);
}

static void
test_greet_pause(void **state)
{
	struct client quiet, loud, front;
	struct front f;

	(void)state;
	front_init(&f, "greet-pause = 1s\ntrusted-relay = { \"198.51.100.7\" }", NULL);
	client_init(&loud, &f);
	client_say(&loud, "EHLO c\r\n");
	client_expect(&loud, "421 4.7.0 mx.example.net wait for the banner, please\r\n");
	client_expect_end(&loud);
	client_init_from(&front, &f, "198.51.100.7", SESSION_TLS);
	client_expect(&front, BANNER);
	client_init(&quiet, &f);
	front_run_ms(&f, 100);
	assert_int_equal(buf_len(&quiet.got), 0);
	client_expect(&quiet, BANNER);
	client_say(&quiet, "EHLO c\r\n");
	client_expect(&quiet, "250 8BITMIME\r\n");
	assert_int_equal(stats(&f).early, 1);
	client_fini(&loud);
	client_fini(&quiet);
	client_fini(&front);
	front_fini(&f);
}

/* The first errors are answered at once, later ones after a pause; commands behind one wait. */
static void
test_tarpit(void **state)
{
	int64_t began = clock_mono_ms();
	struct client k;
	struct front f;

	(void)state;
	front_init(&f, "tarpit-after = 2\ntarpit-delay = 1s", NULL);
	client_init(&k, &f);
	client_expect(&k, BANNER);
	client_say(&k, "EHLO c\r\nMAIL FROM:<a@example.com>\r\nXXXX\r\n"
	    "RCPT TO:<nobody@example.it>\r\n");
	client_expect(&k, "550 5.1.1 no such user here\r\n");
	assert_int_equal(stats(&f).tarpitted, 0);
	client_say(&k, "RCPT TO:<nobody2@example.it>\r\nNOOP\r\n");
	front_run_ms(&f, 100);
	assert_int_equal(buf_len(&k.got), 0);
	client_expect(&k, "250 2.0.0 ok\r\n");
	assert_int_equal(stats(&f).tarpitted, 1);
	assert_true(clock_mono_ms() - began >= 1000);
	client_fini(&k);
	front_fini(&f);
}

static void
test_junk_commands(void **state)
{
	struct client k, front;
	struct front f;

	(void)state;
	front_init(&f, "junk-commands-max = 3\ntrusted-relay = { \"198.51.100.7\" }", NULL);
	client_init(&k, &f);
	/* A message in between: the count begins anew. */
	client_say(&k, MAIL_TO_MARIO "DATA\r\nS: x\r\n\r\n.\r\nNOOP\r\nRSET\r\nVRFY x\r\n");
	client_expect(&k, "252 2.5.0 send some mail, I will try\r\n");
	client_say(&k, "HELP\r\n");
	client_expect(&k, "421 4.7.0 mx.example.net too many commands without mail, closing\r\n");
	client_expect_end(&k);
	client_init_from(&front, &f, "198.51.100.7", SESSION_TLS);
	client_say(&front, "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nQUIT\r\n");
	client_expect(&front, "221 2.0.0 mx.example.net closing\r\n");
	client_fini(&k);
	client_fini(&front);
	front_fini(&f);
}

static void
test_refusals(void **state)
{
	struct client k;
	struct front f;

	(void)state;
	front_init(&f, "refusals-max = 2\ntarpit-delay = 0s", NULL);
	client_init(&k, &f);
	client_say(&k, "EHLO c\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<n1@example.it>\r\n"
	    "RCPT TO:<n2@example.it>\r\nRCPT TO:<n3@example.it>\r\n");
	client_expect(&k, "421 4.7.0 mx.example.net too many unknown recipients, closing\r\n");
	client_expect_end(&k);
	client_fini(&k);
	front_fini(&f);
}

#define LINES_64	"aaaaaaaaaaaaaa\r\naaaaaaaaaaaaaa\r\naaaaaaaaaaaaaa\r\naaaaaaaaaaaaaa\r\n"
#define LINES_256	LINES_64 LINES_64 LINES_64 LINES_64
#define LINES_1K	LINES_256 LINES_256 LINES_256 LINES_256
#define TIMES_32(x)	x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
#define TIMES_97(x)	TIMES_32(x) TIMES_32(x) TIMES_32(x) x
#define RCPT_97		TIMES_97("RCPT TO:<u1@example.it>\r\n")
#define BDAT_97		TIMES_97("BDAT 1\r\nxBDAT 0\r\n")
#define DATA_TO_MARIO	MAIL_TO_MARIO "DATA\r\n"
#define HOST		"421 4.7.0 mx.example.net "

/* Each bound of the machine is counted where it stops somebody, once, and no other with it. */
static void
test_bounds_are_counted(void **state)
{
	static const struct {
		enum smtp_count count;
		const char *conf, *say, *expect;
	} t[] = {
		{ SMTP_COUNT_ERRORS, "errors-max = 1", "X\r\nX\r\n", HOST "too many errors, closing\r\n" },
		{ SMTP_COUNT_ERRORS, "errors-max = 1", "BDAT 1\r\nxBDAT 1\r\nx",
		    HOST "too many errors, closing\r\n" },
		{ SMTP_COUNT_JUNK, "junk-commands-max = 1", "NOOP\r\nNOOP\r\n",
		    HOST "too many commands without mail, closing\r\n" },
		{ SMTP_COUNT_COMMANDS, "commands-max = 100\nrecipients-max = 1", MAIL_TO_MARIO RCPT_97
		    "DATA\r\n", HOST "too many commands for one message, closing\r\n" },
		{ SMTP_COUNT_COMMANDS, "commands-max = 100", MAIL_TO_MARIO BDAT_97
		    "BDAT 0\r\n", HOST "too many commands for one message, closing\r\n" },
		{ SMTP_COUNT_MESSAGES, "messages-max = 1", DATA_TO_MARIO "\r\n.\r\nMAIL FROM:<>\r\n",
		    HOST "enough messages for one session, closing\r\n" },
		{ SMTP_COUNT_BARE_COMMANDS, "", "NOOP\nNOOP\nNOOP\n\r\nNOOP\n\r\nNOOP\n\r\n",
		    HOST "closing\r\n" },
		{ SMTP_COUNT_BAD_CHUNKS, "", "BDAT x\r\n", HOST "closing\r\n" },
		{ SMTP_COUNT_SIZE, "message-size-max = 1k\nheader-size-max = 1k",
		    "EHLO c\r\nMAIL FROM:<> SIZE=1025\r\n",
		    "552 5.3.4 messages are limited to 1024 bytes\r\n" },
		{ SMTP_COUNT_SIZE, "message-size-max = 1k\nheader-size-max = 1k",
		    DATA_TO_MARIO "\r\n" LINES_1K ".\r\n",
		    "552 5.3.4 message too big\r\n" },
		{ SMTP_COUNT_HEADER, "header-size-max = 1k", DATA_TO_MARIO "A:b\r\n A" LINES_1K ".\r\n",
		    "552 5.3.4 message header too big\r\n" },
		{ SMTP_COUNT_HOPS, "", DATA_TO_MARIO "X-Verify: refuse\r\n\r\n.\r\n",
		    "554 5.4.6 too many hops\r\n" },
		{ SMTP_COUNT_CONTENT, "bare-newline = reject", DATA_TO_MARIO "\r\nx\ny\r\n.\r\n",
		    "550 5.5.2 bare CR or LF in the message\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct smtp_server_stats st;
		struct client k;
		struct front f;

		front_init(&f, t[i].conf, NULL);
		client_init(&k, &f);
		client_expect(&k, BANNER);
		client_say(&k, t[i].say);
		client_expect(&k, t[i].expect);
		st = stats(&f);
		for (enum smtp_count c = SMTP_COUNT_ERRORS; c < SMTP_COUNT_MAX; c++)
			if (c != SMTP_COUNT_RECIPIENTS && st.count[c] != (c == t[i].count))
				fail_msg("%zu: %s is %llu", i, smtp_count_name(c),
				    (unsigned long long)st.count[c]);
		client_fini(&k);
		front_fini(&f);
	}
}

/* Recipients: what became of each, and those beyond the bound; whoever guesses too many. */
static void
test_recipients_are_counted(void **state)
{
	struct smtp_server_stats st;
	struct client k;
	struct front f;

	(void)state;
	front_init(&f, "recipients-max = 1\nrefusals-max = 1\ntarpit-delay = 0s", NULL);
	client_init(&k, &f);
	client_say(&k, MAIL_TO_MARIO "RCPT TO:<anna@example.it>\r\nRSET\r\nMAIL FROM:<>\r\n"
	    "RCPT TO:<n1@example.it>\r\nRCPT TO:<n2@example.it>\r\n");
	client_expect(&k, HOST "too many unknown recipients, closing\r\n");
	st = stats(&f);
	assert_int_equal(st.count[SMTP_COUNT_RCPT_TAKEN], 1);
	assert_int_equal(st.count[SMTP_COUNT_RCPT_DEFERRED], 1);
	assert_int_equal(st.count[SMTP_COUNT_RECIPIENTS], 1);
	assert_int_equal(st.count[SMTP_COUNT_RCPT_REFUSED], 2);
	assert_int_equal(st.count[SMTP_COUNT_REFUSALS], 1);
	client_fini(&k);
	front_fini(&f);
}

/* A DATA for which there is no room: counted when it is refused, not while it waits. */
static void
test_memory_is_counted(void **state)
{
	struct client holds, waits;
	struct front f;

	(void)state;
	front_init(&f, "body-memory-max = 64k\nmessage-size-max = 64k\nheader-size-max = 1k\n"
	    "data-rate-min = 0\ncommand-timeout = 1s", NULL);
	client_init(&holds, &f);
	client_say(&holds, "EHLO c\r\nMAIL FROM:<a@example.com> SIZE=60000\r\n"
	    "RCPT TO:<mario@example.it>\r\nDATA\r\n");
	client_expect(&holds, "354 end with CR LF . CR LF\r\n");
	client_init(&waits, &f);
	client_say(&waits, DATA_TO_MARIO);
	client_expect(&waits, "250 2.1.5 recipient taken\r\n");
	assert_int_equal(stats(&f).waiting, 1);
	assert_int_equal(stats(&f).count[SMTP_COUNT_MEMORY], 0);
	client_expect(&waits, "452 4.3.1 no room for a message now, try again later\r\n");
	assert_int_equal(stats(&f).count[SMTP_COUNT_MEMORY], 1);
	assert_int_equal(stats(&f).timeouts, 0);
	client_fini(&holds);
	client_fini(&waits);
	front_fini(&f);
}

/* Each deadline has a count of its own. */
static void
test_timeouts_are_counted(void **state)
{
	static const struct {
		size_t count;
		const char *conf, *say;
	} t[] = {
#define AT(name) offsetof(struct smtp_server_stats, name)
		{ AT(timeouts_command), "command-timeout = 1s", "EHLO c\r\n" },
		{ AT(timeouts_data), "data-timeout = 1s", DATA_TO_MARIO },
		{ AT(timeouts_session), "session-timeout = 1s\ncommand-timeout = 1s\n"
		    "data-timeout = 1s", DATA_TO_MARIO },
#undef AT
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct smtp_server_stats st;
		struct client k;
		struct front f;

		front_init(&f, t[i].conf, NULL);
		client_init(&k, &f);
		client_say(&k, t[i].say);
		client_expect_end(&k);
		st = stats(&f);
		assert_int_equal(st.timeouts, 1);
		assert_int_equal(st.timeouts_command + st.timeouts_data + st.timeouts_session, 1);
		assert_int_equal(*(uint64_t *)(void *)((char *)&st + t[i].count), 1);
		client_fini(&k);
		front_fini(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_eviction, clock_back),
		cmocka_unit_test_teardown(test_eviction_busy_with_nothing, clock_back),
		cmocka_unit_test_teardown(test_eviction_spares_the_newcomer, clock_back),
		cmocka_unit_test_teardown(test_eviction_between_chunks, clock_back),
		cmocka_unit_test_teardown(test_eviction_slow_data, clock_back),
		cmocka_unit_test_teardown(test_memory_promised, clock_back),
		cmocka_unit_test_teardown(test_connection_rate, clock_back),
		cmocka_unit_test(test_greet_pause),
		cmocka_unit_test(test_tarpit),
		cmocka_unit_test(test_junk_commands),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds_are_counted),
		cmocka_unit_test(test_recipients_are_counted),
		cmocka_unit_test(test_memory_is_counted),
		cmocka_unit_test(test_timeouts_are_counted),
	};

	return cmocka_run_group_tests_name("relay/guard", tests, NULL, NULL);
}
