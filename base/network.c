// SPDX-License-Identifier: Apache-2.0
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int
network_addr(struct slice s, uint8_t out[16])
{
	char text[INET6_ADDRSTRLEN];

	if (slice_cstr(s, text, sizeof(text)) != 0)
		return -1;
	if (inet_pton(AF_INET, text, out + 12) == 1) {
		memcpy(out, mapped, sizeof(mapped));
		return 0;
	}
	return inet_pton(AF_INET6, text, out) == 1 ? 0 : -1;
}

bool
network_addr_is_v4(const uint8_t addr[16])
{
	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

void
network_addr_print(const uint8_t addr[16], char out[NETWORK_TEXT])
{
	out[0] = '\0';
	if (network_addr_is_v4(addr))
		(void)inet_ntop(AF_INET, addr + 12, out, NETWORK_TEXT);
	else
		(void)inet_ntop(AF_INET6, addr, out, NETWORK_TEXT);
}

void
network_mask(uint8_t addr[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits > 8 * i ? bits - 8 * i : 0;

		if (keep < 8)
			addr[i] &= (uint8_t)(0xff00u >> keep);
	}
}

int
network_parse(struct slice s, struct network *out)
{
	size_t slash = slice_find(s, '/');
	struct slice addr = slice_sub(s, 0, slash), prefix = slice_sub(s, slash + 1, s.n);
	uint8_t masked[16];
	uint64_t bits;
	bool v4;

	if (network_addr(addr, out->addr) != 0)
		return -1;
	v4 = slice_find(addr, ':') == addr.n;
	if (slash == s.n) {
		out->bits = 128;
		return 0;
	}
	if (prefix.n > 3 || slice_u64(prefix, &bits) != 0 || bits > (v4 ? 32u : 128u))
		return -1;
	out->bits = (uint8_t)(v4 ? bits + 96 : bits);
	memcpy(masked, out->addr, sizeof(masked));
	network_mask(masked, out->bits);
	return memcmp(masked, out->addr, sizeof(masked)) == 0 ? 0 : -1;
}

void
network_print(const struct network *n, char out[NETWORK_TEXT])
{
	size_t len;
	bool v4 = network_addr_is_v4(n->addr) && n->bits >= 96;

	network_addr_print(n->addr, out);
	len = strlen(out);
	(void)snprintf(out + len, NETWORK_TEXT - len, "/%u", v4 ? n->bits - 96u : n->bits);
}

bool
network_has(const struct network *n, const uint8_t addr[16])
{
	uint8_t masked[16];

	memcpy(masked, addr, sizeof(masked));
	network_mask(masked, n->bits);
	return memcmp(masked, n->addr, sizeof(masked)) == 0;
}
