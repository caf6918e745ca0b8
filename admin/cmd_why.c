// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"

static const char help[] =
    "usage: salvaposta why MESSAGE\n"
    "       salvaposta why ADDRESS\n"
    "\n"
    "What happened to a message, or to the last five of a user, and what will happen\n"
    "next, in words: results of SPF, DKIM, DMARC and ARC, the rule that decided whether a\n"
    "copy may leave, its class, each attempt with the destination's reply, and what is\n"
    "remembered of the recovery mailbox and its provider. Recovery addresses are shown\n"
    "hashed, as in the log.\n";

static void
print_one(const json_t *r)
{
	const json_t *words = json_object_get(r, "why"), *w;
	size_t i;

	text_print(stdout, member_text(r, "id"));
	printf(" from <");
	text_print(stdout, member_text(r, "sender"));
	printf("> to ");
	text_print(stdout, member_text(r, "rcpt"));
	printf("\n");
	json_array_foreach((json_t *)(uintptr_t)words, i, w) {
		printf("  ");
		text_print(stdout, json_is_string(w) ? json_string_value(w) : "");
		printf("\n");
	}
}

int
cmd_why(int argc, char **argv)
{
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, NULL, 0, help, &cli, &status) != 0)
		return status;
	if (argc != 2)
		return cli_usage("why", "give one message id or one user's address");
	json_t *q = json_pack("{s:s, s:s}", "cmd", "why",
	    strchr(argv[1], '@') != NULL ? "user" : "id", argv[1]);
	if (q == NULL)
		return cli_usage("why", "the address must be UTF-8 text");
	json_t *r = control_call(&cli, q), *one;
	size_t i;
	if (r == NULL)
		return CLI_FAILED;
	if (cli.json)
		control_print(r);
	else
		json_array_foreach(json_object_get(r, "recipients"), i, one) {
			if (i > 0)
				printf("\n");
			print_one(one);
		}
	json_decref(r);
	return CLI_OK;
}
