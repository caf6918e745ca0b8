// SPDX-License-Identifier: Apache-2.0
/*
 * Small values kept for the relays over restarts (base/proto/relay_queue.h, queue_keep):
 * one file "kept" in the queue's directory, written whole under another name and renamed.
 * A write is put off a little, so a kill may lose the last seconds: what is kept here can
 * be found again, only later. A damaged file is set aside as "kept.damaged".
 *
 * The file: "SPKEEP01", then the number of items and the CRC32C of their bytes (u32
 * little-endian each), then items of struct queue_keep (base/wire.h).
 */
#ifndef QUEUE_KEEP_H
#define QUEUE_KEEP_H

#include "base/proto/relay_queue.h"

enum {
	KEEP_ITEMS_MAX = 10000,		/* the one that ends first makes room */
	KEEP_FILE_MAX = 32 << 20	/* bytes */
};

struct keep;

/* Reads what is there; never NULL: without a readable file it begins empty. */
struct keep *keep_open(int dirfd);
void keep_close(struct keep **kp);	/* writes what is not written yet */

/* Replaces the value of that key. True when something changed. */
bool keep_set(struct keep *k, const struct queue_keep *v, int64_t now_ms);
/* Writes the file if something changed; 0 or -1 with errno (tried again next time). */
int keep_save(struct keep *k, int64_t now_ms);

/* All that is not over, borrowed until the next keep_set. */
typedef void keep_fn(void *arg, const struct queue_keep *v);
void keep_each(struct keep *k, int64_t now_ms, keep_fn *fn, void *arg);

#endif
