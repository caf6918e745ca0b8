// SPDX-License-Identifier: Apache-2.0
/* One binary: `run` is the relay, `role` is how it re-executes itself, the rest is
 * the command line of the administrator. */
#include <stdio.h>
#include <string.h>

#include "admin/cli.h"
#include "base/slice.h"
#include "relay/supervisor.h"

static const char default_conf[] = "/etc/salvaposta/relay.conf";

static int
run_help(FILE *out)
{
	fprintf(out,
	    "usage: salvaposta run [-c FILE]\n"
	    "\n"
	    "Starts the relay in the foreground; logs go to standard error.\n"
	    "\n"
	    "  -c, --config FILE  configuration (default %s)\n"
	    "\n"
	    "SIGTERM stops it cleanly, SIGHUP reads the configuration again.\n"
	    "Try first: salvaposta check -c FILE\n",
	    default_conf);
	return out == stdout ? 0 : 2;
}

static int
run(int argc, char **argv)
{
	const char *file = default_conf;

	for (int i = 2; i < argc; i++) {
		bool takes = strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0;
		if (takes && i + 1 < argc)
			file = argv[++i];
		else if (strncmp(argv[i], "--config=", 9) == 0)
			file = argv[i] + 9;
		else
			return run_help(strcmp(argv[i], "--help") == 0 ||
			    strcmp(argv[i], "-h") == 0 ? stdout : stderr);
	}
	return supervisor_main(file);
}

int
main(int argc, char **argv)
{
	uint64_t index;

	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return run(argc, argv);
	if (argc == 4 && strcmp(argv[1], "role") == 0 && slice_u64(slice_str(argv[3]), &index) == 0)
		return supervisor_role(argv[2], (unsigned)index);
	return cli_main(argc, argv);
}
