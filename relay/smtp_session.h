// SPDX-License-Identifier: Apache-2.0
/*
 * The driver of the SMTP machine: one session is a connection, a lexer, a machine and
 * the message that is coming in. It does what the machine's steps say and nothing else;
 * session_enter is the only writer of the state.
 *
 * Memory: an idle session holds no buffer. Bodies are memfds, counted over all sessions of
 * the process against body-memory-max until the queue has answered; a DATA for which there
 * is no room waits a bounded time, then gets 452.
 */
#ifndef RELAY_SMTP_SESSION_H
#define RELAY_SMTP_SESSION_H

#include "relay/conn.h"
#include "relay/ingest.h"
#include "relay/smtp_machine.h"
#include "relay/tls.h"

struct smtp_server;
struct session;

/* What all sessions of a process share. `tls` is borrowed, NULL for none. */
struct smtp_server *smtp_server_new(struct loop *l, const struct conf *c, struct ingest *g,
    struct tls_context *tls);
/* The shared memory of greylisting: borrowed; without it there is none. */
void smtp_server_greylist(struct smtp_server *sv, int fd);
void smtp_server_reload(struct smtp_server *sv, const struct conf *c, struct tls_context *tls);
/* No more transactions: idle sessions get 421 now, the others when their message is done or
 * grace_ms are over. fn is called once, later, when the last is gone. */
void smtp_server_stop(struct smtp_server *sv, int64_t grace_ms, timer_fn *fn, void *arg);
void smtp_server_free(struct smtp_server **sp);

enum {
	SESSION_TLS	= 1,	/* STARTTLS may be offered here */
	SESSION_PROXY	= 2,	/* it begins with a PROXY header */
	SESSION_LMTP	= 4	/* LMTP is spoken */
};
/* Takes `fd`. `ip` is the peer's address as text. */
void session_start(struct smtp_server *sv, int fd, const char *ip, unsigned how);

struct smtp_server_stats {
	uint64_t	sessions_total, crowded, tls, tls_failed, timeouts;
	/* of crowded, and of timeouts */
	uint64_t	crowded_sessions, crowded_address, crowded_network, crowded_rate;
	uint64_t	timeouts_command, timeouts_data, timeouts_session, timeouts_tls;
	uint64_t	evicted;	/* idle sessions that made room */
	uint64_t	early;		/* talked before the banner */
	uint64_t	tarpitted;	/* replies that were given late */
	uint64_t	listed;		/* clients a blocklist names */
	uint64_t	greylisted;	/* recipients put off */
	uint64_t	guesses;	/* 421 to who guessed too many return paths */
	uint64_t	slow;		/* messages below data-rate-min */
	uint64_t	proxy_refused;	/* no trusted relay, or no PROXY header */
	uint64_t	count[SMTP_COUNT_MAX];	/* of the machine, by smtp_count_name */
	uint64_t	body_bytes;	/* memfds now */
	unsigned	sessions;	/* now */
	unsigned	waiting;	/* now, for body memory */
};
void smtp_server_stats(const struct smtp_server *sv, struct smtp_server_stats *out);

#endif
