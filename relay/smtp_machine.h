// SPDX-License-Identifier: Apache-2.0
/*
 * The server side of RFC 5321 without a socket: (state, what came in) gives the reply
 * text, what the driver has to do, and the next state. It never writes the state: that is
 * session_enter's. Replies go to the buffer given, with CRLF, in order.
 *
 * A session waits in a named state; while it does, no command is read (the driver pauses
 * input), so replies cannot overtake each other.
 */
#ifndef RELAY_SMTP_MACHINE_H
#define RELAY_SMTP_MACHINE_H

#include "base/buf.h"
#include "base/conf.h"
#include "base/envelope.h"
#include "relay/smtp_lexer.h"
#include "relay/smtp_xclient.h"

enum smtp_state {
	SMTP_NEW,		/* nothing said yet */
	SMTP_PROXY,		/* a PROXY header is expected */
	SMTP_PAUSE,		/* the banner is kept back for a while */
	SMTP_GREETED,		/* banner sent, or TLS just begun: EHLO is expected */
	SMTP_READY,		/* EHLO done, no transaction */
	SMTP_MAIL,		/* sender given */
	SMTP_RCPT,		/* at least one recipient taken */
	SMTP_WAIT_RCPT,		/* directory or seal is asked about a recipient */
	SMTP_WAIT_MEMORY,	/* DATA was said, no room for a body yet */
	SMTP_DATA,		/* content is coming in */
	SMTP_CHUNK,		/* octets of BDAT are coming in, to be kept or not */
	SMTP_BDAT,		/* between chunks */
	SMTP_WAIT_VERDICT,	/* verify and DNS are at work */
	SMTP_WAIT_COMMIT,	/* the queue is making it stable */
	SMTP_TLS,		/* handshake */
	SMTP_LATE,		/* an error is answered after a pause */
	SMTP_CLOSING,		/* the last reply is on its way */
	SMTP_STATE_MAX
};
const char *smtp_state_name(enum smtp_state st);

enum smtp_action {
	SMTP_DO_NOTHING,
	SMTP_DO_SENDER,		/* a sender was taken: its DNS names will be needed soon */
	SMTP_DO_DIRECTORY,	/* ask about m->pending */
	SMTP_DO_SEAL,		/* likewise */
	SMTP_DO_BODY,		/* make room for a body, then smtp_machine_body */
	SMTP_DO_CHUNK,		/* read m->chunk octets, then smtp_machine_chunk */
	SMTP_DO_KEEP,		/* evaluate and commit, then smtp_machine_kept */
	SMTP_DO_TLS,		/* start the handshake after the reply */
	SMTP_DO_CLOSE		/* send what is said, then close */
};

struct smtp_step {
	enum smtp_state		next;
	enum smtp_action	action;
};

/* What is counted here over all sessions, one for each bound of the machine. */
enum smtp_count {
	SMTP_COUNT_RCPT_TAKEN,		/* recipients that got 250 */
	SMTP_COUNT_RCPT_DEFERRED,	/* ... 4yz */
	SMTP_COUNT_RCPT_REFUSED,	/* ... 5yz */
	SMTP_COUNT_ERRORS,		/* sessions ended: errors-max */
	SMTP_COUNT_JUNK,		/* ... junk-commands-max */
	SMTP_COUNT_COMMANDS,		/* ... commands-max */
	SMTP_COUNT_REFUSALS,		/* ... refusals-max */
	SMTP_COUNT_MESSAGES,		/* ... messages-max */
	SMTP_COUNT_BARE_COMMANDS,	/* ... command lines with bare CR or LF */
	SMTP_COUNT_BAD_CHUNKS,		/* ... a BDAT that is not understood */
	SMTP_COUNT_RECIPIENTS,		/* recipients beyond recipients-max */
	SMTP_COUNT_SIZE,		/* messages above message-size-max, promised or sent */
	SMTP_COUNT_HEADER,		/* ... header-size-max */
	SMTP_COUNT_HOPS,		/* ... received-max */
	SMTP_COUNT_CONTENT,		/* refused: NUL in the header, a long line, bare-newline */
	SMTP_COUNT_MEMORY,		/* put off: no body memory */
	SMTP_COUNT_MAX
};
const char *smtp_count_name(enum smtp_count c);	/* as in salvaposta status */

enum {
	SMTP_HELO_MAX = 255,
	SMTP_RCPTS_MAX = 64 * 1024,	/* bytes of all, encoded */
	SMTP_LMTP_RCPT_MAX = 150	/* of an LMTP transaction: each gets a reply in the end */
};

/* What a session knows between commands. Owned by the session. */
struct smtp_machine {
	const struct conf *conf;	/* borrowed; replaced on reload between commands */
	uint64_t	*count;		/* borrowed, SMTP_COUNT_MAX of them; NULL: none */
	bool		 lmtp;		/* LHLO, and a reply for each recipient (RFC 2033) */
	bool		 tls_offered, tls_active;
	bool		 front;		/* the peer may say who its client is (XCLIENT) */
	bool		 relayed;	/* the client spoke to a front of ours, which took the mail */
	bool		 bare_other;	/* the peer is in bare-newline-except */
	bool		 extended;	/* EHLO, not HELO */
	bool		 body_8bit;	/* BODY=8BITMIME */
	bool		 utf8;		/* SMTPUTF8 */
	bool		 requiretls;	/* REQUIRETLS */
	bool		 rcpt_deferred;	/* some recipient of this transaction got 4yz */
	bool		 rcpt_refused;	/* ... 5yz */
	uint8_t		 bare_lines;	/* command lines with bare CR or LF */
	bool		 bdat;		/* the content comes in chunks */
	bool		 chunk_last;	/* the present one is */
	uint8_t		 chunk_back;	/* enum smtp_state: where it was said */
	unsigned	 errors, messages;
	unsigned	 refusals;	/* recipients that got 5yz, in this session */
	unsigned	 junk;		/* commands in a row that bring no mail */
	unsigned	 commands;	/* of all kinds, since the last message */
	uint64_t	 chunk;		/* octets of the present one */
	uint64_t	 chunks;	/* octets of all so far, the present one too */
	const char	*chunk_error;	/* the reply to it, static; NULL: it is kept */
	struct smtp_xclient *client;	/* owned; what XCLIENT said so far, NULL nothing */
	char		*listed;	/* owned; the blocklist that names the client, or NULL */
	char		*helo;		/* owned; NULL before EHLO */
	char		*mail_from;	/* owned; NULL without transaction, "" null sender */
	char		*envid;		/* owned; ENVID=, "" when not given */
	struct slice	 ret;		/* "FULL", "HDRS", ""; static */
	uint64_t	 size;		/* SIZE= given, 0 when not */
	struct buf	 rcpts;		/* items of struct envelope_rcpt */
	uint32_t	*rcpt_hash;	/* owned; of each user, to find doubles */
	unsigned	 nrcpt, rcpt_room;
	unsigned	 taken;		/* RCPT commands that got 250, doubles too */
	bool		 to_return_path;	/* the one recipient is a return path of ours */
	struct envelope_bounce bounce;	/* ... what that is about */
	struct {			/* the recipient being decided */
		char	*address;	/* owned; as written */
		char	*orcpt;		/* owned; ORCPT=, "" when not given */
		uint8_t	 notify;	/* NOTIFY_* */
		char	 domain[256];	/* canonical; "" for bare postmaster */
		bool	 role;		/* postmaster or abuse: accepted even if not a user */
	}		*pending;	/* owned; NULL when none */
};

void smtp_machine_init(struct smtp_machine *m, const struct conf *c);
void smtp_machine_fini(struct smtp_machine *m);

/* Where a session begins: the banner, or why it cannot be served. */
struct smtp_step smtp_machine_greet(struct smtp_machine *m, struct buf *reply);
/* A line of the lexer, good or bad. */
struct smtp_step smtp_machine_line(struct smtp_machine *m, enum smtp_state st,
    enum smtp_lexeme lex, struct slice line, struct buf *reply);

enum smtp_rcpt_verdict {
	SMTP_RCPT_KNOWN, SMTP_RCPT_UNKNOWN, SMTP_RCPT_UNAVAILABLE,
	SMTP_RCPT_GREYLISTED,	/* known, but not at the first try */
	SMTP_RCPT_STANDBY	/* known, but the primary is well and standby is defer */
};
struct smtp_rcpt_answer {
	enum smtp_rcpt_verdict	verdict;
	struct slice		user, shard;	/* of the directory */
	struct slice		token;		/* of seal; "" for an SRS address */
	bool			return_path;	/* seal answered */
	struct envelope_bounce	bounce;		/* ... its leg; the rest is not known yet */
};
struct smtp_step smtp_machine_rcpt(struct smtp_machine *m, const struct smtp_rcpt_answer *a,
    struct buf *reply);

/* There is room for the content, or there was none for too long. */
struct smtp_step smtp_machine_body(struct smtp_machine *m, bool room, struct buf *reply);

enum {	/* beside SMTP_FAULT_*: what is wrong with content that was read to its end */
	SMTP_FAULT_SIZE		= 256,	/* over message-size-max */
	SMTP_FAULT_MEMORY	= 512,	/* body memory ran out: ours */
	SMTP_FAULT_LOCAL	= 1024	/* could not be written: ours */
};
struct smtp_step smtp_machine_end(struct smtp_machine *m, unsigned faults, struct buf *reply);

/* The present chunk was read to its end; not kept if m->chunk_error is set, then or after
 * this. */
struct smtp_step smtp_machine_chunk(struct smtp_machine *m, unsigned faults,
    struct buf *reply);

enum smtp_kept { SMTP_KEPT, SMTP_KEPT_FULL, SMTP_KEPT_ERROR, SMTP_KEPT_REFUSED };
/* The only place that says 250 to a message: after the queue has it (P1). `text` is the
 * id, or the refusal's reply. */
struct smtp_step smtp_machine_kept(struct smtp_machine *m, enum smtp_kept what,
    struct slice text, struct buf *reply);

/* The handshake is done. */
struct smtp_step smtp_machine_tls(struct smtp_machine *m);

enum smtp_end {
	SMTP_END_IDLE,		/* silent too long */
	SMTP_END_SLOW,		/* below data-rate-min */
	SMTP_END_SESSION,	/* too old */
	SMTP_END_STOP,		/* we stop */
	SMTP_END_CROWD,		/* we are full */
	SMTP_END_ADDRESS,	/* too many from there */
	SMTP_END_NETWORK,
	SMTP_END_RATE,		/* too often from there */
	SMTP_END_EARLY,		/* it talked before the banner */
	SMTP_END_GUESS		/* too many return paths that are none */
};
/* 421 and why. */
struct smtp_step smtp_machine_bye(struct smtp_machine *m, enum smtp_end why, struct buf *reply);

#endif
