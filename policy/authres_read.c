// SPDX-License-Identifier: Apache-2.0
#include "policy/authres_read.h"

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool
authres_skip_cfws(struct slice *s)
{
	size_t i = 0, depth = 0;

	for (; i < s->n; i++) {
		char c = s->p[i];

		if (c == '(')
			depth++;
		else if (depth == 0 && !is_space(c))
			break;
		else if (c == ')')
			depth--;
		else if (c == '\\')
			i++;
	}
	*s = slice_sub(*s, i, s->n);
	return depth == 0;
}

bool
authres_take(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_sub(*s, 1, s->n);
	return true;
}

/* The inside of a quoted string, escapes left in. */
static bool
take_quoted(struct slice *s, struct slice *out)
{
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '\\') {
			i++;
		} else if (s->p[i] == '"') {
			*out = slice_sub(*s, 1, i);
			*s = slice_sub(*s, i + 1, s->n);
			return true;
		}
	}
	return false;
}

bool
authres_take_word(struct slice *s, struct slice *out)
{
	size_t n = 0;

	if (!authres_skip_cfws(s))
		return false;
	if (s->n > 0 && s->p[0] == '"')
		return take_quoted(s, out) && authres_skip_cfws(s);
	while (n < s->n && !is_space(s->p[n]) && strchr("()\";=", s->p[n]) == NULL)
		n++;
	*out = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->n);
	return authres_skip_cfws(s);
}

int
authres_read_id(struct slice *s, struct slice *id)
{
	struct slice version;

	if (!authres_take_word(s, id) || id->n == 0)
		return -1;
	return s->n > 0 && s->p[0] != ';' && !authres_take_word(s, &version) ? -1 : 0;
}

/* The rest of one result: properties "ptype.name=value"; other words are passed over, as
 * "reason" and a version are. Leaves *s at the ';' behind it. */
static bool
take_properties(struct slice *s, struct authres_found *f)
{
	struct slice name, value;

	while (s->n > 0 && s->p[0] != ';') {
		size_t before = s->n;

		if (!authres_take_word(s, &name))
			return false;
		if (authres_take(s, '=')) {
			if (!authres_take_word(s, &value))
				return false;
			if (f->nproperty < AUTHRES_PROPERTIES_MAX) {
				f->property[f->nproperty].name = name;
				f->property[f->nproperty++].value = value;
			}
		}
		if (s->n == before)
			return false;	/* a sign that fits nowhere */
	}
	return true;
}

/* Method, version and result: "dmarc/1 = pass". */
static bool
take_method(struct slice *s, struct authres_found *f)
{
	if (!authres_take_word(s, &f->method) || f->method.n == 0)
		return false;
	f->method.n = slice_find(f->method, '/');
	if (f->method.n > 0 && s->n > 0 && s->p[0] != '=' && s->p[0] != ';') {
		struct slice version;		/* "dmarc / 1", "dmarc (x) /1" */

		if (s->p[0] != '/' || !authres_take_word(s, &version))
			return false;
		if (slice_eq(version, SLICE_LIT("/")) && !authres_take_word(s, &version))
			return false;
	}
	return !authres_take(s, '=') || authres_take_word(s, &f->result);
}

int
authres_read_next(struct slice *s, struct authres_found *f)
{
	f->method = f->result = SLICE_NONE;
	f->nproperty = 0;
	if (s->n == 0)
		return 0;
	if (!authres_take(s, ';') || !authres_skip_cfws(s))
		return -1;
	if (s->n == 0)
		return 0;			/* a last ';' */
	return take_method(s, f) && take_properties(s, f) ? 1 : -1;
}

struct slice
authres_found_property(const struct authres_found *f, const char *name)
{
	for (size_t i = 0; i < f->nproperty; i++)
		if (slice_ieq(f->property[i].name, slice_str(name)))
			return f->property[i].value;
	return SLICE_NONE;
}

enum auth_result
authres_found_result(const struct authres_found *f)
{
	static const enum auth_result known[] = {
		AUTH_NONE, AUTH_PASS, AUTH_FAIL, AUTH_SOFTFAIL, AUTH_NEUTRAL, AUTH_POLICY,
		AUTH_TEMPERROR, AUTH_PERMERROR
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_ieq(f->result, slice_str(auth_result_name(known[i]))))
			return known[i];
	return AUTH_UNSET;
}
