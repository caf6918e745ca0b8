// SPDX-License-Identifier: Apache-2.0
/*
 * Comma-separated values (RFC 4180) as a push parser: bytes go in, in pieces of any
 * size, whole records come out. LF or CRLF ends a record, a UTF-8 byte order mark at
 * the start and empty lines are skipped. Nothing is repaired: a malformed record comes
 * out with `error` set and no fields, and reading goes on after the line's end, so
 * that all errors of a file are found in one run. Memory is fixed (CSV_RECORD_MAX).
 */
#ifndef POLICY_CSV_H
#define POLICY_CSV_H

#include <stdint.h>

#include "base/slice.h"

enum { CSV_FIELDS_MAX = 64, CSV_RECORD_MAX = 64 * 1024 /* bytes of all fields */ };

struct csv_record {
	uint64_t	 line;		/* where it begins, from 1 */
	const char	*error;		/* static text, or NULL when the record is good */
	size_t		 n;		/* fields; 0 with an error */
	struct slice	 field[CSV_FIELDS_MAX];	/* quotes resolved; borrowed until return */
};

/* 0 to go on; anything else stops and is returned by csv_feed. */
typedef int csv_fn(void *arg, const struct csv_record *rec);

struct csv;

struct csv *csv_new(char separator, csv_fn *fn, void *arg);
void csv_free(struct csv **cp);

/* 0, or what the callback returned. After a stop the parser is to be freed. */
int csv_feed(struct csv *c, struct slice s);
/* The end of the text: a last line without LF is a record too. */
int csv_end(struct csv *c);

#endif
