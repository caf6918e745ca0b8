// SPDX-License-Identifier: Apache-2.0
/* What an operator says about a replay: kept, audited, bounded; the rate; the progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/failover.h"
#include "queue/legs.h"
#include "queue/replay.h"

struct fixture {
	struct conf	*conf;
	struct audit	*audit;
	struct failover	*failover;
	struct replay	*replay;
	char		 dir[64];
	int		 dirfd;
};

static const char conf_text[] =
    "hostname = \"mx2.example.it\"\n"
    "state-dir = \"/tmp\"\n"
    "domain \"a.example\" { primary = \"lmtp://store-a:24\" shard \"s2\" { primary = \"smtp://s2:26\" } }\n"
    "domain \"b.example\" { primary = mx }\n";

static int
setup(void **state)
{
	struct fixture *x = mem_new(sizeof(*x));
	struct conf_errors e = { .count = 0 };

	log_open("test", LOG_LVL_ERROR + 1);
	buf_init(&e.text, 65536);
	x->conf = conf_parse(slice_str(conf_text), "test.conf", &e);
	assert_non_null(x->conf);
	buf_fini(&e.text);
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/replay_test.XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->audit = audit_open(x->dirfd);
	x->failover = failover_open(x->dirfd, x->conf, x->audit);
	x->replay = replay_open(x->dirfd, x->failover, x->audit);
	assert_non_null(x->replay);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;
	static const char *const files[] = { "audit.log", "failover.json", "replay.json",
	    "replay.json.new" };

	replay_free(&x->replay);
	failover_close(&x->failover);
	audit_close(&x->audit);
	conf_free(&x->conf);
	for (size_t i = 0; i < 4; i++)
		(void)unlinkat(x->dirfd, files[i], 0);
	close(x->dirfd);
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static const struct failover_group *
group(struct fixture *x, const char *domain, const char *shard)
{
	return failover_of(x->failover, slice_str(domain), slice_str(shard));
}

static void
reopen(struct fixture *x)
{
	replay_free(&x->replay);
	x->replay = replay_open(x->dirfd, x->failover, x->audit);
}

static const char *
key(struct fixture *x, const char *domain, const char *shard)
{
	static char out[DEST_KEY_MAX];
	const struct spool_entry e = { .kind = RCPT_USER, .group = group(x, domain, shard)->id };
	struct legs_route r;

	assert_int_equal(replay_route(x->replay, x->conf, x->failover, &e, &r, out), 0);
	return out;
}

static void
an_operators_word_outlives_a_restart(void **state)
{
	struct fixture *x = *state;
	struct replay_change c = { .paused = 1, .rate = 90, .to = "lmtp://[::1]:2424",
		.reason = "shelf burnt", .who = { 7, 8 } };

	assert_int_equal(replay_change(x->replay, group(x, "a.example", ""), &c), 0);
	reopen(x);
	const struct replay_group *g = replay_find(x->replay, group(x, "a.example", "")->id);
	assert_non_null(g);
	assert_true(g->paused);
	assert_int_equal(g->rate, 90);
	assert_string_equal(g->reason, "shelf burnt");
	assert_int_equal(g->who.uid, 7);
	assert_string_equal(key(x, "a.example", ""), "lmtp:::1:2424");
	assert_string_equal(key(x, "a.example", "s2"), "smtp:s2:26");	/* of that group only */
	assert_string_equal(key(x, "b.example", ""), "mx:b.example");
	c = (struct replay_change){ .paused = -1, .rate = -1, .to = "", .reason = "new shelf" };
	assert_int_equal(replay_change(x->replay, group(x, "a.example", ""), &c), 0);
	reopen(x);
	g = replay_find(x->replay, group(x, "a.example", "")->id);
	assert_true(g->paused);		/* untouched */
	assert_null(g->to);
	assert_string_equal(key(x, "a.example", ""), "lmtp:store-a:24");
}

/* Mail to the postmaster does not follow a domain's other primary. */
static void
only_users_mail_is_rerouted(void **state)
{
	struct fixture *x = *state;
	const struct replay_change c = { .paused = -1, .rate = -1, .to = "smtp://other:25",
		.reason = "r" };
	const struct spool_entry e = { .kind = RCPT_POSTMASTER,
		.group = group(x, "a.example", "")->id };
	struct legs_route r;

	assert_int_equal(replay_change(x->replay, group(x, "a.example", ""), &c), 0);
	assert_int_equal(replay_route(x->replay, x->conf, x->failover, &e, &r, NULL), -1);
}

static void
what_cannot_be_kept_does_not_happen(void **state)
{
	static const char *const bad[] = { "mx", "http://x", "lmtp://", "lmtp://h:99999", "x" };
	struct fixture *x = *state;
	const struct failover_group *g = group(x, "a.example", "");

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct replay_change c = { .paused = -1, .rate = -1, .to = bad[i], .reason = "r" };

		assert_int_equal(replay_change(x->replay, g, &c), -1);
		assert_int_equal(errno, EINVAL);
	}
	/* A file that cannot be replaced: nothing changes, in memory neither. */
	const struct replay_change c = { .paused = 1, .rate = 10, .reason = "r" };
	assert_int_equal(mkdirat(x->dirfd, "replay.json.new", 0700), 0);
	assert_int_equal(replay_change(x->replay, g, &c), -1);
	assert_int_equal(unlinkat(x->dirfd, "replay.json.new", AT_REMOVEDIR), 0);
	assert_false(replay_get(x->replay, g->id)->paused);
	assert_int_equal(replay_get(x->replay, g->id)->rate, 0);
}

static void
put_file(struct fixture *x, const char *text, size_t n)
{
	int fd = openat(x->dirfd, "replay.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), (ssize_t)n);
	close(fd);
}

/* A guess could send a domain's mail to the wrong place: any damage stops the start. */
static void
a_damaged_file_is_not_guessed_around(void **state)
{
	struct fixture *x = *state;
	const struct replay_change c = { .paused = 1, .rate = 10, .to = "lmtp://h:24", .reason = "r" };
	char text[4096];

	assert_int_equal(replay_change(x->replay, group(x, "a.example", ""), &c), 0);
	int fd = openat(x->dirfd, "replay.json", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	assert_true(n > 100);
	for (ssize_t cut = 0; cut < n - 1; cut += 7) {
		put_file(x, text, (size_t)cut);
		reopen(x);
		assert_null(x->replay);
	}
	char *rate = memmem(text, (size_t)n, "\"rate\": 10", 10);
	assert_non_null(rate);
	memcpy(rate, "\"rate\": -1", 10);
	put_file(x, text, (size_t)n);
	reopen(x);
	assert_null(x->replay);
	memcpy(rate, "\"rate\": 11", 10);
	put_file(x, text, (size_t)n);
	reopen(x);
	assert_non_null(x->replay);
}

static void
a_rate_is_kept_over_time(void **state)
{
	struct fixture *x = *state;
	const struct failover_group *f = group(x, "a.example", "");
	const struct replay_change c = { .paused = -1, .rate = 600, .reason = "ten a second" };
	struct replay_group *g = replay_get(x->replay, f->id);
	unsigned n = 0;

	assert_int_equal(replay_change(x->replay, f, &c), 0);
	for (int64_t t = 1000000; t < 1060000; t += 10) {
		while (replay_may(g, t) && n < 100000) {
			replay_started(g, t, 1);
			n++;
		}
	}
	assert_in_range(n, 600, 612);	/* and a second's worth to make up for */
}

static void
progress_tells_rate_and_replies(void **state)
{
	struct fixture *x = *state;
	struct replay_group *g = replay_get(x->replay, 1);
	static const struct {
		uint8_t		outcome, scope;
		uint16_t	code;
		const char	*enhanced;
		enum ramp_reply	judged;
	} other[] = {
		{ DELIVER_TEMP, SCOPE_RCPT, 451, "4.3.0", RAMP_DEFERRED },
		{ DELIVER_TEMP, SCOPE_RCPT, 452, "4.2.2", RAMP_ANSWERED },
		{ DELIVER_PERM, SCOPE_RCPT, 552, "5.2.2", RAMP_ANSWERED },
		{ DELIVER_PERM, SCOPE_RCPT, 550, "5.1.1", RAMP_ANSWERED },
		{ DELIVER_PERM, SCOPE_HOST, 554, "", RAMP_DEFERRED },
		{ DELIVER_UNKNOWN, SCOPE_MESSAGE, 0, "", RAMP_LOST },
		{ DELIVER_TEMP, SCOPE_HOST, 0, "4.4.1", RAMP_LOST },
	};
	int64_t t = 5000000;

	replay_started(g, t, 1000);
	for (int i = 0; i < 1200; i++, t += 50) {	/* twenty a second for a minute */
		const struct queue_delivered m = { .outcome = DELIVER_OK, .code = 250 };

		replay_replied(g, &m, 100, t);
	}
	double rate = replay_rate(g, t, 1000 + 60000);
	assert_true(rate > 18 && rate < 22);
	assert_true(replay_rate(g, t + 120000, 1000 + 180000) < 0.01);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		const struct queue_delivered m = { .outcome = other[i].outcome,
			.scope = other[i].scope, .code = other[i].code,
			.enhanced = slice_str(other[i].enhanced) };

		assert_int_equal(replay_judge(&m), other[i].judged);
		replay_replied(g, &m, 100, t);
	}
	assert_int_equal(g->count.delivered, 1200);
	assert_int_equal(g->count.bytes, 120000);
	assert_int_equal(g->count.deferred, 2);
	assert_int_equal(g->count.over_quota, 2);
	assert_int_equal(g->count.refused, 1);
	assert_int_equal(g->count.lost, 2);
	replay_over(g);
	assert_int_equal(g->count.delivered, 0);
	assert_true(replay_rate(g, t, 1) < 0.01);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_operators_word_outlives_a_restart),
		T(only_users_mail_is_rerouted),
		T(what_cannot_be_kept_does_not_happen),
		T(a_damaged_file_is_not_guessed_around),
		T(a_rate_is_kept_over_time),
		T(progress_tells_rate_and_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
