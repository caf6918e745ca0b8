// SPDX-License-Identifier: Apache-2.0
/*
 * The file format of a directory snapshot, and the only place that knows SQLite.
 * Internal to policy/snapshot.c (writes) and policy/directory.c (reads).
 *
 *	meta(key, value)		users, names, generation, created, source
 *	domains(id, name, fold, users)	the served domains at import
 *	users(id, ...)			id is the line of the import file
 *	baseline(user)			users.id of those with copies in peace time; files of
 *					earlier releases have no such table
 *	names(name, user)		key of each address and alias -> users.id
 *	changed(user, since)		users.id of those whose recovery address was another one
 *					lately; files of earlier releases have no such table
 *	confirmed(recovery)		addresses that may be shared by many users
 *
 * A writer works on a fresh file without journal or sync: the file counts for nothing
 * until policy/snapshot.c has put the trailer on it, synced and renamed it. A reader
 * works on bytes in memory.
 */
#ifndef POLICY_SNAPSHOT_DB_H
#define POLICY_SNAPSHOT_DB_H

#include "policy/directory.h"

enum { SNAPDB_VERSION = 1, SNAPDB_TRAILER = 64 /* bytes behind the database */ };

struct snapdb;

enum snapdb_result {
	SNAPDB_OK,
	SNAPDB_NONE,	/* no such row */
	SNAPDB_TAKEN,	/* the name belongs to another row */
	SNAPDB_FAIL	/* disk or damage: snapdb_why */
};

/* Writing. `path` exists, empty. */
struct snapdb *snapdb_create(const char *path, char *why, size_t cap);
enum snapdb_result snapdb_put_domain(struct snapdb *db, unsigned id, struct slice name, bool fold);
enum snapdb_result snapdb_put_user(struct snapdb *db, unsigned domain,
    const struct directory_user *u);
enum snapdb_result snapdb_put_baseline(struct snapdb *db, uint64_t line);
enum snapdb_result snapdb_put_changed(struct snapdb *db, uint64_t line, int64_t since_ms);
/* TAKEN: *owner is the line that has it (which may be the same line). */
enum snapdb_result snapdb_put_name(struct snapdb *db, struct slice key, uint64_t line,
    uint64_t *owner);
enum snapdb_result snapdb_drop_name(struct snapdb *db, struct slice key);
enum snapdb_result snapdb_put_confirmed(struct snapdb *db, struct slice recovery);
enum snapdb_result snapdb_put_number(struct snapdb *db, const char *key, uint64_t value);
enum snapdb_result snapdb_put_text(struct snapdb *db, const char *key, struct slice value);
/* Flags users whose recovery address more than `max` users have and nobody confirmed. */
enum snapdb_result snapdb_flag_shared(struct snapdb *db, unsigned max, uint64_t *users,
    uint64_t *addresses);
/* Counts users per domain, commits, closes the file. */
enum snapdb_result snapdb_finish(struct snapdb *db);

/* Reading. `p` is borrowed until snapdb_free. */
struct snapdb *snapdb_map(const void *p, size_t n, char *why, size_t cap);
enum snapdb_result snapdb_get(struct snapdb *db, struct slice key, struct directory_user *u);
enum snapdb_result snapdb_baseline(struct snapdb *db, uint64_t line, bool *yes);
enum snapdb_result snapdb_baselines(struct snapdb *db, uint64_t *users);
enum snapdb_result snapdb_opt_outs(struct snapdb *db, uint64_t *users);
enum snapdb_result snapdb_number(struct snapdb *db, const char *key, uint64_t *value);
enum snapdb_result snapdb_text(struct snapdb *db, const char *key, char *out, size_t cap);

typedef void snapdb_domain_fn(void *arg, struct slice name, bool fold, uint64_t users);
enum snapdb_result snapdb_domains(struct snapdb *db, snapdb_domain_fn *fn, void *arg);
enum snapdb_result snapdb_confirmed(struct snapdb *db, directory_name_fn *fn, void *arg);
enum snapdb_result snapdb_names_of(struct snapdb *db, uint64_t line, directory_name_fn *fn, void *arg);
enum snapdb_result snapdb_aliases(struct snapdb *db, directory_alias_fn *fn, void *arg);
enum snapdb_result snapdb_counts(struct snapdb *db, directory_count_fn *fn, void *arg);

const char *snapdb_why(const struct snapdb *db);	/* of the last SNAPDB_FAIL */
void snapdb_free(struct snapdb **dbp);

#endif
