// SPDX-License-Identifier: Apache-2.0
/* The LDIF parser in two pieces must say what it says in one; values stay in bounds and are
 * of what was asked for. */
#include <stdlib.h>

#include "base/buf.h"
#include "policy/ldif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const wanted[] = { "mail", NULL, "alias", "recovery;x-opt" };

static int
collect(void *arg, const struct ldif_entry *e)
{
	if (e->n > LDIF_VALUES_MAX || (e->error != NULL && e->n != 0) || e->line == 0 ||
	    buf_printf(arg, "%llu%s", (unsigned long long)e->line,
	    e->error == NULL ? "" : e->error) != 0)
		abort();
	for (size_t i = 0; i < e->n; i++)
		if (e->value[i].attribute >= 4 || e->value[i].attribute == 1 ||
		    slice_find(e->value[i].text, '\0') != e->value[i].text.n ||
		    buf_printf(arg, "%u", e->value[i].attribute) != 0 ||
		    buf_put_slice(arg, e->value[i].text) != 0 || buf_puts(arg, "|") != 0)
			abort();
	return 0;
}

static void
run(struct slice s, size_t cut, struct buf *out)
{
	struct ldif *l = ldif_new(wanted, 4, collect, out);

	if (ldif_feed(l, slice_sub(s, 0, cut)) != 0 || ldif_feed(l, slice_sub(s, cut, s.n)) != 0 ||
	    ldif_end(l) != 0)
		abort();
	ldif_free(&l);
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
