// SPDX-License-Identifier: Apache-2.0
/* Spec 12.3: the text of a notice to a user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "policy/notice_template.h"

static const struct notice_words words = {
	.address = SLICE_LIT("mario@example.it"), .brand = SLICE_LIT("Posta Esempio"),
	.domain = SLICE_LIT("example.it"), .since = SLICE_LIT("Sat, 28 Nov 2026 12:00:00 +0100"),
	.status_page = SLICE_LIT("status.example.it"),
};

static void
spec_12_3_what_a_template_may_hold(void **state)
{
	static const struct {
		const char	*text, *why;	/* the beginning; NULL: it is good */
		unsigned	 line;
	} cases[] = {
		{ "Subject: x\n\ny\n", NULL, 0 },
		{ "subject: x\r\n\r\ny", NULL, 0 },
		{ "Subject: {address} {brand}\n\n{domain} {since}\n\n{status-page}\n\tz\n", NULL, 0 },
		{ "Subject: perch\xc3\xa9\n\n\xe2\x82\xac \xf0\x9f\x98\x80\n", NULL, 0 },
		{ "", "is the end", 1 }, { "Subject: x\n", "is the end", 1 },
		{ "Subject: x\n\n \n\n", "is the end", 4 },
		{ "x\n\ny\n", "is not \"Subject", 1 }, { "Subject:\n\ny\n", "is not \"Subject", 1 },
		{ "Subject: {status-page}\n\ny\n", "has {status-page}", 1 },
		{ "Subject: x\ny\n", "is not empty", 2 },
		{ "Subject: x\n\nsee http://a.example\n", "has a link", 3 },
		{ "Subject: x\n\n\nWWW.a.example\n", "has a link", 4 },
		{ "Subject: x\n\nmailto:a\n", "has a link", 3 },
		{ "Subject: x\n\nwrite to help@a.example\n", "has a link", 3 },
		{ "Subject: x\n\n<FORM>\n", "has a link", 3 },
		{ "Subject: x\n\n<a b=c>\n", "has a link", 3 },
		{ "Subject: x\n\n{adress}\n", "has a brace", 3 },
		{ "Subject: x\n\n{address\n", "has a brace", 3 },
		{ "Subject: x\n\na }\n", "has a brace", 3 },
		{ "Subject: x\n\n{\n", "has a brace", 3 },
		{ "Subject: x\n\n\xff\n", "is not UTF-8", 3 },
		{ "Subject: x\n\n\xc3\n", "is not UTF-8", 3 },
		{ "Subject: x\n\n\xc0\xaf\n", "is not UTF-8", 3 },	/* overlong */
		{ "Subject: x\n\n\xe0\x80\xaf\n", "is not UTF-8", 3 },
		{ "Subject: x\n\n\xed\xa0\x80\n", "is not UTF-8", 3 },	/* surrogate */
		{ "Subject: x\n\n\xf4\x90\x80\x80\n", "is not UTF-8", 3 },
		{ "Subject: x\x07\n\ny\n", "has a control", 1 },
		{ "Subject: x\n\na\rb\n", "has a control", 3 },
	};
	unsigned line;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = notice_template_check(slice_str(cases[i].text), &line);

		print_message("%zu %s\n", i, why == NULL ? "" : why);
		if (cases[i].why == NULL) {
			assert_null(why);
			continue;
		}
		assert_non_null(why);
		assert_int_equal(strncmp(why, cases[i].why, strlen(cases[i].why)), 0);
		assert_int_equal(line, cases[i].line);
	}
}

static void
its_bounds(void **state)
{
	size_t n = NOTICE_TEMPLATE_MAX + 1;
	char *text = malloc(n);
	unsigned line;

	(void)state;
	memset(text, 'a', n);
	memcpy(text, "Subject: x\n\n", 12);
	assert_null(notice_template_check(slice_make(text, n - 1), &line));
	assert_non_null(notice_template_check(slice_make(text, n), &line));
	memset(text, 'a', n);
	memcpy(text, "Subject: ", 9);
	text[NOTICE_SUBJECT_MAX] = text[NOTICE_SUBJECT_MAX + 1] = '\n';
	assert_null(notice_template_check(slice_make(text, 1000), &line));
	text[NOTICE_SUBJECT_MAX] = 'a';
	text[NOTICE_SUBJECT_MAX + 2] = '\n';
	assert_non_null(notice_template_check(slice_make(text, 1000), &line));
	assert_int_equal(line, 1);
	free(text);
}

static void
filled(const char *text, const struct notice_words *w, const char *subject, const char *body)
{
	struct buf b;
	unsigned line;

	buf_init(&b, NOTICE_TEXT_MAX);
	assert_null(notice_template_check(slice_str(text), &line));
	assert_int_equal(notice_subject(slice_str(text), w, &b), 0);
	assert_true(slice_eq(buf_slice(&b), slice_str(subject)));
	buf_clear(&b);
	assert_int_equal(notice_text(slice_str(text), w, &b), 0);
	assert_true(slice_eq(buf_slice(&b), slice_str(body)));
	buf_fini(&b);
}

static void
names_are_filled_in(void **state)
{
	struct notice_words none = words;
	static const char text[] = "Subject:  Casella {address} \n\n{brand}{domain}\n"
	    "Stato: {status-page}.\n\nFine {since}";

	(void)state;
	filled(text, &words, "Casella mario@example.it", "Posta Esempioexample.it\r\n"
	    "Stato: status.example.it.\r\n\r\nFine Sat, 28 Nov 2026 12:00:00 +0100\r\n");
	none.status_page = SLICE_NONE;	/* the line is left out */
	filled(text, &none, "Casella mario@example.it", "Posta Esempioexample.it\r\n"
	    "\r\nFine Sat, 28 Nov 2026 12:00:00 +0100\r\n");
	none.brand = SLICE_LIT("{domain}");	/* what is filled in is not looked at again */
	filled("Subject: x\n\n{brand}\n", &none, "x", "{domain}\r\n");
}

static void
spec_12_3_the_built_in_texts(void **state)
{
	unsigned line;

	(void)state;
	for (int l = 0; l < NOTICE_LANGUAGES; l++) {
		struct slice t = notice_builtin((enum notice_language)l);
		struct buf b;

		assert_null(notice_template_check(t, &line));
		buf_init(&b, NOTICE_TEXT_MAX);
		assert_int_equal(notice_text(t, &words, &b), 0);
		assert_int_equal(slice_find(buf_slice(&b), '{'), buf_len(&b));
		buf_fini(&b);
	}
}

static void
languages(void **state)
{
	enum notice_language l = NOTICE_ENGLISH;

	(void)state;
	assert_int_equal(notice_language_parse(SLICE_LIT("it"), &l), 0);
	assert_int_equal(l, NOTICE_ITALIAN);
	assert_int_equal(notice_language_parse(SLICE_LIT("EN-GB"), &l), 0);
	assert_int_equal(l, NOTICE_ENGLISH);
	assert_int_equal(notice_language_parse(SLICE_LIT("it_IT"), &l), 0);
	assert_int_equal(notice_language_parse(SLICE_LIT("ita"), &l), -1);
	assert_int_equal(notice_language_parse(SLICE_LIT("i"), &l), -1);
	assert_int_equal(notice_language_parse(SLICE_LIT(""), &l), -1);
	assert_int_equal(notice_language_parse(SLICE_LIT("de"), &l), -1);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(spec_12_3_what_a_template_may_hold),
		cmocka_unit_test(its_bounds),
		cmocka_unit_test(names_are_filled_in),
		cmocka_unit_test(spec_12_3_the_built_in_texts),
		cmocka_unit_test(languages),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
