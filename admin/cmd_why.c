// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"

static const char help[] =
    "usage: salvaposta why MESSAGE[/RECIPIENT-NUMBER]\n"
    "       salvaposta why ADDRESS\n"
    "\n"
    "What happened to a message, or to the last five of a user, and what will happen\n"
    "next, in words: results of SPF, DKIM, DMARC and ARC, the rule that decided whether a\n"
    "copy may leave, its class, each attempt with the destination's reply, and what is\n"
    "remembered of the recovery mailbox and its provider. Of a user without mail here it is\n"
    "what the directory says. Recovery addresses are shown hashed, as in the log.\n"
    "Exit status 1: there is no such message, or neither mail nor a user of that address.\n";

static void
print_one(const json_t *r)
{
	const json_t *words = json_object_get(r, "why"), *w;
	size_t i;

	if (json_object_get(r, "id") != NULL) {
		text_print(stdout, member_text(r, "id"));
		printf(" from <");
		text_print(stdout, member_text(r, "sender"));
		printf("> to ");
	}
	text_print(stdout, member_text(r, "rcpt"));
	printf("\n");
	json_array_foreach((json_t *)(uintptr_t)words, i, w) {
		printf("  ");
		text_print(stdout, json_is_string(w) ? json_string_value(w) : "");
		printf("\n");
	}
}

/* "ID/2", as the log writes it: one recipient of it. */
static void
keep_recipient(json_t *r, const char *index)
{
	json_t *list = json_object_get(r, "recipients");

	for (size_t i = json_array_size(list); index != NULL && i-- > 0;) {
		json_t *n = json_object_get(json_array_get(list, i), "rcpt_index");

		if (json_integer_value(n) != strtoll(index, NULL, 10))
			json_array_remove(list, i);
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
	bool user = strchr(argv[1], '@') != NULL;
	char *slash = user ? NULL : strchr(argv[1], '/');
	if (slash != NULL && slash[1 + strspn(slash + 1, "0123456789")] == '\0')
		*slash++ = '\0';
	else
		slash = NULL;
	json_t *q = json_pack("{s:s, s:s}", "cmd", "why", user ? "user" : "id", argv[1]);
	if (q == NULL)
		return cli_usage("why", "the address must be UTF-8 text");
	json_t *r = control_call(&cli, q), *one;
	size_t i;
	if (r == NULL)
		return CLI_FAILED;
	keep_recipient(r, slash);
	if (slash != NULL && json_array_size(json_object_get(r, "recipients")) == 0) {
		fprintf(stderr, "salvaposta: message %s has no recipient %s\n", argv[1], slash);
		json_decref(r);
		return CLI_FAILED;
	}
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
