// SPDX-License-Identifier: Apache-2.0
/*
 * A little DNS for policy tests: a text with one record a line, "name TYPE data".
 * TYPE FAIL makes every question about the name fail. A name that is there with
 * other types is NODATA, any other is NXDOMAIN. TXT data is taken as it is.
 */
#ifndef TESTS_POLICY_ZONE_H
#define TESTS_POLICY_ZONE_H

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/dnsrr.h"
#include "base/mem.h"

struct zone_line {
	struct slice name, type, data;
};

static inline bool
zone_line_next(struct slice *text, struct zone_line *l)
{
	while (text->n > 0) {
		size_t nl = slice_find(*text, '\n'), a, b;
		struct slice s = slice_sub(*text, 0, nl);

		*text = slice_sub(*text, nl + 1, text->n);
		while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
			s = slice_sub(s, 1, s.n);
		a = slice_find(s, ' ');
		if (a == s.n)
			continue;
		l->name = slice_sub(s, 0, a);
		s = slice_sub(s, a + 1, s.n);
		b = slice_find(s, ' ');
		l->type = slice_sub(s, 0, b);
		l->data = slice_sub(s, b + 1, s.n);
		return true;
	}
	return false;
}

static inline uint16_t
zone_type(struct slice t)
{
	static const struct {
		const char *name;
		uint16_t type;
	} types[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX },
		{ "TXT", DNS_TXT }, { "PTR", DNS_PTR } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (slice_eq(t, slice_str(types[i].name)))
			return types[i].type;
	return 0;
}

static inline void
zone_rr(struct buf *rrs, uint16_t type, struct slice data)
{
	struct dns_rr rr = { .data = data };
	char text[128];
	uint8_t ip[16];

	if (type == DNS_A || type == DNS_AAAA) {
		CHECK(slice_cstr(data, text, sizeof(text)) == 0);
		CHECK(inet_pton(type == DNS_A ? AF_INET : AF_INET6, text, ip) == 1);
		rr.data = slice_make(ip, type == DNS_A ? 4 : 16);
	} else if (type == DNS_MX) {
		size_t sp = slice_find(data, ' ');

		rr.pref = 10;
		rr.data = sp < data.n ? slice_sub(data, sp + 1, data.n) : data;
		if (slice_eq(rr.data, SLICE_LIT(".")))
			rr.data = SLICE_LIT("");
	}
	CHECK(wire_item_put(rrs, &dns_rr_wire, &rr) == 0);
}

/* Appends the answer to one question. */
static inline void
zone_answer(const char *zone, uint16_t type, struct slice name, struct buf *out)
{
	struct dns_answer a = { .name = name, .type = type, .status = DNS_NXDOMAIN };
	struct slice text = slice_str(zone);
	struct zone_line l;
	struct buf rrs;

	buf_init(&rrs, DNS_RRS_MAX);
	while (zone_line_next(&text, &l)) {
		if (!slice_ieq(l.name, name))
			continue;
		if (slice_eq(l.type, SLICE_LIT("FAIL"))) {
			a.status = DNS_FAIL;
			buf_clear(&rrs);
			break;
		}
		a.status = DNS_OK;
		if (zone_type(l.type) == type)
			zone_rr(&rrs, type, l.data);
	}
	a.rrs = buf_slice(&rrs);
	CHECK(wire_item_put(out, &dns_answer_wire, &a) == 0);
	buf_fini(&rrs);
}

/* Answers all wants. */
static inline void
zone_answers(const char *zone, struct slice wants, struct buf *out)
{
	struct dns_want w;

	while (wire_item_next(&wants, &dns_want_wire, &w) == 1)
		zone_answer(zone, w.type, w.name, out);
}

#endif
