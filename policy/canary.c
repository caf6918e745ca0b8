// SPDX-License-Identifier: Apache-2.0
#include "policy/canary.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

#define MARK	"X-Salvaposta-Canary:"

enum {
	MARK_TIME = 10,		/* digits of a time, until the year 2286 */
	MARK_RANDOM = 16,
	MARK_MAC = 64,
	MARK_LEN = MARK_TIME + 1 + MARK_RANDOM + 1 + MARK_MAC,
	CANARY_LINES_MAX = 1000,	/* header lines looked at */
	CANARY_TEXT_MAX = 2048
};

void
canary_key(struct slice secret, uint8_t out[CANARY_KEY])
{
	crypto_hmac_sha256(secret, SLICE_LIT("salvaposta canary"), out);
}

/* Of "time.random" and the address without case. */
static void
mark_mac(const uint8_t key[CANARY_KEY], struct slice head, struct slice address,
    char out[MARK_MAC + 1])
{
	uint8_t mac[32];
	struct buf b;

	buf_init(&b, CANARY_TEXT_MAX);
	memset(mac, 0, sizeof(mac));
	if (buf_put_slice(&b, head) == 0 && buf_put(&b, " ", 1) == 0 &&
	    buf_put_slice(&b, address) == 0) {
		bytes_lower(b.p + b.off, buf_len(&b));
		crypto_hmac_sha256(slice_make((const char *)key, CANARY_KEY), buf_slice(&b), mac);
	} else {	/* too long for an address: a mark that nobody can know */
		crypto_random(mac, sizeof(mac));
	}
	buf_fini(&b);
	crypto_hex(mac, sizeof(mac), out);
}

int
canary_make(struct buf *out, const uint8_t key[CANARY_KEY], struct slice address,
    struct slice host, int64_t wall_ms)
{
	uint8_t r[MARK_RANDOM / 2];
	char random[MARK_RANDOM + 1], head[64], mac[MARK_MAC + 1], date[48];

	crypto_random(r, sizeof(r));
	crypto_hex(r, sizeof(r), random);
	int n = snprintf(head, sizeof(head), "%010lld.%s", (long long)(wall_ms / 1000), random);
	CHECK(n == MARK_TIME + 1 + MARK_RANDOM);
	mark_mac(key, slice_str(head), address, mac);
	clock_rfc5322(wall_ms, date, sizeof(date));
	return buf_printf(out, MARK " %s.%s\r\n"
	    "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: Salvaposta canary\r\nDate: %s\r\n"
	    "Message-ID: <canary.%s@%.*s>\r\nAuto-Submitted: auto-generated\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	    "A message of the fallback relay %.*s to itself. It shows that this\r\n"
	    "mailbox takes mail, and can be deleted at any time.\r\n", head, mac,
	    SLICE_FMT(address), SLICE_FMT(address), date, random, SLICE_FMT(host),
	    SLICE_FMT(host));
}

static bool
mark_holds(struct slice value, const uint8_t key[CANARY_KEY], struct slice address,
    int64_t wall_ms)
{
	char mac[MARK_MAC + 1];
	uint64_t at;

	if (value.n != MARK_LEN || value.p[MARK_TIME] != '.' ||
	    value.p[MARK_TIME + 1 + MARK_RANDOM] != '.')
		return false;
	if (slice_u64(slice_sub(value, 0, MARK_TIME), &at) != 0)
		return false;
	int64_t age = wall_ms - (int64_t)at * 1000;
	if (age > CANARY_AGE_MS || age < -CANARY_AGE_MS)
		return false;
	mark_mac(key, slice_sub(value, 0, MARK_TIME + 1 + MARK_RANDOM), address, mac);
	return crypto_equal(mac, value.p + MARK_LEN - MARK_MAC, MARK_MAC);
}

bool
canary_is(struct slice header, const uint8_t key[CANARY_KEY], struct slice address,
    int64_t wall_ms)
{
	for (unsigned i = 0; i < CANARY_LINES_MAX && header.n > 0; i++) {
		size_t end = slice_find(header, '\n');
		struct slice line = slice_trim(slice_sub(header, 0, end));

		if (line.n == 0)
			return false;	/* the end of the header */
		if (slice_istarts(line, SLICE_LIT(MARK)))
			return mark_holds(slice_trim(slice_sub(line, sizeof(MARK) - 1, line.n)), key,
			    address, wall_ms);
		header = slice_sub(header, end < header.n ? end + 1 : end, header.n);
	}
	return false;
}
