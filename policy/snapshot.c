// SPDX-License-Identifier: Apache-2.0
/*
 * What a row must look like. The file work is in policy/snapshot_file.c, the tables in
 * policy/snapshot_db.c.
 */
#include "policy/snapshot.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/snapshot_db.h"
#include "policy/snapshot_file.h"

enum {
	NAME_MAX_BYTES = ADDRESS_PATH_MAX + 1,
	SHARD_MAX = 64, LANGUAGE_MAX = 16,
	DAY_MS = 24 * 60 * 60 * 1000
};

struct snapshot {
	const struct conf		*conf;	/* borrowed */
	struct snapshot_options		 opt;
	snapshot_report_fn		*report;
	void				*arg;	/* for report */
	struct snapshot_file		*file;
	struct snapdb			*db;
	struct directory		*before;	/* the present snapshot, or NULL */
	struct snapshot_totals		 n;
	uint64_t			*domain_users;	/* as many as conf->ndomain */
	uint64_t			 line;	/* of the row being added */
	struct buf			 key;	/* of the recovery address being checked */
	struct buf			 user;	/* the row's address in its one form */
	struct buf			 added[SNAPSHOT_ALIASES_MAX + 1];	/* keys of this row */
	size_t				 nadded;
};

/* One mailbox in the forms the checks need. */
struct mailbox {
	const struct conf_domain *served;	/* NULL: not ours */
	char	 text[NAME_MAX_BYTES];	/* local part as given, canonical domain */
	size_t	 local;			/* bytes of text before the '@' */
};

/* The disk, or SQLite about it; the path tells the administrator which disk. */
static void
explain(const struct snapshot *s, char *why)
{
	snprintf(why, SNAPSHOT_WHY, "nothing was imported: %.300s: %s",
	    snapshot_file_path(s->file), snapdb_why(s->db));
}

__attribute__((format(printf, 3, 4))) static int
row_bad(struct snapshot *s, const char *column, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snapshot_bad(s, s->line, column, text);
	return -1;
}

void
snapshot_bad(struct snapshot *s, uint64_t line, const char *column, const char *text)
{
	s->n.bad++;
	s->report(s->arg, true, line, column, text);
}

static struct slice
mailbox_domain(const struct mailbox *m)
{
	return slice_str(m->text + m->local + 1);
}

/* Checks the syntax; every further rule is the caller's. */
static int
mailbox_parse(struct snapshot *s, const char *column, struct slice text, struct mailbox *m)
{
	char domain[ADDRESS_DOMAIN_MAX + 1];
	struct address a;
	int n;

	if (address_parse(text, true, &a) != 0 || a.domain.n == 0)
		return row_bad(s, column, "\"%.*s\" is not a mail address", SLICE_FMT(text));
	if (a.literal)
		return row_bad(s, column, "\"%.*s\": a domain name is needed, not an IP address",
		    SLICE_FMT(text));
	if (address_domain_canonical(a.domain, domain, sizeof(domain)) != 0)
		return row_bad(s, column, "\"%.*s\": the domain is not a host name",
		    SLICE_FMT(text));
	n = snprintf(m->text, sizeof(m->text), "%.*s@%s", SLICE_FMT(a.local), domain);
	if (n < 0 || n > ADDRESS_PATH_MAX - 2)
		return row_bad(s, column, "address longer than 254 bytes");
	m->local = a.local.n;
	m->served = conf_domain_find(s->conf, slice_str(domain));
	return 0;
}

/* An address or alias: of a domain of ours, and nobody else's. */
static int
add_name(struct snapshot *s, const char *column, const struct mailbox *m, char *why)
{
	struct buf *key = &s->added[s->nadded];
	uint64_t owner;
	enum snapdb_result r;

	if (m->served == NULL)
		return row_bad(s, column, "\"%s\": the domain is not served by the configuration",
		    m->text);
	if (key->max == 0)
		buf_init(key, 2 * NAME_MAX_BYTES);
	if (directory_key(slice_make(m->text, m->local), m->served->fold_local,
	    mailbox_domain(m), key) != 0)
		return row_bad(s, column, "address too long");
	r = snapdb_put_name(s->db, buf_slice(key), s->line, &owner);
	if (r == SNAPDB_OK) {
		s->nadded++;
		return 0;
	}
	if (r == SNAPDB_FAIL) {
		explain(s, why);
		return -2;
	}
	/* an alias given twice, or equal to its own address, harms nobody */
	if (owner == s->line)
		return 0;
	return row_bad(s, column, "\"%s\" is in line %llu already, as address or alias", m->text,
	    (unsigned long long)owner);
}

static int
add_aliases(struct snapshot *s, struct slice list, const struct mailbox *user, char *why)
{
	char text[2 * NAME_MAX_BYTES];
	struct mailbox m;
	size_t i = 0;

	while (i < list.n) {
		size_t from, rc;

		while (i < list.n && (list.p[i] == ' ' || list.p[i] == ';' || list.p[i] == '\t'))
			i++;
		from = i;
		while (i < list.n && list.p[i] != ' ' && list.p[i] != ';' && list.p[i] != '\t')
			i++;
		if (i == from)
			break;
		struct slice one = slice_sub(list, from, i);

		if (s->nadded > SNAPSHOT_ALIASES_MAX - 1)
			return row_bad(s, "aliases", "more than %d aliases", SNAPSHOT_ALIASES_MAX);
		if (slice_find(one, '@') == one.n) {
			rc = (size_t)snprintf(text, sizeof(text), "%.*s%s", SLICE_FMT(one),
			    user->text + user->local);
			if (rc >= sizeof(text))
				return row_bad(s, "aliases", "address too long");
			one = slice_make(text, rc);
		}
		if (mailbox_parse(s, "aliases", one, &m) != 0)
			return -1;
		int r = add_name(s, "aliases", &m, why);

		if (r != 0)
			return r;
	}
	return 0;
}

/* Spec 9.3; DNS is asked at send time only. */
static int
check_recovery(struct snapshot *s, struct slice text, struct mailbox *m,
    struct directory_user *u)
{
	struct slice domain;

	if (mailbox_parse(s, "recovery", text, m) != 0)
		return -1;
	domain = mailbox_domain(m);
	if (slice_find(domain, '.') == domain.n)
		return row_bad(s, "recovery", "\"%s\": a domain of one label is not on the Internet",
		    m->text);
	if (slice_ieq(domain, slice_str(s->conf->forwarder.domain)) ||
	    slice_ieq(domain, slice_str(s->conf->hostname)))
		return row_bad(s, "recovery", "\"%s\" leads back to this relay", m->text);
	if (m->served != NULL) {
		/* keys have no quotes; spec 9.3 compares without case whatever fold-local is */
		if (directory_key(slice_make(m->text, m->local), true, domain, &s->key) != 0)
			return row_bad(s, "recovery", "address too long");
		for (size_t i = 0; i < s->nadded; i++)
			if (slice_ieq(buf_slice(&s->added[i]), buf_slice(&s->key)))
				return row_bad(s, "recovery", "\"%s\" is %s", m->text, i == 0 ?
				    "the user's own address" : "an alias of the same user");
		if (!s->opt.force)
			return row_bad(s, "recovery", "\"%s\" is in a domain served here and fails "
			    "with it: ask for another one, or --force keeps the user without "
			    "forwarding", m->text);
		u->flag = DIRECTORY_CHAIN;
	}
	u->recovery = slice_str(m->text);
	return 0;
}

static bool
is_token(struct slice s, const char *more)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (c == '\0' || strchr(more, c) == NULL))
			return false;
	}
	return true;
}

/* "2026-11-22", "2026-11-22T20:36:00Z" (also with a space, without Z) or seconds since
 * 1970; UTC. */
static int
parse_time(struct slice s, int64_t *ms)
{
	char text[24], back[24], sep = 'T', zone = 'Z';
	struct tm tm = { 0 }, norm;
	uint64_t seconds;
	time_t t;
	int n;

	if (slice_u64(s, &seconds) == 0 && seconds < INT64_MAX / 1000) {
		*ms = (int64_t)seconds * 1000;
		return 0;
	}
	if (slice_cstr(s, text, sizeof(text)) != 0)
		return -1;
	n = sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
	    &sep, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &zone);
	if ((n != 3 && n != 7 && n != 8) || (sep != 'T' && sep != ' ') || zone != 'Z')
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	norm = tm;
	t = timegm(&norm);
	/* timegm mends the 31st of February, scanf takes "2026- 2-+3": what comes back
	 * must be what was written */
	strftime(back, sizeof(back), n == 3 ? "%Y-%m-%d" : sep == 'T' ? "%Y-%m-%dT%H:%M:%S" :
	    "%Y-%m-%d %H:%M:%S", &norm);
	if (strncmp(back, text, strlen(back)) != 0 || t < 0 ||
	    s.n != strlen(back) + (n == 8 ? 1 : 0))
		return -1;
	*ms = (int64_t)t * 1000;
	return 0;
}

/* Consent: what is none of the two words is neither, or a typing error sends mail abroad. */
static int
parse_yes(struct slice s, bool *yes)
{
	*yes = slice_ieq(s, SLICE_LIT("yes")) || slice_ieq(s, SLICE_LIT("true")) ||
	    slice_eq(s, SLICE_LIT("1"));
	return *yes || s.n == 0 || slice_ieq(s, SLICE_LIT("no")) ||
	    slice_ieq(s, SLICE_LIT("false")) || slice_eq(s, SLICE_LIT("0")) ? 0 : -1;
}

static int
check_small(struct snapshot *s, const struct snapshot_row *row, struct directory_user *u,
    bool *baseline)
{
	enum directory_state state = DIRECTORY_REGISTERED;

	if (row->state.n != 0 && directory_state_parse(row->state, &state) != 0)
		return row_bad(s, "state", "\"%.*s\" is none of registered, opted-in, opted-out, "
		    "unverified", (int)(row->state.n > 64 ? 64 : row->state.n), row->state.p);
	u->state = (uint8_t)state;
	if (row->shard.n > SHARD_MAX || !is_token(row->shard, "._-"))
		return row_bad(s, "shard", "a shard is up to %d letters, digits, '.', '_', '-'",
		    SHARD_MAX);
	u->shard = row->shard;
	if (row->language.n > LANGUAGE_MAX || !is_token(row->language, "-_"))
		return row_bad(s, "language", "a language is a tag like it or en-GB");
	u->language = row->language;
	if (row->verified_at.n != 0 && parse_time(row->verified_at, &u->verified_ms) != 0)
		return row_bad(s, "verified_at", "not a time like 2026-11-22 or "
		    "2026-11-22T20:36:00Z (UTC)");
	if (u->verified_ms > clock_wall_ms() + DAY_MS)
		return row_bad(s, "verified_at", "lies in the future");
	if (parse_yes(row->baseline, baseline) != 0)
		return row_bad(s, "baseline", "is neither yes nor no");
	return 0;
}

/* The queue knows a user by this text: it must not change when the next export writes
 * Mario for mario, or quotes him. */
static int
own_form(struct snapshot *s, const struct mailbox *m)
{
	struct slice key = buf_slice(&s->added[0]);

	buf_clear(&s->user);
	if (address_quote(slice_sub(key, 0, slice_rfind(key, '@')), &s->user) != 0 ||
	    buf_puts(&s->user, m->text + m->local) != 0)
		return -1;
	return buf_len(&s->user) <= ADDRESS_PATH_MAX - 2 ? 0 : -1;
}

/* A domain without shards in the configuration goes to one store whatever the row says. */
static bool
shard_known(const struct conf_domain *d, struct slice shard)
{
	if (shard.n == 0 || d->nshard == 0)
		return true;
	for (size_t i = 0; i < d->nshard; i++)
		if (slice_eq(shard, slice_str(d->shard[i].name)))
			return true;
	return false;
}

/* Since when it is another one than in the present snapshot (spec 12.8). A user who is new
 * there has changed nothing. */
static void
changed_lately(struct snapshot *s, struct directory_user *u)
{
	struct directory_user old;

	if (s->before == NULL || u->recovery.n == 0 ||
	    directory_find(s->before, s->conf, u->address, false, &old) != DIRECTORY_FOUND)
		return;
	u->changed_ms = slice_ieq(old.recovery, u->recovery) ? old.changed_ms : clock_wall_ms();
}

/* 0 good, -1 bad (reported), -2 the disk. */
static int
add_checked(struct snapshot *s, const struct snapshot_row *row, char *why)
{
	struct directory_user u = { .line = s->line };
	struct mailbox user, recovery;
	bool baseline;
	int r;

	if (row->address.n == 0)
		return row_bad(s, "address", "is empty");
	if (mailbox_parse(s, "address", row->address, &user) != 0)
		return -1;
	r = add_name(s, "address", &user, why);
	if (r == 0 && own_form(s, &user) != 0)
		return row_bad(s, "address", "address too long");
	u.address = buf_slice(&s->user);
	if (r == 0)
		r = add_aliases(s, row->aliases, &user, why);
	if (r != 0)
		return r;
	if (row->recovery.n != 0 && check_recovery(s, row->recovery, &recovery, &u) != 0)
		return -1;
	if (check_small(s, row, &u, &baseline) != 0)
		return -1;
	changed_lately(s, &u);
	if (snapdb_put_user(s->db, (unsigned)(user.served - s->conf->domain), &u) != SNAPDB_OK ||
	    (u.changed_ms != 0 && snapdb_put_changed(s->db, u.line, u.changed_ms) != SNAPDB_OK) ||
	    (baseline && snapdb_put_baseline(s->db, u.line) != SNAPDB_OK)) {
		explain(s, why);
		return -2;
	}
	s->n.users++;
	s->n.names += s->nadded;
	s->n.opted_out += u.state == DIRECTORY_OPTED_OUT;
	s->n.no_recovery += u.recovery.n == 0;
	s->n.baseline += baseline;
	s->n.chain += u.flag == DIRECTORY_CHAIN;
	s->n.unknown_shard += !shard_known(user.served, u.shard);
	s->domain_users[user.served - s->conf->domain]++;
	if (u.flag == DIRECTORY_CHAIN)
		s->report(s->arg, false, s->line, "recovery", "is in a domain served here: the "
		    "user is kept, but not forwarded");
	return 0;
}

int
snapshot_add(struct snapshot *s, const struct snapshot_row *row, char *why)
{
	struct snapshot_row r = *row;
	int rc;

	r.address = slice_trim(r.address);
	r.recovery = slice_trim(r.recovery);
	r.state = slice_trim(r.state);
	r.shard = slice_trim(r.shard);
	r.language = slice_trim(r.language);
	r.verified_at = slice_trim(r.verified_at);
	r.baseline = slice_trim(r.baseline);
	s->line = r.line;
	s->nadded = 0;
	s->n.rows++;
	rc = add_checked(s, &r, why);
	/* a bad row must not hold names that a later good one is then refused for */
	for (size_t i = 0; rc == -1 && i < s->nadded; i++)
		if (snapdb_drop_name(s->db, buf_slice(&s->added[i])) != SNAPDB_OK) {
			explain(s, why);
			rc = -2;
		}
	return rc == -2 ? -1 : 0;
}

static void
keep_confirmed(void *arg, struct slice recovery)
{
	struct snapshot *s = arg;

	/* one that cannot be kept is flagged again and warned about: the safe side */
	(void)snapdb_put_confirmed(s->db, recovery);
}

static int
put_head(struct snapshot *s, char *why)
{
	enum snapdb_result r = SNAPDB_OK;

	for (size_t i = 0; r == SNAPDB_OK && i < s->conf->ndomain; i++)
		r = snapdb_put_domain(s->db, (unsigned)i, slice_str(s->conf->domain[i].name),
		    s->conf->domain[i].fold_local);
	if (r == SNAPDB_OK && s->before != NULL)
		directory_confirmed(s->before, keep_confirmed, s);
	for (size_t i = 0; r == SNAPDB_OK && i < s->opt.nconfirmed; i++)
		r = snapdb_put_confirmed(s->db, slice_str(s->opt.confirmed[i]));
	if (r != SNAPDB_OK)
		explain(s, why);
	return r == SNAPDB_OK ? 0 : -1;
}

struct snapshot *
snapshot_begin(const struct conf *c, const struct snapshot_options *o,
    snapshot_report_fn *report, void *arg, char *why)
{
	struct snapshot *s = mem_new(sizeof(*s));

	s->conf = c;
	s->domain_users = mem_array(c->ndomain + 1, sizeof(*s->domain_users));
	s->opt = *o;
	s->report = report;
	s->arg = arg;
	buf_init(&s->key, 2 * NAME_MAX_BYTES);
	buf_init(&s->user, 2 * NAME_MAX_BYTES);
	s->file = snapshot_file_begin(c, why);
	if (s->file != NULL) {
		s->before = snapshot_file_before(s->file);
		s->db = snapdb_create(snapshot_file_path(s->file), why, SNAPSHOT_WHY);
	}
	if (s->db != NULL && put_head(s, why) == 0) {
		s->n.generation = snapshot_file_generation(s->file) + 1;
		if (s->before != NULL)
			s->n.before = directory_info(s->before)->users;
		return s;
	}
	snapshot_free(&s);
	return NULL;
}

/* An export that lost its states says of nobody that he opted out, and is a good export in
 * every other way. */
static enum snapshot_result
guard_opt_outs(const struct snapshot *s, char *why)
{
	uint64_t now = s->n.opted_out, before = 0;

	if (s->before == NULL || directory_opt_outs(s->before, &before) != 0 ||
	    before <= now + SNAPSHOT_OPT_OUTS_LOST ||
	    now * 100 >= before * SNAPSHOT_GUARD_PERCENT)
		return SNAPSHOT_OK;
	snprintf(why, SNAPSHOT_WHY, "%llu users are opted-out where the present directory has %llu: "
	    "did the export lose the states? nothing was imported (--force does it)",
	    (unsigned long long)now, (unsigned long long)before);
	return SNAPSHOT_GUARDED;
}

static enum snapshot_result
guard(const struct snapshot *s, char *why)
{
	unsigned long long now = s->n.users, before = s->n.before;

	if (s->n.bad != 0 && !s->opt.skip_bad) {
		snprintf(why, SNAPSHOT_WHY, "%llu bad rows: nothing was imported (mend them, or "
		    "--skip-bad leaves them out)", (unsigned long long)s->n.bad);
		return SNAPSHOT_BAD_ROWS;
	}
	if (s->opt.force)
		return SNAPSHOT_OK;
	if (now == 0) {
		snprintf(why, SNAPSHOT_WHY, "no user in it: nothing was imported (--force imports "
		    "an empty directory)");
		return SNAPSHOT_GUARDED;
	}
	if (now * 100 < before * SNAPSHOT_GUARD_PERCENT) {
		snprintf(why, SNAPSHOT_WHY, "%llu users where the present directory has %llu, less "
		    "than %d %%: nothing was imported (--force does it)", now, before,
		    SNAPSHOT_GUARD_PERCENT);
		return SNAPSHOT_GUARDED;
	}
	return guard_opt_outs(s, why);
}

static enum snapdb_result
put_tail(struct snapshot *s)
{
	const char *source = s->opt.source == NULL ? "" : s->opt.source;
	unsigned max = s->opt.shared_max == 0 ? s->conf->recovery_users_max : s->opt.shared_max;

	s->n.shared_max = max;
	if (snapdb_flag_shared(s->db, max, &s->n.shared, &s->n.shared_addresses) != SNAPDB_OK ||
	    snapdb_put_number(s->db, "users", s->n.users) != SNAPDB_OK ||
	    snapdb_put_number(s->db, "names", s->n.names) != SNAPDB_OK ||
	    snapdb_put_number(s->db, "generation", s->n.generation) != SNAPDB_OK ||
	    snapdb_put_number(s->db, "created", (uint64_t)clock_wall_ms()) != SNAPDB_OK ||
	    snapdb_put_text(s->db, "source", slice_str(source)) != SNAPDB_OK)
		return SNAPDB_FAIL;
	return snapdb_finish(s->db);
}

static void
warn_empty_domains(struct snapshot *s)
{
	char text[512];

	for (size_t i = 0; i < s->conf->ndomain; i++) {
		if (s->domain_users[i] != 0)
			continue;
		s->n.domains_empty++;
		snprintf(text, sizeof(text), "\"%s\" has no user here: its addresses will get a "
		    "451 (the import replaces the whole directory)", s->conf->domain[i].name);
		s->report(s->arg, false, 0, "domain", text);
	}
}

enum snapshot_result
snapshot_finish(struct snapshot *s, char *why)
{
	enum snapshot_result r = guard(s, why);

	if (r != SNAPSHOT_OK)
		return r;
	warn_empty_domains(s);
	if (put_tail(s) != SNAPDB_OK) {
		explain(s, why);
		return SNAPSHOT_FAIL;
	}
	return snapshot_file_install(s->file, &s->n.bytes, why) == 0 ?
	    SNAPSHOT_OK : SNAPSHOT_FAIL;
}

const struct snapshot_totals *
snapshot_totals(const struct snapshot *s)
{
	return &s->n;
}

void
snapshot_free(struct snapshot **sp)
{
	struct snapshot *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 0; i <= SNAPSHOT_ALIASES_MAX; i++)
		if (s->added[i].max != 0)
			buf_fini(&s->added[i]);
	buf_fini(&s->key);
	buf_fini(&s->user);
	free(s->domain_users);
	snapdb_free(&s->db);
	directory_close(&s->before);
	snapshot_file_end(&s->file);
	free(s);
	*sp = NULL;
}
