// SPDX-License-Identifier: Apache-2.0
#include "base/wire.h"

#include "base/le.h"
#include "base/mem.h"

static int
put_int(struct buf *out, uint64_t v, size_t width, uint64_t max)
{
	uint8_t le[8];

	if (v > max)
		return -1;
	le_put(le, v, (unsigned)width);
	return buf_put(out, le, width);
}

static int
get_int(struct slice *in, size_t width, uint64_t max, uint64_t *v)
{
	if (in->n < width)
		return -1;
	*v = le_get((const uint8_t *)in->p, (unsigned)width);
	in->p += width;
	in->n -= width;
	return *v > max ? -1 : 0;
}

static int
put_field(struct buf *out, const struct wire_field *f, const char *at)
{
	struct slice s;

	switch (f->type) {
	case WIRE_T_U8:
		return put_int(out, *(const uint8_t *)at, 1, f->max);
	case WIRE_T_U16:
		return put_int(out, *(const uint16_t *)(const void *)at, 2, f->max);
	case WIRE_T_U32:
		return put_int(out, *(const uint32_t *)(const void *)at, 4, f->max);
	case WIRE_T_U64:
		return put_int(out, *(const uint64_t *)(const void *)at, 8, f->max);
	case WIRE_T_RAW:
		return buf_put(out, at, f->max);
	case WIRE_T_STR:
		s = *(const struct slice *)(const void *)at;
		if (put_int(out, s.n, 4, f->max < UINT32_MAX ? f->max : UINT32_MAX) != 0)
			return -1;
		return buf_put_slice(out, s);
	}
	mem_bug("wire type", f->name, 0);
}

int
wire_put(struct buf *out, const struct wire_desc *d, const void *msg)
{
	size_t mark = buf_len(out);

	for (size_t i = 0; i < d->nfield; i++)
		if (put_field(out, &d->field[i], (const char *)msg + d->field[i].off) != 0) {
			out->n = out->off + mark;
			return -1;
		}
	return 0;
}

static int
get_field(struct slice *in, const struct wire_field *f, char *at)
{
	uint64_t v = 0;

	switch (f->type) {
	case WIRE_T_U8:
		if (get_int(in, 1, f->max, &v) != 0)
			return -1;
		*(uint8_t *)at = (uint8_t)v;
		return 0;
	case WIRE_T_U16:
		if (get_int(in, 2, f->max, &v) != 0)
			return -1;
		*(uint16_t *)(void *)at = (uint16_t)v;
		return 0;
	case WIRE_T_U32:
		if (get_int(in, 4, f->max, &v) != 0)
			return -1;
		*(uint32_t *)(void *)at = (uint32_t)v;
		return 0;
	case WIRE_T_U64:
		if (get_int(in, 8, f->max, &v) != 0)
			return -1;
		*(uint64_t *)(void *)at = v;
		return 0;
	case WIRE_T_RAW:
		v = f->max;
		if (in->n < v)
			return -1;
		memcpy(at, in->p, v);
		break;
	case WIRE_T_STR:
		if (get_int(in, 4, f->max, &v) != 0 || in->n < v)
			return -1;
		*(struct slice *)(void *)at = slice_make(in->p, v);
		break;
	}
	in->p += v;
	in->n -= v;
	return 0;
}

int
wire_get(struct slice in, const struct wire_desc *d, void *msg)
{
	memset(msg, 0, d->size);
	for (size_t i = 0; i < d->nfield; i++)
		if (get_field(&in, &d->field[i], (char *)msg + d->field[i].off) != 0)
			return -1;
	return in.n == 0 ? 0 : -1;
}

int
wire_item_put(struct buf *out, const struct wire_desc *d, const void *item)
{
	size_t mark = buf_len(out);

	if (put_int(out, 0, 4, 0) != 0)
		return -1;
	if (wire_put(out, d, item) != 0) {
		out->n = out->off + mark;
		return -1;
	}
	size_t len = buf_len(out) - mark - 4;
	le_put((uint8_t *)out->p + out->off + mark, len, 4);
	return 0;
}

int
wire_item_next(struct slice *list, const struct wire_desc *d, void *item)
{
	uint64_t len;

	if (list->n == 0)
		return 0;
	if (get_int(list, 4, UINT32_MAX, &len) != 0 || list->n < len)
		return -1;
	if (wire_get(slice_make(list->p, len), d, item) != 0)
		return -1;
	list->p += len;
	list->n -= len;
	return 1;
}
