// SPDX-License-Identifier: Apache-2.0
#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
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

void
crypto_sha256(struct slice in, uint8_t out[32])
{
	CHECK(EVP_Digest(in.p, in.n, out, NULL, EVP_sha256(), NULL) == 1);
}

static void
hmac(const EVP_MD *md, struct slice key, struct slice in, uint8_t *out)
{
	/* HMAC() takes a NULL key as "the one of last time". */
	const void *k = key.n == 0 ? "" : key.p;
	CHECK(HMAC(md, k, (int)key.n, (const unsigned char *)in.p, in.n, out, NULL) != NULL);
}

void
crypto_hmac_sha1(struct slice key, struct slice in, uint8_t out[20])
{
	hmac(EVP_sha1(), key, in, out);
}

void
crypto_hmac_sha256(struct slice key, struct slice in, uint8_t out[32])
{
	hmac(EVP_sha256(), key, in, out);
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
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
