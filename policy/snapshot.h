// SPDX-License-Identifier: Apache-2.0
/*
 * Builds a directory snapshot from rows and puts it in place.
 *
 * Life: snapshot_begin makes state-dir/directory.import (one import at a time, guarded
 * by a lock), snapshot_add checks and stores rows, snapshot_finish looks at the whole
 * (guards of rows and of opt-outs, shared recovery addresses), syncs, and renames it to
 * state-dir/directory/users.db; the former ones become users.1.db and users.2.db.
 * Until that rename the directory in use is untouched, and a crash at any instant
 * leaves either the old or the new one. With any bad row nothing is put in place,
 * unless skip_bad was asked for.
 *
 * Keys are folded as the configuration says now; the snapshot remembers how.
 */
#ifndef POLICY_SNAPSHOT_H
#define POLICY_SNAPSHOT_H

#include "policy/directory.h"

enum {
	SNAPSHOT_ALIASES_MAX = 100,	/* of one user */
	SNAPSHOT_GUARD_PERCENT = 80,	/* of the present rows, and opt-outs, at least */
	SNAPSHOT_OPT_OUTS_LOST = 2,	/* so many opt-outs may go in any case */
	SNAPSHOT_WHY = 512
};

struct snapshot_row {	/* as in the source; "" where there is nothing */
	uint64_t	line;	/* ascending */
	struct slice	address, recovery, state, shard, language, verified_at;
	struct slice	baseline;	/* "yes", "no" */
	struct slice	aliases;	/* separated by spaces or ';'; without '@' in the
					 * address's domain */
};

struct snapshot_options {
	bool		force;		/* chain rows are kept, not forwarded; no guards */
	bool		skip_bad;	/* bad rows are left out */
	unsigned	shared_max;	/* 0: recovery-users-max of the configuration */
	const char	*source;	/* file name, kept in the snapshot */
	const char	*const *confirmed;	/* recovery addresses that many may share, */
	size_t		nconfirmed;	/* added to those confirmed before */
};

/* What is wrong with a row (bad: it is not taken; else a warning). */
typedef void snapshot_report_fn(void *arg, bool bad, uint64_t line, const char *column,
    const char *text);

struct snapshot_totals {
	uint64_t	rows;		/* seen */
	uint64_t	bad;		/* reported bad */
	uint64_t	users, names;	/* in the snapshot */
	uint64_t	before;		/* users of the present snapshot, 0 for none */
	uint64_t	opted_out;
	uint64_t	no_recovery, chain;	/* users that are not forwarded because of it */
	uint64_t	baseline;	/* users with copies in peace time */
	uint64_t	shared, shared_addresses;
	unsigned	shared_max;	/* more users than that */
	uint64_t	unknown_shard;	/* users of a shard the configuration has not */
	unsigned	domains_empty;	/* served, but without a user */
	uint64_t	generation;
	uint64_t	bytes;
};

enum snapshot_result {
	SNAPSHOT_OK,
	SNAPSHOT_BAD_ROWS,	/* reported; nothing imported */
	SNAPSHOT_GUARDED,	/* too few rows; nothing imported */
	SNAPSHOT_FAIL		/* disk; nothing imported */
};

struct snapshot;

/* NULL with the reason in `why` (SNAPSHOT_WHY bytes, as everywhere here). */
struct snapshot *snapshot_begin(const struct conf *c, const struct snapshot_options *o,
    snapshot_report_fn *report, void *arg, char *why);
/* 0, also for a bad row; -1 when the disk fails. */
int snapshot_add(struct snapshot *s, const struct snapshot_row *row, char *why);
/* A row that could not even be read: reported and counted as bad. */
void snapshot_bad(struct snapshot *s, uint64_t line, const char *column, const char *text);
/* Anything but OK leaves the present snapshot as it is. */
enum snapshot_result snapshot_finish(struct snapshot *s, char *why);
const struct snapshot_totals *snapshot_totals(const struct snapshot *s);
/* Removes what was not put in place. */
void snapshot_free(struct snapshot **sp);

struct snapshot_rollback {
	struct directory_info	now;	/* put in place */
	struct directory_info	former;	/* taken out, if kept */
	bool			kept;	/* as users.1.db; false: it was damaged or missing */
};

/*
 * Swaps users.db with users.1.db in one step, under the lock of the imports, after reading
 * users.1.db as a whole; so a second rollback brings the first one back. 0, or -1 with
 * `why`: none there, damaged, an import at work, the disk.
 */
int snapshot_rollback(const struct conf *c, struct snapshot_rollback *r, char *why);

#endif
