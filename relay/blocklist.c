// SPDX-License-Identifier: Apache-2.0
#include "relay/blocklist.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/network.h"

struct blocklist_query {
	struct dns_batch	*batch;
	size_t			 nzone;
	char			 (*name)[DNS_NAME_MAX + 1];	/* nzone of them; owned */
	blocklist_fn		*fn;
	void			*arg;
};

int
blocklist_name(const uint8_t addr[16], const char *zone, char out[DNS_NAME_MAX + 1])
{
	static const char hex[] = "0123456789abcdef";
	char rev[4 * 16 + 1];
	size_t n = 0;
	int len;

	if (network_addr_is_v4(addr)) {
		len = snprintf(rev, sizeof(rev), "%u.%u.%u.%u.", addr[15], addr[14], addr[13],
		    addr[12]);
		CHECK(len > 0 && (size_t)len < sizeof(rev));
	} else {
		for (int i = 15; i >= 0; i--) {
			rev[n++] = hex[addr[i] & 15];
			rev[n++] = '.';
			rev[n++] = hex[addr[i] >> 4];
			rev[n++] = '.';
		}
		rev[n] = '\0';
	}
	len = snprintf(out, DNS_NAME_MAX + 1, "%s%s", rev, zone);
	return len > 0 && len <= DNS_NAME_MAX ? 0 : -1;
}

static bool
answer_lists(const struct dns_answer *a)
{
	struct slice rrs = a->rrs;
	struct dns_rr rr;

	if (a->status != DNS_OK || a->type != DNS_A)
		return false;
	while (wire_item_next(&rrs, &dns_rr_wire, &rr) == 1) {
		const uint8_t *ip = (const uint8_t *)rr.data.p;

		if (rr.data.n == 4 && ip[0] == 127 && !(ip[1] == 255 && ip[2] == 255))
			return true;
	}
	return false;
}

static void
query_free(struct blocklist_query *q)
{
	free(q->name);
	free(q);
}

static void
query_answered(void *arg, struct slice answers)
{
	struct blocklist_query *q = arg;
	size_t found = SIZE_MAX;
	struct dns_answer a;

	while (found == SIZE_MAX && wire_item_next(&answers, &dns_answer_wire, &a) == 1) {
		for (size_t i = 0; i < q->nzone && answer_lists(&a); i++) {
			if (slice_ieq(a.name, slice_str(q->name[i])))
				found = i;
		}
	}
	q->fn(q->arg, found);
	query_free(q);
}

struct blocklist_query *
blocklist_ask(struct dns *d, const struct conf *c, const uint8_t addr[16], blocklist_fn *fn,
    void *arg)
{
	struct blocklist_query *q;
	struct buf wants;

	if (c->nblocklist == 0)
		return NULL;
	q = mem_new(sizeof(*q));
	q->name = mem_array(c->nblocklist, sizeof(q->name[0]));
	q->nzone = c->nblocklist;
	q->fn = fn;
	q->arg = arg;
	buf_init(&wants, (DNS_NAME_MAX + 16) * c->nblocklist);
	for (size_t i = 0; i < q->nzone; i++) {
		struct dns_want w = { .type = DNS_A };

		if (blocklist_name(addr, c->blocklist[i], q->name[i]) < 0)
			continue;
		w.name = slice_str(q->name[i]);
		CHECK(wire_item_put(&wants, &dns_want_wire, &w) == 0);
	}
	q->batch = dns_ask_all(d, buf_slice(&wants), BLOCKLIST_WAIT_MS, query_answered, q);
	buf_fini(&wants);
	return q;
}

void
blocklist_cancel(struct blocklist_query **qp)
{
	struct blocklist_query *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	dns_batch_cancel(&q->batch);
	query_free(q);
}
