// SPDX-License-Identifier: Apache-2.0
/*
 * DNS messages as bytes (RFC 1035, EDNS0 of RFC 6891): builds one question, reads one
 * answer into the house's form (base/dnsrr.h). An answer is hostile: every length,
 * pointer and count is checked, and what does not fit is a failure, never less data.
 */
#ifndef RELAY_DNS_PACKET_H
#define RELAY_DNS_PACKET_H

#include "base/dnsrr.h"

enum {
	DNS_QUERY_MAX = 12 + 255 + 4 + 11,	/* bytes of one question with its OPT */
	DNS_EDNS_SIZE = 1232,	/* UDP payload we take; below any MTU, so no fragments */
	DNS_CHAIN_MAX = 16,	/* CNAMEs followed */
	DNS_RECORDS_MAX = 2048,	/* records looked at in one answer */
};

/* Lower case, without the last dot, into out; 0, or -1 when it is no DNS name: labels
 * of 1..63 octets, none a control octet or a backslash, 253 in all, not empty. */
int dns_name_clean(struct slice in, char out[DNS_NAME_MAX + 1]);

/* `name` is clean. Bytes written to out, 0 when it does not fit (it always does). */
size_t dns_packet_query(uint8_t out[DNS_QUERY_MAX], uint16_t id, const char *name,
    uint16_t type, bool edns);

struct dns_packet {
	uint8_t		status;	/* enum dns_status */
	uint8_t		rcode;	/* for the log and for EDNS trouble */
	uint8_t		secure;	/* AD */
	uint32_t	ttl_s;	/* least of all records used; of the SOA when negative */
};

/* Reads an answer to that question; records go to rrs as items of struct dns_rr.
 * Always fills `p`; a malformed or too large answer is DNS_FAIL with rrs empty. */
void dns_packet_read(struct slice msg, const char *name, uint16_t type,
    struct dns_packet *p, struct buf *rrs);

#endif
