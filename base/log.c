// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"

enum { LINE_MAX_BYTES = 4000, ESC_SLOTS = 8, ESC_MAX = 256 };

/* The log is process-wide by nature; set once by log_open and log_hash_key. */
static struct {
	const char	*role;
	enum log_level	 max;
	uint8_t		 key[32];
	bool		 keyed;
} lg = { .role = "salvaposta", .max = LOG_LVL_INFO };

void
log_open(const char *role, enum log_level max)
{
	lg.role = role;
	lg.max = max;
}

enum log_level
log_level_now(void)
{
	return lg.max;
}

void
log_event(enum log_level lvl, const char *event, const char *fmt, ...)
{
	static const char name[][6] = { "error", "warn", "info", "debug" };
	char line[LINE_MAX_BYTES], when[40];
	va_list ap;

	if (lvl > lg.max)
		return;
	clock_iso8601(clock_wall_ms(), when, sizeof(when));
	int n = snprintf(line, sizeof(line), "%s %s %s %s ", when, name[lvl], lg.role, event);
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;	/* a cut line is better than none */
	line[len] = '\n';
	/* One write: lines of several roles never mix. A log that cannot be written
	 * has nowhere to complain. */
	ssize_t w = write(STDERR_FILENO, line, len + 1);
	(void)w;
}

const char *
log_esc(struct slice s)
{
	static char slot[ESC_SLOTS][ESC_MAX * 4 + 8];
	static unsigned turn;
	static const char hex[] = "0123456789abcdef";
	char *out = slot[turn++ % ESC_SLOTS], *o = out;
	size_t n = s.n > ESC_MAX ? ESC_MAX : s.n;

	*o++ = '"';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			*o++ = (char)c;
			continue;
		}
		*o++ = '\\';
		*o++ = 'x';
		*o++ = hex[c >> 4];
		*o++ = hex[c & 15];
	}
	*o++ = '"';
	*o = '\0';
	return out;
}

const char *
log_escs(const char *s)
{
	return log_esc(slice_str(s));
}

void
log_hash_key(const void *key, size_t n)
{
	crypto_sha256(slice_make(key, n), lg.key);
	lg.keyed = true;
}

const char *
log_hash(struct slice address)
{
	static char slot[ESC_SLOTS][13];
	static unsigned turn;
	uint8_t mac[32];

	if (!lg.keyed) {
		crypto_random(lg.key, sizeof(lg.key));
		lg.keyed = true;
	}
	char low[320];
	size_t n = address.n < sizeof(low) ? address.n : sizeof(low);
	if (n > 0)
		memcpy(low, address.p, n);
	bytes_lower(low, n);
	crypto_hmac_sha256(slice_make(lg.key, sizeof(lg.key)), slice_make(low, n), mac);
	char *out = slot[turn++ % ESC_SLOTS];
	crypto_hex(mac, 6, out);
	return out;
}
