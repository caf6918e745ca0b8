// SPDX-License-Identifier: Apache-2.0
/*
 * The input is lines: a From value, TXT records of the walk from the author domain up,
 * and the domain of a DKIM signature. Whatever they are, an author domain is one that can
 * be asked for, a walk asks eight times at most, and a pass needs an aligned identifier.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "policy/address.h"
#include "policy/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice
line(struct slice *s)
{
	size_t end = slice_find(*s, '\n');
	struct slice one = slice_sub(*s, 0, end);

	*s = slice_sub(*s, end + 1, s->n);
	return one;
}

static void
check_author(const struct dmarc_author *a)
{
	char again[DNS_NAME_MAX + 1];
	struct slice name = slice_str(a->domain);

	CHECK((a->state == DMARC_AUTHOR_ONE) == (a->domain[0] != '\0'));
	CHECK((a->state == DMARC_AUTHOR_ONE) == (dmarc_author_why(a)[0] == '\0'));
	if (a->state != DMARC_AUTHOR_ONE)
		return;
	CHECK(address_domain_canonical(name, again, sizeof(again)) == 0);
	CHECK(strcmp(again, a->domain) == 0);
	CHECK(dnsview_name_ok(&name) && name.n == strlen(a->domain));
}

static void
check_record(struct slice txt)
{
	struct dmarc_record r;
	enum dmarc_policy p;

	if (dmarc_record_parse(txt, &r) != 0)
		return;
	CHECK(txt.n >= 8 && txt.p[0] == 'v');
	for (int i = 0; i < 4; i++)
		CHECK(dmarc_record_policy(&r, i & 1, i & 2, &p) == 0 || p == DMARC_NONE);
}

/* One record at each name of the walk, none where the line is empty. */
static void
answer(struct buf *out, struct slice domain, struct slice *records)
{
	struct slice names[DMARC_QUERIES_MAX];
	size_t n = dmarc_walk_names(domain, names);

	CHECK(n >= 1 && n <= DMARC_QUERIES_MAX);
	for (size_t i = 0; i < n; i++) {
		char name[512] = "_dmarc.";
		struct dns_answer a = { .type = DNS_TXT };
		struct dns_rr rr = { .data = line(records) };
		struct buf rrs;

		CHECK(i == 0 || names[i].n < names[i - 1].n);
		CHECK(names[i].p + names[i].n == domain.p + domain.n);
		if (names[i].n > DNS_NAME_MAX - 7)
			continue;
		memcpy(name + 7, names[i].p, names[i].n);
		a.name = slice_make(name, 7 + names[i].n);
		buf_init(&rrs, DNS_RRS_MAX);
		check_record(rr.data);
		if (rr.data.n == 1)
			a.status = (uint8_t)(rr.data.p[0] % (DNS_FAIL + 1));
		else if (rr.data.n > 0 && wire_item_put(&rrs, &dns_rr_wire, &rr) == 0)
			a.rrs = buf_slice(&rrs);
		(void)wire_item_put(out, &dns_answer_wire, &a);
		buf_fini(&rrs);
	}
}

static void
check_output(const struct dmarc_author *a, const struct dmarc_output *o)
{
	const struct dmarc_facts facts = { .clean = true };

	CHECK(o->survivable == o->dkim_aligned);
	CHECK((o->result == AUTH_PERMERROR) == (a->state != DMARC_AUTHOR_ONE));
	if (o->result == AUTH_PASS)
		CHECK((o->dkim_aligned || o->spf_aligned) && o->found_at[0] != '\0');
	if (o->result == AUTH_FAIL)
		CHECK(!o->dkim_aligned && !o->spf_aligned && o->found_at[0] != '\0');
	if (o->policy != DMARC_NONE)
		CHECK(o->policy_known && o->found_at[0] != '\0');
	if (o->result == AUTH_FAIL && o->policy != DMARC_NONE)
		CHECK(dmarc_dispose(o, &facts).action == DMARC_HOLD_ONLY);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_make(data, size), from = line(&s);
	struct header_field f = { .name = SLICE_LIT("From"), .value = from, .raw = from };
	struct dmarc_id id = { .domain = line(&s), .result = AUTH_PASS };
	struct dmarc_author a;
	struct dmarc_input in = { .author = &a, .dkim = &id, .ndkim = 1, .spf = id };
	struct dmarc_output out;
	struct dnsview v;
	struct buf answers;

	if (size > 16 * 1024)
		return 0;
	dmarc_author_start(&a);
	dmarc_author_field(&a, &f);
	check_author(&a);
	dnsview_init(&v);
	buf_init(&answers, DNS_ANSWERS_MAX);
	in.spf.result = size % 2 == 0 ? AUTH_FAIL : AUTH_TEMPERROR;
	dmarc_wants(&v, &in);
	CHECK(v.nwant <= 3 * DMARC_QUERIES_MAX + 1);
	if (a.state == DMARC_AUTHOR_ONE)
		answer(&answers, slice_str(a.domain), &s);
	CHECK(dnsview_load(&v, buf_slice(&answers), true) == 0);
	dmarc_check(&v, &in, &out);
	check_output(&a, &out);
	dnsview_fini(&v);
	buf_fini(&answers);
	return 0;
}
