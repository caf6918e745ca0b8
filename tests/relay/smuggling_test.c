// SPDX-License-Identifier: Apache-2.0
/*
 * Spec 3.10, every case: all strings of up to six bytes out of CR, LF, dot and NUL, within a
 * line and at its start, cut at every place, come in by DATA and by BDAT and go out again.
 * One message stays one, ends where CRLF.CRLF is and nowhere else, and nothing bare leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "relay/smtp_client_data.h"
#include "relay/smtp_lexer.h"

enum { LONGEST = 6, HEADER_MAX = 1000 };

static const char alphabet[] = { '\r', '\n', '.', '\0' };
static const char *const starts[] = { "H: v\r\n\r\nb", "H: v\r\n\r\nb\r\n", "H: v\r\n\r\n" };
#define EVIL	"x\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<u@y>\r\nDATA\r\nevil\r\n.\r\n"

struct attempt {
	char	b[256];
	size_t	n, from, to;	/* the string at hand is b[from..to) */
};

/* Calls fn for each of them; how many there were. */
static unsigned
each(void (*fn)(const struct attempt *a))
{
	unsigned count = 0;

	for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (unsigned len = 1; len <= LONGEST; len++) {
			for (unsigned v = 0; v < 1u << 2 * len; v++, count++) {
				struct attempt a = { .from = strlen(starts[s]) };

				memcpy(a.b, starts[s], a.from);
				a.to = a.from + len;
				for (unsigned i = 0; i < len; i++)
					a.b[a.from + i] = alphabet[v >> 2 * i & 3];
				memcpy(a.b + a.to, EVIL, sizeof(EVIL) - 1);
				a.n = a.to + sizeof(EVIL) - 1;
				fn(&a);
			}
		}
	}
	return count;
}

/* Where a server that goes by RFC 5321 4.1.1.4 sees the end: behind the first CRLF.CRLF. */
static size_t
end_of(const char *p, size_t n)
{
	const char *at = memmem(p, n, "\r\n.\r\n", 5);

	return at == NULL ? SIZE_MAX : (size_t)(at - p) + 5;
}

static void
nothing_bare(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			assert_true(i > 0 && s.p[i - 1] == '\r');
		if (s.p[i] == '\r')
			assert_true(i + 1 < s.n && s.p[i + 1] == '\n');
	}
}

/* What leaves for this content, and what a receiver makes of it. */
static void
goes_out_as_one(struct slice content)
{
	static const size_t pieces[] = { 1, 2, 5, 4096 };
	struct buf wire, back;

	buf_init(&wire, 4096);
	buf_init(&back, 4096);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct client_data d;
		struct slice s;
		bool bol = true;

		buf_clear(&wire);
		buf_clear(&back);
		assert_int_equal(client_data_init(&d, SLICE_LIT("T: 1\r\n"), content, SLICE_NONE,
		    SLICE_NONE), 0);
		while ((s = client_data_next(&d, pieces[i])).n > 0) {
			assert_int_equal(buf_put_slice(&wire, s), 0);
			client_data_sent(&d, s.n);
		}
		s = buf_slice(&wire);
		nothing_bare(s);
		assert_int_equal(end_of(s.p, s.n), s.n);
		for (size_t at = 0; at < s.n - 3; at++) {
			if (!(bol && s.p[at] == '.'))
				assert_int_equal(buf_put(&back, s.p + at, 1), 0);
			bol = s.p[at] == '\n';
		}
		s = buf_slice(&back);
		assert_memory_equal(s.p, "T: 1\r\n", 6);
		assert_true(s.n - 6 >= content.n);
		assert_memory_equal(s.p + 6, content.p, content.n);
	}
	buf_fini(&wire);
	buf_fini(&back);
}

/* The bytes of `in` into `out`, whole or up to the end of data; how many were used. */
static size_t
lex(struct smtp_lexer *x, struct slice in, struct buf *out, bool *end)
{
	size_t done = 0, used;
	struct slice run;
	enum smtp_lexeme l;

	do {
		l = smtp_lexer_data(x, slice_sub(in, done, in.n), &used, &run);
		done += used;
		if (l == SMTP_LEX_DATA)
			assert_int_equal(buf_put_slice(out, run), 0);
	} while (l == SMTP_LEX_DATA);
	*end = l == SMTP_LEX_END;
	return done;
}

static void
by_data(const struct attempt *a)
{
	size_t want = end_of(a->b, a->n);
	struct buf out;

	buf_init(&out, 4096);
	for (size_t cut = a->from; cut <= a->to + 1; cut++) {
		struct smtp_lexer x;
		bool end;

		buf_clear(&out);
		smtp_lexer_init(&x);
		smtp_lexer_begin(&x, HEADER_MAX);
		size_t used = lex(&x, slice_make(a->b, cut), &out, &end);
		if (!end)	/* what it left is offered again, with more */
			used += lex(&x, slice_make(a->b + used, a->n - used), &out, &end);
		assert_true(end);
		assert_int_equal(used, want);
		nothing_bare(buf_slice(&out));
		if (cut == a->from)
			goes_out_as_one(buf_slice(&out));
	}
	buf_fini(&out);
}

static void
octets(struct smtp_lexer *x, struct slice in, struct buf *out)
{
	size_t done = 0, used;
	struct slice run;

	while (smtp_lexer_octets(x, slice_sub(in, done, in.n), true, &used, &run) !=
	    SMTP_LEX_MORE) {
		done += used;
		assert_int_equal(buf_put_slice(out, run), 0);
	}
	assert_int_equal(done + used, in.n);
}

static void
by_bdat(const struct attempt *a)
{
	struct buf out, whole;

	buf_init(&out, 4096);
	buf_init(&whole, 4096);
	for (size_t cut = a->from; cut <= a->to; cut++) {
		struct smtp_lexer x;

		buf_clear(&out);
		smtp_lexer_init(&x);
		smtp_lexer_begin(&x, HEADER_MAX);
		octets(&x, slice_make(a->b, cut), &out);
		octets(&x, slice_make(a->b + cut, a->n - cut), &out);
		assert_int_equal(buf_put_slice(&out, smtp_lexer_octets_end(&x)), 0);
		nothing_bare(buf_slice(&out));
		assert_non_null(memmem(buf_slice(&out).p, buf_len(&out), "\r\nevil\r\n.\r\n", 11));
		if (cut == a->from) {
			assert_int_equal(buf_put_slice(&whole, buf_slice(&out)), 0);
			goes_out_as_one(buf_slice(&out));
		}
		/* Where the chunks are cut makes no difference. */
		assert_int_equal(buf_len(&out), buf_len(&whole));
		assert_memory_equal(buf_slice(&out).p, buf_slice(&whole).p, buf_len(&out));
	}
	buf_fini(&out);
	buf_fini(&whole);
}

static void
test_spec_3_10_every_case_by_data(void **state)
{
	(void)state;
	assert_int_equal(each(by_data), 3 * 5460);
}

static void
test_spec_3_10_every_case_by_bdat(void **state)
{
	(void)state;
	assert_int_equal(each(by_bdat), 3 * 5460);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_3_10_every_case_by_data),
		cmocka_unit_test(test_spec_3_10_every_case_by_bdat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
