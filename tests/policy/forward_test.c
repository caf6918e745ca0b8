// SPDX-License-Identifier: Apache-2.0
/* Forward copies: order and content of the block (spec 3.2 - 3.4, 3.14, 3.17, 4.3, 8.12,
 * 9.1), the return path by mode (1.1), seals (5.2 - 5.8) and forms (7). */
#include "policy/header.h"
#include "tests/policy/forward_kit.h"

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
	bool local = b->rq.local;

	reset(b, SLICE_LIT(PLAIN));
	b->rq.local = local;
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
spec_1_1_1_and_1_1_2_and_1_1_3_and_1_1_4_senders(void **state)
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
	    "SRS0=VuiGMUce=RA=example.com=mario.rossi@fwd.example.it", TOKEN);	/* for ENVID */
	b->rq.local = true;		/* 1.2.12: it could not be taken back */
	expect_sender(b, RETURN_SRS, sender, TOKEN, OPAQUE, TOKEN);
	b->rq.local = false;
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

#define IDENTIFIED "Message-ID: <1@esp.example>\r\n" PLAIN

/* The copy names its original, to nobody but us, and under its own Message-ID only. */
static void
loop_9_1_names_the_original(void **state)
{
	struct bench *b = *state;
	const struct token_leg leg = { .id = { { 1, 2, 3 } }, .rcpt_index = 5, .attempt = 1 };
	char token[SRS_TOKEN_LEN + 1], text[8192], field[256], bent[256];
	struct forward_copy c;
	struct token_leg got;

	token_seal(b->keys.srs.secret[0], &leg, token);
	reset(b, SLICE_LIT(IDENTIFIED));
	b->rq.token = slice_str(token);
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	assert_int_equal(slice_cstr(buf_slice(&c.prefix), text, sizeof(text)), 0);
	forward_copy_fini(&c);
	char *at = strstr(text, "X-Fwd-Loop: "), *end = strstr(text, "Delivered-To: ");
	assert_true(at != NULL && end != NULL && at < end);
	assert_int_equal(slice_cstr(slice_make(at, (size_t)(end - at)), field, sizeof(field)), 0);
	assert_non_null(strstr(field, token));
	memcpy(bent, field, sizeof(bent));
	char *dot = strchr(bent, '.');
	dot[1] = dot[1] == '0' ? '1' : '0';
	const struct { const char *field, *rest, *user; enum forward_tag want; } t[] = {
		{ field, IDENTIFIED, "mario@example.it", FORWARD_TAG_COPY },
		{ field, "Message-ID: <2@esp.example>\r\n" PLAIN, "mario@example.it",
		  FORWARD_TAG_OURS },
		{ field, "Message-ID: <2@esp.example>\r\n" IDENTIFIED, "mario@example.it",
		  FORWARD_TAG_OURS },
		{ field, PLAIN, "mario@example.it", FORWARD_TAG_OURS },
		{ bent, IDENTIFIED, "mario@example.it", FORWARD_TAG_OURS },
		{ field, IDENTIFIED, "anna@example.it", FORWARD_TAG_NONE },
		{ "X-Fwd-Loop: 0 x\r\n", IDENTIFIED, "mario@example.it", FORWARD_TAG_NONE },
		{ "X-Fwd-Loop:\r\n", IDENTIFIED, "mario@example.it", FORWARD_TAG_NONE },
		{ "", IDENTIFIED, "mario@example.it", FORWARD_TAG_NONE },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", t[i].field, t[i].rest);
		reset(b, slice_str(text));
		b->rcpt.user = slice_str(t[i].user);
		assert_int_equal(forward_tag_read(&b->keys, &b->rq, &got), t[i].want);
		if (t[i].want != FORWARD_TAG_COPY)
			continue;
		assert_memory_equal(&got.id, &leg.id, sizeof(leg.id));
		assert_int_equal(got.rcpt_index, 5);
		forward_copy_init(&c);	/* and it is never forwarded */
		assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_HOLD);
		assert_string_equal(c.reason, "loop");
		forward_copy_fini(&c);
	}
}

/* --- what is taken out, and other forms --- */

/* A relay repairs nothing: a signer may have signed that there was none. */
static void
spec_3_15_what_is_missing_is_not_added(void **state)
{
	static const char *const name[] = { "Date", "From", "Message-ID", "To", "Subject", "Sender" };
	struct bench *b = *state;
	struct forward_copy c;

	reset(b, SLICE_LIT("X-Only: this\r\n\r\nbody\r\n"));
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	assert_string_equal(c.form, "");
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		struct header_field f;
		struct header h;

		header_start(&h, buf_slice(&c.prefix));
		while (header_next(&h, &f))
			assert_false(header_is(&f, name[i]));
	}
	assert_int_equal(buf_len(&c.cuts) + buf_len(&c.suffix), 0);
	forward_copy_fini(&c);
}

static void
expect_cuts(struct forward_copy *c, struct slice content, const char *const want[])
{
	struct slice list = buf_slice(&c->cuts);
	struct body_cut cut;
	size_t n = 0;

	while (wire_item_next(&list, &body_cut_wire, &cut) == 1) {
		assert_non_null(want[n]);
		assert_true(slice_eq(slice_sub(content, cut.off, cut.off + cut.len),
		    slice_str(want[n])));
		n++;
	}
	assert_null(want[n]);
}

/* 2.3.10: requests for receipts go, unless a good signature covers them. */
static void
receipts_2_3_10(void **state)
{
	static const char text[] = "Return-Receipt-To: a@b.it\r\nSubject: x\r\n"
	    "Authentication-Results: mx2; none\r\nDISPOSITION-notification-to:\r\n a@b.it\r\n"
	    PLAIN "Return-Receipt-To: in the body\r\n";
	static const char *const all[] = { "Return-Receipt-To: a@b.it\r\n",
		"Authentication-Results: mx2; none\r\n",
		"DISPOSITION-notification-to:\r\n a@b.it\r\n", NULL };
	static const char *const no_dnt[] = { all[0], all[1], NULL };
	static const char *const none[] = { all[1], NULL };
	static const struct {
		uint32_t flags;
		const char *const *want;
		unsigned kept;
	} t[] = {
		{ 0, all, 0 }, { ENV_SIGNED_DNT, no_dnt, 1 },
		{ ENV_SIGNED_DNT | ENV_SIGNED_RRT, none, 2 },
	};
	struct bench *b = *state;
	struct body_cut cut = { (uint64_t)(strstr(text, "Auth") - text), strlen(all[1]) };
	struct forward_copy c;
	struct buf cuts, many;

	buf_init(&cuts, 64);
	assert_int_equal(wire_item_put(&cuts, &body_cut_wire, &cut), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		reset(b, SLICE_LIT(text));
		b->env.flags = t[i].flags;
		b->env.cuts = buf_slice(&cuts);
		forward_copy_init(&c);
		assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
		expect_cuts(&c, b->rq.content, t[i].want);
		assert_int_equal(c.receipts, t[i].kept);
		forward_copy_fini(&c);
	}
	buf_init(&many, 1024 * 1024);
	for (int i = 0; i < 2 * FORWARD_CUTS_MAX; i++)
		assert_int_equal(buf_puts(&many, "Return-Receipt-To: a@b.it\r\n"), 0);
	assert_int_equal(buf_puts(&many, PLAIN), 0);
	reset(b, buf_slice(&many));
	expect_refused(b, FORWARD_HOLD, "too-many-cuts");
	buf_fini(&many);
	buf_fini(&cuts);
}

/* 7.1 - 7.6 as they come out of envelope and configuration. */
static void
forms_7_3(void **state)
{
	enum { AS_IS, MUNGE, WRAP, HELD };
	static const struct {
		uint8_t		 dmarc;
		uint32_t	 flags;
		struct rewrite_case form;
		int		 want;
		const char	*reason;
	} t[] = {
		/* 7.2, 7.1 */
		{ AUTH_NONE, 0, { .mode = REWRITE_MUNGE }, AS_IS, "" },
		{ AUTH_PASS, 0, { .mode = REWRITE_MUNGE }, AS_IS, "" },
		{ AUTH_PASS, ENV_REJECT | ENV_SURVIVABLE, { .mode = REWRITE_MUNGE }, AS_IS, "" },
		/* 7.3 */
		{ AUTH_PASS, ENV_QUARANTINE, { .mode = REWRITE_AUTO }, MUNGE, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_AUTO }, AS_IS, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_AUTO, .auth_refusals = 3 }, MUNGE, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_AUTO, .auth_refusals = 9,
		  .accepted = true }, AS_IS, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_MUNGE }, MUNGE, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_WRAP }, WRAP, "" },
		{ AUTH_PASS, ENV_QUARANTINE, { .mode = REWRITE_TRY }, AS_IS, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_NEVER }, HELD, "unsurvivable" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_TRY, .refusal = REWRITE_REFUSED_AUTH },
		  MUNGE, "" },
		{ AUTH_PASS, ENV_REJECT, { .mode = REWRITE_TRY, .refusal = REWRITE_REFUSED_AUTH,
		  .transformed = true }, HELD, "unsurvivable" },
		/* 7.5, 7.6 */
		{ AUTH_PASS, ENV_REJECT | ENV_SURVIVABLE, { .marked = true }, MUNGE, "" },
		{ AUTH_PASS, 0, { .refusal = REWRITE_REFUSED_STRUCTURE }, WRAP, "" },
		/* 6.6 lets it go, but nobody vouches for its author: as it is */
		{ AUTH_FAIL, ENV_REJECT, { .mode = REWRITE_MUNGE }, AS_IS, "" },
	};
	static const char *const form[] = { "", "munge", "wrap", "" };
	struct bench *b = *state;
	struct forward_copy c;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		reset(b, SLICE_LIT(PLAIN));
		b->env.dmarc = t[i].dmarc;
		b->env.spf = AUTH_PASS;
		b->env.flags = t[i].flags;
		b->rq.form = t[i].form;
		forward_copy_init(&c);
		if (forward_build(&b->keys, &b->rq, &c) != (t[i].want == HELD ? FORWARD_HOLD :
		    FORWARD_OK) || strcmp(c.form, form[t[i].want]) != 0)
			print_error("%zu: form '%s' reason '%s'\n", i, c.form, c.reason);
		assert_string_equal(c.form, form[t[i].want]);
		assert_string_equal(c.reason, t[i].reason);
		assert_int_equal(buf_len(&c.suffix) > 0, t[i].want == WRAP);
		forward_copy_fini(&c);
	}
	/* without a forwarder there is no address to put there */
	reset(b, SLICE_LIT(PLAIN));
	b->env.dmarc = AUTH_PASS;
	b->env.flags = ENV_QUARANTINE;
	b->rq.mode = RETURN_NULL;
	b->keys.srs.domain = SLICE_NONE;
	expect_refused(b, FORWARD_HOLD, "no-forwarder");
	b->keys.srs.domain = SLICE_LIT("fwd.example.it");
}

/* 7.3: our block, then the new From, then what is left; nothing of a From below. */
static void
munged_7_3(void **state)
{
	static const char *const cuts[] = { "From: a@esp.example\r\n", NULL };
	struct bench *b = *state;
	struct forward_copy c;
	char want[4096];

	reset(b, SLICE_LIT(PLAIN));
	b->env.dmarc = AUTH_PASS;
	b->env.flags = ENV_QUARANTINE;
	b->rq.brand = SLICE_LIT("Posta Esempio");
	forward_copy_init(&c);
	assert_int_equal(forward_build(&b->keys, &b->rq, &c), FORWARD_OK);
	snprintf(want, sizeof(want), ADDED "From: \"a@esp.example via Posta Esempio\"\r\n"
	    " <fwd+" TOKEN "@fwd.example.it>\r\nAuthor: a@esp.example\r\n"
	    "X-Original-From: a@esp.example\r\nReply-To: a@esp.example\r\n", b->loop);
	if (!slice_eq(buf_slice(&c.prefix), slice_str(want)))
		print_error("%.*s", SLICE_FMT(buf_slice(&c.prefix)));
	assert_true(slice_eq(buf_slice(&c.prefix), slice_str(want)));
	expect_cuts(&c, b->rq.content, cuts);
	assert_true(slice_eq(buf_slice(&c.mail_from), SLICE_LIT(OPAQUE)));
	forward_copy_fini(&c);
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
		cmocka_unit_test(spec_1_1_1_and_1_1_2_and_1_1_3_and_1_1_4_senders),
		cmocka_unit_test(new_token),
		cmocka_unit_test(refusals),
		cmocka_unit_test(loop_tag_9_1),
		cmocka_unit_test(loop_9_1),
		cmocka_unit_test(loop_9_1_names_the_original),
		cmocka_unit_test(spec_3_15_what_is_missing_is_not_added),
		cmocka_unit_test(receipts_2_3_10),
		cmocka_unit_test(forms_7_3),
		cmocka_unit_test(munged_7_3),
	};

	return cmocka_run_group_tests_name("policy/forward", tests, setup, teardown);
}
