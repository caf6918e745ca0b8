// SPDX-License-Identifier: Apache-2.0
/*
 * The envelope record: all that is known of a message beside its bytes. Built
 * by the relay at end of data, stored as it is by the queue, read again by
 * queue and seal. Its encoding (base/wire.h) is on disk: ENVELOPE_VERSION.
 */
#ifndef BASE_ENVELOPE_H
#define BASE_ENVELOPE_H

#include "base/bounce.h"
#include "base/msgid.h"
#include "base/wire.h"

enum {
	ENVELOPE_VERSION = 2,		/* 1, without the members behind rcpts, is still read */
	ENVELOPE_MAX = 112 * 1024	/* bytes encoded */
};

enum auth_result {	/* RFC 8601 2.7; one set of words for SPF, DKIM, DMARC, ARC, iprev */
	AUTH_UNSET,	/* not evaluated */
	AUTH_NONE, AUTH_PASS, AUTH_FAIL, AUTH_SOFTFAIL, AUTH_NEUTRAL,
	AUTH_TEMPERROR, AUTH_PERMERROR, AUTH_POLICY, AUTH_MAX
};
const char *auth_result_name(enum auth_result r);	/* "none" for AUTH_UNSET */

enum {	/* envelope.flags */
	ENV_BODY_8BIT	= 1,	/* BODY=8BITMIME was given */
	ENV_HAS_8BIT	= 2,	/* octets > 127 were seen in the content */
	ENV_SMTPUTF8	= 4,
	ENV_TLS		= 8,	/* arrived over TLS */
	ENV_HOLD_ONLY	= 16,	/* no forward leg, ever; `reason` says why */
	ENV_HAS_NUL	= 32,
	ENV_REQUIRETLS	= 64,	/* of MAIL (RFC 8689 2) */
	ENV_TRUSTED	= 128,	/* came from a trusted front server */
	ENV_SURVIVABLE	= 256,	/* an aligned DKIM signature passed (spec 7.1) */
	ENV_QUARANTINE	= 512,	/* p= of the author domain, as evaluated; neither: none */
	ENV_REJECT	= 1024,
	ENV_SIGNED_DNT	= 2048,	/* a good signature covers Disposition-Notification-To (2.3.10) */
	ENV_SIGNED_RRT	= 4096,	/* likewise Return-Receipt-To */
	ENV_TLS_OPTIONAL = 8192, /* "TLS-Required: No" (RFC 8689 3), without ENV_REQUIRETLS */
	ENV_ALIGNED	= 16384, /* DMARC passed, and MAIL FROM is of the author's organization */
	ENV_TAGGED	= 32768, /* it has an X-Fwd-Loop field, whoever's (spec 9.1) */
	ENV_TRIAGE_RULE	= 15 << 16,	/* T1..T10 of spec 10.2, 0: not known */
	ENV_RECHECK	= 1 << 20, /* DNS failed: no copy before it is evaluated again (0.4);
				 * `reason` says what stands until then */
	/* what verify finds out; the rest is the relay's to say */
	ENV_OF_VERIFY	= ENV_HOLD_ONLY | ENV_HAS_8BIT | ENV_HAS_NUL | ENV_SURVIVABLE |
			  ENV_QUARANTINE | ENV_REJECT | ENV_SIGNED_DNT | ENV_SIGNED_RRT |
			  ENV_TLS_OPTIONAL | ENV_ALIGNED | ENV_TAGGED | ENV_RECHECK |
			  ENV_TRIAGE_RULE
};
enum { ENV_TRIAGE_SHIFT = 16 };

struct envelope {
	uint16_t	version;
	struct msgid	id;
	uint64_t	received_ms;	/* wall clock */
	uint64_t	body_size;	/* bytes of the content as kept */
	uint32_t	flags;		/* ENV_* */
	uint8_t		spf, dkim, dmarc, arc, iprev;	/* enum auth_result */
	uint8_t		triage;		/* class 0..3 (spec 10), 2 when undecided */
	struct slice	client_ip;	/* text, no brackets */
	struct slice	helo;
	struct slice	mail_from;	/* "" is the null sender; no angle brackets */
	struct slice	reason;		/* rule id: why ENV_HOLD_ONLY, or why not after all (6.6) */
	struct slice	envid, ret;	/* RFC 3461, as given; "" when not */
	struct slice	trace;		/* our block: Authentication-Results, Received; CRLF-ended */
	struct slice	authres;	/* payload after the field name, for the AAR */
	struct slice	cuts;		/* items of struct body_cut: left out when sending */
	struct slice	rcpts;		/* items of struct envelope_rcpt */
	/* since version 2 */
	struct slice	bounce;		/* to a return path: struct envelope_bounce, encoded */
	struct slice	protocol, tls;	/* as in struct verify_eval, to judge it again (0.4) */
};
extern const struct wire_desc envelope_wire;	/* of the present version */
/* Reads any version we know; 0, or -1 when it is none. Decoded slices borrow from `in`. */
int envelope_get(struct slice in, struct envelope *e);

/* A run of content bytes that is kept but never sent on (forged A-R, spec 4.3).
 * Ascending, not overlapping. */
struct body_cut {
	uint64_t off, len;
};
extern const struct wire_desc body_cut_wire;

enum rcpt_kind {
	RCPT_USER,		/* known in the directory */
	RCPT_POSTMASTER,	/* postmaster/abuse without a mailbox of that name */
	RCPT_RETURN_PATH,	/* a bounce to one of our return-path addresses */
	RCPT_NOTICE,		/* a notification of ours, to the sender of another message */
	RCPT_REMINDER,		/* no mail: the time to tell a sender that it takes long */
	RCPT_KIND_MAX
};

enum {	/* envelope_rcpt.notify, RFC 3461; 0: not given */
	NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8
};

struct envelope_rcpt {
	uint8_t		kind;		/* enum rcpt_kind */
	uint8_t		notify;		/* NOTIFY_* */
	struct slice	address;	/* as the client wrote it, no brackets */
	struct slice	user;		/* the directory's own form of it; key of the user */
	struct slice	domain;		/* served domain, lower case */
	struct slice	shard;		/* "" for none */
	struct slice	orcpt;		/* as given */
	struct slice	token;		/* RCPT_RETURN_PATH: the leg's token, or what a report
					 * to an SRS address brought, or (BOUNCE_LEG_NODE) the node; NOTICE, REMINDER:
					 * which recipient it is about, "ID/INDEX" */
};
extern const struct wire_desc envelope_rcpt_wire;

#endif
