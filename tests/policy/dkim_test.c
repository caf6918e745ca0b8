// SPDX-License-Identifier: Apache-2.0
/* DKIM against messages signed by dkimpy, whole and broken (spec 3, 14.2; RFC 6376). */
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/dkim.h"
#include "policy/dkim_key.h"
#include "policy/dkim_tags.h"
#include "policy/sign.h"
#include "tests/policy/dkim_fixture.h"
#include "tests/policy/zone.h"

enum { NOW = 1800000000 };

static enum auth_result
verify_at(struct dkim *d, struct slice msg, const char *zone, int64_t now_s, unsigned *rounds)
{
	struct header_field f;
	struct dnsview view;
	struct buf answers, wants;
	struct header h;

	dnsview_init(&view);
	buf_init(&answers, 1 << 20);
	buf_init(&wants, 1 << 20);
	for (*rounds = 1;; ++*rounds) {
		assert_true(*rounds <= 2);
		assert_int_equal(dnsview_load(&view, buf_slice(&answers), false), 0);
		dkim_start(d);
		header_start(&h, msg);
		while (header_next(&h, &f))
			dkim_field(d, &f);
		dkim_keys(d, &view, now_s);
		if (view.nwant == 0)
			break;
		buf_clear(&wants);
		assert_int_equal(dnsview_wants(&view, &wants), 0);
		zone_answers(zone, buf_slice(&wants), &answers);
	}
	dkim_check(d, msg);
	dnsview_fini(&view);
	buf_fini(&answers);
	buf_fini(&wants);
	return dkim_overall(d);
}

static enum auth_result
verify(struct dkim *d, struct slice msg, unsigned *rounds)
{
	return verify_at(d, msg, dkim_fixture_zone, NOW, rounds);
}

static void
fixtures(void **state)
{
	struct dkim *d = dkim_new();
	unsigned bad = 0, rounds;

	(void)state;
	for (size_t i = 0; i < sizeof(dkim_fixtures) / sizeof(dkim_fixtures[0]); i++) {
		const struct dkim_fixture *f = &dkim_fixtures[i];
		enum auth_result r = verify(d, slice_make(f->text, f->n), &rounds);

		if (r == f->expect)
			continue;
		print_message("%s: %s (%s), expected %s\n", f->name, auth_result_name(r),
		    dkim_count(d) > 0 ? dkim_get(d, 0)->why : "", auth_result_name(f->expect));
		bad++;
	}
	dkim_del(&d);
	assert_int_equal(bad, 0);
}

/* The message of a fixture by name. */
static struct slice
fixture(const char *name)
{
	for (size_t i = 0; i < sizeof(dkim_fixtures) / sizeof(dkim_fixtures[0]); i++)
		if (strcmp(dkim_fixtures[i].name, name) == 0)
			return slice_make(dkim_fixtures[i].text, dkim_fixtures[i].n);
	fail();
	return SLICE_NONE;
}

/* Spec 4.1, 4.2: every signature is reported, with what names it. */
static void
reported(void **state)
{
	struct dkim *d = dkim_new();
	unsigned rounds;

	(void)state;
	assert_int_equal(verify(d, fixture("first of two passes"), &rounds), AUTH_PASS);
	assert_int_equal(rounds, 2);	/* both keys in one question */
	assert_int_equal(dkim_count(d), 2);
	assert_int_equal(dkim_get(d, 0)->result, AUTH_PASS);
	assert_int_equal(dkim_get(d, 1)->result, AUTH_PASS);
	assert_string_equal(dkim_get(d, 0)->selector, "r1");
	assert_string_equal(dkim_get(d, 0)->algorithm, "rsa-sha256");
	assert_string_equal(dkim_get(d, 1)->selector, "ed");
	assert_string_equal(dkim_get(d, 1)->algorithm, "ed25519-sha256");
	assert_string_equal(dkim_get(d, 1)->domain, "brand.example");
	assert_int_equal(dkim_get(d, 0)->b_show, 8);
	assert_true(dkim_covers(d, SLICE_LIT("subject")));
	assert_false(dkim_covers(d, SLICE_LIT("X-Other")));

	assert_int_equal(verify(d, fixture("ninth is not looked at"), &rounds), AUTH_NEUTRAL);
	assert_int_equal(dkim_count(d), DKIM_SIGNATURES_MAX);
	assert_int_equal(verify(d, SLICE_LIT("From: x\r\n\r\nbody\r\n"), &rounds), AUTH_NONE);
	assert_int_equal(rounds, 1);
	assert_int_equal(verify(d, SLICE_NONE, &rounds), AUTH_NONE);
	dkim_del(&d);
}

/* RFC 6008: header.b tells signatures with a common beginning apart. */
static void
b_prefix(void **state)
{
	struct dkim *d = dkim_new();
	unsigned rounds;

	(void)state;
	(void)verify(d, SLICE_LIT("DKIM-Signature: v=1; b=AAAA\r\n AAAABB; d=x.y\r\n"
	    "DKIM-Signature: v=1; b=AAAAAAAABC; d=x.y\r\n"
	    "DKIM-Signature: v=1; b=ZZ; d=x.y\r\n\r\n"), &rounds);
	assert_int_equal(dkim_get(d, 0)->b_show, 10);
	assert_int_equal(dkim_get(d, 1)->b_show, 10);
	assert_int_equal(dkim_get(d, 2)->b_show, 2);
	dkim_del(&d);
}

static void
tag_lists(void **state)
{
	static const struct {
		const char *text;
		int n;		/* tags, -1 bad */
	} cases[] = {
		{ "a=b", 1 }, { " a = b ; c=d; ", 2 }, { "a=;b=x=y", 2 }, { "a_1=b", 1 },
		{ "", -1 }, { ";", -1 }, { "a", -1 }, { "a=b;;c=d", -1 }, { "=b", -1 },
		{ "1a=b", -1 }, { "a=b;a=c", -1 }, { "a b=c", -1 }, { "a=b\001", -1 },
		{ "a=\r\n\tb", 1 },
	};
	struct dkim_tags t;
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = dkim_tags_parse(slice_str(cases[i].text), &t);

		if (cases[i].n < 0)
			assert_int_equal(r, -1);
		else
			assert_true(r == 0 && t.n == (size_t)cases[i].n);
	}
	assert_int_equal(dkim_tags_parse(SLICE_LIT("b=AA\r\n AA;"), &t), 0);
	assert_int_equal(dkim_tag_text(dkim_tag(&t, "b"), text, sizeof(text)), 0);
	assert_string_equal(text, "AAAA");
	assert_int_equal(dkim_tag_text(dkim_tag(&t, "b"), text, 4), -1);
	assert_int_equal(dkim_list_count(SLICE_LIT("From : to:FROM"), SLICE_LIT("from")), 2);
	assert_null(dkim_tag(&t, "B").p);
}

/* The library takes its RSA keys from us: each is read once, and a kept one verifies the
 * same. */
static void
keys_are_read_once(void **state)
{
	const struct dkim_key_counts before = dkim_key_counts();
	struct dkim *d = dkim_new();
	unsigned rounds;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(verify(d, fixture("rsa relaxed/relaxed"), &rounds), AUTH_PASS);
		assert_int_equal(verify(d, fixture("rsa 1024"), &rounds), AUTH_PASS);
		assert_int_equal(verify(d, fixture("RFC 8301 3.2 rsa 768"), &rounds), AUTH_POLICY);
	}
	assert_int_equal(dkim_key_counts().read - before.read, 3);
	assert_int_equal(dkim_key_counts().reused - before.reused, 6);
	dkim_del(&d);

	d = dkim_new();		/* nothing is left of the last one's */
	assert_int_equal(verify(d, fixture("rsa 1024"), &rounds), AUTH_PASS);
	assert_int_equal(dkim_key_counts().read - before.read, 4);
	dkim_del(&d);
}

static EVP_PKEY *
key_of(const unsigned char *octets, int n)
{
	BIO *bio = BIO_new_mem_buf(octets, n);
	EVP_PKEY *key = d2i_PUBKEY_bio(bio, NULL);

	BIO_free(bio);
	return key;
}

/* More keys than there is room for, and what is no key at all. */
static void
keys_make_room(void **state)
{
	unsigned char *octets[DKIM_KEYS + 2];
	const unsigned n = sizeof(octets) / sizeof(octets[0]);
	EVP_PKEY *made[sizeof(octets) / sizeof(octets[0])], *got;
	int len[sizeof(octets) / sizeof(octets[0])];

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		made[i] = EVP_EC_gen("P-256");
		octets[i] = NULL;
		len[i] = i2d_PUBKEY(made[i], &octets[i]);
		assert_true(len[i] > 0);
	}
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < n; i++) {
			got = key_of(octets[i], len[i]);
			assert_int_equal(EVP_PKEY_eq(got, made[i]), 1);
			EVP_PKEY_free(got);
			assert_null(key_of(octets[i], len[i] - 1));
		}
	}
	for (unsigned i = 0; i < n; i++) {
		EVP_PKEY_free(made[i]);
		OPENSSL_free(octets[i]);
	}
	assert_null(key_of((const unsigned char *)"no key", 6));
	ERR_clear_error();
	dkim_key_forget();
}

static struct sign_key *
new_key(void)
{
	EVP_PKEY *k = EVP_RSA_gen(1024);
	BIO *bio = BIO_new(BIO_s_mem());
	struct sign_key *key;
	const char *why;
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	key = sign_key_new(slice_make(p, (size_t)n), &why);
	BIO_free(bio);
	EVP_PKEY_free(k);
	assert_non_null(key);
	return key;
}

/* RFC 6376 3.5 t= and x=, by the time of arrival and not by the clock on the wall: what is
 * looked at again later says the same. */
static void
times_rfc6376(void **state)
{
	static const struct {
		const char *first;
		int64_t when, now_s;
		enum auth_result want;
	} t[] = {
		{ "v=1;", 1600000000, 1600000000, AUTH_PASS },
		{ "v=1; x=1600000100;", 1600000000, 1600000100, AUTH_PASS },
		{ "v=1; x=1600000100;", 1600000000, 1600000101, AUTH_POLICY },
		{ "v=1; x=1600000000;", 1600000000, 1600000000, AUTH_NEUTRAL },
		{ "v=1; x=999999999999;", 1600000000, 1600000000, AUTH_PASS },
		{ "v=1;", 0, NOW, AUTH_PASS },
		{ "v=1;", 1, NOW, AUTH_PASS },
		{ "v=1;", NOW + 300, NOW, AUTH_PASS },
		{ "v=1;", NOW + 301, NOW, AUTH_NEUTRAL },
		{ "v=1;", 999999999999, NOW, AUTH_NEUTRAL },
	};
	static const char from[] = "From: a@x.example\r\n";
	struct sign_field field = { SLICE_LIT("From"), SLICE_LIT(from) };
	const struct sign_fields fields = { .field = &field, .n = 1 };
	struct sign_key *key = new_key();
	struct sign_body *body = sign_body_new();
	struct dkim *d = dkim_new();
	struct buf msg, zone;
	uint8_t hash[SIGN_HASH];
	unsigned rounds;

	(void)state;
	buf_init(&msg, 4096);
	buf_init(&zone, 4096);
	assert_int_equal(buf_puts(&zone, "s._domainkey.x.example TXT "), 0);
	assert_int_equal(sign_key_record(key, &zone), 0);
	assert_int_equal(buf_put(&zone, "\n", 2), 0);
	sign_body_start(body);
	sign_body_put(body, SLICE_LIT("hi\r\n"));
	sign_body_end(body, hash);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct sign_spec spec = {
			.name = SLICE_LIT("DKIM-Signature"), .first = slice_str(t[i].first),
			.domain = SLICE_LIT("x.example"), .selector = SLICE_LIT("s"),
			.when = t[i].when, .h = SLICE_LIT("From"),
		};

		print_message("[ case ] %zu\n", i);
		buf_clear(&msg);
		assert_int_equal(sign_field(&msg, key, &spec, &fields, hash), 0);
		assert_int_equal(buf_printf(&msg, "%s\r\nhi\r\n", from), 0);
		assert_int_equal(verify_at(d, buf_slice(&msg), buf_slice(&zone).p, t[i].now_s,
		    &rounds), t[i].want);
	}
	dkim_del(&d);
	sign_body_free(&body);
	sign_key_free(&key);
	buf_fini(&msg);
	buf_fini(&zone);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixtures),
		cmocka_unit_test(reported),
		cmocka_unit_test(b_prefix),
		cmocka_unit_test(tag_lists),
		cmocka_unit_test(keys_are_read_once),
		cmocka_unit_test(keys_make_room),
		cmocka_unit_test(times_rfc6376),
	};

	return cmocka_run_group_tests_name("policy/dkim", tests, NULL, NULL);
}
