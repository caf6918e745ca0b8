// SPDX-License-Identifier: Apache-2.0
/*
 * Forward copies of any message, in each form: what we sign and seal has to verify with
 * our own validators, over the copy as it will arrive. The first octet chooses the form
 * and the verdicts.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"
#include "policy/arc_verify.h"
#include "policy/dkim.h"
#include "policy/forward.h"
#include "policy/triage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made for this file; it signs nothing else. */
static const char pem[] =
	"-----BEGIN RSA PRIVATE KEY-----\n"
	"MIICXQIBAAKBgQDvnWbt4YbAxUmyw6XPINgEvXdc64ZkTy8tzbybEhz5+71UA3c2\n"
	"nw1UHhLNXU6nMK4UedwXNGmv2vZYC7RFMAiM1Xdv2gq0Xw1hywBBKhpmyG2dqhUV\n"
	"DdGHDNXxMSrYxGdbkeSMG7z/wUmqHH0mcgfPuFciug+f2NcCAikvU+zqUwIDAQAB\n"
	"AoGAWvVXU0nfS2IY/eFDGgOPvQznOMC3fXCJqkuFIyCXG1YyoqfGI1fxSVM5M/gN\n"
	"mW3jRyaTI8Pjsrvd88JNpk37kC6TVX2w1zWPv96RQjVAD1Ueafpz5fKiQ3bfGErC\n"
	"UtU/bWakhU9EcF/91A2MxkchEI/Z8RGVGb+PyRlsbDN8cuECQQD6xhlb4hIFRJYf\n"
	"uiobxGvDq5aZaGox6LSAweci3bHIEOdBx1+Ff7X3SAuwxBYBi4QpVhtR6jtafnVQ\n"
	"voAcZE4pAkEA9JvE1aSKKiF7hovz4PlNBPymY9IZXtcKOeUVVd+wbR2lSyzrLzdi\n"
	"pVR0YaFGZvvwLAxRcIVDWiuYWYXK8JDMGwJAPbxjJdGj6hQWeT0VfLyAYy1s59ti\n"
	"uWK2fTQ/OMAnMj+nDvSMOYtVOslLx3qeiEbWhG6kTyhA8GhNbVFYrKSs8QJBANYw\n"
	"jDRzpxRrS0ouxLgMNTgXr++aquKUNH0rrvoKLOfvXK0uQSaQPg39nQdcfFRzagR4\n"
	"KNv5pVeQ8w/5CxKKCF8CQQDjAgTjc5TxeFPcws+tfYTp/qzMs40DK+vdGC1Ou3x0\n"
	"mXyof4j6mysFLIVZyk8xxKN98wAgNxRanxMAt2JvBb3n\n"
	"-----END RSA PRIVATE KEY-----\n";

static struct sign_key *key;
static struct arc_verify *arc;
static struct dkim *dkim;

/* As the listener does (spec 3.10). */
static void
normalize(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			CHECK(buf_puts(out, "\r\n") == 0);
			i++;
		} else if (s.p[i] == '\n') {
			CHECK(buf_puts(out, "\r\n") == 0);
		} else {
			/* 3.11: what has a NUL never gets here. And libopendkim takes VT and
			 * FF for white space, which RFC 6376 2.8 does not. */
			CHECK(buf_put(out, memchr("\r\0\v\f", s.p[i], 4) != NULL ? " " : &s.p[i],
			    1) == 0);
		}
	}
}

static void
assemble(const struct forward_copy *c, struct slice content, struct buf *out)
{
	struct slice list = buf_slice(&c->cuts);
	struct body_cut cut;
	uint64_t at = 0;
	int r;

	buf_init(out, content.n + 256 * 1024);
	CHECK(buf_put_slice(out, buf_slice(&c->prefix)) == 0);
	while ((r = wire_item_next(&list, &body_cut_wire, &cut)) == 1) {
		CHECK(cut.off >= at && cut.off + cut.len <= content.n);
		CHECK(buf_put_slice(out, slice_sub(content, at, cut.off)) == 0);
		at = cut.off + cut.len;
	}
	CHECK(r == 0 && buf_put_slice(out, slice_sub(content, at, content.n)) == 0);
	CHECK(buf_put_slice(out, buf_slice(&c->suffix)) == 0);
	if (out->n == out->off || out->p[out->n - 1] != '\n')
		CHECK(buf_puts(out, "\r\n") == 0);
}

/* Every key that is asked for is ours. */
static void
answer(struct dnsview *v, struct buf *out)
{
	struct buf rrs, text;
	struct dns_rr rr;

	buf_init(&rrs, DNS_RRS_MAX);
	buf_init(&text, 4096);
	CHECK(sign_key_record(key, &text) == 0);
	rr = (struct dns_rr){ .data = buf_slice(&text) };
	CHECK(wire_item_put(&rrs, &dns_rr_wire, &rr) == 0);
	buf_clear(out);
	for (size_t i = 0; i < v->nwant; i++) {
		struct dns_answer a = { .type = DNS_TXT, .rrs = buf_slice(&rrs),
			.name = slice_make(v->want[i].name, v->want[i].len) };

		(void)wire_item_put(out, &dns_answer_wire, &a);
	}
	CHECK(dnsview_load(v, buf_slice(out), true) == 0);
	buf_fini(&rrs);
	buf_fini(&text);
}

/* How many signatures and ARC fields there are above the content. */
static void
read_fields(struct slice msg, struct dnsview *v, struct buf *answers)
{
	struct header_field f;
	struct header h;

	dkim_start(dkim);
	arc_verify_start(arc);
	header_start(&h, msg);
	while (header_next(&h, &f)) {
		dkim_field(dkim, &f);
		arc_verify_field(arc, &f);
	}
	for (int i = 0; i < 2; i++) {
		dkim_keys(dkim, v, 1800000000);
		arc_verify_keys(arc, v, 1800000000);
		if (v->nwant > 0)
			answer(v, answers);
	}
	dkim_check(dkim, msg);
	arc_verify_check(arc, msg);
}

/* RFC 5322 4.5 allows it, RFC 6376 3.4.2 drops it, libopendkim does neither. */
static bool
blank_before_colon(struct slice msg)
{
	struct header_field f;
	struct header h;

	header_start(&h, msg);
	while (header_next(&h, &f)) {
		size_t colon = slice_find(f.raw, ':');

		if (colon > 0 && colon < f.raw.n && strchr(" \t", f.raw.p[colon - 1]) != NULL)
			return true;
	}
	return false;
}

/* Ours is the first signature. Whoever's is below it may be what it wants. */
static void
verify(struct slice msg, bool sealed, bool chained)
{
	struct dnsview v;
	struct buf answers;

	dnsview_init(&v);
	buf_init(&answers, DNS_ANSWERS_MAX);
	CHECK(dnsview_load(&v, SLICE_NONE, false) == 0);
	read_fields(msg, &v, &answers);
	fprintf(stderr, "RES %d %s\n%.*s\n", dkim_get(dkim,0)->result, dkim_get(dkim,0)->why, (int)msg.n, msg.p);
	/* libopendkim does not look at a message whose From is no address */
	CHECK(dkim_count(dkim) > 0 && (blank_before_colon(msg) ||
	    dkim_get(dkim, 0)->result == AUTH_PASS ||
	    strcmp(dkim_get(dkim, 0)->why, "not processed") == 0));
	if (sealed && !chained)
		CHECK(arc_verify_result(arc)->result == AUTH_PASS);
	buf_fini(&answers);
	dnsview_fini(&v);
}

static bool
has_chain(struct slice msg)
{
	struct header_field f;
	struct header h;

	header_start(&h, msg);
	while (header_next(&h, &f))
		if (slice_istarts(f.name, SLICE_LIT("ARC-")))
			return true;
	return false;
}

static void
classify(struct slice msg)
{
	const struct triage_facts facts = { .dmarc_pass = true, .size = msg.n, .nrcpt = 1 };
	struct header_field f;
	struct header h;
	struct triage t;
	struct triage_verdict v;

	triage_start(&t);
	header_start(&h, msg);
	while (header_next(&h, &f))
		triage_field(&t, &f);
	v = triage_judge(&t, &facts);
	CHECK(v.class <= 3 && v.rule >= 2 && v.rule <= 10);
}

/* A copy that comes back is known as ours, and as no other leg's (9.1). */
static void
know_again(const struct forward_keys *keys, const struct forward_request *rq, struct slice copy,
    struct slice prefix)
{
	struct forward_request back = *rq;
	struct token_leg leg;
	enum forward_tag tag;

	back.content = copy;
	tag = forward_tag_read(keys, &back, &leg);
	CHECK(tag != FORWARD_TAG_COPY || leg.rcpt_index == 7);
	if (memmem(prefix.p, prefix.n, "\nX-Fwd-Loop: ", 13) != NULL)
		CHECK(tag != FORWARD_TAG_NONE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sign_body *body;
	static const uint32_t policy[] = { 0, ENV_QUARANTINE, ENV_REJECT,
		ENV_REJECT | ENV_SIGNED_DNT };
	const char *why;
	char token[SRS_TOKEN_LEN + 1];
	struct token_leg leg;
	struct forward_copy c;
	struct buf out, clean;

	if (key == NULL) {
		key = sign_key_new(SLICE_LIT(pem), &why);
		arc = arc_verify_new();
		dkim = dkim_new();
		body = sign_body_new();
	}
	if (size == 0)
		return 0;
	buf_init(&clean, 2 * size);
	normalize(slice_make(data + 1, size - 1), &clean);
	struct slice content = buf_slice(&clean);
	const struct forward_keys keys = {
		.srs = { .secret = { SLICE_LIT("s") }, .nsecret = 1, .domain = SLICE_LIT("f.it"),
			.node = SLICE_LIT("n"), .hash_length = 8, .hash_min = 8,
			.max_age_days = 21, .separator = '=' },
		.dkim = key, .selector = SLICE_LIT("s"), .arc = key,
		.arc_selector = SLICE_LIT("s"), .body = body
	};
	const struct envelope env = {
		.version = ENVELOPE_VERSION, .mail_from = SLICE_LIT("a@b.it"), .dmarc = AUTH_PASS,
		.spf = AUTH_PASS, .flags = policy[data[0] & 3],
		.arc = (data[0] & 4) != 0 ? AUTH_PASS : AUTH_NONE,
		.authres = SLICE_LIT("mx; none"), .trace = SLICE_LIT("Received: x\r\n")
	};
	const struct envelope_rcpt rcpt = {
		.address = SLICE_LIT("m@p.it"), .user = SLICE_LIT("m@p.it"),
		.domain = SLICE_LIT("p.it")
	};
	token_seal(keys.srs.secret[0], &(struct token_leg){ .rcpt_index = 7 }, token);
	struct forward_request rq = {
		.env = &env, .rcpt = &rcpt, .content = content, .now_ms = 1700000000000,
		.token = slice_str(token),
		.form = { .mode = (enum rewrite_mode)((data[0] >> 3) % 5) }
	};

	classify(content);
	(void)forward_tag_read(&keys, &rq, &leg);
	forward_copy_init(&c);
	if (forward_build(&keys, &rq, &c) == FORWARD_OK) {
		assemble(&c, content, &out);
		if (memmem(c.prefix.p + c.prefix.off, 14, "DKIM-Signature", 14) != NULL || c.sealed)
			verify(buf_slice(&out), c.sealed, has_chain(content));
		know_again(&keys, &rq, buf_slice(&out), buf_slice(&c.prefix));
		buf_fini(&out);
	} else {
		CHECK(c.reason[0] != '\0');
	}
	forward_copy_fini(&c);
	buf_fini(&clean);
	return 0;
}
