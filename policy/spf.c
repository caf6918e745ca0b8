// SPDX-License-Identifier: Apache-2.0
#include "policy/spf.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include <spf2/spf.h>
#include <spf2/spf_dns.h>

#include "base/mem.h"
#include "policy/address.h"
#include "policy/spf_record.h"

enum {
	LOOKUPS_MAX = 10,	/* terms that cause DNS queries, RFC 7208 4.6.4 */
	VOID_MAX = 2,
	NAMES_MAX = 10,		/* MX or PTR names looked up for one term */
	TERMS_MAX = LOOKUPS_MAX + 1,	/* of one program: the eleventh is over the limit */
	TOKENS_MAX = 320,
	PROGRAM_MAX = 1024,
	EXPAND_MAX = 64 * 1024,
};

#define ZONE ".spf.invalid"

enum token_kind { TOKEN_CHECK, TOKEN_TERM, TOKEN_HOST };

struct token {
	enum token_kind	 kind;
	struct spf_term	 term;		/* of TERM; of HOST the mx term it came from */
	struct slice	 domain;	/* <domain> of the record it stands in; HOST: its name */
	bool		 done;		/* it was looked up */
	bool		 voided;	/* it had a void look-up, which counts once */
	size_t		 parent;	/* of HOST: its mx term */
};

struct run {	/* one check_host() with all that it includes */
	struct spf		*spf;
	struct dnsview		*view;
	const struct iprev_ip	*ip;
	struct slice		 local, sender_domain, helo;
	bool			 local_8bit;	/* see unmatchable */
	struct token		 token[TOKENS_MAX];
	size_t			 ntoken;
	char			 domain[LOOKUPS_MAX + 2][DNS_NAME_MAX + 1];
	size_t			 ndomain;
	unsigned		 lookups, voids;
	bool			 missing;	/* a name was not in the view */
	enum auth_result	 fatal;		/* ends the whole check; AUTH_UNSET none */
	bool			 ptr_known;
	struct slice		 ptr[NAMES_MAX];	/* validated names, in ptr_text */
	char			 ptr_text[NAMES_MAX][DNS_NAME_MAX + 1];
	size_t			 nptr;
	char			 host_text[DNS_NAME_MAX + 1];	/* of the name of an MX host */
	uint8_t			 flip;		/* see client_flip */
};

struct spf {
	SPF_server_t		*server;
	SPF_dns_server_t	 dns;
	struct buf		 expanded;
	struct run		 run;
};

static bool
stopped(const struct run *r)
{
	return r->missing || r->fatal != AUTH_UNSET;
}

static void
fatal(struct run *r, enum auth_result result)
{
	if (!stopped(r))
		r->fatal = result;
}

/* One more term that queries DNS. */
static void
count_lookup(struct run *r)
{
	if (++r->lookups > LOOKUPS_MAX)
		fatal(r, AUTH_PERMERROR);
}

/*
 * 4.6.4 limits the terms whose look-ups come back empty, not the look-ups: three MX hosts
 * without IPv6 are one for a client with it. False when there are too many.
 */
static bool
count_void(struct run *r, struct token *t)
{
	if (t->kind == TOKEN_HOST)
		t = &r->token[t->parent];
	if (t->voided)
		return true;
	t->voided = true;
	if (++r->voids > VOID_MAX)
		fatal(r, AUTH_PERMERROR);
	return !stopped(r);
}

/*
 * Asks the view for that term. False when the run must stop (missing, temporary failure
 * unless `soft`, too many void look-ups); *rrs is then empty.
 */
static bool
ask(struct run *r, struct token *t, uint16_t type, struct slice name, bool soft,
    struct slice *rrs)
{
	int st = dnsview_ask(r->view, type, name, rrs);

	if (st == DNSVIEW_MISS) {
		r->missing = true;
		return false;
	}
	if (st == DNS_FAIL) {
		if (!soft)
			fatal(r, AUTH_TEMPERROR);
		return false;
	}
	return rrs->n > 0 || !dnsview_name_ok(&name) || count_void(r, t);
}

static uint16_t
address_type(const struct run *r)
{
	return r->ip->n == 4 ? DNS_A : DNS_AAAA;
}

static bool
is_client(const struct run *r, struct slice addr)
{
	return addr.n == r->ip->n && memcmp(addr.p, r->ip->b, addr.n) == 0;
}

/*
 * The names of the client that point back to it (5.5), once per check. Failures here
 * mean "no match", never temperror. All addresses are asked for before a miss is told.
 */
static void
find_ptr(struct run *r, struct token *t)
{
	struct slice names, name, rrs;
	struct dns_rr rr, a;
	bool missing = false;
	char rev[80];

	if (r->ptr_known)
		return;
	if (!ask(r, t, DNS_PTR, dnsview_reverse(r->ip->b, r->ip->n, rev, sizeof(rev)), true, &names))
		names = SLICE_NONE;
	for (unsigned i = 0; i < NAMES_MAX && wire_item_next(&names, &dns_rr_wire, &rr) == 1; i++) {
		bool match = false;

		name = dnsview_target(rr.data, r->ptr_text[r->nptr]);
		if (!ask(r, t, address_type(r), name, true, &rrs)) {
			missing = missing || r->missing;
			r->missing = false;
			continue;
		}
		while (!match && wire_item_next(&rrs, &dns_rr_wire, &a) == 1)
			match = is_client(r, a.data);
		if (match)
			r->ptr[r->nptr++] = name;
	}
	r->missing = r->missing || missing;
	r->ptr_known = !r->missing;
}

static bool
in_domain(struct slice name, struct slice domain)
{
	if (domain.n == 0 || name.n < domain.n ||
	    !slice_ieq(slice_sub(name, name.n - domain.n, name.n), domain))
		return false;
	return name.n == domain.n || name.p[name.n - domain.n - 1] == '.';
}

/* %{p}: the domain itself, else a name under it, else any, else "unknown" (7.3). */
static struct slice
validated_name(const struct run *r, struct slice domain)
{
	for (size_t i = 0; i < r->nptr; i++)
		if (slice_ieq(r->ptr[i], domain))
			return r->ptr[i];
	for (size_t i = 0; i < r->nptr; i++)
		if (in_domain(r->ptr[i], domain))
			return r->ptr[i];
	return r->nptr > 0 ? r->ptr[0] : SLICE_LIT("unknown");
}

/* RFC 8616 4: no term with a local part beyond ASCII in its name matches anything. */
static bool
unmatchable(const struct run *r, const struct token *t)
{
	return r->local_8bit && spf_spec_uses(t->term.spec, "sl");
}

/* The name a term means, valid until the next call, "" for one that cannot be asked for.
 * False when the run must stop. */
static bool
target(struct run *r, struct token *t, struct slice *name)
{
	struct spf_macros m = {
		.local = r->local, .sender_domain = r->sender_domain, .domain = t->domain,
		.helo = r->helo, .ip = r->ip->b, .ip_len = r->ip->n,
	};

	*name = t->domain;
	if (t->kind == TOKEN_HOST) {
		*name = dnsview_target(t->domain, r->host_text);
		return true;
	}
	if (unmatchable(r, t))
		*name = SLICE_NONE;
	if (t->term.spec.n == 0 || name->n == 0)
		return true;
	if (spf_spec_uses(t->term.spec, "p")) {
		find_ptr(r, t);
		if (stopped(r))
			return false;
		m.validated = validated_name(r, t->domain);
	}
	buf_clear(&r->spf->expanded);
	if (spf_spec_expand(t->term.spec, &m, &r->spf->expanded) != 0) {
		fatal(r, AUTH_PERMERROR);
		return false;
	}
	*name = buf_slice(&r->spf->expanded);
	return true;
}

/* -- The program ----------------------------------------------------------------- */

static struct token *
token_new(struct run *r, enum token_kind kind, const struct spf_term *term, struct slice domain)
{
	struct token *t;

	if (r->ntoken == TOKENS_MAX) {	/* cannot be: the limits above end it before */
		fatal(r, AUTH_PERMERROR);
		return NULL;
	}
	t = &r->token[r->ntoken++];
	*t = (struct token){ .kind = kind, .domain = domain };
	if (term != NULL)
		t->term = *term;
	return t;
}

static struct token *
token_find(struct run *r, const char *name)
{
	char *end;
	unsigned long i;

	if (name == NULL || name[0] != 't' || name[1] < '0' || name[1] > '9')
		return NULL;
	i = strtoul(name + 1, &end, 10);
	return i < r->ntoken && strcmp(end, ZONE) == 0 ? &r->token[i] : NULL;
}

static bool
prefix_match(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, left = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return left == 0 || ((a[whole] ^ b[whole]) & (0xff00u >> left) & 0xffu) == 0;
}

/* Does the client match this ip4 or ip6 term? */
static bool
network_match(const struct run *r, const struct spf_term *t)
{
	if (t->kind == SPF_KIND_IP4)
		return r->ip->n == 4 && prefix_match(r->ip->b, t->ip, t->cidr4);
	return r->ip->n == 16 && prefix_match(r->ip->b, t->ip, t->cidr6);
}

static unsigned
term_prefix(const struct run *r, const struct spf_term *t)
{
	return r->ip->n == 4 ? t->cidr4 : t->cidr6;
}

/*
 * The library has no /0 (it means "not given" there): such a term goes in without a
 * prefix and rr_addresses answers it with the client's own address.
 */
static void
put_prefix(const struct run *r, const struct spf_term *t, struct buf *out)
{
	unsigned bits = term_prefix(r, t);

	if (bits > 0 && bits < 8 * r->ip->n)
		CHECK(buf_printf(out, r->ip->n == 4 ? "/%u" : "//%u", bits) == 0);
}

/* Appends one term that queries DNS. PTR is ours: to the library it is an `exists`. */
static void
put_dns_term(struct run *r, const struct spf_term *t, struct slice domain, struct buf *out)
{
	size_t index = r->ntoken;
	const char *name = "exists:";

	if (token_new(r, TOKEN_TERM, t, domain) == NULL)
		return;
	if (t->kind == SPF_KIND_A)
		name = "a:";
	else if (t->kind == SPF_KIND_MX)
		name = "mx:";
	else if (t->kind == SPF_KIND_INCLUDE)
		name = "include:";
	if (t->kind == SPF_KIND_REDIRECT)
		CHECK(buf_printf(out, " redirect=t%zu" ZONE, index) == 0);
	else
		CHECK(buf_printf(out, " %c%st%zu" ZONE, t->qualifier, name, index) == 0);
	if (t->kind == SPF_KIND_A || t->kind == SPF_KIND_MX)
		put_prefix(r, t, out);
}

/*
 * Turns a checked record into a program: "v=spf1", at most TERMS_MAX terms with
 * tokens, and whatever ends it. The result of a term that is never reached does not
 * matter, so everything after a sure match is left out.
 */
static void
build(struct run *r, struct slice txt, struct slice domain, struct buf *out)
{
	struct slice terms = spf_record_terms(txt);
	struct spf_term t, redirect = { .kind = SPF_KIND_ALL };
	unsigned n = 0;
	bool has_all = false;

	CHECK(buf_puts(out, "v=spf1") == 0);
	while (!has_all && n < TERMS_MAX && spf_record_next(&terms, &t) == 1) {
		switch (t.kind) {
		case SPF_KIND_IP4:
		case SPF_KIND_IP6:
			if (!network_match(r, &t))
				break;
			has_all = true;
			break;
		case SPF_KIND_ALL:
			has_all = true;
			break;
		case SPF_KIND_A:
		case SPF_KIND_MX:
		case SPF_KIND_PTR:
		case SPF_KIND_INCLUDE:
		case SPF_KIND_EXISTS:
			put_dns_term(r, &t, domain, out);
			n++;
			break;
		case SPF_KIND_REDIRECT:
			redirect = t;
			break;
		case SPF_KIND_EXP:
		case SPF_KIND_MODIFIER:
			break;
		}
		if (has_all)
			CHECK(buf_printf(out, " %call", t.qualifier) == 0);
	}
	if (!has_all && n < TERMS_MAX && redirect.kind == SPF_KIND_REDIRECT)
		put_dns_term(r, &redirect, domain, out);
}

/* 4.3: at least two labels, well formed. */
static bool
domain_checkable(struct slice d)
{
	return dnsview_name_ok(&d) && slice_find(d, '.') < d.n;
}

/* The one SPF record among the TXT records (4.5). False: none or several, see *several. */
static bool
select_record(struct slice rrs, struct slice *txt, bool *several)
{
	struct dns_rr rr;
	unsigned n = 0;

	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		if (!spf_record_is(rr.data))
			continue;
		*txt = rr.data;
		n++;
	}
	*several = n > 1;
	return n == 1;
}

/* The record of a check (first, include or redirect) as a program; false: stop. */
static bool
load_program(struct run *r, struct token *t, struct buf *program)
{
	enum auth_result none = t->kind == TOKEN_CHECK ? AUTH_NONE : AUTH_PERMERROR;
	struct slice name, rrs, txt;
	bool several = false;
	char *kept;
	int st;

	t->done = true;
	if (t->kind != TOKEN_CHECK)
		count_lookup(r);
	if (stopped(r) || !target(r, t, &name))
		return false;
	if (unmatchable(r, t))
		return buf_puts(program, "v=spf1") == 0;	/* neutral */
	if (!domain_checkable(name) || r->ndomain == sizeof(r->domain) / sizeof(r->domain[0])) {
		fatal(r, none);
		return false;
	}
	kept = r->domain[r->ndomain++];
	CHECK(slice_cstr(name, kept, sizeof(r->domain[0])) == 0);
	name = slice_make(kept, name.n);
	st = dnsview_ask(r->view, DNS_TXT, name, &rrs);
	if (st == DNSVIEW_MISS)
		r->missing = true;
	else if (st == DNS_FAIL)
		fatal(r, AUTH_TEMPERROR);
	else if (!select_record(rrs, &txt, &several))
		fatal(r, several ? AUTH_PERMERROR : none);
	else if (spf_record_check(txt) != 0)
		fatal(r, AUTH_PERMERROR);
	if (stopped(r))
		return false;
	build(r, txt, name, program);
	return !stopped(r);
}

/* -- What the library calls ------------------------------------------------------ */

static SPF_errcode_t
hook_get_spf(SPF_server_t *server, SPF_request_t *request, SPF_response_t *response,
    SPF_record_t **record)
{
	struct spf *s = server->resolver->hook;
	struct token *t = token_find(&s->run, request->cur_dom);
	SPF_errcode_t err = SPF_E_DNS_ERROR;
	struct buf program;

	buf_init(&program, PROGRAM_MAX);
	if (t == NULL)
		fatal(&s->run, AUTH_PERMERROR);
	else if (!stopped(&s->run) && load_program(&s->run, t, &program) &&
	    buf_put(&program, "", 1) == 0)
		err = SPF_record_compile(server, response, record, buf_slice(&program).p);
	buf_fini(&program);
	if (err != SPF_E_SUCCESS && !stopped(&s->run))
		fatal(&s->run, AUTH_PERMERROR);	/* our own program: cannot be */
	return err;
}

/* Never reached: no program has exp=. Closed because the library's expansion of
 * explanations has an unfixed stack overflow (CVE-2023-42118). */
static SPF_errcode_t
hook_get_exp(SPF_server_t *server, const char *domain, char **buf, size_t *len)
{
	(void)server;
	(void)domain;
	(void)buf;
	(void)len;
	return SPF_E_NOT_SPF;
}

/*
 * To the library a client in 127/8 or at ::1 passes unseen. Flipping one bit of the
 * client's address and of every address it is compared with moves it elsewhere and
 * keeps all prefix relations.
 */
static uint8_t
client_flip(const struct iprev_ip *ip)
{
	static const uint8_t loopback6[16] = { [15] = 1 };

	if (ip->n == 4)
		return ip->b[0] == 127 ? 0x80 : 0;
	return memcmp(ip->b, loopback6, 16) == 0 ? 0x80 : 0;
}

static void
rr_address(const struct run *r, SPF_dns_rr_t *rr, const char *addr)
{
	size_t n = r->ip->n;
	uint8_t b[16];

	if (SPF_dns_rr_buf_realloc(rr, rr->num_rr, sizeof(struct in6_addr)) != SPF_E_SUCCESS)
		return;
	memcpy(b, addr, n);
	b[0] ^= r->flip;
	memcpy(rr->rr[rr->num_rr++], b, n);
}

static void
rr_addresses(const struct run *r, const struct token *t, struct slice rrs, SPF_dns_rr_t *out)
{
	bool any = term_prefix(r, &t->term) == 0;
	struct dns_rr rr;

	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1)
		if (rr.data.n == r->ip->n)
			rr_address(r, out, any ? (const char *)r->ip->b : rr.data.p);
}

/* MX hosts become tokens; "" (null MX) is none. */
static void
rr_hosts(struct run *r, const struct token *t, struct slice rrs, SPF_dns_rr_t *out)
{
	struct spf_term term = t->term;
	struct slice all = rrs;
	unsigned n = 0;
	struct dns_rr rr;

	while (wire_item_next(&all, &dns_rr_wire, &rr) == 1)
		n++;
	if (n > NAMES_MAX) {	/* 4.6.4 */
		fatal(r, AUTH_PERMERROR);
		return;
	}
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		char name[32];
		int len = snprintf(name, sizeof(name), "t%zu" ZONE, r->ntoken);
		struct token *host = rr.data.n == 0 ? NULL :
		    token_new(r, TOKEN_HOST, &term, rr.data);

		if (host == NULL ||
		    SPF_dns_rr_buf_realloc(out, out->num_rr, (size_t)len + 1) != SPF_E_SUCCESS)
			continue;
		host->parent = (size_t)(t - r->token);
		memcpy(out->rr[out->num_rr++]->mx, name, (size_t)len + 1);
	}
}

static bool
ptr_match(struct run *r, struct token *t, struct slice domain)
{
	find_ptr(r, t);
	for (size_t i = 0; i < r->nptr; i++)
		if (in_domain(r->ptr[i], domain))
			return true;
	return false;
}

/* Answers one question of the library about a token into `out`. */
static void
answer(struct run *r, struct token *t, ns_type type, SPF_dns_rr_t *out)
{
	struct slice name, rrs = SLICE_NONE;
	bool found = false;

	if (!t->done && t->kind == TOKEN_TERM)
		count_lookup(r);
	t->done = true;
	if (stopped(r) || !target(r, t, &name))
		return;
	if (t->kind == TOKEN_HOST || t->term.kind == SPF_KIND_A) {
		if (ask(r, t, address_type(r), name, false, &rrs))
			rr_addresses(r, t, rrs, out);
	} else if (t->term.kind == SPF_KIND_MX && type == ns_t_mx) {
		if (ask(r, t, DNS_MX, name, false, &rrs))
			rr_hosts(r, t, rrs, out);
	} else if (t->term.kind == SPF_KIND_PTR) {
		char copy[DNS_NAME_MAX + 1];

		if (slice_cstr(name, copy, sizeof(copy)) == 0)
			found = ptr_match(r, t, slice_str(copy));
	} else if (t->term.kind == SPF_KIND_EXISTS) {
		found = ask(r, t, DNS_A, name, false, &rrs) && rrs.n > 0;
	}
	if (found)
		rr_address(r, out, (const char *)r->ip->b);
}

static SPF_dns_rr_t *
hook_lookup(SPF_dns_server_t *dns, const char *domain, ns_type type, int cache)
{
	struct spf *s = dns->hook;
	SPF_dns_rr_t *out = SPF_dns_rr_new_init(dns, domain, type, 0, NETDB_SUCCESS);
	struct token *t = token_find(&s->run, domain);

	(void)cache;
	CHECK(out != NULL);
	if (t == NULL)
		fatal(&s->run, AUTH_PERMERROR);
	else if (!stopped(&s->run))
		answer(&s->run, t, type, out);
	if (stopped(&s->run)) {
		out->num_rr = 0;
		out->herrno = TRY_AGAIN;	/* ends the library's walk at every place */
	} else if (out->num_rr == 0) {
		out->herrno = NO_DATA;
	}
	return out;
}

/* -- The check ------------------------------------------------------------------- */

struct spf *
spf_new(void)
{
	struct spf *s = mem_new(sizeof(*s));

	s->dns.lookup = hook_lookup;
	s->dns.get_spf = hook_get_spf;
	s->dns.get_exp = hook_get_exp;
	s->dns.name = "view";
	s->dns.hook = s;
	buf_init(&s->expanded, EXPAND_MAX);
	s->server = SPF_server_new_dns(&s->dns, 0);
	CHECK(s->server != NULL);
	return s;
}

void
spf_free(struct spf **sp)
{
	struct spf *s = *sp;

	if (s == NULL)
		return;
	SPF_server_free(s->server);
	buf_fini(&s->expanded);
	free(s);
	*sp = NULL;
}

static enum auth_result
library_result(SPF_result_t res)
{
	switch (res) {
	case SPF_RESULT_PASS:
		return AUTH_PASS;
	case SPF_RESULT_FAIL:
		return AUTH_FAIL;
	case SPF_RESULT_SOFTFAIL:
		return AUTH_SOFTFAIL;
	case SPF_RESULT_NEUTRAL:
		return AUTH_NEUTRAL;
	case SPF_RESULT_TEMPERROR:
		return AUTH_TEMPERROR;
	case SPF_RESULT_NONE:
	case SPF_RESULT_INVALID:
	case SPF_RESULT_PERMERROR:
		break;
	}
	return AUTH_PERMERROR;
}

static enum auth_result
walk(struct run *r)
{
	SPF_request_t *req = SPF_request_new(r->spf->server);
	SPF_response_t *res = NULL;
	enum auth_result result = AUTH_PERMERROR;
	uint8_t b[16];

	CHECK(req != NULL);
	r->flip = client_flip(r->ip);
	memcpy(b, r->ip->b, sizeof(b));
	b[0] ^= r->flip;
	if (r->ip->n == 4) {
		struct in_addr a;

		memcpy(&a, b, sizeof(a));
		SPF_request_set_ipv4(req, a);
	} else {
		struct in6_addr a;

		memcpy(&a, b, sizeof(a));
		SPF_request_set_ipv6(req, a);
	}
	SPF_request_set_helo_dom(req, "t0" ZONE);
	SPF_request_set_env_from(req, "postmaster@t0" ZONE);
	SPF_request_query_mailfrom(req, &res);
	if (res != NULL)
		result = library_result(SPF_response_result(res));
	SPF_response_free(res);
	SPF_request_free(req);
	return r->fatal != AUTH_UNSET ? r->fatal : result;
}

/* A round of questions costs the sender time: ask for what the next terms of the
 * records at hand will need as well. */
static void
hint_rest(struct run *r)
{
	struct slice name;

	r->missing = false;
	for (size_t i = 0; i < r->ntoken; i++) {
		struct token *t = &r->token[i];

		if (t->done || spf_spec_uses(t->term.spec, "p") || !target(r, t, &name))
			continue;
		if (t->kind == TOKEN_HOST || t->term.kind == SPF_KIND_A)
			dnsview_hint(r->view, address_type(r), name);
		else if (t->term.kind == SPF_KIND_MX)
			dnsview_hint(r->view, DNS_MX, name);
		else if (t->term.kind == SPF_KIND_INCLUDE || t->term.kind == SPF_KIND_REDIRECT)
			dnsview_hint(r->view, DNS_TXT, name);
	}
	r->missing = true;
}

/*
 * Lower case, A-labels, no last dot. A name that is no host's by RFC 1123 but could be in
 * DNS ("-x.example", "a:b.example" in a HELO) is asked for as it is.
 */
static bool
canonical(struct slice d, char *out, size_t cap)
{
	if (address_domain_canonical(d, out, cap) == 0)
		return true;
	if (d.n == 0 || d.p[0] == '[' || !dnsview_name_plain(d))
		return false;
	if (d.p[d.n - 1] == '.')
		d.n--;
	if (slice_cstr(d, out, cap) != 0)
		return false;
	bytes_lower(out, d.n);
	return true;
}

/* Fills in who is judged. False when there is no domain to judge. */
static bool
identity(struct run *r, const struct spf_input *in, struct spf_output *out)
{
	size_t at = slice_rfind(in->mail_from, '@');
	struct slice d;

	out->helo = in->mail_from.n == 0;
	d = out->helo ? in->helo : slice_sub(in->mail_from, at + 1, in->mail_from.n);
	r->local = out->helo || at == 0 || at >= in->mail_from.n ? SLICE_LIT("postmaster") :
	    slice_sub(in->mail_from, 0, at);
	for (size_t i = 0; i < r->local.n; i++)
		r->local_8bit = r->local_8bit || (unsigned char)r->local.p[i] > 0x7f;
	r->helo = in->helo;
	if (!canonical(d, out->domain, sizeof(out->domain)) ||
	    !domain_checkable(slice_str(out->domain))) {
		out->domain[0] = '\0';
		return false;
	}
	r->sender_domain = slice_str(out->domain);
	return true;
}

void
spf_check(struct spf *s, struct dnsview *v, const struct spf_input *in, struct spf_output *out)
{
	struct run *r = &s->run;

	memset(r, 0, sizeof(*r));
	*out = (struct spf_output){ .result = AUTH_NONE };
	r->spf = s;
	r->view = v;
	r->ip = in->ip;
	if (in->ip->n == 0 || !identity(r, in, out))
		return;
	(void)token_new(r, TOKEN_CHECK, NULL, r->sender_domain);
	out->result = walk(r);
	if (r->missing)
		hint_rest(r);
}
