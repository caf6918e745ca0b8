// SPDX-License-Identifier: Apache-2.0
/*
 * The walls around a role (P8): a list of the system calls it may make (seccomp) and of
 * the folders it may reach (Landlock, where the kernel has it). Everything else is
 * refused, whatever bytes of a stranger have made of the process. libseccomp is met here only.
 *
 * All roles may compute, wait, talk over what they have open, and get memory. On top:
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>

enum {
	SANDBOX_CONNECT	= 1,	/* Internet sockets: to make, to connect, to accept */
	SANDBOX_ACCEPT	= 2,	/* to accept on what is listening already */
	SANDBOX_READ	= 4,	/* to open files below the one folder for reading */
	SANDBOX_WRITE	= 8,	/* to make, change and remove files below it */
	SANDBOX_THREADS	= 16,	/* threads, never processes */
	SANDBOX_NOSY	= 32	/* libraries in it look for files and other sockets at times and live
				 * with a no: they get one, in the mode "kill" too */
};

enum sandbox_mode {
	SANDBOX_OFF,
	SANDBOX_REFUSE,		/* what is not allowed fails with EPERM */
	SANDBOX_KILL		/* ... ends the process, after a line that names the call */
};

struct sandbox {
	enum sandbox_mode mode;
	unsigned	 needs;		/* SANDBOX_* */
	int		 folder;	/* descriptor of the folder of READ and WRITE; -1 none */
};

struct sandbox_state {		/* what is in force, for status */
	enum sandbox_mode mode;
	unsigned	 calls;		/* system calls on the list */
	int		 landlock;	/* ABI version in use; 0: the kernel has none */
};

/* From now on and for good, for all threads. 0, or -1 after logging why: then the role must
 * not start. A kernel without Landlock is no failure. */
int sandbox_enter(const struct sandbox *s, struct sandbox_state *out);

/* What the kernel has: the version of Landlock (0: none), filters of system calls. */
int sandbox_landlock_abi(void);
bool sandbox_has_seccomp(void);

const char *sandbox_mode_name(enum sandbox_mode m);	/* "off", "refuse", "kill" */

#endif
