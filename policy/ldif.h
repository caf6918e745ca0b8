// SPDX-License-Identifier: Apache-2.0
/*
 * Entries of LDIF (RFC 2849) as a push parser: bytes go in, in pieces of any size, whole
 * entries come out, with the values of the attributes that were asked for and no others.
 *
 * Read are content records only: `version: 1`, comments, folded lines, base64 (`::`). What
 * has no place in an export of entries is refused: change records, and values to be fetched
 * from a URL (`:<`). Nothing is repaired: a malformed entry comes out with `error` set and no
 * values, and reading goes on after its end, so that all errors of a file are found in one
 * run. Memory is fixed; attributes that nobody asked for (photographs!) take none of it.
 */
#ifndef POLICY_LDIF_H
#define POLICY_LDIF_H

#include <stdint.h>

#include "base/slice.h"

enum {
	LDIF_LINE_MAX = 64 * 1024,	/* bytes of an unfolded line that is asked for */
	LDIF_ENTRY_MAX = 64 * 1024,	/* ... of all values of an entry */
	LDIF_VALUES_MAX = 256,		/* values of an entry */
	LDIF_WANTED_MAX = 16
};

struct ldif_value {
	unsigned	attribute;	/* index into what was asked for */
	struct slice	text;		/* decoded; no NUL in it; borrowed until return */
};

struct ldif_entry {
	uint64_t	 line;		/* of its dn, from 1; with an error that of the error */
	const char	*error;		/* static text, or NULL when the entry is good */
	size_t		 n;		/* values, in the order of the file; 0 with an error */
	const struct ldif_value *value;
};

/* 0 to go on; anything else stops and is returned by ldif_feed. */
typedef int ldif_fn(void *arg, const struct ldif_entry *e);

struct ldif;

/* `wanted`: n (up to LDIF_WANTED_MAX) attribute descriptions, borrowed for the parser's life,
 * compared case-blind and as a whole (`mail;lang-it` is not `mail`); NULL entries match none. */
struct ldif *ldif_new(const char *const *wanted, size_t n, ldif_fn *fn, void *arg);
void ldif_free(struct ldif **lp);

/* 0, or what the callback returned. After a stop the parser is to be freed. */
int ldif_feed(struct ldif *l, struct slice s);
/* The end of the text: what is open is an entry too, but a line without its LF is an error,
 * for the file may have been cut. */
int ldif_end(struct ldif *l);

#endif
