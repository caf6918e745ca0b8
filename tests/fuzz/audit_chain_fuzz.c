// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an audit log, cut into lines: the check ends, names at most one line, and
 * lines it takes for chained have the form it says. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "queue/audit_chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_make((const char *)data, size);
	struct audit_chain c;
	char prev[AUDIT_HEX], hash[AUDIT_HEX];
	uint64_t seq, lines = 0;

	audit_chain_init(&c);
	while (all.n > 0) {
		size_t end = slice_find(all, '\n');
		struct slice line = slice_sub(all, 0, end);
		bool whole = end < all.n;

		if (audit_chain_parse(line, &seq, prev, hash))
			CHECK(seq > 0 && strlen(prev) == 64 && strlen(hash) == 64);
		audit_chain_feed(&c, line, whole);
		lines++;
		all = slice_sub(all, whole ? end + 1 : end, all.n);
	}
	audit_chain_end(&c);
	CHECK(c.lines == lines && c.broken <= lines && strlen(c.head) == 64);
	return 0;
}
