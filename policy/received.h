// SPDX-License-Identifier: Apache-2.0
/* Our Received field (spec 3.4, RFC 5321 4.4). Pure. */
#ifndef POLICY_RECEIVED_H
#define POLICY_RECEIVED_H

#include "base/buf.h"
#include "base/msgid.h"

struct received {
	struct msgid	id;
	int64_t		when_ms;	/* wall clock */
	struct slice	helo;		/* as given, hostile */
	struct slice	rdns;		/* confirmed name of the client, "" for none */
	struct slice	client_ip;	/* text without brackets */
	struct slice	by;		/* our name */
	struct slice	protocol;	/* ESMTPS ... */
	struct slice	tls;		/* "" for none */
	struct slice	rcpt;		/* original address, "" for no `for` clause */
};

/* Appends the folded, CRLF-ended field. 0, or -1 when over the buffer's max. */
__attribute__((warn_unused_result)) int received_put(struct buf *out, const struct received *r);

#endif
