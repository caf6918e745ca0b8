// SPDX-License-Identifier: Apache-2.0
#include "admin/cli.h"

int
cmd_spool(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cli_usage("spool", "say verify");
}
