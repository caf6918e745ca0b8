// SPDX-License-Identifier: Apache-2.0
#include "policy/dkim_tags.h"

#include "policy/dnsview.h"

static bool
name_ok(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && (i == 0 || (!(c >= '0' && c <= '9') && c != '_')))
			return false;
	}
	return s.n > 0;
}

/* tag-value: visible ASCII and folding; 8-bit is allowed for RFC 8616 domains. */
static bool
value_ok(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
			return false;
	}
	return true;
}

int
dkim_tags_parse(struct slice text, struct dkim_tags *t)
{
	t->n = 0;
	while (text.n > 0) {
		size_t end = slice_find(text, ';');
		struct slice spec = slice_trim(slice_sub(text, 0, end)), name;
		size_t eq = slice_find(spec, '=');

		text = slice_sub(text, end + 1, text.n);
		if (spec.n == 0 && slice_trim(text).n == 0)
			break;		/* a last ';' */
		name = slice_trim(slice_sub(spec, 0, eq));
		if (eq == spec.n || t->n == DKIM_TAGS_MAX || !name_ok(name) || !value_ok(spec))
			return -1;
		for (size_t i = 0; i < t->n; i++)
			if (slice_eq(t->tag[i].name, name))
				return -1;
		t->tag[t->n].name = name;
		t->tag[t->n++].value = slice_trim(slice_sub(spec, eq + 1, spec.n));
	}
	return t->n > 0 ? 0 : -1;
}

struct slice
dkim_tag(const struct dkim_tags *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (slice_eq(t->tag[i].name, slice_str(name)))
			return t->tag[i].value;
	return SLICE_NONE;
}

int
dkim_tag_length(struct slice v, uint64_t *out)
{
	enum { DIGITS_MAX = 76 };

	if (v.n == 0 || v.n > DIGITS_MAX)
		return -1;
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] < '0' || v.p[i] > '9')
			return -1;
	if (slice_u64(v, out) != 0)
		*out = UINT64_MAX;
	return 0;
}

int
dkim_tag_text(struct slice value, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == '\0' || n + 1 >= cap) {
			out[0] = '\0';
			return -1;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

bool
dkim_name_ok(const char *name)
{
	size_t n = strlen(name);

	return dnsview_name_plain(slice_make(name, n)) && name[n - 1] != '.';
}

unsigned
dkim_list_count(struct slice list, struct slice item)
{
	unsigned n = 0;

	while (list.n > 0) {
		size_t end = slice_find(list, ':');

		n += slice_ieq(slice_trim(slice_sub(list, 0, end)), item);
		list = slice_sub(list, end + 1, list.n);
	}
	return n;
}
