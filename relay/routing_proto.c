// SPDX-License-Identifier: Apache-2.0
#include "relay/routing_proto.h"

#include <stdio.h>

enum { LENGTH_DIGITS = 4 };	/* of a netstring: 9999 is beyond every request already */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "map key": the map's name is Postfix's business, we have one. */
static bool
netstring_key(struct slice body, struct routing_query *q)
{
	size_t at = slice_find(body, ' ');
	struct slice key = slice_sub(body, at + 1, body.n);

	if (at == 0 || at >= body.n || key.n > ROUTING_KEY_MAX)
		return false;
	if (key.n > 0)
		memcpy(q->key, key.p, key.n);
	q->n = key.n;
	q->known = true;
	return true;
}

static ssize_t
netstring_parse(struct slice in, struct routing_query *q)
{
	size_t n = 0, digits = 0;

	while (digits < in.n && is_digit(in.p[digits])) {
		if (digits == LENGTH_DIGITS || (digits == 1 && in.p[0] == '0'))
			return -1;
		n = n * 10 + (size_t)(in.p[digits++] - '0');
	}
	if (n > ROUTING_REQUEST_MAX)
		return -1;
	if (digits == in.n)
		return 0;
	if (in.p[digits] != ':')
		return -1;
	if (in.n - digits - 1 < n + 1)
		return 0;
	if (in.p[digits + 1 + n] != ',' ||
	    !netstring_key(slice_sub(in, digits + 1, digits + 1 + n), q))
		return -1;
	return (ssize_t)(digits + n + 2);
}

static bool
line_key(struct slice text, struct routing_query *q)
{
	q->n = 0;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c == '%') {
			int hi = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
			int lo = i + 2 < text.n ? hex_value(text.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (q->n == ROUTING_KEY_MAX)
			return false;
		q->key[q->n++] = c;
	}
	q->known = true;
	return true;
}

static ssize_t
line_parse(struct slice in, struct routing_query *q)
{
	size_t end = slice_find(in, '\n');
	struct slice line = slice_sub(in, 0, end);

	if (end == in.n)
		return in.n > ROUTING_REQUEST_MAX ? -1 : 0;
	if (line.n > ROUTING_REQUEST_MAX)
		return -1;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (slice_istarts(line, SLICE_LIT("get ")) &&
	    !line_key(slice_sub(line, 4, line.n), q))
		return -1;
	return (ssize_t)end + 1;
}

ssize_t
routing_parse(struct slice in, struct routing_query *q)
{
	if (in.n == 0)
		return 0;
	q->known = false;
	q->n = 0;
	q->netstring = is_digit(in.p[0]);
	return q->netstring ? netstring_parse(in, q) : line_parse(in, q);
}

static int
reply_netstring(struct buf *out, const char *word, const char *text)
{
	return buf_printf(out, "%zu:%s %s,", strlen(word) + 1 + strlen(text), word, text);
}

/* tcp_table(5): % and what is not printable are written as %xx, blanks too. */
static int
reply_line(struct buf *out, unsigned code, const char *text)
{
	int bad = buf_printf(out, "%u ", code);

	for (const char *p = text; *p != '\0' && bad == 0; p++) {
		unsigned char c = (unsigned char)*p;

		bad = c <= 0x20 || c >= 0x7f || c == '%' ? buf_printf(out, "%%%02x", c) :
		    buf_put(out, p, 1);
	}
	return bad != 0 ? -1 : buf_puts(out, "\n");
}

int
routing_reply(struct buf *out, const struct routing_query *q, enum routing_verdict v,
    const char *where)
{
	static const struct {
		const char	*word, *text;
		unsigned	 code;
	} as[] = {
		[ROUTING_HERE]	    = { "OK", NULL, 200 },
		[ROUTING_ELSEWHERE] = { "NOTFOUND", "", 500 },
		[ROUTING_UNKNOWN]   = { "TEMP", "the phase of the domain is not known yet", 400 },
		[ROUTING_WRONG]	    = { "PERM", "only look-ups are answered here", 500 },
	};
	const char *text = as[v].text == NULL ? where : as[v].text;

	if (q->netstring)
		return reply_netstring(out, as[v].word, text);
	return reply_line(out, as[v].code, *text == '\0' ? "not here" : text);
}
