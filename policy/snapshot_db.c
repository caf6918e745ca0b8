// SPDX-License-Identifier: Apache-2.0
#include "policy/snapshot_db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
	SNAPDB_MAGIC = 0x53505544,	/* application_id: "SPUD" */
	SNAPDB_CACHE_KIB = 256 * 1024	/* writer: names arrive in any order */
};

enum snapdb_stmt {
	STMT_PUT_USER, STMT_PUT_BASELINE, STMT_PUT_CHANGED, STMT_PUT_NAME, STMT_OWNER, STMT_DROP_NAME,
	STMT_PUT_META, STMT_GET, STMT_CHANGED, STMT_BASELINE, STMT_META, STMT_MAX
};

static const char *const stmt_sql[STMT_MAX] = {
	[STMT_PUT_USER] = "INSERT INTO users VALUES(?,?,?,?,?,?,?,?,?)",
	[STMT_PUT_BASELINE] = "INSERT INTO baseline VALUES(?)",
	[STMT_PUT_CHANGED] = "INSERT INTO changed VALUES(?,?)",
	[STMT_PUT_NAME] = "INSERT INTO names VALUES(?,?)",
	[STMT_OWNER] = "SELECT user FROM names WHERE name=?",
	[STMT_DROP_NAME] = "DELETE FROM names WHERE name=?",
	[STMT_PUT_META] = "INSERT OR REPLACE INTO meta VALUES(?,?)",
	[STMT_GET] = ("SELECT u.id,u.address,u.recovery,u.shard,u.language,u.state,u.flag,u.verified"
	    " FROM names n JOIN users u ON u.id=n.user WHERE n.name=?"),
	[STMT_CHANGED] = "SELECT since FROM changed WHERE user=?",
	[STMT_BASELINE] = "SELECT count(*) FROM baseline WHERE user=?",
	[STMT_META] = "SELECT value FROM meta WHERE key=?",
};

struct snapdb {
	sqlite3		*db;		/* owned */
	sqlite3_stmt	*stmt[STMT_MAX];	/* prepared at first use */
	bool		 no_baseline;	/* made before there was that table */
	bool		 no_changed;	/* likewise */
	char		 why[256];	/* of the last failure */
};

static const char snapdb_schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE domains(id INTEGER PRIMARY KEY, name TEXT NOT NULL, fold INTEGER NOT NULL,"
    " users INTEGER NOT NULL);"
    "CREATE TABLE users(id INTEGER PRIMARY KEY, domain INTEGER NOT NULL, address TEXT NOT NULL,"
    " recovery TEXT NOT NULL, shard TEXT NOT NULL, language TEXT NOT NULL,"
    " state INTEGER NOT NULL, flag INTEGER NOT NULL, verified INTEGER NOT NULL);"
    "CREATE TABLE baseline(user INTEGER PRIMARY KEY);"
    "CREATE TABLE changed(user INTEGER PRIMARY KEY, since INTEGER NOT NULL);"
    "CREATE TABLE names(name TEXT PRIMARY KEY, user INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE confirmed(recovery TEXT PRIMARY KEY) WITHOUT ROWID;";

const char *
snapdb_why(const struct snapdb *db)
{
	return db->why;
}

static enum snapdb_result
snapdb_fail(struct snapdb *db)
{
	snprintf(db->why, sizeof(db->why), "%s", sqlite3_errmsg(db->db));
	return SNAPDB_FAIL;
}

static enum snapdb_result
snapdb_exec(struct snapdb *db, const char *sql)
{
	return sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SNAPDB_OK :
	    snapdb_fail(db);
}

static sqlite3_stmt *
snapdb_stmt(struct snapdb *db, enum snapdb_stmt i)
{
	if (db->stmt[i] == NULL && sqlite3_prepare_v3(db->db, stmt_sql[i], -1,
	    SQLITE_PREPARE_PERSISTENT, &db->stmt[i], NULL) != SQLITE_OK)
		snapdb_fail(db);
	else
		sqlite3_reset(db->stmt[i]);
	return db->stmt[i];
}

/* The bytes stay the caller's until the statement is reset or bound again. */
static void
bind_slice(sqlite3_stmt *st, int i, struct slice s)
{
	sqlite3_bind_text(st, i, s.n == 0 ? "" : s.p, (int)s.n, SQLITE_STATIC);
}

static struct slice
column_slice(sqlite3_stmt *st, int i)
{
	const unsigned char *p = sqlite3_column_text(st, i);
	int n = sqlite3_column_bytes(st, i);

	return p == NULL ? SLICE_NONE : slice_make(p, (size_t)n);
}

/* Runs a statement that yields no rows. */
static enum snapdb_result
snapdb_step(struct snapdb *db, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	enum snapdb_result r = SNAPDB_OK;

	if (rc == SQLITE_CONSTRAINT)
		r = SNAPDB_TAKEN;
	else if (rc != SQLITE_DONE)
		r = snapdb_fail(db);
	sqlite3_reset(st);
	return r;
}

/* Takes what sqlite3_open_v2 gave, closes it on failure. */
static struct snapdb *
snapdb_new(sqlite3 *raw)
{
	struct snapdb *db = mem_new(sizeof(*db));

	db->db = raw;
	return db;
}

struct snapdb *
snapdb_create(const char *path, char *why, size_t cap)
{
	sqlite3 *raw = NULL;
	struct snapdb *db;
	char sql[256];
	int rc;

	rc = sqlite3_open_v2(path, &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	db = snapdb_new(raw);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
	    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-%d;"
	    "PRAGMA application_id=%d; PRAGMA user_version=%d; BEGIN;",
	    SNAPDB_CACHE_KIB, SNAPDB_MAGIC, SNAPDB_VERSION);
	if (rc != SQLITE_OK) {
		snapdb_fail(db);
	} else if (snapdb_exec(db, sql) == SNAPDB_OK &&
	    snapdb_exec(db, snapdb_schema) == SNAPDB_OK) {
		return db;
	}
	snprintf(why, cap, "%s: %s", path, db->why);
	snapdb_free(&db);
	return NULL;
}

enum snapdb_result
snapdb_put_domain(struct snapdb *db, unsigned id, struct slice name, bool fold)
{
	sqlite3_stmt *st = NULL;
	enum snapdb_result r;

	if (sqlite3_prepare_v2(db->db, "INSERT INTO domains VALUES(?,?,?,0)", -1, &st, NULL) !=
	    SQLITE_OK)
		return snapdb_fail(db);
	sqlite3_bind_int64(st, 1, id);
	bind_slice(st, 2, name);
	sqlite3_bind_int(st, 3, fold);
	r = snapdb_step(db, st);
	sqlite3_finalize(st);
	return r;
}

enum snapdb_result
snapdb_put_user(struct snapdb *db, unsigned domain, const struct directory_user *u)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_USER);

	if (st == NULL)
		return SNAPDB_FAIL;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)u->line);
	sqlite3_bind_int64(st, 2, domain);
	bind_slice(st, 3, u->address);
	bind_slice(st, 4, u->recovery);
	bind_slice(st, 5, u->shard);
	bind_slice(st, 6, u->language);
	sqlite3_bind_int(st, 7, u->state);
	sqlite3_bind_int(st, 8, u->flag);
	sqlite3_bind_int64(st, 9, u->verified_ms);
	return snapdb_step(db, st);
}

enum snapdb_result
snapdb_put_baseline(struct snapdb *db, uint64_t line)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_BASELINE);

	if (st == NULL)
		return SNAPDB_FAIL;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)line);
	return snapdb_step(db, st);
}

enum snapdb_result
snapdb_put_changed(struct snapdb *db, uint64_t line, int64_t since_ms)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_CHANGED);

	if (st == NULL)
		return SNAPDB_FAIL;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)line);
	sqlite3_bind_int64(st, 2, since_ms);
	return snapdb_step(db, st);
}

enum snapdb_result
snapdb_put_name(struct snapdb *db, struct slice key, uint64_t line, uint64_t *owner)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_NAME);
	enum snapdb_result r;

	*owner = 0;
	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, key);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)line);
	r = snapdb_step(db, st);
	if (r != SNAPDB_TAKEN)
		return r;
	st = snapdb_stmt(db, STMT_OWNER);
	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, key);
	if (sqlite3_step(st) == SQLITE_ROW)
		*owner = (uint64_t)sqlite3_column_int64(st, 0);
	else
		r = snapdb_fail(db);
	sqlite3_reset(st);
	return r;
}

enum snapdb_result
snapdb_drop_name(struct snapdb *db, struct slice key)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_DROP_NAME);

	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, key);
	return snapdb_step(db, st);
}

enum snapdb_result
snapdb_put_confirmed(struct snapdb *db, struct slice recovery)
{
	sqlite3_stmt *st = NULL;
	enum snapdb_result r;

	if (sqlite3_prepare_v2(db->db, "INSERT OR IGNORE INTO confirmed VALUES(lower(?))", -1, &st,
	    NULL) != SQLITE_OK)
		return snapdb_fail(db);
	bind_slice(st, 1, recovery);
	r = snapdb_step(db, st);
	sqlite3_finalize(st);
	return r;
}

enum snapdb_result
snapdb_put_number(struct snapdb *db, const char *key, uint64_t value)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_META);

	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, slice_str(key));
	sqlite3_bind_int64(st, 2, (sqlite3_int64)value);
	return snapdb_step(db, st);
}

enum snapdb_result
snapdb_put_text(struct snapdb *db, const char *key, struct slice value)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_PUT_META);

	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, slice_str(key));
	bind_slice(st, 2, value);
	return snapdb_step(db, st);
}

static enum snapdb_result
snapdb_count(struct snapdb *db, const char *sql, uint64_t *n)
{
	sqlite3_stmt *st = NULL;
	enum snapdb_result r = SNAPDB_OK;

	*n = 0;
	if (sqlite3_prepare_v2(db->db, sql, -1, &st, NULL) != SQLITE_OK)
		return snapdb_fail(db);
	if (sqlite3_step(st) == SQLITE_ROW)
		*n = (uint64_t)sqlite3_column_int64(st, 0);
	else
		r = snapdb_fail(db);
	sqlite3_finalize(st);
	return r;
}

enum snapdb_result
snapdb_flag_shared(struct snapdb *db, unsigned max, uint64_t *users, uint64_t *addresses)
{
	char sql[512];

	/* Case-blind (spec 9.3). A recovery address inside a served domain is flagged
	 * already and keeps that reason. */
	snprintf(sql, sizeof(sql), "CREATE TEMP TABLE shared AS SELECT lower(recovery) AS r"
	    " FROM users WHERE recovery<>'' GROUP BY 1 HAVING count(*)>%u"
	    " AND lower(recovery) NOT IN (SELECT recovery FROM confirmed)", max);
	*users = *addresses = 0;
	if (snapdb_exec(db, sql) != SNAPDB_OK ||
	    snapdb_count(db, "SELECT count(*) FROM shared", addresses) != SNAPDB_OK)
		return SNAPDB_FAIL;
	if (*addresses == 0)
		return SNAPDB_OK;
	snprintf(sql, sizeof(sql), "UPDATE users SET flag=%d WHERE flag=%d"
	    " AND lower(recovery) IN (SELECT r FROM shared)", DIRECTORY_SHARED, DIRECTORY_CLEAR);
	if (snapdb_exec(db, sql) != SNAPDB_OK)
		return SNAPDB_FAIL;
	*users = (uint64_t)sqlite3_changes64(db->db);
	return SNAPDB_OK;
}

static void
snapdb_finalize(struct snapdb *db)
{
	for (int i = 0; i < STMT_MAX; i++) {
		sqlite3_finalize(db->stmt[i]);
		db->stmt[i] = NULL;
	}
}

enum snapdb_result
snapdb_finish(struct snapdb *db)
{
	enum snapdb_result r = SNAPDB_OK;

	/* one pass over users, not one per domain: a site may serve thousands */
	if (snapdb_exec(db, "CREATE TEMP TABLE n AS SELECT domain AS d, count(*) AS c FROM users"
	    " GROUP BY domain; UPDATE domains SET users="
	    "coalesce((SELECT c FROM n WHERE d=id),0); COMMIT;") != SNAPDB_OK)
		return SNAPDB_FAIL;
	snapdb_finalize(db);
	if (sqlite3_close(db->db) != SQLITE_OK)
		r = snapdb_fail(db);
	else
		db->db = NULL;
	return r;
}

struct snapdb *
snapdb_map(const void *p, size_t n, char *why, size_t cap)
{
	sqlite3 *raw = NULL;
	struct snapdb *db;
	uint64_t magic, version, tables, changed;
	/* read-only: SQLite never writes to it, its interface just does not say const */
	unsigned char *bytes = (unsigned char *)(uintptr_t)p;
	int rc = sqlite3_open_v2(":memory:", &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
	    NULL);

	db = snapdb_new(raw);
	if (rc == SQLITE_OK)
		rc = sqlite3_deserialize(raw, "main", bytes, (sqlite3_int64)n, (sqlite3_int64)n,
		    SQLITE_DESERIALIZE_READONLY);
	/* mmap_size makes the pager hand out pages in place instead of copying them */
	if (rc != SQLITE_OK) {
		snapdb_fail(db);
	} else if (snapdb_exec(db, "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
	    "PRAGMA query_only=ON; PRAGMA mmap_size=1099511627776;") == SNAPDB_OK &&
	    snapdb_count(db, "PRAGMA application_id", &magic) == SNAPDB_OK &&
	    snapdb_count(db, "PRAGMA user_version", &version) == SNAPDB_OK &&
	    snapdb_count(db, "SELECT count(*) FROM sqlite_schema WHERE name='baseline'",
	    &tables) == SNAPDB_OK &&
	    snapdb_count(db, "SELECT count(*) FROM sqlite_schema WHERE name='changed'",
	    &changed) == SNAPDB_OK) {
		db->no_baseline = tables == 0;
		db->no_changed = changed == 0;
		if (magic == SNAPDB_MAGIC && version == SNAPDB_VERSION)
			return db;
		snprintf(db->why, sizeof(db->why), magic != SNAPDB_MAGIC ?
		    "not a directory snapshot" :
		    "made by another version of salvaposta: import the users again");
	}
	snprintf(why, cap, "%s", db->why);
	snapdb_free(&db);
	return NULL;
}

static enum snapdb_result
get_changed(struct snapdb *db, struct directory_user *u)
{
	sqlite3_stmt *st = db->no_changed ? NULL : snapdb_stmt(db, STMT_CHANGED);
	int rc;

	u->changed_ms = 0;
	if (st == NULL)
		return db->no_changed ? SNAPDB_OK : SNAPDB_FAIL;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)u->line);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		u->changed_ms = sqlite3_column_int64(st, 0);
	enum snapdb_result r = rc == SQLITE_ROW || rc == SQLITE_DONE ? SNAPDB_OK : snapdb_fail(db);
	sqlite3_reset(st);
	return r;
}

enum snapdb_result
snapdb_get(struct snapdb *db, struct slice key, struct directory_user *u)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_GET);
	int rc;

	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, key);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		enum snapdb_result r = rc == SQLITE_DONE ? SNAPDB_NONE : snapdb_fail(db);

		sqlite3_reset(st);
		return r;
	}
	u->line = (uint64_t)sqlite3_column_int64(st, 0);
	u->address = column_slice(st, 1);
	u->recovery = column_slice(st, 2);
	u->shard = column_slice(st, 3);
	u->language = column_slice(st, 4);
	u->state = (uint8_t)sqlite3_column_int(st, 5);
	u->flag = (uint8_t)sqlite3_column_int(st, 6);
	u->verified_ms = sqlite3_column_int64(st, 7);
	return get_changed(db, u);
}

enum snapdb_result
snapdb_baseline(struct snapdb *db, uint64_t line, bool *yes)
{
	sqlite3_stmt *st = db->no_baseline ? NULL : snapdb_stmt(db, STMT_BASELINE);
	enum snapdb_result r = SNAPDB_OK;

	*yes = false;
	if (st == NULL)
		return db->no_baseline ? SNAPDB_OK : SNAPDB_FAIL;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)line);
	if (sqlite3_step(st) == SQLITE_ROW)
		*yes = sqlite3_column_int(st, 0) != 0;
	else
		r = snapdb_fail(db);
	sqlite3_reset(st);
	return r;
}

enum snapdb_result
snapdb_baselines(struct snapdb *db, uint64_t *users)
{
	*users = 0;
	return db->no_baseline ? SNAPDB_OK :
	    snapdb_count(db, "SELECT count(*) FROM baseline", users);
}

enum snapdb_result
snapdb_opt_outs(struct snapdb *db, uint64_t *users)
{
	char sql[96];

	*users = 0;
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM users WHERE state=%d",
	    DIRECTORY_OPTED_OUT);
	return snapdb_count(db, sql, users);
}

static enum snapdb_result
snapdb_meta(struct snapdb *db, const char *key, sqlite3_stmt **out)
{
	sqlite3_stmt *st = snapdb_stmt(db, STMT_META);
	int rc;

	*out = st;
	if (st == NULL)
		return SNAPDB_FAIL;
	bind_slice(st, 1, slice_str(key));
	rc = sqlite3_step(st);
	return rc == SQLITE_ROW ? SNAPDB_OK : rc == SQLITE_DONE ? SNAPDB_NONE : snapdb_fail(db);
}

enum snapdb_result
snapdb_number(struct snapdb *db, const char *key, uint64_t *value)
{
	sqlite3_stmt *st;
	enum snapdb_result r = snapdb_meta(db, key, &st);

	if (r == SNAPDB_OK)
		*value = (uint64_t)sqlite3_column_int64(st, 0);
	return r;
}

enum snapdb_result
snapdb_text(struct snapdb *db, const char *key, char *out, size_t cap)
{
	sqlite3_stmt *st;
	enum snapdb_result r = snapdb_meta(db, key, &st);

	if (r == SNAPDB_OK)
		snprintf(out, cap, "%.*s", SLICE_FMT(column_slice(st, 0)));
	return r;
}

/* Prepares `sql` and calls row() for each row of it. */
struct snapdb_walk {
	void	(*row)(const struct snapdb_walk *w, sqlite3_stmt *st);
	void	*fn;	/* address of the caller's function pointer */
	void	*arg;	/* for it */
};

static enum snapdb_result
snapdb_walk(struct snapdb *db, const char *sql, uint64_t bind, const struct snapdb_walk *w)
{
	sqlite3_stmt *st = NULL;
	enum snapdb_result r = SNAPDB_OK;
	int rc;

	if (sqlite3_prepare_v2(db->db, sql, -1, &st, NULL) != SQLITE_OK)
		return snapdb_fail(db);
	if (sqlite3_bind_parameter_count(st) == 1)
		sqlite3_bind_int64(st, 1, (sqlite3_int64)bind);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		w->row(w, st);
	if (rc != SQLITE_DONE)
		r = snapdb_fail(db);
	sqlite3_finalize(st);
	return r;
}

static void
domain_row(const struct snapdb_walk *w, sqlite3_stmt *st)
{
	snapdb_domain_fn **fn = w->fn;

	(*fn)(w->arg, column_slice(st, 0), sqlite3_column_int(st, 1) != 0,
	    (uint64_t)sqlite3_column_int64(st, 2));
}

enum snapdb_result
snapdb_domains(struct snapdb *db, snapdb_domain_fn *fn, void *arg)
{
	struct snapdb_walk w = { domain_row, &fn, arg };

	return snapdb_walk(db, "SELECT name,fold,users FROM domains ORDER BY name", 0, &w);
}

static void
name_row(const struct snapdb_walk *w, sqlite3_stmt *st)
{
	directory_name_fn **fn = w->fn;

	(*fn)(w->arg, column_slice(st, 0));
}

enum snapdb_result
snapdb_confirmed(struct snapdb *db, directory_name_fn *fn, void *arg)
{
	struct snapdb_walk w = { name_row, &fn, arg };

	return snapdb_walk(db, "SELECT recovery FROM confirmed", 0, &w);
}

enum snapdb_result
snapdb_names_of(struct snapdb *db, uint64_t line, directory_name_fn *fn, void *arg)
{
	struct snapdb_walk w = { name_row, &fn, arg };

	return snapdb_walk(db, "SELECT name FROM names WHERE user=?", line, &w);
}

static void
alias_row(const struct snapdb_walk *w, sqlite3_stmt *st)
{
	directory_alias_fn **fn = w->fn;

	(*fn)(w->arg, column_slice(st, 0), column_slice(st, 1));
}

enum snapdb_result
snapdb_aliases(struct snapdb *db, directory_alias_fn *fn, void *arg)
{
	struct snapdb_walk w = { alias_row, &fn, arg };

	return snapdb_walk(db, "SELECT n.name,u.address FROM names n JOIN users u ON u.id=n.user"
	    " WHERE n.name<>u.address", 0, &w);
}

static void
count_row(const struct snapdb_walk *w, sqlite3_stmt *st)
{
	directory_count_fn **fn = w->fn;
	struct directory_count n = {
		.domain = column_slice(st, 0),
		.state = (uint8_t)sqlite3_column_int(st, 1),
		.flag = (uint8_t)sqlite3_column_int(st, 2),
		.recovery = sqlite3_column_int(st, 3) != 0,
		.users = (uint64_t)sqlite3_column_int64(st, 4),
	};

	(*fn)(w->arg, &n);
}

enum snapdb_result
snapdb_counts(struct snapdb *db, directory_count_fn *fn, void *arg)
{
	struct snapdb_walk w = { count_row, &fn, arg };

	return snapdb_walk(db, "SELECT d.name,u.state,u.flag,u.recovery<>'',count(*) FROM users u"
	    " JOIN domains d ON d.id=u.domain GROUP BY 1,2,3,4", 0, &w);
}

void
snapdb_free(struct snapdb **dbp)
{
	struct snapdb *db = *dbp;

	if (db == NULL)
		return;
	snapdb_finalize(db);
	sqlite3_close(db->db);
	free(db);
	*dbp = NULL;
}
