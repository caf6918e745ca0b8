// SPDX-License-Identifier: Apache-2.0
/*
 * The files of a local store, to be looked at only: for tools that read the spool of
 * a dead relay, a copy of one, or one whose relay is running. Every file is opened
 * for reading; what would write completes with STORE_DOWN. There is no lock here: who
 * wants to keep a relay out takes the lock file's flock, shared, for as long as it
 * looks (admin/spool_reader.h).
 *
 * Beside a running relay it is a snapshot in pieces: a segment may be dropped between
 * two reads (errno ENOENT), an index may be written while it is read (its checksums
 * tell).
 */
#ifndef QUEUE_STORE_VIEW_H
#define QUEUE_STORE_VIEW_H

#include "queue/store.h"

/* `where` of its open is the directory's path. */
extern const struct store_ops store_view;

#endif
