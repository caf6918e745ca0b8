// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void
mem_bug(const char *what, const char *file, int line)
{
	fprintf(stderr, "bug: %s at %s:%d\n", what, file, line);
	abort();
}

void *
mem_new(size_t n)
{
	return mem_array(1, n);
}

void *
mem_array(size_t count, size_t size)
{
	void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
	CHECK(p != NULL);
	return p;
}

void *
mem_resize(void *p, size_t count, size_t size)
{
	void *q = reallocarray(p, count == 0 ? 1 : count, size == 0 ? 1 : size);
	CHECK(q != NULL);
	return q;
}

char *
mem_str(const char *s)
{
	if (s == NULL)
		return NULL;
	char *p = strdup(s);
	CHECK(p != NULL);
	return p;
}
