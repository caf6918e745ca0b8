// SPDX-License-Identifier: Apache-2.0
#include "policy/dmarc_record.h"

enum tag {
	TAG_P, TAG_SP, TAG_NP, TAG_ADKIM, TAG_ASPF, TAG_T, TAG_PSD, TAG_RUA, TAG_COUNT
};

/* ruf= and fo= ask for failure reports, which this relay does not send; pct=, rf= and
 * ri= are gone (RFC 9989 C.5.2). All of them are read as unknown tags. */
static const char *const tag_name[TAG_COUNT] = {
	"p", "sp", "np", "adkim", "aspf", "t", "psd", "rua"
};

const char *
dmarc_policy_name(enum dmarc_policy p)
{
	switch (p) {
	case DMARC_NONE:
		break;
	case DMARC_QUARANTINE:
		return "quarantine";
	case DMARC_REJECT:
		return "reject";
	}
	return "none";
}

/* WSP of RFC 5234: a line end has no business inside a TXT record. */
static struct slice
trim(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_sub(s, 1, s.n);
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* dmarc-value: visible ASCII and spaces (the ';' is gone already). */
static bool
value_ok(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > 0x7e)
			return false;
	return s.n > 0;
}

static bool
is_alpha(char c)
{
	c = ascii_lower(c);
	return c >= 'a' && c <= 'z';
}

static bool
scheme_ok(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool more = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';

		if (!is_alpha(c) && (i == 0 || !more))
			return false;
	}
	return s.n > 0;
}

/* RFC 3986, as far as it matters whether somebody could be meant. A size limit of old
 * ("!10m") is ignored (RFC 9989 4.8). */
static bool
uri_ok(struct slice s)
{
	size_t colon = slice_find(s, ':'), at;
	struct slice rest = slice_sub(s, colon + 1, s.n);

	if (!scheme_ok(slice_sub(s, 0, colon)))
		return false;
	rest.n = slice_find(rest, '!');
	for (size_t i = 0; i < rest.n; i++)
		if (rest.p[i] <= ' ' || strchr("<>\"{}|\\^`", rest.p[i]) != NULL)
			return false;
	if (!slice_ieq(slice_sub(s, 0, colon), SLICE_LIT("mailto")))
		return rest.n > 0;
	at = slice_rfind(rest, '@');
	return at > 0 && at + 1 < rest.n;
}

static bool
any_uri(struct slice list)
{
	while (list.n > 0) {
		size_t end = slice_find(list, ',');

		if (uri_ok(trim(slice_sub(list, 0, end))))
			return true;
		list = slice_sub(list, end + 1, list.n);
	}
	return false;
}

static struct dmarc_request
request(struct slice v)
{
	struct dmarc_request r = { DMARC_TAG_VALID, DMARC_NONE };

	if (slice_ieq(v, SLICE_LIT("reject")))
		r.policy = DMARC_REJECT;
	else if (slice_ieq(v, SLICE_LIT("quarantine")))
		r.policy = DMARC_QUARANTINE;
	else if (!slice_ieq(v, SLICE_LIT("none")))
		r.state = DMARC_TAG_INVALID;
	return r;
}

static bool
is_letter(struct slice v, char c)
{
	return v.n == 1 && ascii_lower(v.p[0]) == c;
}

/* The value of a tag; an empty one is faulty and stands for a doubled or broken tag. */
static void
take(struct dmarc_record *r, enum tag t, struct slice v)
{
	switch (t) {
	case TAG_P:
		r->p = request(v);
		break;
	case TAG_SP:
		r->sp = request(v);
		break;
	case TAG_NP:
		r->np = request(v);
		break;
	case TAG_ADKIM:
		r->strict_dkim = is_letter(v, 's');
		break;
	case TAG_ASPF:
		r->strict_spf = is_letter(v, 's');
		break;
	case TAG_T:
		r->testing = is_letter(v, 'y');
		break;
	case TAG_PSD:
		r->psd = is_letter(v, 'y') ? DMARC_PSD_YES :
		    is_letter(v, 'n') ? DMARC_PSD_NO : DMARC_PSD_UNKNOWN;
		break;
	case TAG_RUA:
		r->reported = any_uri(v);
		break;
	case TAG_COUNT:
		break;
	}
}

/* Splits "name = value". False when there is no '='. */
static bool
split(struct slice spec, struct slice *name, struct slice *value)
{
	size_t eq = slice_find(spec, '=');

	*name = trim(slice_sub(spec, 0, eq));
	*value = trim(slice_sub(spec, eq + 1, spec.n));
	return eq < spec.n;
}

int
dmarc_record_parse(struct slice txt, struct dmarc_record *r)
{
	size_t end = slice_find(txt, ';');
	bool seen[TAG_COUNT] = { false };
	struct slice name, value;

	*r = (struct dmarc_record){ .psd = DMARC_PSD_UNKNOWN };
	/* White space before the first tag is not in the grammar. */
	if (txt.n == 0 || txt.p[0] != 'v' || !split(slice_sub(txt, 0, end), &name, &value) ||
	    !slice_eq(name, SLICE_LIT("v")) || !slice_eq(value, SLICE_LIT("DMARC1")))
		return -1;
	while (end < txt.n) {
		txt = slice_sub(txt, end + 1, txt.n);
		end = slice_find(txt, ';');
		if (!split(slice_sub(txt, 0, end), &name, &value))
			continue;
		for (int t = 0; t < TAG_COUNT; t++) {
			if (!slice_eq(name, slice_str(tag_name[t])))
				continue;
			if (seen[t] || !value_ok(value))
				value = SLICE_NONE;
			take(r, (enum tag)t, value);
			seen[t] = true;
		}
	}
	return 0;
}

static enum dmarc_policy
lower(enum dmarc_policy p)
{
	return p == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_NONE;
}

int
dmarc_record_policy(const struct dmarc_record *r, bool own, bool exists,
    enum dmarc_policy *policy)
{
	const struct dmarc_request *q = &r->p;

	*policy = DMARC_NONE;
	if (r->p.state == DMARC_TAG_INVALID || r->sp.state == DMARC_TAG_INVALID ||
	    r->np.state == DMARC_TAG_INVALID)
		return r->reported ? 0 : -1;
	if (!own && r->sp.state == DMARC_TAG_VALID)
		q = &r->sp;
	if (!own && !exists && r->np.state == DMARC_TAG_VALID)
		q = &r->np;
	*policy = r->testing ? lower(q->policy) : q->policy;
	return 0;
}
