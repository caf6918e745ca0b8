// SPDX-License-Identifier: Apache-2.0
#include "policy/sign.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/mem.h"

enum {
	BODY_SCRATCH = 8192,
	BODY_DIRECT = 1024,		/* runs from here on are hashed where they lie */
	BODY_BLOCK = 64,		/* octets looked at in one go */
	SIGNATURE_MAX = 2048,		/* octets: RSA of 16384 bits */
	B64_LINE = 72,
	CANON_MAX = 1024 * 1024		/* relaxed header text of one signature */
};

struct sign_key {
	EVP_PKEY	*pkey;
	EVP_PKEY_CTX	*rsa;		/* ready to sign; NULL for Ed25519 */
	EVP_MD_CTX	*ed;		/* NULL for RSA */
};

struct sign_body {
	EVP_MD_CTX	*md;
	EVP_MD		*sha256;	/* fetched once; fetching costs more than hashing a line */
	uint64_t	 crlf;		/* line ends held back: they count only before text */
	bool		 space;		/* white space held back, becomes one SP or nothing */
	bool		 tab;		/* a TAB is among it */
	bool		 cr;		/* a CR is held back */
	bool		 any;		/* something was hashed */
	size_t		 nscratch;
	char		 scratch[BODY_SCRATCH];
};

/* Never ask on the terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

static int
key_prepare(struct sign_key *k, const char **why)
{
	if (EVP_PKEY_is_a(k->pkey, "ED25519")) {
		k->ed = EVP_MD_CTX_new();
		*why = "OpenSSL is out of memory";
		return k->ed == NULL ? -1 : 0;
	}
	if (!EVP_PKEY_is_a(k->pkey, "RSA")) {
		*why = "it is neither an RSA nor an Ed25519 key";
		return -1;
	}
	if (EVP_PKEY_get_bits(k->pkey) < SIGN_RSA_MIN) {
		*why = "RSA keys under 1024 bits are refused everywhere (RFC 8301)";
		return -1;
	}
	*why = "OpenSSL cannot sign with it";
	if (EVP_PKEY_get_size(k->pkey) > SIGNATURE_MAX)
		return -1;
	k->rsa = EVP_PKEY_CTX_new(k->pkey, NULL);
	if (k->rsa == NULL || EVP_PKEY_sign_init(k->rsa) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(k->rsa, RSA_PKCS1_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(k->rsa, EVP_sha256()) != 1)
		return -1;
	return 0;
}

struct sign_key *
sign_key_new(struct slice pem, const char **why)
{
	struct sign_key *k = mem_new(sizeof(*k));
	BIO *bio;

	*why = "it is not a private key in PEM form without a passphrase";
	bio = BIO_new_mem_buf(pem.p, pem.n > INT32_MAX ? INT32_MAX : (int)pem.n);
	if (bio != NULL)
		k->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (k->pkey == NULL || key_prepare(k, why) < 0)
		sign_key_free(&k);
	ERR_clear_error();
	return k;
}

void
sign_key_free(struct sign_key **kp)
{
	if (*kp == NULL)
		return;
	EVP_PKEY_CTX_free((*kp)->rsa);
	EVP_MD_CTX_free((*kp)->ed);
	EVP_PKEY_free((*kp)->pkey);	/* clears the private parts */
	free(*kp);
	*kp = NULL;
}

const char *
sign_key_algorithm(const struct sign_key *k)
{
	return k->rsa != NULL ? "rsa-sha256" : "ed25519-sha256";
}

unsigned
sign_key_bits(const struct sign_key *k)
{
	return (unsigned)EVP_PKEY_get_bits(k->pkey);
}

int
sign_key_record(const struct sign_key *k, struct buf *out)
{
	unsigned char raw[SIGN_HASH], *der = NULL;
	size_t n = sizeof(raw);
	int len, ret = -1;

	if (k->ed != NULL) {
		/* RFC 8463 4: the bare key */
		if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1 ||
		    buf_puts(out, "v=DKIM1; k=ed25519; p=") < 0)
			return -1;
		return crypto_base64(out, slice_make(raw, n));
	}
	len = i2d_PUBKEY(k->pkey, &der);
	if (len > 0 && buf_puts(out, "v=DKIM1; k=rsa; p=") == 0)
		ret = crypto_base64(out, slice_make(der, (size_t)len));
	OPENSSL_free(der);
	return ret;
}

/* Octets of the signature, 0 for trouble. */
static size_t
raw_signature(struct sign_key *k, const uint8_t hash[SIGN_HASH], unsigned char *out, size_t cap)
{
	size_t n = cap;

	if (k->rsa != NULL)
		return EVP_PKEY_sign(k->rsa, out, &n, hash, SIGN_HASH) == 1 ? n : 0;
	/* RFC 8463 3: pure Ed25519 over the SHA-256 */
	if (EVP_DigestSignInit(k->ed, NULL, NULL, NULL, k->pkey) != 1 ||
	    EVP_DigestSign(k->ed, out, &n, hash, SIGN_HASH) != 1)
		n = 0;
	EVP_MD_CTX_reset(k->ed);
	return n;
}

int
sign_hash(struct sign_key *k, const uint8_t hash[SIGN_HASH], struct buf *out)
{
	unsigned char raw[SIGNATURE_MAX];
	struct slice text, line;
	struct buf b64;
	size_t n = raw_signature(k, hash, raw, sizeof(raw));
	int ret = -1;

	if (n == 0) {
		ERR_clear_error();
		return -1;
	}
	buf_init(&b64, 2 * SIGNATURE_MAX);
	if (crypto_base64(&b64, slice_make(raw, n)) < 0)
		goto out;
	for (text = buf_slice(&b64); text.n > 0; text = slice_sub(text, B64_LINE, text.n)) {
		line = slice_sub(text, 0, B64_LINE);
		if (buf_puts(out, "\r\n\t") < 0 || buf_put_slice(out, line) < 0)
			goto out;
	}
	ret = 0;
out:
	buf_fini(&b64);
	return ret;
}

struct sign_body *
sign_body_new(void)
{
	struct sign_body *b = mem_new(sizeof(*b));

	b->md = EVP_MD_CTX_new();
	b->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	CHECK(b->md != NULL && b->sha256 != NULL);
	return b;
}

void
sign_body_free(struct sign_body **bp)
{
	if (*bp == NULL)
		return;
	EVP_MD_CTX_free((*bp)->md);
	EVP_MD_free((*bp)->sha256);
	free(*bp);
	*bp = NULL;
}

void
sign_body_start(struct sign_body *b)
{
	CHECK(EVP_DigestInit_ex2(b->md, b->sha256, NULL) == 1);
	b->crlf = 0;
	b->space = b->tab = b->cr = b->any = false;
	b->nscratch = 0;
}

static void
body_hash_now(struct sign_body *b, const char *p, size_t n)
{
	CHECK(EVP_DigestUpdate(b->md, p, n) == 1);
}

static void
body_flush(struct sign_body *b)
{
	if (b->nscratch > 0)
		body_hash_now(b, b->scratch, b->nscratch);
	b->nscratch = 0;
}

/* Short runs are gathered, since hashing has a price for each call; long ones are taken
 * where they lie. */
static void
body_emit(struct sign_body *b, const char *p, size_t n)
{
	if (n >= BODY_DIRECT || n > sizeof(b->scratch) - b->nscratch)
		body_flush(b);
	if (n >= BODY_DIRECT) {
		body_hash_now(b, p, n);
	} else if (n > 0) {
		memcpy(b->scratch + b->nscratch, p, n);
		b->nscratch += n;
	}
}

/* What was held back turned out to stand before text. */
static void
body_emit_held(struct sign_body *b)
{
	for (; b->crlf > 0; b->crlf--)
		body_emit(b, "\r\n", 2);
	if (b->space)
		body_emit(b, " ", 1);
	b->space = b->tab = false;
	b->any = true;
}

/* Takes SP, TAB, CR or LF at *i; true when it is text after all (a CR or LF alone, which
 * the listener lets nobody send, but the hash must be right for any bytes). */
static bool
body_hold(struct sign_body *b, char c)
{
	if (b->cr && c == '\n') {
		b->cr = b->space = b->tab = false;
		b->crlf++;
		return false;
	}
	if (b->cr) {
		body_emit_held(b);
		body_emit(b, "\r", 1);
		b->cr = false;
	}
	if (c == ' ' || c == '\t') {
		b->space = true;
		b->tab |= c == '\t';
	} else if (c == '\r') {
		b->cr = true;
	} else {
		return true;
	}
	return false;
}

static bool
is_text(char c)
{
	return (unsigned char)c > ' ' || (c != ' ' && c != '\t' && c != '\r' && c != '\n');
}

typedef uint8_t octets __attribute__((vector_size(16)));

/* Do BODY_BLOCK octets and the one behind them stand as they would in canonical form, as far
 * as two neighbours can tell? Sixteen at a time, whatever the machine has for that. */
static bool
block_plain(const char *p)
{
	octets bad = { 0 };
	uint64_t any[2];

	for (int i = 0; i < BODY_BLOCK; i += (int)sizeof(octets)) {
		octets c, d;

		memcpy(&c, p + i, sizeof(c));
		memcpy(&d, p + i + 1, sizeof(d));
		bad |= (octets)(c == '\t') | (octets)((c == '\r') ^ (d == '\n')) |
		    (octets)((c == ' ') & ((d == ' ') | (d == '\t') | (d == '\r')));
	}
	memcpy(any, &bad, sizeof(any));
	return (any[0] | any[1]) == 0;
}

/* From the end of a text run at `i` to that of another, as far as all between is plain. Where
 * it is not, *again says from where looking is worth while. */
static size_t
plain_end(const char *p, size_t i, size_t n, size_t *again)
{
	size_t from = i;

	if (i < *again)
		return i;
	while (n - i > BODY_BLOCK && block_plain(p + i - 1))
		i += BODY_BLOCK;
	*again = i + BODY_BLOCK;
	while (i > from && !is_text(p[i - 1]))
		i--;
	return i;
}

/*
 * [from, i) is text that goes out as it is. Held line ends and white space whose
 * canonical form is the very bytes that stand there become part of it, so that a body
 * that is canonical already is hashed in one call.
 */
void
sign_body_put(struct sign_body *b, struct slice piece)
{
	const char *p = piece.p;
	size_t from = 0, held_at = 0, i = 0, again = 0;
	bool inside = false;		/* [from, held_at) waits to be emitted */

	while (i < piece.n) {
		if (!is_text(p[i])) {
			/* a CR held alone is emitted by body_hold: what is before must go first */
			if (b->cr && p[i] != '\n' && inside) {
				body_emit(b, p + from, held_at - from);
				inside = false;
			}
			if (!body_hold(b, p[i])) {
				i++;
				continue;
			}
		}
		if (b->cr) {
			if (inside)
				body_emit(b, p + from, held_at - from);
			inside = false;
			body_emit_held(b);
			body_emit(b, "\r", 1);
			b->cr = false;
		}
		if (inside && !b->tab && i - held_at == 2 * b->crlf + (b->space ? 1 : 0)) {
			b->crlf = 0;
			b->space = false;
		} else {
			if (inside)
				body_emit(b, p + from, held_at - from);
			body_emit_held(b);
			from = i;
			inside = true;
		}
		for (i++; i < piece.n && (unsigned char)p[i] > ' '; i++)
			continue;
		held_at = i = plain_end(p, i, piece.n, &again);
	}
	if (inside)
		body_emit(b, p + from, held_at - from);
}

void
sign_body_end(struct sign_body *b, uint8_t out[SIGN_HASH])
{
	unsigned n = SIGN_HASH;

	if (b->cr) {
		body_emit_held(b);
		body_emit(b, "\r", 1);
	}
	/* RFC 6376 3.4.4: an empty body stays empty, any other ends with one CRLF */
	if (b->any)
		body_emit(b, "\r\n", 2);
	body_flush(b);
	CHECK(EVP_DigestFinal_ex(b->md, out, &n) == 1 && n == SIGN_HASH);
}

static bool
is_wsp(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int
sign_relax(struct buf *out, struct slice field)
{
	size_t colon = slice_find(field, ':'), n = 0, name_n = colon;
	char *p = buf_reserve(out, field.n + 1);
	bool space = false;

	if (p == NULL)
		return -1;
	while (name_n > 0 && is_wsp(field.p[name_n - 1]))
		name_n--;
	for (; n < name_n; n++)
		p[n] = ascii_lower(field.p[n]);
	p[n++] = ':';
	for (size_t i = colon + 1; i < field.n; i++) {
		if (is_wsp(field.p[i])) {
			space = n > name_n + 1;
			continue;
		}
		if (space)
			p[n++] = ' ';
		space = false;
		p[n++] = field.p[i];
	}
	buf_commit(out, n);
	return 0;
}

int
sign_fields_add(struct sign_fields *f, struct slice name, struct slice raw)
{
	if (f->n == SIGN_FIELDS_MAX)
		return -1;
	if (f->n == f->cap) {
		f->cap = f->cap == 0 ? 32 : 2 * f->cap;
		f->field = mem_resize(f->field, f->cap, sizeof(*f->field));
	}
	f->field[f->n++] = (struct sign_field){ name, raw };
	return 0;
}

void
sign_fields_fini(struct sign_fields *f)
{
	free(f->field);
	*f = (struct sign_fields){ 0 };
}

static struct slice
next_name(struct slice *h)
{
	size_t end = slice_find(*h, ':');
	struct slice name = slice_trim(slice_sub(*h, 0, end));

	*h = slice_sub(*h, end + 1, h->n);
	return name;
}

int
sign_select(struct buf *out, const struct sign_fields *f, struct slice h)
{
	bool used[SIGN_FIELDS_MAX] = { false };
	struct slice name;
	size_t i;

	while (h.n > 0) {
		name = next_name(&h);
		for (i = f->n; i > 0; i--)
			if (!used[i - 1] && slice_ieq(f->field[i - 1].name, name))
				break;
		if (i == 0)
			continue;
		used[i - 1] = true;
		if (sign_relax(out, f->field[i - 1].raw) < 0 || buf_puts(out, "\r\n") < 0)
			return -1;
	}
	return 0;
}

/* The names, on lines of their own length (RFC 5322 2.1.1). */
static int
put_names(struct buf *out, struct slice h)
{
	size_t column = 0;
	struct slice name;

	if (buf_puts(out, "\th=") < 0)
		return -1;
	while (h.n > 0) {
		name = next_name(&h);
		if (column > 0 && column + name.n > 60) {
			if (buf_puts(out, "\r\n\t ") < 0)
				return -1;
			column = 0;
		}
		if (buf_put_slice(out, name) < 0 || buf_puts(out, h.n > 0 ? ":" : ";\r\n") < 0)
			return -1;
		column += name.n + 1;
	}
	return 0;
}

/* All of the field up to and with "b=". */
static int
put_unsigned(struct buf *out, const struct sign_key *k, const struct sign_spec *s,
    const uint8_t body_hash[SIGN_HASH])
{
	if (buf_printf(out, "%.*s: %.*s a=%s; c=relaxed/relaxed;\r\n", SLICE_FMT(s->name),
	    SLICE_FMT(s->first), sign_key_algorithm(k)) < 0)
		return -1;
	if (buf_printf(out, "\td=%.*s; s=%.*s; t=%lld;\r\n", SLICE_FMT(s->domain),
	    SLICE_FMT(s->selector), (long long)s->when) < 0)
		return -1;
	if (put_names(out, s->h) < 0 || buf_puts(out, "\tbh=") < 0 ||
	    crypto_base64(out, slice_make(body_hash, SIGN_HASH)) < 0)
		return -1;
	return buf_puts(out, ";\r\n\tb=");
}

int
sign_field(struct buf *out, struct sign_key *k, const struct sign_spec *spec,
    const struct sign_fields *f, const uint8_t body_hash[SIGN_HASH])
{
	uint8_t hash[SIGN_HASH];
	struct buf canon, field;
	int ret = -1;

	buf_init(&canon, CANON_MAX);
	buf_init(&field, 16 * 1024);
	if (put_unsigned(&field, k, spec, body_hash) < 0)
		goto out;
	/* RFC 6376 3.7: the chosen fields, then this one with b= empty and no CRLF */
	if (sign_select(&canon, f, spec->h) < 0 || sign_relax(&canon, buf_slice(&field)) < 0)
		goto out;
	crypto_sha256(buf_slice(&canon), hash);
	if (sign_hash(k, hash, &field) < 0 || buf_puts(&field, "\r\n") < 0)
		goto out;
	ret = buf_put_slice(out, buf_slice(&field));
out:
	buf_fini(&canon);
	buf_fini(&field);
	return ret;
}
