// SPDX-License-Identifier: Apache-2.0
/*
 * The failover state of each domain and shard: the mode the operator wants, the phase
 * that holds, since when, who and why.
 *
 *	phase      hold leg born   forward leg born   how it ends
 *	standby    WAITING, now    ABSENT             mode on -> active
 *	active     PARKED          WAITING            mode off -> replay
 *	replay     WAITING, now    ABSENT             backlog drained -> standby
 *
 *
 * What the mode makes of the phase: on is active; off ends active by replay; auto leaves
 * the phase to the probes (queue/lookout.h). A mode may have an end (until_ms): then the
 * lasting mode `base` returns. Windows are such modes announced in advance.
 *
 * The state is one file, `failover.json` in the queue's directory: a change is in the
 * audit log and in that file, both on stable storage, before it counts. What was
 * persisted wins over the mode in the configuration, which only says how a domain is
 * born. State of domains that left the configuration is kept for their return.
 *
 * A crash between two writes is harmless: the audit log may have a line more than
 * the state file, never less.
 */
#ifndef QUEUE_FAILOVER_H
#define QUEUE_FAILOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "queue/audit.h"

struct json_t;

enum { FAILOVER_REASON_MAX = 512, FAILOVER_GROUPS_MAX = 65536,
	FAILOVER_EVIDENCE_MAX = 2048 };	/* as JSON text; longer: in the audit log only */

enum failover_phase { PHASE_STANDBY, PHASE_ACTIVE, PHASE_REPLAY, PHASE_MAX };
const char *failover_phase_name(enum failover_phase p);
const char *failover_mode_name(enum conf_failover m);	/* "on", "off", "auto" */
int failover_mode_parse(const char *s, enum conf_failover *out);	/* 0 or -1 */

struct failover_group {		/* read-only for callers; lives until failover_close */
	char			*domain;	/* owned, lower case */
	char			*shard;		/* owned, "" for the domain itself */
	uint64_t		 id;		/* spool_group of both */
	bool			 served;	/* its domain is in the present configuration */
	enum conf_failover	 mode;		/* in force */
	enum conf_failover	 base;		/* the lasting one; differs while until_ms is set */
	int64_t			 until_ms;	/* wall clock: then base returns; 0 no end */
	enum failover_phase	 phase;
	int64_t			 since_ms;	/* wall clock, of the phase */
	char			*reason;	/* owned; of the mode */
	struct audit_who	 who;		/* who set the mode */
	char			*phase_reason;	/* owned; why the phase is what it is */
	struct json_t		*phase_evidence; /* owned; what was seen before it changed, or NULL */
	bool			 distrust;	/* the primary refuses users we know in numbers: what
						 * it says of users is not believed in any phase
						 * (spec 11.2); queue/lookout.c; not kept on disk */
	bool			 stranded;	/* not served and mail of it is held: an alarm says
						 * so; queue/phases.c; not kept on disk */
};

struct failover;

/* Borrows the log for its life, and the configuration and the directory until return. NULL after logging why (a state file that cannot be read is
 * not guessed around: a wrong guess forwards or bounces the mail of a whole domain). */
struct failover *failover_open(int dirfd, const struct conf *c, struct audit *a);
void failover_close(struct failover **fp);
/* Domains come and go; 0, or -1 when the new state could not be persisted. */
int failover_reload(struct failover *f, const struct conf *c);

size_t failover_count(const struct failover *f);
struct failover_group *failover_at(struct failover *f, size_t i);	/* i < count */
struct failover_group *failover_find(struct failover *f, uint64_t id);	/* or NULL */
/*
 * The group mail for that domain and shard belongs to, NULL when the domain is not served.
 * A shard that only the directory knows becomes a group of its own here, in the mode of
 * its domain; its mail goes where conf_primary says.
 */
struct failover_group *failover_ensure(struct failover *f, struct slice domain,
    struct slice shard);
/* The group of a served domain and shard; an unknown shard is the domain's own group. */
struct failover_group *failover_of(struct failover *f, struct slice domain, struct slice shard);

/* The operator's switch. 0 (also when nothing changes), or -1 with errno: nothing changed. */
int failover_set_mode(struct failover *f, struct failover_group *g, enum conf_failover m,
    struct audit_who who, const char *reason);
/* The same with an end; 0 for none. A second one before the end keeps the first's base. */
int failover_set_mode_until(struct failover *f, struct failover_group *g, enum conf_failover m,
    int64_t until_ms, struct audit_who who, const char *reason);
/* A group whose mode has come to its end, or NULL; then failover_expire brings base back. */
struct failover_group *failover_expired(struct failover *f, int64_t wall_ms);
int failover_expire(struct failover *f, struct failover_group *g);
/* A transition of the phase alone, by the queue. `evidence` is borrowed or NULL; it and the
 * reason go to the audit log and stay with the group. 0 or -1 with errno. */
int failover_set_phase(struct failover *f, struct failover_group *g, enum failover_phase p,
    const char *reason);
int failover_set_phase_why(struct failover *f, struct failover_group *g, enum failover_phase p,
    const char *reason, struct json_t *evidence);
/* Is a 5yz of this group's primary about a user to be believed? Only in standby, and not while
 * it refuses users of the snapshot in numbers (spec 11.2). */
bool failover_believes(const struct failover_group *g);
/* Counts every change of any group or window: has something happened since? */
uint64_t failover_serial(const struct failover *f);

/* ---- windows: failover on, announced for a time to come (planned maintenance) ---- */

enum { FAILOVER_WINDOWS_MAX = 1000 };

struct failover_window {	/* read-only for callers; lives until the next change */
	uint64_t	 id;		/* never used again */
	char		*domain;	/* owned, lower case */
	char		*shard;		/* owned; NULL: the domain and all its shards */
	int64_t		 from_ms, until_ms;	/* wall clock */
	char		*reason;	/* owned */
	struct audit_who who;
};

size_t failover_windows(const struct failover *f);
const struct failover_window *failover_window(const struct failover *f, size_t i);
/* The new one's id to *id. 0, or -1 with errno (ENOSPC: too many). Borrows all. */
int failover_window_add(struct failover *f, const struct failover_window *w, uint64_t *id);
/* An operator takes it back. 0, or -1 with errno; ENOENT: no such window. */
int failover_window_cancel(struct failover *f, uint64_t id, struct audit_who who,
    const char *reason);
/* One that has begun, or NULL. Its groups are then switched by the caller, after which
 * failover_window_begun forgets it: `missed` when its end was over as well. */
const struct failover_window *failover_window_due(const struct failover *f, int64_t wall_ms);
int failover_window_begun(struct failover *f, uint64_t id, bool missed);

#endif
