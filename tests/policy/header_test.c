// SPDX-License-Identifier: Apache-2.0
/* The header walk: RFC 5322 2.2, spec 3.14; it must survive anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/header.h"

static const struct {
	const char	*text;
	size_t		 fields;
	size_t		 body;
	bool		 junk;
	const char	*first, *value;		/* of the first field */
} cases[] = {
	{ "", 0, 0, false, NULL, NULL },
	{ "\r\n", 0, 2, false, NULL, NULL },
	{ "\r\nbody", 0, 2, false, NULL, NULL },
	{ "body only", 0, 0, true, NULL, NULL },
	{ "A: b\r\n\r\nbody", 1, 8, false, "A", " b" },
	{ "A: b\r\n", 1, 6, false, "A", " b" },
	{ "A: b", 1, 4, false, "A", " b" },
	{ "A:\r\n\r\n", 1, 6, false, "A", "" },
	{ "A:", 1, 2, false, "A", "" },
	{ "A \t: b\r\n\r\n", 1, 10, false, "A", " b" },
	{ "A: b\r\n c\r\n\td\r\nB: e\r\n\r\nx", 2, 22, false, "A", " b\r\n c\r\n\td" },
	{ "A: b\r\n \r\n\r\nx", 1, 11, false, "A", " b\r\n " },
	{ "A: b\r\nnot a field\r\nB: c\r\n\r\n", 1, 6, true, "A", " b" },
	{ "A: b\r\n: c\r\n", 1, 6, true, "A", " b" },
	{ "From x Mon Jan 1 00:00:00\r\nA: b\r\n", 0, 0, true, NULL, NULL },
	{ " A: b\r\n", 0, 0, true, NULL, NULL },
	{ "A: b\rc\nd\r\nB: e\r\n\r\n", 2, 18, false, "A", " b\rc\nd" },
	{ "A\xc3\xa8: b\r\n", 0, 0, true, NULL, NULL },
	{ "A: \xc3\xa8\r\n\r\n", 1, 9, false, "A", " \xc3\xa8" },
	{ "A: b\r", 1, 5, false, "A", " b\r" },
	{ "A: b\r\n\r", 1, 6, true, "A", " b" },
};

static void
table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice msg = slice_str(cases[i].text);
		struct header_field f;
		struct header h;
		size_t n = 0, end = 0;

		header_start(&h, msg);
		while (header_next(&h, &f)) {
			if (n++ == 0) {
				assert_true(slice_eq(f.name, slice_str(cases[i].first)));
				assert_true(slice_eq(f.value, slice_str(cases[i].value)));
			}
			assert_int_equal(f.off, end);	/* the fields cover the header */
			end = f.off + f.raw.n;
		}
		assert_int_equal(n, cases[i].fields);
		assert_int_equal(h.body, cases[i].body);
		assert_int_equal(h.junk, cases[i].junk);
		assert_false(header_next(&h, &f));
	}
}

/* Every prefix of a message is walked without looking behind its end (ASan sees it). */
static void
prefixes(void **state)
{
	static const char text[] = "A: b\r\n c\r\nLong-Name : \r\n\r\nbody\r\n.\r\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = n == 0 ? NULL : test_malloc(n);
		struct header_field f;
		struct header h;

		if (n > 0)
			memcpy(copy, text, n);
		header_start(&h, slice_make(copy, n));
		while (header_next(&h, &f))
			assert_true(f.off + f.raw.n <= n);
		assert_true(h.body <= n);
		if (n > 0)
			test_free(copy);
	}
}

static void
names(void **state)
{
	struct header_field f;
	struct header h;

	(void)state;
	header_start(&h, SLICE_LIT("sUBJECT: x\r\n"));
	assert_true(header_next(&h, &f));
	assert_true(header_is(&f, "Subject"));
	assert_false(header_is(&f, "Subjec"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("policy/header", tests, NULL, NULL);
}
