// SPDX-License-Identifier: Apache-2.0
/*
 * The order of the table is its meaning: a provider's own token before the general code,
 * a code that says one thing everywhere before one that says several, the text last.
 */
#include "queue/reply_class.h"

enum { ANY = 0, FOUR = 4, FIVE = 5 };

struct rule {
	uint16_t	 code;		/* exactly; or FOUR, FIVE: of that kind; ANY */
	const char	*enhanced;	/* without its first digit: ".7.28"; NULL: any; "": none */
	const char	*text;		/* words in it, letters folded; NULL: any */
	const char	*group;		/* suffix of the provider group; NULL: any */
	uint8_t		 class;		/* enum reply_class */
};

static const struct rule rules[] = {
	/* providers' own tokens */
	{ FOUR, NULL, "[tss", NULL, REPLY_RATE },		/* Yahoo 421 4.7.0 [TSS04] */
	{ ANY, NULL, "[ts03]", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "[tss", NULL, REPLY_BLOCK },
	{ FOUR, NULL, "rp-00", NULL, REPLY_RATE },		/* Outlook.com 421 RP-001..003 */
	{ FIVE, NULL, "sc-00", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "s3140", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "s3150", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "[cs", NULL, REPLY_SPAM },		/* iCloud */
	{ FIVE, NULL, "[hm", NULL, REPLY_SPAM },
	{ 550, NULL, "ph01", NULL, REPLY_SPAM },		/* Yahoo: phishing */
	{ 550, NULL, "(ph", NULL, REPLY_SPAM },
	{ 550, NULL, "[ph", NULL, REPLY_SPAM },

	/* enhanced codes that mean one thing */
	{ ANY, ".7.26", NULL, NULL, REPLY_AUTH },
	{ ANY, ".7.30", NULL, NULL, REPLY_AUTH },
	{ ANY, ".7.32", NULL, NULL, REPLY_AUTH },
	{ ANY, ".7.509", NULL, NULL, REPLY_AUTH },
	{ ANY, ".7.515", NULL, NULL, REPLY_AUTH },
	{ FOUR, ".7.27", NULL, NULL, REPLY_AUTH },
	{ FIVE, ".7.27", NULL, NULL, REPLY_SETUP },		/* SPF of ours */
	{ ANY, ".7.23", NULL, NULL, REPLY_SETUP },
	{ ANY, ".7.24", NULL, NULL, REPLY_SETUP },
	{ ANY, ".7.25", NULL, NULL, REPLY_SETUP },
	{ ANY, ".7.29", NULL, NULL, REPLY_SETUP },
	{ ANY, ".7.31", NULL, NULL, REPLY_SETUP },
	{ ANY, ".7.40", NULL, NULL, REPLY_SETUP },
	{ FOUR, ".7.28", NULL, NULL, REPLY_RATE },
	{ FIVE, ".7.28", NULL, NULL, REPLY_BLOCK },
	{ FOUR, ".7.650", NULL, NULL, REPLY_RATE },
	{ FOUR, ".7.651", NULL, NULL, REPLY_RATE },
	{ FOUR, ".2.1", NULL, NULL, REPLY_USERRATE },
	{ ANY, ".2.1", "receiving mail at a rate", NULL, REPLY_USERRATE },
	{ ANY, ".2.1", "receiving mail too quickly", NULL, REPLY_USERRATE },
	{ FOUR, ".2.2", NULL, NULL, REPLY_FULL },
	{ FIVE, ".2.2", NULL, NULL, REPLY_FULL },
	{ FIVE, ".2.1", NULL, NULL, REPLY_NOUSER },		/* disabled */
	{ FIVE, ".1.1", NULL, NULL, REPLY_NOUSER },
	{ FIVE, ".1.2", NULL, NULL, REPLY_NOUSER },
	{ FIVE, ".1.10", NULL, NULL, REPLY_NOUSER },
	{ FIVE, ".1.6", NULL, NULL, REPLY_NOUSER },
	{ FIVE, ".1.7", NULL, NULL, REPLY_ADDR },
	{ FIVE, ".1.8", NULL, NULL, REPLY_ADDR },
	{ FIVE, ".3.4", NULL, NULL, REPLY_SIZE },
	{ FIVE, ".2.3", NULL, NULL, REPLY_SIZE },
	{ FIVE, ".4.6", NULL, NULL, REPLY_LOOP },
	{ FIVE, ".4.14", NULL, NULL, REPLY_LOOP },
	{ FIVE, ".6.0", NULL, NULL, REPLY_STRUCTURE },
	{ 552, ".7.0", NULL, NULL, REPLY_SPAM },

	/* words, under codes that mean several things */
	{ FOUR, NULL, "unusual rate", NULL, REPLY_RATE },
	{ FOUR, NULL, "low reputation", NULL, REPLY_RATE },
	{ FOUR, NULL, "rate limit", NULL, REPLY_RATE },
	{ FOUR, NULL, "too many connections", NULL, REPLY_RATE },
	{ FOUR, NULL, "too many messages", NULL, REPLY_RATE },
	{ FIVE, NULL, "very low reputation", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "dmarc", NULL, REPLY_AUTH },
	{ FOUR, NULL, "dmarc", NULL, REPLY_AUTH },
	{ FIVE, NULL, "message-id", NULL, REPLY_STRUCTURE },
	{ FIVE, NULL, "from: header", NULL, REPLY_STRUCTURE },
	{ FIVE, NULL, "rfc 5322", NULL, REPLY_STRUCTURE },
	{ FIVE, NULL, "likely unsolicited", NULL, REPLY_SPAM },
	{ FIVE, NULL, "spam", NULL, REPLY_SPAM },
	{ FIVE, NULL, "block list", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "blocklist", NULL, REPLY_BLOCK },
	{ FIVE, NULL, "blacklist", NULL, REPLY_BLOCK },
	{ 552, "", "quota", NULL, REPLY_FULL },
	{ FIVE, NULL, "mailbox full", NULL, REPLY_FULL },
	{ FIVE, NULL, "over quota", NULL, REPLY_FULL },
	{ 452, "", NULL, NULL, REPLY_FULL },
	{ 550, "", "user unknown", NULL, REPLY_NOUSER },
	{ 550, "", "no such user", NULL, REPLY_NOUSER },
	{ 550, "", "mailbox unavailable", NULL, REPLY_NOUSER },
	{ 550, "", "does not exist", NULL, REPLY_NOUSER },
	{ 552, "", NULL, NULL, REPLY_SIZE },		/* RFC 1870: the code of SIZE */
	{ FOUR, NULL, NULL, NULL, REPLY_TEMP },
	{ FIVE, NULL, NULL, NULL, REPLY_PERM },
};

const char *
reply_class_name(enum reply_class c)
{
	static const char *const names[REPLY_CLASS_MAX] = { "ok", "temp", "perm", "rate",
		"block", "userrate", "full", "nouser", "auth", "setup", "spam", "structure",
		"size", "loop", "addr" };

	return c < REPLY_CLASS_MAX ? names[c] : "?";
}

static bool
has_words(struct slice text, const char *words)
{
	struct slice w = slice_str(words);

	for (size_t i = 0; i + w.n <= text.n; i++)
		if (slice_ieq(slice_sub(text, i, i + w.n), w))
			return true;
	return false;
}

static bool
ends_in(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n && slice_ieq(slice_sub(s, s.n - suffix.n, s.n), suffix);
}

static bool
rule_matches(const struct rule *k, const struct reply *r)
{
	struct slice tail = slice_sub(r->enhanced, 1, r->enhanced.n);

	if (k->code >= 100 ? r->code != k->code : k->code != ANY && r->code / 100 != k->code)
		return false;
	if (k->enhanced != NULL && !slice_eq(tail, slice_str(k->enhanced)))
		return false;
	if (k->group != NULL && !ends_in(r->group, slice_str(k->group)))
		return false;
	return k->text == NULL || has_words(r->text, k->text);
}

/* A first digit that contradicts the code says nothing (RFC 2034 4). */
static struct slice
sound_enhanced(const struct reply *r)
{
	if (r->enhanced.n < 5 || r->enhanced.p[0] != (char)('0' + r->code / 100))
		return SLICE_NONE;
	return r->enhanced;
}

static enum reply_scope
rate_scope(struct slice text)
{
	if (has_words(text, "dkim domain"))
		return REPLY_SCOPE_DKIM;
	if (has_words(text, "spf domain"))
		return REPLY_SCOPE_SPF;
	if (has_words(text, "netblock"))
		return REPLY_SCOPE_NETBLOCK;
	return REPLY_SCOPE_ALL;
}

struct reply_verdict
reply_classify(const struct reply *in)
{
	struct reply r = *in;
	struct reply_verdict v = { .class = REPLY_TEMP };

	r.enhanced = sound_enhanced(in);
	if (r.code / 100 == 2)
		v.class = REPLY_OK;
	for (size_t i = 0; r.code >= 400 && i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (!rule_matches(&rules[i], &r))
			continue;
		v.class = rules[i].class;
		break;
	}
	if (v.class == REPLY_RATE)
		v.scope = (uint8_t)rate_scope(r.text);
	v.closed = r.code >= 500;
	return v;
}
