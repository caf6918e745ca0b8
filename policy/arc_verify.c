// SPDX-License-Identifier: Apache-2.0
/* The chain: its sets, their order, and the hashes that its signatures are over. */
#include "policy/arc_verify_priv.h"

#include <stdlib.h>

#include "base/mem.h"

enum {
	SETS = ARC_VERIFY_SETS_MAX,
	ARC_FIELDS_MAX = 3 * SETS,	/* more of them are more than 50 sets */
	CANON_MAX = 1024 * 1024,	/* octets of the header text under one signature */
	OLDEST_BUDGET = 4 * 1024 * 1024	/* likewise, of all message signatures but the newest */
};

enum { PART_AAR, PART_AMS, PART_AS, PARTS };

/* In the order in which a seal covers them (RFC 8617 5.1.1). */
static const char *const part_name[PARTS] = {
	"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"
};

struct set {
	struct header_field field[PARTS];	/* raw.n == 0: not there */
	struct arc_sig	 seal, message;
};

struct field {
	struct slice	 name, raw;	/* borrowed */
	uint32_t	 hash;		/* of the name in lower case: compared first */
};

enum body_form { BODY_SIMPLE, BODY_RELAXED, BODY_FORMS };

struct arc_verify {
	struct set	 set[SETS];	/* instance i is set[i - 1] */
	unsigned	 highest;	/* instance */
	unsigned	 narc;		/* ARC fields seen */
	const char	*broken;	/* NULL while the fields can be a chain */
	struct field	*field;		/* owned array; all of the header, while a check runs */
	size_t		 nfield, cap;
	bool		*used;		/* owned, of ARC_VERIFY_FIELDS_MAX */
	unsigned	 nfrom;		/* From fields */
	struct slice	 body;		/* borrowed, while a check runs */
	bool		 hashed[BODY_FORMS];
	uint8_t		 body_hash[BODY_FORMS][SIGN_HASH];
	struct sign_body *relaxer;	/* owned */
	EVP_MD		*sha256;	/* owned; fetched once */
	EVP_MD_CTX	*md, *copy;	/* owned */
	struct arc_keys	 keys;
	struct buf	 canon;		/* scratch: one canonical field, or all that is signed */
	struct arc_verify_result result;
};

struct arc_verify *
arc_verify_new(void)
{
	struct arc_verify *a = mem_new(sizeof(*a));

	a->used = mem_array(ARC_VERIFY_FIELDS_MAX, sizeof(*a->used));
	a->relaxer = sign_body_new();
	a->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	a->md = EVP_MD_CTX_new();
	a->copy = EVP_MD_CTX_new();
	CHECK(a->sha256 != NULL && a->md != NULL && a->copy != NULL);
	buf_init(&a->canon, CANON_MAX);
	arc_verify_start(a);
	return a;
}

void
arc_verify_free(struct arc_verify **ap)
{
	struct arc_verify *a = *ap;

	if (a == NULL)
		return;
	free(a->field);
	free(a->used);
	sign_body_free(&a->relaxer);
	EVP_MD_free(a->sha256);
	EVP_MD_CTX_free(a->md);
	EVP_MD_CTX_free(a->copy);
	arc_keys_fini(&a->keys);
	buf_fini(&a->canon);
	free(a);
	*ap = NULL;
}

/* -- Collecting ------------------------------------------------------------------ */

void
arc_verify_start(struct arc_verify *a)
{
	for (unsigned i = 0; i < a->highest; i++)
		a->set[i] = (struct set){ .message = { .bad = NULL } };
	a->highest = a->narc = 0;
	a->broken = NULL;
	a->result = (struct arc_verify_result){ .result = AUTH_UNSET, .why = "" };
}

static unsigned
instance_of(const struct header_field *f, int part)
{
	struct dkim_tags t;
	struct slice payload;

	if (part == PART_AAR)
		return arc_aar_instance(f->value, &payload);
	return dkim_tags_parse(f->value, &t) == 0 ? arc_tags_instance(&t) : 0;
}

void
arc_verify_field(struct arc_verify *a, const struct header_field *f)
{
	unsigned i = 0;
	int part = 0;

	while (part < PARTS && !header_is(f, part_name[part]))
		part++;
	if (part == PARTS || ++a->narc > ARC_FIELDS_MAX || a->broken != NULL)
		return;
	if (f->raw.n <= ARC_VERIFY_FIELD_MAX)
		i = instance_of(f, part);
	if (f->raw.n > ARC_VERIFY_FIELD_MAX) {
		a->broken = "field too long";
	} else if (i == 0) {
		a->broken = "field without an instance in 1..50";
	} else if (a->set[i - 1].field[part].raw.n > 0) {
		a->broken = "instance doubled";
	} else {
		a->set[i - 1].field[part] = *f;
		if (i > a->highest)
			a->highest = i;
	}
}

/* -- Structure and keys ---------------------------------------------------------- */

static void
fail_chain(struct arc_verify *a, unsigned instance, const char *why)
{
	a->result.result = AUTH_FAIL;
	a->result.dns = false;
	a->result.instance = instance;
	a->result.why = why;
}

/* RFC 8617 5.2 steps 1 to 3: NULL when the chain is in order. */
static const char *
structure(struct arc_verify *a, int64_t now_s, unsigned *instance)
{
	*instance = 0;
	if (a->narc > ARC_FIELDS_MAX)
		return "more than 50 sets";
	if (a->broken != NULL)
		return a->broken;
	for (unsigned i = a->highest; i > 0; i--) {
		struct set *s = &a->set[i - 1];

		*instance = i;
		for (int part = 0; part < PARTS; part++)
			if (s->field[part].raw.n == 0)
				return "set not complete";
		arc_sig_read(&s->seal, &s->field[PART_AS], true, now_s);
		arc_sig_read(&s->message, &s->field[PART_AMS], false, now_s);
		/* the newest comes first, as step 2 has it */
		if (i == a->highest && slice_ieq(s->seal.cv, SLICE_LIT("fail")))
			return "cv=fail";
		if (!slice_ieq(s->seal.cv, i == 1 ? SLICE_LIT("none") : SLICE_LIT("pass")))
			return "wrong cv=";
		if (s->seal.bad != NULL)
			return s->seal.bad;
		if (i == a->highest && s->message.bad != NULL)
			return s->message.bad;
	}
	return NULL;
}

void
arc_verify_keys(struct arc_verify *a, struct dnsview *v, int64_t now_s)
{
	unsigned instance;
	const char *why;

	a->result = (struct arc_verify_result){ .result = AUTH_NONE, .why = "" };
	if (a->narc == 0)
		return;
	why = structure(a, now_s, &instance);
	if (why != NULL) {
		fail_chain(a, instance, why);
		return;
	}
	a->result.result = AUTH_UNSET;
	a->result.sets = a->highest;
	for (unsigned i = 0; i < a->highest; i++) {
		arc_sig_find_key(&a->set[i].seal, v);
		if (a->set[i].message.bad == NULL)
			arc_sig_find_key(&a->set[i].message, v);
	}
}

/* -- Hashes ---------------------------------------------------------------------- */

static uint32_t
name_hash(struct slice name)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (uint8_t)ascii_lower(name.p[i])) * 16777619u;
	return h;
}

/* Takes in the header and the body. -1 when there are more fields than we look at. */
static int
read_message(struct arc_verify *a, struct slice msg)
{
	struct header_field f;
	struct header h;

	a->nfield = 0;
	a->nfrom = 0;
	header_start(&h, msg);
	while (header_next(&h, &f)) {
		if (a->nfield == ARC_VERIFY_FIELDS_MAX)
			return -1;
		if (a->nfield == a->cap) {
			a->cap = a->cap == 0 ? 64 : 2 * a->cap;
			a->field = mem_resize(a->field, a->cap, sizeof(*a->field));
		}
		a->field[a->nfield++] = (struct field){ f.name, f.raw, name_hash(f.name) };
		a->nfrom += header_is(&f, "From");
	}
	a->body = slice_sub(msg, h.body, msg.n);
	memset(a->hashed, 0, sizeof(a->hashed));
	return 0;
}

static void
hash_start(struct arc_verify *a)
{
	CHECK(EVP_DigestInit_ex2(a->md, a->sha256, NULL) == 1);
}

static void
hash_put(EVP_MD_CTX *md, struct slice s)
{
	CHECK(EVP_DigestUpdate(md, s.p, s.n) == 1);
}

static void
hash_end(EVP_MD_CTX *md, uint8_t out[SIGN_HASH])
{
	unsigned n = SIGN_HASH;

	CHECK(EVP_DigestFinal_ex(md, out, &n) == 1 && n == SIGN_HASH);
}

static const uint8_t *
body_hash(struct arc_verify *a, enum body_form form)
{
	uint8_t *out = a->body_hash[form];
	size_t n;

	if (a->hashed[form])
		return out;
	a->hashed[form] = true;
	if (form == BODY_RELAXED) {
		sign_body_start(a->relaxer);
		sign_body_put(a->relaxer, a->body);
		sign_body_end(a->relaxer, out);
		return out;
	}
	arc_body_simple(a->body, &n);
	hash_start(a);
	hash_put(a->md, slice_sub(a->body, 0, n));
	hash_put(a->md, SLICE_LIT("\r\n"));
	hash_end(a->md, out);
	return out;
}

/* Appends one field in canonical form with its CRLF. */
static int
put_field(struct buf *out, struct slice raw, bool relaxed)
{
	if (relaxed)
		return sign_relax(out, raw) != 0 ? -1 : buf_puts(out, "\r\n");
	if (buf_put_slice(out, raw) != 0)
		return -1;
	return raw.n > 0 && raw.p[raw.n - 1] == '\n' ? 0 : buf_puts(out, "\r\n");
}

/* What h= stands for, instances from the bottom up (RFC 6376 5.4.2), never the signature
 * itself (3.5). */
static int
put_selected(struct arc_verify *a, const struct arc_sig *s, bool relaxed)
{
	struct slice h = s->h;

	for (size_t i = 0; i < a->nfield; i++)
		a->used[i] = a->field[i].raw.p == s->raw.p;
	while (h.n > 0) {
		size_t colon = slice_find(h, ':'), i = a->nfield;
		struct slice name = slice_trim(slice_sub(h, 0, colon));
		uint32_t hash = name_hash(name);

		h = slice_sub(h, colon + 1, h.n);
		while (i > 0 && (a->used[i - 1] || a->field[i - 1].hash != hash ||
		    !slice_ieq(a->field[i - 1].name, name)))
			i--;
		if (i == 0)
			continue;
		a->used[i - 1] = true;
		if (put_field(&a->canon, a->field[i - 1].raw, relaxed) != 0)
			return -1;
	}
	return 0;
}

/* NULL when the message signature holds in this canonicalization. */
static const char *
verify_form(struct arc_verify *a, const struct arc_sig *s, bool relaxed, enum body_form form)
{
	uint8_t hash[SIGN_HASH];

	/* A From that is not signed shows the reader another author. */
	if (dkim_list_count(s->h, SLICE_LIT("From")) < a->nfrom)
		return "unsigned From";
	/* Text behind l= would be read as if it were signed (RFC 6376 8.2). */
	if (s->has_l && s->l != arc_body_length(a->body, form == BODY_RELAXED))
		return "l= is not the whole body";
	if (!arc_sig_is_bh(s, body_hash(a, form)))
		return "body hash does not match";
	buf_clear(&a->canon);
	if (put_selected(a, s, relaxed) != 0 || arc_sig_unsigned(&a->canon, s, relaxed) != 0)
		return "too much to sign";
	hash_start(a);
	hash_put(a->md, buf_slice(&a->canon));
	hash_end(a->md, hash);
	return arc_sig_verify(s, hash, &a->keys);
}

static const char *
verify_message(struct arc_verify *a, const struct arc_sig *s)
{
	const char *why;

	if (!s->no_c)
		return verify_form(a, s, s->relaxed_header,
		    s->relaxed_body ? BODY_RELAXED : BODY_SIMPLE);
	why = verify_form(a, s, false, BODY_SIMPLE);
	return why == NULL ? NULL : verify_form(a, s, true, BODY_RELAXED);
}

/*
 * The hash under each seal, in one pass: a seal covers all sets up to its own, the
 * earlier ones whole, its own with b= empty (RFC 8617 5.1.1).
 */
static int
seal_hashes(struct arc_verify *a, uint8_t hash[SETS][SIGN_HASH])
{
	hash_start(a);
	for (unsigned i = 0; i < a->highest; i++) {
		const struct set *s = &a->set[i];

		buf_clear(&a->canon);
		if (put_field(&a->canon, s->field[PART_AAR].raw, true) != 0 ||
		    put_field(&a->canon, s->field[PART_AMS].raw, true) != 0)
			return -1;
		hash_put(a->md, buf_slice(&a->canon));
		CHECK(EVP_MD_CTX_copy_ex(a->copy, a->md) == 1);
		buf_clear(&a->canon);
		if (arc_sig_unsigned(&a->canon, &s->seal, true) != 0)
			return -1;
		hash_put(a->copy, buf_slice(&a->canon));
		hash_end(a->copy, hash[i]);
		buf_clear(&a->canon);
		if (put_field(&a->canon, s->field[PART_AS].raw, true) != 0)
			return -1;
		hash_put(a->md, buf_slice(&a->canon));
	}
	return 0;
}

/* -- The verdict ----------------------------------------------------------------- */

/* False when the key cannot be had; *no_answer is set when that is DNS's fault. */
static bool
key_there(const struct arc_sig *s, bool *no_answer, const char **why)
{
	*why = NULL;
	switch (s->key_state) {
	case ARC_KEY_THERE:
		return true;
	case ARC_KEY_MISSING:
	case ARC_KEY_NO_ANSWER:
		*no_answer = true;
		return false;
	case ARC_KEY_NONE:
		break;
	}
	*why = "no key";
	return false;
}

/* Steps 4 and 6. A definite failure goes before an answer that did not come. */
static const char *
verify_chain(struct arc_verify *a, unsigned *instance, bool *no_answer)
{
	const struct arc_sig *newest = &a->set[a->highest - 1].message;
	uint8_t hash[SETS][SIGN_HASH];
	const char *why;

	*no_answer = false;
	*instance = a->highest;
	if (key_there(newest, no_answer, &why))
		why = verify_message(a, newest);
	if (why != NULL)
		return why;
	if (seal_hashes(a, hash) != 0)
		return "too much to sign";
	for (; *instance > 0; --*instance) {
		const struct arc_sig *s = &a->set[*instance - 1].seal;

		if (key_there(s, no_answer, &why))
			why = arc_sig_verify(s, hash[*instance - 1], &a->keys);
		if (why != NULL)
			return why;
	}
	return NULL;
}

/* Step 5. Bounded, as every one may sign the whole header: past the budget the message
 * counts as changed. */
static unsigned
oldest_pass(struct arc_verify *a)
{
	size_t spent = 0;

	for (unsigned i = a->highest - 1; i > 0; i--) {
		const struct arc_sig *s = &a->set[i - 1].message;
		const char *why;
		bool no_answer;

		if (s->bad != NULL || spent > OLDEST_BUDGET || !key_there(s, &no_answer, &why) ||
		    verify_message(a, s) != NULL)
			return i + 1;
		spent += buf_len(&a->canon);
	}
	return 0;
}

void
arc_verify_check(struct arc_verify *a, struct slice msg)
{
	unsigned instance;
	bool no_answer;
	const char *why;

	if (a->result.result != AUTH_UNSET || a->result.sets == 0)
		return;
	if (read_message(a, msg) != 0) {
		fail_chain(a, 0, "too many header fields");
		return;
	}
	why = verify_chain(a, &instance, &no_answer);
	if (why != NULL) {
		fail_chain(a, instance, why);
	} else if (no_answer) {
		fail_chain(a, 0, "key not available");
		a->result.dns = true;
	} else {
		a->result.result = AUTH_PASS;
		a->result.oldest_pass = oldest_pass(a);
	}
	a->body = SLICE_NONE;
}

const struct arc_verify_result *
arc_verify_result(const struct arc_verify *a)
{
	return &a->result;
}

/* -- What the sealers said ------------------------------------------------------- */

static const struct set *
set_of(const struct arc_verify *a, unsigned instance)
{
	return instance > 0 && instance <= a->result.sets ? &a->set[instance - 1] : NULL;
}

const char *
arc_verify_sealer(const struct arc_verify *a, unsigned instance)
{
	const struct set *s = set_of(a, instance);

	return s == NULL ? "" : s->seal.domain;
}

void
arc_verify_dmarc(const struct arc_verify *a, unsigned instance, struct arc_verify_dmarc *out)
{
	const struct set *s = set_of(a, instance);
	struct slice payload;

	*out = (struct arc_verify_dmarc){ .result = AUTH_UNSET };
	if (s != NULL && arc_aar_instance(s->field[PART_AAR].value, &payload) == instance)
		arc_aar_dmarc(payload, out);
}

static bool
is_listed(const char *domain, const struct slice *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_ieq(slice_str(domain), list[i]))
			return true;
	return false;
}

unsigned
arc_verify_trusted(const struct arc_verify *a, const struct slice *trusted, size_t ntrusted,
    struct slice author)
{
	struct arc_verify_dmarc d;

	if (a->result.result != AUTH_PASS)
		return 0;
	for (unsigned i = a->highest; i > 0 && i >= a->result.oldest_pass; i--) {
		if (!is_listed(arc_verify_sealer(a, i), trusted, ntrusted))
			continue;
		arc_verify_dmarc(a, i, &d);
		if (d.result == AUTH_PASS &&
		    (d.from[0] == '\0' || slice_ieq(slice_str(d.from), author)))
			return i;
	}
	return 0;
}
