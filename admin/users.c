// SPDX-License-Identifier: Apache-2.0
/* `salvaposta users`: who is in the directory. Reads the snapshot itself, so it works
 * without a running relay. */
#include "admin/users.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "policy/directory.h"

static const char users_help[] =
    "usage: salvaposta users import FILE [options]\n"
    "       salvaposta users show ADDRESS\n"
    "       salvaposta users audit\n"
    "       salvaposta users rollback\n"
    "       salvaposta users refresh [options]\n"
    "       salvaposta users optout|optin ADDRESS --reason TEXT\n"
    "\n"
    "import  builds the directory anew from a CSV file (- is standard input), checks it\n"
    "        and puts it in place; a running relay takes it over at once. The first line\n"
    "        names the columns, in any order:\n"
    "          address      the user's mailbox, in a served domain\n"
    "          recovery     where mail is forwarded; may be empty\n"
    "          state        registered (default), opted-in, opted-out, unverified\n"
    "          shard        the store group, as in the configuration\n"
    "          aliases      further addresses, separated by spaces or ';'\n"
    "          language     it, en, ... for notices\n"
    "          verified_at  2026-11-22 or 2026-11-22T20:36:00Z\n"
    "          baseline     yes: a share of the mail is copied in peace time, too\n"
    "        Each bad row is named with line, column and reason; then nothing is imported.\n"
    "        With --ldif the file is LDIF, as ldapsearch -LLL or slapcat writes it; the keys\n"
    "        ldif-... of the configuration name the attributes\n"
    "show    one user: row, names, whether mail is forwarded and if not why\n"
    "audit   counts by domain, state and reason\n"
    "rollback  puts the directory before the last import back in place; a second rollback\n"
    "        undoes the first\n"
    "refresh imports what refresh-command of the configuration writes (in refresh-format),\n"
    "        as import does; when it fails, takes longer than refresh-timeout or stops\n"
    "        within a line, nothing is imported\n"
    "optout  stops a user's copies, as he can himself by mail to the address in his notice.\n"
    "        It is kept beside the directory: no import or refresh changes it\n"
    "optin   undoes an opt-out, whoever made it\n"
    "\n"
    "  --reason TEXT       of optout and optin, for the audit log\n"
    "  --force             keep users whose recovery address is in a served domain (they\n"
    "                      are not forwarded); import also with less than 80 % of the\n"
    "                      present rows, or of the present users who opted out\n"
    "  --skip-bad          leave bad rows out and import the rest\n"
    "  --ldif              the file is LDIF, not CSV\n"
    "  --separator C       fields are separated by C instead of a comma\n"
    "  --confirm-shared A  these recovery addresses (by commas) may belong to more than\n"
    "                      5 users; remembered in later imports\n"
    "  --quiet             no progress\n";

/* The snapshot in use; NULL after saying why there is none. */
static struct directory *
open_present(const struct conf *c, const char *command)
{
	char path[4096];
	struct directory *d = NULL;
	int fd, which;
	int n = snprintf(path, sizeof(path), "%s/%s", c->state_dir, DIRECTORY_FOLDER);

	if (n < 0 || n >= (int)sizeof(path)) {
		fprintf(stderr, "salvaposta %s: state-dir is too long a path\n", command);
		return NULL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT) {
		fprintf(stderr, "salvaposta %s: %s: %s%s\n", command, path, strerror(errno),
		    errno == EACCES ? " (run it as root)" : "");
		return NULL;
	}
	if (fd >= 0) {
		d = directory_open_best(fd, &which);
		close(fd);
	}
	if (d == NULL)
		fprintf(stderr, "salvaposta %s: %s: no usable directory; import one with "
		    "salvaposta users import FILE\n", command, path);
	else if (which != 0)
		fprintf(stderr, "salvaposta %s: %s is missing or damaged, this is %s\n", command,
		    directory_files[0], directory_files[which]);
	return d;
}

static void
add_text(void *arg, struct slice name)
{
	json_array_append_new(arg, json_stringn_nocheck(name.n == 0 ? "" : name.p, name.n));
}

static json_t *
user_json(struct directory *d, const struct conf *c, const struct directory_user *u)
{
	const char *refusal = directory_refusal(c, u);
	bool baseline = directory_baseline(d, c, u);
	json_t *names = json_array();
	char when[40] = "";
	json_t *o;

	if (u->verified_ms != 0)
		clock_iso8601(u->verified_ms, when, sizeof(when));
	o = json_pack("{s:s%, s:s, s:s%, s:s%, s:s%, s:s, s:b, s:s, s:I}", "address",
	    u->address.p, u->address.n, "state", directory_state_name(u->state), "recovery",
	    u->recovery.n == 0 ? "" : u->recovery.p, u->recovery.n, "shard",
	    u->shard.n == 0 ? "" : u->shard.p, u->shard.n, "language",
	    u->language.n == 0 ? "" : u->language.p, u->language.n, "verified_at", when,
	    "forwarded", refusal == NULL, "reason", refusal == NULL ? "" : refusal, "line",
	    (json_int_t)u->line);
	users_consent_show(c, u->address, o);
	/* the last use of u: the scan moves the statement its slices point into */
	if (directory_names(d, u->line, add_text, names) != 0)
		fprintf(stderr, "salvaposta users: the names could not be read\n");
	json_object_set_new(o, "names", names);
	json_object_set_new(o, "baseline", json_boolean(baseline));
	json_object_set_new(o, "generation",
	    json_integer((json_int_t)directory_info(d)->generation));
	return o;
}

static void
print_user(const json_t *o)
{
	static const char *const key[] = { "address", "state", "recovery", "shard", "language",
	    "verified_at" };
	const char *reason = json_string_value(json_object_get(o, "reason"));
	size_t i;
	const json_t *out;
	json_t *name;

	for (i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
		const char *value = json_string_value(json_object_get(o, key[i]));

		printf("%-12s %s\n", key[i], value == NULL || value[0] == '\0' ? "-" : value);
	}
	printf("%-12s %s%s\n", "forwarded", reason[0] == '\0' ? "yes" : "no: ", reason);
	if ((out = json_object_get(o, "opted_out")) != NULL)
		printf("%-12s %s, by %s; users optin undoes it\n", "opted out",
		    json_string_value(json_object_get(out, "time")),
		    json_string_value(json_object_get(out, "by")));
	printf("%-12s %s\n", "baseline", json_is_true(json_object_get(o, "baseline")) ?
	    "yes: a share of the mail is copied in peace time, too" : "no");
	printf("%-12s", "names");
	json_array_foreach(json_object_get(o, "names"), i, name)
		printf(" %s", json_string_value(name));
	printf("\n%-12s line %lld of import %lld\n", "from",
	    (long long)json_integer_value(json_object_get(o, "line")),
	    (long long)json_integer_value(json_object_get(o, "generation")));
}

static int
users_show(const struct cli *cli, const struct conf *c, const char *address)
{
	struct directory *d = open_present(c, "users show");
	struct directory_user u;
	json_t *o = NULL;

	if (d == NULL)
		return CLI_FAILED;
	switch (directory_find(d, c, slice_str(address), true, &u)) {
	case DIRECTORY_FOUND:
		o = user_json(d, c, &u);
		break;
	case DIRECTORY_UNKNOWN:
		fprintf(stderr, "salvaposta users show: %s: no such user\n", address);
		break;
	case DIRECTORY_UNAVAILABLE:
		fprintf(stderr, "salvaposta users show: %s: the directory cannot tell: its domain "
		    "is not served, or was not imported\n", address);
		break;
	}
	if (o != NULL && cli->json) {
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (o != NULL) {
		print_user(o);
	}
	directory_close(&d);
	if (o == NULL)
		return CLI_FAILED;
	json_decref(o);
	return CLI_OK;
}

/* The directory knows the user by one form of his address. */
static int
users_stop(const struct cli *cli, const struct conf *c, char **argv, const char *reason)
{
	struct directory *d = open_present(c, "users");
	bool stop = strcmp(argv[1], "optout") == 0;
	int status = CLI_FAILED;
	struct directory_user u;
	json_t *names = json_array();
	char user[512];

	if (d == NULL)
		return CLI_FAILED;
	if (directory_find(d, c, slice_str(argv[2]), true, &u) != DIRECTORY_FOUND)
		fprintf(stderr, "salvaposta users %s: %s: no such user\n", argv[1], argv[2]);
	else if (slice_cstr(u.address, user, sizeof(user)) == 0 &&
	    directory_names(d, u.line, add_text, names) == 0)
		status = users_consent(cli, user, stop, reason, names);
	json_decref(names);
	directory_close(&d);
	return status;
}

struct audit {
	json_t	*states, *reasons, *domains;	/* borrowed objects: name -> users */
};

static void
audit_add(json_t *o, const char *key, size_t n, uint64_t users)
{
	char name[300];

	snprintf(name, sizeof(name), "%.*s", (int)n, key);
	json_object_set_new(o, name, json_integer((json_int_t)users +
	    json_integer_value(json_object_get(o, name))));
}

static void
audit_row(void *arg, const struct directory_count *n)
{
	struct audit *a = arg;
	const char *state = directory_state_name(n->state), *reason = "";

	audit_add(a->domains, n->domain.p, n->domain.n, n->users);
	audit_add(a->states, state, strlen(state), n->users);
	/* in the order of directory_refusal */
	if (n->state == DIRECTORY_OPTED_OUT || n->state == DIRECTORY_UNVERIFIED)
		reason = state;
	else if (!n->recovery)
		reason = "no-recovery";
	else if (n->flag != DIRECTORY_CLEAR)
		reason = directory_flag_name(n->flag);
	if (reason[0] != '\0')
		audit_add(a->reasons, reason, strlen(reason), n->users);
}

static void
print_counts(const char *title, json_t *o)
{
	const char *key;
	json_t *value;

	printf("\n%s\n", title);
	if (json_object_size(o) == 0)
		printf("  none\n");
	json_object_foreach(o, key, value)
		printf("  %-32s %14s\n", key, users_number((uint64_t)json_integer_value(value)));
}

static int
users_audit(const struct cli *cli, const struct conf *c)
{
	struct directory *d = open_present(c, "users audit");
	const struct directory_info *i;
	uint64_t baseline = 0;
	struct audit a;
	char when[40];
	json_t *o;
	int rc;

	if (d == NULL)
		return CLI_FAILED;
	i = directory_info(d);
	clock_iso8601(i->created_ms, when, sizeof(when));
	o = json_pack("{s:I, s:I, s:I, s:s, s:s, s:{}, s:{}, s:{}}", "users",
	    (json_int_t)i->users, "names", (json_int_t)i->names, "generation",
	    (json_int_t)i->generation, "created", when, "source", i->source, "domains", "states",
	    "not_forwarded");
	a.domains = json_object_get(o, "domains");
	a.states = json_object_get(o, "states");
	a.reasons = json_object_get(o, "not_forwarded");
	rc = directory_audit(d, audit_row, &a) | directory_baselines(d, &baseline);
	json_object_set_new(o, "baseline", json_integer((json_int_t)baseline));
	if (rc != 0) {
		fprintf(stderr, "salvaposta users audit: the directory is damaged; import the "
		    "users again\n");
	} else if (cli->json) {
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("%s users, %s names; import %llu of %s, from %s\n", users_number(i->users),
		    users_number(i->names), (unsigned long long)i->generation, when, i->source);
		print_counts("by domain", a.domains);
		print_counts("by state", a.states);
		print_counts("not forwarded, by reason", a.reasons);
		printf("\ncopies in peace time, too         %14s\n", users_number(baseline));
	}
	json_decref(o);
	directory_close(&d);
	return rc == 0 ? CLI_OK : CLI_FAILED;
}

static int
users_refresh(const struct cli *cli, const struct conf *c, const struct users_import *u)
{
	struct users_import r = *u;

	if (c->refresh_command == NULL) {
		fprintf(stderr, "salvaposta users refresh: no refresh-command in the configuration: "
		    "name the program that writes the users\n");
		return CLI_FAILED;
	}
	r.file = c->refresh_command;
	r.refresh = true;
	r.ldif = c->refresh_ldif;
	return users_import(cli, c, &r);
}

static int
dispatch(const struct cli *cli, const struct conf *c, char **argv, const struct users_import *u)
{
	if (strcmp(argv[1], "refresh") == 0)
		return users_refresh(cli, c, u);
	if (strcmp(argv[1], "import") == 0)
		return users_import(cli, c, u);
	if (strcmp(argv[1], "show") == 0)
		return users_show(cli, c, argv[2]);
	if (strcmp(argv[1], "optout") == 0 || strcmp(argv[1], "optin") == 0)
		return users_stop(cli, c, argv, u->reason);
	if (strcmp(argv[1], "rollback") == 0)
		return users_rollback(cli, c);
	return users_audit(cli, c);
}

/* True after saying what is wrong with the words. */
static bool
bad_words(int argc, char **argv, int *status)
{
	static const struct { const char *name; int argc; const char *usage; } word[] = {
		{ "import", 3, "import needs one file" },
		{ "show", 3, "show needs one address" },
		{ "optout", 3, "optout needs one address" },
		{ "optin", 3, "optin needs one address" },
		{ "audit", 2, "audit takes no argument" },
		{ "rollback", 2, "rollback takes no argument" },
		{ "refresh", 2, "refresh takes no argument: set refresh-command in the "
		    "configuration" },
	};

	if (argc < 2) {
		*status = cli_usage("users", "import, show, audit, rollback, refresh, optout or optin?");
		return true;
	}
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
		if (strcmp(argv[1], word[i].name) != 0)
			continue;
		if (argc != word[i].argc)
			*status = cli_usage("users", "%s", word[i].usage);
		return argc != word[i].argc;
	}
	*status = cli_usage("users", "\"%s\" is none of import, show, audit, rollback, "
	    "refresh, optout, optin", argv[1]);
	return true;
}

int
cmd_users(int argc, char **argv)
{
	struct users_import u = { 0 };
	const struct cli_option opt[] = {
		{ "force", NULL, &u.force },
		{ "skip-bad", NULL, &u.skip_bad },
		{ "quiet", NULL, &u.quiet },
		{ "ldif", NULL, &u.ldif },
		{ "separator", &u.separator, NULL },
		{ "confirm-shared", &u.confirm, NULL },
		{ "reason", &u.reason, NULL },
	};
	struct cli cli = { 0 };
	struct conf *c;
	int status;

	if (cli_options(&argc, argv, opt, sizeof(opt) / sizeof(opt[0]), users_help, &cli,
	    &status) != 0)
		return status;
	if (bad_words(argc, argv, &status))
		return status;
	if (u.separator != NULL && (strlen(u.separator) != 1 || strchr("\"\r\n", u.separator[0])
	    != NULL))
		return cli_usage("users", "--separator takes one character, and no quote");
	if (u.ldif && strcmp(argv[1], "import") != 0)
		return cli_usage("users", "--ldif is for import (for refresh: refresh-format in the "
		    "configuration)");
	if (u.ldif && u.separator != NULL)
		return cli_usage("users", "--separator is for CSV");
	u.file = argc == 3 ? argv[2] : NULL;
	c = cli_conf(&cli);
	if (c == NULL)
		return CLI_FAILED;
	status = dispatch(&cli, c, argv, &u);
	conf_free(&c);
	return status;
}
