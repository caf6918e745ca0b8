// SPDX-License-Identifier: Apache-2.0
/*
 * Probes of primaries, done by a relay for the queue: a connection to the route a delivery
 * would take, and a dialogue as deep as asked (relay/probe_talk.h). Each request ends in
 * exactly one result within its time, unless the probes are freed before. Nothing is decided
 * here.
 */
#ifndef RELAY_PROBE_H
#define RELAY_PROBE_H

#include "base/conf.h"
#include "base/proto/relay_probe.h"
#include "policy/canary.h"
#include "relay/dns.h"
#include "relay/mx.h"
#include "relay/tls.h"

enum { PROBES_MAX = 1024 };	/* under way; more end at once as PROBE_LOCAL */

struct probes;

/* `r` is borrowed until return. May be called from within probes_start. */
typedef void probe_fn(void *arg, const struct queue_probed *r);

/* All borrowed for its life but the key and `own`, which is as in deliver_new. */
struct probes *probes_new(struct loop *l, const struct conf *c, struct dns *d,
    struct tls_context *tls, const struct mx_self *own, const uint8_t key[CANARY_KEY],
    probe_fn *fn, void *arg);
void probes_free(struct probes **pp);
void probes_reload(struct probes *p, const struct conf *c);
void probes_start(struct probes *p, const struct queue_probe *q);	/* borrows q */
unsigned probes_running(const struct probes *p);

#endif
