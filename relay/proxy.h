// SPDX-License-Identifier: Apache-2.0
/*
 * The header a front server puts before a connection to say who the client is: PROXY
 * protocol version 1 (text) and 2 (binary). Whether the front may be believed is the
 * caller's business. Pure.
 */
#ifndef RELAY_PROXY_H
#define RELAY_PROXY_H

#include <netinet/in.h>

#include "base/slice.h"

enum {
	PROXY_V1_MAX	= 107,		/* with its CRLF */
	PROXY_V2_MAX	= 16 + 4096	/* with its TLVs; the largest seen in use is far less */
};

enum proxy_result {
	PROXY_MORE,	/* not all of it is there */
	PROXY_BAD,	/* not a PROXY header, or a broken one */
	PROXY_LOCAL,	/* the front speaks for itself (health check), or does not know */
	PROXY_CLIENT	/* `ip` is set */
};

/* The header at the start of `in`, whose length goes to *used unless PROXY_MORE or _BAD. An
 * IPv4 address mapped into IPv6 comes out as IPv4. */
enum proxy_result proxy_parse(struct slice in, size_t *used, char ip[INET6_ADDRSTRLEN]);

#endif
