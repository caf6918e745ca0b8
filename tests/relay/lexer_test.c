// SPDX-License-Identifier: Apache-2.0
/* The lexer: what a line is, where content ends (spec 3.6, 3.10, 3.11, 3.12), and that no
 * split of the bytes changes any of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "relay/smtp_lexer.h"

enum { OUT_MAX = 8 * 1024 * 1024 };

static unsigned seed;

static unsigned
next_random(void)
{
	seed = seed * 1103515245u + 12345u;
	return seed >> 16 & 0x7fff;
}

/* How many more bytes the next recv brings. */
static size_t
piece(int how, size_t left)
{
	size_t n = left;

	if (how == 1)
		n = 1;
	else if (how >= 2)
		n = 1 + next_random() % (how % 3 == 0 ? 7 : how % 3 == 1 ? 40 : 3000);
	return n < left ? n : left;
}

static void
note(struct buf *out, enum smtp_lexeme lex, struct slice s)
{
	static const char *const mark[] = {
		[SMTP_LEX_LINE] = "L:", [SMTP_LEX_LINE_BARE] = "bare",
		[SMTP_LEX_LINE_NUL] = "nul", [SMTP_LEX_LINE_LONG] = "long",
		[SMTP_LEX_DATA] = "", [SMTP_LEX_END] = "<END>",
	};

	assert_int_equal(buf_puts(out, mark[lex]), 0);
	if (lex != SMTP_LEX_LINE_BARE && lex != SMTP_LEX_LINE_NUL && lex != SMTP_LEX_LINE_LONG)
		assert_int_equal(buf_put_slice(out, s), 0);
	if (lex != SMTP_LEX_DATA)
		assert_int_equal(buf_puts(out, "|"), 0);
}

/* Feeds `in` in pieces the way a connection does: what is not used comes again. */
static void
feed(struct slice in, int how, bool data, uint64_t header_max, struct buf *out,
    unsigned *faults)
{
	struct smtp_lexer x;
	size_t have = 0, done = 0;

	smtp_lexer_init(&x);
	if (data)
		smtp_lexer_begin(&x, header_max);
	buf_clear(out);
	while (have < in.n) {
		have += piece(how, in.n - have);
		for (;;) {
			/* An exact copy, so that reading beyond it shows under ASan. */
			struct slice rest = slice_sub(in, done, have), s;
			char *copy = malloc(rest.n == 0 ? 1 : rest.n);
			enum smtp_lexeme lex;
			size_t used;

			assert_non_null(copy);
			memcpy(copy, rest.p, rest.n);
			lex = data ?
			    smtp_lexer_data(&x, slice_make(copy, rest.n), &used, &s) :
			    smtp_lexer_line(&x, slice_make(copy, rest.n), &used, &s);
			assert_true(used <= rest.n);
			if (lex != SMTP_LEX_MORE)
				note(out, lex, s);
			free(copy);
			done += used;
			if (lex == SMTP_LEX_MORE)
				break;
			if (lex == SMTP_LEX_END)
				goto end;
		}
	}
end:
	if (faults != NULL)
		*faults = x.faults;
	if (data && done < in.n)
		assert_int_equal(buf_printf(out, "+%zu", in.n - done), 0);
}

struct lex_case {
	const char	*why;
	struct slice	 in;
	const char	*out;
	size_t		 nout;
	unsigned	 faults;
};
#define CASE(why, in, out, f) { (why), { (in), sizeof(in) - 1 }, (out), sizeof(out) - 1, (f) }

static void
run_cases(const struct lex_case *t, size_t n, bool data)
{
	struct buf out;

	buf_init(&out, OUT_MAX);
	for (size_t i = 0; i < n; i++) {
		for (int how = 0; how < 40; how++) {
			unsigned faults = 0;

			seed = (unsigned)(how * 7919 + (int)i);
			feed(t[i].in, how, data, 4096, &out, &faults);
			if (buf_len(&out) != t[i].nout ||
			    memcmp(out.p + out.off, t[i].out, t[i].nout) != 0 ||
			    faults != t[i].faults)
				fail_msg("%s, split %d: \"%.*s\" faults %u", t[i].why, how,
				    SLICE_FMT(buf_slice(&out)), faults);
		}
	}
	buf_fini(&out);
}

static void
test_lines(void **state)
{
	static const struct lex_case t[] = {
		CASE("one command", "NOOP\r\n", "L:NOOP|", 0),
		CASE("an empty line", "\r\n", "L:|", 0),
		CASE("pipelined", "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
		    "L:MAIL FROM:<>|L:RCPT TO:<a@b>|L:DATA|", 0),
		CASE("an unfinished one", "NOOP\r\nQUI", "L:NOOP|", 0),
		CASE("a bare LF is no end, its line is dropped to the CRLF (3.10)",
		    "NOOP\nMAIL FROM:<>\r\nRSET\r\n", "bare|L:RSET|", 0),
		CASE("each further LF is another offence", "A\nB\nC\nD\r\nRSET\r\n",
		    "bare|bare|bare|L:RSET|", 0),
		CASE("a bare CR (3.10)", "NO\rOP\r\nRSET\r\n", "bare|L:RSET|", 0),
		CASE("CR CR LF", "NOOP\r\r\nRSET\r\n", "bare|L:RSET|", 0),
		CASE("LF alone, then a command", "\nNOOP\r\nRSET\r\n", "bare|L:RSET|", 0),
		CASE("a CR before the command", "\rNOOP\r\n", "bare|", 0),
		CASE("NUL (3.11)", "NO\0OP\r\nRSET\r\n", "nul|L:RSET|", 0),
		CASE("8-bit passes", "NOOP \xff\r\n", "L:NOOP \xff|", 0),
	};

	(void)state;
	run_cases(t, sizeof(t) / sizeof(t[0]), false);
}

static void
test_line_length(void **state)
{
	static const struct { size_t n; const char *out; } t[] = {
		{ SMTP_LINE_MAX - 2, "line" }, { SMTP_LINE_MAX - 1, "long|" },
		{ SMTP_LINE_MAX, "long|" }, { SMTP_LINE_MAX + 1, "long|" },
		{ 5 * SMTP_LINE_MAX, "long|" },
	};
	struct buf in, out;

	(void)state;
	buf_init(&in, OUT_MAX);
	buf_init(&out, OUT_MAX);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_clear(&in);
		for (size_t k = 0; k < t[i].n; k++)
			assert_int_equal(buf_put(&in, "x", 1), 0);
		assert_int_equal(buf_puts(&in, "\r\nRSET\r\n"), 0);
		for (int how = 0; how < 12; how++) {
			struct slice o;

			feed(buf_slice(&in), how, false, 0, &out, NULL);
			o = buf_slice(&out);
			assert_true(o.n > 7);
			assert_memory_equal(o.p + o.n - 7, "L:RSET|", 7);
			if (t[i].out[1] == 'i')
				assert_int_equal(o.n, 2 + t[i].n + 1 + 7);
			else
				assert_int_equal(o.n, 5 + 7);
		}
	}
	buf_fini(&in);
	buf_fini(&out);
}

static void
spec_3_6_and_3_10_content(void **state)
{
	static const struct lex_case t[] = {
		CASE("plain", "a\r\nb\r\n.\r\n", "a\r\nb\r\n<END>|", 0),
		CASE("empty message", ".\r\n", "<END>|", 0),
		CASE("what follows is not content", "a\r\n.\r\nQUIT\r\n", "a\r\n<END>|+6", 0),
		CASE("dots unstuffed once (3.6)", "..\r\n...\r\n.x\r\n.\r\n",
		    ".\r\n..\r\nx\r\n<END>|", 0),
		CASE("a dot inside a line", "a.\r\n.b.\r\na\r\n.\r\n", "a.\r\nb.\r\na\r\n<END>|",
		    0),
		CASE("LF . CRLF ends nothing (3.10)", "a\n.\r\nb\r\n.\r\n",
		    "a\r\n.\r\nb\r\n<END>|", SMTP_FAULT_BARE),
		CASE("CRLF . LF ends nothing", "a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("LF . LF ends nothing", "a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("CR . CR ends nothing", "a\r.\rb\r\n.\r\n", "a . b\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("CRLF . CR X ends nothing", "a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("CR . CRLF ends nothing", "a\r.\r\nb\r\n.\r\n", "a .\r\nb\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("CRLF . CR CRLF ends nothing", "a\r\n.\r\r\nb\r\n.\r\n",
		    "a\r\n \r\nb\r\n<END>|", SMTP_FAULT_BARE),
		CASE("CRLF . NUL CRLF ends nothing", "a\r\n\r\n.\0\r\nb\r\n.\r\n",
		    "a\r\n\r\n\0\r\nb\r\n<END>|", 0),
		CASE("CRLF . SP CRLF ends nothing", "a\r\n. \r\n.\r\n", "a\r\n \r\n<END>|", 0),
		CASE("CR LF LF", "a\r\n\nb\r\n.\r\n", "a\r\n\r\nb\r\n<END>|", SMTP_FAULT_BARE),
		CASE("bare CR, bare LF mended", "a\rb\nc\r\n.\r\n", "a b\r\nc\r\n<END>|",
		    SMTP_FAULT_BARE),
		CASE("NUL in the header (3.11)", "A: \0\r\n\r\nb\r\n.\r\n",
		    "A: \0\r\n\r\nb\r\n<END>|", SMTP_FAULT_HEADER_NUL),
		CASE("NUL in the body is kept (3.11)", "A: b\r\n\r\n\0\r\n.\r\n",
		    "A: b\r\n\r\n\0\r\n<END>|", 0),
		CASE("unfinished", "a\r\n.\r", "a\r\n+2", 0),
		CASE("8-bit", "\xc3\xa9\xff\r\n.\r\n", "\xc3\xa9\xff\r\n<END>|", 0),
	};

	(void)state;
	run_cases(t, sizeof(t) / sizeof(t[0]), true);
}

/* Every string of five of the dangerous bytes, between two lines: content ends once, where
 * CRLF.CRLF first is, and nothing bare is left in it. */
static void
test_smuggling(void **state)
{
	static const char set[] = { '\r', '\n', '.', 'x', '\0' };
	struct buf in, out;
	size_t total = 1;

	(void)state;
	buf_init(&in, OUT_MAX);
	buf_init(&out, OUT_MAX);
	for (int i = 0; i < 6; i++)
		total *= sizeof(set);
	for (size_t v = 0; v < total; v++) {
		size_t left = v, want;
		struct slice s, o;

		buf_clear(&in);
		assert_int_equal(buf_puts(&in, "a\r\n"), 0);
		for (int i = 0; i < 6; i++, left /= sizeof(set))
			assert_int_equal(buf_put(&in, &set[left % sizeof(set)], 1), 0);
		assert_int_equal(buf_puts(&in, "z\r\n.\r\n"), 0);
		s = buf_slice(&in);
		for (want = 5; memcmp(s.p + want - 5, "\r\n.\r\n", 5) != 0; want++)
			;
		seed = (unsigned)v;
		feed(s, (int)(v % 5), true, 4096, &out, NULL);
		o = buf_slice(&out);
		const char *end = memmem(o.p, o.n, "<END>|", 6);
		assert_non_null(end);
		size_t kept = (size_t)(end - o.p);
		char tail[32] = "";
		if (want < s.n)
			(void)snprintf(tail, sizeof(tail), "+%zu", s.n - want);
		assert_int_equal(o.n - kept - 6, strlen(tail));
		assert_memory_equal(end + 6, tail, strlen(tail));
		for (size_t i = 0; i < kept; i++) {
			if (o.p[i] == '\r')
				assert_true(i + 1 < kept && o.p[i + 1] == '\n');
			if (o.p[i] == '\n')
				assert_true(i > 0 && o.p[i - 1] == '\r');
		}
	}
	buf_fini(&in);
	buf_fini(&out);
}

static void
fill(struct buf *b, size_t n)
{
	char *p = buf_reserve(b, n);

	assert_non_null(p);
	memset(p, 'y', n);
	buf_commit(b, n);
}

static void
test_bounds(void **state)
{
	static const struct { size_t header, line; unsigned faults; } t[] = {
		{ 100, 100, 0 },
		{ 4094, 100, 0 },			/* with its CRLF 4096, the limit */
		{ 4095, 100, SMTP_FAULT_HEADER },
		{ 100, SMTP_TEXT_MAX, 0 },
		{ 100, SMTP_TEXT_MAX + 1, SMTP_FAULT_LONG },
		{ 100, 3 * SMTP_TEXT_MAX, SMTP_FAULT_LONG },
	};
	struct buf in, out;

	(void)state;
	buf_init(&in, OUT_MAX);
	buf_init(&out, OUT_MAX);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (int how = 0; how < 9; how++) {
			unsigned faults;

			if (how == 1)
				continue;	/* byte by byte copies are quadratic */
			buf_clear(&in);
			fill(&in, t[i].header);
			assert_int_equal(buf_puts(&in, "\r\n\r\n"), 0);
			fill(&in, t[i].line);
			assert_int_equal(buf_puts(&in, "\r\n.\r\n"), 0);
			seed = (unsigned)how;
			feed(buf_slice(&in), how, true, 4096, &out, &faults);
			if (faults != t[i].faults)
				fail_msg("row %zu split %d: faults %u", i, how, faults);
			assert_int_equal(buf_len(&out), buf_len(&in) - 3 + 6);
		}
	}
	buf_fini(&in);
	buf_fini(&out);
}

/* What is kept of counted octets, said plainly. */
static void
keep(struct buf *out, struct slice in)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n')
			assert_int_equal(buf_puts(out, "\r\n"), 0);
		else if (in.p[i] != '\r')
			assert_int_equal(buf_put(out, &in.p[i], 1), 0);
		else if (i + 1 == in.n || in.p[i + 1] != '\n')
			assert_int_equal(buf_put(out, " ", 1), 0);
	}
}

/* A message in chunks, each in pieces. */
static void
feed_chunks(struct slice in, struct buf *out, struct smtp_lexer *x)
{
	struct slice rest;

	smtp_lexer_init(x);
	smtp_lexer_begin(x, 4096);
	while (in.n > 0) {
		size_t chunk = next_random() % (in.n + 1), have = 0, done = 0;

		while (done < chunk) {
			struct slice s;
			size_t used;
			enum smtp_lexeme lex;

			have += next_random() % (chunk - have + 1);
			do {
				lex = smtp_lexer_octets(x, slice_sub(in, done, have),
				    have == chunk, &used, &s);
				done += used;
				assert_int_equal(buf_put_slice(out, s), 0);
			} while (lex != SMTP_LEX_MORE);
			if (have == chunk)
				assert_int_equal(done, chunk);
		}
		in = slice_sub(in, chunk, in.n);
	}
	rest = smtp_lexer_octets_end(x);
	assert_int_equal(buf_put_slice(out, rest), 0);
}

/* Spec 3.10: the rule of bare CR and LF on decoded octets, wherever the chunks are cut; dots
 * are nothing special (3.8). */
static void
spec_3_8_chunks(void **state)
{
	static const char set[] = { '\r', '\n', '.', 'x', '\0' };
	struct buf want, out;
	char in[7];

	(void)state;
	buf_init(&want, OUT_MAX);
	buf_init(&out, OUT_MAX);
	for (unsigned v = 0; v < 5 * 5 * 5 * 5 * 5 * 5 * 5; v++) {
		struct smtp_lexer x;
		unsigned left = v;

		for (size_t i = 0; i < sizeof(in); i++, left /= 5)
			in[i] = set[left % 5];
		buf_clear(&want);
		buf_clear(&out);
		keep(&want, slice_make(in, sizeof(in)));
		seed = v;
		feed_chunks(slice_make(in, sizeof(in)), &out, &x);
		if (!slice_eq(buf_slice(&want), buf_slice(&out)))
			fail_msg("case %u", v);
		assert_int_equal((x.faults & SMTP_FAULT_BARE) != 0,
		    !slice_eq(buf_slice(&out), slice_make(in, sizeof(in))));
	}
	buf_fini(&want);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(spec_3_6_and_3_10_content),
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(spec_3_8_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
