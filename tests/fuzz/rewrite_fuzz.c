// SPDX-License-Identifier: Apache-2.0
/*
 * Munge and wrap over any message: what comes out has one From, which is ours, and
 * the rest of the content to the octet; a wrapped one has exactly two parts. The same
 * content through our notifications, whose third part must give its header back.
 */
#include "base/mem.h"
#include "policy/dsn.h"
#include "policy/header.h"
#include "policy/mailbox.h"
#include "policy/mime.h"
#include "policy/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
assemble(const struct rewrite_copy *c, struct slice content, struct buf *out)
{
	struct slice list = buf_slice(&c->cuts);
	struct body_cut cut;
	uint64_t at = 0;

	buf_init(out, content.n + 256 * 1024);
	CHECK(buf_put_slice(out, buf_slice(&c->prefix)) == 0);
	while (wire_item_next(&list, &body_cut_wire, &cut) == 1) {
		CHECK(cut.off >= at && cut.len > 0 && cut.off + cut.len <= content.n);
		CHECK(buf_put_slice(out, slice_sub(content, at, cut.off)) == 0);
		at = cut.off + cut.len;
	}
	CHECK(buf_put_slice(out, slice_sub(content, at, content.n)) == 0);
	CHECK(buf_put_slice(out, buf_slice(&c->suffix)) == 0);
	CHECK(c->eightbit == mime_has_8bit(buf_slice(out)));
}

/* Our own part of it ends each line well and has no line that ends a header. */
static void
check_header(struct slice s)
{
	struct header h;
	struct header_field f;

	header_start(&h, s);
	while (header_next(&h, &f))
		;
	CHECK(h.pos == s.n && s.n > 2 && s.p[s.n - 1] == '\n' && s.p[s.n - 2] == '\r');
}

static void
check_munge(const struct rewrite_request *rq)
{
	struct rewrite_copy c;
	struct mailbox m;
	struct buf out;
	struct header h;
	struct header_field f;
	unsigned from = 0;

	rewrite_copy_init(&c);
	if (rewrite_munge(rq, &c) == REWRITE_OK) {
		check_header(buf_slice(&c.prefix));
		assemble(&c, rq->content, &out);
		header_start(&h, buf_slice(&out));
		while (header_next(&h, &f)) {
			if (!header_is(&f, "From"))
				continue;
			CHECK(from++ == 0 && mailbox_first(f.value, &m));
			CHECK(slice_eq(mime_text_get(&m.address), SLICE_LIT("fwd@f.it")));
		}
		CHECK(from == 1);
		CHECK(out.n - out.off >= 2 && !mime_has_8bit(slice_sub(buf_slice(&out), 0, 16)));
		buf_fini(&out);
	} else {
		CHECK(c.reason[0] != '\0' && buf_len(&c.prefix) == 0);
	}
	rewrite_copy_fini(&c);
}

static void
check_wrap(const struct rewrite_request *rq)
{
	struct mime_entity e, inner;
	struct rewrite_copy c;
	struct mime_parts p;
	struct slice part;
	struct buf out;

	rewrite_copy_init(&c);
	CHECK(rewrite_wrap(rq, &c) == REWRITE_OK);
	check_header(slice_sub(buf_slice(&c.prefix), 0, c.header));
	CHECK(mime_is_plain(buf_slice(&c.prefix)) && !mime_has_8bit(buf_slice(&c.prefix)));
	assemble(&c, rq->content, &out);
	mime_read(&e, buf_slice(&out));
	CHECK(mime_parts_start(&p, &e) == 0 && mime_parts_next(&p, &part) && p.closed);
	CHECK(mime_parts_next(&p, &part) && p.closed && p.last);
	mime_read(&inner, part);
	CHECK(slice_eq(inner.body, rq->content));
	buf_fini(&out);
	rewrite_copy_fini(&c);
}

static void
check_dsn(const struct rewrite_request *rq)
{
	const struct dsn_request q = {
		.env = rq->env, .rcpt = rq->rcpt,
		.action = DSN_FAILED, .status = SLICE_LIT("5.4.7"),
		.source = DSN_TEXT_PRIMARY, .text = slice_sub(rq->content, 0, 300),
		.content = rq->content, .mta = SLICE_LIT("mx.p.it"), .now_ms = rq->now_ms
	};
	struct mime_entity e;
	struct mime_parts p;
	struct slice part;
	struct header h;
	struct header_field f;
	struct buf text;
	struct dsn d;

	dsn_init(&d);
	CHECK(dsn_build(&q, &d) == 0);
	CHECK(mime_is_plain(buf_slice(&d.message)) && !mime_has_8bit(buf_slice(&d.message)));
	mime_read(&e, buf_slice(&d.message));
	CHECK(mime_parts_start(&p, &e) == 0 && mime_parts_next(&p, &part) && p.closed);
	CHECK(mime_parts_next(&p, &part) && p.closed);
	header_start(&h, rq->content);
	while (header_next(&h, &f))
		;
	if (h.pos > 0 && h.pos <= DSN_HEADER_MAX) {
		CHECK(mime_parts_next(&p, &part) && p.closed && p.last);
		mime_read(&e, part);
		buf_init(&text, DSN_MAX);
		CHECK(mime_decode(&e, &text) == 0);
		CHECK(slice_eq(buf_slice(&text), slice_sub(rq->content, 0, h.pos)));
		buf_fini(&text);
	}
	dsn_fini(&d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_make(p, n);
	struct envelope env = {
		.version = ENVELOPE_VERSION, .mail_from = SLICE_LIT("a@b.it"), .dmarc = AUTH_PASS,
		.envid = slice_sub(in, 6, 40)
	};
	struct envelope_rcpt rcpt = {
		.address = SLICE_LIT("m@p.it"), .domain = SLICE_LIT("p.it"),
		.orcpt = slice_sub(in, 6, 80)
	};
	struct rewrite_request rq = {
		.env = &env, .rcpt = &rcpt, .content = in, .domain = SLICE_LIT("f.it"),
		.brand = slice_sub(in, 4, 40)
	};
	struct mailbox m;

	if (mailbox_first(rq.content, &m))
		CHECK(mime_text_get(&m.address).n > 0 && m.nwords < MAILBOX_WORDS_MAX);
	check_munge(&rq);
	check_wrap(&rq);
	check_dsn(&rq);
	return 0;
}
