// SPDX-License-Identifier: Apache-2.0
/*
 * The growable buffer: live bytes at p[off..n), at most `max` of them. Running
 * into max is an ordinary result (-1, buffer unchanged), never a crash; what
 * the caller says to the peer about it is the caller's business.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
	char	*p;	/* owned */
	size_t	 off;	/* first live byte */
	size_t	 n;	/* end of live bytes */
	size_t	 cap;	/* bytes allocated */
	size_t	 max;	/* most live bytes, set at init */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);			/* frees; b is empty again */
void buf_clear(struct buf *b);			/* keeps the memory */

__attribute__((warn_unused_result)) int buf_put(struct buf *b, const void *p, size_t n);
__attribute__((warn_unused_result)) int buf_put_slice(struct buf *b, struct slice s);
__attribute__((warn_unused_result)) int buf_puts(struct buf *b, const char *s);
__attribute__((warn_unused_result)) int buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for `n` more bytes to be written at the returned place, NULL if over
 * max; then tell how many were written with buf_commit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_drop(struct buf *b, size_t n);		/* consume from the front */
struct slice buf_slice(const struct buf *b);	/* borrowed until the next put */
size_t buf_len(const struct buf *b);

#endif
