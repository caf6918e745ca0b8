// SPDX-License-Identifier: Apache-2.0
/*
 * The client side of one SMTP (RFC 5321) or LMTP (RFC 2033) connection as a machine
 * without a socket: the driver feeds what the server said, sends what the machine
 * wants said, and after each of both looks at client_need.
 *
 *	new -> greeting, hello, STARTTLS if offered, hello -> CLIENT_READY
 *	client_send -> ... -> client_finished: one result per recipient is there
 *	-> CLIENT_READY again (after RSET where one is needed) or CLIENT_DEAD
 *
 * What it promises: DELIVER_OK only for a 2yz after the final dot; whatever ends after
 * the final dot left us without a reply is DELIVER_UNKNOWN; a next hop that could not
 * carry the message unchanged is DELIVER_LOCAL and saw nothing of it (spec 3.7, 3.9).
 */
#ifndef RELAY_SMTP_CLIENT_H
#define RELAY_SMTP_CLIENT_H

#include "base/proto/relay_queue.h"

enum {
	CLIENT_RCPTS_MAX = 100,		/* of one transaction */
	CLIENT_TEXT_MAX = 512,		/* bytes kept of a reply's text */
};

enum client_need {
	CLIENT_BUSY,		/* send client_output, feed client_input */
	CLIENT_NEED_TLS,	/* start TLS, then client_tls_done */
	CLIENT_READY,		/* takes a message, or client_quit */
	CLIENT_DEAD,		/* nothing more to say here: close; see client_failure */
};

struct client_config {
	bool		lmtp;
	bool		tls;	/* use STARTTLS where offered */
	const char	*helo;	/* our name, copied */
	bool		tls_required;	/* nothing but EHLO and STARTTLS in the clear */
	bool		requiretls;	/* messages go out with REQUIRETLS (RFC 8689) */
};

struct client_message {		/* all borrowed until client_finished */
	struct slice	mail_from;	/* no brackets, "" null */
	struct slice	prefix, body, cuts, suffix;	/* the content, as in queue_deliver */
	struct slice	envid, ret;	/* RFC 3461, sent where DSN is offered */
	bool		need_8bit;
	bool		need_utf8;	/* the sender asked for it: kept where something is not ASCII */
};

struct client_rcpt {		/* borrowed like the message */
	struct slice	address;
	struct slice	orcpt;
	uint8_t		notify;	/* NOTIFY_* */
};

struct client_result {
	uint8_t		outcome;	/* enum deliver_outcome */
	uint8_t		scope;		/* enum deliver_scope */
	uint16_t	code;		/* 0 without a reply */
	char		enhanced[12];
	char		text[CLIENT_TEXT_MAX];	/* printable */
};

struct smtp_client;

struct smtp_client *client_new(const struct client_config *cfg);
void client_free(struct smtp_client **cp);

/* Bytes of the server; all are taken unless STARTTLS was just accepted: what follows
 * that reply is not ours to believe (spec 13.6). */
size_t client_input(struct smtp_client *c, struct slice in);
/* The next piece to send, at most max bytes, n == 0 for none now; then how much of it
 * was taken. */
struct slice client_output(struct smtp_client *c, size_t max);
void client_sent(struct smtp_client *c, size_t n);

enum client_need client_need(const struct smtp_client *c);
void client_tls_done(struct smtp_client *c);
/* The connection is gone (closed, error, timeout, failed handshake). `unsent`: bytes of
 * client_output that certainly never left this machine. */
void client_lost(struct smtp_client *c, size_t unsent, const char *why);

/* Starts a transaction; only when CLIENT_READY. n in 1..CLIENT_RCPTS_MAX. */
void client_send(struct smtp_client *c, const struct client_message *m,
    const struct client_rcpt *rcpt, size_t n);
/* The transaction started last is over; its results, borrowed until the next one. */
bool client_finished(const struct smtp_client *c);
const struct client_result *client_results(const struct smtp_client *c);
/* The server said nothing to this transaction (or 421 at once): it may be tried on a
 * fresh connection without having failed. */
bool client_untouched(const struct smtp_client *c);

void client_quit(struct smtp_client *c);	/* then BUSY until 221, then DEAD */

/* Why it is CLIENT_DEAD when that was before the first transaction. */
const struct client_result *client_failure(const struct smtp_client *c);
unsigned client_mail_max(const struct smtp_client *c);	/* LIMITS MAILMAX (RFC 9422), 0: none */
bool client_dsn(const struct smtp_client *c);		/* the server offers DSN */
/* It is CLIENT_DEAD because STARTTLS was refused, or is required and was not offered. */
bool client_no_starttls(const struct smtp_client *c);
bool client_awaits_end(const struct smtp_client *c);	/* content sent, reply to come */
bool client_sending(const struct smtp_client *c);	/* in the middle of the content */
unsigned client_progress(const struct smtp_client *c);	/* changes with each whole reply */
const char *client_state_name(const struct smtp_client *c);

#endif
