// SPDX-License-Identifier: Apache-2.0
/* For `salvaposta check` and doctor: what is wrong with a certificate that loads. */
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "relay/tls_priv.h"
#include "relay/tlsa.h"

enum { EXAMINE_SOON_DAYS = 14, EXAMINE_DATE = 64 };

struct examine {
	X509		*cert;		/* owned */
	STACK_OF(X509)	*chain;		/* owned */
	tls_say_fn	*say;
	void		*arg;
};

static void
examine_read(struct examine *x, struct slice pem)
{
	BIO *b = pem.n > INT_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *ca;

	x->chain = sk_X509_new_null();
	CHECK(x->chain != NULL);
	if (b == NULL)
		return;
	x->cert = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
	while (x->cert != NULL && (ca = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL)
		if (sk_X509_push(x->chain, ca) == 0)
			X509_free(ca);
	ERR_clear_error();
	BIO_free(b);
}

static void
examine_date(const ASN1_TIME *t, char out[EXAMINE_DATE])
{
	BIO *b = BIO_new(BIO_s_mem());
	int n = 0;

	if (b != NULL && ASN1_TIME_print(b, t) == 1)
		n = BIO_read(b, out, EXAMINE_DATE - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(b);
}

static void
examine_dates(const struct examine *x)
{
	time_t soon = time(NULL) + EXAMINE_SOON_DAYS * 86400;
	const ASN1_TIME *from = X509_get0_notBefore(x->cert), *to = X509_get0_notAfter(x->cert);
	char date[EXAMINE_DATE], text[200];

	if (X509_cmp_current_time(to) < 0) {
		examine_date(to, date);
		(void)snprintf(text, sizeof(text), "expired on %s: renew it", date);
		x->say(x->arg, true, text);
	} else if (X509_cmp_time(to, &soon) < 0) {
		examine_date(to, date);
		(void)snprintf(text, sizeof(text), "expires on %s: renew it before", date);
		x->say(x->arg, false, text);
	}
	if (X509_cmp_current_time(from) > 0) {
		examine_date(from, date);
		(void)snprintf(text, sizeof(text), "is not valid before %s: is the clock of this "
		    "host right?", date);
		x->say(x->arg, true, text);
	}
}

static void
examine_name(const struct examine *x, const char *hostname)
{
	char text[600];

	if (hostname == NULL || X509_check_host(x->cert, hostname, 0, 0, NULL) == 1)
		return;
	(void)snprintf(text, sizeof(text), "does not carry the name %.255s, under which this relay "
	    "answers: senders that check names (DANE-TA, MTA-STS) will not deliver; get one with "
	    "that name", hostname);
	x->say(x->arg, false, text);
}

/* Up to the trust store: what clients have to bridge by themselves. */
static void
examine_chain(const struct examine *x, const char *ca_file)
{
	struct tls_context *trust;
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	char why[256], issuer[200], text[600];
	int error;

	CHECK(ctx != NULL);
	trust = tls_client_new(ca_file, why, sizeof(why));
	if (trust == NULL || X509_check_issued(x->cert, x->cert) == X509_V_OK)
		goto out;	/* the trust store's own fault is told elsewhere; self-signed */
	if (X509_STORE_CTX_init(ctx, SSL_CTX_get_cert_store(tls_context_ssl(trust)), x->cert,
	    x->chain) != 1)
		goto out;
	(void)X509_verify_cert(ctx);
	error = X509_STORE_CTX_get_error(ctx);
	if (error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT &&
	    error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
	    error != X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
		goto out;
	(void)X509_NAME_oneline(X509_get_issuer_name(X509_STORE_CTX_get_current_cert(ctx) == NULL ?
	    x->cert : X509_STORE_CTX_get_current_cert(ctx)), issuer, sizeof(issuer));
	(void)snprintf(text, sizeof(text), "its chain is incomplete: the certificate of the issuer "
	    "%s is neither behind it in the file nor in the trust store: append it (fullchain.pem)",
	    issuer);
	x->say(x->arg, false, text);
out:
	ERR_clear_error();
	X509_STORE_CTX_free(ctx);
	tls_context_free(&trust);
}

void
tls_examine(struct slice cert_pem, const char *hostname, const char *ca_file, tls_say_fn *say,
    void *arg)
{
	struct examine x = { .say = say, .arg = arg };

	examine_read(&x, cert_pem);
	if (x.cert != NULL) {
		examine_dates(&x);
		examine_name(&x, hostname);
		examine_chain(&x, ca_file);
	}
	sk_X509_pop_free(x.chain, X509_free);
	X509_free(x.cert);
}

int
tls_days_left(struct slice cert_pem, int *days)
{
	struct examine x = { .say = NULL };
	int seconds = 0, ret = -1;

	examine_read(&x, cert_pem);
	if (x.cert != NULL &&
	    ASN1_TIME_diff(days, &seconds, NULL, X509_get0_notAfter(x.cert)) == 1) {
		if (seconds < 0)
			*days -= 1;
		ret = 0;
	}
	sk_X509_pop_free(x.chain, X509_free);
	X509_free(x.cert);
	return ret;
}

/* The whole certificate, or its key, as DER; owned. Bytes, or <= 0. */
static int
examine_der(const X509 *c, uint8_t selector, unsigned char **out)
{
	*out = NULL;
	return selector == 0 ? i2d_X509(c, out) : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c), out);
}

static bool
record_names(const X509 *c, const struct tlsa_record *r)
{
	const EVP_MD *md = r->matching == 1 ? EVP_sha256() : EVP_sha512();
	unsigned char *der, hash[EVP_MAX_MD_SIZE];
	int n = examine_der(c, r->selector, &der);
	struct slice have = slice_make(der, n > 0 ? (size_t)n : 0);
	unsigned nhash = 0;

	if (n > 0 && r->matching != 0)
		have = EVP_Digest(der, (size_t)n, hash, &nhash, md, NULL) == 1 ?
		    slice_make(hash, nhash) : SLICE_NONE;
	bool same = have.n > 0 && slice_eq(have, r->data);
	OPENSSL_free(der);
	return same;
}

bool
tls_tlsa_names(struct slice cert_pem, const struct tlsa *t)
{
	struct examine x = { .say = NULL };
	bool found = false;

	examine_read(&x, cert_pem);
	for (size_t i = 0; x.cert != NULL && i < tlsa_usable(t) && !found; i++) {
		const struct tlsa_record *r = tlsa_at(t, i);

		/* RFC 7672 3.1.2: a trust anchor has to be in what the server shows. */
		found = r->usage == 3 && record_names(x.cert, r);
		for (int j = 0; r->usage == 2 && j < sk_X509_num(x.chain) && !found; j++)
			found = record_names(sk_X509_value(x.chain, j), r);
	}
	sk_X509_pop_free(x.chain, X509_free);
	X509_free(x.cert);
	return found;
}

int
tls_tlsa_text(struct slice cert_pem, char out[TLS_TLSA_TEXT])
{
	struct examine x = { .say = NULL };
	unsigned char *der = NULL, hash[EVP_MAX_MD_SIZE];
	unsigned nhash = 0;
	int n = 0, ret = -1;

	examine_read(&x, cert_pem);
	if (x.cert != NULL)
		n = examine_der(x.cert, 1, &der);
	if (n > 0 && EVP_Digest(der, (size_t)n, hash, &nhash, EVP_sha256(), NULL) == 1) {
		int at = snprintf(out, TLS_TLSA_TEXT, "3 1 1 ");
		for (unsigned i = 0; i < nhash; i++)
			at += snprintf(out + at, TLS_TLSA_TEXT - (size_t)at, "%02x", hash[i]);
		ret = 0;
	}
	OPENSSL_free(der);
	sk_X509_pop_free(x.chain, X509_free);
	X509_free(x.cert);
	return ret;
}
