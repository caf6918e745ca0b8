// SPDX-License-Identifier: Apache-2.0
/*
 * What every role process shares: its channel to the supervisor, its links to
 * peers, configuration, reload, stop, and the giving up of privileges.
 *
 * Life: configuration and resources come, root is given up, start(), then the sandbox
 * closes, and the role is ready. A link that breaks is announced (requests in
 * flight on it are lost) and comes back with link_up when the supervisor has
 * restarted the peer.
 */
#ifndef BASE_ROLE_H
#define BASE_ROLE_H

#include "base/conf.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/sandbox.h"

enum role_kind {
	ROLE_SUPER, ROLE_RELAY, ROLE_VERIFY, ROLE_DIRECTORY, ROLE_SEAL, ROLE_QUEUE, ROLE_MAX
};
enum { ROLE_PEERS_MAX = 64 };	/* processes of one kind */

struct role;

struct role_ops {
	enum role_kind kind;
	unsigned needs;			/* SANDBOX_*: what it may do beside talking */
	const char *folder;		/* the resource that is the folder of READ and WRITE */
	/* 0, or -1 after logging what is wrong and how to mend it. */
	int	(*start)(struct role *r);
	/* `fd` is -1 or the callee's to close; `body` is borrowed. */
	void	(*message)(struct role *r, enum role_kind peer, unsigned index,
		    struct ipc *ch, uint32_t type, struct slice body, int fd);
	void	(*link_up)(struct role *r, enum role_kind peer, unsigned index);
	void	(*link_down)(struct role *r, enum role_kind peer, unsigned index);
	/* r->conf is the new one; the old is freed after return. */
	void	(*reload)(struct role *r);
	/* Finish what can be finished, then call role_done. NULL: at once. */
	void	(*stop)(struct role *r);
	/* Appends JSON members ("\"sessions\":3,...", no braces). May be NULL. */
	void	(*status)(struct role *r, struct buf *out);
};

struct role {
	const struct role_ops	*ops;
	unsigned		 index;		/* among its kind */
	struct loop		*loop;
	const struct conf	*conf;
	void			*priv;		/* the role's own state */
	struct role_priv	*base;		/* role.c's */
};

const char *role_name(enum role_kind k);

/* Runs a role to its end; returns the exit status. `fd` is the supervisor's channel. */
int role_main(const struct role_ops *ops, unsigned index, int fd);

/* The live channel to a peer, or NULL. */
struct ipc *role_link(struct role *r, enum role_kind peer, unsigned index);
/* Any live channel of that kind, in turn; its index to *index if not NULL. */
struct ipc *role_any(struct role *r, enum role_kind peer, unsigned *index);

/* A descriptor the supervisor gave under this name, borrowed; -1 for none.
 * relay: "listen:0" (as many as conf->nlisten), "tls-cert", "tls-key",
 * "tls-cert:0" and "tls-key:0" (as many as conf->ncertificate), "tls-ticket",
 * "resolv.conf", "hosts"; seal: "forward-secret", "forward-dkim-key",
 * "forward-arc-key", "notice:it", "notice:en", "domain-dkim-key:0" by the domain's place in the conf; queue:
 * "control" (listening), "queue-dir"; directory: "directory-dir";
 * queue, relay: "log-key" */
int role_resource(struct role *r, const char *name);
/* All of it, owned by the caller (mem_new; n + 1 bytes, NUL-ended); NULL none. */
char *role_resource_text(struct role *r, const char *name, size_t max, size_t *n);

/* A question to the supervisor ("status"): fn gets JSON text, {} on trouble. */
typedef void role_answer_fn(void *arg, struct slice json);
void role_ask(struct role *r, const char *verb, role_answer_fn *fn, void *arg);

void role_done(struct role *r);

#endif
