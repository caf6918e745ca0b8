// SPDX-License-Identifier: Apache-2.0
/* Contexts: what is accepted as certificate, key and trust store, and what is said when
 * it is not. The handshake itself is in conn_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/tls.h"
#include "tests/relay/cert.h"

static struct buf cert, key, other_cert, other_key;

static int
setup(void **state)
{
	(void)state;
	cert_make("mx.example.it", &cert, &key);
	cert_make("mx.example.it", &other_cert, &other_key);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_fini(&cert);
	buf_fini(&key);
	buf_fini(&other_cert);
	buf_fini(&other_key);
	return 0;
}

static void
test_server(void **state)
{
	struct buf chain, damaged;
	struct slice c = buf_slice(&cert), k = buf_slice(&key);
	const struct {
		const char *why;
		struct slice cert, key;
		const char *says;	/* NULL: accepted */
	} t[] = {
		{ "a pair", c, k, NULL },
		{ "the key of another", c, buf_slice(&other_key), "key" },
		{ "no certificate", SLICE_NONE, k, "certificate" },
		{ "no key", c, SLICE_NONE, "key" },
		{ "a key for a certificate", k, k, "certificate" },
		{ "a certificate for a key", c, c, "key" },
		{ "text", SLICE_LIT("hello\n"), k, "certificate" },
		{ "cut", slice_sub(c, 0, c.n / 2), k, "certificate" },
		{ "a key that wants a passphrase", c,
		    SLICE_LIT("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMBo=\n"
		    "-----END ENCRYPTED PRIVATE KEY-----\n"), "key" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char why[256] = "";
		struct tls_context *ctx = tls_server_new(t[i].cert, t[i].key, why,
		    sizeof(why));

		if ((ctx != NULL) != (t[i].says == NULL))
			fail_msg("%s: %s", t[i].why, why);
		if (t[i].says != NULL && strncmp(why, t[i].says, strlen(t[i].says)) != 0)
			fail_msg("%s: says \"%s\"", t[i].why, why);
		if (ctx != NULL)
			assert_true(tls_context_is_server(ctx));
		tls_context_free(&ctx);
		assert_null(ctx);
	}
	/* A chain is taken whole, a damaged one not at all. */
	buf_init(&chain, 64 * 1024);
	buf_init(&damaged, 64 * 1024);
	assert_int_equal(buf_put_slice(&chain, c), 0);
	assert_int_equal(buf_put_slice(&chain, buf_slice(&other_cert)), 0);
	assert_int_equal(buf_put_slice(&damaged, slice_sub(buf_slice(&chain), 0,
	    buf_len(&chain) - 60)), 0);
	char why[256];
	struct tls_context *ctx = tls_server_new(buf_slice(&chain), k, why, sizeof(why));
	assert_non_null(ctx);
	tls_context_free(&ctx);
	assert_null(tls_server_new(buf_slice(&damaged), k, why, sizeof(why)));
	buf_fini(&chain);
	buf_fini(&damaged);
}

static void
test_client(void **state)
{
	char why[256] = "", path[] = "/tmp/tls_test.XXXXXX";
	struct tls_context *ctx = tls_client_new(NULL, why, sizeof(why));
	int fd = mkstemp(path);

	(void)state;
	assert_non_null(ctx);
	assert_false(tls_context_is_server(ctx));
	tls_context_free(&ctx);
	assert_null(tls_client_new("/nonexistent/ca.pem", why, sizeof(why)));
	assert_non_null(strstr(why, "/nonexistent/ca.pem"));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, cert.p + cert.off, buf_len(&cert)), (ssize_t)buf_len(&cert));
	(void)close(fd);
	ctx = tls_client_new(path, why, sizeof(why));
	(void)unlink(path);
	assert_non_null(ctx);
	tls_context_free(&ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
