// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"

static const char help[] =
    "usage: salvaposta failover show [DOMAIN]\n"
    "       salvaposta failover on  DOMAIN [--shard NAME] --reason TEXT\n"
    "       salvaposta failover off DOMAIN [--shard NAME] --reason TEXT\n"
    "\n"
    "on:  mail for the domain is held here, and copies go to the users' recovery\n"
    "     addresses. For use when the mailboxes are down.\n"
    "off: what is held is replayed to the primary, oldest first; new mail goes at once.\n"
    "\n"
    "The change is made at once, survives a restart, and is written to the audit log\n"
    "with the reason and who asked.\n"
    "\n"
    "      --shard NAME   only the users of this shard\n"
    "      --reason TEXT  why; kept in the audit log\n";

static void
print_domains(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "MODE", "PHASE", "SINCE", "#HELD",
	    "#REPLAYING", "BY", "REASON", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char since[32];
		time_words(member_time(d, "since"), since, sizeof(since));
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		table_cell(&t, member_text(d, "mode"));
		table_cell(&t, member_text(d, "phase"));
		table_cell(&t, since);
		table_cellf(&t, "%lld", (long long)member_int(d, "held"));
		table_cellf(&t, "%lld", (long long)member_int(d, "replaying"));
		table_cell(&t, member_text(d, "who"));
		table_cell(&t, member_text(d, "reason"));
	}
	table_print(&t, stdout);
}

static int
show(const struct cli *cli, const char *domain)
{
	json_t *q = json_pack("{s:s, s:s*}", "cmd", "failover-show", "domain", domain);
	json_t *r = control_call(cli, q);

	if (r == NULL)
		return CLI_FAILED;
	if (cli->json)
		control_print(r);
	else
		print_domains(json_object_get(r, "domains"));
	json_decref(r);
	return CLI_OK;
}

static int
set(const struct cli *cli, const char *mode, const char *domain, const char *shard,
    const char *reason)
{
	json_t *q = json_pack("{s:s, s:s, s:s, s:s, s:s*}", "cmd", "failover-set", "domain",
	    domain, "mode", mode, "reason", reason, "shard", shard);

	if (q == NULL)
		return cli_usage("failover", "domain, shard and reason must be UTF-8 text");
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json) {
		control_print(r);
	} else {
		text_print(stdout, domain);
		if (shard != NULL) {
			printf(", shard ");
			text_print(stdout, shard);
		}
		printf(": failover is %s, phase ", mode);
		text_print(stdout, member_text(r, "phase"));
		printf("\n");
	}
	json_decref(r);
	return CLI_OK;
}

int
cmd_failover(int argc, char **argv)
{
	const char *shard = NULL, *reason = NULL;
	const struct cli_option opt[] = {
		{ "shard", &shard, NULL }, { "reason", &reason, NULL },
	};
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 2, help, &cli, &status) != 0)
		return status;
	if (argc < 2)
		return cli_usage("failover", "say show, on or off");
	const char *verb = argv[1];
	if (strcmp(verb, "show") == 0) {
		if (argc > 3)
			return cli_usage("failover", "show takes one domain");
		return show(&cli, argc == 3 ? argv[2] : NULL);
	}
	if (strcmp(verb, "on") != 0 && strcmp(verb, "off") != 0)
		return cli_usage("failover", "say show, on or off");
	if (argc != 3)
		return cli_usage("failover", "%s takes one domain", verb);
	if (reason == NULL || reason[strspn(reason, " \t")] == '\0')
		return cli_usage("failover", "%s needs --reason: it is kept in the audit log",
		    verb);
	return set(&cli, verb, argv[2], shard, reason);
}
