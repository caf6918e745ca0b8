// SPDX-License-Identifier: Apache-2.0
/*
 * OpenSSL is met here and in conn.c only. A context is a server's certificate and
 * key, or a client's trust store; TLS 1.2 is the least.
 */
#ifndef RELAY_TLS_H
#define RELAY_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct tls_context;
struct tlsa;

struct tls_info {
	char	version[16];	/* "TLSv1.3" */
	char	cipher[64];
	bool	verified;	/* client side: chain and name are right (PKIX), or DANE is */
	bool	dane;		/* ... by a TLSA record (RFC 7672) */
	bool	resumed;
	char	peer[128];	/* why verification failed, "" when it did not */
};

/* Whom a client expects; all borrowed. */
struct tls_peer {
	const char		*name;	/* host or address: SNI and the certificate's name */
	const char		*other;	/* DANE-TA: another name that will do, or NULL */
	const struct tlsa	*tlsa;	/* DANE: usable records; NULL: PKIX */
	bool			 must;	/* no verified peer, no connection */
};

/* Why TLS with a server did not come about, as RFC 8460 4.3 tells it. */
enum tls_fault {
	TLS_FAULT_NONE,
	TLS_FAULT_NO_STARTTLS,	/* starttls-not-supported */
	TLS_FAULT_HOST,		/* certificate-host-mismatch */
	TLS_FAULT_EXPIRED,	/* certificate-expired */
	TLS_FAULT_TRUST,	/* certificate-not-trusted */
	TLS_FAULT_OTHER,	/* validation-failure */
	TLS_FAULT_MAX
};
const char *tls_fault_name(enum tls_fault f);

/* From PEM text. NULL with a reason for people in `why`. */
struct tls_context *tls_server_new(struct slice cert_pem, struct slice key_pem, char *why,
    size_t cap);
/* ca_file NULL: OpenSSL's default store. Refuses only what tls_peer.must asks it to; else
 * the caller decides on tls_info.verified (opportunistic, spec 13.1). */
struct tls_context *tls_client_new(const char *ca_file, char *why, size_t cap);
void tls_context_free(struct tls_context **cp);

/* For conn.c: the SSL_CTX behind it. */
struct ssl_ctx_st *tls_context_ssl(struct tls_context *c);
/* For https.c: gives that SSL_CTX our trust store. */
void tls_context_lend(struct tls_context *c, struct ssl_ctx_st *to);
bool tls_context_is_server(const struct tls_context *c);

#endif
