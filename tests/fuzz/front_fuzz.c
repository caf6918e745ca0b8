// SPDX-License-Identifier: Apache-2.0
/*
 * What a front says of its client: a PROXY header (either version) and the arguments of
 * XCLIENT. An address that comes out can be read back; a header is decided by its own bytes,
 * however they arrive and whatever follows them.
 */
#include <arpa/inet.h>
#include <stdint.h>

#include "base/mem.h"
#include "relay/proxy.h"
#include "relay/smtp_xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_address(const char *text)
{
	uint8_t addr[16];
	char again[NETWORK_TEXT];

	CHECK(network_addr(slice_str(text), addr) == 0);
	network_addr_print(addr, again);
	CHECK(strcmp(again, text) == 0);
}

static void
check_proxy(struct slice in)
{
	char ip[INET6_ADDRSTRLEN], other[INET6_ADDRSTRLEN];
	size_t used, part;
	enum proxy_result r = proxy_parse(in, &used, ip), first = PROXY_MORE;

	CHECK(used <= in.n && used <= PROXY_V2_MAX);
	CHECK((r == PROXY_CLIENT) == (ip[0] != '\0'));
	CHECK((used > 0) == (r == PROXY_CLIENT || r == PROXY_LOCAL));
	CHECK(r != PROXY_MORE || in.n < PROXY_V2_MAX);
	if (r == PROXY_CLIENT)
		check_address(ip);
	for (size_t n = 0; n < in.n && first == PROXY_MORE; n++)
		first = proxy_parse(slice_sub(in, 0, n), &part, other);
	if (first == PROXY_MORE)
		return;
	/* decided before its end: the rest changed nothing */
	CHECK(first == r && part == used && strcmp(ip, other) == 0);
}

static void
check_xclient(struct slice args)
{
	struct smtp_xclient x = { .proto = SMTP_XPROTO_NONE };

	if (smtp_xclient_parse(args, &x) != 0)
		return;
	CHECK(x.proto <= SMTP_XPROTO_ESMTP);
	if (x.has_addr && x.addr[0] != '\0')
		check_address(x.addr);
	for (const char *p = x.helo; *p != '\0'; p++)
		CHECK((unsigned char)*p >= ' ' && *p != 0x7f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);

	if (size == 0)
		return 0;
	if (data[0] == 'X')
		check_xclient(slice_sub(in, 1, in.n));
	else
		check_proxy(in);
	return 0;
}
