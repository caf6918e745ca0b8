// SPDX-License-Identifier: Apache-2.0
/*
 * Lenient where the world is sloppy and nothing can be smuggled by it (a bare LF ends
 * a reply line, text may be missing), strict where a guess could turn a refusal into
 * an acceptance: three digits, 2yz to 5yz, and the same code on all lines.
 */
#include <string.h>

#include "relay/reply.h"

void
reply_init(struct reply *r)
{
	r->code = 0;
	r->lines = 0;
	r->done = false;
	r->enhanced[0] = '\0';
	r->ntext = 0;
	r->nline = 0;
}

static bool
reply_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* 1 to 3 digits at s[*i]. */
static bool
reply_number(struct slice s, size_t *i)
{
	size_t start = *i;

	while (*i < s.n && *i - start < 3 && reply_digit(s.p[*i]))
		(*i)++;
	return *i > start;
}

size_t
reply_enhanced(struct slice s, unsigned code, char out[12])
{
	size_t i = 2;

	out[0] = '\0';
	if (s.n < 5 || s.p[1] != '.' || s.p[0] != (char)('0' + code / 100))
		return 0;
	if (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5')
		return 0;
	if (!reply_number(s, &i) || i >= s.n || s.p[i] != '.')
		return 0;
	i++;
	if (!reply_number(s, &i))
		return 0;
	if (i < s.n && s.p[i] != ' ' && s.p[i] != '\t')
		return 0;
	memcpy(out, s.p, i);
	out[i] = '\0';
	return i;
}

static void
reply_keep(struct reply *r, struct slice text)
{
	size_t room;

	if (r->ntext > 0 && r->ntext < sizeof(r->text))
		r->text[r->ntext++] = '\n';
	room = sizeof(r->text) - r->ntext;
	if (text.n > room)
		text.n = room;
	if (text.n > 0)
		memcpy(r->text + r->ntext, text.p, text.n);
	r->ntext += text.n;
}

/* One line without its end. */
static enum reply_result
reply_line(struct reply *r, struct slice l)
{
	unsigned code;
	char sep;

	if (l.n < 3 || l.p[0] < '2' || l.p[0] > '5' || !reply_digit(l.p[1]) ||
	    !reply_digit(l.p[2]))
		return REPLY_BAD;
	code = (unsigned)(l.p[0] - '0') * 100 + (unsigned)(l.p[1] - '0') * 10 +
	    (unsigned)(l.p[2] - '0');
	sep = l.n == 3 ? ' ' : l.p[3];
	if (sep != ' ' && sep != '-' && sep != '\t')
		return REPLY_BAD;
	if (r->lines > 0 && code != r->code)
		return REPLY_BAD;
	if (++r->lines > REPLY_LINES_MAX)
		return REPLY_BAD;
	r->code = (uint16_t)code;
	l = slice_sub(l, 4, l.n);
	if (r->lines == 1)
		(void)reply_enhanced(l, code, r->enhanced);
	reply_keep(r, l);
	return sep == '-' ? REPLY_MORE : REPLY_DONE;
}

enum reply_result
reply_feed(struct reply *r, struct slice in, size_t *used)
{
	enum reply_result res;
	struct slice l;
	size_t n, i = 0;

	if (r->done)
		reply_init(r);
	while (i < in.n) {
		l = slice_sub(in, i, in.n);
		n = slice_find(l, '\n');
		if (n > sizeof(r->line) - r->nline) {
			*used = i;
			return REPLY_BAD;
		}
		memcpy(r->line + r->nline, l.p, n);
		r->nline += n;
		i += n;
		if (i == in.n)
			break;
		i++;
		l = slice_make(r->line, r->nline);
		if (l.n > 0 && l.p[l.n - 1] == '\r')
			l.n--;
		r->nline = 0;
		res = reply_line(r, l);
		if (res != REPLY_MORE) {
			r->done = res == REPLY_DONE;
			*used = i;
			return res;
		}
	}
	*used = i;
	return REPLY_MORE;
}

struct slice
reply_text(const struct reply *r)
{
	return slice_make(r->text, r->ntext);
}

void
reply_printable(struct slice s, char *out, size_t cap)
{
	size_t i;

	if (cap == 0)
		return;
	for (i = 0; i < s.n && i + 1 < cap; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\n' || c == '\r' || c == '\t')
			out[i] = ' ';
		else
			out[i] = c < 32 || c > 126 ? '?' : (char)c;
	}
	out[i] = '\0';
}
