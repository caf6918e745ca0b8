// SPDX-License-Identifier: Apache-2.0
/* What munge (rewrite.c) and wrap (rewrite_wrap.c) have in common. */
#ifndef POLICY_REWRITE_PRIV_H
#define POLICY_REWRITE_PRIV_H

#include "policy/mailbox.h"
#include "policy/rewrite.h"

enum {
	REWRITE_FIELDS = 6,	/* names that munge adds or takes away */
	REWRITE_LINE_LONG = 960	/* octets; longer name and all they may pass 998 */
};

/* Runs of the content, ascending, none touching the next. */
struct rewrite_cuts {
	struct body_cut	run[REWRITE_CUTS_MAX];
	size_t		n;
	bool		full;		/* there were more */
};

/* What one walk over the header found. */
struct rewrite_scan {
	const struct rewrite_request *rq;
	struct rewrite_cuts	env;		/* those that came with the envelope */
	size_t		at;		/* index of the next of them, while walking */
	bool		odd;		/* one goes through a field */
	unsigned	occurs[REWRITE_FIELDS];
	struct slice	from;		/* value of the first From */
	struct slice	subject;	/* of the first Subject */
};

/* "" or the reason why neither can be made. */
const char *rewrite_check(const struct rewrite_request *rq);
/* 0, or -1 when the envelope's cuts are not what the queue could have stored. */
int rewrite_scan(struct rewrite_scan *s, const struct rewrite_request *rq);
/* The provider's name; borrowed from `t`. */
struct slice rewrite_brand(const struct rewrite_request *rq, struct mime_text *t);
/* Who wrote it, for people; false when that cannot be told. */
bool rewrite_author(const struct rewrite_scan *s, struct mailbox *m);
/* Leaves nothing half done for a caller that does not look. */
enum rewrite_result rewrite_refuse(struct rewrite_copy *c, enum rewrite_result r,
    const char *reason);
/* Spec 7.4. */
bool rewrite_may_wrap(const struct envelope *env);

#endif
