// SPDX-License-Identifier: Apache-2.0
#include "policy/mailbox.h"

enum { PHRASE_MAX = 4096, PLAIN_MAX = 1024 };

/* One element of the list as it is read. */
struct reader {
	struct slice	s;		/* what is left */
	struct slice	comment;	/* the first one, without its parentheses */
	struct buf	phrase;		/* words, quotes undone, one space between */
	struct buf	plain;		/* the same without space and with the quotes */
	bool		spaced;		/* white space since the last word */
	bool		overlong;	/* something did not fit */
};

static void
reset(struct reader *r)
{
	buf_clear(&r->phrase);
	buf_clear(&r->plain);
	r->comment = SLICE_NONE;
	r->spaced = r->overlong = false;
}

static void
add(struct reader *r, struct slice phrase, struct slice plain)
{
	if (r->spaced && buf_len(&r->phrase) > 0 && buf_puts(&r->phrase, " ") < 0)
		r->overlong = true;
	r->spaced = false;
	if (buf_put_slice(&r->phrase, phrase) < 0 || buf_put_slice(&r->plain, plain) < 0)
		r->overlong = true;
}

/* Behind the end of a comment that starts here; the end of the bytes if it has none. */
static size_t
comment_end(struct slice s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.n;
}

static size_t
quoted_end(struct slice s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return s.n;
}

static void
read_comment(struct reader *r)
{
	size_t n = comment_end(r->s);

	if (r->comment.n == 0)
		r->comment = slice_sub(r->s, 1, n > 0 ? n - 1 : 0);
	r->s = slice_sub(r->s, n, r->s.n);
	r->spaced = true;
}

static void
read_quoted(struct reader *r)
{
	size_t n = quoted_end(r->s);
	char inside[PHRASE_MAX];
	size_t m = 0;

	for (size_t i = 1; i + 1 < n && m < sizeof(inside); i++) {
		if (r->s.p[i] == '\\' && i + 2 < n)
			i++;
		inside[m++] = r->s.p[i];
	}
	add(r, slice_make(inside, m), slice_sub(r->s, 0, n));
	r->s = slice_sub(r->s, n, r->s.n);
}

/* "<...>": the address alone goes into `plain`. */
static void
read_angle(struct reader *r)
{
	size_t n;

	buf_clear(&r->plain);
	for (r->s = slice_sub(r->s, 1, r->s.n); r->s.n > 0 && r->s.p[0] != '>';
	    r->s = slice_sub(r->s, n, r->s.n)) {
		n = 1;
		if (r->s.p[0] == '(')
			n = comment_end(r->s);
		else if (r->s.p[0] == '"')
			n = quoted_end(r->s);
		if (r->s.p[0] != '(' && strchr(" \t\r\n", r->s.p[0]) == NULL &&
		    buf_put(&r->plain, r->s.p, n) < 0)
			r->overlong = true;
	}
}

/* Reads to the end of an element. True when it is a mailbox: *name is what is shown. */
static bool
read_element(struct reader *r, struct slice *name)
{
	for (; r->s.n > 0; ) {
		char c = r->s.p[0];

		if (c == '(') {
			read_comment(r);
		} else if (c == '"') {
			read_quoted(r);
		} else if (c == '<') {
			read_angle(r);
			*name = buf_slice(&r->phrase);
			return buf_len(&r->plain) > 0;
		} else {
			struct slice one = slice_sub(r->s, 0, 1);

			r->s = slice_sub(r->s, 1, r->s.n);
			if (c == ',' || c == ';')
				break;
			if (c == ':')	/* that was the name of a group */
				reset(r);
			else if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
				r->spaced = true;
			else
				add(r, one, one);
		}
	}
	*name = r->comment;
	return slice_find(buf_slice(&r->plain), '@') < buf_len(&r->plain);
}

/* The name again, if it is nothing but encoded words. */
static void
keep_words(struct mailbox *m, struct slice name)
{
	size_t n;

	m->nwords = 0;
	while (name.n > 0) {
		n = mime_word_length(name);
		if (n == 0 || n > 75 || m->nwords + n + 3 > sizeof(m->words)) {
			m->nwords = 0;
			return;
		}
		if (m->nwords > 0) {
			memcpy(m->words + m->nwords, "\r\n ", 3);
			m->nwords += 3;
		}
		memcpy(m->words + m->nwords, name.p, n);
		m->nwords += n;
		name = slice_trim(slice_sub(name, n, name.n));
	}
}

static void
finish(struct mailbox *m, const struct reader *r, struct slice name)
{
	mime_text_words(&m->name, name);
	if (m->name.foreign) {
		mime_text_start(&m->name, MAILBOX_NAME_MAX);
		keep_words(m, slice_trim(name));
	}
	mime_text_raw(&m->address, buf_slice(&r->plain));
}

bool
mailbox_first(struct slice value, struct mailbox *m)
{
	struct reader r = { .s = value };
	struct slice name = SLICE_NONE;
	bool found = false;

	mime_text_start(&m->name, MAILBOX_NAME_MAX);
	mime_text_start(&m->address, MAILBOX_ADDRESS_MAX);
	m->nwords = 0;
	buf_init(&r.phrase, PHRASE_MAX);
	buf_init(&r.plain, PLAIN_MAX);
	while (!found && r.s.n > 0) {
		reset(&r);
		found = read_element(&r, &name);
	}
	if (found)
		finish(m, &r, name);
	buf_fini(&r.phrase);
	buf_fini(&r.plain);
	return found && mime_text_get(&m->address).n > 0;
}
