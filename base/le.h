// SPDX-License-Identifier: Apache-2.0
/* Little-endian integers of 1 to 8 bytes in files of ours. */
#ifndef BASE_LE_H
#define BASE_LE_H

#include <stdint.h>

/* The low bytes of v; returns the place behind them. */
static inline uint8_t *
le_put(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
	return p + bytes;
}

static inline uint64_t
le_get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

#endif
