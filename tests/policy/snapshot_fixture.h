// SPDX-License-Identifier: Apache-2.0
/* A state directory of its own and imports into it; for the tests of snapshot and
 * directory. */
#ifndef TESTS_SNAPSHOT_FIXTURE_H
#define TESTS_SNAPSHOT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "base/mem.h"
#include "policy/snapshot.h"

struct fixture {
	bool		 baseline;	/* all rows that are imported consent to it */
	char		 dir[64];	/* state-dir */
	int		 dirfd;		/* state-dir/directory; -1 before the first import */
	struct conf	*conf;
	struct buf	 said;		/* "line column text\n" for each report, '~' in front
					 * of a warning */
	struct snapshot_totals n;	/* of the last import */
	char		 why[SNAPSHOT_WHY];
};

#define FIXTURE_DOMAINS \
	"domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n" \
	"domain \"case.example\" { primary = \"lmtp://127.0.0.1:24\" fold-local = no }\n" \
	"domain \"tags.example\" { primary = \"lmtp://127.0.0.1:24\" subaddress = \"+-\" }\n" \
	"domain \"strict.example\" { primary = \"lmtp://127.0.0.1:24\" forward-to = opted-in\n" \
	"    shard \"s1\" { primary = \"lmtp://127.0.0.1:25\" } }\n"

static inline void
fixture_conf(struct fixture *f, const char *domains)
{
	struct conf_errors e = { .text = { .max = 65536 } };
	char text[4096];

	/* spec 12.8 is not what is looked at here: a changed address is used at once */
	snprintf(text, sizeof(text), "hostname = \"mx2.relay.example\"\nstate-dir = \"%s\"\n"
	    "recovery-age = 0s\n%s", f->dir, domains);
	conf_free(&f->conf);
	f->conf = conf_parse(slice_str(text), "test.conf", &e);
	if (f->conf == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/salvaposta-test.XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	f->dirfd = -1;
	buf_init(&f->said, 1024 * 1024);
	fixture_conf(f, FIXTURE_DOMAINS);
	*state = f;
	return 0;
}

static inline int
fixture_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	nftw(f->dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
	if (f->dirfd >= 0)
		close(f->dirfd);
	conf_free(&f->conf);
	buf_fini(&f->said);
	free(f);
	return 0;
}

static inline void
fixture_report(void *arg, bool bad, uint64_t line, const char *column, const char *text)
{
	struct fixture *f = arg;

	assert_int_equal(buf_printf(&f->said, "%s%llu %s %s\n", bad ? "" : "~",
	    (unsigned long long)line, column, text), 0);
}

/* As snapshot_row, in C strings; line 0 ends a table. */
struct fixture_row {
	unsigned	 line;
	const char	*address, *recovery, *state, *shard, *aliases, *language, *verified_at;
};

static inline enum snapshot_result
fixture_import_as(struct fixture *f, const struct fixture_row *row,
    const struct snapshot_options *o)
{
	enum snapshot_result r = SNAPSHOT_FAIL;
	struct snapshot *s;
	char path[128];

	buf_clear(&f->said);
	f->why[0] = '\0';
	s = snapshot_begin(f->conf, o, fixture_report, f, f->why);
	if (s == NULL)
		return r;
	for (; row->line != 0; row++) {
		struct snapshot_row in = {
			.line = row->line,
			.address = slice_str(row->address), .recovery = slice_str(row->recovery),
			.state = slice_str(row->state), .shard = slice_str(row->shard),
			.aliases = slice_str(row->aliases), .language = slice_str(row->language),
			.verified_at = slice_str(row->verified_at),
			.baseline = f->baseline ? SLICE_LIT("yes") : SLICE_NONE,
		};

		assert_int_equal(snapshot_add(s, &in, f->why), 0);
	}
	r = snapshot_finish(s, f->why);
	f->n = *snapshot_totals(s);
	snapshot_free(&s);
	assert_null(s);
	snprintf(path, sizeof(path), "%s/" DIRECTORY_FOLDER, f->dir);
	if (f->dirfd < 0)
		f->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r;
}

static inline enum snapshot_result
fixture_import(struct fixture *f, const struct fixture_row *row)
{
	struct snapshot_options o = { .source = "test.csv" };

	return fixture_import_as(f, row, &o);
}

static inline bool
fixture_exists(const struct fixture *f, const char *name)
{
	return f->dirfd >= 0 && faccessat(f->dirfd, name, F_OK, 0) == 0;
}

static inline bool
fixture_said(const struct fixture *f, const char *text)
{
	struct slice all = buf_slice(&f->said);

	return all.n >= strlen(text) && memmem(all.p, all.n, text, strlen(text)) != NULL;
}

#endif
