// SPDX-License-Identifier: Apache-2.0
/* The milter protocol as bytes: frames in any pieces, and what a filter may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/milter_proto.h"

#define BYTES(s)	slice_make((s), sizeof(s) - 1)

static void
same(struct buf *b, struct slice want)
{
	struct slice got = buf_slice(b);

	assert_int_equal(got.n, want.n);
	assert_memory_equal(got.p, want.p, want.n);
	buf_clear(b);
}

static void
test_commands(void **state)
{
	struct milter_macros m;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(milter_put_optneg(&b), 0);
	same(&b, BYTES("\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff"));
	assert_int_equal(milter_put_connect(&b, SLICE_LIT("unknown"), SLICE_LIT("192.0.2.1")), 0);
	same(&b, BYTES("\0\0\0\x16" "Cunknown\0" "4\0\0" "192.0.2.1\0"));
	assert_int_equal(milter_put_connect(&b, SLICE_LIT("n"), SLICE_LIT("2001:db8::1")), 0);
	same(&b, BYTES("\0\0\0\x17" "Cn\0" "6\0\0IPv6:2001:db8::1\0"));
	assert_int_equal(milter_put_connect(&b, SLICE_LIT("n"), SLICE_LIT("no address")), 0);
	same(&b, BYTES("\0\0\0\4Cn\0U"));
	assert_int_equal(milter_put_path(&b, MILTER_MAIL, SLICE_NONE), 0);
	same(&b, BYTES("\0\0\0\4M<>\0"));
	milter_macros(&m, &b, MILTER_RCPT);
	milter_macro(&m, "{rcpt_addr}", SLICE_LIT("a@b"));
	assert_int_equal(milter_macros_end(&m), 0);
	same(&b, BYTES("\0\0\0\x12" "DR{rcpt_addr}\0a@b\0"));
	assert_int_equal(milter_put_header(&b, SLICE_LIT("Subject"), BYTES(" a\r\n\tb\0c"), false), 0);
	same(&b, BYTES("\0\0\0\x10LSubject\0a\n\tb c\0"));
	assert_int_equal(milter_put_header(&b, SLICE_LIT("S"), SLICE_LIT(" a"), true), 0);
	same(&b, BYTES("\0\0\0\6LS\0 a\0"));
	assert_int_equal(milter_put_text(&b, MILTER_HELO, SLICE_LIT("x")), 0);
	same(&b, BYTES("\0\0\0\3Hx\0"));
	buf_fini(&b);
}

/* A field of a megabyte is cut to what a frame holds; what does not fit leaves nothing. */
static void
test_bounds(void **state)
{
	size_t n = 1 << 20;
	char *big = malloc(n);
	struct buf b;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', n);
	buf_init(&b, 2 * MILTER_DATA_MAX);
	assert_int_equal(milter_put_header(&b, SLICE_LIT("X"), slice_make(big, n), false), 0);
	assert_int_equal(buf_len(&b), 5 + MILTER_DATA_MAX);
	buf_clear(&b);
	assert_int_equal(milter_put_text(&b, MILTER_HELO, slice_make(big, MILTER_DATA_MAX)), -1);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(milter_put(&b, MILTER_BODY, slice_make(big, MILTER_DATA_MAX)), 0);
	assert_int_equal(milter_put(&b, MILTER_BODY, slice_make(big, MILTER_DATA_MAX)), -1);
	assert_int_equal(buf_len(&b), 5 + MILTER_DATA_MAX);
	buf_fini(&b);
	free(big);
}

static void
test_frames_in_pieces(void **state)
{
	static const char in[] = "\0\0\0\1c" "\0\0\0\7hX\0yes\0" "\0\0\0\1p" "\0\0\0\5yabc\0";

	(void)state;
	for (size_t piece = 1; piece <= sizeof(in) - 1; piece++) {
		struct milter_reader r;
		struct milter_frame f;
		char seen[8] = "";
		size_t at = 0, n = 0, used;

		milter_reader_init(&r);
		while (at < sizeof(in) - 1) {
			struct slice s = slice_sub(BYTES(in), at, at + piece);
			enum milter_read rd = milter_reader_feed(&r, s, &used, &f);

			at += used;
			if (rd == MILTER_MORE) {
				assert_int_equal(used, s.n);
				continue;
			}
			assert_int_equal(rd, MILTER_FRAME);
			seen[n++] = (char)f.answer;
			if (f.answer == 'h')
				assert_memory_equal(f.data.p, "X\0yes", 6);
			assert_false(f.cut);
		}
		assert_string_equal(seen, "chpy");
		milter_reader_fini(&r);
	}
}

static void
test_frames_that_are_none(void **state)
{
	struct milter_reader r;
	struct milter_frame f;
	char *big = calloc(1, 100000);
	size_t used;

	(void)state;
	milter_reader_init(&r);
	assert_int_equal(milter_reader_feed(&r, BYTES("\0\0\0\0c"), &used, &f), MILTER_NONSENSE);
	milter_reader_init(&r);
	assert_int_equal(milter_reader_feed(&r, BYTES("HTTP/1.1 400"), &used, &f),
	    MILTER_NONSENSE);
	/* A new body is read to its end and not kept. */
	milter_reader_init(&r);
	memcpy(big, "\0\1\0\0b", 5);
	assert_int_equal(milter_reader_feed(&r, slice_make(big, 65540), &used, &f), MILTER_FRAME);
	assert_int_equal(used, 65540);
	assert_true(f.cut);
	assert_int_equal(f.data.n, MILTER_KEEP_MAX);
	milter_reader_fini(&r);
	free(big);
}

static void
test_answers(void **state)
{
	struct slice name, value;
	uint32_t steps;

	(void)state;
	assert_int_equal(milter_get_optneg(BYTES("\0\0\0\6\0\0\0\1\x10\0\0\3"), &steps), 0);
	assert_int_equal(steps, MILTER_NO_CONNECT | MILTER_NO_HELO);
	assert_int_equal(milter_get_optneg(BYTES("\0\0\0\7\0\0\0\1\0\0\0\0"), &steps), -1);
	assert_int_equal(milter_get_optneg(BYTES("\0\0\0\1\0\0\0\1\0\0\0\0"), &steps), -1);
	assert_int_equal(milter_get_optneg(BYTES("\0\0\0\6\0\0\0\1\0\0\0"), &steps), -1);
	assert_int_equal(milter_get_header(BYTES("X\0v\0"), false, &name, &value), 0);
	assert_true(slice_eq(name, SLICE_LIT("X")) && slice_eq(value, SLICE_LIT("v")));
	assert_int_equal(milter_get_header(BYTES("\0\0\0\1X\0\0"), true, &name, &value), 0);
	assert_true(slice_eq(name, SLICE_LIT("X")) && value.n == 0);
	assert_int_equal(milter_get_header(BYTES("\0\0\0\1"), true, &name, &value), -1);
	assert_int_equal(milter_get_header(BYTES("\0\0"), true, &name, &value), -1);
	assert_int_equal(milter_get_header(BYTES("X\0v"), false, &name, &value), -1);
	assert_int_equal(milter_get_header(BYTES("X"), false, &name, &value), -1);
	assert_int_equal(milter_get_header(BYTES("\0v\0"), false, &name, &value), -1);
	assert_int_equal(milter_get_header(SLICE_NONE, false, &name, &value), -1);
}

static void
test_reply_is_one_line(void **state)
{
	static const struct { const char *in, *out; } t[] = {
		{ "554 5.7.1 Gtube pattern", "554 5.7.1 Gtube pattern" },
		{ "450 4.7.0 50%% full", "450 4.7.0 50% full" },
		{ "550-5.7.1 one\r\n550 5.7.1 two", "550 5.7.1 one" },
		{ "550 no\r\n250 ok", "550 no" },
		{ "550 a\rb\x80\x7f", "550 a?b??" },
		{ "421 4.7.0 go", "451 4.7.0 go" },
		{ "550", "550 refused by a filter" },
		{ "250 2.0.0 fine", NULL }, { "55", NULL }, { "5x0 no", NULL }, { "", NULL },
		{ "5500 no", NULL }, { "354 go on", NULL },
	};
	char out[MILTER_REPLY_MAX], big[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int rc = milter_reply(slice_str(t[i].in), out);

		assert_int_equal(rc, t[i].out == NULL ? -1 : 0);
		if (rc == 0)
			assert_string_equal(out, t[i].out);
	}
	memset(big, 'x', sizeof(big));
	memcpy(big, "550 ", 4);
	assert_int_equal(milter_reply(slice_make(big, sizeof(big)), out), 0);
	assert_int_equal(strlen(out), MILTER_REPLY_MAX - 1);
}

/* 0.3, 3.1: nothing that could be taken for the author's, for ours, or be more than a field. */
static void
test_spec_3_1_fields(void **state)
{
	static const char *const good[] = { "X-Spam", "x-spamd-result", "X-Virus-Scanned" };
	static const char *const bad[] = { "Subject", "From", "Received", "DKIM-Signature",
		"Authentication-Results", "ARC-Seal", "Content-Type", "X-", "", "X", "X-Fwd-Loop",
		"x-salvaposta-canary", "X-A:B", "X-A B", "X-A\r\nFrom", "X-\x80",
		"X-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	static const struct { const char *in, *out; } t[] = {
		{ "Yes", "X-A: Yes\r\n" },
		{ "default: False [1.0 / 15.0];\n\tMIME(0.1)", "X-A: default: False [1.0 / 15.0]; MIME(0.1)\r\n" },
		{ "a\r\n\r\nFrom: evil", "X-A: a From: evil\r\n" },
		{ "a\r\nB: c", "X-A: a B: c\r\n" },
		{ "", "X-A: \r\n" }, { " \n ", "X-A: \r\n" },
		{ "caff\xc3\xa8\x7f", "X-A: caff???\r\n" },
		{ "123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789",
		  "X-A: 123456789 123456789 123456789 123456789 123456789 123456789 123456789\r\n"
		  "\t123456789\r\n" },
	};
	char word[2000];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(milter_field_allowed(slice_str(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(milter_field_allowed(slice_str(bad[i])));
	buf_init(&b, 4096);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(milter_put_field(&b, SLICE_LIT("X-A"), slice_str(t[i].in)), 0);
		same(&b, slice_str(t[i].out));
	}
	memset(word, 'x', sizeof(word));
	assert_int_equal(milter_put_field(&b, SLICE_LIT("X-A"), slice_make(word, 1200)), -1);
	assert_int_equal(buf_len(&b), 0);
	b.max = 20;
	assert_int_equal(milter_put_field(&b, SLICE_LIT("X-A"), slice_make(word, 30)), -1);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

static void
test_spec_6_9_says_spam(void **state)
{
	(void)state;
	assert_true(milter_field_spam(SLICE_LIT("X-Spam"), SLICE_LIT("Yes")));
	assert_true(milter_field_spam(SLICE_LIT("x-spam-flag"), SLICE_LIT(" YES")));
	assert_true(milter_field_spam(SLICE_LIT("X-Spam-Status"), SLICE_LIT("Yes, score=9")));
	assert_true(milter_field_spam(SLICE_LIT("X-Virus-Status"), SLICE_LIT("Infected (Eicar)")));
	assert_false(milter_field_spam(SLICE_LIT("X-Spam-Status"), SLICE_LIT("No, score=1")));
	assert_false(milter_field_spam(SLICE_LIT("X-Spam-Score"), SLICE_LIT("yes")));
	assert_false(milter_field_spam(SLICE_LIT("X-Virus-Status"), SLICE_LIT("Clean")));
}

static void
test_spec_6_5_says_clean(void **state)
{
	(void)state;
	assert_true(milter_field_clean(SLICE_LIT("X-Spam-Status"), SLICE_LIT("No, score=0.1")));
	assert_true(milter_field_clean(SLICE_LIT("X-SPAM-FLAG"), SLICE_LIT(" NO")));
	assert_false(milter_field_clean(SLICE_LIT("X-Spam-Status"), SLICE_LIT("Yes, score=9")));
	assert_false(milter_field_clean(SLICE_LIT("X-Spam-Status"), SLICE_LIT("not checked")));
	assert_false(milter_field_clean(SLICE_LIT("X-Virus-Status"), SLICE_LIT("No")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_frames_in_pieces),
		cmocka_unit_test(test_frames_that_are_none),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_reply_is_one_line),
		cmocka_unit_test(test_spec_3_1_fields),
		cmocka_unit_test(test_spec_6_9_says_spam),
		cmocka_unit_test(test_spec_6_5_says_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
