// SPDX-License-Identifier: Apache-2.0
/*
 * The notice that a user gets before the first copy of an outage (spec 12.3): who writes and
 * why, what happens to the mail, how to stop it. In the user's language, or in Italian and
 * English. It goes from and is signed by the return-path domain; it has our loop tag (9.1), so
 * it is held and never forwarded should it come back. The recovery address is not known here
 * and not in it (P4).
 *
 * List-Unsubscribe has the mailto form (RFC 2369, policy/stop.h). List-Unsubscribe-Post (RFC
 * 8058) is for the HTTPS form, which there is not yet.
 */
#ifndef POLICY_USER_NOTICE_H
#define POLICY_USER_NOTICE_H

#include "base/conf.h"
#include "policy/forward.h"
#include "policy/notice_template.h"
#include "policy/stop.h"

enum { USER_NOTICE_MAX = 512 * 1024 };	/* octets of a finished one */

struct user_notice_request {
	struct slice		 user;		/* address, as the directory writes it */
	struct slice		 domain;	/* served */
	struct slice		 brand, status_page;	/* "" none */
	struct slice		 language;	/* the directory's, "" none */
	enum conf_notice_language fallback;	/* when that is none of ours */
	struct stop		 stop;
	struct token_leg	 leg;		/* that waits for it */
	bool			 null_path;	/* return-path = null */
	int64_t			 now_ms, since_ms;	/* wall clock; of the outage */
};

struct user_notice {
	struct buf	 message, mail_from;	/* mail_from "" null, no brackets */
	char		 token[SRS_TOKEN_LEN + 1];	/* in mail_from, "" none */
};

void user_notice_init(struct user_notice *n);
void user_notice_fini(struct user_notice *n);

/* `text` are checked templates, by language. 0, or -1: it cannot be built (no secret, or an
 * address that fits no header). */
int user_notice_build(const struct forward_keys *k, const struct slice text[NOTICE_LANGUAGES],
    const struct user_notice_request *rq, struct user_notice *n);

#endif
