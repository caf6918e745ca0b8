// SPDX-License-Identifier: Apache-2.0
/* Networks as "192.0.2.0/24" or "2001:db8::/32", and whether an address is in one. IPv4
 * addresses and those mapped into IPv6 are the same. Pure. */
#ifndef BASE_NETWORK_H
#define BASE_NETWORK_H

#include <stdbool.h>

#include "base/slice.h"

struct network {
	uint8_t	 addr[16];	/* IPv4 as ::ffff:a.b.c.d */
	uint8_t	 bits;		/* 0..128 of addr; an IPv4 /24 is 120 */
};

enum { NETWORK_TEXT = 56 /* with the closing NUL */ };

/* An address alone is a network of one. -1: not one, or bits beyond the prefix are set,
 * which is a slip of the pen more often than not. */
int network_parse(struct slice s, struct network *out);
void network_print(const struct network *n, char out[NETWORK_TEXT]);

/* An address without prefix or brackets. 0 or -1. */
int network_addr(struct slice s, uint8_t out[16]);
bool network_addr_is_v4(const uint8_t addr[16]);
void network_addr_print(const uint8_t addr[16], char out[NETWORK_TEXT]);
/* Clears all but the first `bits`. */
void network_mask(uint8_t addr[16], unsigned bits);

bool network_has(const struct network *n, const uint8_t addr[16]);

#endif
