// SPDX-License-Identifier: Apache-2.0
/* The queue role between made-up relays, directory and seal: 250 only after the spool said
 * so (0.2), both legs (0.1), replay (11.1-11.3), switches, links that break. */
#include "tests/queue/queue_house.h"

static const struct house_rcpt anna = { RCPT_USER, "anna@a.example", "a.example", "" };
static const struct house_rcpt berta = { RCPT_USER, "berta@b.example", "b.example", "" };

static void
spec_0_2_commit_is_answered_after_the_spool(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;
	static const struct { enum queue_commit_status st; } cases[] = {
		{ COMMIT_OK }, { COMMIT_FULL }, { COMMIT_ERROR } };

	for (size_t i = 0; i < 3; i++) {
		size_t before = h->peer[H_RELAY0].n;
		sp->hold_commits = true;
		sp->answer = cases[i].st;
		uint64_t req = house_commit(h, &berta, 1, 0, 0);
		assert_int_equal(ipc_wait(h->peer[H_RELAY0].queues, 1000), 1);
		assert_int_equal(h->peer[H_RELAY0].n, before);
		double_complete(sp);
		house_committed(h, req, cases[i].st);
	}
	sp->answer = COMMIT_OK;
	sp->hold_commits = false;
}

static void
unsound_commits_are_errors(void **state)
{
	struct house *h = *state;
	const struct house_rcpt nodomain = { RCPT_USER, "x", "", "" };
	const struct queue_commit junk = { 77, SLICE_LIT("junk") };

	house_committed(h, house_commit(h, &anna, 1, 0, 1), COMMIT_ERROR);
	house_committed(h, house_commit(h, &anna, 0, 0, 0), COMMIT_ERROR);
	house_committed(h, house_commit(h, &nodomain, 1, 0, 0), COMMIT_ERROR);
	assert_int_equal(ipc_send(h->peer[H_RELAY0].ours, QUEUE_COMMIT, &queue_commit_wire, &junk,
	    -1), 0);
	house_committed(h, 77, COMMIT_ERROR);
	assert_int_equal(house_queue(h)->spool->n, 0);
}

/* 11.1, 11.3: original sender and recipient, our block on top, the stable queue id. */
static void
standby_delivers_to_the_primary(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct house_mail *m;
	char prefix[128], id[MSGID_TEXT + 1];
	struct slice body;

	house_committed(h, house_commit(h, &anna, 1, ENV_HAS_8BIT, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, &m);
	assert_int_equal(q.leg, LEG_HOLD);
	assert_int_equal(q.route, ROUTE_LMTP);
	assert_int_equal(q.port, 24);
	assert_true(slice_eq(q.host, SLICE_LIT("store-a")));
	assert_true(slice_eq(q.mail_from, SLICE_LIT("bob@sender.example")));
	assert_true(slice_eq(q.rcpt, SLICE_LIT("anna@a.example")));
	assert_int_equal(q.need_8bit, 1);
	msgid_print(q.id, id);
	(void)snprintf(prefix, sizeof(prefix), "X-Fwd-Queue-Id: %s/0\r\n"
	    "Received: from client.example\r\n", id);
	assert_true(slice_eq(q.prefix, slice_str(prefix)));
	assert_int_equal(body_map(m->fd, &body), 0);
	assert_true(slice_eq(body, SLICE_LIT("Subject: hello\r\n\r\nthe body\r\n")));
	body_unmap(&body);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_ABSENT);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].attempts, 1);
}

static void
shard_has_its_own_primary(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r = { RCPT_USER, "s@a.example", "a.example", "s2" };
	struct queue_deliver q;

	house_committed(h, house_commit(h, &r, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	assert_int_equal(q.route, ROUTE_SMTP);
	assert_true(slice_eq(q.host, SLICE_LIT("::1")));
	assert_int_equal(q.port, 2525);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
}

/* The directory may know shards that the configuration does not. */
static void
unknown_shard_goes_to_the_domains_primary(void **state)
{
	struct house *h = *state;
	const struct house_rcpt a = { RCPT_USER, "s@a.example", "a.example", "s9" };
	const struct house_rcpt b = { RCPT_USER, "s@b.example", "b.example", "s9" };
	struct queue_deliver q;

	house_committed(h, house_commit(h, &a, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	assert_true(slice_eq(q.host, SLICE_LIT("store-a")));
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
	house_committed(h, house_commit(h, &b, 1, 0, 0), COMMIT_OK);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_PARKED);
	house_target(h, TARGET_NONE, "", "no-recovery");
	house_until_leg(h, 1, LEG_FORWARD, LEG_SKIPPED);
	struct failover_group *g = failover_ensure(house_queue(h)->failover,
	    SLICE_LIT("b.example"), SLICE_LIT("s9"));
	assert_int_equal(g->phase, PHASE_ACTIVE);
	assert_int_equal(queue_switch(house_queue(h), g, FAILOVER_OFF, (struct audit_who){ 0, 1 },
	    "test"), 0);
	at = house_delivery(h, &q, NULL);
	assert_true(slice_eq(q.host, SLICE_LIT("store-b")));
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 1, LEG_HOLD, LEG_DELIVERED);
}

static void
spec_0_1_active_holds_and_forwards(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct house_mail *m;

	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, &m);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), HOUSE_TOKEN);	/* before it left */
	assert_int_equal(q.leg, LEG_FORWARD);
	assert_int_equal(q.route, ROUTE_MX);
	assert_true(slice_eq(q.host, SLICE_LIT("recovery.example")));
	assert_true(slice_eq(q.rcpt, SLICE_LIT("anna@recovery.example")));
	assert_true(slice_eq(q.mail_from, SLICE_LIT("b-" HOUSE_TOKEN "@fwd.example.it")));
	assert_true(slice_eq(q.suffix, SLICE_LIT("--end\r\n")));
	assert_true(m->fd >= 0);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), HOUSE_TOKEN);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
}

static void
forward_leg_ends(void **state)
{
	struct house *h = *state;
	static const struct {
		enum dir_target_status target;
		const char *reason;
		enum seal_status seal;
		enum deliver_outcome outcome;
		enum leg_state end;
		const char *note;
	} cases[] = {
		{ TARGET_NONE, "opted-out", SEAL_OK, DELIVER_MAX, LEG_SKIPPED, "opted-out" },
		{ TARGET_NONE, "see anna@recovery.example", SEAL_OK, DELIVER_MAX, LEG_SKIPPED,
		  "no-reason" },	/* P4: no address in a note */
		{ TARGET_UNKNOWN, "", SEAL_OK, DELIVER_MAX, LEG_SKIPPED, "user-unknown" },
		{ TARGET_OK, "dkim-hold", SEAL_HOLD, DELIVER_MAX, LEG_SKIPPED, "dkim-hold" },
		{ TARGET_OK, "", SEAL_OK, DELIVER_PERM, LEG_FAILED, "refused nouser 5.1.1" },
		{ TARGET_OK, "", SEAL_OK, DELIVER_LOCAL, LEG_FAILED, "not-sendable 5.1.1" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct queue_deliver q;
		char who[64];	/* another each time: what was said of one is remembered (8.4) */

		(void)snprintf(who, sizeof(who), "user%zu@recovery.example", i);
		house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
		house_target(h, cases[i].target, cases[i].target == TARGET_OK ?
		    who : "", cases[i].reason);
		if (cases[i].target == TARGET_OK)
			house_prepare(h, cases[i].seal, cases[i].reason);
		if (cases[i].outcome != DELIVER_MAX) {
			unsigned at = house_delivery(h, &q, NULL);
			house_deliver_answer(h, at, q.req, cases[i].outcome, SCOPE_RCPT, 550);
		}
		house_until_leg(h, i, LEG_FORWARD, cases[i].end);
		assert_string_equal(house_note(h, i, LEG_FORWARD), cases[i].note);
		assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_PARKED);	/* 0.1 */
	}
}

static void
answer_tag(struct house *h, enum seal_tag_status st, struct msgid id, uint16_t rcpt_index)
{
	struct seal_tag q;
	struct house_mail *m = house_next(h, H_SEAL, SEAL_TAG, &seal_tag_wire, &q);

	assert_true(m->fd >= 0);
	const struct seal_tagged a = { q.req, (uint8_t)st, id, rcpt_index };
	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_TAGGED, &seal_tagged_wire, &a, -1), 0);
}

/* 9.1: a copy that came back ends here when its original does not. */
static void
spec_9_1_came_back(void **state)
{
	struct house *h = *state;
	const uint32_t tagged = ENV_HOLD_ONLY | ENV_TAGGED;
	const struct house_rcpt carla = { RCPT_USER, "carla@b.example", "b.example", "" };

	house_committed(h, house_commit(h, &berta, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	const struct msgid id = house_entry(h, 0)->id, none = { { 0xee } };
	const struct {
		const struct house_rcpt *to;
		enum seal_tag_status st;
		struct msgid id;
		uint16_t rcpt_index;
		enum leg_state hold;
		const char *note;
	} t[] = {
		{ &berta, TAG_NOT_OURS, id, 0, LEG_PARKED, "no-reason" },
		{ &berta, TAG_OURS, id, 0, LEG_PARKED, "loop" },
		{ &berta, TAG_COPY, none, 0, LEG_PARKED, "loop" },	/* it is gone */
		{ &berta, TAG_COPY, id, 1, LEG_PARKED, "loop" },	/* no such recipient */
		{ &carla, TAG_COPY, id, 0, LEG_PARKED, "loop" },	/* another user's */
		{ &berta, TAG_COPY, id, 0, LEG_DROPPED, "loop" },
		{ &berta, TAG_COPY, id, 0, LEG_DROPPED, "loop" },	/* although marked */
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		house_committed(h, house_commit(h, t[i].to, 1, tagged, 0), COMMIT_OK);
		assert_int_equal(house_entry(h, i + 1)->leg[LEG_HOLD].state, LEG_PARKED);
		answer_tag(h, t[i].st, t[i].id, t[i].rcpt_index);
		house_until_leg(h, i + 1, LEG_FORWARD, LEG_SKIPPED);
		assert_string_equal(house_note(h, i + 1, LEG_FORWARD), t[i].note);
		assert_int_equal(house_entry(h, i + 1)->leg[LEG_HOLD].state, t[i].hold);
		if (t[i].hold == LEG_DROPPED)
			assert_string_equal(house_note(h, i + 1, LEG_HOLD), "came-back");
	}
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
	/* other mail of the marked user is not forwarded */
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_until_leg(h, 8, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 8, LEG_FORWARD), "loop");
}

/* 9.1: a strange tag stops nothing; a tag that cannot be read now is asked for later. */
static void
spec_9_1_a_strange_tag(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	house_committed(h, house_commit(h, &berta, 1, ENV_TAGGED, 0), COMMIT_OK);
	answer_tag(h, TAG_NOT_OURS, (struct msgid){ { 0 } }, 0);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
	house_committed(h, house_commit(h, &berta, 1, ENV_TAGGED, 0), COMMIT_OK);
	answer_tag(h, TAG_ERROR, (struct msgid){ { 0 } }, 0);
	house_until_leg(h, 1, LEG_FORWARD, LEG_WAITING);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_PARKED);
}

/* 8.6; the token of the first attempt is used again (1.4.3). */
static void
forward_leg_retries_with_its_token(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct seal_prepare p;

	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_TEMP, SCOPE_RCPT, 451);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_true(slice_eq(p.token, SLICE_LIT(HOUSE_TOKEN)));
	assert_int_equal(p.attempt, 1);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, 1);
	h->peer[H_SEAL].first--;	/* the same question again */
	house_prepare(h, SEAL_OK, "");
	at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
}

static void
hold_only_and_odd_recipients(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r[] = {
		{ RCPT_POSTMASTER, "postmaster@a.example", "a.example", "" },
		{ RCPT_RETURN_PATH, "b-x@fwd.example.it", "fwd.example.it", "" },
	};
	struct queue_deliver q;

	house_committed(h, house_commit(h, &berta, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_ABSENT);
	house_committed(h, house_commit(h, r, 2, 0, 0), COMMIT_OK);
	house_until_leg(h, 2, LEG_HOLD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 2, LEG_HOLD), "bounce-unread");
	unsigned at = house_delivery(h, &q, NULL);
	assert_int_equal(q.route, ROUTE_MX);
	assert_true(slice_eq(q.host, SLICE_LIT("ops.example")));
	assert_true(slice_eq(q.rcpt, SLICE_LIT("admin@ops.example")));
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 1, LEG_HOLD, LEG_DELIVERED);
}

/* 11.2: a 5xx for a user we know is not believed; it is not tried in circles either. */
static void
primary_refusal_parks_the_leg(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_PERM, SCOPE_RCPT, 550);
	house_until_leg(h, 0, LEG_HOLD, LEG_PARKED);
	assert_string_equal(house_note(h, 0, LEG_HOLD), "primary-refused 550 5.1.1");
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].attempts, 1);
	/* The next failover change is a new chance. */
	house_switch(h, "a.example", FAILOVER_ON);
	house_until_leg(h, 0, LEG_FORWARD, LEG_WAITING);
	house_switch(h, "a.example", FAILOVER_OFF);
	do {
		at = house_delivery(h, &q, NULL);
		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	} while (q.leg != LEG_HOLD);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
}

static bool
is_standby(struct house *h, const void *domain)
{
	return failover_of(house_queue(h)->failover, slice_str(domain), SLICE_NONE)->phase ==
	    PHASE_STANDBY;
}

static void
switches_move_what_is_held(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	unsigned at;

	/* The primary is gone before anybody switched. */
	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_TEMP, SCOPE_HOST, 0);
	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_WAITING);
	house_switch(h, "a.example", FAILOVER_ON);
	house_until_leg(h, 0, LEG_HOLD, LEG_PARKED);
	house_until_leg(h, 1, LEG_HOLD, LEG_PARKED);
	house_until_leg(h, 1, LEG_FORWARD, LEG_WAITING);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].attempts, 0);
	/* One is forwarded, the other has no recovery address, a third cannot leave. */
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_target(h, TARGET_NONE, "", "no-recovery");
	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_UNAVAILABLE, "", "");
	/* Back: oldest first, then standby. */
	house_switch(h, "a.example", FAILOVER_OFF);
	house_until_leg(h, 2, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 2, LEG_FORWARD), LEGS_NOTE_OFF);
	for (size_t i = 0; i < 3; i++) {
		at = house_delivery(h, &q, NULL);
		assert_int_equal(q.leg, LEG_HOLD);
		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
		if (i == 0)
			house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
	}
	house_until(h, is_standby, "a.example");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_DELIVERED);
}

/* Born in one phase, stable in the next: neither forgotten nor forwarded too late. */
static void
phase_changes_while_the_commit_is_under_way(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;
	struct queue_deliver q;

	sp->hold_commits = true;
	uint64_t req = house_commit(h, &berta, 1, 0, 0);
	assert_int_equal(ipc_wait(h->peer[H_RELAY0].queues, 1000), 1);
	house_switch(h, "b.example", FAILOVER_OFF);
	house_until(h, is_standby, "b.example");	/* nothing was held */
	double_complete(sp);
	house_committed(h, req, COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	assert_int_equal(q.leg, LEG_HOLD);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_SKIPPED);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
	sp->hold_commits = false;
}

static void
switched_on_while_the_commit_is_under_way(void **state)
{
	struct house *h = *state;
	struct spool *sp = house_queue(h)->spool;

	sp->hold_commits = true;
	uint64_t req = house_commit(h, &anna, 1, 0, 0);
	assert_int_equal(ipc_wait(h->peer[H_RELAY0].queues, 1000), 1);
	house_switch(h, "a.example", FAILOVER_ON);
	house_turn(h);		/* the sweep sees nothing yet */
	house_turn(h);
	double_complete(sp);
	house_committed(h, req, COMMIT_OK);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
	house_target(h, TARGET_NONE, "", "no-recovery");
	house_until_leg(h, 0, LEG_FORWARD, LEG_SKIPPED);
	sp->hold_commits = false;
}

static void
answers_count_from_the_relay_that_was_asked(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at == H_RELAY0 ? H_RELAY1 : H_RELAY0, q.req, DELIVER_PERM,
	    SCOPE_RCPT, 550);
	house_turn(h);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_WAITING);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
}

static void
relay_that_dies_loses_nothing(void **state)
{
	struct house *h = *state;
	struct queue_deliver q, again;
	struct spool *sp = house_queue(h)->spool;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	house_unlink(h, at);
	unsigned other = house_delivery(h, &again, NULL);	/* the other relay */
	assert_int_not_equal(other, at);
	assert_memory_equal(&q.id, &again.id, sizeof(q.id));
	house_link(h, at);
	house_deliver_answer(h, at, q.req, DELIVER_PERM, SCOPE_RCPT, 550);	/* a late voice */
	house_deliver_answer(h, other, again.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_HOLD, LEG_DELIVERED);
	/* A commit whose relay died is kept, and nobody is told. */
	sp->hold_commits = true;
	(void)house_commit(h, &berta, 1, 0, 0);
	assert_int_equal(ipc_wait(h->peer[H_RELAY0].queues, 1000), 1);
	house_unlink(h, H_RELAY0);
	house_link(h, H_RELAY0);
	size_t mail = h->peer[H_RELAY0].n;
	double_complete(sp);
	assert_int_equal(house_entry(h, 1)->leg[LEG_HOLD].state, LEG_PARKED);
	house_target(h, TARGET_NONE, "", "no-recovery");
	assert_int_equal(h->peer[H_RELAY0].n, mail);
	sp->hold_commits = false;
}

static void
stop_waits_for_what_is_in_flight(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	house_committed(h, house_commit(h, &anna, 1, 0, 0), COMMIT_OK);
	unsigned at = house_delivery(h, &q, NULL);
	queue_ops.stop(&h->role);
	assert_false(h->done);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until(h, house_is_done, NULL);
	assert_null(h->role.priv);
}

static bool
b_is_in(struct house *h, const void *phase)
{
	return failover_of(house_queue(h)->failover, SLICE_LIT("b.example"), SLICE_NONE)->phase ==
	    *(const enum failover_phase *)phase;
}

/* The clockwork: a window switches on by itself, its end brings the mode before back, and the
 * legs follow. */
static void
windows_and_ends_come_by_themselves(void **state)
{
	static const enum failover_phase active = PHASE_ACTIVE, standby = PHASE_STANDBY;
	struct house *h = *state;
	struct queue *q = house_queue(h);
	char domain[] = "b.example", why[] = "disks";
	struct queue_deliver d;
	uint64_t id;

	house_switch(h, "b.example", FAILOVER_OFF);
	house_until(h, b_is_in, &standby);
	const struct failover_window w = { .domain = domain, .from_ms = clock_wall_ms() + 300,
		.until_ms = clock_wall_ms() + 2500, .reason = why };
	assert_int_equal(failover_window_add(q->failover, &w, &id), 0);
	house_until(h, b_is_in, &active);
	const struct failover_group *g = failover_of(q->failover, SLICE_LIT("b.example"), SLICE_NONE);
	assert_int_equal(g->mode, FAILOVER_ON);
	assert_string_equal(g->reason, "window 1: disks");
	assert_int_equal(failover_windows(q->failover), 0);
	house_committed(h, house_commit(h, &berta, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
	unsigned at = house_delivery(h, &d, NULL);	/* its end came: replay */
	house_deliver_answer(h, at, d.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until(h, b_is_in, &standby);
	assert_int_equal(g->mode, FAILOVER_OFF);
}

/* One that passed while nobody ran switches nothing; on for longer is left alone. */
static void
missed_and_needless_windows_change_nothing(void **state)
{
	struct house *h = *state;
	struct queue *q = house_queue(h);
	char a[] = "a.example", b[] = "b.example", why[] = "disks";
	uint64_t id;
	struct failover_window w = { .domain = a, .from_ms = 1, .until_ms = 2, .reason = why };

	assert_int_equal(failover_window_add(q->failover, &w, &id), 0);
	w.domain = b;
	w.until_ms = clock_wall_ms() + 60000;
	assert_int_equal(failover_window_add(q->failover, &w, &id), 0);
	switch_tick(q);
	assert_int_equal(failover_windows(q->failover), 0);
	assert_int_equal(failover_of(q->failover, slice_str(a), SLICE_NONE)->phase, PHASE_STANDBY);
	const struct failover_group *g = failover_of(q->failover, slice_str(b), SLICE_NONE);
	assert_int_equal(g->mode, FAILOVER_ON);
	assert_int_equal(g->until_ms, 0);
}

static void
junk_from_peers_is_survived(void **state)
{
	struct house *h = *state;
	static const uint32_t types[] = { QUEUE_COMMIT, QUEUE_DELIVERED, DIR_TARGETED, SEAL_PREPARED,
		DIR_RELOADED, 0xffff };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (unsigned p = 0; p < 4; p++)
			queue_ops.message(&h->role, h->peer[p].kind, h->peer[p].index,
			    h->peer[p].queues, types[i], SLICE_LIT("\x01\x02\x03"), dup(0));
	const struct queue_delivered late = { .req = 12345 };
	assert_int_equal(ipc_send(h->peer[H_RELAY0].ours, QUEUE_DELIVERED, &queue_delivered_wire,
	    &late, -1), 0);
	house_committed(h, house_commit(h, &berta, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(spec_0_2_commit_is_answered_after_the_spool),
		T(unsound_commits_are_errors),
		T(standby_delivers_to_the_primary),
		T(shard_has_its_own_primary),
		T(unknown_shard_goes_to_the_domains_primary),
		T(spec_0_1_active_holds_and_forwards),
		T(forward_leg_ends),
		T(spec_9_1_came_back),
		T(spec_9_1_a_strange_tag),
		T(forward_leg_retries_with_its_token),
		T(hold_only_and_odd_recipients),
		T(primary_refusal_parks_the_leg),
		T(switches_move_what_is_held),
		T(phase_changes_while_the_commit_is_under_way),
		T(switched_on_while_the_commit_is_under_way),
		T(answers_count_from_the_relay_that_was_asked),
		T(relay_that_dies_loses_nothing),
		T(stop_waits_for_what_is_in_flight),
		T(windows_and_ends_come_by_themselves),
		T(missed_and_needless_windows_change_nothing),
		T(junk_from_peers_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
