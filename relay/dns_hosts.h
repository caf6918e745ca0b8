// SPDX-License-Identifier: Apache-2.0
/* The names of an /etc/hosts text, and "localhost", for A and AAAA questions. */
#ifndef RELAY_DNS_HOSTS_H
#define RELAY_DNS_HOSTS_H

#include "base/dnsrr.h"

struct dns_hosts;

struct dns_hosts *dns_hosts_new(const char *text);	/* NULL text: localhost only */
void dns_hosts_free(struct dns_hosts **hp);

/* True when the name (clean) is known here; then its addresses of that family, maybe
 * none, were appended to rrs as items of struct dns_rr. */
bool dns_hosts_find(const struct dns_hosts *h, uint16_t type, const char *name,
    struct buf *rrs);

#endif
