// SPDX-License-Identifier: Apache-2.0
/*
 * Rows of a fixed size, found by their key: open addressing, never more than half full. A row
 * of zeros is a free one. The table is not bounded by itself: its owner counts.
 */
#ifndef BASE_ROWS_H
#define BASE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rows_kind {
	size_t		size;		/* of a row, in bytes */
	bool		(*used)(const void *row);	/* false for zeros */
	uint64_t	(*home)(const void *row);	/* of its key, evenly spread */
	bool		(*same)(const void *a, const void *b);	/* by their keys */
};

struct rows {
	const struct rows_kind	*kind;	/* borrowed */
	char			*row;	/* owned */
	size_t			 slots;	/* a power of two */
	unsigned		 n;	/* rows in use */
};

void rows_init(struct rows *t, const struct rows_kind *kind);
void rows_fini(struct rows *t);

/* The row with the key of `like`, or NULL. Borrowed until the next put or remove. */
void *rows_find(const struct rows *t, const void *like);
void rows_put(struct rows *t, const void *row);	/* copied; in the place of the same */
/* A row of the table. Another may take its place there. */
void rows_remove(struct rows *t, void *row);

/* What is in slot i < t->slots, or NULL. */
void *rows_at(const struct rows *t, size_t i);

#endif
