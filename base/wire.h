// SPDX-License-Identifier: Apache-2.0
/*
 * The one codec of everything that crosses a process border or lands on disk
 * as a structure: a struct of integers and slices, described by a table of
 * its fields. Decoding checks every length against the table and the bytes at
 * hand; a value out of range is an error, never a cut value. Decoded slices
 * are borrowed from the bytes given.
 *
 * Format: fields in table order; integers little-endian; a slice is u32 length
 * then bytes. A decoder accepts no trailing bytes, so a struct that lives on
 * disk carries a version in its first field.
 *
 *	struct ping { uint64_t req; struct slice text; };
 *	static const struct wire_field ping_f[] = {
 *		WIRE_U64(struct ping, req),
 *		WIRE_STR(struct ping, text, 255),
 *	};
 *	const struct wire_desc ping_wire = WIRE_DESC("ping", struct ping, ping_f);
 *
 * A list of structs travels as one slice made of items, each u32 length and
 * the item's encoding: wire_item_put to build, wire_item_next to walk.
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum wire_type { WIRE_T_U8, WIRE_T_U16, WIRE_T_U32, WIRE_T_U64, WIRE_T_STR, WIRE_T_RAW };

struct wire_field {
	const char	*name;
	enum wire_type	 type;
	uint32_t	 off;	/* offset of the member */
	uint64_t	 max;	/* largest value; bytes for STR (slice) and RAW (array) */
};

struct wire_desc {
	const char		*name;
	const struct wire_field	*field;
	size_t			 nfield;
	size_t			 size;	/* of the struct; decode zeroes it first */
};

#define WIRE_U8(T, m, mx)  { #m, WIRE_T_U8, offsetof(T, m), (mx) }	/* uint8_t or bool-like */
#define WIRE_U16(T, m, mx) { #m, WIRE_T_U16, offsetof(T, m), (mx) }
#define WIRE_U32(T, m, mx) { #m, WIRE_T_U32, offsetof(T, m), (mx) }
#define WIRE_U64(T, m)     { #m, WIRE_T_U64, offsetof(T, m), UINT64_MAX }
#define WIRE_STR(T, m, mx) { #m, WIRE_T_STR, offsetof(T, m), (mx) }	/* struct slice */
#define WIRE_RAW(T, m)     { #m, WIRE_T_RAW, offsetof(T, m), sizeof(((T *)0)->m) } /* uint8_t[] */
#define WIRE_DESC(nm, T, f) { (nm), (f), sizeof(f) / sizeof((f)[0]), sizeof(T) }

/* Appends the encoding. -1 when over the buffer's max or a field is over its. */
int wire_put(struct buf *out, const struct wire_desc *d, const void *msg);
/* 0, or -1 when the bytes are not exactly one such struct. */
int wire_get(struct slice in, const struct wire_desc *d, void *msg);

int wire_item_put(struct buf *out, const struct wire_desc *d, const void *item);
/* 1 an item was decoded, 0 at the end, -1 malformed. Moves *list forward. */
int wire_item_next(struct slice *list, const struct wire_desc *d, void *item);

#endif
