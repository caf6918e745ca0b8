// SPDX-License-Identifier: Apache-2.0
/* One signature of a chain: tags, key record, RSA and Ed25519. */
#include "policy/arc_verify_priv.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "base/crypto.h"

enum {
	BITS_MIN = 1024,		/* RFC 8301 3.2 */
	BITS_MAX = 8192,		/* more is only work for us */
	EXPONENT_BITS_MAX = 64,		/* likewise */
	SIGNATURE_MAX = 2048, KEY_MAX = 4096,	/* octets, decoded */
	BASE64_MAX = 8192		/* octets of either as written, folding included */
};

static void
spoil(struct arc_sig *s, const char *why)
{
	if (s->bad == NULL)
		s->bad = why;
}

/* -- Tags ------------------------------------------------------------------------ */

static bool
tag_number(struct slice v, uint64_t *out)
{
	return v.n <= 20 && slice_u64(v, out) == 0;
}

unsigned
arc_tags_instance(const struct dkim_tags *t)
{
	struct slice v = dkim_tag(t, "i");
	uint64_t n;

	/* 1*2DIGIT, RFC 8617 4.2.1 */
	if (v.n > 2 || slice_u64(v, &n) != 0 || n > ARC_VERIFY_SETS_MAX)
		return 0;
	return (unsigned)n;
}

static void
read_names(struct arc_sig *s, const struct dkim_tags *t)
{
	if (dkim_tag_text(dkim_tag(t, "s"), s->selector, sizeof(s->selector)) != 0 ||
	    dkim_tag_text(dkim_tag(t, "d"), s->domain, sizeof(s->domain)) != 0)
		spoil(s, "bad d= or s=");
	bytes_lower(s->domain, strlen(s->domain));
	if (!dkim_name_ok(s->domain))
		spoil(s, "bad d=");
	if (!dkim_name_ok(s->selector))
		spoil(s, "bad s=");
}

static void
read_algorithm(struct arc_sig *s, const struct dkim_tags *t)
{
	struct slice a = dkim_tag(t, "a");

	s->ed25519 = slice_ieq(a, SLICE_LIT("ed25519-sha256"));
	if (!s->ed25519 && !slice_ieq(a, SLICE_LIT("rsa-sha256")))
		spoil(s, "unknown algorithm");	/* rsa-sha1 among them, RFC 8301 3.1 */
}

/* c=: one name stands for the header alone, the body is then simple (RFC 6376 3.5). */
static void
read_canon(struct arc_sig *s, const struct dkim_tags *t)
{
	struct slice c = dkim_tag(t, "c"), head, body;
	size_t slash = slice_find(c, '/');

	s->no_c = c.p == NULL;
	if (s->no_c)
		return;
	head = slice_trim(slice_sub(c, 0, slash));
	body = slash < c.n ? slice_trim(slice_sub(c, slash + 1, c.n)) : SLICE_LIT("simple");
	s->relaxed_header = slice_ieq(head, SLICE_LIT("relaxed"));
	s->relaxed_body = slice_ieq(body, SLICE_LIT("relaxed"));
	if ((!s->relaxed_header && !slice_ieq(head, SLICE_LIT("simple"))) ||
	    (!s->relaxed_body && !slice_ieq(body, SLICE_LIT("simple"))))
		spoil(s, "bad c=");
}

static void
read_times(struct arc_sig *s, const struct dkim_tags *t, bool seal, int64_t now_s)
{
	struct slice ts = dkim_tag(t, "t"), xs = dkim_tag(t, "x");
	uint64_t made = 0, expires;

	if (ts.p != NULL && !tag_number(ts, &made))
		spoil(s, "bad t=");
	if (seal || xs.p == NULL)
		return;
	if (!tag_number(xs, &expires) || expires <= made)
		spoil(s, "bad x=");
	else if (now_s > 0 && expires < (uint64_t)now_s)
		spoil(s, "expired");
}

static unsigned
count_names(struct slice h)
{
	unsigned n = 1;

	for (size_t i = 0; i < h.n; i++)
		n += h.p[i] == ':';
	return n;
}

static void
read_message_tags(struct arc_sig *s, const struct dkim_tags *t)
{
	struct slice l = dkim_tag(t, "l"), q = dkim_tag(t, "q");

	s->bh = dkim_tag(t, "bh");
	s->h = dkim_tag(t, "h");
	s->has_l = l.p != NULL;
	read_canon(s, t);
	if (s->bh.n == 0 || s->h.n == 0)
		spoil(s, "bh= or h= missing");
	if (count_names(s->h) > ARC_VERIFY_NAMES_MAX)
		spoil(s, "too many names in h=");
	else if (dkim_list_count(s->h, SLICE_LIT("ARC-Seal")) > 0)
		spoil(s, "h= has ARC-Seal");		/* RFC 8617 4.1.2 */
	else if (dkim_list_count(s->h, SLICE_LIT("From")) == 0)
		spoil(s, "From is not signed");
	if (s->has_l && dkim_tag_length(l, &s->l) != 0)
		spoil(s, "bad l=");
	if (q.p != NULL && dkim_list_count(q, SLICE_LIT("dns/txt")) == 0)
		spoil(s, "unknown q=");
}

void
arc_sig_read(struct arc_sig *s, const struct header_field *f, bool seal, int64_t now_s)
{
	struct dkim_tags t;

	*s = (struct arc_sig){ .raw = f->raw, .value = f->value };
	if (dkim_tags_parse(s->value, &t) != 0) {
		spoil(s, "not a tag list");
		return;
	}
	s->b = dkim_tag(&t, "b");
	if (s->b.n == 0)
		spoil(s, "b= missing");
	read_names(s, &t);
	read_algorithm(s, &t);
	read_times(s, &t, seal, now_s);
	if (!seal) {
		read_message_tags(s, &t);
		return;
	}
	s->cv = dkim_tag(&t, "cv");
	if (dkim_tag(&t, "h").p != NULL)
		spoil(s, "seal with h=");	/* RFC 8617 4.1.3, 5.1.1 */
}

/* -- Keys ------------------------------------------------------------------------ */

/* RFC 6376 3.6.1: NULL when the record allows this signature. */
static const char *
read_record(const struct arc_sig *s, struct slice *p)
{
	struct dkim_tags tags;
	struct slice v, k, h, use;

	if (dkim_tags_parse(s->key, &tags) != 0)
		return "bad key record";
	v = dkim_tag(&tags, "v");
	k = dkim_tag(&tags, "k");
	h = dkim_tag(&tags, "h");
	use = dkim_tag(&tags, "s");
	*p = dkim_tag(&tags, "p");
	if (v.p != NULL && !slice_eq(v, SLICE_LIT("DKIM1")))
		return "unknown key version";
	if (p->n == 0)
		return "key revoked";
	if (k.p == NULL)
		k = SLICE_LIT("rsa");
	if (!slice_eq(k, s->ed25519 ? SLICE_LIT("ed25519") : SLICE_LIT("rsa")))
		return "key of another type";
	if (h.p != NULL && dkim_list_count(h, SLICE_LIT("sha256")) == 0)
		return "key not for sha256";
	if (use.p != NULL && dkim_list_count(use, SLICE_LIT("*")) == 0 &&
	    dkim_list_count(use, SLICE_LIT("email")) == 0)
		return "key not for email";
	return NULL;
}

void
arc_sig_find_key(struct arc_sig *s, struct dnsview *v)
{
	char name[2 * DNS_NAME_MAX + 32];
	struct dkim_tags tags;
	struct dns_rr rr;
	struct slice rrs, p;
	int n = snprintf(name, sizeof(name), "%s._domainkey.%s", s->selector, s->domain);
	int st = dnsview_ask(v, DNS_TXT, slice_make(name, (size_t)n), &rrs);

	s->key_state = ARC_KEY_NONE;
	if (st == DNSVIEW_MISS)
		s->key_state = ARC_KEY_MISSING;
	else if (st == DNS_FAIL)
		s->key_state = ARC_KEY_NO_ANSWER;
	/* Of several records the first that may be this signature's (RFC 6376 3.6.2.2, 6.1.2);
	 * else one that says why none is. */
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		if (dkim_tags_parse(rr.data, &tags) != 0 || dkim_tag(&tags, "p").p == NULL)
			continue;
		s->key = rr.data;
		s->key_state = ARC_KEY_THERE;
		if (read_record(s, &p) == NULL)
			break;
	}
}

/* base64string of RFC 6376 2.10: the '=' at its end may be missing. */
static int
decode(struct buf *out, struct slice text)
{
	char padded[BASE64_MAX + 4];

	if (text.n > BASE64_MAX || dkim_tag_text(text, padded, BASE64_MAX + 1) != 0)
		return -1;
	for (size_t n = strlen(padded); n % 4 > 1; n++)
		memcpy(padded + n, "=", 2);
	return crypto_unbase64(out, slice_str(padded));
}

/* Most publish a SubjectPublicKeyInfo, some the bare RSAPublicKey of the RFC's grammar. */
static EVP_PKEY *
decode_rsa(struct slice der)
{
	const unsigned char *at = (const unsigned char *)der.p;
	EVP_PKEY *k = d2i_PUBKEY(NULL, &at, (long)der.n);

	if (k != NULL)
		return k;
	at = (const unsigned char *)der.p;
	return d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.n);
}

static const char *
check_rsa(const EVP_PKEY *k)
{
	BIGNUM *e = NULL;
	int bits;

	if (!EVP_PKEY_is_a(k, "RSA"))
		return "key of another type";
	if (EVP_PKEY_get_bits(k) < BITS_MIN)
		return "key too short";
	if (EVP_PKEY_get_bits(k) > BITS_MAX)
		return "key too long";
	if (EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
		return "bad key";
	bits = BN_num_bits(e);
	BN_free(e);
	return bits > EXPONENT_BITS_MAX ? "key with a large exponent" : NULL;
}

static const char *
load_key(const struct arc_sig *s, EVP_PKEY **key)
{
	struct slice p;
	const char *why = read_record(s, &p);
	struct buf der;

	*key = NULL;
	if (why != NULL)
		return why;
	buf_init(&der, KEY_MAX);
	if (decode(&der, p) != 0)
		why = "key is not base64";
	else if (s->ed25519)
		*key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
		    (const unsigned char *)buf_slice(&der).p, buf_len(&der));
	else
		*key = decode_rsa(buf_slice(&der));
	buf_fini(&der);
	if (why == NULL && *key == NULL)
		why = "bad key";
	else if (why == NULL && !s->ed25519)
		why = check_rsa(*key);
	if (why != NULL) {
		EVP_PKEY_free(*key);
		*key = NULL;
	}
	return why;
}

void
arc_keys_fini(struct arc_keys *k)
{
	for (size_t i = 0; i < ARC_KEYS; i++)
		EVP_PKEY_free(k->key[i].pkey);
	*k = (struct arc_keys){ .next = 0 };
}

static const struct arc_key *
find_key(struct arc_keys *keys, const struct arc_sig *s)
{
	uint8_t id[SIGN_HASH];
	struct arc_key *k;

	crypto_sha256(s->key, id);
	id[0] = (uint8_t)((id[0] & 0xfe) | (s->ed25519 ? 1 : 0));	/* 255 bits are enough */
	for (size_t i = 0; i < ARC_KEYS; i++)
		if (keys->key[i].there && memcmp(keys->key[i].id, id, sizeof(id)) == 0)
			return &keys->key[i];
	k = &keys->key[keys->next];
	keys->next = (keys->next + 1) % ARC_KEYS;
	EVP_PKEY_free(k->pkey);
	memcpy(k->id, id, sizeof(id));
	k->why = load_key(s, &k->pkey);
	k->there = true;
	return k;
}

/* -- Signatures ------------------------------------------------------------------ */

static bool
verify_rsa(EVP_PKEY *key, struct slice sig, const uint8_t hash[SIGN_HASH])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool ok = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	    EVP_PKEY_verify(ctx, (const unsigned char *)sig.p, sig.n, hash, SIGN_HASH) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* RFC 8463 3: pure Ed25519 over the SHA-256 */
static bool
verify_ed25519(EVP_PKEY *key, struct slice sig, const uint8_t hash[SIGN_HASH])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, (const unsigned char *)sig.p, sig.n, hash, SIGN_HASH) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

const char *
arc_sig_verify(const struct arc_sig *s, const uint8_t hash[SIGN_HASH], struct arc_keys *keys)
{
	const struct arc_key *k = find_key(keys, s);
	const char *why = k->why;
	struct buf sig;
	bool ok = false;

	if (why == NULL) {
		buf_init(&sig, SIGNATURE_MAX);
		if (decode(&sig, s->b) == 0 && buf_len(&sig) > 0)
			ok = s->ed25519 ? verify_ed25519(k->pkey, buf_slice(&sig), hash) :
			    verify_rsa(k->pkey, buf_slice(&sig), hash);
		buf_fini(&sig);
		why = ok ? NULL : "bad signature";
	}
	ERR_clear_error();
	return why;
}

bool
arc_sig_is_bh(const struct arc_sig *s, const uint8_t hash[SIGN_HASH])
{
	struct buf bh;
	bool same;

	buf_init(&bh, SIGN_HASH + 3);
	same = decode(&bh, s->bh) == 0 && buf_len(&bh) == SIGN_HASH &&
	    memcmp(buf_slice(&bh).p, hash, SIGN_HASH) == 0;
	buf_fini(&bh);
	return same;
}

/* -- Canonical forms ------------------------------------------------------------- */

/* RFC 6376 3.7: b= with everything up to the next ';' taken out. */
int
arc_sig_unsigned(struct buf *out, const struct arc_sig *s, bool relaxed)
{
	size_t from = (size_t)(s->b.p - s->raw.p), to = from + s->b.n, end = s->raw.n;
	struct buf field;
	int ret = -1;

	while (s->raw.p[from - 1] != '=')
		from--;
	if (end >= 2 && s->raw.p[end - 1] == '\n' && s->raw.p[end - 2] == '\r')
		end -= 2;
	while (to < end && s->raw.p[to] != ';')
		to++;
	buf_init(&field, ARC_VERIFY_FIELD_MAX);
	if (buf_put(&field, s->raw.p, from) == 0 &&
	    buf_put(&field, s->raw.p + to, end - to) == 0)
		ret = relaxed ? sign_relax(out, buf_slice(&field)) :
		    buf_put_slice(out, buf_slice(&field));
	buf_fini(&field);
	return ret;
}

void
arc_body_simple(struct slice body, size_t *n)
{
	while (body.n >= 2 && body.p[body.n - 1] == '\n' && body.p[body.n - 2] == '\r')
		body.n -= 2;
	*n = body.n;
}

/* Of a line without its CRLF: white space at the end gone, runs of it one space. */
static uint64_t
relaxed_line(struct slice line)
{
	uint64_t n = 0;
	bool space = false;

	for (size_t i = 0; i < line.n; i++) {
		bool wsp = line.p[i] == ' ' || line.p[i] == '\t';

		if (!wsp)
			n += space ? 2 : 1;
		space = wsp;
	}
	return n;
}

uint64_t
arc_body_length(struct slice body, bool relaxed)
{
	uint64_t n = 0, kept = 0;	/* so far; up to the last line with text */
	size_t simple;

	if (!relaxed) {
		arc_body_simple(body, &simple);
		return (uint64_t)simple + 2;
	}
	while (body.n > 0) {
		const char *crlf = memmem(body.p, body.n, "\r\n", 2);
		size_t end = crlf == NULL ? body.n : (size_t)(crlf - body.p);
		uint64_t text = relaxed_line(slice_sub(body, 0, end));

		n += text + 2;
		if (text > 0)
			kept = n;
		body = slice_sub(body, end + 2, body.n);
	}
	return kept;
}
