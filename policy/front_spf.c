// SPDX-License-Identifier: Apache-2.0
#include "policy/front_spf.h"

#include "base/mem.h"
#include "policy/address.h"
#include "policy/authres_read.h"

/*
 * The front's own Received may stand above its field, as filters put theirs below. What is
 * under a second one came from somewhere else.
 */
enum { RECEIVED_ABOVE_MAX = 1 };

void
front_spf_start(struct front_spf *f, char *const *id, size_t nid, struct slice mail_from)
{
	*f = (struct front_spf){ .id = id, .nid = nid, .mail_from = mail_from,
	    .out = { .result = AUTH_NONE } };
}

void
front_spf_received(struct front_spf *f)
{
	f->received++;
}

static bool
trusted(const struct front_spf *f, struct slice id)
{
	for (size_t i = 0; i < f->nid; i++)
		if (slice_ieq(id, slice_str(f->id[i])))
			return true;
	return false;
}

/* A domain, or an address with one. */
static struct slice
domain_of(struct slice s)
{
	size_t at = slice_rfind(s, '@');

	return at < s.n ? slice_sub(s, at + 1, s.n) : s;
}

/* Is this the result about our sender? Then it goes to *out. The HELO that the front heard
 * is not known here. */
static bool
take(const struct front_spf *f, const struct authres_found *r, struct spf_output *out)
{
	bool helo = f->mail_from.n == 0;
	struct slice shown = authres_found_property(r, helo ? "smtp.helo" : "smtp.mailfrom");
	struct slice mine = domain_of(f->mail_from);
	char a[DNS_NAME_MAX + 1], b[DNS_NAME_MAX + 1];

	if (!slice_ieq(r->method, SLICE_LIT("spf")) || shown.p == NULL ||
	    address_domain_canonical(domain_of(shown), a, sizeof(a)) != 0)
		return false;
	if (!helo && (address_domain_canonical(mine, b, sizeof(b)) != 0 || strcmp(a, b) != 0))
		return false;
	*out = (struct spf_output){ .result = authres_found_result(r), .helo = helo };
	CHECK(slice_cstr(slice_str(a), out->domain, sizeof(out->domain)) == 0);
	return out->result != AUTH_UNSET;
}

void
front_spf_authres(struct front_spf *f, struct slice value)
{
	struct spf_output out = { .result = AUTH_NONE }, one;
	struct authres_found r;
	struct slice id;
	unsigned found = 0;
	int more;

	if (f->done || f->received > RECEIVED_ABOVE_MAX || authres_read_id(&value, &id) != 0 ||
	    !trusted(f, id))
		return;
	f->done = true;		/* further down anybody may have written it */
	while ((more = authres_read_next(&value, &r)) == 1) {
		if (!take(f, &r, &one))
			continue;
		out = one;
		found++;
	}
	if (more == 0 && found == 1)	/* two verdicts are none */
		f->out = out;
}
