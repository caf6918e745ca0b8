// SPDX-License-Identifier: Apache-2.0
/*
 * DNS blocklists (RFC 5782): is this client named by one of the zones? Only answers within
 * 127.0.0.0/8 count, and 127.255.255.0/24 is a list's way to say "I do not answer you". A
 * list that does not answer, or not in time, names nobody.
 */
#ifndef RELAY_BLOCKLIST_H
#define RELAY_BLOCKLIST_H

#include "relay/dns.h"

enum { BLOCKLIST_WAIT_MS = 5000 };

struct blocklist_query;

/* `zone` (an index into conf->blocklist) is SIZE_MAX when none does. Always called later. */
typedef void blocklist_fn(void *arg, size_t zone);
/* NULL, and fn is never called, when there is nothing to ask. */
struct blocklist_query *blocklist_ask(struct dns *d, const struct conf *c, const uint8_t addr[16],
    blocklist_fn *fn, void *arg);
void blocklist_cancel(struct blocklist_query **qp);

/* "2.0.0.127.ZONE", nibbles for IPv6. 0 or -1 when it is longer than a name can be. */
int blocklist_name(const uint8_t addr[16], const char *zone, char out[DNS_NAME_MAX + 1]);

#endif
