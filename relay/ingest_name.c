// SPDX-License-Identifier: Apache-2.0
/* Who the client is by DNS, forward-confirmed: filters want to hear it (milter macro
 * {client_name}). Verify asks for the same names afterwards and finds them in the cache. */
#include "relay/ingest_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "policy/iprev.h"

enum {
	NAME_MS		= 5 * 1000,	/* without it a filter hears "unknown" */
	NAME_LATE_MS	= 1000,		/* dns promises an end before that */
	NAME_ROUNDS	= 4		/* the PTR record, the addresses of its names */
};

static void name_ask(struct ingest_req *r);

static void
name_done(struct ingest_req *r, const char *name)
{
	CHECK(slice_cstr(slice_str(name), r->client_name, sizeof(r->client_name)) == 0);
	buf_clear(&r->answers);
	r->rounds = 0;
	r->dns_end = 0;
	ingest_keep_filter(r);
}

void
ingest_name_lost(struct ingest_req *r)
{
	dns_batch_cancel(&r->batch);
	name_done(r, "");
}

static void
on_name_answers(void *arg, struct slice answers)
{
	struct ingest_req *r = arg;

	r->batch = NULL;
	if (buf_put_slice(&r->answers, answers) != 0)
		name_done(r, "");
	else
		name_ask(r);
}

/* What the cache knows of these names, or DNS is asked. False: neither. */
static bool
name_want(struct ingest_req *r, const struct dnsview *v)
{
	int64_t left = r->dns_end - clock_mono_ms();
	struct buf wants;
	bool known = false;

	if (v->nwant == 0 || left <= 0 || ++r->rounds > NAME_ROUNDS)
		return false;
	for (size_t i = 0; i < v->nwant; i++)
		known |= dns_cached(r->g->dns, v->want[i].type,
		    slice_make(v->want[i].name, v->want[i].len), &r->answers);
	if (known)
		return true;
	buf_init(&wants, DNS_ANSWERS_MAX);
	if (dnsview_wants(v, &wants) == 0) {
		ingest_req_ask(r, ASK_NAME, left + NAME_LATE_MS);
		r->batch = dns_ask_all(r->g->dns, buf_slice(&wants), left, on_name_answers, r);
	}
	buf_fini(&wants);
	return r->batch != NULL;
}

static void
name_ask(struct ingest_req *r)
{
	struct iprev_ip ip = iprev_parse(r->mail.client_ip);
	struct iprev found = { .result = AUTH_UNSET };
	struct dnsview v;

	dnsview_init(&v);
	do {
		if (dnsview_load(&v, buf_slice(&r->answers), false) != 0)
			break;
		iprev_check(&v, &ip, &found);
	} while (found.result != AUTH_PASS && name_want(r, &v) && r->batch == NULL);
	dnsview_fini(&v);
	if (r->batch == NULL)
		name_done(r, found.result == AUTH_PASS ? found.name : "");
}

void
ingest_name_find(struct ingest_req *r)
{
	r->dns_end = clock_mono_ms() + NAME_MS;
	name_ask(r);
}
