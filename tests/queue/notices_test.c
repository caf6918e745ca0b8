// SPDX-License-Identifier: Apache-2.0
/* Spec 2.3 in the queue: when a notification to a sender is due, that it is kept before the
 * leg it is about is settled, and where it goes. */
#include "tests/queue/queue_house.h"

#include "queue/operate.h"

static const struct house_rcpt anna = { RCPT_USER, "anna@a.example", "a.example", "" };

static void
spec_2_3_8_what_a_sender_is_told_of_a_refusal(void **state)
{
	static const struct { const char *note, *status, *text; bool primary; } cases[] = {
		{ "primary-refused 550 5.1.1", "5.1.1", "550 5.1.1", true },
		{ "primary-refused 554", "5.0.0", "554", true },
		{ "bounced 550 5.1.1", "5.1.1", "550 5.1.1", true },
		{ "bounced 554", "5.0.0", "554", true },
		{ "not-sendable 0 5.6.7", "5.6.7", "the mailbox server cannot take this message",
		  false },
		{ "bounced not-sendable 0 5.6.3", "5.6.3",
		  "the mailbox server cannot take this message", false },
		{ "not-sendable 0 5.1.2", "5.3.0", "the mailbox server cannot take this message",
		  false },
		{ "not-sendable", "5.3.0", "the mailbox server cannot take this message", false },
		{ "bounced", "5.4.7", "it could not be delivered in time", false },
		{ "primary-refused 550 4.1.1", "5.0.0", "550", true },
		{ "not-sendable 5.6.3", "5.6.3", "the mailbox server cannot take this message",
		  false },
		{ "not-sendable 5.4.6", "5.3.0", "the mailbox server cannot take this message",
		  false },
		{ "", "5.4.7", "it could not be delivered in time", false },
		{ "anything else 550", "5.4.7", "it could not be delivered in time", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char status[16], text[64];

		assert_int_equal(notices_words(cases[i].note, status, text), cases[i].primary);
		assert_string_equal(status, cases[i].status);
		assert_string_equal(text, cases[i].text);
	}
}

/* Entry 0: refused by the primary, then an operator says bounce. */
static void
refused_and_confirmed(struct house *h)
{
	struct queue *q = house_queue(h);
	struct queue_deliver d;
	struct legs_change to;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &d, NULL);
	house_deliver_answer(h, at, d.req, DELIVER_PERM, SCOPE_RCPT, 550);
	house_until_leg(h, 0, LEG_HOLD, LEG_PARKED);
	assert_true(operate_leg(OPERATE_BOUNCE, h->conf, NULL, house_entry(h, 0), LEG_HOLD,
	    house_note(h, 0, LEG_HOLD), schedule_now(q->schedule), &to));
	assert_int_equal(to.leg.state, LEG_WAITING);
	schedule_write(q->schedule, house_entry(h, 0), LEG_HOLD, &to);
	assert_string_equal(house_note(h, 0, LEG_HOLD), "primary-refused 550 5.1.1");
}

static struct seal_notify
asked(struct house *h)
{
	struct seal_notify q;
	struct house_mail *m = house_next(h, H_SEAL, SEAL_NOTIFY, &seal_notify_wire, &q);

	assert_true(m->fd >= 0);
	return q;
}

static void
answer_flags(struct house *h, uint64_t req, enum seal_notified_status st, const char *reason,
    uint32_t flags)
{
	const struct seal_notified a = { .req = req, .status = (uint8_t)st, .flags = flags,
		.reason = slice_str(reason) };
	int fd = st == NOTIFIED_OK ? body_make(SLICE_LIT("Subject: sorry\r\n\r\nno\r\n")) : -1;

	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_NOTIFIED, &seal_notified_wire, &a,
	    fd), 0);
	if (fd >= 0)
		close(fd);
}

static void
answer(struct house *h, uint64_t req, enum seal_notified_status st, const char *reason)
{
	answer_flags(h, req, st, reason, 0);
}

static bool
commit_waits(struct house *h, const void *arg)
{
	(void)arg;
	return house_queue(h)->spool->npending > 0;
}

static void
spec_2_3_1_kept_before_the_leg_ends_then_sent(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;
	struct seal_notify q;
	struct queue_deliver d;

	refused_and_confirmed(h);
	q = asked(h);
	assert_int_equal(q.action, NOTICE_FAILED);
	assert_true(slice_eq(q.status, SLICE_LIT("5.1.1")));
	assert_true(slice_eq(q.text, SLICE_LIT("550 5.1.1")));
	assert_int_equal(q.primary, 1);
	sp->hold_commits = true;
	answer(h, q.req, NOTIFIED_OK, "");
	house_until(h, commit_waits, NULL);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_WAITING);
	sp->hold_commits = false;
	double_complete(sp);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_FAILED);
	assert_string_equal(house_note(h, 0, LEG_HOLD), "bounced 550 5.1.1");
	assert_int_equal(house_entry(h, 1)->kind, RCPT_NOTICE);
	unsigned at = house_delivery(h, &d, NULL);
	assert_int_equal(d.mail_from.n, 0);
	assert_int_equal(d.route, ROUTE_MX);
	assert_true(slice_eq(d.host, SLICE_LIT("sender.example")));
	assert_true(slice_eq(d.rcpt, SLICE_LIT("bob@sender.example")));
	assert_int_equal(d.prefix.n + d.suffix.n, 0);
	house_deliver_answer(h, at, d.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 1, LEG_FORWARD, LEG_DELIVERED);
}

/* RFC 8689 5: what the message asked of TLS is asked for the report about it, whatever is
 * configured for forward legs; nothing else that seal says gets into its envelope. */
static void
rfc_8689_5_a_report_asks_of_tls_what_the_message_asked(void **state)
{
	static const struct { uint32_t flags; enum deliver_tls tls; } t[] = {
		{ 0, DELIVER_TLS_DEFAULT },
		{ ENV_TLS_OPTIONAL, DELIVER_TLS_OPTIONAL },
		{ ENV_REQUIRETLS, DELIVER_TLS_REQUIRETLS },
		{ ENV_HOLD_ONLY | ENV_TRUSTED, DELIVER_TLS_DEFAULT },
	};
	struct house *h = *state;
	struct queue_deliver d;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct queue *q = house_queue(h);
		struct legs_change to;

		house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
		unsigned at = house_delivery(h, &d, NULL);
		house_deliver_answer(h, at, d.req, DELIVER_PERM, SCOPE_RCPT, 550);
		house_until_leg(h, 2 * i, LEG_HOLD, LEG_PARKED);
		assert_true(operate_leg(OPERATE_BOUNCE, h->conf, NULL, house_entry(h, 2 * i),
		    LEG_HOLD, house_note(h, 2 * i, LEG_HOLD), schedule_now(q->schedule), &to));
		schedule_write(q->schedule, house_entry(h, 2 * i), LEG_HOLD, &to);
		answer_flags(h, asked(h).req, NOTIFIED_OK, "", t[i].flags);
		at = house_delivery(h, &d, NULL);
		assert_int_equal(d.mail_from.n, 0);
		assert_int_equal(d.tls, t[i].tls);
		house_deliver_answer(h, at, d.req, DELIVER_OK, SCOPE_RCPT, 250);
		house_until_leg(h, 2 * i + 1, LEG_FORWARD, LEG_DELIVERED);
	}
}

static void
spec_2_3_5_what_may_not_be_sent_ends_the_leg_as_well(void **state)
{
	struct house *h = *state;
	struct buf status;

	refused_and_confirmed(h);
	answer(h, asked(h).req, NOTIFIED_SUPPRESSED, "unauthenticated");
	house_until_leg(h, 0, LEG_HOLD, LEG_FAILED);
	assert_int_equal(house_queue(h)->spool->n, 1);
	buf_init(&status, 4096);
	notices_status(house_queue(h)->notices, &status);
	assert_non_null(memmem(buf_slice(&status).p, buf_len(&status), "\"unauthenticated\":1", 19));
	assert_non_null(memmem(buf_slice(&status).p, buf_len(&status), "\"failed\":0", 10));
	buf_fini(&status);
}

static void
spec_2_3_a_seal_that_dies_is_asked_again(void **state)
{
	struct house *h = *state;

	refused_and_confirmed(h);
	(void)asked(h);
	house_unlink(h, H_SEAL);
	house_link(h, H_SEAL);
	answer(h, asked(h).req, NOTIFIED_SUPPRESSED, "notify");
	house_until_leg(h, 0, LEG_HOLD, LEG_FAILED);
}

static bool
house_has_no_notices(struct house *h, const void *arg)
{
	(void)arg;
	return !notices_busy(house_queue(h)->notices);
}

static void
spec_2_3_without_room_for_it_the_leg_stays(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;

	refused_and_confirmed(h);
	sp->answer = COMMIT_FULL;
	answer(h, asked(h).req, NOTIFIED_OK, "");
	house_until(h, house_has_no_notices, NULL);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_WAITING);
	sp->answer = COMMIT_OK;
	schedule_again(house_queue(h)->schedule, house_entry(h, 0), LEG_HOLD, 0);
	answer(h, asked(h).req, NOTIFIED_OK, "");
	house_until_leg(h, 0, LEG_HOLD, LEG_FAILED);
}

static void
spec_2_3_1_only_what_was_refused_can_be_bounced(void **state)
{
	struct spool_entry e = { .kind = RCPT_USER, .leg = { { .state = LEG_PARKED } } };
	struct legs_change to;

	(void)state;
	assert_false(legs_operator_bounce(&e, "", 5, &to));	/* backlog of an outage */
	e.leg[LEG_HOLD].attempts = 1;
	assert_true(legs_operator_bounce(&e, "", 5, &to));
	e.leg[LEG_HOLD].code = LEGS_CODE_OPERATOR;
	assert_false(legs_operator_bounce(&e, "", 5, &to));	/* on hold */
	e.leg[LEG_HOLD] = to.leg;
	assert_true(legs_to_bounce(&to.leg));
	assert_false(legs_operator_bounce(&e, "", 5, &to));	/* already */
	assert_false(legs_operator_retry(NULL, NULL, &e, LEG_HOLD, "", 5, &to));
	assert_false(legs_switch_on(NULL, &e, LEG_HOLD, "", 5, &to));
	e.leg[LEG_HOLD] = (struct spool_leg){ .state = LEG_DELIVERED, .attempts = 1 };
	assert_false(legs_operator_bounce(&e, "", 5, &to));
	e.kind = RCPT_POSTMASTER;
	e.leg[LEG_HOLD].state = LEG_PARKED;
	assert_false(legs_operator_bounce(&e, "", 5, &to));
}

static void
spec_11_2_what_was_refused_ends_with_retention(void **state)
{
	struct conf c = { .hold_retention_ms = 1000, .retention_attempts = 2 };
	struct failover_group g = { .served = true, .phase = PHASE_STANDBY };
	const struct spool_entry refused = { .kind = RCPT_USER, .received_ms = 5,
		.leg = { { .state = LEG_PARKED, .attempts = 1, .code = 550 } } };
	struct spool_entry e = refused;
	struct legs_change to;

	(void)state;
	assert_false(legs_refused_over(&c, &g, &e, 1005));	/* not old enough */
	assert_true(legs_refused_over(&c, &g, &e, 1006));
	assert_false(legs_refused_over(&c, NULL, &e, 1006));
	g.phase = PHASE_REPLAY;
	assert_false(legs_refused_over(&c, &g, &e, 1006));
	g.phase = PHASE_STANDBY;
	g.distrust = true;
	assert_false(legs_refused_over(&c, &g, &e, 1006));
	g.distrust = g.served = false;
	assert_false(legs_refused_over(&c, &g, &e, 1006));
	g.served = true;
	e.leg[LEG_HOLD].code = LEGS_CODE_OPERATOR;
	assert_false(legs_refused_over(&c, &g, &e, 1006));
	e.leg[LEG_HOLD].code = 0;	/* not sendable: our own trouble, as a rule */
	assert_false(legs_refused_over(&c, &g, &e, 1006));
	e = refused;
	e.leg[LEG_HOLD].attempts = 0;
	assert_false(legs_refused_over(&c, &g, &e, 1006));	/* backlog */
	e = refused;
	assert_false(legs_refused_end(&c, &e, "x", 1006, &to));
	assert_int_equal(to.leg.state, LEG_WAITING);	/* once more, to be sure */
	assert_int_equal(to.leg.attempts, 1);
	assert_false(legs_to_bounce(&to.leg));
	e.leg[LEG_HOLD].attempts = 2;
	assert_true(legs_refused_end(&c, &e, "primary-refused 550", 1006, &to));
	assert_true(legs_to_bounce(&to.leg));
	assert_string_equal(to.note, "primary-refused 550");
}

static void
spec_2_3_1_a_reminder_waits_for_its_time(void **state)
{
	struct house *h = *state;
	struct spool_entry e = { .kind = RCPT_REMINDER, .received_ms = 1000000,
		.leg = { { .state = LEG_ABSENT }, { .state = LEG_WAITING } } };
	struct failover *fo = house_queue(h)->failover;
	int64_t due = 1000000 + h->conf->delay_notice_ms;
	struct legs_change to;

	assert_int_equal(legs_admit(h->conf, fo, &e, LEG_FORWARD, due - 1, &to), LEGS_SETTLE);
	assert_int_equal(to.leg.state, LEG_WAITING);
	assert_int_equal(to.leg.next_ms, due);
	e.leg[LEG_FORWARD] = to.leg;
	assert_int_equal(legs_admit(h->conf, fo, &e, LEG_FORWARD, due - 1, &to), LEGS_WAIT);
	assert_int_equal(legs_admit(h->conf, fo, &e, LEG_FORWARD, due, &to), LEGS_READ);
	e.kind = RCPT_NOTICE;
	e.leg[LEG_FORWARD].next_ms = 0;
	assert_int_equal(legs_admit(h->conf, fo, &e, LEG_FORWARD, due, &to), LEGS_RUN);
	assert_int_equal(legs_admit(h->conf, fo, &e, LEG_FORWARD, e.received_ms +
	    h->conf->forward_ttl_ms + 1, &to), LEGS_SETTLE);
	assert_int_equal(to.leg.state, LEG_FAILED);
}

static bool
is_reading(struct house *h, const void *arg)
{
	(void)arg;
	return house_queue(h)->spool->reading > 0;
}

static void
a_disk_that_takes_two_seconds_holds_up_nobody_else(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;

	refused_and_confirmed(h);
	sp->read_ms = 2000;
	house_until(h, is_reading, NULL);
	int64_t begin = clock_mono_ms();
	for (int i = 0; i < 5; i++)
		house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	assert_true(clock_mono_ms() - begin < 1500);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_WAITING);
	struct seal_notify q = asked(h);
	sp->read_ms = 0;
	answer(h, q.req, NOTIFIED_OK, "");
	house_until_leg(h, 0, LEG_HOLD, LEG_FAILED);
}

static void
a_disk_that_fails_now_leaves_the_leg_for_later(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;

	refused_and_confirmed(h);
	sp->read_ms = 20;
	sp->read_error = EIO;
	house_until(h, is_reading, NULL);
	for (int i = 0; i < 50; i++)
		house_turn(h);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_WAITING);
	sp->read_error = 0;
	answer(h, asked(h).req, NOTIFIED_SUPPRESSED, "notify");
	house_until_leg(h, 0, LEG_HOLD, LEG_FAILED);
	sp->read_ms = 0;
}

static void
spec_2_3_1_a_reminder_is_read_off_the_loop_too(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;
	struct seal_notify q;

	h->conf->delay_notice_ms = 100;
	house_switch(h, "a.example", FAILOVER_ON);
	house_committed(h, house_commit(h, &anna, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	sp->read_ms = 50;
	notices_remind(house_queue(h)->notices, house_entry(h, 0));
	(void)house_next(h, H_SEAL, SEAL_NOTIFY, &seal_notify_wire, &q);
	assert_int_equal(q.action, NOTICE_DELAYED);
	sp->read_ms = 0;
	answer(h, q.req, NOTIFIED_SUPPRESSED, "notify");
	house_until_leg(h, 1, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 1, LEG_FORWARD), "told");
}

#define T(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_2_3_8_what_a_sender_is_told_of_a_refusal),
		cmocka_unit_test(spec_2_3_1_only_what_was_refused_can_be_bounced),
		cmocka_unit_test(spec_11_2_what_was_refused_ends_with_retention),
		T(spec_2_3_1_kept_before_the_leg_ends_then_sent),
		T(rfc_8689_5_a_report_asks_of_tls_what_the_message_asked),
		T(spec_2_3_5_what_may_not_be_sent_ends_the_leg_as_well),
		T(spec_2_3_a_seal_that_dies_is_asked_again),
		T(spec_2_3_without_room_for_it_the_leg_stays),
		T(spec_2_3_1_a_reminder_waits_for_its_time),
		T(a_disk_that_takes_two_seconds_holds_up_nobody_else),
		T(a_disk_that_fails_now_leaves_the_leg_for_later),
		T(spec_2_3_1_a_reminder_is_read_off_the_loop_too),
	};

	return cmocka_run_group_tests_name("queue/notices", tests, NULL, NULL);
}
