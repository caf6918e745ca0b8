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
	b->keys.dkim = b->keys.arc = NULL;
	b->keys.arc_selector = SLICE_LIT("arc1");
	b->env = (struct envelope){
		.version = ENVELOPE_VERSION, .mail_from = SLICE_LIT("bounce@esp.example"),
		.trace = SLICE_LIT(TRACE), .body_size = content.n, .arc = AUTH_NONE,
		.authres = SLICE_LIT("mx2.example.it;\r\n\tspf=pass smtp.mailfrom=esp.example;"
		    "\r\n\tarc=none smtp.remote-ip=192.0.2.1")
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

static bool
ends_with(struct slice s, const char *end)
{
	size_t n = strlen(end);

	return s.n >= n && slice_eq(slice_sub(s, s.n - n, s.n), slice_make(end, n));
}

/* 5.2, 5.5 - 5.8, 3.3: the seal is made last and stands first; all of 4.2 is in it. */
static void
order_with_seal_5_8(void **state)
{
	static const char *const order[] = {
		"ARC-Seal: i=1; a=rsa-sha256; t=1728000000; cv=none;\r\n\td=fwd.example.it; s=arc1;",
		"\r\nARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed;\r\n",
		"\th=From:From:To:Subject:DKIM-Signature:DKIM-Signature;\r\n",
		"\r\nARC-Authentication-Results: i=1; mx2.example.it;\r\n\tspf=pass "
		    "smtp.mailfrom=esp.example;\r\n\tarc=none smtp.remote-ip=192.0.2.1\r\n",
		"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n",
		"\r\nX-Fwd-Loop: ",
	};
	struct bench *b = *state;
	struct forward_copy c;
	struct slice p;
	char want[2048];

	reset(b, SLICE_LIT("DKIM-Signature: v=1; d=theirs\r\n" PLAIN));
	b->keys.dkim = b->ed;
	b->keys.arc = b->rsa;
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	assert_true(c.sealed);
	p = buf_slice(&c.prefix);
	assert_true(slice_istarts(p, slice_str(order[0])));
	for (size_t i = 0, at = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const char *found = memmem(p.p + at, p.n - at, order[i], strlen(order[i]));

		if (found == NULL)
			print_error("%s not behind the others in\n%.*s", order[i], SLICE_FMT(p));
		assert_non_null(found);
		at = (size_t)(found - p.p) + strlen(order[i]);
	}
	snprintf(want, sizeof(want), ADDED, b->loop);
	assert_true(ends_with(p, want));
	forward_copy_fini(&c);
}

/* 5.3, 5.4, and what is never sealed. */
static void
not_sealed_5_3(void **state)
{
	static const char set[] = "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x.it; s=s; b=AAAA\r\n"
	    "ARC-Message-Signature: i=1; a=rsa-sha256; d=x.it; s=s; h=From; bh=x; b=y\r\n"
	    "ARC-Authentication-Results: i=1; x.it; none\r\n" PLAIN;
	static const struct {
		const char	*content;
		uint8_t		 arc;
		bool		 authres;
		const char	*seal;
	} t[] = {
		{ PLAIN, AUTH_NONE, true, "ARC-Seal: i=1; a=rsa-sha256; t=1728000000; cv=none;" },
		{ PLAIN, AUTH_NONE, false, NULL },
		{ set, AUTH_PASS, true, "ARC-Seal: i=2; a=rsa-sha256; t=1728000000; cv=pass;" },
		{ set, AUTH_FAIL, true, "ARC-Seal: i=2; a=rsa-sha256; t=1728000000; cv=fail;" },
		/* DNS kept us from knowing: that is nothing to seal for ever */
		{ set, AUTH_TEMPERROR, true, NULL },
		{ set, AUTH_UNSET, true, NULL },
		{ "To: x\r\n\r\nno author\r\n", AUTH_NONE, true, NULL },
		{ "From: a@b.it\r\nnot a field\r\n\r\nCiao\r\n", AUTH_NONE, true, NULL },
	};
	struct bench *b = *state;
	struct forward_copy c;
	char want[2048];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		reset(b, slice_str(t[i].content));
		b->keys.arc = b->rsa;
		b->env.arc = t[i].arc;
		if (!t[i].authres)
			b->env.authres = SLICE_NONE;
		forward_copy_init(&c);
		assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
		assert_int_equal(c.sealed, t[i].seal != NULL);
		snprintf(want, sizeof(want), ADDED, b->loop);
		if (t[i].seal != NULL)
			assert_true(slice_istarts(buf_slice(&c.prefix), slice_str(t[i].seal)));
		else
			assert_true(slice_eq(buf_slice(&c.prefix), slice_str(want)));
		forward_copy_fini(&c);
	}
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
	char tag[FORWARD_TAG_LEN + 1], longest[2000], want[2048];

	assert_int_equal(strspn(b->loop, "0123456789abcdef"), FORWARD_TAG_LEN);
	forward_loop_tag(SLICE_LIT("correct-horse-battery"), SLICE_LIT("Example.IT"),
	    SLICE_LIT("MARIO@example.it"), tag);
	assert_string_equal(tag, b->loop);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		forward_loop_tag(slice_str(other[i][0]), slice_str(other[i][1]),
		    slice_str(other[i][2]), tag);
		assert_string_not_equal(tag, b->loop);
	}
	/* the mailbox counts: whatever name of it the copy comes back to */
	reset(b, SLICE_LIT(PLAIN));
	b->rcpt.address = SLICE_LIT("mario+news@example.it");
	snprintf(want, sizeof(want), "X-Fwd-Loop: %s\r\nDelivered-To: mario+news@example.it\r\n"
	    "X-Forwarded-For: mario+news@example.it\r\n" TRACE, b->loop);
	expect_prefix(b, want);
	memset(longest, 'x', sizeof(longest));
	forward_loop_tag(SLICE_LIT("s"), SLICE_LIT("d"), slice_make(longest, sizeof(longest)), tag);
	assert_int_equal(strlen(tag), FORWARD_TAG_LEN);
}

/* 9.1: what carries our tag for this mailbox goes no further. */
static void
loop_9_1(void **state)
{
	struct bench *b = *state;
	struct forward_copy c;
	char text[8192], old[FORWARD_TAG_LEN + 1], other[FORWARD_TAG_LEN + 1], upper[64];
	const struct {
		const char *before, *tag, *after;
		bool held;
	} t[] = {
		{ "X-Fwd-Loop: ", b->loop, "\r\n" PLAIN, true },
		{ "x-fwd-loop:\r\n\t", b->loop, "  \r\n" PLAIN, true },
		{ "X-Fwd-Loop: ", upper, "\r\n" PLAIN, true },
		{ "X-Fwd-Loop: ", old, "\r\n" PLAIN, true },
		{ "X-Fwd-Loop: 0\r\nX-Fwd-Loop: ", b->loop, "\r\n" PLAIN, true },
		{ "X-Fwd-Loop: ", other, "\r\n" PLAIN, false },
		{ "X-Fwd-Loop: x", b->loop, "\r\n" PLAIN, false },
		{ "X-Fwd-Loops: ", b->loop, "\r\n" PLAIN, false },
		{ PLAIN "X-Fwd-Loop: ", b->loop, "\r\n", false },
	};

	b->keys.srs.secret[1] = SLICE_LIT("old-secret-2025");
	b->keys.srs.nsecret = 2;
	forward_loop_tag(b->keys.srs.secret[1], SLICE_LIT("example.it"),
	    SLICE_LIT("mario@example.it"), old);
	forward_loop_tag(b->keys.srs.secret[0], SLICE_LIT("example.it"),
	    SLICE_LIT("anna@example.it"), other);
	for (size_t i = 0; i <= FORWARD_TAG_LEN; i++)
		upper[i] = (char)(b->loop[i] >= 'a' ? b->loop[i] - 32 : b->loop[i]);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(text, sizeof(text), "%s%s%s", t[i].before, t[i].tag, t[i].after);
		reset(b, slice_str(text));
		forward_copy_init(&c);
		assert_int_equal(forward_build(&b->keys, &b->rq, &c),
		    t[i].held ? FORWARD_HOLD : FORWARD_OK);
		assert_string_equal(c.reason, t[i].held ? "loop" : "");
		forward_copy_fini(&c);
	}
	b->keys.srs.nsecret = 1;
}

/* --- our signature and seal, read by dkimpy --- */

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
	b->keys.arc = b->rsa;
	b->env.cuts = buf_slice(&cuts);
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_true(slice_istarts(buf_slice(&copy.prefix), SLICE_LIT("ARC-Seal: i=1; ")));
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
    "def dns(name, timeout=5):\n"
    "    if name.startswith(b'arc1.'): return rec[0]\n"
    "    return rec[i % 2] if name.startswith(b's2026.') else b''\n"
    "def dkim_ok(m):\n"
    "    try: return dkim.DKIM(m).verify(dnsfunc=dns)\n"
    "    except dkim.DKIMException as e: return False\n"
    "def arc(m): return dkim.ARC(m).verify(dnsfunc=dns)[0]\n"
    "for i in range(int(sys.argv[2])):\n"
    "    m = open(d + '/m%d' % i, 'rb').read()\n"
    "    t = m[:-3] + b'!' + m[-3:]\n"
    "    body = b'\\r\\n\\r\\n' in m\n"
    "    if not dkim_ok(m): bad += 1; print('message', i, 'does not verify')\n"
    "    if arc(m) != b'pass': bad += 1; print('message', i, 'seal', arc(m))\n"
    "    if body and dkim_ok(t): bad += 1; print('message', i, 'verifies when changed')\n"
    "    if body and arc(t) != b'fail': bad += 1; print('message', i, 'seal when changed')\n"
    "sys.exit(bad != 0)\n";

/* Chains: dkimpy seals, we forward, dkimpy seals again (5.9). */
static const char chain_py[] =
    "import sys, subprocess, dkim\n"
    "d = sys.argv[1]\n"
    "rec = open(d + '/k0', 'rb').read()\n"
    "if sys.argv[2] == 'make':\n"
    "    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', d + '/key', '2048'],\n"
    "                   check=True, capture_output=True)\n"
    "import base64\n"
    "der = subprocess.run(['openssl', 'rsa', '-in', d + '/key', '-pubout', '-outform', 'DER'],\n"
    "                     check=True, capture_output=True).stdout\n"
    "key = open(d + '/key', 'rb').read()\n"
    "own = b'v=DKIM1; p=' + base64.b64encode(der)\n"
    "dns = lambda name, timeout=5: rec if name.startswith(b'arc1.') else own\n"
    "def cv(m): return dkim.ARC(m).verify(dnsfunc=dns)[0]\n"
    "def seal(m, hop):\n"
    "    c = b'pass' if b'ARC-Seal' in m else b'none'\n"
    "    m = b'Authentication-Results: ' + hop + b'; spf=pass; arc=' + c + b'\\r\\n' + m\n"
    "    return b''.join(dkim.arc_sign(m, b's', hop, key, hop)) + m\n"
    "def need(want, got, what):\n"
    "    if got != want: print(what, got); sys.exit(1)\n"
    "if sys.argv[2] == 'make':\n"
    "    m = seal(open(d + '/p0', 'rb').read(), b'first.example')\n"
    "    need(b'pass', cv(m), 'dkimpy alone')\n"
    "    open(d + '/h0', 'wb').write(m)\n"
    "else:\n"
    "    m = open(d + '/c0', 'rb').read()\n"
    "    need(2, m.count(b'ARC-Seal: '), 'sets')\n"
    "    need(b'pass', cv(m), 'dkimpy, then ours')\n"
    "    need(b'pass', cv(seal(m, b'third.example')), 'and dkimpy again')\n"
    "    need(b'fail', cv(m.replace(b'first.example; spf=pass', b'first.example; spf=fail')),\n"
    "         'first results changed')\n"
    "    need(b'fail', cv(m[:-3] + b'!' + m[-3:]), 'body changed')\n"
    "    need(b'pass', cv(m.replace(b'X-Fwd-Loop', b'X-Fwd-Knot')), 'field that is not signed')\n"
    "    m = open(d + '/c1', 'rb').read()\n"
    "    need(True, b'ARC-Seal: i=2; a=rsa-sha256; t=1728000000; cv=fail;' in m, 'cv=fail')\n"
    "    need(False, cv(m) == b'pass', 'a chain that failed here')\n";

static void
run_python(const char *dir, const char *script, const char *arg)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/%s %s %s", dir, script, dir, arg);
	assert_int_equal(system(cmd), 0);
}

/* The forward copy of a message that has a chain. */
static void
write_chained(struct bench *b, const char *dir, int n, struct slice content,
    enum auth_result arc)
{
	struct forward_copy copy;
	struct buf out;

	reset(b, content);
	b->keys.dkim = b->keys.arc = b->rsa;
	b->env.arc = (uint8_t)arc;
	buf_init(&out, 1024 * 1024);
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_true(copy.sealed);
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.prefix)), 0);
	assert_int_equal(buf_put_slice(&out, content), 0);
	write_file(dir, "c", n, buf_slice(&out));
	forward_copy_fini(&copy);
	buf_fini(&out);
}

static void
chains_of_two_sealers_5_9(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/forward_chain.XXXXXX", path[256], text[32768];
	size_t n;
	FILE *f;

	if (system("/usr/bin/python3 -c 'import dkim' 2>/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	write_record(b->rsa, dir, 0);
	write_file(dir, "chain.py", 0, SLICE_LIT(chain_py));
	write_file(dir, "p", 0, SLICE_LIT(H "\r\nperch\xe9 \xff\x80\r\n.\r\n"));
	run_python(dir, "chain.py0", "make");
	snprintf(path, sizeof(path), "%s/h0", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	write_chained(b, dir, 0, slice_make(text, n), AUTH_PASS);
	write_chained(b, dir, 1, slice_make(text, n), AUTH_FAIL);
	run_python(dir, "chain.py0", "check");
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

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
		cmocka_unit_test(order_with_seal_5_8),
		cmocka_unit_test(not_sealed_5_3),
		cmocka_unit_test(no_field_first_3_14),
		cmocka_unit_test(oversigned_3_2),
		cmocka_unit_test(sender_1_1),
		cmocka_unit_test(new_token),
		cmocka_unit_test(refusals),
		cmocka_unit_test(loop_tag_9_1),
		cmocka_unit_test(loop_9_1),
		cmocka_unit_test(dkimpy_verifies_14_4_1),
		cmocka_unit_test(chains_of_two_sealers_5_9),
	};

	return cmocka_run_group_tests_name("policy/forward", tests, setup, teardown);
}
