// SPDX-License-Identifier: Apache-2.0
/* What the tests of munged and wrapped copies share: an envelope, the copy put together. */
#ifndef TESTS_POLICY_REWRITE_KIT_H
#define TESTS_POLICY_REWRITE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/mime.h"
#include "policy/rewrite.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Sun, 22 Nov 2026 20:36:00 +0100 */
#define NOW	INT64_C(1795376160000)
#define TOKEN	"0f3k9qv2m7c1t8ubd5g6h4jn"
#define OURS	"<fwd+" TOKEN "@fwd.example.it>"

struct bench {
	struct envelope		env;
	struct envelope_rcpt	rcpt;
	struct rewrite_request	rq;
	struct rewrite_copy	copy;
	struct buf		env_cuts;
};

static inline void
reset(struct bench *b, struct slice content)
{
	b->env = (struct envelope){
		.version = ENVELOPE_VERSION, .received_ms = NOW - 3600000, .body_size = content.n,
		.mail_from = SLICE_LIT("bounce@esp.example"), .spf = AUTH_PASS, .dmarc = AUTH_PASS
	};
	memset(b->env.id.b, 7, sizeof(b->env.id.b));
	b->rcpt = (struct envelope_rcpt){
		.kind = RCPT_USER, .address = SLICE_LIT("mario@example.it"),
		.user = SLICE_LIT("mario@example.it"), .domain = SLICE_LIT("example.it")
	};
	b->rq = (struct rewrite_request){
		.env = &b->env, .rcpt = &b->rcpt, .content = content,
		.domain = SLICE_LIT("fwd.example.it"), .brand = SLICE_LIT("Posta Esempio"),
		.token = SLICE_LIT(TOKEN), .now_ms = NOW
	};
	rewrite_copy_fini(&b->copy);
	rewrite_copy_init(&b->copy);
	buf_fini(&b->env_cuts);
	buf_init(&b->env_cuts, 4096);
}

static inline int
setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));

	setenv("TZ", "Europe/Rome", 1);
	rewrite_copy_init(&b->copy);
	*state = b;
	return 0;
}

static inline int
teardown(void **state)
{
	struct bench *b = *state;

	rewrite_copy_fini(&b->copy);
	buf_fini(&b->env_cuts);
	free(b);
	return 0;
}

static inline void
add_env_cut(struct bench *b, const char *text)
{
	const char *at = memmem(b->rq.content.p, b->rq.content.n, text, strlen(text));
	struct body_cut c = { (uint64_t)(at - b->rq.content.p), strlen(text) };

	assert_non_null(at);
	assert_int_equal(wire_item_put(&b->env_cuts, &body_cut_wire, &c), 0);
	b->env.cuts = buf_slice(&b->env_cuts);
}

/* The copy as it would be sent. */
static inline void
assemble(const struct bench *b, struct buf *out)
{
	struct slice list = buf_slice(&b->copy.cuts), content = b->rq.content;
	struct body_cut c;
	uint64_t at = 0;
	int r;

	buf_init(out, 8 * 1024 * 1024);
	assert_int_equal(buf_put_slice(out, buf_slice(&b->copy.prefix)), 0);
	while ((r = wire_item_next(&list, &body_cut_wire, &c)) == 1) {
		assert_true(c.off >= at && c.len > 0 && c.off + c.len <= content.n);
		assert_int_equal(buf_put_slice(out, slice_sub(content, at, c.off)), 0);
		at = c.off + c.len;
	}
	assert_int_equal(r, 0);
	assert_int_equal(buf_put_slice(out, slice_sub(content, at, content.n)), 0);
	assert_int_equal(buf_put_slice(out, buf_slice(&b->copy.suffix)), 0);
	assert_true(b->copy.eightbit || !mime_has_8bit(buf_slice(out)));
}

static inline void
expect(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_str(want)))
		fprintf(stderr, "got  '%.*s'\nwant '%s'\n", SLICE_FMT(got), want);
	assert_true(slice_eq(got, slice_str(want)));
}

static inline bool
has(struct slice s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static inline void
expect_has(struct slice s, const char *what)
{
	if (!has(s, what))
		fprintf(stderr, "'%s' is not in:\n%.*s", what, SLICE_FMT(s));
	assert_true(has(s, what));
}

static inline struct slice
wrapped(struct bench *b, struct buf *out)
{
	enum rewrite_result r = rewrite_wrap(&b->rq, &b->copy);
	struct slice s;

	if (r != REWRITE_OK)
		fprintf(stderr, "%s\n", b->copy.reason);
	assert_int_equal(r, REWRITE_OK);
	assert_int_equal(buf_len(&b->copy.cuts), 0);
	assemble(b, out);
	s = buf_slice(out);
	/* the header is what it says, and an empty line follows */
	assert_true(slice_eq(slice_sub(s, b->copy.header, b->copy.header + 2), SLICE_LIT("\r\n")));
	return s;
}

static inline void
write_file(const char *dir, const char *name, int n, struct slice s)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, n);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

#endif
