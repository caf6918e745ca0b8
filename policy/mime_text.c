// SPDX-License-Identifier: Apache-2.0
#include "policy/mime_text.h"

#include "base/crypto.h"
#include "base/mem.h"

enum {
	WORD_MAX = 2048,	/* octets of an encoded word that we look at; the RFC says 75 */
	WORD_CHARSET_MAX = 40,
	WORD_TEXT = 45,		/* octets of Q text in the words we write: lines stay short */
	QP_LINE = 72,		/* columns before "=" */
	RAW_MAX = 8 * 1024	/* octets of adjacent encoded words */
};

enum charset { CS_UNKNOWN_8BIT, CS_WINDOWS_1252, CS_LATIN9, CS_FOREIGN };

struct word {
	enum charset	charset;
	bool		b;		/* base64, else Q */
	struct slice	text;
	size_t		n;		/* octets of the whole */
};

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The octet of two hexadecimal digits at the start of `s`. */
static bool
unhex(struct slice s, char *out)
{
	if (s.n < 2 || hex_value(s.p[0]) < 0 || hex_value(s.p[1]) < 0)
		return false;
	*out = (char)(hex_value(s.p[0]) << 4 | hex_value(s.p[1]));
	return true;
}

static int
put_hex(struct buf *out, char lead, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";
	const char text[3] = { lead, hex[c >> 4], hex[c & 15] };

	return buf_put(out, text, sizeof(text));
}

static bool
is_wsp(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* --- UTF-8 --- */

/* The character at the start of `s` and its length; 0 when it is not valid (RFC 3629). */
static size_t
utf8_next(struct slice s, uint32_t *cp)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	if (n > s.n || (c >= 0x80 && c < 0xc2) || c > 0xf4)
		return 0;
	*cp = n == 1 ? c : c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char d = (unsigned char)s.p[i];

		if ((d & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (d & 0x3f);
	}
	if (*cp < least[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000))
		return 0;
	return n;
}

static bool
utf8_valid(struct slice s)
{
	uint32_t cp;
	size_t n;

	for (; s.n > 0; s = slice_sub(s, n, s.n)) {
		n = utf8_next(s, &cp);
		if (n == 0)
			return false;
	}
	return true;
}

static size_t
utf8_put(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

/* --- clean text --- */

void
mime_text_start(struct mime_text *t, size_t max)
{
	CHECK(max <= MIME_TEXT_MAX);
	t->n = 0;
	t->max = max;
	t->full = t->foreign = false;
}

static bool
is_blank(uint32_t cp)
{
	return cp <= ' ' || (cp >= 0x7f && cp <= 0xa0) || cp == 0x2028 || cp == 0x2029;
}

/* Marks of direction (UAX 9) and the byte order mark: they show nothing themselves. */
static bool
is_hidden(uint32_t cp)
{
	return cp == 0x61c || cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
	    (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

static void
text_char(struct mime_text *t, uint32_t cp)
{
	char c[4];
	size_t n;

	if (is_hidden(cp))
		return;
	if (is_blank(cp)) {
		if (t->n == 0 || t->p[t->n - 1] == ' ')
			return;
		cp = ' ';
	}
	n = utf8_put(cp, c);
	if (t->full || n > t->max - t->n) {
		t->full = true;
		return;
	}
	memcpy(t->p + t->n, c, n);
	t->n += n;
}

/* Bytes 0x80 to 0x9f of windows-1252, which is what "ISO-8859-1" means in real mail. */
static uint32_t
windows_1252(unsigned char c)
{
	static const uint16_t high[32] = {
		0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
		0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd,
		0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
		0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178
	};

	return c >= 0x80 && c <= 0x9f ? high[c - 0x80] : c;
}

static uint32_t
latin9(unsigned char c)
{
	switch (c) {
	case 0xa4:
		return 0x20ac;
	case 0xa6:
		return 0x160;
	case 0xa8:
		return 0x161;
	case 0xb4:
		return 0x17d;
	case 0xb8:
		return 0x17e;
	case 0xbc:
		return 0x152;
	case 0xbd:
		return 0x153;
	case 0xbe:
		return 0x178;
	}
	return windows_1252(c);
}

static void
text_octets(struct mime_text *t, struct slice s, enum charset cs)
{
	uint32_t cp;
	size_t n;

	if (cs == CS_UNKNOWN_8BIT && utf8_valid(s)) {
		for (; s.n > 0; s = slice_sub(s, n, s.n)) {
			n = utf8_next(s, &cp);
			text_char(t, cp);
		}
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		text_char(t, cs == CS_LATIN9 ? latin9(c) : windows_1252(c));
	}
}

void
mime_text_raw(struct mime_text *t, struct slice s)
{
	text_octets(t, s, CS_UNKNOWN_8BIT);
}

struct slice
mime_text_get(struct mime_text *t)
{
	while (t->n > 0 && t->p[t->n - 1] == ' ')
		t->n--;
	return slice_make(t->p, t->n);
}

/* --- encoded words --- */

static enum charset
charset_find(struct slice name)
{
	static const struct {
		const char *name;
		enum charset cs;
	} known[] = {
		{ "utf-8", CS_UNKNOWN_8BIT }, { "utf8", CS_UNKNOWN_8BIT },
		{ "us-ascii", CS_UNKNOWN_8BIT }, { "ascii", CS_UNKNOWN_8BIT },
		{ "iso-8859-1", CS_WINDOWS_1252 }, { "latin1", CS_WINDOWS_1252 },
		{ "windows-1252", CS_WINDOWS_1252 }, { "cp1252", CS_WINDOWS_1252 },
		{ "iso-8859-15", CS_LATIN9 }, { "latin-9", CS_LATIN9 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_ieq(name, slice_str(known[i].name)))
			return known[i].cs;
	return CS_FOREIGN;
}

static bool
is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 127 || strchr("()<>@,;:\"/[]?.=\\", s.p[i]) != NULL)
			return false;
	return s.n > 0;
}

/* RFC 2047 2; without its limit of 75 octets, which many a program breaks. */
static bool
word_parse(struct slice s, struct word *w)
{
	size_t q1, text, end;
	struct slice cs;

	if (s.n > WORD_MAX)
		s.n = WORD_MAX;
	if (s.n < 8 || s.p[0] != '=' || s.p[1] != '?')
		return false;
	q1 = 2 + slice_find(slice_sub(s, 2, s.n), '?');
	cs = slice_sub(s, 2, q1);
	cs = slice_sub(cs, 0, slice_find(cs, '*'));	/* RFC 2231 5: a language */
	text = q1 + 3;
	if (!is_token(cs) || cs.n > WORD_CHARSET_MAX || text >= s.n || s.p[q1 + 2] != '?')
		return false;
	w->b = s.p[q1 + 1] == 'B' || s.p[q1 + 1] == 'b';
	if (!w->b && s.p[q1 + 1] != 'Q' && s.p[q1 + 1] != 'q')
		return false;
	for (end = text; end < s.n && s.p[end] > ' ' && s.p[end] < 127 && s.p[end] != '?'; end++)
		;
	if (end + 1 >= s.n || s.p[end] != '?' || s.p[end + 1] != '=')
		return false;
	w->charset = charset_find(cs);
	w->text = slice_sub(s, text, end);
	w->n = end + 2;
	return true;
}

size_t
mime_word_length(struct slice s)
{
	struct word w;

	return word_parse(s, &w) ? w.n : 0;
}

/* Many programs leave the padding out. */
static int
word_base64(struct slice text, struct buf *out)
{
	char padded[WORD_MAX + 3];
	size_t n = text.n;

	memcpy(padded, text.p, n);
	while (n % 4 != 0)
		padded[n++] = '=';
	return crypto_unbase64(out, slice_make(padded, n));
}

static int
word_octets(const struct word *w, struct buf *out)
{
	if (w->b)
		return word_base64(w->text, out);
	for (size_t i = 0; i < w->text.n; i++) {
		char c = w->text.p[i];

		if (c == '_')
			c = ' ';
		else if (c == '=' && unhex(slice_sub(w->text, i + 1, w->text.n), &c))
			i += 2;
		if (buf_put(out, &c, 1) < 0)
			return -1;
	}
	return 0;
}

static void
text_flush(struct mime_text *t, struct buf *raw, enum charset cs)
{
	text_octets(t, buf_slice(raw), cs);
	buf_clear(raw);
}

/*
 * One run of encoded words, whose octets are put together before they are read: a
 * character may be split over two of them, though it must not. Returns the octets used.
 */
static size_t
text_word_run(struct mime_text *t, struct slice s, struct buf *raw)
{
	enum charset cs = CS_UNKNOWN_8BIT;	/* of what is in `raw` */
	size_t used = 0, next = 0, before;
	struct word w;

	while (word_parse(slice_sub(s, next, s.n), &w)) {
		if (w.charset != cs)
			text_flush(t, raw, cs);
		cs = w.charset;
		before = raw->n;
		if (cs == CS_FOREIGN || word_octets(&w, raw) < 0) {
			raw->n = before;
			text_flush(t, raw, cs);
			text_octets(t, slice_sub(s, next, next + w.n), CS_UNKNOWN_8BIT);
			t->foreign = true;
		}
		used = next = next + w.n;
		while (next < s.n && is_wsp(s.p[next]))
			next++;
	}
	text_flush(t, raw, cs);
	return used;
}

void
mime_text_words(struct mime_text *t, struct slice s)
{
	struct buf raw;
	size_t n;

	buf_init(&raw, RAW_MAX);
	while (s.n > 0 && !t->full) {
		n = text_word_run(t, s, &raw);
		if (n == 0) {
			for (n = 1; n < s.n && (s.p[n] != '=' || n + 1 >= s.n ||
			    s.p[n + 1] != '?'); n++)
				;
			text_octets(t, slice_sub(s, 0, n), CS_UNKNOWN_8BIT);
		}
		s = slice_sub(s, n, s.n);
	}
	buf_fini(&raw);
}

/* --- into a header --- */

static bool
needs_words(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] >= 127 ||
		    (s.p[i] == '=' && i + 1 < s.n && s.p[i + 1] == '?'))
			return true;
	return false;
}

/* RFC 2047 5 (3): the octets that may stand for themselves even in a phrase. */
static bool
is_word_safe(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c != '\0' && strchr("!*+-/", c) != NULL);
}

static int
put_words(struct buf *out, struct slice s)
{
	static const char head[] = "=?utf-8?Q?";
	size_t column = 0, n;
	uint32_t cp;

	if (buf_puts(out, head) < 0)
		return -1;
	for (; s.n > 0; s = slice_sub(s, n, s.n)) {
		n = utf8_next(s, &cp);
		if (n == 0)
			n = 1;	/* not clean, then; the reader will see what it is */
		if (column + 3 * n > WORD_TEXT) {
			if (buf_printf(out, "?=\r\n %s", head) < 0)
				return -1;
			column = 0;
		}
		for (size_t i = 0; i < n; i++) {
			char c = s.p[i] == ' ' ? '_' : s.p[i];
			bool safe = is_word_safe(c) || s.p[i] == ' ';

			if ((safe ? buf_put(out, &c, 1) :
			    put_hex(out, '=', (unsigned char)c)) < 0)
				return -1;
			column += safe ? 1 : 3;
		}
	}
	return buf_puts(out, "?=");
}

int
mime_put_phrase(struct buf *out, struct slice text)
{
	if (needs_words(text))
		return put_words(out, text);
	if (buf_puts(out, "\"") < 0)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		if ((text.p[i] == '"' || text.p[i] == '\\') && buf_puts(out, "\\") < 0)
			return -1;
		if (buf_put(out, text.p + i, 1) < 0)
			return -1;
	}
	return buf_puts(out, "\"");
}

int
mime_put_unstructured(struct buf *out, struct slice text)
{
	return needs_words(text) ? put_words(out, text) : buf_put_slice(out, text);
}

/* --- quoted-printable --- */

static bool
is_crlf(struct slice s, size_t i)
{
	return i + 1 < s.n && s.p[i] == '\r' && s.p[i + 1] == '\n';
}

int
mime_put_qp(struct buf *out, struct slice s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool end = i + 1 == s.n || is_crlf(s, i + 1);
		bool plain = (c > ' ' && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !end);

		if (is_crlf(s, i)) {
			if (buf_puts(out, "\r\n") < 0)
				return -1;
			column = 0;
			i++;
			continue;
		}
		if (column + (plain ? 1 : 3) > QP_LINE) {
			if (buf_puts(out, "=\r\n") < 0)
				return -1;
			column = 0;
		}
		if ((plain ? buf_put(out, &c, 1) : put_hex(out, '=', c)) < 0)
			return -1;
		column += plain ? 1 : 3;
	}
	return 0;
}

int
mime_unqp(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		size_t end = i + 1;

		if (c == '=') {
			while (end < s.n && (s.p[end] == ' ' || s.p[end] == '\t'))
				end++;
			if (end == s.n || is_crlf(s, end)) {	/* a soft line break */
				i = end + 1;
				continue;
			}
			if (unhex(slice_sub(s, i + 1, s.n), &c))
				i += 2;
		}
		if (buf_put(out, &c, 1) < 0)
			return -1;
	}
	return 0;
}

int
mime_unxtext(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c < '!' || c > '~' || c == '=')
			return -1;
		if (c == '+') {
			if (!unhex(slice_sub(s, i + 1, s.n), &c))
				return -1;
			i += 2;
		}
		if (buf_put(out, &c, 1) < 0)
			return -1;
	}
	return 0;
}
