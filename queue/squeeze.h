// SPDX-License-Identifier: Apache-2.0
/*
 * Compressed bodies, as the spool keeps them: each is one zstd frame that states the
 * size of its content and carries a checksum of it. The only place that knows zstd.
 * No file and no loop here: it runs on the threads that read and copy.
 */
#ifndef QUEUE_SQUEEZE_H
#define QUEUE_SQUEEZE_H

#include "base/slice.h"

enum {
	SQUEEZE_LEVEL_MAX = 19,
	SQUEEZE_MIN = 256,	/* bytes; less is not worth a frame */
	SQUEEZE_WINDOW_LOG = 23,	/* a frame that wants more memory (8 MiB) is refused */
	SQUEEZE_CHUNK = 128 * 1024	/* unpacked at once */
};

/* Memory for packing one body after the other; NULL when there is none. */
struct squeeze;
struct squeeze *squeeze_new(unsigned level);
void squeeze_free(struct squeeze **qp);

/* Bytes written to `out`, or 0: no memory, or it would not shrink by a sixteenth. `out`
 * has room for in.n bytes. */
size_t squeeze_pack(struct squeeze *q, struct slice in, void *out);

/* Writes the content to `fd`. 0, or -1: EBADMSG when `in` is not one frame with exactly
 * `size` bytes of content (no more than that is ever written), else what failed. */
int squeeze_unpack(struct slice in, uint64_t size, int fd);

#endif
