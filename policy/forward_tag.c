// SPDX-License-Identifier: Apache-2.0
/* The tag of a copy, by which it is known when it comes back (spec 9.1). */
#include "base/crypto.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/forward_priv.h"

enum { TAG_PART_MAX = 1024 };	/* octets of a Message-ID that count */

void
forward_loop_tag(struct slice secret, struct slice domain, struct slice address,
    char out[FORWARD_TAG_LEN + 1])
{
	/* named, so that no tag can ever be the MAC of something else under this secret */
	static const char what[] = "x-fwd-loop";
	const struct slice part[] = { slice_make(what, sizeof(what)), domain,
		slice_make("", 1), address };
	char text[sizeof(what) + 3 * ADDRESS_PATH_MAX];
	uint8_t mac[32];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		size_t len = part[i].n < sizeof(text) - n ? part[i].n : sizeof(text) - n;

		if (len > 0)
			memcpy(text + n, part[i].p, len);
		n += len;
	}
	bytes_lower(text, n);
	crypto_hmac_sha256(secret, slice_make(text, n), mac);
	crypto_hex(mac, FORWARD_TAG_LEN / 2, out);
}

/* The tag is of the mailbox, not of the spelling: a copy may come back to an alias. */
static struct slice
tag_address(const struct envelope_rcpt *rcpt)
{
	return rcpt->user.n > 0 ? rcpt->user : rcpt->address;
}

/* Binds the token to mailbox (by its hash) and Message-ID. */
static void
tag_mac(struct slice secret, struct slice hash, struct slice token, struct slice message_id,
    char out[FORWARD_TAG_MAC + 1])
{
	static const char what[] = "x-fwd-loop 2";
	char text[sizeof(what) + FORWARD_TAG_LEN + SRS_TOKEN_LEN + TAG_PART_MAX];
	size_t n = 0;
	uint8_t mac[32];

	CHECK(hash.n == FORWARD_TAG_LEN && token.n == SRS_TOKEN_LEN);
	memcpy(text, what, sizeof(what));
	n += sizeof(what);
	memcpy(text + n, hash.p, hash.n);
	n += hash.n;
	memcpy(text + n, token.p, token.n);
	n += token.n;
	bytes_lower(text, n);
	message_id = slice_sub(message_id, 0, message_id.n < TAG_PART_MAX ? message_id.n :
	    TAG_PART_MAX);
	memcpy(text + n, message_id.p, message_id.n);
	n += message_id.n;
	crypto_hmac_sha256(secret, slice_make(text, n), mac);
	crypto_hex(mac, FORWARD_TAG_MAC / 2, out);
}

int
forward_tag_put(const struct forward_keys *k, const struct forward_request *rq,
    struct slice message_id, struct buf *out)
{
	char hash[FORWARD_TAG_LEN + 1], mac[FORWARD_TAG_MAC + 1];

	forward_loop_tag(k->srs.secret[0], rq->rcpt->domain, tag_address(rq->rcpt), hash);
	if (message_id.n == 0 || rq->token.n != SRS_TOKEN_LEN)
		return buf_printf(out, "X-Fwd-Loop: %s\r\n", hash);
	tag_mac(k->srs.secret[0], slice_str(hash), rq->token, message_id, mac);
	return buf_printf(out, "X-Fwd-Loop: %s\r\n\t%.*s.%s\r\n", hash, SLICE_FMT(rq->token), mac);
}

/* "HASH", and "TOKEN.MAC" or what else stands behind it. */
static struct slice
tag_split(struct slice value, struct slice *rest)
{
	size_t n = 0;

	value = slice_trim(value);
	while (n < value.n && memchr(" \t\r\n", value.p[n], 4) == NULL)
		n++;
	*rest = slice_trim(slice_sub(value, n, value.n));
	return slice_sub(value, 0, n);
}

/* The secret that made the hash for this mailbox, or "". */
static struct slice
tag_secret(const struct forward_keys *k, const struct envelope_rcpt *rcpt, struct slice hash)
{
	char own[FORWARD_TAG_LEN + 1];

	for (size_t i = 0; hash.n == FORWARD_TAG_LEN && i < k->srs.nsecret; i++) {
		forward_loop_tag(k->srs.secret[i], rcpt->domain, tag_address(rcpt), own);
		if (slice_ieq(hash, slice_str(own)))
			return k->srs.secret[i];
	}
	return SLICE_NONE;
}

bool
forward_tag_is_own(const struct forward_keys *k, const struct envelope_rcpt *rcpt,
    struct slice value)
{
	struct slice rest, hash = tag_split(value, &rest);

	return tag_secret(k, rcpt, hash).n > 0;
}

static enum forward_tag
tag_read(const struct forward_keys *k, const struct envelope_rcpt *rcpt, struct slice value,
    struct slice message_id, struct token_leg *leg)
{
	struct slice rest, hash = tag_split(value, &rest), secret = tag_secret(k, rcpt, hash);
	char mac[FORWARD_TAG_MAC + 1];

	if (secret.n == 0)
		return FORWARD_TAG_NONE;
	if (message_id.n == 0 || rest.n != SRS_TOKEN_LEN + 1 + FORWARD_TAG_MAC ||
	    rest.p[SRS_TOKEN_LEN] != '.')
		return FORWARD_TAG_OURS;
	struct slice token = slice_sub(rest, 0, SRS_TOKEN_LEN);
	tag_mac(secret, hash, token, message_id, mac);
	return slice_ieq(slice_sub(rest, SRS_TOKEN_LEN + 1, rest.n), slice_str(mac)) &&
	    token_open(secret, token, leg) ? FORWARD_TAG_COPY : FORWARD_TAG_OURS;
}

/* Two Message-IDs are none: which one left is not known. */
static struct slice
one_message_id(struct slice content)
{
	struct slice id = SLICE_NONE;
	struct header_field f;
	struct header h;
	unsigned n = 0;

	header_start(&h, content);
	while (header_next(&h, &f))
		if (header_is(&f, "Message-ID") && n++ == 0)
			id = slice_trim(f.value);
	return n == 1 ? id : SLICE_NONE;
}

enum forward_tag
forward_tag_read(const struct forward_keys *k, const struct forward_request *rq,
    struct token_leg *leg)
{
	struct slice message_id = one_message_id(rq->content);
	enum forward_tag best = FORWARD_TAG_NONE, tag;
	struct header_field f;
	struct header h;
	unsigned n = 0;

	header_start(&h, rq->content);
	while (best != FORWARD_TAG_COPY && header_next(&h, &f)) {
		if (!header_is(&f, "X-Fwd-Loop") || n++ >= FORWARD_TAGS_MAX)
			continue;
		tag = tag_read(k, rq->rcpt, f.value, message_id, leg);
		best = tag > best ? tag : best;
	}
	return best;
}
