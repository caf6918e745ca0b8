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

enum store_part { STORE_LOG, STORE_PROGRESS, STORE_INDEX, STORE_PART_MAX };

struct store;

/* One piece of an append: bytes in memory, or `len` bytes of a sealed body fd. */
struct store_piece {
	struct slice	bytes;	/* when fd is -1; borrowed until completion */
	int		fd;	/* borrowed until completion */
	uint64_t	len;
};

typedef void store_done_fn(void *arg, enum store_result r);

struct store_health {
	uint64_t bytes_free, bytes_used;	/* of the store's file system, of the store */
	bool	 read_only;
	unsigned failures;			/* since start */
};

struct store_ops {
	const char *name;

	/* Exclusive: -1 when another process holds it; the reason is logged.
	 * `where` is backend-specific (local: a directory descriptor as text "fd:N"
	 * or a path). */
	struct store *(*open)(struct loop *l, const char *where, bool read_only);
	void	(*close)(struct store **sp);

	/* Calls fn for each segment there is, oldest first. 0 or -1. */
	int	(*list)(struct store *s,
		    void (*fn)(void *arg, uint64_t segment, enum store_class c), void *arg);

	/* A new empty segment; durable (file and directory) when it returns OK. */
	enum store_result (*create)(struct store *s, uint64_t segment, enum store_class c);

	/* Appends the pieces to STORE_LOG at `off` (the present end, told so that a
	 * torn tail of a failed append can be overwritten or abandoned) and syncs.
	 * Completions come in order of the calls. */
	void	(*append)(struct store *s, uint64_t segment, uint64_t off,
		    const struct store_piece *piece, size_t n, store_done_fn *done, void *arg);

	/* Appends to STORE_PROGRESS; synced lazily (`sync` asks for it now). */
	void	(*progress)(struct store *s, uint64_t segment, struct slice bytes,
		    bool sync, store_done_fn *done, void *arg);

	/* No more appends; makes it stable, trims what was preallocated. */
	enum store_result (*seal)(struct store *s, uint64_t segment, uint64_t end);

	/* Bytes read or -1; short only at the end. */
	ssize_t	(*read)(struct store *s, uint64_t segment, enum store_part part,
		    uint64_t off, void *to, size_t n);
	/* Copies a range of STORE_LOG into a fresh sealed body; fd or -1. */
	int	(*read_body)(struct store *s, uint64_t segment, uint64_t off, uint64_t len);
	int64_t	(*size)(struct store *s, uint64_t segment, enum store_part part);

	/* The index as shared memory of at least `bytes`; created zeroed. NULL on failure. */
	void	*(*map_index)(struct store *s, uint64_t segment, size_t bytes);
	void	(*unmap_index)(struct store *s, uint64_t segment, void *p, size_t bytes);

	/* Cuts a torn tail. */
	int	(*cut)(struct store *s, uint64_t segment, enum store_part part, uint64_t end);
	/* Keeps bytes of a damaged record in damaged/ under this name. */
	int	(*set_aside)(struct store *s, const char *name, struct slice bytes);
	/* Small named values (totals): replaced atomically and durably. */
	int	(*put_meta)(struct store *s, const char *name, struct slice bytes);
	int	(*get_meta)(struct store *s, const char *name, struct buf *out);

	enum store_result (*drop)(struct store *s, uint64_t segment);
	int	(*health)(struct store *s, struct store_health *out);
};

extern const struct store_ops store_local;

#endif
