// SPDX-License-Identifier: Apache-2.0
/* What the tests of forward copies share: keys, an envelope, a request. */
#ifndef TESTS_POLICY_FORWARD_KIT_H
#define TESTS_POLICY_FORWARD_KIT_H

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

static inline struct sign_key *
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

static inline int
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

static inline int
teardown(void **state)
{
	struct bench *b = *state;

	sign_key_free(&b->rsa);
	sign_key_free(&b->ed);
	sign_body_free(&b->keys.body);
	free(b);
	return 0;
}

static inline void
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

#endif
