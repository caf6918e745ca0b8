// SPDX-License-Identifier: Apache-2.0
/*
 * One end of a SOCK_SEQPACKET pair between two roles: typed messages of at
 * most IPC_MAX bytes, each with at most one descriptor. Sending never blocks:
 * what the socket does not take waits here in order. A malformed frame means a
 * broken peer; the channel closes and on_close says so.
 */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include <stdint.h>

#include "base/loop.h"
#include "base/slice.h"
#include "base/wire.h"

enum { IPC_MAX = 128 * 1024 };	/* bytes of one message with its 8-byte head */

struct ipc;

/* `body` is borrowed until return. `fd` is -1 or the callee's to close. */
typedef void ipc_message_fn(void *arg, struct ipc *ch, uint32_t type,
    struct slice body, int fd);
/* The peer is gone. The callee frees the channel (now or later). */
typedef void ipc_close_fn(void *arg, struct ipc *ch);

int ipc_pair(int fd[2]);	/* close-on-exec, non-blocking; 0 or -1 */

/* Takes `fd`. */
struct ipc *ipc_new(struct loop *l, int fd, ipc_message_fn *on_message,
    ipc_close_fn *on_close, void *arg);
void ipc_free(struct ipc **chp);

/*
 * Encodes and sends; `fd` (-1 for none) is borrowed: it is duplicated if it has
 * to wait. -1 when the message does not fit IPC_MAX (errno EMSGSIZE) or the
 * channel is closed (EPIPE).
 */
int ipc_send(struct ipc *ch, uint32_t type, const struct wire_desc *d,
    const void *msg, int fd);
size_t ipc_waiting(const struct ipc *ch);	/* messages not yet taken by the socket */

/* Takes what is waiting at once, without the loop (used at start). Blocks up to
 * timeout_ms for one message; 1 handled, 0 timeout, -1 closed. */
int ipc_wait(struct ipc *ch, int timeout_ms);

#endif
