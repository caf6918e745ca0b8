// SPDX-License-Identifier: Apache-2.0
/*
 * Forward copies of messages that would not survive as they are (spec 7): `munge` puts
 * our address into From and keeps the rest, `wrap` sends the untouched message inside
 * one of ours. The hold copy stays what it is (7.7).
 *
 * Either way the copy is: prefix, the content without the cuts, suffix; the shape of
 * struct seal_prepared. The content is read, never copied and never changed, and the
 * recovery address is not known here. Signing is left to the caller, last of all
 * (spec 5.2): our DKIM-Signature covers what these make.
 *
 * How a caller puts the copy together: above the prefix goes what forward copies carry
 * there (spec 3.3); with `wrap`, only the fields that are about the copy (X-Fwd-Loop,
 * Delivered-To, X-Forwarded-For), not those that tell of the original's way. The first
 * copy->header octets of the prefix are fields of the message: with munge all of it, and
 * the content's header goes on below; with wrap the rest of the prefix is body.
 */
#ifndef POLICY_REWRITE_H
#define POLICY_REWRITE_H

#include "base/envelope.h"
#include "policy/dmarc_record.h"

enum {
	REWRITE_PREFIX_MAX = 32 * 1024,	/* leaves room for the caller's in 64 KiB */
	REWRITE_FROM_MAX = 8 * 1024,	/* octets of a From value that can be moved */
	REWRITE_BRAND_MAX = 64,		/* octets; a longer one is cut */
	REWRITE_CUTS_MAX = 256		/* runs, as FORWARD_CUTS_MAX */
};

struct rewrite_request {
	const struct envelope		*env;
	const struct envelope_rcpt	*rcpt;
	struct slice			 content;	/* as kept */
	struct slice			 domain;	/* return-path domain */
	struct slice			 brand;		/* provider's name, UTF-8; "": domain */
	struct slice			 token;		/* of this leg, "" for none */
	int64_t				 now_ms;	/* wall clock */
};

enum rewrite_result {
	REWRITE_OK,
	REWRITE_HOLD,		/* not this message, ever: copy.reason */
	REWRITE_ERROR		/* a damaged envelope, or our configuration: copy.reason */
};

struct rewrite_copy {
	const char	*reason;	/* static text, "" when OK */
	struct buf	 prefix;	/* above the content */
	size_t		 header;	/* octets of it that are header fields */
	struct buf	 cuts;		/* items of struct body_cut, the envelope's included */
	struct buf	 suffix;	/* below the content */
	bool		 eightbit;	/* needs BODY=8BITMIME */
	bool		 utf8;		/* needs SMTPUTF8, whatever its addresses are */
};

void rewrite_copy_init(struct rewrite_copy *c);
void rewrite_copy_fini(struct rewrite_copy *c);

/* `c` starts empty. Both look at the envelope's verdicts themselves (7.4). */
enum rewrite_result rewrite_munge(const struct rewrite_request *rq, struct rewrite_copy *c);
enum rewrite_result rewrite_wrap(const struct rewrite_request *rq, struct rewrite_copy *c);

/* --- which form a copy takes (7.2, 7.3, 7.5, 7.6, 8.5) --- */

enum rewrite_mode {	/* `unsurvivable` of a domain */
	REWRITE_AUTO, REWRITE_MUNGE, REWRITE_WRAP, REWRITE_TRY, REWRITE_NEVER
};

enum rewrite_refusal { REWRITE_NOT_REFUSED, REWRITE_REFUSED_AUTH, REWRITE_REFUSED_STRUCTURE };

enum rewrite_form { REWRITE_AS_IS, REWRITE_AS_MUNGE, REWRITE_AS_WRAP, REWRITE_NOT_AT_ALL };

struct rewrite_case {
	enum rewrite_mode	mode;
	enum dmarc_policy	policy;		/* published for the author domain */
	bool			survivable;	/* an aligned DKIM signature passed (7.1) */
	bool			marked;		/* destination and author domain, for 24 h (7.5) */
	unsigned		auth_refusals;	/* by this provider in the last 24 h ... */
	bool			accepted;	/* ... and one at least was accepted */
	enum rewrite_refusal	refusal;	/* of this message by this destination */
	bool			transformed;	/* it was in another form already */
};

enum rewrite_form rewrite_choose(const struct envelope *env, const struct rewrite_case *c);

#endif
