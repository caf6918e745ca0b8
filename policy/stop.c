// SPDX-License-Identifier: Apache-2.0
#include "policy/stop.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/address.h"

/* The token: user, handle, day, MAC; big-endian. */
enum {
	STOP_AT_HANDLE = MSGID_LEN, STOP_AT_DAY = STOP_AT_HANDLE + 8, STOP_AT_MAC = STOP_AT_DAY + 2,
	STOP_MAC = 10,			/* 80 bits: not to be guessed through SMTP */
	STOP_BYTES = STOP_AT_MAC + STOP_MAC
};
_Static_assert(STOP_BYTES * 8 == STOP_TOKEN_LEN * 5, "the token has no bit over");
_Static_assert(sizeof(STOP_PREFIX) - 1 + STOP_TOKEN_LEN <= ADDRESS_LOCAL_MAX, "RFC 5321 4.5.3.1");

static const char set[] = "0123456789abcdefghijklmnopqrstuv";

static void
stop_mac(struct slice secret, struct slice domain, const uint8_t token[STOP_BYTES],
    uint8_t out[STOP_MAC])
{
	uint8_t key[32], mac[32];
	struct buf text;

	/* a key for nothing else, as for policy/token.h */
	crypto_hmac_sha256(secret, SLICE_LIT("salvaposta stop address 1"), key);
	buf_init(&text, STOP_AT_MAC + ADDRESS_DOMAIN_MAX);
	CHECK(buf_put(&text, token, STOP_AT_MAC) == 0 && buf_put_slice(&text, domain) == 0);
	crypto_hmac_sha256(slice_make(key, sizeof(key)), buf_slice(&text), mac);
	memcpy(out, mac, STOP_MAC);
	buf_fini(&text);
}

/* Five octets are eight characters. */
static void
stop_print(const uint8_t in[STOP_BYTES], char out[STOP_TOKEN_LEN + 1])
{
	for (size_t i = 0; i < STOP_TOKEN_LEN; i++) {
		size_t bit = i * 5, at = bit / 8;
		unsigned two = (unsigned)in[at] << 8 | (at + 1 < STOP_BYTES ? in[at + 1] : 0u);

		out[i] = set[two >> (11 - bit % 8) & 31];
	}
	out[STOP_TOKEN_LEN] = '\0';
}

static bool
stop_read(struct slice text, uint8_t out[STOP_BYTES])
{
	if (text.n != STOP_TOKEN_LEN)
		return false;
	memset(out, 0, STOP_BYTES);
	for (size_t i = 0; i < STOP_TOKEN_LEN; i++) {
		const char *p = memchr(set, ascii_lower(text.p[i]), sizeof(set) - 1);
		size_t bit = i * 5, at = bit / 8;

		if (p == NULL)
			return false;
		unsigned two = (unsigned)(p - set) << (11 - bit % 8);
		out[at] = (uint8_t)(out[at] | two >> 8);
		if (at + 1 < STOP_BYTES)
			out[at + 1] = (uint8_t)(out[at + 1] | (two & 255));
	}
	return true;
}

bool
stop_is(struct slice local)
{
	return slice_istarts(local, SLICE_LIT(STOP_PREFIX));
}

int
stop_address(const struct srs *s, uint32_t day, const struct stop *x, struct buf *out)
{
	uint8_t token[STOP_BYTES];
	char text[STOP_TOKEN_LEN + 1];

	if (s->nsecret == 0 || s->domain.n == 0 || s->domain.n > ADDRESS_DOMAIN_MAX)
		return -1;
	memcpy(token, x->user.b, MSGID_LEN);
	for (int i = 0; i < 8; i++)
		token[STOP_AT_HANDLE + i] = (uint8_t)(x->handle >> (56 - 8 * i));
	token[STOP_AT_DAY] = (uint8_t)(day >> 8);
	token[STOP_AT_DAY + 1] = (uint8_t)day;
	stop_mac(s->secret[0], s->domain, token, token + STOP_AT_MAC);
	stop_print(token, text);
	return buf_printf(out, STOP_PREFIX "%s@%.*s", text, SLICE_FMT(s->domain));
}

static bool
is_ours(const struct srs *s, const uint8_t token[STOP_BYTES])
{
	uint8_t mac[STOP_MAC];
	bool yes = false;

	for (size_t i = 0; i < s->nsecret; i++) {
		stop_mac(s->secret[i], s->domain, token, mac);
		yes = crypto_equal(mac, token + STOP_AT_MAC, STOP_MAC) || yes;
	}
	return yes;
}

enum srs_result
stop_check(const struct srs *s, uint32_t day, unsigned max_age, struct slice address,
    struct stop *out)
{
	size_t at = slice_rfind(address, '@');
	struct slice local = slice_sub(address, 0, at);
	uint8_t token[STOP_BYTES];

	if (at >= address.n || s->domain.n == 0 || s->domain.n > ADDRESS_DOMAIN_MAX ||
	    !slice_ieq(slice_sub(address, at + 1, address.n), s->domain) || !stop_is(local))
		return SRS_NOT_SRS;
	if (!stop_read(slice_sub(local, sizeof(STOP_PREFIX) - 1, local.n), token) ||
	    !is_ours(s, token))
		return SRS_BAD_HASH;
	/* 16 bits of a day: 179 years, and the age may be negative by a clock that is late */
	uint16_t then = (uint16_t)(token[STOP_AT_DAY] << 8 | token[STOP_AT_DAY + 1]);
	uint16_t age = (uint16_t)(day - then);
	if (age > max_age && age != UINT16_MAX)
		return SRS_EXPIRED;
	memcpy(out->user.b, token, MSGID_LEN);
	out->handle = 0;
	for (int i = 0; i < 8; i++)
		out->handle = out->handle << 8 | token[STOP_AT_HANDLE + i];
	return SRS_OK;
}
