// SPDX-License-Identifier: Apache-2.0
#include "policy/dnsview.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { LABEL_MAX = 63 };

void
dnsview_init(struct dnsview *v)
{
	memset(v, 0, sizeof(*v));
}

void
dnsview_fini(struct dnsview *v)
{
	free(v->answer);
	free(v->want);
	dnsview_init(v);
}

int
dnsview_load(struct dnsview *v, struct slice answers, bool last)
{
	struct dns_answer a;
	int r;

	v->nanswer = 0;
	v->nwant = 0;
	v->last = last;
	while ((r = wire_item_next(&answers, &dns_answer_wire, &a)) == 1) {
		if (v->nanswer == v->cap) {
			v->cap = v->cap == 0 ? 32 : v->cap * 2;
			v->answer = mem_resize(v->answer, v->cap, sizeof(*v->answer));
		}
		v->answer[v->nanswer++] = a;
	}
	if (r < 0)
		v->nanswer = 0;
	return r;
}

bool
dnsview_name_ok(struct slice *name)
{
	size_t label = 0;

	if (name->n > 0 && name->p[name->n - 1] == '.')
		name->n--;
	if (name->n == 0 || name->n > DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i < name->n; i++) {
		unsigned char c = (unsigned char)name->p[i];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		/* A backslash would be an escape in the text form of names. Everything else is
		 * an octet of a label (RFC 2181 11); macros make spaces and 8-bit ones. */
		if (c < ' ' || c == 0x7f || c == '\\' || ++label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

bool
dnsview_name_plain(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return false;
	return dnsview_name_ok(&name);
}

/* The octet that "\\DDD" at the start of `s` stands for, 0 for none. */
static unsigned char
escaped_octet(struct slice s)
{
	uint64_t v;

	if (s.n < 4 || s.p[0] != '\\' || slice_u64(slice_sub(s, 1, 4), &v) != 0 || v > 255)
		return 0;
	return (unsigned char)v;
}

struct slice
dnsview_target(struct slice name, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < name.n && n < DNS_NAME_MAX; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c == '\\') {
			c = escaped_octet(slice_sub(name, i, name.n));
			i += 3;
			if (c < ' ' || c == 0x7f || c == '.' || c == '\\')
				return SLICE_NONE;
		}
		out[n++] = (char)c;
	}
	return slice_make(out, n);
}

static const struct dns_answer *
view_find(const struct dnsview *v, uint16_t type, struct slice name)
{
	for (size_t i = 0; i < v->nanswer; i++)
		if (v->answer[i].type == type && slice_ieq(v->answer[i].name, name))
			return &v->answer[i];
	return NULL;
}

/* False when there are too many wants already. */
static bool
view_want(struct dnsview *v, uint16_t type, struct slice name)
{
	struct dnsview_want *w;

	for (size_t i = 0; i < v->nwant; i++)
		if (v->want[i].type == type &&
		    slice_ieq(slice_make(v->want[i].name, v->want[i].len), name))
			return true;
	if (v->nwant == DNSVIEW_WANTS_MAX)
		return false;
	if (v->want == NULL)
		v->want = mem_array(DNSVIEW_WANTS_MAX, sizeof(*v->want));
	w = &v->want[v->nwant++];
	w->type = type;
	w->len = (uint16_t)name.n;
	memcpy(w->name, name.p, name.n);
	bytes_lower(w->name, name.n);
	return true;
}

int
dnsview_ask(struct dnsview *v, uint16_t type, struct slice name, struct slice *rrs)
{
	const struct dns_answer *a;

	*rrs = SLICE_NONE;
	if (!dnsview_name_ok(&name))
		return DNS_NXDOMAIN;
	a = view_find(v, type, name);
	if (a != NULL) {
		if (a->status == DNS_OK)
			*rrs = a->rrs;
		return a->status;
	}
	if (v->last || !view_want(v, type, name))
		return DNS_FAIL;
	return DNSVIEW_MISS;
}

void
dnsview_hint(struct dnsview *v, uint16_t type, struct slice name)
{
	if (!v->last && dnsview_name_ok(&name) && view_find(v, type, name) == NULL)
		(void)view_want(v, type, name);
}

int
dnsview_wants(const struct dnsview *v, struct buf *out)
{
	for (size_t i = 0; i < v->nwant; i++) {
		struct dns_want w = {
			.type = v->want[i].type,
			.name = slice_make(v->want[i].name, v->want[i].len),
		};

		if (wire_item_put(out, &dns_want_wire, &w) != 0)
			return -1;
	}
	return 0;
}

struct slice
dnsview_reverse(const uint8_t *ip, size_t len, char *out, size_t cap)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	CHECK(cap >= 80 && (len == 4 || len == 16));
	if (len == 4)
		return slice_make(out, (size_t)snprintf(out, cap, "%u.%u.%u.%u.in-addr.arpa",
		    ip[3], ip[2], ip[1], ip[0]));
	for (size_t i = 16; i-- > 0;) {
		out[n++] = hex[ip[i] & 15];
		out[n++] = '.';
		out[n++] = hex[ip[i] >> 4];
		out[n++] = '.';
	}
	memcpy(out + n, "ip6.arpa", sizeof("ip6.arpa"));
	return slice_make(out, n + 8);
}
