// SPDX-License-Identifier: Apache-2.0
#include "admin/users_rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "policy/csv.h"
#include "policy/ldif.h"

enum column {
	COL_ADDRESS, COL_RECOVERY, COL_STATE, COL_SHARD, COL_ALIASES, COL_LANGUAGE,
	COL_VERIFIED_AT, COL_BASELINE, COL_MAX
};

static const char *const column_names[COL_MAX] = {
	"address", "recovery", "state", "shard", "aliases", "language", "verified_at",
	"baseline"
};

struct users_rows {
	struct users_sink sink;
	struct csv	*csv;		/* one of these */
	struct ldif	*ldif;

	int		 at[COL_MAX];	/* CSV: field of each column, -1 for none */
	size_t		 nfield;	/* CSV: of the header; 0 before it */

	const char	*attribute[COL_MAX];	/* LDIF: borrowed; NULL for none */
	uint64_t	 left;		/* LDIF: entries that are no users */
	struct buf	 aliases;	/* LDIF: of one entry */
};

__attribute__((format(printf, 2, 3))) static int
fail(struct users_rows *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->sink.why, SNAPSHOT_WHY, fmt, ap);
	va_end(ap);
	return -1;
}

/* Where column `i` of a row is. */
static struct slice *
member(struct snapshot_row *row, enum column i)
{
	switch (i) {
	case COL_ADDRESS:
		return &row->address;
	case COL_RECOVERY:
		return &row->recovery;
	case COL_STATE:
		return &row->state;
	case COL_SHARD:
		return &row->shard;
	case COL_ALIASES:
		return &row->aliases;
	case COL_LANGUAGE:
		return &row->language;
	case COL_VERIFIED_AT:
		return &row->verified_at;
	case COL_BASELINE:
	case COL_MAX:
		break;
	}
	return &row->baseline;
}

static int
read_header(struct users_rows *r, const struct csv_record *rec)
{
	char hint[64] = "";

	for (int i = 0; i < COL_MAX; i++)
		r->at[i] = -1;
	for (size_t f = 0; f < rec->n; f++) {
		struct slice name = slice_trim(rec->field[f]);
		int i = 0;

		while (i < COL_MAX && !slice_ieq(name, slice_str(column_names[i])))
			i++;
		if (i == COL_MAX) {
			char text[128];

			snprintf(text, sizeof(text), "\"%.*s\" is not known and is left aside",
			    (int)(name.n > 64 ? 64 : name.n), name.p);
			r->sink.note(r->sink.arg, rec->line, "header", text);
		} else if (r->at[i] >= 0) {
			return fail(r, "header: column \"%s\" is there twice", column_names[i]);
		} else {
			r->at[i] = (int)f;
		}
	}
	if (rec->n == 1 && slice_find(rec->field[0], ';') < rec->field[0].n)
		snprintf(hint, sizeof(hint), " (fields separated by ';'? then add --separator ';')");
	else if (rec->n == 1 && (slice_istarts(rec->field[0], SLICE_LIT("dn:")) ||
	    slice_istarts(rec->field[0], SLICE_LIT("version:"))))
		snprintf(hint, sizeof(hint), " (is it LDIF? --ldif or refresh-format = ldif)");
	if (r->at[COL_ADDRESS] < 0)
		return fail(r, "header: column \"address\" is missing; the first line names the "
		    "columns: address,recovery[,state,shard,aliases,language,verified_at,baseline]%s", hint);
	if (r->at[COL_RECOVERY] < 0)
		return fail(r, "header: column \"recovery\" is missing%s", hint);
	r->nfield = rec->n;
	return 0;
}

static int
on_record(void *arg, const struct csv_record *rec)
{
	struct users_rows *r = arg;
	struct snapshot_row row = { .line = rec->line };
	char text[96];

	if (r->nfield == 0) {
		if (rec->error == NULL)
			return read_header(r, rec);
		return fail(r, "header: %s", rec->error);
	}
	if (rec->error != NULL) {
		r->sink.bad(r->sink.arg, rec->line, "record", rec->error);
		return 0;
	}
	if (rec->n != r->nfield) {
		snprintf(text, sizeof(text), "%zu fields where the header has %zu", rec->n,
		    r->nfield);
		r->sink.bad(r->sink.arg, rec->line, "record", text);
		return 0;
	}
	for (int i = 0; i < COL_MAX; i++)
		*member(&row, i) = r->at[i] < 0 ? SLICE_NONE : rec->field[r->at[i]];
	return r->sink.row(r->sink.arg, &row);
}

/* "20261122203600Z" or with fractions (RFC 4517 3.3.13), written as the snapshot reads it
 * into `out`; anything else stays what it is, to be judged there. */
static struct slice
plain_time(struct slice s, char out[24])
{
	size_t dot = slice_find(s, '.');
	struct slice digits = slice_sub(s, 0, dot == s.n && s.n > 0 ? s.n - 1 : dot);

	if (s.n < 15 || s.n > 24 || s.p[s.n - 1] != 'Z' || digits.n != 14 ||
	    strspn(s.p, "0123456789") != 14 ||
	    (dot != s.n && (s.n < 17 || strspn(s.p + 15, "0123456789") != s.n - 16)))
		return s;
	snprintf(out, 24, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", s.p, s.p + 4, s.p + 6, s.p + 8,
	    s.p + 10, s.p + 12);
	return slice_str(out);
}

/* Of a list of languages (RFC 2798 2.7) the first one. */
static struct slice
first_language(struct slice s)
{
	size_t n = slice_find(s, ',');

	s = slice_sub(s, 0, n);
	return slice_trim(slice_sub(s, 0, slice_find(s, ';')));
}

/* An attribute that may have one value has a second one. */
static void
bad_second(struct users_rows *r, const struct ldif_entry *e, enum column i)
{
	char text[320];

	snprintf(text, sizeof(text), "attribute %.128s has more than one value%s", r->attribute[i],
	    i == COL_ADDRESS ? ": keep further addresses in the attribute of ldif-aliases" : "");
	r->sink.bad(r->sink.arg, e->line, column_names[i], text);
}

/* 0; -1: bad, and said so. */
static int
collect(struct users_rows *r, const struct ldif_entry *e, struct snapshot_row *row)
{
	bool seen[COL_MAX] = { false };

	buf_clear(&r->aliases);
	for (size_t v = 0; v < e->n; v++) {
		enum column i = (enum column)e->value[v].attribute;

		if (i == COL_ALIASES) {
			/* cannot overflow: an entry is no larger (policy/ldif.h) */
			CHECK(buf_put_slice(&r->aliases, e->value[v].text) == 0 &&
			    buf_puts(&r->aliases, ";") == 0);
			continue;
		}
		if (seen[i]) {
			bad_second(r, e, i);
			return -1;
		}
		seen[i] = true;
		*member(row, i) = slice_trim(e->value[v].text);
	}
	row->aliases = buf_slice(&r->aliases);
	return 0;
}

static int
on_entry(void *arg, const struct ldif_entry *e)
{
	struct users_rows *r = arg;
	struct snapshot_row row = { .line = e->line };
	char when[24];

	if (e->error != NULL) {
		r->sink.bad(r->sink.arg, e->line, "entry", e->error);
		return 0;
	}
	if (collect(r, e, &row) != 0)
		return 0;
	if (row.address.n == 0 && row.recovery.n == 0 && row.aliases.n == 0) {
		r->left++;	/* a folder, a group, somebody without a mailbox */
		return 0;
	}
	row.language = first_language(row.language);
	row.verified_at = plain_time(row.verified_at, when);
	return r->sink.row(r->sink.arg, &row);
}

static struct users_rows *
rows_new(const struct users_sink *sink)
{
	struct users_rows *r = mem_new(sizeof(*r));

	r->sink = *sink;
	buf_init(&r->aliases, LDIF_ENTRY_MAX + LDIF_VALUES_MAX);
	return r;
}

struct users_rows *
users_rows_csv(char separator, const struct users_sink *sink)
{
	struct users_rows *r = rows_new(sink);

	r->csv = csv_new(separator, on_record, r);
	return r;
}

struct users_rows *
users_rows_ldif(const struct conf *c, const struct users_sink *sink)
{
	struct users_rows *r = rows_new(sink);

	if (c->ldif_recovery == NULL) {
		fail(r, "no ldif-recovery in the configuration: name the attribute with the recovery "
		    "address");
		users_rows_free(&r);
		return NULL;
	}
	r->attribute[COL_ADDRESS] = c->ldif_address;
	r->attribute[COL_RECOVERY] = c->ldif_recovery;
	r->attribute[COL_STATE] = c->ldif_state;
	r->attribute[COL_SHARD] = c->ldif_shard;
	r->attribute[COL_ALIASES] = c->ldif_aliases;
	r->attribute[COL_LANGUAGE] = c->ldif_language;
	r->attribute[COL_VERIFIED_AT] = c->ldif_verified_at;
	r->attribute[COL_BASELINE] = c->ldif_baseline;
	r->ldif = ldif_new(r->attribute, COL_MAX, on_entry, r);
	return r;
}

void
users_rows_free(struct users_rows **rp)
{
	if (*rp == NULL)
		return;
	csv_free(&(*rp)->csv);
	ldif_free(&(*rp)->ldif);
	buf_fini(&(*rp)->aliases);
	free(*rp);
	*rp = NULL;
}

int
users_rows_feed(struct users_rows *r, struct slice s)
{
	return r->csv != NULL ? csv_feed(r->csv, s) : ldif_feed(r->ldif, s);
}

int
users_rows_end(struct users_rows *r)
{
	char text[64];
	int rc = r->csv != NULL ? csv_end(r->csv) : ldif_end(r->ldif);

	if (rc == 0 && r->csv != NULL && r->nfield == 0)
		rc = fail(r, "header: the file is empty");
	if (rc == 0 && r->left != 0) {
		snprintf(text, sizeof(text), "%llu entries without an address are left aside",
		    (unsigned long long)r->left);
		r->sink.note(r->sink.arg, 0, "ldif", text);
	}
	return rc;
}
