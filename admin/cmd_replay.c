// SPDX-License-Identifier: Apache-2.0
/* The replay of held mail into the primary: how it goes, and what an operator decides. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/table.h"
#include "admin/when.h"
#include "base/clock.h"

enum { FOLLOW_MS = 2000, ASSUMED_LATENCY_MS = 50 };

static const char help[] =
    "usage: salvaposta replay [status] [DOMAIN] [--shard NAME] [--follow]\n"
    "       salvaposta replay start  DOMAIN [--shard NAME] --reason TEXT\n"
    "       salvaposta replay again  DOMAIN --since WHEN [--user ADDRESS] [--shard NAME]\n"
    "                                --reason TEXT [--dry-run]\n"
    "       salvaposta replay pause  DOMAIN [--shard NAME] --reason TEXT\n"
    "       salvaposta replay resume DOMAIN [--shard NAME] [--reason TEXT]\n"
    "       salvaposta replay rate   DOMAIN N/s|N/min|none [--shard NAME] [--reason TEXT]\n"
    "       salvaposta replay --to ROUTE DOMAIN [--shard NAME] --reason TEXT\n"
    "       salvaposta replay --dry-run DOMAIN [--shard NAME]\n"
    "\n"
    "A replay begins by itself when failover is switched off, stops when the primary fails\n"
    "again, and goes on when it is back. What an operator decides holds until he takes it\n"
    "back, survives a restart and is written to the audit log.\n"
    "\n"
    "status:    what is held, how fast it goes and when it will be done.\n"
    "start:     ends a pause, and gives all that is held a new chance now: what the\n"
    "           primary refused, what is over quota, what waits for its next try.\n"
    "again:     what was replayed since then (12h, 3d, 2026-11-28T12:00Z) once more, for a\n"
    "           store that lost it after all. Replayed mail is kept for replay-grace, or\n"
    "           until the disk gets short. The copies carry the X-Fwd-Queue-Id of the\n"
    "           first time.\n"
    "pause:     held mail stays here; new mail is delivered all the same.\n"
    "rate:      at most so many deliveries of held mail.\n"
    "--to:      the primary is lost for good: all mail of the domain goes to ROUTE\n"
    "           (lmtp://host:port or smtp://host:port) from now on, held and new. \"--to\n"
    "           primary\" takes it back. Then write the new primary into relay.conf.\n"
    "--dry-run: what would be replayed, and about how long it would take.\n"
    "\n"
    "      --shard NAME   only the users of this shard\n"
    "      --reason TEXT  why; kept in the audit log\n"
    "      --follow       a line each two seconds until nothing is left to replay\n";

struct options {
	const char	*shard, *reason, *to, *since, *user;	/* NULL: not given */
	bool		 dry_run, follow;
};

/* "12/s", "300/min", "12", "none": deliveries a minute. 0 or -1. */
static int
parse_rate(const char *text, int64_t *out)
{
	size_t n = strspn(text, "0123456789");
	int64_t v = 0, scale = 60;

	if (strcmp(text, "none") == 0) {
		*out = 0;
		return 0;
	}
	if (n == 0 || n > 8)
		return -1;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (text[i] - '0');
	if (strcmp(text + n, "/min") == 0)
		scale = 1;
	else if (text[n] != '\0' && strcmp(text + n, "/s") != 0)
		return -1;
	*out = v * scale;
	return v > 0 ? 0 : -1;
}

/* ---- status ---- */

static void
rate_words(int64_t per_minute, char *out, size_t cap)
{
	if (per_minute == 0)
		out[0] = '\0';
	else if (per_minute % 60 == 0)
		(void)snprintf(out, cap, "%lld/s", (long long)per_minute / 60);
	else
		(void)snprintf(out, cap, "%lld/min", (long long)per_minute);
}

static void
left_words(const json_t *d, char *out, size_t cap)
{
	const json_t *left = json_object_get(d, "left_s");

	out[0] = '\0';
	if (json_is_integer(left))
		span_words((int64_t)json_integer_value(left) * 1000, out, cap);
}

static void
status_row(struct table *t, const json_t *d)
{
	char size[32], left[32], max[32], end[32] = "";
	const json_t *s = json_object_get(d, "left_s");

	size_words((uint64_t)member_int(d, "held_bytes"), size, sizeof(size));
	left_words(d, left, sizeof(left));
	rate_words(member_int(d, "rate_max"), max, sizeof(max));
	if (json_is_integer(s))
		time_words(clock_wall_ms() + (int64_t)json_integer_value(s) * 1000, end, sizeof(end));
	table_cell(t, member_text(d, "domain"));
	table_cell(t, member_text(d, "shard"));
	table_cell(t, member_text(d, "state"));
	table_cellf(t, "%lld", (long long)member_int(d, "held"));
	table_cell(t, size);
	table_cellf(t, "%lld", (long long)member_int(d, "delivered"));
	table_cellf(t, "%.1f/s%s%s", json_number_value(json_object_get(d, "rate")),
	    max[0] != '\0' ? ", at most " : "", max);
	table_cell(t, left);
	table_cell(t, end);
	table_cellf(t, "%lld of %lld (max %lld)", (long long)member_int(d, "in_flight"),
	    (long long)member_int(d, "limit"), (long long)member_int(d, "ceiling"));
	table_cellf(t, "%lld ms", (long long)member_int(d, "p95_ms"));
	table_cellf(t, "%lld", (long long)member_int(d, "deferred"));
	table_cellf(t, "%lld", (long long)member_int(d, "over_quota"));
	table_cellf(t, "%lld", (long long)member_int(d, "refused"));
	table_cellf(t, "%lld", (long long)member_int(d, "lost"));
}

static void
print_status(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "STATE", "#HELD", "#SIZE", "#DONE",
	    "#RATE", "#LEFT", "END", "IN FLIGHT", "#P95", "#DEFERRED", "#OVER-QUOTA", "#REFUSED",
	    "#LOST", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d)
		status_row(&t, d);
	table_print(&t, stdout);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		if (member_text(d, "to")[0] != '\0') {
			text_print(stdout, member_text(d, "domain"));
			printf(": goes to ");
			text_print(stdout, member_text(d, "to"));
			printf(" instead of its primary (");
			text_print(stdout, member_text(d, "reason"));
			printf(")\n");
		}
	}
}

static json_t *
ask_status(const struct cli *cli, const char *domain, const struct options *o)
{
	return control_call(cli, json_pack("{s:s, s:s*, s:s*}", "cmd", "replay-status", "domain", domain,
	    "shard", o->shard));
}

static bool
any_running(const json_t *list)
{
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, d)
		if (strcmp(member_text(d, "phase"), "replay") == 0)
			return true;
	return false;
}

static int
status(const struct cli *cli, const char *domain, const struct options *o)
{
	bool again;

	do {
		json_t *r = ask_status(cli, domain, o);

		if (r == NULL)
			return CLI_FAILED;
		if (cli->json)
			control_print(r);
		else
			print_status(json_object_get(r, "domains"));
		again = o->follow && any_running(json_object_get(r, "domains"));
		json_decref(r);
		if (again) {
			(void)fflush(stdout);
			(void)usleep(FOLLOW_MS * 1000);
		}
	} while (again);
	return CLI_OK;
}

/* ---- dry run ---- */

/* Seconds for n deliveries: as fast as it goes now, or by what is known of the ramp. */
static double
estimate(const json_t *d, double n, bool *assumed)
{
	double rate = json_number_value(json_object_get(d, "rate"));
	double max = (double)member_int(d, "rate_max") / 60, p95 = (double)member_int(d, "p95_ms");

	*assumed = rate < 0.01;
	if (*assumed)
		rate = (double)member_int(d, "ceiling") * 1000 / (p95 > 0 ? p95 : ASSUMED_LATENCY_MS);
	if (max > 0 && rate > max)
		rate = max;
	return rate > 0 ? n / rate : 0;
}

/* The sums of one group, NULL when nothing of it is held. */
static const json_t *
group_of(const json_t *list, const json_t *d)
{
	const json_t *s;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, s)
		if (strcmp(member_text(s, "domain"), member_text(d, "domain")) == 0 &&
		    strcmp(member_text(s, "shard"), member_text(d, "shard")) == 0)
			return s;
	return NULL;
}

static json_t *
dry_group(const json_t *d, const json_t *s)
{
	bool assumed;
	int64_t on_hold = member_int(s, "on_hold"), n = member_int(s, "held") - on_hold;
	double t = estimate(d, (double)n, &assumed);

	return json_pack("{s:O, s:O, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b}",
	    "domain", json_object_get(d, "domain"), "shard", json_object_get(d, "shard"),
	    "state", member_text(d, "state"), "would_replay", (json_int_t)n,
	    "bytes", (json_int_t)member_int(s, "held_bytes"),
	    "backlog", (json_int_t)member_int(s, "backlog"),
	    "waiting", (json_int_t)member_int(s, "waiting"),
	    "refused", (json_int_t)member_int(s, "refused"), "on_hold", (json_int_t)on_hold,
	    "estimate_s", t, "assumed", (int)assumed);
}

static void
print_dry(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "STATE", "#WOULD REPLAY", "#SIZE",
	    "#BACKLOG", "#WAITING", "#REFUSED", "#ON HOLD", "#ABOUT", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char size[32], span[32];

		size_words((uint64_t)member_int(d, "bytes"), size, sizeof(size));
		span_words((int64_t)(json_number_value(json_object_get(d, "estimate_s")) * 1000),
		    span, sizeof(span));
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		table_cell(&t, member_text(d, "state"));
		table_cellf(&t, "%lld", (long long)member_int(d, "would_replay"));
		table_cell(&t, size);
		table_cellf(&t, "%lld", (long long)member_int(d, "backlog"));
		table_cellf(&t, "%lld", (long long)member_int(d, "waiting"));
		table_cellf(&t, "%lld", (long long)member_int(d, "refused"));
		table_cellf(&t, "%lld", (long long)member_int(d, "on_hold"));
		table_cellf(&t, "%s%s", span, json_is_true(json_object_get(d, "assumed")) ?
		    " (guessed)" : "");
	}
	table_print(&t, stdout);
}

static int
dry_run(const struct cli *cli, const char *domain, const struct options *o)
{
	json_t *r = ask_status(cli, domain, o), *list = json_array();
	json_t *sums = r == NULL ? NULL : control_call(cli, json_pack("{s:s, s:s}", "cmd",
	    "queue-summary", "domain", domain));
	const json_t *d;
	size_t i;

	if (sums == NULL) {
		json_decref(r);
		json_decref(list);
		return CLI_FAILED;
	}
	json_array_foreach(json_object_get(r, "domains"), i, d)
		json_array_append_new(list, dry_group(d, group_of(json_object_get(sums, "domains"), d)));
	if (cli->json) {
		json_t *out = json_pack("{s:b, s:b, s:O}", "ok", 1, "dry_run", 1, "domains", list);

		control_print(out);
		json_decref(out);
	} else {
		print_dry(list);
	}
	json_decref(list);
	json_decref(sums);
	json_decref(r);
	return CLI_OK;
}

/* ---- changes ---- */

static int
tell(const struct cli *cli, json_t *q)
{
	json_t *r = q == NULL ? NULL : control_call(cli, q);

	if (q == NULL)
		return cli_usage("replay", "domain, shard, route and reason must be UTF-8 text");
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json)
		control_print(r);
	else if (json_is_array(json_object_get(r, "domains")))
		print_status(json_object_get(r, "domains"));
	else
		printf("%lld recipients %s tried again\n", (long long)member_int(r, "count"),
		    json_is_true(json_object_get(r, "dry_run")) ? "would be" : "are");
	json_decref(r);
	return CLI_OK;
}

static json_t *
request(const char *cmd, const char *domain, const struct options *o, const char *reason)
{
	return json_pack("{s:s, s:s, s:s*, s:s}", "cmd", cmd, "domain", domain, "shard", o->shard,
	    "reason", o->reason != NULL ? o->reason : reason);
}

static int
change(const struct cli *cli, const char *domain, const struct options *o, const char *key,
    json_t *value, const char *reason)
{
	json_t *q = request("replay-set", domain, o, reason);

	if (q == NULL || value == NULL) {
		json_decref(value);
		json_decref(q);
		return tell(cli, NULL);
	}
	json_object_set_new(q, key, value);
	return tell(cli, q);
}

static bool
blank(const char *s)
{
	return s == NULL || s[strspn(s, " \t")] == '\0';
}

static int
again(const struct cli *cli, const char *domain, const struct options *o)
{
	int64_t now = clock_wall_ms(), span, from;

	if (o->since == NULL)
		return cli_usage("replay", "again needs --since");
	if (when_span(o->since, &span) == 0)
		from = now - span;
	else if (when_time(o->since, now, &from) != 0 || from > now)
		return cli_usage("replay", "--since takes a span (12h, 3d) or a time that is over "
		    "(2026-11-28T12:00Z)");
	json_t *q = request("replay-again", domain, o, "");
	if (q == NULL)
		return tell(cli, NULL);
	json_object_set_new(q, "since_ms", json_integer((json_int_t)from));
	json_object_set_new(q, "dry_run", json_boolean(o->dry_run));
	if (o->user != NULL)
		json_object_set_new(q, "user", json_string(o->user));
	return tell(cli, q);
}

static int
verb(const struct cli *cli, int argc, char **argv, const struct options *o)
{
	const char *what = argv[1];
	int64_t rate;

	if (strcmp(what, "rate") == 0) {
		if (argc != 4)
			return cli_usage("replay", "rate takes a domain and a rate");
		if (parse_rate(argv[3], &rate) != 0)
			return cli_usage("replay", "a rate is like 20/s, 300/min or none");
		return change(cli, argv[2], o, "rate", json_integer((json_int_t)rate), "rate");
	}
	if (argc != 3)
		return cli_usage("replay", "%s takes one domain", what);
	if (strcmp(what, "resume") == 0)
		return change(cli, argv[2], o, "paused", json_false(), "resume");
	if (blank(o->reason))
		return cli_usage("replay", "%s needs --reason: it is kept in the audit log", what);
	if (strcmp(what, "again") == 0)
		return again(cli, argv[2], o);
	if (strcmp(what, "pause") == 0)
		return change(cli, argv[2], o, "paused", json_true(), "");
	return tell(cli, request("replay-start", argv[2], o, ""));
}

static int
run(const struct cli *cli, int argc, char **argv, const struct options *o)
{
	static const char *const verbs[] = { "start", "pause", "resume", "rate", "again" };
	const char *first = argc > 1 ? argv[1] : "status";
	bool named = strcmp(first, "status") == 0;

	if (o->to != NULL) {
		if (argc != 2)
			return cli_usage("replay", "--to takes one domain");
		if (blank(o->reason))
			return cli_usage("replay", "--to needs --reason: it is kept in the audit log");
		return change(cli, argv[1], o, "to", json_string(strcmp(o->to, "primary") == 0 ? "" :
		    o->to), "");
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(first, verbs[i]) == 0 && (!o->dry_run || argc < 3 ||
		    strcmp(first, "again") == 0))
			return verb(cli, argc, argv, o);
	if (strcmp(first, "start") == 0)
		return dry_run(cli, argv[2], o);
	if (argc > (named ? 3 : 2))
		return cli_usage("replay", "takes one domain");
	const char *domain = named ? (argc > 2 ? argv[2] : NULL) : argc > 1 ? argv[1] : NULL;
	if (!o->dry_run)
		return status(cli, domain, o);
	if (domain == NULL)
		return cli_usage("replay", "--dry-run takes one domain");
	return dry_run(cli, domain, o);
}

int
cmd_replay(int argc, char **argv)
{
	struct options o = { .shard = NULL };
	const struct cli_option opt[] = {
		{ "shard", &o.shard, NULL }, { "reason", &o.reason, NULL }, { "to", &o.to, NULL },
		{ "since", &o.since, NULL }, { "user", &o.user, NULL },
		{ "dry-run", NULL, &o.dry_run }, { "follow", NULL, &o.follow },
	};
	struct cli cli;
	int rc;

	if (cli_options(&argc, argv, opt, sizeof(opt) / sizeof(opt[0]), help, &cli, &rc) != 0)
		return rc;
	return run(&cli, argc, argv, &o);
}
