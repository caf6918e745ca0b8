// SPDX-License-Identifier: Apache-2.0
/*
 * What the supervisor opens on behalf of the roles: sockets, key files, directories.
 * Each failure is logged with the path, the key of relay.conf and the fix.
 */
#ifndef RELAY_RESOURCE_H
#define RELAY_RESOURCE_H

#include "base/conf.h"
#include "base/role.h"

enum { RESOURCE_MAX = 512 };

struct resource_item {
	enum role_kind	 role;
	int		 index;		/* of the process; -1: every one of that role */
	char		 name[32];
	int		 fd;		/* owned by the set */
};

struct resource_set {
	struct resource_item	 item[RESOURCE_MAX];
	size_t			 n;
};

/* Creates state-dir and its folders with the right owners. 0, or -1 logged. */
int resource_folders(const struct conf *c);
/* Listening sockets, one of each address for each relay process, and the control
 * socket. 0, or -1 logged. */
int resource_sockets(const struct conf *c, struct resource_set *s);
/* Keys, certificates, secrets, resolv.conf: what a reload opens anew. */
int resource_files(const struct conf *c, struct resource_set *s);
void resource_close(struct resource_set *s);

#endif
