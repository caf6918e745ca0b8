// SPDX-License-Identifier: Apache-2.0
/* Failover state over restarts, bad files and full disks; and the table of what becomes of
 * a leg (queue/legs.h): births per phase, admissions, results, switches. Spec 0.1, 8.5, 8.6,
 * 11.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/failover.h"
#include "queue/legs.h"
#include "tests/queue/spool_double.h"

struct fixture {
	char		 dir[64];
	int		 dirfd;
	struct conf	*conf;
	struct audit	*audit;
	struct failover	*failover;
};

static const int64_t NOW = 1795000000000;
static const struct audit_who WHO = { 1000, 77 };

static struct conf *
parse(const char *more)
{
	char text[2048];
	struct conf_errors e = { .count = 0 };

	(void)snprintf(text, sizeof(text), "hostname = \"mx2.example.it\"\nstate-dir = \"/tmp\"\n"
	    "forwarder { domain = \"fwd.example.it\" secret-file = \"/dev/null\" }\n%s", more);
	buf_init(&e.text, 65536);
	struct conf *c = conf_parse(slice_str(text), "test.conf", &e);
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	return c;
}

#define DOMAIN_A "domain \"a.example\" { primary = \"lmtp://a:24\" shard \"s2\" { primary = " \
	"\"lmtp://a2:24\" } }\n"
#define DOMAIN_B "domain \"b.example\" { primary = \"lmtp://b:24\" failover = on }\n"

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));

	log_open("test", LOG_LVL_ERROR);
	clock_fake(NOW, 1000);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/failover_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->conf = parse(DOMAIN_A DOMAIN_B);
	x->audit = audit_open(x->dirfd);
	x->failover = failover_open(x->dirfd, x->conf, x->audit);
	assert_non_null(x->failover);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	failover_close(&x->failover);
	audit_close(&x->audit);
	conf_free(&x->conf);
	(void)unlinkat(x->dirfd, "audit.log", 0);
	(void)unlinkat(x->dirfd, "failover.json", 0);
	(void)unlinkat(x->dirfd, "failover.json.new", 0);
	(void)unlinkat(x->dirfd, "failover.json.new", AT_REMOVEDIR);
	close(x->dirfd);
	int rc = rmdir(x->dir);
	free(x);
	clock_fake(-1, -1);
	return rc;
}

static struct failover_group *
group(struct fixture *x, const char *domain, const char *shard)
{
	return failover_of(x->failover, slice_str(domain), slice_str(shard));
}

static bool
reopen(struct fixture *x)
{
	failover_close(&x->failover);
	x->failover = failover_open(x->dirfd, x->conf, x->audit);
	return x->failover != NULL;
}

static void
mode_of_the_configuration_is_the_birth(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(group(x, "a.example", "")->phase, PHASE_STANDBY);
	assert_int_equal(group(x, "A.Example", "s2")->phase, PHASE_STANDBY);
	assert_string_equal(group(x, "a.example", "s2")->shard, "s2");
	assert_string_equal(group(x, "a.example", "other")->shard, "");
	assert_int_equal(group(x, "b.example", "")->phase, PHASE_ACTIVE);
	assert_null(group(x, "c.example", ""));
}

static void
state_survives_and_wins_over_the_configuration(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example", "s2"), FAILOVER_ON,
	    WHO, "storage \"down\""), 0);
	assert_int_equal(failover_set_mode(x->failover, group(x, "b.example", ""), FAILOVER_OFF,
	    WHO, "back"), 0);
	clock_fake(NOW + 5000, 6000);
	assert_true(reopen(x));
	struct failover_group *g = group(x, "a.example", "s2");
	assert_int_equal(g->mode, FAILOVER_ON);
	assert_int_equal(g->phase, PHASE_ACTIVE);
	assert_int_equal(g->since_ms, NOW);
	assert_string_equal(g->reason, "storage \"down\"");
	assert_int_equal(g->who.uid, 1000);
	assert_int_equal(group(x, "a.example", "")->mode, FAILOVER_OFF);
	assert_int_equal(group(x, "b.example", "")->phase, PHASE_REPLAY);
	assert_int_equal(failover_set_phase(x->failover, group(x, "b.example", ""),
	    PHASE_STANDBY, "drained"), 0);
	assert_true(reopen(x));
	assert_int_equal(group(x, "b.example", "")->phase, PHASE_STANDBY);
}

static void
domains_come_and_go(void **state)
{
	struct fixture *x = *state;
	struct conf *without = parse(DOMAIN_B), *old = x->conf;
	uint64_t id = group(x, "a.example", "")->id;

	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example", ""), FAILOVER_ON,
	    WHO, "r"), 0);
	assert_int_equal(failover_reload(x->failover, without), 0);
	assert_null(group(x, "a.example", ""));
	assert_false(failover_find(x->failover, id)->served);
	assert_int_equal(failover_reload(x->failover, old), 0);
	assert_int_equal(group(x, "a.example", "")->phase, PHASE_ACTIVE);	/* remembered */
	conf_free(&without);
}

static void
shards_of_the_directory_are_born_when_seen(void **state)
{
	struct fixture *x = *state;
	static const struct { const char *domain, *shard; size_t n; bool ok; } cases[] = {
		{ "b.example", "new", 3, true }, { "b.example", "new", 3, true },
		{ "c.example", "new", 3, false }, { "b.example", "\xff", 1, false },
		{ "b.example", "a\0b", 3, false }, { "b.example", "", 0, true } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct failover_group *g = failover_ensure(x->failover, slice_str(cases[i].domain),
		    slice_make(cases[i].shard, cases[i].n));
		assert_int_equal(g != NULL, cases[i].ok);
		if (g != NULL)
			assert_int_equal(g->phase, PHASE_ACTIVE);
	}
	assert_int_equal(failover_count(x->failover), 4);
	assert_true(reopen(x));
	assert_int_equal(failover_count(x->failover), 4);
	assert_string_equal(group(x, "b.example", "new")->shard, "new");
}

static void
damaged_state_is_not_guessed_around(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{\"format\":3,\"groups\":[]}",
		"{\"format\":2,\"groups\":[],\"windows\":[{\"id\":1}]}",
		"{\"format\":1}", "{\"format\":1,\"groups\":[{}]}",
		"{\"format\":1,\"groups\":[{\"domain\":\"a\",\"shard\":\"\",\"mode\":\"maybe\","
		"\"phase\":\"active\",\"since_ms\":1,\"reason\":\"\",\"uid\":0,\"pid\":0}]}",
		"{\"format\":1,\"groups\":[{\"domain\":\"a\",\"shard\":\"\",\"mode\":\"on\","
		"\"phase\":\"gone\",\"since_ms\":1,\"reason\":\"\",\"uid\":0,\"pid\":0}]}" };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = openat(x->dirfd, "failover.json", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, bad[i], strlen(bad[i])), (ssize_t)strlen(bad[i]));
		close(fd);
		assert_false(reopen(x));
	}
}

/* A directory in the place of the temporary file stands for a disk that fails. */
static void
change_that_cannot_be_persisted_does_not_happen(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	struct stat st;

	assert_int_equal(mkdirat(x->dirfd, "failover.json.new", 0700), 0);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, WHO, "r"), -1);
	assert_int_not_equal(errno, 0);
	assert_int_equal(g->mode, FAILOVER_OFF);
	assert_int_equal(g->phase, PHASE_STANDBY);
	assert_string_equal(g->reason, "configuration");
	assert_int_equal(fstatat(x->dirfd, "audit.log", &st, 0), 0);
	assert_true(st.st_size > 0);	/* the attempt and its undoing are on record */
	assert_int_equal(unlinkat(x->dirfd, "failover.json.new", AT_REMOVEDIR), 0);
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_ON, WHO, "r"), 0);
}

/* A reload gives the role new descriptors and closes those it had. */
static void
state_is_written_after_the_directory_was_closed(void **state)
{
	struct fixture *x = *state;
	int mine = fcntl(x->dirfd, F_DUPFD_CLOEXEC, 3);

	failover_close(&x->failover);
	x->failover = failover_open(mine, x->conf, x->audit);
	close(mine);
	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example", ""), FAILOVER_ON, WHO,
	    "r"), 0);
}

static void
nothing_to_change_is_no_change(void **state)
{
	struct fixture *x = *state;
	struct stat a, b;

	assert_int_equal(fstatat(x->dirfd, "audit.log", &a, 0), 0);
	assert_int_equal(failover_set_mode(x->failover, group(x, "a.example", ""), FAILOVER_OFF,
	    WHO, "r"), 0);
	assert_int_equal(fstatat(x->dirfd, "audit.log", &b, 0), 0);
	assert_int_equal(a.st_size, b.st_size);
}

/* ---- auto, ends of modes, windows ---- */

static void
mode_auto_leaves_the_phase_to_the_probes(void **state)
{
	struct fixture *x = *state;
	struct failover_group *a = group(x, "a.example", ""), *b = group(x, "b.example", "");

	assert_int_equal(failover_set_mode(x->failover, a, FAILOVER_AUTO, WHO, "r"), 0);
	assert_int_equal(a->phase, PHASE_STANDBY);
	assert_int_equal(failover_set_mode(x->failover, b, FAILOVER_AUTO, WHO, "r"), 0);
	assert_int_equal(b->phase, PHASE_ACTIVE);
	assert_int_equal(failover_set_phase(x->failover, a, PHASE_ACTIVE, "probes"), 0);
	assert_true(reopen(x));
	a = group(x, "a.example", "");
	assert_int_equal(a->mode, FAILOVER_AUTO);
	assert_int_equal(a->phase, PHASE_ACTIVE);
	assert_int_equal(failover_set_mode(x->failover, a, FAILOVER_OFF, WHO, "r"), 0);
	assert_int_equal(a->phase, PHASE_REPLAY);
	assert_int_equal(failover_set_mode(x->failover, a, FAILOVER_AUTO, WHO, "r"), 0);
	assert_int_equal(a->phase, PHASE_REPLAY);
	assert_int_equal(failover_set_mode(x->failover, a, FAILOVER_ON, WHO, "r"), 0);
	assert_int_equal(a->phase, PHASE_ACTIVE);
}

/* The mode before comes back, over a restart and over a second order before the end. */
static void
mode_with_an_end_gives_way_to_the_one_before(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	struct failover *f = x->failover;

	assert_int_equal(failover_set_mode(f, g, FAILOVER_AUTO, WHO, "lasting"), 0);
	assert_int_equal(failover_set_mode_until(f, g, FAILOVER_ON, NOW + 5000, WHO, "first"), 0);
	assert_int_equal(failover_set_mode_until(f, g, FAILOVER_ON, NOW + 9000, WHO, "longer"), 0);
	assert_null(failover_expired(f, NOW + 8999));
	assert_true(reopen(x));
	f = x->failover;
	g = group(x, "a.example", "");
	assert_int_equal(g->base, FAILOVER_AUTO);
	assert_ptr_equal(failover_expired(f, NOW + 9000), g);
	assert_int_equal(failover_expire(f, g), 0);
	assert_int_equal(g->mode, FAILOVER_AUTO);
	assert_int_equal(g->phase, PHASE_ACTIVE);	/* the probes lead on from here */
	assert_string_equal(g->reason, "expired: longer");
	assert_int_equal(g->who.pid, 0);
	assert_null(failover_expired(f, INT64_MAX));
	/* A lasting order takes the end away. */
	assert_int_equal(failover_set_mode_until(f, g, FAILOVER_OFF, NOW + 5000, WHO, "r"), 0);
	assert_int_equal(g->phase, PHASE_REPLAY);
	assert_int_equal(failover_set_mode(f, g, FAILOVER_OFF, WHO, "for good"), 0);
	assert_null(failover_expired(f, INT64_MAX));
	assert_int_equal(g->base, FAILOVER_OFF);
}

static uint64_t
window(struct fixture *x, const char *shard, int64_t from, int64_t until)
{
	char domain[] = "a.example", why[] = "new disks", name[8];
	struct failover_window w = { .domain = domain, .from_ms = NOW + from,
		.until_ms = NOW + until, .reason = why, .who = WHO };
	uint64_t id = 0;

	if (shard != NULL) {
		(void)snprintf(name, sizeof(name), "%s", shard);
		w.shard = name;
	}
	assert_int_equal(failover_window_add(x->failover, &w, &id), 0);
	return id;
}

static void
windows_are_kept_and_begin_in_time(void **state)
{
	struct fixture *x = *state;
	uint64_t one = window(x, NULL, 5000, 9000), two = window(x, "s2", 3000, 4000);

	assert_true(reopen(x));
	assert_int_equal(failover_windows(x->failover), 2);
	assert_string_equal(failover_window(x->failover, 1)->shard, "s2");
	assert_null(failover_window(x->failover, 0)->shard);
	assert_null(failover_window_due(x->failover, NOW + 2999));
	assert_int_equal(failover_window_due(x->failover, NOW + 3000)->id, two);
	assert_int_equal(failover_window_begun(x->failover, two, false), 0);
	assert_null(failover_window_due(x->failover, NOW + 4999));
	assert_int_equal(failover_window_cancel(x->failover, two, WHO, "r"), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(failover_window_cancel(x->failover, one, WHO, "r"), 0);
	assert_true(reopen(x));
	assert_int_equal(failover_windows(x->failover), 0);
	assert_true(window(x, NULL, 1, 2) > two);	/* numbers are not used again */
}

static void
window_that_cannot_be_persisted_is_none(void **state)
{
	struct fixture *x = *state;
	uint64_t id = window(x, NULL, 5000, 9000);
	struct failover_window w = *failover_window(x->failover, 0);

	assert_int_equal(mkdirat(x->dirfd, "failover.json.new", 0700), 0);
	assert_int_equal(failover_window_add(x->failover, &w, &id), -1);
	assert_int_equal(failover_windows(x->failover), 1);
	assert_int_equal(failover_window_begun(x->failover, id, false), -1);
	assert_int_equal(failover_windows(x->failover), 1);
	assert_int_equal(unlinkat(x->dirfd, "failover.json.new", AT_REMOVEDIR), 0);
	assert_int_equal(failover_window_begun(x->failover, id, false), 0);
}

/* What the version before auto wrote is read. */
static void
state_of_format_1_is_read(void **state)
{
	static const char text[] = "{\"format\":1,\"groups\":[{\"domain\":\"a.example\",\"shard\":"
	    "\"\",\"mode\":\"on\",\"phase\":\"active\",\"since_ms\":5,\"reason\":\"r\",\"uid\":1,"
	    "\"pid\":2}]}";
	struct fixture *x = *state;
	int fd = openat(x->dirfd, "failover.json", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	close(fd);
	assert_true(reopen(x));
	assert_int_equal(group(x, "a.example", "")->mode, FAILOVER_ON);
	assert_int_equal(group(x, "a.example", "")->base, FAILOVER_ON);
	assert_int_equal(group(x, "a.example", "")->since_ms, 5);
	assert_string_equal(group(x, "a.example", "")->phase_reason, "");
}

/* What moved the phase stays with the group over a restart, beside the reason of the mode. */
static void
the_reason_and_evidence_of_the_phase_are_kept(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	json_t *seen = json_pack("{s:s, s:i}", "cause", "probes", "failed_in_row", 3);

	assert_string_equal(g->phase_reason, "configuration");
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_AUTO, WHO, "nights"), 0);
	assert_string_equal(g->phase_reason, "configuration");
	assert_int_equal(failover_set_phase_why(x->failover, g, PHASE_ACTIVE, "3 probes failed", seen), 0);
	json_decref(seen);
	assert_true(reopen(x));
	g = group(x, "a.example", "");
	assert_string_equal(g->reason, "nights");
	assert_string_equal(g->phase_reason, "3 probes failed");
	assert_int_equal(json_integer_value(json_object_get(g->phase_evidence, "failed_in_row")), 3);
	/* A switch by hand that ends the phase takes the place of both. */
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, WHO, "enough"), 0);
	assert_string_equal(g->phase_reason, "enough");
	assert_null(g->phase_evidence);
	assert_true(reopen(x));
	assert_string_equal(group(x, "a.example", "")->phase_reason, "enough");
	assert_null(group(x, "a.example", "")->phase_evidence);
}

/* The state file has a bound: more evidence than that stays in the audit log alone. */
static void
evidence_beyond_its_bound_is_not_kept(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	char text[FAILOVER_EVIDENCE_MAX];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	json_t *seen = json_pack("{s:s}", "text", text);
	assert_int_equal(failover_set_phase_why(x->failover, g, PHASE_ACTIVE, "r", seen), 0);
	json_decref(seen);
	assert_null(g->phase_evidence);
	assert_int_equal(g->phase, PHASE_ACTIVE);
}

/* Neither a reply that is no UTF-8 nor a long reason cut within a letter stops a switch. */
static void
reasons_that_are_not_utf8_stop_no_switch(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	char text[FAILOVER_REASON_MAX];
	size_t n = 0;

	assert_int_equal(failover_set_phase(x->failover, g, PHASE_ACTIVE, "last one: caff\xe8 no"), 0);
	assert_string_equal(g->phase_reason, "last one: caff? no");
	assert_int_equal(failover_set_mode(x->failover, g, FAILOVER_OFF, WHO, "base"), 0);
	text[n++] = 'x';
	while (n + 2 < sizeof(text))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\xc3\xa8");
	assert_int_equal(failover_set_mode_until(x->failover, g, FAILOVER_ON, NOW + 1000, WHO, text), 0);
	assert_int_equal(failover_expire(x->failover, g), 0);
	assert_int_equal(strncmp(g->reason, "expired: x\xc3\xa8", 12), 0);
	assert_int_equal(strlen(g->reason), 9 + 399);
	assert_true(reopen(x));
	assert_int_equal(group(x, "a.example", "")->mode, FAILOVER_OFF);
}

/* ---- legs ---- */

static void
set_phase(struct failover_group *g, enum failover_phase p)
{
	g->phase = p;
	g->mode = p == PHASE_ACTIVE ? FAILOVER_ON : FAILOVER_OFF;
}

static void
births(void **state)
{
	struct fixture *x = *state;
	static const struct {
		enum rcpt_kind kind;
		enum failover_phase phase;
		uint32_t flags;
		enum leg_state hold, forward;
	} cases[] = {
		{ RCPT_USER, PHASE_STANDBY, 0, LEG_WAITING, LEG_ABSENT },
		{ RCPT_USER, PHASE_ACTIVE, 0, LEG_PARKED, LEG_WAITING },
		{ RCPT_USER, PHASE_ACTIVE, ENV_HOLD_ONLY, LEG_PARKED, LEG_ABSENT },
		{ RCPT_USER, PHASE_REPLAY, 0, LEG_WAITING, LEG_ABSENT },	/* 11.5: first */
		{ RCPT_USER, PHASE_MAX, 0, LEG_PARKED, LEG_ABSENT },	/* not served */
		{ RCPT_POSTMASTER, PHASE_ACTIVE, 0, LEG_PARKED, LEG_ABSENT },
		{ RCPT_RETURN_PATH, PHASE_STANDBY, 0, LEG_WAITING, LEG_ABSENT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct failover_group *g = group(x, "a.example", "");
		const struct envelope e = { .flags = cases[i].flags };
		const struct envelope_rcpt r = { .kind = (uint8_t)cases[i].kind };
		struct spool_birth b;

		if (cases[i].phase != PHASE_MAX)
			set_phase(g, cases[i].phase);
		legs_birth(x->conf, cases[i].phase == PHASE_MAX ? NULL : g, &e, &r, &b);
		assert_int_equal(b.hold, cases[i].hold);
		assert_int_equal(b.forward, cases[i].forward);
	}
}

static struct spool_entry
made(struct fixture *x, enum leg_state hold, unsigned attempts, enum leg_state forward)
{
	struct spool_entry e = { .kind = RCPT_USER, .group = group(x, "a.example", "")->id,
		.received_ms = NOW };

	e.leg[LEG_HOLD].state = (uint8_t)hold;
	e.leg[LEG_HOLD].attempts = (uint16_t)attempts;
	e.leg[LEG_FORWARD].state = (uint8_t)forward;
	return e;
}

static void
admissions(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	int64_t ttl = x->conf->forward_ttl_ms, keep = x->conf->hold_retention_ms;
	static const int64_t never = 3650LL * 86400 * 1000;
	const struct {
		enum failover_phase phase;
		enum leg_kind leg;
		enum leg_state hold;
		unsigned attempts;
		enum leg_state forward;
		int64_t next, age;
		enum legs_verdict v;
		const char *note;
	} cases[] = {
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 0, LEG_ABSENT, 0, 0, LEGS_RUN, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 1, LEG_ABSENT, 5000, 0, LEGS_WAIT, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 1, LEG_ABSENT, never, 0, LEGS_RUN, NULL },
		/* hold-retention: age and tries, and only in standby */
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 3, LEG_ABSENT, 0, keep + 1, LEGS_SETTLE,
		  "expired" },
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 3, LEG_ABSENT, 0, keep, LEGS_RUN, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_WAITING, 2, LEG_ABSENT, 0, never, LEGS_RUN, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_PARKED, 3, LEG_ABSENT, 0, never, LEGS_PASS, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_PARKED, 0, LEG_ABSENT, 0, never, LEGS_RUN, NULL },
		{ PHASE_ACTIVE, LEG_HOLD, LEG_WAITING, 9, LEG_ABSENT, 0, never, LEGS_PASS, NULL },
		{ PHASE_ACTIVE, LEG_HOLD, LEG_PARKED, 9, LEG_ABSENT, 0, never, LEGS_PASS, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_WAITING, 9, LEG_ABSENT, 0, never, LEGS_RUN, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_PARKED, 0, LEG_ABSENT, 0, never, LEGS_RUN, NULL },
		{ PHASE_STANDBY, LEG_HOLD, LEG_PARKED, 1, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_ACTIVE, LEG_HOLD, LEG_WAITING, 0, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_ACTIVE, LEG_HOLD, LEG_PARKED, 0, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_PARKED, 0, LEG_ABSENT, 0, 0, LEGS_RUN, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_PARKED, 1, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_WAITING, 1, LEG_ABSENT, 0, 0, LEGS_RUN, NULL },
		{ PHASE_REPLAY, LEG_HOLD, LEG_DELIVERED, 1, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_ACTIVE, LEG_FORWARD, LEG_PARKED, 0, LEG_WAITING, 0, 0, LEGS_RUN, NULL },
		{ PHASE_ACTIVE, LEG_FORWARD, LEG_PARKED, 0, LEG_WAITING, 9, 0, LEGS_WAIT, NULL },
		{ PHASE_ACTIVE, LEG_FORWARD, LEG_PARKED, 0, LEG_ABSENT, 0, 0, LEGS_PASS, NULL },
		{ PHASE_ACTIVE, LEG_FORWARD, LEG_PARKED, 0, LEG_WAITING, 0, ttl + 1, LEGS_SETTLE,
		  "expired" },
		{ PHASE_REPLAY, LEG_FORWARD, LEG_PARKED, 0, LEG_WAITING, 0, 0, LEGS_SETTLE,
		  "failover-off" },
		{ PHASE_ACTIVE, LEG_FORWARD, LEG_DROPPED, 0, LEG_WAITING, 0, 0, LEGS_SETTLE,
		  "settled" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spool_entry e = made(x, cases[i].hold, cases[i].attempts, cases[i].forward);
		struct legs_change to;

		set_phase(g, cases[i].phase);
		e.leg[cases[i].leg].next_ms = NOW + cases[i].next;
		e.received_ms = NOW - cases[i].age;
		assert_int_equal(legs_admit(x->conf, x->failover, &e, cases[i].leg, NOW, &to),
		    cases[i].v);
		if (cases[i].note != NULL)
			assert_string_equal(to.note, cases[i].note);
	}
}

static void
results(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	static const struct {
		enum failover_phase phase;
		enum deliver_outcome outcome;
		enum deliver_scope scope;
		unsigned code;
		const char *enhanced;
		enum legs_after after;
		enum leg_state end;
		unsigned attempts;
		const char *note;
	} cases[] = {
		{ PHASE_REPLAY, DELIVER_OK, SCOPE_RCPT, 250, "2.0.0", LEGS_DONE,
		  LEG_DELIVERED, 1, "" },
		{ PHASE_REPLAY, DELIVER_TEMP, SCOPE_HOST, 0, "", LEGS_HOST, 0, 0, "" },
		{ PHASE_REPLAY, DELIVER_TEMP, SCOPE_RCPT, 451, "4.2.0", LEGS_RETRY,
		  LEG_WAITING, 1, "451 4.2.0" },
		{ PHASE_REPLAY, DELIVER_UNKNOWN, SCOPE_HOST, 0, "", LEGS_RETRY,
		  LEG_WAITING, 1, "lost-after-data" },
		{ PHASE_REPLAY, DELIVER_PERM, SCOPE_RCPT, 550, "5.1.1", LEGS_DONE,
		  LEG_PARKED, 1, "primary-refused 550 5.1.1" },
		{ PHASE_REPLAY, DELIVER_PERM, SCOPE_MESSAGE, 554, "", LEGS_DONE,
		  LEG_PARKED, 1, "primary-refused 554" },
		{ PHASE_REPLAY, DELIVER_PERM, SCOPE_HOST, 554, "", LEGS_HOST, 0, 0, "" },
		{ PHASE_REPLAY, DELIVER_PERM, SCOPE_RCPT, 552, "5.2.2", LEGS_RETRY,
		  LEG_WAITING, 1, "552 5.2.2" },	/* over quota */
		{ PHASE_REPLAY, DELIVER_LOCAL, SCOPE_RCPT, 0, "", LEGS_DONE, LEG_PARKED,
		  1, "not-sendable 0" },
		{ PHASE_ACTIVE, DELIVER_TEMP, SCOPE_RCPT, 451, "", LEGS_DONE, LEG_PARKED,
		  0, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spool_entry e = made(x, LEG_PARKED, 0, LEG_WAITING);
		const struct queue_delivered r = { .outcome = (uint8_t)cases[i].outcome,
			.scope = (uint8_t)cases[i].scope, .code = (uint16_t)cases[i].code,
			.enhanced = slice_str(cases[i].enhanced),
			.text = SLICE_LIT("anna@recovery.example") };
		struct legs_change to;

		set_phase(g, cases[i].phase);
		assert_int_equal(legs_result(x->conf, g, &e, &r, NOW, 0, &to),
		    cases[i].after);
		if (cases[i].after == LEGS_HOST)
			continue;
		assert_int_equal(to.leg.state, cases[i].end);
		assert_int_equal(to.leg.attempts, cases[i].attempts);
		assert_string_equal(to.note, cases[i].note);
		if (cases[i].end == LEG_WAITING)
			assert_true(to.leg.next_ms > NOW);
	}
}

/* 8.6: doubling, bounded, +-20 %. */
static void
backoff(void **state)
{
	struct fixture *x = *state;
	static const struct { unsigned failures; int64_t ms; } cases[] = {
		{ 1, 60000 }, { 2, 120000 }, { 3, 240000 }, { 6, 1920000 }, { 7, 3600000 },
		{ 60, 3600000 }, { 65535, 3600000 } };

	x->conf->retry_min_ms = 60000;
	x->conf->retry_max_ms = 3600000;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = cases[i].ms;

		assert_int_equal(legs_backoff(x->conf, cases[i].failures, 0), ms - ms / 5);
		assert_int_equal(legs_backoff(x->conf, cases[i].failures, UINT32_MAX), ms + ms / 5);
	}
}

static void
switches_and_operators(void **state)
{
	struct fixture *x = *state;
	struct failover_group *g = group(x, "a.example", "");
	struct legs_change to;
	struct spool_entry e;

	e = made(x, LEG_WAITING, 3, LEG_ABSENT);
	assert_true(legs_switch_on(x->conf, &e, LEG_HOLD, "", NOW, &to));
	assert_int_equal(to.leg.state, LEG_PARKED);
	assert_int_equal(to.leg.attempts, 0);
	assert_true(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	assert_int_equal(to.leg.state, LEG_WAITING);
	e = made(x, LEG_PARKED, 0, LEG_SKIPPED);
	assert_false(legs_switch_on(x->conf, &e, LEG_HOLD, "", NOW, &to));
	assert_true(legs_switch_on(x->conf, &e, LEG_FORWARD, "failover-off", NOW, &to));
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "opted-out", NOW, &to));
	e = made(x, LEG_PARKED, 0, LEG_FAILED);		/* 8.5 */
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e = made(x, LEG_WAITING, 0, LEG_ABSENT);	/* what had waited before failover began */
	e.received_ms = NOW - x->conf->forward_backlog_age_ms;
	assert_true(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e.received_ms--;
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	assert_true(legs_switch_on(x->conf, &e, LEG_HOLD, "", NOW, &to));
	e.received_ms = NOW;
	e.triage = 3;
	assert_true(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	x->conf->forward_backlog_bulk = false;
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e.triage = 2;
	assert_true(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e = made(x, LEG_PARKED, 0, LEG_FAILED);
	set_phase(g, PHASE_ACTIVE);
	assert_false(legs_operator_retry(x->conf, g, &e, LEG_FORWARD, "", NOW, &to));
	e = made(x, LEG_PARKED, 0, LEG_ABSENT);
	e.hold_only = true;
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e = made(x, LEG_DELIVERED, 1, LEG_ABSENT);
	assert_false(legs_switch_on(x->conf, &e, LEG_FORWARD, "", NOW, &to));
	e = made(x, LEG_PARKED, 2, LEG_WAITING);
	assert_true(legs_switch_off(&e, LEG_HOLD, "", &to));
	assert_int_equal(to.leg.attempts, 0);
	assert_true(legs_switch_off(&e, LEG_FORWARD, "", &to));
	assert_int_equal(to.leg.state, LEG_SKIPPED);
	set_phase(g, PHASE_STANDBY);
	assert_true(legs_operator_retry(x->conf, g, &e, LEG_HOLD, "", NOW, &to));
	assert_int_equal(to.leg.state, LEG_WAITING);
	assert_int_equal(to.leg.next_ms, NOW);
	assert_false(legs_operator_retry(x->conf, g, &e, LEG_FORWARD, "", NOW, &to));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(mode_of_the_configuration_is_the_birth),
		T(state_survives_and_wins_over_the_configuration),
		T(domains_come_and_go),
		T(shards_of_the_directory_are_born_when_seen),
		T(damaged_state_is_not_guessed_around),
		T(change_that_cannot_be_persisted_does_not_happen),
		T(state_is_written_after_the_directory_was_closed),
		T(nothing_to_change_is_no_change),
		T(mode_auto_leaves_the_phase_to_the_probes),
		T(mode_with_an_end_gives_way_to_the_one_before),
		T(windows_are_kept_and_begin_in_time),
		T(window_that_cannot_be_persisted_is_none),
		T(state_of_format_1_is_read),
		T(the_reason_and_evidence_of_the_phase_are_kept),
		T(evidence_beyond_its_bound_is_not_kept),
		T(reasons_that_are_not_utf8_stop_no_switch),
		T(births),
		T(admissions),
		T(results),
		T(backoff),
		T(switches_and_operators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
