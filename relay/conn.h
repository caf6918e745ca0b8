// SPDX-License-Identifier: Apache-2.0
/*
 * A TCP connection with bounded buffers and optional TLS, driven by the loop; the
 * only place that reads or writes a mail socket. Used by the listener's sessions
 * and by outgoing deliveries. Callbacks may close the connection; it is reaped at
 * the end of the turn (conn_close marks, the loop frees).
 */
#ifndef RELAY_CONN_H
#define RELAY_CONN_H

#include <sys/socket.h>

#include "base/loop.h"
#include "base/slice.h"
#include "relay/tls.h"

struct conn;

enum conn_event {
	CONN_CONNECTED,		/* outgoing only; never from within conn_connect */
	CONN_TLS,		/* the handshake is done */
	CONN_WRITABLE,		/* output fell below the low mark after conn_write said full */
	CONN_EOF,		/* peer closed orderly */
	CONN_ERROR,		/* errno-like text in conn_error */
	CONN_TIMEOUT,		/* the deadline of conn_deadline passed */
};

struct conn_ops {
	/* Bytes came in. Returns how many were consumed; the rest stays (bounded) and
	 * is offered again with more, or after conn_resume. */
	size_t	(*input)(void *arg, struct slice in);
	void	(*event)(void *arg, enum conn_event ev);
};

/* Takes `fd` (non-blocking is set here). */
struct conn *conn_accepted(struct loop *l, int fd, const struct conn_ops *ops, void *arg);
/* Starts connecting; NULL with errno when it cannot even start. bind_to may be NULL. */
struct conn *conn_connect(struct loop *l, const struct sockaddr *to, socklen_t len,
    const struct sockaddr *bind_to, socklen_t bind_len, const struct conn_ops *ops, void *arg);
void conn_close(struct conn **cp);	/* at once; what was not sent is lost */
void conn_finish(struct conn **cp);	/* sends what is buffered (bounded time), then closes */

enum {
	CONN_WRITE_MAX	= 64 * 1024,	/* most bytes in one conn_write */
	CONN_SMALL	= 4096,		/* a write that may go beyond the first bound */
	CONN_OUT_LOW	= 32 * 1024,	/* CONN_WRITABLE comes below it; an accepted connection
					 * takes no input while more than this waits */
	CONN_INPUT	= 64 * 1024	/* most input that waits unconsumed; more is CONN_ERROR */
};
/* Copies into the output buffer, which is sent when the callback returns. -1 when it is
 * above its bound (nothing was taken): wait for CONN_WRITABLE. Writes of at most
 * CONN_SMALL fit until a second bound. */
int conn_write(struct conn *c, struct slice s);
size_t conn_pending(const struct conn *c);	/* bytes not yet taken by the kernel */

void conn_pause(struct conn *c);	/* no more input(), CONN_EOF until conn_resume */
void conn_resume(struct conn *c);	/* also offers again what was left over, later */
/* How much is taken from the socket at once: 16 KiB at first, so that one peer cannot make
 * us buffer more than that ahead of a waiting command; more while a message flows in. */
void conn_read_size(struct conn *c, size_t n);
void conn_deadline(struct conn *c, int64_t after_ms);	/* one timer; <0 none */

/*
 * Starts TLS. Plaintext that was received but not consumed is discarded (response
 * and command injection, spec 13.6); ends in CONN_TLS or CONN_ERROR.
 */
int conn_start_tls(struct conn *c, struct tls_context *ctx, const char *server_name);
/* The same for a client that has more to say of whom it expects; `p` is borrowed until
 * return. -1 also when no TLSA record given can be used. */
int conn_start_tls_peer(struct conn *c, struct tls_context *ctx, const struct tls_peer *p);
/* After CONN_ERROR in a handshake: what was wrong with the peer. */
enum tls_fault conn_tls_fault(const struct conn *c);
const struct tls_info *conn_tls(const struct conn *c);	/* NULL when in the clear */
const char *conn_error(const struct conn *c);

#endif
