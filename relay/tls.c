// SPDX-License-Identifier: Apache-2.0
/*
 * Certificates, keys and trust stores turned into SSL_CTX. Everything is read at
 * start, from text where we can: after it the relay has lost its view of the disk.
 */
#include "relay/tls.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "relay/tls_priv.h"

struct tls_context {
	SSL_CTX	*ctx;	/* owned */
	bool	 server;
};

/* Debian keeps the default store as a directory that OpenSSL reads at the moment of a
 * handshake, which a confined role cannot do; the bundle beside it is read at once. */
static const char tls_bundle[] = "/etc/ssl/certs/ca-certificates.crt";

static void
tls_why(char *why, size_t cap, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e == 0 ? NULL : ERR_reason_error_string(e);

	if (cap > 0)
		(void)snprintf(why, cap, "%s: %s", what, reason == NULL ? "unusable" : reason);
	ERR_clear_error();
}

/* A key that wants a passphrase is an error with a reason, never a prompt. */
static int
tls_no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

static struct tls_context *
tls_context_new(const SSL_METHOD *method, bool server)
{
	struct tls_context *c = mem_new(sizeof(*c));

	c->server = server;
	c->ctx = SSL_CTX_new(method);
	CHECK(c->ctx != NULL);
	CHECK(SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) == 1);
	/* An unexpected end is an end: SMTP knows by itself whether something was cut. */
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	    SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	return c;
}

void
tls_context_free(struct tls_context **cp)
{
	if (*cp == NULL)
		return;
	SSL_CTX_free((*cp)->ctx);
	free(*cp);
	*cp = NULL;
}

/* The first certificate is ours, what follows is the chain. */
static int
tls_use_chain(SSL_CTX *ctx, struct slice pem)
{
	BIO *b;
	X509 *x;
	int ret = -1;

	if (pem.n == 0 || pem.n > INT_MAX)
		return -1;
	b = BIO_new_mem_buf(pem.p, (int)pem.n);
	CHECK(b != NULL);
	x = PEM_read_bio_X509_AUX(b, NULL, tls_no_passphrase, NULL);
	if (x == NULL)
		goto out;
	if (SSL_CTX_use_certificate(ctx, x) != 1)
		goto out;
	for (;;) {
		X509 *ca = PEM_read_bio_X509(b, NULL, tls_no_passphrase, NULL);

		if (ca == NULL)
			break;
		if (SSL_CTX_add0_chain_cert(ctx, ca) != 1) {
			X509_free(ca);
			goto out;
		}
	}
	/* Running out of certificates is how the list ends; anything else is damage. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		goto out;
	ERR_clear_error();
	ret = 0;
out:
	X509_free(x);
	BIO_free(b);
	return ret;
}

static int
tls_use_key(SSL_CTX *ctx, struct slice pem)
{
	EVP_PKEY *k;
	BIO *b;
	int ok;

	if (pem.n == 0 || pem.n > INT_MAX)
		return -1;
	b = BIO_new_mem_buf(pem.p, (int)pem.n);
	CHECK(b != NULL);
	k = PEM_read_bio_PrivateKey(b, NULL, tls_no_passphrase, NULL);
	BIO_free(b);
	if (k == NULL)
		return -1;
	ok = SSL_CTX_use_PrivateKey(ctx, k);
	EVP_PKEY_free(k);
	return ok == 1 ? 0 : -1;
}

static int
tls_use_pair(SSL_CTX *ctx, struct slice cert_pem, struct slice key_pem, char *why, size_t cap)
{
	ERR_clear_error();
	if (tls_use_chain(ctx, cert_pem) != 0) {
		tls_why(why, cap, "certificate");
		return -1;
	}
	if (tls_use_key(ctx, key_pem) != 0) {
		bool other = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;

		tls_why(why, cap, other ? "key does not belong to the certificate" : "key");
		return -1;
	}
	if (SSL_CTX_check_private_key(ctx) != 1) {
		tls_why(why, cap, "key does not belong to the certificate");
		return -1;
	}
	return 0;
}

static int tls_server_index = -1;

static void
tls_server_data_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int idx, long l, void *arg)
{
	struct tls_server *d = p;

	(void)parent, (void)ad, (void)idx, (void)l, (void)arg;
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->n; i++)
		SSL_CTX_free(d->more[i]);
	OPENSSL_cleanse(d->secret, sizeof(d->secret));
	free(d);
}

struct tls_server *
tls_server_of(SSL_CTX *ctx)
{
	return tls_server_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, tls_server_index);
}

/* RFC 6066 3: a name nobody here has is no error, the first certificate is shown. */
static int
tls_choose(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *own = SSL_get_SSL_CTX(ssl);
	struct tls_server *d = tls_server_of(own);

	(void)alert, (void)arg;
	if (name == NULL || d == NULL ||
	    X509_check_host(SSL_CTX_get0_certificate(own), name, 0, 0, NULL) == 1)
		return SSL_TLSEXT_ERR_OK;
	for (size_t i = 0; i < d->n; i++)
		if (X509_check_host(SSL_CTX_get0_certificate(d->more[i]), name, 0, 0, NULL) == 1) {
			(void)SSL_set_SSL_CTX(ssl, d->more[i]);
			break;
		}
	return SSL_TLSEXT_ERR_OK;
}

static struct tls_context *
tls_server_context(void)
{
	struct tls_context *c = tls_context_new(TLS_server_method(), true);
	static const unsigned char sid[] = "salvaposta";

	if (tls_server_index < 0)
		tls_server_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL,
		    tls_server_data_free);
	CHECK(tls_server_index >= 0);
	CHECK(SSL_CTX_set_ex_data(c->ctx, tls_server_index,
	    mem_new(sizeof(struct tls_server))) == 1);
	/* Tickets keep resumption without a table of sessions that strangers could fill. */
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	CHECK(SSL_CTX_set_session_id_context(c->ctx, sid, sizeof(sid) - 1) == 1);
	CHECK(SSL_CTX_set_num_tickets(c->ctx, 1) == 1);
	SSL_CTX_set_options(c->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_tlsext_servername_callback(c->ctx, tls_choose);
	return c;
}

struct tls_context *
tls_server_new(struct slice cert_pem, struct slice key_pem, char *why, size_t cap)
{
	struct tls_context *c = tls_server_context();

	if (tls_use_pair(c->ctx, cert_pem, key_pem, why, cap) != 0)
		tls_context_free(&c);
	return c;
}

int
tls_server_add(struct tls_context *c, struct slice cert_pem, struct slice key_pem, char *why,
    size_t cap)
{
	struct tls_server *d = tls_server_of(c->ctx);
	struct tls_context *more;

	if (d->n == TLS_CERTS_MAX) {
		(void)snprintf(why, cap, "more than %d certificates", TLS_CERTS_MAX);
		return -1;
	}
	more = tls_server_new(cert_pem, key_pem, why, cap);
	if (more == NULL)
		return -1;
	CHECK(SSL_CTX_up_ref(more->ctx) == 1);
	d->more[d->n++] = more->ctx;
	tls_context_free(&more);
	return 0;
}

void
tls_server_tickets(struct tls_context *c, const uint8_t secret[TLS_TICKET_SECRET])
{
	struct tls_server *d = tls_server_of(c->ctx);

	for (size_t i = 0; i <= d->n; i++) {
		SSL_CTX *ctx = i < d->n ? d->more[i] : c->ctx;
		struct tls_server *of = tls_server_of(ctx);

		of->tickets = true;
		memcpy(of->secret, secret, TLS_TICKET_SECRET);
		tls_ticket_enable(ctx);
	}
}

struct tls_context *
tls_client_new(const char *ca_file, char *why, size_t cap)
{
	struct tls_context *c = tls_context_new(TLS_client_method(), false);

	ERR_clear_error();
	if (ca_file != NULL) {
		if (SSL_CTX_load_verify_file(c->ctx, ca_file) != 1) {
			tls_why(why, cap, ca_file);
			tls_context_free(&c);
			return NULL;
		}
	} else {
		/* No store at all only means that nothing verifies, which is opportunistic
		 * TLS still (RFC 7435).
		 * Files, read now: the folder of the default store would be looked into
		 * later, when this process may open nothing any more. */
		(void)SSL_CTX_set_default_verify_file(c->ctx);
		(void)SSL_CTX_load_verify_file(c->ctx, tls_bundle);
		ERR_clear_error();
	}
	/* RFC 7672 3.1.1: the record names the key, not the other way round; neither dates nor
	 * names of the certificate count with DANE-EE. */
	CHECK(SSL_CTX_dane_enable(c->ctx) == 1);
	(void)SSL_CTX_dane_set_flags(c->ctx, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	/* The chain is checked and the result kept, the handshake goes on (spec 13.1). */
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	return c;
}

const char *
tls_fault_name(enum tls_fault f)
{
	static const char *const names[TLS_FAULT_MAX] = {
		[TLS_FAULT_NONE] = "none",
		[TLS_FAULT_NO_STARTTLS] = "starttls-not-supported",
		[TLS_FAULT_HOST] = "certificate-host-mismatch",
		[TLS_FAULT_EXPIRED] = "certificate-expired",
		[TLS_FAULT_TRUST] = "certificate-not-trusted",
		[TLS_FAULT_OTHER] = "validation-failure",
	};

	return names[f];
}

struct ssl_ctx_st *
tls_context_ssl(struct tls_context *c)
{
	return c->ctx;
}

void
tls_context_lend(struct tls_context *c, struct ssl_ctx_st *to)
{
	SSL_CTX_set1_cert_store(to, SSL_CTX_get_cert_store(c->ctx));
}

bool
tls_context_is_server(const struct tls_context *c)
{
	return c->server;
}
