// SPDX-License-Identifier: Apache-2.0
/*
 * The signers' public keys, kept as OpenSSL's objects.
 *
 * libopendkim reads a key from its octets for each signature that it verifies. OpenSSL 3.0
 * takes some 0.25 ms for that, since it tries every decoder it has: six times what
 * the check of an RSA signature takes. The library knows no way to be given the finished
 * key, but it reads it by one function of libcrypto, d2i_PUBKEY_bio(). This module
 * defines a function of that name, which the dynamic linker finds before libcrypto's
 * (ELF: the program comes first). It does what the other does, takes the bare RSAPublicKey as
 * well, and remembers the last keys.
 *
 * What is remembered is a pure function of the octets: never a message, never a verdict.
 */
#ifndef POLICY_DKIM_KEY_H
#define POLICY_DKIM_KEY_H

#include <stdint.h>

enum { DKIM_KEYS = 64, DKIM_KEY_OCTETS_MAX = 2048 };	/* keys kept; larger ones are not */

struct dkim_key_counts {
	uint64_t	read, reused;
};
/* Of this process, since its start: how a test sees that the library comes this way. */
struct dkim_key_counts dkim_key_counts(void);

void dkim_key_forget(void);	/* frees them all */

#endif
