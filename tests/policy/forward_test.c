// SPDX-License-Identifier: Apache-2.0
/* Forward copies: order and content of the block (spec 3.2 - 3.4, 3.14, 3.17, 4.3, 8.12,
 * 9.1), the return path by mode (1.1), and our signature as dkimpy sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/mem.h"
#include "policy/forward.h"

#define DAY_20000	(INT64_C(20000) * 86400000)
#define TOKEN		"0f3k9qv2m7c1t8ubd5g6h4jn"
#define OPAQUE		"SRS0=JEyBAzIs=RA=n1=" TOKEN "@fwd.example.it"
#define TRACE \
	"Authentication-Results: mx2.example.it;\r\n\tspf=pass smtp.mailfrom=esp.example\r\n" \
	"Received: from c.esp.example (c.esp.example [192.0.2.1])\r\n\tby mx2.example.it with " \
	"ESMTPS id 0123456789abcdef\r\n\tfor <Mario@example.it>;\r\n\tSun, 22 Nov 2026 " \
	"20:36:00 +0100\r\n"
#define ADDED \
	"X-Fwd-Loop: %s\r\nDelivered-To: Mario@example.it\r\n" \
	"X-Forwarded-For: Mario@example.it\r\n" TRACE
#define PLAIN	"From: a@esp.example\r\nTo: Mario@example.it\r\nSubject: x\r\n\r\nCiao\r\n"

struct bench {		/* what all tests share */
	struct forward_keys	keys;
	struct envelope		env;
	struct envelope_rcpt	rcpt;
	struct forward_request	rq;
	struct sign_key		*rsa, *ed;
	char			loop[FORWARD_TAG_LEN + 1];
};

static struct sign_key *
make_key(EVP_PKEY *k)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct sign_key *key;
	const char *why;
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	key = sign_key_new(slice_make(p, (size_t)n), &why);
	assert_non_null(key);
	BIO_free(bio);
	EVP_PKEY_free(k);
	return key;
}

static int
setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));

	b->keys.srs = (struct srs){
		.secret = { SLICE_LIT("correct-horse-battery") }, .nsecret = 1,
		.domain = SLICE_LIT("fwd.example.it"), .node = SLICE_LIT("n1"),
		.hash_length = 8, .hash_min = 8, .max_age_days = 21, .separator = '='
	};
	b->keys.body = sign_body_new();
	b->keys.selector = SLICE_LIT("s2026");
	b->rsa = make_key(EVP_RSA_gen(2048));
	b->ed = make_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
	forward_loop_tag(b->keys.srs.secret[0], SLICE_LIT("example.it"),
	    SLICE_LIT("mario@example.it"), b->loop);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	sign_key_free(&b->rsa);
	sign_key_free(&b->ed);
	sign_body_free(&b->keys.body);
	free(b);
	return 0;
}

static void
reset(struct bench *b, struct slice content)
{
	b->keys.dkim = NULL;
	b->env = (struct envelope){
		.version = ENVELOPE_VERSION, .mail_from = SLICE_LIT("bounce@esp.example"),
		.trace = SLICE_LIT(TRACE), .body_size = content.n
	};
	b->rcpt = (struct envelope_rcpt){
		.kind = RCPT_USER, .address = SLICE_LIT("Mario@example.it"),
		.user = SLICE_LIT("mario@example.it"), .domain = SLICE_LIT("example.it")
	};
	b->rq = (struct forward_request){
		.env = &b->env, .rcpt = &b->rcpt, .content = content, .mode = RETURN_OPAQUE,
		.token = SLICE_LIT(TOKEN), .now_ms = DAY_20000
	};
}

static void
expect_prefix(struct bench *b, const char *want)
{
	struct forward_copy c;

	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	if (!slice_eq(buf_slice(&c.prefix), slice_str(want)))
		print_error("%.*s", SLICE_FMT(buf_slice(&c.prefix)));
	assert_true(slice_eq(buf_slice(&c.prefix), slice_str(want)));
	forward_copy_fini(&c);
}

static void
order_3_3(void **state)
{
	struct bench *b = *state;
	char want[2048];

	reset(b, SLICE_LIT(PLAIN));
	snprintf(want, sizeof(want), ADDED, b->loop);
	expect_prefix(b, want);
	reset(b, SLICE_LIT(""));
	expect_prefix(b, want);
	reset(b, SLICE_LIT("\r\nonly a body\r\n"));
	expect_prefix(b, want);
	reset(b, SLICE_LIT("From: a@b.it"));
	expect_prefix(b, want);
	/* an old Return-Path is left alone, none is added */
	reset(b, SLICE_LIT("Return-Path: <x@y.it>\r\n" PLAIN));
	expect_prefix(b, want);
}

/* The signature is on top of the rest, and signing changes nothing else. */
static void
order_with_signature_3_17(void **state)
{
	static const char head[] = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
	    "\td=fwd.example.it; s=s2026; t=1728000000;\r\n"
	    "\th=From:From:To:Cc:Subject:Date:Message-ID:MIME-Version:\r\n"
	    "\t Content-Type:Content-Transfer-Encoding;\r\n\tbh=";
	struct bench *b = *state;
	struct forward_copy c;
	struct slice p;
	char want[2048];

	reset(b, SLICE_LIT(PLAIN));
	b->keys.dkim = b->rsa;
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	p = buf_slice(&c.prefix);
	assert_true(slice_istarts(p, SLICE_LIT(head)));
	snprintf(want, sizeof(want), ADDED, b->loop);
	assert_true(p.n > strlen(want));
	assert_true(slice_eq(slice_sub(p, p.n - strlen(want), p.n), slice_str(want)));
	forward_copy_fini(&c);

	/* none without From, none where readers disagree on the header's end */
	reset(b, SLICE_LIT("To: x\r\n\r\nCiao\r\n"));
	b->keys.dkim = b->rsa;
	expect_prefix(b, want);
	reset(b, SLICE_LIT("From: a@b.it\r\nnot a field\r\n\r\nCiao\r\n"));
	b->keys.dkim = b->rsa;
	expect_prefix(b, want);
}

static void
no_field_first_3_14(void **state)
{
	static const char *const junk[] = {
		"From nobody Sun Nov 22\r\nFrom: a@b.it\r\n\r\nx\r\n", "just text", " folded\r\n",
		":x\r\n", "\xe8: x\r\n", "\nFrom: a\r\n"
	};
	struct bench *b = *state;
	char want[2048];
	struct body_cut cut = { 0, 0 };
	struct buf cuts;

	snprintf(want, sizeof(want), ADDED "\r\n", b->loop);
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		reset(b, slice_str(junk[i]));
		b->keys.dkim = b->rsa;
		expect_prefix(b, want);
	}
	/* also when the only field above the text is one that we cut */
	reset(b, SLICE_LIT("Authentication-Results: mx2; none\r\njust text\r\n"));
	cut.len = strlen("Authentication-Results: mx2; none\r\n");
	buf_init(&cuts, 64);
	assert_int_equal(wire_item_put(&cuts, &body_cut_wire, &cut), 0);
	b->env.cuts = buf_slice(&cuts);
	expect_prefix(b, want);
	buf_fini(&cuts);
}

static void
oversigned_3_2(void **state)
{
	static const struct {
		const char *content;
		bool loop, forwarded;
	} t[] = {
		{ "DKIM-Signature: v=1; h=From:Subject:X-Forwarded-For; b=x\r\n", true, false },
		{ "DKIM-Signature: v=1; h = From :\r\n x-forwarded-for : x-FWD-loop;b=x\r\n",
		  false, false },
		{ "DKIM-Signature: v=1; b=x; h=X-Fwd-Loop\r\n", false, true },
		{ "X-Forwarded-For: 1\r\nDKIM-Signature: h=X-Forwarded-For\r\n", true, true },
		{ "X-Forwarded-For: 1\r\nDKIM-Signature: h=X-Forwarded-For:X-Forwarded-For\r\n",
		  true, false },
		/* twice, but in two signatures; and the second says more */
		{ "X-Fwd-Loop: 1\r\nDKIM-Signature: h=X-Fwd-Loop\r\n"
		  "DKIM-Signature: h=X-Fwd-Loop\r\n", true, true },
		{ "X-Fwd-Loop: 1\r\nDKIM-Signature: h=X-Fwd-Loop\r\n"
		  "DKIM-Signature: h=X-Fwd-Loop:X-Fwd-Loop\r\n", false, true },
		/* exempt ones are added whatever is said; other fields and tags do not count */
		{ "DKIM-Signature: h=Delivered-To:Received:Authentication-Results:ARC-Seal:"
		  "DKIM-Signature\r\n", true, true },
		{ "X-Sig: h=X-Fwd-Loop\r\nDKIM-Signature: bh=X-Fwd-Loop; z=X-Fwd-Loop\r\n",
		  true, true },
		{ "DKIM-Signature:\r\nDKIM-Signature: ;;=;h\r\n", true, true },
	};
	struct bench *b = *state;
	char want[2048];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		reset(b, slice_str(t[i].content));
		snprintf(want, sizeof(want), "%s%s%sDelivered-To: Mario@example.it\r\n%s%s",
		    t[i].loop ? "X-Fwd-Loop: " : "", t[i].loop ? b->loop : "",
		    t[i].loop ? "\r\n" : "",
		    t[i].forwarded ? "X-Forwarded-For: Mario@example.it\r\n" : "", TRACE);
		expect_prefix(b, want);
	}
}

static void
expect_sender(struct bench *b, enum conf_return_path mode, const char *from,
    const char *token, const char *want, const char *want_token)
{
	struct forward_copy c;

	reset(b, SLICE_LIT(PLAIN));
	b->env.mail_from = slice_str(from);
	b->rq.mode = mode;
	b->rq.token = slice_str(token);
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	if (!slice_eq(buf_slice(&c.mail_from), slice_str(want)))
		print_error("%s -> %.*s\n", from, SLICE_FMT(buf_slice(&c.mail_from)));
	assert_true(slice_eq(buf_slice(&c.mail_from), slice_str(want)));
	assert_string_equal(c.token, want_token);
	forward_copy_fini(&c);
}

static void
sender_1_1(void **state)
{
	static const char sender[] = "mario.rossi@example.com";
	struct bench *b = *state;

	/* 1.1.1 */
	expect_sender(b, RETURN_OPAQUE, "", TOKEN, "", "");
	expect_sender(b, RETURN_SRS, "", TOKEN, "", "");
	expect_sender(b, RETURN_NULL, "", TOKEN, "", "");
	/* 1.1.3 */
	expect_sender(b, RETURN_OPAQUE, sender, TOKEN, OPAQUE, TOKEN);
	expect_sender(b, RETURN_SRS, sender, TOKEN,
	    "SRS0=VuiGMUce=RA=example.com=mario.rossi@fwd.example.it", "");
	expect_sender(b, RETURN_NULL, sender, TOKEN, "", "");
	/* 1.1.4 */
	expect_sender(b, RETURN_OPAQUE, "x@FWD.example.it", TOKEN, "x@FWD.example.it", "");
	expect_sender(b, RETURN_SRS, "x@fwd.example.it", TOKEN, "x@fwd.example.it", "");
	/* 1.3.2 */
	expect_sender(b, RETURN_SRS,
	    "bounces+2309175-1e1a-mario.rossi=libero.it@em1234.shop.example", TOKEN, OPAQUE,
	    TOKEN);
	/* a sender that is no address still gets its copy */
	expect_sender(b, RETURN_SRS, "a..b@example.com", TOKEN, OPAQUE, TOKEN);
	expect_sender(b, RETURN_OPAQUE, "a..b@example.com", TOKEN, OPAQUE, TOKEN);
}

/* 1.4.3: without a token of an earlier attempt there is a new one, never the same. */
static void
new_token(void **state)
{
	static const char *const given[] = { "", "short", TOKEN "0", "0f3k9qv2m7c1t8ubd5g6h4j!" };
	struct bench *b = *state;
	struct slice node, token;
	struct forward_copy c[2];

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
		for (int j = 0; j < 2; j++) {
			reset(b, SLICE_LIT(PLAIN));
			b->rq.token = slice_str(given[i]);
			forward_copy_init(&c[j]);
			assert_int_equal(forward_build(&b->keys, &b->rq, &c[j]), FORWARD_OK);
			assert_int_equal(srs_opaque_check(&b->keys.srs, 20000,
			    buf_slice(&c[j].mail_from), &node, &token), SRS_OK);
			assert_true(slice_eq(token, slice_str(c[j].token)));
		}
		assert_string_not_equal(c[0].token, c[1].token);
		forward_copy_fini(&c[0]);
		forward_copy_fini(&c[1]);
	}
}

static void
expect_refused(struct bench *b, enum forward_result want, const char *reason)
{
	struct forward_copy c;

	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), want);
	assert_string_equal(c.reason, reason);
	forward_copy_fini(&c);
}

static void
refusals(void **state)
{
	static const struct body_cut bad[][2] = {
		{ { 5, 10 }, { 14, 2 } }, { { 10, 1 }, { 2, 1 } }, { { 0, 4096 }, { 4096, 1 } },
		{ { UINT64_MAX, 2 }, { 0, 0 } },
	};
	struct bench *b = *state;
	struct buf cuts;

	reset(b, SLICE_LIT(PLAIN));
	b->rcpt.kind = RCPT_RETURN_PATH;
	expect_refused(b, FORWARD_HOLD, "return-path");
	reset(b, SLICE_LIT(PLAIN));
	b->env.flags = ENV_HAS_NUL;
	expect_refused(b, FORWARD_HOLD, "nul-octet");
	reset(b, SLICE_LIT(PLAIN));
	b->rcpt.address = SLICE_LIT("a@b.it\r\nX: y");
	expect_refused(b, FORWARD_ERROR, "bad-envelope");
	reset(b, SLICE_LIT(PLAIN));
	b->rcpt.address = SLICE_NONE;
	expect_refused(b, FORWARD_ERROR, "bad-envelope");
	reset(b, SLICE_LIT(PLAIN));
	b->env.mail_from = SLICE_LIT("a\n@b.it");
	expect_refused(b, FORWARD_ERROR, "bad-envelope");
	reset(b, SLICE_LIT(PLAIN));
	b->env.trace = SLICE_LIT("Received: x");
	expect_refused(b, FORWARD_ERROR, "bad-envelope");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reset(b, SLICE_LIT(PLAIN));
		buf_init(&cuts, 256);
		assert_int_equal(wire_item_put(&cuts, &body_cut_wire, &bad[i][0]), 0);
		assert_int_equal(wire_item_put(&cuts, &body_cut_wire, &bad[i][1]), 0);
		b->env.cuts = buf_slice(&cuts);
		expect_refused(b, FORWARD_ERROR, "bad-cuts");
		buf_fini(&cuts);
	}
	reset(b, SLICE_LIT(PLAIN));
	b->env.cuts = SLICE_LIT("\1\2\3");
	expect_refused(b, FORWARD_ERROR, "bad-cuts");
	reset(b, SLICE_LIT(PLAIN));
	b->keys.srs.nsecret = 0;
	expect_refused(b, FORWARD_ERROR, "no-secret");
	/* but the null mode needs none; there is no loop tag then */
	b->rq.mode = RETURN_NULL;
	expect_prefix(b, "Delivered-To: Mario@example.it\r\nX-Forwarded-For: Mario@example.it\r\n"
	    TRACE);
	b->keys.srs.nsecret = 1;
}

static void
loop_tag_9_1(void **state)
{
	static const char *const other[][3] = {
		{ "correct-horse-battery2", "example.it", "mario@example.it" },
		{ "correct-horse-battery", "example.com", "mario@example.it" },
		{ "correct-horse-battery", "example.it", "maria@example.it" },
		{ "correct-horse-battery", "example.itm", "ario@example.it" },
	};
	struct bench *b = *state;
	char tag[FORWARD_TAG_LEN + 1], longest[2000];

	assert_int_equal(strspn(b->loop, "0123456789abcdef"), FORWARD_TAG_LEN);
	forward_loop_tag(SLICE_LIT("correct-horse-battery"), SLICE_LIT("Example.IT"),
	    SLICE_LIT("MARIO@example.it"), tag);
	assert_string_equal(tag, b->loop);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		forward_loop_tag(slice_str(other[i][0]), slice_str(other[i][1]),
		    slice_str(other[i][2]), tag);
		assert_string_not_equal(tag, b->loop);
	}
	memset(longest, 'x', sizeof(longest));
	forward_loop_tag(SLICE_LIT("s"), SLICE_LIT("d"), slice_make(longest, sizeof(longest)), tag);
	assert_int_equal(strlen(tag), FORWARD_TAG_LEN);
}

/* --- our signature, read by dkimpy --- */

#define H	"From: =?utf-8?q?A?= <a@esp.example>\r\nTo: Mario@example.it,\r\n  b@c.it\r\n" \
	"Subject: two\r\n\t  folded \t lines \r\nDate: Sun, 22 Nov 2026 20:36:00 +0100\r\n" \
	"Message-ID: <1@esp.example>\r\nMIME-Version: 1.0\r\n" \
	"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n"

static const struct {
	const char *content;
	const char *cut;	/* text of the runs to cut, "" for none */
	const char *cut2;
} signed_cases[] = {
	{ PLAIN, "", "" },
	{ H "\r\nperch\xe9 \xff\x80\r\n", "", "" },
	{ H "\r\n.\r\n..\r\n.x\r\nFrom me\r\n>From\r\n", "", "" },
	{ H "\r\ntrailing  \t\r\n \r\n\t\r\nblanks \r\n\r\n\r\n \r\n", "", "" },
	{ H "\r\n", "", "" },
	{ H "\r\n\r\n\r\n", "", "" },
	{ H, "", "" },
	{ H "\r\nno end of line", "", "" },
	{ H "\r\n\r\n\r\nleading empty lines\r\n", "", "" },
	{ H "\r\n\ttabs\tand   runs \t of white\t\tspace\r\n", "", "" },
	{ "Subject: 1\r\nX: y\r\nFrom: a@b.it\r\nsubject: 2\r\nTO:x\r\nto:\r\n\r\nx\r\n", "", "" },
	{ "From: a@b.it\r\nSubject:\r\n\r\nempty subject\r\n", "", "" },
	{ "From:a@b.it\r\nSubject:\r\n  folded at once\r\n\r\nx\r\n", "", "" },
	{ "From: a@b.it\r\nFrom: c@d.it\r\nDate: x\r\nDate: y\r\n\r\nx\r\n", "", "" },
	{ "Authentication-Results: mx2;\r\n none\r\n" H "\r\nx\r\n",
	  "Authentication-Results: mx2;\r\n none\r\n", "" },
	{ "From: a@b.it\r\nSubject: cut away\r\nTo: x\r\nSubject: stays\r\n\r\nbody\r\ncut\r\nz\r\n",
	  "Subject: cut away\r\n", "cut\r\n" },
	{ "DKIM-Signature: v=1; a=rsa-sha256; d=x.it; s=s; h=From; bh=x; b=y\r\n" H "\r\nx\r\n",
	  "", "" },
};

static void
put_cut(struct buf *cuts, const char *content, const char *what, struct body_cut *c)
{
	const char *at = strstr(content, what);

	if (what[0] == '\0')
		return;
	assert_non_null(at);
	*c = (struct body_cut){ (uint64_t)(at - content), strlen(what) };
	assert_int_equal(wire_item_put(cuts, &body_cut_wire, c), 0);
}

static void
write_file(const char *dir, const char *name, int n, struct slice s)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, n);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

/* Writes the copy as the next hop gets it. */
static void
write_copy(struct bench *b, const char *dir, int n, struct slice content, const char *cut,
    const char *cut2)
{
	struct body_cut c[2] = { { content.n, 0 }, { content.n, 0 } };
	struct forward_copy copy;
	struct buf cuts, out;

	buf_init(&cuts, 256);
	buf_init(&out, 1024 * 1024);
	put_cut(&cuts, content.p, cut, &c[0]);
	put_cut(&cuts, content.p, cut2, &c[1]);
	reset(b, content);
	b->keys.dkim = n % 2 == 0 ? b->rsa : b->ed;
	b->env.cuts = buf_slice(&cuts);
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_true(slice_istarts(buf_slice(&copy.prefix), SLICE_LIT("DKIM-Signature: v=1")));
	assert_true(slice_eq(copy.cuts, b->env.cuts));
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.prefix)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, 0, c[0].off)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, c[0].off + c[0].len, c[1].off)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, c[1].off + c[1].len, content.n)), 0);
	if (out.p[out.n - 1] != '\n')
		assert_int_equal(buf_puts(&out, "\r\n"), 0);	/* 3.13 */
	write_file(dir, "m", n, buf_slice(&out));
	forward_copy_fini(&copy);
	buf_fini(&cuts);
	buf_fini(&out);
}

static void
write_record(struct sign_key *k, const char *dir, int n)
{
	struct buf rec;

	buf_init(&rec, 4096);
	assert_int_equal(sign_key_record(k, &rec), 0);
	write_file(dir, "k", n, buf_slice(&rec));
	buf_fini(&rec);
}

static const char verify_py[] =
    "import sys, dkim\n"
    "d = sys.argv[1]; bad = 0\n"
    "rec = [open(d + '/k%d' % i, 'rb').read() for i in (0, 1)]\n"
    "for i in range(int(sys.argv[2])):\n"
    "    m = open(d + '/m%d' % i, 'rb').read()\n"
    "    dns = lambda name, timeout=5: rec[i % 2] if name.startswith(b's2026.') else b''\n"
    "    try: ok = dkim.DKIM(m).verify(dnsfunc=dns)\n"
    "    except dkim.DKIMException as e: ok = print('message', i, e)\n"
    "    bad += not ok\n"
    "    if not ok: print('message', i, 'does not verify')\n"
    "    t = m[:-3] + b'!' + m[-3:]\n"
    "    try: ok = dkim.DKIM(t).verify(dnsfunc=dns)\n"
    "    except dkim.DKIMException: ok = False\n"
    "    if ok and b'\\r\\n\\r\\n' in m: bad += 1; print('message', i, 'verifies when changed')\n"
    "sys.exit(bad != 0)\n";

static void
dkimpy_verifies_14_4_1(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/forward_test.XXXXXX", cmd[512];
	static char large[200000];
	int n = 0, r;

	if (system("/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null") != 0) {
		print_message("no dkimpy here\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof(signed_cases) / sizeof(signed_cases[0]); i++)
		for (int key = 0; key < 2; key++)
			write_copy(b, dir, n++, slice_str(signed_cases[i].content),
			    signed_cases[i].cut, signed_cases[i].cut2);
	/* larger than any buffer on the way, with lines that change and lines that do not */
	r = snprintf(large, sizeof(large), "%s", H "\r\n");
	while ((size_t)r < sizeof(large) - 200)
		r += snprintf(large + r, 200, "%0*d%s text \r\n", r % 99, r,
		    r % 3 == 0 ? "  " : r % 7 == 0 ? "\t" : " ");
	write_copy(b, dir, n++, slice_str(large), "", "");
	write_copy(b, dir, n++, slice_str(large), "", "");
	write_record(b->rsa, dir, 0);
	write_record(b->ed, dir, 1);
	write_file(dir, "v.py", 0, SLICE_LIT(verify_py));
	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/v.py0 %s %d", dir, dir, n);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_3_3),
		cmocka_unit_test(order_with_signature_3_17),
		cmocka_unit_test(no_field_first_3_14),
		cmocka_unit_test(oversigned_3_2),
		cmocka_unit_test(sender_1_1),
		cmocka_unit_test(new_token),
		cmocka_unit_test(refusals),
		cmocka_unit_test(loop_tag_9_1),
		cmocka_unit_test(dkimpy_verifies_14_4_1),
	};

	return cmocka_run_group_tests_name("policy/forward", tests, setup, teardown);
}
