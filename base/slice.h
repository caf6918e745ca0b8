// SPDX-License-Identifier: Apache-2.0
/*
 * A run of bytes that somebody else owns. Mail is bytes: expect NUL, 8-bit
 * and text without an end. A slice never owns and never ends in NUL by itself.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char	*p;	/* borrowed; may be NULL when n is 0 */
	size_t		 n;	/* bytes */
};

#define SLICE_NONE	((struct slice){ NULL, 0 })
#define SLICE_LIT(s)	((struct slice){ (s), sizeof(s) - 1 })
#define SLICE_FMT(s)	(int)(s).n, (s).n == 0 ? "" : (s).p	/* for "%.*s" */

static inline struct slice
slice_make(const void *p, size_t n)
{
	return (struct slice){ p, n };
}

static inline struct slice
slice_str(const char *s)
{
	return (struct slice){ s, s == NULL ? 0 : strlen(s) };
}

/* Byte-wise and ASCII-case-blind comparison. */
bool slice_eq(struct slice a, struct slice b);
bool slice_ieq(struct slice a, struct slice b);
bool slice_istarts(struct slice s, struct slice prefix);

/* Index of the first/last byte `c`, or s.n when there is none. */
size_t slice_find(struct slice s, char c);
size_t slice_rfind(struct slice s, char c);

/* The part from `from` to before `to`; both are cut to the slice. */
struct slice slice_sub(struct slice s, size_t from, size_t to);

/* Without leading and trailing SP, HTAB, CR, LF. */
struct slice slice_trim(struct slice s);

/* Decimal digits only, the whole slice, no overflow. 0 or -1. */
int slice_u64(struct slice s, uint64_t *out);

/* A NUL-terminated copy, owned by the caller; NUL bytes inside are kept. */
char *slice_dup(struct slice s);

/*
 * Copies into `out` with a closing NUL. -1 when it does not fit or a NUL byte
 * is inside (a C string could not carry it); `out` is then "".
 */
int slice_cstr(struct slice s, char *out, size_t cap);

/* ASCII lower case in place. */
void bytes_lower(char *p, size_t n);
char ascii_lower(char c);

#endif
