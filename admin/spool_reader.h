// SPDX-License-Identifier: Apache-2.0
/*
 * How commands come to a spool without a relay: which directory is meant, whether it is
 * one, and that no relay runs on it. Nothing in it is ever written; while the reader
 * is open a relay cannot start on that spool (it would drop segments under our feet).
 */
#ifndef ADMIN_SPOOL_READER_H
#define ADMIN_SPOOL_READER_H

#include "admin/cli.h"

struct spool_reader {
	char		*dir;		/* the queue directory; owned */
	struct conf	*conf;		/* NULL with --spool; owned */
	int		 dir_fd, lock_fd;	/* -1: none */
	bool		 live;		/* beside a running relay: no lock */
};

/*
 * `spool` is the argument of --spool (the queue directory, or a state directory with
 * one in it) or NULL for that of the configuration. 0, or -1 after saying what is wrong.
 * `command` names the caller in messages.
 */
int spool_reader_open(struct spool_reader *r, const struct cli *cli, const char *command,
    const char *spool, bool live);
/* "salvaposta COMMAND: PATH: what" on standard error, and as JSON where that is asked
 * for. Returns -1. */
int spool_reader_fail(const struct cli *cli, const char *command, const char *path,
    const char *what);
void spool_reader_close(struct spool_reader *r);
/* Has the segment still a log? Beside a running relay it may be gone. */
bool spool_reader_has(const struct spool_reader *r, uint64_t segment);
/* Files in damaged/: what was set aside by relays before. */
unsigned spool_reader_set_aside(const struct spool_reader *r);

#endif
