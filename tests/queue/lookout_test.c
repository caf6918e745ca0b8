// SPDX-License-Identifier: Apache-2.0
/* The queue's eyes with the test in the place of the relays: who is asked, what failed probes,
 * refusals and a fault of our own network lead to, and that every relay hears of it. */
#include "queue/lookout.h"
#include "tests/queue/queue_house.h"

#include "queue/alarm.h"
#include "queue/replay.h"

/* Decided fast: the rules themselves are tests/queue/health_test.c's. */
static int
setup(void **state)
{
	int rc = house_setup(state);
	struct house *h = *state;

	for (size_t i = 0; i < h->conf->ndomain; i++) {
		struct conf_probe *p = &h->conf->domain[i].probe;

		p->every_ms = 50;
		p->timeout_ms = 1000;
		p->settle_ms = 100;
		p->bad_min = 4;
	}
	lookout_reload(house_queue(h)->lookout);
	return rc;
}

static struct failover_group *
group(struct house *h, const char *domain, const char *shard)
{
	return failover_of(house_queue(h)->failover, slice_str(domain), slice_str(shard));
}

static void
set_mode(struct house *h, const char *domain, enum conf_failover m)
{
	struct failover *f = house_queue(h)->failover;
	struct audit_who who = { 0, 42 };

	for (size_t i = 0; i < failover_count(f); i++)
		if (strcmp(failover_at(f, i)->domain, domain) == 0)
			assert_int_equal(queue_switch(house_queue(h), failover_at(f, i), m, who,
			    "test"), 0);
}

/* What the test's relay says to probes of each host. */
struct script {
	enum probe_outcome	store_a, s2, store_b, other;
	enum probe_stage	stage;
	unsigned		asked;		/* probes answered so far */
	bool			mute;
};
static struct script script;

static void
answer_probes(struct house *h, unsigned at)
{
	struct house_peer *p = &h->peer[at];

	while (p->aside_first < p->naside) {
		struct house_mail *m = &p->aside[p->aside_first];
		struct queue_probe q;

		if (m->type != QUEUE_PROBE) {
			p->aside_first++;
			continue;
		}
		if (script.mute || p->ours == NULL)
			return;
		p->aside_first++;
		assert_int_equal(wire_get(slice_make(m->bytes, m->n), &queue_probe_wire, &q), 0);
		enum probe_outcome o = slice_eq(q.host, SLICE_LIT("store-a")) ? script.store_a :
		    slice_eq(q.host, SLICE_LIT("::1")) ? script.s2 :
		    slice_eq(q.host, SLICE_LIT("store-b")) ? script.store_b : script.other;
		const struct queue_probed r = { .req = q.req, .outcome = (uint8_t)o,
			.stage = (uint8_t)script.stage, .latency_ms = 3, .text = SLICE_LIT("words") };
		assert_int_equal(ipc_send(p->ours, QUEUE_PROBED, &queue_probed_wire, &r, -1), 0);
		script.asked++;
		/* Kept small: a test of seconds sees hundreds of probes. */
		free(m->bytes);
		memmove(m, m + 1, (p->naside - p->aside_first) * sizeof(*m));
		p->naside--;
		p->aside_first--;
	}
}

struct want {
	const char		*domain, *shard;
	enum failover_phase	 phase;
};

static bool
in_phase(struct house *h, const void *arg)
{
	const struct want *w = arg;

	answer_probes(h, H_RELAY0);
	answer_probes(h, H_RELAY1);
	return group(h, w->domain, w->shard)->phase == w->phase;
}

static void
until_phase(struct house *h, const char *domain, const char *shard, enum failover_phase p)
{
	const struct want w = { domain, shard, p };

	house_until(h, in_phase, &w);
}

static bool
has_asked(struct house *h, const void *arg)
{
	answer_probes(h, H_RELAY0);
	answer_probes(h, H_RELAY1);
	return script.asked >= *(const unsigned *)arg;
}

static void
more_probes(struct house *h, unsigned n)
{
	const unsigned want = script.asked + n;

	house_until(h, has_asked, &want);
}

static bool
alarmed(struct house *h, const char *what)
{
	json_t *list = alarms_json(house_queue(h)->alarms), *o;
	bool found = false;
	size_t i;

	json_array_foreach(list, i, o)
		found = found || strcmp(json_string_value(json_object_get(o, "alarm")), what) == 0;
	json_decref(list);
	return found;
}

static bool
alarm_is(struct house *h, const void *what)
{
	answer_probes(h, H_RELAY0);
	answer_probes(h, H_RELAY1);
	return alarmed(h, what);
}

static char *
audit_text(struct house *h)
{
	static char text[256 * 1024];
	int fd = openat(h->dirfd, "audit.log", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return text;
}

/* From the first failed probe into active, and out of it again when it is well. */
static void
spec_11_7_failing_primary_is_left_and_taken_back(void **state)
{
	struct house *h = *state;

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, PROBE_AT_RCPT, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	more_probes(h, 20);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
	script.store_a = PROBE_SILENT;
	until_phase(h, "a.example", "", PHASE_ACTIVE);
	assert_int_equal(group(h, "a.example", "s2")->phase, PHASE_STANDBY);	/* shard alone */
	assert_non_null(strstr(group(h, "a.example", "")->shard, ""));
	const char *log = strstr(audit_text(h), "\"event\":\"phase\"");
	assert_non_null(log);
	assert_non_null(strstr(log, "\"evidence\":{\"place\":\"lmtp://store-a:24\""));
	assert_non_null(strstr(log, "\"cause\":\"probes\""));
	assert_non_null(strstr(log, "3 probes failed"));
	script.store_a = PROBE_OK;
	until_phase(h, "a.example", "", PHASE_STANDBY);		/* by replay of nothing */
	assert_non_null(strstr(audit_text(h), "probes in a row succeeded"));
}

static void
only_auto_is_switched_off_is_told(void **state)
{
	struct house *h = *state;
	static const char down[] = "primary-down";

	script = (struct script){ PROBE_DARK, PROBE_DARK, PROBE_OK, PROBE_OK, 0, 0, false };
	more_probes(h, 5);		/* b.example is on, and probed for the status */
	assert_int_equal(group(h, "b.example", "")->phase, PHASE_ACTIVE);
	more_probes(h, 20);
	assert_int_equal(group(h, "b.example", "")->phase, PHASE_ACTIVE);	/* though it is well */
	/* Off is not probed, but its deliveries are seen. */
	const struct queue_delivered r = { .outcome = DELIVER_TEMP, .scope = SCOPE_RCPT, .code = 451 };
	for (int i = 0; i < 5; i++)
		lookout_delivered(house_queue(h)->lookout, group(h, "a.example", "")->id, &r);
	house_until(h, alarm_is, down);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
}

/* Spec 11.7: more than half of the replies put off; in replay as well. */
static void
spec_11_7_deliveries_put_off_begin_failover(void **state)
{
	struct house *h = *state;
	struct queue_delivered r = { .outcome = DELIVER_TEMP, .scope = SCOPE_RCPT, .code = 452,
		.enhanced = SLICE_LIT("4.2.2") };

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	for (int i = 0; i < 50; i++)	/* a full mailbox is no sick store */
		lookout_delivered(house_queue(h)->lookout, group(h, "a.example", "")->id, &r);
	more_probes(h, 10);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
	r.enhanced = SLICE_LIT("4.3.0");
	for (int i = 0; i < 60; i++)
		lookout_delivered(house_queue(h)->lookout, group(h, "a.example", "")->id, &r);
	until_phase(h, "a.example", "", PHASE_ACTIVE);
	assert_non_null(strstr(audit_text(h), "\"cause\":\"deliveries\""));
}

/* Spec 11.2: a store that knows nobody any more is not believed. */
static void
spec_11_2_refusals_of_known_users_are_an_outage(void **state)
{
	struct house *h = *state;
	const struct queue_delivered r = { .outcome = DELIVER_PERM, .scope = SCOPE_RCPT, .code = 550,
		.enhanced = SLICE_LIT("5.1.1") };
	struct failover_group *g = group(h, "a.example", "");

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	assert_true(failover_believes(g));
	lookout_delivered(house_queue(h)->lookout, g->id, &r);
	assert_true(alarmed(h, "primary-refused"));
	lookout_tick(house_queue(h)->lookout);
	assert_true(failover_believes(g));	/* one is one */
	assert_false(alarmed(h, "primary-refused"));	/* nothing is held here */
	for (int i = 0; i < 5; i++)
		lookout_delivered(house_queue(h)->lookout, g->id, &r);
	lookout_tick(house_queue(h)->lookout);
	assert_false(failover_believes(g));	/* in mode off, too */
	assert_true(alarmed(h, "primary-refuses"));
	assert_int_equal(g->phase, PHASE_STANDBY);
	set_mode(h, "a.example", FAILOVER_AUTO);
	until_phase(h, "a.example", "", PHASE_ACTIVE);
	assert_non_null(strstr(audit_text(h), "\"cause\":\"refusals\""));
	assert_non_null(strstr(audit_text(h), "alarm-primary-refuses"));
}

static void
network_fault_of_our_own_begins_no_failover(void **state)
{
	struct house *h = *state;
	static const char what[] = "own-network";

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	set_mode(h, "b.example", FAILOVER_AUTO);
	until_phase(h, "b.example", "", PHASE_STANDBY);
	more_probes(h, 10);
	script.store_a = script.s2 = script.store_b = PROBE_DARK;	/* all at once */
	house_until(h, alarm_is, what);
	more_probes(h, 30);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
	assert_int_equal(group(h, "b.example", "")->phase, PHASE_STANDBY);
	assert_non_null(strstr(audit_text(h), "alarm-own-network"));
	/* Ours is back; b is not: its failures count from here, then it is its own. */
	script.store_a = script.s2 = PROBE_OK;
	until_phase(h, "b.example", "", PHASE_ACTIVE);
	assert_false(alarmed(h, what));
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
}

static void
reference_tells_whose_fault_it_is(void **state)
{
	struct house *h = *state;
	static const char what[] = "own-network";

	h->conf->probe_reference = mem_array(1, sizeof(char *));
	h->conf->probe_reference[0] = mem_str("[2001:db8::7]:53");
	h->conf->nprobe_reference = 1;
	lookout_reload(house_queue(h)->lookout);
	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_DARK, 0, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	set_mode(h, "b.example", FAILOVER_AUTO);
	until_phase(h, "b.example", "", PHASE_STANDBY);
	script.store_a = PROBE_DARK;		/* one alone, and the reference cannot be had */
	house_until(h, alarm_is, what);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
	script.s2 = script.store_b = PROBE_DARK;
	script.other = PROBE_OK;		/* all of them, but the network is fine */
	until_phase(h, "a.example", "", PHASE_ACTIVE);
	until_phase(h, "b.example", "", PHASE_ACTIVE);
	assert_false(alarmed(h, what));
}

static void
canary_never_taken_is_a_mistake_not_an_outage(void **state)
{
	struct house *h = *state;
	static const char what[] = "canary-refused";

	for (size_t i = 0; i < h->conf->ndomain; i++) {
		h->conf->domain[i].probe.depth = PROBE_RCPT;
		h->conf->domain[i].probe.canary = mem_str("canary@x.example");
	}
	lookout_reload(house_queue(h)->lookout);
	script = (struct script){ PROBE_REFUSED, PROBE_OK, PROBE_OK, PROBE_OK, PROBE_AT_RCPT, 0,
		false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	house_until(h, alarm_is, what);
	more_probes(h, 30);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_STANDBY);
	script.store_a = PROBE_OK;
	more_probes(h, 10);
	script.store_a = PROBE_REFUSED;		/* it was there: the store has lost it */
	until_phase(h, "a.example", "", PHASE_ACTIVE);
}

/* Relay 0 probes; dead, relay 1 does, at once and with what was under way. */
static void
another_relay_takes_over(void **state)
{
	struct house *h = *state;

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	more_probes(h, 5);
	for (size_t i = 0; i < h->peer[H_RELAY1].naside; i++)
		assert_int_not_equal(h->peer[H_RELAY1].aside[i].type, QUEUE_PROBE);
	house_unlink(h, H_RELAY0);
	more_probes(h, 10);
	house_link(h, H_RELAY0);
	script.store_a = PROBE_SILENT;
	until_phase(h, "a.example", "", PHASE_ACTIVE);
}

/* The last phase that relay was told for a domain, or -1; *resets counts fresh starts. */
static int
told(struct house *h, unsigned at, const char *domain, const char *shard, unsigned *resets)
{
	struct house_peer *p = &h->peer[at];
	int phase = -1;

	*resets = 0;
	for (size_t i = 0; i < p->naside; i++) {
		struct queue_phases m;
		struct queue_phase q;

		if (p->aside[i].type != QUEUE_PHASES)
			continue;
		assert_int_equal(wire_get(slice_make(p->aside[i].bytes, p->aside[i].n),
		    &queue_phases_wire, &m), 0);
		if (m.reset != 0) {
			phase = -1;
			(*resets)++;
		}
		while (wire_item_next(&m.list, &queue_phase_wire, &q) == 1)
			if (slice_eq(q.domain, slice_str(domain)) && slice_eq(q.shard, slice_str(shard)))
				phase = q.phase;
	}
	return phase;
}

static void
every_relay_is_told_at_once_and_anew(void **state)
{
	struct house *h = *state;
	unsigned resets;

	house_unlink(h, H_RELAY1);
	house_link(h, H_RELAY1);
	house_turn(h);
	assert_int_equal(told(h, H_RELAY1, "a.example", "", &resets), PHASE_STANDBY);
	assert_int_equal(told(h, H_RELAY1, "a.example", "s2", &resets), PHASE_STANDBY);
	assert_int_equal(told(h, H_RELAY1, "b.example", "", &resets), PHASE_ACTIVE);
	assert_int_equal(resets, 1);
	house_switch(h, "a.example", FAILOVER_ON);
	house_turn(h);			/* one turn of the loop, not a second */
	assert_int_equal(told(h, H_RELAY0, "a.example", "", &resets), PHASE_ACTIVE);
	assert_int_equal(told(h, H_RELAY1, "a.example", "", &resets), PHASE_ACTIVE);
	assert_int_equal(told(h, H_RELAY1, "a.example", "s2", &resets), PHASE_STANDBY);
}

/* The old primary is gone for good: the one that mail is replayed to is looked at. */
static void
another_primary_is_another_place(void **state)
{
	struct house *h = *state;
	struct queue *q = house_queue(h);
	const struct replay_change c = { .paused = -1, .rate = -1, .to = "lmtp://new-store:24",
		.reason = "r" };

	script = (struct script){ PROBE_DARK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	set_mode(h, "a.example", FAILOVER_AUTO);
	until_phase(h, "a.example", "", PHASE_ACTIVE);
	more_probes(h, 20);
	assert_int_equal(group(h, "a.example", "")->phase, PHASE_ACTIVE);
	assert_int_equal(replay_change(q->replay, group(h, "a.example", ""), &c), 0);
	lookout_reload(q->lookout);
	until_phase(h, "a.example", "", PHASE_STANDBY);
}

static void
junk_answers_are_survived(void **state)
{
	struct house *h = *state;
	struct lookout *l = house_queue(h)->lookout;
	const struct queue_probed late = { .req = 12345, .outcome = PROBE_DARK };
	struct buf b;

	script = (struct script){ PROBE_OK, PROBE_OK, PROBE_OK, PROBE_OK, 0, 0, false };
	assert_int_equal(lookout_answer(l, 0, SLICE_LIT("\x01\x02")), -1);
	buf_init(&b, 4096);
	assert_int_equal(wire_put(&b, &queue_probed_wire, &late), 0);
	assert_int_equal(lookout_answer(l, 0, buf_slice(&b)), 0);
	assert_int_equal(lookout_answer(l, 77, buf_slice(&b)), 0);
	buf_fini(&b);
	lookout_link_down(l, 77);
	lookout_delivered(l, 4711, &(const struct queue_delivered){ .outcome = DELIVER_OK });
	more_probes(h, 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(spec_11_7_failing_primary_is_left_and_taken_back),
		T(only_auto_is_switched_off_is_told),
		T(spec_11_7_deliveries_put_off_begin_failover),
		T(spec_11_2_refusals_of_known_users_are_an_outage),
		T(network_fault_of_our_own_begins_no_failover),
		T(reference_tells_whose_fault_it_is),
		T(canary_never_taken_is_a_mistake_not_an_outage),
		T(another_relay_takes_over),
		T(every_relay_is_told_at_once_and_anew),
		T(another_primary_is_another_place),
		T(junk_answers_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
