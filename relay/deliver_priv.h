// SPDX-License-Identifier: Apache-2.0
/*
 * Shared by deliver.c (requests, destinations, who gets which connection) and
 * deliver_session.c (one connection and its client machine) only.
 */
#ifndef RELAY_DELIVER_PRIV_H
#define RELAY_DELIVER_PRIV_H

#include <sys/queue.h>

#include "relay/conn.h"
#include "relay/deliver.h"
#include "relay/mx.h"
#include "relay/smtp_client.h"

struct deliver_dest;

/* A provider: destinations (recipient domains) that count together (spec 8.1). */
struct deliver_group {
	LIST_ENTRY(deliver_group) link;
	char			*name;		/* owned */
	unsigned		 ndest, nsession;
	unsigned		 limit;		/* sessions, by the latest request; 0: none */
};
LIST_HEAD(deliver_groups, deliver_group);

struct deliver_question;	/* deliver_route.c: a route being looked up */
LIST_HEAD(deliver_questions, deliver_question);

/* One request; owns its strings and the mapped body. */
struct deliver_req {
	TAILQ_ENTRY(deliver_req) link;	/* waiting of its destination */
	struct queue_deliver	 q;	/* slices point into text */
	struct buf		 text;	/* encoded copy of the request */
	struct slice		 body;	/* mapped; body_unmap */
	bool			 fresh;	/* a reused connection died under it: wants a new one */
};
TAILQ_HEAD(deliver_reqs, deliver_req);

enum out_session_state {
	SESSION_RESOLVE,	/* waiting for the route */
	SESSION_CONNECT,	/* waiting for an address to answer */
	SESSION_OPEN,		/* greeting, hello, TLS */
	SESSION_BUSY,		/* a transaction under way */
	SESSION_RESET,		/* its result is told, RSET is not answered yet */
	SESSION_IDLE,
	SESSION_QUIT,
};

struct out_session {
	TAILQ_ENTRY(out_session)	 link;		/* sessions of its destination */
	struct deliver		*deliver;	/* borrowed */
	struct deliver_dest	*dest;		/* borrowed, outlives us */
	struct deliver_req	*req;		/* owned while RESOLVE..BUSY */
	enum out_session_state	 state;
	struct mx_lookup	*lookup;	/* RESOLVE */
	struct mx_target	*target;	/* owned, ntarget of them */
	size_t			 ntarget, at;	/* at: the one in use */
	char			*group;		/* owned */
	struct conn		*conn;		/* owned */
	struct smtp_client	*client;	/* owned */
	struct client_result	 fail;		/* of the last address tried */
	unsigned		 served;	/* transactions begun here */
	unsigned		 progress;	/* client_progress at the last deadline */
	bool			 clear;		/* TLS failed here: once more without (13.2) */
	bool			 reached;	/* a server said hello: the route works */
	bool			 leave;		/* closes after its transaction */
	bool			 blocked;	/* conn_write was full */
	bool			 tls_started;
	struct client_rcpt	 rcpt;		/* of the transaction; slices of req */
	int64_t			 begun_ms;	/* monotonic, of the transaction */
	int64_t			 end_ms;	/* no transaction goes on after this */
	int64_t			 idle_ms;	/* monotonic, since when */
};
TAILQ_HEAD(sessions, out_session);

struct deliver_dest {
	struct deliver		*deliver;	/* borrowed */
	TAILQ_ENTRY(deliver_dest) link;		/* all */
	TAILQ_ENTRY(deliver_dest) dirty_link;
	bool			 dirty;		/* on the list of work to do */
	uint8_t			 route;		/* enum conf_route_kind */
	uint8_t			 tls;		/* enum deliver_tls: its connections serve that */
	uint16_t		 port;
	char			*host;		/* owned, lower case */
	struct deliver_group	*group;		/* of the first request, or NULL */
	struct deliver_reqs	 waiting;
	struct sessions		 sessions;
	unsigned		 nsession;
	unsigned		 limit;		/* sessions, as the queue said last; 0: ours */
	int64_t			 hold_ms;	/* until then no more connections beside those */
};
TAILQ_HEAD(deliver_dests, deliver_dest);

/* An address nobody answered at lately: tried after the others of its route, so that a
 * dead first MX costs its timeout once and not at every connection. */
enum { DELIVER_DEAD_MAX = 64, DELIVER_DEAD_MS = 300 * 1000 };
struct deliver_dead {
	socklen_t		 len;	/* 0: slot never used */
	struct sockaddr_in6	 addr;	/* v6 or the v4 in its first bytes */
	int64_t			 until_ms;
};

struct deliver {
	struct loop		*loop;		/* borrowed, as the next four */
	const struct conf	*conf;
	struct dns		*dns;
	struct sts		*sts;		/* NULL: no MTA-STS */
	struct tls_context	*tls;		/* NULL: no STARTTLS */
	struct mx_self		*self;		/* owned */
	deliver_fn		*fn;
	void			*arg;
	struct timer		*work;		/* runs the dirty list, outside all callbacks */
	void			*table;		/* tsearch root of destinations */
	struct deliver_dests	 all, dirty;
	struct deliver_groups	 groups;
	struct deliver_questions questions;
	deliver_route_fn	*route_fn;
	unsigned		 nsession;
	unsigned		 in_flight;	/* requests without a result */
	struct deliver_dead	 dead[DELIVER_DEAD_MAX];	/* ring */
	unsigned		 dead_next;
	bool			 starved;	/* somebody waits for a connection of another */
	struct deliver_stats	 stats;
};

/* Tells the result and frees the request. `s` NULL: it never had a connection. */
void deliver_done(struct deliver *d, struct deliver_req *r, const struct client_result *res,
    const struct out_session *s);
/* How many sessions it may have. */
unsigned deliver_sessions_max(const struct deliver_dest *t);
/* The destination has something to do: requests, a free connection, nothing at all. */
void deliver_touch(struct deliver_dest *t);
/* The route of a destination does not work: everybody who waits for it hears so. */
void deliver_fail_waiting(struct deliver_dest *t, const struct client_result *res,
    const struct out_session *s);

/* Takes the request and a place among the destination's sessions. */
void out_session_start(struct deliver_dest *t, struct deliver_req *r);
/* deliver_group.c */
struct deliver_group *deliver_group_get(struct deliver *d, struct slice name);
void deliver_group_drop(struct deliver_group **gp);	/* one destination less */
/* May this destination open one more? With its group full an idle connection of a sister
 * destination goes first. */
bool deliver_group_room(struct deliver_dest *t);
/* An idle connection of a sister destination to a host of this route, or NULL: two
 * domains behind one provider share it. */
struct out_session *deliver_group_idle(struct deliver_dest *t, const struct mx_result *r);
void deliver_group_touch(struct deliver_group *g, struct deliver *d);

/* deliver_route.c */
void deliver_questions_again(struct deliver *d);	/* `self` or the configuration changed */
void deliver_questions_free(struct deliver *d);

/* Gives an idle session its next request (taken). */
void out_session_take(struct out_session *s, struct deliver_req *r);
void out_session_quit(struct out_session *s);	/* an idle one */
/* The configuration and `self` changed: lookups under way begin again. */
void out_session_reroute(struct deliver *d);
void out_session_end(struct out_session *s);	/* at once; a request it still has is freed untold */

#endif
