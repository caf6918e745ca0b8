// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/reply.h"

struct reply_case {
	const char	*in;
	enum reply_result res;
	unsigned	 code, lines;
	const char	*enhanced, *text;
};

static const struct reply_case cases[] = {
	{ "250 ok\r\n", REPLY_DONE, 250, 1, "", "ok" },
	{ "250\r\n", REPLY_DONE, 250, 1, "", "" },
	{ "250 \r\n", REPLY_DONE, 250, 1, "", "" },
	{ "250 ok\n", REPLY_DONE, 250, 1, "", "ok" },	/* lenient: a bare LF ends a line */
	{ "250-a\r\n250-b\r\n250 c\r\n", REPLY_DONE, 250, 3, "", "a\nb\nc" },
	{ "250-\r\n250\r\n", REPLY_DONE, 250, 2, "", "" },
	{ "550 5.1.1 unknown\r\n", REPLY_DONE, 550, 1, "5.1.1", "5.1.1 unknown" },
	{ "550-5.7.26 This\r\n550 5.7.26 mail\r\n", REPLY_DONE, 550, 2, "5.7.26",
	  "5.7.26 This\n5.7.26 mail" },
	{ "450 4.2.1\r\n", REPLY_DONE, 450, 1, "4.2.1", "4.2.1" },
	{ "421 4.7.0\tx\r\n", REPLY_DONE, 421, 1, "4.7.0", "4.7.0\tx" },
	{ "550 4.1.1 class of another\r\n", REPLY_DONE, 550, 1, "", "4.1.1 class of another" },
	{ "550 5.1.1.1 x\r\n", REPLY_DONE, 550, 1, "", "5.1.1.1 x" },
	{ "550 5.1000.1 x\r\n", REPLY_DONE, 550, 1, "", "5.1000.1 x" },
	{ "550 5..1 x\r\n", REPLY_DONE, 550, 1, "", "5..1 x" },
	{ "550 5.1.1x\r\n", REPLY_DONE, 550, 1, "", "5.1.1x" },
	{ "354 3.0.0 x\r\n", REPLY_DONE, 354, 1, "", "3.0.0 x" },
	{ "250-a\r\n251 b\r\n", REPLY_BAD, 0, 0, NULL, NULL },	/* which one is it? */
	{ "150 x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "600 x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "25 x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "2500 x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "250:x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ " 250 x\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "HTTP/1.1 400\r\n", REPLY_BAD, 0, 0, NULL, NULL },
	{ "250 ok", REPLY_MORE, 0, 0, NULL, NULL },
	{ "250-ok\r\n", REPLY_MORE, 0, 0, NULL, NULL },
};

static void
check(const struct reply_case *c, size_t step)
{
	struct reply *r = malloc(sizeof(*r));
	enum reply_result res = REPLY_MORE;
	struct slice in = slice_str(c->in);
	size_t at = 0, used;

	assert_non_null(r);
	reply_init(r);
	while (at < in.n && res == REPLY_MORE) {
		res = reply_feed(r, slice_sub(in, at, at + step), &used);
		at += used;
		assert_true(used > 0 || res != REPLY_MORE);
	}
	assert_int_equal(res, c->res);
	if (res == REPLY_DONE) {
		assert_int_equal(at, in.n);
		assert_int_equal(r->code, c->code);
		assert_int_equal(r->lines, c->lines);
		assert_string_equal(r->enhanced, c->enhanced);
		assert_true(slice_eq(reply_text(r), slice_str(c->text)));
	}
	free(r);
}

static void
test_table(void **state)
{
	size_t i, step;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (step = 1; step <= strlen(cases[i].in); step++)
			check(&cases[i], step);
}

static void
test_two_in_one(void **state)
{
	struct slice in = SLICE_LIT("250 a\r\n550 b\r\n");
	struct reply *r = malloc(sizeof(*r));
	size_t used;

	(void)state;
	assert_non_null(r);
	reply_init(r);
	assert_int_equal(reply_feed(r, in, &used), REPLY_DONE);
	assert_int_equal(used, 7);
	assert_int_equal(r->code, 250);
	assert_int_equal(reply_feed(r, slice_sub(in, used, in.n), &used), REPLY_DONE);
	assert_int_equal(r->code, 550);
	assert_true(slice_eq(reply_text(r), SLICE_LIT("b")));
	free(r);
}

/* Bounds: the line, the number of lines, the kept text. */
static void
test_bounds(void **state)
{
	static char big[REPLY_LINE_MAX * 2];
	struct reply *r = malloc(sizeof(*r));
	enum reply_result res;
	size_t used;
	int i;

	(void)state;
	assert_non_null(r);
	memset(big, 'x', sizeof(big));
	memcpy(big, "250 ", 4);
	reply_init(r);
	assert_int_equal(reply_feed(r, slice_make(big, REPLY_LINE_MAX), &used), REPLY_MORE);
	assert_int_equal(reply_feed(r, SLICE_LIT("\n"), &used), REPLY_DONE);
	assert_int_equal(reply_text(r).n, REPLY_LINE_MAX - 4);
	reply_init(r);
	assert_int_equal(reply_feed(r, slice_make(big, REPLY_LINE_MAX + 1), &used), REPLY_BAD);
	reply_init(r);
	for (i = 0, res = REPLY_MORE; res == REPLY_MORE && i < 10000; i++)
		res = reply_feed(r, SLICE_LIT("250-some words to fill the text with\r\n"), &used);
	assert_int_equal(res, REPLY_BAD);
	assert_int_equal(i, REPLY_LINES_MAX + 1);
	assert_true(reply_text(r).n <= REPLY_TEXT_MAX);
	free(r);
}

static void
test_printable(void **state)
{
	char out[8];

	(void)state;
	reply_printable(slice_make("a\nb\0\x80\x7f\033cdef", 11), out, sizeof(out));
	assert_string_equal(out, "a b????");
	reply_printable(SLICE_NONE, out, sizeof(out));
	assert_string_equal(out, "");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_two_in_one),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_printable),
	};

	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
