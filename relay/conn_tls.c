// SPDX-License-Identifier: Apache-2.0
/* The handshake of a connection, and what is known after it. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "relay/conn_priv.h"
#include "relay/tlsa.h"

const char *
conn_ssl_reason(int saved_errno)
{
	unsigned long e = ERR_peek_last_error();
	const char *s = e == 0 ? NULL : ERR_reason_error_string(e);

	if (s != NULL)
		return s;
	return saved_errno == 0 ? "connection closed" : strerror(saved_errno);
}

/* The name the certificate must carry: a host name, or an address (RFC 6125 6.4, 6.5). */
static void
conn_expect_name(struct conn *c, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
	char sni[256];	/* OpenSSL's macro wants it writable */

	c->named = true;
	if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
		return;
	ERR_clear_error();
	SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	(void)SSL_set1_host(c->ssl, name);
	if (snprintf(sni, sizeof(sni), "%s", name) < (int)sizeof(sni))
		(void)SSL_set_tlsext_host_name(c->ssl, sni);
}

/* RFC 7672 3: OpenSSL compares, we say with what. -1 when no record can be used. */
static int
conn_expect_dane(struct conn *c, const struct tls_peer *p)
{
	const struct tlsa_record *r;
	size_t i, n = 0;

	c->named = true;
	if (SSL_dane_enable(c->ssl, p->name) != 1)	/* name checks and SNI */
		return -1;
	SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (p->other != NULL && SSL_add1_host(c->ssl, p->other) != 1)
		return -1;
	for (i = 0; i < tlsa_usable(p->tlsa); i++) {
		r = tlsa_at(p->tlsa, i);
		if (SSL_dane_tlsa_add(c->ssl, r->usage, r->selector, r->matching,
		    (const unsigned char *)r->data.p, r->data.n) == 1)
			n++;
	}
	ERR_clear_error();
	return n > 0 ? 0 : -1;
}

static int
conn_expect(struct conn *c, const struct tls_peer *p)
{
	if (p->must)
		SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
	if (p->tlsa != NULL)
		return conn_expect_dane(c, p);
	if (p->name != NULL && p->name[0] != '\0')
		conn_expect_name(c, p->name);
	return 0;
}

int
conn_start_tls_peer(struct conn *c, struct tls_context *ctx, const struct tls_peer *p)
{
	if (c->state != CONN_S_OPEN || c->ssl != NULL) {
		errno = EINVAL;
		return -1;
	}
	ERR_clear_error();
	c->ssl = SSL_new(tls_context_ssl(ctx));
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
		SSL_free(c->ssl);
		c->ssl = NULL;
		errno = ENOMEM;
		return -1;
	}
	if (tls_context_is_server(ctx)) {
		SSL_set_accept_state(c->ssl);
	} else {
		SSL_set_connect_state(c->ssl);
		if (conn_expect(c, p) != 0) {
			SSL_free(c->ssl);
			c->ssl = NULL;
			errno = EPROTO;
			return -1;
		}
	}
	if (!c->in_input) {
		buf_fini(&c->in);
		buf_init(&c->in, CONN_INPUT);
	}
	c->offer = false;
	c->paused = false;
	c->knocked = false;
	conn_enter(c, CONN_S_BEFORE_TLS);
	conn_turn_soon(c);
	return 0;
}

int
conn_start_tls(struct conn *c, struct tls_context *ctx, const char *server_name)
{
	const struct tls_peer p = { .name = server_name };

	return conn_start_tls_peer(c, ctx, &p);
}

static void
conn_describe_tls(struct conn *c)
{
	struct tls_info *i = mem_new(sizeof(*i));
	long v = SSL_get_verify_result(c->ssl);
	X509 *peer = SSL_get0_peer_certificate(c->ssl);

	(void)snprintf(i->version, sizeof(i->version), "%s", SSL_get_version(c->ssl));
	(void)snprintf(i->cipher, sizeof(i->cipher), "%s", SSL_get_cipher_name(c->ssl));
	(void)snprintf(i->text, sizeof(i->text), "%s %s", i->version, i->cipher);
	i->resumed = SSL_session_reused(c->ssl) == 1;
	if (!SSL_is_server(c->ssl)) {
		if (peer == NULL)
			(void)snprintf(i->peer, sizeof(i->peer), "no certificate");
		else if (v != X509_V_OK)
			(void)snprintf(i->peer, sizeof(i->peer), "%s",
			    X509_verify_cert_error_string(v));
		else if (!c->named)
			(void)snprintf(i->peer, sizeof(i->peer), "no name to compare with");
		else
			i->verified = true;
		i->dane = i->verified && SSL_get0_dane_authority(c->ssl, NULL, NULL) >= 0;
	}
	c->info = i;
}

static enum tls_fault
conn_fault(long verify)
{
	switch (verify) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_FAULT_HOST;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_FAULT_EXPIRED;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		return TLS_FAULT_TRUST;
	}
	return TLS_FAULT_OTHER;
}

static void
conn_handshake_failed(struct conn *c, int saved_errno)
{
	long v = SSL_get_verify_result(c->ssl);
	bool refused = !SSL_is_server(c->ssl) && v != X509_V_OK &&
	    SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE;

	c->fault = (uint8_t)(refused ? conn_fault(v) : TLS_FAULT_OTHER);
	if (refused)
		conn_fail(c, "TLS handshake: certificate not accepted: %s",
		    X509_verify_cert_error_string(v));
	else
		conn_fail(c, "TLS handshake: %s", conn_ssl_reason(saved_errno));
}

/* A server's handshake that the client has not begun: OpenSSL would set aside some 30 KiB
 * for it, for as many clients as like to say STARTTLS and nothing more. */
static bool
conn_nothing_said(const struct conn *c)
{
	char byte;

	return SSL_is_server(c->ssl) && SSL_in_before(c->ssl) &&
	    recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    (errno == EAGAIN || errno == EWOULDBLOCK);
}

void
conn_handshake(struct conn *c)
{
	int r, saved;

	c->secure = true;
	conn_enter(c, CONN_S_HANDSHAKE);
	if (conn_nothing_said(c)) {
		conn_interest(c);
		return;
	}
	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(c->ssl);
	saved = errno;
	if (r == 1) {
		c->read_wants_write = false;
		conn_describe_tls(c);
		conn_enter(c, CONN_S_OPEN);
		/* The peer's first bytes may have come with its last handshake flight. */
		c->more = SSL_has_pending(c->ssl) == 1;
		conn_turn_soon(c);
		conn_event(c, CONN_TLS);
		return;
	}
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		c->read_wants_write = false;
		conn_interest(c);
		return;
	case SSL_ERROR_WANT_WRITE:
		c->read_wants_write = true;
		conn_interest(c);
		return;
	}
	conn_handshake_failed(c, saved);
}

enum tls_fault
conn_tls_fault(const struct conn *c)
{
	return c->fault;
}

const struct tls_info *
conn_tls(const struct conn *c)
{
	return c->info;
}
