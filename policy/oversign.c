// SPDX-License-Identifier: Apache-2.0
#include "policy/oversign.h"

static unsigned
name_count(struct slice name, struct slice list)
{
	unsigned n = 0;

	while (list.n > 0) {
		size_t end = slice_find(list, ':');

		n += slice_ieq(slice_trim(slice_sub(list, 0, end)), name);
		list = slice_sub(list, end + 1, list.n);
	}
	return n;
}

unsigned
oversign_listed(struct slice signature, struct slice name)
{
	unsigned most = 0;

	while (signature.n > 0) {
		size_t end = slice_find(signature, ';');
		struct slice tag = slice_sub(signature, 0, end);
		size_t eq = slice_find(tag, '=');

		signature = slice_sub(signature, end + 1, signature.n);
		if (eq < tag.n && slice_eq(slice_trim(slice_sub(tag, 0, eq)), SLICE_LIT("h"))) {
			unsigned n = name_count(name, slice_sub(tag, eq + 1, tag.n));

			/* with two h= nobody knows which one counts */
			most = n > most ? n : most;
		}
	}
	return most;
}
