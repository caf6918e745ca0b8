// SPDX-License-Identifier: Apache-2.0
#include "admin/users_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct users_command {
	pid_t	pid;		/* 0 once its end was seen */
	int	fd;		/* its standard output */
	int64_t	end_ms;		/* monotonic */
	int64_t	timeout_ms;
	char	last;		/* byte read; '\n' before the first */
};

/* Root runs it: nobody else may be able to write it. */
int
users_command_check(const char *path, char *why, size_t cap)
{
	struct stat st;

	if (stat(path, &st) != 0)
		snprintf(why, cap, "cannot be run: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
		snprintf(why, cap, "cannot be run: not an executable file (chmod +x?)");
	else if ((st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()))
		snprintf(why, cap, "is not run: others than its caller and root can write it (chown "
		    "root, chmod 755)");
	else
		return 0;
	return -1;
}

static int
spawn(struct users_command *u, const char *path, int out)
{
	char *name = mem_str(path), *argv[] = { name, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
	    POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setsigmask(&at, &none);
	rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&fa, out, 1);
	if (rc == 0)
		rc = posix_spawn(&u->pid, path, &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	free(name);
	return rc;
}

struct users_command *
users_command_start(const char *path, int64_t timeout_ms, char *why, size_t cap)
{
	struct users_command *u;
	int fd[2], rc;

	if (users_command_check(path, why, cap) != 0)
		return NULL;
	if (pipe2(fd, O_CLOEXEC) != 0) {
		snprintf(why, cap, "cannot be run: %s", strerror(errno));
		return NULL;
	}
	u = mem_new(sizeof(*u));
	u->fd = fd[0];
	u->last = '\n';
	u->timeout_ms = timeout_ms;
	u->end_ms = clock_mono_ms() + timeout_ms;
	rc = spawn(u, path, fd[1]);
	close(fd[1]);
	if (rc == 0)
		return u;
	u->pid = 0;
	snprintf(why, cap, "cannot be run: %s%s", strerror(rc), rc == ENOEXEC || rc == ENOENT ?
	    " (its first line must name its interpreter, as in #!/bin/sh)" : "");
	users_command_free(&u);
	return NULL;
}

/* True when `fd` can be read in time. */
static bool
wait_for(const struct users_command *u, int fd, char *why, size_t cap)
{
	for (;;) {
		int64_t left = u->end_ms - clock_mono_ms();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int n = left <= 0 ? 0 : poll(&p, 1, left > 60000 ? 60000 : (int)left);

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR) {
			snprintf(why, cap, "cannot be waited for: %s", strerror(errno));
			return false;
		}
		if (left <= 0) {
			snprintf(why, cap, "was not done after %lld s (refresh-timeout) and was ended: "
			    "nothing was imported", (long long)(u->timeout_ms / 1000));
			return false;
		}
	}
}

ssize_t
users_command_read(struct users_command *u, char *p, size_t n, char *why, size_t cap)
{
	ssize_t got;

	do {
		if (!wait_for(u, u->fd, why, cap))
			return -1;
		got = read(u->fd, p, n);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		snprintf(why, cap, "its output cannot be read: %s", strerror(errno));
	else if (got > 0)
		u->last = p[got - 1];
	return got;
}

int
users_command_end(struct users_command *u, char *why, size_t cap)
{
	int fd = pidfd_open(u->pid, 0), status = 0;
	bool done;

	if (fd < 0) {
		snprintf(why, cap, "cannot be waited for: %s", strerror(errno));
		return -1;
	}
	done = wait_for(u, fd, why, cap);
	close(fd);
	if (!done)
		return -1;
	while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
	if (WIFSIGNALED(status))
		snprintf(why, cap, "was ended by signal %d: nothing was imported", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		snprintf(why, cap, "failed with status %d: nothing was imported",
		    WEXITSTATUS(status));
	else if (u->last != '\n')
		snprintf(why, cap, "its output ends in the middle of a line: nothing was imported");
	else
		return 0;
	return -1;
}

void
users_command_free(struct users_command **up)
{
	struct users_command *u = *up;

	if (u == NULL)
		return;
	if (u->pid > 0) {
		kill(-u->pid, SIGKILL);
		while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(u->fd);
	free(u);
	*up = NULL;
}
