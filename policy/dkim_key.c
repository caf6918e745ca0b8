// SPDX-License-Identifier: Apache-2.0
#include "policy/dkim_key.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/crypto.h"

static struct {
	struct kept_key {
		uint8_t		 id[32];	/* SHA-256 of the octets */
		EVP_PKEY	*key;		/* owned; NULL: free */
	}	 key[DKIM_KEYS];
	unsigned next;				/* slot to be used again */
	struct dkim_key_counts counts;
} kept;

static EVP_PKEY *
find(const uint8_t id[32])
{
	for (size_t i = 0; i < DKIM_KEYS; i++)
		if (kept.key[i].key != NULL && memcmp(kept.key[i].id, id, sizeof(kept.key[i].id)) == 0)
			return kept.key[i].key;
	return NULL;
}

static void
keep(const uint8_t id[32], EVP_PKEY *key)
{
	struct kept_key *k = &kept.key[kept.next];

	kept.next = (kept.next + 1) % DKIM_KEYS;
	EVP_PKEY_free(k->key);
	memcpy(k->id, id, sizeof(k->id));
	k->key = key;
}

/* Most publish a SubjectPublicKeyInfo, some the bare RSAPublicKey that the text of RFC 6376
 * 3.6.1 asks for. */
static EVP_PKEY *
read_key(const unsigned char *octets, int n)
{
	const unsigned char *p = octets;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, n);

	if (key != NULL)
		return key;
	p = octets;
	return d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, n);
}

/* The key as libcrypto reads it, once. NULL: not a key, and OpenSSL's error is set. */
static EVP_PKEY *
key_of(const unsigned char *octets, int n)
{
	uint8_t id[32];
	EVP_PKEY *key;

	crypto_sha256(slice_make((const char *)octets, (size_t)n), id);
	key = find(id);
	if (key != NULL) {
		kept.counts.reused++;
	} else {
		kept.counts.read++;
		key = read_key(octets, n);
		if (key == NULL)
			return NULL;
		keep(id, key);
	}
	return EVP_PKEY_up_ref(key) == 1 ? key : NULL;
}

/* In front of libcrypto's (see the header). Only what is all there and is taken as a new
 * object is looked up, which is what libopendkim asks for; anything else goes as ever. */
EVP_PKEY *
d2i_PUBKEY_bio(BIO *bio, EVP_PKEY **into)
{
	unsigned char octets[DKIM_KEY_OCTETS_MAX];
	size_t n = BIO_method_type(bio) == BIO_TYPE_MEM ? BIO_ctrl_pending(bio) : 0;

	if (into != NULL || n == 0 || n > sizeof(octets))
		return ASN1_d2i_bio_of(EVP_PKEY, EVP_PKEY_new, d2i_PUBKEY, bio, into);
	return BIO_read(bio, octets, (int)n) == (int)n ? key_of(octets, (int)n) : NULL;
}

struct dkim_key_counts
dkim_key_counts(void)
{
	return kept.counts;
}

void
dkim_key_forget(void)
{
	for (size_t i = 0; i < DKIM_KEYS; i++) {
		EVP_PKEY_free(kept.key[i].key);
		kept.key[i].key = NULL;
	}
}
