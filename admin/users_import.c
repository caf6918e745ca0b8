// SPDX-License-Identifier: Apache-2.0
/*
 * From a file, or a program's output, to the directory in use. Every bad row is named with file, line,
 * column and reason; nothing is imported by halves.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/users.h"
#include "admin/users_command.h"
#include "admin/users_rows.h"
#include "base/clock.h"
#include "base/mem.h"
#include "policy/snapshot.h"

enum {
	READ_BYTES = 256 * 1024,
	PROGRESS_MS = 1000,
	JSON_ERRORS_MAX = 1000,		/* the rest is on standard error only */
	CONFIRM_MAX = 256
};

struct import {
	const struct cli	*cli;
	const struct conf	*conf;
	const struct users_import *opt;
	struct snapshot		*snap;
	struct users_rows	*reader;
	struct users_command	*command;	/* instead of a file; NULL: none */
	uint64_t		 read, size;	/* bytes of the file; size 0: unknown */
	uint64_t		 rows;
	int64_t			 start_ms, told_ms;	/* monotonic */
	bool			 tty, told;	/* progress: to a terminal; at least once */
	json_t			*errors;
	char			 why[SNAPSHOT_WHY];
};

const char *
users_number(uint64_t n)
{
	static char text[4][32];
	static unsigned turn;
	char plain[24], *out = text[turn++ % 4];
	int len = snprintf(plain, sizeof(plain), "%llu", (unsigned long long)n);
	size_t o = 0;

	for (int i = 0; i < len; i++) {
		out[o++] = plain[i];
		if ((len - i) % 3 == 1 && i + 1 < len)
			out[o++] = ',';
	}
	out[o] = '\0';
	return out;
}

/* Bytes of the file as they can be shown on a terminal. */
static void
print_safe(const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 32 || c == 127)
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
}

static void
report(void *arg, bool bad, uint64_t line, const char *column, const char *text)
{
	struct import *m = arg;

	if (m->tty && m->told)
		fputs("\r\033[K", stderr);
	fputs(m->opt->file, stderr);
	if (line != 0)
		fprintf(stderr, ":%llu", (unsigned long long)line);
	fprintf(stderr, ": %s%s: ", bad ? "" : "warning: ", column);
	print_safe(text);
	fputc('\n', stderr);
	if (json_array_size(m->errors) < JSON_ERRORS_MAX)
		json_array_append_new(m->errors, json_pack("{s:I, s:s, s:s+, s:b}", "line",
		    (json_int_t)line, "column", column, "text", "", text, "bad", bad));
}

static void
progress(struct import *m)
{
	int64_t now = clock_mono_ms();
	double seconds = (double)(now - m->start_ms) / 1000;

	if (m->opt->quiet || now - m->told_ms < PROGRESS_MS)
		return;
	m->told_ms = now;
	m->told = true;
	fprintf(stderr, "%s%s: %s rows", m->tty ? "\r\033[K" : "", m->opt->file,
	    users_number(m->rows));
	if (m->size > 0)
		fprintf(stderr, ", %u %%", (unsigned)(m->read * 100 / m->size));
	fprintf(stderr, ", %s rows/s%s", users_number((uint64_t)((double)m->rows / seconds)),
	    m->tty ? "" : "\n");
	fflush(stderr);
}

static void
count_row(struct import *m)
{
	m->rows++;
	if (m->rows % 1024 == 0)
		progress(m);
}

static int
on_row(void *arg, const struct snapshot_row *row)
{
	struct import *m = arg;

	count_row(m);
	return snapshot_add(m->snap, row, m->why);
}

static void
on_bad(void *arg, uint64_t line, const char *column, const char *text)
{
	struct import *m = arg;

	count_row(m);
	snapshot_bad(m->snap, line, column, text);
}

static void
on_note(void *arg, uint64_t line, const char *column, const char *text)
{
	report(arg, false, line, column, text);
}

/* NULL with why. */
static struct users_rows *
open_reader(struct import *m)
{
	const struct users_sink sink = { .arg = m, .row = on_row, .bad = on_bad, .note = on_note,
		.why = m->why };

	if (m->opt->ldif)
		return users_rows_ldif(m->conf, &sink);
	return users_rows_csv(m->opt->separator == NULL ? ',' : m->opt->separator[0], &sink);
}

/* As read(2), but -1 with why. */
static ssize_t
read_block(struct import *m, int fd, char *block)
{
	ssize_t n;

	if (m->command != NULL)
		return users_command_read(m->command, block, READ_BYTES, m->why, sizeof(m->why));
	do
		n = read(fd, block, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		snprintf(m->why, sizeof(m->why), "cannot be read: %s", strerror(errno));
	return n;
}

static int
read_file(struct import *m, int fd)
{
	char *block = mem_new(READ_BYTES);
	ssize_t n;
	int rc = 0;

	do {
		n = read_block(m, fd, block);
		if (n < 0) {
			rc = -1;
		} else if (n > 0) {
			m->read += (uint64_t)n;
			rc = users_rows_feed(m->reader, slice_make(block, (size_t)n));
		}
	} while (rc == 0 && n != 0);
	/* before any complaint about what may be half an output */
	if (rc == 0 && m->command != NULL)
		rc = users_command_end(m->command, m->why, sizeof(m->why));
	if (rc == 0)
		rc = users_rows_end(m->reader);
	explicit_bzero(block, READ_BYTES);
	free(block);
	return rc;
}

static int
open_file(struct import *m)
{
	struct stat st;
	int fd = strcmp(m->opt->file, "-") == 0 ? dup(0) :
	    open(m->opt->file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(m->why, sizeof(m->why), "cannot be opened: %s", strerror(errno));
	} else if (S_ISDIR(st.st_mode)) {
		snprintf(m->why, sizeof(m->why), "is a folder; a file is wanted");
	} else {
		m->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Whether somebody listens there; in doubt, yes. */
static bool
relay_listens(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool there = true;
	int fd;

	if (slice_cstr(slice_str(path), un.sun_path, sizeof(un.sun_path)) != 0)
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		there = errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR;
	close(fd);
	return there;
}

const char *
users_tell_relay(const struct cli *cli, const struct conf *c, const char *source, uint64_t users,
    const char **state)
{
	const char *path = cli->socket != NULL ? cli->socket : c->control_socket;
	char why[SNAPSHOT_WHY] = "";
	json_t *req, *reply;

	*state = "not-running";
	if (!relay_listens(path))
		return "no relay is running; it will be used at the next start";
	users_consent_follow(c, path);	/* before the relay knows the new addresses */
	req = json_pack("{s:s, s:I, s:s}", "cmd", "directory-reload", "users", (json_int_t)users,
	    "source", source);
	reply = control_ask(path, req, why, sizeof(why));
	if (reply == NULL) {
		*state = "unconfirmed";
		fprintf(stderr, "%s: the directory is in place, but the running relay did not "
		    "confirm it (%s); it looks for a new one every few seconds\n", source, why);
		return "the running relay did not confirm the new snapshot";
	}
	json_decref(reply);
	*state = "reloaded";
	return "the running relay uses the new snapshot";
}

static void
print_json(const struct import *m, bool ok, const char *relay)
{
	static const struct snapshot_totals none;
	const struct snapshot_totals *n = m->snap == NULL ? &none : snapshot_totals(m->snap);
	json_t *o = json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}",
	    "ok", ok, "file", m->opt->file, "rows", (json_int_t)m->rows, "bad", (json_int_t)n->bad,
	    "users", (json_int_t)n->users, "names", (json_int_t)n->names, "before",
	    (json_int_t)n->before, "no_recovery", (json_int_t)n->no_recovery, "chain",
	    (json_int_t)n->chain, "shared", (json_int_t)n->shared, "unknown_shard",
	    (json_int_t)n->unknown_shard, "generation", (json_int_t)n->generation, "bytes",
	    (json_int_t)n->bytes, "empty_domains", (int)n->domains_empty);

	json_object_set_new(o, "baseline", json_integer((json_int_t)n->baseline));
	json_object_set_new(o, "seconds",
	    json_real((double)(clock_mono_ms() - m->start_ms) / 1000));
	if (ok)
		json_object_set_new(o, "relay", json_string(relay));
	else
		json_object_set_new(o, "error", json_string(m->why));
	json_object_set(o, "errors", m->errors);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void
print_text(const struct import *m, const char *said)
{
	const struct snapshot_totals *n = snapshot_totals(m->snap);

	printf("%s: %s users (%s names) imported in %.1f s, generation %llu", m->opt->file,
	    users_number(n->users), users_number(n->names),
	    (double)(clock_mono_ms() - m->start_ms) / 1000, (unsigned long long)n->generation);
	if (n->before != 0)
		printf("; %s users before", users_number(n->before));
	printf("\n");
	if (n->bad != 0)
		printf("%s bad rows left out\n", users_number(n->bad));
	if (n->baseline != 0)
		printf("%s users agreed to copies in peace time (baseline)\n",
		    users_number(n->baseline));
	if (n->no_recovery != 0)
		printf("%s users without a recovery address: held, not forwarded\n",
		    users_number(n->no_recovery));
	if (n->chain != 0)
		printf("%s users with a recovery address in a served domain: held, not forwarded\n",
		    users_number(n->chain));
	if (n->shared != 0)
		printf("%s users share %s recovery addresses with more than %u users: held, not "
		    "forwarded until confirmed (--confirm-shared ADDRESS)\n",
		    users_number(n->shared), users_number(n->shared_addresses), n->shared_max);
	if (n->unknown_shard != 0)
		printf("%s users of shards that the configuration does not have: they go to the "
		    "domain's primary\n", users_number(n->unknown_shard));
	printf("%s\n", said);
}

/* "a@b,c@d" in place into `list`. */
static size_t
split_confirmed(char *text, const char **list)
{
	size_t n = 0;

	while (text != NULL && n < CONFIRM_MAX) {
		char *one = strsep(&text, ", ");

		if (one[0] != '\0')
			list[n++] = one;
	}
	return n;
}

static enum snapshot_result
run(struct import *m, int fd)
{
	const char *confirmed[CONFIRM_MAX];
	char *text = mem_str(m->opt->confirm);
	struct snapshot_options o = {
		.force = m->opt->force, .skip_bad = m->opt->skip_bad, .source = m->opt->file,
		.confirmed = confirmed, .nconfirmed = split_confirmed(text, confirmed),
	};
	enum snapshot_result r = SNAPSHOT_FAIL;

	m->snap = snapshot_begin(m->conf, &o, report, m, m->why);
	free(text);
	if (m->snap == NULL)
		return SNAPSHOT_FAIL;
	if (read_file(m, fd) == 0)
		r = snapshot_finish(m->snap, m->why);
	if (m->tty && m->told)
		fputs("\r\033[K", stderr);
	return r;
}

int
users_import(const struct cli *cli, const struct conf *c, const struct users_import *u)
{
	struct import m = { .cli = cli, .conf = c, .opt = u };
	const char *state = "", *said = "";
	bool ok = false;
	int fd = -1;

	m.errors = json_array();
	m.start_ms = m.told_ms = clock_mono_ms();
	m.tty = isatty(2) == 1;
	m.reader = open_reader(&m);
	if (m.reader != NULL && u->refresh)
		m.command = users_command_start(u->file, c->refresh_timeout_ms, m.why,
		    sizeof(m.why));
	else if (m.reader != NULL)
		fd = open_file(&m);
	if (fd >= 0 || m.command != NULL)
		ok = run(&m, fd) == SNAPSHOT_OK;
	if (ok)
		said = users_tell_relay(cli, c, u->file, snapshot_totals(m.snap)->users, &state);
	else
		fprintf(stderr, "%s: %s\n", u->file, m.why);
	if (cli->json)
		print_json(&m, ok, state);
	else if (ok)
		print_text(&m, said);
	if (fd >= 0)
		close(fd);
	users_command_free(&m.command);
	snapshot_free(&m.snap);
	users_rows_free(&m.reader);
	json_decref(m.errors);
	return ok ? CLI_OK : CLI_FAILED;
}
