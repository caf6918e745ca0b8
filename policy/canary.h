// SPDX-License-Identifier: Apache-2.0
/*
 * The canary: the one message we make up ourselves and send to a primary to see that it takes
 * mail. Should it come round to us (the store hands its mail on, or falls back to us), it
 * is known by its mark and is neither kept, forwarded nor counted. The mark is
 *
 *	X-Salvaposta-Canary: <unix time>.<16 hex>.<HMAC-SHA256 of both and the address>
 *
 * and only means a message to that one address, so nobody who has seen a mark can make mail
 * for others vanish with it.
 */
#ifndef POLICY_CANARY_H
#define POLICY_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { CANARY_KEY = 32, CANARY_AGE_MS = 3 * 24 * 3600 * 1000 /* a mark holds */ };

/* The key of this installation, from the one that its logs are hashed with. */
void canary_key(struct slice secret, uint8_t out[CANARY_KEY]);
/* The whole message, CRLF ended. 0, or -1 when it does not fit. */
int canary_make(struct buf *out, const uint8_t key[CANARY_KEY], struct slice address,
    struct slice host, int64_t wall_ms);
/* Does `header` (the start of a message) carry our mark for this recipient? */
bool canary_is(struct slice header, const uint8_t key[CANARY_KEY], struct slice address,
    int64_t wall_ms);

#endif
