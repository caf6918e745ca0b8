// SPDX-License-Identifier: Apache-2.0
/*
 * Shared by the files of the spool; nobody else includes this.
 *
 * The index file is never written in place behind a crash's back: pages that were
 * changed stay in memory until a checkpoint writes them, after the progress log
 * that says the same is stable. So index + progress from `covered` on is always
 * the truth, and replaying a progress record twice changes nothing.
 */
#ifndef QUEUE_SPOOL_PRIV_H
#define QUEUE_SPOOL_PRIV_H

#include "queue/record.h"
#include "queue/spool.h"

enum {
	SPOOL_ENTRIES_MAX = 1 << 18,	/* in one segment */
	SPOOL_WINDOW_PAGES = 64,	/* read ahead of scans */
	SPOOL_CLEAN_MAX = 4096,		/* pages kept for single look-ups */
	SPOOL_DIRTY_MAX = 8192,		/* pages of sealed segments; over it: checkpoint */
	SPOOL_DIRTY_AGE_MS = 20000,	/* a checkpoint after this, so that start is quick */
	SPOOL_DEADLINE_MS = 3500,	/* a commit is answered by then */
	SPOOL_BROKEN_MS = 1000,		/* after a failed retry new commits fail at once */
	SPOOL_PENDING_MAX = 16384,	/* commits */
	SPOOL_PENDING_BYTES = 64 << 20,
	SPOOL_INLINE = 64 * 1024,	/* bodies up to this go into the batch buffer */
	SPOOL_TICK_MS = 1000,
	SPOOL_BLIND_MS = 1000,		/* a segment that cannot be read is left alone so long */
	SPOOL_TURN_MS = 600000,		/* in that time so many segments are begun to keep */
	SPOOL_TURNS_MAX = 16,		/* the order of a replay */
	SPOOL_TURN_LOOK = 16,		/* segments that are looked at for it */
	SPOOL_IDLE_MS = 30000,		/* an open segment with nothing left is given up */
	SPOOL_CHUNK_BYTES = 32 << 20,	/* progress held for a disk that fails */
	SPOOL_SCAN_CHUNK = 1 << 20,	/* recovery reads this much at once */
	SPOOL_CACHE_BYTES = 64 << 20,
	SPOOL_CACHE_FDS = 4096,		/* and at most a quarter of what the process may open */
	SPOOL_CACHE_HASH = 8192,
	SPOOL_META_MAX = 64 << 20,
	SPOOL_COPY_BYTES = 1 << 20,	/* of a log that is rewritten, in one step */
	SPOOL_COPY_ITEMS = 1024,	/* in one step */
	SPOOL_PLAN_ENTRIES = 4096,	/* looked at in one turn of the loop */
	SPOOL_COPY_REST = 3,		/* after a step: a pause so many times as long */
	SPOOL_PACK_AGE_MS = 10000,	/* after its last append a held segment is compressed */
	SPOOL_REWRITE_AGAIN_MS = 60000,	/* after a failure */
	SPOOL_REWRITE_MIN = 16 * 1024	/* logs smaller than this are left alone */
};

struct seg;

struct page {			/* of an index, in memory */
	struct page	*prev, *next;	/* in the list of clean pages of sealed segments */
	struct seg	*seg;
	uint32_t	 no;
	bool		 dirty, listed;
	uint8_t		 b[PAGE_BYTES];
};

struct page_due {
	int64_t	at[LEG_KIND_MAX];	/* no WAITING leg of the page is due before */
	bool	exact;
};

struct chunk {			/* progress not yet known to be stable */
	struct chunk	*next;
	struct spool	*sp;
	struct seg	*seg;
	uint64_t	 off;
	size_t		 n;
	enum { CHUNK_NEW, CHUNK_WRITING, CHUNK_WRITTEN } state;
	uint8_t		 b[];
};

enum seg_state {
	SEG_CREATING,
	SEG_OPEN,	/* takes appends */
	SEG_CLOSED,	/* takes no more; appends may be in flight */
	SEG_SEALING,
	SEG_SEALED,
	SEG_DROPPING	/* its sums are folded into the totals */
};

struct seg {
	struct spool	*sp;
	uint64_t	 no, stamp;
	uint8_t		 cls;		/* enum store_class */
	enum seg_state	 state;
	bool		 failed;	/* an append failed: good_end is its end */
	bool		 keep;		/* unreadable: its files are not touched */
	bool		 shadow;	/* being rebuilt aside: counts for nothing */
	bool		 packed;	/* compressing its bodies again would not help */
	uint32_t	 generation;	/* of its log */
	uint32_t	 bodies;	/* entries whose message is in the log */
	uint32_t	 tried_live;	/* live when rewriting it was not worth it; 0 never tried */
	int64_t		 rewrite_ms;	/* monotonic: not rewritten before */
	bool		 index_valid;	/* the index file may stand for pages not in memory */
	bool		 sender_gap;	/* the table of senders does not know all */
	bool		 table_lost;	/* to be made again by a checkpoint */
	uint32_t	 table_n;	/* pairs in each table of the index file; 0: none there */
	int64_t		 blind_ms;	/* monotonic: the disk would not read; not asked before */
	uint64_t	 end, good_end;	/* of the log: submitted, stable */
	uint32_t	 next_entry;	/* submitted */
	uint32_t	 count, live;	/* entries; of them not settled */
	uint32_t	 first_live;	/* no unsettled entry before */
	int64_t		 settled_ms;	/* monotonic, when one was settled last, or of start */
	unsigned	 inflight;	/* appends */
	int64_t		 created_ms, last_ms;	/* wall; monotonic of the last append */
	int64_t		 shift_ms;	/* spool_now minus the wall clock, when it was made */
	struct msgid	 min, max;

	struct page	**page;		/* by number; NULL: only in the file */
	uint32_t	 npage;		/* slots of page[] and due[] */
	uint32_t	 ndirty;
	int64_t		 dirty_ms;	/* monotonic, of the first change since the checkpoint */
	struct page_due	*due;
	int64_t		 due_min[LEG_KIND_MAX];
	bool		 due_stale[LEG_KIND_MAX];

	struct row	*row;
	uint32_t	 nrow, caprow, lastrow;

	uint64_t	 prg_end;	/* with what is buffered */
	uint64_t	 covered;	/* by the index file */
	struct buf	 prg;		/* of this turn; begins at prg_end - its length */
	struct chunk	*chunk, **chunk_tail;
	unsigned	 prg_inflight;
	bool		 prg_syncing, prg_sync_wanted, flush_listed;
	uint64_t	 prg_sync_to;
	struct seg	*flush_next;
};

struct commit {
	struct commit	*prev, *next;	/* pending, in order of arrival */
	struct commit	*wait_next;	/* for a segment, or for the finisher */
	struct spool	*sp;
	spool_commit_fn	*fn;		/* NULL: an abandon record of our own */
	void		*arg;
	uint8_t		 cls;
	bool		 answered, retried;
	enum queue_commit_status verdict;	/* the finisher's */
	int64_t		 deadline_ms;	/* monotonic */
	struct seg	*seg;		/* where it was submitted */
	struct record	 rec;
	uint64_t	 off;
	uint8_t		*buf;		/* head, births, envelope, small body, padding; owned */
	size_t		 nbuf;
	int		 body_fd;	/* own duplicate; -1 */
	bool		 streamed;	/* the body goes by descriptor */
	struct store_piece piece[3];
	uint8_t		 pad[RECORD_ALIGN];
	struct entry	*entry;		/* rec.nrcpt of them; slots at submission */
	uint64_t	*group;
};

struct cached {			/* a message that was just committed */
	struct cached	*hash_next, *prev, *next;
	uint64_t	 segment;
	uint32_t	 off8;
	int		 body_fd;	/* owned */
	size_t		 cost;		/* bytes */
	unsigned	 left;		/* recipients not settled */
	size_t		 nenv;
	uint8_t		*env;		/* behind this struct, in the same allocation */
};

struct group_sums {
	uint64_t	 group;		/* 0: slot is free */
	struct spool_sums now;		/* with what is folded */
	struct spool_sums folded;	/* of segments that were dropped */
};

enum checkpoint_step { CHECKPOINT_IDLE, CHECKPOINT_SYNC, CHECKPOINT_PAGES, CHECKPOINT_HEAD };

struct checkpoint {
	enum checkpoint_step step;
	struct seg	*seg;
	uint64_t	 covered;
	uint8_t		*buf;		/* copies of pages, then head and rows */
	uint32_t	*no;		/* page numbers in buf */
	size_t		 n;
	struct store_span *span;	/* of buf and table, for the store */
	size_t		 nspan;
	uint8_t		*tail;		/* head page, then rows */
	size_t		 ntail;
	uint8_t		*table;		/* when they are made by this one; else NULL */
	uint32_t	 table_n;	/* pairs in each, made now or before */
};

enum table_kind { TABLE_USER, TABLE_SENDER, TABLE_MAX };

struct steady {			/* spool_clock.c */
	uint64_t	 boot;		/* of the machine; 0 not known */
	int64_t		 now_ms, mono_ms;	/* spool_now at that monotonic time */
	int64_t		 shift_ms;	/* spool_now minus the wall clock */
	int64_t		 save_ms;	/* monotonic: the next time it is written */
	bool		 saving;
	uint8_t		 saved[44];	/* being written */
};

struct match {			/* what a table said last */
	uint64_t	 segment;	/* 0: nothing */
	enum table_kind	 kind;
	uint32_t	 lo, hi;	/* keys that were asked for */
	uint32_t	*entry;		/* ordinals, ascending; owned */
	uint32_t	 n, cap;
	uint64_t	 reads;		/* pages, since start */
};

enum read_result { READ_OK, READ_DAMAGED, READ_TRY_LATER };

enum rewrite_step {
	REWRITE_IDLE,
	REWRITE_PLAN,	/* looking at the entries, on the loop */
	REWRITE_COPY,	/* on a thread */
	REWRITE_WRITE,	/* the chunk is on its way */
	REWRITE_REST,	/* commits go first */
	REWRITE_ADOPT,	/* the new log takes the place of the old one */
	REWRITE_DISCARD
};

struct rewrite_item {		/* of the new log, in order: a message, or a run of settled entries */
	uint32_t off8;		/* in the old log; 0: settled */
	uint32_t new8;
	uint32_t first, n;	/* entries */
};

/* One segment at a time. In REWRITE_COPY it belongs to the thread, but for `spoiled`. */
struct rewrite {
	enum rewrite_step step;
	struct seg	*seg;
	bool		 spoiled;	/* the plan is not true any more */
	unsigned	 level;		/* of compression; 0 none */
	bool		 pack_only;	/* for compression alone */
	uint32_t	 planned;	/* entries looked at */
	struct rewrite_item *item;
	size_t		 n, cap;
	size_t		 from, to;	/* items of the chunk */
	uint64_t	 estimate;	/* bytes that stay */
	uint64_t	 bodies;	/* of them may be compressed */
	uint64_t	 end;		/* of the new log */
	struct buf	 settled;	/* records of the chunk's settled runs, in order */
	struct buf	 out;		/* the chunk */
	enum read_result result;
	size_t		 bad;		/* item that could not be copied */
	int64_t		 began_us;	/* of the chunk */
	struct timer	*timer;
};

struct spool {
	struct loop		*loop;
	const struct store_ops	*ops;
	struct store		*store;
	bool			 read_only, fenced, closing;
	uint64_t		 segment_size, disk_reserve;
	uint64_t		 disk_warn;	/* free bytes below which nothing is kept for grace */
	int64_t			 grace_ms;	/* replay-grace */
	bool			 pressed;	/* ... as of the last tick */

	struct seg		**seg;		/* by ascending number */
	size_t			 nseg, capseg;
	uint64_t		 next_segment;
	struct seg		*active[STORE_CLASS_MAX], *creating[STORE_CLASS_MAX];

	/* commits */
	struct commit		*pending, *pending_last;
	struct commit		*waiting[STORE_CLASS_MAX], **waiting_tail[STORE_CLASS_MAX];
	struct commit		*finish, **finish_tail;
	size_t			 npending;
	uint64_t		 pending_bytes;
	struct timer		*finisher, *watchdog, *flusher, *ticker;
	bool			 watching, ticking;
	int64_t			 turned_ms;	/* segments closed to keep the order: since */
	unsigned		 turned;	/* ... then so many */
	int64_t			 broken_until_ms, space_checked_ms;
	uint64_t		 space_free;	/* at the last check */
	uint64_t		 space_used;	/* appended since */
	bool			 full;

	/* index */
	struct page		 clean;		/* list head, least recent first */
	size_t			 nclean, ndirty;
	uint8_t			*window;	/* SPOOL_WINDOW_PAGES */
	uint64_t		 window_seg;	/* 0: nothing there */
	uint32_t		 window_first, window_n;
	struct checkpoint	 ckpt;
	struct match		 match;
	struct steady		 clock;

	struct rewrite		 rewrite;
	unsigned		 compact_below;	/* percent */
	unsigned		 held_compression;
	uint64_t		 rewritten;	/* logs, since start */

	struct seg		*flush;		/* segments with progress of this turn */
	size_t			 chunk_bytes;

	/* balance */
	struct group_sums	*group;
	size_t			 ngroup, capgroup;
	struct spool_sums	 all;
	uint64_t		 totals_seq;
	uint64_t		*gone;		/* folded segments that may still have files */
	size_t			 ngone;
	struct buf		 totals;	/* being written */
	unsigned		 totals_inflight;
	bool			 totals_failed, totals_dirty;

	/* recently committed */
	struct cached		*cache_hash[SPOOL_CACHE_HASH];
	struct cached		 cache;		/* list head, oldest first */
	size_t			 cache_n, cache_bytes, cache_bytes_max, cache_fds_max;

	unsigned		 nfetch;	/* reads under way on threads */
	uint64_t		 commits, damaged, damage_no;
};

/* spool.c */
struct seg *seg_new(struct spool *sp, uint64_t no);
void seg_insert(struct spool *sp, struct seg *s);
void seg_remove(struct spool *sp, struct seg *s);	/* and frees */
struct seg *seg_find(struct spool *sp, uint64_t no);	/* any state but DROPPING, CREATING */
size_t seg_position(const struct spool *sp, uint64_t no);	/* first with number >= no */
void spool_set_aside(struct spool *sp, struct seg *s, uint64_t off, uint64_t len,
    const char *what);

/* spool_index.c: entries of a segment. -1 when the index is beyond help. */
int index_get(struct spool *sp, struct seg *s, uint32_t i, struct entry *e);
int index_peek(struct spool *sp, struct seg *s, uint32_t i, struct entry *e);	/* for scans */
int index_put(struct spool *sp, struct seg *s, uint32_t i, const struct entry *e);
void index_reserve(struct seg *s, uint32_t entries);	/* room in page[] and due[] */
struct page *index_page(struct spool *sp, struct seg *s, uint32_t no);	/* resident */
struct page *index_page_new(struct spool *sp, struct seg *s, uint32_t no);
uint32_t index_page_count(const struct seg *s, uint32_t no);
void index_dirty(struct spool *sp, struct page *p);
void index_take(struct spool *sp, struct page *p);	/* into a checkpoint */
void index_clean(struct spool *sp, struct page *p);	/* was checkpointed */
void index_drop_pages(struct spool *sp, struct seg *s);
int64_t index_due(struct seg *s, enum leg_kind leg);
bool index_page_quiet(struct spool *sp, struct seg *s, uint32_t no, enum leg_kind leg,
    int64_t now_ms);	/* surely nothing due */
void index_window_forget(struct spool *sp);
bool entry_settled(const struct entry *e);

/* spool_table.c: who has mail in a sealed segment */
enum { TABLE_PAIR = 8 /* bytes */, TABLE_PAIRS = (PAGE_BYTES - PAGE_HEAD) / TABLE_PAIR };
uint32_t table_pages(uint32_t n);	/* of one table with n pairs */
uint32_t table_key(enum table_kind k, const struct entry *e);
uint64_t table_pair(const uint8_t *page, uint32_t i);	/* key << 32 | entry */
uint64_t table_bytes(uint32_t n);	/* of all tables, with n pairs each */
uint64_t table_offset(const struct seg *s);	/* in the index file: behind the rows */
uint32_t table_user_key(uint64_t user);
uint32_t table_sender_key(uint32_t sender);
uint8_t *table_build(struct spool *sp, struct seg *s, uint32_t *n);
bool table_match(struct spool *sp, struct seg *s, enum table_kind kind, uint32_t lo, uint32_t hi);
void table_forget(struct spool *sp, const struct seg *s);	/* it is gone, or made again */

/* spool_clock.c */
void steady_open(struct spool *sp);	/* before segments are read */
void steady_save(struct spool *sp);
void steady_tick(struct spool *sp);
int64_t steady_shift_of(const struct seg *s, int64_t received_ms);

/* spool_balance.c */
enum bucket entry_bucket(const struct entry *e);
int balance_slot(struct seg *s, uint64_t group);	/* or -1: no more groups */
void balance_add(struct spool *sp, struct seg *s, const struct entry *e, int sign);
void balance_rows(struct spool *sp, const struct seg *s, int sign);	/* all at once */
void balance_fold(struct spool *sp, const struct seg *s);
int balance_load(struct spool *sp);
void balance_encode(struct spool *sp, struct buf *out);

/* spool_progress.c */
void progress_log(struct spool *sp, struct seg *s, const struct progress *p);
int progress_apply(struct spool *sp, struct seg *s, const struct progress *p, uint64_t off);
/* The record at that place: buffered, or in the file. 0 or -1. */
int progress_read(struct spool *sp, struct seg *s, uint32_t off8, struct progress *p,
    uint8_t b[PROGRESS_MAX]);
void progress_flush(struct spool *sp, struct seg *s);
void progress_sync(struct spool *sp, struct seg *s);	/* wants all of it stable */
bool progress_stable(const struct seg *s);
void progress_free(struct spool *sp, struct seg *s);
bool progress_tick(struct spool *sp);	/* true: there is more to do */
void on_flusher(void *arg);

/* spool_commit.c */
void commit_created(struct spool *sp, struct seg *s, enum store_result r);
void commit_watch(void *arg);
void commit_finish(void *arg);
void commit_fail_all(struct spool *sp);
bool spool_is_full(struct spool *sp, uint64_t more);

/* spool_house.c: sealing, checkpoints, dropping */
void house_tick(void *arg);
void house_wake(struct spool *sp);
void house_close_seg(struct spool *sp, struct seg *s);	/* no more appends */
void house_seal(struct spool *sp, struct seg *s);
void house_settled(struct spool *sp, struct seg *s);	/* live became 0 */
bool house_checkpoint(struct spool *sp, struct seg *s);	/* false: one is running */
void house_relieve(struct spool *sp);	/* too many changed pages */
void house_drop(struct spool *sp);
/* What is settled in it is kept all the same: an operator may want a second replay. */
bool house_in_grace(const struct spool *sp, const struct seg *s);
/* ... and all of it is settled. */
bool house_graced(const struct spool *sp, const struct seg *s);

/* spool_rewrite.c: compaction and compression */
bool rewrite_tick(struct spool *sp, int64_t now);	/* true: there is more to do later */
void rewrite_turn(void *arg);		/* of its timer */
void rewrite_stop(struct spool *sp);	/* on closing: what has not begun to count is dropped */
void rewrite_free(struct spool *sp);
static inline bool
rewrite_holds(const struct spool *sp, const struct seg *s)
{
	return sp->rewrite.step != REWRITE_IDLE && sp->rewrite.seg == s;
}
/* A recipient who was settled shall not be any more; false: it is too late for that. */
bool rewrite_revive(struct spool *sp, const struct seg *s);

/* spool_copy.c: on a thread */
void copy_chunk(void *arg);		/* struct spool; fills rewrite.out */
void copy_settled(struct spool *sp, struct seg *s, const struct rewrite_item *it);	/* loop */

/* spool_recover.c */
int recover_all(struct spool *sp);
int recover_pages(struct spool *sp, struct seg *s);	/* the index file cannot be trusted */

/* spool_read.c */
void cache_put(struct spool *sp, struct commit *c);
void cache_settled(struct spool *sp, uint64_t segment, uint32_t off8);	/* one recipient */
void cache_forget(struct spool *sp, uint64_t segment);
void cache_clear(struct spool *sp);
/* The bytes are kept for a human; the recipients of the record hear of it. */
void read_damaged(struct spool *sp, struct seg *s, uint32_t entry, uint32_t off8);
bool cache_evict(struct spool *sp);	/* the oldest; false when empty */

#endif
