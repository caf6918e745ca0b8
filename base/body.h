// SPDX-License-Identifier: Apache-2.0
/*
 * A message body as a sealed memfd: written once by the role that received or
 * read it, then passed to others who can map it knowing it cannot change or
 * shrink under them (F_SEAL_WRITE | SHRINK | GROW | SEAL).
 */
#ifndef BASE_BODY_H
#define BASE_BODY_H

#include <stddef.h>

#include "base/slice.h"

int body_create(void);				/* memfd or -1 */
int body_append(int fd, struct slice s);	/* whole or -1 with errno */
int body_seal(int fd);				/* 0 or -1 */
int body_make(struct slice s);			/* create, append, seal: fd or -1 */

/* Maps a sealed body read-only. -1 when it is not a sealed memfd (a broken or
 * hostile peer could shrink it and kill us with SIGBUS). An empty body gives
 * n = 0. Unmap with body_unmap. */
int body_map(int fd, struct slice *out);
void body_unmap(struct slice *s);

#endif
