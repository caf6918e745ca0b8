// SPDX-License-Identifier: Apache-2.0
#include "admin/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/table.h"
#include "admin/when.h"
#include "base/clock.h"
#include "queue/audit_chain.h"

/* ---- the audit log ---- */

struct timeline {
	const char	*domain;
	int64_t		 since_ms;
	json_t		*list;		/* owned */
	struct audit_chain chain;
};

/* Of that domain, or of none in particular (imports of users, for one). */
static void
timeline_line(struct timeline *t, struct slice line)
{
	json_t *o = json_loadb(line.n == 0 ? "" : line.p, line.n, 0, NULL);
	const char *of = json_string_value(json_object_get(o, "domain"));

	if (o != NULL && member_time(o, "time") >= t->since_ms &&
	    (of == NULL || strcasecmp(of, t->domain) == 0))
		json_array_append(t->list, o);
	json_decref(o);
}

static int
timeline_read(struct timeline *t, int fd)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	FILE *f = fdopen(fd, "r");

	if (f == NULL) {
		close(fd);
		return -1;
	}
	while ((n = getline(&line, &cap, f)) > 0) {
		bool whole = line[n - 1] == '\n';
		struct slice s = slice_make(line, (size_t)n - whole);

		audit_chain_feed(&t->chain, s, whole);
		timeline_line(t, s);
	}
	audit_chain_end(&t->chain);
	free(line);
	int rc = ferror(f) ? -1 : 0;
	if (fclose(f) != 0)
		rc = -1;
	return rc;
}

/* {"audit": {...}, "timeline": [...]} into o; a log that cannot be read is told, too. */
static void
put_timeline(const struct cli *cli, const char *domain, int64_t since, json_t *o)
{
	struct timeline t = { .domain = domain, .since_ms = since, .list = json_array() };
	struct conf *c = cli_conf(cli);
	char path[4200];
	const char *error = NULL;

	audit_chain_init(&t.chain);
	(void)snprintf(path, sizeof(path), "%s/queue/audit.log", c == NULL ? "" : c->state_dir);
	int fd = c == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (c == NULL)
		error = "the configuration cannot be read";
	else if (fd < 0 || timeline_read(&t, fd) < 0)
		error = strerror(errno);
	json_object_set_new(o, "audit", json_pack("{s:b, s:I, s:s*, s:s*}",
	    "ok", error == NULL && t.chain.broken == 0, "lines", (json_int_t)t.chain.lines,
	    "error", error, "why", t.chain.broken == 0 ? NULL : t.chain.why));
	json_object_set_new(o, "timeline", t.list);
	conf_free(&c);
}

/* ---- for people ---- */

static void
print_timeline(const json_t *list)
{
	static const char *const head[] = { "TIME", "WHAT", "SHARD", "FROM", "TO", "BY", "WHY", NULL };
	struct table t;
	const json_t *e;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, e) {
		char when[32];

		time_words(member_time(e, "time"), when, sizeof(when));
		table_cell(&t, when);
		table_cell(&t, member_text(e, "event"));
		table_cell(&t, member_text(e, "shard"));
		table_cell(&t, member_text(e, "from"));
		table_cell(&t, member_text(e, "to"));
		if (member_int(e, "pid") == 0)
			table_cell(&t, "the relay");
		else
			table_cellf(&t, "uid %lld", (long long)member_int(e, "uid"));
		table_cell(&t, member_text(e, "reason"));
	}
	table_print(&t, stdout);
}

static void
print_balance(const json_t *list)
{
	static const char *const head[] = { "SHARD", "#RECEIVED", "#REPLAYED", "#FWD-ONLY",
	    "#BOUNCED", "#DROPPED", "#HELD", "BALANCE", "#FORWARDED", "#FWD-FAILED", "#FWD-SKIPPED",
	    NULL };
	static const char *const keys[] = { "received", "replayed", "forwarded_only", "bounced",
	    "dropped", "held", NULL };
	struct table t;
	const json_t *d;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		table_cell(&t, member_text(d, "shard"));
		for (size_t k = 0; keys[k] != NULL; k++)
			table_cellf(&t, "%lld", (long long)member_int(d, keys[k]));
		table_cell(&t, json_is_true(json_object_get(d, "balanced")) ? "ok" : "OFF");
		table_cellf(&t, "%lld", (long long)member_int(d, "forwarded"));
		table_cellf(&t, "%lld", (long long)member_int(d, "forward_failed"));
		table_cellf(&t, "%lld", (long long)member_int(d, "forward_skipped"));
	}
	table_print(&t, stdout);
}

static void
delay_rows(struct table *t, const json_t *d, const char *what)
{
	static const char *const percents[] = { "p50_ms", "p95_ms", "p99_ms", "max_ms", NULL };
	const char *cls;
	json_t *h;

	json_object_foreach(json_object_get(json_object_get(d, "incident"), what), cls, h) {
		table_cell(t, member_text(d, "shard"));
		table_cell(t, what);
		table_cell(t, cls);
		table_cellf(t, "%lld", (long long)member_int(h, "count"));
		for (size_t k = 0; percents[k] != NULL; k++) {
			char span[32];
			int64_t ms = member_int(h, percents[k]);

			if (ms < 1000)
				(void)snprintf(span, sizeof(span), "%lldms", (long long)ms);
			else
				span_words(ms, span, sizeof(span));
			table_cell(t, span);
		}
	}
}

static void
print_delays(const json_t *list)
{
	static const char *const head[] = { "SHARD", "FROM ARRIVAL UNTIL", "CLASS", "#COUNT",
	    "#MEDIAN", "#95%", "#99%", "#LONGEST", NULL };
	struct table t;
	const json_t *d;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		delay_rows(&t, d, "forwarded");
		delay_rows(&t, d, "replayed");
	}
	table_print(&t, stdout);
}

static void
print_replies(const json_t *list)
{
	static const char *const head[] = { "SHARD", "LEG", "REPLY", "#COUNT", NULL };
	struct table t;
	const json_t *d, *r;
	size_t i, j;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		json_array_foreach(json_object_get(json_object_get(d, "incident"), "replies"), j, r) {
			int64_t code = member_int(r, "code");

			table_cell(&t, member_text(d, "shard"));
			table_cell(&t, member_text(r, "leg"));
			if (code == 0)
				table_cellf(&t, "no reply %s", member_text(r, "enhanced"));
			else
				table_cellf(&t, "%lld %s", (long long)code, member_text(r, "enhanced"));
			table_cellf(&t, "%lld", (long long)member_int(r, "count"));
		}
	}
	table_print(&t, stdout);
}

static void
print_report(const json_t *o)
{
	const json_t *audit = json_object_get(o, "audit"), *list = json_object_get(o, "domains");
	char since[32];

	time_words(member_time(o, "since"), since, sizeof(since));
	printf("Report for ");
	text_print(stdout, member_text(o, "domain"));
	printf(" since %s\n\nWhat happened\n", since);
	print_timeline(json_object_get(o, "timeline"));
	printf("\nWhat became of the mail (recipients, since the relay serves the domain)\n");
	print_balance(list);
	printf("\nHow long it took (incidents since then)\n");
	print_delays(list);
	printf("\nWhat was answered instead of yes (tries, not messages)\n");
	print_replies(list);
	printf("\nAudit log: ");
	if (json_is_true(json_object_get(audit, "ok")))
		printf("%lld lines, the hash chain holds\n", (long long)member_int(audit, "lines"));
	else
		printf("NOT SOUND: %s%s\n", member_text(audit, "error"), member_text(audit, "why"));
}

/* ---- the command ---- */

static int
since_parse(const char *text, int64_t now, int64_t *out)
{
	int64_t span;

	if (when_span(text, &span) == 0) {
		*out = now - span;
		return 0;
	}
	return when_time(text, now, out) == 0 && *out <= now ? 0 : -1;
}

int
incident_report(const struct cli *cli, const char *domain, const char *since)
{
	int64_t now = clock_wall_ms(), from;
	int status = CLI_OK;
	const json_t *d;
	char text[40];
	size_t i;

	if (since_parse(since, now, &from) != 0)
		return cli_usage("report", "--since takes a span (12h, 3d) or a time that is over "
		    "(2026-11-28T12:00Z)");
	json_t *q = json_pack("{s:s, s:s, s:I}", "cmd", "report", "domain", domain, "since_ms",
	    (json_int_t)from);
	if (q == NULL)
		return cli_usage("report", "a domain must be UTF-8 text");
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	clock_iso8601(from, text, sizeof(text));
	json_object_set_new(r, "domain", json_string(domain));
	json_object_set_new(r, "since", json_string(text));
	put_timeline(cli, domain, from, r);
	json_array_foreach(json_object_get(r, "domains"), i, d)
		if (!json_is_true(json_object_get(d, "balanced")))
			status = CLI_FAILED;
	if (!json_is_true(json_object_get(json_object_get(r, "audit"), "ok")))
		status = CLI_FAILED;
	if (cli->json)
		control_print(r);
	else
		print_report(r);
	json_decref(r);
	return status;
}
