// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"

static const char help[] =
    "usage: salvaposta status [--sandbox]\n"
    "\n"
    "The processes, the queue, and for each domain the balance of recipients:\n"
    "received = replayed + forwarded-only + bounced + dropped + held.\n"
    "With --sandbox: what each process may do, and what the kernel says about it.\n"
    "Exit status 1 when a balance does not come out, or a process is not confined.\n";

static const char *const none[] = { NULL };

/* Counters that stand at zero and what is as it should be would hide the rest; --json
 * has all. */
static bool
is_noise(const json_t *v)
{
	return json_is_true(v) || json_is_null(v) ||
	    (json_is_integer(v) && json_integer_value(v) == 0);
}

/* Members beside the named ones, as "key=value ..."; those of an inner object, which
 * is what a role tells about itself, likewise. */
static void
put_rest(const json_t *o, const char *const *but, struct buf *out)
{
	const char *key;
	json_t *v, *in;

	json_object_foreach((json_t *)(uintptr_t)o, key, v) {
		bool skip = json_is_object(v) || is_noise(v);
		for (size_t i = 0; but[i] != NULL && !skip; i++)
			skip = strcmp(but[i], key) == 0;
		char *text = skip ? NULL : json_dumps(v, JSON_ENCODE_ANY | CONTROL_COMPACT);
		if (text != NULL)
			(void)!buf_printf(out, "%s%s=%s", buf_len(out) > 0 ? " " : "", key, text);
		free(text);
	}
	json_object_foreach((json_t *)(uintptr_t)o, key, in) {
		if (json_is_object(in) && but != none && strcmp(key, "sandbox") != 0)
			put_rest(in, none, out);
	}
}

static void
print_roles(const json_t *list)
{
	static const char *const head[] = { "ROLE", "#INDEX", "#PID", "DETAILS", NULL };
	static const char *const but[] = { "role", "index", "pid", NULL };
	struct table t;
	struct buf rest;
	size_t i;
	const json_t *r;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, r) {
		buf_init(&rest, 4096);
		put_rest(r, but, &rest);
		table_cell(&t, member_text(r, "role"));
		table_cellf(&t, "%lld", (long long)member_int(r, "index"));
		table_cellf(&t, "%lld", (long long)member_int(r, "pid"));
		struct slice s = buf_slice(&rest);
		table_cellf(&t, "%.*s", SLICE_FMT(s));
		buf_fini(&rest);
	}
	table_print(&t, stdout);
}

/* A field of /proc/PID/status as the kernel prints it; "?" when it cannot be told. */
static void
kernel_says(int64_t pid, const char *field, char *out, size_t cap)
{
	char path[64], line[256], key[32];

	(void)snprintf(out, cap, "?");
	(void)snprintf(path, sizeof(path), "/proc/%lld/status", (long long)pid);
	(void)snprintf(key, sizeof(key), "%s:", field);
	FILE *f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		struct slice v = slice_trim(slice_str(line + strlen(key)));
		(void)slice_cstr(slice_sub(v, 0, slice_find(v, '\t')), out, cap);
	}
	if (f != NULL)
		(void)fclose(f);
}

/* False when a process is not as confined as its configuration wants it. */
static bool
print_sandbox(const json_t *list)
{
	static const char *const head[] = { "ROLE", "#INDEX", "#PID", "#UID", "NO-NEW-PRIVS",
	    "MODE", "SECCOMP", "#CALLS", "LANDLOCK", "NETWORK", "FILES", NULL };
	struct table t;
	bool good = true;
	size_t i;
	const json_t *r;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, r) {
		const json_t *s = json_object_get(r, "sandbox");
		int64_t pid = member_int(r, "pid"), abi = member_int(s, "landlock");
		bool on = strcmp(member_text(s, "mode"), "off") != 0;
		char uid[32], privs[32], seccomp[32];

		kernel_says(pid, "Uid", uid, sizeof(uid));
		kernel_says(pid, "NoNewPrivs", privs, sizeof(privs));
		kernel_says(pid, "Seccomp", seccomp, sizeof(seccomp));
		good = good && (!on || (seccomp[0] == '2' && privs[0] == '1'));
		table_cell(&t, member_text(r, "role"));
		table_cellf(&t, "%lld", (long long)member_int(r, "index"));
		table_cellf(&t, "%lld", (long long)pid);
		table_cell(&t, uid);
		table_cell(&t, privs[0] == '1' ? "yes" : privs[0] == '?' ? "?" : "NO");
		table_cell(&t, member_text(s, "mode"));
		table_cell(&t, seccomp[0] == '2' ? "filter" : seccomp[0] == '?' ? "?" : "NONE");
		table_cellf(&t, "%lld", (long long)member_int(s, "calls"));
		if (abi > 0)
			table_cellf(&t, "ABI %lld", (long long)abi);
		else
			table_cell(&t, "none");
		table_cell(&t, json_is_true(json_object_get(s, "may_connect")) ? "yes" : "no");
		table_cell(&t, json_is_true(json_object_get(s, "may_write")) ? "its folder" :
		    json_is_true(json_object_get(s, "may_read")) ? "its folder, to read" : "no");
	}
	table_print(&t, stdout);
	return good;
}

static void
print_queue(const json_t *q)
{
	const char *key;
	json_t *v;
	char words[32];

	printf("\nqueue\n");
	json_object_foreach((json_t *)(uintptr_t)q, key, v) {
		bool bytes = strncmp(key, "bytes", 5) == 0 || strstr(key, "_bytes") != NULL;
		int64_t when = strcmp(key, "oldest") == 0 ? json_time(v) : 0;
		printf("  ");
		text_print(stdout, key);
		printf("%*s ", (int)(strlen(key) < 18 ? 18 - strlen(key) : 0), "");
		if (json_is_integer(v) && bytes) {
			size_words((uint64_t)json_integer_value(v), words, sizeof(words));
			printf("%s\n", words);
		} else if (when != 0 || json_is_null(v)) {
			time_words(when, words, sizeof(words));
			printf("%s\n", words);
		} else {
			char *text = json_dumps(v, JSON_ENCODE_ANY | CONTROL_COMPACT);
			text_print(stdout, text == NULL ? "" : text);
			printf("\n");
			free(text);
		}
	}
}

/* received against what became of it; P7 is exact or broken. */
static int64_t
missing(const json_t *d)
{
	return member_int(d, "received") - member_int(d, "replayed") -
	    member_int(d, "forwarded_only") - member_int(d, "bounced") -
	    member_int(d, "dropped") - member_int(d, "held");
}

static void
print_balance(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "#RECEIVED", "#REPLAYED",
	    "#FWD-ONLY", "#BOUNCED", "#DROPPED", "#HELD", "BALANCE", "#FORWARDED", "#WAITING",
	    "#FAILED", "#SKIPPED", NULL };
	static const char *const before[] = { "received", "replayed", "forwarded_only",
	    "bounced", "dropped", "held", NULL };
	static const char *const after[] = { "forwarded", "forward_waiting", "forward_failed",
	    "forward_skipped", NULL };
	struct table t;
	size_t i;
	const json_t *d;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		for (size_t j = 0; before[j] != NULL; j++)
			table_cellf(&t, "%lld", (long long)member_int(d, before[j]));
		int64_t m = missing(d);
		if (m == 0)
			table_cell(&t, "ok");
		else
			table_cellf(&t, "OFF BY %lld", (long long)m);
		for (size_t j = 0; after[j] != NULL; j++)
			table_cellf(&t, "%lld", (long long)member_int(d, after[j]));
	}
	printf("\n");
	table_print(&t, stdout);
}

/* Copies of today; nothing for a relay that has sent none. */
static void
print_volumes(const json_t *list)
{
	static const char *const head[] = { "PROVIDER", "#TODAY", "#ALLOWED", "#LARGEST", "DAY ENDS",
	    NULL };
	struct table t;
	const json_t *d;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char until[32];

		time_words(1000 * member_int(d, "until"), until, sizeof(until));
		table_cell(&t, member_text(d, "provider"));
		table_cellf(&t, "%lld", (long long)member_int(d, "today"));
		if (json_is_null(json_object_get(d, "allowed")))
			table_cell(&t, "-");
		else
			table_cellf(&t, "%lld", (long long)member_int(d, "allowed"));
		table_cellf(&t, "%lld", (long long)member_int(d, "largest"));
		table_cell(&t, until);
	}
	printf("\n");
	table_print(&t, stdout);
}

static void
print_failover(const json_t *list)
{
	static const char *const head[] = { "DOMAIN", "SHARD", "MODE", "PHASE", "SINCE", "UNTIL",
	    "REASON", "PHASE BECAUSE", NULL };
	struct table t;
	const json_t *d;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char since[32], until[32];

		time_words(member_time(d, "since"), since, sizeof(since));
		time_words(member_time(d, "until"), until, sizeof(until));
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		table_cell(&t, member_text(d, "mode"));
		table_cell(&t, member_text(d, "phase"));
		table_cell(&t, since);
		table_cell(&t, until);
		table_cell(&t, member_text(d, "reason"));
		table_cell(&t, member_text(d, "phase_reason"));
	}
	printf("\n");
	table_print(&t, stdout);
}

static void
print_alarms(const json_t *list)
{
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		char since[32];

		time_words(member_time(d, "since"), since, sizeof(since));
		printf("%sALARM %s  ", i == 0 ? "\n" : "", since);
		text_print(stdout, member_text(d, "alarm"));
		printf("  ");
		text_print(stdout, member_text(d, "domain"));
		if (member_text(d, "shard")[0] != '\0') {
			printf("/");
			text_print(stdout, member_text(d, "shard"));
		}
		printf("  ");
		text_print(stdout, member_text(d, "text"));
		printf("\n  ");
		text_print(stdout, member_text(d, "fix"));
		printf("\n");
	}
}

int
cmd_status(int argc, char **argv)
{
	bool sandbox = false;
	const struct cli_option opt[] = { { "sandbox", NULL, &sandbox } };
	struct cli cli;
	int status = CLI_OK;
	size_t i;
	const json_t *d;

	if (cli_options(&argc, argv, opt, 1, help, &cli, &status) != 0)
		return status;
	if (argc != 1)
		return cli_usage("status", "takes no arguments");
	json_t *r = control_call(&cli, json_pack("{s:s}", "cmd", "status"));
	if (r == NULL)
		return CLI_FAILED;
	json_array_foreach(json_object_get(r, "domains"), i, d) {
		if (missing(d) != 0)
			status = CLI_FAILED;
	}
	if (cli.json) {
		control_print(r);
	} else if (sandbox) {
		if (!print_sandbox(json_object_get(r, "roles"))) {
			fprintf(stderr, "salvaposta: a process is not confined: see the log\n");
			status = CLI_FAILED;
		}
		json_decref(r);
		return status;
	} else {
		print_roles(json_object_get(r, "roles"));
		print_queue(json_object_get(r, "queue"));
		print_balance(json_object_get(r, "domains"));
		json_array_foreach(json_object_get(r, "roles"), i, d)
			print_volumes(json_object_get(d, "volumes"));
		print_failover(json_object_get(r, "failover"));
		print_alarms(json_object_get(r, "alarms"));
	}
	if (status != CLI_OK)
		fprintf(stderr, "salvaposta: the balance of a domain does not come out: keep the "
		    "state directory as it is and report this\n");
	json_decref(r);
	return status;
}
