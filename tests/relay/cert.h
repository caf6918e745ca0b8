// SPDX-License-Identifier: Apache-2.0
/* A throw-away certificate and key as PEM, for tests of TLS. */
#ifndef TESTS_RELAY_CERT_H
#define TESTS_RELAY_CERT_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/buf.h"

static inline void
cert_take(BIO *b, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	assert_true(n > 0);
	buf_init(out, 64 * 1024);
	assert_int_equal(buf_put(out, p, (size_t)n), 0);
	BIO_free(b);
}

/* Self-signed for `name`, valid from yesterday to tomorrow. */
static inline void
cert_make(const char *name, struct buf *cert, struct buf *key)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_NAME *n = X509_get_subject_name(x);
	X509_EXTENSION *san;
	BIO *b;
	char text[300];

	assert_non_null(k);
	(void)X509_set_version(x, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	(void)X509_set_pubkey(x, k);
	(void)X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name,
	    -1, -1, 0);
	(void)X509_set_issuer_name(x, n);
	(void)snprintf(text, sizeof(text), "DNS:%s", name);
	san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
	assert_non_null(san);
	(void)X509_add_ext(x, san, -1);
	X509_EXTENSION_free(san);
	assert_true(X509_sign(x, k, EVP_sha256()) > 0);
	b = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_X509(b, x), 1);
	cert_take(b, cert);
	b = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL), 1);
	cert_take(b, key);
	X509_free(x);
	EVP_PKEY_free(k);
}

#endif
