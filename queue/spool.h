// SPDX-License-Identifier: Apache-2.0
/*
 * The spool: messages as records in segments, what became of each recipient's two
 * legs, and exact sums. It sits on struct store_ops and knows the envelope record,
 * never the content. docs/spool.md is the format and the table of states.
 *
 * One index entry per recipient holds the state of both legs (hold, forward), so a
 * forward leg can be added to a held message later by a state change. RAM holds
 * per-segment, per-group sums only; entries live in the memory-mapped index.
 * A "group" is a domain with its shard, known by a 64-bit hash (spool_group).
 *
 * Promises: a commit completes COMMIT_OK only after the store said so (P1). Progress
 * is lazy: a crash may repeat a delivery, never lose one. Start cuts torn tails,
 * sets damaged records aside, rebuilds a missing or stale index. Balance per group
 * (P7) is exact across crashes: sums of dropped segments are kept in a meta value
 * that names the segment before it is unlinked.
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include "base/conf.h"
#include "base/envelope.h"
#include "base/proto/relay_queue.h"
#include "queue/store.h"

struct spool;

enum leg_state {
	LEG_ABSENT,	/* no such leg (forward only) */
	LEG_PARKED,	/* waits for a change of phase or an operator */
	LEG_WAITING,	/* to be tried at next_ms */
	LEG_DELIVERED,	/* hold: replayed; forward: forwarded */
	LEG_FAILED,	/* hold: bounced; forward: given up. reason kept */
	LEG_SKIPPED,	/* forward: not for this user or message. reason kept */
	LEG_DROPPED,	/* by an operator, or a copy of ours that came back (spec 9.1) */
	LEG_STATE_MAX
};
const char *leg_state_name(enum leg_state s);
bool leg_settled(enum leg_state s);	/* DELIVERED, FAILED, SKIPPED, DROPPED, ABSENT */

struct spool_ref {	/* one recipient of one message; valid until its segment is dropped */
	uint64_t segment;
	uint32_t entry;
};

struct spool_leg {
	uint8_t		state;		/* enum leg_state */
	uint16_t	attempts;
	int64_t		next_ms;	/* by spool_now; WAITING: the next try; DELIVERED (hold): when */
	uint16_t	code;		/* last reply code, 0 for none */
};

struct spool_entry {	/* a copy of what the index knows */
	struct spool_ref ref;
	struct msgid	 id;
	uint16_t	 rcpt_index;
	uint8_t		 kind;		/* enum rcpt_kind */
	uint8_t		 triage;
	bool		 hold_only;	/* ENV_HOLD_ONLY */
	uint64_t	 group;
	uint64_t	 user;		/* hash of envelope_rcpt.user */
	int64_t		 received_ms;	/* wall clock */
	int64_t		 shift_ms;	/* with it added: when that was by spool_now */
	uint64_t	 size;		/* of the content */
	struct spool_leg leg[LEG_KIND_MAX];
};

struct spool_sums {	/* recipients; of one group (or all): P7 */
	uint64_t received;		/* = the five below */
	uint64_t replayed;		/* hold leg delivered */
	uint64_t forwarded_only;	/* hold dropped/failed-less: reserved for kinds without hold */
	uint64_t bounced, dropped, held;
	uint64_t forwarded;		/* forward leg delivered (beside, not in the sum) */
	uint64_t forward_waiting, forward_failed, forward_skipped;
	uint64_t held_bytes;
};

uint64_t spool_group(struct slice domain, struct slice shard);
uint64_t spool_user(struct slice user);
/* 24 bits of a sender's address without regard to case, enough to leave most records
 * unread: 12 of the domain, then 12 of the local part. Never 0. */
uint32_t spool_sender(struct slice address);
enum { SPOOL_SENDER_ALL = 0xffffff, SPOOL_SENDER_DOMAIN = 0xfff000 };

/* Opens, recovers, gets ready. `where` as store_ops.open. NULL after logging why. */
struct spool *spool_open(struct loop *l, const struct conf *c, const struct store_ops *ops,
    const char *where, bool read_only);
/* Makes what is pending stable, then closes. */
void spool_close(struct spool **sp);
void spool_reload(struct spool *sp, const struct conf *c);

/* The wall clock without its jumps, also over restarts (queue/spool_clock.c): what next_ms
 * and ages are told by. spool_shift: it minus the wall clock. */
int64_t spool_now(struct spool *sp);
int64_t spool_shift(struct spool *sp);

/* How the legs of a recipient are born. */
struct spool_birth {
	uint8_t hold, forward;	/* enum leg_state; WAITING is due at once */
};
typedef void spool_commit_fn(void *arg, enum queue_commit_status st,
    const struct spool_ref *ref, size_t nref);	/* one ref per recipient, in order */
/* Takes nothing: envelope is copied, body_fd duplicated. Over the water mark it
 * completes COMMIT_FULL without touching the disk. `birth` has one per recipient. */
void spool_commit(struct spool *sp, struct slice envelope, int body_fd,
    const struct spool_birth *birth, size_t nrcpt, spool_commit_fn *fn, void *arg);

/* 0, or -1 when the segment is gone. */
int spool_get(struct spool *sp, struct spool_ref ref, struct spool_entry *out);

/* What happened to a leg. `note` is kept (<= 96 bytes): token of a forward leg,
 * reason of a failure; never an address. Logged lazily, applied to the index now. */
int spool_set(struct spool *sp, struct spool_ref ref, enum leg_kind leg,
    const struct spool_leg *now, struct slice note);
/* The last note of a leg, copied with NUL; "" when there is none. */
int spool_note(struct spool *sp, struct spool_ref ref, enum leg_kind leg, char *out, size_t cap);

struct spool_message {
	struct buf	 raw;		/* the envelope's bytes, owned */
	struct envelope	 env;		/* decoded from raw */
	int		 body_fd;	/* sealed memfd, owned; -1 when not asked for */
};
/* -1 when the record is damaged (it is then set aside and its legs are FAILED
 * with note "damaged") or gone. Fresh messages come from memory. */
int spool_read(struct spool *sp, struct spool_ref ref, bool with_body, struct spool_message *out);
/*
 * The same off the loop, so that a disk which hangs stops nobody but this reader.
 * spool_recent gives what is still in memory at once: 0, or -1 when it is not.
 * spool_fetch calls `fn` later (never inside the call) with 0 and the message, which
 * is the callee's then, or with the errno of spool_read and NULL. It returns NULL with
 * EAGAIN while SPOOL_FETCH_MAX reads are under way. After spool_fetch_cancel, which is
 * for the time before `fn`, it is not called; a read that hangs goes on by itself.
 */
enum { SPOOL_FETCH_MAX = 1024 };
struct spool_fetch;
typedef void spool_fetch_fn(void *arg, int error, struct spool_message *m);
int spool_recent(struct spool *sp, struct spool_ref ref, bool with_body,
    struct spool_message *out);
struct spool_fetch *spool_fetch(struct spool *sp, struct spool_ref ref, bool with_body,
    spool_fetch_fn *fn, void *arg);
void spool_fetch_cancel(struct spool_fetch **fp);
void spool_message_fini(struct spool_message *m);
/* The recipient of that index. 0 or -1. Borrowed from m. */
int spool_message_rcpt(const struct spool_message *m, uint16_t index, struct envelope_rcpt *out);

/*
 * Walks entries oldest first, skipping segments whose sums hold no match. The
 * cursor is resumable and survives appends and drops: {0} starts at the oldest.
 * `fn` returns false to stop (that entry counts as seen). Returns entries looked
 * at, so that a caller can bound its turn with `budget`; *end is set when nothing
 * is left at this moment. A user or sender is looked up in the tables of sealed
 * segments (queue/spool_table.c), which counts as SPOOL_TABLE_COST entries each.
 */
enum { SPOOL_TABLE_COST = 64 };
struct spool_filter {
	uint64_t	group;		/* 0: any */
	uint64_t	user;		/* 0: any */
	uint32_t	sender;		/* 0: any; the caller looks at the address itself */
	uint32_t	sender_mask;	/* SPOOL_SENDER_ALL or _DOMAIN */
	int64_t		from_ms, to_ms;	/* received, both included; 0: any */
	unsigned	states[LEG_KIND_MAX];	/* masks 1 << enum leg_state; 0: any */
	int64_t		due_ms;		/* with WAITING: next_ms <= this; INT64_MAX: any */
};
struct spool_cursor {
	uint64_t segment;
	uint32_t entry;
};
typedef bool spool_scan_fn(void *arg, const struct spool_entry *e);
size_t spool_scan(struct spool *sp, struct spool_cursor *c, const struct spool_filter *f,
    size_t budget, spool_scan_fn *fn, void *arg, bool *end);
/* A lower bound of the earliest next_ms of WAITING legs of that kind; INT64_MAX none. */
int64_t spool_next_due(struct spool *sp, enum leg_kind leg);

void spool_total(struct spool *sp, uint64_t group, struct spool_sums *out);	/* 0: all */
int spool_find(struct spool *sp, struct msgid id, struct spool_ref *refs, size_t max);
/* The recipient of that message, index and kind. 0 or -1. */
int spool_find_rcpt(struct spool *sp, struct msgid id, uint16_t rcpt_index, enum rcpt_kind kind,
    struct spool_ref *out);

struct spool_status {
	uint64_t segments, bytes, bytes_free, commits, syncs, damaged;
	unsigned reading;	/* messages being fetched */
	bool	 full;		/* new mail gets 452 */
	int64_t	 oldest_ms;	/* received_ms of the oldest unsettled; 0 none */
};
void spool_status(struct spool *sp, struct spool_status *out);

#endif
