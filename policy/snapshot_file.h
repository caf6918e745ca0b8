// SPDX-License-Identifier: Apache-2.0
/*
 * The files of a directory snapshot: what exists when, and who cleans up. Internal to
 * policy/snapshot.c.
 *
 *	state-dir/directory.import	being built; removed by the next import
 *	state-dir/directory.lock	locked by the import at work
 *	state-dir/directory/users.db	in use; replaced by one rename
 *	.../users.1.db, users.2.db	the two before it; a rollback swaps users.1.db with users.db
 *
 * The import file lies outside directory/, which belongs to the directory role: root
 * never opens for writing a name that another user could have replaced. Between the
 * steps of an installation users.db always exists and is whole; a crash can leave
 * users.1.db missing or equal to users.db, which the next import mends.
 */
#ifndef POLICY_SNAPSHOT_FILE_H
#define POLICY_SNAPSHOT_FILE_H

#include "policy/directory.h"

struct snapshot_file;

/* Folders, lock, an empty import file. NULL with the reason in `why`. */
struct snapshot_file *snapshot_file_begin(const struct conf *c, char *why);
const char *snapshot_file_path(const struct snapshot_file *f);
/* The newest whole snapshot, owned by the caller; NULL for none. */
struct directory *snapshot_file_before(struct snapshot_file *f);
/* The highest generation of the files there, whole or not; 0 for none. After a rollback it
 * is not the present one, and its number must not come twice. */
uint64_t snapshot_file_generation(const struct snapshot_file *f);
/* Trailer, sync, read back, rename, sync. users.db becomes users.1.db unless it was found
 * damaged by snapshot_file_before. 0 or -1 with `why`. */
int snapshot_file_install(struct snapshot_file *f, uint64_t *bytes, char *why);
/* Removes the import file if it is still there, and unlocks. */
void snapshot_file_end(struct snapshot_file **fp);

#endif
