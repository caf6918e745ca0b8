// SPDX-License-Identifier: Apache-2.0
/*
 * The DNS names that the last message of a client and sender domain wanted: the next one
 * brings their answers along and its first evaluation suffices. A fixed table; a wrong or
 * lost memo costs one more round, never a wrong verdict.
 */
#ifndef RELAY_INGEST_MEMO_H
#define RELAY_INGEST_MEMO_H

#include "base/slice.h"

enum { INGEST_MEMO_MAX = 4096 /* bytes of names kept for one sender */ };

struct ingest_memo;

struct ingest_memo *ingest_memo_new(void);
void ingest_memo_free(struct ingest_memo **mp);
/* `wants`: items of struct dns_want. */
void ingest_memo_put(struct ingest_memo *m, struct slice client_ip, struct slice domain,
    struct slice wants);
/* Borrowed until the next put; SLICE_NONE when nothing is known. */
struct slice ingest_memo_get(const struct ingest_memo *m, struct slice client_ip,
    struct slice domain);

#endif
