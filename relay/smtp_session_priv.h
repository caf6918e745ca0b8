// SPDX-License-Identifier: Apache-2.0
/* What the files of the sessions share; nobody else includes it. */
#ifndef RELAY_SMTP_SESSION_PRIV_H
#define RELAY_SMTP_SESSION_PRIV_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "base/network.h"
#include "relay/blocklist.h"
#include "relay/crowd.h"
#include "relay/guess.h"
#include "relay/greylist.h"
#include "relay/rate.h"
#include "relay/smtp_session.h"

enum {
	BODY_START	= 8 * 1024,	/* set aside at DATA when no SIZE was given */
	BODY_PROMISED	= 1024 * 1024,	/* ... at most when it was */
	GATHER_MAX	= 64 * 1024,	/* small runs of content are written together */
	RUN_DIRECT	= 16 * 1024,	/* longer runs go to the memfd as they are */
	MEMORY_WAIT_MS	= 10 * 1000,
	TLS_MS		= 60 * 1000,
	PROXY_MS	= 10 * 1000,
	RATE_GRACE_MS	= 30 * 1000,	/* how long a message may be slow */
	REPLY_MAX	= 64 * 1024	/* of one command; LMTP answers each recipient */
};

struct session {
	struct smtp_server	*sv;
	struct session		*prev, *next;	/* all sessions of the server */
	struct session		*wait_next;	/* queue for body memory */
	TAILQ_ENTRY(session)	 age;		/* strangers or engaged, oldest progress first */
	struct conn		*conn;		/* owned; NULL once closed */
	struct ingest_req	*req;		/* the question we wait for */
	struct blocklist_query	*listing;	/* in SMTP_PAUSE */
	struct smtp_machine	 m;
	struct smtp_lexer	 lex;
	struct buf		 gather;	/* content not yet written to the body */
	struct buf		 late;		/* the reply to be given after a pause */
	uint64_t		 number;	/* of this process, for the log */
	uint64_t		 body_size;	/* content bytes so far, kept or not */
	uint64_t		 reserved;	/* of the server's body memory */
	uint64_t		 chunk_left;	/* octets, in SMTP_CHUNK */
	int64_t			 ends;		/* mono ms: session-timeout */
	struct msgid		 id;		/* of the message being kept */
	unsigned		 faults;	/* SMTP_FAULT_*, ours beside the lexer's */
	int			 body_fd;	/* owned, -1 */
	uint8_t			 state;		/* enum smtp_state; written by session_enter */
	uint8_t			 late_next;	/* enum smtp_state: after that reply */
	bool			 closed;	/* freed at the end of the turn */
	bool			 exempt;	/* a front, or in exempt-networks */
	bool			 listed;	/* in strangers or engaged */
	bool			 engaged;	/* it has named a sender */
	bool			 brought;	/* ... and a message of it was kept */
	bool			 counted;	/* in the crowd, as addr */
	uint8_t			 addr[16];
	char			 ip[INET6_ADDRSTRLEN];	/* of the peer, or by PROXY */
	int64_t			 pause_ms;	/* mono ms: no banner before */
	int64_t			 progress_ms;	/* mono ms: last step towards mail */
	int64_t			 mail_ms;	/* mono ms: its first sender, then its last message */
	int64_t			 rate_since;	/* mono ms: a message comes since; 0: none does */
	uint64_t		 rate_bytes;	/* of this message, as they came */
};

TAILQ_HEAD(session_list, session);

struct smtp_server {
	struct loop		*loop;
	const struct conf	*conf;
	struct ingest		*ingest;
	struct tls_context	*tls;
	struct session		*head;
	struct session		*wait_head, **wait_tail;
	struct buf		 reply;		/* of the command at hand */
	struct crowd		*crowd;		/* owned */
	struct rate		*rate;		/* owned */
	struct guess		*guess;		/* owned */
	struct greylist		*greylist;	/* owned; NULL: not there */
	struct session_list	 strangers, engaged;
	struct network		*trusted;	/* owned; ntrusted of trusted-relay */
	size_t			 ntrusted;
	struct network		*exempt;	/* owned; nexempt of exempt-networks */
	size_t			 nexempt;
	struct network		*bare;		/* owned; nbare of bare-newline-except */
	size_t			 nbare;
	bool			 waking;	/* server_wake will run */
	bool			 stopping;
	timer_fn		*stop_fn;
	void			*stop_arg;
	struct timer		*stop_timer;
	struct smtp_server_stats stats;
};

/* smtp_session.c */
void session_step(struct session *s, struct smtp_step step);
void session_enter(struct session *s, enum smtp_state st);
/* Content of this message flows for so long, and too slowly. */
/* Who is to be judged: whom the front named, or who is connected. */
const char *session_client(const struct session *s);
/* A front that did not say whose mail it is: its own address tells nothing (spec 0.5). */
bool session_unknown_client(const struct session *s);
bool session_below_rate(const struct session *s, int64_t after_ms);
void session_closed(struct session *s);

/* smtp_server.c: body memory */
bool server_reserve(struct smtp_server *sv, uint64_t n);
void server_release(struct smtp_server *sv, uint64_t n);
void session_room(struct session *s);	/* asks for it; ends in smtp_machine_body */
void session_unwait(struct session *s);
bool server_trusts(const struct smtp_server *sv, const char *ip);
bool server_exempts(const struct smtp_server *sv, const char *ip);
bool server_bare_except(const struct smtp_server *sv, const char *ip);

/* smtp_session_body.c */
void session_content(struct session *s, struct slice run);
void session_end_of_data(struct session *s);
void session_chunk(struct session *s);		/* its command was said */
size_t session_octets(struct session *s, struct slice in);
void session_drop_body(struct session *s);	/* kept elsewhere, refused or given up */

#endif
