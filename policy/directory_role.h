// SPDX-License-Identifier: Apache-2.0
/*
 * The directory process: answers relay's "is this a user of ours?" and queue's "where
 * does the forward leg of this user go?" from the snapshot. Only queue is told a
 * recovery address (P4).
 *
 * A new snapshot is taken over when queue says so (DIR_RELOAD), on a configuration
 * reload, and when users.db is seen to be another file (looked at every few seconds, so
 * that an import is not lost on a restart of queue). It is checked in slices between
 * look-ups while the old one goes on answering; if it is damaged the old one stays.
 */
#ifndef POLICY_DIRECTORY_ROLE_H
#define POLICY_DIRECTORY_ROLE_H

#include "base/role.h"

extern const struct role_ops directory_ops;

#endif
