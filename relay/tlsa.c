// SPDX-License-Identifier: Apache-2.0
#include "relay/tlsa.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct tlsa {
	unsigned		refs;
	size_t			n;
	char			*bytes;		/* owned; what the records point into */
	struct tlsa_record	record[TLSA_RECORDS_MAX];
};

/* RFC 7672 3.1.3: PKIX-TA(0) and PKIX-EE(1) have no meaning for SMTP. */
static bool
tlsa_read(struct slice rdata, struct tlsa_record *r)
{
	static const size_t digest[] = { 0, 32, 64 };

	if (rdata.n < 4 || rdata.n - 3 > TLSA_DATA_MAX)
		return false;
	r->usage = (uint8_t)rdata.p[0];
	r->selector = (uint8_t)rdata.p[1];
	r->matching = (uint8_t)rdata.p[2];
	r->data = slice_sub(rdata, 3, rdata.n);
	if ((r->usage != 2 && r->usage != 3) || r->selector > 1 || r->matching > 2)
		return false;
	return r->matching == 0 || r->data.n == digest[r->matching];
}

struct tlsa *
tlsa_parse(struct slice rrs)
{
	struct tlsa *t = mem_new(sizeof(*t));
	struct slice list;
	struct dns_rr rr;
	size_t seen = 0;

	t->refs = 1;
	t->bytes = slice_dup(rrs);
	list = slice_make(t->bytes, rrs.n);
	while (wire_item_next(&list, &dns_rr_wire, &rr) == 1) {
		seen++;
		if (t->n < TLSA_RECORDS_MAX && tlsa_read(rr.data, &t->record[t->n]))
			t->n++;
	}
	if (seen == 0)
		tlsa_unref(&t);
	return t;
}

struct tlsa *
tlsa_ref(struct tlsa *t)
{
	if (t != NULL)
		t->refs++;
	return t;
}

void
tlsa_unref(struct tlsa **tp)
{
	struct tlsa *t = *tp;

	*tp = NULL;
	if (t == NULL || --t->refs > 0)
		return;
	free(t->bytes);
	free(t);
}

size_t
tlsa_usable(const struct tlsa *t)
{
	return t->n;
}

const struct tlsa_record *
tlsa_at(const struct tlsa *t, size_t i)
{
	CHECK(i < t->n);
	return &t->record[i];
}
