// SPDX-License-Identifier: Apache-2.0
/* Wrapped copies (spec 7.3, 7.4, 7.6, 14.4 case 16): the original to the octet inside of a
 * message of ours, whatever it is. */
#include "tests/policy/rewrite_kit.h"

static void
wrap_7_3(void **state)
{
	static const char content[] = "A-R: forged\r\nFrom: Anna <a@b.it>\r\nSubject: Due\r\n "
	    "righe\r\n\r\nCiao";
	struct bench *b = *state;
	struct mime_entity e, part;
	struct mime_parts p;
	struct buf out, text;
	struct slice s, one;

	reset(b, SLICE_LIT(content));
	b->env.dkim = AUTH_NEUTRAL;
	add_env_cut(b, "A-R: forged\r\n");
	s = wrapped(b, &out);
	assert_true(slice_istarts(s, SLICE_LIT("From: \"Posta Esempio\"\r\n "
	    "<fwd@fwd.example.it>\r\n"
	    "To: <mario@example.it>\r\nSubject: Due\r\n righe\r\nDate: Sun, 22 Nov 2026 20:36:00 "
	    "+0100\r\n"
	    "Message-ID: <0s3ge1o70s3ge1o7.")));
	expect_has(slice_sub(s, 0, b->copy.header), "\r\nAuto-Submitted: auto-generated\r\n");
	assert_false(b->copy.eightbit || b->copy.utf8);
	mime_read(&e, s);
	assert_true(mime_is(&e, "multipart", "mixed"));
	expect(e.encoding, "7bit");
	assert_int_equal(mime_parts_start(&p, &e), 0);
	assert_true(mime_parts_next(&p, &one));
	mime_read(&part, one);
	buf_init(&text, 64 * 1024);
	assert_int_equal(mime_decode(&part, &text), 0);
	expect_has(buf_slice(&text), "La casella mario@example.it in questo momento non \xc3\xa8 ");
	expect_has(buf_slice(&text), "\r\nAutore: Anna <a@b.it>\r\nMittente della busta: "
	    "bounce@esp.example\r\n"
	    "Ricevuto: Sun, 22 Nov 2026 19:36:00 +0100\r\nDestinatario: mario@example.it\r\n"
	    "Verifiche: SPF pass, DKIM neutral, DMARC pass\r\n");
	expect_has(buf_slice(&text), "\r\nAuthor: Anna <a@b.it>\r\nEnvelope sender: "
	    "bounce@esp.example\r\n"
	    "Received: Sun, 22 Nov 2026 19:36:00 +0100\r\nRecipient: mario@example.it\r\n"
	    "Checks: SPF pass, DKIM neutral, DMARC pass\r\n");
	assert_false(has(buf_slice(&text), "://") || has(buf_slice(&text), "www."));
	buf_fini(&text);
	/* the original to the octet, what is cut from other copies and the missing CRLF included */
	assert_true(mime_parts_next(&p, &one));
	mime_read(&part, one);
	assert_true(mime_is(&part, "message", "rfc822"));
	expect(part.encoding, "7bit");
	expect(part.body, content);
	assert_false(mime_parts_next(&p, &one));
	buf_fini(&out);
}

static void
wrap_subject_7_3(void **state)
{
	static const struct {
		const char *field, *want;
	} t[] = {
		{ "Subject: ciao\r\n", "Subject: ciao\r\n" },
		{ "Subject:ciao\r\n", "Subject: ciao\r\n" },
		{ "SUBJECT: =?gb2312?B?1tC5+g==?=\r\n =?utf-8?q?x?=\r\n",
		  "Subject: =?gb2312?B?1tC5+g==?=\r\n =?utf-8?q?x?=\r\n" },
		{ "Subject:\r\n folded\r\n", "Subject:\r\n folded\r\n" },
		{ "Subject: perch\xe9\r\n", "Subject: =?utf-8?Q?perch=C3=A9?=\r\n" },
		{ "Subject: perch\xc3\xa9 =?utf-8?q?x?=\r\n", "Subject: "
		  "=?utf-8?Q?perch=C3=A9_x?=\r\n" },
		/* a line of only space would end the header for some */
		{ "Subject: a\r\n \r\n b\r\n", "Subject: a b\r\n" },
		{ "Subject: a\r\n \t\r\n", "Subject: a\r\n" },
		{ "Subject: a\x01" "b\r\n", "Subject: a b\r\n" },
		{ "Subject: a\rX: y\r\n", "Subject: a X: y\r\n" },
		/* none */
		{ "", "Subject: (senza oggetto / no subject)\r\n" },
		{ "Subject:\r\n", "Subject: (senza oggetto / no subject)\r\n" },
		{ "Subject: \r\n", "Subject: (senza oggetto / no subject)\r\n" },
		/* several (3.16, 7.6): the first */
		{ "Subject: a\r\nSubject: b\r\n", "Subject: a\r\n" },
	};
	struct bench *b = *state;
	char content[4000], want[200];
	struct buf out;
	struct slice s;

	for (size_t i = 0; i < N(t); i++) {
		snprintf(content, sizeof(content), "%sX: y\r\n\r\nx\r\n", t[i].field);
		reset(b, slice_str(content));
		s = wrapped(b, &out);
		snprintf(want, sizeof(want), "\r\nTo: <mario@example.it>\r\n%sDate: ", t[i].want);
		expect_has(slice_sub(s, 0, b->copy.header), want);
		assert_false(mime_has_8bit(slice_sub(s, 0, b->copy.header)));
		expect_has(s, content);
		buf_fini(&out);
	}
	snprintf(content, sizeof(content), "Subject: %03000d\r\n\r\n", 1);
	reset(b, slice_str(content));
	s = wrapped(b, &out);
	assert_true(mime_is_plain(slice_sub(s, 0, b->copy.header)));
	buf_fini(&out);
}

/* 7.6: what is wrong with a message does not get out of its part. */
static void
wrap_hostile(void **state)
{
	static const char *const t[] = {
		"", "\r\n", "x", "\r\n\r\n--x--\r\n", "From nobody\r\nFrom: a@b.it\r\n\r\n", ": "
		"x\r\n",
		"From: a@b.it\r\nFrom: c@d.it\r\n\r\nx\r\n", "From:\r\n\r\n", "From: \"\r\n\r\n",
		"From: =?utf-8?q?=0D=0A--x=0D=0A?= <a@b.it>\r\n\r\nx\r\n",
		"Content-Type: multipart/mixed; boundary=\"=_sp\"\r\n\r\n--=_sp--\r\n", "no\r\n"
		"header\r\n",
	};
	struct bench *b = *state;
	struct mime_entity e, part;
	struct mime_parts p;
	struct buf out;
	struct slice one;

	for (size_t i = 0; i < N(t); i++) {
		reset(b, slice_str(t[i]));
		mime_read(&e, wrapped(b, &out));
		assert_int_equal(mime_parts_start(&p, &e), 0);
		assert_true(mime_parts_next(&p, &one));
		assert_true(mime_parts_next(&p, &one));
		assert_true(p.closed);
		mime_read(&part, one);
		expect(part.body, t[i]);
		assert_false(mime_parts_next(&p, &one));
		buf_fini(&out);
	}
}

static void
wrap_boundary(void **state)
{
	struct bench *b = *state;
	struct mime_entity e;
	struct buf out;
	char first[128], second[128], content[512];

	reset(b, SLICE_LIT("From: a@b.it\r\n\r\n"));
	mime_read(&e, wrapped(b, &out));
	assert_int_equal(mime_param(&e, "boundary", first, sizeof(first)), 0);
	buf_fini(&out);
	snprintf(content, sizeof(content), "From: a@b.it\r\n\r\nx\r\n--%s--\r\nContent-Type: "
	    "text/html\r\n\r\n"
	    "evil\r\n", first);
	reset(b, slice_str(content));
	mime_read(&e, wrapped(b, &out));
	assert_int_equal(mime_param(&e, "boundary", second, sizeof(second)), 0);
	assert_string_not_equal(first, second);
	assert_null(strstr(content, second));
	buf_fini(&out);
}

static void
wrap_eightbit_and_utf8(void **state)
{
	struct bench *b = *state;
	struct buf out;
	struct slice s;

	reset(b, SLICE_LIT("From: a@b.it\r\n\r\nperch\xe9\r\n"));
	s = wrapped(b, &out);
	assert_true(b->copy.eightbit);
	expect_has(slice_sub(s, 0, b->copy.header), "\r\nContent-Transfer-Encoding: 8bit\r\n");
	expect_has(s, "message/rfc822\r\nContent-Disposition: inline\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n");
	assert_false(mime_has_8bit(buf_slice(&b->copy.prefix)));
	buf_fini(&out);
	reset(b, SLICE_LIT("From: \xc3\xa9@b.it\r\nSubject: \xc3\xa9\r\n\r\n"));
	b->env.flags = ENV_SMTPUTF8 | ENV_HAS_8BIT;
	b->env.mail_from = SLICE_LIT("\xc3\xa9@b.it");
	b->rcpt.address = SLICE_LIT("m\xc3\xa9@example.it");
	s = wrapped(b, &out);
	assert_true(b->copy.eightbit);
	assert_false(b->copy.utf8);	/* all of UTF-8 is in the body */
	assert_false(mime_has_8bit(buf_slice(&b->copy.prefix)));
	expect_has(s, "\r\nTo: undisclosed-recipients:;\r\n");
	expect_has(s, "\r\nContent-Type: message/global\r\n");
	buf_fini(&out);
}

static void
wrap_refused_7_4(void **state)
{
	static const struct {
		enum auth_result spf, dkim, dmarc;
		uint32_t flags;
		enum rewrite_result want;
	} t[] = {
		{ AUTH_NONE, AUTH_NONE, AUTH_PASS, 0, REWRITE_OK },
		{ AUTH_PASS, AUTH_NONE, AUTH_NONE, 0, REWRITE_OK },
		{ AUTH_FAIL, AUTH_PASS, AUTH_NONE, 0, REWRITE_OK },
		{ AUTH_NONE, AUTH_NONE, AUTH_NONE, 0, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_FAIL, 0, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_UNSET, 0, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_TEMPERROR, 0, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_PERMERROR, 0, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_PASS, ENV_HOLD_ONLY, REWRITE_HOLD },
		{ AUTH_PASS, AUTH_PASS, AUTH_PASS, ENV_HAS_NUL, REWRITE_HOLD },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < N(t); i++) {
		reset(b, SLICE_LIT("From: a@b.it\r\n\r\n"));
		b->env.spf = (uint8_t)t[i].spf;
		b->env.dkim = (uint8_t)t[i].dkim;
		b->env.dmarc = (uint8_t)t[i].dmarc;
		b->env.flags = t[i].flags;
		assert_int_equal(rewrite_wrap(&b->rq, &b->copy), t[i].want);
		assert_int_equal(buf_len(&b->copy.prefix) > 0, t[i].want == REWRITE_OK);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrap_7_3),
		cmocka_unit_test(wrap_subject_7_3),
		cmocka_unit_test(wrap_hostile),
		cmocka_unit_test(wrap_boundary),
		cmocka_unit_test(wrap_eightbit_and_utf8),
		cmocka_unit_test(wrap_refused_7_4),
	};

	return cmocka_run_group_tests_name("policy/rewrite_wrap", tests, setup, teardown);
}
