// SPDX-License-Identifier: Apache-2.0
/* A small file with keys or secrets, read whole. */
#ifndef ADMIN_KEYFILE_H
#define ADMIN_KEYFILE_H

#include "base/buf.h"

struct keyfile {
	struct buf	text;
	unsigned	mode;	/* permission bits */
};

/* 0, or -1 with a reason and the fix for people in `why`. */
int keyfile_read(const char *path, struct keyfile *out, char *why, size_t cap);
void keyfile_fini(struct keyfile *k);	/* wipes */

#endif
