// SPDX-License-Identifier: Apache-2.0
/* Spec 12.3: the first copy of an outage waits for its user's notice, never for long. */
#include "tests/queue/queue_house.h"

#include "base/body.h"

static const struct house_rcpt berta = { RCPT_USER, "berta@b.example", "b.example", "" };

static int
setup(void **state)
{
	int rc = house_setup(state);
	struct house *h = *state;

	for (size_t i = 0; i < h->conf->ndomain; i++)
		h->conf->domain[i].user_notice = true;
	return rc;
}

static void
arrives(struct house *h)
{
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
}

/* Seal's answer; what was asked to *q. */
static void
announce(struct house *h, enum seal_status st, struct seal_announce *q)
{
	(void)house_next(h, H_SEAL, SEAL_ANNOUNCE, &seal_announce_wire, q);
	const struct seal_announced a = { .req = q->req, .status = (uint8_t)st,
		.token = SLICE_LIT(HOUSE_TOKEN), .mail_from = SLICE_LIT("n@fwd.example.it") };
	int fd = st == SEAL_OK ? body_make(SLICE_LIT("Subject: notice\r\n\r\nx\r\n")) : -1;

	assert_int_equal(ipc_send(h->peer[H_SEAL].ours, SEAL_ANNOUNCED, &seal_announced_wire, &a,
	    fd), 0);
	if (fd >= 0)
		close(fd);
}

/* The next delivery: a notice, or else a copy. */
static unsigned
goes(struct house *h, bool notice, uint64_t *req)
{
	struct queue_deliver q;
	struct house_mail *m;
	unsigned at = house_delivery(h, &q, &m);

	assert_true(slice_eq(q.rcpt, SLICE_LIT("berta@recovery.example")));
	assert_int_equal(slice_eq(q.mail_from, SLICE_LIT("n@fwd.example.it")), notice);
	assert_int_equal(q.prefix.n == 0, notice);
	assert_true(m->fd >= 0);
	*req = q.req;
	return at;
}

static void
copy_goes(struct house *h, size_t entry)
{
	uint64_t req;

	house_prepare(h, SEAL_OK, "");
	unsigned at = goes(h, false, &req);
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, entry, LEG_FORWARD, LEG_DELIVERED);
}

static void
spec_12_3_the_notice_goes_first_and_once(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	uint64_t req;

	arrives(h);
	announce(h, SEAL_OK, &q);
	assert_true(slice_eq(q.user, SLICE_LIT("berta@b.example")));
	unsigned at = goes(h, true, &req);
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	copy_goes(h, 0);
	arrives(h);
	copy_goes(h, 1);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, 1);
}

static void
spec_12_3_a_notice_that_cannot_be_made_holds_nothing_up(void **state)
{
	struct house *h = *state;
	struct seal_announce q;

	arrives(h);
	announce(h, SEAL_ERROR, &q);
	copy_goes(h, 0);
	arrives(h);		/* the next one tries again */
	announce(h, SEAL_HOLD, &q);
	copy_goes(h, 1);
}

static void
a_second_message_waits_for_the_notice_of_the_first(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	uint64_t req;

	for (size_t i = 0; i < h->conf->nprovider; i++)
		h->conf->provider[i].slow_start_ms = 0;		/* several at a time */
	arrives(h);
	announce(h, SEAL_OK, &q);
	unsigned at = goes(h, true, &req);
	arrives(h);		/* no second notice, and no copy before the first */
	for (int i = 0; i < 20; i++)
		house_turn(h);
	assert_false(house_has_mail(h, &h->peer[H_SEAL]));
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	copy_goes(h, 0);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	copy_goes(h, 1);
}

static void
a_relay_that_dies_over_it_costs_a_repetition(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	uint64_t req;

	arrives(h);
	announce(h, SEAL_OK, &q);
	unsigned at = goes(h, true, &req);
	house_unlink(h, at);
	house_link(h, at);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	announce(h, SEAL_OK, &q);
	at = goes(h, true, &req);
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	copy_goes(h, 0);
}

static void
put_off_three_times_it_is_given_up(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	uint64_t req;

	h->enhanced = "4.7.1";
	h->text = "try again later";
	arrives(h);
	for (int i = 0; i < 3; i++) {
		announce(h, SEAL_OK, &q);
		unsigned at = goes(h, true, &req);
		house_deliver_answer(h, at, req, DELIVER_TEMP, SCOPE_RCPT, 451);
		if (i < 2)
			house_target(h, TARGET_OK, "berta@recovery.example", "");
	}
	copy_goes(h, 0);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, 1);	/* of the copy */
	arrives(h);
	copy_goes(h, 1);
}

static void
a_host_that_is_down_is_asked_again_for_the_notice(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	uint64_t req;

	arrives(h);
	announce(h, SEAL_OK, &q);
	unsigned at = goes(h, true, &req);
	h->enhanced = "4.4.1";
	h->text = "no connection";
	house_deliver_answer(h, at, req, DELIVER_TEMP, SCOPE_HOST, 0);
	house_target(h, TARGET_OK, "berta@recovery.example", "");
	announce(h, SEAL_OK, &q);
	at = goes(h, true, &req);
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	copy_goes(h, 0);
}

static void
another_recovery_address_gets_a_notice_of_its_own(void **state)
{
	struct house *h = *state;
	struct seal_announce q;
	struct queue_deliver d;
	uint64_t req;

	arrives(h);
	announce(h, SEAL_OK, &q);
	unsigned at = goes(h, true, &req);
	house_deliver_answer(h, at, req, DELIVER_OK, SCOPE_RCPT, 250);
	copy_goes(h, 0);
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "new@recovery.example", "");
	announce(h, SEAL_OK, &q);
	at = house_delivery(h, &d, NULL);
	assert_true(slice_eq(d.rcpt, SLICE_LIT("new@recovery.example")));
	house_deliver_answer(h, at, d.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_prepare(h, SEAL_OK, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(spec_12_3_the_notice_goes_first_and_once),
		T(spec_12_3_a_notice_that_cannot_be_made_holds_nothing_up),
		T(a_second_message_waits_for_the_notice_of_the_first),
		T(a_relay_that_dies_over_it_costs_a_repetition),
		T(put_off_three_times_it_is_given_up),
		T(a_host_that_is_down_is_asked_again_for_the_notice),
		T(another_recovery_address_gets_a_notice_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
