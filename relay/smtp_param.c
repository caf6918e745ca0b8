// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_param.h"

#include <stdio.h>

#include "base/envelope.h"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;	/* upper case, says RFC 3461 */
}

/* Decoded it goes into headers and reports, where a line end would begin a field of the
 * client's choice. */
int
smtp_xtext(struct slice s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int c = (uint8_t)s.p[i];

		if (c <= ' ' || c > '~' || c == '=')
			return -1;
		if (c == '+') {
			if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
				return -1;
			c = hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]);
			i += 2;
		}
		if (c < ' ' || c > '~')
			return -1;
		if (out != NULL && n + 1 >= cap)
			return -1;
		if (out != NULL)
			out[n] = (char)c;
		n++;
	}
	if (out != NULL)
		out[n] = '\0';
	return 0;
}

/* "KEY=value KEY ..." (RFC 5321 4.1.2, esmtp-param). */
struct param {
	struct slice	key, value;
	bool		has_value;
};

static bool
param_next(struct slice *s, struct param *p)
{
	struct slice word;
	size_t eq;

	*s = slice_trim(*s);
	if (s->n == 0)
		return false;
	word = slice_sub(*s, 0, slice_find(*s, ' '));
	eq = slice_find(word, '=');
	p->key = slice_sub(word, 0, eq);
	p->value = slice_sub(word, eq + 1, word.n);
	p->has_value = eq < word.n;
	*s = slice_sub(*s, word.n, s->n);
	return true;
}

/* Index of the key in names, or -1. */
static int
param_find(const struct param *p, const char *const *names, int n)
{
	for (int i = 0; i < n; i++) {
		if (slice_ieq(p->key, slice_str(names[i])))
			return i;
	}
	return -1;
}

static enum smtp_param
mail_size(struct slice v, uint64_t max, uint64_t *out)
{
	/* RFC 1870: up to 20 digits; what overflows is too big as well. */
	if (v.n == 0 || v.n > 20)
		return SMTP_PARAM_BAD;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return SMTP_PARAM_BAD;
	}
	if (slice_u64(v, out) != 0 || *out > max)
		return SMTP_PARAM_TOO_BIG;
	return SMTP_PARAM_OK;
}

static bool
mail_ret(struct slice v, struct slice *out)
{
	if (slice_ieq(v, SLICE_LIT("FULL")))
		*out = SLICE_LIT("FULL");
	else if (slice_ieq(v, SLICE_LIT("HDRS")))
		*out = SLICE_LIT("HDRS");
	return out->n > 0;
}

enum smtp_param
smtp_mail_params(struct slice s, uint64_t size_max, struct smtp_mail_params *out)
{
	static const char *const names[] = { "SIZE", "BODY", "SMTPUTF8", "RET", "ENVID",
		"REQUIRETLS" };
	enum smtp_param r = SMTP_PARAM_OK;
	unsigned seen = 0;
	struct param p;

	*out = (struct smtp_mail_params){ 0 };
	while (r == SMTP_PARAM_OK && param_next(&s, &p)) {
		int i = param_find(&p, names, 6);
		bool ok = false;

		if (i < 0)
			return SMTP_PARAM_UNKNOWN;
		if ((seen & 1u << i) != 0)
			return SMTP_PARAM_BAD;
		seen |= 1u << i;
		switch (i) {
		case 0:
			r = mail_size(p.value, size_max, &out->size);
			continue;
		case 1:
			out->body_8bit = slice_ieq(p.value, SLICE_LIT("8BITMIME"));
			ok = out->body_8bit || slice_ieq(p.value, SLICE_LIT("7BIT"));
			break;
		case 2:
			out->utf8 = ok = !p.has_value;
			break;
		case 3:
			ok = mail_ret(p.value, &out->ret);
			break;
		case 5:
			out->requiretls = ok = !p.has_value;
			break;
		default:
			out->envid = p.value;
			ok = p.value.n > 0 && p.value.n <= SMTP_ENVID_MAX &&
			    smtp_xtext(p.value, NULL, 0) == 0;
			break;
		}
		if (!ok)
			return SMTP_PARAM_BAD;
	}
	return r;
}

/* NEVER alone, or a list of the others (RFC 3461 4.1). */
static bool
rcpt_notify(struct slice v, uint8_t *out)
{
	static const struct { const char *word; uint8_t bit; } words[] = {
		{ "NEVER", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE }, { "DELAY", NOTIFY_DELAY },
	};

	do {
		struct slice word = slice_sub(v, 0, slice_find(v, ','));
		uint8_t bit = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (slice_ieq(word, slice_str(words[i].word)))
				bit = words[i].bit;
		}
		if (bit == 0 || (*out & bit) != 0)
			return false;
		*out |= bit;
		if (word.n + 1 == v.n)	/* a comma and nothing behind it */
			return false;
		v = slice_sub(v, word.n + 1, v.n);
	} while (v.n > 0);
	return (*out & NOTIFY_NEVER) == 0 || *out == NOTIFY_NEVER;
}

/* RFC 5321 atext: what an address type is made of. */
static bool
atom(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') &&
		    (c == '\0' || strchr("!#$%&'*/?^_`{|}~-", c) == NULL))
			return false;
	}
	return s.n > 0;
}

/* The code point at the start of s and its length; 0 when it is not well formed (RFC 3629:
 * no overlong forms, no surrogates, nothing over U+10FFFF). */
static size_t
utf8_point(struct slice s, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t c = (uint8_t)s.p[0];
	size_t n = c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ?
	    2 : 0;

	if (n == 0 || s.n < n)
		return 0;
	*out = c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (((uint8_t)s.p[i] & 0xc0) != 0x80)
			return 0;
		*out = *out << 6 | ((uint8_t)s.p[i] & 0x3f);
	}
	if (*out < least[n] || *out > 0x10ffff || (*out >= 0xd800 && *out < 0xe000))
		return 0;
	return n;
}

/* Raw UTF-8 becomes the ASCII form of RFC 6533 3, \x{...}, which any host with DSN takes
 * and which means the same. -1: not well formed, or too long then. */
static int
orcpt_ascii(struct slice addr, char *out, size_t cap)
{
	size_t o = 0;

	for (size_t i = 0, n; i < addr.n; i += n) {
		uint8_t c = (uint8_t)addr.p[i];
		uint32_t point = 0;
		int len;

		n = c < 0x80 ? 1 : utf8_point(slice_sub(addr, i, addr.n), &point);
		if (n == 0 || c <= ' ' || c == 0x7f || c == '+' || c == '=')
			return -1;
		len = c < 0x80 ? snprintf(out + o, cap - o, "%c", c) :
		    snprintf(out + o, cap - o, "\\x{%X}", (unsigned)point);
		if (len < 0 || (size_t)len >= cap - o)
			return -1;
		o += (size_t)len;
	}
	return 0;
}

/* type;xtext (RFC 3461 4.2). The utf-8 type may hold raw UTF-8 where the transaction does
 * (RFC 6533 3). */
static bool
rcpt_orcpt(struct slice v, bool utf8, char out[SMTP_ORCPT_MAX + 1])
{
	size_t semicolon = slice_find(v, ';');
	struct slice type = slice_sub(v, 0, semicolon);
	struct slice addr = slice_sub(v, semicolon + 1, v.n);

	if (v.n > SMTP_ORCPT_MAX || addr.n == 0 || !atom(type))
		return false;
	if (!utf8 || !slice_ieq(type, SLICE_LIT("utf-8")))
		return smtp_xtext(addr, NULL, 0) == 0 &&
		    slice_cstr(v, out, SMTP_ORCPT_MAX + 1) == 0;
	memcpy(out, "utf-8;", 7);
	return orcpt_ascii(addr, out + 6, SMTP_ORCPT_MAX + 1 - 6) == 0;
}

enum smtp_param
smtp_rcpt_params(struct slice s, bool utf8, struct smtp_rcpt_params *out)
{
	static const char *const names[] = { "NOTIFY", "ORCPT" };
	unsigned seen = 0;
	struct param p;

	out->notify = 0;
	out->orcpt[0] = '\0';
	while (param_next(&s, &p)) {
		int i = param_find(&p, names, 2);

		if (i < 0)
			return SMTP_PARAM_UNKNOWN;
		if ((seen & 1u << i) != 0)
			return SMTP_PARAM_BAD;
		seen |= 1u << i;
		if (i == 0 ? !rcpt_notify(p.value, &out->notify) :
		    !rcpt_orcpt(p.value, utf8, out->orcpt))
			return SMTP_PARAM_BAD;
	}
	return SMTP_PARAM_OK;
}
