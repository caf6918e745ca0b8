// SPDX-License-Identifier: Apache-2.0
#include "policy/arc_seal.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/arc_verify_priv.h"

/* Spec 5.6. Of these only what the message has is listed: a name without a field would
 * forbid later hops to add it, and only a second From is to be forbidden. */
#define AMS_NAMES \
	"From:Reply-To:To:Cc:Subject:Date:Message-ID:In-Reply-To:References:MIME-Version:" \
	"Content-Type:Content-Transfer-Encoding:List-Id:List-Unsubscribe:" \
	"List-Unsubscribe-Post"

enum { SET_AAR, SET_AMS, SET_AS, SET_FIELDS };

/* In the order in which a seal covers them (RFC 8617 5.1.1). */
static const char *const set_name[SET_FIELDS] = {
	"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"
};

struct chain {
	struct slice	field[ARC_SETS_MAX + 1][SET_FIELDS];	/* by instance; [0] unused */
	unsigned	sets;		/* highest instance */
	bool		any;		/* there is an ARC field at all */
	bool		broken;		/* instances missing, doubled or unreadable */
};

/* Which field of a set is this? SET_FIELDS for none. */
static int
set_field(struct slice name)
{
	int i = 0;

	while (i < SET_FIELDS && !slice_ieq(name, slice_str(set_name[i])))
		i++;
	return i;
}

static bool
name_listed(struct slice name, struct slice list)
{
	while (list.n > 0) {
		size_t end = slice_find(list, ':');

		if (slice_ieq(slice_sub(list, 0, end), name))
			return true;
		list = slice_sub(list, end + 1, list.n);
	}
	return false;
}

bool
arc_seal_wants(struct slice name)
{
	return set_field(name) < SET_FIELDS || slice_ieq(name, SLICE_LIT("DKIM-Signature")) ||
	    name_listed(name, SLICE_LIT(AMS_NAMES));
}

/* The value of a tag in a raw field, "" when it has none. */
static struct slice
tag_value(struct slice raw, const char *tag)
{
	struct slice s = slice_sub(raw, slice_find(raw, ':') + 1, raw.n);

	while (s.n > 0) {
		size_t end = slice_find(s, ';');
		struct slice one = slice_sub(s, 0, end);
		size_t eq = slice_find(one, '=');

		s = slice_sub(s, end + 1, s.n);
		if (eq < one.n && slice_eq(slice_trim(slice_sub(one, 0, eq)), slice_str(tag)))
			return slice_trim(slice_sub(one, eq + 1, one.n));
	}
	return SLICE_NONE;
}

/* i= of a field, 0 for none that counts. In an AAR there may be comments around it (RFC 8617
 * 4.2.1), in the others it is a tag among others. */
static unsigned
instance_of(int what, struct slice raw)
{
	struct slice value = slice_sub(raw, slice_find(raw, ':') + 1, raw.n), payload;
	uint64_t n = 0;

	if (what == SET_AAR)
		return arc_aar_instance(value, &payload);
	return slice_u64(tag_value(raw, "i"), &n) < 0 || n > ARC_SETS_MAX ? 0 : (unsigned)n;
}

static void
chain_read(struct chain *c, const struct sign_fields *f)
{
	for (size_t i = 0; i < f->n; i++) {
		int what = set_field(f->field[i].name);
		unsigned n;

		if (what == SET_FIELDS)
			continue;
		c->any = true;
		n = instance_of(what, f->field[i].raw);
		if (n == 0 || c->field[n][what].n > 0) {
			c->broken = true;
			continue;
		}
		c->field[n][what] = f->field[i].raw;
		if (n > c->sets)
			c->sets = n;
	}
	for (unsigned n = 1; n <= c->sets; n++)
		for (int what = 0; what < SET_FIELDS; what++)
			c->broken |= c->field[n][what].n == 0;
}

/* cv= of the set to be made, NULL for no seal (spec 5.3, 5.4). */
static const char *
chain_verdict(const struct chain *c, enum auth_result ingress)
{
	if (!c->any)
		return ingress == AUTH_NONE || ingress == AUTH_UNSET ? "none" : NULL;
	if (c->sets == ARC_SETS_MAX)
		return NULL;
	if (ingress == AUTH_PASS)
		return c->broken ? NULL : "pass";
	if (ingress != AUTH_FAIL || c->sets == 0)
		return NULL;
	/* said once is enough */
	if (slice_ieq(tag_value(c->field[c->sets][SET_AS], "cv"), SLICE_LIT("fail")))
		return NULL;
	return "fail";
}

/* h= of the message signature. */
static int
put_signed_names(struct buf *out, const struct sign_fields *f)
{
	struct slice list = SLICE_LIT(AMS_NAMES);

	if (buf_puts(out, "From") < 0)	/* the second, oversigning one */
		return -1;
	while (list.n > 0) {
		size_t end = slice_find(list, ':');
		struct slice name = slice_sub(list, 0, end);
		size_t i = 0;

		list = slice_sub(list, end + 1, list.n);
		while (i < f->n && !slice_ieq(f->field[i].name, name))
			i++;
		if (i < f->n && (buf_puts(out, ":") < 0 || buf_put_slice(out, name) < 0))
			return -1;
	}
	for (size_t i = 0; i < f->n; i++)
		if (slice_ieq(f->field[i].name, SLICE_LIT("DKIM-Signature")) &&
		    buf_puts(out, ":DKIM-Signature") < 0)
			return -1;
	return 0;
}

static int
put_message_signature(struct buf *out, const struct arc_seal *a, unsigned instance,
    const struct sign_fields *f)
{
	struct buf names, first;
	int ret = -1;

	buf_init(&names, 32 * 1024);
	buf_init(&first, 32);
	if (put_signed_names(&names, f) == 0 && buf_printf(&first, "i=%u;", instance) == 0) {
		const struct sign_spec spec = {
			.name = slice_str(set_name[SET_AMS]), .first = buf_slice(&first),
			.domain = a->domain, .selector = a->selector, .when = a->when,
			.h = buf_slice(&names)
		};

		ret = sign_field(out, a->key, &spec, f, a->body_hash);
	}
	buf_fini(&names);
	buf_fini(&first);
	return ret;
}

static int
put_covered(struct buf *canon, struct slice field)
{
	return sign_relax(canon, field) < 0 ? -1 : buf_puts(canon, "\r\n");
}

/* Over all sets in order, ours last; a failed chain covers ours alone (RFC 8617 5.1.2). */
static int
put_seal(struct buf *out, const struct arc_seal *a, const struct chain *c, const char *cv,
    unsigned instance, struct slice aar, struct slice ams)
{
	uint8_t hash[SIGN_HASH];
	struct buf canon;
	size_t start = buf_len(out);
	int ret = -1;

	buf_init(&canon, 1024 * 1024);
	for (unsigned n = 1; n <= c->sets && strcmp(cv, "pass") == 0; n++)
		for (int what = 0; what < SET_FIELDS; what++)
			if (put_covered(&canon, c->field[n][what]) < 0)
				goto out;
	if (put_covered(&canon, aar) < 0 || put_covered(&canon, ams) < 0)
		goto out;
	if (buf_printf(out, "ARC-Seal: i=%u; a=%s; t=%lld; cv=%s;\r\n\td=%.*s; s=%.*s;\r\n\tb=",
	    instance, sign_key_algorithm(a->key), (long long)a->when, cv, SLICE_FMT(a->domain),
	    SLICE_FMT(a->selector)) < 0)
		goto out;
	if (sign_relax(&canon, slice_sub(buf_slice(out), start, buf_len(out))) < 0)
		goto out;
	crypto_sha256(buf_slice(&canon), hash);
	if (sign_hash(a->key, hash, out) < 0 || buf_puts(out, "\r\n") < 0)
		goto out;
	ret = 0;
out:
	buf_fini(&canon);
	return ret;
}

static enum arc_seal_result
seal_chain(struct buf *out, const struct arc_seal *a, const struct chain *c, const char *cv,
    const struct sign_fields *f)
{
	struct buf aar, ams, as;
	unsigned instance = c->sets + 1;
	enum arc_seal_result r = ARC_ERROR;

	buf_init(&aar, 32 * 1024);
	buf_init(&ams, 64 * 1024);
	buf_init(&as, 96 * 1024);
	if (buf_printf(&aar, "%s: i=%u; %.*s\r\n", set_name[SET_AAR], instance,
	    SLICE_FMT(slice_trim(a->authres))) < 0)
		goto out;
	if (put_message_signature(&ams, a, instance, f) < 0 ||
	    put_seal(&as, a, c, cv, instance, buf_slice(&aar), buf_slice(&ams)) < 0)
		goto out;
	if (buf_put_slice(&as, buf_slice(&ams)) < 0 || buf_put_slice(&as, buf_slice(&aar)) < 0 ||
	    buf_put_slice(out, buf_slice(&as)) < 0)
		goto out;
	r = ARC_SEALED;
out:
	buf_fini(&aar);
	buf_fini(&ams);
	buf_fini(&as);
	return r;
}

enum arc_seal_result
arc_seal_put(struct buf *out, const struct arc_seal *a, const struct sign_fields *fields)
{
	struct chain c = { 0 };
	const char *cv;

	chain_read(&c, fields);
	cv = chain_verdict(&c, a->chain);
	return cv == NULL ? ARC_NOT_SEALED : seal_chain(out, a, &c, cv, fields);
}
