// SPDX-License-Identifier: Apache-2.0
/*
 * The spool's bytes on disk: heads of segment files, records, progress, index.
 * Pure functions over memory; everything little-endian, each structure with a
 * magic, a version where it can change, and a CRC32C seeded by the segment's
 * random stamp, so that a record inside somebody's mail is never taken for one
 * of ours. Decoders accept any bytes. docs/spool.md has the tables.
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

#include "base/le.h"
#include "queue/spool.h"

enum {
	RECORD_VERSION = 1,
	SEGMENT_VERSION = 2,	/* of the head; 1: never rewritten */
	SEGMENT_HEAD = 64,	/* bytes; of the log and of the progress log */
	RECORD_HEAD = 64,
	RECORD_ALIGN = 8,
	PROGRESS_FIXED = 32,
	NOTE_MAX = 96,		/* bytes of a note */
	PROGRESS_MAX = PROGRESS_FIXED + NOTE_MAX,
	PAGE_BYTES = 4096,
	PAGE_HEAD = 64,
	ENTRY_BYTES = 64,
	PAGE_ENTRIES = (PAGE_BYTES - PAGE_HEAD) / ENTRY_BYTES,
	ROW_BYTES = 96,
	SLOT_MAX = 65535,	/* groups in one segment */
	BODY_MAX_BITS = 32	/* a body is shorter than 4 GiB */
};

struct segment_head {
	uint64_t	segment;
	uint64_t	stamp;		/* random, names this segment's files */
	uint8_t		cls;		/* enum store_class */
	int64_t		created_ms;	/* wall clock */
	uint32_t	generation;	/* how often the log was rewritten (spool_rewrite.c) */
	bool		packed;		/* bodies were compressed where that helps */
	int64_t		shift_ms;	/* spool_now minus the wall clock at that time */
};
void segment_head_put(uint8_t out[SEGMENT_HEAD], const struct segment_head *h);
int segment_head_get(const uint8_t in[SEGMENT_HEAD], struct segment_head *h);

enum record_type { RECORD_MESSAGE = 1, RECORD_ABANDON = 2, RECORD_SETTLED = 3 };
enum { RECORD_ZSTD = 1 };	/* flags: the body is one zstd frame (squeeze.h) */

struct record {
	uint8_t		type;		/* enum record_type */
	uint16_t	flags;
	uint64_t	stamp;
	struct msgid	id;
	uint16_t	nrcpt;		/* of SETTLED: 0 */
	uint32_t	env_len;	/* bytes; of ABANDON and SETTLED: the payload */
	uint64_t	body_len;	/* bytes stored */
	uint32_t	size;		/* bytes of the content */
	uint32_t	stable;		/* offset/8 known to be synced when this was written */
	uint32_t	first_entry;	/* ordinal of its first recipient in the segment */
	uint32_t	crc_meta;	/* births and envelope */
	uint32_t	crc_body;
};
void record_put(uint8_t out[RECORD_HEAD], const struct record *r);
/* -1: not a record of the segment with that stamp. */
int record_get(const uint8_t in[RECORD_HEAD], uint64_t stamp, struct record *r);
uint64_t record_meta_len(const struct record *r);	/* births and envelope */
uint64_t record_len(const struct record *r);		/* all of it, padded */
uint32_t record_crc(uint64_t stamp, struct slice bytes);

uint8_t birth_put(struct spool_birth b);
int birth_get(uint8_t v, struct spool_birth *b);

/* What the first record of a new segment says about a segment that failed. */
struct abandon {
	uint64_t segment, good_end;
};
enum { ABANDON_BYTES = 16 };
void abandon_put(uint8_t out[ABANDON_BYTES], struct abandon a);
struct abandon abandon_get(const uint8_t in[ABANDON_BYTES]);

/*
 * What a rewritten log still says of recipients of whom all is settled: a run of
 * entries, their ordinals beginning at first_entry. SETTLED_BYTES each.
 */
enum { SETTLED_BYTES = 72, SETTLED_MAX = 256 /* in one record */ };

enum progress_kind { PROGRESS_LEG, PROGRESS_VOID /* the client was told to come again */ };

struct progress {
	uint8_t		kind;		/* enum progress_kind */
	uint8_t		leg;		/* enum leg_kind */
	struct spool_leg now;
	uint32_t	entry;
	uint32_t	check;		/* entry_check of its recipient */
	uint32_t	other;		/* offset/8 of the last note of the other leg, 0 none */
	struct slice	note;		/* borrowed from the bytes when decoded */
};
/* Returns the bytes used, a multiple of 8, at most PROGRESS_MAX. */
size_t progress_put(uint8_t *out, uint64_t stamp, const struct progress *p);
/* The bytes of the record at the start of `in`, or 0 when there is none. */
size_t progress_get(struct slice in, uint64_t stamp, struct progress *p);

/* An index entry: one recipient. */
struct entry {
	struct msgid	 id;
	uint16_t	 rcpt;
	uint16_t	 slot;		/* of its group in the segment's rows */
	uint8_t		 kind, triage;
	bool		 hold_only;
	bool		 empty;		/* counts for nothing: damaged, or void */
	uint32_t	 off8;		/* of its record in the log, in units of 8; 0: not there,
					 * its message was settled when the log was rewritten */
	uint32_t	 size;
	uint64_t	 user;
	uint32_t	 sender;	/* spool_sender, 24 bits; 0 not known: of an older version */
	int64_t		 received_ms;
	uint32_t	 note;		/* offset/8 of its last note in the progress log, 0 none */
	struct spool_leg leg[LEG_KIND_MAX];
};
void entry_put(uint8_t out[ENTRY_BYTES], const struct entry *e);
void entry_get(const uint8_t in[ENTRY_BYTES], struct entry *e);
/* One of a SETTLED record: the entry without slot and place, and its group. */
void settled_put(uint8_t out[SETTLED_BYTES], const struct entry *e, uint64_t group);
void settled_get(const uint8_t in[SETTLED_BYTES], struct entry *e, uint64_t *group);
uint32_t entry_check(const struct entry *e);

/* Seals a page that holds `count` entries from PAGE_HEAD on. */
void page_put(uint8_t page[PAGE_BYTES], uint64_t stamp, uint32_t no, uint32_t count);
int page_get(const uint8_t page[PAGE_BYTES], uint64_t stamp, uint32_t no);

enum bucket { BUCKET_REPLAYED, BUCKET_FORWARDED_ONLY, BUCKET_BOUNCED, BUCKET_DROPPED,
	BUCKET_HELD, BUCKET_MAX };

struct row {			/* sums of one group in one segment; recipients */
	uint64_t group;
	uint32_t leg[LEG_KIND_MAX][LEG_STATE_MAX];
	uint32_t bucket[BUCKET_MAX];
	uint64_t held_bytes;
};
void row_put(uint8_t out[ROW_BYTES], const struct row *r);
void row_get(const uint8_t in[ROW_BYTES], struct row *r);

/* First page of an index file; written last, when what it speaks of is stable. */
struct index_head {
	uint64_t	segment, stamp;
	uint8_t		cls;
	uint32_t	count;		/* entries */
	uint32_t	live;		/* of them not settled */
	uint64_t	log_end;
	uint64_t	covered;	/* progress applied up to this offset */
	struct msgid	min, max;
	int64_t		due[LEG_KIND_MAX];	/* earliest WAITING; INT64_MAX none */
	int64_t		created_ms;
	uint32_t	nrow;
	uint32_t	crc_rows;
	uint32_t	table_n;	/* pairs in each table behind the rows; 0: there are none */
	bool		sender_gap;	/* some entries do not know their sender */
	uint32_t	generation;	/* of the log that its offsets mean */
	uint32_t	bodies;		/* entries whose message is in the log */
};
void index_head_put(uint8_t out[PAGE_BYTES], const struct index_head *h);
int index_head_get(const uint8_t in[PAGE_BYTES], struct index_head *h);

#endif
