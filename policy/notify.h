// SPDX-License-Identifier: Apache-2.0
/*
 * Seal's half of notifications to senders (spec 2.3): may one be sent (policy/dsn_gate.h),
 * and its text (policy/dsn.h), signed with the key of the original domain when there is
 * one. The queue's half is queue/notices.h.
 *
 * The counters behind the limits live here, in memory of a fixed size. The queue asks one
 * and the same seal process for all of a sender's domain, so they are exact; a process
 * that is started again has forgotten the last hour.
 */
#ifndef POLICY_NOTIFY_H
#define POLICY_NOTIFY_H

#include "base/proto/queue_seal.h"
#include "policy/dsn.h"
#include "policy/dsn_gate.h"

enum { NOTIFY_TARGETS = 8192, NOTIFY_DOMAINS = 2048 };	/* remembered for an hour */

struct notify_from {		/* all borrowed */
	struct slice	 mta;		/* our public name */
	struct slice	 return_path;	/* the domain, "" for none */
	struct sign_key	*key;		/* of the recipient's domain, NULL: not signed */
	struct slice	 selector;
	struct sign_body *body;		/* work space, with a key */
	int64_t		 mono_ms;
};

/* *a says what came of it; NOTIFIED_OK: `d` (dsn_init) holds the message. a->req is the
 * caller's. */
void notify_build(const struct notify_from *f, const struct seal_notify *q,
    const struct envelope *env, const struct envelope_rcpt *rcpt, struct slice content,
    struct dsn_limits *l, struct dsn *d, struct seal_notified *a);

#endif
