// SPDX-License-Identifier: Apache-2.0
/*
 * All DNS of a relay process: c-ares behind a bounded cache. Identical questions in
 * flight are asked once. Answers are normalised (base/dnsrr.h): CNAMEs followed,
 * names lower case, TXT strings joined; what cannot be parsed, is too large or timed
 * out is DNS_FAIL, never an empty answer. Names from /etc/hosts (given as text) are
 * answered from it for A and AAAA by dns_ask, which finds the way to other hosts.
 * What verify is told (dns_ask_all, dns_cached) is what DNS says: a name pinned to an
 * inner address must not make SPF fail for its owner. "localhost" is built in.
 */
#ifndef RELAY_DNS_H
#define RELAY_DNS_H

#include "base/conf.h"
#include "base/dnsrr.h"
#include "base/loop.h"

struct dns;
struct dns_query;

/* resolv_conf and hosts are texts, may be NULL. NULL after logging why. */
struct dns *dns_new(struct loop *l, const struct conf *c, const char *resolv_conf, const char *hosts);
void dns_free(struct dns **dp);
void dns_reload(struct dns *d, const struct conf *c);

/* `a` is borrowed until return. Always called later, never from dns_ask itself. */
typedef void dns_fn(void *arg, const struct dns_answer *a);
/* An invalid name answers DNS_NXDOMAIN. The query is owned by dns until fn runs or
 * dns_cancel is called. */
struct dns_query *dns_ask(struct dns *d, uint16_t type, struct slice name, dns_fn *fn, void *arg);
void dns_cancel(struct dns_query **qp);

/* From the cache only, without waiting: appends the encoded answer as an item to
 * `out`; false when it is not there (or the buffer is full). */
bool dns_cached(struct dns *d, uint16_t type, struct slice name, struct buf *out);

/*
 * Many names at once (what verify wants): fn is called once with all answers as
 * items of struct dns_answer; names not answered after timeout_ms are DNS_FAIL.
 */
struct dns_batch;
typedef void dns_batch_fn(void *arg, struct slice answers);
struct dns_batch *dns_ask_all(struct dns *d, struct slice wants, int64_t timeout_ms,
    dns_batch_fn *fn, void *arg);
void dns_batch_cancel(struct dns_batch **bp);

struct dns_stats {
	uint64_t asked, cached, failed, timeouts;
};
void dns_stats(const struct dns *d, struct dns_stats *out);

#endif
