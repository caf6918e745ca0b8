// SPDX-License-Identifier: Apache-2.0
/*
 * The TLSA records of one mail server (RFC 6698), reduced to those an SMTP client may use
 * (RFC 7672 3.1): DANE-TA(2) and DANE-EE(3), certificate or key, whole or as SHA-256 or
 * SHA-512. Pure; whether the answer was secure is for the caller to know.
 */
#ifndef RELAY_TLSA_H
#define RELAY_TLSA_H

#include "base/dnsrr.h"

enum {
	TLSA_RECORDS_MAX = 32,	/* usable ones kept; a roll-over needs four */
	TLSA_DATA_MAX = 8192,	/* bytes of one record's certificate or key */
};

struct tlsa_record {
	uint8_t		usage;		/* 2, 3 */
	uint8_t		selector;	/* 0 certificate, 1 public key */
	uint8_t		matching;	/* 0 whole, 1 SHA-256, 2 SHA-512 */
	struct slice	data;		/* points into the set */
};

struct tlsa;

/* A new set with one reference from the records of an answer (dns_answer.rrs); NULL when
 * there is no record at all. A set of records none of which is usable is not NULL: it asks
 * for TLS, without saying with whom (RFC 7672 2.2). */
struct tlsa *tlsa_parse(struct slice rrs);
struct tlsa *tlsa_ref(struct tlsa *t);		/* NULL is passed on */
void tlsa_unref(struct tlsa **tp);		/* NULL is fine */

size_t tlsa_usable(const struct tlsa *t);
const struct tlsa_record *tlsa_at(const struct tlsa *t, size_t i);	/* i < usable */

#endif
