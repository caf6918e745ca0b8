// SPDX-License-Identifier: Apache-2.0
/*
 * The forward copy of a held message (spec 3): a new return path, a header block to put
 * above the bytes that were kept, and the runs of them that stay behind. Those bytes are
 * read, never copied and never changed. The recovery address is not known here, so it
 * cannot leak (P4).
 *
 * What would not survive as it is goes munged or wrapped (spec 7, policy/rewrite.h), and
 * whatever goes is signed and sealed last of all.
 */
#ifndef POLICY_FORWARD_H
#define POLICY_FORWARD_H

#include "base/conf.h"
#include "base/envelope.h"
#include "policy/rewrite.h"
#include "policy/sign.h"
#include "policy/srs.h"
#include "policy/token.h"

enum {
	FORWARD_PREFIX_MAX = 64 * 1024, FORWARD_SUFFIX_MAX = 1024,	/* octets */
	FORWARD_TAG_LEN = 32, FORWARD_TAG_MAC = 32, FORWARD_CUTS_MAX = 256
};

/* With no secret only the mode RETURN_NULL can be served; then there is no loop tag. */
struct forward_keys {
	struct srs		 srs;
	struct sign_key		*dkim;		/* NULL: copies are not signed */
	struct slice		 selector;
	struct sign_key		*arc;		/* RSA; NULL: copies are not sealed */
	struct slice		 arc_selector;
	struct sign_body	*body;		/* work space */
};

struct forward_request {
	const struct envelope		*env;
	const struct envelope_rcpt	*rcpt;
	struct slice			 content;	/* as kept */
	enum conf_return_path		 mode;
	bool				 local;		/* the sender is of a domain we serve */
	struct slice			 token;		/* of an earlier attempt, "" for a new one */
	int64_t				 now_ms;	/* wall clock */
	struct slice			 brand;		/* in From of munged copies, "" for none */
	/* How the domain wants unsurvivable mail sent, and what destinations have said so
	 * far; policy and survivable are read from the envelope. */
	struct rewrite_case		 form;
};

enum forward_result {
	FORWARD_OK,
	FORWARD_HOLD,		/* not this message, ever: copy.reason */
	FORWARD_ERROR		/* our trouble or a damaged envelope: copy.reason, for the log */
};

struct forward_copy {
	const char	*reason;		/* static text, "" when OK */
	char		 token[SRS_TOKEN_LEN + 1];	/* in the return path or, as SRS has no
							 * room for it, in ENVID; "" none */
	struct buf	 mail_from;		/* no brackets, empty for the null sender */
	struct buf	 prefix;		/* to be sent above the content */
	struct buf	 cuts;			/* to be left out of it; items of struct body_cut */
	struct buf	 suffix;		/* to be sent below it */
	const char	*form;			/* "munge", "wrap", "" as it is */
	unsigned	 receipts;		/* requests for a receipt that had to stay (2.3.10) */
	bool		 sealed;		/* it has an ARC set of ours */
};

void forward_copy_init(struct forward_copy *c);
void forward_copy_fini(struct forward_copy *c);

/* Fills `c`, which starts empty. */
enum forward_result forward_build(const struct forward_keys *k, const struct forward_request *rq,
    struct forward_copy *c);

/*
 * X-Fwd-Loop (spec 9.1) is "HASH" or "HASH TOKEN.MAC": a keyed hash of the mailbox, then, for
 * a copy with a Message-ID, the token that names the leg (policy/token.h) and a MAC that
 * binds it to mailbox and Message-ID. So a copy that came back names its original, and no
 * other message can pass for it. Releases before this made and read the first form only.
 */
enum forward_tag { FORWARD_TAG_NONE, FORWARD_TAG_OURS, FORWARD_TAG_COPY };

/* What the tags of this message say of its recipient; `leg` is set for FORWARD_TAG_COPY.
 * Reads env, rcpt and content of `rq`. */
enum forward_tag forward_tag_read(const struct forward_keys *k, const struct forward_request *rq,
    struct token_leg *leg);

/* HASH of a mailbox, lower-case hex. */
void forward_loop_tag(struct slice secret, struct slice domain, struct slice address,
    char out[FORWARD_TAG_LEN + 1]);

#endif
