// SPDX-License-Identifier: Apache-2.0
/* ARC-Authentication-Results (RFC 8617 4.1.1, RFC 8601 2.2), as far as dmarc= goes. */
#include "policy/arc_verify_priv.h"

#include "policy/address.h"

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skips white space, folding and comments. False when a comment is not closed. */
static bool
skip_cfws(struct slice *s)
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

static bool
take(struct slice *s, char c)
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

/* A word up to white space or one of the signs that matter here; quoted or not. */
static bool
take_word(struct slice *s, struct slice *out)
{
	size_t n = 0;

	if (!skip_cfws(s))
		return false;
	if (s->n > 0 && s->p[0] == '"')
		return take_quoted(s, out) && skip_cfws(s);
	while (n < s->n && !is_space(s->p[n]) && strchr("()\";=", s->p[n]) == NULL)
		n++;
	*out = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->n);
	return skip_cfws(s);
}

unsigned
arc_aar_instance(struct slice value, struct slice *payload)
{
	struct slice name, digits;
	uint64_t n;

	*payload = SLICE_NONE;
	if (!take_word(&value, &name) || !slice_eq(name, SLICE_LIT("i")) || !take(&value, '=') ||
	    !skip_cfws(&value))
		return 0;
	digits = slice_sub(value, 0, 0);
	while (digits.n < value.n && value.p[digits.n] >= '0' && value.p[digits.n] <= '9')
		digits.n++;
	value = slice_sub(value, digits.n, value.n);
	if (!skip_cfws(&value) || !take(&value, ';') || digits.n > 2 ||
	    slice_u64(digits, &n) != 0 || n > ARC_VERIFY_SETS_MAX)
		return 0;
	*payload = value;
	return (unsigned)n;
}

static enum auth_result
result_of(struct slice word)
{
	static const enum auth_result known[] = {
		AUTH_NONE, AUTH_PASS, AUTH_FAIL, AUTH_TEMPERROR, AUTH_PERMERROR
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_ieq(word, slice_str(auth_result_name(known[i]))))
			return known[i];
	return AUTH_UNSET;
}

/* The rest of one resinfo: properties "ptype.name=value" (other words are passed over,
 * as "reason" and a version are). Leaves *s at the ';' behind it. */
static bool
take_properties(struct slice *s, bool dmarc, struct arc_verify_dmarc *out)
{
	struct slice name, value;

	while (s->n > 0 && s->p[0] != ';') {
		size_t before = s->n;

		if (!take_word(s, &name))
			return false;
		if (take(s, '=')) {
			if (!take_word(s, &value))
				return false;
			if (dmarc && slice_ieq(name, SLICE_LIT("header.from")) &&
			    address_domain_canonical(value, out->from, sizeof(out->from)) != 0)
				return false;
		}
		if (s->n == before)
			return false;	/* a sign that fits nowhere */
	}
	return true;
}

/* Method, version and result: "dmarc/1 = pass". */
static bool
take_method(struct slice *s, struct slice *method, struct slice *result)
{
	if (!take_word(s, method) || method->n == 0)
		return false;
	method->n = slice_find(*method, '/');
	if (method->n > 0 && s->n > 0 && s->p[0] != '=' && s->p[0] != ';') {
		struct slice version;		/* "dmarc / 1", "dmarc (x) /1" */

		if (s->p[0] != '/' || !take_word(s, &version))
			return false;
		if (slice_eq(version, SLICE_LIT("/")) && !take_word(s, &version))
			return false;
	}
	*result = SLICE_NONE;
	return !take(s, '=') || take_word(s, result);
}

/*
 * Anything that is not in order makes the whole payload worthless: what a sealer copied
 * from its own network must not be able to move the borders.
 */
void
arc_aar_dmarc(struct slice s, struct arc_verify_dmarc *out)
{
	struct slice word, method, result;
	enum auth_result found = AUTH_UNSET;

	*out = (struct arc_verify_dmarc){ .result = AUTH_UNSET };
	if (!take_word(&s, &word) || word.n == 0)		/* authserv-id */
		return;
	if (s.n > 0 && s.p[0] != ';' && !take_word(&s, &word))	/* its version */
		return;
	while (take(&s, ';')) {
		bool dmarc;

		if (!skip_cfws(&s))
			return;
		if (s.n == 0)
			break;			/* a last ';' */
		if (!take_method(&s, &method, &result))
			return;
		dmarc = slice_ieq(method, SLICE_LIT("dmarc"));
		if (dmarc && found != AUTH_UNSET)
			return;			/* two verdicts are none */
		if (dmarc)
			found = result_of(result);
		if (!take_properties(&s, dmarc, out))
			return;
	}
	if (s.n == 0)
		out->result = found;
}
