// SPDX-License-Identifier: Apache-2.0
/*
 * The input is a message; every key that is asked for is the one that the seeds are
 * signed with (corpus/arc, made by arc_verify_cases.py). Nothing passes before the keys
 * are known, nobody is trusted without a pass, a failure has a reason.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "policy/arc_verify_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEY "v=DKIM1; k=rsa; p=" \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCxhBXaevVJ5Ov7c6drZPt1JAjF/rMeN1fh" \
	"EYj+nsCPsxK3tIx/pn/q/D7q+Dn+LzxS4ziWJo4D9nv3ngAQKc8M99LzaZBK68/wSkJHvO27" \
	"7g0PnrMFAEVWLlGSOEUTw2M2eKpqiTAhsAb5GiQNmD7MtFgkvdIpIDPSJDdJQzdODQIDAQAB"

static void
answer_all(struct dnsview *v, struct buf *out)
{
	struct dns_rr rr = { .data = SLICE_LIT(KEY) };
	struct buf rrs;

	buf_clear(out);
	buf_init(&rrs, DNS_RRS_MAX);
	CHECK(wire_item_put(&rrs, &dns_rr_wire, &rr) == 0);
	for (size_t i = 0; i < v->nwant; i++) {
		struct dns_answer a = { .type = DNS_TXT, .rrs = buf_slice(&rrs),
			.name = slice_make(v->want[i].name, v->want[i].len) };

		(void)wire_item_put(out, &dns_answer_wire, &a);
	}
	buf_fini(&rrs);
}

static void
feed(struct arc_verify *a, struct slice msg)
{
	struct header_field f;
	struct header h;

	arc_verify_start(a);
	header_start(&h, msg);
	while (header_next(&h, &f))
		arc_verify_field(a, &f);
}

/* What the verdict depends on, with fields as no chain in order would have them. */
static void
check_parts(struct slice msg)
{
	struct arc_verify_dmarc d;
	struct header_field f;
	struct slice payload;
	struct header h;
	struct buf out;

	buf_init(&out, 1 << 20);
	header_start(&h, msg);
	while (header_next(&h, &f)) {
		struct arc_sig s;

		arc_sig_read(&s, &f, f.value.n % 2 == 0, 1800000000);
		CHECK(strlen(s.domain) <= DNS_NAME_MAX);
		buf_clear(&out);
		if (s.b.n > 0 && arc_sig_unsigned(&out, &s, f.value.n % 3 == 0) == 0)
			CHECK(buf_len(&out) <= f.raw.n + 1);
		(void)arc_sig_is_bh(&s, (const uint8_t *)"01234567890123456789012345678901");
		if (arc_aar_instance(f.value, &payload) != 0)
			f.value = payload;
		arc_aar_dmarc(f.value, &d);
		CHECK(strlen(d.from) <= DNS_NAME_MAX);
	}
	CHECK(arc_body_length(slice_sub(msg, h.body, msg.n), true) <= msg.n + 2);
	CHECK(arc_body_length(slice_sub(msg, h.body, msg.n), false) <= msg.n + 2);
	buf_fini(&out);
}

static void
check_result(const struct arc_verify *a)
{
	const struct arc_verify_result *r = arc_verify_result(a);
	struct slice trusted = SLICE_LIT("hop1.example");
	unsigned who = arc_verify_trusted(a, &trusted, 1, SLICE_LIT("esp.example"));

	CHECK(r->result == AUTH_NONE || r->result == AUTH_PASS || r->result == AUTH_FAIL);
	CHECK((r->result == AUTH_FAIL) == (r->why[0] != '\0'));
	CHECK(r->sets <= ARC_VERIFY_SETS_MAX && r->oldest_pass <= r->sets);
	CHECK(!r->dns || r->result == AUTH_FAIL);
	if (r->result == AUTH_PASS)
		CHECK(r->sets > 0 && who <= r->sets);
	else
		CHECK(who == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice msg = slice_make(data, size);
	struct arc_verify *a;
	struct dnsview v;
	struct buf answers;

	if (size > 256 * 1024)
		return 0;
	check_parts(msg);
	a = arc_verify_new();
	dnsview_init(&v);
	buf_init(&answers, DNS_ANSWERS_MAX);
	feed(a, msg);
	arc_verify_keys(a, &v, 1800000000);
	CHECK(arc_verify_result(a)->result != AUTH_PASS);
	answer_all(&v, &answers);
	CHECK(dnsview_load(&v, buf_slice(&answers), true) == 0);
	feed(a, msg);
	arc_verify_keys(a, &v, 1800000000);
	arc_verify_check(a, msg);
	check_result(a);
	arc_verify_free(&a);
	dnsview_fini(&v);
	buf_fini(&answers);
	return 0;
}
