// SPDX-License-Identifier: Apache-2.0
/*
 * A Feistel network over two halves of 60 bits, its round function HMAC-SHA256 under a key
 * made from the secret for this alone. Four rounds make a permutation that stands against
 * chosen text in both directions (Luby and Rackoff 1988); six are taken.
 */
#include "policy/token.h"

#include "base/crypto.h"

enum { TOKEN_BYTES = 15, TOKEN_ROUNDS = 6 };

static const char set[] = "0123456789abcdefghijklmnopqrstuv";
static const uint64_t half_mask = (1ULL << 60) - 1;

struct halves {
	uint64_t left, right;	/* 60 bits each */
};

static uint64_t
token_round(const uint8_t key[32], unsigned round, uint64_t half)
{
	char in[9] = { (char)round };
	uint8_t mac[32];
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		in[1 + i] = (char)(uint8_t)(half >> (56 - 8 * i));
	crypto_hmac_sha256(slice_make((const char *)key, 32), slice_make(in, sizeof(in)), mac);
	for (int i = 0; i < 8; i++)
		v = v << 8 | mac[i];
	return v & half_mask;
}

/* A key for nothing else, so that no hash of a return path tells anything of it. */
static void
token_key(struct slice secret, uint8_t key[32])
{
	crypto_hmac_sha256(secret, SLICE_LIT("salvaposta return-path token 1"), key);
}

static struct halves
halves_of(const uint8_t in[TOKEN_BYTES])
{
	struct halves h = { 0, 0 };

	for (int i = 0; i < 7; i++) {
		h.left = h.left << 8 | in[i];
		h.right = h.right << 8 | in[8 + i];
	}
	h.left = h.left << 4 | in[7] >> 4;
	h.right |= (uint64_t)(in[7] & 15) << 56;
	return h;
}

static void
halves_bytes(struct halves h, uint8_t out[TOKEN_BYTES])
{
	for (int i = 0; i < 7; i++) {
		out[i] = (uint8_t)(h.left >> (52 - 8 * i));
		out[8 + i] = (uint8_t)(h.right >> (48 - 8 * i));
	}
	out[7] = (uint8_t)((h.left & 15) << 4 | h.right >> 56);
}

static void
halves_text(struct halves h, char out[SRS_TOKEN_LEN + 1])
{
	for (int i = 0; i < 12; i++) {
		out[i] = set[h.left >> (55 - 5 * i) & 31];
		out[12 + i] = set[h.right >> (55 - 5 * i) & 31];
	}
	out[SRS_TOKEN_LEN] = '\0';
}

static bool
text_halves(struct slice t, struct halves *h)
{
	if (t.n != SRS_TOKEN_LEN)
		return false;
	*h = (struct halves){ 0, 0 };
	for (size_t i = 0; i < SRS_TOKEN_LEN; i++) {
		const char *at = memchr(set, ascii_lower(t.p[i]), 32);
		uint64_t *half = i < 12 ? &h->left : &h->right;

		if (at == NULL)
			return false;
		*half = *half << 5 | (uint64_t)(at - set);
	}
	return true;
}

void
token_seal(struct slice secret, const struct token_leg *leg, char out[SRS_TOKEN_LEN + 1])
{
	uint8_t key[32], plain[TOKEN_BYTES] = { 0 };	/* the last two stay 0: a check */
	struct halves h;

	memcpy(plain, leg->id.b, MSGID_LEN);
	plain[10] = (uint8_t)(leg->rcpt_index >> 8);
	plain[11] = (uint8_t)leg->rcpt_index;
	plain[12] = leg->attempt;
	token_key(secret, key);
	h = halves_of(plain);
	for (unsigned i = 0; i < TOKEN_ROUNDS; i++)
		h = (struct halves){ h.right, h.left ^ token_round(key, i, h.right) };
	halves_text(h, out);
}

bool
token_open(struct slice secret, struct slice token, struct token_leg *leg)
{
	uint8_t key[32], plain[TOKEN_BYTES];
	struct halves h;

	if (!text_halves(token, &h))
		return false;
	token_key(secret, key);
	for (unsigned i = TOKEN_ROUNDS; i-- > 0;)
		h = (struct halves){ h.right ^ token_round(key, i, h.left), h.left };
	halves_bytes(h, plain);
	memcpy(leg->id.b, plain, MSGID_LEN);
	leg->rcpt_index = (uint16_t)(plain[10] << 8 | plain[11]);
	leg->attempt = plain[12];
	return plain[13] == 0 && plain[14] == 0;
}
