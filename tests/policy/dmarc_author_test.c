// SPDX-License-Identifier: Apache-2.0
/* The author domain of a message (spec 6.1), plain, sloppy and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/dmarc_author.h"
#include "base/buf.h"

#define COUNT(t) (sizeof(t) / sizeof((t)[0]))

static void
author_of(struct dmarc_author *a, const char *header)
{
	struct header_field f;
	struct header h;

	dmarc_author_start(a);
	header_start(&h, slice_str(header));
	while (header_next(&h, &f))
		dmarc_author_field(a, &f);
}

#define ONE(d) DMARC_AUTHOR_ONE, d
#define NONE DMARC_AUTHOR_NONE, ""
#define SEVERAL DMARC_AUTHOR_SEVERAL, ""
#define BROKEN DMARC_AUTHOR_BROKEN, ""

static const struct {
	const char *from;
	enum dmarc_author_state state;
	const char *domain;
} authors[] = {
	{ "a@brand.example", ONE("brand.example") },
	{ " <a@brand.example>", ONE("brand.example") },
	{ "Brand <a@BRAND.Example>", ONE("brand.example") },
	{ "\"Brand, the\" <a@brand.example>", ONE("brand.example") },
	{ "Brand (the <one@evil.example>) <a@brand.example>", ONE("brand.example") },
	{ "a@brand.example (Brand)", ONE("brand.example") },
	{ "a.b.c@brand.example", ONE("brand.example") },
	{ "a..b.@brand.example", ONE("brand.example") },	/* some carriers have such */
	{ "\"a b\"@brand.example", ONE("brand.example") },
	{ "\"bank@bank.example\"@brand.example", ONE("brand.example") },
	{ "\"x\\\"@bank.example\"@brand.example", ONE("brand.example") },
	{ "\"a\".\"b\".c @ brand . example", ONE("brand.example") },
	{ "a@brand(comment).example", ONE("brand.example") },
	{ "a@(x(y)z)brand.example", ONE("brand.example") },
	{ "a@brand.example.", ONE("brand.example") },
	{ "a@localhost", ONE("localhost") },
	{ "a@caff\xc3\xa8.example", ONE("xn--caff-8oa.example") },
	{ "a@CAFF\xc3\x88.example", ONE("xn--caff-8oa.example") },
	{ "a@xn--caff-8oa.example", ONE("xn--caff-8oa.example") },
	{ "a@brand\xe3\x80\x82""example", ONE("brand.example") },	/* ideographic full stop */
	{ "Caff\xc3\xa8 <a@brand.example>", ONE("brand.example") },
	{ "Caff\xe8 <a@brand.example>", ONE("brand.example") },
	{ "=?utf-8?q?evil=40bank.example?= <a@brand.example>", ONE("brand.example") },
	{ "Brand\r\n <a@brand.example>", ONE("brand.example") },
	{ "Brand <a\r\n\t@\r\n brand.example>", ONE("brand.example") },
	/* several mailboxes, one domain */
	{ "a@brand.example, b@BRAND.example", ONE("brand.example") },
	{ "A <a@brand.example>,\r\n\tB <b@brand.example>,", ONE("brand.example") },
	{ ",, a@brand.example ,,", ONE("brand.example") },
	{ "a@caff\xc3\xa8.example, b@xn--caff-8oa.example", ONE("xn--caff-8oa.example") },
	/* groups, RFC 6854 */
	{ "Team: a@brand.example, B <b@brand.example>;", ONE("brand.example") },
	{ "Team: a@brand.example;, c@brand.example", ONE("brand.example") },
	{ "Team: a@brand.example", ONE("brand.example") },
	{ "Team:;, c@brand.example", ONE("brand.example") },
	{ "undisclosed:;", NONE },
	{ "Team: a@brand.example;, c@other.example", SEVERAL },
	/* habits that are not RFC 5322 and hide nothing */
	{ "J. R. Doe <a@brand.example>", ONE("brand.example") },
	{ "[JIRA] Doe <a@brand.example>", ONE("brand.example") },
	{ "Doe, John <a@brand.example>", ONE("brand.example") },
	{ "Team @ Brand <a@brand.example>", ONE("brand.example") },
	{ "Team @ brand.shop <a@brand.example>", ONE("brand.example") },
	{ "team@work <a@brand.example>", ONE("brand.example") },
	{ "@handle <a@brand.example>", ONE("brand.example") },
	{ "a@brand.example <a@brand.example>", ONE("brand.example") },
	/* two domains, however they are put there */
	{ "a@brand.example, b@other.example", SEVERAL },
	{ "a@brand.example, b@mail.brand.example", SEVERAL },
	{ "bank@bank.example <a@evil.example>", SEVERAL },
	{ "\"x\"@bank.example <a@evil.example>", SEVERAL },
	{ "x bank@bank.example x <a@evil.example>", SEVERAL },
	{ "bank(x)@(y)bank.example <a@evil.example>", SEVERAL },
	{ "bank@bank.example: a@evil.example;", SEVERAL },
	{ "a@brand.example, b@other.example, c@brand.example", SEVERAL },
	/* nothing there */
	{ "", NONE },
	{ " \r\n ", NONE },
	{ "(a@brand.example)", NONE },
	{ "\"a@brand.example\"", NONE },
	{ "Brand", NONE },
	{ ",", NONE },
	/* what nobody can read for sure is nobody's */
	{ "<>", BROKEN },
	{ "Brand <>", BROKEN },
	{ "<brand.example>", BROKEN },
	{ "@brand.example", BROKEN },
	{ "a@", BROKEN },
	{ "<a@>", BROKEN },
	{ "a@b@brand.example", BROKEN },
	{ "<evil@evil.example@bank.example>", BROKEN },
	{ "<a@brand.example", BROKEN },
	{ "a@brand.example>", BROKEN },
	{ "<<a@brand.example>>", BROKEN },
	{ "<a@brand.example> x", BROKEN },
	{ "<a@brand.example> <b@brand.example>", BROKEN },
	{ "Team: <a@brand.example> x;", BROKEN },
	{ "<@relay.example:a@brand.example>", BROKEN },
	{ "<a b@brand.example>", BROKEN },
	{ "John a@brand.example", BROKEN },
	{ "a@brand.example b@brand.example", BROKEN },
	{ "a@brand.example;b@brand.example", BROKEN },
	{ "Re: Team: a@brand.example;", BROKEN },
	{ "Team: a@brand.example; x", BROKEN },
	{ "a@[192.0.2.1]", BROKEN },
	{ "a@brand..example", BROKEN },
	{ "a@.example", BROKEN },
	{ "a@-brand.example", BROKEN },
	{ "a@br!and.example", BROKEN },
	{ "a@br\xff""and.example", BROKEN },
	{ "\"Brand <a@brand.example>", BROKEN },
	{ "\"Brand\\\" <a@brand.example>", BROKEN },
	{ "(Brand <a@brand.example>", BROKEN },
	{ "(Brand\\) <a@brand.example>", BROKEN },
	{ "Brand) <a@brand.example>", BROKEN },
	{ "Brand\\, x <a@brand.example>", BROKEN },
	{ "Brand\x01 <a@brand.example>", BROKEN },
	{ "Brand\x7f <a@brand.example>", BROKEN },
	{ "a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", BROKEN },
};

static void
author_6_1(void **state)
{
	struct dmarc_author a;
	char text[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(authors); i++) {
		snprintf(text, sizeof(text), "To: x@y.example\r\nFrom:%s\r\nX: y\r\n\r\nFrom: z@z\r\n",
		    authors[i].from);
		author_of(&a, text);
		if (a.state != authors[i].state || strcmp(a.domain, authors[i].domain) != 0)
			fail_msg("%s: %d %s", authors[i].from, a.state, a.domain);
		assert_int_equal(a.fields, 1);
		assert_int_equal(dmarc_author_why(&a)[0] == '\0', a.state == DMARC_AUTHOR_ONE);
	}
}

static void
author_fields_6_1(void **state)
{
	struct dmarc_author a;
	struct buf many;

	(void)state;
	author_of(&a, "To: x@y\r\n\r\n");
	assert_int_equal(a.state, DMARC_AUTHOR_NONE);
	assert_string_equal(dmarc_author_why(&a), "no From");
	author_of(&a, "From: a@brand.example\r\nfrom : a@brand.example\r\n\r\n");
	assert_int_equal(a.state, DMARC_AUTHOR_SEVERAL);
	assert_string_equal(a.domain, "");
	author_of(&a, "From: a@b@c\r\nFrom: a@brand.example\r\n\r\n");
	assert_int_equal(a.state, DMARC_AUTHOR_SEVERAL);
	author_of(&a, "Resent-From: a@other.example\r\nSender: b@other.example\r\n"
	    "From: a@brand.example");
	assert_string_equal(a.domain, "brand.example");

	/* a hostile number of mailboxes, and of '@' in a phrase */
	buf_init(&many, 1 << 20);
	assert_int_equal(buf_puts(&many, "From: "), 0);
	for (int i = 0; i < DMARC_AUTHOR_MAILBOXES; i++)
		assert_int_equal(buf_puts(&many, "a@brand.example,"), 0);
	assert_int_equal(buf_put(&many, "", 1), 0);
	author_of(&a, buf_slice(&many).p);
	assert_int_equal(a.state, DMARC_AUTHOR_ONE);
	many.n--;
	assert_int_equal(buf_put(&many, "a@brand.example", 16), 0);
	author_of(&a, buf_slice(&many).p);
	assert_int_equal(a.state, DMARC_AUTHOR_BROKEN);
	buf_clear(&many);
	assert_int_equal(buf_puts(&many, "From: "), 0);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_puts(&many, "a@\xc3\xa8.example "), 0);
	assert_int_equal(buf_put(&many, "<a@b.example>", 14), 0);
	author_of(&a, buf_slice(&many).p);
	assert_int_equal(a.state, DMARC_AUTHOR_BROKEN);
	buf_fini(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(author_6_1),
		cmocka_unit_test(author_fields_6_1),
	};

	return cmocka_run_group_tests_name("policy/dmarc_author", tests, NULL, NULL);
}
