// SPDX-License-Identifier: Apache-2.0
#include "base/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { ROWS_SLOTS_MIN = 64 };

void
rows_init(struct rows *t, const struct rows_kind *kind)
{
	*t = (struct rows){ .kind = kind, .slots = ROWS_SLOTS_MIN };
	t->row = mem_array(t->slots, kind->size);
}

void
rows_fini(struct rows *t)
{
	free(t->row);
	*t = (struct rows){ .kind = t->kind };
}

static void *
slot(const struct rows *t, size_t i)
{
	return t->row + (i & (t->slots - 1)) * t->kind->size;
}

/* The slot that holds its key, or the free one where it would go. */
static void *
place(const struct rows *t, const void *like)
{
	for (size_t i = (size_t)t->kind->home(like);; i++) {
		void *at = slot(t, i);

		if (!t->kind->used(at) || t->kind->same(at, like))
			return at;
	}
}

static void
grow(struct rows *t)
{
	char *old = t->row;
	size_t n = t->slots, size = t->kind->size;

	t->slots *= 2;
	t->row = mem_array(t->slots, size);
	for (size_t i = 0; i < n; i++)
		if (t->kind->used(old + i * size))
			memcpy(place(t, old + i * size), old + i * size, size);
	free(old);
}

void *
rows_find(const struct rows *t, const void *like)
{
	void *at = place(t, like);

	return t->kind->used(at) ? at : NULL;
}

void
rows_put(struct rows *t, const void *row)
{
	void *at = place(t, row);

	if (!t->kind->used(at)) {
		if (((size_t)t->n + 1) * 2 > t->slots) {
			grow(t);
			at = place(t, row);
		}
		t->n++;
	}
	memcpy(at, row, t->kind->size);
}

void
rows_remove(struct rows *t, void *row)
{
	size_t i = (size_t)((char *)row - t->row) / t->kind->size, j = i, mask = t->slots - 1;

	t->n--;
	memset(row, 0, t->kind->size);
	for (;;) {	/* those behind it must still be found from their homes */
		j = (j + 1) & mask;
		if (!t->kind->used(slot(t, j)))
			return;
		size_t home = (size_t)t->kind->home(slot(t, j)) & mask;
		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		memcpy(slot(t, i), slot(t, j), t->kind->size);
		memset(slot(t, j), 0, t->kind->size);
		i = j;
	}
}

void *
rows_at(const struct rows *t, size_t i)
{
	void *at = slot(t, i);

	return t->kind->used(at) ? at : NULL;
}
