// SPDX-License-Identifier: Apache-2.0
/*
 * Questions of the queue: which provider takes the mail of this domain? The answer is
 * what a delivery would find, without a connection: MX, addresses, ourselves left out.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "relay/deliver_priv.h"

enum {	/* seconds an answer is good for; a delivery asks the DNS again anyway */
	ROUTE_TTL_S = 600, ROUTE_TTL_NEVER_S = 300, ROUTE_TTL_LATER_S = 60
};

struct deliver_question {
	LIST_ENTRY(deliver_question) link;
	struct deliver		*deliver;	/* borrowed */
	uint64_t		 req;
	char			*domain;	/* owned */
	struct mx_lookup	*lookup;	/* owned */
};

static void
question_free(struct deliver_question *q)
{
	LIST_REMOVE(q, link);
	mx_cancel(&q->lookup);
	free(q->domain);
	free(q);
}

/* One word for why there is no way; texts are mx.c's. */
static struct slice
never_reason(const struct mx_result *r)
{
	static const struct { const char *enhanced, *word; } t[] = {
		{ "5.4.6", "self" }, { "5.1.10", "null-mx" }, { "5.4.4", "unroutable" },
		{ "5.1.2", "no-domain" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (strcmp(t[i].enhanced, r->enhanced) == 0)
			return slice_str(t[i].word);
	return SLICE_LIT("no-host");
}

static void
question_answered(void *arg, const struct mx_result *r)
{
	struct deliver_question *q = arg;
	struct deliver *d = q->deliver;
	struct queue_routed a = { .req = q->req };

	q->lookup = NULL;
	if (r->outcome == DELIVER_OK && r->group[0] != '\0') {
		a.status = ROUTED_OK;
		a.group = slice_str(r->group);
		a.ttl_s = ROUTE_TTL_S;
	} else if (r->outcome == DELIVER_LOCAL) {
		a.status = ROUTED_NEVER;
		a.reason = never_reason(r);
		a.ttl_s = ROUTE_TTL_NEVER_S;
	} else {
		a.status = ROUTED_LATER;
		a.ttl_s = ROUTE_TTL_LATER_S;
	}
	question_free(q);
	if (d->route_fn != NULL)
		d->route_fn(d->arg, &a);
}

static void
question_ask(struct deliver_question *q)
{
	struct deliver *d = q->deliver;
	const struct mx_env env = { d->dns, d->conf, d->self, NULL };

	/* Policies of TLS do not matter here: nothing is sent. */
	q->lookup = mx_resolve(&env, ROUTE_MX, slice_str(q->domain), 0, DELIVER_TLS_OPTIONAL,
	    question_answered, q);
}

void
deliver_on_route(struct deliver *d, deliver_route_fn *fn)
{
	d->route_fn = fn;
}

void
deliver_route(struct deliver *d, uint64_t req, struct slice domain)
{
	struct deliver_question *q = mem_new(sizeof(*q));

	q->deliver = d;
	q->req = req;
	q->domain = slice_dup(domain);
	LIST_INSERT_HEAD(&d->questions, q, link);
	question_ask(q);
}

void
deliver_questions_again(struct deliver *d)
{
	struct deliver_question *q;

	LIST_FOREACH(q, &d->questions, link) {
		mx_cancel(&q->lookup);
		question_ask(q);
	}
}

void
deliver_questions_free(struct deliver *d)
{
	while (!LIST_EMPTY(&d->questions))
		question_free(LIST_FIRST(&d->questions));
}
