// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/body.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/envelope.h"
#include "base/log.h"
#include "base/msgid.h"

static void
slices(void **state)
{
	uint64_t v;
	char small[4];

	(void)state;
	assert_true(slice_ieq(SLICE_LIT("PostMaster"), SLICE_LIT("postmaster")));
	assert_false(slice_ieq(SLICE_LIT("post"), SLICE_LIT("postmaster")));
	assert_int_equal(slice_rfind(SLICE_LIT("a@b@c"), '@'), 3);
	assert_int_equal(slice_find(SLICE_NONE, '@'), 0);
	assert_int_equal(slice_sub(SLICE_LIT("abc"), 2, 99).n, 1);
	assert_int_equal(slice_trim(SLICE_LIT(" \r\n x \t")).n, 1);
	assert_int_equal(slice_u64(SLICE_LIT("18446744073709551615"), &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(slice_u64(SLICE_LIT("18446744073709551616"), &v), -1);
	assert_int_equal(slice_u64(SLICE_LIT("-1"), &v), -1);
	assert_int_equal(slice_u64(SLICE_LIT(""), &v), -1);
	assert_int_equal(slice_cstr(SLICE_LIT("abcd"), small, sizeof(small)), -1);
	assert_string_equal(small, "");
	assert_int_equal(slice_cstr(SLICE_LIT("a\0c"), small, sizeof(small)), -1);
	assert_int_equal(slice_cstr(SLICE_LIT("abc"), small, sizeof(small)), 0);
}

static void
a_buffer_stops_at_its_max_and_loses_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_puts(&b, "0123456789"), 0);
	assert_int_equal(buf_puts(&b, "x"), -1);
	assert_int_equal(buf_printf(&b, "%d", 1), -1);
	assert_int_equal(buf_len(&b), 10);
	buf_drop(&b, 4);
	assert_int_equal(buf_printf(&b, "%s", "abcd"), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("456789abcd")));
	assert_null(buf_reserve(&b, 1));
	assert_null(buf_reserve(&b, SIZE_MAX));
	buf_fini(&b);
}

static void
base64_both_ways_rfc4648_10(void **state)
{
	static const char *const pair[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Z!==", "=", "A===" };
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		buf_clear(&b);
		assert_int_equal(crypto_base64(&b, slice_str(pair[i][0])), 0);
		assert_true(slice_eq(buf_slice(&b), slice_str(pair[i][1])));
		buf_clear(&b);
		assert_int_equal(crypto_unbase64(&b, slice_str(pair[i][1])), 0);
		assert_true(slice_eq(buf_slice(&b), slice_str(pair[i][0])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(crypto_unbase64(&b, slice_str(bad[i])), -1);
	buf_clear(&b);
	assert_int_equal(crypto_unbase64(&b, SLICE_LIT("Zm9v\r\n\tYmFy ")), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("foobar")));
	buf_fini(&b);
}

/* The contexts are kept from call to call: no key may stick, least of all before an empty one. */
static void
macs_rfc2202_3_and_rfc4231_4(void **state)
{
	char hi_key[20], long_key[131], hex[65];
	const struct {
		struct slice	 key, text;
		const char	*sha256;
	} row[] = {
		{ SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"),
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ SLICE_NONE, SLICE_NONE,
		  "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
		{ slice_make(hi_key, sizeof(hi_key)), SLICE_LIT("Hi There"),
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ slice_make(long_key, sizeof(long_key)),
		  SLICE_LIT("Test Using Larger Than Block-Size Key - Hash Key First"),
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
	};
	uint8_t mac[32];

	(void)state;
	memset(hi_key, 0x0b, sizeof(hi_key));
	memset(long_key, 0xaa, sizeof(long_key));
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		crypto_hmac_sha256(row[i].key, row[i].text, mac);
		crypto_hex(mac, 32, hex);
		assert_string_equal(hex, row[i].sha256);
		crypto_hmac_sha1(row[0].key, row[0].text, mac);
		crypto_hex(mac, 20, hex);
		assert_string_equal(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	}
	crypto_sha256(SLICE_LIT("abc"), mac);	/* RFC 6234 8.5 */
	crypto_hex(mac, 32, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
crc32c_rfc3720_b4(void **state)
{
	uint8_t zero[32] = { 0 }, up[32];

	(void)state;
	for (int i = 0; i < 32; i++)
		up[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, zero, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
	/* in two parts, at every place */
	for (size_t cut = 0; cut <= 32; cut++)
		assert_int_equal(crc32c(crc32c(0, up, cut), up + cut, 32 - cut), 0x46dd794e);
}

static void
message_ids_sort_by_time_and_parse_back(void **state)
{
	char a[MSGID_TEXT + 1], b[MSGID_TEXT + 1];
	struct msgid id, back;

	(void)state;
	clock_fake(1700000000000, 0);
	msgid_print(msgid_new(1), a);
	clock_fake(1700000000001, 0);
	id = msgid_new(0);
	msgid_print(id, b);
	clock_fake(-1, -1);
	assert_true(strcmp(a, b) < 0);
	assert_int_equal(msgid_parse(slice_str(b), &back), 0);
	assert_memory_equal(&id, &back, sizeof(id));
	b[3] = 'w';
	assert_int_equal(msgid_parse(slice_str(b), &back), -1);
	assert_int_equal(msgid_parse(SLICE_LIT("0"), &back), -1);
}

static void
a_body_is_mapped_only_when_sealed(void **state)
{
	struct slice s;
	int fd = body_make(SLICE_LIT("From: a\r\n\r\nciao\r\n"));

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(body_map(fd, &s), 0);
	assert_int_equal(s.n, 17);
	body_unmap(&s);
	assert_int_equal(body_append(fd, SLICE_LIT("x")), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
	fd = body_create();
	assert_int_equal(body_append(fd, SLICE_LIT("x")), 0);
	assert_int_equal(body_map(fd, &s), -1);
	close(fd);
	fd = open("/dev/zero", O_RDONLY);
	assert_int_equal(body_map(fd, &s), -1);
	close(fd);
	fd = body_make(SLICE_NONE);
	assert_int_equal(body_map(fd, &s), 0);
	assert_int_equal(s.n, 0);
	close(fd);
}

static void
dates_rfc5322_3_3(void **state)
{
	char out[40];

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	clock_rfc5322(1674468000000, out, sizeof(out));
	assert_string_equal(out, "Mon, 23 Jan 2023 11:00:00 +0100");
	setenv("TZ", "NST3:30", 1);
	tzset();
	clock_rfc5322(1674468000000, out, sizeof(out));
	assert_string_equal(out, "Mon, 23 Jan 2023 06:30:00 -0330");
	clock_iso8601(1674468000123, out, sizeof(out));
	assert_string_equal(out, "2023-01-23T10:00:00.123Z");
}

static void
the_log_escapes_and_hashes(void **state)
{
	(void)state;
	assert_string_equal(log_esc(SLICE_LIT("a\r\nb\"\xc3")), "\"a\\x0d\\x0ab\\x22\\xc3\"");
	log_hash_key("k", 1);
	assert_string_equal(log_hash(SLICE_LIT("Mario@Example.IT")), log_hash(SLICE_LIT("mario@example.it")));
	assert_string_not_equal(log_hash(SLICE_LIT("a@b")), log_hash(SLICE_LIT("b@b")));
	assert_int_equal(strlen(log_hash(SLICE_LIT("a@b"))), 12);
}

static void
an_envelope_survives_its_codec(void **state)
{
	struct envelope e = { .version = ENVELOPE_VERSION, .flags = ENV_TLS, .spf = AUTH_PASS,
		.triage = 2, .client_ip = SLICE_LIT("192.0.2.1"), .mail_from = SLICE_LIT("a@b.example") };
	struct envelope_rcpt r = { .kind = RCPT_USER, .address = SLICE_LIT("Mario@example.it"),
		.user = SLICE_LIT("mario@example.it"), .domain = SLICE_LIT("example.it") }, rr;
	struct envelope back;
	struct buf list, out;

	(void)state;
	buf_init(&list, 1000);
	buf_init(&out, ENVELOPE_MAX);
	assert_int_equal(wire_item_put(&list, &envelope_rcpt_wire, &r), 0);
	e.rcpts = buf_slice(&list);
	assert_int_equal(wire_put(&out, &envelope_wire, &e), 0);
	assert_int_equal(wire_get(buf_slice(&out), &envelope_wire, &back), 0);
	assert_int_equal(wire_item_next(&back.rcpts, &envelope_rcpt_wire, &rr), 1);
	assert_true(slice_eq(rr.user, r.user));
	/* What an earlier release wrote: the same without the fields at the end. */
	buf_clear(&out);
	e.version = 1;
	assert_int_equal(wire_put(&out, &envelope_wire, &e), 0);
	struct slice old = slice_sub(buf_slice(&out), 0, buf_len(&out) - 12);
	assert_int_equal(envelope_get(old, &back), 0);
	assert_int_equal(back.version, 1);
	assert_true(slice_eq(back.mail_from, e.mail_from));
	assert_int_equal(back.bounce.n, 0);
	assert_int_equal(envelope_get(buf_slice(&out), &back), -1);	/* too long for version 1 */
	buf_clear(&out);
	e.version = ENVELOPE_VERSION;
	assert_int_equal(wire_put(&out, &envelope_wire, &e), 0);
	assert_int_equal(envelope_get(buf_slice(&out), &back), 0);
	assert_int_equal(envelope_get(slice_sub(buf_slice(&out), 0, buf_len(&out) - 12), &back), -1);
	e.spf = AUTH_MAX;
	buf_clear(&out);
	assert_int_equal(wire_put(&out, &envelope_wire, &e), -1);
	buf_fini(&list);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slices),
		cmocka_unit_test(a_buffer_stops_at_its_max_and_loses_nothing),
		cmocka_unit_test(base64_both_ways_rfc4648_10),
		cmocka_unit_test(macs_rfc2202_3_and_rfc4231_4),
		cmocka_unit_test(crc32c_rfc3720_b4),
		cmocka_unit_test(message_ids_sort_by_time_and_parse_back),
		cmocka_unit_test(a_body_is_mapped_only_when_sealed),
		cmocka_unit_test(dates_rfc5322_3_3),
		cmocka_unit_test(the_log_escapes_and_hashes),
		cmocka_unit_test(an_envelope_survives_its_codec),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
