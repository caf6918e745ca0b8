// SPDX-License-Identifier: Apache-2.0
#include "policy/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum csv_state {
	CSV_MARK,	/* inside a possible byte order mark at the very start */
	CSV_RECORD,	/* nothing of this record yet */
	CSV_FIELD,	/* at the start of a field that is not the first */
	CSV_PLAIN,
	CSV_QUOTED,
	CSV_QUOTE,	/* a quote inside a quoted field: doubled, or the end */
	CSV_CR,		/* a CR outside quotes: LF must follow */
	CSV_EMPTY_CR,	/* the same on a line that has nothing else */
	CSV_SKIP	/* after an error, up to the LF */
};

struct csv {
	csv_fn		*fn;
	void		*arg;		/* for fn */
	struct csv_record rec;		/* being built */
	uint64_t	 line;		/* of the next byte */
	size_t		 n;		/* bytes used of text */
	size_t		 end[CSV_FIELDS_MAX];	/* of each finished field in text */
	size_t		 nfield;
	unsigned	 mark;		/* bytes of the byte order mark seen */
	enum csv_state	 state;
	char		 separator;
	char		 text[CSV_RECORD_MAX];	/* the fields, one behind the other */
};

static const unsigned char csv_bom[3] = { 0xef, 0xbb, 0xbf };

struct csv *
csv_new(char separator, csv_fn *fn, void *arg)
{
	struct csv *c = mem_new(sizeof(*c));

	c->fn = fn;
	c->arg = arg;
	c->line = 1;
	c->separator = separator;
	c->state = CSV_MARK;
	return c;
}

void
csv_free(struct csv **cp)
{
	if (*cp == NULL)
		return;
	/* The text may hold recovery addresses: not left behind in the heap. */
	explicit_bzero(*cp, sizeof(**cp));
	free(*cp);
	*cp = NULL;
}

static void
csv_begin(struct csv *c)
{
	c->rec.line = c->line;
	c->rec.error = NULL;
	c->n = c->nfield = 0;
	c->state = CSV_RECORD;
}

static void
csv_fail(struct csv *c, const char *error)
{
	c->rec.error = error;
	c->state = CSV_SKIP;
}

static void
csv_add(struct csv *c, char b)
{
	if (b == '\0')
		csv_fail(c, "a NUL byte");
	else if (c->n == sizeof(c->text))
		csv_fail(c, c->state == CSV_QUOTED ?
		    "record longer than 64 KiB: is a closing quote missing?" :
		    "record longer than 64 KiB");
	else
		c->text[c->n++] = b;
}

static void
csv_field_end(struct csv *c)
{
	if (c->nfield == CSV_FIELDS_MAX) {
		csv_fail(c, "more than 64 fields");
		return;
	}
	c->end[c->nfield++] = c->n;
	c->state = CSV_FIELD;
}

/* The LF of the record (or the end of the text) was seen. */
static int
csv_record_end(struct csv *c)
{
	if (c->rec.error == NULL)
		csv_field_end(c);
	c->rec.n = 0;
	if (c->rec.error == NULL) {
		size_t from = 0;

		for (size_t i = 0; i < c->nfield; i++) {
			c->rec.field[i] = slice_make(c->text + from, c->end[i] - from);
			from = c->end[i];
		}
		c->rec.n = c->nfield;
	}
	return c->fn(c->arg, &c->rec);
}

/* A byte outside quotes that is not the first of its field. */
static int
csv_plain(struct csv *c, char b)
{
	int rc = 0;

	if (b == c->separator) {
		csv_field_end(c);
	} else if (b == '\n') {
		rc = csv_record_end(c);
		c->line++;
		csv_begin(c);
	} else if (b == '\r') {
		c->state = CSV_CR;
	} else if (c->state == CSV_QUOTE) {
		csv_fail(c, "text after a closing quote");
	} else if (b == '"') {
		csv_fail(c, "a quote inside a field that does not begin with one");
	} else {
		c->state = CSV_PLAIN;
		csv_add(c, b);
	}
	return rc;
}

static void
csv_quoted(struct csv *c, char b)
{
	if (b == '"') {
		c->state = CSV_QUOTE;
		return;
	}
	csv_add(c, b);
	if (b == '\n')
		c->line++;
}

static int
csv_after_cr(struct csv *c, char b)
{
	if (b == '\n' && c->state == CSV_EMPTY_CR) {
		c->line++;
		csv_begin(c);
		return 0;
	}
	if (b == '\n') {
		c->state = CSV_PLAIN;
		return csv_plain(c, b);
	}
	csv_fail(c, "a CR without LF");
	return 0;
}

/* True while `b` continues a byte order mark. What only looked like one is text. */
static bool
csv_mark(struct csv *c, char b)
{
	if ((unsigned char)b == csv_bom[c->mark]) {
		if (++c->mark == sizeof(csv_bom))
			csv_begin(c);
		return true;
	}
	csv_begin(c);
	for (unsigned i = 0; i < c->mark; i++) {
		c->state = CSV_PLAIN;
		csv_add(c, (char)csv_bom[i]);
	}
	return false;
}

static int
csv_byte(struct csv *c, char b)
{
	if (c->state == CSV_MARK && csv_mark(c, b))
		return 0;
	switch (c->state) {
	case CSV_MARK:
		break;
	case CSV_RECORD:
		if (b == '\n') {	/* an empty line */
			c->line++;
			csv_begin(c);
			return 0;
		}
		if (b == '\r') {
			c->state = CSV_EMPTY_CR;
			return 0;
		}
		/* fall through */
	case CSV_FIELD:
		if (b == '"') {
			c->state = CSV_QUOTED;
			return 0;
		}
		return csv_plain(c, b);
	case CSV_PLAIN:
		return csv_plain(c, b);
	case CSV_QUOTED:
		csv_quoted(c, b);
		return 0;
	case CSV_QUOTE:
		if (b != '"')
			return csv_plain(c, b);
		c->state = CSV_QUOTED;
		csv_add(c, b);
		return 0;
	case CSV_CR:
	case CSV_EMPTY_CR:
		return csv_after_cr(c, b);
	case CSV_SKIP:
		if (b == '\n')
			return csv_plain(c, b);
		return 0;
	}
	return 0;
}

int
csv_feed(struct csv *c, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		int rc = csv_byte(c, s.p[i]);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int
csv_end(struct csv *c)
{
	int rc = 0;

	switch (c->state) {
	case CSV_MARK:
		if (c->mark != 0) {
			csv_begin(c);
			csv_fail(c, "half a byte order mark");
			rc = csv_record_end(c);
		}
		break;
	case CSV_RECORD:
		break;
	case CSV_QUOTED:
		csv_fail(c, "a quote is not closed at the end of the file");
		rc = csv_record_end(c);
		break;
	case CSV_CR:
	case CSV_EMPTY_CR:
		csv_fail(c, "a CR without LF");
		rc = csv_record_end(c);
		break;
	case CSV_FIELD:
	case CSV_PLAIN:
	case CSV_QUOTE:
	case CSV_SKIP:
		rc = csv_record_end(c);
		break;
	}
	csv_begin(c);
	return rc;
}
