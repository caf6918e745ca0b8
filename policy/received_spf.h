// SPDX-License-Identifier: Apache-2.0
/* The optional Received-SPF field (RFC 7208 9.1, spec 4.4). Pure. */
#ifndef POLICY_RECEIVED_SPF_H
#define POLICY_RECEIVED_SPF_H

#include "base/buf.h"
#include "base/envelope.h"

struct received_spf {
	enum auth_result result;
	bool		helo;		/* identity=helo, of a null sender */
	struct slice	client_ip;	/* text */
	struct slice	envelope_from;	/* "" null */
	struct slice	helo_name;
	struct slice	receiver;
};

/* Appends the folded, CRLF-ended field; values of the network that no quoted string can
 * carry are left out. 0, or -1 when over the buffer's max. */
__attribute__((warn_unused_result)) int received_spf_put(struct buf *out,
    const struct received_spf *r);

#endif
