// SPDX-License-Identifier: Apache-2.0
/*
 * May a delivery notification be sent at all? (spec 2.3.1, 2.3.4, 2.3.5.) Mail with a
 * forged sender must not make us write to the one it names; mail that may have been at
 * the recovery address must not be shown to anybody.
 *
 * Pure but for the counters: every yes is counted against its target and its domain, so
 * ask once for each notification, when it is about to be sent.
 */
#ifndef POLICY_DSN_GATE_H
#define POLICY_DSN_GATE_H

#include "base/envelope.h"
#include "policy/dsn.h"

enum { DSN_PER_TARGET = 10, DSN_PER_DOMAIN = 100 /* in any 60 minutes */,
	DSN_PER_MAX = 1000 };

/* The counters: how many targets and domains can have been written to in an hour. */
struct dsn_limits;

struct dsn_limits *dsn_limits_new(size_t targets, size_t domains);	/* rounded up */
/* With other limits than DSN_PER_TARGET and DSN_PER_DOMAIN, 1..DSN_PER_MAX. */
struct dsn_limits *dsn_limits_with(size_t targets, unsigned per_target, size_t domains,
    unsigned per_domain);
void dsn_limits_free(struct dsn_limits **lp);

struct dsn_question {
	const struct envelope		*env;
	const struct envelope_rcpt	*rcpt;
	enum dsn_action			 action;
	struct slice			 content;	/* as kept */
	struct slice			 return_path;	/* our return-path domain, "" for none */
	/* For DMARC, "" when not known; canonical (A-labels). Without the organizational
	 * domains only a sender in the author's very domain is believed. */
	struct slice			 author, author_org, sender_org;
	int64_t				 now_ms;	/* clock_mono_ms: never goes back */
};

/*
 * "" for yes, else the reason for dsn_suppressed{reason}:
 *	notify		the sender does not want it, or did not ask for it
 *	null-sender	bad-sender	return-path	postmaster
 *	unauthenticated	nobody vouches for the sender
 *	loop		the message has been forwarded by a relay like us already
 *	rate-target	rate-domain	rate-table	not now; later the answer may be yes
 */
const char *dsn_gate(const struct dsn_question *q, struct dsn_limits *l);

#endif
