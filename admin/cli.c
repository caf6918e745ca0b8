// SPDX-License-Identifier: Apache-2.0
#include "admin/cli.h"

#include <stdarg.h>
#include <string.h>

#include "base/log.h"

#ifndef SALVAPOSTA_VERSION
#define SALVAPOSTA_VERSION "0.1"
#endif

static const char default_conf[] = "/etc/salvaposta/relay.conf";

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct command commands[] = {
	{ "run", "start the relay in the foreground", NULL },
	{ "check", "check the configuration and the files it names", cmd_check },
	{ "doctor", "look at DNS, certificates and this host, and say what to mend", cmd_doctor },
	{ "users", "import and look at the directory of users", cmd_users },
	{ "failover", "show, switch or schedule failover of a domain", cmd_failover },
	{ "queue", "list, show or retry held and forwarded mail", cmd_queue },
	{ "status", "processes, queue and the balance of each domain", cmd_status },
	{ "replay", "how held mail goes back, and its pause, rate and route", cmd_replay },
	{ "why", "the way of a message in words, and what happens next", cmd_why },
	{ "report", "the exact balance of each domain and shard", cmd_report },
	{ "audit", "show the audit log, or verify its chain", cmd_audit },
	{ "drill", "rehearse an outage for test users", cmd_drill },
	{ "export", "write a stopped relay's mail as Maildir or mbox", cmd_export },
	{ "spool", "check every record of a stopped relay's spool", cmd_spool },
	{ "srs", "encode or decode a return-path address", cmd_srs },
	{ "help", "this text, or that of a command", cmd_help },
	{ "version", "the version", cmd_version },
};

#define NCOMMANDS	(sizeof(commands) / sizeof(commands[0]))

static void
print_help(FILE *out)
{
	fprintf(out, "usage: salvaposta COMMAND [ARGUMENTS]\n"
	    "\n"
	    "Takes over a domain's incoming mail while its mailbox store is down: keeps it,\n"
	    "forwards copies to the users' recovery addresses, and replays it afterwards.\n"
	    "\n"
	    "commands:\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n"
	    "of every command:\n"
	    "  -c, --config FILE  configuration (default %s)\n"
	    "      --json         print JSON\n"
	    "  -h, --help         what the command takes\n"
	    "\n"
	    "Manual: salvaposta(8), relay.conf(5)\n", default_conf);
}

static const struct command *
find(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int
unknown(const char *name)
{
	fprintf(stderr, "salvaposta: there is no command %.80s\nTry: salvaposta help\n",
	    log_escs(name));
	return CLI_USAGE;
}

static int
cmd_help(int argc, char **argv)
{
	static char flag[] = "--help";
	const struct command *c;

	if (argc < 2 || argv[1][0] == '-') {
		print_help(stdout);
		return CLI_OK;
	}
	c = find(argv[1]);
	if (c == NULL)
		return unknown(argv[1]);
	if (c->run == NULL) {
		printf("usage: salvaposta %s [-c FILE]\n\n%s\n", c->name, c->help);
		return CLI_OK;
	}
	if (c->run == cmd_help || c->run == cmd_version) {
		printf("usage: salvaposta %s\n\n%s\n", c->name, c->help);
		return CLI_OK;
	}
	char *args[] = { argv[1], flag, NULL };
	return c->run(2, args);
}

static int
cmd_version(int argc, char **argv)
{
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;

	printf(json ? "{\"version\": \"%s\"}\n" : "salvaposta %s\n", SALVAPOSTA_VERSION);
	return CLI_OK;
}

int
cli_main(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		print_help(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		return cmd_help(1, argv);
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
		return cmd_version(1, argv);
	c = find(argv[1]);
	if (c == NULL || c->run == NULL)
		return unknown(argv[1]);
	int status = c->run(argc - 1, argv + 1);
	/* A full disk or a closed pipe must not look like success. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_OK) {
		perror("salvaposta: writing the output");
		status = CLI_FAILED;
	}
	return status;
}

int
cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "salvaposta %s: ", command);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry: salvaposta %s --help\n", command);
	return CLI_USAGE;
}

/* One option word without its dashes: name and, after '=', its argument. */
struct word {
	const char	*name;
	size_t		 n;
	const char	*value;	/* NULL: not given with '=' */
};

static bool
named(const struct word *w, const char *name)
{
	return strlen(name) == w->n && memcmp(name, w->name, w->n) == 0;
}

/* Finds where the option's argument or flag goes. false: not an option of ours. */
static bool
lookup(const struct word *w, const struct cli_option *opt, size_t nopt, struct cli *cli,
    const char ***value, bool **flag)
{
	*value = NULL;
	*flag = NULL;
	if (named(w, "c") || named(w, "config"))
		*value = &cli->conf_file;
	else if (named(w, "socket"))
		*value = &cli->socket;
	else if (named(w, "json"))
		*flag = &cli->json;
	for (size_t i = 0; i < nopt && *value == NULL && *flag == NULL; i++) {
		if (!named(w, opt[i].name))
			continue;
		*value = opt[i].value;
		*flag = opt[i].flag;
	}
	return *value != NULL || *flag != NULL;
}

/* Takes argv[*i] and perhaps the next. 0 or -1 after saying what is wrong. */
static int
take(char **argv, int argc, int *i, const struct cli_option *opt, size_t nopt, struct cli *cli)
{
	const char *s = argv[*i], **value;
	bool *flag;
	bool lng = s[1] == '-';
	struct word w = { .name = s + (lng ? 2 : 1) };

	w.n = strcspn(w.name, "=");
	if (lng && w.name[w.n] == '=')
		w.value = w.name + w.n + 1;
	if (lng == (w.n < 2) || !lookup(&w, opt, nopt, cli, &value, &flag)) {
		(void)cli_usage(argv[0], "there is no option %.64s", log_escs(s));
		return -1;
	}
	if (flag != NULL) {
		if (w.value != NULL) {
			(void)cli_usage(argv[0], "%.*s takes no argument", (int)w.n + 2, s);
			return -1;
		}
		*flag = true;
		return 0;
	}
	if (w.value == NULL && *i + 1 < argc)
		w.value = argv[++*i];
	if (w.value == NULL) {
		(void)cli_usage(argv[0], "%.64s needs an argument", s);
		return -1;
	}
	*value = w.value;
	return 0;
}

int
cli_options(int *argc, char **argv, const struct cli_option *opt, size_t nopt,
    const char *help, struct cli *cli, int *status)
{
	int left = 1;
	bool over = false;

	*cli = (struct cli){ .conf_file = default_conf };
	for (int i = 1; i < *argc; i++) {
		const char *s = argv[i];
		if (over || s[0] != '-' || s[1] == '\0') {
			argv[left++] = argv[i];
			continue;
		}
		if (strcmp(s, "--") == 0) {
			over = true;
			continue;
		}
		if (strcmp(s, "-h") == 0 || strcmp(s, "--help") == 0) {
			fputs(help, stdout);
			fprintf(stdout, "\n"
			    "  -c, --config FILE  configuration (default %s)\n"
			    "      --json         print JSON\n"
			    "      --socket PATH  speak to the relay over this control socket\n"
			    "  -h, --help         this text\n", default_conf);
			*status = CLI_OK;
			return -1;
		}
		if (take(argv, *argc, &i, opt, nopt, cli) != 0) {
			*status = CLI_USAGE;
			return -1;
		}
	}
	*argc = left;
	argv[left] = NULL;
	return 0;
}

struct conf *
cli_conf(const struct cli *cli)
{
	struct conf_errors e = { .count = 0 };
	struct conf *c = conf_load(cli->conf_file, &e);
	struct slice s = buf_slice(&e.text);

	/* Warnings are for `check`; here they would stand between people and the answer. */
	if (c == NULL)
		fprintf(stderr, "%.*s", SLICE_FMT(s));
	buf_fini(&e.text);
	return c;
}
