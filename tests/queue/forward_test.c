// SPDX-License-Identifier: Apache-2.0
/* Forward legs in the queue role: what destinations say (spec 8.4), the one retry in another
 * form (7.5, 7.6, 8.5), recovery addresses that lead nowhere (9.3), caps (8.8, 8.9, 8.11),
 * times (8.6, 10.4). */
#include "queue/legs_forward.h"
#include "tests/queue/queue_house.h"

static const struct house_rcpt berta = { RCPT_USER, "berta@b.example", "b.example", "" };

static const char authres[] = "mx2.example.it;\r\n\tspf=pass smtp.mailfrom=esp.example;\r\n\t"
    "dmarc=pass header.from=Brand.example policy.dmarc=reject";

/* A leg to `who` as far as its delivery. */
static unsigned
go(struct house *h, const char *who, const char *form, struct queue_deliver *q)
{
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, who, "");
	house_prepare(h, SEAL_OK, form);
	return house_delivery(h, q, NULL);
}

static void
answer(struct house *h, unsigned at, uint64_t req, uint16_t code, const char *enhanced,
    const char *text)
{
	h->enhanced = enhanced;
	h->text = text;
	house_deliver_answer(h, at, req, code < 400 ? DELIVER_OK : code < 500 ? DELIVER_TEMP :
	    DELIVER_PERM, SCOPE_RCPT, code);
}

static void
ends(struct house *h, const char *who, uint16_t code, const char *enhanced, const char *text,
    enum leg_state st, const char *note)
{
	struct queue_deliver q;
	size_t i = house_queue(h)->spool->n;
	unsigned at = go(h, who, "", &q);

	answer(h, at, q.req, code, enhanced, text);
	house_until_leg(h, i, LEG_FORWARD, st);
	assert_string_equal(house_note(h, i, LEG_FORWARD), note);
	assert_int_equal(house_entry(h, i)->leg[LEG_HOLD].state, LEG_PARKED);	/* 0.1 */
}

static void
skipped(struct house *h, const char *who, const char *note)
{
	size_t i = house_queue(h)->spool->n;

	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, who, "");
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), note);
}

static bool
is_put_off(struct house *h, const void *arg)
{
	size_t i = *(const size_t *)arg;

	return house_entry(h, i)->leg[LEG_FORWARD].state == LEG_WAITING &&
	    house_entry(h, i)->leg[LEG_FORWARD].next_ms > clock_wall_ms() + 30000;
}

static void
waits(struct house *h, const char *who)
{
	size_t i = house_queue(h)->spool->n;

	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, who, "");
	house_until(h, is_put_off, &i);
}

static bool
attempts_are_one(struct house *h, const void *arg)
{
	return house_entry(h, *(const size_t *)arg)->leg[LEG_FORWARD].attempts == 1;
}

/* 8.3: a provider begins with one connection, and the relay, which opens them, is told. */
static void
test_spec_8_3_the_relay_hears_of_the_slow_start(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	unsigned at = go(h, "anna@recovery.example", "", &q);
	assert_int_equal(q.connections, 1);
	answer(h, at, q.req, 250, "2.0.0", "thank you");
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
}

/* 7.5, 8.5: once as it is, once munged, never a third time; the pair is marked. */
static void
test_spec_7_5_auth_is_retried_once_munged(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct seal_prepare p;
	size_t first = 0;

	h->authres = authres;
	unsigned at = go(h, "anna@recovery.example", "", &q);
	assert_true(slice_eq(q.group, SLICE_LIT("provider.example")));
	answer(h, at, q.req, 550, "5.7.26", "does not pass DMARC");
	house_until(h, attempts_are_one, &first);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_int_equal(p.refusal, SEAL_REFUSED_AUTH);
	assert_int_equal(p.transformed, 0);
	assert_true(slice_eq(p.token, SLICE_LIT(HOUSE_TOKEN)));
	h->peer[H_SEAL].first--;
	house_prepare(h, SEAL_OK, "munge");
	at = house_delivery(h, &q, NULL);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), HOUSE_TOKEN " auth changed");
	answer(h, at, q.req, 550, "5.7.26", "still not");
	house_until_leg(h, 0, LEG_FORWARD, LEG_FAILED);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), "refused auth 5.7.26");
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, 2);
	/* the next one of this author to this provider says so at once */
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "carla@recovery.example", "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_int_equal(p.marked, 1);
	assert_int_equal(p.refusal, SEAL_NOT_REFUSED);
	h->peer[H_SEAL].first--;
	house_prepare(h, SEAL_OK, "munge");
	at = house_delivery(h, &q, NULL);
	answer(h, at, q.req, 250, "2.0.0", "");
	house_until_leg(h, 1, LEG_FORWARD, LEG_DELIVERED);
	/* another author is not */
	h->authres = "mx2.example.it; dmarc=pass header.from=other.example";
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "dora@recovery.example", "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_int_equal(p.marked, 0);
}

/* 7.6, and 8.5 when seal has no other form of it. */
static void
test_spec_7_6_structure_is_retried_once_wrapped(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	struct seal_prepare p;
	size_t at_entry = 0;

	unsigned at = go(h, "anna@recovery.example", "", &q);
	answer(h, at, q.req, 550, "5.7.1", "'Message-ID' header missing");
	house_until(h, attempts_are_one, &at_entry);
	house_target(h, TARGET_OK, "anna@recovery.example", "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_int_equal(p.refusal, SEAL_REFUSED_STRUCTURE);
	h->peer[H_SEAL].first--;
	house_prepare(h, SEAL_OK, "wrap");
	at = house_delivery(h, &q, NULL);
	answer(h, at, q.req, 250, "2.0.0", "");
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
	at = go(h, "carla@recovery.example", "", &q);
	answer(h, at, q.req, 554, "5.6.0", "no");
	house_target(h, TARGET_OK, "carla@recovery.example", "");
	house_prepare(h, SEAL_OK, "");		/* the same bytes: not again */
	house_until_leg(h, 1, LEG_FORWARD, LEG_FAILED);
}

static void
test_spec_8_4_final_classes(void **state)
{
	struct house *h = *state;

	ends(h, "a@recovery.example", 550, "5.1.1", "no such user", LEG_FAILED, "refused nouser 5.1.1");
	skipped(h, "A@Recovery.example", "nouser");	/* never retried for any message */
	ends(h, "b@recovery.example", 550, "5.7.1", "likely unsolicited", LEG_FAILED,
	    "refused spam 5.7.1");
	ends(h, "b@recovery.example", 552, "5.3.4", "too big", LEG_FAILED, "refused size 5.3.4");
	ends(h, "b@recovery.example", 550, "5.7.1", "because", LEG_FAILED, "refused 5.7.1");
	ends(h, "b@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	ends(h, "b@recovery.example", 554, "5.4.6", "hops", LEG_FAILED, "refused loop 5.4.6");
	size_t i = house_queue(h)->spool->n;		/* 9.1: this user not for a day */
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), "loop");
}

/* Case 12 of 14.4 in the small: one mailbox waits, the next goes. */
static void
test_spec_8_4_mailbox_classes(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i = 0;
	unsigned at = go(h, "a@recovery.example", "", &q);

	answer(h, at, q.req, 450, "4.2.1", "too quickly");
	house_until(h, is_put_off, &i);
	assert_in_range(house_entry(h, 0)->leg[LEG_FORWARD].next_ms - clock_wall_ms(), 3500000, 3600000);
	waits(h, "a@recovery.example");
	ends(h, "b@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	i = house_queue(h)->spool->n;
	at = go(h, "c@recovery.example", "", &q);
	answer(h, at, q.req, 452, "4.2.2", "full");
	house_until(h, is_put_off, &i);
	assert_true(house_entry(h, i)->leg[LEG_FORWARD].next_ms - clock_wall_ms() > 86300000);
	waits(h, "c@recovery.example");
	assert_int_equal(h->closes, 0);
}

/* Case 11 of 14.4 in the small: silence for the whole provider, connections close. */
static void
test_spec_8_4_rate_closes_the_provider(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i = 0;
	unsigned at = go(h, "a@recovery.example", "", &q);

	answer(h, at, q.req, 421, "4.7.28", "unusual rate of mail");
	house_until(h, is_put_off, &i);
	assert_in_range(house_entry(h, 0)->leg[LEG_FORWARD].next_ms - clock_wall_ms(), 590000, 600000);
	waits(h, "b@elsewhere.example");	/* another domain, the same provider */
	house_turn(h);
	house_turn(h);
	assert_int_equal(h->closes, 2);		/* both relays were told */
}

/* RATE that names the author's domain stops that author only. */
static void
test_spec_8_4_rate_of_a_dkim_domain(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i = 0;

	h->authres = authres;
	unsigned at = go(h, "a@recovery.example", "", &q);
	answer(h, at, q.req, 421, "4.7.28", "unusual rate from your DKIM domain [brand.example 36]");
	house_until(h, is_put_off, &i);
	waits(h, "b@recovery.example");
	assert_int_equal(h->closes, 0);
	h->authres = "mx2.example.it; dmarc=pass header.from=other.example";
	ends(h, "b@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
}

static void
test_spec_8_4_block_and_setup_alarm(void **state)
{
	struct house *h = *state;
	struct buf out;

	ends(h, "a@recovery.example", 550, "5.7.1", "(S3140)", LEG_FAILED, "refused block 5.7.1");
	waits(h, "b@recovery.example");
	buf_init(&out, 65536);
	attempts_status(house_queue(h)->attempts, &out);
	assert_int_equal(buf_put(&out, "", 1), 0);
	assert_non_null(strstr(out.p + out.off, "\"what\":\"provider-block\""));
	assert_non_null(strstr(out.p + out.off, "\"block\":1"));
	assert_null(strstr(out.p + out.off, "provider.example"));	/* P4: maybe one person's */
	assert_null(strstr(out.p + out.off, "recovery"));
	buf_fini(&out);
}

/* 9.3 at send time. */
static void
test_spec_9_3_recovery_addresses(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	skipped(h, "Berta@B.example", "self");
	skipped(h, "x@b.example", "chain");		/* in failover */
	skipped(h, "x@fwd.example.it", "bad-recovery");
	skipped(h, "x@[192.0.2.1]", "bad-recovery");
	skipped(h, "x@localhost", "bad-recovery");
	skipped(h, "nonsense", "bad-recovery");
	h->route = ROUTED_NEVER;
	h->reason = "null-mx";
	skipped(h, "x@null.example", "null-mx");
	h->reason = "self";
	skipped(h, "x@ours.example", "self");
	h->route = ROUTED_LATER;
	waits(h, "x@broken.example");
	/* a domain of ours that works: straight into its store, sender and all (1.1.4) */
	size_t i = house_queue(h)->spool->n;
	unsigned at = go(h, "x@a.example", "", &q);
	assert_int_equal(q.route, ROUTE_LMTP);
	assert_true(slice_eq(q.host, SLICE_LIT("store-a")));
	assert_true(slice_eq(q.mail_from, SLICE_LIT("bob@sender.example")));
	assert_true(slice_eq(q.rcpt, SLICE_LIT("x@a.example")));
	assert_int_equal(q.group.n, 0);
	answer(h, at, q.req, 250, "2.0.0", "");
	house_until_leg(h, i, LEG_FORWARD, LEG_DELIVERED);
}

/* 8.8, 9.4 */
static void
test_spec_8_8_and_9_4_mailbox_caps(void **state)
{
	struct house *h = *state;

	h->conf->mailbox_burst_max = 3;
	h->conf->mailbox_day_max = 5;
	for (unsigned i = 0; i < 3; i++)
		ends(h, "a@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	waits(h, "a@recovery.example");
	ends(h, "b@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	h->conf->mailbox_burst_max = 10;
	/* what was refused does not count */
	ends(h, "a@recovery.example", 550, "5.7.1", "no", LEG_FAILED, "refused 5.7.1");
	for (unsigned i = 0; i < 2; i++)
		ends(h, "a@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	skipped(h, "a@recovery.example", "mailbox-day-max");
}

static void
volume_start(struct house *h, unsigned n)
{
	for (size_t i = 0; i < h->conf->nprovider; i++)
		h->conf->provider[i].volume_start = n;
}

/* 8.11: the day's volume; class 0 may exceed it. */
static void
test_spec_8_11_volume(void **state)
{
	struct house *h = *state;

	volume_start(h, 2);
	for (unsigned i = 0; i < 2; i++)
		ends(h, "a@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	waits(h, "b@recovery.example");
	assert_int_equal(house_entry(h, 2)->leg[LEG_HOLD].state, LEG_PARKED);	/* untouched */
	assert_int_equal(house_entry(h, 2)->leg[LEG_FORWARD].attempts, 0);
	h->triage = 0;
	ends(h, "c@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
}

/* 8.11: it comes back when the day is over, and the administrator is told once. */
static void
test_spec_8_11_what_is_too_much_waits_for_tomorrow(void **state)
{
	static const int64_t day = INT64_C(24) * 3600 * 1000;
	struct house *h = *state;
	struct buf text;

	volume_start(h, 1);
	int64_t before = clock_wall_ms();
	ends(h, "a@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	for (size_t i = 1; i < 4; i++) {
		waits(h, "b@recovery.example");
		int64_t next = house_entry(h, i)->leg[LEG_FORWARD].next_ms;

		assert_in_range(next, before + day, clock_wall_ms() + day + 3600 * 1000 + 1);
	}
	buf_init(&text, 64 * 1024);
	queue_ops.status(&h->role, &text);
	assert_int_equal(buf_put(&text, "", 1), 0);
	const char *said = buf_slice(&text).p;
	assert_non_null(strstr(said, "\"what\":\"provider-volume\""));
	assert_non_null(strstr(said, "\"count\":3"));
	assert_non_null(strstr(said, "\"today\":1,\"largest\":0,\"allowed\":1,"));
	buf_fini(&text);
}

/* 8.11: what is under way counts, and what was refused does not. */
static void
test_spec_8_11_volume_is_exact(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;

	volume_start(h, 1);
	unsigned at = go(h, "a@recovery.example", "", &q);
	waits(h, "b@recovery.example");
	answer(h, at, q.req, 550, "5.7.1", "no");
	house_until_leg(h, 0, LEG_FORWARD, LEG_FAILED);
	ends(h, "c@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	waits(h, "d@recovery.example");
}

/* 8.9 */
static void
test_spec_8_9_message_id(void **state)
{
	struct house *h = *state;
	struct queue_deliver q;
	size_t i;

	h->conf->disk_bulk_reserve = h->conf->disk_reserve = h->conf->disk_warn = 0;
	house_queue(h)->measured_ms = 0;	/* the double's disk is small */
	house_queue(h)->water = WATER_FINE;
	h->message_id = 77;
	h->triage = 3;
	ends(h, "a@recovery.example", 250, "2.0.0", "", LEG_DELIVERED, HOUSE_TOKEN);
	i = house_queue(h)->spool->n;
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "b@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	house_until_leg(h, i, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, i, LEG_FORWARD), "message-id-max");
	h->triage = 1;
	h->message_id = 78;
	h->conf->message_id_max = 1;
	unsigned at = go(h, "c@recovery.example", "", &q);
	answer(h, at, q.req, 250, "2.0.0", "");
	i = house_queue(h)->spool->n;
	house_committed(h, house_commit(h, &berta, 1, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "d@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	house_until(h, is_put_off, &i);
}

/* ---- pure ---- */

static void
test_spec_8_6_retry_times(void **state)
{
	static const unsigned minutes[] = { 1, 2, 4, 8, 15, 30, 60, 60, 60 };
	struct house *h = *state;

	h->conf->retry_min_ms = 60000;
	h->conf->retry_max_ms = 3600000;
	for (unsigned i = 0; i < 9; i++) {
		int64_t t = (int64_t)minutes[i] * 60000;

		assert_int_equal(forward_backoff(h->conf, i + 1, 0), t - t / 5);
		assert_in_range(forward_backoff(h->conf, i + 1, UINT32_MAX), t + t / 5 - 1, t + t / 5);
	}
}

static void
test_spec_10_4_class_ttl(void **state)
{
	struct house *h = *state;
	static const int64_t hours[] = { 48, 24, 48, 24 };

	for (unsigned k = 0; k < 4; k++) {
		const struct spool_entry e = { .triage = (uint8_t)k, .received_ms = 1000000 };

		assert_int_equal(forward_ends_ms(h->conf, &e) - 1000000, hours[k] * 3600000);
		assert_int_equal(forward_class(h->conf, &e, 1000000 + 15 * 60000), k);
		assert_int_equal(forward_class(h->conf, &e, 1000001 + 15 * 60000), k == 0 ? 2 : k);
	}
}

static void
test_notes_survive(void **state)
{
	static const char *const t[] = { "", HOUSE_TOKEN, HOUSE_TOKEN " auth", HOUSE_TOKEN
	    " auth changed", HOUSE_TOKEN " structure changed", HOUSE_TOKEN " changed", HOUSE_TOKEN " addr",
	    "------------------------ auth changed" };
	static const char *const junk[] = { "expired", "refused nouser 5.1.1", HOUSE_TOKEN "x auth", " " };
	struct forward_note n;
	char out[LEGS_NOTE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		forward_note_read(t[i], &n);
		forward_note_print(&n, out);
		assert_string_equal(out, t[i]);
	}
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		forward_note_read(junk[i], &n);
		assert_string_equal(n.token, "");
		assert_int_equal(n.refused, REPLY_OK);
	}
}

/* What a result makes of the leg; 12.4: class and code, never the text. */
static void
test_spec_8_4_results(void **state)
{
	struct house *h = *state;
	struct failover_group *g = failover_of(house_queue(h)->failover, SLICE_LIT("b.example"),
	    SLICE_NONE);
	static const struct {
		enum deliver_outcome outcome;
		enum deliver_scope scope;
		uint16_t code;
		enum reply_class class;
		enum legs_after after;
		enum leg_state end;
		unsigned attempts;
		const char *note;
	} t[] = {
		{ DELIVER_OK, SCOPE_RCPT, 250, REPLY_OK, LEGS_DONE, LEG_DELIVERED, 1, HOUSE_TOKEN },
		{ DELIVER_TEMP, SCOPE_RCPT, 450, REPLY_TEMP, LEGS_RETRY, LEG_WAITING, 1, HOUSE_TOKEN },
		{ DELIVER_TEMP, SCOPE_HOST, 0, REPLY_TEMP, LEGS_HOST, 0, 0, "" },
		{ DELIVER_TEMP, SCOPE_HOST, 421, REPLY_RATE, LEGS_RETRY, LEG_WAITING, 1, HOUSE_TOKEN },
		{ DELIVER_UNKNOWN, SCOPE_HOST, 0, REPLY_TEMP, LEGS_RETRY, LEG_WAITING, 1, HOUSE_TOKEN },
		{ DELIVER_PERM, SCOPE_RCPT, 550, REPLY_PERM, LEGS_DONE, LEG_FAILED, 1, "refused 5.9.9" },
		{ DELIVER_PERM, SCOPE_HOST, 554, REPLY_PERM, LEGS_HOST, 0, 0, "" },
		{ DELIVER_PERM, SCOPE_HOST, 0, REPLY_PERM, LEGS_DONE, LEG_FAILED, 1, "refused 5.9.9" },
		{ DELIVER_LOCAL, SCOPE_HOST, 0, REPLY_SIZE, LEGS_DONE, LEG_FAILED, 1,
		  "not-sendable size 5.9.9" },
		{ DELIVER_PERM, SCOPE_RCPT, 550, REPLY_AUTH, LEGS_RETRY, LEG_WAITING, 1,
		  HOUSE_TOKEN " auth" },
		{ DELIVER_TEMP, SCOPE_RCPT, 450, REPLY_FULL, LEGS_RETRY, LEG_WAITING, 1, HOUSE_TOKEN },
		{ DELIVER_PERM, SCOPE_RCPT, 552, REPLY_FULL, LEGS_DONE, LEG_FAILED, 1,
		  "refused full 5.9.9" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct spool_entry e = { .kind = RCPT_USER, .triage = 2, .received_ms = 1000 };
		const struct queue_delivered r = { .outcome = (uint8_t)t[i].outcome,
			.scope = (uint8_t)t[i].scope, .code = t[i].code, .enhanced = SLICE_LIT("5.9.9"),
			.text = SLICE_LIT("anna@recovery.example") };
		struct forward_reply f = { .conf = h->conf, .group = g, .e = &e, .r = &r,
			.verdict = { (uint8_t)t[i].class, 0, t[i].outcome == DELIVER_PERM }, .now = 2000 };
		struct legs_change to;

		e.leg[LEG_FORWARD].state = LEG_WAITING;
		forward_note_read(HOUSE_TOKEN, &f.note);
		f.until = t[i].class == REPLY_RATE || t[i].class == REPLY_FULL ? 99000 : 0;
		assert_int_equal(forward_result(&f, &to), t[i].after);
		if (t[i].after == LEGS_HOST)
			continue;
		assert_int_equal(to.leg.state, t[i].end);
		assert_int_equal(to.leg.attempts, t[i].attempts);
		assert_string_equal(to.note, t[i].note);
		if (f.until != 0 && t[i].end == LEG_WAITING)
			assert_int_equal(to.leg.next_ms, 99000);
	}
}

/* ---- 0.4: DNS did not answer when it came ---- */

/* A message that waits for a second look; the leg is at the relay's door. */
static unsigned
second_look(struct house *h, struct queue_evaluate *q, struct house_mail **mail)
{
	house_target(h, TARGET_OK, "a@recovery.example", "");
	house_until(h, house_any_relay_mail, NULL);
	unsigned at = house_has_mail(h, &h->peer[H_RELAY0]) ? H_RELAY0 : H_RELAY1;
	*mail = house_next(h, at, QUEUE_EVALUATE, &queue_evaluate_wire, q);
	assert_true((*mail)->fd >= 0);
	return at;
}

static void
evaluated(struct house *h, unsigned at, const struct queue_evaluate *q,
    enum queue_evaluated_status st, uint32_t flags, const char *reason)
{
	struct queue_evaluated m = { .req = q->req, .status = (uint8_t)st };
	struct envelope e;
	struct buf out;

	buf_init(&out, ENVELOPE_MAX);
	assert_int_equal(envelope_get(q->envelope, &e), 0);
	e.flags = (e.flags & ~(uint32_t)ENV_OF_VERIFY) | flags;
	e.reason = slice_str(reason);
	e.authres = SLICE_LIT("mx2.example.it; dmarc=pass header.from=brand.example");
	e.dmarc = AUTH_PASS;
	assert_int_equal(wire_put(&out, &envelope_wire, &e), 0);
	if (st == EVALUATED_OK)
		m.envelope = buf_slice(&out);
	assert_int_equal(ipc_send(h->peer[at].ours, QUEUE_EVALUATED, &queue_evaluated_wire, &m, -1),
	    0);
	buf_fini(&out);
}

static void
test_spec_0_4_evaluated_again_before_seal(void **state)
{
	struct house *h = *state;
	struct queue_evaluate q;
	struct queue_deliver d;
	struct seal_prepare p;
	struct envelope e;
	struct house_mail *mail;
	size_t first = 0;

	h->conf->recheck_interval_ms = 300;
	int64_t start = clock_mono_ms();
	house_committed(h, house_commit(h, &berta, 1, ENV_RECHECK, 0), COMMIT_OK);
	unsigned at = second_look(h, &q, &mail);
	assert_true(clock_mono_ms() - start >= 250);	/* DNS gets its time */
	h->conf->recheck_interval_ms = 10;
	evaluated(h, at, &q, EVALUATED_OK, ENV_RECHECK, "dmarc-temperror");
	house_until(h, attempts_are_one, &first);
	assert_int_equal(h->peer[H_SEAL].first, h->peer[H_SEAL].n);
	at = second_look(h, &q, &mail);
	evaluated(h, at, &q, EVALUATED_OK, ENV_SURVIVABLE, "");
	(void)house_next(h, H_SEAL, SEAL_PREPARE, &seal_prepare_wire, &p);
	assert_int_equal(envelope_get(p.envelope, &e), 0);	/* the new one */
	assert_int_equal(e.flags & (ENV_RECHECK | ENV_SURVIVABLE), ENV_SURVIVABLE);
	assert_int_equal(e.dmarc, AUTH_PASS);
	h->peer[H_SEAL].first--;
	house_prepare(h, SEAL_OK, "");
	at = house_delivery(h, &d, NULL);
	answer(h, at, d.req, 250, "2.0.0", "");
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
}

static void
test_spec_0_4_three_tries_then_hold(void **state)
{
	struct house *h = *state;
	struct queue_evaluate q;
	struct house_mail *mail;

	assert_int_equal(h->conf->recheck_tries, 3);
	assert_int_equal(h->conf->recheck_interval_ms, 5 * 60 * 1000);
	h->conf->recheck_interval_ms = 10;
	house_committed(h, house_commit(h, &berta, 1, ENV_RECHECK, 0), COMMIT_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_WAITING);
		unsigned at = second_look(h, &q, &mail);
		assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, i);
		evaluated(h, at, &q, i == 1 ? EVALUATED_FAILED : EVALUATED_OK, ENV_RECHECK,
		    "dmarc-temperror");
	}
	house_until_leg(h, 0, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 0, LEG_FORWARD), "dmarc-temperror");
	assert_int_equal(house_entry(h, 0)->leg[LEG_HOLD].state, LEG_PARKED);
	/* decided now, against it */
	house_committed(h, house_commit(h, &berta, 1, ENV_RECHECK, 0), COMMIT_OK);
	unsigned at = second_look(h, &q, &mail);
	evaluated(h, at, &q, EVALUATED_OK, ENV_HOLD_ONLY, "dmarc-reject");
	house_until_leg(h, 1, LEG_FORWARD, LEG_SKIPPED);
	assert_string_equal(house_note(h, 1, LEG_FORWARD), "dmarc-reject");
	assert_int_equal(h->peer[H_SEAL].n, 0);		/* no copy was ever made */
}

/* A relay that dies over it: another one is asked, and that was no try. */
static void
test_spec_0_4_lost_relay_is_no_try(void **state)
{
	struct house *h = *state;
	struct queue_evaluate q;
	struct house_mail *mail;

	h->conf->recheck_interval_ms = 10;
	house_committed(h, house_commit(h, &berta, 1, ENV_RECHECK, 0), COMMIT_OK);
	unsigned at = second_look(h, &q, &mail);
	house_unlink(h, at);
	at = second_look(h, &q, &mail);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].attempts, 0);
	evaluated(h, at, &q, EVALUATED_OK, 0, "");
	house_prepare(h, SEAL_OK, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_spec_8_3_the_relay_hears_of_the_slow_start),
		T(test_spec_7_5_auth_is_retried_once_munged),
		T(test_spec_7_6_structure_is_retried_once_wrapped),
		T(test_spec_8_4_final_classes),
		T(test_spec_8_4_mailbox_classes),
		T(test_spec_8_4_rate_closes_the_provider),
		T(test_spec_8_4_rate_of_a_dkim_domain),
		T(test_spec_8_4_block_and_setup_alarm),
		T(test_spec_9_3_recovery_addresses),
		T(test_spec_8_8_and_9_4_mailbox_caps),
		T(test_spec_8_11_volume), T(test_spec_8_11_what_is_too_much_waits_for_tomorrow),
		T(test_spec_8_11_volume_is_exact),
		T(test_spec_8_9_message_id),
		T(test_spec_8_6_retry_times),
		T(test_spec_10_4_class_ttl),
		T(test_notes_survive),
		T(test_spec_8_4_results),
		T(test_spec_0_4_evaluated_again_before_seal),
		T(test_spec_0_4_three_tries_then_hold),
		T(test_spec_0_4_lost_relay_is_no_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
