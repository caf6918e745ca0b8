// SPDX-License-Identifier: Apache-2.0
/* Names of segment files (docs/spool.md), for back ends that keep segments in a directory. */
#ifndef QUEUE_STORE_NAMES_H
#define QUEUE_STORE_NAMES_H

#include <stdint.h>

/* Calls fn for each segment that has a file in the directory, in ascending order. 0, or -1
 * with errno: the directory could not be read, fn was not called. */
int store_names_list(int dirfd, void (*fn)(void *arg, uint64_t segment), void *arg);

#endif
