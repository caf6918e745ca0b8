// SPDX-License-Identifier: Apache-2.0
#include "policy/authres.h"

#include "base/dnsrr.h"
#include "policy/address.h"
#include "policy/authres_read.h"

enum { VALUE_MAX = 255 };

void
authres_init(struct authres *a)
{
	*a = (struct authres){ .count = 0 };
	buf_init(&a->out, AUTHRES_MAX);
}

void
authres_fini(struct authres *a)
{
	buf_fini(&a->out);
}

static void
put(struct authres *a, const char *p, size_t n)
{
	if (!a->failed && buf_put(&a->out, p, n) != 0)
		a->failed = true;
}

static void
puts_(struct authres *a, const char *s)
{
	put(a, s, strlen(s));
}

/* RFC 2045 5.1: visible ASCII without tspecials. '@' is not a token octet either. */
static bool
is_token(struct slice s)
{
	static const char tspecials[] = "()<>@,;:\\\"/[]?=";

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > 0x7e || strchr(tspecials, s.p[i]) != NULL)
			return false;
	return s.n > 0;
}

static bool
is_text(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > 0x7e)
			return false;
	return s.n > 0 && s.n <= VALUE_MAX;
}

static void
put_value(struct authres *a, struct slice v)
{
	if (is_token(v)) {
		put(a, v.p, v.n);
		return;
	}
	puts_(a, "\"");
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\')
			puts_(a, "\\");
		put(a, &v.p[i], 1);
	}
	puts_(a, "\"");
}

void
authres_start(struct authres *a, struct slice authserv_id)
{
	buf_clear(&a->out);
	a->count = 0;
	a->failed = !is_text(authserv_id);
	if (!a->failed)
		put_value(a, authserv_id);
}

void
authres_result(struct authres *a, const char *method, enum auth_result r)
{
	a->count++;
	puts_(a, ";\r\n\t");
	puts_(a, method);
	puts_(a, "=");
	puts_(a, auth_result_name(r));
}

void
authres_property(struct authres *a, const char *name, struct slice value)
{
	if (!is_text(value))
		return;
	puts_(a, " ");
	puts_(a, name);
	puts_(a, "=");
	put_value(a, value);
}

int
authres_end(struct authres *a, struct slice *payload)
{
	if (a->count == 0)
		puts_(a, "; none");
	*payload = a->failed ? SLICE_NONE : buf_slice(&a->out);
	return a->failed ? -1 : 0;
}

/* What stands before the first results, decoded: comments and folding gone, quotes and
 * escapes resolved, the words between them kept apart. */
struct decoded {
	char	text[512];
	size_t	n;
	size_t	first;		/* length of the first word */
	size_t	last;		/* offset of the last word */
};

static bool
decoded_put(struct decoded *d, char c)
{
	if (d->n == sizeof(d->text))
		return false;
	d->text[d->n++] = c;
	return true;
}

static void
decoded_word(struct decoded *d)
{
	if (d->first == 0)
		d->first = d->n;
	if (d->last < d->n)
		d->last = d->n;
}

/* Takes the inside of a quoted string off *s. False when it does not end or fit. */
static bool
decode_quoted(struct slice *s, struct decoded *d)
{
	for (size_t i = 1; i < s->n; i++) {
		char c = s->p[i];

		if (c == '"') {
			*s = slice_sub(*s, i + 1, s->n);
			return true;
		}
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')	/* folding inside quotes */
			continue;
		if (c == '\\' && i + 1 < s->n)
			c = s->p[++i];
		if (!decoded_put(d, c))
			return false;
	}
	return false;
}

/* False when a comment or quotes do not end, or it is longer than any id. */
static bool
decode_id(struct slice s, struct decoded *d)
{
	d->n = d->first = d->last = 0;
	for (;;) {
		size_t before = s.n;

		if (!authres_skip_cfws(&s))
			return false;
		if (s.n == 0 || *s.p == ';')
			break;
		if (s.n < before)
			decoded_word(d);
		if (*s.p == '"') {
			if (!decode_quoted(&s, d))
				return false;
			continue;
		}
		if (*s.p == '/')
			decoded_word(d);	/* old style: id "/" version */
		/* an escape outside quotes is no part of any name */
		else if (*s.p != '\\' && !decoded_put(d, *s.p))
			return false;
		s = slice_sub(s, 1, s.n);
	}
	if (d->first == 0)
		d->first = d->n;
	return true;
}

static bool
is_name_octet(char c)
{
	char l = ascii_lower(c);

	return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool
is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] & 0x80) != 0)
			return false;
	return true;
}

/* U-labels, which RFC 8601 2.5 allows where SMTPUTF8 is spoken, name the same host. */
static bool
same_id(struct slice s, struct slice id)
{
	char name[DNS_NAME_MAX + 1], own[DNS_NAME_MAX + 1];

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	if (slice_ieq(s, id) || (is_ascii(s) && is_ascii(id)))
		return slice_ieq(s, id);
	return address_domain_canonical(s, name, sizeof(name)) == 0 &&
	    address_domain_canonical(id, own, sizeof(own)) == 0 && strcmp(name, own) == 0;
}

static bool
is_number(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

/* The id anywhere. As a word: between octets that no name has, where a hasty reader who takes
 * them for blanks or brackets stops. */
static bool
contains(struct slice s, struct slice id, bool word)
{
	for (size_t i = 0; id.n > 0 && i + id.n <= s.n; i++) {
		bool inside = (i > 0 && is_name_octet(s.p[i - 1])) ||
		    (i + id.n < s.n && is_name_octet(s.p[i + id.n]));

		if ((!word || !inside) && slice_ieq(slice_sub(s, i, i + id.n), id))
			return true;
	}
	return false;
}

bool
authres_is_from(struct slice value, struct slice authserv_id)
{
	struct slice id = authserv_id, all;
	struct decoded d;

	if (id.n > 0 && id.p[id.n - 1] == '.')
		id.n--;
	if (id.n == 0)
		return false;
	/* Broken on purpose, perhaps: some reader may still see our name in it. */
	if (!decode_id(value, &d))
		return contains(value, id, false);
	/* Readers differ in whether "mx" (comment) ".example" is one word: both count. */
	all = slice_make(d.text, d.n);
	if (same_id(all, id) || same_id(slice_sub(all, 0, d.first), id) ||
	    contains(all, id, true))
		return true;
	return is_number(slice_sub(all, d.last, d.n)) && same_id(slice_sub(all, 0, d.last), id);
}
