// SPDX-License-Identifier: Apache-2.0
#include "policy/dsn_gate.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "policy/address.h"
#include "policy/header.h"

enum {
	HOUR_MS = 3600 * 1000,
	PROBES = 16		/* slots that a key may be in */
};

/* When the last ones left: a ring, so that the limit holds over any 60 minutes and not
 * just over those that a window happens to cover. */
struct ring {
	uint8_t		key[16];	/* of the keyed hash; all 0: never used */
	int64_t		newest;		/* ms */
	uint32_t	next;		/* index of the oldest, to be overwritten */
};

struct table {
	size_t		slots;		/* a power of 2, >= PROBES */
	unsigned	limit;		/* times kept for each */
	struct ring	*ring;		/* owned */
	int64_t		*when;		/* owned; slots * limit, ms; INT64_MIN: never */
};

struct dsn_limits {
	struct table	target, domain;
	uint8_t		secret[32];	/* nobody can choose keys that meet in one place */
};

static void
table_init(struct table *t, size_t slots, unsigned limit)
{
	size_t n;

	for (t->slots = PROBES; t->slots < slots; t->slots *= 2)
		;
	t->limit = limit;
	n = t->slots * limit;
	t->ring = mem_array(t->slots, sizeof(*t->ring));
	t->when = mem_array(n, sizeof(*t->when));
	for (size_t i = 0; i < n; i++)
		t->when[i] = INT64_MIN;
}

static void
table_fini(struct table *t)
{
	free(t->ring);
	free(t->when);
}

struct dsn_limits *
dsn_limits_new(size_t targets, size_t domains)
{
	return dsn_limits_with(targets, DSN_PER_TARGET, domains, DSN_PER_DOMAIN);
}

struct dsn_limits *
dsn_limits_with(size_t targets, unsigned per_target, size_t domains, unsigned per_domain)
{
	struct dsn_limits *l = mem_new(sizeof(*l));

	CHECK(targets <= 1024 * 1024 && domains <= 1024 * 1024);
	CHECK(per_target >= 1 && per_target <= DSN_PER_MAX);
	CHECK(per_domain >= 1 && per_domain <= DSN_PER_MAX);
	table_init(&l->target, targets, per_target);
	table_init(&l->domain, domains, per_domain);
	crypto_random(l->secret, sizeof(l->secret));
	return l;
}

void
dsn_limits_free(struct dsn_limits **lp)
{
	if (*lp == NULL)
		return;
	table_fini(&(*lp)->target);
	table_fini(&(*lp)->domain);
	free(*lp);
	*lp = NULL;
}

/* The slot of that key, or one to be taken for it; -1 when all that it could have had are
 * still needed. */
static ptrdiff_t
table_find(const struct table *t, const uint8_t key[16], int64_t now)
{
	static const uint8_t none[16];
	ptrdiff_t spare = -1;
	size_t at;

	memcpy(&at, key, sizeof(at));
	for (size_t i = 0; i < PROBES; i++) {
		size_t slot = (at + i) & (t->slots - 1);
		const struct ring *r = &t->ring[slot];

		if (memcmp(r->key, key, 16) == 0)
			return (ptrdiff_t)slot;
		if (spare < 0 && (memcmp(r->key, none, 16) == 0 || now - r->newest >= HOUR_MS))
			spare = (ptrdiff_t)slot;
	}
	return spare;
}

/* Gives the slot to that key, if it has another. */
static void
table_take(struct table *t, size_t slot, const uint8_t key[16], int64_t now)
{
	struct ring *r = &t->ring[slot];

	if (memcmp(r->key, key, 16) == 0)
		return;
	memcpy(r->key, key, 16);
	r->next = 0;
	r->newest = now - HOUR_MS;	/* nothing was counted yet */
	for (unsigned i = 0; i < t->limit; i++)
		t->when[slot * t->limit + i] = INT64_MIN;
}

static bool
table_is_full(const struct table *t, size_t slot, int64_t now)
{
	int64_t oldest = t->when[slot * t->limit + t->ring[slot].next];

	return oldest != INT64_MIN && now - oldest < HOUR_MS;
}

static void
table_count(struct table *t, size_t slot, int64_t now)
{
	struct ring *r = &t->ring[slot];

	t->when[slot * t->limit + r->next] = now;
	r->next = (r->next + 1) % t->limit;
	r->newest = now;
}

/* Names in lower case, each ended, so that no two lists of them look the same. */
static void
make_key(const struct dsn_limits *l, struct slice a, struct slice b, uint8_t key[16])
{
	char text[2 * ADDRESS_PATH_MAX + 2];
	uint8_t mac[32];

	CHECK(a.n + b.n + 1 <= sizeof(text));
	if (a.n > 0)
		memcpy(text, a.p, a.n);
	text[a.n] = '@';
	memcpy(text + a.n + 1, b.p, b.n);
	bytes_lower(text, a.n + 1 + b.n);
	crypto_hmac_sha256(slice_make(l->secret, sizeof(l->secret)),
	    slice_make(text, a.n + 1 + b.n), mac);
	memcpy(key, mac, 16);
}

static const char *
gate_rate(struct dsn_limits *l, const struct address *a, int64_t now)
{
	uint8_t target[16], domain[16];
	ptrdiff_t t, d;

	make_key(l, a->local, a->domain, target);
	make_key(l, SLICE_NONE, a->domain, domain);
	t = table_find(&l->target, target, now);
	d = table_find(&l->domain, domain, now);
	if (t < 0 || d < 0)
		return "rate-table";
	table_take(&l->target, (size_t)t, target, now);
	table_take(&l->domain, (size_t)d, domain, now);
	if (table_is_full(&l->target, (size_t)t, now))
		return "rate-target";
	if (table_is_full(&l->domain, (size_t)d, now))
		return "rate-domain";
	table_count(&l->target, (size_t)t, now);
	table_count(&l->domain, (size_t)d, now);
	return "";
}

/* 2.3.4, 2.3.1; a sender that said nothing gets to know of failures (RFC 3461 4.1), not of
 * delays: "delayed only when NOTIFY contains DELAY". */
static bool
is_wanted(enum dsn_action action, unsigned notify)
{
	if ((notify & NOTIFY_NEVER) != 0)
		return false;
	switch (action) {
	case DSN_FAILED:
		return notify == 0 || (notify & NOTIFY_FAILURE) != 0;
	case DSN_DELAYED:
		return (notify & NOTIFY_DELAY) != 0;
	case DSN_DELIVERED:
	case DSN_RELAYED:
		return (notify & NOTIFY_SUCCESS) != 0;
	}
	return false;
}

static bool
same_name(struct slice a, struct slice b)
{
	return a.n > 0 && slice_ieq(a, b);
}

/* 2.3.5: SPF for the sender's domain, or DMARC with a sender of the author's domain. */
static bool
is_vouched_for(const struct dsn_question *q, struct slice domain)
{
	char canonical[ADDRESS_DOMAIN_MAX + 1];

	if (q->env->spf == AUTH_PASS)
		return true;
	if (q->env->dmarc != AUTH_PASS ||
	    address_domain_canonical(domain, canonical, sizeof(canonical)) < 0)
		return false;
	return same_name(slice_str(canonical), q->author) ||
	    same_name(q->sender_org, q->author_org);
}

/*
 * A copy of ours that came back (9.1) carries what the recovery mailbox's provider put
 * into its header, the address first of all; a notification would show it to the sender.
 */
static bool
was_forwarded(struct slice content)
{
	struct header h;
	struct header_field f;

	header_start(&h, content);
	while (header_next(&h, &f))
		if (header_is(&f, "X-Fwd-Loop"))
			return true;
	return false;
}

const char *
dsn_gate(const struct dsn_question *q, struct dsn_limits *l)
{
	struct address a;
	struct slice domain;

	if (!is_wanted(q->action, q->rcpt->notify))
		return "notify";
	if (q->env->mail_from.n == 0)
		return "null-sender";
	if (q->env->mail_from.n > ADDRESS_PATH_MAX ||
	    address_parse(q->env->mail_from, true, &a) < 0 || a.domain.n == 0)
		return "bad-sender";
	domain = a.domain;
	if (domain.p[domain.n - 1] == '.')
		domain.n--;
	if (same_name(q->return_path, domain))
		return "return-path";
	if (slice_ieq(a.local, SLICE_LIT("postmaster")) ||
	    slice_ieq(a.local, SLICE_LIT("mailer-daemon")))
		return "postmaster";
	if (was_forwarded(q->content))
		return "loop";
	if (!is_vouched_for(q, domain))
		return "unauthenticated";
	return gate_rate(l, &a, q->now_ms);
}
