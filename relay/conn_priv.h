// SPDX-License-Identifier: Apache-2.0
/* What conn.c and conn_tls.c share; nobody else includes it. */
#ifndef RELAY_CONN_PRIV_H
#define RELAY_CONN_PRIV_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "relay/conn.h"

enum conn_state {
	CONN_S_CONNECTING,
	CONN_S_OPEN,
	CONN_S_BEFORE_TLS,	/* sending what was said in the clear */
	CONN_S_HANDSHAKE,
	CONN_S_FINISH,		/* no owner; sending the rest */
	CONN_S_LINGER,		/* no owner; waiting for the peer to close */
	CONN_S_FAILED,		/* the owner was told; waits for conn_close */
	CONN_S_DEAD		/* no owner, no descriptor; freed at the end of the turn */
};

struct conn {
	struct loop		*loop;
	struct watch		*watch;		/* owned */
	struct timer		*timer;		/* owned, NULL until a deadline is set */
	int64_t			 deadline;	/* mono ms, -1 none; the timer may fire earlier */
	int64_t			 armed;		/* mono ms the timer fires at, -1 not armed */
	const struct conn_ops	*ops;
	void			*arg;		/* the owner; borrowed */
	SSL			*ssl;		/* owned, NULL in the clear */
	struct tls_info		*info;		/* owned, once the handshake is done */
	struct buf		 in;		/* what the owner left over */
	struct buf		 out;		/* what the kernel has not taken */
	char			*error;		/* owned */
	size_t			 read_size;
	int			 fd;		/* owned, -1 when dead */
	uint8_t			 state;		/* enum conn_state */
	uint8_t			 fault;		/* enum tls_fault, of a failed handshake */
	bool			 paused;
	bool			 knocked;	/* input came while paused: stop watching */
	bool			 blocked;	/* the kernel took no more output: watch for room */
	bool			 broken;	/* nothing can be sent any more, perhaps read */
	bool			 backpressure;	/* no input while much output waits */
	bool			 in_input;	/* ops->input is on the stack */
	bool			 turn_due;	/* conn_turn will run */
	bool			 refused;	/* conn_write said full: owes a CONN_WRITABLE */
	bool			 unread;	/* the peer may have sent what we never read */
	bool			 read_wants_write;	/* TLS: only a write lets reading go on */
	bool			 write_wants_read;
	bool			 more;		/* TLS holds decrypted bytes the loop cannot see */
	bool			 offer;		/* leftovers are to be offered again */
	bool			 secure;	/* bytes go through ssl, not to the socket */
	bool			 named;		/* the peer's certificate was to carry a name */
};

/* conn.c */
void conn_interest(struct conn *c);
void conn_enter(struct conn *c, enum conn_state st);
void conn_turn_soon(struct conn *c);
void conn_event(struct conn *c, enum conn_event ev);
void conn_fail(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* conn_tls.c */
const char *conn_ssl_reason(int saved_errno);	/* of the last failed call */
void conn_handshake(struct conn *c);

#endif
