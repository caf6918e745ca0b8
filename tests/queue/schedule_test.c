// SPDX-License-Identifier: Apache-2.0
/* The schedule over a spool in memory: order, shares, back-off, phases. Rules 8.6, 11.2,
 * 11.4 of the forwarding specification and P6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/schedule.h"
#include "tests/queue/spool_double.h"

enum { RUNS_MAX = 65536 };

struct fixture {
	struct loop	*loop;
	struct conf	*conf;
	struct spool	*spool;
	struct audit	*audit;
	struct failover	*failover;
	struct replay	*replay;
	struct schedule	*schedule;
	char		 dir[64];
	int		 dirfd;
	int64_t		 wall, mono;
	struct item	*run[RUNS_MAX];		/* started, in order */
	size_t		 nrun;
	uint32_t	 order[RUNS_MAX];	/* entries, as started */
	size_t		 norder;
	const char	*forward_key;		/* where resolve sends a leg; NULL: by entry */
	bool		 one_provider;		/* all of one, for two domains */
	uint32_t	 dead;		/* resolve sends entries up to it to mx:dead, others to mx:live */
	uint64_t	 resolved;
	unsigned	 drained;
};

static const char conf_text[] =
    "hostname = \"mx2.example.it\"\n"
    "state-dir = \"/tmp\"\n"
    "connections-max = 4\n"
    "replay-connections-max = 4\n"
    "replay-step = 1s\n"
    "deliveries-max = 16\n"
    "window-max = 100\n"
    "retry-min = 60s\n"
    "retry-max = 1h\n"
    "forwarder { domain = \"fwd.example.it\" secret-file = \"/dev/null\" }\n"
    "domain \"a.example\" { primary = \"lmtp://store-a:24\" }\n"
    "domain \"b.example\" { primary = \"lmtp://store-b:24\" }\n";

static void
fx_resolve(void *arg, struct item *it)
{
	struct fixture *x = arg;
	char key[64];

	x->resolved++;
	if (x->one_provider) {
		schedule_place_domain(x->schedule, it, SCHEDULE_PROVIDER ".big.example",
		    it->e.ref.entry % 2 == 0 ? "dead.example" : "live.example");
		return;
	}
	if (x->dead > 0)
		(void)snprintf(key, sizeof(key), it->e.ref.entry <= x->dead ? "mx:dead" : "mx:live");
	else
		(void)snprintf(key, sizeof(key), "mx:d%u", it->e.ref.entry % 10);
	schedule_place(x->schedule, it, x->forward_key != NULL ? x->forward_key : key);
}

static void
fx_start(void *arg, struct item *it)
{
	struct fixture *x = arg;

	assert_true(x->nrun < RUNS_MAX && x->norder < RUNS_MAX);
	x->run[x->nrun++] = it;
	x->order[x->norder++] = it->e.ref.entry;
}

static void
fx_forget(void *arg, struct item *it)
{
	struct fixture *x = arg;

	for (size_t i = 0; i < x->nrun; i++) {
		if (x->run[i] != it)
			continue;
		memmove(&x->run[i], &x->run[i + 1], (x->nrun - i - 1) * sizeof(x->run[0]));
		x->nrun--;
		return;
	}
}

static void
fx_drained(void *arg, uint64_t group)
{
	struct fixture *x = arg;

	x->drained++;
	assert_int_equal(failover_set_phase(x->failover, failover_find(x->failover, group),
	    PHASE_STANDBY, "drained"), 0);
}

static const struct schedule_ops ops = { fx_resolve, fx_start, fx_forget, NULL, NULL, fx_drained };

static struct failover_group *
group(struct fixture *x, const char *domain)
{
	return failover_of(x->failover, slice_str(domain), SLICE_NONE);
}

static void
tick(struct fixture *x, int64_t ms)
{
	x->wall += ms;
	x->mono += ms;
	clock_fake(x->wall, x->mono);
	for (int i = 0; i < 50 && schedule_turn(x->schedule) == 0; i++)
		;
}

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));
	struct conf_errors e = { .count = 0 };

	log_open("test", LOG_LVL_ERROR);
	x->wall = 1795000000000;
	x->mono = 1000000;
	clock_fake(x->wall, x->mono);
	buf_init(&e.text, 65536);
	x->conf = conf_parse(slice_str(conf_text), "test.conf", &e);
	if (x->conf == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/schedule_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->loop = loop_new();
	x->spool = spool_open(NULL, NULL, NULL, NULL, false);
	x->audit = audit_open(x->dirfd);
	x->failover = failover_open(x->dirfd, x->conf, x->audit);
	assert_non_null(x->failover);
	x->replay = replay_open(x->dirfd, x->failover, x->audit);
	x->schedule = schedule_new(x->loop, x->conf, x->spool, x->failover, x->replay, &ops, x);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	schedule_free(&x->schedule);
	replay_free(&x->replay);
	failover_close(&x->failover);
	audit_close(&x->audit);
	spool_close(&x->spool);
	loop_free(&x->loop);
	conf_free(&x->conf);
	assert_int_equal(unlinkat(x->dirfd, "audit.log", 0), 0);
	(void)unlinkat(x->dirfd, "failover.json", 0);
	(void)unlinkat(x->dirfd, "replay.json", 0);
	(void)unlinkat(x->dirfd, "failover.json.new", 0);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	clock_fake(-1, -1);
	free(x);
	return 0;
}

static struct spool_ref
add(struct fixture *x, const char *domain, enum leg_state hold, enum leg_state forward)
{
	struct spool_entry e = { .kind = RCPT_USER, .received_ms = x->wall, .size = 100 };

	e.group = spool_group(slice_str(domain), SLICE_NONE);
	e.user = x->spool->n + 1;	/* each to a mailbox of its own */
	e.leg[LEG_HOLD].state = (uint8_t)hold;
	e.leg[LEG_FORWARD].state = (uint8_t)forward;
	return double_add(x->spool, &e);
}

static const struct spool_entry *
entry(struct fixture *x, struct spool_ref ref)
{
	return &double_at(x->spool, ref)->e;
}

/* The primary's reply to the oldest running leg. */
static void
replied(struct fixture *x, enum deliver_outcome o, uint16_t code, uint32_t latency_ms)
{
	const struct queue_delivered m = { .outcome = (uint8_t)o, .scope = SCOPE_RCPT,
		.code = code, .latency_ms = latency_ms };

	schedule_replied(x->schedule, x->run[0], &m);
}

/* The oldest running leg ends; `to` is what becomes of it, LEG_STATE_MAX: untouched. */
static void
finish(struct fixture *x, enum leg_state to, enum schedule_end end)
{
	struct item *it = x->run[0];
	struct legs_change c;

	if (to != LEG_STATE_MAX) {
		legs_end(&it->e, (enum leg_kind)it->leg, to, 250, SLICE_NONE, &c);
		c.leg.attempts++;
		schedule_write(x->schedule, &it->e, (enum leg_kind)it->leg, &c);
	}
	schedule_finish(x->schedule, it, end, 0);
}

static void
fresh_hold_leg_starts_without_a_scan(void **state)
{
	struct fixture *x = *state;

	tick(x, 1000);
	uint64_t before = x->spool->scanned;
	struct spool_ref r = add(x, "a.example", LEG_WAITING, LEG_ABSENT);
	schedule_fresh(x->schedule, r);
	tick(x, 0);
	assert_int_equal(x->nrun, 1);
	assert_string_equal(x->run[0]->dest->key, "lmtp:store-a:24");
	assert_int_equal(x->spool->scanned, before);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	tick(x, 2000);
	assert_int_equal(x->nrun, 0);
	assert_int_equal(schedule_in_flight(x->schedule), 0);
}

/* 11.4: oldest first; 11.5: as the ramp allows, new mail before the backlog. */
static void
replay_drains_oldest_first_then_standby(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example");
	struct audit_who who = { 0, 1 };
	unsigned most = 0, fresh = 0, due = 1;

	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, who, "test"), 0);
	for (int i = 0; i < 300; i++)
		add(x, "a.example", LEG_PARKED, LEG_ABSENT);
	tick(x, 1000);
	assert_int_equal(x->nrun, 0);	/* active: nothing is replayed */
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, who, "test"), 0);
	schedule_restart(x->schedule, g->id);
	tick(x, 0);
	assert_int_equal(x->nrun, 1);
	for (unsigned i = 0; i < 300; i++) {
		assert_true(x->nrun <= 4);
		assert_true(x->nrun > 0);
		assert_int_equal(x->drained, 0);
		most = x->nrun > most ? (unsigned)x->nrun : most;
		if (i == 150) {
			struct spool_ref r = add(x, "a.example", LEG_WAITING, LEG_ABSENT);
			schedule_fresh(x->schedule, r);	/* new mail while the backlog drains */
			tick(x, 0);
			fresh = (unsigned)x->norder - 1;
			assert_int_equal(x->order[fresh], r.entry);	/* at once, beside the ramp */
		}
		replied(x, DELIVER_OK, 250, 50);
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
		tick(x, 10);
	}
	assert_int_equal(most, 4);
	assert_int_equal(x->nrun, 1);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	tick(x, 1000);
	tick(x, 1000);
	assert_int_equal(x->norder, 301);
	for (unsigned i = 0; i < 301; i++)
		if (i != fresh)
			assert_int_equal(x->order[i], due++);
	assert_int_equal(x->drained, 1);
	assert_int_equal(g->phase, PHASE_STANDBY);
}

/* A host failure backs off the destination; legs keep their attempts, order is kept. */
static void
dead_primary_pauses_replay(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example");
	struct audit_who who = { 0, 1 };
	static const int64_t pause[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };

	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, who, "t"), 0);
	for (int i = 0; i < 100; i++)
		add(x, "a.example", LEG_PARKED, LEG_ABSENT);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, who, "t"), 0);
	schedule_restart(x->schedule, g->id);
	tick(x, 100);
	assert_int_equal(x->nrun, 1);
	finish(x, LEG_STATE_MAX, SCHEDULE_HOST_FAILED);
	uint64_t sets = x->spool->sets;
	for (size_t i = 0; i < sizeof(pause) / sizeof(pause[0]); i++) {
		tick(x, pause[i] - 1);
		assert_int_equal(x->nrun, 0);
		tick(x, 1);
		assert_int_equal(x->nrun, 1);	/* one proves it */
		assert_int_equal(x->run[0]->e.ref.entry, 1);
		assert_int_equal(x->run[0]->e.leg[LEG_HOLD].attempts, 0);
		finish(x, LEG_STATE_MAX, SCHEDULE_HOST_FAILED);
		tick(x, 0);
	}
	assert_int_equal(x->spool->sets, sets);		/* legs are untouched */
	tick(x, 60000);
	assert_int_equal(x->nrun, 1);
	replied(x, DELIVER_OK, 250, 50);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	tick(x, 10);
	assert_int_equal(x->nrun, 1);
	assert_int_equal(x->run[0]->e.ref.entry, 2);
}

/* 11.5: 4xx shrinks the replay, a clean time lets it grow again; new mail goes on. */
static void
test_spec_11_5_replay_backs_off_on_4xx_and_recovers(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example");
	struct audit_who who = { 0, 1 };
	struct legs_change to = { .note = "" };

	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, who, "t"), 0);
	for (int i = 0; i < 1000; i++)
		add(x, "a.example", LEG_PARKED, LEG_ABSENT);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, who, "t"), 0);
	schedule_restart_all(x->schedule);
	for (int i = 0; i < 250; i++) {
		tick(x, 10);
		replied(x, DELIVER_OK, 250, 50);
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	tick(x, 0);
	assert_int_equal(x->nrun, 4);
	for (int i = 0; i < 3; i++) {	/* 451 for three; each waits for its own time */
		struct item *it = x->run[0];

		replied(x, DELIVER_TEMP, 451, 50);
		to.leg = it->e.leg[LEG_HOLD];
		to.leg.state = LEG_WAITING;
		to.leg.attempts++;
		to.leg.next_ms = x->wall + 60000;
		schedule_write(x->schedule, &it->e, LEG_HOLD, &to);
		schedule_finish(x->schedule, it, SCHEDULE_WORKED, 0);
	}
	tick(x, 0);
	assert_int_equal(x->nrun, 2);	/* under way together: one halving */
	struct spool_ref r = add(x, "a.example", LEG_WAITING, LEG_ABSENT);
	schedule_fresh(x->schedule, r);
	tick(x, 0);
	assert_int_equal(x->nrun, 3);
	assert_int_equal(x->run[2]->e.ref.entry, r.entry);
	for (int i = 0; i < 450; i++) {
		tick(x, 10);
		replied(x, DELIVER_OK, 250, 50);
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	tick(x, 0);
	assert_int_equal(x->nrun, 4);
}

/* A primary that defers all: a pause, one try, resumed by itself. */
static void
test_spec_11_7_replay_stops_on_renewed_failure_and_resumes(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example");
	struct audit_who who = { 0, 1 };
	struct legs_change to = { .note = "" };
	size_t tried;

	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, who, "t"), 0);
	for (int i = 0; i < 500; i++)
		add(x, "a.example", LEG_PARKED, LEG_ABSENT);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, who, "t"), 0);
	schedule_restart_all(x->schedule);
	for (int i = 0; i < 6000; i++) {	/* a minute */
		tick(x, 10);
		if (x->nrun == 0)
			continue;
		replied(x, DELIVER_TEMP, 451, 5);
		to.leg = x->run[0]->e.leg[LEG_HOLD];
		to.leg.state = LEG_WAITING;
		to.leg.attempts++;
		to.leg.next_ms = x->wall + 3600000;
		schedule_write(x->schedule, &x->run[0]->e, LEG_HOLD, &to);
		schedule_finish(x->schedule, x->run[0], SCHEDULE_WORKED, 0);
	}
	tried = x->norder;
	assert_in_range(tried, RAMP_STORM, RAMP_STORM + 7);
	for (int i = 0; i < 9000 && x->norder < 400; i++) {
		tick(x, 10);
		while (x->nrun > 0) {
			replied(x, DELIVER_OK, 250, 5);
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
		}
	}
	assert_true(x->norder >= 400);
}

/* New mail that found no room, or met a failure, does not go behind the whole backlog. */
static void
test_spec_11_5_new_mail_found_by_a_scan_goes_before_the_backlog(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example");
	struct audit_who who = { 0, 1 };

	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, who, "t"), 0);
	for (int i = 0; i < 5000; i++)
		add(x, "a.example", LEG_PARKED, LEG_ABSENT);
	struct spool_ref r = add(x, "a.example", LEG_WAITING, LEG_ABSENT);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, who, "t"), 0);
	schedule_restart_all(x->schedule);	/* as after a restart: nobody announced it */
	for (int i = 0; i < 20; i++)
		tick(x, 10);
	assert_int_equal(x->nrun, 2);
	assert_true(x->order[0] == r.entry || x->order[1] == r.entry);
}

/* 100,000 legs for a dead destination do not slow another one, nor fill the window. */
static void
dead_destination_does_not_slow_others(void **state)
{
	struct fixture *x = *state;
	struct schedule_stats st;

	for (int i = 0; i < 100000; i++)
		add(x, "a.example", LEG_WAITING, LEG_ABSENT);
	schedule_restart(x->schedule, group(x, "a.example")->id);
	for (int i = 0; i < 100; i++) {		/* the laps of the start are over */
		tick(x, 100);
		while (x->nrun > 0)
			finish(x, LEG_STATE_MAX, SCHEDULE_HOST_FAILED);
	}
	uint64_t before = x->spool->scanned;
	for (int i = 0; i < 200; i++) {
		struct spool_ref r = add(x, "b.example", LEG_WAITING, LEG_ABSENT);
		schedule_fresh(x->schedule, r);
		tick(x, 1);
		assert_int_equal(x->nrun, 1);
		assert_string_equal(x->run[0]->dest->key, "lmtp:store-b:24");
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	schedule_stats(x->schedule, &st);
	assert_true(st.window <= 1);
	assert_true(x->spool->scanned - before < 1000);
}

/* The same for forward legs, whose destination is only known once the directory was asked:
 * they may not cost a look-up each, again and again. */
static void
dead_recovery_host_does_not_slow_others(void **state)
{
	enum { DEAD = 100000, SECONDS = 60 };
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	unsigned waited = 0;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	for (int i = 0; i < DEAD; i++)
		add(x, "a.example", LEG_PARKED, LEG_WAITING);
	x->dead = DEAD;
	schedule_restart_forward(x->schedule);
	for (int i = 0; i < 600 && x->resolved < DEAD; i++) {	/* each learns it once */
		tick(x, 100);
		while (x->nrun > 0)
			finish(x, LEG_STATE_MAX, SCHEDULE_HOST_FAILED);
	}
	assert_true(x->resolved >= DEAD);
	x->resolved = 0;
	for (int i = 0; i < SECONDS * 10; i++) {
		struct spool_ref r = add(x, "a.example", LEG_PARKED, LEG_WAITING);
		schedule_fresh(x->schedule, r);
		tick(x, 100);
		bool live = false;
		for (size_t k = 0; k < x->nrun; k++)
			live |= x->run[k]->e.ref.entry == r.entry;
		waited += !live;
		while (x->nrun > 0) {
			bool dead = strcmp(x->run[0]->dest->key, "mx:dead") == 0;
			finish(x, dead ? LEG_STATE_MAX : LEG_DELIVERED,
			    dead ? SCHEDULE_HOST_FAILED : SCHEDULE_WORKED);
		}
	}
	assert_int_equal(waited, 0);
	assert_true(x->resolved < SECONDS * 600 + 600);
}

/* One customer's host of a provider is gone: it backs off by itself, the others go on. */
static void
dead_domain_does_not_close_its_provider(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	unsigned live = 0, dead = 0;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	x->one_provider = true;
	for (int i = 0; i < 200; i++) {
		schedule_fresh(x->schedule, add(x, "a.example", LEG_PARKED, LEG_WAITING));
		tick(x, 100);
		while (x->nrun > 0) {
			bool gone = x->run[0]->e.ref.entry % 2 == 0;

			dead += gone;
			live += !gone;
			finish(x, gone ? LEG_STATE_MAX : LEG_DELIVERED,
			    gone ? SCHEDULE_HOST_FAILED : SCHEDULE_WORKED);
		}
	}
	assert_int_equal(live, 100);	/* each at once */
	assert_in_range(dead, 1, 10);	/* 20 s: a try at the end of each pause */
}

static void
forward_legs_are_put_off_when_their_destination_is_down(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	struct spool_ref ref[20];

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	x->forward_key = "mx:dead.example";
	for (int i = 0; i < 20; i++) {
		ref[i] = add(x, "a.example", LEG_PARKED, LEG_WAITING);
		schedule_fresh(x->schedule, ref[i]);
	}
	tick(x, 1);
	assert_int_equal(x->nrun, 4);
	while (x->nrun > 0)
		finish(x, LEG_STATE_MAX, SCHEDULE_HOST_FAILED);
	for (int i = 0; i < 20; i++) {
		const struct spool_entry *e = entry(x, ref[i]);
		assert_int_equal(e->leg[LEG_FORWARD].state, LEG_WAITING);
		assert_int_equal(e->leg[LEG_FORWARD].attempts, 0);
		assert_true(e->leg[LEG_FORWARD].next_ms >= x->wall + 1000);
		assert_int_equal(e->leg[LEG_HOLD].state, LEG_PARKED);	/* 0.1 */
	}
	for (int i = 0; i < 10 && x->nrun == 0; i++)
		tick(x, 500);
	assert_int_equal(x->nrun, 1);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	for (int i = 0; i < 200; i++) {
		tick(x, 250);
		while (x->nrun > 0)
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(entry(x, ref[i])->leg[LEG_FORWARD].state, LEG_DELIVERED);
}

/* P6: the window is bounded; what did not fit is found later, each leg exactly once. */
static void
window_is_bounded_and_nothing_is_forgotten(void **state)
{
	struct fixture *x = *state;
	struct schedule_stats st;
	struct audit_who who = { 0, 1 };
	unsigned done = 0;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	for (int i = 0; i < 1500; i++)
		schedule_fresh(x->schedule, add(x, "a.example", LEG_PARKED, LEG_WAITING));
	for (int i = 0; i < 5000 && done < 1500; i++) {
		tick(x, 20);
		schedule_stats(x->schedule, &st);
		assert_true(st.window <= 100);
		assert_true(st.in_flight <= 16);
		while (x->nrun > 0) {
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
			done++;
		}
	}
	assert_int_equal(done, 1500);
	for (size_t i = 0; i < x->spool->n; i++)
		assert_int_equal(x->spool->entry[i].e.leg[LEG_FORWARD].attempts, 1);
}

/* A leg refused for itself waits alone; the next ones go on (8.6). */
static void
one_recipients_4xx_blocks_nobody(void **state)
{
	struct fixture *x = *state;
	struct legs_change to = { .note = "" };
	struct spool_ref r = add(x, "a.example", LEG_WAITING, LEG_ABSENT);

	schedule_fresh(x->schedule, r);
	for (int i = 0; i < 50; i++)
		schedule_fresh(x->schedule, add(x, "a.example", LEG_WAITING, LEG_ABSENT));
	tick(x, 1);
	struct item *it = x->run[0];
	assert_int_equal(it->e.ref.entry, r.entry);
	to.leg = it->e.leg[LEG_HOLD];
	to.leg.attempts = 1;
	to.leg.next_ms = x->wall + 60000;
	schedule_write(x->schedule, &it->e, LEG_HOLD, &to);
	schedule_finish(x->schedule, it, SCHEDULE_WORKED, 0);
	for (int i = 0; i < 60; i++) {
		tick(x, 10);
		if (x->nrun > 0)
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	assert_int_equal(x->norder, 51);
	tick(x, 50000);
	assert_int_equal(x->norder, 51);
	tick(x, 10000);
	assert_int_equal(x->norder, 52);
	assert_int_equal(x->order[51], r.entry);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
}

/* A wall clock that jumps neither expires nor stops anything. */
static void
wall_clock_jump_changes_nothing(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	int64_t year = 365LL * 86400 * 1000;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	x->forward_key = "mx:x.example";
	for (int i = 0; i < 2; i++) {	/* a year forward, two years back */
		struct spool_ref r = add(x, "a.example", LEG_PARKED, LEG_WAITING);
		double_at(x->spool, r)->e.leg[LEG_FORWARD].next_ms =
		    schedule_now(x->schedule) + 5000;
		schedule_restart_forward(x->schedule);
		tick(x, 1);
		x->wall += i == 0 ? year : -2 * year;
		schedule_restart_forward(x->schedule);
		tick(x, 1000);
		assert_int_equal(entry(x, r)->leg[LEG_FORWARD].state, LEG_WAITING);
		assert_int_equal(x->nrun, 0);	/* not early */
		tick(x, 4000);
		assert_int_equal(x->nrun, 1);	/* not expired, not stopped */
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
}

/* What is lost on the way comes again: hold from the spool, untouched. */
static void
lost_attempt_comes_again(void **state)
{
	struct fixture *x = *state;
	struct spool_ref r = add(x, "b.example", LEG_WAITING, LEG_ABSENT);

	schedule_fresh(x->schedule, r);
	tick(x, 1);
	assert_int_equal(x->nrun, 1);
	schedule_finish(x->schedule, x->run[0], SCHEDULE_AGAIN, 1000);
	assert_int_equal(entry(x, r)->leg[LEG_HOLD].attempts, 0);
	tick(x, 999);
	assert_int_equal(x->nrun, 0);
	tick(x, 1);
	assert_int_equal(x->nrun, 1);
	assert_int_equal(x->run[0]->e.ref.entry, r.entry);
	finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
}

static void
turns_are_shared_by_destinations(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	unsigned per[10] = { 0 };

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	for (int i = 0; i < 60; i++)
		schedule_fresh(x->schedule, add(x, "a.example", LEG_PARKED, LEG_WAITING));
	tick(x, 1);
	assert_int_equal(x->nrun, 16);	/* deliveries-max over ten destinations */
	for (size_t i = 0; i < x->nrun; i++)
		per[x->run[i]->e.ref.entry % 10]++;
	for (int i = 0; i < 10; i++)
		assert_in_range(per[i], 1, 2);
	while (x->nrun > 0)
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
}

/*
 * Case 18 of 14.4, with scripted time: 10,000 bulk legs wait for one shaped provider that
 * takes five a second over one connection; 100 codes come in the midst of them.
 */
static void
test_spec_14_4_case_18_bulk_and_urgent(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	struct spool_ref urgent[100];
	unsigned sent = 0, bulk = 0;
	int64_t last = INT64_MAX, since;
	struct schedule_stats st;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	x->forward_key = SCHEDULE_PROVIDER "big.example";
	x->conf->window_max = 1000;
	for (int i = 0; i < 10000; i++) {
		struct spool_ref r = add(x, "a.example", LEG_PARKED, LEG_WAITING);
		double_at(x->spool, r)->e.triage = 3;
		double_at(x->spool, r)->e.user = (uint64_t)i;
		schedule_fresh(x->schedule, r);
	}
	for (int i = 0; i < 100; i++) {		/* it is shaped: one in flight, and busy */
		tick(x, 200);
		assert_true(x->nrun <= 1);
		if (x->nrun > 0)
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	assert_true(x->norder > 50);
	for (int i = 0; i < 100; i++) {
		x->wall++;
		x->mono++;
		clock_fake(x->wall, x->mono);
		urgent[i] = add(x, "a.example", LEG_PARKED, LEG_WAITING);
		double_at(x->spool, urgent[i])->e.triage = 0;
		double_at(x->spool, urgent[i])->e.user = (uint64_t)i;
		schedule_fresh(x->schedule, urgent[i]);
	}
	since = x->mono;
	while (sent < 100) {
		tick(x, 200);
		assert_true(x->nrun <= 1);
		schedule_stats(x->schedule, &st);
		assert_true(st.window <= 1000);
		if (x->nrun == 0)
			continue;
		if (x->run[0]->e.triage == 0) {
			assert_true(x->run[0]->e.received_ms < last);	/* newest first */
			last = x->run[0]->e.received_ms;
			sent++;
		} else {
			bulk++;
		}
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
		assert_true(x->mono - since < 15 * 60 * 1000);	/* all within the TTL */
	}
	assert_true(x->mono - since < 25 * 1000);	/* none waited behind bulk ... */
	assert_true(bulk <= 1);				/* ... but the one under way */
	for (int i = 0; i < 100; i++)
		assert_int_equal(entry(x, urgent[i])->leg[LEG_FORWARD].state, LEG_DELIVERED);
	bulk = 0;	/* and then bulk goes on */
	for (int i = 0; i < 50; i++) {
		tick(x, 1000);
		if (x->nrun == 0)
			continue;
		bulk++;
		finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	assert_true(bulk > 20);
}

/* 8.4: a provider that is closed gives its legs back, and comes back with one connection. */
static void
test_spec_8_4_closed_provider(void **state)
{
	struct fixture *x = *state;
	struct audit_who who = { 0, 1 };
	unsigned most = 0, done = 0;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example"), FAILOVER_ON, who,
	    "t"), 0);
	x->forward_key = SCHEDULE_PROVIDER "big.example";
	for (int i = 0; i < 60; i++)
		schedule_fresh(x->schedule, add(x, "a.example", LEG_PARKED, LEG_WAITING));
	tick(x, 1);
	assert_int_equal(x->nrun, 1);		/* slow start */
	tick(x, 180000);
	assert_int_equal(x->nrun, 4);		/* +1 a minute */
	assert_true(schedule_close(x->schedule, x->run[0], 600000, true));
	while (x->nrun > 0) {
		/* the others that were under way hear the same: not twice */
		assert_true(done == 0 || !schedule_close(x->schedule, x->run[0], 600000, true));
		done++;
		finish(x, LEG_STATE_MAX, SCHEDULE_NEUTRAL);
	}
	for (int i = 0; i < 599; i++) {
		tick(x, 1000);
		assert_int_equal(x->nrun, 0);		/* silence */
	}
	for (int i = 0; i < 55; i++) {
		tick(x, 1000);
		most = x->nrun > most ? (unsigned)x->nrun : most;
		while (x->nrun > 0)
			finish(x, LEG_DELIVERED, SCHEDULE_WORKED);
	}
	assert_int_equal(most, 1);
}

static void
dest_backoff_doubles_and_counts_once(void **state)
{
	struct dests *ds = dests_new();
	struct dest *d = dests_get(ds, "mx:x");

	(void)state;
	assert_ptr_equal(dests_get(ds, "mx:x"), d);
	assert_null(dests_find(ds, "mx:y"));
	dest_failed(d, 100, 200, 60000);
	dest_failed(d, 150, 201, 60000);	/* was under way with the first */
	assert_int_equal(d->failures, 1);
	assert_true(dest_closed(d, 1199));
	assert_false(dest_closed(d, 1200));
	assert_int_equal(dest_limit(d, 10), 1);
	dest_failed(d, 1200, 1300, 60000);
	assert_int_equal(d->backoff_ms, 2000);
	dests_sweep(ds, 1400);
	assert_int_equal(dests_count(ds), 1);	/* remembered */
	dest_worked(d);
	assert_int_equal(dest_limit(d, 10), 10);
	dests_sweep(ds, 1400);
	assert_int_equal(dests_count(ds), 0);
	dests_free(&ds);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(fresh_hold_leg_starts_without_a_scan),
		T(replay_drains_oldest_first_then_standby),
		T(dead_primary_pauses_replay),
		T(test_spec_11_5_replay_backs_off_on_4xx_and_recovers),
		T(test_spec_11_7_replay_stops_on_renewed_failure_and_resumes),
		T(test_spec_11_5_new_mail_found_by_a_scan_goes_before_the_backlog),
		T(dead_destination_does_not_slow_others),
		T(dead_recovery_host_does_not_slow_others),
		T(dead_domain_does_not_close_its_provider),
		T(forward_legs_are_put_off_when_their_destination_is_down),
		T(window_is_bounded_and_nothing_is_forgotten),
		T(one_recipients_4xx_blocks_nobody),
		T(wall_clock_jump_changes_nothing),
		T(lost_attempt_comes_again),
		T(turns_are_shared_by_destinations),
		T(test_spec_14_4_case_18_bulk_and_urgent),
		T(test_spec_8_4_closed_provider),
		cmocka_unit_test(dest_backoff_doubles_and_counts_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
