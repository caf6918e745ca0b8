// SPDX-License-Identifier: Apache-2.0
/* What tls.c and tls_ticket.c share; nobody else includes it. */
#ifndef RELAY_TLS_PRIV_H
#define RELAY_TLS_PRIV_H

#include <openssl/ssl.h>

#include "base/mem.h"
#include "relay/tls.h"

/* Belongs to a server's SSL_CTX and dies with it: handshakes under way may outlive the
 * struct tls_context after a reload. */
struct tls_server {
	bool		 tickets;
	uint8_t		 secret[TLS_TICKET_SECRET];
	size_t		 n;
	SSL_CTX		*more[TLS_CERTS_MAX];	/* counted; chosen by the name asked for */
};

struct tls_server *tls_server_of(SSL_CTX *ctx);	/* NULL for a client's */
void tls_ticket_enable(SSL_CTX *ctx);

#endif
