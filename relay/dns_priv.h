// SPDX-License-Identifier: Apache-2.0
/* Shared by dns.c and dns_batch.c only. */
#ifndef RELAY_DNS_PRIV_H
#define RELAY_DNS_PRIV_H

#include "relay/dns.h"

struct loop *dns_loop(const struct dns *d);
/* dns_ask without /etc/hosts; "localhost" stays built in. */
struct dns_query *dns_ask_public(struct dns *d, uint16_t type, struct slice name, dns_fn *fn,
    void *arg);

#endif
