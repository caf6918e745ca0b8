// SPDX-License-Identifier: Apache-2.0
/* Body hashes of spec 14.2, the relaxed forms of RFC 6376 3.4, and signatures checked
 * with the public key by OpenSSL alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "policy/sign.h"

static void
expect_body(struct sign_body *b, struct slice body, size_t step, const char *want)
{
	uint8_t hash[SIGN_HASH];
	struct buf text;

	sign_body_start(b);
	for (size_t i = 0; i < body.n; i += step)
		sign_body_put(b, slice_sub(body, i, i + step));
	sign_body_end(b, hash);
	buf_init(&text, 64);
	assert_int_equal(crypto_base64(&text, slice_make(hash, sizeof(hash))), 0);
	if (!slice_eq(buf_slice(&text), slice_str(want)))
		print_error("step %zu: %.*s\n", step, SLICE_FMT(body));
	assert_true(slice_eq(buf_slice(&text), slice_str(want)));
	buf_fini(&text);
}

static void
body_hashes_14_2(void **state)
{
	static const char ciao[] = "ciDuzfM/tukPIkqm1PCWoA4Z/lK/ehAYluOFro6Cvis=";
	static const char empty[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
	static const struct {
		const char *body, *want;
	} t[] = {
		{ "", empty }, { "\r\n", empty }, { "\r\n\r\n", empty }, { " \t\r\n \r\n", empty },
		{ "Ciao", ciao }, { "Ciao\r\n", ciao }, { "Ciao\r\n\r\n\r\n", ciao },
		{ "Ciao \r\n", ciao }, { "Ciao \t", ciao }, { "Ciao\r\n \r\n\t\t\r\n", ciao },
		{ "a  b\tc \r\n", "pYVePhZjdejUjjSwxSvSVt1nqG8wrbq3CdvBaYzhFXw=" },
		{ "a b c\r\n", "pYVePhZjdejUjjSwxSvSVt1nqG8wrbq3CdvBaYzhFXw=" },
		{ ".\r\n.x\r\n", "YDTJaCdO5Pd8MVfXfUJF/FzvB0ccuDnWsdEaksh3y3Y=" },
		{ "From me\r\n", "gSSWqz/AqRKmRQgML8wN30dn0bzaQVaGgQJtmRFpif8=" },
		{ "perch\xc3\xa9\r\n", "w4xsmfj+eKB3pS5EO/ochELoasuWOmqaPteKjABC1gc=" },
	};
	struct sign_body *b = sign_body_new();

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		for (size_t step = 1; step <= strlen(t[i].body) + 1; step++)
			expect_body(b, slice_str(t[i].body), step, t[i].want);
	sign_body_free(&b);
	assert_null(b);
}

/* The plain definition, line by line, with nothing clever in it. */
static void
plain_relaxed(struct slice in, struct buf *out)
{
	size_t keep = 0, i = 0;

	buf_clear(out);
	while (i < in.n) {
		size_t end = i;

		while (end < in.n && !(in.p[end] == '\r' && end + 1 < in.n &&
		    in.p[end + 1] == '\n'))
			end++;
		for (size_t j = i; j < end; j++) {
			bool ws = in.p[j] == ' ' || in.p[j] == '\t';

			if (!ws) {
				assert_int_equal(buf_put(out, in.p + j, 1), 0);
				keep = buf_len(out);
			} else {
				while (j + 1 < end && (in.p[j + 1] == ' ' || in.p[j + 1] == '\t'))
					j++;
				if (j + 1 < end)
					assert_int_equal(buf_put(out, " ", 1), 0);
			}
		}
		if (end < in.n)
			assert_int_equal(buf_put(out, "\r\n", 2), 0);
		i = end + 2;
	}
	out->n = out->off + keep;
	if (keep > 0)
		assert_int_equal(buf_put(out, "\r\n", 2), 0);
}

static void
body_against_plain_definition(void **state)
{
	static const char *const piece[] = {
		"a", "bc", " ", "  ", "\t", "\r\n", "\r\n", "\r", "\n", "\xe8", ".",
		"a line of some length, as mail has", "\r\n\r\n", "\x01",
	};
	/* mail as it mostly is: long runs that are canonical as they stand */
	static const char *const calm[] = { "word", " another", "\r\nx", "\r\n\r\n y" };
	struct sign_body *b = sign_body_new();
	uint8_t hash[SIGN_HASH];
	struct buf in, out, want;
	uint32_t r = 12345;

	(void)state;
	buf_init(&in, 65536);
	buf_init(&out, 65536);
	buf_init(&want, 64);
	for (int round = 0; round < 3000; round++) {
		size_t n = (r >> 8) % (round % 50 == 0 ? 1500 : round % 2 == 0 ? 150 : 30);
		char text[64];

		buf_clear(&in);
		buf_clear(&want);
		for (size_t i = 0; i < n; i++) {
			r = r * 1664525 + 1013904223;
			assert_int_equal(buf_puts(&in, round % 2 == 0 && (r >> 8) % 32 != 0 ?
			    calm[(r >> 16) % (sizeof(calm) / sizeof(calm[0]))] :
			    piece[(r >> 16) % (sizeof(piece) / sizeof(piece[0]))]), 0);
		}
		r = r * 1664525 + 1013904223;
		plain_relaxed(buf_slice(&in), &out);
		crypto_sha256(buf_slice(&out), hash);
		assert_int_equal(crypto_base64(&want, slice_make(hash, sizeof(hash))), 0);
		assert_int_equal(slice_cstr(buf_slice(&want), text, sizeof(text)), 0);
		expect_body(b, buf_slice(&in), 1 + (r >> 8) % 40, text);
		expect_body(b, buf_slice(&in), 65536, text);
	}
	buf_fini(&in);
	buf_fini(&out);
	buf_fini(&want);
	sign_body_free(&b);
}

static void
relaxed_fields_3_4_2(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "A: X\r\n", "a:X" }, { "B : Y\t\r\n\tZ  \r\n", "b:Y Z" },
		{ "SubJect: AbC\r\n", "subject:AbC" }, { "S:\r\n", "s:" }, { "S: \r\n", "s:" },
		{ "S:x", "s:x" }, { "S:\r\n x\r\n", "s:x" }, { "S: a:b \t c", "s:a:b c" },
		{ "S: \xc3\xa8  \xff\r\n", "s:\xc3\xa8 \xff" }, { "none", "none:" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 128);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_clear(&b);
		assert_int_equal(sign_relax(&b, slice_str(t[i].in)), 0);
		assert_true(slice_eq(buf_slice(&b), slice_str(t[i].out)));
	}
	buf_fini(&b);
	buf_init(&b, 3);
	assert_int_equal(sign_relax(&b, SLICE_LIT("A: long\r\n")), -1);
	buf_fini(&b);
}

static void
selection_5_4_2(void **state)
{
	static const char *const raw[] = { "From: a\r\n", "To: 1\r\n", "to: 2\r\n", "X: y\r\n",
		"TO : 3\r\n" };
	struct sign_fields f = { 0 };
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(raw) / sizeof(raw[0]); i++) {
		struct slice s = slice_str(raw[i]);

		assert_int_equal(sign_fields_add(&f, slice_trim(slice_sub(s, 0,
		    slice_find(s, ':'))), s), 0);
	}
	buf_init(&b, 256);
	assert_int_equal(sign_select(&b, &f, SLICE_LIT("From:From: To :Subject:to:TO:to")), 0);
	assert_true(slice_eq(buf_slice(&b),
	    SLICE_LIT("from:a\r\nto:3\r\nto:2\r\nto:1\r\n")));
	buf_fini(&b);
	while (f.n < SIGN_FIELDS_MAX)
		assert_int_equal(sign_fields_add(&f, SLICE_LIT("X"), SLICE_LIT("X:")), 0);
	assert_int_equal(sign_fields_add(&f, SLICE_LIT("X"), SLICE_LIT("X:")), -1);
	sign_fields_fini(&f);
	assert_int_equal(f.n, 0);
}

/* A fresh key as PEM text, owned by the caller. */
static char *
make_pem(const char *type, unsigned bits, const char *pass)
{
	EVP_PKEY *k = bits != 0 ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, type);
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *copy;
	long n;

	assert_non_null(k);
	assert_int_equal(PEM_write_bio_PrivateKey(bio, k, pass == NULL ? NULL : EVP_aes_128_cbc(),
	    (const unsigned char *)pass, pass == NULL ? 0 : (int)strlen(pass), NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	copy = slice_dup(slice_make(p, (size_t)n));
	BIO_free(bio);
	EVP_PKEY_free(k);
	return copy;
}

/* The public key as a verifier would have it from the DNS record. */
static EVP_PKEY *
public_of(const struct sign_key *k)
{
	struct buf rec, raw;
	struct slice text;
	const unsigned char *der;
	EVP_PKEY *pub;

	buf_init(&rec, 8192);
	buf_init(&raw, 8192);
	assert_int_equal(sign_key_record(k, &rec), 0);
	text = buf_slice(&rec);
	text = slice_sub(text, slice_find(text, 'p'), text.n);
	assert_true(slice_istarts(text, SLICE_LIT("p=")));
	assert_int_equal(crypto_unbase64(&raw, slice_sub(text, 2, text.n)), 0);
	der = (const unsigned char *)buf_slice(&raw).p;
	if (strcmp(sign_key_algorithm(k), "rsa-sha256") == 0)
		pub = d2i_PUBKEY(NULL, &der, (long)buf_len(&raw));
	else
		pub = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, der, buf_len(&raw));
	assert_non_null(pub);
	buf_fini(&rec);
	buf_fini(&raw);
	return pub;
}

static void
check_signature(const struct sign_key *k, struct slice signed_text, struct slice b64)
{
	EVP_PKEY *pub = public_of(k);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t hash[SIGN_HASH];
	struct buf raw;
	int ok;

	buf_init(&raw, 4096);
	assert_int_equal(crypto_unbase64(&raw, b64), 0);
	crypto_sha256(signed_text, hash);
	if (strcmp(sign_key_algorithm(k), "rsa-sha256") == 0) {
		assert_int_equal(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, pub), 1);
		ok = EVP_DigestVerify(md, (const unsigned char *)raw.p, buf_len(&raw),
		    (const unsigned char *)signed_text.p, signed_text.n);
	} else {
		assert_int_equal(EVP_DigestVerifyInit(md, NULL, NULL, NULL, pub), 1);
		ok = EVP_DigestVerify(md, (const unsigned char *)raw.p, buf_len(&raw), hash,
		    sizeof(hash));
	}
	assert_int_equal(ok, 1);
	buf_fini(&raw);
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(pub);
}

static void
whole_field(void **state)
{
	static const char head[] =
	    "; c=relaxed/relaxed;\r\n\td=fwd.example.it; s=s1; t=1700000000;\r\n"
	    "\th=From:From:To;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=";
	static const char canon[] = "from:a@b.it\r\nto:c@d.it\r\ndkim-signature:v=1; a=";
	static const char canon_end[] = "; c=relaxed/relaxed; d=fwd.example.it; s=s1; "
	    "t=1700000000; h=From:From:To; "
	    "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=";
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = SLICE_LIT("fwd.example.it"), .selector = SLICE_LIT("s1"),
		.when = 1700000000, .h = SLICE_LIT("From:From:To"),
	};
	struct sign_fields f = { 0 };
	uint8_t bh[SIGN_HASH];

	(void)state;
	crypto_sha256(SLICE_NONE, bh);
	assert_int_equal(sign_fields_add(&f, SLICE_LIT("From"), SLICE_LIT("From: a@b.it\r\n")), 0);
	assert_int_equal(sign_fields_add(&f, SLICE_LIT("To"), SLICE_LIT("To:  c@d.it\r\n")), 0);
	for (int ed = 0; ed < 2; ed++) {
		char *pem = make_pem("ED25519", ed ? 0 : 2048, NULL), text[512];
		const char *why = NULL, *alg = ed ? "ed25519-sha256" : "rsa-sha256";
		struct sign_key *k = sign_key_new(slice_str(pem), &why);
		struct buf out;
		struct slice s;
		int n;

		assert_non_null(k);
		assert_string_equal(sign_key_algorithm(k), alg);
		buf_init(&out, 4096);
		for (int again = 0; again < 3; again++) {
			buf_clear(&out);
			assert_int_equal(sign_field(&out, k, &spec, &f, bh), 0);
			s = buf_slice(&out);
			n = snprintf(text, sizeof(text), "DKIM-Signature: v=1; a=%s%s", alg, head);
			assert_true(slice_istarts(s, slice_make(text, (size_t)n)));
			assert_memory_equal(s.p + s.n - 2, "\r\n", 2);
			s = slice_sub(s, (size_t)n, s.n);
			n = snprintf(text, sizeof(text), "%s%s%s", canon, alg, canon_end);
			check_signature(k, slice_make(text, (size_t)n), s);
		}
		buf_fini(&out);
		sign_key_free(&k);
		assert_null(k);
		free(pem);
	}
	sign_fields_fini(&f);
}

/* No line over 78 columns, however many names (RFC 5322 2.1.1). */
static void
folding(void **state)
{
	char *pem = make_pem("RSA", 2048, NULL);
	const char *why;
	struct sign_key *k = sign_key_new(slice_str(pem), &why);
	const struct sign_spec spec = {
		.name = SLICE_LIT("ARC-Message-Signature"), .first = SLICE_LIT("i=1;"),
		.domain = SLICE_LIT("fwd.example.it"), .selector = SLICE_LIT("s1"), .when = 1,
		.h = SLICE_LIT("From:From:Reply-To:To:Cc:Subject:Date:Message-ID:In-Reply-To:"
		    "References:MIME-Version:Content-Type:Content-Transfer-Encoding:List-Id:"
		    "List-Unsubscribe:List-Unsubscribe-Post:DKIM-Signature:DKIM-Signature"),
	};
	struct sign_fields f = { 0 };
	uint8_t bh[SIGN_HASH] = { 0 };
	struct buf out;
	struct slice s;

	(void)state;
	assert_non_null(k);
	assert_int_equal(sign_key_bits(k), 2048);
	buf_init(&out, 4096);
	assert_int_equal(sign_field(&out, k, &spec, &f, bh), 0);
	for (s = buf_slice(&out); s.n > 0; s = slice_sub(s, slice_find(s, '\n') + 1, s.n))
		assert_true(slice_find(s, '\n') <= 79);
	buf_fini(&out);
	buf_init(&out, 100);
	assert_int_equal(sign_field(&out, k, &spec, &f, bh), -1);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
	sign_key_free(&k);
	free(pem);
}

static void
keys_refused(void **state)
{
	char *small = make_pem("RSA", 512, NULL), *locked = make_pem("ED25519", 0, "secret");
	char *ec = make_pem("X25519", 0, NULL);
	const char *bad[] = { "", "text", "-----BEGIN PRIVATE KEY-----\nAAAA\n", small, locked, ec };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_null(sign_key_new(slice_str(bad[i]), &why));
		assert_non_null(why);
	}
	free(small);
	free(locked);
	free(ec);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_hashes_14_2),
		cmocka_unit_test(body_against_plain_definition),
		cmocka_unit_test(relaxed_fields_3_4_2),
		cmocka_unit_test(selection_5_4_2),
		cmocka_unit_test(whole_field),
		cmocka_unit_test(folding),
		cmocka_unit_test(keys_refused),
	};

	return cmocka_run_group_tests_name("policy/sign", tests, NULL, NULL);
}
