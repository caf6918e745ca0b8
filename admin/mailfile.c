// SPDX-License-Identifier: Apache-2.0
#include "admin/mailfile.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crypto.h"

static const char from_word[] = "From ";
enum { FROM_LEN = sizeof(from_word) - 1, HASH_HEX = 32 };

static bool
plain(char c, size_t at)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c == '.' && at > 0) || (c != '\0' && strchr("+=@_-", c) != NULL);
}

void
mailfile_name(struct slice in, char out[MAILFILE_NAME_MAX])
{
	static const char hex[] = "0123456789ABCDEF";
	const size_t room = MAILFILE_NAME_MAX - 1 - 2 - HASH_HEX;
	uint8_t sum[32];
	size_t n = 0, cut = 0;

	/* An escape never stands half before the cut. */
	for (size_t i = 0; i < in.n && n <= MAILFILE_NAME_MAX; i++) {
		char piece[4] = { in.p[i], '\0' };
		size_t len = 1;
		if (!plain(in.p[i], i)) {
			piece[0] = '%';
			piece[1] = hex[(uint8_t)in.p[i] >> 4];
			piece[2] = hex[(uint8_t)in.p[i] & 15];
			len = 3;
		}
		if (n + len <= MAILFILE_NAME_MAX - 1)
			memcpy(out + n, piece, len);
		n += len;
		if (n <= room)
			cut = n;
	}
	if (n == 0)
		out[n++] = '%';		/* nothing else gives it */
	if (n <= MAILFILE_NAME_MAX - 1) {
		out[n] = '\0';
		return;
	}
	crypto_sha256(in, sum);
	memcpy(out + cut, "%~", 2);
	crypto_hex(sum, HASH_HEX / 2, out + cut + 2);
}

/* ---- writing ---- */

void
mailfile_begin(struct mailfile_out *o, int fd, bool lf, bool quote)
{
	o->fd = fd;
	o->lf = lf;
	o->quote = quote;
	o->bol = true;
	o->cr = false;
	o->gt = 0;
	o->from = 0;
	o->last = '\n';
	o->error = 0;
	o->bytes = 0;
	o->n = 0;
}

static void
flush(struct mailfile_out *o)
{
	size_t at = 0;

	while (at < o->n && o->error == 0) {
		ssize_t w = write(o->fd, o->b + at, o->n - at);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			o->error = w == 0 ? ENOSPC : errno;
		else
			at += (size_t)w;
	}
	o->bytes += at;
	o->n = 0;
}

void
mailfile_raw(struct mailfile_out *o, struct slice s)
{
	while (s.n > 0) {
		size_t n = MAILFILE_OUT - o->n < s.n ? MAILFILE_OUT - o->n : s.n;
		memcpy(o->b + o->n, s.p, n);
		o->n += n;
		s = slice_sub(s, n, s.n);
		if (o->n == MAILFILE_OUT)
			flush(o);
	}
}

static void
raw_char(struct mailfile_out *o, char c)
{
	o->b[o->n++] = c;
	if (o->n == MAILFILE_OUT)
		flush(o);
}

/* What was held back while it could still become a quoted line. */
static void
release(struct mailfile_out *o)
{
	for (; o->gt > 0; o->gt--)
		raw_char(o, '>');
	mailfile_raw(o, slice_make(from_word, o->from));
	o->from = 0;
	o->bol = false;
}

/* At the start of a line: true when `c` is held back. */
static bool
hold_back(struct mailfile_out *o, char c)
{
	if (c == '>' && o->from == 0) {
		o->gt++;
		return true;
	}
	if (c != from_word[o->from]) {
		release(o);
		return false;
	}
	if (++o->from == FROM_LEN) {
		raw_char(o, '>');
		release(o);
	}
	return true;
}

/* A CR is held back until it is known not to be half a CRLF. */
static void
put_char(struct mailfile_out *o, char c)
{
	if (o->cr) {
		o->cr = false;
		if (c != '\n') {
			if (o->quote && o->bol)
				release(o);
			raw_char(o, '\r');
		}
	}
	if (o->lf && c == '\r') {
		o->cr = true;
		return;
	}
	if (o->quote && o->bol && hold_back(o, c))
		return;
	raw_char(o, c);
	o->bol = c == '\n';
}

void
mailfile_put(struct mailfile_out *o, struct slice s)
{
	if (s.n == 0)
		return;
	o->last = s.p[s.n - 1];
	if (!o->lf && !o->quote) {
		mailfile_raw(o, s);
		return;
	}
	while (s.n > 0) {
		/* Inside a line nothing can happen before its end. */
		if (!o->cr && !(o->quote && o->bol)) {
			size_t lf = slice_find(s, '\n'), n = o->lf ? slice_find(slice_sub(s, 0, lf),
			    '\r') : lf;
			mailfile_raw(o, slice_sub(s, 0, n));
			if (n > 0)
				o->bol = false;
			s = slice_sub(s, n, s.n);
			if (s.n == 0)
				break;
		}
		put_char(o, s.p[0]);
		s = slice_sub(s, 1, s.n);
	}
}

int
mailfile_end(struct mailfile_out *o)
{
	release(o);
	if (o->cr)
		raw_char(o, '\r');
	o->cr = false;
	flush(o);
	errno = o->error;
	return o->error == 0 ? 0 : -1;
}

/* ---- a message ---- */

/* Of an address in a header field: what could end the line was never in one that we
 * accepted, but these bytes come from a disk. */
static int
put_address(struct buf *b, struct slice a)
{
	for (size_t i = 0; i < a.n; i++) {
		char c = (uint8_t)a.p[i] < 0x20 || a.p[i] == 0x7f ? '?' : a.p[i];
		if (buf_put(b, &c, 1) != 0)
			return -1;
	}
	return 0;
}

static bool
cuts_fit(struct slice list, size_t size)
{
	struct body_cut c;
	uint64_t at = 0, end;
	int r;

	while ((r = wire_item_next(&list, &body_cut_wire, &c)) == 1) {
		if (__builtin_add_overflow(c.off, c.len, &end) || c.off < at || end > size)
			return false;
		at = end;
	}
	return r == 0;
}

int
mailfile_make(struct mailfile *m, const struct spool_message *msg,
    const struct envelope_rcpt *rcpt, uint16_t rcpt_index, struct slice content,
    struct buf *block)
{
	char id[MSGID_TEXT + 1];

	msgid_print(msg->env.id, id);
	*m = (struct mailfile){ .received_ms = (int64_t)msg->env.received_ms,
	    .sender = msg->env.mail_from, .content = content, .cuts = msg->env.cuts };
	(void)snprintf(m->id, sizeof(m->id), "%s/%u", id, rcpt_index);
	/* The same on every run and host: it is how a second run knows what is there. */
	(void)snprintf(m->base, sizeof(m->base), "%lld.Q%s_%u.salvaposta",
	    (long long)(m->received_ms / 1000), id, rcpt_index);
	buf_clear(block);
	/* RFC 5321 4.4: the final delivery puts the return path on top. Below it what a
	 * replay sends (spec 11.1, 11.3), and the address that was meant, which only the
	 * envelope knew. */
	if (!cuts_fit(m->cuts, content.n) || buf_puts(block, "Return-Path: <") != 0 ||
	    put_address(block, m->sender) != 0 || buf_puts(block, ">\r\nX-Original-To: ") != 0 ||
	    put_address(block, rcpt->address) != 0 ||
	    buf_printf(block, "\r\nX-Fwd-Queue-Id: %s\r\n", m->id) != 0 ||
	    buf_put_slice(block, msg->env.trace) != 0)
		return -1;
	m->block = buf_slice(block);
	return 0;
}

void
mailfile_write(struct mailfile_out *o, const struct mailfile *m)
{
	struct slice list = m->cuts;
	struct body_cut c;
	uint64_t at = 0;

	mailfile_put(o, m->block);
	while (wire_item_next(&list, &body_cut_wire, &c) == 1) {
		mailfile_put(o, slice_sub(m->content, at, c.off));
		at = c.off + c.len;
	}
	mailfile_put(o, slice_sub(m->content, at, m->content.n));
}
