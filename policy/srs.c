// SPDX-License-Identifier: Apache-2.0
/*
 * What is signed has no delimiter between host and local part (1.2.2), so a valid hash also
 * verifies for a shifted boundary. This module answers only whether the address is well
 * formed and authentic; that its domain resolves and is not ours is the caller's to see
 * before any use (1.2.12).
 */
#include "policy/srs.h"

#include "base/crypto.h"
#include "policy/address.h"

enum {
	TAG_LEN = 4,			/* "SRS0" */
	CYCLE_DAYS = 1024,		/* two base32 characters (1.2.1) */
	MAC_TEXT = 27,			/* base64 of 20 octets without padding */
	NODE_MAX = 8,
	SIGNED_MAX = 2 + ADDRESS_PATH_MAX
};

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char base32hex[] = "0123456789abcdefghijklmnopqrstuv";

/* An SRS local part taken apart; slices point into the unquoted local part. */
struct srs_parts {
	char		kind;		/* '0' or '1' */
	struct slice	hash, stamp;	/* stamp "" for SRS1 */
	struct slice	host, rest;	/* rest: local part, or SRS0 without its tag */
};

const char *
srs_result_name(enum srs_result r)
{
	switch (r) {
	case SRS_OK:		return "ok";
	case SRS_UNCHANGED:	return "unchanged";
	case SRS_TOO_LONG:	return "too-long";
	case SRS_NOT_SRS:	return "not-srs";
	case SRS_BAD_HASH:	return "bad-hash";
	case SRS_EXPIRED:	return "expired";
	case SRS_BAD_ADDRESS:	return "bad-address";
	}
	return "?";
}

uint32_t
srs_day(int64_t wall_ms)
{
	return wall_ms < 0 ? 0 : (uint32_t)(wall_ms / (86400 * INT64_C(1000)));
}

static bool
is_separator(char c)
{
	return c == '=' || c == '+' || c == '-';
}

/* '0' for SRS0 and a separator, '1' for SRS1, 0 for neither (1.2.4 - 1.2.6). */
static char
srs_kind(struct slice local)
{
	if (local.n <= TAG_LEN || !slice_istarts(local, SLICE_LIT("SRS")) ||
	    !is_separator(local.p[TAG_LEN]))
		return 0;
	return local.p[3] == '0' || local.p[3] == '1' ? local.p[3] : 0;
}

bool
srs_is(struct slice local)
{
	return srs_kind(local) != 0;
}

/* The MAC over lower-cased stamp, host and rest, as the base64 text peers use. -1 when
 * there is more to sign than any valid address has. */
static int
srs_mac(struct slice secret, const struct srs_parts *f, char out[MAC_TEXT])
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[SIGNED_MAX];
	const struct slice part[] = { f->stamp, f->host, f->rest };
	uint8_t mac[20 + 1];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		if (part[i].n > sizeof(text) - n)
			return -1;
		if (part[i].n > 0)
			memcpy(text + n, part[i].p, part[i].n);
		n += part[i].n;
	}
	bytes_lower(text, n);
	crypto_hmac_sha1(secret, slice_make(text, n), mac);
	mac[20] = 0;
	for (size_t i = 0; i < MAC_TEXT; i++) {
		size_t bit = 6 * i, at = bit / 8;
		unsigned v = (unsigned)mac[at] << 8 | (at < 20 ? mac[at + 1] : 0U);

		out[i] = alphabet[v >> (10 - bit % 8) & 63];
	}
	return 0;
}

/* 1.2.7: relays fold case, and both alphabets of base64 are about. */
static void
mac_fold(char *p, size_t n)
{
	bytes_lower(p, n);
	for (size_t i = 0; i < n; i++)
		p[i] = p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i];
}

/* All secrets are tried always, so that time tells nothing about which one matched. */
static bool
mac_valid(const struct srs *s, const struct srs_parts *f)
{
	char given[MAC_TEXT], ours[MAC_TEXT];
	size_t n = f->hash.n < s->hash_length ? f->hash.n : s->hash_length;
	bool ok = false;

	if (n == 0 || n < s->hash_min || n > MAC_TEXT)
		return false;
	memcpy(given, f->hash.p, n);
	mac_fold(given, n);
	for (size_t i = 0; i < s->nsecret; i++) {
		if (srs_mac(s->secret[i], f, ours) < 0)
			return false;
		mac_fold(ours, n);
		ok |= crypto_equal(given, ours, n);
	}
	return ok;
}

static int
base32_value(char c)
{
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	c = ascii_lower(c);
	return c >= 'a' && c <= 'z' ? c - 'a' : -1;
}

/* Day modulo the cycle, -1 when it is no timestamp. */
static int
stamp_value(struct slice stamp)
{
	int hi, lo;

	if (stamp.n != 2)
		return -1;
	hi = base32_value(stamp.p[0]);
	lo = base32_value(stamp.p[1]);
	return hi < 0 || lo < 0 ? -1 : hi * 32 + lo;
}

static void
stamp_make(uint32_t day, char out[2])
{
	out[0] = base32[day >> 5 & 31];
	out[1] = base32[day & 31];
}

/* 1.2.9: one day of the future is clock skew. */
static bool
stamp_fresh(const struct srs *s, uint32_t day, int stamp)
{
	uint32_t age = (day - (uint32_t)stamp) % CYCLE_DAYS;

	return age <= s->max_age_days || age == CYCLE_DAYS - 1;
}

/* The text up to the next '='; *s moves behind it. -1 when there is none. */
static int
next_field(struct slice *s, struct slice *field)
{
	size_t at = slice_find(*s, '=');

	if (at == s->n)
		return -1;
	*field = slice_sub(*s, 0, at);
	*s = slice_sub(*s, at + 1, s->n);
	return 0;
}

/* `local` is unquoted and has a kind. */
static int
srs_split(struct slice local, struct srs_parts *f)
{
	struct slice s = slice_sub(local, TAG_LEN + 1, local.n);

	*f = (struct srs_parts){ .kind = srs_kind(local) };
	if (next_field(&s, &f->hash) < 0)
		return -1;
	if (f->kind == '0' && (next_field(&s, &f->stamp) < 0 || stamp_value(f->stamp) < 0))
		return -1;
	if (next_field(&s, &f->host) < 0 || f->host.n == 0 || s.n == 0)
		return -1;
	f->rest = s;
	return 0;
}

/* Signs the parts and writes the finished address, or leaves `out` as it was. */
static enum srs_result
srs_emit(const struct srs *s, const struct srs_parts *f, struct buf *out)
{
	char mac[MAC_TEXT];
	struct buf local, quoted;
	enum srs_result r = SRS_TOO_LONG;
	size_t n = s->hash_length;

	if (s->nsecret == 0 || n > MAC_TEXT)
		return SRS_BAD_ADDRESS;
	buf_init(&local, 2 * ADDRESS_PATH_MAX);
	buf_init(&quoted, 4 * ADDRESS_PATH_MAX);
	if (srs_mac(s->secret[0], f, mac) < 0)
		goto out;
	for (size_t i = 0; i < n && !s->base64; i++)
		mac[i] = mac[i] == '+' ? '-' : mac[i] == '/' ? '_' : mac[i];
	if (buf_printf(&local, "SRS%c%c%.*s=", f->kind, s->separator, (int)n, mac) < 0)
		goto out;
	if (f->kind == '0' && buf_printf(&local, "%.*s=", SLICE_FMT(f->stamp)) < 0)
		goto out;
	if (buf_put_slice(&local, f->host) < 0 || buf_put(&local, "=", 1) < 0 ||
	    buf_put_slice(&local, f->rest) < 0)
		goto out;
	if (address_quote(buf_slice(&local), &quoted) < 0) {
		r = SRS_BAD_ADDRESS;
		goto out;
	}
	/* 1.3.2: never truncated, never sent too long; the path counts its brackets */
	if (buf_len(&quoted) > ADDRESS_LOCAL_MAX ||
	    buf_len(&quoted) + 1 + s->domain.n + 2 > ADDRESS_PATH_MAX)
		goto out;
	if (buf_put(&quoted, "@", 1) < 0 || buf_put_slice(&quoted, s->domain) < 0 ||
	    buf_put_slice(out, buf_slice(&quoted)) < 0)
		goto out;
	r = SRS_OK;
out:
	buf_fini(&local);
	buf_fini(&quoted);
	return r;
}

enum srs_result
srs_forward(const struct srs *s, uint32_t day, struct slice sender, struct buf *out)
{
	struct srs_parts f = { 0 }, in;
	struct address a;
	struct slice local;
	struct buf plain;
	char stamp[2];
	enum srs_result r = SRS_BAD_ADDRESS;

	if (sender.n == 0)
		return SRS_UNCHANGED;
	if (address_parse(sender, true, &a) < 0 || a.domain.n == 0)
		return SRS_BAD_ADDRESS;
	if (slice_ieq(a.domain, s->domain))
		return buf_put_slice(out, sender) < 0 ? SRS_TOO_LONG : SRS_UNCHANGED;
	buf_init(&plain, ADDRESS_PATH_MAX);
	if (address_unquote(a.local, &plain) < 0)
		goto out;
	local = buf_slice(&plain);
	/* "" is a valid local part, but the form with nothing at its end is not reversible */
	if (local.n == 0)
		goto out;
	f.host = a.domain;
	switch (srs_kind(local)) {
	case '0':
		f.kind = '1';
		f.rest = slice_sub(local, TAG_LEN, local.n);
		break;
	case '1':
		if (srs_split(local, &in) < 0)
			goto out;
		f = in;
		break;
	default:
		f.kind = '0';
		stamp_make(day, stamp);
		f.stamp = slice_make(stamp, sizeof(stamp));
		f.rest = local;
		break;
	}
	r = srs_emit(s, &f, out);
out:
	buf_fini(&plain);
	return r;
}

/* Is this address in our domain and of the SRS form? Its local part, unquoted, goes to
 * `plain`, which the parts point into. */
static enum srs_result
srs_open(const struct srs *s, struct slice address, struct buf *plain, struct srs_parts *f)
{
	struct address a;

	if (address_parse(address, true, &a) < 0)
		return SRS_BAD_ADDRESS;
	/* 1.2.13: the hash does not cover the domain */
	if (!slice_ieq(a.domain, s->domain))
		return SRS_NOT_SRS;
	if (address_unquote(a.local, plain) < 0)
		return SRS_BAD_ADDRESS;
	if (srs_kind(buf_slice(plain)) == 0 || srs_split(buf_slice(plain), f) < 0)
		return SRS_NOT_SRS;
	return SRS_OK;
}

static enum srs_result
srs_verify(const struct srs *s, uint32_t day, const struct srs_parts *f)
{
	if (!mac_valid(s, f))
		return SRS_BAD_HASH;
	if (f->kind == '0' && !stamp_fresh(s, day, stamp_value(f->stamp)))
		return SRS_EXPIRED;
	return SRS_OK;
}

/* 1.2.12: what comes out is an address somebody outside could have. */
static enum srs_result
srs_original(const struct srs *s, const struct srs_parts *f, struct buf *out)
{
	struct buf local, whole;
	struct address a;
	enum srs_result r = SRS_BAD_ADDRESS;

	buf_init(&local, ADDRESS_PATH_MAX);
	buf_init(&whole, 2 * ADDRESS_PATH_MAX);
	if (f->kind == '1' && buf_puts(&local, "SRS0") < 0)
		goto out;
	if (buf_put_slice(&local, f->rest) < 0 ||
	    address_quote(buf_slice(&local), &whole) < 0 ||
	    buf_put(&whole, "@", 1) < 0 || buf_put_slice(&whole, f->host) < 0)
		goto out;
	if (address_parse(buf_slice(&whole), true, &a) < 0 || slice_ieq(a.domain, s->domain))
		goto out;
	/* no single label takes mail from outside, and node names look like one (1.4.1) */
	if (!a.literal && slice_find(a.domain, '.') == a.domain.n)
		goto out;
	if (buf_put_slice(out, buf_slice(&whole)) == 0)
		r = SRS_OK;
out:
	buf_fini(&local);
	buf_fini(&whole);
	return r;
}

enum srs_result
srs_reverse(const struct srs *s, uint32_t day, struct slice address, struct buf *out)
{
	struct srs_parts f;
	struct buf plain;
	enum srs_result r;

	buf_init(&plain, ADDRESS_PATH_MAX);
	r = srs_open(s, address, &plain, &f);
	if (r == SRS_OK)
		r = srs_verify(s, day, &f);
	if (r == SRS_OK)
		r = srs_original(s, &f, out);
	buf_fini(&plain);
	return r;
}

static bool
is_base32hex(char c)
{
	c = ascii_lower(c);
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'v');
}

static bool
is_token(struct slice t)
{
	if (t.n != SRS_TOKEN_LEN)
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (!is_base32hex(t.p[i]))
			return false;
	return true;
}

static bool
is_node(struct slice n)
{
	if (n.n == 0 || n.n > NODE_MAX)
		return false;
	for (size_t i = 0; i < n.n; i++) {
		char c = ascii_lower(n.p[i]);

		if ((c < '0' || c > '9') && (c < 'a' || c > 'z'))
			return false;
	}
	return true;
}

enum srs_result
srs_opaque(const struct srs *s, uint32_t day, struct slice token, struct buf *out)
{
	struct srs_parts f = { .kind = '0', .host = s->node, .rest = token };
	char stamp[2];

	if (!is_token(token) || !is_node(s->node))
		return SRS_BAD_ADDRESS;
	stamp_make(day, stamp);
	f.stamp = slice_make(stamp, sizeof(stamp));
	return srs_emit(s, &f, out);
}

enum srs_result
srs_opaque_check(const struct srs *s, uint32_t day, struct slice address,
    struct slice *node, struct slice *token)
{
	struct srs_parts f;
	struct address a;
	struct slice local;

	*node = *token = SLICE_NONE;
	if (address_parse(address, true, &a) < 0)
		return SRS_BAD_ADDRESS;
	if (!slice_ieq(a.domain, s->domain))
		return SRS_NOT_SRS;
	/* some relay may have put quotes on; nothing in ours needs an escape */
	local = a.quoted ? slice_sub(a.local, 1, a.local.n - 1) : a.local;
	if (srs_kind(local) != '0' || srs_split(local, &f) < 0 ||
	    !is_node(f.host) || !is_token(f.rest))
		return SRS_NOT_SRS;
	*node = f.host;
	*token = f.rest;
	return srs_verify(s, day, &f);
}

void
srs_token_new(char out[SRS_TOKEN_LEN + 1])
{
	uint8_t raw[SRS_TOKEN_LEN];

	/* one octet for each character is simpler than repacking 15 and as random */
	crypto_random(raw, sizeof(raw));
	for (size_t i = 0; i < SRS_TOKEN_LEN; i++)
		out[i] = base32hex[raw[i] & 31];
	out[SRS_TOKEN_LEN] = '\0';
}

int
srs_secrets(struct srs *s, struct slice text)
{
	struct slice line;
	size_t end;

	s->nsecret = 0;
	while (text.n > 0) {
		end = slice_find(text, '\n');
		line = slice_trim(slice_sub(text, 0, end));
		text = slice_sub(text, end + 1, text.n);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		/* a secret that silently does not verify would refuse real bounces */
		if (s->nsecret == SRS_SECRETS_MAX)
			return -1;
		s->secret[s->nsecret++] = line;
	}
	return s->nsecret == 0 ? -1 : 0;
}
