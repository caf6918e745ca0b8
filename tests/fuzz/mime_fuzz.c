// SPDX-License-Identifier: Apache-2.0
/*
 * Text of strangers in fields that we write: encoded words decoded to clean UTF-8, written
 * again as phrase and as unstructured text, which must read the same; quoted-printable and
 * xtext both ways.
 */
#include <stdint.h>

#include "base/mem.h"
#include "policy/mime_text.h"

enum { OUT_MAX = 4 * 1024 * 1024, LINE_MAX_OCTETS = 998 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines of a header or of a body: short enough, and no CR or LF alone. */
static void
check_lines(struct slice s, bool folded)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++, line++) {
		CHECK(line <= LINE_MAX_OCTETS);
		CHECK(s.p[i] != '\0' && (unsigned char)s.p[i] < 0x80);
		if (s.p[i] == '\r')
			CHECK(i + 1 < s.n && s.p[i + 1] == '\n');
		if (s.p[i] != '\n')
			continue;
		CHECK(i > 0 && s.p[i - 1] == '\r');
		CHECK(!folded || (i + 1 < s.n && (s.p[i + 1] == ' ' || s.p[i + 1] == '\t')));
		line = 0;
	}
}

static void
check_clean(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		CHECK((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
}

static void
check_words(struct slice in, size_t max)
{
	struct mime_text t, again;
	struct slice text;
	struct buf out;

	mime_text_start(&t, max);
	mime_text_words(&t, in);
	text = mime_text_get(&t);
	CHECK(text.n <= max);
	check_clean(text);
	buf_init(&out, OUT_MAX);
	CHECK(mime_put_phrase(&out, text) == 0);
	check_lines(buf_slice(&out), true);
	buf_clear(&out);
	CHECK(mime_put_unstructured(&out, text) == 0);
	check_lines(buf_slice(&out), true);
	mime_text_start(&again, MIME_TEXT_MAX);
	mime_text_words(&again, buf_slice(&out));
	CHECK(slice_eq(mime_text_get(&again), text));
	buf_fini(&out);
}

static void
check_qp(struct slice in)
{
	struct buf out, back;

	buf_init(&out, OUT_MAX);
	buf_init(&back, OUT_MAX);
	(void)mime_unqp(&out, in);
	(void)mime_unxtext(&back, in);
	CHECK(buf_len(&out) <= in.n + 2 && buf_len(&back) <= in.n);
	buf_clear(&out);
	buf_clear(&back);
	CHECK(mime_put_qp(&out, in) == 0);
	check_lines(buf_slice(&out), false);
	CHECK(mime_unqp(&back, buf_slice(&out)) == 0);
	CHECK(slice_eq(buf_slice(&back), in));
	buf_fini(&out);
	buf_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);

	if (size == 0)
		return 0;
	check_words(slice_sub(in, 1, in.n), 1 + (size_t)data[0] * 4);
	check_qp(slice_sub(in, 1, in.n));
	return 0;
}
