// SPDX-License-Identifier: Apache-2.0
/* The audit log is read from its file, so that it can be looked at whether a relay runs or
 * not, and by who does not trust the relay. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin/cli.h"
#include "admin/table.h"
#include "admin/when.h"
#include "base/clock.h"
#include "queue/audit_chain.h"

static const char help[] =
    "usage: salvaposta audit show [--domain DOMAIN] [--since TIME | DURATION]\n"
    "       salvaposta audit verify\n"
    "\n"
    "The audit log says who changed what, when and why, and what the relay saw when it\n"
    "decided itself. Both verbs read its file, with the relay running or not.\n"
    "\n"
    "show:   its lines, oldest first; with --json as they stand in the file.\n"
    "verify: each line carries the hash of the one before. Says which line is the first\n"
    "        that was changed, put in, taken out or moved, and exits with 1. A last line\n"
    "        torn by a crash is told apart. Lines cut off at the very end cannot be seen\n"
    "        from the file alone: keep the head it prints elsewhere and compare.\n"
    "\n"
    "      --domain DOMAIN  only lines about it\n"
    "      --since WHEN     only lines from then on (12h: the last twelve hours)\n"
    "      --file FILE      this log instead of the one in state-dir\n";

static int
log_open_file(const struct cli *cli, const char *file)
{
	char path[4200];

	if (file == NULL) {
		struct conf *c = cli_conf(cli);

		if (c == NULL)
			return -1;
		(void)snprintf(path, sizeof(path), "%s/queue/audit.log", c->state_dir);
		conf_free(&c);
		file = path;
	}
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		fprintf(stderr, "salvaposta audit: %s: %s\n", file, errno == ENOENT ?
		    "no such file: nothing was ever changed here, or state-dir is another" :
		    strerror(errno));
	return fd;
}

/* ---- verify ---- */

static json_t *
chain_json(const struct audit_chain *c)
{
	json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:b}", "ok", c->broken == 0,
	    "lines", (json_int_t)c->lines, "chained", (json_int_t)c->seq,
	    "older", (json_int_t)c->older, "torn", (json_int_t)c->torn,
	    "torn_tail", c->torn_tail);

	if (c->broken != 0) {
		json_object_set_new(o, "broken_line", json_integer((json_int_t)c->broken));
		json_object_set_new(o, "why", json_string(c->why));
	} else {
		json_object_set_new(o, "head", json_string(c->head));
	}
	return o;
}

static void
chain_print(const struct audit_chain *c)
{
	if (c->older > 0)
		printf("%llu older lines from before the chain%s\n", (unsigned long long)c->older,
		    c->seq > 0 ? ", sealed by its first line" : ": not sealed yet, the next change "
		    "seals them");
	if (c->torn > 0)
		printf("%llu lines torn by a crash, closed by the line after\n",
		    (unsigned long long)c->torn);
	if (c->torn_tail)
		printf("the last line is torn: a crash, or it is being written now\n");
	if (c->broken != 0)
		printf("line %llu is the first that is wrong: %s\n", (unsigned long long)c->broken,
		    c->why);
	else
		printf("%llu chained lines hold; head %llu %s\n", (unsigned long long)c->seq,
		    (unsigned long long)c->seq, c->head);
}

static int
verify(const struct cli *cli, int fd)
{
	struct audit_chain c;

	if (audit_chain_read(fd, &c) < 0) {
		fprintf(stderr, "salvaposta audit: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	if (cli->json) {
		json_t *o = chain_json(&c);

		(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		printf("\n");
		json_decref(o);
	} else {
		chain_print(&c);
	}
	return c.broken == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- show ---- */

struct lens {
	const char	*domain;
	int64_t		 since_ms;
};

static bool
lens_sees(const struct lens *l, const json_t *o)
{
	if (l->domain != NULL && strcasecmp(member_text(o, "domain"), l->domain) != 0)
		return false;
	return l->since_ms == 0 || member_time(o, "time") >= l->since_ms;
}

static void
print_rest(const json_t *o)
{
	static const char *const known[] = { "time", "event", "uid", "pid", "domain", "shard",
	    "reason", "seq", "prev", "hash", "torn", NULL };
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, key, v) {
		size_t i = 0;

		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] != NULL)
			continue;
		char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		printf("  %s=", key);
		text_print(stdout, text != NULL ? text : json_string_value(v));
		free(text);
	}
}

static void
print_line(const json_t *o)
{
	char when[32];

	time_words(member_time(o, "time"), when, sizeof(when));
	printf("%s  ", when);
	text_print(stdout, member_text(o, "event"));
	printf("  ");
	text_print(stdout, member_text(o, "domain"));
	if (member_text(o, "shard")[0] != '\0') {
		printf("/");
		text_print(stdout, member_text(o, "shard"));
	}
	if (member_int(o, "pid") == 0)
		printf("  by the relay");
	else
		printf("  by uid %lld", (long long)member_int(o, "uid"));
	print_rest(o);
	if (member_text(o, "reason")[0] != '\0') {
		printf("  ");
		text_print(stdout, member_text(o, "reason"));
	}
	printf("\n");
}

static void
show_line(const struct cli *cli, const struct lens *l, const char *line, size_t n)
{
	json_error_t e;
	json_t *o = json_loadb(line, n, 0, &e);

	if (!json_is_object(o)) {
		fprintf(stderr, "salvaposta audit: a line that is no JSON is left out\n");
	} else if (lens_sees(l, o) && cli->json) {
		(void)fwrite(line, 1, n, stdout);
		printf("\n");
	} else if (lens_sees(l, o)) {
		print_line(o);
	}
	json_decref(o);
}

static int
show(const struct cli *cli, int fd, const struct lens *l)
{
	FILE *in = fdopen(dup(fd), "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (in == NULL)
		return CLI_FAILED;
	while ((n = getline(&line, &cap, in)) > 0)
		show_line(cli, l, line, (size_t)n - (line[n - 1] == '\n'));
	int rc = ferror(in) ? CLI_FAILED : CLI_OK;
	free(line);
	(void)fclose(in);
	return rc;
}

int
cmd_audit(int argc, char **argv)
{
	const char *domain = NULL, *since = NULL, *file = NULL;
	const struct cli_option opt[] = { { "domain", &domain, NULL }, { "since", &since, NULL },
		{ "file", &file, NULL } };
	struct lens l = { NULL, 0 };
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 3, help, &cli, &status) != 0)
		return status;
	bool is_show = argc == 2 && strcmp(argv[1], "show") == 0;
	if (!is_show && (argc != 2 || strcmp(argv[1], "verify") != 0))
		return cli_usage("audit", "say show or verify");
	l.domain = domain;
	if (since != NULL && when_span(since, &l.since_ms) == 0)
		l.since_ms = clock_wall_ms() - l.since_ms;
	else if (since != NULL && when_time(since, 0, &l.since_ms) != 0)
		return cli_usage("audit", "--since %.64s is neither a time nor a duration", since);
	int fd = log_open_file(&cli, file);
	if (fd < 0)
		return CLI_FAILED;
	status = is_show ? show(&cli, fd, &l) : verify(&cli, fd);
	close(fd);
	return status;
}
