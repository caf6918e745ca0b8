// SPDX-License-Identifier: Apache-2.0
/*
 * Builds the delivery notifications that we send to senders (spec 2.3, RFC 3461, 3464,
 * 6522). Whether one may be sent is policy/dsn_gate.h.
 *
 * Nothing here knows a recovery address: the request has no member for it, none for a
 * destination's reply or name, and of the envelope only what the sender himself gave is
 * used. tests/policy/dsn_test.c fills everything else with it and looks (2.1.3, 2.3.9).
 *
 * The message is 7-bit and ASCII, so that every host takes it, but for a returned
 * message that is not, and for addresses that are not.
 */
#ifndef POLICY_DSN_H
#define POLICY_DSN_H

#include "base/envelope.h"
#include "policy/sign.h"

enum {
	DSN_MAX = 512 * 1024,		/* octets of a whole notification */
	DSN_FULL_MAX = 64 * 1024,	/* content returned with RET=FULL (2.3.7) */
	DSN_HEADER_MAX = 64 * 1024,	/* header returned; cut after a field */
	DSN_TEXT_MAX = 500		/* of a reply */
};

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED };

/* Whose words request.text is. There is no value for a destination's (2.3.8). */
enum dsn_source { DSN_TEXT_OURS, DSN_TEXT_PRIMARY };

struct dsn_request {
	const struct envelope		*env;
	const struct envelope_rcpt	*rcpt;
	enum dsn_action			 action;
	struct slice			 status;	/* "5.4.7" (RFC 3463) */
	enum dsn_source			 source;
	struct slice			 text;		/* "" for none */
	struct slice			 content;	/* as kept */
	struct slice			 mta;		/* our public MX name */
	int64_t				 now_ms;	/* wall clock */
	int64_t				 retry_until_ms;	/* of DSN_DELAYED; 0: not said */
	bool				 seven_bit;	/* the next hop takes nothing else */
	struct sign_key			*key;		/* of rcpt.domain; NULL: not signed */
	struct slice			 selector;
	struct sign_body		*body;		/* work space, with a key */
};

struct dsn {
	const char	*reason;	/* static text, "" when built */
	struct buf	 message;	/* MAIL FROM:<>, RCPT TO: the envelope's mail_from */
	bool		 eightbit;	/* needs BODY=8BITMIME */
	bool		 utf8;		/* needs SMTPUTF8 */
	bool		 requiretls;	/* must be sent with REQUIRETLS (RFC 8689 5) */
	bool		 tls_optional;	/* says "TLS-Required: No", as the message did */
	bool		 full;		/* returns the whole message */
};

void dsn_init(struct dsn *d);
void dsn_fini(struct dsn *d);

/* 0, or -1 with d->reason: a damaged envelope, or a request that makes no sense. `d`
 * starts empty. */
__attribute__((warn_unused_result)) int dsn_build(const struct dsn_request *rq, struct dsn *d);

const char *dsn_action_name(enum dsn_action a);		/* RFC 3464 2.3.3 */

#endif
