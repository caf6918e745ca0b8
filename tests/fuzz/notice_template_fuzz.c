// SPDX-License-Identifier: Apache-2.0
/* Any bytes as the text of a notice (spec 12.3): what passes the check is filled in whole,
 * within its bounds, as lines of text that hold no brace and no bare CR or LF. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "policy/notice_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		CHECK(s.p[i] != '{' && s.p[i] != '}' && s.p[i] != '\0');
		CHECK((s.p[i] == '\r') == (i + 1 < s.n && s.p[i + 1] == '\n'));
	}
	CHECK(s.n == 0 || s.p[s.n - 1] == '\n');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct notice_words w = { SLICE_LIT("a@b"), SLICE_LIT("brand"), SLICE_LIT("b"),
		SLICE_LIT("now"), SLICE_LIT("status") };
	enum notice_language l;
	unsigned line = 0;
	struct buf b;

	(void)notice_language_parse(in, &l);
	const char *why = notice_template_check(in, &line);
	CHECK(line > 0);
	if (why != NULL)
		return 0;
	buf_init(&b, NOTICE_TEXT_MAX);
	CHECK(notice_subject(in, &w, &b) == 0 && buf_len(&b) > 0);
	CHECK(slice_find(buf_slice(&b), '\n') == buf_len(&b));
	buf_clear(&b);
	CHECK(notice_text(in, &w, &b) == 0);
	check_text(buf_slice(&b));
	buf_clear(&b);
	w.status_page = SLICE_NONE;
	CHECK(notice_text(in, &w, &b) == 0);
	check_text(buf_slice(&b));
	buf_fini(&b);
	return 0;
}
