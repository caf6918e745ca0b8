// SPDX-License-Identifier: Apache-2.0
/*
 * Where exported messages go: a folder with one Maildir or one mbox per user, below the
 * name of the domain. Both can be run into again: a message that is there already is
 * not written a second time, and one is there only when all of it is on the disk.
 */
#ifndef ADMIN_EXPORT_H
#define ADMIN_EXPORT_H

#include "admin/mailfile.h"

enum export_put {
	EXPORT_WRITTEN,
	EXPORT_PRESENT,		/* it was there, from an earlier run */
	EXPORT_ERROR		/* the folder takes no more; `why` says what happened */
};

enum { EXPORT_WHY = 512 };

struct export_user {		/* names of the path, made by mailfile_name */
	char	domain[MAILFILE_NAME_MAX];
	char	local[MAILFILE_NAME_MAX];
};

struct export_format {
	const char *name;
	/* The folder's descriptor is borrowed until close. Never NULL. */
	void	*(*open)(int folder, bool lf);
	enum export_put (*put)(void *x, const struct export_user *u, const struct mailfile *m,
		    uint64_t *bytes, char why[EXPORT_WHY]);
	/* What was put is stable and in its place. 0 or -1. To be called after an error
	 * of put as well: what was whole before stays. */
	int	(*settle)(void *x, char why[EXPORT_WHY]);
	void	(*close)(void *x);	/* what was not settled goes */
};

extern const struct export_format export_maildir, export_mbox;

/* "PATH: reason", PATH below the folder. Returns -1. */
int export_fail(char why[EXPORT_WHY], const struct export_user *u, const char *name, int error);
/* A directory below another, made when it is not there; never through a link. fd or -1. */
int export_folder(int at, const char *name);

#endif
