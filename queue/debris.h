// SPDX-License-Identifier: Apache-2.0
/*
 * The bodies of bounces, for somebody who has to find out why they are not understood (spec
 * 2.2.5): only with a key, never by default, for a day at most. Each is a file of its own in
 * `bounces` of the queue's directory, mode 0600, sealed with AES-256-GCM under a key made
 * from bounce-debug-key-file; its name is the message's id, which is bound to it.
 *
 *	8 bytes "SvpBnc1\n", 8 bytes wall clock in ms when it came, nonce, text, tag
 *
 * Bounded in number, bytes and time: the oldest go first. Nothing is synced: what a power
 * cut leaves of a file does not open, and goes in its time.
 */
#ifndef QUEUE_DEBRIS_H
#define QUEUE_DEBRIS_H

#include "base/buf.h"
#include "base/msgid.h"
#include "base/slice.h"

enum { DEBRIS_ONE_MAX = 1024 * 1024 /* of a larger one the beginning is kept */ };

struct debris;

struct debris_bounds {
	unsigned max;		/* files */
	uint64_t size_max;	/* bytes of all */
	int64_t	 age_ms;
};

/* Borrows `dirfd` for its life. Without a key ("") nothing is kept, and what there is goes.
 * Never NULL. */
struct debris *debris_open(int dirfd, struct slice key, const struct debris_bounds *b);
void debris_close(struct debris **dp);
void debris_limit(struct debris *d, const struct debris_bounds *b);
bool debris_keeps(const struct debris *d);
/* 0, or -1 with errno: then it is not kept, which hurts nobody. */
int debris_put(struct debris *d, struct msgid id, struct slice body, int64_t now_ms);
/* Appends the body. 0, or -1: not there, not ours. */
int debris_get(struct debris *d, struct msgid id, struct buf *out);
/* What is too old goes. Call now and then. */
void debris_sweep(struct debris *d, int64_t now_ms);
size_t debris_count(const struct debris *d);

#endif
