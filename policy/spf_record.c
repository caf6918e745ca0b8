// SPDX-License-Identifier: Apache-2.0
#include "policy/spf_record.h"

#include <arpa/inet.h>

static bool
is_alpha(char c)
{
	c = ascii_lower(c);
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_alpha(c) || is_digit(c);
}

static struct slice
rest(struct slice s, size_t from)
{
	return slice_sub(s, from, s.n);
}

/* The length of the macro-expand at the start of `s` (which is '%'), 0 when it is
 * none: "%%", "%_", "%-" or %{letter digits r delimiters} (7.1). The letters c, r and
 * t belong into explanations only, which are never expanded here. */
static size_t
macro_length(struct slice s)
{
	size_t i = 3;
	bool zero = true;

	if (s.n < 2)
		return 0;
	if (s.p[1] == '%' || s.p[1] == '_' || s.p[1] == '-')
		return 2;
	if (s.p[1] != '{' || s.n < 4 || !is_alpha(s.p[2]) ||
	    strchr("slodiphv", ascii_lower(s.p[2])) == NULL)
		return 0;
	for (; i < s.n && is_digit(s.p[i]); i++)
		zero = zero && s.p[i] == '0';
	if (i > 3 && zero)
		return 0;
	if (i < s.n && ascii_lower(s.p[i]) == 'r')
		i++;
	while (i < s.n && s.p[i] != '\0' && strchr(".-+,/_=", s.p[i]) != NULL)
		i++;
	return i < s.n && s.p[i] == '}' ? i + 1 : 0;
}

/* macro-string. *tail is where the literal octets after the last macro start. */
static bool
macro_string_ok(struct slice s, size_t *tail)
{
	size_t i = 0, n;

	*tail = 0;
	while (i < s.n) {
		if (s.p[i] != '%') {
			if (s.p[i] < 0x21 || s.p[i] > 0x7e)
				return false;
			i++;
			continue;
		}
		n = macro_length(rest(s, i));
		if (n == 0)
			return false;
		i += n;
		*tail = i;
	}
	return true;
}

/* toplabel: letters, digits, inner hyphens; not digits alone. */
static bool
toplabel_ok(struct slice s)
{
	bool digits = true;

	if (s.n == 0 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]) && s.p[i] != '-')
			return false;
		digits = digits && is_digit(s.p[i]);
	}
	return !digits;
}

/* domain-spec: a macro-string that ends in a macro or in "." toplabel [ "." ]. */
static bool
domain_spec_ok(struct slice s)
{
	size_t tail, dot;
	struct slice end;

	if (s.n == 0 || !macro_string_ok(s, &tail))
		return false;
	if (tail == s.n)
		return true;
	end = rest(s, tail);
	if (end.p[end.n - 1] == '.')
		end.n--;
	dot = slice_rfind(end, '.');
	return dot < end.n && toplabel_ok(rest(end, dot + 1));
}

/* "0" or a number without leading zeros, at most `max`. */
static bool
prefix_number(struct slice s, uint8_t max, uint8_t *out)
{
	uint64_t v;

	if (s.n == 0 || s.n > 3 || (s.n > 1 && s.p[0] == '0') || slice_u64(s, &v) != 0 || v > max)
		return false;
	*out = (uint8_t)v;
	return true;
}

/* Takes "/digits" off the end of *s, with `slashes` slashes. False on a bad number. */
static bool
take_prefix(struct slice *s, size_t slashes, uint8_t max, uint8_t *out)
{
	size_t i = s->n;

	while (i > 0 && is_digit(s->p[i - 1]))
		i--;
	if (i == s->n || i < slashes || s->p[i - 1] != '/' ||
	    (slashes == 2) != (i >= 2 && s->p[i - 2] == '/'))
		return true;
	if (!prefix_number(rest(*s, i), max, out))
		return false;
	s->n = i - slashes;
	return true;
}

/* [ ":" domain-spec ] [ dual-cidr-length ] */
static bool
parse_target(struct slice args, struct spf_term *t)
{
	if (!take_prefix(&args, 2, 128, &t->cidr6) || !take_prefix(&args, 1, 32, &t->cidr4))
		return false;
	if (args.n == 0)
		return true;
	t->spec = rest(args, 1);
	return args.p[0] == ':' && domain_spec_ok(t->spec);
}

static bool
parse_network(struct slice args, struct spf_term *t)
{
	bool v4 = t->kind == SPF_KIND_IP4;
	size_t slash;
	char text[64];

	if (args.n == 0 || args.p[0] != ':')
		return false;
	args = rest(args, 1);
	slash = slice_find(args, '/');
	if (slash < args.n && !prefix_number(rest(args, slash + 1), v4 ? 32 : 128,
	    v4 ? &t->cidr4 : &t->cidr6))
		return false;
	return slice_cstr(slice_sub(args, 0, slash), text, sizeof(text)) == 0 &&
	    inet_pton(v4 ? AF_INET : AF_INET6, text, t->ip) == 1;
}

static bool
parse_mechanism(struct slice name, struct slice args, struct spf_term *t)
{
	static const struct {
		const char	*name;
		enum spf_kind	 kind;
	} kinds[] = {
		{ "all", SPF_KIND_ALL }, { "include", SPF_KIND_INCLUDE }, { "a", SPF_KIND_A },
		{ "mx", SPF_KIND_MX }, { "ptr", SPF_KIND_PTR }, { "ip4", SPF_KIND_IP4 },
		{ "ip6", SPF_KIND_IP6 }, { "exists", SPF_KIND_EXISTS },
	};
	size_t i = 0, n = sizeof(kinds) / sizeof(kinds[0]);

	while (i < n && !slice_ieq(name, slice_str(kinds[i].name)))
		i++;
	if (i == n)
		return false;
	t->kind = kinds[i].kind;
	switch (t->kind) {
	case SPF_KIND_ALL:
		return args.n == 0;
	case SPF_KIND_A:
	case SPF_KIND_MX:
		return parse_target(args, t);
	case SPF_KIND_IP4:
	case SPF_KIND_IP6:
		return parse_network(args, t);
	case SPF_KIND_PTR:
		if (args.n == 0)
			return true;
		break;
	case SPF_KIND_INCLUDE:
	case SPF_KIND_EXISTS:
		break;
	case SPF_KIND_REDIRECT:
	case SPF_KIND_EXP:
	case SPF_KIND_MODIFIER:
		return false;
	}
	if (args.n == 0 || args.p[0] != ':')
		return false;
	t->spec = rest(args, 1);
	return domain_spec_ok(t->spec);
}

static bool
parse_modifier(struct slice name, struct slice value, struct spf_term *t)
{
	size_t tail;

	t->spec = value;
	if (slice_ieq(name, SLICE_LIT("redirect")))
		t->kind = SPF_KIND_REDIRECT;
	else if (slice_ieq(name, SLICE_LIT("exp")))
		t->kind = SPF_KIND_EXP;
	else
		t->kind = SPF_KIND_MODIFIER;
	return t->kind == SPF_KIND_MODIFIER ? macro_string_ok(value, &tail) :
	    domain_spec_ok(value);
}

static bool
parse_term(struct slice s, struct spf_term *t)
{
	size_t i = 0;

	*t = (struct spf_term){ .qualifier = '+', .cidr4 = 32, .cidr6 = 128 };
	while (i < s.n && (is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.'))
		i++;
	if (i > 0 && i < s.n && s.p[i] == '=' && is_alpha(s.p[0])) {
		t->qualifier = 0;
		return parse_modifier(slice_sub(s, 0, i), rest(s, i + 1), t);
	}
	if (s.n > 0 && (s.p[0] == '+' || s.p[0] == '-' || s.p[0] == '~' || s.p[0] == '?')) {
		t->qualifier = s.p[0];
		s = rest(s, 1);
	}
	for (i = 0; i < s.n && s.p[i] != ':' && s.p[i] != '/'; i++)
		;
	return parse_mechanism(slice_sub(s, 0, i), rest(s, i), t);
}

bool
spf_record_is(struct slice txt)
{
	return slice_istarts(txt, SLICE_LIT("v=spf1")) && (txt.n == 6 || txt.p[6] == ' ');
}

struct slice
spf_record_terms(struct slice txt)
{
	return rest(txt, 6);
}

int
spf_record_next(struct slice *terms, struct spf_term *t)
{
	size_t i = 0, end;

	while (i < terms->n && terms->p[i] == ' ')
		i++;
	*terms = rest(*terms, i);
	if (terms->n == 0)
		return 0;
	end = slice_find(*terms, ' ');
	if (!parse_term(slice_sub(*terms, 0, end), t))
		return -1;
	*terms = rest(*terms, end);
	return 1;
}

int
spf_record_check(struct slice txt)
{
	struct slice s = spf_record_terms(txt);
	unsigned redirects = 0, exps = 0;
	struct spf_term t;
	int r;

	while ((r = spf_record_next(&s, &t)) == 1) {
		redirects += t.kind == SPF_KIND_REDIRECT;
		exps += t.kind == SPF_KIND_EXP;
	}
	return r == 0 && redirects <= 1 && exps <= 1 ? 0 : -1;	/* 6: once each */
}
