// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_lexer.h"

void
smtp_lexer_init(struct smtp_lexer *x)
{
	*x = (struct smtp_lexer){ 0 };
}

/*
 * A bad line is answered as soon as it is known to be bad and then dropped up to its
 * CRLF: what follows a bare LF is still that line and never a command of its own.
 * Each further bare LF in it is one more offence, so that an endless stream ends.
 */
static enum smtp_lexeme
smtp_lexer_skip(struct smtp_lexer *x, struct slice in, size_t *used)
{
	size_t lf = slice_find(in, '\n');

	if (lf == in.n) {
		/* A CR at the end may be half of the CRLF. */
		*used = in.n > 0 && in.p[in.n - 1] == '\r' ? in.n - 1 : in.n;
		return SMTP_LEX_MORE;
	}
	*used = lf + 1;
	if (lf == 0 || in.p[lf - 1] != '\r')
		return SMTP_LEX_LINE_BARE;
	x->skip = false;
	return SMTP_LEX_MORE;
}

enum smtp_lexeme
smtp_lexer_line(struct smtp_lexer *x, struct slice in, size_t *used, struct slice *out)
{
	const char *lf;
	size_t n;

	*used = 0;
	*out = SLICE_NONE;
	if (x->skip) {
		enum smtp_lexeme r = smtp_lexer_skip(x, in, used);

		if (r != SMTP_LEX_MORE || x->skip)
			return r;
		in = slice_sub(in, *used, in.n);
	}
	if (in.n <= x->scanned)
		return SMTP_LEX_MORE;
	n = in.n < SMTP_LINE_MAX ? in.n : SMTP_LINE_MAX;
	lf = memchr(in.p + x->scanned, '\n', n - x->scanned);
	if (lf == NULL && n < SMTP_LINE_MAX) {
		x->scanned = n;
		return SMTP_LEX_MORE;
	}
	x->scanned = 0;
	if (lf == NULL) {
		x->skip = true;
		/* The last byte may be the CR of its CRLF. */
		*used += in.p[n - 1] == '\r' ? n - 1 : n;
		*out = slice_make(in.p, n);
		return SMTP_LEX_LINE_LONG;
	}
	n = (size_t)(lf - in.p);
	*used += n + 1;
	*out = slice_make(in.p, n);
	if (n == 0 || in.p[n - 1] != '\r') {
		x->skip = true;
		return SMTP_LEX_LINE_BARE;
	}
	if (memchr(in.p, '\r', n - 1) != NULL)
		return SMTP_LEX_LINE_BARE;
	if (memchr(in.p, '\0', n - 1) != NULL)
		return SMTP_LEX_LINE_NUL;
	*out = slice_make(in.p, n - 1);
	return SMTP_LEX_LINE;
}

void
smtp_lexer_begin(struct smtp_lexer *x, uint64_t header_max)
{
	*x = (struct smtp_lexer){
		.header_max = header_max, .bol = true, .in_header = true
	};
}

/* `n` more bytes of the present line were read, all but its line end. */
static void
smtp_lexer_count(struct smtp_lexer *x, const char *p, size_t n)
{
	x->line += n;
	if (x->line > SMTP_TEXT_MAX)
		x->faults |= SMTP_FAULT_LONG;
	if (!x->in_header)
		return;
	x->header += n;
	if (x->header > x->header_max)
		x->faults |= SMTP_FAULT_HEADER;
	if (n > 0 && memchr(p, '\0', n) != NULL)
		x->faults |= SMTP_FAULT_HEADER_NUL;
}

static void
smtp_lexer_eol(struct smtp_lexer *x)
{
	if (x->line == 0)
		x->in_header = false;
	if (x->in_header)
		x->header += 2;
	if (x->in_header && x->header > x->header_max)
		x->faults |= SMTP_FAULT_HEADER;
	x->line = 0;
}

enum smtp_dot { DOT_NONE, DOT_WAIT, DOT_STUFFED, DOT_END };

/* What a dot at the start of a line is (RFC 5321 4.5.2). */
static enum smtp_dot
smtp_lexer_dot(struct slice in, size_t i)
{
	if (i == in.n || in.p[i] != '.')
		return DOT_NONE;
	if (in.n - i < 2)
		return DOT_WAIT;
	if (in.p[i + 1] != '\r')
		return DOT_STUFFED;
	if (in.n - i < 3)
		return DOT_WAIT;
	return in.p[i + 2] == '\n' ? DOT_END : DOT_STUFFED;
}

/* How far plain lines reach from `i`; stops before a byte that is not kept as it is:
 * a bare CR or LF, a CR whose next byte is not here yet, or a dot at a line start. */
static size_t
smtp_lexer_plain(struct smtp_lexer *x, struct slice in, size_t i)
{
	while (i < in.n) {
		const char *lf, *cr;
		size_t end;

		if (x->bol && in.p[i] == '.' && !x->counted)
			break;
		lf = memchr(in.p + i, '\n', in.n - i);
		end = lf == NULL ? in.n : (size_t)(lf - in.p);
		cr = memchr(in.p + i, '\r', end - i);
		if (cr != NULL)
			end = (size_t)(cr - in.p);
		if (end > i)
			x->bol = false;
		smtp_lexer_count(x, in.p + i, end - i);
		i = end;
		if (cr == NULL || i + 1 == in.n || in.p[i + 1] != '\n')
			break;
		smtp_lexer_eol(x);
		x->bol = true;
		i += 2;
	}
	return i;
}

static struct slice
smtp_lexer_bare_cr(struct smtp_lexer *x)
{
	x->faults |= SMTP_FAULT_BARE;
	x->bol = false;
	smtp_lexer_count(x, " ", 1);
	return SLICE_LIT(" ");
}

/* A run of plain bytes from `start` on, or the one odd byte there as it is kept. */
static enum smtp_lexeme
smtp_lexer_run(struct smtp_lexer *x, struct slice in, size_t start, size_t *used,
    struct slice *out)
{
	size_t end = smtp_lexer_plain(x, in, start);

	*used = end;
	if (end > start) {
		*out = slice_sub(in, start, end);
		return SMTP_LEX_DATA;
	}
	if (end == in.n)
		return SMTP_LEX_MORE;
	if (in.p[end] == '\r') {
		if (end + 1 == in.n)
			return SMTP_LEX_MORE;
		/* A bare CR (a CRLF would have been part of the run). */
		*used = end + 1;
		*out = smtp_lexer_bare_cr(x);
		return SMTP_LEX_DATA;
	}
	/* A bare LF. The line after it was not begun by CRLF: no dot there is special, so
	 * LF . CR LF ends nothing. */
	x->faults |= SMTP_FAULT_BARE;
	*used = end + 1;
	x->bol = false;
	smtp_lexer_eol(x);
	*out = SLICE_LIT("\r\n");
	return SMTP_LEX_DATA;
}

enum smtp_lexeme
smtp_lexer_data(struct smtp_lexer *x, struct slice in, size_t *used, struct slice *out)
{
	size_t start = 0;

	*used = 0;
	*out = SLICE_NONE;
	if (x->bol) {
		switch (smtp_lexer_dot(in, 0)) {
		case DOT_NONE:
			break;
		case DOT_WAIT:
			return SMTP_LEX_MORE;
		case DOT_END:
			*used = 3;
			return SMTP_LEX_END;
		case DOT_STUFFED:
			start = 1;
			x->bol = false;
			break;
		}
	}
	return smtp_lexer_run(x, in, start, used, out);
}

enum smtp_lexeme
smtp_lexer_octets(struct smtp_lexer *x, struct slice in, bool ends, size_t *used,
    struct slice *out)
{
	enum smtp_lexeme r;

	x->counted = true;
	*used = 0;
	*out = SLICE_NONE;
	if (in.n == 0)
		return SMTP_LEX_MORE;
	if (x->cr) {
		x->cr = false;
		if (in.p[0] == '\n') {
			smtp_lexer_eol(x);
			x->bol = true;
			*used = 1;
			*out = SLICE_LIT("\r\n");
			return SMTP_LEX_DATA;
		}
		*out = smtp_lexer_bare_cr(x);
		return SMTP_LEX_DATA;
	}
	r = smtp_lexer_run(x, in, 0, used, out);
	if (ends && *used + 1 == in.n && in.p[*used] == '\r') {
		x->cr = true;
		(*used)++;
	}
	return r;
}

struct slice
smtp_lexer_octets_end(struct smtp_lexer *x)
{
	if (!x->cr)
		return SLICE_NONE;
	x->cr = false;
	return smtp_lexer_bare_cr(x);
}
