// SPDX-License-Identifier: Apache-2.0
/* Shared by relay/smtp_client.c (states, replies, transactions) and
 * relay/smtp_client_hello.c (greeting, capabilities, STARTTLS). Nobody else includes it. */
#ifndef RELAY_SMTP_CLIENT_PRIV_H
#define RELAY_SMTP_CLIENT_PRIV_H

#include "relay/reply.h"
#include "relay/smtp_client.h"
#include "relay/smtp_client_data.h"

enum client_state {
	CLIENT_ST_GREETING,	/* connected, waiting for 220 */
	CLIENT_ST_EHLO,		/* EHLO or LHLO sent */
	CLIENT_ST_HELO,		/* EHLO was not understood, HELO sent */
	CLIENT_ST_STARTTLS,
	CLIENT_ST_TLS,		/* the driver does the handshake */
	CLIENT_ST_READY,
	CLIENT_ST_ENVELOPE,	/* MAIL, RCPT, DATA under way */
	CLIENT_ST_DATA,		/* sending content */
	CLIENT_ST_EMPTY,	/* 354 though nobody was accepted: a lone dot sent */
	CLIENT_ST_FINAL,	/* final dot given to the driver */
	CLIENT_ST_RSET,
	CLIENT_ST_QUIT,
	CLIENT_ST_DEAD,
};

enum {
	CAP_PIPELINING = 1, CAP_8BITMIME = 2, CAP_SIZE = 4, CAP_DSN = 8, CAP_SMTPUTF8 = 16,
	CAP_STARTTLS = 32, CAP_REQUIRETLS = 64,
	CLIENT_OUT_MAX = 256 * 1024,	/* bytes of commands waiting for the driver */
};

struct smtp_client {
	enum client_state	 state;
	bool			 lmtp;
	bool			 want_tls;
	bool			 need_tls;	/* never a transaction in the clear */
	bool			 requiretls;
	bool			 no_starttls;	/* dead because there was none */
	bool			 tls;		/* the handshake is behind us */
	bool			 finished;	/* results of the last transaction are complete */
	bool			 mail_ok;	/* MAIL was accepted */
	bool			 utf8;		/* this transaction says SMTPUTF8 */
	char			*helo;		/* owned */
	unsigned		 caps;		/* CAP_* of the last EHLO */
	uint64_t		 size_max;	/* of SIZE; 0: none given */
	unsigned		 mail_max;	/* of LIMITS MAILMAX; 0: none given */
	unsigned		 progress;	/* whole replies seen */
	unsigned		 replies;	/* of this transaction, without a 421 at once */
	struct buf		 out;		/* commands not yet taken */
	struct reply		 reply;
	struct client_result	 failure;	/* why dead */

	struct client_message	 m;		/* borrowed from the driver */
	const struct client_rcpt *rcpt;		/* borrowed */
	size_t			 nrcpt;
	size_t			 asked;		/* commands queued: 0 MAIL, 1..n RCPT, n+1 DATA */
	size_t			 answered;	/* replies seen of them */
	size_t			 accepted;	/* recipients the server takes */
	size_t			 final_at;	/* LMTP: recipient the next final reply is for */
	struct client_data	 data;
	struct client_result	*result;	/* owned, nrcpt of them */
	uint8_t			*got;		/* owned, per recipient: RCPT_ASKED.. */
};

enum { RCPT_ST_ASKED, RCPT_ST_ACCEPTED, RCPT_ST_SETTLED };	/* smtp_client.got */

/* smtp_client.c */
void client_enter(struct smtp_client *c, enum client_state st);
void client_fill(struct client_result *r, uint8_t outcome, uint8_t scope, const char *enhanced,
    const char *text);
/* 2yz OK, 4yz TEMP, 5yz PERM; 421 closes the host's door whatever it answers; what
 * else there is (a 3yz out of place) is doubt. */
void client_from_reply(const struct smtp_client *c, struct client_result *r, uint8_t scope);
void client_die(struct smtp_client *c, const struct client_result *r);
void client_say(struct smtp_client *c, const char *verb, const char *arg);

/* smtp_client_hello.c */
void client_hello(struct smtp_client *c);
void client_on_hello(struct smtp_client *c);
void client_on_starttls(struct smtp_client *c);
/* Before the first transaction nothing is permanent: another host, or this one
 * tomorrow, may greet us better. */
void client_refused(struct smtp_client *c);

#endif
