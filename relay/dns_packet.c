// SPDX-License-Identifier: Apache-2.0
/*
 * Names inside a message are decompressed into text once per use and compared as text.
 * A compression pointer must point before itself, so following one always comes to an
 * end (RFC 1035 4.1.4 allows only a prior occurrence).
 */
#include <stdio.h>
#include <string.h>

#include "relay/dns_packet.h"

enum {
	PACKET_HEAD = 12,
	PACKET_TEXT = 1024,	/* a name of 255 octets, each as \DDD */
	PACKET_JUMPS = 64,
	PACKET_AD = 0x20, PACKET_TC = 0x02, PACKET_QR = 0x80,
	DNS_SOA = 6, DNS_CLASS_IN = 1,
	DNS_TTL_DEFAULT_S = 0,	/* negative answer without SOA: not cached (RFC 2308 5) */
};

struct packet_rr {
	char		owner[PACKET_TEXT];
	uint16_t	type, class;
	uint32_t	ttl_s;
	size_t		data;	/* offset of rdata */
	size_t		n;	/* its bytes */
};

int
dns_name_clean(struct slice in, char out[DNS_NAME_MAX + 1])
{
	size_t i, label = 0;

	out[0] = '\0';
	if (in.n > 0 && in.p[in.n - 1] == '.')
		in.n--;
	if (in.n == 0 || in.n > DNS_NAME_MAX)
		return -1;
	for (i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if (c < 32 || c == 127 || c == '\\')
			return -1;
		if (c == '.') {
			if (label == 0)
				return -1;
			label = 0;
		} else if (++label > 63) {
			return -1;
		}
	}
	if (label == 0)
		return -1;
	memcpy(out, in.p, in.n);
	out[in.n] = '\0';
	bytes_lower(out, in.n);
	return 0;
}

static void
packet_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

size_t
dns_packet_query(uint8_t out[DNS_QUERY_MAX], uint16_t id, const char *name,
    uint16_t type, bool edns)
{
	struct slice rest = slice_str(name);
	size_t at = PACKET_HEAD, dot;

	memset(out, 0, DNS_QUERY_MAX);
	packet_put16(out, id);
	out[2] = 0x01;		/* RD */
	out[3] = PACKET_AD;	/* tell us whether you validated (RFC 6840 5.7) */
	packet_put16(out + 4, 1);
	while (rest.n > 0) {
		dot = slice_find(rest, '.');
		if (dot == 0 || dot > 63 || at + 1 + dot > PACKET_HEAD + 254)
			return 0;
		out[at++] = (uint8_t)dot;
		memcpy(out + at, rest.p, dot);
		at += dot;
		rest = slice_sub(rest, dot + 1, rest.n);
	}
	out[at++] = 0;
	packet_put16(out + at, type);
	packet_put16(out + at + 2, DNS_CLASS_IN);
	at += 4;
	if (edns) {
		packet_put16(out + 10, 1);
		packet_put16(out + at + 1, 41);		/* OPT, root name */
		packet_put16(out + at + 3, DNS_EDNS_SIZE);
		at += 11;
	}
	return at;
}

static int
packet_u16(struct slice m, size_t *at, unsigned *v)
{
	const uint8_t *p;

	if (m.n - *at < 2)
		return -1;
	p = (const uint8_t *)m.p + *at;
	*v = (unsigned)p[0] << 8 | p[1];
	*at += 2;
	return 0;
}

static int
packet_u32(struct slice m, size_t *at, uint32_t *v)
{
	unsigned hi, lo;

	if (packet_u16(m, at, &hi) != 0 || packet_u16(m, at, &lo) != 0)
		return -1;
	*v = (uint32_t)hi << 16 | lo;
	return 0;
}

/* One label's octets as text: what is not letter, digit, '-', '_' becomes \DDD, so a dot
 * inside a label cannot pass for a label's end. */
static size_t
packet_label(const uint8_t *p, size_t n, char *out)
{
	size_t i, o = 0;

	for (i = 0; i < n; i++) {
		char c = ascii_lower((char)p[i]);

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
			out[o++] = c;
		else
			o += (size_t)snprintf(out + o, 5, "\\%03u", p[i]);
	}
	return o;
}

/* The name at *at as text; *at moves behind it. 0 or -1. */
static int
packet_name(struct slice m, size_t *at, char out[PACKET_TEXT])
{
	const uint8_t *b = (const uint8_t *)m.p;
	size_t pos = *at, o = 0, wire = 0, to;
	unsigned jumps = 0;
	bool jumped = false;

	for (;;) {
		if (pos >= m.n)
			return -1;
		if ((b[pos] & 0xc0) == 0xc0) {
			if (pos + 1 >= m.n)
				return -1;
			to = (size_t)(b[pos] & 0x3f) << 8 | b[pos + 1];
			if (to >= pos || ++jumps > PACKET_JUMPS)
				return -1;
			if (!jumped)
				*at = pos + 2;
			jumped = true;
			pos = to;
			continue;
		}
		if (b[pos] > 63)
			return -1;
		if (b[pos] == 0)
			break;
		wire += b[pos] + 1u;
		if (wire > 254 || pos + 1 + b[pos] > m.n)
			return -1;
		if (o > 0)
			out[o++] = '.';
		o += packet_label(b + pos + 1, b[pos], out + o);
		pos += 1u + b[pos];
	}
	if (!jumped)
		*at = pos + 1;
	out[o] = '\0';
	return 0;
}

static int
packet_rr(struct slice m, size_t *at, struct packet_rr *r)
{
	unsigned type, class, n;

	if (packet_name(m, at, r->owner) != 0 || packet_u16(m, at, &type) != 0 ||
	    packet_u16(m, at, &class) != 0 || packet_u32(m, at, &r->ttl_s) != 0 ||
	    packet_u16(m, at, &n) != 0 || n > m.n - *at)
		return -1;
	if (r->ttl_s > INT32_MAX)	/* RFC 2181 8 */
		r->ttl_s = 0;
	r->type = (uint16_t)type;
	r->class = (uint16_t)class;
	r->data = *at;
	r->n = n;
	*at += n;
	return 0;
}

/* A name that must fill the rdata from `at` on exactly. */
static int
packet_rdata_name(struct slice m, const struct packet_rr *r, size_t at, char out[PACKET_TEXT])
{
	if (packet_name(slice_sub(m, 0, r->data + r->n), &at, out) != 0 || at != r->data + r->n)
		return -1;
	return strlen(out) <= DNS_NAME_MAX ? 0 : -1;
}

/* TXT: the strings joined (RFC 7208 3.3). `m` is at most 64 KiB, out is bounded. */
static int
packet_txt(struct slice rdata, char *out, size_t *n)
{
	size_t at = 0, len;

	*n = 0;
	while (at < rdata.n) {
		len = (uint8_t)rdata.p[at++];
		if (len > rdata.n - at || *n + len > DNS_RRS_MAX)
			return -1;
		memcpy(out + *n, rdata.p + at, len);
		*n += len;
		at += len;
	}
	return 0;
}

static int
packet_put(struct slice m, const struct packet_rr *r, struct buf *rrs)
{
	char text[DNS_RRS_MAX];		/* also a name of PACKET_TEXT */
	struct slice rdata = slice_sub(m, r->data, r->data + r->n);
	struct dns_rr rr = { 0, rdata };
	size_t at = r->data, n;
	unsigned pref;

	switch (r->type) {
	case DNS_A:
	case DNS_AAAA:
		if (r->n != (r->type == DNS_A ? 4 : 16))
			return -1;
		break;
	case DNS_MX:
		if (r->n < 3 || packet_u16(m, &at, &pref) != 0)
			return -1;
		rr.pref = (uint16_t)pref;
		/* fallthrough */
	case DNS_CNAME:
	case DNS_PTR:
		if (packet_rdata_name(m, r, at, text) != 0)
			return -1;
		rr.data = slice_str(text);
		break;
	case DNS_TXT:
		if (packet_txt(rdata, text, &n) != 0)
			return -1;
		rr.data = slice_make(text, n);
		break;
	default:
		break;
	}
	return wire_item_put(rrs, &dns_rr_wire, &rr);
}

static void
packet_ttl(struct dns_packet *p, uint32_t ttl_s)
{
	if (ttl_s < p->ttl_s)
		p->ttl_s = ttl_s;
}

/* From `cur` on to the end of its CNAME chain. 0, -1 for a loop or a broken record. */
static int
packet_chain(struct slice m, size_t start, unsigned count, char cur[PACKET_TEXT],
    struct dns_packet *p)
{
	struct packet_rr r;
	unsigned hops, i;
	bool moved = true;
	size_t at;

	for (hops = 0; moved; hops++) {
		if (hops > DNS_CHAIN_MAX)
			return -1;
		moved = false;
		at = start;
		for (i = 0; i < count && !moved; i++) {
			if (packet_rr(m, &at, &r) != 0)
				return -1;
			if (r.type != DNS_CNAME || r.class != DNS_CLASS_IN ||
			    strcmp(r.owner, cur) != 0)
				continue;
			if (packet_rdata_name(m, &r, r.data, cur) != 0)
				return -1;
			packet_ttl(p, r.ttl_s);
			moved = true;
		}
	}
	return 0;
}

/* RFC 2308 5: the lesser of the SOA's TTL and its MINIMUM. */
static void
packet_negative(struct slice m, size_t at, unsigned count, struct dns_packet *p)
{
	struct packet_rr r;
	uint32_t minimum;
	unsigned i;
	size_t in;

	for (i = 0; i < count; i++) {
		if (packet_rr(m, &at, &r) != 0)
			break;
		if (r.type != DNS_SOA || r.n < 22)
			continue;
		in = r.data + r.n - 4;
		if (packet_u32(m, &in, &minimum) != 0 || minimum > INT32_MAX)
			break;
		packet_ttl(p, r.ttl_s);
		packet_ttl(p, minimum);
		return;
	}
	packet_ttl(p, DNS_TTL_DEFAULT_S);
}

/* Answer section: the chain, then all records of that type at its end. */
static int
packet_answers(struct slice m, size_t at, unsigned an, unsigned ns, const char *name,
    uint16_t type, struct dns_packet *p, struct buf *rrs)
{
	char cur[PACKET_TEXT];
	struct packet_rr r;
	size_t start = at;
	unsigned i, found = 0;

	(void)snprintf(cur, sizeof(cur), "%s", name);
	if (type != DNS_CNAME && packet_chain(m, start, an, cur, p) != 0)
		return -1;
	for (i = 0; i < an; i++) {
		if (packet_rr(m, &at, &r) != 0)
			return -1;
		if (r.type != type || r.class != DNS_CLASS_IN || strcmp(r.owner, cur) != 0)
			continue;
		if (p->status != DNS_OK || packet_put(m, &r, rrs) != 0)
			return -1;
		packet_ttl(p, r.ttl_s);
		found++;
	}
	if (found == 0)
		packet_negative(m, at, ns, p);
	return 0;
}

/* Our name as packet_name would print it: the octets it escapes are legal in ours. */
static void
packet_canonical(const char *name, char out[PACKET_TEXT])
{
	size_t o = 0;

	for (; *name != '\0'; name++) {
		if (*name == '.')
			out[o++] = '.';
		else
			o += packet_label((const uint8_t *)name, 1, out + o);
	}
	out[o] = '\0';
}

static int
packet_read(struct slice m, const char *name, uint16_t type, struct dns_packet *p,
    struct buf *rrs)
{
	char asked[PACKET_TEXT], mine[PACKET_TEXT];
	unsigned qd, an, ns, qtype, qclass;
	size_t at = 4;

	if (m.n < PACKET_HEAD || ((uint8_t)m.p[2] & PACKET_QR) == 0 ||
	    ((uint8_t)m.p[2] & PACKET_TC) != 0)
		return -1;
	p->rcode = (uint8_t)m.p[3] & 15;
	p->secure = ((uint8_t)m.p[3] & PACKET_AD) != 0;
	if (packet_u16(m, &at, &qd) != 0 || packet_u16(m, &at, &an) != 0 ||
	    packet_u16(m, &at, &ns) != 0 || qd != 1)
		return -1;
	at = PACKET_HEAD;
	packet_canonical(name, mine);
	if (packet_name(m, &at, asked) != 0 || packet_u16(m, &at, &qtype) != 0 ||
	    packet_u16(m, &at, &qclass) != 0 || qtype != type || strcmp(asked, mine) != 0)
		return -1;
	if (p->rcode != 0 && p->rcode != 3)
		return -1;
	if (an + ns > DNS_RECORDS_MAX)
		return -1;
	p->status = p->rcode == 3 ? DNS_NXDOMAIN : DNS_OK;
	return packet_answers(m, at, an, ns, mine, type, p, rrs);
}

void
dns_packet_read(struct slice msg, const char *name, uint16_t type,
    struct dns_packet *p, struct buf *rrs)
{
	memset(p, 0, sizeof(*p));
	p->ttl_s = UINT32_MAX;
	buf_clear(rrs);
	if (packet_read(msg, name, type, p, rrs) == 0)
		return;
	p->status = DNS_FAIL;
	p->secure = 0;
	buf_clear(rrs);
}
