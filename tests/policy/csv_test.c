// SPDX-License-Identifier: Apache-2.0
/* RFC 4180 as a table, each text fed whole and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "policy/csv.h"

struct csv_case {
	const char	*name;
	const char	*text;
	const char	*want;	/* "line:[f|f]" per record, "line:!error" */
};

static const struct csv_case cases[] = {
	{ "lf", "a,b\nc,d\n", "1:[a|b]2:[c|d]" },
	{ "crlf", "a,b\r\nc,d\r\n", "1:[a|b]2:[c|d]" },
	{ "mixed ends", "a\r\nb\nc\r\n", "1:[a]2:[b]3:[c]" },
	{ "last line without end", "a,b\nc,d", "1:[a|b]2:[c|d]" },
	{ "empty text", "", "" },
	{ "only a mark", "\xef\xbb\xbf", "" },
	{ "mark", "\xef\xbb\xbf" "a,b\n", "1:[a|b]" },
	{ "mark before a quote", "\xef\xbb\xbf\"a\",b\n", "1:[a|b]" },
	{ "half a mark", "\xef\xbb", "1:!half a byte order mark" },
	{ "not a mark", "\xef\xbb" "a,b\n", "1:[\xef\xbb" "a|b]" },
	{ "a mark is only a mark at the start", "a\n\xef\xbb\xbf" "b\n", "1:[a]2:[\xef\xbb\xbf" "b]" },
	{ "empty fields", ",,\n", "1:[||]" },
	{ "empty last field", "a,\nb,", "1:[a|]2:[b|]" },
	{ "empty lines", "\n\na\n\r\n\nb\n", "3:[a]6:[b]" },
	{ "quoted", "\"a\",\"b c\"\n", "1:[a|b c]" },
	{ "quoted empty", "\"\",x\n", "1:[|x]" },
	{ "quoted alone", "\"\"\r\n", "1:[]" },
	{ "doubled quotes", "\"a\"\"b\",\"\"\"\"\n", "1:[a\"b|\"]" },
	{ "comma in quotes", "\"a,b\",c\n", "1:[a,b|c]" },
	{ "lines in quotes", "\"a\r\nb\nc\",d\ne\n", "1:[a\r\nb\nc|d]4:[e]" },
	{ "blanks are data", " a , b\n", "1:[ a | b]" },
	{ "text after quote", "\"a\"b,c\nd\n", "1:!text after a closing quote2:[d]" },
	{ "blank after quote", "\"a\" ,c\nd\n", "1:!text after a closing quote2:[d]" },
	{ "quote inside", "a\"b\",c\nd\n",
	  "1:!a quote inside a field that does not begin with one2:[d]" },
	{ "open quote", "x\n\"a,b\nc\n", "1:[x]2:!a quote is not closed at the end of the file" },
	{ "cr alone", "a\rb\nc\n", "1:!a CR without LF2:[c]" },
	{ "cr at the end", "a\r", "1:!a CR without LF" },
	{ "cr on an empty line", "\rb\nc\n", "1:!a CR without LF2:[c]" },
	{ "cr after quote", "\"a\"\rb\nc\n", "1:!a CR without LF2:[c]" },
};

static int
collect(void *arg, const struct csv_record *rec)
{
	struct buf *out = arg;

	assert_int_equal(buf_printf(out, "%llu:", (unsigned long long)rec->line), 0);
	if (rec->error != NULL) {
		assert_int_equal(rec->n, 0);
		assert_int_equal(buf_printf(out, "!%s", rec->error), 0);
		return 0;
	}
	for (size_t i = 0; i < rec->n; i++)
		assert_int_equal(buf_printf(out, "%s%.*s", i == 0 ? "[" : "|",
		    SLICE_FMT(rec->field[i])), 0);
	assert_int_equal(buf_puts(out, "]"), 0);
	return 0;
}

static void
run(const char *text, size_t n, size_t cut, struct buf *out)
{
	struct csv *c = csv_new(',', collect, out);

	buf_clear(out);
	assert_int_equal(csv_feed(c, slice_make(text, cut)), 0);
	assert_int_equal(csv_feed(c, slice_make(text + cut, n - cut)), 0);
	assert_int_equal(csv_end(c), 0);
	csv_free(&c);
	assert_null(c);
}

static void
test_table(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = strlen(cases[i].text);

		for (size_t cut = 0; cut <= n; cut++) {
			run(cases[i].text, n, cut, &out);
			if (!slice_eq(buf_slice(&out), slice_str(cases[i].want)))
				fail_msg("%s cut at %zu: %.*s", cases[i].name, cut,
				    SLICE_FMT(buf_slice(&out)));
		}
	}
	buf_fini(&out);
}

static void
test_nul(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	run("a\0b,c\nd\n", 8, 3, &out);
	assert_true(slice_eq(buf_slice(&out), SLICE_LIT("1:!a NUL byte2:[d]")));
	buf_fini(&out);
}

static int
last(void *arg, const struct csv_record *rec)
{
	struct csv_record *out = arg;

	*out = *rec;
	return 0;
}

/* One under, at and over each bound; the record after it is read again. */
static void
test_bounds(void **state)
{
	char *text = malloc(CSV_RECORD_MAX + 16);
	struct csv_record rec = { 0 };
	struct csv *c;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', CSV_RECORD_MAX + 16);
	for (size_t n = CSV_RECORD_MAX - 1; n <= CSV_RECORD_MAX + 1; n++) {
		c = csv_new(',', last, &rec);
		assert_int_equal(csv_feed(c, slice_make(text, n)), 0);
		assert_int_equal(csv_feed(c, SLICE_LIT("\n")), 0);
		assert_int_equal(rec.error == NULL, n <= CSV_RECORD_MAX);
		assert_int_equal(rec.n == 1 && rec.field[0].n == n, n <= CSV_RECORD_MAX);
		assert_int_equal(csv_feed(c, SLICE_LIT("a,b\n")), 0);
		assert_int_equal(rec.n, 2);
		csv_free(&c);
	}
	memset(text, ',', CSV_RECORD_MAX);
	for (size_t n = CSV_FIELDS_MAX - 2; n <= CSV_FIELDS_MAX; n++) {
		c = csv_new(',', last, &rec);
		assert_int_equal(csv_feed(c, slice_make(text, n)), 0);
		assert_int_equal(csv_feed(c, SLICE_LIT("\n")), 0);
		assert_int_equal(rec.n, n < CSV_FIELDS_MAX ? n + 1 : 0);
		assert_int_equal(rec.error == NULL, n < CSV_FIELDS_MAX);
		csv_free(&c);
	}
	free(text);
}

static int
stop(void *arg, const struct csv_record *rec)
{
	(void)rec;
	return ++*(int *)arg == 2 ? 7 : 0;
}

static void
test_stop(void **state)
{
	int n = 0;
	struct csv *c = csv_new(',', stop, &n);

	(void)state;
	assert_int_equal(csv_feed(c, SLICE_LIT("a\nb\nc\n")), 7);
	assert_int_equal(n, 2);
	csv_free(&c);
}

static void
test_separator(void **state)
{
	struct buf out;
	struct csv *c = csv_new(';', collect, &out);

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(csv_feed(c, SLICE_LIT("a,b;\"c;d\"\n")), 0);
	assert_true(slice_eq(buf_slice(&out), SLICE_LIT("1:[a,b|c;d]")));
	csv_free(&c);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_separator),
	};

	return cmocka_run_group_tests_name("policy/csv", tests, NULL, NULL);
}
