// SPDX-License-Identifier: Apache-2.0
/* Munged copies (spec 7.3 - 7.7) octet for octet, both forms as Python's email package
 * reads them, and which form is chosen. */
#include "tests/policy/rewrite_kit.h"

#include <unistd.h>

static void
munged(struct bench *b, const char *want)
{
	struct buf out;
	enum rewrite_result r = rewrite_munge(&b->rq, &b->copy);

	if (r != REWRITE_OK)
		fprintf(stderr, "%s\n", b->copy.reason);
	assert_int_equal(r, REWRITE_OK);
	assert_string_equal(b->copy.reason, "");
	assert_int_equal(buf_len(&b->copy.suffix), 0);
	assert_int_equal(b->copy.header, buf_len(&b->copy.prefix));
	assemble(b, &out);
	expect(buf_slice(&out), want);
	buf_fini(&out);
}

/* --- munge --- */

static void
munge_7_3(void **state)
{
	struct bench *b = *state;

	reset(b, SLICE_LIT("Received: x\r\nFrom: Anna Bianchi <anna@esp.example>\r\nTo: "
	    "m@example.it\r\n"
	    "Subject:  as \r\n  is \r\n\r\n.Ciao\r\n"));
	munged(b, "From: \"Anna Bianchi via Posta Esempio\"\r\n " OURS "\r\n"
	    "Author: Anna Bianchi <anna@esp.example>\r\n"
	    "X-Original-From: Anna Bianchi <anna@esp.example>\r\n"
	    "Reply-To: Anna Bianchi <anna@esp.example>\r\n"
	    "Received: x\r\nTo: m@example.it\r\nSubject:  as \r\n  is \r\n\r\n.Ciao\r\n");
	assert_false(b->copy.eightbit || b->copy.utf8);

	/* Reply-To and Author that are there stay as they are (RFC 9057 3) */
	reset(b, SLICE_LIT("reply-to:\r\n R@esp.example\r\nAuthor: X <x@esp.example>\r\n"
	    "from:anna@esp.example"
	    "\r\n\r\nx"));
	munged(b, "From: \"anna@esp.example via Posta Esempio\"\r\n " OURS "\r\n"
	    "X-Original-From:anna@esp.example\r\n"
	    "reply-to:\r\n R@esp.example\r\nAuthor: X <x@esp.example>\r\n\r\nx");

	/* no token, no brand; From is the last line of all and has no end */
	reset(b, SLICE_LIT("To: x\r\nFrom: a@b.it"));
	b->rq.token = SLICE_NONE;
	b->rq.brand = SLICE_NONE;
	munged(b, "From: \"a@b.it via example.it\"\r\n <fwd@fwd.example.it>\r\nAuthor: a@b.it\r\n"
	    "X-Original-From: a@b.it\r\nReply-To: a@b.it\r\nTo: x\r\n");

	/* a header that ends at junk */
	reset(b, SLICE_LIT("From: a@b.it\r\nnot a field\r\n\r\nx\r\n"));
	munged(b, "From: \"a@b.it via Posta Esempio\"\r\n " OURS "\r\nAuthor: a@b.it\r\n"
	    "X-Original-From: a@b.it\r\nReply-To: a@b.it\r\nnot a field\r\n\r\nx\r\n");
}

static void
display_7_3(void **state)
{
	static const struct {
		const char *from, *want;	/* the first line of From */
	} t[] = {
		{ " Anna <a@b.it>", "\"Anna via Posta Esempio\"" },
		{ " \"Bianchi, Anna \\\"A\\\"\" <a@b.it>", "\"Bianchi, Anna \\\"A\\\" via Posta "
		  "Esempio\"" },
		{ " a@b.it (Anna)", "\"Anna via Posta Esempio\"" },
		{ " =?utf-8?q?Perch=C3=A9?= <a@b.it>",
		  "=?utf-8?Q?Perch=C3=A9_via_Posta_Esempio?=" },
		{ " =?iso-8859-1?b?UGVyY2jp?= <a@b.it>",
		  "=?utf-8?Q?Perch=C3=A9_via_Posta_Esempio?=" },
		/* 8 bits become encoded words: From is ASCII again */
		{ " Perch\xe9 <a@b.it>", "=?utf-8?Q?Perch=C3=A9_via_Posta_Esempio?=" },
		{ " Perch\xc3\xa9 <a@b.it>", "=?utf-8?Q?Perch=C3=A9_via_Posta_Esempio?=" },
		/* a charset that is not ours to decode: the words again */
		{ " =?gb2312?B?1tC5+g==?= <a@b.it>",
		  "=?gb2312?B?1tC5+g==?=\r\n \"via Posta Esempio\"" },
		{ " =?gb2312?B?1tC5+g==?= x <a@b.it>", "\"a@b.it via Posta Esempio\"" },
		/* several mailboxes: the first */
		{ " Anna <a@b.it>, Bea <b@b.it>", "\"Anna via Posta Esempio\"" },
		{ " Team: Anna <a@b.it>, b@b.it;", "\"Anna via Posta Esempio\"" },
		/* hostile */
		{ " =?utf-8?q?=0D=0ABcc=3A_x=40y.it=0D=0A?= <a@b.it>",
		  "\"Bcc: x@y.it via Posta Esempio\"" },
		{ " =?utf-8?q?=22=3Cceo=40b.it=3E?= <a@b.it>", "\"\\\"<ceo@b.it> via Posta "
		  "Esempio\"" },
		{ " =?utf-8?b?4oCuY2Vv?= <a@b.it>", "\"ceo via Posta Esempio\"" },
		{ " \"\" <a@b.it>", "\"a@b.it via Posta Esempio\"" },
		{ " \"unclosed <a@b.it>", "\"\\\"unclosed <a@b.it> via Posta Esempio\"" },
		{ " \x01\x02 <a@b.it>", "\"a@b.it via Posta Esempio\"" },
		{ "\r\n Anna\r\n\t<a@b.it>", "\"Anna via Posta Esempio\"" },
	};
	struct bench *b = *state;
	char content[512], want[512];

	for (size_t i = 0; i < N(t); i++) {
		snprintf(content, sizeof(content), "From:%s\r\nReply-To: x\r\n\r\n", t[i].from);
		reset(b, slice_str(content));
		snprintf(want, sizeof(want), "From: %s\r\n " OURS "\r\nAuthor:%s\r\n"
		    "X-Original-From:%s\r\n"
		    "Reply-To: x\r\n\r\n", t[i].want, t[i].from, t[i].from);
		munged(b, want);
		/* the original is kept as it was written, so its octets decide */
		assert_int_equal(b->copy.eightbit, mime_has_8bit(slice_str(t[i].from)));
	}
	/* long names and brands are cut; the brand is still seen */
	reset(b, SLICE_LIT("From: =?utf-8?q?=E2=82=AC?= "
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    " <a@b.it>\r\n\r\n"));
	b->rq.brand = SLICE_LIT("Posta \xc3\xa8\r\nX: y");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_OK);
	expect_has(buf_slice(&b->copy.prefix), "via_Posta_=C3=A8_X=3A_y?=\r\n " OURS "\r\nAuthor:");
}

static void
signatures_7_3(void **state)
{
	static const struct {
		const char *fields, *left;
	} t[] = {
		{ "DKIM-Signature: v=1; h=From:To; b=x\r\n", "" },
		{ "DKIM-Signature: v=1; h=To :\r\n  fROM; b=x\r\nX: y\r\n", "X: y\r\n" },
		{ "dkim-signature: h=From:Reply-To\r\nDKIM-Signature: a=b; h=Subject:From\r\n",
		  "" },
		/* these were never whole, or say nothing of what changes: as they were */
		{ "DKIM-Signature: v=1; h=To:Subject; b=x\r\n",
		  "DKIM-Signature: v=1; h=To:Subject; b=x\r\n" },
		{ "DKIM-Signature: junk\r\n", "DKIM-Signature: junk\r\n" },
		{ "DKIM-Signature:\r\n", "DKIM-Signature:\r\n" },
		{ "DKIM-Signature: v=1; bh=From; b=x\r\n", "DKIM-Signature: v=1; bh=From; "
		  "b=x\r\n" },
		/* oversigned: it says that there is no Reply-To, and there will be one */
		{ "DKIM-Signature: h=To:Reply-To; b=x\r\n", "" },
		{ "DKIM-Signature: h=To:X-Original-From; b=x\r\n", "" },
		{ "DKIM-Signature: h=To:Author; b=x\r\n", "" },
		/* those of others are not ours to judge; ARC chains go on with a new set */
		{ "ARC-Message-Signature: i=1; h=From; b=x\r\nDomainKey-Signature: h=From\r\n",
		  "ARC-Message-Signature: i=1; h=From; b=x\r\nDomainKey-Signature: h=From\r\n" },
		/* 2.3.10 */
		{ "Disposition-Notification-To: a@b.it\r\nX: y\r\nReturn-receipt-to: a@b.it\r\n",
		  "X: y\r\n" },
	};
	struct bench *b = *state;
	char content[512], want[512];

	for (size_t i = 0; i < N(t); i++) {
		snprintf(content, sizeof(content), "A: 1\r\n%sFrom: a@b.it\r\nB: 2\r\n\r\nx\r\n",
		    t[i].fields);
		reset(b, slice_str(content));
		snprintf(want, sizeof(want), "From: \"a@b.it via Posta Esempio\"\r\n " OURS "\r\n"
		    "Author: a@b.it\r\nX-Original-From: a@b.it\r\nReply-To: a@b.it\r\n"
		    "A: 1\r\n%sB: 2\r\n\r\nx\r\n", t[i].left);
		munged(b, want);
	}
	/* a Reply-To that is there and signed as often as it is stays signed */
	reset(b, SLICE_LIT("DKIM-Signature: h=Reply-To:To\r\nReply-To: r@b.it\r\nFrom: "
	    "a@b.it\r\n\r\n"));
	munged(b, "From: \"a@b.it via Posta Esempio\"\r\n " OURS "\r\nAuthor: a@b.it\r\n"
	    "X-Original-From: a@b.it\r\nDKIM-Signature: h=Reply-To:To\r\nReply-To: r@b.it\r\n\r\n");
}

/* The envelope's own cuts and ours become one list. */
static void
cuts_are_joined(void **state)
{
	static const char content[] = "A-R: forged 1\r\nDKIM-Signature: h=From\r\nX: y\r\nFrom: "
	    "a@b.it\r\n"
	    "A-R: forged 2\r\nA-R: forged 3\r\nZ: z\r\n\r\nbody cut body\r\n";
	struct bench *b = *state;
	struct body_cut c;
	struct slice list;
	unsigned n = 0;

	reset(b, SLICE_LIT(content));
	add_env_cut(b, "A-R: forged 1\r\n");
	add_env_cut(b, "A-R: forged 2\r\nA-R: forged 3\r\n");
	add_env_cut(b, " cut");
	munged(b, "From: \"a@b.it via Posta Esempio\"\r\n " OURS "\r\nAuthor: a@b.it\r\n"
	    "X-Original-From: a@b.it\r\nReply-To: a@b.it\r\nX: y\r\nZ: z\r\n\r\nbody body\r\n");
	for (list = buf_slice(&b->copy.cuts); wire_item_next(&list, &body_cut_wire, &c) == 1; )
		n++;
	assert_int_equal(n, 3);	/* those that touch are one */
	/* a second From that is cut does not count */
	reset(b, SLICE_LIT("From: a@b.it\r\nFrom: c@d.it\r\n\r\n"));
	add_env_cut(b, "From: a@b.it\r\n");
	munged(b, "From: \"c@d.it via Posta Esempio\"\r\n " OURS "\r\nAuthor: c@d.it\r\n"
	    "X-Original-From: c@d.it\r\nReply-To: c@d.it\r\n\r\n");
	/* through a field, out of order, behind the end */
	reset(b, SLICE_LIT("From: a@b.it\r\nX: y\r\n\r\n"));
	add_env_cut(b, "b.it\r\n");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
	assert_string_equal(b->copy.reason, "bad-cuts");
	reset(b, SLICE_LIT("From: a@b.it\r\nX: y\r\n\r\n"));
	add_env_cut(b, "X: y\r\n");
	add_env_cut(b, "From: a@b.it\r\n");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
	assert_int_equal(rewrite_wrap(&b->rq, &b->copy), REWRITE_ERROR);
	reset(b, SLICE_LIT("From: a@b.it\r\nX: y\r\n\r\n"));
	add_env_cut(b, "X: y\r\n\r\n");
	b->rq.content.n -= 1;
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
	b->env.cuts = SLICE_LIT("\1\2\3");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
}

static void
eightbit_is_what_is_sent(void **state)
{
	static const struct {
		const char *content, *cut;
		uint32_t flags;
		bool eightbit, utf8;
	} t[] = {
		{ "From: a@b.it\r\n\r\nx\r\n", "", 0, false, false },
		{ "From: a@b.it\r\n\r\nperch\xe9\r\n", "", ENV_HAS_8BIT, true, false },
		{ "Subject: \xe9\r\nFrom: a@b.it\r\n\r\n", "", ENV_HAS_8BIT, true, false },
		{ "From: \xe9 <a@b.it>\r\n\r\n", "", ENV_HAS_8BIT, true, false },
		/* the only such octets are cut, by others or by us */
		{ "A-R: \xe9\r\nFrom: a@b.it\r\n\r\n", "A-R: \xe9\r\n", ENV_HAS_8BIT, false,
		  false },
		{ "Disposition-Notification-To: \xe9@b.it\r\nFrom: a@b.it\r\n\r\n", "",
		  ENV_HAS_8BIT,
		  false, false },
		{ "From: a@b.it\r\n\r\n", "", ENV_SMTPUTF8, false, true },
		/* whatever the envelope thinks */
		{ "From: a@b.it\r\n\r\nperch\xe9\r\n", "", 0, true, false },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < N(t); i++) {
		reset(b, slice_str(t[i].content));
		b->env.flags = t[i].flags;
		if (t[i].cut[0] != '\0')
			add_env_cut(b, t[i].cut);
		assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_OK);
		assert_int_equal(b->copy.eightbit, t[i].eightbit);
		assert_int_equal(b->copy.utf8, t[i].utf8);
	}
}

static void
munge_refused_7_4(void **state)
{
	static const struct {
		const char *content;
		enum auth_result dmarc;
		uint32_t flags;
		const char *reason;
	} t[] = {
		{ "From: a@b.it\r\n\r\n", AUTH_NONE, 0, "munge-unauthenticated" },
		{ "From: a@b.it\r\n\r\n", AUTH_FAIL, 0, "munge-unauthenticated" },
		{ "From: a@b.it\r\n\r\n", AUTH_UNSET, 0, "munge-unauthenticated" },
		{ "From: a@b.it\r\n\r\n", AUTH_TEMPERROR, 0, "munge-unauthenticated" },
		{ "From: a@b.it\r\n\r\n", AUTH_PASS, ENV_HOLD_ONLY, "munge-unauthenticated" },
		{ "From: a@b.it\r\n\r\n", AUTH_PASS, ENV_HAS_NUL, "nul-octet" },
		{ "From: a@b.it\r\nFrom: a@b.it\r\n\r\n", AUTH_PASS, 0, "munge-not-one-from" },
		{ "To: a@b.it\r\n\r\nFrom: a@b.it\r\n", AUTH_PASS, 0, "munge-not-one-from" },
		{ "", AUTH_PASS, 0, "munge-not-one-from" },
		{ "From: Anna\r\n\r\n", AUTH_PASS, 0, "munge-no-author" },
		{ "From:\r\n\r\n", AUTH_PASS, 0, "munge-no-author" },
		{ "From: undisclosed:;\r\n\r\n", AUTH_PASS, 0, "munge-no-author" },
	};
	struct bench *b = *state;
	struct buf many;

	for (size_t i = 0; i < N(t); i++) {
		reset(b, slice_str(t[i].content));
		b->env.dmarc = (uint8_t)t[i].dmarc;
		b->env.flags = t[i].flags;
		assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_HOLD);
		assert_string_equal(b->copy.reason, t[i].reason);
		assert_int_equal(buf_len(&b->copy.prefix) + buf_len(&b->copy.cuts), 0);
	}
	buf_init(&many, 256 * 1024);
	for (int i = 0; i < REWRITE_CUTS_MAX; i++)
		assert_int_equal(buf_puts(&many, "DKIM-Signature: h=From\r\nX: y\r\n"), 0);
	reset(b, buf_slice(&many));
	assert_int_equal(buf_puts(&many, "From: a@b.it\r\n\r\n"), 0);
	reset(b, buf_slice(&many));
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_HOLD);
	assert_string_equal(b->copy.reason, "munge-too-many-cuts");
	buf_clear(&many);
	assert_int_equal(buf_puts(&many, "From: a@b.it"), 0);
	while (buf_len(&many) < REWRITE_FROM_MAX + 10)
		assert_int_equal(buf_puts(&many, ", a@b.it"), 0);
	reset(b, buf_slice(&many));
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_HOLD);
	buf_fini(&many);

	reset(b, SLICE_LIT("From: a@b.it\r\n\r\n"));
	b->rq.token = SLICE_LIT("x> <evil@x.it");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
	assert_string_equal(b->copy.reason, "bad-return-path");
	reset(b, SLICE_LIT("From: a@b.it\r\n\r\n"));
	b->rq.domain = SLICE_LIT("fwd example");
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_ERROR);
	reset(b, SLICE_LIT("From: a@b.it\r\n\r\n"));
	b->rcpt.address = SLICE_LIT("a@b.it\r\nX: y");
	assert_int_equal(rewrite_wrap(&b->rq, &b->copy), REWRITE_ERROR);
	assert_string_equal(b->copy.reason, "bad-envelope");
}

/* A From of 998 columns is no longer one under a longer name (RFC 5322 2.1.1). */
static void
long_lines(void **state)
{
	struct bench *b = *state;
	char content[1100];
	int n = snprintf(content, sizeof(content), "From: ");

	while (n < 970)
		n += snprintf(content + n, 20, "aaaaaa%03d@b.it, ", n);
	snprintf(content + n, 50, "z@b.it\r\n\r\n");
	reset(b, slice_str(content));
	assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_OK);
	assert_true(mime_is_plain(buf_slice(&b->copy.prefix)));
	expect_has(buf_slice(&b->copy.prefix), "\r\nX-Original-From:\r\n aaaaaa");
}

/* --- which form --- */

static void
choose_7_2_to_7_6(void **state)
{
#define SAFE	.survivable = true
#define QUAR	.policy = DMARC_QUARANTINE
#define REJ	.policy = DMARC_REJECT
#define NOAUTH	.refusal = REWRITE_REFUSED_AUTH
#define NOSTRUCT .refusal = REWRITE_REFUSED_STRUCTURE
	static const struct {
		struct rewrite_case c;
		enum auth_result dmarc;
		enum rewrite_form want;
	} t[] = {
		/* 7.1, 7.2 */
		{ { .mode = REWRITE_AUTO, SAFE, REJ }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_MUNGE, SAFE, REJ }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_NEVER, SAFE, REJ }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_MUNGE, .policy = DMARC_NONE }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_MUNGE, QUAR }, AUTH_NONE, REWRITE_AS_IS },
		/* 7.3 auto */
		{ { .mode = REWRITE_AUTO, QUAR }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_AUTO, REJ }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_AUTO, REJ, .auth_refusals = 2 }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_AUTO, REJ, .auth_refusals = 3 }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_AUTO, REJ, .auth_refusals = 3, .accepted = true }, AUTH_PASS,
		  REWRITE_AS_IS },
		/* the other modes */
		{ { .mode = REWRITE_MUNGE, REJ }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_WRAP, QUAR }, AUTH_PASS, REWRITE_AS_WRAP },
		{ { .mode = REWRITE_TRY, QUAR }, AUTH_PASS, REWRITE_AS_IS },
		{ { .mode = REWRITE_NEVER, REJ }, AUTH_PASS, REWRITE_NOT_AT_ALL },
		/* a refusal: one retry, in another form (8.5) */
		{ { .mode = REWRITE_TRY, REJ, NOAUTH }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_AUTO, REJ, NOAUTH }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_AUTO, REJ, SAFE, NOAUTH }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_TRY, REJ, NOAUTH, .transformed = true }, AUTH_PASS,
		  REWRITE_NOT_AT_ALL },
		{ { .mode = REWRITE_NEVER, SAFE, NOAUTH }, AUTH_PASS, REWRITE_NOT_AT_ALL },
		{ { .mode = REWRITE_TRY, NOAUTH }, AUTH_NONE, REWRITE_NOT_AT_ALL },	/* 7.4 */
		{ { .mode = REWRITE_TRY, NOAUTH }, AUTH_FAIL, REWRITE_NOT_AT_ALL },
		/* 7.6 */
		{ { .mode = REWRITE_AUTO, NOSTRUCT }, AUTH_PASS, REWRITE_AS_WRAP },
		{ { .mode = REWRITE_AUTO, NOSTRUCT }, AUTH_NONE, REWRITE_AS_WRAP },
		{ { .mode = REWRITE_AUTO, NOSTRUCT }, AUTH_FAIL, REWRITE_NOT_AT_ALL },
		{ { .mode = REWRITE_AUTO, NOSTRUCT, .transformed = true }, AUTH_PASS,
		  REWRITE_NOT_AT_ALL },
		/* 7.5: the mark */
		{ { .mode = REWRITE_AUTO, SAFE, .marked = true }, AUTH_PASS, REWRITE_AS_MUNGE },
		{ { .mode = REWRITE_AUTO, SAFE, .marked = true }, AUTH_NONE, REWRITE_AS_IS },
		{ { .mode = REWRITE_NEVER, SAFE, .marked = true }, AUTH_PASS, REWRITE_AS_IS },
	};
	struct envelope env = { .spf = AUTH_PASS };

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		env.dmarc = (uint8_t)t[i].dmarc;
		if (rewrite_choose(&env, &t[i].c) != t[i].want)
			fprintf(stderr, "case %zu\n", i);
		assert_int_equal(rewrite_choose(&env, &t[i].c), t[i].want);
	}
}

/* --- read by others --- */

#define BODY	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
	"Content-Transfer-Encoding: 8bit\r\n\r\nPerch\xc3\xa9\r\n.dot\r\n--x\r\n"

static const char *const samples[] = {
	"From: Anna <a@b.it>\r\nTo: m@example.it\r\nSubject: ciao\r\n" BODY,
	"From: \"Bianchi, A. \\\"x\\\"\" <a@b.it>\r\nSubject: =?utf-8?q?Perch=C3=A9?=\r\n" BODY,
	"From: =?utf-8?b?UGVyY2jDqSBubw==?= =?utf-8?q?!?= <a@b.it>\r\nSubject: "
	"Perch\xc3\xa9\r\n" BODY,
	"From: Perch\xc3\xa9 no <a@b.it>, c@b.it\r\nReply-To: r@b.it\r\n" BODY,
	"From: a@b.it (Anna)\r\nSubject: a\r\n b\r\n" BODY,
	"From: =?gb2312?B?1tC5+g==?= <a@b.it>\r\nDKIM-Signature: v=1; h=From; b=x\r\n" BODY,
	"From: <a@b.it>\r\nX: 1\r\n\r\n",
	"From: Team: Anna <a@b.it>;\r\n" BODY,
};

static const char read_py[] =
    "import sys, email, email.policy, email.header, email.utils\n"
    "d = sys.argv[1]\n"
    "names = ['Anna', 'Bianchi, A. \"x\"', 'Perch\\u00e9 no!', 'Perch\\u00e9 no', 'Anna',\n"
    "    '\\u4e2d\\u56fd', 'a@b.it', 'Anna']\n"
    "for i in range(int(sys.argv[2])):\n"
    "    raw = open(d + '/m%d' % i, 'rb').read()\n"
    "    content = open(d + '/c%d' % i, 'rb').read()\n"
    "    m = email.message_from_bytes(raw, policy=email.policy.SMTP)\n"
    "    orig = email.message_from_bytes(content, policy=email.policy.SMTP)\n"
    "    assert len(m.get_all('From')) == 1\n"
    "    a, = m['From'].addresses\n"
    "    assert a.addr_spec == 'fwd+" TOKEN "@fwd.example.it', a\n"
    "    assert a.display_name == names[i] + ' via Posta Esempio', a\n"
    "    c = email.message_from_bytes(raw)\n"
    "    o = email.message_from_bytes(content)\n"
    "    assert str(c['Author']) == str(c['X-Original-From']) == str(o['From'])\n"
    "    assert str(c['Reply-To']) == str(o['Reply-To'] or o['From'])\n"
    "    assert 'DKIM-Signature' not in c\n"
    "    at = content.index(b'\\r\\n\\r\\n')\n"
    "    assert raw.endswith(content[at:])\n"
    "    for k in o.keys():\n"
    "        if k not in ('From', 'DKIM-Signature', 'Reply-To'):\n"
    "            assert [str(x) for x in c.get_all(k)] == [str(x) for x in o.get_all(k)], k\n"
    "\n"
    "    raw = open(d + '/w%d' % i, 'rb').read()\n"
    "    m = email.message_from_bytes(raw, policy=email.policy.SMTP)\n"
    "    assert not m.defects, m.defects\n"
    "    a, = m['From'].addresses\n"
    "    assert (a.display_name, a.addr_spec) == ('Posta Esempio', 'fwd@fwd.example.it')\n"
    "    assert m['Auto-Submitted'] == 'auto-generated'\n"
    "    assert str(m['Subject']) == str(orig['Subject'] or '(senza oggetto / no subject)'), i\n"
    "    text, att = m.get_payload()\n"
    "    assert text.get_content_type() == 'text/plain' and not text.defects\n"
    "    t = text.get_content()\n"
    "    assert 'mario@example.it' in t and 'a@b.it' in t and 'raggiungibile' in t\n"
    "    if i != 5 and i != 6: assert names[i] + ' <a@b.it>' in t, t\n"
    "    assert att.get_content_type() == 'message/rfc822' and not att.defects\n"
    "    inner, = att.get_payload()\n"
    "    assert str(inner['From']) == str(orig['From'])\n"
    "    b = m.get_boundary().encode()\n"
    "    assert b not in content\n"
    "    part = raw.split(b'\\r\\n--' + b)[2]\n"
    "    assert part[part.index(b'\\r\\n\\r\\n') + 4:] == content, i\n";

static void
python_reads_them(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/rewrite_test.XXXXXX", cmd[512];
	struct buf out;

	if (system("/usr/bin/python3 -c 'import email.policy' 2>/dev/null") != 0) {
		print_message("no python3 here\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < N(samples); i++) {
		reset(b, slice_str(samples[i]));
		assert_int_equal(rewrite_munge(&b->rq, &b->copy), REWRITE_OK);
		assemble(b, &out);
		write_file(dir, "m", (int)i, buf_slice(&out));
		buf_fini(&out);
		reset(b, slice_str(samples[i]));
		write_file(dir, "w", (int)i, wrapped(b, &out));
		buf_fini(&out);
		write_file(dir, "c", (int)i, slice_str(samples[i]));
	}
	write_file(dir, "r.py", 0, SLICE_LIT(read_py));
	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/r.py0 %s %zu", dir, dir, N(samples));
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(munge_7_3),
		cmocka_unit_test(display_7_3),
		cmocka_unit_test(signatures_7_3),
		cmocka_unit_test(cuts_are_joined),
		cmocka_unit_test(eightbit_is_what_is_sent),
		cmocka_unit_test(munge_refused_7_4),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(choose_7_2_to_7_6),
		cmocka_unit_test(python_reads_them),
	};

	return cmocka_run_group_tests_name("policy/rewrite", tests, setup, teardown);
}
