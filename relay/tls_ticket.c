// SPDX-License-Identifier: Apache-2.0
/*
 * Session tickets (RFC 5077, RFC 8446 4.6.1). All relay processes were given one secret,
 * so a client that comes back to another process resumes there too; keys follow from the
 * secret and the hour of the clock, so they rotate everywhere at once without a word. The
 * secret is made when the relay starts and is never on a disk.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/clock.h"
#include "relay/tls_priv.h"

enum {
	TICKET_EPOCH_MS	= 4 * 3600 * 1000,	/* how long a key signs */
	TICKET_OLD	= 2,			/* earlier keys that still open */
	TICKET_LIFE_S	= 4 * 3600,
	TICKET_NAME	= 16, TICKET_KEY = 32
};

/* `what` names the use: 'n' name, 'a' AES key, 'm' MAC key. */
static void
ticket_derive(const uint8_t secret[TLS_TICKET_SECRET], char what, uint64_t epoch,
    uint8_t out[TICKET_KEY])
{
	uint8_t text[9] = { (uint8_t)what };
	unsigned n = TICKET_KEY;

	memcpy(text + 1, &epoch, sizeof(epoch));
	CHECK(HMAC(EVP_sha256(), secret, TLS_TICKET_SECRET, text, sizeof(text), out, &n) != NULL);
}

static int
ticket_use(const struct tls_server *d, uint64_t epoch, const unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	uint8_t aes[TICKET_KEY], key[TICKET_KEY];
	char digest[] = "SHA256";
	OSSL_PARAM p[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	bool ok;

	ticket_derive(d->secret, 'a', epoch, aes);
	ticket_derive(d->secret, 'm', epoch, key);
	ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, aes, iv, enc) == 1 &&
	    EVP_MAC_CTX_set_params(mac, p) == 1;
	OPENSSL_cleanse(aes, sizeof(aes));
	OPENSSL_cleanse(key, sizeof(key));
	return ok ? 0 : -1;
}

/* 1: used, 2: used and to be renewed, 0: not ours (a full handshake follows), -1: error. */
static int
ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int enc)
{
	const struct tls_server *d = tls_server_of(SSL_get_SSL_CTX(ssl));
	uint64_t epoch = (uint64_t)clock_wall_ms() / TICKET_EPOCH_MS;
	uint8_t want[TICKET_KEY];

	if (d == NULL || !d->tickets)
		return 0;
	if (enc) {
		ticket_derive(d->secret, 'n', epoch, want);
		memcpy(name, want, TICKET_NAME);
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
			return -1;
		return ticket_use(d, epoch, iv, cipher, mac, 1) == 0 ? 1 : -1;
	}
	for (uint64_t i = 0; i <= TICKET_OLD; i++) {
		ticket_derive(d->secret, 'n', epoch - i, want);
		if (memcmp(name, want, TICKET_NAME) != 0)
			continue;
		if (ticket_use(d, epoch - i, iv, cipher, mac, 0) != 0)
			return -1;
		return i == 0 ? 1 : 2;
	}
	return 0;
}

void
tls_ticket_enable(SSL_CTX *ctx)
{
	(void)SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
	CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1);
}
