// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"
#include "admin/when.h"
#include "base/clock.h"
#include "queue/failover.h"

static const char help[] =
    "usage: salvaposta failover list [DOMAIN]\n"
    "       salvaposta failover on | off | auto DOMAIN [--shard NAME] --reason TEXT\n"
    "                           [--until TIME | DURATION]\n"
    "       salvaposta failover schedule DOMAIN [--shard NAME] --from TIME\n"
    "                           --until TIME | DURATION --reason TEXT\n"
    "       salvaposta failover schedule [DOMAIN]\n"
    "       salvaposta failover cancel WINDOW [--reason TEXT]\n"
    "\n"
    "on:   mail for the domain is held here, and copies go to the users' recovery\n"
    "      addresses. For use when the mailboxes are down.\n"
    "off:  what is held is replayed to the primary, oldest first; new mail goes at once.\n"
    "auto: the relay looks at the primary and decides itself.\n"
    "\n"
    "schedule: a window of planned maintenance: failover goes on by itself at its\n"
    "beginning and back to what it was at its end. Without --from it lists them.\n"
    "\n"
    "A change is made at once, survives a restart, and is written to the audit log\n"
    "with the reason and who asked.\n"
    "\n"
    "      --shard NAME   only the users of this shard\n"
    "      --until WHEN   then the mode before returns: 2h, 1d12h, 18:30,\n"
    "                     \"2026-11-28 18:30\", 2026-11-28T17:30Z\n"
    "      --from TIME    beginning of the window (a duration counts from now)\n"
    "      --reason TEXT  why; kept in the audit log\n";

struct wish {
	const char	*domain, *shard, *reason, *from, *until;	/* NULL: not given */
};

/* A TIME or a DURATION from `base` on. -1 after saying what is wrong. */
static int
wish_time(const char *name, const char *text, int64_t base, int64_t *ms)
{
	if (when_span(text, ms) == 0) {
		*ms += base;
		return 0;
	}
	if (when_time(text, base, ms) == 0)
		return 0;
	(void)cli_usage("failover", "--%s %.64s is neither a time (18:30, \"2026-11-28 18:30\", "
	    "2026-11-28T17:30Z) nor a duration (2h, 1d12h)", name, text);
	return -1;
}

static void
print_time(const char *text)
{
	char words[32];
	json_t *v = json_string(text);

	time_words(json_time(v), words, sizeof(words));
	json_decref(v);
	printf("%s", words);
}

/* "ok 12 ms", "failing 2 of 3: connect no-connection", "slow". */
static void
probe_words(const json_t *d, char *out, size_t cap)
{
	const json_t *p = json_object_get(d, "probe");
	long long row = (long long)member_int(p, "failed_in_row");

	if (!json_is_object(p) || member_time(p, "last") == 0)
		(void)snprintf(out, cap, "%s", "");
	else if (row == 0)
		(void)snprintf(out, cap, "ok %lld ms", (long long)member_int(p, "latency_ms"));
	else
		(void)snprintf(out, cap, "failing %lld of %lld: %s", row,
		    (long long)member_int(p, "enter_after"),
		    json_is_true(json_object_get(p, "slow")) ? "slow" : member_text(p, "result"));
}

/* What the relay saw before it moved that domain into its phase. */
static void
print_evidence(const json_t *d)
{
	const json_t *e = json_object_get(d, "phase_evidence"), *a,
	    *recent = json_object_get(e, "recent"), *sum = json_object_get(e, "deliveries");
	char when[32];
	size_t i;

	if (!json_is_object(e))
		return;
	printf("\n");
	text_print(stdout, member_text(d, "domain"));
	printf("%s", member_text(d, "shard")[0] != '\0' ? "/" : "");
	text_print(stdout, member_text(d, "shard"));
	time_words(member_time(d, "since"), when, sizeof(when));
	printf(" is %s since %s; seen before, by probes of depth %s, at ",
	    member_text(d, "phase"), when, member_text(e, "depth"));
	text_print(stdout, member_text(e, "place"));
	printf(":\n");
	json_array_foreach((json_t *)(uintptr_t)recent, i, a) {
		time_words(member_time(a, "time"), when, sizeof(when));
		printf("  %s  %s at %s, %lld ms", when, member_text(a, "result"),
		    member_text(a, "stage"), (long long)member_int(a, "ms"));
		if (member_int(a, "code") != 0)
			printf(", code %lld", (long long)member_int(a, "code"));
		printf("\n");
	}
	printf("  deliveries of the last minute: %lld taken, %lld put off, %lld refused as unknown\n"
	    "  last words: ", (long long)member_int(sum, "took"),
	    (long long)member_int(sum, "put_off"), (long long)member_int(sum, "no_user"));
	text_print(stdout, member_text(e, "text"));
	printf("\n");
}

static void
print_domains(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "MODE", "PHASE", "SINCE", "UNTIL",
	    "#HELD", "#REPLAYING", "PRIMARY", "NEXT PROBE", "BY", "REASON", "PHASE BECAUSE", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char since[32], until[32], probe[96], next[32];
		probe_words(d, probe, sizeof(probe));
		time_words(member_time(json_object_get(d, "probe"), "next"), next, sizeof(next));
		time_words(member_time(d, "since"), since, sizeof(since));
		time_words(member_time(d, "until"), until, sizeof(until));
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		table_cell(&t, member_text(d, "mode"));
		table_cell(&t, member_text(d, "phase"));
		table_cell(&t, since);
		table_cellf(&t, "%s%s%s", until, member_time(d, "until") != 0 ? ", then " : "",
		    member_time(d, "until") != 0 ? member_text(d, "base") : "");
		table_cellf(&t, "%lld", (long long)member_int(d, "held"));
		table_cellf(&t, "%lld", (long long)member_int(d, "replaying"));
		table_cell(&t, probe);
		table_cell(&t, next);
		table_cell(&t, member_text(d, "who"));
		table_cell(&t, member_text(d, "reason"));
		table_cell(&t, member_text(d, "phase_reason"));
	}
	table_print(&t, stdout);
	json_array_foreach((json_t *)(uintptr_t)list, i, d)
		print_evidence(d);
}

/* Asks (takes q; NULL: it was no text) and answers with --json. The reply when people are
 * still to be told of it, owned by the caller; else NULL and the exit status. */
static json_t *
ask(const struct cli *cli, json_t *q, int *status)
{
	json_t *r;

	if (q == NULL) {
		*status = cli_usage("failover", "domain, shard and reason must be UTF-8 text");
		return NULL;
	}
	r = control_call(cli, q);
	*status = r == NULL ? CLI_FAILED : CLI_OK;
	if (r != NULL && cli->json) {
		control_print(r);
		json_decref(r);
		r = NULL;
	}
	return r;
}

/* What `cmd` lists under `member`, of one domain or (NULL) of all. */
static int
list(const struct cli *cli, const char *cmd, const char *domain, const char *member,
    void (*print)(const json_t *list))
{
	int status;
	json_t *r = ask(cli, json_pack("{s:s, s:s*}", "cmd", cmd, "domain", domain), &status);

	if (r != NULL)
		print(json_object_get(r, member));
	json_decref(r);
	return status;
}

static int
set(const struct cli *cli, const char *mode, const struct wish *w)
{
	int64_t until = 0, now = clock_wall_ms();
	json_t *q, *r;
	int status;

	if (w->until != NULL && wish_time("until", w->until, now, &until) != 0)
		return CLI_USAGE;
	q = json_pack("{s:s, s:s, s:s, s:s, s:s*}", "cmd", "failover-set", "domain", w->domain,
	    "mode", mode, "reason", w->reason, "shard", w->shard);
	if (q != NULL && until != 0)
		json_object_set_new(q, "until_ms", json_integer((json_int_t)until));
	r = ask(cli, q, &status);
	if (r == NULL)
		return status;
	text_print(stdout, w->domain);
	if (w->shard != NULL) {
		printf(", shard ");
		text_print(stdout, w->shard);
	}
	printf(": failover is %s, phase ", mode);
	text_print(stdout, member_text(r, "phase"));
	if (member_time(r, "until") != 0) {
		printf(", until ");
		print_time(member_text(r, "until"));
		printf(", then %s", member_text(r, "then"));
	}
	printf("\n");
	json_decref(r);
	return status;
}

/* ---- windows ---- */

static void
print_windows(const json_t *list)
{
	static const char *const head[] = { "#WINDOW", "DOMAIN", "SHARD", "FROM", "UNTIL", "BY",
	    "REASON", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	if (json_array_size(list) == 0) {
		printf("no window is scheduled\n");
		return;
	}
	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char from[32], until[32];

		time_words(member_time(d, "from"), from, sizeof(from));
		time_words(member_time(d, "until"), until, sizeof(until));
		table_cellf(&t, "%lld", (long long)member_int(d, "window"));
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		table_cell(&t, from);
		table_cell(&t, until);
		table_cell(&t, member_text(d, "who"));
		table_cell(&t, member_text(d, "reason"));
	}
	table_print(&t, stdout);
}

static int
schedule(const struct cli *cli, const struct wish *w)
{
	int64_t from, until;
	json_t *r;
	int status;

	if (wish_time("from", w->from, clock_wall_ms(), &from) != 0 ||
	    wish_time("until", w->until, from, &until) != 0)
		return CLI_USAGE;
	r = ask(cli, json_pack("{s:s, s:s, s:s, s:s*, s:I, s:I}", "cmd", "failover-schedule",
	    "domain", w->domain, "reason", w->reason, "shard", w->shard, "from_ms",
	    (json_int_t)from, "until_ms", (json_int_t)until), &status);
	if (r == NULL)
		return status;
	printf("window %lld: failover goes on at ", (long long)member_int(r, "window"));
	print_time(member_text(r, "from"));
	printf(" and back at ");
	print_time(member_text(r, "until"));
	printf("\n");
	json_decref(r);
	return status;
}

static int
cancel(const struct cli *cli, const char *id, const char *reason)
{
	uint64_t n;
	json_t *r;
	int status;

	if (slice_u64(slice_str(id), &n) != 0)
		return cli_usage("failover", "%.64s is not the number of a window", id);
	r = ask(cli, json_pack("{s:s, s:I, s:s*}", "cmd", "failover-cancel", "window",
	    (json_int_t)n, "reason", reason), &status);
	if (r != NULL)
		printf("window %llu is cancelled\n", (unsigned long long)n);
	json_decref(r);
	return status;
}

/* ---- */

static bool
blank(const char *s)
{
	return s == NULL || s[strspn(s, " \t")] == '\0';
}

static int
run_schedule(const struct cli *cli, int argc, const struct wish *w)
{
	if (argc > 3)
		return cli_usage("failover", "schedule takes one domain");
	if (w->from == NULL && w->until == NULL)
		return list(cli, "failover-windows", w->domain, "windows", print_windows);
	if (w->domain == NULL || w->from == NULL || w->until == NULL || blank(w->reason))
		return cli_usage("failover", "schedule needs a domain, --from, --until and --reason");
	return schedule(cli, w);
}

static int
run_set(const struct cli *cli, int argc, const char *verb, const struct wish *w)
{
	if (argc != 3)
		return cli_usage("failover", "%s takes one domain", verb);
	if (w->from != NULL)
		return cli_usage("failover", "--from is for schedule");
	if (blank(w->reason))
		return cli_usage("failover", "%s needs --reason: it is kept in the audit log",
		    verb);
	return set(cli, verb, w);
}

int
cmd_failover(int argc, char **argv)
{
	struct wish w = { NULL, NULL, NULL, NULL, NULL };
	const struct cli_option opt[] = {
		{ "shard", &w.shard, NULL }, { "reason", &w.reason, NULL },
		{ "from", &w.from, NULL }, { "until", &w.until, NULL },
	};
	enum conf_failover mode;
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 4, help, &cli, &status) != 0)
		return status;
	const char *verb = argc < 2 ? "" : argv[1];
	w.domain = argc > 2 ? argv[2] : NULL;
	if (strcmp(verb, "list") == 0 || strcmp(verb, "show") == 0) {
		if (argc > 3)
			return cli_usage("failover", "%s takes one domain", verb);
		return list(&cli, "failover-show", w.domain, "domains", print_domains);
	}
	if (strcmp(verb, "schedule") == 0)
		return run_schedule(&cli, argc, &w);
	if (strcmp(verb, "cancel") == 0) {
		if (argc != 3)
			return cli_usage("failover", "cancel takes the number of a window");
		return cancel(&cli, w.domain, w.reason);
	}
	if (failover_mode_parse(verb, &mode) == 0)
		return run_set(&cli, argc, verb, &w);
	return cli_usage("failover", "say list, on, off, auto, schedule or cancel");
}
