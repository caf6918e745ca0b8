// SPDX-License-Identifier: Apache-2.0
/* Spec 2.2: what a bounce to a return path makes of the leg it is about. */
#include "tests/queue/queue_house.h"

#include "queue/returned.h"

static const struct house_rcpt berta = { RCPT_USER, "berta@b.example", "b.example", "" };
static const struct house_rcpt path = { RCPT_RETURN_PATH, "SRS0=x=y=n1=z@fwd.example.it",
	"fwd.example.it", "" };

static void
spec_2_2_3_a_report_and_its_leg(void **state)
{
	static const struct {
		enum bounce_action action;
		enum leg_state is, becomes;
		unsigned status, subject, detail;
		const char *note;		/* NULL: nothing happens */
	} cases[] = {
		{ BOUNCE_FAILED, LEG_DELIVERED, LEG_FAILED, 5, 1, 1, "bounced 5.1.1" },
		{ BOUNCE_FAILED, LEG_WAITING, LEG_FAILED, 5, 0, 0, "bounced 5.0.0" },
		{ BOUNCE_FAILED, LEG_PARKED, LEG_FAILED, 4, 4, 7, "bounced 4.4.7" },
		{ BOUNCE_FAILED, LEG_DELIVERED, LEG_FAILED, 0, 0, 0, "bounced" },
		{ BOUNCE_FAILED, LEG_FAILED, LEG_FAILED, 5, 1, 1, NULL },
		{ BOUNCE_FAILED, LEG_SKIPPED, LEG_SKIPPED, 5, 1, 1, NULL },
		{ BOUNCE_FAILED, LEG_ABSENT, LEG_ABSENT, 5, 1, 1, NULL },
		{ BOUNCE_FAILED, LEG_DROPPED, LEG_DROPPED, 5, 1, 1, NULL },
		{ BOUNCE_DELAYED, LEG_DELIVERED, LEG_DELIVERED, 4, 4, 1, "delayed 4.4.1" },
		{ BOUNCE_DELAYED, LEG_WAITING, LEG_WAITING, 4, 4, 1, NULL },
		{ BOUNCE_DELIVERED, LEG_WAITING, LEG_DELIVERED, 2, 0, 0, "delivered 2.0.0" },
		{ BOUNCE_RELAYED, LEG_DELIVERED, LEG_DELIVERED, 2, 0, 0, "relayed 2.0.0" },
		{ BOUNCE_EXPANDED, LEG_WAITING, LEG_DELIVERED, 2, 0, 0, "expanded 2.0.0" },
		{ BOUNCE_DELIVERED, LEG_FAILED, LEG_FAILED, 2, 0, 0, NULL },
		{ BOUNCE_NO_ACTION, LEG_DELIVERED, LEG_DELIVERED, 5, 1, 1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spool_entry e = { .kind = RCPT_USER, .leg = { { .state = LEG_PARKED },
			{ .state = (uint8_t)cases[i].is, .attempts = 2 } } };
		const struct envelope_bounce b = { .action = (uint8_t)cases[i].action,
			.status = (uint8_t)cases[i].status, .subject = (uint16_t)cases[i].subject,
			.detail = (uint16_t)cases[i].detail, .code = 550 };
		struct legs_change to = { .note = "" };

		print_message("%zu\n", i);
		assert_int_equal(returned_leg(&e, &b, &to), cases[i].note != NULL);
		if (cases[i].note == NULL)
			continue;
		assert_int_equal(to.leg.state, cases[i].becomes);
		assert_int_equal(to.leg.attempts, 2);
		assert_string_equal(to.note, cases[i].note);
	}
}

static void
spec_8_4_what_says_that_the_mailbox_is_not_there(void **state)
{
	static const struct { unsigned c, s, d; bool yes; } cases[] = {
		{ 5, 1, 1, true }, { 5, 1, 2, true }, { 5, 1, 10, true }, { 5, 2, 1, true },
		{ 5, 1, 0, false }, { 5, 2, 2, false }, { 5, 7, 1, false }, { 4, 1, 1, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct envelope_bounce b = { .action = BOUNCE_FAILED, .status = (uint8_t)cases[i].c,
			.subject = (uint16_t)cases[i].s, .detail = (uint16_t)cases[i].d };

		assert_int_equal(returned_nouser(&b), cases[i].yes);
		b.action = BOUNCE_DELAYED;
		assert_false(returned_nouser(&b));
	}
}

/* A forward leg that was accepted, of entry 0. */
static void
forwarded(struct house *h)
{
	struct queue_deliver q;

	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
}

static void
comes_back(struct house *h, struct envelope_bounce b, const char *note)
{
	size_t n = house_queue(h)->spool->n;

	house_bounce = &b;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_until_leg(h, n, LEG_HOLD, LEG_SKIPPED);
	assert_string_equal(house_note(h, n, LEG_HOLD), note);
}

static struct returned_counts
counts(struct house *h)
{
	struct returned_counts c;

	returned_counts(house_queue(h)->returned, &c);
	return c;
}

static void
spec_2_2_3_a_bounce_fails_its_forward_leg_and_nothing_else(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.subject = 1, .detail = 1, .code = 550, .leg = BOUNCE_LEG_OURS };

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	comes_back(h, b, "bounce-read");
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_FAILED);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].code, 550);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), "bounced 5.1.1");
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);	/* 0.1 */
	assert_int_equal(counts(h).failed, 1);
	comes_back(h, b, "bounce-read");	/* again: no harm */
	assert_int_equal(counts(h).failed, 2);
	/* 8.4 NOUSER: that address is written to no more, another is */
	for (int i = 0; i < 2; i++)
		house_target(h, TARGET_OK, "berta@recovery.example", "");
	size_t n = house_queue(h)->spool->n;
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	house_until_leg(h, n, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, n, LEG_FORWARD), "nouser");
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "berta@changed.example", "");
	house_prepare(h, SEAL_OK, "");
}

/* 12.3: the notice went before the copy; only what it says of the mailbox is about both. */
static void
a_bounce_of_the_notice_leaves_the_copy_alone(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.subject = 1, .detail = 1, .code = 550, .leg = BOUNCE_LEG_OURS,
		.rcpt_index = BOUNCE_RCPT_NOTICE };

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	comes_back(h, b, "bounce-read");
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
	assert_int_equal(counts(h).failed, 1);
	house_target(h, TARGET_OK, "berta@recovery.example", "");	/* to mark it */
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	house_until_leg(h, 2, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 2, LEG_FORWARD), "nouser");
}

static void
spec_1_4_3_what_names_no_leg_is_counted_and_gone(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.leg = BOUNCE_LEG_OURS };

	forwarded(h);
	comes_back(h, b, "bounce-unknown");		/* no such message */
	b.id = house_entry(h, 0)->id;
	b.rcpt_index = 1;
	comes_back(h, b, "bounce-unknown");		/* no such recipient */
	b.rcpt_index = 0;
	b.leg = BOUNCE_LEG_UNKNOWN;
	comes_back(h, b, "bounce-unknown");
	b.leg = BOUNCE_LEG_OTHER_NODE;
	comes_back(h, b, "bounce-other-node");		/* 1.4.4 */
	b.leg = BOUNCE_LEG_SRS;
	comes_back(h, b, "bounce-srs");
	assert_int_equal(counts(h).unknown, 3);
	assert_int_equal(counts(h).other_node, 1);
	assert_int_equal(counts(h).srs, 1);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
}

static void
spec_2_2_4_automatic_answers_are_counted_and_gone(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_AUTO_REPLY, .leg = BOUNCE_LEG_OURS };

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	comes_back(h, b, "auto-reply");
	b.kind = BOUNCE_OTHER;
	comes_back(h, b, "not-a-bounce");
	b.kind = BOUNCE_UNREAD;
	comes_back(h, b, "bounce-unread");
	assert_int_equal(counts(h).auto_reply, 1);
	assert_int_equal(counts(h).other, 1);
	assert_int_equal(counts(h).unread, 1);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
}

/* ---- to an SRS address ---- */

static const char token[] = "0123456789abcdefghijklmn";

static void
srs_comes_back(struct house *h, const char *sender, bool named, const char *note)
{
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.subject = 1, .detail = 1, .code = 550, .leg = BOUNCE_LEG_SRS };
	size_t n = house_queue(h)->spool->n;
	struct seal_name q;

	house_bounce = &b;
	house_token = token;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_token = "";
	(void)house_next(h, H_SEAL, SEAL_NAME, &seal_name_wire, &q);
	assert_true(slice_eq(q.address, slice_str(path.address)));
	assert_true(slice_eq(q.token, slice_str(token)));
	const struct seal_named a = { .req = q.req, .named = named, .id = house_entry(h, 0)->id,
		.sender = slice_str(sender) };
	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_NAMED, &seal_named_wire, &a, -1), 0);
	house_until_leg(h, n, LEG_HOLD, LEG_SKIPPED);
	assert_string_equal(house_note(h, n, LEG_HOLD), note);
}

static void
spec_1_2_12_an_srs_address_counts_for_its_own_sender_only(void **state)
{
	struct house *h = *state;

	forwarded(h);
	srs_comes_back(h, "", false, "bounce-srs");	/* no token of ours */
	srs_comes_back(h, "obob@sender.exampl", true, "bounce-srs");	/* the boundary shifted */
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
	assert_int_equal(counts(h).srs, 2);
	srs_comes_back(h, "BOB@sender.example", true, "bounce-read");	/* case may be folded */
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_FAILED);
	assert_int_equal(counts(h).failed, 1);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
}

static void
spec_1_2_12_a_seal_that_dies_is_asked_again(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .leg = BOUNCE_LEG_SRS };
	struct seal_name q;

	forwarded(h);
	size_t n = house_queue(h)->spool->n;
	house_bounce = &b;
	house_token = token;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_token = "";
	(void)house_next(h, H_SEAL, SEAL_NAME, &seal_name_wire, &q);
	house_unlink(h, H_SEAL);
	house_link(h, H_SEAL);
	(void)house_next(h, H_SEAL, SEAL_NAME, &seal_name_wire, &q);
	const struct seal_named a = { .req = q.req };
	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_NAMED, &seal_named_wire, &a, -1), 0);
	house_until_leg(h, n, LEG_HOLD, LEG_SKIPPED);
}

/* ---- nobody has it any more ---- */

static void
spec_2_1_2_the_sender_is_told_when_nobody_has_it_any_more(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.subject = 1, .detail = 1, .code = 550, .leg = BOUNCE_LEG_OURS };
	struct legs_change to;
	struct seal_notify q;

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	/* refused by the primary while somebody had it: nobody was told (2.3.1) */
	legs_end(house_entry(h, 0), LEG_HOLD, LEG_FAILED, 550, SLICE_LIT("bounced"), &to);
	schedule_write(house_queue(h)->schedule, house_entry(h, 0), LEG_HOLD, &to);
	house_bounce = &b;
	size_t n = house_queue(h)->spool->n;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	(void)house_next(h, H_SEAL, SEAL_NOTIFY, &seal_notify_wire, &q);
	assert_int_equal(q.action, NOTICE_FAILED);
	assert_true(slice_eq(q.status, SLICE_LIT("5.4.7")));	/* nothing of the report */
	/* until that is kept, the report is not settled: a crash reads it again */
	assert_int_equal(house_entry(h, n)->leg[LEG_HOLD].state, LEG_WAITING);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
	const struct seal_notified a = { .req = q.req, .status = NOTIFIED_OK };
	int fd = body_make(SLICE_LIT("Subject: sorry\r\n\r\nno\r\n"));
	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_NOTIFIED, &seal_notified_wire, &a, fd),
	    0);
	close(fd);
	house_until_leg(h, n, LEG_HOLD, LEG_SKIPPED);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_FAILED);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_FAILED);
	assert_int_equal(house_entry(h, n + 1)->kind, RCPT_NOTICE);
	struct queue_deliver d;
	(void)house_delivery(h, &d, NULL);
	assert_true(slice_eq(d.rcpt, SLICE_LIT("bob@sender.example")));
	/* once: the same report again finds a leg that has failed */
	size_t again = house_queue(h)->spool->n;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_until_leg(h, again, LEG_HOLD, LEG_SKIPPED);
	assert_int_equal(house_queue(h)->spool->n, again + 1);
}

/* ---- the disk ---- */

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
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.subject = 1, .detail = 1, .leg = BOUNCE_LEG_OURS };
	struct spool *sp = house_queue(h)->spool;

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	sp->read_ms = 2000;
	house_bounce = &b;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_until(h, is_reading, NULL);
	int64_t begin = clock_mono_ms();
	for (int i = 0; i < 5; i++)
		house_committed(h, house_commit(h, &berta, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	assert_true(clock_mono_ms() - begin < 1500);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_WAITING);
	house_until_leg(h, 0, LEG_FORWARD, LEG_FAILED);
	sp->read_ms = 0;
}

static void
a_disk_that_fails_now_is_asked_again(void **state)
{
	struct house *h = *state;
	struct envelope_bounce b = { .kind = BOUNCE_REPORT, .action = BOUNCE_FAILED, .status = 5,
		.leg = BOUNCE_LEG_OURS };
	struct spool *sp = house_queue(h)->spool;

	forwarded(h);
	b.id = house_entry(h, 0)->id;
	sp->read_ms = 20;
	sp->read_error = EIO;
	house_bounce = &b;
	house_committed(h, house_commit(h, &path, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	house_bounce = NULL;
	house_until(h, is_reading, NULL);
	while (returned_busy(house_queue(h)->returned))
		house_turn(h);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_WAITING);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_DELIVERED);
	sp->read_ms = 0;
	sp->read_error = 0;
	house_until_leg(h, 0, LEG_FORWARD, LEG_FAILED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_2_2_3_a_report_and_its_leg),
		cmocka_unit_test(spec_8_4_what_says_that_the_mailbox_is_not_there),
		T(spec_2_2_3_a_bounce_fails_its_forward_leg_and_nothing_else),
		T(a_bounce_of_the_notice_leaves_the_copy_alone),
		T(spec_1_4_3_what_names_no_leg_is_counted_and_gone),
		T(spec_2_2_4_automatic_answers_are_counted_and_gone),
		T(spec_1_2_12_an_srs_address_counts_for_its_own_sender_only),
		T(spec_1_2_12_a_seal_that_dies_is_asked_again),
		T(spec_2_1_2_the_sender_is_told_when_nobody_has_it_any_more),
		T(a_disk_that_takes_two_seconds_holds_up_nobody_else),
		T(a_disk_that_fails_now_is_asked_again),
	};

	return cmocka_run_group_tests_name("queue/returned", tests, NULL, NULL);
}
