// SPDX-License-Identifier: Apache-2.0
/* Keeping the sending addresses warm (spec 8.11): which mail, whose, how much of it, and what
 * becomes of such a copy when the world changes under it. */
#include "queue/baseline.h"
#include "tests/queue/queue_house.h"

static const struct house_rcpt anna = { RCPT_USER, "anna@a.example", "a.example", "" };

static int
setup(void **state)
{
	int rc = house_setup(state);
	struct house *h = *state;

	h->dmarc = AUTH_PASS;
	assert_false(house_queue(h)->warm);
	h->conf->domain[0].baseline_share = 100;	/* above what a file may say */
	queue_ops.reload(&h->role);
	assert_true(house_queue(h)->warm);
	return rc;
}

/* Of many messages exactly the share, whatever it is; always the same ones. */
static void
test_spec_8_11_share_is_exact(void **state)
{
	static const unsigned shares[] = { 0, 1, 5, 20, 50 };
	enum { N = 100000 };
	unsigned hit[5] = { 0 }, second = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct msgid id = msgid_new(i % 4);

		for (size_t k = 0; k < 5; k++) {
			bool yes = baseline_drawn(id, 0, shares[k]);

			hit[k] += yes;
			assert_int_equal(yes, baseline_drawn(id, 0, shares[k]));
			if (k > 0 && baseline_drawn(id, 0, shares[k - 1]))
				assert_true(yes);	/* a larger share only adds */
		}
		second += baseline_drawn(id, 0, 50) && baseline_drawn(id, 1, 50);
	}
	assert_int_equal(hit[0], 0);
	for (size_t k = 1; k < 5; k++)	/* five times the spread of a draw */
		assert_in_range(hit[k], N / 100 * shares[k] - 800, N / 100 * shares[k] + 800);
	assert_in_range(second, N / 4 - 800, N / 4 + 800);	/* recipients are drawn apart */
}

static void
test_spec_8_11_only_ordinary_mail(void **state)
{
	static const struct {
		const char *what;
		uint32_t flags;
		uint8_t triage, dmarc, spf;
		const char *from;
		bool want;
	} cases[] = {
		{ "class 1", 0, 1, AUTH_PASS, AUTH_NONE, "a@b.example", true },
		{ "class 2", 0, 2, AUTH_PASS, AUTH_NONE, "a@b.example", true },
		{ "class 0", 0, 0, AUTH_PASS, AUTH_PASS, "a@b.example", false },
		{ "bulk", 0, 3, AUTH_PASS, AUTH_PASS, "a@b.example", false },
		{ "bounce", 0, 2, AUTH_PASS, AUTH_PASS, "", false },
		{ "held", ENV_HOLD_ONLY, 2, AUTH_PASS, AUTH_PASS, "a@b.example", false },
		{ "ours", ENV_TAGGED, 2, AUTH_PASS, AUTH_PASS, "a@b.example", false },
		{ "no DNS", ENV_RECHECK, 2, AUTH_PASS, AUTH_PASS, "a@b.example", false },
		{ "no record", 0, 2, AUTH_NONE, AUTH_PASS, "a@b.example", true },
		{ "nothing", 0, 2, AUTH_NONE, AUTH_SOFTFAIL, "a@b.example", false },
		{ "DMARC fails", 0, 2, AUTH_FAIL, AUTH_PASS, "a@b.example", false },
		{ "unknown", 0, 2, AUTH_UNSET, AUTH_PASS, "a@b.example", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct envelope e = { .flags = cases[i].flags, .triage = cases[i].triage,
			.dmarc = cases[i].dmarc, .spf = cases[i].spf,
			.mail_from = slice_str(cases[i].from) };

		if (baseline_ordinary(&e) != cases[i].want)
			fail_msg("%s", cases[i].what);
	}
}

/* The primary has anna's mail. */
static void
store(struct house *h, size_t i)
{
	struct queue_deliver q;
	unsigned at = house_delivery(h, &q, NULL);

	assert_int_equal(q.leg, LEG_HOLD);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, i, LEG_HOLD, LEG_DELIVERED);
}

/* The directory is asked for a user who wants it, or for any. */
static void
target(struct house *h, bool baseline, enum dir_target_status st, const char *what)
{
	struct dir_target q;

	(void)house_next(h, H_DIRECTORY, DIR_TARGET, &dir_target_wire, &q);
	assert_int_equal(q.baseline, baseline);
	h->peer[H_DIRECTORY].first--;
	house_target(h, st, st == TARGET_OK ? what : "", st == TARGET_OK ? "" : what);
}

static size_t
commit(struct house *h)
{
	size_t i = house_queue(h)->spool->n;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	return i;
}

/* The copy leaves although the primary has the mail long since; and once only. */
static void
test_spec_8_11_copy_beside_the_delivery(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i = commit(h);

	store(h, i);
	target(h, true, TARGET_OK, "anna@recovery.example");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	assert_int_equal(q.leg, LEG_FORWARD);
	assert_true(slice_eq(q.rcpt, SLICE_LIT("anna@recovery.example")));
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, i, LEG_FORWARD, LEG_DELIVERED);
	assert_int_equal(house_entry(h, i)->leg[LEG_FORWARD].code, 250);
	assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_DELIVERED);
}

static void
test_spec_8_11_nobody_without_consent(void **state)
{
	struct house *h = *state;
	size_t i = commit(h);

	target(h, true, TARGET_NONE, TARGET_NO_BASELINE);
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), TARGET_NO_BASELINE);
	store(h, i);
	/* a recovery address in a store of ours warms nothing */
	i = commit(h);
	target(h, true, TARGET_OK, "anna@b.example");
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), TARGET_NO_BASELINE);
}

/* None of it without a share, of urgent mail, or of what did not prove its author. */
static void
test_spec_8_11_no_leg_at_all(void **state)
{
	struct house *h = *state;
	size_t i;

	h->triage = 0;
	i = commit(h);
	store(h, i);
	assert_int_equal(house_entry(h, i)->leg[LEG_FORWARD].state, LEG_ABSENT);
	h->triage = 2;
	h->dmarc = AUTH_FAIL;
	i = commit(h);
	store(h, i);
	assert_int_equal(house_entry(h, i)->leg[LEG_FORWARD].state, LEG_ABSENT);
	h->dmarc = AUTH_PASS;
	h->conf->domain[0].baseline_share = 0;
	i = commit(h);
	store(h, i);
	assert_int_equal(house_entry(h, i)->leg[LEG_FORWARD].state, LEG_ABSENT);
	assert_false(house_has_mail(h, &h->peer[H_DIRECTORY]));
}

static bool
attempts_are_one(struct house *h, const void *arg)
{
	return house_entry(h, *(const size_t *)arg)->leg[LEG_FORWARD].attempts == 1;
}

/* A copy that is put off comes again, and is still one of peace time. */
static void
test_spec_8_11_copy_is_retried(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i = commit(h);

	store(h, i);
	target(h, true, TARGET_OK, "anna@recovery.example");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	h->enhanced = "4.3.0";
	house_deliver_answer(h, at, q.req, DELIVER_TEMP, SCOPE_RCPT, 451);
	house_until(h, attempts_are_one, &i);
	assert_int_equal(house_entry(h, i)->leg[LEG_FORWARD].code, LEGS_CODE_BASELINE);
	target(h, true, TARGET_OK, "anna@recovery.example");
	house_prepare(h, SEAL_OK, "");
	at = house_delivery(h, &q, NULL);
	/* the share is taken back: what is refused now does not come again */
	h->conf->domain[0].baseline_share = 0;
	house_deliver_answer(h, at, q.req, DELIVER_TEMP, SCOPE_RCPT, 451);
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), LEGS_NOTE_OFF);
}

static bool
swept(struct house *h, const void *arg)
{
	const size_t *i = arg;

	return !switch_sweeping(house_queue(h), house_entry(h, *i)->group);
}

/* Failover comes on before the primary has it: now every user gets his copy. */
static void
test_spec_8_11_failover_makes_it_a_copy_like_others(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct dir_target t;
	size_t i = commit(h), k;

	target(h, true, TARGET_NONE, TARGET_NO_BASELINE);
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	unsigned at = house_delivery(h, &q, NULL);
	h->enhanced = "4.3.0";
	house_deliver_answer(h, at, q.req, DELIVER_TEMP, SCOPE_HOST, 0);
	/* and one that is being looked up at this moment */
	k = commit(h);
	(void)house_next(h, H_DIRECTORY, DIR_TARGET, &dir_target_wire, &t);
	assert_int_equal(t.baseline, 1);
	house_switch(h, "a.example", FAILOVER_ON);
	house_until(h, swept, &k);	/* what is skipped now nobody would begin again */
	h->peer[H_DIRECTORY].first--;
	house_target(h, TARGET_NONE, "", TARGET_NO_BASELINE);
	for (unsigned n = 0; n < 2; n++)
		target(h, false, TARGET_OK, "anna@recovery.example");
	for (unsigned n = 0; n < 2; n++) {	/* the provider has one connection at first */
		house_prepare(h, SEAL_OK, "");
		at = house_delivery(h, &q, NULL);
		assert_int_equal(q.leg, LEG_FORWARD);
		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	}
	house_until_leg(h, i, LEG_FORWARD, LEG_DELIVERED);
	house_until_leg(h, k, LEG_FORWARD, LEG_DELIVERED);
	assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_PARKED);
}

/* In an outage copies of mail the primary has already do not take the place of others. */
static void
test_spec_8_11_outage_ends_copies_of_delivered_mail(void **state)
{
	struct house *h = *state;
	struct queue *q = house_queue(h);
	struct legs_change to;
	size_t i = commit(h);

	store(h, i);
	assert_true(baseline_leg(house_entry(h, i)));
	assert_int_equal(legs_admit(h->conf, q->failover, house_entry(h, i), LEG_FORWARD,
	    schedule_now(q->schedule), &to), LEGS_RUN);
	house_switch(h, "a.example", FAILOVER_ON);
	assert_int_equal(legs_admit(h->conf, q->failover, house_entry(h, i), LEG_FORWARD,
	    schedule_now(q->schedule), &to), LEGS_SETTLE);
	assert_string_equal(to.note, "settled");
	house_switch(h, "a.example", FAILOVER_OFF);	/* replay */
	assert_int_equal(legs_admit(h->conf, q->failover, house_entry(h, i), LEG_FORWARD,
	    schedule_now(q->schedule), &to), LEGS_SETTLE);
}

/* 9.1: the recovery mailbox sends mail back here. It goes to the primary, and the user gets no
 * copies for a day. */
static void
test_spec_9_1_mail_that_comes_back_in_peace_time(void **state)
{
	static const uint32_t flags[] = { ENV_TAGGED | ENV_HOLD_ONLY, ENV_TAGGED };
	static const char *const notes[] = { "no-reason", TARGET_NO_BASELINE };
	struct house *h = *state;
	struct seal_tag q;
	size_t i;

	h->triage = 0;		/* whatever it looks like */
	for (unsigned n = 0; n < 3; n++) {
		i = house_queue(h)->spool->n;
		house_committed(h, house_commit(h, &anna, 1, flags[n % 2], 0), COMMIT_OK);
		(void)house_next(h, H_SEAL, SEAL_TAG, &seal_tag_wire, &q);
		const struct seal_tagged a = { q.req, n < 2 ? TAG_NOT_OURS : TAG_OURS,
			house_entry(h, i)->id, 0 };
		assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_TAGGED, &seal_tagged_wire, &a,
		    -1), 0);
		house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
		assert_string_equal(house_note(h, i, LEG_FORWARD), n < 2 ? notes[n] : "loop");
		store(h, i);
	}
	h->triage = 2;
	i = commit(h);
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), "loop");
	assert_false(house_has_mail(h, &h->peer[H_DIRECTORY]));
}

/* 8.8: peace leaves half of a mailbox's day to the outage that may come. */
static void
test_spec_8_8_half_of_the_day_is_for_an_outage(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i;

	h->conf->mailbox_day_max = 3;
	for (unsigned n = 0; n < 2; n++) {
		i = commit(h);
		store(h, i);
		target(h, true, TARGET_OK, "anna@recovery.example");
		house_prepare(h, SEAL_OK, "");
		unsigned at = house_delivery(h, &q, NULL);
		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
		house_until_leg(h, i, LEG_FORWARD, LEG_DELIVERED);
	}
	i = commit(h);
	store(h, i);
	target(h, true, TARGET_OK, "anna@recovery.example");
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), TARGET_NO_BASELINE);
	house_switch(h, "a.example", FAILOVER_ON);
	i = commit(h);
	target(h, false, TARGET_OK, "anna@recovery.example");
	house_prepare(h, SEAL_OK, "");
	assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_PARKED);
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_8_11_share_is_exact),
		cmocka_unit_test(test_spec_8_11_only_ordinary_mail),
		T(test_spec_8_11_copy_beside_the_delivery), T(test_spec_8_11_nobody_without_consent),
		T(test_spec_8_11_no_leg_at_all), T(test_spec_8_11_copy_is_retried),
		T(test_spec_8_11_failover_makes_it_a_copy_like_others),
		T(test_spec_8_11_outage_ends_copies_of_delivered_mail),
		T(test_spec_9_1_mail_that_comes_back_in_peace_time),
		T(test_spec_8_8_half_of_the_day_is_for_an_outage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
