// SPDX-License-Identifier: Apache-2.0
/* Seals as dkimpy sees them (spec 5.9), and when there is none (5.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/mem.h"
#include "policy/arc_seal.h"
#include "policy/header.h"

#define MSG	"DKIM-Signature: v=1; d=ours; b=x\r\nReceived: x\r\nFrom: a@esp.example\r\n" \
		"To: b@example.it,\r\n\t c@example.it\r\nSubject: two  spaces\r\n" \
		"Date: Sun, 22 Nov 2026 20:36:00 +0100\r\nMessage-ID: <1@esp.example>\r\n" \
		"DKIM-Signature: v=1; d=theirs; b=y\r\nList-Id: <l.esp.example>\r\n" \
		"\r\nperch\xe9 \r\n.\r\n\r\n"
#define SET(n, cv) \
	"ARC-Seal: i=" n "; a=rsa-sha256; t=1; cv=" cv "; d=x.it; s=s; b=AAAA\r\n" \
	"ARC-Message-Signature: i=" n "; a=rsa-sha256; d=x.it; s=s; h=From; bh=x; b=y\r\n" \
	"ARC-Authentication-Results: i=" n "; x.it; none\r\n"

static struct sign_key *key;
static char pem[4096];

static int
setup(void **state)
{
	EVP_PKEY *k = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	const char *why;
	char *p;
	long n;

	(void)state;
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	assert_int_equal(slice_cstr(slice_make(p, (size_t)n), pem, sizeof(pem)), 0);
	key = sign_key_new(slice_str(pem), &why);
	BIO_free(bio);
	EVP_PKEY_free(k);
	return key == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	sign_key_free(&key);
	return 0;
}

/* The seal of a whole message, as forward copies will do it. */
static enum arc_seal_result
seal(struct slice msg, enum auth_result chain, struct buf *out)
{
	struct arc_seal a = {
		.key = key, .domain = SLICE_LIT("fwd.example.it"), .selector = SLICE_LIT("s2026"),
		.when = 1728000000, .chain = chain,
		.authres = SLICE_LIT(" mx2.example.it;\r\n\tspf=pass smtp.mailfrom=esp.example;"
		    "\r\n\tdkim=pass header.d=esp.example\r\n")
	};
	struct sign_fields f = { 0 };
	struct sign_body *b = sign_body_new();
	struct header_field field;
	struct header h;
	enum arc_seal_result r;

	header_start(&h, msg);
	while (header_next(&h, &field))
		if (arc_seal_wants(field.name))
			assert_int_equal(sign_fields_add(&f, field.name, field.raw), 0);
	sign_body_start(b);
	sign_body_put(b, slice_sub(msg, h.body, msg.n));
	sign_body_end(b, a.body_hash);
	r = arc_seal_put(out, &a, &f);
	sign_fields_fini(&f);
	sign_body_free(&b);
	return r;
}

static void
expect_head(const char *msg, enum auth_result chain, const char *want)
{
	struct buf out;

	buf_init(&out, 64 * 1024);
	assert_int_equal(seal(slice_str(msg), chain, &out),
	    want == NULL ? ARC_NOT_SEALED : ARC_SEALED);
	if (want == NULL)
		assert_int_equal(buf_len(&out), 0);
	else
		assert_true(slice_istarts(buf_slice(&out), slice_str(want)));
	buf_fini(&out);
}

static void
when_5_3_and_5_4(void **state)
{
	struct buf many;

	(void)state;
	expect_head(MSG, AUTH_NONE, "ARC-Seal: i=1; a=rsa-sha256; t=1728000000; cv=none;\r\n");
	expect_head(MSG, AUTH_UNSET, "ARC-Seal: i=1; a=rsa-sha256; t=1728000000; cv=none;\r\n");
	expect_head(MSG, AUTH_PASS, NULL);
	expect_head(MSG, AUTH_FAIL, NULL);
	expect_head(SET("1", "none") MSG, AUTH_PASS, "ARC-Seal: i=2; a=rsa-sha256; "
	    "t=1728000000; cv=pass;");
	expect_head(SET("2", "pass") SET("1", "none") MSG, AUTH_PASS, "ARC-Seal: i=3; ");
	expect_head(SET("1", "none") MSG, AUTH_FAIL, "ARC-Seal: i=2; a=rsa-sha256; "
	    "t=1728000000; cv=fail;");
	expect_head(SET("2", "fail") SET("1", "none") MSG, AUTH_FAIL, NULL);
	expect_head(SET("1", "none") MSG, AUTH_NONE, NULL);
	expect_head(SET("1", "none") MSG, AUTH_UNSET, NULL);
	expect_head(SET("1", "none") MSG, AUTH_TEMPERROR, NULL);
	/* RFC 8617 4.2.1: comments around the instance of an AAR */
	expect_head("ARC-Seal: i=1; cv=none\r\nARC-Message-Signature: i=1\r\n"
	    "ARC-Authentication-Results: (a) i = (b) 1 (c) ; x\r\n" MSG, AUTH_PASS,
	    "ARC-Seal: i=2; a=rsa-sha256; t=1728000000; cv=pass;");
	/* what is no whole chain is never said to pass */
	expect_head(SET("2", "pass") MSG, AUTH_PASS, NULL);
	expect_head(SET("1", "none") SET("1", "none") MSG, AUTH_PASS, NULL);
	expect_head(SET("51", "pass") MSG, AUTH_PASS, NULL);
	expect_head("ARC-Seal: i=x; cv=none\r\n" MSG, AUTH_PASS, NULL);
	expect_head("ARC-Seal: i=1; cv=none\r\n" MSG, AUTH_PASS, NULL);

	buf_init(&many, 1024 * 1024);
	for (int n = 49; n >= 1; n--)
		assert_int_equal(buf_printf(&many, "ARC-Seal: i=%d; cv=pass\r\n"
		    "ARC-Message-Signature: i=%d\r\nARC-Authentication-Results: i=%d; x\r\n",
		    n, n, n), 0);
	assert_int_equal(buf_put(&many, MSG, sizeof(MSG)), 0);
	expect_head(buf_slice(&many).p, AUTH_PASS, "ARC-Seal: i=50; ");
	buf_clear(&many);
	assert_int_equal(buf_puts(&many, SET("50", "pass")), 0);
	assert_int_equal(buf_put(&many, MSG, sizeof(MSG)), 0);
	expect_head(buf_slice(&many).p, AUTH_FAIL, NULL);
	buf_fini(&many);
}

static bool
contains(struct slice s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
fields_5_5_and_5_6_and_5_7_and_5_8(void **state)
{
	struct buf out;
	struct slice s;

	(void)state;
	buf_init(&out, 64 * 1024);
	assert_int_equal(seal(SLICE_LIT(MSG), AUTH_NONE, &out), ARC_SEALED);
	s = buf_slice(&out);
	/* 5.8: top to bottom */
	assert_true(slice_istarts(s, SLICE_LIT("ARC-Seal: ")));
	assert_true(contains(s, "\r\nARC-Message-Signature: i=1; a=rsa-sha256; "
	    "c=relaxed/relaxed;\r\n\td=fwd.example.it; s=s2026; t=1728000000;\r\n"));
	assert_true(contains(s, "\r\nARC-Authentication-Results: i=1; mx2.example.it;\r\n\tspf=pass "
	    "smtp.mailfrom=esp.example;\r\n\tdkim=pass header.d=esp.example\r\n"));
	/* 5.6: what is there, both DKIM-Signatures, From once more; nothing else */
	assert_true(contains(s, "\th=From:From:To:Subject:Date:Message-ID:List-Id:DKIM-Signature:"
	    "\r\n\t DKIM-Signature;\r\n"));
	assert_false(contains(s, "v=1"));
	assert_false(contains(s, "Received"));
	buf_fini(&out);
}

static void
write_file(const char *dir, const char *name, struct slice top, struct slice rest)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(top.p, 1, top.n, f), top.n);
	assert_int_equal(fwrite(rest.p, 1, rest.n, f), rest.n);
	assert_int_equal(fclose(f), 0);
}

static const char verify_py[] =
    "import sys, dkim\n"
    "d = sys.argv[1]\n"
    "rec = open(d + '/rec', 'rb').read()\n"
    "key = open(d + '/key', 'rb').read()\n"
    "dns = lambda name, timeout=5: rec\n"
    "def cv(m): return dkim.ARC(m).verify(dnsfunc=dns)[0]\n"
    "def other(m):\n"
    "    hop = b'hop%d.it' % m.count(b'ARC-Seal')\n"
    "    m = b'Authentication-Results: ' + hop + b'; spf=pass; arc=' + \\\n"
    "        (b'pass' if b'ARC-Seal' in m else b'none') + b'\\r\\n' + m\n"
    "    return b''.join(dkim.arc_sign(m, b's', hop, key, hop)) + m\n"
    "def need(want, m, what):\n"
    "    got = cv(m)\n"
    "    if got != want: print(what, got); sys.exit(1)\n"
    "if sys.argv[2] == 'make':\n"
    "    m = open(d + '/plain', 'rb').read()\n"
    "    o = other(m); need(b'pass', o, 'dkimpy alone')\n"
    "    open(d + '/hop1', 'wb').write(o)\n"
    "else:\n"
    "    m = open(d + '/one', 'rb').read()\n"
    "    need(b'pass', m, 'ours alone')\n"
    "    need(b'pass', other(m), 'ours, then dkimpy')\n"
    "    need(b'pass', m.replace(b'Received: x\\r\\n', b''), 'unsigned field removed')\n"
    "    need(b'fail', m.replace(b'perch', b'Perch'), 'body changed')\n"
    "    need(b'fail', m.replace(b'two  spaces', b'too spaces'), 'subject changed')\n"
    "    need(b'fail', m.replace(b'spf=pass', b'spf=fail'), 'AAR changed')\n"
    "    need(b'fail', m.replace(b'cv=none', b'cv=pass'), 'seal changed')\n"
    "    m = open(d + '/two', 'rb').read()\n"
    "    need(b'pass', m, 'dkimpy, then ours')\n"
    "    need(b'pass', other(m), 'dkimpy, ours, dkimpy')\n"
    "    need(b'fail', m.replace(b'hop0.it; spf=pass', b'hop0.it; spf=fail'), 'first AAR')\n";

static void
run_python(const char *dir, const char *step)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/v.py %s %s", dir, dir, step);
	assert_int_equal(system(cmd), 0);
}

static void
dkimpy_verifies_5_9(void **state)
{
	char dir[] = "/tmp/arc_seal_test.XXXXXX", path[256], text[32768];
	struct buf out;
	size_t n;
	FILE *f;

	(void)state;
	if (system("/usr/bin/python3 -c 'import dkim' 2>/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	buf_init(&out, 64 * 1024);
	assert_int_equal(sign_key_record(key, &out), 0);
	write_file(dir, "rec", buf_slice(&out), SLICE_LIT(""));
	write_file(dir, "key", slice_str(pem), SLICE_LIT(""));
	write_file(dir, "v.py", SLICE_LIT(verify_py), SLICE_LIT(""));
	write_file(dir, "plain", SLICE_LIT(""), SLICE_LIT(MSG));
	buf_clear(&out);
	assert_int_equal(seal(SLICE_LIT(MSG), AUTH_NONE, &out), ARC_SEALED);
	write_file(dir, "one", buf_slice(&out), SLICE_LIT(MSG));

	run_python(dir, "make");
	snprintf(path, sizeof(path), "%s/hop1", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	buf_clear(&out);
	assert_int_equal(seal(slice_make(text, n), AUTH_PASS, &out), ARC_SEALED);
	write_file(dir, "two", buf_slice(&out), slice_make(text, n));
	run_python(dir, "check");
	buf_fini(&out);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(when_5_3_and_5_4),
		cmocka_unit_test(fields_5_5_and_5_6_and_5_7_and_5_8),
		cmocka_unit_test(dkimpy_verifies_5_9),
	};

	return cmocka_run_group_tests_name("policy/arc_seal", tests, setup, teardown);
}
