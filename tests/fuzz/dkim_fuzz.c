// SPDX-License-Identifier: Apache-2.0
/*
 * DKIM: tag lists and key records. The input is a key record up to the first LF, then a
 * message; every key asked for is that one. A tag list that is taken has well-formed
 * names once each; a pass has a key record that is a tag list with p=, and a From.
 */
#include "base/mem.h"
#include "policy/dkim.h"
#include "policy/dkim_tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
check_tags(struct slice text)
{
	struct dkim_tags t;
	char out[256];

	if (dkim_tags_parse(text, &t) != 0)
		return;
	CHECK(t.n >= 1 && t.n <= DKIM_TAGS_MAX);
	for (size_t i = 0; i < t.n; i++) {
		CHECK(t.tag[i].name.n > 0 && t.tag[i].value.p >= text.p &&
		    t.tag[i].value.p + t.tag[i].value.n <= text.p + text.n);
		for (size_t j = 0; j < i; j++)
			CHECK(!slice_eq(t.tag[i].name, t.tag[j].name));
		if (dkim_tag_text(t.tag[i].value, out, sizeof(out)) == 0)
			CHECK(strpbrk(out, " \t\r\n") == NULL);
		CHECK(dkim_list_count(t.tag[i].value, SLICE_LIT("from")) <= t.tag[i].value.n);
	}
}

static void
answer_all(struct dnsview *v, struct slice record, struct buf *out)
{
	struct dns_rr rr = { .data = record };
	struct buf rrs;

	buf_init(&rrs, DNS_RRS_MAX);
	CHECK(wire_item_put(&rrs, &dns_rr_wire, &rr) == 0);
	for (size_t i = 0; i < v->nwant; i++) {
		struct dns_answer a = { .type = DNS_TXT, .rrs = buf_slice(&rrs),
			.name = slice_make(v->want[i].name, v->want[i].len) };

		CHECK(wire_item_put(out, &dns_answer_wire, &a) == 0);
	}
	buf_fini(&rrs);
}

static void
feed(struct dkim *d, struct slice msg)
{
	struct header_field f;
	struct header h;

	dkim_start(d);
	header_start(&h, msg);
	while (header_next(&h, &f))
		dkim_field(d, &f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct dkim *d;
	struct slice in = slice_make(p, n), key, msg;
	struct dkim_tags t;
	struct dnsview v;
	struct buf answers;

	if (d == NULL)
		d = dkim_new();
	key = slice_sub(in, 0, slice_find(in, '\n'));
	msg = slice_sub(in, key.n + 1, in.n);
	check_tags(in);
	check_tags(key);
	if (key.n > 2048)
		return 0;
	dnsview_init(&v);
	buf_init(&answers, 1 << 20);
	feed(d, msg);
	CHECK(dnsview_load(&v, SLICE_NONE, false) == 0);
	dkim_keys(d, &v, 1800000000);
	answer_all(&v, key, &answers);
	feed(d, msg);
	CHECK(dnsview_load(&v, buf_slice(&answers), true) == 0);
	dkim_keys(d, &v, 1800000000);
	dkim_check(d, msg);
	CHECK(dkim_count(d) <= DKIM_SIGNATURES_MAX);
	for (size_t i = 0; i < dkim_count(d); i++) {
		const struct dkim_signature *s = dkim_get(d, i);

		CHECK(s->result != AUTH_UNSET && s->b_show <= strlen(s->b_start));
		if (s->result == AUTH_PASS)
			CHECK(dkim_tags_parse(key, &t) == 0 && dkim_tag(&t, "p").n > 0 &&
			    dkim_list_count(s->h, SLICE_LIT("from")) > 0);
	}
	dnsview_fini(&v);
	buf_fini(&answers);
	return 0;
}
