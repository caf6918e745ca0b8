// SPDX-License-Identifier: Apache-2.0
/* Expansion of domain-specs, RFC 7208 7. The syntax was checked by spf_record.c. */
#include <stdio.h>

#include "policy/spf_record.h"

enum { NAME_MAX_ = 253, PARTS_MAX = 640 };

struct macro {
	char		letter;		/* lower case */
	bool		escape;		/* upper case was written: URL-escape */
	bool		reverse;
	uint64_t	keep;		/* rightmost parts; 0 all */
	struct slice	delimiters;
};

bool
spf_spec_uses(struct slice spec, const char *letters)
{
	for (size_t i = 0; i + 2 < spec.n; i++) {
		if (spec.p[i] != '%')
			continue;
		if (spec.p[i + 1] == '{' && strchr(letters, ascii_lower(spec.p[i + 2])) != NULL)
			return true;
		i++;	/* the second octet of any macro, "%%" above all */
	}
	return false;
}

static size_t
parse_macro(struct slice s, struct macro *m)
{
	size_t i = 3, end = slice_find(s, '}'), digits;

	*m = (struct macro){ .letter = ascii_lower(s.p[2]) };
	m->escape = m->letter != s.p[2];
	for (digits = i; i < end && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		;
	if (i > digits && slice_u64(slice_sub(s, digits, i), &m->keep) != 0)
		m->keep = 0;	/* more than any name has: all of them */
	if (i < end && ascii_lower(s.p[i]) == 'r') {
		m->reverse = true;
		i++;
	}
	m->delimiters = i < end ? slice_sub(s, i, end) : SLICE_LIT(".");
	return end + 1;
}

/* The value before transformation, in `tmp` or borrowed. */
static struct slice
macro_value(char letter, const struct spf_macros *m, char *tmp, size_t cap)
{
	static const char hex[] = "0123456789abcdef";
	int n = 0;

	switch (letter) {
	case 's':
		n = snprintf(tmp, cap, "%.*s@%.*s", SLICE_FMT(m->local),
		    SLICE_FMT(m->sender_domain));
		break;
	case 'l':
		return m->local;
	case 'o':
		return m->sender_domain;
	case 'd':
		return m->domain;
	case 'h':
		return m->helo;
	case 'p':
		return m->validated;
	case 'v':
		return m->ip_len == 4 ? SLICE_LIT("in-addr") : SLICE_LIT("ip6");
	case 'i':
		if (m->ip_len == 4) {
			n = snprintf(tmp, cap, "%u.%u.%u.%u", m->ip[0], m->ip[1], m->ip[2],
			    m->ip[3]);
			break;
		}
		for (size_t i = 0; i < 16; i++) {
			tmp[n++] = hex[m->ip[i] >> 4];
			tmp[n++] = '.';
			tmp[n++] = hex[m->ip[i] & 15];
			tmp[n++] = '.';
		}
		n--;
		break;
	default:
		break;
	}
	return slice_make(tmp, n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1);
}

static int
put_part(struct buf *out, struct slice part, bool escape)
{
	for (size_t i = 0; i < part.n; i++) {
		unsigned char c = (unsigned char)part.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || (c != 0 && strchr("-._~", c) != NULL);

		if (escape && !plain) {
			if (buf_printf(out, "%%%02X", c) != 0)
				return -1;
		} else if (buf_put(out, &part.p[i], 1) != 0) {
			return -1;
		}
	}
	return 0;
}

static int
put_macro(struct buf *out, const struct macro *m, struct slice value)
{
	struct slice part[PARTS_MAX];
	size_t n = 0, from = 0;

	for (size_t i = 0; i <= value.n && n < PARTS_MAX; i++) {
		if (i < value.n && (value.p[i] == '\0' ||
		    slice_find(m->delimiters, value.p[i]) == m->delimiters.n))
			continue;
		part[n++] = slice_sub(value, from, i);
		from = i + 1;
	}
	from = m->keep > 0 && m->keep < n ? n - (size_t)m->keep : 0;
	for (size_t i = from; i < n; i++) {
		/* The rightmost parts are counted after reversal (7.3). */
		struct slice p = m->reverse ? part[n - 1 - i] : part[i];

		if ((i > from && buf_puts(out, ".") != 0) || put_part(out, p, m->escape) != 0)
			return -1;
	}
	return 0;
}

static int
expand(struct slice spec, const struct spf_macros *m, struct buf *out)
{
	size_t i = 0;

	while (i < spec.n) {
		struct macro mac;
		char tmp[640];

		if (spec.p[i] != '%') {
			if (buf_put(out, &spec.p[i++], 1) != 0)
				return -1;
			continue;
		}
		if (i + 1 < spec.n && spec.p[i + 1] != '{') {
			const char *lit = spec.p[i + 1] == '_' ? " " :
			    spec.p[i + 1] == '-' ? "%20" : "%";

			if (buf_puts(out, lit) != 0)
				return -1;
			i += 2;
			continue;
		}
		i += parse_macro(slice_sub(spec, i, spec.n), &mac);
		if (put_macro(out, &mac, macro_value(mac.letter, m, tmp, sizeof(tmp))) != 0)
			return -1;
	}
	return 0;
}

int
spf_spec_expand(struct slice spec, const struct spf_macros *m, struct buf *out)
{
	struct slice s;

	if (expand(spec, m, out) != 0)
		return -1;
	s = buf_slice(out);
	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	/* 7.3: too long a name loses labels from the left. */
	while (s.n > NAME_MAX_) {
		size_t dot = slice_find(s, '.');

		s = dot < s.n ? slice_sub(s, dot + 1, s.n) : SLICE_NONE;
	}
	buf_drop(out, s.n == 0 ? buf_len(out) : (size_t)(s.p - buf_slice(out).p));
	out->n = out->off + s.n;	/* the last dot */
	return 0;
}
