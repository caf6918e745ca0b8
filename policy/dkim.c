// SPDX-License-Identifier: Apache-2.0
#include "policy/dkim.h"

#include <stdio.h>
#include <stdlib.h>

#include <opendkim/dkim.h>

#include "base/mem.h"
#include "policy/dkim_key.h"
#include "policy/dkim_tags.h"

enum {
	KEY_BITS_MIN = 1024,		/* RFC 8301 3.2 */
	B_SHOW_MIN = 8,
	CLOCK_DRIFT_S = 300		/* a signer's clock may be ahead by */
};

struct dkim {
	DKIM_LIB		*lib;
	struct dkim_signature	 sig[DKIM_SIGNATURES_MAX];
	size_t			 nsig, nfield;	/* kept; seen */
	unsigned		 nfrom;		/* From fields */
	DKIM_SIGINFO		*info[DKIM_SIGNATURES_MAX];	/* the library's, while it runs */
};

static void
decide(struct dkim_signature *s, enum auth_result r, const char *why)
{
	if (s->result != AUTH_UNSET)
		return;
	s->result = r;
	s->why = why;
}

/* -- Before the library ---------------------------------------------------------- */

void
dkim_start(struct dkim *d)
{
	d->nsig = d->nfield = 0;
	d->nfrom = 0;
}

void
dkim_field(struct dkim *d, const struct header_field *f)
{
	if (header_is(f, "From")) {
		d->nfrom++;
	} else if (header_is(f, "DKIM-Signature")) {
		d->nfield++;
		if (d->nsig < DKIM_SIGNATURES_MAX)
			d->sig[d->nsig++] = (struct dkim_signature){ .raw = f->value, .why = "" };
	}
}

static bool
tag_number(struct slice v, uint64_t *out)
{
	return v.n <= 20 && slice_u64(v, out) == 0;
}

/* t=, x=: expiry is judged by the time of arrival, so that a later run over a
 * held message says the same. */
static void
check_times(struct dkim_signature *s, const struct dkim_tags *tags, int64_t now_s)
{
	struct slice xs = dkim_tag(tags, "x"), ts = dkim_tag(tags, "t");
	uint64_t x, t = 0;

	s->made = UINT64_MAX;
	if (ts.p != NULL && !tag_number(ts, &t))
		decide(s, AUTH_NEUTRAL, "bad t=");
	else if (ts.p != NULL)
		s->made = t;
	if (now_s > 0 && t > (uint64_t)now_s + CLOCK_DRIFT_S)
		decide(s, AUTH_NEUTRAL, "from the future");
	if (xs.p == NULL)
		return;
	if (!tag_number(xs, &x) || (ts.p != NULL && x <= t))
		decide(s, AUTH_NEUTRAL, "bad x=");
	else if (now_s > 0 && x < (uint64_t)now_s)
		decide(s, AUTH_POLICY, "expired");
}

static void
check_algorithm(struct dkim_signature *s)
{
	if (strcmp(s->algorithm, "rsa-sha1") == 0)
		decide(s, AUTH_POLICY, "rsa-sha1");	/* RFC 8301 3.1 */
	else if (strcmp(s->algorithm, "rsa-sha256") != 0 &&
	    strcmp(s->algorithm, "ed25519-sha256") != 0)
		decide(s, AUTH_NEUTRAL, "unknown algorithm");
}

/* RFC 6376 6.1.1, as far as no key is needed. */
static void
read_signature(struct dkim_signature *s, int64_t now_s)
{
	struct slice v, q, l;
	struct dkim_tags tags;

	if (dkim_tags_parse(s->raw, &tags) != 0) {
		decide(s, AUTH_NEUTRAL, "not a tag list");
		return;
	}
	v = dkim_tag(&tags, "v");
	q = dkim_tag(&tags, "q");
	l = dkim_tag(&tags, "l");
	s->b = dkim_tag(&tags, "b");
	s->h = dkim_tag(&tags, "h");
	s->has_l = l.p != NULL;
	if (dkim_tag_text(dkim_tag(&tags, "a"), s->algorithm, sizeof(s->algorithm)) != 0 ||
	    dkim_tag_text(dkim_tag(&tags, "s"), s->selector, sizeof(s->selector)) != 0 ||
	    dkim_tag_text(dkim_tag(&tags, "d"), s->domain, sizeof(s->domain)) != 0)
		decide(s, AUTH_NEUTRAL, "bad a=, d= or s=");
	bytes_lower(s->domain, strlen(s->domain));
	(void)dkim_tag_text(slice_sub(s->b, 0, sizeof(s->b_start) - 1), s->b_start,
	    sizeof(s->b_start));
	if (!slice_eq(v, SLICE_LIT("1")))
		decide(s, AUTH_NEUTRAL, "bad v=");
	if (!dkim_name_ok(s->domain) || !dkim_name_ok(s->selector))
		decide(s, AUTH_NEUTRAL, "bad d= or s=");
	if (s->b.n == 0 || dkim_tag(&tags, "bh").n == 0 || s->h.n == 0)
		decide(s, AUTH_NEUTRAL, "b=, bh= or h= missing");
	if (q.p != NULL && dkim_list_count(q, SLICE_LIT("dns/txt")) == 0)
		decide(s, AUTH_NEUTRAL, "unknown q=");
	if (s->has_l && dkim_tag_length(l, &s->l) != 0)
		decide(s, AUTH_NEUTRAL, "bad l=");
	if (dkim_list_count(s->h, SLICE_LIT("From")) == 0)
		decide(s, AUTH_PERMERROR, "From is not signed");	/* 5.4 */
	check_algorithm(s);
	check_times(s, &tags, now_s);
}

/* Appends "name=value; " without white space; absent tags are left out. */
static void
put_tag(struct buf *b, const struct dkim_tags *tags, const char *name)
{
	struct slice v = dkim_tag(tags, name);
	char text[1024];

	if (v.p == NULL)
		return;
	/* What does not fit makes the record too long, which the caller sees. */
	if (dkim_tag_text(v, text, sizeof(text)) != 0 || buf_printf(b, "%s=%s; ", name, text) != 0)
		b->max = 0;
}

/*
 * A key record in canonical form: the tags the library knows, nothing else. It
 * copies what it is given into a buffer of 1024 octets.
 */
static const char *
read_key(struct dkim_signature *s, struct slice txt)
{
	struct dkim_tags tags;
	struct slice v, k, h, t;
	struct buf b;
	const char *why = NULL;

	if (dkim_tags_parse(txt, &tags) != 0)
		return "bad key record";
	v = dkim_tag(&tags, "v");
	k = dkim_tag(&tags, "k");
	h = dkim_tag(&tags, "h");
	t = dkim_tag(&tags, "s");
	if (v.p != NULL && !slice_eq(v, SLICE_LIT("DKIM1")))
		return "unknown key version";
	if (dkim_tag(&tags, "p").p == NULL)
		return "key record without p=";
	if (dkim_tag(&tags, "p").n == 0)
		return "key revoked";
	if (k.p == NULL)
		k = SLICE_LIT("rsa");
	if (!slice_eq(k, s->algorithm[0] == 'e' ? SLICE_LIT("ed25519") : SLICE_LIT("rsa")))
		return "key of another type";
	if (h.p != NULL && dkim_list_count(h, SLICE_LIT("sha256")) == 0)
		return "key not for sha256";
	if (t.p != NULL && dkim_list_count(t, SLICE_LIT("*")) == 0 &&
	    dkim_list_count(t, SLICE_LIT("email")) == 0)
		return "key not for email";
	buf_init(&b, sizeof(s->key) - 1);
	put_tag(&b, &tags, "v");
	put_tag(&b, &tags, "k");
	put_tag(&b, &tags, "h");
	put_tag(&b, &tags, "s");
	put_tag(&b, &tags, "t");
	put_tag(&b, &tags, "p");
	if (b.max == 0 || slice_cstr(buf_slice(&b), s->key, sizeof(s->key)) != 0)
		why = "key record too long";
	buf_fini(&b);
	return why;
}

/* Of several records the first that may be the key of this signature (3.6.2.2, 6.1.2): two
 * algorithms may share a selector, and DNS keeps no order. NULL, or why none is. */
static const char *
choose_key(struct dkim_signature *s, struct slice rrs)
{
	const char *first = NULL;
	struct dns_rr rr;

	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		const char *why = read_key(s, rr.data);

		if (why == NULL)
			return NULL;
		if (first == NULL)
			first = why;
	}
	return first == NULL ? "no key" : first;
}

static void
find_key(struct dkim_signature *s, struct dnsview *v)
{
	char name[2 * DNS_NAME_MAX + 32];
	struct slice rrs;
	const char *why;
	int n = snprintf(name, sizeof(name), "%s._domainkey.%s", s->selector, s->domain);
	int st = dnsview_ask(v, DNS_TXT, slice_make(name, (size_t)n), &rrs);

	if (st == DNSVIEW_MISS)
		return;
	if (st == DNS_FAIL) {
		decide(s, AUTH_TEMPERROR, "key not available");
		return;
	}
	if (rrs.n == 0) {
		decide(s, AUTH_PERMERROR, "no key");
		return;
	}
	why = choose_key(s, rrs);
	if (why != NULL)
		decide(s, AUTH_PERMERROR, why);
}

void
dkim_keys(struct dkim *d, struct dnsview *v, int64_t now_s)
{
	for (size_t i = 0; i < d->nsig; i++) {
		struct dkim_signature *s = &d->sig[i];

		read_signature(s, now_s);
		/* A second From that is not signed shows the reader another author. */
		if (dkim_list_count(s->h, SLICE_LIT("From")) < d->nfrom)
			decide(s, AUTH_POLICY, "unsigned From");
		if (s->result == AUTH_UNSET)
			find_key(s, v);
	}
}

/* -- The library ----------------------------------------------------------------- */

static u_char *
octets(const char *p)
{
	return (u_char *)(uintptr_t)p;	/* it takes no const, and writes nothing */
}

static bool
same_text(struct slice a, const u_char *tag)
{
	const char *q = (const char *)tag;

	for (size_t i = 0; i < a.n; i++) {
		if (slice_trim(slice_sub(a, i, i + 1)).n == 0)
			continue;
		while (*q == ' ' || *q == '\t' || *q == '\r' || *q == '\n')
			q++;
		if (*q++ != a.p[i])
			return false;
	}
	return *q == '\0';
}

static bool
is_signature(const struct dkim_signature *s, DKIM_SIGINFO *info)
{
	const u_char *b = dkim_sig_gettagvalue(info, false, octets("b"));
	const u_char *dom = dkim_sig_getdomain(info), *sel = dkim_sig_getselector(info);

	return b != NULL && dom != NULL && sel != NULL && same_text(s->b, b) &&
	    strcasecmp((const char *)dom, s->domain) == 0 &&
	    strcmp((const char *)sel, s->selector) == 0;
}

/* Pairs the library's signatures with ours; it may look only at those still open. */
static DKIM_CBSTAT
hook_prescreen(DKIM *dk, DKIM_SIGINFO **sigs, int nsigs)
{
	struct dkim *d = dkim_get_user_context(dk);

	for (int n = 0; n < nsigs; n++) {
		size_t i = 0;

		while (i < d->nsig && (d->info[i] != NULL || !is_signature(&d->sig[i], sigs[n])))
			i++;
		if (i < d->nsig)
			d->info[i] = sigs[n];
		if (i == d->nsig || d->sig[i].result != AUTH_UNSET)
			dkim_sig_ignore(sigs[n]);
	}
	return DKIM_CBSTAT_CONTINUE;
}

static DKIM_CBSTAT
hook_key(DKIM *dk, DKIM_SIGINFO *info, u_char *buf, size_t cap)
{
	struct dkim *d = dkim_get_user_context(dk);

	for (size_t i = 0; i < d->nsig; i++) {
		if (d->info[i] != info || d->sig[i].result != AUTH_UNSET)
			continue;
		if (slice_cstr(slice_str(d->sig[i].key), (char *)buf, cap) != 0)
			return DKIM_CBSTAT_NOTFOUND;
		return DKIM_CBSTAT_CONTINUE;
	}
	return DKIM_CBSTAT_NOTFOUND;
}

struct dkim *
dkim_new(void)
{
	struct dkim *d = mem_new(sizeof(*d));
	u_int bits = KEY_BITS_MIN;

	d->lib = dkim_init(NULL, NULL);
	CHECK(d->lib != NULL);
	dkim_set_key_lookup(d->lib, hook_key);
	dkim_set_prescreen(d->lib, hook_prescreen);
	dkim_options(d->lib, DKIM_OP_SETOPT, DKIM_OPTS_MINKEYBITS, &bits, sizeof(bits));
	return d;
}

void
dkim_del(struct dkim **dp)
{
	if (*dp == NULL)
		return;
	dkim_close((*dp)->lib);
	dkim_key_forget();
	free(*dp);
	*dp = NULL;
}

/* Feeds the header, then the body. False when the library gives up on the message. */
static bool
feed(struct dkim *d, DKIM *dk, struct slice msg, struct slice *body_out)
{
	struct header_field f;
	struct slice body;
	struct header h;
	size_t sigs = 0;
	bool eom_test;

	header_start(&h, msg);
	while (header_next(&h, &f)) {
		size_t n = f.raw.n;

		/* Those beyond the limit would each cost a pass over the body. */
		if (header_is(&f, "DKIM-Signature") && ++sigs > d->nsig)
			continue;
		if (n >= 2 && f.raw.p[n - 1] == '\n' && f.raw.p[n - 2] == '\r')
			n -= 2;
		(void)dkim_header(dk, octets(f.raw.p), n);
	}
	if (dkim_eoh(dk) == DKIM_STAT_CBTRYAGAIN)
		return false;
	body = *body_out = slice_sub(msg, h.body, msg.n);
	if (body.n > 0 && dkim_body(dk, octets(body.p), body.n) != DKIM_STAT_OK)
		return false;
	/* Both canonicalizations end a body in CRLF (3.4.3, 3.4.4); the library leaves a
	 * relaxed body of one unfinished line unhashed. */
	if (body.n > 0 && body.p[body.n - 1] != '\n' &&
	    dkim_body(dk, octets("\r\n"), 2) != DKIM_STAT_OK)
		return false;
	(void)dkim_eom(dk, &eom_test);
	return true;
}

static void
error_result(struct dkim_signature *s, DKIM_SIGINFO *info)
{
	int err = dkim_sig_geterror(info);
	const char *why = dkim_sig_geterrorstr(err);

	if (why == NULL)
		why = "";
	if (err == DKIM_SIGERROR_BADSIG || err == DKIM_SIGERROR_TOOLARGE_L ||
	    dkim_sig_getbh(info) == DKIM_SIGBH_MISMATCH)
		decide(s, AUTH_FAIL, why);
	else if (err == DKIM_SIGERROR_KEYTOOSMALL || err == DKIM_SIGERROR_EXPIRED)
		decide(s, AUTH_POLICY, why);
	else if (err >= DKIM_SIGERROR_KEYVERSION && err <= DKIM_SIGERROR_KEYDECODE)
		decide(s, AUTH_PERMERROR, why);
	else if (err == DKIM_SIGERROR_SUBDOMAIN || err == DKIM_SIGERROR_INVALID_H)
		decide(s, AUTH_PERMERROR, why);
	else
		decide(s, AUTH_NEUTRAL, why);
}

/*
 * Length of the canonical body (3.4.3, 3.4.4): what l= has to cover so that nothing was
 * appended behind it (8.2). The library tells only how much it hashed.
 */
static uint64_t
canonical_length(struct slice body, bool relaxed)
{
	uint64_t n = 0, kept = 0;	/* so far; up to the last line with text */

	while (body.n > 0) {
		size_t nl = slice_find(body, '\n'), end = nl, i = 0;

		if (end > 0 && nl < body.n && body.p[end - 1] == '\r')
			end--;
		while (relaxed && end > 0 && (body.p[end - 1] == ' ' || body.p[end - 1] == '\t'))
			end--;
		for (; i < end; i++, n++)
			while (relaxed && i + 1 < end && (body.p[i] == ' ' || body.p[i] == '\t') &&
			    (body.p[i + 1] == ' ' || body.p[i + 1] == '\t'))
				i++;
		n += 2;
		if (end > 0)
			kept = n;
		body = slice_sub(body, nl + 1, body.n);
	}
	return kept > 0 || relaxed ? kept : 2;
}

static void
take_result(struct dkim_signature *s, DKIM_SIGINFO *info, struct slice body)
{
	dkim_canon_t head_canon, body_canon;

	if (!DKIM_SIG_CHECK(info)) {
		error_result(s, info);
		return;
	}
	if (s->has_l && (dkim_sig_getcanons(info, &head_canon, &body_canon) != DKIM_STAT_OK ||
	    canonical_length(body, body_canon == DKIM_CANON_RELAXED) > s->l))
		decide(s, AUTH_POLICY, "text after l=");
	decide(s, AUTH_PASS, "");
}

/*
 * The library judges t= and x= by the clock on the wall, as t - drift <= now < x + drift,
 * without signs: they are judged already, by the time of arrival. With the earliest t= as
 * the drift it has nothing more to say.
 */
static void
set_drift(struct dkim *d)
{
	uint64_t drift = INT64_MAX;

	for (size_t i = 0; i < d->nsig; i++)
		if (d->sig[i].result == AUTH_UNSET && d->sig[i].made < drift)
			drift = d->sig[i].made;
	dkim_options(d->lib, DKIM_OP_SETOPT, DKIM_OPTS_CLOCKDRIFT, &drift, sizeof(drift));
}

static void
run_library(struct dkim *d, struct slice msg)
{
	DKIM_STAT st;
	DKIM *dk;
	struct slice body = SLICE_NONE;
	bool fed = false;

	set_drift(d);
	dk = dkim_verify(d->lib, octets("m"), NULL, &st);
	memset(d->info, 0, sizeof(d->info));
	if (dk != NULL) {
		dkim_set_user_context(dk, d);
		fed = feed(d, dk, msg, &body);
	}
	for (size_t i = 0; i < d->nsig; i++) {
		if (d->sig[i].result != AUTH_UNSET)
			continue;
		if (fed && d->info[i] != NULL)
			take_result(&d->sig[i], d->info[i], body);
		else
			decide(&d->sig[i], AUTH_NEUTRAL, "not processed");
	}
	if (dk != NULL)
		dkim_free(dk);
}

/* How much of b= must be shown so that no two signatures look alike (RFC 6008 4). */
static void
choose_b_show(struct dkim *d)
{
	for (size_t i = 0; i < d->nsig; i++) {
		const char *b = d->sig[i].b_start;
		size_t n = strlen(b), show = n < B_SHOW_MIN ? n : B_SHOW_MIN;

		for (size_t j = 0; j < d->nsig; j++) {
			const char *o = d->sig[j].b_start;

			while (j != i && show < n && strcmp(b, o) != 0 && strncmp(b, o, show) == 0)
				show++;
		}
		d->sig[i].b_show = show;
	}
}

void
dkim_check(struct dkim *d, struct slice msg)
{
	bool open = false;

	for (size_t i = 0; i < d->nsig; i++)
		open = open || d->sig[i].result == AUTH_UNSET;
	if (open)
		run_library(d, msg);
	choose_b_show(d);
}

/* -- Results --------------------------------------------------------------------- */

size_t
dkim_count(const struct dkim *d)
{
	return d->nsig;
}

const struct dkim_signature *
dkim_get(const struct dkim *d, size_t i)
{
	return &d->sig[i];
}

enum auth_result
dkim_overall(const struct dkim *d)
{
	static const enum auth_result best_first[] = {
		AUTH_PASS, AUTH_TEMPERROR, AUTH_FAIL, AUTH_POLICY, AUTH_NEUTRAL, AUTH_PERMERROR,
	};

	for (size_t r = 0; r < sizeof(best_first) / sizeof(best_first[0]); r++)
		for (size_t i = 0; i < d->nsig; i++)
			if (d->sig[i].result == best_first[r])
				return best_first[r];
	return AUTH_NONE;
}

bool
dkim_covers(const struct dkim *d, struct slice name)
{
	for (size_t i = 0; i < d->nsig; i++)
		if (d->sig[i].result == AUTH_PASS && dkim_list_count(d->sig[i].h, name) > 0)
			return true;
	return false;
}
