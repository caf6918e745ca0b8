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

struct tls_info {
	char	version[16];	/* "TLSv1.3" */
	char	cipher[64];
	bool	verified;	/* client side: chain and name are right (PKIX) */
	bool	resumed;
	char	peer[128];	/* why verification failed, "" when it did not */
};

/* From PEM text. NULL with a reason for people in `why`. */
struct tls_context *tls_server_new(struct slice cert_pem, struct slice key_pem, char *why,
    size_t cap);
/* ca_file NULL: OpenSSL's default store. Never refuses by itself: the caller decides
 * on tls_info.verified (opportunistic, spec 13.1). */
struct tls_context *tls_client_new(const char *ca_file, char *why, size_t cap);
void tls_context_free(struct tls_context **cp);

/* For conn.c: the SSL_CTX behind it. */
struct ssl_ctx_st *tls_context_ssl(struct tls_context *c);
bool tls_context_is_server(const struct tls_context *c);

#endif
