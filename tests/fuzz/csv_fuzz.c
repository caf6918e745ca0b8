// SPDX-License-Identifier: Apache-2.0
/* The CSV parser in two pieces must say what it says in one; fields stay in bounds. */
#include <stdlib.h>

#include "base/buf.h"
#include "policy/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int
collect(void *arg, const struct csv_record *rec)
{
	if (rec->n > CSV_FIELDS_MAX || (rec->error != NULL) != (rec->n == 0) ||
	    buf_printf(arg, "%llu%s", (unsigned long long)rec->line,
	    rec->error == NULL ? "" : rec->error) != 0)
		abort();
	for (size_t i = 0; i < rec->n; i++)
		if (buf_put_slice(arg, rec->field[i]) != 0 || buf_puts(arg, "|") != 0)
			abort();
	return 0;
}

static void
run(struct slice s, size_t cut, struct buf *out)
{
	struct csv *c = csv_new(',', collect, out);

	if (csv_feed(c, slice_sub(s, 0, cut)) != 0 || csv_feed(c, slice_sub(s, cut, s.n)) != 0 ||
	    csv_end(c) != 0)
		abort();
	csv_free(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice s = slice_make(data, n);
	struct buf one, two;

	if (n > 1024 * 1024)
		return 0;
	buf_init(&one, 256 * 1024 * 1024);
	buf_init(&two, 256 * 1024 * 1024);
	run(s, n, &one);
	run(s, n == 0 ? 0 : data[0] % n, &two);
	if (!slice_eq(buf_slice(&one), buf_slice(&two)))
		abort();
	buf_fini(&one);
	buf_fini(&two);
	return 0;
}
