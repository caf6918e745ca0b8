// SPDX-License-Identifier: Apache-2.0
/* Structure of MIME messages, text in and out of headers, the first mailbox of a From. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/mailbox.h"
#include "policy/mime.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void
expect(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_str(want)))
		print_error("got  '%.*s'\nwant '%s'\n", SLICE_FMT(got), want);
	assert_true(slice_eq(got, slice_str(want)));
}

static void
types(void **state)
{
	static const struct {
		const char *header, *major, *minor, *encoding;
	} t[] = {
		{ "Content-Type: text/plain\r\n\r\n", "text", "plain", "" },
		{ "content-type:TEXT/Plain;x=y\r\n\r\n", "TEXT", "Plain", "" },
		{ "Content-Type: (a(b)\\)) multipart (c) / (d)\r\n\treport ; a=b\r\n\r\n",
		  "multipart", "report", "" },
		{ "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n", "text", "plain",
		  "" },
		{ "Content-Transfer-Encoding: (x) Base64 (y)\r\n\r\n", "", "", "Base64" },
		/* what is no type */
		{ "Content-Type: text\r\n\r\n", "", "", "" },
		{ "Content-Type: /plain\r\n\r\n", "", "", "" },
		{ "Content-Type: text/\r\n\r\n", "", "", "" },
		{ "Content-Type: (unclosed text/plain\r\n\r\n", "", "", "" },
		{ "Content-Type:\r\n\r\n", "", "", "" },
		{ "X: y\r\n\r\nContent-Type: text/plain\r\n", "", "", "" },
		{ "", "", "", "" },
	};
	struct mime_entity e;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		mime_read(&e, slice_str(t[i].header));
		expect(e.major, t[i].major);
		expect(e.minor, t[i].minor);
		expect(e.encoding, t[i].encoding);
	}
}

static void
parameters(void **state)
{
	static const struct {
		const char *params, *want;	/* of boundary; NULL: none */
	} t[] = {
		{ ";boundary=abc", "abc" },
		{ "; Boundary = \"a b\\\"c\\\\\"", "a b\"c\\" },
		{ ";x=y;\r\n\tboundary=abc;z", "abc" },
		{ "; x=\"; boundary=no\"; boundary=yes", "yes" },
		{ "; x=\"\\\"; boundary=no\"; boundary=yes", "yes" },
		{ ";(boundary=no) boundary (c) = (d) yes", "yes" },
		{ "; boundary=one; boundary=two", "one" },
		{ ";;; boundary=a", "a" },
		{ "; boundary=\"fol\r\n ded\"", "fol ded" },
		{ "; boundary=\"1234567890\"", "1234567890" },
		{ "; boundary=\"12345678901\"", NULL },		/* over cap */
		{ "; boundary=12345678901", NULL },
		{ "; boundary=\"unclosed", NULL },
		{ "; boundary=", NULL }, { "; boundary", NULL }, { "; xboundary=a", NULL },
		{ "", NULL }, { ";", NULL }, { "; boundary=\";\"", ";" },
		{ "; boundary=\"\"", "" },
	};
	char header[256], out[11];
	struct mime_entity e;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(header, sizeof(header), "Content-Type: a/b %s\r\n\r\n", t[i].params);
		mime_read(&e, slice_str(header));
		assert_int_equal(mime_param(&e, "boundary", out, sizeof(out)),
		    t[i].want == NULL ? -1 : 0);
		assert_string_equal(out, t[i].want == NULL ? "" : t[i].want);
	}
}

/* Parts joined with '|'; those that ended without a delimiter in front of '~'. */
static void
parts_of(const char *boundary, const char *body, char *out, size_t cap)
{
	char msg[1024];
	struct mime_entity e;
	struct mime_parts p;
	struct slice part;
	int n = 0;

	snprintf(msg, sizeof(msg), "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n%s",
	    boundary, body);
	mime_read(&e, slice_str(msg));
	out[0] = '\0';
	if (mime_parts_start(&p, &e) < 0) {
		snprintf(out, cap, "none");
		return;
	}
	while (mime_parts_next(&p, &part))
		n += snprintf(out + n, cap - (size_t)n, "%.*s%c", SLICE_FMT(part),
		    p.closed ? '|' : '~');
}

static void
parts(void **state)
{
	static const struct {
		const char *body, *want;
	} t[] = {
		{ "--b\r\none\r\n--b\r\ntwo\r\n--b--\r\nepilogue", "one|two|" },
		{ "preamble\r\n--b\r\none\r\n--b--", "one|" },
		{ "--b  \t\r\none\r\n--b-- \r\n", "one|" },
		{ "--b\r\none\r\n\r\n--b--", "one\r\n|" },	/* that CRLF is its own */
		{ "--b\r\n--b\r\nx\r\n--b--", "|x|" },
		{ "--b\r\none\r\n--bb\r\n--b-\r\n --b\r\nx--b\r\n--b--",
		  "one\r\n--bb\r\n--b-\r\n --b\r\nx--b|" },
		{ "--b\r\none", "one~" },
		{ "--b\r\none\r\n--b", "one|" },
		{ "--b\r\none\n--b--\r\n", "one\n--b--\r\n~" },	/* a bare LF ends no line */
		{ "--b--\r\nx\r\n--b\r\ny", "" },
		{ "--b\r\nx\r\n--b--\r\n--b\r\ny\r\n--b--", "x|" },
		{ "no delimiter", "" }, { "", "none" }, { "--b", "" }, { "--b\r\n", "" },
		{ "-", "" },
	};
	char out[512];

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		parts_of("b", t[i].body, out, sizeof(out));
		if (strcmp(out, t[i].want) != 0)
			print_error("'%s': '%s'\n", t[i].body, out);
		assert_string_equal(out, t[i].want);
	}
	/* space at its end is no part of it */
	parts_of("b ", "--b\r\nx\r\n--b--", out, sizeof(out));
	assert_string_equal(out, "x|");
	parts_of("", "--\r\nx\r\n----", out, sizeof(out));
	assert_string_equal(out, "none");
	parts_of(" ", "-- \r\nx", out, sizeof(out));
	assert_string_equal(out, "none");
}

static void
decoding(void **state)
{
	static const struct {
		const char *encoding, *body, *want;	/* NULL: not decodable */
	} t[] = {
		{ "base64", "Q2lh\r\nbw==\r\n", "Ciao" }, { "BASE64", "Q2lhbw==", "Ciao" },
		{ "base64", "Q2*h", NULL }, { "7bit", "x=41", "x=41" }, { "odd", "x=41", "x=41" },
		{ "quoted-printable", "a=3Db=\r\nc \r\n=E9=e9", "a=bc \r\n\xe9\xe9" },
		{ "quoted-printable", "a= \t\r\nb", "ab" }, { "quoted-printable", "a=", "a" },
		{ "quoted-printable", "a=4", "a=4" }, { "quoted-printable", "=zz=\n", "=zz=\n" },
	};
	char msg[256];
	struct mime_entity e;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		snprintf(msg, sizeof(msg), "Content-Transfer-Encoding: %s\r\n\r\n%s", t[i].encoding,
		    t[i].body);
		mime_read(&e, slice_str(msg));
		buf_init(&out, 256);
		assert_int_equal(mime_decode(&e, &out), t[i].want == NULL ? -1 : 0);
		if (t[i].want != NULL)
			expect(buf_slice(&out), t[i].want);
		buf_fini(&out);
	}
	mime_read(&e, SLICE_LIT("\r\n12345"));
	buf_init(&out, 4);
	assert_int_equal(mime_decode(&e, &out), -1);
	buf_fini(&out);
}

static void
plain_and_8bit(void **state)
{
	static char line[1001];

	(void)state;
	assert_true(mime_is_plain(SLICE_LIT("")));
	assert_true(mime_is_plain(SLICE_LIT("a\r\n\xe8\r\nb")));
	assert_false(mime_is_plain(SLICE_LIT("a\nb")));
	assert_false(mime_is_plain(SLICE_LIT("a\rb")));
	assert_false(mime_is_plain(SLICE_LIT("a\r")));
	assert_false(mime_is_plain(SLICE_LIT("a\0b")));
	memset(line, 'x', sizeof(line));
	assert_true(mime_is_plain(slice_make(line, 998)));
	assert_false(mime_is_plain(slice_make(line, 999)));
	memcpy(line + 500, "\r\n", 2);
	assert_true(mime_is_plain(slice_make(line, 1000)));
	assert_false(mime_has_8bit(SLICE_LIT("a\0\x7f")));
	assert_true(mime_has_8bit(SLICE_LIT("a\x80")));
	assert_false(mime_has_8bit(SLICE_NONE));
}

/* A message that knows what the boundary will be gets another one. */
static void
boundary_not_inside(void **state)
{
	char first[MIME_BOUNDARY_OURS + 1], second[MIME_BOUNDARY_OURS + 1], text[256];
	char third[MIME_BOUNDARY_OURS + 1];

	(void)state;
	mime_boundary(SLICE_LIT("seed"), SLICE_LIT("some content"), first);
	mime_boundary(SLICE_LIT("seed"), SLICE_NONE, second);
	assert_string_equal(first, second);
	snprintf(text, sizeof(text), "x\r\n--%s\r\n", first);
	mime_boundary(SLICE_LIT("seed"), slice_str(text), second);
	assert_string_not_equal(first, second);
	snprintf(text, sizeof(text), "x\r\n--%s\r\n--%s--", first, second);
	mime_boundary(SLICE_LIT("seed"), slice_str(text), third);
	assert_null(strstr(text, third));
	assert_true(strlen(first) <= 70 && strncmp(first, "=_", 2) == 0);
}

/* --- text --- */

static void
raw_text(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "Mario", "Mario" }, { "perch\xc3\xa9", "perch\xc3\xa9" },
		{ "perch\xe9 \x80", "perch\xc3\xa9 \xe2\x82\xac" },	/* windows-1252 */
		{ " a \t\r\n b\x01\x7f ", "a b" }, { "a\xc2\x85\xc2\xa0" "b", "a b" },
		{ "a\xe2\x80\xa8" "b", "a b" },
		/* reading order: U+202E, U+2066, U+200F, U+061C, U+FEFF */
		{ "a\xe2\x80\xae" "b\xe2\x81\xa6" "c\xe2\x80\x8f\xd8\x9c\xef\xbb\xbf" "d", "abcd" },
		/* not UTF-8: overlong, surrogate, too large, cut */
		{ "\xc0\xaf", "\xc3\x80\xc2\xaf" },
		{ "\xe0\x80\xaf", "\xc3\xa0\xe2\x82\xac\xc2\xaf" },
		{ "\xed\xa0\x80", "\xc3\xad \xe2\x82\xac" },
		{ "\xf4\x90\x80\x80", "\xc3\xb4\xef\xbf\xbd\xe2\x82\xac\xe2\x82\xac" },
		{ "\xe2\x82", "\xc3\xa2\xe2\x80\x9a" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" }, { "", "" }, { " ", "" },
	};
	struct mime_text text;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		mime_text_start(&text, MIME_TEXT_MAX);
		mime_text_raw(&text, slice_str(t[i].in));
		expect(mime_text_get(&text), t[i].want);
	}
	/* cut between characters, and nothing shorter slips in behind the cut */
	mime_text_start(&text, 4);
	mime_text_raw(&text, SLICE_LIT("abc\xc3\xa9" "d"));
	expect(mime_text_get(&text), "abc");
	assert_true(text.full);
	mime_text_start(&text, 0);
	mime_text_raw(&text, SLICE_LIT("a"));
	expect(mime_text_get(&text), "");
}

static void
encoded_words(void **state)
{
	static const struct {
		const char *in, *want;
		bool foreign;
	} t[] = {
		{ "=?utf-8?q?perch=C3=A9?=", "perch\xc3\xa9", false },
		{ "=?UTF-8*it?B?cGVyY2jDqQ==?= x", "perch\xc3\xa9 x", false },
		{ "=?iso-8859-1?Q?perch=e9?=", "perch\xc3\xa9", false },
		{ "=?ISO-8859-15?Q?=A4?=", "\xe2\x82\xac", false },
		{ "=?windows-1252?Q?=80?=", "\xe2\x82\xac", false },
		/* space between words goes, other space stays (RFC 2047 6.2) */
		{ "=?utf-8?q?a?= \r\n =?utf-8?q?b?= c", "ab c", false },
		{ "=?utf-8?q?a_b?=", "a b", false },
		/* a character split over two words */
		{ "=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9", false },
		{ "=?utf-8?B?TWFyaW8?=", "Mario", false },		/* no padding */
		{ "a=?utf-8?q?b?=c", "abc", false },		/* stuck to a word: shown anyway */
		{ "=?utf-8?q?a=0D=0Ab=00c?=", "a b c", false },	/* no line ends come out */
		/* of an unknown charset or broken: as written */
		{ "=?gb2312?B?1tC5+g==?=", "=?gb2312?B?1tC5+g==?=", true },
		{ "=?utf-8?q?a?= =?koi8-r?q?b?= =?utf-8?q?c?=", "a=?koi8-r?q?b?=c", true },
		{ "=?utf-8?B?*?=", "=?utf-8?B?*?=", true },
		{ "=?utf-8?x?a?=", "=?utf-8?x?a?=", false }, { "=?", "=?", false },
		{ "=?utf-8?q?a b?=", "=?utf-8?q?a b?=", false },
		{ "=?utf-8?q?a", "=?utf-8?q?a", false }, { "=?utf-8?q?a?", "=?utf-8?q?a?", false },
		{ "=??q?a?=", "=??q?a?=", false }, { "1=2", "1=2", false }, { "=", "=", false },
		{ "=?utf-8?q?" "?=", "", false },
	};
	struct mime_text text;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		mime_text_start(&text, MIME_TEXT_MAX);
		mime_text_words(&text, slice_str(t[i].in));
		expect(mime_text_get(&text), t[i].want);
		assert_int_equal(text.foreign, t[i].foreign);
	}
}

static void
into_headers(void **state)
{
	static const struct {
		const char *in, *phrase, *unstructured;
	} t[] = {
		{ "Mario", "\"Mario\"", "Mario" },
		{ "M \"x\" \\", "\"M \\\"x\\\" \\\\\"", "M \"x\" \\" },
		{ "perch\xc3\xa9?", "=?utf-8?Q?perch=C3=A9=3F?=", "=?utf-8?Q?perch=C3=A9=3F?=" },
		{ "=?utf-8?q?a?=", "=?utf-8?Q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=",
		  "=?utf-8?Q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=" },
		{ "a@b <c>\xc3\xa9", "=?utf-8?Q?a=40b_=3Cc=3E=C3=A9?=",
		  "=?utf-8?Q?a=40b_=3Cc=3E=C3=A9?=" },
		{ "", "\"\"", "" },
	};
	struct mime_text text;
	struct buf out;
	char long_text[300];

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		buf_init(&out, 1024);
		assert_int_equal(mime_put_phrase(&out, slice_str(t[i].in)), 0);
		expect(buf_slice(&out), t[i].phrase);
		buf_clear(&out);
		assert_int_equal(mime_put_unstructured(&out, slice_str(t[i].in)), 0);
		expect(buf_slice(&out), t[i].unstructured);
		buf_fini(&out);
	}
	/* long ones: no line over 76, no word over 75, and the same text comes back */
	for (size_t i = 0; i + 2 < sizeof(long_text); i += 3)
		memcpy(long_text + i, i % 2 == 0 ? "\xe2\x82\xac" : "a\xc3\xa9", 3);
	buf_init(&out, 4096);
	assert_int_equal(mime_put_phrase(&out, slice_make(long_text, sizeof(long_text))), 0);
	for (struct slice s = buf_slice(&out); s.n > 0; s = slice_sub(s, slice_find(s, '\n') + 1,
	    s.n))
		assert_true(slice_find(s, '\r') <= 76);
	mime_text_start(&text, MIME_TEXT_MAX);
	mime_text_words(&text, buf_slice(&out));
	assert_true(slice_eq(mime_text_get(&text), slice_make(long_text, sizeof(long_text))));
	buf_fini(&out);
	buf_init(&out, 5);
	assert_int_equal(mime_put_phrase(&out, SLICE_LIT("Mario")), -1);
	assert_int_equal(mime_put_unstructured(&out, SLICE_LIT("\xc3\xa9")), -1);
	buf_fini(&out);
}

/* Every octet survives, and nothing but 7-bit lines of 76 goes out. */
static void
quoted_printable(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "a=b", "a=3Db" }, { "a \r\nb\t", "a=20\r\nb=09" }, { "a\nb\rc", "a=0Ab=0Dc" },
		{ "\xc3\xa9", "=C3=A9" }, { "a b\r\n", "a b\r\n" }, { "", "" },
	};
	struct buf out, back;
	char all[2048];

	(void)state;
	buf_init(&out, 8192);
	buf_init(&back, 8192);
	for (size_t i = 0; i < N(t); i++) {
		buf_clear(&out);
		assert_int_equal(mime_put_qp(&out, slice_str(t[i].in)), 0);
		expect(buf_slice(&out), t[i].want);
	}
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)(i * 7 + i / 256);
	memcpy(all + 600, " \r\n\r\n\t\r\n", 8);
	buf_clear(&out);
	assert_int_equal(mime_put_qp(&out, slice_make(all, sizeof(all))), 0);
	assert_true(mime_is_plain(buf_slice(&out)) && !mime_has_8bit(buf_slice(&out)));
	for (struct slice s = buf_slice(&out); s.n > 0; s = slice_sub(s, slice_find(s, '\n') + 1,
	    s.n))
		assert_true(slice_find(s, '\r') <= 76);
	assert_int_equal(mime_unqp(&back, buf_slice(&out)), 0);
	assert_true(slice_eq(buf_slice(&back), slice_make(all, sizeof(all))));
	buf_fini(&out);
	buf_fini(&back);
}

static void
xtext(void **state)
{
	static const struct {
		const char *in, *want;	/* NULL: no xtext */
	} t[] = {
		{ "a+2Bb+3D", "a+b=" }, { "a+0D+0A", "a\r\n" }, { "", "" }, { "rfc822", "rfc822" },
		{ "a b", NULL }, { "a=b", NULL }, { "a+2", NULL }, { "a+", NULL }, { "a+zz", NULL },
		{ "\xe9", NULL }, { "a\x7f", NULL },
	};
	struct buf out;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		buf_init(&out, 64);
		assert_int_equal(mime_unxtext(&out, slice_str(t[i].in)),
		    t[i].want == NULL ? -1 : 0);
		if (t[i].want != NULL)
			expect(buf_slice(&out), t[i].want);
		buf_fini(&out);
	}
}

/* --- mailboxes --- */

static void
mailboxes(void **state)
{
	static const struct {
		const char *value, *name, *address, *words;	/* address NULL: none */
	} t[] = {
		{ " Mario Rossi <m@a.it>", "Mario Rossi", "m@a.it", "" },
		{ "\"Rossi, Mario \\\"M\\\"\" <m@a.it>", "Rossi, Mario \"M\"", "m@a.it", "" },
		{ "m@a.it", "", "m@a.it", "" }, { "<m@a.it>", "", "m@a.it", "" },
		{ "m @ (x) a.it (Mario (il) Rossi)", "x", "m@a.it", "" },
		{ "m@a.it (Mario)", "Mario", "m@a.it", "" },
		{ "Mario (ufficio) Rossi\r\n <m@a.it>", "Mario Rossi", "m@a.it", "" },
		{ "\"a b\"@a.it", "", "\"a b\"@a.it", "" },
		{ "X <\"a> b\"@a.it>", "X", "\"a> b\"@a.it", "" },
		{ "X < m (c) @\r\n a.it >", "X", "m@a.it", "" },
		/* several: the first; names alone are passed over */
		{ "A <a@a.it>, B <b@a.it>", "A", "a@a.it", "" },
		{ "Rossi, Mario <m@a.it>", "Mario", "m@a.it", "" },
		{ ",, ,a@a.it", "", "a@a.it", "" },
		{ "Gruppo: A <a@a.it>, b@a.it;", "A", "a@a.it", "" },
		/* encoded words, also in quotes, and 8 bits */
		{ "=?utf-8?q?Perch=C3=A9?= X <m@a.it>", "Perch\xc3\xa9 X", "m@a.it", "" },
		{ "\"=?utf-8?B?TWFyaW8=?=\" <m@a.it>", "Mario", "m@a.it", "" },
		{ "Perch\xe9 <m@a.it>", "Perch\xc3\xa9", "m@a.it", "" },
		{ "Perch\xc3\xa9 <p\xc3\xa9@a.it>", "Perch\xc3\xa9", "p\xc3\xa9@a.it", "" },
		{ "=?gb2312?B?1tC5+g==?= <m@a.it>", "", "m@a.it", "=?gb2312?B?1tC5+g==?=" },
		{ "=?koi8-r?q?a?=\r\n =?koi8-r?q?b?= <m@a.it>", "", "m@a.it",
		  "=?koi8-r?q?a?=\r\n =?koi8-r?q?b?=" },
		{ "=?koi8-r?q?a?= x <m@a.it>", "", "m@a.it", "" },
		/* nobody reads past what an encoded word hides */
		{ "=?utf-8?q?a=0D=0ABcc=3A_x=40y?= <m@a.it>", "a Bcc: x@y", "m@a.it", "" },
		{ "\" \" <m@a.it>", "", "m@a.it", "" },
		/* hostile */
		{ "", NULL, NULL, NULL }, { "Mario", NULL, NULL, NULL }, { "<>", NULL, NULL, NULL },
		{ "nessuno:;", NULL, NULL, NULL }, { "\"unclosed m@a.it", "", "\"unclosed "
		  "m@a.it", "" },
		{ "(unclosed m@a.it", NULL, NULL, NULL }, { "X <m@a.it", "X", "m@a.it", "" },
		{ "\"", NULL, NULL, NULL }, { "<", NULL, NULL, NULL }, { "\\", NULL, NULL, NULL },
		{ "(", NULL, NULL, NULL }, { "X <(\\", NULL, NULL, NULL },
	};
	struct mailbox m;
	bool found;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		found = mailbox_first(slice_str(t[i].value), &m);
		if (found != (t[i].address != NULL))
			print_error("'%s'\n", t[i].value);
		assert_int_equal(found, t[i].address != NULL);
		if (!found)
			continue;
		expect(mime_text_get(&m.name), t[i].name);
		expect(mime_text_get(&m.address), t[i].address);
		expect(slice_make(m.words, m.nwords), t[i].words);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(parameters),
		cmocka_unit_test(parts),
		cmocka_unit_test(decoding),
		cmocka_unit_test(plain_and_8bit),
		cmocka_unit_test(boundary_not_inside),
		cmocka_unit_test(raw_text),
		cmocka_unit_test(encoded_words),
		cmocka_unit_test(into_headers),
		cmocka_unit_test(quoted_printable),
		cmocka_unit_test(xtext),
		cmocka_unit_test(mailboxes),
	};

	return cmocka_run_group_tests_name("policy/mime", tests, NULL, NULL);
}
