// SPDX-License-Identifier: Apache-2.0
/*
 * The administrator's commands. Each prints for people, or JSON with --json, says
 * what is wrong on standard error, and returns the exit status: 0 done, 1 failed,
 * 2 wrongly called. argv[0] of a command is its name.
 */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/conf.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct command {
	const char	*name;
	const char	*help;		/* one line */
	int		(*run)(int argc, char **argv);	/* NULL: main.c handles it */
};

/* argv as main got it; main.c has taken `run` and `role` away before. */
int cli_main(int argc, char **argv);

int cmd_audit(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_drill(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_failover(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_spool(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_srs(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_users(int argc, char **argv);	/* admin/users.c */

/* What every command understands. */
struct cli {
	const char	*conf_file;	/* -c, --config */
	const char	*socket;	/* --socket: instead of the configuration's; or NULL */
	bool		 json;
};

struct cli_option {
	const char	 *name;		/* long name without dashes */
	const char	**value;	/* where its argument goes, or */
	bool		 *flag;		/* what it sets */
};

/*
 * Takes options (also the common ones, into `cli`) out of argv, wherever they stand;
 * what is left is argv[0 .. *argc), argv[0] the command's name. 0, or -1 with the exit
 * status in *status after an error or --help (then `help` was printed).
 */
int cli_options(int *argc, char **argv, const struct cli_option *opt, size_t nopt,
    const char *help, struct cli *cli, int *status);
/* "salvaposta COMMAND: text" on standard error, then how to get help. CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The configuration, or NULL after printing what is wrong with it. */
struct conf *cli_conf(const struct cli *cli);

#endif
