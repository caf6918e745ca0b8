// SPDX-License-Identifier: Apache-2.0
/* `salvaposta users` as it is called: exit status, output, and what is in place after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/cli.h"
#include "base/mem.h"

enum { OUTPUT_MAX = 256 * 1024 };

struct desk {
	char	 dir[64];
	char	 conf[96], csv[96];	/* paths */
	char	*out, *err;		/* of the last call */
};

static void
put_file(const char *path, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int
setup(void **state)
{
	struct desk *d = mem_new(sizeof(*d));
	char text[512];
	int n;

	snprintf(d->dir, sizeof(d->dir), "/tmp/salvaposta-test.XXXXXX");
	if (mkdtemp(d->dir) == NULL)
		return -1;
	snprintf(d->conf, sizeof(d->conf), "%s/relay.conf", d->dir);
	snprintf(d->csv, sizeof(d->csv), "%s/users.csv", d->dir);
	n = snprintf(text, sizeof(text), "hostname = \"mx2.relay.example\"\nstate-dir = \"%s/state\"\n"
	    "domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n", d->dir);
	put_file(d->conf, text, (size_t)n);
	d->out = mem_new(OUTPUT_MAX);
	d->err = mem_new(OUTPUT_MAX);
	*state = d;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	struct desk *d = *state;

	nftw(d->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(d->out);
	free(d->err);
	free(d);
	return 0;
}

/* Sends `to` (stdout or stderr) to a file until it is given back with take_back. */
static int
send_away(FILE *to, int into)
{
	int keep;

	fflush(to);
	keep = dup(fileno(to));
	dup2(into, fileno(to));
	return keep;
}

static void
take_back(FILE *to, int keep, int from, char *text)
{
	ssize_t n;

	fflush(to);
	dup2(keep, fileno(to));
	close(keep);
	n = pread(from, text, OUTPUT_MAX - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(from);
}

/* users WORDS -c CONF; up to six words, NULL ends. */
static int
call(struct desk *d, ...)
{
	static char name[] = "users", config[] = "-c";
	char *argv[10] = { name };
	int argc = 1, rc, out, err, keep_out, keep_err;
	va_list ap;
	char *word;

	va_start(ap, d);
	while ((word = va_arg(ap, char *)) != NULL && argc < 7)
		argv[argc++] = word;
	va_end(ap);
	argv[argc++] = config;
	argv[argc++] = d->conf;
	out = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	err = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	assert_true(out >= 0 && err >= 0);
	keep_out = send_away(stdout, out);
	keep_err = send_away(stderr, err);
	rc = cmd_users(argc, argv);
	take_back(stdout, keep_out, out, d->out);
	take_back(stderr, keep_err, err, d->err);
	return rc;
}

#define W(s)	((char[]){ s })

static void
put_csv(struct desk *d, const char *text)
{
	put_file(d->csv, text, strlen(text));
}

static void
test_import_show_audit(void **state)
{
	struct desk *d = *state;

	put_csv(d, "\xef\xbb\xbf" "recovery,state,ADDRESS,aliases\r\n"
	    "mario@mail.example.com,,mario@example.it,\"m.rossi; mr\"\r\n"
	    ",opted-out,anna@example.it,\r\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_OK);
	assert_non_null(strstr(d->out, "2 users (4 names) imported"));
	assert_non_null(strstr(d->out, "no relay is running; it will be used at the next start"));
	assert_int_equal(call(d, W("show"), W("MR+x@example.it"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "mario@mail.example.com"));
	assert_non_null(strstr(d->out, "m.rossi@example.it"));
	assert_int_equal(call(d, W("show"), W("anna@example.it"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "no: opted-out"));
	assert_int_equal(call(d, W("show"), W("nobody@example.it"), NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no such user"));
	assert_int_equal(call(d, W("audit"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "2 users, 4 names"));
	assert_non_null(strstr(d->out, "opted-out"));
}

/* Parses what was printed; the value is owned by the caller. */
static json_t *
output(const struct desk *d)
{
	json_t *o = json_loads(d->out, 0, NULL);

	if (o == NULL)
		fail_msg("not JSON: %s", d->out);
	return o;
}

static void
test_json(void **state)
{
	struct desk *d = *state;
	json_t *o;

	put_csv(d, "address,recovery\nmario@example.it,mario@mail.example.com\nbad,\n");
	assert_int_equal(call(d, W("--json"), W("import"), d->csv, NULL), CLI_FAILED);
	o = output(d);
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "bad")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(o,
	    "errors"), 0), "line")), 3);
	json_decref(o);
	assert_int_equal(call(d, W("import"), d->csv, W("--skip-bad"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_string_equal(json_string_value(json_object_get(o, "relay")), "not-running");
	json_decref(o);
	assert_int_equal(call(d, W("show"), W("mario@example.it"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_string_equal(json_string_value(json_object_get(o, "recovery")),
	    "mario@mail.example.com");
	assert_true(json_is_true(json_object_get(o, "forwarded")));
	json_decref(o);
	assert_int_equal(call(d, W("audit"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "domains"),
	    "example.it")), 1);
	json_decref(o);
}

/* Every bad row, by line and reason, in one run; nothing half-imported. */
static void
test_bad_rows(void **state)
{
	static const char *const want[] = {
		"users.csv:3: address: \"MARIO@example.it\" is in line 2 already",
		"users.csv:4: recovery: \"x@example.it\" is in a domain served here",
		"users.csv:5: record: 1 fields where the header has 2",
		"users.csv:6: record: text after a closing quote",
		"users.csv:7: address: \"a\\x1b[2Jb@example.it\" is not a mail address",
		"users.csv:8: address: \"x@elsewhere.example\": the domain is not served",
		"6 bad rows: nothing was imported",
	};
	struct desk *d = *state;

	put_csv(d, "address,recovery\n"
	    "mario@example.it,mario@mail.example.com\n"
	    "MARIO@example.it,other@mail.example.com\n"
	    "chain@example.it,x@example.it\n"
	    "short@example.it\n"
	    "\"q\"uote@example.it,\n"
	    "a\x1b[2Jb@example.it,\n"
	    "x@elsewhere.example,\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_FAILED);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(d->err, want[i]) == NULL)
			fail_msg("missing: %s\nin: %s", want[i], d->err);
	assert_int_equal(call(d, W("show"), W("mario@example.it"), NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no usable directory"));
	/* --force keeps the chained user, without forwarding */
	put_csv(d, "address,recovery\nchain@example.it,x@example.it\n");
	assert_int_equal(call(d, W("import"), d->csv, W("--force"), NULL), CLI_OK);
	assert_non_null(strstr(d->err, "users.csv:2: warning: recovery"));
	assert_int_equal(call(d, W("show"), W("chain@example.it"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "no: chain"));
}

static void
test_bad_files(void **state)
{
	static const struct { const char *text, *want; } table[] = {
		{ "", "header: the file is empty" },
		{ "\n\n", "header: the file is empty" },
		{ "address,recovery\n", "no user in it: nothing was imported" },
		{ "address\nmario@example.it\n", "column \"recovery\" is missing" },
		{ "mario@example.it,x@mail.example.com\n", "column \"address\" is missing" },
		{ "address;recovery\n", "--separator ';'" },
		{ "address,recovery,Address\n", "column \"address\" is there twice" },
		{ "\"address,recovery\n", "header: a quote is not closed" },
	};
	struct desk *d = *state;
	char missing[128];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		put_csv(d, table[i].text);
		assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_FAILED);
		if (strstr(d->err, table[i].want) == NULL)
			fail_msg("%zu: %s", i, d->err);
	}
	put_csv(d, "address;recovery\nmario@example.it;\n");
	assert_int_equal(call(d, W("import"), d->csv, W("--separator"), W(";"), NULL), CLI_OK);
	snprintf(missing, sizeof(missing), "%s/none.csv", d->dir);
	assert_int_equal(call(d, W("import"), missing, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "cannot be opened"));
	assert_int_equal(call(d, W("import"), d->dir, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "is a folder"));
}

static void
test_usage(void **state)
{
	struct desk *d = *state;

	assert_int_equal(call(d, NULL), CLI_USAGE);
	assert_int_equal(call(d, W("import"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("import"), W("a"), W("b"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("show"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("audit"), W("x"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("rollback"), W("2"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("refresh"), W("x"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("drop"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("import"), W("a"), W("--separator"), W("::"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("import"), W("--nonsense"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("audit"), W("--ldif"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("refresh"), W("--ldif"), NULL), CLI_USAGE);
	assert_int_equal(call(d, W("import"), W("a"), W("--ldif"), W("--separator"), W(";"), NULL),
	    CLI_USAGE);
	assert_int_equal(call(d, W("--help"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "users import FILE ["));
}

static void
test_row_count_guard(void **state)
{
	struct desk *d = *state;

	put_csv(d, "address,recovery\na@example.it,\nb@example.it,\nc@example.it,\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_OK);
	put_csv(d, "address,recovery\na@example.it,\nb@example.it,\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "2 users where the present directory has 3"));
	assert_int_equal(call(d, W("show"), W("c@example.it"), NULL), CLI_OK);
	assert_int_equal(call(d, W("import"), d->csv, W("--force"), NULL), CLI_OK);
	assert_int_equal(call(d, W("show"), W("c@example.it"), NULL), CLI_FAILED);
}

/* Back, and back again forward; --json and people are told what is in use. */
static void
test_rollback(void **state)
{
	struct desk *d = *state;
	json_t *o;

	assert_int_equal(call(d, W("rollback"), NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no generation before"));
	put_csv(d, "address,recovery\na@example.it,\nb@example.it,\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_OK);
	assert_int_equal(call(d, W("rollback"), W("--json"), NULL), CLI_FAILED);
	o = output(d);
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_non_null(strstr(json_string_value(json_object_get(o, "error")), "no generation"));
	json_decref(o);
	put_csv(d, "address,recovery\na@example.it,\n");
	assert_int_equal(call(d, W("import"), d->csv, W("--force"), NULL), CLI_OK);
	assert_int_equal(call(d, W("show"), W("b@example.it"), NULL), CLI_FAILED);
	assert_int_equal(call(d, W("rollback"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "import 1 of "));
	assert_non_null(strstr(d->out, "no relay is running"));
	assert_int_equal(call(d, W("show"), W("b@example.it"), NULL), CLI_OK);
	assert_int_equal(call(d, W("rollback"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_int_equal(json_integer_value(json_object_get(o, "generation")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "users")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "former"),
	    "generation")), 1);
	json_decref(o);
	assert_int_equal(call(d, W("show"), W("b@example.it"), NULL), CLI_FAILED);
}

static void
add_to_conf(struct desk *d, const char *text)
{
	FILE *f = fopen(d->conf, "a");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Copies in peace time: by a word of the user's own, never by default, never for who is not
 * forwarded at all. */
static void
test_spec_8_11_baseline_consent(void **state)
{
	static const struct { const char *word, *state; bool want; } rows[] = {
		{ "yes", "", true }, { " YES ", "", true }, { "1", "opted-in", true },
		{ "true", "", true }, { "no", "", false }, { "", "", false }, { "0", "", false },
		{ "yes", "opted-out", false }, { "yes", "unverified", false },
	};
	const size_t n = sizeof(rows) / sizeof(rows[0]);
	struct desk *d = *state;
	char text[1024] = "address,recovery,state,baseline\n", address[32];
	json_t *o;

	for (size_t i = 0; i < n; i++) {
		size_t at = strlen(text);

		(void)snprintf(text + at, sizeof(text) - at, "u%zu@example.it,u%zu@mail.example.com,%s,"
		    "%s\n", i, i, rows[i].state, rows[i].word);
	}
	put_csv(d, text);
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_OK);
	assert_non_null(strstr(d->out, "6 users agreed to copies in peace time"));
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(address, sizeof(address), "u%zu@example.it", i);
		assert_int_equal(call(d, W("show"), address, W("--json"), NULL), CLI_OK);
		o = output(d);
		if (json_is_true(json_object_get(o, "baseline")) != rows[i].want)
			fail_msg("\"%s\" %s", rows[i].word, rows[i].state);
		json_decref(o);
	}
	assert_int_equal(call(d, W("audit"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_int_equal(json_integer_value(json_object_get(o, "baseline")), 6);
	json_decref(o);
	put_csv(d, "address,recovery,baseline\na@example.it,a@mail.example.com,maybe\n");
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, ":2: baseline: is neither yes nor no"));
}

#define LDIF_MAP "ldif-recovery = \"mailRecovery\"\nldif-aliases = mailAlternate\n" \
	"ldif-state = recoveryState\nldif-shard = storeGroup\nldif-language = preferredLanguage\n" \
	"ldif-verified-at = recoveryVerified\nldif-baseline = recoveryBaseline\n"

/* Every column from its attribute; entries that are no users are left aside and counted. */
static void
test_ldif(void **state)
{
	static const char text[] =
	    "version: 1\n\n# the tree\ndn: dc=example,dc=it\ndc: example\n\n"
	    "dn: uid=mario,dc=example,dc=it\nmail: mario@example.it\nmailrecovery: m@mail.\n"
	    " example.com\nmailAlternate: m.rossi\nmailAlternate:: bXI=\nrecoveryState: opted-in\n"
	    "storeGroup: s1\npreferredLanguage: it-IT, en;q=0.5\n"
	    "recoveryBaseline: TRUE\nrecoveryVerified: 20221122203600.5Z\njpegPhoto:: AAECAwQ=\n\n"
	    "dn: uid=anna,dc=example,dc=it\nmail: anna@example.it\nrecoveryState: opted-out\n"
	    "recoveryVerified: 2022-11-22\n";
	struct desk *d = *state;
	json_t *o;

	put_csv(d, text);
	assert_int_equal(call(d, W("import"), W("--ldif"), d->csv, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no ldif-recovery in the configuration"));
	add_to_conf(d, LDIF_MAP);
	assert_int_equal(call(d, W("import"), d->csv, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "is it LDIF? --ldif"));
	assert_int_equal(call(d, W("import"), W("--ldif"), d->csv, NULL), CLI_OK);
	assert_non_null(strstr(d->out, "2 users (4 names) imported"));
	assert_non_null(strstr(d->err, "ldif: 1 entries without an address are left aside"));
	assert_int_equal(call(d, W("show"), W("mr@example.it"), W("--json"), NULL), CLI_OK);
	o = output(d);
	assert_string_equal(json_string_value(json_object_get(o, "address")), "mario@example.it");
	assert_string_equal(json_string_value(json_object_get(o, "recovery")),
	    "m@mail.example.com");
	assert_string_equal(json_string_value(json_object_get(o, "state")), "opted-in");
	assert_string_equal(json_string_value(json_object_get(o, "shard")), "s1");
	assert_string_equal(json_string_value(json_object_get(o, "language")), "it-IT");
	assert_non_null(strstr(json_string_value(json_object_get(o, "verified_at")),
	    "2022-11-22T20:36:00"));
	assert_true(json_is_true(json_object_get(o, "baseline")));
	assert_int_equal(json_integer_value(json_object_get(o, "line")), 7);
	json_decref(o);
	assert_int_equal(call(d, W("show"), W("anna@example.it"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "no: opted-out"));
	assert_non_null(strstr(d->out, "2022-11-22T00:00:00"));
}

/* Every bad entry, by line and reason, in one run; nothing half-imported. */
static void
test_ldif_bad_entries(void **state)
{
	static const char *const want[] = {
		":4: recovery: attribute mailRecovery has more than one value",
		":10: entry: a value from a URL (:<) is not fetched: write it out",
		":13: entry: a change record: export entries instead",
		":17: address: is empty",
		":20: address: attribute mail has more than one value: keep further addresses in the "
		    "attribute of ldif-aliases",
		":24: verified_at: not a time like",
		":28: verified_at: not a time like",
		":35: entry: the file ends within a line: was it cut?",
		"8 bad rows: nothing was imported",
	};
	struct desk *d = *state;

	add_to_conf(d, LDIF_MAP);
	put_csv(d, "dn: a\nmail: a@example.it\n\n"
	    "dn: b\nmail: b@example.it\nmailRecovery: x@mail.example.com\n"
	    "mailRecovery: y@mail.example.com\n\n"
	    "dn: c\nmailRecovery:< file:///etc/passwd\n\n"
	    "dn: d\nchangetype: delete\nmail: d@example.it\n\n\n"
	    "dn: e\nmailRecovery: x@mail.example.com\n\n"
	    "dn: f\nmail: f@example.it\nmail: g@example.it\n\n"
	    "dn: h\nmail: h@example.it\nrecoveryVerified: 20221322203600Z\n\n"
	    "dn: i\nmail: i@example.it\nrecoveryVerified: 20221122203600.Z\n\n\n"
	    "dn: j\nmail: j@example.it\nrecoveryState: opted-");
	assert_int_equal(call(d, W("import"), W("--ldif"), d->csv, NULL), CLI_FAILED);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(d->err, want[i]) == NULL)
			fail_msg("missing: %s\nin: %s", want[i], d->err);
	assert_int_equal(call(d, W("audit"), NULL), CLI_FAILED);
	put_csv(d, "");
	assert_int_equal(call(d, W("import"), W("--ldif"), d->csv, NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no user in it"));
}

/* Makes `text` the refresh-command. */
static void
put_command(struct desk *d, const char *text, mode_t mode)
{
	char path[128], conf[600];
	int n;

	snprintf(path, sizeof(path), "%s/export", d->dir);
	put_file(path, text, strlen(text));
	assert_int_equal(chmod(path, mode), 0);
	n = snprintf(conf, sizeof(conf), "hostname = \"mx2.relay.example\"\n"
	    "state-dir = \"%s/state\"\nrefresh-command = \"%s\"\nrefresh-timeout = 1s\n"
	    "domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n", d->dir, path);
	put_file(d->conf, conf, (size_t)n);
}

static void
test_refresh(void **state)
{
	static const struct { const char *text, *want; mode_t mode; } bad[] = {
		{ "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\n'; exit 3\n",
		  "failed with status 3: nothing was imported", 0755 },
		{ "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\n'; kill -9 $$\n",
		  "ended by signal 9", 0755 },
		{ "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\nb@exam'\n",
		  "ends in the middle of a line", 0755 },
		{ "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\n'; sleep 30\n",
		  "was not done after 1 s", 0755 },
		{ "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\n'; exec >&-; sleep 30\n",
		  "was not done after 1 s", 0755 },
		{ "#!/bin/sh\nexit 0\n", "header: the file is empty", 0755 },
		{ "#!/nowhere/sh\n", "must name its interpreter", 0755 },
		{ "#!/bin/sh\nexit 0\n", "not an executable file", 0644 },
		{ "#!/bin/sh\nexit 0\n", "others than its caller and root can write it", 0777 },
	};
	struct desk *d = *state;

	assert_int_equal(call(d, W("refresh"), NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "no refresh-command"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_command(d, bad[i].text, bad[i].mode);
		assert_int_equal(call(d, W("refresh"), NULL), CLI_FAILED);
		if (strstr(d->err, bad[i].want) == NULL)
			fail_msg("%zu: %s", i, d->err);
		assert_int_equal(call(d, W("audit"), NULL), CLI_FAILED);
	}
	put_command(d, "#!/bin/sh\ncat\nprintf 'address,recovery\\na@example.it,\\nb@example.it,\\n'\n",
	    0755);
	assert_int_equal(call(d, W("refresh"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "/export: 2 users"));
	add_to_conf(d, "refresh-format = ldif\nldif-recovery = r\n");
	assert_int_equal(call(d, W("refresh"), NULL), CLI_FAILED);
	put_command(d, "#!/bin/sh\nprintf 'dn: a\\nmail: a@example.it\\n\\ndn: b\\n"
	    "mail: b@example.it\\nr: b@mail.example.com\\n'\n", 0755);
	add_to_conf(d, "refresh-format = ldif\nldif-recovery = r\n");
	assert_int_equal(call(d, W("refresh"), NULL), CLI_OK);
	assert_non_null(strstr(d->out, "/export: 2 users"));
	/* the guard of an import holds */
	put_command(d, "#!/bin/sh\nprintf 'address,recovery\\na@example.it,\\n'\n", 0755);
	assert_int_equal(call(d, W("refresh"), NULL), CLI_FAILED);
	assert_non_null(strstr(d->err, "1 users where the present directory has 2"));
	assert_int_equal(call(d, W("refresh"), W("--force"), NULL), CLI_OK);
	assert_int_equal(call(d, W("show"), W("b@example.it"), NULL), CLI_FAILED);
	assert_int_equal(call(d, W("rollback"), NULL), CLI_OK);
	assert_int_equal(call(d, W("show"), W("b@example.it"), NULL), CLI_OK);
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_import_show_audit), T(test_json), T(test_bad_rows), T(test_bad_files),
		T(test_usage), T(test_row_count_guard), T(test_rollback),
		T(test_spec_8_11_baseline_consent), T(test_ldif), T(test_ldif_bad_entries),
		T(test_refresh),
	};

	return cmocka_run_group_tests_name("admin/users", tests, NULL, NULL);
}
