// SPDX-License-Identifier: Apache-2.0
/* RFC 2849 as a table, each text fed whole and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "policy/ldif.h"

static const char *const wanted[] = { "mail", NULL, "alias", "lang;x-a" };

#define NO_DN "!an entry must begin with dn: (of ldapsearch, take what it writes with -LLL)"
#define NO_FORM "!not \"attribute: value\"; a line that goes on begins with a space"
#define CHANGE "!a change record: export entries instead (ldapsearch -LLL, slapcat)"
#define URL "!a value from a URL (:<) is not fetched: write it out"
#define SPACE "!a line that begins with a space continues nothing"
#define BASE64 "!not base64 after '::'"
#define BYTE "!a byte beyond ASCII: such a value must be in base64 (attribute:: ...)"
#define INITIAL "!a value that begins with ':' or '<' must be in base64 (attribute:: ...)"
#define CUT "!the file ends within a line: was it cut?"

struct ldif_case {
	const char	*name;
	const char	*text;
	const char	*want;	/* "line:[attribute=value|...]" per entry, "line:!error" */
};

static const struct ldif_case cases[] = {
	{ "empty text", "", "" },
	{ "only lines", "\n\r\n\n", "" },
	{ "only a comment", "# nothing\n", "" },
	{ "only a version", "version: 1\n", "" },
	{ "one", "dn: a\nmail: x@y\n", "1:[0=x@y]" },
	{ "two", "dn: a\nmail: x\n\ndn: b\nalias: y\n", "1:[0=x]4:[2=y]" },
	{ "crlf", "dn: a\r\nmail: x\r\n\r\ndn: b\r\nmail: y\r\n\r\n", "1:[0=x]4:[0=y]" },
	{ "many empty lines", "\n\ndn: a\nmail: x\n\n\n\ndn: b\n", "3:[0=x]8:[]" },
	{ "version", "version: 1\ndn: a\nmail: x\n", "2:[0=x]" },
	{ "version and an empty line", "version: 1\n\ndn: a\nmail: x\n", "3:[0=x]" },
	{ "version after a comment", "# c\nversion:1\n\ndn: a\nmail: x\n", "4:[0=x]" },
	{ "another version", "version: 2\n\ndn: a\n", "1:!LDIF of a version that is not 13:[]" },
	{ "version later", "dn: a\n\nversion: 1\n\ndn: b\n", "1:[]3:" NO_DN "5:[]" },
	{ "comments", "# a\ndn: a\n# mail: no\n#\nmail: x\n", "2:[0=x]" },
	{ "comment goes on", "dn: a\n# mail: no\n  alias: no\nmail: x\n", "1:[0=x]" },
	{ "folded", "dn: a\nma\n il: x\n @y\nalias\n :\n  z\n", "1:[0=x@y|2=z]" },
	{ "folded with CRLF", "dn: a\r\nmail: x\r\n @y\r\n", "1:[0=x@y]" },
	{ "fold of nothing", "dn: a\nmail: x\n \nalias: z\n", "1:[0=x|2=z]" },
	{ "space is kept inside", "dn: a\nmail:   x y  z\n", "1:[0=x y  z]" },
	{ "no space", "dn:a\nmail:x\n", "1:[0=x]" },
	{ "no value", "dn:\nmail:\nalias: \n", "1:[0=|2=]" },
	{ "colon inside", "dn: a\nmail: x:y\n", "1:[0=x:y]" },
	{ "case", "DN: a\nMAIL: x\nLang;X-A: y\n", "1:[0=x|3=y]" },
	{ "options are another attribute", "dn: a\nmail;lang-it: x\nlang: y\n", "1:[]" },
	{ "again and again", "dn: a\nmail: x\nmail: y\n", "1:[0=x|0=y]" },
	{ "base64", "dn:: YQ==\nmail:: eEB5\nalias::eA==\n", "1:[0=x@y|2=x]" },
	{ "base64 folded", "dn: a\nmail:: eE\n B5\n", "1:[0=x@y]" },
	{ "base64 of two", "dn: a\nmail:: eHk=\n", "1:[0=xy]" },
	{ "base64 of nothing", "dn: a\nmail::\n", "1:[0=]" },
	{ "base64 of lines", "dn: a\nmail:: YQpiOiBj\n", "1:[0=a\nb: c]" },
	{ "an OID", "dn: a\n2.5.4.3: x\nmail: y\n", "1:[0=y]" },
	{ "others may be anything", "dn: a\nphoto:: !!!\nnote: \xc3\xa8\nmail: x\n", "1:[0=x]" },
	/* invalid */
	{ "no dn", "mail: x\n\ndn: b\nmail: y\n", "1:" NO_DN "3:[0=y]" },
	{ "the summary of ldapsearch", "dn: a\n\nsearch: 2\nresult: 0 Success\n", "1:[]3:" NO_DN },
	{ "two entries in one", "dn: a\nmail: x\ndn: b\nmail: y\n",
	  "3:!a second dn: the empty line between two entries is missing" },
	{ "changes", "dn: a\nchangetype: modify\nreplace: mail\nmail: x\n-\n\ndn: b\n",
	  "2:" CHANGE "7:[]" },
	{ "an added entry is one", "dn: a\nChangeType: add\nmail: x\n", "2:" CHANGE },
	{ "control", "dn: a\ncontrol: 1.2.3 true\nchangetype: delete\n", "2:" CHANGE },
	{ "dash", "dn: a\n-\n", "2:" NO_FORM },
	{ "url", "dn: a\nmail:< file:///etc/passwd\n", "2:" URL },
	{ "url of another attribute", "dn: a\nphoto:<file:///a\n", "2:" URL },
	{ "no colon", "dn: a\nmail\n\ndn: b\n", "2:" NO_FORM "4:[]" },
	{ "no name", "dn: a\n: x\n", "2:" NO_FORM },
	{ "space in the name", "dn: a\nmail : x\n", "2:" NO_FORM },
	{ "name beyond ASCII", "dn: a\nm\xc3\xa8il: x\n", "2:" NO_FORM },
	{ "byte order mark", "\xef\xbb\xbf" "dn: a\n", "1:" NO_FORM },
	{ "continues nothing", " x\ndn: a\n\ndn: b\n", "1:" SPACE "4:[]" },
	{ "continues an empty line", "dn: a\n\n mail: x\ndn: b\n", "1:[]3:" SPACE },
	{ "continues with CRLF", "\r\n x\r\ny\r\n\r\ndn: b\r\n", "2:" SPACE "5:[]" },
	{ "beyond ASCII", "dn: a\nmail: \xc3\xa8\n", "2:" BYTE },
	{ "begins with a colon", "dn: a\nmail: :x\n", "2:" INITIAL },
	{ "begins with <", "dn: a\nmail: <x@y>\n", "2:" INITIAL },
	{ "base64 too short", "dn: a\nmail:: eHk\n", "2:" BASE64 },
	{ "base64 all padding", "dn: a\nmail:: ====\n", "2:" BASE64 },
	{ "base64 padding inside", "dn: a\nmail:: eA==eHk=\n", "2:" BASE64 },
	{ "base64 with bits left", "dn: a\nmail:: eB==\n", "2:" BASE64 },
	{ "base64 with two bits left", "dn: a\nmail:: eHl=\n", "2:" BASE64 },
	{ "base64 with a space", "dn: a\nmail:: eA= =\n", "2:" BASE64 },
	{ "base64 with other signs", "dn: a\nmail:: e-_=\n", "2:" BASE64 },
	{ "base64 of NUL", "dn: a\nmail:: AA==\n", "2:!a NUL byte in a value in base64" },
	{ "cr alone", "dn: a\nma\ril: x\n\ndn: b\n", "2:!a CR without LF4:[]" },
	{ "cr alone first", "\rdn: a\n\ndn: b\n", "1:!a CR without LF3:[]" },
	{ "cut within a line", "dn: a\nmail: x@example.i", "2:" CUT },
	{ "cut within a name", "dn: a\nma", "2:" CUT },
	{ "cut within a dn", "dn: a\n\nd", "1:[]3:" CUT },
	{ "cut within base64", "dn: a\nmail:: eH", "2:" CUT },
	{ "cut within a fold", "dn: a\nmail: x\n ", "3:" CUT },
	{ "cut before the LF", "dn: a\nmail: x\r", "2:" CUT },
	{ "the first reason stays", "dn: a\nmail: \xc3\xa8\nmail:< x\n", "2:" BYTE },
};

static int
collect(void *arg, const struct ldif_entry *e)
{
	struct buf *out = arg;

	assert_int_equal(buf_printf(out, "%llu:", (unsigned long long)e->line), 0);
	if (e->error != NULL) {
		assert_int_equal(e->n, 0);
		assert_int_equal(buf_printf(out, "!%s", e->error), 0);
		return 0;
	}
	assert_int_equal(buf_puts(out, "["), 0);
	for (size_t i = 0; i < e->n; i++)
		assert_int_equal(buf_printf(out, "%s%u=%.*s", i == 0 ? "" : "|",
		    e->value[i].attribute, SLICE_FMT(e->value[i].text)), 0);
	assert_int_equal(buf_puts(out, "]"), 0);
	return 0;
}

static void
run(struct slice s, size_t cut, struct buf *out)
{
	struct ldif *l = ldif_new(wanted, 4, collect, out);

	buf_clear(out);
	assert_int_equal(ldif_feed(l, slice_sub(s, 0, cut)), 0);
	assert_int_equal(ldif_feed(l, slice_sub(s, cut, s.n)), 0);
	assert_int_equal(ldif_end(l), 0);
	ldif_free(&l);
	assert_null(l);
}

static void
test_cases(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 64 * 1024);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice s = slice_str(cases[i].text);

		for (size_t cut = 0; cut <= s.n; cut++) {
			run(s, cut, &out);
			if (!slice_eq(buf_slice(&out), slice_str(cases[i].want)))
				fail_msg("%s, cut at %zu: %.*s", cases[i].name, cut,
				    SLICE_FMT(buf_slice(&out)));
		}
	}
	run(slice_make("dn: a\nma\0il: x\n\ndn: b\n", 22), 3, &out);
	assert_true(slice_eq(buf_slice(&out), slice_str("2:!a NUL byte4:[]")));
	buf_fini(&out);
}

static void
put_times(struct buf *b, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_puts(b, text), 0);
}

/* What `n` times `unit` (and `tail`) in an entry gives; the entry behind it is read all the same. */
static void
check_bound(const char *head, const char *unit, size_t n, const char *tail, const char *error)
{
	struct buf in, out;

	buf_init(&in, 1024 * 1024);
	buf_init(&out, 1024 * 1024);
	put_times(&in, "dn: a\n", 1);
	put_times(&in, head, 1);
	put_times(&in, unit, n);
	put_times(&in, tail, 1);
	put_times(&in, "\n\ndn: b\nmail: y\n", 1);
	run(buf_slice(&in), 10, &out);
	if (error == NULL)
		assert_true(slice_find(buf_slice(&out), '!') == buf_len(&out));
	else if (!slice_istarts(buf_slice(&out), slice_str(error)))
		fail_msg("%.100s", buf_slice(&out).p);
	assert_true(slice_eq(slice_sub(buf_slice(&out), buf_len(&out) - 5, buf_len(&out)),
	    SLICE_LIT("[0=y]")));
	buf_fini(&in);
	buf_fini(&out);
}

/* Each bound at its last good value and one beyond. */
static void
test_bounds(void **state)
{
	static const char line[] = "2:!a value longer than 64 KiB";
	static const char text[] = "3:!more than 64 KiB of values in one entry";

	(void)state;
	check_bound("mail: ", "x", LDIF_LINE_MAX - 6, "", NULL);
	check_bound("mail: ", "x", LDIF_LINE_MAX - 5, "", line);
	check_bound("photo: ", "x", LDIF_LINE_MAX, "", NULL);
	check_bound("mail: ", "x", LDIF_LINE_MAX - 6, "\nmail: abcdef", NULL);
	check_bound("mail: ", "x", LDIF_LINE_MAX - 6, "\nmail: abcdefg", text);
	check_bound("", "mail: x\n", LDIF_VALUES_MAX, "x: y", NULL);
	check_bound("", "mail: x\n", LDIF_VALUES_MAX + 1, "x: y",
	    "258:!more than 256 values in one entry");
}

static int
stop(void *arg, const struct ldif_entry *e)
{
	(void)e;
	(*(int *)arg)++;
	return 7;
}

static void
test_the_callback_stops_it(void **state)
{
	int calls = 0;
	struct ldif *l = ldif_new(wanted, 4, stop, &calls);

	(void)state;
	assert_int_equal(ldif_feed(l, slice_str("dn: a\n\ndn: b\n\n")), 7);
	assert_int_equal(calls, 1);
	ldif_free(&l);
	l = ldif_new(wanted, 4, stop, &calls);
	assert_int_equal(ldif_feed(l, slice_str("dn: a\n")), 0);
	assert_int_equal(ldif_end(l), 7);
	ldif_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_the_callback_stops_it),
	};

	return cmocka_run_group_tests_name("policy/ldif", tests, NULL, NULL);
}
