// SPDX-License-Identifier: Apache-2.0
/*
 * OpenSSL is met here and in conn.c only. A context is a server's certificate and
 * key, or a client's trust store; TLS 1.2 is the least.
 */
#ifndef RELAY_TLS_H
#define RELAY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct tls_context;
struct tlsa;

enum {
	TLS_CERTS_MAX		= 64,	/* of a server, beside its first */
	TLS_TICKET_SECRET	= 32,	/* bytes */
	TLS_TLSA_TEXT		= 80	/* with the closing NUL */
};

struct tls_info {
	char	version[16];	/* "TLSv1.3" */
	char	cipher[64];
	char	text[82];	/* both, a space between: as Received has it */
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
/* One more certificate, shown to clients that ask for a name it is for (SNI, wildcards as
 * RFC 6125 has them); who asks for another name or none sees the first. -1 with a reason. */
int tls_server_add(struct tls_context *c, struct slice cert_pem, struct slice key_pem,
    char *why, size_t cap);
/* Sessions are resumed by tickets of this secret, shared by all processes; after all
 * tls_server_add. Without it each process knows only its own tickets. */
void tls_server_tickets(struct tls_context *c, const uint8_t secret[TLS_TICKET_SECRET]);

/* What people should know of a certificate chain that loads: dates, names, a chain without
 * its middle. `bad`: clients that look at certificates will refuse it today. */
typedef void tls_say_fn(void *arg, bool bad, const char *text);
void tls_examine(struct slice cert_pem, const char *hostname, const char *ca_file,
    tls_say_fn *say, void *arg);

/* Whole days until the first certificate of the chain expires, negative when it has. 0, or -1:
 * there is none. */
int tls_days_left(struct slice cert_pem, int *days);
/* Does one of the usable records name this chain: its first certificate (DANE-EE), or one
 * behind it (DANE-TA)? */
bool tls_tlsa_names(struct slice cert_pem, const struct tlsa *t);
/* The TLSA data that names its first certificate's key: "3 1 1 HEX". 0, or -1: there is none. */
int tls_tlsa_text(struct slice cert_pem, char out[TLS_TLSA_TEXT]);

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
