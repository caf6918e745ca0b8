// SPDX-License-Identifier: Apache-2.0
/*
 * ARC chains (RFC 8617 5.2, spec 5.1, 5.9, 6.6): sealed by dkimpy, by the relay and by the
 * disobedient sealer of arc_verify_cases.py, each verdict beside dkimpy's.
 */
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
#include <openssl/x509.h>

#include "base/crypto.h"
#include "policy/arc_seal.h"
#include "policy/arc_verify.h"
#include "tests/policy/zone.h"

enum { ZONE_MAX = 64 * 1024, NOW = 1800000000 };

#define SCRIPT	"tests/policy/arc_verify_cases.py"
#define MSG	"Received: x\r\nFrom: a@esp.example\r\nTo: b@primary.example\r\n" \
		"Subject: two  spaces\r\n\r\nperch\xe9 no? \r\n.\r\n\r\n"

struct fixture {
	struct arc_verify *a;
	struct dnsview	 view;
	struct buf	 answers, wants;
	char		 zone[ZONE_MAX];
	EVP_PKEY	*pkey;
	struct sign_key	*key;
	struct slice	 pem;		/* owned */
	unsigned	 rounds, wanted;	/* of the last run */
};

static struct slice
pem_of(EVP_PKEY *k)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct slice out;
	char *p;
	long n;

	CHECK(PEM_write_bio_PrivateKey_traditional(bio, k, NULL, NULL, 0, NULL, NULL) == 1);
	n = BIO_get_mem_data(bio, &p);
	out = slice_make(slice_dup(slice_make(p, (size_t)n)), (size_t)n);
	BIO_free(bio);
	return out;
}

static int
setup(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));
	const char *why;

	f->a = arc_verify_new();
	dnsview_init(&f->view);
	buf_init(&f->answers, DNS_ANSWERS_MAX);
	buf_init(&f->wants, 64 * 1024);
	f->pkey = EVP_RSA_gen(1024);
	f->pem = pem_of(f->pkey);
	f->key = sign_key_new(f->pem, &why);
	*state = f;
	return f->key == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	arc_verify_free(&f->a);
	dnsview_fini(&f->view);
	buf_fini(&f->answers);
	buf_fini(&f->wants);
	sign_key_free(&f->key);
	EVP_PKEY_free(f->pkey);
	free((void *)(uintptr_t)f->pem.p);
	free(f);
	return 0;
}

static void
feed(struct fixture *f, struct slice msg)
{
	struct header_field field;
	struct header h;

	arc_verify_start(f->a);
	header_start(&h, msg);
	while (header_next(&h, &field))
		arc_verify_field(f->a, &field);
}

/* As the evaluation does it: again with the answers until nothing is missing. */
static const struct arc_verify_result *
run(struct fixture *f, struct slice msg, bool last)
{
	buf_clear(&f->answers);
	f->wanted = 0;
	for (f->rounds = 1;; f->rounds++) {
		assert_true(f->rounds < 4);
		assert_int_equal(dnsview_load(&f->view, buf_slice(&f->answers), last), 0);
		feed(f, msg);
		arc_verify_keys(f->a, &f->view, NOW);
		if (f->view.nwant == 0)
			break;
		f->wanted += (unsigned)f->view.nwant;
		buf_clear(&f->wants);
		assert_int_equal(dnsview_wants(&f->view, &f->wants), 0);
		zone_answers(f->zone, buf_slice(&f->wants), &f->answers);
	}
	arc_verify_check(f->a, msg);
	return arc_verify_result(f->a);
}

/* -- Chains of the relay --------------------------------------------------------- */

static void
seal(struct fixture *f, const char *domain, enum auth_result chain, const char *authres,
    struct slice msg, struct buf *out)
{
	struct arc_seal a = {
		.key = f->key, .domain = slice_str(domain), .selector = SLICE_LIT("s"),
		.when = 1728000000, .chain = chain, .authres = slice_str(authres)
	};
	struct sign_fields fields = { 0 };
	struct sign_body *b = sign_body_new();
	struct header_field field;
	struct header h;

	header_start(&h, msg);
	while (header_next(&h, &field))
		if (arc_seal_wants(field.name))
			assert_int_equal(sign_fields_add(&fields, field.name, field.raw), 0);
	sign_body_start(b);
	sign_body_put(b, slice_sub(msg, h.body, msg.n));
	sign_body_end(b, a.body_hash);
	buf_clear(out);
	assert_int_equal(arc_seal_put(out, &a, &fields), ARC_SEALED);
	assert_int_equal(buf_put_slice(out, msg), 0);
	sign_fields_fini(&fields);
	sign_body_free(&b);
}

static void
publish(struct fixture *f, const char *domain)
{
	size_t n = strlen(f->zone);
	struct buf rec;

	buf_init(&rec, 4096);
	assert_int_equal(sign_key_record(f->key, &rec), 0);
	snprintf(f->zone + n, sizeof(f->zone) - n, "s._domainkey.%s TXT %.*s\n", domain,
	    SLICE_FMT(buf_slice(&rec)));
	buf_fini(&rec);
}

#define AR_PASS	"mx; spf=pass smtp.mailfrom=esp.example; dmarc=pass header.from=esp.example"
#define AR_FAIL	"mx; dmarc=fail header.from=esp.example policy.dmarc=reject"

/* Three sealers: "brand", "list", "hop"; the message is changed behind `changed`. */
static void
three_sets(struct fixture *f, unsigned changed, const char *const says[3], struct buf *out)
{
	static const char *const domain[3] = { "one.example", "two.example", "three.example" };
	struct buf last;

	buf_init(&last, 1 << 20);
	buf_clear(out);
	assert_int_equal(buf_puts(out, MSG), 0);
	f->zone[0] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		struct slice s = buf_slice(out);
		char *subject = memmem(s.p, s.n, "spaces", 6);

		publish(f, domain[i]);
		if (i == changed && i > 0)
			*subject = 'S';
		buf_clear(&last);
		assert_int_equal(buf_put_slice(&last, s), 0);
		seal(f, domain[i], i == 0 ? AUTH_NONE : AUTH_PASS, says[i], buf_slice(&last), out);
	}
	buf_fini(&last);
}

static void
oldest_pass_and_6_6(void **state)
{
	static const struct {
		const char	*says[3];
		unsigned	 changed, oldest;
		const char	*trusted, *author;
		unsigned	 want;
	} t[] = {
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "three.example", "esp.example", 3 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "THREE.example", "ESP.example", 3 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "two.example", "esp.example", 2 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "one.example", "esp.example", 1 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "example", "esp.example", 0 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "four.example", "esp.example", 0 },
		/* what somebody trusted said before the message was changed is not said of it */
		{ { AR_PASS, AR_PASS, AR_PASS }, 1, 2, "one.example", "esp.example", 0 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 1, 2, "two.example", "esp.example", 2 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 2, 3, "two.example", "esp.example", 0 },
		{ { AR_PASS, AR_PASS, AR_PASS }, 2, 3, "three.example", "esp.example", 3 },
		{ { AR_PASS, AR_PASS, AR_FAIL }, 0, 0, "three.example", "esp.example", 0 },
		{ { AR_FAIL, AR_PASS, AR_FAIL }, 0, 0, "two.example", "esp.example", 2 },
		{ { AR_FAIL, AR_FAIL, AR_PASS }, 0, 0, "two.example", "esp.example", 0 },
		/* said of another author */
		{ { AR_PASS, AR_PASS, AR_PASS }, 0, 0, "three.example", "bank.example", 0 },
		{ { AR_PASS, AR_PASS, "mx; dmarc=pass" }, 0, 0, "three.example", "bank.example", 3 },
		{ { AR_PASS, AR_PASS, "mx; none" }, 0, 0, "three.example", "esp.example", 0 },
	};
	struct fixture *f = *state;
	struct buf msg;

	buf_init(&msg, 1 << 20);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct slice list[2] = { SLICE_LIT("other.example"), slice_str(t[i].trusted) };
		const struct arc_verify_result *r;

		print_message("[ case ] %zu\n", i);
		three_sets(f, t[i].changed, t[i].says, &msg);
		r = run(f, buf_slice(&msg), false);
		assert_string_equal(r->why, "");
		assert_int_equal(r->result, AUTH_PASS);
		assert_int_equal(r->sets, 3);
		assert_int_equal(r->oldest_pass, t[i].oldest);
		assert_int_equal(arc_verify_trusted(f->a, list, 2, slice_str(t[i].author)),
		    t[i].want);
		assert_int_equal(arc_verify_trusted(f->a, list, 1, slice_str(t[i].author)), 0);
		/* each key asked for once, all in one round */
		assert_int_equal(f->wanted, 3);
		assert_int_equal(f->rounds, 2);
	}
	assert_string_equal(arc_verify_sealer(f->a, 2), "two.example");
	assert_string_equal(arc_verify_sealer(f->a, 0), "");
	assert_string_equal(arc_verify_sealer(f->a, 4), "");
	buf_fini(&msg);
}

/* Nobody is trusted in a chain that fails. */
static void
failed_chain_6_6(void **state)
{
	static const char *const says[3] = { AR_PASS, AR_PASS, AR_PASS };
	struct slice list[1] = { SLICE_LIT("three.example") };
	struct fixture *f = *state;
	struct buf msg;
	char *at;

	buf_init(&msg, 1 << 20);
	three_sets(f, 0, says, &msg);
	at = memmem(buf_slice(&msg).p, buf_len(&msg), "perch", 5);
	*at = 'P';
	assert_int_equal(run(f, buf_slice(&msg), false)->result, AUTH_FAIL);
	assert_int_equal(arc_verify_trusted(f->a, list, 1, SLICE_LIT("esp.example")), 0);
	buf_fini(&msg);
}

/* Makes every question about the key of `domain` fail. */
static void
break_key(struct fixture *f, const char *domain)
{
	char name[128], *at;

	snprintf(name, sizeof(name), "s._domainkey.%s TXT", domain);
	at = strstr(f->zone, name);
	assert_non_null(at);
	memcpy(at + strlen(name) - 3, "FAIL ", 5);
}

static void
expect_dns(struct fixture *f, struct slice msg, bool last, bool dns)
{
	const struct arc_verify_result *r = run(f, msg, last);

	assert_int_equal(r->result, AUTH_FAIL);
	assert_int_equal(r->dns, dns);
}

/* Spec 0.4, 5.1: DNS errors are failures, told apart so that they can be tried again. */
static void
dns_trouble_5_1(void **state)
{
	static const char *const says[3] = { AR_PASS, AR_PASS, AR_PASS };
	static const char *const domain[3] = { "one.example", "two.example", "three.example" };
	struct fixture *f = *state;
	struct slice s;
	struct buf msg;
	char *at;

	buf_init(&msg, 1 << 20);
	for (unsigned i = 0; i < 3; i++) {
		three_sets(f, 0, says, &msg);
		s = buf_slice(&msg);
		break_key(f, domain[i]);
		expect_dns(f, s, false, true);
		/* a break that is certain goes before it */
		at = memmem(s.p, s.n, "spf=pass", 8);
		memcpy(at, "spf=fail", 8);
		expect_dns(f, s, false, i == 2);
		at = memmem(s.p, s.n, "cv=pass", 7);
		memcpy(at, "cv=fail", 7);
		expect_dns(f, s, false, false);
	}
	three_sets(f, 0, says, &msg);
	expect_dns(f, buf_slice(&msg), true, true);
	buf_fini(&msg);
}

/* -- Structure ------------------------------------------------------------------- */

#define SIGNED "a=rsa-sha256; d=Hop.example; s=s; b=AAAA"
#define AS(i, cv) "ARC-Seal: i=" i "; cv=" cv "; " SIGNED "\r\n"
#define AMS(i) "ARC-Message-Signature: i=" i "; h=From; bh=AAAA; " SIGNED "\r\n"
#define AAR(i) "ARC-Authentication-Results: i=" i "; x\r\n"
#define SET(i, cv) AS(i, cv) AMS(i) AAR(i)

/* What is decided before any key is asked for: `want` is the reason, NULL for none. */
static void
structure_5_2(void **state)
{
	static const struct {
		const char *fields, *want;
		unsigned instance;
	} t[] = {
		{ SET("1", "none"), NULL, 0 },
		{ SET("2", "pass") SET("1", "none"), NULL, 0 },
		{ SET("1", "none") SET("2", "pass"), NULL, 0 },
		{ AAR("1") AS("1", "none") "X: y\r\n" AMS("1"), NULL, 0 },
		{ SET("1", "NONE"), NULL, 0 },
		{ SET("2", "fail") SET("1", "none"), "cv=fail", 2 },
		{ SET("1", "fail"), "cv=fail", 1 },
		{ SET("1", "pass"), "wrong cv=", 1 },
		{ SET("2", "none") SET("1", "none"), "wrong cv=", 2 },
		{ SET("2", "pass") SET("1", "pass"), "wrong cv=", 1 },
		{ SET("2", "pass") SET("1", "fail"), "wrong cv=", 1 },
		{ SET("3", "pass") SET("1", "none"), "set not complete", 2 },
		{ SET("50", "pass"), "set not complete", 49 },
		{ AMS("1") AAR("1"), "set not complete", 1 },
		{ AS("1", "none") AAR("1"), "set not complete", 1 },
		{ AS("1", "none") AMS("1"), "set not complete", 1 },
		{ SET("1", "none") AS("1", "none"), "instance doubled", 0 },
		{ SET("1", "none") AMS("1"), "instance doubled", 0 },
		{ SET("1", "none") AAR("1"), "instance doubled", 0 },
		{ SET("1", "none") AAR("01"), "instance doubled", 0 },
		{ SET("51", "pass"), "field without an instance in 1..50", 0 },
		{ SET("0", "none"), "field without an instance in 1..50", 0 },
		{ SET("", "none"), "field without an instance in 1..50", 0 },
		{ SET("1x", "none"), "field without an instance in 1..50", 0 },
		{ SET("001", "none"), "field without an instance in 1..50", 0 },
		{ AS("001", "none") AMS("1") AAR("1"), "field without an instance in 1..50", 0 },
		{ "ARC-Seal:\r\n", "field without an instance in 1..50", 0 },
		{ "arc-seal: nonsense\r\n", "field without an instance in 1..50", 0 },
		{ "ARC-Authentication-Results: x; i=1; none\r\n",
		    "field without an instance in 1..50", 0 },
		{ "ARC-Authentication-Results: i=1 x; none\r\n",
		    "field without an instance in 1..50", 0 },
		{ "ARC-Authentication-Results: (i=1; none\r\n",
		    "field without an instance in 1..50", 0 },
	};
	struct fixture *f = *state;
	char text[2048];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct arc_verify_result *r = arc_verify_result(f->a);
		int n = snprintf(text, sizeof(text), "%sFrom: a@b\r\n\r\n", t[i].fields);

		print_message("[ case ] %zu\n", i);
		assert_int_equal(dnsview_load(&f->view, SLICE_NONE, false), 0);
		feed(f, slice_make(text, (size_t)n));
		arc_verify_keys(f->a, &f->view, NOW);
		assert_int_equal(r->result, t[i].want == NULL ? AUTH_UNSET : AUTH_FAIL);
		assert_string_equal(r->why, t[i].want == NULL ? "" : t[i].want);
		assert_int_equal(r->instance, t[i].instance);
		/* a broken chain costs no question */
		assert_int_equal(f->view.nwant, t[i].want == NULL ? 1 : 0);
	}
}

static void
limits_5_1(void **state)
{
	struct fixture *f = *state;
	struct buf msg;

	buf_init(&msg, 1 << 20);
	for (int i = 0; i < 3 * ARC_VERIFY_SETS_MAX + 1; i++)
		assert_int_equal(buf_puts(&msg, AAR("1")), 0);
	feed(f, buf_slice(&msg));
	arc_verify_keys(f->a, &f->view, NOW);
	assert_int_equal(arc_verify_result(f->a)->result, AUTH_FAIL);
	assert_string_equal(arc_verify_result(f->a)->why, "more than 50 sets");
	buf_clear(&msg);
	assert_int_equal(buf_puts(&msg, "ARC-Seal: i=1; x="), 0);
	for (int i = 0; i < ARC_VERIFY_FIELD_MAX; i++)
		assert_int_equal(buf_puts(&msg, "y"), 0);
	feed(f, buf_slice(&msg));
	arc_verify_keys(f->a, &f->view, NOW);
	assert_string_equal(arc_verify_result(f->a)->why, "field too long");
	buf_fini(&msg);
}

/* -- ARC-Authentication-Results --------------------------------------------------- */

static void
aar_dmarc_6_6(void **state)
{
	static const struct {
		const char *aar;
		enum auth_result want;
		const char *from;
	} t[] = {
		{ "mx.example; dmarc=pass header.from=esp.example", AUTH_PASS, "esp.example" },
		{ "mx.example; dmarc=pass", AUTH_PASS, "" },
		{ "mx.example 1; DMARC = PASS header.From = ESP.example", AUTH_PASS,
		    "esp.example" },
		{ "mx.example; dmarc=fail header.from=a.example", AUTH_FAIL, "a.example" },
		{ "mx.example; dmarc=none", AUTH_NONE, "" },
		{ "mx.example; dmarc=temperror", AUTH_TEMPERROR, "" },
		{ "mx.example; dmarc=permerror", AUTH_PERMERROR, "" },
		{ "mx.example; dmarc=bestguesspass", AUTH_UNSET, "" },
		{ "mx.example; none", AUTH_UNSET, "" },
		{ "mx.example", AUTH_UNSET, "" },
		{ "", AUTH_UNSET, "" },
		{ "mx.example; spf=pass smtp.mailfrom=a@b.example; dmarc=pass;", AUTH_PASS, "" },
		{ "mx.example; dmarc/1=pass", AUTH_PASS, "" },
		{ "mx.example; dmarc / 1 = pass", AUTH_PASS, "" },
		{ "mx.example; (x) dmarc (y) = (z) pass (q) header.from=a.it", AUTH_PASS, "a.it" },
		/* as large providers write them */
		{ "mx.google.com;\r\n       dkim=pass header.i=@brand.example header.s=20230601 "
		    "header.b=\"Ab+dEf/h\";\r\n       spf=pass (google.com: domain of "
		    "a@brand.example designates 192.0.2.1 as permitted sender) "
		    "smtp.mailfrom=a@brand.example;\r\n       dmarc=pass (p=REJECT sp=REJECT "
		    "dis=NONE) header.from=brand.example;\r\n       dara=pass header.i=@x",
		    AUTH_PASS, "brand.example" },
		{ "mx.microsoft.com 1; spf=pass (sender ip is 192.0.2.1) "
		    "smtp.rcpttodomain=x.example smtp.mailfrom=brand.example; dmarc=pass (p=none "
		    "sp=none pct=100) action=none header.from=brand.example; dkim=pass (signature "
		    "was verified) header.d=brand.example; arc=pass (0 oda=1 ltdi=1)", AUTH_PASS,
		    "brand.example" },
		{ "mx; dkim=pass header.b=abc=; dmarc=pass", AUTH_PASS, "" },
		{ "mx; dmarc=pass reason=\"a; b\" header.from=x.example", AUTH_PASS, "x.example" },
		/* what strangers wrote stays inside its quotes and comments */
		{ "mx; spf=pass smtp.mailfrom=\"a; dmarc=pass\"@evil.example; dmarc=fail",
		    AUTH_FAIL, "" },
		{ "mx; spf=fail (x; dmarc=pass) smtp.mailfrom=evil.example", AUTH_UNSET, "" },
		{ "mx; spf=fail (x \\) ; dmarc=pass) y", AUTH_UNSET, "" },
		{ "mx; spf=fail ((x) ; dmarc=pass) y", AUTH_UNSET, "" },
		{ "mx; xdmarc=pass", AUTH_UNSET, "" },
		{ "dmarc=pass", AUTH_UNSET, "" },
		{ "mx; x=y dmarc=pass", AUTH_UNSET, "" },
		/* two verdicts, or a payload out of order, are none */
		{ "mx; dmarc=pass; dmarc=fail", AUTH_UNSET, "" },
		{ "mx; dmarc=fail; dmarc=pass", AUTH_UNSET, "" },
		{ "mx; dmarc=pass; spf=fail (", AUTH_UNSET, "" },
		{ "mx; dmarc=pass; spf=fail \"", AUTH_UNSET, "" },
		{ "mx; dmarc=pass; spf=fail )", AUTH_UNSET, "" },
		{ "mx; dmarc=pass ;; spf=fail", AUTH_UNSET, "" },
		{ "mx; dmarc=pass header.from=a_b..c", AUTH_UNSET, "" },
		{ "\"mx\"; dmarc=pass", AUTH_PASS, "" },
	};
	struct fixture *f = *state;
	struct arc_verify_dmarc d;
	char text[4096];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int n = snprintf(text, sizeof(text), AS("1", "none") AMS("1")
		    "ARC-Authentication-Results: i=1; %s\r\nFrom: a@b\r\n\r\n", t[i].aar);

		print_message("[ case ] %s\n", t[i].aar);
		assert_int_equal(dnsview_load(&f->view, SLICE_NONE, false), 0);
		feed(f, slice_make(text, (size_t)n));
		arc_verify_keys(f->a, &f->view, NOW);
		assert_int_equal(arc_verify_result(f->a)->result, AUTH_UNSET);
		assert_string_equal(arc_verify_sealer(f->a, 1), "hop.example");
		arc_verify_dmarc(f->a, 1, &d);
		assert_int_equal(d.result, t[i].want);
		if (t[i].want != AUTH_UNSET)
			assert_string_equal(d.from, t[i].from);
		arc_verify_dmarc(f->a, 2, &d);
		assert_int_equal(d.result, AUTH_UNSET);
	}
}

/* -- The cases of arc_verify_cases.py ---------------------------------------------- */

static void
write_file(const char *dir, const char *name, struct slice s)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

static void
write_public(const char *dir, const char *name, EVP_PKEY *k, bool bare)
{
	unsigned char *der = NULL;
	int n = bare ? i2d_PublicKey(k, &der) : i2d_PUBKEY(k, &der);
	struct buf b64;

	assert_true(n > 0);
	buf_init(&b64, 4096);
	assert_int_equal(crypto_base64(&b64, slice_make(der, (size_t)n)), 0);
	write_file(dir, name, buf_slice(&b64));
	buf_fini(&b64);
	OPENSSL_free(der);
}

static void
write_inputs(struct fixture *f, const char *dir)
{
	EVP_PKEY *small = EVP_RSA_gen(768);
	struct slice pem = pem_of(small);
	struct buf msg;

	write_file(dir, "key", f->pem);
	write_public(dir, "pub", f->pkey, false);
	write_public(dir, "pkcs1", f->pkey, true);
	write_file(dir, "small", pem);
	write_public(dir, "smallpub", small, false);
	buf_init(&msg, 1 << 20);
	seal(f, "fwd.example.it", AUTH_NONE, AR_PASS, SLICE_LIT(MSG), &msg);
	write_file(dir, "sealed", buf_slice(&msg));
	buf_fini(&msg);
	free((void *)(uintptr_t)pem.p);
	EVP_PKEY_free(small);
}

/* Reads one case; false at the end. */
static bool
next_case(FILE *in, char *name, size_t cap, enum auth_result *want, unsigned *oldest,
    struct buf *msg)
{
	char line[512], ours[16], theirs[16], *tab;
	size_t n;
	char *p;

	if (fgets(line, sizeof(line), in) == NULL)
		return false;
	tab = strchr(line, '\t');
	assert_non_null(tab);
	assert_int_equal(slice_cstr(slice_make(line, (size_t)(tab - line)), name, cap), 0);
	assert_int_equal(sscanf(tab, " %15s %15s %u %zu", ours, theirs, oldest, &n), 4);
	*want = strcmp(ours, "pass") == 0 ? AUTH_PASS :
	    strcmp(ours, "fail") == 0 ? AUTH_FAIL : AUTH_NONE;
	buf_clear(msg);
	p = buf_reserve(msg, n);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, n, in), n);
	buf_commit(msg, n);
	return true;
}

static void
dkimpy_agrees_5_9(void **state)
{
	char dir[] = "/tmp/arc_verify_test.XXXXXX", cmd[256], name[256];
	struct fixture *f = *state;
	unsigned oldest, n = 0;
	enum auth_result want;
	struct buf msg;
	size_t zone;
	FILE *in;

	if (access(SCRIPT, R_OK) != 0 ||
	    system("/usr/bin/python3 -c 'import dkim, authres' 2>/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	write_inputs(f, dir);
	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 " SCRIPT " %s", dir);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "%s/cases", dir);
	in = fopen(cmd, "r");
	assert_non_null(in);
	assert_int_equal(fscanf(in, "%zu\n", &zone), 1);
	assert_true(zone < sizeof(f->zone));
	assert_int_equal(fread(f->zone, 1, zone, in), zone);
	f->zone[zone] = '\0';
	buf_init(&msg, 4 << 20);
	for (; next_case(in, name, sizeof(name), &want, &oldest, &msg); n++) {
		const struct arc_verify_result *r = run(f, buf_slice(&msg), false);

		if (r->result != want || (want == AUTH_PASS && r->oldest_pass != oldest))
			fail_msg("%s: %s (%s), oldest-pass %u", name, auth_result_name(r->result),
			    r->why, r->oldest_pass);
		assert_false(r->dns);
	}
	assert_true(n > 200);
	fclose(in);
	buf_fini(&msg);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure_5_2),
		cmocka_unit_test(limits_5_1),
		cmocka_unit_test(oldest_pass_and_6_6),
		cmocka_unit_test(failed_chain_6_6),
		cmocka_unit_test(dns_trouble_5_1),
		cmocka_unit_test(aar_dmarc_6_6),
		cmocka_unit_test(dkimpy_agrees_5_9),
	};

	return cmocka_run_group_tests_name("policy/arc_verify", tests, setup, teardown);
}
