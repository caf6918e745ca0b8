// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses and paths of RFC 5321 4.1.2: one strict parser for envelope paths, used
 * by everyone. Pure.
 */
#ifndef POLICY_ADDRESS_H
#define POLICY_ADDRESS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum { ADDRESS_LOCAL_MAX = 64, ADDRESS_DOMAIN_MAX = 255, ADDRESS_PATH_MAX = 256 };

struct address {
	struct slice	local;		/* as written, quotes kept; borrowed */
	struct slice	domain;		/* as written, "[1.2.3.4]" for a literal; "" for none */
	bool		quoted;		/* local is a quoted string */
	bool		literal;	/* domain is an address literal */
	bool		utf8;		/* octets > 127: needs SMTPUTF8 */
};

/* A mailbox: local@domain. 0, or -1 when it is not valid RFC 5321 (with utf8: RFC
 * 6531). A bare local part is accepted for "postmaster" only. */
int address_parse(struct slice s, bool allow_utf8, struct address *out);

/*
 * The path argument of MAIL FROM: or RCPT TO: at the start of `s`: "<...>" with a source
 * route dropped (RFC 5321 4.1.1.3 C), "<>" as an empty address. Spaces before it are
 * passed over, as many clients send "MAIL FROM: <...>". *rest is what follows
 * (parameters, trimmed left). 0 or -1.
 */
int address_path(struct slice s, bool allow_utf8, struct address *out, struct slice *mailbox,
    struct slice *rest);

/* A host name: labels of letters, digits, hyphen (underscore allowed), <= 255. */
bool address_domain_valid(struct slice d);
/* Lower-case A-label form (libidn2), without a last dot; 0 or -1. Not for literals. */
int address_domain_canonical(struct slice d, char *out, size_t cap);
/* The local part without quotes and escapes. 0 or -1 when over the buffer. */
int address_unquote(struct slice local, struct buf *out);
/* Quotes it if it needs to be. -1 when over the buffer or when a control octet is inside,
 * which no quoting could carry. */
int address_quote(struct slice local, struct buf *out);

#endif
