// SPDX-License-Identifier: Apache-2.0
#include "relay/proxy.h"

#include <arpa/inet.h>

#include "base/network.h"

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum {	/* version 2 */
	V2_HEAD		= 16,
	V2_LOCAL	= 0x20,		/* version and command */
	V2_PROXY	= 0x21,
	V2_TCP4		= 0x11,		/* family and transport */
	V2_UDP4		= 0x12,
	V2_TCP6		= 0x21,
	V2_UDP6		= 0x22,
	V2_UNIX		= 0x31,
	V2_UNIX_DGRAM	= 0x32
};

static void
proxy_address(const uint8_t addr[16], char ip[INET6_ADDRSTRLEN])
{
	char text[NETWORK_TEXT];

	network_addr_print(addr, text);
	(void)slice_cstr(slice_str(text), ip, INET6_ADDRSTRLEN);
}

static bool
v1_port(struct slice s)
{
	uint64_t v;

	/* No leading zeros, says the specification. */
	return s.n > 0 && s.n <= 5 && slice_u64(s, &v) == 0 && v <= 65535 &&
	    (s.n == 1 || s.p[0] != '0');
}

static struct slice
v1_word(struct slice *s)
{
	struct slice word = slice_sub(*s, 0, slice_find(*s, ' '));

	*s = slice_sub(*s, word.n + 1, s->n);
	return word;
}

/* "PROXY TCP4 source destination sport dport", one space each. */
static enum proxy_result
v1_parse(struct slice line, char ip[INET6_ADDRSTRLEN])
{
	struct slice rest = slice_sub(line, 6, line.n);
	struct slice family = v1_word(&rest), source = v1_word(&rest), to = v1_word(&rest);
	struct slice sport = v1_word(&rest), dport = rest;
	bool v4 = slice_eq(family, SLICE_LIT("TCP4"));
	uint8_t a[16], b[16];

	if (slice_eq(family, SLICE_LIT("UNKNOWN")))
		return PROXY_LOCAL;	/* whatever follows it */
	if ((!v4 && !slice_eq(family, SLICE_LIT("TCP6"))) || !v1_port(sport) ||
	    !v1_port(dport) || network_addr(source, a) != 0 || network_addr(to, b) != 0)
		return PROXY_BAD;
	if (v4 != (slice_find(source, ':') == source.n) || v4 != (slice_find(to, ':') == to.n))
		return PROXY_BAD;
	proxy_address(a, ip);
	return PROXY_CLIENT;
}

/* UDP and unix sockets are no clients of ours; the specification has receivers that do not
 * know them take them for unspecified. */
static bool
v2_unspecified(uint8_t family)
{
	return family == 0 || family == V2_UDP4 || family == V2_UDP6 || family == V2_UNIX ||
	    family == V2_UNIX_DGRAM;
}

static enum proxy_result
v2_parse(struct slice in, size_t *used, char ip[INET6_ADDRSTRLEN])
{
	const uint8_t *p = (const uint8_t *)in.p;
	uint8_t addr[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	size_t len;

	if (in.n < V2_HEAD)
		return PROXY_MORE;
	len = (size_t)p[14] << 8 | p[15];
	if ((p[12] != V2_LOCAL && p[12] != V2_PROXY) || V2_HEAD + len > PROXY_V2_MAX)
		return PROXY_BAD;
	if (in.n < V2_HEAD + len)
		return PROXY_MORE;
	if (p[12] == V2_PROXY && p[13] == V2_TCP4 && len >= 12)
		memcpy(addr + 12, p + V2_HEAD, 4);
	else if (p[12] == V2_PROXY && p[13] == V2_TCP6 && len >= 36)
		memcpy(addr, p + V2_HEAD, 16);
	else if (p[12] == V2_PROXY && !v2_unspecified(p[13]))
		return PROXY_BAD;
	*used = V2_HEAD + len;
	if (p[12] == V2_LOCAL || v2_unspecified(p[13]))
		return PROXY_LOCAL;
	proxy_address(addr, ip);
	return PROXY_CLIENT;
}

static bool
begins(struct slice in, const char *s, size_t n)
{
	return memcmp(in.p, s, in.n < n ? in.n : n) == 0;
}

enum proxy_result
proxy_parse(struct slice in, size_t *used, char ip[INET6_ADDRSTRLEN])
{
	enum proxy_result r;
	const char *end;

	*used = 0;
	ip[0] = '\0';
	if (in.n == 0)
		return PROXY_MORE;
	if (begins(in, signature, sizeof(signature)))
		return v2_parse(in, used, ip);
	if (!begins(in, "PROXY ", 6))
		return PROXY_BAD;
	end = memmem(in.p, in.n < PROXY_V1_MAX ? in.n : PROXY_V1_MAX, "\r\n", 2);
	if (end == NULL)
		return in.n < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
	r = v1_parse(slice_make(in.p, (size_t)(end - in.p)), ip);
	if (r != PROXY_BAD)
		*used = (size_t)(end - in.p) + 2;
	return r;
}
