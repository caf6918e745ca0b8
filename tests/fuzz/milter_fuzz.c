// SPDX-License-Identifier: Apache-2.0
/*
 * Everything a filter could answer, in pieces whose size the first byte chooses. Whatever
 * comes, a reply is one line of printable ASCII and a field is one field.
 */
#include <stdlib.h>
#include <string.h>

#include "relay/milter_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
look_at_field(struct slice data, bool index)
{
	struct slice name, value, out;
	struct buf b;

	if (milter_get_header(data, index, &name, &value) != 0)
		return;
	(void)milter_field_spam(name, value);
	buf_init(&b, 8192);
	if (milter_field_allowed(name) && milter_put_field(&b, name, value) == 0) {
		out = buf_slice(&b);
		if (out.n < 4 || memcmp(out.p + out.n - 2, "\r\n", 2) != 0)
			abort();
		for (size_t i = 0; i < out.n; i++) {
			bool line_end = i + 1 < out.n && out.p[i] == '\r' && out.p[i + 1] == '\n';

			if (line_end && i + 2 < out.n && out.p[i + 2] != '\t')
				abort();	/* the start of another field */
			if (line_end)
				i++;
			else if ((out.p[i] < ' ' && out.p[i] != '\t') || out.p[i] > '~')
				abort();
		}
	}
	buf_clear(&b);
	if (milter_put_header(&b, name, value, index) == 0 && buf_len(&b) < 7)
		abort();
	buf_fini(&b);
}

static void
look_at(const struct milter_frame *f)
{
	char reply[MILTER_REPLY_MAX];
	uint32_t steps;

	look_at_field(f->data, f->answer != MILTER_ADDHEADER);
	if (milter_get_optneg(f->data, &steps) == 0 && (steps & ~(uint32_t)MILTER_STEPS) != 0)
		abort();
	if (milter_reply(f->data, reply) != 0)
		return;
	if ((reply[0] != '4' && reply[0] != '5') || reply[3] != ' ' || strlen(reply) < 5)
		abort();
	for (const char *p = reply; *p != '\0'; p++) {
		if (*p < ' ' || *p > '~')
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct milter_reader r;
	struct milter_frame f;
	size_t piece = n > 0 ? data[0] + 1u : 1, at = 1, used;

	milter_reader_init(&r);
	while (at < n) {
		struct slice in = slice_sub(slice_make(data, n), at, at + piece);
		enum milter_read rd = milter_reader_feed(&r, in, &used, &f);

		if (rd == MILTER_NONSENSE)
			break;
		if (rd == MILTER_MORE && used != in.n)
			abort();
		at += used;
		if (rd == MILTER_FRAME)
			look_at(&f);
	}
	milter_reader_fini(&r);
	return 0;
}
