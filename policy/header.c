// SPDX-License-Identifier: Apache-2.0
#include "policy/header.h"

void
header_start(struct header *h, struct slice msg)
{
	*h = (struct header){ .msg = msg };
}

/* Offset just after the CRLF that ends the line at `pos`; the end of bytes if none. */
static size_t
line_end(struct slice s, size_t pos)
{
	while (pos < s.n) {
		const char *cr = memchr(s.p + pos, '\r', s.n - pos);

		if (cr == NULL)
			return s.n;
		pos = (size_t)(cr - s.p) + 1;
		if (pos < s.n && s.p[pos] == '\n')
			return pos + 1;
	}
	return s.n;
}

static bool
is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the field name at `pos` and where its colon is; 0 when it is no field. */
static size_t
name_length(struct slice s, size_t pos, size_t *colon)
{
	size_t i = pos, n;

	while (i < s.n && s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != ':')
		i++;
	n = i - pos;
	while (i < s.n && is_wsp(s.p[i]))	/* obsolete syntax, RFC 5322 4.5 */
		i++;
	if (n == 0 || i == s.n || s.p[i] != ':')
		return 0;
	*colon = i;
	return n;
}

bool
header_next(struct header *h, struct header_field *f)
{
	struct slice s = h->msg;
	size_t pos = h->pos, colon = 0, n, end, text_end;

	n = pos < s.n ? name_length(s, pos, &colon) : 0;
	if (n == 0) {
		h->junk = false;
		h->body = pos;
		if (pos + 1 < s.n && s.p[pos] == '\r' && s.p[pos + 1] == '\n')
			h->body = pos + 2;
		else if (pos < s.n)
			h->junk = true;
		return false;
	}
	end = line_end(s, colon);
	while (end < s.n && is_wsp(s.p[end]))
		end = line_end(s, end);
	text_end = end;
	if (end - colon > 2 && s.p[end - 1] == '\n' && s.p[end - 2] == '\r')
		text_end = end - 2;
	f->name = slice_make(s.p + pos, n);
	f->value = slice_make(s.p + colon + 1, text_end - colon - 1);
	f->raw = slice_make(s.p + pos, end - pos);
	f->off = pos;
	h->pos = end;
	return true;
}

bool
header_is(const struct header_field *f, const char *name)
{
	return slice_ieq(f->name, slice_str(name));
}
