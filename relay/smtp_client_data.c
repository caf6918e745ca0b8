// SPDX-License-Identifier: Apache-2.0
/*
 * A piece never crosses a place where a dot has to be added, so what is handed out
 * can go to the socket as it is.
 */
#include <string.h>

#include "base/envelope.h"
#include "relay/smtp_client_data.h"

enum { STAGE_PREFIX, STAGE_BODY, STAGE_SUFFIX, STAGE_END, STAGE_DONE };

int
client_data_init(struct client_data *d, struct slice prefix, struct slice body,
    struct slice cuts, struct slice suffix)
{
	struct slice list = cuts;
	struct body_cut c;
	uint64_t at = 0, end;
	int r;

	memset(d, 0, sizeof(*d));
	d->prefix = prefix;
	d->body = body;
	d->cuts = d->cuts_left = cuts;
	d->suffix = suffix;
	d->run = prefix;
	d->last = '\n';
	d->bol = true;
	while ((r = wire_item_next(&list, &body_cut_wire, &c)) == 1) {
		if (__builtin_add_overflow(c.off, c.len, &end) || c.off < at || end > body.n)
			return -1;
		at = end;
	}
	return r;
}

/* Fills run with the next bytes that lie together; false when there are none left. */
static bool
data_refill(struct client_data *d)
{
	struct slice list;
	struct body_cut c;
	uint64_t to;

	while (d->run.n == 0 && d->stage < STAGE_END) {
		if (d->stage == STAGE_PREFIX) {
			d->stage = STAGE_BODY;
		} else if (d->stage == STAGE_SUFFIX) {
			d->stage = STAGE_END;
		} else if (d->body_at >= d->body.n) {
			d->stage = STAGE_SUFFIX;
			d->run = d->suffix;
		} else {
			list = d->cuts_left;
			to = d->body.n;
			c = (struct body_cut){ d->body.n, 0 };
			if (wire_item_next(&list, &body_cut_wire, &c) == 1) {
				d->cuts_left = list;
				to = c.off;
			}
			d->run = slice_sub(d->body, d->body_at, to);
			d->body_at = to + c.len;
		}
	}
	return d->run.n > 0;
}

uint64_t
client_data_size(const struct client_data *d)
{
	struct client_data c = *d;
	uint64_t n = 0;
	char last = '\n';

	(void)client_data_init(&c, d->prefix, d->body, d->cuts, d->suffix);
	while (data_refill(&c)) {
		n += c.run.n;
		last = c.run.p[c.run.n - 1];
		c.run.n = 0;
	}
	return last == '\n' ? n : last == '\r' ? n + 1 : n + 2;
}

bool
client_data_header_8bit(const struct client_data *d)
{
	struct client_data c = *d;
	size_t line = 0;	/* its octets so far, but CR */

	(void)client_data_init(&c, d->prefix, d->body, d->cuts, d->suffix);
	for (; data_refill(&c); c.run.n = 0) {
		for (size_t i = 0; i < c.run.n; i++) {
			if ((uint8_t)c.run.p[i] > 127)
				return true;
			if (c.run.p[i] == '\n' && line == 0)
				return false;
			line = c.run.p[i] == '\n' ? 0 : line + (c.run.p[i] != '\r');
		}
	}
	return false;
}

/* What ends the content: the missing CRLF if it is, then the final dot. */
static struct slice
data_end(const struct client_data *d)
{
	struct slice s;

	if (d->last == '\n')
		s = SLICE_LIT(".\r\n");
	else if (d->last == '\r')
		s = SLICE_LIT("\n.\r\n");
	else
		s = SLICE_LIT("\r\n.\r\n");
	return slice_sub(s, d->end_at, s.n);
}

struct slice
client_data_next(struct client_data *d, size_t max)
{
	const char *p, *end, *nl;

	if (max == 0 || d->stage == STAGE_DONE)
		return SLICE_NONE;
	if (!data_refill(d)) {
		struct slice s = data_end(d);

		return slice_sub(s, 0, max);
	}
	p = d->run.p;
	if (d->bol && !d->dotted && p[0] == '.')
		return SLICE_LIT(".");
	end = p + (d->run.n < max ? d->run.n : max);
	/*
	 * Up to the last byte before a dot that stands first in its line. Any LF counts
	 * as a line end here: no bare one should be left in kept content, but if one is,
	 * a server that takes LF for CRLF must not see an end of data in it (spec 3.10).
	 */
	for (nl = p; (nl = memchr(nl, '\n', (size_t)(end - nl))) != NULL; ) {
		if (++nl >= end)
			break;
		if (*nl == '.') {
			end = nl;
			break;
		}
	}
	return slice_make(p, (size_t)(end - p));
}

void
client_data_sent(struct client_data *d, size_t n)
{
	if (n == 0)
		return;
	if (d->run.n == 0) {
		d->end_at += n;
		if (data_end(d).n == 0)
			d->stage = STAGE_DONE;
		return;
	}
	if (d->bol && !d->dotted && d->run.p[0] == '.') {
		d->dotted = true;
		return;
	}
	d->last = d->run.p[n - 1];
	d->bol = d->last == '\n';
	d->dotted = false;
	d->run = slice_sub(d->run, n, d->run.n);
}

bool
client_data_done(const struct client_data *d)
{
	return d->stage == STAGE_DONE;
}
