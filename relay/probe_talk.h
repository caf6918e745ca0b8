// SPDX-License-Identifier: Apache-2.0
/*
 * What a probe says to a primary and what it makes of the answers: one SMTP or LMTP dialogue
 * as deep as asked, as a machine without a socket. The driver (relay/probe.c) feeds what the
 * server said, sends what is in probe_talk.out, and looks at probe_talk.state.
 *
 *	greeting	220, EHLO or LHLO, STARTTLS and again where it is offered
 *	rcpt		MAIL FROM:<>, RCPT TO:<canary>
 *	data		the canary message; the reply to its end counts
 */
#ifndef RELAY_PROBE_TALK_H
#define RELAY_PROBE_TALK_H

#include "base/buf.h"
#include "base/proto/relay_probe.h"
#include "relay/reply.h"

enum probe_talk_state { PROBE_TALK_BUSY, PROBE_TALK_TLS /* start it */, PROBE_TALK_DONE };

struct probe_talk_config {	/* borrowed for the life of the talk */
	bool		lmtp;
	bool		tls;		/* use STARTTLS where offered */
	uint8_t		depth;		/* enum conf_probe_depth, greeting or deeper */
	struct slice	helo, canary;	/* canary "": not deeper than greeting */
	struct slice	message;	/* of depth data: CRLF lines, none begins with a dot */
};

struct probe_talk {		/* open to the driver and tests */
	const struct probe_talk_config *cfg;
	enum probe_talk_state	 state;
	enum probe_stage	 stage;		/* what is awaited */
	struct reply		 reply;
	struct buf		 out;		/* to be sent; the driver drops what it took */
	bool			 secure;
	enum probe_outcome	 outcome;	/* once DONE */
	uint16_t		 code;
	char			 text[256];	/* printable */
};

void probe_talk_init(struct probe_talk *t, const struct probe_talk_config *cfg);
void probe_talk_fini(struct probe_talk *t);
/* Bytes of the server; how many were used. After STARTTLS was accepted none are. */
size_t probe_talk_input(struct probe_talk *t, struct slice in);
void probe_talk_secured(struct probe_talk *t);	/* the handshake is done */
/* The connection is gone or too slow: DONE, if it was not. */
void probe_talk_lost(struct probe_talk *t, const char *why);
const char *probe_stage_name(enum probe_stage s);

#endif
