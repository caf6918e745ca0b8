// SPDX-License-Identifier: Apache-2.0
/* ARC-Authentication-Results (RFC 8617 4.1.1, RFC 8601 2.2), as far as dmarc= goes. */
#include "policy/arc_verify_priv.h"

#include "policy/address.h"
#include "policy/authres_read.h"

unsigned
arc_aar_instance(struct slice value, struct slice *payload)
{
	struct slice name, digits;
	uint64_t n;

	*payload = SLICE_NONE;
	if (!authres_take_word(&value, &name) || !slice_eq(name, SLICE_LIT("i")) ||
	    !authres_take(&value, '=') || !authres_skip_cfws(&value))
		return 0;
	digits = slice_sub(value, 0, 0);
	while (digits.n < value.n && value.p[digits.n] >= '0' && value.p[digits.n] <= '9')
		digits.n++;
	value = slice_sub(value, digits.n, value.n);
	if (!authres_skip_cfws(&value) || !authres_take(&value, ';') || digits.n > 2 ||
	    slice_u64(digits, &n) != 0 || n > ARC_VERIFY_SETS_MAX)
		return 0;
	*payload = value;
	return (unsigned)n;
}

/* The results that dmarc= can have (RFC 9989 9.1). */
static enum auth_result
dmarc_result(const struct authres_found *f)
{
	enum auth_result r = authres_found_result(f);

	return r == AUTH_SOFTFAIL || r == AUTH_NEUTRAL || r == AUTH_POLICY ? AUTH_UNSET : r;
}

/*
 * Anything that is not in order makes the whole payload worthless: what a sealer copied
 * from its own network must not be able to move the borders.
 */
void
arc_aar_dmarc(struct slice s, struct arc_verify_dmarc *out)
{
	enum auth_result found = AUTH_UNSET;
	struct authres_found f;
	struct slice id;
	int r;

	*out = (struct arc_verify_dmarc){ .result = AUTH_UNSET };
	if (authres_read_id(&s, &id) != 0)
		return;
	while ((r = authres_read_next(&s, &f)) == 1) {
		struct slice from = authres_found_property(&f, "header.from");

		if (!slice_ieq(f.method, SLICE_LIT("dmarc")))
			continue;
		if (found != AUTH_UNSET)
			return;			/* two verdicts are none */
		found = dmarc_result(&f);
		if (from.p != NULL &&
		    address_domain_canonical(from, out->from, sizeof(out->from)) != 0)
			return;
	}
	if (r == 0)
		out->result = found;
}
