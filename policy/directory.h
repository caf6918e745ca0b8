// SPDX-License-Identifier: Apache-2.0
/*
 * Who is this recipient? Look-ups in one snapshot of the directory (policy/snapshot.h
 * builds it). The file is mapped, never written, never locked, and opened through a
 * directory descriptor, so that a confined process needs no path.
 *
 * Promise (P2): "unknown" is said only when the snapshot can know it. A domain the
 * snapshot was not built for, or has no row of, a domain whose fold-local has changed
 * since, a damaged page: all that is DIRECTORY_UNAVAILABLE.
 */
#ifndef POLICY_DIRECTORY_H
#define POLICY_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"

/* The snapshot in use and the two before it, newest first; in state-dir/directory. */
#define DIRECTORY_FOLDER	"directory"
enum { DIRECTORY_GENERATIONS = 3 };
extern const char *const directory_files[DIRECTORY_GENERATIONS];

enum directory_state {		/* spec 12.1 */
	DIRECTORY_REGISTERED, DIRECTORY_OPTED_IN, DIRECTORY_OPTED_OUT, DIRECTORY_UNVERIFIED,
	DIRECTORY_STATE_MAX
};
const char *directory_state_name(enum directory_state s);	/* "registered" ... */
int directory_state_parse(struct slice s, enum directory_state *out);	/* case-blind; 0 or -1 */

enum directory_flag {		/* found at import; spec 9.3 */
	DIRECTORY_CLEAR,
	DIRECTORY_CHAIN,	/* recovery address inside a served domain */
	DIRECTORY_SHARED,	/* recovery address of too many users */
	DIRECTORY_FLAG_MAX
};
const char *directory_flag_name(enum directory_flag f);		/* "" for CLEAR */

struct directory_user {
	uint64_t	line;		/* of the import file; its key in the snapshot */
	struct slice	address;	/* its one form: folded as the domain says, no quotes
					 * unless needed, domain lower case A-label */
	struct slice	recovery;	/* local part as given, domain likewise; "" for none */
	struct slice	shard;		/* <= 64 bytes, "" for none */
	struct slice	language;	/* <= 16 bytes, "" for none */
	uint8_t		state;		/* enum directory_state */
	uint8_t		flag;		/* enum directory_flag */
	int64_t		verified_ms;	/* wall clock, 0: not given */
	int64_t		changed_ms;	/* wall clock: an import brought this recovery address in
					 * the place of another; 0: not lately */
};

enum directory_result { DIRECTORY_FOUND, DIRECTORY_UNKNOWN, DIRECTORY_UNAVAILABLE };

struct directory_info {
	uint64_t	users, names;	/* names: addresses and aliases */
	uint64_t	generation;	/* counts imports */
	int64_t		created_ms;	/* wall clock */
	uint64_t	bytes;		/* of the file */
	char		source[256];	/* file it was made from */
};

struct directory;

/* Maps `name` and looks at its head and tail (size, version), not at all its bytes.
 * NULL with the reason in `why`; errno is ENOENT when there is no such file. */
struct directory *directory_open(int dirfd, const char *name, char *why, size_t cap);
void directory_close(struct directory **dp);

/* Checks the checksum of the next `bytes`: 1 more to do, 0 all is well, -1 damaged. */
int directory_verify(struct directory *d, uint64_t bytes);

/* The first of directory_files that opens and verifies whole; NULL for none. Each one
 * passed over is logged, but for a missing users.db. *which: index used. */
struct directory *directory_open_best(int dirfd, int *which);

const struct directory_info *directory_info(const struct directory *d);
/* Logs the domains of `c` that this snapshot cannot answer for. Their number. */
unsigned directory_compare(const struct directory *d, const struct conf *c);

/*
 * The user with that address or alias; with `tags` also as user+tag (exact match
 * first). `d` may be NULL: unavailable. Slices in *out live until the next look-up.
 */
enum directory_result directory_find(struct directory *d, const struct conf *c,
    struct slice address, bool tags, struct directory_user *out);

/* Why mail for this user is not forwarded, as one token ("no-recovery", "opted-out",
 * "unverified", "recovery-new", "not-opted-in", "chain", "shared", "self"); NULL: it is. */
const char *directory_refusal(const struct conf *c, const struct directory_user *u);

/* The key of a name: local part without quotes, folded if asked, '@', domain. `domain`
 * is canonical. Replaces what is in `out`; 0 or -1. */
int directory_key(struct slice local, bool fold, struct slice domain, struct buf *out);

/* Does the user want a share of his mail copied in peace time, too (spec 8.11)? Never who is
 * refused above. What is in doubt is no. `u` stays valid. */
bool directory_baseline(struct directory *d, const struct conf *c,
    const struct directory_user *u);

/* For the administrator's eyes; these scan the whole file. 0 or -1. */
typedef void directory_name_fn(void *arg, struct slice name);
int directory_names(struct directory *d, uint64_t line, directory_name_fn *fn, void *arg);
/* Recovery addresses an operator has allowed many users to share. */
int directory_confirmed(struct directory *d, directory_name_fn *fn, void *arg);

struct directory_count {
	struct slice	domain;
	uint8_t		state, flag;
	bool		recovery;	/* has one */
	uint64_t	users;
};
typedef void directory_count_fn(void *arg, const struct directory_count *n);
/* Every name of a user that is not his address, as directory_names writes it. */
typedef void directory_alias_fn(void *arg, struct slice name, struct slice address);
int directory_aliases(struct directory *d, directory_alias_fn *fn, void *arg);
int directory_baselines(struct directory *d, uint64_t *users);
int directory_opt_outs(struct directory *d, uint64_t *users);	/* of state opted-out */
int directory_audit(struct directory *d, directory_count_fn *fn, void *arg);

#endif
