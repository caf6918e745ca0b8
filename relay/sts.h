// SPDX-License-Identifier: Apache-2.0
/*
 * MTA-STS policies of destinations (RFC 8461, spec 13.3): fetched when a domain publishes
 * one, kept until their max_age, fetched again well before, and never given up because
 * DNS or HTTPS fail meanwhile: who can stop a fetch must not win plaintext by it.
 */
#ifndef RELAY_STS_H
#define RELAY_STS_H

#include "base/conf.h"
#include "base/proto/relay_queue.h"
#include "policy/mta_sts.h"
#include "relay/dns.h"
#include "relay/https.h"

enum {
	STS_DOMAINS_MAX = 10000,	/* policies in memory, per relay process */
	STS_FETCHES_MAX = 32,		/* HTTPS requests at once; others wait */
	STS_RETRY_MS = 300 * 1000,	/* after a failed fetch (RFC 8461 3.3) */
	STS_REFRESH_MS = 24 * 3600 * 1000,	/* a policy is fetched anew this often at least */
	STS_SWEEP_MS = 30 * 1000	/* how often it is looked for old ones */
};

struct sts;
struct sts_query;

/* A policy was fetched: to be kept over restarts (as `key` "sts:<domain>"). */
typedef void sts_keep_fn(void *arg, const struct queue_keep *v);

/* All borrowed. https NULL: policies are looked up nowhere, sts_ask says none. */
struct sts *sts_new(struct loop *l, const struct conf *c, struct dns *d, struct https *h,
    sts_keep_fn *keep, void *arg);
void sts_free(struct sts **sp);		/* no query may be open */
void sts_reload(struct sts *s, const struct conf *c, struct https *h);

/* What was kept, or another relay found. Values that are not policies are ignored. */
void sts_known(struct sts *s, const struct queue_keep *v);

/* p: the policy in force, borrowed until return; NULL for none. Always called later. */
typedef void sts_fn(void *arg, const struct mta_sts *p);
struct sts_query *sts_ask(struct sts *s, struct slice domain, sts_fn *fn, void *arg);
void sts_cancel(struct sts_query **qp);

struct sts_stats {
	uint64_t fetched, failed;
	unsigned policies;
};
void sts_stats(const struct sts *s, struct sts_stats *out);

#endif
