// SPDX-License-Identifier: Apache-2.0
/* A-R of strangers, and our own with values of strangers: one field, no controls. */
#include <stdlib.h>

#include "base/mem.h"
#include "policy/authres.h"
#include "policy/authres_read.h"
#include "policy/front_spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool
inside(struct slice s, struct slice all)
{
	return s.n == 0 || (s.p >= all.p && s.p + s.n <= all.p + all.n);
}

/* Reading ends, stays inside, and says of our sender only what a trusted name said. */
static void
check_reader(struct slice in)
{
	static char name[] = "mx1.example";
	char *ids[] = { name };
	struct slice s = in, id;
	struct authres_found f;
	struct front_spf front;

	front_spf_start(&front, ids, 1, SLICE_LIT("a@b.example"));
	front_spf_authres(&front, in);
	if (authres_read_id(&s, &id) != 0 || !slice_ieq(id, SLICE_LIT("mx1.example")))
		CHECK(front.out.result == AUTH_NONE && front.out.domain[0] == '\0');
	if (front.out.result != AUTH_NONE)
		CHECK(strcmp(front.out.domain, "b.example") == 0);
	while (authres_read_next(&s, &f) == 1) {
		CHECK(inside(f.method, in) && inside(f.result, in));
		for (size_t i = 0; i < f.nproperty; i++)
			CHECK(inside(f.property[i].name, in) && inside(f.property[i].value, in));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_make(p, n), out;
	struct authres a;

	check_reader(in);
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
