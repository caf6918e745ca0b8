// SPDX-License-Identifier: Apache-2.0
/* What a probe says to a server and what it makes of the answers, fed at once and byte by
 * byte; and the phases a relay knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "queue/failover.h"
#include "relay/phases.h"
#include "relay/probe_talk.h"

/* A dialogue: "S:" the server says, "C:" the client must have said; ends with NULL. */
struct dialogue {
	const char		*name;
	enum conf_probe_depth	 depth;
	bool			 lmtp, tls;
	const char		*line[24];
	enum probe_outcome	 outcome;
	enum probe_stage	 stage;
	unsigned		 code;
};

static const struct dialogue dialogues[] = {
	{ "greeting", PROBE_GREETING, false, true, { "S:220 hi", "C:EHLO mx2.example", "S:250-a",
	  "S:250 SIZE", "C:QUIT" }, PROBE_OK, PROBE_AT_HELLO, 250 },
	{ "lmtp", PROBE_GREETING, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:QUIT" }, PROBE_OK, PROBE_AT_HELLO, 250 },
	{ "starttls", PROBE_GREETING, false, true, { "S:220 hi", "C:EHLO mx2.example", "S:250-a",
	  "S:250 StartTLS", "C:STARTTLS", "S:220 go", "TLS", "C:EHLO mx2.example", "S:250-a",
	  "S:250 STARTTLS", "C:QUIT" }, PROBE_OK, PROBE_AT_HELLO, 250 },
	{ "starttls is not wanted", PROBE_GREETING, false, false, { "S:220 hi",
	  "C:EHLO mx2.example", "S:250-a", "S:250 STARTTLS", "C:QUIT" }, PROBE_OK,
	  PROBE_AT_HELLO, 250 },
	{ "starttls refused", PROBE_GREETING, false, true, { "S:220 hi", "C:EHLO mx2.example",
	  "S:250-a", "S:250 STARTTLS", "C:STARTTLS", "S:454 4.7.0 no key", "C:QUIT" },
	  PROBE_PUT_OFF, PROBE_AT_TLS, 454 },
	{ "busy", PROBE_GREETING, false, true, { "S:421 4.3.2 busy", "C:QUIT" }, PROBE_PUT_OFF,
	  PROBE_AT_GREETING, 421 },
	{ "no service", PROBE_DATA, false, true, { "S:554 go away", "C:QUIT" }, PROBE_REFUSED,
	  PROBE_AT_GREETING, 554 },
	{ "not SMTP", PROBE_GREETING, false, true, { "S:HTTP/1.1 400 Bad" }, PROBE_SILENT,
	  PROBE_AT_GREETING, 0 },
	{ "rcpt", PROBE_RCPT, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:250 2.1.5 ok", "C:QUIT" },
	  PROBE_OK, PROBE_AT_RCPT, 250 },
	{ "rcpt put off", PROBE_RCPT, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:451 4.3.0 later",
	  "C:QUIT" }, PROBE_PUT_OFF, PROBE_AT_RCPT, 451 },
	{ "rcpt unknown", PROBE_RCPT, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:550 5.1.1 who",
	  "C:QUIT" }, PROBE_REFUSED, PROBE_AT_RCPT, 550 },
	{ "data", PROBE_DATA, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:250 ok", "C:DATA",
	  "S:354 go", "C:Subject: x", "C:", "C:body", "C:.", "S:250 2.0.0 kept", "C:QUIT" },
	  PROBE_OK, PROBE_AT_END, 250 },
	{ "disk full", PROBE_DATA, true, true, { "S:220 hi", "C:LHLO mx2.example", "S:250 a",
	  "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:250 ok", "C:DATA",
	  "S:354 go", "C:Subject: x", "C:", "C:body", "C:.", "S:452 4.3.1 full", "C:QUIT" },
	  PROBE_PUT_OFF, PROBE_AT_END, 452 },
	{ "250 where 354 belongs", PROBE_DATA, true, true, { "S:220 hi", "C:LHLO mx2.example",
	  "S:250 a", "C:MAIL FROM:<>", "S:250 ok", "C:RCPT TO:<canary@a.example>", "S:250 ok",
	  "C:DATA", "S:250 what" }, PROBE_SILENT, PROBE_AT_DATA, 250 },
};

/* What the client said begins with that line. */
static void
expect_said(const struct dialogue *d, struct probe_talk *t, const char *want)
{
	struct slice s = buf_slice(&t->out);
	size_t end = slice_find(s, '\n');
	struct slice line = slice_trim(slice_sub(s, 0, end));

	if (end == s.n || !slice_eq(line, slice_str(want)))
		fail_msg("%s: said \"%.*s\", want \"%s\"", d->name, SLICE_FMT(line), want);
	buf_drop(&t->out, end + 1);
}

static void
server_says(struct probe_talk *t, const char *text, bool bytewise)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "%s\r\n", text);

	if (!bytewise) {
		(void)probe_talk_input(t, slice_make(line, (size_t)n));
		return;
	}
	for (int i = 0; i < n; i++)
		(void)probe_talk_input(t, slice_make(line + i, 1));
}

static void
run(const struct dialogue *d, bool bytewise)
{
	const struct probe_talk_config cfg = { .lmtp = d->lmtp, .tls = d->tls,
		.depth = (uint8_t)d->depth, .helo = SLICE_LIT("mx2.example"),
		.canary = SLICE_LIT("canary@a.example"),
		.message = SLICE_LIT("Subject: x\r\n\r\nbody\r\n") };
	struct probe_talk t;

	probe_talk_init(&t, &cfg);
	for (size_t i = 0; d->line[i] != NULL; i++) {
		if (strcmp(d->line[i], "TLS") == 0) {
			assert_int_equal(t.state, PROBE_TALK_TLS);
			/* Nothing that came before the handshake is believed. */
			assert_int_equal(probe_talk_input(&t, SLICE_LIT("250 injected\r\n")), 0);
			probe_talk_secured(&t);
		} else if (d->line[i][0] == 'S') {
			assert_int_equal(t.state, PROBE_TALK_BUSY);
			server_says(&t, d->line[i] + 2, bytewise);
		} else {
			expect_said(d, &t, d->line[i] + 2);
		}
	}
	if (t.state != PROBE_TALK_DONE || t.outcome != d->outcome || t.stage != d->stage ||
	    t.code != d->code)
		fail_msg("%s: state %d outcome %d stage %d code %u", d->name, t.state, t.outcome,
		    t.stage, t.code);
	assert_int_equal(buf_len(&t.out), 0);
	probe_talk_lost(&t, "too late");	/* the outcome stands */
	assert_int_equal(t.outcome, d->outcome);
	probe_talk_fini(&t);
}

static void
dialogues_end_as_they_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
		run(&dialogues[i], false);
		run(&dialogues[i], true);
	}
}

static void
lost_connection_is_silence_where_it_was(void **state)
{
	const struct probe_talk_config cfg = { .depth = PROBE_RCPT,
		.helo = SLICE_LIT("mx2.example"), .canary = SLICE_LIT("c@a.example") };
	struct probe_talk t;

	(void)state;
	probe_talk_init(&t, &cfg);
	server_says(&t, "220 hi", false);
	probe_talk_lost(&t, "closed \x01\xff");
	assert_int_equal(t.state, PROBE_TALK_DONE);
	assert_int_equal(t.outcome, PROBE_SILENT);
	assert_int_equal(t.stage, PROBE_AT_HELLO);
	assert_string_equal(t.text, "closed ??");
	probe_talk_fini(&t);
}

/* ---- phases ---- */

static int
tell(struct phases *p, bool reset, const char *domain, const char *shard, enum failover_phase phase)
{
	const struct queue_phase q = { .phase = (uint8_t)phase, .domain = slice_str(domain),
		.shard = slice_str(shard) };
	struct buf list, body;

	buf_init(&list, 4096);
	buf_init(&body, 8192);
	assert_int_equal(wire_item_put(&list, &queue_phase_wire, &q), 0);
	const struct queue_phases m = { .reset = reset, .list = buf_slice(&list) };
	assert_int_equal(wire_put(&body, &queue_phases_wire, &m), 0);
	int rc = phases_message(p, buf_slice(&body));
	buf_fini(&body);
	buf_fini(&list);
	return rc;
}

static bool
standby(struct phases *p, const char *domain, const char *shard)
{
	return phases_standby(p, slice_str(domain), slice_str(shard));
}

static void
phases_are_known_as_told(void **state)
{
	struct phases *p = phases_new();

	(void)state;
	assert_false(standby(p, "a.example", ""));	/* unknown: take the mail */
	assert_int_equal(tell(p, true, "a.example", "", PHASE_STANDBY), 0);
	assert_int_equal(tell(p, false, "a.example", "s2", PHASE_ACTIVE), 0);
	assert_true(standby(p, "A.Example", ""));
	assert_false(standby(p, "a.example", "s2"));
	assert_true(standby(p, "a.example", "s9"));	/* as its domain */
	assert_false(standby(p, "b.example", ""));
	assert_int_equal(tell(p, false, "a.example", "", PHASE_REPLAY), 0);
	assert_false(standby(p, "a.example", ""));
	assert_int_equal(phases_count(p), 2);
	assert_int_equal(tell(p, true, "b.example", "", PHASE_STANDBY), 0);
	assert_int_equal(phases_count(p), 1);
	assert_false(standby(p, "a.example", "s2"));
	assert_int_equal(phases_message(p, SLICE_LIT("\x07junk")), -1);
	assert_true(standby(p, "b.example", ""));
	assert_false(standby(p, "", ""));
	phases_free(&p);
	assert_null(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dialogues_end_as_they_should),
		cmocka_unit_test(lost_connection_is_silence_where_it_was),
		cmocka_unit_test(phases_are_known_as_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
