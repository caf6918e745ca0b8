// SPDX-License-Identifier: Apache-2.0
/*
 * relay.conf as text. It is an operator's, yet roles read what the supervisor prints, so
 * what is taken must come back the same: printed, read and printed again. What is refused is
 * refused with a line that names the file, and why.
 */
#include <stdint.h>

#include "base/conf.h"
#include "base/mem.h"

enum { ERRORS_MAX = 64 * 1024, TEXT_MAX = 4 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf *
parse(struct slice text, struct conf_errors *e)
{
	buf_init(&e->text, ERRORS_MAX);
	e->count = 0;
	return conf_parse(text, "fuzz.conf", e);
}

static void
print_again(struct slice first, struct buf *out)
{
	struct conf_errors e;
	struct conf *c = parse(first, &e);

	CHECK(c != NULL && e.count == 0);
	conf_print_text(c, out);
	conf_free(&c);
	buf_fini(&e.text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors e;
	struct conf *c = parse(slice_make((const char *)data, size), &e);
	struct buf first, second;

	CHECK((c == NULL) == (e.count > 0));
	if (c == NULL) {
		CHECK(slice_istarts(buf_slice(&e.text), SLICE_LIT("fuzz.conf:")));
		buf_fini(&e.text);
		return 0;
	}
	buf_init(&first, TEXT_MAX);
	buf_init(&second, TEXT_MAX);
	conf_print_text(c, &first);
	print_again(buf_slice(&first), &second);
	CHECK(slice_eq(buf_slice(&first), buf_slice(&second)));
	conf_free(&c);
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&e.text);
	return 0;
}
