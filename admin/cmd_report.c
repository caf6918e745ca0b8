// SPDX-License-Identifier: Apache-2.0
/* P7 for the record: what came in and what became of it, per domain and shard. */
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/incident.h"
#include "admin/table.h"

static const char help[] =
    "usage: salvaposta report [DOMAIN]\n"
    "       salvaposta report DOMAIN --since WHEN\n"
    "\n"
    "The balance of recipients, per domain and shard, kept across restarts and crashes:\n"
    "received = replayed + forwarded-only + bounced + dropped + held.\n"
    "Copies to recovery addresses are counted beside it.\n"
    "Exit status 1 when a balance does not come out.\n"
    "\n"
    "      --since WHEN  the report after an incident: what happened and who decided it,\n"
    "                    the balance, how long mail took by class, what was refused and\n"
    "                    why, and whether the audit log is whole. WHEN is 12h, 3d, or a\n"
    "                    time like 2026-11-28T12:00Z\n";

/* What a recipient can have become; each is in exactly one. */
static const char *const parts[] = { "replayed", "forwarded_only", "bounced", "dropped", "held",
	NULL };

static int64_t
missing(const json_t *d)
{
	int64_t m = member_int(d, "received");

	for (size_t i = 0; parts[i] != NULL; i++)
		m -= member_int(d, parts[i]);
	return m;
}

static void
row(struct table *t, const json_t *d)
{
	static const char *const beside[] = { "forwarded", "forward_waiting", "forward_failed",
	    "forward_skipped", NULL };
	char size[32];

	table_cell(t, member_text(d, "domain"));
	table_cell(t, member_text(d, "shard"));
	table_cellf(t, "%lld", (long long)member_int(d, "received"));
	for (size_t i = 0; parts[i] != NULL; i++)
		table_cellf(t, "%lld", (long long)member_int(d, parts[i]));
	size_words((uint64_t)member_int(d, "held_bytes"), size, sizeof(size));
	table_cell(t, size);
	if (missing(d) == 0)
		table_cell(t, "ok");
	else
		table_cellf(t, "OFF BY %lld", (long long)missing(d));
	for (size_t i = 0; beside[i] != NULL; i++)
		table_cellf(t, "%lld", (long long)member_int(d, beside[i]));
}

static void
print(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "#RECEIVED", "#REPLAYED",
	    "#FWD-ONLY", "#BOUNCED", "#DROPPED", "#HELD", "#HELD-SIZE", "BALANCE", "#FORWARDED",
	    "#WAITING", "#FAILED", "#SKIPPED", NULL };
	json_t *sum = json_pack("{s:s}", "domain", "(all)");
	struct table t;
	const char *key;
	json_t *v;
	const json_t *d;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		row(&t, d);
		json_object_foreach((json_t *)(uintptr_t)d, key, v) {
			if (json_is_integer(v))
				json_object_set_new(sum, key, json_integer(json_integer_value(v) +
				    (json_int_t)member_int(sum, key)));
		}
	}
	if (json_array_size(list) > 1)
		row(&t, sum);
	table_print(&t, stdout);
	json_decref(sum);
}

int
cmd_report(int argc, char **argv)
{
	struct cli cli;
	int status = CLI_OK;
	const json_t *d;
	size_t i;

	const char *since = NULL;
	const struct cli_option opt[] = { { "since", &since, NULL } };

	if (cli_options(&argc, argv, opt, 1, help, &cli, &status) != 0)
		return status;
	if (argc > 2)
		return cli_usage("report", "takes one domain at most");
	if (since != NULL && argc != 2)
		return cli_usage("report", "--since takes one domain");
	if (since != NULL)
		return incident_report(&cli, argv[1], since);
	json_t *q = json_pack("{s:s, s:s*}", "cmd", "report", "domain", argc == 2 ? argv[1] : NULL);
	if (q == NULL)
		return cli_usage("report", "a domain must be UTF-8 text");
	json_t *r = control_call(&cli, q);
	if (r == NULL)
		return CLI_FAILED;
	json_array_foreach(json_object_get(r, "domains"), i, d) {
		if (missing(d) != 0 || json_is_false(json_object_get(d, "balanced")))
			status = CLI_FAILED;
	}
	if (cli.json)
		control_print(r);
	else
		print(json_object_get(r, "domains"));
	if (status != CLI_OK)
		fprintf(stderr, "salvaposta: the balance of a domain does not come out: keep the "
		    "state directory as it is and report this\n");
	json_decref(r);
	return status;
}
