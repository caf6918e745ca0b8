// SPDX-License-Identifier: Apache-2.0
#include "policy/address.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>

enum { LABEL_MAX = 63, LITERAL_TEXT_MAX = 64 };

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_high(char c)
{
	return (unsigned char)c >= 0x80;
}

/* RFC 5322 3.2.3 atext. */
static bool
is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Length of the UTF-8 sequence at the start of s, 0 when it is not well formed (RFC 3629:
 * no overlong forms, no surrogates, nothing over U+10FFFF). */
static size_t
utf8_length(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n;

	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s.n < n)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	if (p[0] == 0xed)
		hi = 0x9f;
	if (p[0] == 0xf0)
		lo = 0x90;
	if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

/* RFC 5321 4.1.2 Dot-string; with utf8 also RFC 6531 3.3. */
static bool
dot_string(struct slice s, bool allow_utf8, bool *utf8)
{
	bool dot = true;	/* an atom must follow */
	size_t i = 0, n;

	while (i < s.n) {
		if (s.p[i] == '.') {
			if (dot)
				return false;
			dot = true;
			i++;
			continue;
		}
		n = 1;
		if (is_high(s.p[i])) {
			n = utf8_length(slice_sub(s, i, s.n));
			if (!allow_utf8 || n == 0)
				return false;
			*utf8 = true;
		} else if (!is_atext(s.p[i])) {
			return false;
		}
		dot = false;
		i += n;
	}
	return !dot;
}

/* RFC 5321 4.1.2 Quoted-string, both quotes included. */
static bool
quoted_string(struct slice s, bool allow_utf8, bool *utf8)
{
	size_t i = 1, n;

	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return false;
	while (i < s.n - 1) {
		n = 1;
		if (is_high(s.p[i])) {
			n = utf8_length(slice_sub(s, i, s.n - 1));
			if (!allow_utf8 || n == 0)
				return false;
			*utf8 = true;
		} else if (s.p[i] == '\\') {
			/* the closing quote is not there to be escaped */
			if (i + 2 > s.n - 1 || s.p[i + 1] < 32 || s.p[i + 1] > 126)
				return false;
			n = 2;
		} else if (s.p[i] < 32 || s.p[i] > 126 || s.p[i] == '"') {
			return false;
		}
		i += n;
	}
	return true;
}

/*
 * "[192.0.2.1]" or "[IPv6:2001:db8::1]". The General-address-literal of the grammar is
 * refused: its tags must be registered (RFC 5321 4.1.3) and none but IPv6 ever was.
 */
static bool
address_literal(struct slice d)
{
	unsigned char raw[16];
	char text[LITERAL_TEXT_MAX];
	struct slice in;

	if (d.n < 2 || d.p[0] != '[' || d.p[d.n - 1] != ']')
		return false;
	in = slice_sub(d, 1, d.n - 1);
	if (slice_istarts(in, SLICE_LIT("IPv6:"))) {
		if (slice_cstr(slice_sub(in, 5, in.n), text, sizeof(text)) < 0)
			return false;
		return inet_pton(AF_INET6, text, raw) == 1;
	}
	if (slice_cstr(in, text, sizeof(text)) < 0)
		return false;
	return inet_pton(AF_INET, text, raw) == 1;
}

bool
address_domain_valid(struct slice d)
{
	size_t label = 0;	/* octets of the present label */

	if (d.n == 0 || d.n > ADDRESS_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < d.n; i++) {
		char c = d.p[i];

		if (c == '.') {
			if (label == 0 || d.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_alnum(c) && c != '_' && (c != '-' || label == 0))
			return false;
		if (++label > LABEL_MAX)
			return false;
	}
	return label != 0 && d.p[d.n - 1] != '-';
}

/* U-labels become A-labels as a resolver would look them up (RFC 5891 5, UTS 46). */
static int
domain_to_ascii(struct slice d, char *out, size_t cap)
{
	/* UTF-8 of a name whose A-label form fits 255 octets fits here */
	char text[4 * ADDRESS_DOMAIN_MAX + 1];
	uint8_t *ascii = NULL;
	int ret = -1;

	if (slice_cstr(d, text, sizeof(text)) < 0)
		return -1;
	if (idn2_lookup_u8((const uint8_t *)text, &ascii,
	    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return -1;
	if (slice_cstr(slice_str((const char *)ascii), out, cap) == 0)
		ret = 0;
	idn2_free(ascii);
	return ret;
}

int
address_domain_canonical(struct slice d, char *out, size_t cap)
{
	bool high = false;
	size_t n;

	if (cap == 0)
		return -1;
	out[0] = '\0';
	if (d.n > 0 && d.p[d.n - 1] == '.')
		d.n--;
	for (size_t i = 0; i < d.n && !high; i++)
		high = is_high(d.p[i]);
	if ((high ? domain_to_ascii(d, out, cap) : slice_cstr(d, out, cap)) < 0)
		return -1;
	n = strlen(out);
	if (!address_domain_valid(slice_make(out, n))) {
		out[0] = '\0';
		return -1;
	}
	bytes_lower(out, n);
	return 0;
}

static bool
parse_domain(struct address *a, bool allow_utf8)
{
	char ascii[ADDRESS_DOMAIN_MAX + 1];
	bool high = false;

	/* the octet bound is on the form that was written (RFC 5321 4.5.3.1.2) */
	if (a->domain.n == 0 || a->domain.n > ADDRESS_DOMAIN_MAX)
		return false;
	if (a->domain.p[0] == '[') {
		a->literal = true;
		return address_literal(a->domain);
	}
	for (size_t i = 0; i < a->domain.n && !high; i++)
		high = is_high(a->domain.p[i]);
	if (!high)
		return address_domain_valid(a->domain);
	if (!allow_utf8 || a->domain.p[a->domain.n - 1] == '.')
		return false;
	a->utf8 = true;
	return address_domain_canonical(a->domain, ascii, sizeof(ascii)) == 0;
}

/* Index of the closing quote of the string that starts s, s.n when there is none. */
static size_t
quoted_end(struct slice s)
{
	size_t i = 1;

	while (i < s.n && s.p[i] != '"')
		i += s.p[i] == '\\' ? 2 : 1;
	return i < s.n ? i : s.n;
}

int
address_parse(struct slice s, bool allow_utf8, struct address *out)
{
	struct address a = { 0 };
	size_t at;

	*out = a;
	/* the angle brackets count in the 256 of RFC 5321 4.5.3.1.3 */
	if (s.n == 0 || s.n > ADDRESS_PATH_MAX - 2)
		return -1;
	a.quoted = s.p[0] == '"';
	if (a.quoted) {
		at = quoted_end(s) + 1;
		if (at > s.n)
			return -1;
	} else {
		at = slice_find(s, '@');
	}
	a.local = slice_sub(s, 0, at);
	if (a.local.n > ADDRESS_LOCAL_MAX)
		return -1;
	if (a.quoted ? !quoted_string(a.local, allow_utf8, &a.utf8) :
	    !dot_string(a.local, allow_utf8, &a.utf8))
		return -1;
	if (at >= s.n) {
		/* RFC 5321 4.5.1: the one name that needs no domain */
		if (!slice_ieq(s, SLICE_LIT("postmaster")))
			return -1;
		*out = a;
		return 0;
	}
	if (s.p[at] != '@')
		return -1;
	a.domain = slice_sub(s, at + 1, s.n);
	if (!parse_domain(&a, allow_utf8))
		return -1;
	*out = a;
	return 0;
}

/* "@one,@two:" at the start of s: index after the colon, 0 for none, s.n + 1 for bad. */
static size_t
source_route(struct slice s, bool allow_utf8)
{
	struct address a = { 0 };
	size_t i = 0, start;

	if (s.n == 0 || s.p[0] != '@')
		return 0;
	for (;;) {
		if (i >= s.n || s.p[i] != '@')
			return s.n + 1;
		start = ++i;
		/* a colon inside brackets belongs to an IPv6 literal */
		while (i < s.n && s.p[i] != ',' && s.p[i] != '>' &&
		    (s.p[i] != ':' || (s.p[start] == '[' && s.p[i - 1] != ']')))
			i++;
		a.domain = slice_sub(s, start, i);
		if (i >= s.n || !parse_domain(&a, allow_utf8))
			return s.n + 1;
		if (s.p[i] == ':')
			return i + 1;
		if (s.p[i] != ',')
			return s.n + 1;
		i++;
	}
}

/* Index of the '>' that ends the path, s.n when there is none. */
static size_t
path_end(struct slice s, size_t i)
{
	if (i < s.n && s.p[i] == '"')
		i += quoted_end(slice_sub(s, i, s.n));
	while (i < s.n && s.p[i] != '>')
		i++;
	return i;
}

int
address_path(struct slice s, bool allow_utf8, struct address *out, struct slice *mailbox,
    struct slice *rest)
{
	struct slice after;
	size_t start, end;

	*out = (struct address){ 0 };
	*mailbox = *rest = SLICE_NONE;
	while (s.n > 0 && s.p[0] == ' ')
		s = slice_sub(s, 1, s.n);
	if (s.n == 0 || s.p[0] != '<')
		return -1;
	start = 1 + source_route(slice_sub(s, 1, s.n), allow_utf8);
	if (start > s.n)
		return -1;
	end = path_end(s, start);
	if (end >= s.n || end + 1 > ADDRESS_PATH_MAX)
		return -1;
	after = slice_sub(s, end + 1, s.n);
	if (after.n > 0 && after.p[0] != ' ' && after.p[0] != '\t')
		return -1;
	while (after.n > 0 && (after.p[0] == ' ' || after.p[0] == '\t'))
		after = slice_sub(after, 1, after.n);
	/* only the plain "<>" is the null path, not "<@a:>" */
	if (end != 1) {
		if (address_parse(slice_sub(s, start, end), allow_utf8, out) < 0)
			return -1;
		*mailbox = slice_sub(s, start, end);
	}
	*rest = after;
	return 0;
}

int
address_unquote(struct slice local, struct buf *out)
{
	char *p;
	size_t n = 0;

	if (local.n < 2 || local.p[0] != '"' || local.p[local.n - 1] != '"')
		return buf_put_slice(out, local);
	p = buf_reserve(out, local.n);
	if (p == NULL)
		return -1;
	for (size_t i = 1; i < local.n - 1; i++) {
		if (local.p[i] == '\\' && i + 1 < local.n - 1)
			i++;
		p[n++] = local.p[i];
	}
	buf_commit(out, n);
	return 0;
}

int
address_quote(struct slice local, struct buf *out)
{
	bool plain = local.n > 0, dot = true;
	size_t n = 0;
	char *p;

	for (size_t i = 0; i < local.n; i++) {
		char c = local.p[i];

		/* no quoting carries these (RFC 5321 4.1.2) */
		if ((unsigned char)c < 32 || c == 127)
			return -1;
		if (c == '.' ? dot : !is_atext(c) && !is_high(c))
			plain = false;
		dot = c == '.';
	}
	if (plain && !dot)
		return buf_put_slice(out, local);
	p = buf_reserve(out, 2 * local.n + 2);
	if (p == NULL)
		return -1;
	p[n++] = '"';
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			p[n++] = '\\';
		p[n++] = local.p[i];
	}
	p[n++] = '"';
	buf_commit(out, n);
	return 0;
}
