// SPDX-License-Identifier: Apache-2.0
/*
 * The small things every role needs from OpenSSL: MACs, digests, randomness,
 * and the text forms of bytes. TLS lives in relay/tls.h, signatures in
 * policy/sign.h.
 */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

void crypto_random(void *out, size_t n);	/* aborts when the kernel has none */
void crypto_sha256(struct slice in, uint8_t out[32]);
void crypto_hmac_sha1(struct slice key, struct slice in, uint8_t out[20]);
void crypto_hmac_sha256(struct slice key, struct slice in, uint8_t out[32]);
bool crypto_equal(const void *a, const void *b, size_t n);	/* constant time */

/* AES-256-GCM: appends nonce, text and tag, CRYPTO_SEAL_MORE bytes more than `in`; `about` is
 * bound to it. 0 or -1; crypto_open: -1 also for what this key did not seal so. */
enum { CRYPTO_SEAL_MORE = 12 + 16 };
int crypto_seal(const uint8_t key[32], struct slice about, struct slice in, struct buf *out);
int crypto_open(const uint8_t key[32], struct slice about, struct slice in, struct buf *out);

int crypto_base64(struct buf *out, struct slice in);	/* one line, padded */
int crypto_unbase64(struct buf *out, struct slice in);	/* ignores white space */
void crypto_hex(const uint8_t *in, size_t n, char *out);	/* out: 2n + 1 */

uint32_t crc32c(uint32_t crc, const void *p, size_t n);	/* start with 0 */

#endif
