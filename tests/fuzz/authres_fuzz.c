// SPDX-License-Identifier: Apache-2.0
/* A-R of strangers, and our own with values of strangers: one field, no controls. */
#include <stdlib.h>

#include "policy/authres.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_make(p, n), out;
	struct authres a;

	(void)authres_is_from(in, SLICE_LIT("mx.primary.example"));
	authres_init(&a);
	authres_start(&a, SLICE_LIT("mx.primary.example"));
	authres_result(&a, "spf", AUTH_PASS);
	authres_property(&a, "smtp.mailfrom", in);
	if (authres_end(&a, &out) == 0)
		for (size_t i = slice_find(out, '\t') + 1; i < out.n; i++)
			if (out.p[i] < ' ' || out.p[i] == 0x7f)
				abort();
	authres_fini(&a);
	return 0;
}
