// SPDX-License-Identifier: Apache-2.0
#include "policy/ldif.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum ldif_state {
	LDIF_BEGIN,	/* at the first byte of a line as it stands in the file */
	LDIF_INSIDE,
	LDIF_CR,	/* LF must follow */
	LDIF_EMPTY_CR	/* likewise, on a line that has nothing else */
};

struct ldif {
	const char *const *wanted;
	size_t		 nwanted;
	ldif_fn		*fn;
	void		*arg;		/* for fn */
	struct ldif_entry entry;	/* being built */
	uint64_t	 at;		/* line of the next byte */
	uint64_t	 line_at;	/* where the unfolded line began */
	enum ldif_state	 state;
	bool		 open;		/* a dn was read: an entry is being built */
	bool		 any;		/* a line that is no comment was read */
	bool		 pending;	/* there is an unfolded line, which may go on */
	bool		 over;		/* ... and it is longer than line[] */
	size_t		 nline;		/* bytes in line */
	size_t		 ntext;		/* bytes in text */
	struct ldif_value value[LDIF_VALUES_MAX];
	char		 line[LDIF_LINE_MAX];
	char		 text[LDIF_ENTRY_MAX];	/* the values, one behind the other */
};

struct ldif *
ldif_new(const char *const *wanted, size_t n, ldif_fn *fn, void *arg)
{
	struct ldif *l = mem_new(sizeof(*l));

	CHECK(n <= LDIF_WANTED_MAX);
	l->wanted = wanted;
	l->nwanted = n;
	l->fn = fn;
	l->arg = arg;
	l->at = 1;
	l->state = LDIF_BEGIN;
	l->entry.value = l->value;
	return l;
}

void
ldif_free(struct ldif **lp)
{
	if (*lp == NULL)
		return;
	/* The text may hold recovery addresses: not left behind in the heap. */
	explicit_bzero(*lp, sizeof(**lp));
	free(*lp);
	*lp = NULL;
}

/* The entry is bad from here on; the first reason stays. */
static void
ldif_fail(struct ldif *l, uint64_t line, const char *error)
{
	if (l->entry.error != NULL)
		return;
	l->entry.error = error;
	l->entry.line = line;
}

/* attributetype and options of RFC 2849: letters, digits, '-', ';', and '.' of an OID. */
static bool
is_description(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (i == 0 || strchr("-;.", c) == NULL || c == '\0'))
			return false;
	}
	return s.n > 0;
}

static int
sextet(char c)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c == '\0' ? NULL : strchr(set, c);

	return p == NULL ? -1 : (int)(p - set);
}

/* The canonical form and no other. Bytes put to `out`, which has room for s.n; -1. */
static int
unbase64(struct slice s, char *out)
{
	size_t pad = 0;
	int n = 0;

	while (pad < 2 && pad < s.n && s.p[s.n - 1 - pad] == '=')
		pad++;
	if (s.n % 4 != 0)
		return -1;
	for (size_t i = 0; i < s.n; i += 4) {
		size_t have = i + 4 == s.n ? 4 - pad : 4;
		unsigned bits = 0;

		for (size_t k = 0; k < 4; k++) {
			int v = k < have ? sextet(s.p[i + k]) : 0;

			if (v < 0)
				return -1;
			bits = bits << 6 | (unsigned)v;
		}
		/* the bits that padding leaves over */
		if ((bits & (have == 4 ? 0U : have == 3 ? 0xffU : 0xffffU)) != 0)
			return -1;
		for (size_t k = 0; k + 1 < have; k++)
			out[n++] = (char)(bits >> (16 - 8 * k) & 0xff);
	}
	return n;
}

/* SAFE-STRING. NULL or what is wrong. */
static const char *
check_plain(struct slice s)
{
	if (s.n > 0 && (s.p[0] == ':' || s.p[0] == '<'))
		return "a value that begins with ':' or '<' must be in base64 (attribute:: ...)";
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return "a byte beyond ASCII: such a value must be in base64 (attribute:: ...)";
	return NULL;
}

static void
add_value(struct ldif *l, unsigned attribute, struct slice s, bool base64)
{
	char *to = l->text + l->ntext;
	const char *error = base64 ? NULL : check_plain(s);
	int n;

	if (l->entry.n == LDIF_VALUES_MAX)
		error = "more than 256 values in one entry";
	else if (s.n > sizeof(l->text) - l->ntext)
		error = "more than 64 KiB of values in one entry";
	if (error != NULL) {
		ldif_fail(l, l->line_at, error);
		return;
	}
	n = (int)s.n;
	if (base64)
		n = unbase64(s, to);
	else if (s.n > 0)
		memcpy(to, s.p, s.n);
	if (n < 0 || (n > 0 && memchr(to, '\0', (size_t)n) != NULL)) {
		ldif_fail(l, l->line_at, n < 0 ? "not base64 after '::'" :
		    "a NUL byte in a value in base64");
		return;
	}
	l->value[l->entry.n++] = (struct ldif_value){ attribute, slice_make(to, (size_t)n) };
	l->ntext += (size_t)n;
}

/* A line of an open entry. `rest` is what stands after the colon, or colons. */
static void
read_attribute(struct ldif *l, struct slice name, struct slice rest, bool base64)
{
	if (slice_ieq(name, SLICE_LIT("dn"))) {
		ldif_fail(l, l->line_at, "a second dn: the empty line between two entries is missing");
		return;
	}
	if (slice_ieq(name, SLICE_LIT("changetype")) || slice_ieq(name, SLICE_LIT("control"))) {
		ldif_fail(l, l->line_at, "a change record: export entries instead (ldapsearch -LLL, "
		    "slapcat)");
		return;
	}
	for (unsigned i = 0; i < l->nwanted; i++) {
		if (l->wanted[i] == NULL || !slice_ieq(name, slice_str(l->wanted[i])))
			continue;
		if (l->over)
			ldif_fail(l, l->line_at, "a value longer than 64 KiB");
		else
			add_value(l, i, rest, base64);
	}
}

static void
begin_entry(struct ldif *l, struct slice name, struct slice rest, bool base64)
{
	if (!l->any && slice_ieq(name, SLICE_LIT("version"))) {
		if (base64 || !slice_eq(rest, SLICE_LIT("1")))
			ldif_fail(l, l->line_at, "LDIF of a version that is not 1");
		return;
	}
	l->entry.line = l->line_at;
	l->open = true;
	if (!slice_ieq(name, SLICE_LIT("dn")))
		ldif_fail(l, l->line_at, "an entry must begin with dn: (of ldapsearch, take what "
		    "it writes with -LLL)");
}

/* The unfolded line is whole. */
static void
finish_line(struct ldif *l)
{
	struct slice s = slice_make(l->line, l->nline), rest;
	size_t colon = slice_find(s, ':');
	bool base64;

	if (!l->pending)
		return;
	l->pending = false;
	if (s.n > 0 && s.p[0] == '#')
		return;
	rest = slice_sub(s, colon + 1, s.n);
	base64 = rest.n > 0 && rest.p[0] == ':';
	if (l->entry.error != NULL) {
		;	/* up to the empty line */
	} else if (colon == s.n || !is_description(slice_sub(s, 0, colon))) {
		ldif_fail(l, l->line_at, "not \"attribute: value\"; a line that goes on begins with a "
		    "space");
	} else if (rest.n > 0 && rest.p[0] == '<') {
		ldif_fail(l, l->line_at, "a value from a URL (:<) is not fetched: write it out");
	} else {
		if (base64)
			rest = slice_sub(rest, 1, rest.n);
		while (rest.n > 0 && rest.p[0] == ' ')
			rest = slice_sub(rest, 1, rest.n);
		if (l->open)
			read_attribute(l, slice_sub(s, 0, colon), rest, base64);
		else
			begin_entry(l, slice_sub(s, 0, colon), rest, base64);
	}
	l->any = true;
}

static int
finish_entry(struct ldif *l)
{
	int rc = 0;

	if (l->open || l->entry.error != NULL) {
		if (l->entry.error != NULL)
			l->entry.n = 0;
		rc = l->fn(l->arg, &l->entry);
	}
	l->open = false;
	l->entry.error = NULL;
	l->entry.n = l->ntext = 0;
	return rc;
}

static void
ldif_add(struct ldif *l, char b)
{
	if (b == '\0')
		ldif_fail(l, l->at, "a NUL byte");
	else if (l->nline == sizeof(l->line))
		l->over = true;
	else
		l->line[l->nline++] = b;
}

/* The first byte of a line, which tells whether the line before is whole. */
static int
first_byte(struct ldif *l, char b)
{
	if (b == '\n' || b == '\r') {
		finish_line(l);
		l->state = b == '\r' ? LDIF_EMPTY_CR : LDIF_BEGIN;
		if (b == '\n')
			l->at++;
		return b == '\n' ? finish_entry(l) : 0;
	}
	l->state = LDIF_INSIDE;
	if (b == ' ') {
		if (!l->pending)
			ldif_fail(l, l->at, "a line that begins with a space continues nothing");
		return 0;
	}
	finish_line(l);
	l->pending = true;
	l->over = false;
	l->nline = 0;
	l->line_at = l->at;
	ldif_add(l, b);
	return 0;
}

static int
ldif_byte(struct ldif *l, char b)
{
	bool empty = l->state == LDIF_EMPTY_CR;

	switch (l->state) {
	case LDIF_BEGIN:
		return first_byte(l, b);
	case LDIF_INSIDE:
		if (b == '\r') {
			l->state = LDIF_CR;
		} else if (b == '\n') {
			l->at++;
			l->state = LDIF_BEGIN;
		} else {
			ldif_add(l, b);
		}
		return 0;
	case LDIF_CR:
	case LDIF_EMPTY_CR:
		if (b != '\n') {
			ldif_fail(l, l->at, "a CR without LF");
			l->state = LDIF_INSIDE;
			return 0;
		}
		l->at++;
		l->state = LDIF_BEGIN;
		return empty ? finish_entry(l) : 0;
	}
	return 0;
}

int
ldif_feed(struct ldif *l, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		int rc = ldif_byte(l, s.p[i]);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int
ldif_end(struct ldif *l)
{
	if (l->state == LDIF_BEGIN) {
		finish_line(l);
	} else {
		/* half a line is not judged: its end is what is wrong with it */
		l->pending = false;
		ldif_fail(l, l->at, "the file ends within a line: was it cut?");
	}
	l->state = LDIF_BEGIN;
	return finish_entry(l);
}
