// SPDX-License-Identifier: Apache-2.0
/*
 * The administrator's program that writes the users (refresh-command): started without a
 * shell and without arguments, as whoever calls us, its standard input empty, its errors on
 * ours. All its time together is bounded; what is still at work then is ended, with the
 * processes it started (its process group).
 */
#ifndef ADMIN_USERS_COMMAND_H
#define ADMIN_USERS_COMMAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct users_command;

/* Whether users_command_start would run it. 0, or -1 with `why`. */
int users_command_check(const char *path, char *why, size_t cap);
/* NULL with the reason in `why` (`cap` bytes, as below): not there, not executable, or
 * writable by others than root and the caller. */
struct users_command *users_command_start(const char *path, int64_t timeout_ms, char *why,
    size_t cap);
/* Bytes read; 0 at the end of the output; -1 with `why`. */
ssize_t users_command_read(struct users_command *u, char *p, size_t n, char *why, size_t cap);
/* After the end of the output: 0 only when it ended with status 0 and its output, if any,
 * with a whole line; else -1 with `why`. */
int users_command_end(struct users_command *u, char *why, size_t cap);
/* Ends what is still at work. */
void users_command_free(struct users_command **up);

#endif
