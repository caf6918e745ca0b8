// SPDX-License-Identifier: Apache-2.0
/*
 * How Postfix asks another program about a key: socketmap_table(5) (netstrings "map key")
 * and tcp_table(5) (lines "get key" with %xx). The first octet of a request tells which:
 * a netstring begins with a digit. Pure; requests are hostile octets of bounded length.
 */
#ifndef RELAY_ROUTING_PROTO_H
#define RELAY_ROUTING_PROTO_H

#include <sys/types.h>

#include "base/buf.h"

enum {
	ROUTING_KEY_MAX	= 512,		/* octets of a key, decoded: an address has at most 320 */
	ROUTING_REQUEST_MAX = 4 + 3 * ROUTING_KEY_MAX + 2	/* "get ", all of it as %xx, CR LF */
};

struct routing_query {
	bool	netstring;		/* the answer goes out the same way */
	bool	known;			/* false: a request that is none of ours, as "put" */
	size_t	n;
	char	key[ROUTING_KEY_MAX];	/* decoded */
};

/* The octets that the first request in `in` takes, with *q set; 0: more are needed; -1: not a
 * request, or a longer one than any can be: the connection is of no more use. */
ssize_t routing_parse(struct slice in, struct routing_query *q);

enum routing_verdict { ROUTING_HERE, ROUTING_ELSEWHERE, ROUTING_UNKNOWN, ROUTING_WRONG };

/* The answer to q: `where` for HERE, words for people otherwise. 0, or -1: no room. */
int routing_reply(struct buf *out, const struct routing_query *q, enum routing_verdict v,
    const char *where);

#endif
