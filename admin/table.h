// SPDX-License-Identifier: Apache-2.0
/*
 * Aligned columns for people, and values as people read them. What strangers wrote
 * (senders, reply texts) goes to a terminal here, so control characters are escaped.
 */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "base/buf.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
	const char	*head[TABLE_COLUMNS_MAX];	/* borrowed; "#name" is right-aligned */
	size_t		 ncolumn;
	char		**cell;				/* owned, row by row */
	size_t		 ncell;
};

void table_init(struct table *t, const char *const *head);	/* ends with NULL */
void table_cell(struct table *t, const char *text);		/* copied; "" shows as "-" */
void table_cellf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints header and rows, then frees all. */
void table_print(struct table *t, FILE *out);

/* Without control characters (also C1, and the ones that turn text around). */
void text_safe(struct slice in, struct buf *out);
void text_print(FILE *out, const char *s);

/* Members of replies, with what they are when missing or of another type. */
const char *member_text(const json_t *o, const char *key);	/* "" */
int64_t member_int(const json_t *o, const char *key);		/* 0 */
/* Milliseconds since 1970 of a time as ISO 8601 in UTC (or a number of ms); 0 for none. */
int64_t member_time(const json_t *o, const char *key);
int64_t json_time(const json_t *v);

/* "12.3M"; out >= 16 bytes. */
void size_words(uint64_t bytes, char *out, size_t cap);
/* "2026-11-22 21:03:08", local; "-" for 0. Milliseconds since 1970. */
void time_words(int64_t wall_ms, char *out, size_t cap);
/* "5s", "12m", "3h", "2d": the largest unit that fits. */
void span_words(int64_t ms, char *out, size_t cap);

#endif
