// SPDX-License-Identifier: Apache-2.0
/* Shared by spool_verify.c (the log) and spool_verify_index.c (progress and index). */
#ifndef QUEUE_SPOOL_VERIFY_PRIV_H
#define QUEUE_SPOOL_VERIFY_PRIV_H

#include "queue/record.h"
#include "queue/spool_verify.h"

enum {
	VERIFY_WINDOW = 1 << 20,
	VERIFY_FINDINGS_MAX = 100000,	/* of one segment */
	VERIFY_ENTRIES_MAX = (1 << 18) + UINT16_MAX
};

struct window {			/* over one part of one segment */
	enum store_part	 part;
	uint64_t	 size;		/* bytes to look at */
	uint64_t	 off;		/* of b */
	size_t		 n;		/* valid bytes in b */
	uint8_t		*b;		/* VERIFY_WINDOW; borrowed */
	bool		 io_error;	/* something could not be read; reset by the user */
};

struct known {			/* what the log and the progress log say of an entry */
	struct entry	e;		/* slot is not used */
	uint64_t	group;
	uint64_t	last[LEG_KIND_MAX];	/* offset of the last progress; 0: as born */
	uint64_t	voided;		/* offset of its void record; 0 none */
	bool		there;		/* its record could be decoded */
};

struct verify {
	const struct store_ops	*ops;
	struct store		*store;
	bool			 live;
	const struct spool_verify_ops *to;
	void			*arg;
	uint64_t		 done, total;	/* bytes */
	bool			 stopped;
	uint8_t			*window;	/* VERIFY_WINDOW */
	struct abandon		*abandon;	/* of newer segments; owned */
	size_t			 nabandon;

	/* of the segment in hand */
	struct spool_segment_report r;
	uint64_t		 stamp;
	uint32_t		 generation;	/* of the log; UINT32_MAX unknown */
	struct known		*known;		/* by ordinal; capknown of them; owned */
	uint32_t		 nknown, capknown;
	struct spool_finding	*finding;	/* owned */
	size_t			 nfinding, capfinding;
	uint64_t		 stable;	/* log: known to be synced up to here */
	uint64_t		 prg_size;	/* bytes of the progress log */
	uint64_t		 covered;	/* of it known to be synced, by the index; 0 */
	bool			 prg_lost;	/* progress has holes: the index may know more */
};

void window_init(struct verify *v, struct window *w, enum store_part part, uint64_t size);
/* `n` bytes at off, borrowed until the next call; NULL past the end or unreadable. */
const uint8_t *window_at(struct verify *v, struct window *w, uint64_t off, size_t n);
/* A finding of this segment; the pointer is good until the next one. */
struct spool_finding *verify_found(struct verify *v, enum store_part part, uint64_t off,
    uint64_t len, bool damage, const char *what);

/* spool_verify_index.c */
void verify_progress(struct verify *v);
void verify_index(struct verify *v, const struct index_head *h);
/* The index head when it is to be believed. 1 good, 0 there is none, -1 after a finding. */
int verify_index_head(struct verify *v, struct index_head *h);

#endif
