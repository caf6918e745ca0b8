// SPDX-License-Identifier: Apache-2.0
#include "policy/dmarc_author.h"

#include "policy/address.h"

enum { DOMAIN_TEXT_MAX = 1024 /* octets of a domain as written, in U-labels */ };

/* Reads the value once from left to right; `s` is what is left of it. */
struct reader {
	struct slice		 s;
	struct dmarc_author	*a;
	unsigned		 mailboxes;
	bool			 group;		/* inside "name: ... ;" */
};

/* A domain as collected, comments and folding gone. */
struct domain_text {
	char	p[DOMAIN_TEXT_MAX];
	size_t	n, labels;
};

static bool
at(const struct reader *r, char c)
{
	return r->s.n > 0 && r->s.p[0] == c;
}

static bool
take(struct reader *r, char c)
{
	if (!at(r, c))
		return false;
	r->s = slice_sub(r->s, 1, r->s.n);
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_atom(char c)
{
	return !is_space(c) && strchr("()<>[]:;@\\,.\"", c) == NULL;
}

/* White space, folding and comments. False when a comment does not end. */
static bool
skip_cfws(struct reader *r)
{
	size_t depth = 0, i = 0;

	for (; i < r->s.n; i++) {
		char c = r->s.p[i];

		if (c == '(')
			depth++;
		else if (depth == 0 && !is_space(c))
			break;
		else if (c == ')')
			depth--;
		else if (c == '\\')
			i++;
	}
	r->s = slice_sub(r->s, i, r->s.n);
	return depth == 0;
}

static bool
skip_quoted(struct reader *r)
{
	for (size_t i = 1; i < r->s.n; i++) {
		if (r->s.p[i] == '\\') {
			i++;
		} else if (r->s.p[i] == '"') {
			r->s = slice_sub(r->s, i + 1, r->s.n);
			return true;
		}
	}
	return false;
}

static struct slice
read_atom(struct reader *r)
{
	struct slice atom = r->s;

	atom.n = 0;
	while (atom.n < r->s.n && is_atom(r->s.p[atom.n]))
		atom.n++;
	r->s = slice_sub(r->s, atom.n, r->s.n);
	return atom;
}

/* Words with dots between; mail is sent from local parts with dots in odd places, too. */
static bool
read_local(struct reader *r)
{
	bool word = false, after_word = false;

	for (;;) {
		if (!skip_cfws(r))
			return false;
		if (take(r, '.')) {
			after_word = false;
			continue;
		}
		if (after_word || (!at(r, '"') && (r->s.n == 0 || !is_atom(r->s.p[0]))))
			return word;
		if (!at(r, '"'))
			read_atom(r);
		else if (!skip_quoted(r))
			return false;
		word = after_word = true;
	}
}

/* Atoms with dots between, comments and space around each (RFC 5322 4.4). A literal is
 * no domain. */
static bool
read_domain(struct reader *r, struct domain_text *d)
{
	struct slice atom;

	d->n = d->labels = 0;
	do {
		if (!skip_cfws(r))
			return false;
		atom = read_atom(r);
		if (atom.n == 0)
			break;
		if (atom.n + 1 > sizeof(d->p) - d->n)
			return false;
		if (d->labels++ > 0)
			d->p[d->n++] = '.';
		memcpy(d->p + d->n, atom.p, atom.n);
		d->n += atom.n;
		if (!skip_cfws(r))
			return false;
	} while (take(r, '.'));
	return d->labels > 0;
}

/* One domain more that the reader may see. False when it is none. */
static bool
count_domain(struct dmarc_author *a, const struct domain_text *d)
{
	char name[DNS_NAME_MAX + 1];

	if (slice_ieq(slice_make(d->p, d->n), slice_str(a->domain)))
		return true;	/* the same again: the usual case of several mailboxes */
	if (address_domain_canonical(slice_make(d->p, d->n), name, sizeof(name)) != 0)
		return false;
	if (a->state == DMARC_AUTHOR_NONE) {
		a->state = DMARC_AUTHOR_ONE;
		memcpy(a->domain, name, sizeof(name));
	} else if (strcmp(a->domain, name) != 0) {
		a->state = DMARC_AUTHOR_SEVERAL;
	}
	return true;
}

static bool
read_addr_spec(struct reader *r, struct domain_text *d)
{
	return read_local(r) && take(r, '@') && read_domain(r, d) && skip_cfws(r);
}

static bool
at_end(const struct reader *r)
{
	return r->s.n == 0 || at(r, ',') || (r->group && at(r, ';'));
}

/* An '@' in a phrase, with `before` in front of it: if it looks like an address somebody
 * may take it for one. What is read here is read again as part of the phrase. */
static bool
phrase_at(struct reader *r, char before)
{
	struct reader look = *r;
	struct domain_text d;

	(void)take(r, '@');
	(void)take(&look, '@');
	if (is_space(before) || !read_domain(&look, &d) || d.labels < 2)
		return true;
	if (++r->mailboxes > DMARC_AUTHOR_MAILBOXES)
		return false;
	(void)count_domain(r->a, &d);
	return true;
}

/* A display name up to where something else begins. *found: there was an '@' in it. */
static bool
skip_phrase(struct reader *r, bool *found)
{
	char before = ' ';

	*found = false;
	while (r->s.n > 0 && strchr(",;:<>)\\", r->s.p[0]) == NULL) {
		char c = r->s.p[0];

		if (c == '"') {
			if (!skip_quoted(r))
				return false;
		} else if (c == '(') {
			if (!skip_cfws(r))
				return false;
			continue;	/* a comment is no space: what counts is before it */
		} else if (c == '@') {
			*found = true;
			if (!phrase_at(r, before))
				return false;
		} else {
			r->s = slice_sub(r->s, 1, r->s.n);
		}
		before = c;
	}
	return true;
}

/* [phrase] "<" local@domain ">", a name alone, or the name of a group. */
static bool
read_named(struct reader *r)
{
	struct domain_text d;
	bool found;

	if (!skip_phrase(r, &found))
		return false;
	if (take(r, '<'))
		return read_addr_spec(r, &d) && take(r, '>') && skip_cfws(r) && at_end(r) &&
		    count_domain(r->a, &d);
	if (!r->group && take(r, ':')) {
		r->group = true;
		return true;
	}
	return at_end(r) && !found;
}

/* One element of the list and the separators behind it. */
static bool
read_element(struct reader *r)
{
	struct reader rewind = *r;
	struct domain_text d;

	if (read_addr_spec(r, &d) && at_end(r)) {
		if (!count_domain(r->a, &d))
			return false;
	} else {
		*r = rewind;
		if (!read_named(r))
			return false;
	}
	if (take(r, ';')) {
		r->group = false;
		if (!skip_cfws(r))
			return false;
	}
	/* Nothing between two mailboxes but a comma. */
	return r->group || r->s.n == 0 || at(r, ',');
}

static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c < ' ' && !is_space((char)c)) || c == 0x7f)
			return true;
	}
	return false;
}

static bool
read_from(struct dmarc_author *a, struct slice value)
{
	struct reader r = { .s = value, .a = a };

	if (has_control(value))
		return false;
	while (skip_cfws(&r)) {
		if (r.s.n == 0)
			return true;
		if (take(&r, ','))	/* also empty elements, RFC 5322 4.4 */
			continue;
		if (++r.mailboxes > DMARC_AUTHOR_MAILBOXES || !read_element(&r))
			return false;
	}
	return false;
}

void
dmarc_author_start(struct dmarc_author *a)
{
	*a = (struct dmarc_author){ .state = DMARC_AUTHOR_NONE };
}

void
dmarc_author_field(struct dmarc_author *a, const struct header_field *f)
{
	if (!header_is(f, "From"))
		return;
	if (++a->fields > 1)
		a->state = DMARC_AUTHOR_SEVERAL;
	else if (!read_from(a, f->value))
		a->state = DMARC_AUTHOR_BROKEN;
	if (a->state != DMARC_AUTHOR_ONE)
		a->domain[0] = '\0';
}

const char *
dmarc_author_why(const struct dmarc_author *a)
{
	switch (a->state) {
	case DMARC_AUTHOR_NONE:
		return a->fields == 0 ? "no From" : "no domain in From";
	case DMARC_AUTHOR_ONE:
		break;
	case DMARC_AUTHOR_SEVERAL:
		return a->fields > 1 ? "several From" : "several domains in From";
	case DMARC_AUTHOR_BROKEN:
		return "From cannot be read";
	}
	return "";
}
