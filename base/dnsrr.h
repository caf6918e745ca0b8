// SPDX-License-Identifier: Apache-2.0
/*
 * DNS answers as plain data, the same for the relay's cache, verify's view and
 * the tests' tables. Names are lower case, without the last dot, RFC 1035
 * escapes resolved only where the octets are letters, digits, '-', '_'.
 */
#ifndef BASE_DNSRR_H
#define BASE_DNSRR_H

#include "base/wire.h"

enum { DNS_A = 1, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_TLSA = 52 };

enum dns_status {
	DNS_OK,		/* answered; no records means NODATA */
	DNS_NXDOMAIN,
	DNS_FAIL	/* SERVFAIL, timeout, malformed, too large: temporary */
};

enum { DNS_NAME_MAX = 253, DNS_RRS_MAX = 16 * 1024, DNS_ANSWERS_MAX = 96 * 1024 };

struct dns_rr {
	uint16_t	pref;	/* MX */
	struct slice	data;	/* A 4, AAAA 16 bytes; MX/PTR/CNAME a name ("" is the
				 * root); TXT its strings joined; TLSA rdata */
};
extern const struct wire_desc dns_rr_wire;

struct dns_answer {
	struct slice	name;	/* as asked */
	uint16_t	type;
	uint8_t		status;	/* enum dns_status */
	uint8_t		secure;	/* DNSSEC: the AD bit of a resolver that is believed */
	struct slice	rrs;	/* items of struct dns_rr, CNAMEs followed */
};
extern const struct wire_desc dns_answer_wire;

struct dns_want {
	uint16_t	type;
	struct slice	name;
};
extern const struct wire_desc dns_want_wire;

#endif
