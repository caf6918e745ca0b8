// SPDX-License-Identifier: Apache-2.0
/* `salvaposta users rollback`: the directory before the last import, back in place. */
#include <jansson.h>
#include <stdio.h>

#include "admin/users.h"
#include "policy/snapshot.h"

static void
print_json(const struct snapshot_rollback *r, const char *why, const char *relay)
{
	json_t *o;

	if (why != NULL)
		o = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	else
		o = json_pack("{s:b, s:I, s:I, s:s, s:s}", "ok", 1, "users",
		    (json_int_t)r->now.users, "generation", (json_int_t)r->now.generation, "source",
		    r->now.source, "relay", relay);
	if (why == NULL && r->kept)
		json_object_set_new(o, "former", json_pack("{s:I, s:I, s:s}", "users",
		    (json_int_t)r->former.users, "generation", (json_int_t)r->former.generation,
		    "source", r->former.source));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void
print_text(const struct snapshot_rollback *r, const char *said)
{
	printf("import %llu of %s is in use again: %s users\n",
	    (unsigned long long)r->now.generation, r->now.source, users_number(r->now.users));
	if (r->kept)
		printf("import %llu of %s (%s users) is kept; users rollback brings it back\n",
		    (unsigned long long)r->former.generation, r->former.source,
		    users_number(r->former.users));
	else
		printf("what was in use was damaged or missing\n");
	printf("%s\n", said);
}

int
users_rollback(const struct cli *cli, const struct conf *c)
{
	struct snapshot_rollback r;
	char why[SNAPSHOT_WHY] = "", source[320];
	const char *state = "", *said = "";
	bool ok = snapshot_rollback(c, &r, why) == 0;

	if (ok) {
		snprintf(source, sizeof(source), "rollback to import %llu of %s",
		    (unsigned long long)r.now.generation, r.now.source);
		said = users_tell_relay(cli, c, source, r.now.users, &state);
	} else {
		fprintf(stderr, "salvaposta users rollback: %s\n", why);
	}
	if (cli->json)
		print_json(&r, ok ? NULL : why, state);
	else if (ok)
		print_text(&r, said);
	return ok ? CLI_OK : CLI_FAILED;
}
