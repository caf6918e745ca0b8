// SPDX-License-Identifier: Apache-2.0
/*
 * The audit log: who changed what, when and why, as JSON lines in `audit.log` of the
 * queue's directory. Only appended to; a line is on stable storage when the call
 * returns 0. A torn last line (crash, full disk) is closed before the next one is
 * written, so that each line parses by itself or is recognisably broken.
 *
 * Lines are chained (queue/audit_chain.h): each carries the hash of the one before. A log
 * begun by a version without the chain goes on; its old lines are sealed by the first
 * new one.
 */
#ifndef QUEUE_AUDIT_H
#define QUEUE_AUDIT_H

#include <stdint.h>
#include <sys/types.h>

struct audit;
struct json_t;

struct audit_who {	/* of a control client; the queue itself is pid 0 */
	uid_t	uid;
	pid_t	pid;
};

struct audit_record {
	const char	*event;		/* "failover", "phase", "content-shown", "hold", "drop" ... */
	struct audit_who who;
	const char	*domain, *shard;	/* NULL: left out, as all below */
	const char	*from, *to;
	const char	*phase;		/* after the change */
	const char	*until;		/* ISO 8601: when it ends by itself */
	const char	*reason;
	const char	*id;		/* message */
	const char	*user;		/* hashed (queue/consent.h) */
	struct json_t	*filter, *ids;	/* borrowed */
	struct json_t	*evidence;	/* borrowed: what the queue saw before it decided */
	const uint64_t	*count;
	const uint64_t	*window;	/* number of a window */
};

/* Borrows `dirfd` for its life. NULL with errno. */
struct audit *audit_open(int dirfd);
void audit_close(struct audit **ap);
__attribute__((warn_unused_result)) int audit_write(struct audit *a, const struct audit_record *r);

#endif
