// SPDX-License-Identifier: Apache-2.0
/*
 * The queue's only door to storage. A store keeps numbered segments: an append-only
 * log of records, a progress log beside it and an index that may be lost and rebuilt.
 * Back ends: local (files, store_local.c), fake (fault injection for tests,
 * store_fake.c); the interface leaves room for a replicated one: lease, fencing and
 * "unknown" are part of it. Nothing here knows what a message is.
 *
 * Appends are asynchronous: the back end writes and syncs off the loop (a writer
 * thread) and completes on the loop. All that waits when a sync returns goes into
 * the next one (group commit). Anything but STORE_OK and STORE_OK_LOCAL means: do
 * not answer 250.
 */
#ifndef QUEUE_STORE_H
#define QUEUE_STORE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"

enum store_result {
	STORE_OK,		/* stable here and on the replicas asked for */
	STORE_OK_LOCAL,		/* stable here */
	STORE_UNKNOWN,		/* may or may not be stable: never 250 */
	STORE_FENCED,		/* somebody else owns the spool now: stop */
	STORE_FULL,		/* no space: 452 */
	STORE_DOWN,		/* not reachable: 451 */
	STORE_IO_ERROR,
	STORE_RESULT_MAX
};
const char *store_result_name(enum store_result r);

enum store_class { STORE_HELD, STORE_RELAY, STORE_CLASS_MAX };	/* retention: long, short */

enum store_part { STORE_LOG, STORE_PROGRESS, STORE_INDEX, STORE_NEW /* a log being rewritten */,
	STORE_PART_MAX };

struct store;

/* One piece of an append: bytes in memory, or `len` bytes of a sealed body fd. */
struct store_piece {
	struct slice	bytes;	/* when fd is -1; borrowed until completion */
	int		fd;	/* borrowed until completion */
	uint64_t	len;	/* of the body, from its offset 0 */
};

struct store_span {		/* a piece of the index file */
	uint64_t	off;
	struct slice	bytes;	/* borrowed until completion */
};

typedef void store_done_fn(void *arg, enum store_result r);
typedef void store_work_fn(void *arg);

/* Threads for work: what somebody waits for, and what has time. */
enum store_work { STORE_WORK_READ, STORE_WORK_COPY };

struct store_health {
	uint64_t bytes_free;	/* of the store's file system, for us */
	bool	 read_only;
	unsigned failures;	/* since start */
	uint64_t syncs;		/* of appends, since start */
};

/*
 * Whatever writes is asynchronous: it happens on a thread of the back end and
 * completes on the loop, never inside the call. Appends complete in the order of
 * their calls, so does everything else among itself; appends and the rest do not
 * wait for each other. After a failed append the back end refuses what is queued
 * for that segment behind it. Reading is synchronous; `work` does it off the loop.
 */
struct store_ops {
	const char *name;

	/* Exclusive: NULL when another process holds it; the reason is logged.
	 * `where` is backend-specific (local: a directory descriptor as text "fd:N",
	 * borrowed, or a path). Read-only opens need no right to write. */
	struct store *(*open)(struct loop *l, const char *where, bool read_only);
	/* Completes what is pending (10 s at most), then closes. */
	void	(*close)(struct store **sp);
	/* Blocks until nothing is pending and all completions were called; -1 after
	 * timeout_ms. For opening and closing only: it does not turn the loop. */
	int	(*drain)(struct store *s, int timeout_ms);

	/* Calls fn for each segment of which any part exists, oldest first. 0 or -1. */
	int	(*list)(struct store *s, void (*fn)(void *arg, uint64_t segment), void *arg);

	/* A new segment whose log and progress both begin with `head`, durable (files
	 * and directory) on completion. `log_max` bytes are preallocated if that helps. */
	void	(*create)(struct store *s, uint64_t segment, enum store_class c,
		    struct slice head, uint64_t log_max, store_done_fn *done, void *arg);

	/* Appends the pieces to STORE_LOG at `off` (the present end) and syncs. */
	void	(*append)(struct store *s, uint64_t segment, uint64_t off,
		    const struct store_piece *piece, size_t n, store_done_fn *done, void *arg);

	/* Writes to STORE_PROGRESS at `off`; with `sync` all of that file that was
	 * written before is stable on completion. */
	void	(*progress)(struct store *s, uint64_t segment, uint64_t off,
		    struct slice bytes, bool sync, store_done_fn *done, void *arg);

	/* Writes the spans (the array is copied), cuts the file to `size` and syncs. */
	void	(*index)(struct store *s, uint64_t segment, const struct store_span *span,
		    size_t n, uint64_t size, store_done_fn *done, void *arg);

	/* No more appends: the log ends at `end`, preallocated space is returned. */
	void	(*seal)(struct store *s, uint64_t segment, uint64_t end,
		    store_done_fn *done, void *arg);

	/* Writes STORE_NEW of a sealed segment at `off` and syncs; 0 begins it afresh. */
	void	(*rewrite)(struct store *s, uint64_t segment, uint64_t off, struct slice bytes,
		    store_done_fn *done, void *arg);
	/* STORE_NEW becomes the log, in one step that a crash cannot halve. Until the
	 * completion all reads of STORE_LOG see the old one, afterwards the new one; after
	 * an error the old one. */
	void	(*adopt)(struct store *s, uint64_t segment, store_done_fn *done, void *arg);
	/* STORE_NEW is gone on completion; success when there was none. */
	void	(*discard)(struct store *s, uint64_t segment, store_done_fn *done, void *arg);

	/* Calls fn(arg) on a thread of the back end, then done(arg, STORE_OK_LOCAL) on the
	 * loop. fn may use read, read_body and size, and nothing else of the loop's. */
	void	(*work)(struct store *s, enum store_work w, store_work_fn *fn,
		    store_done_fn *done, void *arg);

	/* All parts are gone on completion; one that does not exist is success. */
	void	(*drop)(struct store *s, uint64_t segment, store_done_fn *done, void *arg);

	/* Small named values: replaced atomically and durably. `name` is copied. */
	void	(*put_meta)(struct store *s, const char *name, struct slice bytes,
		    store_done_fn *done, void *arg);
	/* 0, 1 when there is none, -1. */
	int	(*get_meta)(struct store *s, const char *name, struct buf *out);

	/* Bytes read or -1; short only at the end. */
	ssize_t	(*read)(struct store *s, uint64_t segment, enum store_part part,
		    uint64_t off, void *to, size_t n);
	/* Copies a range of STORE_LOG into a fresh sealed body; fd or -1. */
	int	(*read_body)(struct store *s, uint64_t segment, uint64_t off, uint64_t len);
	/* -1 when there is no such part. */
	int64_t	(*size)(struct store *s, uint64_t segment, enum store_part part);

	/* Keeps bytes of a damaged record in damaged/ under this name. 0 or -1. */
	int	(*set_aside)(struct store *s, const char *name, struct slice bytes);
	int	(*health)(struct store *s, struct store_health *out);
};

extern const struct store_ops store_local;

#endif
