// SPDX-License-Identifier: Apache-2.0
#include "policy/mime.h"

#include <stdio.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/header.h"
#include "policy/mime_text.h"

enum { LINE_MAX_OCTETS = 998 /* RFC 5322 2.1.1 */ };

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void
mime_skip_cfws(struct slice *s)
{
	size_t depth = 0, i = 0;

	for (; i < s->n; i++) {
		char c = s->p[i];

		if (c == '(')
			depth++;
		else if (depth == 0 && !is_space(c))
			break;
		else if (c == ')')
			depth--;
		else if (c == '\\' && depth > 0)
			i++;
	}
	*s = slice_sub(*s, i, s->n);
}

static bool
take(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_sub(*s, 1, s->n);
	return true;
}

/* RFC 2045 5.1. */
static struct slice
read_token(struct slice *s)
{
	struct slice t = *s;

	for (t.n = 0; t.n < s->n; t.n++) {
		char c = s->p[t.n];

		if (c <= ' ' || c >= 127 || strchr("()<>@,;:\\\"/[]?=", c) != NULL)
			break;
	}
	*s = slice_sub(*s, t.n, s->n);
	return t;
}

static void
read_type(struct mime_entity *e, struct slice value)
{
	struct slice major, minor;

	mime_skip_cfws(&value);
	major = read_token(&value);
	mime_skip_cfws(&value);
	if (!take(&value, '/'))
		return;
	mime_skip_cfws(&value);
	minor = read_token(&value);
	mime_skip_cfws(&value);
	if (major.n == 0 || minor.n == 0)
		return;
	e->major = major;
	e->minor = minor;
	e->params = value;
}

void
mime_read(struct mime_entity *e, struct slice bytes)
{
	bool type = false, encoding = false;
	struct header h;
	struct header_field f;

	*e = (struct mime_entity){ .bytes = bytes };
	header_start(&h, bytes);
	while (header_next(&h, &f)) {
		if (!type && header_is(&f, "Content-Type")) {
			type = true;
			read_type(e, f.value);
		} else if (!encoding && header_is(&f, "Content-Transfer-Encoding")) {
			encoding = true;
			mime_skip_cfws(&f.value);
			e->encoding = read_token(&f.value);
		}
	}
	e->body = slice_sub(bytes, h.body, bytes.n);
}

bool
mime_is(const struct mime_entity *e, const char *major, const char *minor)
{
	return slice_ieq(e->major, slice_str(major)) &&
	    (minor == NULL || slice_ieq(e->minor, slice_str(minor)));
}

/* A token or a quoted string. 0, or -1 when it is broken or does not fit. */
static int
read_value(struct slice *s, char *out, size_t cap)
{
	struct slice t;
	size_t n = 0, i;

	if (!take(s, '"')) {
		t = read_token(s);
		return t.n == 0 ? -1 : slice_cstr(t, out, cap);
	}
	for (i = 0; i < s->n && s->p[i] != '"'; i++) {
		if (s->p[i] == '\r' || s->p[i] == '\n')
			continue;	/* folded */
		if (s->p[i] == '\\' && i + 1 < s->n)
			i++;
		if (s->p[i] == '\0' || n + 1 >= cap)
			return -1;
		out[n++] = s->p[i];
	}
	if (i == s->n)
		return -1;
	out[n] = '\0';
	*s = slice_sub(*s, i + 1, s->n);
	return 0;
}

/* To the next ';' outside of quotes. */
static void
skip_param(struct slice *s)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < s->n && (quoted || s->p[i] != ';'); i++) {
		if (s->p[i] == '"')
			quoted = !quoted;
		else if (quoted && s->p[i] == '\\')
			i++;
	}
	*s = slice_sub(*s, i, s->n);
}

int
mime_param(const struct mime_entity *e, const char *name, char *out, size_t cap)
{
	struct slice s = e->params, found;

	CHECK(cap > 0);
	for (skip_param(&s); take(&s, ';'); skip_param(&s)) {
		mime_skip_cfws(&s);
		found = read_token(&s);
		mime_skip_cfws(&s);
		if (!slice_ieq(found, slice_str(name)) || !take(&s, '='))
			continue;
		mime_skip_cfws(&s);
		if (read_value(&s, out, cap) == 0)
			return 0;
		break;
	}
	out[0] = '\0';
	return -1;
}

int
mime_decode(const struct mime_entity *e, struct buf *out)
{
	if (slice_ieq(e->encoding, SLICE_LIT("base64")))
		return crypto_unbase64(out, e->body);
	if (slice_ieq(e->encoding, SLICE_LIT("quoted-printable")))
		return mime_unqp(out, e->body);
	return buf_put_slice(out, e->body);
}

int
mime_parts_start(struct mime_parts *p, const struct mime_entity *e)
{
	char text[MIME_BOUNDARY_MAX + 1];
	struct slice preamble;
	size_t n;

	*p = (struct mime_parts){ .left = e->body };
	if (!mime_is(e, "multipart", NULL) || mime_param(e, "boundary", text, sizeof(text)) < 0)
		return -1;
	for (n = strlen(text); n > 0 && is_space(text[n - 1]); n--)
		text[n - 1] = '\0';
	if (n == 0)
		return -1;
	snprintf(p->delimiter, sizeof(p->delimiter), "--%s", text);
	return mime_parts_next(p, &preamble) ? 0 : -1;
}

/* A delimiter line of RFC 2046 5.1.1 at `at`? Where the next line starts is in *next. */
static bool
is_delimiter(const struct mime_parts *p, size_t at, size_t *next, bool *last)
{
	struct slice s = p->left;
	size_t i = at + strlen(p->delimiter);

	if (at > 0 && (at == 1 || s.p[at - 1] != '\n' || s.p[at - 2] != '\r'))
		return false;
	*last = i + 1 < s.n && s.p[i] == '-' && s.p[i + 1] == '-';
	if (*last)
		i += 2;
	while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
		i++;
	*next = i + 2 < s.n ? i + 2 : s.n;
	return i == s.n || (i + 1 < s.n && s.p[i] == '\r' && s.p[i + 1] == '\n');
}

bool
mime_parts_next(struct mime_parts *p, struct slice *part)
{
	struct slice s = p->left;
	size_t n = strlen(p->delimiter), at = 0, next;
	const char *hit;

	p->closed = false;
	if (p->last || s.p == NULL)
		return false;
	while ((hit = memmem(s.p + at, s.n - at, p->delimiter, n)) != NULL) {
		at = (size_t)(hit - s.p);
		if (is_delimiter(p, at, &next, &p->last)) {
			*part = slice_sub(s, 0, at < 2 ? 0 : at - 2);
			p->left = slice_sub(s, next, s.n);
			p->closed = true;
			return true;
		}
		at++;
	}
	*part = s;
	p->left = SLICE_NONE;
	p->last = true;
	return s.n > 0;
}

bool
mime_has_8bit(struct slice s)
{
	unsigned char any = 0;

	for (size_t i = 0; i < s.n; i++)
		any |= (unsigned char)s.p[i];
	return any >= 0x80;
}

bool
mime_is_plain(struct slice s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			column = 0;
			i++;
		} else if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n' ||
		    ++column > LINE_MAX_OCTETS) {
			return false;
		}
	}
	return true;
}

void
mime_boundary(struct slice seed, struct slice content, char out[MIME_BOUNDARY_OURS + 1])
{
	uint8_t hash[32];
	char text[2 * 16 + 1];

	crypto_sha256(seed, hash);
	/* "=_" cannot be in base64 or quoted-printable (RFC 2045 6.7); the rest is looked for */
	do {
		crypto_hex(hash, 16, text);
		snprintf(out, MIME_BOUNDARY_OURS + 1, "=_sp_%s", text);
		crypto_sha256(slice_make(hash, sizeof(hash)), hash);
	} while (content.n > 0 && memmem(content.p, content.n, out, strlen(out)) != NULL);
}
