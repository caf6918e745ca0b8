// SPDX-License-Identifier: Apache-2.0
#include "policy/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/snapshot_db.h"

enum {
	KEY_MAX = 2 * ADDRESS_PATH_MAX,
	TAGS_MAX = 8,			/* places tried as the start of a tag */
	VERIFY_BLOCK = 64 * 1024	/* read at once while verifying */
};

const char *const directory_files[DIRECTORY_GENERATIONS] =
    { "users.db", "users.1.db", "users.2.db" };

struct directory_domain {
	char		*name;	/* owned */
	uint64_t	 users;	/* rows of it */
	bool		 fold;	/* its keys are folded */
};

struct directory {
	struct snapdb		*db;	/* over the map */
	int			 fd;	/* of the file, until it is verified; then -1 */
	char			*map;	/* whole file */
	size_t			 size;	/* of the map */
	size_t			 verified;	/* bytes the running sum covers */
	uint32_t		 sum, want;	/* CRC32C so far, and of the trailer */
	struct directory_domain	*domain;	/* by name */
	size_t			 ndomain;
	struct buf		 key;	/* of the present look-up */
	struct directory_info	 info;
};

static const char *const state_names[DIRECTORY_STATE_MAX] =
    { "registered", "opted-in", "opted-out", "unverified" };
static const char *const flag_names[DIRECTORY_FLAG_MAX] = { "", "chain", "shared" };

const char *
directory_state_name(enum directory_state s)
{
	return (unsigned)s < DIRECTORY_STATE_MAX ? state_names[s] : "damaged";
}

int
directory_state_parse(struct slice s, enum directory_state *out)
{
	for (unsigned i = 0; i < DIRECTORY_STATE_MAX; i++)
		if (slice_ieq(s, slice_str(state_names[i]))) {
			*out = (enum directory_state)i;
			return 0;
		}
	return -1;
}

const char *
directory_flag_name(enum directory_flag f)
{
	return (unsigned)f < DIRECTORY_FLAG_MAX ? flag_names[f] : "damaged";
}

/* The last SNAPDB_TRAILER bytes: "salvaposta-users 1 SIZE CRC" as written by
 * policy/snapshot.c. A file cut short anywhere ends in something else. */
static int
trailer_check(struct directory *d, char *why, size_t cap)
{
	char text[SNAPDB_TRAILER + 1], form[SNAPDB_TRAILER + 1];
	unsigned long long size = 0;
	unsigned sum = 0;

	if (d->size > SNAPDB_TRAILER) {
		memcpy(text, d->map + d->size - SNAPDB_TRAILER, SNAPDB_TRAILER);
		text[SNAPDB_TRAILER] = '\0';
		if (sscanf(text, "salvaposta-users 1 %16llx %8x", &size, &sum) == 2) {
			snprintf(form, sizeof(form), "salvaposta-users 1 %016llx %08x", size, sum);
			if (strncmp(text, form, strlen(form)) == 0 &&
			    size == d->size - SNAPDB_TRAILER) {
				d->want = sum;
				return 0;
			}
		}
	}
	snprintf(why, cap, "the file is cut short or is no directory snapshot");
	return -1;
}

static int
map_file(struct directory *d, int dirfd, const char *name, char *why, size_t cap)
{
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int err = 0;

	if (fd < 0 || fstat(fd, &st) != 0) {
		err = errno;
	} else if (!S_ISREG(st.st_mode)) {
		err = EINVAL;
	} else if (st.st_size > 0) {
		d->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (d->map == MAP_FAILED) {
			err = errno;
			d->map = NULL;
		} else {
			d->size = (size_t)st.st_size;
		}
	}
	d->fd = fd;
	if (err != 0)
		snprintf(why, cap, "%s", strerror(err));
	errno = err;
	return err == 0 ? 0 : -1;
}

static void
add_domain(void *arg, struct slice name, bool fold, uint64_t users)
{
	struct directory *d = arg;

	d->domain = mem_resize(d->domain, d->ndomain + 1, sizeof(*d->domain));
	d->domain[d->ndomain++] = (struct directory_domain){ slice_dup(name), users, fold };
}

static int
load_info(struct directory *d, char *why, size_t cap)
{
	uint64_t created = 0;
	struct directory_info *i = &d->info;

	if (snapdb_number(d->db, "users", &i->users) != SNAPDB_OK ||
	    snapdb_number(d->db, "names", &i->names) != SNAPDB_OK ||
	    snapdb_number(d->db, "generation", &i->generation) != SNAPDB_OK ||
	    snapdb_number(d->db, "created", &created) != SNAPDB_OK ||
	    snapdb_text(d->db, "source", i->source, sizeof(i->source)) != SNAPDB_OK ||
	    snapdb_domains(d->db, add_domain, d) != SNAPDB_OK) {
		snprintf(why, cap, "damaged: %s", snapdb_why(d->db));
		return -1;
	}
	i->created_ms = (int64_t)created;
	i->bytes = d->size;
	return 0;
}

struct directory *
directory_open(int dirfd, const char *name, char *why, size_t cap)
{
	struct directory *d = mem_new(sizeof(*d));

	d->fd = -1;
	buf_init(&d->key, KEY_MAX);
	if (map_file(d, dirfd, name, why, cap) != 0) {
		int err = errno;

		directory_close(&d);
		errno = err;
		return NULL;
	}
	if (trailer_check(d, why, cap) == 0) {
		d->db = snapdb_map(d->map, d->size - SNAPDB_TRAILER, why, cap);
		if (d->db != NULL && load_info(d, why, cap) == 0)
			return d;
	}
	directory_close(&d);
	errno = EILSEQ;
	return NULL;
}

void
directory_close(struct directory **dp)
{
	struct directory *d = *dp;

	if (d == NULL)
		return;
	snapdb_free(&d->db);
	if (d->map != NULL)
		munmap(d->map, d->size);
	if (d->fd >= 0)
		close(d->fd);
	for (size_t i = 0; i < d->ndomain; i++)
		free(d->domain[i].name);
	free(d->domain);
	buf_fini(&d->key);
	free(d);
	*dp = NULL;
}

/*
 * Read, not looked at through the map: a sector that cannot be read is an error here,
 * but a SIGBUS there, again at each restart; and what was only verified does not count
 * as our memory.
 */
int
directory_verify(struct directory *d, uint64_t bytes)
{
	size_t end = d->size - SNAPDB_TRAILER;
	char block[VERIFY_BLOCK];

	while (d->verified < end && bytes > 0) {
		size_t n = end - d->verified;
		ssize_t got;

		if (n > sizeof(block))
			n = sizeof(block);
		if (n > bytes)
			n = (size_t)bytes;
		got = pread(d->fd, block, n, (off_t)d->verified);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		d->sum = crc32c(d->sum, block, (size_t)got);
		d->verified += (size_t)got;
		bytes -= (uint64_t)got;
	}
	if (d->verified < end)
		return 1;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	return d->sum == d->want ? 0 : -1;
}

struct directory *
directory_open_best(int dirfd, int *which)
{
	for (int i = 0; i < DIRECTORY_GENERATIONS; i++) {
		char why[256] = "";
		struct directory *d = directory_open(dirfd, directory_files[i], why, sizeof(why));

		*which = i;
		if (d == NULL && errno == ENOENT)
			continue;
		if (d != NULL && directory_verify(d, UINT64_MAX) == 0)
			return d;
		if (d != NULL)
			snprintf(why, sizeof(why), "checksum does not match: the disk or a copy"
			    " has damaged it");
		directory_close(&d);
		log_error("directory-damaged", "file=%s error=%s fix=\"import the users again\"",
		    directory_files[i], log_escs(why));
	}
	return NULL;
}

const struct directory_info *
directory_info(const struct directory *d)
{
	return &d->info;
}

static const struct directory_domain *
find_domain(const struct directory *d, struct slice name)
{
	size_t lo = 0, hi = d->ndomain;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct slice have = slice_str(d->domain[mid].name);
		int cmp = memcmp(name.p, have.p, name.n < have.n ? name.n : have.n);

		if (cmp == 0)
			cmp = (name.n > have.n) - (name.n < have.n);
		if (cmp == 0)
			return &d->domain[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

unsigned
directory_compare(const struct directory *d, const struct conf *c)
{
	unsigned n = 0;

	for (size_t i = 0; i < c->ndomain; i++) {
		const struct conf_domain *want = &c->domain[i];
		const struct directory_domain *have = find_domain(d, slice_str(want->name));
		const char *what = NULL;

		if (have == NULL)
			what = "was not served when the users were imported";
		else if (have->users == 0)
			what = "has no user in the directory";
		else if (have->fold != want->fold_local)
			what = "has another fold-local since the users were imported";
		if (what == NULL)
			continue;
		n++;
		log_warn("directory-domain", "domain=%s state=\"%s\" effect=\"451 for addresses not"
		    " found\" fix=\"import the users again\"", want->name, what);
	}
	return n;
}

int
directory_key(struct slice local, bool fold, struct slice domain, struct buf *out)
{
	size_t from;

	buf_clear(out);
	from = out->off;
	if (address_unquote(local, out) != 0)
		return -1;
	if (fold)
		bytes_lower(out->p + from, out->n - from);
	if (buf_puts(out, "@") != 0 || buf_put_slice(out, domain) != 0)
		return -1;
	return 0;
}

/* Looks for what is in d->key. A damaged page or disk is not an answer (P2). */
static enum directory_result
find_key(struct directory *d, struct directory_user *out)
{
	enum snapdb_result r = snapdb_get(d->db, buf_slice(&d->key), out);

	if (r == SNAPDB_OK && out->state < DIRECTORY_STATE_MAX && out->flag < DIRECTORY_FLAG_MAX)
		return DIRECTORY_FOUND;
	if (r == SNAPDB_NONE)
		return DIRECTORY_UNKNOWN;
	log_error("directory-read", "error=%s fix=\"import the users again\"",
	    r == SNAPDB_OK ? "\"row out of range\"" : log_escs(snapdb_why(d->db)));
	return DIRECTORY_UNAVAILABLE;
}

/*
 * user+tag: the local part before a separator, the last one first, so that with
 * separators "+-" anna-maria-tag finds anna-maria; the first one is always tried.
 */
static enum directory_result
find_tagged(struct directory *d, struct slice local, bool fold, struct slice domain,
    const char *separators, struct directory_user *out)
{
	char text[ADDRESS_LOCAL_MAX];
	size_t at[ADDRESS_LOCAL_MAX], n = 0;

	buf_clear(&d->key);
	if (address_unquote(local, &d->key) != 0 || buf_len(&d->key) > sizeof(text))
		return DIRECTORY_UNKNOWN;
	local = slice_make(text, buf_len(&d->key));
	memcpy(text, buf_slice(&d->key).p, local.n);
	for (size_t i = 1; i < local.n; i++)
		if (text[i] != '\0' && strchr(separators, text[i]) != NULL)
			at[n++] = i;
	for (size_t tries = 0; n > 0 && tries < TAGS_MAX; tries++) {
		size_t cut = at[tries == TAGS_MAX - 1 ? 0 : n - 1];
		enum directory_result r;

		n--;
		/* text is unquoted already: it is put as it is, even between quotes */
		buf_clear(&d->key);
		if (buf_put(&d->key, text, cut) != 0)
			return DIRECTORY_UNKNOWN;
		if (fold)
			bytes_lower(d->key.p + d->key.off, cut);
		if (buf_puts(&d->key, "@") != 0 || buf_put_slice(&d->key, domain) != 0)
			return DIRECTORY_UNKNOWN;
		r = find_key(d, out);
		if (r != DIRECTORY_UNKNOWN)
			return r;
	}
	return DIRECTORY_UNKNOWN;
}

enum directory_result
directory_find(struct directory *d, const struct conf *c, struct slice address, bool tags,
    struct directory_user *out)
{
	char name[ADDRESS_DOMAIN_MAX + 1];
	const struct directory_domain *dom;
	const struct conf_domain *cd;
	enum directory_result r;
	struct address a;

	if (d == NULL)
		return DIRECTORY_UNAVAILABLE;
	if (address_parse(address, true, &a) != 0 || a.domain.n == 0 || a.literal)
		return DIRECTORY_UNKNOWN;
	if (address_domain_canonical(a.domain, name, sizeof(name)) != 0)
		return DIRECTORY_UNKNOWN;
	dom = find_domain(d, slice_str(name));
	cd = conf_domain_find(c, slice_str(name));
	if (dom == NULL || dom->users == 0 || cd == NULL)
		return DIRECTORY_UNAVAILABLE;
	if (directory_key(a.local, dom->fold, slice_str(name), &d->key) != 0)
		return DIRECTORY_UNKNOWN;
	r = find_key(d, out);
	if (r == DIRECTORY_UNKNOWN && tags && cd->subaddress != NULL && cd->subaddress[0] != '\0')
		r = find_tagged(d, a.local, dom->fold, slice_str(name), cd->subaddress, out);
	if (r == DIRECTORY_UNKNOWN && dom->fold != cd->fold_local)
		r = DIRECTORY_UNAVAILABLE;
	return r;
}

const char *
directory_refusal(const struct conf *c, const struct directory_user *u)
{
	size_t at = slice_rfind(u->address, '@'), to = slice_rfind(u->recovery, '@');
	const struct conf_domain *d =
	    conf_domain_find(c, slice_sub(u->address, at + 1, u->address.n));
	struct slice target = slice_sub(u->recovery, to + 1, u->recovery.n);

	if (u->state == DIRECTORY_OPTED_OUT)
		return "opted-out";
	if (u->state == DIRECTORY_UNVERIFIED)
		return "unverified";
	if (u->recovery.n == 0)
		return "no-recovery";
	/* 12.2, where it is set; who gave no time was not verified in time. */
	if (c->max_verified_age_ms > 0 &&
	    clock_wall_ms() - u->verified_ms > c->max_verified_age_ms)
		return "unverified";
	/* 12.8: who took over an account changes this address, too. */
	if (u->changed_ms != 0 && clock_wall_ms() - u->changed_ms < c->recovery_age_ms)
		return "recovery-new";
	if (u->state == DIRECTORY_REGISTERED && (d == NULL || d->forward_opted_in_only))
		return "not-opted-in";
	/* Again at send time (spec 9.3): domains come and go in the configuration. One that
	 * is served now is the queue's to judge, which knows whether it is in failover. */
	if (slice_ieq(u->recovery, u->address))
		return "self";
	if (u->flag == DIRECTORY_CHAIN ||
	    slice_ieq(target, slice_str(c->forwarder.domain)) ||
	    slice_ieq(target, slice_str(c->hostname)))
		return "chain";
	if (u->flag == DIRECTORY_SHARED)
		return "shared";
	return NULL;
}

bool
directory_baseline(struct directory *d, const struct conf *c, const struct directory_user *u)
{
	bool yes = false;

	return directory_refusal(c, u) == NULL &&
	    snapdb_baseline(d->db, u->line, &yes) == SNAPDB_OK && yes;
}

int
directory_baselines(struct directory *d, uint64_t *users)
{
	return snapdb_baselines(d->db, users) == SNAPDB_OK ? 0 : -1;
}

int
directory_opt_outs(struct directory *d, uint64_t *users)
{
	return snapdb_opt_outs(d->db, users) == SNAPDB_OK ? 0 : -1;
}

int
directory_names(struct directory *d, uint64_t line, directory_name_fn *fn, void *arg)
{
	return snapdb_names_of(d->db, line, fn, arg) == SNAPDB_OK ? 0 : -1;
}

int
directory_aliases(struct directory *d, directory_alias_fn *fn, void *arg)
{
	return snapdb_aliases(d->db, fn, arg) == SNAPDB_OK ? 0 : -1;
}

int
directory_confirmed(struct directory *d, directory_name_fn *fn, void *arg)
{
	return snapdb_confirmed(d->db, fn, arg) == SNAPDB_OK ? 0 : -1;
}

int
directory_audit(struct directory *d, directory_count_fn *fn, void *arg)
{
	return snapdb_counts(d->db, fn, arg) == SNAPDB_OK ? 0 : -1;
}
