// SPDX-License-Identifier: Apache-2.0
/*
 * The lexer under libFuzzer. The first byte chooses the mode and a seed of splits; the rest
 * is fed whole and in pieces, and both must agree. Content that comes out holds no bare CR
 * or LF, and a reference (the plainest way to find the end) must agree on where it ends.
 *
 *	clang -fsanitize=fuzzer,address,undefined ... tests/fuzz/smtp_lexer_fuzz.c
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "relay/smtp_lexer.h"

enum { HEADER_MAX = 64, OUT_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	struct buf	out;
	size_t		used;
	unsigned	faults;
	bool		ended;
};

static void
run(struct outcome *o, struct slice in, bool content, unsigned seed)
{
	struct smtp_lexer x;
	size_t have = seed == 0 ? in.n : 0;

	buf_init(&o->out, OUT_MAX);
	o->used = 0;
	o->ended = false;
	smtp_lexer_init(&x);
	if (content)
		smtp_lexer_begin(&x, HEADER_MAX);
	for (;;) {
		struct slice s, rest = slice_sub(in, o->used, have);
		size_t used;
		enum smtp_lexeme lex = content ? smtp_lexer_data(&x, rest, &used, &s) :
		    smtp_lexer_line(&x, rest, &used, &s);

		CHECK(used <= rest.n);
		o->used += used;
		if (lex == SMTP_LEX_MORE) {
			if (have == in.n)
				break;
			seed = seed * 1103515245u + 12345u;
			have += 1 + (seed >> 16) % 64;
			have = have < in.n ? have : in.n;
			continue;
		}
		if (lex == SMTP_LEX_END) {
			o->ended = true;
			break;
		}
		if (lex != SMTP_LEX_DATA)
			CHECK(buf_printf(&o->out, "\n%d:", (int)lex) == 0);
		CHECK(buf_put_slice(&o->out, s) == 0);
	}
	o->faults = x.faults;
}

static void
check_kept(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			CHECK(i > 0 && s.p[i - 1] == '\r');
		if (s.p[i] == '\r')
			CHECK(i + 1 < s.n && s.p[i + 1] == '\n');
	}
}

static void
check_content(struct slice in, const struct outcome *o)
{
	static const char end[] = "\r\n.\r\n";
	struct slice s = buf_slice(&o->out);
	const char *p = in.n >= 3 && memcmp(in.p, end + 2, 3) == 0 ? in.p - 2 :
	    in.n == 0 ? NULL : memmem(in.p, in.n, end, 5);

	CHECK(o->ended == (p != NULL));
	if (p != NULL)
		CHECK(o->used == (size_t)(p + 5 - in.p));
	check_kept(s);
}

/* Content in chunks of one size, in pieces of another; the last byte of a chunk is used. */
static void
run_chunks(struct outcome *o, struct slice in, size_t chunk, unsigned seed)
{
	struct smtp_lexer x;

	buf_init(&o->out, OUT_MAX);
	smtp_lexer_init(&x);
	smtp_lexer_begin(&x, HEADER_MAX);
	while (in.n > 0) {
		size_t n = chunk < in.n ? chunk : in.n, have = 0, done = 0;

		while (done < n) {
			enum smtp_lexeme lex;
			struct slice s;
			size_t used;

			seed = seed * 1103515245u + 12345u;
			have += seed == 0 ? n : 1 + (seed >> 16) % 64;
			have = have < n ? have : n;
			do {
				lex = smtp_lexer_octets(&x, slice_sub(in, done, have),
				    have == n, &used, &s);
				done += used;
				CHECK(done <= have);
				CHECK(buf_put_slice(&o->out, s) == 0);
			} while (lex != SMTP_LEX_MORE);
			CHECK(have < n || done == n);
		}
		in = slice_sub(in, n, in.n);
	}
	CHECK(buf_put_slice(&o->out, smtp_lexer_octets_end(&x)) == 0);
	o->faults = x.faults;
	o->ended = false;
}

static void
fuzz_chunks(struct slice in, unsigned mode)
{
	struct outcome whole, split;

	run_chunks(&whole, in, in.n, 1);
	run_chunks(&split, in, 1 + mode / 4, mode | 1u);
	CHECK(slice_eq(buf_slice(&whole.out), buf_slice(&split.out)));
	CHECK(whole.faults == split.faults);
	check_kept(buf_slice(&whole.out));
	buf_fini(&whole.out);
	buf_fini(&split.out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, split;
	struct slice in;
	bool content;

	if (size == 0)
		return 0;
	in = slice_make(data + 1, size - 1);
	content = (data[0] & 1) != 0;
	if ((data[0] & 2) != 0 && content) {
		fuzz_chunks(in, data[0]);
		return 0;
	}
	run(&whole, in, content, 0);
	run(&split, in, content, data[0] | 1u);
	CHECK(slice_eq(buf_slice(&whole.out), buf_slice(&split.out)));
	CHECK(whole.ended == split.ended && whole.faults == split.faults);
	if (whole.ended)
		CHECK(whole.used == split.used);
	if (content)
		check_content(in, &whole);
	buf_fini(&whole.out);
	buf_fini(&split.out);
	return 0;
}
