// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void
buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

void
buf_clear(struct buf *b)
{
	b->off = b->n = 0;
}

size_t
buf_len(const struct buf *b)
{
	return b->n - b->off;
}

struct slice
buf_slice(const struct buf *b)
{
	return slice_make(b->p == NULL ? "" : b->p + b->off, buf_len(b));
}

/* Moving the live bytes down is cheaper than growing while they are few. */
static void
make_room(struct buf *b, size_t n)
{
	if (b->cap - b->n >= n)
		return;
	if (b->off > 0) {
		memmove(b->p, b->p + b->off, buf_len(b));
		b->n -= b->off;
		b->off = 0;
	}
	if (b->cap - b->n >= n)
		return;
	size_t cap = b->cap < 128 ? 128 : b->cap;
	while (cap < b->n + n)
		cap *= 2;
	if (cap > b->max)
		cap = b->max < b->n + n ? b->n + n : b->max;
	b->p = mem_resize(b->p, cap, 1);
	b->cap = cap;
}

char *
buf_reserve(struct buf *b, size_t n)
{
	size_t total;

	if (__builtin_add_overflow(buf_len(b), n, &total) || total > b->max)
		return NULL;
	if (n == 0)
		n = 1;
	make_room(b, n);
	return b->p + b->n;
}

void
buf_commit(struct buf *b, size_t n)
{
	CHECK(n <= b->cap - b->n);
	b->n += n;
}

int
buf_put(struct buf *b, const void *p, size_t n)
{
	char *at = buf_reserve(b, n);

	if (at == NULL)
		return -1;
	if (n > 0)
		memcpy(at, p, n);
	b->n += n;
	return 0;
}

int
buf_put_slice(struct buf *b, struct slice s)
{
	return buf_put(b, s.p, s.n);
}

int
buf_puts(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	/* One byte more for the NUL that vsnprintf insists on; it is not kept. */
	char *at = NULL;
	if (n >= 0 && buf_len(b) + (size_t)n <= b->max) {
		make_room(b, (size_t)n + 1);
		at = b->p + b->n;
		vsnprintf(at, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
	return at == NULL ? -1 : 0;
}

void
buf_drop(struct buf *b, size_t n)
{
	CHECK(n <= buf_len(b));
	b->off += n;
	if (b->off == b->n)
		b->off = b->n = 0;
}
