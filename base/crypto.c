// SPDX-License-Identifier: Apache-2.0
#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

void
crypto_random(void *out, size_t n)
{
	char *p = out;

	while (n > 0) {
		ssize_t r = getrandom(p, n, 0);
		CHECK(r > 0);
		p += r;
		n -= (size_t)r;
	}
}

/*
 * Asking OpenSSL for an algorithm by name takes longer than to hash a line with it, and a
 * message needs a score of these: each thread asks once.
 */
static _Thread_local struct {
	EVP_MD		*sha256;
	EVP_MAC_CTX	*hmac_sha1, *hmac_sha256;
} kept;

void
crypto_sha256(struct slice in, uint8_t out[32])
{
	if (kept.sha256 == NULL)
		kept.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	CHECK(kept.sha256 != NULL);
	CHECK(EVP_Digest(in.p, in.n, out, NULL, kept.sha256, NULL) == 1);
}

static EVP_MAC_CTX *
hmac_new(const char *digest)
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *c = EVP_MAC_CTX_new(hmac);
	OSSL_PARAM with[2] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
		OSSL_PARAM_construct_end()
	};

	CHECK(c != NULL && EVP_MAC_CTX_set_params(c, with) == 1);
	EVP_MAC_free(hmac);
	return c;
}

static void
hmac(EVP_MAC_CTX *c, struct slice key, struct slice in, uint8_t *out, size_t cap)
{
	/* A NULL key would be "the one of last time". */
	const void *k = key.n == 0 ? "" : key.p;
	size_t n = 0;

	CHECK(EVP_MAC_init(c, k, key.n, NULL) == 1 &&
	    EVP_MAC_update(c, (const unsigned char *)in.p, in.n) == 1 &&
	    EVP_MAC_final(c, out, &n, cap) == 1 && n == cap);
}

void
crypto_hmac_sha1(struct slice key, struct slice in, uint8_t out[20])
{
	if (kept.hmac_sha1 == NULL)
		kept.hmac_sha1 = hmac_new("SHA1");
	hmac(kept.hmac_sha1, key, in, out, 20);
}

void
crypto_hmac_sha256(struct slice key, struct slice in, uint8_t out[32])
{
	if (kept.hmac_sha256 == NULL)
		kept.hmac_sha256 = hmac_new("SHA256");
	hmac(kept.hmac_sha256, key, in, out, 32);
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

/* One pass of the cipher over `in` into `to`, of the same size. */
static int
gcm(bool seal, const uint8_t key[32], const uint8_t *nonce, struct slice about, struct slice in,
    uint8_t *to, uint8_t *tag)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, ok;

	ok = c != NULL && in.n <= INT32_MAX && about.n <= INT32_MAX &&
	    EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, seal) == 1 &&
	    EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)about.p, (int)about.n) == 1 &&
	    (in.n == 0 || EVP_CipherUpdate(c, to, &n, (const uint8_t *)in.p, (int)in.n) == 1) &&
	    (seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, 16, tag) == 1) &&
	    EVP_CipherFinal_ex(c, to + in.n, &n) == 1 &&
	    (!seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1);
	EVP_CIPHER_CTX_free(c);
	return ok ? 0 : -1;
}

int
crypto_seal(const uint8_t key[32], struct slice about, struct slice in, struct buf *out)
{
	uint8_t nonce[12], tag[16], *text = mem_array(in.n + 1, 1);
	int rc;

	crypto_random(nonce, sizeof(nonce));
	rc = gcm(true, key, nonce, about, in, text, tag);
	if (rc == 0 && (buf_put(out, nonce, sizeof(nonce)) != 0 || buf_put(out, text, in.n) != 0 ||
	    buf_put(out, tag, sizeof(tag)) != 0))
		rc = -1;
	free(text);
	return rc;
}

int
crypto_open(const uint8_t key[32], struct slice about, struct slice in, struct buf *out)
{
	uint8_t tag[16], *text;
	int rc;

	if (in.n < CRYPTO_SEAL_MORE)
		return -1;
	struct slice body = slice_sub(in, 12, in.n - 16);
	memcpy(tag, in.p + in.n - 16, sizeof(tag));
	text = mem_array(body.n + 1, 1);
	rc = gcm(false, key, (const uint8_t *)in.p, about, body, text, tag);
	if (rc == 0)
		rc = buf_put(out, text, body.n);
	free(text);
	return rc;
}

int
crypto_base64(struct buf *out, struct slice in)
{
	static const char set[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *o = buf_reserve(out, (in.n + 2) / 3 * 4);

	if (o == NULL)
		return -1;
	size_t made = 0;
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)(uint8_t)in.p[i] << 16;
		if (left > 1)
			v |= (uint32_t)(uint8_t)in.p[i + 1] << 8;
		if (left > 2)
			v |= (uint8_t)in.p[i + 2];
		o[made++] = set[v >> 18];
		o[made++] = set[v >> 12 & 63];
		o[made++] = left > 1 ? set[v >> 6 & 63] : '=';
		o[made++] = left > 2 ? set[v & 63] : '=';
	}
	buf_commit(out, made);
	return 0;
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int
crypto_unbase64(struct buf *out, struct slice in)
{
	uint32_t v = 0;
	unsigned have = 0, pad = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		int d = base64_value(c);
		if (c == '=' && have + pad < 4 && have >= 2)
			d = 0, pad++;
		else if (d < 0 || pad > 0)
			return -1;
		else
			have++;
		v = v << 6 | (uint32_t)d;
		if (have + pad < 4)
			continue;
		const char three[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };
		if (buf_put(out, three, 3 - pad) != 0)
			return -1;
		if (pad > 0) {
			have = 0;	/* only white space may follow */
			continue;
		}
		have = 0;
		v = 0;
	}
	return have == 0 ? 0 : -1;
}

void
crypto_hex(const uint8_t *in, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[in[i] >> 4];
		out[2 * i + 1] = hex[in[i] & 15];
	}
	out[2 * n] = '\0';
}
